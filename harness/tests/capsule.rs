//! Is the end of tokens seen that outlive a run and cannot be forged? What one run keeps in a capsule, the next one judges.

#[path = "kit/live.rs"]
mod live;
#[path = "kit/program.rs"]
mod program;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use assay::target::{Target, load};
use serde_json::Value;

use program::{Said, said};

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");
const PASSPHRASE: &str = "correct horse battery staple";

/// A server that can be ended and begun again at its address.
struct Server {
    url: String,
    admin: String,
    child: Child,
}

impl Server {
    fn start(port: u16, arguments: &[&str]) -> Server {
        let mut child = Command::new(ASSAY)
            .args(["serve", "--admin-port", "0", "--hash", "none", "--port", &port.to_string()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("our own program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut next = |what: &str| {
            let line = lines.next().expect("a line").expect("text");
            line.strip_prefix(what).unwrap_or_else(|| panic!("expected `{what}...`, saw `{line}`")).to_owned()
        };
        let (url, admin) = (next("listening on "), next("admin on "));
        Server { url, admin, child }
    }

    /// Ends it and begins another one at the same address.
    fn again(mut self, arguments: &[&str]) -> Server {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
        Server::start(port, arguments)
    }

    /// Calls an admin hook.
    fn hook(&self, path: &str) {
        let host = self.admin.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).expect("the admin port is open");
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n");
        stream.write_all(format!("{head}Content-Length: 2\r\n\r\n{{}}").as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a capsule and a profile that does not know the key.
struct Place {
    folder: tempfile::TempDir,
    profile: PathBuf,
}

impl Place {
    fn new(more: &str) -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = folder.path().join("keyless.yaml");
        let text = format!("schema: 1\nname: keyless\nextends: reference\nkeys: null\n{more}");
        std::fs::write(&profile, text).expect("written");
        Place { folder, profile }
    }

    fn capsule(&self) -> PathBuf {
        self.folder.path().join("nightly.capsule")
    }

    /// `assay check --capsule`, with the record on standard output.
    fn check(&self, url: &str, only: &[&str], more: &[&str]) -> Said {
        let mut command = Command::new(ASSAY);
        command.args(["check", "--json", "--target", url, "--profile"]).arg(&self.profile);
        command.arg("--capsule").arg(self.capsule()).args(more).env("ASSAY_CAPSULE_KEY", PASSPHRASE);
        only.iter().for_each(|id| _ = command.args(["--only", id]));
        said(command.output().expect("the program starts"))
    }

    /// A run that has nothing to judge, and leaves tokens for the next.
    fn filled_by(&self, url: &str) {
        let first = self.check(url, &["issue-basic"], &[]);
        assert_eq!(first.code, 0, "{}{}", first.out, first.err);
        let mode = std::fs::metadata(self.capsule()).expect("a capsule").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// The part `capsule` of a check: its verdict and what it says; and all evidence of the check.
#[track_caller]
fn part(said: &Said, id: &str) -> (String, String, Value) {
    let record: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    let check = record["checks"].as_array().and_then(|checks| checks.iter().find(|check| check["id"] == id));
    let check = check.unwrap_or_else(|| panic!("no {id} in {}", said.out)).clone();
    let part = check["variants"].as_array().and_then(|parts| parts.iter().find(|part| part["name"] == "capsule"));
    let part = part.unwrap_or_else(|| panic!("no part `capsule` of {id}: {check:#}\n{}", record["notes"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&part["verdict"]), text(&part["summary"]), check["evidence"].clone())
}

/// No token that is alive stands in what was printed, and none in the capsule.
fn holds_no_token(said: &Said, place: &Place) {
    let profile = load("reference", None, Path::new(".")).expect("built in");
    let key = live::key(&Target::new(profile, "http://127.0.0.1:9", None, &[]).expect("a target"));
    let capsule = std::fs::read_to_string(place.capsule()).expect("a capsule is text");
    let live = live::live_tokens(&[said.out.clone(), said.err.clone(), capsule], &key);
    assert!(live.is_empty(), "{live:?}");
    assert!(!said.out.contains(PASSPHRASE) && !said.err.contains(PASSPHRASE));
}

/// Tokens that end soon, so that nobody waits for days.
const SHORT: [&str; 4] = ["--access-lifetime", "3s", "--refresh-lifetime", "3s"];
/// Until they have ended and two seconds more, by clocks that may differ by one.
const OVER: Duration = Duration::from_millis(6_300);

#[test]
fn tokens_of_the_run_before_are_refused_after_their_end_and_the_end_lies_between_the_runs() {
    // By the `kid` of a secret that nobody knows, and by a key that the server publishes.
    let es256 = "tokens: {access: {alg: ES256}, refresh: {alg: ES256}}\n";
    std::thread::scope(|scope| {
        for (alg, more) in [("HS256", ""), ("ES256", es256)] {
            scope.spawn(move || are_refused_after_their_end(alg, more));
        }
    });
}

#[track_caller]
fn are_refused_after_their_end(alg: &str, more: &str) {
    let arguments: Vec<&str> = SHORT.into_iter().chain(["--alg", alg]).collect();
    let (server, place) = (Server::start(0, &arguments), Place::new(more));
    place.filled_by(&server.url);
    sleep(OVER);
    let second = place.check(&server.url, &["time-exp-rejected", "time-refresh-exp"], &[]);
    for (id, what) in [("time-exp-rejected", "at `resource` between"), ("time-refresh-exp", "at `refresh` between")] {
        let (verdict, text, _) = part(&second, id);
        assert_eq!(verdict, "pass", "{id}: {text}");
        assert!(
            text.contains(" s ago, is refused ") && text.contains(" s after its exp (its key is that of"),
            "{text}"
        );
        assert!(text.contains(what) && text.contains("s before and ") && text.starts_with("token "), "{text}");
    }
    let record: Value = serde_json::from_str(&second.out).expect("a record");
    let windows = record["windows"].as_array().expect("windows");
    let seen = windows.iter().find(|w| w["method"] == "capsule" && w["endpoint"] == "resource").expect("a window");
    let (low, high) = (seen["last_accepted_s"].as_f64().expect("low"), seen["first_refused_s"].as_f64().expect("high"));
    assert!(low < 0.0 && low > -4.0 && high > 2.0 && high < 60.0, "{low} {high}");
    holds_no_token(&second, &place);
    // What was judged is gone, and this run has put in others.
    let notes = record["notes"].to_string();
    assert!(
        notes.contains("Capsule of target: 2 tokens of earlier runs were shown; it holds 1 access, 1 refresh"),
        "{notes}"
    );
}

#[test]
fn an_end_that_nobody_looks_at_is_found_although_nothing_can_be_forged() {
    let flawed: Vec<&str> = SHORT.into_iter().chain(["--flaw", "ignore-exp", "--flaw", "immortal-refresh"]).collect();
    let (server, place) = (Server::start(0, &flawed), Place::new(""));
    place.filled_by(&server.url);
    sleep(OVER);
    let second = place.check(&server.url, &["time-exp-rejected", "time-refresh-exp"], &[]);
    assert_eq!(second.code, 1, "{}", second.err);
    for id in ["time-exp-rejected", "time-refresh-exp"] {
        let (verdict, text, evidence) = part(&second, id);
        assert_eq!(verdict, "fail", "{id}: {text}");
        assert!(text.contains(" accepts token ") && text.contains(" after its exp"), "{text}");
        let evidence = evidence.as_array().expect("evidence");
        let shown = evidence.iter().find(|e| e["variant"] == "capsule").unwrap_or_else(|| panic!("{evidence:#?}"));
        let name = shown["token"]["fingerprint"].as_str().expect("a fingerprint");
        assert!(text.contains(name) && shown["request"].is_string() && shown["curl"].is_null(), "{shown:#}");
    }
    holds_no_token(&second, &place);
}

#[test]
fn a_server_that_was_begun_anew_with_other_keys_says_nothing_about_time() {
    let (server, place) = (Server::start(0, &SHORT), Place::new(""));
    place.filled_by(&server.url);
    let other: Vec<&str> = SHORT.into_iter().chain(["--alg", "HS384"]).collect();
    let server = server.again(&other);
    sleep(OVER);
    let second = place.check(&server.url, &["time-exp-rejected", "time-refresh-exp"], &[]);
    for id in ["time-exp-rejected", "time-refresh-exp"] {
        let (verdict, text, _) = part(&second, id);
        assert_eq!(verdict, "inconclusive", "{id}: {text}");
        assert!(text.contains("says nothing about time: its key is not that of fresh tokens"), "{text}");
    }
    assert_eq!(second.code, 3, "{}", second.err);
    // It will say no more the next time, and is not asked again.
    let third = place.check(&server.url, &["issue-basic"], &[]);
    assert!(third.code == 0 && !third.out.contains("2 tokens of earlier runs"), "{}", third.out);
}

#[test]
fn a_revocation_that_a_restart_forgets_is_found_and_one_that_lasts_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = format!("redb:{}", folder.path().join("store").display());
    for (store, verdict, says) in [("memory", "fail", "ago and refused then"), (&stored, "pass", "is refused still")] {
        let (server, place) = (Server::start(0, &["--store", store]), Place::new(""));
        place.filled_by(&server.url);
        let server = server.again(&["--store", store]);
        let second = place.check(&server.url, &["revoke-effective"], &[]);
        let (seen, text, _) = part(&second, "revoke-effective");
        assert_eq!((seen.as_str(), second.code), (verdict, i32::from(verdict == "fail")), "{store}: {text}");
        assert!(text.contains(says), "{text}");
        holds_no_token(&second, &place);
    }
}

#[test]
fn a_retired_key_stays_retired_or_is_found() {
    // Without a hook that puts the server back, a key stays retired beyond the run.
    let (server, place) = (Server::start(0, &[]), Place::new("admin: {reset: null}\n"));
    let check = || place.check(&server.url, &["keys-retired"], &["--admin", &server.admin]);
    let first = check();
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    assert!(first.out.contains("1 of a retired key"), "{}", first.out);
    let (verdict, text, _) = part(&check(), "keys-retired");
    assert_eq!(verdict, "pass", "{text}");
    // The old key verifies again, while another one signs.
    server.hook("/_ref/reset");
    server.hook("/_ref/keys/rotate");
    let (verdict, text, _) = part(&check(), "keys-retired");
    assert!(verdict == "fail" && text.contains("of a key retired"), "{text}");
}

#[test]
fn a_capsule_that_cannot_be_used_is_2_and_stays_as_it_is() {
    let (server, place) = (Server::start(0, &[]), Place::new(""));
    place.filled_by(&server.url);
    let whole = std::fs::read(place.capsule()).expect("a capsule");
    let fails = |url: &str, key: Option<&str>, says: &str| {
        let before = std::fs::read(place.capsule()).expect("a capsule");
        let mut command = Command::new(ASSAY);
        command.args(["check", "--target", url, "--only", "issue-basic", "--profile"]).arg(&place.profile);
        command.arg("--capsule").arg(place.capsule()).env_remove("ASSAY_CAPSULE_KEY");
        command.envs(key.map(|key| ("ASSAY_CAPSULE_KEY", key)));
        let said = said(command.output().expect("the program starts"));
        assert!(said.code == 2 && said.err.contains(says), "{says}: {} {}", said.code, said.err);
        assert!(said.err.contains("nightly.capsule") && said.err.contains("hint: "), "{}", said.err);
        assert_eq!(std::fs::read(place.capsule()).expect("a capsule"), before);
    };
    fails(&server.url, None, "ASSAY_CAPSULE_KEY, which is not set");
    fails(&server.url, Some("tiny"), "12 characters or more");
    fails(&server.url, Some("wrong horse battery staple"), "is not the one that it was sealed with");
    let other = Server::start(0, &[]);
    fails(&other.url, Some(PASSPHRASE), "each target has a capsule of its own");
    std::fs::write(place.capsule(), &whole[..whole.len() / 2]).expect("written");
    fails(&server.url, Some(PASSPHRASE), "damaged");
}

#[test]
fn a_scenario_names_its_capsule_beside_itself() {
    let text = "name: nightly\ntarget: reference\ntopologies:\n  bare: [{reference-server: {hash: none}}]\n\
                conformance: {only: [issue-basic], capsule: nightly.capsule}\nreports: [json]\n";
    let folder = program::scenario(text);
    let run = |out: &str| {
        let mut command = Command::new(ASSAY);
        command.arg("check").arg(folder.path().join("s.yaml")).arg("--out").arg(folder.path().join(out));
        let said = said(command.env("ASSAY_CAPSULE_KEY", PASSPHRASE).output().expect("the program starts"));
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        std::fs::read_to_string(folder.path().join(out).join("run.json")).expect("a record")
    };
    assert!(run("one").contains("Capsule of bare: 0 tokens of earlier runs were shown; it holds 1 access"));
    assert!(folder.path().join("nightly.capsule").is_file());
    // The port is another one; the server that Assay starts is the same.
    assert!(run("two").contains("Capsule of bare: 1 token of an earlier run was shown"));
}

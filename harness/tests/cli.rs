//! Does the program keep its contract: exit codes, what goes where, what is said of bad input?

#[path = "kit/program.rs"]
mod program;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use program::{HEAD, Said, Served, assay, said, scenario};

fn run_in(folder: &tempfile::TempDir, more: &[&str]) -> Said {
    let file = folder.path().join("s.yaml");
    let out = folder.path().join("reports");
    let mut arguments = vec!["run", file.to_str().expect("text"), "--out", out.to_str().expect("text")];
    arguments.extend(more);
    assay(&arguments)
}

const LOAD: &str = "load:\n  arrival: {open: {rate: 200/s}}\n  stages: [{hold: 1s}]\n  warmup: 100ms\n  mix: {access: 9, refresh: 1}\n  tokens: {sessions: 4}\n";

#[test]
fn a_run_leaves_its_report_and_names_it_last() {
    let folder = scenario(&format!(
        "{HEAD}conformance: {{only: [sig-alg-none, issue-basic]}}\n{LOAD}reports: [html, json, junit, sarif, md, csv, openmetrics]\n"
    ));
    let said = run_in(&folder, &[]);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let report = Path::new(said.out.trim_end().lines().last().expect("a last line"));
    assert!(report.ends_with("report.html") && report.is_file(), "{}", said.out);
    let run = report.parent().expect("a folder");
    for file in ["run.json", "junit.xml", "report.sarif", "report.md", "report.csv", "metrics.txt", "load-bare.hlog"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "colours into a pipe");
    assert!(said.err.contains("[1/3] start") && said.err.contains("bare is up"), "no progress: {}", said.err);
    let record: Value = serde_json::from_slice(&std::fs::read(run.join("run.json")).expect("read")).expect("JSON");
    let load = &record["loads"][0];
    let count = |key: &str| load[key].as_u64().expect(key);
    assert_eq!(
        count("planned"),
        count("completed")
            + count("failed")
            + count("timed_out")
            + count("skipped")
            + count("in_flight")
            + count("unsent")
    );
    assert!(count("completed") > 100, "{load}");
    assert_eq!(record["exit_code"], 0);
    assert_eq!(record["interrupted"], false);
    let text = record.to_string();
    assert!(!text.contains("correct-horse-9"), "a password in the record");

    let again = assay(&["report", run.to_str().expect("text"), "--format", "md"]);
    assert_eq!(again.code, 0, "{}", again.err);
    assert_eq!(again.out, std::fs::read_to_string(run.join("report.md")).expect("read"), "rendering again differs");

    let both = assay(&["compare", run.to_str().expect("text"), run.to_str().expect("text")]);
    assert_eq!(both.code, 0, "{}", both.err);
    assert!(both.out.contains("not interleaved"), "{}", both.out);
}

#[test]
fn a_clean_server_passes_with_and_without_admin_hooks() {
    let server = Served::start(&[]);
    let plain = ["check", "--target", &server.url, "--profile", "reference", "--quiet"];
    let said = assay(&plain);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let with_admin = [&plain[..], &["--admin", &server.admin, "--json", "--require", "admin-disable-user"]].concat();
    let said = assay(&with_admin);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    let record: Value = serde_json::from_str(&said.out).expect("one JSON document on standard output");
    let of =
        |id: &str| record["checks"].as_array().expect("checks").iter().find(|c| c["id"] == id).expect("there").clone();
    assert_eq!(of("refresh-user-state")["grade"], "ok");
}

#[test]
fn a_flaw_is_found_named_everywhere_and_ends_with_one() {
    let server = Served::start(&["--flaw", "allow-none"]);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    let said = assay(&[
        "check",
        "--target",
        &server.url,
        "--admin",
        &server.admin,
        "--profile",
        "reference",
        "--only",
        "sig-*",
        "--out",
        out,
    ]);
    assert_eq!(said.code, 1, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("violation  sig-alg-none"), "{}", said.out);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let record: Value = serde_json::from_str(&read("run.json")).expect("JSON");
    let broken: Vec<&str> = record["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|c| c["grade"] == "violation")
        .filter_map(|c| c["id"].as_str())
        .collect();
    assert_eq!(broken, ["sig-alg-none"]);
    let junit = read("junit.xml");
    assert!(junit.contains("sig-alg-none") && junit.contains("<failure"), "{junit}");
    assert!(read("report.html").contains("sig-alg-none"));
}

#[test]
fn a_missed_threshold_ends_with_one() {
    let folder = scenario(&format!("{HEAD}{LOAD}thresholds: [access.response.p50 < 1us]\n"));
    let said = run_in(&folder, &[]);
    // On a machine that starves the generator the load is void, and nothing is judged.
    let void = said.out.contains("void");
    assert_eq!(said.code, if void { 3 } else { 1 }, "{}\n{}", said.out, said.err);
    assert!(void || said.out.contains("missed"), "{}", said.out);
}

#[test]
fn mistakes_in_a_scenario_are_shown_in_place_and_end_with_two() {
    for (text, place, hint) in [
        (
            "name: a\ntarget: refrence\ntopologies: {bare: [reference-server]}\nconformance: {}\n",
            "s.yaml:2:",
            "did you mean `reference`",
        ),
        (
            "name: a\ntarget: reference\ntopologies: {bare: [reference-srver]}\nconformance: {}\n",
            "s.yaml:3:",
            "did you mean `reference-server`",
        ),
        (&format!("{HEAD}conformance: {{only: [sig-alg-non]}}\n"), "s.yaml:5:", "sig-alg-none"),
        (&format!("{HEAD}load: {{arrival: {{open: {{rate: fast}}}}, mix: {{access: 1}}}}\n"), "s.yaml:5:", "500/s"),
        (&format!("{HEAD}{LOAD}thresholds: [access.response.p99 < 20]\n"), "s.yaml:11:", "20"),
        (&format!("{HEAD}lod: {{}}\n"), "s.yaml:5:1", "did you mean `load`"),
        ("name: a\n  target: [\n", "s.yaml:2:", ""),
    ] {
        let folder = scenario(text);
        let said = run_in(&folder, &[]);
        assert_eq!(said.code, 2, "{text}\n{}", said.err);
        assert!(said.err.contains(place), "{text}\nexpected {place}, saw\n{}", said.err);
        assert!(said.err.contains(hint), "{text}\nexpected {hint}, saw\n{}", said.err);
        assert!(said.out.is_empty() && !folder.path().join("reports").exists(), "{text}: something was begun");
    }
}

#[test]
fn bad_arguments_end_with_two_and_say_what_would_be_right() {
    for (arguments, hint) in [
        (&["run", "no-such-file.yaml"][..], "no-such-file.yaml"),
        (&["run", "scenarios/bare-vs-proxy.yaml", "--topology", "nginz"], "did you mean `nginx`"),
        (&["check"], "--target"),
        (&["check", "--target", "http://127.0.0.1:1"], "--profile"),
        (&["check", "--target", "http://127.0.0.1:1", "--profile", "simplejvt"], "did you mean `simplejwt`"),
        (
            &["check", "--target", "http://127.0.0.1:1", "--profile", "reference", "--only", "sgi-*"],
            "assay list checks",
        ),
        (&["check", "--target", "ftp://127.0.0.1:1", "--profile", "reference"], "neither http nor https"),
        (
            &["load", "--target", "http://127.0.0.1:1", "--profile", "reference", "--mix", "acess=1"],
            "did you mean `access`",
        ),
        (&["load", "--target", "http://127.0.0.1:1", "--profile", "reference", "--rate", "quick"], "500/s"),
        (&["compare", "--target", "a=http://127.0.0.1:1", "--profile", "reference"], "two targets"),
        (&["compare", "no/such", "run/here"], "run.json"),
        (&["report", "Cargo.toml"], "Cargo.toml"),
        (&["explain", "sig-alg-non"], "sig-alg-none"),
        (&["serve", "--flaw", "allow-nonsense"], "flaw"),
        (&["serve", "--config", "no-such-file.yaml"], "no-such-file.yaml"),
        (&["load", "--target", "http://127.0.0.1:1", "--profile", "reference", "--users", "0"], "1..=60000"),
    ] {
        let said = assay(arguments);
        assert_eq!(said.code, 2, "{arguments:?}\n{}\n{}", said.out, said.err);
        assert!(said.err.contains(hint), "{arguments:?}: expected `{hint}`, saw\n{}", said.err);
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
    }
}

#[test]
fn hosts_beyond_loopback_are_refused_unless_named() {
    // An address of documentation (RFC 5737): nothing is sent to it.
    let said = assay(&["check", "--target", "http://192.0.2.1:8000", "--profile", "reference"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("--allow-remote") || said.err.contains("allow-remote"), "{}", said.err);
}

#[test]
fn a_target_that_is_not_there_ends_with_three() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}");
    for command in ["check", "load"] {
        let said = assay(&[command, "--target", &url, "--profile", "reference"]);
        assert_eq!(said.code, 3, "{command}: {}\n{}", said.out, said.err);
        assert!(said.err.contains("cannot be reached"), "{command}: {}", said.err);
        assert_eq!(said.err.matches("hint: ").count(), 1, "{command}: {}", said.err);
    }
}

#[test]
fn a_target_that_answers_garbage_has_not_passed() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // Ends with the test: the thread holds nothing but the listener.
    std::thread::spawn(move || {
        for stream in listener.incoming().take(1000) {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"\x16\x03garbage\r\n\r\n");
        }
    });
    for arguments in [&["check", "--only", "sig-alg-none"][..], &["load"]] {
        let said = assay(&[arguments, &["--target", &url, "--profile", "reference"]].concat());
        assert_eq!(said.code, 3, "{arguments:?}: {}\n{}", said.out, said.err);
    }
}

/// A listener whose connections get `answer` after their request, or nothing at all for ever.
fn stranger(answer: Option<&'static str>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // Ends with the test: the thread holds nothing but the listener and the connections that wait.
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        for stream in listener.incoming().take(1000) {
            let Ok(mut stream) = stream else { return };
            match answer {
                Some(answer) => {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => waiting.push(stream),
            }
        }
    });
    url
}

#[test]
fn a_web_page_is_no_token_server_and_ends_with_three() {
    for (status, says) in [("200 OK", "saw 200 with text/html"), ("404 Not Found", "saw 404 with text/html")] {
        let page = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: 23\r\n\r\n<h1>Hello, visitor</h1>"
        );
        let url = stranger(Some(page.leak()));
        for command in ["check", "load"] {
            let said = assay(&[command, "--target", &url, "--profile", "simplejwt"]);
            assert_eq!(said.code, 3, "{command}: {}\n{}", said.out, said.err);
            assert!(said.err.contains(if command == "check" { says } else { "error: " }), "{command}: {}", said.err);
        }
        let said = assay(&["check", "--target", &url, "--profile", "simplejwt", "--json"]);
        let record: Value = serde_json::from_str(&said.out).expect("JSON");
        let checks = record["checks"].as_array().expect("checks");
        let verdict = |c: &&Value| c["verdict"] == "pass" || c["verdict"] == "fail";
        assert!(!checks.is_empty() && !checks.iter().any(|c| verdict(&c)), "a verdict over a web page: {checks:?}");
        assert!(said.err.contains("<h1>Hello, visitor</h1>") && said.err.contains("hint: "), "{}", said.err);
    }
}

#[test]
fn a_target_that_hangs_ends_with_three() {
    let said = assay(&["check", "--target", &stranger(None), "--profile", "reference"]);
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("expected an answer to POST /api/token/, saw no answer within 8 s"), "{}", said.err);
}

#[test]
fn a_target_that_stops_answering_ends_with_three_and_keeps_what_was_found() {
    let server = Served::start(&["--flaw", "allow-none"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["check", "--target", &server.url, "--profile", "reference", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut errors = BufReader::new(child.stderr.take().expect("its errors"));
    let mut line = String::new();
    while !line.contains("violation sig-alg-none") {
        line.clear();
        assert!(errors.read_line(&mut line).expect("text") > 0, "it ended early");
    }
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("a signal");
    let rest = std::thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let said = said(child.wait_with_output().expect("it ends"));
    let rest = rest.join().expect("read");
    assert_eq!(said.code, 3, "{}\n{rest}", said.out);
    let record: Value = serde_json::from_str(&said.out).expect("JSON");
    let checks = record["checks"].as_array().expect("checks");
    assert!(checks.iter().any(|c| c["id"] == "sig-alg-none" && c["grade"] == "violation"), "{checks:?}");
    let silent = |c: &Value| c["summary"].as_str().is_some_and(|s| s.contains("has stopped answering"));
    assert!(checks.iter().any(silent), "{checks:?}");
}

#[test]
fn a_target_that_dies_under_a_load_ends_with_three_and_keeps_what_was_seen() {
    let mut server = Served::start(&[]);
    let load = ["load", "--profile", "reference", "--rate", "50/s", "--duration", "12s", "--sessions", "2", "--json"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(load)
        .args(["--target", &server.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut errors = BufReader::new(child.stderr.take().expect("its errors"));
    let mut line = String::new();
    while !line.contains("p50") {
        line.clear();
        assert!(errors.read_line(&mut line).expect("text") > 0, "it ended early");
    }
    server.child.kill().expect("killed");
    let rest = std::thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let said = said(child.wait_with_output().expect("it ends"));
    let rest = rest.join().expect("read");
    assert_eq!(said.code, 3, "{}\n{rest}", said.out);
    assert!(rest.contains("is gone: connection to"), "{rest}");
    let record: Value = serde_json::from_str(&said.out).expect("JSON");
    assert!(record["loads"][0]["completed"].as_u64().expect("a count") > 0, "{record}");
    let warned =
        |w: &Value| w["code"] == "failed-requests" && w["message"].as_str().is_some_and(|m| m.contains("refused"));
    assert!(record["warnings"].as_array().expect("warnings").iter().any(warned), "{}", record["warnings"]);
}

#[test]
fn a_wrong_password_of_ours_is_no_violation_of_the_target() {
    let server = Served::start(&[]);
    let said = assay(&[
        "check",
        "--target",
        &server.url,
        "--profile",
        "reference",
        "--user",
        "alice",
        "--password",
        "not-the-password",
    ]);
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("the credentials given are wrong"), "{}", said.out);
    assert!(!said.out.contains("violation  "), "{}", said.out);
}

#[test]
fn a_port_in_use_ends_with_three_and_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for arguments in [&["serve", "--port"][..], &["proxy", "--upstream", "http://127.0.0.1:1", "--port"]] {
        let said = assay(&[arguments, &[&port]].concat());
        assert_eq!(said.code, 3, "{arguments:?}: {}", said.err);
        assert!(said.err.contains("in use") && said.err.contains("hint: another"), "{arguments:?}: {}", said.err);
        assert!(said.out.is_empty(), "{arguments:?}: {}", said.out);
    }
}

#[test]
fn a_resource_that_is_not_there_is_named_and_so_is_the_address() {
    let server = Served::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("p.yaml");
    let text = "schema: 1\nname: p\nextends: reference\noperations: {verify.resource: {request: {path: /nowhere}}}\n";
    std::fs::write(&profile, text).expect("written");
    let said = assay(&[
        "check",
        "--target",
        &server.url,
        "--profile",
        profile.to_str().expect("text"),
        "--only",
        "bearer-scheme-case",
    ]);
    assert!(said.out.contains("GET /nowhere: refused with 404"), "{}\n{}", said.out, said.err);
    assert!(said.out.contains("--resource PATH"), "{}", said.out);
    assert!(said.out.contains(&format!("target  {}", server.url)), "{}", said.out);
}

#[test]
fn a_load_without_a_login_says_what_was_asked_and_what_may_be_wrong() {
    let server = Served::start(&[]);
    let wrong = ["--user", "alice", "--password", "wrong"];
    let said = assay(&[&["load", "--target", &server.url, "--profile", "reference"][..], &wrong].concat());
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("operation `issue`: expected tokens, saw status 401"), "{}", said.err);
    assert!(said.err.contains("are user and password right"), "{}", said.err);
}

#[test]
fn a_server_that_does_not_start_ends_with_three_and_shows_its_last_words() {
    let text = "name: a\ntarget: reference\ntopologies:\n  mine:\n    - process: {command: [sh, -c, 'echo the database is locked; exit 7']}\nconformance: {}\n";
    let folder = scenario(text);
    let said = run_in(&folder, &[]);
    assert_eq!(said.code, 3, "{}\n{}", said.out, said.err);
    assert!(said.err.contains("the database is locked") && said.err.contains('7'), "{}", said.err);
}

#[test]
fn a_proxy_that_is_not_installed_is_left_out_with_a_note() {
    let folder = scenario(
        "name: a\ntarget: reference\ntopologies:\n  bare: [{reference-server: {hash: none}}]\n  nginx: [reference-server, nginx]\nconformance: {only: [issue-basic]}\n",
    );
    let file = folder.path().join("s.yaml");
    let out = folder.path().join("reports");
    let output = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["run", file.to_str().expect("text"), "--out", out.to_str().expect("text")])
        .env("ASSAY_WITHOUT", "nginx")
        .output()
        .expect("the program starts");
    let said = said(output);
    assert_eq!(said.code, 0, "{}\n{}", said.out, said.err);
    assert!(said.out.contains("left out: `nginx` is not installed"), "{}", said.out);
}

#[test]
fn an_interrupt_keeps_what_was_seen() {
    let folder = scenario(&format!("{HEAD}{}", LOAD.replace("hold: 1s", "hold: 60s")));
    let file = folder.path().join("s.yaml");
    let out = folder.path().join("reports");
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["run", file.to_str().expect("text"), "--out", out.to_str().expect("text")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Once progress tells of a load that is recorded, there is something to keep.
    let mut seen = String::new();
    let mut errors = BufReader::new(child.stderr.take().expect("its errors"));
    while !seen.contains("p50") {
        let mut line = String::new();
        assert!(errors.read_line(&mut line).expect("text") > 0, "it ended early: {seen}");
        seen.push_str(&line);
    }
    let rest = std::thread::spawn(move || errors.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a signal");
    let said = said(child.wait_with_output().expect("it ends"));
    let rest = rest.join().expect("read");
    assert_eq!(said.code, 130, "{}\n{rest}", said.out);
    assert!(rest.contains("interrupted"), "{rest}");
    let report = Path::new(said.out.trim_end().lines().last().expect("a path"));
    let record: Value =
        serde_json::from_slice(&std::fs::read(report.parent().expect("a folder").join("run.json")).expect("read"))
            .expect("JSON");
    assert_eq!(record["interrupted"], true);
    assert!(record["loads"][0]["completed"].as_u64().expect("a count") > 0);
}

#[test]
fn nothing_is_left_when_the_run_is_killed() {
    let folder = scenario(&format!(
        "name: small\ntarget: reference\ntopologies:\n  bare: [{{reference-server: {{hash: none}}}}]\n  front: [{{reference-server: {{hash: none}}}}, embedded-proxy]\n{}",
        LOAD.replace("hold: 1s", "hold: 60s")
    ));
    let file = folder.path().join("s.yaml");
    let out = folder.path().join("reports");
    let mut child = Command::new(env!("CARGO_BIN_EXE_assay"))
        .args(["run", file.to_str().expect("text"), "--out", out.to_str().expect("text")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut urls = Vec::new();
    let mut errors = BufReader::new(child.stderr.take().expect("its errors"));
    while urls.len() < 2 {
        let mut line = String::new();
        assert!(errors.read_line(&mut line).expect("text") > 0, "it ended early");
        if let Some((_, url)) = line.trim().split_once("is up at http://") {
            urls.push(url.to_owned());
        }
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    for url in urls {
        let address: std::net::SocketAddr = url.parse().expect("an address");
        let gone = (0..300).any(|_| {
            let refused = std::net::TcpStream::connect(address).is_err();
            if !refused {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            refused
        });
        assert!(gone, "{url} still answers");
    }
}

#[test]
fn schemas_and_lists_are_for_programs_too() {
    for arguments in [
        &["schema"][..],
        &["schema", "profile"],
        &["schema", "run"],
        &["list", "checks", "--json"],
        &["list", "flaws", "--json"],
        &["list", "topologies", "--json"],
        &["list", "profiles", "--json"],
        &["validate", "scenarios/bare-vs-proxy.yaml", "--json"],
    ] {
        let said = assay(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.err);
        let parsed: Result<Value, _> = serde_json::from_str(&said.out);
        assert!(parsed.is_ok(), "{arguments:?}: {}", said.out);
    }
}

//! Does every exit code mean what docs/ci.md says?

#[path = "kit/servers.rs"]
mod servers;

use servers::{Serve, assay, said};

#[track_caller]
fn check(arguments: &[&str], code: i32, says: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = assay(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(code), "assay {}\n{}", arguments.join(" "), said(&output));
    assert!(said(&output).contains(says), "expected `{says}` in\n{}", said(&output));
}

#[test]
fn a_clean_server_is_0_and_a_flawed_one_1() {
    let clean = Serve::start(&["--hash", "none"]);
    let only = ["--profile", "reference", "--only", "sig-alg-none"];
    check(&[&["check", "--target", &clean.url][..], &only].concat(), 0, "");
    let flawed = Serve::start(&["--hash", "none", "--flaw", "allow-none"]);
    check(&[&["check", "--target", &flawed.url][..], &only].concat(), 1, "sig-alg-none");
}

#[test]
fn a_weakness_is_1_only_where_it_was_asked_for() {
    let server = Serve::start(&["--hash", "none", "--flaw", "cacheable-token"]);
    let only = ["--profile", "reference", "--only", "issue-no-store"];
    check(&[&["check", "--target", &server.url][..], &only].concat(), 0, "issue-no-store");
    check(&[&["check", "--target", &server.url, "--fail-on", "should"][..], &only].concat(), 1, "issue-no-store");
}

#[test]
fn a_skip_is_1_where_it_is_required_and_0_else() {
    let server = Serve::start(&["--hash", "none"]);
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("keyless.yaml");
    std::fs::write(&profile, "schema: 1\nname: keyless\nextends: reference\nkeys: null\n").expect("written");
    let profile = profile.display().to_string();
    let common =
        ["check", "--target", &server.url, "--profile", &profile, "--only", "time-nbf", "--only", "sig-alg-none"];
    check(&common, 0, "signing-key");
    check(&[&common[..], &["--require", "signing-key"]].concat(), 1, "signing-key");
}

#[test]
fn a_check_that_judged_nothing_is_3_and_says_why() {
    let server = Serve::start(&["--hash", "none"]);
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("keyless.yaml");
    std::fs::write(&profile, "schema: 1\nname: keyless\nextends: reference\nkeys: null\n").expect("written");
    let profile = profile.display().to_string();
    let common = ["check", "--target", &server.url, "--profile", &profile, "--only", "time-nbf"];
    check(&common, 3, "nothing was judged: of 1 checks none could be tried, 1 for want of signing-key");
    check(&[&common[..], &["--require", "signing-key"]].concat(), 1, "signing-key");
}

/// A server that answers every request with this status, and an empty object.
fn always(status: &'static str) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serve = move |mut stream: std::net::TcpStream| {
        let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        // Requests without a body end with their first empty line.
        while let Some(Ok(line)) = lines.next() {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
            if line.is_empty() && stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    };
    // Ends with the test: the threads hold nothing but their connections.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

#[test]
fn a_comparison_in_which_one_side_refuses_everything_is_3_before_its_first_round() {
    let (good, bad) = (always("200 OK"), always("401 Unauthorized"));
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("fixed.yaml");
    let text = "schema: 1\nname: fixed\ndialect: rs-only\noperations:\n  issue: {command: [printf, '{\"access\": \"no-jwt-at-all\"}']}\n  \
                verify.resource: {request: {path: /me, auth: {bearer: '${token}'}}, accepted: {status: 200}}\n";
    std::fs::write(&profile, text).expect("written");
    let (a, b) = (format!("a={good}"), format!("b={bad}"));
    let profile = profile.display().to_string();
    let since = std::time::Instant::now();
    check(
        &["compare", "--target", &a, "--target", &b, "--profile", &profile, "--sessions", "1"],
        3,
        "`b`: expected requests to be answered as the profile says, saw none",
    );
    assert!(since.elapsed().as_secs() < 20, "it goes on for rounds although nothing is answered");
}

#[test]
fn what_is_required_and_left_out_by_a_filter_is_1_with_the_reason() {
    let server = Serve::start(&["--hash", "none"]);
    let common = ["check", "--target", &server.url, "--profile", "reference", "--only", "issue-basic"];
    check(&common, 0, "");
    let with = |more: &[&'static str], code: i32, says: &str| check(&[&common[..], more].concat(), code, says);
    with(&["--require", "issue-basic"], 0, "");
    with(&["--require", "sig-alg-none"], 1, "required, but left out by only");
    with(&["--skip", "issue-basic", "--only", "issue-*", "--require", "issue"], 1, "required, but left out by skip");
    // The profile has the key and no log files: a capability is there or not, whatever was chosen.
    with(&["--require", "signing-key"], 0, "");
    with(&["--require", "logs"], 1, "required, but logs is missing");
}

#[test]
fn a_known_deviation_is_held_to_its_outcome_and_to_its_variant() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::start(&["--hash", "none"]);
    let known = |entry: &str, only: &str, code: i32, says: &str| {
        let profile = folder.path().join("known.yaml");
        let text = format!("schema: 1\nname: known\nextends: reference\nkeys: null\nknown: {{{entry}}}\n");
        std::fs::write(&profile, text).expect("written");
        let profile = profile.display().to_string();
        check(&["check", "--target", &server.url, "--profile", &profile, "--only", only], code, says);
    };
    known("time-nbf: {outcome: blocked, reason: no key}", "time-nbf", 0, "known");
    known("time-nbf: {outcome: inconclusive, reason: no key}", "time-nbf", 1, "expects inconclusive, saw blocked");
    known("sig-alg-none: {outcome: blocked, reason: x}", "sig-alg-none", 1, "expects blocked, saw pass");
    known("sig-alg-none: {outcome: pass, reason: x}", "sig-alg-none", 0, "");
    known("sig-alg-none/Nome: {reason: x}", "sig-alg-none", 1, "no such variant");
    known("struct-b64-junk/signature-dot: {reason: x}", "struct-b64-junk", 1, "no such variant");
    known("struct-b64-junk/signature-dot: {reason: x}", "sig-alg-none", 0, "");
}

#[test]
fn a_known_deviation_is_0_and_one_that_is_gone_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("known.yaml");
    let text = "schema: 1\nname: known\nextends: reference\nknown: {sig-alg-none: {reason: the old gateway}}\n";
    std::fs::write(&profile, text).expect("written");
    let profile = profile.display().to_string();
    let flawed = Serve::start(&["--hash", "none", "--flaw", "allow-none"]);
    let only = ["--profile", &profile, "--only", "sig-alg-none"];
    check(&[&["check", "--target", &flawed.url][..], &only].concat(), 0, "known");
    let clean = Serve::start(&["--hash", "none"]);
    check(&[&["check", "--target", &clean.url][..], &only].concat(), 1, "known");
}

#[test]
fn mistakes_of_the_user_are_2() {
    check(&["check", "--target", "http://127.0.0.1:9", "--profile", "no-such-profile"], 2, "no-such-profile");
    check(&["run", "no-such-scenario.yaml"], 2, "no-such-scenario.yaml");
    check(&["check", "--target", "http://192.0.2.1", "--profile", "reference"], 2, "--allow-remote");
    check(&["proxy", "--upstream", "http://192.0.2.1:80"], 2, "--allow-remote");
    check(&["no-such-command"], 2, "no-such-command");
}

#[test]
fn a_server_that_is_not_there_is_3() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let url = format!("http://127.0.0.1:{port}");
    check(&["check", "--target", &url, "--profile", "reference", "--only", "sig-*"], 3, &port.to_string());
    check(&["init", &url, "--user", "alice", "--password", "x"], 3, &port.to_string());
}

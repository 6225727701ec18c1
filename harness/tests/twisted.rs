//! Does `check` tell the truth of servers that go wrong, or right, in their own way?

#[path = "kit/servers.rs"]
mod servers;
#[path = "kit/twisted.rs"]
mod twisted;

use std::path::Path;
use std::process::Output;

use servers::{assay, said};
use twisted::{PASSWORD, Twist, Twisted};

fn check_in(folder: &Path, server: &Twisted, more: &[&str]) -> Output {
    let fixed = ["check", "--target", &server.url, "--profile", "simplejwt"];
    assay(folder, &[&fixed[..], more].concat())
}

/// The exit code of `check --only ...` against a twisted server, and words that it says.
#[track_caller]
fn check(twist: Twist, only: &[&str], code: i32, says: &str) {
    twisted::check("simplejwt", twist, only, code, says);
}

const FORGED: &[&str] = &["sig-alg-none", "sig-tamper", "sig-wrong-key", "struct-segments"];

#[test]
fn a_sound_server_passes() {
    let more = ["issue-bad-credentials", "issue-post-only", "claim-refresh-as-access", "refresh-basic"];
    check(Twist::None, &[FORGED, &more].concat(), 0, "passed");
}

#[test]
fn one_broken_worker_of_two_is_found() {
    check(Twist::NoneOnOneWorker(0), &["sig-alg-none"], 1, "sig-alg-none");
    check(Twist::NoneOnOneWorker(1), &["sig-alg-none"], 1, "sig-alg-none");
}

#[test]
fn an_unsecured_token_is_found_in_whatever_header_it_is_taken() {
    check(Twist::NoneAlone, &["sig-alg-none"], 1, "sig-alg-none");
}

#[test]
fn what_is_forged_of_tokens_that_live_for_seconds_is_judged_while_they_live() {
    check(Twist::FleetingTakesNone, &["sig-alg-none"], 1, "none-alone");
    check(Twist::Fleeting, FORGED, 0, "passed");
}

#[test]
fn a_refresh_token_that_opens_the_resource_the_second_time_is_found() {
    check(Twist::RefreshTheSecondTime, &["claim-refresh-as-access"], 1, "claim-refresh-as-access");
}

#[test]
fn a_limit_is_no_refusal() {
    check(Twist::LimitsWrongPasswords, &["issue-bad-credentials"], 3, "limits its callers");
}

#[test]
fn a_user_who_is_locked_meanwhile_lets_nothing_pass() {
    let needs_logins = ["refresh-basic", "refresh-invalid", "claim-access-as-refresh"];
    check(Twist::LocksAfter(3), &needs_logins, 3, "a login that worked before");
}

#[test]
fn a_login_that_ends_the_session_before_it_leaves_the_checks_their_controls() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::OneSession);
    let more =
        ["--only", "struct-*", "--only", "sig-*", "--only", "claim-*", "--only", "verify-*", "--only", "refresh-*"];
    let output = check_in(folder.path(), &server, &more);
    let told = said(&output);
    assert!(told.contains("a login ends the user's session before it"), "{told}");
    assert!(!told.contains("controls-refused") && !told.contains("genuine token beside it was refused"), "{told}");
    assert_ne!(output.status.code(), Some(3), "{told}");
}

/// The record that `--out out` wrote.
fn run_of(folder: &Path) -> serde_json::Value {
    let all = files(&folder.join("out"));
    let (_, text) = all.into_iter().find(|(name, _)| name.ends_with("run.json")).expect("a run");
    serde_json::from_str(&text).expect("JSON")
}

/// The checks of a run that learnt nothing.
fn undecided(run: &serde_json::Value) -> Vec<&str> {
    let checks = run["checks"].as_array().expect("checks").iter();
    checks.filter(|check| check["verdict"] == "inconclusive").filter_map(|check| check["id"].as_str()).collect()
}

#[test]
fn hardly_a_check_learns_nothing_where_a_login_ends_the_session_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::OneSession);
    let output = check_in(folder.path(), &server, &["--out", "out", "--json"]);
    let told = said(&output);
    let run = run_of(folder.path());
    let undecided = undecided(&run);
    assert!(undecided.is_empty(), "{undecided:?}\n{told}");
}

#[test]
fn one_refresh_token_per_user_is_no_fault_of_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::OneRefreshToken);
    let more = ["--variant", "rotating", "--only", "refresh-*", "--only", "claim-*", "--out", "out", "--json"];
    let output = check_in(folder.path(), &server, &more);
    let told = said(&output);
    assert!(told.contains("a login ends the refresh token of the user's login before it"), "{told}");
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains("controls-refused"), "{told}");
    let run = run_of(folder.path());
    let undecided = undecided(&run);
    assert!(undecided.is_empty(), "{undecided:?}");
    // A body of another type was taken, which a should forbids, and what came after it was shown with a token of its own.
    let http = run["checks"].as_array().expect("checks").iter().find(|c| c["id"] == "refresh-http").expect("a check");
    let part = |name: &str| http["variants"].as_array()?.iter().find(|v| v["name"] == name).cloned();
    let of = |name: &str, what: &str| part(name).and_then(|v| v[what].as_str().map(str::to_owned));
    assert_eq!(of("content-type", "grade").as_deref(), Some("weakness"), "{http}");
    assert_eq!(of("duplicate-field", "finding").as_deref(), Some("accepted"), "{http}");
    assert_eq!(of("control", "grade").as_deref(), Some("ok"), "{http}");
}

#[test]
fn the_cookies_of_a_framework_are_no_tokens() {
    check(Twist::FrameworkCookies, &["issue-bad-credentials", "issue-post-only"], 0, "2 checks as required");
}

#[test]
fn what_a_lock_does_is_not_taken_for_how_a_password_is_compared() {
    check(Twist::LocksAfterWrong(1), &["issue-error-uniform"], 0, "the account is locked");
    check(Twist::LocksAfterWrong(2), &["issue-enum-timing"], 0, "the account is locked");
    check(Twist::LocksAfterWrong(20), &["issue-enum-timing"], 0, "the account is locked");
}

#[test]
fn where_no_connection_is_kept_nothing_can_stick_to_one() {
    check(Twist::None, &["bearer-conn-bleed"], 0, "1 check as required");
    check(Twist::OneAnswerPerConnection, &["bearer-conn-bleed"], 0, "ends every connection with its first answer");
}

#[test]
fn a_server_that_refuses_with_200_is_judged_by_what_it_grants() {
    check(Twist::RefusesWith200, FORGED, 0, "it is taken for a refusal");
    check(Twist::RefusesWith200AndTakesNone, FORGED, 1, "sig-alg-none");
    check(Twist::RefusesWith200, &["issue-bad-credentials"], 0, "weakness");
}

#[test]
fn a_login_page_is_no_login() {
    check(Twist::LoginPage, &["issue-post-only"], 0, "passed");
}

#[test]
fn a_token_that_cannot_be_sent_is_no_fault_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::UnsendableTokens);
    let output = check_in(folder.path(), &server, &["--only", "leak-*", "--only", "bearer-*", "--only", "struct-*"]);
    assert_ne!(output.status.code(), Some(4), "{}", said(&output));
    assert!(!said(&output).contains('\u{1b}'), "{}", said(&output));
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("read")).into_owned();
            all.push((path.display().to_string(), text));
        }
    }
    all
}

#[test]
fn neither_live_tokens_nor_passwords_are_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::Opaque);
    let more = ["--only", "issue-*", "--only", "refresh-*", "--only", "bearer-*", "--out", "out", "--json"];
    let output = check_in(folder.path(), &server, &more);
    let out = folder.path().join("out");
    let run = out.display().to_string();
    for format in ["md", "sarif", "csv", "openmetrics"] {
        assay(folder.path(), &["report", &run, "--format", format, "--out", &run]);
    }
    let mut texts = files(&out);
    texts.push(("what was printed".into(), said(&output)));
    assert!(texts.len() >= 6 && texts.iter().any(|(_, text)| text.contains("<redacted>")), "{:?}", texts.len());
    let issued = server.issued.lock().expect("sound").clone();
    assert!(issued.len() > 4);
    let other_case: String = PASSWORD.to_ascii_uppercase();
    for (name, text) in &texts {
        assert!(!text.contains(PASSWORD) && !text.contains(&other_case), "{name} holds the password");
        let token = issued.iter().find(|token| text.contains(token.as_str()));
        assert_eq!(token, None, "{name} holds a live token");
    }
}

#[test]
fn what_a_server_says_does_nothing_to_a_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Twisted::start(Twist::Evil);
    let more = ["--only", "issue-bad-credentials", "--only", "sig-alg-none", "--out", "out"];
    let output = check_in(folder.path(), &server, &more);
    let mut texts = files(&folder.path().join("out"));
    texts.push(("what was printed".into(), said(&output)));
    for (name, text) in &texts {
        let acts = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
        assert!(!text.contains(acts), "{name} holds control characters");
        assert!(name.ends_with(".json") || !text.contains("<script>alert"), "{name} holds the server's markup");
    }
    assert!(texts.iter().any(|(_, text)| text.contains(r"\u{1b}[31m")), "the reply is shown nowhere");
}

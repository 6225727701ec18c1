//! Does a check judge only what it has seen beside a control that holds?

#[path = "kit/servers.rs"]
mod servers;
#[path = "kit/twisted.rs"]
mod twisted;

use servers::{assay, said};
use twisted::{Twist, Twisted};

/// SimpleJWT's profile with the key, and hooks that do nothing.
const KEYED: &str = "schema: 1
name: keyed
extends: simplejwt
declares: {leeway_s: null}
keys: {sign: {secret: a-secret-that-is-long-enough-for-hs256}}
admin: {disable_user: {command: ['true']}, enable_user: {command: ['true']}, rotate_keys: {command: ['true']}}
";

/// The exit code of `check --only ...` against a twisted server, and words that it says.
#[track_caller]
fn check(twist: Twist, only: &[&str], code: i32, says: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let profile = folder.path().join("keyed.yaml");
    std::fs::write(&profile, KEYED).expect("written");
    twisted::check(&profile.display().to_string(), twist, only, code, says);
}

#[test]
fn a_public_page_condemns_no_token() {
    check(
        Twist::Public,
        &["sig-tamper", "sig-alg-none", "type-exp-string", "bearer-conn-bleed"],
        0,
        "accepts a request",
    );
    check(Twist::Public, &["bearer-missing"], 1, "bearer-missing");
}

#[test]
fn a_public_page_says_nothing_of_bad_headers_other_methods_and_users_who_are_gone() {
    let ids = [
        "bearer-error-code",
        "bearer-scheme-case",
        "bearer-grammar",
        "bearer-query",
        "bearer-cacheable",
        "bearer-method-path",
        "bearer-conditional",
        "claim-sub-unknown",
    ];
    let (server, folder) = (Twisted::start(Twist::Public), tempfile::tempdir().expect("a folder"));
    std::fs::write(folder.path().join("keyed.yaml"), KEYED).expect("written");
    let only: Vec<&str> = ids.iter().flat_map(|id| ["--only", *id]).collect();
    let fixed = ["check", "--target", &server.url, "--profile", "keyed.yaml", "--fail-on", "should", "--json"];
    let output = assay(folder.path(), &[&fixed[..], &only].concat());
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = run["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), ids.len());
    for check in checks {
        let lacks = check["reason"]["needs"].as_str().unwrap_or_default();
        assert_eq!(lacks, "a resource that refuses a request without a token", "{check:#}");
    }
    check(Twist::Public, &["sig-kid-inject"], 0, "1 check as required");
}

#[test]
fn where_nothing_refreshes_no_refusal_of_a_refresh_token_counts() {
    check(Twist::RefreshElsewhere, &["refresh-invalid"], 3, "blocked-by:refresh-basic");
    check(Twist::RefreshElsewhere, &["revoke-effective"], 3, "blocked-by:refresh-basic");
}

#[test]
fn where_the_genuine_token_is_refused_no_other_refusal_counts() {
    check(Twist::Refuses("alice"), &["bearer-query"], 0, "refuses a genuine token");
    check(Twist::Refuses("bob"), &["verify-user-state"], 0, "refuses the second user's token from the start");
}

#[test]
fn odd_times_break_no_check() {
    let unkeyed = Twisted::start(Twist::OddTimes);
    let folder = tempfile::tempdir().expect("a folder");
    let fixed = ["check", "--target", &unkeyed.url, "--profile", "simplejwt", "--only", "time-*"];
    let output = assay(folder.path(), &fixed);
    assert_ne!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("refresh tokens say that they ended"), "{}", said(&output));
}

#[test]
fn an_answer_that_is_lost_now_and_then_is_no_verdict() {
    for every in [4, 5, 7] {
        check(Twist::Noisy(every), &["bearer-scheme-case"], 0, "passed");
    }
    check(Twist::Noisy(5), &["keys-rotation-load"], 3, "had no orderly answer");
    let ids = ["sig-wrong-key", "sig-tamper", "struct-segments", "verify-agreement"];
    for every in [11, 13] {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Twisted::start(Twist::Noisy(every));
        let only: Vec<&str> = ids.iter().flat_map(|id| ["--only", *id]).collect();
        let fixed = ["check", "--target", &server.url, "--profile", "simplejwt"];
        let output = assay(folder.path(), &[&fixed[..], &only].concat());
        assert!(!said(&output).contains("violation  verify-agreement"), "{every}: {}", said(&output));
        assert_ne!(output.status.code(), Some(1), "{every}: {}", said(&output));
    }
}

#[test]
fn a_limit_that_does_not_say_so_is_waited_for() {
    check(Twist::Limited, &["sig-tamper"], 0, "passed");
}

#[test]
fn two_lost_answers_do_not_switch_off_what_is_signed() {
    for signed in ["time-exp-missing", "struct-b64-padding", "struct-b64-alphabet"] {
        check(Twist::LosesControls, &[signed], 0, "was not learnt");
    }
    check(Twist::LosesControls, &["sig-alg-odd"], 3, "was not learnt");
}

#[test]
fn a_clock_that_is_behind_is_not_taken_for_a_leeway() {
    check(Twist::BehindWithLeeway, &["time-exp-rejected"], 0, "passed");
}

#[test]
fn logins_of_one_second_that_bring_one_text_take_nothing_from_each_other() {
    let only = ["refresh-basic", "refresh-invalid", "refresh-chain", "revoke-effective", "revoke-cascade"];
    twisted::check("simplejwt", Twist::SameText, &only, 0, "within a second bring the same token");
}

#[test]
fn a_race_that_shows_no_more_than_its_sequence_is_no_violation() {
    let (server, folder) = (Twisted::start(Twist::RevokesOneText), tempfile::tempdir().expect("a folder"));
    let fixed = ["check", "--target", &server.url, "--profile", "simplejwt", "--only", "refresh-vs-revoke"];
    let output = assay(folder.path(), &[&fixed[..], &["--variant", "rotating"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("cannot be told from the sequence"), "{}", said(&output));
    let profile = "schema: 1
name: families
extends: simplejwt
operations:
  refresh: {returns: {refresh: /refresh}, rotates: true, replay: rejected, replay_revokes_family: true}
";
    std::fs::write(folder.path().join("families.yaml"), profile).expect("written");
    let fixed = ["check", "--target", &server.url, "--profile", "families.yaml", "--only", "refresh-vs-revoke"];
    let output = assay(folder.path(), &fixed);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
}

#[test]
fn an_access_token_that_outlives_its_own_revocation_is_a_violation() {
    for accepts in ["access, refresh", "access"] {
        let (server, folder) = (Twisted::start(Twist::RevokesOneText), tempfile::tempdir().expect("a folder"));
        let profile =
            format!("schema: 1\nname: kinds\nextends: simplejwt\noperations: {{revoke: {{accepts: [{accepts}]}}}}\n");
        std::fs::write(folder.path().join("kinds.yaml"), profile).expect("written");
        let fixed = ["check", "--target", &server.url, "--profile", "kinds.yaml", "--only", "revoke-effective"];
        let output = assay(folder.path(), &fixed);
        assert_eq!(output.status.code(), Some(1), "{accepts}: {}", said(&output));
        assert!(said(&output).contains("a revoked access token refused by `resource`"), "{}", said(&output));
    }
    twisted::check("simplejwt", Twist::RevokesOneText, &["revoke-effective", "revoke-access"], 0, "passed");
}

#[test]
fn a_token_that_ends_after_its_revocation_has_not_been_revoked_late() {
    twisted::check("simplejwt", Twist::Fleeting, &["revoke-latency"], 0, "does not honour revocations");
}

#[test]
fn a_form_is_not_condemned_for_what_its_parts_are_refused_or_taken_for() {
    check(Twist::KnownHeadersOnly, &["struct-member-case"], 0, "passed");
    check(Twist::EndlessTokens, &["struct-dup-members"], 0, "passed");
    check(Twist::PageForNobody, &["bearer-query"], 0, "1 check as required");
}

#[test]
fn what_is_required_has_not_passed_where_nothing_was_learnt() {
    let (server, folder) = (Twisted::start(Twist::Refuses("alice")), tempfile::tempdir().expect("a folder"));
    let fixed = ["check", "--target", &server.url, "--profile", "simplejwt", "--only", "bearer-query"];
    for (required, code) in [(None, 0), (Some("bearer-query"), 3), (Some("bearer"), 3)] {
        let more: Vec<&str> = required.iter().flat_map(|what| ["--require", *what]).collect();
        let output = assay(folder.path(), &[&fixed[..], &more].concat());
        assert_eq!(output.status.code(), Some(code), "{more:?}\n{}", said(&output));
    }
}

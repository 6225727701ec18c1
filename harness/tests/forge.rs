//! Does the curl line of a finding show the finding again when it is pasted into a shell?

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;

use assay::conformance::{Examination, Selection, catalogue, examine};
use assay::launch::{LaunchOptions, Launcher, Start};
use assay::record::{Evidence, Redactor, Verdict};
use assay::run::preflight;
use assay::scenario::Topology;
use assay::target::{Asked, Profile, load};
use serde_json::{Value, json};

#[path = "kit/servers.rs"]
mod servers;

use servers::{ASSAY, Serve};

/// What some checks find on a server with a flaw, told to `then`, and how many exchanges show it. `how` speaks to the
/// server.
fn findings_by(flaw: &str, only: &[&str], how: &Profile, then: impl Fn(&Evidence)) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let options = LaunchOptions { logs: folder.path().join("logs"), assay: PathBuf::from(ASSAY), cpus: None };
    let chain: Topology =
        serde_json::from_value(json!([{"reference-server": {"flaw": flaw, "hash": "none"}}])).unwrap();
    let running = Launcher::new(options).up("bare", &chain, &Start::plain(folder.path())).unwrap();
    let target = preflight("bare", how, running.url(), running.admin_url(), &[]).unwrap();
    let selection = Selection::new(&serde_json::from_value(json!({"only": only})).unwrap(), catalogue()).unwrap();
    let found = examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &selection,
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        deployment: None,
        capsule: None,
        catalogue: catalogue(),
        on_event: &|_| {},
        cancel: &AtomicBool::new(false),
    })
    .unwrap();
    let evidence = found.checks.iter().filter(|c| c.verdict == Verdict::Fail).flat_map(|c| &c.evidence);
    evidence.filter(|evidence| evidence.curl.is_some()).inspect(|evidence| then(evidence)).count()
}

fn findings(flaw: &str, only: &[&str], then: impl Fn(&Evidence)) -> usize {
    findings_by(flaw, only, &load("reference", None, Path::new(".")).unwrap(), then)
}

/// Pastes lines into a shell that finds `assay` where we have built it, and knows these variables.
fn shell(lines: &str, variables: &[(&str, &str)]) -> Output {
    let folder = Path::new(ASSAY).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    for name in ["PASSWORD", "SECOND_PASSWORD", "CLIENT_SECRET", "SECOND_CLIENT_SECRET", "ASSAY_PASSWORD"] {
        shell.env_remove(name);
    }
    shell.args(["-c", lines]).env("PATH", path).envs(variables.iter().copied()).output().unwrap()
}

/// What the lines print where the reader has set what they say.
fn pasted(lines: &str) -> String {
    let known = [
        ("PASSWORD", "correct-horse-9"),
        ("SECOND_PASSWORD", "correct-horse-9"),
        ("CLIENT_SECRET", "assay-secret"),
        ("SECOND_CLIENT_SECRET", "assay-two-secret"),
    ];
    let output = shell(lines, &known);
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Pasted, the line is answered as in the record.
#[track_caller]
fn shows_again(evidence: &Evidence) {
    let curl = evidence.curl.as_deref().unwrap();
    assert!(!curl.contains("eyJ") && !curl.contains("<redacted>"), "a secret, or a hole, in {curl}");
    let (answer, before) = (pasted(curl), evidence.response.as_deref().unwrap_or_default());
    assert_eq!(status(&answer), status(before), "{curl}\nthen: {before}\nnow: {answer}");
}

fn status(head: &str) -> &str {
    head.split_whitespace().nth(1).unwrap_or("no status")
}

#[test]
fn a_pasted_curl_line_shows_the_finding_again() {
    let curl = Command::new("curl").arg("--version").output();
    assert!(curl.is_ok(), "curl is needed to paste its lines; `make test` installs it");
    for (flaw, only) in [
        ("allow-none", "sig-alg-none"),
        ("decode-only", "sig-wrong-key"),
        ("ignore-exp", "time-exp-rejected"),
        ("if-exp-truthy", "time-exp-falsy"),
        ("no-type-check", "claim-refresh-as-access"),
        ("query-token", "bearer-query"),
        ("exact-case", "bearer-scheme-case"),
        ("crash-exp", "type-exp-other"),
        ("silent-noop", "revoke-effective"),
        ("crash-deleted", "claim-sub-unknown"),
        // A password in other letter case, a login's own line, and a refresh token that its use would use up.
        ("any-password", "issue-bad-credentials"),
        ("cacheable-token", "issue-no-store"),
        ("rotate-without-revoke", "refresh-old-rejected"),
        ("copy-iat", "refresh-basic"),
        // Tokens that a JSON body has to escape: line ends, and JSON inside of JSON.
        ("lenient-b64", "struct-b64-junk"),
        ("accept-json-jws", "struct-json-serialization"),
        ("verify-json-read-compact", "struct-polyglot"),
        // A genuine token that is not the one under test, of one user or of two.
        ("cors-reflect", "leak-cors"),
        ("last-header-wins", "bearer-dup-header"),
        ("second-wins", "bearer-two-methods"),
        // Tokens that are encrypted.
        ("guessable-jwe", "jwe-as-jws"),
        // Tokens that lead to a listener of ours.
        ("follow-jku", "sig-remote-key"),
    ] {
        let shown = findings(flaw, &[only], shows_again);
        assert!(shown > 0, "{flaw}: nothing was found to be shown again");
    }
}

#[test]
fn an_endpoint_that_a_document_names_and_that_is_not_there_is_asked_by_a_line() {
    let oauth = load("reference-oauth", None, Path::new(".")).unwrap();
    let shown = findings_by("dead-endpoint", &["keys-discovery"], &oauth, shows_again);
    assert!(shown > 0, "nothing was found");
}

#[test]
fn a_line_for_a_second_client_takes_its_secret_from_a_variable() {
    let oauth = load("reference-oauth", None, Path::new(".")).unwrap();
    let shown = findings_by("unbound-rt", &["claim-client-binding"], &oauth, |evidence| {
        let curl = evidence.curl.as_deref().unwrap();
        assert!(curl.starts_with(": \"${SECOND_CLIENT_SECRET:?set it to the secret of assay-two}\"\n"), "{curl}");
        assert!(curl.contains("-u assay-two:\"$SECOND_CLIENT_SECRET\""), "{curl}");
        shows_again(evidence);
    });
    assert!(shown > 0, "nothing was found");
}

#[test]
fn a_line_shows_again_what_a_refresh_a_revocation_and_introspection_said() {
    let oauth = load("reference-oauth", None, Path::new(".")).unwrap();
    for (flaw, only) in [
        ("scope-upgrade", "refresh-scope"),
        ("narrow-refused", "refresh-scope"),
        ("scope-shrinks", "refresh-scope"),
        ("trust-hint", "revoke-hint"),
        ("anyone-revokes", "revoke-authz"),
        ("active-string", "verify-shape"),
        ("get-introspection", "verify-shape"),
        ("inactive-leaks", "verify-inactive-minimal"),
        ("inactive-refused", "verify-inactive-minimal"),
    ] {
        let shown = findings_by(flaw, &[only], &oauth, shows_again);
        assert!(shown > 0, "{flaw}: nothing was found to be shown again");
    }
}

#[test]
fn who_was_named_on_the_command_line_is_named_in_the_lines_and_the_password_is_asked_for() {
    let mut profile = load("reference", None, Path::new(".")).unwrap();
    profile.user = profile.second_user.take();
    profile.asked = Asked { login: true, password: true, ..Asked::default() };
    let shown = findings_by("no-type-check", &["claim-refresh-as-access"], &profile, |evidence| {
        let curl = evidence.curl.as_deref().unwrap();
        assert!(curl.contains("ASSAY_PASSWORD=\"$PASSWORD\" assay forge ") && curl.contains(" --user bob"), "{curl}");
        shows_again(evidence);
        let unset = shell(curl, &[]);
        let told = String::from_utf8_lossy(&unset.stderr).into_owned();
        assert!(!unset.status.success() && told.contains("PASSWORD: set it to the password of bob"), "{told}");
        let wrong = shell(curl, &[("PASSWORD", "not-the-password-of-bob")]);
        let answer = String::from_utf8_lossy(&wrong.stdout).into_owned();
        assert_ne!(status(&answer), "200", "the password is not taken from the variable: {answer}");
    });
    assert!(shown > 0, "nothing was found");
}

#[test]
fn the_flags_of_the_command_line_stand_in_the_lines_without_the_password() {
    let server = Serve::start(&["--hash", "none", "--flaw", "no-type-check"]);
    let common = ["check", "--target", &server.url, "--profile", "reference", "--only", "claim-refresh-as-access"];
    let line = |flags: &[&str], variable: Option<&str>| {
        let mut assay = Command::new(ASSAY);
        assay.args(common).args(flags).arg("--json").env_remove("ASSAY_PASSWORD");
        let output = assay.envs(variable.map(|value| ("ASSAY_PASSWORD", value))).output().unwrap();
        let record: Value = serde_json::from_slice(&output.stdout).unwrap();
        let curl = record["checks"][0]["evidence"][0]["curl"].as_str().unwrap_or_else(|| panic!("no line in {record}"));
        assert!(!curl.contains("correct-horse-9"), "{curl}");
        assert_eq!(status(&pasted(curl)), "200", "{curl}");
        curl.to_owned()
    };
    let both = line(&["--user", "bob", "--password", "correct-horse-9"], None);
    assert!(both.starts_with(": \"${PASSWORD:?set it to the password of bob}\"\n"), "{both}");
    assert!(
        both.contains("TOKEN=$(ASSAY_PASSWORD=\"$PASSWORD\" assay forge ") && both.contains(" --user bob"),
        "{both}"
    );
    let known = line(&["--user", "bob"], None);
    assert!(known.contains(" --user bob") && !known.contains("PASSWORD"), "the profile knows it: {known}");
    let second = line(&["--second-user", "carol", "--second-password", "correct-horse-9"], None);
    assert!(
        second.contains("ASSAY_SECOND_PASSWORD=\"$SECOND_PASSWORD\"") && second.contains(" --second-user carol"),
        "{second}"
    );
    let variable = line(&[], Some("correct-horse-9"));
    assert!(variable.contains("ASSAY_PASSWORD=\"$PASSWORD\"") && !variable.contains("--user"), "{variable}");
    assert!(!line(&[], None).contains("PASSWORD"));
}

#[test]
fn what_a_profile_takes_from_the_environment_a_line_takes_from_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Serve::start(&["--hash", "none", "--flaw", "unbound-rt"]);
    let profile = folder.path().join("shop two.yaml");
    let text = "schema: 1\nname: shop\nextends: reference-oauth\nsecond_client: {secret: \"${env:SHOP_TWO}\"}\n";
    std::fs::write(&profile, text).unwrap();
    let profile = profile.display().to_string();
    let arguments = ["check", "--target", &server.url, "--profile", &profile, "--only", "claim-client-binding"];
    let output =
        Command::new(ASSAY).args(arguments).arg("--json").env("SHOP_TWO", "assay-two-secret").output().unwrap();
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    let curl = record["checks"][0]["evidence"][0]["curl"].as_str().unwrap_or_else(|| panic!("no line in {record}"));
    assert!(curl.contains("-u assay-two:\"$SHOP_TWO\"") && !curl.contains("assay-two-secret"), "{curl}");
    let answer = shell(curl, &[("SHOP_TWO", "assay-two-secret")]);
    assert_eq!(status(&String::from_utf8_lossy(&answer.stdout)), "200", "{curl}");
    let unset = shell(curl, &[]);
    let told = String::from_utf8_lossy(&unset.stderr).into_owned();
    assert!(!unset.status.success() && told.contains("SHOP_TWO: set it to"), "{told}");
}

#[test]
fn what_cannot_be_forged_is_told_with_the_right_exit_code() {
    let run = |arguments: &[&str]| {
        let output = Command::new(ASSAY).args(["forge"]).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["sig-alg-non", "--target", "http://127.0.0.1:1", "--profile", "reference"]);
    assert!(code == Some(2) && text.contains("did you mean `sig-alg-none`"), "{code:?} {text}");
    let (code, text) = run(&["sig-alg-none/Nome", "--target", "http://127.0.0.1:1", "--profile", "reference"]);
    assert!(code == Some(2) && text.contains("no variant `Nome`"), "{code:?} {text}");
    let (code, text) = run(&["sig-alg-none", "--target", "http://127.0.0.1:1", "--profile", "reference"]);
    assert!(code == Some(3), "{code:?} {text}");
    let (code, text) = run(&["sig-alg-none"]);
    assert!(code == Some(2) && text.contains("--target"), "{code:?} {text}");
}

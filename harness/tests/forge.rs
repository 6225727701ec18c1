//! Does the curl line of a finding show the finding again when it is pasted into a shell?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use assay::conformance::{Examination, Selection, catalogue, examine};
use assay::launch::{LaunchOptions, Launcher, Start};
use assay::record::{Evidence, Redactor, Verdict};
use assay::scenario::Topology;
use assay::target::{Target, load};
use serde_json::json;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

/// What some checks find on a server with a flaw, and the shell lines that show it.
fn findings(flaw: &str, only: &[&str], then: impl Fn(&Evidence)) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let options = LaunchOptions { logs: folder.path().join("logs"), assay: PathBuf::from(ASSAY), cpus: None };
    let chain: Topology =
        serde_json::from_value(json!([{"reference-server": {"flaw": flaw, "hash": "none"}}])).unwrap();
    let running = Launcher::new(options).up("bare", &chain, &Start::plain(folder.path())).unwrap();
    let profile = load("reference", None, Path::new(".")).unwrap();
    let target = Target::new(profile, running.url(), running.admin_url(), &[]).unwrap();
    let selection = Selection::new(&serde_json::from_value(json!({"only": only})).unwrap(), catalogue()).unwrap();
    let found = examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &selection,
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        catalogue: catalogue(),
        on_event: &|_| {},
        cancel: &AtomicBool::new(false),
    })
    .unwrap();
    let mut shown = 0;
    for record in found.checks.iter().filter(|c| c.verdict == Verdict::Fail) {
        for evidence in &record.evidence {
            then(evidence);
            shown += 1;
        }
    }
    shown
}

/// Pastes a line into a shell that finds `assay` where we have built it.
fn pasted(lines: &str) -> String {
    let folder = Path::new(ASSAY).parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("sh").args(["-c", lines]).env("PATH", path).env("PASSWORD", "correct-horse-9").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
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
    ] {
        let shown = findings(flaw, &[only], |evidence| {
            let Some(curl) = &evidence.curl else { return };
            assert!(!curl.contains("eyJ"), "a token in {curl}");
            let answer = pasted(curl);
            let before = evidence.response.as_deref().unwrap_or_default();
            assert_eq!(status(&answer), status(before), "{curl}\nthen: {before}\nnow: {answer}");
        });
        assert!(shown > 0, "{flaw}: nothing was found to be shown again");
    }
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

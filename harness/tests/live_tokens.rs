//! Does anything that Assay writes or prints hold a token that is alive?

#[path = "kit/live.rs"]
mod live;
#[path = "kit/servers.rs"]
mod servers;

use std::path::Path;

use assay::target::{Target, Vars, load};
use servers::{Serve, assay, said};

/// Flaws whose findings show tokens in unusual ways, and the checks that find them.
const FLAWS: &[(&str, &[&str])] = &[
    // JSON inside of JSON, line ends and foreign characters inside of segments, the other alphabet, padding.
    ("accept-json-jws", &["struct-json-serialization", "struct-polyglot"]),
    ("verify-json-read-compact", &["struct-polyglot", "struct-json-serialization"]),
    ("lenient-b64", &["struct-*", "bearer-grammar"]),
    ("std-b64", &["struct-b64-alphabet"]),
    ("crash-header", &["struct-*", "bearer-*"]),
    ("crash-type", &["struct-*", "refresh-http"]),
    // Tokens in queries, cookies, bodies, answers and logs, two at a time, used and unused.
    ("query-token", &["bearer-*", "leak-*"]),
    ("cacheable-token", &["issue-no-store", "refresh-http"]),
    ("rotate-without-revoke", &["refresh-*"]),
    ("denylist-by-string", &["struct-malleable-denylist", "revoke-*"]),
    ("skip-verify", &["sig-tamper", "claim-*"]),
    ("cors-reflect", &["leak-*"]),
];

/// Everything that was written below a folder.
fn written(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path() {
            path if path.is_dir() => texts.extend(written(&path)),
            path => texts.push(String::from_utf8_lossy(&std::fs::read(path).expect("a file")).into_owned()),
        }
    }
    texts
}

#[test]
fn no_record_and_no_report_holds_a_live_token() {
    let formats = "json,junit,sarif,md,csv,openmetrics,html";
    for (flaw, only) in FLAWS {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Serve::start(&["--hash", "none", "--flaw", flaw]);
        let mut arguments = vec!["check", "--target", &server.url, "--profile", "reference"];
        arguments.extend(["--out", "run", "--fail-on", "should"]);
        arguments.extend(only.iter().flat_map(|glob| ["--only", *glob]));
        let checked = assay(folder.path(), &arguments);
        assert_eq!(checked.status.code(), Some(1), "{flaw} is not found\n{}", said(&checked));
        let rendered = assay(folder.path(), &["report", "run", "--format", formats, "--out", "reports"]);
        assert!(rendered.status.success(), "{}", said(&rendered));
        let mut texts = written(folder.path());
        assert!(texts.len() > 7, "not every report was written");
        texts.extend([said(&checked), said(&assay(folder.path(), &["report", "run"]))]);
        let profile = load("reference", None, Path::new(".")).expect("built in");
        let target = Target::new(profile, &server.url, None, &[]).expect("loopback");
        let alive = live::live_tokens(&texts, &live::key(&target));
        assert!(alive.is_empty(), "{flaw}: {} live tokens were written down, such as {}", alive.len(), alive[0]);
    }
}

#[test]
fn no_record_and_no_report_holds_a_private_key_that_the_server_publishes() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Serve::start(&["--hash", "none", "--alg", "ES256", "--flaw", "private-in-jwks"]);
    let profile = load("reference", Some("es256"), Path::new(".")).expect("built in");
    let target = Target::new(profile, &server.url, None, &[]).expect("loopback");
    let path = target.request("keys", &Vars::new()).expect("a key set").uri().path().to_owned();
    let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
    let keys =
        client.get(format!("{}{path}", server.url)).send().expect("a reply").json::<serde_json::Value>().expect("JSON");
    let private = keys["keys"][0]["d"].as_str().expect("the private half").to_owned();
    assert!(private.len() >= 40, "{private}");

    let fixed = ["check", "--target", &server.url, "--profile", "reference", "--variant", "es256"];
    let checked =
        assay(folder.path(), &[&fixed[..], &["--only", "keys-*", "--only", "sig-*", "--out", "run"]].concat());
    assert_eq!(checked.status.code(), Some(1), "{}", said(&checked));
    let formats = "json,junit,sarif,md,csv,openmetrics,html";
    let rendered = assay(folder.path(), &["report", "run", "--format", formats, "--out", "reports"]);
    assert!(rendered.status.success(), "{}", said(&rendered));
    let mut texts = written(folder.path());
    texts.extend([said(&checked), said(&assay(folder.path(), &["report", "run"]))]);
    assert!(texts.iter().any(|text| text.contains("private or symmetric key")), "the finding is shown nowhere");
    assert!(texts.iter().any(|text| text.contains("kty")), "its evidence is shown nowhere");
    let leaks = texts.iter().filter(|text| text.contains(&private[..16])).count();
    assert_eq!(leaks, 0, "{leaks} of {} texts hold the private key", texts.len());
}

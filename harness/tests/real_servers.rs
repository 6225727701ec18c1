//! Does the harness say the truth about servers that are not ours? Their packages come from PyPI, once; where Python or the
//! package index is out of reach, a test says so and passes over.

#[path = "kit/examples.rs"]
mod examples;
#[path = "kit/servers.rs"]
mod servers;

use std::path::Path;

use assay::target;
use examples::root;
use serde_json::Value;
use servers::{assay, pass_over, real, said};

#[test]
fn every_profile_of_the_real_servers_is_valid_in_every_variant() {
    for server in ["simplejwt", "django-oauth-toolkit", "fastapi", "resource-server"] {
        let folder = root().join("scenarios").join(server);
        let profile = target::load("profile.yaml", None, &folder).unwrap_or_else(|e| panic!("{server}: {e}"));
        for variant in profile.variants.keys() {
            target::load("profile.yaml", Some(variant), &folder).unwrap_or_else(|e| panic!("{server}, {variant}: {e}"));
        }
    }
}

/// The verdicts of a saved run, by check.
fn verdicts(folder: &Path) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(folder.join("run.json")).expect("a saved run");
    let run: Value = serde_json::from_str(&text).expect("JSON");
    let text = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = run["checks"].as_array().expect("checks");
    checks.iter().map(|check| (text(check, "id"), text(check, "verdict"), text(check, "summary"))).collect()
}

/// Checks that a server of scenarios/NAME passes and fails, by its own profile and by the one that `assay init` writes.
fn holds(name: &str, init: &[&str], passes: &[&str], fails: &[&str]) {
    // One after the other: each of them hashes passwords for a third of a second and has to answer in time.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let server = match real(name, &folder.path().join("logs")) {
        Ok(server) => server,
        Err(why) => return pass_over(name, &why),
    };
    let only: Vec<&str> = passes.iter().chain(fails).flat_map(|id| ["--only", id]).collect();
    let own = root().join("scenarios").join(name).join("profile.yaml").display().to_string();
    let output = assay(
        folder.path(),
        &[&["check", "--target", server.url(), "--profile", &own, "--out", "own"][..], &only].concat(),
    );
    let seen = verdicts(&folder.path().join("own"));
    for (ids, wanted) in [(passes, "pass"), (fails, "fail")] {
        for id in ids {
            let (_, verdict, summary) =
                seen.iter().find(|(found, _, _)| found == id).unwrap_or_else(|| panic!("{name}: no {id}"));
            assert_eq!(verdict, wanted, "{name}: {id}: {summary}\n{}", said(&output));
        }
    }

    let arguments =
        [&["init", server.url(), "--user", "alice", "--password", "correct-horse-9", "--name", "found"][..], init]
            .concat();
    let output = assay(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    let output = assay(folder.path(), &["validate", "found.yaml", "found.profile.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    let basics = ["--only", "issue-basic", "--only", "sig-tamper", "--only", "refresh-basic", "--out", "again"];
    let output = assay(folder.path(), &[&["check", "found.yaml"][..], &basics].concat());
    assert_eq!(output.status.code(), Some(0), "{name}: {}", said(&output));
    assert!(verdicts(&folder.path().join("again")).iter().any(|(_, verdict, _)| verdict == "pass"), "{name}");
}

#[test]
fn simplejwt_is_seen_as_it_is() {
    holds(
        "simplejwt",
        &["--resource", "/hello/"],
        &["issue-basic", "sig-alg-none", "time-exp-rejected", "claim-refresh-as-access", "revoke-effective"],
        &["issue-no-store", "verify-revoked"],
    );
}

#[test]
fn django_oauth_toolkit_is_seen_as_it_is() {
    holds(
        "django-oauth-toolkit",
        &["--client", "shop", "--client-secret", "shop-secret-9"],
        &["issue-basic", "issue-no-store", "refresh-basic", "revoke-effective"],
        &["bearer-missing"],
    );
}

#[test]
fn fastapi_is_seen_as_it_is() {
    holds(
        "fastapi",
        &[],
        &["issue-basic", "sig-alg-none", "sig-tamper", "time-exp-rejected"],
        &["issue-no-store", "time-exp-missing", "struct-json-encoding"],
    );
}

//! Does a load find what only shows, or also shows, while a server is busy? Each flaw of the reference server, driven for
//! some seconds; and the server without any.

#[path = "kit/servers.rs"]
mod servers;

use serde_json::{Value, json};
use servers::{Serve, assay, said};

/// A load of a few seconds against `assay serve` with these arguments: the record, and the exit code.
fn driven(arguments: &[&str], load: &Value) -> (Value, Option<i32>, String) {
    let serve = [&["--hash", "none"], arguments].concat();
    driven_at(&Serve::start(&serve), arguments, load)
}

/// The same against a server that is up.
fn driven_at(server: &Serve, arguments: &[&str], load: &Value) -> (Value, Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let variant = arguments.iter().find_map(|a| a.strip_prefix("--alg=")).map(str::to_lowercase);
    let scenario = json!({
        "name": "under-load", "target": "reference", "variant": variant,
        "topologies": {"bare": {"url": server.url}}, "load": load, "reports": ["json", "junit", "sarif", "html"],
    });
    std::fs::write(folder.path().join("s.yaml"), scenario.to_string()).expect("written");
    let output = assay(folder.path(), &["run", "s.yaml", "--out", "out"]);
    let text = said(&output);
    let run = std::fs::read_dir(folder.path().join("out")).expect(&text).flatten().next().expect("a run").path();
    let record = serde_json::from_slice(&std::fs::read(run.join("run.json")).expect("read")).expect("JSON");
    if output.status.code() == Some(1) {
        for (file, word) in
            [("junit.xml", "<failure"), ("report.sarif", "\"level\": \"error\""), ("report.html", "under-load")]
        {
            let shown = std::fs::read_to_string(run.join(file)).expect("a report");
            assert!(shown.contains(word) && shown.contains("first "), "{file} does not show it:\n{text}");
        }
    }
    (record, output.status.code(), text)
}

fn load(seconds: &str) -> Value {
    json!({
        "arrival": {"open": {"rate": "150/s"}}, "stages": [{"hold": seconds}], "warmup": "500ms",
        "mix": {"issue": 1, "refresh": 3, "access": 6}, "tokens": {"sessions": 40}, "connections": 16,
    })
}

fn found(record: &Value) -> Vec<(String, f64)> {
    let findings = record["loads"][0]["findings"].as_array().expect("findings");
    let one = |f: &Value| (f["check"].as_str().unwrap_or_default().to_owned(), f["first_s"].as_f64().unwrap_or(-1.0));
    findings.iter().map(one).collect()
}

/// The flaw's finding is seen, graded, and ends with exit code 1.
fn shows(flaw: &str, more: &[&str], check: &str, grade: &str) {
    let arguments = [&["--flaw", flaw], more].concat();
    let (record, code, text) = driven(&arguments, &load("4s"));
    let seen = found(&record);
    let at = seen.iter().find(|(id, _)| id == check).map(|(_, at)| *at);
    assert!(at.is_some_and(|at| (0.0..=4.5).contains(&at)), "{flaw}: {check} is not in {seen:?}\n{text}");
    assert_eq!(code, Some(1), "{flaw}\n{text}");
    let graded = record["checks"].as_array().expect("checks").iter().find(|c| c["id"] == check).cloned();
    assert_eq!(graded.map(|c| c["grade"].clone()), Some(json!(grade)), "{flaw}");
    assert!(text.contains(&format!("{grade} under load")), "{flaw}\n{text}");
}

#[test]
fn a_clean_server_is_found_clean() {
    for arguments in [&[][..], &["--alg=ES256"]] {
        let (record, code, text) = driven(arguments, &load("4s"));
        assert_eq!((found(&record), code), (Vec::new(), Some(0)), "{text}");
        let load = &record["loads"][0];
        let count = |key: &str| load[key].as_u64().unwrap_or_default();
        assert!(count("looked_at") > 50 && count("verified") > 3, "{load}");
        assert!(count("verified") <= count("sampled"));
        let controls = &load["controls"];
        assert_eq!((controls["unanswered"].as_u64(), controls["left_out"].clone()), (Some(0), json!([])), "{controls}");
        let kinds = controls["kinds"].as_object().expect("kinds");
        assert_eq!(kinds.len(), 7, "{kinds:?}");
        assert!(controls["exchanges"].as_u64().is_some_and(|n| (36..=250).contains(&n)), "{controls}");
        assert_eq!(count("failed"), 0, "{text}");
    }
}

#[test]
fn what_must_be_refused_is_found_to_be_accepted() {
    std::thread::scope(|scope| {
        scope.spawn(|| shows("check-then-act", &[], "refresh-race", "violation"));
        scope.spawn(|| shows("rotate-without-revoke", &[], "refresh-old-rejected", "violation"));
        scope.spawn(|| shows("lazy-denylist", &[], "revoke-latency", "weakness"));
        scope.spawn(|| shows("silent-noop", &[], "revoke-effective", "violation"));
    });
    std::thread::scope(|scope| {
        scope.spawn(|| shows("ignore-exp", &[], "time-exp-rejected", "violation"));
        scope.spawn(|| shows("skip-verify", &[], "sig-tamper", "violation"));
    });
}

/// A load that is spared logins must not get ours: each would be a password hash in the times of everybody.
#[test]
fn a_load_without_logins_gets_none_from_the_control_either_and_is_still_examined() {
    let mut load = load("4s");
    load["mix"] = json!({"refresh": 3, "access": 7});
    let flaw = ["--flaw", "rotate-without-revoke"];
    let server = Serve::start(&[&["--hash", "none"][..], &flaw].concat());
    let (record, code, text) = driven_at(&server, &flaw, &load);
    let controls = &record["loads"][0]["controls"];
    assert_eq!(code, Some(1), "{text}");
    assert!(found(&record).iter().any(|(check, _)| check == "refresh-old-rejected"), "{text}");
    assert!(controls["left_out"].to_string().contains("logins at the same instant"), "{controls}");
    assert!(text.contains("not tried: logins at the same instant"), "{text}");
    assert_eq!(controls["kinds"].as_object().map(serde_json::Map::len), Some(7), "{controls}");
    let metrics = reqwest::blocking::get(format!("{}/metrics", server.url)).and_then(|reply| reply.text());
    let metrics = metrics.expect("the server's own count");
    let logins = metrics.lines().find_map(|line| line.strip_prefix("reference_server_hashed_total "));
    // The load's 40 sessions, the control's two users, and three turns of five: all before the load.
    assert_eq!(logins, Some("57"), "{metrics}");
}

#[test]
fn users_that_are_mixed_up_are_found() {
    std::thread::scope(|scope| {
        scope.spawn(|| shows("shared-state-login", &[], "issue-identity-load", "violation"));
        scope.spawn(|| shows("shared-state-refresh", &[], "refresh-identity-load", "violation"));
        scope.spawn(|| shows("connection-user", &[], "bearer-conn-bleed", "violation"));
    });
}

#[test]
fn tokens_that_repeat_are_found() {
    std::thread::scope(|scope| {
        scope.spawn(|| shows("jti-from-clock", &[], "issue-unique-load", "violation"));
        scope.spawn(|| shows("fixed-k", &["--alg=ES256"], "issue-unique-load", "violation"));
        scope.spawn(|| shows("copy-iat", &[], "refresh-basic", "violation"));
    });
}

#[test]
fn several_loops_drive_one_load_and_never_more_than_there_are_cores() {
    let several = |cores: u32| {
        let mut load = load("1s");
        (load["cores"], load["control"]) = (cores.into(), "0%".into());
        driven(&[], &load)
    };
    let there = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let (record, code, text) = several(there);
    let load = &record["loads"][0];
    let workers = load["certificate"]["workers"].as_array().expect("workers");
    assert_eq!(
        (load["workers"].as_u64(), workers.len(), code),
        (Some(there.into()), there as usize, Some(0)),
        "{text}"
    );
    let sent: u64 = workers.iter().filter_map(|w| w["sent"].as_u64()).sum();
    let count = |key: &str| load[key].as_u64().unwrap_or_default();
    assert!(sent > 0 && sent <= count("planned") && count("completed") <= count("planned"), "{load}");
    assert!(workers.iter().all(|w| w["sent"].as_u64() > Some(0) && w["processor"].is_u64()), "{workers:?}");
    assert!(load["certificate"]["floor_p50_ns"].as_u64() > Some(0), "{load}");
    assert!(load["certificate"]["doubts"].to_string().contains("processors are not known"), "{load}");
    // Logs are told that sessions are prepared, and that they are ready.
    assert!(text.contains("preparing 40 sessions") && text.contains("40 sessions are ready after"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let refused =
        assay(folder.path(), &["load", "--target", "http://127.0.0.1:9", "--profile", "reference", "--cores", "256"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(said(&refused).contains("for the generator, saw `cores: 256`"), "{}", said(&refused));
}

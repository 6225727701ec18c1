//! Does every flag do what its help says, or say why not?

#[path = "kit/program.rs"]
mod program;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use program::{HEAD, Said, Served, assay, said, scenario};

/// The grades of a record by check.
fn outcome(said: &Said, id: &str) -> String {
    let record: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", said.out, said.err));
    let checks = record["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {}", said.out));
    check["grade"].as_str().expect("a grade").to_owned()
}

#[test]
fn whoever_logs_in_the_second_user_is_another() {
    let server = Served::start(&["--users", "2"]);
    let check = |more: &[&str]| {
        let only = ["check", "--target", &server.url, "--profile", "reference", "--only", "claim-cross-user", "--json"];
        assay(&[&only, more].concat())
    };
    // The second user of the profile logs in: the first takes the other's place.
    let swapped = check(&["--user", "bob"]);
    assert_eq!((swapped.code, outcome(&swapped, "claim-cross-user").as_str()), (0, "ok"), "{}", swapped.err);
    // A stranger logs in: the profile's second user may be anybody on that server.
    let stranger = check(&["--user", "user1", "--password", "correct-horse-9"]);
    assert_eq!(outcome(&stranger, "claim-cross-user"), "skip", "{}", stranger.err);
    assert!(stranger.err.contains("note: `user1` is no user of the profile") && stranger.err.contains("--second-user"));
    let second = ["--second-user", "user2", "--second-password", "correct-horse-9"];
    let both = check(&[&["--user", "user1", "--password", "correct-horse-9"], &second[..]].concat());
    assert_eq!((both.code, outcome(&both, "claim-cross-user").as_str()), (0, "ok"), "{}", both.err);
    for (wrong, told) in [
        (["--user", "bob", "--second-user", "bob"], "expected another user than the first"),
        (["--user", "alice", "--second-user", "carol"], "expected a password beside it"),
    ] {
        let said = check(&wrong);
        assert!(said.code == 2 && said.err.contains(told), "{wrong:?}: {} {}", said.code, said.err);
    }
}

#[test]
fn a_second_user_who_cannot_log_in_is_told_before_anything_else() {
    let server = Served::start(&[]);
    let common = ["check", "--target", &server.url, "--profile", "reference", "--only", "bearer-*"];
    let said = assay(&[&common[..], &["--second-user", "bob", "--second-password", "not-that-of-bob-9"]].concat());
    let told = "the login of the second user `bob` does not work (refused with 401): ";
    assert!(said.out.contains(told), "{}\n{}", said.out, said.err);
    let said = assay(&common);
    assert!(!said.out.contains("the login of the second user"), "{}", said.out);
}

#[test]
fn flags_beside_a_scenario_count_or_are_refused() {
    let server = Served::start(&[]);
    let folder = scenario(&format!(
        "name: small\ntarget: reference\ntopologies:\n  running: {{url: {}}}\nconformance: {{only: [issue-basic, claim-sub-unknown]}}\nreports: [md]\n",
        server.url
    ));
    let file = folder.path().join("s.yaml");
    let out = folder.path().join("record");
    let (file, out) = (file.to_str().expect("text"), out.to_str().expect("text"));
    let misspelt = assay(&["check", file, "--variant", "es265"]);
    assert!(misspelt.code == 2 && misspelt.err.contains("es256"), "{} {}", misspelt.code, misspelt.err);
    let said = assay(&["check", file, "--admin", &server.admin, "--out", out]);
    assert_eq!(said.code, 0, "{}", said.err);
    for name in ["run.json", "junit.xml", "report.html", "report.md"] {
        assert!(Path::new(out).join(name).is_file(), "{name} is missing");
    }
    let record = std::fs::read_to_string(Path::new(out).join("run.json")).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert!(record.get("scenario_file").is_none(), "it lies outside of the folder: {}", record["scenario_file"]);

    let started = scenario(&format!("{HEAD}conformance: {{only: [issue-basic]}}\n"));
    let started = started.path().join("s.yaml");
    let refused = assay(&["check", started.to_str().expect("text"), "--admin", &server.admin]);
    assert!(refused.code == 2 && refused.err.contains("--admin: expected a topology"), "{}", refused.err);
    for flags in [["--target", "http://127.0.0.1:9"], ["--require", "sig"], ["--out", "x"]] {
        let said = assay(&["check", "--kill-matrix", flags[0], flags[1]]);
        assert!(said.code == 2 && said.err.contains("cannot be used with"), "{flags:?}: {}", said.err);
    }
    let two =
        ["compare", "--target", "a=http://127.0.0.1:9", "--target", "b=http://127.0.0.1:9", "--profile", "reference"];
    let said = assay(&[&two[..], &["--duration", "10s"]].concat());
    assert!(said.code == 2 && said.err.contains("--duration"), "{}", said.err);
    let hooks = ["--admin", "http://127.0.0.1:9"];
    let one = ["load", "--target", "http://127.0.0.1:9", "--profile", "reference"];
    for command in [&two[..], &one] {
        let said = assay(&[command, &hooks].concat());
        assert!(said.code == 2 && said.err.contains("uses no admin hooks"), "{command:?}: {}", said.err);
    }
    for flags in [["--rate", "5/s"], ["--effort", "quick"], ["--out", "x"], ["--profile", "reference"], hooks] {
        let said = assay(&[&["compare", "one", "two"][..], &flags].concat());
        let told = format!("{}: two stored runs are compared as they were driven", flags[0]);
        assert!(said.code == 2 && said.err.contains(&told) && said.err.contains("hint: "), "{flags:?}: {}", said.err);
    }
}

#[test]
fn flags_of_init_are_not_swallowed_by_a_login_command() {
    let said = assay(&["init", "http://127.0.0.1:9", "--login-command", "python3", "login.py", "--out", "x"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("saw `--out`") && said.err.contains("go before --login-command"), "{}", said.err);
}

#[test]
fn code_scanning_is_pointed_at_the_file_of_the_scenario() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("tests")).expect("a folder");
    let text = format!("{HEAD}conformance: {{only: [issue-basic]}}\nreports: [sarif]\n");
    std::fs::write(folder.path().join("tests/tokens.yaml"), text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
    command.args(["check", "./tests/../tests/tokens.yaml", "--out", "record", "--require", "claim-cross-user"]);
    let said = said(command.current_dir(folder.path()).output().expect("the program starts"));
    let sarif = std::fs::read_to_string(folder.path().join("record/report.sarif"))
        .unwrap_or_else(|e| panic!("{e}: {}{}", said.out, said.err));
    let record = std::fs::read_to_string(folder.path().join("record/run.json")).expect("a record");
    assert!(
        record.contains(r#""scenario_file": "tests/tokens.yaml""#)
            || record.contains(r#""scenario_file":"tests/tokens.yaml""#)
    );
    assert!(!sarif.contains(folder.path().to_str().expect("text")), "{sarif}");
    let sarif: Value = serde_json::from_str(&sarif).expect("JSON");
    for result in sarif["runs"][0]["results"].as_array().expect("results") {
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "tests/tokens.yaml");
    }
    assert!(!sarif["runs"][0]["results"].as_array().expect("results").is_empty(), "{sarif:#}");
}

#[test]
fn code_scanning_is_pointed_at_the_file_of_the_profile_where_there_is_no_scenario() {
    let (server, folder) = (Served::start(&[]), tempfile::tempdir().expect("a folder"));
    std::fs::create_dir(folder.path().join("tests")).expect("a folder");
    let profile = "schema: 1\nname: mine\nextends: reference\n";
    std::fs::write(folder.path().join("tests/shop.profile.yaml"), profile).expect("written");
    let here = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assay"));
        said(command.args(arguments).current_dir(folder.path()).output().expect("the program starts"))
    };
    let target = ["check", "--target", &server.url, "--profile", "tests/shop.profile.yaml", "--out", "record"];
    let only = ["--only", "issue-basic", "--require", "claim-cross-user"];
    let checked = here(&[&target[..], &only].concat());
    let rendered = here(&["report", "record", "--format", "sarif", "--out", "record"]);
    let sarif = std::fs::read_to_string(folder.path().join("record/report.sarif"))
        .unwrap_or_else(|e| panic!("{e}: {}{}", checked.err, rendered.err));
    let sarif: Value = serde_json::from_str(&sarif).expect("JSON");
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "tests/shop.profile.yaml", "{sarif:#}");
}

#[test]
fn a_profile_in_the_place_of_a_scenario_is_told_so_in_one_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shop.profile.yaml");
    std::fs::write(&file, "schema: 1\nname: shop\ndialect: simple\noperations: {}\n").expect("written");
    let file = file.display().to_string();
    let said = assay(&["check", &file]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("expected a scenario, saw a profile"), "{}", said.err);
    assert!(said.err.contains(&format!("assay check --target URL --profile {file}")), "{}", said.err);
    assert_eq!(said.err.matches("error:").count(), 1, "{}", said.err);
}

#[test]
fn progress_counts_the_checks_that_the_summary_counts() {
    let server = Served::start(&[]);
    let said = assay(&["check", "--target", &server.url, "--profile", "reference", "--only", "refresh-*", "--json"]);
    let record: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.err));
    let checks = record["checks"].as_array().expect("checks");
    let skipped = checks.iter().filter(|check| check["grade"] == "skip").count();
    assert!(skipped > 0, "without admin hooks some cannot be tried: {}", said.out);
    let line = said.err.lines().find(|line| line.contains(" checks: ")).unwrap_or_else(|| panic!("{}", said.err));
    assert!(line.contains(&format!(" {} checks: ", checks.len())), "{} of {line}", checks.len());
    assert!(line.ends_with(&format!(" {skipped} skipped")) || line.contains(&format!(" {skipped} skipped,")), "{line}");
}

#[test]
fn help_is_found_where_people_look_and_tells_the_defaults() {
    for command in ["check", "load", "compare", "serve", "proxy", "init"] {
        let (asked, long) = (assay(&["help", command]), assay(&[command, "--help"]));
        assert!(asked.code == 0 && asked.out.contains("Examples:"), "{command}: {}{}", asked.out, asked.err);
        assert_eq!(asked.out, long.out);
    }
    let load = assay(&["load", "--help"]).out;
    for default in ["by default 100/s", "by default 10s", "by default 1s", "by default 100"] {
        assert!(load.contains(default), "{default}: {load}");
    }
    let whole = assay(&["--help"]).out;
    for variable in ["ASSAY_PASSWORD", "ASSAY_CLIENT_SECRET", "ASSAY_WITHOUT", "ASSAY_CACHE"] {
        assert!(whole.contains(variable), "{variable}: {whole}");
    }
    let flaws = assay(&["list", "flaws", "--json"]).out;
    assert!(flaws.contains(r#""of": "proxy""#) && flaws.contains(r#""of": "serve""#), "{flaws}");
    let links = assay(&["list", "topologies"]).out;
    let process = links.lines().find(|line| line.starts_with("process")).expect("a row");
    assert!(!process.contains(env!("CARGO_PKG_VERSION")), "{process}");
    assert!(links.lines().any(|line| line.contains("ready-within") && line.contains("30s")), "{links}");
}

#[test]
fn what_a_profile_names_and_is_not_there_is_a_mistake_of_usage() {
    let server = Served::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    for (more, told) in [
        ("keys: {sign: {file: nokey.pem}}", "expected a key file"),
        ("keys: {sign: {secret: '${env:ASSAY_TEST_UNSET}'}}", "ASSAY_TEST_UNSET"),
        ("user: {login: alice, password: '${env:ASSAY_TEST_UNSET}'}", "export ASSAY_TEST_UNSET="),
    ] {
        let profile = folder.path().join("mine.yaml");
        std::fs::write(&profile, format!("schema: 1\nname: mine\nextends: reference\n{more}\n")).expect("written");
        let profile = profile.to_str().expect("text");
        let said = assay(&["check", "--target", &server.url, "--profile", profile, "--only", "sig-alg-none"]);
        assert!(said.code == 2 && said.err.contains(told), "{more}: {} {}", said.code, said.err);
    }
}

#[test]
fn init_knows_before_it_asks_that_it_cannot_write() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let said = assay(&["init", "http://127.0.0.1:9", "--out", file.path().to_str().expect("text")]);
    assert!(said.code == 2 && said.err.contains("hint: `--out` names another folder"), "{} {}", said.code, said.err);
}

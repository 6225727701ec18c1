//! Does `assay selftest` say which rate this machine bears, and are its numbers those of arithmetic?

use std::process::Command;

use serde_json::Value;

fn selftest(arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_assay")).arg("selftest").args(arguments).output().expect("assay runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("an exit code"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_numbers_are_those_of_arithmetic_or_the_machine_was_busy() {
    let (code, out, err) = selftest(&["--effort", "quick", "--json"]);
    let seen: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    let truths = seen["truths"].as_array().expect("truths");
    for server in ["frozen", "two-valued", "limited", "100 us later"] {
        assert!(truths.iter().any(|t| t["server"] == server), "{server} is missing: {truths:#?}");
    }
    assert!(truths.len() >= 10, "{truths:#?}");
    let busy = truths.iter().any(|t| t["verdict"] == "inconclusive");
    let policies: Vec<&str> =
        seen["policies"].as_array().expect("policies").iter().filter_map(|p| p["idle"].as_str()).collect();
    assert_eq!(policies, ["poll", "sleep"]);
    let none = seen["policies"].as_array().expect("policies").iter().all(|p| p["highest_per_s"] == 0.0);
    // What is wrong although nothing was late would be ours, and ends with 4.
    assert_eq!(code, if busy || none { 3 } else { 0 }, "{truths:#?}\n{err}");
    let told = |line: &str| {
        line.starts_with("self-test: ")
            || (code == 3 && ["error: ", "hint: "].iter().any(|kind| line.starts_with(kind)))
    };
    assert!(err.lines().all(told), "{err}");
}

#[test]
fn an_effort_that_is_none_is_a_mistake_of_usage() {
    let (code, out, err) = selftest(&["--effort", "endless"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("`quick`, `standard`"), "{err}");
}

//! Is what the page on scenarios says true? Its examples are read as users' files are, and it leaves no key out.

#[path = "kit/examples.rs"]
mod kit;

use assay::run::read_scenario;
use assay::scenario::{Scenario, Source, schema_of};
use kit::{examples, leaves_nothing_out, page, root};

/// An example as a whole scenario: parts are laid over a small one.
fn whole(text: &str) -> String {
    let says = |key: &str| text.lines().any(|line| line.starts_with(key));
    let mut whole = String::new();
    for (key, line) in [
        ("name:", "name: example\n"),
        ("target:", "target: reference\n"),
        ("topologies:", "topologies: {bare: [reference-server]}\n"),
    ] {
        if !says(key) {
            whole.push_str(line);
        }
    }
    if !says("load:") && !says("conformance:") {
        whole.push_str("conformance: {}\n");
    }
    whole + text
}

#[test]
fn every_example_of_the_page_on_scenarios_is_a_valid_scenario() {
    let mut seen = 0;
    for example in examples(&page("scenarios.md")).iter().filter(|example| example.language == "yaml") {
        let read = read_scenario(Source::new("example.yaml", ".", whole(&example.text)), &[]);
        let read = read.unwrap_or_else(|found| panic!("docs/scenarios.md:{}:\n{}", example.line, found.render(false)));
        assert!(read.warnings.0.is_empty(), "docs/scenarios.md:{}:\n{}", example.line, read.warnings.render(false));
        seen += 1;
    }
    assert!(seen > 12, "only {seen} examples were found");
}

#[test]
fn every_key_of_a_scenario_has_an_example_and_every_word_is_said() {
    leaves_nothing_out("scenarios.md", &schema_of::<Scenario>("scenario"), 45);
}

#[test]
fn every_metric_that_a_threshold_can_speak_of_is_in_the_table() {
    let text = page("scenarios.md");
    let table: String = text.lines().filter(|line| line.starts_with("| `")).collect();
    for metric in
        ["response", "service", "lag", "connect", "tls", "first-byte", "completed", "failed", "timed-out", "skipped"]
    {
        assert!(table.contains(&format!("`{metric}.")), "the table does not name `{metric}`");
    }
}

#[test]
fn the_schema_beside_the_scenarios_is_the_one_that_assay_prints() {
    let file = root().join("scenarios/scenario.schema.json");
    let kept = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_assay")).arg("schema").output().expect("it starts");
    let printed = String::from_utf8(printed.stdout).expect("text");
    assert!(kept == printed, "stale; mend it with: cargo run --release -- schema > scenarios/scenario.schema.json");
}

//! Is what the page on scenarios says true? Its examples are read as users' files are, and it leaves no key out.

#[path = "kit/examples.rs"]
mod kit;

use std::collections::BTreeSet;

use assay::run::read_scenario;
use assay::scenario::{self, Kind, Node, Scenario, Source, schema_of};
use kit::{examples, page};
use serde_json::Value;

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

fn keys(node: &Node, found: &mut BTreeSet<String>) {
    match &node.kind {
        Kind::Map(entries) => {
            for entry in entries {
                found.insert(entry.key.clone());
                keys(&entry.value, found);
            }
        }
        Kind::List(items) => items.iter().for_each(|item| keys(item, found)),
        Kind::Scalar(..) => {}
    }
}

/// Every property and every fixed word of a schema.
fn words(schema: &Value, properties: &mut BTreeSet<String>, fixed: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(named)) = members.get("properties") {
                properties.extend(named.keys().cloned());
            }
            for word in members.get("enum").and_then(Value::as_array).into_iter().flatten().chain(members.get("const"))
            {
                fixed.extend(word.as_str().map(str::to_owned));
            }
            members.values().for_each(|value| words(value, properties, fixed));
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, properties, fixed)),
        _ => {}
    }
}

#[test]
fn every_key_of_a_scenario_has_an_example_and_every_word_is_said() {
    let text = page("scenarios.md");
    let mut shown = BTreeSet::new();
    for example in examples(&text).iter().filter(|example| example.language == "yaml") {
        let tree = scenario::parse(&Source::new("example.yaml", ".", &*example.text))
            .unwrap_or_else(|e| panic!("docs/scenarios.md:{}: {e:?}", example.line));
        keys(&tree, &mut shown);
    }
    let (mut properties, mut fixed) = (BTreeSet::new(), BTreeSet::new());
    words(&schema_of::<Scenario>("scenario"), &mut properties, &mut fixed);
    assert!(properties.len() > 45, "the schema has only {} keys: is it read rightly?", properties.len());
    let missing: Vec<&String> = properties.difference(&shown).collect();
    assert!(missing.is_empty(), "docs/scenarios.md has no example for {missing:?}");
    let unsaid: Vec<&String> = fixed.iter().filter(|word| !text.contains(word.as_str())).collect();
    assert!(unsaid.is_empty(), "docs/scenarios.md does not say {unsaid:?}");
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

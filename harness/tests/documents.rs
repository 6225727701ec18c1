//! Is what the documentation says true? Its examples are read by the code that users' files are read by.

#[path = "kit/examples.rs"]
mod kit;

use std::collections::BTreeSet;

use assay::scenario::{self, Kind, Node, Source, schema_of};
use assay::target::{self, Profile};
use kit::{as_profile, examples, page};
use serde_json::Value;

#[test]
fn every_example_of_the_page_on_profiles_is_a_valid_profile() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for example in examples(&page("profiles.md")).iter().filter(|example| example.language == "yaml") {
        let file = as_profile(example, folder.path());
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let found = target::examine_named(&name, folder.path());
        assert!(found.0.is_empty(), "docs/profiles.md:{}:\n{}", example.line, found.render(false));
        target::load(&name, None, folder.path()).unwrap_or_else(|e| panic!("docs/profiles.md:{}: {e}", example.line));
        seen += 1;
    }
    assert!(seen > 25, "only {seen} examples were found");
}

/// Every key of every mapping in a tree.
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
fn every_key_of_a_profile_has_an_example_and_every_word_is_explained() {
    let text = page("profiles.md");
    let mut shown = BTreeSet::new();
    for example in examples(&text).iter().filter(|example| example.language == "yaml") {
        let tree = scenario::parse(&Source::new("example.yaml", ".", &*example.text))
            .unwrap_or_else(|e| panic!("docs/profiles.md:{}: {e:?}", example.line));
        keys(&tree, &mut shown);
    }
    let (mut properties, mut fixed) = (BTreeSet::new(), BTreeSet::new());
    words(&schema_of::<Profile>("profile"), &mut properties, &mut fixed);
    assert!(properties.len() > 60, "the schema has only {} keys: is it read rightly?", properties.len());
    let missing: Vec<&String> = properties.difference(&shown).collect();
    assert!(missing.is_empty(), "docs/profiles.md has no example for {missing:?}");
    let unsaid: Vec<&String> = fixed.iter().filter(|word| !text.contains(word.as_str())).collect();
    assert!(unsaid.is_empty(), "docs/profiles.md does not say {unsaid:?}");
}

#[test]
fn every_hook_and_every_built_in_profile_is_named() {
    let text = page("profiles.md");
    for hook in target::hooks() {
        assert!(text.contains(&format!("`{hook}`")), "docs/profiles.md does not name the hook `{hook}`");
    }
    for profile in target::builtins() {
        assert!(text.contains(&format!("`{}`", profile.name)), "docs/profiles.md does not name `{}`", profile.name);
    }
}

//! Which examples does a page of the documentation hold? Fenced blocks with their language, mark and line.
#![allow(dead_code, reason = "every test file takes the part that it needs")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assay::scenario::{self, Kind, Node, Source};
use serde_json::Value;

/// A fenced block.
#[derive(Debug)]
pub struct Example {
    /// First word after the fence: `yaml`, `sh`.
    pub language: String,
    /// What stands behind it: `profile`, `recipe:cookies`.
    pub mark: String,
    /// Where its text begins, as in an editor.
    pub line: usize,
    pub text: String,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness is a folder of the workspace")
}

/// A page of the documentation.
pub fn page(name: &str) -> String {
    let path: PathBuf = root().join("docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every fenced block of a page.
pub fn examples(page: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), inside) {
            (Some(_), true) => inside = false,
            (Some(info), false) => {
                let (language, mark) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
                let (language, mark) = (language.to_owned(), mark.trim().to_owned());
                found.push(Example { language, mark, line: number + 2, text: String::new() });
                inside = true;
            }
            (None, true) => {
                if let Some(example) = found.last_mut() {
                    example.text.push_str(line);
                    example.text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    assert!(!inside, "a fence is open at the end of the page");
    found
}

/// An example of docs/profiles.md as a whole profile: parts are laid over a small one, which is written beside it.
pub fn as_profile(example: &Example, folder: &Path) -> PathBuf {
    let text = &example.text;
    let says = |key: &str| text.lines().any(|line| line.starts_with(key));
    let mut base =
        "schema: 1\nname: base\ndialect: simple\nuser: {login: alice, password: correct-horse-9}\noperations:\n"
            .to_owned();
    if !text.contains("\n  issue:") {
        base.push_str(
            "  issue:\n    request: {path: /login, fields: {name: \"${user.login}\", password: \"${user.password}\"}}\n    returns: {access: /access, refresh: /refresh}\n",
        );
    }
    if !text.contains("\n  verify.") {
        base.push_str("  verify.resource: {request: {path: /me, auth: {bearer: \"${token}\"}}}\n");
    }
    if base.ends_with("operations:\n") {
        base = base.replace("operations:\n", "operations: {}\n");
    }
    std::fs::write(folder.join("base.yaml"), base).expect("the folder can be written");
    let mut whole = String::new();
    for (key, line) in [("schema:", "schema: 1\n"), ("name:", "name: example\n"), ("extends:", "extends: base.yaml\n")]
    {
        if !says(key) && example.mark != "profile" {
            whole.push_str(line);
        }
    }
    whole.push_str(text);
    let file = folder.join(format!("line-{}.yaml", example.line));
    std::fs::write(&file, whole).expect("the folder can be written");
    file
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

/// Every key that the examples of a page show.
pub fn keys_shown(name: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for example in examples(&page(name)).iter().filter(|example| example.language == "yaml") {
        let tree = scenario::parse(&Source::new("example.yaml", ".", &*example.text))
            .unwrap_or_else(|e| panic!("docs/{name}:{}: {e:?}", example.line));
        keys(&tree, &mut shown);
    }
    shown
}

/// Every key of a schema has an example on the page, and every fixed word is said there. A schema of fewer than `least` keys was not read
/// rightly.
pub fn leaves_nothing_out(name: &str, schema: &Value, least: usize) {
    let text = page(name);
    let shown = keys_shown(name);
    let (mut properties, mut fixed) = (BTreeSet::new(), BTreeSet::new());
    words(schema, &mut properties, &mut fixed);
    assert!(properties.len() > least, "the schema has only {} keys: is it read rightly?", properties.len());
    let missing: Vec<&String> = properties.difference(&shown).collect();
    assert!(missing.is_empty(), "docs/{name} has no example for {missing:?}");
    let unsaid: Vec<&String> = fixed.iter().filter(|word| !text.contains(word.as_str())).collect();
    assert!(unsaid.is_empty(), "docs/{name} does not say {unsaid:?}");
}

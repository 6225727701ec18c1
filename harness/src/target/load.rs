//! Which profile is meant? From a name or a file, with `extends` and one variant merged in.

use std::path::Path;
use std::sync::Arc;

use super::profile::Profile;
use super::{builtin, builtins};
use crate::scenario::{Diagnostic, Diagnostics, Node, Place, Source, decode, parse, suggestion};

/// Forms of which exactly one can be chosen: a variant that gives another replaces the first.
const CHOICES: &[&str] = &["auth", "verify", "sign"];
/// Longest chain of `extends`.
const MAX_EXTENDS: usize = 4;

/// Reads a profile: a built-in name, or a file (relative to `base_dir`), with one of its variants.
pub fn load(name_or_path: &str, variant: Option<&str>, base_dir: &Path) -> Result<Profile, Diagnostics> {
    let source = find(name_or_path, base_dir)?;
    let mut profile = from_source(&source, variant)?;
    profile.source = match builtin(name_or_path) {
        Some(_) => name_or_path.to_owned(),
        None => base_dir.join(name_or_path).to_string_lossy().into_owned(),
    };
    Ok(profile)
}

/// Reads a profile from a text.
pub fn parse_profile(source: &Arc<Source>, variant: Option<&str>) -> Result<Profile, Diagnostics> {
    from_source(source, variant)
}

/// The text of a built-in profile or of a file.
pub(super) fn find(name_or_path: &str, base_dir: &Path) -> Result<Arc<Source>, Diagnostics> {
    if let Some(yaml) = builtin(name_or_path) {
        return Ok(Source::new(format!("{name_or_path} (built in)"), base_dir, yaml));
    }
    let path = base_dir.join(name_or_path);
    let file_like = name_or_path.contains('/') || name_or_path.ends_with(".yaml") || name_or_path.ends_with(".yml");
    if !file_like && !path.is_file() {
        let names: Vec<&str> = builtins().iter().map(|b| b.name).collect();
        let mut diagnostic = Diagnostic::new(format!("there is no profile `{name_or_path}`"));
        diagnostic.hint = suggestion(name_or_path, &names)
            .map(|hint| format!("{hint}; a file is given with its ending, as `my-server.yaml`"));
        return Err(diagnostic.into());
    }
    read(&path)
}

fn read(path: &Path) -> Result<Arc<Source>, Diagnostics> {
    crate::scenario::read(path).map_err(Diagnostics::from)
}

fn from_source(source: &Arc<Source>, variant: Option<&str>) -> Result<Profile, Diagnostics> {
    let tree = whole(source, 0)?;
    let merged = with_variant(&tree, variant)?;
    let found = super::validate::examine_tree(&merged, variant);
    if found.has_errors() {
        return Err(found);
    }
    let mut profile: Profile = decode(&merged)?;
    profile.folder = source.folder.clone();
    profile.variant = variant.map(str::to_owned);
    Ok(profile)
}

/// The tree of a profile's text, with what it extends merged under it.
pub(super) fn whole(source: &Arc<Source>, depth: usize) -> Result<Node, Diagnostics> {
    let tree = parse(source)?;
    let Some(extends) = tree.entry("extends").cloned() else { return Ok(tree) };
    let at = |message: String| Diagnostic::new(message).at(extends.value.place.clone());
    let Some(name) = extends.value.text() else {
        return Err(at("expected the name or file of a profile after `extends`".into()).into());
    };
    if depth >= MAX_EXTENDS {
        return Err(at(format!("expected at most {MAX_EXTENDS} profiles to extend one another")).into());
    }
    let base_source = find(name, &source.folder).map_err(|mut inner| {
        for one in inner.0.iter_mut().filter(|one| one.place.is_none()) {
            one.place = Some(extends.value.place.clone());
        }
        inner
    })?;
    let mut base = whole(&base_source, depth + 1)?;
    if base_source.folder != source.folder {
        anchor_paths(&mut base, &base_source.folder);
    }
    base.merge(&tree, CHOICES);
    Ok(base)
}

/// Paths of a profile that another one extends keep meaning what they meant in their own folder.
fn anchor_paths(tree: &mut Node, folder: &Path) {
    use crate::scenario::Kind;
    fn anchor(node: &mut Node, folder: &Path) {
        if let Kind::Scalar(value, text) = &mut node.kind
            && value.is_string()
            && !text.starts_with("builtin:")
            && !text.starts_with("${")
        {
            *text = folder.join(&*text).to_string_lossy().into_owned();
            *value = serde_json::Value::String(text.clone());
        }
    }
    fn member<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
        match &mut node.kind {
            Kind::Map(entries) => entries.iter_mut().find(|e| e.key == key).map(|e| &mut e.value),
            _ => None,
        }
    }
    for way in ["verify", "sign", "refresh"] {
        if let Some(file) = member(tree, "keys").and_then(|k| member(k, way)).and_then(|k| member(k, "file")) {
            anchor(file, folder);
        }
    }
    for file in ["ca", "certificate", "key"] {
        if let Some(file) = member(tree, "tls").and_then(|tls| member(tls, file)) {
            anchor(file, folder);
        }
    }
    if let Some(cwd) = member(tree, "start").and_then(|s| member(s, "cwd")) {
        anchor(cwd, folder);
    }
    if let Some(Node { kind: Kind::List(logs), .. }) = member(tree, "logs") {
        logs.iter_mut().for_each(|log| anchor(log, folder));
    }
}

/// The tree with one variant merged in.
pub(super) fn with_variant(tree: &Node, variant: Option<&str>) -> Result<Node, Diagnostics> {
    let mut merged = tree.clone();
    if let Some(name) = variant {
        let names: Vec<&str> = match tree.get("variants").map(|node| &node.kind) {
            Some(crate::scenario::Kind::Map(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
            _ => Vec::new(),
        };
        let Some(over) = tree.find(&["variants", name]) else {
            let mut diagnostic = Diagnostic::new(format!("the profile has no variant `{name}`")).at(start_of(tree));
            diagnostic.hint = Some(suggestion(name, &names).unwrap_or_else(|| "it has no variants at all".into()));
            return Err(diagnostic.into());
        };
        merged.merge(over, CHOICES);
    }
    Ok(merged)
}

fn start_of(tree: &Node) -> Place {
    tree.entry("variants").map_or_else(
        || Place { span: tree.place.span.start..tree.place.span.start, ..tree.place.clone() },
        |entry| entry.place.clone(),
    )
}

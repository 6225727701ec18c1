//! Does the picture in ARCHITECTURE.md still hold? A module uses lower floors only, never its own.

use std::fs;
use std::path::{Path, PathBuf};

/// Floor by module; the ground (`units`) carries everything.
const FLOORS: &[(&str, u8)] = &[
    ("units", 0),
    ("clock", 1),
    ("jose", 1),
    ("record", 2),
    ("scenario", 2),
    ("stats", 3),
    ("wire", 3),
    ("launch", 4),
    ("target", 4),
    ("report", 4),
    ("proxy", 4),
    ("load", 5),
    ("discover", 5),
    ("conformance", 6),
    ("run", 7),
    ("cli", 8),
    ("main", 8),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source folder is readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The first path segments after every `crate::` (also in groups) of a source text, comments left out.
fn uses(text: &str, root: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let needle = format!("{root}::");
    for (at, _) in code.match_indices(&needle) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + needle.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut at_start = true;
            for c in group.chars() {
                if at_start && depth == 1 && (c.is_alphanumeric() || c == '_') {
                    word.push(c);
                    continue;
                }
                if !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                    at_start = false;
                }
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => at_start = true,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    found
}

fn module_of(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).expect("inside the source folder");
    let first = relative.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn every_module_uses_lower_floors_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let module = module_of(file, &root);
        if module == "lib" {
            continue;
        }
        let Some(own) = floor(&module) else {
            wrong.push(format!("{}: module `{module}` has no floor", file.display()));
            continue;
        };
        let text = fs::read_to_string(file).expect("sources are UTF-8");
        let paths = if own == 8 { uses(&text, "assay") } else { uses(&text, "crate") };
        for used in paths {
            let Some(other) = floor(&used) else { continue };
            if used == module || other < own {
                continue;
            }
            wrong.push(format!("{}: `{module}` (floor {own}) uses `{used}` (floor {other})", file.display()));
        }
    }
    assert!(wrong.is_empty(), "the floors do not hold:\n{}", wrong.join("\n"));
}

#[test]
fn only_the_serve_command_links_the_reference_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        if !uses(&text, "reference_server").is_empty() {
            assert!(file.ends_with("cli/serve.rs"), "{} uses the reference server", file.display());
        }
    }
}

#[test]
fn the_scanner_sees_groups_and_paths_alike() {
    let text = "use crate::{clock, record::{Run, Level}, wire};\nlet x = crate::stats::mean();\n// crate::run::x";
    assert_eq!(uses(text, "crate"), ["clock", "record", "wire", "stats"]);
    assert_eq!(uses("my_crate::run", "crate"), Vec::<String>::new());
}

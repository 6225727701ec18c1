//! `assay validate FILE...`: what is wrong in scenarios and profiles, without running anything?

use std::path::{Path, PathBuf};

use assay::record::ExitCode;
use assay::scenario::{self, Diagnostic, Diagnostics, Severity};
use assay::target;
use serde_json::json;

use super::{Done, Global, line, tell};

/// Arguments of `assay validate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay validate scenarios/*.yaml scenarios/targets/*.yaml
  assay validate my.yaml --json                    problems as JSON, with line and column

Exit code 2 if a file has an error; warnings alone are 0.")]
pub struct Args {
    /// Scenarios and profiles
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Reads every file and reports every problem.
pub fn run(args: &Args, global: &Global) -> Done {
    let mut failed = false;
    let mut rows = Vec::new();
    for file in &args.files {
        let (kind, found) = look(file, &global.allow_remote);
        let bad = found.has_errors();
        failed |= bad;
        if global.json {
            rows.push(json!({
                "file": file.display().to_string(),
                "kind": kind,
                "valid": !bad,
                "problems": found.0.iter().map(as_json).collect::<Vec<_>>(),
            }));
            continue;
        }
        if !found.0.is_empty() {
            tell(format_args!("{}\n", found.render(global.colors_on_stderr())));
        }
        if !bad && !global.quiet {
            line(format_args!("{}: a valid {kind}", file.display()));
        }
    }
    if global.json {
        line(format_args!("{:#}", serde_json::Value::from(rows)));
    }
    Ok(if failed { ExitCode::Usage } else { ExitCode::Ok })
}

/// What a file is, and everything that is wrong in it.
fn look(file: &Path, allow_remote: &[String]) -> (&'static str, Diagnostics) {
    let source = match scenario::read(file) {
        Ok(source) => source,
        Err(diagnostic) => return ("file", diagnostic.into()),
    };
    let is_profile = match scenario::parse(&source) {
        Ok(tree) => {
            tree.get("topologies").is_none()
                && ["operations", "dialect", "extends"].iter().any(|key| tree.get(key).is_some())
        }
        Err(diagnostic) => return ("file", diagnostic.into()),
    };
    if is_profile {
        return ("profile", target::examine(&source));
    }
    let found = assay::run::read_scenario(source, allow_remote).map_or_else(|found| found, |read| read.warnings);
    ("scenario", found)
}

fn as_json(diagnostic: &Diagnostic) -> serde_json::Value {
    let position = diagnostic.position();
    json!({
        "severity": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": diagnostic.place.as_ref().map(|place| place.source.name.clone()),
        "line": position.map(|(line, _)| line),
        "column": position.map(|(_, column)| column),
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    })
}

//! `assay list WHAT`: the tables that the code itself uses.

use std::path::Path;

use assay::conformance::kill_matrix::{Flaw, Side};
use assay::record::ExitCode;
use assay::{conformance, jose, launch, report, target};
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::{Done, Global, line, serve};

/// Arguments of `assay list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay list checks
  assay list flaws --json
  assay list operations --profile simplejwt        what a scenario's mix can name")]
pub struct Args {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// The profile whose operations are listed
    #[arg(long, value_name = "NAME|FILE", default_value = "reference")]
    profile: String,
}

/// The tables.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Every check with its level in each dialect
    Checks,
    /// Faults that the reference server and the embedded proxy can have on purpose
    Flaws,
    /// Signature algorithms
    Algorithms,
    /// Servers and proxies that a topology can name
    Topologies,
    /// Profiles that come with Assay
    Profiles,
    /// Formats of reports
    Formats,
    /// What can be asked of a target, by the words of a mix
    Operations,
}

/// One table: the same rows for people and for programs.
struct Rows {
    head: &'static [&'static str],
    cells: Vec<Vec<String>>,
    json: Vec<Value>,
}

/// Prints the table.
pub fn run(args: &Args, global: &Global) -> Done {
    let rows = match args.what {
        What::Checks => checks(),
        What::Flaws => flaws(),
        What::Algorithms => algorithms(),
        What::Topologies => topologies(),
        What::Profiles => profiles()?,
        What::Formats => formats(),
        What::Operations => operations(&args.profile)?,
    };
    if global.json {
        line(format_args!("{:#}", Value::from(rows.json)));
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(rows.head.iter().map(|word| word.to_uppercase()));
        table.add_rows(rows.cells);
        // The style pads the first column by a blank.
        table.to_string().lines().for_each(|text| line(format_args!("{}", text.get(1..).unwrap_or(text).trim_end())));
    }
    Ok(ExitCode::Ok)
}

fn checks() -> Rows {
    let mut rows = Rows { head: &["check", "levels", "needs", "requirement"], cells: Vec::new(), json: Vec::new() };
    for check in conformance::catalogue() {
        let levels = check.levels.rows();
        let word = |level: Option<assay::record::Level>| {
            level.map_or(Value::Null, |l| serde_json::to_value(l).unwrap_or_default())
        };
        let mut shown: Vec<String> = Vec::new();
        for (_, level) in &levels {
            let text = word(*level).as_str().unwrap_or("-").to_owned();
            if !shown.contains(&text) {
                shown.push(text);
            }
        }
        let needs: Vec<&str> = check.needs.iter().map(|need| need.name()).collect();
        rows.cells.push(vec![check.id.to_owned(), shown.join("/"), needs.join(" "), check.requirement.to_owned()]);
        rows.json.push(json!({
            "id": check.id,
            "group": check.group,
            "requirement": check.requirement,
            "sources": check.sources,
            "levels": levels.iter().map(|(dialect, level)| ((*dialect).to_owned(), word(*level))).collect::<serde_json::Map<_, _>>(),
            "needs": needs,
            "variants": check.variants,
            "isolation": check.isolation.name(),
            "requests": check.cost.requests,
            "seconds": check.cost.seconds,
            "intrusive": check.intrusive,
            "flaws": check.flaws,
        }));
    }
    rows
}

fn flaws() -> Rows {
    let mut rows = Rows { head: &["flaw", "of", "breaks", "must be found by"], cells: Vec::new(), json: Vec::new() };
    for flaw in serve::flaws().into_iter().chain(Flaw::of_proxy()) {
        let of = match flaw.side {
            Side::Server => "serve",
            Side::Proxy => "proxy",
        };
        rows.cells.push(vec![flaw.name.to_owned(), of.into(), flaw.breaks.to_owned(), flaw.kills.join(" ")]);
        rows.json.push(
            json!({"name": flaw.name, "of": of, "breaks": flaw.breaks, "needs": flaw.needs, "kills": flaw.kills}),
        );
    }
    rows
}

fn algorithms() -> Rows {
    let mut rows = Rows { head: &["alg", "key", "signature"], cells: Vec::new(), json: Vec::new() };
    for algorithm in jose::algorithms() {
        let length = algorithm.signature_len.map_or("as long as the key".to_owned(), |n| format!("{n} bytes"));
        rows.cells.push(vec![algorithm.name.to_owned(), algorithm.key_type.to_owned(), length]);
        rows.json.push(json!({
            "alg": algorithm.name,
            "kty": algorithm.key_type,
            "signature_bytes": algorithm.signature_len,
            "asymmetric": algorithm.is_asymmetric(),
        }));
    }
    rows
}

fn topologies() -> Rows {
    let head = &["link", "kind", "version here", "setting", "default", "what it is"];
    let mut rows = Rows { head, cells: Vec::new(), json: Vec::new() };
    for row in launch::topologies() {
        let kind = if row.kind == launch::Kind::Server { "server" } else { "proxy" };
        let version = row.installed_version();
        let shown = match (&version, row.program) {
            (Some(version), _) => version.as_str(),
            (None, Some(_)) => "not installed",
            (None, None) => "-",
        };
        let blank = String::new;
        rows.cells.push(vec![row.name.into(), kind.into(), shown.into(), blank(), blank(), row.what.into()]);
        for setting in row.settings {
            rows.cells.push(vec![
                blank(),
                blank(),
                blank(),
                setting.name.into(),
                setting.default.into(),
                setting.what.into(),
            ]);
        }
        rows.json.push(json!({
            "name": row.name,
            "kind": kind,
            "what": row.what,
            "stand_in": row.stand_in,
            "version": version,
            "install": row.program.map(|program| program.install),
            "settings": row.settings.iter().map(|s| json!({"name": s.name, "default": s.default, "what": s.what})).collect::<Vec<_>>(),
        }));
    }
    rows
}

fn formats() -> Rows {
    let mut rows = Rows { head: &["format", "file", "for"], cells: Vec::new(), json: Vec::new() };
    for format in report::formats() {
        rows.cells.push(vec![format.name.into(), format.file.into(), format.purpose.into()]);
        rows.json.push(json!({"name": format.name, "file": format.file, "purpose": format.purpose}));
    }
    rows
}

fn profiles() -> Result<Rows, super::Failure> {
    let mut rows =
        Rows { head: &["profile", "dialect", "variants", "description"], cells: Vec::new(), json: Vec::new() };
    for builtin in target::builtins() {
        let profile = target::load(builtin.name, None, Path::new("."))?;
        let variants: Vec<&str> = profile.variants.keys().map(String::as_str).collect();
        let description = profile.description.clone().unwrap_or_default();
        rows.cells.push(vec![
            profile.name.clone(),
            profile.dialect.to_string(),
            variants.join(" "),
            description.clone(),
        ]);
        rows.json.push(json!({
            "name": profile.name,
            "dialect": profile.dialect,
            "variants": variants,
            "description": description,
            "operations": profile.operations.keys().collect::<Vec<_>>(),
        }));
    }
    Ok(rows)
}

fn operations(name: &str) -> Result<Rows, super::Failure> {
    let profile = target::load(name, None, Path::new("."))?;
    let mut rows = Rows { head: &["word", "operation", "request"], cells: Vec::new(), json: Vec::new() };
    for (word, (operation, described)) in profile.words().into_iter().zip(&profile.operations) {
        let request = match (&described.request, &described.command) {
            (Some(request), _) => format!("{} {}", request.method.as_deref().unwrap_or("-"), request.path),
            (None, Some(command)) => command.join(" "),
            (None, None) => String::new(),
        };
        rows.cells.push(vec![word.clone(), operation.clone(), request.clone()]);
        rows.json.push(json!({"word": word, "operation": operation, "request": request}));
    }
    Ok(rows)
}

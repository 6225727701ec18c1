//! `assay explain CHECK`: what is sent, what must happen, why, and how is a server mended?

use assay::conformance::{self, Check};
use assay::record::ExitCode;
use assay::scenario::suggestion;
use serde_json::json;

use super::{Done, Failure, Global, line, serve};

/// Arguments of `assay explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay explain sig-alg-none
  assay list checks                                all ids")]
pub struct Args {
    /// The check's id, or one of its variants: `sig-alg-none/None`
    check: String,
}

/// Prints the whole description of a check.
pub fn run(args: &Args, global: &Global) -> Done {
    let id = args.check.split('/').next().unwrap_or(&args.check);
    let check = conformance::find(id).map_err(Failure::usage)?;
    if let Some((_, variant)) = args.check.split_once('/')
        && !check.has_variant(variant)
    {
        let hint = suggestion(variant, check.variants).unwrap_or_else(|| "it has no variants".into());
        return Err(Failure::usage(format!("`{id}` has no variant `{variant}`; hint: {hint}")));
    }
    if global.json {
        line(format_args!("{:#}", as_json(check)));
    } else {
        text(check).lines().for_each(|text| line(format_args!("{text}")));
    }
    Ok(ExitCode::Ok)
}

fn levels(check: &Check) -> Vec<(&'static str, String)> {
    let word = |level| serde_json::to_value(level).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    check.levels.rows().into_iter().filter_map(|(dialect, level)| level.map(|level| (dialect, word(level)))).collect()
}

/// Flaws of the reference server that must make it fail: what the check names and what the flaw table names.
fn flaws(check: &Check) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for flaw in serve::flaws() {
        if flaw.kills.contains(&check.id) || check.flaws.contains(&flaw.name) {
            found.push((flaw.name.to_owned(), flaw.breaks.to_owned()));
        }
    }
    found
}

fn as_json(check: &Check) -> serde_json::Value {
    json!({
        "id": check.id,
        "group": check.group,
        "requirement": check.requirement,
        "sends": check.sends,
        "why": check.why,
        "remedy": check.remedy,
        "sources": check.sources,
        "levels": levels(check).into_iter().map(|(d, l)| (d.to_owned(), l.into())).collect::<serde_json::Map<_, _>>(),
        "needs": check.needs.iter().map(|n| json!({"name": n.name(), "provided_by": n.provided_by()})).collect::<Vec<_>>(),
        "variants": check.variants,
        "isolation": check.isolation.name(),
        "requests": check.cost.requests,
        "seconds": check.cost.seconds,
        "intrusive": check.intrusive,
        "thorough": conformance::more(check, false),
        "flaws": flaws(check).into_iter().map(|(name, breaks)| json!({"name": name, "breaks": breaks})).collect::<Vec<_>>(),
    })
}

fn text(check: &Check) -> String {
    let mut out = format!("{}  ({})\n\n", check.id, check.group);
    let mut part = |title: &str, body: String| {
        if !body.trim().is_empty() {
            out.push_str(&format!("{title}\n{}\n\n", indented(&body)));
        }
    };
    part("What must hold", check.requirement.to_owned());
    part("What is sent", check.sends.to_owned());
    part("Why it matters", check.why.to_owned());
    part("How a server is mended", check.remedy.to_owned());
    part("Level by dialect", levels(check).iter().map(|(d, l)| format!("{d}: {l}")).collect::<Vec<_>>().join(", "));
    part("Sources", check.sources.join("\n"));
    part(
        "Needs",
        check.needs.iter().map(|n| format!("{}: {}", n.name(), n.provided_by())).collect::<Vec<_>>().join("\n"),
    );
    part("Variants", check.variants.join(", "));
    part(
        "Flaws of the reference server that it must find",
        flaws(check).iter().map(|(n, b)| format!("{n}: {b}")).collect::<Vec<_>>().join("\n"),
    );
    let intrusive = if check.intrusive { "; could harm the target, so it runs only with --intrusive" } else { "" };
    part("With --budget thorough", conformance::more(check, false).unwrap_or_default());
    part(
        "Cost",
        format!(
            "about {} requests and {} s; isolation: {}{intrusive}",
            check.cost.requests,
            check.cost.seconds,
            check.isolation.name()
        ),
    );
    out.trim_end().to_owned()
}

/// Wrapped at 100 columns and indented by two.
fn indented(body: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in body.lines() {
        let mut current = String::from(" ");
        for word in paragraph.split_whitespace() {
            if current.chars().count() + word.chars().count() + 1 > 100 {
                lines.push(std::mem::replace(&mut current, String::from(" ")));
            }
            current.push(' ');
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join("\n")
}

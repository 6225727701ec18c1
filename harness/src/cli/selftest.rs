//! `assay selftest`: can this machine be trusted, and up to which rate?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use assay::load::LoadError;
use assay::load::selftest::{LagRecord, SelfTest, SelfTestOptions, TruthVerdict, selftest};
use assay::record::ExitCode;
use assay::scenario::Effort;
use assay::units::{Nanos, Rate};
use comfy_table::{CellAlignment, Table, presets};

use super::args::effort;
use super::{Done, Failure, Global, line, tell};

/// Arguments of `assay selftest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay selftest                     about a minute; nothing else should run beside it
  assay selftest --effort quick      a quarter of that, with fewer samples

Exit codes: 0 every number is right, 3 the machine was too busy to tell, 4 a number is wrong though it was not")]
pub struct Args {
    /// How long: `quick` or `standard`
    #[arg(long, value_name = "EFFORT", value_parser = effort, default_value = "standard")]
    effort: Effort,
}

/// Runs it and prints what it saw.
pub fn run(args: &Args, global: &Global) -> Done {
    let cancel = Arc::new(AtomicBool::new(false));
    let pressed = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(ExitCode::Interrupted as i32);
        }
    })
    .map_err(|e| Failure::harness(format_args!("listening for signals: {e}")))?;
    let quiet = global.quiet;
    let on_step = move |step: &str| {
        if !quiet {
            tell(format_args!("self-test: {step}"));
        }
    };
    let seen =
        match selftest(&SelfTestOptions { quick: args.effort == Effort::Quick, cancel: &cancel, on_step: &on_step }) {
            Ok(seen) => seen,
            Err(LoadError::Cancelled) => return Ok(ExitCode::Interrupted),
            Err(error @ LoadError::Internal(_)) => return Err(Failure::harness(error)),
            Err(error) => return Err(Failure::Other(ExitCode::Target, error.to_string())),
        };
    if global.json {
        let text = serde_json::to_string_pretty(&seen).map_err(Failure::harness)?;
        line(format_args!("{text}"));
    } else {
        show(&seen);
    }
    match (seen.is_wrong(), seen.is_inconclusive()) {
        (true, _) => Err(Failure::harness("a number is wrong, though the machine was on time")),
        (false, true) => Err(Failure::Other(
            ExitCode::Target,
            "the machine was too busy to tell; hint: run it again with nothing else beside it".to_owned(),
        )),
        (false, false) => Ok(ExitCode::Ok),
    }
}

fn show(seen: &SelfTest) {
    let lag = |l: &LagRecord| [Nanos(l.p50_ns).to_string(), Nanos(l.p99_ns).to_string()];
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["idle policy", "at", "lag p50", "p99", "floor p50", "p99", "highest rate"]);
    let [p50, p99] = lag(&seen.spin);
    table.add_row([
        "plain spin loop".to_owned(),
        Rate(10_000.0).to_string(),
        p50,
        p99,
        "-".into(),
        "-".into(),
        "-".into(),
    ]);
    for policy in &seen.policies {
        let ([l50, l99], [f50, f99]) = (lag(&policy.lag), lag(&policy.floor));
        let highest = if policy.highest_per_s > 0.0 { Rate(policy.highest_per_s).to_string() } else { "none".into() };
        table.add_row([policy.idle.clone(), Rate(policy.rate_per_s).to_string(), l50, l99, f50, f99, highest]);
    }
    right(&mut table, 1);
    line(format_args!("{}", seen.processors));
    line(format_args!("{table}"));
    for policy in &seen.policies {
        line(format_args!("{} ends {}", policy.idle, policy.limited_by));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["server", "number", "by arithmetic", "seen", "allowed", ""]);
    for truth in &seen.truths {
        let ns = |value: f64| Nanos(value.max(0.0) as u64).to_string();
        let verdict = match truth.verdict {
            TruthVerdict::Right => "right",
            TruthVerdict::Wrong => "WRONG",
            TruthVerdict::Inconclusive => "the machine was late",
        };
        table.add_row([
            truth.server.clone(),
            truth.number.clone(),
            ns(truth.expected_ns),
            ns(truth.seen_ns),
            format!("+- {}", ns(truth.allowed_ns)),
            verdict.to_owned(),
        ]);
    }
    right(&mut table, 2);
    line(format_args!("{table}"));
    line(format_args!("highest trustworthy rate: {}", Rate(seen.highest_per_s())));
}

/// Aligns the columns from this one on to the right.
fn right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

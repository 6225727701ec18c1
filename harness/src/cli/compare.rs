//! `assay compare`: deployments that already run, or two stored runs.

use assay::record::{self, ExitCode};
use assay::report;
use assay::scenario::{Compare, Effort};
use assay::stats;

use super::args::CompareArgs;
use super::carry::{Errand, Place, carry};
use super::{Done, Failure, Global, line, load, print, profile};

/// Compares.
pub fn run(args: &CompareArgs, global: &Global) -> Done {
    match args.runs.as_slice() {
        [before, after] => stored(&read(before)?, &read(after)?, global),
        _ => running(args, global),
    }
}

fn read(path: &std::path::Path) -> Result<record::Run, Failure> {
    record::load(path)
        .map_err(|why| Failure::usage(format!("{why}; hint: a run is a folder below `reports/`, or its run.json")))
}

/// Two stored runs: nothing was interleaved, so nothing is decided.
fn stored(before: &record::Run, after: &record::Run, global: &Global) -> Done {
    let compared = stats::compare_stored(before, after).map_err(Failure::harness)?;
    if global.json {
        let text = serde_json::to_string_pretty(&compared).map_err(Failure::harness)?;
        line(format_args!("{text}"));
    } else {
        print(report::stored_summary(&compared, global.paint()).as_bytes());
    }
    Ok(ExitCode::Ok)
}

/// Deployments that already run: pairs, and nothing else.
fn running(args: &CompareArgs, global: &Global) -> Done {
    let [(baseline, _), _, ..] = args.targets.as_slice() else {
        return Err(Failure::usage(
            "expected two targets or more, as `--target bare=http://127.0.0.1:8080 --target nginx=http://127.0.0.1:8081`",
        ));
    };
    for (place, (name, _)) in args.targets.iter().enumerate() {
        if args.targets[..place].iter().any(|(other, _)| other == name) {
            return Err(Failure::usage(format!("--target: the name `{name}` is given twice")));
        }
    }
    let profile = profile::of_flags(&args.how, global)?;
    let mut scenario = profile::scenario_of("compare", &args.targets, &args.how, global);
    scenario.load = Some(load::shaped(load::plain(&profile)?, &args.shape, &profile)?);
    scenario.compare =
        Some(Compare { baseline: baseline.clone(), effort: args.effort.unwrap_or(Effort::Quick), gate: false });
    let errand = Errand {
        command: "compare",
        scenario: &scenario,
        source: None,
        profile: &profile,
        place: args.out.clone().map_or(Place::Nowhere, Place::Inside),
    };
    carry(&errand, global)
}

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
        [before, after] => {
            over(args)?;
            stored(&read(before)?, &read(after)?, global)
        }
        _ => running(args, global),
    }
}

/// Refuses flags that say whom to drive and how: two stored runs are over, and a flag without effect misleads. Passwords
/// may stand in the environment of a whole script.
fn over(args: &CompareArgs) -> Result<(), Failure> {
    let CompareArgs { how, shape, .. } = args;
    let flags = [
        ("--profile", how.profile.is_some()),
        ("--variant", how.variant.is_some()),
        ("--user", how.user.is_some()),
        ("--second-user", how.second_user.is_some()),
        ("--admin", how.admin.is_some()),
        ("--effort", args.effort.is_some()),
        ("--mix", !shape.mix.is_empty()),
        ("--rate", shape.rate.is_some()),
        ("--connections", shape.connections.is_some()),
        ("--cores", shape.cores.is_some()),
        ("--seed", shape.seed.is_some()),
        ("--sessions", shape.sessions.is_some()),
        ("--out", args.out.is_some()),
    ];
    match flags.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag}: two stored runs are compared as they were driven; hint: `--target NAME=URL` twice drives two deployments anew"
        ))),
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
    profile::without_hooks(&args.how, "a comparison")?;
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

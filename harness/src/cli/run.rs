//! `assay run SCENARIO`: everything the scenario names.

use assay::run::open_scenario;
use assay::scenario::{Diagnostics, suggestion};

use super::args::RunArgs;
use super::carry::{Errand, Place, carry};
use super::{Done, Failure, Global, tell};

/// Runs a scenario, whole.
pub fn run(args: &RunArgs, global: &Global) -> Done {
    let read = open_scenario(&args.scenario, &global.allow_remote)?;
    warn(&read.warnings, global);
    let mut scenario = read.loaded.scenario.clone();
    for name in &args.topologies {
        if !scenario.topologies.contains_key(name) {
            let names: Vec<&str> = scenario.topologies.keys().map(String::as_str).collect();
            let hint = suggestion(name, &names).map(|hint| format!("; hint: {hint}")).unwrap_or_default();
            return Err(Failure::usage(format!("--topology: the scenario has no topology `{name}`{hint}")));
        }
    }
    if !args.topologies.is_empty() {
        scenario.topologies.retain(|name, _| args.topologies.contains(name));
        scenario.thresholds.retain(|text| {
            let of: Option<String> = text.parse().ok().and_then(|t: assay::scenario::Threshold| t.topology);
            of.is_none_or(|name| args.topologies.contains(&name))
        });
        scenario.compare = scenario.compare.filter(|c| args.topologies.contains(&c.baseline));
    }
    if let Some(load) = scenario.load.as_mut() {
        load.seed = args.seed.unwrap_or(load.seed);
        load.cores = args.cores.or(load.cores);
    }
    carry(
        &Errand {
            command: "run",
            scenario: &scenario,
            source: Some(&read.loaded.source),
            profile: &read.profile,
            place: Place::Inside(args.out.clone()),
        },
        global,
    )
}

/// Says the doubts about a file that can be used nevertheless.
pub fn warn(warnings: &Diagnostics, global: &Global) {
    if !warnings.0.is_empty() && !global.quiet {
        tell(format_args!("{}\n", warnings.render(global.colors_on_stderr())));
    }
}

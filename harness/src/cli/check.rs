//! `assay check`: conformance only, of a scenario or of a server that already runs.

use assay::conformance::{Selection, catalogue};
use assay::scenario::{Budget, Conformance, FailOn};

use super::args::CheckArgs;
use super::carry::{Errand, Place, carry};
use super::{Done, Failure, Global, profile};

/// Examines.
pub fn run(args: &CheckArgs, global: &Global) -> Done {
    if args.kill_matrix {
        return super::kill_matrix::run(budget(args).unwrap_or_default(), &args.only, global);
    }
    let place = args.out.clone().map_or(Place::Nowhere, Place::At);
    let how = &args.target.how;
    let (scenario, source, profile) = match (&args.scenario, &args.target.target) {
        (Some(file), _) => {
            let (read, mut scenario, profile) = profile::beside_scenario(file, how, global)?;
            scenario.load = None;
            scenario.compare = None;
            scenario.thresholds.clear();
            scenario.conformance = Some(asked(scenario.conformance.unwrap_or_else(everything), args)?);
            // What the help promises of `--out`, whatever the scenario wants beside it.
            for format in ["html", "json", "junit"] {
                if !scenario.reports.iter().any(|name| name == format) {
                    scenario.reports.push(format.to_owned());
                }
            }
            (scenario, Some(read.loaded.source), profile)
        }
        (None, Some(url)) => {
            let profile = profile::of_flags(how, global)?;
            let named = [("target".to_owned(), url.clone())];
            let mut scenario = profile::scenario_of("check", &named, how, global);
            scenario.conformance = Some(asked(everything(), args)?);
            (scenario, None, profile)
        }
        (None, None) => return Err(Failure::usage("expected a scenario, or `--target URL --profile NAME`")),
    };
    if let Some(conformance) = &scenario.conformance {
        Selection::new(conformance, catalogue()).map_err(|why| Failure::usage(format!("--{why}")))?;
    }
    let errand = Errand { command: "check", scenario: &scenario, source: source.as_deref(), profile: &profile, place };
    carry(&errand, global)
}

fn everything() -> Conformance {
    Conformance {
        only: vec!["*".to_owned()],
        skip: Vec::new(),
        require: Vec::new(),
        budget: Budget::default(),
        intrusive: false,
        fail_on: FailOn::default(),
        side_by_side: false,
        capsule: None,
    }
}

/// The budget that the flags name.
fn budget(args: &CheckArgs) -> Option<Budget> {
    if args.thorough { Some(Budget::Thorough) } else { args.budget }
}

/// What the scenario asks for, narrowed by the flags.
fn asked(mut conformance: Conformance, args: &CheckArgs) -> Result<Conformance, Failure> {
    if !args.only.is_empty() {
        conformance.only.clone_from(&args.only);
    }
    conformance.skip.extend_from_slice(&args.skip);
    conformance.require.extend_from_slice(&args.require);
    conformance.budget = budget(args).unwrap_or(conformance.budget);
    conformance.intrusive |= args.intrusive;
    conformance.fail_on = args.fail_on.unwrap_or(conformance.fail_on);
    if let Some(file) = &args.capsule {
        // A path of the command line starts here, one of a scenario at the scenario.
        let file =
            std::path::absolute(file).map_err(|e| Failure::usage(format!("--capsule {}: {e}", file.display())))?;
        conformance.capsule = Some(file);
    }
    Ok(conformance)
}

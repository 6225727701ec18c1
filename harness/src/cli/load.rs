//! `assay load`: a load only, of a scenario or against a server that already runs.

use assay::scenario::{Arrival, Closed, Open, Process, Stage, Workload};
use assay::target::Profile;
use assay::units::Span;
use serde_json::json;

use super::args::{LoadArgs, LoadCourse, LoadShape};
use super::carry::{Errand, Place, carry};
use super::{Done, Failure, Global, profile};

/// Arrivals per second where nobody says how many.
const RATE: &str = "100/s";

/// Drives.
pub fn run(args: &LoadArgs, global: &Global) -> Done {
    let place = args.out.clone().map_or(Place::Nowhere, Place::Inside);
    let how = &args.target.how;
    profile::without_hooks(how, "a load")?;
    let (scenario, source, profile) = match (&args.scenario, &args.target.target) {
        (Some(file), _) => {
            let (read, mut scenario, profile) = profile::beside_scenario(file, how, global)?;
            scenario.conformance = None;
            scenario.compare = None;
            let Some(load) = scenario.load.take() else {
                return Err(Failure::usage(format!("{}: expected a `load`, and it has none", file.display())));
            };
            scenario.load = Some(running(shaped(load, &args.shape, &profile)?, &args.course));
            (scenario, Some(read.loaded.source), profile)
        }
        (None, Some(url)) => {
            let profile = profile::of_flags(how, global)?;
            let named = [("target".to_owned(), url.clone())];
            let mut scenario = profile::scenario_of("load", &named, how, global);
            scenario.load = Some(running(shaped(plain(&profile)?, &args.shape, &profile)?, &args.course));
            (scenario, None, profile)
        }
        (None, None) => return Err(Failure::usage("expected a scenario, or `--target URL --profile NAME`")),
    };
    let errand = Errand { command: "load", scenario: &scenario, source: source.as_deref(), profile: &profile, place };
    carry(&errand, global)
}

/// The load of a command line that says nothing of it: tokens are presented, at a rate that hurts nobody.
///
/// # Errors
/// A mistake of ours.
pub fn plain(profile: &Profile) -> Result<Workload, Failure> {
    let words = profile.words();
    let word = ["access", "verify"].into_iter().find(|word| words.iter().any(|w| w == word)).unwrap_or("issue");
    // By way of the words of a scenario, so that whatever is not said is what it is there.
    serde_json::from_value(json!({"arrival": {"open": {"rate": RATE}}, "mix": {word: 1.0}, "warmup": "1s"}))
        .map_err(Failure::harness)
}

/// A load with what the command line says of it.
pub fn shaped(mut load: Workload, shape: &LoadShape, profile: &Profile) -> Result<Workload, Failure> {
    if !shape.mix.is_empty() {
        profile::know_words(shape.mix.iter().map(|(word, _)| word), profile)?;
        load.rates.clear();
        load.flow.clear();
        load.mix = shape.mix.iter().cloned().collect();
    }
    if let Some(rate) = shape.rate {
        load = load.plain();
        load.find = None;
        let process = match load.arrival {
            Arrival::Open(open) => open.process,
            Arrival::Closed(_) => Process::Poisson,
        };
        load.arrival = Arrival::Open(Open { rate, process });
    }
    load.connections = shape.connections.or(load.connections);
    load.cores = shape.cores.or(load.cores);
    load.seed = shape.seed.unwrap_or(load.seed);
    load.tokens.sessions = shape.sessions.unwrap_or(load.tokens.sessions);
    Ok(load)
}

/// A load that lasts as the command line says, with users where it wants them.
fn running(mut load: Workload, course: &LoadCourse) -> Workload {
    if let Some(users) = course.users {
        load = load.plain();
        load.find = None;
        load.arrival = Arrival::Closed(Closed { users, think: None });
        // Users have no rate that a ramp could change: they stay as long as the stages take.
        load.stages = vec![Stage::Hold(Span(load.stages.iter().map(Stage::lasts).sum()))];
    }
    if let Some(duration) = course.duration {
        load.stages = vec![Stage::Hold(duration)];
    }
    load.warmup = course.warmup.unwrap_or(load.warmup);
    load
}

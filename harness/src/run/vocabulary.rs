//! Which words can a scenario use, and what does a scenario file say with them?

use std::sync::Arc;

use crate::scenario::{self, Diagnostic, Diagnostics, LinkWord, Loaded, Source, Vocabulary};
use crate::target::{self, Profile};
use crate::{conformance, launch, report};

/// A scenario that makes sense, with the profile that it names.
#[derive(Clone, Debug)]
pub struct ReadScenario {
    /// The scenario, its text and its tree. Hosts from the command line are among its `allow_remote`.
    pub loaded: Loaded,
    /// The profile, with the scenario's variant merged in.
    pub profile: Profile,
    /// Doubts; no errors.
    pub warnings: Diagnostics,
}

/// Reads a scenario and its profile and checks both against what Assay knows. `allow_remote` comes from the command
/// line.
///
/// # Errors
/// Every problem that could be found, warnings included.
pub fn read_scenario(source: Arc<Source>, allow_remote: &[String]) -> Result<ReadScenario, Diagnostics> {
    let mut loaded = scenario::from_source(source)?;
    loaded.scenario.allow_remote.extend_from_slice(allow_remote);
    let folder = loaded.source.folder.clone();
    let asked = &loaded.scenario;
    // The variant is looked at here and not by `load`, so that a wrong one is shown in the scenario.
    let base = target::load(&asked.target, None, &folder);
    let mut found = Diagnostics::default();
    let vocabulary = vocabulary(base.as_ref().ok());
    match &base {
        Err(problems) => {
            for problem in &problems.0 {
                let mut problem = problem.clone();
                let place = loaded.tree.find(&["target"]).map(|node| node.place.clone());
                problem.place = problem.place.or(place);
                found.0.push(problem);
            }
        }
        Ok(_) => found.0.extend(target::examine_named(&asked.target, &folder).0),
    }
    found.0.extend(loaded.validate(&vocabulary).0);
    if found.has_errors() {
        return Err(found);
    }
    match target::load(&asked.target, asked.variant.as_deref(), &folder) {
        Ok(profile) => Ok(ReadScenario { loaded, profile, warnings: found }),
        Err(problems) => {
            found.0.extend(problems.0);
            Err(found)
        }
    }
}

/// Reads a scenario from a file, as [`read_scenario`].
///
/// # Errors
/// Every problem that could be found, warnings included.
pub fn open_scenario(path: &std::path::Path, allow_remote: &[String]) -> Result<ReadScenario, Diagnostics> {
    let source = scenario::read(path).map_err(|problem: Diagnostic| Diagnostics::from(problem))?;
    read_scenario(source, allow_remote)
}

/// The words that a scenario for this profile can use.
pub fn vocabulary(profile: Option<&Profile>) -> Vocabulary {
    let mut checks: Vec<String> = Vec::new();
    for check in conformance::catalogue() {
        checks.push(check.id.to_owned());
        checks.push(check.group.to_ascii_lowercase());
    }
    checks.extend(conformance::Need::ALL.iter().map(|need| need.name().to_owned()));
    checks.dedup();
    Vocabulary {
        links: launch::topologies().iter().map(link).collect(),
        operations: profile.map(Profile::words),
        checks,
        formats: report::formats().iter().map(|format| format.name.to_owned()).collect(),
        variants: profile.map(|profile| profile.variants.keys().cloned().collect()),
    }
}

fn link(row: &launch::Row) -> LinkWord {
    LinkWord {
        name: row.name.to_owned(),
        server: row.kind == launch::Kind::Server,
        settings: row.settings.iter().map(|setting| setting.name.to_owned()).collect(),
    }
}

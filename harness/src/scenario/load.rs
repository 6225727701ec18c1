//! Which scenario does this file hold?

use std::path::Path;
use std::sync::Arc;

use super::decode::decode;
use super::diagnostic::{Diagnostic, Diagnostics, Source};
use super::parse::{Node, parse, read};
use super::threshold::Threshold;
use super::types::{Scenario, Workload};
use super::validate::{Vocabulary, validate};

/// A scenario with the text that it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it asks for.
    pub scenario: Scenario,
    /// Its text.
    pub source: Arc<Source>,
    /// Its tree, for the places of later diagnostics.
    pub tree: Node,
}

impl Loaded {
    /// The thresholds as values. Those that do not parse are reported by [`validate`].
    pub fn thresholds(&self) -> Vec<Threshold> {
        self.scenario.thresholds.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The load without shorthands, as it is driven.
    pub fn workload(&self) -> Option<Workload> {
        self.scenario.load.clone().map(Workload::plain)
    }

    /// What is wrong or doubtful beyond the types.
    pub fn validate(&self, vocabulary: &Vocabulary) -> Diagnostics {
        validate(&self.scenario, &self.tree, vocabulary)
    }
}

/// Reads a scenario from a file. What it says is checked by [`Loaded::validate`].
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    from_source(read(path)?)
}

/// Reads a scenario from a text.
pub fn from_source(source: Arc<Source>) -> Result<Loaded, Diagnostics> {
    let tree = parse(&source)?;
    // The two kinds of files lie side by side: one problem that names the mistake, instead of one for each key.
    if tree.get("operations").is_some() && tree.get("topologies").is_none() {
        let place = tree.entry("operations").map_or_else(|| tree.place.clone(), |entry| entry.place.clone());
        let problem = Diagnostic::new("expected a scenario, saw a profile").at(place).label("only a profile has this");
        let hint = format!("assay check --target URL --profile {}", source.name);
        return Err(Diagnostics::from(problem.hint(hint)));
    }
    let scenario = decode(&tree)?;
    Ok(Loaded { scenario, source, tree })
}

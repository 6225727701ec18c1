//! Which steps does a scenario have? Pure: known before anything is started.

use crate::scenario::Scenario;

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Every topology is started, so that all are driven under the same conditions.
    Launch,
    /// The checks, in these topologies at once: one, unless the scenario says that they share nothing.
    Examine(Vec<String>),
    /// The whole load, in one topology.
    Drive(String),
    /// Interleaved blocks over all topologies.
    Compare,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Launch => write!(f, "start"),
            Step::Examine(topologies) => write!(f, "examine {}", topologies.join(", ")),
            Step::Drive(topology) => write!(f, "load {topology}"),
            Step::Compare => write!(f, "compare"),
        }
    }
}

/// The steps in their order. `pairs_only`: the load is driven in the comparison alone.
pub fn plan(scenario: &Scenario, pairs_only: bool) -> Vec<Step> {
    let mut steps = vec![Step::Launch];
    let names = || scenario.topologies.keys().cloned();
    match &scenario.conformance {
        Some(asked) if asked.side_by_side => steps.push(Step::Examine(names().collect())),
        Some(_) => steps.extend(names().map(|name| Step::Examine(vec![name]))),
        None => {}
    }
    if scenario.load.is_some() && !pairs_only {
        steps.extend(names().map(Step::Drive));
    }
    if scenario.load.is_some() && scenario.compare.is_some() && scenario.topologies.len() > 1 {
        steps.push(Step::Compare);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Source, from_source};

    fn steps(yaml: &str, pairs_only: bool) -> Vec<String> {
        let text = format!(
            "name: a\ntarget: reference\ntopologies: {{one: [reference-server], two: [reference-server, nginx]}}\n{yaml}"
        );
        let loaded = from_source(Source::new("a.yaml", ".", text)).expect("a scenario");
        plan(&loaded.scenario, pairs_only).iter().map(Step::to_string).collect()
    }

    const LOAD: &str = "load: {arrival: {open: {rate: 5/s}}, mix: {access: 1}}\ncompare: {baseline: one}\n";

    #[test]
    fn every_topology_is_examined_before_any_is_loaded() {
        assert_eq!(
            steps(&format!("conformance: {{}}\n{LOAD}"), false),
            ["start", "examine one", "examine two", "load one", "load two", "compare"]
        );
    }

    #[test]
    fn servers_that_share_nothing_are_examined_at_once() {
        assert_eq!(steps("conformance: {side-by-side: true}\n", false), ["start", "examine one, two"]);
    }

    #[test]
    fn a_comparison_alone_drives_nothing_but_pairs() {
        assert_eq!(steps(LOAD, true), ["start", "compare"]);
    }

    #[test]
    fn what_a_scenario_leaves_out_is_no_step() {
        assert_eq!(steps("conformance: {}\n", false), ["start", "examine one", "examine two"]);
    }
}

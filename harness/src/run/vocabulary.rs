//! Which words can a scenario use, and what does a scenario file say with them?

use std::sync::Arc;

use crate::scenario::{self, Diagnostic, Diagnostics, Link, LinkWord, Loaded, Source, Topology, Vocabulary};
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
        Ok(profile) => {
            found.0.extend(signed_otherwise(&loaded, &profile));
            Ok(ReadScenario { loaded, profile, warnings: found })
        }
        Err(problems) => {
            found.0.extend(problems.0);
            Err(found)
        }
    }
}

/// Reference servers that are started with another algorithm than the profile (or its variant) speaks of: most checks
/// would have the wrong key, and say so one by one.
fn signed_otherwise(loaded: &Loaded, profile: &Profile) -> Vec<Diagnostic> {
    let Some(spoken) = &profile.tokens.access.alg else { return Vec::new() };
    let mut found = Vec::new();
    for (name, topology) in &loaded.scenario.topologies {
        let Topology::Chain(links) = topology else { continue };
        let settings = match links.first() {
            Some(Link::Name(link)) if link == REFERENCE => None,
            Some(Link::Settings(map)) if map.contains_key(REFERENCE) => map.get(REFERENCE),
            _ => continue,
        };
        let own = settings.and_then(|settings| settings.get("alg"));
        if own.is_none() && settings.is_some_and(|settings| settings.contains_key("config")) {
            // Its configuration file may say.
            continue;
        }
        let signs = own.map_or(Some(DEFAULT_ALG), |alg| alg.as_str());
        let Some(signs) = signs.filter(|signs| !signs.eq_ignore_ascii_case(spoken)) else { continue };
        let from = match &loaded.scenario.variant {
            Some(variant) => format!("the variant `{variant}` of the profile"),
            None => "the profile".to_owned(),
        };
        let text = format!("expected a server that signs by {spoken}, as {from} says, saw one that signs by {signs}");
        let mut doubt = Diagnostic::new(text).at(loaded.tree.place_of(&["topologies", name])).warning();
        doubt.hint = Some(format!("`{{{REFERENCE}: {{alg: {spoken}}}}}`, or another `variant`"));
        found.push(doubt);
    }
    found
}

/// The link that starts our own server, and what that signs by where nobody says.
const REFERENCE: &str = "reference-server";
const DEFAULT_ALG: &str = "HS256";

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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is doubted of a scenario, by the profile `reference`.
    fn doubts(head: &str, server: &str) -> Vec<String> {
        let text = format!("name: a\ntarget: reference\n{head}topologies: {{bare: [{server}]}}\nconformance: {{}}\n");
        let read = read_scenario(Source::new("a.yaml", ".", text), &[]).expect("a scenario");
        read.warnings.0.iter().map(|doubt| doubt.message.clone()).collect()
    }

    #[test]
    fn a_server_that_signs_otherwise_than_the_variant_says_is_doubted() {
        let es256 = "variant: es256\n";
        let expected = "expected a server that signs by ES256, as the variant `es256` of the profile says, saw one that signs by HS256";
        assert_eq!(doubts(es256, "reference-server"), [expected]);
        assert_eq!(doubts(es256, "{reference-server: {hash: none}}"), [expected]);
        assert_eq!(doubts("", "{reference-server: {alg: ES256}}").len(), 1);
        for (head, server) in [
            ("", "reference-server"),
            (es256, "{reference-server: {alg: ES256}}"),
            (es256, "{reference-server: {config: mine.yaml}}"),
            ("variant: static-refresh\n", "{reference-server: {rotate: off}}"),
        ] {
            assert_eq!(doubts(head, server), [""; 0], "{head}{server}");
        }
    }
}

//! Which checks run, and why do the others not?

use std::collections::HashSet;

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::record::{Level, SkipReason};
use crate::scenario::{Budget, Conformance};
use crate::target::Dialect;

use super::descriptor::{Check, Need};

/// The longest that one check may take within the CI budget, in seconds, by its own estimate.
pub(super) const CI_CHECK_S: u64 = 30;

/// The user's choice, compiled.
#[derive(Debug)]
pub struct Selection {
    only: GlobSet,
    skip: GlobSet,
    require: GlobSet,
    require_patterns: Vec<(String, globset::GlobMatcher)>,
    /// How long checks may take.
    pub budget: Budget,
    /// Whether checks that could harm the target run.
    pub intrusive: bool,
}

impl Selection {
    /// Compiles the globs of a scenario or a command line. They are matched against ids and groups without regard
    /// to upper and lower case; `--require` also against capabilities.
    ///
    /// # Errors
    /// A glob that does not parse, or that names nothing in the catalogue, in words for the user.
    pub fn new(asked: &Conformance, catalogue: &[&Check]) -> Result<Selection, String> {
        let mut require_patterns = Vec::new();
        for (key, list) in [("only", &asked.only), ("skip", &asked.skip), ("require", &asked.require)] {
            for text in list {
                let glob = one(key, text)?.compile_matcher();
                let names_check =
                    catalogue.iter().any(|c| glob.is_match(c.id) || glob.is_match(c.group.to_ascii_lowercase()));
                let names_need = key == "require" && Need::ALL.iter().any(|n| glob.is_match(n.name()));
                if !names_check && !names_need {
                    return Err(format!(
                        "{key} `{text}`: expected a glob on check ids or groups, it names none{}",
                        near(text, catalogue)
                    ));
                }
                if key == "require" {
                    require_patterns.push((text.clone(), glob));
                }
            }
        }
        Ok(Selection {
            only: set("only", &asked.only)?,
            skip: set("skip", &asked.skip)?,
            require: set("require", &asked.require)?,
            require_patterns,
            budget: asked.budget,
            intrusive: asked.intrusive,
        })
    }

    /// Every check, within the CI budget.
    pub fn everything() -> Selection {
        let any = || set("only", &["*".to_owned()]).unwrap_or_else(|_| GlobSet::empty());
        Selection {
            only: any(),
            skip: GlobSet::empty(),
            require: GlobSet::empty(),
            require_patterns: Vec::new(),
            budget: Budget::Ci,
            intrusive: false,
        }
    }

    /// Whether a skip of this check, or of a part of it, is a failure: its id, its group or the capability it lacks is
    /// required.
    pub fn requires(&self, check: &Check, reason: Option<&SkipReason>) -> bool {
        let lacks = match reason {
            Some(SkipReason::Needs(cap)) => self.require_patterns.iter().any(|(_, g)| g.is_match(cap)),
            _ => false,
        };
        lacks || hit(&self.require, check)
    }

    /// Capabilities that are required by name and not there, each with the pattern that names it. A pattern that names
    /// checks too is about those.
    pub fn lacking(&self, catalogue: &[&Check], has: &HashSet<Need>) -> Vec<(&str, Need)> {
        let names_checks = |glob: &globset::GlobMatcher| {
            catalogue.iter().any(|c| glob.is_match(c.id) || glob.is_match(c.group.to_ascii_lowercase()))
        };
        let mut found = Vec::new();
        for (text, glob) in self.require_patterns.iter().filter(|(_, glob)| !names_checks(glob)) {
            let missing = Need::ALL.iter().filter(|need| glob.is_match(need.name()) && !has.contains(need));
            found.extend(missing.map(|need| (text.as_str(), *need)));
        }
        found
    }

    /// The level at which a check runs, or why it does not.
    ///
    /// # Errors
    /// The reason to skip it.
    pub fn admit(&self, check: &Check, dialect: Dialect, has: &HashSet<Need>) -> Result<Level, SkipReason> {
        if !hit(&self.only, check) {
            return Err(SkipReason::Excluded("only".into()));
        }
        if hit(&self.skip, check) {
            return Err(SkipReason::Excluded("skip".into()));
        }
        let level = check.level(dialect).ok_or(SkipReason::Dialect)?;
        if check.intrusive && !self.intrusive {
            return Err(SkipReason::IntrusiveOff);
        }
        if let Some(need) = check.needs.iter().find(|n| !has.contains(n)) {
            return Err(SkipReason::Needs(need.name().into()));
        }
        if self.budget == Budget::Ci && u64::from(check.cost.seconds) > CI_CHECK_S {
            return Err(SkipReason::Budget(check.cost.seconds.into()));
        }
        Ok(level)
    }

    /// Whether the user's filters alone leave the check out, and nothing requires it: then it is not even listed.
    pub fn filtered_out(&self, check: &Check) -> bool {
        (!hit(&self.only, check) || hit(&self.skip, check)) && !hit(&self.require, check)
    }
}

fn one(key: &str, text: &str) -> Result<Glob, String> {
    Glob::new(&text.to_ascii_lowercase()).map_err(|e| format!("{key} `{text}`: expected a glob: {e}"))
}

fn set(key: &str, list: &[String]) -> Result<GlobSet, String> {
    let mut builder = GlobSetBuilder::new();
    for text in list {
        builder.add(one(key, text)?);
    }
    builder.build().map_err(|e| format!("{key}: {e}"))
}

fn hit(set: &GlobSet, check: &Check) -> bool {
    set.is_match(check.id) || set.is_match(check.group.to_ascii_lowercase())
}

fn near(text: &str, catalogue: &[&Check]) -> String {
    catalogue
        .iter()
        .map(|c| (strsim::damerau_levenshtein(text, c.id), c.id))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map_or_else(
            || "; hint: `assay list checks` prints them".to_owned(),
            |(_, id)| format!("; hint: did you mean `{id}`"),
        )
}

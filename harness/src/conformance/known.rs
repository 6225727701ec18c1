//! Which failures does the profile expect, and does that still hold?

use globset::{Glob, GlobMatcher};

use super::descriptor::Check;
use super::outcome::Observation;
use crate::record::{CheckRecord, Verdict};

/// One entry under `known:`: an id or a `check/variant` glob, why it is expected, and until when.
#[derive(Clone, Debug)]
pub struct Deviation {
    /// As written: `sig-alg-none`, `struct-b64-*`, `type-exp-other/null`.
    pub pattern: String,
    /// What is expected; a failure in most entries.
    pub outcome: Verdict,
    /// Why the profile expects it.
    pub reason: String,
    /// The entry is void after this day (`2027-01-31`), UTC.
    pub until: Option<String>,
}

/// The entries that hold today.
#[derive(Debug, Default)]
pub struct Deviations {
    entries: Vec<Entry>,
    past: Vec<Deviation>,
}

#[derive(Debug)]
struct Entry {
    deviation: Deviation,
    check: GlobMatcher,
    variant: Option<GlobMatcher>,
}

/// Whether an observation is listed.
#[derive(Debug, PartialEq, Eq)]
pub enum Listed<'a> {
    /// No entry covers it.
    No,
    /// An entry covers it.
    Yes {
        /// The entry names the check as a whole, not a part.
        whole_check: bool,
        /// What is expected.
        outcome: Verdict,
        /// The reason given.
        reason: &'a str,
    },
}

impl Deviations {
    /// The entries that hold on the day `today` (`2026-11-24`).
    ///
    /// # Errors
    /// An entry whose glob does not parse, in words for the user.
    pub fn new(list: &[Deviation], today: &str) -> Result<Deviations, String> {
        let mut deviations = Deviations::default();
        for d in list {
            if d.until.as_deref().is_some_and(|until| today > until) {
                deviations.past.push(d.clone());
                continue;
            }
            let glob = |text: &str| {
                Glob::new(text)
                    .map(|g| g.compile_matcher())
                    .map_err(|e| format!("known `{}`: expected an id or a `check/variant` glob: {e}", d.pattern))
            };
            let (check, variant) = match d.pattern.split_once('/') {
                Some((c, v)) => (glob(c)?, Some(glob(v)?)),
                None => (glob(&d.pattern)?, None),
            };
            deviations.entries.push(Entry { deviation: d.clone(), check, variant });
        }
        Ok(deviations)
    }

    /// The entry that covers a part of a check; the most special one wins.
    pub fn find(&self, check: &str, variant: Option<&str>) -> Listed<'_> {
        self.entries
            .iter()
            .filter(|e| e.covers(check, variant))
            .max_by_key(|e| (e.variant.is_some(), e.deviation.pattern == check, e.deviation.pattern.len()))
            .map_or(Listed::No, |e| Listed::Yes {
                whole_check: e.variant.is_none(),
                outcome: e.deviation.outcome,
                reason: &e.deviation.reason,
            })
    }

    /// Whether the entry that covers this part is used up by another part under the same glob, which came out as expected.
    pub(super) fn used(&self, check: &str, all: &[Observation], variant: &Option<String>) -> bool {
        self.entries
            .iter()
            .filter(|e| e.covers(check, variant.as_deref()))
            .any(|e| all.iter().any(|o| o.verdict == e.deviation.outcome && e.covers(check, o.variant.as_deref())))
    }

    /// Entries that cover none of these checks: they are stale.
    pub fn unmatched<'a>(&'a self, ids: &[&str]) -> Vec<&'a Deviation> {
        self.entries.iter().filter(|e| !ids.iter().any(|id| e.check.is_match(id))).map(|e| &e.deviation).collect()
    }

    /// Entries for parts that none of the checks has which they name: they are stale too. A check that was left out, or
    /// blocked as a whole, may have the part; one whose parts are all listed beforehand has not.
    pub(super) fn partless<'a>(&'a self, checks: &[&Check], records: &[CheckRecord]) -> Vec<&'a Deviation> {
        let has_part = |e: &Entry, glob: &GlobMatcher| {
            checks.iter().filter(|c| e.check.is_match(c.id)).any(|check| {
                let open = check.variants.iter().any(|name| name.contains('*'));
                let listed = check.variants.iter().any(|name| glob.is_match(name));
                let record = records.iter().find(|r| r.id == check.id).filter(|r| !r.variants.is_empty());
                let seen = record.is_none_or(|r| r.variants.iter().any(|v| glob.is_match(&v.name)));
                listed || open && seen
            })
        };
        let named = |e: &&Entry| checks.iter().any(|c| e.check.is_match(c.id));
        let stale = |e: &&Entry| e.variant.as_ref().is_some_and(|glob| !has_part(e, glob));
        self.entries.iter().filter(named).filter(stale).map(|e| &e.deviation).collect()
    }

    /// Entries past their date: what they cover is judged as if they were not there.
    pub fn past(&self) -> &[Deviation] {
        &self.past
    }
}

impl Entry {
    fn covers(&self, check: &str, variant: Option<&str>) -> bool {
        self.check.is_match(check)
            && match (&self.variant, variant) {
                (None, _) => true,
                (Some(glob), Some(name)) => glob.is_match(name),
                (Some(_), None) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pattern: &str, until: Option<&str>) -> Deviation {
        Deviation {
            pattern: pattern.into(),
            outcome: Verdict::Fail,
            reason: format!("because of {pattern}"),
            until: until.map(str::to_owned),
        }
    }

    #[test]
    fn the_most_special_entry_gives_the_reason() {
        let known = Deviations::new(&[entry("sig-*", None), entry("sig-alg-none/None", None)], "2026-11-24").unwrap();
        assert_eq!(
            known.find("sig-alg-none", Some("None")),
            Listed::Yes { whole_check: false, outcome: Verdict::Fail, reason: "because of sig-alg-none/None" }
        );
        assert_eq!(
            known.find("sig-tamper", None),
            Listed::Yes { whole_check: true, outcome: Verdict::Fail, reason: "because of sig-*" }
        );
        assert_eq!(known.find("time-nbf", None), Listed::No);
    }

    #[test]
    fn an_entry_past_its_date_covers_nothing() {
        let known = Deviations::new(
            &[entry("time-nbf", Some("2026-11-23")), entry("time-exp", Some("2026-11-24"))],
            "2026-11-24",
        )
        .unwrap();
        assert_eq!(known.find("time-nbf", None), Listed::No);
        assert_ne!(known.find("time-exp", None), Listed::No);
        assert_eq!(known.past().len(), 1);
    }

    #[test]
    fn an_entry_that_names_no_check_is_reported() {
        let known = Deviations::new(&[entry("sgi-tamper", None), entry("sig-*", None)], "2026-11-24").unwrap();
        assert_eq!(known.unmatched(&["sig-tamper"]).len(), 1);
    }

    #[test]
    fn a_broken_glob_is_told_with_its_key() {
        let error = Deviations::new(&[entry("sig-[", None)], "2026-11-24").unwrap_err();
        assert!(error.contains("sig-["), "{error}");
    }

    #[test]
    fn an_entry_for_a_part_that_no_check_has_is_reported() {
        let patterns =
            ["struct-polyglot/member", "struct-polyglot/member-*", "sig-*/flattened", "struct-b64-junk/signature-dot"];
        let list: Vec<Deviation> = patterns.iter().map(|pattern| entry(pattern, None)).collect();
        let known = Deviations::new(&list, "2026-11-24").unwrap();
        let stale: Vec<&str> =
            known.partless(crate::conformance::catalogue(), &[]).iter().map(|d| d.pattern.as_str()).collect();
        // What a check lists with a star is known only where it ran.
        assert_eq!(stale, ["struct-polyglot/member"]);
    }
}

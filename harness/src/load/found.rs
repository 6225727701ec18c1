//! What was wrong under load? Findings by the check of the catalogue that they belong to, each with its first moment.

use std::collections::BTreeMap;

use crate::record::LoadFinding;
use crate::units::Nanos;

/// What is the same about all sightings of one finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    check: &'static str,
    operation: String,
    expected: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sightings {
    first: Nanos,
    times: u64,
    seen: String,
}

/// Findings, counted. Bounded by the checks that there are and the operations of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found(BTreeMap<Key, Sightings>);

impl Found {
    /// One sighting, `at` after recording began. Of several, what was `seen` first is kept.
    pub fn say(&mut self, check: &'static str, operation: &str, at: Nanos, expected: &'static str, seen: String) {
        let key = Key { check, operation: operation.to_owned(), expected };
        self.add(key, Sightings { first: at, times: 1, seen });
    }

    /// All sightings of another one.
    pub fn merge(&mut self, other: Found) {
        other.0.into_iter().for_each(|(key, sightings)| self.add(key, sightings));
    }

    fn add(&mut self, key: Key, new: Sightings) {
        match self.0.entry(key) {
            std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(new)),
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.times += new.times;
                if new.first < known.first {
                    (known.first, known.seen) = (new.first, new.seen);
                }
            }
        }
    }

    /// For the record, ungraded, the earliest first.
    pub fn records(self) -> Vec<LoadFinding> {
        let mut list: Vec<LoadFinding> = self
            .0
            .into_iter()
            .map(|(key, sightings)| LoadFinding {
                check: key.check.to_owned(),
                operation: key.operation,
                first_s: sightings.first.as_secs_f64(),
                times: sightings.times,
                expected: key.expected.to_owned(),
                seen: sightings.seen,
                grade: None,
            })
            .collect();
        list.sort_by(|a, b| a.first_s.total_cmp(&b.first_s));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sightings_are_counted_and_the_earliest_is_told() {
        let mut found = Found::default();
        let mut say = |check, at: u64, seen: &str| {
            found.say(check, "refresh", Nanos(at * 1_000_000_000), "refused", seen.to_owned());
        };
        say("refresh-race", 3, "late");
        say("sig-tamper", 2, "taken");
        let mut other = Found::default();
        other.say("refresh-race", "refresh", Nanos(1_000_000_000), "refused", "early".to_owned());
        found.merge(other);
        let told: Vec<(String, f64, u64, String)> =
            found.records().into_iter().map(|f| (f.check, f.first_s, f.times, f.seen)).collect();
        assert_eq!(
            told,
            [
                ("refresh-race".to_owned(), 1.0, 2, "early".to_owned()),
                ("sig-tamper".to_owned(), 2.0, 1, "taken".to_owned())
            ]
        );
    }
}

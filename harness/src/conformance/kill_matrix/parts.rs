//! Which parts of the checks has some flaw turned?
//!
//! A check with several parts (`sig-alg-none/None`) is proven by one of them; another could be blind and nobody would
//! know. So the parts are counted one by one, over all that the matrix examined. What is left over is told and is no
//! error: many parts ask the same in another spelling.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::record::{CheckRecord, Verdict};

use super::Found;
use super::judge::turned;

/// What became of the parts.
#[derive(Debug, Default, Serialize)]
pub struct Parts {
    /// Parts that turned under a flaw.
    pub turned: usize,
    /// Parts that no flaw turned, by check.
    pub unturned: BTreeMap<String, Vec<String>>,
}

impl Parts {
    /// How many parts no flaw turned.
    pub fn left(&self) -> usize {
        self.unturned.values().map(Vec::len).sum()
    }
}

/// Collects over servers; a part is a check's id and its own name.
#[derive(Debug, Default)]
pub(super) struct Tally {
    all: BTreeSet<(String, String)>,
    turned: BTreeSet<(String, String)>,
}

type Seen<'a> = BTreeMap<&'a str, (Verdict, &'a str)>;

fn parts(record: &CheckRecord) -> Seen<'_> {
    record.variants.iter().map(|v| (v.name.as_str(), (v.verdict, v.finding.as_str()))).collect()
}

impl Tally {
    /// A clean server: what is there to turn.
    pub fn clean(&mut self, found: &Found) {
        for record in found.iter().flat_map(BTreeMap::values) {
            self.all.extend(parts(record).into_keys().map(|part| (record.id.clone(), part.to_owned())));
        }
    }

    /// A flawed server beside the clean one of the same settings.
    pub fn flawed(&mut self, clean: &Found, flawed: &Found) {
        let (Ok(clean), Ok(flawed)) = (clean, flawed) else { return };
        for (id, record) in flawed {
            let Some(before) = clean.get(id).map(parts) else { continue };
            for (part, now) in parts(record) {
                let name = (id.clone(), part.to_owned());
                // What a check tells only where something is wrong has no counterpart.
                let was = before.get(part).copied().unwrap_or((Verdict::NotApplicable, ""));
                if turned(was, now) {
                    self.turned.insert(name.clone());
                }
                self.all.insert(name);
            }
        }
    }

    /// The count.
    pub fn report(&self) -> Parts {
        let mut parts = Parts { turned: self.turned.len(), ..Parts::default() };
        for (check, part) in self.all.difference(&self.turned) {
            parts.unturned.entry(check.clone()).or_default().push(part.clone());
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::kill_matrix::judge::tests::record;
    use crate::record::{Grade, VariantRecord};

    fn found(parts: &[(&str, Verdict, &str)]) -> Found {
        let mut check = record("sig-alg-none", Verdict::Pass, "");
        check.variants = parts
            .iter()
            .map(|(name, verdict, finding)| VariantRecord {
                name: (*name).to_owned(),
                verdict: *verdict,
                grade: Grade::Ok,
                finding: (*finding).to_owned(),
                summary: String::new(),
            })
            .collect();
        Ok(BTreeMap::from([("sig-alg-none".to_owned(), check)]))
    }

    #[test]
    fn a_blind_part_is_found_beside_one_that_sees() {
        let clean = found(&[
            ("none", Verdict::Pass, "refused 401"),
            ("None", Verdict::Pass, "refused 401"),
            ("slow", Verdict::Pass, "refused 401"),
        ]);
        let flawed = found(&[
            ("none", Verdict::Fail, "accepted"),
            ("None", Verdict::Pass, "refused 401"),
            ("slow", Verdict::Inconclusive, "timeout"),
            ("crash", Verdict::Fail, "500"),
        ]);
        let mut tally = Tally::default();
        tally.clean(&clean);
        tally.flawed(&clean, &flawed);
        let parts = tally.report();
        assert_eq!(parts.turned, 2, "`none`, and `crash` which is told only where it happens");
        assert_eq!(
            (parts.left(), &parts.unturned["sig-alg-none"][..]),
            (2, &["None".to_owned(), "slow".to_owned()][..])
        );
    }
}

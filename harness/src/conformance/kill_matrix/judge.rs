//! Who was killed, who was missed, and what turned that nobody expected?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::conformance::crowd::LIMITED;
use crate::record::{CheckRecord, Level, Verdict};
use crate::scenario::Budget;

use super::parts::{Parts, Tally};
use super::plan::{self, Cell, Setup};
use super::{Flaw, Found, Matrix, Turn};

/// Checks that no flaw kills, and why that is so. What is neither killed nor listed here is an error.
pub const UNPROVEN: &[(&str, &str)] = &[
    ("struct-b64-padding", "it measures: padding may be accepted or refused"),
    ("claim-stale-privilege", "it measures: how long an old token keeps a right"),
    ("time-iat-future", "it measures: a token of the future may be accepted or refused"),
    ("refresh-entropy", "the reference server's refresh tokens are JWTs; proven by unit tests of its arithmetic"),
];

/// Everything that the matrix showed.
#[derive(Debug, Serialize)]
pub struct MatrixReport {
    /// How much was tried.
    pub budget: Budget,
    /// The clean servers.
    pub baselines: Vec<Baseline>,
    /// One row for every flaw that was tried, in the order of the tables, by algorithm.
    pub rows: Vec<Row>,
    /// Flaws that were not tried, and why.
    pub untried: Vec<(String, String)>,
    /// Checks that no flaw killed; with the reason where one is written.
    pub unproven: Vec<(String, Option<String>)>,
    /// Checks that some flaw killed.
    pub proven: usize,
    /// The parts of checks, one by one.
    pub parts: Parts,
    /// Logins in all.
    pub logins: u64,
    /// Wall time.
    pub seconds: f64,
    /// The user ended it.
    pub interrupted: bool,
}

/// A clean server.
#[derive(Debug, Serialize)]
pub struct Baseline {
    /// How it was started: `HS256`, `ES256 proxied`.
    pub setup: String,
    /// Checks that examined it.
    pub checks: usize,
    /// Checks that learnt something.
    pub decided: usize,
    /// What failed, or could not be decided, twice; empty as it should be.
    pub wrong: Vec<Seen>,
    /// Why it could not be examined.
    pub error: Option<String>,
}

/// One flaw under one algorithm.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The flaw.
    pub flaw: String,
    /// What it breaks.
    pub breaks: String,
    /// How the server was started.
    pub setup: String,
    /// The result.
    pub verdict: RowVerdict,
    /// The checks that had to turn and did.
    pub killed: Vec<String>,
    /// The checks that had to turn and did not.
    pub missed: Vec<Seen>,
    /// The checks that turned and are in neither list.
    pub unexplained: Vec<Seen>,
    /// The checks of the `also` list that turned.
    pub also: Vec<String>,
    /// Why it could not be examined.
    pub error: Option<String>,
}

/// What became of a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowVerdict {
    /// Every check that had to turn did, and no other.
    Killed,
    /// A check that had to turn did not.
    Missed,
    /// A check turned that is in neither list.
    Unexplained,
    /// A check that measures time could not decide, twice: the machine was too busy. No failure.
    Undecided,
    /// What it breaks does not exist under this algorithm.
    NotApplicable,
    /// The server could not be examined.
    NotRun,
}

/// What a check saw.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Its id.
    pub check: String,
    /// How it turned.
    pub turn: Turn,
    /// What it found on the clean server.
    pub clean: String,
    /// What it found here.
    pub finding: String,
    /// In a sentence.
    pub summary: String,
}

impl MatrixReport {
    /// Whether everything is as it must be: clean servers clean, every flaw killed, nothing unexplained, every check
    /// proven or excused.
    pub fn holds(&self) -> bool {
        !self.interrupted
            && self.baselines.iter().all(|b| b.wrong.is_empty() && b.error.is_none())
            && self
                .rows
                .iter()
                .all(|r| matches!(r.verdict, RowVerdict::Killed | RowVerdict::NotApplicable | RowVerdict::Undecided))
            && self.unproven.iter().all(|(_, reason)| reason.is_some())
    }

    /// How many rows have a verdict.
    pub fn count(&self, verdict: RowVerdict) -> usize {
        self.rows.iter().filter(|r| r.verdict == verdict).count()
    }
}

/// How a check turned from the clean server to the flawed one.
fn turn(clean: &CheckRecord, flawed: &CheckRecord) -> Turn {
    turn_of((clean.verdict, &clean.finding), (flawed.verdict, &flawed.finding))
}

/// Whether something was seen that the clean server does not show.
pub(super) fn turned(clean: (Verdict, &str), flawed: (Verdict, &str)) -> bool {
    matches!(turn_of(clean, flawed), Turn::Failed | Turn::Changed)
}

/// The finding is compared, not the grade, so that checks which only measure count too.
fn turn_of(clean: (Verdict, &str), flawed: (Verdict, &str)) -> Turn {
    use Verdict::{Fail, Pass};
    match (clean.0, flawed.0) {
        (Fail, Fail) | (Pass, Pass) if clean.1 == flawed.1 => Turn::Same,
        (Fail, Fail) | (Pass, Pass) => Turn::Changed,
        (Verdict::Inconclusive | Verdict::HarnessError, _) => Turn::Same,
        (_, Fail) => Turn::Failed,
        (Fail | Verdict::NotApplicable | Verdict::Blocked, Pass) => Turn::Changed,
        (Fail | Pass, _) => Turn::Silenced,
        _ => Turn::Same,
    }
}

/// A flaw's checks by what became of them.
#[derive(Default)]
struct Sorted {
    killed: BTreeSet<String>,
    also: BTreeSet<String>,
    missed: BTreeMap<String, Seen>,
    unexplained: BTreeMap<String, Seen>,
    absent: BTreeSet<String>,
    undecided: BTreeSet<String>,
}

fn sort(flaw: &Flaw, clean: &BTreeMap<String, CheckRecord>, flawed: &BTreeMap<String, CheckRecord>) -> Sorted {
    let mut sorted = Sorted::default();
    for (id, record) in flawed {
        let Some(before) = clean.get(id) else { continue };
        let turn = turn(before, record);
        let seen = || Seen {
            check: id.clone(),
            turn,
            clean: before.finding.clone(),
            finding: record.finding.clone(),
            summary: record.summary.clone(),
        };
        let turned = matches!(turn, Turn::Failed | Turn::Changed);
        if flaw.kills.contains(&id.as_str()) {
            if turned {
                sorted.killed.insert(id.clone());
            } else {
                if record.verdict == Verdict::NotApplicable && before.verdict == Verdict::NotApplicable {
                    sorted.absent.insert(id.clone());
                }
                let noisy = record.finding == "noisy" || before.finding == "noisy";
                if (record.level == Level::Info || noisy)
                    && [record.verdict, before.verdict].contains(&Verdict::Inconclusive)
                {
                    sorted.undecided.insert(id.clone());
                }
                sorted.missed.insert(id.clone(), seen());
            }
        } else if turn != Turn::Same {
            if flaw.also.contains(&id.as_str()) || flaw.also.contains(&"*") {
                sorted.also.insert(id.clone());
            } else {
                sorted.unexplained.insert(id.clone(), seen());
            }
        }
    }
    sorted
}

/// Whether a clean server's record is as it must be. What only informs may say no.
fn clean_enough(record: &CheckRecord) -> bool {
    match record.verdict {
        Verdict::Pass | Verdict::NotApplicable | Verdict::Blocked => true,
        // Statistics that had no power say nothing about the server: the machine was too busy.
        Verdict::Inconclusive if record.finding == "noisy" => true,
        // A server that was started with a limit limits: what asks much of it learns nothing.
        Verdict::Inconclusive if record.summary.starts_with(LIMITED) => true,
        Verdict::Fail | Verdict::Inconclusive => record.level == Level::Info,
        Verdict::HarnessError => false,
    }
}

fn clean_of<'a>(cells: &[Cell], found: &'a [(Found, u64)], setup: &Setup) -> Option<&'a Found> {
    cells.iter().zip(found).find(|(cell, _)| cell.setup == *setup).map(|(_, (found, _))| found)
}

/// The cells to examine once more: what was missed, unexplained, or wrong on a clean server, each with its baseline.
pub(super) fn doubtful(cells: &[Cell], found: &[(Found, u64)]) -> Vec<Cell> {
    let mut wanted: BTreeMap<Setup, (Option<Flaw>, BTreeSet<String>)> = BTreeMap::new();
    for (cell, (result, _)) in cells.iter().zip(found) {
        let ids: BTreeSet<String> = match (&cell.flaw, result) {
            (_, Err(_)) => cell.checks.iter().map(|c| c.id.to_owned()).collect(),
            (None, Ok(records)) => records.values().filter(|r| !clean_enough(r)).map(|r| r.id.clone()).collect(),
            (Some(flaw), Ok(records)) => match clean_of(cells, found, &cell.setup.baseline()) {
                Some(Ok(clean)) => {
                    let sorted = sort(flaw, clean, records);
                    sorted
                        .missed
                        .into_keys()
                        .filter(|id| !sorted.absent.contains(id))
                        .chain(sorted.unexplained.into_keys())
                        .collect()
                }
                _ => cell.checks.iter().map(|c| c.id.to_owned()).collect(),
            },
        };
        if ids.is_empty() {
            continue;
        }
        wanted.entry(cell.setup.baseline()).or_default().1.extend(ids.iter().cloned());
        let entry = wanted.entry(cell.setup.clone()).or_default();
        entry.0 = cell.flaw;
        entry.1.extend(ids);
    }
    let all: Vec<&Cell> = cells.iter().collect();
    wanted
        .into_iter()
        .map(|(setup, (flaw, ids))| {
            let mut checks: Vec<_> = all.iter().flat_map(|c| c.checks.iter().copied()).collect();
            checks.sort_by_key(|c| c.id);
            checks.dedup_by_key(|c| c.id);
            checks.retain(|c| ids.contains(c.id));
            Cell { setup, flaw, checks }
        })
        .collect()
}

/// The report over both rounds: one kill is enough, an unexplained turn or a stain on a clean server must come twice.
pub(super) fn report(
    matrix: &Matrix<'_>,
    cells: &[Cell],
    found: &[(Found, u64)],
    again: &[Cell],
    second: &[(Found, u64)],
) -> MatrixReport {
    let mut baselines = Vec::new();
    let mut rows = Vec::new();
    for (cell, (result, _)) in cells.iter().zip(found) {
        let twice = clean_of(again, second, &cell.setup);
        match &cell.flaw {
            None => baselines.push(baseline(cell, result, twice)),
            Some(flaw) => {
                let clean = clean_of(cells, found, &cell.setup.baseline());
                let clean_twice = clean_of(again, second, &cell.setup.baseline());
                rows.push((flaw.name, row(cell, flaw, (clean, result), (clean_twice, twice))));
            }
        }
    }
    let place = |name: &str| matrix.flaws.iter().position(|f| f.name == name);
    rows.sort_by_key(|(name, row)| (place(name), row.setup.clone()));
    baselines.sort_by(|a, b| a.setup.cmp(&b.setup));
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let killed: BTreeSet<&str> = rows.iter().flat_map(|r| r.killed.iter().map(String::as_str)).collect();
    let whole = matrix.only.is_empty();
    let unproven = matrix
        .catalogue
        .iter()
        .filter(|c| whole && !killed.contains(c.id))
        .map(|c| {
            let written = UNPROVEN.iter().find(|(id, _)| *id == c.id).map(|(_, reason)| (*reason).to_owned());
            let killers = || matrix.flaws.iter().filter(|f| f.kills.contains(&c.id));
            // Where every flaw that would kill it could not be tried, that is the reason.
            let untried = || {
                let reasons: Option<Vec<String>> =
                    killers().map(|f| Some(format!("{}: {}", f.name, plan::untried(f, matrix.catalogue)?))).collect();
                reasons.filter(|r| !r.is_empty()).map(|r| r.join("; "))
            };
            let busy = || {
                let undecided =
                    |r: &&Row| r.verdict == RowVerdict::Undecided && r.missed.iter().any(|s| s.check == c.id);
                rows.iter().find(undecided).map(|r| format!("{}: the machine was too busy to measure it", r.flaw))
            };
            (c.id.to_owned(), written.or_else(untried).or_else(busy))
        })
        .collect();
    let mut tally = Tally::default();
    for (cells, found) in [(cells, found), (again, second)] {
        for (cell, (result, _)) in cells.iter().zip(found).filter(|_| whole) {
            match clean_of(cells, found, &cell.setup.baseline()) {
                Some(clean) if cell.flaw.is_some() => tally.flawed(clean, result),
                _ => tally.clean(result),
            }
        }
    }
    let untried = matrix
        .flaws
        .iter()
        .filter(|_| whole)
        .filter_map(|f| plan::untried(f, matrix.catalogue).map(|why| (f.name.to_owned(), why)))
        .collect();
    MatrixReport {
        budget: matrix.budget,
        baselines,
        proven: killed.len(),
        untried,
        parts: tally.report(),
        unproven,
        logins: found.iter().chain(second).map(|(_, logins)| logins).sum(),
        rows,
        seconds: 0.0,
        interrupted: false,
    }
}

fn baseline(cell: &Cell, first: &Found, second: Option<&Found>) -> Baseline {
    let mut baseline =
        Baseline { setup: cell.setup.name(), checks: cell.checks.len(), decided: 0, wrong: Vec::new(), error: None };
    match (first, second) {
        (Ok(records), second) => {
            let decided = |r: &&CheckRecord| matches!(r.verdict, Verdict::Pass | Verdict::Fail);
            baseline.decided = records.values().filter(decided).count();
            for record in records.values().filter(|r| !clean_enough(r)) {
                let still = match second {
                    Some(Ok(again)) => again.get(&record.id).is_none_or(|r| !clean_enough(r)),
                    _ => true,
                };
                if still {
                    baseline.wrong.push(Seen {
                        check: record.id.clone(),
                        turn: Turn::Failed,
                        clean: String::new(),
                        finding: record.finding.clone(),
                        summary: record.summary.clone(),
                    });
                }
            }
        }
        (Err(_), Some(again @ Ok(_))) => return self::baseline(cell, again, None),
        (Err(why), _) => baseline.error = Some(why.clone()),
    }
    baseline
}

fn row(cell: &Cell, flaw: &Flaw, first: (Option<&Found>, &Found), second: (Option<&Found>, Option<&Found>)) -> Row {
    let mut row = Row {
        flaw: flaw.name.to_owned(),
        breaks: flaw.breaks.to_owned(),
        setup: cell.setup.name(),
        verdict: RowVerdict::NotRun,
        killed: Vec::new(),
        missed: Vec::new(),
        unexplained: Vec::new(),
        also: Vec::new(),
        error: None,
    };
    let one = match first {
        (Some(Ok(clean)), Ok(flawed)) => Some(sort(flaw, clean, flawed)),
        _ => None,
    };
    let two = match second {
        (Some(Ok(clean)), Some(Ok(flawed))) => Some(sort(flaw, clean, flawed)),
        _ => None,
    };
    let sorted = match (one, two) {
        (Some(mut one), Some(two)) => {
            one.missed.retain(|id, _| !two.killed.contains(id));
            one.unexplained.retain(|id, _| two.unexplained.contains_key(id));
            one.killed.extend(two.killed);
            one.also.extend(two.also);
            one
        }
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => {
            let why = match first {
                (_, Err(why)) | (Some(Err(why)), _) => why.clone(),
                _ => "there is no clean server to compare it with".to_owned(),
            };
            row.error = Some(why);
            return row;
        }
    };
    row.verdict = if !sorted.unexplained.is_empty() {
        RowVerdict::Unexplained
    } else if sorted.missed.is_empty() {
        RowVerdict::Killed
    } else if sorted.killed.is_empty() && sorted.missed.keys().all(|id| sorted.absent.contains(id)) {
        RowVerdict::NotApplicable
    } else if sorted.missed.keys().all(|id| sorted.undecided.contains(id)) {
        RowVerdict::Undecided
    } else {
        RowVerdict::Missed
    };
    row.killed = sorted.killed.into_iter().collect();
    row.also = sorted.also.into_iter().collect();
    row.missed = sorted.missed.into_values().collect();
    row.unexplained = sorted.unexplained.into_values().collect();
    row
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::Grade;

    pub fn record(id: &str, verdict: Verdict, finding: &str) -> CheckRecord {
        CheckRecord {
            id: id.into(),
            group: "SIG".into(),
            requirement: String::new(),
            sources: Vec::new(),
            level: Level::Must,
            topology: "bare".into(),
            verdict,
            grade: Grade::Ok,
            required: false,
            reason: None,
            summary: String::new(),
            known: None,
            finding: finding.into(),
            variants: Vec::new(),
            evidence: Vec::new(),
            requests: 1,
            duration_ms: 1,
        }
    }

    fn records(list: &[(&str, Verdict, &str)]) -> BTreeMap<String, CheckRecord> {
        list.iter().map(|(id, verdict, finding)| ((*id).to_owned(), record(id, *verdict, finding))).collect()
    }

    const FLAW: Flaw = Flaw {
        name: "f",
        breaks: "b",
        needs: &[],
        kills: &["sig-a", "sig-b"],
        also: &["sig-c"],
        side: super::super::Side::Server,
    };

    #[test]
    fn a_flaw_is_judged_by_findings_not_by_grades() {
        let clean = records(&[
            ("sig-a", Verdict::Pass, "refused 401"),
            ("sig-b", Verdict::Pass, "dead"),
            ("sig-c", Verdict::Pass, "x"),
            ("sig-d", Verdict::Pass, "x"),
            ("sig-e", Verdict::Pass, "x"),
        ]);
        let flawed = records(&[
            ("sig-a", Verdict::Fail, "accepted"),
            ("sig-b", Verdict::Pass, "survives"),
            ("sig-c", Verdict::Fail, "y"),
            ("sig-d", Verdict::Inconclusive, "y"),
            ("sig-e", Verdict::Pass, "x"),
        ]);
        let sorted = sort(&FLAW, &clean, &flawed);
        assert_eq!(sorted.killed.into_iter().collect::<Vec<_>>(), ["sig-a", "sig-b"]);
        assert_eq!(sorted.also.into_iter().collect::<Vec<_>>(), ["sig-c"]);
        assert_eq!(sorted.unexplained["sig-d"].turn, Turn::Silenced);
        assert!(sorted.missed.is_empty());
    }

    #[test]
    fn a_clean_server_that_limits_its_callers_or_a_busy_machine_is_no_stain() {
        let seen = |finding: &str, summary: &str| CheckRecord {
            summary: summary.to_owned(),
            ..record("sig-a", Verdict::Inconclusive, finding)
        };
        assert!(clean_enough(&seen("noisy", "")));
        assert!(clean_enough(&seen("inconclusive", &format!("{LIMITED} (`issue` was answered 429)"))));
        assert!(!clean_enough(&seen("inconclusive", "the controls do not hold")));
    }

    #[test]
    fn a_check_that_did_not_turn_is_missed_and_one_that_does_not_apply_is_told_apart() {
        let clean = records(&[("sig-a", Verdict::NotApplicable, "n"), ("sig-b", Verdict::Pass, "x")]);
        let sorted = sort(&FLAW, &clean, &clean);
        assert_eq!(sorted.missed.len(), 2);
        assert_eq!(sorted.absent.into_iter().collect::<Vec<_>>(), ["sig-a"]);
    }

    #[test]
    fn one_kill_in_two_rounds_is_enough_and_one_stain_is_not() {
        let cell = Cell {
            setup: Setup {
                algorithm: "HS256".into(),
                dialect: "simple",
                settings: BTreeMap::new(),
                proxied: false,
                flaw: Some((super::super::Side::Server, "f")),
            },
            flaw: Some(FLAW),
            checks: Vec::new(),
        };
        let clean: Found =
            Ok(records(&[("sig-a", Verdict::Pass, "x"), ("sig-b", Verdict::Pass, "x"), ("sig-d", Verdict::Pass, "x")]));
        let first: Found =
            Ok(records(&[("sig-a", Verdict::Fail, "y"), ("sig-b", Verdict::Pass, "x"), ("sig-d", Verdict::Fail, "y")]));
        let second: Found = Ok(records(&[("sig-b", Verdict::Fail, "y"), ("sig-d", Verdict::Pass, "x")]));
        let judged = row(&cell, &FLAW, (Some(&clean), &first), (Some(&clean), Some(&second)));
        assert_eq!(judged.verdict, RowVerdict::Killed);
        let judged = row(&cell, &FLAW, (Some(&clean), &first), (Some(&clean), Some(&first)));
        assert_eq!(judged.verdict, RowVerdict::Unexplained);
        let judged = row(&cell, &FLAW, (Some(&clean), &Err("no port".into())), (None, None));
        assert_eq!((judged.verdict, judged.error.as_deref()), (RowVerdict::NotRun, Some("no port")));
    }
}

//! What does a report show, in which order? The view model that all renderers read.

use std::collections::BTreeMap;

use crate::record::{
    Answer, CheckRecord, ComparisonRecord, ExitCode, Grade, HistogramRecord, LoadRecord, OperationRecord,
    QuantileRecord, Run, ThresholdOutcome, TopologyRecord,
};
use crate::stats;

use super::words;

/// Points of a spectrum for each factor of ten of `1 / (1 - q)`.
const POINTS_PER_NINE: usize = 24;

/// A run, arranged for reading. Nothing in it is measured or judged anew.
pub struct Report<'a> {
    /// The record itself.
    pub run: &'a Run,
    /// The first sentence.
    pub outcome: Outcome,
    /// The topologies that ran, in the order of the scenario.
    pub topologies: Vec<&'a TopologyRecord>,
    /// Those that were left out.
    pub left_out: Vec<&'a TopologyRecord>,
    /// How many checks of each grade, by topology.
    pub tallies: Vec<Tally<'a>>,
    /// Everything but what holds and what was skipped: the most serious first.
    pub findings: Vec<Finding<'a>>,
    /// What was skipped, by reason.
    pub skips: Vec<SkipGroup<'a>>,
    /// Every check by group, with a cell for each topology.
    pub matrix: Vec<MatrixGroup<'a>>,
    /// Response time by operation: one curve for each topology.
    pub spectra: Vec<Spectrum<'a>>,
    /// What each candidate costs.
    pub costs: Vec<Cost<'a>>,
    /// Stored histograms that could not be read.
    pub unreadable: Vec<String>,
}

/// The first sentence of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code as it was answered.
    pub exit: u8,
    /// `passed`, `failed`, `no verdict`, `fault of Assay`, `interrupted`.
    pub word: &'static str,
    /// Why, most serious first; what was looked at where all is well.
    pub reasons: Vec<String>,
}

/// How many checks of each grade a topology has.
pub struct Tally<'a> {
    /// Name of the topology.
    pub topology: &'a str,
    /// Checks by grade, in the order of seriousness; zeros included.
    pub counts: Vec<(Grade, usize)>,
}

impl Tally<'_> {
    /// How many of one grade.
    pub fn of(&self, grade: Grade) -> usize {
        self.counts.iter().find(|c| c.0 == grade).map_or(0, |c| c.1)
    }
    /// All checks of the topology.
    pub fn total(&self) -> usize {
        self.counts.iter().map(|c| c.1).sum()
    }
    /// Checks that have a finding: neither skipped nor broken off.
    pub fn judged(&self) -> usize {
        let without = [Grade::Skip, Grade::Required, Grade::Inconclusive, Grade::HarnessError];
        self.total() - without.into_iter().map(|g| self.of(g)).sum::<usize>()
    }
}

/// The same finding of one check, in all topologies that show it.
pub struct Finding<'a> {
    /// The record of the first of them.
    pub check: &'a CheckRecord,
    /// All of them.
    pub topologies: Vec<&'a str>,
    /// Whether other topologies, where it was checked too, do not show it.
    pub elsewhere_ok: bool,
}

/// Checks that were skipped for the same reason.
pub struct SkipGroup<'a> {
    /// `needs:signing-key`, `dialect`, ...
    pub reason: String,
    /// The checks with the topologies, each check once.
    pub checks: Vec<(&'a str, Vec<&'a str>)>,
}

/// The checks of one group.
pub struct MatrixGroup<'a> {
    /// `SIG`, `TIME`, ...
    pub group: &'a str,
    /// Its checks, in the order they were run.
    pub rows: Vec<MatrixRow<'a>>,
}

/// One check over all topologies.
pub struct MatrixRow<'a> {
    /// The record of the first topology that has it: for id, requirement, sources and level.
    pub check: &'a CheckRecord,
    /// One cell for each of [`Report::topologies`].
    pub cells: Vec<Option<&'a CheckRecord>>,
}

impl MatrixRow<'_> {
    /// Whether the topologies disagree about it; one that skipped it says nothing.
    pub fn differs(&self) -> bool {
        let mut grades = self.cells.iter().flatten().map(|c| c.grade).filter(|grade| *grade != Grade::Skip);
        let first = grades.next();
        grades.any(|g| Some(g) != first)
    }
}

/// Response time of one operation, by topology.
pub struct Spectrum<'a> {
    /// The operation.
    pub operation: &'a str,
    /// A curve for each topology that ran it.
    pub curves: Vec<Curve<'a>>,
}

/// Quantiles of one histogram.
pub struct Curve<'a> {
    /// What it is called in the legend.
    pub name: &'a str,
    /// Place of the topology in [`Report::topologies`]: the same colour everywhere.
    pub index: usize,
    /// Samples.
    pub n: u64,
    /// `(1 / (1 - q), nanoseconds)`, only as far as ten samples lie above.
    pub points: Vec<(f64, f64)>,
    /// From this `1 / (1 - q)` on requests that did not end could still move it: it is at least so much.
    pub open_from: Option<f64>,
}

/// What a candidate costs against the baseline.
pub struct Cost<'a> {
    /// The record.
    pub comparison: &'a ComparisonRecord,
    /// The rows that answer first: the gating ones, or else those of the operation that most is known of.
    pub headline: Vec<&'a QuantileRecord>,
    /// Curves of baseline and candidate, all blocks merged.
    pub curves: Vec<Curve<'a>>,
    /// Whether an embedded stand-in is part of the candidate.
    pub stand_in: bool,
}

impl Cost<'_> {
    /// The heaviest answer of the headline: different before inconclusive before equivalent; `None` where void.
    pub fn answer(&self) -> Option<Answer> {
        if !self.comparison.void.is_empty() {
            return None;
        }
        let rank = |a: &Answer| match a {
            Answer::Different => 2,
            Answer::Inconclusive => 1,
            Answer::Equivalent => 0,
        };
        self.headline.iter().map(|q| q.answer).max_by_key(rank)
    }
}

impl<'a> Report<'a> {
    /// Arranges a run.
    pub fn of(run: &'a Run) -> Report<'a> {
        let (topologies, left_out): (Vec<_>, Vec<_>) = run.topologies.iter().partition(|t| t.left_out.is_none());
        let mut report = Report {
            run,
            outcome: outcome(run),
            topologies,
            left_out,
            tallies: Vec::new(),
            findings: findings(run),
            skips: skips(run),
            matrix: Vec::new(),
            spectra: Vec::new(),
            costs: Vec::new(),
            unreadable: Vec::new(),
        };
        report.tallies = tallies(&report);
        report.matrix = matrix(&report);
        report.spectra = spectra(&mut report);
        report.costs = costs(&mut report);
        report
    }

    /// The place of a topology, which gives its colour. Names that did not run come after all others.
    pub fn index(&self, topology: &str) -> usize {
        self.topologies.iter().position(|t| t.name == topology).unwrap_or(self.topologies.len())
    }

    /// The names of the topologies that ran.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.topologies.iter().map(|t| t.name.as_str())
    }

    /// Whether an embedded stand-in is part of a topology.
    pub fn stand_in(&self, topology: &str) -> bool {
        self.topologies.iter().any(|t| t.name == topology && t.stand_in)
    }

    /// The operations of all loads, in the order of the mix.
    pub fn operations(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for operation in self.run.loads.iter().flat_map(|l| &l.operations) {
            if !names.contains(&operation.operation.as_str()) {
                names.push(&operation.operation);
            }
        }
        names
    }

    /// One operation in every load that has it.
    pub fn by_load(&self, operation: &str) -> Vec<(&'a LoadRecord, &'a OperationRecord)> {
        let row = |l: &'a LoadRecord| Some((l, l.operations.iter().find(|o| o.operation == operation)?));
        self.run.loads.iter().filter_map(row).collect()
    }
}

fn outcome(run: &Run) -> Outcome {
    let mut reasons = Vec::new();
    let graded = |grade: Grade| {
        let mut ids: Vec<&str> = run.checks.iter().filter(|c| c.grade == grade).map(|c| c.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    for grade in [Grade::Violation, Grade::Required, Grade::StaleKnown, Grade::HarnessError] {
        let ids = graded(grade);
        if !ids.is_empty() {
            reasons.push(match grade {
                Grade::Required => format!("{} without a finding", words::plural(ids.len(), "required check")),
                Grade::StaleKnown => format!("{} no longer fails", words::plural(ids.len(), "known deviation")),
                _ => words::plural(ids.len(), words::grade(grade)),
            });
        }
    }
    if run.fail_on >= crate::record::Level::Should && !graded(Grade::Weakness).is_empty() {
        reasons.push(words::plural(graded(Grade::Weakness).len(), "weakness"));
    }
    let missed = run.thresholds.iter().filter(|t| t.outcome == ThresholdOutcome::Missed).count();
    if missed > 0 {
        reasons.push(format!("{} missed", words::plural(missed, "threshold")));
    }
    let not_judged = run.thresholds.iter().filter(|t| t.outcome == ThresholdOutcome::NotJudged).count();
    if not_judged > 0 {
        reasons.push(format!("{} not judged", words::plural(not_judged, "threshold")));
    }
    let void = run.loads.iter().filter(|l| l.certificate.is_void()).count();
    if void > 0 {
        reasons.push(words::plural(void, "void load"));
    }
    for c in &run.comparisons {
        if !c.void.is_empty() {
            reasons.push(format!("{} against {} is void", c.candidate, c.baseline));
        } else if regressed(c) {
            reasons.push(format!("{} is slower than {} beyond the margin", c.candidate, c.baseline));
        }
    }
    let must = |c: &&CheckRecord| c.grade == Grade::Inconclusive && c.level == crate::record::Level::Must;
    let inconclusive = run.checks.iter().filter(must).count();
    if inconclusive > 0 {
        reasons.push(words::plural(inconclusive, "inconclusive check"));
    }
    if run.interrupted {
        reasons.push("interrupted: what follows is partial".to_owned());
    }
    let failed = !graded(Grade::Violation).is_empty() || missed > 0;
    let word = match run.exit_code {
        0 => "passed",
        1 => "failed",
        3 if failed => "failed, and not all was judged",
        2 => "wrong usage",
        3 => "no verdict",
        130 => "interrupted",
        _ => "fault of Assay",
    };
    if reasons.is_empty() && run.exit_code == ExitCode::Ok as u8 {
        let ok = run.checks.iter().filter(|c| c.grade == Grade::Ok).count();
        if ok > 0 {
            reasons.push(format!("{} as required", words::plural(ok, "check")));
        }
        if !run.thresholds.is_empty() {
            reasons.push(format!("{} held", words::plural(run.thresholds.len(), "threshold")));
        }
    }
    Outcome { exit: run.exit_code, word, reasons }
}

/// A gate of a comparison that was missed: slower beyond the margin.
pub(super) fn regressed(c: &ComparisonRecord) -> bool {
    c.quantiles.iter().any(|q| q.gating && q.answer == Answer::Different && q.difference_ns > 0.0)
}

fn tallies<'a>(report: &Report<'a>) -> Vec<Tally<'a>> {
    let tally = |topology: &'a str| {
        let of = |g: Grade| report.run.checks.iter().filter(|c| c.topology == topology && c.grade == g).count();
        Tally { topology, counts: words::GRADES.iter().map(|g| (*g, of(*g))).collect() }
    };
    report.names().map(tally).filter(|t| t.total() > 0).collect()
}

fn findings(run: &Run) -> Vec<Finding<'_>> {
    let mut findings: Vec<Finding> = Vec::new();
    for check in run.checks.iter().filter(|c| !matches!(c.grade, Grade::Ok | Grade::Skip)) {
        let same = |f: &&mut Finding| {
            f.check.id == check.id && f.check.grade == check.grade && f.check.finding == check.finding
        };
        match findings.iter_mut().find(same) {
            Some(finding) => finding.topologies.push(&check.topology),
            None => findings.push(Finding { check, topologies: vec![&check.topology], elsewhere_ok: false }),
        }
    }
    for finding in &mut findings {
        finding.elsewhere_ok = run.checks.iter().any(|c| c.id == finding.check.id && c.grade == Grade::Ok);
    }
    // Stable: within a grade the order of the catalogue stays.
    findings.sort_by_key(|f| words::severity(f.check.grade));
    findings
}

fn skips(run: &Run) -> Vec<SkipGroup<'_>> {
    let mut groups: BTreeMap<String, Vec<(&str, Vec<&str>)>> = BTreeMap::new();
    for check in run.checks.iter().filter(|c| c.grade == Grade::Skip) {
        let reason = check.reason.as_ref().map_or_else(|| "no reason given".to_owned(), ToString::to_string);
        let checks = groups.entry(reason).or_default();
        match checks.iter_mut().find(|(id, _)| *id == check.id) {
            Some((_, topologies)) => topologies.push(&check.topology),
            None => checks.push((&check.id, vec![&check.topology])),
        }
    }
    groups.into_iter().map(|(reason, checks)| SkipGroup { reason, checks }).collect()
}

fn matrix<'a>(report: &Report<'a>) -> Vec<MatrixGroup<'a>> {
    let mut groups: Vec<MatrixGroup<'a>> = Vec::new();
    let width = report.topologies.len();
    for check in &report.run.checks {
        let at = groups.iter().position(|g| g.group == check.group).unwrap_or_else(|| {
            groups.push(MatrixGroup { group: &check.group, rows: Vec::new() });
            groups.len() - 1
        });
        let rows = &mut groups[at].rows;
        let row = rows.iter().position(|r| r.check.id == check.id).unwrap_or_else(|| {
            rows.push(MatrixRow { check, cells: vec![None; width] });
            rows.len() - 1
        });
        if let Some(cell) = rows[row].cells.get_mut(report.index(&check.topology)) {
            *cell = Some(check);
        }
    }
    groups
}

fn curve<'a>(name: &'a str, index: usize, record: &HistogramRecord, unreadable: &mut Vec<String>) -> Option<Curve<'a>> {
    let histogram = match stats::decode(record) {
        Ok(histogram) => histogram,
        Err(error) => {
            unreadable.push(format!("a histogram of {name}: {error}"));
            return None;
        }
    };
    let n = histogram.len();
    if n < 20 {
        return None;
    }
    let furthest = (n as f64 / stats::MIN_SAMPLES_ABOVE).log10();
    let steps = (furthest * POINTS_PER_NINE as f64).floor() as usize;
    let points = (0..=steps)
        .map(|i| i as f64 / POINTS_PER_NINE as f64)
        .chain([furthest])
        .map(|nines| (10f64.powf(nines), histogram.value_at_quantile(1.0 - 10f64.powf(-nines)) as f64))
        .collect();
    let open_from = record.censored_from.map(|percentile| 1.0 / (1.0 - percentile / 100.0).max(1e-9));
    Some(Curve { name, index, n, points, open_from })
}

fn spectra<'a>(report: &mut Report<'a>) -> Vec<Spectrum<'a>> {
    let mut unreadable = Vec::new();
    let mut all = Vec::new();
    for operation in report.operations() {
        let rows = report.by_load(operation);
        let curves: Vec<_> = rows
            .into_iter()
            .filter_map(|(l, o)| curve(&l.topology, report.index(&l.topology), &o.response, &mut unreadable))
            .collect();
        if !curves.is_empty() {
            all.push(Spectrum { operation, curves });
        }
    }
    report.unreadable.extend(unreadable);
    all
}

/// The operation with the most printable quantiles; `all` only where there is no other, since a mix of fast and slow
/// operations has percentiles that belong to none of them.
fn best_known(comparison: &ComparisonRecord) -> &str {
    let mut best: (&str, usize) = ("all", 0);
    for q in comparison.quantiles.iter().filter(|q| q.operation != "all") {
        let rows = comparison.quantiles.iter().filter(|r| r.operation == q.operation).count();
        if rows > best.1 {
            best = (&q.operation, rows);
        }
    }
    best.0
}

fn costs<'a>(report: &mut Report<'a>) -> Vec<Cost<'a>> {
    let mut unreadable = Vec::new();
    let cost = |comparison: &'a ComparisonRecord| {
        let mut headline: Vec<_> = comparison.quantiles.iter().filter(|q| q.gating).collect();
        if headline.is_empty() {
            let main = best_known(comparison);
            headline = comparison.quantiles.iter().filter(|q| q.operation == main && q.quantile < 0.999).collect();
        }
        let arms = [
            (&comparison.baseline, &comparison.baseline_response),
            (&comparison.candidate, &comparison.candidate_response),
        ];
        let curves = arms.into_iter().filter_map(|(n, h)| curve(n, report.index(n), h, &mut unreadable)).collect();
        Cost { comparison, headline, curves, stand_in: report.stand_in(&comparison.candidate) }
    };
    let costs = report.run.comparisons.iter().map(cost).collect();
    report.unreadable.extend(unreadable);
    costs
}

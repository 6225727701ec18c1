//! How do the observations of a check become one graded record?

use std::collections::BTreeSet;

use crate::record::{CheckRecord, Evidence, Grade, Level, SkipReason, VariantRecord, Verdict, grade};

use super::descriptor::Check;
use super::known::{Deviations, Listed};

/// At most this many exchanges are kept for one check: enough to see the finding, small enough to read.
pub const EVIDENCE_LIMIT: usize = 6;
/// At most this many findings are spelled out in the one line that stands for a check; the rest is in its variants.
const FINDING_LIMIT: usize = 40;

/// One thing a check saw.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The part of the check, if it has parts.
    pub variant: Option<String>,
    /// What happened.
    pub verdict: Verdict,
    /// A failure that can be at most this: an unclean refusal weighs no more than a should.
    pub at_most: Option<Level>,
    /// Normalised: the same on every run against the same server (no counts, no times, no ids).
    pub finding: String,
    /// One sentence for people.
    pub summary: String,
    /// Why there is no finding, for `not-applicable` and `blocked`.
    pub reason: Option<SkipReason>,
    /// How it was seen.
    pub evidence: Vec<Evidence>,
}

impl Observation {
    /// Seen to hold, or not.
    pub fn new(variant: Option<&str>, verdict: Verdict, finding: &str, summary: impl Into<String>) -> Observation {
        Observation {
            variant: variant.map(str::to_owned),
            verdict,
            at_most: None,
            finding: finding.to_owned(),
            summary: summary.into(),
            reason: None,
            evidence: Vec::new(),
        }
    }

    /// No finding, and why.
    pub fn skip(variant: Option<&str>, reason: SkipReason) -> Observation {
        let verdict = match reason {
            SkipReason::BlockedBy(_) | SkipReason::Needs(_) => Verdict::Blocked,
            _ => Verdict::NotApplicable,
        };
        let text = reason.to_string();
        Observation { reason: Some(reason), ..Observation::new(variant, verdict, &text, skip_sentence(&text)) }
    }

    fn level(&self, level: Level) -> Level {
        // A later level weighs less.
        self.at_most.map_or(level, |cap| level.max(cap))
    }
}

fn skip_sentence(reason: &str) -> String {
    match reason.split_once(':') {
        Some(("needs", what)) => format!("not tried: it needs {what}"),
        Some(("not-applicable", why)) => format!("does not apply: {why}"),
        Some(("budget", secs)) => format!("not tried: it would take {secs} s, more than the budget"),
        Some(("excluded", who)) => format!("left out by {who}"),
        Some(("blocked-by", id)) => format!("not tried: {id} did not work"),
        _ if reason == "dialect" => "the target's dialect has no such requirement".to_owned(),
        _ if reason == "intrusive-off" => "intrusive: runs with --intrusive only".to_owned(),
        _ => reason.to_owned(),
    }
}

/// What a check did, before it is graded.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Everything it saw, in order.
    pub observations: Vec<Observation>,
    /// Requests sent.
    pub requests: u64,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
    /// It found that it has to run alone: nothing was told, and the engine runs it again.
    pub postponed: bool,
}

impl Outcome {
    /// An outcome without a request: a skip.
    pub fn skip(reason: SkipReason) -> Outcome {
        Outcome { observations: vec![Observation::skip(None, reason)], ..Outcome::default() }
    }
}

/// How serious a verdict is beside others of the same check.
fn verdict_rank(v: Verdict) -> u8 {
    match v {
        Verdict::HarnessError => 5,
        Verdict::Fail => 4,
        Verdict::Inconclusive => 3,
        Verdict::Pass => 2,
        Verdict::Blocked => 1,
        Verdict::NotApplicable => 0,
    }
}

/// How serious a grade is beside others of the same check.
pub fn grade_rank(g: Grade) -> u8 {
    match g {
        Grade::HarnessError => 9,
        Grade::Violation => 8,
        Grade::Required => 7,
        Grade::StaleKnown => 6,
        Grade::Inconclusive => 5,
        Grade::Weakness => 4,
        Grade::Known => 3,
        Grade::Note => 2,
        Grade::Ok => 1,
        Grade::Skip => 0,
    }
}

/// Whether somebody asked for this skip: then it says nothing about the target, and a known deviation is not stale.
fn asked_for(reason: Option<&SkipReason>) -> bool {
    matches!(reason, Some(SkipReason::Excluded(_) | SkipReason::Budget(_) | SkipReason::IntrusiveOff))
}

/// The record of a check. `topology` names where it ran; `required` says whether `--require` forbids to skip it, or a
/// part of it, for a reason.
pub fn conclude(
    check: &Check,
    level: Level,
    topology: &str,
    outcome: Outcome,
    deviations: &Deviations,
    required: &dyn Fn(Option<&SkipReason>) -> bool,
) -> CheckRecord {
    let mut observations = outcome.observations;
    if observations.is_empty() {
        observations.push(Observation::new(
            None,
            Verdict::HarnessError,
            "nothing-observed",
            "the check ended without an observation",
        ));
    }
    let mut known_reason = None;
    let mut grades = Vec::with_capacity(observations.len());
    for number in 0..observations.len() {
        let o = &observations[number];
        let listed = match deviations.find(check.id, o.variant.as_deref()) {
            Listed::No => None,
            Listed::Yes { whole_check, outcome, reason } => {
                let came = |verdict| observations.iter().any(|o| o.verdict == verdict);
                let applies = match o.verdict {
                    verdict if verdict == outcome => true,
                    _ if asked_for(o.reason.as_ref()) => false,
                    // An entry for the whole check (or a glob over parts) is used up by any part that came out as expected.
                    _ => !(whole_check && came(outcome) || deviations.used(check.id, &observations, &o.variant)),
                };
                applies.then_some((outcome, reason))
            }
        };
        let expected = listed.map(|(outcome, _)| outcome);
        let grade = grade(o.verdict, o.level(level), expected, required(o.reason.as_ref()));
        if let (Grade::Known | Grade::StaleKnown, Some((_, reason))) = (grade, listed) {
            known_reason.get_or_insert_with(|| reason.to_owned());
        }
        // What was expected instead stands in words where it is not the usual failure that has been mended.
        let told = match (grade, expected) {
            (Grade::Required, _) => Some(format!("required, but {}", o.summary)),
            (Grade::Inconclusive, _) if required(None) => {
                Some(format!("required, but nothing was learnt: {}", o.summary))
            }
            (Grade::StaleKnown | Grade::Violation | Grade::Weakness | Grade::Note, Some(expected))
                if expected != Verdict::Fail =>
            {
                Some(format!("the profile expects {}, saw {}: {}", expected.name(), o.verdict.name(), o.summary))
            }
            _ => None,
        };
        grades.push(grade);
        if let Some(told) = told {
            observations[number].summary = told;
        }
    }
    let worst = (0..observations.len())
        .max_by_key(|i| (grade_rank(grades[*i]), verdict_rank(observations[*i].verdict), std::cmp::Reverse(*i)))
        .unwrap_or(0);
    let worst_grade = grades[worst];
    let verdict = observations[worst].verdict;
    let reason = match verdict {
        Verdict::NotApplicable | Verdict::Blocked => observations[worst].reason.clone(),
        _ => None,
    };
    let finding = whole_finding(&observations);
    let summary = whole_summary(&observations, worst);
    let mut order: Vec<usize> = (0..observations.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(grade_rank(grades[*i])), *i));
    let evidence: Vec<Evidence> =
        order.iter().flat_map(|i| observations[*i].evidence.iter().cloned()).take(EVIDENCE_LIMIT).collect();
    let variants = observations
        .iter()
        .zip(&grades)
        .filter_map(|(o, g)| {
            o.variant.as_ref().map(|name| VariantRecord {
                name: name.clone(),
                verdict: o.verdict,
                grade: *g,
                finding: o.finding.clone(),
                summary: o.summary.clone(),
            })
        })
        .collect();
    CheckRecord {
        id: check.id.to_owned(),
        group: check.group.to_owned(),
        requirement: check.requirement.to_owned(),
        sources: check.sources.iter().map(|s| (*s).to_owned()).collect(),
        level,
        topology: topology.to_owned(),
        verdict,
        grade: worst_grade,
        required: required(None),
        reason,
        summary,
        known: known_reason,
        finding,
        variants,
        evidence,
        requests: outcome.requests,
        duration_ms: outcome.duration_ms,
    }
}

/// One line that two runs can be compared by: the same observations give the same text.
fn whole_finding(observations: &[Observation]) -> String {
    let mut parts: BTreeSet<String> = BTreeSet::new();
    for o in observations {
        parts.insert(match &o.variant {
            Some(v) => format!("{v}={}", o.finding),
            None => o.finding.clone(),
        });
    }
    let odd: BTreeSet<&str> = observations.iter().map(|o| o.finding.as_str()).collect();
    if odd.len() == 1 {
        return odd.first().map(|s| (*s).to_owned()).unwrap_or_default();
    }
    let more = parts.len().saturating_sub(FINDING_LIMIT);
    let mut text = parts.into_iter().take(FINDING_LIMIT).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn whole_summary(observations: &[Observation], worst: usize) -> String {
    let lead = &observations[worst];
    let same = observations.iter().filter(|o| o.verdict == lead.verdict).count();
    let total = observations.len();
    match (&lead.variant, lead.verdict) {
        (None, _) => lead.summary.clone(),
        (Some(_), Verdict::Pass) if total > 1 => format!("{} ({same} of {total} variants hold)", lead.summary),
        (Some(v), _) if same > 1 => format!("{v}: {} (and {} more of {total} variants)", lead.summary, same - 1),
        (Some(v), _) => format!("{v}: {}", lead.summary),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::find;

    /// A check of which one part holds and another could not be tried.
    fn half(required: &dyn Fn(Option<&SkipReason>) -> bool) -> CheckRecord {
        let observations = vec![
            Observation::new(Some("member-name"), Verdict::Pass, "refused 401", "refused by `resource`"),
            Observation::skip(Some("member-value"), SkipReason::Needs("signing-key".into())),
        ];
        let outcome = Outcome { observations, ..Outcome::default() };
        conclude(find("struct-polyglot").unwrap(), Level::Must, "bare", outcome, &Deviations::default(), required)
    }

    #[test]
    fn a_part_that_was_skipped_counts_where_what_it_lacks_is_required() {
        let record = half(&|reason| *reason.unwrap_or(&SkipReason::Dialect) == SkipReason::Needs("signing-key".into()));
        assert_eq!((record.grade, record.verdict), (Grade::Required, Verdict::Blocked));
        assert_eq!(record.summary, "member-value: required, but not tried: it needs signing-key");
        assert_eq!(record.variants.iter().map(|v| v.grade).collect::<Vec<_>>(), [Grade::Ok, Grade::Required]);
        assert_eq!(half(&|_| false).grade, Grade::Ok);
    }
}

//! With which exit code does a run end?

use std::collections::BTreeMap;

use crate::record::{
    Answer, CheckRecord, ComparisonRecord, ExitCode, Grade, Run, SkipReason, ThresholdOutcome, Verdict,
};
use crate::scenario::Scenario;

/// What everything that was seen asks of the exit code.
pub(super) fn exit_of(run: &Run, asked: &Scenario) -> ExitCode {
    let checks = run.checks.iter().map(|check| check.exit(run.fail_on));
    let thresholds = run.thresholds.iter().map(|threshold| match threshold.outcome {
        ThresholdOutcome::Held => ExitCode::Ok,
        ThresholdOutcome::Missed => ExitCode::Failed,
        ThresholdOutcome::NotJudged => ExitCode::Target,
    });
    // A server that answers nothing that makes sense has not passed.
    let silent = run.topologies.iter().map(|topology| {
        let own = run.checks.iter().filter(|check| check.topology == topology.name);
        if unjudged(own) { ExitCode::Target } else { ExitCode::Ok }
    });
    // A load of which nothing came back has not passed either, unless a threshold has judged just that.
    let judged = run.thresholds.iter().any(|threshold| threshold.outcome != ThresholdOutcome::NotJudged);
    let unanswered =
        run.loads.iter().filter(|load| load.accounting.planned > 0 && load.accounting.completed == 0 && !judged);
    let unanswered = unanswered.map(|_| ExitCode::Target);
    // `assay compare` asks for nothing else than its comparison: one that says nothing has not passed.
    let void = run.comparisons.iter().filter(|comparison| run.command == "compare" && !comparison.void.is_empty());
    let void = void.map(|_| ExitCode::Target);
    let all = checks.chain(silent).chain(unanswered).chain(thresholds).chain(gates(run, asked)).chain(void);
    all.fold(ExitCode::Ok, ExitCode::and)
}

/// Whether there are checks, and not one of them could say anything: they ended on another one's failure, or something
/// that they need is missing. Checks that do not concern this target at all lack nothing, and a skip that the profile
/// expects or that `--require` forbids has an exit code of its own.
pub(super) fn unjudged<'a>(mut checks: impl Iterator<Item = &'a CheckRecord> + Clone) -> bool {
    let judged = |check: &CheckRecord| !matches!(check.verdict, Verdict::Blocked | Verdict::NotApplicable);
    if checks.clone().any(judged) {
        return false;
    }
    let expected = checks.clone().any(|check| check.grade != Grade::Skip);
    checks.any(|check| match &check.reason {
        Some(SkipReason::BlockedBy(_)) => true,
        Some(SkipReason::Needs(_) | SkipReason::IntrusiveOff | SkipReason::Budget(_)) => !expected,
        _ => false,
    })
}

/// Why nothing was judged, the commonest reason first: `44 for want of login, 12 since issue-basic did not work`.
pub(super) fn why_unjudged<'a>(checks: impl Iterator<Item = &'a CheckRecord>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for check in checks {
        let why = match &check.reason {
            Some(SkipReason::Needs(what)) => format!("for want of {what}"),
            Some(SkipReason::BlockedBy(id)) => format!("since {id} did not work"),
            Some(SkipReason::Dialect) => "outside of the dialect".to_owned(),
            Some(SkipReason::IntrusiveOff) => "for want of --intrusive".to_owned(),
            Some(SkipReason::Budget(_)) => "for want of --budget thorough".to_owned(),
            _ => "not applicable".to_owned(),
        };
        *counts.entry(why).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown: Vec<String> = counts.iter().take(4).map(|(why, count)| format!("{count} {why}")).collect();
    shown.join(", ")
}

/// One for each deployment that a gate stands before; nothing where the scenario gates on nothing.
fn gates<'a>(run: &'a Run, asked: &'a Scenario) -> impl Iterator<Item = ExitCode> + 'a {
    let gate = asked.compare.as_ref().filter(|compare| compare.gate);
    gate.into_iter().flat_map(move |gate| {
        let candidates = asked.topologies.keys().filter(move |name| **name != gate.baseline);
        candidates.map(move |name| {
            let compared = run.comparisons.iter().find(|comparison| comparison.candidate == *name);
            compared.map_or(ExitCode::Target, through)
        })
    })
}

/// Whether a comparison lets its candidate through. What was not compared, or not told apart, has not passed.
fn through(comparison: &ComparisonRecord) -> ExitCode {
    let answers = || comparison.quantiles.iter().filter(|quantile| quantile.gating);
    let told = |answer| answers().any(|quantile| quantile.answer == answer);
    if !comparison.void.is_empty() {
        ExitCode::Target
    } else if answers().any(|q| q.answer == Answer::Different && q.difference_ns > 0.0) {
        ExitCode::Failed
    } else if answers().next().is_none() || told(Answer::Inconclusive) {
        ExitCode::Target
    } else {
        ExitCode::Ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// The sample's comparison as a gate, changed.
    fn ends(change: impl FnOnce(&mut Vec<ComparisonRecord>)) -> ExitCode {
        let text = "name: gate\ntarget: reference\ntopologies: {bare: [reference-server], nginx: [reference-server, nginx]}\n\
                    load: {arrival: {open: {rate: 100/s}}, mix: {access: 1}}\ncompare: {baseline: bare, effort: quick, gate: true}\n";
        let asked =
            crate::scenario::from_source(crate::scenario::Source::new("gate.yaml", ".", text)).unwrap().scenario;
        let mut run = sample::run();
        (run.checks, run.thresholds, run.loads) = (Vec::new(), Vec::new(), Vec::new());
        run.comparisons.truncate(1);
        let comparison = &mut run.comparisons[0];
        (comparison.baseline, comparison.candidate) = ("bare".into(), "nginx".into());
        comparison.void.clear();
        comparison.quantiles.truncate(1);
        (comparison.quantiles[0].gating, comparison.quantiles[0].answer) = (true, Answer::Equivalent);
        change(&mut run.comparisons);
        exit_of(&run, &asked)
    }

    #[test]
    fn a_gate_lets_through_only_what_was_compared_and_found_alike_or_better() {
        assert_eq!(ends(|_| ()), ExitCode::Ok);
        let different = |by: f64| {
            move |all: &mut Vec<ComparisonRecord>| {
                (all[0].quantiles[0].answer, all[0].quantiles[0].difference_ns) = (Answer::Different, by);
            }
        };
        assert_eq!(ends(different(90_000.0)), ExitCode::Failed);
        assert_eq!(ends(different(-90_000.0)), ExitCode::Ok);
        assert_eq!(ends(|all| all[0].quantiles[0].answer = Answer::Inconclusive), ExitCode::Target);
        assert_eq!(ends(|all| all[0].quantiles.clear()), ExitCode::Target, "too few samples for any gate");
        assert_eq!(ends(|all| all[0].void.push("no pair was left to compare".into())), ExitCode::Target);
        assert_eq!(ends(Vec::clear), ExitCode::Target, "the candidate was left out");
    }
}

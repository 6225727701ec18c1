//! What does a finding under load mean? It fails its check, as a part called `under-load`, by the one grade table.

use crate::conformance::{self, EVIDENCE_LIMIT, Observation, Outcome, conclude, grade_rank};
use crate::record::{CheckRecord, Evidence, Grade, Level, LoadFinding, LoadRecord, Redactor, SkipReason, Verdict};
use crate::target::Target;

/// The part of a check that a load judges.
const PART: &str = "under-load";

/// Grades what a load found, and adds it to the checks: to the record of one that was examined before, or as a record of
/// its own. A check that the user left out by name stays left out.
///
/// # Errors
/// A `known:` entry of the profile that is no glob.
pub(super) fn grade_findings(
    checks: &mut Vec<CheckRecord>,
    load: &mut LoadRecord,
    target: &Target,
    redactor: &Redactor,
) -> Result<(), String> {
    let deviations = conformance::deviations(target)?;
    for finding in &mut load.findings {
        finding.seen = redactor.text(&finding.seen);
    }
    let mut ids: Vec<String> = load.findings.iter().map(|f| f.check.clone()).collect();
    ids.dedup();
    for (n, id) in ids.iter().enumerate() {
        let Ok(check) = conformance::find(id) else { continue };
        if ids[..n].contains(id) {
            continue;
        }
        let mine: Vec<&LoadFinding> = load.findings.iter().filter(|f| f.check == *id).collect();
        let known = checks.iter_mut().find(|c| c.id == *id && c.topology == load.topology);
        let left_out = Some(SkipReason::Excluded("skip".into()));
        if known.as_ref().is_some_and(|known| known.reason == left_out) {
            continue;
        }
        let level = check.level(target.dialect()).unwrap_or(Level::Info);
        let outcome = Outcome {
            observations: vec![observation(&mine)],
            requests: mine.iter().map(|f| f.times).sum(),
            ..Outcome::default()
        };
        let seen = conclude(check, level, &load.topology, outcome, &deviations, &|_| false);
        let grade = seen.variants.first().map_or(seen.grade, |part| part.grade);
        match known {
            Some(known) => merge(known, seen),
            None => checks.push(seen),
        }
        for finding in load.findings.iter_mut().filter(|f| f.check == *id) {
            finding.grade = Some(grade);
        }
    }
    Ok(())
}

/// A finding in a sentence: `3 times from 1.2 s on, control refresh: ...`.
fn sentence(finding: &LoadFinding) -> String {
    let times = if finding.times == 1 { "once".to_owned() } else { format!("{} times", finding.times) };
    format!("{times}, first {:.1} s into the load, at `{}`: {}", finding.first_s, finding.operation, finding.seen)
}

fn observation(mine: &[&LoadFinding]) -> Observation {
    let summary: Vec<String> = mine.iter().map(|f| sentence(f)).collect();
    let evidence = |finding: &&LoadFinding| Evidence {
        variant: Some(PART.to_owned()),
        expected: format!("{} under load", finding.expected),
        seen: sentence(finding),
        ..Evidence::default()
    };
    Observation {
        evidence: mine.iter().map(evidence).collect(),
        ..Observation::new(Some(PART), Verdict::Fail, PART, summary.join("; "))
    }
}

/// Adds the part to a check that was examined before the load: the more serious of the two speaks for the check.
fn merge(known: &mut CheckRecord, mut seen: CheckRecord) {
    // A deviation that was listed, and not met until the load, is not stale.
    let used_up = known.grade == Grade::StaleKnown && seen.grade == Grade::Known;
    if used_up || grade_rank(seen.grade) > grade_rank(known.grade) {
        known.verdict = seen.verdict;
        known.grade = seen.grade;
        known.reason = None;
        known.summary = seen.summary;
        known.known = seen.known.or(known.known.take());
        seen.evidence.append(&mut known.evidence);
        known.evidence = seen.evidence;
    } else {
        known.evidence.append(&mut seen.evidence);
    }
    known.evidence.truncate(EVIDENCE_LIMIT);
    known.variants.append(&mut seen.variants);
    known.finding = format!("{}; {PART}=seen", known.finding);
    known.requests += seen.requests;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ExitCode;

    fn target(known: &str) -> Target {
        let mut profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
        if !known.is_empty() {
            let entry = serde_json::from_value(serde_json::json!({"reason": "we know"})).unwrap();
            profile.known.insert(known.to_owned(), entry);
        }
        Target::new(profile, "http://127.0.0.1:8000", None, &[]).unwrap()
    }

    fn load(check: &str) -> LoadRecord {
        let finding = serde_json::json!({
            "check": check, "operation": "control refresh", "first_s": 1.25, "times": 3,
            "expected": "at most one successor", "seen": "2 of 4",
        });
        let empty = crate::record::HistogramRecord::default();
        let certificate = crate::record::CertificateRecord::default();
        serde_json::from_value(serde_json::json!({
            "topology": "bare", "model": "open", "open": true, "duration_s": 3.0, "warmup_s": 0.0, "connections": 1,
            "workers": 1, "idle": "sleep", "planned": 0, "completed": 0, "failed": 0, "timed_out": 0, "skipped": 0,
            "in_flight": 0, "operations": [], "seconds": [], "certificate": certificate, "distinct_token_ratio": null,
            "hlog": null, "findings": [finding], "unused": empty,
        }))
        .unwrap()
    }

    fn graded(checks: &mut Vec<CheckRecord>, check: &str, known: &str) -> LoadRecord {
        let mut load = load(check);
        grade_findings(checks, &mut load, &target(known), &Redactor::new(false)).unwrap();
        load
    }

    #[test]
    fn a_finding_fails_its_check_with_its_moment() {
        let mut checks = Vec::new();
        let load = graded(&mut checks, "refresh-race", "");
        assert_eq!(load.findings[0].grade, Some(Grade::Violation));
        let check = &checks[0];
        assert_eq!(
            (check.id.as_str(), check.grade, check.topology.as_str()),
            ("refresh-race", Grade::Violation, "bare")
        );
        assert_eq!(check.exit(Level::Must), ExitCode::Failed);
        assert!(check.summary.contains("first 1.2 s into the load") && check.summary.contains("3 times"), "{check:?}");
        assert_eq!(check.variants[0].name, "under-load");
    }

    #[test]
    fn a_check_that_passed_alone_fails_by_what_the_load_saw() {
        let mut checks = Vec::new();
        graded(&mut checks, "refresh-race", "");
        let mut passed = checks.remove(0);
        (passed.grade, passed.verdict, passed.summary) = (Grade::Ok, Verdict::Pass, "it held".into());
        passed.variants.clear();
        checks.push(passed.clone());
        graded(&mut checks, "refresh-race", "");
        assert_eq!((checks.len(), checks[0].grade, checks[0].variants.len()), (1, Grade::Violation, 1));
        let mut skipped = CheckRecord { grade: Grade::Skip, verdict: Verdict::NotApplicable, ..passed };
        skipped.reason = Some(SkipReason::Excluded("skip".into()));
        let mut checks = vec![skipped];
        let load = graded(&mut checks, "refresh-race", "");
        assert_eq!((checks[0].grade, load.findings[0].grade), (Grade::Skip, None));
    }

    #[test]
    fn a_known_deviation_is_known_under_load_too() {
        let mut checks = Vec::new();
        let load = graded(&mut checks, "refresh-race", "refresh-race/under-load");
        assert_eq!((checks[0].grade, load.findings[0].grade), (Grade::Known, Some(Grade::Known)));
    }
}

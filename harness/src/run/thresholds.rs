//! Which thresholds hold? The rule is the load's own; here it is asked about every topology.

use crate::load::{self, Judgement};
use crate::record::{LoadRecord, ThresholdOutcome, ThresholdRecord};
use crate::scenario::Threshold;

/// Every threshold in every topology that it is about. A void load is not judged.
pub(super) fn judge(thresholds: &[Threshold], loads: &[LoadRecord]) -> Vec<ThresholdRecord> {
    let mut records = Vec::new();
    for threshold in thresholds {
        let about = |load: &&LoadRecord| threshold.topology.as_ref().is_none_or(|name| *name == load.topology);
        let found: Vec<ThresholdRecord> = loads.iter().filter(about).map(|load| one(threshold, load)).collect();
        if found.is_empty() {
            let topology = threshold.topology.clone().unwrap_or_default();
            let why = Some("it was not driven".into());
            records.push(record(threshold, &topology, ThresholdOutcome::NotJudged, None, why));
        }
        records.extend(found);
    }
    records
}

fn one(threshold: &Threshold, load: &LoadRecord) -> ThresholdRecord {
    let of = |outcome, observed, reason| record(threshold, &load.topology, outcome, observed, reason);
    if let Some(why) = load.certificate.void.first() {
        return of(ThresholdOutcome::NotJudged, None, Some(format!("the load is void: {why}")));
    }
    match load::judge(threshold, load) {
        Judgement::Held(seen) => of(ThresholdOutcome::Held, Some(seen.text(threshold.metric)), None),
        Judgement::Missed(seen) => of(ThresholdOutcome::Missed, Some(seen.text(threshold.metric)), None),
        Judgement::Open(seen, why) => {
            let seen = seen.map(|seen| seen.text(threshold.metric));
            of(ThresholdOutcome::NotJudged, seen, Some(why.to_string()))
        }
    }
}

fn record(
    threshold: &Threshold,
    topology: &str,
    outcome: ThresholdOutcome,
    observed: Option<String>,
    reason: Option<String>,
) -> ThresholdRecord {
    ThresholdRecord {
        expression: threshold.expression.clone(),
        topology: topology.to_owned(),
        observed,
        outcome,
        reason,
    }
}

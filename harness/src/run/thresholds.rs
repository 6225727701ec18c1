//! Which thresholds hold? Expressions over what a load recorded.

use hdrhistogram::Histogram;

use crate::load::Interval;
use crate::record::{Accounting, HistogramRecord, LoadRecord, OperationRecord, ThresholdOutcome, ThresholdRecord};
use crate::scenario::{Clock, Metric, Outcome, Statistic, Threshold, Window};
use crate::stats;
use crate::units::{Nanos, Rate, Ratio};

/// What one drive left to be judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub record: LoadRecord,
    pub intervals: Vec<Interval>,
}

/// Every threshold in every topology that it is about. A void load is not judged.
pub(super) fn judge(thresholds: &[Threshold], loads: &[Judged]) -> Vec<ThresholdRecord> {
    let mut records = Vec::new();
    for threshold in thresholds {
        let about = |load: &&Judged| threshold.topology.as_ref().is_none_or(|name| *name == load.record.topology);
        let mut any = false;
        for load in loads.iter().filter(about) {
            any = true;
            records.push(one(threshold, load));
        }
        if !any {
            let topology = threshold.topology.clone().unwrap_or_default();
            records.push(record(
                threshold,
                &topology,
                ThresholdOutcome::NotJudged,
                None,
                Some("it was not driven".into()),
            ));
        }
    }
    records
}

fn one(threshold: &Threshold, load: &Judged) -> ThresholdRecord {
    let topology = &load.record.topology;
    let open = |reason: String| record(threshold, topology, ThresholdOutcome::NotJudged, None, Some(reason));
    if let Some(why) = load.record.certificate.void.first() {
        return open(format!("the load is void: {why}"));
    }
    match observe(threshold, load) {
        Err(reason) => open(reason),
        Ok((value, text)) => {
            let outcome = if threshold.holds(value) { ThresholdOutcome::Held } else { ThresholdOutcome::Missed };
            record(threshold, topology, outcome, Some(text), None)
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

/// The value in the unit of the limit, and as text.
fn observe(threshold: &Threshold, load: &Judged) -> Result<(f64, String), String> {
    let operations = operations(threshold, &load.record)?;
    match threshold.metric {
        Metric::Time(clock, statistic) => {
            let histogram = match threshold.window {
                None => whole(&operations, clock)?,
                Some(window) => windowed(load, &operations, clock, window)?,
            };
            let unended = if threshold.window.is_none() { unended(&operations, clock) } else { Unended::default() };
            let value = number(&histogram, statistic, unended)?;
            Ok((value, Nanos(value.round() as u64).to_string()))
        }
        Metric::Ratio(outcome) => {
            let (counts, _) = counted(threshold, load, &operations)?;
            let of = counts.completed + counts.failed + counts.timed_out + part(outcome, &counts, true);
            if of == 0 {
                return Err("nothing ended".into());
            }
            let value = part(outcome, &counts, false) as f64 / of as f64;
            Ok((value, Ratio(value).to_string()))
        }
        Metric::Count(outcome) => {
            let (counts, _) = counted(threshold, load, &operations)?;
            let value = part(outcome, &counts, false);
            Ok((value as f64, value.to_string()))
        }
        Metric::Rate(outcome) => {
            let (counts, seconds) = counted(threshold, load, &operations)?;
            if seconds <= 0.0 {
                return Err("no time was recorded".into());
            }
            let value = part(outcome, &counts, false) as f64 / seconds;
            Ok((value, Rate(value).to_string()))
        }
    }
}

fn operations<'a>(threshold: &Threshold, load: &'a LoadRecord) -> Result<Vec<&'a OperationRecord>, String> {
    let found: Vec<&OperationRecord> = load
        .operations
        .iter()
        .filter(|o| threshold.operation.as_ref().is_none_or(|name| *name == o.operation))
        .collect();
    match found.is_empty() {
        true => Err(format!("the load had no operation `{}`", threshold.operation.as_deref().unwrap_or("any"))),
        false => Ok(found),
    }
}

/// The count that a word means. `beyond`: only what the usual sum of ended requests leaves out.
fn part(outcome: Outcome, counts: &Accounting, beyond: bool) -> u64 {
    match (outcome, beyond) {
        (Outcome::Skipped, _) => counts.skipped,
        (_, true) => 0,
        (Outcome::Completed, false) => counts.completed,
        (Outcome::Failed, false) => counts.failed + counts.timed_out,
        (Outcome::TimedOut, false) => counts.timed_out,
    }
}

/// Counts and the seconds in which they were counted.
fn counted(threshold: &Threshold, load: &Judged, of: &[&OperationRecord]) -> Result<(Accounting, f64), String> {
    let mut sum = Accounting::default();
    let Some(window) = threshold.window else {
        for operation in of {
            let a = operation.accounting;
            sum.planned += a.planned;
            sum.completed += a.completed;
            sum.failed += a.failed;
            sum.timed_out += a.timed_out;
            sum.skipped += a.skipped;
            sum.in_flight += a.in_flight;
        }
        return Ok((sum, load.record.duration_s));
    };
    if matches!(
        threshold.metric,
        Metric::Count(Outcome::TimedOut | Outcome::Skipped)
            | Metric::Ratio(Outcome::TimedOut | Outcome::Skipped)
            | Metric::Rate(Outcome::TimedOut | Outcome::Skipped)
    ) {
        return Err("by second only completed and failed requests are recorded".into());
    }
    for second in load.record.seconds.iter().filter(|s| inside(s.second, window)) {
        if of.iter().any(|o| o.operation == second.operation) {
            sum.completed += second.completed;
            sum.failed += second.failed;
        }
    }
    let end = window.to.map_or(load.record.duration_s, |to| to.as_secs_f64().min(load.record.duration_s));
    Ok((sum, (end - window.from.as_secs_f64()).max(0.0)))
}

/// Whole seconds that lie in the window.
fn inside(second: u32, window: Window) -> bool {
    let (begin, end) = (f64::from(second), f64::from(second) + 1.0);
    begin >= window.from.as_secs_f64() && window.to.is_none_or(|to| end <= to.as_secs_f64() + 1e-9)
}

fn whole(operations: &[&OperationRecord], clock: Clock) -> Result<Histogram<u64>, String> {
    let named = |o: &OperationRecord, phase: &str| o.phases.get(phase).cloned().unwrap_or_default();
    let records: Vec<HistogramRecord> = operations
        .iter()
        .map(|o| match clock {
            Clock::Response => o.response.clone(),
            Clock::Service => o.service.clone(),
            Clock::Lag => o.lag.clone(),
            Clock::Connect => named(o, "connect"),
            Clock::Tls => named(o, "tls"),
            Clock::FirstByte => named(o, "first-byte"),
        })
        .collect();
    let decoded: Result<Vec<_>, _> = records.iter().map(stats::decode).collect();
    decoded.and_then(|all| stats::merge(all.iter())).map_err(|e| e.to_string())
}

fn windowed(
    load: &Judged,
    operations: &[&OperationRecord],
    clock: Clock,
    window: Window,
) -> Result<Histogram<u64>, String> {
    if clock != Clock::Response {
        return Err("by second only response times are recorded".into());
    }
    let wanted = |i: &&Interval| {
        i.outcome == "completed" && inside(i.second, window) && operations.iter().any(|o| o.operation == i.operation)
    };
    let all: Vec<Histogram<u64>> = load.intervals.iter().filter(wanted).filter_map(Interval::histogram).collect();
    stats::merge(all.iter()).map_err(|e| e.to_string())
}

/// Requests that have no time, since they did not end: each would have taken longer than those that did.
#[derive(Clone, Copy, Debug, Default)]
struct Unended {
    timed_out: u64,
    /// Never sent, or sent and not waited for to the end.
    others: u64,
}

fn unended(operations: &[&OperationRecord], clock: Clock) -> Unended {
    let sum = |part: fn(&Accounting) -> u64| operations.iter().map(|o| part(&o.accounting)).sum();
    match clock {
        Clock::Response => Unended { timed_out: sum(|a| a.timed_out), others: sum(|a| a.in_flight + a.skipped) },
        Clock::Service => Unended { timed_out: sum(|a| a.timed_out), others: sum(|a| a.in_flight) },
        // These are over before a request waits for its answer.
        Clock::Lag | Clock::Connect | Clock::Tls | Clock::FirstByte => Unended::default(),
    }
}

fn number(histogram: &Histogram<u64>, statistic: Statistic, unended: Unended) -> Result<f64, String> {
    let n = histogram.len();
    let without_end = unended.timed_out + unended.others;
    if n == 0 {
        return Err("there is no such sample".into());
    }
    match statistic {
        Statistic::Mean => Ok(histogram.mean()),
        Statistic::Min => Ok(histogram.min() as f64),
        Statistic::Max if unended.timed_out > 0 => {
            Err(format!("{} requests timed out: the longest of those that ended is not the maximum", unended.timed_out))
        }
        Statistic::Max => Ok(histogram.max() as f64),
        Statistic::Quantile(q) if stats::printable(n, q) => {
            let rank = (q * (n + without_end) as f64).ceil() / n as f64;
            match rank <= 1.0 {
                true => Ok(histogram.value_at_quantile(rank.max(q)) as f64),
                false => Err(format!(
                    "it lies among the {without_end} requests that did not end (timed out, in flight or never sent), beside {n} that did"
                )),
            }
        }
        Statistic::Quantile(q) => Err(format!(
            "{n} samples are too few for p{}: at least {} are expected above it",
            (q * 1e5).round() / 1e3,
            stats::MIN_SAMPLES_ABOVE
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new(3).expect("three digits");
        values.into_iter().for_each(|ms| histogram.record(ms * 1_000_000).expect("in range"));
        histogram
    }

    #[track_caller]
    fn check(statistic: Statistic, timed_out: u64, expected: Result<u64, &str>) {
        let histogram = milliseconds(1..=1000);
        let seen = number(&histogram, statistic, Unended { timed_out, others: 0 });
        match (seen, expected) {
            (Ok(ns), Ok(ms)) => assert!((ns / 1e6 / ms as f64 - 1.0).abs() < 0.002, "{} is not {ms} ms", ns / 1e6),
            (Err(seen), Err(says)) => assert!(seen.contains(says), "{seen}"),
            (seen, expected) => panic!("{statistic:?}, {timed_out} timed out: {seen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn requests_that_did_not_end_count_as_slower_than_all_others() {
        check(Statistic::Quantile(0.9), 0, Ok(900));
        check(Statistic::Quantile(0.9), 50, Ok(945));
        check(Statistic::Quantile(0.9), 200, Err("among the 200 requests that did not end"));
        check(Statistic::Quantile(0.5), 200, Ok(600));
        check(Statistic::Max, 0, Ok(1000));
        check(Statistic::Max, 1, Err("1 requests timed out"));
    }
}

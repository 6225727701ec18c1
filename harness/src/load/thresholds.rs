//! What did a load show of the number that a threshold speaks of?

use hdrhistogram::Histogram;

use super::Interval;
use crate::record::{HistogramRecord, LoadRecord};
use crate::scenario::{Clock, Metric, Outcome, Statistic, Threshold, Window};
use crate::stats;

/// Counts and, where the metric is a time, samples of one operation or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub times: Option<Histogram<u64>>,
    pub planned: u64,
    pub completed: u64,
    /// Timed out included.
    pub failed: u64,
    pub timed_out: u64,
    pub skipped: u64,
    pub seconds: f64,
}

impl Reading {
    /// The number of a metric. `None`: there is no such sample, or too few for the quantile.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let ended = self.completed + self.failed;
        let count = |outcome: Outcome| match outcome {
            Outcome::Completed => self.completed,
            Outcome::Failed => self.failed,
            Outcome::TimedOut => self.timed_out,
            Outcome::Skipped => self.skipped,
        };
        match metric {
            Metric::Count(outcome) => Some(count(outcome) as f64),
            Metric::Rate(outcome) => (self.seconds > 0.0).then(|| count(outcome) as f64 / self.seconds),
            Metric::Ratio(outcome) => {
                let whole = if outcome == Outcome::Skipped { self.planned } else { ended };
                (whole > 0).then(|| count(outcome) as f64 / whole as f64)
            }
            Metric::Time(_, statistic) => {
                let times = self.times.as_ref().filter(|h| !h.is_empty())?;
                match statistic {
                    Statistic::Quantile(q) => {
                        stats::printable(times.len(), q).then(|| times.value_at_quantile(q) as f64)
                    }
                    Statistic::Mean => Some(times.mean()),
                    Statistic::Min => Some(times.min() as f64),
                    Statistic::Max => Some(times.max() as f64),
                }
            }
        }
    }

    /// Takes the times of another operation in.
    pub fn add_times(&mut self, times: Histogram<u64>) {
        match &mut self.times {
            Some(sum) => drop(sum.add(&times)),
            None => self.times = Some(times),
        }
    }
}

/// The number of a threshold's metric, in the unit of its limit; `None` where the load has no such sample, or too few
/// for the quantile. A window is known by the second, and of times only the response time. `intervals` are those of
/// the same drive.
pub fn observed(threshold: &Threshold, record: &LoadRecord, intervals: &[Interval]) -> Option<f64> {
    let reading = match &threshold.window {
        None => whole(threshold, record)?,
        Some(window) => part(threshold, record, intervals, window)?,
    };
    reading.value(threshold.metric)
}

fn is_meant(threshold: &Threshold, operation: &str) -> bool {
    threshold.operation.as_deref().is_none_or(|wanted| wanted == operation)
}

fn whole(threshold: &Threshold, record: &LoadRecord) -> Option<Reading> {
    let mut reading = Reading { seconds: record.duration_s, ..Reading::default() };
    for operation in record.operations.iter().filter(|o| is_meant(threshold, &o.operation)) {
        let a = &operation.accounting;
        reading.planned += a.planned;
        reading.completed += a.completed;
        reading.failed += a.failed + a.timed_out;
        reading.timed_out += a.timed_out;
        reading.skipped += a.skipped;
        let Metric::Time(clock, _) = threshold.metric else { continue };
        let phase = |name: &str| operation.phases.get(name);
        let histogram: Option<&HistogramRecord> = match clock {
            Clock::Response => Some(&operation.response),
            Clock::Service => Some(&operation.service),
            Clock::Lag => Some(&operation.lag),
            Clock::Connect => phase("connect"),
            Clock::Tls => phase("tls"),
            Clock::FirstByte => phase("first-byte"),
        };
        if let Some(histogram) = histogram.filter(|h| h.n > 0) {
            reading.add_times(stats::decode(histogram).ok()?);
        }
    }
    Some(reading)
}

fn part(threshold: &Threshold, record: &LoadRecord, intervals: &[Interval], window: &Window) -> Option<Reading> {
    let end = window.to.map_or(record.duration_s, |to| to.as_secs_f64()).min(record.duration_s);
    let begin = window.from.as_secs_f64();
    let within = |second: u32| f64::from(second) + 1e-9 >= begin.floor() && f64::from(second) < end;
    let mut reading = Reading { seconds: (end - begin).max(0.0), ..Reading::default() };
    for second in record.seconds.iter().filter(|s| within(s.second) && is_meant(threshold, &s.operation)) {
        reading.completed += second.completed;
        reading.failed += second.failed;
    }
    match threshold.metric {
        Metric::Time(Clock::Response, _) => {
            let wanted =
                |i: &&Interval| within(i.second) && i.outcome == "completed" && is_meant(threshold, &i.operation);
            for interval in intervals.iter().filter(wanted) {
                reading.add_times(interval.histogram()?);
            }
        }
        // Not kept by the second.
        Metric::Time(..) => return None,
        Metric::Count(Outcome::TimedOut | Outcome::Skipped)
        | Metric::Rate(Outcome::TimedOut | Outcome::Skipped)
        | Metric::Ratio(Outcome::TimedOut | Outcome::Skipped) => return None,
        _ => {}
    }
    Some(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expression: &str, reading: &Reading) -> Option<f64> {
        reading.value(expression.parse::<Threshold>().unwrap().metric)
    }

    #[test]
    fn shares_counts_and_rates_are_of_what_ended() {
        let reading = Reading {
            planned: 110,
            completed: 90,
            failed: 10,
            timed_out: 4,
            skipped: 5,
            seconds: 2.0,
            ..Reading::default()
        };
        assert_eq!(value("failed.ratio < 1", &reading), Some(0.1));
        assert_eq!(value("timed-out.count < 1", &reading), Some(4.0));
        assert_eq!(value("completed.rate > 1/s", &reading), Some(45.0));
        assert_eq!(value("skipped.ratio < 1", &reading), Some(5.0 / 110.0));
        assert_eq!(value("failed.ratio < 1", &Reading::default()), None);
    }

    #[test]
    fn a_quantile_needs_its_samples() {
        let mut times = Histogram::new(3).unwrap();
        (1..=500).for_each(|v| times.record(v * 1000).unwrap());
        let reading = Reading { times: Some(times), ..Reading::default() };
        let near = |seen: Option<f64>, wanted: f64| (seen.unwrap() / wanted - 1.0).abs() < 0.01;
        assert!(near(value("response.p90 < 1ms", &reading), 450_000.0));
        assert!(near(value("response.max < 1ms", &reading), 500_000.0));
        assert!(near(value("response.mean < 1ms", &reading), 250_500.0));
        assert_eq!(value("response.p99 < 1ms", &reading), None);
    }
}

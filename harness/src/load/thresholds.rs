//! Does a number hold to its limit? One rule for a whole load, for a window of it, for one that still runs.
//!
//! Requests that did not end have no time of their own, but each has waited so long at least. So a number is seen as a
//! span: the least that it can be (every unended request ended when it was given up), and the most (it never ended). A
//! limit is held if both ends hold it, missed if neither does, and open if the unended ones decide.

use hdrhistogram::Histogram;

use super::recorder::OperationSamples;
use crate::record::{Accounting, HistogramRecord, LoadRecord, OperationRecord};
use crate::scenario::{Clock, Comparison, Metric, Outcome, Statistic, Threshold, Window};
use crate::stats;
use crate::units::{Nanos, Rate, Ratio};

/// What a number is, as far as what was seen says: `low` and `high` are the same where nothing is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The least that it can be, in the unit of the limit.
    pub low: f64,
    /// The most; infinite where an unended request could be anything.
    pub high: f64,
}

impl Seen {
    fn exactly(value: f64) -> Seen {
        Seen { low: value, high: value }
    }

    /// In the unit of a metric: `12.3 ms`, `>= 10 s`, `0.5 % to 2 %`.
    pub fn text(self, metric: Metric) -> String {
        let one = |value: f64| match metric {
            Metric::Time(..) => Nanos(value.round() as u64).to_string(),
            Metric::Ratio(_) => Ratio(value).to_string(),
            Metric::Rate(_) => Rate(value).to_string(),
            Metric::Count(_) => (value as u64).to_string(),
        };
        match (self.low, self.high) {
            (low, high) if low == high => one(low),
            (low, high) if high.is_infinite() => format!(">= {}", one(low)),
            (low, high) => format!("{} to {}", one(low), one(high)),
        }
    }
}

/// Why a threshold is neither held nor missed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Why {
    /// The mix has no such operation.
    #[error("the load had no operation `{0}`")]
    NoOperation(String),
    /// The window is not among those that were kept, or lies behind the end.
    #[error("no time of its window was recorded")]
    NoTime,
    /// A share of nothing.
    #[error("nothing was planned that could have ended")]
    Nothing,
    /// No request has such a time.
    #[error("there is no such sample")]
    NoSample,
    /// A percentile this far out needs more.
    #[error("{n} samples are too few for p{}: at least {} are expected above it", (.quantile * 1e5).round() / 1e3, stats::MIN_SAMPLES_ABOVE)]
    TooFew {
        /// How many there are, unended ones included.
        n: u64,
        /// 0 to 1.
        quantile: f64,
    },
    /// What did not end decides.
    #[error(
        "it hangs on the {unended} requests that did not end (timed out, in flight or never sent), beside {n} that did"
    )]
    Unended {
        /// How many did not.
        unended: u64,
        /// How many did.
        n: u64,
    },
    /// A histogram of the record.
    #[error("{0}")]
    Unreadable(String),
}

impl Why {
    /// How many times as long a load has to be for a percentile to have its samples; none where more would not help.
    pub fn wants(&self) -> Option<f64> {
        match self {
            Why::TooFew { n, quantile } => Some(stats::MIN_SAMPLES_ABOVE / (1.0 - quantile) / (*n).max(1) as f64),
            Why::NoSample | Why::Nothing => Some(f64::INFINITY),
            _ => None,
        }
    }
}

/// How a threshold did.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// It held, whatever the unended ones would have been.
    Held(Seen),
    /// It was missed, whatever the unended ones would have been.
    Missed(Seen),
    /// Neither.
    Open(Option<Seen>, Why),
}

/// Judges a threshold by the record of a load. Whether the load is void is the caller's to ask.
pub fn judge(threshold: &Threshold, load: &LoadRecord) -> Judgement {
    match Evidence::of_record(threshold, load) {
        Ok(evidence) => evidence.weigh(threshold),
        Err(why) => Judgement::Open(None, why),
    }
}

/// Times of one clock.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    /// Of requests that ended.
    pub ended: Histogram<u64>,
    /// How long the others were waited for.
    pub unended: Histogram<u64>,
}

impl Times {
    pub fn new() -> Result<Times, Why> {
        let empty = || Histogram::new(3).map_err(|e| Why::Unreadable(e.to_string()));
        Ok(Times { ended: empty()?, unended: empty()? })
    }
}

/// What is known of one operation or of several, whole or in a window.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub counts: Accounting,
    /// What of it may lie behind those seconds: of a load that runs, some loops have told more than others.
    pub ahead: Accounting,
    pub seconds: f64,
    /// More may come: a count can still grow.
    pub running: bool,
    /// Of the threshold's clock, if it speaks of one.
    pub times: Option<Times>,
}

impl Evidence {
    fn of_record(threshold: &Threshold, load: &LoadRecord) -> Result<Evidence, Why> {
        let (operations, seconds) = match &threshold.window {
            None => (&load.operations, load.duration_s),
            Some(window) => {
                let kept = load.windows.iter().find(|kept| is_of(kept.from_s, kept.to_s, window));
                let kept = kept.filter(|kept| kept.seconds > 0.0).ok_or(Why::NoTime)?;
                (&kept.operations, kept.seconds)
            }
        };
        let meant = |o: &&OperationRecord| threshold.operation.as_ref().is_none_or(|name| *name == o.operation);
        let operations: Vec<&OperationRecord> = operations.iter().filter(meant).collect();
        if operations.is_empty() {
            return Err(Why::NoOperation(threshold.operation.clone().unwrap_or_else(|| "any".into())));
        }
        let none = Accounting::default();
        let mut evidence = Evidence { counts: none, ahead: none, seconds, running: false, times: None };
        operations.iter().for_each(|o| evidence.counts.add(&o.accounting));
        if let Metric::Time(clock, _) = threshold.metric {
            let mut times = Times::new()?;
            let read = |h: &HistogramRecord| stats::decode(h).map_err(|e| Why::Unreadable(e.to_string()));
            for operation in operations {
                let none = HistogramRecord::default();
                let phase = |name: &str| operation.phases.get(name).unwrap_or(&none).clone();
                let (ended, unended) = match clock {
                    Clock::Response => (operation.response.clone(), &operation.unended.response),
                    Clock::Service => (operation.service.clone(), &operation.unended.service),
                    Clock::Lag => (operation.lag.clone(), &none),
                    Clock::Connect => (phase("connect"), &none),
                    Clock::Tls => (phase("tls"), &none),
                    Clock::FirstByte => (phase("first-byte"), &operation.unended.service),
                };
                let (ended, unended) = (read(&ended)?, read(unended)?);
                let dumb = match clock {
                    Clock::FirstByte => without_first_byte(&unended, ended.len(), operation.accounting.completed),
                    _ => unended,
                };
                add(&mut times, &ended, &dumb)?;
            }
            evidence.times = Some(times);
        }
        Ok(evidence)
    }

    /// The same of the sums of a load that runs: `waiting` are those that have not ended yet, with how long they have
    /// waited at least; `ahead` is what may have been planned behind the seconds.
    pub fn of_sums<'a>(
        threshold: &Threshold,
        sums: impl Iterator<Item = &'a OperationSamples>,
        waiting: &[(Nanos, u64)],
        ahead: Accounting,
        seconds: f64,
    ) -> Result<Evidence, Why> {
        let mut evidence = Evidence { counts: Accounting::default(), ahead, seconds, running: true, times: None };
        let mut times = match threshold.metric {
            Metric::Time(..) => Some(Times::new()?),
            _ => None,
        };
        for sum in sums {
            evidence.counts.add(&sum.counts);
            let (Some(times), Metric::Time(clock, _)) = (&mut times, threshold.metric) else { continue };
            let none = Histogram::new(3).map_err(|e| Why::Unreadable(e.to_string()))?;
            let (ended, unended) = match clock {
                Clock::Response => (&sum.response.histogram, &sum.unended.histogram),
                Clock::Service => (&sum.service.histogram, &sum.unended_service.histogram),
                Clock::FirstByte => (&sum.first_byte.histogram, &sum.unended_service.histogram),
                Clock::Lag => (&sum.lag.histogram, &none),
                Clock::Connect => (&sum.connect.histogram, &none),
                Clock::Tls => (&sum.tls.histogram, &none),
            };
            match clock {
                Clock::FirstByte => {
                    add(times, ended, &without_first_byte(unended, ended.len(), sum.counts.completed))?;
                }
                _ => add(times, ended, unended)?,
            }
        }
        let waits: u64 = waiting.iter().map(|(_, n)| n).sum();
        evidence.counts.in_flight += waits;
        if let (Some(times), Metric::Time(clock, _)) = (&mut times, threshold.metric) {
            for (age, n) in waiting {
                // Nobody knows yet which of them is on the wire, and since when.
                let age = match clock {
                    Clock::Response => age.0,
                    Clock::Service | Clock::FirstByte => 0,
                    Clock::Lag | Clock::Connect | Clock::Tls => continue,
                };
                times.unended.record_n(age, *n).map_err(|e| Why::Unreadable(e.to_string()))?;
            }
        }
        evidence.times = times;
        Ok(evidence)
    }

    /// Held, missed, or neither.
    pub fn weigh(&self, threshold: &Threshold) -> Judgement {
        let by = |seen: Seen| {
            let (low, high) = (threshold.holds(seen.low), threshold.holds(seen.high));
            match (low, high) {
                (true, true) => Judgement::Held(seen),
                (false, false) => Judgement::Missed(seen),
                _ => Judgement::Open(Some(seen), self.undecided(threshold.metric)),
            }
        };
        match self.number(threshold.metric) {
            Ok(seen) => by(seen),
            Err(why) => match (&why, self.nearest(threshold)) {
                (Why::TooFew { .. }, Some(seen)) if !threshold.holds(seen.low) => Judgement::Missed(seen),
                _ => Judgement::Open(None, why),
            },
        }
    }

    fn undecided(&self, metric: Metric) -> Why {
        let c = self.counts;
        let (n, unended) = match (metric, &self.times) {
            (Metric::Time(..), Some(times)) => (times.ended.len(), times.unended.len()),
            _ => (c.ended(), c.in_flight + c.unsent),
        };
        Why::Unended { unended, n }
    }

    /// A percentile that lies further in than the one asked for and has its samples: the one asked for is no less.
    fn nearest(&self, threshold: &Threshold) -> Option<Seen> {
        let upper = matches!(threshold.comparison, Comparison::Less | Comparison::LessOrEqual);
        let times = self.times.as_ref().filter(|_| upper)?;
        let Metric::Time(_, Statistic::Quantile(_)) = threshold.metric else { return None };
        let n = times.ended.len() + times.unended.len();
        let quantile = 1.0 - stats::MIN_SAMPLES_ABOVE / n.max(1) as f64;
        (quantile >= 0.0).then(|| Seen { high: f64::INFINITY, ..times.quantile(quantile) })
    }

    fn number(&self, metric: Metric) -> Result<Seen, Why> {
        let c = self.counts;
        // What may still become a failure or a timeout.
        let open = c.in_flight + c.unsent;
        let of = |c: &Accounting, outcome: Outcome| match outcome {
            Outcome::Completed => c.completed,
            Outcome::Failed => c.failed + c.timed_out,
            Outcome::TimedOut => c.timed_out,
            Outcome::Skipped => c.skipped,
        };
        let (seen, could, ahead) = match metric {
            Metric::Count(outcome) | Metric::Ratio(outcome) | Metric::Rate(outcome) => {
                let could = if outcome == Outcome::Skipped { 0 } else { open };
                (of(&c, outcome), could, of(&self.ahead, outcome))
            }
            Metric::Time(_, statistic) => {
                return self.times.as_ref().ok_or(Why::NoSample)?.number(statistic);
            }
        };
        // Where nothing was planned nothing can have gone wrong, which says nothing of the target.
        let faults = matches!(
            metric,
            Metric::Count(Outcome::Failed | Outcome::TimedOut | Outcome::Skipped)
                | Metric::Rate(Outcome::Failed | Outcome::TimedOut | Outcome::Skipped)
        );
        if faults && c.planned == 0 {
            return Err(Why::Nothing);
        }
        let span = |whole: f64| Seen { low: seen as f64 / whole, high: (seen + could) as f64 / whole };
        match metric {
            Metric::Count(_) if self.running => Ok(Seen { low: seen as f64, high: f64::INFINITY }),
            // What was completed by the end is a matter of fact; what has not failed yet may.
            Metric::Count(Outcome::Completed) => Ok(Seen::exactly(seen as f64)),
            Metric::Count(_) => Ok(span(1.0)),
            Metric::Rate(_) if self.seconds <= 0.0 => Err(Why::NoTime),
            // What waits may be completed yet, and some of what was seen may belong to seconds that are not over.
            Metric::Rate(_) if self.running => {
                let low = seen.saturating_sub(ahead) as f64 / self.seconds;
                Ok(Seen { low, high: span(self.seconds).high })
            }
            Metric::Rate(Outcome::Completed) => Ok(Seen::exactly(seen as f64 / self.seconds)),
            Metric::Rate(_) => Ok(span(self.seconds)),
            _ => {
                let skipped = matches!(metric, Metric::Ratio(Outcome::Skipped));
                match if skipped { c.planned } else { c.ended() + open } {
                    0 => Err(Why::Nothing),
                    whole => Ok(span(whole as f64)),
                }
            }
        }
    }
}

/// Whether a kept window is the one that a threshold speaks of.
fn is_of(from_s: f64, to_s: Option<f64>, window: &Window) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    near(from_s, window.from.as_secs_f64())
        && match (to_s, window.to) {
            (Some(kept), Some(to)) => near(kept, to.as_secs_f64()),
            (kept, to) => kept.is_none() && to.is_none(),
        }
}

/// Those of the unended that brought no first byte either: of what timed out, some did.
fn without_first_byte(unended: &Histogram<u64>, first_bytes: u64, completed: u64) -> Histogram<u64> {
    let brought = first_bytes.saturating_sub(completed);
    if brought == 0 {
        return unended.clone();
    }
    // Which of them is not known, so that none is held to have waited longer than the shortest.
    let mut rest = unended.clone();
    rest.reset();
    let left = unended.len().saturating_sub(brought);
    if left > 0 {
        rest.saturating_record_n(unended.min(), left);
    }
    rest
}

fn add(times: &mut Times, ended: &Histogram<u64>, unended: &Histogram<u64>) -> Result<(), Why> {
    times.ended.add(ended).map_err(|e| Why::Unreadable(format!("{e:?}")))?;
    times.unended.add(unended).map_err(|e| Why::Unreadable(format!("{e:?}")))
}

impl Times {
    fn number(&self, statistic: Statistic) -> Result<Seen, Why> {
        let (n, unended) = (self.ended.len(), self.unended.len());
        let all = n + unended;
        if all == 0 {
            return Err(Why::NoSample);
        }
        let no_end = |value: f64| if unended == 0 { value } else { f64::INFINITY };
        Ok(match statistic {
            Statistic::Quantile(q) if stats::printable(all, q) => self.quantile(q),
            Statistic::Quantile(quantile) => return Err(Why::TooFew { n: all, quantile }),
            Statistic::Mean => {
                let sum = |h: &Histogram<u64>| if h.is_empty() { 0.0 } else { h.mean() * h.len() as f64 };
                let low = (sum(&self.ended) + sum(&self.unended)) / all as f64;
                Seen { low, high: no_end(low) }
            }
            Statistic::Max => {
                let low = self.ended.max().max(self.unended.max()) as f64;
                Seen { low, high: no_end(low) }
            }
            Statistic::Min => {
                let least = |h: &Histogram<u64>| if h.is_empty() { f64::INFINITY } else { h.min() as f64 };
                Seen { low: least(&self.ended).min(least(&self.unended)), high: least(&self.ended) }
            }
        })
    }

    /// A quantile of all, as far as those that did not end leave it open.
    fn quantile(&self, q: f64) -> Seen {
        if self.unended.is_empty() {
            return Seen::exactly(self.ended.value_at_quantile(q) as f64);
        }
        let n = self.ended.len() as f64;
        let rank = (q * (n + self.unended.len() as f64)).ceil().max(1.0);
        let high = if rank <= n { self.ended.value_at_quantile(rank / n) as f64 } else { f64::INFINITY };
        let mut both = self.ended.clone();
        // Both grow as they must, so that adding cannot fail.
        let _ = both.add(&self.unended);
        Seen { low: (both.value_at_quantile(q) as f64).min(high), high }
    }
}

#[cfg(test)]
#[path = "thresholds/tests.rs"]
mod tests;

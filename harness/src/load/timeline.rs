//! When did what happen? What loops hand over, put in the second and in the window in which each request was planned.
//!
//! A request that waits while a server is frozen belongs to the second in which it should have begun: booked by the
//! second in which it ended, a freeze would be a gap followed by one bad second.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use super::recorder::{IntervalSamples, OperationSamples, Samples, What};
use super::{Interval, LoadError};
use crate::record::{Accounting, SecondRecord};
use crate::scenario::Window;
use crate::stats;
use crate::units::Nanos;

const SECOND: u64 = 1_000_000_000;
/// Samples that come late to a second are kept one by one up to this many, then pressed together with the others.
const LATE: usize = 4096;
/// The series of a second that are kept, in the order of [`Kept::series`].
const SERIES: [&str; 4] = ["completed", "failed", "service", "lag"];

/// A part of the recorded time with the sums of what was planned in it, by operation.
pub(super) struct Part {
    pub window: Window,
    pub sums: Vec<OperationSamples>,
}

impl Part {
    fn bounds(&self) -> (u64, u64) {
        bounds(&self.window)
    }

    /// Seconds of it among the first `recorded` ones.
    pub fn seconds(&self, recorded_s: f64) -> f64 {
        let (from, to) = self.bounds();
        ((to as f64 / SECOND as f64).min(recorded_s) - from as f64 / SECOND as f64).max(0.0)
    }
}

/// Begin and end of a window in ns since recording began.
fn bounds(window: &Window) -> (u64, u64) {
    (Nanos::from(window.from).0, window.to.map_or(u64::MAX, |to| Nanos::from(to).0))
}

/// The seconds in which a window begins or ends, where it does not on their edge: what is planned in them is handed over
/// request by request.
pub(super) fn cut_seconds(windows: &[Window]) -> Vec<u32> {
    let edges = windows.iter().map(bounds).flat_map(|(from, to)| [from, to]);
    edges.filter(|edge| *edge != u64::MAX && edge % SECOND != 0).map(|edge| (edge / SECOND) as u32).collect()
}

/// Samples of one series of one second: pressed, and those that came after that.
#[derive(Default)]
struct Pressed {
    hdr: Vec<u8>,
    late: Vec<u64>,
}

impl Pressed {
    fn take(&mut self, samples: &Samples) {
        if samples.histogram.is_empty() {
            return;
        }
        let Some(mut whole) = self.whole() else { return };
        // All have the same bounds, so that adding cannot fail.
        let _ = whole.histogram.add(&samples.histogram);
        self.press(&whole);
    }

    fn add(&mut self, ns: u64) {
        self.late.push(ns);
        if self.late.len() >= LATE
            && let Some(whole) = self.whole()
        {
            self.press(&whole);
        }
    }

    fn press(&mut self, whole: &Samples) {
        self.hdr.clear();
        self.late.clear();
        // Writing into a vector cannot fail.
        let _ = V2DeflateSerializer::new().serialize(&whole.histogram, &mut self.hdr);
    }

    /// All of it.
    fn whole(&self) -> Option<Samples> {
        let mut whole = Samples::new().ok()?;
        if !self.hdr.is_empty() {
            let pressed: Histogram<u64> = Deserializer::new().deserialize(&mut self.hdr.as_slice()).ok()?;
            whole.histogram.add(&pressed).ok()?;
        }
        self.late.iter().for_each(|ns| whole.record(*ns));
        Some(whole)
    }
}

/// One operation in one second.
#[derive(Default)]
struct Kept {
    counts: Accounting,
    /// Ended in this second by the clock on the wall, whenever they were planned.
    ended: u64,
    series: [Pressed; SERIES.len()],
}

impl Kept {
    /// Takes the parts of a second whole.
    fn take(&mut self, samples: &OperationSamples) {
        self.counts.add(&samples.counts);
        for (kept, samples) in
            self.series.iter_mut().zip([&samples.response, &samples.failed_response, &samples.service, &samples.lag])
        {
            kept.take(samples);
        }
    }

    fn note(&mut self, what: What, ns: u64) {
        let counts = &mut self.counts;
        let series = match what {
            What::Planned => return counts.planned += 1,
            What::Skipped => return counts.skipped += 1,
            What::Unsent => return counts.unsent += 1,
            What::InFlight => return counts.in_flight += 1,
            What::Completed => {
                counts.completed += 1;
                0
            }
            What::Failed(failure) if failure.is_ours() => return counts.by_us += 1,
            What::Failed(failure) => {
                let timed_out = failure == super::recorder::TIMEOUT;
                *(if timed_out { &mut counts.timed_out } else { &mut counts.failed }) += 1;
                1
            }
            What::Service => 2,
            What::Lag => 3,
            What::FirstByte | What::Queue | What::WaitSession | What::Connect | What::Tls | What::GivenUp => return,
        };
        self.series[series].add(ns);
    }
}

/// All that was handed over.
pub(super) struct Timeline {
    operations: usize,
    /// The whole recorded time, then the windows that thresholds speak of.
    pub parts: Vec<Part>,
    seconds: BTreeMap<u32, Vec<Kept>>,
    /// Seconds that not every loop has handed over yet, so that each is pressed once.
    open: BTreeMap<u32, Vec<OperationSamples>>,
    /// By loop: the second that it fills.
    at: Vec<u32>,
    last: Option<(u64, u64)>,
}

impl Timeline {
    /// Nothing yet, of so many operations and loops.
    pub fn new(operations: usize, loops: usize, windows: &[Window]) -> Result<Timeline, LoadError> {
        let whole = Window { from: std::time::Duration::ZERO, to: None };
        let parts = std::iter::once(&whole).chain(windows).map(|window| {
            let sums = (0..operations).map(|_| OperationSamples::new()).collect::<Result<_, _>>()?;
            Ok::<_, LoadError>(Part { window: *window, sums })
        });
        Ok(Timeline {
            operations,
            parts: parts.collect::<Result<_, _>>()?,
            seconds: BTreeMap::new(),
            open: BTreeMap::new(),
            at: vec![0; loops],
            last: None,
        })
    }

    /// The part of a window; the whole time without one.
    pub fn part(&self, window: Option<&Window>) -> &Part {
        let found = window.and_then(|window| self.parts.iter().skip(1).find(|part| part.window == *window));
        found.unwrap_or(&self.parts[0])
    }

    /// Whole seconds that every loop has handed over.
    pub fn passed(&self) -> u32 {
        self.at.iter().copied().min().unwrap_or_default()
    }

    /// Median and 99th percentile of what was completed in the last interval that was handed over.
    pub fn last(&self) -> Option<(u64, u64)> {
        self.last
    }

    fn second(&mut self, second: u32) -> &mut Vec<Kept> {
        let operations = self.operations;
        self.seconds.entry(second).or_insert_with(|| (0..operations).map(|_| Kept::default()).collect())
    }

    /// Takes one interval of one loop.
    pub fn add(&mut self, worker: usize, interval: &IntervalSamples) -> Result<(), LoadError> {
        let (begin, end) = (u64::from(interval.second) * SECOND, u64::from(interval.second + 1) * SECOND);
        for part in &mut self.parts {
            let (from, to) = part.bounds();
            // A second that a window cuts is handed over request by request.
            if from <= begin && end <= to {
                part.sums.iter_mut().zip(&interval.operations).for_each(|(sum, samples)| sum.add(samples));
            }
        }
        for apart in &interval.apart {
            let within = |part: &&mut Part| (part.bounds().0..part.bounds().1).contains(&apart.at.0);
            for part in self.parts.iter_mut().filter(within) {
                part.sums[usize::from(apart.operation)].note(apart.what, apart.ns);
            }
            let second = (apart.at.0 / SECOND) as u32;
            self.second(second)[usize::from(apart.operation)].note(apart.what, apart.ns);
        }
        let mut ended: Vec<u64> = interval.operations.iter().map(|o| o.counts.ended()).collect();
        for apart in &interval.apart {
            let theirs = match apart.what {
                What::Completed => true,
                What::Failed(failure) => !failure.is_ours(),
                _ => false,
            };
            ended[usize::from(apart.operation)] += u64::from(theirs);
        }
        for (kept, ended) in self.second(interval.second).iter_mut().zip(ended) {
            kept.ended += ended;
        }
        self.look(interval);
        if let Some(at) = self.at.get_mut(worker) {
            *at = interval.next;
        }
        self.take(interval)
    }

    /// Presses the seconds that are whole now.
    fn take(&mut self, interval: &IntervalSamples) -> Result<(), LoadError> {
        if self.at.len() == 1 {
            self.press(interval.second, &interval.operations);
            return Ok(());
        }
        let open = match self.open.entry(interval.second) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(open) => {
                let new = (0..self.operations).map(|_| OperationSamples::new()).collect::<Result<_, _>>()?;
                open.insert(new)
            }
        };
        open.iter_mut().zip(&interval.operations).for_each(|(sum, samples)| sum.add(samples));
        let later = self.open.split_off(&self.passed());
        for (second, samples) in std::mem::replace(&mut self.open, later) {
            self.press(second, &samples);
        }
        Ok(())
    }

    fn press(&mut self, second: u32, samples: &[OperationSamples]) {
        self.second(second).iter_mut().zip(samples).for_each(|(kept, samples)| kept.take(samples));
    }

    /// Looks at what is shown while the load runs.
    fn look(&mut self, interval: &IntervalSamples) {
        let Some((first, others)) = interval.operations.split_first() else { return };
        let mut all = first.response.clone();
        others.iter().for_each(|other| all.add(&other.response));
        interval.apart.iter().filter(|a| a.what == What::Completed).for_each(|a| all.record(a.ns));
        if !all.histogram.is_empty() {
            self.last = Some((all.histogram.value_at_quantile(0.5), all.histogram.value_at_quantile(0.99)));
        }
    }

    /// For a load that goes on: what was planned in a part and has not ended by what was handed over, as how long each
    /// has waited at least; `meant` picks operations.
    pub fn waiting(&self, part: &Part, meant: impl Fn(usize) -> bool) -> Vec<(Nanos, u64)> {
        let open = |a: &Accounting| a.planned.saturating_sub(a.ended() + a.skipped + a.unsent + a.in_flight + a.by_us);
        let picked = |sums: &[OperationSamples]| -> u64 {
            sums.iter().enumerate().filter(|(n, _)| meant(*n)).map(|(_, s)| open(&s.counts)).sum()
        };
        let (from, to) = part.bounds();
        let passed = u64::from(self.passed()) * SECOND;
        let mut rest = picked(&part.sums);
        let mut found = Vec::new();
        for (second, kept) in &self.seconds {
            let (begin, end) = (u64::from(*second) * SECOND, u64::from(second + 1) * SECOND);
            if begin < from || end > to || end > passed {
                continue;
            }
            let here: u64 = kept.iter().enumerate().filter(|(n, _)| meant(*n)).map(|(_, k)| open(&k.counts)).sum();
            let here = here.min(rest);
            rest -= here;
            if here > 0 {
                found.push((Nanos(passed - end), here));
            }
        }
        if rest > 0 {
            found.push((Nanos(0), rest));
        }
        found
    }

    /// The same for what is counted in a part of seconds that not every loop has handed over, at most.
    pub fn ahead(&self, part: &Part, meant: impl Fn(usize) -> bool) -> Accounting {
        let ((from, to), passed) = (part.bounds(), self.passed());
        let meets = |second: u64| second * SECOND < to && (second + 1) * SECOND > from;
        let within = |second: &u32| *second >= passed && meets(u64::from(*second));
        let mut ahead = Accounting::default();
        for (_, sums) in self.open.iter().filter(|(second, _)| within(second)) {
            sums.iter().enumerate().filter(|(n, _)| meant(*n)).for_each(|(_, sum)| ahead.add(&sum.counts));
        }
        // What was told one by one stands here at once.
        for (_, kept) in self.seconds.iter().filter(|(second, _)| within(second)) {
            kept.iter().enumerate().filter(|(n, _)| meant(*n)).for_each(|(_, kept)| ahead.add(&kept.counts));
        }
        ahead
    }

    /// The seconds of the recorded time, those in which nothing happened too, and their series for the interval log.
    pub fn close(&mut self, names: &[String], recorded_s: f64) -> (Vec<SecondRecord>, Vec<Interval>) {
        for (second, samples) in std::mem::take(&mut self.open) {
            self.press(second, &samples);
        }
        let planned = recorded_s.ceil().max(1.0) as u32;
        let last = self.seconds.keys().next_back().map_or(planned, |last| planned.max(last + 1));
        let (mut seconds, mut intervals) = (Vec::new(), Vec::new());
        for second in 0..last {
            let length_s = (recorded_s - f64::from(second)).clamp(0.001, 1.0);
            let kept = std::mem::take(self.second(second));
            for (name, kept) in names.iter().zip(kept) {
                let whole: Vec<Samples> = kept.series.iter().filter_map(Pressed::whole).collect();
                let [response, _, service, lag] = whole.as_slice() else { continue };
                let at = |samples: &Samples, q: f64| {
                    let h = &samples.histogram;
                    (!h.is_empty()).then(|| h.value_at_quantile(q))
                };
                let tail = |s: &Samples| at(s, 0.99).filter(|_| stats::printable(s.histogram.len(), 0.99));
                let c = kept.counts;
                seconds.push(SecondRecord {
                    second,
                    operation: name.clone(),
                    planned: Some(c.planned),
                    completed: c.completed,
                    failed: c.failed + c.timed_out,
                    timed_out: c.timed_out,
                    unended: c.skipped + c.in_flight + c.unsent,
                    ended: Some(kept.ended),
                    response_p50_ns: at(response, 0.5),
                    response_p99_ns: tail(response),
                    response_max_ns: at(response, 1.0),
                    service_p50_ns: at(service, 0.5),
                    service_p99_ns: tail(service),
                    lag_p50_ns: at(lag, 0.5),
                    lag_p99_ns: tail(lag),
                });
                for (mut pressed, (series, samples)) in kept.series.into_iter().zip(SERIES.iter().zip(&whole)) {
                    if samples.histogram.is_empty() {
                        continue;
                    }
                    if !pressed.late.is_empty() {
                        pressed.press(samples);
                    }
                    intervals.push(Interval { second, length_s, operation: name.clone(), series, hdr: pressed.hdr });
                }
            }
        }
        (seconds, intervals)
    }
}

#[cfg(test)]
#[path = "timeline/tests.rs"]
mod tests;

//! How do the loops' seconds become one record? The collecting thread's sums, the progress, and the end of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};

use super::certificate::{Machine, Observed, certify};
use super::controls::Controlled;
use super::drive::{Control, Driven, Interval, Seen, Setup};
use super::recorder::{Failure, IntervalSamples, OperationSamples, Samples};
use super::shared::{Done, Live, Shared};
use super::thresholds::Reading;
use super::{LoadError, Phase, Progress};
use crate::clock;
use crate::record::{Accounting, ControlsRecord, ErrorCount, LoadRecord, OperationRecord, Redactor, SecondRecord};
use crate::scenario::{Clock, Idle, Metric, Threshold};
use crate::stats;
use crate::units::Nanos;

/// How often the progress is told.
const LOOK: Duration = Duration::from_millis(200);

/// The sums of all intervals.
pub(super) struct Books {
    names: Vec<String>,
    sums: Vec<OperationSamples>,
    /// Intervals by second that are not written down yet: a slower loop may still add to them.
    open: BTreeMap<u32, (usize, IntervalSamples)>,
    intervals: Vec<Interval>,
    seconds: Vec<SecondRecord>,
    last_second: Option<(u64, u64)>,
    duration_s: f64,
    interrupted: bool,
    /// The threshold that ended the load.
    aborted: Option<String>,
}

impl Books {
    pub fn new(shared: &Shared<'_>, setup: &Setup) -> Result<Books, LoadError> {
        Ok(Books {
            names: shared.scripts.iter().map(|s| s.name.clone()).collect(),
            sums: shared.scripts.iter().map(|_| OperationSamples::new()).collect::<Result<_, _>>()?,
            open: BTreeMap::new(),
            intervals: Vec::new(),
            seconds: Vec::new(),
            last_second: None,
            duration_s: setup.duration.as_secs_f64(),
            interrupted: false,
            aborted: None,
        })
    }

    /// Takes intervals and tells the progress until the last loop is done.
    pub fn collect(
        &mut self,
        filled: &Receiver<(usize, Box<IntervalSamples>)>,
        empties: &[Sender<Box<IntervalSamples>>],
        live: &[Live],
        shared: &Shared<'_>,
        control: &Control<'_>,
    ) -> Result<(), LoadError> {
        let mut last = (clock::mono(), 0);
        loop {
            match filled.recv_timeout(LOOK) {
                Ok((worker, mut interval)) => {
                    self.add(&interval, live.len())?;
                    interval.clear();
                    let _ = empties[worker].send(interval);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if control.cancel.load(Ordering::Relaxed) {
                self.interrupted = true;
                shared.cancel.store(true, Ordering::Relaxed);
            }
            self.watch(shared, control);
            let now = clock::mono();
            if now.since(last.0) < Nanos::from(LOOK) {
                continue;
            }
            let sum = |f: fn(&Live) -> &AtomicU64| live.iter().map(|l| f(l).load(Ordering::Relaxed)).sum::<u64>();
            let (completed, failed) = (sum(|l| &l.completed), sum(|l| &l.failed));
            let start = Nanos(shared.start.load(Ordering::Acquire));
            let elapsed = if start.0 == 0 { Nanos(0) } else { now.since(start) };
            let phase = match elapsed {
                Nanos(0) => Phase::Connecting,
                t if t < shared.stop.warmup => Phase::Warmup,
                t if t < shared.stop.ends => Phase::Recording,
                _ => Phase::Draining,
            };
            (control.on_progress)(&Progress {
                phase,
                elapsed,
                total: shared.stop.ends,
                completed,
                failed,
                in_flight: sum(|l| &l.in_flight),
                rate_per_s: (completed + failed).saturating_sub(last.1) as f64 / now.since(last.0).as_secs_f64(),
                p50_ns: self.last_second.map(|(p50, _)| p50),
                p99_ns: self.last_second.map(|(_, p99)| p99),
            });
            last = (now, completed + failed);
        }
    }

    /// Ends the load if a threshold that says so is missed by what was seen until now.
    fn watch(&mut self, shared: &Shared<'_>, control: &Control<'_>) {
        let start = Nanos(shared.start.load(Ordering::Acquire));
        if control.abort.is_empty() || start.0 == 0 || self.aborted.is_some() {
            return;
        }
        let recorded = clock::mono().since(start + shared.stop.warmup);
        for threshold in control.abort {
            let due = threshold.abort_after.is_some_and(|after| recorded >= Nanos::from(after));
            if due && self.reading(threshold, recorded).value(threshold.metric).is_some_and(|v| !threshold.holds(v)) {
                self.aborted = Some(threshold.expression.clone());
                shared.cancel.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// What the whole seconds until now show of a threshold's metric.
    fn reading(&self, threshold: &Threshold, recorded: Nanos) -> Reading {
        let mut reading = Reading { seconds: recorded.as_secs_f64().floor(), ..Reading::default() };
        let meant = |name: &String| threshold.operation.as_ref().is_none_or(|wanted| wanted == name);
        for (_, sum) in self.names.iter().zip(&self.sums).filter(|(name, _)| meant(name)) {
            reading.completed += sum.completed;
            reading.failed += sum.failed + sum.timed_out;
            reading.timed_out += sum.timed_out;
            let Metric::Time(clock, _) = threshold.metric else { continue };
            let samples = match clock {
                Clock::Response => &sum.response,
                Clock::Service => &sum.service,
                Clock::Lag => &sum.lag,
                Clock::Connect => &sum.connect,
                Clock::Tls => &sum.tls,
                Clock::FirstByte => &sum.first_byte,
            };
            reading.add_times(samples.histogram.clone());
        }
        reading
    }

    /// Adds one interval of one loop; a second that all loops have handed over is written down.
    fn add(&mut self, interval: &IntervalSamples, loops: usize) -> Result<(), LoadError> {
        for (sum, part) in self.sums.iter_mut().zip(&interval.operations) {
            sum.add(part);
        }
        if loops == 1 {
            self.write_down(interval);
            return Ok(());
        }
        let second = interval.second;
        let entry = match self.open.entry(second) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert((0, IntervalSamples { second, ..IntervalSamples::new(self.names.len())? }))
            }
        };
        entry.0 += 1;
        entry.1.add(interval);
        if entry.0 == loops
            && let Some((_, whole)) = self.open.remove(&second)
        {
            self.write_down(&whole);
        }
        Ok(())
    }

    fn write_down(&mut self, interval: &IntervalSamples) {
        let mut all: Option<Histogram<u64>> = None;
        let second = interval.second;
        for (name, op) in self.names.iter().zip(&interval.operations) {
            let length_s = (self.duration_s - f64::from(second)).clamp(0.001, 1.0);
            for (outcome, samples) in [("completed", &op.response), ("failed", &op.failed_response)] {
                let mut hdr = Vec::new();
                if !samples.histogram.is_empty()
                    && V2DeflateSerializer::new().serialize(&samples.histogram, &mut hdr).is_ok()
                {
                    self.intervals.push(Interval { second, length_s, operation: name.clone(), outcome, hdr });
                }
            }
            if op.completed + op.failed + op.timed_out == 0 {
                continue;
            }
            let at = |samples: &Samples, q: f64| {
                (!samples.histogram.is_empty()).then(|| samples.histogram.value_at_quantile(q))
            };
            self.seconds.push(SecondRecord {
                second,
                operation: name.clone(),
                completed: op.completed,
                failed: op.failed + op.timed_out,
                response_p50_ns: at(&op.response, 0.5),
                response_p99_ns: at(&op.response, 0.99),
                response_max_ns: at(&op.response, 1.0),
                service_p50_ns: at(&op.service, 0.5),
            });
            match &mut all {
                Some(all) => {
                    let _ = all.add(&op.response.histogram);
                }
                None => all = Some(op.response.histogram.clone()),
            }
        }
        if let Some(all) = all.filter(|h| !h.is_empty()) {
            self.last_second = Some((all.value_at_quantile(0.5), all.value_at_quantile(0.99)));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that a record is made of")]
    pub fn close(
        mut self,
        setup: &Setup,
        shared: &Shared<'_>,
        topology: &str,
        control: &Control<'_>,
        before: &Machine,
        after: &Machine,
        done: &mut [Done],
        seen: Seen,
    ) -> Driven {
        for (_, interval) in std::mem::take(&mut self.open).into_values() {
            self.write_down(&interval);
        }
        self.seconds.sort_by_key(|s| s.second);
        let start = Nanos(shared.start.load(Ordering::Acquire));
        let began = start + setup.warmup;
        let recorded_s = if self.interrupted || self.aborted.is_some() {
            after.at().since(began).as_secs_f64().min(self.duration_s)
        } else {
            self.duration_s
        };
        let mut all = Accounting::default();
        let mut operations = Vec::new();
        let mut responses = Vec::new();
        let (mut lag, mut response) = (None, None);
        for (i, name) in self.names.iter().enumerate() {
            let mut accounting = Accounting::default();
            for part in done.iter().map(|d| &d.accounting[i]) {
                add(&mut accounting, part);
            }
            add(&mut all, &accounting);
            let sum = &self.sums[i];
            operations.push(operation_record(name, i as u16, accounting, sum, done, control.redactor));
            responses.push((name.clone(), sum.response.histogram.clone()));
            merge(&mut lag, &sum.lag.histogram);
            merge(&mut response, &sum.response.histogram);
        }
        let empty = Histogram::new_with_bounds(1, 2, 3).ok();
        let whole = |h: &Option<Histogram<u64>>| h.clone().or(empty.clone());
        let certificate = match (whole(&lag), whole(&response)) {
            (Some(lag), Some(response)) => certify(
                before,
                after,
                &Observed {
                    open: setup.open,
                    full_speed: setup.full_speed,
                    accounting: all,
                    sent: done.iter().map(|d| d.sent).sum(),
                    lag: &lag,
                    response: &response,
                    recorded_s,
                    busy: done.iter().map(|d| d.busy).max().unwrap_or_default(),
                    cpu: Nanos(done.iter().map(|d| d.cpu.0).sum()),
                    ours: done.iter().find_map(|d| d.ours.as_deref()),
                    shared_core: !setup.own_cpus,
                    extra_bytes: done.iter().map(|d| d.extra_bytes).sum(),
                    rounds: done.iter().map(|d| d.sessions.rounds).sum(),
                },
            ),
            _ => crate::record::CertificateRecord::default(),
        };
        let mut found = seen.verified.found;
        found.merge(seen.controlled.found.clone());
        done.iter_mut().for_each(|d| found.merge(std::mem::take(&mut d.found)));
        let presentations: u64 = done.iter().map(|d| d.sessions.presentations).sum();
        let distinct: u64 = done.iter().map(|d| d.sessions.distinct).sum();
        let record = LoadRecord {
            topology: topology.to_owned(),
            model: setup.words.clone(),
            open: setup.open,
            duration_s: recorded_s,
            warmup_s: setup.warmup.as_secs_f64(),
            connections: setup.connections,
            workers: done.len() as u32,
            idle: if setup.idle == Idle::Poll { "poll" } else { "sleep" }.to_owned(),
            accounting: all,
            operations,
            seconds: self.seconds,
            certificate,
            distinct_token_ratio: (presentations > 0).then(|| distinct as f64 / presentations as f64),
            hlog: None,
            findings: found.records(),
            looked_at: seen.verified.looked_at,
            sampled: seen.verified.sampled,
            verified: seen.verified.verified,
            controls: controls(setup.control, seen.controlled),
            found: None,
            aborted_by: self.aborted.clone(),
        };
        Driven {
            record,
            intervals: self.intervals,
            responses,
            began_unix_s: clock::unix_at(began),
            interrupted: self.interrupted,
        }
    }
}

/// What is recorded of the control operations; nothing where there were to be none.
fn controls(share: f64, seen: Controlled) -> Option<ControlsRecord> {
    (share > 0.0).then(|| ControlsRecord {
        share,
        exchanges: seen.exchanges.values().sum(),
        kinds: seen.exchanges.into_iter().map(|(kind, n)| (kind.to_owned(), n)).collect(),
        unanswered: seen.unanswered,
        left_out: seen.left_out,
    })
}

fn merge(into: &mut Option<Histogram<u64>>, part: &Histogram<u64>) {
    match into {
        // All have the same bounds, so that adding cannot fail.
        Some(sum) => drop(sum.add(part)),
        None => *into = Some(part.clone()),
    }
}

fn add(sum: &mut Accounting, part: &Accounting) {
    sum.planned += part.planned;
    sum.completed += part.completed;
    sum.failed += part.failed;
    sum.timed_out += part.timed_out;
    sum.skipped += part.skipped;
    sum.in_flight += part.in_flight;
}

fn operation_record(
    name: &str,
    index: u16,
    accounting: Accounting,
    sum: &OperationSamples,
    done: &[Done],
    redactor: &Redactor,
) -> OperationRecord {
    let example = |failure: Failure| {
        let found = done.iter().flat_map(|d| &d.examples).find(|(i, f, _)| *i == index && *f == failure);
        found.map(|(_, _, text)| redactor.text(text))
    };
    let mut errors: Vec<ErrorCount> = sum
        .failures
        .iter()
        .map(|(failure, count)| ErrorCount { kind: failure.to_string(), count: *count, example: example(*failure) })
        .collect();
    errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    let summary = |samples: &Samples| stats::summarise(&samples.histogram, samples.clipped);
    let mut phases = BTreeMap::new();
    for (phase, samples) in
        [("connect", &sum.connect), ("tls", &sum.tls), ("first-byte", &sum.first_byte), ("queue", &sum.queue)]
    {
        if !samples.histogram.is_empty() {
            phases.insert(phase.to_owned(), summary(samples));
        }
    }
    let mut response = summary(&sum.response);
    let unfinished = accounting.in_flight + accounting.timed_out + accounting.skipped;
    response.censored_from = stats::censored_from(&sum.response.histogram, unfinished);
    OperationRecord {
        operation: name.to_owned(),
        accounting,
        errors,
        response,
        service: summary(&sum.service),
        lag: summary(&sum.lag),
        phases,
    }
}

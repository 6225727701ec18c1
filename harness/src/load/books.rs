//! How do the loops' seconds become one record? The collecting thread's sums, the progress, and the end of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::certificate::{ClosedModel, Observed, certify};
use super::controls::Controlled;
use super::drive::{Control, Driven, Seen};
use super::flow::Counts;
use super::machine::{Machine, Ports};
use super::recorder::{Failure, IntervalSamples, OperationSamples, Samples};
use super::setup::Setup;
use super::shared::{Done, Live, Model, Shared};
use super::thresholds::{Evidence, Judgement};
use super::timeline::{Part, Timeline};
use super::{LoadError, Phase, Progress};
use crate::clock;
use crate::record::{
    Accounting, CertificateRecord, ControlsRecord, ErrorCount, FlowRecord, LoadRecord, LoadWindow, OperationRecord,
    Redactor, UnendedRecord, WorkerRecord,
};
use crate::scenario::{Idle, Threshold};
use crate::stats;
use crate::units::Nanos;

/// How often the progress is told.
const LOOK: Duration = Duration::from_millis(200);

/// The sums of all intervals.
pub(super) struct Books {
    names: Vec<String>,
    timeline: Timeline,
    duration_s: f64,
    interrupted: bool,
    /// The threshold that ended the load.
    aborted: Option<String>,
}

impl Books {
    pub fn new(shared: &Shared<'_>, setup: &Setup) -> Result<Books, LoadError> {
        Ok(Books {
            names: shared.scripts.iter().map(|s| s.name.clone()).collect(),
            timeline: Timeline::new(shared.scripts.len(), shared.loops, &setup.windows)?,
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
                    self.timeline.add(worker, &interval)?;
                    interval.clear();
                    let _ = empties[worker].send(interval);
                    self.watch(shared, control);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if control.cancel.load(Ordering::Relaxed) {
                self.interrupted = true;
                shared.cancel.store(true, Ordering::Relaxed);
            }
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
                p50_ns: self.timeline.last().map(|(p50, _)| p50),
                p99_ns: self.timeline.last().map(|(_, p99)| p99),
                search: None,
            });
            last = (now, completed + failed);
        }
    }

    /// Ends the load if a threshold that says so is missed by what was seen of its window until now.
    fn watch(&mut self, shared: &Shared<'_>, control: &Control<'_>) {
        let passed = self.timeline.passed();
        // What has come to its end by itself is not ended early.
        if self.aborted.is_some() || passed == u32::MAX {
            return;
        }
        let passed_s = f64::from(passed);
        let missed = control.abort.iter().find(|threshold| {
            let part = self.timeline.part(threshold.window.as_ref());
            let seen_s = passed_s - part.window.from.as_secs_f64();
            let due = threshold.abort_after.is_some_and(|after| seen_s > 0.0 && seen_s >= after.as_secs_f64());
            due && self.is_missed(threshold, part, part.seconds(passed_s))
        });
        if let Some(threshold) = missed {
            self.aborted = Some(threshold.expression.clone());
            shared.cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is missed by now, however what still waits will end.
    fn is_missed(&self, threshold: &Threshold, part: &Part, seconds: f64) -> bool {
        let meant = |n: usize| threshold.operation.as_ref().is_none_or(|wanted| *wanted == self.names[n]);
        let (waiting, ahead) = (self.timeline.waiting(part, meant), self.timeline.ahead(part, meant));
        let sums = part.sums.iter().enumerate().filter(|(n, _)| meant(*n)).map(|(_, sum)| sum);
        let evidence = Evidence::of_sums(threshold, sums, &waiting, ahead, seconds);
        evidence.is_ok_and(|evidence| matches!(evidence.weigh(threshold), Judgement::Missed(_)))
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
        let start = Nanos(shared.start.load(Ordering::Acquire));
        let began = start + setup.warmup;
        let recorded_s = if self.interrupted || self.aborted.is_some() {
            after.at().since(began).as_secs_f64().min(self.duration_s)
        } else {
            self.duration_s
        };
        let (seconds, intervals) = self.timeline.close(&self.names, recorded_s);
        let mut parts = self.timeline.parts.iter().map(|part| self.operations(part, done, control.redactor));
        let operations = parts.next().unwrap_or_default();
        let windows = parts.zip(&self.timeline.parts[1..]).map(|(operations, part)| LoadWindow {
            from_s: part.window.from.as_secs_f64(),
            to_s: part.window.to.map(|to| to.as_secs_f64()),
            seconds: part.seconds(recorded_s),
            operations,
        });
        let windows = windows.collect();
        let sums = &self.timeline.parts[0].sums;
        let mut all = Accounting::default();
        sums.iter().for_each(|sum| all.add(&sum.counts));
        let responses = self.names.iter().cloned().zip(sums.iter().map(|s| s.response.histogram.clone())).collect();
        let (mut lag, mut response) = (None, None);
        for sum in sums {
            merge(&mut lag, &sum.lag.histogram);
            merge(&mut response, &sum.response.histogram);
        }
        let total = |of: fn(&OperationSamples) -> &Samples| -> f64 {
            sums.iter().map(|s| of(s).histogram.mean() * of(s).histogram.len() as f64).sum()
        };
        let mean = |of: fn(&OperationSamples) -> &Samples| {
            let n: u64 = sums.iter().map(|s| of(s).histogram.len()).sum();
            let sum: f64 = sums.iter().map(|s| of(s).histogram.mean() * of(s).histogram.len() as f64).sum();
            sum / n.max(1) as f64
        };
        let empty = Histogram::new_with_bounds(1, 2, 3).ok();
        let whole = |h: &Option<Histogram<u64>>| h.clone().or(empty.clone());
        let mut certificate = match (whole(&lag), whole(&response)) {
            (Some(lag), Some(response)) => certify(
                before,
                after,
                &Observed {
                    open: setup.open,
                    closed: match shared.model {
                        Model::Closed { users, think } => Some(ClosedModel {
                            users: u64::from(users),
                            places: u64::from(setup.connections) * u64::from(setup.streams),
                            never_started: done.iter().map(|d| d.never_started).sum(),
                            think_ns: think.0 as f64,
                            response_ns: mean(|s| &s.response),
                            queue_ns: (total(|s| &s.queue) + total(|s| &s.wait_session)) / all.planned.max(1) as f64,
                        }),
                        Model::Open(_) => None,
                    },
                    again: done.iter().map(|d| d.again).sum(),
                    accounting: all,
                    sent: done.iter().map(|d| d.sent).sum(),
                    lag: &lag,
                    response: &response,
                    recorded_s,
                    busy: done.iter().map(|d| d.busy).max().unwrap_or_default(),
                    cpu: Nanos(done.iter().map(|d| d.cpu.0).sum()),
                    ours: done.iter().find_map(|d| d.ours.as_deref()),
                    workers: workers(setup, done, recorded_s),
                    neighbours: &setup.neighbours,
                    ports: Ports::now(),
                    extra_bytes: done.iter().map(|d| d.extra_bytes).sum(),
                    rounds: done.iter().map(|d| d.sessions.rounds).sum(),
                },
            ),
            _ => CertificateRecord::default(),
        };
        certificate.notes = seen.notes;
        certificate.doubts.extend(seen.controlled.doubt(Nanos(total(|s| &s.service) as u64)));
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
            seconds,
            windows,
            certificate,
            sent_again: done.iter().map(|d| d.again).sum(),
            opened: done.iter().map(|d| d.opened).sum(),
            distinct_token_ratio: (presentations > 0).then(|| distinct as f64 / presentations as f64),
            hlog: None,
            findings: found.records(),
            looked_at: seen.verified.looked_at,
            sampled: seen.verified.sampled,
            verified: seen.verified.verified,
            controls: controls(setup.control, seen.controlled),
            housekeeping: seen.housekeeping,
            flow: flow(setup, &self.names, done),
            found: None,
            aborted_by: self.aborted.clone(),
        };
        Driven { record, intervals, responses, began_unix_s: clock::unix_at(began), interrupted: self.interrupted }
    }
}

impl Books {
    /// The records of one part of the time, by operation.
    fn operations(&self, part: &Part, done: &[Done], redactor: &Redactor) -> Vec<OperationRecord> {
        let sums = self.names.iter().zip(&part.sums).enumerate();
        sums.map(|(i, (name, sum))| operation_record(name, i as u16, sum, done, redactor)).collect()
    }
}

/// How far flows came; nothing where there are none.
fn flow(setup: &Setup, names: &[String], done: &[Done]) -> Option<FlowRecord> {
    let steps = setup.flow.clone()?;
    let sum = |of: fn(&Counts) -> u64| done.iter().map(|d| of(&d.flows)).sum::<u64>();
    let (started, completed, abandoned) = (sum(|c| c.started), sum(|c| c.completed), sum(|c| c.abandoned));
    // Each loop learns for itself; what the first that has learnt expects stands for all.
    let expected = |n: usize| done.iter().find_map(|d| *d.expected.get(n)?);
    Some(FlowRecord {
        steps,
        started,
        completed,
        abandoned,
        cut: started.saturating_sub(completed + abandoned),
        expected_ns: names.iter().enumerate().filter_map(|(n, name)| Some((name.clone(), expected(n)?.0))).collect(),
    })
}

/// The loops, one by one.
fn workers(setup: &Setup, done: &[Done], recorded_s: f64) -> Vec<WorkerRecord> {
    let one = |(done, cpu): (&Done, &Option<usize>)| WorkerRecord {
        processor: cpu.map(|cpu| cpu as u32),
        busy: if recorded_s > 0.0 { (done.busy.as_secs_f64() / recorded_s).min(1.0) } else { 0.0 },
        cpu_s: done.cpu.as_secs_f64(),
        sent: done.sent,
    };
    done.iter().zip(&setup.cpus).map(one).collect()
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

fn operation_record(
    name: &str,
    index: u16,
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
    for (phase, samples) in [
        ("connect", &sum.connect),
        ("tls", &sum.tls),
        ("first-byte", &sum.first_byte),
        ("queue", &sum.queue),
        ("wait-session", &sum.wait_session),
    ] {
        if !samples.histogram.is_empty() {
            phases.insert(phase.to_owned(), summary(samples));
        }
    }
    // Failed ones have ended, with a time of their own.
    let censored = |samples: &Samples, unended: &Samples| {
        let mut record = summary(samples);
        record.censored_from = stats::censored_from(&samples.histogram, unended.histogram.len());
        record
    };
    OperationRecord {
        operation: name.to_owned(),
        accounting: sum.counts,
        errors,
        response: censored(&sum.response, &sum.unended),
        service: censored(&sum.service, &sum.unended_service),
        lag: summary(&sum.lag),
        phases,
        unended: UnendedRecord { response: summary(&sum.unended), service: summary(&sum.unended_service) },
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorder::What;
    use super::*;

    /// A second of one loop in which so many were completed, and so many are still waited for.
    fn second(second: u32, completed: u64, waiting: u64) -> IntervalSamples {
        let mut interval = IntervalSamples { second, next: second + 1, ..IntervalSamples::new(1).unwrap() };
        (0..completed + waiting).for_each(|_| interval.operations[0].note(What::Planned, 0));
        (0..completed).for_each(|_| interval.operations[0].note(What::Completed, 1_000_000));
        interval
    }

    #[test]
    fn a_rate_is_not_missed_because_one_loop_is_a_second_ahead_of_the_other_or_because_answers_are_on_their_way() {
        let timeline = Timeline::new(1, 2, &[]).unwrap();
        let mut books =
            Books { names: vec!["get".into()], timeline, duration_s: 60.0, interrupted: false, aborted: None };
        let missed = |books: &Books, expression: &str| {
            let part = &books.timeline.parts[0];
            books.is_missed(&expression.parse().unwrap(), part, part.seconds(f64::from(books.timeline.passed())))
        };
        // The first loop has told two seconds, the second one: 100 a second together.
        books.timeline.add(0, &second(0, 50, 0)).unwrap();
        books.timeline.add(0, &second(1, 50, 0)).unwrap();
        books.timeline.add(1, &second(0, 50, 0)).unwrap();
        assert_eq!(books.timeline.passed(), 1);
        assert!(!missed(&books, "completed.rate < 110/s or abort"));
        assert!(missed(&books, "completed.rate < 90/s or abort"));
        // In the next second 30 of its 50 are not answered yet.
        books.timeline.add(1, &second(1, 20, 30)).unwrap();
        assert!(!missed(&books, "completed.rate > 95/s or abort"));
        assert!(missed(&books, "completed.rate > 110/s or abort"));
    }
}

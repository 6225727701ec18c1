//! What was seen in one second? Histograms of fixed size, one set per loop, exchanged whole and never shared.

use hdrhistogram::Histogram;

use super::LoadError;
use crate::record::Accounting;
use crate::units::Nanos;

/// Lowest value that is told from zero, in ns.
const LOW_NS: u64 = 100;
/// Highest value, in ns; more is counted here and as clipped.
const HIGH_NS: u64 = 120_000_000_000;
/// Kinds of failure that one interval tells apart per operation.
const MAX_KINDS: usize = 32;
/// Entries about requests of other seconds for which there is room from the beginning. Little in tests, so that they meet
/// what happens when it is full.
const APART: usize = if cfg!(test) { 32 } else { 8192 };
/// The failure that is no end: how long the answer would have taken is not known.
pub(crate) const TIMEOUT: Failure = Failure::Wire("timeout");

/// A histogram of ns with three digits that counts what it had to clip. Recording does not allocate.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub histogram: Histogram<u64>,
    pub clipped: u64,
}

impl Samples {
    pub fn new() -> Result<Samples, LoadError> {
        let histogram = Histogram::new_with_bounds(LOW_NS, HIGH_NS, 3)
            .map_err(|e| LoadError::Internal(format!("a histogram could not be made: {e:?}")))?;
        Ok(Samples { histogram, clipped: 0 })
    }

    pub fn record(&mut self, ns: u64) {
        if ns > HIGH_NS {
            self.clipped += 1;
        }
        self.histogram.saturating_record(ns);
    }

    pub fn add(&mut self, other: &Samples) {
        self.clipped += other.clipped;
        if !other.histogram.is_empty() {
            // Both have the same bounds, so that adding cannot fail.
            let _ = self.histogram.add(&other.histogram);
        }
    }

    fn clear(&mut self) {
        self.clipped = 0;
        if !self.histogram.is_empty() {
            self.histogram.reset();
        }
    }
}

/// Why an exchange did not count as completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Failure {
    /// A failure on the wire, by its kind.
    Wire(&'static str),
    /// A status that the profile does not expect.
    Status(u16),
    /// The right status with the wrong body.
    Body(u16),
    /// 401 (or what the profile takes for it) while the token had expired by our own schedule.
    ExpiredByUs,
    /// The same while its session was being revoked, rotated or replaced by us.
    RevokedByUs,
    /// A refusal of a token that ought to have been good.
    Refused(u16),
    /// A spoilt token was accepted.
    Accepted(&'static str),
    /// The reply had no token to take.
    NoToken,
    /// More kinds than are told apart.
    Other,
}

impl Failure {
    /// Whether it says something of us, and nothing of the target.
    pub fn is_ours(self) -> bool {
        matches!(self, Failure::ExpiredByUs | Failure::RevokedByUs)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Wire(kind) => f.write_str(kind),
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Body(status) => write!(f, "wrong body (status {status})"),
            Failure::ExpiredByUs => f.write_str("refused: token expired by our schedule"),
            Failure::RevokedByUs => f.write_str("refused: token revoked or rotated by us"),
            Failure::Refused(status) => write!(f, "refused a good token (status {status})"),
            Failure::Accepted(what) => write!(f, "accepted {what} token"),
            Failure::NoToken => f.write_str("wrong token: none in the reply"),
            Failure::Other => f.write_str("other"),
        }
    }
}

/// What there is to say of one request. Times are ns and go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It was planned.
    Planned,
    /// Answered as the profile says; with its response time.
    Completed,
    /// It ended otherwise, a timeout included; with its response time.
    Failed(Failure),
    /// Wire to last byte of a completed one.
    Service,
    /// Planned to wire, as far as it was ours.
    Lag,
    /// Wire to first byte.
    FirstByte,
    /// The wait for a connection.
    Queue,
    /// The wait for a session.
    WaitSession,
    /// Making a connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// There was no room to wait.
    Skipped,
    /// Waiting to be sent when the time was over; with how long it had waited.
    Unsent,
    /// Sent and not answered when the time was over; with its response time so far.
    InFlight,
    /// The service time so far of one that was sent and given up: its true one is longer.
    GivenUp,
}

/// One operation in one interval.
#[derive(Clone, Debug)]
pub(crate) struct OperationSamples {
    pub response: Samples,
    pub service: Samples,
    pub lag: Samples,
    pub first_byte: Samples,
    pub queue: Samples,
    pub wait_session: Samples,
    pub connect: Samples,
    pub tls: Samples,
    /// Response time of what did not complete, timeouts included.
    pub failed_response: Samples,
    /// Response time so far of what did not end: timed out, in flight, unsent, skipped (nothing). The true ones are longer.
    pub unended: Samples,
    /// The same of the service time, of what was sent.
    pub unended_service: Samples,
    pub counts: Accounting,
    pub failures: Vec<(Failure, u64)>,
}

impl OperationSamples {
    pub fn new() -> Result<OperationSamples, LoadError> {
        Ok(OperationSamples {
            response: Samples::new()?,
            service: Samples::new()?,
            lag: Samples::new()?,
            first_byte: Samples::new()?,
            queue: Samples::new()?,
            wait_session: Samples::new()?,
            connect: Samples::new()?,
            tls: Samples::new()?,
            failed_response: Samples::new()?,
            unended: Samples::new()?,
            unended_service: Samples::new()?,
            counts: Accounting::default(),
            failures: Vec::with_capacity(MAX_KINDS),
        })
    }

    /// Takes in what there is to say of one request.
    pub fn note(&mut self, what: What, ns: u64) {
        let counts = &mut self.counts;
        match what {
            What::Planned => counts.planned += 1,
            What::Completed => {
                counts.completed += 1;
                self.response.record(ns);
            }
            What::Failed(failure) if failure.is_ours() => {
                counts.by_us += 1;
                self.fail(failure, 1);
            }
            What::Failed(failure) => {
                self.failed_response.record(ns);
                if failure == TIMEOUT {
                    counts.timed_out += 1;
                    self.unended.record(ns);
                } else {
                    counts.failed += 1;
                }
                self.fail(failure, 1);
            }
            What::Service => self.service.record(ns),
            What::Lag => self.lag.record(ns),
            What::FirstByte => self.first_byte.record(ns),
            What::Queue => self.queue.record(ns),
            What::WaitSession => self.wait_session.record(ns),
            What::Connect => self.connect.record(ns),
            What::Tls => self.tls.record(ns),
            What::Skipped => {
                counts.skipped += 1;
                self.unended.record(0);
            }
            What::Unsent => {
                counts.unsent += 1;
                self.unended.record(ns);
            }
            What::InFlight => {
                counts.in_flight += 1;
                self.unended.record(ns);
            }
            What::GivenUp => self.unended_service.record(ns),
        }
    }

    fn fail(&mut self, failure: Failure, times: u64) {
        if let Some((_, count)) = self.failures.iter_mut().find(|(f, _)| *f == failure) {
            *count += times;
        } else if self.failures.len() + 1 < MAX_KINDS {
            self.failures.push((failure, times));
        } else {
            match self.failures.iter_mut().find(|(f, _)| *f == Failure::Other) {
                Some((_, count)) => *count += times,
                None => self.failures.push((Failure::Other, times)),
            }
        }
    }

    pub fn add(&mut self, other: &OperationSamples) {
        self.counts.add(&other.counts);
        for (failure, times) in &other.failures {
            self.fail(*failure, *times);
        }
        for (mine, theirs) in self.all().into_iter().zip(other.all_of()) {
            mine.add(theirs);
        }
    }

    fn all(&mut self) -> [&mut Samples; 11] {
        [
            &mut self.response,
            &mut self.service,
            &mut self.lag,
            &mut self.first_byte,
            &mut self.queue,
            &mut self.wait_session,
            &mut self.connect,
            &mut self.tls,
            &mut self.failed_response,
            &mut self.unended,
            &mut self.unended_service,
        ]
    }

    fn all_of(&self) -> [&Samples; 11] {
        [
            &self.response,
            &self.service,
            &self.lag,
            &self.first_byte,
            &self.queue,
            &self.wait_session,
            &self.connect,
            &self.tls,
            &self.failed_response,
            &self.unended,
            &self.unended_service,
        ]
    }

    fn clear(&mut self) {
        self.all().into_iter().for_each(Samples::clear);
        self.counts = Accounting::default();
        self.failures.clear();
    }
}

/// Something about a request that was planned in another second than the one that is being filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    /// When it was planned, since recording began.
    pub at: Nanos,
    pub operation: u16,
    pub what: What,
    pub ns: u64,
}

/// One second of one loop: filled by the loop, then handed over whole. It holds what was planned in that second, and
/// apart from it what was heard meanwhile of requests that had been planned before.
#[derive(Clone, Debug)]
pub(crate) struct IntervalSamples {
    /// Whole seconds since recording began.
    pub second: u32,
    /// The second that the loop fills next; all before it have been handed over.
    pub next: u32,
    /// In the order of the mix.
    pub operations: Vec<OperationSamples>,
    /// By the number of requests that are late, not of all.
    pub apart: Vec<Apart>,
}

impl IntervalSamples {
    pub fn new(operations: usize) -> Result<IntervalSamples, LoadError> {
        let operations = (0..operations).map(|_| OperationSamples::new()).collect::<Result<_, _>>()?;
        Ok(IntervalSamples { second: 0, next: 0, operations, apart: Vec::with_capacity(APART) })
    }

    pub fn clear(&mut self) {
        self.operations.iter_mut().for_each(OperationSamples::clear);
        self.apart.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_kept_from_a_hundred_ns_to_two_minutes() {
        for ns in [100, 1_234, 56_700, 99_900_000, 119_000_000_000] {
            let mut samples = Samples::new().unwrap();
            samples.record(ns);
            let seen = samples.histogram.value_at_quantile(0.5);
            assert!(seen.abs_diff(ns) * 500 <= ns.max(32_000), "{ns} was kept as {seen}");
            assert_eq!(samples.clipped, 0);
        }
    }

    #[test]
    fn what_is_longer_is_clipped_and_counted() {
        let mut samples = Samples::new().unwrap();
        samples.record(500_000_000_000);
        assert_eq!((samples.clipped, samples.histogram.len()), (1, 1));
        let mut sum = Samples::new().unwrap();
        sum.add(&samples);
        sum.add(&samples);
        assert_eq!((sum.clipped, sum.histogram.len()), (2, 2));
    }

    #[test]
    fn kinds_of_failure_are_bounded() {
        let mut operation = OperationSamples::new().unwrap();
        for status in 0..100 {
            operation.fail(Failure::Status(status), 2);
        }
        assert_eq!(operation.failures.len(), MAX_KINDS);
        assert_eq!(operation.failures.iter().map(|(_, n)| n).sum::<u64>(), 200);
        assert_eq!(operation.failures.last().unwrap().0, Failure::Other);
    }

    #[test]
    fn a_cleared_interval_is_as_new() {
        let mut interval = IntervalSamples::new(2).unwrap();
        interval.operations[1].note(What::Completed, 1000);
        interval.apart.push(Apart { at: Nanos(0), operation: 0, what: What::Completed, ns: 1 });
        let mut sum = OperationSamples::new().unwrap();
        sum.add(&interval.operations[1]);
        interval.clear();
        sum.add(&interval.operations[1]);
        assert_eq!((sum.counts.completed, sum.response.histogram.len(), interval.apart.len()), (1, 1, 0));
    }

    #[test]
    fn what_did_not_end_is_counted_and_leaves_how_long_it_was_waited_for() {
        let mut operation = OperationSamples::new().unwrap();
        operation.note(What::Failed(TIMEOUT), 10_000_000_000);
        operation.note(What::Failed(Failure::Status(500)), 1_000);
        operation.note(What::InFlight, 3_000_000_000);
        operation.note(What::Unsent, 2_000_000_000);
        operation.note(What::Skipped, 0);
        let c = operation.counts;
        assert_eq!((c.timed_out, c.failed, c.in_flight, c.unsent, c.skipped), (1, 1, 1, 1, 1));
        let unended = &operation.unended.histogram;
        assert_eq!(unended.len(), 4);
        assert!(unended.max() >= 10_000_000_000 && unended.min() == 0, "{} to {}", unended.min(), unended.max());
    }
}

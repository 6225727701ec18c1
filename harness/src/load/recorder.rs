//! What was seen in one second? Histograms of fixed size, one set per loop, exchanged whole and never shared.

use hdrhistogram::Histogram;

use super::LoadError;

/// Lowest value that is told from zero, in ns.
const LOW_NS: u64 = 100;
/// Highest value, in ns; more is counted here and as clipped.
const HIGH_NS: u64 = 120_000_000_000;
/// Kinds of failure that one interval tells apart per operation.
const MAX_KINDS: usize = 32;

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
    /// A refusal of a token that ought to have been good.
    Refused(u16),
    /// A spoilt token was accepted.
    Accepted(&'static str),
    /// The reply had no token to take.
    NoToken,
    /// More kinds than are told apart.
    Other,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Wire(kind) => f.write_str(kind),
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Body(status) => write!(f, "wrong body (status {status})"),
            Failure::ExpiredByUs => f.write_str("refused: token expired by our schedule"),
            Failure::Refused(status) => write!(f, "refused a good token (status {status})"),
            Failure::Accepted(what) => write!(f, "accepted {what} token"),
            Failure::NoToken => f.write_str("wrong token: none in the reply"),
            Failure::Other => f.write_str("other"),
        }
    }
}

/// One operation in one interval.
#[derive(Clone, Debug)]
pub(crate) struct OperationSamples {
    pub response: Samples,
    pub service: Samples,
    pub lag: Samples,
    pub first_byte: Samples,
    pub queue: Samples,
    pub connect: Samples,
    pub tls: Samples,
    /// Response time of what did not complete, timeouts included.
    pub failed_response: Samples,
    pub completed: u64,
    pub failed: u64,
    pub timed_out: u64,
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
            connect: Samples::new()?,
            tls: Samples::new()?,
            failed_response: Samples::new()?,
            completed: 0,
            failed: 0,
            timed_out: 0,
            failures: Vec::with_capacity(MAX_KINDS),
        })
    }

    pub fn fail(&mut self, failure: Failure, times: u64) {
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
        self.response.add(&other.response);
        self.service.add(&other.service);
        self.lag.add(&other.lag);
        self.first_byte.add(&other.first_byte);
        self.queue.add(&other.queue);
        self.connect.add(&other.connect);
        self.tls.add(&other.tls);
        self.failed_response.add(&other.failed_response);
        self.completed += other.completed;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        for (failure, times) in &other.failures {
            self.fail(*failure, *times);
        }
    }

    fn clear(&mut self) {
        for samples in [
            &mut self.response,
            &mut self.service,
            &mut self.lag,
            &mut self.first_byte,
            &mut self.queue,
            &mut self.connect,
            &mut self.tls,
            &mut self.failed_response,
        ] {
            samples.clear();
        }
        self.completed = 0;
        self.failed = 0;
        self.timed_out = 0;
        self.failures.clear();
    }
}

/// One second of one loop: filled by the loop, then handed over whole.
#[derive(Clone, Debug)]
pub(crate) struct IntervalSamples {
    /// Whole seconds since recording began.
    pub second: u32,
    /// In the order of the mix.
    pub operations: Vec<OperationSamples>,
}

impl IntervalSamples {
    pub fn new(operations: usize) -> Result<IntervalSamples, LoadError> {
        let operations = (0..operations).map(|_| OperationSamples::new()).collect::<Result<_, _>>()?;
        Ok(IntervalSamples { second: 0, operations })
    }

    pub fn clear(&mut self) {
        self.operations.iter_mut().for_each(OperationSamples::clear);
    }

    pub fn add(&mut self, other: &IntervalSamples) {
        for (mine, theirs) in self.operations.iter_mut().zip(&other.operations) {
            mine.add(theirs);
        }
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
        interval.operations[1].response.record(1000);
        interval.operations[1].completed = 1;
        let mut sum = IntervalSamples::new(2).unwrap();
        sum.add(&interval);
        interval.clear();
        sum.add(&interval);
        assert_eq!((sum.operations[1].completed, sum.operations[1].response.histogram.len()), (1, 1));
    }
}

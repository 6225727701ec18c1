//! What did a load see? Counts that add up, and histograms that merge.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Grade;

/// One load in one topology.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LoadRecord {
    /// Name of the topology (the arm).
    pub topology: String,
    /// The arrival model in words: `open 500/s poisson`, `closed 50 users, think 10ms`.
    pub model: String,
    /// Open or closed: what a percentile of response time means differs.
    pub open: bool,
    /// Seconds of load after warm-up.
    pub duration_s: f64,
    /// Seconds of warm-up, driven and not recorded.
    pub warmup_s: f64,
    /// Connections held open.
    pub connections: u32,
    /// Loops (cores) that drove it, and their idle policy: `poll` or `sleep`.
    pub workers: u32,
    /// Idle policy of the loops.
    pub idle: String,
    /// `planned = completed + failed + timed out + skipped + in flight + unsent`, the last two at the end.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// By operation, in the order of the mix.
    pub operations: Vec<OperationRecord>,
    /// By second since the start of recording and operation.
    pub seconds: Vec<SecondRecord>,
    /// The windows that thresholds speak of, each as a load of its own: by when requests were planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<LoadWindow>,
    /// Whether to believe it.
    pub certificate: CertificateRecord,
    /// Requests that were sent again, off the record, after the server had closed a reused connection without a word or
    /// had turned them away unread; warm-up included.
    #[serde(default)]
    pub sent_again: u64,
    /// Connections that had to be opened while it was recorded.
    #[serde(default)]
    pub opened: u64,
    /// Distinct tokens presented over presentations, 0 to 1.
    pub distinct_token_ratio: Option<f64>,
    /// The interval log beside `run.json`, relative to the run's folder.
    pub hlog: Option<String>,
    /// What was wrong under load, the earliest first.
    #[serde(default)]
    pub findings: Vec<LoadFinding>,
    /// Tokens whose claims were looked at: all that the load was given, as far as there was room.
    #[serde(default)]
    pub looked_at: u64,
    /// Exchanges that were taken whole.
    #[serde(default)]
    pub sampled: u64,
    /// Tokens of those whose signature was verified.
    #[serde(default)]
    pub verified: u64,
    /// How far flows came, where sessions walk through steps.
    #[serde(default)]
    pub flow: Option<FlowRecord>,
    /// Logins and refreshes off the timed path, which keep the sessions fresh.
    #[serde(default)]
    pub housekeeping: HousekeepingRecord,
    /// Operations beside the load that ask for what must be refused; absent where there were to be none.
    #[serde(default)]
    pub controls: Option<ControlsRecord>,
    /// What a search for the highest rate found; this load is then the one at that rate.
    #[serde(default)]
    pub found: Option<FoundRecord>,
    /// The threshold whose miss ended the load early.
    #[serde(default)]
    pub aborted_by: Option<String>,
}

/// One thing that was wrong under load, by the check that it belongs to. The check's own record carries its grade into
/// every report; this is its place in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Told")]
pub struct LoadFinding {
    /// Id of the check in the catalogue.
    pub check: String,
    /// The operation, `control` before it where it was a control operation.
    pub operation: String,
    /// The first sighting, seconds after recording began.
    pub first_s: f64,
    /// Sightings.
    pub times: u64,
    /// What had to be.
    pub expected: String,
    /// What the first sighting saw.
    pub seen: String,
    /// What it means; absent where the check was left out.
    pub grade: Option<Grade>,
}

/// A finding as it stands in a record; one sentence in records of versions before 0.2.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Told {
    Sentence(String),
    Whole {
        check: String,
        operation: String,
        first_s: f64,
        times: u64,
        expected: String,
        seen: String,
        #[serde(default)]
        grade: Option<Grade>,
    },
}

impl From<Told> for LoadFinding {
    fn from(told: Told) -> LoadFinding {
        match told {
            Told::Sentence(seen) => LoadFinding {
                check: String::new(),
                operation: String::new(),
                first_s: 0.0,
                times: 1,
                expected: String::new(),
                seen,
                grade: None,
            },
            Told::Whole { check, operation, first_s, times, expected, seen, grade } => {
                LoadFinding { check, operation, first_s, times, expected, seen, grade }
            }
        }
    }
}

/// How far flows came, of those whose first step is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlowRecord {
    /// The steps: `issue > verify x20 > refresh`.
    pub steps: String,
    /// Begun.
    pub started: u64,
    /// Walked to their end.
    pub completed: u64,
    /// Ended by a step that failed.
    pub abandoned: u64,
    /// Still on their way when the time was over.
    pub cut: u64,
    /// What each operation was expected to take (the median of its first 101 service times, warm-up included), from which
    /// the planned start of the step behind it follows in an open load.
    pub expected_ns: BTreeMap<String, u64>,
}

/// Requests off the timed path while a load ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HousekeepingRecord {
    /// Logins in place of sessions that had ended.
    pub logins: u64,
    /// Refreshes of access tokens that were about to end.
    pub refreshes: u64,
    /// Of both, what brought no token.
    pub failed: u64,
    /// Sessions that still waited for one of them at the end.
    pub behind: u64,
}

/// Operations beside a load that ask for what must be refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlsRecord {
    /// The share of the load that was asked for, 0 to 1.
    pub share: f64,
    /// Exchanges altogether.
    pub exchanges: u64,
    /// Exchanges by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Exchanges whose answer said nothing: limits, server errors, timeouts.
    pub unanswered: u64,
    /// What could not be tried, and why.
    pub left_out: Vec<String>,
}

/// A window of a load.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LoadWindow {
    /// Where it begins, in seconds since recording began.
    pub from_s: f64,
    /// Where it ends; with the load if absent.
    pub to_s: Option<f64>,
    /// Seconds of it that were recorded.
    pub seconds: f64,
    /// What was planned in it, by operation.
    pub operations: Vec<OperationRecord>,
}

/// The highest rate at which every threshold held. Several searches bracket it, each between a rate that held and a higher
/// one that did not.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FoundRecord {
    /// The median of the brackets' middles; 0 where not even the lowest rate tried held.
    pub rate_per_s: f64,
    /// The lowest rate that held of all brackets.
    pub low_per_s: f64,
    /// The highest rate that did not hold of all brackets.
    pub high_per_s: f64,
    /// How many searches there were.
    #[serde(default)]
    pub searches: u32,
    /// The confidence, 0 to 1, with which the median of such searches lies between low and high: 1 - 2 x (1/2)^searches.
    #[serde(default)]
    pub level: f64,
    /// The highest rate that was to be tried held, or what the generator could send: the true limit is at or above it.
    pub at_least: bool,
    /// The generator gave out before the target did.
    #[serde(default)]
    pub by_generator: bool,
    /// Why no rate could be judged: a try would have to be longer.
    #[serde(default)]
    pub unjudged: Option<String>,
    /// The search was interrupted: the numbers are what was known by then.
    #[serde(default)]
    pub interrupted: bool,
    /// What else ended the search before it was through, if something did: the numbers are what was known by then, and
    /// the load is the last try.
    #[serde(default)]
    pub ended: Option<String>,
    /// Every try, in order.
    pub tries: Vec<TryRecord>,
}

/// One try of a search.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TryRecord {
    /// Arrivals per second.
    pub rate_per_s: f64,
    /// Whether every threshold held.
    pub held: bool,
    /// Why not, or why that could not be told.
    pub why: Option<String>,
    /// Seconds recorded.
    #[serde(default)]
    pub seconds: f64,
}

/// Every planned arrival, accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accounting {
    /// Arrivals that the plan held for the recorded time.
    pub planned: u64,
    /// Answered as the profile says.
    pub completed: u64,
    /// Answered otherwise, or failed on the wire.
    pub failed: u64,
    /// No answer within the deadline.
    pub timed_out: u64,
    /// Never sent: no room in the bounded queue. Voids an open run.
    pub skipped: u64,
    /// Sent and not answered when the time was over; right-censored.
    pub in_flight: u64,
    /// Due, but never sent: waiting for a connection or a session when the time was over; right-censored.
    #[serde(default)]
    pub unsent: u64,
    /// Refused because we had revoked, rotated or let expire the token: it says nothing of the target.
    #[serde(default)]
    pub by_us: u64,
}

impl Accounting {
    /// Whether the identity holds.
    pub fn adds_up(&self) -> bool {
        self.planned == self.ended() + self.skipped + self.in_flight + self.unsent + self.by_us
    }
    /// Completed, failed or timed out.
    pub fn ended(&self) -> u64 {
        self.completed + self.failed + self.timed_out
    }
    /// Takes other counts in.
    pub fn add(&mut self, other: &Accounting) {
        self.planned += other.planned;
        self.completed += other.completed;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.skipped += other.skipped;
        self.in_flight += other.in_flight;
        self.unsent += other.unsent;
        self.by_us += other.by_us;
    }
    /// Failed and timed out over everything that ended.
    pub fn failed_ratio(&self) -> f64 {
        let bad = self.failed + self.timed_out;
        let all = bad + self.completed;
        if all == 0 { 0.0 } else { bad as f64 / all as f64 }
    }
}

/// One operation of a load.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct OperationRecord {
    /// `issue`, `refresh`, `verify`, `access`, ...
    pub operation: String,
    /// Counts of this operation.
    #[serde(flatten)]
    pub accounting: Accounting,
    /// Failures by kind: `refused`, `reset`, `timeout`, `status 503`, `wrong body`, ...
    pub errors: Vec<ErrorCount>,
    /// Planned to last byte.
    pub response: HistogramRecord,
    /// Wire to last byte.
    pub service: HistogramRecord,
    /// Planned to wire: ours, not the server's.
    pub lag: HistogramRecord,
    /// Where connections were made: connect, TLS; and first byte; by phase name.
    #[serde(default)]
    pub phases: BTreeMap<String, HistogramRecord>,
    /// How long those were waited for that did not end: their true times are longer.
    #[serde(default, skip_serializing_if = "UnendedRecord::is_empty")]
    pub unended: UnendedRecord,
}

/// How long requests were waited for that did not end: timed out, in flight at the end, unsent, skipped.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct UnendedRecord {
    /// Since they were planned; nothing for the skipped.
    pub response: HistogramRecord,
    /// Since they were on the wire; of those that were sent.
    pub service: HistogramRecord,
}

impl UnendedRecord {
    /// Whether everything ended.
    pub fn is_empty(&self) -> bool {
        self.response.n == 0 && self.service.n == 0
    }
}

/// How often one kind of failure was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorCount {
    /// The kind.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// One example, redacted.
    pub example: Option<String>,
}

/// A histogram with its summary. Nanoseconds, three significant digits.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct HistogramRecord {
    /// Samples.
    pub n: u64,
    /// Samples outside the recordable range, counted at its edge.
    pub clipped: u64,
    /// Smallest.
    pub min_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile; below an `n` of 1,000 fewer than ten samples lie above it, and reports leave it out.
    pub p99_ns: u64,
    /// 99.9th percentile; absent below 10,000 samples.
    pub p999_ns: Option<u64>,
    /// Largest.
    pub max_ns: u64,
    /// HdrHistogram V2 with DEFLATE in base64, as in interval logs; empty where n is 0.
    pub hdr_base64: String,
    /// Percentiles from this one upwards (0 to 100) could be moved by unfinished requests.
    #[serde(default)]
    pub censored_from: Option<f64>,
}

/// One second of one operation: what was planned in it, whenever it ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SecondRecord {
    /// Whole seconds since recording began.
    pub second: u32,
    /// The operation.
    pub operation: String,
    /// Planned in this second; absent in records that booked by the second of the end.
    #[serde(default)]
    pub planned: Option<u64>,
    /// Of them completed: the n of response and service time.
    pub completed: u64,
    /// Of them failed or timed out.
    pub failed: u64,
    /// Of them timed out.
    #[serde(default)]
    pub timed_out: u64,
    /// Of them skipped, in flight or unsent when the time was over.
    #[serde(default)]
    pub unended: u64,
    /// Requests of any second that ended in this one: what the wall's clock saw of the server.
    #[serde(default)]
    pub ended: Option<u64>,
    /// Median response time of the completed; absent where there were none.
    pub response_p50_ns: Option<u64>,
    /// 99th percentile of response time; absent below 1,000 samples.
    pub response_p99_ns: Option<u64>,
    /// Largest response time.
    pub response_max_ns: Option<u64>,
    /// Median service time.
    pub service_p50_ns: Option<u64>,
    /// 99th percentile of service time; absent below 1,000 samples.
    #[serde(default)]
    pub service_p99_ns: Option<u64>,
    /// Median lag of those that were sent.
    #[serde(default)]
    pub lag_p50_ns: Option<u64>,
    /// 99th percentile of lag; absent below 1,000 samples.
    #[serde(default)]
    pub lag_p99_ns: Option<u64>,
}

/// Whether to believe a load.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CertificateRecord {
    /// Reasons why no verdict may be drawn; empty if it may.
    pub void: Vec<String>,
    /// Doubts to be printed beside the numbers.
    pub doubts: Vec<String>,
    /// What was done to this machine for the load, and what is worth knowing without being a doubt.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Requests of which the lag is known: the n of the two percentiles.
    #[serde(default)]
    pub lag_n: u64,
    /// Median lag over all operations.
    pub lag_p50_ns: u64,
    /// 99th percentile of lag.
    pub lag_p99_ns: u64,
    /// Sent on time's end over planned, 0 to 1.
    pub achieved: f64,
    /// Share of loop turns that found work, the busiest worker, 0 to 1.
    pub busy: f64,
    /// CPU seconds of the workers.
    pub cpu_s: f64,
    /// Share of time that the hypervisor took, 0 to 1, where the kernel says.
    pub steal: Option<f64>,
    /// Share of time that runnable tasks waited for a CPU (PSI `some`), 0 to 1, where the kernel says.
    pub pressure: Option<f64>,
    /// Share of time in which our control group stood still, its quota of CPU used up, 0 to 1, where the kernel says.
    #[serde(default)]
    pub throttled: Option<f64>,
    /// Ports in TIME_WAIT at the end.
    pub time_wait: Option<u64>,
    /// Ports that there are for outgoing connections.
    #[serde(default)]
    pub ports: Option<u64>,
    /// The loops, one by one.
    #[serde(default)]
    pub workers: Vec<WorkerRecord>,
    /// Median service time at a server of ours that answers at once, driven in the same way on the same processors
    /// before the load: no smaller difference can be claimed.
    #[serde(default)]
    pub floor_p50_ns: Option<u64>,
    /// 99th percentile of the same.
    #[serde(default)]
    pub floor_p99_ns: Option<u64>,
    /// What limited a closed run: `target`, `generator`, `connections` or `sessions` that users had to wait for, `thinking`
    /// of the users, `unknown`.
    pub bottleneck: Option<String>,
}

/// One loop of a load, over the recorded time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerRecord {
    /// The processor it was pinned to, if it was.
    pub processor: Option<u32>,
    /// Share of the time in which it had work, 0 to 1.
    pub busy: f64,
    /// CPU seconds.
    pub cpu_s: f64,
    /// Recorded arrivals that it sent by the end.
    pub sent: u64,
}

impl CertificateRecord {
    /// Whether no verdict may be drawn from the load.
    pub fn is_void(&self) -> bool {
        !self.void.is_empty()
    }
}

//! How does one topology differ from another? Statistics over interleaved pairs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HistogramRecord;

/// Baseline against candidate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonRecord {
    /// Topology everything is compared with.
    pub baseline: String,
    /// The other topology.
    pub candidate: String,
    /// `quick` (6 pairs of 2 s) or `standard` (12 pairs of 5 s), or `stored` (two runs, not interleaved).
    pub effort: String,
    /// Pairs that count.
    pub pairs: u32,
    /// Pairs dropped whole, for a reason fixed before.
    pub dropped: Vec<String>,
    /// Seconds of each block.
    pub block_s: f64,
    /// Open rate of both arms, per second.
    pub rate_per_s: f64,
    /// Highest rate of the slower arm in the closed-loop knee search, per second.
    pub knee_per_s: Option<f64>,
    /// Response time by operation and quantile.
    pub quantiles: Vec<QuantileRecord>,
    /// Full-speed throughput, where it was measured.
    pub throughput: Option<ThroughputRecord>,
    /// The operation that the mix sends most (`all` where there is but one): what the shift function and the merged
    /// histograms show, since a mix of fast and slow operations has percentiles that belong to neither.
    #[serde(default = "all")]
    pub operation: String,
    /// The whole shift function with bootstrap bands.
    pub shift: Vec<ShiftPoint>,
    /// All blocks of the baseline merged: response time.
    pub baseline_response: HistogramRecord,
    /// All blocks of the candidate merged: response time.
    pub candidate_response: HistogramRecord,
    /// A/A and injected-delay legs.
    pub controls: Vec<ControlRecord>,
    /// Why the comparison says nothing; empty if it says something.
    pub void: Vec<String>,
    /// Doubts beside the numbers.
    pub doubts: Vec<String>,
}

fn all() -> String {
    "all".to_owned()
}

/// What a comparison says of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The interval excludes zero and the estimate is beyond the margin.
    Different,
    /// The interval lies inside the margin.
    Equivalent,
    /// Neither.
    Inconclusive,
}

/// One quantile of one operation, candidate minus baseline.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct QuantileRecord {
    /// The operation, or `all`.
    pub operation: String,
    /// 0 to 1.
    pub quantile: f64,
    /// Median over the pairs of the baseline's quantile.
    pub baseline_ns: f64,
    /// Median over the pairs of the candidate's quantile.
    pub candidate_ns: f64,
    /// Hodges-Lehmann estimate of the difference.
    pub difference_ns: f64,
    /// Lower end of the Wilcoxon signed-rank interval.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// Exact coverage of that interval, 0 to 1.
    pub confidence: f64,
    /// Hodges-Lehmann estimate of candidate over baseline.
    pub ratio: f64,
    /// Differences below this do not matter: the larger of 5 % of the baseline and 50 us.
    pub margin_ns: f64,
    /// Smallest difference that this design would have found with power 0.8.
    pub detectable_ns: f64,
    /// Pairs used.
    pub pairs: u32,
    /// Pairs that would probably decide, where it is inconclusive.
    pub pairs_needed: Option<u32>,
    /// The answer.
    pub answer: Answer,
    /// Declared before the run as a gate, not exploratory.
    pub gating: bool,
    /// The per-pair differences, in run order.
    pub differences_ns: Vec<f64>,
}

/// Full-speed closed-loop throughput of both arms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ThroughputRecord {
    /// Median requests per second of the baseline.
    pub baseline_per_s: f64,
    /// Median requests per second of the candidate.
    pub candidate_per_s: f64,
    /// Hodges-Lehmann estimate of candidate over baseline.
    pub ratio: f64,
    /// Lower end of its interval.
    pub low: f64,
    /// Upper end of its interval.
    pub high: f64,
    /// Exact coverage of the interval, 0 to 1.
    pub confidence: f64,
    /// Pairs used.
    pub pairs: u32,
    /// The answer; the margin is 5 %.
    pub answer: Answer,
}

/// One point of the shift function.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ShiftPoint {
    /// 0 to 1.
    pub quantile: f64,
    /// Candidate minus baseline of the merged histograms.
    pub difference_ns: f64,
    /// Lower end of the bootstrap band (drawn, never judged by).
    pub low_ns: f64,
    /// Upper end of the band.
    pub high_ns: f64,
}

/// A control leg of the comparison.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ControlRecord {
    /// `A/A` or `A/A+delta`.
    pub name: String,
    /// What it must recover: 0, or the injected delay.
    pub injected_ns: f64,
    /// Estimate.
    pub difference_ns: f64,
    /// Lower end of the interval.
    pub low_ns: f64,
    /// Upper end.
    pub high_ns: f64,
    /// Pairs used.
    pub pairs: u32,
    /// Whether the interval contains what was injected.
    pub holds: bool,
}

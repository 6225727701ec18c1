//! How do two topologies differ? From interleaved pairs of blocks to a comparison with its verdicts.

use std::collections::{BTreeMap, BTreeSet};

use hdrhistogram::Histogram;

use super::histogram::{HistogramError, MIN_SAMPLES_ABOVE, merge, printable, summarise};
use super::power::{detectable, pairs_needed};
use super::rank::{Interval, hodges_lehmann, median, ratio, trend, wilcoxon_interval};
use super::shift::shift_function;
use crate::record::{Answer, ComparisonRecord, ControlRecord, QuantileRecord, ThroughputRecord};

/// The confidence that an interval must reach before it may decide.
pub const CONFIDENCE: f64 = 0.95;
/// Differences smaller than this share of the baseline do not matter.
const MARGIN_SHARE: f64 = 0.05;
/// Differences smaller than this do not matter, in nanoseconds.
const MARGIN_NS: f64 = 50_000.0;
/// The quantiles that are compared.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];
/// Share of failed requests of an arm above which its response times are those of another load.
const MOST_FAILED: f64 = 0.01;
/// More dropped pairs than this share void a comparison.
const MOST_DROPPED: f64 = 0.2;

/// One block of one arm.
#[derive(Clone, Debug)]
pub struct Block {
    /// Response time in nanoseconds by operation, successful requests only.
    pub responses: BTreeMap<String, Histogram<u64>>,
    /// Requests that failed or timed out in the block.
    pub failed: u64,
    /// Median lag of the generator in the block, nanoseconds.
    pub lag_p50_ns: u64,
}

/// A block of each arm, driven next to each other.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The block of the baseline.
    pub baseline: Block,
    /// The block of the candidate.
    pub candidate: Block,
}

/// What was fixed before the first block was driven.
#[derive(Clone, Debug)]
pub struct Design {
    /// Name of the topology everything is compared with.
    pub baseline: String,
    /// Name of the other topology.
    pub candidate: String,
    /// `quick`, `standard` or `stored`.
    pub effort: String,
    /// Seconds of each block.
    pub block_s: f64,
    /// Open rate of both arms, per second.
    pub rate_per_s: f64,
    /// Highest rate of the slower arm, where it was searched.
    pub knee_per_s: Option<f64>,
    /// Quantiles (0 to 1) that gate, of the operation that the mix sends most; everything else is exploratory. Empty
    /// where the scenario gates on nothing.
    pub gates: Vec<f64>,
    /// Pairs that were dropped whole, and why.
    pub dropped: Vec<String>,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Differences below this do not matter: the larger of 5 % of the baseline and 50 us, in nanoseconds.
pub fn margin_ns(baseline_ns: f64) -> f64 {
    (baseline_ns * MARGIN_SHARE).max(MARGIN_NS)
}

/// Different where the interval excludes zero and the estimate is beyond the margin; equivalent where the interval
/// lies inside the margin; else, or where the interval is not sure enough, inconclusive.
pub fn answer(estimate: f64, interval: &Interval, margin: f64) -> Answer {
    if interval.confidence < CONFIDENCE {
        Answer::Inconclusive
    } else if !interval.contains(0.0) && estimate.abs() > margin {
        Answer::Different
    } else if interval.low > -margin && interval.high < margin {
        Answer::Equivalent
    } else {
        Answer::Inconclusive
    }
}

/// A control leg: pairs whose true difference is known. It holds where the interval of the differences meets what was
/// injected, give or take `tolerance_ns` (what the machine cannot tell apart: a tenth of the margin serves).
pub fn control(name: &str, injected_ns: f64, differences_ns: &[f64], tolerance_ns: f64) -> ControlRecord {
    let estimate = hodges_lehmann(differences_ns);
    let interval = wilcoxon_interval(differences_ns, CONFIDENCE);
    let holds =
        estimate.is_some() && interval.low - tolerance_ns <= injected_ns && injected_ns <= interval.high + tolerance_ns;
    ControlRecord {
        name: name.to_owned(),
        injected_ns,
        difference_ns: estimate.unwrap_or(0.0),
        low_ns: if estimate.is_some() { interval.low } else { 0.0 },
        high_ns: if estimate.is_some() { interval.high } else { 0.0 },
        pairs: differences_ns.len() as u32,
        holds,
    }
}

/// The whole comparison. `throughput` holds the full-speed rates of each pair `(baseline, candidate)`, and may be
/// empty; `controls` are the legs made by [`control`], and one that does not hold voids the comparison.
///
/// # Errors
/// Where histograms of different blocks cannot be merged.
pub fn compare(
    design: &Design,
    pairs: &[Pair],
    throughput: &[(f64, f64)],
    controls: Vec<ControlRecord>,
) -> Result<ComparisonRecord, HistogramError> {
    let operations: BTreeSet<&str> = pairs
        .iter()
        .flat_map(|p| p.baseline.responses.keys().chain(p.candidate.responses.keys()))
        .map(String::as_str)
        .collect();
    let all = pairs
        .iter()
        .map(|p| Ok((merge(p.baseline.responses.values())?, merge(p.candidate.responses.values())?)))
        .collect::<Result<Vec<_>, HistogramError>>()?;
    let all: Vec<_> = all.iter().map(|(b, c)| (b, c)).collect();

    let gate_on = most_frequent(&operations, pairs);
    let mut quantiles = Vec::new();
    let mut refused = Vec::new();
    let mut judge = |operation: &str, blocks: &[(&Histogram<u64>, &Histogram<u64>)]| {
        for quantile in QUANTILES {
            let fewest = blocks.iter().map(|(b, c)| b.len().min(c.len())).min().unwrap_or(0);
            if !printable(fewest, quantile) {
                // The far tail is a bonus of long blocks: nobody is told that it is missing.
                if quantile < 0.999 {
                    refused.push(format!("{operation} {}", percentile_name(quantile)));
                }
                continue;
            }
            let gating = operation == gate_on && design.gates.iter().any(|g| (g - quantile).abs() < 1e-9);
            quantiles.extend(quantile_record(operation, quantile, blocks, gating));
        }
    };
    judge("all", &all);
    if operations.len() > 1 {
        for operation in &operations {
            judge(operation, &blocks_of(pairs, operation));
        }
    }

    let main = if gate_on == "all" { all } else { blocks_of(pairs, gate_on) };
    let mut doubts = doubts(design, pairs, &quantiles);
    let mut void = voids(design, pairs);
    if let Some(lag) = lag_difference(pairs) {
        let small = explained(&mut quantiles, gate_on, lag);
        let what =
            format!("the generator's own lag differs by {:.0} us between the arms, more than a tenth of", lag / 1e3);
        void.extend(small.main.map(|claim| format!("{what} the {claim} claimed")));
        if !small.others.is_empty() {
            doubts.push(format!("{what} what was seen of {}: these decide nothing", small.others.join(", ")));
        }
    }
    if !refused.is_empty() {
        doubts.push(format!(
            "not compared, since fewer than {MIN_SAMPLES_ABOVE} samples are expected above it in a block: {}",
            refused.join(", ")
        ));
    }
    for control in controls.iter().filter(|c| !c.holds) {
        void.push(format!(
            "the {} control was to recover {:.0} us and found {:.0} to {:.0} us",
            control.name,
            control.injected_ns / 1e3,
            control.low_ns / 1e3,
            control.high_ns / 1e3
        ));
    }
    Ok(ComparisonRecord {
        baseline: design.baseline.clone(),
        candidate: design.candidate.clone(),
        effort: design.effort.clone(),
        pairs: pairs.len() as u32,
        dropped: design.dropped.clone(),
        block_s: design.block_s,
        rate_per_s: design.rate_per_s,
        knee_per_s: design.knee_per_s,
        quantiles,
        throughput: throughput_record(throughput),
        operation: gate_on.to_owned(),
        shift: shift_function(&main, design.seed),
        baseline_response: summarise(&merge(main.iter().map(|p| p.0))?, 0),
        candidate_response: summarise(&merge(main.iter().map(|p| p.1))?, 0),
        controls,
        void,
        doubts,
    })
}

/// The blocks of one operation, of the pairs in which both arms have it.
fn blocks_of<'a>(pairs: &'a [Pair], operation: &str) -> Vec<(&'a Histogram<u64>, &'a Histogram<u64>)> {
    pairs
        .iter()
        .filter_map(|p| Some((p.baseline.responses.get(operation)?, p.candidate.responses.get(operation)?)))
        .collect()
}

/// The operation with the most requests in the baseline; `all` where there is but one. A mix of fast and slow operations
/// has percentiles that belong to neither, so nothing gates on it.
fn most_frequent<'a>(operations: &BTreeSet<&'a str>, pairs: &[Pair]) -> &'a str {
    let requests =
        |name: &str| pairs.iter().filter_map(|p| p.baseline.responses.get(name)).map(|h| h.len()).sum::<u64>();
    match operations.len() {
        0 | 1 => "all",
        _ => operations.iter().copied().max_by_key(|name| requests(name)).unwrap_or("all"),
    }
}

pub(super) fn quantile_record(
    operation: &str,
    quantile: f64,
    blocks: &[(&Histogram<u64>, &Histogram<u64>)],
    gating: bool,
) -> Option<QuantileRecord> {
    let values: Vec<(f64, f64)> = blocks
        .iter()
        .map(|(b, c)| (b.value_at_quantile(quantile) as f64, c.value_at_quantile(quantile) as f64))
        .collect();
    let differences: Vec<f64> = values.iter().map(|(b, c)| c - b).collect();
    let baseline_ns = median(&values.iter().map(|v| v.0).collect::<Vec<_>>())?;
    let candidate_ns = median(&values.iter().map(|v| v.1).collect::<Vec<_>>())?;
    let estimate = hodges_lehmann(&differences)?;
    let interval = wilcoxon_interval(&differences, CONFIDENCE);
    let margin = margin_ns(baseline_ns);
    let answer = answer(estimate, &interval, margin);
    Some(QuantileRecord {
        operation: operation.to_owned(),
        quantile,
        baseline_ns,
        candidate_ns,
        difference_ns: estimate,
        low_ns: interval.low,
        high_ns: interval.high,
        confidence: interval.confidence,
        ratio: ratio(&values, CONFIDENCE).map_or(candidate_ns / baseline_ns.max(1.0), |r| r.0),
        margin_ns: margin,
        detectable_ns: detectable(&differences, interval.confidence).unwrap_or(0.0),
        pairs: differences.len() as u32,
        pairs_needed: (answer == Answer::Inconclusive).then(|| pairs_needed(&differences, estimate, margin)).flatten(),
        answer,
        gating,
        differences_ns: differences,
    })
}

fn throughput_record(rates: &[(f64, f64)]) -> Option<ThroughputRecord> {
    let (estimate, interval) = ratio(rates, CONFIDENCE)?;
    let logs = Interval { low: interval.low.ln(), high: interval.high.ln(), ..interval };
    Some(ThroughputRecord {
        baseline_per_s: median(&rates.iter().map(|r| r.0).collect::<Vec<_>>())?,
        candidate_per_s: median(&rates.iter().map(|r| r.1).collect::<Vec<_>>())?,
        ratio: estimate,
        low: interval.low,
        high: interval.high,
        confidence: interval.confidence,
        pairs: rates.len() as u32,
        answer: answer(estimate.ln(), &logs, MARGIN_SHARE),
    })
}

/// How far the generator's median lag is apart between the arms, in nanoseconds. It is charged to the candidate.
fn lag_difference(pairs: &[Pair]) -> Option<f64> {
    let lag = |arm: fn(&Pair) -> &Block| median(&pairs.iter().map(|p| arm(p).lag_p50_ns as f64).collect::<Vec<_>>());
    Some((lag(|p| &p.candidate)? - lag(|p| &p.baseline)?).abs())
}

/// Differences that a difference of lag could explain, for more than a tenth.
#[derive(Default)]
struct Explained {
    /// The smallest of those for which a comparison is made: the gates, and the medians of the main operation and of all.
    main: Option<String>,
    /// The others, which decide nothing from here on.
    others: Vec<String>,
}

fn explained(quantiles: &mut [QuantileRecord], main: &str, lag_ns: f64) -> Explained {
    let mut explained = Explained::default();
    let mut smallest = f64::INFINITY;
    for q in quantiles.iter_mut().filter(|q| q.answer == Answer::Different) {
        let claimed = q.difference_ns.abs();
        if lag_ns <= claimed / 10.0 {
            continue;
        }
        let name = format!("{} {}", q.operation, percentile_name(q.quantile));
        if q.gating || (q.quantile - 0.5).abs() < 1e-9 && (q.operation == main || q.operation == "all") {
            if claimed < smallest {
                smallest = claimed;
                explained.main = Some(format!("{:.0} us of {name}", claimed / 1e3));
            }
        } else {
            q.answer = Answer::Inconclusive;
            explained.others.push(name);
        }
    }
    explained
}

fn voids(design: &Design, pairs: &[Pair]) -> Vec<String> {
    let mut void = Vec::new();
    if pairs.is_empty() {
        void.push("no pair was left to compare".to_owned());
        return void;
    }
    if design.rate_per_s <= 0.0 {
        void.push(
            "the slowest deployment answered nothing at full speed, so there was no rate to compare at".to_owned(),
        );
    }
    for (name, arm) in [
        (&design.baseline, (|pair| &pair.baseline) as fn(&Pair) -> &Block),
        (&design.candidate, |pair| &pair.candidate),
    ] {
        let failed = pairs.iter().map(|pair| arm(pair).failed).sum::<u64>() as f64;
        let answered =
            pairs.iter().flat_map(|pair| arm(pair).responses.values()).map(Histogram::len).sum::<u64>() as f64;
        if failed > (failed + answered) * MOST_FAILED {
            void.push(format!(
                "{:.1} % of the requests failed in {name}: how fast the others were says little of it",
                failed / (failed + answered) * 100.0
            ));
        }
    }
    let planned = pairs.len() + design.dropped.len();
    if design.dropped.len() as f64 > planned as f64 * MOST_DROPPED {
        void.push(format!("{} of {planned} pairs were dropped", design.dropped.len()));
    }
    void
}

fn doubts(design: &Design, pairs: &[Pair], quantiles: &[QuantileRecord]) -> Vec<String> {
    let mut doubts = Vec::new();
    if (1..6).contains(&pairs.len()) {
        doubts.push(format!("{} pairs cannot reach 95 % confidence; 6 can", pairs.len()));
    }
    if !design.dropped.is_empty() {
        doubts.push(format!("{} pairs were dropped: {}", design.dropped.len(), design.dropped.join("; ")));
    }
    let failures = |arm: fn(&Pair) -> &Block| pairs.iter().map(|p| arm(p).failed).sum::<u64>();
    let failed = (failures(|p| &p.baseline), failures(|p| &p.candidate));
    if failed != (0, 0) {
        doubts.push(format!(
            "requests failed and are not in the response times: {} in {}, {} in {}",
            failed.0, design.baseline, failed.1, design.candidate
        ));
    }
    for q in quantiles.iter().filter(|q| q.operation == "all") {
        if let Some(p) = trend(&q.differences_ns).filter(|p| *p < 0.05) {
            doubts.push(format!(
                "the {} difference drifts over the pairs (Kendall, p = {p:.3}): warm-up, or a neighbour",
                percentile_name(q.quantile)
            ));
        }
    }
    doubts
}

fn percentile_name(quantile: f64) -> String {
    format!("p{}", (quantile * 1e5).round() / 1e3)
}

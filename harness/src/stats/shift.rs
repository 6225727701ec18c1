//! How does the difference between two arms change from the fastest requests to the slowest?

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::histogram::MIN_SAMPLES_ABOVE;
use crate::record::ShiftPoint;

/// Deciles, then the tail.
pub const SHIFT_QUANTILES: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999];

/// Resamples of the bootstrap: enough for a band that is drawn and never judged by.
const RESAMPLES: usize = 1_000;

/// The shift function of `(baseline, candidate)` blocks: the difference of each quantile of all blocks merged, with
/// a 95 % bootstrap band over whole pairs. Nanoseconds. Quantiles with fewer than ten samples expected above them
/// are left out. The same seed gives the same band.
pub fn shift_function(pairs: &[(&Histogram<u64>, &Histogram<u64>)], seed: u64) -> Vec<ShiftPoint> {
    let arms = [Arm::of(pairs.iter().map(|p| p.0)), Arm::of(pairs.iter().map(|p| p.1))];
    let smallest = arms.iter().map(|a| a.totals.iter().sum::<u64>()).min().unwrap_or(0);
    let quantiles: Vec<f64> =
        SHIFT_QUANTILES.into_iter().filter(|q| smallest as f64 * (1.0 - q) >= MIN_SAMPLES_ABOVE - 1e-6).collect();
    if quantiles.is_empty() {
        return Vec::new();
    }
    let difference = |weights: &[u64]| -> Vec<f64> {
        let [base, cand] = [arms[0].quantiles(weights, &quantiles), arms[1].quantiles(weights, &quantiles)];
        cand.iter().zip(&base).map(|(c, b)| *c as f64 - *b as f64).collect()
    };
    let estimates = difference(&vec![1; pairs.len()]);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut resampled: Vec<Vec<f64>> = vec![Vec::with_capacity(RESAMPLES); quantiles.len()];
    let mut weights = vec![0u64; pairs.len()];
    for _ in 0..RESAMPLES {
        weights.fill(0);
        for _ in 0..pairs.len() {
            weights[random.random_range(0..pairs.len())] += 1;
        }
        for (column, value) in resampled.iter_mut().zip(difference(&weights)) {
            column.push(value);
        }
    }
    let point = |((quantile, difference_ns), mut column): ((f64, f64), Vec<f64>)| {
        column.sort_by(f64::total_cmp);
        let at = |share: f64| column[((share * RESAMPLES as f64) as usize).min(RESAMPLES - 1)];
        ShiftPoint { quantile, difference_ns, low_ns: at(0.025), high_ns: at(0.975) }
    };
    quantiles.into_iter().zip(estimates).zip(resampled).map(point).collect()
}

/// The blocks of one arm over the values that occur in any of them, so that a weighted merge is one pass.
struct Arm {
    /// Every value that occurs, ascending, with its count in each block.
    bins: Vec<(u64, Vec<u64>)>,
    /// Samples of each block.
    totals: Vec<u64>,
}

impl Arm {
    fn of<'a>(blocks: impl Iterator<Item = &'a Histogram<u64>>) -> Arm {
        let blocks: Vec<_> = blocks.collect();
        let mut bins: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (index, block) in blocks.iter().enumerate() {
            for value in block.iter_recorded() {
                bins.entry(value.value_iterated_to()).or_insert_with(|| vec![0; blocks.len()])[index] +=
                    value.count_at_value();
            }
        }
        Arm { bins: bins.into_iter().collect(), totals: blocks.iter().map(|b| b.len()).collect() }
    }

    /// The ascending quantiles of the blocks merged, each taken as often as its weight says.
    fn quantiles(&self, weights: &[u64], quantiles: &[f64]) -> Vec<u64> {
        let weighted = |counts: &[u64]| counts.iter().zip(weights).map(|(c, w)| c * w).sum::<u64>();
        let total = weighted(&self.totals);
        let mut wanted = quantiles.iter().map(|q| ((q * total as f64).ceil() as u64).max(1)).peekable();
        let mut found = Vec::with_capacity(quantiles.len());
        let mut seen = 0;
        for (value, counts) in &self.bins {
            seen += weighted(counts);
            while wanted.next_if(|rank| *rank <= seen).is_some() {
                found.push(*value);
            }
        }
        // A resample may draw empty blocks only: its quantiles stand at the last value, or at nothing.
        found.resize(quantiles.len(), self.bins.last().map_or(0, |b| b.0));
        found
    }
}

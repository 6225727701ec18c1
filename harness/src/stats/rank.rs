//! How large is a paired difference, and between which bounds does it lie? Rank statistics, exact for any n.
//!
//! Hodges and Lehmann (1963), Tukey (1949) for the Walsh averages; Wilcoxon (1945) for the signed ranks.

/// An interval with the coverage that it really has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Exact coverage for continuous symmetric differences, 0 to 1.
    pub confidence: f64,
}

impl Interval {
    /// Whether a value lies in it, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Above this many pairs the distribution of the signed ranks is taken as normal.
const EXACT_PAIRS: usize = 200;

/// The median; of an even number the mean of the middle two. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = finite_sorted(values);
    let n = sorted.len();
    match n {
        0 => None,
        n if n % 2 == 1 => Some(sorted[n / 2]),
        _ => Some((sorted[n / 2 - 1] + sorted[n / 2]) / 2.0),
    }
}

/// The Hodges-Lehmann estimate of the centre of the differences: the median of all Walsh averages
/// (the means of every two differences, each with itself included). `None` of nothing; values that are
/// not finite are left out.
pub fn hodges_lehmann(differences: &[f64]) -> Option<f64> {
    let sorted = finite_sorted(differences);
    let walsh = walsh_count(sorted.len());
    match walsh {
        0 => None,
        m if m % 2 == 1 => Some(walsh_select(&sorted, m / 2 + 1)),
        m => Some((walsh_select(&sorted, m / 2) + walsh_select(&sorted, m / 2 + 1)) / 2.0),
    }
}

/// The narrowest interval of Walsh averages that covers the centre of the differences with at least the
/// wanted confidence. Where so few pairs cannot give it, the widest there is, with the confidence that it has
/// (5 pairs reach 0.9375, 6 reach 0.96875). Nothing gives an infinite interval of confidence 0. Ties need no
/// correction, since order statistics of the Walsh averages are taken; they make it conservative.
pub fn wilcoxon_interval(differences: &[f64], at_least: f64) -> Interval {
    let sorted = finite_sorted(differences);
    let n = sorted.len();
    if n == 0 {
        return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY, confidence: 0.0 };
    }
    let walsh = walsh_count(n);
    let tail = (1.0 - at_least) / 2.0;
    let (cut, below) = if n <= EXACT_PAIRS { exact_cut(n, tail) } else { normal_cut(n, tail) };
    Interval {
        low: walsh_select(&sorted, cut + 1),
        high: walsh_select(&sorted, walsh - cut),
        confidence: (1.0 - 2.0 * below).max(0.0),
    }
}

/// The Hodges-Lehmann estimate and the interval of the ratio `candidate / baseline` of each pair, worked out on
/// logarithms. `None` unless there is a pair and all values are above zero.
pub fn ratio(pairs: &[(f64, f64)], at_least: f64) -> Option<(f64, Interval)> {
    let logs: Option<Vec<f64>> =
        pairs.iter().map(|(b, c)| (*b > 0.0 && *c > 0.0).then(|| (c / b).ln()).filter(|l| l.is_finite())).collect();
    let logs = logs?;
    let estimate = hodges_lehmann(&logs)?.exp();
    let interval = wilcoxon_interval(&logs, at_least);
    Some((estimate, Interval { low: interval.low.exp(), high: interval.high.exp(), ..interval }))
}

/// The two-sided p value of Kendall's test of `values` against their order: small where they drift. Exact for
/// distinct values up to 100 of them; `None` for fewer than 5 or more than 100.
pub fn trend(values: &[f64]) -> Option<f64> {
    let n = values.len();
    if !(5..=100).contains(&n) {
        return None;
    }
    let mut score = 0i64;
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            score += i64::from(b > a) - i64::from(b < a);
        }
    }
    // Probability of each number of inversions of a random order: a product of uniform distributions.
    let most = n * (n - 1) / 2;
    let mut chance = vec![0.0f64; most + 1];
    chance[0] = 1.0;
    for size in 2..=n {
        let mut next = vec![0.0; most + 1];
        for (inversions, p) in chance.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            for extra in 0..size {
                next[inversions + extra] += p / size as f64;
            }
        }
        chance = next;
    }
    let least = (most as i64 - score.abs()) / 2;
    let tail: f64 = chance.iter().take(least.max(0) as usize + 1).sum();
    Some((2.0 * tail).min(1.0))
}

fn finite_sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn walsh_count(n: usize) -> usize {
    n * (n + 1) / 2
}

/// How many Walsh averages of sorted values are at most `bound`, in one pass.
fn walsh_at_most(sorted: &[f64], bound: f64) -> usize {
    let mut count = 0;
    let mut end = sorted.len();
    for (i, a) in sorted.iter().enumerate() {
        while end > i && f64::midpoint(*a, sorted[end - 1]) > bound {
            end -= 1;
        }
        if end <= i {
            break;
        }
        count += end - i;
    }
    count
}

/// The k-th smallest Walsh average, counted from 1: bisection over the ordered bit patterns of floating-point
/// numbers, exact in at most 64 passes, without building the n * n averages.
fn walsh_select(sorted: &[f64], k: usize) -> f64 {
    let (mut low, mut high) = (order(sorted[0]), order(sorted[sorted.len() - 1]));
    while low < high {
        let middle = low + (high - low) / 2;
        if walsh_at_most(sorted, unorder(middle)) >= k {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    // Minus zero sorts below zero by its bits; nobody wants to read it.
    unorder(low) + 0.0
}

/// A number that sorts as the floating-point number does.
fn order(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn unorder(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 { key & !(1 << 63) } else { !key })
}

/// The largest `cut` with `P(T <= cut) <= tail` for the signed-rank statistic `T` of n pairs, and that
/// probability; `cut` 0 with its own probability where even that is too likely.
fn exact_cut(n: usize, tail: f64) -> (usize, f64) {
    let most = walsh_count(n);
    let mut chance = vec![0.0f64; most + 1];
    chance[0] = 1.0;
    let mut reach = 0;
    for rank in 1..=n {
        reach += rank;
        for sum in (0..=reach).rev() {
            let with = if sum >= rank { chance[sum - rank] } else { 0.0 };
            chance[sum] = (chance[sum] + with) / 2.0;
        }
    }
    let mut cut = 0;
    let mut below = chance[0];
    while cut < most / 2 && below + chance[cut + 1] <= tail {
        cut += 1;
        below += chance[cut];
    }
    (cut, below)
}

fn normal_cut(n: usize, tail: f64) -> (usize, f64) {
    let n = n as f64;
    let mean = n * (n + 1.0) / 4.0;
    let deviation = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
    let cut = (mean - super::power::normal_quantile(1.0 - tail) * deviation - 0.5).floor().max(0.0);
    (cut as usize, tail)
}

//! Do the statistics agree with hand calculation, with published tables and with the laws they must obey?

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_pcg::Pcg64Mcg;

use super::power::{normal_quantile, student_quantile};
use super::*;
use crate::record::{Answer, ComparisonRecord};

fn histogram(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    values.into_iter().for_each(|v| h.saturating_record(v));
    h
}

#[track_caller]
fn close(seen: f64, expected: f64, tolerance: f64) {
    assert!((seen - expected).abs() <= tolerance, "expected {expected} within {tolerance}, saw {seen}");
}

/// Every Walsh average, the slow and obvious way.
fn walsh(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut all = Vec::new();
    for (i, a) in sorted.iter().enumerate() {
        all.extend(sorted[i..].iter().map(|b| f64::midpoint(*a, *b)));
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Depression scale factor under a tranquilizer, from Hollander and Wolfe, table 3.1: estimate and interval are theirs.
#[test]
fn the_textbook_example_comes_out_as_in_the_textbook() {
    // In thousandths, as integers.
    let before = [1830, 500, 1620, 2480, 1680, 1880, 1550, 3060, 1300];
    let after = [878, 647, 598, 2050, 1060, 1290, 1060, 3140, 1290];
    let differences: Vec<f64> = before.iter().zip(after).map(|(b, a)| f64::from(a - b) / 1e3).collect();
    close(hodges_lehmann(&differences).unwrap(), -0.46, 1e-9);
    let interval = wilcoxon_interval(&differences, 0.95);
    close(interval.low, -0.786, 1e-9);
    close(interval.high, -0.010, 1e-9);
    close(interval.confidence, 1.0 - 2.0 * 10.0 / 512.0, 1e-12);
}

#[test]
fn coverage_is_that_of_the_signed_rank_tables() {
    // Largest cut with at most 2.5 % at or below it, and how many of the 2^n sign patterns lie there.
    for (n, cut, patterns) in [(6, 0, 1.0), (7, 2, 3.0), (8, 3, 5.0), (9, 5, 10.0), (10, 8, 25.0), (12, 13, 87.0)] {
        let values: Vec<f64> = (0..n).map(|i| f64::from(i * i)).collect();
        let interval = wilcoxon_interval(&values, 0.95);
        close(interval.confidence, 1.0 - 2.0 * patterns / 2f64.powi(n), 1e-12);
        assert_eq!(interval.low, walsh(&values)[cut], "n = {n}");
    }
    let twenty: Vec<f64> = (0..20).map(f64::from).collect();
    let interval = wilcoxon_interval(&twenty, 0.95);
    assert_eq!(interval.low, walsh(&twenty)[52]);
}

#[test]
fn too_few_pairs_say_how_sure_they_are() {
    for (n, confidence) in [(1, 0.0), (2, 0.5), (4, 0.875), (5, 0.9375)] {
        let values: Vec<f64> = (1..=n).map(f64::from).collect();
        let interval = wilcoxon_interval(&values, 0.95);
        assert_eq!((interval.low, interval.high), (1.0, f64::from(n)));
        close(interval.confidence, confidence, 1e-12);
    }
    assert_eq!(hodges_lehmann(&[]), None);
    assert_eq!(wilcoxon_interval(&[], 0.95).confidence, 0.0);
}

#[test]
fn many_differences_take_neither_memory_nor_time() {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let values: Vec<f64> = (0..50_000).map(|_| random.random_range(-1.0..1.0) + 0.25).collect();
    close(hodges_lehmann(&values).unwrap(), 0.25, 0.02);
    let interval = wilcoxon_interval(&values, 0.95);
    assert!(interval.contains(0.25) && interval.high - interval.low < 0.05, "{interval:?}");
}

#[test]
fn quantiles_of_student_and_gauss_are_those_of_the_tables() {
    for (p, freedom, expected) in [
        (0.975, 1, 12.7062),
        (0.975, 5, 2.5706),
        (0.975, 11, 2.2010),
        (0.8, 5, 0.9195),
        (0.8, 11, 0.8755),
        (0.975, 30, 2.0423),
        (0.985, 5, 3.0029),
    ] {
        close(student_quantile(p, freedom), expected, 0.002 * expected);
    }
    close(normal_quantile(0.975), 1.959_964, 1e-4);
    close(normal_quantile(0.8), 0.841_621, 1e-4);
}

/// The promise of the detectable effect, kept in simulation: a true difference of that size is found about four times in five.
#[test]
fn a_difference_of_the_detectable_size_is_detected_four_times_in_five() {
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut gauss = move || (0..12).map(|_| random.random_range(0.0..1.0f64)).sum::<f64>() - 6.0;
    for pairs in [6usize, 8, 12] {
        let confidence = wilcoxon_interval(&vec![1.0; pairs], 0.95).confidence;
        // With the deviation known to be 1, what the design can detect is the factor alone.
        let unit: Vec<f64> = (0..pairs).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let effect = detectable(&unit, confidence).unwrap() / (pairs as f64 / (pairs - 1) as f64).sqrt();
        let found = (0..2_000)
            .filter(|_| {
                let differences: Vec<f64> = (0..pairs).map(|_| effect + gauss()).collect();
                !wilcoxon_interval(&differences, 0.95).contains(0.0)
            })
            .count();
        let power = found as f64 / 2_000.0;
        assert!((0.72..0.90).contains(&power), "{pairs} pairs: power {power}");
    }
}

#[test]
fn the_interval_covers_as_often_as_it_claims() {
    let mut random = Pcg64Mcg::seed_from_u64(3);
    for pairs in [6usize, 12] {
        let mut covered = 0;
        let mut claimed = 0.0;
        for _ in 0..4_000 {
            let d: Vec<f64> = (0..pairs).map(|_| random.random_range(-1.0..1.0f64).powi(3)).collect();
            let interval = wilcoxon_interval(&d, 0.95);
            claimed = interval.confidence;
            covered += usize::from(interval.contains(0.0));
        }
        close(covered as f64 / 4_000.0, claimed, 0.012);
    }
}

#[test]
fn the_three_answers_follow_interval_and_margin() {
    let interval = |low, high, confidence| Interval { low, high, confidence };
    let table = [
        (80.0, interval(60.0, 100.0, 0.96), Answer::Different),
        (30.0, interval(20.0, 40.0, 0.96), Answer::Equivalent),
        (0.0, interval(-10.0, 10.0, 0.96), Answer::Equivalent),
        (45.0, interval(30.0, 60.0, 0.96), Answer::Inconclusive),
        (80.0, interval(-1.0, 160.0, 0.96), Answer::Inconclusive),
        (80.0, interval(60.0, 100.0, 0.9375), Answer::Inconclusive),
        (-80.0, interval(-100.0, -60.0, 0.96), Answer::Different),
    ];
    for (estimate, interval, expected) in table {
        assert_eq!(answer(estimate, &interval, 50.0), expected, "{estimate} {interval:?}");
    }
    assert_eq!(margin_ns(100_000.0), 50_000.0);
    assert_eq!(margin_ns(10_000_000.0), 500_000.0);
}

#[test]
fn pairs_needed_grow_with_the_noise() {
    let quiet = pairs_needed(&[10.0, -10.0, 12.0, -12.0, 9.0, -9.0], 0.0, 10.0).unwrap();
    let loud = pairs_needed(&[40.0, -40.0, 48.0, -48.0, 36.0, -36.0], 0.0, 10.0).unwrap();
    assert!(quiet > 6 && loud > 10 * quiet, "{quiet} {loud}");
    assert_eq!(pairs_needed(&[1.0, 2.0], 10.0, 10.0), None, "on the margin itself no number decides");
    assert_eq!(pairs_needed(&[1.0], 1.0, 10.0), None);
}

#[test]
fn a_quantile_without_ten_samples_above_it_is_not_printed() {
    assert!(printable(1_000, 0.99) && !printable(999, 0.99));
    assert!(printable(10_000, 0.999) && !printable(9_999, 0.999));
    assert!(printable(20, 0.5) && !printable(19, 0.5));
}

#[test]
fn unfinished_requests_censor_only_what_they_could_move() {
    let flat = histogram((0..1_000).map(|_| 1_000_000));
    assert_eq!(censored_from(&flat, 0), None);
    assert_eq!(censored_from(&flat, 5), Some(99.9), "five of 1,005 lie above p99.5");
    let steep = histogram((1..=1_000).map(|i| i * 1_000_000));
    assert_eq!(censored_from(&steep, 20), Some(50.0), "they shift every rank by two per cent");
    assert_eq!(censored_from(&histogram([]), 1), Some(50.0));
}

#[test]
fn a_histogram_survives_its_record() {
    let h = histogram((1..=20_000).map(|i| i * 997));
    let record = summarise(&h, 3);
    assert_eq!((record.n, record.clipped, record.p999_ns.is_some()), (20_000, 3, true));
    let back = decode(&record).unwrap();
    assert_eq!(back.len(), h.len());
    for q in [0.0, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
        assert_eq!(back.value_at_quantile(q), h.value_at_quantile(q));
    }
    assert_eq!(decode(&summarise(&histogram([]), 0)).unwrap().len(), 0);
}

#[test]
fn a_broken_histogram_is_an_error_and_no_panic() {
    let good = summarise(&histogram([5, 6]), 0);
    let with = |text: &str| crate::record::HistogramRecord { hdr_base64: text.to_owned(), ..good.clone() };
    for (text, says) in [("not base64!", "base64"), ("aGVsbG8=", "V2"), ("", "V2")] {
        let error = decode(&with(text)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let mut lying = good.clone();
    lying.n = 3;
    assert!(decode(&lying).unwrap_err().to_string().contains("n = 3"));
}

#[test]
fn drift_is_told_from_noise() {
    close(trend(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap(), 2.0 / 720.0, 1e-12);
    close(trend(&[1.0, 2.0, 3.0, 4.0, 6.0, 5.0]).unwrap(), 2.0 * 6.0 / 720.0, 1e-12);
    assert!(trend(&[3.0, 1.0, 4.0, 1.5, 5.0, 2.0]).unwrap() > 0.2);
    assert_eq!(trend(&[1.0, 2.0]), None);
}

fn block(shift_ns: u64, seed: u64, n: usize) -> Block {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut draw = |n: usize| histogram((0..n).map(|_| 200_000 + shift_ns + random.random_range(0..80_000u64)));
    let responses = BTreeMap::from([("access".to_owned(), draw(n)), ("issue".to_owned(), draw(n / 100))]);
    Block { responses, failed: 0, lag_p50_ns: 1_000 }
}

fn design(pairs_dropped: usize) -> Design {
    Design {
        baseline: "bare".into(),
        candidate: "nginx".into(),
        effort: "quick".into(),
        block_s: 2.0,
        rate_per_s: 1_000.0,
        knee_per_s: None,
        gates: vec![0.5, 0.99],
        dropped: vec!["steal over 1 %".to_owned(); pairs_dropped],
        seed: 42,
    }
}

fn pairs(shift_ns: u64) -> Vec<Pair> {
    (0..6).map(|i| Pair { baseline: block(0, i, 2_000), candidate: block(shift_ns, 100 + i, 2_000) }).collect()
}

#[test]
fn an_injected_delay_is_found_and_none_is_equivalent() {
    let slower = compare(&design(0), &pairs(120_000), &[(1000.0, 700.0); 6], Vec::new()).unwrap();
    let p50 = slower.quantiles.iter().find(|q| q.operation == "all" && q.quantile == 0.5).unwrap();
    assert_eq!((p50.answer, p50.gating, p50.pairs), (Answer::Different, false, 6));
    let gates: Vec<_> =
        slower.quantiles.iter().filter(|q| q.gating).map(|q| (q.operation.as_str(), q.quantile)).collect();
    assert_eq!(gates, [("access", 0.5), ("access", 0.99)], "what the mix sends most gates");
    close(p50.difference_ns, 120_000.0, 3_000.0);
    close(p50.ratio, 1.5, 0.03);
    assert!(p50.low_ns <= 120_000.0 && 120_000.0 <= p50.high_ns);
    assert_eq!(slower.throughput.as_ref().unwrap().answer, Answer::Different);
    assert!(slower.void.is_empty(), "{:?}", slower.void);
    let median = slower.shift.iter().find(|p| p.quantile == 0.5).unwrap();
    assert!(median.low_ns <= median.difference_ns && median.difference_ns <= median.high_ns);

    let same = compare(&design(0), &pairs(0), &[], Vec::new()).unwrap();
    assert!(same.quantiles.iter().filter(|q| q.operation == "all").all(|q| q.answer == Answer::Equivalent));
    assert!(same.throughput.is_none());
}

#[test]
fn rare_operations_are_refused_rather_than_guessed() {
    let record = compare(&design(0), &pairs(0), &[], Vec::new()).unwrap();
    let has = |op: &str, q: f64| record.quantiles.iter().any(|r| r.operation == op && r.quantile == q);
    assert!(has("access", 0.99) && has("issue", 0.5) && !has("issue", 0.9), "20 issues a block carry a median only");
    assert!(record.doubts.iter().any(|d| d.contains("issue p90")), "{:?}", record.doubts);
}

#[test]
fn a_failed_control_voids_the_comparison() {
    let bad = control("A/A", 0.0, &[40_000.0, 42_000.0, 41_000.0, 44_000.0], 5_000.0);
    assert!(!bad.holds);
    let good = control("A/A+delta", 100_000.0, &[98_000.0, 101_000.0, 103_000.0, 99_000.0], 0.0);
    assert!(good.holds);
    let record = compare(&design(0), &pairs(0), &[], vec![bad, good]).unwrap();
    assert!(record.void.len() == 1 && record.void[0].contains("A/A control"), "{:?}", record.void);
    assert!(!control("A/A", 0.0, &[], 1.0).holds, "a control without pairs proves nothing");
}

#[test]
fn too_many_dropped_pairs_or_none_left_void_the_comparison() {
    assert!(compare(&design(2), &pairs(0), &[], Vec::new()).unwrap().void[0].contains("dropped"));
    let none = compare(&design(0), &[], &[], Vec::new()).unwrap();
    assert_eq!(none.void, ["no pair was left to compare"]);
    assert!(none.quantiles.is_empty() && none.shift.is_empty());
    serde_json::to_string(&none).unwrap();
}

#[test]
fn failures_or_no_rate_at_all_void_the_comparison() {
    let mut failing = pairs(0);
    failing.iter_mut().for_each(|p| p.candidate.failed = 800);
    let void = compare(&design(0), &failing, &[], Vec::new()).unwrap().void;
    assert!(void.len() == 1 && void[0].contains("28.4 % of the requests failed in nginx"), "{void:?}");
    failing.iter_mut().for_each(|p| p.candidate.failed = 10);
    assert!(compare(&design(0), &failing, &[], Vec::new()).unwrap().void.is_empty(), "a few are a doubt");
    let still = Design { rate_per_s: 0.0, ..design(0) };
    assert!(compare(&still, &pairs(0), &[], Vec::new()).unwrap().void[0].contains("no rate"));
}

#[test]
fn lag_that_differs_between_the_arms_voids_what_it_could_explain() {
    let mut uneven = pairs(120_000);
    uneven.iter_mut().for_each(|p| p.candidate.lag_p50_ns = 30_000);
    assert!(compare(&design(0), &uneven, &[], Vec::new()).unwrap().void[0].contains("lag"));
}

/// Pairs in which `access` and, less often, `issue` differ: a median of `access` that is 120 us later, and its slowest
/// twentieth and `issue` by so much.
fn pairs_with_lag(slowest_ns: u64, issue_ns: u64, lag_ns: u64) -> Vec<Pair> {
    let block = |p50: u64, slowest: u64, issue: u64, lag_p50_ns: u64| {
        let access = (0..2_000).map(|n| if n % 20 == 0 { 1_000_000 + slowest } else { 200_000 + p50 + n });
        let responses = BTreeMap::from([
            ("access".to_owned(), histogram(access)),
            ("issue".to_owned(), histogram((0..500).map(|n| 200_000 + issue + n))),
        ]);
        Block { responses, failed: 0, lag_p50_ns }
    };
    let pair =
        || Pair { baseline: block(0, 0, 0, 1_000), candidate: block(120_000, slowest_ns, issue_ns, 1_000 + lag_ns) };
    std::iter::repeat_with(pair).take(6).collect()
}

#[test]
fn lag_voids_what_a_gate_claims_and_leaves_open_what_stands_beside_it() {
    let answers = |record: &ComparisonRecord, operation: &str| -> Vec<Answer> {
        record.quantiles.iter().filter(|q| q.operation == operation).map(|q| q.answer).collect()
    };
    // 8 us of lag are nothing beside 120 us, and too much beside 60 us.
    let beside = compare(&design(0), &pairs_with_lag(120_000, 60_000, 8_000), &[], Vec::new()).unwrap();
    assert!(beside.void.is_empty(), "{:?}", beside.void);
    assert_eq!(answers(&beside, "issue"), [Answer::Inconclusive; 2]);
    assert_eq!(answers(&beside, "access"), [Answer::Different; 3]);
    assert!(
        beside.doubts.iter().any(|d| d.contains("8 us") && d.contains("issue p50, issue p90")),
        "{:?}",
        beside.doubts
    );
    let gate = compare(&design(0), &pairs_with_lag(60_000, 120_000, 8_000), &[], Vec::new()).unwrap();
    assert!(gate.void.len() == 1 && gate.void[0].contains("the 60 us of access p99 claimed"), "{:?}", gate.void);
    let even = compare(&design(0), &pairs_with_lag(60_000, 60_000, 0), &[], Vec::new()).unwrap();
    assert!(even.void.is_empty() && answers(&even, "issue") == [Answer::Different; 2], "{even:?}");
}

#[test]
fn the_same_seed_draws_the_same_band() {
    let band = |seed| {
        let p = pairs(10_000);
        let p: Vec<_> = p.iter().map(|p| (&p.baseline.responses["access"], &p.candidate.responses["access"])).collect();
        serde_json::to_string(&shift_function(&p, seed)).unwrap()
    };
    assert_eq!(band(5), band(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn estimate_and_interval_equal_the_slow_way(values in prop::collection::vec(-1e6..1e6f64, 1..25)) {
        let all = walsh(&values);
        let m = all.len();
        let middle = if m % 2 == 1 { all[m / 2] } else { (all[m / 2 - 1] + all[m / 2]) / 2.0 };
        prop_assert_eq!(hodges_lehmann(&values), Some(middle));
        let interval = wilcoxon_interval(&values, 0.95);
        prop_assert!(all.contains(&interval.low) && all.contains(&interval.high) && interval.contains(middle));
    }

    #[test]
    fn a_constant_shift_moves_estimate_and_interval_by_itself(
        values in prop::collection::vec(-1_000i32..1_000, 1..20), shift in -10_000i32..10_000,
    ) {
        let plain: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let moved: Vec<f64> = plain.iter().map(|v| v + f64::from(shift)).collect();
        prop_assert_eq!(hodges_lehmann(&moved), hodges_lehmann(&plain).map(|e| e + f64::from(shift)));
        let (a, b) = (wilcoxon_interval(&plain, 0.95), wilcoxon_interval(&moved, 0.95));
        prop_assert_eq!((a.low + f64::from(shift), a.high + f64::from(shift)), (b.low, b.high));
    }

    #[test]
    fn exchanging_the_arms_turns_the_sign(values in prop::collection::vec(-1_000i32..1_000, 1..20)) {
        let plain: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let turned: Vec<f64> = plain.iter().map(|v| -v).collect();
        prop_assert_eq!(hodges_lehmann(&turned), hodges_lehmann(&plain).map(|e| 0.0 - e));
        let (a, b) = (wilcoxon_interval(&plain, 0.95), wilcoxon_interval(&turned, 0.95));
        prop_assert_eq!((a.low, a.high, a.confidence), (-b.high, -b.low, b.confidence));
    }

    #[test]
    fn merging_is_exact_in_any_order_and_grouping(
        a in prop::collection::vec(1u64..10_000_000_000, 0..200),
        b in prop::collection::vec(1u64..10_000_000_000, 0..200),
        c in prop::collection::vec(1u64..10_000_000_000, 0..200),
    ) {
        let (ha, hb, hc) = (histogram(a.clone()), histogram(b.clone()), histogram(c.clone()));
        let whole = histogram(a.into_iter().chain(b).chain(c));
        let bins = |h: &Histogram<u64>| -> Vec<(u64, u64)> {
            h.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
        };
        let left = merge([&merge([&ha, &hb]).unwrap(), &hc]).unwrap();
        let right = merge([&hc, &merge([&hb, &ha]).unwrap()]).unwrap();
        prop_assert_eq!(bins(&left), bins(&whole));
        prop_assert_eq!(bins(&right), bins(&whole));
        prop_assert_eq!(bins(&decode(&summarise(&whole, 0)).unwrap()), bins(&whole));
    }

    #[test]
    fn garbage_never_panics_the_decoder(text in "[A-Za-z0-9+/=]{0,200}", n in 0u64..10) {
        let record = crate::record::HistogramRecord { n, hdr_base64: text, ..Default::default() };
        let _ = decode(&record);
    }
}

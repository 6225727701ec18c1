//! The rule by itself: what is held, missed and open.

use super::*;

const MS: u64 = 1_000_000;

fn milliseconds(values: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).unwrap();
    values.into_iter().for_each(|ms| histogram.record(ms * MS).unwrap());
    histogram
}

fn evidence(ended: Histogram<u64>, unended: Histogram<u64>) -> Evidence {
    let counts = Accounting {
        planned: ended.len() + unended.len(),
        completed: ended.len(),
        timed_out: unended.len(),
        ..Accounting::default()
    };
    let ahead = Accounting::default();
    Evidence { counts, ahead, seconds: 10.0, running: false, times: Some(Times { ended, unended }) }
}

#[track_caller]
fn check(evidence: &Evidence, expression: &str, expected: &str) {
    let threshold: Threshold = expression.parse().unwrap();
    let seen = match evidence.weigh(&threshold) {
        Judgement::Held(seen) => format!("held at {}", seen.text(threshold.metric)),
        Judgement::Missed(seen) => format!("missed at {}", seen.text(threshold.metric)),
        Judgement::Open(Some(seen), why) => format!("open at {}: {why}", seen.text(threshold.metric)),
        Judgement::Open(None, why) => format!("open: {why}"),
    };
    assert!(seen.starts_with(expected), "`{expression}`: {seen}");
}

/// 1 to 1000 ms, and so many that timed out after 10 s.
fn with_timeouts(n: usize) -> Evidence {
    evidence(milliseconds(1..=1000), milliseconds(std::iter::repeat_n(10_000, n)))
}

#[test]
fn a_percentile_without_unended_requests_is_what_it_is() {
    let all = with_timeouts(0);
    check(&all, "response.p90 < 1s", "held at 900");
    check(&all, "response.p90 < 900ms", "missed at 900");
    check(&all, "response.max < 2s", "held at 1.00");
    check(&all, "response.min >= 900us", "held at");
    check(&all, "response.mean < 1s", "held at 50");
}

#[test]
fn unended_requests_count_as_slower_than_all_others() {
    check(&with_timeouts(50), "response.p90 < 950ms", "held at 94");
    check(&with_timeouts(50), "response.p90 < 940ms", "missed at 94");
}

#[test]
fn a_percentile_among_the_timed_out_is_missed_where_the_limit_is_below_the_timeout_and_open_above() {
    let many = with_timeouts(200);
    check(&many, "response.p90 < 2s", "missed at >= 10");
    check(&many, "response.p90 <= 9.9s", "missed at >= 10");
    check(&many, "response.p90 < 30s", "open at >= 10");
    check(&many, "response.p90 > 2s", "held at >= 10");
    check(&many, "response.max < 2s", "missed at >= 10");
    check(&many, "response.max < 1m", "open at >= 10");
    check(&many, "response.mean < 1s", "missed at >= 2.08 s");
    check(&many, "response.mean < 3s", "open at >= 2.08 s");
    check(&many, "response.p50 < 2s", "held at 60");
}

#[test]
fn nothing_but_timeouts_is_a_miss_and_not_a_lack_of_samples() {
    let none = evidence(milliseconds([]), milliseconds([10_000; 50]));
    check(&none, "response.p50 < 20ms", "missed at >= 10");
    check(&none, "response.p99 < 20ms", "missed at >= 10");
    check(&none, "response.p99 < 30s", "open: 50 samples are too few for p99");
    check(&evidence(milliseconds([]), milliseconds([])), "response.p50 < 1ms", "open: there is no such sample");
}

#[test]
fn few_samples_decide_only_what_they_can() {
    let few = evidence(milliseconds(1..=500), milliseconds([]));
    check(&few, "response.p99 < 20ms", "missed at >= 49");
    check(&few, "response.p99 < 1s", "open: 500 samples are too few for p99: at least 10 are expected above it");
    assert_eq!(Why::TooFew { n: 500, quantile: 0.99 }.wants().map(f64::round), Some(2.0));
    assert_eq!(Why::Unended { unended: 1, n: 1 }.wants(), None);
}

fn counts() -> Evidence {
    let counts = Accounting {
        planned: 115,
        completed: 90,
        failed: 6,
        timed_out: 4,
        skipped: 5,
        in_flight: 7,
        unsent: 3,
        by_us: 0,
    };
    Evidence { counts, ahead: Accounting::default(), seconds: 2.0, running: false, times: None }
}

#[test]
fn shares_counts_and_rates_are_spans_too_where_something_is_open() {
    let all = counts();
    // 10 of 110 have failed, and 10 more may.
    check(&all, "failed.ratio < 20%", "held at");
    check(&all, "failed.ratio < 9%", "missed at");
    check(&all, "failed.ratio < 15%", "open at 9.0909% to 18.1818%: it hangs on the 10 requests that did not end");
    check(&all, "timed-out.count <= 14", "held at 4 to 14");
    check(&all, "timed-out.count <= 4", "open at 4 to 14");
    check(&all, "completed.rate >= 45/s", "held at 45/s");
    check(&all, "completed.count < 91", "held at 90");
    check(&all, "skipped.ratio < 4%", "missed at");
    check(&all, "skipped.count <= 5", "held at 5");
    check(&Evidence { counts: Accounting::default(), ..counts() }, "failed.ratio < 1%", "open: nothing");
    let nothing = Evidence { counts: Accounting::default(), ..counts() };
    check(&nothing, "failed.count < 1", "open: nothing");
    check(&nothing, "timed-out.rate < 1/s", "open: nothing");
    check(&nothing, "completed.count > 0", "missed at 0");
    check(&Evidence { seconds: 0.0, ..counts() }, "completed.rate > 1/s", "open: no time");
}

#[test]
fn a_count_of_a_load_that_runs_can_be_too_high_already_but_not_too_low_yet() {
    let now = Evidence { running: true, ..counts() };
    check(&now, "failed.count <= 9", "missed at >= 10");
    check(&now, "failed.count <= 10", "open at >= 10");
    check(&now, "completed.count > 1000", "open at >= 90");
    check(&now, "completed.rate > 50/s", "missed at 45/s to 50/s");
}

#[test]
fn a_rate_of_a_load_that_runs_is_open_where_what_waits_or_what_is_told_too_early_decides() {
    // 90 in two seconds, 10 of them perhaps behind those; and 10 wait.
    let now =
        Evidence { running: true, ahead: Accounting { completed: 10, failed: 6, ..Accounting::default() }, ..counts() };
    check(&now, "completed.rate > 48/s", "open at 40/s to 50/s");
    check(&now, "completed.rate < 42/s", "open at 40/s to 50/s");
    check(&now, "completed.rate < 40/s", "missed at 40/s to 50/s");
    check(&now, "failed.rate <= 3/s", "open at 2.00/s to 10/s");
    check(&now, "failed.rate < 2/s", "missed at 2.00/s to 10/s");
    // Of a load that has ended it is what it is.
    check(&Evidence { running: false, ..now }, "completed.rate > 48/s", "missed at 45/s");
}

#[test]
fn a_server_that_hangs_is_seen_by_what_waits_for_it() {
    let threshold: Threshold = "response.p99 < 20ms or abort".parse().unwrap();
    let sums = [OperationSamples::new().unwrap()];
    let waiting = [(Nanos(2_000 * MS), 100), (Nanos(1_000 * MS), 100), (Nanos(0), 100)];
    let evidence = Evidence::of_sums(&threshold, sums.iter(), &waiting, Accounting::default(), 3.0).unwrap();
    check(&evidence, "response.p99 < 20ms", "missed at >= 2.00 s");
    check(&evidence, "response.p50 < 20ms", "missed at >= 1.00 s");
    check(&evidence, "response.p90 < 1m", "open at >= 2.00 s");
    // Of the service time it is not known yet.
    let service: Threshold = "service.p50 < 20ms or abort".parse().unwrap();
    let evidence = Evidence::of_sums(&service, sums.iter(), &waiting, Accounting::default(), 3.0).unwrap();
    check(&evidence, "service.p50 < 20ms", "open at >= 0");
}

#[test]
fn a_first_byte_that_came_before_the_timeout_is_a_sample() {
    let unended = milliseconds([10_000; 30]);
    assert_eq!(without_first_byte(&unended, 70, 70).len(), 30);
    let rest = without_first_byte(&unended, 80, 70);
    assert!(rest.len() == 20 && rest.min() >= 9_990 * MS, "{}", rest.min());
    assert_eq!(without_first_byte(&unended, 100, 70).len(), 0);
}

//! Does what loops hand over land in its second and in its windows?

use std::time::Duration;

use super::super::recorder::{Apart, TIMEOUT};
use super::*;

const MS: u64 = 1_000_000;

fn window(from: f64, to: f64) -> Window {
    Window { from: Duration::from_secs_f64(from), to: Some(Duration::from_secs_f64(to)) }
}

fn interval(second: u32, planned: u64, completed: u64, ms: u64) -> IntervalSamples {
    let mut interval = IntervalSamples { second, next: second + 1, ..IntervalSamples::new(1).unwrap() };
    (0..planned).for_each(|_| interval.operations[0].note(What::Planned, 0));
    (0..completed).for_each(|_| interval.operations[0].note(What::Completed, ms * MS));
    interval
}

fn apart(at_ms: u64, what: What, ms: u64) -> Apart {
    Apart { at: Nanos(at_ms * MS), operation: 0, what, ns: ms * MS }
}

fn close(mut timeline: Timeline, recorded_s: f64) -> Vec<SecondRecord> {
    timeline.close(&["get".to_owned()], recorded_s).0
}

#[test]
fn a_request_belongs_to_the_second_in_which_it_was_planned() {
    let mut timeline = Timeline::new(1, 1, &[]).unwrap();
    timeline.add(0, &interval(0, 10, 8, 1)).unwrap();
    // The server freezes for two seconds, and answers all in the last.
    timeline.add(0, &interval(1, 10, 0, 0)).unwrap();
    let mut late = interval(2, 10, 10, 1);
    late.apart.extend((0..2).map(|_| apart(999, What::Completed, 1500)));
    late.apart.extend((0..10).map(|n| apart(1000 + n * 100, What::Completed, 1400 - n * 100)));
    timeline.add(0, &late).unwrap();
    let seconds = close(timeline, 3.0);
    let seen = |f: fn(&SecondRecord) -> u64| seconds.iter().map(f).collect::<Vec<_>>();
    assert_eq!(seen(|s| s.completed), [10, 10, 10]);
    assert_eq!(seen(|s| s.ended.unwrap()), [8, 0, 22], "what the wall's clock saw stands beside it");
    assert!(seconds.iter().all(|s| s.response_p99_ns.is_none()), "ten samples carry no p99");
    let p50: Vec<u64> = seen(|s| s.response_p50_ns.unwrap() / MS);
    assert!(p50[0] <= 2 && (800..=1000).contains(&p50[1]) && p50[2] <= 2, "{p50:?}");
}

#[test]
fn seconds_without_anything_are_written_too() {
    let mut timeline = Timeline::new(1, 1, &[]).unwrap();
    timeline.add(0, &interval(3, 5, 5, 1)).unwrap();
    let seconds = close(timeline, 5.5);
    assert_eq!(seconds.iter().map(|s| s.second).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert_eq!((seconds[0].planned, seconds[0].response_p50_ns, seconds[3].planned), (Some(0), None, Some(5)));
}

#[test]
fn a_window_holds_what_was_planned_in_it_to_the_nanosecond() {
    let windows = [window(1.0, 3.0), window(0.5, 1.5)];
    assert_eq!(cut_seconds(&windows), [0, 1]);
    let mut timeline = Timeline::new(1, 1, &windows).unwrap();
    for second in 0..2 {
        // A cut second comes request by request.
        let mut cut = interval(second, 0, 0, 0);
        for n in 0..10 {
            let at = u64::from(second) * 1000 + n * 100;
            cut.apart.extend([apart(at, What::Planned, 0), apart(at, What::Completed, n + 1)]);
        }
        timeline.add(0, &cut).unwrap();
    }
    timeline.add(0, &interval(2, 10, 10, 1)).unwrap();
    let planned: Vec<u64> = timeline.parts.iter().map(|p| p.sums[0].counts.planned).collect();
    assert_eq!(planned, [30, 20, 10]);
    let half = timeline.part(Some(&windows[1]));
    assert_eq!((half.seconds(10.0), half.seconds(1.25), half.seconds(0.2)), (1.0, 0.75, 0.0));
    // 0.5 to 0.9 s took 6 to 10 ms, 1.0 to 1.4 s 1 to 5 ms.
    let times = &half.sums[0].response.histogram;
    assert!(times.max() / MS == 10 && times.min() > MS * 9 / 10 && times.min() < MS * 2);
}

#[test]
fn a_second_with_a_thousand_samples_carries_a_p99() {
    let mut timeline = Timeline::new(1, 1, &[]).unwrap();
    timeline.add(0, &interval(0, 1000, 1000, 7)).unwrap();
    timeline.add(0, &interval(1, 999, 999, 7)).unwrap();
    let seconds = close(timeline, 2.0);
    assert_eq!(seconds[0].response_p99_ns.map(|ns| ns / MS), Some(7));
    assert_eq!(seconds[1].response_p99_ns, None);
}

#[test]
fn several_loops_make_one_second() {
    let mut timeline = Timeline::new(1, 2, &[]).unwrap();
    timeline.add(0, &interval(0, 5, 5, 1)).unwrap();
    assert_eq!(timeline.passed(), 0);
    timeline.add(1, &interval(0, 7, 7, 3)).unwrap();
    assert_eq!((timeline.passed(), timeline.open.len()), (1, 0));
    // A loop that was held up passes over seconds.
    timeline.add(0, &IntervalSamples { next: 4, ..interval(1, 1, 1, 1) }).unwrap();
    timeline.add(1, &interval(1, 1, 1, 1)).unwrap();
    assert_eq!(timeline.passed(), 2);
    let seconds = close(timeline, 2.0);
    assert_eq!(seconds.iter().map(|s| s.completed).collect::<Vec<_>>(), [12, 2]);
}

#[test]
fn a_second_that_comes_in_pieces_is_one() {
    for loops in [1, 2] {
        let mut timeline = Timeline::new(1, loops, &[]).unwrap();
        timeline.add(0, &IntervalSamples { next: 0, ..interval(0, 5, 5, 1) }).unwrap();
        timeline.add(0, &interval(0, 7, 6, 3)).unwrap();
        (1..loops).for_each(|other| timeline.add(other, &interval(0, 0, 0, 0)).unwrap());
        assert_eq!((timeline.passed(), timeline.waiting(&timeline.parts[0], |_| true)), (1, vec![(Nanos(0), 1)]));
        let seconds = close(timeline, 1.0);
        let seen = (seconds.len(), seconds[0].planned, seconds[0].completed, seconds[0].ended);
        assert_eq!(seen, (1, Some(12), 11, Some(11)));
        assert_eq!(seconds[0].response_p50_ns.map(|ns| ns / MS), Some(3));
    }
}

#[test]
fn what_waits_is_known_with_how_long_at_least() {
    let mut timeline = Timeline::new(1, 1, &[window(1.0, 3.0)]).unwrap();
    timeline.add(0, &interval(0, 10, 4, 1)).unwrap();
    let mut second = interval(1, 10, 0, 1);
    second.operations[0].counts.by_us = 3;
    timeline.add(0, &second).unwrap();
    let mut third = interval(2, 10, 0, 1);
    third.apart.push(apart(100, What::Failed(TIMEOUT), 2000));
    timeline.add(0, &third).unwrap();
    let waiting = |part: &Part| -> Vec<(u64, u64)> {
        timeline.waiting(part, |_| true).iter().map(|(age, n)| (age.0 / SECOND, *n)).collect()
    };
    assert_eq!(waiting(timeline.part(None)), [(2, 5), (1, 7), (0, 10)]);
    assert_eq!(waiting(&timeline.parts[1]), [(1, 7), (0, 10)]);
}

#[test]
fn many_late_samples_are_pressed_and_none_is_lost() {
    let mut pressed = Pressed::default();
    for n in 0..10_000_u64 {
        pressed.add((n + 1) * 1000);
    }
    assert!(pressed.late.len() < LATE && !pressed.hdr.is_empty());
    let whole = pressed.whole().unwrap();
    assert_eq!(whole.histogram.len(), 10_000);
    assert!((whole.histogram.value_at_quantile(0.5) as f64 / 5e6 - 1.0).abs() < 0.01);
}

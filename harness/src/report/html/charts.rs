//! Which pictures does the report draw, and from what?

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::nice;
use crate::record::{Answer, ComparisonRecord, LoadFinding, LoadRecord, QuantileRecord, SecondRecord, WindowRecord};
use crate::report::svg::{Frame, Scale, area, band, dot, drawing, line, segment, span, words_at, x_axis, y_axis};
use crate::report::{Curve, Report, words};
use crate::stats;

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;
/// Values that lie further apart than this factor are drawn on a logarithmic scale.
const LOG_FACTOR: f64 = 12.0;

/// Names with the colour and the dash that their lines have.
pub fn legend<'a>(report: &Report<'_>, names: impl Iterator<Item = &'a str>) -> Markup {
    let mut shown: Vec<&str> = Vec::new();
    names.for_each(|n| {
        if !shown.contains(&n) {
            shown.push(n)
        }
    });
    html! {
        ul class="legend" {
            @for name in shown {
                @let i = report.index(name) % 8;
                li {
                    svg class="key" viewBox="0 0 28 10" aria-hidden="true" { (segment((1.0, 5.0), (27.0, 5.0), &format!("line s{i}"))) }
                    (name)
                }
            }
        }
    }
}

/// A tick of an expiry window: signed, without digits that are not needed.
fn short_seconds(s: f64) -> String {
    let sign = match s {
        s if s.abs() < 1e-9 => return "0".to_owned(),
        s if s < 0.0 => "\u{2212}",
        _ => "+",
    };
    let (value, unit) = if s.abs() < 1.0 { (s.abs() * 1e3, "ms") } else { (s.abs(), "s") };
    let number = format!("{value:.2}");
    format!("{sign}{}\u{202f}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

fn class(index: usize) -> String {
    format!("s{}", index % 8)
}

/// A vertical scale for durations: logarithmic where they span more than an order of magnitude.
fn time_scale(values: impl Iterator<Item = f64> + Clone, page: (f64, f64)) -> Scale {
    let high = values.clone().fold(0.0, f64::max);
    let low = values.fold(f64::INFINITY, f64::min).max(1.0);
    if high > low * LOG_FACTOR { Scale::log((low * 0.9, high * 1.1), page) } else { Scale::nice((0.0, high), page) }
}

fn time_ticks(scale: &Scale) -> Vec<(f64, String)> {
    scale.ticks(5).into_iter().map(|v| (v, short_time(v))).collect()
}

/// A tick's duration: no digits that are not needed.
fn short_time(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        v if v < 0.5 => return "0".to_owned(),
        v if v < 1e3 => (ns, "ns"),
        v if v < 1e6 => (ns / 1e3, "µs"),
        v if v < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let number = format!("{:.3}", value.abs());
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{}{number}\u{202f}{unit}", if ns < 0.0 { "\u{2212}" } else { "" })
}

/// Percentiles on a scale on which each nine takes the same room.
pub fn spectrum(id: &str, subject: &str, curves: &[Curve<'_>]) -> Markup {
    let frame = Frame::chart(WIDTH, HEIGHT);
    let furthest = curves.iter().filter_map(|c| c.points.last()).map(|p| p.0).fold(10.0, f64::max);
    let x = Scale::log((1.0, furthest), frame.x());
    let y = time_scale(curves.iter().flat_map(|c| c.points.iter().map(|p| p.1)), frame.y());
    let ticks: Vec<(f64, String)> =
        [(1.0, "0"), (2.0, "p50"), (10.0, "p90"), (100.0, "p99"), (1e3, "p99.9"), (1e4, "p99.99"), (1e5, "p99.999")]
            .into_iter()
            .filter(|t| t.0 <= furthest * 1.001)
            .map(|(v, t)| (v, t.to_owned()))
            .collect();
    let told: Vec<String> = curves
        .iter()
        .map(|c| {
            let end = c.points.last().map_or(0.0, |p| p.1);
            let open = c.open_from.filter(|from| c.points.last().is_some_and(|p| p.0 >= *from));
            let open = open.map_or("", |_| ", its thin part at least (requests did not end)");
            format!("{}: up to {} with n = {}{open}", c.name, words::time(end), words::count(c.n))
        })
        .collect();
    let content = html! {
        (y_axis(&frame, &y, &time_ticks(&y), "response time"))
        (x_axis(&frame, &x, &ticks, "percentile"))
        @for c in curves {
            @let known = c.points.iter().take_while(|p| c.open_from.is_none_or(|from| p.0 < from)).count();
            @let points: Vec<(f64, f64)> = c.points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect();
            (line(&points[..known], &class(c.index)))
            @if known < points.len() { (line(&points[known.saturating_sub(1)..], &format!("{} thin", class(c.index)))) }
            @for (at, name) in [(2.0, "p50"), (10.0, "p90"), (100.0, "p99"), (1e3, "p99.9")] {
                @if let Some(p) = c.points.iter().find(|p| p.0 >= at * 0.999) {
                    @let least = if c.open_from.is_some_and(|from| at >= from * 0.999) { "at least " } else { "" };
                    (dot(x.at(at), y.at(p.1), 2.6, &class(c.index), &format!("{} {name}: {least}{}", c.name, nice(words::time(p.1)))))
                }
            }
        }
    };
    drawing(id, &frame, &format!("Response time of {subject} by percentile"), &told.join("; "), content)
}

/// Whether every second of an operation has the samples that its 99th percentile needs; else its slowest request is drawn.
pub fn seconds_carry_p99(report: &Report<'_>, operation: &str) -> bool {
    let seconds = || report.run.loads.iter().flat_map(|l| &l.seconds).filter(|s| s.operation == operation);
    let carries = |s: &SecondRecord| s.response_p99_ns.is_some() && stats::printable(s.completed, 0.99);
    seconds().filter(|s| s.completed > 0).all(carries)
}

/// Each second's median of one operation as a line, where it has the samples; and its 99th percentile or slowest request.
pub fn over_time(report: &Report<'_>, id: &str, operation: &str) -> Markup {
    let frame = Frame::chart(WIDTH, HEIGHT);
    let p99 = seconds_carry_p99(report, operation);
    let rows = |load: &LoadRecord| -> Vec<(f64, Option<f64>, Option<f64>)> {
        let mut rows: Vec<_> = load
            .seconds
            .iter()
            .filter(|s| s.operation == operation)
            .map(|s| {
                let median = s.response_p50_ns.filter(|_| stats::printable(s.completed, 0.5));
                let slow = if p99 { s.response_p99_ns } else { s.response_max_ns };
                (f64::from(s.second), median.map(|v| v as f64), slow.map(|v| v as f64))
            })
            .collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        rows
    };
    let all: Vec<(usize, &str, Vec<_>)> =
        report.run.loads.iter().map(|l| (report.index(&l.topology), l.topology.as_str(), rows(l))).collect();
    let values: Vec<f64> = all.iter().flat_map(|(.., r)| r.iter().flat_map(|r| [r.1, r.2])).flatten().collect();
    let last = all.iter().flat_map(|(.., r)| r.iter().map(|r| r.0)).fold(1.0, f64::max);
    let x = Scale::linear((0.0, last), frame.x());
    let y = time_scale(values.iter().copied(), frame.y());
    let content = html! {
        (y_axis(&frame, &y, &time_ticks(&y), "response time"))
        (x_axis(&frame, &x, &second_ticks(&x), "seconds since recording began"))
        @for (index, name, rows) in &all {
            @let medians: Vec<(f64, f64)> = rows.iter().map(|r| (x.at(r.0), r.1.map_or(f64::NAN, |v| y.at(v)))).collect();
            @if p99 {
                @let tail: Vec<(f64, f64)> = rows.iter().map(|r| (x.at(r.0), r.2.map_or(f64::NAN, |v| y.at(v)))).collect();
                (line(&tail, &format!("{} thin", class(*index))))
            } @else if rows.len() <= 240 {
                @for (second, slow) in rows.iter().filter_map(|r| Some((r.0, r.2?))) {
                    (dot(x.at(second), y.at(slow), 2.2, &format!("{} pale", class(*index)), &format!("{name}, second {second}: slowest {}", nice(words::time(slow)))))
                }
            }
            (line(&medians, &class(*index)))
        }
        @for (index, finding) in wrong(report) {
            @let at = x.at(finding.first_s.min(last));
            (dot(at, frame.y().1 + 5.0, 3.4, &class(index), &words::under_load(finding)))
        }
    };
    let tail = if p99 { "99th percentile" } else { "slowest request" };
    let seen: Vec<String> = wrong(report).map(|(_, f)| words::under_load(f)).collect();
    let seen = if seen.is_empty() { String::new() } else { format!("; wrong under load: {}", seen.join("; ")) };
    let description = format!("median and {tail} of each of {} seconds, by topology{seen}", last + 1.0);
    drawing(id, &frame, &format!("Response time of {operation} over time"), &description, content)
}

/// What was wrong under load, with its topology's index.
fn wrong<'a>(report: &'a Report<'_>) -> impl Iterator<Item = (usize, &'a LoadFinding)> {
    let of = |load: &'a LoadRecord| load.findings.iter().map(|f| (report.index(&load.topology), f));
    report.run.loads.iter().flat_map(of)
}

fn second_ticks(x: &Scale) -> Vec<(f64, String)> {
    x.ticks(6).into_iter().filter(|v| v.fract() == 0.0).map(|v| (v, format!("{v:.0}"))).collect()
}

/// Requests that ended in each second, all operations together; or, of those that were planned in it, the failed ones.
pub fn throughput(report: &Report<'_>, id: &str, errors: bool) -> Markup {
    let frame = Frame::chart(WIDTH, if errors { 200.0 } else { 240.0 });
    let all: Vec<(usize, BTreeMap<u32, u64>)> = report
        .run
        .loads
        .iter()
        .map(|l| {
            let mut by_second = BTreeMap::new();
            for s in &l.seconds {
                let ended = s.ended.unwrap_or(s.completed + s.failed);
                *by_second.entry(s.second).or_insert(0) += if errors { s.failed } else { ended };
            }
            (report.index(&l.topology), by_second)
        })
        .collect();
    let most = all.iter().flat_map(|(_, s)| s.values()).copied().max().unwrap_or(1).max(1);
    let last = all.iter().filter_map(|(_, s)| s.keys().last()).copied().max().unwrap_or(1).max(1);
    let x = Scale::linear((0.0, f64::from(last)), frame.x());
    let y = Scale::nice((0.0, most as f64), frame.y());
    let ticks: Vec<(f64, String)> =
        y.ticks(4).into_iter().filter(|v| v.fract() == 0.0).map(|v| (v, words::count(v as u64))).collect();
    let content = html! {
        (y_axis(&frame, &y, &ticks, if errors { "failed per second" } else { "ended per second" }))
        (x_axis(&frame, &x, &second_ticks(&x), "seconds since recording began"))
        @for (index, seconds) in &all {
            @let points: Vec<(f64, f64)> = seconds.iter().map(|(s, n)| (x.at(f64::from(*s)), y.at(*n as f64))).collect();
            @if errors { (area(&points, y.at(0.0), &class(*index))) }
            (line(&points, &class(*index)))
        }
    };
    let title = if errors { "Errors over time" } else { "Throughput over time" };
    drawing(id, &frame, title, &format!("at most {} in a second", words::count(most)), content)
}

/// The difference at each percentile with its bootstrap band.
pub fn shift(id: &str, c: &ComparisonRecord, index: usize) -> Markup {
    let frame = Frame::chart(WIDTH, HEIGHT);
    let nines = |q: f64| 1.0 / (1.0 - q).max(1e-9);
    let furthest = c.shift.iter().map(|p| nines(p.quantile)).fold(10.0, f64::max);
    let x = Scale::log((1.0, furthest), frame.x());
    let low = c.shift.iter().map(|p| p.low_ns).fold(0.0, f64::min);
    let high = c.shift.iter().map(|p| p.high_ns).fold(0.0, f64::max);
    let y = Scale::nice((low, high), frame.y());
    let ticks: Vec<(f64, String)> =
        [(1.0, "0"), (2.0, "p50"), (10.0, "p90"), (20.0, "p95"), (100.0, "p99"), (1e3, "p99.9")]
            .into_iter()
            .filter(|t| t.0 <= furthest * 1.001)
            .map(|(v, t)| (v, t.to_owned()))
            .collect();
    let place = |value: fn(&crate::record::ShiftPoint) -> f64| -> Vec<(f64, f64)> {
        c.shift.iter().map(|p| (x.at(nines(p.quantile)), y.at(value(p)))).collect()
    };
    let content = html! {
        (y_axis(&frame, &y, &time_ticks(&y), &format!("{} minus {}", c.candidate, c.baseline)))
        (x_axis(&frame, &x, &ticks, "percentile"))
        (band(&place(|p| p.low_ns), &place(|p| p.high_ns), &class(index)))
        (segment((frame.x().0, y.at(0.0)), (frame.x().1, y.at(0.0)), "zero"))
        (line(&place(|p| p.difference_ns), &class(index)))
        @for p in &c.shift {
            @let hover = format!("{}: {} ({} to {})", words::percentile(p.quantile), words::difference(p.difference_ns), words::time(p.low_ns), words::time(p.high_ns));
            (dot(x.at(nines(p.quantile)), y.at(p.difference_ns), 3.0, &class(index), &hover))
        }
    };
    let told: Vec<String> = c
        .shift
        .iter()
        .map(|p| format!("{} {}", words::percentile(p.quantile), words::difference(p.difference_ns)))
        .collect();
    drawing(id, &frame, "Shift function", &told.join(", "), content)
}

/// Every compared quantile as an estimate with its interval, over the margin that does not matter.
pub fn forest(id: &str, c: &ComparisonRecord) -> Markup {
    let row = 26.0;
    // A mix of operations is drawn only where there is nothing else: its tail belongs to the slowest of them.
    let several = c.quantiles.iter().any(|q| q.operation != "all");
    let rows: Vec<&QuantileRecord> = c.quantiles.iter().filter(|q| !several || q.operation != "all").collect();
    let height = 70.0 + row * rows.len() as f64;
    let frame = Frame { left: 118.0, ..Frame::chart(WIDTH, height) };
    // What is decided sets the scale; an interval that is too wide to decide anything may run off its edge.
    let decided = |q: &&&QuantileRecord| q.answer != Answer::Inconclusive || rows.iter().all(|r| r.answer == q.answer);
    let low = rows.iter().filter(decided).flat_map(|q| [q.low_ns, -q.margin_ns]).fold(0.0, f64::min);
    let high = rows.iter().filter(decided).flat_map(|q| [q.high_ns, q.margin_ns]).fold(0.0, f64::max);
    let x = Scale::nice((low, high), frame.x());
    let ticks: Vec<(f64, String)> = x.ticks(5).into_iter().map(|v| (v, short_time(v))).collect();
    let content = html! {
        (x_axis(&frame, &x, &ticks, &format!("{} minus {}, response time", c.candidate, c.baseline)))
        @for (i, q) in rows.iter().enumerate() {
            @let y = frame.top + row * (i as f64 + 0.5);
            @let tone = super::answer_tone(q.answer, q.difference_ns > 0.0);
            @let margin = format!("margin {}", words::time(q.margin_ns));
            (span(x.at(-q.margin_ns), x.at(q.margin_ns), y - row / 2.0 + 2.0, row - 4.0, "margin", &margin))
            (words_at(frame.left - 10.0, y + 4.0, "end", "row", &format!("{} {}", q.operation, words::percentile(q.quantile))))
            (segment((x.at(q.low_ns), y), (x.at(q.high_ns), y), &format!("whisker t-{tone}{}", if decided(&q) { "" } else { " beyond" })))
            (dot(x.at(q.difference_ns), y, 4.0, &format!("t-{tone}"), &format!("{}, {}", words::estimate(q), words::answer(q.answer))))
        }
        (segment((x.at(0.0), frame.top - 6.0), (x.at(0.0), frame.y().0), "zero"))
    };
    let told: Vec<String> = c
        .quantiles
        .iter()
        .map(|q| {
            format!(
                "{} {}: {}, {}",
                q.operation,
                words::percentile(q.quantile),
                words::estimate(q),
                words::answer(q.answer)
            )
        })
        .collect();
    drawing(id, &frame, "Differences with their intervals", &told.join("; "), content)
}

/// The difference of each pair in run order: drift would show as a slope.
pub fn pairs(id: &str, q: &QuantileRecord, index: usize) -> Markup {
    let frame = Frame::chart(WIDTH, 220.0);
    let low = q.differences_ns.iter().copied().chain([q.low_ns]).fold(0.0, f64::min);
    let high = q.differences_ns.iter().copied().chain([q.high_ns]).fold(0.0, f64::max);
    let n = q.differences_ns.len();
    let x = Scale::linear((0.5, n as f64 + 0.5), frame.x());
    let y = Scale::nice((low, high), frame.y());
    let every = n.div_ceil(12).max(1);
    let ticks: Vec<(f64, String)> = (1..=n).step_by(every).map(|i| (i as f64, i.to_string())).collect();
    let (left, right) = frame.x();
    let edge = |v: f64| [(left, y.at(v)), (right, y.at(v))];
    let content = html! {
        (y_axis(&frame, &y, &time_ticks(&y), "difference"))
        (x_axis(&frame, &x, &ticks, "pair"))
        (band(&edge(q.low_ns), &edge(q.high_ns), &class(index)))
        (segment((left, y.at(0.0)), (right, y.at(0.0)), "zero"))
        (line(&edge(q.difference_ns), &format!("{} thin", class(index))))
        @for (i, d) in q.differences_ns.iter().enumerate() {
            (dot(x.at(i as f64 + 1.0), y.at(*d), 4.0, &class(index), &format!("pair {}: {}", i + 1, words::difference(*d))))
        }
    };
    let told: Vec<String> = q.differences_ns.iter().map(|d| words::difference(*d)).collect();
    drawing(id, &frame, "Differences pair by pair", &told.join(", "), content)
}

/// Windows of one topology: issue, not-before, last acceptance, first refusal, around the claim's instant.
pub fn window(id: &str, topology: &str, rows: &[&WindowRecord]) -> Markup {
    let row = 62.0;
    let frame =
        Frame { left: 14.0, right: 14.0, top: 8.0, bottom: 46.0, width: WIDTH, height: 58.0 + row * rows.len() as f64 };
    let reach = rows
        .iter()
        .flat_map(|w| [w.last_accepted_s, w.first_refused_s, w.leeway_s.map(|l| l.0), w.leeway_s.map(|l| l.1)])
        .flatten()
        .map(f64::abs)
        .fold(2.0, f64::max)
        * 1.25;
    // The life before the neighbourhood of the instant is squeezed into the first part of the row.
    let (left, right) = frame.x();
    let neck = left + (right - left) * 0.24;
    let x = Scale::linear((-reach, reach), (neck, right));
    let ticks: Vec<(f64, String)> = x.ticks(6).into_iter().map(|v| (v, short_seconds(v))).collect();
    let content = html! {
        (x_axis(&Frame { left: neck, ..frame }, &x, &ticks, "seconds after the claim's instant"))
        @for (i, w) in rows.iter().enumerate() {
            @let top = frame.top + row * i as f64;
            (window_row(w, top, left, neck, &x))
        }
    };
    let told: Vec<String> = rows
        .iter()
        .map(|w| {
            let at = |s: Option<f64>| s.map_or_else(|| "not observed".to_owned(), words::seconds);
            format!(
                "{} {}: last accepted {}, first refused {}",
                w.endpoint,
                w.claim,
                at(w.last_accepted_s),
                at(w.first_refused_s)
            )
        })
        .collect();
    drawing(id, &frame, &format!("Expiry windows in {topology}"), &told.join("; "), content)
}

fn window_row(w: &WindowRecord, top: f64, left: f64, neck: f64, x: &Scale) -> Markup {
    let (bar, height) = (top + 20.0, 18.0);
    let right = x.at(f64::INFINITY.min(1e18));
    // `nbf` is the mirror of `exp`: refused before, accepted after.
    let begins = w.claim == "nbf";
    let (before, after) = if begins { ("refused", "accepted") } else { ("accepted", "refused") };
    let (first, second) =
        if begins { (w.first_refused_s, w.last_accepted_s) } else { (w.last_accepted_s, w.first_refused_s) };
    let observed = first.is_some() || second.is_some();
    let from = first.map_or(neck, |s| x.at(s));
    let to = second.map_or(right, |s| x.at(s)).max(from);
    let life = w
        .lifetime_s
        .map_or_else(|| "lifetime unknown".to_owned(), |s| format!("iat, {} before exp", words::lifetime(s)));
    html! {
        (words_at(left, top + 13.0, "start", "row strong", &format!("{} {}", w.endpoint, w.claim)))
        @if observed {
            (span(left, from, bar, height, before, &format!("{before} up to {}", first.map_or_else(|| "?".into(), words::seconds))))
            (span(from, to, bar, height, "untold", "between the last and the first: not told apart"))
            (span(to, right, bar, height, after, &format!("{after} from {}", second.map_or_else(|| "?".into(), words::seconds))))
            @if !begins {
                (segment((left + 1.0, bar - 3.0), (left + 1.0, bar + height + 3.0), "mark"))
                (words_at(left, bar + height + 14.0, "start", "small", &life))
            }
            // The break between the squeezed life and the scale.
            (segment((neck - 8.0, bar + height + 3.0), (neck - 2.0, bar - 3.0), "break"))
            (segment((neck - 3.0, bar + height + 3.0), (neck + 3.0, bar - 3.0), "break"))
        } @else {
            (span(left, right, bar, height, "untold", "not observed"))
            (words_at(left + 8.0, bar + 13.0, "start", "small", w.note.as_deref().unwrap_or("could not be observed")))
        }
        @if observed {
            (segment((x.at(0.0), bar - 7.0), (x.at(0.0), bar + height + 5.0), "zero"))
            (words_at(x.at(0.0), top + 11.0, "middle", "small", &w.claim))
        }
        @if let (true, Some((low, high))) = (observed, w.leeway_s) {
            (words_at(right, top + 11.0, "end", "small", &format!("leeway {} to {}", nice(words::seconds(low)), nice(words::seconds(high)))))
        }
    }
}

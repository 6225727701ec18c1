//! Which words and figures do all renderers share?

use crate::record::{
    Answer, FoundRecord, Grade, HistogramRecord, Level, LoadFinding, LoadRecord, ProcessRecord, QuantileRecord,
    ThresholdOutcome, ThresholdRecord, TopologyRecord,
};
use crate::stats;
use crate::units::Nanos;

/// `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration in nanoseconds with three digits and its unit; negative with a sign.
pub fn time(ns: f64) -> String {
    let sign = if ns < 0.0 { "-" } else { "" };
    format!("{sign}{}", Nanos(ns.abs().round() as u64))
}

/// A difference in nanoseconds: always with its sign.
pub fn difference(ns: f64) -> String {
    if ns >= 0.0 { format!("+{}", time(ns)) } else { time(ns) }
}

/// `p50`, `p99.9` of a quantile between 0 and 1.
pub fn percentile(quantile: f64) -> String {
    format!("p{}", (quantile * 1e5).round() / 1e3)
}

/// A share between 0 and 1 as `12.3 %`.
pub fn share(value: f64) -> String {
    let percent = value * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        p if p.abs() < 0.1 => format!("{p:.3} %"),
        p if (99.0..100.0).contains(&p) => format!("{:.2} %", (p * 100.0).floor() / 100.0),
        p if p.abs() < 99.95 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// A rate per second.
pub fn rate(per_s: f64) -> String {
    if per_s >= 100.0 { format!("{}/s", count(per_s.round() as u64)) } else { format!("{per_s:.1}/s") }
}

/// A percentile of a histogram as people read it: refused with too few samples, `>=` where unfinished requests
/// could still move it.
pub fn quantile_of(histogram: &HistogramRecord, quantile: f64) -> String {
    let value = match quantile {
        0.5 => Some(histogram.p50_ns),
        0.9 => Some(histogram.p90_ns),
        0.99 => Some(histogram.p99_ns),
        0.999 => histogram.p999_ns,
        _ => None,
    };
    match value {
        Some(ns) if histogram.n > 0 && stats::printable(histogram.n, quantile) => {
            let censored = is_censored(histogram, quantile * 100.0);
            format!("{}{}", if censored { ">= " } else { "" }, Nanos(ns))
        }
        _ => "-".to_owned(),
    }
}

/// The largest value; `>=` where something did not end.
pub fn largest(histogram: &HistogramRecord) -> String {
    let sign = if is_censored(histogram, 100.0) { ">= " } else { "" };
    if histogram.n == 0 { "-".to_owned() } else { format!("{sign}{}", Nanos(histogram.max_ns)) }
}

/// What the search for the highest rate came to.
pub fn found(found: &FoundRecord) -> &'static str {
    match found {
        f if f.interrupted => "interrupted",
        f if f.ended.is_some() => "ended early",
        f if f.unjudged.is_some() => "not judged",
        f if f.at_least => "at least",
        f if f.low_per_s == 0.0 => "missed at every rate",
        _ => "bracketed",
    }
}

/// What was seen of a threshold's number and, where that decides nothing, why.
pub fn seen(threshold: &ThresholdRecord) -> String {
    let parts: Vec<&str> = [&threshold.observed, &threshold.reason].into_iter().filter_map(|p| p.as_deref()).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(": ") }
}

/// Whether requests that did not end could still move this percentile, 0 to 100: it is at least what it says.
pub fn is_censored(histogram: &HistogramRecord, percentile: f64) -> bool {
    histogram.censored_from.is_some_and(|from| percentile >= from - 1e-9)
}

/// Seconds with three digits, signed: `+1.25 s`.
pub fn seconds(s: f64) -> String {
    let sign = if s < 0.0 { "-" } else { "+" };
    let s = s.abs();
    match s {
        s if s < 0.0005 => "0 s".to_owned(),
        s if s < 1.0 => format!("{sign}{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{sign}{s:.2} s"),
        s if s < 100.0 => format!("{sign}{s:.1} s"),
        s => format!("{sign}{s:.0} s"),
    }
}

/// A plain length of time in seconds: `5 min`, `24 h`, `90 s`.
pub fn lifetime(s: f64) -> String {
    let whole = |unit: f64| (s / unit).fract().abs() < 1e-6;
    match s {
        s if s >= 172_800.0 && whole(86_400.0) => format!("{:.0} d", s / 86_400.0),
        s if s >= 7_200.0 && whole(3_600.0) => format!("{:.0} h", s / 3_600.0),
        s if s >= 120.0 && whole(60.0) => format!("{:.0} min", s / 60.0),
        s if s >= 10.0 => format!("{s:.0} s"),
        s => format!("{s:.2} s"),
    }
}

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.0} KiB", n as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.0} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

/// Milliseconds of wall time: `71.2 s`, `340 ms`.
pub fn wall(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1e3) }
}

/// `2 violations`, `1 violation`; words that end in `ss` or `y` included.
pub fn plural(n: usize, word: &str) -> String {
    let many = match word {
        w if ["ss", "ch", "sh"].iter().any(|end| w.ends_with(end)) => format!("{w}es"),
        w if w.ends_with('y') => format!("{}ies", &w[..w.len() - 1]),
        w => format!("{w}s"),
    };
    format!("{} {}", count(n as u64), if n == 1 { word } else { &many })
}

/// What a topology is made of: `reference-server > nginx`, or the address of what ran already.
pub fn chain(topology: &TopologyRecord) -> String {
    match (&topology.url, topology.chain.is_empty()) {
        (Some(url), true) => url.clone(),
        _ => topology.chain.join(" > "),
    }
}

/// Which programs made a topology, with what they say of their versions; empty where none was started here.
pub fn identity(topology: &TopologyRecord) -> String {
    let named = |process: &ProcessRecord| match process.version.split_whitespace().next() {
        None => process.name.clone(),
        // Some say their name before their version.
        Some(first) if first.to_lowercase().starts_with(&process.name.to_lowercase()) => process.version.clone(),
        Some(_) => format!("{} {}", process.name, process.version),
    };
    topology.processes.iter().map(named).collect::<Vec<_>>().join(", ")
}

/// What a grade is called.
pub fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Violation => "violation",
        Grade::Weakness => "weakness",
        Grade::Note => "note",
        Grade::Known => "known",
        Grade::StaleKnown => "stale known",
        Grade::Skip => "skipped",
        Grade::Required => "required",
        Grade::Inconclusive => "inconclusive",
        Grade::HarnessError => "harness error",
    }
}

/// What a grade means, for a legend.
pub fn grade_meaning(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "seen to hold",
        Grade::Violation => "a must that does not hold",
        Grade::Weakness => "a should that does not hold",
        Grade::Note => "worth knowing, no requirement",
        Grade::Known => "fails as the profile says it does, with a reason",
        Grade::StaleKnown => "listed as known, but no longer fails",
        Grade::Skip => "no finding, for the reason given",
        Grade::Required => "no finding although one was required",
        Grade::Inconclusive => "tried, but the controls did not hold or the sample was too small",
        Grade::HarnessError => "a fault of Assay, not of the target",
    }
}

/// A finding under load, without its grade: `refresh-race at 1.2 s, control refresh: 2 of 4 (3 times)`.
pub fn under_load(finding: &LoadFinding) -> String {
    if finding.check.is_empty() {
        return finding.seen.clone();
    }
    let times = if finding.times == 1 { String::new() } else { format!(" ({} times)", count(finding.times)) };
    format!("{} at {:.1} s, {}: {}{times}", finding.check, finding.first_s, finding.operation, finding.seen)
}

/// Flows, housekeeping and what is nobody's failure but ours; nothing where there is none of it.
pub fn beside(load: &LoadRecord) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(f) = &load.flow {
        parts.push(format!(
            "{}: {} completed, {} abandoned, {} cut at the end",
            plural(f.started as usize, "flow"),
            count(f.completed),
            count(f.abandoned),
            count(f.cut)
        ));
    }
    let h = &load.housekeeping;
    if h.logins + h.refreshes > 0 {
        let failed = if h.failed > 0 { format!(", {} failed", count(h.failed)) } else { String::new() };
        let behind =
            if h.behind > 0 { format!(", {} sessions behind at the end", count(h.behind)) } else { String::new() };
        parts.push(format!(
            "off the timed path {} and {}{failed}{behind}",
            plural(h.logins as usize, "login"),
            plural(h.refreshes as usize, "refresh")
        ));
    }
    if load.accounting.by_us > 0 {
        parts.push(format!("{} refused tokens that we had spoilt ourselves", count(load.accounting.by_us)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// What was looked at under load beside times; nothing where there was nothing to look at.
pub fn looked_at(load: &LoadRecord) -> Option<String> {
    let mut parts = Vec::new();
    if load.sampled + load.looked_at > 0 {
        parts.push(format!(
            "claims of {} looked at, {} verified of {} sampled",
            plural(load.looked_at as usize, "new token"),
            plural(load.verified as usize, "signature"),
            plural(load.sampled as usize, "exchange")
        ));
    }
    if let Some(controls) = &load.controls {
        let silent = match controls.unanswered {
            0 => String::new(),
            n => format!(" ({} said nothing)", count(n)),
        };
        parts.push(format!("{}{silent}", plural(controls.exchanges as usize, "control operation")));
        parts.extend(controls.left_out.iter().map(|what| format!("not tried: {what}")));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// Every grade, most serious first; the order of findings.
pub const GRADES: [Grade; 10] = [
    Grade::Violation,
    Grade::Required,
    Grade::StaleKnown,
    Grade::HarnessError,
    Grade::Inconclusive,
    Grade::Weakness,
    Grade::Known,
    Grade::Note,
    Grade::Skip,
    Grade::Ok,
];

/// The place of a grade in [`GRADES`].
pub fn severity(grade: Grade) -> usize {
    GRADES.iter().position(|g| *g == grade).unwrap_or(GRADES.len())
}

/// `must`, `should`, `info`.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Info => "info",
    }
}

/// What a comparison says.
pub fn answer(answer: Answer) -> &'static str {
    match answer {
        Answer::Different => "different",
        Answer::Equivalent => "equivalent",
        Answer::Inconclusive => "inconclusive",
    }
}

/// What became of a threshold.
pub fn threshold(outcome: ThresholdOutcome) -> &'static str {
    match outcome {
        ThresholdOutcome::Held => "held",
        ThresholdOutcome::Missed => "missed",
        ThresholdOutcome::NotJudged => "not judged",
    }
}

/// The interval of an estimate: `102 us to 140 us`.
pub fn interval(q: &QuantileRecord) -> String {
    if q.confidence > 0.0 { format!("{} to {}", time(q.low_ns), time(q.high_ns)) } else { "no interval".to_owned() }
}

/// The estimate with its interval: `+118 us (102 us to 140 us, 96.9 %)`.
pub fn estimate(q: &QuantileRecord) -> String {
    if q.confidence <= 0.0 {
        return format!("{} (one pair, no interval)", difference(q.difference_ns));
    }
    format!("{} ({}, {})", difference(q.difference_ns), interval(q), share(q.confidence))
}

/// What an inconclusive row still needs, or what an equivalent one rules out.
pub fn power(q: &QuantileRecord) -> String {
    let detectable = format!("sees {}", time(q.detectable_ns));
    match (q.answer, q.pairs_needed) {
        (Answer::Inconclusive, Some(n)) => format!("{detectable}; about {n} pairs would decide"),
        _ => detectable,
    }
}

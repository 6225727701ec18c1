//! What does a run say in plain words? The questions that people ask of token servers, answered from the record.

use std::collections::BTreeSet;

use super::{Report, words};
use crate::record::{CheckRecord, ComparisonRecord, Grade, LoadRecord, QuantileRecord, Verdict};

/// A question, and what this run knows of it.
pub struct Question {
    /// With its question mark.
    pub ask: String,
    /// The section of the HTML report that shows the evidence.
    pub anchor: &'static str,
    /// Sentences, most telling first; never empty.
    pub answers: Vec<String>,
}

/// Everything that can be answered, in the order in which people ask. Nothing is measured or judged anew.
pub fn questions(report: &Report<'_>) -> Vec<Question> {
    let mut all = speed(report);
    all.extend(hops(report));
    all.extend([lives(report), users(report), places(report)].into_iter().flatten());
    all.retain(|question| !question.answers.is_empty());
    all
}

/// Most operations and most differences that are told one by one.
const MOST: usize = 4;

fn speed(report: &Report<'_>) -> Vec<Question> {
    let cost = |c: &ComparisonRecord| Question {
        ask: format!("What does {} cost against {}, and why?", c.candidate, c.baseline),
        anchor: "comparison",
        answers: cost(report, c),
    };
    report.run.comparisons.iter().map(cost).collect()
}

fn cost(report: &Report<'_>, c: &ComparisonRecord) -> Vec<String> {
    if !c.void.is_empty() {
        return vec![format!("Not answered, the comparison is void: {}.", c.void.join("; "))];
    }
    let mut told = Vec::new();
    let medians: Vec<_> = c.quantiles.iter().filter(|q| q.quantile == 0.5 && q.operation != "all").collect();
    told.extend(medians.iter().take(MOST).map(|q| median(c, q)));
    if let Some(t) = &c.throughput {
        let interval = if t.confidence > 0.0 { format!(" ({:.2} to {:.2})", t.low, t.high) } else { String::new() };
        let speeds = format!("{} against {}", words::rate(t.candidate_per_s), words::rate(t.baseline_per_s));
        told.push(format!(
            "At full speed {} answers {speeds}, x{:.2}{interval}: {}.",
            c.candidate,
            t.ratio,
            words::answer(t.answer)
        ));
    }
    told.extend(connections(report, c));
    told.extend(processes(report, c));
    told
}

fn median(c: &ComparisonRecord, q: &QuantileRecord) -> String {
    use crate::record::Answer;
    let verdict = match q.answer {
        Answer::Different if q.difference_ns > 0.0 => "slower, beyond the margin".to_owned(),
        Answer::Different => "faster, beyond the margin".to_owned(),
        Answer::Equivalent => format!("the same within {}", words::time(q.margin_ns)),
        Answer::Inconclusive => format!("not decided; {} would have been seen", words::time(q.detectable_ns)),
    };
    format!(
        "At {} half of the `{}` requests take up to {} in {}; in {} it is {}: {verdict}.",
        words::rate(c.rate_per_s),
        q.operation,
        words::time(q.baseline_ns),
        c.baseline,
        c.candidate,
        words::estimate(q)
    )
}

/// How many of a load's requests had to open a connection first, 0 to 1.
fn fresh_connections(load: &LoadRecord) -> Option<f64> {
    let ended: u64 = load.operations.iter().map(|o| o.service.n).sum();
    let opened: u64 = load.operations.iter().filter_map(|o| o.phases.get("connect")).map(|h| h.n).sum();
    (ended >= 20).then(|| opened as f64 / ended as f64)
}

fn load<'a>(report: &Report<'a>, topology: &str) -> Option<&'a LoadRecord> {
    report.run.loads.iter().find(|l| l.topology == topology && !l.certificate.is_void())
}

/// A server that closes after every answer makes each request pay for a connection.
fn connections(report: &Report<'_>, c: &ComparisonRecord) -> Option<String> {
    let of = |name: &str| load(report, name).and_then(fresh_connections);
    let (baseline, candidate) = (of(&c.baseline)?, of(&c.candidate)?);
    let closes = |name: &str, share: f64| match share {
        s if s > 0.9 => format!("{name} closes after each answer, so that every request opens a connection"),
        s if s < 0.02 => format!("{name} keeps connections"),
        s => format!("{name} makes {} of the requests open a connection", words::share(s)),
    };
    if baseline < 0.02 && candidate < 0.02 {
        return None;
    }
    Some(format!("{}; {}.", closes(&c.baseline, baseline), closes(&c.candidate, candidate)))
}

/// Processes of the servers proper, and the processors that they had.
fn processes(report: &Report<'_>, c: &ComparisonRecord) -> Option<String> {
    let of = |name: &str| {
        let topology = report.topologies.iter().find(|t| t.name == name)?;
        let server = topology.processes.first()?;
        Some((server.samples.iter().map(|s| s.processes).max()?, server.cpus.len()))
    };
    let ((baseline, cpus), (candidate, _)) = (of(&c.baseline)?, of(&c.candidate)?);
    if baseline == candidate {
        return None;
    }
    let room = match cpus {
        1 => "; all had one and the same processor, where more processes cannot show what they are for",
        _ => "",
    };
    let many = |n: u32| match n {
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    Some(format!(
        "The server of {} is {}, that of {} {}{room}.",
        c.baseline,
        many(baseline),
        c.candidate,
        many(candidate)
    ))
}

/// Topologies that put something in front of the baseline: what comes and what goes?
fn hops(report: &Report<'_>) -> Vec<Question> {
    let chain = |name: &str| report.topologies.iter().find(|t| t.name == name).map(|t| t.chain.as_slice());
    let hop = |c: &ComparisonRecord| {
        let (inner, outer) = (chain(&c.baseline)?, chain(&c.candidate)?);
        let added = outer.strip_prefix(inner).filter(|added| !added.is_empty())?;
        Some(Question {
            ask: format!("What does {} in front add and take away?", added.join(" and ")),
            anchor: "conformance",
            answers: hop(report, c),
        })
    };
    report.run.comparisons.iter().filter_map(hop).collect()
}

fn hop(report: &Report<'_>, c: &ComparisonRecord) -> Vec<String> {
    let checks = |topology: &str| -> Vec<&CheckRecord> {
        report.run.checks.iter().filter(|check| check.topology == topology).collect()
    };
    let (inner, outer) = (checks(&c.baseline), checks(&c.candidate));
    let mut told = Vec::new();
    let judged = |check: &&&CheckRecord| matches!(check.verdict, Verdict::Pass | Verdict::Fail);
    let pairs: Vec<_> = outer
        .iter()
        .filter(judged)
        .filter_map(|o| Some((inner.iter().filter(judged).find(|i| i.id == o.id)?, o)))
        .collect();
    let differ: Vec<_> = pairs.iter().filter(|(i, o)| i.verdict != o.verdict || i.finding != o.finding).collect();
    if !pairs.is_empty() {
        let ids: Vec<String> = differ.iter().take(MOST).map(|(i, o)| difference(i, o)).collect();
        let more = differ.len().saturating_sub(MOST);
        told.push(match differ.len() {
            0 => format!("{}: the same answers on both sides.", words::plural(pairs.len(), "check")),
            n => format!(
                "{} of {} answered otherwise than without it: {}{}.",
                n,
                words::plural(pairs.len(), "check"),
                ids.join("; "),
                if more > 0 { format!("; and {more} more") } else { String::new() }
            ),
        });
    }
    let own: Vec<_> = outer.iter().filter(judged).filter(|check| check.group == "PROXY").collect();
    let holds = own.iter().filter(|check| check.verdict == Verdict::Pass).count();
    if !own.is_empty() {
        told.push(format!("Of {} that concern a proxy {holds} hold.", words::plural(own.len(), "check")));
        let failed = own.iter().filter(|check| check.verdict == Verdict::Fail);
        told.extend(failed.map(|check| format!("`{}`, {}: {}.", check.id, words::grade(check.grade), check.summary)));
        let limits = own.iter().filter(|check| check.id == "proxy-header-limit");
        told.extend(limits.flat_map(|check| &check.variants).map(|v| format!("{}.", capital(&v.summary))));
    }
    told
}

/// One check that ended otherwise behind the proxy: its variants that differ, shortly.
fn difference(inner: &CheckRecord, outer: &CheckRecord) -> String {
    let changed = outer.variants.iter().find_map(|o| {
        let i = inner.variants.iter().find(|i| i.name == o.name)?;
        (i.finding != o.finding)
            .then(|| format!("`{}/{}` {} without it, {} behind it", outer.id, o.name, i.finding, o.finding))
    });
    changed.unwrap_or_else(|| format!("`{}` {} without it, {} behind it", outer.id, inner.finding, outer.finding))
}

fn lives(report: &Report<'_>) -> Option<Question> {
    let mut answers: Vec<String> = told(report, "issue-lifetime").into_iter().map(|t| t.text).collect();
    for claim in ["exp", "nbf"] {
        answers.extend(leeway(report, claim));
    }
    answers.extend(told(report, "time-cached-verdict").into_iter().map(|t| t.text));
    Some(Question { ask: "How long do tokens really live?".to_owned(), anchor: "windows", answers })
}

/// One sentence where every way of every topology agrees with the others, else one for each.
fn leeway(report: &Report<'_>, claim: &str) -> Vec<String> {
    let word = match claim {
        "exp" => "A token ends at its `exp`",
        _ => "A token begins at its `nbf`",
    };
    let windows: Vec<_> = report.run.windows.iter().filter(|w| w.claim == claim && w.leeway_s.is_some()).collect();
    let hull = windows.iter().filter_map(|w| w.leeway_s).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let Some((low, high)) = hull else { return Vec::new() };
    // Each interval holds the true leeway: where all have a point in common, one sentence says all.
    let common = windows.iter().filter_map(|w| w.leeway_s).reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
    let leeway = |low: f64, high: f64| match low <= 0.0 && high >= 0.0 {
        true => format!("no leeway was found (it lies between {} and {})", words::seconds(low), words::seconds(high)),
        false => format!("with a leeway between {} and {}", words::seconds(low), words::seconds(high)),
    };
    if common.is_some_and(|(low, high)| low <= high) {
        let where_ = match windows.len() {
            1 => format!("the `{}` of {}", windows[0].endpoint, windows[0].topology),
            n => format!("all {n} windows that were measured"),
        };
        return vec![format!("{word} in {where_}: {}.", leeway(low, high))];
    }
    let one = |w: &&crate::record::WindowRecord| {
        let (low, high) = w.leeway_s?;
        Some(format!("{word} in the `{}` of {}: {}.", w.endpoint, w.topology, leeway(low, high)))
    };
    windows.iter().filter_map(one).collect()
}

fn users(report: &Report<'_>) -> Option<Question> {
    let ids = ["refresh-user-state", "revoke-user-events", "verify-user-state"];
    let answers: Vec<String> = ids.into_iter().flat_map(|id| told(report, id)).map(|t| t.text).collect();
    Some(Question { ask: "Can a disabled or deleted user go on?".to_owned(), anchor: "findings", answers })
}

fn places(report: &Report<'_>) -> Option<Question> {
    let ids = ["leak-logs", "proxy-logs", "leak-url", "leak-errors"];
    let all: Vec<Told> = ids.into_iter().flat_map(|id| told(report, id)).collect();
    let mut answers: Vec<String> = all.iter().filter(|t| t.failed).map(|t| t.text.clone()).collect();
    for id in ids {
        let clean: BTreeSet<&str> =
            all.iter().filter(|t| t.id == id && !t.failed).flat_map(|t| t.topologies.iter().copied()).collect();
        let dirty = all.iter().filter(|t| t.id == id && t.failed).flat_map(|t| t.topologies.iter().copied()).collect();
        let clean: Vec<&str> = clean.difference(&dirty).copied().collect();
        if !clean.is_empty() {
            answers.push(format!("`{id}` found nothing in {}.", all_or(report, &clean)));
        }
    }
    Some(Question { ask: "Where do tokens and passwords show up?".to_owned(), anchor: "findings", answers })
}

/// What a check, or a variant of it, says in the topologies that agree.
struct Told<'a> {
    id: &'a str,
    text: String,
    failed: bool,
    topologies: Vec<&'a str>,
}

fn told<'a>(report: &Report<'a>, id: &str) -> Vec<Told<'a>> {
    let mut all: Vec<(Told<'a>, String)> = Vec::new();
    let mut tell = |check: &'a CheckRecord, failed: bool, what: String| match all.iter_mut().find(|(_, w)| *w == what) {
        Some((told, _)) => told.topologies.push(&check.topology),
        None => {
            all.push((Told { id: &check.id, text: String::new(), failed, topologies: vec![&check.topology] }, what))
        }
    };
    for check in report.run.checks.iter().filter(|c| c.id == id && c.grade != Grade::Skip) {
        if check.variants.is_empty() {
            tell(check, check.verdict == Verdict::Fail, check.summary.clone());
        }
        for v in check.variants.iter().filter(|v| matches!(v.verdict, Verdict::Pass | Verdict::Fail)) {
            let named =
                if v.summary.contains(&v.name) { v.summary.clone() } else { format!("`{}`: {}", v.name, v.summary) };
            tell(check, v.verdict == Verdict::Fail, named);
        }
    }
    let finish = |(mut told, what): (Told<'a>, String)| {
        let lead = if told.failed { "Not as required: " } else { "" };
        let what = if told.failed { what } else { capital(&what) };
        told.text = format!("{lead}{what} ({}).", all_or(report, &told.topologies));
        told
    };
    all.into_iter().map(finish).collect()
}

fn all_or(report: &Report<'_>, topologies: &[&str]) -> String {
    let examined = report.tallies.len();
    if examined > 2 && topologies.len() == examined { "every topology".to_owned() } else { topologies.join(", ") }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

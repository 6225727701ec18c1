//! What stands on the first screen? The outcome, what was found, and what the proxy costs.

use maud::{Markup, html};

use super::{answer_tone, badge, nice, plain_topology, tone, topology};
use crate::record::{Answer, Grade, QuantileRecord, ThresholdOutcome};
use crate::report::{Cost, Report, Tally, words};

/// Name, outcome and the particulars of the run.
pub fn header(report: &Report<'_>) -> Markup {
    let run = report.run;
    let o = &report.outcome;
    let tone = match o.exit {
        0 => "ok",
        1 => "bad",
        3 if o.word.starts_with("failed") => "bad",
        3 => "open",
        130 => "note",
        _ => "broken",
    };
    html! {
        p class="brand" { "Assay " span { "report" } }
        h1 { (run.scenario) }
        div class={ "outcome " (tone) } {
            p class="word" { (o.word) span class="exit" { "exit " (o.exit) } }
            @if !o.reasons.is_empty() { p class="reasons" { (o.reasons.join(" · ")) } }
        }
        dl class="particulars" {
            div { dt { "profile" } dd { (run.profile) " (" (run.dialect) ")" } }
            div { dt { "started" } dd { (run.started.replace('T', " ").replace('Z', " UTC")) } }
            div { dt { "took" } dd { (words::wall(run.duration_ms)) } }
            div { dt { "seed" } dd { (run.seed) } }
            div { dt { "topologies" } dd { (report.topologies.len())
                @if !report.left_out.is_empty() { ", " (report.left_out.len()) " left out" } } }
        }
    }
}

/// The cards under the header.
pub fn screen(report: &Report<'_>) -> Markup {
    html! {
        @let shown = usize::from(!report.tallies.is_empty()) + usize::from(!report.costs.is_empty())
            + usize::from(!report.run.loads.is_empty() || !report.run.thresholds.is_empty());
        div class={ "cards" @if shown == 2 { " two" } @else if shown == 1 { " one" } } {
            @if !report.tallies.is_empty() { (conformance(report)) }
            @if !report.costs.is_empty() { (costs(report)) }
            @if !report.run.loads.is_empty() || !report.run.thresholds.is_empty() { (load(report)) }
        }
    }
}

fn conformance(report: &Report<'_>) -> Markup {
    let serious: Vec<_> = report
        .findings
        .iter()
        .filter(|f| {
            matches!(f.check.grade, Grade::Violation | Grade::Required | Grade::StaleKnown | Grade::HarnessError)
        })
        .collect();
    html! {
        article class="card" {
            h2 { "Does it do what it must?" }
            @for tally in &report.tallies { (tally_bar(report, tally)) }
            @if serious.is_empty() {
                p class="quiet" { "No violation was found by the checks that ran." }
            } @else {
                ul class="serious" {
                    @for f in serious.iter().take(6) {
                        li {
                            (badge(tone(f.check.grade), words::grade(f.check.grade)))
                            " " a href={ "#f-" (f.check.id) } { code { (f.check.id) } }
                            span class="quiet" { " in " (f.topologies.join(", ")) }
                        }
                    }
                    @if serious.len() > 6 { li class="quiet" { a href="#findings" { (serious.len() - 6) " more" } } }
                }
            }
        }
    }
}

fn tally_bar(report: &Report<'_>, tally: &Tally<'_>) -> Markup {
    let parts: Vec<(Grade, usize)> = tally.counts.iter().rev().filter(|c| c.1 > 0).copied().collect();
    let label: Vec<String> = parts.iter().map(|(g, n)| format!("{n} {}", words::grade(*g))).collect();
    html! {
        div class="tally" {
            p { (topology(report, tally.topology))
                span class="figure" { b { (tally.of(Grade::Ok)) } " of " (tally.judged()) " hold" } }
            div class="bar" role="img" aria-label=(label.join(", ")) {
                @for (grade, n) in &parts {
                    i class=(tone(*grade)) style={ "flex:" (n) } title={ (n) " " (words::grade(*grade)) } {}
                }
            }
        }
    }
}

fn costs(report: &Report<'_>) -> Markup {
    html! {
        article class="card" {
            h2 { @if report.costs.len() == 1 { "What does the other topology cost?" } @else { "What do the others cost?" } }
            @if report.costs.len() <= 2 { @for cost in &report.costs { (cost_row(report, cost)) } }
            @else { (cost_table(report)) }
            @if let Some(first) = report.costs.first() {
                p class="quiet" {
                    "Response time against " b { (first.comparison.baseline) } ", "
                    (words::plural(first.comparison.pairs as usize, "interleaved pair")) " of "
                    (first.comparison.block_s) " s blocks at " (words::rate(first.comparison.rate_per_s))
                    ", effort " (first.comparison.effort) "."
                }
            }
        }
    }
}

fn cost_row(report: &Report<'_>, cost: &Cost<'_>) -> Markup {
    let c = cost.comparison;
    html! {
        div class="cost" {
            p { (topology(report, &c.candidate))
                @if !c.void.is_empty() { " " (badge("void", "void")) }
                @else if !c.doubts.is_empty() { " " a href="#comparison" { (badge("doubt", "doubts")) } }
            }
            @if c.void.is_empty() {
                ul class="figures" {
                    @for q in &cost.headline { (cost_figure(q)) }
                    @if let Some(t) = &c.throughput {
                        li {
                            span class="big" { "×" (format!("{:.2}", t.ratio)) }
                            span class="what" { "full speed" }
                            (badge(answer_tone(t.answer, t.ratio < 1.0), words::answer(t.answer)))
                        }
                    }
                }
            } @else {
                p class="quiet" { (c.void.join("; ")) }
            }
        }
    }
}

/// Many candidates: a line for each.
fn cost_table(report: &Report<'_>) -> Markup {
    let mut heads: Vec<(&str, f64)> = Vec::new();
    for q in report.costs.iter().flat_map(|c| &c.headline) {
        if !heads.contains(&(q.operation.as_str(), q.quantile)) {
            heads.push((&q.operation, q.quantile));
        }
    }
    let speed = report.costs.iter().any(|c| c.comparison.throughput.is_some());
    super::scrolling(
        "costs",
        html! {
            table class="compact" {
                thead { tr {
                    th scope="col" {}
                    @for (operation, quantile) in &heads { th scope="col" { (operation) " " (words::percentile(*quantile)) } }
                    @if speed { th scope="col" { "full speed" } }
                } }
                tbody {
                    @for cost in &report.costs {
                        @let void = !cost.comparison.void.is_empty();
                        tr {
                            th scope="row" { (topology(report, &cost.comparison.candidate)) @if void { " " (badge("void", "void")) } }
                            @for (operation, quantile) in &heads {
                                td {
                                    @if let Some(q) = cost.headline.iter().find(|q| q.operation == *operation && q.quantile == *quantile && !void) {
                                        span class={ "cell " (answer_tone(q.answer, q.difference_ns > 0.0)) }
                                            title={ (words::estimate(q)) ", " (words::answer(q.answer)) } {
                                            (nice(words::difference(q.difference_ns)))
                                            @if q.answer == Answer::Inconclusive { " ?" }
                                        }
                                    }
                                }
                            }
                            @if speed { td { @if let Some(t) = cost.comparison.throughput.as_ref().filter(|_| !void) {
                                span class={ "cell " (answer_tone(t.answer, t.ratio < 1.0)) } title=(words::answer(t.answer)) { "×" (format!("{:.2}", t.ratio)) }
                            } } }
                        }
                    }
                }
            }
        },
    )
}

fn cost_figure(q: &QuantileRecord) -> Markup {
    let worse = q.difference_ns > 0.0;
    let hint = format!("{}; margin {}", words::estimate(q), words::time(q.margin_ns));
    html! {
        li title=(hint) {
            span class={ "big" @if q.answer == Answer::Inconclusive { " unsure" } } { (nice(words::difference(q.difference_ns))) }
            span class="what" { (q.operation) " " (words::percentile(q.quantile)) }
            (badge(answer_tone(q.answer, worse), words::answer(q.answer)))
        }
    }
}

fn load(report: &Report<'_>) -> Markup {
    let thresholds = &report.run.thresholds;
    let of = |o: ThresholdOutcome| thresholds.iter().filter(|t| t.outcome == o).count();
    html! {
        article class="card" {
            h2 { "Did it hold under load?" }
            @for load in &report.run.loads {
                @let a = &load.accounting;
                div class="tally" {
                    p {
                        span {
                            (plain_topology(report, &load.topology))
                            @if load.certificate.is_void() { " " (badge("void", "void")) }
                            @else if !load.certificate.doubts.is_empty() { " " a href="#load" { (badge("doubt", "doubts")) } }
                        }
                        span class="figure" {
                            b { (words::count(a.completed)) } " answered, "
                            @if a.failed + a.timed_out == 0 { "0 failed" }
                            @else { b class="bad-text" { (words::count(a.failed + a.timed_out)) " failed" } }
                        }
                    }
                }
            }
            @if thresholds.is_empty() {
                p class="quiet" { "No threshold was set." }
            } @else {
                p { (of(ThresholdOutcome::Held)) " of " (words::plural(thresholds.len(), "threshold")) " held"
                    @if of(ThresholdOutcome::NotJudged) > 0 { ", " (of(ThresholdOutcome::NotJudged)) " not judged" } "." }
                ul class="serious" {
                    @for t in thresholds.iter().filter(|t| t.outcome == ThresholdOutcome::Missed).take(5) {
                        li { (badge("bad", "missed")) " " code { (t.expression) } " "
                            span class="quiet" { "in " (t.topology) @if let Some(o) = &t.observed { ": " (nice(o)) } } }
                    }
                }
            }
        }
    }
}

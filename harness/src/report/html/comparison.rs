//! How does a topology differ from the baseline? Verdicts with intervals, the whole distribution, the controls.

use maud::{Markup, html};

use super::{answer_tone, badge, charts, nice, scrolling, topology};
use crate::record::{ComparisonRecord, QuantileRecord};
use crate::report::{Cost, Report, words};

/// The section; nothing where nothing was compared.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    if report.costs.is_empty() {
        return None;
    }
    Some(html! { @for (i, cost) in report.costs.iter().enumerate() { (one(report, cost, i)) } })
}

fn one(report: &Report<'_>, cost: &Cost<'_>, index: usize) -> Markup {
    let c = cost.comparison;
    let id = |chart: &str| format!("{chart}-{index}");
    let headline: Vec<&QuantileRecord> = cost.headline.iter().copied().filter(|q| q.differences_ns.len() > 1).collect();
    html! {
        article class={ "compared" @if !c.void.is_empty() { " void" } } {
            h3 { (topology(report, &c.candidate)) " against " (topology(report, &c.baseline)) }
            @if cost.stand_in {
                p class="notice" { "The embedded proxy is a stand-in that Assay brings along where no real proxy is installed. Its "
                    "cost is its own, not that of nginx, HAProxy or Caddy." }
            }
            (design(c))
            @for void in &c.void { p class="notice void" { (badge("void", "void")) " No verdict may be drawn: " (void) "." } }
            (scrolling("differences by operation and quantile", table(c)))
            @if let Some(t) = &c.throughput {
                p class="wide" { b { "Full speed. " } (words::rate(t.candidate_per_s)) " against " (words::rate(t.baseline_per_s)) ": ×"
                    (format!("{:.3}", t.ratio)) " (" (format!("{:.3}", t.low)) " to " (format!("{:.3}", t.high)) ", "
                    (words::share(t.confidence)) ", n = " (words::plural(t.pairs as usize, "pair")) ") "
                    (badge(answer_tone(t.answer, t.ratio < 1.0), words::answer(t.answer))) }
            }
            div class="charts" {
                @if !c.quantiles.is_empty() {
                    figure class="chart" {
                        figcaption { "Differences and what matters"
                            span class="quiet" { "dot: Hodges-Lehmann estimate; bar: exact Wilcoxon interval; shaded: the margin within which a difference does not matter" } }
                        (charts::forest(&id("forest"), c))
                    }
                }
                @if !cost.curves.is_empty() {
                    figure class="chart" {
                        figcaption { "Response time by percentile"
                            span class="quiet" { (c.operation) ", all blocks merged; " @for (i, k) in cost.curves.iter().enumerate() { @if i > 0 { ", " } (k.name) " n = " (words::count(k.n)) } } }
                        (charts::spectrum(&id("pair-spectrum"), &c.operation, &cost.curves))
                        (charts::legend(report, cost.curves.iter().map(|k| k.name)))
                    }
                }
                @if !c.shift.is_empty() {
                    figure class="chart" {
                        figcaption { "Shift function of " (c.operation)
                            span class="quiet" { "difference at each percentile; the band is a bootstrap over pairs, drawn and not judged by" } }
                        (charts::shift(&id("shift"), c, report.index(&c.candidate)))
                    }
                }
                @for (j, q) in headline.iter().take(2).enumerate() {
                    figure class="chart" {
                        figcaption { "Pair by pair, " (words::percentile(q.quantile)) " of " (q.operation)
                            span class="quiet" { "n = " (words::plural(q.differences_ns.len(), "pair")) " in run order; line: estimate; band: interval" } }
                        (charts::pairs(&id(&format!("pairs{j}")), q, report.index(&c.candidate)))
                    }
                }
            }
            (controls(c))
            @if !c.doubts.is_empty() {
                ul class="doubts" { @for doubt in &c.doubts { li { (badge("doubt", "doubt")) " " (doubt) } } }
            }
        }
    }
}

fn design(c: &ComparisonRecord) -> Markup {
    html! {
        p class="quiet wide" {
            b { (c.effort) } ": " (words::plural(c.pairs as usize, "pair")) " of " (c.block_s) " s blocks, order randomised within a pair, at "
            (words::rate(c.rate_per_s))
            @if let Some(knee) = c.knee_per_s {
                " (" (words::share(c.rate_per_s / knee.max(1e-9))) " of the slower arm's highest rate of " (words::rate(knee)) ")"
            }
            @if !c.dropped.is_empty() { "; " (words::plural(c.dropped.len(), "pair")) " dropped" }
            "."
        }
    }
}

fn table(c: &ComparisonRecord) -> Markup {
    html! {
        table class="numbers" {
            thead { tr {
                th scope="col" { "operation" } th scope="col" { "quantile" }
                th scope="col" { (c.baseline) } th scope="col" { (c.candidate) }
                th scope="col" { "difference" } th scope="col" { "interval" @if let Some(q) = c.quantiles.first() { ", " (words::share(q.confidence)) } } th scope="col" { "ratio" }
                th scope="col" { "answer" } th scope="col" { "margin" } th scope="col" title="the smallest difference that this many pairs show four times in five" { "would see" } th scope="col" { "n" }
            } }
            tbody {
                @for q in &c.quantiles {
                    tr class=[q.gating.then_some("gating")] {
                        th scope="row" { (q.operation) }
                        td { (words::percentile(q.quantile)) @if q.gating { " " (badge("level", "gate")) } }
                        td { (nice(words::time(q.baseline_ns))) }
                        td { (nice(words::time(q.candidate_ns))) }
                        td { b { (nice(words::difference(q.difference_ns))) } }
                        td { @if q.confidence > 0.0 {
                            (nice(words::time(q.low_ns))) " to " (nice(words::time(q.high_ns)))
                        } @else { "\u{2013}" } }
                        td { "×" (format!("{:.2}", q.ratio)) }
                        td { (badge(answer_tone(q.answer, q.difference_ns > 0.0), words::answer(q.answer)))
                            @if let Some(n) = q.pairs_needed { span class="aside" { "about " (n) " pairs would decide" } } }
                        td { (nice(words::time(q.margin_ns))) }
                        td { (nice(words::time(q.detectable_ns))) }
                        td { (q.pairs) }
                    }
                }
            }
        }
        @if c.quantiles.is_empty() { p class="quiet" { "No quantile had ten samples above it in every block." } }
    }
}

fn controls(c: &ComparisonRecord) -> Markup {
    html! {
        @if c.controls.is_empty() {
            p class="quiet" { "No control leg was run: that two equal arms come out equal is not shown here." }
        } @else {
            ul class="controls" {
                @for k in &c.controls {
                    li {
                        (badge(if k.holds { "ok" } else { "void" }, if k.holds { "holds" } else { "does not hold" }))
                        " " b { (k.name) } ": injected " (nice(words::time(k.injected_ns))) ", found "
                        (nice(words::difference(k.difference_ns))) " (" (nice(words::time(k.low_ns))) " to " (nice(words::time(k.high_ns)))
                        ", n = " (words::plural(k.pairs as usize, "pair")) ")"
                    }
                }
            }
        }
    }
}

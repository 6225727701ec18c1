//! What did the load see, and is it to be believed? Percentiles, courses over time, accounts, certificates.

use maud::{Markup, html};

use super::{badge, charts, nice, scrolling, tone, topology};
use crate::record::{LoadRecord, OperationRecord, ThresholdOutcome};
use crate::report::{Report, words};

/// The section; nothing where nothing was driven.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    let loads = &report.run.loads;
    if loads.is_empty() {
        return None;
    }
    let many = loads.iter().any(|l| l.seconds.len() > 2);
    Some(html! {
        p class="lead" {
            b { "Response time" } " runs from the intended start of a request to the last byte of its answer; "
            b { "service time" } " from the first byte on the wire. A server that stalls is seen in the first, even when the "
            "requests behind it were answered quickly."
        }
        (scrolling("response time by operation", table(report)))
        div class="charts" {
            @for (i, spectrum) in report.spectra.iter().enumerate() {
                figure class="chart" {
                    figcaption { "Response time of " b { (spectrum.operation) } " by percentile"
                        span class="quiet" { @for (j, k) in spectrum.curves.iter().enumerate() { @if j > 0 { ", " } (k.name) " n = " (words::count(k.n)) } } }
                    (charts::spectrum(&format!("spectrum-{i}"), spectrum.operation, &spectrum.curves))
                    (charts::legend(report, spectrum.curves.iter().map(|k| k.name)))
                }
                @if many {
                    figure class="chart" {
                        figcaption { "Response time of " b { (spectrum.operation) } " by the second in which a request was due"
                            span class="quiet" { @if charts::seconds_carry_p99(report, spectrum.operation) { "each second's p50 (bold) and p99 (thin, dashed)" } @else { "lines: each second's p50 where it has 20 samples; dots: its slowest request" } } }
                        (charts::over_time(report, &format!("time-{i}"), spectrum.operation))
                        (charts::legend(report, spectrum.curves.iter().map(|k| k.name)))
                    }
                }
            }
            @if many {
                figure class="chart" {
                    figcaption { "Throughput" span class="quiet" { "requests that ended in each second, all operations" } }
                    (charts::throughput(report, "throughput", false))
                    (charts::legend(report, loads.iter().map(|l| l.topology.as_str())))
                }
                @let failed: u64 = loads.iter().flat_map(|l| &l.seconds).map(|s| s.failed).sum();
                @if failed > 0 {
                    figure class="chart" {
                        figcaption { "Errors" span class="quiet" { "by the second in which they were planned: failed or timed out, all operations" } }
                        (charts::throughput(report, "errors", true))
                        (charts::legend(report, loads.iter().map(|l| l.topology.as_str())))
                    }
                }
            }
        }
        @for load in loads { (detail(report, load)) }
    })
}

fn table(report: &Report<'_>) -> Markup {
    html! {
        table class="numbers" {
            thead { tr {
                @for head in ["operation", "topology", "n", "p50", "p90", "p99", "p99.9", "max", "service p50", "service p99", "failed"] {
                    th scope="col" { (head) }
                }
            } }
            tbody {
                @for operation in report.operations() {
                    @let rows = report.by_load(operation);
                    @for (i, (load, o)) in rows.iter().enumerate() { (row(report, load, o, (i == 0).then_some(rows.len()))) }
                }
            }
        }
    }
}

fn row(report: &Report<'_>, load: &LoadRecord, o: &OperationRecord, span: Option<usize>) -> Markup {
    let h = &o.response;
    let failed = o.accounting.failed + o.accounting.timed_out;
    html! {
        tr class=[load.certificate.is_void().then_some("void")] {
            @if let Some(rows) = span { th scope="rowgroup" rowspan=(rows) { (o.operation) } }
            td { (topology(report, &load.topology))
                @if load.certificate.is_void() { " " (badge("void", "void")) }
                @else if !load.certificate.doubts.is_empty() { " " (badge("doubt", "doubts")) } }
            td { (words::count(h.n)) }
            @for q in [0.5, 0.9, 0.99, 0.999] { td { (nice(words::quantile_of(h, q))) } }
            td { @if h.n > 0 { (nice(words::largest(h))) } @else { "\u{2013}" } }
            td { (nice(words::quantile_of(&o.service, 0.5))) }
            td { (nice(words::quantile_of(&o.service, 0.99))) }
            td { @if failed == 0 { "0" } @else { b class="bad-text" { (words::count(failed)) } } }
        }
    }
}

fn detail(report: &Report<'_>, load: &LoadRecord) -> Markup {
    let a = &load.accounting;
    let c = &load.certificate;
    let optional = |v: Option<f64>| v.map_or_else(|| "not known".to_owned(), words::share);
    html! {
        details class="certificate" open[c.is_void() || !c.doubts.is_empty()] {
            summary { (topology(report, &load.topology))
                @if c.is_void() { " " (badge("void", "void")) }
                @else if c.doubts.is_empty() { " " (badge("ok", "no doubts")) }
                @else { " " (badge("doubt", &words::plural(c.doubts.len(), "doubt"))) }
                span class="where" { (load.model) ", " (load.duration_s) " s after " (load.warmup_s) " s of warm-up, "
                    (words::plural(load.connections as usize, "connection")) } }
            div class="inside" {
                @for void in &c.void { p { (badge("void", "void")) " " (void) } }
                @for doubt in &c.doubts { p { (badge("doubt", "doubt")) " " (doubt) } }
                @for note in &c.notes { p class="aside" { (note) } }
                p class="identity" {
                    "planned " b { (words::count(a.planned)) } " = completed " b { (words::count(a.completed)) } " + failed "
                    b { (words::count(a.failed)) } " + timed out " b { (words::count(a.timed_out)) } " + skipped "
                    b { (words::count(a.skipped)) } " + in flight at the end " b { (words::count(a.in_flight)) }
                    @if a.unsent > 0 { " + never sent " b { (words::count(a.unsent)) } }
                    @if a.by_us > 0 { " + refused for our own doing " b { (words::count(a.by_us)) } }
                    @if !a.adds_up() { " " (badge("broken", "does not add up")) }
                }
                dl class="facts" {
                    div { dt { "sent by the plan's end" } dd { (words::share(c.achieved)) } }
                    div { dt { "lag p50, p99" } dd { (nice(words::time(c.lag_p50_ns as f64))) ", " (nice(words::time(c.lag_p99_ns as f64))) } }
                    div { dt { "turns with work, busiest loop" } dd { (words::share(c.busy)) } }
                    div { dt { "loops, idle policy" } dd { (load.workers) ", " (load.idle) } }
                    div { dt { "CPU of the generator" } dd { (format!("{:.2} s", c.cpu_s)) } }
                    div { dt { "steal" } dd { (optional(c.steal)) } }
                    div { dt { "CPU pressure" } dd { (optional(c.pressure)) } }
                    @if c.workers.len() > 1 { @for w in &c.workers {
                        div { dt { "loop on processor " (w.processor.map_or_else(|| "any".to_owned(), |p| p.to_string())) }
                            dd { (words::share(w.busy)) " busy, " (format!("{:.2} s", w.cpu_s)) " CPU, " (words::count(w.sent)) " sent" } }
                    } }
                    @if let (Some(p50), Some(p99)) = (c.floor_p50_ns, c.floor_p99_ns) {
                        div { dt { "floor: a server that answers at once, service p50, p99" } dd { (nice(words::time(p50 as f64))) ", " (nice(words::time(p99 as f64))) } }
                    }
                    @if let Some(throttled) = c.throttled { div { dt { "stood still, quota of CPU used up" } dd { (words::share(throttled)) } } }
                    div { dt { "ports in TIME_WAIT" } dd { (c.time_wait.map_or_else(|| "not known".to_owned(), words::count)) } }
                    @if let Some(ratio) = load.distinct_token_ratio { div { dt { "distinct tokens" } dd { (words::share(ratio)) } } }
                    @if load.sent_again > 0 { div { dt { "sent again, connections opened" } dd { (words::count(load.sent_again)) ", " (words::count(load.opened)) } } }
                    @if let Some(f) = &load.flow { div { dt { "flows: begun, completed, abandoned, cut at the end" } dd { (words::count(f.started)) ", " (words::count(f.completed)) ", " (words::count(f.abandoned)) ", " (words::count(f.cut)) } } }
                    @let h = &load.housekeeping;
                    @if h.logins + h.refreshes > 0 { div { dt { "off the timed path: logins, refreshes, failed, behind at the end" } dd { (words::count(h.logins)) ", " (words::count(h.refreshes)) ", " (words::count(h.failed)) ", " (words::count(h.behind)) } } }
                    @if let Some(who) = &c.bottleneck { div { dt { "limited by" } dd { (who) } } }
                    @if let Some(hlog) = &load.hlog { div { dt { "interval log" } dd { code { (hlog) } } } }
                }
                (search(load))
                (errors(load))
                (phases(load))
                @if !load.findings.is_empty() {
                    p class="label" { "Wrong under load" }
                    ul { @for f in &load.findings { li {
                        @if let Some(grade) = f.grade { (badge(tone(grade), words::grade(grade))) " " }
                        (words::under_load(f))
                    } } }
                }
                @if let Some(looked_at) = words::looked_at(load) { p class="aside" { (looked_at) } }
            }
        }
    }
}

/// The tries of a search for the highest rate.
fn search(load: &LoadRecord) -> Markup {
    html! {
        @if let Some(found) = &load.found {
            p class="label" { "Search for the highest rate: " (words::found(found)) ", " (words::rate(found.low_per_s)) " to " (words::rate(found.high_per_s))
                @if found.searches > 0 { ", " (words::plural(found.searches as usize, "search")) ", " (words::share(found.level)) " confidence" } }
            @if let Some(why) = &found.ended { p class="aside" { "It ended early: " (why) } }
            (scrolling("tries", html! {
                table class="numbers" {
                    thead { tr { @for head in ["rate", "seconds", "held", "why not"] { th scope="col" { (head) } } } }
                    tbody { @for t in &found.tries { tr {
                        th scope="row" { (words::rate(t.rate_per_s)) } td { (format!("{:.1}", t.seconds)) }
                        td { @if t.held { "yes" } @else { "no" } }
                        td class="text" { (t.why.as_deref().unwrap_or("\u{2013}")) }
                    } } }
                }
            }))
        }
    }
}

fn errors(load: &LoadRecord) -> Markup {
    let rows: Vec<_> = load.operations.iter().flat_map(|o| o.errors.iter().map(move |e| (o, e))).collect();
    html! {
        @if !rows.is_empty() {
            (scrolling("errors by kind", html! {
                table class="numbers" {
                    thead { tr { th scope="col" { "operation" } th scope="col" { "error" } th scope="col" { "count" } th scope="col" { "for example" } } }
                    tbody { @for (o, e) in rows { tr {
                        th scope="row" { (o.operation) } td { (e.kind) } td { (words::count(e.count)) }
                        td class="text" { (e.example.as_deref().unwrap_or("\u{2013}")) }
                    } } }
                }
            }))
        }
    }
}

fn phases(load: &LoadRecord) -> Markup {
    let rows: Vec<_> = load
        .operations
        .iter()
        .flat_map(|o| o.phases.iter().map(move |(name, h)| (o, name, h)))
        .filter(|r| r.2.n > 0)
        .collect();
    html! {
        @if !rows.is_empty() {
            (scrolling("phases", html! {
                table class="numbers" {
                    thead { tr { @for head in ["operation", "phase", "n", "p50", "p90", "p99", "max"] { th scope="col" { (head) } } } }
                    tbody { @for (o, name, h) in rows { tr {
                        th scope="row" { (o.operation) } td { (name) } td { (words::count(h.n)) }
                        @for q in [0.5, 0.9, 0.99] { td { (nice(words::quantile_of(h, q))) } }
                        td { (nice(words::time(h.max_ns as f64))) }
                    } } }
                }
            }))
        }
    }
}

/// The thresholds; nothing where none was set.
pub fn thresholds(report: &Report<'_>) -> Option<Markup> {
    if report.run.thresholds.is_empty() {
        return None;
    }
    Some(scrolling(
        "thresholds",
        html! {
            table class="numbers" {
                thead { tr { @for head in ["threshold", "topology", "observed", "outcome"] { th scope="col" { (head) } } } }
                tbody {
                    @for t in &report.run.thresholds {
                        @let tone = match t.outcome { ThresholdOutcome::Held => "ok", ThresholdOutcome::Missed => "bad", ThresholdOutcome::NotJudged => "open" };
                        tr {
                            th scope="row" { code { (t.expression) } }
                            td { (topology(report, &t.topology)) }
                            td { (t.observed.as_deref().map_or_else(|| "\u{2013}".to_owned(), nice)) }
                            td { (badge(tone, words::threshold(t.outcome))) @if let Some(r) = &t.reason { span class="aside" { (r) } } }
                        }
                    }
                }
            }
        },
    ))
}

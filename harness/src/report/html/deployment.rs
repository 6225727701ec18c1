//! What ran where? Topologies with their processes, notes about them, doubts, and the machine.

use maud::{Markup, html};

use super::{badge, scrolling, topology};
use crate::record::{ProcessRecord, TopologyRecord};
use crate::report::{Report, words};

/// The topologies, those left out included.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    let run = report.run;
    if run.topologies.is_empty() {
        return None;
    }
    let processes: Vec<(&TopologyRecord, &ProcessRecord)> =
        run.topologies.iter().flat_map(|t| t.processes.iter().map(move |p| (t, p))).collect();
    Some(html! {
        ul class="chains" {
            @for t in &run.topologies {
                li class=[t.left_out.as_ref().map(|_| "left-out")] {
                    (topology(report, &t.name))
                    span class="chain" {
                        @for (i, link) in t.chain.iter().enumerate() {
                            @if i > 0 { span class="arrow" aria-label="behind" { "←" } }
                            span class="link" { (link) }
                        }
                    }
                    @if let Some(why) = &t.left_out { span class="quiet" { "left out: " (why) } }
                    @if let Some(url) = &t.url { code { (url) } }
                }
            }
        }
        @if !processes.is_empty() {
            (scrolling("processes", html! {
                table class="numbers" {
                    thead { tr { @for head in ["topology", "process", "version", "ready after", "cores", "CPU", "memory, peak", "processes", "log"] { th scope="col" { (head) } } } }
                    tbody { @for (t, p) in &processes { tr {
                        td { (topology(report, &t.name)) }
                        th scope="row" { (p.name) }
                        td class="text" { (p.version) }
                        td { (words::wall(p.ready_ms)) }
                        td { @if p.cpus.is_empty() { "any" } @else { (p.cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")) } }
                        td { (p.samples.last().map_or_else(|| "\u{2013}".to_owned(), |s| format!("{:.2} s", s.cpu_s))) }
                        td { (p.samples.iter().map(|s| s.rss_bytes).max().map_or_else(|| "\u{2013}".to_owned(), words::bytes)) }
                        td { (p.samples.iter().map(|s| s.processes).max().map_or_else(|| "\u{2013}".to_owned(), |n| n.to_string())) }
                        td { @if let Some(log) = &p.log { code { (log) } } @else { "\u{2013}" } }
                    } } }
                }
            }))
        }
    })
}

/// What was found out about the deployments, in prose.
pub fn notes(report: &Report<'_>) -> Option<Markup> {
    let notes = &report.run.notes;
    (!notes.is_empty()).then(|| html! { ul class="notes" { @for note in notes { li { (note) } } } })
}

/// Doubts about the measurement itself.
pub fn doubts(report: &Report<'_>) -> Option<Markup> {
    let warnings = &report.run.warnings;
    if warnings.is_empty() && report.unreadable.is_empty() {
        return None;
    }
    Some(html! {
        ul class="doubts" {
            @for w in warnings {
                li { (badge("doubt", &w.code)) " " @if let Some(t) = &w.topology { (topology(report, t)) ": " }
                    (w.message) @if let Some(hint) = &w.hint { span class="aside" { "hint: " (hint) } } }
            }
            @for text in &report.unreadable { li { (badge("broken", "unreadable")) " " (text) } }
        }
    })
}

/// The machine and the run.
pub fn environment(report: &Report<'_>) -> Option<Markup> {
    let run = report.run;
    let e = &run.environment;
    Some(html! {
        dl class="facts" {
            div { dt { "processor" } dd { (e.cpu_model) ", " (e.cpus) " usable" } }
            div { dt { "memory" } dd { (words::bytes(e.memory_bytes)) } }
            div { dt { "kernel" } dd { (e.kernel) } }
            div { dt { "clock source" } dd { (e.clocksource) } }
            div { dt { "frequency governor" } dd { (e.governor.as_deref().unwrap_or("not shown")) } }
            div { dt { "Assay" } dd { (run.assay_version) ", record version " (run.schema_version) } }
            div { dt { "command" } dd { "assay " (run.command) } }
            div { dt { "seed" } dd { (run.seed) } }
            @if let Some(hash) = &run.scenario_sha256 { div { dt { "scenario, SHA-256" } dd { code class="hash" { (hash) } } } }
        }
    })
}

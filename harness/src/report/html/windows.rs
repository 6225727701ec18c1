//! From when to when is a token good? Each measured window as a picture, with its numbers.

use maud::{Markup, html};

use super::{charts, scrolling, topology};
use crate::record::WindowRecord;
use crate::report::{Report, words};

/// The section; nothing where no window was measured.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    let windows = &report.run.windows;
    if windows.is_empty() {
        return None;
    }
    Some(html! {
        p class="lead" {
            "A token is accepted in the green span. Between the last acceptance and the first refusal lies what could not "
            "be told. Times are seconds after the claim's own instant, by the clock of this machine; the server's "
            "clock may differ by the offset."
        }
        div class="charts" {
            @for name in report.names() {
                @let rows: Vec<&WindowRecord> = windows.iter().filter(|w| w.topology == name).collect();
                @if !rows.is_empty() {
                    figure class="chart" {
                        figcaption { (topology(report, name)) " " span class="quiet" { (words::plural(rows.len(), "window")) } }
                        (charts::window(&format!("window-{}", report.index(name)), name, &rows))
                    }
                }
            }
        }
        (scrolling("measured windows", table(report, windows)))
    })
}

fn table(report: &Report<'_>, windows: &[WindowRecord]) -> Markup {
    let s = |v: Option<f64>| v.map_or_else(|| "\u{2013}".to_owned(), |v| super::nice(words::seconds(v)));
    let range = |v: Option<(f64, f64)>| match v {
        Some((low, high)) => format!("{} to {}", s(Some(low)), s(Some(high))),
        None => "\u{2013}".to_owned(),
    };
    html! {
        table class="numbers" {
            thead { tr {
                @for head in ["topology", "endpoint", "claim", "lifetime", "last accepted", "first refused", "leeway", "clock offset", "boundary", "probes", "method"] {
                    th scope="col" { (head) }
                }
            } }
            tbody {
                @for w in windows {
                    tr {
                        td { (topology(report, &w.topology)) }
                        th scope="row" { (w.endpoint) }
                        td { code { (w.claim) } }
                        td { (w.lifetime_s.map_or_else(|| "\u{2013}".to_owned(), words::lifetime)) }
                        td { (s(w.last_accepted_s)) }
                        td { (s(w.first_refused_s)) }
                        td { (range(w.leeway_s)) }
                        td { (range(w.offset_s)) @if let Some(source) = &w.offset_source { span class="quiet" { " by " (source) } } }
                        td { (w.boundary.as_deref().unwrap_or("unknown")) }
                        td { (w.probes)
                            @if w.contradictions > 0 { " " (super::badge("doubt", &format!("{} contradict", w.contradictions))) } }
                        td { (w.method) @if let Some(note) = &w.note { span class="aside" { (note) } } }
                    }
                }
            }
        }
    }
}

//! What was found, and how is it seen again? The most serious first, with the evidence folded in.

use maud::{Markup, html};

use super::{badge, tone};
use crate::record::{Evidence, Grade, TokenView, Verdict};
use crate::report::{Finding, Report, words};

/// The section; nothing where there is neither a finding nor a skip.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    if report.run.checks.is_empty() {
        return None;
    }
    Some(html! {
        @if report.findings.is_empty() {
            p class="quiet" { "Every check that could be judged holds. What that does not mean: that the server is "
                "secure, or that what was skipped would hold." }
        }
        @for (i, finding) in report.findings.iter().enumerate() {
            (entry(finding, report.findings[..i].iter().all(|f| f.check.id != finding.check.id)))
        }
        @if !report.skips.is_empty() { (skips(report)) }
    })
}

/// One finding. Only the first of a check carries the anchor.
fn entry(finding: &Finding<'_>, anchor: bool) -> Markup {
    let c = finding.check;
    let open = matches!(c.grade, Grade::Violation | Grade::Required | Grade::StaleKnown | Grade::HarnessError);
    html! {
        details class={ "finding " (tone(c.grade)) } id=[anchor.then(|| format!("f-{}", c.id))] open[open] {
            summary {
                (badge(tone(c.grade), words::grade(c.grade)))
                code class="id" { (c.id) }
                span class="summary" { (c.summary) }
                span class="where" { (finding.topologies.join(", ")) }
            }
            div class="inside" {
                p class="requirement" { (c.requirement) }
                p class="quiet" {
                    (badge("level", words::level(c.level))) " " (c.sources.join(" · "))
                    @if finding.elsewhere_ok { " · " b { "holds in other topologies" } }
                    " · " (words::plural(c.requests as usize, "request")) ", " (words::wall(c.duration_ms))
                }
                @if let Some(known) = &c.known { p { b { "Known: " } (known) } }
                @if let Some(reason) = &c.reason { p { b { "Reason: " } code { (reason) } } }
                @if !c.variants.is_empty() { (variants(finding)) }
                @for e in &c.evidence { (evidence(e)) }
                p class="quiet" { "More: " code { "assay explain " (c.id) } }
            }
        }
    }
}

fn variants(finding: &Finding<'_>) -> Markup {
    html! {
        ul class="variants" {
            @for v in &finding.check.variants {
                @let t = if v.verdict == Verdict::Pass { "ok" } else { tone(v.grade) };
                li title=(v.summary) { (badge(t, words::grade(v.grade))) " " code { (v.name) } " " span class="quiet" { (v.finding) } }
            }
        }
    }
}

fn evidence(e: &Evidence) -> Markup {
    html! {
        div class="evidence" {
            @if let Some(v) = &e.variant { p class="variant" { "variant " code { (v) } } }
            dl {
                dt { "expected" } dd { (e.expected) }
                dt { "seen" } dd { (e.seen) }
                @if let Some(when) = when(e) { dt { "when" } dd { (when) } }
            }
            @if let Some(curl) = &e.curl {
                p class="label" { "See it again" }
                pre { code { (curl.trim_end()) } }
            }
            @if let Some(httpie) = &e.httpie {
                details { summary { "with HTTPie" } pre { code { (httpie.trim_end()) } } }
            }
            @if e.request.is_some() || e.response.is_some() || e.token.is_some() {
                details {
                    summary { "request, reply and token" }
                    @if let Some(token) = &e.token { (token_view(token)) }
                    @if let Some(request) = &e.request { p class="label" { "Request" } pre { code { (request.trim_end()) } } }
                    @if let Some(response) = &e.response {
                        p class="label" { "Reply" @if let Some(ns) = e.service_ns { " after " (super::nice(words::time(ns as f64))) } }
                        pre { code { (response.trim_end()) } }
                    }
                }
            }
        }
    }
}

/// When and on which connection it was seen, by whose clock, and what became of the genuine tokens beside it.
fn when(e: &Evidence) -> Option<String> {
    let mut said = match (e.sent_s, e.answered_s) {
        (Some(sent), Some(answered)) => format!("sent at {sent:.3} s, answered at {answered:.3} s of the examination"),
        (None, Some(at)) => format!("at {at:.3} s of the examination"),
        _ => return None,
    };
    if let Some(number) = e.connection {
        said.push_str(&format!(", on connection {number}"));
    }
    if let Some((low, high)) = e.clock_offset_s {
        said.push_str(&format!("; the server's clock is {low:+.1} to {high:+.1} s ahead of ours"));
    }
    let word = |held: bool| if held { "accepted" } else { "refused" };
    for c in &e.controls {
        let (before, after) = (word(c.before), word(c.after));
        said.push_str(&format!("; at `{}` a genuine token was {before} before and {after} after it", c.operation));
    }
    Some(said)
}

fn token_view(token: &TokenView) -> Markup {
    let pretty = |v: &serde_json::Value| serde_json::to_string_pretty(v).unwrap_or_default();
    html! {
        p class="label" { "Token " code { (token.fingerprint) } ", signature withheld" }
        div class="token" {
            pre { code { (pretty(&token.header)) } }
            pre { code { (pretty(&token.claims)) } }
        }
    }
}

fn skips(report: &Report<'_>) -> Markup {
    let checks: usize = report.skips.iter().map(|g| g.checks.len()).sum();
    html! {
        details class="finding skip" {
            summary {
                (badge("skip", "skipped"))
                span class="summary" { (words::plural(checks, "check")) " without a finding, by reason" }
            }
            div class="inside" {
                dl class="skips" {
                    @for group in &report.skips {
                        dt { code { (group.reason) } }
                        dd {
                            @for (i, (id, topologies)) in group.checks.iter().enumerate() {
                                @if i > 0 { ", " }
                                code title={ "in " (topologies.join(", ")) } { (id) }
                            }
                        }
                    }
                }
            }
        }
    }
}

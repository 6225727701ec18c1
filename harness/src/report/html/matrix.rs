//! Which check holds in which topology? Every check, with requirement, source and level.

use maud::{Markup, html};

use super::{badge, scrolling, sign, tone, topology};
use crate::record::Grade;
use crate::report::{MatrixGroup, MatrixRow, Report, words};

/// The groups of the catalogue in plain words.
const GROUPS: [(&str, &str); 15] = [
    ("ISSUE", "issuing tokens"),
    ("STRUCT", "structure of tokens"),
    ("SIG", "signatures, algorithms and keys in headers"),
    ("TIME", "expiry, not-before and clocks"),
    ("TYPE", "types of claims"),
    ("CLAIM", "meaning of claims"),
    ("REFRESH", "refreshing and rotation"),
    ("REVOKE", "revocation"),
    ("VERIFY", "verification and introspection"),
    ("BEARER", "the protected resource"),
    ("KEYS", "published keys and rotation"),
    ("JWE", "encrypted tokens"),
    ("DOS", "exhaustion"),
    ("LEAK", "leaks"),
    ("PROXY", "what a proxy changes"),
];

/// Up to this many checks, all groups stand open.
const OPEN_CHECKS: usize = 60;

/// The section; nothing where no check ran.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    if report.matrix.is_empty() {
        return None;
    }
    let differ: Vec<&MatrixRow> = report.matrix.iter().flat_map(|g| &g.rows).filter(|r| r.differs()).collect();
    let all: usize = report.matrix.iter().map(|g| g.rows.len()).sum();
    Some(html! {
        p class="lead" {
            (words::plural(all, "check")) " in " (words::plural(report.topologies.len(), "topology")) ". "
            @if report.topologies.len() > 1 {
                @if differ.is_empty() { "The topologies agree on every one of them." }
                @else {
                    "The topologies disagree on "
                    @for (i, row) in differ.iter().enumerate() { @if i > 0 { ", " } code { (row.check.id) } }
                    "."
                }
            }
        }
        ul class="legend signs" {
            @for grade in words::GRADES.iter().rev() {
                @if report.tallies.iter().any(|t| t.of(*grade) > 0) {
                    li { span class={ "cell " (tone(*grade)) } aria-hidden="true" { (sign(*grade)) } " "
                        b { (words::grade(*grade)) } ": " (words::grade_meaning(*grade)) }
                }
            }
        }
        @for group in &report.matrix { (block(report, group, all <= OPEN_CHECKS)) }
    })
}

fn block(report: &Report<'_>, group: &MatrixGroup<'_>, all_open: bool) -> Markup {
    let plain = GROUPS.iter().find(|g| g.0 == group.group).map_or("", |g| g.1);
    let cells = || group.rows.iter().flat_map(|r| r.cells.iter().flatten());
    let worst = cells().map(|c| c.grade).min_by_key(|g| words::severity(*g)).unwrap_or(Grade::Skip);
    let open = all_open || !matches!(worst, Grade::Ok | Grade::Skip);
    let narrow = report.topologies.len() > 4;
    html! {
        details class="group" open[open] {
            summary { b { (group.group) } " " span class="quiet" { (plain) }
                span class="where" { (words::plural(group.rows.len(), "check")) } }
            (scrolling(&format!("checks of the group {}", group.group), html! {
                table class={ "matrix" @if narrow { " narrow" } } {
                    thead { tr {
                        th scope="col" { "check" }
                        @for t in &report.topologies { th scope="col" class="cell-head" { (topology(report, &t.name)) } }
                    } }
                    tbody { @for row in &group.rows { (line(report, row)) } }
                }
            }))
        }
    }
}

fn line(report: &Report<'_>, row: &MatrixRow<'_>) -> Markup {
    let c = row.check;
    let found = row.cells.iter().flatten().any(|c| !matches!(c.grade, Grade::Ok | Grade::Skip));
    html! {
        tr class=[row.differs().then_some("differs")] {
            th scope="row" {
                @if found { a href={ "#f-" (c.id) } { code { (c.id) } } } @else { code { (c.id) } }
                " " (badge("level", words::level(c.level)))
                @if row.differs() { " " (badge("doubt", "differs")) }
                span class="sources" { (c.sources.join(" · ")) }
                span class="requirement" { (c.requirement) }
            }
            @for (cell, t) in row.cells.iter().zip(&report.topologies) {
                td {
                    @match cell {
                        Some(c) => {
                            @let reason = c.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
                            span class={ "cell " (tone(c.grade)) }
                                title={ (t.name) ": " (words::grade(c.grade)) (reason) ". " (c.summary) } {
                                span aria-hidden="true" { (sign(c.grade)) }
                                span class="word" { (words::grade(c.grade)) }
                                @if c.requests > 0 {
                                    span class="quiet cost" { (words::plural(c.requests as usize, "request")) ", " (words::wall(c.duration_ms)) }
                                }
                            }
                        }
                        None => span class="cell none" title={ "not run in " (t.name) } { "·" span class="word" { "not run" } }
                    }
                }
            }
        }
    }
}

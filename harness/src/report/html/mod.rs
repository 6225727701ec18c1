//! What does a person read? One page that answers first and shows its evidence after, without network or script.

mod answers;
mod charts;
mod comparison;
mod deployment;
mod findings;
mod first;
mod glossary;
mod load;
mod matrix;
mod windows;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use crate::record::{Answer, Grade};

/// Forbids everything that the page does not need: no script, no connection, no font, no frame.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Writes the page.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(page(report).into_string().as_bytes())
}

/// A section of the page: its anchor, its name in the contents, and what it shows. Empty ones are left out.
struct Section {
    anchor: &'static str,
    name: &'static str,
    content: Option<Markup>,
}

fn page(report: &Report<'_>) -> Markup {
    let run = report.run;
    let section = |anchor, name, content| Section { anchor, name, content };
    let sections: Vec<Section> = [
        section("answers", "In plain words", answers::section(report)),
        section("findings", "Findings", findings::section(report)),
        section("notes", "Notes", deployment::notes(report)),
        section("comparison", "Comparison", comparison::section(report)),
        section("conformance", "Conformance", matrix::section(report)),
        section("windows", "Expiry windows", windows::section(report)),
        section("load", "Load", load::section(report)),
        section("thresholds", "Thresholds", load::thresholds(report)),
        section("deployments", "Deployments", deployment::section(report)),
        section("doubts", "Doubts", deployment::doubts(report)),
        section("environment", "Environment", deployment::environment(report)),
        section("reading", "How to read this", Some(glossary::section())),
    ]
    .into_iter()
    .filter(|s| s.content.is_some())
    .collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "Assay " (run.assay_version) };
                title { (report.outcome.word) ": " (run.scenario) " - Assay" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                a class="skip-link" href="#main" { "Skip to the findings" }
                header class="page" { (first::header(report)) }
                nav aria-label="Contents" {
                    ul { @for s in &sections { li { a href={ "#" (s.anchor) } { (s.name) } } } }
                }
                main id="main" {
                    (first::screen(report))
                    @for s in &sections {
                        section id=(s.anchor) aria-labelledby={ "h-" (s.anchor) } {
                            h2 id={ "h-" (s.anchor) } { (s.name) }
                            @if let Some(content) = &s.content { (content) }
                        }
                    }
                }
                footer {
                    p { "Assay " (run.assay_version) ", run " code { (run.id) } ", started " (run.started) ". "
                        "Every figure can be worked out again from " code { "run.json" } " beside this page." }
                }
            }
        }
    }
}

/// Figures as they look best in print: the micro sign, a real minus.
fn nice(text: impl AsRef<str>) -> String {
    let text = text.as_ref().replace(" us", "\u{202f}µs");
    let text = [" ms", " ns", " s", " %"].iter().fold(text, |t, unit| {
        // A narrow space keeps number and unit on one line.
        match t.strip_suffix(unit) {
            Some(number) => format!("{number}\u{202f}{}", unit.trim_start()),
            None => t,
        }
    });
    let text = text.replace(">= ", "\u{2265}\u{202f}");
    match text.strip_prefix('-') {
        Some("") => "\u{2013}".to_owned(),
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

/// The class that colours a grade.
fn tone(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "ok",
        Grade::Violation | Grade::Required | Grade::StaleKnown => "bad",
        Grade::HarnessError => "broken",
        Grade::Weakness => "weak",
        Grade::Inconclusive => "open",
        Grade::Known => "known",
        Grade::Note => "note",
        Grade::Skip => "skip",
    }
}

/// The sign of a grade, so that nothing depends on colour alone.
fn sign(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "\u{2713}",
        Grade::Violation => "\u{2717}",
        Grade::Required => "\u{2717}",
        Grade::StaleKnown => "\u{21ba}",
        Grade::HarnessError => "!",
        Grade::Weakness => "\u{25b3}",
        Grade::Inconclusive => "?",
        Grade::Known => "\u{25c7}",
        Grade::Note => "i",
        Grade::Skip => "\u{2013}",
    }
}

/// The class that colours an answer.
fn answer_tone(answer: Answer, worse: bool) -> &'static str {
    match answer {
        Answer::Different if worse => "weak",
        Answer::Different | Answer::Equivalent => "ok",
        Answer::Inconclusive => "open",
    }
}

/// A word on a coloured ground.
fn badge(tone: &str, text: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (text) } }
}

/// A topology with its colour, and a mark where a stand-in is part of it.
fn topology(report: &Report<'_>, name: &str) -> Markup {
    let index = report.index(name);
    html! {
        span class="topology" {
            i class={ "swatch s" (index % 8) } {}
            (name)
            @if report.stand_in(name) { " " span class="badge stand-in" title="the embedded proxy stands in for a real one" { "stand-in" } }
        }
    }
}

/// A topology with its colour, where there is no room for more.
fn plain_topology(report: &Report<'_>, name: &str) -> Markup {
    html! { span class="topology" { i class={ "swatch s" (report.index(name) % 8) } {} (name) } }
}

/// A table that scrolls by itself where the page is narrow.
fn scrolling(label: &str, table: Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label=(label) { (table) } }
}

//! What does the run say in plain words? Questions with their answers, each leading to its evidence.

use maud::{Markup, html};

use super::nice;
use crate::report::{Report, questions};

/// Every question that the record answers; nothing where it answers none.
pub fn section(report: &Report<'_>) -> Option<Markup> {
    let all = questions(report);
    (!all.is_empty()).then(|| {
        html! {
            dl class="questions" {
                @for question in &all {
                    dt { (question.ask) " " a class="quiet" href={ "#" (question.anchor) } { "evidence" } }
                    @for answer in &question.answers { dd { (with_code(&nice(answer))) } }
                }
            }
        }
    })
}

/// Text in which backticks set code apart.
fn with_code(text: &str) -> Markup {
    html! {
        @for (i, part) in text.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

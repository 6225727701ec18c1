//! Which words does the report use, and what do they mean?

use maud::{Markup, html};

const WORDS: [(&str, &str); 14] = [
    (
        "response time",
        "from the planned start of a request to the last byte of the answer. What a caller waits when the server falls behind.",
    ),
    (
        "service time",
        "from the first byte on the wire to the last byte of the answer. What the server needs once it has the request.",
    ),
    ("lag", "from the planned start to the first byte on the wire. The generator's own lateness, never the server's."),
    (
        "planned",
        "every arrival that the plan held; each is completed, failed, timed out, skipped or in flight at the end.",
    ),
    (
        "percentile",
        "p99 is exceeded by one request in a hundred. Printed only where at least ten samples are expected above it; \u{2265} marks one that unfinished requests could still raise.",
    ),
    (
        "pair",
        "a block of the baseline and a block of the candidate, driven next to each other in random order with the same seed. Pairs, not requests, are the samples of a comparison.",
    ),
    (
        "interval",
        "the exact Wilcoxon signed-rank interval of the pair differences, with the coverage it really has. The dot in it is the Hodges-Lehmann estimate.",
    ),
    (
        "different, equivalent, inconclusive",
        "the interval excludes zero and the estimate is beyond the margin; the interval lies inside the margin; neither. The margin is the larger of 5 % and 50 \u{b5}s.",
    ),
    ("would see", "the smallest difference that this number of pairs would show four times in five."),
    ("A/A control", "the same topology compared with itself. Where that finds a difference, the comparison is void."),
    ("void", "no verdict may be drawn from these numbers, for the reason given."),
    ("doubt", "a reason to trust a number less, printed beside it."),
    (
        "must, should, info",
        "the level of a check in the dialect of the target. A must that fails is a violation, a should a weakness, an info a note.",
    ),
    (
        "stand-in",
        "the small proxy that Assay brings along. It shows what a hop does; it is not a rival of nginx, HAProxy or Caddy.",
    ),
];

/// The words, folded.
pub fn section() -> Markup {
    html! {
        details class="glossary" {
            summary { "Words used here" }
            dl { @for (word, meaning) in WORDS { dt { (word) } dd { (meaning) } } }
        }
        p class="quiet" { "A pass means that the checks that ran did not find the requirement broken. It does not mean that the server is "
            "secure, nor that what was skipped would hold, nor that numbers from one machine hold on another." }
    }
}

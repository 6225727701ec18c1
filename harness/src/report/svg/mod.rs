//! How is a chart drawn? A small typed toolkit: scales, axes, marks. The same input gives the same bytes.
//!
//! Colours are classes of the page's style sheet (`s0`, `s1`, ... for topologies), so that a chart follows the
//! light and the dark theme. Every chart has a title and a description for readers that do not see it.

mod axis;
mod mark;
mod scale;

pub use axis::{Frame, x_axis, y_axis};
pub use mark::{area, band, dot, line, segment, span, words_at};
pub use scale::Scale;

use maud::{Markup, html};

/// A whole drawing. `id` must be unique in the page.
pub fn drawing(id: &str, frame: &Frame, title: &str, description: &str, content: Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {} {}", frame.width, frame.height)) role="img"
            aria-labelledby=(format!("{id}-t {id}-d")) {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (description) }
            (content)
        }
    }
}

/// A coordinate: one decimal, no `-0`, no trailing `.0`.
pub fn at(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0 + 0.0;
    if rounded.fract() == 0.0 { format!("{rounded:.0}") } else { format!("{rounded:.1}") }
}

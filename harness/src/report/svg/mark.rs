//! Which marks carry the data? Lines, bands, dots, spans.

use maud::{Markup, html};

use super::at;

fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        out.push_str(if i == 0 { "M" } else { "L" });
        out.push_str(&at(*x));
        out.push(' ');
        out.push_str(&at(*y));
    }
    out
}

/// A line through points in page coordinates. A gap (a point that is not finite) breaks it.
pub fn line(points: &[(f64, f64)], class: &str) -> Markup {
    let pieces = points.split(|p| !p.0.is_finite() || !p.1.is_finite()).filter(|p| !p.is_empty());
    let joined: String = pieces.map(path).collect();
    html! { path class=(format!("line {class}")) d=(joined) {} }
}

/// The area between a lower and an upper edge.
pub fn band(low: &[(f64, f64)], high: &[(f64, f64)], class: &str) -> Markup {
    let edge: Vec<(f64, f64)> = low.iter().chain(high.iter().rev()).copied().collect();
    html! { path class=(format!("band {class}")) d=(format!("{}Z", path(&edge))) {} }
}

/// The area between points and a base line.
pub fn area(points: &[(f64, f64)], base: f64, class: &str) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    band(&[(first.0, base), (last.0, base)], points, class)
}

/// A dot with a text for those who point at it.
pub fn dot(x: f64, y: f64, radius: f64, class: &str, hover: &str) -> Markup {
    html! {
        circle class=(format!("dot {class}")) cx=(at(x)) cy=(at(y)) r=(at(radius)) { title { (hover) } }
    }
}

/// A straight line from one point to another.
pub fn segment(from: (f64, f64), to: (f64, f64), class: &str) -> Markup {
    html! { line class=(class) x1=(at(from.0)) y1=(at(from.1)) x2=(at(to.0)) y2=(at(to.1)) {} }
}

/// A bar from one x to another.
pub fn span(from: f64, to: f64, top: f64, height: f64, class: &str, hover: &str) -> Markup {
    html! {
        rect class=(class) x=(at(from)) y=(at(top)) width=(at((to - from).max(0.0))) height=(at(height)) rx="2" {
            title { (hover) }
        }
    }
}

/// A word in the drawing.
pub fn words_at(x: f64, y: f64, anchor: &str, class: &str, text: &str) -> Markup {
    html! { text class=(class) x=(at(x)) y=(at(y)) text-anchor=(anchor) { (text) } }
}

//! Where does the drawing area lie, and how are its axes labelled?

use maud::{Markup, html};

use super::{Scale, at};

/// A drawing with its margins.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Width in user units.
    pub width: f64,
    /// Height in user units.
    pub height: f64,
    /// Margin at the left, where the values of the y axis stand.
    pub left: f64,
    /// Margin at the right.
    pub right: f64,
    /// Margin at the top, where the name of the y axis stands.
    pub top: f64,
    /// Margin at the bottom, where the x axis stands.
    pub bottom: f64,
}

impl Frame {
    /// The margins that fit a chart with both axes.
    pub fn chart(width: f64, height: f64) -> Frame {
        Frame { width, height, left: 66.0, right: 14.0, top: 24.0, bottom: 46.0 }
    }
    /// From left to right.
    pub fn x(&self) -> (f64, f64) {
        (self.left, self.width - self.right)
    }
    /// From bottom to top, so that larger values lie higher.
    pub fn y(&self) -> (f64, f64) {
        (self.height - self.bottom, self.top)
    }
}

/// The x axis: ticks with their labels, and the name of what is shown.
pub fn x_axis(frame: &Frame, scale: &Scale, ticks: &[(f64, String)], name: &str) -> Markup {
    let (bottom, top) = frame.y();
    let (left, right) = frame.x();
    html! {
        g class="axis" {
            @for (value, label) in ticks {
                @let x = scale.at(*value);
                line class="grid" x1=(at(x)) x2=(at(x)) y1=(at(bottom)) y2=(at(top)) {}
                text x=(at(x)) y=(at(bottom + 16.0)) text-anchor=(anchor(x, left, right)) { (label) }
            }
            line class="base" x1=(at(left)) x2=(at(right)) y1=(at(bottom)) y2=(at(bottom)) {}
            text class="name" x=(at((left + right) / 2.0)) y=(at(frame.height - 8.0)) text-anchor="middle" { (name) }
        }
    }
}

/// The y axis: ticks with their labels, and the name of what is shown above them.
pub fn y_axis(frame: &Frame, scale: &Scale, ticks: &[(f64, String)], name: &str) -> Markup {
    let (left, right) = frame.x();
    html! {
        g class="axis" {
            @for (value, label) in ticks {
                @let y = scale.at(*value);
                line class="grid" x1=(at(left)) x2=(at(right)) y1=(at(y)) y2=(at(y)) {}
                text x=(at(left - 8.0)) y=(at(y + 4.0)) text-anchor="end" { (label) }
            }
            text class="name" x="0" y="12" { (name) }
        }
    }
}

/// Labels near an edge lean inwards, so that none is cut off.
fn anchor(x: f64, left: f64, right: f64) -> &'static str {
    match x {
        x if x > right - 12.0 => "end",
        x if x < left + 4.0 && left < 20.0 => "start",
        _ => "middle",
    }
}

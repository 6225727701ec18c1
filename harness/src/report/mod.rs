//! How is a run shown? One table of renderers, each a pure function of the view model.

mod answers;
mod csv;
mod html;
mod json;
mod junit;
mod markdown;
mod openmetrics;
mod sarif;
mod svg;
mod terminal;
#[cfg(test)]
pub(crate) mod tests;
mod view;
mod words;

use std::io;

pub use answers::{Question, questions};
pub use json::run_schema;
pub use terminal::{Paint, stored_summary, summary};
pub use view::{Cost, Curve, Finding, MatrixGroup, MatrixRow, Outcome, Report, SkipGroup, Spectrum, Tally};

/// A format that a run can be rendered to.
#[derive(Clone, Copy)]
pub struct Format {
    /// What the user types after `--format`.
    pub name: &'static str,
    /// The file it is written to, in the run's folder.
    pub file: &'static str,
    /// What it is for, in one line.
    pub purpose: &'static str,
    /// Writes the whole document.
    pub render: fn(&Report<'_>, &mut dyn io::Write) -> io::Result<()>,
}

/// Every format there is.
pub fn formats() -> &'static [Format] {
    &[
        Format { name: "html", file: "report.html", purpose: "one file for people, no network", render: html::render },
        Format { name: "json", file: "run.json", purpose: "everything, as recorded", render: json::render },
        Format { name: "junit", file: "junit.xml", purpose: "test results for CI servers", render: junit::render },
        Format { name: "sarif", file: "report.sarif", purpose: "findings for code scanning", render: sarif::render },
        Format { name: "md", file: "report.md", purpose: "a summary for pull requests", render: markdown::render },
        Format { name: "csv", file: "report.csv", purpose: "every number, one per line", render: csv::render },
        Format {
            name: "openmetrics",
            file: "metrics.txt",
            purpose: "gauges for Prometheus and its relatives",
            render: openmetrics::render,
        },
    ]
}

/// The format of that name.
pub fn format(name: &str) -> Option<&'static Format> {
    formats().iter().find(|f| f.name == name)
}

//! Every number on a line of its own, for spreadsheets and scripts: tidy form, RFC 4180.

use std::io::{self, Write};

use super::{Report, words};
use crate::record::{Accounting, HistogramRecord};

/// Writes the table. `value`, `low` and `high` are in the unit that ends the metric's name. What requests could still move
/// that did not end is `censored`: it is at least `low`, and `high` is `inf`.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = report.run;
    let mut table = Table { out };
    table.line(&["kind", "topology", "subject", "metric", "value", "low", "high", "n", "verdict"])?;
    for c in &run.checks {
        let verdict = words::grade(c.grade);
        table.line(&["check", &c.topology, &c.id, "requests", &c.requests.to_string(), "", "", "", verdict])?;
    }
    for load in &run.loads {
        let verdict = if load.certificate.is_void() { "void" } else { "" };
        table.counts(&load.topology, "all", &load.accounting, verdict)?;
        if let Some(found) = &load.found {
            let numbers = [found.rate_per_s, found.low_per_s, found.high_per_s].map(|v| format!("{v:.2}"));
            let [value, low, high] = numbers.each_ref().map(String::as_str);
            let (n, verdict) = (found.searches.to_string(), words::found(found));
            table.line(&["load", &load.topology, "all", "highest_rate_per_s", value, low, high, &n, verdict])?;
        }
        for o in &load.operations {
            table.counts(&load.topology, &o.operation, &o.accounting, verdict)?;
            for (clock, histogram) in [("response", &o.response), ("service", &o.service), ("lag", &o.lag)] {
                table.histogram(&load.topology, &o.operation, clock, histogram, verdict)?;
            }
            for (phase, histogram) in &o.phases {
                table.histogram(&load.topology, &o.operation, phase, histogram, verdict)?;
            }
        }
    }
    for c in &run.comparisons {
        let pair = format!("{} against {}", c.candidate, c.baseline);
        let void = !c.void.is_empty();
        for q in &c.quantiles {
            let metric = format!("response_{}_difference_ns", words::percentile(q.quantile));
            let verdict = if void { "void" } else { words::answer(q.answer) };
            let subject = format!("{pair}: {}", q.operation);
            let numbers = [q.difference_ns, q.low_ns, q.high_ns].map(|v| format!("{v:.0}"));
            let [value, low, high] = numbers.each_ref().map(String::as_str);
            let n = q.pairs.to_string();
            table.line(&["comparison", &c.candidate, &subject, &metric, value, low, high, &n, verdict])?;
        }
        if let Some(t) = &c.throughput {
            let verdict = if void { "void" } else { words::answer(t.answer) };
            let numbers = [t.ratio, t.low, t.high].map(|v| format!("{v:.4}"));
            let [value, low, high] = numbers.each_ref().map(String::as_str);
            let n = t.pairs.to_string();
            table.line(&["comparison", &c.candidate, &pair, "throughput_ratio", value, low, high, &n, verdict])?;
        }
    }
    for w in &run.windows {
        let subject = format!("{} {}", w.endpoint, w.claim);
        if let Some((low, high)) = w.leeway_s {
            let (low, high, n) = (low.to_string(), high.to_string(), w.probes.to_string());
            table.line(&["window", &w.topology, &subject, "leeway_s", "", &low, &high, &n, ""])?;
        }
    }
    for t in &run.thresholds {
        let observed = t.observed.as_deref().unwrap_or_default();
        let verdict = words::threshold(t.outcome);
        table.line(&["threshold", &t.topology, &t.expression, "observed", observed, "", "", "", verdict])?;
    }
    Ok(())
}

struct Table<'a> {
    out: &'a mut dyn Write,
}

impl Table<'_> {
    fn line(&mut self, cells: &[&str; 9]) -> io::Result<()> {
        let quoted: Vec<String> = cells.iter().map(|c| quote(c)).collect();
        write!(self.out, "{}\r\n", quoted.join(","))
    }

    fn counts(&mut self, topology: &str, operation: &str, a: &Accounting, verdict: &str) -> io::Result<()> {
        let rows = [
            ("planned", a.planned),
            ("completed", a.completed),
            ("failed", a.failed),
            ("timed_out", a.timed_out),
            ("skipped", a.skipped),
            ("in_flight", a.in_flight),
            ("unsent", a.unsent),
            ("by_us", a.by_us),
        ];
        for (metric, value) in rows {
            self.line(&["load", topology, operation, metric, &value.to_string(), "", "", "", verdict])?;
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        topology: &str,
        operation: &str,
        clock: &str,
        h: &HistogramRecord,
        verdict: &str,
    ) -> io::Result<()> {
        if h.n == 0 {
            return Ok(());
        }
        let n = h.n.to_string();
        let ends = [("min", Some(h.min_ns)), ("max", Some(h.max_ns))];
        let printed = |q, ns| crate::stats::printable(h.n, q).then_some(ns);
        let quantiles = [
            ("p50", printed(0.5, h.p50_ns)),
            ("p90", printed(0.9, h.p90_ns)),
            ("p99", printed(0.99, h.p99_ns)),
            ("p99.9", h.p999_ns),
        ];
        let known = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0), ("mean", 100.0)];
        let mean = h.mean_ns.round() as u64;
        for (name, value) in ends.into_iter().chain(quantiles).chain([("mean", Some(mean))]) {
            let Some(value) = value else { continue };
            let (metric, value) = (format!("{clock}_{name}_ns"), value.to_string());
            let percentile = known.iter().find(|(known, _)| *known == name).map(|(_, percentile)| *percentile);
            let open = percentile.is_some_and(|percentile| words::is_censored(h, percentile));
            let (low, high) = if open { (value.as_str(), "inf") } else { ("", "") };
            let verdict = if open && verdict.is_empty() { "censored" } else { verdict };
            self.line(&["load", topology, operation, &metric, &value, low, high, &n, verdict])?;
        }
        Ok(())
    }
}

/// Quotes a cell where it must be, and takes the sting out of what a spreadsheet would run as a formula.
fn quote(cell: &str) -> String {
    let formula =
        cell.starts_with(['=', '@', '\t', '\r']) || (cell.starts_with(['+', '-']) && cell.parse::<f64>().is_err());
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

//! Which gauges does a run leave for Prometheus? OpenMetrics text.
//!
//! Written here rather than by a metrics library: those keep label sets in hash maps, and a report must come out the
//! same each time.

use std::io::{self, Write};

use super::{Report, words};
use crate::record::{Grade, HistogramRecord, ThresholdOutcome};

type Labels<'a> = Vec<(&'a str, String)>;

/// One family of metrics: all of its samples stand together, as the format wants it.
struct Family<'a> {
    name: &'a str,
    unit: &'a str,
    help: &'a str,
    samples: Vec<(Labels<'a>, f64)>,
}

/// Writes all families and the end mark.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    for family in families(report) {
        if family.samples.is_empty() {
            continue;
        }
        let name = family.name;
        writeln!(out, "# TYPE {name} gauge")?;
        if !family.unit.is_empty() {
            writeln!(out, "# UNIT {name} {}", family.unit)?;
        }
        writeln!(out, "# HELP {name} {}", escape(family.help))?;
        for (labels, value) in &family.samples {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
            writeln!(out, "{name}{{{}}} {value}", labels.join(","))?;
        }
    }
    out.write_all(b"# EOF\n")
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn families<'a>(report: &Report<'_>) -> Vec<Family<'a>> {
    let run = report.run;
    let scenario = || ("scenario", run.scenario.clone());
    let family = |name, unit, help| Family { name, unit, help, samples: Vec::new() };

    let mut info = family("assay_run", "", "the run; always 1");
    info.samples.push((
        vec![
            scenario(),
            ("run", run.id.clone()),
            ("version", run.assay_version.clone()),
            ("profile", run.profile.clone()),
        ],
        1.0,
    ));
    let mut exit =
        family("assay_exit_code", "", "what the command answered: 0 ok, 1 failed, 3 no verdict, 4 fault of ours");
    exit.samples.push((vec![scenario()], f64::from(run.exit_code)));
    let mut seconds = family("assay_run_duration_seconds", "seconds", "wall time of the run");
    seconds.samples.push((vec![scenario()], run.duration_ms as f64 / 1e3));

    let mut checks = family("assay_checks", "", "checks by grade");
    for tally in &report.tallies {
        for (grade, n) in &tally.counts {
            let labels = vec![scenario(), ("topology", tally.topology.into()), ("grade", words::grade(*grade).into())];
            checks.samples.push((labels, *n as f64));
        }
    }
    let mut check = family("assay_check_ok", "", "1 where a check holds, 0 where it does not; skipped ones are absent");
    for c in &run.checks {
        let value = match c.grade {
            Grade::Ok => 1.0,
            Grade::Violation | Grade::Weakness | Grade::Note | Grade::Known | Grade::StaleKnown | Grade::Required => {
                0.0
            }
            Grade::Skip | Grade::Inconclusive | Grade::HarnessError => continue,
        };
        let labels = vec![
            scenario(),
            ("topology", c.topology.clone()),
            ("check", c.id.clone()),
            ("level", words::level(c.level).into()),
        ];
        check.samples.push((labels, value));
    }

    let mut requests = family("assay_load_requests", "", "planned arrivals by what became of them");
    let mut times = family(
        "assay_load_seconds",
        "seconds",
        "quantiles of response time, service time and lag; at_least: requests that did not end could still move it",
    );
    let mut highest = family("assay_load_highest_rate", "", "arrivals per second at which every threshold still held");
    let mut void = family("assay_load_void", "", "1 where no verdict may be drawn from the load");
    for load in &run.loads {
        let at = || vec![scenario(), ("topology", load.topology.clone())];
        void.samples.push((at(), f64::from(u8::from(load.certificate.is_void()))));
        if let Some(f) = load.found.as_ref().filter(|f| f.unjudged.is_none()) {
            for (bound, rate) in [("estimate", f.rate_per_s), ("low", f.low_per_s), ("high", f.high_per_s)] {
                let mut labels = at();
                labels.extend([("bound", bound.to_owned()), ("level", format!("{:.4}", f.level))]);
                highest.samples.push((labels, rate));
            }
        }
        for o in &load.operations {
            let a = &o.accounting;
            let outcomes = [
                ("completed", a.completed),
                ("failed", a.failed),
                ("timed_out", a.timed_out),
                ("skipped", a.skipped),
                ("in_flight", a.in_flight),
                ("unsent", a.unsent),
                ("by-us", a.by_us),
            ];
            for (outcome, n) in outcomes {
                let mut labels = at();
                labels.extend([("operation", o.operation.clone()), ("outcome", outcome.to_owned())]);
                requests.samples.push((labels, n as f64));
            }
            for (clock, h) in [("response", &o.response), ("service", &o.service), ("lag", &o.lag)] {
                for (quantile, q, ns) in quantiles(h) {
                    let mut labels = at();
                    labels.extend([
                        ("operation", o.operation.clone()),
                        ("clock", clock.to_owned()),
                        ("quantile", quantile.to_owned()),
                    ]);
                    if words::is_censored(h, q * 100.0) {
                        labels.push(("bound", "at_least".to_owned()));
                    }
                    times.samples.push((labels, ns as f64 / 1e9));
                }
            }
        }
    }

    let mut difference = family("assay_difference_seconds", "seconds", "candidate minus baseline, with its interval");
    let mut throughput =
        family("assay_throughput_ratio", "ratio", "full-speed throughput of the candidate over the baseline");
    for c in run.comparisons.iter().filter(|c| c.void.is_empty()) {
        let at = || vec![scenario(), ("baseline", c.baseline.clone()), ("candidate", c.candidate.clone())];
        for q in &c.quantiles {
            for (bound, ns) in [("estimate", q.difference_ns), ("low", q.low_ns), ("high", q.high_ns)] {
                let mut labels = at();
                labels.extend([
                    ("operation", q.operation.clone()),
                    ("quantile", q.quantile.to_string()),
                    ("bound", bound.to_owned()),
                    ("answer", words::answer(q.answer).to_owned()),
                ]);
                difference.samples.push((labels, ns / 1e9));
            }
        }
        if let Some(t) = &c.throughput {
            for (bound, value) in [("estimate", t.ratio), ("low", t.low), ("high", t.high)] {
                let mut labels = at();
                labels.push(("bound", bound.to_owned()));
                throughput.samples.push((labels, value));
            }
        }
    }

    let mut thresholds = family("assay_threshold_held", "", "1 where a threshold held, 0 where it was missed");
    for t in run.thresholds.iter().filter(|t| t.outcome != ThresholdOutcome::NotJudged) {
        let labels = vec![scenario(), ("topology", t.topology.clone()), ("expression", t.expression.clone())];
        thresholds.samples.push((labels, f64::from(u8::from(t.outcome == ThresholdOutcome::Held))));
    }
    vec![info, exit, seconds, checks, check, requests, times, highest, void, difference, throughput, thresholds]
}

fn quantiles(h: &HistogramRecord) -> Vec<(&'static str, f64, u64)> {
    [
        ("0.5", 0.5, Some(h.p50_ns)),
        ("0.9", 0.9, Some(h.p90_ns)),
        ("0.99", 0.99, Some(h.p99_ns)),
        ("0.999", 0.999, h.p999_ns),
    ]
    .into_iter()
    .filter(|(_, q, _)| h.n > 0 && crate::stats::printable(h.n, *q))
    .filter_map(|(name, q, ns)| Some((name, q, ns?)))
    .collect()
}

//! What stands in the terminal after a run? The summary, plain or in colour.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::{Cost, Report, words};
use crate::record::{Answer, CheckRecord, ComparisonRecord, Grade, Level, ThresholdOutcome};
use crate::stats::StoredComparison;

/// Findings of the same grade beyond this many are counted, not shown.
const MOST_FINDINGS: usize = 12;

/// Whether styles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Letters only: files, pipes, `NO_COLOR`.
    Plain,
    /// ANSI styles.
    Colour,
}

impl Paint {
    fn put(self, style: Style, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colour => format!("{style}{text}{style:#}"),
        }
    }
    fn bold(self, text: &str) -> String {
        self.put(Style::new().bold(), text)
    }
    fn dim(self, text: &str) -> String {
        self.put(Style::new().dimmed(), text)
    }
    fn bad(self, text: &str) -> String {
        self.put(AnsiColor::Red.on_default().bold(), text)
    }
    fn warn(self, text: &str) -> String {
        self.put(AnsiColor::Yellow.on_default(), text)
    }
    fn good(self, text: &str) -> String {
        self.put(AnsiColor::Green.on_default(), text)
    }
    fn grade(self, grade: Grade, text: &str) -> String {
        match grade {
            Grade::Ok => self.good(text),
            Grade::Violation | Grade::Required | Grade::StaleKnown | Grade::HarnessError => self.bad(text),
            Grade::Weakness | Grade::Inconclusive => self.warn(text),
            Grade::Known | Grade::Note | Grade::Skip => self.dim(text),
        }
    }
    fn answer(self, q: Answer, worse: bool, text: &str) -> String {
        match q {
            Answer::Different if worse => self.warn(text),
            Answer::Different | Answer::Equivalent => self.good(text),
            Answer::Inconclusive => self.dim(text),
        }
    }
}

/// A table whose columns are as wide as their widest cell. Cells are styled after they are padded.
struct Columns {
    right: Vec<bool>,
    rows: Vec<Vec<(String, Option<Style>)>>,
}

impl Columns {
    /// One letter for each column: `l` left, `r` right.
    fn new(align: &str) -> Columns {
        Columns { right: align.chars().map(|c| c == 'r').collect(), rows: Vec::new() }
    }
    fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> &mut Vec<(String, Option<Style>)> {
        self.rows.push(cells.into_iter().map(|c| (c.into(), None)).collect());
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
    fn write(&self, out: &mut String, indent: usize, paint: Paint) {
        let width = |column: usize| {
            self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.0.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (i, (cell, style)) in row.iter().enumerate() {
                let pad = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
                let cell = style.map_or_else(|| cell.clone(), |s| paint.put(s, cell));
                let gap = if i > 0 { "  " } else { "" };
                if self.right[i] {
                    let _ = write!(line, "{gap}{pad}{cell}");
                } else {
                    let _ = write!(line, "{gap}{cell}{pad}");
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// The summary of a run, ending with its outcome.
pub fn summary(report: &Report<'_>, paint: Paint) -> String {
    let mut out = String::new();
    head(report, paint, &mut out);
    checks(report, paint, &mut out);
    loads(report, paint, &mut out);
    for cost in &report.costs {
        comparison(cost.comparison, cost.stand_in, paint, &mut out);
    }
    windows(report, paint, &mut out);
    thresholds(report, paint, &mut out);
    doubts(report, paint, &mut out);
    outcome(report, paint, &mut out);
    out
}

/// What the texts of a summary are written with: control characters of a target's replies must not reach a terminal.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn head(report: &Report<'_>, paint: Paint, out: &mut String) {
    let run = report.run;
    // Checks choose nothing by a seed.
    let seeded = !run.loads.is_empty() || !run.comparisons.is_empty();
    let line = format!(
        "{}, profile {} ({}), {}, {}{}",
        paint.bold(&run.scenario),
        run.profile,
        run.dialect,
        run.started,
        if seeded { format!("seed {}, ", run.seed) } else { String::new() },
        words::wall(run.duration_ms)
    );
    let _ = writeln!(out, "{line}\n");
    let mut table = Columns::new("lll");
    for t in &report.topologies {
        let stand_in = if t.stand_in { "  (stand-in)" } else { "" };
        table.row([t.name.clone(), format!("{}{stand_in}", words::chain(t)), safe(&words::identity(t))])[2].1 =
            Some(Style::new().dimmed());
    }
    for t in &report.left_out {
        let why = t.left_out.as_deref().unwrap_or_default();
        table.row([t.name.clone(), format!("left out: {}", safe(why))])[1].1 = Some(Style::new().dimmed());
    }
    table.write(out, 2, paint);
}

fn checks(report: &Report<'_>, paint: Paint, out: &mut String) {
    if report.tallies.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("Conformance"));
    let used: Vec<Grade> = words::GRADES.into_iter().filter(|g| report.tallies.iter().any(|t| t.of(*g) > 0)).collect();
    let mut table = Columns::new(&format!("l{}", "r".repeat(used.len())));
    let head = std::iter::once("").chain(used.iter().map(|g| words::grade(*g)));
    for cell in table.row(head) {
        cell.1 = Some(Style::new().dimmed());
    }
    for tally in &report.tallies {
        let cells = std::iter::once(tally.topology.to_owned()).chain(used.iter().map(|g| tally.of(*g).to_string()));
        table.row(cells);
    }
    table.write(out, 2, paint);
    let mut shown = 0;
    let mut previous = None;
    for finding in &report.findings {
        let c = finding.check;
        if previous != Some(c.grade) {
            previous = Some(c.grade);
            shown = 0;
        }
        shown += 1;
        if shown > MOST_FINDINGS {
            if shown == MOST_FINDINGS + 1 {
                let rest = report.findings.iter().filter(|f| f.check.grade == c.grade).count() - MOST_FINDINGS;
                let _ =
                    writeln!(out, "\n  {}", paint.dim(&format!("and {rest} more of grade {}", words::grade(c.grade))));
            }
            continue;
        }
        let place = finding.topologies.join(", ");
        let _ = writeln!(
            out,
            "\n  {}  {}  {}",
            paint.grade(c.grade, words::grade(c.grade)),
            paint.bold(&c.id),
            paint.dim(&format!("in {place}; {}", weight(c)))
        );
        if matches!(c.grade, Grade::Known | Grade::Note) {
            let _ = writeln!(out, "    {}", safe(&c.summary));
            if let Some(known) = &c.known {
                let _ = writeln!(out, "    {}", paint.dim(&format!("known: {}", safe(known))));
            }
            continue;
        }
        let _ = writeln!(out, "    {} {}", c.requirement, paint.dim(&format!("({})", c.sources.join("; "))));
        match c.evidence.first() {
            Some(e) => {
                let _ = writeln!(out, "    expected  {}", safe(&e.expected));
                let _ = writeln!(out, "    seen      {}", safe(&e.seen));
                if let Some(curl) = &e.curl {
                    for (i, line) in curl.trim_end().lines().enumerate() {
                        let label = if i == 0 { "again     " } else { "          " };
                        let _ = writeln!(out, "    {}{}", paint.dim(label), safe(line));
                    }
                }
            }
            None => {
                let _ = writeln!(out, "    seen      {}", safe(&c.summary));
            }
        }
    }
    if !report.skips.is_empty() {
        let _ = writeln!(out);
        let mut table = Columns::new("ll");
        for group in &report.skips {
            let ids: Vec<&str> = group.checks.iter().map(|c| c.0).collect();
            let text = match ids.len() {
                0..=4 => ids.join(", "),
                n => format!("{} and {} more", ids[..3].join(", "), n - 3),
            };
            let row = table.row([format!("skipped  {}", safe(&group.reason)), text]);
            row.iter_mut().for_each(|c| c.1 = Some(Style::new().dimmed()));
        }
        table.write(out, 2, paint);
    }
}

/// The level, and that a finding weighs less where it does.
fn weight(check: &CheckRecord) -> String {
    match (check.level, check.grade) {
        (Level::Must, Grade::Weakness) => "must, but what was seen weighs as a should".to_owned(),
        (level, _) => words::level(level).to_owned(),
    }
}

fn loads(report: &Report<'_>, paint: Paint, out: &mut String) {
    if report.run.loads.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n{} {}",
        paint.bold("Load"),
        paint.dim("response time: intended start to last byte; completed requests only")
    );
    let mut table = Columns::new("llrrrrrrr");
    for cell in table.row(["", "", "n", "p50", "p90", "p99", "p99.9", "max", "failed"]) {
        cell.1 = Some(Style::new().dimmed());
    }
    for operation in report.operations() {
        for (i, (load, o)) in report.by_load(operation).into_iter().enumerate() {
            let h = &o.response;
            let failed = o.accounting.failed + o.accounting.timed_out;
            let name = if i == 0 { operation } else { "" };
            let void = if load.certificate.is_void() { " void" } else { "" };
            let max = words::largest(h);
            let mut cells = vec![name.to_owned(), format!("{}{void}", load.topology), words::count(h.n)];
            cells.extend([0.5, 0.9, 0.99, 0.999].map(|q| words::quantile_of(h, q)));
            cells.extend([max, words::count(failed)]);
            let row = table.row(cells);
            if failed > 0 {
                row[8].1 = Some(AnsiColor::Yellow.on_default());
            }
            if load.certificate.is_void() {
                row[1].1 = Some(AnsiColor::Red.on_default());
            }
        }
    }
    table.write(out, 2, paint);
    for load in &report.run.loads {
        let c = &load.certificate;
        let a = &load.accounting;
        let limited = c.bottleneck.as_ref().map_or_else(String::new, |what| format!(", limited by {what}"));
        let left: String = [(a.in_flight, "in flight"), (a.unsent, "never sent"), (a.skipped, "skipped")]
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!(", {} {what}", words::count(*n)))
            .collect();
        let line = format!(
            "{}: {}, {} of the plan sent by its end, lag p50 {} p99 {}, idle policy {}{limited}{left}",
            load.topology,
            load.model,
            words::share(c.achieved),
            words::time(c.lag_p50_ns as f64),
            words::time(c.lag_p99_ns as f64),
            load.idle
        );
        let _ = writeln!(out, "  {}", paint.dim(&line));
        if let Some(floor) = c.floor_p50_ns {
            let text = format!("floor: a server that answers at once is seen to take {}", words::time(floor as f64));
            let _ = writeln!(out, "    {}", paint.dim(&text));
        }
        for void in &c.void {
            let _ = writeln!(out, "    {} {}", paint.bad("void"), safe(void));
        }
        for doubt in &c.doubts {
            let _ = writeln!(out, "    {} {}", paint.warn("doubt"), safe(doubt));
        }
        if let Some(beside) = words::beside(load) {
            let _ = writeln!(out, "    {}", paint.dim(&beside));
        }
        for note in &c.notes {
            let _ = writeln!(out, "    {}", paint.dim(&safe(note)));
        }
        if let Some(looked_at) = words::looked_at(load) {
            let _ = writeln!(out, "    {}", paint.dim(&safe(&looked_at)));
        }
        for finding in &load.findings {
            let word = finding.grade.map_or_else(
                || paint.warn("under load"),
                |grade| paint.grade(grade, &format!("{} under load", words::grade(grade))),
            );
            let _ = writeln!(out, "    {word} {}", safe(&words::under_load(finding)));
        }
    }
}

fn comparison(c: &ComparisonRecord, stand_in: bool, paint: Paint, out: &mut String) {
    let stand_in = if stand_in { " (a stand-in)" } else { "" };
    let _ = writeln!(
        out,
        "\n{} {}",
        paint.bold(&format!("{}{stand_in} against {}", c.candidate, c.baseline)),
        paint.dim(&format!(
            "{}: {} of {} s at {}{}",
            c.effort,
            words::plural(c.pairs as usize, "pair"),
            c.block_s,
            words::rate(c.rate_per_s),
            c.quantiles.first().map_or_else(String::new, |q| format!(", intervals of {}", words::share(q.confidence)))
        ))
    );
    for void in &c.void {
        let _ = writeln!(out, "  {} {}", paint.bad("void"), safe(void));
    }
    let mut table = Columns::new("llrrlrll");
    if !c.quantiles.is_empty() {
        // The last two columns speak for themselves.
        for cell in table.row(["", "", c.baseline.as_str(), "difference", "interval", "ratio"]) {
            cell.1 = Some(Style::new().dimmed());
        }
    }
    for q in &c.quantiles {
        let worse = q.difference_ns > 0.0;
        let gate = if q.gating { " gate" } else { "" };
        let row = table.row([
            q.operation.clone(),
            format!("{}{gate}", words::percentile(q.quantile)),
            words::time(q.baseline_ns),
            words::difference(q.difference_ns),
            format!("({})", words::interval(q)),
            format!("x{:.2}", q.ratio),
            words::answer(q.answer).to_owned(),
            words::power(q),
        ]);
        row[6].1 = match q.answer {
            Answer::Different if worse => Some(AnsiColor::Yellow.on_default()),
            Answer::Different | Answer::Equivalent => Some(AnsiColor::Green.on_default()),
            Answer::Inconclusive => Some(Style::new().dimmed()),
        };
        row[7].1 = Some(Style::new().dimmed());
    }
    table.write(out, 2, paint);
    if let Some(t) = &c.throughput {
        let _ = writeln!(
            out,
            "  full speed  {} against {}, x{:.3} ({:.3} to {:.3}, {}), {}",
            words::rate(t.candidate_per_s),
            words::rate(t.baseline_per_s),
            t.ratio,
            t.low,
            t.high,
            words::share(t.confidence),
            paint.answer(t.answer, t.ratio < 1.0, words::answer(t.answer))
        );
    }
    for control in &c.controls {
        let word = if control.holds { paint.good("holds") } else { paint.bad("does not hold") };
        let _ = writeln!(
            out,
            "  control {}  injected {}, found {} ({} to {}), {word}",
            control.name,
            words::time(control.injected_ns),
            words::difference(control.difference_ns),
            words::time(control.low_ns),
            words::time(control.high_ns)
        );
    }
    for doubt in &c.doubts {
        let _ = writeln!(out, "  {} {}", paint.warn("doubt"), safe(doubt));
    }
}

fn windows(report: &Report<'_>, paint: Paint, out: &mut String) {
    if report.run.windows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{} {}", paint.bold("Expiry windows"), paint.dim("seconds after the claim's instant"));
    let mut table = Columns::new("llllll");
    for w in &report.run.windows {
        let leeway = match w.leeway_s {
            Some((low, high)) => format!("leeway {} to {}", words::seconds(low), words::seconds(high)),
            None => {
                let seen = w.last_accepted_s.is_some() && w.first_refused_s.is_some();
                let what = if seen { "leeway unknown" } else { "not observed" };
                format!("{what}: {}", w.note.as_deref().unwrap_or("no reason given"))
            }
        };
        let at = |label: &str, s: Option<f64>| s.map_or_else(String::new, |s| format!("{label} {}", words::seconds(s)));
        table.row([
            w.topology.clone(),
            format!("{} {}", w.endpoint, w.claim),
            leeway,
            at("last accepted", w.last_accepted_s),
            at("first refused", w.first_refused_s),
            w.lifetime_s.map_or_else(String::new, |s| format!("lifetime {}", words::lifetime(s))),
        ]);
    }
    table.write(out, 2, paint);
}

fn thresholds(report: &Report<'_>, paint: Paint, out: &mut String) {
    if report.run.thresholds.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.bold("Thresholds"));
    let mut table = Columns::new("llll");
    for t in &report.run.thresholds {
        let row = table.row([words::threshold(t.outcome), &t.expression, &t.topology, &words::seen(t)]);
        row[0].1 = Some(match t.outcome {
            ThresholdOutcome::Held => AnsiColor::Green.on_default(),
            ThresholdOutcome::Missed => AnsiColor::Red.on_default().bold(),
            ThresholdOutcome::NotJudged => AnsiColor::Yellow.on_default(),
        });
    }
    table.write(out, 2, paint);
}

fn doubts(report: &Report<'_>, paint: Paint, out: &mut String) {
    if !report.run.warnings.is_empty() || !report.unreadable.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("Doubts"));
        for w in &report.run.warnings {
            let place = w.topology.as_ref().map(|t| format!(" [{t}]")).unwrap_or_default();
            let _ = writeln!(out, "  {}{place} {}", paint.warn(&w.code), safe(&w.message));
            if let Some(hint) = &w.hint {
                let _ = writeln!(out, "    {}", paint.dim(&format!("hint: {}", safe(hint))));
            }
        }
        for text in &report.unreadable {
            let _ = writeln!(out, "  {} {}", paint.warn("unreadable"), safe(text));
        }
    }
    if !report.run.notes.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bold("Notes"));
        for note in &report.run.notes {
            let _ = writeln!(out, "  - {}", safe(note));
        }
    }
}

fn outcome(report: &Report<'_>, paint: Paint, out: &mut String) {
    let o = &report.outcome;
    let word = match o.exit {
        0 => paint.good(o.word),
        _ => paint.bad(o.word),
    };
    let reasons = if o.reasons.is_empty() { String::new() } else { format!(": {}", o.reasons.join(", ")) };
    let _ = writeln!(out, "\n{} (exit {}){reasons}", word, o.exit);
    for cost in &report.costs {
        let _ = writeln!(out, "  {}", cost_line(cost));
    }
}

fn cost_line(cost: &Cost<'_>) -> String {
    super::markdown::sentence(cost)
}

/// The summary of two stored runs side by side.
pub fn stored_summary(stored: &StoredComparison, paint: Paint) -> String {
    let mut out = String::new();
    for warning in &stored.warnings {
        let _ = writeln!(out, "{} {}", paint.warn("warning"), safe(warning));
    }
    for load in &stored.loads {
        comparison(load, false, paint, &mut out);
    }
    let _ = writeln!(out, "\n{}", paint.bold("Findings that differ"));
    if stored.findings.is_empty() {
        let _ = writeln!(out, "  none");
    }
    let mut table = Columns::new("lllll");
    for f in &stored.findings {
        let side = |c: &Option<CheckRecord>| c.as_ref().map_or("absent", |c| words::grade(c.grade));
        let seen = f.after.as_ref().or(f.before.as_ref()).map(|c| safe(&c.summary)).unwrap_or_default();
        table.row([f.check.clone(), f.topology.clone(), side(&f.before).into(), format!("> {}", side(&f.after)), seen]);
    }
    table.write(&mut out, 2, paint);
    out
}

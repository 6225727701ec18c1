//! What fits into a pull request? The outcome, the findings and the tables in GitHub's Markdown.

use std::io::{self, Write};

use super::{Report, words};
use crate::record::Grade;

/// Evidence of more findings than this is left to the HTML report: a step summary holds 1 MiB.
const MOST_FINDINGS: usize = 50;

/// Writes the document.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = report.run;
    writeln!(out, "# {}: {}\n", text(&run.scenario), report.outcome.word)?;
    for reason in &report.outcome.reasons {
        writeln!(out, "- {}", text(reason))?;
    }
    for cost in &report.costs {
        writeln!(out, "- {}", text(&sentence(cost)))?;
    }
    writeln!(
        out,
        "\nProfile `{}` ({}), {}, seed {}, {}, Assay {}.\n",
        run.profile,
        run.dialect,
        run.started,
        run.seed,
        words::wall(run.duration_ms),
        run.assay_version
    )?;
    answers(report, out)?;
    topologies(report, out)?;
    checks(report, out)?;
    loads(report, out)?;
    comparisons(report, out)?;
    thresholds(report, out)?;
    if !run.warnings.is_empty() {
        writeln!(out, "## Doubts\n")?;
        for w in &run.warnings {
            let place = w.topology.as_ref().map(|t| format!(" ({t})")).unwrap_or_default();
            let hint = w.hint.as_ref().map(|h| format!("; hint: {h}")).unwrap_or_default();
            writeln!(out, "- `{}`{}: {}{}", w.code, text(&place), text(&w.message), text(&hint))?;
        }
        writeln!(out)?;
    }
    if !run.notes.is_empty() {
        writeln!(out, "## Notes\n")?;
        for note in &run.notes {
            writeln!(out, "- {}", text(note))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// What a candidate costs, in one sentence.
pub(super) fn sentence(cost: &super::Cost<'_>) -> String {
    let c = cost.comparison;
    let stand_in = if cost.stand_in { " (a stand-in)" } else { "" };
    if !c.void.is_empty() {
        return format!("{}{stand_in} against {}: void, {}", c.candidate, c.baseline, c.void.join("; "));
    }
    let rows: Vec<String> = cost
        .headline
        .iter()
        .map(|q| {
            let size = words::difference(q.difference_ns);
            format!("{} {} {size} ({})", q.operation, words::percentile(q.quantile), words::answer(q.answer))
        })
        .collect();
    let throughput =
        c.throughput.as_ref().map(|t| format!(", full speed x{:.2} ({})", t.ratio, words::answer(t.answer)));
    format!(
        "{}{stand_in} against {}: {}{}",
        c.candidate,
        c.baseline,
        if rows.is_empty() { "too few samples for a quantile".to_owned() } else { rows.join(", ") },
        throughput.unwrap_or_default()
    )
}

fn answers(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    for question in super::questions(report) {
        writeln!(out, "**{}**\n", text(&question.ask))?;
        for answer in &question.answers {
            writeln!(out, "- {}", prose(answer))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn topologies(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "| topology | chain | programs |\n|---|---|---|")?;
    for t in &report.run.topologies {
        let chain = match &t.left_out {
            Some(why) => format!("left out: {why}"),
            None if t.stand_in => format!("{} (with a stand-in)", words::chain(t)),
            None => words::chain(t),
        };
        writeln!(out, "| {} | {} | {} |", text(&t.name), text(&chain), text(&words::identity(t)))?;
    }
    writeln!(out)
}

fn checks(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    if report.tallies.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Conformance\n")?;
    let used: Vec<Grade> = words::GRADES.into_iter().filter(|g| report.tallies.iter().any(|t| t.of(*g) > 0)).collect();
    let head: Vec<&str> = used.iter().map(|g| words::grade(*g)).collect();
    writeln!(out, "| topology | {} |\n|---|{}", head.join(" | "), "--:|".repeat(used.len()))?;
    for tally in &report.tallies {
        let cells: Vec<String> = used.iter().map(|g| tally.of(*g).to_string()).collect();
        writeln!(out, "| {} | {} |", text(tally.topology), cells.join(" | "))?;
    }
    writeln!(out)?;
    for finding in report.findings.iter().take(MOST_FINDINGS) {
        let c = finding.check;
        writeln!(
            out,
            "<details><summary><b>{}</b> <code>{}</code> in {}: {}</summary>\n",
            words::grade(c.grade),
            text(&c.id),
            text(&finding.topologies.join(", ")),
            text(&c.summary)
        )?;
        writeln!(out, "{} ({}; {})\n", text(&c.requirement), words::level(c.level), text(&c.sources.join("; ")))?;
        if let Some(known) = &c.known {
            writeln!(out, "Known: {}\n", text(known))?;
        }
        for e in &c.evidence {
            let variant = e.variant.as_ref().map(|v| format!(" ({v})")).unwrap_or_default();
            writeln!(out, "- expected{}: {}\n- seen: {}\n", text(&variant), text(&e.expected), text(&e.seen))?;
            if let Some(curl) = &e.curl {
                let fence = fence(curl);
                writeln!(out, "{fence}sh\n{}\n{fence}\n", curl.trim_end())?;
            }
        }
        writeln!(out, "</details>\n")?;
    }
    if report.findings.len() > MOST_FINDINGS {
        writeln!(out, "{} more in the full report.\n", report.findings.len() - MOST_FINDINGS)?;
    }
    Ok(())
}

fn loads(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    if report.run.loads.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Load: response time\n")?;
    writeln!(out, "| operation | topology | n | p50 | p90 | p99 | p99.9 | max | failed |")?;
    writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for operation in report.operations() {
        for (load, o) in report.by_load(operation) {
            let h = &o.response;
            let q = |q| words::quantile_of(h, q);
            let void = if load.certificate.is_void() { " (void)" } else { "" };
            let max = words::largest(h);
            let failed = o.accounting.failed + o.accounting.timed_out;
            writeln!(
                out,
                "| {} | {}{void} | {} | {} | {} | {} | {} | {max} | {} |",
                text(operation),
                text(&load.topology),
                words::count(h.n),
                q(0.5),
                q(0.9),
                q(0.99),
                q(0.999),
                words::count(failed)
            )?;
        }
    }
    writeln!(out)?;
    for load in &report.run.loads {
        let c = &load.certificate;
        let doubts = c.void.iter().map(|v| ("void", v)).chain(c.doubts.iter().map(|d| ("doubt", d)));
        for (word, why) in doubts {
            writeln!(out, "- {} **{word}**: {}", text(&load.topology), text(why))?;
        }
        for finding in &load.findings {
            let grade = finding.grade.map_or("seen", words::grade);
            writeln!(out, "- {} **{grade} under load**: {}", text(&load.topology), text(&words::under_load(finding)))?;
        }
    }
    writeln!(out)
}

fn comparisons(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    for c in &report.run.comparisons {
        let design = format!("{}: {} pairs of {} s at {}", c.effort, c.pairs, c.block_s, words::rate(c.rate_per_s));
        writeln!(out, "## {} against {}\n\n{design}.\n", text(&c.candidate), text(&c.baseline))?;
        for void in &c.void {
            writeln!(out, "**void**: {}\n", text(void))?;
        }
        writeln!(out, "| operation | quantile | {} | difference | ratio | answer |", text(&c.baseline))?;
        writeln!(out, "|---|---|--:|---|--:|---|")?;
        for q in &c.quantiles {
            writeln!(
                out,
                "| {} | {}{} | {} | {} | x{:.2} | {} |",
                text(&q.operation),
                words::percentile(q.quantile),
                if q.gating { " (gate)" } else { "" },
                words::time(q.baseline_ns),
                words::estimate(q),
                q.ratio,
                words::answer(q.answer)
            )?;
        }
        writeln!(out)?;
        for doubt in &c.doubts {
            writeln!(out, "- doubt: {}", text(doubt))?;
        }
        if !c.doubts.is_empty() {
            writeln!(out)?;
        }
    }
    Ok(())
}

fn thresholds(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    if report.run.thresholds.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Thresholds\n\n| threshold | topology | observed | outcome |\n|---|---|---|---|")?;
    for t in &report.run.thresholds {
        writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            t.expression.replace('|', "\\|"),
            text(&t.topology),
            text(&words::seen(t)),
            words::threshold(t.outcome)
        )?;
    }
    writeln!(out)
}

/// Text in which backticks set code apart; what is between them is shown as it is, in one line.
fn prose(raw: &str) -> String {
    let part = |(i, part): (usize, &str)| match i % 2 {
        1 => format!("`{}`", part.replace(['\n', '\r'], " ")),
        _ => text(part),
    };
    raw.split('`').enumerate().map(part).collect()
}

/// Text that stays text: neither markup nor a table's bar nor a line break.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\n' | '\r' => out.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// A fence that the text cannot close.
fn fence(content: &str) -> String {
    let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

//! What does a terminal show of the matrix?

use std::fmt::Write;

use super::judge::{MatrixReport, Row, RowVerdict, Seen};

/// Longest finding that is shown.
const FINDING: usize = 160;

/// The whole table, what is wrong last, where eyes are.
pub(super) fn render(report: &MatrixReport) -> String {
    let mut text = String::new();
    lines(&mut text, report).map_or_else(|_| String::new(), |()| text)
}

fn lines(out: &mut String, report: &MatrixReport) -> std::fmt::Result {
    let width = report.rows.iter().map(|r| r.flaw.len()).max().unwrap_or(0);
    for row in &report.rows {
        let algorithm = row.setup.strip_suffix(&row.flaw).unwrap_or(&row.setup).trim_end();
        write!(out, "{:<14} {:<width$}  {algorithm:<9} {}", word(row.verdict), row.flaw, row.killed.join(" "))?;
        if !row.also.is_empty() {
            write!(out, " (also {})", row.also.join(" "))?;
        }
        writeln!(out)?;
    }
    writeln!(out)?;
    for baseline in &report.baselines {
        let state = if baseline.error.is_some() || !baseline.wrong.is_empty() { "NOT CLEAN" } else { "clean" };
        let (checks, decided) = (baseline.checks, baseline.decided);
        writeln!(out, "{state:<14} {}: {checks} checks, {decided} with a finding", baseline.setup)?;
    }
    writeln!(out)?;
    for (flaw, why) in &report.untried {
        writeln!(out, "not tried      {flaw}: {why}")?;
    }
    for (check, reason) in &report.unproven {
        match reason {
            Some(reason) => writeln!(out, "unproven       {check}: {reason}")?,
            None => writeln!(out, "UNPROVEN       {check}: no flaw killed it, and no reason is written")?,
        }
    }
    for (check, parts) in &report.parts.unturned {
        writeln!(out, "parts unturned {check}: {}", parts.join(" "))?;
    }
    for baseline in &report.baselines {
        if let Some(error) = &baseline.error {
            writeln!(out, "NOT RUN        {}: {error}", baseline.setup)?;
        }
        for seen in &baseline.wrong {
            writeln!(out, "NOT CLEAN      {}: {}: {}", baseline.setup, seen.check, short(&seen.summary))?;
        }
    }
    for row in &report.rows {
        trouble(out, row)?;
    }
    let count = |verdict| report.count(verdict);
    writeln!(
        out,
        "{} flaws killed, {} missed, {} with unexplained turns, {} not run; {} checks proven, {} unproven; {} of \
         their parts turned, {} never; {} logins, {:.0} s{}",
        count(RowVerdict::Killed),
        count(RowVerdict::Missed),
        count(RowVerdict::Unexplained),
        count(RowVerdict::NotRun),
        report.proven,
        report.unproven.len(),
        report.parts.turned,
        report.parts.left(),
        report.logins,
        report.seconds,
        if report.interrupted { ", interrupted" } else { "" }
    )
}

fn trouble(out: &mut String, row: &Row) -> std::fmt::Result {
    if let Some(error) = &row.error {
        writeln!(out, "NOT RUN        {}: {error}", row.setup)?;
    }
    if matches!(row.verdict, RowVerdict::NotApplicable) {
        return Ok(());
    }
    let mut told = |what: &str, seen: &Seen| {
        let (setup, check) = (&row.setup, &seen.check);
        writeln!(out, "{what:<14} {setup}: {check}: clean `{}`, here `{}`", short(&seen.clean), short(&seen.finding))
    };
    for seen in &row.missed {
        told("MISSED", seen)?;
    }
    for seen in &row.unexplained {
        told("UNEXPLAINED", seen)?;
    }
    Ok(())
}

fn word(verdict: RowVerdict) -> &'static str {
    match verdict {
        RowVerdict::Killed => "killed",
        RowVerdict::Missed => "MISSED",
        RowVerdict::Unexplained => "UNEXPLAINED",
        RowVerdict::Undecided => "undecided",
        RowVerdict::NotApplicable => "not applicable",
        RowVerdict::NotRun => "NOT RUN",
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(FINDING).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

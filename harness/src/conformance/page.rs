//! The catalogue as a page for people: docs/checks.md.

use std::fmt::Write;

use super::descriptor::Check;
use super::kill_matrix::{Flaw, Side, UNPROVEN};

/// What each group asks, in the order of the catalogue.
const GROUPS: &[(&str, &str)] = &[
    ("ISSUE", "Does the server issue what it must, to whom it must, and nothing else?"),
    ("STRUCT", "Is only what has the right form a token?"),
    ("SIG", "Is only what the server's key has signed a token?"),
    ("TIME", "Does the server keep to the times in its tokens?"),
    ("TYPE", "Are claims of the wrong type refused, in order?"),
    ("CLAIM", "Is a token good only for what it was issued for?"),
    ("REFRESH", "Does refreshing keep its promises?"),
    ("REVOKE", "Does a logout end what it says it ends?"),
    ("VERIFY", "Do the ways to verify a token say the same, and no more than they should?"),
    ("BEARER", "Does the protected resource speak the Bearer scheme?"),
    ("KEYS", "Can the published keys be relied on?"),
    ("JWE", "Is an encrypted token taken only where it is wanted, and only as it was made?"),
    ("DOS", "Does one small request keep the server busy for long?"),
    ("LEAK", "Where do tokens and secrets show up that should not?"),
    ("PROXY", "Does the proxy in front of the server change what the server says?"),
];

/// The whole page in Markdown.
pub fn page(catalogue: &[&Check], flaws: &[Flaw]) -> String {
    let mut out = String::new();
    write_page(&mut out, catalogue, flaws).map_or_else(|_| String::new(), |()| out)
}

fn write_page(out: &mut String, catalogue: &[&Check], flaws: &[Flaw]) -> std::fmt::Result {
    writeln!(out, "# The checks\n")?;
    writeln!(
        out,
        "Every check of Assay: what is sent, what must happen, why it matters, where that is written, what the check needs\n\
         to know of the server, which deliberate flaw of the reference server proves that it can fail, and how a server is\n\
         mended that fails it. `assay explain ID` prints the same. This page is written by the tests from the catalogue\n\
         itself: `ASSAY_REGENERATE=1 cargo test --release -p jwt-assay --all-features --test catalogue_page`.\n\n\
         A **must** that does not hold is a violation and ends with exit code 1; a **should** is a weakness, an **info** a\n\
         note. Levels differ by the dialect of the profile. What a check needs is given by the profile (docs/profiles.md) or\n\
         the command line; without it the check is skipped with its reason, and `--require` makes that a failure.\n"
    )?;
    writeln!(out, "| Group | Checks | Question |\n|---|---|---|")?;
    for (group, question) in GROUPS {
        let n = catalogue.iter().filter(|c| c.group == *group).count();
        if n > 0 {
            writeln!(out, "| [{group}](#{}) | {n} | {question} |", group.to_ascii_lowercase())?;
        }
    }
    writeln!(out, "\n{} checks in all.", catalogue.len())?;
    for (group, question) in GROUPS {
        let checks: Vec<&&Check> = catalogue.iter().filter(|c| c.group == *group).collect();
        if checks.is_empty() {
            continue;
        }
        writeln!(out, "\n## {group}\n\n{question}")?;
        for check in checks {
            write_check(out, check, flaws)?;
        }
    }
    Ok(())
}

fn write_check(out: &mut String, check: &Check, flaws: &[Flaw]) -> std::fmt::Result {
    writeln!(out, "\n### {}\n\n{}.\n", check.id, capital(check.requirement))?;
    let mut row = |name: &str, text: String| {
        if text.is_empty() { Ok(()) } else { writeln!(out, "- **{name}:** {text}") }
    };
    row("Sent", check.sends.to_owned())?;
    row("Why", check.why.to_owned())?;
    row("To mend it", check.remedy.to_owned())?;
    row("Level", levels(check))?;
    row("Sources", check.sources.join("; "))?;
    row(
        "Needs",
        check.needs.iter().map(|n| format!("{} ({})", n.name(), n.provided_by())).collect::<Vec<_>>().join("; "),
    )?;
    row("Variants", check.variants.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", "))?;
    let mut killers: Vec<String> = Vec::new();
    for flaw in flaws.iter().filter(|f| f.kills.contains(&check.id)) {
        let command = if flaw.side == Side::Server { "serve" } else { "proxy" };
        let with = flaw.needs.iter().filter(|n| n.starts_with("--")).map(|n| format!(" {}", n.replacen('=', " ", 1)));
        killers.push(format!("`assay {command} --flaw {}{}` ({})", flaw.name, with.collect::<String>(), flaw.breaks));
    }
    if let (true, Some((_, reason))) = (killers.is_empty(), UNPROVEN.iter().find(|(id, _)| *id == check.id)) {
        killers.push(format!("none: {reason}"));
    }
    row("Proven by", killers.join("; "))?;
    let intrusive = if check.intrusive { "; only with `--intrusive`" } else { "" };
    let alone =
        format!("about {} s, {} requests; {}{intrusive}", check.cost.seconds, check.cost.requests, beside(check));
    row("Cost", alone)?;
    row("With `--budget thorough`", thorough(check))
}

fn thorough(check: &Check) -> String {
    match (super::budget::more(check, true), super::budget::more(check, false)) {
        (Some(what), _) => what,
        (None, Some(what)) => format!("without the signing key it {what}"),
        (None, None) => String::new(),
    }
}

fn beside(check: &Check) -> &'static str {
    use super::descriptor::Isolation;
    match check.isolation {
        Isolation::Shared => "runs beside others",
        Isolation::User => "runs beside others, on a login of its own",
        Isolation::Exclusive => "runs alone",
        Isolation::Last => "runs alone, after all others",
        Isolation::Locking => "runs alone, at the very end: it may lock an account",
    }
}

/// One word where all dialects agree, else each that has one.
fn levels(check: &Check) -> String {
    let rows = check.levels.rows();
    let word = |level: Option<crate::record::Level>| match level {
        Some(crate::record::Level::Must) => "must",
        Some(crate::record::Level::Should) => "should",
        Some(crate::record::Level::Info) => "info",
        None => "-",
    };
    let first = word(rows[0].1);
    if rows.iter().all(|(_, level)| word(*level) == first) {
        return first.to_owned();
    }
    rows.iter().map(|(dialect, level)| format!("{dialect} {}", word(*level))).collect::<Vec<_>>().join(", ")
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::catalogue;

    #[test]
    fn every_check_is_on_the_page_once() {
        let page = page(catalogue(), &[]);
        for check in catalogue() {
            assert_eq!(page.matches(&format!("\n### {}\n", check.id)).count(), 1, "{}", check.id);
        }
    }
}

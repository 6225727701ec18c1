//! What does code scanning see? SARIF 2.1.0: a rule for each check, a result for each finding.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Report, words};
use crate::record::{CheckRecord, Evidence, Grade, Level, fingerprint};

/// Writes the document.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(report))?;
    out.write_all(b"\n")
}

fn document(report: &Report<'_>) -> Value {
    let run = report.run;
    let rows: Vec<_> = report.matrix.iter().flat_map(|g| &g.rows).collect();
    let rules: Vec<Value> = rows.iter().map(|row| rule(row.check)).collect();
    let place = |check: &CheckRecord| rows.iter().position(|r| r.check.id == check.id);
    let results: Vec<Value> = run
        .checks
        .iter()
        .filter_map(|check| {
            let (kind, level) = reported(check.grade)?;
            Some(result(report, check, place(check)?, kind, level))
        })
        .collect();
    let notifications: Vec<Value> = run
        .checks
        .iter()
        .filter(|c| c.grade == Grade::HarnessError)
        .map(|c| {
            json!({
                "level": "error",
                "descriptor": {"id": c.id},
                "message": {"text": format!("{} in {}: {}", c.id, c.topology, c.summary)},
            })
        })
        .chain(run.warnings.iter().map(|w| {
            let hint = w.hint.as_ref().map(|h| format!("; hint: {h}")).unwrap_or_default();
            json!({
                "level": "warning",
                "descriptor": {"id": w.code},
                "message": {"text": format!("{}{hint}", w.message)},
            })
        }))
        .collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Assay",
                "semanticVersion": run.assay_version,
                "rules": rules,
            }},
            "automationDetails": {"id": format!("assay/{}/{}", run.scenario, run.id)},
            "invocations": [{
                "executionSuccessful": run.exit_code < 2,
                "exitCode": run.exit_code,
                "startTimeUtc": run.started,
                "toolExecutionNotifications": notifications,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {
                "profile": run.profile,
                "dialect": run.dialect,
                "topologies": report.names().collect::<Vec<_>>(),
            },
        }],
    })
}

/// The kind and level of a grade; `None` for what is no result. A kind other than `fail` carries the level `none`.
fn reported(grade: Grade) -> Option<(&'static str, &'static str)> {
    match grade {
        Grade::Violation | Grade::Required | Grade::StaleKnown | Grade::Known => Some(("fail", "error")),
        Grade::Weakness => Some(("fail", "warning")),
        Grade::Note => Some(("fail", "note")),
        Grade::Inconclusive => Some(("open", "none")),
        Grade::Ok | Grade::Skip | Grade::HarnessError => None,
    }
}

fn rule(check: &CheckRecord) -> Value {
    let (level, severity) = match check.level {
        Level::Must => ("error", "8.0"),
        Level::Should => ("warning", "5.0"),
        Level::Info => ("note", "2.0"),
    };
    let sources = check.sources.join("; ");
    json!({
        "id": check.id,
        "name": check.id,
        "shortDescription": {"text": check.requirement},
        "fullDescription": {"text": format!("{} ({sources})", check.requirement)},
        "help": {
            "text": format!("{}\nLevel: {}.\nSources: {sources}.\nassay explain {}", check.requirement, words::level(check.level), check.id),
            "markdown": format!("{}\n\nLevel: **{}**. Sources: {sources}.\n\n`assay explain {}`", check.requirement, words::level(check.level), check.id),
        },
        "defaultConfiguration": {"level": level},
        "properties": {
            "tags": ["security", "jwt", check.group.to_lowercase()],
            "security-severity": severity,
        },
    })
}

fn result(report: &Report<'_>, check: &CheckRecord, rule: usize, kind: &str, level: &str) -> Value {
    let run = report.run;
    // Code scanning wants a file: what the user can change is the scenario, or the profile where a command line took its place.
    let (named, name) = match run.scenario_sha256.is_some() {
        true => (&run.scenario_file, &run.scenario),
        false => (&run.profile_file, &run.profile),
    };
    let file = named.clone().unwrap_or_else(|| format!("{name}.yaml"));
    let mut result = json!({
        "ruleId": check.id,
        "ruleIndex": rule,
        "kind": kind,
        "level": level,
        "message": {"text": message(check)},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&file)},
                "region": {"startLine": 1},
            },
            "logicalLocations": [{
                "name": check.topology,
                "fullyQualifiedName": format!("{}/{}", check.topology, check.id),
                "kind": "resource",
            }],
        }],
        "partialFingerprints": {
            "assayFinding/v1": fingerprint(&format!("{}\n{}\n{}\n{}", run.scenario, check.topology, check.id, check.finding)),
        },
        "properties": {
            "grade": words::grade(check.grade),
            "topology": check.topology,
            "finding": check.finding,
            "requests": check.requests,
        },
    });
    if check.grade == Grade::Known {
        let why = check.known.as_deref().unwrap_or("listed as known in the profile");
        result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": why}]);
    }
    result
}

fn message(check: &CheckRecord) -> String {
    let mut text = format!("{} in {}: {}.", words::grade(check.grade), check.topology, check.summary);
    if let Some(Evidence { expected, seen, curl, .. }) = check.evidence.first() {
        text.push_str(&format!("\nExpected: {expected}.\nSeen: {seen}."));
        if let Some(curl) = curl {
            text.push_str(&format!("\nAgain:\n{curl}"));
        }
    }
    text
}

/// A relative URI reference: everything but unreserved characters is percent-encoded.
fn uri(file: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    file.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

//! What does a CI server see? One suite for each topology, one case for each check and threshold.
//!
//! `<failure>` is what ends with exit code 1, `<error>` what ends with 3 or 4, `<skipped>` what has no finding. A weakness
//! or a known deviation passes and is told in `system-out`, so that red always means a failed command.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::view::regressed;
use super::{Report, words};
use crate::record::{CheckRecord, ExitCode, Grade, ThresholdOutcome};

/// Longest reply that is repeated in a case, in characters.
const MOST_TEXT: usize = 4_000;

/// Writes the document.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    let run = report.run;
    let mut document = Document::new(format!("assay {}", run.scenario));
    document.set_time(Duration::from_millis(run.duration_ms));
    for topology in report.names() {
        let mut suite = TestSuite::new(topology);
        let checks: Vec<_> = run.checks.iter().filter(|c| c.topology == topology).collect();
        let time = checks.iter().map(|c| c.duration_ms).sum();
        suite.set_time(Duration::from_millis(time));
        suite.add_property(("profile", run.profile.as_str()));
        suite.add_property(("run", run.id.as_str()));
        for check in checks {
            suite.add_test_case(check_case(check, report));
        }
        for load in run.loads.iter().filter(|l| l.topology == topology && l.certificate.is_void()) {
            suite.add_test_case(skipped("load", "load", &format!("void: {}", load.certificate.void.join("; "))));
        }
        thresholds(report, topology, &mut suite);
        comparisons(report, topology, &mut suite);
        if suite.tests > 0 {
            document.add_test_suite(suite);
        }
    }
    for topology in &report.left_out {
        let mut suite = TestSuite::new(topology.name.as_str());
        let why = topology.left_out.as_deref().unwrap_or_default();
        suite.add_test_case(skipped("topology", "topology", &format!("left out: {why}")));
        document.add_test_suite(suite);
    }
    document.serialize(out).map_err(io::Error::other)
}

fn skipped(name: &str, class: &str, why: &str) -> TestCase {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

fn check_case(check: &CheckRecord, report: &Report<'_>) -> TestCase {
    let exit = check.exit(report.run.fail_on);
    let told = format!("{}: {}", words::grade(check.grade), check.summary);
    let mut status = match exit {
        ExitCode::Ok => match check.grade {
            Grade::Skip | Grade::Inconclusive => TestCaseStatus::skipped(),
            _ => TestCaseStatus::success(),
        },
        ExitCode::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let text = explanation(check);
    match (check.grade, &check.reason) {
        (Grade::Skip, Some(reason)) => status.set_message(reason.to_string()),
        _ => status.set_message(told.as_str()),
    };
    if check.grade != Grade::Skip {
        status.set_type(words::grade(check.grade)).set_description(text.as_str());
    }
    let passes = matches!(status, TestCaseStatus::Success { .. });
    let mut case = TestCase::new(check.id.as_str(), status);
    case.set_classname(format!("{}.{}", check.topology, check.group));
    case.set_time(Duration::from_millis(check.duration_ms));
    if passes && check.grade != Grade::Ok {
        let known = check.known.as_deref().map(|k| format!("\nknown: {k}")).unwrap_or_default();
        case.set_system_out(format!("{told}{known}\n{text}"));
    }
    case
}

/// Requirement, sources and the evidence, as plain text.
fn explanation(check: &CheckRecord) -> String {
    let mut text =
        format!("requirement: {} ({}; {})\n", check.requirement, words::level(check.level), check.sources.join("; "));
    for evidence in &check.evidence {
        let variant = evidence.variant.as_deref().map(|v| format!(" [{v}]")).unwrap_or_default();
        text.push_str(&format!("expected{variant}: {}\nseen: {}\n", evidence.expected, evidence.seen));
        if let Some(response) = &evidence.response {
            text.extend(["response:\n", &response.chars().take(MOST_TEXT).collect::<String>(), "\n"]);
        }
        if let Some(curl) = &evidence.curl {
            text.extend(["again:\n", curl, "\n"]);
        }
    }
    text
}

fn thresholds(report: &Report<'_>, topology: &str, suite: &mut TestSuite) {
    for threshold in report.run.thresholds.iter().filter(|t| t.topology == topology) {
        let observed = threshold.observed.as_deref().unwrap_or("nothing");
        let reason = threshold.reason.as_deref().unwrap_or("no reason given");
        let status = match threshold.outcome {
            ThresholdOutcome::Held => TestCaseStatus::success(),
            ThresholdOutcome::Missed => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_type("threshold").set_message(format!("observed {observed}"));
                status
            }
            ThresholdOutcome::NotJudged => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_type("threshold").set_message(format!("not judged: {reason}"));
                status
            }
        };
        let passes = threshold.outcome == ThresholdOutcome::Held;
        let mut case = TestCase::new(threshold.expression.as_str(), status);
        case.set_classname(format!("{topology}.threshold"));
        if passes {
            case.set_system_out(format!("observed {observed}"));
        }
        suite.add_test_case(case);
    }
}

fn comparisons(report: &Report<'_>, topology: &str, suite: &mut TestSuite) {
    for comparison in report.run.comparisons.iter().filter(|c| c.candidate == topology) {
        let name = format!("{} against {}", comparison.candidate, comparison.baseline);
        let class = format!("{topology}.comparison");
        if !comparison.void.is_empty() {
            suite.add_test_case(skipped(&name, &class, &format!("void: {}", comparison.void.join("; "))));
            continue;
        }
        let rows: Vec<String> = comparison
            .quantiles
            .iter()
            .map(|q| {
                let head = format!("{} {}", q.operation, words::percentile(q.quantile));
                format!("{head}: {}, {}", words::estimate(q), words::answer(q.answer))
            })
            .collect();
        let mut status = TestCaseStatus::success();
        if regressed(comparison) {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("regression").set_message("slower beyond the margin").set_description(rows.join("\n"));
        }
        let mut case = TestCase::new(name, status);
        case.set_classname(class).set_system_out(rows.join("\n"));
        suite.add_test_case(case);
    }
}

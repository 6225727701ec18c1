//! Does every renderer say what the record says, and nothing that a browser, a CI server or a spreadsheet chokes on?

mod browser;
pub(crate) mod sample;

use super::*;
use crate::record::{Grade, Run};

fn rendered(run: &Run, name: &str) -> String {
    let mut out = Vec::new();
    (format(name).unwrap().render)(&Report::of(run), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_terminal_summary_reads_well_without_colours() {
    let run = sample::run();
    insta::assert_snapshot!("terminal", summary(&Report::of(&run), Paint::Plain));
}

#[test]
fn colours_change_no_letter() {
    let run = sample::run();
    let report = Report::of(&run);
    let coloured = summary(&report, Paint::Colour);
    assert!(coloured.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), summary(&report, Paint::Plain));
}

#[test]
fn what_a_target_says_cannot_steer_the_terminal() {
    let mut run = sample::run();
    let bad = run.checks.iter_mut().find(|c| c.grade == Grade::Violation).unwrap();
    bad.evidence[0].seen = "\u{1b}]0;owned\u{7}\u{1b}[2J".into();
    bad.summary = "\u{1b}[31mred".into();
    assert!(!summary(&Report::of(&run), Paint::Plain).contains('\u{1b}'));
}

#[test]
fn markdown_fits_a_pull_request() {
    insta::assert_snapshot!("markdown", rendered(&sample::run(), "md"));
}

#[test]
fn json_is_the_record_and_follows_its_schema() {
    let run = sample::run();
    let text = rendered(&run, "json");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value, serde_json::to_value(&run).unwrap());
    let back: Run = serde_json::from_str(&text).unwrap();
    assert_eq!(back.checks.len(), run.checks.len());
    let validator = jsonschema::validator_for(&run_schema()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    assert!(!validator.is_valid(&serde_json::json!({"schema_version": 1})));
}

#[test]
fn junit_fails_what_fails_the_command_and_nothing_else() {
    let run = sample::run();
    let text = rendered(&run, "junit");
    let document = quick_junit::Report::deserialize_from_str(&text).unwrap();
    let names: Vec<&str> = document.test_suites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["bare", "embedded", "nginx", "caddy"]);
    let case = |suite: &str, name: &str| {
        let suite = document.test_suites.iter().find(|s| s.name.as_str() == suite).unwrap();
        suite.test_cases.iter().find(|c| c.name.as_str() == name).unwrap_or_else(|| panic!("{name}")).clone()
    };
    use quick_junit::{NonSuccessKind, TestCaseStatus as S};
    let kind = |suite, name| match case(suite, name).status {
        S::Success { .. } => "ok",
        S::Skipped { .. } => "skipped",
        S::NonSuccess { kind: NonSuccessKind::Failure, .. } => "failure",
        S::NonSuccess { .. } => "error",
    };
    assert_eq!(kind("bare", "sig-alg-none"), "ok");
    assert_eq!(kind("bare", "refresh-old-rejected"), "failure");
    assert_eq!(kind("nginx", "issue-no-store"), "ok", "a weakness does not fail the command");
    assert_eq!(kind("bare", "time-exp-leeway"), "ok", "known deviations do not fail the command");
    assert_eq!(kind("bare", "refresh-user-state"), "skipped");
    assert_eq!(kind("nginx", "refresh-race"), "error", "an inconclusive must ends with exit code 3");
    assert_eq!(kind("nginx", "failed.ratio < 0.01%"), "failure");
    assert_eq!(kind("nginx", "issue.response.p99 < 100ms"), "error");
    assert_eq!(kind("caddy", "topology"), "skipped");
    assert!(text.contains("<failure") && text.contains("again:") && text.contains("assay forge refresh-old-rejected"));
    let tests: usize = document.test_suites.iter().map(|s| s.test_cases.len()).sum();
    assert_eq!(document.tests, tests);

    let mut strict = run.clone();
    strict.fail_on = crate::record::Level::Should;
    let document = quick_junit::Report::deserialize_from_str(&rendered(&strict, "junit")).unwrap();
    let nginx = document.test_suites.iter().find(|s| s.name.as_str() == "nginx").unwrap();
    assert!(nginx.failures > 3, "with --fail-on should a weakness is a failure");
}

#[test]
fn characters_that_xml_cannot_hold_do_no_harm() {
    let mut run = sample::run();
    let bad = run.checks.iter_mut().find(|c| c.grade == Grade::Violation).unwrap();
    bad.evidence[0].response = Some("\u{0}\u{1b}[31m ]]> <&\" \u{fffe}".into());
    bad.summary = "]]><x>&\u{8}".into();
    quick_junit::Report::deserialize_from_str(&rendered(&run, "junit")).unwrap();
}

#[test]
fn sarif_has_a_rule_and_a_place_for_every_result() {
    let run = sample::run();
    let value: serde_json::Value = serde_json::from_str(&rendered(&run, "sarif")).unwrap();
    assert_eq!(value["version"], "2.1.0");
    let it = &value["runs"][0];
    let rules = it["tool"]["driver"]["rules"].as_array().unwrap();
    let ids: std::collections::BTreeSet<&str> = rules.iter().map(|r| r["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), rules.len(), "each rule once");
    let results = it["results"].as_array().unwrap();
    assert!(!results.is_empty());
    let mut fingerprints = std::collections::BTreeSet::new();
    for result in results {
        let rule = &rules[result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        let kind = result["kind"].as_str().unwrap();
        assert!(kind == "fail" || result["level"] == "none", "only failures carry a level: {result}");
        let place = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, "scenarios/bare-vs-proxy.yaml");
        assert!(fingerprints.insert(result["partialFingerprints"]["assayFinding/v1"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
    }
    let known = results.iter().find(|r| r["ruleId"] == "time-exp-leeway").unwrap();
    assert_eq!(known["suppressions"][0]["kind"], "external");
    assert!(results.iter().any(|r| r["ruleId"] == "refresh-old-rejected" && r["level"] == "error"));
    assert!(!results.iter().any(|r| r["ruleId"] == "sig-alg-none"), "what holds is no result");
}

#[test]
fn csv_keeps_its_columns() {
    let text = rendered(&sample::run(), "csv");
    let mut lines = text.split("\r\n").filter(|l| !l.is_empty());
    assert_eq!(lines.next(), Some("kind,topology,subject,metric,value,low,high,n,verdict"));
    for line in lines {
        // Commas inside quotes are no separators.
        let mut quoted = false;
        let commas = line
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                *c == ',' && !quoted
            })
            .count();
        assert_eq!(commas, 8, "{line}");
    }
    assert!(text.contains("load,nginx,access,response_p50_ns,"));
    assert!(!text.contains("issue,response_p99_ns"), "100 samples carry no p99");
}

#[test]
fn what_unended_requests_could_still_move_is_said_to_be_at_least() {
    let mut run = sample::run();
    let service = &mut run.loads[0].operations[3].service;
    service.censored_from = Some(90.0);
    let csv = rendered(&run, "csv");
    let row = |metric: &str| csv.lines().find(|l| l.contains(&format!("bare,access,{metric},"))).unwrap().to_owned();
    let cells = |metric: &str| row(metric).trim().split(',').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(cells("service_p50_ns")[5..], ["", "", "5000", ""]);
    let p99 = cells("service_p99_ns");
    assert_eq!((&p99[5], p99[6].as_str(), p99[8].as_str()), (&p99[4], "inf", "censored"));
    assert_eq!(cells("service_max_ns")[8], "censored");
    let metrics = rendered(&run, "openmetrics");
    let line = |quantile: &str| {
        let of = format!("operation=\"access\",clock=\"service\",quantile=\"{quantile}\"");
        metrics.lines().find(|l| l.contains("topology=\"bare\"") && l.contains(&of)).unwrap().to_owned()
    };
    assert!(!line("0.5").contains("at_least") && line("0.99").contains("bound=\"at_least\""), "{}", line("0.99"));
    let of_access = &mut run.loads[0].operations[3].response;
    of_access.censored_from = Some(99.0);
    let html = rendered(&run, "html");
    assert!(html.contains("bare p99: at least"), "the spectrum says so too");
}

#[test]
fn a_search_is_told_with_its_interval_and_its_tries() {
    use crate::record::{FoundRecord, TryRecord};
    let mut run = sample::run();
    let tried =
        |rate_per_s, held, why: Option<&str>| TryRecord { rate_per_s, held, why: why.map(str::to_owned), seconds: 5.0 };
    run.loads[0].found = Some(FoundRecord {
        rate_per_s: 480.0,
        low_per_s: 460.0,
        high_per_s: 505.0,
        searches: 6,
        level: 0.96875,
        tries: vec![tried(1000.0, false, Some("missed <p99>")), tried(460.0, true, None)],
        ..FoundRecord::default()
    });
    let csv = rendered(&run, "csv");
    assert!(csv.contains("load,bare,all,highest_rate_per_s,480.00,460.00,505.00,6,bracketed"), "{csv}");
    let metrics = rendered(&run, "openmetrics");
    assert!(metrics.contains("bound=\"low\",level=\"0.9688\"} 460"), "{metrics}");
    let html = rendered(&run, "html");
    assert!(html.contains("6 searches, 96.9 % confidence") && html.contains("missed &lt;p99&gt;"));
}

#[test]
fn open_metrics_end_and_keep_families_together() {
    let text = rendered(&sample::run(), "openmetrics");
    assert!(text.ends_with("# EOF\n"));
    let mut seen = std::collections::BTreeSet::new();
    let mut current = String::new();
    for line in text.lines().filter(|l| *l != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            current = rest.split(' ').next().unwrap().to_owned();
            assert!(seen.insert(current.clone()), "{current} twice");
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let unit = rest.split(' ').nth(1).unwrap();
            assert!(current.ends_with(unit), "{current} must end with its unit {unit}");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&format!("{current}{{")), "{line}");
            line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    assert!(text.contains(
        "assay_check_ok{scenario=\"bare-vs-proxy\",topology=\"bare\",check=\"refresh-old-rejected\",level=\"must\"} 0"
    ));
}

#[test]
fn html_needs_neither_network_nor_script() {
    let text = rendered(&sample::run(), "html");
    for forbidden in
        ["<script", "http-equiv=\"refresh\"", "<link", "<iframe", "@import", "url(", " onload=", " onclick="]
    {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
    assert!(text.contains("default-src 'none'"));
    for needed in [
        "refresh-old-rejected",
        "stand-in",
        "planned <b>",
        "in flight at the end",
        "Hodges-Lehmann",
        "caddy is not installed",
        "prefers-color-scheme",
    ] {
        assert!(text.contains(needed), "{needed}");
    }
    let ids: Vec<&str> = text.split(" id=\"").skip(1).map(|t| t.split('"').next().unwrap()).collect();
    let unique: std::collections::BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "ids are unique");
    for anchor in text.split("href=\"#").skip(1).map(|t| t.split('"').next().unwrap()) {
        assert!(ids.contains(&anchor), "#{anchor} leads nowhere");
    }
}

#[test]
fn html_shows_markup_as_text() {
    let mut run = sample::run();
    let bad = run.checks.iter_mut().find(|c| c.grade == Grade::Violation).unwrap();
    bad.summary = "<script>alert(1)</script>".into();
    bad.evidence[0].response = Some("</pre><img src=x onerror=alert(1)>".into());
    run.scenario = "</title><b>".into();
    let text = rendered(&run, "html");
    assert!(!text.contains("<script>") && !text.contains("<img") && !text.contains("</title><b>"));
    let md = rendered(&run, "md");
    assert!(!md.contains("<script>"));
}

#[test]
fn an_empty_run_is_rendered_by_all() {
    let mut run = sample::run();
    run.checks.clear();
    run.windows.clear();
    run.loads.clear();
    run.comparisons.clear();
    run.thresholds.clear();
    run.topologies.clear();
    run.warnings.clear();
    run.notes.clear();
    run.exit_code = 0;
    for format in formats() {
        assert!(!rendered(&run, format.name).is_empty(), "{}", format.name);
    }
    assert!(summary(&Report::of(&run), Paint::Plain).contains("passed (exit 0)"));
}

#[test]
fn void_numbers_are_marked_everywhere() {
    let mut run = sample::run();
    run.loads[2].certificate.void.push("12 arrivals were skipped".into());
    run.comparisons[1].void.push("the A/A control did not hold".into());
    for name in ["html", "md", "csv", "junit"] {
        assert!(rendered(&run, name).contains("void"), "{name}");
    }
    assert!(summary(&Report::of(&run), Paint::Plain).contains("void the A/A control did not hold"));
    assert!(!rendered(&run, "openmetrics").contains("candidate=\"nginx\""), "a void comparison leaves no gauge");
}

#[test]
fn a_broken_histogram_is_told_and_the_rest_is_shown() {
    let mut run = sample::run();
    run.loads[0].operations[0].response.hdr_base64 = "AAAA".into();
    let text = rendered(&run, "html");
    assert!(text.contains("unreadable") && text.contains("Response time of <b>access</b>"));
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    let run = sample::run();
    for format in formats() {
        assert_eq!(rendered(&run, format.name), rendered(&run, format.name), "{}", format.name);
    }
}

#[test]
fn two_stored_runs_are_compared_with_a_warning() {
    let before = sample::run();
    let mut after = before.clone();
    after.id = "bare-vs-proxy-later".into();
    after.checks.iter_mut().filter(|c| c.id == "refresh-old-rejected").for_each(|c| {
        c.grade = Grade::Ok;
        c.finding = "refused".into();
        c.summary = "the old refresh token is refused".into();
    });
    let stored = crate::stats::compare_stored(&before, &after).unwrap();
    assert_eq!(stored.loads.len(), 3);
    assert!(stored.loads.iter().flat_map(|l| &l.quantiles).all(|q| q.answer == crate::record::Answer::Inconclusive));
    assert_eq!(stored.findings.len(), 3);
    let text = stored_summary(&stored, Paint::Plain);
    assert!(
        text.contains("not interleaved") && text.contains("violation") && text.contains("refresh-old-rejected"),
        "{text}"
    );
}

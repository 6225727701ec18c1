//! What is seen of the end of tokens where the signing key is not known: by moving the server's clock, or by waiting?

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay::conformance::{Check, Examination, Findings, Selection, examine, find};
use assay::record::{Redactor, SkipReason, Verdict};
use assay::target::{Profile, Target, load};
use reference_server::{Config, FlawSet, Hash};

/// A reference server with its admin port, ended with its runtime.
struct Server {
    url: String,
    admin: String,
    _runtime: tokio::runtime::Runtime,
}

fn config(flaws: &[&str], access: Duration) -> Config {
    let flaws: Vec<_> = flaws.iter().map(|f| f.parse().unwrap()).collect();
    Config { flaws: FlawSet::of(&flaws), hash: Hash::None, access_lifetime: access, ..Config::default() }
}

fn serve(config: Config) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = reference_server::app(config).unwrap();
    let listen = |router: axum::Router| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await
        });
        url
    };
    let (url, admin) = (listen(app.router(false)), listen(app.admin()));
    Server { url, admin, _runtime: runtime }
}

/// What the checks of time find without the key; `moves`: with the hook that moves the clock.
fn examined(flaws: &[&str], access: Duration, moves: bool, ids: &[&str]) -> Findings {
    examined_by(config(flaws, access), Some(0.0), moves, ids)
}

/// The same of a server of any configuration, of which the profile declares this leeway.
fn examined_by(config: Config, leeway_s: Option<f64>, moves: bool, ids: &[&str]) -> Findings {
    let access = config.access_lifetime;
    let server = serve(config);
    let mut profile: Profile = load("reference", None, Path::new(".")).unwrap();
    profile.keys.sign = None;
    profile.declares.leeway_s = leeway_s;
    profile.tokens.access.lifetime_s = Some(access.as_secs_f64());
    let target = Target::new(profile, &server.url, moves.then_some(server.admin.as_str()), &[]).unwrap();
    let checks: Vec<&'static Check> = ids.iter().map(|id| find(id).unwrap()).collect();
    let cancel = AtomicBool::new(false);
    examine(&Examination {
        target: &target,
        topology: "bare",
        selection: &Selection::everything(),
        redactor: Redactor::default(),
        logs: Vec::new(),
        peer: None,
        deployment: None,
        capsule: None,
        catalogue: &checks,
        on_event: &|_| {},
        cancel: &cancel,
    })
    .unwrap()
}

const CLOCKED: &[&str] = &["time-exp-rejected", "time-exp-leeway", "time-cached-verdict", "time-refresh-exp"];

#[test]
fn the_clock_of_a_server_shows_the_end_of_tokens_that_live_for_long() {
    let findings = examined(&[], Duration::from_secs(300), true, CLOCKED);
    for check in &findings.checks {
        assert_eq!(check.verdict, Verdict::Pass, "{}: {}", check.id, check.summary);
    }
    let window = findings.windows.iter().find(|w| w.endpoint == "resource").unwrap();
    assert_eq!(window.method, "clock-hook");
    let (last, first) = (window.last_accepted_s.unwrap(), window.first_refused_s.unwrap());
    assert!((-2.5..=0.1).contains(&last) && (-0.1..=2.5).contains(&first), "{window:?}");
}

#[test]
fn a_moved_clock_shows_tokens_without_end_long_leeways_and_verdicts_that_are_kept() {
    for (flaw, id) in [
        ("ignore-exp", "time-exp-rejected"),
        ("leeway-600", "time-exp-leeway"),
        ("immortal-refresh", "time-refresh-exp"),
    ] {
        let findings = examined(&[flaw], Duration::from_secs(300), true, &[id]);
        let check = &findings.checks[0];
        assert_eq!(check.verdict, Verdict::Fail, "{flaw}: {}", check.summary);
    }
}

#[test]
fn tokens_of_a_few_seconds_are_waited_for() {
    let ids =
        ["time-exp-rejected", "time-exp-leeway", "time-exp-boundary", "time-exp-not-early", "time-cached-verdict"];
    let findings = examined(&[], Duration::from_secs(3), false, &ids);
    for check in &findings.checks {
        assert!(matches!(check.verdict, Verdict::Pass | Verdict::Inconclusive), "{}: {}", check.id, check.summary);
        assert!(check.verdict == Verdict::Pass || check.id == "time-exp-boundary", "{}: {}", check.id, check.summary);
    }
    assert!(findings.windows.iter().all(|w| w.method == "short-lived"), "{:?}", findings.windows);
    let findings = examined(&["early-expiry"], Duration::from_secs(8), false, &["time-exp-not-early"]);
    assert_eq!(findings.checks[0].verdict, Verdict::Fail, "{}", findings.checks[0].summary);
}

#[test]
fn what_outlives_the_budget_cannot_be_observed_and_says_so() {
    let findings = examined(&[], Duration::from_secs(300), false, &["time-exp-leeway", "time-exp-rejected"]);
    let leeway = findings.checks.iter().find(|c| c.id == "time-exp-leeway").unwrap();
    assert_eq!(leeway.reason, Some(SkipReason::Budget(300)), "{}", leeway.summary);
    let note = findings.windows[0].note.clone().unwrap();
    assert!(findings.windows[0].method == "not-observed" && note.contains("cannot be observed"), "{note}");
}

#[test]
fn a_leeway_that_nobody_declares_is_measured_before_a_verdict_counts_as_kept() {
    let lenient = |flaws: &[&str]| {
        let config = Config { leeway: Duration::from_secs(4), ..config(flaws, Duration::from_secs(3)) };
        let findings = examined_by(config, None, false, &["time-cached-verdict"]);
        (findings.checks[0].verdict, findings.checks[0].summary.clone())
    };
    let (verdict, summary) = lenient(&[]);
    assert_eq!(verdict, Verdict::Pass, "{summary}");
    let (verdict, summary) = lenient(&["verdict-cache"]);
    assert_eq!(verdict, Verdict::Fail, "{summary}");
}

#[test]
fn a_refresh_token_that_is_taken_a_little_late_is_no_violation_where_no_leeway_is_declared() {
    let late = |leeway_s: Option<f64>| {
        let lives = Duration::from_secs(2);
        let config = Config { refresh_lifetime: lives, leeway: Duration::from_secs(20), ..config(&[], lives) };
        let findings = examined_by(config, leeway_s, false, &["time-refresh-exp"]);
        (findings.checks[0].verdict, findings.checks[0].summary.clone())
    };
    let (verdict, summary) = late(None);
    assert_eq!(verdict, Verdict::Inconclusive, "{summary}");
    let (verdict, summary) = late(Some(0.0));
    assert_eq!(verdict, Verdict::Fail, "{summary}");
}

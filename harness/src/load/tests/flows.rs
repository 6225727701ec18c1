//! Whose doing is it? Waits by their reason, refusals that we brought about, sessions kept fresh, and flows.

use super::*;

/// A token server whose answers are changed on their way.
fn rig_with(lifetime_s: Option<f64>, change: impl Fn(&TokenServer, &Asked, Act) -> Act + Send + Sync + 'static) -> Rig {
    let server = Arc::new(TokenServer::default());
    let answers = Arc::clone(&server);
    let url = serve(move |asked| change(&answers, asked, answers.answer(asked)));
    let mut profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    profile.tokens.access.lifetime_s = lifetime_s.or(profile.tokens.access.lifetime_s);
    Rig { server, target: Target::new(profile, &url, None, &[]).unwrap() }
}

fn open_load(rate: &str, hold: &str, mix: serde_json::Value, tokens: serde_json::Value) -> Workload {
    workload(serde_json::json!({
        "arrival": {"open": {"rate": rate, "process": "constant"}}, "stages": [{"hold": hold}], "warmup": "0s",
        "mix": mix, "tokens": tokens, "connections": 16, "sample": 0,
    }))
}

fn operation<'a>(driven: &'a Driven, name: &str) -> &'a crate::record::OperationRecord {
    driven.record.operations.iter().find(|o| o.operation == name).unwrap()
}

#[test]
fn who_waits_for_a_session_holds_up_nobody_else() {
    // Two sessions, each of which a refresh takes for a third of a second: most refreshes have to wait for one.
    let rig = rig_with(None, |_, asked, act| match asked.line.contains("/refresh/") {
        true => Act { wait: Duration::from_millis(350), ..act },
        false => act,
    });
    let mix = serde_json::json!({"refresh": 1, "access": 3});
    let workload = open_load("80/s", "1500ms", mix, serde_json::json!({"sessions": 2}));
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let (refresh, access) = (operation(&driven, "refresh"), operation(&driven, "access"));
    assert!(refresh.phases["wait-session"].n > 3, "{:?}", refresh.phases.keys());
    assert!(!access.phases.contains_key("wait-session") && access.accounting.completed > 60, "{:?}", access.accounting);
    assert!(access.response.p90_ns < 150_000_000, "access waited for refreshes: {:?}", access.response);
    // What a request waits for a session is not the queue for a connection.
    assert!(!refresh.phases.contains_key("queue"), "{:?}", refresh.phases.keys());
}

#[test]
fn a_token_that_we_let_expire_is_no_failure_of_the_server() {
    // Tokens live for two seconds at most, and whole seconds are rounded down: from 1.5 s on they may have ended. New
    // ones come too late.
    let from = Instant::now();
    let rig = rig_with(Some(2.0), move |_, asked, act| match asked.line.starts_with("GET") {
        true if from.elapsed() > Duration::from_millis(1500) => {
            Act { status: 401, body: "{}".into(), ..Act::default() }
        }
        false if from.elapsed() > Duration::from_millis(700) => Act { wait: Duration::from_secs(3), ..act },
        _ => act,
    });
    let tokens = serde_json::json!({"sessions": 20, "refresh-lead": "0s"});
    let workload = open_load("100/s", "2s", serde_json::json!({"access": 1}), tokens);
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let a = driven.record.accounting;
    assert_eq!(a.failed, 0, "{:?}", kinds(&driven));
    assert!(a.by_us > 10 && a.completed > 60, "{a:?}");
    assert!(kinds(&driven).keys().any(|k| k.contains("expired by our schedule")), "{:?}", kinds(&driven));
    assert!(driven.record.certificate.void.iter().any(|v| v.contains("let expire")), "{:?}", driven.record.certificate);
}

#[test]
fn a_token_that_we_revoked_is_no_failure_of_the_server() {
    // A revocation ends the access token at once, and is answered later.
    let rig = rig_with(None, |server, asked, act| match asked.line.contains("/blacklist/") {
        true => {
            let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap_or_default();
            let access = body["refresh"].as_str().unwrap_or_default().replace("refresh-", "access-");
            server.access.lock().unwrap().remove(&access);
            Act { wait: Duration::from_millis(100), ..act }
        }
        false => act,
    });
    let mix = serde_json::json!({"revoke": 1, "access": 8});
    let workload = open_load("270/s", "1500ms", mix, serde_json::json!({"sessions": 30}));
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let access = operation(&driven, "access").accounting;
    assert_eq!(access.failed, 0, "{:?}", kinds(&driven));
    assert!(access.by_us > 0 && access.completed > 100, "{access:?}");
    assert!(driven.record.housekeeping.logins > 5, "{:?}", driven.record.housekeeping);
}

#[test]
fn access_tokens_are_revoked_where_there_are_no_others() {
    // A login returns an access token alone, and a logout takes that.
    let server = Arc::new(TokenServer::default());
    let answers = Arc::clone(&server);
    let revoked = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&revoked);
    let url = serve(move |asked| {
        if asked.line.contains("/blacklist/") {
            let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap_or_default();
            let gone = answers.access.lock().unwrap().remove(body["refresh"].as_str().unwrap_or_default());
            seen.fetch_add(u64::from(gone), Ordering::Relaxed);
        }
        answers.answer(asked)
    });
    let mut profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    profile.operations["issue"].returns.shift_remove("refresh");
    profile.operations["revoke"].accepts = None;
    let rig = Rig { server, target: Target::new(profile, &url, None, &[]).unwrap() };
    let mix = serde_json::json!({"revoke": 1, "access": 4});
    let workload = open_load("100/s", "1s", mix, serde_json::json!({"sessions": 20}));
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let revoke = operation(&driven, "revoke").accounting;
    assert!(revoke.completed > 5 && revoke.completed <= revoked.load(Ordering::Relaxed), "{revoke:?}");
    assert_eq!(driven.record.accounting.failed, 0, "{:?}", kinds(&driven));
    assert!(driven.record.housekeeping.logins > 5, "{:?}", driven.record.housekeeping);
}

#[test]
fn several_keep_house_so_that_many_sessions_stay_fresh() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (busy, seen) = (Arc::clone(&now), Arc::clone(&most));
    let server = Arc::new(TokenServer::default());
    let answers = Arc::clone(&server);
    let url = serve(move |asked| {
        if asked.line.contains("/refresh/") {
            seen.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            busy.fetch_sub(1, Ordering::SeqCst);
        }
        answers.answer(asked)
    });
    let mut profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    profile.tokens.access.lifetime_s = Some(4.0);
    let rig = Rig { server, target: Target::new(profile, &url, None, &[]).unwrap() };
    let tokens = serde_json::json!({"sessions": 60, "refresh-lead": "2500ms"});
    let workload = open_load("50/s", "2s", serde_json::json!({"access": 1}), tokens);
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    assert!(most.load(Ordering::SeqCst) >= 3, "at most {} refreshed at once", most.load(Ordering::SeqCst));
    let house = driven.record.housekeeping;
    assert!(house.refreshes >= 60 && house.failed == 0, "{house:?}");
    assert_eq!((driven.record.accounting.failed, driven.record.accounting.by_us), (0, 0), "{:?}", kinds(&driven));
}

#[test]
fn a_lead_that_is_longer_than_a_life_renews_once_in_half_a_life() {
    let rig = rig_with(Some(4.0), |_, _, act| act);
    let tokens = serde_json::json!({"sessions": 10, "refresh-lead": "30s"});
    let workload = open_load("50/s", "2s", serde_json::json!({"access": 1}), tokens);
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let house = driven.record.housekeeping;
    assert!((1..=20).contains(&house.refreshes) && house.failed == 0, "{house:?}");
}

#[test]
fn a_flow_takes_each_session_through_its_steps() {
    let rig = rig_with(None, |_, _, act| act);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "40/s", "process": "constant"}}, "stages": [{"hold": "1500ms"}], "warmup": "0s",
        "flow": ["issue", {"access": 3}, {"pause": "20ms"}, "refresh", "access"], "connections": 8, "sample": 0,
    }))
    .plain();
    let mut population = rig.prepare(&workload);
    assert_eq!(population.len(), 1);
    let driven = rig.drive(&workload, &mut population);
    let (record, flow) = (&driven.record, driven.record.flow.clone().unwrap());
    assert_eq!(flow.steps, "issue > access x3 > pause 20ms > refresh > access");
    assert!(
        record.model.ends_with("each through issue > access x3 > pause 20ms > refresh > access"),
        "{}",
        record.model
    );
    assert_eq!((flow.started, flow.abandoned, record.accounting.failed), (60, 0, 0), "{flow:?} {:?}", kinds(&driven));
    assert_eq!(flow.completed + flow.cut, 60);
    assert!(flow.completed > 30, "{flow:?}");
    let completed = |name: &str| operation(&driven, name).accounting.completed;
    assert_eq!(
        record.operations.iter().map(|o| o.operation.as_str()).collect::<Vec<_>>(),
        ["issue", "access", "refresh"]
    );
    assert!(completed("access") >= 4 * flow.completed && completed("refresh") >= flow.completed);
    // Each has logged in for himself, and no token was used up twice.
    assert_eq!(rig.server.logins.load(Ordering::Relaxed), 61);
    assert_eq!(rig.server.replayed.load(Ordering::Relaxed), 0);
    assert!(flow.expected_ns["issue"] > 0 && population.len() == 1);
}

#[test]
fn a_slow_login_is_seen_in_the_step_that_waited_for_it() {
    // Logins are quick until the tenth, and take 300 ms from then on; the resource is always quick.
    let seen = AtomicU64::new(0);
    let rig = rig_with(None, move |_, asked, act| match asked.line.starts_with("POST /api/token/ ") {
        true if seen.fetch_add(1, Ordering::Relaxed) > 120 => Act { wait: Duration::from_millis(300), ..act },
        _ => act,
    });
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "100/s", "process": "constant"}}, "stages": [{"hold": "2s"}], "warmup": "0s",
        "flow": ["issue", "access"], "connections": 64, "sample": 0,
    }))
    .plain();
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let access = operation(&driven, "access");
    assert!(access.service.p90_ns < 150_000_000, "{:?}", access.service);
    assert!(access.response.max_ns > 200_000_000, "{:?}", access.response);
    // It was not late for want of the generator.
    assert!(access.lag.p50_ns < 100_000_000, "{:?}", access.lag);
}

#[test]
fn steps_that_a_login_which_hangs_keeps_from_being_sent_are_counted_all_the_same() {
    // Logins are quick until the 31st, and are never answered from then on.
    let seen = AtomicU64::new(0);
    let rig = rig_with(None, move |_, asked, act| match asked.line.starts_with("POST /api/token/ ") {
        true if seen.fetch_add(1, Ordering::Relaxed) > 30 => Act { wait: Duration::from_secs(60), ..act },
        _ => act,
    });
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "60/s", "process": "constant"}}, "stages": [{"hold": "1500ms"}], "warmup": "0s",
        "flow": ["issue", {"access": 2}], "connections": 90, "timeout": "30s", "sample": 0,
    }))
    .plain();
    let driven = rig.drive(&workload, &mut rig.prepare(&workload));
    let (issue, access) = (operation(&driven, "issue"), operation(&driven, "access"));
    assert_eq!(issue.accounting.planned, 90, "{:?}", issue.accounting);
    assert!(issue.accounting.in_flight >= 30, "{:?}", issue.accounting);
    // Each login has two steps behind it, but for those that were to come after the end.
    assert!(access.accounting.planned >= 150, "{:?}", access.accounting);
    assert!(access.accounting.unsent >= 60, "{:?}", access.accounting);
    assert!(access.response.censored_from.is_some(), "{:?}", access.response);
}

#[test]
fn sessions_with_tokens_walk_too_and_a_failed_step_ends_a_flow() {
    let rig = rig_with(None, |_, asked, act| match asked.nth % 5 {
        4 if asked.line.starts_with("GET") => Act { status: 503, ..Act::default() },
        _ => act,
    });
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 4, "think": "5ms"}}, "stages": [{"hold": "1s"}], "warmup": "0s",
        "flow": [{"access": 2}, "refresh"], "tokens": {"sessions": 10}, "sample": 0,
    }))
    .plain();
    let mut population = rig.prepare(&workload);
    assert_eq!(population.len(), 10);
    let driven = rig.drive(&workload, &mut population);
    let flow = driven.record.flow.clone().unwrap();
    assert!(flow.completed > 5 && flow.abandoned > 1, "{flow:?}");
    assert_eq!(driven.record.accounting.failed, flow.abandoned, "{:?}", kinds(&driven));
    assert_eq!(rig.server.replayed.load(Ordering::Relaxed), 0);
    assert_eq!(population.len(), 10);
}

//! Is a load held to its thresholds: at its end, in its windows, while it runs, and in a search?

use super::*;
use crate::scenario::Threshold;

#[test]
fn a_missed_threshold_that_says_so_ends_the_load() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "200/s"}}, "stages": [{"hold": "10m"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 2,
    }));
    let mut population = rig.prepare(&workload);
    rig.server.access.lock().unwrap().clear();
    let thresholds: Vec<Threshold> = [
        "failed.count < 100000",
        "failed.ratio in elsewhere < 1% or abort after 0s",
        "failed.ratio < 1% or abort after 0s",
    ]
    .iter()
    .map(|t| t.parse().unwrap())
    .collect();
    let driven = rig.drive_held_to(&workload, &mut population, &thresholds);
    assert_eq!(driven.record.aborted_by.as_deref(), Some("failed.ratio < 1% or abort after 0s"));
    assert!(!driven.interrupted && driven.record.duration_s < 300.0);
    let failed = judge(&thresholds[2], &driven.record);
    assert!(matches!(failed, Judgement::Missed(seen) if seen.low > 0.9), "{failed:?}");
}

#[test]
fn the_highest_rate_that_holds_is_found_by_arithmetic() {
    // A server that serves one request after the other, 5 ms each: 200 a second. It notes how long they took indeed.
    let turn = Mutex::new(());
    let (served, took_us) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, sum) = (Arc::clone(&served), Arc::clone(&took_us));
    let url = serve(move |_| {
        let _turn = turn.lock().unwrap();
        let from = Instant::now();
        thread::sleep(Duration::from_millis(5));
        count.fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(from.elapsed().as_micros() as u64, Ordering::Relaxed);
        Act { body: "{\"access\":\"a\",\"refresh\":\"r\",\"user\":\"alice\"}".into(), ..ok() }
    });
    let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    let rig = Rig { server: Arc::default(), target: Target::new(profile, &url, None, &[]).unwrap() };
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "1600/s", "process": "constant"}}, "stages": [{"hold": "300ms"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "find": "max-rate", "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let thresholds = ["failed.ratio < 1%".parse().unwrap(), "skipped.count <= 0".parse().unwrap()];
    let driven = rig.with(&workload, |d| find_max_rate(d, &mut population, &thresholds).unwrap().driven);
    let found = driven.record.found.unwrap();
    assert!(!found.at_least && found.low_per_s <= found.rate_per_s && found.rate_per_s <= found.high_per_s);
    // On a busy machine the server is slower than it says, never faster; the queue at the end of a try forgives a bit.
    assert!(found.rate_per_s < 300.0, "{found:?}");
    let bears = served.load(Ordering::Relaxed) as f64 * 1e6 / took_us.load(Ordering::Relaxed) as f64;
    assert!(found.high_per_s > bears / 2.0, "it bears {bears:.0} a second: {found:?}");
    assert!(found.tries.len() > 10 && found.tries.iter().any(|t| !t.held && t.why.is_some()), "{found:?}");
    assert_eq!((found.searches, found.level, found.interrupted), (6, 0.96875, false));
}

/// A server that answers `access`, and from some moment on takes requests and says nothing.
fn hangs_after(requests: u64) -> Rig {
    let seen = AtomicU64::new(0);
    let url = serve(move |_| {
        let hung = seen.fetch_add(1, Ordering::Relaxed) >= requests;
        let wait = if hung { Duration::from_secs(60) } else { Duration::ZERO };
        Act { wait, body: "{\"access\":\"a\",\"refresh\":\"r\",\"user\":\"alice\"}".into(), ..ok() }
    });
    let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    Rig { server: Arc::default(), target: Target::new(profile, &url, None, &[]).unwrap() }
}

fn held_to(expressions: &[&str]) -> Vec<Threshold> {
    expressions.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_server_that_hangs_is_abandoned_long_before_its_requests_time_out() {
    let rig = hangs_after(150);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "100/s", "process": "constant"}}, "stages": [{"hold": "10m"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "timeout": "60s", "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let driven = rig.drive_held_to(&workload, &mut population, &held_to(&["response.p90 < 500ms or abort"]));
    assert_eq!(driven.record.aborted_by.as_deref(), Some("response.p90 < 500ms or abort"));
    assert!(driven.record.duration_s < 50.0, "it took {} s", driven.record.duration_s);
    let seconds = &driven.record.seconds;
    assert!(seconds.iter().any(|s| s.completed == 0 && s.unended > 50), "the hang is in the time series: {seconds:?}");
    assert!(seconds.iter().any(|s| s.ended == Some(0)), "and the wall's clock saw nothing end");
}

#[test]
fn a_load_that_holds_or_has_ended_is_not_said_to_have_been_ended_early() {
    let rig = hangs_after(1_000_000);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "100/s", "process": "constant"}}, "stages": [{"hold": "1500ms"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let held = held_to(&[
        "completed.rate > 50/s or abort after 1s",
        "completed.count > 100000 or abort after 0s",
        "response.p50 from 1s < 1ns or abort after 0s",
    ]);
    let driven = rig.drive_held_to(&workload, &mut population, &held);
    assert_eq!(driven.record.aborted_by, None);
    assert!(matches!(judge(&held[1], &driven.record), Judgement::Missed(_)));
}

#[test]
fn a_window_is_judged_by_what_was_planned_in_it_on_every_clock() {
    let rig = hangs_after(1_000_000);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "200/s", "process": "constant"}}, "stages": [{"hold": "3s"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let held = held_to(&[
        "completed.count from 500ms to 1700ms >= 240",
        "completed.count from 500ms to 1700ms <= 240",
        "completed.rate from 500ms to 1700ms >= 199.9/s",
        "completed.rate from 2500ms <= 200.1/s",
        "timed-out.count from 1s to 2s <= 0",
        "skipped.ratio from 1s < 1%",
        "service.p50 from 500ms to 1700ms < 30s",
        "lag.p90 from 1s to 2s < 30s",
        "first-byte.p50 from 1s < 30s",
        "access.response.p90 from 1s < 30s",
    ]);
    let driven = rig.drive_held_to(&workload, &mut population, &held);
    for threshold in &held {
        let judged = judge(threshold, &driven.record);
        assert!(matches!(judged, Judgement::Held(_)), "`{threshold}`: {judged:?}");
    }
    let later = judge(&held_to(&["completed.count from 20s > 1"])[0], &driven.record);
    assert!(matches!(later, Judgement::Open(None, Why::NoTime)), "{later:?}");
}

#[test]
fn a_window_in_which_requests_timed_out_is_missed() {
    let rig = hangs_after(75);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "60/s", "process": "constant"}}, "stages": [{"hold": "3s"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 70, "timeout": "1s", "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let held = held_to(&[
        "response.p90 from 2s < 900ms",
        "service.p90 from 2s < 900ms",
        "first-byte.p90 from 2s < 900ms",
        "timed-out.ratio from 2s < 50%",
    ]);
    let driven = rig.drive_held_to(&workload, &mut population, &held);
    for threshold in &held {
        let judged = judge(threshold, &driven.record);
        assert!(matches!(judged, Judgement::Missed(_)), "`{threshold}`: {judged:?}");
    }
    let operation = &driven.record.operations[0];
    assert!(operation.service.censored_from.is_some(), "the service time is censored too: {operation:?}");
}

#[test]
fn a_search_that_is_interrupted_keeps_its_tries() {
    let rig = hangs_after(1_000_000);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "1600/s", "process": "constant"}}, "stages": [{"hold": "200ms"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "find": "max-rate", "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    let cancel = AtomicBool::new(false);
    let tried = AtomicU64::new(0);
    let about = Mutex::new(Vec::new());
    let on_progress = |p: &Progress| {
        about.lock().unwrap().extend(p.search.map(|s| (s.number, s.about, s.left)));
        if matches!(p.phase, Phase::Tried { .. }) && tried.fetch_add(1, Ordering::Relaxed) == 2 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    // Nothing is that quick, so that every try is missed.
    let thresholds = held_to(&["response.p50 < 1ns"]);
    let driven = rig.with(&workload, |d| {
        let d = Drive { on_progress: &on_progress, cancel: &cancel, ..*d };
        find_max_rate(&d, &mut population, &thresholds).unwrap().driven
    });
    let found = driven.record.found.as_ref().unwrap();
    assert!(driven.interrupted && found.interrupted, "{found:?}");
    assert_eq!((found.tries.len(), found.high_per_s, found.low_per_s), (3, 100.0, 0.0), "{found:?}");
    let about = about.into_inner().unwrap();
    assert!(about.iter().all(|(number, about, left)| number < about && left.0 > 0), "{about:?}");
}

#[test]
fn a_try_with_too_few_samples_is_made_longer() {
    let rig = hangs_after(1_000_000);
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "100/s", "process": "constant"}}, "stages": [{"hold": "300ms"}], "warmup": "0s",
        "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4, "find": "max-rate", "sample": 0,
    }));
    let mut population = rig.prepare(&workload);
    // 30 samples a try, and 100 are needed.
    let thresholds = held_to(&["response.p90 < 30s"]);
    let driven = rig.with(&workload, |d| find_max_rate(d, &mut population, &thresholds).unwrap().driven);
    let found = driven.record.found.clone().unwrap();
    assert!(found.at_least && found.tries[0].held && found.tries[0].seconds > 0.9, "{found:?}");
    let judged = judge(&thresholds[0], &driven.record);
    assert!(matches!(judged, Judgement::Held(_)), "the last drive has the samples too: {judged:?}");
    // More than a try may be made longer.
    let thresholds = held_to(&["response.p99.9 < 30s"]);
    let driven = rig.with(&workload, |d| find_max_rate(d, &mut population, &thresholds).unwrap().driven);
    let found = driven.record.found.unwrap();
    assert!(found.unjudged.as_deref().is_some_and(|why| why.contains("too few")), "{found:?}");
}

/// A server that stops listening once it is told so, and comes back after a while or never.
struct Leaving {
    rig: Rig,
    down: Arc<AtomicBool>,
    gone: Arc<AtomicBool>,
}

impl Leaving {
    fn back(after: Option<Duration>) -> Leaving {
        let (down, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (told, closed) = (Arc::clone(&down), Arc::clone(&gone));
        thread::spawn(move || {
            let answer =
                |_: &Asked| Act { body: "{\"access\":\"a\",\"refresh\":\"r\",\"user\":\"alice\"}".into(), ..ok() };
            listener.set_nonblocking(true).unwrap();
            loop {
                if told.swap(false, Ordering::SeqCst) {
                    drop(listener);
                    closed.store(true, Ordering::SeqCst);
                    let Some(after) = after else { return };
                    thread::sleep(after);
                    listener = TcpListener::bind(addr).unwrap();
                    listener.set_nonblocking(true).unwrap();
                }
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        thread::spawn(move || converse(stream, &answer));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
        let target = Target::new(profile, &format!("http://{addr}"), None, &[]).unwrap();
        Leaving { rig: Rig { server: Arc::default(), target }, down, gone }
    }

    /// Searches with a threshold that nothing holds; the server leaves after so many tries, and the user stops after so
    /// many.
    fn search(&self, leaves_after: u64, stops_after: u64) -> Searched {
        let workload = workload(serde_json::json!({
            "arrival": {"open": {"rate": "200/s", "process": "constant"}}, "stages": [{"hold": "200ms"}],
            "warmup": "0s", "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 2, "find": "max-rate",
            "sample": 0, "control": 0,
        }));
        let mut population = self.rig.prepare(&workload);
        let (cancel, tried) = (AtomicBool::new(false), AtomicU64::new(0));
        let on_progress = |p: &Progress| {
            if !matches!(p.phase, Phase::Tried { .. }) {
                return;
            }
            let tried = tried.fetch_add(1, Ordering::Relaxed) + 1;
            if tried == leaves_after {
                self.down.store(true, Ordering::SeqCst);
                while !self.gone.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            cancel.fetch_or(tried == stops_after, Ordering::Relaxed);
        };
        self.rig.with(&workload, |d| {
            let d = Drive { on_progress: &on_progress, cancel: &cancel, ..*d };
            find_max_rate(&d, &mut population, &held_to(&["response.p50 < 1ns"])).unwrap()
        })
    }
}

#[test]
fn a_search_gives_a_target_that_was_overloaded_a_moment_to_come_back() {
    let searched = Leaving::back(Some(Duration::from_secs(1))).search(1, 2);
    assert!(searched.ended.is_none() && searched.driven.interrupted);
    assert_eq!(searched.driven.record.found.unwrap().tries.len(), 2);
}

#[test]
fn a_search_whose_target_goes_away_keeps_its_tries_and_says_why_it_ended() {
    let searched = Leaving::back(None).search(3, u64::MAX);
    assert!(matches!(&searched.ended, Some(LoadError::Wire(e)) if e.kind() == "refused"), "{:?}", searched.ended);
    let driven = searched.driven;
    let found = driven.record.found.unwrap();
    assert!(!driven.interrupted && !found.interrupted && driven.record.accounting.planned > 0);
    assert_eq!((found.tries.len(), found.low_per_s, found.high_per_s), (3, 0.0, 12.5), "{found:?}");
    assert!(found.ended.is_some_and(|why| why.contains("refused")));
}

#[test]
fn a_drive_that_cannot_open_its_connections_gives_its_sessions_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut population = Population::empty();
    population.sessions = vec![session::Session::default(); 7];
    population.sessions.iter_mut().for_each(|session| session.locked = true);
    let over_h1 = || Setup { cpus: vec![None, None], ..setup(closed(4), 1.0, 4) };
    let over_h2 = Setup { protocol: crate::scenario::Protocol::Http2, streams: 4, ..over_h1() };
    for setup in [over_h1(), over_h2] {
        let error = drive_with(&url, setup, &AtomicBool::new(false), &mut population).unwrap_err();
        assert!(matches!(&error, LoadError::Wire(e) if e.kind() == "refused"), "{error}");
        assert_eq!(population.len(), 7);
        assert!(population.sessions.iter().all(|session| !session.locked), "nobody holds them any more");
    }
}

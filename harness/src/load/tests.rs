//! Does a drive tell the truth? Servers of known behaviour, driven for a moment.
//!
//! These tests share their machine, so they hold counts to what must be and times only from below, or from above
//! by multiples; exact arithmetic is in the tests of the parts.

mod flows;
mod held;
mod hostile;
mod rig;
mod streams;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::drive::{Control, Plan, run};
use super::script::Script;
use super::setup::Setup;
use super::shared::Model;
use super::*;
use crate::record::Redactor;
use crate::scenario::{Idle, Process, Reuse, Stage, Workload};
use crate::target::{Target, TokenUse};
use crate::units::Span;
use crate::wire::TlsOptions;
use rig::{Rig, TokenServer, drive_and_check, rig, workload};

/// What a server does with one request.
#[derive(Clone, Debug, Default)]
struct Act {
    wait: Duration,
    status: u16,
    body: String,
    close: bool,
    silent: bool,
}

/// A request as the test servers see it.
struct Asked {
    line: String,
    bearer: String,
    body: String,
    /// Its number on this connection, from 0.
    nth: usize,
}

/// A server with a thread for each connection.
fn serve(act: impl Fn(&Asked) -> Act + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let act = Arc::new(act);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let act = Arc::clone(&act);
            thread::spawn(move || converse(stream, &*act));
        }
    });
    url
}

fn converse(mut stream: TcpStream, act: &dyn Fn(&Asked) -> Act) {
    stream.set_nodelay(true).unwrap();
    let mut pending = Vec::new();
    let mut buffer = [0; 8192];
    for nth in 0.. {
        let asked = loop {
            if let Some((asked, used)) = take_request(&pending, nth) {
                pending.drain(..used);
                break asked;
            }
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => pending.extend_from_slice(&buffer[..n]),
                _ => return,
            }
        };
        let act = act(&asked);
        thread::sleep(act.wait);
        if act.silent {
            return;
        }
        let close = if act.close { "Connection: close\r\n" } else { "" };
        let reply =
            format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n{close}\r\n{}", act.status, act.body.len(), act.body);
        if stream.write_all(reply.as_bytes()).is_err() || act.close {
            return;
        }
    }
}

fn take_request(bytes: &[u8], nth: usize) -> Option<(Asked, usize)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let field = |name: &str| head.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    let length: usize = field("Content-Length:").parse().unwrap_or(0);
    let body = bytes.get(end..end + length)?;
    let asked = Asked {
        line: head.lines().next()?.to_owned(),
        bearer: field("Authorization: Bearer"),
        body: String::from_utf8_lossy(body).into_owned(),
        nth,
    };
    Some((asked, end + length))
}

fn ok() -> Act {
    Act { status: 200, body: "ok".into(), ..Act::default() }
}

/// Time for a busy machine to send what is due at the very end of a plan.
const SLACK: f64 = 1.0;

/// A drive that ends `SLACK` after the last arrival of its plan.
fn unhurried(rate: f64, seconds: f64, connections: u32) -> Setup {
    setup(open(rate, seconds), seconds + SLACK, connections)
}

fn setup(model: Model, seconds: f64, connections: u32) -> Setup {
    let open = matches!(model, Model::Open(_));
    Setup {
        model,
        words: "test".into(),
        flow: None,
        open,
        warmup: Nanos(0),
        duration: Nanos::from_secs_f64(seconds),
        connections,
        timeout: Nanos(10_000_000_000),
        seed: 42,
        idle: Idle::Sleep,
        cpus: vec![None],
        neighbours: Vec::new(),
        protocol: crate::scenario::Protocol::Http1,
        streams: 1,
        sample: 0,
        control: 0.0,
        windows: Vec::new(),
    }
}

fn open(rate: f64, seconds: f64) -> Model {
    let stages = [Stage::Hold(Span(Duration::from_secs_f64(seconds)))];
    Model::Open(Pacer::new(rate, Process::Constant, Nanos(0), &stages, 42))
}

fn closed(users: u32) -> Model {
    Model::Closed { users, think: Nanos(0) }
}

/// Drives `GET /` at a server without a profile.
fn drive_fixed(url: &str, setup: Setup, cancel: &AtomicBool) -> Result<Driven, LoadError> {
    drive_with(url, setup, cancel, &mut Population::empty())
}

/// The same with sessions that it has no use for.
fn drive_with(url: &str, setup: Setup, cancel: &AtomicBool, population: &mut Population) -> Result<Driven, LoadError> {
    let plan = Plan {
        scripts: vec![Script::fixed("get", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200)],
        uses: vec![TokenUse::Access],
        weights: vec![1.0],
        target: None,
        tls_options: &TlsOptions::default(),
        tls: None,
        addr: url.strip_prefix("http://").unwrap().parse().unwrap(),
        expired: 0.0,
        tampered: 0.0,
        revoked: 0.0,
        lead: Nanos(0),
        reuse: Reuse::Uniform,
        flow: Vec::new(),
    };
    let control = Control { redactor: &Redactor::new(false), on_progress: &|_| {}, cancel, abort: &[] };
    run(setup, plan, population, "bare", &control)
}

fn driven(url: &str, setup: Setup) -> Driven {
    drive_fixed(url, setup, &AtomicBool::new(false)).unwrap()
}

#[track_caller]
fn adds_up(driven: &Driven) {
    let record = &driven.record;
    assert!(record.accounting.adds_up(), "{:?}", record.accounting);
    for operation in &record.operations {
        assert!(operation.accounting.adds_up(), "{:?}", operation.accounting);
        assert_eq!(operation.response.n, operation.accounting.completed);
    }
    let planned: u64 = record.seconds.iter().filter_map(|s| s.planned).sum();
    assert_eq!(planned, record.accounting.planned);
    let by_second: u64 = record.seconds.iter().map(|s| s.completed + s.failed).sum();
    assert_eq!(by_second, record.accounting.completed + record.accounting.failed + record.accounting.timed_out);
}

fn kinds(driven: &Driven) -> HashMap<String, u64> {
    driven.record.operations.iter().flat_map(|o| &o.errors).map(|e| (e.kind.clone(), e.count)).collect()
}

#[test]
fn every_planned_arrival_is_accounted_for() {
    let url = serve(|_| ok());
    let driven = driven(&url, unhurried(400.0, 1.5, 8));
    adds_up(&driven);
    let record = &driven.record;
    assert_eq!((record.accounting.planned, record.accounting.completed), (600, 600), "{record:#?}");
    assert_eq!(record.certificate.achieved, 1.0);
    assert!(record.seconds.iter().any(|s| s.second == 1));
    assert_eq!(record.operations[0].lag.n, 600);
}

#[test]
fn a_freeze_shows_in_response_time_and_not_in_service_time() {
    // Frozen for half a second from the 100th request on.
    let seen = AtomicU64::new(0);
    let until: Mutex<Option<Instant>> = Mutex::new(None);
    let url = serve(move |_| {
        let mut until = until.lock().unwrap();
        if seen.fetch_add(1, Ordering::Relaxed) + 1 == 100 {
            *until = Some(Instant::now() + Duration::from_millis(500));
        }
        let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        Act { wait, ..ok() }
    });
    let driven = driven(&url, unhurried(400.0, 1.5, 4));
    adds_up(&driven);
    let operation = &driven.record.operations[0];
    assert_eq!(operation.accounting.completed, 600, "{operation:?}");
    // 200 arrivals fall into the freeze: their waits are spread evenly from 500 ms down to none.
    let late = |h: &hdrhistogram::Histogram<u64>, ms: u64| h.count_between(ms * 1_000_000, u64::MAX / 2);
    let response = &driven.responses[0].1;
    let (over_100, over_400) = (late(response, 100), late(response, 400));
    assert!(over_100 >= 140, "{over_100} responses took more than 100 ms");
    assert!((20..over_100).contains(&over_400), "{over_400} of {over_100} took more than 400 ms");
    // But only the four that were on their way then were served slowly.
    let service = crate::stats::decode(&operation.service).unwrap();
    let slowly = late(&service, 100);
    assert!(slowly >= 1 && slowly * 4 < over_100, "{slowly} were served slowly, {over_100} answered late");
    // Waiting for a connection is no lag of ours.
    assert!(operation.lag.p90_ns < 100_000_000, "{:?}", operation.lag);
    assert!(operation.phases["queue"].n > 100);
}

#[test]
fn a_two_valued_service_time_has_the_percentiles_of_arithmetic() {
    // On each connection every fifth request takes 100 ms, the others 10 ms.
    let url = serve(|asked| Act { wait: Duration::from_millis(if asked.nth % 5 == 4 { 100 } else { 10 }), ..ok() });
    let driven = driven(&url, setup(closed(4), 1.5, 4));
    adds_up(&driven);
    let service = &driven.record.operations[0].service;
    assert!((10_000_000..50_000_000).contains(&service.p50_ns), "{service:?}");
    assert!((100_000_000..200_000_000).contains(&service.p90_ns), "{service:?}");
    assert!(service.min_ns >= 9_990_000, "{service:?}");
}

#[test]
fn a_limited_server_leaves_the_rest_in_the_queue_and_voids_the_run() {
    // One connection, 10 ms each: 100 a second at most, of 1000 planned.
    let url = serve(|_| Act { wait: Duration::from_millis(10), ..ok() });
    let driven = driven(&url, Setup { timeout: Nanos(300_000_000), ..setup(open(1000.0, 1.0), 1.0, 1) });
    adds_up(&driven);
    let a = driven.record.accounting;
    assert!(a.planned == 1000 && a.completed <= 101 && a.completed > 5, "{a:?}");
    assert!(a.in_flight <= 1 && a.unsent >= 897, "what was never sent is not in flight: {a:?}");
    assert!(driven.record.certificate.is_void(), "{:?}", driven.record.certificate);
    assert_eq!(driven.record.operations[0].response.censored_from, Some(50.0));
}

#[test]
fn a_server_that_closes_after_each_answer_costs_a_connection_but_no_error() {
    let announced = serve(|_| Act { close: true, ..ok() });
    let driven = driven(&announced, unhurried(200.0, 1.0, 4));
    adds_up(&driven);
    assert_eq!(driven.record.accounting.completed, 200, "{:?}", kinds(&driven));
    assert!(driven.record.operations[0].phases["connect"].n >= 190);
}

#[test]
fn a_silent_close_of_a_reused_connection_is_no_error_either() {
    let url = serve(|asked| Act { silent: asked.nth == 3, ..ok() });
    let driven = driven(&url, unhurried(200.0, 1.0, 2));
    assert_eq!(driven.record.accounting.completed, 200, "{:?}", kinds(&driven));
}

#[test]
fn failures_are_counted_by_kind() {
    let url = serve(|asked| match asked.nth % 3 {
        0 => ok(),
        1 => Act { status: 503, body: "{\"detail\": \"busy\"}".into(), ..Act::default() },
        _ => Act { wait: Duration::from_secs(3), ..ok() },
    });
    let driven = driven(&url, Setup { timeout: Nanos(150_000_000), ..setup(closed(2), 1.5, 2) });
    adds_up(&driven);
    let kinds = kinds(&driven);
    assert!(kinds["status 503"] >= 2 && kinds["timeout"] >= 2, "{kinds:?}");
    let errors = &driven.record.operations[0].errors;
    assert!(errors.iter().any(|e| e.example.as_deref().is_some_and(|t| t.contains("busy"))), "{errors:?}");
    assert_eq!(driven.record.accounting.timed_out, kinds["timeout"]);
}

#[test]
fn a_server_that_is_not_there_is_an_error_before_anything_is_planned() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = drive_fixed(&url, setup(closed(1), 1.0, 1), &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(&error, LoadError::Wire(e) if e.kind() == "refused"), "{error}");
}

#[test]
fn a_cancelled_drive_keeps_what_it_saw() {
    let cancel = Arc::new(AtomicBool::new(false));
    let (later, seen) = (Arc::clone(&cancel), AtomicU64::new(0));
    let url = serve(move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) >= 100 {
            later.store(true, Ordering::Relaxed);
        }
        ok()
    });
    let driven = drive_fixed(&url, setup(open(200.0, 600.0), 600.0, 4), &cancel).unwrap();
    assert!(driven.interrupted);
    adds_up(&driven);
    assert!(driven.record.accounting.completed >= 90 && driven.record.duration_s < 300.0);
}

#[test]
fn several_loops_share_one_plan() {
    let url = serve(|_| ok());
    let driven = driven(&url, Setup { cpus: vec![None, None], ..unhurried(300.0, 1.2, 5) });
    adds_up(&driven);
    assert_eq!((driven.record.accounting.completed, driven.record.workers), (360, 2));
}

#[test]
fn the_interval_log_is_read_by_the_fields_own_library() {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    let url =
        serve(|asked| Act { status: if asked.nth % 10 == 9 { 500 } else { 200 }, body: "x".into(), ..Act::default() });
    let driven = driven(&url, setup(open(200.0, 1.5), 1.5, 2));
    let mut text = Vec::new();
    write_hlog(&driven, &mut text).unwrap();
    assert!(text.starts_with(b"#[Histogram log format version 1.3]\n"), "{}", String::from_utf8_lossy(&text));
    let mut seen: HashMap<String, u64> = HashMap::new();
    use base64::Engine as _;
    for entry in IntervalLogIterator::new(&text).map(Result::unwrap) {
        if let LogEntry::Interval(interval) = entry {
            let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
            let histogram: hdrhistogram::Histogram<u64> =
                hdrhistogram::serialization::Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            *seen.entry(interval.tag().unwrap().as_str().to_owned()).or_default() += histogram.len();
        }
    }
    assert_eq!(seen["get.completed"], driven.record.accounting.completed);
    assert_eq!(seen["get.failed"], driven.record.accounting.failed);
    assert_eq!(seen["get.service"], driven.record.accounting.completed);
    assert_eq!(seen["get.lag"], driven.record.operations[0].lag.n);
}

//! Does a drive tell the truth? Servers of known behaviour, driven for a moment.
//!
//! These tests share their machine, so they hold counts to what must be and times only from below, or from above
//! by multiples; exact arithmetic is in the tests of the parts.

mod flows;
mod held;
mod hostile;
mod streams;

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::drive::{Control, Plan, Setup, run};
use super::script::Script;
use super::shared::Model;
use super::*;
use crate::record::Redactor;
use crate::scenario::{Idle, Process, Reuse, Stage, Workload};
use crate::target::{Target, TokenUse};
use crate::units::Span;
use crate::wire::TlsOptions;

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
fn drive_with(
    url: &str,
    setup: Setup,
    cancel: &AtomicBool,
    population: &mut Population,
) -> Result<Driven, LoadError> {
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

/// A strict token server in the wire form of the reference profile: a refresh token works exactly once.
#[derive(Default)]
struct TokenServer {
    next: AtomicU64,
    live: Mutex<HashSet<String>>,
    access: Mutex<HashSet<String>>,
    replayed: AtomicU64,
    /// Access tokens that were refused.
    refused: AtomicU64,
    /// Refresh tokens end as Base64 does, so that they cannot be spliced as they are.
    padded: AtomicBool,
    logins: AtomicU64,
    /// What logins return as access token, if not a text of their own.
    jwt: std::sync::OnceLock<String>,
}

impl TokenServer {
    fn pair(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let padding = if self.padded.load(Ordering::Relaxed) { "==" } else { "" };
        let (access, refresh) =
            (format!("access-{n}-abcdefghijklmnopqrst"), format!("refresh-{n}-abcdefghijklmnopqrst{padding}"));
        self.live.lock().unwrap().insert(refresh.clone());
        self.access.lock().unwrap().insert(access.clone());
        format!("{{\"access\":\"{access}\",\"refresh\":\"{refresh}\"}}")
    }

    fn answer(&self, asked: &Asked) -> Act {
        let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let act = |status: u16, body: String| Act { status, body, ..Act::default() };
        if asked.line.starts_with("POST /api/token/ ") {
            self.logins.fetch_add(1, Ordering::Relaxed);
            match self.jwt.get() {
                Some(jwt) => act(200, format!("{{\"access\":\"{jwt}\",\"refresh\":\"r\"}}")),
                None => act(200, self.pair()),
            }
        } else if asked.line.starts_with("POST /api/token/refresh/ ") {
            let used = self.live.lock().unwrap().remove(body["refresh"].as_str().unwrap_or_default());
            if used {
                act(200, self.pair())
            } else {
                self.replayed.fetch_add(1, Ordering::Relaxed);
                act(401, "{\"code\":\"token_not_valid\"}".into())
            }
        } else if asked.line.starts_with("POST /api/token/blacklist/ ") {
            self.live.lock().unwrap().remove(body["refresh"].as_str().unwrap_or_default());
            act(200, "{}".into())
        } else if asked.line.starts_with("GET /hello/ ") {
            let known = self.access.lock().unwrap().contains(&asked.bearer);
            if known {
                act(200, "{\"user\":\"alice\"}".into())
            } else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                act(401, "{}".into())
            }
        } else {
            act(404, String::new())
        }
    }
}

/// Without control operations, since these servers count what they are asked.
fn workload(mut yaml: serde_json::Value) -> Workload {
    yaml["control"] = "0%".into();
    serde_json::from_value(yaml).unwrap()
}

struct Rig {
    server: Arc<TokenServer>,
    target: Target,
}

fn rig() -> Rig {
    let server = Arc::new(TokenServer::default());
    let answers = Arc::clone(&server);
    let url = serve(move |asked| answers.answer(asked));
    let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
    Rig { server, target: Target::new(profile, &url, None, &[]).unwrap() }
}

impl Rig {
    fn with<T>(&self, workload: &Workload, act: impl FnOnce(&Drive<'_>) -> T) -> T {
        act(&Drive {
            target: &self.target,
            workload,
            topology: "bare",
            tls: &TlsOptions::default(),
            seed: None,
            duration: None,
            warmup: None,
            rate: None,
            full_speed: false,
            control: None,
            cpus: None,
            own_cpus: false,
            neighbours: &[],
            redactor: &Redactor::new(false),
            on_progress: &|_| {},
            cancel: &AtomicBool::new(false),
        })
    }
    fn drive(&self, workload: &Workload, population: &mut Population) -> Driven {
        self.with(workload, |d| drive_and_check(d, population))
    }
    fn drive_held_to(
        &self,
        workload: &Workload,
        population: &mut Population,
        thresholds: &[crate::scenario::Threshold],
    ) -> Driven {
        let driven = self.with(workload, |d| drive_watched(d, population, thresholds).unwrap());
        adds_up(&driven);
        driven
    }
    fn prepare(&self, workload: &Workload) -> Population {
        Population::prepare(&self.target, workload, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false)).unwrap()
    }
}

fn drive_and_check(d: &Drive<'_>, population: &mut Population) -> Driven {
    let driven = drive(d, population).unwrap();
    adds_up(&driven);
    driven
}

#[test]
fn a_rotating_refresh_token_is_never_sent_twice() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "300/s"}},
        "stages": [{"hold": "1s"}],
        "warmup": "200ms",
        "mix": {"refresh": 1, "access": 2, "issue": 0.2},
        "tokens": {"sessions": 20},
        "connections": 8,
    }));
    let mut population = rig.prepare(&workload);
    assert_eq!((population.len(), population.refreshable()), (20, 20));
    for _ in 0..2 {
        let driven = rig.drive(&workload, &mut population);
        let a = driven.record.accounting;
        assert_eq!(a.failed + a.timed_out + a.skipped, 0, "{:?}", kinds(&driven));
        assert!(a.completed > 50, "{a:?}");
        assert!(driven.record.distinct_token_ratio.unwrap() > 0.1);
    }
    assert_eq!(rig.server.replayed.load(Ordering::Relaxed), 0);
    assert_eq!(population.len(), 20);
}

#[test]
fn spoilt_tokens_count_as_success_when_they_are_refused() {
    for padded in [false, true] {
        spoilt_tokens_are_refused(padded);
    }
}

fn spoilt_tokens_are_refused(padded: bool) {
    let rig = rig();
    rig.server.padded.store(padded, Ordering::Relaxed);
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 2, "think": "1ms"}},
        "stages": [{"hold": "500ms"}],
        "warmup": "0s",
        "mix": {"access": 1},
        "tokens": {"sessions": 5, "tampered": "50%"},
    }));
    let mut population = rig.prepare(&workload);
    let driven = rig.drive(&workload, &mut population);
    assert_eq!(driven.record.accounting.failed, 0, "{:?}", kinds(&driven));
    assert!(driven.record.accounting.completed > 4);
    let refused = rig.server.refused.load(Ordering::Relaxed);
    assert!(refused > 0, "padded: {padded}: none was spoilt");
}

#[test]
fn a_good_token_that_is_refused_is_told_from_other_failures() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 1, "think": "5ms"}},
        "stages": [{"hold": "400ms"}], "warmup": "0s", "mix": {"access": 1}, "tokens": {"sessions": 2},
    }));
    let mut population = rig.prepare(&workload);
    rig.server.access.lock().unwrap().clear();
    let driven = rig.drive(&workload, &mut population);
    assert!(kinds(&driven).contains_key("refused a good token (status 401)"), "{:?}", kinds(&driven));
}

#[test]
fn full_speed_says_who_was_the_bottleneck() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"open": {"rate": "10/s"}}, "mix": {"access": 1}, "tokens": {"sessions": 2}, "connections": 4,
    }));
    let mut population = rig.prepare(&workload);
    let drive = Drive {
        target: &rig.target,
        workload: &workload,
        topology: "bare",
        tls: &TlsOptions::default(),
        seed: Some(7),
        duration: Some(Duration::from_millis(500)),
        warmup: Some(Duration::ZERO),
        rate: None,
        full_speed: true,
        control: None,
        cpus: None,
        own_cpus: false,
        neighbours: &[],
        redactor: &Redactor::new(false),
        on_progress: &|_| {},
        cancel: &AtomicBool::new(false),
    };
    let driven = drive_and_check(&drive, &mut population);
    assert!(driven.record.certificate.bottleneck.is_some());
    assert!(driven.record.accounting.completed > 10 && !driven.record.open, "{:?}", driven.record.accounting);
}

#[test]
fn tokens_signed_here_are_as_good_as_logins() {
    let rig = rig();
    let workload = workload(serde_json::json!({
        "arrival": {"closed": {"users": 1}}, "mix": {"access": 1},
        "tokens": {"sessions": 20_000, "sign": true},
    }));
    // The double's tokens are no JWTs, so that there is nothing to sign after.
    let refused = Population::prepare(&rig.target, &workload, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false));
    assert!(matches!(&refused, Err(LoadError::Usage(why)) if why.contains("not JWTs")), "{refused:?}");

    let key = sampled::signing_key(&rig.target).unwrap();
    let claims = serde_json::json!({"token_type": "access", "jti": "one", "iat": 1, "exp": 2, "sub": "alice"});
    let model = crate::jose::Forge::new(&serde_json::json!({"alg": "HS256", "typ": "JWT"}), &claims);
    let model = model.sign(&key, crate::jose::algorithm("HS256").unwrap(), &mut rand::rng()).unwrap().token();
    rig.server.jwt.set(model).unwrap();
    let population = rig.prepare(&workload);
    assert_eq!((population.len(), rig.server.logins.load(Ordering::Relaxed)), (20_000, 2));
    let keys = sampled::keys_of(&rig.target).unwrap();
    let policy = crate::jose::Policy { now: Some(crate::clock::unix()), ..crate::jose::Policy::default() };
    let mut seen = HashSet::new();
    for session in population.sessions.iter().step_by(1999).skip(1) {
        let token = String::from_utf8(session.access.clone()).unwrap();
        let verified = crate::jose::verify(&token, &keys, &policy).unwrap();
        assert_eq!(verified.claims["sub"], "alice");
        assert!(seen.insert(verified.claims["jti"].to_string()));
        // What a session takes: the token, and little beside it.
        assert!(session.access.capacity() + size_of::<session::Session>() < 1024);
    }
}

#[test]
fn revoked_tokens_count_as_success_when_they_are_refused() {
    let rig = rig();
    let shape = |mix: serde_json::Value| {
        workload(serde_json::json!({
            "arrival": {"closed": {"users": 2, "think": "1ms"}}, "stages": [{"hold": "500ms"}], "warmup": "0s",
            "mix": mix, "tokens": {"sessions": 5, "revoked": "50%"},
        }))
    };
    let workload = shape(serde_json::json!({"refresh": 1, "access": 1}));
    let mut population = rig.prepare(&workload);
    assert!(population.revoked.len() > 4);
    let driven = rig.drive(&workload, &mut population);
    assert_eq!(driven.record.accounting.failed, 0, "{:?}", kinds(&driven));
    assert!(rig.server.replayed.load(Ordering::Relaxed) > 0, "no revoked token was sent");
    let useless = shape(serde_json::json!({"access": 1}));
    let refused = Population::prepare(&rig.target, &useless, &TlsOptions::default(), &|_| {}, &AtomicBool::new(false));
    assert!(matches!(&refused, Err(LoadError::Usage(why)) if why.contains("refresh tokens")), "{refused:?}");
}

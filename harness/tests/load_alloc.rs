//! Does the load path allocate? A counting allocator over a whole drive, its server in the same process.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay::load::{Drive, Population, drive};
use assay::record::Redactor;
use assay::scenario::Workload;
use assay::target::{Target, load as load_profile};

use assay::wire::TlsOptions;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A login's or a refresh's reply: the access token is a JWT that says when it ends.
const TOKENS: &str = r#"{"access":"eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJhIiwiaWF0IjoxMDAwLCJleHAiOjE2MDAsInN1YiI6IjEifQ.abcdefgh","refresh":"r"}"#;
const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"user\":\"alice\"}";

/// Answers without allocating.
fn converse(mut stream: TcpStream, tokens: &[u8]) {
    let mut request = [0; 4096];
    while matches!(stream.read(&mut request), Ok(n) if n > 0) {
        let reply = if request.starts_with(b"POST") { tokens } else { HELLO };
        if stream.write_all(reply).is_err() {
            return;
        }
    }
}

/// What a request of this load costs in allocations, after warm-up.
fn allocations_per_request(load: serde_json::Value) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
    let tokens: &'static str = format!("{head}: {}\r\n\r\n{TOKENS}", TOKENS.len()).leak();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || converse(stream, tokens.as_bytes()));
        }
    });
    let profile = load_profile("reference", None, Path::new(".")).expect("the reference profile");
    let target = Target::new(profile, &url, None, &[]).expect("a target");
    let workload: Workload = serde_json::from_value(load).expect("a workload");
    let tls = TlsOptions::default();
    let cancel = AtomicBool::new(false);
    let mut population = Population::prepare(&target, &workload, &tls, &|_| {}, &cancel).expect("sessions");
    let mut driven = |seconds: u64| {
        let region = Region::new(COUNTING);
        let drive_once = Drive {
            target: &target,
            workload: &workload,
            topology: "bare",
            tls: &tls,
            seed: None,
            duration: Some(Duration::from_secs(seconds)),
            warmup: None,
            rate: None,
            full_speed: false,
            control: Some(0.0),
            cpus: None,
            own_cpus: false,
            neighbours: &[],
            redactor: &Redactor::new(false),
            on_progress: &|_| {},
            cancel: &cancel,
        };
        let accounting = drive(&drive_once, &mut population).expect("driven").record.accounting;
        assert_eq!(accounting.failed + accounting.timed_out, 0, "{accounting:?}");
        (region.change().allocations as f64, accounting.completed as f64)
    };
    let _warm = driven(1);
    let (short, few) = driven(1);
    let (long, many) = driven(4);
    assert!(many > few + 500.0, "{few} and {many} requests are too near each other to tell");
    // What a second costs (its interval is written down) is there too; a request that allocated would give one or more.
    (long - short) / (many - few)
}

/// Allocations for a request that are put down to the seconds, whose intervals are written down: one for every request would
/// be ten times as many.
const OF_SECONDS: f64 = 0.1;

// One test, since the allocator counts for all threads. Each operation alone, so that none hides behind the others.
#[test]
fn a_request_costs_no_allocation_after_warm_up_whether_or_not_it_brings_tokens() {
    let tokens = json!({"sessions": 50});
    for operation in ["access", "verify", "issue", "refresh"] {
        let open = allocations_per_request(json!({
            "arrival": {"open": {"rate": "2000/s"}}, "mix": {operation: 1}, "warmup": "0s", "tokens": tokens,
            "connections": 8, "sample": 0,
        }));
        assert!(open < OF_SECONDS, "{open} allocations for each `{operation}`");
    }
    let closed = allocations_per_request(json!({
        "arrival": {"closed": {"users": 4}}, "mix": {"access": 1}, "warmup": "0s", "tokens": tokens,
        "connections": 4, "sample": 0,
    }));
    assert!(closed < OF_SECONDS, "{closed} allocations for each request of a user");
}

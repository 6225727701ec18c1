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
use assay::target::{Target, load};
use assay::wire::TlsOptions;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TOKENS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{\"access\":\"a.b.c\",\"refresh\":\"r\"}";
const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"user\":\"alice\"}";

/// Answers without allocating.
fn converse(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while matches!(stream.read(&mut request), Ok(n) if n > 0) {
        let reply = if request.starts_with(b"POST") { TOKENS } else { HELLO };
        if stream.write_all(reply).is_err() {
            return;
        }
    }
}

#[test]
fn a_request_costs_no_allocation_after_warm_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || converse(stream));
        }
    });
    let profile = load("reference", None, Path::new(".")).expect("the reference profile");
    let target = Target::new(profile, &url, None, &[]).expect("a target");
    let workload: Workload = serde_json::from_value(serde_json::json!({
        "arrival": {"closed": {"users": 4}}, "mix": {"access": 1}, "warmup": "0s",
        "tokens": {"sessions": 50}, "connections": 4, "sample": 0,
    }))
    .expect("a workload");
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
    let each = (long - short) / (many - few);
    assert!(each < 0.25, "{each} allocations per request: {short} for {few}, {long} for {many}");
}

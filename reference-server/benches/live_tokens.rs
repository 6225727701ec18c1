//! What do a million live refresh tokens cost? Memory per token, and each operation beside the same one on an empty store.
//!
//! `cargo bench -p jwt-reference-server --all-features --bench live_tokens`. Requests go through the whole router, without a socket. A token
//! that was never exchanged costs nothing: it is its signature. So each of the million is the successor of a used one, which is what the
//! store must remember. `TOKENS=100000` and `STORES=memory,redb` make it shorter.

#![allow(clippy::print_stdout, missing_docs)]

#[path = "../tests/kit/services.rs"]
mod services;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt;
use reference_server::{App, Config, Hash, StoreConfig, app};
use serde_json::{Value, json};
use tower::ServiceExt;

/// What an operation may cost beside the empty store.
const GOAL: f64 = 2.0;

async fn send(router: &Router, request: Request) -> (u16, Value) {
    let reply = router.clone().oneshot(request).await.expect("a router answers");
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post(path: &str, body: &Value) -> Request {
    let request = Request::post(path).header("content-type", "application/json");
    request.body(Body::from(body.to_string())).expect("a request")
}

fn get(token: &str) -> Request {
    Request::get("/hello/").header("authorization", format!("Bearer {token}")).body(Body::empty()).expect("a request")
}

fn login() -> Request {
    post("/api/token/", &json!({"username": "alice", "password": "correct-horse-9"}))
}

fn refresh(token: &str) -> Request {
    post("/api/token/refresh/", &json!({"refresh": token}))
}

async fn pair(router: &Router) -> (String, String) {
    let (_, body) = send(router, login()).await;
    let text = |name: &str| body[name].as_str().expect("a token").to_owned();
    (text("access"), text("refresh"))
}

/// Sessions whose first refresh token was exchanged, `count` of them.
async fn fill(router: &Router, count: usize) {
    let tasks = 512.min(count);
    let mut filling = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let router = router.clone();
        let share = count / tasks + usize::from(task < count % tasks);
        filling.spawn(async move {
            for _ in 0..share {
                let (_, token) = pair(&router).await;
                // A store that is overrun says 503, and means it.
                while send(&router, refresh(&token)).await.0 == 503 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        });
    }
    while let Some(done) = filling.join_next().await {
        done.expect("filling");
    }
}

const OPERATIONS: [&str; 6] = ["issue", "hello", "verify", "refresh", "reuse", "end"];

/// The median times of each operation on each router, in microseconds: by turns, since a disk has its moods.
async fn times(routers: [&Router; 2], samples: usize) -> [[f64; 2]; 6] {
    let mut all: [[Vec<f64>; 2]; 6] = Default::default();
    for sample in 0..samples {
        for turn in 0..2 {
            let which = (sample + turn) % 2;
            let router = routers[which];
            let (access, token) = pair(router).await;
            let (_, other) = pair(router).await;
            let requests = [
                (login(), 200),
                (get(&access), 200),
                (post("/api/token/verify/", &json!({"token": access})), 200),
                (refresh(&token), 200),
                (refresh(&token), 401),
                (post("/api/token/blacklist/", &json!({"refresh": other})), 200),
            ];
            for ((request, expected), times) in requests.into_iter().zip(&mut all) {
                let started = Instant::now();
                let (status, body) = send(router, request).await;
                times[which].push(started.elapsed().as_secs_f64() * 1e6);
                assert_eq!(status, expected, "{body}");
            }
        }
    }
    all.map(|both| {
        both.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        })
    })
}

/// Resident memory of this process, in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") * 1024.0
}

/// A store, how often it is asked, and what the full one takes up: a name and a measure in bytes.
struct Kind {
    name: &'static str,
    empty: StoreConfig,
    full: StoreConfig,
    samples: usize,
    size: (&'static str, Box<dyn Fn() -> f64 + Send + Sync>),
}

fn kinds(folder: &std::path::Path) -> Vec<Kind> {
    let file = folder.join("tokens.redb");
    let length = {
        let file = file.clone();
        move || std::fs::metadata(&file).map_or(0.0, |file| file.len() as f64)
    };
    let mut kinds = vec![
        Kind {
            name: "memory",
            empty: StoreConfig::Memory,
            full: StoreConfig::Memory,
            samples: 2000,
            size: ("resident memory", Box::new(resident)),
        },
        Kind {
            name: "redb",
            empty: StoreConfig::File(folder.join("empty.redb")),
            full: StoreConfig::File(file),
            samples: 200,
            size: ("file", Box::new(length)),
        },
    ];
    if cfg!(feature = "redis") {
        match services::redis() {
            Ok(server) => kinds.push(Kind {
                name: "redis",
                empty: server.database().parse().expect("a URL"),
                full: server.database().parse().expect("a URL"),
                samples: 500,
                size: ("Redis's memory", Box::new(|| server.memory())),
            }),
            Err(why) => services::pass_over("redis", why),
        }
    }
    if cfg!(feature = "postgres") {
        match services::postgres() {
            Ok(server) => {
                let url = server.database();
                let [empty, full] = [&server.database(), &url].map(|url| url.parse().expect("a URL"));
                let size: Box<dyn Fn() -> f64 + Send + Sync> = Box::new(move || server.size(&url));
                kinds.push(Kind { name: "postgres", empty, full, samples: 200, size: ("tables and indexes", size) });
            }
            Err(why) => services::pass_over("postgres", why),
        }
    }
    kinds
}

async fn measure(kind: Kind, count: usize, samples: usize) {
    let mut apps: Vec<App> = Vec::new();
    for store in [kind.empty, kind.full] {
        let app = app(Config { hash: Hash::None, store, ..Config::default() }).expect("a server");
        app.prepare().await.expect("a store");
        apps.push(app);
    }
    let (empty, full) = (apps[0].router(false), apps[1].router(false));
    let samples = samples.min(kind.samples);
    let before = (kind.size.1)();
    let started = Instant::now();
    fill(&full, count).await;
    let filled = started.elapsed();
    let per_token = ((kind.size.1)() - before) / count as f64;
    times([&empty, &full], samples / 10 + 1).await;
    let measured = times([&empty, &full], samples).await;
    let started = Instant::now();
    apps[1].sweep().await;
    let swept = started.elapsed();
    println!(
        "\n{}: {count} live tokens in {:.0} s ({:.0}/s); {per_token:.0} bytes of {} per token; a sweep that finds nothing {:.1} ms",
        kind.name,
        filled.as_secs_f64(),
        count as f64 / filled.as_secs_f64(),
        kind.size.0,
        swept.as_secs_f64() * 1000.0
    );
    println!("  {:<10}{:>12}{:>12}{:>8}  goal <= {GOAL}", "", "empty us", "full us", "ratio");
    for (name, [empty, full]) in OPERATIONS.iter().zip(measured) {
        let ratio = full / empty;
        let mark = if ratio <= GOAL { "" } else { "  SLOWER" };
        println!("  {name:<10}{empty:>12.1}{full:>12.1}{ratio:>8.2}{mark}");
    }
}

fn main() {
    // `cargo test --benches` runs this too: a few are enough there.
    let in_earnest = std::env::args().any(|argument| argument == "--bench");
    let (count, samples) = if in_earnest { (1_000_000, usize::MAX) } else { (200, 5) };
    let count = std::env::var("TOKENS").ok().and_then(|text| text.parse().ok()).unwrap_or(count);
    let only = std::env::var("STORES").unwrap_or_default();
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for kind in kinds(folder.path()) {
        if only.is_empty() || only.split(',').any(|name| name == kind.name) {
            // On a worker, as requests are served.
            runtime
                .block_on(async { tokio::spawn(async move { measure(kind, count, samples).await }).await })
                .expect("measuring");
        }
    }
}

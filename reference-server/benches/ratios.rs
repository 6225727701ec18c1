//! How close does the server come to what its parts allow? Ratios from one run, each figure with its floor beside it.
//!
//! `make bench-server`. The server runs on one thread, requests come pipelined over loopback, and what is counted is the CPU time of that
//! thread: a busy machine changes it little. Floors are an axum handler that only answers, and the crypto library alone.

#![allow(clippy::print_stdout, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, KeyPair};
use aws_lc_rs::{hmac, rsa};
use reference_server::{Algorithm, Config, Hash, StoreConfig, app};
use serde_json::{Value, json};

const ROUNDS: usize = 5;
const PIPELINE: usize = 50;

/// Nanoseconds of CPU that a thread has used.
fn cpu_ns(thread: &Path) -> f64 {
    let text = std::fs::read_to_string(thread.join("schedstat")).expect("Linux with schedstat");
    text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number")
}

fn this_thread() -> PathBuf {
    PathBuf::from("/proc").join(std::fs::read_link("/proc/thread-self").expect("procfs"))
}

/// A server on a thread of its own.
struct Server {
    address: String,
    thread: PathBuf,
}

fn serve(router: axum::Router) -> Server {
    let (told, tells) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send((listener.local_addr().expect("its address").to_string(), this_thread())).expect("a listener");
            axum::serve(listener, router).await.expect("serving");
        });
    });
    let (address, thread) = tells.recv().expect("a server");
    Server { address, thread }
}

fn reference(alg: &str, store: StoreConfig) -> Server {
    let algorithm = Algorithm::named(alg).expect("an algorithm");
    serve(app(Config { algorithm, hash: Hash::None, store, ..Config::default() }).expect("a server").router(false))
}

fn empty() -> Server {
    let reply = || async {
        let body = r#"{"message":"hello, alice","user":"alice","user_id":"1","scope":"read write"}"#;
        ([("content-type", "application/json"), ("cache-control", "no-store")], body)
    };
    serve(axum::Router::new().route("/hello/", axum::routing::get(reply)))
}

fn get(token: &str) -> String {
    format!("GET /hello/ HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn login() -> String {
    post("/api/token/", &json!({"username": "alice", "password": "correct-horse-9"}))
}

/// One connection: sends requests and reads the bodies of as many replies, all of which must be 200.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::new() }
    }

    fn send(&mut self, requests: &str) {
        self.stream.write_all(requests.as_bytes()).expect("sending");
    }

    fn receive(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
                assert!(head.starts_with("http/1.1 200"), "{head}");
                let length: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .and_then(|text| text.parse().ok())
                    .expect("a length");
                if self.buffer.len() >= end + 4 + length {
                    let body = self.buffer[end + 4..end + 4 + length].to_vec();
                    self.buffer.drain(..end + 4 + length);
                    return body;
                }
            }
            let mut chunk = [0; 65536];
            let count = self.stream.read(&mut chunk).expect("receiving");
            assert!(count > 0, "the server hung up");
            self.buffer.extend(&chunk[..count]);
        }
    }

    fn exchange(&mut self, requests: &[String]) -> Vec<Vec<u8>> {
        let mut bodies = Vec::with_capacity(requests.len());
        for batch in requests.chunks(PIPELINE) {
            self.send(&batch.concat());
            bodies.extend(batch.iter().map(|_| self.receive()));
        }
        bodies
    }
}

fn tokens(server: &Server, count: usize, name: &str) -> Vec<String> {
    let bodies = Connection::to(server).exchange(&vec![login(); count]);
    bodies
        .iter()
        .map(|body| serde_json::from_slice::<Value>(body).expect("JSON")[name].as_str().expect("a token").to_owned())
        .collect()
}

/// The server's CPU time per request, in microseconds.
fn cost(server: &Server, requests: &[String]) -> f64 {
    let mut connection = Connection::to(server);
    connection.exchange(&requests[..requests.len().min(PIPELINE)]);
    let rest = &requests[requests.len().min(PIPELINE)..];
    let before = cpu_ns(&server.thread);
    connection.exchange(rest);
    (cpu_ns(&server.thread) - before) / rest.len() as f64 / 1000.0
}

/// CPU time of one call, in microseconds. The count must fill many ticks: a running thread's account is kept by them.
fn raw(count: usize, mut call: impl FnMut()) -> f64 {
    let thread = this_thread();
    let before = cpu_ns(&thread);
    for _ in 0..count {
        call();
    }
    (cpu_ns(&thread) - before) / count as f64 / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What the crypto library alone needs: signing and verifying a token of the usual length, in microseconds.
fn raw_costs(alg: &str) -> (f64, f64) {
    let message = [b'a'; 260];
    let random = SystemRandom::new();
    match alg {
        "HS256" => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 48]);
            let tag = hmac::sign(&key, &message);
            (
                raw(200_000, || _ = std::hint::black_box(hmac::sign(&key, &message))),
                raw(200_000, || hmac::verify(&key, &message, tag.as_ref()).expect("its tag")),
            )
        }
        "RS256" => {
            let pair = signature::RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
            let mut place = vec![0; pair.public_modulus_len()];
            let sign =
                raw(60, || pair.sign(&signature::RSA_PKCS1_SHA256, &random, &message, &mut place).expect("signing"));
            let key =
                signature::ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
                    .expect("a key");
            (sign, raw(1000, || key.verify_sig(&message, &place).expect("its signature")))
        }
        "ES256" => {
            let document =
                signature::EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                    .expect("a key");
            let pair =
                signature::EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref())
                    .expect("a key");
            let made = pair.sign(&random, &message).expect("signing");
            let key = signature::ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
                .expect("a key");
            (
                raw(1000, || _ = std::hint::black_box(pair.sign(&random, &message))),
                raw(1000, || key.verify_sig(&message, made.as_ref()).expect("its signature")),
            )
        }
        _ => {
            let document = signature::Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
            let pair = signature::Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
            let made = pair.sign(&message);
            let key = signature::ParsedPublicKey::new(&signature::ED25519, pair.public_key().as_ref()).expect("a key");
            (
                raw(1000, || _ = std::hint::black_box(pair.sign(&message))),
                raw(1000, || key.verify_sig(&message, made.as_ref()).expect("its signature")),
            )
        }
    }
}

struct Row {
    name: String,
    cost: Vec<f64>,
    floor: Vec<f64>,
    floor_name: &'static str,
    goal: &'static str,
}

fn row(rows: &mut Vec<Row>, name: String, cost: f64, floor: f64, floor_name: &'static str, goal: &'static str) {
    match rows.iter_mut().find(|row| row.name == name) {
        Some(row) => {
            row.cost.push(cost);
            row.floor.push(floor);
        }
        None => rows.push(Row { name, cost: vec![cost], floor: vec![floor], floor_name, goal }),
    }
}

fn main() {
    // `cargo test --benches` runs this too: one round is enough there.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    let algorithms = ["HS256", "RS256", "ES256", "EdDSA"];
    let floor = empty();
    let servers: Vec<Server> = algorithms.iter().map(|alg| reference(alg, StoreConfig::Memory)).collect();
    let folder = std::env::temp_dir().join(format!("reference-server-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let durable = reference("HS256", StoreConfig::File(folder.join("tokens.redb")));
    let mut rows = Vec::new();
    let mut durable_rate = Vec::new();
    for _ in 0..rounds {
        let mut verify_hs256 = 0.0;
        for (alg, server) in algorithms.iter().zip(&servers) {
            let token = tokens(server, 1, "access").remove(0);
            let nothing = cost(&floor, &vec![get(&token); 3000]);
            let (sign, verify) = raw_costs(alg);
            let hello = cost(server, &vec![get(&token); 3000]);
            let checked = cost(server, &vec![post("/api/token/verify/", &json!({"token": token})); 3000]);
            let issued = cost(server, &vec![login(); if *alg == "RS256" { 150 } else { 1500 }]);
            if *alg == "HS256" {
                verify_hs256 = checked;
                row(&mut rows, "GET /hello/ HS256".into(), hello, nothing, "empty handler", ">= 0.8");
                row(&mut rows, "verify HS256".into(), checked, nothing, "empty handler", "shown");
            } else {
                row(&mut rows, format!("GET /hello/ {alg}"), hello, verify + nothing, "raw verify + empty", ">= 0.9");
            }
            let (least, name, goal) = match *alg {
                "RS256" => (2.0 * sign, "2 raw signatures", ">= 0.87 (1.15 of it)"),
                _ => (2.0 * sign + nothing, "2 raw signatures + empty", ">= 0.8"),
            };
            row(&mut rows, format!("issue {alg}"), issued, least, name, goal);
        }
        let refresh = |token: &String| post("/api/token/refresh/", &json!({"refresh": token}));
        let requests: Vec<String> = tokens(&servers[0], 1500, "refresh").iter().map(refresh).collect();
        let refreshed = cost(&servers[0], &requests);
        row(&mut rows, "refresh HS256, memory".into(), refreshed, verify_hs256, "verify HS256", ">= 0.6");
        // Durable: a flush for many at once, so many connections at once, and by the clock on the wall.
        let requests: Vec<String> = tokens(&durable, 640, "refresh").iter().map(refresh).collect();
        let mut connections: Vec<Connection> = (0..64).map(|_| Connection::to(&durable)).collect();
        let started = Instant::now();
        for batch in requests.chunks(64) {
            connections.iter_mut().zip(batch).for_each(|(connection, request)| connection.send(request));
            connections.iter_mut().take(batch.len()).for_each(|connection| drop(connection.receive()));
        }
        durable_rate.push(requests.len() as f64 / started.elapsed().as_secs_f64());
    }
    let _ = std::fs::remove_dir_all(&folder);
    println!("{:<24}{:>12}{:>12}  {:<26}{:>7}  goal", "", "CPU us", "floor us", "floor", "ratio");
    for row in rows {
        let ratio = median(row.cost.iter().zip(&row.floor).map(|(cost, floor)| floor / cost).collect());
        let (cost, floor) = (median(row.cost), median(row.floor));
        println!("{:<24}{cost:>12.1}{floor:>12.1}  {:<26}{ratio:>7.2}  {}", row.name, row.floor_name, row.goal);
    }
    println!(
        "refresh HS256, redb, 64 at once: {:.0}/s on the wall clock, each flushed before its answer",
        median(durable_rate)
    );
}

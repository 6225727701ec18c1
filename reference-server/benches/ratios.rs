//! How close does the server come to what its parts allow? Ratios from one run, each figure with its floor beside it.
//!
//! `make bench-server`. The server runs on one thread, 64 kept-alive connections ask over loopback, each waiting for its answer, as users
//! do. What is counted is the CPU time of the server's thread, system calls included: a busy machine changes it little, and on a core of
//! its own its inverse is the rate. A floor is an axum handler that gets the same request, does nothing but the crypto library's part and
//! answers as many bytes; it is measured in the same round, by the same connections. A second column has fifty requests pipelined on
//! one connection: that leaves most system calls out, and so shows the code alone.

#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, KeyPair};
use aws_lc_rs::{hmac, rsa};
use axum::routing::{get as get_route, post as post_route};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use reference_server::{Algorithm, Config, Hash, StoreConfig, app};
use serde_json::{Value, json};

const ROUNDS: usize = 25;
const PIPELINE: usize = 50;
const CONNECTIONS: usize = 64;

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
            // As the server itself does; without it answers to pipelined requests wait for acknowledgements.
            let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("a socket option"));
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

/// A handler that does nothing but the crypto library's part, and answers as many bytes as the server would.
fn floor(of: &Floor) -> Server {
    let answer = |body: Bytes| ([("content-type", "application/json"), ("cache-control", "no-store")], body);
    let greeting =
        Bytes::from_static(br#"{"message":"hello, alice","user":"alice","user_id":"1","scope":"read write"}"#);
    let pair = Bytes::from(vec![b' '; of.pair_bytes]);
    let (hello, verify, sign) = (greeting.clone(), Arc::clone(&of.verify), Arc::clone(&of.sign));
    let router = axum::Router::new()
        .route("/hello/", get_route(move || std::future::ready(answer(hello.clone()))))
        .route(
            "/verify",
            get_route(move || {
                verify();
                std::future::ready(answer(greeting.clone()))
            }),
        )
        .route(
            "/sign",
            post_route(move |_body: Bytes| {
                sign();
                std::future::ready(answer(pair.clone()))
            }),
        );
    serve(router)
}

fn get(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
}

fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn login(path: &str) -> String {
    post(path, &json!({"username": "alice", "password": "correct-horse-9"}))
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
    let bodies = Connection::to(server).exchange(&vec![login("/api/token/"); count]);
    bodies
        .iter()
        .map(|body| serde_json::from_slice::<Value>(body).expect("JSON")[name].as_str().expect("a token").to_owned())
        .collect()
}

/// The server's CPU time per request in microseconds: one request at a time on each of many connections, and pipelined on one.
#[derive(Clone, Copy)]
struct Cost {
    waiting: f64,
    pipelined: f64,
}

/// Sends the first half of `requests` in the one way and the second half in the other; each is used once.
fn cost(server: &Server, requests: &[String]) -> Cost {
    let (waiting, pipelined) = requests.split_at(requests.len() / 2);
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::to(server)).collect();
    let mut each_waits = |requests: &[String]| {
        for batch in requests.chunks(CONNECTIONS) {
            connections.iter_mut().zip(batch).for_each(|(connection, request)| connection.send(request));
            connections.iter_mut().take(batch.len()).for_each(|connection| drop(connection.receive()));
        }
    };
    let (first, rest) = waiting.split_at(waiting.len().min(CONNECTIONS));
    each_waits(first);
    let waiting = spent(server, rest.len(), || each_waits(rest));
    let mut connection = Connection::to(server);
    let (first, rest) = pipelined.split_at(pipelined.len().min(PIPELINE));
    connection.exchange(first);
    Cost { waiting, pipelined: spent(server, rest.len(), || drop(connection.exchange(rest))) }
}

/// The CPU time of the server's thread for one of `count` requests, in microseconds.
fn spent(server: &Server, count: usize, exchange: impl FnOnce()) -> f64 {
    let before = cpu_ns(&server.thread);
    exchange();
    (cpu_ns(&server.thread) - before) / count as f64 / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The median, and where the true one lies with at least 95 % confidence: between the order statistics of the sign test, since nothing
/// is known of how a busy machine spreads its disturbances. Few values give the least and the most.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let (mut chance, mut below, mut cut) = (0.5_f64.powi(n as i32), 0.0, 0);
    for k in 0..n / 2 {
        below += chance;
        if 2.0 * below > 0.05 {
            break;
        }
        cut = k;
        chance *= (n - k) as f64 / (k + 1) as f64;
    }
    format!("{:.2} ({:.2} to {:.2})", values[n / 2], values[cut], values[n - 1 - cut])
}

type Work = Arc<dyn Fn() + Send + Sync>;

/// What the crypto library alone does: verifies an access token, signs a pair.
struct Floor {
    verify: Work,
    sign: Work,
    /// The length of the answer to a login.
    pair_bytes: usize,
}

/// The library's work on messages as long as what is signed in these two tokens.
fn floor_of(alg: &str, access: &str, refresh: &str) -> Floor {
    let message = |token: &str| vec![b'a'; token.rfind('.').expect("a token of three parts")];
    let (access, refresh, pair_bytes) = (message(access), message(refresh), access.len() + refresh.len() + 28);
    let both = [access.clone(), refresh];
    let random = SystemRandom::new();
    let (verify, sign): (Work, Work) = match alg {
        "HS256" => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 48]);
            let (tag, verifies) = (hmac::sign(&key, &access), key.clone());
            (
                Arc::new(move || hmac::verify(&verifies, &access, tag.as_ref()).expect("its tag")),
                Arc::new(move || both.iter().for_each(|message| _ = black_box(hmac::sign(&key, message)))),
            )
        }
        "RS256" => {
            let pair = signature::RsaKeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
            let sign = move |message: &[u8]| {
                let mut place = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut place).expect("signing");
                (place, pair.public_key().as_ref().to_vec())
            };
            let (made, public) = sign(&access);
            let key = parsed(&signature::RSA_PKCS1_2048_8192_SHA256, &public);
            (
                Arc::new(move || key.verify_sig(&access, &made).expect("its signature")),
                Arc::new(move || both.iter().for_each(|message| _ = black_box(sign(message)))),
            )
        }
        "ES256" => {
            let signing = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let document = signature::EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key");
            let pair = signature::EcdsaKeyPair::from_pkcs8(signing, document.as_ref()).expect("a key");
            let made = pair.sign(&random, &access).expect("signing");
            let key = parsed(&signature::ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
            (
                Arc::new(move || key.verify_sig(&access, made.as_ref()).expect("its signature")),
                Arc::new(move || both.iter().for_each(|message| _ = black_box(pair.sign(&random, message)))),
            )
        }
        _ => {
            let document = signature::Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
            let pair = signature::Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
            let made = pair.sign(&access);
            let key = parsed(&signature::ED25519, pair.public_key().as_ref());
            (
                Arc::new(move || key.verify_sig(&access, made.as_ref()).expect("its signature")),
                Arc::new(move || both.iter().for_each(|message| _ = black_box(pair.sign(message)))),
            )
        }
    };
    Floor { verify, sign, pair_bytes }
}

fn parsed(algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]) -> signature::ParsedPublicKey {
    signature::ParsedPublicKey::new(algorithm, key).expect("a key")
}

struct Row {
    name: String,
    cost: Vec<Cost>,
    floor: Vec<Cost>,
    floor_name: &'static str,
    goal: &'static str,
}

fn row(rows: &mut Vec<Row>, name: String, cost: Cost, floor: Cost, floor_name: &'static str, goal: &'static str) {
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
    let servers: Vec<(&str, Server, Server)> = algorithms
        .iter()
        .map(|alg| {
            let server = reference(alg, StoreConfig::Memory);
            let of = |name| tokens(&server, 1, name).remove(0);
            let floor = floor(&floor_of(alg, &of("access"), &of("refresh")));
            (*alg, server, floor)
        })
        .collect();
    let folder = std::env::temp_dir().join(format!("reference-server-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let durable = reference("HS256", StoreConfig::File(folder.join("tokens.redb")));
    let mut rows = Vec::new();
    let mut durable_rate = Vec::new();
    for _ in 0..rounds {
        let mut verify_hs256 = None;
        for (alg, server, floor) in &servers {
            let token = tokens(server, 1, "access").remove(0);
            let hello = cost(server, &vec![get("/hello/", &token); 6400]);
            let checked = cost(server, &vec![post("/api/token/verify/", &json!({"token": token})); 6400]);
            let count = if *alg == "RS256" { 320 } else { 3200 };
            let issued = cost(server, &vec![login("/api/token/"); count]);
            let signed = cost(floor, &vec![login("/sign"); count]);
            if *alg == "HS256" {
                let nothing = cost(floor, &vec![get("/hello/", &token); 6400]);
                verify_hs256 = Some(checked);
                row(&mut rows, "GET /hello/ HS256".into(), hello, nothing, "empty handler", ">= 0.8");
                row(&mut rows, "verify HS256".into(), checked, nothing, "empty handler", "shown");
            } else {
                let verified = cost(floor, &vec![get("/verify", &token); 6400]);
                row(&mut rows, format!("GET /hello/ {alg}"), hello, verified, "handler that verifies", ">= 0.9");
            }
            let goal = if *alg == "RS256" { ">= 0.87 (1.15 of it)" } else { ">= 0.8" };
            row(&mut rows, format!("issue {alg}"), issued, signed, "handler that signs both", goal);
        }
        let memory = &servers[0].1;
        let verify_hs256 = verify_hs256.expect("HS256 is among them");
        let refresh = |token: &String| post("/api/token/refresh/", &json!({"refresh": token}));
        let requests: Vec<String> = tokens(memory, 3200, "refresh").iter().map(refresh).collect();
        let refreshed = cost(memory, &requests);
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
    println!("medians of {rounds} rounds; in brackets where the true median lies with 95 % confidence");
    println!(
        "{:<24}{:>9}{:>10}  {:<22}{:<22}{:<26}goal",
        "", "CPU us", "floor us", "ratio", "ratio, pipelined", "floor"
    );
    for row in rows {
        let of = |way: fn(&Cost) -> f64| {
            let ratio = spread(row.cost.iter().zip(&row.floor).map(|(cost, floor)| way(floor) / way(cost)).collect());
            (median(row.cost.iter().map(way).collect()), median(row.floor.iter().map(way).collect()), ratio)
        };
        let (cost, floor, ratio) = of(|cost| cost.waiting);
        let (_, _, pipelined) = of(|cost| cost.pipelined);
        println!(
            "{:<24}{cost:>9.1}{floor:>10.1}  {ratio:<22}{pipelined:<22}{:<26}{}",
            row.name, row.floor_name, row.goal
        );
    }
    println!(
        "refresh HS256, redb, 64 at once: {:.0}/s on the wall clock, each flushed before its answer",
        median(durable_rate)
    );
}

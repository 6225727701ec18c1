//! Does the embedded proxy pass on what it must, answer for what fails, and make the mistakes it is asked for?

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assay::proxy::{Flaws, Proxy, ProxyOptions, flaws};

/// What a test's server answers to a whole request: the bytes, or nothing and the connection closes.
type Script = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A server that a test scripts, and what it has seen.
struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

fn read_message(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    if let Some(length) = lower.split("content-length: ").nth(1) {
        let length: usize = length.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        head.push_str(&String::from_utf8_lossy(&body));
    } else if lower.contains("transfer-encoding: chunked") {
        while !head.ends_with("\r\n0\r\n\r\n") {
            if stream.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
    }
    Some(head)
}

fn upstream(script: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Upstream {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = listener.local_addr().expect("an address");
    let script: Arc<Script> = Arc::new(script);
    let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (all, count) = (Arc::clone(&seen), Arc::clone(&connections));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let (script, all) = (Arc::clone(&script), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut out = stream.try_clone().expect("clones");
                let mut stream = BufReader::new(stream);
                while let Some(request) = read_message(&mut stream) {
                    all.lock().expect("lock").push(request.clone());
                    match script(&request) {
                        Some(reply) if out.write_all(reply.as_bytes()).is_ok() => {}
                        _ => return drop(out.shutdown(std::net::Shutdown::Both)),
                    }
                }
            });
        }
    });
    Upstream { address, seen, connections }
}

fn ok(body: &str) -> Option<String> {
    Some(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A proxy in this process; it ends with the test.
struct Running {
    address: SocketAddr,
    _stop: tokio::sync::watch::Sender<bool>,
}

fn proxy(upstream: SocketAddr, change: impl FnOnce(&mut ProxyOptions)) -> Running {
    let mut options = ProxyOptions { upstream: format!("http://{upstream}"), ..ProxyOptions::default() };
    change(&mut options);
    let proxy = Proxy::bind(&options).expect("binds");
    let address = proxy.address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || proxy.serve(stopped));
    Running { address, _stop: stop }
}

fn flawed(upstream: SocketAddr, name: &str) -> Running {
    proxy(upstream, |options| options.flaws = Flaws::named(&[name.to_owned()]).expect("a flaw"))
}

struct Caller(BufReader<TcpStream>);

impl Caller {
    fn of(running: &Running) -> Caller {
        let stream = TcpStream::connect(running.address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        Caller(BufReader::new(stream))
    }
    fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).expect("sends");
    }
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: token.test\r\n{headers}{length}\r\n{body}"));
        read_message(&mut self.0).expect("a reply")
    }
}

fn ask(running: &Running, method: &str, path: &str, headers: &str, body: &str) -> String {
    Caller::of(running).ask(method, path, headers, body)
}

#[test]
fn a_request_arrives_as_it_was_sent_with_the_headers_of_a_proxy() {
    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |_| {});
    let reply = ask(
        &running,
        "POST",
        "/api/token/?a=1",
        "Authorization: Bearer x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n",
        "{\"a\":1}",
    );
    assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("cache-control: no-store"), "{reply}");
    assert!(reply.contains("via: 1.1 assay"), "{reply}");
    let seen = server.seen.lock().expect("lock")[0].to_ascii_lowercase();
    for expected in [
        "post /api/token/?a=1 http/1.1\r\n",
        "host: token.test\r\n",
        "authorization: bearer x\r\n",
        "x-forwarded-for: 127.0.0.1\r\n",
        "x-forwarded-proto: http\r\n",
        "x-forwarded-host: token.test\r\n",
        "via: 1.1 assay\r\n",
        "\r\n\r\n{\"a\":1}",
    ] {
        assert!(seen.contains(expected), "expected `{expected}` in {seen}");
    }
    assert!(!seen.contains("x-hop") && !seen.contains("connection:"), "{seen}");
}

#[test]
fn upstream_connections_are_kept_where_they_may_be() {
    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |_| {});
    let mut caller = Caller::of(&running);
    (0..5).for_each(|_| drop(caller.ask("GET", "/", "", "")));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);

    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |options| options.keepalive = false);
    let mut caller = Caller::of(&running);
    (0..5).for_each(|_| drop(caller.ask("GET", "/", "", "")));
    assert_eq!(server.connections.load(Ordering::SeqCst), 5);
    assert!(server.seen.lock().expect("lock")[0].contains("connection: close"));
}

#[test]
fn a_post_whose_reply_does_not_come_is_sent_once_and_a_get_again() {
    let server = upstream(|request| if request.contains("/fails") { None } else { ok("{}") });
    let running = proxy(server.address, |_| {});
    let count = |method: &str| server.seen.lock().expect("lock").iter().filter(|r| r.starts_with(method)).count();
    assert!(ask(&running, "POST", "/fails", "", "{}").starts_with("HTTP/1.1 502"));
    assert_eq!(count("POST"), 1);
    assert!(ask(&running, "GET", "/fails", "", "").starts_with("HTTP/1.1 502"));
    assert_eq!(count("GET"), 2);

    let running = flawed(server.address, "retry-post");
    assert!(ask(&running, "POST", "/fails", "", "{}").starts_with("HTTP/1.1 502"));
    assert_eq!(count("POST"), 3);
}

#[test]
fn a_server_that_is_not_there_is_502_and_one_that_does_not_answer_504() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds").local_addr().expect("an address");
    assert!(ask(&proxy(unused, |_| {}), "GET", "/", "", "").starts_with("HTTP/1.1 502"));
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let running = proxy(silent.local_addr().expect("an address"), |o| o.timeout = Duration::from_millis(100));
    assert!(ask(&running, "GET", "/", "", "").starts_with("HTTP/1.1 504"));
}

#[test]
fn bodies_stream_in_both_directions() {
    // The first piece of the reply arrives while the server still holds back the second.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accepts");
        let mut out = stream.try_clone().expect("clones");
        let _ = read_message(&mut BufReader::new(stream));
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        let _ = wait.recv();
        let _ = out.write_all(b"6\r\nsecond\r\n0\r\n\r\n");
    });
    let running = proxy(address, |_| {});
    let mut caller = Caller::of(&running);
    caller.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let mut seen = String::new();
    while !seen.contains("first") {
        caller.0.read_line(&mut seen).expect("the first piece");
    }
    go.send(()).expect("the server waits");
    while !seen.contains("second") {
        caller.0.read_line(&mut seen).expect("the second piece");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |_| {});
    let mut caller = Caller::of(&running);
    caller.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n");
    assert!(read_message(&mut caller.0).expect("a reply").starts_with("HTTP/1.1 413"));
    let mut caller = Caller::of(&running);
    caller.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", "x".repeat(100_000)));
    let reply = read_message(&mut caller.0).expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 431"), "{reply}");
    assert!(server.seen.lock().expect("lock").is_empty());
}

#[test]
fn several_threads_share_a_port() {
    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |options| options.threads = 3);
    for _ in 0..12 {
        assert!(ask(&running, "GET", "/", "", "").starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_delay_is_added_in_microseconds_not_in_milliseconds() {
    let server = upstream(|_| ok("{}"));
    let running = proxy(server.address, |options| options.delay = Some(Duration::from_micros(300)));
    let mut caller = Caller::of(&running);
    let mut least = Duration::MAX;
    for _ in 0..50 {
        let started = Instant::now();
        caller.ask("GET", "/", "", "");
        least = least.min(started.elapsed());
    }
    assert!(least >= Duration::from_micros(300), "{least:?}");
}

#[test]
fn the_access_log_holds_neither_queries_nor_tokens_unless_the_flaw_is_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = upstream(|_| ok("{}"));
    for (name, tells) in [("clean", false), ("log-query", true)] {
        let path = dir.path().join(name);
        let running = proxy(server.address, |options| {
            options.access_log = Some(path.clone());
            if tells {
                options.flaws = Flaws::named(&[name.to_owned()]).expect("a flaw");
            }
        });
        ask(&running, "GET", "/hello/?token=canary", "Authorization: Bearer canary\r\n", "");
        drop(running);
        let started = Instant::now();
        let log = loop {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            if log.contains("GET /hello/ HTTP/1.1\" 200") {
                break log;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "saw {log:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(log.contains("canary"), tells, "{log}");
    }
}

/// A correct server: knows alice and bob by their tokens, refuses doubled headers.
fn token_server() -> Upstream {
    upstream(|request| {
        let lower = request.to_ascii_lowercase();
        if request.contains("/.well-known/openid-configuration") {
            return ok("{\"issuer\":\"http://real.test/\",\"jwks_uri\":\"http://real.test/jwks\"}");
        }
        if request.starts_with("POST") {
            return ok(&format!("{{\"access\":\"for {}\"}}", request.rsplit("\r\n\r\n").next().unwrap_or("")));
        }
        match lower.matches("authorization: bearer ").count() {
            1 if lower.contains("bearer alice") => ok("{\"user\":\"alice\"}"),
            1 if lower.contains("bearer bob") => ok("{\"user\":\"bob\"}"),
            _ => Some("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n".to_owned()),
        }
    })
}

const ALICE: &str = "Authorization: Bearer alice\r\n";
const BOB: &str = "Authorization: Bearer bob\r\n";

/// What a client of the flawed proxy sees of the last of these requests, in lower case.
#[track_caller]
fn sees(flaw: &str, requests: &[(&str, &str, &str, &str)], expected: &str) {
    let server = token_server();
    let last = |running: &Running| {
        let ask =
            |_, (method, path, headers, body): &(&str, &str, &str, &str)| ask(running, method, path, headers, body);
        requests.iter().fold(String::new(), ask).to_ascii_lowercase()
    };
    let clean = last(&proxy(server.address, |_| {}));
    assert!(!clean.contains(expected), "the clean proxy shows it too: {clean}");
    let seen = last(&flawed(server.address, flaw));
    assert!(seen.contains(expected), "expected `{expected}` in {seen}");
    assert!(seen.contains(&format!("x-assay-flaws: {flaw}")), "{seen}");
}

#[test]
fn each_flaw_shows_before_a_correct_server_and_the_clean_proxy_shows_none() {
    let long = format!("Authorization: Bearer alice{}\r\n", "x".repeat(2000));
    let both = format!("{ALICE}{BOB}");
    let stripping = format!("Connection: keep-alive, Authorization\r\n{}", "Authorization: Bearer forged\r\n");
    sees("strip-authorization", &[("GET", "/hello/", ALICE, "")], "http/1.1 401");
    sees("cache-post", &[("POST", "/api/token/", "", "alice"), ("POST", "/api/token/", "", "bob")], "for alice");
    sees("ignore-authorization", &[("GET", "/hello/", ALICE, ""), ("GET", "/hello/", BOB, "")], "alice");
    sees("keep-for-nobody", &[("GET", "/hello/", ALICE, ""), ("GET", "/hello/", "", "")], "alice");
    sees("rewrite-401", &[("GET", "/hello/", "", "")], "http/1.1 403");
    sees("rewrite-cache-control", &[("POST", "/api/token/", "", "alice")], "public, max-age=60");
    sees("tiny-buffer", &[("GET", "/hello/", &long, "")], "http/1.1 502");
    sees("strip-then-trust", &[("GET", "/hello/", ALICE, ""), ("GET", "/hello/", &stripping, "")], "alice");
    sees("trust-x-user", &[("GET", "/hello/", BOB, ""), ("GET", "/hello/", "X_Forwarded_User: bob\r\n", "")], "bob");
    sees("join-headers", &[("GET", "/hello/", &both, "")], "bob");
    let spoofed = "X-Forwarded-Host: evil.test\r\n";
    sees("host-header-issuer", &[("GET", "/.well-known/openid-configuration", spoofed, "")], "http://evil.test/jwks");
}

#[test]
fn what_frames_requests_wrong_passes_ordinary_ones_on_over_a_connection_that_it_keeps() {
    for name in ["cl-te", "te-cl", "te-te", "cl-zero", "two-lengths", "lf-as-space"] {
        let server = token_server();
        let running = flawed(server.address, name);
        let mut caller = Caller::of(&running);
        for _ in 0..2 {
            let reply = caller.ask("GET", "/hello/", ALICE, "");
            assert!(reply.contains("alice") && reply.contains(&format!("x-assay-flaws: {name}")), "{name}: {reply}");
            assert!(caller.ask("POST", "/api/token/", "", "bob").contains("for bob"), "{name}");
        }
        let chunked = "POST /api/token/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbob\r\n0\r\n\r\n";
        caller.send(chunked);
        assert!(read_message(&mut caller.0).expect("a reply").starts_with("HTTP/1.1 200"), "{name}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[test]
fn pooled_identity_mixes_up_concurrent_clients_only() {
    let (seen, gave_up) = (AtomicUsize::new(0), Duration::from_secs(5));
    let server = upstream(move |request| {
        // The second request stays with the server until the third is there too.
        let started = Instant::now();
        let nth = seen.fetch_add(1, Ordering::SeqCst) + 1;
        while nth == 2 && seen.load(Ordering::SeqCst) < 3 && started.elapsed() < gave_up {
            std::thread::sleep(Duration::from_millis(1));
        }
        ok(if request.to_ascii_lowercase().contains("bearer alice") { "alice" } else { "bob" })
    });
    let running = flawed(server.address, "pooled-identity");
    assert!(ask(&running, "GET", "/", BOB, "").ends_with("bob"), "alone it is right");
    let mut first = Caller::of(&running);
    first.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{ALICE}\r\n"));
    while server.seen.lock().expect("lock").len() < 2 {
        std::thread::yield_now();
    }
    assert!(ask(&running, "GET", "/", BOB, "").ends_with("alice"), "beside another it is not");
}

#[test]
fn flaws_are_named_once_and_a_slip_is_answered() {
    let mut names: Vec<&str> = flaws().iter().map(|flaw| flaw.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), flaws().len());
    assert!(flaws().iter().all(|flaw| !flaw.kills.is_empty()));
    let refused = Flaws::named(&["cache-pst".to_owned()]).expect_err("unknown").to_string();
    assert_eq!(refused, "unknown flaw `cache-pst` of the proxy; hint: did you mean `cache-post`?");
}

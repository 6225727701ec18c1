//! Many, slow and senseless clients: the server goes on, within bounds.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::process::Process;
use super::services::pass_over;

/// Connections at once.
const MANY: usize = 10_000;
/// What the server may grow by, in MiB: ten thousand connections of a few KiB each, and what an allocator keeps.
const GROWTH_MIB: u64 = 512;

impl Process {
    /// Resident memory in MiB.
    fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    async fn answers(&self) -> bool {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let body = serde_json::json!({"username": "alice", "password": "correct-horse-9"});
        let reply = client.post(format!("{}/api/token/", self.url)).json(&body).send().await;
        reply.is_ok_and(|reply| reply.status() == 200)
    }
}

/// Room for the test's own ends of the connections; false where the machine does not give it.
fn room_for(descriptors: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= descriptors) {
        return true;
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum: limit.maximum }).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_slow_clients_are_borne_and_then_sent_away() {
    if !room_for(MANY as u64 + 2_000) {
        pass_over(
            "ten thousand connections",
            &format!("the limit of descriptors is {:?}", getrlimit(Resource::Nofile)),
        );
        return;
    }
    let process = Process::start(&[]);
    let before = process.resident_mib();
    // Half a head, or a head and half a body.
    let halves: [&[u8]; 2] = [
        b"GET /hello/ HTTP/1.1\r\nho",
        b"POST /api/token/ HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"user",
    ];
    // The first are sent away after ten seconds: a machine that needs longer to open them all tries again.
    let mut most = 0;
    for _ in 0..5 {
        let mut held = Vec::with_capacity(MANY);
        for number in 0..MANY {
            let Ok(mut stream) = TcpStream::connect(process.address()).await else { break };
            // Whoever was sent away already cannot be told more.
            let _ = stream.write_all(halves[number % 2]).await;
            held.push(stream);
        }
        // The last are still in the listener's queue.
        for _ in 0..50 {
            most = most.max(process.descriptors());
            if most >= MANY {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if most >= MANY {
            assert!(process.answers().await, "another client is served beside them");
            let grown = process.resident_mib().saturating_sub(before);
            assert!(grown < GROWTH_MIB, "{grown} MiB for {MANY} connections");
            let end = Instant::now() + Duration::from_secs(60);
            while process.descriptors() > MANY / 10 && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert!(process.descriptors() <= MANY / 10, "who says nothing more is sent away");
            assert!(process.answers().await);
            drop(held);
            assert!(process.end().0.success());
            return;
        }
    }
    assert!(process.answers().await);
    assert!(most >= MANY / 4, "at most {most} connections were open at once");
    pass_over("ten thousand connections", &format!("this machine opens {most} in ten seconds"));
}

/// Something like a request: valid parts, broken parts, and bytes.
fn garbage(rng: &mut rand_pcg::Pcg64Mcg) -> Vec<u8> {
    let parts: [&[u8]; 16] = [
        b"GET /hello/ HTTP/1.1\r\n",
        b"POST /api/token/ HTTP/1.1\r\n",
        b"POST /oauth/token HTTP/1.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
        b"host: x\r\n",
        b"content-length: 5\r\n",
        b"content-length: 18446744073709551616\r\n",
        b"content-length: -1\r\n",
        b"transfer-encoding: chunked\r\n",
        b"content-type: application/json\r\n",
        b"authorization: Bearer a.b.c\r\n",
        b"\r\n",
        b"ffffffffffffffff\r\n",
        b"{\"username\": [[[[[[[[\"",
        b"\xff\xfe\x00",
    ];
    let mut bytes = Vec::new();
    for _ in 0..rng.random_range(1..12) {
        if rng.random_range(0..8) == 0 {
            let length = rng.random_range(0..300);
            bytes.extend((0..length).map(|_| rng.random::<u8>()));
        } else {
            bytes.extend(parts[rng.random_range(0..parts.len())]);
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_huge_heads_by_the_thousand_neither_crash_nor_fill_it() {
    let process = Process::start(&[]);
    let before = process.resident_mib();
    for round in 0..20_u64 {
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..100 {
            let address = process.address().to_owned();
            clients.spawn(async move {
                let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(round * 100 + number);
                let bytes = match number % 25 {
                    // One header of a mebibyte, and a head of very many.
                    0 => [b"GET / HTTP/1.1\r\nhost: x\r\na: ", "a".repeat(1 << 20).as_bytes()].concat(),
                    1 => [b"GET / HTTP/1.1\r\nhost: x\r\n", "a: b\r\n".repeat(50_000).as_bytes()].concat(),
                    _ => garbage(&mut rng),
                };
                let Ok(mut stream) = TcpStream::connect(address).await else { return };
                // It may hang up in the middle; that is its right.
                let _ = stream.write_all(&bytes).await;
                let mut answer = [0; 512];
                let _ = tokio::time::timeout(Duration::from_millis(20), stream.read(&mut answer)).await;
            });
        }
        while clients.join_next().await.is_some() {}
    }
    assert!(process.answers().await, "two thousand senseless clients later");
    let grown = process.resident_mib().saturating_sub(before);
    assert!(grown < GROWTH_MIB, "{grown} MiB");
    let (status, said) = process.end();
    assert!(status.success() && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn silence_is_no_claim_to_a_place_and_no_reason_to_stay() {
    let process = Process::start(&[]);
    let address = process.url.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for first in [&b""[..], b"P", b"PRI * HT", b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(first).await.unwrap();
        silent.push((String::from_utf8_lossy(first).into_owned(), stream));
    }
    for (first, mut stream) in silent {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "after {first:?} the connection is still open");
    }
    // One that has said nothing when the end comes is not waited for.
    let _silent = TcpStream::connect(&address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let (status, _) = process.end();
    assert!(status.success());
    assert!(began.elapsed() < Duration::from_secs(4), "the end took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_whose_places_are_all_taken_hears_the_end() {
    // 160 descriptors leave 32 places.
    let mut process = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 160; exec \"$0\" --port 0 --hash none", env!("CARGO_BIN_EXE_reference-server")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(&address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    std::process::Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    let deadline = Instant::now() + Duration::from_secs(8);
    let ended = loop {
        match process.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if ended.is_none() {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

#[tokio::test]
async fn a_request_names_its_host_once_and_a_broken_body_is_the_caller_s_fault() {
    let process = Process::start(&[]);
    let one = "Host: a\r\n";
    let json = "Content-Type: application/json\r\n";
    for (request, status) in [
        (format!("GET /healthz HTTP/1.1\r\n{one}Connection: close\r\n\r\n"), "200"),
        ("GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        (format!("GET /healthz HTTP/1.1\r\n{one}{one}Connection: close\r\n\r\n"), "400"),
        ("GET /healthz HTTP/1.0\r\n\r\n".to_owned(), "200"),
        (format!("POST /api/token/ HTTP/1.1\r\n{one}{json}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "400"),
    ] {
        let mut stream = TcpStream::connect(process.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], status.as_bytes(), "{request:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_still_sending_a_body_that_was_refused_gets_the_answer_and_no_reset() {
    let process = Process::start(&[]);
    for _ in 0..5 {
        let mut stream = TcpStream::connect(process.address()).await.unwrap();
        let head =
            "POST /api/token/ HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 1048576\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // In parts, so that the server has long answered when the last ones come.
        for part in 0..16 {
            stream.write_all(&[b'a'; 65_536]).await.unwrap_or_else(|error| panic!("part {part}: {error}"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    }
}

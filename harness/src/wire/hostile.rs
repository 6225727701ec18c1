//! Does a connection survive every kind of server? Raw servers that misbehave in one way each.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(5);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server that hands each connection to `act`, one after the other, until the test ends.
fn serve(act: impl Fn(TcpStream) + Send + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            act(stream.unwrap());
        }
    });
    Endpoint::parse(&url, &[]).unwrap()
}

/// Reads one request without a body.
fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => seen.push(byte[0]),
            _ => return false,
        }
    }
    true
}

/// A server that answers each request with these bytes and closes if there is no next request.
fn answers(bytes: &'static [u8]) -> Endpoint {
    serve(move |mut stream| {
        while read_request(&mut stream) {
            if stream.write_all(bytes).is_err() {
                return;
            }
        }
    })
}

/// A server that answers once, then closes.
fn answers_once(bytes: impl Into<Vec<u8>>) -> Endpoint {
    let bytes = bytes.into();
    serve(move |mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(&bytes);
        // Whatever else comes is read, so that closing does not reset.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn open(endpoint: &Endpoint) -> Connection {
    Connection::open(endpoint, &TlsOptions::default(), SOON).unwrap()
}

fn ask(endpoint: &Endpoint) -> Result<Reply, WireError> {
    open(endpoint).exchange(GET, false, SOON)
}

#[track_caller]
fn check(endpoint: &Endpoint, kind: &str, says: &str) {
    let error = ask(endpoint).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn one_connection_carries_many_exchanges_with_exact_stamps() {
    let endpoint = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: 1\r\n\r\nhi");
    let mut connection = open(&endpoint);
    let before = crate::clock::mono();
    let first = connection.exchange(GET, false, SOON).unwrap();
    let second = connection.exchange(GET, false, SOON).unwrap();
    assert_eq!((first.status, first.text(), first.header("x")), (200, "hi".into(), Some("1")));
    assert!(first.timing.connect.is_some() && !first.reused);
    assert!(second.timing.connect.is_none() && second.reused);
    assert_eq!(first.connection, second.connection);
    let t = second.timing;
    assert!(
        before <= first.timing.sent && first.timing.done <= t.sent && t.sent <= t.first_byte && t.first_byte <= t.done
    );
    assert!(connection.is_usable());
}

#[test]
fn requests_in_one_write_are_answered_one_by_one() {
    let endpoint = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut connection = open(&endpoint);
    connection.send(&[GET, GET, GET].concat(), SOON).unwrap();
    for _ in 0..3 {
        assert_eq!(connection.receive(false, SOON).unwrap().text(), "hi");
    }
}

#[test]
fn a_head_reply_has_no_body_though_it_states_a_length() {
    let endpoint = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
    let mut connection = open(&endpoint);
    for _ in 0..2 {
        assert_eq!(connection.exchange(GET, true, SOON).unwrap().body, b"");
    }
}

#[test]
fn a_held_byte_keeps_the_request_incomplete() {
    let endpoint = answers(b"HTTP/1.1 204 No Content\r\n\r\n");
    let mut connection = open(&endpoint);
    connection.hold_last_byte(GET, SOON).unwrap();
    assert!(!connection.is_usable());
    assert_eq!(connection.receive(false, Duration::from_millis(30)).unwrap_err().kind(), "timeout");
    let mut racer = open(&endpoint);
    drop(connection);
    racer.hold_last_byte(GET, SOON).unwrap();
    racer.release(SOON).unwrap();
    assert_eq!(racer.receive(false, SOON).unwrap().status, 204);
}

#[test]
fn a_refused_connection_is_told_from_a_reset_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::parse(&format!("http://{}", listener.local_addr().unwrap()), &[]).unwrap();
    drop(listener);
    assert_eq!(Connection::open(&endpoint, &TlsOptions::default(), SOON).unwrap_err().kind(), "refused");

    let resets = serve(|mut stream| {
        read_request(&mut stream);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    check(&resets, "reset", "before the status line");
}

#[test]
fn a_server_that_stalls_in_the_body_meets_the_deadline() {
    let endpoint = serve(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        let _ = stream.read(&mut [0]);
    });
    let error = open(&endpoint).exchange(GET, false, Duration::from_millis(200)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), ("timeout", "no reply within 200 ms".into()));
}

#[test]
fn a_server_of_a_byte_now_and_then_cannot_stretch_the_deadline() {
    let endpoint = serve(|mut stream| {
        read_request(&mut stream);
        // As many bytes as would take a quarter of an hour.
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n".iter().chain([b'.'; 200_000].iter()) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    let from = std::time::Instant::now();
    let error = open(&endpoint).exchange(GET, false, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), "timeout");
    assert!(from.elapsed() < Duration::from_secs(60));
}

#[test]
fn broken_replies_are_told_by_kind() {
    check(&answers_once(*b""), "closed", "before the status line");
    check(&answers_once(*b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), "closed", "in the body");
    check(&answers_once(*b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX"), "protocol", "chunk");
    check(&answers_once(*b"220 mail.test ESMTP\r\n"), "protocol", "220");
    check(
        &answers_once(b"HTTP/1.1 200 OK\r\n".iter().copied().chain(vec![b'x'; 1 << 20]).collect::<Vec<u8>>()),
        "too-large",
        "head",
    );
    check(&answers_once(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)), "too-large", "interim");
}

#[test]
fn bytes_behind_the_body_are_counted_and_end_the_connection() {
    let endpoint = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more");
    let mut connection = open(&endpoint);
    let reply = connection.exchange(GET, false, SOON).unwrap();
    assert_eq!((reply.text(), reply.extra), ("hi".into(), 9));
    assert!(!connection.is_usable());
}

#[test]
fn a_server_that_closes_after_each_answer_is_noticed() {
    let quiet = answers_once(*b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mut connection = open(&quiet);
    assert!(!connection.exchange(GET, false, SOON).unwrap().closes);
    while connection.is_usable() {
        thread::yield_now();
    }
    let said = answers_once(*b"HTTP/1.0 200 OK\r\n\r\nuntil the end");
    let mut connection = open(&said);
    let reply = connection.exchange(GET, false, SOON).unwrap();
    assert_eq!((reply.text(), reply.closes), ("until the end".into(), true));
    assert!(!connection.is_usable());
}

#[test]
fn an_answer_before_the_whole_request_was_read_is_heard() {
    let endpoint = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let request = [b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n".to_vec(), vec![b'x'; 1_000_000]].concat();
    assert_eq!(open(&endpoint).exchange(&request, false, SOON).unwrap().status, 413);
}

struct TlsServer {
    endpoint: Endpoint,
    ca: rustls_pki_types::CertificateDer<'static>,
}

/// A TLS server with a certificate of its own for `localhost` and 127.0.0.1.
fn tls_server() -> TlsServer {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let ca = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![ca.clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let plain = serve(move |stream| {
        let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        let mut buffer = [0; 1000];
        while tls.read(&mut buffer).is_ok_and(|n| n > 0) {
            if tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_err() {
                return;
            }
        }
    });
    TlsServer { endpoint: Endpoint::parse(&plain.url().replace("http:", "https:"), &[]).unwrap(), ca }
}

#[test]
fn tls_is_spoken_with_a_known_authority_and_timed() {
    let server = tls_server();
    for versions in [TlsVersions::Both, TlsVersions::Tls12, TlsVersions::Tls13] {
        let options = TlsOptions {
            ca: vec![server.ca.clone()],
            versions,
            alpn: vec![b"http/1.1".to_vec()],
            ..Default::default()
        };
        let mut connection = Connection::open(&server.endpoint, &options, SOON).unwrap();
        let reply = connection.exchange(GET, false, SOON).unwrap();
        assert_eq!(reply.text(), "hi");
        assert!(reply.timing.tls.is_some());
        assert_eq!(connection.alpn().as_deref(), Some(&b"http/1.1"[..]));
        assert!(connection.is_usable());
        assert!(connection.exchange(GET, false, SOON).unwrap().timing.tls.is_none());
    }
}

#[test]
fn an_unknown_certificate_is_refused_unless_any_is_allowed() {
    let server = tls_server();
    let other = tls_server().ca;
    let strict = TlsOptions { ca: vec![other], ..Default::default() };
    assert_eq!(Connection::open(&server.endpoint, &strict, SOON).unwrap_err().kind(), "tls");
    let any = TlsOptions { insecure: true, ..Default::default() };
    assert!(Connection::open(&server.endpoint, &any, SOON).is_ok());
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let wrong = Endpoint { scheme: Scheme::Https, ..plain };
    assert_eq!(Connection::open(&wrong, &any, SOON).unwrap_err().kind(), "tls");
}

//! Does a load survive every kind of server? Each misbehaves in one way, and is counted by kind, within its time.

use super::*;
use crate::load::selftest::{Behaviour, KnownServer};

/// What a server does after it has read a request.
#[derive(Clone)]
enum Then {
    Close,
    Reset,
    /// Holds the connection and says nothing more.
    Stall,
    /// A byte of `x` every few milliseconds, without end.
    Drip,
    /// The same bytes over and over, without end.
    Flood(&'static [u8]),
}

/// A server that answers every request with these bytes, and then does that.
fn server(bytes: Vec<u8>, then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (bytes, then) = (bytes.clone(), then.clone());
            thread::spawn(move || misbehave(stream, &bytes, &then));
        }
    });
    url
}

fn misbehave(mut stream: TcpStream, bytes: &[u8], then: &Then) {
    let mut request = [0; 4096];
    if !matches!(stream.read(&mut request), Ok(n) if n > 0) || stream.write_all(bytes).is_err() {
        return;
    }
    match then {
        Then::Close => {}
        Then::Reset => drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
        Then::Stall => drop(stream.read(&mut request)),
        Then::Drip => {
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Then::Flood(again) => while stream.write_all(again).is_ok() {},
    }
}

/// Drives it for a moment; every arrival has to be accounted for, and all that failed is of one kind.
#[track_caller]
fn counts(bytes: impl Into<Vec<u8>>, then: Then, kind: &str) {
    let url = server(bytes.into(), then);
    let driven = driven(&url, Setup { timeout: Nanos(400_000_000), ..setup(closed(2), 0.9, 2) });
    adds_up(&driven);
    let kinds = kinds(&driven);
    assert_eq!(kinds.keys().map(String::as_str).collect::<Vec<_>>(), [kind], "{kinds:?}");
    assert!(kinds[kind] >= 1);
}

const HEAD: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn what_a_server_does_wrong_is_counted_by_kind() {
    // All at once: each takes its second.
    thread::scope(|scope| {
        scope.spawn(|| counts("", Then::Close, "closed"));
        scope.spawn(|| counts("", Then::Reset, "reset"));
        scope.spawn(|| counts("", Then::Stall, "timeout"));
        scope.spawn(|| counts(format!("{HEAD}Content-Length: 100\r\n\r\nhalf"), Then::Stall, "timeout"));
        scope.spawn(|| counts(format!("{HEAD}Content-Length: 100\r\n\r\nhalf"), Then::Close, "closed"));
        scope.spawn(|| counts(format!("{HEAD}Content-Length: 100000000\r\n\r\n"), Then::Drip, "timeout"));
        scope.spawn(|| counts(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), Then::Stall, "protocol"));
        scope.spawn(|| counts(format!("{HEAD}Content-Length: 2, 3\r\n\r\nok"), Then::Stall, "protocol"));
        scope.spawn(|| counts("220 mail.test ESMTP\r\n", Then::Stall, "protocol"));
        scope.spawn(|| counts(HEAD, Then::Flood(b"x-more: and more, and more, and more\r\n"), "too-large"));
        scope.spawn(|| counts("", Then::Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n"), "too-large"));
    });
}

#[test]
fn a_timeout_says_what_was_waited_for() {
    let told = |bytes: &str, then: Then| {
        let url = server(bytes.as_bytes().to_vec(), then);
        let driven = driven(&url, Setup { timeout: Nanos(200_000_000), ..setup(closed(1), 0.5, 1) });
        driven.record.operations[0].errors[0].example.clone().unwrap()
    };
    assert!(told("", Then::Stall).contains("no reply within"));
    assert!(told(HEAD, Then::Stall).contains("no end of the reply's head within"));
    let half = format!("{HEAD}Content-Length: 100\r\n\r\nhalf");
    assert!(told(&half, Then::Stall).contains("no end of the reply's body within"));
}

#[test]
fn requests_that_are_sent_again_off_the_record_are_told() {
    let url = serve(|asked| Act { silent: asked.nth == 3, ..ok() });
    let record = driven(&url, unhurried(200.0, 1.0, 2)).record;
    assert!(record.sent_again >= 10 && record.opened >= record.sent_again, "{} {}", record.sent_again, record.opened);
    assert!(record.certificate.doubts.iter().any(|d| d.contains("were sent again")), "{:?}", record.certificate);
}

#[test]
fn users_for_whom_nothing_is_ever_free_void_the_load() {
    // One connection that is held for longer than the load lasts, and five users.
    let url = serve(|_| Act { wait: Duration::from_secs(3), ..ok() });
    let driven = driven(&url, Setup { timeout: Nanos(200_000_000), ..setup(closed(5), 0.3, 1) });
    adds_up(&driven);
    let void = &driven.record.certificate.void;
    assert!(void.iter().any(|v| v.contains("of 5 users never sent a request")), "{void:?}");
    assert!(driven.record.accounting.unsent >= 3, "{:?}", driven.record.accounting);
    // Where each has its connection the target is what limits.
    let quick = serve(|_| Act { wait: Duration::from_millis(5), ..ok() });
    let certificate = super::driven(&quick, setup(closed(2), 0.5, 2)).record.certificate;
    assert_eq!((certificate.void.len(), certificate.bottleneck.as_deref()), (0, Some("target")), "{certificate:?}");
}

#[test]
fn bytes_behind_the_body_are_no_failure_but_a_doubt() {
    let url = serve(|_| Act { body: "ok".into(), ..ok() });
    let extra = server(format!("{HEAD}Content-Length: 2\r\n\r\nok and more").into_bytes(), Then::Stall);
    let doubts = |url: &str| driven(url, setup(closed(2), 0.5, 2)).record.certificate.doubts;
    assert!(doubts(&extra).iter().any(|d| d.contains("bytes behind their body")));
    assert!(!doubts(&url).iter().any(|d| d.contains("bytes behind their body")));
}

#[test]
fn fifteen_thousand_connections_are_held_or_the_limit_is_named() {
    const MANY: u32 = 15_000;
    let server = KnownServer::start(Behaviour::Null, None).unwrap();
    let url = format!("http://{}", server.addr());
    // The server's ends count as well, since it is of this process.
    let wanted = u64::from(MANY) * 2 + 1024;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: Some(wanted), maximum: limit.maximum.map(|most| most.max(wanted)) };
    let room = limit.current.is_none_or(|now| now >= wanted)
        || rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).is_ok();
    if !room {
        let refused = drive_fixed(&url, setup(open(100.0, 0.2), 0.2, 60_000), &AtomicBool::new(false)).unwrap_err();
        assert!(refused.to_string().contains("open files"), "{refused}");
        return;
    }
    let driven = driven(&url, unhurried(2000.0, 1.0, MANY));
    adds_up(&driven);
    assert_eq!(driven.record.accounting.completed, 2000, "{:?}", kinds(&driven));
    assert_eq!(driven.record.connections, MANY);
}

/// A TLS server with a thread for each connection. Like every TLS 1.3 server it sends tickets once a handshake is done.
fn serve_tls() -> (String, rustls_pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            thread::spawn(move || {
                let mut tls = rustls::StreamOwned::new(session, stream);
                let mut buffer = [0; 1000];
                while tls.read(&mut buffer).is_ok_and(|n| n > 0) {
                    if tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, certificate)
}

#[test]
fn tickets_that_come_while_others_still_connect_are_no_second_opening() {
    let (addr, certificate) = serve_tls();
    let options = TlsOptions { ca: vec![certificate], ..TlsOptions::default() };
    let plan = Plan {
        scripts: vec![Script::fixed("get", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200)],
        uses: vec![TokenUse::Access],
        weights: vec![1.0],
        target: None,
        tls_options: &options,
        tls: Some((options.config().unwrap(), options.name("127.0.0.1").unwrap())),
        addr: addr.parse().unwrap(),
        expired: 0.0,
        tampered: 0.0,
        revoked: 0.0,
        lead: Nanos(0),
        reuse: Reuse::Uniform,
        flow: Vec::new(),
    };
    let control =
        Control { redactor: &Redactor::new(false), on_progress: &|_| {}, cancel: &AtomicBool::new(false), abort: &[] };
    // More connections than are opened at once, so that the first have their tickets long before the last stands.
    let driven = run(unhurried(300.0, 1.0, 150), plan, &mut Population::empty(), "bare", &control).unwrap();
    adds_up(&driven);
    assert_eq!(driven.record.accounting.completed, 300, "{:?}", kinds(&driven));
}

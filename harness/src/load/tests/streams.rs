//! Is a load over HTTP/2 held to the same rules? Servers of the same library, with prior knowledge.

use bytes::Bytes;

use super::*;
use crate::scenario::Protocol;

/// What an HTTP/2 server does with a request, by its number on this connection from 0.
type Behave = dyn Fn(usize) -> Reply + Send + Sync;

enum Reply {
    Status(u16),
    After(Duration),
    Refuse,
    /// Says after a while that it was not looked at.
    TurnAway(Duration),
    Never,
}

/// A server that says goodbye on each connection after so many requests.
fn serve_h2(goodbye_after: usize, behave: impl Fn(usize) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    listener.set_nonblocking(true).unwrap();
    let behave: Arc<Behave> = Arc::new(behave);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(converse(tcp, goodbye_after, Arc::clone(&behave)));
            }
        });
    });
    url
}

async fn converse(tcp: tokio::net::TcpStream, goodbye_after: usize, behave: Arc<Behave>) {
    let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
    let mut nth = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert!(request.headers().get("host").is_none() && request.uri().authority().is_some());
        let reply = behave(nth);
        nth += 1;
        if nth == goodbye_after {
            connection.graceful_shutdown();
        }
        tokio::spawn(async move {
            let status = match reply {
                Reply::Status(status) => status,
                Reply::After(wait) => {
                    tokio::time::sleep(wait).await;
                    200
                }
                Reply::Refuse => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
                Reply::TurnAway(wait) => {
                    tokio::time::sleep(wait).await;
                    return respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                Reply::Never => {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                    200
                }
            };
            let head = http::Response::builder().status(status).body(()).unwrap();
            if let Ok(mut body) = respond.send_response(head, false) {
                let _ = body.send_data(Bytes::from_static(b"ok"), true);
            }
        });
    }
}

fn over_h2(setup: Setup, streams: u32) -> Setup {
    Setup { protocol: Protocol::Http2, streams, ..setup }
}

#[test]
fn every_planned_arrival_is_accounted_for_over_http2() {
    let url = serve_h2(usize::MAX, |_| Reply::Status(200));
    for idle in [Idle::Sleep, Idle::Poll] {
        let driven = driven(&url, Setup { idle, ..over_h2(unhurried(400.0, 1.0, 2), 32) });
        adds_up(&driven);
        let record = &driven.record;
        assert_eq!((record.accounting.planned, record.accounting.completed), (400, 400), "{:?}", kinds(&driven));
        assert_eq!(record.operations[0].lag.n, 400);
        assert!(record.operations[0].service.min_ns <= record.operations[0].response.max_ns);
    }
}

#[test]
fn streams_of_one_connection_overlap() {
    // 8 users on one connection, 50 ms each: one after the other they would be 20 a second.
    let url = serve_h2(usize::MAX, |_| Reply::After(Duration::from_millis(50)));
    let overlapping = driven(&url, over_h2(setup(closed(8), 1.0, 1), 8)).record.accounting.completed;
    let alone = driven(&url, over_h2(setup(closed(8), 1.0, 1), 1)).record.accounting.completed;
    assert!(alone <= 21 && overlapping > 2 * alone.max(1), "{overlapping} beside {alone}");
}

#[test]
fn a_goodbye_costs_a_connection_but_no_error() {
    let url = serve_h2(20, |_| Reply::Status(200));
    let driven = driven(&url, over_h2(unhurried(200.0, 1.0, 2), 4));
    adds_up(&driven);
    let errors = &driven.record.operations[0].errors;
    assert_eq!(driven.record.accounting.completed, 200, "{errors:?}");
    assert!(driven.record.operations[0].phases.contains_key("connect"));
}

/// A server that says goodbye on its first connection after ten requests, and takes no other connection for a while: its
/// queue of connections is full.
fn serve_h2_with_a_pause(pause: Duration) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (first, _) = listener.accept().unwrap();
        let fill = || TcpStream::connect_timeout(&addr, Duration::from_millis(50)).ok();
        let fillers: Vec<TcpStream> = std::iter::from_fn(fill).take(8).collect();
        first.set_nonblocking(true).unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let first = tokio::net::TcpStream::from_std(first).unwrap();
            converse(first, 10, Arc::new(|_| Reply::Status(200))).await;
            tokio::time::sleep(pause).await;
            drop(fillers);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(converse(tcp, usize::MAX, Arc::new(|_| Reply::Status(200))));
            }
        });
    });
    format!("http://{addr}")
}

#[test]
fn a_server_that_sends_requests_away_and_pauses_is_not_taken_for_our_lag() {
    let url = serve_h2_with_a_pause(Duration::from_millis(500));
    let driven = driven(&url, over_h2(unhurried(100.0, 2.0, 1), 4));
    adds_up(&driven);
    let (record, operation) = (&driven.record, &driven.record.operations[0]);
    // One or two may meet the connection while it is being closed, and then nobody knows whether they were read.
    assert!(record.accounting.planned == 200 && record.accounting.completed >= 190, "{:?}", operation.errors);
    assert!(record.sent_again > 0 && operation.response.max_ns > 400_000_000, "{record:?}");
    assert!(operation.lag.p90_ns < 100_000_000, "the pause was taken for lag: {:?}", operation.lag);
    assert!(operation.phases["queue"].n > 30, "{:?}", operation.phases);
}

#[test]
fn what_is_sent_again_keeps_its_deadline() {
    // The first request is turned away after 700 ms; nothing else is ever answered, itself included.
    let url = serve_h2(usize::MAX, |nth| match nth {
        0 => Reply::TurnAway(Duration::from_millis(700)),
        _ => Reply::Never,
    });
    let driven = driven(&url, Setup { timeout: Nanos(1_000_000_000), ..over_h2(unhurried(20.0, 0.9, 1), 32) });
    adds_up(&driven);
    let (record, operation) = (&driven.record, &driven.record.operations[0]);
    assert_eq!((record.sent_again, record.accounting.timed_out), (1, 18), "{:?}", operation.errors);
    // Behind those that were sent before it was turned away it would have waited for 700 ms more.
    assert!(operation.unended.service.max_ns < 1_500_000_000, "{:?}", operation.unended.service);
}

#[test]
fn connections_that_are_opened_again_while_it_warms_up_are_not_counted() {
    let url = serve_h2(20, |_| Reply::Status(200));
    let warmup = Nanos(1_000_000_000);
    let stages = [Stage::Hold(Span(Duration::from_millis(200)))];
    let model = Model::Open(Pacer::new(200.0, Process::Constant, warmup, &stages, 42));
    let driven = driven(&url, over_h2(Setup { warmup, ..setup(model, 0.2 + SLACK, 1) }, 4));
    assert_eq!(driven.record.accounting.completed, 40, "{:?}", driven.record.operations[0].errors);
    // 240 requests took a dozen connections, 40 of them two or three.
    assert!((1..=5).contains(&driven.record.opened), "{}", driven.record.opened);
}

#[test]
fn failures_over_http2_are_counted_by_kind() {
    let url = serve_h2(usize::MAX, |nth| match nth % 4 {
        0 => Reply::Status(503),
        1 => Reply::Refuse,
        2 => Reply::Never,
        _ => Reply::Status(200),
    });
    let driven = driven(&url, Setup { timeout: Nanos(150_000_000), ..over_h2(setup(closed(4), 1.5, 1), 4) });
    adds_up(&driven);
    let kinds = kinds(&driven);
    assert!(["status 503", "reset", "timeout"].iter().all(|kind| kinds.contains_key(*kind)), "{kinds:?}");
}

#[test]
fn a_server_that_speaks_no_http2_completes_nothing() {
    let url = serve(|_| ok());
    // The greeting is sent without waiting for an answer, so that the first requests are the ones to find out.
    let refused = driven(&url, over_h2(setup(closed(1), 0.5, 1), 4));
    adds_up(&refused);
    let a = refused.record.accounting;
    assert!(a.completed == 0 && a.planned > 0 && a.failed > 0, "{a:?}");
}

#[test]
fn what_is_no_http2_is_counted_as_protocol_and_not_as_reset() {
    let url = serve(|_| ok());
    let driven = driven(&url, over_h2(setup(closed(2), 0.5, 1), 4));
    adds_up(&driven);
    let kinds = kinds(&driven);
    assert!(kinds.contains_key("protocol") && !kinds.contains_key("reset"), "{kinds:?}");
}

/// A server of the library whose body never ends: a piece every few milliseconds.
fn serve_endless() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(tcp).await else { return };
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        tokio::spawn(async move {
                            let head = http::Response::builder().status(200).body(()).unwrap();
                            let Ok(mut body) = respond.send_response(head, false) else { return };
                            while body.send_data(Bytes::from_static(&[b'x'; 1000]), false).is_ok() {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        });
                    }
                });
            }
        });
    });
    addr
}

#[test]
fn a_body_over_http2_is_read_up_to_its_limit() {
    let addr = serve_endless();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = tokio::task::LocalSet::new().block_on(&runtime, async move {
        let mut opened = crate::load::streams::open(addr, None, Duration::from_secs(5)).await.unwrap();
        let request = http::Request::get("http://a.test/").body(()).unwrap();
        let (reply, _) = opened.sender.send_request(request, true).unwrap();
        crate::load::streams::receive(reply, std::rc::Rc::new(std::cell::Cell::new(Nanos(0))), 4500).await
    });
    let told = match refused {
        Err(crate::load::streams::Broken::Wire(error)) => format!("{}: {error}", error.kind()),
        Err(crate::load::streams::Broken::Stream(error)) => error.to_string(),
        Ok(_) => "a whole reply".into(),
    };
    assert_eq!(told, "too-large: the reply's body exceeds 4500 bytes");
}

#[test]
fn a_timeout_says_whether_the_head_had_come() {
    let told = |url: &str| {
        let late = Setup { timeout: Nanos(200_000_000), ..over_h2(setup(closed(1), 0.5, 1), 1) };
        let driven = driven(url, late);
        driven.record.operations[0].errors[0].example.clone().unwrap()
    };
    assert!(told(&serve_h2(usize::MAX, |_| Reply::Never)).contains("no reply within"));
    assert!(told(&format!("http://{}", serve_endless())).contains("no end of the reply's body within"));
}

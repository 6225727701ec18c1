//! How do connections come in, how long may each stay, and how do they end? Places, deadlines, HTTP/1.1 and HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::{Extension, Router};
use http::{Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use crate::bearer::Connection;
use crate::pace::Pace;
use crate::reply;

/// The largest head of a request; a token that needs more than half of it is refused by most proxies anyway.
const HEAD_BYTES: usize = 64 * 1024;
/// A client that takes longer to send a head is a slow-loris.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection over which nothing goes in either direction for so long is gone, or takes an answer so slowly that it holds its place
/// for nothing.
const IDLE: Duration = Duration::from_secs(60);
/// Open requests have so long once the end has begun.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// What a client that speaks HTTP/2 sends first (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// More connections wait in the listener's queue.
const CONNECTIONS: usize = 20_000;
/// Descriptors for the store, the listeners and files, which connections may not take.
const OWN_DESCRIPTORS: usize = 128;

/// How many connections may be open: raises the process's limit of descriptors as far as it may.
fn connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = (CONNECTIONS + OWN_DESCRIPTORS) as u64;
    let raised = limit.maximum.map_or(wanted, |most| most.min(wanted)).max(limit.current.unwrap_or(wanted));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
    let have = if set.is_ok() { raised } else { limit.current.unwrap_or(raised) };
    (have as usize).saturating_sub(OWN_DESCRIPTORS).clamp(16, CONNECTIONS)
}

/// A connection's place among those that may be open, counted while it is held.
struct Place {
    open: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(open: &Gauge, permit: OwnedSemaphorePermit) -> Self {
        open.inc();
        Self { open: open.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// How long after its last byte a peer that is still sending is listened to at the end, and how long at most.
const STILL_SENDING: Duration = Duration::from_millis(300);
const LINGER: Duration = Duration::from_secs(2);

/// A connection that ends with an error once nothing has gone over it for `idle`, and that is closed in stages (RFC 9112 section 9.6):
/// where a peer is still sending, as with a body that was refused, a close at once would be a reset, and that could cost it the answer.
struct Lively<S> {
    stream: S,
    idle: Duration,
    last: Instant,
    /// When bytes last came.
    heard: Instant,
    /// When our side of it was closed.
    closed: Option<Instant>,
    check: Pin<Box<Sleep>>,
}

impl<S> Lively<S> {
    fn new(stream: S, idle: Duration) -> Self {
        let now = Instant::now();
        Self { stream, idle, last: now, heard: now, closed: None, check: Box::pin(tokio::time::sleep(idle)) }
    }

    /// What came of an attempt, or the end of patience.
    fn judged<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.last = Instant::now();
            return outcome;
        }
        // The timer is set anew only when it has run out, not with every byte.
        while self.check.as_mut().poll(context).is_ready() {
            let over = self.last + self.idle;
            if Instant::now() >= over {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.check.as_mut().reset(over);
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lively<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, into);
        let outcome = self.judged(outcome, context);
        if into.filled().len() > before {
            self.heard = self.last;
        }
        outcome
    }
}

impl<S: AsyncRead + Unpin> Lively<S> {
    /// Takes what still comes and throws it away, until the peer has closed too, has fallen silent, or has gone on for too long.
    fn poll_linger(&mut self, closed: Instant, context: &mut Context<'_>) -> Poll<()> {
        let mut place = [0; 8192];
        loop {
            let mut into = ReadBuf::new(&mut place);
            match Pin::new(&mut self.stream).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() => self.heard = Instant::now(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    let over = (self.heard + STILL_SENDING).min(closed + LINGER);
                    if Instant::now() >= over {
                        return Poll::Ready(());
                    }
                    self.check.as_mut().reset(over);
                    // Woken by bytes or by the timer; the loop looks again where it has run out meanwhile.
                    ready!(self.check.as_mut().poll(context));
                }
            }
            if self.heard >= closed + LINGER {
                return Poll::Ready(());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lively<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judged(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A flush that has nothing to do is no sign of life.
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_flush(context) {
            return Poll::Ready(outcome);
        }
        self.judged(Poll::Pending, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match self.closed {
            Some(closed) => closed,
            None => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                *self.closed.insert(Instant::now())
            }
        };
        self.poll_linger(closed, context).map(Ok)
    }
}

/// HTTP/2 without TLS announces itself with its first bytes, which are looked at and left where they are.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut seen = [0; HTTP2_PREFACE.len()];
    loop {
        let length = stream.peek(&mut seen).await?;
        if length == 0 || !HTTP2_PREFACE.starts_with(&seen[..length]) {
            return Ok(false);
        }
        if length == HTTP2_PREFACE.len() {
            return Ok(true);
        }
        // The bytes that are there would be there at once again.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True for a request that says which host it is for as RFC 9112 section 3.2 demands: once.
fn names_its_host<B>(request: &Request<B>) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(header::HOST).iter().count() == 1
}

/// How a server answers its connections.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) router: Router,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Connections are told apart: only a mistake wants to know.
    pub(crate) mark_connections: bool,
    /// How many are open.
    pub(crate) open: Gauge,
}

/// HTTP/1.1 and HTTP/2 with their limits.
pub(crate) struct Protocols {
    http1: auto::Builder<TokioExecutor>,
    http2: auto::Builder<TokioExecutor>,
    /// How long a connection over HTTP/2 keeps its place without a request, or with an answer that is not taken.
    patience: Duration,
}

impl Protocols {
    pub(crate) fn new(patience: Duration) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
        builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES as u32).max_concurrent_streams(256);
        Self { http1: builder.clone().http1_only(), http2: builder.http2_only(), patience }
    }

    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
        router: Router,
        watcher: Watcher,
    ) {
        let service = TowerToHyperService::new(router);
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = names_its_host(&request).then(|| service.call(request));
            async move {
                match answer {
                    Some(answer) => answer.await,
                    None => Ok(reply::detail(StatusCode::BAD_REQUEST, "A request names its host once.")),
                }
            }
        });
        // Whoever breaks the protocol or goes away has ended its connection; there is nobody to tell.
        if !is_http2 {
            let connection = self.http1.serve_connection(TokioIo::new(stream), service).into_owned();
            let _ = watcher.watch(connection).await;
            return;
        }
        let pace = Pace::new(self.patience);
        let of = Arc::clone(&pace);
        let service = service_fn(move |request: Request<Incoming>| {
            let (exchange, answer) = (of.begin(), service.call(request));
            async move { answer.await.map(|answer| answer.map(|body| exchange.answers(body))) }
        });
        let connection = self.http2.serve_connection(TokioIo::new(stream), service).into_owned();
        tokio::select! {
            _ = watcher.watch(connection) => {}
            () = pace.over() => {}
        }
    }
}

/// What comes first, within the time that a head may take; `None` where it does not come, or the end has begun. A handshake that
/// dawdles holds a place like a head that does.
async fn at_first<T>(first: impl Future<Output = io::Result<T>>, ending: &mut watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        first = tokio::time::timeout(HEAD_TIMEOUT, first) => first.ok()?.ok(),
        // Who has said nothing yet holds up no end.
        _ = ending.changed() => None,
    }
}

/// Finds out what a new connection speaks, and serves it to its end.
async fn serve_one(
    stream: TcpStream,
    way: Way,
    protocols: Arc<Protocols>,
    watcher: Watcher,
    mut ending: watch::Receiver<bool>,
) {
    let router = if way.mark_connections { way.router.layer(Extension(Connection::default())) } else { way.router };
    let Some(tls) = way.tls else {
        if let Some(is_http2) = at_first(speaks_http2(&stream), &mut ending).await {
            protocols.serve(Lively::new(stream, IDLE), is_http2, router, watcher).await;
        }
        return;
    };
    if let Some(stream) = at_first(tls.accept(Lively::new(stream, IDLE)), &mut ending).await {
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        protocols.serve(stream, is_http2, router, watcher).await;
    }
}

/// Serves whoever connects until `stopped` changes; open requests then have five seconds.
pub(crate) async fn accept(listener: TcpListener, way: Way, mut stopped: watch::Receiver<bool>) {
    let protocols = Arc::new(Protocols::new(IDLE));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(tokio::sync::Semaphore::new(connections()));
    let ending = stopped.clone();
    let next = async {
        loop {
            // A place first: who finds none waits in the listener's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = loop {
                match listener.accept().await {
                    Ok((stream, _)) => break stream,
                    // Out of descriptors: accepting at once again would only spin.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            };
            let _ = stream.set_nodelay(true);
            let place = Place::new(&way.open, place);
            let (way, protocols, watcher) = (way.clone(), Arc::clone(&protocols), graceful.watcher());
            let ending = ending.clone();
            tokio::spawn(async move {
                serve_one(stream, way, protocols, watcher, ending).await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = next => {}
        _ = stopped.changed() => {}
    }
    // Who comes now is refused at once, not left in a queue that nobody serves.
    drop(listener);
    let _ = tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_connection_over_which_nothing_comes_is_given_up() {
        let (_silent, ours) = duplex(64);
        let error = Lively::new(ours, SHORT).read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_that_takes_no_answer_is_given_up() {
        let (_lazy, ours) = duplex(64);
        let error = Lively::new(ours, SHORT).write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_connection_that_goes_on_is_kept() {
        let (mut slow, ours) = duplex(1);
        let writer = tokio::spawn(async move {
            for byte in 0..12 {
                tokio::time::sleep(SHORT / 4).await;
                slow.write_u8(byte).await.unwrap();
            }
        });
        let mut read = Vec::new();
        let mut lively = Lively::new(ours, SHORT);
        lively.read_to_end(&mut read).await.unwrap();
        writer.await.unwrap();
        assert_eq!(read.len(), 12);
    }

    #[tokio::test]
    async fn a_peer_that_is_still_sending_is_listened_to_before_the_end_and_one_that_is_silent_is_not() {
        let (mut peer, ours) = duplex(64);
        let closing = tokio::spawn(async move {
            let mut lively = Lively::new(ours, SHORT);
            lively.read_exact(&mut [0; 10]).await.unwrap();
            let from = Instant::now();
            lively.shutdown().await.unwrap();
            from.elapsed()
        });
        for _ in 0..5 {
            peer.write_all(&[0; 200]).await.unwrap();
            tokio::time::sleep(SHORT).await;
        }
        assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0, "our side is closed");
        drop(peer);
        assert!(closing.await.unwrap() >= SHORT * 3);
        let (_silent, ours) = duplex(64);
        let mut lively = Lively::new(ours, SHORT);
        lively.heard -= STILL_SENDING;
        let from = Instant::now();
        lively.shutdown().await.unwrap();
        assert!(from.elapsed() < STILL_SENDING);
    }

    #[test]
    fn only_http_1_1_must_name_its_host_and_only_once() {
        let request = |version, hosts: &[&str]| {
            let request = Request::builder().version(version);
            hosts.iter().fold(request, |request, host| request.header(header::HOST, *host)).body(()).unwrap()
        };
        assert!(names_its_host(&request(Version::HTTP_11, &["a"])));
        assert!(!names_its_host(&request(Version::HTTP_11, &[])));
        assert!(!names_its_host(&request(Version::HTTP_11, &["a", "a"])));
        assert!(names_its_host(&request(Version::HTTP_10, &[])));
        assert!(names_its_host(&request(Version::HTTP_2, &[])));
    }
}

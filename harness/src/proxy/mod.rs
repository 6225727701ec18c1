//! What is the smallest honest reverse proxy?
//!
//! HTTP/1.1 on both sides, upstream connections kept, bodies streamed, hop-by-hop headers dropped,
//! nothing cached, nothing retried that could act twice. It stands in where no real proxy is installed,
//! and it can make the [`flaws`] of real ones on purpose. Each thread is a loop of its own with its own
//! upstream pool.

mod access_log;
mod delay;
mod flaws;
mod forward;
mod headers;
mod raw;

pub use flaws::{Flaw, Flaws, UnknownFlaw, flaws};

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioIo, TokioTimer};

use access_log::AccessLog;
use delay::Delay;
use forward::Forward;

/// Connections of clients that one thread holds; further ones wait in the kernel's queue.
const MOST_CONNECTIONS: usize = 8192;
/// A client that is idle, or slow to send a head, is let go after this time.
const CLIENT_IDLE: Duration = Duration::from_secs(75);
/// The largest head of a request.
const MOST_HEAD: usize = 64 << 10;
/// Between two writes of the access log.
const LOG_EVERY: Duration = Duration::from_millis(500);

/// How the proxy stands.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Where requests go: `http://127.0.0.1:8080`.
    pub upstream: String,
    /// The port on 127.0.0.1; 0 picks a free one.
    pub port: u16,
    /// Threads, each with a loop and an upstream pool of its own.
    pub threads: usize,
    /// Whether upstream connections are kept.
    pub keepalive: bool,
    /// Added before each request is passed on.
    pub delay: Option<Duration>,
    /// How long the upstream may take to answer; then the client sees 504.
    pub timeout: Duration,
    /// Where requests are logged.
    pub access_log: Option<PathBuf>,
    /// Deliberate faults.
    pub flaws: Flaws,
}

impl Default for ProxyOptions {
    fn default() -> ProxyOptions {
        ProxyOptions {
            upstream: String::new(),
            port: 0,
            threads: 1,
            keepalive: true,
            delay: None,
            timeout: Duration::from_secs(60),
            access_log: None,
            flaws: Flaws::default(),
        }
    }
}

/// Why the proxy cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The upstream is not an address that it can reach.
    #[error("expected an upstream such as `http://127.0.0.1:8080`, saw `{0}`")]
    Upstream(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A proxy that listens.
pub struct Proxy {
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    forward: Arc<Forward>,
}

impl Proxy {
    /// Listens; requests wait until it [serves](Proxy::serve).
    pub fn bind(options: &ProxyOptions) -> Result<Proxy, ProxyError> {
        let io = |what: &str| {
            let what = what.to_owned();
            move |source| ProxyError::Io { what, source }
        };
        let upstream: http::Uri =
            options.upstream.parse().map_err(|_| ProxyError::Upstream(options.upstream.clone()))?;
        let authority = match (upstream.scheme_str(), upstream.authority(), upstream.path()) {
            (Some("http"), Some(authority), "" | "/") => authority.clone(),
            _ => return Err(ProxyError::Upstream(options.upstream.clone())),
        };
        let mut listeners = vec![
            listen(options.port, options.threads > 1)
                .map_err(io(&format!("listening on 127.0.0.1:{}", options.port)))?,
        ];
        let address = listeners[0].local_addr().map_err(io("asking for the port"))?;
        for _ in 1..options.threads.max(1) {
            listeners.push(listen(address.port(), true).map_err(io("listening once more"))?);
        }
        let access_log = match &options.access_log {
            Some(path) => Some(AccessLog::open(path).map_err(io(&format!("opening {}", path.display())))?),
            None => None,
        };
        let delay = options.delay.map(Delay::start).transpose().map_err(io("starting the delay"))?;
        let forward = Forward {
            authority,
            timeout: options.timeout,
            keepalive: options.keepalive,
            delay,
            access_log,
            mischief: flaws::Mischief::new(options.flaws.clone()),
        };
        Ok(Proxy { listeners, address, forward: Arc::new(forward) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on the calling thread and, with several threads, on others, until `stop` is set to true or
    /// dropped.
    pub fn serve(self, stop: tokio::sync::watch::Receiver<bool>) -> Result<(), ProxyError> {
        let mut others = Vec::new();
        let mut listeners = self.listeners;
        let first = listeners.remove(0);
        for (index, listener) in listeners.into_iter().enumerate() {
            let (forward, stop) = (Arc::clone(&self.forward), stop.clone());
            let thread = std::thread::Builder::new().name(format!("proxy-{}", index + 2));
            let spawned = thread.spawn(move || run(listener, &forward, stop));
            others.push(spawned.map_err(|source| ProxyError::Io { what: "starting a thread".to_owned(), source })?);
        }
        let outcome = run(first, &self.forward, stop);
        for thread in others {
            // A thread that panicked has served its connections badly, not ours.
            let _ = thread.join();
        }
        if let Some(log) = &self.forward.access_log {
            log.flush();
        }
        outcome
    }
}

/// A listener; `shared` where several threads listen on one port (a stranger of the same user then could too).
fn listen(port: u16, shared: bool) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// One loop: accepts and serves until it is told to stop.
fn run(
    listener: TcpListener,
    forward: &Arc<Forward>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Result<(), ProxyError> {
    let io = |what: &'static str| move |source| ProxyError::Io { what: what.to_owned(), source };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io("starting a runtime"))?;
    let local = tokio::task::LocalSet::new();
    let (pool, lines) = (forward.pool(), raw::Lines::default());
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(io("listening"))?;
        let room = Arc::new(tokio::sync::Semaphore::new(MOST_CONNECTIONS));
        let flushed = Arc::clone(forward);
        tokio::task::spawn_local(async move {
            while let Some(log) = &flushed.access_log {
                tokio::time::sleep(LOG_EVERY).await;
                log.flush();
            }
        });
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                changed = stop.changed() => match changed {
                    Ok(()) if !*stop.borrow() => continue,
                    _ => return Ok(()),
                },
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                // Out of descriptors, or a client that is gone: what is open must go on.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (forward, pool, lines) = (Arc::clone(forward), pool.clone(), lines.clone());
            tokio::task::spawn_local(async move {
                if let Some(framing) = forward.mischief.framing() {
                    let _ = raw::serve(&forward, framing, &lines, stream).await;
                    return drop(permit);
                }
                let peer = peer.ip().to_string();
                let service = hyper::service::service_fn(|request| forward.exchange(&pool, &peer, request));
                // A connection that breaks is its client's business.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(CLIENT_IDLE)
                    .max_header_size(MOST_HEAD)
                    .max_buf_size(MOST_HEAD)
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(permit);
            });
        }
    })
}

//! How does a probe speak to a server? One blocking connection at a time, every call with a deadline.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::{Endpoint, Limits, Reply, ResponseParser, Scheme, Timing, TlsOptions, WireError};
use crate::clock;
use crate::units::Nanos;

/// The number of the next connection of this process.
pub(crate) fn next_connection() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => &tls.sock,
        }
    }
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(into),
            Stream::Tls(tls) => tls.read(into),
        }
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.write_all(bytes),
            Stream::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
    }
}

/// An instant by which something has to have happened.
#[derive(Clone, Copy)]
struct Deadline {
    until: Nanos,
    after: Duration,
}

impl Deadline {
    fn after(after: Duration) -> Deadline {
        Deadline { until: clock::mono() + Nanos::from(after), after }
    }
    fn left(self, what: &'static str) -> Result<Duration, WireError> {
        match self.until.since(clock::mono()) {
            Nanos(0) => Err(WireError::Timeout { what, after: self.after }),
            // The kernel counts timeouts of sockets in microseconds, and takes zero for "never".
            left => Ok(left.duration().max(Duration::from_micros(1))),
        }
    }
}

/// A blocking HTTP/1.1 connection.
///
/// [`exchange`](Self::exchange) is what most probes need. [`send`](Self::send) and [`receive`](Self::receive)
/// apart allow pipelining and halves of requests; [`hold_last_byte`](Self::hold_last_byte) and
/// [`release`](Self::release) make races: every racer has sent all but its last byte before any is released.
pub struct Connection {
    stream: Stream,
    number: u64,
    connect: Option<Nanos>,
    tls: Option<Nanos>,
    sent: Nanos,
    replies: u64,
    /// Arrived, but not yet part of a reply.
    pending: Vec<u8>,
    held: Option<u8>,
    closes: bool,
    ended: bool,
    limits: Limits,
    parser: ResponseParser,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects (and shakes hands, where the endpoint is encrypted) within `deadline`. Tries the addresses of
    /// the endpoint in order.
    pub fn open(endpoint: &Endpoint, tls: &TlsOptions, deadline: Duration) -> Result<Connection, WireError> {
        let deadline = Deadline::after(deadline);
        let mut refused = None;
        for addr in &endpoint.addrs {
            match connect(addr, deadline) {
                Ok((tcp, took)) => return Connection::over(tcp, took, endpoint, tls, deadline),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or(WireError::Resolve { host: endpoint.host.clone(), reason: "it has no address".into() }))
    }

    fn over(
        tcp: TcpStream,
        took: Nanos,
        endpoint: &Endpoint,
        tls: &TlsOptions,
        deadline: Deadline,
    ) -> Result<Connection, WireError> {
        let mut handshake = None;
        let stream = match endpoint.scheme {
            Scheme::Http => Stream::Plain(tcp),
            Scheme::Https => {
                let from = clock::mono();
                let session = ClientConnection::new(tls.config()?, tls.name(&endpoint.host)?)
                    .map_err(|e| WireError::Tls(e.to_string()))?;
                let mut stream = StreamOwned::new(session, tcp);
                while stream.conn.is_handshaking() {
                    let left = deadline.left("handshake")?;
                    set_timeouts(&stream.sock, left)?;
                    let step = stream.conn.complete_io(&mut stream.sock);
                    match step {
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e)
                            if e.kind() == io::ErrorKind::InvalidData
                                && e.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()) =>
                        {
                            return Err(WireError::Tls(e.to_string()));
                        }
                        Err(e) => return Err(WireError::moving(&e, "in the handshake", "handshake", deadline.after)),
                    }
                }
                handshake = Some(clock::mono().since(from));
                Stream::Tls(Box::new(stream))
            }
        };
        let limits = Limits::default();
        Ok(Connection {
            stream,
            number: next_connection(),
            connect: Some(took),
            tls: handshake,
            sent: Nanos(0),
            replies: 0,
            pending: Vec::new(),
            held: None,
            closes: false,
            ended: false,
            limits,
            parser: ResponseParser::new(limits, false),
            buffer: vec![0; 16 << 10],
        })
    }

    /// Holds replies to other limits than [`Limits::default`].
    pub fn with_limits(mut self, limits: Limits) -> Connection {
        self.limits = limits;
        self.parser = ResponseParser::new(limits, false);
        self
    }

    /// The number of this connection, as in [`Reply::connection`].
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The application protocol that the handshake agreed upon.
    pub fn alpn(&self) -> Option<Vec<u8>> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.conn.alpn_protocol().map(<[u8]>::to_vec),
        }
    }

    /// Our end of the connection.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.tcp().local_addr().ok()
    }

    /// Sends a request and waits for its reply. `head_request` says that it is a HEAD, whose reply has no body.
    /// A server that answers and closes before it has read the whole request is heard nevertheless.
    pub fn exchange(&mut self, bytes: &[u8], head_request: bool, deadline: Duration) -> Result<Reply, WireError> {
        let deadline = Deadline::after(deadline);
        match self.send_within(bytes, deadline) {
            Ok(()) => self.receive_within(head_request, deadline),
            Err(error @ WireError::Reset { .. }) => self.receive_within(head_request, deadline).map_err(|_| error),
            Err(error) => Err(error),
        }
    }

    /// Sends bytes, whatever they are. The stamp `sent` of the next reply is taken just before.
    pub fn send(&mut self, bytes: &[u8], deadline: Duration) -> Result<(), WireError> {
        self.send_within(bytes, Deadline::after(deadline))
    }

    /// Sends all but the last byte, which waits for [`release`](Self::release).
    pub fn hold_last_byte(&mut self, bytes: &[u8], deadline: Duration) -> Result<(), WireError> {
        let Some((last, most)) = bytes.split_last() else { return Ok(()) };
        self.send_within(most, Deadline::after(deadline))?;
        self.held = Some(*last);
        Ok(())
    }

    /// Sends the byte that was held back: the request is complete with it.
    pub fn release(&mut self, deadline: Duration) -> Result<(), WireError> {
        match self.held.take() {
            Some(last) => self.send_within(&[last], Deadline::after(deadline)),
            None => Ok(()),
        }
    }

    /// Waits for the next reply.
    pub fn receive(&mut self, head_request: bool, deadline: Duration) -> Result<Reply, WireError> {
        self.receive_within(head_request, Deadline::after(deadline))
    }

    /// Says that nothing more will be sent, as `shutdown(2)` does for one direction.
    pub fn finish_sending(&mut self) {
        if let Stream::Tls(tls) = &mut self.stream {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
        let _ = self.stream.tcp().shutdown(Shutdown::Write);
    }

    /// Whether another exchange can follow: the server neither closed nor sent anything unasked.
    pub fn is_usable(&mut self) -> bool {
        if self.closes || self.ended || self.held.is_some() || !self.pending.is_empty() {
            return false;
        }
        if self.stream.tcp().set_nonblocking(true).is_err() {
            return false;
        }
        let quiet = match &mut self.stream {
            Stream::Plain(tcp) => matches!(tcp.peek(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock),
            // A TLS 1.3 server sends tickets at any time; they are not data.
            Stream::Tls(tls) => matches!(tls.read(&mut [0]), Err(e) if e.kind() == io::ErrorKind::WouldBlock),
        };
        let blocking = self.stream.tcp().set_nonblocking(false).is_ok();
        self.ended |= !(quiet && blocking);
        !self.ended
    }

    fn send_within(&mut self, bytes: &[u8], deadline: Deadline) -> Result<(), WireError> {
        set_timeouts(self.stream.tcp(), deadline.left("room to send")?)?;
        self.sent = clock::mono();
        self.stream.write_all(bytes).map_err(|e| {
            self.ended = true;
            WireError::moving(&e, "while sending", "room to send", deadline.after)
        })
    }

    fn receive_within(&mut self, head_request: bool, deadline: Deadline) -> Result<Reply, WireError> {
        let result = self.read_reply(head_request, deadline);
        // After a failure nobody knows where the next reply would begin.
        self.ended |= result.is_err();
        result
    }

    fn read_reply(&mut self, head_request: bool, deadline: Deadline) -> Result<Reply, WireError> {
        self.parser.reset(head_request);
        let mut first_byte = None;
        if !self.pending.is_empty() {
            first_byte = Some(clock::mono());
            let used = self.parser.feed(&self.pending)?;
            self.pending.drain(..used);
        }
        let mut done = first_byte;
        while !self.parser.is_complete() {
            set_timeouts(self.stream.tcp(), deadline.left("reply")?)?;
            let got = match self.stream.read(&mut self.buffer) {
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // rustls says so where TCP ended without a close_notify; HTTP framing decides what it means.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(e) => return Err(WireError::moving(&e, self.parser.during(), "reply", deadline.after)),
            };
            let now = clock::mono();
            quick_ack(self.stream.tcp());
            first_byte.get_or_insert(now);
            done = Some(now);
            if got == 0 {
                self.ended = true;
                self.parser.finish()?;
                break;
            }
            let used = self.parser.feed(&self.buffer[..got])?;
            self.pending.extend_from_slice(&self.buffer[used..got]);
        }
        self.closes |= self.parser.closes();
        self.replies += 1;
        Ok(Reply {
            status: self.parser.status(),
            headers: self.parser.fields(),
            body: self.parser.body().to_vec(),
            head: self.parser.head().to_vec(),
            timing: Timing {
                connect: self.connect.take(),
                tls: self.tls.take(),
                sent: self.sent,
                first_byte: first_byte.unwrap_or_default(),
                done: done.unwrap_or_default(),
            },
            connection: self.number,
            reused: self.replies > 1,
            closes: self.parser.closes(),
            interim: self.parser.interim(),
            extra: self.pending.len(),
        })
    }
}

fn connect(addr: &SocketAddr, deadline: Deadline) -> Result<(TcpStream, Nanos), WireError> {
    let left = deadline.left("connection")?;
    let from = clock::mono();
    let tcp = TcpStream::connect_timeout(addr, left)
        .map_err(|e| WireError::connecting(&e, addr.to_string(), deadline.after))?;
    let took = clock::mono().since(from);
    tcp.set_nodelay(true).map_err(|e| WireError::Local { what: "set TCP_NODELAY", reason: e.to_string() })?;
    quick_ack(&tcp);
    Ok((tcp, took))
}

/// The kernel forgets this after a while, so it is said again after each read.
fn quick_ack(tcp: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
}

fn set_timeouts(tcp: &TcpStream, left: Duration) -> Result<(), WireError> {
    tcp.set_read_timeout(Some(left))
        .and_then(|()| tcp.set_write_timeout(Some(left)))
        .map_err(|e| WireError::Local { what: "set a timeout", reason: e.to_string() })
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("replies", &self.replies)
            .finish_non_exhaustive()
    }
}

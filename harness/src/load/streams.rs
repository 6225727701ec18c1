//! How is a share of the plan driven over HTTP/2? A runtime on one core, under the same ledger; its clock is a kernel timer.
//!
//! Requests of one connection overlap, so that reading and writing are a protocol of their own: the library's tasks do
//! both, and the loop decides when and what. The runtime's timer wheel is used for opening connections only.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use super::LoadError;
use super::flight::{Arrival, Flight, LIMITS};
use super::ledger::{Choice, Ledger};
use super::recorder::Failure;
use super::shared::{Done, Shared, thread_cpu};
use crate::clock;
use crate::scenario::Idle;
use crate::target::Answer;
use crate::units::Nanos;
use crate::wire::WireError;

/// Due arrivals sent before replies are looked at again.
const BURST: usize = 32;
/// How often a request is sent again that a server says it did not look at, which is safe for every method (RFC 9113
/// section 8.7); connections that are recycled together can turn it away more than once.
const MOST_AGAIN: u8 = 8;
/// What a server may send on one stream, and on one connection, before we say that we have read it.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;

/// Drives until the stop rule says so, and hands back what was seen.
pub(super) fn run(ledger: Ledger<'_>, connections: usize) -> Result<Done, LoadError> {
    let machine = |e: std::io::Error| LoadError::Machine(format!("a runtime: {e}"));
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(machine);
    match made {
        Ok(runtime) => LocalSet::new().block_on(&runtime, Driver::new(ledger, connections).drive()),
        Err(error) => {
            let mut ledger = ledger;
            ledger.begin(Err(error))?;
            Err(LoadError::Internal("a loop without a runtime".into()))
        }
    }
}

/// A timer of the kernel, exact to the nanosecond as far as the machine is.
struct Alarm(AsyncFd<rustix::fd::OwnedFd>);

impl Alarm {
    fn new() -> Result<Alarm, LoadError> {
        let failed = |e: std::io::Error| LoadError::Machine(format!("a kernel timer: {e}"));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|e| failed(e.into()))?;
        #[expect(deprecated, reason = "its successor is unsafe, and promises what an owned descriptor gives anyway")]
        let watched = AsyncFd::new(fd);
        Ok(Alarm(watched.map_err(failed)?))
    }

    /// Rings once after this time; an earlier setting is forgotten.
    fn set(&self, after: Nanos) {
        let after = after.0.max(1);
        let once = Timespec { tv_sec: (after / 1_000_000_000) as i64, tv_nsec: (after % 1_000_000_000) as i64 };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: once };
        // The arguments are in range, so that setting cannot fail; if it did, the loop would poll.
        let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting);
    }

    async fn rings(&self) {
        while let Ok(mut ready) = self.0.readable().await {
            let mut times = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut times) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                _ => {
                    ready.clear_ready();
                    return;
                }
            }
        }
    }
}

/// A whole reply.
struct Whole {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    first_byte: Nanos,
    done: Nanos,
}

impl Answer for Whole {
    fn status(&self) -> u16 {
        self.status
    }
    fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
    fn body(&self) -> &[u8] {
        &self.body
    }
}

/// What tasks tell the loop.
enum News {
    /// A stream has ended.
    Ended { slot: usize, generation: u32, result: Result<Whole, h2::Error> },
    /// A connection stands, or does not.
    Opened { line: usize, result: Result<Opened, WireError> },
}

#[derive(Default)]
struct Inbox {
    news: RefCell<VecDeque<News>>,
    bell: Notify,
}

impl Inbox {
    fn put(&self, news: News) {
        self.news.borrow_mut().push_back(news);
        self.bell.notify_one();
    }
    fn take(&self) -> Option<News> {
        self.news.borrow_mut().pop_front()
    }
}

struct Opened {
    sender: SendRequest<Bytes>,
    connect: Nanos,
    tls: Option<Nanos>,
}

/// One connection.
#[derive(Default)]
struct Line {
    sender: Option<SendRequest<Bytes>>,
    opening: bool,
    /// Streams on their way.
    busy: u32,
    /// Raised with every connection, so that the end of an old one is told from that of the new.
    generation: u32,
    /// What opening it took, for the first request that waited for it.
    fresh: Option<(Nanos, Option<Nanos>)>,
    /// Why it could not be opened.
    failed: Option<WireError>,
}

/// One stream on its way.
#[derive(Default)]
struct Slot {
    flight: Option<Flight>,
    task: Option<AbortHandle>,
    line: usize,
    line_generation: u32,
    generation: u32,
}

struct Driver<'a> {
    shared: &'a Shared<'a>,
    ledger: Ledger<'a>,
    inbox: Rc<Inbox>,
    lines: Vec<Line>,
    next_line: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Streams in the order in which they were sent; all have the same patience.
    deadlines: VecDeque<(usize, u32, Nanos)>,
    /// Requests that a server turned away unread; they are sent once more.
    again: VecDeque<Flight>,
    out: Vec<u8>,
    /// By script.
    moulds: Vec<Mould>,
    /// `https://host:port`, before every path.
    origin: String,
}

impl<'a> Driver<'a> {
    fn new(ledger: Ledger<'a>, connections: usize) -> Driver<'a> {
        let shared = ledger.shared;
        let slots = connections * shared.streams as usize;
        let scheme = if shared.tls.is_some() { "https" } else { "http" };
        let authority = shared.target.map_or_else(|| shared.addr.to_string(), |t| t.endpoint.authority());
        Driver {
            shared,
            ledger,
            inbox: Rc::default(),
            lines: (0..connections).map(|_| Line::default()).collect(),
            next_line: 0,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            free: (0..slots).rev().collect(),
            deadlines: VecDeque::new(),
            again: VecDeque::new(),
            out: Vec::new(),
            moulds: shared.scripts.iter().map(|_| Mould::default()).collect(),
            origin: format!("{scheme}://{authority}"),
        }
    }

    async fn drive(mut self) -> Result<Done, LoadError> {
        let opened = self.open_all().await;
        self.ledger.begin(opened)?;
        let alarm = Alarm::new()?;
        let before = thread_cpu();
        let mut cpu_at_recording = None;
        loop {
            let turn = clock::mono();
            if cpu_at_recording.is_none() && turn >= self.ledger.recording {
                cpu_at_recording = Some(thread_cpu());
            }
            if turn >= self.ledger.next_tick {
                self.ledger.tick(turn);
            }
            if turn >= self.ledger.next_second && turn < self.ledger.ends {
                self.ledger.hand_over(turn);
            }
            let mut worked = false;
            while let Some(news) = self.inbox.take() {
                self.hear(news);
                worked = true;
            }
            if turn < self.ledger.ends {
                worked |= self.release(turn);
            } else if self.ledger.in_flight == 0 || turn >= self.ledger.drained {
                break;
            }
            self.time_out(turn);
            let now = clock::mono();
            let mut until = self.ledger.next_event(now);
            if let Some((_, _, wire)) = self.deadlines.front() {
                until = until.min(*wire + self.shared.timeout);
            }
            let left = until.since(now);
            let awake = self.shared.idle == Idle::Poll && (self.ledger.in_flight > 0 || left <= self.shared.overshoot);
            if awake || left.0 == 0 || worked {
                // The library's tasks read and write now.
                tokio::task::yield_now().await;
                if worked && awake && turn >= self.ledger.recording {
                    self.ledger.done.busy = self.ledger.done.busy + clock::mono().since(turn);
                }
                continue;
            }
            let early = if self.shared.idle == Idle::Poll { self.shared.overshoot } else { Nanos(0) };
            alarm.set(left.since(early));
            tokio::select! {
                () = alarm.rings() => {}
                () = self.inbox.bell.notified() => {}
            }
        }
        let cpu = thread_cpu();
        self.ledger.done.cpu = cpu.since(before);
        if self.shared.idle == Idle::Sleep {
            // A loop that sleeps works whenever it is on the processor.
            self.ledger.done.busy = cpu.since(cpu_at_recording.unwrap_or(cpu));
        }
        let flights = self.slots.iter().filter_map(|slot| slot.flight.as_ref()).chain(&self.again);
        let flying: Vec<Arrival> = flights.map(|flight| flight.arrival).collect();
        Ok(self.ledger.close(&flying))
    }

    async fn open_all(&mut self) -> Result<(), LoadError> {
        for line in 0..self.lines.len() {
            let opened = open(self.shared.addr, self.shared.tls.clone(), self.shared.timeout.duration()).await?;
            self.opened(line, Ok(opened));
            if self.shared.cancel.load(Ordering::Relaxed) {
                return Err(LoadError::Cancelled);
            }
        }
        self.lines.iter_mut().for_each(|line| line.fresh = None);
        Ok(())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Opened { line, result } => self.opened(line, result),
            News::Ended { slot, generation, result } => {
                if self.slots[slot].generation == generation {
                    self.ended(slot, result);
                }
            }
        }
    }

    fn opened(&mut self, at: usize, result: Result<Opened, WireError>) {
        let line = &mut self.lines[at];
        line.opening = false;
        line.busy = 0;
        line.generation = line.generation.wrapping_add(1);
        match result {
            Ok(opened) => {
                line.sender = Some(opened.sender);
                line.fresh = Some((opened.connect, opened.tls));
            }
            Err(error) => line.failed = Some(error),
        }
    }

    /// A connection with room for a stream; one that is gone begins to be opened again.
    fn line(&mut self) -> Option<usize> {
        for step in 0..self.lines.len() {
            let at = (self.next_line + step) % self.lines.len();
            let line = &mut self.lines[at];
            match &line.sender {
                Some(sender) => {
                    let most =
                        self.shared.streams.min(u32::try_from(sender.current_max_send_streams()).unwrap_or(u32::MAX));
                    if line.busy < most {
                        self.next_line = at + 1;
                        return Some(at);
                    }
                }
                // A failure to open is the next request's; after it we try again.
                None if line.failed.is_some() => {
                    self.next_line = at + 1;
                    return Some(at);
                }
                None if !line.opening => {
                    line.opening = true;
                    let (inbox, addr, tls) = (Rc::clone(&self.inbox), self.shared.addr, self.shared.tls.clone());
                    let patience = self.shared.timeout.duration();
                    self.ledger.done.opened += 1;
                    spawn_local(async move {
                        let result = open(addr, tls, patience).await;
                        inbox.put(News::Opened { line: at, result });
                    });
                }
                None => {}
            }
        }
        None
    }

    /// Sends what is due. Says whether anything was.
    fn release(&mut self, now: Nanos) -> bool {
        for sent in 0..BURST {
            if let Some(flight) = self.again.front().copied() {
                let Some(line) = self.line() else { return sent > 0 };
                let Some(slot) = self.free.pop() else { return sent > 0 };
                self.again.pop_front();
                self.send(slot, line, flight);
                continue;
            }
            let waiting = self.ledger.waiting();
            if let Some(waiting) = waiting
                && self.dispatch(waiting)
            {
                self.ledger.served();
                continue;
            }
            let Some(arrival) = self.ledger.next_due(now) else { return sent > 0 };
            if waiting.is_some() || !self.dispatch(arrival) {
                self.ledger.queue(arrival);
            }
        }
        true
    }

    /// Gives an arrival a stream and a session and sends it. Says whether it could.
    fn dispatch(&mut self, arrival: Arrival) -> bool {
        if self.free.is_empty() {
            return false;
        }
        let Some(line) = self.line() else { return false };
        let Some(choice) = self.ledger.choose(&arrival) else { return false };
        let Some(slot) = self.free.pop() else { return false };
        self.ledger.in_flight += 1;
        let wire = clock::mono();
        self.ledger.sent(&arrival, wire);
        let flight = Flight {
            arrival,
            wire,
            first_byte: Nanos(0),
            session: choice.session,
            spoil: choice.spoil,
            expired: choice.expired,
            ended: choice.ended,
            again: 0,
            connect: None,
            tls: None,
        };
        self.send(slot, line, flight);
        true
    }

    fn send(&mut self, at: usize, line_at: usize, mut flight: Flight) {
        let line = &mut self.lines[line_at];
        if let Some((connect, tls)) = line.fresh.take() {
            (flight.connect, flight.tls) = (Some(connect), tls);
        }
        let slot = &mut self.slots[at];
        slot.generation = slot.generation.wrapping_add(1);
        (slot.line, slot.line_generation) = (line_at, line.generation);
        slot.flight = Some(flight);
        slot.task = None;
        self.deadlines.push_back((at, slot.generation, flight.wire));
        if let Some(error) = line.failed.take() {
            return self.fail(at, Failure::Wire(error.kind()), &error);
        }
        line.busy += 1;
        let choice =
            Choice { session: flight.session, spoil: flight.spoil, expired: flight.expired, ended: flight.ended };
        if let Err(error) = self.ledger.assemble(&flight.arrival, &choice, &mut self.out) {
            return self.fail(at, Failure::NoToken, &error);
        }
        let mould = &mut self.moulds[usize::from(flight.arrival.operation)];
        let request = match mould.message(&self.out, &self.origin) {
            Ok(request) => request,
            Err(error) => return self.fail(at, Failure::Wire("protocol"), &error),
        };
        let (parts, body) = request.into_parts();
        let Some(sender) = &mut self.lines[line_at].sender else { return };
        let sent =
            sender.send_request(Request::from_parts(parts, ()), body.is_empty()).and_then(|(reply, mut stream)| {
                if !body.is_empty() {
                    stream.send_data(body, true)?;
                }
                Ok(reply)
            });
        match sent {
            Ok(reply) => {
                let (inbox, generation) = (Rc::clone(&self.inbox), self.slots[at].generation);
                let task = spawn_local(async move {
                    let result = receive(reply).await;
                    inbox.put(News::Ended { slot: at, generation, result });
                });
                self.slots[at].task = Some(task.abort_handle());
            }
            Err(error) => self.ended(at, Err(error)),
        }
    }

    /// A stream has ended, with its reply or without.
    fn ended(&mut self, at: usize, result: Result<Whole, h2::Error>) {
        match result {
            Ok(whole) => {
                let Some(mut flight) = self.land(at) else { return };
                self.ledger.in_flight -= 1;
                flight.first_byte = whole.first_byte;
                self.ledger.completed(&flight, whole.done, &whole);
            }
            Err(error) => {
                let (line, generation) = (self.slots[at].line, self.slots[at].line_generation);
                if (error.is_io() || error.is_go_away()) && self.lines[line].generation == generation {
                    self.lines[line].sender = None;
                }
                let Some(flight) = self.slots[at].flight else { return };
                if turned_away(&error) && flight.again < MOST_AGAIN {
                    self.land(at);
                    self.ledger.done.again += 1;
                    self.again.push_back(Flight { again: flight.again + 1, ..flight });
                } else {
                    self.fail(at, Failure::Wire(kind(&error)), &error);
                }
            }
        }
    }

    /// Takes the flight off its stream.
    fn land(&mut self, at: usize) -> Option<Flight> {
        let slot = &mut self.slots[at];
        let flight = slot.flight.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.task = None;
        let line = &mut self.lines[slot.line];
        if line.generation == slot.line_generation {
            line.busy = line.busy.saturating_sub(1);
        }
        self.free.push(at);
        Some(flight)
    }

    fn fail(&mut self, at: usize, failure: Failure, why: &dyn std::fmt::Display) {
        let Some(flight) = self.land(at) else { return };
        self.ledger.in_flight -= 1;
        self.ledger.failed(&flight, clock::mono(), failure, &why.to_string());
    }

    /// Ends what has taken too long: the stream is reset, the connection goes on.
    fn time_out(&mut self, now: Nanos) {
        while let Some((at, generation, wire)) = self.deadlines.front().copied() {
            let gone = self.slots[at].generation != generation;
            if !gone && wire + self.shared.timeout > now {
                return;
            }
            self.deadlines.pop_front();
            if !gone {
                if let Some(task) = self.slots[at].task.take() {
                    task.abort();
                }
                let error = WireError::Timeout { what: "reply", after: self.shared.timeout.duration() };
                self.fail(at, Failure::Wire(error.kind()), &error);
            }
        }
    }
}

/// Whether the server says that it did not look at the request.
fn turned_away(error: &h2::Error) -> bool {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        _ => false,
    }
}

/// The name under which a failure is counted.
fn kind(error: &h2::Error) -> &'static str {
    match error.get_io() {
        Some(io) => WireError::moving(io, "in the reply", "reply", Duration::ZERO).kind(),
        None if error.is_reset() || error.is_go_away() => "reset",
        None if error.is_io() => "closed",
        None => "protocol",
    }
}

/// The reply of one stream.
async fn receive(reply: ResponseFuture) -> Result<Whole, h2::Error> {
    let (parts, mut stream) = reply.await?.into_parts();
    let first_byte = clock::mono();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        let room = LIMITS.keep.saturating_sub(body.len()).min(chunk.len());
        body.extend_from_slice(&chunk[..room]);
    }
    Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, first_byte, done: clock::mono() })
}

/// What the requests of one script have in common, so that it is read once: the address and the names of the fields.
#[derive(Default)]
struct Mould {
    path: String,
    uri: http::Uri,
    names: Vec<(String, Option<HeaderName>)>,
}

impl Mould {
    /// The bytes of an HTTP/1.1 request as a message: what the scripts splice serves both protocols.
    fn message(&mut self, bytes: &[u8], origin: &str) -> Result<Request<Bytes>, LoadError> {
        let wrong = |what: &dyn std::fmt::Display| LoadError::Internal(format!("a request that is none: {what}"));
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut fields);
        let head = match parsed.parse(bytes).map_err(|e| wrong(&e))? {
            httparse::Status::Complete(head) => head,
            httparse::Status::Partial => return Err(wrong(&"its head has no end")),
        };
        let path = parsed.path.unwrap_or("/");
        if self.path != path {
            self.uri = [origin, path].concat().parse().map_err(|e| wrong(&e))?;
            path.clone_into(&mut self.path);
        }
        let mut request = Request::new(Bytes::copy_from_slice(&bytes[head..]));
        *request.method_mut() = Method::from_bytes(parsed.method.unwrap_or("GET").as_bytes()).map_err(|e| wrong(&e))?;
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = http::Version::HTTP_2;
        request.headers_mut().reserve(parsed.headers.len());
        for (n, field) in parsed.headers.iter().enumerate() {
            if self.names.get(n).is_none_or(|(known, _)| known != field.name) {
                self.names.truncate(n);
                self.names.push((field.name.to_owned(), travels(field.name).map_err(|e| wrong(&e))?));
            }
            if let Some((_, Some(name))) = self.names.get(n) {
                let value = HeaderValue::from_bytes(field.value).map_err(|e| wrong(&e))?;
                request.headers_mut().append(name.clone(), value);
            }
        }
        Ok(request)
    }
}

/// The name of a field; none for what speaks of one connection, which has no place in HTTP/2 (RFC 9113 section 8.2.2).
fn travels(name: &str) -> Result<Option<HeaderName>, http::header::InvalidHeaderName> {
    let stays = ["host", "connection", "transfer-encoding", "keep-alive"].iter().any(|n| name.eq_ignore_ascii_case(n));
    if stays { Ok(None) } else { HeaderName::from_bytes(name.as_bytes()).map(Some) }
}

/// Opens a connection, shakes hands, and has a task of its own read and write.
async fn open(
    addr: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    patience: Duration,
) -> Result<Opened, WireError> {
    let late = |_| WireError::Timeout { what: "connection", after: patience };
    tokio::time::timeout(patience, async {
        let from = clock::mono();
        let tcp = tokio::net::TcpStream::connect(addr)
            .await
            .map_err(|e| WireError::connecting(&e, addr.to_string(), patience))?;
        tcp.set_nodelay(true).map_err(|e| WireError::Local { what: "set TCP_NODELAY", reason: e.to_string() })?;
        let connect = clock::mono().since(from);
        let Some((config, name)) = tls else { return Ok(Opened { sender: greet(tcp).await?, connect, tls: None }) };
        let from = clock::mono();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => WireError::Tls(e.to_string()),
            _ => WireError::moving(&e, "in the handshake", "handshake", patience),
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(WireError::Tls("the server does not offer HTTP/2 (ALPN `h2`)".into()));
        }
        let took = clock::mono().since(from);
        Ok(Opened { sender: greet(stream).await?, connect, tls: Some(took) })
    })
    .await
    .map_err(late)?
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S) -> Result<SendRequest<Bytes>, WireError> {
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await
        .map_err(|e| WireError::Protocol(format!("no HTTP/2: {e}")))?;
    // How it ends is told to each of its streams.
    spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mould_gives_each_request_its_own_values() {
        let mut mould = Mould::default();
        let mut made = |text: &str| mould.message(text.as_bytes(), "https://a.test:1").unwrap();
        let one = made("GET /x?y=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer one\r\nX: 1\r\n\r\n");
        assert_eq!((one.method().as_str(), one.uri().to_string()), ("GET", "https://a.test:1/x?y=1".to_owned()));
        assert_eq!((one.headers().len(), one.headers()["authorization"].as_bytes()), (2, &b"Bearer one"[..]));
        let two = made("GET /x?y=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer two\r\nX: 1\r\n\r\n");
        assert_eq!(two.headers()["authorization"], "Bearer two");
        // Other fields in the same places, another path, and a body.
        let three = made("POST /z HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!((three.uri().path(), three.body().as_ref()), ("/z", &b"hi"[..]));
        assert_eq!((three.headers().len(), &three.headers()["content-length"]), (1, &HeaderValue::from_static("2")));
        assert!(mould.message(b"no request", "https://a.test:1").is_err());
    }
}

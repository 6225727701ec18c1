//! Which servers are known by arithmetic? One loop on loopback that answers as told, to the microsecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};

use crate::clock;
use crate::load::LoadError;
use crate::load::recorder::Samples;
use crate::units::Nanos;

/// What is asked of these servers.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The server stays awake for this long before a reply is due.
const AWAKE: Nanos = Nanos(150_000);
/// How often it looks whether it is to stop.
const LOOK: Nanos = Nanos(20_000_000);
/// Stamps of arrivals that are kept at most.
const STAMPS: usize = 4_000_000;
const EVENTS: usize = 256;
const LISTENER: u64 = u64::MAX;

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// At once.
    Null,
    /// At once, and never asleep: its stamps of arrivals are exact.
    Awake,
    /// At once, but from its `nth` request on nothing at all for a while.
    Frozen {
        /// The request, from 1, that begins it.
        nth: u64,
        /// How long it lasts.
        lasts: Nanos,
    },
    /// Every so manieth request takes long.
    TwoValued {
        /// What most take.
        fast: Nanos,
        /// What the others take.
        slow: Nanos,
        /// Which: every fifth with 5.
        every: u64,
    },
    /// One after the other, so many a second.
    Limited {
        /// Requests per second.
        per_s: f64,
    },
    /// Each after the same time.
    Later(Nanos),
}

/// What a server saw of itself.
#[derive(Debug)]
pub struct Seen {
    /// How much later than it was to be each reply was written, in ns.
    pub late: Histogram<u64>,
    /// How long a limited server had nothing to do after its first request. It never makes up for that, so it stands in every
    /// wait after it.
    pub idle: Nanos,
    /// When requests arrived, on the clock of [`clock::mono`].
    pub arrivals: Vec<Nanos>,
}

/// A server on a thread of its own, until it is stopped or dropped.
#[derive(Debug)]
pub struct KnownServer {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Seen, LoadError>>>,
}

impl KnownServer {
    /// Starts one on a free port of 127.0.0.1, on this processor if one is given.
    pub fn start(behaviour: Behaviour, cpu: Option<usize>) -> Result<KnownServer, LoadError> {
        KnownServer::start_at(behaviour, cpu, 0)
    }

    /// The same on a port of choice.
    pub fn start_at(behaviour: Behaviour, cpu: Option<usize>, port: u16) -> Result<KnownServer, LoadError> {
        let machine = |e: std::io::Error| LoadError::Machine(format!("a server of our own: {e}"));
        let listener = TcpListener::bind(("127.0.0.1", port)).map_err(machine)?;
        listener.set_nonblocking(true).map_err(machine)?;
        let addr = listener.local_addr().map_err(machine)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let run = move || {
            crate::load::drive::on_own_thread(cpu, || Loop::new(behaviour, listener).and_then(|l| l.run(&told)))
        };
        let thread = std::thread::Builder::new().name("known-server".to_owned()).spawn(run).map_err(machine)?;
        Ok(KnownServer { addr, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it and says what it saw.
    pub fn stop(mut self) -> Result<Seen, LoadError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(seen)) => seen,
            _ => Err(LoadError::Internal("a server of our own ended in a panic".into())),
        }
    }
}

impl Drop for KnownServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Peer {
    stream: TcpStream,
    /// How much of the blank line that ends a request was seen.
    matched: usize,
}

struct Loop {
    behaviour: Behaviour,
    listener: TcpListener,
    epoll: rustix::fd::OwnedFd,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    /// Replies that are due later.
    due: BinaryHeap<Reverse<(Nanos, usize)>>,
    seen: u64,
    frozen_until: Nanos,
    last_due: Nanos,
    idle: Nanos,
    late: Samples,
    arrivals: Vec<Nanos>,
}

impl Loop {
    fn new(behaviour: Behaviour, listener: TcpListener) -> Result<Loop, LoadError> {
        let failed = |e: rustix::io::Errno| LoadError::Machine(format!("epoll: {e}"));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).map_err(failed)?;
        Ok(Loop {
            behaviour,
            listener,
            epoll,
            peers: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::with_capacity(4096),
            seen: 0,
            frozen_until: Nanos(0),
            last_due: Nanos(0),
            idle: Nanos(0),
            late: Samples::new()?,
            arrivals: Vec::with_capacity(STAMPS / 4),
        })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<Seen, LoadError> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; 16 << 10];
        while !stop.load(Ordering::Relaxed) {
            self.answer();
            let next = self.due.peek().map_or(LOOK, |Reverse((at, _))| at.since(clock::mono()));
            let timeout = if next <= AWAKE || self.behaviour == Behaviour::Awake {
                Nanos(0)
            } else {
                Nanos(next.0 - AWAKE.0).min(LOOK)
            };
            let timeout = Timespec { tv_sec: 0, tv_nsec: timeout.0 as i64 };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(LoadError::Machine(format!("epoll: {e}"))),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    peer => self.hear(peer as usize, &mut buffer),
                }
            }
        }
        Ok(Seen { late: self.late.histogram, idle: self.idle, arrivals: self.arrivals })
    }

    fn accept(&mut self) -> Result<(), LoadError> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(LoadError::Machine(format!("a server of our own: {e}"))),
            };
            let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            let at = self.free.pop().unwrap_or_else(|| {
                self.peers.push(None);
                self.peers.len() - 1
            });
            let data = epoll::EventData::new_u64(at as u64);
            if ready.is_ok() && epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).is_ok() {
                self.peers[at] = Some(Peer { stream, matched: 0 });
            } else {
                self.free.push(at);
            }
        }
    }

    /// Reads what came and makes each whole request due.
    fn hear(&mut self, at: usize, buffer: &mut [u8]) {
        const END: &[u8] = b"\r\n\r\n";
        let Some(Some(peer)) = self.peers.get_mut(at) else { return };
        let got = match peer.stream.read(buffer) {
            Ok(got) if got > 0 => got,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            _ => {
                self.peers[at] = None;
                self.free.push(at);
                return;
            }
        };
        let now = clock::mono();
        let mut requests = 0;
        for byte in &buffer[..got] {
            peer.matched = if *byte == END[peer.matched] { peer.matched + 1 } else { usize::from(*byte == b'\r') };
            if peer.matched == END.len() {
                peer.matched = 0;
                requests += 1;
            }
        }
        for _ in 0..requests {
            self.seen += 1;
            if self.arrivals.len() < STAMPS {
                self.arrivals.push(now);
            }
            let due = self.due_of(now);
            if due <= now {
                self.reply(at, now);
            } else {
                self.due.push(Reverse((due, at)));
            }
        }
    }

    /// When the reply to the request that has just come is due.
    fn due_of(&mut self, now: Nanos) -> Nanos {
        match self.behaviour {
            Behaviour::Null | Behaviour::Awake => now,
            Behaviour::Later(by) => now + by,
            Behaviour::TwoValued { fast, slow, every } => {
                now + if self.seen.is_multiple_of(every) { slow } else { fast }
            }
            Behaviour::Frozen { nth, lasts } => {
                if self.seen == nth {
                    self.frozen_until = now + lasts;
                }
                self.frozen_until.max(now)
            }
            Behaviour::Limited { per_s } => {
                if self.last_due > Nanos(0) {
                    self.idle = self.idle + now.since(self.last_due);
                }
                self.last_due = self.last_due.max(now) + Nanos((1e9 / per_s) as u64);
                self.last_due
            }
        }
    }

    /// Writes what is due.
    fn answer(&mut self) {
        while let Some(Reverse((due, at))) = self.due.peek().copied() {
            if due > clock::mono() {
                return;
            }
            self.due.pop();
            self.reply(at, due);
        }
    }

    fn reply(&mut self, at: usize, due: Nanos) {
        if let Some(Some(peer)) = self.peers.get_mut(at) {
            // A peer that does not take 40 bytes is not one of ours.
            let _ = peer.stream.write(REPLY);
            self.late.record(clock::mono().since(due).0);
        }
    }
}

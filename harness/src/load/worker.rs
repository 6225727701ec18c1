//! How is a share of the plan driven? One loop on one core: pacer, stop rule, connections and recorder meet here.

mod exchange;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Barrier};

use rustix::event::{Timespec, epoll};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::LoadError;
use super::flight::{Arrival, Conn, Flight, NONE, State};
use super::plan::{Arrivals, Pacer, Purpose, StopRule, Stripe, uniform};
use super::recorder::{Failure, IntervalSamples};
use super::script::{Role, Script, Slots, Spoil};
use super::session::Sessions;
use crate::clock;
use crate::record::Accounting;
use crate::scenario::Idle;
use crate::target::{Issued, Target, TokenUse};
use crate::units::Nanos;
use crate::wire::WireError;

/// Arrivals that wait for a connection; more are skipped, and that voids the run.
const RING: usize = 16 << 10;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Due arrivals sent before replies are looked at again.
const BURST: usize = 32;
/// Connections that are being opened at once before the start: servers' backlogs are short.
const OPENING: usize = 64;
/// Housekeeping, and the longest sleep.
const TICK: Nanos = Nanos(50_000_000);
/// Pause of a closed user after a failure on the wire: a dead server must not be hammered.
const AFTER_FAILURE: Nanos = Nanos(10_000_000);
/// Examples of failures that one loop keeps.
const EXAMPLES: usize = 32;

/// Who decides when the next request is due.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Open(Pacer),
    Closed { users: u32, think: Nanos },
}

/// What all loops of a drive share and only read.
pub(crate) struct Shared<'a> {
    pub scripts: Vec<Script>,
    /// Which token each script presents.
    pub uses: Vec<TokenUse>,
    /// Upper ends of the scripts' shares of the mix, the last one 1.
    pub mix: Vec<f64>,
    pub target: Option<&'a Target>,
    pub others: Vec<String>,
    pub lifetime_s: Option<f64>,
    pub addr: SocketAddr,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub model: Model,
    pub stop: StopRule,
    pub seed: u64,
    pub timeout: Nanos,
    pub idle: Idle,
    pub overshoot: Nanos,
    pub expired: f64,
    pub tampered: f64,
    pub lead: Nanos,
    /// Whether chores may refresh, or have to log in.
    pub can_refresh: bool,
    /// Set once, after all connections stand.
    pub start: AtomicU64,
    pub ready: Barrier,
    pub cancel: AtomicBool,
}

/// What a loop shows while it runs, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Live {
    pub completed: AtomicU64,
    pub failed: AtomicU64,
    pub in_flight: AtomicU64,
}

/// Something to do for a session off the timed path.
#[derive(Debug)]
pub(crate) struct Chore {
    pub worker: usize,
    pub session: u32,
    /// Refresh with this token; a login where absent.
    pub refresh: Option<String>,
}

/// What came of a chore.
pub(crate) type Renewed = (u32, Option<Issued>);

/// What a loop hands back.
#[derive(Debug)]
pub(crate) struct Done {
    pub sessions: Sessions,
    pub accounting: Vec<Accounting>,
    /// Recorded arrivals that were sent by the end.
    pub sent: u64,
    /// Time in which there was work, since recording began.
    pub busy: Nanos,
    pub cpu: Nanos,
    pub examples: Vec<(u16, Failure, String)>,
    /// Failures that were ours: descriptors, ports.
    pub ours: Option<String>,
    /// Replies with bytes behind their body.
    pub extra_bytes: u64,
    /// Requests sent again after a silent close.
    pub again: u64,
    /// Connections opened while it was recorded.
    pub opened: u64,
}

/// The ways between a loop and the collecting thread.
pub(crate) struct Lines {
    pub full: Sender<(usize, Box<IntervalSamples>)>,
    pub empty: Receiver<Box<IntervalSamples>>,
    pub chores: SyncSender<Chore>,
    pub renewed: Receiver<Renewed>,
}

/// The due times of a loop.
enum Due<'a> {
    Open { arrivals: Arrivals<'a>, next: Option<(u64, Nanos)> },
    Closed { think: Nanos, ready: VecDeque<(Nanos, u32)>, n: u64, of: u64 },
}

/// One loop.
pub(crate) struct Worker<'a> {
    shared: &'a Shared<'a>,
    live: &'a Live,
    index: usize,
    lines: Lines,
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    conns: Vec<Conn>,
    free: VecDeque<u32>,
    ring: VecDeque<Arrival>,
    due: Due<'a>,
    first_deadline: u32,
    last_deadline: u32,
    in_flight: u64,
    sessions: Sessions,
    interval: Box<IntervalSamples>,
    accounting: Vec<Accounting>,
    start: Nanos,
    recording: Nanos,
    ends: Nanos,
    drained: Nanos,
    next_second: Nanos,
    next_tick: Nanos,
    done: Done,
    opening: usize,
    /// Sessions that wait for a login or a refresh off the timed path.
    tired: VecDeque<u32>,
    /// When access tokens end, the earliest first; only those that end during this drive.
    ends_of_tokens: BinaryHeap<Reverse<(Nanos, u32)>>,
}

/// A request without values.
struct NoSlots;
impl Slots for NoSlots {
    fn slot(&self, _: usize) -> &[u8] {
        &[]
    }
}

/// A request with a token that belongs to no session.
struct OneSlot<'a>(&'a [u8]);
impl Slots for OneSlot<'_> {
    fn slot(&self, index: usize) -> &[u8] {
        if index == 0 { self.0 } else { &[] }
    }
}

impl Shared<'_> {
    /// The script of arrival `n`.
    fn operation(&self, n: u64) -> usize {
        let u = uniform(self.seed, n, Purpose::Operation);
        self.mix.iter().position(|upper| u < *upper).unwrap_or(self.mix.len() - 1)
    }

    /// Whether the token of arrival `n` is spoilt.
    fn spoil(&self, n: u64, sessions: &Sessions) -> Spoil {
        if self.expired + self.tampered == 0.0 {
            return Spoil::None;
        }
        let u = uniform(self.seed, n, Purpose::Spoil);
        if u < self.expired && !sessions.expired.is_empty() {
            Spoil::Expired
        } else if u >= self.expired && u < self.expired + self.tampered {
            Spoil::Tampered
        } else {
            Spoil::None
        }
    }
}

fn event_data(c: u32, generation: u32) -> epoll::EventData {
    epoll::EventData::new_u64(u64::from(c) | u64::from(generation) << 32)
}

/// CPU time of this thread.
fn thread_cpu() -> Nanos {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

impl<'a> Worker<'a> {
    /// A loop with its share of connections, users and sessions. Nothing is opened yet.
    pub fn new(
        shared: &'a Shared<'a>,
        live: &'a Live,
        stripe: Stripe,
        connections: usize,
        sessions: Sessions,
        lines: Lines,
    ) -> Result<Worker<'a>, LoadError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| LoadError::Machine(format!("epoll: {e}")))?;
        let due = match &shared.model {
            Model::Open(pacer) => Due::Open { arrivals: pacer.arrivals(stripe), next: None },
            Model::Closed { users, think } => {
                let mine = (stripe.index..u64::from(*users)).step_by(stripe.of as usize);
                // Users begin spread over their thinking time, or over a millisecond.
                let spread = think.0.max(1_000_000) / u64::from(*users).max(1);
                let ready = mine.map(|user| (Nanos(user * spread), user as u32)).collect();
                Due::Closed { think: *think, ready, n: stripe.index, of: stripe.of }
            }
        };
        let scripts = shared.scripts.len();
        Ok(Worker {
            shared,
            live,
            index: stripe.index as usize,
            lines,
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 64 << 10],
            conns: (0..connections).map(|_| Conn::new()).collect(),
            free: VecDeque::with_capacity(connections),
            ring: VecDeque::with_capacity(RING),
            due,
            first_deadline: NONE,
            last_deadline: NONE,
            in_flight: 0,
            sessions: Sessions::default(),
            interval: Box::new(IntervalSamples::new(scripts)?),
            accounting: vec![Accounting::default(); scripts],
            start: Nanos(0),
            recording: Nanos(0),
            ends: Nanos(0),
            drained: Nanos(0),
            next_second: Nanos(0),
            next_tick: Nanos(0),
            done: Done {
                sessions,
                accounting: Vec::new(),
                sent: 0,
                busy: Nanos(0),
                cpu: Nanos(0),
                examples: Vec::with_capacity(EXAMPLES),
                ours: None,
                extra_bytes: 0,
                again: 0,
                opened: 0,
            },
            opening: 0,
            tired: VecDeque::new(),
            ends_of_tokens: BinaryHeap::new(),
        })
    }

    /// Opens the connections, waits for the other loops, drives, and hands back what was seen.
    pub fn run(mut self) -> Result<Done, LoadError> {
        std::mem::swap(&mut self.sessions, &mut self.done.sessions);
        let opened = self.open_all();
        if opened.is_err() {
            self.shared.cancel.store(true, Ordering::Relaxed);
        }
        // The others wait for this loop, whatever happened to it.
        self.shared.ready.wait();
        if self.index == 0 {
            // A little later, so that every loop is awake by then.
            self.shared.start.store(clock::mono().0 + 2_000_000, Ordering::Release);
        }
        self.shared.ready.wait();
        opened?;
        self.start = Nanos(self.shared.start.load(Ordering::Acquire));
        self.recording = self.start + self.shared.stop.warmup;
        self.ends = self.start + self.shared.stop.ends;
        self.drained = self.start + self.shared.stop.drained;
        self.next_second = self.recording + Nanos(1_000_000_000);
        self.next_tick = self.start;
        match &mut self.due {
            Due::Open { arrivals, next } => *next = arrivals.next().map(|(n, at)| (n, self.start + at)),
            Due::Closed { ready, .. } => ready.iter_mut().for_each(|(at, _)| *at = self.start + *at),
        }
        self.find_tired();
        let before = thread_cpu();
        self.turn_until_done()?;
        self.done.cpu = thread_cpu().since(before);
        self.close_books();
        Ok(self.done)
    }

    fn turn_until_done(&mut self) -> Result<(), LoadError> {
        let mut now = clock::mono();
        loop {
            let turn_from = now;
            let mut worked = false;
            if now >= self.next_tick {
                self.tick(now)?;
            }
            if now >= self.next_second && now < self.ends {
                self.hand_over(now);
            }
            if now < self.ends {
                worked |= self.release(now);
            } else if self.in_flight == 0 || now >= self.drained {
                return Ok(());
            }
            worked |= self.time_out(now);
            if worked {
                now = clock::mono();
            }
            let timeout = self.patience(now);
            self.wait(timeout)?;
            if self.events.is_empty() {
                let after = clock::mono();
                if worked && turn_from >= self.recording {
                    self.done.busy = self.done.busy + now.since(turn_from);
                }
                now = after;
                continue;
            }
            let woken = clock::mono();
            for at in 0..self.events.len() {
                let event = self.events[at];
                self.on_event(event.data.u64(), event.flags);
            }
            let after = clock::mono();
            if woken >= self.recording && woken < self.ends {
                let before_wait = if worked { now.since(turn_from) } else { Nanos(0) };
                self.done.busy = self.done.busy + after.since(woken) + before_wait;
            }
            now = after;
        }
    }

    /// How long the kernel may keep us: zero polls.
    fn patience(&self, now: Nanos) -> Nanos {
        let next = match &self.due {
            Due::Open { next, .. } => next.map_or(self.ends, |(_, at)| at),
            Due::Closed { ready, .. } => ready.front().map_or(self.ends, |(at, _)| *at),
        };
        let mut until = next.min(self.next_tick);
        if now >= self.ends {
            until = self.drained.min(self.next_tick);
        }
        if self.first_deadline != NONE
            && let Some(flight) = &self.conns[self.first_deadline as usize].flight
        {
            until = until.min(flight.wire + self.shared.timeout);
        }
        let left = until.since(now);
        match self.shared.idle {
            Idle::Sleep => left,
            // A reply is waited for awake too: a late wake would be charged to the server.
            Idle::Poll if self.in_flight > 0 || left <= self.shared.overshoot => Nanos(0),
            Idle::Poll => Nanos(left.0 - self.shared.overshoot.0),
        }
    }

    fn wait(&mut self, timeout: Nanos) -> Result<(), LoadError> {
        self.events.clear();
        let timeout =
            Timespec { tv_sec: (timeout.0 / 1_000_000_000) as i64, tv_nsec: (timeout.0 % 1_000_000_000) as i64 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(LoadError::Machine(format!("epoll: {e}"))),
        }
    }

    /// Opens every connection, a few at a time, before the start.
    fn open_all(&mut self) -> Result<(), LoadError> {
        let patience = self.shared.timeout.max(Nanos(1_000_000_000));
        let mut next = 0;
        let mut last = clock::mono();
        while next < self.conns.len() || self.opening > 0 {
            while next < self.conns.len() && self.opening < OPENING {
                self.open(next as u32)?;
                next += 1;
            }
            let before = self.opening;
            if self.opening > 0 {
                self.wait(TICK)?;
                for at in 0..self.events.len() {
                    let event = self.events[at];
                    self.on_opening(event.data.u64())?;
                }
            }
            let now = clock::mono();
            if self.opening != before {
                last = now;
            } else if now.since(last) > patience {
                return Err(WireError::Timeout { what: "connection", after: patience.duration() }.into());
            }
            if self.shared.cancel.load(Ordering::Relaxed) {
                return Err(LoadError::Cancelled);
            }
        }
        // Connections are used in turn; two loops begin with different ones by themselves.
        self.free.extend(0..self.conns.len() as u32);
        Ok(())
    }

    fn open(&mut self, c: u32) -> Result<(), LoadError> {
        self.begin_connect(c, clock::mono())?;
        self.opening += 1;
        Ok(())
    }

    fn on_opening(&mut self, data: u64) -> Result<(), LoadError> {
        let Some(c) = self.current(data) else { return Ok(()) };
        if self.move_connection(c, clock::mono())? {
            self.conns[c as usize].state = State::Idle;
            self.wants_room(c, false)?;
            self.opening -= 1;
        }
        Ok(())
    }

    /// Begins a connection and has the kernel tell when it stands.
    fn begin_connect(&mut self, c: u32, now: Nanos) -> Result<(), WireError> {
        let conn = &mut self.conns[c as usize];
        conn.connect(&self.shared.addr, now)?;
        conn.wants_room = true;
        let Some(socket) = &conn.socket else { return Ok(()) };
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP;
        epoll::add(&self.epoll, socket, event_data(c, conn.generation), flags)
            .map_err(|e| WireError::Local { what: "watch a socket", reason: e.to_string() })
    }

    /// Moves connecting and handshake on. `Ok(true)`: requests can be sent.
    fn move_connection(&mut self, c: u32, now: Nanos) -> Result<bool, WireError> {
        let shared = self.shared;
        let after = shared.timeout.duration();
        let conn = &mut self.conns[c as usize];
        if conn.state == State::Connecting {
            conn.connected().map_err(|e| WireError::connecting(&e, shared.addr.to_string(), after))?;
            if let Some(flight) = &mut conn.flight {
                flight.connect = Some(now.since(conn.phase_from));
            }
            let Some((config, name)) = &shared.tls else { return Ok(true) };
            let session =
                ClientConnection::new(Arc::clone(config), name.clone()).map_err(|e| WireError::Tls(e.to_string()))?;
            conn.tls = Some(Box::new(session));
            conn.state = State::Handshaking;
            conn.phase_from = now;
        }
        let done = conn.handshake().map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => WireError::Tls(e.to_string()),
            _ => WireError::moving(&e, "in the handshake", "handshake", after),
        })?;
        if done && let Some(flight) = &mut conn.flight {
            flight.tls = Some(clock::mono().since(conn.phase_from));
        }
        if !done {
            let room = conn.tls.as_ref().is_some_and(|tls| tls.wants_write());
            self.wants_room(c, room)?;
        }
        Ok(done)
    }

    /// Asks the kernel to tell when there is room to write, or no longer to.
    fn wants_room(&mut self, c: u32, wants: bool) -> Result<(), WireError> {
        let conn = &mut self.conns[c as usize];
        if conn.wants_room == wants {
            return Ok(());
        }
        let Some(socket) = &conn.socket else { return Ok(()) };
        let mut flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        flags.set(epoll::EventFlags::OUT, wants);
        conn.wants_room = wants;
        epoll::modify(&self.epoll, socket, event_data(c, conn.generation), flags)
            .map_err(|e| WireError::Local { what: "watch a socket", reason: e.to_string() })
    }

    /// The connection of an event, unless its socket has changed since.
    fn current(&self, data: u64) -> Option<u32> {
        let (c, generation) = (data as u32, (data >> 32) as u32);
        self.conns.get(c as usize).is_some_and(|conn| conn.generation == generation).then_some(c)
    }

    /// Sends what is due. Says whether anything was.
    fn release(&mut self, now: Nanos) -> bool {
        for sent in 0..BURST {
            // Those who wait for a connection or a session go first.
            if let Some(waiting) = self.ring.front().copied()
                && self.dispatch(waiting)
            {
                self.ring.pop_front();
                continue;
            }
            let Some(arrival) = self.next_due(now) else { return sent > 0 };
            if !self.ring.is_empty() || !self.dispatch(arrival) {
                self.queue(arrival);
            }
        }
        true
    }

    /// The next arrival that is due, if one is.
    fn next_due(&mut self, now: Nanos) -> Option<Arrival> {
        let (n, planned, user) = match &mut self.due {
            Due::Open { arrivals, next } => {
                let (n, at) = (*next).filter(|(_, at)| *at <= now && *at < self.ends)?;
                *next = arrivals.next().map(|(n, at)| (n, self.start + at));
                (n, at, NONE)
            }
            Due::Closed { ready, n, of, .. } => {
                let (at, user) = *ready.front().filter(|(at, _)| *at <= now)?;
                ready.pop_front();
                let this = *n;
                *n += *of;
                (this, at, user)
            }
        };
        let recorded = planned >= self.recording;
        let operation = self.shared.operation(n);
        if recorded {
            self.accounting[operation].planned += 1;
        }
        Some(Arrival {
            planned,
            released: clock::mono(),
            n,
            operation: operation as u16,
            user,
            recorded,
            queued: false,
        })
    }

    fn queue(&mut self, mut arrival: Arrival) {
        arrival.queued = true;
        if self.ring.len() < RING {
            self.ring.push_back(arrival);
        } else if arrival.recorded {
            self.accounting[usize::from(arrival.operation)].skipped += 1;
        }
    }

    /// Gives an arrival a connection and a session and sends it. Says whether it could.
    fn dispatch(&mut self, arrival: Arrival) -> bool {
        let Some(c) = self.free.front().copied() else { return false };
        let shared: &'a Shared<'a> = self.shared;
        let operation = usize::from(arrival.operation);
        let (script, uses) = (&shared.scripts[operation], shared.uses[operation]);
        let session = match script.role {
            Role::Present | Role::Refresh | Role::Revoke => {
                match self.sessions.pick(script.role, uses, arrival.n, arrival.released) {
                    Some(at) => at as u32,
                    None => return false,
                }
            }
            Role::Issue | Role::Plain => NONE,
        };
        self.free.pop_front();
        let spoil = if script.role == Role::Present { shared.spoil(arrival.n, &self.sessions) } else { Spoil::None };
        let mut expired = false;
        if let Some(session) = self.sessions.list.get_mut(session as usize) {
            expired = uses == TokenUse::Access && session.has_expired(arrival.released);
            session.locked |= matches!(script.role, Role::Refresh | Role::Revoke);
        }
        if script.role == Role::Present && spoil == Spoil::None {
            self.sessions.presented(session as usize);
        }
        let conn = &mut self.conns[c as usize];
        conn.flight = Some(Flight {
            arrival,
            wire: Nanos(0),
            first_byte: Nanos(0),
            session,
            spoil,
            expired,
            again: false,
            connect: None,
            tls: None,
        });
        conn.parser.reset(script.head);
        conn.written = 0;
        self.in_flight += 1;
        if let Err(error) = self.assemble(c, script, uses, session, spoil, arrival.n) {
            self.stamp(c, clock::mono());
            self.fail(c, Failure::NoToken, &error.to_string());
            return true;
        }
        let now = clock::mono();
        self.stamp(c, now);
        if arrival.recorded {
            if now < self.ends {
                self.done.sent += 1;
            }
            let samples = &mut self.interval.operations[operation];
            // Lag is ours; what a queued request waited for a connection is not.
            if arrival.queued {
                samples.lag.record(arrival.released.since(arrival.planned).0);
                samples.queue.record(now.since(arrival.released).0);
            } else {
                samples.lag.record(now.since(arrival.planned).0);
            }
        }
        self.send(c, now);
        true
    }

    /// Writes the request into the connection's buffer.
    fn assemble(
        &mut self,
        c: u32,
        script: &Script,
        uses: TokenUse,
        session: u32,
        spoil: Spoil,
        n: u64,
    ) -> Result<(), LoadError> {
        let conn = &mut self.conns[c as usize];
        let Some(session) = self.sessions.list.get(session as usize) else {
            script.splice(&NoSlots, &mut conn.out);
            return Ok(());
        };
        if spoil == Spoil::Expired {
            let at = (uniform(self.shared.seed, n, Purpose::Session) * self.sessions.expired.len() as f64) as usize;
            if let Some(token) = self.sessions.expired.get(at) {
                script.splice(&OneSlot(token), &mut conn.out);
                return Ok(());
            }
        }
        let slots = session.slots(uses);
        let spliced = if session.is_plain() { script.splice(&slots, &mut conn.out) } else { None };
        match (spliced, self.shared.target) {
            (Some(token), _) if spoil == Spoil::Tampered && !token.is_empty() => {
                // Not the last character of the signature: some of its bits mean nothing.
                let at = token.end - token.len().min(10);
                conn.out[at] = if conn.out[at] == b'A' { b'B' } else { b'A' };
                Ok(())
            }
            (Some(_), _) | (None, None) => Ok(()),
            (None, Some(target)) => {
                conn.out = script.rebuild(target, &slots, &self.shared.others)?;
                Ok(())
            }
        }
    }

    /// Sets the wire stamp and puts the connection at the end of the list of deadlines.
    fn stamp(&mut self, c: u32, now: Nanos) {
        let last = self.last_deadline;
        let conn = &mut self.conns[c as usize];
        if let Some(flight) = &mut conn.flight {
            flight.wire = now;
        }
        conn.earlier = last;
        conn.later = NONE;
        match self.conns.get_mut(last as usize) {
            Some(before) => before.later = c,
            None => self.first_deadline = c,
        }
        self.last_deadline = c;
    }

    fn unlink(&mut self, c: u32) {
        let (earlier, later) = (self.conns[c as usize].earlier, self.conns[c as usize].later);
        match self.conns.get_mut(earlier as usize) {
            Some(before) => before.later = later,
            None => self.first_deadline = later,
        }
        match self.conns.get_mut(later as usize) {
            Some(after) => after.earlier = earlier,
            None => self.last_deadline = earlier,
        }
    }

    /// Writes the request, or connects first where there is no connection.
    fn send(&mut self, c: u32, now: Nanos) {
        let result = match self.conns[c as usize].state {
            State::Closed => {
                if now >= self.recording {
                    self.done.opened += 1;
                }
                self.begin_connect(c, now)
            }
            _ => {
                self.conns[c as usize].state = State::Busy;
                self.write(c)
            }
        };
        if let Err(error) = result {
            self.wire_failure(c, error);
        }
    }

    fn write(&mut self, c: u32) -> Result<(), WireError> {
        let done = self.conns[c as usize]
            .write()
            .map_err(|e| WireError::moving(&e, "while sending", "room to send", self.shared.timeout.duration()))?;
        self.wants_room(c, !done)
    }
}

//! How is a share of the plan driven over HTTP/1.1? One loop on one core that owns its connections.

mod exchange;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{Timespec, epoll};
use rustls::ClientConnection;

use super::LoadError;
use super::flight::{Arrival, Conn, Flight, NONE, State};
use super::ledger::{Choice, Ledger, TICK};
use super::recorder::Failure;
use super::shared::{Done, Failed, Shared, thread_cpu};
use crate::clock;
use crate::scenario::Idle;
use crate::units::Nanos;
use crate::wire::WireError;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// Due arrivals sent before replies are looked at again.
const BURST: usize = 32;
/// Connections that are being opened at once before the start: servers' backlogs are short.
const OPENING: usize = 64;

/// One loop.
pub(crate) struct Worker<'a> {
    shared: &'a Shared<'a>,
    ledger: Ledger<'a>,
    epoll: rustix::fd::OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    conns: Vec<Conn>,
    free: VecDeque<u32>,
    first_deadline: u32,
    last_deadline: u32,
    opening: usize,
}

fn event_data(c: u32, generation: u32) -> epoll::EventData {
    epoll::EventData::new_u64(u64::from(c) | u64::from(generation) << 32)
}

impl<'a> Worker<'a> {
    /// A loop with its share of connections. Nothing is opened yet.
    pub fn new(ledger: Ledger<'a>, connections: usize) -> Result<Worker<'a>, LoadError> {
        debug_assert_eq!(ledger.shared.streams, 1, "HTTP/1.1 has one request at a time on a connection");
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| LoadError::Machine(format!("epoll: {e}")))?;
        Ok(Worker {
            shared: ledger.shared,
            ledger,
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 64 << 10],
            conns: (0..connections).map(|_| Conn::new()).collect(),
            free: VecDeque::with_capacity(connections),
            first_deadline: NONE,
            last_deadline: NONE,
            opening: 0,
        })
    }

    /// Opens the connections, waits for the other loops, drives, and hands back what was seen.
    pub fn run(mut self) -> Result<Done, Failed> {
        let opened = self.open_all();
        let begun = self.ledger.begin(opened);
        if let Err(error) = begun.and_then(|()| self.turn_until_done()) {
            return Err(self.ledger.give_up(error));
        }
        self.ledger.done.cpu = self.ledger.done.cpu_before.map_or(Nanos(0), |before| thread_cpu().since(before));
        let flying: Vec<Flight> = self.conns.iter().filter_map(|c| c.flight).collect();
        Ok(self.ledger.close(&flying))
    }

    fn turn_until_done(&mut self) -> Result<(), LoadError> {
        let mut now = clock::mono();
        loop {
            let turn_from = now;
            let mut worked = false;
            if now >= self.ledger.next_tick {
                self.ledger.tick(now);
            }
            if now >= self.ledger.next_second && now < self.ledger.ends {
                self.ledger.hand_over(now);
            }
            if self.ledger.done.cpu_before.is_none() && now >= self.ledger.recording {
                self.ledger.done.cpu_before = Some(thread_cpu());
            }
            if now < self.ledger.ends {
                worked |= self.release(now);
            } else if self.ledger.in_flight == 0 || now >= self.ledger.drained {
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
                if worked && turn_from >= self.ledger.recording {
                    self.ledger.done.busy = self.ledger.done.busy + now.since(turn_from);
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
            if woken >= self.ledger.recording && woken < self.ledger.ends {
                let before_wait = if worked { now.since(turn_from) } else { Nanos(0) };
                self.ledger.done.busy = self.ledger.done.busy + after.since(woken) + before_wait;
            }
            now = after;
        }
    }

    /// How long the kernel may keep us: zero polls.
    fn patience(&self, now: Nanos) -> Nanos {
        let mut until = self.ledger.next_event(now);
        if self.first_deadline != NONE
            && let Some(flight) = &self.conns[self.first_deadline as usize].flight
        {
            until = until.min(flight.wire + self.shared.timeout);
        }
        let left = until.since(now);
        match self.shared.idle {
            Idle::Sleep => left,
            // A reply is waited for awake too: a late wake would be charged to the server.
            Idle::Poll if self.ledger.in_flight > 0 || left <= self.shared.overshoot => Nanos(0),
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
        if self.conns[c as usize].state == State::Idle {
            // It stands already: a TLS 1.3 server sends its tickets after the handshake.
            self.quiet_event(c);
            return Ok(());
        }
        if self.conns[c as usize].state != State::Closed && self.move_connection(c, clock::mono())? {
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
            let room = self.free.front().copied();
            let Some((arrival, choice)) = self.ledger.ready(now, room.is_some()) else { return sent > 0 };
            if let Some(c) = room {
                self.dispatch(c, arrival, &choice);
            }
        }
        true
    }

    /// Sends an arrival on a free connection.
    fn dispatch(&mut self, c: u32, arrival: Arrival, choice: &Choice) {
        self.free.pop_front();
        let conn = &mut self.conns[c as usize];
        conn.flight = Some(Flight {
            arrival,
            wire: Nanos(0),
            first_byte: Nanos(0),
            session: choice.session,
            spoil: choice.spoil,
            expired: choice.expired,
            expires: choice.expires,
            ended: choice.ended,
            doomed: choice.doomed,
            again: 0,
            connect: None,
            tls: None,
        });
        conn.parser.reset(self.shared.scripts[usize::from(arrival.operation)].head);
        conn.written = 0;
        self.ledger.in_flight += 1;
        if let Err(error) = self.ledger.assemble(&arrival, choice, &mut conn.out) {
            self.stamp(c, clock::mono());
            self.fail(c, Failure::NoToken, &error.to_string());
            return;
        }
        let now = clock::mono();
        self.stamp(c, now);
        self.ledger.sent(&arrival, now);
        self.send(c, now);
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
                if now >= self.ledger.recording {
                    self.ledger.done.opened += 1;
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

//! What becomes of a request that was sent? Replies, failures, deadlines.

use std::io;

use rustix::event::epoll::EventFlags;

use super::Worker;
use crate::clock;
use crate::load::flight::{Flight, NONE, State};
use crate::load::recorder::Failure;
use crate::load::script::View;
use crate::units::Nanos;
use crate::wire::WireError;

impl Worker<'_> {
    pub(super) fn on_event(&mut self, data: u64, flags: EventFlags) {
        let Some(c) = self.current(data) else { return };
        let result = match self.conns[c as usize].state {
            State::Closed => Ok(()),
            State::Connecting | State::Handshaking => match self.move_connection(c, clock::mono()) {
                Ok(false) => Ok(()),
                Ok(true) => {
                    self.conns[c as usize].state = State::Busy;
                    self.write(c)
                }
                Err(error) => Err(error),
            },
            State::Idle => {
                self.quiet_event(c);
                Ok(())
            }
            State::Busy => {
                let room = flags.contains(EventFlags::OUT) && self.conns[c as usize].wants_room;
                let written = if room { self.write(c) } else { Ok(()) };
                // A server may answer before it has read all of a request, and then close.
                if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
                    self.read(c, flags.contains(EventFlags::RDHUP))
                } else {
                    written
                }
            }
        };
        if let Err(error) = result {
            self.wire_failure(c, error);
        }
    }

    /// Something happened on a connection that waits for nothing: it was closed, or the server speaks unasked.
    pub(super) fn quiet_event(&mut self, c: u32) {
        match self.conns[c as usize].read(&mut self.buffer) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Ok(n) if n > 0 => self.ledger.done.extra_bytes += 1,
            _ => {}
        }
        self.conns[c as usize].close();
    }

    fn read(&mut self, c: u32, closing: bool) -> Result<(), WireError> {
        let after = self.shared.timeout.duration();
        loop {
            let got = self.conns[c as usize].read(&mut self.buffer);
            match got {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.may_send_again(c) => return self.send_again(c),
                Err(e) => return Err(WireError::moving(&e, self.conns[c as usize].parser.during(), "reply", after)),
                Ok(0) if self.may_send_again(c) => return self.send_again(c),
                Ok(0) => {
                    self.conns[c as usize].parser.finish()?;
                    self.complete(c, clock::mono(), true);
                    return Ok(());
                }
                Ok(got) => {
                    let now = clock::mono();
                    let conn = &mut self.conns[c as usize];
                    if let Some(flight) = &mut conn.flight
                        && flight.first_byte.0 == 0
                    {
                        flight.first_byte = now;
                    }
                    let used = conn.parser.feed(&self.buffer[..got])?;
                    if conn.parser.is_complete() {
                        let extra = used < got;
                        self.ledger.done.extra_bytes += u64::from(extra);
                        self.complete(c, now, closing || extra);
                        return Ok(());
                    }
                    // The server may wait for the acknowledgement of this part before it sends the next
                    // (Nagle's algorithm); without this we would delay it by 40 ms.
                    if let Some(socket) = &conn.socket {
                        let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
                    }
                    if got < self.buffer.len() && conn.tls.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A server may close an idle connection just when the next request is on its way. That is nobody's
    /// fault, and a request that changes nothing is sent once more.
    fn may_send_again(&self, c: u32) -> bool {
        let conn = &self.conns[c as usize];
        let Some(flight) = &conn.flight else { return false };
        let script = &self.shared.scripts[usize::from(flight.arrival.operation)];
        conn.exchanges > 0 && !conn.parser.has_begun() && script.safe && flight.again == 0
    }

    fn send_again(&mut self, c: u32) -> Result<(), WireError> {
        let now = clock::mono();
        self.ledger.done.again += 1;
        self.ledger.done.opened += u64::from(now >= self.ledger.recording);
        let conn = &mut self.conns[c as usize];
        conn.close();
        conn.written = 0;
        if let Some(flight) = &mut conn.flight {
            flight.again = 1;
        }
        self.begin_connect(c, now)
    }

    /// The whole reply is here.
    fn complete(&mut self, c: u32, done: Nanos, close: bool) {
        let Some(flight) = self.land(c) else { return };
        let conn = &mut self.conns[c as usize];
        conn.exchanges += 1;
        self.ledger.completed(&flight, done, &View(&conn.parser));
        if close || conn.parser.closes() {
            conn.close();
        } else {
            conn.state = State::Idle;
        }
        self.free.push_back(c);
    }

    /// Takes the flight off a connection.
    fn land(&mut self, c: u32) -> Option<Flight> {
        let flight = self.conns[c as usize].flight.take()?;
        self.unlink(c);
        self.ledger.in_flight -= 1;
        Some(flight)
    }

    pub(super) fn wire_failure(&mut self, c: u32, error: WireError) {
        if error.is_ours() && self.ledger.done.ours.is_none() {
            self.ledger.done.ours = Some(error.to_string());
        }
        self.fail(c, Failure::Wire(error.kind()), &error.to_string());
    }

    /// The exchange failed: the connection is closed, since nobody knows what would come next on it.
    pub(super) fn fail(&mut self, c: u32, failure: Failure, example: &str) {
        self.conns[c as usize].close();
        let Some(flight) = self.land(c) else { return };
        self.ledger.failed(&flight, clock::mono(), failure, example);
        self.free.push_back(c);
    }

    /// Ends what has taken too long.
    pub(super) fn time_out(&mut self, now: Nanos) -> bool {
        let mut any = false;
        while self.first_deadline != NONE {
            let c = self.first_deadline;
            let Some(flight) = &self.conns[c as usize].flight else { break };
            if flight.wire + self.shared.timeout > now {
                break;
            }
            let conn = &self.conns[c as usize];
            let what = match conn.state {
                State::Connecting => "connection",
                State::Handshaking => "handshake",
                _ => conn.parser.awaits(),
            };
            self.wire_failure(c, WireError::Timeout { what, after: self.shared.timeout.duration() });
            any = true;
        }
        any
    }
}

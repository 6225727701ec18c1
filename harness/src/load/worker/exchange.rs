//! What becomes of a request that was sent? Replies, failures, deadlines, and what they mean for sessions.

use std::sync::atomic::Ordering;

use std::io;

use rustix::event::epoll::EventFlags;

use super::{AFTER_FAILURE, Chore, Done, Due, EXAMPLES, TICK, Worker};
use crate::clock;
use crate::load::LoadError;
use crate::load::flight::{Flight, NONE, State};
use crate::load::recorder::{Failure, IntervalSamples};
use crate::load::script::{Outcome, Role, Script};
use crate::target::TokenUse;
use crate::units::Nanos;
use crate::wire::WireError;

impl<'a> Worker<'a> {
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
    fn quiet_event(&mut self, c: u32) {
        match self.conns[c as usize].read(&mut self.buffer) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Ok(n) if n > 0 => self.done.extra_bytes += 1,
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
                        self.done.extra_bytes += u64::from(extra);
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
        conn.exchanges > 0 && !conn.parser.has_begun() && script.safe && !flight.again
    }

    fn send_again(&mut self, c: u32) -> Result<(), WireError> {
        let now = clock::mono();
        self.done.again += 1;
        self.done.opened += u64::from(now >= self.recording);
        let conn = &mut self.conns[c as usize];
        conn.close();
        conn.written = 0;
        if let Some(flight) = &mut conn.flight {
            flight.again = true;
        }
        self.begin_connect(c, now)
    }

    /// The whole reply is here.
    fn complete(&mut self, c: u32, done: Nanos, close: bool) {
        let Some(flight) = self.land(c) else { return };
        let shared: &'a super::Shared<'a> = self.shared;
        let script = &shared.scripts[usize::from(flight.arrival.operation)];
        let conn = &mut self.conns[c as usize];
        conn.exchanges += 1;
        let closes = close || conn.parser.closes();
        let mut outcome = script.judge(shared.target, &conn.parser, flight.spoil, flight.expired);
        if !self.learn(c, script, &flight, outcome == Outcome::Completed, done) && outcome == Outcome::Completed {
            outcome = Outcome::Failed(Failure::NoToken);
        }
        self.record(&flight, done, outcome);
        if let Outcome::Failed(failure) = outcome
            && flight.arrival.recorded
            && self.wants_example(flight.arrival.operation, failure)
        {
            let parser = &self.conns[c as usize].parser;
            let body = parser.body();
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            self.done.examples.push((flight.arrival.operation, failure, format!("status {}: {text}", parser.status())));
        }
        let conn = &mut self.conns[c as usize];
        if closes {
            conn.close();
        } else {
            conn.state = State::Idle;
        }
        self.free.push_back(c);
        self.next_of_user(&flight, done, false);
    }

    /// Takes the flight off a connection.
    fn land(&mut self, c: u32) -> Option<Flight> {
        let flight = self.conns[c as usize].flight.take()?;
        self.unlink(c);
        self.in_flight -= 1;
        Some(flight)
    }

    /// What a reply means for its session. `false`: it had to bring tokens and brought none.
    fn learn(&mut self, c: u32, script: &Script, flight: &Flight, completed: bool, now: Nanos) -> bool {
        let at = flight.session;
        match script.role {
            Role::Present | Role::Plain => true,
            Role::Revoke => {
                self.end_session(at);
                true
            }
            Role::Issue | Role::Refresh => {
                let parser = &self.conns[c as usize].parser;
                let issued = match self.shared.target {
                    Some(target) if completed && script.returns_tokens() => script.tokens(target, parser),
                    Some(_) if completed => {
                        if let Some(session) = self.sessions.list.get_mut(at as usize) {
                            session.locked = false;
                        }
                        return true;
                    }
                    _ => None,
                };
                let at = if script.role == Role::Refresh {
                    at
                } else {
                    self.sessions.place_for_issued().map_or(NONE, |at| at as u32)
                };
                match (&issued, self.sessions.list.get_mut(at as usize)) {
                    (Some(issued), Some(session)) => {
                        session.renew(issued, &self.shared.others, self.shared.lifetime_s, now);
                        self.watch_end(at);
                    }
                    (None, _) if script.role == Role::Refresh => self.end_session(at),
                    _ => {}
                }
                !completed || issued.is_some()
            }
        }
    }

    /// The session's tokens are used up or unknown: a login off the timed path has to replace them.
    fn end_session(&mut self, at: u32) {
        if let Some(session) = self.sessions.list.get_mut(at as usize) {
            session.locked = false;
            session.ended = true;
            self.tired.push_back(at);
        }
    }

    /// Remembers when a token ends, if that is during this drive.
    fn watch_end(&mut self, at: u32) {
        let horizon = self.drained + self.shared.lead;
        if let Some(session) = self.sessions.list.get(at as usize)
            && session.expires.0 > 0
            && session.expires <= horizon
        {
            self.ends_of_tokens.push(std::cmp::Reverse((session.expires, at)));
        }
    }

    /// What the drive before left to do, and which tokens end during this one.
    pub(super) fn find_tired(&mut self) {
        for at in 0..self.sessions.list.len() as u32 {
            if self.sessions.list[at as usize].ended {
                self.tired.push_back(at);
            } else {
                self.watch_end(at);
            }
        }
    }

    fn record(&mut self, flight: &Flight, done: Nanos, outcome: Outcome) {
        let arrival = &flight.arrival;
        if !arrival.recorded {
            return;
        }
        let samples = &mut self.interval.operations[usize::from(arrival.operation)];
        let accounting = &mut self.accounting[usize::from(arrival.operation)];
        let response = done.since(arrival.planned).0;
        match outcome {
            Outcome::Completed => {
                accounting.completed += 1;
                samples.completed += 1;
                samples.response.record(response);
                samples.service.record(done.since(flight.wire).0);
                samples.first_byte.record(flight.first_byte.since(flight.wire).0);
            }
            Outcome::Failed(failure) => {
                samples.failed_response.record(response);
                if failure == Failure::Wire("timeout") {
                    accounting.timed_out += 1;
                    samples.timed_out += 1;
                } else {
                    accounting.failed += 1;
                    samples.failed += 1;
                }
                samples.fail(failure, 1);
            }
        }
        if let Some(took) = flight.connect {
            samples.connect.record(took.0);
        }
        if let Some(took) = flight.tls {
            samples.tls.record(took.0);
        }
    }

    fn wants_example(&self, operation: u16, failure: Failure) -> bool {
        self.done.examples.len() < EXAMPLES
            && !self.done.examples.iter().any(|(o, f, _)| *o == operation && *f == failure)
    }

    pub(super) fn wire_failure(&mut self, c: u32, error: WireError) {
        if error.is_ours() && self.done.ours.is_none() {
            self.done.ours = Some(error.to_string());
        }
        self.fail(c, Failure::Wire(error.kind()), &error.to_string());
    }

    /// The exchange failed: the connection is closed, since nobody knows what would come next on it.
    pub(super) fn fail(&mut self, c: u32, failure: Failure, example: &str) {
        self.conns[c as usize].close();
        let Some(flight) = self.land(c) else { return };
        let now = clock::mono();
        let role = self.shared.scripts[usize::from(flight.arrival.operation)].role;
        // Nobody knows whether the server used the token up.
        if matches!(role, Role::Refresh | Role::Revoke) {
            self.end_session(flight.session);
        }
        self.record(&flight, now, Outcome::Failed(failure));
        if flight.arrival.recorded && self.wants_example(flight.arrival.operation, failure) {
            self.done.examples.push((flight.arrival.operation, failure, example.to_owned()));
        }
        self.free.push_back(c);
        self.next_of_user(&flight, now, true);
    }

    /// When a closed user is ready again.
    fn next_of_user(&mut self, flight: &Flight, now: Nanos, failed: bool) {
        if let Due::Closed { think, ready, .. } = &mut self.due
            && flight.arrival.user != NONE
        {
            let at = now + if failed { (*think).max(AFTER_FAILURE) } else { *think };
            let place = ready.iter().rposition(|(other, _)| *other <= at).map_or(0, |i| i + 1);
            ready.insert(place, (at, flight.arrival.user));
        }
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
            let error = WireError::Timeout { what: "reply", after: self.shared.timeout.duration() };
            self.wire_failure(c, error);
            any = true;
        }
        any
    }

    /// Housekeeping, twenty times a second.
    pub(super) fn tick(&mut self, now: Nanos) -> Result<(), LoadError> {
        self.next_tick = now + TICK;
        if self.shared.cancel.load(Ordering::Relaxed) && now < self.ends {
            self.ends = now;
            self.drained = now + Nanos(200_000_000);
        }
        let sum = |f: fn(&crate::record::Accounting) -> u64| self.accounting.iter().map(f).sum::<u64>();
        self.live.completed.store(sum(|a| a.completed), Ordering::Relaxed);
        self.live.failed.store(sum(|a| a.failed + a.timed_out), Ordering::Relaxed);
        self.live.in_flight.store(self.in_flight, Ordering::Relaxed);
        self.chores(now);
        Ok(())
    }

    /// Takes what chores brought, and asks for what is needed.
    fn chores(&mut self, now: Nanos) {
        while let Ok((at, issued)) = self.lines.renewed.try_recv() {
            match (issued, self.sessions.list.get_mut(at as usize)) {
                (Some(issued), Some(session)) => {
                    session.renew(&issued, &self.shared.others, self.shared.lifetime_s, now);
                    self.watch_end(at);
                }
                _ => self.end_session(at),
            }
        }
        if now >= self.ends {
            return;
        }
        while let Some(std::cmp::Reverse((end, at))) = self.ends_of_tokens.peek().copied() {
            if end > now + self.shared.lead {
                break;
            }
            self.ends_of_tokens.pop();
            let session = &self.sessions.list[at as usize];
            if session.expires == end && !session.ended {
                self.tired.push_back(at);
            }
        }
        for _ in 0..self.tired.len() {
            let Some(at) = self.tired.pop_front() else { break };
            let session = &mut self.sessions.list[at as usize];
            if session.locked {
                // A refresh of its own is on its way; it will be looked at again.
                self.tired.push_back(at);
                continue;
            }
            let refresh = (!session.ended && !session.refresh.is_empty() && self.shared.can_refresh)
                .then(|| String::from_utf8_lossy(&session.refresh).into_owned());
            session.locked = true;
            if self.lines.chores.try_send(Chore { worker: self.index, session: at, refresh }).is_err() {
                session.locked = false;
                self.tired.push_front(at);
                break;
            }
        }
    }

    /// Gives the filled interval away and goes on with an empty one.
    pub(super) fn hand_over(&mut self, now: Nanos) {
        let second = self.next_second.since(self.recording).0 / 1_000_000_000 - 1;
        while self.next_second <= now {
            self.next_second = self.next_second + Nanos(1_000_000_000);
        }
        let empty = match self.lines.empty.try_recv() {
            Ok(empty) => empty,
            // The collector is late: rather a new one than a wait.
            Err(_) => match IntervalSamples::new(self.shared.scripts.len()) {
                Ok(new) => Box::new(new),
                Err(_) => return,
            },
        };
        let mut full = std::mem::replace(&mut self.interval, empty);
        full.second = second as u32;
        let _ = self.lines.full.send((self.index, full));
    }

    /// Counts what is unfinished and gives the last interval away.
    pub(super) fn close_books(&mut self) {
        let ends = self.ends;
        // What the plan held and the loop never came to.
        if matches!(self.due, Due::Open { .. }) {
            while let Some(arrival) = self.next_due(ends) {
                if arrival.recorded {
                    self.accounting[usize::from(arrival.operation)].in_flight += 1;
                }
            }
        }
        let flying = self.conns.iter().filter_map(|conn| conn.flight.as_ref()).map(|flight| &flight.arrival);
        for arrival in flying.chain(&self.ring).filter(|a| a.recorded) {
            self.accounting[usize::from(arrival.operation)].in_flight += 1;
        }
        for session in &mut self.sessions.list {
            session.ended |= session.locked;
            session.locked = false;
        }
        let second = self.next_second.since(self.recording).0 / 1_000_000_000 - 1;
        let last = std::mem::take(&mut self.interval.operations);
        let _ =
            self.lines.full.send((self.index, Box::new(IntervalSamples { second: second as u32, operations: last })));
        std::mem::swap(&mut self.done.sessions, &mut self.sessions);
        self.done.accounting = std::mem::take(&mut self.accounting);
    }
}

impl Done {
    /// Whether a session can be chosen for an operation that presents this kind of token.
    pub fn presents(sessions: &[crate::load::session::Session], uses: TokenUse) -> bool {
        match uses {
            TokenUse::Refresh => sessions.iter().any(|s| !s.refresh.is_empty()),
            _ => sessions.iter().any(|s| !s.access.is_empty()),
        }
    }
}

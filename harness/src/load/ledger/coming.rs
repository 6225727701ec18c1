//! What comes next? Arrivals by plan, by user and by step, and those that wait.

use std::collections::VecDeque;

use super::{Choice, Ledger};
use crate::clock;
use crate::load::flight::{Arrival, Flight, NONE};
use crate::load::flow::{self, Next, Walks};
use crate::load::plan::Arrivals;
use crate::load::recorder::What;
use crate::units::Nanos;

/// Pause of a closed user after a failure on the wire: a dead server must not be hammered.
const AFTER_FAILURE: Nanos = Nanos(10_000_000);

/// The due times of a loop.
pub(super) enum Due<'a> {
    Open { arrivals: Arrivals<'a>, next: Option<(u64, Nanos)> },
    Closed { think: Nanos, ready: VecDeque<(Nanos, u32)>, n: u64, of: u64 },
}

impl Ledger<'_> {
    /// When there is something to do that no reply brings about: an arrival, the housekeeping, the end.
    pub fn next_event(&self, now: Nanos) -> Nanos {
        let next = match &self.due {
            Due::Open { next, .. } => next.map_or(self.ends, |(_, at)| at),
            Due::Closed { ready, .. } => ready.front().map_or(self.ends, |(at, _)| *at),
        };
        let step = self.walks.as_ref().and_then(Walks::next).unwrap_or(self.ends);
        let next = next.min(step);
        if now >= self.ends { self.drained.min(self.next_tick) } else { next.min(self.next_tick) }
    }

    /// Whether an arrival waits or is due.
    pub fn is_due(&self, now: Nanos) -> bool {
        let planned = match &self.due {
            Due::Open { next, .. } => next.is_some_and(|(_, at)| at <= now && at < self.ends),
            Due::Closed { ready, .. } => ready.front().is_some_and(|(at, _)| *at <= now),
        };
        planned || !self.rings.is_empty() || self.walks.as_ref().and_then(Walks::next).is_some_and(|at| at <= now)
    }

    /// The next arrival that is due, if one is.
    pub(super) fn next_due(&mut self, now: Nanos) -> Option<Arrival> {
        if let Some(due) = self.walks.as_mut().and_then(|walks| walks.pop(now)) {
            return Some(self.arrival(&due));
        }
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
        if let Some(walks) = &mut self.walks {
            let due = walks.start(n, planned, user, planned >= self.recording);
            return Some(self.arrival(&due));
        }
        let operation = self.shared.operation(n) as u16;
        Some(self.arrival(&flow::Due { walk: NONE, operation, planned, due: planned, n, user }))
    }

    /// A step that was planned before the end, and whose predecessor was answered behind it. For the end of a drive.
    pub(super) fn next_left_over(&mut self) -> Option<Arrival> {
        loop {
            let due = self.walks.as_mut()?.pop(Nanos(u64::MAX))?;
            if due.planned < self.ends {
                return Some(self.arrival(&due));
            }
        }
    }

    /// The step that an open plan has before the end, behind one of its walk that was not answered.
    pub(super) fn next_unanswered(&mut self, walk: u32) -> Option<Arrival> {
        let due = self.walks.as_mut()?.unanswered(walk, self.ends)?;
        Some(self.arrival(&due))
    }

    fn arrival(&mut self, due: &flow::Due) -> Arrival {
        let flow::Due { walk, operation, planned, due, n, user } = *due;
        let arrival = Arrival {
            planned,
            due,
            released: clock::mono(),
            n,
            operation,
            user,
            recorded: planned >= self.recording,
            queued: false,
            sessionless: Nanos(0),
            walk,
        };
        self.note(&arrival, What::Planned, 0);
        arrival
    }

    /// The next arrival that can be sent, with its session: whoever waits goes first, and nobody waits for what another
    /// one waits for. `room`: whether there is a connection to send on.
    pub fn ready(&mut self, now: Nanos, room: bool) -> Option<(Arrival, Choice)> {
        if room {
            // The rings are lent to themselves for a moment, since finding a session changes the rest.
            let mut rings = std::mem::take(&mut self.rings);
            let ready = rings.next_for_session(|arrival| self.choose(arrival));
            self.rings = rings;
            if ready.is_some() {
                return ready;
            }
        }
        loop {
            let waited = if room { self.rings.next_for_connection() } else { None };
            let arrival = match waited {
                Some(arrival) => arrival,
                None => self.next_due(now)?,
            };
            if !room {
                let waits = self.rings.for_connection(arrival);
                self.lost(waits, &arrival);
                continue;
            }
            match self.choose(&arrival) {
                Some(choice) => return Some((arrival, choice)),
                None => {
                    let waits = self.rings.for_session(arrival, clock::mono());
                    self.lost(waits, &arrival);
                }
            }
        }
    }

    /// An arrival that there was no room for is skipped. A walk ends with it.
    fn lost(&mut self, waits: bool, arrival: &Arrival) {
        if waits {
            return;
        }
        self.note(arrival, What::Skipped, 0);
        if let Some(walks) = self.walks.as_mut().filter(|_| arrival.walk != NONE)
            && let Next::Ended { session } = walks.ended(arrival.walk, arrival.planned, Nanos(0), true)
        {
            self.sessions.leave(session, self.prepared);
        }
    }

    /// What comes after an exchange: the next step of its flow, and a closed user who is ready again.
    pub(super) fn next_of_user(&mut self, flight: &Flight, now: Nanos, on_the_wire: bool, failed: bool) {
        if let Some(walks) = self.walks.as_mut().filter(|_| flight.arrival.walk != NONE) {
            match walks.ended(flight.arrival.walk, now, now.since(flight.wire), failed) {
                Next::Planned => return,
                Next::Ended { session } => {
                    self.sessions.leave(session, self.prepared);
                    self.rings.session_is_free();
                }
            }
        }
        if let Due::Closed { think, ready, .. } = &mut self.due
            && flight.arrival.user != NONE
        {
            let at = now + if on_the_wire { (*think).max(AFTER_FAILURE) } else { *think };
            let place = ready.iter().rposition(|(other, _)| *other <= at).map_or(0, |i| i + 1);
            ready.insert(place, (at, flight.arrival.user));
        }
    }
}

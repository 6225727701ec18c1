//! What is due and cannot be sent yet? Arrivals that wait, by what they wait for, so that none waits for another's reason.

use std::collections::VecDeque;

use super::flight::Arrival;
use crate::units::Nanos;

/// Arrivals that wait at most, altogether; more are skipped, and that voids an open run.
pub(super) const ROOM: usize = 16 << 10;

/// The arrivals of one loop that wait. Of those that wait for the same thing, the first comes first.
#[derive(Debug, Default)]
pub(super) struct Rings {
    connection: VecDeque<Arrival>,
    /// By script: the operations need different kinds of sessions.
    sessions: Vec<VecDeque<Arrival>>,
    waiting: usize,
    room: usize,
    /// Whether a session may have become free since the last look.
    news: bool,
}

impl Rings {
    /// For so many scripts, with room for `users` at least: a user who cannot be served now waits.
    pub fn new(scripts: usize, users: usize) -> Rings {
        let room = ROOM.max(users);
        Rings {
            connection: VecDeque::with_capacity(room),
            sessions: (0..scripts).map(|_| VecDeque::with_capacity(64)).collect(),
            waiting: 0,
            room,
            news: false,
        }
    }

    /// Waits for a connection. `false`: there is no room to wait.
    pub fn for_connection(&mut self, mut arrival: Arrival) -> bool {
        if self.waiting >= self.room {
            return false;
        }
        arrival.queued = true;
        self.waiting += 1;
        self.connection.push_back(arrival);
        true
    }

    /// Waits for a session from `now` on. `false`: there is no room to wait.
    pub fn for_session(&mut self, mut arrival: Arrival, now: Nanos) -> bool {
        if self.waiting >= self.room {
            return false;
        }
        arrival.sessionless = now;
        self.waiting += 1;
        self.sessions[usize::from(arrival.operation)].push_back(arrival);
        true
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// A session may have become free.
    pub fn session_is_free(&mut self) {
        self.news = true;
    }

    /// Who has waited longest for a connection.
    pub fn next_for_connection(&mut self) -> Option<Arrival> {
        let arrival = self.connection.pop_front()?;
        self.waiting -= 1;
        Some(arrival)
    }

    /// The first of those who wait for a session that `finds` one; nobody is asked while nothing has changed.
    pub fn next_for_session<T>(&mut self, mut finds: impl FnMut(&Arrival) -> Option<T>) -> Option<(Arrival, T)> {
        if !self.news {
            return None;
        }
        for ring in &mut self.sessions {
            if let Some(arrival) = ring.front()
                && let Some(found) = finds(arrival)
            {
                let arrival = ring.pop_front()?;
                self.waiting -= 1;
                return Some((arrival, found));
            }
        }
        self.news = false;
        None
    }

    /// Everybody who still waits.
    pub fn drain(&mut self) -> impl Iterator<Item = Arrival> + '_ {
        self.waiting = 0;
        self.connection.drain(..).chain(self.sessions.iter_mut().flat_map(|ring| ring.drain(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::flight::NONE;

    fn arrival(n: u64, operation: u16) -> Arrival {
        Arrival {
            planned: Nanos(n),
            due: Nanos(n),
            released: Nanos(n),
            n,
            operation,
            user: NONE,
            walk: NONE,
            recorded: true,
            queued: false,
            sessionless: Nanos(0),
        }
    }

    #[test]
    fn who_waits_for_a_session_holds_up_nobody_of_another_operation() {
        let mut rings = Rings::new(2, 0);
        assert!(rings.for_session(arrival(1, 0), Nanos(5)) && rings.for_session(arrival(2, 1), Nanos(5)));
        // Nothing has become free, so that nobody is asked.
        assert!(rings.next_for_session(|_| Some(())).is_none());
        rings.session_is_free();
        let (first, ()) = rings.next_for_session(|a| (a.operation == 1).then_some(())).unwrap();
        assert_eq!((first.n, first.queued, first.sessionless), (2, false, Nanos(5)));
        assert!(rings.next_for_session(|a| (a.operation == 1).then_some(())).is_none());
        rings.session_is_free();
        assert_eq!(rings.next_for_session(|_| Some(())).unwrap().0.n, 1);
    }

    #[test]
    fn first_come_first_served_and_no_more_than_there_is_room() {
        let mut rings = Rings::new(1, 0);
        for n in 0..ROOM as u64 {
            let waits = if n % 2 == 0 {
                rings.for_connection(arrival(n, 0))
            } else {
                rings.for_session(arrival(n, 0), Nanos(1))
            };
            assert!(waits);
        }
        assert!(!rings.for_connection(arrival(1, 0)) && !rings.for_session(arrival(1, 0), Nanos(1)));
        assert_eq!(rings.next_for_connection().unwrap().n, 0);
        assert!(rings.for_connection(arrival(1, 0)));
        assert_eq!(rings.drain().count(), ROOM);
        assert!(rings.next_for_connection().is_none());
    }
}

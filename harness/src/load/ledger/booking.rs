//! Where is it booked? What happens to a request, under the second in which it was planned; and the second given away.

use super::Ledger;
use super::coming::Due;
use crate::clock;
use crate::load::LoadError;
use crate::load::flight::{Arrival, Flight, NONE};
use crate::load::recorder::{Apart, IntervalSamples, TIMEOUT, What};
use crate::load::script::Outcome;
use crate::load::session::Sessions;
use crate::load::shared::{Done, Failed};
use crate::units::Nanos;

impl Ledger<'_> {
    /// Books what there is to say of an arrival under the second in which it was planned.
    pub(super) fn note(&mut self, arrival: &Arrival, what: What, ns: u64) {
        if !arrival.recorded {
            return;
        }
        if !self.second_is_cut && arrival.planned >= self.second_from && arrival.planned < self.next_second {
            self.interval.operations[usize::from(arrival.operation)].note(what, ns);
        } else {
            if self.interval.apart.len() == self.interval.apart.capacity() {
                self.make_room();
            }
            let at = arrival.planned.since(self.recording);
            self.interval.apart.push(Apart { at, operation: arrival.operation, what, ns });
        }
    }

    /// Gives the interval away before its second is over, so that the list of late ones need not grow on the timed path.
    /// Where the collector has no empty one to give, it does grow: a new interval would cost more.
    fn make_room(&mut self) {
        let Ok(empty) = self.lines.empty.try_recv() else { return };
        let second = self.interval.second;
        let mut full = std::mem::replace(&mut self.interval, empty);
        (full.next, self.interval.second) = (second, second);
        let _ = self.lines.full.send((self.index, full));
    }

    /// A request was written at `now`: its lag, and that it was sent.
    pub fn sent(&mut self, arrival: &Arrival, now: Nanos) {
        if arrival.user != NONE
            && let Some(started) = self.started.get_mut(arrival.user as usize / self.shared.loops)
        {
            *started = true;
        }
        if arrival.recorded && now < self.ends {
            self.done.sent += 1;
        }
        // Lag is ours; what a request waited for a connection or for a session is not.
        let sessionless = arrival.sessionless.0 > 0;
        let ready = if sessionless { arrival.sessionless } else { now };
        let waited = arrival.queued || sessionless;
        // A step of a flow may have been planned long before it could be due.
        let lag = if waited { arrival.released } else { now }.since(arrival.due);
        self.note(arrival, What::Lag, lag.0);
        if arrival.queued {
            self.note(arrival, What::Queue, ready.since(arrival.released).0);
        }
        if sessionless {
            self.note(arrival, What::WaitSession, now.since(arrival.sessionless).0);
        }
    }

    pub(super) fn record(&mut self, flight: &Flight, done: Nanos, outcome: Outcome) {
        let arrival = &flight.arrival;
        let ours = matches!(outcome, Outcome::Failed(failure) if failure.is_ours());
        self.ended[usize::from(outcome != Outcome::Completed)] += u64::from(arrival.recorded && !ours);
        let response = done.since(arrival.planned).0;
        let service = done.since(flight.wire).0;
        match outcome {
            Outcome::Completed => {
                self.note(arrival, What::Completed, response);
                self.note(arrival, What::Service, service);
                self.note(arrival, What::FirstByte, flight.first_byte.since(flight.wire).0);
            }
            Outcome::Failed(failure) => {
                self.note(arrival, What::Failed(failure), response);
                if failure == TIMEOUT {
                    self.note(arrival, What::GivenUp, service);
                    if flight.first_byte.0 > 0 {
                        self.note(arrival, What::FirstByte, flight.first_byte.since(flight.wire).0);
                    }
                }
            }
        }
        if let Some(took) = flight.connect {
            self.note(arrival, What::Connect, took.0);
        }
        if let Some(took) = flight.tls {
            self.note(arrival, What::Tls, took.0);
        }
    }

    /// Begins to fill a second.
    pub(super) fn begin_second(&mut self, second: u32) {
        self.second_from = self.recording + Nanos(u64::from(second) * 1_000_000_000);
        self.next_second = self.second_from + Nanos(1_000_000_000);
        self.second_is_cut = self.shared.cut_seconds.contains(&second);
        self.interval.second = second;
    }

    /// Gives the filled interval away and goes on with an empty one.
    pub fn hand_over(&mut self, now: Nanos) {
        let empty = match self.lines.empty.try_recv() {
            Ok(empty) => empty,
            // The collector is late: rather a new one than a wait.
            Err(_) => match IntervalSamples::new(self.shared.scripts.len()) {
                Ok(new) => Box::new(new),
                Err(_) => return,
            },
        };
        let next = (now.since(self.recording).0 / 1_000_000_000) as u32;
        let mut full = std::mem::replace(&mut self.interval, empty);
        full.next = next;
        self.begin_second(next);
        let _ = self.lines.full.send((self.index, full));
    }

    /// Counts what is unfinished (`flying` is still on its way) and gives the last interval away.
    pub fn close(mut self, flying: &[Flight]) -> Done {
        self.hand_marks_over();
        let (ends, now) = (self.ends, clock::mono());
        for flight in flying {
            self.note(&flight.arrival, What::InFlight, now.since(flight.arrival.planned).0);
            self.note(&flight.arrival, What::GivenUp, now.since(flight.wire).0);
            self.steps_behind(&flight.arrival, now);
        }
        let waiting: Vec<Arrival> = self.rings.drain().collect();
        for arrival in waiting {
            self.unsent(&arrival, now);
        }
        // What the plan held and the loop never came to.
        if matches!(self.due, Due::Open { .. }) {
            while let Some(arrival) = self.next_due(ends) {
                self.unsent(&arrival, now);
            }
            while let Some(arrival) = self.next_left_over() {
                self.unsent(&arrival, now);
            }
        }
        if let Some(walks) = &self.walks {
            self.done.flows = walks.counts;
            self.done.expected = walks.expected().collect();
        }
        self.done.tired = self.tired.len() as u64;
        self.done.never_started = self.started.iter().filter(|started| !**started).count() as u64;
        self.interval.next = u32::MAX;
        let empty = Box::new(IntervalSamples { second: 0, next: 0, operations: Vec::new(), apart: Vec::new() });
        let last = std::mem::replace(&mut self.interval, empty);
        let _ = self.lines.full.send((self.index, last));
        self.done.sessions = self.sessions_back();
        self.done
    }

    fn unsent(&mut self, arrival: &Arrival, now: Nanos) {
        self.note(arrival, What::Unsent, now.since(arrival.planned).0);
        self.steps_behind(arrival, now);
    }

    /// The steps of a flow that were planned behind one that was never answered: a server that hangs must not make the
    /// plan shorter.
    fn steps_behind(&mut self, arrival: &Arrival, now: Nanos) {
        while let Some(step) = self.next_unanswered(arrival.walk) {
            self.note(&step, What::Unsent, now.since(step.planned).0);
        }
    }

    /// Gives up before anything was recorded, or because of the machine.
    pub fn give_up(mut self, error: LoadError) -> Failed {
        Failed { error, sessions: self.sessions_back().list }
    }

    /// The sessions as the next drive may have them: without those that were made for walks, and nobody holds any.
    fn sessions_back(&mut self) -> Sessions {
        let mut sessions = std::mem::take(&mut self.sessions);
        sessions.list.truncate(self.prepared);
        for session in &mut sessions.list {
            session.walked = false;
            session.ended |= session.locked;
            session.locked = false;
        }
        sessions
    }
}

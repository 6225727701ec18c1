//! Which step of its flow is a session at? Walks through the steps of a flow, each planned from the one before.
//!
//! In an open load a step is planned when the step before was planned to have been answered: its own planned start plus
//! what its operation is expected to take (Gil Tene, HdrHistogram#148). A step whose predecessor was answered late is sent
//! late with that planned start, so that a slow login is seen in the response time of what waited for it. In a closed
//! load a step is planned when its predecessor was answered, as everything of a user is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::flight::NONE;
use crate::units::Nanos;

/// Service times of an operation from whose median its expected time is taken.
const LEARNT_FROM: usize = 101;

/// One step of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Index of its script.
    pub operation: u16,
    /// How often it is done, one after the other.
    pub times: u32,
    /// Pause before the first of them.
    pub pause: Nanos,
}

/// How many flows came how far, of those whose first step is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub started: u64,
    pub completed: u64,
    /// Ended by a step that failed.
    pub abandoned: u64,
}

/// What an operation is expected to take: the median of the first service times, and from then on the same. A server
/// that grows slower must not be expected to be slow.
#[derive(Clone, Debug)]
struct Expectation {
    seen: Vec<u64>,
    ns: Option<u64>,
}

impl Expectation {
    fn learn(&mut self, service: Nanos) {
        if self.seen.len() == LEARNT_FROM {
            return;
        }
        let place = self.seen.partition_point(|seen| *seen <= service.0);
        self.seen.insert(place, service.0);
        self.ns = Some(self.seen[(self.seen.len() - 1) / 2]);
    }
}

/// One session on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    /// Number of the arrival that began it.
    n: u64,
    step: usize,
    /// Times that the step has been done.
    times: u32,
    /// Requests before this one.
    requests: u64,
    planned: Nanos,
    session: u32,
    user: u32,
    recorded: bool,
}

impl Walk {
    /// Goes past a step that has been done once more; the place of the next one.
    fn advance(&mut self, step: Step) -> usize {
        self.times += 1;
        self.requests += 1;
        if self.times >= step.times {
            self.step += 1;
            self.times = 0;
        }
        self.step
    }

    /// The pause before its step, which is there once.
    fn pause(&self, steps: &[Step]) -> Nanos {
        if self.times == 0 { steps[self.step].pause } else { Nanos(0) }
    }
}

/// A request of a walk that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub walk: u32,
    pub operation: u16,
    pub planned: Nanos,
    /// Not before the step before it was answered.
    pub due: Nanos,
    /// A number of its own among the arrivals.
    pub n: u64,
    pub user: u32,
}

/// What comes after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next step waits for its moment.
    Planned,
    /// The flow has ended, and its session is free.
    Ended { session: u32 },
}

/// The walks of one loop.
#[derive(Debug)]
pub(crate) struct Walks {
    steps: Vec<Step>,
    /// Whether steps are planned from plans, or from answers.
    open: bool,
    walks: Vec<Walk>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<(Nanos, u32)>>,
    expected: Vec<Expectation>,
    pub counts: Counts,
}

impl Walks {
    /// For these steps, of so many scripts.
    pub fn new(steps: Vec<Step>, scripts: usize, open: bool) -> Walks {
        let expected = Expectation { seen: Vec::with_capacity(LEARNT_FROM), ns: None };
        Walks {
            steps,
            open,
            walks: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            expected: vec![expected; scripts],
            counts: Counts::default(),
        }
    }

    /// Begins a walk with arrival `n`.
    pub fn start(&mut self, n: u64, planned: Nanos, user: u32, recorded: bool) -> Due {
        self.counts.started += u64::from(recorded);
        let walk = Walk { n, planned, session: NONE, user, recorded, ..Walk::default() };
        let at = match self.free.pop() {
            Some(at) => {
                self.walks[at as usize] = walk;
                at
            }
            None => {
                self.walks.push(walk);
                self.walks.len() as u32 - 1
            }
        };
        self.request(at, planned)
    }

    fn request(&self, at: u32, due: Nanos) -> Due {
        let walk = &self.walks[at as usize];
        // Far from the numbers of arrivals, which count up from zero.
        let n = if walk.requests == 0 { walk.n } else { walk.n ^ (walk.requests << 40) };
        Due { walk: at, operation: self.steps[walk.step].operation, planned: walk.planned, due, n, user: walk.user }
    }

    /// When the next step is due.
    pub fn next(&self) -> Option<Nanos> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// The next step that is due.
    pub fn pop(&mut self, now: Nanos) -> Option<Due> {
        let Reverse((due, at)) = *self.due.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.due.pop();
        Some(self.request(at, due))
    }

    /// The session that a walk has; [`NONE`] before it has one.
    pub fn session(&self, walk: u32) -> u32 {
        self.walks[walk as usize].session
    }

    /// Gives a walk its session.
    pub fn hold(&mut self, walk: u32, session: u32) {
        self.walks[walk as usize].session = session;
    }

    /// A step was answered at `done`, after `service`, or failed.
    pub fn ended(&mut self, at: u32, done: Nanos, service: Nanos, failed: bool) -> Next {
        let walk = &mut self.walks[at as usize];
        let step = self.steps[walk.step];
        let operation = usize::from(step.operation);
        if !failed {
            self.expected[operation].learn(service);
        }
        let over = walk.advance(step) == self.steps.len();
        if failed || over {
            self.counts.abandoned += u64::from(walk.recorded && failed);
            self.counts.completed += u64::from(walk.recorded && !failed);
            self.free.push(at);
            return Next::Ended { session: walk.session };
        }
        let answered = match (self.open, self.expected[operation].ns) {
            (true, Some(ns)) => walk.planned + Nanos(ns),
            _ => done,
        };
        walk.planned = answered + walk.pause(&self.steps);
        // Nobody can go on before he is answered, whatever the plan was.
        let due = walk.planned.max(done);
        self.due.push(Reverse((due, at)));
        Next::Planned
    }

    /// The next step of a walk whose last one was not answered, as an open plan has it: from what was expected. None where
    /// it is not planned before `ends`, and where nobody knows what to expect, since no such step was ever answered.
    pub fn unanswered(&mut self, at: u32, ends: Nanos) -> Option<Due> {
        let walk = self.walks.get_mut(at as usize).filter(|_| self.open)?;
        let step = *self.steps.get(walk.step)?;
        let expected = Nanos(self.expected[usize::from(step.operation)].ns?);
        if walk.advance(step) == self.steps.len() {
            return None;
        }
        walk.planned = walk.planned + expected + walk.pause(&self.steps);
        let planned = walk.planned;
        (planned < ends).then(|| self.request(at, planned))
    }

    /// What the operations were expected to take, by script, where they were done at all.
    pub fn expected(&self) -> impl Iterator<Item = Option<Nanos>> + '_ {
        self.expected.iter().map(|e| e.ns.map(Nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(n: u64) -> Nanos {
        Nanos(n * MS)
    }

    /// Issue, a pause of 5 ms, two verifies, refresh.
    fn walks(open: bool) -> Walks {
        let step = |operation, times, pause| Step { operation, times, pause: ms(pause) };
        Walks::new(vec![step(0, 1, 0), step(1, 2, 5), step(2, 1, 0)], 3, open)
    }

    #[test]
    fn a_step_is_planned_from_the_plan_of_the_step_before_it() {
        let mut walks = walks(true);
        // The first login is learnt from: what it took is what logins are expected to take.
        let first = walks.start(7, ms(100), NONE, true);
        assert_eq!((first.operation, first.planned, first.n), (0, ms(100), 7));
        assert_eq!(walks.ended(first.walk, ms(110), ms(10), false), Next::Planned);
        assert_eq!((walks.pop(ms(114)), walks.next()), (None, Some(ms(115))));
        let verify = walks.pop(ms(115)).unwrap();
        assert_eq!((verify.operation, verify.planned), (1, ms(115)));
        // The second login is 90 ms late: its verify goes out late with the planned start that it had.
        let second = walks.start(8, ms(200), NONE, true);
        walks.ended(second.walk, ms(300), ms(100), false);
        let late = walks.pop(ms(300)).unwrap();
        assert_eq!((late.walk, late.planned, late.due), (second.walk, ms(215), ms(300)));
        assert_ne!(late.n, verify.n);
    }

    #[test]
    fn what_stands_behind_a_step_that_is_never_answered_is_planned_too() {
        let mut walks = walks(true);
        let hangs = walks.start(1, ms(200), NONE, true);
        assert_eq!(walks.unanswered(hangs.walk, ms(1000)), None, "nobody knows yet what a login takes");
        // A login takes 10 ms, a verify 20 ms, and nobody has refreshed yet.
        let first = walks.start(0, ms(100), NONE, true);
        walks.ended(first.walk, ms(110), ms(10), false);
        let verify = walks.pop(ms(115)).unwrap();
        walks.ended(verify.walk, ms(135), ms(20), false);
        let seen: Vec<_> = std::iter::from_fn(|| walks.unanswered(hangs.walk, ms(1000))).collect();
        let told: Vec<_> = seen.iter().map(|due| (due.operation, due.planned)).collect();
        assert_eq!(told, [(1, ms(215)), (1, ms(235)), (2, ms(255))]);
        assert!(seen[0].n != seen[1].n && seen[1].n != hangs.n);
        // What the plan has behind the end is nobody's.
        let late = walks.start(2, ms(300), NONE, true);
        assert_eq!(walks.unanswered(late.walk, ms(320)).map(|due| due.planned), Some(ms(315)));
        assert_eq!(walks.unanswered(late.walk, ms(320)), None);
        // A user of a closed model plans nothing before he was answered.
        let mut closed = self::walks(false);
        let user = closed.start(0, ms(0), 3, true);
        closed.ended(user.walk, ms(10), ms(10), false);
        assert_eq!(closed.unanswered(user.walk, ms(1000)), None);
    }

    #[test]
    fn a_users_step_is_planned_when_he_was_answered() {
        let mut walks = walks(false);
        let first = walks.start(0, ms(100), 3, true);
        walks.ended(first.walk, ms(150), ms(50), false);
        let verify = walks.pop(ms(155)).unwrap();
        assert_eq!((verify.planned, verify.user), (ms(155), 3));
    }

    #[test]
    fn a_flow_is_walked_to_its_end_and_its_session_is_free_then() {
        let mut walks = walks(true);
        let mut due = walks.start(0, ms(0), NONE, true);
        walks.hold(due.walk, 42);
        let mut operations = vec![due.operation];
        let mut now = ms(0);
        loop {
            now = now + ms(10);
            match walks.ended(due.walk, now, ms(10), false) {
                Next::Ended { session } => break assert_eq!(session, 42),
                Next::Planned => due = walks.pop(now + ms(10)).unwrap(),
            }
            operations.push(due.operation);
        }
        assert_eq!(operations, [0, 1, 1, 2]);
        let again = walks.start(1, now, NONE, true);
        assert_eq!((again.walk, walks.session(again.walk)), (due.walk, NONE));
        assert_eq!(walks.ended(again.walk, now, ms(1), true), Next::Ended { session: NONE });
        assert_eq!(walks.counts, Counts { started: 2, completed: 1, abandoned: 1 });
    }

    #[test]
    fn a_server_that_grows_slower_is_not_expected_to_be_slow() {
        let mut walks = walks(true);
        for n in 0..300 {
            let login = walks.start(n, ms(0), NONE, false);
            walks.ended(login.walk, ms(1000), ms(if n < 101 { 10 } else { 900 }), false);
        }
        assert_eq!(walks.expected().next().unwrap(), Some(ms(10)));
        assert_eq!(walks.counts.started, 0);
    }
}

//! What does every driver keep the same way? Arrivals, sessions, counts and the second that is being filled.

mod booking;
mod coming;
mod keeping;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::atomic::Ordering;

use super::LoadError;
use super::claims;
use super::flight::{Arrival, Flight, NONE};
use super::flow::Walks;
use super::plan::{Purpose, Stripe, uniform};
use super::recorder::{Failure, IntervalSamples};
use super::rings::Rings;
use super::sampled::{BATCH, Look, Mark, Sample, Taps};
use super::script::{Known, Outcome, Role, Script, Slots, Spoil, travels_plainly};
use super::session::{Session, SessionSlots, Sessions};
use super::shared::{Done, Exchanged, Lines, Live, Model, Shared};
use crate::clock;
use crate::target::{Answer, TokenUse};
use crate::units::Nanos;
use coming::Due;

/// Housekeeping, and the longest sleep.
pub(super) const TICK: Nanos = Nanos(50_000_000);
/// Examples of failures that one loop keeps.
const EXAMPLES: usize = 32;

/// What an arrival sends, beside its script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub session: u32,
    pub spoil: Spoil,
    /// The token may have ended by our own schedule when it was chosen.
    pub expired: bool,
    /// When it ends at the earliest, and has ended at the latest; zero if nobody knows.
    pub expires: Nanos,
    pub ended: Nanos,
    /// Its session is being ended or renewed by us.
    pub doomed: bool,
}

/// The books of one loop.
pub(super) struct Ledger<'a> {
    pub shared: &'a Shared<'a>,
    pub index: usize,
    pub sessions: Sessions,
    pub in_flight: u64,
    pub recording: Nanos,
    pub ends: Nanos,
    pub drained: Nanos,
    pub next_second: Nanos,
    pub next_tick: Nanos,
    pub done: Done,
    /// When the second began that the interval is of.
    second_from: Nanos,
    /// A window begins or ends within it, so that its requests are told one by one.
    second_is_cut: bool,
    /// Completed, and failed or timed out, of what is recorded.
    ended: [u64; 2],
    /// By user of a closed model, as far as they are this loop's: whether it has sent anything yet.
    started: Vec<bool>,
    live: &'a Live,
    lines: Lines,
    rings: Rings,
    walks: Option<Walks>,
    /// Sessions that were prepared; those behind them were made for walks.
    prepared: usize,
    due: Due<'a>,
    interval: Box<IntervalSamples>,
    start: Nanos,
    /// Sessions that wait for a login or a refresh off the timed path.
    tired: VecDeque<u32>,
    /// When access tokens have to be renewed, the earliest first; only those of this drive.
    ends_of_tokens: BinaryHeap<Reverse<(Nanos, u32)>>,
    /// By script: the last reply that satisfied a whole predicate.
    known: Vec<Known>,
    taps: Taps,
    /// What new tokens said, for the verifier.
    marks: Vec<Mark>,
    /// Room for reading them.
    reading: Vec<u8>,
}

/// What a request shows: a session's values, and another token in place of its own where that is wanted.
#[derive(Clone, Copy)]
struct Shown<'a> {
    token: Option<&'a [u8]>,
    session: Option<SessionSlots<'a>>,
}

impl Slots for Shown<'_> {
    fn slot(&self, index: usize) -> &[u8] {
        match (index, self.token, &self.session) {
            (0, Some(token), _) => token,
            (_, _, Some(session)) => session.slot(index),
            (_, _, None) => &[],
        }
    }
}

/// Spoils a signature. Not its last character: some of the bits of that mean nothing.
fn tamper(token: &mut [u8]) {
    let at = token.len() - token.len().min(10);
    if let Some(byte) = token.get_mut(at) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
}

/// The check that a token spoilt on purpose belongs to, where it is accepted.
fn refuses(spoil: Spoil) -> &'static str {
    match spoil {
        Spoil::Expired => "time-exp-rejected",
        Spoil::Revoked => "revoke-effective",
        Spoil::None | Spoil::Tampered => "sig-tamper",
    }
}

impl<'a> Ledger<'a> {
    /// The books of one share of the plan and of the sessions.
    pub fn new(
        shared: &'a Shared<'a>,
        live: &'a Live,
        stripe: Stripe,
        sessions: Sessions,
        lines: Lines,
    ) -> Result<Ledger<'a>, LoadError> {
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
        let users = match &due {
            Due::Closed { ready, .. } => ready.len(),
            Due::Open { .. } => 0,
        };
        let prepared = sessions.list.len();
        Ok(Ledger {
            shared,
            index: stripe.index as usize,
            sessions,
            in_flight: 0,
            recording: Nanos(0),
            ends: Nanos(0),
            drained: Nanos(0),
            next_second: Nanos(0),
            next_tick: Nanos(0),
            second_from: Nanos(0),
            second_is_cut: false,
            ended: [0; 2],
            started: vec![false; users],
            done: Done { examples: Vec::with_capacity(EXAMPLES), ..Done::default() },
            live,
            lines,
            // A user who cannot be served now waits: there are never more of them than users.
            rings: Rings::new(scripts, users),
            walks: (!shared.flow.is_empty())
                .then(|| Walks::new(shared.flow.clone(), scripts, matches!(shared.model, Model::Open(_)))),
            prepared,
            due,
            interval: Box::new(IntervalSamples::new(scripts)?),
            start: Nanos(0),
            tired: VecDeque::new(),
            ends_of_tokens: BinaryHeap::new(),
            known: (0..scripts).map(|_| Known::default()).collect(),
            taps: Taps::new(shared.sample, stripe.of),
            marks: Vec::with_capacity(BATCH),
            reading: Vec::with_capacity(2048),
        })
    }

    /// Waits for the other loops; the clock of the drive starts a moment after the last of them is ready.
    /// `opened`: whether this one is.
    pub fn begin(&mut self, opened: Result<(), LoadError>) -> Result<(), LoadError> {
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
        self.begin_second(0);
        self.next_tick = self.start;
        match &mut self.due {
            Due::Open { arrivals, next } => *next = arrivals.next().map(|(n, at)| (n, self.start + at)),
            Due::Closed { ready, .. } => ready.iter_mut().for_each(|(at, _)| *at = self.start + *at),
        }
        self.find_tired();
        Ok(())
    }

    /// Whose token an arrival sends, and what is wrong with it on purpose. `None`: no session is free.
    pub fn choose(&mut self, arrival: &Arrival) -> Option<Choice> {
        let operation = usize::from(arrival.operation);
        let (script, uses) = (&self.shared.scripts[operation], self.shared.uses[operation]);
        let spoil = match script.role {
            Role::Present | Role::Refresh => self.shared.spoil(arrival.n, uses, script.role, &self.sessions),
            _ => Spoil::None,
        };
        let none = Nanos(0);
        let mut choice = Choice { session: NONE, spoil, expired: false, expires: none, ended: none, doomed: false };
        let of_a_session = matches!(script.role, Role::Present | Role::Refresh | Role::Revoke);
        if let (Some(walks), false) = (&mut self.walks, arrival.walk == NONE) {
            choice.session = walks.session(arrival.walk);
            if choice.session == NONE && script.role != Role::Plain {
                let at = match script.role {
                    Role::Issue => self.sessions.empty(),
                    _ => self.sessions.pick(script.role, uses, arrival.n, arrival.released)?,
                };
                self.sessions.list[at].walked = true;
                walks.hold(arrival.walk, at as u32);
                choice.session = at as u32;
            }
            let held = self.sessions.list.get(choice.session as usize);
            if held.is_some_and(|session| session.locked && matches!(script.role, Role::Refresh | Role::Revoke)) {
                return None;
            }
        } else if of_a_session && spoil != Spoil::Revoked {
            choice.session = self.sessions.pick(script.role, uses, arrival.n, arrival.released)? as u32;
        }
        if of_a_session
            && spoil != Spoil::Revoked
            && let Some(session) = self.sessions.list.get_mut(choice.session as usize)
        {
            if uses == TokenUse::Access {
                choice.expired = session.has_expired(arrival.released);
                (choice.expires, choice.ended) = (session.expires, session.ended_at);
            }
            let kills = script.role == Role::Revoke || script.role == Role::Refresh && self.shared.refresh_kills;
            choice.doomed = session.ended || session.locked && session.killed.0 > 0;
            if kills {
                session.killed = clock::mono();
            }
            session.locked |= matches!(script.role, Role::Refresh | Role::Revoke);
            if script.role == Role::Present && spoil == Spoil::None {
                self.sessions.presented(choice.session as usize);
            }
        }
        Some(choice)
    }

    /// Whether the refusal of a good token is our own doing: it may have ended by now, or its session was being ended or
    /// renewed by us while it was on its way.
    fn by_us(&self, flight: &Flight, done: Nanos) -> Option<Failure> {
        if flight.expires.0 > 0 && done >= flight.expires {
            return Some(Failure::ExpiredByUs);
        }
        let session = self.sessions.list.get(flight.session as usize)?;
        let presents = self.shared.scripts[usize::from(flight.arrival.operation)].role == Role::Present;
        let killed = flight.doomed || session.ended || session.killed > flight.wire;
        (presents && killed).then_some(Failure::RevokedByUs)
    }

    /// Writes the request of an arrival into `out`.
    pub fn assemble(&self, arrival: &Arrival, choice: &Choice, out: &mut Vec<u8>) -> Result<(), LoadError> {
        let operation = usize::from(arrival.operation);
        let (script, uses) = (&self.shared.scripts[operation], self.shared.uses[operation]);
        let foreign = match choice.spoil {
            Spoil::Expired => self.sessions.expired.as_slice(),
            Spoil::Revoked => self.sessions.revoked.as_slice(),
            _ => &[],
        };
        let at = (uniform(self.shared.seed, arrival.n, Purpose::Session) * foreign.len() as f64) as usize;
        let session = self.sessions.list.get(choice.session as usize).filter(|_| script.role != Role::Issue);
        let shown = Shown {
            token: foreign.get(at.min(foreign.len().saturating_sub(1))).map(Vec::as_slice),
            session: session.map(|session| session.slots(uses)),
        };
        let plain = session.is_none_or(Session::is_plain) && shown.token.is_none_or(travels_plainly);
        let spliced = if plain { script.splice(&shown, out) } else { None };
        let tampered = choice.spoil == Spoil::Tampered;
        match (spliced, self.shared.target) {
            (Some(token), _) if tampered => tamper(&mut out[token]),
            (Some(_), _) | (None, None) => {}
            (None, Some(target)) => {
                let mut token = shown.slot(0).to_vec();
                if tampered {
                    tamper(&mut token);
                }
                let shown = Shown { token: Some(&token), ..shown };
                *out = script.rebuild(target, &shown, &self.shared.others)?;
            }
        }
        Ok(())
    }

    /// A whole reply: judged, learnt from, recorded.
    pub fn completed(&mut self, flight: &Flight, done: Nanos, reply: &impl Answer) {
        let shared: &'a Shared<'a> = self.shared;
        let operation = usize::from(flight.arrival.operation);
        let script = &shared.scripts[operation];
        // Before the reply changes anything: a refresh that has failed ends its session.
        let ours = self.by_us(flight, done);
        let known = &mut self.known[operation];
        let mut outcome = script.judge(shared.target, reply, flight.spoil, flight.expired, known);
        if !self.learn(reply, script, flight, outcome == Outcome::Completed, done) && outcome == Outcome::Completed {
            outcome = Outcome::Failed(Failure::NoToken);
        }
        if let Outcome::Failed(Failure::Refused(_)) = outcome
            && let Some(ours) = ours
        {
            outcome = Outcome::Failed(ours);
        }
        self.record(flight, done, outcome);
        if flight.arrival.recorded && self.taps.open(done) {
            self.tap(flight, script, done, outcome, reply);
        }
        if let Outcome::Failed(Failure::Accepted(what)) = outcome
            && flight.arrival.recorded
        {
            let at = done.since(self.recording);
            self.done.found.say(
                refuses(flight.spoil),
                &script.name,
                at,
                "a refusal",
                format!("it accepted {what} token"),
            );
        }
        if let Outcome::Failed(failure) = outcome
            && flight.arrival.recorded
            && self.wants_example(flight.arrival.operation, failure)
        {
            let body = reply.body();
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            self.done.examples.push((flight.arrival.operation, failure, format!("status {}: {text}", reply.status())));
        }
        self.next_of_user(flight, done, false, outcome != Outcome::Completed);
    }

    /// The exchange failed on the wire.
    pub fn failed(&mut self, flight: &Flight, now: Nanos, failure: Failure, example: &str) {
        let role = self.shared.scripts[usize::from(flight.arrival.operation)].role;
        // Nobody knows whether the server used the token up.
        if matches!(role, Role::Refresh | Role::Revoke) {
            self.end_session(flight.session);
        }
        self.record(flight, now, Outcome::Failed(failure));
        if flight.arrival.recorded && self.wants_example(flight.arrival.operation, failure) {
            self.done.examples.push((flight.arrival.operation, failure, example.to_owned()));
        }
        self.next_of_user(flight, now, true, true);
    }

    /// Hands a copy of the exchange to the verifier, if that has room.
    fn tap(&mut self, flight: &Flight, script: &Script, done: Nanos, outcome: Outcome, reply: &impl Answer) {
        let Some(line) = &self.lines.samples else { return };
        let session = self.sessions.list.get(flight.session as usize);
        let at = done.since(self.recording);
        let sample = Sample::of(flight, script, at, outcome, (self.shared.target, reply), session);
        // A full line loses the sample.
        let _ = line.try_send(Look::Sample(Box::new(sample)));
    }

    /// What a reply means for its session. `false`: it had to bring tokens and brought none.
    fn learn(&mut self, reply: &impl Answer, script: &Script, flight: &Flight, completed: bool, now: Nanos) -> bool {
        let at = flight.session;
        match script.role {
            _ if flight.spoil == Spoil::Revoked => true,
            Role::Present | Role::Plain => true,
            Role::Revoke => {
                self.end_session(at);
                true
            }
            Role::Issue | Role::Refresh => {
                let shared = self.shared;
                self.rings.session_is_free();
                // Mostly the tokens can be taken as they stand; else the reply is read as a whole.
                let captured = completed.then(|| script.capture(reply.body())).flatten();
                let issued = match shared.target {
                    _ if captured.is_some() => None,
                    Some(target) if completed && script.returns_tokens() => script.tokens(target, reply),
                    Some(_) if completed => {
                        if let Some(session) = self.sessions.list.get_mut(at as usize) {
                            session.locked = false;
                        }
                        return true;
                    }
                    _ => None,
                };
                let at = if script.role == Role::Refresh || flight.arrival.walk != NONE {
                    at
                } else {
                    self.sessions.place_for_issued().map_or(NONE, |at| at as u32)
                };
                let when = Exchanged { sent: flight.wire, received: now };
                let access = captured.map_or_else(|| issued.as_ref().and_then(|i| i.access.as_deref()), |c| c.access);
                let claims = access.and_then(|token| claims::read(token, &shared.subject_claim, &mut self.reading));
                let brought = captured.is_some() || issued.is_some();
                match self.sessions.list.get_mut(at as usize) {
                    Some(session) if brought => {
                        match (&captured, &issued) {
                            (Some(tokens), _) => session.renew_plain(tokens, claims, shared.lifetime_s, when),
                            (None, Some(issued)) => {
                                session.renew(issued, claims, &shared.others, shared.lifetime_s, when);
                            }
                            (None, None) => {}
                        }
                        self.sessions.renewed(at as usize);
                        self.watch_end(at);
                        self.mark(flight, script.role, claims, now);
                    }
                    _ if script.role == Role::Refresh && !brought => self.end_session(at),
                    _ => {}
                }
                !completed || brought
            }
        }
    }

    /// Remembers what a new token said, for the verifier.
    fn mark(&mut self, flight: &Flight, role: Role, claims: Option<claims::Claims>, now: Nanos) {
        let (Some(claims), true) = (claims, self.lines.samples.is_some()) else { return };
        if self.marks.len() == BATCH {
            self.hand_marks_over();
        }
        let (at, asked, subject) = (now.since(self.recording), flight.wire, self.shared.subject);
        self.marks.push(Mark { operation: flight.arrival.operation, role, at, asked, subject, claims });
    }

    fn hand_marks_over(&mut self) {
        if let (Some(line), false) = (&self.lines.samples, self.marks.is_empty()) {
            // A full line loses them: nothing waits for the verifier.
            let _ = line.try_send(Look::Marks(std::mem::replace(&mut self.marks, Vec::with_capacity(BATCH))));
        }
    }

    fn wants_example(&self, operation: u16, failure: Failure) -> bool {
        self.done.examples.len() < EXAMPLES
            && !self.done.examples.iter().any(|(o, f, _)| *o == operation && *f == failure)
    }

    /// Housekeeping, twenty times a second.
    pub fn tick(&mut self, now: Nanos) {
        self.next_tick = now + TICK;
        if self.shared.cancel.load(Ordering::Relaxed) && now < self.ends {
            self.ends = now;
            self.drained = now + Nanos(200_000_000);
        }
        self.live.completed.store(self.ended[0], Ordering::Relaxed);
        self.live.failed.store(self.ended[1], Ordering::Relaxed);
        self.live.in_flight.store(self.in_flight, Ordering::Relaxed);
        self.hand_marks_over();
        self.rings.session_is_free();
        self.chores(now);
    }
}

//! Does the target hold what it must while it is busy? A bounded number of control operations beside the load.
//!
//! They have sessions and connections of their own, so that they neither wait for the load's nor use its tokens up: a few
//! users log in at the same instant, tokens are tampered with, let expire, rotated, raced and revoked, and whatever must
//! be refused is presented. What is destroyed belongs to the second user, where the profile has one. A share of the
//! load's requests says how often; every kind comes at least once in a load, and never are there more than
//! [`MOST_PER_S`].

mod caller;
mod rounds;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use super::claims;
use super::found::Found;
use super::sampled::{CONTROL, Look, Mark};
use super::script::Role;
use super::shared::{Live, Shared};
use crate::clock;
use crate::jose::{self, Forge};
use crate::target::{Issued, Meaning, Target, TokenUse, Vars};
use crate::units::Nanos;
use crate::wire::TlsOptions;

use caller::Callers;

/// Most control operations in a second, whatever the load.
pub(crate) const MOST_PER_S: f64 = 50.0;
/// Exchanges of one turn through all kinds.
const OF_A_CYCLE: f64 = 36.0;
/// Share of the load within which the first turn is through.
const FIRST_CYCLE: f64 = 0.4;
/// How old a session is that is refreshed to see whether its new token is new, and how old an access token whose
/// lifetime has gone by must be beyond that.
const RESTED: Nanos = Nanos(2_600_000_000);
/// Who acts at the same instant: two users, and of the second as many sessions as the other kinds use up.
const CROWD: [usize; 5] = [1, 0, 1, 1, 1];
/// Turns for which sessions are opened beforehand, where the load never logs in: what the first turn's share allows in a
/// short load. A longer one goes on with what is left.
const OPENED_TURNS: usize = 3;
/// Access tokens that are kept until they have ended.
const KEPT: usize = 64;

/// A user, and what tokens and replies say of him when he is asked for alone.
#[derive(Debug)]
struct Who {
    vars: Vars,
    subject: Option<u64>,
    name: Option<String>,
}

/// A session of the control operations.
#[derive(Clone, Debug)]
struct Held {
    user: usize,
    issued: Issued,
}

impl Held {
    fn refresh(&self) -> Option<&str> {
        self.issued.refresh.as_deref()
    }
    fn access(&self) -> Option<&str> {
        self.issued.access.as_deref()
    }
}

/// What has to be looked at again at a later moment.
#[derive(Debug)]
enum Watched {
    /// A refresh token that was used up, once its declared grace is over.
    Replay { due: Nanos, token: String, held: Held },
    /// A revoked token, at a way that honours revocations, until it is refused.
    Dead { due: Nanos, token: String, held: Held, way: String, since: Nanos, taken: Option<Nanos> },
    /// A revoked session whose refresh is tried once the declared bound is over.
    Ended { due: Nanos, token: String, held: Held, since: Nanos },
}

impl Watched {
    fn due(&self) -> Nanos {
        match self {
            Watched::Replay { due, .. } | Watched::Dead { due, .. } | Watched::Ended { due, .. } => *due,
        }
    }
}

/// What was found out about a target before the load: enough to tell what is wrong under it.
#[derive(Debug)]
pub(crate) struct Controls<'a> {
    target: &'a Target,
    tls: &'a TlsOptions,
    users: Vec<Who>,
    /// Ways that take access tokens.
    ways: Vec<String>,
    /// A token of the first user as it is signed anew, where that is accepted.
    forge: Option<(Forge, jose::SigningKey, &'static jose::Algorithm)>,
    resting: VecDeque<(Nanos, Held)>,
    /// Sessions for the turns to come, where the load has no logins of its own: a password hash beside it would be work
    /// that the load was spared on purpose, and the load's times would tell of ours.
    opened: Option<VecDeque<Held>>,
    left_out: Vec<String>,
    pub behind_s: f64,
}

/// What came of the control operations.
#[derive(Debug, Default)]
pub(crate) struct Controlled {
    /// Exchanges, by kind.
    pub exchanges: BTreeMap<&'static str, u64>,
    /// Those without an answer that says anything: limits, errors, timeouts.
    pub unanswered: u64,
    /// How long answers were waited for, added up: what the target had to do beside the load.
    pub waited: Nanos,
    /// What could not be tried, and why.
    pub left_out: Vec<String>,
    pub found: Found,
}

/// Above this share of what the load itself waited for, its slow requests may be the control's doing.
const HEAVY: f64 = 0.2;

impl Controlled {
    /// What to say where the control was no small thing beside a load that waited `load` for all its answers.
    pub fn doubt(&self, load: Nanos) -> Option<String> {
        let share = self.waited.as_secs_f64() / load.as_secs_f64().max(1e-9);
        (share > HEAVY).then(|| {
            format!(
                "control operations kept the server for {}, {:.0} % of what the load took: slow requests may have waited for them; `control: 0%` leaves them out",
                self.waited,
                share * 100.0
            )
        })
    }
}

impl<'a> Controls<'a> {
    /// Logs every user in, before anything else happens; and for some turns more where the load itself never logs in.
    ///
    /// # Errors
    /// Why there can be no control operations, in words.
    pub fn prepare(target: &'a Target, tls: &'a TlsOptions, load_logs_in: bool) -> Result<Controls<'a>, String> {
        if !target.has("issue") || target.is_command("issue") {
            return Err("the profile has no request `issue`".into());
        }
        let mut vars = vec![Vars::new()];
        let mut left_out = Vec::new();
        match target.second_user() {
            Ok(Some(second)) => vars.push(Vars::new().user(&second)),
            _ => left_out.push("mixed-up users, for want of a `second_user` in the profile".to_owned()),
        }
        let access = |way: &&str| target.accepts(way).contains(&TokenUse::Access) && !target.is_command(way);
        let ways: Vec<String> = target.verify_ways().into_iter().filter(access).map(str::to_owned).collect();
        let mut controls = Controls {
            target,
            tls,
            users: Vec::new(),
            ways,
            forge: None,
            resting: VecDeque::new(),
            opened: None,
            left_out,
            behind_s: 0.0,
        };
        for (user, vars) in vars.into_iter().enumerate() {
            // A server that knows callers by their connection must not spoil what they are called.
            let mut callers = Callers::new(target, tls);
            let asked = clock::unix();
            let held = Held { user, issued: logged_in(target, &mut callers, &vars)? };
            let claims = held.access().and_then(|token| controls.claims(token));
            if let Some(iat) = claims.and_then(|c| c.iat) {
                // What the two clocks stand apart, not what a login takes.
                let behind = asked - iat;
                controls.behind_s = if behind.abs() > 1.5 { behind } else { controls.behind_s };
            }
            let name =
                held.access().filter(|_| controls.ways.iter().any(|w| w == "verify.resource")).and_then(|token| {
                    let (meaning, reply) = callers.ask("verify.resource", &controls.vars(&held, token, &vars)).ok()?;
                    (meaning == Meaning::Accepted).then(|| target.identity(&reply))?
                });
            if user == 0 {
                controls.forge = controls.forging(&mut callers, &held, &vars);
            }
            controls.users.push(Who { vars, subject: claims.and_then(|c| c.subject), name });
            controls.resting.push_back((clock::mono(), held));
        }
        if controls.forge.is_none() && target.profile.tokens.access.lifetime_s.is_none_or(|s| s > 60.0) {
            controls.left_out.push("expired tokens: none can be forged, and none ends within a minute".to_owned());
        }
        if !load_logs_in {
            controls
                .left_out
                .push("logins at the same instant: the load has none, and theirs would slow it".to_owned());
            let (opened, ended) = controls.open(OPENED_TURNS);
            controls.left_out.extend(ended.map(|why| format!("more than {} sessions: {why}", opened.len())));
            controls.opened = Some(opened);
        }
        Ok(controls)
    }

    /// Sessions for so many turns, or as many as are given, and why there are no more.
    fn open(&self, turns: usize) -> (VecDeque<Held>, Option<String>) {
        let mut callers = Callers::new(self.target, self.tls);
        let mut opened = VecDeque::with_capacity(turns * CROWD.len());
        for user in CROWD.into_iter().cycle().take(turns * CROWD.len()) {
            let user = user.min(self.users.len() - 1);
            match logged_in(self.target, &mut callers, &self.users[user].vars) {
                Ok(issued) => opened.push_back(Held { user, issued }),
                Err(why) => return (opened, Some(why)),
            }
        }
        (opened, None)
    }

    /// The subject of the load's own user, and whom the resource names for him.
    pub fn own(&self) -> (Option<u64>, Option<String>) {
        self.users.first().map_or((None, None), |who| (who.subject, who.name.clone()))
    }

    fn claims(&self, token: &str) -> Option<claims::Claims> {
        claims::read(token, self.target.profile.subject_claim(), &mut Vec::new())
    }

    fn vars(&self, held: &Held, token: &str, user: &Vars) -> Vars {
        user.clone().token(token).issued(&held.issued.other)
    }

    /// How tokens are signed anew, if one that is good for another minute is accepted by every way.
    fn forging(
        &self,
        callers: &mut Callers<'_>,
        held: &Held,
        user: &Vars,
    ) -> Option<(Forge, jose::SigningKey, &'static jose::Algorithm)> {
        let key = super::sampled::signing_key(self.target).filter(|_| !self.target.stateful_access())?;
        let forge = Forge::of(held.access()?)?;
        let named = forge.header.get("alg")?.as_str()?.to_owned();
        let algorithm = jose::algorithm(&named)?;
        let now = clock::unix() as i64;
        let good = forge.clone().claim("exp", now + 60).sign(&key, algorithm, &mut rand::rng()).ok()?.token();
        let taken = |way: &String, callers: &mut Callers<'_>| {
            callers.ask(way, &self.vars(held, &good, user)).is_ok_and(|(meaning, _)| meaning == Meaning::Accepted)
        };
        (!self.ways.is_empty() && self.ways.iter().all(|way| taken(way, callers))).then_some((forge, key, algorithm))
    }
}

/// What a login gives, before the load.
fn logged_in(target: &Target, callers: &mut Callers<'_>, user: &Vars) -> Result<Issued, String> {
    match callers.ask("issue", user).map_err(|why| format!("a login beforehand failed: {why}"))? {
        (Meaning::Accepted, reply) => target.tokens(&reply, "issue").map_err(|e| e.to_string()),
        (_, reply) => Err(format!("a login beforehand was answered {}", reply.status)),
    }
}

/// One load's control operations.
struct Patrol<'a> {
    controls: Controls<'a>,
    shared: &'a Shared<'a>,
    live: &'a [Live],
    line: Option<SyncSender<Look>>,
    callers: Callers<'a>,
    recording: Nanos,
    ends: Nanos,
    /// When the next exchange may be.
    next: Nanos,
    kind: &'static str,
    sessions: Vec<Held>,
    aged: VecDeque<(f64, Held)>,
    watched: Vec<Watched>,
    seen: Controlled,
}

/// Asks beside the loops until the load ends.
pub(crate) fn patrol(
    mut controls: Controls<'_>,
    shared: &Shared<'_>,
    live: &[Live],
    line: Option<SyncSender<Look>>,
) -> Controlled {
    let start = loop {
        match Nanos(shared.start.load(Ordering::Acquire)) {
            Nanos(0) if shared.cancel.load(Ordering::Relaxed) => return Controlled::default(),
            Nanos(0) => std::thread::sleep(std::time::Duration::from_millis(1)),
            start => break start,
        }
    };
    let left_out = std::mem::take(&mut controls.left_out);
    let (target, tls) = (controls.target, controls.tls);
    let recording = start + shared.stop.warmup;
    let mut patrol = Patrol {
        controls,
        shared,
        live,
        line,
        callers: Callers::new(target, tls),
        recording,
        ends: start + shared.stop.ends,
        next: recording,
        kind: "",
        sessions: Vec::new(),
        aged: VecDeque::new(),
        watched: Vec::new(),
        seen: Controlled { left_out, ..Controlled::default() },
    };
    patrol.go();
    patrol.seen
}

/// One kind of control operation.
type Round = fn(&mut Patrol<'_>);

/// The kinds in the order of a turn: the first logs in for the others.
const ROUNDS: &[(&str, Round)] = &[
    ("users at once", |p| p.users_at_once()),
    ("revoked", |p| p.revoked()),
    ("raced", |p| p.raced()),
    ("rotated", |p| p.rotated()),
    ("tampered", |p| p.tampered()),
    ("expired", |p| p.expired()),
    ("rested", |p| p.rested()),
];

impl Patrol<'_> {
    fn go(&mut self) {
        'load: loop {
            for (kind, round) in ROUNDS {
                if self.over() {
                    break 'load;
                }
                self.kind = kind;
                round(self);
                self.look_again();
            }
        }
        self.conclude();
    }

    fn over(&self) -> bool {
        self.shared.cancel.load(Ordering::Relaxed) || clock::mono() >= self.ends
    }

    /// Control operations per second: the share of what the loops do, within its bounds.
    fn rate(&self) -> f64 {
        let done: u64 =
            self.live.iter().map(|l| l.completed.load(Ordering::Relaxed) + l.failed.load(Ordering::Relaxed)).sum();
        let elapsed = clock::mono().since(self.recording).as_secs_f64().max(0.2);
        let lasts = self.ends.since(self.recording).as_secs_f64().max(0.1);
        let at_least = OF_A_CYCLE / (FIRST_CYCLE * lasts);
        (self.shared.control * done as f64 / elapsed).max(at_least).min(MOST_PER_S)
    }

    /// Waits until so many exchanges fit. `false`: the load is over.
    fn turn(&mut self, exchanges: usize) -> bool {
        loop {
            let now = clock::mono();
            if self.over() {
                return false;
            }
            if now >= self.next {
                self.next = self.next.max(now) + Nanos::from_secs_f64(exchanges as f64 / self.rate());
                *self.seen.exchanges.entry(self.kind).or_default() += exchanges as u64;
                return true;
            }
            std::thread::sleep(self.next.since(now).min(Nanos(20_000_000)).duration());
        }
    }

    /// One exchange; `None` where the answer says nothing.
    fn ask(&mut self, operation: &str, vars: &Vars) -> Option<(Meaning, crate::wire::Reply)> {
        if !self.turn(1) {
            return None;
        }
        let asked = clock::mono();
        let answer = self.callers.ask(operation, vars).ok().filter(says);
        self.seen.waited = self.seen.waited + clock::mono().since(asked);
        self.seen.unanswered += u64::from(answer.is_none());
        answer
    }

    /// Several at the same instant, each on a connection of its own.
    fn together(&mut self, operation: &str, all: &[Vars]) -> Vec<Option<(Meaning, crate::wire::Reply)>> {
        if !self.turn(all.len()) {
            return Vec::new();
        }
        let asked = clock::mono();
        let answers: Vec<_> = self.callers.together(operation, all).into_iter().map(|a| a.ok().filter(says)).collect();
        // Together they are at work as long as the slowest of them.
        self.seen.waited = self.seen.waited + clock::mono().since(asked);
        self.seen.unanswered += answers.iter().filter(|a| a.is_none()).count() as u64;
        answers
    }

    fn accepts(&mut self, operation: &str, vars: &Vars) -> Option<bool> {
        self.ask(operation, vars).map(|(meaning, _)| meaning == Meaning::Accepted)
    }

    /// The values of a request with one of a session's tokens.
    fn vars(&self, held: &Held, token: &str) -> Vars {
        self.controls.vars(held, token, &self.controls.users[held.user].vars)
    }

    fn say(&mut self, check: &'static str, operation: &str, expected: &'static str, seen: impl Into<String>) {
        let at = clock::mono().since(self.recording);
        self.seen.found.say(check, &format!("control {operation}"), at, expected, seen.into());
    }

    /// Hands the marks of new tokens to the verifier.
    fn mark(&mut self, role: Role, asked: Nanos, all: &[&Held]) {
        let Some(line) = &self.line else { return };
        let at = clock::mono().since(self.recording);
        let mark = |held: &&Held| {
            let claims = held.access().and_then(|token| self.controls.claims(token))?;
            let subject = self.controls.users[held.user].subject;
            Some(Mark { operation: CONTROL, role, at, asked, subject, claims })
        };
        // A full line loses them.
        let _ = line.try_send(Look::Marks(all.iter().filter_map(mark).collect()));
    }
}

/// Whether an answer says anything of what was sent: a limit refuses everybody, and a server error nobody in particular.
fn says(answer: &(Meaning, crate::wire::Reply)) -> bool {
    !(matches!(answer.0, Meaning::Unexpected { .. }) && (answer.1.status == 429 || answer.1.status >= 500))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_that_was_a_fifth_of_the_work_is_a_doubt_about_the_tail() {
        let seen = |ms: u64| Controlled { waited: Nanos(ms * 1_000_000), ..Controlled::default() };
        let load = Nanos(1_000_000_000);
        assert_eq!(seen(200).doubt(load), None);
        let doubt = seen(700).doubt(load).unwrap();
        assert!(doubt.contains("700 ms, 70 % of what the load took"), "{doubt}");
        assert!(seen(1).doubt(Nanos(0)).is_some(), "beside nothing everything is much");
    }
}

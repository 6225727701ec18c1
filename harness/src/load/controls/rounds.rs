//! Which control operations are there? One function for each kind: what it asks, and what must come of it.

use std::collections::BTreeSet;

use super::{CROWD, Held, KEPT, Patrol, RESTED, Watched};
use crate::clock;
use crate::load::sampled::{Look, Sample};
use crate::load::script::Role;
use crate::target::{Meaning, TokenUse, Vars};
use crate::units::Nanos;

/// Copies of one refresh token in a race.
const RACERS: usize = 4;
/// Within this a revocation is in force where nothing else is declared, as the check `revoke-latency` has it.
const REVOKED_WITHIN_S: f64 = 1.0;
/// Distance of two looks at a revoked token that is still accepted.
const LOOK_AGAIN: Nanos = Nanos(300_000_000);
/// Beyond a declared moment, since clocks and second boundaries differ.
const MARGIN_S: f64 = 0.2;

fn secs(s: f64) -> Nanos {
    Nanos::from_secs_f64(s)
}

impl Patrol<'_> {
    fn has(&self, operation: &str) -> bool {
        self.controls.target.has(operation) && !self.controls.target.is_command(operation)
    }

    fn rotates(&self) -> bool {
        self.has("refresh") && self.controls.target.operation("refresh").is_ok_and(|o| o.rotates == Some(true))
    }

    /// The sessions of a turn: several logins at the same instant, or what was opened before a load that has none.
    fn crowd(&mut self) -> Vec<Held> {
        if let Some(opened) = &mut self.controls.opened {
            // What the last turn has left goes on where none is left of those that were opened.
            let held: Vec<Held> = opened.drain(..CROWD.len().min(opened.len())).collect();
            return if held.is_empty() { std::mem::take(&mut self.sessions) } else { held };
        }
        let target = self.controls.target;
        let crowd = CROWD.map(|user| user.min(self.controls.users.len() - 1));
        let asked = clock::mono();
        let logins = self.together("issue", &crowd.map(|user| self.controls.users[user].vars.clone()));
        let held: Vec<Held> = crowd
            .into_iter()
            .zip(logins)
            .filter_map(|(user, answer)| {
                let (meaning, reply) = answer?;
                let issued = (meaning == Meaning::Accepted).then(|| target.tokens(&reply, "issue").ok())??;
                Some(Held { user, issued })
            })
            .collect();
        self.mark(Role::Issue, asked, &held.iter().collect::<Vec<_>>());
        self.sample(held.first());
        held
    }

    /// Several users refresh and are known by the resource at the same instant: each must stay himself.
    pub(super) fn users_at_once(&mut self) {
        let target = self.controls.target;
        let mut held = self.crowd();
        if self.has("refresh") && held.iter().all(|h| h.refresh().is_some()) && !held.is_empty() {
            let all: Vec<Vars> = held.iter().map(|h| self.vars(h, h.refresh().unwrap_or_default())).collect();
            let asked = clock::mono();
            let answers = self.together("refresh", &all);
            let mut renewed = Vec::new();
            for (held, answer) in held.iter_mut().zip(answers) {
                let Some((Meaning::Accepted, reply)) = answer else { continue };
                let Ok(issued) = target.tokens(&reply, "refresh") else { continue };
                held.issued.access = issued.access.or(held.issued.access.take());
                held.issued.refresh = issued.refresh.or(held.issued.refresh.take());
                held.issued.other.extend(issued.other);
                renewed.push(held.clone());
            }
            self.mark(Role::Refresh, asked, &renewed.iter().collect::<Vec<_>>());
        }
        self.named(&held);
        for held in &held {
            if let Some(exp) = held.access().and_then(|token| self.controls.claims(token)).and_then(|c| c.exp)
                && self.aged.len() < KEPT
            {
                self.aged.push_back((exp, held.clone()));
            }
        }
        self.sessions = held;
    }

    /// The resource must name the user of each token, whoever else asks at the same instant.
    fn named(&mut self, held: &[Held]) {
        if self.controls.users.iter().any(|who| who.name.is_none()) || held.is_empty() {
            return;
        }
        let all: Vec<Vars> = held.iter().map(|h| self.vars(h, h.access().unwrap_or_default())).collect();
        let answers = self.together("verify.resource", &all);
        for (held, answer) in held.iter().zip(answers) {
            let Some((Meaning::Accepted, reply)) = answer else { continue };
            let named = self.controls.target.identity(&reply);
            let (own, users) = (&self.controls.users[held.user].name, &self.controls.users);
            if named != *own && users.iter().any(|who| who.name == named) {
                self.say(
                    "bearer-conn-bleed",
                    "verify.resource",
                    "a reply for the user of the token",
                    "a reply for another user",
                );
            }
        }
    }

    /// Gives one new token to the verifier whole.
    fn sample(&mut self, held: Option<&Held>) {
        let (Some(line), Some(held)) = (&self.line, held) else { return };
        let (received, access) = (clock::mono(), held.issued.access.clone());
        let at = received.since(self.recording);
        let sample = Sample {
            operation: "control issue".into(),
            at,
            received,
            access,
            refresh: None,
            late_s: None,
            identity: None,
        };
        let _ = line.try_send(Look::Sample(Box::new(sample)));
    }

    /// A session of which nothing will be left: the second user's, where there is one.
    fn victim(&mut self) -> Option<Held> {
        let last = self.controls.users.len() - 1;
        let at = self.sessions.iter().position(|held| held.user == last && held.refresh().is_some())?;
        Some(self.sessions.swap_remove(at))
    }

    /// Of several refreshes with one token at most one may bring a successor.
    pub(super) fn raced(&mut self) {
        if !self.rotates() {
            return;
        }
        let Some(held) = self.victim() else { return };
        let token = held.refresh().unwrap_or_default().to_owned();
        let answers = self.together("refresh", &vec![self.vars(&held, &token); RACERS]);
        let taken: Vec<_> = answers.into_iter().flatten().filter(|(m, _)| *m == Meaning::Accepted).collect();
        let successors: BTreeSet<String> =
            taken.iter().filter_map(|(_, reply)| self.controls.target.tokens(reply, "refresh").ok()?.refresh).collect();
        if successors.len() > 1 {
            let seen =
                format!("{} of {RACERS} refreshes with one token, each with a successor of its own", successors.len());
            self.say("refresh-race", "refresh", "at most one successor of one refresh token", seen);
        }
    }

    /// A refresh token that was used must be refused.
    pub(super) fn rotated(&mut self) {
        if !self.rotates() {
            return;
        }
        let Some(held) = self.victim() else { return };
        let token = held.refresh().unwrap_or_default().to_owned();
        let vars = self.vars(&held, &token);
        let Some((Meaning::Accepted, reply)) = self.ask("refresh", &vars) else { return };
        let next = self.controls.target.tokens(&reply, "refresh").ok().and_then(|issued| issued.refresh);
        if next.as_ref() == Some(&token) {
            return self.say("refresh-rotates", "refresh", "a new refresh token", "the same refresh token given back");
        }
        let grace = self.controls.target.profile.declares.grace_s.unwrap_or(0.0);
        let due = clock::mono() + if grace > 0.0 { secs(grace + MARGIN_S) } else { Nanos(0) };
        self.watched.push(Watched::Replay { due, token, held });
    }

    /// What was revoked must be refused: at once by the refresh, within a second by the ways that look it up.
    pub(super) fn revoked(&mut self) {
        let target = self.controls.target;
        if !self.has("revoke") {
            return;
        }
        let revocable = target.revocable();
        for watched in [false, true] {
            let Some(held) = self.victim() else { return };
            let refresh = held.refresh().filter(|_| revocable.contains(&TokenUse::Refresh));
            let Some(token) = refresh.or(held.access()).map(str::to_owned) else { return };
            let vars = self.vars(&held, &token);
            if self.accepts("revoke", &vars) != Some(true) {
                continue;
            }
            let since = clock::mono();
            let declared = target.profile.declares.revocation_bound_s.unwrap_or(0.0);
            let kind = if refresh.is_some() { TokenUse::Refresh } else { TokenUse::Access };
            if !watched && self.has("refresh") && kind == TokenUse::Refresh {
                let due = if declared > 0.0 { since + secs(declared + MARGIN_S) } else { since };
                self.watched.push(Watched::Ended { due, token, held, since });
                continue;
            }
            let way = target.verify_ways().into_iter().find(|way| target.accepts(way).contains(&kind));
            if let Some(way) = way.map(str::to_owned)
                && self.watched.iter().filter(|w| matches!(w, Watched::Dead { .. })).count() < 2
            {
                let due = since + secs(declared.max(REVOKED_WITHIN_S) + MARGIN_S);
                self.watched.push(Watched::Dead { due, token, held, way, since, taken: None });
            }
        }
    }

    /// A token with another signature must be refused by every way.
    pub(super) fn tampered(&mut self) {
        let Some(held) = self.sessions.iter().find(|held| held.user == 0).cloned() else { return };
        let Some(mut token) = held.access().filter(|t| self.controls.claims(t).is_some()).map(str::to_owned) else {
            return;
        };
        // Not the last character of the signature: some of its bits mean nothing.
        let at = token.len() - 10.min(token.len());
        let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
        token.replace_range(at..=at, other);
        self.must_refuse(&held, &token, "sig-tamper", "a token with another signature refused", "it was accepted");
    }

    /// A token that has ended must be refused by every way: a forged one, or one of our own that has grown old.
    pub(super) fn expired(&mut self) {
        let leeway = self.controls.target.profile.declares.leeway_s.unwrap_or(0.0);
        let now = clock::unix();
        let forged = self.controls.forge.as_ref().and_then(|(forge, key, algorithm)| {
            let end = now as i64 - 3600 - leeway as i64;
            let forge = forge.clone().claim("iat", end - 3600).claim("exp", end);
            Some(forge.sign(key, algorithm, &mut rand::rng()).ok()?.token())
        });
        let resting = self.controls.resting.front().map(|(_, held)| held.clone());
        if let (Some(token), Some(held)) = (forged, resting.or_else(|| self.sessions.first().cloned())) {
            self.must_refuse(&held, &token, "time-exp-rejected", "an expired token refused", "it was accepted");
        }
        let behind = self.controls.behind_s;
        let ended = |exp: &f64| exp + behind + leeway + 2.0 < now;
        if let Some((exp, held)) = self.aged.front().filter(|(exp, _)| ended(exp)).cloned() {
            self.aged.pop_front();
            let token = held.access().unwrap_or_default().to_owned();
            let seen = format!("it was accepted {:.1} s after its `exp`", now - exp - behind);
            self.must_refuse(&held, &token, "time-exp-rejected", "a token refused after its `exp`", &seen);
        }
    }

    fn must_refuse(&mut self, held: &Held, token: &str, check: &'static str, expected: &'static str, seen: &str) {
        for way in self.controls.ways.clone() {
            let vars = self.vars(held, token);
            if self.accepts(&way, &vars) == Some(true) {
                self.say(check, &way, expected, seen);
            }
        }
    }

    /// A session that is some seconds old is refreshed: its new token must be new.
    pub(super) fn rested(&mut self) {
        let old = |(since, _): &(Nanos, Held)| clock::mono() >= *since + RESTED;
        if self.has("refresh")
            && self.controls.resting.front().is_some_and(old)
            && let Some((_, held)) = self.controls.resting.pop_front()
            && let Some(token) = held.refresh().map(str::to_owned)
        {
            let asked = clock::mono();
            let vars = self.vars(&held, &token);
            if let Some((Meaning::Accepted, reply)) = self.ask("refresh", &vars)
                && let Ok(issued) = self.controls.target.tokens(&reply, "refresh")
            {
                self.mark(Role::Refresh, asked, &[&Held { issued, ..held }]);
            }
        }
        if let Some(held) = self.sessions.pop()
            && self.controls.resting.len() < KEPT
        {
            self.controls.resting.push_back((clock::mono(), held));
        }
    }

    /// Looks at what has become due.
    pub(super) fn look_again(&mut self) {
        let now = clock::mono();
        let (due, later): (Vec<Watched>, Vec<Watched>) =
            std::mem::take(&mut self.watched).into_iter().partition(|w| w.due() <= now);
        self.watched = later;
        for watched in due {
            match watched {
                Watched::Replay { token, held, .. } => {
                    let vars = self.vars(&held, &token);
                    if self.accepts("refresh", &vars) == Some(true) {
                        let expected = "a used refresh token refused";
                        self.say("refresh-old-rejected", "refresh", expected, "it brought another successor");
                    }
                }
                Watched::Ended { token, held, since, .. } => {
                    let vars = self.vars(&held, &token);
                    let after = clock::mono().since(since);
                    if self.accepts("refresh", &vars) == Some(true) {
                        let seen = format!("it was refreshed {after} after its revocation was answered");
                        self.say("revoke-effective", "refresh", "a revoked refresh token refused", seen);
                    }
                }
                Watched::Dead { token, held, way, since, taken, .. } => {
                    let vars = self.vars(&held, &token);
                    let sent = clock::mono();
                    match (self.accepts(&way, &vars), taken) {
                        (answer @ (Some(true) | None), _) => {
                            let taken = if answer == Some(true) { Some(sent) } else { taken };
                            self.watched.push(Watched::Dead { due: sent + LOOK_AGAIN, token, held, way, since, taken });
                        }
                        (Some(false), Some(last)) => {
                            let seen = format!("it was still accepted {} after", last.since(since));
                            self.say("revoke-latency", &way, "a revoked token refused within its bound", seen);
                        }
                        (Some(false), None) => {}
                    }
                }
            }
        }
    }

    /// What is still accepted at the end, where the profile declares a bound; where it does not, a way may be one that
    /// looks no revocation up.
    pub(super) fn conclude(&mut self) {
        if self.controls.target.profile.declares.revocation_bound_s.is_none() {
            return;
        }
        for watched in std::mem::take(&mut self.watched) {
            if let Watched::Dead { way, since, taken: Some(last), .. } = watched {
                let seen = format!("it was still accepted {} after, when the load ended", last.since(since));
                self.say("revoke-latency", &way, "a revoked token refused within its bound", seen);
            }
        }
    }
}

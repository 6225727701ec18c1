//! What becomes of the tokens of earlier runs, shown at the begin of this one? And does their refusal say anything?
//!
//! A server that was started anew with fresh keys refuses everything: that says nothing about time. So a refusal counts
//! only beside fresh tokens that are taken, and where something shows that the server still knows what it knew when the
//! token was put in: its key, or a token of the same time that has not ended.

use std::sync::Mutex;

use serde_json::Value;

use crate::clock;
use crate::jose::{Forge, VerifyingKey, algorithm};
use crate::target::Issued;

use super::super::answer::Answer;
use super::super::checks::material::public_keys;
use super::super::descriptor::{Check, Isolation, Need, cost};
use super::super::engine::Event;
use super::super::forger::{candidates, decode};
use super::super::probe::{Probe, Stop};
use super::super::session::{Session, Way};
use super::{Kept, Kind, Shelf, State};

/// Without a declared leeway a token is over five minutes after its `exp`, through the whole of that second.
const UNDECLARED_S: f64 = 301.0;

/// The capsule speaks through a probe of its own, under this name.
pub(super) static CAPSULE: Check = Check {
    isolation: Isolation::Exclusive,
    cost: cost(20, 5),
    ..Check::control("capsule", "tokens of earlier runs are shown, and new ones put in")
};

/// Whether a refusal is about the token, or about a server that has forgotten everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::conformance) enum Basis {
    /// It still knows what it knew: what shows it.
    Same(&'static str),
    /// Nothing shows that, or something shows the contrary.
    Unknown(&'static str),
}

/// A token of an earlier run and how it was answered.
pub(in crate::conformance) struct Shown {
    /// The token, with when it was seen accepted before.
    pub kept: Kept,
    /// The answers, one for each way that took it before.
    pub answers: Vec<Answer>,
    /// Whether fresh tokens beside it were taken.
    pub fresh: bool,
    /// What its refusal is worth.
    pub basis: Basis,
    /// Whether its key is that of fresh tokens, where that can be told.
    pub own_key: Option<bool>,
}

/// A shelf in use.
pub(in crate::conformance) struct Opened {
    /// When this run began to look (Unix seconds).
    pub stamp: f64,
    /// What was shown. Tokens that have not ended are no part of it, but those revoked and retired.
    pub shown: Vec<Shown>,
    /// Why the looking ended early.
    pub trouble: Option<String>,
    /// Kinds that a check has told of.
    pub told: Mutex<Vec<Kind>>,
    /// What checks put in.
    pub added: Mutex<Vec<Kept>>,
    /// The shelf after the looking.
    pub shelf: Shelf,
}

/// Shows the tokens of a shelf.
pub(in crate::conformance) fn look(session: &Session<'_>, shelf: Shelf, on_event: &(dyn Fn(Event) + Sync)) -> Opened {
    for kept in &shelf.tokens {
        // It must not stand in any record, and travels with what was issued beside it.
        session.learn_token(&kept.token);
        let token = Some(kept.token.clone());
        let (access, refresh) = if kept.refreshes { (None, token) } else { (token, None) };
        session.company.learn(None, &Issued { access, refresh, other: kept.beside.clone(), ..Issued::default() });
    }
    let probe = Probe::new(session, &CAPSULE, on_event, None);
    let mut eye =
        Eye { p: probe, stamp: clock::unix(), behind: 0.0, shelf, shown: Vec::new(), keys: None, fresh: None };
    let trouble = match eye.look() {
        Ok(()) | Err(Stop::Cancelled | Stop::Alone | Stop::Captured(_)) => None,
        Err(Stop::Inconclusive(why) | Stop::Harness(why)) => Some(why),
        Err(Stop::Skip(reason)) => Some(reason.to_string()),
    };
    let Eye { stamp, shelf, shown, .. } = eye;
    Opened { stamp, shown, trouble, told: Mutex::default(), added: Mutex::default(), shelf }
}

/// A look in progress.
struct Eye<'a> {
    p: Probe<'a>,
    stamp: f64,
    /// By how many seconds the server's clock may be behind ours.
    behind: f64,
    shelf: Shelf,
    shown: Vec<Shown>,
    keys: Option<Vec<KnownKey>>,
    /// A fresh refresh token, and whether refreshing with it worked.
    fresh: Option<(String, bool)>,
}

impl Eye<'_> {
    fn look(&mut self) -> Result<(), Stop> {
        if self.shelf.tokens.is_empty() {
            return Ok(());
        }
        let ways: Vec<Way> = self.p.ways().into_iter().filter(Way::usable).collect();
        self.meet(&ways)?;
        self.witnesses(&ways)?;
        let margin = self.p.profile().declares.leeway_s.map_or(UNDECLARED_S, |leeway| leeway.ceil() + 2.0);
        let margin = margin + self.behind.ceil();
        // With what witnesses have said by now.
        let all = self.shelf.tokens.clone();
        let ready = |kept: &Kept| match kept.kind {
            Kind::Access | Kind::Refresh => kept.over(clock::unix(), margin),
            Kind::Revoked | Kind::Retired => kept.alive(clock::unix()),
            Kind::Witness => false,
        };
        // What was revoked comes last: a server may end more for it than that one session.
        let (last, first): (Vec<&Kept>, Vec<&Kept>) = all.iter().partition(|kept| kept.kind == Kind::Revoked);
        let mut ended = Ok(());
        for kept in first.into_iter().chain(last).filter(|kept| ready(kept)) {
            match self.show(kept, &ways) {
                // One that cannot travel does not keep the others back.
                Err(stop @ Stop::Inconclusive(_)) => ended = ended.and(Err(stop)),
                other => other?,
            }
        }
        ended
    }

    /// How far the server's clock may be behind: its end of a token comes later by that.
    fn meet(&mut self, ways: &[Way]) -> Result<(), Stop> {
        let token = self.p.access()?;
        for way in ways {
            if let Some((least, _)) = self.p.present(way, &token)?.clock_offset() {
                self.behind = self.behind.max(-least);
            }
        }
        Ok(())
    }

    /// Shows what has not ended: whether the server still knows what it knew.
    fn witnesses(&mut self, ways: &[Way]) -> Result<(), Stop> {
        let mut taken: Vec<(State, f64)> = Vec::new();
        let mut refused: Vec<(State, f64)> = Vec::new();
        for place in 0..self.shelf.tokens.len() {
            let kept = self.shelf.tokens[place].clone();
            if kept.kind != Kind::Access || !kept.alive(clock::unix()) {
                continue;
            }
            let mut answers = Vec::new();
            for way in ways.iter().filter(|way| kept.seen.contains_key(&way.name)) {
                let answer = self.p.present(way, &kept.token)?;
                if answer.accepted() {
                    self.shelf.tokens[place].seen.insert(way.name.clone(), clock::unix_at(answer.sent));
                }
                answers.push((answer.accepted(), answer.refused() && self.fresh_at(way)?));
            }
            if answers.iter().any(|(taken, _)| *taken) {
                taken.push((State::Access, kept.stamp));
            } else if answers.iter().any(|(_, refused)| *refused) {
                refused.push((State::Access, kept.stamp));
            }
        }
        if let Some((token, stamp)) = self.next_witness() {
            let answer = self.p.refresh(&token)?;
            if answer.accepted() {
                taken.push((State::Refresh, stamp));
                if self.one_key_for_both()? {
                    taken.push((State::Access, stamp));
                }
            } else if answer.refused() && self.fresh_refresh()?.1 {
                refused.push((State::Refresh, stamp));
            }
        }
        // A witness is used up by being asked, and each run puts a new one in.
        self.shelf.tokens.retain(|kept| kept.kind != Kind::Witness);
        for (state, stamp) in taken {
            self.shelf.remembers(state, stamp, self.stamp);
        }
        for (state, stamp) in refused {
            self.shelf.forgot(state, stamp, self.stamp);
        }
        Ok(())
    }

    /// The newest refresh token that the run before put in to be asked.
    fn next_witness(&self) -> Option<(String, f64)> {
        if !self.p.has(Need::Refresh) || self.p.target().is_command("refresh") {
            return None;
        }
        let alive = self.shelf.of(Kind::Witness).filter(|kept| kept.alive(clock::unix()));
        alive.max_by(|a, b| a.put.total_cmp(&b.put)).map(|kept| (kept.token.clone(), kept.stamp))
    }

    /// Shows a token whose refusal is awaited, between fresh ones.
    fn show(&mut self, kept: &Kept, ways: &[Way]) -> Result<(), Stop> {
        let mut answers = Vec::new();
        let mut fresh = true;
        let sample;
        if kept.refreshes {
            if !self.p.has(Need::Refresh) || self.p.target().is_command("refresh") {
                return Ok(());
            }
            answers.push(self.p.refresh(&kept.token)?);
            (sample, fresh) = self.fresh_refresh()?;
        } else {
            for way in ways.iter().filter(|way| kept.seen.contains_key(&way.name)) {
                let before = self.fresh_at(way)?;
                let mut answer = self.p.present(way, &kept.token)?;
                let after = self.fresh_at(way)?;
                answer.beside = Some((before, after));
                fresh &= before && after;
                answers.push(answer);
            }
            sample = self.p.access()?;
        }
        if answers.is_empty() {
            return Ok(());
        }
        let own_key = self.own_key(&kept.token, &sample)?;
        let basis = self.basis(kept, own_key);
        self.shown.push(Shown { kept: kept.clone(), answers, fresh, basis, own_key });
        Ok(())
    }

    fn basis(&self, kept: &Kept, own_key: Option<bool>) -> Basis {
        let signed = decode(&kept.token).is_some();
        let (state, by_key) = match kept.kind {
            Kind::Access => (State::Access, signed && !self.p.profile().stateful_access),
            Kind::Refresh | Kind::Witness => (State::Refresh, signed),
            // A revoked refresh token is refused by a table that has forgotten every session, too.
            Kind::Revoked if kept.refreshes => (State::Refresh, false),
            Kind::Revoked => (State::Access, signed && !self.p.profile().stateful_access),
            // Its key is gone, as it has to be.
            Kind::Retired => return weigh(kept, State::Access, self.stamp, None, false),
        };
        weigh(kept, state, self.stamp, own_key, by_key)
    }

    /// Whether a fresh access token is taken at a way right now.
    fn fresh_at(&mut self, way: &Way) -> Result<bool, Stop> {
        let token = self.p.access()?;
        if self.p.present(way, &token)?.accepted() {
            return Ok(true);
        }
        // It may have ended since it was put into the pool.
        let Some(token) = self.p.login()?.access else { return Ok(false) };
        Ok(self.p.present(way, &token)?.accepted())
    }

    /// A refresh token of this run, and whether it was taken.
    fn fresh_refresh(&mut self) -> Result<(String, bool), Stop> {
        if let Some(known) = &self.fresh {
            return Ok(known.clone());
        }
        let token = self.p.fresh_refresh()?;
        let works = self.p.refresh(&token)?.accepted();
        self.fresh = Some((token.clone(), works));
        Ok((token, works))
    }

    /// Whether access and refresh tokens of this server say that one key signs both, so that who still takes the one
    /// kind has the key of the other.
    fn one_key_for_both(&mut self) -> Result<bool, Stop> {
        let access = self.p.access()?;
        let (refresh, _) = self.fresh_refresh()?;
        let stateful = self.p.profile().stateful_access || self.p.profile().keys.refresh.is_some();
        Ok(!stateful && key_name(&access).is_some() && key_name(&access) == key_name(&refresh))
    }

    /// Whether a token's key is that of a fresh one: by the keys that are known, else by what the headers call it.
    fn own_key(&mut self, token: &str, fresh: &str) -> Result<Option<bool>, Stop> {
        let (Some((name, kid)), Some(other)) = (key_name(token), key_name(fresh)) else { return Ok(None) };
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => known_keys(&mut self.p)?,
        };
        let signs = |known: &KnownKey| verifies(&known.key, fresh);
        let knows = keys.iter().any(signs);
        let verified = keys.iter().any(|known| (known.published || signs(known)) && verifies(&known.key, token));
        self.keys = Some(keys);
        Ok(match (verified, knows) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => kid.is_some().then_some((name, kid) == other),
        })
    }
}

/// What a refusal is worth. `own_key`: whether its key is that of fresh tokens; `by_key`: whether the key is all that the
/// server needs to believe it.
fn weigh(kept: &Kept, state: State, now: f64, own_key: Option<bool>, by_key: bool) -> Basis {
    let memory = kept.memory(state);
    match (memory.lost, own_key) {
        (true, _) => Basis::Unknown("others of its time are refused too that have not ended"),
        (_, Some(false)) => Basis::Unknown("its key is not that of fresh tokens"),
        _ if memory.until >= now => Basis::Same("others of its time are still taken"),
        (_, Some(true)) if by_key => Basis::Same("its key is that of fresh tokens"),
        _ if by_key => Basis::Unknown("no other of its time is left, and it does not name its key"),
        _ => Basis::Unknown("no other of its time is left that has not ended"),
    }
}

/// The algorithm and the `kid` of a signed token.
fn key_name(token: &str) -> Option<(Value, Option<Value>)> {
    let (header, _) = decode(token)?;
    Some((header.get("alg")?.clone(), header.get("kid").cloned()))
}

fn verifies(key: &VerifyingKey, token: &str) -> bool {
    let of = || {
        let (header, _) = decode(token)?;
        let row = algorithm(header.get("alg")?.as_str()?)?;
        let (input, _) = token.rsplit_once('.')?;
        Some(key.accepts(row, input.as_bytes(), &Forge::of(token)?.signature))
    };
    of().unwrap_or(false)
}

/// A key of the target.
struct KnownKey {
    key: VerifyingKey,
    /// The server names it itself; else the profile does, for a server that may have another one by now.
    published: bool,
}

/// Every key that is known of the target: published, in the profile's file, or the one that signs.
fn known_keys(p: &mut Probe<'_>) -> Result<Vec<KnownKey>, Stop> {
    let public = public_keys(p)?;
    let named = public.set.keys.iter().map(|entry| KnownKey { key: entry.key.clone(), published: true });
    let mut keys: Vec<KnownKey> = named.collect();
    let file = public.file.and_then(|file| VerifyingKey::parse(&file).ok());
    let signing = match p.profile().keys.sign.is_some() {
        true => candidates(p.target())?.iter().map(|key| key.verifying_key()).collect(),
        false => Vec::new(),
    };
    keys.extend(file.into_iter().chain(signing).map(|key| KnownKey { key, published: false }));
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::capsule::Memory;

    /// What a refusal is worth now, at 100, of a token put in at 10 whose time was remembered until `until`.
    fn weighed(until: f64, lost: bool, own_key: Option<bool>, by_key: bool) -> bool {
        let kept = Kept { access: Memory { until, lost }, ..Kept::new(Kind::Access, "t", 10.0, 10.0) };
        matches!(weigh(&kept, State::Access, 100.0, own_key, by_key), Basis::Same(_))
    }

    #[test]
    fn a_refusal_counts_where_the_server_still_has_the_key_or_takes_others_of_that_time() {
        assert!(weighed(10.0, false, Some(true), true), "its key is there");
        assert!(weighed(100.0, false, None, true) && weighed(100.0, false, None, false), "others are taken");
        assert!(!weighed(10.0, false, None, true), "nobody knows");
        assert!(!weighed(50.0, false, None, true), "others were taken once, and not now");
    }

    #[test]
    fn a_server_that_was_started_anew_says_nothing_about_time() {
        assert!(!weighed(10.0, false, Some(false), true), "it signs with another key");
        assert!(!weighed(100.0, false, Some(false), true), "whatever else it takes");
        assert!(!weighed(10.0, true, Some(true), true), "what has not ended is refused as well");
        assert!(!weighed(10.0, false, Some(true), false), "the key is not all that it asks for");
    }

    #[test]
    fn a_key_goes_by_its_algorithm_and_its_kid() {
        let token = |header: &str| format!("{}.e30.c2ln", crate::jose::base64url::encode(header));
        assert_eq!(key_name(&token(r#"{"alg":"HS256"}"#)).unwrap().1, None);
        assert_ne!(key_name(&token(r#"{"alg":"HS256","kid":"a"}"#)), key_name(&token(r#"{"alg":"HS256","kid":"b"}"#)));
        assert_eq!(key_name("opaque"), None);
    }
}

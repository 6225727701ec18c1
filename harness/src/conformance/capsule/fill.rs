//! Which tokens does a run leave for later ones? A few genuine ones, seen accepted, put in when everything else is done.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::clock;
use crate::target::Issued;
use crate::units::Nanos;

use super::super::checks::revoke::revocable;
use super::super::descriptor::Need;
use super::super::engine::Event;
use super::super::forger::decode;
use super::super::probe::{Probe, Stop};
use super::super::session::{Session, Way, lock};
use super::content::LONGEST;
use super::look::{CAPSULE, Opened};
use super::{Basis, Kept, Kind, Memory, Shelf};

/// The longest that a declared time of a revocation is waited out, in seconds.
const LONGEST_BOUND_S: f64 = 30.0;

/// Takes what was judged out of a shelf and puts new tokens in; and what is to be said of that, in a sentence.
pub(in crate::conformance) fn fill(
    session: &Session<'_>,
    opened: &Opened,
    on_event: &(dyn Fn(Event) + Sync),
) -> (Shelf, String) {
    let mut shelf = opened.shelf.clone();
    let shown = opened.shown.len();
    if session.cancelled() {
        let text = said(&shelf, shown, opened.trouble.as_deref(), Some("the run was ended"));
        return (shelf, text);
    }
    let told = lock(&opened.told).clone();
    // Of what no check was chosen to tell, a later run may.
    for one in opened.shown.iter().filter(|one| told.contains(&one.kept.kind)) {
        // What was accepted against its end is shown again until it is mended; a refusal has said what it can say.
        let judged = matches!(one.kept.kind, Kind::Access | Kind::Refresh) && one.answers.iter().all(|a| a.refused());
        // What says nothing today because the server began anew says nothing tomorrow.
        let moot = matches!(one.basis, Basis::Unknown(_)) && !one.answers.iter().any(|a| a.accepted());
        if one.fresh && (judged || moot) {
            shelf.tokens.retain(|kept| kept.token != one.kept.token);
        }
    }
    let reset = session.was_reset();
    if reset {
        // A server that was put back to its begin knows no session of before, and nothing of a revocation.
        shelf.tokens.retain(|kept| kept.kind == Kind::Access);
    }
    let now = clock::unix();
    // Hooks may have ended what was known at the begin: what is put in now is of a time of its own.
    let stamp = if session.was_changed() { now } else { opened.stamp };
    let mut hand = Hand { p: Probe::new(session, &CAPSULE, on_event, None), shelf, stamp };
    let ended = if session.has_one_session() {
        Err("a login ends the user's session before it, so that no session lasts from one run to the next".to_owned())
    } else {
        hand.fill().map_err(|stop| match stop {
            Stop::Inconclusive(why) | Stop::Harness(why) => why,
            Stop::Skip(reason) => reason.to_string(),
            _ => "the run was ended".to_owned(),
        })
    };
    let mut shelf = hand.shelf;
    if !reset {
        // What a check put in is of the same time as the rest: after whatever hooks have changed.
        let memory = Memory { until: stamp, lost: false };
        let added = std::mem::take(&mut *lock(&opened.added)).into_iter();
        shelf.tokens.extend(added.map(|kept| Kept { stamp, access: memory, refresh: memory, ..kept }));
    }
    shelf.used = clock::unix();
    shelf.tidy(clock::unix());
    let text = said(&shelf, shown, opened.trouble.as_deref(), ended.err().as_deref());
    (shelf, text)
}

/// Tokens on their way into the capsule.
struct Hand<'a> {
    p: Probe<'a>,
    shelf: Shelf,
    stamp: f64,
}

impl Hand<'_> {
    fn fill(&mut self) -> Result<(), Stop> {
        let ways: Vec<Way> = self.p.ways().into_iter().filter(Way::usable).collect();
        let mut ended = Ok(());
        // A session for each: what one token goes through must not end another. A logout may end all sessions of a user,
        // so it comes first.
        for step in [Hand::revoked, Hand::access, Hand::refresh] {
            match step(self, &ways) {
                Err(stop @ (Stop::Inconclusive(_) | Stop::Skip(_))) => ended = ended.and(Err(stop)),
                other => other?,
            }
        }
        ended
    }

    /// One that says itself when it ends: the end of others may slide with every use.
    fn access(&mut self, ways: &[Way]) -> Result<(), Stop> {
        let (issued, now) = (self.p.login()?, clock::unix());
        let Some(token) = &issued.access else { return Ok(()) };
        let Some(exp) = claimed_end(token).filter(|exp| *exp > now) else { return Ok(()) };
        if !self.shelf.wants(Kind::Access, exp - now, now) {
            return Ok(());
        }
        let seen = self.taken_by(token, ways)?;
        if !seen.is_empty() {
            self.put(Kept { exp: Some(exp), seen, ..Kept::new(Kind::Access, token, now, self.stamp) }, &issued);
        }
        Ok(())
    }

    /// One to be shown after its end, whose predecessor was taken, and one for the next run to ask with.
    fn refresh(&mut self, _: &[Way]) -> Result<(), Stop> {
        if !self.p.has(Need::Refresh) || self.p.target().is_command("refresh") {
            return Ok(());
        }
        let issued = self.p.login()?;
        let Some(first) = issued.refresh.clone() else { return Ok(()) };
        let now = clock::unix();
        let life = claimed_end(&first).map(|exp| exp - now);
        if let Some(life) = life.filter(|life| *life > 0.0 && self.shelf.wants(Kind::Refresh, *life, now)) {
            let answer = self.p.refresh(&first)?;
            if answer.accepted() {
                let next = answer.reply.as_ref().and_then(|reply| self.p.target().tokens(reply, "refresh").ok());
                let next = next.unwrap_or_default();
                let beside = Issued { other: merged(&issued, &next), ..Issued::default() };
                let token = next.refresh.unwrap_or(first);
                let seen = BTreeMap::from([("refresh".to_owned(), clock::unix_at(answer.sent))]);
                let exp = Some(claimed_end(&token).unwrap_or(now + life));
                self.put(Kept { exp, seen, ..Kept::new(Kind::Refresh, &token, now, self.stamp) }, &beside);
            }
        }
        let issued = self.p.login()?;
        if let Some(token) = &issued.refresh {
            let exp = claimed_end(token);
            self.shelf.tokens.retain(|kept| kept.kind != Kind::Witness);
            self.put(Kept { exp, ..Kept::new(Kind::Witness, token, clock::unix(), self.stamp) }, &issued);
        }
        Ok(())
    }

    /// One that was revoked and is refused: it has to stay so.
    fn revoked(&mut self, ways: &[Way]) -> Result<(), Stop> {
        if !self.p.has(Need::Revoke) || self.p.target().is_command("revoke") {
            return Ok(());
        }
        let issued = self.p.login()?;
        let Some(token) = revocable(&self.p, &issued) else { return Ok(()) };
        let (now, exp) = (clock::unix(), claimed_end(&token));
        let refreshes = issued.refresh.as_ref() == Some(&token);
        let life = exp.map_or(0.0, |exp| exp - now);
        if life < 0.0 || !self.shelf.wants(Kind::Revoked, life, now) || refreshes && !self.p.has(Need::Refresh) {
            return Ok(());
        }
        let seen = if refreshes { BTreeMap::new() } else { self.taken_by(&token, ways)? };
        if !refreshes && seen.is_empty() || !self.p.call_with_token("revoke", &token)?.accepted() {
            return Ok(());
        }
        let bound = self.p.profile().declares.revocation_bound_s.unwrap_or(0.0).min(LONGEST_BOUND_S);
        if bound > 0.0 {
            self.p.pause(Nanos::from_secs_f64(bound).duration(), "the declared time of a revocation")?;
        }
        let mut refused = true;
        if refreshes {
            refused = self.p.refresh(&token)?.refused();
        }
        for way in ways.iter().filter(|way| seen.contains_key(&way.name)) {
            refused &= self.p.present(way, &token)?.refused();
        }
        // One that is still taken is the word of revoke-effective.
        if refused {
            self.put(Kept { exp, seen, refreshes, ..Kept::new(Kind::Revoked, &token, now, self.stamp) }, &issued);
        }
        Ok(())
    }

    /// When each way that takes the token took it.
    fn taken_by(&mut self, token: &str, ways: &[Way]) -> Result<BTreeMap<String, f64>, Stop> {
        let mut seen = BTreeMap::new();
        for way in ways {
            let answer = self.p.present(way, token)?;
            if answer.accepted() {
                seen.insert(way.name.clone(), clock::unix_at(answer.sent));
            }
        }
        Ok(seen)
    }

    fn put(&mut self, kept: Kept, issued: &Issued) {
        let names = self.p.target().issued_names();
        let named = issued.other.iter().filter(|(name, _)| names.contains(name));
        let kept = Kept { beside: named.map(|(name, value)| (name.clone(), value.clone())).collect(), ..kept };
        if kept.size() <= LONGEST {
            self.shelf.tokens.push(kept);
        }
    }
}

/// What a refresh does not bring anew stays what the login brought.
fn merged(before: &Issued, after: &Issued) -> BTreeMap<String, Value> {
    before.other.iter().chain(&after.other).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// `exp` of a signed token (Unix seconds).
pub(in crate::conformance) fn claimed_end(token: &str) -> Option<f64> {
    decode(token).and_then(|(_, claims)| claims.get("exp").and_then(Value::as_f64)).filter(|exp| exp.is_finite())
}

/// What lies in the capsule now, in a sentence.
fn said(shelf: &Shelf, shown: usize, trouble: Option<&str>, failed: Option<&str>) -> String {
    let kinds = [
        (Kind::Access, "access"),
        (Kind::Refresh, "refresh"),
        (Kind::Witness, "refresh for the next run to ask with"),
        (Kind::Revoked, "revoked"),
        (Kind::Retired, "of a retired key"),
    ];
    let counts = kinds.iter().map(|(kind, name)| (shelf.of(*kind).count(), name)).filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, name)| format!("{count} {name}")).collect();
    let ends = shelf.of(Kind::Access).chain(shelf.of(Kind::Refresh)).filter_map(|kept| kept.exp);
    let next = ends.filter(|exp| *exp > shelf.used).reduce(f64::min);
    let next = next.and_then(|exp| jiff::Timestamp::from_second(exp.ceil() as i64).ok());
    let mut text = match shown {
        1 => "1 token of an earlier run was shown; it holds ".to_owned(),
        n => format!("{n} tokens of earlier runs were shown; it holds "),
    };
    text.push_str(&if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
    if let Some(next) = next {
        text.push_str(&format!(", of which the next ends at {next}"));
    }
    for (what, why) in [("they were not all shown", trouble), ("not all were put in", failed)] {
        if let Some(why) = why {
            text.push_str(&format!("; {what}: {why}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capsule_says_what_it_holds_and_when_it_is_worth_asking_again() {
        let mut shelf = Shelf { topology: "bare".into(), address: None, used: 100.0, tokens: Vec::new() };
        assert_eq!(said(&shelf, 0, None, None), "0 tokens of earlier runs were shown; it holds none");
        for exp in [50.0, 3_600.0, 7_200.0] {
            shelf.tokens.push(Kept { exp: Some(exp), ..Kept::new(Kind::Access, "t", 1.0, 1.0) });
        }
        shelf.tokens.push(Kept::new(Kind::Witness, "w", 1.0, 1.0));
        let text = said(&shelf, 2, None, Some("the server limits logins"));
        assert!(text.contains("it holds 3 access, 1 refresh for the next run"), "{text}");
        assert!(text.contains("the next ends at 1970-01-01T01:00:00Z; not all were put in: the server"), "{text}");
    }
}

//! How does a check come by genuine tokens, and by the key that signs?

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::record::SkipReason;
use crate::target::{Issued, Vars};
use crate::units::Nanos;

use super::super::answer::{Answer, Axis};
use super::super::descriptor::Need;
use super::super::forger::{Forger, decode};
use super::super::session::{FRESH_S, Held, Step};
use super::{Probe, Stop};

/// After so long a token that names its second is another one.
pub(in crate::conformance) const NEXT_SECOND: Duration = Duration::from_millis(1_200);

impl Probe<'_> {
    /// A genuine access token that lives for a while yet. Pooled: never revoke it, never refresh its session.
    ///
    /// # Errors
    /// Blocked by `issue-basic` where no login works.
    pub fn access(&mut self) -> Result<String, Stop> {
        self.held()?.issued.access.ok_or_else(|| Stop::blocked_by("issue-basic"))
    }

    /// The pooled session, renewed where its access token is near its end.
    pub(super) fn held(&mut self) -> Result<Held, Stop> {
        let session = self.session;
        if session.has_one_session() {
            // The check before may have ended the session, or used its refresh token up.
            let held = session.held().filter(|held| self.own_login && clock::mono() < held.use_until);
            return held.map_or_else(|| self.logged_in(), Ok);
        }
        let held = session.pooled(|held| match held {
            Some(held) if clock::mono() < held.use_until => Ok(None),
            _ => self.logged_in().map(Some),
        })?;
        let held = held.ok_or_else(|| Stop::Harness("the token pool is empty after a login".into()))?;
        self.issued.clone_from(&held.issued.other);
        Ok(held)
    }

    /// A login, and how long its access token may be used.
    pub(super) fn logged_in(&mut self) -> Result<Held, Stop> {
        let issued = self.login()?;
        let use_until = use_until(&issued);
        Ok(Held { issued, use_until })
    }

    /// A login of one's own: tokens that nobody else uses.
    ///
    /// # Errors
    /// Blocked by `issue-basic` where it does not work.
    pub fn login(&mut self) -> Result<Issued, Stop> {
        // Nobody's account is locked by trying again and again what was refused at the start.
        if self.session.no_login {
            return Err(Stop::blocked_by("issue-basic"));
        }
        let vars = self.vars();
        match self.login_with(&vars) {
            Ok(issued) => {
                self.session.has_worked(Step::Login);
                if self.session.has_one_session() {
                    self.own_login = true;
                    let use_until = use_until(&issued);
                    self.session.pool(Held { issued: issued.clone(), use_until });
                    self.controls.clear();
                }
                Ok(issued)
            }
            // Not what it needs is missing, but what worked before is refused: the check was tried, and learnt nothing.
            Err(Stop::Skip(SkipReason::BlockedBy(_))) if self.session.worked(Step::Login) => {
                Err(Stop::Inconclusive(format!(
                    "a login that worked before was not accepted ({}); hint: is the user locked, or limited?",
                    self.last_login
                )))
            }
            Err(other) => Err(other),
        }
    }

    /// How the last login that did not work was answered.
    pub(in super::super) fn last_refusal(&self) -> &str {
        &self.last_login
    }

    /// Keeps what came out of every record.
    fn learn(&self, issued: &Issued) {
        for token in [&issued.access, &issued.refresh].into_iter().flatten() {
            self.session.note_given(token);
            self.session.learn_token(token);
        }
    }

    /// A login with other values (another user, another client).
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_with(&mut self, vars: &Vars) -> Result<Issued, Stop> {
        let mut issued = self.login_once(vars)?;
        // Without a `jti` the logins of one second are one text, and whoever revokes or uses up the one has done so to
        // the other. The next second by our clock need not be the server's: the one after that is.
        let rest = 1.03 - clock::unix().fract();
        for pause in [Nanos::from_secs_f64(rest).duration(), NEXT_SECOND] {
            if !issued.1 || self.wanted.is_some() {
                break;
            }
            self.session.texts.note_repeat();
            self.pause(pause, "the next second")?;
            issued = self.login_once(vars)?;
        }
        if issued.1 && self.wanted.is_none() {
            self.session.texts.note_lasting();
        }
        Ok(issued.0)
    }

    /// One login, and whether it brought a text that was given out before.
    fn login_once(&mut self, vars: &Vars) -> Result<(Issued, bool), Stop> {
        self.guard()?;
        let at;
        let issued = if self.target().is_command("issue") {
            self.session.note_command();
            self.outcome.requests += 1;
            let issued = self
                .target()
                .command("issue", vars)
                .map_err(|e| Stop::Inconclusive(format!("the login command failed: {e}")))?;
            self.session.company.learn(None, &issued);
            at = clock::mono();
            self.session.texts.note(&issued, at);
            issued
        } else {
            let answer = self.call("issue", vars)?;
            at = answer.received;
            match (&answer.axis, &answer.reply) {
                (Axis::Accepted, Some(reply)) => {
                    self.target().tokens(reply, "issue").map_err(|_| Stop::blocked_by("issue-basic"))?
                }
                _ => {
                    self.last_login = answer.describe();
                    return Err(Stop::blocked_by("issue-basic"));
                }
            }
        };
        self.learn(&issued);
        self.issued.clone_from(&issued.other);
        let before = self.session.texts.given_before(&issued, at);
        Ok((issued, before))
    }

    /// A refresh token of one's own.
    ///
    /// # Errors
    /// As [`login`](Self::login); blocked where the login brings none.
    pub fn fresh_refresh(&mut self) -> Result<String, Stop> {
        self.login()?.refresh.ok_or_else(|| Stop::needs(Need::Refresh))
    }

    /// Shows the refresh operation what `make` makes of a genuine refresh token: each must be refused, cleanly, and
    /// the genuine one be taken afterwards. Nothing where refresh tokens are no JWTs, or a command refreshes. One
    /// session serves all checks, since its token goes on from one to the next.
    ///
    /// # Errors
    /// When the run ends; findings are no errors.
    pub fn refuse_at_refresh(
        &mut self,
        make: impl Fn(&str) -> Result<Vec<(String, String)>, Stop>,
    ) -> Result<(), Stop> {
        if !(self.has(Need::Refresh) && self.has(Need::JwtRefresh)) || self.target().is_command("refresh") {
            return Ok(());
        }
        let session = self.session;
        let mut kept = session.refresh_control();
        if session.has_one_session() {
            *kept = None;
        }
        let Some(mut genuine) = (match kept.take() {
            Some(token) => Some(token),
            None => self.login()?.refresh,
        }) else {
            return Ok(());
        };
        // A forged token that is taken may use its session up: what comes after it is made from another one, and what
        // came before it was refused by a session that was alive.
        let mut answers = Vec::new();
        let (mut tried, mut alive) = (0, 0);
        loop {
            let all = make(&genuine)?;
            let mut taken = false;
            while let Some((variant, token)) = all.get(tried).filter(|_| !taken) {
                tried += 1;
                self.offer(variant, token)?;
                // What a header or a cookie cannot carry does not travel.
                match self.refresh(token) {
                    Ok(answer) => {
                        taken = answer.accepted();
                        answers.push((variant.clone(), answer));
                    }
                    Err(Stop::Inconclusive(_)) => {}
                    Err(stop) => return Err(stop),
                }
            }
            if taken {
                alive = answers.len();
                genuine = self.fresh_refresh()?;
            }
            if tried >= all.len() {
                break;
            }
        }
        if self.wanted.is_some() {
            return Ok(());
        }
        let control = self.refresh(&genuine)?;
        let mut holds = control.accepted();
        if holds {
            let next = control.reply.as_ref().and_then(|r| self.target().tokens(r, "refresh").ok());
            *kept = Some(next.and_then(|issued| issued.refresh).unwrap_or(genuine));
        } else if alive == 0 {
            // A server may end a session that is tampered with: then another login is the control.
            let again = self.fresh_refresh()?;
            holds = self.refresh(&again)?.accepted();
        }
        drop(kept);
        for (at, (variant, answer)) in answers.into_iter().enumerate() {
            if holds || at < alive {
                self.judge_refusal(Some(&variant), "a forged refresh token refused", &answer);
            } else {
                let text = "a genuine refresh token beside it was refused too, so nothing was learnt";
                self.inconclusive(Some(&variant), "controls-refused", text);
            }
        }
        Ok(())
    }

    /// As [`refuse_at_refresh`](Self::refuse_at_refresh) for refresh tokens that we sign with the server's key: `make`
    /// changes a copy of a genuine one, whose `jti` it keeps, since many servers know theirs. A refusal counts only
    /// where a copy that is merely signed again is taken; nothing is told where that is not so.
    ///
    /// # Errors
    /// When the run ends; findings are no errors.
    pub fn refuse_signed_at_refresh(
        &mut self,
        make: impl Fn(&str) -> Vec<(String, crate::jose::Forge)>,
    ) -> Result<(), Stop> {
        let there = self.has(Need::Refresh) && self.has(Need::JwtRefresh) && self.has(Need::SigningKey);
        if !there || self.target().is_command("refresh") {
            return Ok(());
        }
        let mut seen = Vec::new();
        let mut genuine = self.fresh_refresh()?;
        let mut tried = 0;
        loop {
            let forger = match Forger::of_refresh(self.session.target, &genuine) {
                Ok(forger) => forger,
                Err(Stop::Skip(_) | Stop::Inconclusive(_)) => return Ok(()),
                Err(stop) => return Err(stop),
            };
            let all = make(&genuine);
            let Some((variant, forge)) = all.into_iter().nth(tried) else {
                // The control comes last, since it uses the session up.
                let again = crate::jose::Forge::of(&genuine).ok_or_else(|| Stop::needs(Need::JwtRefresh))?;
                let control = forger.sign(again.claim("assay", "control"))?;
                if self.wanted.is_some() || !self.refresh(&control)?.accepted() {
                    // What was taken is proof without it.
                    seen.retain(|(_, answer): &(String, Answer)| answer.accepted());
                }
                break;
            };
            tried += 1;
            let token = forger.sign(forge)?;
            self.offer(&variant, &token)?;
            if self.wanted.is_some() {
                continue;
            }
            match self.refresh(&token) {
                Ok(answer) => {
                    if answer.accepted() {
                        genuine = self.fresh_refresh()?;
                    }
                    seen.push((variant, answer));
                }
                Err(Stop::Inconclusive(_)) => {}
                Err(stop) => return Err(stop),
            }
        }
        for (variant, answer) in seen {
            self.judge_refusal(Some(&variant), "a forged refresh token refused", &answer);
        }
        Ok(())
    }

    /// Presents a refresh token to the refresh operation.
    ///
    /// # Errors
    /// Only where the request cannot be made or the run ends.
    pub fn refresh(&mut self, token: &str) -> Result<Answer, Stop> {
        self.call_with_token("refresh", token)
    }

    /// Refreshes and expects it to work.
    ///
    /// # Errors
    /// Blocked by `refresh-basic` where it does not.
    pub fn refreshed(&mut self, token: &str) -> Result<Issued, Stop> {
        let answer = self.refresh(token)?;
        match (&answer.axis, &answer.reply) {
            (Axis::Accepted, Some(reply)) => {
                let issued = self.target().tokens(reply, "refresh").map_err(|_| Stop::blocked_by("refresh-basic"))?;
                self.session.has_worked(Step::Refresh);
                self.learn(&issued);
                Ok(issued)
            }
            _ if self.session.worked(Step::Refresh) => Err(Stop::Inconclusive(format!(
                "a good refresh token, of a kind that worked before, was not accepted ({})",
                answer.describe()
            ))),
            _ => Err(Stop::blocked_by("refresh-basic")),
        }
    }

    /// What an answer to a login or a refresh brought, where it was accepted; kept out of every record from now on.
    pub fn brought(&self, answer: &Answer) -> Option<Issued> {
        let reply = answer.reply.as_ref().filter(|_| answer.accepted())?;
        let issued = self.target().tokens(reply, &answer.operation).ok()?;
        self.learn(&issued);
        Some(issued)
    }

    /// The forger: genuine header and claims, and the key that signs.
    ///
    /// # Errors
    /// Skipped where the key is unknown or access tokens are not JWTs.
    pub fn forger(&mut self) -> Result<Forger, Stop> {
        if let Some(forger) = &self.forger {
            return Ok(forger.clone());
        }
        let genuine = self.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        let forger = Forger::new(self.session.target, &genuine)?;
        self.forger = Some(forger.clone());
        Ok(forger)
    }
}

/// When to stop using an access token, by its own `exp - iat`, by `expires_in`, or after five minutes at most.
fn use_until(issued: &Issued) -> Nanos {
    let claims = issued.access.as_deref().and_then(decode).map(|(_, claims)| claims);
    let number = |name: &str| claims.as_ref().and_then(|c| c.get(name)).and_then(Value::as_f64);
    let lifetime = match (number("exp"), number("iat")) {
        (Some(exp), Some(iat)) => exp - iat,
        (Some(exp), None) => exp - clock::unix(),
        _ => issued.expires_in.unwrap_or(60.0),
    };
    // Short-lived tokens are used for half their life: a control must not die between two probes.
    let usable = if lifetime > 2.0 * FRESH_S { lifetime - FRESH_S } else { lifetime / 2.0 };
    clock::mono() + Nanos::from_secs_f64(usable.min(300.0))
}

//! Of which genuine token does a check forge, and what becomes of the check when that token ends under its hands?

use crate::clock;
use crate::target::Issued;

use super::super::descriptor::Need;
use super::super::outcome::Observation;
use super::super::session::{Held, Way};
use super::{Probe, Stop};

/// So often in a row a check begins again without a finding more than before: then its tokens live too shortly for it.
const FRUITLESS: usize = 2;

/// The token that a check forges of. Forgeries keep its `exp` and its session, so that only this very token, accepted
/// after a forgery, shows that the forgery was not refused because it had ended.
#[derive(Default)]
pub(super) struct Base {
    held: Option<Held>,
    /// It has ended while the check ran, and `held` is its successor: what was forged says nothing any more.
    replaced: bool,
    /// New logins are refused too, or tokens live too shortly: no successor is looked for.
    hopeless: bool,
    /// What was found before, of one base after the other.
    found: Vec<Observation>,
    fruitless: usize,
}

impl Probe<'_> {
    /// The tokens that this check forges of: the pooled session's, and the same ones however often it asks. Use them for
    /// reading and presenting only.
    ///
    /// # Errors
    /// As [`access`](Self::access).
    pub fn pooled(&mut self) -> Result<Issued, Stop> {
        if self.base.held.is_none() {
            self.base.held = Some(self.held()?);
        }
        Ok(self.base.held.as_ref().map(|held| held.issued.clone()).unwrap_or_default())
    }

    /// The genuine token beside which others are shown: the base where there is one, else any.
    pub(super) fn control_token(&mut self) -> Result<String, Stop> {
        match self.base.held.as_ref().and_then(|held| held.issued.access.clone()) {
            Some(token) => Ok(token),
            None => self.access(),
        }
    }

    /// A genuine token is refused at a way. Where a new login's is accepted, the token has ended, and with it what was
    /// forged of it: the check begins again with the new one. Where it has ended before its time (somebody's login ends
    /// the oldest session, for instance), it does so with nobody beside it.
    ///
    /// # Errors
    /// Ends the check, to begin again; as [`login`](Self::login).
    pub(super) fn has_ended(&mut self, way: &Way, token: &str) -> Result<(), Stop> {
        if !self.has(Need::Issue) || self.base.hopeless || self.wanted.is_some() {
            return Ok(());
        }
        let held = self.base.held.clone().or_else(|| self.session.held());
        let use_until = held.filter(|h| h.issued.access.as_deref() == Some(token)).map(|h| h.use_until);
        let early = use_until.is_none_or(|until| clock::mono() < until);
        let next = self.logged_in()?;
        let again = next.issued.access.clone().unwrap_or_default();
        if again == token || !self.present(way, &again)?.accepted() {
            self.base.hopeless = true;
            return Ok(());
        }
        if early && !self.session.has_one_session() {
            self.session.forget(token);
            self.alone()?;
        }
        self.session.pool(next.clone());
        self.forget_base();
        self.base.held = Some(next);
        self.base.replaced = true;
        Err(Stop::Inconclusive("the genuine token that was forged of has ended".to_owned()))
    }

    /// A login of one's own, of whose tokens the check forges from now on.
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn another(&mut self) -> Result<Issued, Stop> {
        let held = self.logged_in()?;
        self.forget_base();
        self.base.held = Some(held.clone());
        Ok(held.issued)
    }

    /// What was forged so far is not forged any more.
    pub(super) fn forget_base(&mut self) {
        self.base.held = None;
        self.forger = None;
        self.controls.clear();
    }

    /// Whether the check has to begin again, since the token that it forged of has ended meanwhile. What it has found so
    /// far stays found.
    pub(in crate::conformance) fn begins_again(&mut self) -> bool {
        if !std::mem::take(&mut self.base.replaced) {
            return false;
        }
        let before = self.base.found.len();
        self.base.found = self.all_found();
        self.base.fruitless = if self.base.found.len() > before { 0 } else { self.base.fruitless + 1 };
        // The last time it goes on beside a token that ends, and says of the rest that nothing was learnt.
        self.base.hopeless = self.base.fruitless >= FRUITLESS;
        true
    }

    /// What was found of this base, and of those before it where this one has not come so far.
    pub(super) fn all_found(&mut self) -> Vec<Observation> {
        let mut all = std::mem::take(&mut self.outcome.observations);
        let before = std::mem::take(&mut self.base.found);
        let told = all.len();
        for (at, old) in before.iter().enumerate() {
            let variant = old.variant.as_deref();
            if alike(&before[..at], variant) >= alike(&all[..told], variant) {
                all.push(old.clone());
            }
        }
        all
    }

    /// Whether a part was found out before the check began again: then it is told once more, and not tried again.
    pub(super) fn was_found(&mut self, variant: Option<&str>) -> bool {
        let told = alike(&self.outcome.observations, variant);
        let old = self.base.found.iter().filter(|o| o.variant.as_deref() == variant).nth(told).cloned();
        old.map(|old| self.outcome.observations.push(old)).is_some()
    }

    /// Whether tokens end sooner than the check can show anything beside them.
    pub(super) fn outlived(&self) -> bool {
        self.base.fruitless >= FRUITLESS
    }

    /// Whether nothing has failed so far.
    pub fn clean(&self) -> bool {
        let all = self.outcome.observations.iter().chain(&self.base.found);
        all.into_iter().all(|o| o.verdict != crate::record::Verdict::Fail)
    }
}

fn alike(observations: &[Observation], variant: Option<&str>) -> usize {
    observations.iter().filter(|o| o.variant.as_deref() == variant).count()
}

//! How does a session go on and end? Refreshing, ending a session, and taking one access token back.

use std::sync::Arc;
use std::time::Duration;

use super::mint::Draft;
use super::{Denied, Grant, Pair, Terms};
use crate::flaws::FlawId as F;
use crate::scope;
use crate::state::State;
use crate::store::{Presented, Rotation, RotationRules, Successor};
use crate::token::{Purpose, random_id};
use crate::verify::Refusal;

impl State {
    /// Exchanges a refresh token.
    pub(crate) async fn refresh(&self, text: &str, terms: Terms<'_>) -> Result<Pair, Denied> {
        let mut payload = Vec::with_capacity(512);
        let caller = self.caller(&self.gates.refresh, text, &mut payload).await;
        if self.has(F::CrashRefresh) && matches!(caller, Err(Denied::Token(Refusal::Forged))) {
            return Err(Denied::Crash);
        }
        let caller = caller?;
        let claims = &caller.claims;
        terms.bind(claims)?;
        self.admit("user", caller.user.as_ref().map_or("", |user| &user.name))?;
        let jti = claims.jti.as_ref().map(AsRef::as_ref).ok_or(Refusal::Claims)?;
        let now = self.now();
        let mut iat = now as u64;
        if self.has(F::CopyIat) {
            iat = claims.iat.map_or(iat, |at| at.0.max(0.0) as u64);
        }
        let auth_time = claims.auth_time.map_or(iat, |at| at.0.max(0.0) as u64);
        let mut grant = Grant {
            session: claims.session().to_owned(),
            auth_time,
            // The user may have gained or lost rights since the last pair.
            scope: caller.user.as_ref().map(|user| user.scope.to_string()),
            client: claims.client_id.as_ref().map(|client| client.0.to_string()),
            refreshed: true,
            ..Grant::default()
        };
        if terms.client.is_some() {
            let granted = claims.scope.as_ref().map_or("", AsRef::as_ref);
            let rights = grant.scope.take().unwrap_or_default();
            let narrowed = match self.flaws.is_empty() {
                true => scope::narrowed(granted, &rights, terms.scope),
                false => self.slipped_scope(granted, &rights, terms.scope),
            };
            grant.scope = Some(narrowed.ok_or(Denied::Scope)?);
            grant.whole_scope = Some(granted.to_owned()).filter(|_| !self.has(F::ScopeShrinks));
        }
        let ring = self.keys.now();
        let mut user = caller.user.clone();
        if self.has(F::SharedStateRefresh)
            && let Some(own) = user
        {
            user = Some(self.slips.shared(own).await);
        }
        let user = user.as_deref();
        let end = self.session_end(&grant);
        if end <= iat {
            return Err(Denied::Token(Refusal::Expired));
        }
        let mut refresh = None;
        if self.has(F::StaticRefresh) {
            refresh = Some(text.to_owned());
        } else if self.config.rotate {
            let exp = (iat + self.config.refresh_lifetime.as_secs()).min(end);
            let next = Successor { jti: random_id(), issued: iat, expires: exp };
            let presented = Presented {
                session: &grant.session,
                jti,
                expires: claims.exp.map_or(exp, |exp| exp.0.max(0.0) as u64),
            };
            let rotation = if self.flaws.is_empty() {
                self.store.rotate(presented, next.clone(), self.rotation, now).await?
            } else {
                self.slipped_rotation(presented, &next, now).await?
            };
            let successor = match rotation {
                Rotation::Rotated => next,
                Rotation::Repeated(same) => same,
                Rotation::Reused => {
                    self.metrics.counters.reused.inc();
                    if self.has(F::RevokeEverything)
                        && let Some(user) = &caller.user
                    {
                        self.users.change(&user.name, |user| user.generation += 1);
                    }
                    return Err(Denied::Token(Refusal::Revoked));
                }
                Rotation::Revoked => return Err(Denied::Token(Refusal::Revoked)),
            };
            let draft =
                Draft { purpose: Purpose::Refresh, jti: successor.jti, iat: successor.issued, exp: successor.expires };
            refresh = Some(self.mint(&ring, user, &grant, &draft)?);
        }
        let access = self.access(&ring, user, &grant, iat)?;
        self.metrics.counters.refreshed.inc();
        let lives_s = self.access_lifetime_s(&grant, iat);
        Ok(Pair { access, lives_s, refresh, grant, user: caller.user.clone() })
    }

    /// What a refresh is granted as the mistakes see it.
    fn slipped_scope(&self, granted: &str, rights: &str, asked: Option<&str>) -> Option<String> {
        if self.has(F::ScopeUpgrade) && asked.is_some() {
            return scope::granted(rights, asked);
        }
        let narrowed = scope::narrowed(granted, rights, asked)?;
        Some(narrowed).filter(|narrowed| !self.has(F::NarrowRefused) || narrowed.len() >= granted.len())
    }

    /// A rotation as the mistakes do it.
    async fn slipped_rotation(&self, presented: Presented<'_>, next: &Successor, now: f64) -> Result<Rotation, Denied> {
        if self.has(F::RotateWithoutRevoke) {
            return Ok(Rotation::Rotated);
        }
        if self.has(F::ChainGrowth) {
            let used = self.store.used(presented.session).await?;
            tokio::time::sleep(Duration::from_micros(200 * used.min(10_000) as u64)).await;
        }
        if self.has(F::CheckThenAct) && !self.store.is_used(presented.session, presented.jti).await? {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let rules = RotationRules { end_session: false, ..self.rotation };
            self.store.rotate(presented, next.clone(), rules, now).await?;
            return Ok(Rotation::Rotated);
        }
        Ok(self.store.rotate(presented, next.clone(), self.rotation, now).await?)
    }

    /// Ends the session of a refresh token.
    pub(crate) async fn end(self: &Arc<Self>, text: &str, terms: Terms<'_>) -> Result<(), Denied> {
        let mut payload = Vec::with_capacity(512);
        let caller = match self.caller(&self.gates.refresh, text, &mut payload).await {
            Err(Denied::Token(_)) if self.has(F::CrashUnknown) => return Err(Denied::Crash),
            other => other?,
        };
        terms.bind(&caller.claims)?;
        let jti = caller.claims.jti.as_ref().map(AsRef::as_ref).ok_or(Refusal::Claims)?;
        let session = caller.claims.session();
        // The session's other tokens may have been issued later, and live longer.
        let expires = caller
            .claims
            .exp
            .map_or(0, |exp| exp.0.max(0.0) as u64)
            .max(self.now() as u64 + self.config.refresh_lifetime.as_secs());
        if self.store.is_used(session, jti).await? {
            // It may have lost a race with a refresh: whoever logs out means the session, successor included.
            let slips = [F::SilentNoop, F::DenylistByString, F::LazyDenylist, F::UnlockedRevoke, F::NoCascade];
            if !slips.into_iter().any(|flaw| self.has(flaw)) {
                self.store.end_session(session, expires).await?;
            }
            return Err(Denied::Token(Refusal::Revoked));
        }
        self.metrics.counters.revoked.inc();
        if self.has(F::SilentNoop) {
            return Ok(());
        }
        if self.has(F::DenylistByString) {
            self.slips.deny(text);
            return Ok(());
        }
        if self.has(F::MemoryDenylist) {
            self.slips.deny(session);
            return Ok(());
        }
        if self.has(F::LazyDenylist) {
            let (state, session) = (Arc::clone(self), session.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3)).await;
                state.store.end_session(&session, expires).await
            });
            return Ok(());
        }
        if self.has(F::UnlockedRevoke) || self.has(F::NoCascade) {
            if self.has(F::UnlockedRevoke) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            return Ok(self.store.revoke(session, jti, expires).await?);
        }
        Ok(self.store.end_session(session, expires).await?)
    }

    /// Takes one access token back, and leaves the rest of its session (RFC 7009 section 2.1).
    pub(crate) async fn revoke_access(&self, text: &str, terms: Terms<'_>) -> Result<(), Denied> {
        let mut payload = Vec::with_capacity(512);
        let caller = self.caller(&self.gates.verify, text, &mut payload).await?;
        terms.bind(&caller.claims)?;
        let jti = caller.claims.jti.as_ref().map(AsRef::as_ref).ok_or(Refusal::Claims)?;
        let expires = caller.claims.exp.map_or(0, |exp| exp.0.max(0.0) as u64);
        self.metrics.counters.revoked.inc();
        if self.has(F::SilentNoop) {
            return Ok(());
        }
        if self.has(F::DenylistAccessString) {
            self.slips.deny(text);
            return Ok(());
        }
        Ok(self.store.revoke(caller.claims.session(), jti, expires).await?)
    }
}

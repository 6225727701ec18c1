//! Whom does a token speak for, and what does a session consist of? Whatever the wire form.
//!
//! | question | file |
//! |---|---|
//! | who logs in? | `login` |
//! | what is written into tokens? | `mint` |
//! | how does a session go on and end? | `renewal` |

mod login;
mod mint;
mod renewal;

use std::sync::Arc;

use crate::flawed::{self, Fetched};
use crate::flaws::FlawId as F;
use crate::state::State;
use crate::token::{Claims, Purpose};
use crate::users::{Busy, User};
use crate::verify::{Gate, Place, Reading, Refusal, verify};

/// Why an operation gave no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No such user, a wrong password, or an inactive user.
    Credentials,
    /// The presented token does not do.
    Token(Refusal),
    /// Too many failed logins of this name: how many seconds to wait.
    Throttled(u64),
    /// Too many requests of this user or client: how many seconds to wait.
    Paced(u64),
    /// No such user; said apart from a wrong password only by a mistake.
    UnknownUser,
    /// The token was issued to another client, or to none.
    Client,
    /// More was asked for than may be granted.
    Scope,
    /// Too many passwords are waiting, or the store is away.
    Unavailable,
    /// A fault of ours: the crypto library failed, or a flaw crashed.
    Crash,
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Crash => Self::Crash,
            other => Self::Token(other),
        }
    }
}

impl From<Busy> for Denied {
    fn from(_: Busy) -> Self {
        Self::Unavailable
    }
}

impl From<crate::store::StoreError> for Denied {
    fn from(_: crate::store::StoreError) -> Self {
        Self::Unavailable
    }
}

/// What a token says beyond its purpose and times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grant {
    /// The session's identifier.
    pub(crate) session: String,
    /// When its login happened, in seconds since 1970.
    pub(crate) auth_time: u64,
    /// What may be done with the access token now issued.
    pub(crate) scope: Option<String>,
    /// What the login was granted, where a refresh asked for less of it: the refresh token keeps it.
    pub(crate) whole_scope: Option<String>,
    /// The OAuth client that it was issued to.
    pub(crate) client: Option<String>,
    /// The login's `nonce`, repeated in its ID token.
    pub(crate) nonce: Option<String>,
    /// It goes on by a refresh.
    pub(crate) refreshed: bool,
}

/// On whose behalf a token is presented, and what is wanted for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms<'a> {
    /// The OAuth client that presents it; none in the simple dialect.
    pub(crate) client: Option<&'a str>,
    /// The scope asked for; all that was granted where none is.
    pub(crate) scope: Option<&'a str>,
    /// A mistake: whoever presents it may have it.
    pub(crate) any_client: bool,
}

impl Terms<'_> {
    /// A token belongs to the client that it was issued to (RFC 6749 section 6), and to nobody where there was none.
    fn bind(&self, claims: &Claims<'_>) -> Result<(), Denied> {
        let issued_to = claims.client_id.as_ref().map(AsRef::as_ref);
        if issued_to == self.client || self.any_client { Ok(()) } else { Err(Denied::Client) }
    }
}

/// A fresh pair of tokens.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) access: String,
    /// How many seconds the access token lives.
    pub(crate) lives_s: u64,
    /// Absent where the old refresh token goes on.
    pub(crate) refresh: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) user: Option<Arc<User>>,
}

/// The longest `sid` and `jti`; ours have 22 letters, and not every store can look for a long one.
const NAME_BYTES: usize = 512;

/// Who a token speaks for.
#[derive(Debug)]
pub(crate) struct Caller<'p> {
    pub(crate) claims: Claims<'p>,
    /// Absent for a client's own token.
    pub(crate) user: Option<Arc<User>>,
}

impl State {
    /// Holds a token against `gate`, its user's state and what was taken back.
    pub(crate) async fn caller<'p>(
        &self,
        gate: &Gate,
        text: &str,
        payload: &'p mut Vec<u8>,
    ) -> Result<Caller<'p>, Denied> {
        // Boxed, so that a mistake does not make every request's future large.
        let fetched = if self.flaws.is_empty() {
            Fetched::default()
        } else {
            flawed::toil(&self.flaws, gate.place, text)?;
            Box::pin(Fetched::for_token(&self.flaws, text)).await
        };
        let ring = self.keys.now();
        let unsealed;
        let text = match &self.sealer {
            None => text,
            // What must be hidden is refused where it is not.
            Some(sealer) => {
                unsealed = match sealer.unseal(text) {
                    inside if !self.flaws.is_empty() => flawed::unsealed(&self.flaws, sealer, text, inside)?,
                    inside => inside.ok_or(Refusal::Forged)?,
                };
                &unsealed
            }
        };
        let reading = Reading { ring: &ring, flaws: &self.flaws, gate, now: self.now(), fetched: &fetched };
        let claims = verify(&reading, text, payload)?;
        let user = self.user_of(gate.place, &claims)?;
        let jti = claims.jti.as_ref().map_or("", AsRef::as_ref);
        if [claims.session(), jti].iter().any(|name| name.len() > NAME_BYTES || name.contains('\0')) {
            return Err(Denied::Token(Refusal::Claims));
        }
        if self.store.is_revoked(claims.session(), jti).await? && !self.overlooks_revocation(gate.place, &claims) {
            return Err(Denied::Token(Refusal::Revoked));
        }
        let by_text = self.has(F::DenylistByString) || self.has(F::DenylistAccessString);
        let in_memory = self.has(F::MemoryDenylist) && self.slips.is_denied(claims.session());
        if in_memory || by_text && self.slips.is_denied(text) {
            return Err(Denied::Token(Refusal::Revoked));
        }
        Ok(Caller { claims, user })
    }

    fn overlooks_revocation(&self, place: Place, claims: &Claims<'_>) -> bool {
        if self.flaws.is_empty() {
            return false;
        }
        let is_access = claims.token_type.as_ref().map(AsRef::as_ref) == Some(Purpose::Access.name());
        let verify = place == Place::Verify;
        (verify && (self.has(F::IgnoreDenylist) || self.has(F::VerifySignatureOnly)))
            || (is_access && self.has(F::AccessSurvives))
    }

    /// The active user of the token's subject and generation; `None` for a client's own token.
    fn user_of(&self, place: Place, claims: &Claims<'_>) -> Result<Option<Arc<User>>, Refusal> {
        let blind = (place == Place::Verify && (self.has(F::StaleUserVerify) || self.has(F::VerifySignatureOnly)))
            || (place == Place::Refresh && self.has(F::StaleUser));
        let subject = match claims.sub.as_ref().map(AsRef::as_ref) {
            Some(subject) => subject,
            None if blind => return Ok(None),
            None => return Err(Refusal::Claims),
        };
        if claims.client_id.as_ref().is_some_and(|client| client.as_ref() == subject) {
            return Ok(None);
        }
        if blind {
            return Ok(self.users.by_id(subject).or_else(|| self.users.first_by_id(subject)));
        }
        let Some(user) = self.users.by_id(subject) else {
            return Err(if self.has(F::CrashDeleted) { Refusal::Crash } else { Refusal::User });
        };
        let ended = !user.active || user.generation != claims.generation.unwrap_or(0);
        let overlooked =
            (self.has(F::InactiveOk) && !user.active) || (self.has(F::EventsIgnored) && place != Place::Refresh);
        if ended && !overlooked {
            return Err(Refusal::User);
        }
        Ok(Some(user))
    }

    /// Who the token speaks for, where any endpoint would still take it.
    pub(crate) async fn inspect<'p>(&self, text: &str, payload: &'p mut Vec<u8>) -> Result<Caller<'p>, Denied> {
        let caller = self.caller(&self.gates.verify, text, payload).await?;
        let jti = caller.claims.jti.as_ref().map_or("", AsRef::as_ref);
        if self.store.is_used(caller.claims.session(), jti).await?
            && !self.overlooks_revocation(Place::Verify, &caller.claims)
        {
            return Err(Denied::Token(Refusal::Revoked));
        }
        self.metrics.counters.verified.inc();
        Ok(caller)
    }
}

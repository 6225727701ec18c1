//! What does a login lead to? Issuing, refreshing, checking and ending sessions, whatever the wire form.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::flawed::Fetched;
use crate::flaws::FlawId as F;
use crate::keys::Ring;
use crate::scope;
use crate::state::State;
use crate::store::{Presented, Rotation, RotationRules, Successor};
use crate::throttle::{Throttle, Turn};
use crate::token::{Claims, Issue, Purpose, random_id};
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
    /// Absent where the old refresh token goes on.
    pub(crate) refresh: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) user: Option<Arc<User>>,
}

/// The longest `sid` and `jti`; ours have 22 letters, and not every store can look for a long one.
const NAME_BYTES: usize = 512;

/// How often and how long a login waits for another one of the same name that is under way.
const TURN_POLLS: usize = 400;
const TURN_POLL: Duration = Duration::from_millis(5);

/// A password of one name that is being looked at; where the caller goes away meanwhile it counts as not looked at.
struct Try<'t> {
    throttle: &'t Throttle,
    name: u64,
    opened: Option<bool>,
}

impl Try<'_> {
    fn ended(mut self, opened: bool) {
        self.opened = Some(opened);
    }
}

impl Drop for Try<'_> {
    fn drop(&mut self) {
        self.throttle.end(self.name, self.opened);
    }
}

/// Who a token speaks for.
#[derive(Debug)]
pub(crate) struct Caller<'p> {
    pub(crate) claims: Claims<'p>,
    /// Absent for a client's own token.
    pub(crate) user: Option<Arc<User>>,
}

/// What is written into one token.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) purpose: Purpose,
    pub(crate) jti: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {}", self.id)
    }
}

/// The text with each name replaced by its value; a value that looks like a name stays as it is.
fn filled_text(text: &str, names: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        match names.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                filled.push_str(value);
                rest = &rest[name.len()..];
            }
            None => {
                filled.push_str("${");
                rest = &rest[2..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// Configured claims with what their texts name filled in.
fn templated(claims: &Map<String, Value>, user: Option<&User>, grant: &Grant) -> Map<String, Value> {
    fn filled(value: &Value, names: &[(&str, &str)]) -> Value {
        match value {
            Value::String(text) => Value::String(filled_text(text, names)),
            Value::Array(list) => list.iter().map(|one| filled(one, names)).collect(),
            Value::Object(map) => {
                Value::Object(map.iter().map(|(name, one)| (name.clone(), filled(one, names))).collect())
            }
            other => other.clone(),
        }
    }
    let names = [
        ("${user}", user.map_or("", |user| &user.name)),
        ("${user_id}", user.map_or("", |user| &user.id)),
        ("${client}", grant.client.as_deref().unwrap_or("")),
    ];
    claims.iter().map(|(name, value)| (name.clone(), filled(value, &names))).collect()
}

impl State {
    /// Writes and signs one token.
    pub(crate) fn mint(
        &self,
        ring: &Ring,
        user: Option<&User>,
        grant: &Grant,
        draft: &Draft,
    ) -> Result<String, Denied> {
        let key = ring.signer(self.now());
        let subject = match user {
            Some(user) => Some(&*user.id),
            None => grant.client.as_deref(),
        };
        let slip;
        let draft = if self.flaws.is_empty() {
            draft
        } else {
            slip = self.slipped(draft);
            &slip
        };
        let more = (draft.purpose == Purpose::Access && !self.config.claims.is_empty())
            .then(|| templated(&self.config.claims, user, grant));
        let issue = Issue {
            token_type: draft.purpose.name(),
            exp: draft.exp,
            iat: draft.iat,
            jti: &draft.jti,
            sub: subject,
            user_id: user.map(|user| &*user.id),
            sid: Some(&grant.session),
            iss: match &grant.client {
                // What the discovery documents say is what tokens of this dialect say.
                Some(_) => Some(&self.issuer),
                None => self.config.issuer.as_deref(),
            },
            aud: self.audience(draft.purpose, grant),
            scope: match draft.purpose {
                Purpose::Refresh => grant.whole_scope.as_deref().or(grant.scope.as_deref()),
                Purpose::Access => grant.scope.as_deref(),
                Purpose::Id => None,
            }
            .filter(|scope| !scope.is_empty()),
            client_id: grant.client.as_deref(),
            generation: user.map(|user| user.generation).filter(|generation| *generation > 0),
            auth_time: (draft.purpose != Purpose::Access).then_some(grant.auth_time),
            nonce: grant.nonce.as_deref().filter(|_| draft.purpose == Purpose::Id),
            name: user
                .filter(|_| draft.purpose == Purpose::Id && scope::has(grant.scope.as_deref().unwrap_or(""), "profile"))
                .map(|user| &*user.name),
            password: user.filter(|_| self.has(F::HashInClaim)).map(|user| user.password.text()),
            more: more.as_ref(),
        };
        let head = if self.config.rfc9068 && draft.purpose == Purpose::Access { &key.head_access } else { &key.head };
        let claims = serde_json::to_vec(&issue).map_err(|_| Denied::Crash)?;
        let mut text = String::with_capacity(head.len() + claims.len() * 4 / 3 + 360);
        text.push_str(head);
        URL_SAFE_NO_PAD.encode_string(&claims, &mut text);
        key.sign_onto(&mut text).map_err(|_| Denied::Crash)?;
        match &self.sealer {
            // An ID token is for the client to read.
            Some(sealer) if draft.purpose != Purpose::Id => sealer.seal(&text).ok_or(Denied::Crash),
            _ => Ok(text),
        }
    }

    /// What the mistakes make of a draft.
    fn slipped(&self, draft: &Draft) -> Draft {
        let mut draft = draft.clone();
        if self.has(F::RandomLifetime) {
            draft.exp += rand::random_range(0..60);
        }
        if self.has(F::NaiveLocalTime) {
            draft.iat += 3600;
            draft.exp += 3600;
        }
        if self.has(F::ExpInMs) {
            draft.iat *= 1000;
            draft.exp *= 1000;
        }
        if self.has(F::JtiFromClock) {
            draft.jti = format!("{}", (self.now() * 1000.0) as u64);
        }
        draft
    }

    /// The ID token of a login or of a refresh (OpenID Connect Core sections 2 and 12.2).
    pub(crate) fn id_token(&self, user: &User, grant: &Grant) -> Result<String, Denied> {
        let iat = self.now() as u64;
        let exp = iat + self.config.access_lifetime.as_secs();
        let draft = Draft { purpose: Purpose::Id, jti: random_id(), iat, exp };
        self.mint(&self.keys.now(), Some(user), grant, &draft)
    }

    /// An access token for a client itself (RFC 6749 section 4.4): nothing to refresh.
    pub(crate) fn client_token(&self, grant: &Grant) -> Result<String, Denied> {
        let token = self.access(&self.keys.now(), None, grant, self.now() as u64)?;
        self.metrics.counters.issued.inc();
        Ok(token)
    }

    fn audience(&self, purpose: Purpose, grant: &Grant) -> Option<Value> {
        if purpose == Purpose::Id {
            return grant.client.as_ref().map(|client| json!(client));
        }
        match self.config.audience.as_slice() {
            [] => None,
            [one] => Some(json!(one)),
            many => Some(json!(many)),
        }
    }

    /// Checks a login and gives its first pair.
    pub(crate) async fn login(&self, name: &str, password: &str) -> Result<Pair, Denied> {
        let user = self.authenticate(name, password).await?;
        let grant = Grant {
            session: random_id(),
            auth_time: self.now() as u64,
            scope: Some(user.scope.to_string()),
            ..Grant::default()
        };
        self.first_pair(user, grant)
    }

    /// The user whom `name` and `password` open.
    pub(crate) async fn authenticate(&self, name: &str, password: &str) -> Result<Arc<User>, Denied> {
        self.admit("user", name)?;
        let limit = self.config.login_limit.filter(|_| !self.has(F::NoThrottle));
        let turn = match limit {
            Some(limit) => Some(self.turn(name, limit).await?),
            None => None,
        };
        let user = self.users.by_name(name);
        self.metrics.counters.hashed.inc();
        if self.has(F::UnboundedHash) && password.len() > 4096 {
            let password = password.to_owned();
            self.users.costly(move || crate::users::hash_without_end(&password)).await?;
        }
        let asked = std::time::Instant::now();
        let opens = self.users.password_opens(user.as_deref(), password, self.has(F::SkipDummyHash)).await;
        self.metrics.hashed(asked.elapsed());
        let opens = opens.inspect_err(|_| _ = self.metrics.counters.overloaded.inc())?;
        // An inactive user is told what a wrong password is told, after the same work.
        match user {
            Some(user) if (opens || self.has(F::AnyPassword)) && user.active => {
                if let Some(turn) = turn {
                    turn.ended(true);
                }
                Ok(if self.has(F::SharedStateLogin) { self.slips.shared(user).await } else { user })
            }
            found => {
                if let Some(turn) = turn {
                    turn.ended(false);
                }
                let told = found.is_none() && self.has(F::DistinctMessage);
                Err(if told { Denied::UnknownUser } else { Denied::Credentials })
            }
        }
    }

    /// Waits until a password of `name` may be looked at; refused where too many have failed.
    async fn turn(&self, name: &str, limit: u32) -> Result<Try<'_>, Denied> {
        let name = self.short_name(&name);
        for _ in 0..TURN_POLLS {
            match self.throttle.begin(name, limit, self.now()) {
                Turn::Go => return Ok(Try { throttle: &self.throttle, name, opened: None }),
                Turn::Wait => tokio::time::sleep(TURN_POLL).await,
                Turn::Refused(seconds) => return Err(Denied::Throttled(seconds)),
            }
        }
        Err(Denied::Throttled(1))
    }

    /// Access and refresh token of a new session.
    pub(crate) fn first_pair(&self, user: Arc<User>, grant: Grant) -> Result<Pair, Denied> {
        let ring = self.keys.now();
        let iat = self.now() as u64;
        let access = self.access(&ring, Some(&user), &grant, iat)?;
        let draft = Draft {
            purpose: Purpose::Refresh,
            jti: random_id(),
            iat,
            exp: (iat + self.config.refresh_lifetime.as_secs()).min(self.session_end(&grant)),
        };
        let refresh = self.mint(&ring, Some(&user), &grant, &draft)?;
        self.metrics.counters.issued.inc();
        Ok(Pair { access, refresh: Some(refresh), grant, user: Some(user) })
    }

    /// Beyond this second no token of the session reaches, however often it is refreshed.
    fn session_end(&self, grant: &Grant) -> u64 {
        if self.has(F::SlideForever) {
            return u64::MAX;
        }
        grant.auth_time.saturating_add(self.config.absolute_lifetime.as_secs())
    }

    /// One access token, from `iat` on.
    pub(crate) fn access(&self, ring: &Ring, user: Option<&User>, grant: &Grant, iat: u64) -> Result<String, Denied> {
        // A client's own token belongs to no login.
        let end = if user.is_some() { self.session_end(grant) } else { u64::MAX };
        self.mint(
            ring,
            user,
            grant,
            &Draft {
                purpose: Purpose::Access,
                jti: random_id(),
                iat,
                exp: (iat + self.config.access_lifetime.as_secs()).min(end),
            },
        )
    }

    /// Holds a token against `gate`, its user's state and what was taken back.
    pub(crate) async fn caller<'p>(
        &self,
        gate: &Gate,
        text: &str,
        payload: &'p mut Vec<u8>,
    ) -> Result<Caller<'p>, Denied> {
        let fetched =
            if self.flaws.is_empty() { Fetched::default() } else { Fetched::for_token(&self.flaws, text).await };
        let ring = self.keys.now();
        let unsealed;
        let text = match &self.sealer {
            None => text,
            // What must be hidden is refused where it is not.
            Some(sealer) => {
                unsealed = sealer.unseal(text).ok_or(Refusal::Forged)?;
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
        if by_text && self.slips.is_denied(text) {
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
            ..Grant::default()
        };
        if terms.client.is_some() {
            let granted = claims.scope.as_ref().map_or("", AsRef::as_ref);
            let rights = grant.scope.take().unwrap_or_default();
            grant.scope = Some(scope::narrowed(granted, &rights, terms.scope).ok_or(Denied::Scope)?);
            grant.whole_scope = Some(granted.to_owned());
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
        Ok(Pair { access, refresh, grant, user: caller.user.clone() })
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
            if self.flaws.is_empty() {
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

//! What is written into tokens? Access, refresh and ID tokens, each from its grant, signed, and sealed where that is configured.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::{Denied, Grant, Pair};
use crate::flaws::FlawId as F;
use crate::ring::Ring;
use crate::scope;
use crate::state::State;
use crate::token::{Issue, Purpose, random_id};
use crate::users::User;

/// Room for the claims of an ordinary token, so that writing them does not move them.
const CLAIMS_BYTES: usize = 384;

/// What is written into one token.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) purpose: Purpose,
    pub(crate) jti: String,
    pub(crate) iat: u64,
    pub(crate) exp: u64,
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
        let issuer = self.issuer_of_request();
        let mut issue = Issue {
            token_type: draft.purpose.name(),
            exp: draft.exp,
            iat: draft.iat,
            jti: &draft.jti,
            sub: subject,
            user_id: user.map(|user| &*user.id),
            sid: Some(&grant.session),
            iss: match &grant.client {
                // What the discovery documents say is what tokens of this dialect say.
                Some(_) => Some(&issuer),
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
        if draft.purpose == Purpose::Id && grant.refreshed && !self.flaws.is_empty() {
            self.slip_id_token(&mut issue, grant);
        }
        let head = if self.config.rfc9068 && draft.purpose == Purpose::Access { &key.head_access } else { &key.head };
        let mut claims = Vec::with_capacity(CLAIMS_BYTES);
        issue.write(&mut claims).map_err(|_| Denied::Crash)?;
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

    /// What the mistakes make of the ID token that comes with a refresh.
    fn slip_id_token<'i>(&self, issue: &mut Issue<'i>, grant: &'i Grant) {
        if self.has(F::SubChanges) {
            issue.sub = Some(&grant.session);
        }
        if self.has(F::IdTokenElsewhere) {
            issue.iss = Some("https://elsewhere.example");
            issue.aud = Some(json!("elsewhere"));
        }
        if self.has(F::AuthTimeMoves) {
            issue.auth_time = Some(issue.iat);
        }
        if self.has(F::IdTokenCopied) {
            issue.iat = grant.auth_time;
        }
        if self.has(F::NonceAnew) {
            issue.nonce = Some(&grant.session);
        }
    }

    /// The ID token of a login or of a refresh (OpenID Connect Core sections 2 and 12.2).
    pub(crate) fn id_token(&self, user: &User, grant: &Grant) -> Result<String, Denied> {
        let iat = self.now() as u64;
        let exp = iat + self.access_lifetime_s(grant, iat);
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
        let lives_s = self.access_lifetime_s(&grant, iat);
        Ok(Pair { access, lives_s, refresh: Some(refresh), grant, user: Some(user) })
    }

    /// Beyond this second no token of the session reaches, however often it is refreshed.
    pub(super) fn session_end(&self, grant: &Grant) -> u64 {
        if self.has(F::SlideForever) {
            return u64::MAX;
        }
        grant.auth_time.saturating_add(self.config.absolute_lifetime.as_secs())
    }

    /// How many seconds an access token issued at `iat` lives: the configured time, but never beyond its session.
    pub(super) fn access_lifetime_s(&self, grant: &Grant, iat: u64) -> u64 {
        self.config.access_lifetime.as_secs().min(self.session_end(grant).saturating_sub(iat))
    }

    /// One access token, from `iat` on.
    pub(crate) fn access(&self, ring: &Ring, user: Option<&User>, grant: &Grant, iat: u64) -> Result<String, Denied> {
        let lives_s = match user {
            Some(_) => self.access_lifetime_s(grant, iat),
            // A client's own token belongs to no login.
            None => self.config.access_lifetime.as_secs(),
        };
        self.mint(ring, user, grant, &Draft { purpose: Purpose::Access, jti: random_id(), iat, exp: iat + lives_s })
    }
}

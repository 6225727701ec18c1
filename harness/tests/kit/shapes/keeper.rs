//! Who issues, checks and revokes for a small server: sessions whose tokens are right, whatever the shape.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

const KEY: &[u8] = b"a-secret-that-is-long-enough-for-hs256";
const USERS: &[(&str, &str)] = &[("alice", "correct-horse-9"), ("bob", "correct-horse-9")];

/// A session: whose, its live refresh token, and what has been used up.
struct Session {
    user: String,
    live: Option<String>,
    access: String,
}

/// What issues, checks and revokes.
#[derive(Default)]
pub struct Keeper {
    count: AtomicU64,
    sessions: Mutex<HashMap<String, Session>>,
}

impl Keeper {
    pub fn password(name: Option<String>, password: Option<String>) -> Result<String, bool> {
        let (Some(name), Some(password)) = (name, password) else { return Err(false) };
        if USERS.contains(&(name.as_str(), password.as_str())) { Ok(name) } else { Err(true) }
    }

    pub fn sign(&self, user: &str, session: &str, kind: &str, life: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let jti = format!("{:08}", self.number());
        Keeper::sealed(
            &json!({"sub": user, "sid": session, "kind": kind, "jti": jti, "iat": now, "exp": now + life, "iss": "x"}),
        )
    }

    /// A token that is the same text for whoever asks in the same second.
    pub fn sign_by_second(user: &str, kind: &str, life: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Keeper::sealed(&json!({"sub": user, "sid": "none", "kind": kind, "iat": now, "exp": now + life}))
    }

    fn sealed(claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(KEY)).expect("signed")
    }

    pub fn read(token: &str, kind: &str) -> Option<(String, String)> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        let read = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(KEY), &validation).ok()?;
        let text = |name: &str| read.claims.get(name)?.as_str().map(str::to_owned);
        (text("kind")? == kind).then_some((text("sub")?, text("sid")?))
    }

    pub fn issue(&self, user: &str) -> (String, String) {
        let session = format!("s{}", self.number());
        let access = self.sign(user, &session, "access", 300);
        let refresh = self.sign(user, &session, "refresh", 3600);
        let kept = Session { user: user.to_owned(), live: Some(refresh.clone()), access: access.clone() };
        self.sessions.lock().expect("sound").insert(session, kept);
        (access, refresh)
    }

    /// A number that was not given before.
    pub fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers a text under a name of its own.
    pub fn keep(&self, name: String, text: &str) {
        let kept = Session { user: text.to_owned(), live: None, access: String::new() };
        self.sessions.lock().expect("sound").insert(name, kept);
    }

    /// What was kept under a name, once.
    pub fn take(&self, name: &str) -> Option<String> {
        self.sessions.lock().expect("sound").remove(name).map(|kept| kept.user)
    }

    /// A token that nobody can read, looked up in a table.
    pub fn handle(&self, user: &str) -> String {
        let number = self.number();
        let digest =
            jsonwebtoken::crypto::sign(&number.to_be_bytes(), &EncodingKey::from_secret(KEY), Algorithm::HS256);
        let handle: String = digest.expect("signed").chars().take(40).collect();
        let kept = Session { user: user.to_owned(), live: None, access: handle.clone() };
        self.sessions.lock().expect("sound").insert(handle.clone(), kept);
        handle
    }

    pub fn user_of(&self, token: Option<&str>) -> Option<String> {
        Keeper::read(token?, "access").map(|(user, _)| user)
    }

    pub fn user_of_handle(&self, token: Option<&str>) -> Option<String> {
        self.sessions.lock().expect("sound").get(token?).map(|session| session.user.clone())
    }

    /// A new pair for the live refresh token; anything else ends the session.
    pub fn rotate(&self, token: Option<&str>, access: Option<&str>) -> Option<(String, String)> {
        let (user, id) = Keeper::read(token?, "refresh")?;
        let mut sessions = self.sessions.lock().expect("sound");
        let session = sessions.get_mut(&id)?;
        if session.live.as_deref() != token || access.is_some_and(|access| access != session.access) {
            session.live = None;
            return None;
        }
        let pair = (self.sign(&user, &id, "access", 300), self.sign(&user, &id, "refresh", 3600));
        (session.access, session.live) = (pair.0.clone(), Some(pair.1.clone()));
        Some(pair)
    }

    pub fn end(&self, token: Option<&str>) -> Option<()> {
        let (_, id) = Keeper::read(token?, "refresh")?;
        self.sessions.lock().expect("sound").get_mut(&id)?.live = None;
        Some(())
    }
}

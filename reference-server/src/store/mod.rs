//! What must be remembered about tokens after they were issued? Which refresh tokens were used, and what was taken back.
//!
//! A genuine signature makes a refresh token good until the store says otherwise, so that live tokens cost nothing: remembered are used
//! tokens and ended sessions, each until the token would have expired anyway.

mod address;
mod embedded;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod line;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(test)]
mod tests;

pub use address::{StoreArgument, StoreConfig, StoreUrl};
use embedded::Embedded;
use memory::Memory;

/// A refresh token at the door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    /// The session that it belongs to.
    pub(crate) session: &'a str,
    /// The token's own identifier.
    pub(crate) jti: &'a str,
    /// When it expires, in seconds since 1970; nothing needs to be remembered longer.
    pub(crate) expires: u64,
}

/// The token that takes its place: enough to write the same one again within the grace window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Successor {
    /// Its identifier.
    pub(crate) jti: String,
    /// When it was issued, in seconds since 1970.
    pub(crate) issued: u64,
    /// When it expires, in seconds since 1970.
    pub(crate) expires: u64,
}

/// What came of an attempt to use a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// First use: the successor counts from now on.
    Rotated,
    /// Used before, but within the grace window: the same successor once more.
    Repeated(Successor),
    /// Used before: the whole session has been ended.
    Reused,
    /// Its session was ended before.
    Revoked,
}

/// How uses are judged; from the configuration and the flaws.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RotationRules {
    /// How long a used token may come again, in seconds.
    pub(crate) grace_s: f64,
    /// A reuse ends the session.
    pub(crate) end_session: bool,
}

/// The store could not answer; the caller says 503.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the token store does not answer: {0}")]
pub(crate) struct StoreError(pub(crate) String);

/// Where it is kept. Every method is the same promise on each: the contract is tested on all.
#[derive(Debug)]
pub(crate) enum Store {
    Memory(Memory),
    Embedded(Embedded),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Postgres>),
    #[cfg(feature = "redis")]
    Redis(Box<redis::Redis>),
}

/// The same call on whichever it is. What a server of its own is asked is boxed: beside its answer that costs nothing, and every
/// request's future, which is moved several times, would else be as large as the largest of them.
macro_rules! on {
    ($store:expr, $each:ident => $call:expr) => {
        match $store {
            Self::Memory($each) => $call,
            Self::Embedded($each) => $call,
            #[cfg(feature = "postgres")]
            Self::Postgres($each) => Box::pin(async { $call }).await,
            #[cfg(feature = "redis")]
            Self::Redis($each) => Box::pin(async { $call }).await,
        }
    };
}

impl Store {
    /// Opens what is configured; a server is first reached by [`Store::prepare`], or by the first call.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        match config {
            StoreConfig::Memory => Ok(Self::Memory(Memory::new())),
            StoreConfig::File(path) => Embedded::open(path).map(Self::Embedded),
            #[cfg(feature = "postgres")]
            StoreConfig::Postgres(url) => {
                postgres::Postgres::new(url).map(|store| Self::Postgres(Box::new(store))).map_err(StoreError)
            }
            #[cfg(feature = "redis")]
            StoreConfig::Redis(url) => {
                redis::Redis::new(url).map(|store| Self::Redis(Box::new(store))).map_err(StoreError)
            }
            #[cfg(not(all(feature = "postgres", feature = "redis")))]
            other => Err(StoreError(format!("{other:?} was not built in"))),
        }
    }

    /// Reaches the store's server, so that what is wrong with it is told at the start. Gives what may lose an answer and was accepted.
    pub(crate) async fn prepare(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Memory(_) | Self::Embedded(_) => Ok(Vec::new()),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.prepare().await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.prepare().await,
        }
    }

    /// Uses `presented` up in favour of `next`: of any number of simultaneous attempts exactly one is `Rotated`.
    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        on!(self, store => store.rotate(presented, next, rules, now).await)
    }

    /// Ends a session: every token of it, until `expires`.
    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        on!(self, store => store.end_session(session, expires).await)
    }

    /// Takes one token back, until `expires`.
    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        on!(self, store => store.revoke(session, jti, expires).await)
    }

    /// True where the token or its session was taken back.
    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        on!(self, store => store.is_revoked(session, jti).await)
    }

    /// True where the refresh token was used.
    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        on!(self, store => store.is_used(session, jti).await)
    }

    /// How many refresh tokens of the session were used.
    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        on!(self, store => store.used(session).await)
    }

    /// Forgets what has expired.
    pub(crate) async fn sweep(&self, now: f64) -> Result<(), StoreError> {
        on!(self, store => store.sweep(now).await)
    }

    /// How many entries are remembered: used tokens, revoked tokens and ended sessions.
    pub(crate) async fn remembered(&self) -> Result<usize, StoreError> {
        on!(self, store => store.remembered().await)
    }

    /// Forgets everything.
    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        on!(self, store => store.clear().await)
    }
}

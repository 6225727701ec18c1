//! What must be remembered about tokens after they were issued? Which refresh tokens were used, and what was taken back.
//!
//! A genuine signature makes a refresh token good until the store says otherwise, so that live tokens cost nothing: remembered are used
//! tokens and ended sessions, each until the token would have expired anyway.

mod embedded;
mod memory;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

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

/// Where used and revoked tokens are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreConfig {
    /// In the process: fast, and gone with it.
    #[default]
    Memory,
    /// In this file, which survives the process; one process at a time.
    File(PathBuf),
}

impl std::str::FromStr for StoreConfig {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("redb", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(format!("expected `memory` or `redb:FILE`, saw `{text}`")),
        }
    }
}

/// Where it is kept. Every method is the same promise on each: the contract is tested on all.
#[derive(Debug)]
pub(crate) enum Store {
    Memory(Memory),
    Embedded(Embedded),
}

impl Store {
    /// Opens what is configured.
    pub(crate) fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        Ok(match config {
            StoreConfig::Memory => Self::Memory(Memory::new()),
            StoreConfig::File(path) => Self::Embedded(Embedded::open(path)?),
        })
    }

    /// Uses `presented` up in favour of `next`: of any number of simultaneous attempts exactly one is `Rotated`.
    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.rotate(presented, next, rules, now)),
            Self::Embedded(file) => file.rotate(presented, next, rules, now).await,
        }
    }

    /// Ends a session: every token of it, until `expires`.
    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.end_session(session, expires),
            Self::Embedded(file) => file.end_session(session, expires).await?,
        }
        Ok(())
    }

    /// Takes one token back, until `expires`.
    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.revoke(session, jti, expires),
            Self::Embedded(file) => file.revoke(session, jti, expires).await?,
        }
        Ok(())
    }

    /// True where the token or its session was taken back.
    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.is_revoked(session, jti)),
            Self::Embedded(file) => file.is_revoked(session, jti),
        }
    }

    /// True where the refresh token was used.
    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.is_used(session, jti)),
            Self::Embedded(file) => file.is_used(session, jti),
        }
    }

    /// How many refresh tokens of the session were used.
    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.used(session)),
            Self::Embedded(file) => file.used(session),
        }
    }

    /// Forgets what has expired. Returns how many entries are still remembered.
    pub(crate) async fn sweep(&self, now: f64) -> Result<usize, StoreError> {
        match self {
            Self::Memory(memory) => Ok(memory.sweep(now)),
            Self::Embedded(file) => file.sweep(now).await,
        }
    }

    /// Forgets everything.
    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(memory) => memory.clear(),
            Self::Embedded(file) => file.clear().await?,
        }
        Ok(())
    }
}

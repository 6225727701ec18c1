//! How are used and revoked tokens kept in this process? By session, in shards, each behind its own lock.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use super::{Presented, Rotation, RotationRules, StoreError, Successor};

const SHARDS: usize = 64;

#[derive(Debug)]
struct Used {
    at: f64,
    expires: u64,
    successor: Successor,
}

/// What is known of one session.
#[derive(Debug, Default)]
struct Session {
    /// Refresh tokens that were exchanged.
    used: HashMap<Box<str>, Used>,
    /// Single tokens that were taken back, with their end.
    revoked: HashMap<Box<str>, u64>,
    /// Set where the whole session was ended: the end of its last token.
    ended: Option<u64>,
}

type Shard = HashMap<Box<str>, Session>;

/// The store of one process.
#[derive(Debug)]
pub(crate) struct Memory {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    fn shard(&self, session: &str) -> MutexGuard<'_, Shard> {
        self.lock(self.hasher.hash_one(session) as usize % SHARDS)
    }

    fn lock(&self, place: usize) -> MutexGuard<'_, Shard> {
        // Each change below is whole before the next begins, so a panic elsewhere leaves nothing half done.
        self.shards[place].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) async fn rotate(
        &self,
        presented: Presented<'_>,
        next: Successor,
        rules: RotationRules,
        now: f64,
    ) -> Result<Rotation, StoreError> {
        let mut shard = self.shard(presented.session);
        let session = shard.entry(presented.session.into()).or_default();
        if session.ended.is_some() || session.revoked.contains_key(presented.jti) {
            return Ok(Rotation::Revoked);
        }
        if let Some(used) = session.used.get(presented.jti) {
            // The successor must not have moved on: a grace for a lost answer is no second lineage.
            if now - used.at <= rules.grace_s
                && rules.grace_s > 0.0
                && !session.used.contains_key(used.successor.jti.as_str())
            {
                return Ok(Rotation::Repeated(used.successor.clone()));
            }
            if rules.end_session {
                // The last successor outlives what it replaced, and must stay refused as long.
                session.ended = Some(
                    session
                        .used
                        .values()
                        .map(|used| used.successor.expires.max(used.expires))
                        .max()
                        .unwrap_or(presented.expires),
                );
            }
            return Ok(Rotation::Reused);
        }
        session.used.insert(presented.jti.into(), Used { at: now, expires: presented.expires, successor: next });
        Ok(Rotation::Rotated)
    }

    pub(crate) async fn end_session(&self, session: &str, expires: u64) -> Result<(), StoreError> {
        let mut shard = self.shard(session);
        let session = shard.entry(session.into()).or_default();
        session.ended = Some(session.ended.unwrap_or(0).max(expires));
        Ok(())
    }

    pub(crate) async fn revoke(&self, session: &str, jti: &str, expires: u64) -> Result<(), StoreError> {
        self.shard(session).entry(session.into()).or_default().revoked.insert(jti.into(), expires);
        Ok(())
    }

    pub(crate) async fn is_revoked(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        let shard = self.shard(session);
        Ok(shard.get(session).is_some_and(|session| session.ended.is_some() || session.revoked.contains_key(jti)))
    }

    pub(crate) async fn is_used(&self, session: &str, jti: &str) -> Result<bool, StoreError> {
        let shard = self.shard(session);
        Ok(shard.get(session).is_some_and(|session| session.used.contains_key(jti)))
    }

    pub(crate) async fn used(&self, session: &str) -> Result<usize, StoreError> {
        Ok(self.shard(session).get(session).map_or(0, |session| session.used.len()))
    }

    pub(crate) async fn sweep(&self, now: f64) -> Result<(), StoreError> {
        let now = now.max(0.0) as u64;
        for place in 0..SHARDS {
            self.lock(place).retain(|_, session| {
                session.used.retain(|_, used| used.expires > now);
                session.revoked.retain(|_, expires| *expires > now);
                session.ended = session.ended.filter(|expires| *expires > now);
                session.ended.is_some() || !session.used.is_empty() || !session.revoked.is_empty()
            });
            // A million entries take a fifth of a second: requests go first.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(crate) async fn remembered(&self) -> Result<usize, StoreError> {
        let entries =
            |session: &Session| session.used.len() + session.revoked.len() + usize::from(session.ended.is_some());
        Ok((0..SHARDS).map(|place| self.lock(place).values().map(entries).sum::<usize>()).sum())
    }

    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        (0..SHARDS).for_each(|place| self.lock(place).clear());
        Ok(())
    }
}

//! What do the deliberate mistakes remember? Nothing of this is touched by a server without them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::algorithm::Algorithm;
use crate::keys::Key;
use crate::users::User;
use crate::verify::Refusal;

/// Entries of each memory; a flawed server has no reason to grow without bound.
const MOST: usize = 100_000;

/// A remembered verdict: whose token it was, or why it was refused.
pub(crate) type Verdict = Result<Option<Arc<User>>, Refusal>;

#[derive(Debug, Default)]
pub(crate) struct Slips {
    shared_user: Mutex<Option<Arc<User>>>,
    denied: Mutex<HashSet<String>>,
    verdicts: Mutex<HashMap<String, (f64, Verdict)>>,
    turns: AtomicUsize,
    other_set: OnceLock<Bytes>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slips {
    /// Puts the user where everyone puts it, works a little, and takes what is there.
    pub(crate) async fn shared(&self, user: Arc<User>) -> Arc<User> {
        *lock(&self.shared_user) = Some(Arc::clone(&user));
        tokio::time::sleep(Duration::from_millis(2)).await;
        lock(&self.shared_user).clone().unwrap_or(user)
    }

    /// Denies this very text.
    pub(crate) fn deny(&self, text: &str) {
        let mut denied = lock(&self.denied);
        if denied.len() < MOST {
            denied.insert(text.to_owned());
        }
    }

    /// True where this very text was denied.
    pub(crate) fn is_denied(&self, text: &str) -> bool {
        lock(&self.denied).contains(text)
    }

    /// The verdict of the last minute on this text.
    pub(crate) fn verdict(&self, text: &str, now: f64) -> Option<Verdict> {
        lock(&self.verdicts).get(text).filter(|(at, _)| (now - at).abs() < 60.0).map(|(_, verdict)| verdict.clone())
    }

    /// Remembers a verdict; the first one stays for its minute.
    pub(crate) fn remember(&self, text: &str, now: f64, verdict: Verdict) {
        let mut verdicts = lock(&self.verdicts);
        if verdicts.len() < MOST {
            verdicts.insert(text.to_owned(), (now, verdict));
        }
    }

    /// The key set of the other instance, where it is that one's turn: as many keys, of the same kind.
    pub(crate) fn other_set(&self, algorithm: &'static Algorithm) -> Option<Bytes> {
        if self.turns.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return None;
        }
        let made = || {
            let keys: Vec<_> = Key::generate(algorithm).ok().and_then(|key| key.jwk).into_iter().collect();
            Bytes::from(serde_json::json!({"keys": keys}).to_string())
        };
        Some(self.other_set.get_or_init(made).clone())
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *lock(&self.shared_user) = None;
        lock(&self.denied).clear();
        lock(&self.verdicts).clear();
    }
}

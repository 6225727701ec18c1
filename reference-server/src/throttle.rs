//! May this account try another password? Failed logins per name and minute, where a limit is configured.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Names that are remembered; an attacker who invents more only makes the oldest forgotten.
const NAMES: usize = 10_000;
const WINDOW_S: f64 = 60.0;

/// Failed logins by name.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    failures: Mutex<HashMap<String, (f64, u32)>>,
}

impl Throttle {
    /// How many seconds the name must wait, where it failed `limit` times within the minute.
    pub(crate) fn wait(&self, name: &str, limit: u32, now: f64) -> Option<u64> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = failures.get(name)?;
        let left = since + WINDOW_S - now;
        (*count >= limit && left > 0.0).then(|| left.ceil() as u64)
    }

    /// One more failure.
    pub(crate) fn failed(&self, name: &str, now: f64) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= NAMES {
            failures.retain(|_, (since, _)| now - *since < WINDOW_S);
            if failures.len() >= NAMES {
                failures.clear();
            }
        }
        let entry = failures.entry(name.to_owned()).or_insert((now, 0));
        if now - entry.0 >= WINDOW_S {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }

    /// A good login wipes the slate.
    pub(crate) fn passed(&self, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

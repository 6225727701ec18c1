//! What does each user own? One short note, which nobody else may read or write: something for rights to be about.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// The longest note, in bytes.
pub(crate) const NOTE_BYTES: usize = 4096;
/// The most notes that are kept.
const NOTES: usize = 10_000;

/// Notes by user name.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    notes: Mutex<HashMap<String, Bytes>>,
}

impl Notes {
    /// The user's note; empty at first.
    pub(crate) fn read(&self, user: &str) -> Bytes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).get(user).cloned().unwrap_or_default()
    }

    /// Replaces the user's note; an empty one is removed.
    pub(crate) fn write(&self, user: &str, note: Bytes) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if note.is_empty() {
            notes.remove(user);
        } else if notes.len() < NOTES || notes.contains_key(user) {
            notes.insert(user.to_owned(), note);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

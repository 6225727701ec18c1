//! Has this very text been given out before? Signed tokens without a `jti` name their second and no more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::target::Issued;
use crate::units::Nanos;

use super::forger::decode;
use super::session::lock;

/// At most this many texts are told apart from those that come later: more than any budget asks for.
const LIMIT: usize = 200_000;

/// The texts of all tokens that were given out, and which answer was the first to bring each.
#[derive(Default)]
pub struct Texts {
    first: Mutex<HashMap<u64, Nanos>>,
    repeat: AtomicBool,
    lasting: AtomicBool,
}

impl Texts {
    /// Remembers what an answer brought that was there at this time.
    pub(super) fn note(&self, issued: &Issued, at: Nanos) {
        let mut first = lock(&self.first);
        for token in [&issued.access, &issued.refresh].into_iter().flatten() {
            if first.len() < LIMIT {
                first.entry(key(token)).or_insert(at);
            }
        }
    }

    /// Whether another answer than the one of this time was the first to bring one of these tokens, and a later second
    /// may bring another. Signed ones without a `jti` only: that others repeat is a finding, which logging in again
    /// would hide.
    pub(super) fn given_before(&self, issued: &Issued, at: Nanos) -> bool {
        let first = lock(&self.first);
        let tokens = [&issued.access, &issued.refresh];
        !self.lasting.load(Ordering::Relaxed)
            && tokens
                .into_iter()
                .flatten()
                .any(|token| first.get(&key(token)).is_some_and(|first| *first != at) && nameless(token))
    }

    /// Two logins have brought one text: from here on one check runs at a time, since what one revokes or uses up may be
    /// what a refresh has just brought to another.
    pub(super) fn note_repeat(&self) {
        self.repeat.store(true, Ordering::Relaxed);
    }

    /// Other seconds bring the same text (a cache in between?): nobody waits for them any more.
    pub(super) fn note_lasting(&self) {
        self.lasting.store(true, Ordering::Relaxed);
    }

    /// Whether two logins of one user within a second bring the same text.
    pub(super) fn repeat(&self) -> bool {
        self.repeat.load(Ordering::Relaxed)
    }
}

/// Whether it is a signed token that nothing but its times tells from the next.
pub(super) fn nameless(token: &str) -> bool {
    decode(token).is_some_and(|(_, claims)| !claims.contains_key("jti"))
}

/// What is kept of a token's text: crowds are given too many to keep them whole.
fn key(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_text_is_known_again_and_by_whom_it_was_brought() {
        let texts = Texts::default();
        let issued = |access: &str| Issued { access: Some(access.to_owned()), ..Issued::default() };
        let signed = issued("eyJhbGciOiJIUzI1NiJ9.eyJpYXQiOjF9.c2ln");
        texts.note(&signed, Nanos(1));
        texts.note(&signed, Nanos(2));
        assert!(!texts.given_before(&signed, Nanos(1)) && texts.given_before(&signed, Nanos(2)));
        let opaque = issued("an-opaque-token");
        texts.note(&opaque, Nanos(1));
        assert!(!texts.given_before(&opaque, Nanos(2)));
        let named = issued("eyJhbGciOiJIUzI1NiJ9.eyJqdGkiOiJhIn0.c2ln");
        texts.note(&named, Nanos(1));
        assert!(!texts.given_before(&named, Nanos(2)), "no second makes another `jti`");
        texts.note_lasting();
        assert!(!texts.given_before(&signed, Nanos(3)));
    }
}

//! Which keys sign and verify at a moment, and how are they rotated and retired while the server runs?

use std::sync::{Arc, RwLock};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::keys::Key;

/// Keys that a ring holds at most.
const MOST_KEYS: usize = 16;

/// The keys at one moment; replaced whole when they change.
#[derive(Debug)]
pub(crate) struct Ring {
    /// Signs what is issued now, unless a successor's time has come.
    pub(crate) current: Arc<Key>,
    /// A key that is published already, and signs from this moment on (seconds since 1970).
    next: Option<(f64, Arc<Key>)>,
    /// All that verify, the newest first.
    pub(crate) keys: Vec<Arc<Key>>,
    /// The RFC 7517 document of the public ones.
    pub(crate) jwks: Bytes,
}

impl Ring {
    fn of(current: Arc<Key>, keys: Vec<Arc<Key>>, others: &[Value]) -> Self {
        let published: Vec<&Value> = keys.iter().filter_map(|key| key.jwk.as_ref()).chain(others).collect();
        Self { current, next: None, jwks: Bytes::from(json!({"keys": published}).to_string()), keys }
    }

    /// The key that signs at this moment.
    pub(crate) fn signer(&self, now: f64) -> &Arc<Key> {
        match &self.next {
            Some((from, next)) if now >= *from => next,
            _ => &self.current,
        }
    }

    /// The key that a header's `kid` names; without `kid` the current one.
    pub(crate) fn named(&self, kid: Option<&str>) -> Option<&Arc<Key>> {
        match kid {
            None => Some(&self.current),
            Some(kid) => self.keys.iter().find(|key| key.kid == kid),
        }
    }
}

/// The keys of a running server.
#[derive(Debug)]
pub(crate) struct KeyRing {
    ring: RwLock<Arc<Ring>>,
    first: Vec<Arc<Key>>,
    /// What is published beside the signing keys: the key to encrypt to.
    others: Vec<Value>,
}

impl KeyRing {
    /// A ring of these keys, of which the first signs. `others` are published beside them.
    pub(crate) fn new(first: Key, more: Vec<Key>, others: Vec<Value>) -> Self {
        let first: Vec<Arc<Key>> = std::iter::once(first).chain(more).map(Arc::new).collect();
        let ring = Ring::of(Arc::clone(&first[0]), first.clone(), &others);
        Self { ring: RwLock::new(Arc::new(ring)), first, others }
    }

    /// The keys as they are now.
    pub(crate) fn now(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn replace(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(ring);
    }

    /// Publishes `key`, and signs with it from `from` on where that is given, else at once; the others go on verifying, unless a
    /// mistake drops them.
    pub(crate) fn rotate(&self, key: Key, from: Option<f64>, now: f64, drop_others: bool) {
        let key = Arc::new(key);
        let before = self.now();
        let mut keys = vec![Arc::clone(&key)];
        if !drop_others {
            keys.extend(before.keys.iter().cloned());
        }
        // The newest rotation decides which key comes next; the one that signs until then stays among those that verify.
        let signer = Arc::clone(before.signer(now));
        // Sixteen keys are more overlap than anyone needs, and a bound for those who call this in a loop.
        if keys.len() > MOST_KEYS {
            keys.truncate(MOST_KEYS);
            if !drop_others && !keys.iter().any(|kept| kept.kid == signer.kid) {
                keys[MOST_KEYS - 1] = Arc::clone(&signer);
            }
        }
        let ring = match from {
            Some(from) => {
                let current = signer;
                Ring { next: Some((from, key)), ..Ring::of(current, keys, &self.others) }
            }
            None => Ring::of(key, keys, &self.others),
        };
        self.replace(ring);
    }

    /// Takes the key called `kid`, or all that neither sign nor soon will, out of use. Returns how many went.
    /// With `only_unpublish`, a mistake, it goes on verifying.
    pub(crate) fn retire(&self, kid: Option<&str>, now: f64, only_unpublish: bool) -> usize {
        let before = self.now();
        let signer = Arc::clone(before.signer(now));
        let waits = before.next.as_ref().filter(|(from, _)| now < *from).cloned();
        let keep = |key: &&Arc<Key>| {
            key.kid == signer.kid
                || waits.as_ref().is_some_and(|(_, next)| next.kid == key.kid)
                || kid.is_some_and(|kid| key.kid != kid)
        };
        let keys: Vec<_> = before.keys.iter().filter(keep).cloned().collect();
        let gone = before.keys.len() - keys.len();
        let mut ring = Ring { next: waits.clone(), ..Ring::of(signer, keys, &self.others) };
        if only_unpublish {
            ring.keys.clone_from(&before.keys);
        }
        self.replace(ring);
        gone
    }

    /// Back to the first keys alone.
    pub(crate) fn reset(&self) {
        self.replace(Ring::of(Arc::clone(&self.first[0]), self.first.clone(), &self.others));
    }
}

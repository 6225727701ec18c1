//! Are the tokens right that a server gives out under load? A bounded sample leaves the loops and is verified apart.
//!
//! The loops only copy what was received, a few times a second, into a bounded channel; a full channel loses the
//! sample and never holds a loop up. A thread of its own verifies: while the load runs where there are cores to
//! spare, and after it where there are not.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::mpsc::Receiver;

use super::flight::Flight;
use super::script::{Outcome, Role, Script, Spoil};
use super::session::Session;
use crate::clock;
use crate::jose::{self, KeyEntry, KeySet, Policy};
use crate::scenario::Protocol;
use crate::target::{Answer, Target, TokenFormat};
use crate::units::Nanos;

/// Samples that wait to be verified, at most; about 2 KiB each.
pub(crate) const WAITING: usize = 4096;
/// Tokens that are remembered to find one that was given out twice.
const REMEMBERED: usize = 1 << 20;
/// How far the clocks of server and harness may stand apart before `iat` is called wrong, in seconds.
const CLOCKS_S: f64 = 2.0;
/// Whole seconds are rounded: a lifetime may differ by this much, in seconds.
const ROUNDING_S: f64 = 1.0;

/// One exchange, as far as it is verified.
#[derive(Debug)]
pub(crate) struct Sample {
    operation: String,
    /// After recording began.
    at: Nanos,
    /// On the clock of [`clock::mono`], for claims that speak of time.
    received: Nanos,
    /// Tokens that the reply brought.
    access: Option<String>,
    refresh: Option<String>,
    /// A token was accepted that had ended by its own word.
    accepted_late: bool,
}

impl Sample {
    /// Copies what is needed of an exchange. Allocates, which is why it is done seldom.
    pub fn of(
        flight: &Flight,
        script: &Script,
        at: Nanos,
        outcome: Outcome,
        reply: &impl Answer,
        session: Option<&Session>,
    ) -> Sample {
        let completed = outcome == Outcome::Completed;
        let brought = completed && matches!(script.role, Role::Issue | Role::Refresh) && script.returns_tokens();
        // The session has just stored what the reply brought; a login's session is not known here.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stored = session.filter(|_| brought && script.role == Role::Refresh);
        let (access, refresh) = match stored {
            Some(session) => (Some(text(&session.access)), Some(text(&session.refresh)).filter(|t| !t.is_empty())),
            None if brought => script.tokens_as_sent(reply),
            None => (None, None),
        };
        Sample {
            operation: script.name.clone(),
            at,
            received: clock::mono(),
            access,
            refresh,
            accepted_late: completed && flight.expired && flight.spoil == Spoil::None && script.role == Role::Present,
        }
    }
}

/// When a loop may take its next sample.
#[derive(Debug)]
pub(crate) struct Taps {
    /// Between two samples of this loop; zero takes none.
    every: Nanos,
    next: Nanos,
}

impl Taps {
    /// `per_s` of all `loops` together.
    pub fn new(per_s: u32, loops: u64) -> Taps {
        let every = if per_s == 0 { 0 } else { 1_000_000_000 * loops.max(1) / u64::from(per_s) };
        Taps { every: Nanos(every), next: Nanos(0) }
    }

    /// Whether a sample is due.
    pub fn open(&mut self, now: Nanos) -> bool {
        if self.every.0 == 0 || now < self.next {
            return false;
        }
        self.next = now + self.every;
        true
    }
}

/// What came of the samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Samples that were looked at.
    pub samples: u64,
    /// What was wrong, by kind, with its first moment.
    pub findings: Vec<String>,
}

/// Looks at samples until the last loop has gone. `after`: only then, to leave the cores to the load.
pub(crate) fn verify(target: &Target, keys: Option<&KeySet>, samples: &Receiver<Sample>, after: bool) -> Verified {
    let mut verifier = Verifier::new(target, keys);
    if after {
        let kept: Vec<Sample> = samples.iter().collect();
        kept.iter().for_each(|sample| verifier.look(sample));
    } else {
        samples.iter().for_each(|sample| verifier.look(&sample));
    }
    verifier.close()
}

/// The keys that a genuine token of this target is signed with, where they can be known.
pub(crate) fn keys_of(target: &Target) -> Option<KeySet> {
    if let Ok(Some(file)) = target.verify_key() {
        let text = String::from_utf8_lossy(&file.bytes);
        if let Ok(set) = KeySet::parse(&text) {
            return Some(set);
        }
        let key = jose::VerifyingKey::parse(&file.bytes).ok()?;
        return Some(KeySet { keys: vec![KeyEntry::plain(key)], ..KeySet::default() });
    }
    if target.jwks_path().is_some() {
        return KeySet::parse(&target.key_set()?).ok();
    }
    let key = signing_key(target)?;
    Some(KeySet { keys: vec![KeyEntry::plain(key.verifying_key())], ..KeySet::default() })
}

/// The signing key of the profile, where it has one that can be read.
pub(crate) fn signing_key(target: &Target) -> Option<jose::SigningKey> {
    let material = target.signing_key().ok()??;
    if material.secret {
        Some(jose::SigningKey::secret(material.bytes))
    } else {
        jose::SigningKey::parse(&material.bytes).ok()
    }
}

/// One kind of finding.
#[derive(Debug)]
struct Finding {
    first: Nanos,
    times: u64,
}

struct Verifier<'a> {
    target: &'a Target,
    keys: Option<&'a KeySet>,
    policy: Policy,
    lifetime_s: Option<f64>,
    seen: HashSet<u64>,
    hasher: RandomState,
    samples: u64,
    findings: BTreeMap<String, Finding>,
}

impl<'a> Verifier<'a> {
    fn new(target: &'a Target, keys: Option<&'a KeySet>) -> Verifier<'a> {
        let kind = &target.profile.tokens.access;
        let policy = Policy { algorithms: kind.alg.iter().cloned().collect(), ..Policy::default() };
        Verifier {
            target,
            keys,
            policy,
            lifetime_s: kind.lifetime_s,
            seen: HashSet::new(),
            hasher: RandomState::new(),
            samples: 0,
            findings: BTreeMap::new(),
        }
    }

    fn look(&mut self, sample: &Sample) {
        self.samples += 1;
        let say = |this: &mut Self, what: String| {
            let text = format!("{}: {what}", sample.operation);
            this.findings.entry(text).or_insert(Finding { first: sample.at, times: 0 }).times += 1;
        };
        if sample.accepted_late {
            say(self, "a token was accepted that had ended by its own `exp`".to_owned());
        }
        if let Some(refresh) = &sample.refresh
            && self.target.operation("refresh").is_ok_and(|o| o.rotates == Some(true))
            && !self.is_new("refresh", refresh)
        {
            say(self, "the same refresh token was given out twice".to_owned());
        }
        let Some(access) = &sample.access else { return };
        if self.target.access_format() == Some(TokenFormat::Opaque) {
            return;
        }
        let now = clock::unix_at(sample.received);
        let claims = match self.keys {
            Some(keys) => {
                let policy = Policy { now: Some(now), leeway_s: CLOCKS_S, ..self.policy.clone() };
                match jose::verify(access, keys, &policy) {
                    Ok(verified) => verified.claims,
                    Err(refusal) => return say(self, format!("an access token is not genuine: {refusal}")),
                }
            }
            None => match jose::parse(access).ok().and_then(|c| serde_json::from_slice(&c.payload).ok()) {
                Some(claims) => claims,
                None => return,
            },
        };
        let number = |name: &str| claims.get(name).and_then(serde_json::Value::as_f64);
        if let (Some(iat), Some(exp), Some(wanted)) = (number("iat"), number("exp"), self.lifetime_s)
            && (exp - iat - wanted).abs() > ROUNDING_S
        {
            say(self, format!("an access token lives {} s, configured are {wanted} s", exp - iat));
        }
        if let Some(iat) = number("iat")
            && iat > now + CLOCKS_S
        {
            say(self, "an access token was issued in the future".to_owned());
        }
        if let Some(jti) = claims.get("jti").and_then(serde_json::Value::as_str)
            && !self.is_new("jti", jti)
        {
            say(self, "two access tokens have the same `jti`".to_owned());
        }
    }

    /// Whether a value is seen for the first time, as far as is remembered.
    fn is_new(&mut self, kind: &str, value: &str) -> bool {
        if self.seen.len() >= REMEMBERED {
            return true;
        }
        self.seen.insert(self.hasher.hash_one((kind, value)))
    }

    fn close(self) -> Verified {
        let word = |(what, finding): (String, Finding)| {
            format!("at {:.1} s, {what} ({} of {} samples)", finding.first.as_secs_f64(), finding.times, self.samples)
        };
        let samples = self.samples;
        Verified { samples, findings: self.findings.into_iter().map(word).collect() }
    }
}

/// Whether the verifier has to wait until the load is over: the server needs the cores as much as the loops.
pub(crate) fn cores_are_few(loops: usize, protocol: Protocol) -> bool {
    let runtimes = usize::from(protocol == Protocol::Http2);
    std::thread::available_parallelism().map_or(1, usize::from) < loops + runtimes + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{Forge, algorithm};

    fn target() -> Target {
        let profile = crate::target::load("reference", None, std::path::Path::new(".")).unwrap();
        Target::new(profile, "http://127.0.0.1:8000", None, &[]).unwrap()
    }

    fn token(jti: &str, lifetime: i64, key: &jose::SigningKey) -> String {
        let now = clock::unix() as i64;
        let claims = serde_json::json!({"jti": jti, "iat": now, "exp": now + lifetime, "token_type": "access"});
        let forge = Forge::new(&serde_json::json!({"alg": "HS256", "typ": "JWT"}), &claims);
        forge.sign(key, algorithm("HS256").unwrap(), &mut rand::rng()).unwrap().token()
    }

    fn sample(access: String, refresh: &str) -> Sample {
        Sample {
            operation: "refresh".into(),
            at: Nanos(1_500_000_000),
            received: clock::mono(),
            access: Some(access),
            refresh: Some(refresh.into()),
            accepted_late: false,
        }
    }

    #[test]
    fn good_tokens_say_nothing_and_each_fault_is_named_with_its_moment() {
        let target = target();
        let key = signing_key(&target).unwrap();
        let keys = keys_of(&target).unwrap();
        let check = |samples: Vec<Sample>| {
            let (line, look) = std::sync::mpsc::channel();
            samples.into_iter().for_each(|s| line.send(s).unwrap());
            drop(line);
            verify(&target, Some(&keys), &look, true)
        };
        let good = check(vec![sample(token("a", 300, &key), "r1"), sample(token("b", 300, &key), "r2")]);
        assert_eq!(good, Verified { samples: 2, findings: Vec::new() });
        let wrong = jose::SigningKey::secret(*b"another secret of thirty-two by.");
        let cases = [
            (vec![sample(token("a", 300, &wrong), "r1")], "not genuine"),
            (vec![sample(token("a", 900, &key), "r1")], "lives 900 s, configured are 300 s"),
            (vec![sample(token("a", 300, &key), "r1"), sample(token("a", 300, &key), "r2")], "the same `jti`"),
            (vec![sample(token("a", 300, &key), "r1"), sample(token("b", 300, &key), "r1")], "given out twice"),
            (vec![Sample { accepted_late: true, ..sample(token("a", 300, &key), "r1") }], "had ended"),
        ];
        for (samples, says) in cases {
            let seen = check(samples);
            assert_eq!(seen.findings.len(), 1, "{seen:?}");
            assert!(seen.findings[0].starts_with("at 1.5 s, refresh: ") && seen.findings[0].contains(says), "{seen:?}");
        }
    }

    #[test]
    fn samples_are_taken_at_their_rate() {
        let mut taps = Taps::new(10, 2);
        let taken = (0..10_000).filter(|ms| taps.open(Nanos(1 + ms * 1_000_000))).count();
        assert_eq!(taken, 50);
        let mut none = Taps::new(0, 1);
        assert!((0..100).all(|ms| !none.open(Nanos(ms * 1_000_000))));
    }
}

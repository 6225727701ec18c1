//! Are the tokens right that a server gives out under load? What they say is looked at for all, signatures for a sample.
//!
//! The loops take the marks of every token that they receive ([`claims`](super::claims)) and hand them over in batches; a
//! few times a second they copy an exchange whole. A full channel loses both and never holds a loop up. A thread of its
//! own looks at them: marks at once, signatures within a share of one core, while the load runs where there are cores to
//! spare and after it where there are not.

use std::collections::HashSet;
use std::sync::mpsc::Receiver;

use super::claims::Claims;
use super::flight::Flight;
use super::found::Found;
use super::script::{Outcome, Role, Script, Spoil};
use super::session::Session;
use super::shared::thread_cpu;
use crate::clock;
use crate::jose::{self, KeyEntry, KeySet, Policy, Refusal};
use crate::scenario::Protocol;
use crate::target::{Answer, Target, TokenFormat};
use crate::units::Nanos;

/// Samples and batches of marks that wait, at most; about 2 KiB and 100 KiB each.
pub(crate) const WAITING: usize = 4096;
/// Marks that a loop keeps before it hands them over.
pub(crate) const BATCH: usize = 1024;
/// Marks that are remembered to find one that comes twice.
const REMEMBERED: usize = 1 << 21;
/// How far the clocks of server and harness may stand apart before `iat` is called wrong, in seconds.
const CLOCKS_S: f64 = 2.0;
/// Whole seconds are rounded: a lifetime may differ by this much, in seconds.
const ROUNDING_S: f64 = 1.0;
/// Share of one core that verifying signatures may take.
pub(crate) const CPU_SHARE: f64 = 0.02;
/// CPU that it may take in any case: short loads have some signatures verified too.
const CPU_AT_LEAST: Nanos = Nanos(20_000_000);

/// What a loop hands over.
#[derive(Debug)]
pub(crate) enum Look {
    /// An exchange, whole.
    Sample(Box<Sample>),
    /// What tokens said.
    Marks(Vec<Mark>),
}

/// What one token said that was just received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// Index of the script, or [`CONTROL`].
    pub operation: u16,
    pub role: Role,
    /// After recording began; zero before.
    pub at: Nanos,
    /// When it was asked for, on the clock of [`clock::mono`].
    pub asked: Nanos,
    /// The subject that it must carry, where that is known.
    pub subject: Option<u64>,
    pub claims: Claims,
}

/// Stands for the control operations in [`Mark::operation`].
pub(crate) const CONTROL: u16 = u16::MAX;

/// One exchange, as far as it is verified.
#[derive(Debug)]
pub(crate) struct Sample {
    pub operation: String,
    /// After recording began.
    pub at: Nanos,
    /// On the clock of [`clock::mono`], for claims that speak of time.
    pub received: Nanos,
    /// Tokens that the reply brought.
    pub access: Option<String>,
    pub refresh: Option<String>,
    /// A token was accepted that had ended by its own word, so many seconds ago.
    pub late_s: Option<f64>,
    /// Whom the resource named.
    pub identity: Option<String>,
}

impl Sample {
    /// Copies what is needed of an exchange. Allocates, which is why it is done seldom.
    pub fn of(
        flight: &Flight,
        script: &Script,
        at: Nanos,
        outcome: Outcome,
        (target, reply): (Option<&Target>, &impl Answer),
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
        let presented = completed && flight.spoil == Spoil::None && script.role == Role::Present;
        Sample {
            operation: script.name.clone(),
            at,
            received: clock::mono(),
            access,
            refresh,
            late_s: (presented && flight.ended.0 > 0 && flight.wire > flight.ended)
                .then(|| flight.wire.since(flight.ended).as_secs_f64()),
            identity: target
                .filter(|_| presented && script.operation == "verify.resource")
                .and_then(|target| target.identity(reply)),
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

/// What is known of tokens before anything is driven.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// Names of the scripts, by index.
    pub operations: Vec<String>,
    /// Whom the resource names for the load's own user.
    pub identity: Option<String>,
    /// Seconds by which `iat` of a new token lies before our clock.
    pub behind_s: f64,
}

/// What came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Tokens whose claims were looked at.
    pub looked_at: u64,
    /// Exchanges that were taken whole.
    pub sampled: u64,
    /// Tokens of them whose signature was verified, and right or wrong.
    pub verified: u64,
    /// What was wrong.
    pub found: Found,
}

/// Looks at what comes until the last loop has gone. `after`: signatures only then, to leave the cores to the load.
pub(crate) fn verify(
    target: &Target,
    keys: Option<&KeySet>,
    expected: &Expected,
    looks: &Receiver<Look>,
    after: bool,
) -> Verified {
    let mut verifier = Verifier::new(target, keys, expected);
    let mut kept: Vec<Box<Sample>> = Vec::new();
    for look in looks {
        match look {
            Look::Marks(marks) => marks.iter().for_each(|mark| verifier.mark(mark)),
            Look::Sample(sample) if after => kept.push(sample),
            Look::Sample(sample) => verifier.look(&sample),
        }
    }
    kept.iter().for_each(|sample| verifier.look(sample));
    verifier.verified
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

struct Verifier<'a> {
    target: &'a Target,
    keys: Option<&'a KeySet>,
    expected: &'a Expected,
    policy: Policy,
    lifetime_s: Option<f64>,
    seen: HashSet<(u8, u64)>,
    from: Nanos,
    cpu: Nanos,
    verified: Verified,
}

impl<'a> Verifier<'a> {
    fn new(target: &'a Target, keys: Option<&'a KeySet>, expected: &'a Expected) -> Verifier<'a> {
        let kind = &target.profile.tokens.access;
        let policy = Policy { algorithms: kind.alg.iter().cloned().collect(), ..Policy::default() };
        Verifier {
            target,
            keys,
            expected,
            policy,
            lifetime_s: kind.lifetime_s,
            seen: HashSet::new(),
            from: clock::mono(),
            cpu: Nanos(0),
            verified: Verified::default(),
        }
    }

    /// What a token said of itself.
    fn mark(&mut self, mark: &Mark) {
        self.verified.looked_at += 1;
        let operation = self.expected.operations.get(usize::from(mark.operation)).map_or("control", String::as_str);
        let (claims, role) = (mark.claims, mark.role);
        let jti_again = claims.jti.is_some_and(|jti| !self.is_new(0, jti));
        let nonce_again = claims.nonce.is_some_and(|nonce| !self.is_new(1, nonce));
        let found = &mut self.verified.found;
        let mut say = |check, expected, seen: String| found.say(check, operation, mark.at, expected, seen);
        if jti_again {
            say(
                "issue-unique-load",
                "a `jti` of its own for every token",
                "two access tokens with the same `jti`".into(),
            );
        }
        if nonce_again {
            say(
                "issue-unique-load",
                "a nonce of its own for every ECDSA signature",
                "two signatures with the same first half, from which the private key can be computed".into(),
            );
        }
        if let (Some(wanted), Some(subject)) = (mark.subject, claims.subject)
            && wanted != subject
        {
            let check = if role == Role::Refresh { "refresh-identity-load" } else { "issue-identity-load" };
            say(check, "a token of the user who asked", "an access token of another user".into());
        }
        let asked = clock::unix_at(mark.asked);
        let off = claims.iat.map(|iat| iat - asked + self.expected.behind_s);
        if let Some(off) = off.filter(|off| *off < -CLOCKS_S) {
            let check = if role == Role::Refresh { "refresh-basic" } else { "issue-clock-utc" };
            say(check, "`iat` of the moment of issuing", format!("an `iat` of {:.0} s before it was asked for", -off));
        }
        if let Some(iat) = claims.iat.filter(|iat| *iat > clock::unix() + CLOCKS_S) {
            let ahead = iat - asked;
            say("issue-clock-utc", "`iat` of the moment of issuing", format!("an `iat` of {ahead:.0} s in the future"));
        }
        if let (Some(iat), Some(exp), Some(wanted)) = (claims.iat, claims.exp, self.lifetime_s)
            && (exp - iat - wanted).abs() > ROUNDING_S
        {
            let seen = format!("an access token that lives {} s, configured are {wanted} s", exp - iat);
            say("issue-lifetime", "the configured lifetime", seen);
        }
    }

    /// An exchange, whole.
    fn look(&mut self, sample: &Sample) {
        self.verified.sampled += 1;
        let leeway = self.target.profile.declares.leeway_s.unwrap_or(0.0);
        let late = sample.late_s.filter(|late| *late > CLOCKS_S + leeway);
        let rotates = self.target.operation("refresh").is_ok_and(|o| o.rotates == Some(true));
        let refresh = sample.refresh.as_ref().filter(|_| rotates).map(|token| super::claims::hash(token.as_bytes()));
        let twice = refresh.is_some_and(|refresh| !self.is_new(2, refresh));
        let found = &mut self.verified.found;
        let mut say = |check, expected, seen: String| found.say(check, &sample.operation, sample.at, expected, seen);
        if let Some(late) = late {
            let seen = format!("a token accepted {late:.1} s after its own `exp`");
            say("time-exp-rejected", "a token refused from its `exp` on", seen);
        }
        if twice {
            say("refresh-rotates", "a new refresh token", "the same refresh token given out twice".into());
        }
        if let (Some(named), Some(own)) = (&sample.identity, &self.expected.identity)
            && named != own
        {
            say("bearer-conn-bleed", "a reply for the user of the token", "a reply for another user".into());
        }
        let (Some(access), Some(keys)) = (&sample.access, self.keys) else { return };
        if self.target.access_format() == Some(TokenFormat::Opaque) || !self.affords() {
            return;
        }
        let before = thread_cpu();
        let policy = Policy { now: Some(clock::unix_at(sample.received)), leeway_s: CLOCKS_S, ..self.policy.clone() };
        let refused = jose::verify(access, keys, &policy).err();
        self.cpu = self.cpu + thread_cpu().since(before);
        self.verified.verified += 1;
        if let Some(why) = refused {
            let check = match why {
                Refusal::Expired(_) => "issue-lifetime",
                Refusal::NotYet(_) => "issue-clock-utc",
                Refusal::Payload(_) | Refusal::Claim { .. } => "issue-claims-shape",
                _ => "keys-token-resolves",
            };
            let seen = format!("an access token that is not: {why}");
            self.verified.found.say(check, &sample.operation, sample.at, "genuine access tokens", seen);
        }
    }

    /// Whether one more signature fits into the share of a core.
    fn affords(&self) -> bool {
        let share = Nanos::from_secs_f64(clock::mono().since(self.from).as_secs_f64() * CPU_SHARE);
        self.cpu <= share.max(CPU_AT_LEAST)
    }

    /// Whether a value of a kind is seen for the first time, as far as is remembered.
    fn is_new(&mut self, kind: u8, value: u64) -> bool {
        self.seen.len() >= REMEMBERED || self.seen.insert((kind, value))
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
            late_s: None,
            identity: None,
        }
    }

    fn mark(token: &str) -> Mark {
        Mark {
            operation: 0,
            role: Role::Refresh,
            at: Nanos(1_500_000_000),
            asked: clock::mono(),
            subject: None,
            claims: super::super::claims::read(token, "sub", &mut Vec::new()).unwrap(),
        }
    }

    /// Which checks find something, after so many looks.
    fn findings(looks: Vec<Look>) -> (Verified, Vec<String>) {
        let target = target();
        let keys = keys_of(&target).unwrap();
        let (line, look) = std::sync::mpsc::channel();
        looks.into_iter().for_each(|s| line.send(s).unwrap());
        drop(line);
        let expected =
            Expected { operations: vec!["refresh".into()], identity: Some("alice".into()), ..Expected::default() };
        let verified = verify(&target, Some(&keys), &expected, &look, true);
        let told = verified.found.clone().records();
        assert!(told.iter().all(|f| f.operation == "refresh" && f.first_s == 1.5), "{told:?}");
        (verified, told.into_iter().map(|f| f.check).collect())
    }

    #[test]
    fn good_tokens_say_nothing_and_each_fault_belongs_to_a_check() {
        let key = signing_key(&target()).unwrap();
        let wrong = jose::SigningKey::secret(*b"another secret of thirty-two by.");
        let whole = |sample: Sample| Look::Sample(Box::new(sample));
        let (one, two) = (token("a", 300, &key), token("b", 300, &key));
        let (good, none) = findings(vec![
            whole(sample(one.clone(), "r1")),
            whole(Sample { identity: Some("alice".into()), late_s: Some(0.5), ..sample(two.clone(), "r2") }),
            Look::Marks(vec![mark(&one), mark(&two)]),
        ]);
        assert_eq!((good.looked_at, good.sampled, good.verified, none.len()), (2, 2, 2, 0), "{none:?}");
        let old = Mark { claims: Claims { iat: Some(clock::unix() - 9.0), ..mark(&one).claims }, ..mark(&one) };
        let old = Mark { claims: Claims { exp: old.claims.iat.map(|iat| iat + 300.0), ..old.claims }, ..old };
        let theirs = Mark { subject: Some(1), claims: Claims { subject: Some(2), ..mark(&one).claims }, ..mark(&one) };
        let nonce = |jti| Mark { claims: Claims { nonce: Some(7), jti: Some(jti), ..mark(&one).claims }, ..mark(&one) };
        let cases = [
            (vec![whole(sample(token("a", 300, &wrong), "r1"))], "keys-token-resolves"),
            (vec![Look::Marks(vec![mark(&token("a", 900, &key))])], "issue-lifetime"),
            (vec![Look::Marks(vec![mark(&one), mark(&one)])], "issue-unique-load"),
            (vec![Look::Marks(vec![nonce(1), nonce(2)])], "issue-unique-load"),
            (vec![Look::Marks(vec![old])], "refresh-basic"),
            (vec![Look::Marks(vec![theirs])], "refresh-identity-load"),
            (vec![Look::Marks(vec![Mark { role: Role::Issue, ..theirs }])], "issue-identity-load"),
            (vec![whole(sample(one.clone(), "r1")), whole(sample(two.clone(), "r1"))], "refresh-rotates"),
            (vec![whole(Sample { late_s: Some(3.0), ..sample(one.clone(), "r1") })], "time-exp-rejected"),
            (vec![whole(Sample { identity: Some("bob".into()), ..sample(one.clone(), "r1") })], "bearer-conn-bleed"),
        ];
        for (looks, check) in cases {
            let (_, seen) = findings(looks);
            assert_eq!(seen, [check]);
        }
    }

    #[test]
    fn only_what_was_verified_counts_as_verified_and_no_more_than_a_share_of_a_core() {
        let key = signing_key(&target()).unwrap();
        let nothing = Sample { access: None, refresh: None, ..sample(String::new(), "") };
        let (seen, _) = findings(vec![Look::Sample(Box::new(nothing))]);
        assert_eq!((seen.sampled, seen.verified), (1, 0));
        let target = target();
        let keys = keys_of(&target).unwrap();
        let expected = Expected::default();
        let mut verifier = Verifier::new(&target, Some(&keys), &expected);
        verifier.cpu = Nanos(u64::MAX / 2);
        verifier.look(&sample(token("a", 300, &key), "r1"));
        assert_eq!((verifier.verified.sampled, verifier.verified.verified), (1, 0));
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

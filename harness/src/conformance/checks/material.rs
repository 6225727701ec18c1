//! With which tokens and keys do the checks forge?

use std::sync::OnceLock;

use bytes::Bytes;
use rand::CryptoRng;

use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::Need;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::{Algorithm, Family, Forge, KeySet, SigningKey, VerifyingKey, algorithm};
use crate::record::Level;
use crate::target::VerifyKey;

/// A genuine access token and what it is made of.
pub(super) struct Genuine {
    /// The token as it was issued.
    pub(super) token: String,
    /// Its parts, to be edited.
    pub(super) forge: Forge,
    /// Its algorithm, where the table has it.
    pub(super) algorithm: Option<&'static Algorithm>,
}

impl Genuine {
    /// Whether the target signs with a key whose public half may be known.
    pub(super) fn is_asymmetric(&self) -> bool {
        self.algorithm.is_some_and(Algorithm::is_asymmetric)
    }

    /// The `alg` of the genuine header, or nothing.
    pub(super) fn alg(&self) -> String {
        self.forge.header.get("alg").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// The algorithm that a token's header names, where the table has it.
pub(super) fn algorithm_of(forge: &Forge) -> Option<&'static Algorithm> {
    forge.header.get("alg").as_ref().and_then(|v| v.as_str()).and_then(algorithm)
}

/// A genuine access token in parts. Skipped where it is not a JWT.
pub(super) fn genuine(probe: &mut Probe<'_>) -> Result<Genuine, Stop> {
    let token = probe.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let forge = Forge::of(&token).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let algorithm = algorithm_of(&forge);
    Ok(Genuine { token, forge, algorithm })
}

/// A source of randomness for keys and signatures that nobody needs to see again.
pub(super) fn random() -> impl CryptoRng {
    rand::rng()
}

/// A key that the target does not know, for an algorithm. RSA keys are made once per process: a modulus of
/// 2,048 bits takes seconds to find.
pub(super) fn foreign(algorithm: &Algorithm) -> Result<SigningKey, Stop> {
    static RSA: OnceLock<Option<SigningKey>> = OnceLock::new();
    let broken = |why: String| Stop::Harness(format!("could not make a key: {why}"));
    if matches!(algorithm.family, Family::RsaPkcs1 | Family::RsaPss) {
        let key = RSA.get_or_init(|| SigningKey::generate(algorithm, &mut random()).ok());
        return key.clone().ok_or_else(|| broken("RSA".to_owned()));
    }
    SigningKey::generate(algorithm, &mut random()).map_err(|e| broken(e.to_string()))
}

/// The row of a name that the table has.
pub(super) fn row(name: &str) -> Result<&'static Algorithm, Stop> {
    algorithm(name).ok_or_else(|| Stop::Harness(format!("no algorithm {name}")))
}

/// Signs with any key by any algorithm.
pub(super) fn sign(forge: Forge, key: &SigningKey, algorithm: &Algorithm) -> Result<String, Stop> {
    forge
        .sign(key, algorithm, &mut random())
        .map(|f| f.token())
        .map_err(|e| Stop::Harness(format!("could not sign: {e}")))
}

/// What is known of the target's public keys.
#[derive(Default)]
pub(in crate::conformance) struct PublicKeys {
    /// The file that the profile names, as it is.
    pub(in crate::conformance) file: Option<Vec<u8>>,
    /// The published set, as it was received.
    pub(super) jwks_text: Option<String>,
    /// The published set, read.
    pub(in crate::conformance) set: KeySet,
}

impl PublicKeys {
    /// The key that verifies the genuine token, and the JWK that says it, where one does.
    pub(super) fn of(&self, genuine: &Genuine) -> Option<(VerifyingKey, Option<serde_json::Value>)> {
        let algorithm = genuine.algorithm?;
        let input = genuine.token.rsplit_once('.')?.0;
        let verifies = |key: &VerifyingKey| key.accepts(algorithm, input.as_bytes(), &genuine.forge.signature);
        let published = self.set.keys.iter().find(|entry| verifies(&entry.key));
        if let Some(entry) = published {
            return Some((entry.key.clone(), Some(entry.json.clone())));
        }
        let file = VerifyingKey::parse(self.file.as_deref()?).ok()?;
        verifies(&file).then_some((file, None))
    }
}

/// Reads the target's public keys: the profile's file and the published set, whichever there is.
pub(in crate::conformance) fn public_keys(probe: &mut Probe<'_>) -> Result<PublicKeys, Stop> {
    let file = probe.target().verify_key().map_err(|e| Stop::Harness(format!("keys.verify: {e}")))?;
    let mut keys = PublicKeys { file: file.map(|f| f.bytes), ..PublicKeys::default() };
    let answer = match &probe.profile().keys.verify {
        Some(VerifyKey::Jwks(_)) => {
            // The profile may leave the path to the discovery document.
            let path = probe.target().jwks_path().ok_or_else(|| {
                Stop::Harness(
                    "keys.verify.jwks: the discovery document does not name what the profile asks of it".to_owned(),
                )
            })?;
            let request = http::Request::get(path.as_str())
                .header("accept", "application/json")
                .body(Bytes::new())
                .map_err(|e| Stop::Harness(format!("keys.verify.jwks: {e}")))?;
            Some(probe.send("keys", request, None)?)
        }
        _ if probe.target().has("keys") => {
            let vars = probe.vars();
            Some(probe.call("keys", &vars)?)
        }
        _ => None,
    };
    if let Some(reply) = answer.as_ref().and_then(|a| a.reply.as_ref()).filter(|r| r.status == 200) {
        let text = reply.text();
        keys.set = KeySet::parse(&text).unwrap_or_default();
        keys.jwks_text = Some(text);
    }
    Ok(keys)
}

/// Whether the ways that take genuine tokens take one right now. Where one does not, what was refused beside it says
/// nothing, which is told as the finding of that part.
pub(super) fn still_good(probe: &mut Probe<'_>, variant: &str, ways: &[Way]) -> Result<bool, Stop> {
    for way in ways.iter().filter(|way| way.usable()) {
        if !probe.still_accepts(way)? {
            let text = format!("`{}` refuses a genuine token beside it, so nothing was learnt", way.name);
            probe.inconclusive(Some(variant), "controls-refused", text);
            return Ok(false);
        }
    }
    Ok(true)
}

/// What every operation made of it: `refused 401` where all agree, else each by its name.
pub(super) fn findings(answers: &[Answer]) -> String {
    match answers.split_first() {
        Some((first, rest)) if rest.iter().all(|a| a.finding() == first.finding()) => first.finding(),
        _ => answers.iter().map(|a| format!("{}: {}", a.operation, a.finding())).collect::<Vec<_>>().join(", "),
    }
}

/// One observation over the answers of several operations: the worst decides.
pub(super) fn all_refused(probe: &mut Probe<'_>, variant: &str, expected: &str, answers: &[Answer]) {
    let rank = |a: &Answer| match a.axis {
        Axis::Accepted => 4,
        Axis::Crashed(_) | Axis::Hung => 3,
        Axis::Dropped(_) => 2,
        Axis::Unclear(_) => 1,
        Axis::Refused => 0,
    };
    let Some(worst) = answers.iter().max_by_key(|a| rank(a)) else { return };
    let finding = findings(answers);
    if rank(worst) == 0 {
        probe.pass(Some(variant), &finding, format!("{expected}; {finding}"));
        return;
    }
    let summary = format!("`{}`: expected {expected}, saw {}", worst.operation, worst.describe());
    probe.fail_told(Some(variant), &finding, expected, summary, worst);
    if rank(worst) < 4 {
        probe.at_most(Level::Should);
    }
}

/// One observation where acceptance and clean refusal are both legitimate, and only a server error is not.
pub(super) fn either_way(probe: &mut Probe<'_>, variant: &str, answers: &[Answer]) {
    let finding = findings(answers);
    match answers.iter().find(|a| !a.accepted() && !a.refused()) {
        Some(odd) => {
            probe.fail_seen(Some(variant), &finding, "accepted or cleanly refused", odd);
            probe.at_most(Level::Should);
        }
        None => probe.pass(Some(variant), &finding, format!("reported only; {finding}")),
    }
}

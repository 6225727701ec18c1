//! Is this token genuine, and does it say what it must? The strictest reading there is.

use serde_json::{Map, Value};

use super::algorithms::{Algorithm, algorithm};
use super::jwk::{KeyEntry, KeySet};
use super::key::VerifyingKey;
use super::{base64url, json};

/// Longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 1 << 20;

/// A compact JWS taken apart: three segments, nothing verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Compact {
    /// The text that is signed: the first two segments with their dot.
    pub signing_input: String,
    /// The header's members.
    pub header: Map<String, Value>,
    /// The payload, whatever it is.
    pub payload: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// What a token must fulfil.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Allowed `alg` values; empty allows every row of the table.
    pub algorithms: Vec<String>,
    /// The time to judge by, in seconds since the epoch; none leaves `exp` and `nbf` alone.
    pub now: Option<f64>,
    /// Tolerance for `exp` and `nbf`, in seconds.
    pub leeway_s: f64,
    /// Required `iss`.
    pub issuer: Option<String>,
    /// Required member of `aud`.
    pub audience: Option<String>,
    /// Required `typ`, compared without case and without `application/`.
    pub typ: Option<String>,
    /// Whether the payload must be a claims object; a bare JWS may carry anything.
    pub claims: bool,
    /// Whether `exp` must be there.
    pub require_exp: bool,
    /// Smallest RSA modulus, in bits.
    pub smallest_rsa_bits: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            algorithms: Vec::new(),
            now: None,
            leeway_s: 0.0,
            issuer: None,
            audience: None,
            typ: None,
            claims: true,
            require_exp: true,
            smallest_rsa_bits: 2048,
        }
    }
}

/// What a genuine token says.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The algorithm that verified it.
    pub algorithm: &'static Algorithm,
    /// The header's members.
    pub header: Map<String, Value>,
    /// The claims; empty where the policy asks for none.
    pub claims: Map<String, Value>,
    /// The payload.
    pub payload: Vec<u8>,
    /// Position of the verifying key in the set.
    pub key: usize,
}

/// Why a token is not accepted. The order is the order of the tests: nothing is said about claims before
/// the signature is right (RFC 8725 section 3.3).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`LONGEST_TOKEN`].
    #[error("the token has {0} bytes, more than 1 MiB")]
    TooLong(usize),
    /// Not three segments (RFC 7515 section 7.1).
    #[error("expected three segments, found {0}")]
    Segments(usize),
    /// A segment is not base64url (RFC 7515 section 2).
    #[error("the {0} is not base64url without padding")]
    Encoding(&'static str),
    /// The header is not a JSON object with unique members.
    #[error("the header is not usable: {0}")]
    Header(String),
    /// `alg` is missing, no string, unknown or not allowed.
    #[error("alg {0} is not allowed")]
    Algorithm(String),
    /// `crit` or `b64` is present: no extension is understood (RFC 7515 section 4.1.11).
    #[error("the header asks for the extension {0}, which is not understood")]
    Critical(String),
    /// Secrets and public keys in one set.
    #[error("the key set mixes secrets with public keys")]
    MixedKeys,
    /// No key serves `alg` and `kid`.
    #[error("no key for alg {alg} and kid {kid}")]
    NoKey {
        /// The header's `alg`.
        alg: String,
        /// The header's `kid`, as JSON.
        kid: String,
    },
    /// Several keys answer to one `kid`.
    #[error("several keys have the kid {0}")]
    DuplicateKid(String),
    /// The key is too weak to prove anything.
    #[error("the key is too weak: {0}")]
    WeakKey(String),
    /// The signature is not right.
    #[error("the signature is not that of the key")]
    Signature,
    /// The payload is not a JSON object with unique members.
    #[error("the payload is no set of claims: {0}")]
    Payload(String),
    /// A claim has the wrong type or is missing.
    #[error("claim {name}: expected {expected}, found {found}")]
    Claim {
        /// The claim.
        name: &'static str,
        /// Its form.
        expected: String,
        /// What was there, as JSON.
        found: String,
    },
    /// `exp` has come (RFC 7519 section 4.1.4).
    #[error("expired {0} s ago")]
    Expired(f64),
    /// `nbf` has not come (RFC 7519 section 4.1.5).
    #[error("not valid for another {0} s")]
    NotYet(f64),
}

/// Takes a compact JWS apart, strictly; verifies nothing.
pub fn parse(token: &str) -> Result<Compact, Refusal> {
    if token.len() > LONGEST_TOKEN {
        return Err(Refusal::TooLong(token.len()));
    }
    let mut dots = token.match_indices('.').map(|(at, _)| at);
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
        return Err(Refusal::Segments(token.matches('.').count() + 1));
    };
    let decode = |text: &str, name: &'static str| base64url::decode(text).ok_or(Refusal::Encoding(name));
    let header = decode(&token[..first], "header")?;
    let payload = decode(&token[first + 1..second], "payload")?;
    let signature = decode(&token[second + 1..], "signature")?;
    let header = json::object(&header).map_err(Refusal::Header)?;
    Ok(Compact { signing_input: token[..second].to_owned(), header, payload, signature })
}

/// Verifies a compact JWS and, where the policy asks for it, its claims.
pub fn verify(token: &str, keys: &KeySet, policy: &Policy) -> Result<Verified, Refusal> {
    let compact = parse(token)?;
    let row = allowed(&compact.header, policy)?;
    for extension in ["crit", "b64"] {
        if let Some(value) = compact.header.get(extension) {
            return Err(Refusal::Critical(format!("{extension}: {value}")));
        }
    }
    let at = choose(&compact.header, row, keys)?;
    let entry = &keys.keys[at];
    strength(&entry.key, row, policy)?;
    if !entry.key.accepts(row, compact.signing_input.as_bytes(), &compact.signature) {
        return Err(Refusal::Signature);
    }
    let claims = if policy.claims {
        let claims = json::object(&compact.payload).map_err(Refusal::Payload)?;
        judge(&compact.header, &claims, policy)?;
        claims
    } else {
        Map::new()
    };
    Ok(Verified { algorithm: row, header: compact.header, claims, payload: compact.payload, key: at })
}

fn allowed(header: &Map<String, Value>, policy: &Policy) -> Result<&'static Algorithm, Refusal> {
    let alg = header.get("alg");
    let refuse = || Refusal::Algorithm(alg.map_or("(missing)".to_owned(), Value::to_string));
    let name = alg.and_then(Value::as_str).ok_or_else(refuse)?;
    let row = algorithm(name).ok_or_else(refuse)?;
    let listed = policy.algorithms.is_empty() || policy.algorithms.iter().any(|a| a == name);
    listed.then_some(row).ok_or_else(refuse)
}

/// The one key that the header, the algorithm and the key's own members allow.
fn choose(header: &Map<String, Value>, row: &Algorithm, set: &KeySet) -> Result<usize, Refusal> {
    let keys = &set.keys;
    let secrets = keys.iter().filter(|k| matches!(k.key, VerifyingKey::Secret(_))).count();
    if secrets != 0 && secrets != keys.len() {
        return Err(Refusal::MixedKeys);
    }
    let kid = header.get("kid");
    let none = || Refusal::NoKey { alg: row.name.to_owned(), kid: kid.map_or("(none)".to_owned(), Value::to_string) };
    let kid_text = match kid {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) => return Err(none()),
        None => None,
    };
    if let Some(kid) = kid_text
        && keys
            .iter()
            .map(|k| &k.kid)
            .chain(set.unreadable.iter().map(|k| &k.kid))
            .filter(|k| k.as_deref() == Some(kid))
            .count()
            > 1
    {
        return Err(Refusal::DuplicateKid(kid.to_owned()));
    }
    let fits = |entry: &KeyEntry| {
        // A key without a kid may answer to any; a key with one answers to its own or, alone, to none.
        (kid_text.is_none() || entry.kid.is_none() || entry.kid.as_deref() == kid_text)
            && entry.key.serves(row)
            && entry.alg.as_deref().is_none_or(|alg| alg == row.name)
            && entry.usage.as_deref().is_none_or(|usage| usage == "sig")
            && entry.operations.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify" || op == "sign"))
    };
    let mut fitting = keys.iter().enumerate().filter(|(_, entry)| fits(entry)).map(|(at, _)| at);
    match (fitting.next(), fitting.next()) {
        (Some(at), None) => Ok(at),
        (Some(_), Some(_)) => Err(Refusal::DuplicateKid(kid.map_or("(none)".to_owned(), Value::to_string))),
        (None, _) => Err(none()),
    }
}

fn strength(key: &VerifyingKey, row: &Algorithm, policy: &Policy) -> Result<(), Refusal> {
    match key {
        // RFC 7518 section 3.2: a key of at least the digest's size.
        VerifyingKey::Secret(secret) if secret.len() < row.hash.len() => {
            Err(Refusal::WeakKey(format!("a secret of {} bytes, {} needs {}", secret.len(), row.name, row.hash.len())))
        }
        VerifyingKey::Rsa(_) => {
            let modulus = key.rsa_modulus().unwrap_or_default();
            let bits = modulus.len() * 8 - modulus.first().map_or(0, |b| b.leading_zeros() as usize);
            if bits < policy.smallest_rsa_bits {
                return Err(Refusal::WeakKey(format!("{bits} bits of RSA, {} at least", policy.smallest_rsa_bits)));
            }
            if roca(&modulus) {
                return Err(Refusal::WeakKey("the modulus has the ROCA fingerprint (CVE-2017-15361)".to_owned()));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether a modulus is, modulo many small primes, always a power of 65537: keys from the RSALib of
/// Infineon are, others are with a chance below 2^-27 (Nemec et al., CCS 2017).
fn roca(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|p| {
        let rest = modulus.iter().fold(0u32, |r, byte| (r * 256 + u32::from(*byte)) % p);
        let mut power = 1;
        (0..*p).any(|_| {
            power = power * (65537 % p) % p;
            power == rest
        })
    })
}

fn judge(header: &Map<String, Value>, claims: &Map<String, Value>, policy: &Policy) -> Result<(), Refusal> {
    let wrong = |name: &'static str, expected: &str, found: Option<&Value>| Refusal::Claim {
        name,
        expected: expected.to_owned(),
        found: found.map_or("nothing".to_owned(), Value::to_string),
    };
    if let Some(typ) = &policy.typ {
        let bare = |text: &str| text.to_ascii_lowercase().trim_start_matches("application/").to_owned();
        let seen = header.get("typ");
        if seen.and_then(Value::as_str).map(bare) != Some(bare(typ)) {
            return Err(wrong("typ", typ, seen));
        }
    }
    let time = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(name, "a number", Some(value))),
    };
    let (exp, nbf, _) = (time("exp")?, time("nbf")?, time("iat")?);
    if exp.is_none() && policy.require_exp {
        return Err(wrong("exp", "a number", None));
    }
    if let Some(issuer) = &policy.issuer {
        let seen = claims.get("iss");
        if seen.and_then(Value::as_str) != Some(issuer) {
            return Err(wrong("iss", issuer, seen));
        }
    }
    if let Some(audience) = &policy.audience {
        let seen = claims.get("aud");
        let meant = match seen {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => many.iter().any(|a| a.as_str() == Some(audience)),
            _ => false,
        };
        if !meant {
            return Err(wrong("aud", audience, seen));
        }
    }
    if let Some(now) = policy.now {
        if let Some(exp) = exp
            && now >= exp + policy.leeway_s
        {
            return Err(Refusal::Expired(now - exp));
        }
        if let Some(nbf) = nbf
            && now < nbf - policy.leeway_s
        {
            return Err(Refusal::NotYet(nbf - now));
        }
    }
    Ok(())
}

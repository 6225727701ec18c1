//! How is a key written as JSON (RFC 7517, RFC 7518 section 6, RFC 8037 section 2)?

use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::algorithms::Curve;
use super::base64url;
use super::key::{KeyError, LARGEST_RSA_BITS, SigningKey, VerifyingKey};

/// Largest number of keys read from one set.
const MOST_KEYS: usize = 1000;

/// A key of a set with the members that restrict its use.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    /// `kid`, where it is a string.
    pub kid: Option<String>,
    /// `alg`, where it is a string.
    pub alg: Option<String>,
    /// `use`, where it is a string.
    pub usage: Option<String>,
    /// `key_ops`, where it is an array of strings.
    pub operations: Option<Vec<String>>,
    /// The key.
    pub key: VerifyingKey,
    /// The JWK as it was given; null where the key was not read from one.
    pub json: Value,
}

impl KeyEntry {
    /// A key without restrictions.
    pub fn plain(key: VerifyingKey) -> KeyEntry {
        KeyEntry { kid: None, alg: None, usage: None, operations: None, key, json: Value::Null }
    }

    /// One JWK.
    pub fn from_jwk(jwk: &Value) -> Result<KeyEntry, KeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(KeyEntry {
            kid: text("kid"),
            alg: text("alg"),
            usage: text("use"),
            operations: jwk
                .get("key_ops")
                .and_then(Value::as_array)
                .map(|ops| ops.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            key: verifying_key(jwk)?,
            json: jwk.clone(),
        })
    }
}

/// The keys of a JWK Set, and why the others could not be read.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// Keys that can be used.
    pub keys: Vec<KeyEntry>,
    /// Keys that cannot.
    pub unreadable: Vec<Unreadable>,
}

/// A member of a JWK Set that is no key to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Position in the set.
    pub at: usize,
    /// Its `kid`, where it is a string: it still takes part in the question whether a `kid` is unique.
    pub kid: Option<String>,
    /// Why it cannot be read.
    pub why: String,
}

impl KeySet {
    /// Reads a JWK Set, or a single JWK as a set of one. Unreadable keys are listed, not fatal
    /// (RFC 7517 section 5); at most 1,000 keys are read.
    pub fn parse(text: &str) -> Result<KeySet, KeyError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| KeyError::Jwk { expected: "JSON text".to_owned(), found: e.to_string() })?;
        KeySet::from_value(&value)
    }

    /// The same from a JSON value.
    pub fn from_value(value: &Value) -> Result<KeySet, KeyError> {
        if value.get("kty").is_some() {
            return Ok(KeySet { keys: vec![KeyEntry::from_jwk(value)?], unreadable: Vec::new() });
        }
        let keys = value.get("keys").and_then(Value::as_array).ok_or_else(|| wrong("`keys`, an array", value))?;
        let mut set = KeySet::default();
        for (at, jwk) in keys.iter().enumerate().take(MOST_KEYS) {
            match KeyEntry::from_jwk(jwk) {
                Ok(entry) => set.keys.push(entry),
                Err(e) => set.unreadable.push(Unreadable {
                    at,
                    kid: jwk.get("kid").and_then(Value::as_str).map(str::to_owned),
                    why: e.to_string(),
                }),
            }
        }
        Ok(set)
    }

    /// The key with this `kid`, or the only key of the set.
    pub fn find(&self, kid: Option<&str>) -> Option<&KeyEntry> {
        match kid {
            Some(kid) => self.keys.iter().find(|k| k.kid.as_deref() == Some(kid)),
            None if self.keys.len() == 1 => self.keys.first(),
            None => None,
        }
    }
}

/// The SHA-256 thumbprint of a public JWK in base64url (RFC 7638).
pub fn thumbprint(key: &VerifyingKey) -> String {
    base64url::encode(Sha256::digest(public(key).to_string().as_bytes()))
}

fn wrong(expected: &str, value: &Value) -> KeyError {
    let found: String = value.to_string().chars().take(60).collect();
    // Private members stay out of messages.
    let found =
        if value.get("d").is_some() || value.get("k").is_some() { "a key that is not shown".to_owned() } else { found };
    KeyError::Jwk { expected: expected.to_owned(), found }
}

fn text<'a>(jwk: &'a Value, name: &str) -> Result<&'a str, KeyError> {
    jwk.get(name).and_then(Value::as_str).ok_or_else(|| wrong(&format!("`{name}`, a string"), jwk))
}

fn bytes(jwk: &Value, name: &str) -> Result<Vec<u8>, KeyError> {
    base64url::decode(text(jwk, name)?).ok_or_else(|| wrong(&format!("`{name}` in base64url"), jwk))
}

fn curve(jwk: &Value) -> Result<Curve, KeyError> {
    let name = text(jwk, "crv")?;
    [Curve::P256, Curve::P384, Curve::P521, Curve::Ed25519]
        .into_iter()
        .find(|c| c.name() == name)
        .ok_or_else(|| wrong("`crv` P-256, P-384, P-521 or Ed25519", jwk))
}

/// `04 || x || y`; coordinates have the full length (RFC 7518 section 6.2.1.2).
fn point(jwk: &Value, curve: Curve) -> Result<Vec<u8>, KeyError> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != curve.coordinate_len() || y.len() != curve.coordinate_len() {
        return Err(wrong(&format!("`x` and `y` of {} bytes", curve.coordinate_len()), jwk));
    }
    Ok([&[4][..], &x, &y].concat())
}

pub(super) fn verifying_key(jwk: &Value) -> Result<VerifyingKey, KeyError> {
    match text(jwk, "kty")? {
        "oct" => Ok(VerifyingKey::Secret(bytes(jwk, "k")?)),
        "RSA" => {
            let n = bytes(jwk, "n")?;
            if n.len() * 8 > LARGEST_RSA_BITS {
                return Err(wrong("a modulus of at most 16,384 bits", jwk));
            }
            VerifyingKey::from_rsa_parts(&n, &bytes(jwk, "e")?)
        }
        "EC" => match curve(jwk)? {
            Curve::Ed25519 => Err(wrong("`kty` OKP for Ed25519", jwk)),
            curve => VerifyingKey::from_point(curve, &point(jwk, curve)?),
        },
        "OKP" => match curve(jwk)? {
            Curve::Ed25519 => VerifyingKey::from_point(Curve::Ed25519, &bytes(jwk, "x")?),
            _ => Err(wrong("`crv` Ed25519 for `kty` OKP", jwk)),
        },
        _ => Err(wrong("`kty` oct, RSA, EC or OKP", jwk)),
    }
}

pub(super) fn signing_key(jwk: &Value) -> Result<SigningKey, KeyError> {
    let library = |e: &dyn std::fmt::Display| KeyError::Library(e.to_string());
    match text(jwk, "kty")? {
        "oct" => Ok(SigningKey::Secret(bytes(jwk, "k")?)),
        "RSA" => {
            let number = |name: &str| bytes(jwk, name).map(|b| rsa::BoxedUint::from_be_slice_vartime(&b));
            let primes = match (number("p"), number("q")) {
                (Ok(p), Ok(q)) => vec![p, q],
                _ => Vec::new(),
            };
            let n = bytes(jwk, "n")?;
            if n.len() * 8 > LARGEST_RSA_BITS {
                return Err(wrong("a modulus of at most 16,384 bits", jwk));
            }
            let key = rsa::PrivateKey::from_components(number("n")?, number("e")?, number("d")?, primes)
                .map_err(|e| library(&e))?;
            Ok(SigningKey::Rsa(Box::new(key)))
        }
        "EC" => {
            let d = bytes(jwk, "d")?;
            Ok(match curve(jwk)? {
                Curve::P256 => {
                    SigningKey::P256(Box::new(p256::ecdsa::SigningKey::from_slice(&d).map_err(|e| library(&e))?))
                }
                Curve::P384 => {
                    SigningKey::P384(Box::new(p384::ecdsa::SigningKey::from_slice(&d).map_err(|e| library(&e))?))
                }
                Curve::P521 => {
                    SigningKey::P521(Box::new(p521::ecdsa::SigningKey::from_slice(&d).map_err(|e| library(&e))?))
                }
                Curve::Ed25519 => return Err(wrong("`kty` OKP for Ed25519", jwk)),
            })
        }
        "OKP" if curve(jwk)? == Curve::Ed25519 => {
            let d = bytes(jwk, "d")?;
            let seed: [u8; 32] = d.as_slice().try_into().map_err(|_| wrong("`d` of 32 bytes", jwk))?;
            Ok(SigningKey::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(&seed))))
        }
        _ => Err(wrong("`kty` oct, RSA, EC or OKP (Ed25519)", jwk)),
    }
}

/// Required members only, in alphabetical order: also the input of [`thumbprint`].
pub(super) fn public(key: &VerifyingKey) -> Value {
    fn b(bytes: impl AsRef<[u8]>) -> String {
        base64url::encode(bytes)
    }
    match key {
        VerifyingKey::Secret(secret) => json!({"k": b(secret), "kty": "oct"}),
        VerifyingKey::Rsa(key) => json!({"e": b(key.e_bytes()), "kty": "RSA", "n": b(key.n_bytes())}),
        VerifyingKey::Ed25519(key) => json!({"crv": "Ed25519", "kty": "OKP", "x": b(key.to_bytes())}),
        VerifyingKey::P256(_) | VerifyingKey::P384(_) | VerifyingKey::P521(_) => {
            let point = key.point().unwrap_or_default();
            let half = point.len() / 2;
            let name = key.curve().map(Curve::name).unwrap_or_default();
            json!({"crv": name, "kty": "EC", "x": b(&point[1..=half]), "y": b(&point[half + 1..])})
        }
    }
}

pub(super) fn private(key: &SigningKey) -> Value {
    let Value::Object(mut jwk) = public(&key.verifying_key()) else { return Value::Object(Map::new()) };
    let mut put = |name: &str, bytes: &[u8]| {
        jwk.insert(name.to_owned(), Value::String(base64url::encode(bytes)));
    };
    match key {
        SigningKey::Secret(_) => {}
        SigningKey::Rsa(rsa) => {
            put("d", &rsa.d().to_be_bytes_trimmed_vartime());
            let names = [("p", rsa.primes().first()), ("q", rsa.primes().get(1))];
            for (name, prime) in names {
                if let Some(prime) = prime {
                    put(name, &prime.to_be_bytes_trimmed_vartime());
                }
            }
            if let (Some(dp), Some(dq), Some(qi)) = (rsa.dp(), rsa.dq(), rsa.crt_coefficient()) {
                put("dp", &dp.to_be_bytes_trimmed_vartime());
                put("dq", &dq.to_be_bytes_trimmed_vartime());
                put("qi", &qi.to_be_bytes_trimmed_vartime());
            }
        }
        SigningKey::P256(key) => put("d", &key.to_bytes()),
        SigningKey::P384(key) => put("d", &key.to_bytes()),
        SigningKey::P521(key) => put("d", &key.to_bytes()),
        SigningKey::Ed25519(key) => put("d", &key.to_bytes()),
    }
    Value::Object(jwk)
}

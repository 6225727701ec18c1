//! What is in a key's text? PEM, an RFC 7517 object, or the bytes of a secret; all end as what the crypto library reads.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;

use crate::der::{integer, sequence, wrapped};

/// What a key is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Signatures.
    Sign,
    /// Encryption.
    Hide,
}

impl Duty {
    /// The `use` of such a key, and the `key_ops` that serve it (RFC 7517 sections 4.2 and 4.3).
    fn words(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Duty::Sign => ("sig", &["sign", "verify"]),
            Duty::Hide => ("enc", &["encrypt", "decrypt", "wrapKey", "unwrapKey", "deriveKey", "deriveBits"]),
        }
    }

    /// Whether a JWK's own word on what it is for allows this. The message says what was expected.
    fn allowed_by(self, jwk: &Value) -> Result<(), String> {
        let (usage, serving) = self.words();
        if let Some(said) = jwk.get("use").filter(|said| said.as_str() != Some(usage)) {
            return Err(format!(
                "expected `\"use\":\"{usage}\"` in the JWK, or no `use`, saw {said} (RFC 7517 section 4.2)"
            ));
        }
        let Some(said) = jwk.get("key_ops") else { return Ok(()) };
        let wrong = |expected: &str| {
            Err(format!(
                "expected {expected} in the JWK's `key_ops`, or no `key_ops`, saw {said} (RFC 7517 section 4.3)"
            ))
        };
        let Some(operations) =
            said.as_array().and_then(|all| all.iter().map(Value::as_str).collect::<Option<Vec<&str>>>())
        else {
            return wrong("a list of texts");
        };
        if operations.iter().enumerate().any(|(place, name)| operations[..place].contains(name)) {
            return wrong("no operation twice");
        }
        // Of a key pair the private half signs, and the public half verifies.
        let least = match (self, jwk.get("kty").and_then(Value::as_str), jwk.get("d").is_some()) {
            (Duty::Hide, ..) | (_, Some("oct"), _) => serving,
            (Duty::Sign, _, true) => &serving[..1],
            (Duty::Sign, _, false) => &serving[1..],
        };
        if !operations.iter().any(|name| least.contains(name)) {
            return wrong(&least.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "));
        }
        if jwk.get("use").is_some() && operations.iter().any(|name| !serving.contains(name)) {
            return wrong(&format!("nothing that contradicts its `use`, `{usage}`,"));
        }
        Ok(())
    }
}

/// Whether the key in a text may sign by its own word: all may but a JWK whose `key_ops` leave it out.
pub(crate) fn may_sign(text: &str) -> bool {
    let jwk: Value = serde_json::from_str(text.trim()).unwrap_or_default();
    jwk.get("key_ops").and_then(Value::as_array).is_none_or(|all| all.iter().any(|name| name == "sign"))
}

/// A key before it is parsed.
pub(crate) enum Material {
    /// The bytes of a secret.
    Secret(Vec<u8>),
    /// A private key, as PKCS#8 in DER.
    Pkcs8(Vec<u8>),
    /// A public key, as SubjectPublicKeyInfo in DER.
    Spki(Vec<u8>),
    /// A public key, as an RFC 7517 object.
    PublicJwk(Value),
}

const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// Curves of RFC 7518 section 6.2.1.1: name, object identifier, length of a coordinate in bytes.
const CURVES: &[(&str, &[u8], usize)] = &[
    ("P-256", &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07], 32),
    ("P-384", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22], 48),
    ("P-521", &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23], 66),
];

fn pkcs8(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    sequence(&[integer(&[0]), wrapped(0x30, algorithm), wrapped(4, key)])
}

impl Material {
    /// Reads a text for a duty; `secret` where the algorithm has no key pair. The message says what was expected.
    pub(crate) fn of_text(text: &str, secret: bool, duty: Duty) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.starts_with('{') {
            let jwk: Value = serde_json::from_str(trimmed)
                .map_err(|error| format!("expected a key as JSON (RFC 7517), saw {error}"))?;
            duty.allowed_by(&jwk)?;
            return Self::of_jwk(&jwk);
        }
        if secret {
            return Ok(Self::Secret(text.as_bytes().to_vec()));
        }
        if let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()) {
            return Ok(Self::Pkcs8(der.secret_pkcs8_der().to_vec()));
        }
        match SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
            Ok(der) => Ok(Self::Spki(der.to_vec())),
            Err(_) => Err("expected a PKCS#8 private key or a public key in PEM, or a JWK, saw something else\n\
                           hint: `openssl pkcs8 -topk8 -nocrypt` converts other forms"
                .to_owned()),
        }
    }

    fn of_jwk(jwk: &Value) -> Result<Self, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or("");
        let member = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(text(name))
                .ok()
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| format!("expected base64url in the JWK's `{name}`, saw none"))
        };
        if text("kty") == "oct" {
            return Ok(Self::Secret(member("k")?));
        }
        if jwk.get("d").is_none() {
            return Ok(Self::PublicJwk(jwk.clone()));
        }
        match text("kty") {
            "RSA" => {
                let mut numbers = vec![integer(&[0])];
                for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                    numbers.push(integer(&member(name)?));
                }
                Ok(Self::Pkcs8(pkcs8(RSA, &sequence(&numbers))))
            }
            "EC" => {
                let Some((_, oid, length)) = CURVES.iter().find(|(name, ..)| *name == text("crv")) else {
                    return Err(format!("expected the curve P-256, P-384 or P-521 in the JWK, saw `{}`", text("crv")));
                };
                let (x, y, d) = (member("x")?, member("y")?, member("d")?);
                if [&x, &y, &d].iter().any(|number| number.len() != *length) {
                    return Err(format!("expected numbers of {length} bytes in the JWK, saw other lengths"));
                }
                let point = [&[0, 4][..], &x, &y].concat();
                let key = sequence(&[integer(&[1]), wrapped(4, &d), wrapped(0xa1, &wrapped(3, &point))]);
                Ok(Self::Pkcs8(pkcs8(&[EC, oid].concat(), &key)))
            }
            "OKP" if text("crv") == "Ed25519" => Ok(Self::Pkcs8(pkcs8(ED25519, &wrapped(4, &member("d")?)))),
            other => Err(format!("expected kty oct, RSA, EC or OKP with Ed25519 in the JWK, saw `{other}`")),
        }
    }
}

//! In which bytes might a server hold its public key, so that an HMAC keyed with them verifies?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use serde_json::Value;

use super::algorithms::Curve;
use super::key::VerifyingKey;
use super::{base64url, der};

/// One spelling of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// A name that can stand in a variant's name: `spki-pem`, `jwk-public-kid-first`.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is known of a public key beside the key itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The very file in which the target's key was found: tried first.
    pub file: Option<&'a [u8]>,
    /// The JWK as the target publishes it, members in their order.
    pub jwk: Option<&'a Value>,
    /// The whole JWK Set as the target publishes it.
    pub jwks_text: Option<&'a str>,
}

/// Every spelling of a public key that servers are known to have handed to an HMAC, most likely first,
/// without repetitions. Empty for a secret.
pub fn spellings(key: &VerifyingKey, known: Known<'_>) -> Vec<Spelling> {
    let mut out = Vec::new();
    let Some(spki) = key.to_spki_der() else { return out };
    let mut push = |name: &str, bytes: Vec<u8>| {
        if !bytes.is_empty() && !out.iter().any(|s: &Spelling| s.bytes == bytes) {
            out.push(Spelling { name: name.to_owned(), bytes });
        }
    };
    if let Some(file) = known.file {
        let text = String::from_utf8_lossy(file).into_owned();
        push("file", file.to_vec());
        push("file-trimmed", text.trim().as_bytes().to_vec());
        push("file-crlf", text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes());
    }
    let mut pem = |name: &str, text: &str| {
        push(name, text.as_bytes().to_vec());
        push(&format!("{name}-no-newline"), text.trim_end().as_bytes().to_vec());
        push(&format!("{name}-crlf"), text.replace('\n', "\r\n").into_bytes());
        push(&format!("{name}-crlf-no-newline"), text.trim_end().replace('\n', "\r\n").into_bytes());
        push(&format!("{name}-leading-newline"), format!("\n{text}").into_bytes());
        push(&format!("{name}-leading-blank"), format!(" {text}").into_bytes());
        push(&format!("{name}-two-newlines"), format!("{text}\n").into_bytes());
    };
    pem("spki-pem", &der::pem("PUBLIC KEY", &spki));
    let pkcs1 = match key {
        VerifyingKey::Rsa(key) => key.to_pkcs1_der().ok().map(|d| d.as_bytes().to_vec()),
        _ => None,
    };
    if let Some(pkcs1) = &pkcs1 {
        pem("pkcs1-pem", &der::pem("RSA PUBLIC KEY", pkcs1));
    }
    // Some libraries rebuild a PEM from a JWK without breaking its lines.
    let one_line = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(&spki));
    push("spki-pem-one-line", one_line.clone().into_bytes());
    push("spki-pem-one-line-newline", format!("{one_line}\n").into_bytes());
    push("spki-der", spki.clone());
    if let Some(pkcs1) = pkcs1 {
        push("pkcs1-der", pkcs1);
    }
    push("spki-base64", STANDARD.encode(&spki).into_bytes());
    if let Some(point) = key.point() {
        push("point", point);
    }
    if let Some(modulus) = key.rsa_modulus() {
        push("modulus", modulus.clone());
        push("modulus-base64url", base64url::encode(modulus).into_bytes());
    }
    if let Some(line) = openssh(key) {
        push("openssh", line.clone().into_bytes());
        push("openssh-newline", format!("{line}\n").into_bytes());
    }
    // The certificate that the JWK carries (RFC 7517 section 4.7).
    let x5c = known.jwk.and_then(|jwk| jwk.get("x5c")?.get(0)?.as_str().map(str::to_owned));
    if let Some(text) = x5c
        && let Ok(certificate) = STANDARD.decode(&text)
    {
        let pem = der::pem("CERTIFICATE", &certificate);
        push("certificate-pem", pem.clone().into_bytes());
        push("certificate-pem-no-newline", pem.trim_end().as_bytes().to_vec());
        push("certificate-der", certificate);
        push("certificate-base64", text.into_bytes());
    }
    if let Some(jwk) = known.jwk {
        json_texts("jwk-public", jwk, &mut push);
    }
    json_texts("jwk", &key.to_jwk(), &mut push);
    // The order in which most libraries build one: kty first.
    let mut ordered = serde_json::Map::new();
    let plain = key.to_jwk();
    for name in ["kty", "crv", "n", "e", "x", "y"] {
        if let Some(value) = plain.get(name) {
            ordered.insert(name.to_owned(), value.clone());
        }
    }
    json_texts("jwk-kty-first", &Value::Object(ordered), &mut push);
    if let Some(text) = known.jwks_text {
        push("jwks-text", text.as_bytes().to_vec());
        push("jwks-text-trimmed", text.trim().as_bytes().to_vec());
    }
    out
}

/// Compact, with blanks as Python writes them, sorted, and indented by two.
fn json_texts(name: &str, jwk: &Value, push: &mut impl FnMut(&str, Vec<u8>)) {
    let Some(members) = jwk.as_object() else { return };
    let spaced = |sorted: bool| {
        let mut names: Vec<&String> = members.keys().collect();
        if sorted {
            names.sort();
        }
        let parts: Vec<String> =
            names.iter().map(|n| format!("{}: {}", Value::from(n.as_str()), members[*n])).collect();
        format!("{{{}}}", parts.join(", "))
    };
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by_key(|(n, _)| *n);
    let sorted: serde_json::Map<String, Value> = sorted.into_iter().map(|(n, v)| (n.clone(), v.clone())).collect();
    push(&format!("{name}-compact"), jwk.to_string().into_bytes());
    push(&format!("{name}-spaced"), spaced(false).into_bytes());
    push(&format!("{name}-sorted"), Value::Object(sorted).to_string().into_bytes());
    push(&format!("{name}-sorted-spaced"), spaced(true).into_bytes());
    push(&format!("{name}-pretty"), serde_json::to_string_pretty(jwk).unwrap_or_default().into_bytes());
}

/// The `authorized_keys` form without a comment (RFC 4253 section 6.6, RFC 5656, RFC 8709).
fn openssh(key: &VerifyingKey) -> Option<String> {
    fn string(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
    }
    fn number(bytes: &[u8]) -> Vec<u8> {
        let pad = bytes.first().is_some_and(|b| *b >= 0x80);
        string(&[if pad { &[0][..] } else { &[] }, bytes].concat())
    }
    let (kind, body) = match key {
        VerifyingKey::Secret(_) => return None,
        VerifyingKey::Rsa(_) => {
            ("ssh-rsa".to_owned(), [number(&key.rsa_exponent()?), number(&key.rsa_modulus()?)].concat())
        }
        VerifyingKey::Ed25519(_) => ("ssh-ed25519".to_owned(), string(&key.point()?)),
        _ => {
            let curve = match key.curve()? {
                Curve::P256 => "nistp256",
                Curve::P384 => "nistp384",
                _ => "nistp521",
            };
            (format!("ecdsa-sha2-{curve}"), [string(curve.as_bytes()), string(&key.point()?)].concat())
        }
    };
    let blob = [string(kind.as_bytes()), body].concat();
    Some(format!("{kind} {}", STANDARD.encode(blob)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::{SigningKey, algorithm};

    #[test]
    fn every_public_key_has_many_spellings_and_each_once() {
        let mut rng = rand::rng();
        for name in ["ES256", "ES384", "ES512", "EdDSA"] {
            let key = SigningKey::generate(algorithm(name).unwrap(), &mut rng).unwrap().verifying_key();
            let all = spellings(&key, Known::default());
            assert!(all.len() >= 18, "{name}: {}", all.len());
            let mut names: Vec<&str> = all.iter().map(|s| s.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all.len());
            let pem = all.iter().find(|s| s.name == "spki-pem").unwrap();
            let again = VerifyingKey::parse(&pem.bytes).unwrap();
            assert_eq!(again.to_jwk(), key.to_jwk());
        }
        assert!(spellings(&VerifyingKey::secret("x"), Known::default()).is_empty());
    }

    #[test]
    fn a_certificate_in_the_published_key_is_spelled_too() {
        let key = SigningKey::generate(algorithm("ES256").unwrap(), &mut rand::rng()).unwrap().verifying_key();
        let mut jwk = key.to_jwk();
        jwk["x5c"] = serde_json::json!([STANDARD.encode(b"certificate")]);
        let all = spellings(&key, Known { jwk: Some(&jwk), ..Known::default() });
        let pem = all.iter().find(|s| s.name == "certificate-pem").unwrap();
        assert_eq!(pem.bytes, b"-----BEGIN CERTIFICATE-----\nY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n");
    }
}

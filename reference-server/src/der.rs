//! What is inside this DER? One element after the other; just enough for keys and certificates.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// One element: its tag, its content, the whole of it, and what follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'d> {
    pub(crate) tag: u8,
    pub(crate) content: &'d [u8],
    pub(crate) whole: &'d [u8],
    pub(crate) rest: &'d [u8],
}

/// The first element of `der`; `None` where it is cut off.
pub(crate) fn element(der: &[u8]) -> Option<Element<'_>> {
    let (tag, first) = (*der.first()?, usize::from(*der.get(1)?));
    let (length, head) = if first < 0x80 {
        (first, 2)
    } else {
        let bytes = der.get(2..2 + (first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
    };
    let whole = der.get(..head.checked_add(length)?)?;
    Some(Element { tag, content: &whole[head..], whole, rest: &der[head + length..] })
}

/// Modulus and exponent of a PKCS#1 RSAPublicKey, without leading zeros.
pub(crate) fn rsa_public(pkcs1: &[u8]) -> Option<(&[u8], &[u8])> {
    let modulus = element(element(pkcs1)?.content)?;
    let exponent = element(modulus.rest)?;
    let bare = |bytes: &[u8]| bytes.iter().take_while(|byte| **byte == 0).count();
    Some((&modulus.content[bare(modulus.content)..], &exponent.content[bare(exponent.content)..]))
}

/// The SubjectPublicKeyInfo of an X.509 certificate (RFC 5280 section 4.1).
pub(crate) fn certificate_key(certificate: &[u8]) -> Option<&[u8]> {
    let mut rest = element(element(certificate)?.content)?.content;
    // version [0], where present; then serial, signature, issuer, validity, subject.
    if element(rest)?.tag == 0xa0 {
        rest = element(rest)?.rest;
    }
    for _ in 0..5 {
        rest = element(rest)?.rest;
    }
    Some(element(rest)?.whole)
}

/// One element with this tag around `content`.
pub(crate) fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count().min(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() < 0x80 {
        out.extend(length);
    } else {
        out.push(0x80 | length.len() as u8);
        out.extend(length);
    }
    out.extend(content);
    out
}

/// A SEQUENCE of these elements.
pub(crate) fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    wrapped(0x30, &elements.concat())
}

/// A non-negative INTEGER from its big-endian bytes.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let bare = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    let sign = bare.first().is_none_or(|first| first & 0x80 != 0);
    wrapped(2, &[if sign { &[0][..] } else { &[] }, bare].concat())
}

/// The RFC 7517 object of a SubjectPublicKeyInfo with an RSA, EC or Ed25519 key; `None` for any other.
pub(crate) fn public_jwk(spki: &[u8]) -> Option<Value> {
    let algorithm = element(element(spki)?.content)?;
    let oid = element(algorithm.content)?;
    // A BIT STRING begins with the number of its unused bits.
    let key = element(algorithm.rest)?.content.get(1..)?;
    let b = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match oid.content {
        RSA_OID => {
            let (n, e) = rsa_public(key)?;
            Some(json!({"kty": "RSA", "n": b(n), "e": b(e)}))
        }
        EC_OID => {
            let (x, y) = key.get(1..)?.split_at_checked((key.len() - 1) / 2)?;
            let crv = match x.len() {
                32 => "P-256",
                48 => "P-384",
                66 => "P-521",
                _ => return None,
            };
            Some(json!({"kty": "EC", "crv": crv, "x": b(x), "y": b(y)}))
        }
        ED25519_OID => Some(json!({"kty": "OKP", "crv": "Ed25519", "x": b(key)})),
        _ => None,
    }
}

const RSA_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];

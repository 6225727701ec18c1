//! Which signatures pass that should not? One question per mistake.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{LaxHeader, rsa};
use crate::algorithm::{Algorithm, Family};
use crate::der::certificate_key;
use crate::flaws::FlawId as F;
use crate::keys::Key;
use crate::verify::{Parts, Place, Reading};

/// True where the signature is good, or one of the mistakes that are on takes it for good.
pub(super) fn passes(reading: &Reading<'_>, header: &LaxHeader, parts: &Parts<'_>, signature: &[u8]) -> bool {
    let flaws = reading.flaws;
    let message = parts.signed.as_bytes();
    if flaws.has(F::SkipVerify) && !signature.is_empty() || flaws.has(F::DecodeOnly) {
        return true;
    }
    if flaws.has(F::UnverifiedRefresh) && reading.gate.place == Place::Refresh {
        return true;
    }
    if flaws.has(F::AllowNone) && header.alg == "none" {
        return true;
    }
    if flaws.has(F::DenylistLowercase) && header.alg != "none" && header.alg.trim().eq_ignore_ascii_case("none") {
        return true;
    }
    let hashes = hash_of(&header.alg);
    if let Some(hash) = hashes {
        let opens = |secret: &[u8]| hmac::verify(&hmac::Key::new(hash, secret), message, signature).is_ok();
        if flaws.has(F::EmptyKeyFallback)
            && ["", "\0", "null", "undefined", "None", "\"\""].iter().any(|secret| opens(secret.as_bytes()))
        {
            return true;
        }
        if let Some(kid) = &header.kid {
            if flaws.has(F::KidAsPath)
                && file(kid).is_some_and(|content| opens(&content) || opens(content.trim_ascii()))
            {
                return true;
            }
            if flaws.has(F::KidSql) && selected(kid).is_some_and(|constant| opens(constant.as_bytes())) {
                return true;
            }
        }
        if flaws.has(F::RsToHs)
            && reading.ring.keys.iter().any(|key| spellings(key).iter().any(|spelling| opens(spelling)))
        {
            return true;
        }
    }
    if flaws.has(F::TrustJwk)
        && header.members.get("jwk").is_some_and(|jwk| jwk_verifies(&header.alg, jwk, message, signature))
    {
        return true;
    }
    if flaws.has(F::TrustX5c) && x5c_verifies(header, message, signature) {
        return true;
    }
    if flaws.has(F::FollowJku)
        && reading.fetched.keys.iter().any(|jwk| jwk_verifies(&header.alg, jwk, message, signature))
    {
        return true;
    }
    if flaws.has(F::FollowJku)
        && reading.fetched.certified.iter().any(|spki| spki_verifies(&header.alg, spki, message, signature))
    {
        return true;
    }
    let named = reading.ring.named(header.kid.as_deref()).or_else(|| misled(reading, header.kid.as_deref()?));
    let Some(key) = named else { return false };
    key_passes(reading, header, key, message, signature)
}

/// The key that a `kid` finds which is no name: a condition that is always true, a pattern, a name that is cut short.
fn misled<'r>(reading: &Reading<'r>, kid: &str) -> Option<&'r std::sync::Arc<Key>> {
    let tautology = reading.flaws.has(F::KidSql) && kid.to_ascii_lowercase().contains("' or '1'='1");
    let pattern = reading.flaws.has(F::KidPattern);
    if tautology || pattern && kid.contains('*') {
        return reading.ring.keys.first();
    }
    let (name, _) = kid.split_once('\0').filter(|_| pattern)?;
    reading.ring.named(Some(name))
}

fn key_passes(reading: &Reading<'_>, header: &LaxHeader, key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let flaws = reading.flaws;
    let own = key.algorithm.name;
    let same = header.alg == own || (flaws.has(F::CaseFoldAlg) && header.alg.eq_ignore_ascii_case(own));
    if (flaws.has(F::AnyHs) || flaws.has(F::AnyRs)) && sibling_verifies(key, &header.alg, message, signature) {
        return true;
    }
    if !same {
        return false;
    }
    if key.verifies(message, signature) || (flaws.has(F::NullSigOk) && signature.is_empty()) {
        return true;
    }
    match &key.algorithm.family {
        Family::Ecdsa { curve, .. } => {
            (flaws.has(F::Psychic) && is_psychic(curve, signature))
                || (flaws.has(F::AcceptDer) && der_verifies(key, message, signature))
                || (flaws.has(F::LaxEcdsa) && lax_ecdsa(curve, signature, |other| key.verifies(message, other)))
        }
        Family::Ed25519 => {
            (flaws.has(F::NoSCheck) && reduced(signature).is_some_and(|reduced| key.verifies(message, &reduced)))
                || (flaws.has(F::LaxEddsa) && lax_eddsa(signature))
        }
        Family::Rsa { .. } => flaws.has(F::LaxPkcs1) && own.starts_with("RS") && lax_pkcs1(key, message, signature),
        Family::Hmac(_) => false,
    }
}

fn hash_of(alg: &str) -> Option<hmac::Algorithm> {
    match Algorithm::named(alg).map(|row| &row.family) {
        Some(Family::Hmac(hash)) => Some(*hash),
        _ => None,
    }
}

/// The same key under another algorithm of its kind.
fn sibling_verifies(key: &Key, alg: &str, message: &[u8], signature: &[u8]) -> bool {
    let Some(other) = Algorithm::named(alg) else { return false };
    match (&key.algorithm.family, &other.family) {
        (Family::Hmac(_), Family::Hmac(hash)) => {
            hmac::verify(&hmac::Key::new(*hash, &key.secret), message, signature).is_ok()
        }
        (Family::Rsa { .. }, Family::Rsa { verifying, .. }) => {
            UnparsedPublicKey::new(*verifying, &key.spki).verify(message, signature).is_ok()
        }
        _ => false,
    }
}

fn jwk_verifies(alg: &str, jwk: &Value, message: &[u8], signature: &[u8]) -> bool {
    Algorithm::named(alg)
        .and_then(|algorithm| Key::from_jwk(algorithm, String::new(), jwk).ok())
        .is_some_and(|key| key.verifies(message, signature))
}

/// The key of the first certificate, whoever signed it.
fn x5c_verifies(header: &LaxHeader, message: &[u8], signature: &[u8]) -> bool {
    let first = header.members.get("x5c").and_then(|chain| chain.get(0)).and_then(Value::as_str);
    let Some(certificate) = first.and_then(|text| STANDARD.decode(text).ok()) else { return false };
    let Some(spki) = certificate_key(&certificate) else { return false };
    spki_verifies(&header.alg, spki, message, signature)
}

fn spki_verifies(alg: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    Algorithm::named(alg)
        .and_then(|algorithm| Key::from_spki(algorithm, spki).ok())
        .is_some_and(|key| key.verifies(message, signature))
}

/// A file's content as a secret: what `../../dev/null` in `kid` is meant for.
fn file(kid: &str) -> Option<Vec<u8>> {
    use std::io::Read;
    let kid = kid.replace("%2f", "/");
    let kid = kid.strip_prefix("file://").unwrap_or(&kid);
    if !kid.contains('/') {
        return None;
    }
    let path = format!("/{}", kid.trim_start_matches(['.', '/']));
    let mut content = Vec::new();
    // Only what a check asks for: device and kernel files of constant content, and little of it.
    if !["/dev/null", "/proc/sys/"].iter().any(|place| path.starts_with(place)) || path.contains("..") {
        return None;
    }
    std::fs::File::open(path).ok()?.take(4096).read_to_end(&mut content).ok()?;
    Some(content)
}

/// What a database would return for `... UNION SELECT 'constant'`.
fn selected(kid: &str) -> Option<String> {
    let lower = kid.to_ascii_lowercase();
    let after = lower.find("union")?;
    let select = after + lower[after..].find("select")? + "select".len();
    let rest = kid.get(select..)?;
    let (_, constant) = rest.split_once(['\'', '"'])?;
    let end = constant.find(['\'', '"'])?;
    Some(constant[..end].to_owned())
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or("")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The texts and bytes that a public key may lie about as.
pub(super) fn spellings(key: &Key) -> Vec<Vec<u8>> {
    let mut all = vec![key.spki.clone()];
    let mut texts = vec![pem("PUBLIC KEY", &key.spki)];
    if matches!(key.algorithm.family, Family::Rsa { .. }) {
        all.push(key.pkcs1.clone());
        texts.push(pem("RSA PUBLIC KEY", &key.pkcs1));
    }
    for text in texts {
        all.push(text.trim_end().as_bytes().to_vec());
        all.push(text.replace('\n', "\r\n").into_bytes());
        all.push(text.trim_end().replace('\n', "\r\n").into_bytes());
        all.push(format!(" {text}").into_bytes());
        all.push(format!("\n{text}").into_bytes());
        all.push(text.into_bytes());
    }
    if let Some(jwk) = &key.jwk {
        all.push(jwk.to_string().into_bytes());
    }
    if let Some(x) = key.jwk.as_ref().and_then(|jwk| jwk.get("x")).and_then(Value::as_str) {
        all.extend(URL_SAFE_NO_PAD.decode(x).ok());
    }
    all
}

fn order(curve: &str) -> Vec<u8> {
    let hex = match curve {
        "P-256" => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        "P-384" => "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        _ => {
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
        }
    };
    hex.as_bytes()
        .chunks(2)
        .filter_map(|two| std::str::from_utf8(two).ok().and_then(|two| u8::from_str_radix(two, 16).ok()))
        .collect()
}

/// CVE-2022-21449: r and s are zero, or zero in disguise.
fn is_psychic(curve: &str, signature: &[u8]) -> bool {
    let order = order(curve);
    let zero = |half: &[u8]| half.iter().all(|byte| *byte == 0) || half == order;
    // The DER form of two zeros counts too.
    if signature == [0x30, 6, 2, 1, 0, 2, 1, 0] {
        return true;
    }
    !signature.is_empty() && signature.len().is_multiple_of(2) && {
        let (r, s) = signature.split_at(signature.len() / 2);
        zero(r) && zero(s)
    }
}

/// A number that is zero, one or the order's last, another length, or the two halves in the wrong order.
fn lax_ecdsa(curve: &str, signature: &[u8], verifies: impl Fn(&[u8]) -> bool) -> bool {
    let order = order(curve);
    if signature.len() != 2 * order.len() {
        return !signature.is_empty();
    }
    let (r, s) = signature.split_at(order.len());
    let edge = |half: &[u8]| {
        let small = half[..half.len() - 1].iter().all(|byte| *byte == 0) && half[half.len() - 1] < 2;
        // The order is odd, so that its predecessor differs in the last byte alone.
        let large =
            half[..half.len() - 1] == order[..order.len() - 1] && order[order.len() - 1] - half[half.len() - 1] < 2;
        small || large
    };
    edge(r) || edge(s) || verifies(&[s, r].concat())
}

/// Another length, or a second half of zeros.
fn lax_eddsa(signature: &[u8]) -> bool {
    !signature.is_empty()
        && signature.get(32..64).is_none_or(|s| signature.len() != 64 || s.iter().all(|byte| *byte == 0))
}

fn der_verifies(key: &Key, message: &[u8], der: &[u8]) -> bool {
    let algorithm: &'static signature::EcdsaVerificationAlgorithm = match key.algorithm.name {
        "ES256" => &signature::ECDSA_P256_SHA256_ASN1,
        "ES384" => &signature::ECDSA_P384_SHA384_ASN1,
        _ => &signature::ECDSA_P521_SHA512_ASN1,
    };
    UnparsedPublicKey::new(algorithm, &key.spki).verify(message, der).is_ok()
}

/// The signature with S brought below the group's order, as a verifier without the check of RFC 8032 section 5.1.7 sees it.
fn reduced(signature: &[u8]) -> Option<[u8; 64]> {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut all: [u8; 64] = signature.try_into().ok()?;
    let s = &mut all[32..];
    for _ in 0..16 {
        if s.iter().rev().cmp(L.iter().rev()).is_lt() {
            break;
        }
        let mut borrow = 0_i16;
        for (byte, l) in s.iter_mut().zip(L) {
            let difference = i16::from(*byte) - i16::from(l) - borrow;
            borrow = i16::from(difference < 0);
            *byte = difference.rem_euclid(256) as u8;
        }
    }
    Some(all)
}

/// Takes a hash of the message anywhere in what was signed for a signature, and one of the other padding.
fn lax_pkcs1(key: &Key, message: &[u8], signature: &[u8]) -> bool {
    let member = |name: &str| {
        key.jwk
            .as_ref()
            .and_then(|jwk| jwk.get(name))
            .and_then(Value::as_str)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
    };
    let (Some(n), Some(e)) = (member("n"), member("e")) else { return false };
    let zeros = signature.iter().take_while(|byte| **byte == 0).count().min(signature.len().saturating_sub(n.len()));
    let encoded = rsa::raised(&signature[zeros..], &e, &n);
    let digests = [&aws_lc_rs::digest::SHA256, &aws_lc_rs::digest::SHA384, &aws_lc_rs::digest::SHA512];
    let hashed = digests.into_iter().any(|digest| {
        let hash = aws_lc_rs::digest::digest(digest, message);
        encoded.windows(hash.as_ref().len()).any(|window| window == hash.as_ref())
    });
    let pss = key.algorithm.name.replace("RS", "PS");
    encoded.starts_with(&[0]) && hashed || sibling_verifies(key, &pss, message, signature)
}

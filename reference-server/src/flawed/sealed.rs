//! How does the server go wrong about encrypted tokens when it is told to?

use std::io::Read;

use super::opening::{Parts, whole};
use super::stray;
use crate::flaws::{FlawId as F, FlawSet};
use crate::sealing::{Encryption, Sealer, concat_kdf};
use crate::verify::{Opened, Reading, Refusal};

/// A server without a bound has one nevertheless: so much memory it may take.
const UNPACKED_BYTES: u64 = 64 << 20;

/// What is inside of an encrypted token: `inside` by the strict reading, else by the mistakes that are on.
pub(crate) fn unsealed(
    flaws: &FlawSet,
    sealer: &Sealer,
    text: &str,
    inside: Option<String>,
) -> Result<String, Refusal> {
    if let Some(inside) = inside {
        let token = inside.split('.').count() == 3 || flaws.has(F::PlainInJwe);
        return if flaws.has(F::ContentOracle) && !token { Err(Refusal::Undeciphered) } else { Ok(inside) };
    }
    let parts = Parts::of(text).ok_or(Refusal::Forged)?;
    if flaws.has(F::CrashEmptyKey) && parts.encrypted_key.is_empty() && parts.text("alg").ends_with("KW") {
        return Err(Refusal::Crash);
    }
    if flaws.has(F::ContentOracle) && parts.nonce.len() != 12 {
        return Err(Refusal::Undeciphered);
    }
    let Some(key) = content_key(flaws, sealer, &parts).filter(|key| key.len() == 32) else {
        return Err(if flaws.has(F::PaddingOracle) { Refusal::Undeciphered } else { Refusal::Forged });
    };
    let plain = parts.opened(&key, |came, right| {
        whole(came, right) || flaws.has(F::UncheckedTag) || (flaws.has(F::ShortTag) && right.starts_with(came))
    });
    let mut plain = plain.ok_or(Refusal::Forged)?;
    if parts.header.contains_key("zip") {
        if !flaws.has(F::UnzipUnbounded) {
            return Err(Refusal::Forged);
        }
        let packed = std::mem::take(&mut plain);
        let mut unpacked = flate2::read::DeflateDecoder::new(packed.as_slice()).take(UNPACKED_BYTES);
        unpacked.read_to_end(&mut plain).map_err(|_| Refusal::Forged)?;
    }
    String::from_utf8(plain).map_err(|_| Refusal::Forged)
}

/// The content key by the header, as far as mistakes let it choose.
fn content_key(flaws: &FlawSet, sealer: &Sealer, parts: &Parts<'_>) -> Option<Vec<u8>> {
    let alg = parts.text("alg");
    let own = alg == sealer.alg().name();
    match sealer.alg() {
        Encryption::RsaOaep256 if own || flaws.has(F::AnyJweAlg) => parts.by_rsa(&sealer.material),
        Encryption::EcdhEs if own && flaws.has(F::NoCurveCheck) => {
            let (x, y) = parts.epk()?;
            let shared = stray::multiplied(&sealer.material, &x, &y)?;
            Some(concat_kdf(parts.text("enc"), &shared, b"", b"").to_vec())
        }
        Encryption::EcdhEs if own || flaws.has(F::AnyJweAgreement) => parts.by_agreement(&sealer.material),
        Encryption::Direct if own || flaws.has(F::AnyJweWrapping) => parts.by_secret(&sealer.material),
        _ => None,
    }
}

/// What a mistake believes that is signed by nobody.
pub(super) fn believed(reading: &Reading<'_>, text: &str, payload: &mut Vec<u8>) -> Option<Opened> {
    let flaws = reading.flaws;
    let claims = if flaws.has(F::PlainInJwe) {
        if text.starts_with('{') { text.as_bytes().to_vec() } else { super::decode(reading, text.split('.').nth(1)?)? }
    } else {
        let parts = Parts::of(text)?;
        let key = guessed(flaws, &parts).or_else(|| by_signing_key(reading, &parts))?;
        parts.opened(&key, whole)?
    };
    *payload = claims;
    Some(Opened { access_typ: false })
}

/// By secrets that everybody tries first.
fn guessed(flaws: &FlawSet, parts: &Parts<'_>) -> Option<Vec<u8>> {
    if !flaws.has(F::GuessableJwe) {
        return None;
    }
    let mut word = [0; 32];
    word[..6].copy_from_slice(b"secret");
    let by_password = || parts.by_password(b"").or_else(|| parts.by_password(b"secret"));
    match parts.text("alg") {
        "dir" => [[0; 32], word].iter().find(|key| parts.opened(&key[..], whole).is_some()).map(|key| key.to_vec()),
        _ => by_password(),
    }
}

/// By the key that signs, which is there to verify, or its public half as a password.
fn by_signing_key(reading: &Reading<'_>, parts: &Parts<'_>) -> Option<Vec<u8>> {
    let (rsa, ec) = (reading.flaws.has(F::SignEncryptConfusion), reading.flaws.has(F::SignEncryptConfusionEc));
    reading.ring.keys.iter().find_map(|key| match parts.text("alg") {
        alg if alg.starts_with("RSA") && rsa => parts.by_rsa(&key.pkcs8),
        alg if alg.starts_with("ECDH") && ec => parts.by_agreement(&key.pkcs8),
        alg if alg.starts_with("PBES2") && rsa => {
            let spelled = super::signature::spellings(key);
            spelled.iter().find_map(|spelling| parts.by_password(spelling))
        }
        _ => None,
    })
}

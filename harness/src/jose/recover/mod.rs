//! Can a public key be found from signatures alone, where no key is published?
//!
//! ECDSA gives a handful of candidates from one signature (SEC 1 section 4.1.6). An RSA modulus divides
//! `s^e - em` for every PKCS#1 v1.5 signature `s` of an encoded message `em`, so that two tokens and a
//! greatest common divisor give it.

mod gcd;
mod ntt;

use std::sync::atomic::{AtomicBool, Ordering};

use num_bigint::BigUint;

use super::algorithms::{Algorithm, Family, Hash};
use super::key::VerifyingKey;
use super::sign::digest;

/// Largest public exponent for which [`rsa_modulus`] computes: the one that nearly every key has.
pub const LARGEST_EXPONENT: u32 = 65_537;
/// Largest modulus for which [`rsa_modulus`] computes with that exponent, in bits: its power has 134 million bits.
pub const LARGEST_MODULUS_BITS: u64 = 2_048;

/// The candidates for the ECDSA key behind one signature over an input: at most four, one of them true.
pub fn ecdsa_keys(algorithm: &Algorithm, input: &[u8], signature: &[u8]) -> Vec<VerifyingKey> {
    let prehash = digest(algorithm.hash, input);
    macro_rules! candidates {
        ($curve:ident, $variant:ident) => {{
            let Ok(signature) = $curve::ecdsa::Signature::from_slice(signature) else { return Vec::new() };
            (0..4u8)
                .filter_map(p256::ecdsa::RecoveryId::from_byte)
                .filter_map(|id| $curve::ecdsa::VerifyingKey::recover_from_prehash(&prehash, &signature, id).ok())
                .map(|key| VerifyingKey::$variant(Box::new(key)))
                .collect()
        }};
    }
    match algorithm.name {
        "ES256" => candidates!(p256, P256),
        "ES384" => candidates!(p384, P384),
        "ES512" => candidates!(p521, P521),
        _ => Vec::new(),
    }
}

/// The EMSA-PKCS1-v1_5 encoding of an input's digest (RFC 8017 section 9.2), as long as the modulus.
pub fn pkcs1_encoding(hash: Hash, input: &[u8], len: usize) -> Option<Vec<u8>> {
    let info = digest_info(hash, input);
    let padding = len.checked_sub(info.len() + 3).filter(|n| *n >= 8)?;
    Some([&[0, 1][..], &vec![0xff; padding], &[0], &info].concat())
}

/// The DigestInfo of an input in DER, NULL parameters included (RFC 8017 section 9.2 note 1).
pub fn digest_info(hash: Hash, input: &[u8]) -> Vec<u8> {
    let (last, len) = match hash {
        Hash::Sha256 => (1, 32),
        Hash::Sha384 => (2, 48),
        Hash::Sha512 => (3, 64),
    };
    let prefix = [0x30, 17 + len, 0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last, 5, 0, 4, len];
    [&prefix[..], &digest(hash, input)].concat()
}

/// The RSA key behind PKCS#1 v1.5 signatures over inputs, for a public exponent up to
/// [`LARGEST_EXPONENT`]: none where fewer than two signatures are given, where they are not of one key and this
/// exponent, or where the numbers would be larger than a power of [`LARGEST_MODULUS_BITS`].
///
/// The numbers have `e` times the bits of the modulus. With e = 65537 and 2,048 bits that is four minutes of one
/// core and 1.5 GB. `cancel` ends it early, with none.
pub fn rsa_modulus(
    algorithm: &Algorithm,
    exponent: u32,
    signed: &[(Vec<u8>, Vec<u8>)],
    cancel: &AtomicBool,
) -> Option<VerifyingKey> {
    if algorithm.family != Family::RsaPkcs1 || signed.len() < 2 {
        return None;
    }
    let longest = signed.iter().map(|(_, s)| s.len() as u64 * 8).max()?;
    let bits = longest * u64::from(exponent);
    if bits > LARGEST_MODULUS_BITS * u64::from(LARGEST_EXPONENT) {
        return None;
    }
    let roots = ntt::Roots::for_bits(bits + bits / 4, cancel)?;
    let mut common = BigUint::ZERO;
    for (input, signature) in signed {
        let encoded = BigUint::from_bytes_be(&pkcs1_encoding(algorithm.hash, input, signature.len())?);
        let power = gcd::power(&BigUint::from_bytes_be(signature), exponent, &roots);
        let multiple = if power > encoded { power - encoded } else { encoded - power };
        common = gcd::gcd(common, multiple, &roots);
        if cancel.load(Ordering::Relaxed) {
            return None;
        }
        // Two signatures by different keys have nothing large in common.
        if common.bits() < 256 {
            return None;
        }
    }
    // What two random multiples share beside the modulus is small.
    for small in 2u32..10_000 {
        while (&common % small) == BigUint::ZERO && common.bits() > longest - 8 {
            common /= small;
        }
    }
    let key = VerifyingKey::from_rsa_parts(&common.to_bytes_be(), &exponent.to_be_bytes()).ok()?;
    signed.iter().all(|(input, signature)| key.accepts(algorithm, input, signature)).then_some(key)
}

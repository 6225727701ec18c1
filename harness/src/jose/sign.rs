//! How are bytes signed, and how is a signature checked?

use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::signature::hazmat::{PrehashSigner as _, PrehashVerifier as _};
use rand::CryptoRng;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::algorithms::{Algorithm, Family, Hash};
use super::key::{KeyError, SigningKey, VerifyingKey};

/// The digest of some bytes.
pub fn digest(hash: Hash, input: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(input).to_vec(),
        Hash::Sha384 => Sha384::digest(input).to_vec(),
        Hash::Sha512 => Sha512::digest(input).to_vec(),
    }
}

/// HMAC over any key bytes, also none.
pub fn hmac(hash: Hash, key: &[u8], input: &[u8]) -> Vec<u8> {
    macro_rules! run {
        ($digest:ty) => {
            match Hmac::<$digest>::new_from_slice(key) {
                Ok(mut mac) => {
                    mac.update(input);
                    mac.finalize().into_bytes().to_vec()
                }
                // HMAC takes keys of every length; the library's error cannot occur.
                Err(_) => Vec::new(),
            }
        };
    }
    match hash {
        Hash::Sha256 => run!(Sha256),
        Hash::Sha384 => run!(Sha384),
        Hash::Sha512 => run!(Sha512),
    }
}

impl SigningKey {
    /// The JWS signature over an input. Randomness is used by PSS only; ECDSA is deterministic (RFC 6979).
    pub fn sign(&self, algorithm: &Algorithm, input: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        if !self.verifying_key().serves(algorithm) {
            return Err(KeyError::Mismatch {
                algorithm: algorithm.name.to_owned(),
                needs: needs(algorithm),
                found: self.kind(),
            });
        }
        let prehash = digest(algorithm.hash, input);
        let library = |e: &dyn std::fmt::Display| KeyError::Library(e.to_string());
        match self {
            SigningKey::Secret(secret) => Ok(hmac(algorithm.hash, secret, input)),
            SigningKey::Rsa(key) if algorithm.family == Family::RsaPss => match algorithm.hash {
                Hash::Sha256 => key.pss_sign_prehash_with_rng::<Sha256, _>(rng, &prehash),
                Hash::Sha384 => key.pss_sign_prehash_with_rng::<Sha384, _>(rng, &prehash),
                Hash::Sha512 => key.pss_sign_prehash_with_rng::<Sha512, _>(rng, &prehash),
            }
            .map_err(|e| library(&e)),
            SigningKey::Rsa(key) => match algorithm.hash {
                Hash::Sha256 => key.pkcs1v15_sign_prehash_with_rng::<Sha256, _>(rng, &prehash),
                Hash::Sha384 => key.pkcs1v15_sign_prehash_with_rng::<Sha384, _>(rng, &prehash),
                Hash::Sha512 => key.pkcs1v15_sign_prehash_with_rng::<Sha512, _>(rng, &prehash),
            }
            .map_err(|e| library(&e)),
            SigningKey::P256(key) => {
                key.sign_prehash(&prehash).map(|s: p256::ecdsa::Signature| s.to_vec()).map_err(|e| library(&e))
            }
            SigningKey::P384(key) => {
                key.sign_prehash(&prehash).map(|s: p384::ecdsa::Signature| s.to_vec()).map_err(|e| library(&e))
            }
            SigningKey::P521(key) => {
                key.sign_prehash(&prehash).map(|s: p521::ecdsa::Signature| s.to_vec()).map_err(|e| library(&e))
            }
            SigningKey::Ed25519(key) => Ok(key.sign(input).to_bytes().to_vec()),
        }
    }

    /// RSASP1 over an encoded message of any content: the raw operation that forged paddings need
    /// (RFC 8017 section 5.2.1). The message, as a number, must be below the modulus.
    pub fn rsa_raw(&self, encoded: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let SigningKey::Rsa(key) = self else {
            return Err(KeyError::Mismatch {
                algorithm: "a raw RSA operation".to_owned(),
                needs: "an RSA key".to_owned(),
                found: self.kind(),
            });
        };
        let number = rsa::BoxedUint::from_be_slice(encoded, key.n_bits_precision())
            .map_err(|e| KeyError::Library(e.to_string()))?;
        let out = rsa::hazmat::rsa_decrypt(Some(rng), &**key, &number).map_err(|e| KeyError::Library(e.to_string()))?;
        let bytes = out.to_be_bytes();
        // The number may be stored wider than the modulus is; leading zeros only are cut off.
        let size = key.size();
        let cut = bytes.len().saturating_sub(size);
        let mut padded = vec![0; size.saturating_sub(bytes.len())];
        padded.extend_from_slice(&bytes[cut..]);
        Ok(padded)
    }
}

fn needs(algorithm: &Algorithm) -> String {
    match (algorithm.family, algorithm.curve) {
        (Family::Hmac, _) => "a secret".to_owned(),
        (_, Some(curve)) => format!("a {} key", curve.name()),
        _ => "an RSA key".to_owned(),
    }
}

impl VerifyingKey {
    /// Whether the signature is right, by the strictest reading of each scheme: exact length, `r` and `s`
    /// within range, full PKCS#1 v1.5 padding, PSS salt as long as the digest, `S < L` and no small-order
    /// point for Ed25519.
    pub fn accepts(&self, algorithm: &Algorithm, input: &[u8], signature: &[u8]) -> bool {
        if !self.serves(algorithm) {
            return false;
        }
        let prehash = digest(algorithm.hash, input);
        match self {
            VerifyingKey::Secret(secret) => {
                let truth = hmac(algorithm.hash, secret, input);
                truth.len() == signature.len()
                    && truth.iter().zip(signature).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
            }
            VerifyingKey::Rsa(key) => {
                if signature.len() != key.size() {
                    return false;
                }
                let outcome = match (algorithm.family, algorithm.hash) {
                    (Family::RsaPss, Hash::Sha256) => key.pss_verify_prehash::<Sha256>(&prehash, signature),
                    (Family::RsaPss, Hash::Sha384) => key.pss_verify_prehash::<Sha384>(&prehash, signature),
                    (Family::RsaPss, Hash::Sha512) => key.pss_verify_prehash::<Sha512>(&prehash, signature),
                    (_, Hash::Sha256) => key.pkcs1v15_verify_prehash::<Sha256>(&prehash, signature),
                    (_, Hash::Sha384) => key.pkcs1v15_verify_prehash::<Sha384>(&prehash, signature),
                    (_, Hash::Sha512) => key.pkcs1v15_verify_prehash::<Sha512>(&prehash, signature),
                };
                outcome.is_ok()
            }
            VerifyingKey::P256(key) => {
                p256::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify_prehash(&prehash, &s).is_ok())
            }
            VerifyingKey::P384(key) => {
                p384::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify_prehash(&prehash, &s).is_ok())
            }
            VerifyingKey::P521(key) => {
                p521::ecdsa::Signature::from_slice(signature).is_ok_and(|s| key.verify_prehash(&prehash, &s).is_ok())
            }
            VerifyingKey::Ed25519(key) => {
                ed25519_dalek::Signature::from_slice(signature).is_ok_and(|s| key.verify_strict(input, &s).is_ok())
            }
        }
    }
}

//! How is an encrypted token opened by whatever its header says? The parts, the ways to a content key, and what the tag is.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, UnparsedPublicKey};
use aws_lc_rs::key_wrap::{AES_128, AES_256, AesBlockCipher, AesKek, KeyWrap};
use aws_lc_rs::pbkdf2;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::sealing::concat_kdf;

/// A compact JWE, taken apart and not judged.
pub(super) struct Parts<'t> {
    header_text: &'t str,
    pub(super) header: Map<String, Value>,
    pub(super) encrypted_key: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    content: Vec<u8>,
    tag: Vec<u8>,
}

impl<'t> Parts<'t> {
    pub(super) fn of(text: &'t str) -> Option<Self> {
        let mut segments = text.split('.');
        let header_text = segments.next()?;
        let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).ok();
        let mut next = || decode(segments.next()?);
        let (encrypted_key, nonce, content, tag) = (next()?, next()?, next()?, next()?);
        let Value::Object(header) = serde_json::from_slice(&decode(header_text)?).ok()? else { return None };
        Some(Self { header_text, header, encrypted_key, nonce, content, tag })
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.header.get(name).and_then(Value::as_str).unwrap_or("")
    }

    fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.text(name)).ok()
    }

    /// The content, where `passes` takes the tag that came (first) beside the right one.
    pub(super) fn opened(&self, key: &[u8], passes: impl Fn(&[u8], &[u8]) -> bool) -> Option<Vec<u8>> {
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?);
        let nonce: [u8; 12] = self.nonce.as_slice().try_into().ok()?;
        let seal = |aad: &[u8], content: &mut [u8]| {
            cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), content).ok()
        };
        // Counter mode adds a stream of bits, so that encrypting once more takes it off again.
        let mut plain = self.content.clone();
        let _ = seal(b"", &mut plain)?;
        let tag = seal(self.header_text.as_bytes(), &mut plain.clone())?;
        passes(&self.tag, tag.as_ref()).then_some(plain)
    }

    /// By RSA and the padding that the header names.
    pub(super) fn by_rsa(&self, pkcs8: &[u8]) -> Option<Vec<u8>> {
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?;
        let oaep = |key, hash: &'static OaepAlgorithm| {
            let key = OaepPrivateDecryptingKey::new(key).ok()?;
            let mut place = vec![0; key.min_output_size()];
            key.decrypt(hash, &self.encrypted_key, &mut place, None).ok().map(|found| found.to_vec())
        };
        match self.text("alg") {
            "RSA-OAEP-256" => oaep(key, &OAEP_SHA256_MGF1SHA256),
            "RSA-OAEP" => oaep(key, &OAEP_SHA1_MGF1SHA1),
            "RSA1_5" => {
                let key = Pkcs1PrivateDecryptingKey::new(key).ok()?;
                let mut place = vec![0; key.min_output_size()];
                key.decrypt(&self.encrypted_key, &mut place).ok().map(|found| found.to_vec())
            }
            _ => None,
        }
    }

    /// By agreement with `epk` on P-256, directly or with a key that unwraps.
    pub(super) fn by_agreement(&self, pkcs8: &[u8]) -> Option<Vec<u8>> {
        let private = agreement::PrivateKey::from_private_key_der(&ECDH_P256, pkcs8).ok()?;
        let (x, y) = self.epk()?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, [&[4][..], &x, &y].concat());
        let shared = agreement::agree(&private, peer, (), |shared| Ok(shared.to_vec())).ok()?;
        match self.text("alg") {
            "ECDH-ES" => Some(concat_kdf(self.text("enc"), &shared, b"", b"").to_vec()),
            "ECDH-ES+A256KW" => self.unwrapped(&AES_256, &concat_kdf("ECDH-ES+A256KW", &shared, b"", b"")),
            _ => None,
        }
    }

    /// The coordinates of `epk`, wherever they lie.
    pub(super) fn epk(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let epk = self.header.get("epk")?;
        let member = |name: &str| URL_SAFE_NO_PAD.decode(epk.get(name)?.as_str()?).ok();
        Some((member("x")?, member("y")?))
    }

    /// By a shared secret of 32 bytes: directly, or as a key that unwraps.
    pub(super) fn by_secret(&self, secret: &[u8]) -> Option<Vec<u8>> {
        match self.text("alg") {
            "dir" => Some(secret.to_vec()),
            "A256KW" => self.unwrapped(&AES_256, secret),
            "A256GCMKW" => {
                let (nonce, tag) = (self.bytes("iv")?, self.bytes("tag")?);
                let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).ok()?);
                let nonce = Nonce::assume_unique_for_key(nonce.try_into().ok()?);
                let mut wrapped = [&self.encrypted_key[..], &tag].concat();
                Some(cipher.open_in_place(nonce, Aad::empty(), &mut wrapped).ok()?.to_vec())
            }
            _ => None,
        }
    }

    /// By a password, where its count is none that would keep us busy.
    pub(super) fn by_password(&self, password: &[u8]) -> Option<Vec<u8>> {
        const ALG: &str = "PBES2-HS256+A128KW";
        let count = self.header.get("p2c").and_then(Value::as_u64).filter(|count| *count <= 10_000)?;
        let salt = [ALG.as_bytes(), &[0], &self.bytes("p2s")?].concat();
        let count = std::num::NonZeroU32::new(count as u32).filter(|_| self.text("alg") == ALG)?;
        let mut key = [0; 16];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, count, &salt, password, &mut key);
        self.unwrapped(&AES_128, &key)
    }

    fn unwrapped(&self, cipher: &'static AesBlockCipher, key: &[u8]) -> Option<Vec<u8>> {
        let mut place = vec![0; self.encrypted_key.len()];
        AesKek::new(cipher, key).ok()?.unwrap(&self.encrypted_key, &mut place).ok().map(|found| found.to_vec())
    }
}

/// As it must be.
pub(super) fn whole(came: &[u8], right: &[u8]) -> bool {
    came == right
}

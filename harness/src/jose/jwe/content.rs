//! How is the content of a token encrypted and authenticated (RFC 7518 section 5)?

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes_gcm::aes::{Aes128, Aes192, Aes256};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

use super::super::algorithms::Hash;
use super::super::sign;

type Aes192Gcm = AesGcm<Aes192, aes_gcm::aead::consts::U12>;

/// A block of AES.
pub(super) const BLOCK: usize = 16;

/// A content encryption of RFC 7518 section 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncryption {
    /// AES-GCM with a key of 128 bits.
    A128Gcm,
    /// AES-GCM with a key of 192 bits.
    A192Gcm,
    /// AES-GCM with a key of 256 bits.
    A256Gcm,
    /// AES-CBC with 128 bits and HMAC-SHA-256 cut to 128.
    A128CbcHs256,
    /// AES-CBC with 192 bits and HMAC-SHA-384 cut to 192.
    A192CbcHs384,
    /// AES-CBC with 256 bits and HMAC-SHA-512 cut to 256.
    A256CbcHs512,
}

use ContentEncryption::{A128CbcHs256, A128Gcm, A192CbcHs384, A192Gcm, A256CbcHs512, A256Gcm};

impl ContentEncryption {
    /// All of them.
    pub const ALL: [ContentEncryption; 6] = [A128Gcm, A192Gcm, A256Gcm, A128CbcHs256, A192CbcHs384, A256CbcHs512];

    /// The row of an `enc` value.
    pub fn named(name: &str) -> Option<ContentEncryption> {
        ContentEncryption::ALL.into_iter().find(|e| e.name() == name)
    }

    /// The `enc` header value.
    pub const fn name(self) -> &'static str {
        match self {
            A128Gcm => "A128GCM",
            A192Gcm => "A192GCM",
            A256Gcm => "A256GCM",
            A128CbcHs256 => "A128CBC-HS256",
            A192CbcHs384 => "A192CBC-HS384",
            A256CbcHs512 => "A256CBC-HS512",
        }
    }

    /// Length of its key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            A128Gcm => 16,
            A192Gcm => 24,
            A256Gcm | A128CbcHs256 => 32,
            A192CbcHs384 => 48,
            A256CbcHs512 => 64,
        }
    }

    /// Length of its initialisation vector in bytes.
    pub const fn iv_len(self) -> usize {
        if self.hash().is_some() { BLOCK } else { 12 }
    }

    /// Length of its authentication tag in bytes.
    pub const fn tag_len(self) -> usize {
        if self.hash().is_some() { self.key_len() / 2 } else { 16 }
    }

    const fn hash(self) -> Option<Hash> {
        match self {
            A128Gcm | A192Gcm | A256Gcm => None,
            A128CbcHs256 => Some(Hash::Sha256),
            A192CbcHs384 => Some(Hash::Sha384),
            A256CbcHs512 => Some(Hash::Sha512),
        }
    }

    /// Ciphertext and tag; none where key or vector have another length.
    pub(super) fn seal(self, key: &[u8], iv: &[u8], plaintext: &[u8], aad: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        if key.len() != self.key_len() || iv.len() != self.iv_len() {
            return None;
        }
        let Some(hash) = self.hash() else {
            let mut sealed = gcm(key, iv, Payload { msg: plaintext, aad }, true)?;
            let tag = sealed.split_off(sealed.len() - self.tag_len());
            return Some((sealed, tag));
        };
        let (mac, cipher) = key.split_at(key.len() / 2);
        let ciphertext = cbc_encrypt(cipher, iv, plaintext)?;
        let tag = self.tag(hash, mac, iv, &ciphertext, aad);
        Some((ciphertext, tag))
    }

    /// The plaintext; none where anything is wrong.
    pub(super) fn open(self, key: &[u8], iv: &[u8], ciphertext: &[u8], tag: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        if key.len() != self.key_len() || iv.len() != self.iv_len() || tag.len() != self.tag_len() {
            return None;
        }
        let Some(hash) = self.hash() else {
            return gcm(key, iv, Payload { msg: &[ciphertext, tag].concat(), aad }, false);
        };
        let (mac, cipher) = key.split_at(key.len() / 2);
        if self.tag(hash, mac, iv, ciphertext, aad) != tag {
            return None;
        }
        cbc_decrypt(cipher, iv, ciphertext)
    }

    /// RFC 7518 section 5.2.2.1, steps 4 and 5.
    fn tag(self, hash: Hash, key: &[u8], iv: &[u8], ciphertext: &[u8], aad: &[u8]) -> Vec<u8> {
        let bits = (aad.len() as u64 * 8).to_be_bytes();
        let mut tag = sign::hmac(hash, key, &[aad, iv, ciphertext, &bits].concat());
        tag.truncate(self.tag_len());
        tag
    }
}

fn gcm(key: &[u8], iv: &[u8], payload: Payload<'_, '_>, seals: bool) -> Option<Vec<u8>> {
    macro_rules! with {
        ($cipher:ty) => {{
            let (cipher, iv) = (<$cipher>::new_from_slice(key).ok()?, <[u8; 12]>::try_from(iv).ok()?.into());
            if seals { cipher.encrypt(&iv, payload).ok() } else { cipher.decrypt(&iv, payload).ok() }
        }};
    }
    match key.len() {
        16 => with!(Aes128Gcm),
        24 => with!(Aes192Gcm),
        32 => with!(Aes256Gcm),
        _ => None,
    }
}

/// AES on single blocks, by the length of its key.
pub(super) enum Blocks {
    Aes128(Box<Aes128>),
    Aes192(Box<Aes192>),
    Aes256(Box<Aes256>),
}

impl Blocks {
    /// None where the key has no length of AES.
    pub(super) fn new(key: &[u8]) -> Option<Blocks> {
        Some(match key.len() {
            16 => Blocks::Aes128(Box::new(Aes128::new_from_slice(key).ok()?)),
            24 => Blocks::Aes192(Box::new(Aes192::new_from_slice(key).ok()?)),
            32 => Blocks::Aes256(Box::new(Aes256::new_from_slice(key).ok()?)),
            _ => return None,
        })
    }

    /// One block encrypted.
    pub(super) fn encrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = Array::from(block);
        match self {
            Blocks::Aes128(aes) => aes.encrypt_block(&mut block),
            Blocks::Aes192(aes) => aes.encrypt_block(&mut block),
            Blocks::Aes256(aes) => aes.encrypt_block(&mut block),
        }
        block.into()
    }

    /// One block decrypted.
    pub(super) fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = Array::from(block);
        match self {
            Blocks::Aes128(aes) => aes.decrypt_block(&mut block),
            Blocks::Aes192(aes) => aes.decrypt_block(&mut block),
            Blocks::Aes256(aes) => aes.decrypt_block(&mut block),
        }
        block.into()
    }
}

fn xor(a: [u8; BLOCK], b: &[u8]) -> [u8; BLOCK] {
    let mut out = a;
    out.iter_mut().zip(b).for_each(|(byte, other)| *byte ^= other);
    out
}

/// Cipher block chaining with the padding of PKCS #7, which is always there.
fn cbc_encrypt(key: &[u8], iv: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
    let aes = Blocks::new(key)?;
    let padding = BLOCK - plaintext.len() % BLOCK;
    let mut padded = plaintext.to_vec();
    padded.resize(plaintext.len() + padding, padding as u8);
    let mut before: [u8; BLOCK] = iv.try_into().ok()?;
    let mut out = Vec::with_capacity(padded.len());
    for block in padded.chunks_exact(BLOCK) {
        before = aes.encrypt(xor(before, block));
        out.extend_from_slice(&before);
    }
    Some(out)
}

fn cbc_decrypt(key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
    let aes = Blocks::new(key)?;
    if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK) {
        return None;
    }
    let mut before = iv;
    let mut out = Vec::with_capacity(ciphertext.len());
    for block in ciphertext.chunks_exact(BLOCK) {
        out.extend_from_slice(&xor(aes.decrypt(block.try_into().ok()?), before));
        before = block;
    }
    let padding = usize::from(*out.last()?);
    let kept = out.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding))?;
    if out[kept..].iter().any(|byte| usize::from(*byte) != padding) {
        return None;
    }
    out.truncate(kept);
    Some(out)
}

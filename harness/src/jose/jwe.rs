//! How is a token encrypted, decrypted, and encrypted wrongly (RFC 7516)?
//!
//! `dir`, `ECDH-ES`, `RSA-OAEP` and `RSA-OAEP-256` with AES-GCM: enough to speak to servers that take encrypted
//! tokens, and to hand them forged ones. Nothing of a [`Jwe`] is checked before it is sent.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};
use p256::elliptic_curve::point::AffineCoordinates as _;
use rand::CryptoRng;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::forge::Part;
use super::key::{KeyError, SigningKey, VerifyingKey};
use super::verify::LONGEST_TOKEN;
use super::{base64url, json, jwk};

type Aes192Gcm = AesGcm<aes_gcm::aes::Aes192, aes_gcm::aead::consts::U12>;

/// A content encryption of RFC 7518 section 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEncryption {
    /// AES-GCM with a key of 128 bits.
    A128Gcm,
    /// AES-GCM with a key of 192 bits.
    A192Gcm,
    /// AES-GCM with a key of 256 bits.
    A256Gcm,
}

impl ContentEncryption {
    /// The row of an `enc` value.
    pub fn named(name: &str) -> Option<ContentEncryption> {
        [ContentEncryption::A128Gcm, ContentEncryption::A192Gcm, ContentEncryption::A256Gcm]
            .into_iter()
            .find(|e| e.name() == name)
    }

    /// The `enc` header value.
    pub const fn name(self) -> &'static str {
        match self {
            ContentEncryption::A128Gcm => "A128GCM",
            ContentEncryption::A192Gcm => "A192GCM",
            ContentEncryption::A256Gcm => "A256GCM",
        }
    }

    /// Length of its key in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            ContentEncryption::A128Gcm => 16,
            ContentEncryption::A192Gcm => 24,
            ContentEncryption::A256Gcm => 32,
        }
    }
}

/// How the content key reaches the recipient (RFC 7518 section 4).
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// `dir`: the content key is the shared secret, which must have its length.
    Direct(&'a [u8]),
    /// `RSA-OAEP` (SHA-1).
    RsaOaep(&'a VerifyingKey),
    /// `RSA-OAEP-256`.
    RsaOaep256(&'a VerifyingKey),
    /// `ECDH-ES` by direct key agreement, on P-256, P-384 or P-521.
    EcdhEs(&'a VerifyingKey),
}

impl Recipient<'_> {
    fn alg(&self) -> &'static str {
        match self {
            Recipient::Direct(_) => "dir",
            Recipient::RsaOaep(_) => "RSA-OAEP",
            Recipient::RsaOaep256(_) => "RSA-OAEP-256",
            Recipient::EcdhEs(_) => "ECDH-ES",
        }
    }
}

/// A compact JWE in the making: every segment may be replaced before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwe {
    /// The protected header.
    pub header: Part,
    /// The encrypted content key; empty for `dir` and `ECDH-ES`.
    pub encrypted_key: Vec<u8>,
    /// The initialisation vector, 12 bytes for AES-GCM.
    pub iv: Vec<u8>,
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The authentication tag, 16 bytes for AES-GCM.
    pub tag: Vec<u8>,
}

impl Jwe {
    /// The compact serialization (RFC 7516 section 7.1).
    pub fn token(&self) -> String {
        let b = |bytes: &[u8]| base64url::encode(bytes);
        let header = base64url::encode(self.header.bytes());
        format!("{header}.{}.{}.{}.{}", b(&self.encrypted_key), b(&self.iv), b(&self.ciphertext), b(&self.tag))
    }
}

/// Why a JWE could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JweRefusal {
    /// Not five segments of base64url, or too long.
    #[error("not a compact JWE: {0}")]
    Form(&'static str),
    /// The header is no object with unique members, or asks for what is not understood.
    #[error("the header is not usable: {0}")]
    Header(String),
    /// `alg` and key do not go together.
    #[error("alg {0} cannot be decrypted with the key")]
    Key(String),
    /// Key, ciphertext or tag are wrong; which of them is not said.
    #[error("the content cannot be decrypted")]
    Content,
}

fn mismatch(recipient: &Recipient<'_>, needs: &str, found: String) -> KeyError {
    KeyError::Mismatch { algorithm: recipient.alg().to_owned(), needs: needs.to_owned(), found }
}

/// Encrypts. `alg`, `enc` and, for key agreement, `epk` are set in the header, whose other members stay.
pub fn encrypt(
    header: &Value,
    plaintext: &[u8],
    content: ContentEncryption,
    recipient: Recipient<'_>,
    rng: &mut dyn CryptoRng,
) -> Result<Jwe, KeyError> {
    let mut header = Part::from_value(header);
    header.set_text("alg", &Value::from(recipient.alg()).to_string());
    header.set_text("enc", &Value::from(content.name()).to_string());
    let mut key = vec![0; content.key_len()];
    rng.fill_bytes(&mut key);
    let library = |e: rsa::Error| KeyError::Library(e.to_string());
    let encrypted_key = match recipient {
        Recipient::Direct(secret) if secret.len() == content.key_len() => {
            key = secret.to_vec();
            Vec::new()
        }
        Recipient::Direct(secret) => {
            return Err(mismatch(
                &recipient,
                "a secret of the content key's length",
                format!("{} bytes", secret.len()),
            ));
        }
        Recipient::RsaOaep(VerifyingKey::Rsa(public)) => {
            public.oaep_encrypt_with_rng::<Sha1, _>(rng, &key).map_err(library)?
        }
        Recipient::RsaOaep256(VerifyingKey::Rsa(public)) => {
            public.oaep_encrypt_with_rng::<Sha256, _>(rng, &key).map_err(library)?
        }
        Recipient::EcdhEs(public) => {
            let own = public.default_algorithm();
            let ephemeral = SigningKey::generate(own, rng)?;
            let shared = agree(&ephemeral, public)
                .ok_or_else(|| mismatch(&recipient, "a P-256, P-384 or P-521 key", public.kind()))?;
            header.set_text("epk", &jwk::public(&ephemeral.verifying_key()).to_string());
            let info = |name: &str| party(&header, name);
            key = concat_kdf(&shared, content.name(), &info("apu"), &info("apv"), content.key_len());
            Vec::new()
        }
        Recipient::RsaOaep(other) | Recipient::RsaOaep256(other) => {
            return Err(mismatch(&recipient, "an RSA key", other.kind()));
        }
    };
    let mut iv = vec![0; 12];
    rng.fill_bytes(&mut iv);
    let aad = base64url::encode(header.bytes());
    let mut ciphertext = seal(&key, &iv, plaintext, aad.as_bytes())
        .ok_or_else(|| KeyError::Library("AES-GCM refused to encrypt".to_owned()))?;
    let tag = ciphertext.split_off(ciphertext.len() - 16);
    Ok(Jwe { header, encrypted_key, iv, ciphertext, tag })
}

/// Decrypts a compact JWE, by the strictest reading; gives its header and plaintext.
pub fn decrypt(token: &str, key: &SigningKey) -> Result<(serde_json::Map<String, Value>, Vec<u8>), JweRefusal> {
    if token.len() > LONGEST_TOKEN {
        return Err(JweRefusal::Form("longer than 1 MiB"));
    }
    let segments: Vec<&str> = token.splitn(7, '.').collect();
    let [header_text, encrypted_key, iv, ciphertext, tag] = segments[..] else {
        return Err(JweRefusal::Form("not five segments"));
    };
    let decode = |text: &str| base64url::decode(text).ok_or(JweRefusal::Form("not base64url"));
    let (header, encrypted_key) = (decode(header_text)?, decode(encrypted_key)?);
    let (iv, ciphertext, tag) = (decode(iv)?, decode(ciphertext)?, decode(tag)?);
    let header = json::object(&header).map_err(JweRefusal::Header)?;
    let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    for extension in ["crit", "zip"] {
        if header.contains_key(extension) {
            return Err(JweRefusal::Header(format!("{extension} is not understood")));
        }
    }
    let content = ContentEncryption::named(&text("enc"))
        .ok_or_else(|| JweRefusal::Header(format!("enc {} is not understood", text("enc"))))?;
    let alg = text("alg");
    let wrong = || JweRefusal::Key(alg.clone());
    let empty = || if encrypted_key.is_empty() { Ok(()) } else { Err(JweRefusal::Content) };
    let content_key = match (alg.as_str(), key) {
        ("dir", SigningKey::Secret(secret)) => {
            empty()?;
            secret.clone()
        }
        ("RSA-OAEP", SigningKey::Rsa(key)) => {
            key.oaep_decrypt::<Sha1>(&encrypted_key).map_err(|_| JweRefusal::Content)?
        }
        ("RSA-OAEP-256", SigningKey::Rsa(key)) => {
            key.oaep_decrypt::<Sha256>(&encrypted_key).map_err(|_| JweRefusal::Content)?
        }
        ("ECDH-ES", SigningKey::P256(_) | SigningKey::P384(_) | SigningKey::P521(_)) => {
            empty()?;
            // A point that is not on the curve is refused here.
            let peer = header.get("epk").and_then(|epk| jwk::verifying_key(epk).ok()).ok_or_else(wrong)?;
            let shared = agree(key, &peer).ok_or_else(wrong)?;
            let part = Part::from_value(&Value::Object(header.clone()));
            concat_kdf(&shared, content.name(), &party(&part, "apu"), &party(&part, "apv"), content.key_len())
        }
        _ => return Err(wrong()),
    };
    if content_key.len() != content.key_len() || iv.len() != 12 || tag.len() != 16 {
        return Err(JweRefusal::Content);
    }
    let plaintext = open(&content_key, &iv, &[ciphertext, tag].concat(), header_text.as_bytes());
    plaintext.map(|plaintext| (header, plaintext)).ok_or(JweRefusal::Content)
}

/// The decoded `apu` or `apv` of a header (RFC 7518 section 4.6.1).
fn party(header: &Part, name: &str) -> Vec<u8> {
    header.get(name).and_then(|v| v.as_str().and_then(base64url::decode)).unwrap_or_default()
}

/// The x coordinate of the shared point; none where the keys are not on one Weierstrass curve.
fn agree(private: &SigningKey, public: &VerifyingKey) -> Option<Vec<u8>> {
    macro_rules! shared {
        ($curve:ident, $private:expr, $public:expr) => {{
            let point = $curve::PublicKey::from(**$public).to_projective() * **$private.as_nonzero_scalar();
            Some(point.to_affine().x().to_vec())
        }};
    }
    match (private, public) {
        (SigningKey::P256(private), VerifyingKey::P256(public)) => shared!(p256, private, public),
        (SigningKey::P384(private), VerifyingKey::P384(public)) => shared!(p384, private, public),
        (SigningKey::P521(private), VerifyingKey::P521(public)) => shared!(p521, private, public),
        _ => None,
    }
}

/// Concat KDF of SP 800-56A with SHA-256 and the inputs of RFC 7518 section 4.6.2.
fn concat_kdf(shared: &[u8], algorithm: &str, apu: &[u8], apv: &[u8], len: usize) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let info = [sized(algorithm.as_bytes()), sized(apu), sized(apv), (len as u32 * 8).to_be_bytes().to_vec()].concat();
    let mut out = Vec::new();
    for round in 1u32.. {
        out.extend(Sha256::new().chain_update(round.to_be_bytes()).chain_update(shared).chain_update(&info).finalize());
        if out.len() >= len {
            break;
        }
    }
    out.truncate(len);
    out
}

macro_rules! with_cipher {
    ($key:expr, $iv:expr, $payload:expr, $action:ident) => {{
        let iv: [u8; 12] = $iv.try_into().ok()?;
        match $key.len() {
            16 => Aes128Gcm::new_from_slice($key).ok()?.$action(&iv.into(), $payload).ok(),
            24 => Aes192Gcm::new_from_slice($key).ok()?.$action(&iv.into(), $payload).ok(),
            32 => Aes256Gcm::new_from_slice($key).ok()?.$action(&iv.into(), $payload).ok(),
            _ => None,
        }
    }};
}

fn seal(key: &[u8], iv: &[u8], plaintext: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    with_cipher!(key, iv, Payload { msg: plaintext, aad }, encrypt)
}

fn open(key: &[u8], iv: &[u8], sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    with_cipher!(key, iv, Payload { msg: sealed, aad }, decrypt)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::algorithm;

    #[test]
    fn what_is_encrypted_can_be_decrypted_and_a_changed_byte_cannot() {
        let mut rng = rand::rng();
        let rsa = SigningKey::generate_rsa(2048, &mut rng).unwrap();
        let curves: Vec<SigningKey> = ["ES256", "ES384", "ES512"]
            .map(|name| SigningKey::generate(algorithm(name).unwrap(), &mut rng).unwrap())
            .into();
        for content in [ContentEncryption::A128Gcm, ContentEncryption::A192Gcm, ContentEncryption::A256Gcm] {
            let secret = SigningKey::secret(vec![5; content.key_len()]);
            let (rsa_public, direct) = (rsa.verifying_key(), vec![5; content.key_len()]);
            let publics: Vec<VerifyingKey> = curves.iter().map(SigningKey::verifying_key).collect();
            let mut cases = vec![
                (Recipient::Direct(&direct), &secret),
                (Recipient::RsaOaep(&rsa_public), &rsa),
                (Recipient::RsaOaep256(&rsa_public), &rsa),
            ];
            cases.extend(publics.iter().map(Recipient::EcdhEs).zip(&curves));
            for (recipient, private) in cases {
                let header = json!({"cty": "JWT", "apu": "QWxpY2U", "apv": "Qm9i"});
                let jwe = encrypt(&header, b"a.b.c", content, recipient, &mut rng).unwrap();
                let (seen, plaintext) = decrypt(&jwe.token(), private).unwrap();
                assert_eq!((seen["alg"].as_str().unwrap(), plaintext.as_slice()), (recipient.alg(), &b"a.b.c"[..]));
                for change in [
                    Jwe { tag: jwe.tag[..15].to_vec(), ..jwe.clone() },
                    Jwe { ciphertext: b"xyzzy".to_vec(), ..jwe.clone() },
                    Jwe { encrypted_key: vec![1], ..jwe.clone() },
                ] {
                    assert_eq!(decrypt(&change.token(), private), Err(JweRefusal::Content));
                }
                let mut other = jwe;
                other.header.set_text("x", "1");
                assert_eq!(decrypt(&other.token(), private), Err(JweRefusal::Content));
            }
        }
    }

    #[test]
    fn the_agreed_key_is_that_of_rfc_7518_appendix_c() {
        let alice = SigningKey::from_jwk(&json!({"kty": "EC", "crv": "P-256",
            "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
            "d": "0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo"}))
        .unwrap();
        let bob = VerifyingKey::from_jwk(&json!({"kty": "EC", "crv": "P-256",
            "x": "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ", "y": "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck"}))
        .unwrap();
        let key = concat_kdf(&agree(&alice, &bob).unwrap(), "A128GCM", b"Alice", b"Bob", 16);
        assert_eq!(base64url::encode(key), "VqqN6vgjbSBcIijNcacQGg");
    }
}

//! How is a token encrypted, decrypted, and encrypted wrongly (RFC 7516)?
//!
//! Every key management of RFC 7518 section 4 but those of keys of 192 bits under a password, and all of its content
//! encryption: enough to read what servers issue, and to hand them what they must not take. Nothing of a [`Jwe`] is checked
//! before it is sent.
//!
//! - [`encrypt`] for a [`Recipient`]; [`enclose`] for whoever has the content key already.
//! - [`decrypt`], by the strictest reading.
//! - [`off_curve`] and [`small_order`]: ephemeral keys that are none.

mod content;
mod curve;
mod wrap;

use p256::elliptic_curve::point::AffineCoordinates as _;
use rand::CryptoRng;
use serde_json::Value;
use sha1::Sha1;
use sha2::Sha256;

pub use content::ContentEncryption;
pub use curve::{Stray, off_curve, small_order};
use wrap::{concat_kdf, pbkdf2};

use super::forge::Part;
use super::key::{KeyError, SigningKey, VerifyingKey};
use super::verify::LONGEST_TOKEN;
use super::{base64url, json, jwk};

/// How the content key reaches the recipient (RFC 7518 section 4).
#[derive(Clone, Copy, Debug)]
pub enum Recipient<'a> {
    /// `dir`: the content key is the shared secret, which must have its length.
    Direct(&'a [u8]),
    /// `RSA1_5`.
    Rsa15(&'a VerifyingKey),
    /// `RSA-OAEP` (SHA-1).
    RsaOaep(&'a VerifyingKey),
    /// `RSA-OAEP-256`.
    RsaOaep256(&'a VerifyingKey),
    /// `ECDH-ES` by direct key agreement, on P-256, P-384 or P-521.
    EcdhEs(&'a VerifyingKey),
    /// `ECDH-ES+A256KW` likewise.
    EcdhEsA256Kw(&'a VerifyingKey),
    /// `A128KW`, `A192KW` or `A256KW`, by the secret's length.
    Kw(&'a [u8]),
    /// `A128GCMKW`, `A192GCMKW` or `A256GCMKW`, by the secret's length.
    GcmKw(&'a [u8]),
    /// `PBES2-HS256+A128KW` with a password and its count.
    Password(&'a [u8], u32),
}

/// Names of key management with wrapping, by the length of the wrapping key.
const WRAPS: [(usize, &str, &str, &str); 3] = [
    (16, "A128KW", "A128GCMKW", "ECDH-ES+A128KW"),
    (24, "A192KW", "A192GCMKW", "ECDH-ES+A192KW"),
    (32, "A256KW", "A256GCMKW", "ECDH-ES+A256KW"),
];

const PASSWORD: &str = "PBES2-HS256+A128KW";

/// The highest count that is worked through for a token that comes in.
const MOST_ROUNDS: u64 = 1_000_000;

impl Recipient<'_> {
    /// The `alg` header value.
    pub fn alg(&self) -> &'static str {
        let row = |len: usize| WRAPS.iter().find(|row| row.0 == len).unwrap_or(&WRAPS[0]);
        match self {
            Recipient::Direct(_) => "dir",
            Recipient::Rsa15(_) => "RSA1_5",
            Recipient::RsaOaep(_) => "RSA-OAEP",
            Recipient::RsaOaep256(_) => "RSA-OAEP-256",
            Recipient::EcdhEs(_) => "ECDH-ES",
            Recipient::EcdhEsA256Kw(_) => "ECDH-ES+A256KW",
            Recipient::Kw(secret) => row(secret.len()).1,
            Recipient::GcmKw(secret) => row(secret.len()).2,
            Recipient::Password(..) => PASSWORD,
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
    /// A token in parts. None where it is not five segments of base64url, the first of which is an object.
    pub fn of(token: &str) -> Option<Jwe> {
        let segments: Vec<Vec<u8>> = token.split('.').map(base64url::decode).collect::<Option<_>>()?;
        let [header, encrypted_key, iv, ciphertext, tag] = <[Vec<u8>; 5]>::try_from(segments).ok()?;
        let header @ Part::Members(_) = Part::from_bytes(&header) else { return None };
        Some(Jwe { header, encrypted_key, iv, ciphertext, tag })
    }

    /// The compact serialization (RFC 7516 section 7.1).
    pub fn token(&self) -> String {
        let b = |bytes: &[u8]| base64url::encode(bytes);
        let header = base64url::encode(self.header.bytes());
        format!("{header}.{}.{}.{}.{}", b(&self.encrypted_key), b(&self.iv), b(&self.ciphertext), b(&self.tag))
    }

    /// A member of the header that is a text, or nothing.
    pub fn text(&self, name: &str) -> String {
        self.header.get(name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
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

/// Encrypts. `alg`, `enc` and what the key management needs (`epk`, `p2s`, `iv`) are set in the header, whose other members
/// stay.
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
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let (mut key, salt) = (random(content.key_len()), random(16));
    let library = |e: rsa::Error| KeyError::Library(e.to_string());
    let secret_of = |len: usize| format!("a secret of {len} bytes");
    let encrypted_key = match recipient {
        Recipient::Direct(secret) if secret.len() == content.key_len() => {
            key = secret.to_vec();
            Vec::new()
        }
        Recipient::Direct(secret) => {
            return Err(mismatch(&recipient, "a secret of the content key's length", secret_of(secret.len())));
        }
        Recipient::Rsa15(VerifyingKey::Rsa(public)) => public.pkcs1v15_encrypt_with_rng(rng, &key).map_err(library)?,
        Recipient::RsaOaep(VerifyingKey::Rsa(public)) => {
            public.oaep_encrypt_with_rng::<Sha1, _>(rng, &key).map_err(library)?
        }
        Recipient::RsaOaep256(VerifyingKey::Rsa(public)) => {
            public.oaep_encrypt_with_rng::<Sha256, _>(rng, &key).map_err(library)?
        }
        Recipient::EcdhEs(public) | Recipient::EcdhEsA256Kw(public) => {
            let ephemeral = SigningKey::generate(public.default_algorithm(), rng)?;
            let shared = agree(&ephemeral, public)
                .ok_or_else(|| mismatch(&recipient, "a P-256, P-384 or P-521 key", public.kind()))?;
            header.set_text("epk", &jwk::public(&ephemeral.verifying_key()).to_string());
            let info = |name: &str| party(&header, name);
            let derived = |alg: &str, len: usize| concat_kdf(&shared, alg, &info("apu"), &info("apv"), len);
            if matches!(recipient, Recipient::EcdhEs(_)) {
                key = derived(content.name(), content.key_len());
                Vec::new()
            } else {
                wrap::wrap(&derived(recipient.alg(), 32), &key).unwrap_or_default()
            }
        }
        Recipient::Kw(kek) => wrap::wrap(kek, &key)
            .ok_or_else(|| mismatch(&recipient, "a secret of 16, 24 or 32 bytes", secret_of(kek.len())))?,
        Recipient::GcmKw(kek) => {
            let (iv, gcm) = (&salt[..12], gcm_of(kek.len()));
            let (wrapped, tag) = gcm
                .and_then(|gcm| gcm.seal(kek, iv, &key, b""))
                .ok_or_else(|| mismatch(&recipient, "a secret of 16, 24 or 32 bytes", secret_of(kek.len())))?;
            for (name, bytes) in [("iv", iv), ("tag", &tag)] {
                header.set_text(name, &Value::from(base64url::encode(bytes)).to_string());
            }
            wrapped
        }
        Recipient::Password(password, count) => {
            header.set_text("p2s", &Value::from(base64url::encode(&salt)).to_string());
            header.set_text("p2c", &count.to_string());
            wrap::wrap(&pbkdf2(password, &whole_salt(&salt), count), &key).unwrap_or_default()
        }
        Recipient::Rsa15(other) | Recipient::RsaOaep(other) | Recipient::RsaOaep256(other) => {
            return Err(mismatch(&recipient, "an RSA key", other.kind()));
        }
    };
    enclose(header, plaintext, content, (&key, encrypted_key), rng)
}

/// Encrypts with a content key that the recipient comes by in whatever way the header says.
pub fn enclose(
    header: Part,
    plaintext: &[u8],
    content: ContentEncryption,
    (key, encrypted_key): (&[u8], Vec<u8>),
    rng: &mut dyn CryptoRng,
) -> Result<Jwe, KeyError> {
    let mut iv = vec![0; content.iv_len()];
    rng.fill_bytes(&mut iv);
    let aad = base64url::encode(header.bytes());
    let (ciphertext, tag) = content
        .seal(key, &iv, plaintext, aad.as_bytes())
        .ok_or_else(|| KeyError::Library(format!("{} needs a key of {} bytes", content.name(), content.key_len())))?;
    Ok(Jwe { header, encrypted_key, iv, ciphertext, tag })
}

/// The content key that direct agreement on this shared secret gives (`alg` ECDH-ES, no `apu` and `apv`).
pub fn agreed_key(shared: &[u8], content: ContentEncryption) -> Vec<u8> {
    concat_kdf(shared, content.name(), b"", b"", content.key_len())
}

/// Decrypts a compact JWE, by the strictest reading; gives its header and plaintext. Where `alg` is given, it is the one
/// algorithm of the key, which the header may only confirm.
pub fn decrypt(
    token: &str,
    key: &SigningKey,
    alg: Option<&str>,
) -> Result<(serde_json::Map<String, Value>, Vec<u8>), JweRefusal> {
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
    if alg.is_some_and(|alg| alg != text("alg")) {
        return Err(JweRefusal::Key(text("alg")));
    }
    let content_key = content_key(&header, key, content, &encrypted_key)?;
    let plaintext = content.open(&content_key, &iv, &ciphertext, &tag, header_text.as_bytes());
    plaintext.map(|plaintext| (header, plaintext)).ok_or(JweRefusal::Content)
}

fn content_key(
    header: &serde_json::Map<String, Value>,
    key: &SigningKey,
    content: ContentEncryption,
    encrypted_key: &[u8],
) -> Result<Vec<u8>, JweRefusal> {
    let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = |name: &str| base64url::decode(text(name)).filter(|bytes| !bytes.is_empty());
    let alg = text("alg");
    let wrong = || JweRefusal::Key(alg.to_owned());
    let (of, wraps) = (JweRefusal::Content, WRAPS.iter().find(|row| [row.1, row.2, row.3].contains(&alg)));
    let part = || Part::from_value(&Value::Object(header.clone()));
    // A point that is not on the curve is refused here.
    let agreed = |alg: &str, len: usize| {
        let peer = header.get("epk").and_then(|epk| jwk::verifying_key(epk).ok()).ok_or_else(wrong)?;
        let shared = agree(key, &peer).ok_or_else(wrong)?;
        Ok(concat_kdf(&shared, alg, &party(&part(), "apu"), &party(&part(), "apv"), len))
    };
    match (alg, key, wraps) {
        ("dir", SigningKey::Secret(secret), _) if encrypted_key.is_empty() => Ok(secret.clone()),
        ("ECDH-ES", SigningKey::P256(_) | SigningKey::P384(_) | SigningKey::P521(_), _) if encrypted_key.is_empty() => {
            agreed(content.name(), content.key_len())
        }
        ("dir", SigningKey::Secret(_), _) | ("ECDH-ES", _, _) if !encrypted_key.is_empty() => Err(of),
        ("RSA1_5", SigningKey::Rsa(key), _) => key.pkcs1v15_decrypt(encrypted_key).map_err(|_| of),
        ("RSA-OAEP", SigningKey::Rsa(key), _) => key.oaep_decrypt::<Sha1>(encrypted_key).map_err(|_| of),
        ("RSA-OAEP-256", SigningKey::Rsa(key), _) => key.oaep_decrypt::<Sha256>(encrypted_key).map_err(|_| of),
        (_, SigningKey::Secret(secret), Some(row)) if alg == row.1 && secret.len() == row.0 => {
            wrap::unwrap(secret, encrypted_key).ok_or(of)
        }
        (_, SigningKey::Secret(secret), Some(row)) if alg == row.2 && secret.len() == row.0 => {
            let (iv, tag) = (bytes("iv").unwrap_or_default(), bytes("tag").unwrap_or_default());
            gcm_of(row.0).and_then(|gcm| gcm.open(secret, &iv, encrypted_key, &tag, b"")).ok_or(of)
        }
        (_, SigningKey::P256(_) | SigningKey::P384(_) | SigningKey::P521(_), Some(row)) if alg == row.3 => {
            wrap::unwrap(&agreed(alg, row.0)?, encrypted_key).ok_or(of)
        }
        (PASSWORD, SigningKey::Secret(password), _) => {
            let count = header.get("p2c").and_then(Value::as_u64).filter(|count| (1..=MOST_ROUNDS).contains(count));
            let (salt, count) = bytes("p2s").zip(count).ok_or_else(wrong)?;
            wrap::unwrap(&pbkdf2(password, &whole_salt(&salt), count as u32), encrypted_key).ok_or(of)
        }
        _ => Err(wrong()),
    }
}

/// The salt of RFC 7518 section 4.8.1.1.
fn whole_salt(salt: &[u8]) -> Vec<u8> {
    [PASSWORD.as_bytes(), &[0], salt].concat()
}

/// AES-GCM with a key of this length.
fn gcm_of(len: usize) -> Option<ContentEncryption> {
    use ContentEncryption::{A128Gcm, A192Gcm, A256Gcm};
    [A128Gcm, A192Gcm, A256Gcm].into_iter().find(|gcm| gcm.key_len() == len)
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
        let keks: Vec<SigningKey> = [16, 24, 32].map(|len| SigningKey::secret(vec![6; len])).into();
        let kek = [6; 32];
        for content in ContentEncryption::ALL {
            let secret = SigningKey::secret(vec![5; content.key_len()]);
            let (rsa_public, direct) = (rsa.verifying_key(), vec![5; content.key_len()]);
            let publics: Vec<VerifyingKey> = curves.iter().map(SigningKey::verifying_key).collect();
            let mut cases = vec![
                (Recipient::Direct(&direct), &secret),
                (Recipient::RsaOaep(&rsa_public), &rsa),
                (Recipient::RsaOaep256(&rsa_public), &rsa),
                (Recipient::Rsa15(&rsa_public), &rsa),
                (Recipient::Password(&kek[..16], 1000), &keks[0]),
            ];
            cases.extend(publics.iter().map(Recipient::EcdhEsA256Kw).zip(&curves));
            for (len, private) in [16, 24, 32].into_iter().zip(&keks) {
                cases.extend([(Recipient::Kw(&kek[..len]), private), (Recipient::GcmKw(&kek[..len]), private)]);
            }
            cases.extend(publics.iter().map(Recipient::EcdhEs).zip(&curves));
            for (recipient, private) in cases {
                let header = json!({"cty": "JWT", "apu": "QWxpY2U", "apv": "Qm9i"});
                let jwe = encrypt(&header, b"a.b.c", content, recipient, &mut rng).unwrap();
                let (seen, plaintext) = decrypt(&jwe.token(), private, Some(recipient.alg())).unwrap();
                assert_eq!((seen["alg"].as_str().unwrap(), plaintext.as_slice()), (recipient.alg(), &b"a.b.c"[..]));
                for change in [
                    Jwe { tag: jwe.tag[..15].to_vec(), ..jwe.clone() },
                    Jwe { ciphertext: b"xyzzy".to_vec(), ..jwe.clone() },
                    Jwe { encrypted_key: vec![1], ..jwe.clone() },
                ] {
                    assert_eq!(decrypt(&change.token(), private, None), Err(JweRefusal::Content));
                }
                assert_eq!(Jwe::of(&jwe.token()), Some(jwe.clone()));
                let other_alg = JweRefusal::Key(recipient.alg().to_owned());
                assert_eq!(decrypt(&jwe.token(), private, Some("other")), Err(other_alg));
                let mut other = jwe;
                other.header.set_text("x", "1");
                assert_eq!(decrypt(&other.token(), private, None), Err(JweRefusal::Content));
            }
        }
    }

    #[test]
    fn keys_are_wrapped_as_in_rfc_3394_and_derived_as_in_rfc_7914() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let (kek, key) = (hex("000102030405060708090a0b0c0d0e0f"), hex("00112233445566778899aabbccddeeff"));
        let wrapped = hex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
        assert_eq!(wrap::wrap(&kek, &key), Some(wrapped.clone()));
        assert_eq!(wrap::unwrap(&kek, &wrapped), Some(key));
        assert_eq!(wrap::unwrap(&kek, &wrapped[..16]), None);
        assert_eq!(pbkdf2(b"passwd", b"salt", 1), hex("55ac046e56e3089fec1691c22544b605"));
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

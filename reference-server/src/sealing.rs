//! How are tokens hidden from those who carry them? A signed token inside an encrypted one (RFC 7516, RFC 7519 section 11.2).
//!
//! One key, one `alg`, and A256GCM: a header may only confirm it. `zip` is refused, as is everything of PBES2, so that nothing in a token
//! decides how much work or memory it costs. Every failure is the same `None`, after the same work.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::encoding::{AsBigEndian, EcPublicKeyUncompressedBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::material::{Duty, Material};
use crate::token::{Text, object};

/// How the content key reaches the recipient (RFC 7518 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
pub enum Encryption {
    /// The content key is a shared secret of 32 bytes.
    #[value(name = "dir")]
    #[serde(rename = "dir")]
    Direct,
    /// Agreed with an ephemeral key on P-256.
    #[value(name = "ECDH-ES")]
    #[serde(rename = "ECDH-ES")]
    EcdhEs,
    /// Encrypted with RSA.
    #[value(name = "RSA-OAEP-256")]
    #[serde(rename = "RSA-OAEP-256")]
    RsaOaep256,
}

impl Encryption {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Direct, Self::EcdhEs, Self::RsaOaep256];

    /// The `alg` header value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "dir",
            Self::EcdhEs => "ECDH-ES",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }

    /// The published key, by the file in `keys/`, and its identifier.
    fn development(self) -> (&'static str, &'static str) {
        match self {
            Self::Direct => (include_str!("../keys/dir-development-only.secret"), "dev-enc-dir"),
            Self::EcdhEs => (include_str!("../keys/ecdh-es-development-only.pem"), "dev-enc-ecdh-es"),
            Self::RsaOaep256 => (include_str!("../keys/rsa-oaep-256-development-only.pem"), "dev-enc-rsa-oaep-256"),
        }
    }
}

const ENC: &str = "A256GCM";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The longest token that is decrypted, in bytes: RSA-8192 and a page of claims are far below.
const TOKEN_BYTES: usize = 32 * 1024;
/// The longest header, in bytes of base64url; ours have about 250.
const HEADER_BYTES: usize = 2 * 1024;

enum Private {
    Direct([u8; KEY_BYTES]),
    EcdhEs(Box<agreement::PrivateKey>, Vec<u8>),
    RsaOaep256(Box<OaepPrivateDecryptingKey>, Box<OaepPublicEncryptingKey>),
}

/// Encrypts what is issued, and decrypts what comes back.
pub(crate) struct Sealer {
    alg: Encryption,
    kid: String,
    private: Private,
    /// The key as PKCS#8 in DER, or the secret. Only the faults need it.
    pub(crate) material: Vec<u8>,
    /// The public half as an RFC 7517 object; `None` for a secret.
    pub(crate) jwk: Option<Value>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.alg.name(), self.kid)
    }
}

/// The members of a header that are read.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Text<'a>,
    #[serde(borrow)]
    enc: Text<'a>,
    #[serde(borrow, default)]
    kid: Option<Text<'a>>,
    #[serde(default)]
    epk: Option<Epk>,
    #[serde(borrow, default)]
    apu: Option<Text<'a>>,
    #[serde(borrow, default)]
    apv: Option<Text<'a>>,
    /// Compression makes a small token large, and tells about what is hidden.
    #[serde(default, deserialize_with = "there")]
    zip: bool,
    /// No extension is understood.
    #[serde(default, deserialize_with = "there")]
    crit: bool,
}

/// True for a member that is there, whatever its value: `null` is a value too.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

#[derive(Deserialize)]
struct Epk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl Epk {
    /// The point in its uncompressed form; that it is on the curve is for the crypto library to see.
    fn point(&self) -> Option<Vec<u8>> {
        if self.kty != "EC" || self.crv != "P-256" {
            return None;
        }
        let coordinate = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32);
        Some([&[4][..], &coordinate(&self.x)?, &coordinate(&self.y)?].concat())
    }
}

/// The Concat KDF of RFC 7518 section 4.6.2 for a key of 256 bits: one round of SHA-256.
pub(crate) fn concat_kdf(algorithm: &str, shared: &[u8], apu: &[u8], apv: &[u8]) -> [u8; KEY_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(&1_u32.to_be_bytes());
    context.update(shared);
    for part in [algorithm.as_bytes(), apu, apv] {
        context.update(&(part.len() as u32).to_be_bytes());
        context.update(part);
    }
    context.update(&(KEY_BYTES as u32 * 8).to_be_bytes());
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(context.finish().as_ref());
    key
}

impl Sealer {
    /// From a configured key, or with the published development key. The message says what is wrong with it.
    pub(crate) fn new(alg: Encryption, key: Option<&str>) -> Result<Self, String> {
        let (text, kid) = match key {
            Some(text) => (text, crate::token::random_id()),
            None => {
                let (text, kid) = alg.development();
                (text, kid.to_owned())
            }
        };
        let wrong = |why: &str| format!("the key does not serve {}: {why}", alg.name());
        let material = Material::of_text(text, alg == Encryption::Direct, Duty::Hide).map_err(|why| wrong(&why))?;
        let bytes = match &material {
            Material::Secret(secret) => secret.clone(),
            Material::Pkcs8(der) => der.clone(),
            _ => Vec::new(),
        };
        let (private, mut jwk) = match (alg, material) {
            (Encryption::Direct, Material::Secret(secret)) => {
                let length = secret.len();
                let secret =
                    secret.try_into().map_err(|_| wrong(&format!("expected {KEY_BYTES} bytes, saw {length}")))?;
                (Private::Direct(secret), None)
            }
            (Encryption::EcdhEs, Material::Pkcs8(der)) => {
                let key = agreement::PrivateKey::from_private_key_der(&ECDH_P256, &der)
                    .map_err(|_| wrong("expected an EC key on P-256"))?;
                let point = key.compute_public_key().map_err(|_| wrong("it has no public half"))?;
                let (x, y) = point.as_ref()[1..].split_at(32);
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
                (Private::EcdhEs(Box::new(key), point.as_ref().to_vec()), Some(jwk))
            }
            (Encryption::RsaOaep256, Material::Pkcs8(der)) => {
                let rejected = |_| wrong("expected an RSA key of 2048 bits or more");
                let key = PrivateDecryptingKey::from_pkcs8(&der).map_err(rejected)?;
                let public = key.public_key();
                let pair = RsaKeyPair::from_pkcs8(&der).map_err(rejected)?;
                let (n, e) = crate::der::rsa_public(pair.public_key().as_ref()).ok_or_else(|| wrong("its modulus"))?;
                let jwk = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)});
                let failed = |_| wrong("the crypto library refuses it");
                let private = OaepPrivateDecryptingKey::new(key).map_err(failed)?;
                let public = OaepPublicEncryptingKey::new(public).map_err(failed)?;
                (Private::RsaOaep256(Box::new(private), Box::new(public)), Some(jwk))
            }
            _ => return Err(wrong("it is of another type")),
        };
        if let Some(jwk) = &mut jwk {
            jwk["use"] = json!("enc");
            jwk["alg"] = json!(alg.name());
            jwk["kid"] = json!(kid);
        }
        Ok(Self { alg, kid, private, material: bytes, jwk })
    }

    /// How the content key reaches us.
    pub(crate) fn alg(&self) -> Encryption {
        self.alg
    }

    /// Wraps a signed token; `None` only where the crypto library runs out of randomness or memory.
    pub(crate) fn seal(&self, token: &str) -> Option<String> {
        let mut header = json!({"alg": self.alg.name(), "enc": ENC, "cty": "JWT", "kid": self.kid});
        let mut encrypted_key = Vec::new();
        let key = match &self.private {
            Private::Direct(secret) => *secret,
            Private::EcdhEs(_, ours) => {
                let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).ok()?;
                let public = ephemeral.compute_public_key().ok()?;
                let point = AsBigEndian::<EcPublicKeyUncompressedBin<'_>>::as_be_bytes(&public).ok()?;
                let (x, y) = point.as_ref()[1..].split_at(32);
                header["epk"] = json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
                let peer = UnparsedPublicKey::new(&ECDH_P256, ours);
                agreement::agree_ephemeral(ephemeral, peer, (), |shared| Ok(concat_kdf(ENC, shared, b"", b""))).ok()?
            }
            Private::RsaOaep256(_, public) => {
                let key: [u8; KEY_BYTES] = rand::random();
                encrypted_key = vec![0; public.ciphertext_size()];
                public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut encrypted_key, None).ok()?;
                key
            }
        };
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let mut content = token.as_bytes().to_vec();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
        let tag = cipher
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header.as_bytes()), &mut content)
            .ok()?;
        let mut out = header;
        for part in [&encrypted_key[..], &nonce, &content, tag.as_ref()] {
            out.push('.');
            URL_SAFE_NO_PAD.encode_string(part, &mut out);
        }
        Some(out)
    }

    /// The signed token inside; `None` for whatever is not ours.
    pub(crate) fn unseal(&self, text: &str) -> Option<String> {
        if text.len() > TOKEN_BYTES {
            return None;
        }
        let mut segments = text.split('.');
        let mut next = || segments.next();
        let (header_text, encrypted_key, nonce, content, tag) = (next()?, next()?, next()?, next()?, next()?);
        if next().is_some() || header_text.len() > HEADER_BYTES {
            return None;
        }
        let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).ok();
        let bytes = decode(header_text)?;
        let header: Header<'_> = object(&bytes)?;
        if header.zip || header.crit {
            return None;
        }
        // One key, one algorithm: as with signatures, the header may only confirm it.
        if header.alg.as_ref() != self.alg.name() || header.enc.as_ref() != ENC {
            return None;
        }
        if header.kid.as_ref().is_some_and(|kid| kid.as_ref() != self.kid) {
            return None;
        }
        let key = self.content_key(&header, &decode(encrypted_key)?)?;
        let nonce: [u8; NONCE_BYTES] = decode(nonce)?.try_into().ok()?;
        let (mut content, tag) = (decode(content)?, decode(tag)?);
        // A short tag is quickly guessed.
        if tag.len() != TAG_BYTES {
            return None;
        }
        content.extend(tag);
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = cipher.open_in_place(nonce, Aad::from(header_text.as_bytes()), &mut content).ok()?.len();
        content.truncate(plain);
        String::from_utf8(content).ok()
    }

    fn content_key(&self, header: &Header<'_>, encrypted_key: &[u8]) -> Option<[u8; KEY_BYTES]> {
        match &self.private {
            Private::Direct(secret) => encrypted_key.is_empty().then_some(*secret),
            Private::EcdhEs(private, _) => {
                let party = |text: &Option<Text<'_>>| match text {
                    Some(text) => URL_SAFE_NO_PAD.decode(text.as_ref()).ok(),
                    None => Some(Vec::new()),
                };
                let (apu, apv) = (party(&header.apu)?, party(&header.apv)?);
                let peer = UnparsedPublicKey::new(&ECDH_P256, header.epk.as_ref()?.point()?);
                if !encrypted_key.is_empty() {
                    return None;
                }
                agreement::agree(private, peer, (), |shared| Ok(concat_kdf(ENC, shared, &apu, &apv))).ok()
            }
            Private::RsaOaep256(private, _) => {
                let mut place = vec![0; private.min_output_size()];
                // RFC 7516 section 11.5: with a wrong key the work goes on, so that the time does not tell where it failed.
                let mut key: [u8; KEY_BYTES] = rand::random();
                if let Ok(found) = private.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted_key, &mut place, None)
                    && found.len() == KEY_BYTES
                {
                    key.copy_from_slice(found);
                }
                Some(key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Sealer> {
        Encryption::ALL.iter().map(|alg| Sealer::new(*alg, None).unwrap()).collect()
    }

    #[test]
    fn what_is_sealed_opens_with_its_own_key_only() {
        let sealers = all();
        for (place, sealer) in sealers.iter().enumerate() {
            let sealed = sealer.seal("a.b.c").unwrap();
            assert_eq!(sealed.split('.').count(), 5);
            for (other, opener) in sealers.iter().enumerate() {
                assert_eq!(opener.unseal(&sealed).as_deref(), (place == other).then_some("a.b.c"));
            }
        }
    }

    #[test]
    fn any_change_of_a_sealed_token_makes_it_worthless() {
        for sealer in all() {
            let sealed = sealer.seal("a.b.c").unwrap();
            for place in 0..sealed.len() {
                let mut bytes = sealed.clone().into_bytes();
                bytes[place] = if bytes[place] == b'A' { b'Q' } else { b'A' };
                assert_eq!(sealer.unseal(&String::from_utf8(bytes).unwrap()), None, "{} at {place}", sealer.alg.name());
            }
            for cut in [1, 4, 12, 20] {
                assert_eq!(sealer.unseal(&sealed[..sealed.len() - cut]), None);
            }
            assert_eq!(sealer.unseal(&format!("{sealed}.")), None);
        }
    }

    #[test]
    fn a_header_that_asks_for_more_is_refused_though_it_is_sealed() {
        let sealer = Sealer::new(Encryption::Direct, None).unwrap();
        let Private::Direct(secret) = &sealer.private else { unreachable!() };
        let sealed = |header: Value| {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            let mut content = b"a.b.c".to_vec();
            let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).unwrap());
            let nonce = Nonce::assume_unique_for_key([7; 12]);
            cipher.seal_in_place_append_tag(nonce, Aad::from(header.as_bytes()), &mut content).unwrap();
            let tag = content.split_off(5);
            let b = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            format!("{header}..{}.{}.{}", b(&[7; 12]), b(&content), b(&tag))
        };
        assert!(sealer.unseal(&sealed(json!({"alg": "dir", "enc": "A256GCM"}))).is_some());
        for refused in [
            json!({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}),
            json!({"alg": "dir", "enc": "A256GCM", "zip": null}),
            json!({"alg": "dir", "enc": "A256GCM", "crit": null}),
            json!({"alg": "dir", "enc": "A256GCM", "crit": ["exp"]}),
            json!({"alg": "dir", "enc": "A128GCM"}),
            json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 1_000_000_000, "p2s": "AAAA"}),
            json!({"alg": "dir", "enc": "A256GCM", "kid": "another"}),
            json!({"alg": "dir", "enc": "A256GCM", "x": "y".repeat(3000)}),
            json!(["dir", "A256GCM"]),
        ] {
            assert_eq!(sealer.unseal(&sealed(refused.clone())), None, "{refused}");
        }
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_refused() {
        let sealer = Sealer::new(Encryption::EcdhEs, None).unwrap();
        let sealed = sealer.seal("a.b.c").unwrap();
        let (_, rest) = sealed.split_once('.').unwrap();
        let one = URL_SAFE_NO_PAD.encode([vec![0; 31], vec![1]].concat());
        let header =
            json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": {"kty": "EC", "crv": "P-256", "x": one, "y": one}});
        assert_eq!(sealer.unseal(&format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))), None);
    }

    #[test]
    fn the_wycheproof_encryption_vectors_open_where_they_should_and_nowhere_else() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/wycheproof/json_web_encryption_test.json");
        let Ok(text) = std::fs::read_to_string(path) else {
            return; // The vectors are not part of the repository.
        };
        let document: Value = serde_json::from_str(&text).unwrap();
        let (mut opened, mut refused) = (0, 0);
        for group in document["testGroups"].as_array().unwrap() {
            let key = group["private"].to_string();
            for alg in Encryption::ALL {
                let Ok(mut sealer) = Sealer::new(alg, Some(&key)) else { continue };
                sealer.kid = group["private"]["kid"].as_str().unwrap_or("").to_owned();
                for test in group["tests"].as_array().unwrap() {
                    let jwe = test["jwe"].as_str().unwrap_or("");
                    let header =
                        jwe.split('.').next().and_then(|head| URL_SAFE_NO_PAD.decode(head).ok()).unwrap_or_default();
                    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
                    let ours = header["alg"] == alg.name() && header["enc"] == ENC && header.get("zip").is_none();
                    let good = ours && test["result"] == "valid";
                    let seen = sealer.unseal(jwe);
                    assert_eq!(seen.is_some(), good, "test {} with {}", test["tcId"], alg.name());
                    if good { opened += 1 } else { refused += 1 }
                }
            }
        }
        assert!(opened >= 2 && refused >= 50, "{opened} opened, {refused} refused");
    }
}

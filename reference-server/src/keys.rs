//! What is one key: how is it read, what does it sign and verify, and what is published about it? Parsed once.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, ParsedPublicKey, RsaKeyPair};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::AffineCoordinates;
use serde_json::{Value, json};

use crate::algorithm::{Algorithm, Family};
use crate::flaws::{FlawId, FlawSet};
use crate::material::{Duty, Material};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key in any form that is read.
    #[error("the key for {algorithm}: {why}")]
    Text {
        /// The algorithm that the key was meant for.
        algorithm: &'static str,
        /// What was expected and seen.
        why: String,
    },
    /// The key is of another kind or size, or damaged.
    #[error(
        "the key does not serve {algorithm}: {reason}\nhint: RSA keys need 2048 bits or more, EC keys the curve of the algorithm"
    )]
    Rejected {
        /// The algorithm that the key was meant for.
        algorithm: &'static str,
        /// The crypto library's word for it.
        reason: String,
    },
    /// An HMAC secret shorter than its hash.
    #[error(
        "the secret for {algorithm} has {bytes} bytes, expected at least {least}\nhint: RFC 7518 section 3.2; `openssl rand -base64 48` makes one"
    )]
    ShortSecret {
        /// The algorithm that the secret was meant for.
        algorithm: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The least length in bytes.
        least: usize,
    },
}

enum Private {
    /// Only the public half is known.
    None,
    Hmac(Box<hmac::Key>),
    Rsa(Box<RsaKeyPair>, &'static aws_lc_rs::signature::RsaSignatureEncoding),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// One key pair or secret, ready for use.
pub(crate) struct Key {
    pub(crate) kid: String,
    pub(crate) algorithm: &'static Algorithm,
    private: Private,
    public: Option<ParsedPublicKey>,
    /// The public half as an RFC 7517 object; `None` for secrets.
    pub(crate) jwk: Option<Value>,
    /// The secret's bytes; empty for key pairs. The faults that confuse keys need it.
    pub(crate) secret: Vec<u8>,
    /// The public half as SubjectPublicKeyInfo in DER; empty for secrets. The faults that confuse keys need it.
    pub(crate) spki: Vec<u8>,
    /// An RSA public key as PKCS#1 in DER; else empty.
    pub(crate) pkcs1: Vec<u8>,
    /// The private half of a key pair as PKCS#8 in DER; else empty. The faults that decrypt with it need it.
    pub(crate) pkcs8: Vec<u8>,
    /// `base64url(header).` of an ordinary token of this key.
    pub(crate) head: String,
    /// The same with `typ: at+jwt` (RFC 9068).
    pub(crate) head_access: String,
    fixed_nonce: bool,
    warm: std::sync::OnceLock<f64>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.algorithm.name, self.kid)
    }
}

/// The modulus of an RSA key of 1,024 bits, of which nobody has the private half.
const SHORT_MODULUS: &str = "-m9j5GroWzHYJ-81MlZmId8u-hh1VsYCpTHJPn9Q7QsBBg1Q6VSgBZVlQPjcqVcAyvKW31_jwq5KldLk8oYwr5fdK8BPGFdPQWNH96wBlWAtF_UwbyVkcFPkcrQedM0Jjf8ickU7kBjuYd8nyqRDOXbMCvMBVsJUXKyvof4Tpxc";

fn big_endian(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn encoded_head(alg: &str, kid: &str, typ: &str) -> String {
    let mut head = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": typ, "kid": kid}).to_string());
    head.push('.');
    head
}

/// RFC 7638: SHA-256 over the members that make the key, in order.
fn thumbprint(jwk: &Value) -> String {
    let members: serde_json::Map<String, Value> = ["crv", "e", "kty", "n", "x", "y"]
        .iter()
        .filter_map(|name| jwk.get(*name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    let text = Value::Object(members).to_string();
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

impl Key {
    /// The published key of `algorithm`.
    pub(crate) fn development(algorithm: &'static Algorithm) -> Result<Self, KeyError> {
        Self::load(algorithm, algorithm.development_kid.to_owned(), algorithm.development_key)
    }

    /// From a configured text: PEM, a JWK, or an HMAC secret (its text as it is). A public key only verifies.
    /// Without a `kid` the key is called by its thumbprint (RFC 7638), and a secret by its algorithm.
    pub(crate) fn configured(algorithm: &'static Algorithm, kid: Option<&str>, text: &str) -> Result<Self, KeyError> {
        let key = Self::load(algorithm, String::new(), text)?;
        let kid = match (kid, &key.jwk) {
            (Some(kid), _) => kid.to_owned(),
            (None, Some(jwk)) => thumbprint(jwk),
            // A hash of the secret would let anyone try secrets against it.
            (None, None) => algorithm.name.to_ascii_lowercase(),
        };
        Ok(key.called(kid))
    }

    /// As `configured`, under this name.
    pub(crate) fn load(algorithm: &'static Algorithm, kid: String, text: &str) -> Result<Self, KeyError> {
        let failed = |why| KeyError::Text { algorithm: algorithm.name, why };
        let material = Material::of_text(text, algorithm.is_symmetric(), Duty::Sign).map_err(failed)?;
        match (material, &algorithm.family) {
            (Material::Secret(secret), Family::Hmac(hash)) => {
                let least = hash.tag_len();
                if secret.len() < least {
                    return Err(KeyError::ShortSecret { algorithm: algorithm.name, bytes: secret.len(), least });
                }
                Self::from_secret(algorithm, *hash, kid, secret)
            }
            (Material::Pkcs8(der), family) if !matches!(family, Family::Hmac(_)) => {
                Self::from_pkcs8(algorithm, kid, &der)
            }
            (Material::Spki(der), _) => {
                let mut key = Self::from_spki(algorithm, &der)?.called(kid);
                key.jwk = crate::der::public_jwk(&der);
                key.label();
                Ok(key)
            }
            (Material::PublicJwk(jwk), _) => {
                let mut key = Self::from_jwk(algorithm, kid, &jwk)?;
                key.label();
                Ok(key)
            }
            _ => Err(failed("the key is of another type".to_owned())),
        }
    }

    /// The key under another name.
    fn called(mut self, kid: String) -> Self {
        self.head = encoded_head(self.algorithm.name, &kid, "JWT");
        self.head_access = encoded_head(self.algorithm.name, &kid, "at+jwt");
        self.kid = kid;
        self.label();
        self
    }

    /// Puts name, algorithm and use on the published half.
    fn label(&mut self) {
        if let Some(jwk) = &mut self.jwk {
            jwk["use"] = json!("sig");
            jwk["alg"] = json!(self.algorithm.name);
            jwk["kid"] = json!(self.kid);
        }
    }

    /// True where the key can sign.
    pub(crate) fn signs(&self) -> bool {
        !matches!(self.private, Private::None)
    }

    /// An HMAC secret of any length, in base64url: what a test vector brings.
    pub(crate) fn raw_secret(algorithm: &'static Algorithm, kid: String, encoded: &str) -> Result<Self, KeyError> {
        let rejected = |reason: &str| KeyError::Rejected { algorithm: algorithm.name, reason: reason.to_owned() };
        let Family::Hmac(hash) = algorithm.family else {
            return Err(rejected("a secret serves only HS256, HS384 and HS512"));
        };
        let secret = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| rejected("the secret is no base64url"))?;
        Self::from_secret(algorithm, hash, kid, secret)
    }

    /// A public key, or a secret, from an RFC 7517 object; such a key only verifies.
    pub(crate) fn from_jwk(algorithm: &'static Algorithm, kid: String, jwk: &Value) -> Result<Self, KeyError> {
        let rejected = |reason: &str| KeyError::Rejected { algorithm: algorithm.name, reason: reason.to_owned() };
        let member = |name: &str| {
            jwk.get(name)
                .and_then(Value::as_str)
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .ok_or_else(|| rejected(name))
        };
        let kind = jwk.get("kty").and_then(Value::as_str).unwrap_or("");
        let parsed = |algorithm: &'static dyn aws_lc_rs::signature::VerificationAlgorithm, bytes: &[u8]| {
            ParsedPublicKey::new(algorithm, bytes).map_err(|error| rejected(&error.to_string()))
        };
        let public = match (&algorithm.family, kind) {
            (Family::Hmac(_), "oct") => {
                return Self::raw_secret(algorithm, kid, jwk.get("k").and_then(Value::as_str).unwrap_or(""));
            }
            (Family::Rsa { verifying, .. }, "RSA") => {
                let components = aws_lc_rs::signature::RsaPublicKeyComponents { n: member("n")?, e: member("e")? };
                components.to_parsed_public_key(verifying).map_err(|_| rejected("the modulus or exponent"))?
            }
            (Family::Ecdsa { curve, verifying, .. }, "EC") if jwk.get("crv").and_then(Value::as_str) == Some(curve) => {
                let mut point = vec![4];
                point.extend(member("x")?);
                point.extend(member("y")?);
                parsed(*verifying, &point)?
            }
            (Family::Ed25519, "OKP") if jwk.get("crv").and_then(Value::as_str) == Some("Ed25519") => {
                parsed(&aws_lc_rs::signature::ED25519, &member("x")?)?
            }
            _ => return Err(rejected("the key is of another type")),
        };
        Ok(Self {
            head: encoded_head(algorithm.name, &kid, "JWT"),
            head_access: encoded_head(algorithm.name, &kid, "at+jwt"),
            private: Private::None,
            public: Some(public),
            jwk: Some(jwk.clone()),
            secret: Vec::new(),
            spki: Vec::new(),
            pkcs1: Vec::new(),
            pkcs8: Vec::new(),
            kid,
            algorithm,
            fixed_nonce: false,
            warm: std::sync::OnceLock::new(),
        })
    }

    /// A public key from its SubjectPublicKeyInfo; such a key only verifies.
    pub(crate) fn from_spki(algorithm: &'static Algorithm, spki: &[u8]) -> Result<Self, KeyError> {
        let verifying: &'static dyn aws_lc_rs::signature::VerificationAlgorithm = match &algorithm.family {
            Family::Rsa { verifying, .. } => *verifying,
            Family::Ecdsa { verifying, .. } => *verifying,
            Family::Ed25519 => &aws_lc_rs::signature::ED25519,
            Family::Hmac(_) => {
                return Err(KeyError::Rejected {
                    algorithm: algorithm.name,
                    reason: "a secret has no public half".to_owned(),
                });
            }
        };
        let public = ParsedPublicKey::new(verifying, spki)
            .map_err(|error| KeyError::Rejected { algorithm: algorithm.name, reason: error.to_string() })?;
        Ok(Self {
            head: String::new(),
            head_access: String::new(),
            private: Private::None,
            public: Some(public),
            jwk: None,
            secret: Vec::new(),
            spki: spki.to_vec(),
            pkcs1: Vec::new(),
            pkcs8: Vec::new(),
            kid: String::new(),
            algorithm,
            fixed_nonce: false,
            warm: std::sync::OnceLock::new(),
        })
    }

    /// A fresh key with a random identifier.
    pub(crate) fn generate(algorithm: &'static Algorithm) -> Result<Self, KeyError> {
        let rejected = |_| KeyError::Rejected { algorithm: algorithm.name, reason: "the generator failed".to_owned() };
        let kid = crate::token::random_id();
        match &algorithm.family {
            Family::Hmac(hash) => {
                let mut secret = vec![0; hash.tag_len()];
                rand::fill(secret.as_mut_slice());
                Self::from_secret(algorithm, *hash, kid, secret)
            }
            Family::Rsa { .. } => {
                let pair = RsaKeyPair::generate(rsa::KeySize::Rsa2048).map_err(rejected)?;
                let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(rejected)?;
                Self::from_pkcs8(algorithm, kid, der.as_ref())
            }
            Family::Ecdsa { signing, .. } => {
                let document = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).map_err(rejected)?;
                Self::from_pkcs8(algorithm, kid, document.as_ref())
            }
            Family::Ed25519 => {
                let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(rejected)?;
                Self::from_pkcs8(algorithm, kid, document.as_ref())
            }
        }
    }

    fn from_secret(
        algorithm: &'static Algorithm,
        hash: hmac::Algorithm,
        kid: String,
        secret: Vec<u8>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            head: encoded_head(algorithm.name, &kid, "JWT"),
            head_access: encoded_head(algorithm.name, &kid, "at+jwt"),
            private: Private::Hmac(Box::new(hmac::Key::new(hash, &secret))),
            public: None,
            jwk: None,
            secret,
            spki: Vec::new(),
            pkcs1: Vec::new(),
            pkcs8: Vec::new(),
            kid,
            algorithm,
            fixed_nonce: false,
            warm: std::sync::OnceLock::new(),
        })
    }

    fn from_pkcs8(algorithm: &'static Algorithm, kid: String, der: &[u8]) -> Result<Self, KeyError> {
        let rejected = |reason: aws_lc_rs::error::KeyRejected| KeyError::Rejected {
            algorithm: algorithm.name,
            reason: reason.to_string(),
        };
        let mut pkcs1 = Vec::new();
        let spki_rejected = |_| KeyError::Rejected { algorithm: algorithm.name, reason: "its public half".to_owned() };
        let (private, public, mut jwk, spki) = match &algorithm.family {
            Family::Hmac(hash) => return Self::from_secret(algorithm, *hash, kid, der.to_vec()),
            Family::Rsa { signing, verifying } => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(rejected)?;
                let public = pair.public_key();
                let parsed = ParsedPublicKey::new(*verifying, public.as_ref()).map_err(rejected)?;
                let (n, e) = crate::der::rsa_public(public.as_ref())
                    .ok_or_else(|| spki_rejected(aws_lc_rs::error::Unspecified))?;
                let jwk = json!({"kty": "RSA", "n": big_endian(n), "e": big_endian(e)});
                pkcs1 = public.as_ref().to_vec();
                let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(public).map_err(spki_rejected)?.as_ref().to_vec();
                (Private::Rsa(Box::new(pair), signing), parsed, jwk, spki)
            }
            Family::Ecdsa { curve, signing, verifying } => {
                let pair = EcdsaKeyPair::from_pkcs8(signing, der).map_err(rejected)?;
                let point = pair.public_key().as_ref().to_vec();
                let parsed = ParsedPublicKey::new(*verifying, &point).map_err(rejected)?;
                // The point is 0x04, x, y; both halves have the length of the field.
                let (x, y) = point[1..].split_at((point.len() - 1) / 2);
                let spki =
                    AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(spki_rejected)?.as_ref().to_vec();
                let jwk = json!({"kty": "EC", "crv": curve, "x": big_endian(x), "y": big_endian(y)});
                (Private::Ecdsa(Box::new(pair)), parsed, jwk, spki)
            }
            Family::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(rejected)?;
                let point = pair.public_key().as_ref().to_vec();
                let parsed = ParsedPublicKey::new(&aws_lc_rs::signature::ED25519, &point).map_err(rejected)?;
                let spki =
                    AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(spki_rejected)?.as_ref().to_vec();
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": big_endian(&point)});
                (Private::Ed25519(Box::new(pair)), parsed, jwk, spki)
            }
        };
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(algorithm.name);
        jwk["kid"] = json!(kid);
        Ok(Self {
            head: encoded_head(algorithm.name, &kid, "JWT"),
            head_access: encoded_head(algorithm.name, &kid, "at+jwt"),
            private,
            public: Some(public),
            jwk: Some(jwk),
            secret: Vec::new(),
            spki,
            pkcs1,
            pkcs8: der.to_vec(),
            kid,
            algorithm,
            fixed_nonce: false,
            warm: std::sync::OnceLock::new(),
        })
    }

    /// The key as the mistakes about keys have it.
    pub(crate) fn with_flaws(mut self, flaws: &FlawSet) -> Self {
        if flaws.has(FlawId::KidMismatch) {
            self.head = encoded_head(self.algorithm.name, "key-of-last-year", "JWT");
            self.head_access = encoded_head(self.algorithm.name, "key-of-last-year", "at+jwt");
        }
        if flaws.has(FlawId::PrivateInJwks)
            && let (Private::Ecdsa(pair), Some(jwk)) = (&self.private, &mut self.jwk)
            && let Ok(scalar) = AsBigEndian::<EcPrivateKeyBin<'_>>::as_be_bytes(&pair.private_key())
        {
            jwk["d"] = json!(big_endian(scalar.as_ref()));
        }
        self.fixed_nonce = flaws.has(FlawId::FixedK);
        self
    }

    /// What the mistakes publish beside the keys.
    pub(crate) fn published_by_mistake(&self, flaws: &FlawSet) -> Result<Vec<Value>, KeyError> {
        let mut beside = Vec::new();
        if flaws.has(FlawId::ShortKey) {
            beside.push(
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "of-2004", "n": SHORT_MODULUS, "e": "AQAB"}),
            );
        }
        if flaws.has(FlawId::TwinKid)
            && let Some(mut twin) = Self::generate(self.algorithm)?.jwk
        {
            twin["kid"] = json!(self.kid);
            beside.push(twin);
        }
        Ok(beside)
    }

    /// From when on the key verifies; the first call counts. Only a mistake has it wait.
    pub(crate) fn warm_from(&self, moment: f64) {
        let _ = self.warm.set(moment);
    }

    /// False in the time before `warm_from`.
    pub(crate) fn is_warm(&self, now: f64) -> bool {
        self.warm.get().is_none_or(|from| now >= *from)
    }

    /// An ECDSA signature with a nonce that never changes.
    fn signature_with_fixed_nonce(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Private::Ecdsa(pair) = &self.private else { return None };
        let scalar = AsBigEndian::<EcPrivateKeyBin<'_>>::as_be_bytes(&pair.private_key()).ok()?;
        let secret = p256::SecretKey::from_slice(scalar.as_ref()).ok()?.to_nonzero_scalar();
        let nonce = p256::SecretKey::from_slice(&[7; 32]).ok()?.to_nonzero_scalar();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
        let z = <p256::Scalar as Reduce<p256::FieldBytes>>::reduce(&p256::FieldBytes::try_from(hash.as_ref()).ok()?);
        let r = <p256::Scalar as Reduce<p256::FieldBytes>>::reduce(
            &(p256::ProjectivePoint::GENERATOR * *nonce).to_affine().x(),
        );
        let s = nonce.as_ref().invert().into_option()? * (z + r * *secret);
        Some(p256::ecdsa::Signature::from_scalars(r, s).ok()?.to_bytes().to_vec())
    }

    /// Signs `message` and appends the signature to it, as `.base64url(signature)`.
    /// `Err` only where the crypto library runs out of randomness or memory.
    pub(crate) fn sign_onto(&self, message: &mut String) -> Result<(), aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        let append = |message: &mut String, signature: &[u8]| {
            message.push('.');
            URL_SAFE_NO_PAD.encode_string(signature, message);
        };
        match &self.private {
            Private::None => return Err(aws_lc_rs::error::Unspecified),
            Private::Hmac(key) => {
                let tag = hmac::sign(key, message.as_bytes());
                append(message, tag.as_ref());
            }
            Private::Rsa(pair, encoding) => {
                let length = pair.public_modulus_len();
                let mut signature = [0_u8; 1024];
                let place = signature.get_mut(..length).ok_or(aws_lc_rs::error::Unspecified)?;
                pair.sign(*encoding, &random, message.as_bytes(), place)?;
                append(message, place);
            }
            Private::Ecdsa(_) if self.fixed_nonce => {
                let signature =
                    self.signature_with_fixed_nonce(message.as_bytes()).ok_or(aws_lc_rs::error::Unspecified)?;
                append(message, &signature);
            }
            Private::Ecdsa(pair) => {
                let signature = pair.sign(&random, message.as_bytes())?;
                append(message, signature.as_ref());
            }
            Private::Ed25519(pair) => {
                let signature = pair.try_sign(message.as_bytes())?;
                append(message, signature.as_ref());
            }
        }
        Ok(())
    }

    /// True where `signature` is this key's over `message`, in this key's algorithm.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match (&self.private, &self.public) {
            (Private::Hmac(key), _) => hmac::verify(key, message, signature).is_ok(),
            (_, Some(public)) => public.verify_sig(message, signature).is_ok(),
            (_, None) => false,
        }
    }
}

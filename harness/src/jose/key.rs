//! What signs, what verifies, and in which spellings can a key be read?

use p256::elliptic_curve::Generate as _;
use rand::CryptoRng;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};
use rsa::traits::PublicKeyParts as _;

use super::algorithms::{Algorithm, Curve, Family};
use super::{der, jwk};

/// Smallest RSA modulus that can be read, in bits: weak keys have to be forged with, too.
pub const SMALLEST_RSA_BITS: usize = 512;
/// Largest RSA modulus that is read, in bits: verification time grows with its square.
pub const LARGEST_RSA_BITS: usize = 16_384;
/// Size of the RSA keys that [`SigningKey::generate`] makes, in bits.
pub const GENERATED_RSA_BITS: usize = 2048;

/// Why a key could not be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The bytes are in none of the spellings.
    #[error("expected {expected}, found {found}; hint: {hint}")]
    Unreadable {
        /// What could have been read.
        expected: &'static str,
        /// What was there.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A JWK member is missing or wrong.
    #[error("expected a JWK with {expected}, found {found}")]
    Jwk {
        /// The member and its form.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The key cannot serve the algorithm.
    #[error("{algorithm} needs {needs}, the key is {found}")]
    Mismatch {
        /// The `alg`.
        algorithm: String,
        /// The key it needs.
        needs: String,
        /// The key that was given.
        found: String,
    },
    /// The library refused, with its own words.
    #[error("the key cannot be used: {0}")]
    Library(String),
}

/// A key that signs.
#[derive(Clone)]
pub enum SigningKey {
    /// An HMAC secret, any bytes, also none.
    Secret(Vec<u8>),
    /// RSA.
    Rsa(Box<rsa::PrivateKey>),
    /// ECDSA on P-256.
    P256(Box<p256::ecdsa::SigningKey>),
    /// ECDSA on P-384.
    P384(Box<p384::ecdsa::SigningKey>),
    /// ECDSA on P-521.
    P521(Box<p521::ecdsa::SigningKey>),
    /// Ed25519.
    Ed25519(Box<ed25519_dalek::SigningKey>),
}

/// A key that verifies.
#[derive(Clone, Debug)]
pub enum VerifyingKey {
    /// An HMAC secret.
    Secret(Vec<u8>),
    /// RSA.
    Rsa(Box<rsa::PublicKey>),
    /// ECDSA on P-256.
    P256(Box<p256::ecdsa::VerifyingKey>),
    /// ECDSA on P-384.
    P384(Box<p384::ecdsa::VerifyingKey>),
    /// ECDSA on P-521.
    P521(Box<p521::ecdsa::VerifyingKey>),
    /// Ed25519.
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kind())
    }
}

const KINDS: &str = "an RSA, P-256, P-384, P-521 or Ed25519 key";

impl SigningKey {
    /// An HMAC secret.
    pub fn secret(bytes: impl Into<Vec<u8>>) -> SigningKey {
        SigningKey::Secret(bytes.into())
    }

    /// Reads a private key: PEM (PKCS#8, PKCS#1, SEC1), the same in DER, or a JWK.
    pub fn parse(bytes: &[u8]) -> Result<SigningKey, KeyError> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.trim_start().starts_with('{') {
            let value = serde_json::from_str(text)
                .map_err(|e| KeyError::Jwk { expected: "JSON text".to_owned(), found: e.to_string() })?;
            return SigningKey::from_jwk(&value);
        }
        let (label, der) = match der::from_pem(text) {
            Some((label, der)) => (label, der),
            None => ("DER".to_owned(), bytes.to_vec()),
        };
        SigningKey::from_der(&der).ok_or(KeyError::Unreadable {
            expected: "a private key in PEM (PKCS#8, PKCS#1 or SEC1), DER or JWK",
            found: format!("{label} of {} bytes that is not {KINDS}", der.len()),
            hint: "an encrypted key must be decrypted first; an HMAC secret goes under `secret:`, not `file:`",
        })
    }

    /// Reads PKCS#8, PKCS#1 or SEC1 in DER.
    pub fn from_der(der: &[u8]) -> Option<SigningKey> {
        if let Ok(key) = rsa::PrivateKey::from_pkcs8_der(der).or_else(|_| rsa::PrivateKey::from_pkcs1_der(der)) {
            return Some(SigningKey::Rsa(Box::new(key)));
        }
        // `from_der` of a curve's SecretKey takes PKCS#8 and SEC1; in SEC1 the length decides the curve.
        if let Ok(key) = p256::SecretKey::from_der(der) {
            return Some(SigningKey::P256(Box::new(key.into())));
        }
        if let Ok(key) = p384::SecretKey::from_der(der) {
            return Some(SigningKey::P384(Box::new(key.into())));
        }
        if let Ok(key) = p521::SecretKey::from_der(der) {
            return Some(SigningKey::P521(Box::new(key.into())));
        }
        ed25519_dalek::SigningKey::from_pkcs8_der(der).ok().map(|key| SigningKey::Ed25519(Box::new(key)))
    }

    /// Reads a private JWK (RFC 7517; `oct`, `RSA`, `EC`, `OKP`).
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<SigningKey, KeyError> {
        jwk::signing_key(jwk)
    }

    /// The private key as a JWK.
    pub fn to_jwk(&self) -> serde_json::Value {
        jwk::private(self)
    }

    /// A fresh key for an algorithm; RSA keys have [`GENERATED_RSA_BITS`].
    pub fn generate(algorithm: &Algorithm, rng: &mut dyn CryptoRng) -> Result<SigningKey, KeyError> {
        Ok(match (algorithm.family, algorithm.curve) {
            (Family::Hmac, _) => {
                let mut secret = vec![0; algorithm.hash.len()];
                rng.fill_bytes(&mut secret);
                SigningKey::Secret(secret)
            }
            (Family::RsaPkcs1 | Family::RsaPss, _) => SigningKey::generate_rsa(GENERATED_RSA_BITS, rng)?,
            (_, Some(Curve::P384)) => SigningKey::P384(Box::new(p384::ecdsa::SigningKey::generate_from_rng(rng))),
            (_, Some(Curve::P521)) => SigningKey::P521(Box::new(p521::ecdsa::SigningKey::generate_from_rng(rng))),
            (_, Some(Curve::Ed25519)) => SigningKey::Ed25519(Box::new(ed25519_dalek::SigningKey::generate(rng))),
            _ => SigningKey::P256(Box::new(p256::ecdsa::SigningKey::generate_from_rng(rng))),
        })
    }

    /// A fresh RSA key of a size in bits, with e = 65537. 1,024 bits and more.
    pub fn generate_rsa(bits: usize, rng: &mut dyn CryptoRng) -> Result<SigningKey, KeyError> {
        let key = rsa::PrivateKey::new(rng, bits).map_err(|e| KeyError::Library(e.to_string()))?;
        Ok(SigningKey::Rsa(Box::new(key)))
    }

    /// The key that verifies what this one signs.
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            SigningKey::Secret(secret) => VerifyingKey::Secret(secret.clone()),
            SigningKey::Rsa(key) => VerifyingKey::Rsa(Box::new(key.to_public_key())),
            SigningKey::P256(key) => VerifyingKey::P256(Box::new(*key.verifying_key())),
            SigningKey::P384(key) => VerifyingKey::P384(Box::new(*key.verifying_key())),
            SigningKey::P521(key) => VerifyingKey::P521(Box::new(*key.verifying_key())),
            SigningKey::Ed25519(key) => VerifyingKey::Ed25519(Box::new(key.verifying_key())),
        }
    }

    /// `a 2048-bit RSA key`, `a P-256 key`, `a secret of 32 bytes`.
    pub fn kind(&self) -> String {
        self.verifying_key().kind()
    }

    /// The first algorithm of the table that the key can serve.
    pub fn default_algorithm(&self) -> &'static Algorithm {
        self.verifying_key().default_algorithm()
    }

    /// The prime factors of an RSA key, big-endian; empty for other keys.
    pub fn rsa_primes(&self) -> Vec<Vec<u8>> {
        use rsa::traits::PrivateKeyParts as _;
        match self {
            SigningKey::Rsa(key) => key.primes().iter().map(|p| p.to_be_bytes_trimmed_vartime().to_vec()).collect(),
            _ => Vec::new(),
        }
    }
}

impl VerifyingKey {
    /// An HMAC secret.
    pub fn secret(bytes: impl Into<Vec<u8>>) -> VerifyingKey {
        VerifyingKey::Secret(bytes.into())
    }

    /// Reads a public key: PEM (SPKI, PKCS#1, certificate, or a private key, of which the public half is
    /// taken), the same in DER, or a JWK.
    pub fn parse(bytes: &[u8]) -> Result<VerifyingKey, KeyError> {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        if text.trim_start().starts_with('{') {
            let value = serde_json::from_str(text)
                .map_err(|e| KeyError::Jwk { expected: "JSON text".to_owned(), found: e.to_string() })?;
            return VerifyingKey::from_jwk(&value);
        }
        let (label, der) = match der::from_pem(text) {
            Some((label, der)) => (label, der),
            None => ("DER".to_owned(), bytes.to_vec()),
        };
        VerifyingKey::from_der(&der).ok_or(KeyError::Unreadable {
            expected: "a public key in PEM (SPKI, PKCS#1 or a certificate), DER or JWK",
            found: format!("{label} of {} bytes that is not {KINDS}", der.len()),
            hint: "make one with `openssl pkey -in private.pem -pubout`",
        })
    }

    /// Reads SPKI, PKCS#1, an X.509 certificate or a private key in DER.
    pub fn from_der(der: &[u8]) -> Option<VerifyingKey> {
        if let Ok(key) = rsa::PublicKey::from_public_key_der(der).or_else(|_| rsa::PublicKey::from_pkcs1_der(der)) {
            return Some(VerifyingKey::Rsa(Box::new(key)));
        }
        if let Ok(key) = p256::PublicKey::from_public_key_der(der) {
            return Some(VerifyingKey::P256(Box::new(key.into())));
        }
        if let Ok(key) = p384::PublicKey::from_public_key_der(der) {
            return Some(VerifyingKey::P384(Box::new(key.into())));
        }
        if let Ok(key) = p521::PublicKey::from_public_key_der(der) {
            return Some(VerifyingKey::P521(Box::new(key.into())));
        }
        if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_der(der) {
            return Some(VerifyingKey::Ed25519(Box::new(key)));
        }
        if let Some(spki) = der::certificate_spki(der) {
            // One level only: what is inside a certificate is a SubjectPublicKeyInfo.
            if spki.len() < der.len()
                && let Some(key) = VerifyingKey::from_der(&spki)
            {
                return Some(key);
            }
        }
        SigningKey::from_der(der).map(|key| key.verifying_key())
    }

    /// Reads a public or symmetric JWK; the public half of a private one.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<VerifyingKey, KeyError> {
        jwk::verifying_key(jwk)
    }

    /// The public key as a JWK of its required members in alphabetical order, `kty` among them.
    pub fn to_jwk(&self) -> serde_json::Value {
        jwk::public(self)
    }

    /// The key's SubjectPublicKeyInfo in DER; none for a secret.
    pub fn to_spki_der(&self) -> Option<Vec<u8>> {
        let document = match self {
            VerifyingKey::Secret(_) => return None,
            VerifyingKey::Rsa(key) => key.to_public_key_der(),
            VerifyingKey::P256(key) => p256::PublicKey::from(**key).to_public_key_der(),
            VerifyingKey::P384(key) => p384::PublicKey::from(**key).to_public_key_der(),
            VerifyingKey::P521(key) => p521::PublicKey::from(**key).to_public_key_der(),
            VerifyingKey::Ed25519(key) => key.to_public_key_der(),
        };
        document.ok().map(|d| d.as_bytes().to_vec())
    }

    /// The key as `-----BEGIN PUBLIC KEY-----`, ending in a newline; none for a secret.
    pub fn to_spki_pem(&self) -> Option<String> {
        self.to_spki_der().map(|der| der::pem("PUBLIC KEY", &der))
    }

    /// `a 2048-bit RSA key`, `a P-256 key`, `a secret of 32 bytes`.
    pub fn kind(&self) -> String {
        match self {
            VerifyingKey::Secret(secret) => format!("a secret of {} bytes", secret.len()),
            VerifyingKey::Rsa(key) => format!("a {}-bit RSA key", key.n().bit_width()),
            VerifyingKey::P256(_) => "a P-256 key".to_owned(),
            VerifyingKey::P384(_) => "a P-384 key".to_owned(),
            VerifyingKey::P521(_) => "a P-521 key".to_owned(),
            VerifyingKey::Ed25519(_) => "an Ed25519 key".to_owned(),
        }
    }

    /// Whether the key is of the kind and curve that an algorithm needs.
    pub fn serves(&self, algorithm: &Algorithm) -> bool {
        match self {
            VerifyingKey::Secret(_) => algorithm.family == Family::Hmac,
            VerifyingKey::Rsa(_) => matches!(algorithm.family, Family::RsaPkcs1 | Family::RsaPss),
            VerifyingKey::P256(_) => algorithm.curve == Some(Curve::P256),
            VerifyingKey::P384(_) => algorithm.curve == Some(Curve::P384),
            VerifyingKey::P521(_) => algorithm.curve == Some(Curve::P521),
            VerifyingKey::Ed25519(_) => algorithm.curve == Some(Curve::Ed25519),
        }
    }

    /// The first algorithm of the table that the key can serve.
    pub fn default_algorithm(&self) -> &'static Algorithm {
        let table = super::algorithms();
        // Every kind of key has a row, as a test shows; the first is the fallback that is never used.
        table.iter().find(|a| self.serves(a)).unwrap_or(&table[0])
    }

    /// The modulus of an RSA key, big-endian; none for other keys.
    pub fn rsa_modulus(&self) -> Option<Vec<u8>> {
        match self {
            VerifyingKey::Rsa(key) => Some(key.n_bytes().to_vec()),
            _ => None,
        }
    }

    /// The public exponent of an RSA key, big-endian; none for other keys.
    pub fn rsa_exponent(&self) -> Option<Vec<u8>> {
        match self {
            VerifyingKey::Rsa(key) => Some(key.e_bytes().to_vec()),
            _ => None,
        }
    }

    /// An RSA key from modulus and exponent, big-endian.
    pub fn from_rsa_parts(modulus: &[u8], exponent: &[u8]) -> Result<VerifyingKey, KeyError> {
        let n = rsa::BoxedUint::from_be_slice_vartime(modulus);
        let e = rsa::BoxedUint::from_be_slice_vartime(exponent);
        rsa::PublicKey::new_with_size_limits(n, e, SMALLEST_RSA_BITS..=LARGEST_RSA_BITS)
            .map(|key| VerifyingKey::Rsa(Box::new(key)))
            .map_err(|e| KeyError::Library(e.to_string()))
    }

    /// The uncompressed point (`04 || x || y`) of a Weierstrass curve, the 32 bytes of Ed25519; else none.
    pub fn point(&self) -> Option<Vec<u8>> {
        match self {
            VerifyingKey::P256(key) => Some(key.to_sec1_point(false).as_bytes().to_vec()),
            VerifyingKey::P384(key) => Some(key.to_sec1_point(false).as_bytes().to_vec()),
            VerifyingKey::P521(key) => Some(key.to_sec1_point(false).as_bytes().to_vec()),
            VerifyingKey::Ed25519(key) => Some(key.to_bytes().to_vec()),
            VerifyingKey::Secret(_) | VerifyingKey::Rsa(_) => None,
        }
    }

    /// A key from an uncompressed point; refused where the point is not on the curve.
    pub fn from_point(curve: Curve, point: &[u8]) -> Result<VerifyingKey, KeyError> {
        let refuse = |_| KeyError::Library(format!("the point is not on {}", curve.name()));
        Ok(match curve {
            Curve::P256 => {
                VerifyingKey::P256(Box::new(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(refuse)?))
            }
            Curve::P384 => {
                VerifyingKey::P384(Box::new(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(refuse)?))
            }
            Curve::P521 => {
                VerifyingKey::P521(Box::new(p521::ecdsa::VerifyingKey::from_sec1_bytes(point).map_err(refuse)?))
            }
            Curve::Ed25519 => {
                VerifyingKey::Ed25519(Box::new(ed25519_dalek::VerifyingKey::try_from(point).map_err(refuse)?))
            }
        })
    }

    /// The curve of an elliptic key.
    pub fn curve(&self) -> Option<Curve> {
        match self {
            VerifyingKey::Secret(_) | VerifyingKey::Rsa(_) => None,
            VerifyingKey::P256(_) => Some(Curve::P256),
            VerifyingKey::P384(_) => Some(Curve::P384),
            VerifyingKey::P521(_) => Some(Curve::P521),
            VerifyingKey::Ed25519(_) => Some(Curve::Ed25519),
        }
    }
}

//! Which signature algorithms does the server know? One row each; a new one is a new row.

use aws_lc_rs::{hmac, signature};

/// How an algorithm signs, with what its crypto library needs to know.
pub(crate) enum Family {
    /// A keyed hash with a shared secret.
    Hmac(hmac::Algorithm),
    /// RSA with the padding and hash of the two directions.
    Rsa { signing: &'static signature::RsaSignatureEncoding, verifying: &'static signature::RsaParameters },
    /// ECDSA in the fixed-length form of RFC 7518 section 3.4.
    Ecdsa {
        curve: &'static str,
        signing: &'static signature::EcdsaSigningAlgorithm,
        verifying: &'static signature::EcdsaVerificationAlgorithm,
    },
    /// Ed25519 (RFC 8037).
    Ed25519,
}

/// One row of the table.
pub struct Algorithm {
    /// The `alg` value of RFC 7518 section 3.1 or RFC 8037.
    pub name: &'static str,
    pub(crate) family: Family,
    /// The published key, by the file in `keys/`.
    pub(crate) development_key: &'static str,
    /// Its identifier.
    pub(crate) development_kid: &'static str,
}

impl std::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

macro_rules! row {
    ($name:literal, $lower:literal, $ext:literal, $family:expr) => {
        Algorithm {
            name: $name,
            family: $family,
            development_key: include_str!(concat!("../keys/", $lower, "-development-only.", $ext)),
            development_kid: concat!("dev-", $lower),
        }
    };
}

static TABLE: &[Algorithm] = &[
    row!("HS256", "hs256", "secret", Family::Hmac(hmac::HMAC_SHA256)),
    row!("HS384", "hs384", "secret", Family::Hmac(hmac::HMAC_SHA384)),
    row!("HS512", "hs512", "secret", Family::Hmac(hmac::HMAC_SHA512)),
    row!(
        "RS256",
        "rs256",
        "pem",
        Family::Rsa { signing: &signature::RSA_PKCS1_SHA256, verifying: &signature::RSA_PKCS1_2048_8192_SHA256 }
    ),
    row!(
        "RS384",
        "rs384",
        "pem",
        Family::Rsa { signing: &signature::RSA_PKCS1_SHA384, verifying: &signature::RSA_PKCS1_2048_8192_SHA384 }
    ),
    row!(
        "RS512",
        "rs512",
        "pem",
        Family::Rsa { signing: &signature::RSA_PKCS1_SHA512, verifying: &signature::RSA_PKCS1_2048_8192_SHA512 }
    ),
    row!(
        "PS256",
        "ps256",
        "pem",
        Family::Rsa { signing: &signature::RSA_PSS_SHA256, verifying: &signature::RSA_PSS_2048_8192_SHA256 }
    ),
    row!(
        "PS384",
        "ps384",
        "pem",
        Family::Rsa { signing: &signature::RSA_PSS_SHA384, verifying: &signature::RSA_PSS_2048_8192_SHA384 }
    ),
    row!(
        "PS512",
        "ps512",
        "pem",
        Family::Rsa { signing: &signature::RSA_PSS_SHA512, verifying: &signature::RSA_PSS_2048_8192_SHA512 }
    ),
    row!(
        "ES256",
        "es256",
        "pem",
        Family::Ecdsa {
            curve: "P-256",
            signing: &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            verifying: &signature::ECDSA_P256_SHA256_FIXED
        }
    ),
    row!(
        "ES384",
        "es384",
        "pem",
        Family::Ecdsa {
            curve: "P-384",
            signing: &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            verifying: &signature::ECDSA_P384_SHA384_FIXED
        }
    ),
    row!(
        "ES512",
        "es512",
        "pem",
        Family::Ecdsa {
            curve: "P-521",
            signing: &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            verifying: &signature::ECDSA_P521_SHA512_FIXED
        }
    ),
    row!("EdDSA", "eddsa", "pem", Family::Ed25519),
];

impl Algorithm {
    /// All algorithms, HS256 first, the default.
    pub fn all() -> &'static [Algorithm] {
        TABLE
    }

    /// The row whose `alg` value is exactly `name`.
    pub fn named(name: &str) -> Option<&'static Algorithm> {
        TABLE.iter().find(|row| row.name == name)
    }

    /// True for HS256, HS384 and HS512.
    pub fn is_symmetric(&self) -> bool {
        matches!(self.family, Family::Hmac(_))
    }
}

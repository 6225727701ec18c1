//! Which signature algorithms does the harness speak, and what does each need?

/// The digest under a signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of the digest in bytes.
    pub const fn len(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// Never: a digest has bytes. Present because `len` is.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// What kind of mathematics signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// HMAC, a shared secret (RFC 7518 section 3.2).
    Hmac,
    /// RSASSA-PKCS1-v1_5 (RFC 7518 section 3.3).
    RsaPkcs1,
    /// RSASSA-PSS, salt as long as the digest (RFC 7518 section 3.5).
    RsaPss,
    /// ECDSA, `R || S` of fixed length (RFC 7518 section 3.4).
    Ecdsa,
    /// EdDSA over Ed25519 (RFC 8037 section 3.1).
    EdDsa,
}

/// An elliptic curve by its JWK name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// `P-256`.
    P256,
    /// `P-384`.
    P384,
    /// `P-521`.
    P521,
    /// `Ed25519`.
    Ed25519,
}

impl Curve {
    /// The `crv` member of a JWK.
    pub const fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
            Curve::Ed25519 => "Ed25519",
        }
    }

    /// Length of a coordinate or scalar in bytes.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Curve::P256 | Curve::Ed25519 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

/// One row of the table of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// The `alg` header value.
    pub name: &'static str,
    /// What kind of mathematics signs.
    pub family: Family,
    /// The digest. For EdDSA the one inside the scheme.
    pub hash: Hash,
    /// The curve, where there is one.
    pub curve: Option<Curve>,
    /// The `kty` of its keys.
    pub key_type: &'static str,
    /// Length of a signature in bytes, where the key does not decide it.
    pub signature_len: Option<usize>,
}

impl Algorithm {
    /// Whether verifying needs no secret, so that the verification key may be public.
    pub fn is_asymmetric(&self) -> bool {
        self.family != Family::Hmac
    }
}

const fn row(
    name: &'static str,
    family: Family,
    hash: Hash,
    curve: Option<Curve>,
    key_type: &'static str,
    signature_len: Option<usize>,
) -> Algorithm {
    Algorithm { name, family, hash, curve, key_type, signature_len }
}

static ALGORITHMS: &[Algorithm] = &[
    row("HS256", Family::Hmac, Hash::Sha256, None, "oct", Some(32)),
    row("HS384", Family::Hmac, Hash::Sha384, None, "oct", Some(48)),
    row("HS512", Family::Hmac, Hash::Sha512, None, "oct", Some(64)),
    row("RS256", Family::RsaPkcs1, Hash::Sha256, None, "RSA", None),
    row("RS384", Family::RsaPkcs1, Hash::Sha384, None, "RSA", None),
    row("RS512", Family::RsaPkcs1, Hash::Sha512, None, "RSA", None),
    row("PS256", Family::RsaPss, Hash::Sha256, None, "RSA", None),
    row("PS384", Family::RsaPss, Hash::Sha384, None, "RSA", None),
    row("PS512", Family::RsaPss, Hash::Sha512, None, "RSA", None),
    row("ES256", Family::Ecdsa, Hash::Sha256, Some(Curve::P256), "EC", Some(64)),
    row("ES384", Family::Ecdsa, Hash::Sha384, Some(Curve::P384), "EC", Some(96)),
    row("ES512", Family::Ecdsa, Hash::Sha512, Some(Curve::P521), "EC", Some(132)),
    row("EdDSA", Family::EdDsa, Hash::Sha512, Some(Curve::Ed25519), "OKP", Some(64)),
];

/// Every algorithm, in the order of RFC 7518 section 3.1, then RFC 8037.
pub fn algorithms() -> &'static [Algorithm] {
    ALGORITHMS
}

/// The row of an `alg` value. Case counts (RFC 7515 section 4.1.1).
pub fn algorithm(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|a| a.name == name)
}

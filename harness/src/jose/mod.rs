//! How is a token signed, verified and, above all, forged, without the server's JWT library?
//!
//! Two implementations that share code share their bugs: everything here stands on primitives (RustCrypto)
//! and is proven by the Wycheproof vectors. The present time and randomness are arguments.
//!
//! - [`algorithms`]: the one table of signature algorithms.
//! - [`SigningKey`], [`VerifyingKey`]: read from PEM, DER or JWK; generated; written as SPKI or JWK.
//! - [`KeySet`], [`KeyEntry`]: a JWK Set with the members that restrict each key.
//! - [`verify()`] with a [`Policy`]: the strictest reading; [`parse`] takes a token apart only.
//! - [`Forge`]: a token in the making, and text-level mutators such as [`forge::flip_bit`].
//! - [`spellings`]: the bytes in which a server may hold a public key.
//! - [`recover`]: public keys from signatures alone.
//! - [`jwe`]: encrypted tokens, as far as checks need them.
//!
//! ```
//! use assay::jose::{Forge, KeyEntry, KeySet, Policy, SigningKey, algorithm, verify};
//! let (key, hs256) = (SigningKey::secret([7; 32]), algorithm("HS256").unwrap());
//! let token = Forge::new(&serde_json::json!({"alg": "HS256"}), &serde_json::json!({"sub": "alice", "exp": 2_000_000_000}))
//!     .claim("admin", true)
//!     .sign(&key, hs256, &mut rand::rng())
//!     .unwrap()
//!     .token();
//! let keys = KeySet { keys: vec![KeyEntry::plain(key.verifying_key())], ..KeySet::default() };
//! let policy = Policy { now: Some(1_999_999_999.0), ..Policy::default() };
//! assert_eq!(verify(&token, &keys, &policy).unwrap().claims["admin"], true);
//! ```

mod algorithms;
pub mod base64url;
mod der;
pub mod forge;
pub mod json;
pub mod jwe;
mod jwk;
mod key;
pub mod recover;
mod sign;
mod spelling;
mod verify;

pub use algorithms::{Algorithm, Curve, Family, Hash, algorithm, algorithms};
pub use forge::{Forge, Part};
pub use jwk::{KeyEntry, KeySet, Unreadable, thumbprint};
pub use key::{GENERATED_RSA_BITS, KeyError, LARGEST_RSA_BITS, SMALLEST_RSA_BITS, SigningKey, VerifyingKey};
pub use sign::{digest, hmac};
pub use spelling::{Known, Spelling, spellings};
pub use verify::{Compact, LONGEST_TOKEN, Policy, Refusal, Verified, parse, verify};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;

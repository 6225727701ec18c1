//! Is an encrypted token taken only where it is wanted, and only as it was made?

mod bent;
mod confusion;
mod material;
mod mismatch;
mod oracle;

pub(super) use material::{Addressee, Claims, addressee, claims, seal};

use crate::conformance::descriptor::Check;

/// The family JWE, in the order of the catalogue.
pub const CHECKS: &[Check] =
    &[confusion::AS_JWS, confusion::WRAPPED_PLAIN, mismatch::ALGORITHM, bent::TAG, mismatch::CURVE, oracle::ORACLE];

//! Is every claim read as the JSON type that it has, and never as another one?

mod kinds;
mod names;
mod time;

use crate::conformance::descriptor::{Check, Need};

pub(super) use names::subject_ways;

/// What a check of a signed claim needs.
const NEEDS: &[Need] = &[Need::JwtAccess, Need::SigningKey, Need::VerifyWay];

/// The family TYPE, in the order of the catalogue.
pub const CHECKS: &[Check] = &[
    time::EXP_STRING,
    time::EXP_OTHER,
    time::NBF_IAT,
    names::AUD,
    names::ISS,
    names::SUB,
    kinds::JTI,
    kinds::SCOPE,
    kinds::TOKEN_TYPE,
];

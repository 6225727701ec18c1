//! Does the server accept only what its own key signed, by the one algorithm of that key?

mod algorithm;
mod confusion;
mod embedded;
mod form;
mod header;
mod kid;
mod remote;
mod tamper;

use crate::conformance::descriptor::Check;

/// The family SIG, in the order of the catalogue.
pub const CHECKS: &[Check] = &[
    tamper::TAMPER,
    tamper::WRONG_KEY,
    algorithm::NONE,
    algorithm::ODD,
    algorithm::SIBLING,
    confusion::PUBLIC,
    confusion::RECOVERED,
    confusion::EMPTY_KEY,
    embedded::JWK,
    embedded::X5C,
    remote::KEY,
    remote::CLAIM,
    kid::INJECT,
    kid::TYPE,
    header::CRIT,
    header::B64_FALSE,
    form::ECDSA_SPECIAL,
    form::ECDSA_FORM,
    form::EDDSA_FORM,
    form::RSA_PADDING,
    tamper::BEFORE_CLAIMS,
];

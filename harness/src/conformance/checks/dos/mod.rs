//! Does one small request keep the server busy for long?
//!
//! All of these run only with `--intrusive`, alone, with one request at a time; the first slow answer ends a check.

mod dots;
mod keys;
mod nested;
mod pace;
mod password;
mod size;
mod storm;
mod zip;

use crate::conformance::descriptor::Check;

/// The family DOS, in the order of the catalogue.
pub const CHECKS: &[Check] =
    &[password::P2C, zip::BOMB, dots::DOTS, nested::JSON, size::TOKEN, keys::BIG, size::REGEX, storm::STORM];

//! Is a token the one compact text that was signed, and nothing like it?

mod encoding;
mod form;
mod json;
mod malleable;

use crate::conformance::descriptor::Check;

/// The family STRUCT, in the order of the catalogue.
pub const CHECKS: &[Check] = &[
    form::SEGMENTS,
    form::NOT_A_STRING,
    form::JSON_SERIALIZATION,
    form::POLYGLOT,
    encoding::JUNK,
    encoding::ALPHABET,
    encoding::PADDING,
    encoding::UNUSED_BITS,
    malleable::DENYLIST,
    json::DUPLICATES,
    json::ENCODING,
    json::NOT_OBJECT,
    json::BENIGN,
    json::MEMBER_CASE,
];

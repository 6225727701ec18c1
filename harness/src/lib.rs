//! Assay: load testing and conformance for JWT token servers.
//!
//! The modules stand on floors; a module uses lower floors only (see ARCHITECTURE.md):
//!
//! | floor | modules |
//! |---|---|
//! | 7 | [`run`] |
//! | 6 | [`conformance`] |
//! | 5 | [`load`], [`discover`] |
//! | 4 | [`launch`], [`target`], [`report`], [`proxy`] |
//! | 3 | [`wire`], [`stats`] |
//! | 2 | [`scenario`], [`record`] |
//! | 1 | [`clock`], [`jose`] |
//! | 0 | [`units`] |

pub mod clock;
pub mod conformance;
pub mod discover;
pub mod jose;
pub mod launch;
pub mod load;
pub mod proxy;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod stats;
pub mod target;
pub mod units;
pub mod wire;

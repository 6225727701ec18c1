//! How does a target speak? Profile + operation -> request; reply -> meaning; capabilities.
//!
//! A [`Profile`] is data; a [`Target`] is a profile with an address. [`Target::request`] makes the request of an
//! operation, [`Target::judge`] says what a reply means by the profile's own predicates (never by "2xx"),
//! [`Target::tokens`] takes the tokens out of it. Nothing here does input or output but
//! [`Target::command`], which runs a profile's script, and [`Target::discover`] and [`Target::key_set`], which fetch
//! what the target publishes about itself.

mod builtin;
mod command;
mod documents;
mod judge;
mod keys;
mod load;
mod profile;
mod reply;
mod request;
mod secrets;
mod server;
mod template;
mod validate;

pub use builtin::{Builtin, builtin, builtins};
pub use documents::DocumentError;
pub use judge::{Answer, Case, Issued, Meaning, TokenPlace};
pub use keys::KeyMaterial;
pub use load::{load, parse_profile};
pub use profile::*;
pub use secrets::{Asked, Credential};
pub use server::{Target, TargetError};
pub use template::{TemplateError, Vars, environment};
pub use validate::{examine, examine_named, hooks};

#[cfg(test)]
mod tests;

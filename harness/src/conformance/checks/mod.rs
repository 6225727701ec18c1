//! Which families of checks are there? One file each; a check is one item of its family's slice.

pub mod bearer;
pub mod claim;
pub mod issue;
mod material;
pub mod refresh;
pub mod revoke;
pub mod signature;
pub mod structure;
pub mod time;
pub mod types;
pub mod verify;

//! Which families of checks are there? One file each (or a few); a check is one item of its family's slice.

pub mod bearer;
pub mod bearer_identity;
pub mod claim;
pub mod claim_rights;
pub mod clients;
pub mod dos;
pub mod issue;
pub mod issue_refusal;
pub mod issue_replies;
pub mod issue_secrets;
pub mod issue_tokens;
pub mod jwe;
pub mod keys;
pub mod leak;
mod logs;
mod material;
pub mod proxy;
mod proxy_cache;
pub mod refresh;
pub mod refresh_series;
pub mod revoke;
pub mod revoke_reach;
pub mod sessions;
pub mod signature;
mod spoilt;
pub mod structure;
pub mod time;
pub mod time_spread;
pub mod types;
pub mod verify;
pub mod verify_fuzz;

pub(super) use logs::named_logs;

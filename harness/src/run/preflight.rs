//! Can a target be spoken to at all, before anything is examined or driven?

use std::time::Duration;

use super::error::RunError;
use crate::target::{DocumentError, Profile, Target};
use crate::wire::{Connection, WireError};

/// Deadline of reaching the target.
const PATIENCE: Duration = Duration::from_secs(10);

/// The target of a topology: reachable, and with its discovery document where the profile names one.
///
/// # Errors
/// An address that is none or not allowed, a target that cannot be reached, a document that is none.
pub fn preflight(
    topology: &str,
    profile: &Profile,
    url: &str,
    admin_url: Option<&str>,
    allow_remote: &[String],
) -> Result<Target, RunError> {
    let mut target = Target::new(profile.clone(), url, admin_url, allow_remote).map_err(RunError::target(topology))?;
    let unreachable =
        |source: WireError| RunError::Unreachable { topology: topology.to_owned(), url: url.to_owned(), source };
    Connection::open(&target.endpoint, &target.tls, PATIENCE).map_err(unreachable)?;
    target.discover().map_err(|why| match why {
        DocumentError::Wire(source) => unreachable(source),
        other => RunError::Unexpected { topology: topology.to_owned(), problem: other.to_string() },
    })?;
    Ok(target)
}

/// Whether connections are still taken.
///
/// # Errors
/// Why not.
pub fn still_there(target: &Target) -> Result<(), WireError> {
    Connection::open(&target.endpoint, &target.tls, PATIENCE).map(|_| ())
}

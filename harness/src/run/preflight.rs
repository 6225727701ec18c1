//! Can a target be spoken to at all, before anything is examined or driven?

use std::time::Duration;

use serde_json::Value;

use super::error::RunError;
use crate::target::{Profile, Target};
use crate::wire::{Connection, Reply, WireError, encode};

/// Deadline of reaching the target, and of its discovery document.
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
    let mut connection = Connection::open(&target.endpoint, &target.tls, PATIENCE).map_err(unreachable)?;
    if let Some(path) = target.discovery_path().map(str::to_owned) {
        let reply = ask(&mut connection, &target, &path).map_err(unreachable)?;
        let document = document(&reply).map_err(|seen| RunError::Unexpected {
            topology: topology.to_owned(),
            problem: format!(
                "expected a discovery document at {path}, saw {seen}; hint: `discovery` in the profile names its path"
            ),
        })?;
        target.set_discovery(&document);
    }
    Ok(target)
}

/// Whether connections are still taken.
///
/// # Errors
/// Why not.
pub fn still_there(target: &Target) -> Result<(), WireError> {
    Connection::open(&target.endpoint, &target.tls, PATIENCE).map(|_| ())
}

fn ask(connection: &mut Connection, target: &Target, path: &str) -> Result<Reply, WireError> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(bytes::Bytes::new())
        .map_err(|e| WireError::Address { url: path.to_owned(), reason: e.to_string() })?;
    connection.exchange(&encode(&request, &target.endpoint), false, PATIENCE)
}

fn document(reply: &Reply) -> Result<Value, String> {
    if reply.status != 200 {
        return Err(format!("status {}", reply.status));
    }
    match reply.json() {
        Some(document @ Value::Object(_)) => Ok(document),
        _ => Err(format!("{} bytes that are no JSON object", reply.body.len())),
    }
}

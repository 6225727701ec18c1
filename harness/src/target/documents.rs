//! What does a target publish about itself? Its discovery document and its key set, fetched off the measured path.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::Target;
use crate::wire::{self, Reply, WireError};

/// The longest that a document may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a document is not there.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The target could not be asked.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It answered something else.
    #[error("expected a discovery document at {path}, saw {seen}; hint: `discovery` in the profile names its path")]
    Unexpected {
        /// Where it was asked for.
        path: String,
        /// What came instead.
        seen: String,
    },
}

impl Target {
    /// Fetches the discovery document, where the profile names one, and takes from it what the profile leaves open.
    ///
    /// # Errors
    /// A target that cannot be asked, or an answer that is no JSON object.
    pub fn discover(&mut self) -> Result<(), DocumentError> {
        let Some(path) = self.discovery_path().map(str::to_owned) else { return Ok(()) };
        let reply = self.fetch(&path)?;
        let seen = match (reply.status, reply.json()) {
            (200, Some(document @ Value::Object(_))) => {
                self.set_discovery(&document);
                return Ok(());
            }
            (200, _) => format!("{} bytes that are no JSON object", reply.body.len()),
            (status, _) => format!("status {status}"),
        };
        Err(DocumentError::Unexpected { path, seen })
    }

    /// The text of the published key set, where the profile or the discovery document says where it is and it is there.
    pub fn key_set(&self) -> Option<String> {
        let reply = self.fetch(&self.jwks_path()?).ok()?;
        (reply.status == 200).then(|| reply.text())
    }

    fn fetch(&self, path: &str) -> Result<Reply, WireError> {
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, "application/json")
            .body(Bytes::new())
            .map_err(|e| WireError::Address { url: path.to_owned(), reason: e.to_string() })?;
        wire::ask(&self.endpoint, &self.tls, &request, PATIENCE)
    }
}

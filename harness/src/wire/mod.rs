//! How do bytes reach a server and come back, and when exactly? Connections with exact timestamps.
//!
//! Load and probes use this module alike, so that a control and the malformed request beside it travel the
//! same way: prepared bytes in one write, own framing over a parsing library, TCP_NODELAY, and quick ACKs
//! (delayed ones would add 40 ms that are not the server's work).

mod connection;
mod control;
mod encode;
mod endpoint;
mod error;
#[cfg(test)]
mod hostile;
mod reply;
mod response;
mod tls;

pub use connection::Connection;
pub use control::ask;
pub use encode::encode;
pub use endpoint::{Endpoint, Scheme};
pub use error::WireError;
pub use reply::{Reply, Timing};
pub use response::{Limits, ResponseParser};
pub use tls::{ClientCertificate, TlsOptions, TlsVersions};

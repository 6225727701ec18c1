//! What went wrong on the wire, and by which short name is it counted?

use std::io;
use std::time::Duration;

/// A connection or an exchange that did not end in a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The address cannot be used at all: a mistake of the caller.
    #[error("expected an address such as `http://127.0.0.1:8080`, saw `{url}`: {reason}")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host is not on loopback, and nobody allowed it by name.
    #[error(
        "`{host}` is not on loopback ({address}); hint: name it with `--allow-remote {host}` or `allow-remote: [{host}]`"
    )]
    NotAllowed {
        /// The host as written.
        host: String,
        /// Where it would have led.
        address: String,
    },
    /// The host has no address.
    #[error("could not resolve `{host}`: {reason}")]
    Resolve {
        /// The host as written.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody listens there.
    #[error("connection to {address} refused")]
    Refused {
        /// Where to.
        address: String,
    },
    /// The peer reset the connection.
    #[error("connection reset by the server {during}")]
    Reset {
        /// When: `while connecting`, `while sending`, `before the status line`, `in the body`.
        during: &'static str,
    },
    /// The peer closed the connection before the reply was complete.
    #[error("connection closed by the server {during}")]
    Closed {
        /// When: `before the status line`, `in the head`, `in the body`.
        during: &'static str,
    },
    /// The deadline passed.
    #[error("no {what} within {}", crate::units::Nanos::from(*.after))]
    Timeout {
        /// What was waited for: `connection`, `handshake`, `reply`, `end of the reply's head`, `end of the reply's body`,
        /// `room to send`.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// The TLS layer refused.
    #[error("tls: {0}")]
    Tls(String),
    /// The reply is not HTTP/1.1.
    #[error("expected an HTTP/1.1 reply, saw {0}")]
    Protocol(String),
    /// The reply is larger than we are willing to hold.
    #[error("{}", too_large(what, *limit))]
    TooLarge {
        /// `head`, `body`, `headers`, `interim replies`, `interim head`, `chunk line`, `trailers`.
        what: &'static str,
        /// The limit, in bytes (for `headers` and `interim replies`: how many).
        limit: usize,
    },
    /// Our own machine would not do it (descriptors, ports, memory): never the target's fault.
    #[error("could not {what} on this machine: {reason}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        reason: String,
    },
}

/// Headers and interim replies are counted, the rest is measured.
fn too_large(what: &str, limit: usize) -> String {
    match what {
        "headers" | "interim replies" => format!("the reply has more than {limit} {what}"),
        _ => format!("the reply's {what} exceeds {limit} bytes"),
    }
}

impl WireError {
    /// The name under which it is counted: `refused`, `reset`, `closed`, `timeout`, `tls`, `protocol`,
    /// `too-large`, `resolve`, `not-allowed`, `address`, `local`.
    pub fn kind(&self) -> &'static str {
        match self {
            WireError::Address { .. } => "address",
            WireError::NotAllowed { .. } => "not-allowed",
            WireError::Resolve { .. } => "resolve",
            WireError::Refused { .. } => "refused",
            WireError::Reset { .. } => "reset",
            WireError::Closed { .. } => "closed",
            WireError::Timeout { .. } => "timeout",
            WireError::Tls(_) => "tls",
            WireError::Protocol(_) => "protocol",
            WireError::TooLarge { .. } => "too-large",
            WireError::Local { .. } => "local",
        }
    }

    /// Whether this is our own failure and says nothing about the target.
    pub fn is_ours(&self) -> bool {
        matches!(
            self,
            WireError::Address { .. }
                | WireError::NotAllowed { .. }
                | WireError::Resolve { .. }
                | WireError::Local { .. }
        )
    }

    /// An error of the TLS layer, with what to do about it where that is known.
    pub(crate) fn tls(error: &rustls::Error) -> WireError {
        use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
        let hint = match error {
            Error::InvalidCertificate(Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }) => {
                "; hint: `tls: {server_name: NAME}` in the profile, a name that the certificate has"
            }
            Error::InvalidCertificate(_) => {
                "; hint: `tls: {ca: FILE}` in the profile names who signed it, `tls: {insecure: true}` takes any certificate of a throw-away server"
            }
            Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure | Alert::BadCertificate) => {
                "; hint: a server that asks for a client's certificate gets one by `tls: {certificate: FILE, key: FILE}` in the profile"
            }
            Error::InvalidMessage(_) => "; hint: does it speak TLS at all? `http://` if not",
            _ => "",
        };
        WireError::Tls(format!("{error}{hint}"))
    }

    /// An error of the kernel while connecting.
    pub(crate) fn connecting(error: &io::Error, address: String, after: Duration) -> WireError {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => WireError::Refused { address },
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
                WireError::Reset { during: "while connecting" }
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => WireError::Timeout { what: "connection", after },
            _ => WireError::Local { what: "connect", reason: error.to_string() },
        }
    }

    /// An error of the kernel (or of the TLS layer above it) on an open connection.
    pub(crate) fn moving(error: &io::Error, during: &'static str, what: &'static str, after: Duration) -> WireError {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return WireError::tls(tls);
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                WireError::Reset { during }
            }
            io::ErrorKind::UnexpectedEof => WireError::Closed { during },
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => WireError::Timeout { what, after },
            _ => WireError::Local { what: "use the connection", reason: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_not_told_in_bytes() {
        let told = |what, limit| WireError::TooLarge { what, limit }.to_string();
        assert_eq!(told("interim replies", 16), "the reply has more than 16 interim replies");
        assert_eq!(told("headers", 64), "the reply has more than 64 headers");
        assert_eq!(told("interim head", 65_536), "the reply's interim head exceeds 65536 bytes");
    }
}

//! What came back, and when?

use crate::units::Nanos;

/// The stamps of one exchange. Instants are on the clock of [`crate::clock::mono`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How long the TCP connection took; absent on a reused one.
    pub connect: Option<Nanos>,
    /// How long the TLS handshake took; absent on a plain or reused connection.
    pub tls: Option<Nanos>,
    /// Just before the write that made the request complete.
    pub sent: Nanos,
    /// When the first byte of the reply (interim replies included) had been read.
    pub first_byte: Nanos,
    /// When the last byte had been read.
    pub done: Nanos,
}

impl Timing {
    /// Wire to last byte.
    pub fn service(&self) -> Nanos {
        self.done.since(self.sent)
    }
}

/// One reply, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The final status.
    pub status: u16,
    /// Fields in order, names as sent.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
    /// Status line and fields as received, blank line included.
    pub head: Vec<u8>,
    /// When.
    pub timing: Timing,
    /// Which connection of this process: a number that is never used twice.
    pub connection: u64,
    /// Whether an earlier exchange went over the same connection.
    pub reused: bool,
    /// Whether the server ends the connection with this reply.
    pub closes: bool,
    /// Interim (1xx) replies before it.
    pub interim: u32,
    /// Bytes that had already arrived behind the body.
    pub extra: usize,
}

impl Reply {
    /// The first field of that name, if it is text (bytes beyond ASCII count as text only in UTF-8).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_all(name).into_iter().next()
    }

    /// All fields of that name that are text, in order.
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let named = |(n, _): &&(String, Vec<u8>)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).filter_map(|(_, v)| std::str::from_utf8(v).ok()).collect()
    }

    /// The body as JSON, if it is.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_whatever_their_case() {
        let reply = Reply {
            headers: vec![
                ("Set-Cookie".into(), b"a=1".to_vec()),
                ("set-cookie".into(), b"b=2".to_vec()),
                ("X".into(), vec![0xff]),
            ],
            body: b"{\"active\": true}".to_vec(),
            ..Reply::default()
        };
        assert_eq!(reply.header("SET-COOKIE"), Some("a=1"));
        assert_eq!(reply.header_all("set-cookie"), ["a=1", "b=2"]);
        assert_eq!(reply.header("x"), None);
        assert_eq!(reply.json().unwrap()["active"], true);
    }
}

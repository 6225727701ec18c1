//! What happens on one connection and on one stream? Opening, receiving, and how either ends.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::HeaderMap;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::clock;
use crate::load::flight::LIMITS;
use crate::target::Answer;
use crate::units::Nanos;
use crate::wire::WireError;

/// What a server may send on one stream, and on one connection, before we say that we have read it.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 24;

/// A whole reply.
pub(in crate::load) struct Whole {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    pub first_byte: Nanos,
    pub done: Nanos,
}

impl Answer for Whole {
    fn status(&self) -> u16 {
        self.status
    }
    fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
    fn body(&self) -> &[u8] {
        &self.body
    }
}

pub(in crate::load) struct Opened {
    pub sender: SendRequest<Bytes>,
    pub connect: Nanos,
    pub tls: Option<Nanos>,
}

/// Whether the server says that it did not look at the request.
pub(super) fn turned_away(error: &h2::Error) -> bool {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => true,
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        _ => false,
    }
}

/// The name under which a failure is counted.
pub(super) fn kind(error: &h2::Error) -> &'static str {
    match error.get_io() {
        Some(io) => WireError::moving(io, "in the reply", "reply", Duration::ZERO).kind(),
        None if error.is_io() => "closed",
        // What our own library objects to is no HTTP/2; only the server's word is a reset.
        None if error.is_library() => "protocol",
        None if error.is_reset() || error.is_go_away() => "reset",
        None => "protocol",
    }
}

/// Why a stream brought no whole reply.
pub(in crate::load) enum Broken {
    /// The library's word.
    Stream(h2::Error),
    /// Ours.
    Wire(WireError),
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Broken {
        Broken::Stream(error)
    }
}

/// The reply of one stream. `head` is set as soon as its head is here; a body of more than `most` bytes is refused.
pub(in crate::load) async fn receive(reply: ResponseFuture, head: Rc<Cell<Nanos>>, most: u64) -> Result<Whole, Broken> {
    let (parts, mut stream) = reply.await?.into_parts();
    let first_byte = clock::mono();
    head.set(first_byte);
    let (mut body, mut read) = (Vec::new(), 0);
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        read += chunk.len() as u64;
        if read > most {
            return Err(Broken::Wire(WireError::TooLarge {
                what: "body",
                limit: usize::try_from(most).unwrap_or(usize::MAX),
            }));
        }
        stream.flow_control().release_capacity(chunk.len())?;
        let room = LIMITS.keep.saturating_sub(body.len()).min(chunk.len());
        body.extend_from_slice(&chunk[..room]);
    }
    Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, first_byte, done: clock::mono() })
}

/// Opens a connection, shakes hands, and has a task of its own read and write.
pub(in crate::load) async fn open(
    addr: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    patience: Duration,
) -> Result<Opened, WireError> {
    let late = |_| WireError::Timeout { what: "connection", after: patience };
    tokio::time::timeout(patience, async {
        let from = clock::mono();
        let tcp = tokio::net::TcpStream::connect(addr)
            .await
            .map_err(|e| WireError::connecting(&e, addr.to_string(), patience))?;
        tcp.set_nodelay(true).map_err(|e| WireError::Local { what: "set TCP_NODELAY", reason: e.to_string() })?;
        let connect = clock::mono().since(from);
        let Some((config, name)) = tls else { return Ok(Opened { sender: greet(tcp).await?, connect, tls: None }) };
        let from = clock::mono();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::InvalidData => WireError::Tls(e.to_string()),
            _ => WireError::moving(&e, "in the handshake", "handshake", patience),
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(WireError::Tls("the server does not offer HTTP/2 (ALPN `h2`)".into()));
        }
        let took = clock::mono().since(from);
        Ok(Opened { sender: greet(stream).await?, connect, tls: Some(took) })
    })
    .await
    .map_err(late)?
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin + 'static>(stream: S) -> Result<SendRequest<Bytes>, WireError> {
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(stream)
        .await
        .map_err(|e| WireError::Protocol(format!("no HTTP/2: {e}")))?;
    // How it ends is told to each of its streams.
    spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

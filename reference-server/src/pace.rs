//! Does a connection over HTTP/2 get anywhere? Pings keep it open; only requests that are asked and answers that are taken keep its place.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// What the requests of one connection wait for.
pub(crate) struct Pace {
    patience: Duration,
    exchanges: Mutex<Exchanges>,
}

struct Exchanges {
    /// When the last one ended, or the connection began.
    last: Instant,
    /// Those that are open: when the peer last took something of the answer; none while the server has not answered.
    open: HashMap<u64, Option<Instant>>,
    next: u64,
}

impl Pace {
    /// Of a connection that begins now.
    pub(crate) fn new(patience: Duration) -> Arc<Self> {
        let exchanges = Exchanges { last: Instant::now(), open: HashMap::new(), next: 0 };
        Arc::new(Self { patience, exchanges: Mutex::new(exchanges) })
    }

    fn lock(&self) -> MutexGuard<'_, Exchanges> {
        // Every change is one assignment, so a panic elsewhere leaves nothing half done.
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(crate) fn begin(self: &Arc<Self>) -> Exchange {
        let mut exchanges = self.lock();
        let number = exchanges.next;
        exchanges.next += 1;
        exchanges.open.insert(number, None);
        Exchange { pace: Arc::clone(self), number }
    }

    /// Done when the peer has asked nothing, or has taken nothing of an answer, for too long.
    pub(crate) async fn over(&self) {
        loop {
            let over = self.patience_ends();
            if Instant::now() >= over {
                return;
            }
            tokio::time::sleep_until(over).await;
        }
    }

    fn patience_ends(&self) -> Instant {
        let exchanges = self.lock();
        let since = match exchanges.open.values().flatten().min() {
            Some(taken) => *taken,
            None if exchanges.open.is_empty() => exchanges.last,
            // It is our turn.
            None => Instant::now(),
        };
        since + self.patience
    }
}

/// One request and its answer, while they last.
pub(crate) struct Exchange {
    pace: Arc<Pace>,
    number: u64,
}

impl Exchange {
    fn taken(&self) {
        self.pace.lock().open.insert(self.number, Some(Instant::now()));
    }

    /// The body of the answer: it lasts until the peer has made room for the end of it.
    pub(crate) fn answers<B>(self, body: B) -> Paced<B> {
        self.taken();
        Paced { body, exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut exchanges = self.pace.lock();
        exchanges.open.remove(&self.number);
        exchanges.last = Instant::now();
    }
}

/// A body that tells when some of it is taken.
pub(crate) struct Paced<B> {
    body: B,
    exchange: Exchange,
}

impl<B: Body + Unpin> Body for Paced<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.exchange.taken();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

    use crate::listen::Protocols;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0assay-no";

    /// The preface, and settings that let the server send so many bytes of an answer.
    fn hello(window: u32) -> Vec<u8> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04".to_vec();
        bytes.extend(window.to_be_bytes());
        bytes
    }

    /// `GET /` by a stream (RFC 9113 section 6.2, RFC 7541 appendix A): headers that end it.
    fn ask(stream: u32) -> Vec<u8> {
        let mut bytes = b"\0\0\x06\x01\x05".to_vec();
        bytes.extend(stream.to_be_bytes());
        bytes.extend(b"\x82\x86\x84\x01\x01x");
        bytes
    }

    /// How long a connection lasts whose peer does this, pinging all the while; none where it lasts for six times the patience.
    async fn lasts<F: Future<Output = DuplexStream>>(peer: impl FnOnce(DuplexStream) -> F) -> Option<Duration> {
        let (ours, theirs) = duplex(1 << 20);
        let router = Router::new().route("/", get(async || "an answer"));
        let protocols = Protocols::new(PATIENCE);
        // Its end would be the end of the connection.
        let graceful = GracefulShutdown::new();
        let from = Instant::now();
        let served = protocols.serve(ours, true, router, graceful.watcher());
        let pinging = async {
            let mut peer = peer(theirs).await;
            loop {
                tokio::time::sleep(PATIENCE / 8).await;
                // It may be gone.
                let _ = peer.write_all(PING).await;
            }
        };
        tokio::select! {
            () = served => Some(from.elapsed()),
            () = pinging => None,
            () = tokio::time::sleep(PATIENCE * 6) => None,
        }
    }

    #[tokio::test]
    async fn who_pings_and_takes_no_answer_loses_its_place() {
        let lasted = lasts(async |mut peer: DuplexStream| {
            peer.write_all(&[hello(0), ask(1)].concat()).await.unwrap();
            peer
        });
        let lasted = lasted.await.expect("an end");
        assert!(lasted >= PATIENCE, "{lasted:?}");
    }

    #[tokio::test]
    async fn who_pings_and_asks_nothing_loses_its_place() {
        let lasted = lasts(async |mut peer: DuplexStream| {
            peer.write_all(&hello(65_535)).await.unwrap();
            peer
        });
        assert!(lasted.await.expect("an end") >= PATIENCE);
    }

    #[tokio::test]
    async fn who_asks_now_and_then_and_takes_the_answers_keeps_it() {
        let lasted = lasts(async |mut peer: DuplexStream| {
            peer.write_all(&hello(65_535)).await.unwrap();
            for number in 0..5 {
                peer.write_all(&ask(1 + 2 * number)).await.unwrap();
                tokio::time::sleep(PATIENCE / 2).await;
            }
            peer
        });
        assert!(lasted.await.expect("an end, at last") >= PATIENCE * 5 / 2);
    }
}

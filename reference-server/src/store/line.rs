//! How are the connections to a store's server kept? Each is made when it is needed, once for all who wait; a failure is remembered for
//! a moment, by all lines to that server, so that nobody queues for one that is away; the first success ends the memory for all.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::StoreError;

/// What one request may cost at most. Whoever asks has a client waiting.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// How long a failed attempt answers for those that come after it.
const PAUSE: Duration = Duration::from_millis(200);
/// Requests that may wait for one store; more are refused, and the caller says 503.
pub(super) const QUEUE: usize = 8192;

/// How a connection is made and told apart from a dead one.
pub(super) trait Dial: Sync {
    /// A connection; its copies are the same one.
    type Peer: Clone + Send + Sync;
    /// Makes one, ready for use.
    fn dial(&self) -> impl Future<Output = Result<Self::Peer, StoreError>> + Send;
    /// False where it is known to have ended.
    fn is_open(peer: &Self::Peer) -> bool;
}

/// What the attempts of all lines to one server have told.
#[derive(Debug, Default)]
struct Told {
    failed: Option<(Instant, StoreError)>,
    answered: Option<Instant>,
}

/// Is a store's server there? Shared by the lines to it.
#[derive(Debug, Default)]
struct Presence(RwLock<Told>);

impl Presence {
    /// The failure of a moment ago.
    fn absent(&self) -> Option<StoreError> {
        let told = self.0.read().unwrap_or_else(PoisonError::into_inner);
        told.failed.as_ref().filter(|(at, _)| at.elapsed() < PAUSE).map(|(_, why)| why.clone())
    }

    fn answered(&self) {
        let mut told = self.0.write().unwrap_or_else(PoisonError::into_inner);
        told.answered = Some(Instant::now());
        if told.failed.take().is_some() {
            tracing::warn!("the token store answers again");
        }
    }

    /// An attempt that began at `begun` has failed. It says nothing where another has succeeded since.
    fn failed(&self, begun: Instant, error: &StoreError) {
        let mut told = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if told.answered.is_some_and(|at| at > begun) {
            return;
        }
        if told.failed.is_none() {
            tracing::warn!(%error, "the token store is away");
        }
        told.failed = Some((Instant::now(), error.clone()));
    }
}

/// At most one connection at a time.
#[derive(Debug)]
pub(super) struct Line<P> {
    /// The connection with the number of the attempt that made it.
    open: RwLock<Option<(u64, P)>>,
    /// Attempts that succeeded; locked while one is under way.
    made: Mutex<u64>,
    presence: Arc<Presence>,
}

impl<P> Line<P> {
    /// So many lines to one server.
    pub(super) fn several(count: usize) -> Vec<Self> {
        let presence = Arc::<Presence>::default();
        (0..count)
            .map(|_| Self { open: RwLock::new(None), made: Mutex::default(), presence: Arc::clone(&presence) })
            .collect()
    }
}

impl<P: Clone + Send + Sync> Line<P> {
    fn current<D: Dial<Peer = P>>(&self) -> Option<(u64, P)> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().filter(|(_, peer)| D::is_open(peer))
    }

    /// The connection with its number, made where there is none.
    pub(super) async fn get<D: Dial<Peer = P>>(&self, dial: &D) -> Result<(u64, P), StoreError> {
        if let Some(found) = self.current::<D>() {
            return Ok(found);
        }
        let mut made = self.made.lock().await;
        // Another may have made it in the meantime.
        if let Some(found) = self.current::<D>() {
            return Ok(found);
        }
        if let Some(why) = self.presence.absent() {
            return Err(why);
        }
        let begun = Instant::now();
        let dialled = match tokio::time::timeout(DEADLINE, dial.dial()).await {
            Ok(dialled) => dialled,
            Err(_) => Err(StoreError("no connection within two seconds".to_owned())),
        };
        match dialled {
            Ok(peer) => {
                self.presence.answered();
                *made += 1;
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some((*made, peer.clone()));
                Ok((*made, peer))
            }
            Err(error) => {
                self.presence.failed(begun, &error);
                Err(error)
            }
        }
    }

    /// Gives up the connection of this number; a newer one stays.
    pub(super) fn lost(&self, number: u64) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_some_and(|(current, _)| *current == number) {
            *open = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting {
        dialled: AtomicU64,
        away: AtomicBool,
    }

    impl Dial for Counting {
        type Peer = u64;
        async fn dial(&self) -> Result<u64, StoreError> {
            tokio::task::yield_now().await;
            let number = self.dialled.fetch_add(1, Ordering::Relaxed);
            if self.away.load(Ordering::Relaxed) { Err(StoreError("away".to_owned())) } else { Ok(number) }
        }
        fn is_open(_: &u64) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn all_who_wait_share_one_connection_and_only_its_own_loss_ends_it() {
        let (lines, dial) = (Line::several(1), Counting::default());
        let line = &lines[0];
        let (a, b, c) = tokio::join!(line.get(&dial), line.get(&dial), line.get(&dial));
        assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), ((1, 0), (1, 0), (1, 0)));
        line.lost(1);
        assert_eq!(line.get(&dial).await.unwrap(), (2, 1));
        // A request that failed on the first connection says so late.
        line.lost(1);
        assert_eq!(line.get(&dial).await.unwrap(), (2, 1));
    }

    #[tokio::test]
    async fn a_failure_answers_for_a_moment_and_then_it_is_tried_again() {
        let (lines, dial) = (Line::several(1), Counting::default());
        let line = &lines[0];
        dial.away.store(true, Ordering::Relaxed);
        for _ in 0..50 {
            assert!(line.get(&dial).await.is_err());
        }
        // Fifty requests at once; a stalled machine may make it a second attempt, never fifty.
        assert!(dial.dialled.load(Ordering::Relaxed) < 25);
        dial.away.store(false, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
        assert!(line.get(&dial).await.is_ok());
    }

    #[tokio::test]
    async fn what_one_line_finds_all_lines_to_that_server_know() {
        let dial = Counting::default();
        let lines = Line::several(3);
        dial.away.store(true, Ordering::Relaxed);
        for line in &lines {
            assert!(line.get(&dial).await.is_err());
        }
        // One attempt answers for all three; a stalled machine may make it another.
        assert!(dial.dialled.load(Ordering::Relaxed) < 3);
        dial.away.store(false, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
        for line in &lines {
            assert!(line.get(&dial).await.is_ok(), "it is back for one, so it is back for all");
        }
        // An attempt from before that ends late is no news.
        lines[0].presence.failed(Instant::now().checked_sub(PAUSE * 2).unwrap(), &StoreError("late".to_owned()));
        lines[1].lost(1);
        assert!(lines[1].get(&dial).await.is_ok());
    }
}

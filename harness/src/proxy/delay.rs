//! How is a request held back for exactly so long? The runtime's timer counts in milliseconds; a thread that
//! waits for the earliest request does not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::clock;
use crate::units::Nanos;

struct Due {
    at: Nanos,
    wake: oneshot::Sender<()>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<BinaryHeap<Reverse<Due>>>,
    earlier: Condvar,
}

/// Holds requests back by a fixed time, to some tens of microseconds.
#[derive(Clone)]
pub(super) struct Delay {
    by: Duration,
    shared: Arc<Shared>,
}

impl Delay {
    /// Starts the thread that wakes; it lives as long as the process.
    pub(super) fn start(by: Duration) -> std::io::Result<Delay> {
        let shared = Arc::new(Shared::default());
        let waker = Arc::clone(&shared);
        std::thread::Builder::new().name("delay".to_owned()).spawn(move || {
            // The default lets the kernel wake us 50 us late.
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
            let mut waiting = waker.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let now = clock::mono();
                while waiting.peek().is_some_and(|Reverse(due)| due.at <= now) {
                    if let Some(Reverse(due)) = waiting.pop() {
                        let _ = due.wake.send(());
                    }
                }
                let left = waiting.peek().map(|Reverse(due)| due.at.since(now).duration());
                waiting = match left {
                    Some(left) => waker
                        .earlier
                        .wait_timeout(waiting, left)
                        .map(|(guard, _)| guard)
                        .unwrap_or_else(|e| e.into_inner().0),
                    None => waker.earlier.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                };
            }
        })?;
        Ok(Delay { by, shared })
    }

    /// Returns after the delay.
    pub(super) async fn wait(&self) {
        let (wake, woken) = oneshot::channel();
        let at = clock::mono() + Nanos::from(self.by);
        let first = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push(Reverse(Due { at, wake }));
            waiting.peek().is_some_and(|Reverse(due)| due.at == at)
        };
        if first {
            self.shared.earlier.notify_one();
        }
        let _ = woken.await;
    }
}

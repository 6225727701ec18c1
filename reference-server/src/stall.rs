//! Should requests wait? The delay that the admin port sets, to make a slow or frozen server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The delay now in force.
#[derive(Debug)]
pub(crate) struct Stall {
    start: Instant,
    delay_ms: AtomicU64,
    frozen_until_ms: AtomicU64,
}

impl Default for Stall {
    fn default() -> Self {
        Self { start: Instant::now(), delay_ms: AtomicU64::new(0), frozen_until_ms: AtomicU64::new(0) }
    }
}

/// No request is held longer than this: a forgotten freeze must end.
const LONGEST_MS: u64 = 60_000;

impl Stall {
    /// Delays each request by this many milliseconds from now on.
    pub(crate) fn delay(&self, ms: u64) {
        self.delay_ms.store(ms.min(LONGEST_MS), Ordering::Relaxed);
    }

    /// Answers nothing for this many milliseconds.
    pub(crate) fn freeze(&self, ms: u64) {
        let now = self.start.elapsed().as_millis() as u64;
        self.frozen_until_ms.store(now + ms.min(LONGEST_MS), Ordering::Relaxed);
    }

    /// True where requests pass at once.
    pub(crate) fn is_off(&self) -> bool {
        self.delay_ms.load(Ordering::Relaxed) == 0 && self.frozen_until_ms.load(Ordering::Relaxed) == 0
    }

    /// Waits as long as a request must.
    pub(crate) async fn pass(&self) {
        let delay = self.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let until = self.frozen_until_ms.load(Ordering::Relaxed);
        let now = self.start.elapsed().as_millis() as u64;
        if until > now {
            tokio::time::sleep(Duration::from_millis(until - now)).await;
        }
    }

    /// No delay any more.
    pub(crate) fn clear(&self) {
        self.delay_ms.store(0, Ordering::Relaxed);
        self.frozen_until_ms.store(0, Ordering::Relaxed);
    }
}

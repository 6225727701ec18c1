//! What time is it for this server? The one place that reads the clock, with an offset that the admin port can move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The server's clock: the system's, plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// Seconds since 1970-01-01 UTC, with fraction.
    pub(crate) fn now(&self) -> f64 {
        let system_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        (system_ms + self.offset_ms.load(Ordering::Relaxed)) as f64 / 1000.0
    }

    /// Moves the clock by this many milliseconds, back where negative.
    pub(crate) fn advance(&self, by_ms: i64) {
        self.offset_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Sets the distance from the system's clock.
    pub(crate) fn set_offset(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// The distance from the system's clock.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }
}

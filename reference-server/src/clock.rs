//! What time is it for this server? The one place that reads the clock, with an offset that the admin port can move.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The server's clock: the system's, plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
    /// By this moment of the system's clock used tokens were forgotten, which would be good again at an earlier one.
    settled_ms: AtomicI64,
}

impl Clock {
    /// Seconds since 1970-01-01 UTC, with fraction.
    pub(crate) fn now(&self) -> f64 {
        (self.no_earlier(system_ms()) + self.offset_ms()) as f64 / 1000.0
    }

    /// A moment to which this clock does not go back, by which what has expired may be forgotten: where the system's clock is
    /// put back afterwards, this one stands still until that has caught up. An offset counts where it is behind only, since one
    /// that is ahead will be taken back.
    pub(crate) fn settled(&self) -> f64 {
        let system = self.no_earlier(system_ms());
        self.settled_ms.fetch_max(system, Ordering::Relaxed);
        (system + self.offset_ms().min(0)) as f64 / 1000.0
    }

    fn no_earlier(&self, system_ms: i64) -> i64 {
        system_ms.max(self.settled_ms.load(Ordering::Relaxed))
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

fn system_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_s_clock_that_is_put_back_behind_a_sweep_is_waited_for() {
        let clock = Clock::default();
        assert_eq!(clock.no_earlier(5_000), 5_000);
        let swept = (clock.settled() * 1000.0) as i64;
        assert!((clock.no_earlier(5_000) - swept).abs() <= 1, "an hour or a decade before it");
        assert_eq!(clock.no_earlier(swept + 9_000), swept + 9_000);
    }

    #[test]
    fn what_an_offset_adds_is_not_settled_and_what_it_takes_away_is() {
        let clock = Clock::default();
        clock.advance(3_600_000);
        assert!(clock.now() - clock.settled() > 3_599.0);
        clock.set_offset(-3_600_000);
        assert!((clock.now() - clock.settled()).abs() < 1.0);
    }
}

//! What time is it? The only place that reads a clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::Nanos;

struct Anchor {
    mono: Instant,
    unix: Duration,
}

fn anchor() -> &'static Anchor {
    static ANCHOR: OnceLock<Anchor> = OnceLock::new();
    ANCHOR.get_or_init(|| Anchor {
        mono: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    })
}

/// Nanoseconds since this process first read the clock (CLOCK_MONOTONIC): never steps.
pub fn mono() -> Nanos {
    Nanos(anchor().mono.elapsed().as_nanos() as u64)
}

/// Seconds since the Unix epoch, derived from one wall-clock anchor plus the monotonic clock, so
/// that intervals within a run never jump. [`wall_step`] tells how far the wall clock moved away.
pub fn unix() -> f64 {
    unix_at(mono())
}

/// The anchored Unix time, in seconds, at a monotonic instant of this process.
pub fn unix_at(at: Nanos) -> f64 {
    anchor().unix.as_secs_f64() + at.as_secs_f64()
}

/// How many seconds the wall clock has moved against the monotonic clock since the anchor.
pub fn wall_step() -> f64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    wall - unix()
}

/// The present moment as RFC 3339 in UTC with whole seconds, for records.
pub fn utc_text() -> String {
    jiff::Timestamp::from_second(unix() as i64).map(|t| t.to_string()).unwrap_or_default()
}

//! What does arithmetic say of a server, and what did we see? Frozen, two-valued, limited, and 100 us later.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Behaviour, Bench, Driven, Seen, Shape};
use crate::load::LoadError;
use crate::record::HistogramRecord;
use crate::stats;
use crate::units::Nanos;

/// The error that is allowed beside the floor: one per cent, or this.
const ALLOWED_NS: f64 = 100_000.0;
/// What may be wrong about a difference of 100 us between two medians.
const DIFFERENCE_NS: f64 = 30_000.0;
/// Share of the time that somebody waited for a processor, above which the machine has other things to do.
const CROWDED: f64 = 0.1;
/// How many times as far off a number may be as either side was late, and be put down to that: the way there, the wait
/// and the way back can each be late once.
const LATE_TIMES: f64 = 3.0;
/// Arrivals per second of these drives.
const RATE: f64 = 1000.0;
/// What the limited server bears.
const LIMIT: f64 = 800.0;
/// What the last server adds.
const LATER: Nanos = Nanos(100_000);
/// Connections: so few that those which a freeze catches are no hundredth of all.
const FEW: u32 = 8;

/// One number of one server.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Truth {
    /// `frozen`, `two-valued`, `limited`, `100 us later`.
    pub server: String,
    /// `response p99`, `service p50`.
    pub number: String,
    /// By arithmetic.
    pub expected_ns: f64,
    /// As measured.
    pub seen_ns: f64,
    /// What is allowed between the two: 1 % or 100 us, and what a server that answers at once takes here.
    pub allowed_ns: f64,
    /// Whether that holds.
    pub verdict: TruthVerdict,
}

/// Whether a number is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TruthVerdict {
    /// Within what is allowed.
    Right,
    /// Not, although server and generator were on time.
    Wrong,
    /// Not, and server or generator say themselves that they were late enough to explain it.
    Inconclusive,
}

/// Which time of a record.
#[derive(Clone, Copy)]
enum Which {
    Response,
    Service,
}

impl Which {
    fn of(self, driven: &Driven) -> &HistogramRecord {
        let operation = &driven.record.operations[0];
        match self {
            Which::Response => &operation.response,
            Which::Service => &operation.service,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Which::Response => "response",
            Which::Service => "service",
        }
    }
}

/// Drives the four servers, each beside what arithmetic says.
pub(super) fn check(bench: &Bench<'_>) -> Result<Vec<Truth>, LoadError> {
    let seconds = if bench.options.quick { 2.0 } else { 10.0 };
    let shape = Shape { rate: RATE, seconds, connections: FEW, idle: bench.usual(), warmup: 0.0 };
    let drive = |name: &str, behaviour: Behaviour, shape: Shape| {
        (bench.options.on_step)(&format!("a server known by arithmetic: {name}"));
        let server = bench.server(behaviour)?;
        let driven = bench.drive(&server, shape)?;
        Ok::<_, LoadError>((driven, server.stop()?))
    };
    let null = drive("null", Behaviour::Null, shape)?;
    let floor = stats::decode(&null.0.record.operations[0].service).map_err(|e| LoadError::Internal(e.to_string()))?;
    let mut truths = Vec::new();
    let mut say = |server: &str,
                   which: Which,
                   seen: &(Driven, Seen),
                   q: f64,
                   expected: f64,
                   least: f64|
     -> Result<(), LoadError> {
        let record = which.of(&seen.0);
        if !stats::printable(record.n, q) {
            return Ok(());
        }
        let histogram = stats::decode(record).map_err(|e| LoadError::Internal(e.to_string()))?;
        let value = histogram.value_at_quantile(q) as f64;
        let allowed = (expected * 0.01).max(least) + floor.value_at_quantile(q) as f64;
        truths.push(Truth {
            server: server.to_owned(),
            number: format!("{} p{}", which.name(), (q * 1e5).round() / 1e3),
            expected_ns: expected,
            seen_ns: value,
            allowed_ns: allowed,
            verdict: verdict(value, expected, allowed, Excuse::of(seen, q), false),
        });
        Ok(())
    };

    let lasts = if bench.options.quick { 0.5 } else { 1.0 };
    let frozen = Behaviour::Frozen { nth: (RATE * seconds / 4.0) as u64, lasts: Nanos::from_secs_f64(lasts) };
    let seen = drive("frozen", frozen, shape)?;
    for q in [0.5, 0.99, 0.999] {
        let expected = frozen_wait(RATE * seconds, RATE, lasts, q) * 1e9;
        say("frozen", Which::Response, &seen, q, expected, ALLOWED_NS)?;
    }
    for q in [0.5, 0.99] {
        // Nothing of the freeze; what waited is sent in one burst behind it, which is work for both sides.
        say("frozen", Which::Service, &seen, q, 0.0, lasts * 1e9 * 0.01)?;
    }

    let (fast, slow) = (Nanos(500_000), Nanos(5_000_000));
    let seen = drive("two-valued", Behaviour::TwoValued { fast, slow, every: 5 }, Shape { connections: 64, ..shape })?;
    for (q, expected) in [(0.5, fast), (0.9, slow), (0.99, slow), (0.999, slow)] {
        say("two-valued", Which::Service, &seen, q, expected.0 as f64, ALLOWED_NS)?;
    }

    let seen = drive("limited", Behaviour::Limited { per_s: LIMIT }, Shape { seconds: 2.0, ..shape })?;
    let served = seen.0.record.accounting.completed as f64;
    for q in [0.5, 0.9, 0.99] {
        say("limited", Which::Response, &seen, q, limited_wait(served, RATE, LIMIT, q) * 1e9, ALLOWED_NS)?;
    }

    let seen = drive("100 us later", Behaviour::Later(LATER), shape)?;
    let (null_p50, later_p50) = (floor.value_at_quantile(0.5) as f64, Which::Service.of(&seen.0).p50_ns as f64);
    let (expected, value) = (LATER.0 as f64, later_p50 - null_p50);
    truths.push(Truth {
        server: "100 us later".to_owned(),
        number: "difference of service p50".to_owned(),
        expected_ns: expected,
        seen_ns: value,
        allowed_ns: DIFFERENCE_NS,
        verdict: verdict(value, expected, DIFFERENCE_NS, Excuse::of(&seen, 0.5).or(Excuse::of(&null, 0.5)), true),
    });
    Ok(truths)
}

/// How late everything was around a number, in ns, by its own word.
#[derive(Clone, Copy, Debug, Default)]
struct Excuse {
    /// Server or generator, at the same quantile.
    late_ns: f64,
    /// Time in which somebody waited for a processor, where that was more than is usual.
    waited_ns: f64,
}

impl Excuse {
    fn of(seen: &(Driven, Seen), q: f64) -> Excuse {
        let record = &seen.0.record;
        let lag = stats::decode(&record.operations[0].lag).map_or(0, |h| h.value_at_quantile(q));
        let crowded = record.certificate.pressure.filter(|share| *share > CROWDED);
        Excuse {
            late_ns: seen.1.late.value_at_quantile(q).max(lag).max(seen.1.idle.0) as f64,
            waited_ns: crowded.map_or(0.0, |share| share * record.duration_s * 1e9),
        }
    }

    /// The same where either of two drives may have been late.
    fn or(self, other: Excuse) -> Excuse {
        let most = |of: fn(&Excuse) -> f64| of(&self).max(of(&other));
        Excuse { late_ns: most(|e| e.late_ns), waited_ns: most(|e| e.waited_ns) }
    }
}

/// A number that is off is wrong, unless what was late can explain all of it. Being late makes a time longer and never
/// shorter; only a difference of two times goes either way.
fn verdict(value: f64, expected: f64, allowed: f64, excuse: Excuse, difference: bool) -> TruthVerdict {
    let off = value - expected;
    if off.abs() <= allowed {
        return TruthVerdict::Right;
    }
    let late = if excuse.late_ns > allowed / 4.0 { excuse.late_ns * LATE_TIMES } else { 0.0 };
    let explained = late.max(excuse.waited_ns);
    let may_be = off > 0.0 || difference;
    if may_be && off.abs() <= allowed + explained { TruthVerdict::Inconclusive } else { TruthVerdict::Wrong }
}

/// Seconds that the request at quantile `q` waits: `n` evenly spaced arrivals at `rate`, one of which begins a freeze
/// of `lasts` seconds. The k-th longest wait (from 0) is the freeze less k distances.
fn frozen_wait(n: f64, rate: f64, lasts: f64, q: f64) -> f64 {
    let above = n - (q * n).ceil();
    (lasts - above / rate).max(0.0)
}

/// The same for a server that takes one after the other at `limit` a second, of which `n` were served in order: the
/// k-th (from 0) was due at (k + 1/2) / rate and is done at (k + 1) / limit.
fn limited_wait(n: f64, rate: f64, limit: f64, q: f64) -> f64 {
    let k = (q * n).ceil() - 1.0;
    // The first was due half a distance after the start, and the server begins with it.
    (k + 1.0) / limit - k / rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_by_more_than_anything_was_late_is_wrong_however_busy_the_machine_was() {
        let ms = |n: f64| n * 1e6;
        let told = |value: f64, late: f64, waited: f64| {
            let excuse = Excuse { late_ns: ms(late), waited_ns: ms(waited) };
            verdict(ms(value), ms(100.0), ms(1.0), excuse, false)
        };
        assert_eq!(told(100.9, 0.0, 0.0), TruthVerdict::Right);
        assert_eq!(told(102.0, 0.0, 0.0), TruthVerdict::Wrong);
        assert_eq!(told(102.0, 0.5, 0.0), TruthVerdict::Inconclusive);
        assert_eq!(told(105.0, 0.5, 0.0), TruthVerdict::Wrong, "half a millisecond does not explain four");
        assert_eq!(told(150.0, 0.0, 60.0), TruthVerdict::Inconclusive);
        assert_eq!(told(400.0, 0.5, 60.0), TruthVerdict::Wrong, "it was busy, but not for so long");
        // Nobody who is late is early.
        assert_eq!(told(50.0, 100.0, 1000.0), TruthVerdict::Wrong);
        let excuse = Excuse { late_ns: ms(100.0), waited_ns: 0.0 };
        assert_eq!(verdict(ms(50.0), ms(100.0), ms(1.0), excuse, true), TruthVerdict::Inconclusive);
    }

    #[test]
    fn arithmetic_knows_the_waits_of_a_freeze() {
        // 4,000 arrivals at 1,000/s, one second frozen: a quarter waits, evenly spread.
        let wait = |q| frozen_wait(4000.0, 1000.0, 1.0, q);
        assert_eq!((wait(0.5), wait(0.75)), (0.0, 0.0));
        assert!((wait(0.99) - 0.96).abs() < 1e-9 && (wait(0.999) - 0.996).abs() < 1e-9);
    }

    #[test]
    fn arithmetic_knows_the_waits_of_a_limit() {
        // The queue grows by a fifth of the time: after 1,600 served, 2 s of work came in 1.6 s.
        let wait = |q| limited_wait(1600.0, 1000.0, 800.0, q);
        assert!((wait(1.0) - (2.0 - 1.599)).abs() < 1e-9);
        assert!((wait(0.5) - (1.0 - 0.799)).abs() < 1e-9);
    }
}

//! A server that is known by arithmetic, for the bench: `known_server BEHAVIOUR [RATE]` until standard input ends.
//!
//! The first line says where it listens. At the end it says, as JSON, how late its own replies were, and, where RATE
//! (arrivals per second, evenly spaced) is given, how late requests arrived against that plan; the earliest sets its
//! start, so that the way through the kernel does not count.

use std::io::{Read as _, Write as _};

use assay::load::selftest::{Behaviour, KnownServer};
use assay::units::Nanos;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let behaviour = match arguments.first().map(String::as_str) {
        Some("null") => Behaviour::Null,
        Some("awake") => Behaviour::Awake,
        Some("frozen") => Behaviour::Frozen { nth: 1000, lasts: Nanos(1_000_000_000) },
        Some("two-valued") => Behaviour::TwoValued { fast: Nanos(500_000), slow: Nanos(5_000_000), every: 5 },
        Some("limited") => Behaviour::Limited { per_s: 800.0 },
        Some("later") => Behaviour::Later(Nanos(100_000)),
        _ => return Err("expected null, awake, frozen, two-valued, limited or later".into()),
    };
    let rate: Option<f64> = arguments.get(1).map(|text| text.parse()).transpose()?;
    let server = KnownServer::start(behaviour, None)?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on http://{}", server.addr())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let seen = server.stop()?;
    let late = &seen.late;
    let mut line = serde_json::json!({
        "late_p50_ns": late.value_at_quantile(0.5),
        "late_p99_ns": late.value_at_quantile(0.99),
        "arrivals": seen.arrivals.len(),
    });
    if let Some(rate) = rate {
        // Connections being opened and the first moment are left out.
        let stamps = &seen.arrivals[seen.arrivals.len() / 10..];
        let off = |n: usize| stamps[n].0 as f64 - n as f64 * 1e9 / rate;
        let earliest = (0..stamps.len()).map(off).fold(f64::INFINITY, f64::min);
        let mut lags: Vec<f64> = (0..stamps.len()).map(|n| off(n) - earliest).collect();
        lags.sort_by(f64::total_cmp);
        let at = |q: f64| lags.get((q * lags.len() as f64) as usize).copied().unwrap_or_default();
        line["lag_p50_ns"] = at(0.5).into();
        line["lag_p99_ns"] = at(0.99).into();
    }
    writeln!(out, "{line}")?;
    Ok(())
}

//! Does a bad token cost more than a good one, and who pays for a flood of them?

use std::time::Duration;

use super::pace::took_s;
use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::forge::flip_bit;
use crate::stats::median;
use crate::units::Nanos;

/// Pairs of a good and a bad token that are compared one at a time.
const PAIRS: usize = 40;
/// Callers of a flood.
const CALLERS: usize = 4;
/// How long a flood lasts.
const FLOOD: Duration = Duration::from_millis(800);
/// Below this difference, in milliseconds, nothing is told: less is lost in the noise.
const FLOOR_MS: f64 = 2.0;

pub(super) const STORM: Check = Check {
    id: "dos-reject-storm",
    group: "DOS",
    requirement: "refusing a token costs no more than accepting one, and a flood of bad ones harms no more than one of good ones",
    sources: &["CWE-405", "RFC 4732"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay],
    variants: &["cost", "storm"],
    isolation: Isolation::Exclusive,
    cost: cost(2_000, 6),
    intrusive: true,
    flaws: &["verify-expensive-first"],
    sends: "good tokens and tokens with a bad signature by turns, one at a time; then four callers with good tokens for a second and four with bad \
            ones, each time beside a user whose requests are timed",
    why: "bad tokens cost their sender nothing: what costs the server more than a good one is how it is brought to its knees",
    remedy: "do the cheap checks first (form, algorithm, length), keep look-ups behind the signature, and slow down who sends many bad tokens",
    run: |probe| {
        let genuine = probe.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        let signed = genuine.matches('.').count() == 2;
        let bad = if signed { flip_bit(&genuine, 2, 40) } else { spoilt(&genuine) };
        probe.offer("cost", &bad)?;
        probe.offer("storm", &bad)?;
        let way = probe.ways().into_iter().find(Way::usable).ok_or_else(|| Stop::needs(Need::VerifyWay))?;
        price(probe, &way, &genuine, &bad)?;
        flood(probe, &way, &genuine, &bad)
    },
};

/// A token with another letter in its middle.
fn spoilt(token: &str) -> String {
    let at = token.len() / 2;
    let other = if token[at..].starts_with('A') { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

/// In the middle, how long a good and a bad token take, in milliseconds.
fn pairs(p: &mut Probe<'_>, way: &Way, good: &str, bad: &str) -> Result<(f64, f64), Stop> {
    let (mut goods, mut bads) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let answer = p.present(way, good)?;
        if answer.accepted() {
            goods.push(took_s(&answer) * 1e3);
        }
        let answer = p.present(way, bad)?;
        if answer.refused() {
            bads.push(took_s(&answer) * 1e3);
        }
    }
    if goods.len() < PAIRS / 2 || bads.len() < PAIRS / 2 {
        return Err(Stop::Inconclusive("good tokens were not accepted, or bad ones not refused".to_owned()));
    }
    Ok((median(&goods).unwrap_or(0.0), median(&bads).unwrap_or(0.0)))
}

fn price(p: &mut Probe<'_>, way: &Way, good: &str, bad: &str) -> Result<(), Stop> {
    let dear = |(good, bad): (f64, f64)| bad > 2.0 * good && bad - good >= FLOOR_MS;
    let (mut good_ms, mut bad_ms) = pairs(p, way, good, bad)?;
    if dear((good_ms, bad_ms)) {
        (good_ms, bad_ms) = pairs(p, way, good, bad)?;
    }
    let text = format!("`{}`: {bad_ms:.2} ms for a bad token, {good_ms:.2} ms for a good one", way.name);
    if dear((good_ms, bad_ms)) {
        p.fail(Some("cost"), "dear", format!("{text}, twice"));
    } else {
        p.pass(Some("cost"), "cheap", text);
    }
    Ok(())
}

/// The time within which 95 of 100 requests of a user end, in milliseconds, while others send one token as fast as they can.
fn beside(p: &mut Probe<'_>, way: &Way, good: &str, sent: &str) -> Result<f64, Stop> {
    let until = clock::mono() + Nanos::from_secs_f64(FLOOD.as_secs_f64());
    let times = p.crowd(CALLERS + 1, FLOOD * 10, |number, worker| {
        let mut times = Vec::new();
        while clock::mono() < until && !worker.over() {
            let answer = worker.ask_with(&way.operation, if number == 0 { good } else { sent })?;
            if number == 0 {
                times.push(took_s(&answer) * 1e3);
            }
        }
        Ok(times)
    })?;
    let mut times: Vec<f64> = times.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    let at = (times.len() * 95 / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().ok_or_else(|| Stop::Inconclusive("nothing was answered beside a flood".to_owned()))
}

fn flood(p: &mut Probe<'_>, way: &Way, good: &str, bad: &str) -> Result<(), Stop> {
    let harmed = |(good, bad): (f64, f64)| bad > 3.0 * good && bad - good >= 2.0 * FLOOR_MS;
    let measured = |p: &mut Probe<'_>| Ok((beside(p, way, good, good)?, beside(p, way, good, bad)?));
    let mut seen: (f64, f64) = measured(p)?;
    if harmed(seen) {
        seen = measured(p)?;
    }
    let text = format!(
        "`{}`: 95 of 100 requests of a user end within {:.1} ms beside bad tokens, {:.1} ms beside good ones",
        way.name, seen.1, seen.0
    );
    if harmed(seen) {
        p.fail(Some("storm"), "harmed", format!("{text}, twice"));
    } else {
        p.pass(Some("storm"), "unharmed", text);
    }
    Ok(())
}

//! How long is a token accepted, measured with requests? Forge-and-bisect, and genuine short-lived tokens.

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::record::WindowRecord;
use crate::units::Nanos;

use super::answer::{Answer, Axis};
use super::descriptor::Need;
use super::forger::{Forger, decode};
use super::probe::{Probe, Stop};
use super::session::{Way, lock};
use super::window::{self, Bounds, LADDER, Offset};

/// Distance of the twins that are sent across the cut-off.
const TWIN_SPACING: Duration = Duration::from_millis(25);
/// At most this many twins for one cut-off: 2.5 s.
const TWINS: usize = 100;
/// How often a bracket of half a second is tried.
const ATTEMPTS: usize = 3;
/// How often the two whole seconds around a cut-off are asked, each time on a connection of its own: one instance of
/// several that thinks otherwise is not heard in one answer.
const VOTES: usize = 3;

/// Ages after the end at which a token is shown while the server's clock is moved, in seconds: on either side of the
/// end and of every leeway that libraries have by default.
pub const STEPS: &[f64] = &[
    -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 14.0, 15.0, 16.0, 29.0, 30.0, 31.0, 59.0, 60.0, 61.0,
    119.0, 120.0, 121.0, 299.0, 300.0, 301.0, 599.0, 600.0, 601.0, 86_400.0,
];

/// Signing the twins is given no longer than this, in seconds.
const MOST_SIGNING_S: f64 = 5.0;

/// Which claim's instant is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// Acceptance ends at `exp`.
    Exp,
    /// Acceptance ends at an `exp` half a second past a whole one.
    ExpHalf,
    /// Acceptance begins at `nbf`.
    Nbf,
}

/// The cut-off of one way and what else the exchanges showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    /// Seconds after the claim's instant, harness clock. For `nbf` it is the begin of acceptance.
    pub bounds: Bounds,
    /// Server clock minus ours, by `Date` headers.
    pub offset: Offset,
    /// Requests.
    pub probes: u64,
    /// Answers that were neither acceptance nor refusal.
    pub unanswered: u64,
}

impl Cut {
    fn see(&mut self, edge: Edge, instant: f64, answer: &Answer) {
        self.see_moved(edge, instant, answer, 0.0);
        let (sent, received) = (clock::unix_at(answer.sent), clock::unix_at(answer.received));
        if let Some(date) = answer.reply.as_ref().and_then(|r| r.header("date")).and_then(window::parse_http_date) {
            self.offset.see(date, sent, received);
        }
    }

    /// As [`see`](Self::see) where the server's clock was moved ahead by `moved` seconds; its `Date` need not follow.
    fn see_moved(&mut self, edge: Edge, instant: f64, answer: &Answer, moved: f64) {
        self.probes += 1;
        let (sent, received) = (clock::unix_at(answer.sent) + moved, clock::unix_at(answer.received) + moved);
        // Before nbf it is refused, after it accepted: the same bounds with the sides exchanged.
        match (&answer.axis, edge) {
            (Axis::Accepted, Edge::Exp | Edge::ExpHalf) | (Axis::Refused, Edge::Nbf) => {
                self.bounds.see(true, sent - instant, received - instant);
            }
            (Axis::Refused, Edge::Exp | Edge::ExpHalf) | (Axis::Accepted, Edge::Nbf) => {
                self.bounds.see(false, sent - instant, received - instant);
            }
            _ => self.unanswered += 1,
        }
    }
}

/// The cut-off of a way, measured with forged tokens once in a run: whoever asks later is told what was seen then.
///
/// # Errors
/// As [`forged`].
pub fn cut(p: &mut Probe<'_>, way: &Way, forger: &Forger, edge: Edge) -> Result<Cut, Stop> {
    let slot = p.session.cut_slot(&way.operation, edge);
    // Whoever comes second waits for the first, and measures only where that failed.
    let mut held = lock(&slot);
    if let Some(known) = *held {
        return Ok(known);
    }
    let measured = match edge {
        Edge::Exp | Edge::Nbf => forged(p, way, forger, edge)?,
        Edge::ExpHalf => {
            let whole = cut(p, way, forger, Edge::Exp)?;
            let mut half = Cut::default();
            // Where our own machine was too slow for the bracket, the next twins may be in time.
            for _ in 0..ATTEMPTS {
                if !whole.bounds.closed() || half.bounds.closed() {
                    break;
                }
                // Whatever the clock and the claim are rounded to, the end moves by less than a second.
                twins(p, way, forger, edge, (whole.bounds.low - 0.6, whole.bounds.high + 1.1), &mut half)?;
            }
            half
        }
    };
    *held = Some(measured);
    Ok(measured)
}

/// The cut-off of a way, measured with genuine tokens that are waited for, once in a run.
///
/// # Errors
/// As [`short_lived`].
pub fn waited(p: &mut Probe<'_>, way: &Way, life_s: f64, until_s: f64) -> Result<Cut, Stop> {
    let slot = p.session.cut_slot(&way.operation, Edge::Exp);
    // Who measures it first is waited for, and may wait for the end of its tokens itself.
    p.allow(Nanos::from_secs_f64(life_s + until_s).duration());
    let mut held = lock(&slot);
    if let Some(known) = *held {
        return Ok(known);
    }
    let measured = short_lived(p, way, life_s, until_s)?;
    *held = Some(measured);
    Ok(measured)
}

/// Measures a cut-off with forged tokens: the ladder, bisection to a second, twins across the last second.
fn forged(p: &mut Probe<'_>, way: &Way, forger: &Forger, edge: Edge) -> Result<Cut, Stop> {
    let mut cut = Cut::default();
    // For nbf the ladder is turned round: an age of 300 is a token that begins in 300 s.
    let sign = if edge == Edge::Nbf { -1 } else { 1 };
    let mut held = *LADDER.first().unwrap_or(&-300);
    let mut gone = i64::MAX;
    for age in LADDER.iter().copied().filter(|a| edge != Edge::Nbf || *a <= 3600) {
        match shown(p, way, forger, edge, sign * age, &mut cut)? {
            Some(true) => held = held.max(age),
            Some(false) => gone = gone.min(age),
            None => {}
        }
    }
    if gone == i64::MAX || !cut.bounds.closed() && cut.bounds.contradictions == 0 {
        return Ok(cut);
    }
    let (mut low, mut high) = (held.min(gone - 1), gone);
    while let Some(age) = window::bisect(low, high) {
        match shown(p, way, forger, edge, sign * age, &mut cut)? {
            Some(true) => low = age,
            Some(false) => high = age,
            None => break,
        }
    }
    for _ in 0..VOTES {
        // A second further out on either side: the edge itself lies between.
        shown(p, way, forger, edge, sign * (low - 1), &mut cut)?;
        shown(p, way, forger, edge, sign * (high + 1), &mut cut)?;
    }
    if cut.bounds.contradictions == 0 && cut.bounds.closed() {
        let bracket = (cut.bounds.low, cut.bounds.high);
        twins(p, way, forger, edge, bracket, &mut cut)?;
    }
    Ok(cut)
}

/// Shows a token whose instant lies `age` seconds in the past. Whether it still counts as on the near side.
fn shown(
    p: &mut Probe<'_>,
    way: &Way,
    forger: &Forger,
    edge: Edge,
    age: i64,
    cut: &mut Cut,
) -> Result<Option<bool>, Stop> {
    let instant = clock::unix().floor() - age as f64;
    let token = token(forger, edge, instant)?;
    p.hang_up();
    let answer = p.present(way, &token)?;
    cut.see(edge, instant, &answer);
    Ok(match answer.axis {
        Axis::Accepted => Some(true),
        Axis::Refused => Some(false),
        _ => None,
    })
}

fn token(forger: &Forger, edge: Edge, instant: f64) -> Result<String, Stop> {
    match edge {
        Edge::Exp => forger.ending(instant as i64),
        Edge::ExpHalf => forger.ending_at(instant),
        Edge::Nbf => {
            let (now, instant) = (clock::unix().floor() as i64, instant as i64);
            forger.sign(forger.forge().claim("nbf", instant).claim("exp", now.max(instant) + 600))
        }
    }
}

/// Twins (one instant, each its own `jti` and connection) sent every 25 ms across a bracket of the cut-off.
fn twins(
    p: &mut Probe<'_>,
    way: &Way,
    forger: &Forger,
    edge: Edge,
    (low, high): (f64, f64),
    cut: &mut Cut,
) -> Result<(), Stop> {
    let half = if edge == Edge::ExpHalf { 0.5 } else { 0.0 };
    // The instant for which the bracket begins a little ahead of now, when all twins are signed: with RSA on a busy
    // machine that takes a while.
    let before = clock::mono();
    token(forger, edge, clock::unix().floor() + half)?;
    let signing_s = clock::mono().since(before).as_secs_f64() * 1.5 * TWINS as f64;
    let instant = (clock::unix() + 0.2 + signing_s.min(MOST_SIGNING_S) - low - half).ceil() + half;
    let tokens: Vec<String> = (0..TWINS).map(|_| token(forger, edge, instant)).collect::<Result<_, _>>()?;
    let begin = instant + low - 0.05;
    let end = instant + high + 0.1;
    let wait = begin - clock::unix();
    if wait > 0.0 {
        p.pause(Nanos::from_secs_f64(wait.min(3.0 + MOST_SIGNING_S)).duration(), "the edge of a forged token's life")?;
    }
    let mut across = 0;
    for token in &tokens {
        if clock::unix() > end {
            break;
        }
        p.hang_up();
        let answer = p.present(way, token)?;
        cut.see(edge, instant, &answer);
        let beyond = (edge != Edge::Nbf) != answer.accepted();
        across = if beyond { across + 1 } else { 0 };
        if across >= 4 {
            break;
        }
        std::thread::sleep(TWIN_SPACING);
    }
    Ok(())
}

/// Measures the end of genuine tokens of any lifetime by moving the server's clock past it: the caller runs alone,
/// and the clock is put back before this returns.
///
/// # Errors
/// When the run ends, no token comes, or the clock's hook does not do its work.
pub fn stepped(p: &mut Probe<'_>, way: &Way, tokens: &[String], life_s: f64) -> Result<Cut, Stop> {
    let mut cut = Cut::default();
    p.clock_moved(|p| {
        let (mut moved, mut refused) = (0.0, 0);
        for (token, age) in tokens.iter().zip(STEPS) {
            let exp = decode(token).and_then(|(_, c)| c.get("exp").and_then(Value::as_f64));
            let exp = exp.unwrap_or(clock::unix() + life_s);
            if moved == 0.0 {
                let answer = p.present(way, token)?;
                cut.see(Edge::Exp, exp, &answer);
            }
            let step = (exp + age - clock::unix() - moved).round();
            if step >= 1.0 {
                p.move_clock(step)?;
                moved += step;
            }
            p.hang_up();
            let answer = p.present(way, token)?;
            cut.see_moved(Edge::Exp, exp, &answer, moved);
            refused = if answer.refused() { refused + 1 } else { 0 };
            if refused >= 3 {
                break;
            }
        }
        Ok(())
    })?;
    Ok(cut)
}

/// Measures the end of genuine short-lived tokens: each is shown exactly once, at its own delay, so that a verdict
/// that is cached or a session that slides cannot move the edge. `until_s`: the last delay after the end.
///
/// # Errors
/// When the run ends, or no token comes.
pub fn short_lived(p: &mut Probe<'_>, way: &Way, life_s: f64, until_s: f64) -> Result<Cut, Stop> {
    const DELAYS: &[f64] = &[
        -1.5, -0.5, -0.25, 0.05, 0.25, 0.5, 0.75, 1.0, 1.25, 1.6, 2.1, 5.2, 6.2, 10.2, 11.2, 15.2, 16.2, 30.2, 31.2,
        60.2, 61.2, 120.2, 121.2, 300.2, 301.2,
    ];
    let mut plan: Vec<(f64, i64, String)> = Vec::new();
    let first = p.login()?;
    let mut refresh = first.refresh.clone().filter(|_| p.has(Need::Refresh));
    let kills = p.profile().operations.get("refresh").is_some_and(|o| o.kills_old_access == Some(true));
    let mut issued = first;
    for delay in DELAYS.iter().filter(|d| **d <= until_s) {
        let access = issued.access.clone().ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        let exp = decode(&access).and_then(|(_, c)| c.get("exp").and_then(Value::as_f64));
        let exp = exp.unwrap_or(clock::unix() + life_s).round() as i64;
        plan.push((exp as f64 + delay, exp, access));
        issued = match refresh.take().filter(|_| !kills) {
            Some(token) => {
                let next = p.refreshed(&token)?;
                refresh = Some(next.refresh.clone().unwrap_or(token));
                next
            }
            None => p.login()?,
        };
    }
    plan.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut cut = Cut::default();
    let mut refused = 0;
    for (at, exp, token) in plan {
        let wait = at - clock::unix();
        if wait > 0.0 {
            p.pause(Nanos::from_secs_f64(wait).duration(), "the end of a short-lived token")?;
        }
        let answer = p.present(way, &token)?;
        cut.see(Edge::Exp, exp as f64, &answer);
        refused = if answer.refused() { refused + 1 } else { 0 };
        // Refused from one default to the next but one: the end has been seen.
        if refused >= 3 && clock::unix() - exp as f64 > 2.0 {
            break;
        }
    }
    Ok(cut)
}

/// The record of a measured cut-off.
pub fn record(p: &Probe<'_>, way: &str, edge: Edge, method: &str, cut: &Cut, lifetime: Option<f64>) -> WindowRecord {
    let closed = cut.bounds.closed();
    // For nbf acceptance begins at the cut-off, so the sides change places and the leeway its sign.
    let leeway = match edge {
        Edge::Exp | Edge::ExpHalf => cut.offset.interval().and_then(|o| window::leeway(&cut.bounds, o)),
        Edge::Nbf => cut.offset.interval().and_then(|o| window::leeway(&cut.bounds, o)).map(|(l, h)| (-h, -l)),
    };
    let finite = |v: f64| v.is_finite().then_some(v);
    let (low, high) = (finite(cut.bounds.low), finite(cut.bounds.high));
    let (last_accepted_s, first_refused_s) = if edge == Edge::Nbf { (high, low) } else { (low, high) };
    let note = if cut.bounds.contradictions > 0 {
        Some(format!(
            "no single cut-off explains the answers: they overlap by {:.1} s (instances that disagree, or a cached verdict)",
            cut.bounds.excess()
        ))
    } else if !closed && edge != Edge::Nbf && high.is_none() {
        Some("no end was seen: even the oldest token was accepted".to_owned())
    } else if !closed {
        Some("the edge was not bracketed".to_owned())
    } else {
        let unknown = || "the server's clock is not known: no `Date` that makes sense".to_owned();
        Some(leeway.map_or_else(unknown, window::nearest))
    };
    WindowRecord {
        topology: p.session.topology.to_owned(),
        endpoint: way.to_owned(),
        claim: if edge == Edge::Nbf { "nbf" } else { "exp" }.to_owned(),
        method: method.to_owned(),
        lifetime_s: lifetime,
        last_accepted_s,
        first_refused_s,
        leeway_s: leeway,
        offset_s: cut.offset.interval(),
        offset_source: cut.offset.interval().map(|_| "date-header".to_owned()),
        boundary: leeway.and_then(window::boundary).map(str::to_owned),
        probes: cut.probes,
        contradictions: cut.bounds.contradictions,
        note,
    }
}

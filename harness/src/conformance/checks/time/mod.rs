//! Does the server keep to the times in its tokens?

mod begin;
mod cached;
mod edge;
mod end;
mod refresh;

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::descriptor::{Check, Need};
use crate::conformance::forger::{Forger, decode};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::scenario::Budget;
use crate::units::Nanos;

/// The family TIME, in the order of the catalogue.
pub const CHECKS: &[Check] = &[
    end::EXP_REJECTED,
    edge::EXP_LEEWAY,
    edge::EXP_BOUNDARY,
    end::EXP_NOT_EARLY,
    end::EXP_MISSING,
    end::EXP_FALSY,
    end::EXP_EXTREME,
    end::EXP_FRACTION,
    begin::NBF,
    begin::IAT_FUTURE,
    cached::CACHED_VERDICT,
    edge::ENDPOINT_AGREEMENT,
    refresh::REFRESH_EXP,
];

/// The forger, where a token that was signed again is accepted somewhere; none where only genuine ones can be watched.
fn forging(p: &mut Probe<'_>) -> Result<Option<Forger>, Stop> {
    if !p.has(Need::SigningKey) {
        return Ok(None);
    }
    match p.forgeable_ways() {
        Ok(_) => p.forger().map(Some),
        Err(Stop::Skip(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// The ways by whose answers something can be learnt.
fn usable(p: &Probe<'_>) -> Result<Vec<Way>, Stop> {
    let ways: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    if ways.is_empty() {
        if p.session.no_login {
            return Err(Stop::blocked_by("issue-basic"));
        }
        return Err(Stop::Inconclusive("no verify way accepts a genuine token and refuses nothing".to_owned()));
    }
    Ok(ways)
}

/// A number among the claims of a token.
fn number(token: &str, name: &str) -> Option<f64> {
    decode(token).and_then(|(_, claims)| claims.get(name).and_then(Value::as_f64))
}

/// How long a genuine token lives, in seconds, as [`lived`] reads it, or as the profile declares.
fn life(p: &Probe<'_>, token: &str) -> Option<f64> {
    lived(number(token, "exp"), number(token, "iat"), clock::unix()).or(p.profile().tokens.access.lifetime_s)
}

/// `exp - iat`; where that is no time (one of the two is written in another zone), what is left of a token just issued.
/// None where neither is.
fn lived(exp: Option<f64>, iat: Option<f64>, now: f64) -> Option<f64> {
    let sound = |life: &f64| life.is_finite() && *life >= 0.0;
    let (exp, iat) = (exp?, iat?);
    Some(exp - iat).filter(sound).or_else(|| Some(exp - now).filter(sound))
}

/// A time that servers or users have a hand in: no number is too odd for it.
fn seconds(s: f64) -> Duration {
    Nanos::from_secs_f64(s).duration()
}

/// When a genuine token ends (Unix seconds).
fn end_of(token: &str, life: Option<f64>) -> f64 {
    number(token, "exp").unwrap_or_else(|| clock::unix() + life.unwrap_or(3_600.0))
}

/// How genuine tokens can be watched to their end.
enum Watch {
    /// They live for so long that waiting fits the budget.
    Wait(f64),
    /// The server's clock can be moved.
    Clock,
}

/// How the end of genuine tokens of a lifetime can be seen within the budget.
fn watch(p: &Probe<'_>, life: Option<f64>) -> Result<Watch, Stop> {
    let longest = if p.session.budget == Budget::Ci { 15.0 } else { 3_600.0 };
    match life {
        Some(life) if life <= longest => Ok(Watch::Wait(life)),
        _ if p.has(Need::Clock) => Ok(Watch::Clock),
        Some(life) => Err(Stop::Skip(crate::record::SkipReason::Budget(life as u64))),
        None => Err(Stop::needs(Need::ForgeOrWait)),
    }
}

/// How long past their end genuine tokens are shown at most, in seconds.
fn waited_until(p: &Probe<'_>) -> f64 {
    if p.session.budget == Budget::Ci { 16.5 } else { 302.0 }
}

/// Genuine access tokens, by one session's refreshes where there are any, else by logins, of which there are fewer.
fn genuine_tokens(p: &mut Probe<'_>, wanted: usize) -> Result<Vec<String>, Stop> {
    let kills = p.profile().operations.get("refresh").is_some_and(|o| o.kills_old_access == Some(true));
    let mut issued = p.login()?;
    let mut refresh = issued.refresh.clone().filter(|_| p.has(Need::Refresh) && !kills);
    let mut tokens = Vec::with_capacity(wanted);
    loop {
        tokens.push(issued.access.clone().ok_or_else(|| Stop::blocked_by("issue-basic"))?);
        if tokens.len() == wanted || refresh.is_none() && tokens.len() >= 4 {
            break;
        }
        issued = match refresh.take() {
            Some(token) => {
                let next = p.refreshed(&token)?;
                refresh = Some(next.refresh.clone().unwrap_or(token));
                next
            }
            None => p.login()?,
        };
    }
    // Where logins are dear, a few tokens are shown more than once.
    let few = tokens.len();
    Ok((0..wanted).map(|at| tokens[at % few].clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_that_a_server_writes_is_too_odd_to_be_waited_for() {
        let now = 1_800_000_000.0;
        let lived = |exp: f64, iat: f64| lived(Some(exp), Some(iat), now);
        assert_eq!(lived(now + 300.0, now), Some(300.0));
        // iat in a zone two hours ahead: exp alone says how long.
        assert_eq!(lived(now + 300.0, now + 7_200.0), Some(300.0));
        assert_eq!(lived(0.0, now), None);
        assert_eq!(lived(f64::NAN, now), None);
        for odd in [-1.0, 1e300, f64::INFINITY, f64::NAN] {
            assert!(seconds(odd) <= Duration::from_nanos(u64::MAX));
        }
    }
}

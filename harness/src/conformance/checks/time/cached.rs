//! Is a verdict kept beyond the end of the token that it is about?

use std::time::Duration;

use super::{Watch, end_of, forging, life, number, seconds, usable, waited_until, watch};
use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::measure::{self, Edge};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::Level;
use crate::scenario::Budget;

pub(super) const CACHED_VERDICT: Check = Check {
    id: "time-cached-verdict",
    group: "TIME",
    requirement: "a token that was accepted before its exp is refused after it as promptly as one never shown, and an early nbf refusal does not stick",
    sources: &["RFC 7662 section 4", "OpenIDC/mod_oauth2#14", "quarkusio/quarkus#43994"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::ForgeOrWait],
    variants: &["exp", "nbf"],
    isolation: Isolation::Shared,
    cost: cost(120, 10),
    intrusive: false,
    flaws: &["verdict-cache"],
    sends: "one token over and over across its end, beside twins that are shown once only after it; and a token before and after its nbf; without the key, genuine tokens that are short-lived, or the server's clock moved",
    why: "a cache of verdicts prolongs the life of every token by its own time to live",
    remedy: "bound the cached verdict by the token's own exp (and do not cache refusals for nbf)",
    run: cached_verdict,
};

fn cached_verdict(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways = usable(p)?;
    let Some(forger) = forging(p)? else {
        let sample = p.access()?;
        return match watch(p, life(p, &sample))? {
            Watch::Wait(life) => cached_genuine(p, &ways, life),
            Watch::Clock => cached_clocked(p, &ways),
        };
    };
    let mut forgeable = Vec::new();
    for way in ways {
        if p.resigned_accepted(&way)? {
            forgeable.push(way);
        }
    }
    // Each way has an end of its own: its leeway moves the end of both arms alike, and so is measured first.
    let mut ends = Vec::new();
    for way in forgeable {
        let bounds = measure::cut(p, &way, &forger, Edge::Exp)?.bounds;
        if bounds.closed() && bounds.high < 700.0 {
            ends.push((way, bounds.high));
        }
    }
    if ends.is_empty() {
        return Err(Stop::blocked_by("time-exp-leeway"));
    }
    exp_arms(p, &forger, &ends)?;
    nbf_arm(p, &forger, &ends)
}

/// One token is polled across its end at every way, another is shown once afterwards.
fn exp_arms(p: &mut Probe<'_>, forger: &Forger, ends: &[(Way, f64)]) -> Result<(), Stop> {
    // Two seconds ahead of the end of each way, whatever its leeway.
    let exp: Vec<i64> = ends.iter().map(|(_, high)| (clock::unix() + 2.0 - high).ceil() as i64).collect();
    let tokens = |p: &Probe<'_>| -> Result<Vec<String>, Stop> {
        let made: Vec<String> = exp.iter().map(|exp| forger.ending(*exp)).collect::<Result<_, _>>()?;
        made.iter().try_for_each(|token| p.offer("exp", token))?;
        Ok(made)
    };
    let (polled, twins) = (tokens(p)?, tokens(p)?);
    let mut warmed = 0;
    for ((way, _), token) in ends.iter().zip(&polled) {
        for _ in 0..4 {
            warmed += usize::from(p.present(way, token)?.accepted());
        }
    }
    if warmed == 0 {
        return Err(Stop::Inconclusive("a token with a second to live was refused, so nothing could be cached".into()));
    }
    let over = exp.iter().zip(ends).map(|(exp, (_, high))| *exp as f64 + high).fold(0.0, f64::max) + 1.5;
    while clock::unix() < over {
        for ((way, _), token) in ends.iter().zip(&polled) {
            p.present(way, token)?;
        }
        p.pause(Duration::from_millis(150), "a token's end")?;
    }
    for (((way, _), twin), old) in ends.iter().zip(&twins).zip(&polled) {
        let (fresh, old) = (p.present(way, twin)?, p.present(way, old)?);
        if old.accepted() && fresh.accepted() {
            p.inconclusive(
                Some("exp"),
                "not-ended",
                "a second and more after its end even a token never shown is accepted",
            );
            return Ok(());
        }
        if old.accepted() {
            let summary = format!(
                "`{}` still accepts a token after its end that it refuses as a twin: the verdict was kept",
                way.name
            );
            p.fail_told(Some("exp"), "kept", "the end honoured for a token that was seen before", summary, &old);
            return Ok(());
        }
    }
    p.pass(Some("exp"), "ends", "a token seen before ends like one never seen");
    Ok(())
}

/// A token is shown before and after its begin.
fn nbf_arm(p: &mut Probe<'_>, forger: &Forger, ends: &[(Way, f64)]) -> Result<(), Stop> {
    let leeway = ends.iter().map(|(_, high)| *high).fold(0.0, f64::max);
    let longest = if p.session.budget == Budget::Ci { 20.0 } else { 320.0 };
    let nbf = (clock::unix() + leeway).ceil() + 2.0;
    let early = forger.sign(forger.forge().claim("nbf", nbf as i64).claim("exp", nbf as i64 + 600))?;
    p.offer("nbf", &early)?;
    for (way, _) in ends {
        if !p.present(way, &early)?.refused() {
            // Whether nbf is looked at is the subject of time-nbf.
            return Ok(());
        }
    }
    let wait = nbf + leeway + 1.2 - clock::unix();
    if wait > longest {
        return Ok(());
    }
    p.pause(seconds(wait.max(0.0)), "a token's begin")?;
    for (way, _) in ends {
        let answer = p.present(way, &early)?;
        if !answer.accepted() {
            p.fail_seen(Some("nbf"), "sticks", "acceptance after nbf although it was refused before", &answer);
            p.at_most(Level::Should);
            return Ok(());
        }
    }
    p.pass(Some("nbf"), "no-sticking", "a refusal before nbf does not stick");
    Ok(())
}

/// Two genuine tokens that are not the same.
fn pair(p: &mut Probe<'_>) -> Result<(String, String), Stop> {
    let kills = p.profile().operations.get("refresh").is_some_and(|o| o.kills_old_access == Some(true));
    let first = p.login()?;
    let second = match first.refresh.clone().filter(|_| p.has(Need::Refresh) && !kills) {
        Some(token) => p.refreshed(&token)?,
        None => p.login()?,
    };
    let (Some(polled), Some(twin)) = (first.access, second.access) else { return Err(Stop::blocked_by("issue-basic")) };
    if polled == twin {
        return Err(Stop::not_applicable("two logins in one second bring the same token, so there is no twin"));
    }
    p.offer("exp", &polled)?;
    Ok((polled, twin))
}

/// With genuine short-lived tokens: one is polled, another is shown once after the end, which the leeway moves.
fn cached_genuine(p: &mut Probe<'_>, ways: &[Way], life: f64) -> Result<(), Stop> {
    let until = waited_until(p);
    let mut leeway: f64 = p.profile().declares.leeway_s.unwrap_or(0.0);
    for way in ways {
        let bounds = measure::waited(p, way, life, until)?.bounds;
        if bounds.closed() {
            leeway = leeway.max(bounds.high);
        } else if bounds.high.is_infinite() {
            let text =
                format!("`{}` accepts tokens {until:.0} s after their end: a later end was not waited for", way.name);
            p.inconclusive(Some("exp"), "not-ended", text);
            return Ok(());
        }
    }
    let (polled, twin) = pair(p)?;
    p.allow(seconds(life + leeway + 5.0));
    let exp = |token: &str| end_of(token, Some(life));
    let end = exp(&polled).max(exp(&twin)) + leeway + 2.0;
    while clock::unix() < end {
        for way in ways {
            p.present(way, &polled)?;
        }
        p.pause(Duration::from_millis(400), "a token's end")?;
    }
    both(p, ways, &polled, &twin)
}

/// With genuine tokens of any lifetime: one is seen before the server's clock is moved past its end, its twin is not.
fn cached_clocked(p: &mut Probe<'_>, ways: &[Way]) -> Result<(), Stop> {
    p.alone()?;
    let (polled, twin) = pair(p)?;
    for way in ways {
        for _ in 0..4 {
            if !p.present(way, &polled)?.accepted() {
                return Err(Stop::Inconclusive(format!("`{}` refuses a fresh token", way.operation)));
            }
        }
    }
    let end = number(&polled, "exp").zip(number(&twin, "exp")).map(|(a, b)| a.max(b));
    let end = end.ok_or_else(|| Stop::not_applicable("its tokens have no exp"))?;
    let leeway = p.profile().declares.leeway_s.unwrap_or(300.0);
    let step = (end + leeway + 2.0 - clock::unix()).ceil();
    p.clock_moved(|p| {
        p.move_clock(step)?;
        both(p, ways, &polled, &twin)?;
        p.transient();
        Ok(())
    })
}

/// Shows the token that was seen before and the one that was not, after the end of both.
fn both(p: &mut Probe<'_>, ways: &[Way], polled: &str, twin: &str) -> Result<(), Stop> {
    let variant = Some("exp");
    for way in ways {
        let (fresh, old) = (p.present(way, twin)?, p.present(way, polled)?);
        match (fresh.accepted(), old.accepted()) {
            (false, true) => {
                let summary = format!(
                    "`{}` still accepts a token after its end that was shown before, but not its twin",
                    way.name
                );
                p.fail_told(variant, "kept", "the end honoured for a token that was seen before", summary, &old);
                return Ok(());
            }
            (true, true) => {
                p.inconclusive(variant, "not-ended", "after its end even a token never shown is accepted");
                return Ok(());
            }
            _ => {}
        }
    }
    p.pass(variant, "ends", "a token seen before ends like one never seen");
    Ok(())
}

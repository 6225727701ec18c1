//! Does a refresh token end when it says, and what it gave with it?

use super::super::capsule;
use super::{number, seconds};
use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;

pub(super) const REFRESH_EXP: Check = Check {
    id: "time-refresh-exp",
    group: "TIME",
    requirement: "a refresh token is refused after its own exp",
    sources: &["ASVS 10.4.8", "RFC 7519 section 4.1.4"],
    levels: Levels::issuing(Level::Must),
    needs: &[Need::Refresh, Need::JwtRefresh],
    variants: &["capsule", "ended", "overhang", "waited", "clock-moved"],
    isolation: Isolation::User,
    cost: cost(3, 1),
    intrusive: false,
    flaws: &["immortal-refresh"],
    sends: "a re-signed refresh token that ended ten minutes ago, beside one that has not, and how long what that one gave outlives it; without the key, a genuine one after its end, by waiting or with the server's clock moved; and with `--capsule FILE` those of earlier runs, after their end",
    why: "a refresh token without end is a password that nobody can change",
    remedy: "check `exp` of refresh tokens too",
    run: refresh_exp,
};

fn refresh_exp(p: &mut Probe<'_>) -> Result<(), Stop> {
    let judged = capsule::ended_refresh(p);
    let genuine = p.fresh_refresh()?;
    if p.has(Need::SigningKey) {
        match Forger::of_refresh(p.target(), &genuine) {
            Ok(forger) => {
                if forged(p, &forger)? {
                    return Ok(());
                }
            }
            Err(Stop::Skip(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    match waited(p) {
        // What cannot be seen within one run was seen over several.
        Err(Stop::Skip(_)) if judged => Ok(()),
        ended => ended,
    }
}

/// With the key. Whether it worked: a server may know every refresh token it gave, and take no other.
fn forged(p: &mut Probe<'_>, forger: &Forger) -> Result<bool, Stop> {
    let now = clock::unix().floor() as i64;
    // A server that keeps refresh tokens in a table knows the genuine jti only: keep it.
    let keep = |exp: i64| -> Result<String, Stop> {
        let mut forge = forger.forge().claim("exp", exp);
        if let Some(jti) = forger.claim("jti") {
            forge = forge.claim("jti", jti);
        }
        if forger.claim("iat").is_some() && exp < now {
            forge = forge.claim("iat", exp - 3_600);
        }
        forger.sign(forge)
    };
    let ended = keep(now - 600)?;
    p.offer("ended", &ended)?;
    let answer = p.refresh(&ended)?;
    if answer.accepted() {
        p.fail_seen(Some("ended"), "accepted", "a refresh token refused that ended ten minutes ago", &answer);
        return Ok(true);
    }
    // The control is also the last moment of a session: what it gives lives beyond it.
    let last = now + 60;
    let control = p.refresh(&keep(last)?)?;
    if !control.accepted() {
        return Ok(false);
    }
    p.judge_refusal(Some("ended"), "an ended refresh token refused", &answer);
    let issued = control.reply.as_ref().and_then(|r| p.target().tokens(r, "refresh").ok());
    match issued.and_then(|i| i.access).and_then(|access| number(&access, "exp")) {
        Some(exp) => {
            let text = format!(
                "an access token given in the last minute of a refresh token outlives it by {:.0} s",
                (exp - last as f64).max(0.0)
            );
            p.pass(Some("overhang"), "reported", text);
        }
        None => p.skip("overhang", SkipReason::NotApplicable("its access tokens have no exp".to_owned())),
    }
    Ok(true)
}

/// Without the key: a refresh token that is short-lived is waited for, and past the end of others the clock is moved.
fn waited(p: &mut Probe<'_>) -> Result<(), Stop> {
    let longest = if p.session.budget == Budget::Ci { 15.0 } else { 3_600.0 };
    let token = p.fresh_refresh()?;
    let end = number(&token, "exp").ok_or_else(|| Stop::not_applicable("its refresh tokens have no exp"))?;
    let left = end - clock::unix();
    if left < 0.0 {
        return Err(Stop::not_applicable(format!("its refresh tokens say that they ended {:.0} s before", -left)));
    }
    let declared = p.profile().declares.leeway_s;
    let leeway = declared.unwrap_or(300.0);
    if left + 2.0 <= longest && left + leeway + 2.0 <= longest + 303.0 {
        p.offer("waited", &token)?;
        let waits_long = longest > 60.0;
        let leeway = declared.unwrap_or(if waits_long { 300.0 } else { 2.0 });
        p.allow(seconds(left + leeway + 5.0));
        p.pause(seconds(left + leeway + 2.0), "a refresh token's end")?;
        let answer = p.refresh(&token)?;
        if answer.accepted() && declared.is_none() && !waits_long {
            let text = format!(
                "still accepted {:.0} s after its end; whether it ends within five minutes needs --budget thorough",
                leeway + 2.0
            );
            p.inconclusive(Some("waited"), "still-accepted", text);
            return Ok(());
        }
        p.judge_refusal(Some("waited"), "an ended refresh token refused", &answer);
        return Ok(());
    }
    if !p.has(Need::Clock) {
        return Err(Stop::Skip(SkipReason::Budget(left as u64)));
    }
    p.alone()?;
    p.offer("clock-moved", &token)?;
    let step = (end + leeway + 2.0 - clock::unix()).ceil();
    let (answer, works) = p.clock_moved(|p| {
        p.move_clock(step)?;
        let answer = p.refresh(&token)?;
        // The move itself may have broken the server: a session of the new present must work.
        let fresh = p.fresh_refresh()?;
        let works = p.refresh(&fresh)?.accepted();
        Ok((answer, works))
    })?;
    if works || answer.accepted() {
        p.judge_refusal(Some("clock-moved"), "an ended refresh token refused", &answer);
        p.transient();
        Ok(())
    } else {
        Err(Stop::Inconclusive("a fresh refresh token is refused too after the clock was moved".to_owned()))
    }
}

//! Is a token refused after its end, whatever its end is, and not before?

use serde_json::Value;

use super::super::capsule;
use super::super::material::all_refused;
use super::{Watch, end_of, forging, life, seconds, usable, watch};
use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::measure::{self, Edge};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::conformance::window::Bounds;
use crate::jose::Forge;
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;

pub(super) const EXP_REJECTED: Check = Check {
    id: "time-exp-rejected",
    group: "TIME",
    requirement: "a token is refused five minutes after its exp, and at its declared leeway plus two seconds",
    sources: &["RFC 7519 section 4.1.4", "ASVS 9.2.1"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::ForgeWaitOrCapsule],
    variants: &["capsule", "past-301", "past-leeway", "past-day", "waited", "clock-moved"],
    isolation: Isolation::Shared,
    cost: cost(12, 3),
    intrusive: false,
    flaws: &["ignore-exp"],
    sends: "re-signed genuine tokens that ended a little more than 301 s, a day, and the declared leeway plus 2 s ago; without the key, a genuine token after its end: by waiting, or with the server's clock moved; and with `--capsule FILE` genuine tokens of earlier runs, after their end",
    why: "an end that nobody looks at makes every stolen token good for ever",
    remedy: "turn the check of `exp` on in the JWT library, and require the claim",
    run: exp_rejected,
};

pub(super) const EXP_MISSING: Check = Check {
    id: "time-exp-missing",
    group: "TIME",
    requirement: "a token without exp is refused",
    sources: &["RFC 9068 section 2.2", "GO-2026-5732"],
    levels: Levels::SHOULD.rfc9068(Level::Must),
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["absent", "refresh-absent"],
    isolation: Isolation::Shared,
    cost: cost(9, 1),
    intrusive: false,
    flaws: &["exp-optional", "lax-refresh"],
    sends: "a re-signed genuine token from which `exp` was taken, and a refresh token likewise",
    why: "an issuer's mistake (or a token for another purpose under the same key) becomes a token without end",
    remedy: "name `exp` among the claims that the JWT library must find",
    run: exp_missing,
};

pub(super) const EXP_FALSY: Check = Check {
    id: "time-exp-falsy",
    group: "TIME",
    requirement: "exp 0, -1 and -0.0 are ends in the past, not absent",
    sources: &["RFC 7519 section 4.1.4"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["zero", "minus-one", "minus-zero", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["if-exp-truthy", "lax-refresh"],
    sends: "re-signed access and refresh tokens whose `exp` is 0, -1 and -0.0",
    why: "`if exp:` reads 0 as no end at all",
    remedy: "test whether the claim is there, not whether it is truthy",
    run: exp_falsy,
};

pub(super) const EXP_EXTREME: Check = Check {
    id: "time-exp-extreme",
    group: "TIME",
    requirement: "extreme values of exp revive no token that ended, and bring no server error (which weighs less)",
    sources: &["RFC 7519 section 2"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &[
        "year-2126",
        "year-10000",
        "milliseconds",
        "2^53",
        "2^53-minus",
        "2^63",
        "2^64-past",
        "negative",
        "wraps-32",
        "wraps-64",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(36, 1),
    intrusive: false,
    flaws: &["int-wrap", "crash-year-10000", "lax-refresh"],
    sends: "re-signed tokens whose `exp` is now plus 100 years, in the year 10000, in milliseconds, 2^53, 2^63, 2^64 plus a past instant; and ends before 1970 whose low 32 or 64 bits say five minutes from now, these also in refresh tokens",
    why: "dates beyond the range of a date type crash, and an integer that wraps makes a past end a future one",
    remedy: "compare numbers, not dates, with saturating arithmetic; refuse what does not fit",
    run: exp_extreme,
};

pub(super) const EXP_FRACTION: Check = Check {
    id: "time-exp-fraction",
    group: "TIME",
    requirement: "a fractional exp is understood, and honoured within a second",
    sources: &["RFC 7519 section 2"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["future", "past", "within-a-second-*"],
    isolation: Isolation::Shared,
    cost: cost(150, 6),
    intrusive: false,
    flaws: &["int-only-crash"],
    sends: "re-signed tokens whose `exp` has a fraction, one ahead and one ten minutes past; then twins every 25 ms across an end at half a second",
    why: "NumericDate may have a fraction; a verifier that cannot read one refuses good tokens, or takes the claim for absent",
    remedy: "read `exp` as a floating-point number",
    run: exp_fraction,
};

pub(super) const EXP_NOT_EARLY: Check = Check {
    id: "time-exp-not-early",
    group: "TIME",
    requirement: "a token is accepted until a second before its exp",
    sources: &["RFC 7519 section 4.1.4"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay, Need::ForgeOrWait],
    variants: &["60-s-left", "last-second"],
    isolation: Isolation::Shared,
    cost: cost(8, 2),
    intrusive: false,
    flaws: &["early-expiry"],
    sends: "a re-signed token with 60 s left, and one with little more than a second; without the key, a genuine one in its last seconds",
    why: "callers plan their refresh by exp; a server that ends tokens earlier turns them away without warning",
    remedy: "subtract nothing from exp; let callers refresh ahead of time instead",
    run: exp_not_early,
};

fn exp_rejected(p: &mut Probe<'_>) -> Result<(), Stop> {
    let judged = capsule::ended_access(p);
    let Some(forger) = forging(p)? else {
        return match genuine_rejected(p) {
            // What cannot be seen within one run was seen over several.
            Err(Stop::Skip(_)) if judged => Ok(()),
            ended => ended,
        };
    };
    // A server whose clock is behind ours sees a token end later: it is given the time that it may be behind.
    let now = clock::unix().floor() as i64 - behind(p)?.ceil() as i64;
    // Five minutes, through their whole second, and a clock that is up to a second behind ours.
    p.refuse_signed("past-301", &forger.ending(now - 302)?)?;
    p.refuse_signed("past-day", &forger.ending(now - 86_400)?)?;
    if let Some(leeway) = p.profile().declares.leeway_s {
        p.refuse_signed("past-leeway", &forger.ending(now - leeway.ceil() as i64 - 2)?)?;
    }
    Ok(())
}

/// By how many seconds the server's clock may be behind ours: by the dates of its answers, where it writes any.
fn behind(p: &mut Probe<'_>) -> Result<f64, Stop> {
    let token = p.access()?;
    let mut low = f64::INFINITY;
    for way in usable(p)? {
        if let Some((least, _)) = p.present(&way, &token)?.clock_offset() {
            low = low.min(least);
        }
    }
    Ok(if low.is_finite() { (-low).max(0.0) } else { 0.0 })
}

/// A genuine token, shown after its end: without the key only waiting helps, or the server's clock.
fn genuine_rejected(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways = usable(p)?;
    let sample = p.access()?;
    match watch(p, life(p, &sample))? {
        Watch::Wait(life) => exp_waited(p, &ways, life),
        Watch::Clock => exp_clocked(p, &ways),
    }
}

/// The server's clock is moved five minutes past the end of a genuine token.
fn exp_clocked(p: &mut Probe<'_>, ways: &[Way]) -> Result<(), Stop> {
    p.alone()?;
    let token = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    p.offer("clock-moved", &token)?;
    let step = (end_of(&token, life(p, &token)) + 301.0 - clock::unix()).ceil();
    let mut answers: Vec<Answer> = Vec::new();
    p.clock_moved(|p| {
        p.move_clock(step)?;
        for way in ways {
            answers.push(p.present(way, &token)?);
        }
        // The move itself may have broken the server: a token of the new present must work.
        let fresh = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        for way in ways {
            if !p.present(way, &fresh)?.accepted() {
                return Err(Stop::Inconclusive(format!(
                    "`{}` refuses a fresh token after the clock was moved",
                    way.operation
                )));
            }
        }
        Ok(())
    })?;
    all_refused(p, "clock-moved", "refused five minutes after its end", &answers);
    p.transient();
    Ok(())
}

fn exp_waited(p: &mut Probe<'_>, ways: &[Way], life: f64) -> Result<(), Stop> {
    let token = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let exp = end_of(&token, Some(life));
    p.offer("waited", &token)?;
    let leeway = p.profile().declares.leeway_s;
    let longest = if p.session.budget == Budget::Ci { leeway.unwrap_or(15.0).min(30.0) + 2.0 } else { 301.0 };
    p.allow(seconds(life + longest));
    for age in [leeway.unwrap_or(0.0) + 2.0, longest] {
        let wait = exp + age - clock::unix();
        if wait > 0.0 {
            p.pause(seconds(wait), "a token's end")?;
        }
        let mut accepted = false;
        for way in ways {
            accepted |= p.present(way, &token)?.accepted();
        }
        if !accepted || leeway.is_some() || age >= 300.0 {
            // The token beside it must be one that has not ended.
            p.another()?;
            p.expect(Some("waited"), &Value::String(token), ways, Expect::Refused, Control::Genuine)?;
            return Ok(());
        }
    }
    let text = format!(
        "still accepted {longest:.0} s after its end; whether it ends within five minutes needs --budget thorough"
    );
    p.inconclusive(Some("waited"), "still-accepted", text);
    Ok(())
}

fn exp_missing(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let token = forger.sign(forger.forge().without_claim("exp"))?;
    p.refuse_signed("absent", &token)?;
    p.refuse_signed_at_refresh(|token| {
        let without = |parts: Forge| ("refresh-absent".to_owned(), parts.without_claim("exp"));
        Forge::of(token).map(without).into_iter().collect()
    })
}

fn exp_falsy(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let ends = [("zero", "0"), ("minus-one", "-1"), ("minus-zero", "-0.0")];
    for (variant, text) in ends {
        let token = forger.sign(forger.forge().claim_text("exp", text))?;
        p.refuse_signed(variant, &token)?;
    }
    p.refuse_signed_at_refresh(|token| {
        let Some(parts) = Forge::of(token) else { return Vec::new() };
        ends.iter().map(|(name, text)| (format!("refresh-{name}"), parts.clone().claim_text("exp", text))).collect()
    })
}

fn exp_extreme(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    let wrapped = (1_u128 << 64) + (now as u128 - 3_600);
    // What lies in the future may be taken or refused; only a server error is a fault.
    let either = [
        ("year-2126", (now + 100 * 31_556_952).to_string()),
        ("year-10000", "253402300800".to_owned()),
        ("milliseconds", ((now + 300) * 1_000).to_string()),
        ("2^53", "9007199254740993".to_owned()),
        ("2^53-minus", "9007199254740991".to_owned()),
        ("2^63", "9223372036854775808".to_owned()),
        ("2^64-past", wrapped.to_string()),
    ];
    for (variant, text) in either {
        let token = forger.sign(forger.forge().claim_text("exp", &text))?;
        p.never_crash(variant, &token, Control::Resigned)?;
    }
    // Ends before 1970, of which the low bits say five minutes from now.
    let soon = i128::from(now) + 300;
    let revived = [
        ("negative", "-9223372036854775809".to_owned()),
        ("wraps-32", (soon - (1_i128 << 32)).to_string()),
        ("wraps-64", (soon - (1_i128 << 64)).to_string()),
    ];
    for (variant, text) in &revived {
        p.refuse_signed(variant, &forger.sign(forger.forge().claim_text("exp", text))?)?;
    }
    p.refuse_signed_at_refresh(|token| {
        let Some(parts) = Forge::of(token) else { return Vec::new() };
        revived.iter().map(|(name, text)| (format!("refresh-{name}"), parts.clone().claim_text("exp", text))).collect()
    })
}

fn exp_fraction(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    p.accept_signed("future", &forger.sign(forger.forge().claim_text("exp", &format!("{}.4", now + 300)))?)?;
    p.refuse_signed("past", &forger.sign(forger.forge().claim_text("exp", &format!("{}.4", now - 600)))?)?;
    if !p.clean() {
        return Ok(());
    }
    for way in p.forgeable_ways()?.into_iter().filter(Way::usable) {
        let (whole, half) =
            (measure::cut(p, &way, &forger, Edge::Exp)?, measure::cut(p, &way, &forger, Edge::ExpHalf)?);
        let name = format!("within-a-second-{}", way.name);
        let variant = Some(name.as_str());
        let (whole, half) = (whole.bounds, half.bounds);
        match Moved::of(&whole, &half) {
            // That the end could not be bracketed is told by the check that measures it.
            Moved::Unknown => p.skip(&name, SkipReason::BlockedBy("time-exp-leeway".into())),
            Moved::Within(by) => p.pass(variant, "within", format!("half a second moves the end by {by:.2} s")),
            Moved::Late | Moved::Early => {
                let late = Moved::of(&whole, &half) == Moved::Late;
                let (finding, when) = if late { ("late", "later") } else { ("early", "earlier") };
                p.fail(
                    variant,
                    finding,
                    format!("an end with a fraction counts more than a second {when} than it says"),
                );
            }
        }
    }
    Ok(())
}

/// How half a second in `exp` moves the end of acceptance, by the cut-offs of a whole one and of one with a half, each in
/// seconds after its own instant.
#[derive(Debug, PartialEq)]
enum Moved {
    Within(f64),
    /// Accepted more than a second after it would have ended.
    Late,
    /// Refused more than a second before.
    Early,
    /// Nothing was answered at an instant that would show it.
    Unknown,
}

impl Moved {
    fn of(whole: &Bounds, half: &Bounds) -> Moved {
        match () {
            () if !whole.closed() || half.contradictions > 0 => Moved::Unknown,
            () if half.closed() => Moved::Within(half.middle() - whole.middle() + 0.5),
            () if half.low > whole.high + 1.0 => Moved::Late,
            () if half.high < whole.low - 1.0 => Moved::Early,
            () => Moved::Unknown,
        }
    }
}

fn exp_not_early(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways = usable(p)?;
    if let Some(forger) = forging(p)? {
        let token = forger.ending(clock::unix().ceil() as i64 + 60)?;
        p.accept_signed("60-s-left", &token)?;
        let mut forgeable = Vec::new();
        for way in ways {
            if p.resigned_accepted(&way)? {
                forgeable.push(way);
            }
        }
        let exp = clock::unix().ceil() + 2.0;
        return last_second(p, &forgeable, &forger.ending(exp as i64)?, exp);
    }
    let sample = p.access()?;
    match watch(p, life(p, &sample))? {
        Watch::Wait(life) => {
            p.allow(seconds(life));
            let token = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
            let exp = end_of(&token, Some(life));
            last_second(p, &ways, &token, exp)
        }
        // The edge itself is measured by moving the clock, in time-exp-leeway; here the present must be the server's.
        Watch::Clock => Err(Stop::not_applicable("genuine tokens outlive the budget; time-exp-leeway moves the clock")),
    }
}

/// Shows a token until a second before its end.
fn last_second(p: &mut Probe<'_>, ways: &[Way], token: &str, exp: f64) -> Result<(), Stop> {
    p.offer("last-second", token)?;
    let wait = exp - 1.35 - clock::unix();
    if wait > 0.0 {
        p.pause(seconds(wait), "a token's last second")?;
    }
    for way in ways {
        let answer = p.present(way, token)?;
        let left = exp - clock::unix_at(answer.received);
        if answer.accepted() {
            continue;
        }
        if left < 1.0 {
            p.inconclusive(Some("last-second"), "too-late", "the answer came less than a second before the end");
        } else {
            let summary = format!("`{}`: {} with {left:.1} s left", way.operation, answer.describe());
            p.fail_told(Some("last-second"), "early", "accepted until a second before its end", summary, &answer);
            p.transient();
        }
        return Ok(());
    }
    p.pass(Some("last-second"), "accepted", "accepted with little more than a second left");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_with_a_fraction_is_early_or_late_only_where_an_answer_shows_it() {
        let at = |low, high| Bounds { low, high, n: 4, contradictions: 0 };
        let (whole, open) = (at(-0.02, 0.03), f64::INFINITY);
        assert!(matches!(Moved::of(&whole, &at(-0.25, -0.25)), Moved::Within(by) if (by - 0.245).abs() < 1e-9));
        // We came too late to see anything but refusals, or ended before the first one.
        assert_eq!(Moved::of(&whole, &at(-open, 0.4)), Moved::Unknown);
        assert_eq!(Moved::of(&whole, &at(0.9, open)), Moved::Unknown);
        assert_eq!(Moved::of(&whole, &at(-open, -1.1)), Moved::Early);
        assert_eq!(Moved::of(&whole, &at(1.1, open)), Moved::Late);
        assert_eq!(Moved::of(&at(-open, open), &at(-0.1, 0.1)), Moved::Unknown);
    }
}

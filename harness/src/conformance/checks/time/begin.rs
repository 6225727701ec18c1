//! Is a token refused before its begin, and what becomes of one from the future?

use super::edge::{Over, over};
use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::measure::{self, Cut, Edge};
use crate::conformance::probe::{Probe, Stop, merged};
use crate::conformance::session::Way;
use crate::conformance::window;
use crate::record::{Level, SkipReason};

pub(super) const NBF: Check = Check {
    id: "time-nbf",
    group: "TIME",
    requirement: "a token is refused before its nbf and accepted after it",
    sources: &["RFC 7519 section 4.1.5", "Keats/jsonwebtoken#542"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["future", "past", "leeway-*"],
    isolation: Isolation::Shared,
    cost: cost(80, 6),
    intrusive: false,
    flaws: &["early-nbf", "nbf-off"],
    sends: "re-signed tokens whose `nbf` lies an hour ahead and an hour back; then measures where acceptance begins, which has the limits of time-exp-leeway",
    why: "some libraries do not look at nbf unless told to; a token that is meant for later works at once",
    remedy: "turn the check of `nbf` on in the JWT library",
    run: nbf,
};

pub(super) const IAT_FUTURE: Check = Check {
    id: "time-iat-future",
    group: "TIME",
    requirement: "what becomes of a token issued in the future is reported",
    sources: &["RFC 7519 section 4.1.6"],
    levels: Levels::INFO,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &[],
    isolation: Isolation::Shared,
    cost: cost(40, 1),
    intrusive: false,
    flaws: &[],
    sends: "a re-signed token whose `iat` lies a day ahead; where that is refused, others by bisection down to the second",
    why: "the standard asks nothing here; libraries differ, which shows when clocks do",
    remedy: "nothing is wrong either way; know which one you have",
    run: iat_future,
};

/// How far ahead a token is issued at most, in seconds.
const FURTHEST_S: i64 = 86_400;

fn nbf(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    let at = |nbf: i64| forger.sign(forger.forge().claim("nbf", nbf).claim("exp", now + 7_200));
    p.refuse_signed("future", &at(now + 3_600)?)?;
    p.accept_signed("past", &at(now - 3_600)?)?;
    if !p.clean() {
        return Ok(());
    }
    for way in p.forgeable_ways()?.into_iter().filter(Way::usable) {
        let cut = measure::cut(p, &way, &forger, Edge::Nbf)?;
        let record = measure::record(p, &way.name, Edge::Nbf, "forged", &cut, None);
        judge_leeway(p, &way.name, &cut, record.leeway_s);
        p.window(record);
    }
    Ok(())
}

/// How long before nbf a token is accepted, against what is declared, a minute, and five minutes.
fn judge_leeway(p: &mut Probe<'_>, way: &str, cut: &Cut, leeway_s: Option<(f64, f64)>) {
    let name = format!("leeway-{way}");
    let variant = Some(name.as_str());
    // Acceptance begins at the cut-off, so that the sides are those of the claim, turned round.
    let bounds = cut.bounds;
    let known = leeway_s.or_else(|| bounds.closed().then_some((-bounds.high - 1.0, -bounds.low + 1.0)));
    let Some((low, high)) = known else {
        // How sharply the edge lies is told by the window; that it lies within an hour, by `future`.
        p.skip(&name, SkipReason::NotApplicable("where acceptance begins was not bracketed".to_owned()));
        return;
    };
    let seen = format!("accepted from {high:.2} to {low:.2} s before nbf on");
    let finding = format!("leeway {} s", f64::midpoint(low, high).round().abs());
    match over(p.profile().declares.leeway_s, low, high) {
        Over::FiveMinutes => p.fail(variant, &finding, format!("{seen}, more than five minutes")),
        Over::Declared(d) => p.fail(variant, &finding, format!("{seen}, declared is a leeway of {d} s")),
        Over::Minute => {
            p.fail(variant, &finding, format!("{seen}, more than a minute"));
            p.at_most(Level::Should);
        }
        Over::Perhaps(_) | Over::Nothing => p.pass(variant, &finding, seen),
    }
}

fn iat_future(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    let ahead = |seconds: i64| forger.sign(forger.forge().claim("iat", now + seconds).claim("exp", now + 90_000));
    let token = ahead(FURTHEST_S)?;
    p.offer("", &token)?;
    let mut seen = Vec::new();
    let mut words = Vec::new();
    for way in p.forgeable_ways()? {
        let answer = p.present(&way, &token)?;
        seen.push((way.name.clone(), answer.finding()));
        if answer.refused() {
            let (mut taken, mut refused) = (0, FURTHEST_S);
            while let Some(between) = window::bisect(taken, refused) {
                if p.present(&way, &ahead(between)?)?.accepted() { taken = between } else { refused = between }
            }
            words.push(format!("`{}` takes one of up to about {taken} s ahead", way.name));
        }
    }
    let finding = merged(seen.iter().map(|(w, f)| (w.as_str(), f.clone())));
    let more = if words.is_empty() { String::new() } else { format!("; {}", words.join(", ")) };
    p.pass(None, &finding, format!("a token issued a day ahead: {finding}{more}"));
    Ok(())
}

//! Is a token refused before its begin, and what becomes of one from the future?

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::measure::{self, Edge};
use crate::conformance::probe::{Probe, Stop, merged};
use crate::conformance::session::Way;

pub(super) const NBF: Check = Check {
    id: "time-nbf",
    group: "TIME",
    requirement: "a token is refused before its nbf and accepted after it",
    sources: &["RFC 7519 section 4.1.5", "Keats/jsonwebtoken#542"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["future", "past"],
    isolation: Isolation::Shared,
    cost: cost(80, 6),
    intrusive: false,
    flaws: &["nbf-off"],
    sends: "re-signed tokens whose `nbf` lies an hour ahead and an hour back; then measures where acceptance begins",
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
    cost: cost(4, 1),
    intrusive: false,
    flaws: &[],
    sends: "a re-signed token whose `iat` lies a day ahead",
    why: "the standard asks nothing here; libraries differ, which shows when clocks do",
    remedy: "nothing is wrong either way; know which one you have",
    run: iat_future,
};

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
        p.window(record);
    }
    Ok(())
}

fn iat_future(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    let token = forger.sign(forger.forge().claim("iat", now + 86_400).claim("exp", now + 90_000))?;
    p.offer("", &token)?;
    let mut seen = Vec::new();
    for way in p.forgeable_ways()? {
        let answer = p.present(&way, &token)?;
        seen.push((way.name.clone(), answer.finding()));
    }
    let finding = merged(seen.iter().map(|(w, f)| (w.as_str(), f.clone())));
    p.pass(None, &finding, format!("a token issued a day ahead: {finding}"));
    Ok(())
}

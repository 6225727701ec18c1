//! Does the server keep to the times in its tokens?

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::measure::{self, Cut, Edge};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::conformance::window;
use crate::record::{Level, SkipReason, WindowRecord};
use crate::scenario::Budget;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "time-exp-rejected",
        group: "TIME",
        requirement: "a token is refused five minutes after its exp, and at its declared leeway plus two seconds",
        sources: &["RFC 7519 section 4.1.4", "ASVS 9.2.1"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::ForgeOrWait],
        variants: &["past-301", "past-leeway", "past-day", "waited"],
        isolation: Isolation::Shared,
        cost: cost(12, 3),
        intrusive: false,
        flaws: &["ignore-exp"],
        sends: "re-signed genuine tokens that ended 301 s, a day, and the declared leeway plus 2 s ago; without the key, a genuine token after its end",
        why: "an end that nobody looks at makes every stolen token good for ever",
        remedy: "turn the check of `exp` on in the JWT library, and require the claim",
        run: exp_rejected,
    },
    Check {
        id: "time-exp-leeway",
        group: "TIME",
        requirement: "acceptance ends no later than exp plus the declared leeway, and never more than five minutes after exp",
        sources: &["RFC 7519 section 4.1.4", "RFC 9068 section 4"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::Issue],
        variants: &["*"],
        isolation: Isolation::Shared,
        cost: cost(200, 12),
        intrusive: false,
        flaws: &["leeway-600"],
        sends: "re-signed tokens with ends from 300 s ahead to a day ago, then bisection, then twins every 25 ms across the edge; short-lived genuine tokens without the key",
        why: "the leeway is added to the life of every stolen token",
        remedy: "set the leeway of the JWT library to a few seconds, and synchronise the clocks instead",
        run: exp_leeway,
    },
    Check {
        id: "time-exp-missing",
        group: "TIME",
        requirement: "a token without exp is refused",
        sources: &["RFC 9068 section 2.2", "GO-2026-5732"],
        levels: Levels::SHOULD.rfc9068(Level::Must),
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["absent"],
        isolation: Isolation::Shared,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["exp-optional"],
        sends: "a re-signed genuine token from which `exp` was taken",
        why: "an issuer's mistake (or a token for another purpose under the same key) becomes a token without end",
        remedy: "name `exp` among the claims that the JWT library must find",
        run: exp_missing,
    },
    Check {
        id: "time-exp-falsy",
        group: "TIME",
        requirement: "exp 0, -1 and -0.0 are ends in the past, not absent",
        sources: &["RFC 7519 section 4.1.4"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["zero", "minus-one", "minus-zero"],
        isolation: Isolation::Shared,
        cost: cost(14, 1),
        intrusive: false,
        flaws: &["if-exp-truthy"],
        sends: "re-signed tokens whose `exp` is 0, -1 and -0.0",
        why: "`if exp:` reads 0 as no end at all",
        remedy: "test whether the claim is there, not whether it is truthy",
        run: exp_falsy,
    },
    Check {
        id: "time-exp-extreme",
        group: "TIME",
        requirement: "extreme values of exp bring no server error and revive no token",
        sources: &["RFC 7519 section 2"],
        levels: Levels::SHOULD,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["year-2126", "year-10000", "milliseconds", "2^53", "2^63", "2^64-past", "negative"],
        isolation: Isolation::Shared,
        cost: cost(30, 1),
        intrusive: false,
        flaws: &["int-wrap", "crash-year-10000"],
        sends: "re-signed tokens whose `exp` is now plus 100 years, in the year 10000, in milliseconds, 2^53, 2^63, 2^64 plus a past instant, and far negative",
        why: "dates beyond the range of a date type crash, and an integer that wraps makes a past end a future one",
        remedy: "compare numbers, not dates, with saturating arithmetic; refuse what does not fit",
        run: exp_extreme,
    },
    Check {
        id: "time-exp-fraction",
        group: "TIME",
        requirement: "a fractional exp is understood",
        sources: &["RFC 7519 section 2"],
        levels: Levels::SHOULD,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["future", "past"],
        isolation: Isolation::Shared,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["int-only-crash"],
        sends: "re-signed tokens whose `exp` has a fraction, one ahead and one ten minutes past",
        why: "NumericDate may have a fraction; a verifier that cannot read one refuses good tokens, or takes the claim for absent",
        remedy: "read `exp` as a floating-point number",
        run: exp_fraction,
    },
    Check {
        id: "time-exp-boundary",
        group: "TIME",
        requirement: "on or after exp a token is refused; how the boundary is drawn is reported",
        sources: &["RFC 7519 section 4.1.4"],
        levels: Levels::INFO,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["*"],
        isolation: Isolation::Shared,
        cost: cost(150, 8),
        intrusive: false,
        flaws: &["inclusive-exp"],
        sends: "twins every 25 ms across the edge of a re-signed token",
        why: "one second more is harmless, but two servers that draw the boundary differently disagree on the same token",
        remedy: "compare with `now < exp`",
        run: exp_boundary,
    },
    Check {
        id: "time-exp-not-early",
        group: "TIME",
        requirement: "a token is accepted until a second before its exp",
        sources: &["RFC 7519 section 4.1.4"],
        levels: Levels::SHOULD,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["60-s-left", "3-s-left"],
        isolation: Isolation::Shared,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["early-expiry"],
        sends: "re-signed tokens with 60 s and 3 s left",
        why: "callers plan their refresh by exp; a server that ends tokens earlier turns them away without warning",
        remedy: "subtract nothing from exp; let callers refresh ahead of time instead",
        run: exp_not_early,
    },
    Check {
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
    },
    Check {
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
    },
    Check {
        id: "time-endpoint-agreement",
        group: "TIME",
        requirement: "all verify ways draw the end of a token at the same instant, to a second",
        sources: &["RFC 7662 section 4"],
        levels: Levels::SHOULD,
        needs: &[Need::SecondWay, Need::SigningKey],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(30, 2),
        intrusive: false,
        flaws: &["two-leeways"],
        sends: "the same re-signed tokens, ended 2 to 400 s ago, to every verify way",
        why: "a token that one endpoint calls dead and another honours makes logouts and audits lie",
        remedy: "give all verifiers one configuration",
        run: endpoint_agreement,
    },
    Check {
        id: "time-cached-verdict",
        group: "TIME",
        requirement: "a token that was accepted before its exp is refused after it as promptly as one never shown, and an early nbf refusal does not stick",
        sources: &["RFC 7662 section 4", "OpenIDC/mod_oauth2#14", "quarkusio/quarkus#43994"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay, Need::ForgeOrWait],
        variants: &["exp", "nbf"],
        isolation: Isolation::Shared,
        cost: cost(60, 10),
        intrusive: false,
        flaws: &["verdict-cache"],
        sends: "one token over and over across its end, beside twins that are shown once only after it; and a token before and after its nbf",
        why: "a cache of verdicts prolongs the life of every token by its own time to live",
        remedy: "bound the cached verdict by the token's own exp (and do not cache refusals for nbf)",
        run: cached_verdict,
    },
    Check {
        id: "time-refresh-exp",
        group: "TIME",
        requirement: "a refresh token is refused after its own exp",
        sources: &["ASVS 10.4.8", "RFC 7519 section 4.1.4"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::JwtRefresh, Need::SigningKey],
        variants: &["ended"],
        isolation: Isolation::User,
        cost: cost(3, 1),
        intrusive: false,
        flaws: &["immortal-refresh"],
        sends: "a re-signed refresh token that ended ten minutes ago, beside one that has not",
        why: "a refresh token without end is a password that nobody can change",
        remedy: "check `exp` of refresh tokens too",
        run: refresh_exp,
    },
];

fn exp_rejected(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.has(Need::SigningKey) {
        return exp_waited(p);
    }
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    p.refuse_signed("past-301", &forger.ending(now - 301)?)?;
    p.refuse_signed("past-day", &forger.ending(now - 86_400)?)?;
    if let Some(leeway) = p.profile().declares.leeway_s {
        p.refuse_signed("past-leeway", &forger.ending(now - leeway.ceil() as i64 - 2)?)?;
    }
    Ok(())
}

/// A genuine token, shown after its end: without the key, only waiting helps.
fn exp_waited(p: &mut Probe<'_>) -> Result<(), Stop> {
    let life = p.profile().tokens.access.lifetime_s.unwrap_or(f64::MAX);
    let ways: Vec<Way> = p.ways();
    let issued = p.login()?;
    let token = issued.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let exp = decode(&token).and_then(|(_, c)| c.get("exp")?.as_f64()).unwrap_or(clock::unix() + life);
    p.offer("waited", &token)?;
    let leeway = p.profile().declares.leeway_s;
    let longest = if p.session.budget == Budget::Ci { leeway.unwrap_or(15.0).min(30.0) + 2.0 } else { 301.0 };
    for age in [leeway.unwrap_or(0.0) + 2.0, longest] {
        let wait = exp + age - clock::unix();
        if wait > 0.0 {
            p.pause(Duration::from_secs_f64(wait), "a token's end")?;
        }
        let mut accepted = false;
        for way in &ways {
            accepted |= p.present(way, &token)?.accepted();
        }
        if !accepted {
            p.expect(Some("waited"), &Value::String(token), &ways, Expect::Refused, Control::Genuine)?;
            return Ok(());
        }
        if leeway.is_some() || age >= 300.0 {
            p.expect(Some("waited"), &Value::String(token), &ways, Expect::Refused, Control::Genuine)?;
            return Ok(());
        }
    }
    let text = format!(
        "still accepted {longest:.0} s after its end; whether it ends within five minutes needs --budget thorough"
    );
    p.inconclusive(Some("waited"), "still-accepted", text);
    Ok(())
}

fn exp_leeway(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.access()?;
    let claims = decode(&genuine).map(|(_, c)| c);
    let number = |name: &str| claims.as_ref().and_then(|c| c.get(name)).and_then(Value::as_f64);
    let life = match (number("exp"), number("iat")) {
        (Some(exp), Some(iat)) => Some(exp - iat),
        _ => p.profile().tokens.access.lifetime_s,
    };
    let usable: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    if p.has(Need::SigningKey) {
        let forger = p.forger()?;
        p.offer(usable.first().map_or("", |w| w.name.as_str()), &forger.ending(clock::unix() as i64 - 120)?)?;
        let mut measured = false;
        for way in &usable {
            if !p.resigned_accepted(way)? {
                continue;
            }
            measured = true;
            let cut = measure::forged(p, way, &forger, Edge::Exp)?;
            let mut record = measure::record(p, &way.name, Edge::Exp, "forged", &cut, life);
            if record.offset_s.is_none() && cut.bounds.closed() {
                // No Date header: where one leeway serves exp and nbf, both edges together give the offset.
                let begin = measure::forged(p, way, &forger, Edge::Nbf)?;
                if let Some((leeway, offset)) = window::two_sided(&cut.bounds, &begin.bounds) {
                    record.leeway_s = Some(leeway);
                    record.offset_s = Some(offset);
                    record.offset_source = Some("two-sided".to_owned());
                    record.boundary = window::boundary(leeway).map(str::to_owned);
                    record.note = Some(window::nearest(leeway));
                }
            }
            judge_leeway(p, &way.name, &cut, &record);
            p.window(record);
        }
        if measured {
            return Ok(());
        }
    }
    let budget = if p.session.budget == Budget::Ci { 15.0 } else { 3_600.0 };
    match life.filter(|life| *life <= budget) {
        Some(life) => {
            let until = if p.session.budget == Budget::Ci { 16.5 } else { 302.0 };
            for way in &usable {
                let cut = measure::short_lived(p, way, life, until)?;
                let record = measure::record(p, &way.name, Edge::Exp, "short-lived", &cut, Some(life));
                judge_leeway(p, &way.name, &cut, &record);
                p.window(record);
            }
            Ok(())
        }
        None => {
            cannot_observe(p, &usable, life, number("exp"));
            Err(match life {
                Some(life) => Stop::Skip(SkipReason::Budget(life as u64)),
                None => Stop::needs(Need::ForgeOrWait),
            })
        }
    }
}

/// Nothing about the leeway can be seen: says so, beside what is known.
fn cannot_observe(p: &Probe<'_>, ways: &[Way], life: Option<f64>, exp: Option<f64>) {
    for way in ways {
        let ends = match (exp, life) {
            (Some(_), Some(life)) => format!("its tokens say that they end after {life:.0} s"),
            (Some(_), None) => "its tokens have an exp".to_owned(),
            (None, Some(life)) => format!("a lifetime of {life:.0} s is declared"),
            (None, None) => "no end is known".to_owned(),
        };
        p.window(WindowRecord {
            topology: p.session.topology.to_owned(),
            endpoint: way.name.clone(),
            claim: "exp".to_owned(),
            method: "not-observed".to_owned(),
            lifetime_s: life,
            last_accepted_s: exp.map(|exp| clock::unix() - exp),
            first_refused_s: None,
            leeway_s: None,
            offset_s: None,
            offset_source: None,
            boundary: None,
            probes: 0,
            contradictions: 0,
            note: Some(format!(
                "cannot be observed: the signing key is unknown and the tokens outlive the budget; {ends}; \
                 hint: give `keys.sign`, or run the server with lifetimes of a few seconds"
            )),
        });
    }
}

fn judge_leeway(p: &mut Probe<'_>, way: &str, cut: &Cut, record: &WindowRecord) {
    let declared = p.profile().declares.leeway_s;
    let variant = Some(way);
    if cut.bounds.contradictions > 0 && cut.bounds.excess() > 1.0 {
        let text = format!("no single cut-off: answers overlap by {:.1} s", cut.bounds.excess());
        p.fail(variant, "contradictory", text);
        p.at_most(Level::Should);
        return;
    }
    if cut.bounds.high.is_infinite() && cut.bounds.low > 300.0 {
        p.fail(variant, "no-end", "even a token that ended a day ago is accepted");
        return;
    }
    let Some((low, high)) =
        record.leeway_s.or_else(|| cut.bounds.closed().then_some((cut.bounds.low - 1.0, cut.bounds.high + 1.0)))
    else {
        p.inconclusive(variant, "not-bracketed", "the end of acceptance was not bracketed");
        return;
    };
    let seen = format!("accepted until {:.2} to {:.2} s after exp", low.max(-999.0), high);
    let whole = ((low + high) / 2.0).round().abs();
    let finding = format!("leeway {whole} s");
    // One second more than declared is the clock's tick between iat and exp, or an inclusive compare.
    match declared {
        _ if low > 300.0 => p.fail(variant, &finding, format!("{seen}, more than five minutes")),
        Some(d) if low > d + 1.0 => p.fail(variant, &finding, format!("{seen}, declared is a leeway of {d} s")),
        Some(d) if high > d + 1.2 => {
            p.inconclusive(variant, "leeway-unclear", format!("{seen}, declared is a leeway of {d} s"));
        }
        None if low > 60.0 => {
            p.fail(variant, &finding, format!("{seen}, more than a minute"));
            p.at_most(Level::Should);
        }
        _ => p.pass(variant, &finding, seen),
    }
}

fn exp_missing(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let token = forger.sign(forger.forge().without_claim("exp"))?;
    p.refuse_signed("absent", &token)
}

fn exp_falsy(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    for (variant, text) in [("zero", "0"), ("minus-one", "-1"), ("minus-zero", "-0.0")] {
        let token = forger.sign(forger.forge().claim_text("exp", text))?;
        p.refuse_signed(variant, &token)?;
    }
    Ok(())
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
        ("2^63", "9223372036854775808".to_owned()),
        ("2^64-past", wrapped.to_string()),
    ];
    for (variant, text) in either {
        let token = forger.sign(forger.forge().claim_text("exp", &text))?;
        p.never_crash(variant, &token, Control::Resigned)?;
    }
    let token = forger.sign(forger.forge().claim_text("exp", "-9223372036854775809"))?;
    p.refuse_signed("negative", &token)
}

fn exp_fraction(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let now = clock::unix().floor() as i64;
    p.accept_signed("future", &forger.sign(forger.forge().claim_text("exp", &format!("{}.4", now + 300)))?)?;
    p.refuse_signed("past", &forger.sign(forger.forge().claim_text("exp", &format!("{}.4", now - 600)))?)
}

fn exp_boundary(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    for way in p.forgeable_ways()? {
        if !way.usable() {
            continue;
        }
        let cut = measure::forged(p, &way, &forger, Edge::Exp)?;
        let record = measure::record(p, &way.name, Edge::Exp, "forged", &cut, None);
        let variant = Some(way.name.as_str());
        match (record.boundary.as_deref(), record.leeway_s) {
            (Some("inclusive"), Some(_)) => {
                let note = record.note.unwrap_or_default();
                p.fail(variant, "inclusive", format!("accepted through the whole second of the end ({note})"));
            }
            (Some(kind), Some((low, high))) => {
                p.pass(variant, kind, format!("{kind}: the end lies {low:.2} to {high:.2} s after exp"))
            }
            _ => p.inconclusive(variant, "not-bracketed", "the boundary was not bracketed to half a second"),
        }
    }
    Ok(())
}

fn exp_not_early(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    for (variant, left) in [("60-s-left", 60), ("3-s-left", 3)] {
        let token = forger.ending(clock::unix().ceil() as i64 + left)?;
        p.accept_signed(variant, &token)?;
    }
    Ok(())
}

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
        let cut = measure::forged(p, &way, &forger, Edge::Nbf)?;
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
    let finding = crate::conformance::probe::merged(seen.iter().map(|(w, f)| (w.as_str(), f.clone())));
    p.pass(None, &finding, format!("a token issued a day ahead: {finding}"));
    Ok(())
}

fn endpoint_agreement(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let ways: Vec<Way> = p.forgeable_ways()?.into_iter().filter(Way::usable).collect();
    if ways.len() < 2 {
        return Err(Stop::needs(Need::SecondWay));
    }
    let mut split = None;
    for age in [-5_i64, 2, 4, 8, 13, 25, 45, 90, 200, 400] {
        let token = forger.ending(clock::unix().floor() as i64 - age)?;
        p.offer("", &token)?;
        let mut verdicts = Vec::new();
        for way in &ways {
            let answer = p.present(way, &token)?;
            verdicts.push((way.name.clone(), answer));
        }
        let accepted = verdicts.iter().filter(|(_, a)| a.accepted()).count();
        if accepted != 0 && accepted != verdicts.len() && split.is_none() {
            split = Some((age, verdicts));
        }
    }
    match split {
        None => p.pass(None, "agree", format!("{} ways agree on tokens that ended up to 400 s ago", ways.len())),
        Some((age, verdicts)) => {
            let text: Vec<String> = verdicts.iter().map(|(w, a)| format!("`{w}` {}", a.describe())).collect();
            let names: Vec<String> = verdicts.iter().filter(|(_, a)| a.accepted()).map(|(w, _)| w.clone()).collect();
            let summary = format!("a token that ended {age} s ago: {}", text.join(", "));
            let lead = verdicts.iter().find(|(_, a)| a.accepted()).map(|(_, a)| a.clone());
            match lead {
                Some(answer) => {
                    p.fail_told(
                        None,
                        &format!("later by {}", names.join(", ")),
                        "the same verdict everywhere",
                        summary,
                        &answer,
                    );
                }
                None => p.fail(None, "differ", summary),
            }
        }
    }
    Ok(())
}

fn cached_verdict(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    if !p.has(Need::SigningKey) {
        return cached_genuine(p, &ways);
    }
    let forger = p.forger()?;
    let ways: Vec<Way> = {
        let mut kept = Vec::new();
        for way in ways {
            if p.resigned_accepted(&way)? {
                kept.push(way);
            }
        }
        kept
    };
    if ways.is_empty() {
        return Err(Stop::needs(Need::ForgeOrWait));
    }
    // The leeway moves the cut-off of both arms alike; it only has to lie within what is waited.
    let leeway = p.profile().declares.leeway_s.unwrap_or(0.0).clamp(0.0, 60.0);
    let exp = clock::unix().ceil() as i64 + 2 - leeway.ceil() as i64;
    let polled = forger.ending(exp)?;
    let twin = forger.ending(exp)?;
    p.offer("exp", &polled)?;
    let early = forger.sign(
        forger
            .forge()
            .claim("nbf", clock::unix().ceil() as i64 + 3 + leeway.ceil() as i64)
            .claim("exp", clock::unix() as i64 + 600),
    )?;
    let mut warmed = 0;
    let mut refused_early = 0;
    for way in &ways {
        for _ in 0..4 {
            warmed += usize::from(p.present(way, &polled)?.accepted());
        }
        refused_early += usize::from(p.present(way, &early)?.refused());
    }
    if warmed == 0 {
        return Err(Stop::Inconclusive("a token with a second to live was refused, so nothing could be cached".into()));
    }
    let end = exp as f64 + leeway + 2.0;
    while clock::unix() < end {
        for way in &ways {
            p.present(way, &polled)?;
        }
        p.pause(Duration::from_millis(150), "a token's end")?;
    }
    let mut worst = None;
    for way in &ways {
        let (fresh, old) = (p.present(way, &twin)?, p.present(way, &polled)?);
        if old.accepted() && !fresh.accepted() {
            worst = Some((way.name.clone(), old));
        } else if old.accepted() && fresh.accepted() {
            p.inconclusive(Some("exp"), "not-ended", "two seconds after its end even a token never shown is accepted");
            return Ok(());
        }
    }
    match worst {
        Some((way, answer)) => {
            let summary = format!(
                "`{way}` still accepts a token two seconds after its end that it refuses as a twin: the verdict was kept"
            );
            p.fail_told(Some("exp"), "kept", "the end honoured for a token that was seen before", summary, &answer);
        }
        None => p.pass(Some("exp"), "ends", "a token seen before ends like one never seen"),
    }
    if refused_early == ways.len() {
        let nbf = decode(&early).and_then(|(_, c)| c.get("nbf")?.as_f64()).unwrap_or_default();
        let wait = nbf + leeway + 1.2 - clock::unix();
        if wait > 0.0 {
            p.pause(Duration::from_secs_f64(wait.min(15.0)), "a token's begin")?;
        }
        for way in &ways {
            let answer = p.present(way, &early)?;
            if !answer.accepted() {
                p.fail_seen(Some("nbf"), "sticks", "acceptance after nbf although it was refused before", &answer);
                p.at_most(Level::Should);
                return Ok(());
            }
        }
        p.pass(Some("nbf"), "no-sticking", "a refusal before nbf does not stick");
    }
    Ok(())
}

/// The same with genuine short-lived tokens: one is polled, another is shown once after the end.
fn cached_genuine(p: &mut Probe<'_>, ways: &[Way]) -> Result<(), Stop> {
    let life = p.profile().tokens.access.lifetime_s.ok_or_else(|| Stop::needs(Need::ForgeOrWait))?;
    let kills = p.profile().operations.get("refresh").is_some_and(|o| o.kills_old_access == Some(true));
    let first = p.login()?;
    let second = match first.refresh.clone().filter(|_| p.has(Need::Refresh) && !kills) {
        Some(token) => p.refreshed(&token)?,
        None => p.login()?,
    };
    let (Some(polled), Some(twin)) = (first.access, second.access) else { return Err(Stop::blocked_by("issue-basic")) };
    p.offer("exp", &polled)?;
    if polled == twin {
        return Err(Stop::not_applicable("two logins in one second bring the same token, so there is no twin"));
    }
    let exp = |token: &str| decode(token).and_then(|(_, c)| c.get("exp")?.as_f64()).unwrap_or(clock::unix() + life);
    let end = exp(&polled).max(exp(&twin)) + p.profile().declares.leeway_s.unwrap_or(0.0) + 2.0;
    while clock::unix() < end {
        for way in ways {
            p.present(way, &polled)?;
        }
        p.pause(Duration::from_millis(400), "a token's end")?;
    }
    for way in ways {
        let (fresh, old) = (p.present(way, &twin)?, p.present(way, &polled)?);
        let variant = Some("exp");
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
    p.pass(Some("exp"), "ends", "a token seen before ends like one never seen");
    Ok(())
}

fn refresh_exp(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.fresh_refresh()?;
    let forger = crate::conformance::forger::Forger::new(p.target(), &genuine)?;
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
        return Ok(());
    }
    let control = p.refresh(&keep(now + 3_600)?)?;
    if control.accepted() {
        p.judge_refusal(Some("ended"), "an ended refresh token refused", &answer);
        Ok(())
    } else {
        Err(Stop::Inconclusive("a re-signed refresh token that has not ended is refused too".into()))
    }
}

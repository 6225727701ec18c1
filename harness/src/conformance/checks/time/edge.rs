//! Where does acceptance end: how far past exp, how sharply, and at the same instant everywhere?

use super::{Watch, forging, genuine_tokens, life, number, seconds, usable, waited_until, watch};
use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::measure::{self, Cut, Edge};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::conformance::window::{self, Bounds};
use crate::record::{Level, WindowRecord};

pub(super) const EXP_LEEWAY: Check = Check {
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
    sends: "re-signed tokens with ends from 300 s ahead to a day ago, then bisection, then twins every 25 ms across the edge; short-lived genuine tokens without the key, or the server's clock moved past the end of long-lived ones",
    why: "the leeway is added to the life of every stolen token",
    remedy: "set the leeway of the JWT library to a few seconds, and synchronise the clocks instead",
    run: exp_leeway,
};

pub(super) const EXP_BOUNDARY: Check = Check {
    id: "time-exp-boundary",
    group: "TIME",
    requirement: "on or after exp a token is refused; how the boundary is drawn is reported",
    sources: &["RFC 7519 section 4.1.4"],
    levels: Levels::INFO,
    needs: &[Need::VerifyWay, Need::ForgeOrWait],
    variants: &["*"],
    isolation: Isolation::Shared,
    cost: cost(150, 8),
    intrusive: false,
    flaws: &["inclusive-exp"],
    sends: "twins every 25 ms across the edge of a re-signed token, with a whole end and with one at half a second (which tells a clock of whole seconds from one with fractions); short-lived genuine tokens without the key",
    why: "one second more is harmless, but two servers that draw the boundary differently disagree on the same token",
    remedy: "compare with `now < exp`",
    run: exp_boundary,
};

pub(super) const ENDPOINT_AGREEMENT: Check = Check {
    id: "time-endpoint-agreement",
    group: "TIME",
    requirement: "all verify ways, and the refresh operation, draw the end of a token at the same instant, to a second",
    sources: &["RFC 7662 section 4"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay, Need::SigningKey],
    variants: &["*"],
    isolation: Isolation::Shared,
    cost: cost(200, 8),
    intrusive: false,
    flaws: &["two-leeways"],
    sends: "the ends of all verify ways as time-exp-leeway measures them; and re-signed refresh tokens on either side of that end to the refresh operation",
    why: "a token that one endpoint calls dead and another honours makes logouts and audits lie",
    remedy: "give all verifiers one configuration",
    run: endpoint_agreement,
};

fn exp_leeway(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.access()?;
    let life = life(p, &genuine);
    let ways = usable(p)?;
    if let Some(forger) = forging(p)? {
        p.offer(ways.first().map_or("", |w| w.name.as_str()), &forger.ending(clock::unix() as i64 - 120)?)?;
        for way in &ways {
            if p.resigned_accepted(way)? {
                let record = forged_window(p, way, &forger, life)?;
                let cut = measure::cut(p, way, &forger, Edge::Exp)?;
                judge_leeway(p, &way.name, &cut, &record);
                p.window(record);
            }
        }
        return Ok(());
    }
    match watch(p, life) {
        Ok(Watch::Wait(life)) => {
            let until = waited_until(p);
            p.allow(seconds((life + until) * ways.len() as f64));
            for way in &ways {
                let cut = measure::waited(p, way, life, until)?;
                let record = measure::record(p, &way.name, Edge::Exp, "short-lived", &cut, Some(life));
                judge_leeway(p, &way.name, &cut, &record);
                p.window(record);
            }
            Ok(())
        }
        Ok(Watch::Clock) => {
            p.alone()?;
            for way in &ways {
                let tokens = genuine_tokens(p, measure::STEPS.len())?;
                let cut = measure::stepped(p, way, &tokens, life.unwrap_or(3_600.0))?;
                let record = measure::record(p, &way.name, Edge::Exp, "clock-hook", &cut, life);
                judge_leeway(p, &way.name, &cut, &record);
                p.window(record);
            }
            Ok(())
        }
        Err(stop) => {
            cannot_observe(p, &ways, life, number(&genuine, "exp"));
            Err(stop)
        }
    }
}

/// The window of a way by forged tokens, with what separates leeway from offset and tells the clock's kind.
fn forged_window(p: &mut Probe<'_>, way: &Way, forger: &Forger, life: Option<f64>) -> Result<WindowRecord, Stop> {
    let cut = measure::cut(p, way, forger, Edge::Exp)?;
    let mut record = measure::record(p, &way.name, Edge::Exp, "forged", &cut, life);
    let vague = |(low, high): (f64, f64)| high - low > 0.5;
    if record.offset_s.is_none_or(vague) && cut.bounds.closed() {
        // No Date header, or one that may be old: where one leeway serves exp and nbf, both edges together give the
        // offset.
        let begin = measure::cut(p, way, forger, Edge::Nbf)?;
        let dated = record.offset_s.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let agrees = |offset: &(f64, f64)| offset.0 <= dated.1 && dated.0 <= offset.1;
        let separated = window::two_sided(&cut.bounds, &begin.bounds).filter(|(_, offset)| agrees(offset));
        if let Some((leeway, offset)) = separated {
            record.leeway_s = Some(leeway);
            record.offset_s = Some(offset);
            record.offset_source = Some("two-sided".to_owned());
            record.boundary = window::boundary(leeway).map(str::to_owned);
            record.note = Some(window::nearest(leeway));
        }
    }
    let half = measure::cut(p, way, forger, Edge::ExpHalf)?;
    if let (Some(kind), Some(clock)) = (&record.boundary, window::compared(&cut.bounds, &half.bounds)) {
        record.boundary = Some(format!("{kind}, {clock}"));
    }
    Ok(record)
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
    match over(declared, low, high) {
        Over::FiveMinutes => p.fail(variant, &finding, format!("{seen}, more than five minutes")),
        Over::Declared(d) => p.fail(variant, &finding, format!("{seen}, declared is a leeway of {d} s")),
        Over::Perhaps(d) => {
            p.inconclusive(variant, "leeway-unclear", format!("{seen}, declared is a leeway of {d} s"));
        }
        Over::Minute => {
            p.fail(variant, &finding, format!("{seen}, more than a minute"));
            p.at_most(Level::Should);
        }
        Over::Nothing => p.pass(variant, &finding, seen),
    }
}

/// What a measured leeway is over.
#[derive(Debug, PartialEq)]
pub(super) enum Over {
    FiveMinutes,
    Declared(f64),
    /// Its bracket is too wide to say.
    Perhaps(f64),
    Minute,
    Nothing,
}

/// A leeway between `low` and `high` seconds against its limits: what is declared, or a minute, and five minutes in any
/// case. A clock of whole seconds that is compared inclusively accepts through the whole second of the limit, which is
/// the limit kept: only a second beyond it is over.
pub(super) fn over(declared: Option<f64>, low: f64, high: f64) -> Over {
    /// The limit's own second, and what a bracket is blurred by.
    const WHOLE_SECOND: f64 = 1.05;
    match declared {
        _ if low > 300.0 + WHOLE_SECOND => Over::FiveMinutes,
        Some(d) if low > d + WHOLE_SECOND => Over::Declared(d),
        Some(d) if high > d + 1.2 => Over::Perhaps(d),
        None if low > 60.0 + WHOLE_SECOND => Over::Minute,
        _ => Over::Nothing,
    }
}

fn exp_boundary(p: &mut Probe<'_>) -> Result<(), Stop> {
    let Some(forger) = forging(p)? else {
        let sample = p.access()?;
        return match watch(p, life(p, &sample))? {
            Watch::Wait(life) => {
                p.allow(seconds(life + 4.0));
                for way in usable(p)? {
                    let cut = measure::short_lived(p, &way, life, 2.2)?;
                    let record = measure::record(p, &way.name, Edge::Exp, "short-lived", &cut, Some(life));
                    tell_boundary(p, &way, &record);
                }
                Ok(())
            }
            Watch::Clock => Err(Stop::not_applicable("a clock that is moved by whole seconds shows no sharper edge")),
        };
    };
    for way in p.forgeable_ways()?.into_iter().filter(Way::usable) {
        let record = forged_window(p, &way, &forger, None)?;
        tell_boundary(p, &way, &record);
    }
    Ok(())
}

fn tell_boundary(p: &mut Probe<'_>, way: &Way, record: &WindowRecord) {
    let variant = Some(way.name.as_str());
    // The clock's kind is told, and is no part of the finding: two runs against a busy server must compare alike.
    let kind = record.boundary.as_deref().and_then(|b| b.split(',').next()).map(str::to_owned);
    match (kind.as_deref(), record.leeway_s) {
        (Some("inclusive"), Some(_)) => {
            let note = record.note.clone().unwrap_or_default();
            p.fail(variant, "inclusive", format!("accepted through the whole second of the end ({note})"));
        }
        (Some(kind), Some((low, high))) => {
            let told = record.boundary.clone().unwrap_or_default();
            p.pass(variant, kind, format!("{told}: the end lies {low:.2} to {high:.2} s after exp"));
        }
        _ => p.inconclusive(variant, "not-bracketed", "the boundary was not bracketed to half a second"),
    }
}

/// By how much two cut-offs differ at least, in seconds; none where they are not bracketed.
fn apart(a: &Bounds, b: &Bounds) -> Option<f64> {
    (a.closed() && b.closed()).then(|| (a.low - b.high).max(b.low - a.high).max(0.0))
}

fn endpoint_agreement(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let ways: Vec<Way> = p.forgeable_ways()?.into_iter().filter(Way::usable).collect();
    let Some((first, rest)) = ways.split_first() else { return Err(Stop::needs(Need::VerifyWay)) };
    let base = measure::cut(p, first, &forger, Edge::Exp)?.bounds;
    for way in rest {
        let bounds = measure::cut(p, way, &forger, Edge::Exp)?.bounds;
        let variant = Some(way.name.as_str());
        // No end at all is an end a day out, as far as the ladder goes.
        let endless = |b: &Bounds| b.low.is_finite() && b.high.is_infinite();
        match apart(&base, &bounds) {
            Some(apart) if apart > 1.0 => {
                let text = format!(
                    "`{}` accepts until {:.1} s after exp, `{}` until {:.1} s",
                    first.name,
                    base.middle(),
                    way.name,
                    bounds.middle()
                );
                let later = if base.middle() > bounds.middle() { first } else { way };
                let token = forger.ending((clock::unix() - f64::midpoint(base.middle(), bounds.middle())) as i64)?;
                let answer = p.present(later, &token)?;
                p.fail_told(variant, &format!("later by {}", later.name), "the same end everywhere", text, &answer);
            }
            Some(_) => {
                p.pass(variant, "agree", format!("`{}` and `{}` draw the end at one instant", first.name, way.name));
            }
            None if endless(&base) != endless(&bounds) => {
                let later = if endless(&base) { first } else { way };
                let text = format!("`{}` sees no end where the other does", later.name);
                p.fail(variant, &format!("later by {}", later.name), text);
            }
            None if endless(&base) => p.pass(variant, "agree", "neither sees any end"),
            None => p.inconclusive(variant, "not-bracketed", "the ends were not bracketed"),
        }
    }
    at_refresh(p, first, &base)
}

/// Whether the refresh operation gives refresh tokens the leeway that the first way gives access tokens: one shown a
/// second and more before that end, another as long after it.
fn at_refresh(p: &mut Probe<'_>, first: &Way, base: &Bounds) -> Result<(), Stop> {
    if !(p.has(Need::Refresh) && p.has(Need::JwtRefresh) && base.closed()) || p.target().is_command("refresh") {
        return Ok(());
    }
    let genuine = p.fresh_refresh()?;
    let forger = Forger::of_refresh(p.target(), &genuine)?;
    let ended = |ago: f64| {
        // The table of refresh tokens knows the genuine jti only.
        let exp = (clock::unix() - ago).floor() as i64;
        let mut forge = forger.forge().claim("exp", exp);
        for (name, value) in [("jti", forger.claim("jti")), ("iat", Some((exp - 3_600).into()))] {
            if let Some(value) = value.filter(|_| forger.claim(name).is_some()) {
                forge = forge.claim(name, value);
            }
        }
        forger.sign(forge)
    };
    let late = p.refresh(&ended(base.high + 2.2)?)?;
    if late.accepted() {
        let text = format!("refresh takes a token {:.0} s after its exp, `{}` none", base.high + 2.2, first.name);
        p.fail_told(Some("refresh"), "later by refresh", "the same end everywhere", text, &late);
        return Ok(());
    }
    let soon = p.refresh(&ended(base.low - 2.2)?)?;
    if soon.accepted() {
        p.pass(Some("refresh"), "agree", format!("refresh draws the end as `{}` does", first.name));
    } else if p.refresh(&ended(-3_600.0)?)?.accepted() {
        let text = format!("refresh refuses a token that `{}` would still accept", first.name);
        p.fail_told(Some("refresh"), "earlier by refresh", "the same end everywhere", text, &soon);
    } else {
        let why = "re-signed refresh tokens (the server refuses one that has not ended)";
        p.skip("refresh", crate::record::SkipReason::Needs(why.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_kept_through_its_whole_second() {
        // Strict, inclusive in whole seconds, and one second too long, of a minute and of five.
        for limit in [60.0, 300.0] {
            assert_eq!(over(None, limit - 0.02, limit + 0.02), if limit > 60.0 { Over::Minute } else { Over::Nothing });
            let declared = Some(limit);
            assert_eq!(over(declared, limit - 0.02, limit + 0.02), Over::Nothing);
            assert_eq!(over(declared, limit + 0.97, limit + 1.02), Over::Nothing);
        }
        assert_eq!(over(None, 60.97, 61.02), Over::Nothing);
        assert_eq!(over(None, 61.97, 62.02), Over::Minute);
        assert_eq!(over(Some(60.0), 61.97, 62.02), Over::Declared(60.0));
        assert_eq!(over(Some(300.0), 301.97, 302.02), Over::FiveMinutes);
        assert_eq!(over(Some(600.0), 599.0, 601.0), Over::FiveMinutes);
        assert_eq!(over(Some(0.0), 0.4, 5.2), Over::Perhaps(0.0));
    }

    #[test]
    fn ends_are_apart_by_what_their_brackets_leave_no_room_for() {
        let at = |low, high| Bounds { low, high, n: 2, contradictions: 0 };
        assert_eq!(apart(&at(0.0, 0.5), &at(5.0, 6.0)), Some(4.5));
        assert_eq!(apart(&at(5.0, 6.0), &at(0.0, 0.5)), Some(4.5));
        assert_eq!(apart(&at(0.0, 2.0), &at(1.0, 3.0)), Some(0.0));
        assert_eq!(apart(&at(0.0, 2.0), &Bounds::default()), None);
    }
}

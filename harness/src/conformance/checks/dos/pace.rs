//! How long does an answer take, and is that the token's doing or the machine's?
//!
//! A slow answer counts beside genuine tokens that are answered quickly before and after it, and only where it is slow
//! twice. Where the genuine ones are slow too, nothing was learnt.

use super::super::material::findings;
use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::Need;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::stats::median;

/// An answer that takes longer, in seconds, is slow.
const SLOW_S: f64 = 1.0;
/// And it must take so many times as long as a genuine token.
const TIMES: f64 = 8.0;
/// Where a genuine token takes longer than this, in seconds, something else keeps the machine or the server busy.
const BUSY_S: f64 = 0.25;
/// The longest token that is put into a header: with the rest of the head it fits into what every server reads.
pub(super) const HEAD_ROOM: usize = 7_000;
/// A longer body may be refused by a connection that ends.
const BODY_ROOM: usize = 64 * 1024;

/// Where a way carries the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// In the request's head.
    Head,
    /// In its body.
    Body,
}

/// The ways that judge tokens, and where each carries one.
pub(super) fn ways(p: &Probe<'_>) -> Result<Vec<(Way, Carrier)>, Stop> {
    const MARK: &str = "assay-mark-7f3a";
    let mut out = Vec::new();
    for way in p.ways().into_iter().filter(|way| way.refuses_nothing) {
        let Ok(request) = p.target().request(&way.operation, &p.vars_with(MARK)) else { continue };
        let body = String::from_utf8_lossy(request.body()).contains(MARK);
        out.push((way, if body { Carrier::Body } else { Carrier::Head }));
    }
    if out.is_empty() { Err(Stop::needs(Need::VerifyWay)) } else { Ok(out) }
}

/// Wall time of an exchange, in seconds.
pub(super) fn took_s(answer: &Answer) -> f64 {
    answer.received.since(answer.sent).as_secs_f64()
}

/// A genuine token shown three times: how long it takes in the middle, and whether it is accepted.
fn quiet(p: &mut Probe<'_>, way: &Way) -> Result<(f64, bool), Stop> {
    let held = p.still_accepts(way)?;
    let genuine = p.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(took_s(&p.present(way, &genuine)?));
    }
    Ok((median(&times).unwrap_or(0.0), held || !way.usable()))
}

/// What became of one token at one way.
enum Shown {
    /// Answered in time.
    Quick(Box<Answer>),
    /// Slow twice, while genuine tokens are quick; how long those take, in seconds.
    Slow(Box<Answer>, f64),
    /// Nothing was learnt, and why: a finding and a sentence.
    Unclear(&'static str, String),
}

fn shown(p: &mut Probe<'_>, way: &Way, token: &str) -> Result<Option<Shown>, Stop> {
    let busy = |s: f64| {
        let ms = s * 1e3;
        Shown::Unclear(
            "noisy",
            format!("`{}`: a genuine token beside it takes {ms:.0} ms, so nothing was learnt", way.name),
        )
    };
    let (before, held) = quiet(p, way)?;
    if before > BUSY_S {
        return Ok(Some(busy(before)));
    }
    let slow = |answer: &Answer| took_s(answer) >= SLOW_S.max(TIMES * before);
    let mut first = None;
    for _ in 0..2 {
        p.hang_up();
        let Some(answer) = p.present_value(way, &token.into())? else { return Ok(None) };
        if !slow(&answer) {
            let unclear = || {
                let text = format!("`{}` refuses a genuine token beside it, so nothing was learnt", way.name);
                Shown::Unclear("controls-refused", text)
            };
            return Ok(Some(if held { Shown::Quick(Box::new(answer)) } else { unclear() }));
        }
        if answer.axis == Axis::Hung || first.is_some() {
            return Ok(Some(Shown::Slow(Box::new(answer), before)));
        }
        let (after, _) = quiet(p, way)?;
        if after > BUSY_S {
            return Ok(Some(busy(after)));
        }
        first = Some(answer);
    }
    Ok(None)
}

/// What a part demands beside a quick answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The token is refused.
    Refused,
    /// Accepted or refused: a token that we signed may well be good.
    Orderly,
    /// Refused for its size, before it is looked at.
    TooLarge,
}

/// One part: tokens at the ways that can carry them, one after the other. Whether the check may go on.
///
/// # Errors
/// When the run ends; findings are no errors.
pub(super) fn part(p: &mut Probe<'_>, variant: &str, demand: Demand, tokens: &[(Way, String)]) -> Result<bool, Stop> {
    let mut answers: Vec<Answer> = Vec::new();
    for (_, token) in tokens {
        p.offer(variant, token)?;
    }
    if p.forging() {
        return Ok(true);
    }
    for (way, token) in tokens {
        match shown(p, way, token)? {
            None => {}
            Some(Shown::Quick(answer)) => answers.push(*answer),
            Some(Shown::Unclear(finding, text)) => {
                p.inconclusive(Some(variant), finding, text);
                return Ok(true);
            }
            Some(Shown::Slow(answer, quiet)) => {
                let took = match answer.axis {
                    Axis::Hung => "no answer within the deadline".to_owned(),
                    _ => format!("{:.1} s, twice", took_s(&answer)),
                };
                let text = format!("`{}`: {took}, while a genuine token takes {:.2} ms", way.name, quiet * 1e3);
                p.fail_told(Some(variant), "slow", "an answer within a second", text, &answer);
                return Ok(false);
            }
        }
    }
    judged(p, variant, demand, &answers);
    Ok(true)
}

fn judged(p: &mut Probe<'_>, variant: &str, demand: Demand, answers: &[Answer]) {
    if answers.is_empty() {
        let why = "the token cannot travel by any verify way".to_owned();
        p.skip(variant, SkipReason::NotApplicable(why));
        return;
    }
    let finding = findings(answers);
    let broken =
        |a: &&Answer| a.unclean() && !(matches!(a.axis, Axis::Dropped(_)) && a.request.body().len() > BODY_ROOM);
    let read = |a: &&Answer| demand == Demand::TooLarge && a.answered() && !matches!(a.status(), 400 | 413 | 414 | 431);
    if let Some(hit) = answers.iter().find(|a| demand != Demand::Orderly && a.accepted()) {
        p.fail_seen(Some(variant), &finding, "a refusal", hit);
    } else if let Some(hit) = answers.iter().find(broken) {
        p.fail_seen(Some(variant), &finding, "an orderly answer", hit);
        p.at_most(Level::Should);
    } else if let Some(hit) = answers.iter().find(read) {
        let text = format!("`{}`: it was read whole and {}", hit.operation, hit.describe());
        p.fail_told(Some(variant), &finding, "413 or 400, before it is read", text, hit);
    } else {
        let slowest = answers.iter().map(took_s).fold(0.0, f64::max) * 1e3;
        p.pass(Some(variant), &finding, format!("{finding}, within {slowest:.1} ms"));
    }
}

/// What is left out after a slow answer.
pub(super) fn left_out(p: &mut Probe<'_>, variants: &[&str]) {
    for variant in variants {
        let why = "an answer before it was slow, and the target is not to be burdened more";
        p.skip(variant, SkipReason::NotApplicable(why.to_owned()));
    }
}

/// Runs parts until one is answered slowly.
///
/// # Errors
/// As [`part`].
pub(super) fn parts(
    p: &mut Probe<'_>,
    names: &[&str],
    demand: Demand,
    mut tokens: impl FnMut(&mut Probe<'_>, &str) -> Result<Vec<(Way, String)>, Stop>,
) -> Result<(), Stop> {
    for (at, name) in names.iter().enumerate() {
        let all = tokens(p, name)?;
        if !part(p, name, demand, &all)? {
            left_out(p, &names[at + 1..]);
            break;
        }
    }
    Ok(())
}

/// Two tokens compared by turns: in the middle, how long each takes in seconds, and the last answer to the heavy one.
pub(super) struct Compared {
    /// The heavy one.
    pub(super) heavy_s: f64,
    /// The light one.
    pub(super) light_s: f64,
    /// The slowest of the light ones.
    pub(super) noise_s: f64,
    /// What was said to the heavy one.
    pub(super) answer: Answer,
}

/// Shows a heavy and a light token by turns, and ends with the first slow answer. `None`: they cannot travel that way.
///
/// # Errors
/// When the run ends.
pub(super) fn compared(
    p: &mut Probe<'_>,
    way: &Way,
    heavy: &str,
    light: &str,
    rounds: usize,
) -> Result<Option<Compared>, Stop> {
    let (mut heavies, mut lights, mut last) = (Vec::new(), Vec::new(), None);
    for _ in 0..rounds {
        let Some(answer) = p.present_value(way, &light.into())? else { return Ok(None) };
        lights.push(took_s(&answer));
        let Some(answer) = p.present_value(way, &heavy.into())? else { return Ok(None) };
        heavies.push(took_s(&answer));
        last = Some(answer);
        if heavies.last().is_some_and(|s| *s >= SLOW_S) {
            break;
        }
    }
    let Some(answer) = last else { return Ok(None) };
    let middle = |times: &[f64]| median(times).unwrap_or(0.0);
    let noise_s = lights.iter().copied().fold(0.0, f64::max);
    Ok(Some(Compared { heavy_s: middle(&heavies), light_s: middle(&lights), noise_s, answer }))
}

//! What do tokens of earlier runs show, that no single run can? The part `capsule` of several checks.

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::capsule::{Basis, Kept, Kind, Shown, claimed_end};
use crate::conformance::descriptor::Need;
use crate::conformance::probe::{Probe, merged};
use crate::conformance::session::{Way, lock};
use crate::conformance::window::Bounds;
use crate::record::{Level, WindowRecord, fingerprint};

/// The part's name.
pub(super) const PART: &str = "capsule";

/// Access tokens of earlier runs whose time is over. Whether there was one to be judged.
pub(super) fn ended_access(p: &mut Probe<'_>) -> bool {
    ended(p, Kind::Access, "refused long after its end")
}

/// Refresh tokens of earlier runs whose time is over, and which nobody has used. Whether there was one to be judged.
pub(super) fn ended_refresh(p: &mut Probe<'_>) -> bool {
    ended(p, Kind::Refresh, "a refresh token refused long after its end")
}

/// Tokens that an earlier run revoked, and saw refused.
pub(super) fn revoked(p: &mut Probe<'_>) {
    let ago = "revoked";
    lasting(p, Kind::Revoked, ago, "a token that was revoked in an earlier run refused still", |_| true);
}

/// Tokens of a key that an earlier run saw retired.
pub(super) fn retired(p: &mut Probe<'_>) {
    let ago = "of a key retired";
    // A key that signs again, or is published again, was brought back on purpose.
    let gone = |one: &Shown| one.own_key != Some(true);
    lasting(p, Kind::Retired, ago, "a token of a key that was retired in an earlier run refused still", gone);
}

/// Puts a token in whose key was just retired, and which is refused for it.
pub(super) fn keep_retired(p: &Probe<'_>, token: &str, way: &Way) {
    let Some(opened) = &p.session.capsule else { return };
    let (now, exp) = (clock::unix(), claimed_end(token));
    let seen = [(way.name.clone(), now)].into();
    // Without an end nothing could be told from a token that has ended.
    if exp.is_some() {
        lock(&opened.added).push(Kept { exp, seen, ..Kept::new(Kind::Retired, token, now, opened.stamp) });
    }
}

/// Every exchange that one kind of token brought.
fn shown<'s>(p: &Probe<'s>, kind: Kind) -> Vec<&'s Shown> {
    let Some(opened) = &p.session.capsule else { return Vec::new() };
    lock(&opened.told).push(kind);
    opened.shown.iter().filter(|one| one.kept.kind == kind).collect()
}

/// Tells one observation of the ends of all tokens of a kind.
fn ended(p: &mut Probe<'_>, kind: Kind, expected: &str) -> bool {
    let all = shown(p, kind);
    for one in &all {
        if let Some(answer) = one.answers.iter().find(|answer| answer.accepted()) {
            let text = format!("`{}` accepts {} {}", answer.operation, aged(one, answer), late(one, answer));
            p.fail_told(Some(PART), &finding(&one.answers), expected, text, answer);
            // The token lies in the capsule, where no shell line reaches it.
            p.transient();
            return true;
        }
    }
    let mut why = None;
    let mut told = None;
    let mut odd = None;
    for one in &all {
        match (&one.basis, one.fresh) {
            (_, false) => why = Some((one, "a fresh token beside it was refused too")),
            (Basis::Unknown(text), _) => why = Some((one, *text)),
            (Basis::Same(text), _) => {
                odd = odd.or_else(|| one.answers.iter().find(|answer| answer.unclean()));
                told = told.or(Some((one, *text)));
            }
        }
    }
    if let Some(answer) = odd {
        p.fail_seen(Some(PART), &answer.finding(), expected, answer);
        p.at_most(Level::Should);
        p.transient();
        return true;
    }
    let (Some((one, basis)), Some(last)) = (told, told.and_then(|(one, _)| one.answers.last())) else {
        let Some((one, why)) = why else { return false };
        let Some(last) = one.answers.last() else { return false };
        let (token, when) = (aged(one, last), late(one, last));
        let text = format!("{token} is refused {when}, which says nothing about time: {why}");
        p.inconclusive(Some(PART), "nothing-learnt", text);
        return true;
    };
    let mut spans = Vec::new();
    for (way, bounds) in by_way(&all) {
        spans.push(format!("at `{way}` between {} and {}", place(bounds.low), place(bounds.high)));
        if !p.has(Need::SigningKey) {
            p.window(window(p, &way, one, &bounds));
        }
    }
    let (token, when) = (aged(one, last), late(one, last));
    let text = format!("{token} is refused {when} ({basis}); acceptance ended {} it", spans.join(", "));
    p.pass(Some(PART), &finding(&one.answers), text);
    true
}

/// Tells of tokens that have not ended and have to stay refused. Where nothing shows that the server still knows what it
/// knew, nothing is told: a server that was begun anew refuses them for another reason.
fn lasting(p: &mut Probe<'_>, kind: Kind, ago: &str, expected: &str, counts: impl Fn(&Shown) -> bool) {
    for one in shown(p, kind).into_iter().filter(|one| counts(one)) {
        let age = |answer: &Answer| words(clock::unix_at(answer.received) - one.kept.put);
        let name = fingerprint(&one.kept.token);
        if let Some(answer) = one.answers.iter().find(|answer| answer.accepted()) {
            let text =
                format!("`{}` accepts token {name}, {ago} {} ago and refused then", answer.operation, age(answer));
            p.fail_told(Some(PART), "accepted", expected, text, answer);
            p.transient();
            return;
        }
        let (Some(answer), Basis::Same(basis), true) = (one.answers.last(), &one.basis, one.fresh) else { continue };
        match one.answers.iter().find(|answer| answer.unclean()) {
            Some(odd) => {
                p.fail_seen(Some(PART), &odd.finding(), expected, odd);
                p.at_most(Level::Should);
                p.transient();
            }
            None => {
                let text = format!("token {name}, {ago} {} ago, is refused still ({basis})", age(answer));
                p.pass(Some(PART), &finding(&one.answers), text);
            }
        }
        return;
    }
}

/// A token with its age.
fn aged(one: &Shown, answer: &Answer) -> String {
    let age = clock::unix_at(answer.received) - one.kept.put;
    format!("token {}, put in {} ago,", fingerprint(&one.kept.token), words(age))
}

/// How long a token had ended.
fn late(one: &Shown, answer: &Answer) -> String {
    let past = one.kept.exp.map_or(0.0, |exp| clock::unix_at(answer.received) - exp);
    format!("{} after its exp", words(past))
}

/// What every way made of it.
fn finding(answers: &[Answer]) -> String {
    merged(answers.iter().map(|answer| (answer.operation.as_str(), answer.finding())))
}

/// Bounds on the end of acceptance at each way, in seconds after `exp`: last seen accepted, and refused now. What was
/// refused of a server that has forgotten all bounds nothing.
fn by_way(all: &[&Shown]) -> Vec<(String, Bounds)> {
    let mut ways: Vec<(String, Bounds)> = Vec::new();
    for one in all.iter().filter(|one| one.fresh && matches!(one.basis, Basis::Same(_))) {
        let Some(exp) = one.kept.exp else { continue };
        for answer in &one.answers {
            let way = answer.operation.trim_start_matches("verify.").to_owned();
            let place = ways.iter().position(|(known, _)| *known == way).unwrap_or_else(|| {
                ways.push((way.clone(), Bounds::default()));
                ways.len() - 1
            });
            let bounds = &mut ways[place].1;
            if let Some(seen) = one.kept.seen.get(&way) {
                bounds.see(true, seen - exp, seen - exp);
            }
            if answer.refused() {
                bounds.see(false, clock::unix_at(answer.sent) - exp, clock::unix_at(answer.received) - exp);
            }
        }
    }
    ways
}

fn window(p: &Probe<'_>, way: &str, one: &Shown, bounds: &Bounds) -> WindowRecord {
    let finite = |at: f64| at.is_finite().then_some(at);
    WindowRecord {
        topology: p.session.topology.to_owned(),
        endpoint: way.to_owned(),
        claim: "exp".to_owned(),
        method: PART.to_owned(),
        lifetime_s: one.kept.exp.map(|exp| (exp - one.kept.put).round()),
        last_accepted_s: finite(bounds.low),
        first_refused_s: finite(bounds.high),
        leeway_s: None,
        offset_s: None,
        offset_source: None,
        boundary: None,
        probes: bounds.n,
        contradictions: bounds.contradictions,
        note: Some("the end lies between two runs".to_owned()),
    }
}

/// A length of time as people say it.
fn words(seconds: f64) -> String {
    let s = seconds.abs();
    match () {
        () if s < 120.0 => format!("{s:.0} s"),
        () if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        () if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        () => format!("{:.1} d", s / 86_400.0),
    }
}

/// An instant before or after `exp`.
fn place(seconds: f64) -> String {
    match seconds.is_finite() {
        true => format!("{} {}", words(seconds), if seconds < 0.0 { "before" } else { "after" }),
        false => "its issue".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_people_say_them() {
        assert_eq!([words(3.2), words(600.0), words(9_000.0), words(400_000.0)], ["3 s", "10 min", "2.5 h", "4.6 d"]);
        assert_eq!((place(-90.0).as_str(), place(7_260.0).as_str()), ("90 s before", "2.0 h after"));
    }
}

//! Does a logout end what it says it ends?

use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::target::{Issued, TokenUse};
use crate::units::Nanos;

use super::capsule;
use super::issue::unclean;
use super::refresh::second_vars;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "revoke-effective",
        group: "REVOKE",
        requirement: "after a revocation was answered as done, the token is refused",
        sources: &["RFC 7009 section 2.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Revoke, Need::Issue],
        variants: &["capsule", "answer", "token", "session", "many-connections", "access"],
        isolation: Isolation::User,
        cost: cost(16, 2),
        intrusive: false,
        flaws: &["silent-noop"],
        sends: "a login, its revocation, and the revoked token on several connections; and an access token that was revoked itself, where `accepts` of `revoke` names both kinds; and with `--capsule FILE` a token that an earlier run revoked",
        why: "a logout that answers 200 and ends nothing is worse than none: the user believes it",
        remedy: "store the revocation where every worker reads it, before answering",
        run: effective,
    },
    Check {
        id: "revoke-access",
        group: "REVOKE",
        requirement: "what becomes of the access token after a logout: opaque ones and those that were revoked themselves die, other self-contained ones are reported with their rest of life",
        sources: &["RFC 7009 section 2.1", "ASVS 7.4.1", "CVE-2025-53826"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Revoke, Need::Issue, Need::VerifyWay],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["access-survives"],
        sends: "a login, its revocation (of both tokens where `accepts` of `revoke` names both), and the access token of that login",
        why: "until it ends, whoever holds the access token is still in",
        remedy: "keep access tokens short, or look revocations up at the resource",
        run: access,
    },
    Check {
        id: "revoke-idempotent",
        group: "REVOKE",
        requirement: "revoking again, or revoking garbage, brings no server error",
        sources: &["RFC 7009 section 2.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Revoke, Need::Issue],
        variants: &["again", "garbage", "empty", "tampered"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["crash-unknown"],
        sends: "a revoked token once more, garbage, nothing, and a token with one changed bit, to the revocation operation",
        why: "callers log out twice; a server error there is a denial of service and a page at night",
        remedy: "answer what is already dead or unknown like a success (OAuth) or a wrong token (others)",
        run: idempotent,
    },
    Check {
        id: "revoke-user-events",
        group: "REVOKE",
        requirement: "after a user is disabled, the access token dies too, or its rest of life is reported",
        sources: &["ASVS 7.4.2"],
        levels: Levels::SHOULD,
        needs: &[Need::SecondUser, Need::DisableUser, Need::VerifyWay, Need::Issue],
        variants: &["disabled"],
        isolation: Isolation::Exclusive,
        cost: cost(12, 4),
        intrusive: false,
        flaws: &["events-ignored"],
        sends: "a login of the second user, the admin hook that disables that user, and the access token every half second",
        why: "it is how long a dismissed user goes on working",
        remedy: "look the user up when a token is used, or keep access tokens to minutes",
        run: user_events,
    },
];

/// The token that the revoke operation takes: the refresh token where it takes both.
pub(in crate::conformance) fn revocable(p: &Probe<'_>, issued: &Issued) -> Option<String> {
    let refresh = issued.refresh.clone().filter(|_| p.target().revocable().contains(&TokenUse::Refresh));
    refresh.or_else(|| issued.access.clone())
}

/// # Errors
/// Skipped where a revocation takes no refresh token.
pub(super) fn takes_refresh(p: &Probe<'_>) -> Result<(), Stop> {
    match p.target().revocable().contains(&TokenUse::Refresh) {
        true => Ok(()),
        false => Err(Stop::not_applicable("a revocation takes access tokens alone (`accepts` of `revoke`)")),
    }
}

/// The ways that take an access token.
pub(super) fn taking(p: &mut Probe<'_>, access: &str) -> Result<Vec<Way>, Stop> {
    let mut ways = Vec::new();
    for way in p.ways().into_iter().filter(Way::usable) {
        if p.present(&way, access)?.accepted() {
            ways.push(way);
        }
    }
    Ok(ways)
}

/// A login, revoked, and the ways that took its access token before.
fn revoked(p: &mut Probe<'_>) -> Result<(Issued, Vec<Way>, String, Answer), Stop> {
    let issued = p.login()?;
    let token = revocable(p, &issued).ok_or_else(|| Stop::needs(Need::Issue))?;
    let ways = taking(p, issued.access.as_deref().unwrap_or_default())?;
    let answer = p.call_with_token("revoke", &token)?;
    Ok((issued, ways, token, answer))
}

/// Whether refreshing works at all: what is refused where it does not has not been revoked.
fn refresh_works(p: &mut Probe<'_>) -> Result<bool, Stop> {
    if !p.has(Need::Refresh) {
        return Ok(false);
    }
    let Some(token) = p.login()?.refresh else { return Ok(false) };
    Ok(p.refresh(&token)?.accepted())
}

fn effective(p: &mut Probe<'_>) -> Result<(), Stop> {
    capsule::revoked(p);
    first_kind(p)?;
    access_itself(p)
}

/// The kind that a logout is for: the refresh token where it takes both.
fn first_kind(p: &mut Probe<'_>) -> Result<(), Stop> {
    // Before: where a login ends the session before it, one afterwards would end this one.
    let refreshes = refresh_works(p)?;
    let (issued, ways, token, answer) = revoked(p)?;
    p.offer("token", &token)?;
    let refresh = issued.refresh.filter(|_| p.has(Need::Refresh));
    let beside = refresh.clone().filter(|refresh| *refresh != token);
    if let Some(beside) = &beside {
        p.offer("session", beside)?;
    }
    if !answer.accepted() {
        p.fail_seen(Some("answer"), &answer.finding(), "a genuine token's revocation accepted", &answer);
        return Ok(());
    }
    bound(p)?;
    let Some(refresh) = refresh.filter(|_| beside.is_none()) else {
        p.pass(Some("answer"), "done", "the revocation was answered as done");
        if ways.is_empty() {
            let text = "no verify way took the token before its revocation";
            p.inconclusive(Some("token"), "controls-refused", text);
            return Ok(());
        }
        let alive = refused_everywhere(p, "token", &ways, &token)?;
        let Some(beside) = beside.filter(|_| refreshes && !alive) else { return Ok(()) };
        let shown = p.refresh(&beside)?;
        if shown.accepted() {
            // What was shown to it is dead, as the profile says; that the session goes on is worth a word.
            let text = "the revoked access token is refused, and the refresh token of that login goes on working";
            let expected = "the refresh token of that login refused too";
            p.fail_told(Some("session"), "session-lives", expected, text, &shown);
            p.at_most(Level::Should);
        }
        return Ok(());
    };
    let shown = p.refresh(&refresh)?;
    if !refreshes && !shown.accepted() {
        return Err(Stop::blocked_by("refresh-basic"));
    }
    p.pass(Some("answer"), "done", "the revocation was answered as done");
    p.judge_refusal(Some("token"), "a revoked refresh token refused", &shown);
    if shown.accepted() {
        return Ok(());
    }
    // State in one worker's memory shows only where another worker is asked.
    for _ in 0..7 {
        let again = p.refresh(&refresh)?;
        if again.accepted() {
            p.fail_seen(Some("many-connections"), "by-luck", "a revoked token refused on every connection", &again);
            return Ok(());
        }
    }
    p.pass(Some("many-connections"), "everywhere", "refused on eight connections");
    Ok(())
}

/// Where a revocation takes access tokens besides, the profile says that this ends them: one of a login of its own, since
/// the revocation of the refresh token may have ended the other.
fn access_itself(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !(names_access(p) && p.target().revocable().contains(&TokenUse::Refresh)) {
        return Ok(());
    }
    let Some(access) = p.login()?.access else { return Ok(()) };
    p.offer("access", &access)?;
    let ways = taking(p, &access)?;
    if ways.is_empty() {
        return Ok(());
    }
    let answer = p.call_with_token("revoke", &access)?;
    if !answer.accepted() {
        let expected = "a genuine access token's revocation accepted, as `accepts` of `revoke` says";
        p.fail_seen(Some("access"), &answer.finding(), expected, &answer);
        // A server may say that it does not revoke this kind (RFC 7009 section 2.2.1).
        p.at_most(Level::Should);
        return Ok(());
    }
    bound(p)?;
    refused_everywhere(p, "access", &ways, &access)?;
    Ok(())
}

/// Whether the profile itself says that a revocation takes access tokens.
pub(super) fn names_access(p: &Probe<'_>) -> bool {
    let accepts = p.profile().operations.get("revoke").and_then(|operation| operation.accepts.as_ref());
    accepts.is_some_and(|kinds| kinds.contains(&TokenUse::Access))
}

/// Waits for as long as the profile says that a revocation takes.
pub(super) fn bound(p: &mut Probe<'_>) -> Result<(), Stop> {
    let bound = p.profile().declares.revocation_bound_s.unwrap_or(0.0);
    if bound > 0.0 {
        p.pause(Nanos::from_secs_f64(bound.min(30.0)).duration(), "the declared time of a revocation")?;
    }
    Ok(())
}

/// Judges a revoked access token at each of these ways; whether one still takes it.
pub(super) fn refused_everywhere(p: &mut Probe<'_>, variant: &str, ways: &[Way], token: &str) -> Result<bool, Stop> {
    let mut alive = false;
    for way in ways {
        let shown = p.present(way, token)?;
        p.judge_refusal(Some(variant), &format!("a revoked access token refused by `{}`", way.name), &shown);
        alive |= shown.accepted();
    }
    Ok(alive)
}

fn access(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (issued, ways, token, answer) = revoked(p)?;
    if !answer.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    let access = issued.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    // Where the access token can be revoked by itself, a logout that ends it does so.
    let by_itself = names_access(p);
    if by_itself && access != token && !p.call_with_token("revoke", &access)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    p.offer("", &access)?;
    let opaque = decode(&access).is_none();
    let rest = decode(&access).and_then(|(_, c)| c.get("exp")?.as_f64()).map(|exp| exp - clock::unix());
    let mut living = Vec::new();
    let mut lead = None;
    if ways.is_empty() {
        return Err(Stop::Inconclusive("no verify way took the access token before the logout".to_owned()));
    }
    for way in ways {
        let shown = p.present(&way, &access)?;
        if shown.accepted() {
            living.push(way.name.clone());
            lead = Some(shown);
        }
    }
    match lead {
        None => p.pass(None, "dead", "the access token dies with the logout"),
        Some(answer) => {
            let rest = rest.map_or("to its end".to_owned(), |r| format!("for another {:.0} s", r.max(0.0)));
            let text = format!("after the logout {} still accepts the access token, {rest}", living.join(", "));
            if by_itself {
                let text =
                    format!("{text}, although it was revoked itself (`accepts` of `revoke` names access tokens)");
                p.fail_told(None, "survives", "an access token dead after its own revocation", text, &answer);
            } else if opaque {
                p.fail_told(None, "survives", "an opaque access token dead after its revocation", text, &answer);
            } else {
                // Self-contained tokens outlive a logout by design; the profile's owner decides whether that is policy.
                p.pass(None, "survives", text);
            }
        }
    }
    Ok(())
}

fn idempotent(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (_, _, token, first) = revoked(p)?;
    if !first.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    let tampered = match token.matches('.').count() {
        2 => crate::jose::forge::flip_bit(&token, 2, 9),
        _ => token.chars().rev().collect(),
    };
    for (variant, token) in
        [("again", token), ("garbage", "assay-no-token".to_owned()), ("empty", String::new()), ("tampered", tampered)]
    {
        p.offer(variant, &token)?;
        let answer = match p.call_with_token("revoke", &token) {
            Ok(answer) => answer,
            Err(Stop::Inconclusive(why)) => {
                p.skip(variant, SkipReason::NotApplicable(why));
                continue;
            }
            Err(other) => return Err(other),
        };
        if unclean(&answer) {
            p.judge_refusal(Some(variant), "an orderly answer", &answer);
        } else {
            p.pass(Some(variant), &answer.finding(), answer.describe());
        }
    }
    Ok(())
}

fn user_events(p: &mut Probe<'_>) -> Result<(), Stop> {
    let vars = second_vars(p)?;
    let access = p.login_with(&vars)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let way = p.guarded().or_else(|lacking| p.ways().into_iter().find(Way::usable).ok_or(lacking))?;
    if !p.present(&way, &access)?.accepted() {
        return Err(Stop::Inconclusive("the second user's access token is refused from the start".into()));
    }
    let (last, took) = p.changed("disable_user", &vars, |p| {
        let since = clock::mono();
        let mut last = p.present(&way, &access)?;
        while last.accepted() && clock::mono().since(since).as_secs_f64() < 4.0 {
            p.pause(Duration::from_millis(500), "a disabled user's token to die")?;
            last = p.present(&way, &access)?;
        }
        Ok((last, clock::mono().since(since).as_secs_f64()))
    })?;
    if last.accepted() {
        let rest =
            decode(&access).and_then(|(_, c)| c.get("exp").and_then(Value::as_f64)).map(|exp| exp - clock::unix());
        let rest = rest.map_or("an unknown time".to_owned(), |r| format!("{:.0} s at most", r.max(0.0)));
        let text = format!("a disabled user's access token is still accepted after {took:.0} s; it goes on for {rest}");
        p.fail_told(Some("disabled"), "lives-on", "a disabled user's access token refused", text, &last);
    } else {
        p.judge_refusal(Some("disabled"), "a disabled user's access token refused", &last);
    }
    p.transient();
    Ok(())
}

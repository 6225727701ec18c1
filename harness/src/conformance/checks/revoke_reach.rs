//! How soon, and how far, does a revocation reach?

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::target::TokenUse;

/// The second part of REVOKE.
pub const CHECKS: &[Check] = &[
    Check {
        id: "revoke-latency",
        group: "REVOKE",
        requirement: "a revocation is in force within a second, or the declared time",
        sources: &["RFC 7009 section 2.1"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Revoke, Need::Issue, Need::VerifyWay],
        variants: &["*"],
        isolation: Isolation::User,
        cost: cost(30, 3),
        intrusive: false,
        flaws: &["lazy-denylist"],
        sends: "a login, its revocation, and its tokens every 100 ms to the ways that honour revocations",
        why: "for as long as it takes, who was logged out is still in",
        remedy: "store the revocation where every instance reads it, before answering",
        run: latency,
    },
    Check {
        id: "revoke-cascade",
        group: "REVOKE",
        requirement: "a revocation ends the tokens of its own login, and of no other",
        sources: &["RFC 7009 section 2.1"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Revoke, Need::Refresh, Need::VerifyWay],
        variants: &["access", "sibling"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["no-cascade"],
        sends: "two logins of one user, the revocation of the first one's refresh token; then its access token, and a refresh of the second",
        why: "a logout must end the session, and must not end the user's other devices",
        remedy: "give each login an id, put it into its tokens, and revoke that",
        run: cascade,
    },
    Check {
        id: "revoke-durable",
        group: "REVOKE",
        requirement: "a revocation outlives a restart of the server",
        sources: &["RFC 7009 section 2", "ASVS 7.4.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Revoke, Need::Refresh, Need::Restart],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(8, 8),
        intrusive: false,
        flaws: &["memory-denylist"],
        sends: "two logins, the revocation of the first one's refresh token, the admin hook that restarts the server, and a refresh with each of the two tokens",
        why: "a denylist that lives in a process is emptied by the next release, and everybody who was logged out is in again",
        remedy: "keep revocations where they outlive the process: in the database, or in a cache that writes to disk",
        run: durable,
    },
];

/// The tokens of a login and the ways that honour a revocation of it, given time.
fn latency(p: &mut Probe<'_>) -> Result<(), Stop> {
    const LONGEST_S: f64 = 5.0;
    let issued = p.login()?;
    let revocable = super::revoke::revocable(p, &issued).ok_or_else(|| Stop::needs(Need::Issue))?;
    if !p.call_with_token("revoke", &revocable)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    // Where access tokens can be revoked by themselves, that is what has to be in force for them.
    if let Some(access) = issued.access.as_ref().filter(|access| **access != revocable)
        && p.target().revocable().contains(&TokenUse::Access)
        && !p.call_with_token("revoke", access)?.accepted()
    {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    let since = clock::mono();
    let declared = p.profile().declares.revocation_bound_s.unwrap_or(0.0).max(1.0);
    let mut open: Vec<(Way, String)> = Vec::new();
    for way in p.ways().into_iter().filter(Way::usable) {
        let token = if way.takes_refresh { Some(revocable.clone()) } else { issued.access.clone() };
        open.extend(token.map(|token| (way, token)));
    }
    let mut ended: Vec<(String, f64)> = Vec::new();
    // When a way was last asked in vain: a slow answer makes the time of the first refusal late, not this.
    let mut last_taken: BTreeMap<String, f64> = BTreeMap::new();
    let mut outlived: Vec<String> = Vec::new();
    while !open.is_empty() && clock::mono().since(since).as_secs_f64() < LONGEST_S {
        let mut still = Vec::new();
        for (way, token) in open {
            let answer = p.present(&way, &token)?;
            if answer.accepted() {
                last_taken.insert(way.name.clone(), answer.sent.since(since).as_secs_f64());
                still.push((way, token));
            } else if at_its_end(&token) {
                // Refused for its age: what lives for seconds has outlived its revocation.
                outlived.push(way.name.clone());
            } else {
                ended.push((way.name.clone(), last_taken.get(&way.name).copied().unwrap_or(0.0)));
            }
        }
        open = still;
        if !open.is_empty() {
            p.pause(Duration::from_millis(100), "a revocation to be in force")?;
        }
    }
    for (name, took) in &ended {
        if *took > declared {
            let text = format!("the revoked token was accepted for {took:.1} s after the revocation was answered");
            p.fail(Some(name), "late", text);
        } else {
            p.pass(Some(name), "prompt", format!("accepted for {took:.2} s after the revocation was answered"));
        }
    }
    for name in open.into_iter().map(|(way, _)| way.name).chain(outlived) {
        // Whether it should honour it at all is the subject of revoke-effective and revoke-access.
        p.skip(&name, SkipReason::NotApplicable("this way does not honour revocations".into()));
    }
    Ok(())
}

/// Whether a token is within a second of its own `exp`, or beyond.
fn at_its_end(token: &str) -> bool {
    let exp = decode(token).and_then(|(_, claims)| claims.get("exp").and_then(Value::as_f64));
    exp.is_some_and(|exp| clock::unix() >= exp - 1.0)
}

fn cascade(p: &mut Probe<'_>) -> Result<(), Stop> {
    let alone = p.session.has_one_session();
    // A second login would have ended the first before it is revoked.
    let sibling = if alone { None } else { Some(p.fresh_refresh()?) };
    let first = p.login()?;
    let (Some(token), Some(access)) = (first.refresh, first.access) else {
        return Err(Stop::needs(Need::Refresh));
    };
    super::revoke::takes_refresh(p)?;
    if !p.call_with_token("revoke", &token)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    let way = p.ways().into_iter().find(Way::usable).ok_or_else(|| Stop::needs(Need::VerifyWay))?;
    p.offer("access", &access)?;
    let shown: Answer = p.present(&way, &access)?;
    match (shown.accepted(), decode(&access).is_some()) {
        (false, _) => p.pass(Some("access"), "dead", "the access token of the login is dead too"),
        // A self-contained token outlives its session by design; for how long is the subject of revoke-access.
        (true, true) => p.pass(Some("access"), "lives", "the self-contained access token lives on to its end"),
        (true, false) => {
            let text = "the opaque access token of a revoked login is still accepted";
            p.fail_told(Some("access"), "lives", "refused", text, &shown);
        }
    }
    let Some(sibling) = sibling else {
        p.skip("sibling", SkipReason::NotApplicable("a login ends the user's session before it".into()));
        return Ok(());
    };
    let answer = p.refresh(&sibling)?;
    if answer.accepted() {
        p.pass(Some("sibling"), "lives", "the user's other login goes on");
    } else {
        p.fail_seen(Some("sibling"), &answer.finding(), "the user's other login to go on", &answer);
    }
    Ok(())
}

fn durable(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") || p.target().is_command("revoke") {
        return Err(Stop::not_applicable("refreshing or revoking is a command of the profile"));
    }
    super::revoke::takes_refresh(p)?;
    p.session.holds_several()?;
    let (revoked, alive) = (p.fresh_refresh()?, p.fresh_refresh()?);
    if !p.call_with_token("revoke", &revoked)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    super::revoke::bound(p)?;
    if p.refresh(&revoked)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    p.restart()?;
    let shown = p.refresh(&revoked)?;
    // Where a restart ends every session (they live in the process, or the key is made anew), none comes back.
    if !shown.accepted() && !p.refresh(&alive)?.accepted() {
        let again = p.fresh_refresh()?;
        return Err(match p.refresh(&again)?.accepted() {
            true => Stop::not_applicable("a restart ends every session, so that none of them comes back"),
            false => Stop::blocked_by("refresh-basic"),
        });
    }
    p.judge_refusal(None, "a token refused after a restart that was revoked before it", &shown);
    p.transient();
    Ok(())
}

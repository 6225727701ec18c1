//! Does a session keep its rules when it is refreshed late, twice at once, from many sides, or while it ends?

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::target::Issued;
use crate::units::Nanos;

use super::issue::{SLOW_LOGIN, login_cost, query_of};
use super::refresh::second_vars;
use super::spoilt::malformed;

/// The second part of REFRESH.
pub const CHECKS: &[Check] = &[
    Check {
        id: "refresh-http",
        group: "REFRESH",
        requirement: "a refresh works by POST with a well-formed body only",
        sources: &["RFC 6749 section 3.2", "ASVS 14.2.1", "ASVS 3.5.3"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh],
        variants: &[
            "get",
            "broken",
            "content-type",
            "empty-body",
            "missing-field",
            "array-body",
            "array-field",
            "null-field",
            "object-field",
            "nul",
            "lone-surrogate",
            "long-password",
            "control",
        ],
        isolation: Isolation::User,
        cost: cost(16, 2),
        intrusive: false,
        flaws: &["get-refresh", "crash-malformed"],
        sends: "the fields of a good refresh in the query of a GET; and bodies that are broken, of another type, too long",
        why: "queries are logged, with a token in them that is good for days; what crashes the endpoint logs everybody out",
        remedy: "route the endpoint for POST only, read fields from the body only, and validate their types",
        run: http_form,
    },
    Check {
        id: "refresh-grace",
        group: "REFRESH",
        requirement: "a used refresh token works no longer than the declared grace, which is a minute at most",
        sources: &["RFC 9700 section 4.14.2", "logto-io/logto#1617"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &["declared", "beyond"],
        isolation: Isolation::User,
        cost: cost(4, 3),
        intrusive: false,
        flaws: &["grace-600"],
        sends: "a login, a refresh, and the used token again two seconds after the declared grace",
        why: "a long grace is a window in which thief and user both refresh, and nobody notices",
        remedy: "keep the grace to seconds, and hand out the same successor within it",
        run: grace,
    },
    Check {
        id: "refresh-race-forks",
        group: "REFRESH",
        requirement: "of all successors of a race at most one line goes on",
        sources: &["RFC 9700 section 4.14.2", "CVE-2026-1035"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(60, 3),
        intrusive: false,
        flaws: &["check-then-act"],
        sends: "8 copies of one refresh at once in several rounds, then a refresh with every successor",
        why: "two lines of one login are two sessions: the thief's goes on when the user logs out",
        remedy: "mark a token as used and make its successor in one transaction",
        run: race_forks,
    },
    Check {
        id: "refresh-vs-revoke",
        group: "REFRESH",
        requirement: "after a revocation and a refresh at the same time were both answered, no successor lives",
        sources: &["keycloak/keycloak#51312", "RFC 7009 section 2.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::Revoke],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(74, 4),
        intrusive: false,
        flaws: &["unlocked-revoke"],
        sends: "a refresh, then the revocation of the used token, as the control; then both with one token at the same time, in several rounds, and a refresh with the successor",
        why: "a logout that loses a race with a background refresh leaves the session alive, unseen",
        remedy: "end the whole session under the lock that a refresh takes",
        run: versus_revoke,
    },
    Check {
        id: "refresh-absolute-end",
        group: "REFRESH",
        requirement: "no refresh reaches beyond the declared end of the session",
        sources: &["ASVS 10.4.8", "ASVS 7.3.2"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Refresh, Need::JwtRefresh, Need::Clock],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(70, 3),
        intrusive: false,
        flaws: &["slide-forever"],
        sends: "a login, and refreshes while the admin hook moves the server's clock towards the declared end",
        why: "a session that slides for ever is a password that cannot be changed",
        remedy: "keep the time of the login with the session, and cut every `exp` at its end",
        run: absolute_end,
    },
    Check {
        id: "refresh-identity-load",
        group: "REFRESH",
        requirement: "of sessions that refresh side by side each keeps its user",
        sources: &["CWE-488", "ASVS 15.4.1"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::JwtAccess, Need::SecondUser],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(400, 3),
        intrusive: false,
        flaws: &["shared-state-refresh"],
        sends: "eight sessions of two users, each refreshed up to 50 times at the same time, and reads the subject of each token",
        why: "state that two requests share hands one user the other's session, under load only",
        remedy: "keep the user of a request in the request, not in a field of a shared object",
        run: identity_load,
    },
];

fn http_form(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    let token = p.fresh_refresh()?;
    let genuine = p.target().request("refresh", &p.vars_with(token.as_str())).map_err(Stop::unsendable)?;
    let mut unused = Some(token.clone());
    match query_of(genuine.body()) {
        Some(query) => {
            let mut request = http::Request::get(format!("{}?{query}", genuine.uri().path()));
            for (name, value) in genuine.headers() {
                if name != http::header::CONTENT_TYPE {
                    request = request.header(name, value);
                }
            }
            let request = request.body(Bytes::new()).map_err(Stop::unsendable)?;
            let answer = p.send("refresh", request, Some(token.clone()))?;
            p.judge_refusal(Some("get"), "a refresh by GET refused", &answer);
            unused = unused.filter(|_| !answer.accepted());
        }
        None => p.skip("get", SkipReason::NotApplicable("a refresh has no fields".into())),
    }
    let mut last = String::new();
    malformed(p, "refresh", |p| {
        last = unused.take().map_or_else(|| p.fresh_refresh(), Ok)?;
        Ok((p.vars_with(last.as_str()), last.clone()))
    })?;
    // A body of another kind that is taken is none the less a refresh by whoever holds the token; credentials in a query
    // are written to logs (ASVS 14.2.1).
    p.parts_at_most(Level::Should, |variant| variant != "get");
    let control = p.refresh(&last)?;
    if control.accepted() {
        p.pass(Some("control"), "accepted", "the refresh token that was shown is good");
    } else {
        let text = format!("the refresh token that was shown is refused in a good body too: {}", control.describe());
        p.inconclusive(Some("control"), "controls-refused", text);
    }
    Ok(())
}

fn rotated(p: &mut Probe<'_>) -> Result<String, Stop> {
    let old = p.fresh_refresh()?;
    match p.refreshed(&old)?.refresh {
        Some(new) if new != old => Ok(old),
        _ => Err(Stop::not_applicable("refreshing brings no new refresh token")),
    }
}

fn grace(p: &mut Probe<'_>) -> Result<(), Stop> {
    let declared = p.profile().declares.grace_s.unwrap_or(0.0);
    if declared > 60.0 {
        p.fail(Some("declared"), "long", format!("a grace of {declared:.0} s is declared, more than a minute"));
    } else {
        p.pass(Some("declared"), "short", format!("a grace of {declared:.0} s is declared"));
    }
    if declared > 10.0 && p.session.budget == Budget::Ci {
        p.skip("beyond", SkipReason::Budget(declared as u64 + 2));
        return Ok(());
    }
    let old = rotated(p)?;
    p.offer("beyond", &old)?;
    p.allow(Nanos::from_secs_f64(declared + 10.0).duration());
    p.pause(Nanos::from_secs_f64(declared + 2.0).duration(), "the declared grace of rotation")?;
    let answer = p.refresh(&old)?;
    p.judge_refusal(Some("beyond"), "a used refresh token refused after the grace", &answer);
    Ok(())
}

fn race_forks(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (slow, _) = login_cost(p)?;
    let rounds = match (p.session.budget, slow > SLOW_LOGIN) {
        (Budget::Thorough, _) => 50,
        (_, false) => 5,
        (_, true) => 2,
    };
    let mut most = 0;
    for _ in 0..rounds {
        let token = p.fresh_refresh()?;
        let answers = p.together("refresh", &[token.as_str(); 8])?;
        let mut successors: Vec<String> = answers
            .iter()
            .filter(|a| a.accepted())
            .filter_map(|a| p.target().tokens(a.reply.as_ref()?, "refresh").ok()?.refresh)
            .collect();
        successors.sort_unstable();
        successors.dedup();
        let mut alive = 0;
        for successor in &successors {
            alive += usize::from(p.refresh(successor)?.accepted());
        }
        most = most.max(alive);
    }
    if most > 1 {
        p.fail(None, "forks", format!("up to {most} lines of one login went on after a race"));
    } else {
        p.pass(None, "one-line", format!("never two lines in {rounds} races of 8"));
    }
    Ok(())
}

fn versus_revoke(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") || p.target().is_command("revoke") {
        return Err(Stop::not_applicable("refreshing or revoking is a command of the profile"));
    }
    super::revoke::takes_refresh(p)?;
    let (slow, _) = login_cost(p)?;
    let rounds = if slow > SLOW_LOGIN { 6 } else { 20 };
    let in_order = outlives_in_order(p)?;
    let (mut raced, mut survived) = (0, 0);
    for _ in 0..rounds {
        let token = p.fresh_refresh()?;
        let answers: Vec<(bool, Option<Issued>)> = p.crowd(2, Duration::from_secs(5), |number, worker| {
            let operation = if number == 0 { "revoke" } else { "refresh" };
            let answer = worker.ask_with(operation, &token)?;
            let issued = (number == 1).then(|| worker.tokens(&answer)).flatten();
            Ok((answer.accepted(), issued))
        })?;
        let revoked = answers.first().is_some_and(|(done, _)| *done);
        let successor = answers.get(1).and_then(|(_, issued)| issued.as_ref()?.refresh.clone());
        if let (true, Some(successor)) = (revoked, successor) {
            raced += 1;
            if successor != token && p.refresh(&successor)?.accepted() {
                survived += 1;
            }
        }
    }
    if survived > 0 {
        let text = format!("in {survived} of {raced} races that both won, the successor lived on");
        let families = p.profile().operations.get("refresh").and_then(|o| o.replay_revokes_family) == Some(true);
        if in_order && !families {
            // The 200 of a revocation that came too late says no more than that this one token is dead (RFC 7009
            // section 2.2), so no race was lost that the sequence does not lose.
            let text = format!(
                "{text}; so it does where the used token is revoked after its refresh, with nobody beside it: the race cannot be told from the sequence"
            );
            p.fail(None, "survives", text);
            p.at_most(Level::Should);
        } else {
            p.fail(None, "survives", text);
        }
    } else {
        p.pass(None, "ended", format!("no successor lived on in {rounds} rounds ({raced} of them won by both)"));
    }
    Ok(())
}

/// Whether a used refresh token that is revoked after its refresh, with success, leaves the successor alive: then that is
/// what a race shows as well.
fn outlives_in_order(p: &mut Probe<'_>) -> Result<bool, Stop> {
    let old = p.fresh_refresh()?;
    let Some(new) = p.refreshed(&old)?.refresh.filter(|new| *new != old) else { return Ok(false) };
    Ok(p.call_with_token("revoke", &old)?.accepted() && p.refresh(&new)?.accepted())
}

fn absolute_end(p: &mut Probe<'_>) -> Result<(), Stop> {
    const STEPS: usize = 60;
    let end =
        p.profile().declares.absolute_end_s.ok_or_else(|| {
            Stop::not_applicable("the profile declares no end of a session (`declares.absolute_end_s`)")
        })?;
    let exp = |token: &str| decode(token).and_then(|(_, c)| c.get("exp").and_then(Value::as_f64));
    let issued = p.login()?;
    let began = clock::unix();
    let mut token = issued.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    let life = exp(&token).ok_or_else(|| Stop::not_applicable("refresh tokens have no exp"))? - began;
    let step = (life * 0.8).floor().max(1.0);
    if end / step > STEPS as f64 {
        return Err(Stop::not_applicable(format!("it would take {:.0} refreshes to get there", end / step)));
    }
    let (mut moved, mut latest) = (0.0, exp(&token).unwrap_or(0.0));
    p.clock_moved(|p| {
        while moved + step < end {
            moved += step;
            p.move_clock(step)?;
            let answer = p.refresh(&token)?;
            let next =
                answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().tokens(r, "refresh").ok());
            let Some(next) = next.and_then(|i| i.refresh) else { break };
            latest = f64::max(latest, exp(&next).unwrap_or(0.0));
            token = next;
        }
        Ok(())
    })?;
    let over = latest - (began + end);
    if over > 2.0 {
        p.fail(None, "slides", format!("a refresh token ends {over:.0} s after the declared end of its session"));
    } else {
        p.pass(None, "ends", format!("no refresh token reaches beyond {end:.0} s after the login"));
    }
    Ok(())
}

fn identity_load(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") {
        return Err(Stop::not_applicable("refreshing is a command of the profile"));
    }
    p.session.holds_several()?;
    let claim = p.profile().subject_claim().to_owned();
    let subject = |token: &Option<String>| token.as_deref().and_then(decode).and_then(|(_, c)| c.get(&claim).cloned());
    let other = second_vars(p)?;
    let mut sessions = Vec::new();
    for number in 0..8 {
        let vars = if number % 2 == 0 { p.vars() } else { other.clone() };
        let issued = p.login_with(&vars)?;
        let refresh = issued.refresh.clone().ok_or_else(|| Stop::needs(Need::Refresh))?;
        sessions.push((refresh, subject(&issued.access)));
    }
    if sessions[0].1.is_none() || sessions[0].1 == sessions[1].1 {
        return Err(Stop::not_applicable(format!("`{claim}` does not tell the two users apart")));
    }
    let seen = p.crowd(8, Duration::from_secs(4), |number, worker| {
        let (mut token, own) = sessions[number].clone();
        let (mut asked, mut wrong) = (0usize, 0usize);
        for _ in 0..50 {
            if worker.over() {
                break;
            }
            let answer = worker.ask_with("refresh", &token)?;
            let Some(issued) = worker.tokens(&answer) else { break };
            asked += 1;
            wrong += usize::from(subject(&issued.access) != own);
            token = issued.refresh.unwrap_or(token);
        }
        Ok((asked, wrong))
    })?;
    let (asked, wrong) = seen.iter().fold((0, 0), |(a, w), (x, y)| (a + x, w + y));
    if asked == 0 {
        return Err(Stop::blocked_by("refresh-basic"));
    }
    if wrong > 0 {
        p.fail(None, "another-user", format!("{wrong} of {asked} refreshed tokens were another user's"));
    } else {
        let bound = 300.0 / asked as f64;
        p.pass(None, "own", format!("all {asked} refreshed tokens are their session's user's (another's in below {bound:.1} % with 95 % confidence)"));
    }
    Ok(())
}

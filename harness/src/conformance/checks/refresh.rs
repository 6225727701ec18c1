//! Does refreshing keep its promises: new tokens, once, for the same user, and never again?

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;
use crate::target::{Issued, Vars};
use crate::units::Nanos;

use super::issue::{SLOW_LOGIN, login_cost, unclean};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "refresh-basic",
        group: "REFRESH",
        requirement: "a refresh brings a new access token for the same user, issued now, that works",
        sources: &["RFC 6749 section 6", "jazzband/djangorestframework-simplejwt#888"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh],
        variants: &["answer", "new-token", "same-user", "issued-now", "works"],
        isolation: Isolation::User,
        cost: cost(6, 3),
        intrusive: false,
        flaws: &["copy-iat"],
        sends: "a login, a refresh a second later, and the new access token to every verify way",
        why: "callers live on it; a copied `iat` makes a session's age unknowable",
        remedy: "make the new access token from scratch: new jti, iat now, the same subject and scope",
        run: basic,
    },
    Check {
        id: "refresh-invalid",
        group: "REFRESH",
        requirement: "what is no refresh token is refused without a server error",
        sources: &["RFC 6749 section 5.2"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh],
        variants: &["garbage", "tampered", "empty", "dots", "long"],
        isolation: Isolation::User,
        cost: cost(7, 1),
        intrusive: false,
        flaws: &["crash-refresh"],
        sends: "garbage, a genuine refresh token with one changed bit, nothing, dots, and 20 kB",
        why: "the endpoint is open to everybody; what crashes it is a denial of service, what passes is a login",
        remedy: "answer every unreadable token like a wrong one: 401, in OAuth 400 `invalid_grant`",
        run: invalid,
    },
    Check {
        id: "refresh-rotates",
        group: "REFRESH",
        requirement: "a refresh hands out a new refresh token",
        sources: &["RFC 9700 section 2.2.2", "RFC 9700 section 4.14.2"],
        levels: Levels::issuing(Level::Info),
        needs: &[Need::Refresh],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(2, 1),
        intrusive: false,
        flaws: &["static-refresh"],
        sends: "a login and a refresh, and compares the refresh tokens",
        why: "without rotation a stolen refresh token is good until its end, and nobody notices",
        remedy: "issue a new refresh token with every refresh, and refuse the old one",
        run: rotates,
    },
    Check {
        id: "refresh-old-rejected",
        group: "REFRESH",
        requirement: "after a rotation (and its declared grace) the old refresh token is refused",
        sources: &["RFC 9700 section 4.14.2", "ASVS 10.4.5"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(3, 2),
        intrusive: false,
        flaws: &["rotate-without-revoke"],
        sends: "a login, a refresh, and the first refresh token once more after the grace",
        why: "rotation protects nobody while the old token works: the thief refreshes on",
        remedy: "mark a refresh token as used in the same transaction that makes its successor",
        run: old_rejected,
    },
    Check {
        id: "refresh-race",
        group: "REFRESH",
        requirement: "of several simultaneous refreshes with one token at most one brings a successor",
        sources: &["RFC 9700 section 4.14.2", "GluuFederation/oxAuth#1909"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &["2-copies", "8-copies", "32-copies"],
        isolation: Isolation::Exclusive,
        cost: cost(160, 8),
        intrusive: false,
        flaws: &["check-then-act"],
        sends: "2, 8 and 32 copies of one refresh on connections of their own, their last bytes released together, in several rounds",
        why: "look-up and mark as two steps let a thief and the user both win, and rotation sees neither",
        remedy: "mark it used with one conditional statement (`UPDATE .. WHERE used_at IS NULL`), and look at the count of changed rows",
        run: race,
    },
    Check {
        id: "refresh-reuse-family",
        group: "REFRESH",
        requirement: "a replayed refresh token ends the newest one of its login too",
        sources: &["RFC 9700 section 4.14.2", "ASVS 10.4.5"],
        levels: Levels::issuing(Level::Should).oauth(Level::Must),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &["newest", "access"],
        isolation: Isolation::User,
        cost: cost(6, 3),
        intrusive: false,
        flaws: &["no-family"],
        sends: "a login, a refresh, the first refresh token again after the grace, and then the newest one",
        why: "a replay proves that two parties hold the session; only ending it stops the thief, who may be the one ahead",
        remedy: "keep the family of a login, and end all of it when a used token comes again",
        run: reuse_family,
    },
    Check {
        id: "refresh-reuse-scope",
        group: "REFRESH",
        requirement: "a replay in one session leaves the user's other sessions alone",
        sources: &["keycloak/keycloak#16081"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Refresh, Need::Rotation],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(6, 3),
        intrusive: false,
        flaws: &["revoke-everything"],
        sends: "two logins of one user; a replay in the first; then a refresh in the second",
        why: "whoever can replay one old token could otherwise log a user out everywhere",
        remedy: "end the family of the replayed token only",
        run: reuse_scope,
    },
    Check {
        id: "refresh-user-state",
        group: "REFRESH",
        requirement: "a disabled or deleted user cannot refresh",
        sources: &[
            "ASVS 7.4.2",
            "jazzband/djangorestframework-simplejwt#193",
            "jazzband/djangorestframework-simplejwt#860",
        ],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::SecondUser, Need::DisableUser],
        variants: &["disabled", "deleted"],
        isolation: Isolation::Exclusive,
        cost: cost(8, 3),
        intrusive: false,
        flaws: &["stale-user", "crash-deleted"],
        sends: "a login of the second user, the admin hook that disables (then deletes) that user, and a refresh",
        why: "a session that outlives its account is how a dismissed employee stays for weeks",
        remedy: "look the user up at every refresh, and answer 401 where there is none or it is inactive",
        run: user_state,
    },
];

fn basic(p: &mut Probe<'_>) -> Result<(), Stop> {
    let first = p.login()?;
    let Some(refresh) = first.refresh.clone() else { return Err(Stop::needs(Need::Refresh)) };
    // More than a second, so that a copied iat shows and tokens without a jti differ.
    p.pause(Duration::from_millis(1_200), "the next second")?;
    let asked = clock::unix();
    let answer = p.refresh(&refresh)?;
    let Some(second) =
        answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().tokens(r, "refresh").ok())
    else {
        p.fail_seen(Some("answer"), &answer.finding(), "a genuine refresh token accepted", &answer);
        return Ok(());
    };
    p.pass(Some("answer"), "refreshed", "a genuine refresh token brings an access token");
    let Some(access) = second.access.clone() else {
        p.fail_told(Some("new-token"), "no-access", "an access token", "the answer has no access token", &answer);
        return Ok(());
    };
    if first.access.as_deref() == Some(access.as_str()) {
        p.fail_told(Some("new-token"), "same", "a new access token", "the access token is the old one", &answer);
    } else {
        p.pass(Some("new-token"), "new", "the access token is new");
    }
    let claims = |token: Option<&str>| token.and_then(decode).map(|(_, c)| c);
    if let (Some(old), Some(new)) = (claims(first.access.as_deref()), claims(Some(&access))) {
        let subject = p.profile().subject_claim().to_owned();
        if old.get(&subject) == new.get(&subject) {
            p.pass(Some("same-user"), "same", format!("`{subject}` is the same"));
        } else {
            p.fail_told(Some("same-user"), "another", "the same user", format!("`{subject}` has changed"), &answer);
        }
        let iat = |c: &serde_json::Map<String, Value>| c.get("iat").and_then(Value::as_f64);
        if let (Some(old), Some(new)) = (iat(&old), iat(&new)) {
            if new > old {
                p.pass(Some("issued-now"), "now", "iat is that of the refresh");
            } else {
                let text = format!("expected iat near {asked:.0}, saw {new:.0}, that of the first token");
                p.fail_told(Some("issued-now"), "copied", "iat of now", text, &answer);
            }
        }
    }
    for way in p.ways().into_iter().filter(|w| w.accepts_genuine) {
        let shown = p.present(&way, &access)?;
        if !shown.accepted() {
            p.fail_seen(Some("works"), &shown.finding(), "the refreshed access token accepted", &shown);
            return Ok(());
        }
    }
    p.pass(Some("works"), "accepted", "the new access token works");
    Ok(())
}

fn invalid(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.fresh_refresh()?;
    let tampered = match genuine.matches('.').count() {
        2 => crate::jose::forge::flip_bit(&genuine, 2, 9),
        _ => genuine.chars().rev().collect(),
    };
    let cases = [
        ("garbage", "assay-no-token".to_owned()),
        ("tampered", tampered),
        ("empty", String::new()),
        ("dots", "..".to_owned()),
        ("long", "a".repeat(20_000)),
    ];
    let mut answers = Vec::new();
    for (variant, token) in cases {
        p.offer(variant, &token)?;
        match p.refresh(&token) {
            Ok(answer) => answers.push((variant, answer)),
            Err(Stop::Inconclusive(why)) => p.skip(variant, SkipReason::NotApplicable(why)),
            Err(other) => return Err(other),
        }
    }
    // A server may count an attempt as theft and end the session: then another login is the control.
    let works = p.refresh(&genuine)?.accepted() || {
        let again = p.fresh_refresh()?;
        p.refresh(&again)?.accepted()
    };
    for (variant, answer) in answers {
        if works || !answer.refused() {
            p.judge_refusal(Some(variant), "what is no refresh token refused", &answer);
        } else {
            p.skip(variant, SkipReason::BlockedBy("refresh-basic".into()));
        }
    }
    Ok(())
}

fn rotates(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (old, new) = pair(p)?;
    match new.refresh {
        Some(new) if new != old => p.pass(None, "rotates", "a new refresh token comes with every refresh"),
        Some(_) => p.fail(None, "same", "the answer repeats the old refresh token"),
        None => p.fail(None, "none", "the answer has no refresh token: the old one goes on"),
    }
    Ok(())
}

/// Waits until the declared grace is over.
fn past_grace(p: &mut Probe<'_>) -> Result<(), Stop> {
    let grace = p.profile().declares.grace_s.unwrap_or(0.0);
    let longest = if p.session.budget == Budget::Ci { 15.0 } else { 600.0 };
    if grace > longest {
        return Err(Stop::Skip(SkipReason::Budget(grace as u64)));
    }
    if grace > 0.0 {
        p.pause(Nanos::from_secs_f64(grace + 1.0).duration(), "the declared grace of rotation")?;
    }
    Ok(())
}

/// A login and one refresh.
fn pair(p: &mut Probe<'_>) -> Result<(String, Issued), Stop> {
    let old = p.fresh_refresh()?;
    let new = p.refreshed(&old)?;
    if new.refresh.as_ref() != Some(&old) {
        return Ok((old, new));
    }
    // Without a jti the same claims within a second are the same text: in the next one they differ.
    p.pause(Duration::from_millis(1_200), "the next second")?;
    let new = p.refreshed(&old)?;
    Ok((old, new))
}

/// A login and one refresh: the used-up token, and what came of it.
fn rotated(p: &mut Probe<'_>) -> Result<(String, Issued), Stop> {
    let (old, new) = pair(p)?;
    match &new.refresh {
        Some(token) if *token != old => Ok((old, new)),
        _ => Err(Stop::not_applicable("refreshing brings no new refresh token")),
    }
}

fn old_rejected(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (old, _) = rotated(p)?;
    p.offer("", &old)?;
    past_grace(p)?;
    let answer = p.refresh(&old)?;
    p.judge_refusal(None, "the used refresh token refused", &answer);
    Ok(())
}

fn race(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (cost, first) = login_cost(p)?;
    let first = first.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    p.offer("2-copies", &first)?;
    let mut spare = Some(first);
    let thorough = p.session.budget == Budget::Thorough;
    let rounds: [(&str, usize, usize); 3] = match (thorough, cost > SLOW_LOGIN) {
        (true, _) => [("2-copies", 2, 50), ("8-copies", 8, 50), ("32-copies", 32, 50)],
        (false, false) => [("2-copies", 2, 10), ("8-copies", 8, 5), ("32-copies", 32, 3)],
        (false, true) => [("2-copies", 2, 4), ("8-copies", 8, 3), ("32-copies", 32, 1)],
    };
    for (variant, copies, rounds) in rounds {
        let mut doubles: Vec<(usize, Answer)> = Vec::new();
        let mut broken: Option<Answer> = None;
        let mut counts = Vec::new();
        for _ in 0..rounds {
            let token = match spare.take() {
                Some(token) => token,
                None => p.fresh_refresh()?,
            };
            let answers = p.together("refresh", &vec![token.as_str(); copies])?;
            let accepted: Vec<&Answer> = answers.iter().filter(|a| a.accepted()).collect();
            let successors: BTreeSet<String> = accepted
                .iter()
                .filter_map(|a| a.reply.as_ref())
                .filter_map(|r| p.target().tokens(r, "refresh").ok()?.refresh)
                .collect();
            counts.push(accepted.len());
            // The same successor for every caller is one session still (django-oauth-toolkit does so, without any
            // grace); two different ones are two sessions out of one token.
            let too_many = successors.len() > 1 || successors.is_empty() && accepted.len() > 1;
            if too_many {
                doubles.push((accepted.len(), accepted[0].clone()));
            }
            broken = broken.or_else(|| answers.iter().find(|a| unclean(a)).cloned());
        }
        let won: Vec<String> = counts.iter().map(usize::to_string).collect();
        let won = won.join(",");
        match doubles.iter().max_by_key(|(n, _)| *n) {
            Some((most, answer)) => {
                let summary = format!(
                    "up to {most} of {copies} simultaneous refreshes with one token succeeded, with different successors (successes per round: {won})"
                );
                p.fail_told(Some(variant), "several-successors", "at most one successor", summary, answer);
            }
            None => {
                // Rule of three: no event in n rounds bounds its probability to 3/n with 95 % confidence.
                let bound = (300.0 / rounds as f64).min(100.0);
                p.pass(
                    Some(variant),
                    "one-successor",
                    format!("never two different successors in {rounds} rounds of {copies} (so below {bound:.0} % of rounds, with 95 % confidence)"),
                );
            }
        }
        if let Some(answer) = broken {
            let finding = answer.finding();
            p.fail_seen(Some(variant), &finding, "an orderly answer in a race", &answer);
            p.at_most(Level::Should);
        }
    }
    Ok(())
}

fn reuse_family(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (old, new) = rotated(p)?;
    past_grace(p)?;
    let replay = p.refresh(&old)?;
    if replay.accepted() {
        return Err(Stop::blocked_by("refresh-old-rejected"));
    }
    let newest = new.refresh.unwrap_or_default();
    p.offer("newest", &newest)?;
    let answer = p.refresh(&newest)?;
    p.judge_refusal(Some("newest"), "the newest refresh token refused after a replay of its predecessor", &answer);
    if p.target().mentions("refresh", "client.secret") {
        // RFC 9700 binds public clients (sections 2.2.2 and 4.14.2): here a thief needs the client's secret too.
        p.at_most(Level::Should);
    }
    // Self-contained access tokens may live on: reported, not judged.
    if let (Some(access), Some(way)) = (new.access, p.ways().into_iter().find(Way::usable)) {
        let shown = p.present(&way, &access)?;
        let text = if shown.accepted() {
            "the family's access token lives on to its end"
        } else {
            "the family's access token is dead too"
        };
        p.pass(Some("access"), &shown.finding(), text);
    }
    Ok(())
}

fn reuse_scope(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.session.holds_several()?;
    let other = p.fresh_refresh()?;
    let (old, _) = rotated(p)?;
    past_grace(p)?;
    if p.refresh(&old)?.accepted() {
        return Err(Stop::blocked_by("refresh-old-rejected"));
    }
    p.offer("", &other)?;
    let answer = p.refresh(&other)?;
    if answer.accepted() {
        p.pass(None, "other-lives", "the user's other session goes on");
    } else {
        p.fail_seen(None, &answer.finding(), "the user's other session to go on", &answer);
    }
    Ok(())
}

/// The second user's values.
pub(super) fn second_vars(p: &Probe<'_>) -> Result<Vars, Stop> {
    let user = p
        .target()
        .second_user()
        .map_err(|e| Stop::Harness(e.to_string()))?
        .ok_or_else(|| Stop::needs(Need::SecondUser))?;
    Ok(Vars::new().user(&user))
}

fn user_state(p: &mut Probe<'_>) -> Result<(), Stop> {
    let vars = second_vars(p)?;
    let session = p.login_with(&vars)?.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    let later = p.login_with(&vars)?.refresh.ok_or_else(|| Stop::needs(Need::Refresh))?;
    let control = p.refreshed(&session)?.refresh.unwrap_or(session);
    let answer = p.changed("disable_user", &vars, |p| p.refresh(&control))?;
    p.judge_refusal(Some("disabled"), "a disabled user's refresh refused", &answer);
    p.transient();
    if !can_delete(p) {
        p.skip("deleted", SkipReason::Needs("admin-delete-user and admin-create-user".into()));
        return Ok(());
    }
    let session = p.login_with(&vars)?.refresh.unwrap_or(later);
    let answer = p.changed("delete_user", &vars, |p| p.refresh(&session))?;
    p.judge_refusal(Some("deleted"), "a deleted user's refresh refused", &answer);
    p.transient();
    Ok(())
}

/// Whether a user can be deleted and brought back.
pub(super) fn can_delete(p: &Probe<'_>) -> bool {
    p.has(Need::DeleteUser) && (p.target().has_hook("create_user") || p.target().has_hook("reset"))
}

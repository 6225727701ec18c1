//! Does a token open what it is for, and nothing else: another deployment, another user, another scope, another client?

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::record::{Level, SkipReason};

use super::issue::unclean;
use super::refresh::second_vars;

/// The family's second part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "claim-cross-env",
        group: "CLAIM",
        requirement: "a token that a sibling deployment signed with the same key is refused",
        sources: &["RFC 8725 section 2.7", "RFC 8725 section 3.8"],
        levels: Levels::SHOULD,
        needs: &[Need::VerifyWay, Need::SigningKey],
        variants: &["sibling"],
        isolation: Isolation::Shared,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["shared-key"],
        sends: "a genuine token whose issuer and audience are a sibling's, signed again with the same key",
        why: "keys are copied from staging to production; then anybody with an account on staging is a user of production",
        remedy: "give each deployment its own key, issuer and audience, and check them",
        run: cross_env,
    },
    Check {
        id: "claim-id-token",
        group: "CLAIM",
        requirement: "an ID token opens no resource, and is exchanged for nothing",
        sources: &["RFC 9068 section 4", "ASVS 9.2.2"],
        levels: Levels::only_oidc(Level::Must),
        needs: &[Need::Issue, Need::VerifyWay],
        variants: &["*", "refresh"],
        isolation: Isolation::Shared,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["accept-id-token", "refresh-id-token"],
        sends: "the ID token of a login to every verify way that does not take ID tokens on purpose, and to the refresh operation in the place of a refresh token",
        why: "ID tokens are handed to front ends and partners; where they open resources, so can those",
        remedy: "check `typ`, `aud` and the token's kind at the resource",
        run: id_token,
    },
    Check {
        id: "claim-cross-user",
        group: "CLAIM",
        requirement: "one user's token does not read or change another user's object",
        sources: &["ASVS 8.2.2", "OWASP API1:2023"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::SecondUser],
        variants: &["own", "other", "nobody", "write-own", "write-other", "write-nobody"],
        isolation: Isolation::User,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["idor", "idor-write"],
        sends: "the operation `owned` for the first user's object with the first user's token, with the second user's, and with none; and `owned_write` likewise, where the profile has it",
        why: "a token proves who the caller is, not that the object is theirs; it is the commonest hole of all",
        remedy: "compare the object's owner with the subject of the token on every request",
        run: cross_user,
    },
    Check {
        id: "claim-scope",
        group: "CLAIM",
        requirement: "a token without the scope is answered 403 with `error=\"insufficient_scope\"`",
        sources: &["RFC 6750 section 3.1", "ASVS 10.3.2"],
        levels: Levels::MUST,
        needs: &[Need::Issue, Need::SigningKey],
        variants: &["absent", "other"],
        isolation: Isolation::Shared,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["scope-unchecked"],
        sends: "re-signed tokens without a scope, and with another one, to the operation `scoped`",
        why: "a token that was given to a reader must not write",
        remedy: "require the scope where the route is declared, and answer 403 `insufficient_scope` without it",
        run: scope,
    },
    Check {
        id: "claim-stale-privilege",
        group: "CLAIM",
        requirement: "how long a demoted user's old token keeps the right is reported",
        sources: &["CVE-2026-35594", "ASVS 8.3.2"],
        levels: Levels::issuing(Level::Info),
        needs: &[Need::Issue, Need::SecondUser],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(10, 4),
        intrusive: false,
        flaws: &[],
        sends: "a login of the second user, the admin hook that demotes that user, and the old token to the operation `scoped`",
        why: "until the token ends, a demotion is only a promise",
        remedy: "keep access tokens short, or look rights up when they are used",
        run: stale_privilege,
    },
    Check {
        id: "claim-client-binding",
        group: "CLAIM",
        requirement: "a refresh token is good only for the client that it was issued to",
        sources: &["RFC 6749 section 6", "RFC 6749 section 10.4"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Refresh, Need::SecondClient],
        variants: &["other-client", "no-client"],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["unbound-rt", "nameless-client"],
        sends: "a login by the first client, its refresh token with the second client's credentials, then with the first one's; and another one without any client",
        why: "else a token stolen from one client is refreshed by any other, with that one's rights",
        remedy: "store the client beside the refresh token, and compare; answer 400 `invalid_grant`",
        run: client_binding,
    },
];

fn cross_env(p: &mut Probe<'_>) -> Result<(), Stop> {
    let forger = p.forger()?;
    let declared = &p.profile().declares;
    let (issuer, audience) = (declared.issuer.is_some(), declared.audience.is_some());
    if !issuer && !audience {
        return Err(Stop::not_applicable(
            "the profile declares neither issuer nor audience: nothing ties a token to a deployment",
        ));
    }
    let mut forge = forger.forge();
    if issuer {
        forge = forge.claim("iss", "https://staging.assay.invalid");
    }
    if audience {
        forge = forge.claim("aud", json!(["staging.assay.invalid"]));
    }
    p.refuse_signed("sibling", &forger.sign(forge)?)
}

fn id_token(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let token = issued
        .other
        .get("id_token")
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Stop::not_applicable("a login brings no ID token (`returns: {id_token: ...}`)"))?;
    for way in p.ways() {
        if p.target().accepts(&way.operation).contains(&crate::target::TokenUse::Id) {
            continue;
        }
        let name = way.name.clone();
        p.expect(Some(&name), &Value::String(token.clone()), &[way], Expect::Refused, Control::Genuine)?;
    }
    if !p.has(Need::Refresh) || p.target().is_command("refresh") {
        return Ok(());
    }
    p.offer("refresh", &token)?;
    let control = p.fresh_refresh()?;
    let answer = p.refresh(&token)?;
    if answer.refused() && !p.refresh(&control)?.accepted() {
        p.skip("refresh", SkipReason::BlockedBy("refresh-basic".into()));
    } else {
        p.judge_refusal(Some("refresh"), "an ID token refused at refresh", &answer);
    }
    Ok(())
}

fn needs_operation(p: &Probe<'_>, name: &str) -> Result<(), Stop> {
    if p.target().has(name) {
        return Ok(());
    }
    Err(Stop::not_applicable(format!("the profile names no operation `{name}`")))
}

fn cross_user(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs_operation(p, "owned")?;
    let own = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let second = second_vars(p)?;
    let other = p.login_with(&second)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    // The path names the first user, the profile's.
    let answer = p.call_with_token("owned", &own)?;
    if !answer.accepted() {
        p.inconclusive(Some("own"), "controls-refused", format!("a user's own object: {}", answer.describe()));
        return Ok(());
    }
    p.pass(Some("own"), "accepted", "a user's own object is there");
    p.offer("other", &other)?;
    let answer = p.call_with_token("owned", &other)?;
    p.judge_refusal(Some("other"), "another user's object refused", &answer);
    let vars = p.vars();
    let answer = p.call("owned", &vars)?;
    p.judge_refusal(Some("nobody"), "an object refused without a token", &answer);
    if !p.target().has("owned_write") {
        return Ok(());
    }
    // The owner last: what that writes is all that may have been written.
    p.offer("write-other", &other)?;
    let answer = p.call_with_token("owned_write", &other)?;
    p.judge_refusal(Some("write-other"), "another user's object not to be changed", &answer);
    let vars = p.vars();
    let answer = p.call("owned_write", &vars)?;
    p.judge_refusal(Some("write-nobody"), "an object not to be changed without a token", &answer);
    let answer = p.call_with_token("owned_write", &own)?;
    if answer.accepted() {
        p.pass(Some("write-own"), "accepted", "a user changes their own object");
    } else {
        p.inconclusive(Some("write-own"), "controls-refused", format!("a user's own object: {}", answer.describe()));
    }
    Ok(())
}

fn scope(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs_operation(p, "scoped")?;
    let forger = p.forger()?;
    let names: Vec<&str> = ["scope", "scp", "scopes"].into_iter().filter(|name| forger.claim(name).is_some()).collect();
    let Some(name) = names.first().copied() else {
        return Err(Stop::not_applicable("its access tokens have no scope"));
    };
    let control = forger.with_claim("assay", "control")?;
    if !p.call_with_token("scoped", &control)?.accepted() {
        return Err(Stop::Inconclusive("a re-signed token with all its scopes is refused".into()));
    }
    let array = forger.claim(name).is_some_and(|v| v.is_array());
    let other = if array { json!(["assay-nothing"]) } else { json!("assay-nothing") };
    let absent = forger.sign(forger.forge().without_claim(name))?;
    for (variant, token) in [("absent", absent), ("other", forger.with_claim(name, other)?)] {
        p.offer(variant, &token)?;
        let answer = p.call_with_token("scoped", &token)?;
        judge_scope(p, variant, &answer);
    }
    Ok(())
}

fn judge_scope(p: &mut Probe<'_>, variant: &str, answer: &Answer) {
    if !answer.refused() || unclean(answer) {
        p.judge_refusal(Some(variant), "a token without the scope refused", answer);
        return;
    }
    let code = answer.bearer_challenge().and_then(|c| c.into_iter().find(|(n, _)| n == "error")).map(|(_, v)| v);
    if answer.status() == 403 && code.as_deref() == Some("insufficient_scope") {
        p.pass(Some(variant), "insufficient_scope", "403 with `insufficient_scope`");
    } else {
        let seen = code.map_or("no error code".to_owned(), |c| format!("`error={c}`"));
        let text = format!("expected 403 with `error=\"insufficient_scope\"`, saw {} with {seen}", answer.status());
        p.fail_told(Some(variant), &answer.finding(), "403 `insufficient_scope`", text, answer);
        p.at_most(Level::Should);
    }
}

fn stale_privilege(p: &mut Probe<'_>) -> Result<(), Stop> {
    needs_operation(p, "scoped")?;
    if !(p.target().has_hook("demote_user") && p.target().has_hook("reset")) {
        return Err(Stop::not_applicable("the profile has no hooks `demote_user` and `reset`"));
    }
    let vars = second_vars(p)?;
    let token = p.login_with(&vars)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    if !p.call_with_token("scoped", &token)?.accepted() {
        return Err(Stop::Inconclusive("the second user has not got the right from the start".into()));
    }
    let (last, took) = p.changed("demote_user", &vars, |p| {
        let since = clock::mono();
        let mut last = p.call_with_token("scoped", &token)?;
        while last.accepted() && clock::mono().since(since).as_secs_f64() < 3.0 {
            p.pause(Duration::from_millis(500), "a demoted user's token to lose its right")?;
            last = p.call_with_token("scoped", &token)?;
        }
        Ok((last, clock::mono().since(since).as_secs_f64()))
    })?;
    if last.accepted() {
        p.pass(None, "keeps", format!("a demoted user's old token keeps the right, after {took:.0} s still"));
    } else {
        p.pass(None, "loses", format!("a demoted user's old token lost the right within {took:.1} s"));
    }
    Ok(())
}

fn client_binding(p: &mut Probe<'_>) -> Result<(), Stop> {
    let token = p.fresh_refresh()?;
    let other = p.target().second_client().cloned().ok_or_else(|| Stop::needs(Need::SecondClient))?;
    p.offer("other-client", &token)?;
    let vars = p.vars_with(token.as_str()).client(&other);
    let mut answer = p.call("refresh", &vars)?;
    answer.token = Some(token.clone());
    let control = p.refresh(&token)?;
    if answer.refused() && !control.accepted() {
        // The attempt may have ended the session, which is a refusal too; then another login is the control.
        let again = p.fresh_refresh()?;
        if !p.refresh(&again)?.accepted() {
            return Err(Stop::blocked_by("refresh-basic"));
        }
    }
    let proven = p.target().mentions("refresh", "client.secret") || other.secret.is_none();
    // Nobody looked at the token: a client that is unknown, or has not proven itself, is refused with its own as well.
    let nobody = answer.refused() && error_of(&answer).as_ref().is_some_and(|error| error == "invalid_client");
    if nobody && !proven {
        let text = "the second client has a secret, and the refresh has no room for it; \
                    hint: a `second_client` without one";
        p.skip("other-client", SkipReason::NotApplicable(text.into()));
    } else if nobody {
        let text = "the second client itself is refused (`invalid_client`), so nothing was learnt; \
                    hint: look at `second_client` in the profile";
        p.inconclusive(Some("other-client"), "controls-refused", text);
    } else {
        p.judge_refusal(Some("other-client"), "another client's refresh token refused", &answer);
        if answer.refused() {
            named_error(p, "other-client", &answer, &["invalid_grant"]);
        }
    }
    // And by nobody in particular: what is bound to a client that can prove itself is not given without the proof.
    if !p.target().mentions("refresh", "client.secret") {
        p.skip("no-client", SkipReason::NotApplicable("its client has no secret to leave out".into()));
        return Ok(());
    }
    let token = p.fresh_refresh()?;
    p.offer("no-client", &token)?;
    let vars = p.vars().without("client.secret").without("client.id").token(token.as_str());
    let mut answer = p.call("refresh", &vars)?;
    answer.token = Some(token);
    p.judge_refusal(Some("no-client"), "a refresh token refused without its client", &answer);
    if answer.refused() {
        named_error(p, "no-client", &answer, &["invalid_client", "invalid_grant", "invalid_request"]);
    }
    Ok(())
}

/// The error code of an answer.
pub(super) fn error_of(answer: &Answer) -> Option<Value> {
    answer.reply.as_ref().and_then(|r| r.json()).and_then(|j| j.get("error").cloned())
}

/// The error code of RFC 6749 section 5.2: callers decide by it what to do next.
fn named_error(p: &mut Probe<'_>, variant: &str, answer: &Answer, expected: &[&str]) {
    let seen = error_of(answer);
    if !seen.as_ref().and_then(Value::as_str).is_some_and(|seen| expected.contains(&seen)) {
        let told = seen.map_or("none".to_owned(), |seen| seen.to_string());
        let text = format!("expected `error` {}, saw {told}", expected.join(" or "));
        p.fail_told(Some(variant), "error-code", "the error code of the standard", text, answer);
        p.at_most(Level::Should);
    }
}

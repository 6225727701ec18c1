//! Whom does a revocation obey, and is it put off by what a request says beside the token?

use serde_json::Value;

use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::{TokenUse, Vars};

use super::claim_rights::error_of;
use super::clients::{carries_secret, impostor};
use super::fields::with_field;
use super::issue::unclean;
use super::revoke::{bound, names_access, refused_everywhere, takes_refresh, taking};

/// The third part of REVOKE.
pub const CHECKS: &[Check] = &[
    Check {
        id: "revoke-hint",
        group: "REVOKE",
        requirement: "a token is revoked whatever kind `token_type_hint` says that it is",
        sources: &["RFC 7009 section 2.1", "RFC 7009 section 2.2"],
        levels: Levels::only_oauth(Level::Must),
        needs: &[Need::Revoke, Need::Issue],
        variants: &["wrong", "unknown", "access"],
        isolation: Isolation::User,
        cost: cost(12, 2),
        intrusive: false,
        flaws: &["trust-hint", "hint-refused"],
        sends: "the revocation of a refresh token with the hint `access_token`, of another one with a hint that nobody knows, and of an access token with the hint `refresh_token`; and then each token where it worked before",
        why: "a library that guesses the kind wrong logs nobody out, and is told that it did",
        remedy: "take the hint for where to look first, look everywhere then, and ignore a hint that you do not know",
        run: hint,
    },
    Check {
        id: "revoke-authz",
        group: "REVOKE",
        requirement: "a token is revoked for its own client only, which has proved itself",
        sources: &["RFC 7009 section 2.1", "CVE-2016-6582"],
        levels: Levels::only_oauth(Level::Must),
        needs: &[Need::Revoke, Need::Refresh],
        variants: &["no-client", "wrong-secret", "other-client"],
        isolation: Isolation::User,
        cost: cost(10, 2),
        intrusive: false,
        flaws: &["anyone-revokes", "unbound-revoke", "any-client", "nameless-client"],
        sends: "the revocation of a refresh token without its client, with a wrong client secret, and with the second client's credentials; after each a refresh with that token",
        why: "whoever finds a token in a log, or is a client of any kind, could log other people's users out",
        remedy: "authenticate the client before the token is looked at, and compare it with the client that the token was issued to",
        run: authz,
    },
];

/// A hint that no server knows.
const UNHEARD_OF: &str = "assay_unheard_of";

fn hint(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("revoke") {
        return Err(Stop::not_applicable("revoking is a command of the profile"));
    }
    let refresh = p.has(Need::Refresh) && p.target().revocable().contains(&TokenUse::Refresh);
    if refresh && !p.target().is_command("refresh") {
        // Where nothing refreshes, no refusal of a refresh token says anything.
        let token = p.fresh_refresh()?;
        if !p.refresh(&token)?.accepted() {
            return Err(Stop::blocked_by("refresh-basic"));
        }
        for (variant, hint) in [("wrong", "access_token"), ("unknown", UNHEARD_OF)] {
            hinted_refresh(p, variant, hint)?;
        }
    } else {
        for variant in ["wrong", "unknown"] {
            p.skip(variant, SkipReason::NotApplicable("no refresh token is revoked, or none is refreshed".into()));
        }
    }
    if names_access(p) {
        return hinted_access(p);
    }
    let why = "`accepts` of `revoke` does not name access tokens";
    p.skip("access", SkipReason::NotApplicable(why.to_owned()));
    Ok(())
}

/// A revocation with a hint.
fn with_hint(p: &mut Probe<'_>, token: &str, hint: &str) -> Result<Answer, Stop> {
    let request = with_field(p, "revoke", &p.vars_with(token), "token_type_hint", hint)?;
    p.send("revoke", request, Some(token.to_owned()))
}

/// Whether a revocation with a hint was answered as done; else it is told that it was not.
fn done(p: &mut Probe<'_>, variant: &str, hint: &str, answer: &Answer) -> bool {
    if answer.accepted() {
        return true;
    }
    let unsupported = error_of(answer).as_ref().and_then(Value::as_str) == Some("unsupported_token_type");
    if unsupported && hint == "access_token" && !names_access(p) {
        // Who revokes no access tokens may say so to one who says that this is one (RFC 7009 section 2.2.1).
        p.skip(variant, SkipReason::NotApplicable("the server revokes no access tokens, and says so".into()));
    } else {
        let expected = format!("the hint `{hint}` to make no difference to the answer");
        p.fail_seen(Some(variant), &answer.finding(), &expected, answer);
        // Nobody is told that a token is dead which lives.
        p.at_most(Level::Should);
    }
    false
}

fn hinted_refresh(p: &mut Probe<'_>, variant: &str, hint: &str) -> Result<(), Stop> {
    let token = p.fresh_refresh()?;
    let answer = with_hint(p, &token, hint)?;
    if !done(p, variant, hint, &answer) {
        return Ok(());
    }
    p.offer(variant, &token)?;
    bound(p)?;
    let shown = p.refresh(&token)?;
    // Is it the hint that keeps it alive?
    if shown.accepted() {
        let plain = p.fresh_refresh()?;
        if !p.call_with_token("revoke", &plain)?.accepted() {
            return Err(Stop::blocked_by("revoke-effective"));
        }
        bound(p)?;
        if p.refresh(&plain)?.accepted() {
            return Err(Stop::blocked_by("revoke-effective"));
        }
    }
    let expected = format!("a refresh token refused that was revoked with the hint `{hint}`");
    p.judge_refusal(Some(variant), &expected, &shown);
    Ok(())
}

fn hinted_access(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (variant, hint) = ("access", "refresh_token");
    let access = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let ways = taking(p, &access)?;
    if ways.is_empty() {
        let text = "no verify way took the access token before its revocation";
        p.inconclusive(Some(variant), "controls-refused", text);
        return Ok(());
    }
    let answer = with_hint(p, &access, hint)?;
    if !done(p, variant, hint, &answer) {
        return Ok(());
    }
    p.offer(variant, &access)?;
    bound(p)?;
    let mut living = false;
    for way in &ways {
        living |= p.present(way, &access)?.accepted();
    }
    if living {
        let plain = p.login()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        if !p.call_with_token("revoke", &plain)?.accepted() {
            return Err(Stop::blocked_by("revoke-effective"));
        }
        bound(p)?;
        for way in &ways {
            if p.present(way, &plain)?.accepted() {
                return Err(Stop::blocked_by("revoke-effective"));
            }
        }
    }
    refused_everywhere(p, variant, &ways, &access)?;
    Ok(())
}

fn authz(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("refresh") || p.target().is_command("revoke") {
        return Err(Stop::not_applicable("refreshing or revoking is a command of the profile"));
    }
    takes_refresh(p)?;
    let secret = carries_secret(p, "revoke");
    if !secret && !p.target().mentions("revoke", "client.id") {
        return Err(Stop::not_applicable("its revocation names no client"));
    }
    let mut token = Some(p.fresh_refresh()?);
    let nobody = |vars: Vars| vars.without("client.secret").without("client.id");
    stranger(p, &mut token, "no-client", "without its client", nobody)?;
    if !secret {
        // An id proves nothing: whoever has the token may well know it.
        p.parts_at_most(Level::Should, |part| part == "no-client");
    }
    match impostor(p).filter(|_| secret) {
        Some(impostor) => {
            stranger(p, &mut token, "wrong-secret", "with a wrong client secret", |vars| vars.client(&impostor))?;
        }
        None => {
            let why = "its client has no secret, or its requests carry none".to_owned();
            p.skip("wrong-secret", SkipReason::NotApplicable(why));
        }
    }
    match p.target().second_client().cloned() {
        Some(other) => {
            stranger(p, &mut token, "other-client", "with another client's credentials", |v| v.client(&other))
        }
        None => {
            p.skip("other-client", SkipReason::Needs(Need::SecondClient.name().into()));
            Ok(())
        }
    }
}

/// A revocation by somebody whom the token does not belong to, and whether the token lives on. `token`: one that is alive,
/// where there is one; what is left of it afterwards.
fn stranger(
    p: &mut Probe<'_>,
    token: &mut Option<String>,
    variant: &str,
    who: &str,
    as_who: impl Fn(Vars) -> Vars,
) -> Result<(), Stop> {
    let own = match token.take() {
        Some(token) => token,
        None => p.fresh_refresh()?,
    };
    p.offer(variant, &own)?;
    let vars = as_who(p.vars_with(own.as_str()));
    let mut answer = p.call("revoke", &vars)?;
    answer.token = Some(own.clone());
    if answer.accepted() {
        bound(p)?;
    }
    let after = p.refresh(&own)?;
    if after.accepted() {
        let next = p.brought(&after).and_then(|issued| issued.refresh);
        *token = Some(next.unwrap_or(own));
        lives(p, variant, who, &answer);
        return Ok(());
    }
    let again = p.fresh_refresh()?;
    let control = p.refresh(&again)?;
    if !control.accepted() {
        p.skip(variant, SkipReason::BlockedBy("refresh-basic".into()));
        return Ok(());
    }
    *token = Some(p.brought(&control).and_then(|issued| issued.refresh).unwrap_or(again));
    let text = format!("a refresh token is dead after a revocation {who}, which was {}", answer.describe());
    p.fail_told(Some(variant), "revoked", "the token to live on", text, &answer);
    Ok(())
}

/// The token lives: was its stranger told so?
fn lives(p: &mut Probe<'_>, variant: &str, who: &str, answer: &Answer) {
    let other = variant == "other-client";
    let code = error_of(answer);
    let unproven = code.as_ref().and_then(Value::as_str) == Some("invalid_client");
    // A request without room for a secret cannot prove a client that has one: that may be told first.
    let provable = p.target().mentions("revoke", "client.secret")
        || p.target().second_client().is_some_and(|client| client.secret.is_none());
    if other && unproven && provable {
        let text = "the second client itself is refused (`invalid_client`), so nothing was learnt; \
                    hint: look at `second_client` in the profile";
        p.inconclusive(Some(variant), "controls-refused", text);
    } else if unclean(answer) {
        p.fail_seen(Some(variant), &answer.finding(), &format!("an orderly answer to a revocation {who}"), answer);
        p.at_most(Level::Should);
    } else if answer.accepted() && !other {
        let text =
            format!("a revocation {who} is {}, and the token lives on: its caller is deceived", answer.describe());
        p.fail_told(Some(variant), "accepted, lives", "a refusal", text, answer);
        p.at_most(Level::Should);
    } else {
        // Another client's token may be as unknown to it as any: that is no error (RFC 7009 section 2.2).
        p.pass(Some(variant), "lives", format!("a token lives on after a revocation {who}: {}", answer.describe()));
    }
}

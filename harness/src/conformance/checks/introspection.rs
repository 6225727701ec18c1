//! Does introspection say what RFC 7662 has it say: of good tokens all of it true, of others nothing, and of each its kind?

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};
use crate::target::{Issued, TokenPlace, TokenUse};

use super::issue::{query_of, unclean};
use super::material::{foreign, genuine, sign};
use super::revoke::{bound, names_access};

/// The third part of VERIFY.
pub const CHECKS: &[Check] = &[
    Check {
        id: "verify-shape",
        group: "VERIFY",
        requirement: "introspection answers a POST in JSON, with `active` as a boolean, and tells of a token what stands in it",
        sources: &["RFC 7662 section 2.1", "RFC 7662 section 2.2", "RFC 7662 section 4", "ASVS 14.2.1"],
        levels: Levels::only_oauth(Level::Must),
        needs: &[Need::VerifyWay, Need::Issue],
        variants: &["*-active", "*-media-type", "*-times", "*-subject", "*-get"],
        isolation: Isolation::Shared,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["active-string", "plain-introspection", "introspected-ms", "name-as-sub", "get-introspection"],
        sends: "a genuine access token to introspection, by POST and in the query of a GET, and compares the answer with the token's claims where it has some",
        why: "resource servers act on what is told here: a text for `active` is true in half of all languages, and a wrong end lets a token live longer",
        remedy: "write the boolean, copy `exp`, `iat`, `nbf` and `sub` from the token as they stand, and route the endpoint for POST only",
        run: shape,
    },
    Check {
        id: "verify-inactive-minimal",
        group: "VERIFY",
        requirement: "of a token that is not active introspection says `{\"active\": false}`, and no more",
        sources: &["RFC 7662 section 2.2"],
        levels: Levels::only_oauth(Level::Must),
        needs: &[Need::VerifyWay, Need::Issue],
        variants: &["*-garbage", "*-tampered", "*-foreign", "*-expired", "*-revoked"],
        isolation: Isolation::User,
        cost: cost(12, 3),
        intrusive: false,
        flaws: &["inactive-leaks", "inactive-refused"],
        sends: "what is no token, a genuine token with one changed bit, one that another key signed, one that has ended and one that was revoked to introspection",
        why: "why a token is dead, and whose it was, is worth something to whoever tries stolen ones; and callers that look at `active` do not expect an error",
        remedy: "answer 200 with the one member, whatever is wrong with the token",
        run: inactive_minimal,
    },
    Check {
        id: "verify-type",
        group: "VERIFY",
        requirement: "introspection does not pass a refresh token or an ID token off as an access token",
        sources: &["RFC 7662 section 2.2", "RFC 8725 section 3.12", "CVE-2026-41164"],
        levels: Levels::only_oauth(Level::Should),
        needs: &[Need::VerifyWay, Need::Issue],
        variants: &["*-refresh", "*-id-token"],
        isolation: Isolation::Shared,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["type-blind"],
        sends: "the refresh token and the ID token of a login to introspection",
        why: "a resource server that asks here lets in whoever holds a token that is active and a bearer token, of whatever kind",
        remedy: "look at the token's kind: give `token_type` for access tokens alone, and call every other kind inactive unless its caller may know of it",
        run: kinds,
    },
];

type Told = Map<String, Value>;

/// The members of an answer in JSON.
fn told(answer: &Answer) -> Option<Told> {
    answer.reply.as_ref()?.json()?.as_object().cloned()
}

/// The ways that are introspection, each with its answer to a genuine access token: by the profile, or because the answer
/// says whether the token is active.
fn introspections(p: &mut Probe<'_>, access: &str) -> Result<Vec<(Way, Answer)>, Stop> {
    let mut found = Vec::new();
    for way in p.ways() {
        if p.target().token_place(&way.operation) != Some(TokenPlace::Body) {
            continue;
        }
        let said = p.target().operation(&way.operation).ok().and_then(|operation| operation.accepted.as_ref());
        let by_profile = said.is_some_and(|accepted| accepted.json.contains_key("/active"));
        let answer = p.present(&way, access)?;
        if by_profile || told(&answer).is_some_and(|told| told.contains_key("active")) {
            found.push((way, answer));
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(Stop::not_applicable("no verify way is introspection: none says whether a token is `active`")),
    }
}

/// As [`introspections`], without those that call the genuine token inactive, of which nothing is learnt.
fn knowing(p: &mut Probe<'_>, access: &str) -> Result<Vec<(Way, Answer)>, Stop> {
    let (knowing, mute): (Vec<_>, Vec<_>) =
        introspections(p, access)?.into_iter().partition(|(_, answer)| answer.accepted());
    for (way, answer) in mute {
        mute_way(p, &way.name, &way, &answer);
    }
    Ok(knowing)
}

/// A way of which nothing is learnt: it does not take the genuine token, or has never taken one.
fn mute_way(p: &mut Probe<'_>, part: &str, way: &Way, answer: &Answer) {
    if way.accepts_genuine {
        let text = format!("`{}`: a genuine access token is {}", way.name, answer.describe());
        p.inconclusive(Some(part), "controls-refused", text);
    } else {
        // A server may introspect no self-contained tokens, or tell this client nothing of them.
        p.skip(part, SkipReason::Needs("introspection that knows a genuine access token to be active".into()));
    }
}

fn access_of(issued: &Issued) -> Result<String, Stop> {
    issued.access.clone().ok_or_else(|| Stop::blocked_by("issue-basic"))
}

fn shape(p: &mut Probe<'_>) -> Result<(), Stop> {
    let access = access_of(&p.pooled()?)?;
    let claims = decode(&access).map(|(_, claims)| claims);
    for (way, answer) in introspections(p, &access)? {
        let part = |what: &str| format!("{}-{what}", way.name);
        for what in ["active", "media-type", "times", "subject", "get"] {
            p.offer(&part(what), &access)?;
        }
        let told = told(&answer).unwrap_or_default();
        match told.get("active") {
            Some(Value::Bool(true)) => p.pass(Some(&part("active")), "true", "a genuine token is `active: true`"),
            Some(Value::Bool(false)) => {
                mute_way(p, &part("active"), &way, &answer);
                continue;
            }
            Some(other) => {
                let text = format!("expected `active` as a boolean, saw {other}");
                p.fail_told(Some(&part("active")), "no-boolean", "`active: true`", text, &answer);
            }
            None if (200..300).contains(&answer.status()) => {
                let text = "the answer to a genuine token has no member `active`";
                p.fail_told(Some(&part("active")), "missing", "`active: true`", text, &answer);
                continue;
            }
            None => {
                mute_way(p, &part("active"), &way, &answer);
                continue;
            }
        }
        media_type(p, &part("media-type"), &answer);
        times(p, &part("times"), &told, claims.as_ref(), &answer);
        subject(p, &part("subject"), &told, claims.as_ref(), &answer);
        by_get(p, &part("get"), &way, &access)?;
    }
    Ok(())
}

fn media_type(p: &mut Probe<'_>, part: &str, answer: &Answer) {
    let said = answer.reply.as_ref().and_then(|reply| reply.header("content-type")).unwrap_or_default().to_owned();
    let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "application/json" {
        p.pass(Some(part), "json", "the answer is `application/json`");
    } else {
        let text = format!("expected the media type application/json, saw `{said}`");
        p.fail_told(Some(part), "other-type", "application/json", text, answer);
        p.at_most(Level::Should);
    }
}

/// The times that are told are numbers, and those of the token where it can be read.
fn times(p: &mut Probe<'_>, part: &str, told: &Told, claims: Option<&Told>, answer: &Answer) {
    let mut seen = 0;
    for name in ["exp", "iat", "nbf"] {
        let Some(value) = told.get(name).filter(|value| !value.is_null()) else { continue };
        seen += 1;
        let Some(time) = value.as_f64() else {
            let text = format!("expected `{name}` as a number of seconds, saw {value}");
            p.fail_told(Some(part), "no-number", "a time as in the token", text, answer);
            return;
        };
        let own = claims.and_then(|claims| claims.get(name)?.as_f64());
        if let Some(own) = own.filter(|own| (own - time).abs() >= 1.0) {
            let text = format!("`{name}` of the token is {own}, and introspection says {time}");
            p.fail_told(Some(part), "another", "a time as in the token", text, answer);
            // Who is told an earlier end lets nobody in for longer.
            if name != "exp" || time < own {
                p.at_most(Level::Should);
            }
            return;
        }
    }
    match (seen, claims) {
        (0, _) => p.skip(part, SkipReason::NotApplicable("introspection tells no times".into())),
        (_, None) => p.pass(Some(part), "numbers", "the times that are told are numbers"),
        (_, Some(_)) => p.pass(Some(part), "same", "the times that are told are those of the token"),
    }
}

fn subject(p: &mut Probe<'_>, part: &str, told: &Told, claims: Option<&Told>, answer: &Answer) {
    let Some(own) = claims.and_then(|claims| claims.get("sub")) else {
        p.skip(part, SkipReason::NotApplicable("the token cannot be read, or has no `sub`".into()));
        return;
    };
    match told.get("sub").filter(|value| !value.is_null()) {
        None => p.skip(part, SkipReason::NotApplicable("introspection tells no subject".into())),
        Some(said) if said == own => p.pass(Some(part), "same", "the subject that is told is the token's"),
        Some(_) => {
            let text = "the subject that introspection tells is not the token's `sub`";
            p.fail_told(Some(part), "another", "the token's `sub`", text, answer);
            // A server may have a name of the user for each of those who ask.
            p.at_most(Level::Should);
        }
    }
}

/// RFC 7662 section 4 leaves it to the server whether it answers a GET; what stands in a query stands in logs.
fn by_get(p: &mut Probe<'_>, part: &str, way: &Way, access: &str) -> Result<(), Stop> {
    let genuine = p.target().request(&way.operation, &p.vars_with(access)).map_err(Stop::unsendable)?;
    let Some(query) = query_of(genuine.body()) else {
        p.skip(part, SkipReason::NotApplicable("its request has no fields".into()));
        return Ok(());
    };
    let path = genuine.uri().path_and_query().map_or("/", |path| path.as_str());
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut request = http::Request::get(format!("{path}{joint}{query}"));
    for (name, value) in genuine.headers().iter().filter(|(name, _)| *name != http::header::CONTENT_TYPE) {
        request = request.header(name, value);
    }
    let request = request.body(Bytes::new()).map_err(Stop::unsendable)?;
    let answer = p.send(&way.operation, request, Some(access.to_owned()))?;
    if answer.accepted() || unclean(&answer) {
        p.fail_seen(Some(part), &answer.finding(), "a token in the query of a GET refused", &answer);
        p.at_most(Level::Should);
    } else {
        p.pass(Some(part), &answer.finding(), format!("a token in the query of a GET is {}", answer.describe()));
    }
    Ok(())
}

fn inactive_minimal(p: &mut Probe<'_>) -> Result<(), Stop> {
    let access = access_of(&p.pooled()?)?;
    let jwt = decode(&access).is_some();
    let tampered = match jwt {
        true => crate::jose::forge::flip_bit(&access, 2, 9),
        false => access.chars().rev().collect(),
    };
    let mut dead = vec![("garbage", "assay-no-token".to_owned()), ("tampered", tampered)];
    if jwt
        && let Ok(genuine) = genuine(p)
        && let Some(algorithm) = genuine.algorithm
    {
        dead.push(("foreign", sign(genuine.forge, &foreign(algorithm)?, algorithm)?));
    }
    let ways = knowing(p, &access)?;
    for (way, _) in &ways {
        let part = |what: &str| format!("{}-{what}", way.name);
        let mut seen = Vec::new();
        for (what, token) in &dead {
            p.offer(&part(what), token)?;
            seen.push((*what, p.present(way, token)?));
        }
        if p.has(Need::SigningKey) && jwt && p.resigned_accepted(way)? {
            let ended = p.forger()?.ending(clock::unix().floor() as i64 - 3_600)?;
            p.offer(&part("expired"), &ended)?;
            seen.push(("expired", p.present(way, &ended)?));
        } else {
            p.skip(&part("expired"), SkipReason::Needs(Need::SigningKey.name().into()));
        }
        // Whoever asks often with bad tokens may be shut out, and what it is told then is another matter.
        if !p.present(way, &access)?.accepted() {
            let text = format!("`{}` refuses the genuine token too, so nothing was learnt", way.name);
            p.inconclusive(Some(&way.name), "controls-refused", text);
            continue;
        }
        for (what, answer) in seen {
            minimal(p, &part(what), &answer);
        }
    }
    // Last: a login of its own may end the session before it.
    for (way, _) in &ways {
        revoked(p, &format!("{}-revoked", way.name), way)?;
    }
    Ok(())
}

/// Judges what is said of a token that is not active.
fn minimal(p: &mut Probe<'_>, part: &str, answer: &Answer) {
    let expected = "200 with `{\"active\": false}` and nothing else";
    let told = told(answer).unwrap_or_default();
    let more: Vec<&str> = told
        .iter()
        .filter(|(name, value)| *name != "active" && !value.is_null())
        .map(|(name, _)| name.as_str())
        .collect();
    if unclean(answer) {
        p.fail_seen(Some(part), &answer.finding(), expected, answer);
        p.at_most(Level::Should);
    } else if told.get("active") != Some(&Value::Bool(false)) || answer.status() != 200 {
        let finding = match told.get("active") {
            Some(Value::Bool(true)) => "active".to_owned(),
            _ => format!("other {}", answer.status()),
        };
        p.fail_seen(Some(part), &finding, expected, answer);
    } else if more.is_empty() {
        p.pass(Some(part), "minimal", "a token that is not active is called so, and nothing else is told");
    } else {
        let text = format!("of a token that is not active introspection tells besides: {}", more.join(", "));
        p.fail_told(Some(part), "tells-more", expected, text, answer);
        p.at_most(Level::Should);
    }
}

/// A token that introspection knew to be active, revoked.
fn revoked(p: &mut Probe<'_>, part: &str, way: &Way) -> Result<(), Stop> {
    if !p.has(Need::Revoke) || p.target().is_command("revoke") {
        p.skip(part, SkipReason::Needs(Need::Revoke.name().into()));
        return Ok(());
    }
    let issued = p.login()?;
    // What is revoked has to be what is asked about: a self-contained access token may outlive its session.
    let refresh = issued.refresh.filter(|_| way.takes_refresh && p.target().revocable().contains(&TokenUse::Refresh));
    let Some(token) = issued.access.filter(|_| names_access(p)).or(refresh) else {
        let why = "no kind of token is both revoked by itself and introspected (`accepts` of both)";
        p.skip(part, SkipReason::NotApplicable(why.to_owned()));
        return Ok(());
    };
    if !p.present(way, &token)?.accepted() {
        p.inconclusive(Some(part), "controls-refused", "a token that is not revoked yet is called inactive");
        return Ok(());
    }
    if !p.call_with_token("revoke", &token)?.accepted() {
        p.skip(part, SkipReason::BlockedBy("revoke-effective".into()));
        return Ok(());
    }
    bound(p)?;
    p.offer(part, &token)?;
    let answer = p.present(way, &token)?;
    if answer.accepted() {
        // That it lives on is another check's word.
        p.skip(part, SkipReason::BlockedBy("revoke-effective".into()));
    } else {
        minimal(p, part, &answer);
    }
    Ok(())
}

fn kinds(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let access = access_of(&issued)?;
    let id = issued.other.get("id_token").and_then(Value::as_str).map(str::to_owned);
    for (way, _) in knowing(p, &access)? {
        let part = |what: &str| format!("{}-{what}", way.name);
        match &issued.refresh {
            Some(refresh) => {
                p.offer(&part("refresh"), refresh)?;
                let answer = p.present(&way, refresh)?;
                of_refresh(p, &part("refresh"), &answer);
            }
            None => p.skip(&part("refresh"), SkipReason::NotApplicable("a login brings no refresh token".into())),
        }
        let on_purpose = p.target().accepts(&way.operation).contains(&TokenUse::Id);
        match id.as_ref().filter(|_| !on_purpose) {
            Some(id) => {
                p.offer(&part("id-token"), id)?;
                let answer = p.present(&way, id)?;
                match told(&answer).unwrap_or_default().get("active") {
                    Some(Value::Bool(true)) => {
                        let text = "an ID token is called active";
                        p.fail_told(Some(&part("id-token")), "active", "an ID token called inactive", text, &answer);
                    }
                    _ => p.judge_refusal(Some(&part("id-token")), "an ID token called inactive", &answer),
                }
            }
            None => {
                let why = "a login brings no ID token, or this way takes them on purpose".to_owned();
                p.skip(&part("id-token"), SkipReason::NotApplicable(why));
            }
        }
    }
    Ok(())
}

/// A refresh token may be active; it is no bearer token.
fn of_refresh(p: &mut Probe<'_>, part: &str, answer: &Answer) {
    let told = told(answer).unwrap_or_default();
    if told.get("active") != Some(&Value::Bool(true)) {
        p.judge_refusal(Some(part), "a refresh token called inactive, or told apart", answer);
        return;
    }
    let kind = told.get("token_type").and_then(Value::as_str).unwrap_or_default();
    // The types of access tokens (RFC 6750, RFC 9449, RFC 6749 section 7.1).
    if ["bearer", "dpop", "mac"].iter().any(|access| kind.eq_ignore_ascii_case(access)) {
        let text = format!("a refresh token is told to be active and of the type {kind}, as an access token is");
        p.fail_told(
            Some(part),
            "as-access",
            "a refresh token inactive, or without an access token's type",
            text,
            answer,
        );
    } else {
        p.pass(Some(part), "told-apart", "a refresh token is not told to be a bearer token");
    }
}

//! Does the protected resource speak the Bearer scheme?

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};

use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::Level;
use crate::target::{Case, TokenPlace};

use super::issue::unclean;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "bearer-missing",
        group: "BEARER",
        requirement: "a request without credentials is answered 401 with a Bearer challenge that has a parameter and no error code",
        sources: &["RFC 6750 section 3", "RFC 9110 section 15.5.2"],
        levels: Levels::MUST,
        needs: &[Need::Resource],
        variants: &["status", "challenge", "no-error"],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["error-unasked", "forbidden-403", "no-challenge"],
        sends: "the request of the protected resource with the Authorization header left out",
        why: "callers learn from 401 and the challenge that they must log in; a 403 tells them that logging in would not help",
        remedy: "answer 401 with `WWW-Authenticate: Bearer realm=\"...\"` where no token was sent",
        run: missing,
    },
    Check {
        id: "bearer-error-code",
        group: "BEARER",
        requirement: "a bad token is answered with `error=\"invalid_token\"` in the challenge, a malformed header with 400 or 401",
        sources: &["RFC 6750 section 3.1"],
        levels: Levels::SHOULD,
        needs: &[Need::Resource],
        variants: &["invalid-token", "malformed"],
        isolation: Isolation::Shared,
        cost: cost(2, 1),
        intrusive: false,
        flaws: &["bare-challenge"],
        sends: "a token with one changed signature byte, and an Authorization header with two values",
        why: "without the code a caller cannot tell a token that has to be refreshed from a missing one",
        remedy: "add `error=\"invalid_token\"` to the challenge whenever a token was sent and refused",
        run: error_code,
    },
    Check {
        id: "bearer-scheme-case",
        group: "BEARER",
        requirement: "the scheme's name is compared without regard to case",
        sources: &["RFC 9110 section 11.1", "jazzband/djangorestframework-simplejwt#908"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue],
        variants: &["bearer", "BEARER", "bEaReR"],
        isolation: Isolation::Shared,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["exact-case"],
        sends: "a genuine token behind `bearer`, `BEARER` and `bEaReR`",
        why: "callers and proxies write the scheme in lower case; a server that compares the letters locks them out",
        remedy: "compare the scheme case-insensitively before taking the token",
        run: scheme_case,
    },
    Check {
        id: "bearer-grammar",
        group: "BEARER",
        requirement: "malformed Authorization headers are refused with 400 or 401, never accepted, never a server error",
        sources: &["RFC 6750 section 2.1", "encode/django-rest-framework#2928"],
        levels: Levels::SHOULD,
        needs: &[Need::Resource, Need::Issue],
        variants: &[
            "no-token",
            "two-tokens",
            "comma-list",
            "wrong-scheme",
            "basic",
            "no-scheme",
            "high-bytes",
            "empty",
        ],
        isolation: Isolation::Shared,
        cost: cost(18, 1),
        intrusive: false,
        flaws: &["crash-header"],
        sends: "the scheme alone, two tokens, a list, `JWT` and `Basic` schemes, the bare token, and bytes above 0x7f",
        why: "the header is the first thing an attacker writes; what crashes there crashes for everybody",
        remedy: "parse the header by the grammar `Bearer` 1*SP b64token, and refuse everything else with 401",
        run: grammar,
    },
    Check {
        id: "bearer-query",
        group: "BEARER",
        requirement: "a token in the query string is not accepted",
        sources: &[
            "RFC 9700 section 4.3.2",
            "ASVS 14.2.1",
            "CVE-2026-44883",
            "RFC 6750 section 2.3",
            "draft-ietf-oauth-v2-1 section 5.1",
        ],
        levels: Levels::SHOULD,
        needs: &[Need::Resource, Need::Issue],
        variants: &["access_token", "token", "jwt"],
        isolation: Isolation::Shared,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["query-token"],
        sends: "a genuine token as `access_token`, `token` and `jwt` in the query, without the header",
        why: "query strings are logged by servers and proxies, and sent on in Referer headers",
        remedy: "read tokens from the Authorization header only",
        run: query,
    },
    Check {
        id: "bearer-cacheable",
        group: "BEARER",
        requirement: "an answer to an authenticated request is not cacheable for others: private, no-store, or Vary: Authorization",
        sources: &["RFC 9111 section 3.5"],
        levels: Levels::SHOULD,
        needs: &[Need::Resource, Need::Issue],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["public-cache"],
        sends: "the protected resource with a genuine token, and looks at Cache-Control and Vary",
        why: "`public` or `s-maxage` lets a shared cache serve one user's answer to the next",
        remedy: "send `Cache-Control: private, no-store` (or at least no `public` and no `s-maxage`) with protected answers",
        run: cacheable,
    },
];

/// The resource, where it takes the token as a Bearer header, and refuses who has none.
fn guarded_way(p: &Probe<'_>) -> Result<Way, Stop> {
    p.guarded()?;
    bearer_way(p)
}

/// The resource, where it takes the token as a Bearer header.
fn bearer_way(p: &Probe<'_>) -> Result<Way, Stop> {
    let way = p.resource()?;
    match p.target().token_place(&way.operation) {
        Some(TokenPlace::Bearer) => Ok(way),
        _ => Err(Stop::not_applicable("the resource does not take its token from an Authorization: Bearer header")),
    }
}

fn missing(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let vars = p.vars();
    let answer = p.call(&way.operation, &vars)?;
    if unclean(&answer) || answer.accepted() {
        p.judge_refusal(Some("status"), "401 for a request without credentials", &answer);
        return Ok(());
    }
    let finding = answer.status().to_string();
    if answer.status() == 401 {
        p.pass(Some("status"), &finding, "401 without credentials");
    } else {
        p.fail_seen(Some("status"), &finding, "401", &answer);
    }
    // A resource that says no in a body alone, or by a redirect, does not speak the scheme: that is advice, not a rule.
    let otherwise = p.target().statuses(&way.operation, Case::NoToken).iter().all(|status| *status < 400);
    if otherwise && answer.status() != 401 {
        p.at_most(Level::Should);
    }
    match answer.bearer_challenge() {
        None => {
            let seen = challenge_text(&answer);
            p.fail_told(
                Some("challenge"),
                "none",
                "a Bearer challenge",
                format!("expected a Bearer challenge, saw {seen}"),
                &answer,
            );
            if otherwise {
                p.at_most(Level::Should);
            }
        }
        Some(params) if params.is_empty() => {
            p.fail_told(
                Some("challenge"),
                "bare",
                "a Bearer challenge with a parameter",
                "the Bearer challenge has no parameter, of which the standard demands one or more",
                &answer,
            );
            p.at_most(Level::Should);
        }
        Some(params) => {
            p.pass(Some("challenge"), "challenge", "a Bearer challenge with a parameter");
            if params.iter().any(|(name, _)| name == "error") {
                p.fail_told(
                    Some("no-error"),
                    "error-code",
                    "no error code without credentials",
                    "the challenge carries an error code although no token was sent",
                    &answer,
                );
                p.at_most(Level::Should);
            } else {
                p.pass(Some("no-error"), "no-error", "no error code where no token was sent");
            }
        }
    }
    Ok(())
}

fn challenge_text(answer: &Answer) -> String {
    let values = answer.reply.as_ref().map(|r| r.header_all("www-authenticate").join(", ")).unwrap_or_default();
    if values.is_empty() { "no WWW-Authenticate header".into() } else { format!("`{values}`") }
}

fn error_code(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = guarded_way(p)?;
    let bad = match p.access() {
        Ok(token) => crate::jose::forge::flip_bit(&token, 2, 9),
        Err(Stop::Skip(_)) => "assay-no-token".to_owned(),
        Err(other) => return Err(other),
    };
    p.offer("invalid-token", &bad)?;
    let answer = p.present(&way, &bad)?;
    if unclean(&answer) || answer.accepted() {
        p.judge_refusal(Some("invalid-token"), "a bad token refused", &answer);
    } else {
        let code = answer.bearer_challenge().and_then(|c| c.into_iter().find(|(n, _)| n == "error")).map(|(_, v)| v);
        match code.as_deref() {
            Some("invalid_token") => p.pass(Some("invalid-token"), "invalid_token", "the challenge says invalid_token"),
            other => {
                let seen = other.map_or_else(|| challenge_text(&answer), |c| format!("`error={c}`"));
                let summary = format!("expected `error=\"invalid_token\"` in the challenge, saw {seen}");
                p.fail_told(Some("invalid-token"), "no-code", "`error=\"invalid_token\"`", summary, &answer);
            }
        }
    }
    let answer = with_authorization(p, &way, b"Bearer one two")?;
    match answer.status() {
        400 | 401 => p.pass(Some("malformed"), "400-or-401", "a malformed header is refused with 400 or 401"),
        _ if unclean(&answer) || answer.accepted() => {
            p.judge_refusal(Some("malformed"), "a malformed header refused", &answer)
        }
        status => p.fail_seen(Some("malformed"), &status.to_string(), "400 or 401", &answer),
    }
    Ok(())
}

/// The resource's request with any Authorization header.
pub(super) fn with_authorization(p: &mut Probe<'_>, way: &Way, value: &[u8]) -> Result<Answer, Stop> {
    let vars = p.vars();
    let mut request = p.target().request(&way.operation, &vars).map_err(Stop::unsendable)?;
    let value = HeaderValue::from_bytes(value).map_err(Stop::unsendable)?;
    request.headers_mut().insert(AUTHORIZATION, value);
    p.send(&way.operation, request, None)
}

fn scheme_case(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = guarded_way(p)?;
    let token = p.access()?;
    if !p.present(&way, &token)?.accepted() {
        return Err(Stop::Inconclusive("the resource refuses a genuine token behind `Bearer`".into()));
    }
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        p.offer(scheme, &token)?;
        let mut answer = with_authorization(p, &way, format!("{scheme} {token}").as_bytes())?;
        // One answer that was lost is not yet a scheme refused.
        if unclean(&answer) {
            answer = with_authorization(p, &way, format!("{scheme} {token}").as_bytes())?;
        }
        answer.token = Some(token.clone());
        if answer.accepted() {
            p.pass(Some(scheme), "accepted", format!("`{scheme}` is accepted"));
        } else if !p.present(&way, &token)?.accepted() {
            p.inconclusive(
                Some(scheme),
                "controls-refused",
                "a genuine token behind `Bearer` is not accepted any more",
            );
        } else {
            p.fail_seen(
                Some(scheme),
                &answer.finding(),
                &format!("a genuine token behind `{scheme}` accepted"),
                &answer,
            );
        }
    }
    Ok(())
}

fn grammar(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = guarded_way(p)?;
    let token = p.access()?;
    let header = |text: &str| text.as_bytes().to_vec();
    let mut high = b"Bearer ".to_vec();
    high.extend_from_slice(&[0xff, 0xfe, 0x80]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no-token", header("Bearer")),
        ("two-tokens", header(&format!("Bearer {token} {token}"))),
        ("comma-list", header(&format!("Bearer {token}, Bearer {token}"))),
        ("wrong-scheme", header(&format!("JWTX {token}"))),
        ("basic", header("Basic !!!not-base64!!!")),
        ("no-scheme", header(&token)),
        ("high-bytes", high),
        ("empty", header("")),
    ];
    for (variant, value) in cases {
        let mut answer = with_authorization(p, &way, &value)?;
        answer.token = String::from_utf8_lossy(&value).contains(&token).then(|| token.clone());
        if !p.present(&way, &token)?.accepted() {
            p.inconclusive(Some(variant), "controls-refused", "a genuine token beside it was refused");
            continue;
        }
        p.judge_refusal(Some(variant), "a malformed header refused", &answer);
    }
    Ok(())
}

fn query(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = guarded_way(p)?;
    let token = p.access()?;
    if !p.present(&way, &token)?.accepted() {
        return Err(Stop::Inconclusive("the resource refuses a genuine token behind `Bearer`".into()));
    }
    let vars = p.vars();
    let nobody = p.call(&way.operation, &vars)?;
    for name in ["access_token", "token", "jwt"] {
        p.offer(name, &token)?;
        let vars = p.vars();
        let plain = p.target().request(&way.operation, &vars).map_err(Stop::unsendable)?;
        let path = plain.uri().path_and_query().map_or("/", |x| x.as_str()).to_owned();
        let joint = if path.contains('?') { '&' } else { '?' };
        let (mut parts, _) = plain.into_parts();
        parts.uri =
            format!("{path}{joint}{name}={}", super::issue::percent(&token)).parse().map_err(Stop::unsendable)?;
        let answer = p.send(&way.operation, http::Request::from_parts(parts, Bytes::new()), Some(token.clone()))?;
        if as_nobody(p, &answer, &nobody) {
            p.pass(Some(name), "as-nobody", "answered as it is without any token");
        } else {
            p.judge_refusal(Some(name), "a token in the query refused", &answer);
        }
    }
    Ok(())
}

/// Whether a request was answered with the page that a caller without a token is shown, where there is one.
fn as_nobody(p: &Probe<'_>, answer: &Answer, nobody: &Answer) -> bool {
    let caller = |answer: &Answer| answer.reply.as_ref().and_then(|reply| p.target().identity(reply));
    let page = |answer: &Answer| !answer.accepted() && matches!(answer.status(), 200..300 | 304);
    page(answer) && page(nobody) && answer.status() == nobody.status() && caller(answer) == caller(nobody)
}

fn cacheable(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.guarded()?;
    let token = p.access()?;
    let answer = p.present(&way, &token)?;
    let Some(reply) = answer.reply.as_ref().filter(|_| answer.accepted()) else {
        return Err(Stop::Inconclusive("the resource refuses a genuine token".into()));
    };
    let list = |name: &str| reply.header_all(name).join(",").to_ascii_lowercase();
    let (cache, vary) = (list("cache-control"), list("vary"));
    let carrier = match p.target().token_place(&way.operation) {
        Some(TokenPlace::Cookie) => "cookie",
        _ => "authorization",
    };
    let has = |name: &str| cache.split(',').any(|d| d.split('=').next().is_some_and(|n| n.trim() == name));
    let open = has("public") || has("s-maxage") || has("must-revalidate") && has("max-age");
    let closed = has("private") || has("no-store") || vary.split(',').any(|v| [carrier, "*"].contains(&v.trim()));
    if open && !closed {
        let summary =
            format!("`Cache-Control: {cache}` without `Vary: Authorization` lets a shared cache serve it to others");
        p.fail_told(None, "shared-cacheable", "private, no-store or Vary: Authorization", summary, &answer);
    } else {
        p.pass(None, "not-shared", "no shared cache may serve it to another user");
    }
    Ok(())
}

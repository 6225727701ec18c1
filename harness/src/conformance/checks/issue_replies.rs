//! Do tokens come only where they are asked for in a body, in answers that nobody keeps?

use bytes::Bytes;
use serde_json::Value;

use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::Issued;

use super::issue::{brings_token, percent, query_of};
use super::revoke::revocable;

/// The family's second part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "issue-no-store",
        group: "ISSUE",
        requirement: "every answer that carries a token says `Cache-Control: no-store`",
        sources: &[
            "RFC 6749 section 5.1",
            "OpenID Connect Core section 3.1.3.3",
            "ASVS 14.3.2",
            "pixelfed/pixelfed#6553",
        ],
        levels: Levels::issuing(Level::Must).simple(Level::Should),
        needs: &[Need::Issue],
        variants: &["issue", "refresh", "verify.*", "revoke"],
        isolation: Isolation::User,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["cacheable-token", "echo-token"],
        sends: "a login and a refresh, and looks at the headers of both answers; then shows the tokens to every verify way and to the revocation, and looks at those of any answer that repeats one",
        why: "a shared cache or a browser's disk cache that keeps the answer hands the token to the next reader",
        remedy: "send `Cache-Control: no-store` with every answer of the token endpoints, errors included",
        run: no_store,
    },
    Check {
        id: "issue-post-only",
        group: "ISSUE",
        requirement: "credentials in a query string bring no token, whatever the method",
        sources: &["RFC 6749 section 3.2", "ASVS 14.2.1", "ASVS 3.5.3"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue],
        variants: &["get", "head", "post-query"],
        isolation: Isolation::Shared,
        cost: cost(3, 1),
        intrusive: false,
        flaws: &["get-login", "login-redirect"],
        sends: "the fields of a good login in the query, by GET, by HEAD, and by POST with an empty body; no token may come, and no redirect that carries the password on",
        why: "query strings end up in access logs, browser histories and Referer headers, passwords included",
        remedy: "route the token endpoint for POST only, and read the fields from the body only",
        run: post_only,
    },
];

fn no_store(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (mut refresh, access);
    if p.target().is_command("issue") {
        let why = "the login is a command of the profile, whose headers nobody sees";
        p.skip("issue", SkipReason::NotApplicable(why.into()));
        let issued = p.login()?;
        (refresh, access) = (issued.refresh, issued.access);
    } else {
        let vars = p.vars();
        let answer = p.call("issue", &vars)?;
        let Some(reply) = answer.reply.as_ref().filter(|_| answer.accepted()) else {
            return Err(Stop::blocked_by("issue-basic"));
        };
        let issued = p.target().tokens(reply, "issue").ok();
        (refresh, access) = issued.map_or((None, None), |i| (i.refresh, i.access));
        judge_no_store(p, "issue", &answer);
    }
    if let Some(token) = refresh.clone().filter(|_| p.has(Need::Refresh) && !p.target().is_command("refresh")) {
        let answer = p.refresh(&token)?;
        if !answer.accepted() {
            p.skip("refresh", SkipReason::BlockedBy("refresh-basic".into()));
            return Ok(());
        }
        let next = answer.reply.as_ref().and_then(|r| p.target().tokens(r, "refresh").ok()).and_then(|i| i.refresh);
        refresh = next.or(refresh);
        judge_no_store(p, "refresh", &answer);
    }
    repeated(p, access, refresh)
}

/// Answers that repeat the token that they were asked about carry one as well.
fn repeated(p: &mut Probe<'_>, access: Option<String>, refresh: Option<String>) -> Result<(), Stop> {
    let mut seen = Vec::new();
    for way in p.ways() {
        let shown = access.as_ref().into_iter().chain(refresh.as_ref().filter(|_| way.takes_refresh));
        for token in shown {
            seen.push((way.operation.clone(), token.clone(), p.present_value(&way, &Value::from(token.as_str()))?));
        }
    }
    if p.has(Need::Revoke)
        && let Some(token) = revocable(p, &Issued { access, refresh, ..Issued::default() })
    {
        match p.call_with_token("revoke", &token) {
            Ok(answer) => seen.push(("revoke".to_owned(), token, Some(answer))),
            Err(Stop::Inconclusive(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    let mut told = Vec::new();
    for (operation, token, answer) in seen {
        let Some(answer) = answer else { continue };
        let repeats = answer.reply.as_ref().is_some_and(|reply| reply.text().contains(&token));
        if repeats && !told.contains(&operation) {
            judge_no_store(p, &operation, &answer);
            told.push(operation);
        }
    }
    Ok(())
}

fn judge_no_store(p: &mut Probe<'_>, variant: &str, answer: &Answer) {
    let values: Vec<String> = answer
        .reply
        .iter()
        .flat_map(|r| r.header_all("cache-control").into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let there = values
        .iter()
        .flat_map(|v| v.split(','))
        .any(|d| d.split('=').next().is_some_and(|n| n.trim().eq_ignore_ascii_case("no-store")));
    if there {
        p.pass(Some(variant), "no-store", "the answer may not be stored");
    } else {
        let seen = if values.is_empty() { "no Cache-Control".to_owned() } else { format!("`{}`", values.join(", ")) };
        let summary = format!("expected `no-store`, saw {seen}");
        p.fail_told(Some(variant), "storable", "`Cache-Control: no-store`", summary, answer);
    }
}

fn post_only(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let vars = p.vars();
    let genuine = p.target().request("issue", &vars).map_err(Stop::unsendable)?;
    let query = query_of(genuine.body()).ok_or_else(|| Stop::not_applicable("a login has no fields"))?;
    let password = p.target().user().ok().flatten().map(|user| user.password).filter(|password| password.len() > 3);
    let secrets: Vec<String> = password.into_iter().flat_map(|password| [percent(&password), password]).collect();
    let path = genuine.uri().path().to_owned();
    for (variant, method) in [("get", "GET"), ("head", "HEAD"), ("post-query", "POST")] {
        let mut request = http::Request::builder().method(method).uri(format!("{path}?{query}"));
        for (name, value) in genuine.headers() {
            if name != http::header::CONTENT_TYPE {
                request = request.header(name, value);
            }
        }
        let request = request.body(Bytes::new()).map_err(Stop::unsendable)?;
        let answer = p.send("issue", request, None)?;
        if answer.accepted() || brings_token(p, &answer) {
            let summary = format!("credentials in the query brought a token by {method}");
            p.fail_told(Some(variant), "token", "no token", summary, &answer);
        } else if location(&answer).is_some_and(|to| secrets.iter().any(|secret| to.contains(secret))) {
            let summary = format!("a redirect ({}) carries the credentials on in its Location", answer.status());
            p.fail_told(Some(variant), "credentials-sent-on", "no redirect with the query", summary, &answer);
        } else if (400..500).contains(&answer.status()) && !NO_LOGIN_HERE.contains(&answer.status()) {
            let summary = format!("expected {}, saw {}", list(NO_LOGIN_HERE), answer.status());
            p.fail_told(
                Some(variant),
                &answer.finding(),
                "a refusal of the method or of the request",
                summary,
                &answer,
            );
            p.at_most(Level::Info);
        } else if matches!(answer.axis, Axis::Unclear(_)) && (200..300).contains(&answer.status()) {
            // A login page, which many servers show at the address that takes the login; HEAD is told without its body.
            p.pass(Some(variant), &answer.finding(), format!("no token came by {method}"));
        } else {
            p.judge_refusal(Some(variant), "no token for credentials in the query", &answer);
        }
    }
    Ok(())
}

/// How a token endpoint says that it reads no credentials from a query: not this method, nothing here, no body, not
/// logged in.
const NO_LOGIN_HERE: &[u16] = &[400, 401, 403, 404, 405, 411, 415, 422];

fn list(statuses: &[u16]) -> String {
    statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

/// Where a redirect leads.
fn location(answer: &Answer) -> Option<String> {
    answer.reply.as_ref()?.header("location").map(str::to_owned)
}

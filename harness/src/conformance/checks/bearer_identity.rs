//! Whose request is it, where two answers are possible: two headers, two places, two users on one connection?

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, IF_NONE_MATCH, RANGE};

use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::record::SkipReason;
use crate::target::{Case, TokenPlace, Vars};
use crate::wire::Reply;

use super::issue::{percent, unclean};
use super::refresh::second_vars;

/// The family's second part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "bearer-two-methods",
        group: "BEARER",
        requirement: "a request with a token in the header and another in the query is refused, or is the header's user's",
        sources: &["RFC 6750 section 2", "RFC 6750 section 3.1"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue, Need::SecondUser],
        variants: &["query"],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["second-wins"],
        sends: "the first user's token in the header and the second user's as `access_token` in the query",
        why: "a gateway that checks one token and a server that uses the other let a caller borrow a stranger's name",
        remedy: "take tokens from one place only; refuse requests that carry two (400 `invalid_request`)",
        run: two_methods,
    },
    Check {
        id: "bearer-dup-header",
        group: "BEARER",
        requirement: "of two Authorization headers none is picked, or always the first",
        sources: &["RFC 9110 section 5.3", "RFC 6750 section 3.1"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue, Need::SecondUser],
        variants: &["good-then-garbage", "two-users"],
        isolation: Isolation::User,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["last-header-wins"],
        sends: "two Authorization headers: a good one and garbage, and two users'",
        why: "proxies and servers pick different ones, so that one checks what the other does not use",
        remedy: "refuse a request with more than one Authorization header",
        run: dup_header,
    },
    Check {
        id: "bearer-cookie-mix",
        group: "BEARER",
        requirement: "a cookie with another user's token does not beat the header",
        sources: &["RFC 6750 section 2.1", "ASVS 15.3.7"],
        levels: Levels::SHOULD,
        needs: &[Need::Resource, Need::Issue, Need::SecondUser],
        variants: &["access_token", "access", "token", "jwt"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["mixed-precedence"],
        sends: "the first user's token in the header beside cookies of usual names with the second user's",
        why: "a cookie that an attacker planted would decide who the caller is",
        remedy: "let the header win, or refuse requests that carry both",
        run: cookie_mix,
    },
    Check {
        id: "bearer-method-path",
        group: "BEARER",
        requirement: "no method and no spelling of the path shows the resource to a caller without a token",
        sources: &["RFC 9110 section 9", "CWE-288", "ASVS 8.2.1"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue],
        variants: &[
            "HEAD",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "override",
            "double-slash",
            "dot",
            "semicolon",
            "encoded",
        ],
        isolation: Isolation::Shared,
        cost: cost(13, 1),
        intrusive: false,
        flaws: &["guard-exact-path", "guard-get-only"],
        sends: "the resource without a token by other methods, with X-HTTP-Method-Override, and under other spellings of its path",
        why: "a guard that is bound to one method or one spelling is walked around",
        remedy: "guard by default, in one place before routing; answer 405 to methods that are not meant",
        run: method_path,
    },
    Check {
        id: "bearer-conditional",
        group: "BEARER",
        requirement: "conditional and range requests without a good token are refused like any other",
        sources: &["RFC 9110 section 13.2.1", "RFC 9111 section 3.5"],
        levels: Levels::MUST,
        needs: &[Need::Resource],
        variants: &["nobody-if-none-match", "nobody-range", "bad-if-none-match"],
        isolation: Isolation::Shared,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["etag-before-auth", "range-before-auth"],
        sends: "the resource with If-None-Match and with Range, without a token and with a bad one, each beside the same request without its condition",
        why: "304 and 206 before authentication tell strangers what is there, and whether it changed",
        remedy: "authenticate before the caching and range layers",
        run: conditional,
    },
    Check {
        id: "bearer-conn-bleed",
        group: "BEARER",
        requirement: "on one connection each request is its own token's user, or nobody",
        sources: &["CWE-488", "RFC 9110 section 3.3"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue, Need::SecondUser],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(600, 2),
        intrusive: false,
        flaws: &["connection-user"],
        sends: "one connection, on which two users and nobody take turns, 200 times each",
        why: "an identity that sticks to a connection belongs to whoever comes next behind the same proxy",
        remedy: "keep nothing of a request with the connection that carried it",
        run: conn_bleed,
    },
];

fn bearer_way(p: &Probe<'_>) -> Result<Way, Stop> {
    let way = p.resource()?;
    match p.target().token_place(&way.operation) {
        Some(TokenPlace::Bearer) => Ok(way),
        _ => Err(Stop::not_applicable("the resource does not take its token from an Authorization: Bearer header")),
    }
}

fn plain(p: &Probe<'_>, way: &Way) -> Result<http::Request<Bytes>, Stop> {
    p.target().request(&way.operation, &Vars::new()).map_err(Stop::unsendable)
}

fn bearer(token: &str) -> Result<HeaderValue, Stop> {
    HeaderValue::from_str(&format!("Bearer {token}")).map_err(Stop::unsendable)
}

fn identity(p: &Probe<'_>, answer: &Answer) -> Option<String> {
    answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().identity(r))
}

/// A user's token, and who the resource says it is.
type Named = (String, String);

fn two_users(p: &mut Probe<'_>, way: &Way) -> Result<(Named, Named), Stop> {
    let second = second_vars(p)?;
    let mut named = Vec::with_capacity(2);
    for vars in [p.vars(), second] {
        let token = p.login_with(&vars)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
        // A server that knows callers by their connection must not spoil what they are called.
        p.hang_up();
        let answer = p.present(way, &token)?;
        let name = identity(p, &answer).ok_or_else(|| {
            Stop::not_applicable("the resource does not say who is calling (`identity` in the profile)")
        })?;
        named.push((token, name));
    }
    match (named.pop(), named.pop()) {
        (Some(second), Some(first)) if first.1 != second.1 => Ok((first, second)),
        _ => Err(Stop::not_applicable("the resource calls both users by one name")),
    }
}

/// Refused, or the first user: anything else is the failure.
fn judge_first(p: &mut Probe<'_>, variant: &str, answer: &Answer, first: &str) {
    match identity(p, answer) {
        Some(name) if name == first => p.pass(Some(variant), "first", "the header's user"),
        Some(_) => {
            p.fail_told(Some(variant), "second", "refused, or the header's user", "the second user was let in", answer);
        }
        None if unclean(answer) => p.judge_refusal(Some(variant), "an orderly answer", answer),
        None => p.pass(Some(variant), &answer.finding(), answer.describe()),
    }
}

fn two_methods(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let ((first, name), (second, _)) = two_users(p, &way)?;
    let (mut parts, body) = plain(p, &way)?.into_parts();
    parts.uri = format!("{}?access_token={}", parts.uri.path(), percent(&second)).parse().map_err(Stop::unsendable)?;
    parts.headers.insert(AUTHORIZATION, bearer(&first)?);
    let answer = p.send(&way.operation, http::Request::from_parts(parts, body), None)?;
    judge_first(p, "query", &answer, &name);
    Ok(())
}

fn dup_header(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let ((first, name), (second, _)) = two_users(p, &way)?;
    for (variant, other) in [("good-then-garbage", "assay-no-token"), ("two-users", second.as_str())] {
        let mut request = plain(p, &way)?;
        request.headers_mut().insert(AUTHORIZATION, bearer(&first)?);
        request.headers_mut().append(AUTHORIZATION, bearer(other)?);
        let answer = p.send(&way.operation, request, None)?;
        judge_first(p, variant, &answer, &name);
    }
    Ok(())
}

fn cookie_mix(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let ((first, name), (second, _)) = two_users(p, &way)?;
    for cookie in ["access_token", "access", "token", "jwt"] {
        let mut request = plain(p, &way)?;
        request.headers_mut().insert(AUTHORIZATION, bearer(&first)?);
        let value = HeaderValue::from_str(&format!("{cookie}={second}")).map_err(Stop::unsendable)?;
        request.headers_mut().insert(COOKIE, value);
        let answer = p.send(&way.operation, request, None)?;
        judge_first(p, cookie, &answer, &name);
    }
    Ok(())
}

fn method_path(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.guarded()?;
    let token = p.access()?;
    let granted = p.present(&way, &token)?;
    let Some(granted) = granted.reply.filter(|reply| p.target().accepted(&way.operation, reply)) else {
        return Err(Stop::Inconclusive("the resource refuses a genuine token".into()));
    };
    let genuine = plain(p, &way)?;
    let (path, own) = (genuine.uri().path().to_owned(), genuine.method().clone());
    let inner = path.trim_start_matches('/');
    let mut cases: Vec<(&str, &str, String, bool)> = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
        .into_iter()
        // Its own method without a token is the subject of bearer-missing; and what HEAD brings is what GET would bring.
        .filter(|method| own != **method && (*method != "HEAD" || own == http::Method::GET))
        .map(|method| (method, method, path.clone(), false))
        .collect();
    let first = inner.chars().next().map(|c| format!("%{:02X}{}", c as u32, &inner[c.len_utf8()..]));
    cases.push(("override", "POST", path.clone(), true));
    cases.push(("double-slash", own.as_str(), format!("//{inner}"), false));
    cases.push(("dot", own.as_str(), format!("/./{inner}"), false));
    cases.push(("semicolon", own.as_str(), format!("{};x", path.trim_end_matches('/')), false));
    cases.push(("encoded", own.as_str(), format!("/{}", first.unwrap_or_default()), false));
    for (variant, method, path, overridden) in cases {
        let Ok(uri) = path.parse::<http::Uri>() else {
            p.skip(variant, SkipReason::NotApplicable("this path has no such spelling".into()));
            continue;
        };
        let mut request = plain(p, &way)?;
        *request.uri_mut() = uri;
        *request.method_mut() = method.parse().map_err(|_| Stop::Harness("no method".into()))?;
        if overridden {
            let name = HeaderName::from_static("x-http-method-override");
            request.headers_mut().insert(name, HeaderValue::from_static("GET"));
        }
        if variant == "TRACE" {
            request.headers_mut().insert(HeaderName::from_static(ECHOED), HeaderValue::from_static(ECHOED));
        }
        let answer = p.send("verify.anonymous", request, None)?;
        judge_anonymous(p, &way, variant, &answer, &granted);
    }
    Ok(())
}

/// A field of a request by TRACE: an answer that holds it repeats the request.
const ECHOED: &str = "x-assay-echo";

/// True where two bodies are the same, or JSON objects with the same members.
fn same_shape(one: &[u8], other: &[u8]) -> bool {
    let members = |body: &[u8]| match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(object)) => {
            Some(object.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>())
        }
        _ => None,
    };
    one == other || members(one).is_some_and(|one| members(other).is_some_and(|other| one == other))
}

/// What kind of content a reply says that it has.
fn kind(reply: &Reply) -> Option<String> {
    Some(reply.header("content-type")?.split(';').next()?.trim().to_ascii_lowercase())
}

/// Whether a reply shows what the resource shows to its caller. A 200 alone does not: OPTIONS says which methods there
/// are (RFC 9110 section 9.3.7), and applications answer whatever they do not know with their first page.
fn shows(reply: &Reply, granted: &Reply) -> bool {
    !reply.body.is_empty() && same_shape(&reply.body, &granted.body)
}

/// Whatever the answer is, it must not be the resource's, nor repeat the request.
fn judge_anonymous(p: &mut Probe<'_>, way: &Way, variant: &str, answer: &Answer, granted: &Reply) {
    let reply = answer.reply.as_ref();
    let shown = reply.is_some_and(|r| p.target().accepted(&way.operation, r) && shows(r, granted));
    let echoed = variant == "TRACE" && reply.is_some_and(|r| r.text().to_ascii_lowercase().contains(ECHOED));
    // HEAD has no body to judge by: its status and the kind of its content say that the guard was passed.
    let silent = p.target().statuses(&way.operation, Case::NoToken).contains(&200);
    let passed = variant == "HEAD"
        && !silent
        && reply.is_some_and(|r| {
            let same = kind(r).is_none_or(|kind_of| kind(granted).is_none_or(|granted| granted == kind_of));
            r.status == 200 && same
        });
    if shown || echoed || passed {
        let text = format!("answered {} without a token", answer.status());
        p.fail_told(Some(variant), "open", "refused without a token", text, answer);
    } else if unclean(answer) {
        p.judge_refusal(Some(variant), "an orderly answer", answer);
    } else {
        p.pass(Some(variant), "closed", format!("answered {}", answer.status()));
    }
}

fn conditional(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.guarded()?;
    let cases = [
        ("nobody-if-none-match", IF_NONE_MATCH, "*", false),
        ("nobody-range", RANGE, "bytes=0-3", false),
        ("bad-if-none-match", IF_NONE_MATCH, "*", true),
    ];
    for (variant, name, value, bad) in cases {
        let vars = if bad { p.vars_with("assay-no-token") } else { Vars::new() };
        let made = p.target().request(&way.operation, &vars);
        let mut request = made.map_err(|e| Stop::Harness(e.to_string()))?;
        let plain = p.send(&way.operation, request.clone(), None)?;
        if !plain.accepted() && matches!(plain.status(), 200..300 | 304) {
            // Whoever is shown a page may be told that it has not changed.
            let why = format!("the same request without its condition is answered {} too", plain.status());
            p.skip(variant, SkipReason::NotApplicable(why));
            continue;
        }
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        let answer = p.send(&way.operation, request, None)?;
        if matches!(answer.status(), 206 | 304) {
            p.fail_seen(Some(variant), &answer.finding(), "401", &answer);
        } else {
            p.judge_refusal(Some(variant), "refused without a good token", &answer);
        }
    }
    Ok(())
}

fn conn_bleed(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.resource()?;
    let (first, second) = two_users(p, &way)?;
    let operation = way.operation.clone();
    let seen = p.crowd(1, std::time::Duration::from_secs(5), |_, worker| {
        let mut seen = Turns::default();
        for turn in 0..600 {
            if worker.over() {
                break;
            }
            // What takes a request without a token says nothing of nobody: that is the word of bearer-missing.
            let named = [Some(&first), Some(&second), None][turn % if way.usable() { 3 } else { 2 }];
            let answer = match named {
                Some((token, _)) => worker.ask_with(&operation, token)?,
                None => worker.ask(&operation, &Vars::new())?,
            };
            let name = answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| worker.target().identity(r));
            let reused = answer.reply.as_ref().is_some_and(|reply| reply.reused);
            seen.see(named.map(|(_, name)| name.as_str()), &answer.axis, name.as_deref(), reused);
        }
        Ok(seen)
    })?;
    let Turns { asked, reused, own, wrong } = seen.into_iter().next().unwrap_or_default();
    if wrong > 0 {
        p.fail(None, "another-user", format!("{wrong} of {asked} answers on one connection were for another user"));
    } else if reused == 0 {
        return Err(Stop::not_applicable("the server ends every connection with its first answer"));
    } else if own == 0 {
        return Err(Stop::Inconclusive(
            "no genuine token was accepted on a connection that had served another caller".into(),
        ));
    } else {
        let bound = 300.0 / own as f64;
        let text = format!(
            "all {own} answers behind others on a connection were the caller's own (below {bound:.1} % with 95 % confidence)"
        );
        p.pass(None, "own", text);
    }
    Ok(())
}

/// What was seen of users who took turns on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turns {
    /// Requests.
    asked: usize,
    /// Answers behind others on their connection: what sticks to a connection shows in these alone.
    reused: usize,
    /// Those of them that were the caller's own, or nobody's where nobody asked. A user who is refused shows nothing.
    own: usize,
    /// Answers for somebody else.
    wrong: usize,
}

impl Turns {
    /// An answer: whom it should be for (nobody: no token was sent), what it was, and whom it names.
    fn see(&mut self, expected: Option<&str>, axis: &Axis, named: Option<&str>, reused: bool) {
        let accepted = *axis == Axis::Accepted;
        let (own, wrong) = match expected {
            Some(expected) => (named == Some(expected), named.is_some_and(|name| name != expected)),
            None => (*axis == Axis::Refused, accepted),
        };
        self.asked += 1;
        self.reused += usize::from(reused);
        self.own += usize::from(own && reused);
        self.wrong += usize::from(wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_other_values_is_of_the_same_shape_and_a_list_of_methods_is_not() {
        let content = br#"{"message": "hello, alice", "user": "alice"}"#;
        assert!(same_shape(br#"{"user": "", "message": "hello"}"#, content));
        assert!(same_shape(b"plain", b"plain"));
        assert!(!same_shape(b"GET,HEAD", content));
        assert!(!same_shape(br#"{"name": "Hello View", "renders": ["application/json"]}"#, content));
    }

    fn reply(kind: &str, body: &str) -> Reply {
        let headers = vec![("Content-Type".to_owned(), kind.as_bytes().to_vec())];
        Reply { status: 200, headers, body: body.as_bytes().to_vec(), ..Reply::default() }
    }

    #[test]
    fn the_first_page_of_an_application_is_not_the_resource() {
        let granted = reply("application/json", r#"{"username":"alice","id":1}"#);
        assert!(shows(&reply("application/json", r#"{"id":null,"username":""}"#), &granted));
        assert!(!shows(&reply("application/json", r#"{"detail":"who are you?"}"#), &granted));
        let page = reply("text/html; charset=utf-8", "<html>the application</html>");
        assert!(!shows(&page, &granted) && kind(&page) != kind(&granted));
        assert_eq!(kind(&reply("Application/JSON; charset=utf-8", "")), kind(&granted));
    }

    #[test]
    fn only_answers_behind_others_on_a_connection_count() {
        let refused = (Axis::Refused, None);
        let (alice, bob) = ((Axis::Accepted, Some("alice")), (Axis::Accepted, Some("bob")));
        let mut seen = Turns::default();
        for (expected, (axis, named), reused) in [
            (Some("alice"), alice.clone(), false),
            (Some("bob"), bob, true),
            (None, refused.clone(), true),
            // The token has ended: no answer of the caller's own.
            (Some("alice"), refused, true),
        ] {
            seen.see(expected, &axis, named, reused);
        }
        assert_eq!(seen, Turns { asked: 4, reused: 3, own: 2, wrong: 0 });
        seen.see(Some("bob"), &alice.0, alice.1, true);
        seen.see(None, &alice.0, alice.1, true);
        assert_eq!(seen.wrong, 2);
    }
}

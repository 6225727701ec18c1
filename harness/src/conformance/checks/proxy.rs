//! Does the proxy in front of the server change what the server says? Each request goes both ways: past the proxy,
//! and through it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HeaderName, HeaderValue};

use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::target::{Target, TokenPlace, User, Vars};

use super::issue::{first_user, unclean};
use super::leak::in_logs;
use super::proxy_cache;
use super::refresh::second_vars;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "proxy-parity",
        group: "PROXY",
        requirement: "status, verdict and challenge are the same through the proxy as past it",
        sources: &["RFC 9110 section 7.6", "RFC 6750 section 3"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::VerifyWay],
        variants: &["*"],
        isolation: Isolation::User,
        cost: cost(24, 1),
        intrusive: false,
        flaws: &["rewrite-401"],
        sends: "a genuine, a tampered, a garbage and no token to every verify way, a good and a bad login, and a bad refresh, each past the proxy and through it",
        why: "callers see what the proxy says; a status or a challenge that it changes breaks them in production only",
        remedy: "turn error pages, interception and authentication of the proxy off for the token server's paths",
        run: parity,
    },
    Check {
        id: "proxy-header-limit",
        group: "PROXY",
        requirement: "an Authorization header that is too long is refused with 400, 401 or 431, and the longest real token is at most half of what passes",
        sources: &[
            "nginx large_client_header_buffers",
            "HAProxy tune.bufsize",
            "RFC 6585 section 5",
            "RFC 9110 section 5.4",
        ],
        levels: Levels::SHOULD,
        needs: &[Need::Peer, Need::Resource, Need::Issue],
        variants: &["refusal", "room"],
        isolation: Isolation::Shared,
        cost: cost(30, 2),
        intrusive: false,
        flaws: &["tiny-buffer"],
        sends: "Authorization headers from 512 bytes to 128 KiB past the proxy and through it, then bisects where the answer changes",
        why: "a token that grows by a few roles meets the proxy's limit one day, and then some users get 502",
        remedy: "raise the proxy's header buffers above the server's, and keep tokens small",
        run: header_limit,
    },
    Check {
        id: "proxy-cache-token",
        group: "PROXY",
        requirement: "no answer of a token endpoint comes out of a cache",
        sources: &["RFC 6749 section 5.1", "RFC 9111 section 3", "RFC 9110 section 9.3.3"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Issue, Need::SecondUser],
        variants: &["two-users", "after-failure", "headers"],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["cache-post"],
        sends: "logins of two users, and a wrong password before the right one, through the proxy",
        why: "a cached login hands one user's tokens to the next",
        remedy: "exclude the token endpoints from caching, and keep `Cache-Control: no-store`",
        run: proxy_cache::cache_token,
    },
    Check {
        id: "proxy-cache-authz",
        group: "PROXY",
        requirement: "the resource answers each token with its own user, and nobody without one",
        sources: &["RFC 9111 section 3.5"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue, Need::SecondUser],
        variants: &["second-user", "nobody"],
        isolation: Isolation::User,
        cost: cost(5, 1),
        intrusive: false,
        flaws: &["ignore-authorization", "keep-for-nobody"],
        sends: "the resource with the first user's token, with the second's, and without one, through the proxy",
        why: "a shared cache that ignores Authorization serves private answers to everybody",
        remedy: "bypass the cache for requests with Authorization",
        run: proxy_cache::cache_authz,
    },
    Check {
        id: "proxy-no-store-kept",
        group: "PROXY",
        requirement: "`no-store` of the server's answers reaches the caller",
        sources: &["RFC 9111 section 5.2"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Issue],
        variants: &["issue", "refresh"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["rewrite-cache-control"],
        sends: "a login and a refresh past the proxy and through it, and compares Cache-Control",
        why: "caches further out keep what the proxy has made cacheable",
        remedy: "remove `proxy_hide_header Cache-Control`, `expires` and the like from the token server's paths",
        run: proxy_cache::no_store_kept,
    },
    Check {
        id: "proxy-auth-forwarded",
        group: "PROXY",
        requirement: "Authorization reaches the server, and WWW-Authenticate the caller",
        sources: &["mod_wsgi WSGIPassAuthorization", "RFC 9110 section 11.6.2"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue],
        variants: &["authorization", "challenge"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["strip-authorization"],
        sends: "a genuine token and no token to the resource, past the proxy and through it",
        why: "gateways that keep the header for themselves make every caller anonymous",
        remedy: "pass the header on (`proxy_set_header Authorization $http_authorization`, `WSGIPassAuthorization On`)",
        run: auth_forwarded,
    },
    Check {
        id: "proxy-hop-by-hop",
        group: "PROXY",
        requirement: "a caller who lists Authorization in Connection is nobody, or who they are: never somebody else",
        sources: &["RFC 9110 section 7.6.1"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue],
        variants: &["garbage", "genuine"],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["strip-then-trust"],
        sends: "a garbage and a genuine token with `Connection: close, Authorization`, after a good request",
        why: "a proxy that strips the header after it has looked at it sends the rest on as trusted",
        remedy: "refuse a request whose Connection header names an end-to-end header, or remove that header before anybody looks at it",
        run: hop_by_hop,
    },
    Check {
        id: "proxy-identity-spoof",
        group: "PROXY",
        requirement: "identity headers that a caller sends are ignored",
        sources: &["CWE-290", "RFC 9700 section 4.13", "ASVS 4.1.3"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue],
        variants: &["X-User", "X-Forwarded-User", "X-Auth-Request-User", "X-Remote-User", "X_Forwarded_User"],
        isolation: Isolation::User,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["trust-x-user"],
        sends: "the resource without a token, with X-User and its like naming the user, past the proxy and through it",
        why: "headers that the proxy uses to tell the server who is calling must not be the caller's to write",
        remedy: "delete identity headers at the edge, underscores included, before setting them",
        run: identity_spoof,
    },
    Check {
        id: "proxy-dup-authorization",
        group: "PROXY",
        requirement: "of two Authorization headers the proxy picks none that the server would not",
        sources: &["RFC 9110 section 5.3", "nginx: unique header lines", "RFC 6750 section 3.1"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue, Need::SecondUser],
        variants: &["good-then-garbage", "garbage-then-good", "two-users"],
        isolation: Isolation::User,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["join-headers"],
        sends: "two Authorization headers: good and garbage in both orders, and two users', past the proxy and through it",
        why: "proxy and server that pick different ones disagree on who is calling",
        remedy: "refuse requests with two Authorization headers",
        run: dup_authorization,
    },
    Check {
        id: "proxy-conn-reuse",
        group: "PROXY",
        requirement: "callers side by side over the proxy's shared connections are each answered as themselves",
        sources: &["CWE-488", "RFC 9110 section 3.3"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Resource, Need::Issue, Need::SecondUser],
        variants: &[],
        isolation: Isolation::Exclusive,
        cost: cost(1_600, 3),
        intrusive: false,
        flaws: &["pooled-identity"],
        sends: "two users' tokens from eight connections at once, 200 times each, and reads who the resource says they are",
        why: "an identity that sticks to an upstream connection is handed to the next caller on it",
        remedy: "keep nothing of a request with the connection that carried it",
        run: conn_reuse,
    },
    Check {
        id: "proxy-logs",
        group: "PROXY",
        requirement: "tokens and passwords do not appear in the proxy's logs",
        sources: &["ASVS 16.2.5", "Caddy redacts Authorization by default"],
        levels: Levels::MUST,
        needs: &[Need::Peer, Need::Logs, Need::Issue],
        variants: &["access", "refresh", "password", "malformed", "query"],
        isolation: Isolation::Exclusive,
        cost: cost(10, 3),
        intrusive: false,
        flaws: &["log-query"],
        sends: "a login, its tokens to every operation, a malformed token and one in the query; then reads what was written to the proxy's logs",
        why: "access logs of the edge are shipped to more places, and kept longer, than any other",
        remedy: "leave Authorization and bodies out of the log format, and cut queries off",
        run: |p| in_logs(p, true),
    },
];

pub(super) fn peer<'a>(p: &Probe<'a>) -> Result<&'a Target, Stop> {
    p.session.peer.ok_or_else(|| Stop::needs(Need::Peer))
}

/// The same request past the proxy and through it.
pub(super) fn both(
    p: &mut Probe<'_>,
    operation: &str,
    request: &http::Request<Bytes>,
    token: Option<&str>,
) -> Result<(Answer, Answer), Stop> {
    let bare = peer(p)?;
    let past = p.send_to(bare, operation, request.clone(), token.map(str::to_owned))?;
    let through = p.send(operation, request.clone(), token.map(str::to_owned))?;
    Ok((past, through))
}

pub(super) fn request(p: &Probe<'_>, operation: &str, vars: &Vars) -> Result<http::Request<Bytes>, Stop> {
    p.target().request(operation, vars).map_err(Stop::unsendable)
}

/// What must be the same on both sides: verdict, status, and the challenge's scheme and error code.
fn face(answer: &Answer) -> String {
    let challenge = answer.bearer_challenge().map(|params| {
        let error = params.into_iter().find(|(name, _)| name == "error").map(|(_, value)| value);
        format!(" Bearer {}", error.unwrap_or_else(|| "without error".to_owned()))
    });
    format!("{}{}", answer.finding(), challenge.unwrap_or_default())
}

fn parity(p: &mut Probe<'_>) -> Result<(), Stop> {
    let mut cases: Vec<(String, String, Vars, Option<String>)> = Vec::new();
    let genuine = genuine_past(p)?;
    let tampered = match genuine.matches('.').count() {
        2 => crate::jose::forge::flip_bit(&genuine, 2, 9),
        _ => genuine.chars().rev().collect(),
    };
    for way in p.ways() {
        for (what, token) in [("genuine", &genuine), ("tampered", &tampered), ("garbage", &"assay-no-token".to_owned())]
        {
            let vars = p.vars_with(token.as_str());
            cases.push((format!("{}-{what}", way.name), way.operation.clone(), vars, Some(token.clone())));
        }
        cases.push((format!("{}-nothing", way.name), way.operation.clone(), p.vars(), None));
    }
    if p.has(Need::Issue) && !p.target().is_command("issue") {
        cases.push(("login".to_owned(), "issue".to_owned(), p.vars(), None));
        if let Ok(user) = first_user(p) {
            let wrong = User { password: "assay-wrong-password-1".into(), ..user };
            cases.push(("wrong-password".to_owned(), "issue".to_owned(), p.vars().user(&wrong), None));
        }
    }
    if p.has(Need::Refresh) && !p.target().is_command("refresh") {
        let token = "assay-no-token".to_owned();
        cases.push(("bad-refresh".to_owned(), "refresh".to_owned(), p.vars_with(token.as_str()), Some(token)));
    }
    for (variant, operation, vars, token) in cases {
        let Ok(request) = p.target().request(&operation, &vars) else { continue };
        let (past, through) = both(p, &operation, &request, token.as_deref())?;
        let (expected, seen) = (face(&past), face(&through));
        if expected == seen {
            p.pass(Some(&variant), "same", format!("{seen} on both sides"));
        } else {
            let text = format!("past the proxy `{expected}`, through it `{seen}`");
            p.fail_told(Some(&variant), &format!("{expected} became {seen}"), &expected, text, &through);
        }
    }
    Ok(())
}

/// A genuine token that was fetched past the proxy, where that works: what the proxy does to logins is one question,
/// what it does to tokens another.
pub(super) fn genuine_past(p: &mut Probe<'_>) -> Result<String, Stop> {
    if p.target().is_command("issue") {
        return p.access();
    }
    login_past(p, &Vars::new())
}

pub(super) fn login_past(p: &mut Probe<'_>, vars: &Vars) -> Result<String, Stop> {
    let bare = peer(p)?;
    let request = request(p, "issue", vars)?;
    let answer = p.send_to(bare, "issue", request, None)?;
    let issued = answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| bare.tokens(r, "issue").ok());
    issued.and_then(|i| i.access).ok_or_else(|| Stop::blocked_by("issue-basic"))
}

pub(super) fn bearer_way(p: &Probe<'_>) -> Result<Way, Stop> {
    let way = p.resource()?;
    match p.target().token_place(&way.operation) {
        Some(TokenPlace::Bearer) => Ok(way),
        _ => Err(Stop::not_applicable("the resource does not take its token from an Authorization: Bearer header")),
    }
}

fn with_header(mut request: http::Request<Bytes>, name: &str, value: &str) -> Result<http::Request<Bytes>, Stop> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| Stop::Harness(e.to_string()))?;
    let value = HeaderValue::from_str(value).map_err(Stop::unsendable)?;
    request.headers_mut().insert(name, value);
    Ok(request)
}

/// What the server says to an Authorization header of a size.
fn sized(p: &mut Probe<'_>, way: &Way, size: usize, past: bool) -> Result<Answer, Stop> {
    let vars = p.vars();
    let plain = request(p, &way.operation, &vars)?;
    let request = with_header(plain, "authorization", &format!("Bearer {}", "a".repeat(size.saturating_sub(7))))?;
    if past {
        let bare = peer(p)?;
        p.send_to(bare, &way.operation, request, None)
    } else {
        p.send(&way.operation, request, None)
    }
}

fn header_limit(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let issued = p.pooled()?;
    let longest = [issued.access, issued.refresh].into_iter().flatten().map(|t| t.len() + 7).max().unwrap_or(0);
    let limit = |p: &mut Probe<'_>, past: bool| -> Result<(usize, Option<Answer>), Stop> {
        let ordinary = sized(p, &way, 256, past)?.finding();
        let (mut low, mut high, mut beyond) = (256, 128 << 10, None);
        let mut size = 512;
        while size <= 128 << 10 {
            let answer = sized(p, &way, size, past)?;
            if answer.finding() != ordinary {
                (high, beyond) = (size, Some(answer));
                break;
            }
            low = size;
            size *= 2;
        }
        while beyond.is_some() && high - low > 256 {
            let middle = (low + high) / 2;
            let answer = sized(p, &way, middle, past)?;
            if answer.finding() == ordinary {
                low = middle;
            } else {
                (high, beyond) = (middle, Some(answer));
            }
        }
        Ok((low, beyond))
    };
    let (past, _) = limit(p, true)?;
    let (through, beyond) = limit(p, false)?;
    let text = format!("Authorization headers up to {through} bytes pass the proxy, {past} the server");
    match &beyond {
        None => p.pass(Some("refusal"), "no-limit", format!("{text}; no limit below 128 KiB")),
        Some(answer) if answer.refused() => {
            p.pass(Some("refusal"), &answer.finding(), format!("{text}; beyond it {}", answer.describe()));
        }
        Some(answer) => {
            let told = format!("{text}; beyond it {}", answer.describe());
            p.fail_told(Some("refusal"), &answer.finding(), "400, 401 or 431", told, answer);
        }
    }
    if longest * 2 > through {
        p.fail(Some("room"), "tight", format!("the longest token needs {longest} bytes, and {through} pass"));
    } else {
        p.pass(Some("room"), "roomy", format!("the longest token needs {longest} of {through} bytes"));
    }
    Ok(())
}

pub(super) fn identity(p: &Probe<'_>, answer: &Answer) -> Option<String> {
    answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().identity(r))
}

/// Tokens of both users, fetched past the proxy, and who the server says they are.
pub(super) fn two_users(p: &mut Probe<'_>, way: &Way) -> Result<[(String, String); 2], Stop> {
    let bare = peer(p)?;
    let second = second_vars(p)?;
    let mut users = Vec::new();
    for vars in [Vars::new(), second] {
        let token = login_past(p, &vars)?;
        let vars = p.vars_with(token.as_str());
        let request = request(p, &way.operation, &vars)?;
        let answer = p.send_to(bare, &way.operation, request, Some(token.clone()))?;
        let name = identity(p, &answer).ok_or_else(|| {
            Stop::not_applicable("the resource does not say who is calling (`identity` in the profile)")
        })?;
        users.push((token, name));
    }
    users.try_into().map_err(|_| Stop::Harness("two users are not two".into()))
}

fn auth_forwarded(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let token = genuine_past(p)?;
    let genuine = request(p, &way.operation, &p.vars_with(token.as_str()))?;
    let (past, through) = both(p, &way.operation, &genuine, Some(&token))?;
    if !past.accepted() {
        return Err(Stop::Inconclusive("the server itself refuses a genuine token".into()));
    }
    if through.accepted() {
        p.pass(Some("authorization"), "forwarded", "a genuine token is accepted through the proxy");
    } else {
        p.fail_seen(Some("authorization"), &through.finding(), "a genuine token accepted through the proxy", &through);
    }
    let nobody = request(p, &way.operation, &p.vars())?;
    let (past, through) = both(p, &way.operation, &nobody, None)?;
    let challenge =
        |a: &Answer| a.reply.as_ref().map(|r| r.header_all("www-authenticate").join(", ")).unwrap_or_default();
    if challenge(&past) == challenge(&through) {
        p.pass(Some("challenge"), "forwarded", "the challenge reaches the caller");
    } else {
        let text = format!("the server says `{}`, the caller sees `{}`", challenge(&past), challenge(&through));
        p.fail_told(Some("challenge"), "changed", "the server's challenge", text, &through);
    }
    Ok(())
}

fn hop_by_hop(p: &mut Probe<'_>) -> Result<(), Stop> {
    p.guarded()?;
    let way = bearer_way(p)?;
    let token = genuine_past(p)?;
    p.present(&way, &token)?;
    for (variant, shown) in [("garbage", "assay-no-token"), ("genuine", token.as_str())] {
        let plain = request(p, &way.operation, &p.vars_with(shown))?;
        let listed = with_header(plain, CONNECTION.as_str(), "close, Authorization")?;
        let answer = p.send(&way.operation, listed, Some(shown.to_owned()))?;
        if variant == "garbage" {
            p.judge_refusal(Some(variant), "a garbage token refused", &answer);
        } else if unclean(&answer) {
            p.judge_refusal(Some(variant), "an orderly answer", &answer);
        } else {
            p.pass(Some(variant), &answer.finding(), format!("a genuine token: {}", answer.describe()));
        }
    }
    Ok(())
}

fn identity_spoof(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.guarded()?;
    let token = genuine_past(p)?;
    let name = p.present(&way, &token).map(|a| identity(p, &a))?;
    let name = match name {
        Some(name) => name,
        None => first_user(p)?.login,
    };
    let nobody = request(p, &way.operation, &p.vars())?;
    for header in ["X-User", "X-Forwarded-User", "X-Auth-Request-User", "X-Remote-User", "X_Forwarded_User"] {
        let spoofed = with_header(nobody.clone(), header, &name)?;
        let (past, through) = both(p, &way.operation, &spoofed, None)?;
        let worst = if past.accepted() { past } else { through };
        p.judge_refusal(Some(header), &format!("a request with {header} and no token refused"), &worst);
    }
    Ok(())
}

fn dup_authorization(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = bearer_way(p)?;
    let [(first, own), (second, _)] = two_users(p, &way)?;
    for (variant, one, two) in [
        ("good-then-garbage", first.as_str(), "assay-no-token"),
        ("garbage-then-good", "assay-no-token", first.as_str()),
        ("two-users", first.as_str(), second.as_str()),
    ] {
        let mut request = request(p, &way.operation, &p.vars())?;
        for token in [one, two] {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(Stop::unsendable)?;
            request.headers_mut().append(AUTHORIZATION, value);
        }
        let (past, through) = both(p, &way.operation, &request, Some(&first))?;
        let (expected, seen) = (identity(p, &past), identity(p, &through));
        if seen.is_some() && seen != expected && seen.as_deref() != Some(own.as_str()) {
            let text = "the proxy picked the second user's token, the server did not";
            p.fail_told(Some(variant), "second-user", "refused, or the first user", text, &through);
        } else if seen.is_some() && expected.is_none() {
            let text = "the server refuses two headers, through the proxy they are accepted";
            p.fail_told(Some(variant), "made-valid", "refused as by the server", text, &through);
        } else if unclean(&through) {
            p.judge_refusal(Some(variant), "an orderly answer", &through);
        } else {
            p.pass(Some(variant), &through.finding(), format!("through the proxy {}", through.describe()));
        }
    }
    Ok(())
}

fn conn_reuse(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.resource()?;
    let users = two_users(p, &way)?;
    let seen = p.crowd(8, Duration::from_secs(6), |number, worker| {
        let (token, name) = &users[number % 2];
        let (mut asked, mut wrong) = (0usize, 0usize);
        for _ in 0..200 {
            if worker.over() {
                break;
            }
            let answer = worker.ask_with(&way.operation, token)?;
            if let (Axis::Accepted, Some(reply)) = (&answer.axis, &answer.reply) {
                asked += 1;
                wrong += usize::from(worker.target().identity(reply).as_deref() != Some(name.as_str()));
            }
        }
        Ok((asked, wrong))
    })?;
    let (asked, wrong) = seen.iter().fold((0, 0), |(a, w), (x, y)| (a + x, w + y));
    if asked == 0 {
        return Err(Stop::Inconclusive("no answer of the crowd was accepted".into()));
    }
    if wrong > 0 {
        p.fail(None, "another-user", format!("{wrong} of {asked} answers were another user's"));
    } else {
        let bound = 300.0 / asked as f64;
        p.pass(
            None,
            "own",
            format!(
                "all {asked} answers were the caller's own (another's in below {bound:.2} %, with 95 % confidence)"
            ),
        );
    }
    Ok(())
}

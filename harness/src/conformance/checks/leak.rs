//! Where do tokens and secrets show up that should not?

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, ORIGIN};

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::fresh_id;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};

use super::issue::{first_user, percent};
use super::logs::{Logs, Written};

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "leak-error-body",
        group: "LEAK",
        requirement: "no answer shows a token, a stack trace, a path, SQL or a debug page",
        sources: &["ASVS 16.5.1", "OWASP API8:2023"],
        levels: Levels::MUST,
        needs: &[Need::VerifyWay],
        variants: &["tampered", "malformed", "garbage", "refresh", "login", "lost"],
        isolation: Isolation::Shared,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["traceback"],
        sends: "a tampered token, a malformed header, garbage, a broken login, and a path that does not exist; and reads the bodies",
        why: "a debug page hands out settings, paths and secrets to whoever causes an error",
        remedy: "turn debugging off in production (`DEBUG = False`), and answer errors with a fixed text",
        run: error_body,
    },
    Check {
        id: "leak-logs",
        group: "LEAK",
        requirement: "tokens and passwords do not appear in the server's logs",
        sources: &["ASVS 16.2.5", "rubysec doorkeeper OSVDB-118830", "RFC 9700 section 4.9.3"],
        levels: Levels::MUST,
        needs: &[Need::Logs, Need::Issue],
        variants: &["access", "refresh", "password", "malformed", "query"],
        // What other checks put into queries must not be taken for its own.
        isolation: Isolation::Exclusive,
        cost: cost(10, 3),
        intrusive: false,
        flaws: &["log-authorization"],
        sends: "a login, its tokens to every operation, a malformed token and one in the query; then reads what was written to the logs",
        why: "logs are copied, shipped, searched and kept by people who may not log in",
        remedy: "log a token's jti or a hash of it, and filter Authorization headers, bodies and queries",
        run: |p| in_logs(p, false),
    },
    Check {
        id: "leak-url",
        group: "LEAK",
        requirement: "no redirect or link of an answer carries a token",
        sources: &["ASVS 14.2.1", "RFC 9700 section 4.3"],
        levels: Levels::MUST,
        needs: &[Need::Resource, Need::Issue],
        variants: &["slash", "login"],
        isolation: Isolation::User,
        cost: cost(4, 1),
        intrusive: false,
        flaws: &["token-in-redirect"],
        sends: "the resource with a token and its last slash taken away or added, and a login; and reads Location, Link and Refresh",
        why: "addresses are logged everywhere, and sent on to third parties as Referer",
        remedy: "redirect without the query of the request, and hand tokens out in bodies only",
        run: url,
    },
    Check {
        id: "leak-cors",
        group: "LEAK",
        requirement: "token endpoints do not let any web origin read answers with credentials",
        sources: &["Fetch standard, CORS protocol", "ASVS 3.4.2"],
        levels: Levels::MUST,
        needs: &[Need::Issue],
        variants: &["issue", "refresh", "resource"],
        isolation: Isolation::Shared,
        cost: cost(3, 1),
        intrusive: false,
        flaws: &["cors-reflect"],
        sends: "requests with the origin of a stranger, and reads Access-Control-Allow-Origin and -Credentials",
        why: "a page that the user visits could then log in, refresh and read in their name",
        remedy: "list the origins that may, and never reflect the request's",
        run: cors,
    },
    Check {
        id: "leak-cookie",
        group: "LEAK",
        requirement: "cookies with tokens are Secure, HttpOnly and SameSite",
        sources: &["ASVS 3.3.1", "ASVS 3.3.2", "ASVS 3.3.4"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["bare-cookie"],
        sends: "a login, and reads its Set-Cookie headers",
        why: "a script or a plain connection reads a bare cookie, and any site can have it sent",
        remedy: "set Secure, HttpOnly and SameSite=Lax or Strict, with a narrow path",
        run: cookie,
    },
    Check {
        id: "leak-oracle",
        group: "LEAK",
        requirement: "a refusal says nothing about the claims of a token whose signature is wrong",
        sources: &["ASVS 9.1.1"],
        levels: Levels::INFO,
        needs: &[Need::VerifyWay, Need::Issue, Need::JwtAccess],
        variants: &["*"],
        isolation: Isolation::Shared,
        cost: cost(8, 1),
        intrusive: false,
        flaws: &["verbose-refusal"],
        sends: "tokens under a wrong signature that differ in exp, subject and issuer; and compares the answers",
        why: "an answer that depends on unauthentic claims means that somebody read them before the signature",
        remedy: "verify the signature first, and give one answer to all that fail",
        run: oracle,
    },
];

/// Texts that only a debugging server shows.
const TRACES: &[(&str, &str)] = &[
    ("Traceback (most recent call last)", "a Python stack trace"),
    ("DEBUG = True", "Django's debug page"),
    ("Exception Type:", "Django's debug page"),
    ("\tat java.", "a Java stack trace"),
    ("    at Object.", "a Node stack trace"),
    ("node_modules/", "a Node stack trace"),
    ("panicked at", "a Rust panic"),
    ("goroutine 1 [", "a Go stack trace"),
    ("SQLSTATE[", "a database error"),
    ("syntax error at or near", "a database error"),
    ("File \"/", "a path with a stack trace"),
    ("SECRET_KEY", "a setting's name"),
];

fn trace_in(answer: &Answer) -> Option<&'static str> {
    let text = answer.reply.as_ref().map(|r| r.text()).unwrap_or_default();
    TRACES.iter().find(|(mark, _)| text.contains(mark)).map(|(_, what)| *what)
}

fn judge_body(p: &mut Probe<'_>, variant: &str, answer: &Answer) {
    let echoed = answer.token.as_deref().is_some_and(|token| {
        let signature = token.rsplit('.').next().unwrap_or_default();
        signature.len() > 20 && answer.reply.as_ref().is_some_and(|r| r.text().contains(signature))
    });
    match trace_in(answer) {
        Some(what) => {
            p.fail_told(Some(variant), "trace", "a plain refusal", format!("the answer shows {what}"), answer)
        }
        None if echoed && !answer.accepted() => {
            p.fail_told(Some(variant), "token", "a plain refusal", "the refusal repeats the token", answer);
        }
        None => p.pass(Some(variant), "plain", "the answer shows nothing of the server"),
    }
}

fn error_body(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.resource().or_else(|_| p.ways().into_iter().next().ok_or_else(|| Stop::needs(Need::VerifyWay)))?;
    let genuine = p.access().unwrap_or_else(|_| "assay.no.token".to_owned());
    let tampered = match genuine.matches('.').count() {
        2 => crate::jose::forge::flip_bit(&genuine, 2, 9),
        _ => genuine.chars().rev().collect(),
    };
    for (variant, token) in [("tampered", tampered.as_str()), ("garbage", "assay-no-token")] {
        let answer = p.present(&way, token)?;
        judge_body(p, variant, &answer);
    }
    let vars = p.vars_with(genuine.as_str());
    let mut request = p.target().request(&way.operation, &vars).map_err(Stop::unsendable)?;
    if let Ok(value) = HeaderValue::from_bytes(b"Bearer one two \xff") {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let answer = p.send(&way.operation, request, None)?;
    judge_body(p, "malformed", &answer);
    if p.has(Need::Refresh) && !p.target().is_command("refresh") {
        let answer = p.refresh(&tampered)?;
        judge_body(p, "refresh", &answer);
    } else {
        p.skip("refresh", SkipReason::Needs(Need::Refresh.name().into()));
    }
    if p.has(Need::Issue) && !p.target().is_command("issue") {
        let vars = p.vars();
        let mut request = p.target().request("issue", &vars).map_err(Stop::unsendable)?;
        *request.body_mut() = bytes::Bytes::from_static(b"{\"username\": [\"assay");
        let answer = p.send("issue", request, None)?;
        judge_body(p, "login", &answer);
    } else {
        p.skip("login", SkipReason::Needs(Need::Issue.name().into()));
    }
    let lost =
        http::Request::get(format!("/assay-{}", fresh_id(12))).body(bytes::Bytes::new()).map_err(Stop::unsendable)?;
    let answer = p.send("verify.lost", lost, None)?;
    judge_body(p, "lost", &answer);
    Ok(())
}

/// Something secret that was sent, and how it is looked for.
struct Canary {
    variant: &'static str,
    needle: String,
}

fn canary(variant: &'static str, text: &str) -> Canary {
    // The signature alone names a token; header and payload may be logged decoded, without harm of this kind.
    let needle = match text.matches('.').count() {
        2 => text.rsplit('.').next().unwrap_or(text),
        _ => text,
    };
    Canary { variant, needle: needle.to_owned() }
}

/// `proxys`: looks into the logs of proxies, else into those of the server.
pub(super) fn in_logs(p: &mut Probe<'_>, proxys: bool) -> Result<(), Stop> {
    let marker = format!("/assay-direct-{}", fresh_id(16));
    let logs = Logs::now(p);
    if logs.len() == 0 {
        return Err(Stop::needs(Need::Logs));
    }
    let mut canaries = Vec::new();
    if let Some(peer) = p.session.peer {
        // What a request past the proxy writes is the server's log.
        let request = http::Request::get(&marker).body(bytes::Bytes::new()).map_err(Stop::unsendable)?;
        p.send_to(peer, "verify.marker", request, None)?;
    }
    let issued = p.login()?;
    if let Ok(user) = first_user(p)
        && user.password.len() >= 8
    {
        canaries.push(canary("password", &user.password));
    }
    if let Some(token) = &issued.access {
        canaries.push(canary("access", token));
        for way in p.ways() {
            p.present(&way, token)?;
        }
    }
    if let Some(token) = issued.refresh.as_ref().filter(|_| p.has(Need::Refresh)) {
        canaries.push(canary("refresh", token));
        p.refresh(token)?;
    }
    let malformed = format!("assay-canary-{}", fresh_id(24));
    canaries.push(canary("malformed", &malformed));
    for way in p.ways() {
        p.present(&way, &malformed)?;
    }
    if let Ok(way) = p.resource() {
        let token = format!("assay-canary-{}", fresh_id(24));
        let vars = p.vars();
        let plain = p.target().request(&way.operation, &vars).map_err(Stop::unsendable)?;
        let (mut parts, body) = plain.into_parts();
        parts.uri =
            format!("{}?access_token={}", parts.uri.path(), percent(&token)).parse().map_err(Stop::unsendable)?;
        p.send(&way.operation, http::Request::from_parts(parts, body), None)?;
        canaries.push(canary("query", &token));
    }
    // Logs are written behind.
    let until = clock::mono() + Duration::from_millis(1_500).into();
    while clock::mono() < until {
        p.pause(Duration::from_millis(250), "the logs to be written")?;
    }
    // A log that a profile names may be called like a proxy's and be the server's: the marker went past the proxy.
    let written: Vec<_> = logs.since().filter(|w| (w.proxys && !w.text.contains(&marker)) == proxys).collect();
    if written.is_empty() {
        let whose = if proxys { "of a proxy" } else { "of the server" };
        return Err(Stop::not_applicable(format!("none of the {} logs is that {whose}", logs.len())));
    }
    // A server that writes elsewhere is not shown to leave tokens out.
    let named = written.len();
    let written: Vec<_> = written.into_iter().filter(Written::tells).collect();
    if written.is_empty() {
        let text =
            format!("nothing was written to the {named} logs that the profile names: does the server write there?");
        return Err(Stop::Inconclusive(text));
    }
    for canary in canaries {
        let hit = written.iter().find(|w| w.text.contains(&canary.needle));
        match hit {
            None => p.pass(Some(canary.variant), "absent", format!("not in {} logs", written.len())),
            Some(Written { path, .. }) => {
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                p.fail(Some(canary.variant), "logged", format!("{name} holds it as it was sent"));
                // A token in a query is the caller's mistake first.
                if canary.variant == "query" {
                    p.at_most(Level::Should);
                }
            }
        }
    }
    Ok(())
}

/// Headers of an answer that carry addresses.
fn addresses(answer: &Answer) -> String {
    let Some(reply) = &answer.reply else { return String::new() };
    ["location", "link", "refresh", "content-location"]
        .iter()
        .flat_map(|name| reply.header_all(name))
        .collect::<Vec<_>>()
        .join(" ")
}

fn url(p: &mut Probe<'_>) -> Result<(), Stop> {
    let way = p.resource()?;
    let issued = p.login()?;
    let token = issued.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let signature = token.rsplit('.').next().unwrap_or(&token).to_owned();
    let vars = p.vars_with(token.as_str());
    let plain = p.target().request(&way.operation, &vars).map_err(Stop::unsendable)?;
    let path = plain.uri().path().to_owned();
    let other = match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter.to_owned(),
        _ => format!("{path}/"),
    };
    let (mut parts, body) = plain.into_parts();
    parts.uri = other.parse().map_err(Stop::unsendable)?;
    let answer = p.send("verify.redirected", http::Request::from_parts(parts, body), Some(token.clone()))?;
    judge_addresses(p, "slash", &answer, &[signature.as_str()]);
    if p.target().is_command("issue") {
        p.skip("login", SkipReason::NotApplicable("the login is a command of the profile".into()));
        return Ok(());
    }
    let vars = p.vars();
    let answer = p.call("issue", &vars)?;
    let tokens = answer.reply.as_ref().and_then(|r| p.target().tokens(r, "issue").ok());
    let secrets: Vec<String> = tokens
        .iter()
        .flat_map(|t| [t.access.clone(), t.refresh.clone()])
        .flatten()
        .map(|t| t.rsplit('.').next().unwrap_or_default().to_owned())
        .collect();
    judge_addresses(p, "login", &answer, &secrets.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(())
}

fn judge_addresses(p: &mut Probe<'_>, variant: &str, answer: &Answer, secrets: &[&str]) {
    let text = addresses(answer);
    if secrets.iter().any(|s| !s.is_empty() && text.contains(s)) {
        let summary = "an address in the answer's headers carries the token";
        p.fail_told(Some(variant), "token", "an address without a token", summary, answer);
    } else {
        p.pass(Some(variant), "none", "no address carries a token");
    }
}

fn cors(p: &mut Probe<'_>) -> Result<(), Stop> {
    let origin = format!("https://{}.assay.invalid", fresh_id(8));
    let way = p.resource().ok().map(|w| w.operation);
    let operations = [("issue", Some("issue".to_owned())), ("refresh", Some("refresh".to_owned())), ("resource", way)];
    for (variant, operation) in operations {
        let Some(operation) = operation.filter(|o| p.target().has(o) && !p.target().is_command(o)) else {
            p.skip(variant, SkipReason::NotApplicable("the profile has no such request".into()));
            continue;
        };
        let token = p.access()?;
        let vars = p.vars_with(token.as_str());
        let mut request = p.target().request(&operation, &vars).map_err(Stop::unsendable)?;
        let value = HeaderValue::from_str(&origin).map_err(Stop::unsendable)?;
        request.headers_mut().insert(ORIGIN, value);
        let answer = p.send(&operation, request, None)?;
        let header = |name: &str| answer.reply.as_ref().and_then(|r| r.header(name)).unwrap_or_default().to_owned();
        let (allowed, credentials) =
            (header("access-control-allow-origin"), header("access-control-allow-credentials"));
        if allowed == origin && credentials.eq_ignore_ascii_case("true") {
            let text = "any origin may read the answer with the user's credentials";
            p.fail_told(Some(variant), "reflected", "no reflected origin", text, &answer);
        } else if allowed == origin {
            p.fail_told(
                Some(variant),
                "reflected-plain",
                "no reflected origin",
                "the request's origin is reflected",
                &answer,
            );
            p.at_most(Level::Should);
        } else {
            p.pass(Some(variant), "not-reflected", "a strange origin is not let in");
        }
    }
    Ok(())
}

fn cookie(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let vars = p.vars();
    let answer = p.call("issue", &vars)?;
    let Some(reply) = answer.reply.as_ref().filter(|_| answer.accepted()) else {
        return Err(Stop::blocked_by("issue-basic"));
    };
    let cookies = reply.header_all("set-cookie");
    let bare: Vec<String> = cookies.iter().filter_map(|c| lacking(c)).collect();
    if cookies.is_empty() {
        p.pass(None, "no-cookie", "a login sets no cookie");
    } else if let Some(what) = bare.first() {
        p.fail_told(None, "bare", "Secure, HttpOnly and SameSite", what.clone(), &answer);
    } else {
        p.pass(None, "protected", format!("{} cookies, all Secure, HttpOnly and SameSite", cookies.len()));
    }
    Ok(())
}

/// What a cookie lacks, unless it is one that scripts must read (a CSRF token).
fn lacking(cookie: &str) -> Option<String> {
    let mut parts = cookie.split(';').map(str::trim);
    let name = parts.next()?.split('=').next()?.to_owned();
    if name.to_ascii_lowercase().contains("csrf") || name.to_ascii_lowercase().contains("xsrf") {
        return None;
    }
    let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
    let has = |name: &str| attributes.iter().any(|a| a == name || a.starts_with(&format!("{name}=")));
    let missing: Vec<&str> = [("secure", "Secure"), ("httponly", "HttpOnly"), ("samesite", "SameSite")]
        .iter()
        .filter(|(attribute, _)| !has(attribute))
        .map(|(_, shown)| *shown)
        .collect();
    (!missing.is_empty()).then(|| format!("the cookie `{name}` lacks {}", missing.join(", ")))
}

fn oracle(p: &mut Probe<'_>) -> Result<(), Stop> {
    use crate::jose::Forge;
    let genuine = p.access()?;
    let base = Forge::of(&genuine).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let subject = p.profile().subject_claim().to_owned();
    let now = clock::unix() as i64;
    // All keep the genuine signature, which fits none of them.
    let unauthentic = [
        ("fine", base.clone().claim("assay", "oracle")),
        ("expired", base.clone().claim("exp", now - 4000)),
        ("stranger", base.clone().claim(&subject, "assay-nobody")),
        ("issuer", base.clone().claim("iss", "https://assay.invalid")),
    ];
    for way in p.ways().into_iter().filter(|w| w.usable()) {
        let mut told: Vec<(&str, String, Answer)> = Vec::new();
        for (what, forge) in &unauthentic {
            let token = forge.token();
            p.offer(&way.name, &token)?;
            let answer = p.present(&way, &token)?;
            // The token itself may be repeated, which is another check's subject.
            let said = answer.reply.as_ref().map(|r| format!("{} {}", r.status, r.text())).unwrap_or_default();
            told.push((what, said.replace(&token, "<token>"), answer));
        }
        let (_, first, _) = &told[0];
        match told.iter().find(|(_, said, answer)| said != first || answer.accepted()) {
            Some((what, _, answer)) => {
                let text = format!("an unauthentic token that is `{what}` is answered otherwise than one that is fine");
                p.fail_told(Some(&way.name), "told-apart", "one answer to all", text, answer);
            }
            None => p.pass(Some(&way.name), "alike", "unauthentic tokens are answered alike"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_what_it_lacks() {
        assert_eq!(lacking("sid=1; Secure; HttpOnly; SameSite=Lax; Path=/api"), None);
        assert_eq!(lacking("sid=1; Path=/").unwrap(), "the cookie `sid` lacks Secure, HttpOnly, SameSite");
        assert_eq!(lacking("csrftoken=1"), None);
    }

    #[test]
    fn a_token_is_looked_for_by_its_signature() {
        assert_eq!(canary("access", "aaa.bbb.ccc").needle, "ccc");
        assert_eq!(canary("refresh", "opaque").needle, "opaque");
    }
}

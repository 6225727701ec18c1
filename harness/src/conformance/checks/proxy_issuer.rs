//! Does a server keep its name behind a proxy, whatever host a caller makes up?

use serde_json::Value;

use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::{Issued, Target};

use super::discovery::{Document, ask_document};
use super::proxy::{peer, request};

/// A host that nobody has.
const MADE_UP: &str = "assay-made-up.example";

/// The family's part.
pub const CHECKS: &[Check] = &[Check {
    id: "proxy-issuer",
    group: "PROXY",
    requirement: "the issuer and the addresses in the discovery document are the same on both sides of the proxy, whatever host a caller names",
    sources: &["RFC 8414 section 3.3", "OpenID Connect Discovery section 4.3", "CWE-644"],
    levels: Levels::issuing(Level::Should).not_simple().oidc(Level::Must),
    needs: &[Need::Peer, Need::Issue],
    variants: &["document", "endpoints", "token", "host", "forwarded-host"],
    isolation: Isolation::User,
    cost: cost(7, 1),
    intrusive: false,
    flaws: &["host-header-issuer"],
    sends: "the request of the discovery document and a login past the proxy and through it, and both again with a made-up Host and X-Forwarded-Host",
    why: "an issuer that follows the Host header is one that callers choose: caches and clients that were told it send tokens and passwords there",
    remedy: "configure the issuer and the external address in the server, and let the proxy refuse hosts that it does not know",
    run: proxy_issuer,
}];

/// The headers that a proxy puts on what it passes on, so that a server that goes by them is asked the same on both sides.
fn as_by_the_proxy(front: &Target) -> [(&'static str, String); 3] {
    let (host, scheme) = (front.endpoint.authority(), front.endpoint.scheme.name().to_owned());
    [("host", host.clone()), ("x-forwarded-host", host), ("x-forwarded-proto", scheme)]
}

fn proxy_issuer(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().discovery_path().is_some() {
        documents(p)?;
    } else {
        for part in ["document", "endpoints", "host", "forwarded-host"] {
            let why = "the profile names no discovery document (`discovery`)".to_owned();
            p.skip(part, SkipReason::NotApplicable(why));
        }
    }
    token(p)
}

/// The addresses of a document: every member that is one, but the issuer.
fn addresses(document: &Document) -> Vec<(&str, &str)> {
    let all = document.members.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    all.filter(|(name, text)| *name != "issuer" && text.contains("://")).collect()
}

fn documents(p: &mut Probe<'_>) -> Result<(), Stop> {
    let bare = peer(p)?;
    let headers = as_by_the_proxy(p.target());
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (refused, past) = ask_document(p, Some(bare), &headers)?;
    let (seen, through) = ask_document(p, None, &[])?;
    let Some(through) = through else {
        p.fail_seen(Some("document"), "absent", "the document through the proxy", &seen);
        return Ok(());
    };
    match past {
        Some(past) => compare(p, bare, &past, &through),
        // A server that knows its hosts by name refuses the proxy's where nobody has told it.
        None => {
            let text = format!("past the proxy, asked by the proxy's name: {}", refused.describe());
            p.inconclusive(Some("document"), "refused", text.clone());
            p.inconclusive(Some("endpoints"), "refused", text);
        }
    }
    for (variant, header) in [("host", "host"), ("forwarded-host", "x-forwarded-host")] {
        let (answer, spoofed) = ask_document(p, None, &[(header, MADE_UP)])?;
        let led = spoofed.as_ref().and_then(|document| {
            document.members.iter().find(|(_, value)| value.as_str().is_some_and(|text| text.contains(MADE_UP)))
        });
        match led {
            Some((name, value)) => {
                let text = format!("with `{header}: {MADE_UP}` the document says {value} for `{name}`");
                p.fail_told(Some(variant), "led", "the server's own name", text, &answer);
            }
            None => {
                p.pass(Some(variant), "own", format!("a made-up name is not taken over: {}", told(&answer.status())))
            }
        }
    }
    Ok(())
}

fn told(status: &u16) -> String {
    if *status == 200 { "the document says its own".to_owned() } else { format!("status {status}") }
}

fn compare(p: &mut Probe<'_>, bare: &Target, past: &Document, through: &Document) {
    let (before, after) = (past.text("issuer"), through.text("issuer"));
    let answer = &through.answer;
    if before == after {
        p.pass(Some("document"), "same", format!("the issuer is `{after}` on both sides"));
    } else {
        let text = format!("past the proxy the issuer is `{before}`, through it `{after}`");
        p.fail_told(Some("document"), "changed", "one issuer on both sides", text, answer);
    }
    let changed = addresses(through).into_iter().find(|(name, address)| past.text(name) != *address);
    // An address of the server's own is no address for callers, once it has a name that is not that.
    let inner = format!("//{}", bare.endpoint.authority());
    let astray = addresses(through).into_iter().find(|(_, address)| address.contains(&inner));
    match (changed, astray.filter(|_| !after.contains(&inner))) {
        (Some((name, address)), _) => {
            let text = format!("`{name}` is `{}` past the proxy and `{address}` through it", past.text(name));
            p.fail_told(Some("endpoints"), "changed", "the same addresses on both sides", text, answer);
        }
        (None, Some((name, address))) => {
            let text = format!("`{name}` is `{address}`, which leads past the proxy");
            p.fail_told(Some("endpoints"), "inner", "addresses that callers reach", text, answer);
        }
        (None, None) => p.pass(Some("endpoints"), "same", "the addresses are the same on both sides"),
    }
}

/// `iss` of what a login brings.
fn issuer_of(issued: &Issued) -> Option<String> {
    let id_token = issued.other.get("id_token").and_then(Value::as_str);
    let tokens = id_token.into_iter().chain(issued.access.as_deref());
    tokens.filter_map(decode).find_map(|(_, claims)| claims.get("iss")?.as_str().map(str::to_owned))
}

fn token(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        p.skip("token", SkipReason::NotApplicable("the login is a command of the profile".into()));
        return Ok(());
    }
    let (front, bare) = (p.target(), peer(p)?);
    let mut login = |at: &Target, headers: &[(&'static str, String)]| -> Result<_, Stop> {
        let mut request = request(p, "issue", &p.vars())?;
        for (name, value) in headers {
            let value = http::HeaderValue::from_str(value).map_err(Stop::unsendable)?;
            request.headers_mut().insert(*name, value);
        }
        let answer = p.send_to(at, "issue", request, None)?;
        let issued = answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| at.tokens(r, "issue").ok());
        Ok((answer, issued.as_ref().map(issuer_of)))
    };
    let (_, past) = login(bare, &as_by_the_proxy(front))?;
    let (_, through) = login(front, &[])?;
    let made_up = MADE_UP.to_owned();
    let (answer, spoofed) = login(front, &[("host", made_up.clone()), ("x-forwarded-host", made_up)])?;
    match (through, past, spoofed.flatten()) {
        (None, ..) => p.inconclusive(Some("token"), "no-login", "a login through the proxy brings nothing"),
        (Some(None), ..) => {
            p.skip("token", SkipReason::NotApplicable("a login brings no token with an issuer in it".into()));
        }
        (Some(Some(own)), _, Some(other)) if other != own => {
            let text = format!("with `host: {MADE_UP}` the token's `iss` is `{other}`, and else `{own}`");
            p.fail_told(Some("token"), "led", "the server's own name", text, &answer);
        }
        (Some(Some(own)), Some(Some(other)), _) if other != own => {
            let text = format!("past the proxy the token's `iss` is `{other}`, through it `{own}`");
            p.fail(Some("token"), "changed", text);
        }
        (Some(Some(own)), ..) => p.pass(Some("token"), "same", format!("`iss` is `{own}`, whatever host is named")),
    }
    Ok(())
}

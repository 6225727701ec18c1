//! Is what a server says about itself true? Its discovery document beside its tokens, its endpoints and its keys.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use crate::conformance::answer::{Answer, Axis};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::target::{Dialect, Target};

/// The family.
pub const CHECKS: &[Check] = &[Check {
    id: "keys-discovery",
    group: "KEYS",
    requirement: "the discovery document names the issuer that tokens name, what clients need, and only what is there",
    sources: &[
        "RFC 8414 section 2",
        "RFC 8414 section 3.2",
        "RFC 8414 section 3.3",
        "OpenID Connect Discovery section 3",
        "OpenID Connect Discovery section 4.3",
        "RFC 9068 section 4",
    ],
    levels: Levels::issuing(Level::Must).not_simple(),
    needs: &[Need::Issue],
    variants: &["reply", "issuer", "access-token", "id-token", "members", "endpoints", "algorithms", "none"],
    isolation: Isolation::Shared,
    cost: cost(9, 1),
    intrusive: false,
    flaws: &["boastful-metadata", "dead-endpoint", "issuer-mismatch", "text-metadata", "thin-metadata"],
    sends: "the request of the discovery document, compares it with a login's tokens, and asks each endpoint that it names without credentials",
    why: "clients configure themselves from this document: what is wrong in it breaks them, and an issuer that is not the tokens' lets one server pass for another",
    remedy: "write the document from the same settings that sign tokens and route requests",
    run: discovery,
}];

/// Where documents of OAuth 2 and of OpenID Connect are.
const WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// Endpoints that a client may ask, and how one is asked that has nothing to say.
const ENDPOINTS: &[(&str, &str)] = &[
    ("token_endpoint", "POST"),
    ("introspection_endpoint", "POST"),
    ("revocation_endpoint", "POST"),
    ("device_authorization_endpoint", "POST"),
    ("pushed_authorization_request_endpoint", "POST"),
    ("authorization_endpoint", "GET"),
    ("userinfo_endpoint", "GET"),
    ("jwks_uri", "GET"),
];

/// A discovery document with the answer that brought it.
pub(super) struct Document {
    pub(super) answer: Answer,
    pub(super) members: Map<String, Value>,
}

impl Document {
    pub(super) fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, name: &str) -> Option<Vec<&str>> {
        self.members.get(name)?.as_array().map(|list| list.iter().filter_map(Value::as_str).collect())
    }
}

/// Asks for the discovery document, at the target or at another address of the same server, with these headers.
///
/// # Errors
/// Not applicable where the profile names none.
pub(super) fn ask_document(
    p: &mut Probe<'_>,
    at: Option<&Target>,
    headers: &[(&str, &str)],
) -> Result<(Answer, Option<Document>), Stop> {
    let Some(path) = p.target().discovery_path() else {
        return Err(Stop::not_applicable("the profile names no discovery document (`discovery`)"));
    };
    let mut request = http::Request::get(path)
        .header(http::header::ACCEPT, "application/json")
        .body(bytes::Bytes::new())
        .map_err(Stop::unsendable)?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| Stop::Harness(e.to_string()))?;
        request.headers_mut().insert(name, HeaderValue::from_str(value).map_err(Stop::unsendable)?);
    }
    let answer = match at {
        Some(other) => p.send_to(other, "discovery", request, None)?,
        None => p.send("discovery", request, None)?,
    };
    let members = answer.reply.as_ref().filter(|reply| reply.status == 200).and_then(|reply| reply.json());
    let document = match members {
        Some(Value::Object(members)) => Some(Document { answer: answer.clone(), members }),
        _ => None,
    };
    Ok((answer, document))
}

fn discovery(p: &mut Probe<'_>) -> Result<(), Stop> {
    let (answer, document) = ask_document(p, None, &[])?;
    let document = document.ok_or_else(|| {
        Stop::Inconclusive(format!("the discovery document: {}, without a JSON object", answer.describe()))
    })?;
    reply(p, &document);
    issuer(p, &document);
    tokens(p, &document)?;
    members(p, &document);
    endpoints(p, &document)?;
    algorithms(p, &document)
}

fn reply(p: &mut Probe<'_>, document: &Document) {
    let kind = document.answer.reply.as_ref().and_then(|r| r.header(CONTENT_TYPE.as_str())).unwrap_or_default();
    let bare = kind.split(';').next().unwrap_or_default().trim();
    if bare.eq_ignore_ascii_case("application/json") {
        p.pass(Some("reply"), "json", "the document says that it is JSON");
    } else {
        let text = format!("the document says `{kind}`");
        p.fail_told(Some("reply"), "other-type", "`Content-Type: application/json`", text, &document.answer);
    }
}

/// `host:port` of an address, and its path without a `/` at the end.
fn parts(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    (at > 0).then(|| (&rest[..at], rest[at..].trim_end_matches('/')))
}

/// What is wrong with the issuer, as far as the address that was asked can tell. A server may be known to its clients by
/// another address than the one under test: then only what the profile declares says which.
fn wrong_issuer(issuer: &str, declared: Option<&str>, asked: (&str, &str)) -> Option<String> {
    let Some((authority, path)) = parts(issuer) else {
        return Some(format!("the issuer `{issuer}` is no address"));
    };
    if issuer.contains(['?', '#']) {
        return Some(format!("the issuer `{issuer}` has a query or a fragment"));
    }
    if let Some(declared) = declared.filter(|declared| *declared != issuer) {
        return Some(format!("the issuer is `{issuer}`, the profile declares `{declared}`"));
    }
    let (here, at) = asked;
    let made = |name: &str| [format!("{name}{path}"), format!("{path}{name}")];
    let known = WELL_KNOWN.iter().any(|name| at.contains(name));
    let fits = WELL_KNOWN.iter().flat_map(|name| made(name)).any(|made| made == at.trim_end_matches('/'));
    (authority == here && known && !fits)
        .then(|| format!("the issuer is `{issuer}`, whose document would not be at {at}"))
}

fn issuer(p: &mut Probe<'_>, document: &Document) {
    let endpoint = &p.target().endpoint;
    let at = format!("{}{}", endpoint.base_path, p.target().discovery_path().unwrap_or_default());
    let declared = p.profile().declares.issuer.clone();
    let issuer = document.text("issuer").to_owned();
    match wrong_issuer(&issuer, declared.as_deref(), (&endpoint.authority(), &at)) {
        Some(wrong) => {
            p.fail_told(Some("issuer"), "other", "the issuer that clients know", wrong, &document.answer);
        }
        None => p.pass(Some("issuer"), "fits", format!("the issuer is `{issuer}`")),
    }
}

/// `iss` of the tokens beside the document's issuer. To OAuth 2 alone an access token is opaque, so that a difference there
/// weighs less.
fn tokens(p: &mut Probe<'_>, document: &Document) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let id_token = issued.other.get("id_token").and_then(Value::as_str).map(str::to_owned);
    let issuer = document.text("issuer");
    for (variant, token) in [("access-token", issued.access), ("id-token", id_token)] {
        let claims = token.as_deref().and_then(decode).map(|(_, claims)| claims);
        match claims.as_ref().and_then(|claims| claims.get("iss")).and_then(Value::as_str) {
            None => p.skip(variant, SkipReason::NotApplicable("a login brings none with an issuer in it".into())),
            Some(named) if named == issuer => p.pass(Some(variant), "same", format!("`iss` is `{named}`")),
            Some(named) => {
                let text = format!("the document says `{issuer}`, the token `{named}`");
                p.fail_told(Some(variant), "differs", "one issuer in both", text, &document.answer);
                if variant == "access-token" && p.dialect() != Dialect::Rfc9068 {
                    p.at_most(Level::Should);
                }
            }
        }
    }
    Ok(())
}

/// The members that must be there and are not.
fn missing(document: &Document, openid: bool) -> Vec<&'static str> {
    let grants = document.list("grant_types_supported").unwrap_or_else(|| vec!["authorization_code", "implicit"]);
    let mut needed = vec!["issuer"];
    // Who has no grant that goes through a browser has nothing to say here, and RFC 8414 section 3.2 forbids an empty list.
    if grants.iter().any(|grant| ["authorization_code", "implicit"].contains(grant)) {
        needed.extend(["authorization_endpoint", "response_types_supported"]);
    }
    if grants.iter().any(|grant| *grant != "implicit") {
        needed.push("token_endpoint");
    }
    if openid {
        needed.extend(["jwks_uri", "subject_types_supported", "id_token_signing_alg_values_supported"]);
    }
    let there = |name: &&str| match name.ends_with("_supported") {
        true => document.list(name).is_some(),
        false => !document.text(name).is_empty(),
    };
    needed.into_iter().filter(|name| !there(name)).collect()
}

fn members(p: &mut Probe<'_>, document: &Document) {
    let openid = p.target().discovery_path().is_some_and(|path| path.contains("openid-configuration"));
    let missing = missing(document, openid);
    if missing.is_empty() {
        p.pass(Some("members"), "complete", "what clients need is there");
    } else {
        let text = format!("the document lacks {}", missing.join(", "));
        p.fail_told(Some("members"), "lacks", "what clients need", text, &document.answer);
    }
}

fn endpoints(p: &mut Probe<'_>, document: &Document) -> Result<(), Stop> {
    let here = p.target().endpoint.authority();
    let issuer = parts(document.text("issuer")).map(|(authority, _)| authority.to_owned());
    let mut asked = Vec::new();
    for (name, method) in ENDPOINTS {
        let address = document.text(name);
        // What is elsewhere (keys that another host serves) is not ours to ask.
        let ours = parts(address).is_some_and(|(at, _)| at == here || Some(at) == issuer.as_deref());
        if !ours {
            continue;
        }
        let request = http::Request::builder().method(*method).uri(p.target().origin_form(address));
        let request = match *method {
            "POST" => request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"),
            _ => request,
        };
        let request = request.body(bytes::Bytes::new()).map_err(Stop::unsendable)?;
        asked.push((*name, p.send("discovery", request, None)?));
    }
    let gone: Vec<&(&str, Answer)> = asked.iter().filter(|(_, a)| matches!(a.status(), 404 | 410)).collect();
    let ill = asked.iter().find(|(_, a)| matches!(a.axis, Axis::Crashed(_) | Axis::Hung | Axis::Dropped(_)));
    if asked.is_empty() {
        let why = "the document names no endpoint at this server".to_owned();
        p.skip("endpoints", SkipReason::NotApplicable(why));
    } else if gone.len() == asked.len() {
        let text = "none of the endpoints is where the document says; is a proxy missing that takes a prefix away?";
        p.inconclusive(Some("endpoints"), "none", text);
    } else if let Some((name, answer)) = gone.first() {
        let text = format!("`{name}` is not there: {}", answer.describe());
        p.fail_told(Some("endpoints"), "gone", "an endpoint that answers", text, answer);
    } else if let Some((name, answer)) = ill {
        p.fail_told(Some("endpoints"), "ill", "an orderly answer", format!("`{name}`: {}", answer.describe()), answer);
        p.at_most(Level::Should);
    } else {
        let names: Vec<&str> = asked.iter().map(|(name, _)| *name).collect();
        p.pass(Some("endpoints"), "there", format!("{} answer", names.join(", ")));
    }
    Ok(())
}

fn algorithms(p: &mut Probe<'_>, document: &Document) -> Result<(), Stop> {
    let signing = document.list("id_token_signing_alg_values_supported");
    let id_token = p.pooled()?.other.get("id_token").and_then(Value::as_str).and_then(decode);
    let used = id_token.and_then(|(header, _)| header.get("alg")?.as_str().map(str::to_owned));
    match (&signing, used) {
        (Some(list), Some(used)) if list.contains(&used.as_str()) => {
            p.pass(Some("algorithms"), "true", format!("ID tokens are signed with {used}, which is listed"));
        }
        (Some(list), Some(used)) => {
            let text = format!("ID tokens are signed with {used}, listed are {}", list.join(", "));
            p.fail_told(Some("algorithms"), "untrue", "the algorithm that signs", text, &document.answer);
        }
        _ => {
            let why = "no ID token and list of algorithms to compare".to_owned();
            p.skip("algorithms", SkipReason::NotApplicable(why));
        }
    }
    // RFC 8414 section 2 forbids it where clients sign; for ID tokens OpenID Connect leaves a narrow use for it.
    let names = |member: &str| document.list(member).is_some_and(|list| list.contains(&"none"));
    let clients = ["token_endpoint", "introspection_endpoint", "revocation_endpoint"]
        .map(|endpoint| format!("{endpoint}_auth_signing_alg_values_supported"));
    let by_clients = clients.iter().find(|member| names(member));
    let id_tokens = "id_token_signing_alg_values_supported";
    match by_clients.map(String::as_str).or(names(id_tokens).then_some(id_tokens)) {
        None => p.pass(Some("none"), "absent", "no list of signatures names `none`"),
        Some(member) => {
            p.fail_told(Some("none"), "listed", "no `none`", format!("`{member}` lists `none`"), &document.answer);
            if member == id_tokens {
                p.at_most(Level::Should);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_is_held_to_the_address_only_where_it_claims_to_be_there() {
        let openid = "/.well-known/openid-configuration";
        let here = "127.0.0.1:80";
        for (issuer, declared, at, right) in [
            ("http://127.0.0.1:80", None, openid.to_owned(), true),
            ("http://127.0.0.1:80/", None, openid.to_owned(), true),
            ("http://127.0.0.1:80/shop", None, format!("/shop{openid}"), true),
            ("http://127.0.0.1:80/shop", None, format!("{openid}/shop"), true),
            ("http://127.0.0.1:80/shop", None, openid.to_owned(), false),
            ("https://id.example/shop", None, openid.to_owned(), true),
            ("https://id.example", Some("https://id.example"), openid.to_owned(), true),
            ("https://id.example/", Some("https://id.example"), openid.to_owned(), false),
            ("http://127.0.0.1:80/shop", None, "/metadata.json".to_owned(), true),
            ("https://id.example?x=1", None, openid.to_owned(), false),
            ("shop", None, openid.to_owned(), false),
            ("", None, openid.to_owned(), false),
        ] {
            let wrong = wrong_issuer(issuer, declared, (here, &at));
            assert_eq!(wrong.is_none(), right, "{issuer} at {at}: {wrong:?}");
        }
    }

    #[test]
    fn what_must_be_there_depends_on_the_grants() {
        let lacks = |members: Value, openid: bool| {
            let Value::Object(members) = members else { panic!("no object") };
            let request = http::Request::new(bytes::Bytes::new());
            let none = (crate::units::Nanos(0), crate::units::Nanos(0));
            let answer = Answer::new("discovery", request, None, (Axis::Hung, None), 0, none);
            missing(&Document { answer, members }, openid)
        };
        let bare =
            json!({"issuer": "https://a", "token_endpoint": "https://a/t", "grant_types_supported": ["password"]});
        assert!(lacks(bare.clone(), false).is_empty());
        assert_eq!(lacks(bare, true).len(), 3);
        let by_default = json!({"issuer": "https://a", "token_endpoint": "https://a/t"});
        assert_eq!(lacks(by_default, false), ["authorization_endpoint", "response_types_supported"]);
        let implicit = json!({"issuer": "", "grant_types_supported": ["implicit"], "authorization_endpoint": "https://a/a", "response_types_supported": "token"});
        assert_eq!(lacks(implicit, false), ["issuer", "response_types_supported"]);
    }
}

//! What does the server grant and refuse? Every operation is found, tried with good and bad, and described by its answers.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use super::documents::{Described, Documents};
use super::login::{Login, basic, shown};
use super::scout::{Scout, brief, is_good, with};
use super::{Question, renewal, tokens};
use crate::target::{
    Auth, BodyKind, Dialect, Issued, OneOrMany, Operation, Predicate, Request, Statuses, TokenPlace, TokenUse, Vars,
    VerifyKey,
};
use crate::wire::Reply;

/// What is shown as garbage: no server reads this as a token.
pub(super) const GARBAGE: &str = "assay-no-token";
/// Where a caller is told who they are, the likeliest first.
const RESOURCES: &[&str] = &[
    "/me",
    "/api/me",
    "/api/me/",
    "/users/me",
    "/api/users/me",
    "/api/users/me/",
    "/auth/users/me/",
    "/auth/me",
    "/api/auth/me",
    "/api/v1/me",
    "/api/v1/users/me",
    "/user",
    "/api/user",
    "/api/user/",
    "/profile",
    "/api/profile",
    "/api/profile/",
    "/whoami",
    "/account",
    "/api/account",
    "/protected",
    "/api/protected",
    "/protected/",
    "/hello/",
    "/hello",
    "/api/hello/",
    "/api/hello",
    "/secure",
    "/private",
    "/api/private",
    "/api/",
    "/api/users/",
];
/// The same beside the login, and where a token endpoint is asked for its opinion.
const RESOURCES_BESIDE: &[&str] = &["user", "me", "users/me", "profile", "protected", "whoami", "hello"];
const VERIFIES_BESIDE: &[&str] = &["verify", "token/verify"];

/// Fills in everything beyond the login.
pub(super) fn observe(scout: &mut Scout<'_>, login: &Login, documents: &Documents) {
    describe_tokens(scout, &login.issued);
    let typ =
        login.issued.access.as_deref().and_then(tokens::decode).and_then(|(header, _)| header.get("typ").cloned());
    let rfc9068 = typ.as_ref().and_then(Value::as_str).is_some_and(|typ| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
    });
    if rfc9068 && scout.target.profile.dialect == Dialect::Oauth {
        scout.target.profile.dialect = Dialect::Rfc9068;
        scout.say("access tokens say `typ: at+jwt`: held to RFC 9068");
    }
    find_keys(scout, documents);
    find_resource(scout, &login.issued, documents);
    find_endpoints(scout, login, documents);
    describe_login(scout);
    renewal::find_refresh(scout, login, documents);
    renewal::find_revoke(scout, login, documents);
}

fn statuses(seen: &BTreeSet<u16>) -> Statuses {
    match seen.iter().collect::<Vec<_>>().as_slice() {
        [one] => OneOrMany::One(**one),
        many => OneOrMany::Many(many.iter().map(|status| **status).collect()),
    }
}

/// How a server says no. What breaks it is no refusal: written down as one, it would excuse every breakdown.
pub(super) fn refused(seen: &BTreeSet<u16>) -> Option<Predicate> {
    let seen: BTreeSet<u16> = seen.iter().copied().filter(|status| *status < 500).collect();
    (!seen.is_empty()).then(|| Predicate { status: Some(statuses(&seen)), ..Predicate::default() })
}

/// What the tokens look like, and what they say of issuer, audience and user.
fn describe_tokens(scout: &mut Scout<'_>, issued: &Issued) {
    let Some(access) = issued.access.as_deref() else { return };
    let refresh = issued.refresh.as_deref();
    let profile = &mut scout.target.profile;
    profile.tokens.access = tokens::kind(access, refresh);
    if let Some(lifetime) = issued.expires_in.filter(|_| profile.tokens.access.lifetime_s.is_none()) {
        profile.tokens.access.lifetime_s = Some(tokens::sensible(lifetime));
    }
    if let Some(refresh) = refresh {
        profile.tokens.refresh = tokens::kind(refresh, Some(access));
    }
    let mut line = match tokens::decode(access) {
        None => "access tokens are opaque: only the server can read them".to_owned(),
        Some((header, claims)) => {
            profile.declares.issuer = claims.get("iss").and_then(Value::as_str).map(str::to_owned);
            profile.declares.audience = match claims.get("aud") {
                Some(Value::String(one)) => Some(OneOrMany::One(one.clone())),
                Some(Value::Array(many)) => {
                    let many: Vec<String> = many.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                    (!many.is_empty()).then_some(OneOrMany::Many(many))
                }
                _ => None,
            };
            if let Some((_, id)) = tokens::subject(&claims)
                && let Some(user) = &mut profile.user
                && user.login != id
            {
                user.id = Some(id);
            }
            let names: Vec<&str> = claims.keys().map(String::as_str).collect();
            format!(
                "access tokens are JWTs ({}), claims {}",
                header.get("alg").and_then(Value::as_str).unwrap_or("no alg"),
                names.join(", ")
            )
        }
    };
    if let Some(lifetime) = profile.tokens.access.lifetime_s {
        line.push_str(&format!("; they live for {lifetime} s"));
    }
    scout.say(line);
}

fn find_keys(scout: &mut Scout<'_>, documents: &Documents) {
    let Some(path) = &documents.keys else { return };
    let request = Request { path: path.clone(), ..Request::default() };
    let accepted =
        Predicate { status: Some(OneOrMany::One(200)), present: vec!["/keys".into()], ..Predicate::default() };
    scout.set("keys", Operation { request: Some(request), accepted: Some(accepted), ..Operation::default() });
    let asymmetric = scout.target.profile.tokens.access.alg.as_deref().is_some_and(|alg| !alg.starts_with("HS"));
    if asymmetric {
        scout.target.profile.keys.verify = Some(VerifyKey::Jwks(path.clone()));
    }
}

/// A request that carries the token as this server hands it out: in its cookie, else as a bearer token.
pub(super) fn carrying(scout: &Scout<'_>, path: &str) -> Request {
    let returns = scout.target.profile.operations.get("issue").map(|issue| issue.returns.clone()).unwrap_or_default();
    let cookie = |name: &str| returns.get(name).and_then(|place| place.strip_prefix("cookie:")).map(str::to_owned);
    let mut request = Request { method: Some("GET".into()), path: path.to_owned(), ..Request::default() };
    match cookie("access") {
        Some(name) => {
            request.cookies.insert(name, "${token}".into());
            send_back(&mut request, &returns, "csrf");
        }
        None => request.auth = Some(Auth::Bearer("${token}".into())),
    }
    request
}

/// A CSRF value goes back in its cookie and in a header.
pub(super) fn send_back(request: &mut Request, returns: &IndexMap<String, String>, name: &str) {
    let Some(place) = returns.get(name) else { return };
    let value = format!("${{issued.{name}}}");
    if let Some(cookie) = place.strip_prefix("cookie:") {
        request.cookies.insert(cookie.to_owned(), value.clone());
    }
    let header = if place.to_ascii_lowercase().contains("xsrf") { "X-XSRF-Token" } else { "X-CSRF-Token" };
    request.headers.insert(header.into(), value);
}

/// The protected resource.
fn find_resource(scout: &mut Scout<'_>, issued: &Issued, documents: &Documents) {
    let mut paths: Vec<String> = scout.wanted.resource.iter().map(|path| scout.local(path)).collect();
    if paths.is_empty() {
        let secured = |o: &&Described| o.method == "GET" && o.secured && !o.parameters;
        let mut described: Vec<String> =
            documents.operations.iter().filter(secured).map(|o| scout.local(&o.path)).collect();
        // One that is about the caller tells who the caller is.
        described.sort_by_key(|path| !["me", "user", "profile", "account"].iter().any(|word| path.contains(word)));
        paths = described;
        paths.extend(beside(&login_path(scout), RESOURCES_BESIDE));
        paths.extend(RESOURCES.iter().map(|path| (*path).to_owned()));
    }
    if try_resources(scout, issued, &paths) {
        return;
    }
    if let Some(given) = scout.wanted.resource.clone() {
        let line = not_granted(scout, &scout.local(&given), issued);
        return scout.say(line);
    }
    if let Some(path) = scout.talk.ask(Question::Resource).filter(|path| !path.trim().is_empty()) {
        let local = scout.local(path.trim());
        if try_resources(scout, issued, &[local]) {
            return;
        }
    }
    scout.say("no GET was found that needs a token: name one with --resource PATH, and many more checks apply");
}

/// Why the resource that the user named is none, in words.
fn not_granted(scout: &mut Scout<'_>, path: &str, issued: &Issued) -> String {
    const NAME: &str = "verify.resource";
    let request = carrying(scout, path);
    scout.set(NAME, Operation { request: Some(request), ..Operation::default() });
    let with_token = scout.call(NAME, &shown(issued));
    scout.unset(NAME);
    match with_token {
        Some(reply) if is_good(&reply) => {
            format!(
                "GET {path} answers {} without a token too, so it cannot judge one: name another with --resource PATH",
                reply.status
            )
        }
        Some(reply) => format!("GET {path} answers {} to the fresh token", brief(&reply)),
        None => format!("GET {path} does not answer"),
    }
}

fn try_resources(scout: &mut Scout<'_>, issued: &Issued, paths: &[String]) -> bool {
    const NAME: &str = "verify.resource";
    for path in paths {
        let request = carrying(scout, path);
        scout.set(NAME, Operation { request: Some(request), ..Operation::default() });
        let found =
            scout.call(NAME, &Vars::new().issued(&issued.other)).filter(|reply| !is_good(reply)).and_then(|nothing| {
                if matches!(nothing.status, 404 | 405 | 500..) {
                    return None;
                }
                if let Some(granted) = scout.call(NAME, &shown(issued)).filter(is_good) {
                    return Some(granted);
                }
                // The challenge may name another scheme than Bearer.
                let scheme = nothing.header("www-authenticate")?.split_whitespace().next()?.to_owned();
                if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic") {
                    return None;
                }
                let request = scout.operation(NAME)?.request.as_mut()?;
                request.auth = None;
                request.headers.insert("Authorization".into(), format!("{scheme} ${{token}}"));
                scout.call(NAME, &shown(issued)).filter(is_good)
            });
        if let Some(granted) = found {
            settle_resource(scout, NAME, path, issued, &granted);
            return true;
        }
    }
    scout.unset(NAME);
    false
}

fn settle_resource(scout: &mut Scout<'_>, name: &str, path: &str, issued: &Issued, granted: &Reply) {
    let pointer = granted.json().and_then(|json| identity(scout, &json));
    let mut accepted = Predicate { status: Some(OneOrMany::One(granted.status)), ..Predicate::default() };
    accepted.present.extend(pointer.clone());
    if let Some(operation) = scout.operation(name) {
        operation.accepted = Some(accepted);
    }
    let seen = refusals(scout, name, issued, granted);
    let who = pointer.as_ref().map(|pointer| format!(", names the caller at {pointer}")).unwrap_or_default();
    scout.say(format!("GET {path}: {} with a token{who}; {seen}", granted.status));
    scout.target.profile.identity = pointer;
}

/// Where a reply names the user: a text that is the login or the id.
fn identity(scout: &Scout<'_>, json: &Value) -> Option<String> {
    let user = scout.target.profile.user.as_ref()?;
    let wanted = [Some(&user.login), user.id.as_ref()];
    fn search(value: &Value, pointer: &str, wanted: &str, depth: u8) -> Option<String> {
        match value {
            Value::Object(members) if depth < 4 => members.iter().find_map(|(name, member)| {
                search(member, &format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), wanted, depth + 1)
            }),
            Value::String(text) => (text == wanted).then(|| pointer.to_owned()),
            Value::Number(number) => (number.to_string() == wanted).then(|| pointer.to_owned()),
            _ => None,
        }
    }
    wanted.into_iter().flatten().find_map(|wanted| search(json, "", wanted, 0))
}

/// Shows a way nothing, garbage and a tampered token; writes down how it refuses. In words for the user.
fn refusals(scout: &mut Scout<'_>, name: &str, issued: &Issued, granted: &Reply) -> String {
    let access = issued.access.clone().unwrap_or_default();
    let nothing = scout.call(name, &Vars::new().issued(&issued.other));
    let bad: Vec<Reply> = [GARBAGE.to_owned(), tokens::tampered(&access)]
        .iter()
        .filter_map(|token| scout.call(name, &with(issued, token)))
        .collect();
    let mut told = Vec::new();
    let in_body = scout.target.token_place(name) == Some(TokenPlace::Body);
    if bad.iter().any(|reply| scout.target.accepted(name, reply)) {
        // Yes and no have the same status: what differs in the bodies tells them apart.
        if let Some((yes, no)) = bad.iter().find_map(|reply| difference(granted, reply))
            && let Some(operation) = scout.operation(name)
        {
            let accepted = operation.accepted.get_or_insert_default();
            accepted.json.extend(yes.json);
            let new = yes.present.into_iter().filter(|place| !accepted.present.contains(place));
            let new: Vec<String> = new.collect();
            accepted.present.extend(new);
            operation.denied = Some(no);
            told.push("says no with the same status and another body".to_owned());
        } else {
            told.push("ACCEPTS A TOKEN THAT NOBODY ISSUED".to_owned());
        }
    } else {
        let seen: BTreeSet<u16> = bad.iter().map(|reply| reply.status).collect();
        let listed: Vec<String> = seen.iter().map(u16::to_string).collect();
        told.push(format!("{} for bad tokens", listed.join(" and ")));
        if let Some(operation) = scout.operation(name) {
            operation.denied = refused(&seen);
        }
    }
    if let Some(nothing) = nothing {
        told.push(format!("{} without one", nothing.status));
        let status = BTreeSet::from([nothing.status]);
        if let Some(operation) = scout.operation(name)
            && !is_good(&nothing)
        {
            if in_body {
                operation.invalid = refused(&status);
            } else if !operation
                .denied
                .as_ref()
                .and_then(|d| d.status.as_ref())
                .is_some_and(|s| s.all().contains(&nothing.status))
            {
                operation.no_token = refused(&status);
            }
        }
    }
    told.join(", ")
}

/// What tells two JSON bodies of one status apart: a member of another value, or one that only the first has.
fn difference(yes: &Reply, no: &Reply) -> Option<(Predicate, Predicate)> {
    let (yes_json, no_json) = (yes.json()?, no.json()?);
    let (yes_members, no_members) = (yes_json.as_object()?, no_json.as_object()?);
    let with = |reply: &Reply| Predicate { status: Some(OneOrMany::One(reply.status)), ..Predicate::default() };
    let (mut grants, mut denies) = (with(yes), with(no));
    if let Some((name, value)) = yes_members.iter().find(|(name, value)| {
        (value.is_boolean() || value.is_string()) && no_members.get(*name).is_some_and(|other| other != *value)
    }) {
        grants.json.insert(format!("/{name}"), value.clone());
        denies.json.insert(format!("/{name}"), no_members[name].clone());
        return Some((grants, denies));
    }
    let (name, _) = yes_members.iter().find(|(name, _)| !no_members.contains_key(*name))?;
    grants.present.push(format!("/{name}"));
    denies.absent.push(format!("/{name}"));
    Some((grants, denies))
}

/// A request with the token in a member of its body; the client shows itself as at the login.
pub(super) fn asking(scout: &Scout<'_>, path: &str, body: BodyKind, field: &str) -> Request {
    let mut fields: IndexMap<String, Value> = IndexMap::new();
    fields.insert(field.to_owned(), Value::from("${token}"));
    let mut request =
        Request { method: Some("POST".into()), path: path.to_owned(), body: Some(body), fields, ..Request::default() };
    if let Some(login) = scout.target.profile.operations.get("issue").and_then(|issue| issue.request.as_ref()) {
        request.auth.clone_from(&login.auth);
        for name in ["client_id", "client_secret"] {
            if let Some(value) = login.fields.get(name) {
                request.fields.insert(name.to_owned(), value.clone());
            }
        }
    } else if let Some(client) = scout.target.profile.client.as_ref().filter(|_| body == BodyKind::Form) {
        // A program has logged in: endpoints of OAuth want to be told who asks.
        match &client.secret {
            Some(_) => request.auth = Some(basic()),
            None => _ = request.fields.insert("client_id".to_owned(), Value::from("${client.id}")),
        }
    }
    request
}

/// Verify endpoints, introspection, userinfo.
fn find_endpoints(scout: &mut Scout<'_>, login: &Login, documents: &Documents) {
    let path = login_path(scout);
    let mut ways: Vec<(&str, Request)> = Vec::new();
    let introspection = documents.member("introspection_endpoint").map(|address| scout.local(address));
    let toolkit = (login.kind == "django-oauth-toolkit").then(|| "/o/introspect/".to_owned());
    if let Some(path) = introspection.or(toolkit) {
        ways.push(("verify.introspect", asking(scout, &path, BodyKind::Form, "token")));
    }
    if let Some(address) = documents.member("userinfo_endpoint") {
        ways.push(("verify.userinfo", carrying(scout, &scout.local(address))));
    }
    if path.ends_with("token/") || path.ends_with("create/") {
        let base = path.strip_suffix("create/").unwrap_or(&path);
        ways.push(("verify.endpoint", asking(scout, &format!("{base}verify/"), BodyKind::Json, "token")));
    }
    if !ways.iter().any(|(name, _)| *name == "verify.endpoint") {
        let there = |path: &String| scout.raw("POST", path, Some("{}")).is_ok_and(|r| !matches!(r.status, 404 | 405));
        let guesses = beside(&path, VERIFIES_BESIDE).into_iter().filter(there);
        let guesses: Vec<Request> = guesses.map(|path| asking(scout, &path, BodyKind::Json, "token")).collect();
        ways.extend(guesses.into_iter().map(|request| ("verify.endpoint", request)));
    }
    for (name, request) in ways {
        let path = request.path.clone();
        let method = request.method.clone();
        // One place under two names would be examined twice, and agree with itself.
        let known = scout.target.profile.operations.values().filter_map(|operation| operation.request.as_ref());
        let known =
            known.clone().any(|known| known.path == path && known.method == method && known.fields == request.fields);
        if known || scout.operation(name).is_some() {
            continue;
        }
        scout.set(name, Operation { request: Some(request), ..Operation::default() });
        let granted = scout.call(name, &shown(&login.issued)).filter(is_good);
        let active = |reply: &Reply| reply.json().is_none_or(|json| json.get("active") != Some(&Value::Bool(false)));
        let Some(granted) = granted.filter(active) else {
            scout.unset(name);
            continue;
        };
        let accepted = Predicate { status: Some(OneOrMany::One(granted.status)), ..Predicate::default() };
        if let Some(operation) = scout.operation(name) {
            operation.accepted = Some(accepted);
        }
        // What says yes to everything is no judge of tokens.
        if scout.call(name, &with(&login.issued, GARBAGE)).is_some_and(|reply| is_good(&reply) && active(&reply)) {
            scout.unset(name);
            continue;
        }
        let told = refusals(scout, name, &login.issued, &granted);
        let takes_refresh = login.issued.refresh.as_deref().is_some_and(|refresh| {
            scout.call(name, &with(&login.issued, refresh)).is_some_and(|reply| scout.target.accepted(name, &reply))
        });
        if takes_refresh && let Some(operation) = scout.operation(name) {
            operation.accepts = Some(vec![TokenUse::Access, TokenUse::Refresh]);
        }
        let both = if takes_refresh { ", takes refresh tokens too" } else { "" };
        scout.say(format!("{path}: {} for a good token{both}; {told}", granted.status));
    }
}

/// `names` in the folder of `login` and in each above it, the nearest first, with a slash at the end where the login has one.
pub(super) fn beside(login: &str, names: &[&str]) -> Vec<String> {
    let slash = if login.ends_with('/') { "/" } else { "" };
    let mut folder = login.trim_end_matches('/');
    let mut paths = Vec::new();
    while let Some(at) = folder.rfind('/') {
        paths.extend(names.iter().map(|name| format!("{}{name}{slash}", &folder[..=at])));
        folder = &folder[..at];
    }
    paths
}

pub(super) fn login_path(scout: &Scout<'_>) -> String {
    let issue = scout.target.profile.operations.get("issue").and_then(|issue| issue.request.as_ref());
    issue.map(|request| request.path.clone()).unwrap_or_default()
}

/// How the login refuses: a wrong password, a missing one, another method.
fn describe_login(scout: &mut Scout<'_>) {
    if scout.target.is_command("issue") {
        return;
    }
    let secret = if scout.target.mentions("issue", "user.password") { "user.password" } else { "client.secret" };
    let wrong = scout.call("issue", &Vars::new().set(secret, "assay-wrong-password"));
    let missing = scout.call("issue", &Vars::new().without(secret));
    let method = scout.call_as(http::Method::GET, "issue", &Vars::new());
    let mut told = Vec::new();
    let granted = scout.call("issue", &Vars::new());
    let mut note = |what: &str, reply: &Option<Reply>| {
        told.push(
            reply
                .as_ref()
                .map_or_else(|| format!("no answer to {what}"), |reply| format!("{} for {what}", reply.status)),
        );
    };
    note("a wrong password", &wrong);
    note("none", &missing);
    note("GET", &method);
    let of = |reply: &Option<Reply>| {
        reply.as_ref().filter(|reply| !is_good(reply)).map(|reply| BTreeSet::from([reply.status])).unwrap_or_default()
    };
    let same_status =
        wrong.as_ref().is_some_and(is_good).then(|| difference(granted.as_ref()?, wrong.as_ref()?)).flatten();
    if let Some(issue) = scout.operation("issue") {
        issue.denied = refused(&of(&wrong));
        issue.invalid = refused(&of(&missing));
        issue.wrong_method = refused(&of(&method));
        if let Some((_, no)) = same_status {
            issue.denied = Some(no);
        }
    }
    scout.say(format!("the login: {}", told.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_beside_a_login_is_looked_for_from_the_nearest_folder_up() {
        assert_eq!(beside("/api/auth/login/", &["me"]), ["/api/auth/me/", "/api/me/", "/me/"]);
        assert_eq!(beside("/login", &["user", "me"]), ["/user", "/me"]);
        assert_eq!(beside("", &["me"]), [""; 0]);
    }

    #[test]
    fn a_breakdown_is_never_written_down_as_a_refusal() {
        assert_eq!(refused(&BTreeSet::from([500])), None);
        let kept = refused(&BTreeSet::from([401, 503])).and_then(|predicate| predicate.status);
        assert_eq!(kept, Some(OneOrMany::One(401)));
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, body: body.as_bytes().to_vec(), ..Reply::default() }
    }

    #[test]
    fn yes_and_no_of_one_status_are_told_apart_by_their_bodies() {
        let (yes, no) = difference(&reply(200, r#"{"active":true,"sub":"1"}"#), &reply(200, r#"{"active":false}"#))
            .expect("they differ");
        assert_eq!((yes.json["/active"].as_bool(), no.json["/active"].as_bool()), (Some(true), Some(false)));
        let (yes, no) =
            difference(&reply(200, r#"{"user":{"id":1}}"#), &reply(200, r#"{"error":{}}"#)).expect("they differ");
        assert_eq!((yes.present, no.absent), (vec!["/user".to_owned()], vec!["/user".to_owned()]));
        assert!(difference(&reply(200, "{}"), &reply(200, "{}")).is_none());
    }
}

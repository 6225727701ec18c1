//! How does a session go on and end? The refresh and the revocation: where they are, and what they do.

use std::collections::BTreeSet;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::documents::{Described, Documents};
use super::login::{Login, shown};
use super::observe::{GARBAGE, asking, beside, carrying, login_path, refused, send_back};
use super::scout::{Scout, brief, is_good, with};
use super::tokens;
use crate::target::{Auth, BodyKind, OneOrMany, Operation, Predicate, Replay, Request, TokenUse, Vars};

/// Names of refresh paths beside a login: the last segment is replaced, or this is appended.
const REFRESHES: &[&str] =
    &["refresh", "refresh/", "refresh-token", "refresh_token", "token/refresh", "token/refresh/", "token"];

/// Names of logouts beside a login.
const LOGOUTS: &[&str] = &["logout", "revoke", "signout"];

/// Until tokens that are told apart by their times alone are new texts.
const NEXT_SECOND: Duration = Duration::from_millis(1100);

/// Where a refresh may be, and how the token may travel to it.
fn refresh_requests(scout: &Scout<'_>, documents: &Documents) -> Vec<Request> {
    let path = login_path(scout);
    let issue = scout.target.profile.operations.get("issue");
    let place = issue.and_then(|issue| issue.returns.get("refresh").cloned()).unwrap_or_default();
    let login = issue.and_then(|issue| issue.request.as_ref());
    let endpoint = documents.member("token_endpoint").filter(|_| login.is_none() && scout.wanted.refresh.is_none());
    if let Some(endpoint) = endpoint {
        let mut request = asking(scout, &scout.local(endpoint), BodyKind::Form, "refresh_token");
        request.fields.shift_insert(0, "grant_type".into(), Value::from("refresh_token"));
        return vec![request];
    }
    if login.is_some_and(|login| login.fields.contains_key("grant_type") && login.body == Some(BodyKind::Form)) {
        let mut request = asking(scout, &path, BodyKind::Form, "refresh_token");
        request.fields.shift_insert(0, "grant_type".into(), Value::from("refresh_token"));
        return vec![request];
    }
    let mut paths: Vec<String> = scout.wanted.refresh.iter().map(|path| scout.local(path)).collect();
    if paths.is_empty() {
        let described = documents.operations.iter().filter(|o| o.method == "POST" && o.path.contains("refresh"));
        paths.extend(described.map(|o| scout.local(&o.path)));
        let beside = path.trim_end_matches('/').rfind('/').map_or("/", |at| &path[..=at]);
        for name in REFRESHES {
            let below = format!("{}/{name}", path.trim_end_matches('/'));
            paths.extend([below, format!("{beside}{name}")]);
        }
        // The login itself would only count another login.
        paths.retain(|other| *other != path);
        // SimpleJWT's own place first; a path with a slash at its end is asked as it is.
        paths.sort_by_key(|p| !p.ends_with('/') && path.ends_with('/'));
    }
    let named =
        place.rsplit('/').next().filter(|name| !name.is_empty() && !name.contains(':')).unwrap_or("refresh").to_owned();
    let mut requests = Vec::new();
    for path in paths {
        if let Some(cookie) = place.strip_prefix("cookie:") {
            let mut request = carrying(scout, &path);
            request.method = Some("POST".into());
            request.auth = None;
            request.cookies.retain(|_, value| value != "${token}");
            request.cookies.insert(cookie.to_owned(), "${token}".into());
            let returns = issue.map(|issue| issue.returns.clone()).unwrap_or_default();
            if returns.contains_key("refresh_csrf") {
                request.cookies.retain(|_, value| value != "${issued.csrf}");
                send_back(&mut request, &returns, "refresh_csrf");
            }
            requests.push(request);
            continue;
        }
        let mut names = vec![named.clone()];
        names.extend(
            ["refresh", "refresh_token", "refreshToken", "token"]
                .map(str::to_owned)
                .into_iter()
                .filter(|n| *n != named),
        );
        requests.extend(names.iter().map(|name| asking(scout, &path, BodyKind::Json, name)));
        let auth = Some(Auth::Bearer("${token}".into()));
        requests.push(Request { method: Some("POST".into()), path, auth, ..Request::default() });
    }
    requests
}

pub(super) fn find_refresh(scout: &mut Scout<'_>, login: &Login, documents: &Documents) {
    const NAME: &str = "refresh";
    let Some(first) = login.issued.refresh.clone() else { return };
    let mut absent: BTreeSet<String> = BTreeSet::new();
    for request in refresh_requests(scout, documents) {
        let path = request.path.clone();
        if absent.contains(&path) {
            continue;
        }
        scout.set(NAME, Operation { request: Some(request), ..Operation::default() });
        let Some(reply) = scout.call(NAME, &with(&login.issued, &first)) else { continue };
        let returns = if is_good(&reply) { tokens::returns(&reply) } else { IndexMap::new() };
        if returns.is_empty() {
            if matches!(reply.status, 404 | 405) {
                absent.insert(path);
            }
            continue;
        }
        if let Some(operation) = scout.operation(NAME) {
            operation.accepted = Some(Predicate { status: Some(OneOrMany::One(reply.status)), ..Predicate::default() });
            operation.returns = returns;
        }
        describe_refresh(scout, login, &path);
        return;
    }
    let last = scout.wanted.refresh.clone().and_then(|_| scout.call(NAME, &with(&login.issued, &first)));
    scout.unset(NAME);
    match (scout.wanted.refresh.clone(), last) {
        (Some(path), Some(reply)) => {
            let path = scout.local(&path);
            scout.say(format!("POST {path} answers {} to the fresh refresh token", brief(&reply)));
        }
        (Some(path), None) => scout.say(format!("POST {} does not answer", scout.local(&path))),
        (None, _) => scout.say("a refresh token is issued, but no refresh was found: say where with --refresh PATH"),
    }
}

/// Tries a refresh with logins of its own: does it rotate, and what becomes of what was before?
fn describe_refresh(scout: &mut Scout<'_>, login: &Login, path: &str) {
    const NAME: &str = "refresh";
    let Some(mut session) = scout.log_in() else { return };
    if session.refresh == login.issued.refresh {
        std::thread::sleep(NEXT_SECOND);
        session = scout.log_in().unwrap_or(session);
    }
    let Some(first) = session.refresh.clone() else { return };
    let refreshed = |scout: &Scout<'_>, token: &str| {
        let reply = scout.call(NAME, &with(&session, token))?;
        scout.target.accepted(NAME, &reply).then(|| scout.target.tokens(&reply, NAME).ok()).flatten()
    };
    let way = scout.target.verify_ways().first().map(|way| (*way).to_owned());
    let Some(mut second) = refreshed(scout, &first) else { return };
    if second.refresh.as_ref() == Some(&first) {
        // Either it stays, or it has no `jti` and a new one is the same text until the second is over.
        std::thread::sleep(NEXT_SECOND);
        second = refreshed(scout, &first).unwrap_or(second);
    }
    let rotates = second.refresh.as_ref().is_some_and(|token| *token != first);
    let old_access =
        way.map(|way| scout.call(&way, &shown(&session)).is_some_and(|reply| scout.target.accepted(&way, &reply)));
    let replayed = refreshed(scout, &first).is_some();
    let newest = second.refresh.clone().filter(|_| rotates && !replayed);
    let family_ends = newest.map(|newest| refreshed(scout, &newest).is_none());
    let bad: BTreeSet<u16> = [GARBAGE.to_owned(), tokens::tampered(&first)]
        .iter()
        .filter_map(|token| scout.call(NAME, &with(&session, token)))
        .chain((!replayed).then(|| scout.call(NAME, &with(&session, &first))).flatten())
        .filter(|reply| !is_good(reply))
        .map(|reply| reply.status)
        .collect();
    let missing = scout.call(NAME, &Vars::new().issued(&session.other)).filter(|reply| !is_good(reply));
    if let Some(operation) = scout.operation(NAME) {
        if !rotates {
            operation.returns.shift_remove("refresh");
        }
        operation.rotates = Some(rotates);
        operation.replay = Some(if replayed { Replay::Accepted } else { Replay::Rejected });
        operation.replay_revokes_family = family_ends;
        operation.kills_old_access = old_access.map(|still_good| !still_good);
        operation.denied = refused(&bad);
        operation.invalid = missing.as_ref().and_then(|reply| refused(&BTreeSet::from([reply.status])));
    }
    let mut told = vec![if rotates { "a new refresh token each time" } else { "the refresh token stays" }.to_owned()];
    told.push(if replayed { "a used one works again" } else { "a used one is refused" }.to_owned());
    if family_ends == Some(true) {
        told.push("and ends the whole session".to_owned());
    }
    if old_access == Some(false) {
        told.push("the old access token is refused from then on".to_owned());
    }
    scout.say(format!("POST {path}: {}", told.join(", ")));
}

/// A revocation that may be there, and whose token it takes.
struct Guess {
    request: Request,
    /// It takes the refresh token, though that is no member of its body.
    refresh: bool,
}

impl Guess {
    fn new(request: Request) -> Guess {
        Guess { request, refresh: false }
    }
}

/// A revocation that the server takes.
struct Taken {
    operation: Operation,
    /// What to tell.
    line: String,
    /// Whether what is revoked is refused from then on, where that could be seen.
    ended: Option<bool>,
    /// It says no to what is no token.
    discerns: bool,
    /// It takes the access token.
    of_access: bool,
}

/// Where a revocation may be, and how the token may travel to it, the likeliest first: one list for each place.
fn revoke_requests(scout: &Scout<'_>, login: &Login, documents: &Documents) -> Vec<Vec<Guess>> {
    let path = login_path(scout);
    let mut places = Vec::new();
    if path.ends_with("token/") && login.kind != "django-oauth-toolkit" {
        places.push(vec![Guess::new(asking(scout, &format!("{path}blacklist/"), BodyKind::Json, "refresh"))]);
    }
    let standard = documents.member("revocation_endpoint").map(|address| scout.local(address));
    let toolkit = (login.kind == "django-oauth-toolkit").then(|| "/o/revoke_token/".to_owned());
    places.extend(standard.or(toolkit).map(|path| vec![Guess::new(asking(scout, &path, BodyKind::Form, "token"))]));
    let named = |o: &&Described| {
        let words = ["logout", "revoke", "blacklist"];
        o.method == "POST" && !o.parameters && words.iter().any(|word| o.path.to_ascii_lowercase().contains(word))
    };
    // Of several logouts the one beside the login is meant.
    let shared = |o: &&Described| path.bytes().zip(scout.local(&o.path).bytes()).take_while(|(a, b)| a == b).count();
    let mut logouts: Vec<&Described> = documents.operations.iter().filter(named).collect();
    logouts.sort_by_key(|o| std::cmp::Reverse(shared(o)));
    for described in logouts {
        let path = scout.local(&described.path);
        let field = described.fields.iter().find(|f| {
            let f = f.to_ascii_lowercase();
            f.contains("token") || f.contains("refresh")
        });
        places.push(match field {
            Some(field) => vec![Guess::new(asking(scout, &path, described.body, field))],
            None => bare(scout, &path, "POST"),
        });
    }
    places
}

/// Requests without a body, with the access token and then with the refresh token where that has a place beside it.
fn bare(scout: &Scout<'_>, path: &str, method: &str) -> Vec<Guess> {
    let of = |request: Request| Request { method: Some(method.to_owned()), ..request };
    let mut guesses = vec![Guess::new(of(carrying(scout, path)))];
    if !scout.target.has("refresh") {
        return guesses;
    }
    let renewal = scout.target.profile.operations.get("refresh").and_then(|refresh| refresh.request.clone());
    // As it travels to the refresh: in its cookie with what belongs to it, or as a bearer token.
    let request = match renewal.filter(|request| request.fields.is_empty()) {
        Some(request) => Request { path: path.to_owned(), ..request },
        None => Request { path: path.to_owned(), auth: Some(Auth::Bearer("${token}".into())), ..Request::default() },
    };
    guesses.push(Guess { request: of(request), refresh: true });
    guesses
}

pub(super) fn find_revoke(scout: &mut Scout<'_>, login: &Login, documents: &Documents) {
    let described = revoke_requests(scout, login, documents);
    // A place that a document names is a revocation, whether it has an effect or not; of the others the one that has.
    let mut found = described.into_iter().find_map(|place| best(scout, place));
    if found.is_none() {
        let guesses = logouts_beside(scout);
        // A guess of which nothing could be seen says nothing; one without effect may be the worst that there is to find.
        found = best(scout, guesses).filter(|taken| taken.ended.is_some());
    }
    match found {
        Some(taken) => {
            scout.set("revoke", taken.operation);
            scout.say(taken.line);
        }
        None => scout.unset("revoke"),
    }
}

/// The first of these that has an effect; else the one that is the likeliest to be meant for it.
fn best(scout: &mut Scout<'_>, guesses: Vec<Guess>) -> Option<Taken> {
    let mut without: Option<Taken> = None;
    for guess in guesses {
        let Some(taken) = try_revoke(scout, guess) else { continue };
        if taken.ended == Some(true) {
            return Some(taken);
        }
        let rank = |taken: &Taken| (taken.discerns, taken.of_access);
        if without.as_ref().is_none_or(|known| rank(&taken) > rank(known)) {
            without = Some(taken);
        }
    }
    without
}

/// Requests that no document names: whatever answers beside the login under the name of a logout.
fn logouts_beside(scout: &Scout<'_>) -> Vec<Guess> {
    let mut guesses = Vec::new();
    for path in beside(&login_path(scout), LOGOUTS) {
        let there =
            |method: &str| scout.raw(method, &path, None).is_ok_and(|reply| !matches!(reply.status, 404 | 405 | 500..));
        // Where every path is answered well, an answer under this name says nothing.
        let anywhere = |method: &str| scout.raw(method, "/assay/nowhere", None).is_ok_and(|reply| is_good(&reply));
        if there("POST") && !anywhere("POST") {
            for field in ["refresh", "refresh_token", "refreshToken", "token"] {
                guesses.push(Guess::new(asking(scout, &path, BodyKind::Json, field)));
            }
            guesses.extend(bare(scout, &path, "POST"));
        }
        if there("DELETE") && !anywhere("DELETE") {
            guesses.extend(bare(scout, &path, "DELETE"));
        }
    }
    guesses
}

/// Revokes a session of its own and looks whether that had an effect; none where the request is refused.
fn try_revoke(scout: &mut Scout<'_>, guess: Guess) -> Option<Taken> {
    const NAME: &str = "revoke";
    let Guess { request, refresh: of_refresh } = guess;
    let (method, path) = (request.method.clone().unwrap_or_else(|| "POST".into()), request.path.clone());
    let by_field = !request.fields.is_empty();
    let session = scout.log_in()?;
    let refresh = session.refresh.clone().filter(|_| (by_field || of_refresh) && scout.target.has("refresh"));
    if of_refresh && refresh.is_none() {
        return None;
    }
    let token = refresh.clone().or_else(|| session.access.clone())?;
    scout.set(NAME, Operation { request: Some(request), ..Operation::default() });
    let reply = scout.call(NAME, &with(&session, &token)).filter(is_good)?;
    let bad = scout.call(NAME, &with(&session, GARBAGE));
    let missing = scout.call(NAME, &Vars::new().issued(&session.other)).filter(|reply| !is_good(reply));
    let first_way = || scout.target.verify_ways().first().map(|way| (*way).to_owned());
    let way = if refresh.is_some() { Some("refresh".to_owned()) } else { first_way() };
    let ended =
        way.and_then(|way| scout.call(&way, &with(&session, &token)).map(|reply| !scout.target.accepted(&way, &reply)));
    let bad = bad.filter(|reply| !is_good(reply));
    if let Some(operation) = scout.operation(NAME) {
        operation.accepted = Some(Predicate { status: Some(OneOrMany::One(reply.status)), ..Predicate::default() });
        operation.denied = bad.as_ref().and_then(|reply| refused(&BTreeSet::from([reply.status])));
        operation.invalid = missing.as_ref().and_then(|reply| refused(&BTreeSet::from([reply.status])));
        operation.accepts = Some(vec![if refresh.is_some() { TokenUse::Refresh } else { TokenUse::Access }]);
    }
    let effect = match ended {
        Some(true) => "what is revoked is refused from then on",
        Some(false) => "WHAT IS REVOKED GOES ON WORKING",
        None => "whether it works could not be seen",
    };
    Some(Taken {
        operation: scout.operation(NAME)?.clone(),
        line: format!("{method} {path}: {}; {effect}", brief(&reply)),
        ended,
        discerns: bad.is_some(),
        of_access: refresh.is_none(),
    })
}

//! What is protected, and how? `/hello/`, `/reports/` and the notes, behind a bearer token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State as Shared};
use axum::response::Response;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::bearer::{Connection, Credentials, credentials, slipped_credentials};
use crate::body::read;
use crate::flaws::FlawId as F;
use crate::notes::NOTE_BYTES;
use crate::reply::{self, Challenge};
use crate::session::{Caller, Denied};
use crate::state::State;
use crate::users::User;
use crate::verify::Refusal;

type Server = Shared<Arc<State>>;

pub(crate) fn routes(state: &State) -> Router<Arc<State>> {
    let hello = if state.has(F::GuardGetOnly) { any(hello) } else { get(hello) };
    Router::new()
        .route("/hello/", hello)
        .route("/hello", get(to_slash))
        .route("/reports/", get(reports))
        .route("/notes/{user}", get(read_note).put(write_note).delete(delete_note))
}

async fn to_slash(Shared(state): Server, request: Request) -> Response {
    let mut response = reply::bytes(StatusCode::MOVED_PERMANENTLY, Bytes::new());
    let mut place = HeaderValue::from_static("/hello/");
    if state.has(F::TokenInRedirect)
        && let Credentials::Token(token) = credentials(request.headers())
    {
        place = HeaderValue::from_str(&format!("/hello/?access_token={token}")).unwrap_or(place);
    }
    response.headers_mut().insert(header::LOCATION, place);
    response
}

/// A 401 or 403 in the words of the mistakes that are on.
fn refused(state: &State, mut response: Response, challenge: Challenge) -> Response {
    state.metrics.counters.refused.inc();
    if state.flaws.is_empty() {
        return reply::challenged(response, challenge);
    }
    if challenge == Challenge::Bare && state.has(F::Forbidden403) {
        *response.status_mut() = StatusCode::FORBIDDEN;
        return response;
    }
    if challenge == Challenge::Bare && state.has(F::ErrorUnasked) {
        return reply::challenged(response, Challenge::InvalidToken);
    }
    if state.has(F::NoChallenge) {
        return response;
    }
    reply::challenged(response, if state.has(F::BareChallenge) { Challenge::Bare } else { challenge })
}

/// Answers what is no token.
fn no_token(state: &State, credentials: &Credentials<'_>) -> Response {
    match credentials {
        Credentials::Malformed if state.has(F::CrashHeader) => reply::crash(),
        Credentials::Malformed => refused(state, reply::bad_header(), Challenge::InvalidRequest),
        _ => refused(state, reply::no_credentials(), Challenge::Bare),
    }
}

fn denied(state: &State, denied: Denied, text: &str) -> Response {
    match denied {
        Denied::Token(Refusal::User) if state.has(F::UnprocessableUser) => reply::denied(state, denied),
        Denied::Token(refusal) => {
            let response = if state.has(F::VerboseRefusal) { reply::verbose(text) } else { reply::bad_access(refusal) };
            let response = if state.has(F::Traceback) { reply::traceback(state, response) } else { response };
            refused(state, response, Challenge::InvalidToken)
        }
        other => reply::denied(state, other),
    }
}

/// The greeting, ready made for each user.
fn greeting(state: &State, user: Option<&User>, client: Option<&str>) -> Response {
    let mut response = match user {
        Some(user) => reply::bytes(StatusCode::OK, user.greeting.clone()),
        None => reply::json(StatusCode::OK, &json!({"message": "hello", "user": null, "client_id": client})),
    };
    if state.has(F::PublicCache) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    }
    response
}

/// Answers what no route is for: nothing is there, unless a mistake finds the resource by another spelling of its path.
pub(crate) async fn elsewhere(Shared(state): Server, request: Request) -> Response {
    if state.has(F::GuardExactPath) && is_hello(request.uri().path()) {
        return greeting(&state, state.users.by_id("1").as_deref(), None);
    }
    reply::detail(StatusCode::NOT_FOUND, "Not found.")
}

/// What a careless part of a server takes for `/hello/`: doubled slashes, dots, parameters and escapes are all the same to it.
fn is_hello(path: &str) -> bool {
    let decoded = path.replace("%68", "h");
    let mut parts =
        decoded.split('/').map(|part| part.split(';').next().unwrap_or(part)).filter(|part| !matches!(*part, "" | "."));
    parts.next() == Some("hello") && parts.next().is_none()
}

async fn hello(Shared(state): Server, request: Request) -> Response {
    state.metrics.counters.requests.inc();
    if !state.flaws.is_empty() {
        return Box::pin(slipped_hello(&state, request)).await;
    }
    let credentials = credentials(request.headers());
    let Credentials::Token(text) = credentials else { return no_token(&state, &credentials) };
    let mut payload = Vec::with_capacity(256);
    match state.caller(&state.gates.resource, &text, &mut payload).await {
        Ok(caller) => greeting(&state, caller.user.as_deref(), caller.claims.client_id.as_ref().map(AsRef::as_ref)),
        Err(why) => denied(&state, why, &text),
    }
}

/// `hello` with the mistakes around the token.
async fn slipped_hello(state: &State, request: Request) -> Response {
    let headers = request.headers();
    if state.has(F::GuardGetOnly) && request.method() != Method::GET {
        return greeting(state, state.users.by_id("1").as_deref(), None);
    }
    if state.has(F::EtagBeforeAuth) && headers.contains_key(header::IF_NONE_MATCH) {
        return reply::bytes(StatusCode::NOT_MODIFIED, Bytes::new());
    }
    if state.has(F::RangeBeforeAuth) && headers.contains_key(header::RANGE) {
        return reply::bytes(StatusCode::PARTIAL_CONTENT, Bytes::from_static(b"{\"me"));
    }
    if state.has(F::TrustXUser)
        && let Some(user) =
            headers.get("x-user").and_then(|name| name.to_str().ok()).and_then(|name| state.users.by_name(name))
    {
        return greeting(state, Some(&user), None);
    }
    let connection = request.extensions().get::<Connection>();
    if state.has(F::ConnectionUser)
        && let Some(user) = connection.and_then(Connection::user)
    {
        return greeting(state, Some(&user), None);
    }
    let query = request.uri().query().unwrap_or("");
    let credentials = slipped_credentials(&state.flaws, headers, query);
    let Credentials::Token(text) = credentials else { return no_token(state, &credentials) };
    let text = text.into_owned();
    if state.has(F::LogAuthorization) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "debug: GET /hello/ authorization={text}");
    }
    if state.has(F::VerdictCache)
        && let Some(verdict) = state.slips.verdict(&text, state.now())
    {
        return match verdict {
            Ok(user) => greeting(state, user.as_deref(), None),
            Err(refusal) => denied(state, Denied::Token(refusal), &text),
        };
    }
    let mut payload = Vec::with_capacity(256);
    let found = state.caller(&state.gates.resource, &text, &mut payload).await.map(|caller| caller.user);
    if state.has(F::VerdictCache) {
        match &found {
            Ok(user) => state.slips.remember(&text, state.now(), Ok(user.clone())),
            Err(Denied::Token(refusal)) => state.slips.remember(&text, state.now(), Err(*refusal)),
            Err(_) => {}
        }
    }
    match found {
        Ok(user) => {
            if let (Some(connection), Some(user)) = (connection, &user) {
                connection.remember(user);
            }
            greeting(state, user.as_deref(), None)
        }
        Err(why) => denied(state, why, &text),
    }
}

/// True where the token's scope holds `wanted`.
fn has_scope(state: &State, caller: &Caller<'_>, wanted: &str) -> bool {
    let scope = caller.claims.scope.as_ref().map_or("", AsRef::as_ref);
    state.has(F::ScopeUnchecked)
        || crate::scope::has(scope, wanted)
        || (state.has(F::SubstringScope) && scope.to_ascii_lowercase().contains(wanted))
}

/// The caller, or the answer that says why there is none.
pub(crate) async fn guard<'p>(
    state: &State,
    headers: &HeaderMap,
    payload: &'p mut Vec<u8>,
) -> Result<Caller<'p>, Response> {
    state.metrics.counters.requests.inc();
    let credentials = credentials(headers);
    let Credentials::Token(text) = credentials else { return Err(no_token(state, &credentials)) };
    state.caller(&state.gates.resource, &text, payload).await.map_err(|why| denied(state, why, &text))
}

async fn reports(Shared(state): Server, request: Request) -> Response {
    let mut payload = Vec::with_capacity(256);
    match guard(&state, request.headers(), &mut payload).await {
        Ok(caller) if has_scope(&state, &caller, "write") => {
            let user = caller.user.as_ref().map(|user| user.name.to_string());
            reply::json(StatusCode::OK, &json!({"reports": [], "user": user}))
        }
        Ok(_) => {
            let response = reply::detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.");
            reply::challenged(response, Challenge::InsufficientScope)
        }
        Err(response) => response,
    }
}

/// True where the caller owns what belongs to `owner`; `changes`: to change it.
fn owns(state: &State, caller: &Caller<'_>, owner: &str, changes: bool) -> bool {
    state.has(F::Idor)
        || changes && state.has(F::IdorWrite)
        || caller.user.as_ref().is_some_and(|user| &*user.name == owner)
}

fn not_yours() -> Response {
    reply::detail(StatusCode::FORBIDDEN, "You do not have permission to perform this action.")
}

async fn read_note(Shared(state): Server, Path(owner): Path<String>, request: Request) -> Response {
    let mut payload = Vec::with_capacity(256);
    match guard(&state, request.headers(), &mut payload).await {
        Ok(caller) if owns(&state, &caller, &owner, false) => {
            let note = state.notes.read(&owner);
            reply::json(StatusCode::OK, &json!({"user": owner, "note": String::from_utf8_lossy(&note)}))
        }
        Ok(_) => not_yours(),
        Err(response) => response,
    }
}

async fn write_note(Shared(state): Server, Path(owner): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut payload = Vec::with_capacity(256);
    match guard(&state, &parts.headers, &mut payload).await {
        Ok(caller) if owns(&state, &caller, &owner, true) => match read(body, NOTE_BYTES).await {
            Ok(note) => {
                state.notes.write(&owner, note);
                reply::bytes(StatusCode::NO_CONTENT, Bytes::new())
            }
            Err(response) => *response,
        },
        Ok(_) => not_yours(),
        Err(response) => response,
    }
}

async fn delete_note(Shared(state): Server, Path(owner): Path<String>, request: Request) -> Response {
    let mut payload = Vec::with_capacity(256);
    match guard(&state, request.headers(), &mut payload).await {
        Ok(caller) if owns(&state, &caller, &owner, true) => {
            state.notes.write(&owner, Bytes::new());
            reply::bytes(StatusCode::NO_CONTENT, Bytes::new())
        }
        Ok(_) => not_yours(),
        Err(response) => response,
    }
}

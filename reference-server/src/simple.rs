//! How does the server speak SimpleJWT's language? The JSON endpoints under `/api/token/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::body::{Fields, fields_of, read};
use crate::flaws::FlawId as F;
use crate::reply;
use crate::session::{Denied, Pair};
use crate::state::{Counters, State};

type Server = Shared<Arc<State>>;

pub(crate) fn routes(state: &State) -> Router<Arc<State>> {
    let (mut issuing, mut refreshing) = (post(issue), post(refresh));
    if state.has(F::GetLogin) {
        issuing = issuing.get(issue_by_query);
    }
    if state.has(F::GetRefresh) {
        refreshing = refreshing.get(refresh_by_query);
    }
    Router::new()
        .route("/api/token/", issuing)
        .route("/api/token/refresh/", refreshing)
        .route("/api/token/verify/", post(verify))
        .route("/api/token/blacklist/", post(blacklist))
}

/// Sixteen mebibytes for a server that has no limit.
const NO_LIMIT: usize = 16 << 20;

async fn body(state: &State, request: Request) -> Result<Fields, Box<Response>> {
    Counters::count(&state.counters.requests);
    let (parts, body) = request.into_parts();
    let limit = if state.has(F::UnboundedHash) { NO_LIMIT } else { state.config.body_limit };
    let bytes = read(body, limit).await?;
    if !state.flaws.is_empty() {
        slips(state, &parts.headers, &bytes)?;
    }
    fields_of(&parts.headers, &bytes)
}

/// Bodies that kill a careless server, and what it writes down about others.
fn slips(state: &State, headers: &HeaderMap, bytes: &Bytes) -> Result<(), Box<Response>> {
    let text = String::from_utf8_lossy(bytes);
    if state.has(F::CrashSurrogate)
        && serde_json::from_slice::<Value>(bytes).is_err()
        && text.to_ascii_lowercase().contains("\\ud")
    {
        return Err(Box::new(reply::crash()));
    }
    if state.has(F::CrashType) {
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if ["token", "refresh"].iter().any(|name| document.get(*name).is_some_and(|token| !token.is_string())) {
            return Err(Box::new(reply::crash()));
        }
    }
    if state.has(F::LogAuthorization) && headers.get(header::CONTENT_TYPE).is_some() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "debug: POST body={text}");
    }
    Ok(())
}

fn tokens(state: &State, pair: Pair) -> Response {
    let body = match &pair.refresh {
        Some(refresh) => json!({"refresh": refresh, "access": pair.access}),
        None => json!({"access": pair.access}),
    };
    let mut response = reply::json(StatusCode::OK, &body);
    if state.flaws.is_empty() {
        return response;
    }
    if state.has(F::CacheableToken) {
        response.headers_mut().remove(header::CACHE_CONTROL);
    }
    if state.has(F::PlainTokenReply) {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    if state.has(F::BareCookie)
        && let Ok(cookie) = HeaderValue::from_str(&format!("access={}", pair.access))
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn answered(state: &State, outcome: Result<Pair, Denied>) -> Response {
    match outcome {
        Ok(pair) => tokens(state, pair),
        Err(why) => reply::denied(state, why),
    }
}

fn confirmed(state: &State, outcome: Result<(), Denied>) -> Response {
    match outcome {
        Ok(()) => reply::bytes(StatusCode::OK, Bytes::from_static(b"{}")),
        Err(why) => reply::denied(state, why),
    }
}

async fn issue_with(state: &State, fields: &Fields) -> Response {
    match fields.texts(["username", "password"]) {
        Ok([name, password]) => answered(state, state.login(name, password).await),
        Err(response) => *response,
    }
}

async fn refresh_with(state: &State, fields: &Fields) -> Response {
    match fields.texts(["refresh"]) {
        Ok([token]) => answered(state, state.refresh(token, |_, _| Ok(())).await),
        Err(response) => *response,
    }
}

async fn issue(Shared(state): Server, request: Request) -> Response {
    match body(&state, request).await {
        Ok(fields) => issue_with(&state, &fields).await,
        Err(response) => *response,
    }
}

async fn refresh(Shared(state): Server, request: Request) -> Response {
    match body(&state, request).await {
        Ok(fields) => refresh_with(&state, &fields).await,
        Err(response) => *response,
    }
}

fn query(request: &Request) -> Fields {
    Fields::of_form(request.uri().query().unwrap_or("")).unwrap_or_default()
}

async fn issue_by_query(Shared(state): Server, request: Request) -> Response {
    issue_with(&state, &query(&request)).await
}

async fn refresh_by_query(Shared(state): Server, request: Request) -> Response {
    refresh_with(&state, &query(&request)).await
}

async fn verify(Shared(state): Server, request: Request) -> Response {
    let fields = match body(&state, request).await {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    match fields.texts(["token"]) {
        Ok([token]) => confirmed(&state, state.check(token).await),
        Err(response) => *response,
    }
}

async fn blacklist(Shared(state): Server, request: Request) -> Response {
    let fields = match body(&state, request).await {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    match fields.texts(["refresh"]) {
        Ok([token]) => confirmed(&state, state.end(token).await),
        Err(response) => *response,
    }
}

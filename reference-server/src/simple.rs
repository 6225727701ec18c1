//! How does the server speak SimpleJWT's language? The JSON endpoints under `/api/token/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::StatusCode;

use crate::body::Fields;
use crate::flaws::FlawId as F;
use crate::intake::intake;
use crate::reply;
use crate::session::{Denied, Pair, Terms};
use crate::state::State;

type Server = Shared<Arc<State>>;

pub(crate) fn routes(state: &State) -> Router<Arc<State>> {
    let (mut issuing, mut refreshing) = (post(issue), post(refresh));
    if state.has(F::GetLogin) {
        issuing = issuing.get(issue_by_query);
    }
    if state.has(F::LoginRedirect) {
        issuing = issuing.get(sent_on);
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

fn tokens(state: &State, pair: Pair) -> Response {
    // Compact tokens have no character that JSON escapes, so their text is written as it is.
    let refresh = pair.refresh.as_deref().unwrap_or_default();
    let mut body = String::with_capacity(refresh.len() + pair.access.len() + 32);
    body.push('{');
    if pair.refresh.is_some() {
        body.extend([r#""refresh":""#, refresh, r#"","#]);
    }
    body.extend([r#""access":""#, &pair.access, r#""}"#]);
    reply::with_tokens(state, reply::bytes(StatusCode::OK, Bytes::from(body)), &pair.access)
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

async fn issue_with(state: &State, fields: &Fields<'_>) -> Response {
    if state.has(F::EmptyPassword)
        && let (Some(""), Ok([name])) = (fields.text("password"), fields.texts(["username"]))
    {
        return answered(state, state.login(name, "").await);
    }
    match fields.texts(["username", "password"]) {
        Ok([name, password]) => answered(state, state.login(name, password).await),
        Err(response) => *response,
    }
}

async fn refresh_with(state: &State, fields: &Fields<'_>) -> Response {
    match fields.texts(["refresh"]) {
        Ok([token]) => answered(state, state.refresh(token, Terms::default()).await),
        Err(response) => *response,
    }
}

async fn issue(Shared(state): Server, request: Request) -> Response {
    let intake = match intake(&state, request).await {
        Ok(intake) => intake,
        Err(response) => return *response,
    };
    match intake.fields() {
        Ok(fields) => issue_with(&state, &fields).await,
        Err(response) => *response,
    }
}

async fn refresh(Shared(state): Server, request: Request) -> Response {
    let intake = match intake(&state, request).await {
        Ok(intake) => intake,
        Err(response) => return *response,
    };
    match intake.fields() {
        Ok(fields) => refresh_with(&state, &fields).await,
        Err(response) => *response,
    }
}

fn query(request: &Request) -> Fields<'static> {
    Fields::of_form(request.uri().query().unwrap_or("")).unwrap_or_default()
}

async fn issue_by_query(Shared(state): Server, request: Request) -> Response {
    issue_with(&state, &query(&request)).await
}

/// A redirect that takes the query along, as frameworks do that add a slash.
async fn sent_on(request: Request) -> Response {
    let to = format!("/login?{}", request.uri().query().unwrap_or(""));
    let mut response = reply::detail(StatusCode::FOUND, "Log in over there.");
    response.headers_mut().extend(http::HeaderValue::from_str(&to).ok().map(|to| (http::header::LOCATION, to)));
    response
}

async fn refresh_by_query(Shared(state): Server, request: Request) -> Response {
    refresh_with(&state, &query(&request)).await
}

async fn verify(Shared(state): Server, request: Request) -> Response {
    let intake = match intake(&state, request).await {
        Ok(intake) => intake,
        Err(response) => return *response,
    };
    let fields = match intake.fields() {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    match fields.texts(["token"]) {
        Ok([token]) => {
            let mut payload = Vec::with_capacity(512);
            let outcome = state.inspect(token, &mut payload).await.map(|_| ());
            if state.has(F::EchoToken) && outcome.is_ok() {
                let mut response = reply::json(StatusCode::OK, &serde_json::json!({"token": token}));
                response.headers_mut().remove(http::header::CACHE_CONTROL);
                return response;
            }
            confirmed(&state, outcome)
        }
        Err(response) => *response,
    }
}

async fn blacklist(Shared(state): Server, request: Request) -> Response {
    let intake = match intake(&state, request).await {
        Ok(intake) => intake,
        Err(response) => return *response,
    };
    let fields = match intake.fields() {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    match fields.texts(["refresh"]) {
        Ok([token]) => confirmed(&state, state.end(token, Terms::default()).await),
        Err(response) => *response,
    }
}

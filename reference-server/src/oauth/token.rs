//! What does the token endpoint give? RFC 6749 sections 4.3 (password, for tests of what still uses it), 4.4 and 6.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use http::header::PRAGMA;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::error::{Code, denied, refused};
use super::{client, form};
use crate::body::Fields;
use crate::client::Client;
use crate::flaws::FlawId as F;
use crate::reply;
use crate::scope;
use crate::session::{Denied, Grant, Pair, Terms};
use crate::state::State;
use crate::token::random_id;

type Server = Shared<Arc<State>>;

pub(super) async fn token(Shared(state): Server, request: Request) -> Response {
    match form(&state, request).await {
        Ok((headers, fields)) => answer(&state, &headers, &fields).await,
        Err(response) => *response,
    }
}

pub(super) async fn token_by_query(Shared(state): Server, request: Request) -> Response {
    let fields = Fields::of_form(request.uri().query().unwrap_or("")).unwrap_or_default();
    answer(&state, request.headers(), &fields).await
}

async fn answer(state: &State, headers: &HeaderMap, fields: &Fields<'_>) -> Response {
    let client = match client(state, headers, fields) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    match fields.text("grant_type") {
        Some("password") => password(state, client, fields).await,
        Some("client_credentials") => client_credentials(state, client, fields),
        Some("refresh_token") => refresh(state, client, fields).await,
        Some("") | None => refused(Code::InvalidRequest, "grant_type is missing"),
        Some(_) => refused(Code::UnsupportedGrantType, "expected password, client_credentials or refresh_token"),
    }
}

/// An optional field; empty counts as absent (RFC 6749 section 3.2).
fn optional<'f>(fields: &'f Fields<'_>, name: &str) -> Option<&'f str> {
    fields.text(name).filter(|text| !text.is_empty())
}

async fn password(state: &State, client: &Client, fields: &Fields<'_>) -> Response {
    let (Some(name), Some(password)) = (optional(fields, "username"), optional(fields, "password")) else {
        return refused(Code::InvalidRequest, "username or password is missing");
    };
    if name.contains('\0') || password.contains('\0') {
        return refused(Code::InvalidRequest, "null characters are not allowed");
    }
    let asked = optional(fields, "scope");
    let outcome = match state.authenticate(name, password).await {
        Ok(user) => match scope::granted(&user.scope, asked) {
            None => Err(Denied::Scope),
            Some(scope) => state.first_pair(
                user,
                Grant {
                    session: random_id(),
                    auth_time: state.now() as u64,
                    scope: Some(scope),
                    client: Some(client.id.clone()),
                    nonce: optional(fields, "nonce").map(str::to_owned),
                    ..Grant::default()
                },
            ),
        },
        Err(why) => Err(why),
    };
    match outcome {
        Ok(pair) => pair_reply(state, &pair),
        Err(why) => denied(state, why),
    }
}

fn client_credentials(state: &State, client: &Client, fields: &Fields<'_>) -> Response {
    if !client.is_confidential() {
        return refused(Code::UnauthorizedClient, "a public client has no credentials");
    }
    // The identity scopes tell about a user, and here is none.
    let asked = optional(fields, "scope");
    let identity = asked.is_some_and(|asked| asked.split(' ').any(|one| scope::IDENTITY.contains(&one)));
    let Some(scope) = scope::granted(&client.scope, asked).filter(|_| !identity) else {
        return denied(state, Denied::Scope);
    };
    let grant = Grant {
        session: random_id(),
        auth_time: state.now() as u64,
        scope: Some(scope),
        client: Some(client.id.clone()),
        ..Grant::default()
    };
    match state.client_token(&grant) {
        Ok(access) => {
            let lives_s = state.config.access_lifetime.as_secs();
            tokens_reply(state, (&access, lives_s), None, None, grant.scope.as_deref())
        }
        Err(why) => denied(state, why),
    }
}

async fn refresh(state: &State, client: &Client, fields: &Fields<'_>) -> Response {
    let Some(token) = optional(fields, "refresh_token") else {
        return refused(Code::InvalidRequest, "refresh_token is missing");
    };
    let any_client = state.has(F::UnboundRefresh);
    let terms = Terms { client: Some(&client.id), scope: optional(fields, "scope"), any_client };
    match state.refresh(token, terms).await {
        Ok(pair) => pair_reply(state, &pair),
        Err(why) => denied(state, why),
    }
}

fn pair_reply(state: &State, pair: &Pair) -> Response {
    let scope = pair.grant.scope.as_deref();
    let id_token = match &pair.user {
        Some(user) if scope::has(scope.unwrap_or(""), "openid") => match state.id_token(user, &pair.grant) {
            Ok(token) => Some(token),
            Err(why) => return denied(state, why),
        },
        _ => None,
    };
    tokens_reply(state, (&pair.access, pair.lives_s), pair.refresh.as_deref(), id_token.as_deref(), scope)
}

/// RFC 6749 section 5.1, with the access token and how many seconds it lives; `scope` is always told.
fn tokens_reply(
    state: &State,
    (access, lives_s): (&str, u64),
    refresh: Option<&str>,
    id_token: Option<&str>,
    scope: Option<&str>,
) -> Response {
    let mut body = json!({"access_token": access, "expires_in": lives_s});
    let members = [("refresh_token", refresh), ("id_token", id_token), ("scope", scope)];
    for (name, value) in members.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        body[name] = Value::from(value);
    }
    if !state.has(F::OmitTokenType) {
        body["token_type"] = Value::from("Bearer");
    }
    let mut response = reply::json(StatusCode::OK, &body);
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply::with_tokens(state, response, access)
}

//! What does the server tell about a token, and to whom? Introspection (RFC 7662), revocation (RFC 7009) and userinfo.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::{Code, denied, no_client, refused};
use super::{client, form};
use crate::client::NoClient;
use crate::reply::{self, Challenge};
use crate::resource;
use crate::scope;
use crate::session::{Caller, Denied, Terms};
use crate::state::State;
use crate::token::{Audience, NumericDate, Purpose};

type Server = Shared<Arc<State>>;

/// Whole seconds are written whole, as in the token itself.
fn date(at: NumericDate) -> Value {
    if at.0.fract() == 0.0 && at.0.abs() < 9e15 { Value::from(at.0 as i64) } else { Value::from(at.0) }
}

fn described(caller: &Caller<'_>) -> Value {
    let claims = &caller.claims;
    let mut told = Map::new();
    told.insert("active".to_owned(), Value::Bool(true));
    let is_access = claims.token_type.as_ref().map(AsRef::as_ref) == Some(Purpose::Access.name());
    // A refresh token is no bearer token: a resource must not take it for one.
    told.insert("token_use".to_owned(), json!(if is_access { "access" } else { "refresh" }));
    if is_access {
        told.insert("token_type".to_owned(), json!("Bearer"));
    }
    let texts = [
        ("sub", &claims.sub),
        ("iss", &claims.iss),
        ("jti", &claims.jti),
        ("scope", &claims.scope),
        ("client_id", &claims.client_id),
    ];
    for (name, text) in texts.into_iter().filter_map(|(name, text)| text.as_ref().map(|text| (name, text))) {
        told.insert(name.to_owned(), json!(text.as_ref()));
    }
    for (name, at) in [("exp", claims.exp), ("iat", claims.iat), ("nbf", claims.nbf)] {
        if let Some(at) = at {
            told.insert(name.to_owned(), date(at));
        }
    }
    if let Some(aud) = &claims.aud {
        let aud = match aud {
            Audience::One(one) => json!(one),
            Audience::Many(many) => json!(many),
        };
        told.insert("aud".to_owned(), aud);
    }
    if let Some(user) = &caller.user {
        told.insert("username".to_owned(), json!(*user.name));
    }
    Value::Object(told)
}

/// RFC 7662. Any confidential client may ask: it stands for a resource server.
pub(super) async fn introspect(Shared(state): Server, request: Request) -> Response {
    let (headers, fields) = match form(&state, request).await {
        Ok(read) => read,
        Err(response) => return *response,
    };
    match client(&state, &headers, &fields) {
        _ if state.has(crate::flaws::FlawId::OpenIntrospection) => {}
        Ok(client) if client.is_confidential() => {}
        // An id alone proves nothing, and the answer is not for everybody.
        Ok(_) => return no_client(&state, NoClient::Invalid),
        Err(response) => return *response,
    }
    let Some(token) = fields.text("token").filter(|token| !token.is_empty()) else {
        return refused(Code::InvalidRequest, "token is missing");
    };
    let mut payload = Vec::with_capacity(512);
    match state.inspect(token, &mut payload).await {
        Ok(caller) => reply::json(StatusCode::OK, &described(&caller)),
        Err(Denied::Unavailable) => denied(&state, Denied::Unavailable),
        Err(Denied::Crash) => reply::crash(),
        // Why is nobody's business (section 2.2).
        Err(_) => reply::json(StatusCode::OK, &json!({"active": false})),
    }
}

/// RFC 7009: a refresh token ends its session, an access token ends alone, whatever the hint says.
pub(super) async fn revoke(Shared(state): Server, request: Request) -> Response {
    let (headers, fields) = match form(&state, request).await {
        Ok(read) => read,
        Err(response) => return *response,
    };
    let client = match client(&state, &headers, &fields) {
        Ok(client) => client,
        Err(response) => return *response,
    };
    let Some(token) = fields.text("token").filter(|token| !token.is_empty()) else {
        return refused(Code::InvalidRequest, "token is missing");
    };
    let terms = Terms { client: Some(&client.id), ..Terms::default() };
    let outcome = match state.end(token, terms).await {
        Err(Denied::Token(crate::verify::Refusal::WrongType)) => state.revoke_access(token, terms).await,
        other => other,
    };
    match outcome {
        Ok(()) => reply::bytes(StatusCode::OK, Bytes::from_static(b"{}")),
        // What is unknown or over already is as revoked as it can be (section 2.2).
        Err(Denied::Token(_)) => reply::bytes(StatusCode::OK, Bytes::from_static(b"{}")),
        Err(Denied::Client) => refused(Code::UnauthorizedClient, "the token was issued to another client"),
        Err(why) => denied(&state, why),
    }
}

/// OpenID Connect Core section 5.3: who the access token speaks for, where it may tell.
pub(super) async fn userinfo(Shared(state): Server, request: Request) -> Response {
    let mut payload = Vec::with_capacity(512);
    let caller = match resource::guard(&state, request.headers(), &mut payload).await {
        Ok(caller) => caller,
        Err(response) => return response,
    };
    let granted = caller.claims.scope.as_ref().map_or("", AsRef::as_ref);
    let Some(user) = caller.user.as_ref().filter(|_| scope::has(granted, "openid")) else {
        let body = json!({"error": "insufficient_scope", "error_description": "the scope openid is needed"});
        return reply::challenged(reply::json(StatusCode::FORBIDDEN, &body), Challenge::OpenidScope);
    };
    let mut told = json!({"sub": *user.id});
    if scope::has(granted, "profile") {
        told["preferred_username"] = json!(*user.name);
        told["name"] = json!(*user.name);
    }
    reply::json(StatusCode::OK, &told)
}

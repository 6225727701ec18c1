//! What does the server tell about a token, and to whom? Introspection (RFC 7662), revocation (RFC 7009) and userinfo.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::error::{Code, denied, no_client, refused};
use super::{client, form};
use crate::body::Fields;
use crate::client::NoClient;
use crate::flaws::FlawId as F;
use crate::reply::{self, Challenge};
use crate::resource;
use crate::scope;
use crate::session::{Caller, Denied, Terms};
use crate::state::State;
use crate::token::{Audience, NumericDate, Purpose};
use crate::verify::Refusal;

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

/// What the mistakes make of what is told.
fn slipped(state: &State, caller: &Caller<'_>, mut told: Value) -> Value {
    if state.has(F::ActiveString) {
        told["active"] = json!("true");
    }
    if state.has(F::IntrospectedMs) {
        for name in ["exp", "iat"] {
            if let Some(at) = told.get(name).and_then(Value::as_i64) {
                told[name] = json!(at * 1000);
            }
        }
    }
    if let Some(user) = caller.user.as_ref().filter(|_| state.has(F::NameAsSub)) {
        told["sub"] = json!(*user.name);
    }
    if state.has(F::TypeBlind) {
        (told["token_use"], told["token_type"]) = (json!("access"), json!("Bearer"));
    }
    told
}

/// What is told of a token that is not active.
fn inactive(state: &State, why: Denied) -> Response {
    if state.has(F::InactiveRefused) {
        return reply::detail(StatusCode::NOT_FOUND, "no such token");
    }
    if state.has(F::InactiveLeaks) {
        return reply::json(StatusCode::OK, &json!({"active": false, "reason": format!("{why:?}")}));
    }
    reply::json(StatusCode::OK, &json!({"active": false}))
}

/// RFC 7662. Any confidential client may ask: it stands for a resource server.
pub(super) async fn introspect(Shared(state): Server, request: Request) -> Response {
    match form(&state, request).await {
        Ok((headers, fields)) => introspected(&state, &headers, &fields).await,
        Err(response) => *response,
    }
}

pub(super) async fn introspect_by_query(Shared(state): Server, request: Request) -> Response {
    let fields = Fields::of_form(request.uri().query().unwrap_or("")).unwrap_or_default();
    introspected(&state, request.headers(), &fields).await
}

async fn introspected(state: &State, headers: &HeaderMap, fields: &Fields<'_>) -> Response {
    match client(state, headers, fields) {
        _ if state.has(F::OpenIntrospection) => {}
        Ok(client) if client.is_confidential() => {}
        // An id alone proves nothing, and the answer is not for everybody.
        Ok(_) => return no_client(state, NoClient::Invalid),
        Err(response) => return *response,
    }
    let Some(token) = fields.text("token").filter(|token| !token.is_empty()) else {
        return refused(Code::InvalidRequest, "token is missing");
    };
    let mut payload = Vec::with_capacity(512);
    match state.inspect(token, &mut payload).await {
        Ok(caller) if state.flaws.is_empty() => reply::json(StatusCode::OK, &described(&caller)),
        Ok(caller) => {
            let mut response = reply::json(StatusCode::OK, &slipped(state, &caller, described(&caller)));
            if state.has(F::PlainIntrospection) {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            }
            response
        }
        Err(Denied::Unavailable) => denied(state, Denied::Unavailable),
        Err(Denied::Crash) => reply::crash(),
        // Why is nobody's business (section 2.2).
        Err(why) => inactive(state, why),
    }
}

/// A mistake: what is not where the hint says is nowhere.
async fn by_hint(state: &Arc<State>, token: &str, terms: Terms<'_>, hint: &str) -> Result<(), Denied> {
    match hint {
        "refresh_token" => state.end(token, terms).await,
        "access_token" => {
            let mut payload = Vec::with_capacity(512);
            state.caller(&state.gates.resource, token, &mut payload).await?;
            state.revoke_access(token, terms).await
        }
        _ => Err(Denied::Token(Refusal::WrongType)),
    }
}

/// RFC 7009: a refresh token ends its session, an access token ends alone, whatever the hint says.
pub(super) async fn revoke(Shared(state): Server, request: Request) -> Response {
    let (headers, fields) = match form(&state, request).await {
        Ok(read) => read,
        Err(response) => return *response,
    };
    let client = match client(&state, &headers, &fields) {
        Ok(client) => Some(&*client.id),
        Err(_) if state.has(F::AnyoneRevokes) => None,
        Err(response) => return *response,
    };
    let Some(token) = fields.text("token").filter(|token| !token.is_empty()) else {
        return refused(Code::InvalidRequest, "token is missing");
    };
    let any_client = state.has(F::AnyoneRevokes) || state.has(F::UnboundRevoke);
    let terms = Terms { client, any_client, ..Terms::default() };
    let hint = fields.text("token_type_hint").filter(|_| !state.flaws.is_empty());
    if state.has(F::HintRefused) && hint.is_some_and(|hint| !["access_token", "refresh_token"].contains(&hint)) {
        return refused(Code::UnsupportedTokenType, "expected access_token or refresh_token");
    }
    let outcome = match hint.filter(|_| state.has(F::TrustHint)) {
        Some(hint) => by_hint(&state, token, terms, hint).await,
        None => match state.end(token, terms).await {
            Err(Denied::Token(Refusal::WrongType)) => state.revoke_access(token, terms).await,
            other => other,
        },
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

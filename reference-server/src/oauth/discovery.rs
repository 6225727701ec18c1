//! What does the server say about itself? RFC 8414 and OpenID Connect Discovery, from the configuration alone, never from the request.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::reply;
use crate::state::State;

fn shared(state: &State) -> Value {
    let issuer = state.issuer.trim_end_matches('/');
    let at = |path: &str| format!("{issuer}{path}");
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    let proven = json!(["client_secret_basic", "client_secret_post"]);
    json!({
        "issuer": state.issuer,
        "token_endpoint": at("/oauth/token"),
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint": at("/oauth/introspect"),
        "introspection_endpoint_auth_methods_supported": proven,
        "revocation_endpoint": at("/oauth/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "jwks_uri": at("/.well-known/jwks.json"),
        "grant_types_supported": ["password", "client_credentials", "refresh_token"],
        // No grant here goes through a browser.
        "response_types_supported": [],
        "scopes_supported": ["openid", "profile", "offline_access", "read", "write"],
    })
}

fn document(body: &Value) -> Response {
    let mut response = reply::json(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    response
}

pub(super) async fn authorization_server(Shared(state): Shared<Arc<State>>) -> Response {
    document(&shared(&state))
}

pub(super) async fn openid_configuration(Shared(state): Shared<Arc<State>>) -> Response {
    let mut body = shared(&state);
    body["userinfo_endpoint"] = json!(format!("{}/userinfo", state.issuer.trim_end_matches('/')));
    body["subject_types_supported"] = json!(["public"]);
    body["id_token_signing_alg_values_supported"] = json!([state.config.algorithm.name]);
    body["claims_supported"] =
        json!(["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "preferred_username"]);
    document(&body)
}

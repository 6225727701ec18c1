//! What does the server say about itself? RFC 8414 and OpenID Connect Discovery, from the configuration alone, never from the request.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};

use crate::flawed;
use crate::flaws::FlawId as F;
use crate::reply;
use crate::state::State;

pub(super) const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
pub(super) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

fn shared(state: &State) -> Value {
    let named = state.issuer_of_request();
    let issuer = named.trim_end_matches('/');
    let at = |path: &str| format!("{issuer}{path}");
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    let proven = json!(["client_secret_basic", "client_secret_post"]);
    json!({
        "issuer": named,
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

fn document(state: &State, mut body: Value) -> Response {
    flawed::describe(&state.flaws, &mut body);
    let mut response = reply::json(StatusCode::OK, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    if state.has(F::TextMetadata) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

pub(super) async fn authorization_server(Shared(state): Shared<Arc<State>>) -> Response {
    document(&state, shared(&state))
}

/// The path of an issuer as RFC 8414 section 3.1 puts it behind the well-known one: without a `/` at its end, empty where there is none.
fn path_of(issuer: &str) -> &str {
    let rest = issuer.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or("", |at| rest[at..].trim_end_matches('/'))
}

/// The document at the place that the issuer's path makes (RFC 8414 section 3.1; section 5 for what OpenID Connect calls it).
pub(super) async fn by_path(Shared(state): Shared<Arc<State>>, uri: Uri) -> Response {
    let path = path_of(&state.issuer);
    match uri.path().strip_suffix(path).filter(|_| !path.is_empty()) {
        Some(AUTHORIZATION_SERVER) => authorization_server(Shared(state)).await,
        Some(OPENID_CONFIGURATION) => openid_configuration(Shared(state)).await,
        _ => reply::detail(StatusCode::NOT_FOUND, "Not found."),
    }
}

pub(super) async fn openid_configuration(Shared(state): Shared<Arc<State>>) -> Response {
    let mut body = shared(&state);
    body["userinfo_endpoint"] = json!(format!("{}/userinfo", state.issuer_of_request().trim_end_matches('/')));
    body["subject_types_supported"] = json!(["public"]);
    body["id_token_signing_alg_values_supported"] = json!([state.config.algorithm.name]);
    body["claims_supported"] =
        json!(["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "preferred_username"]);
    document(&state, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_issuer_has_no_slash_at_its_end() {
        for (issuer, path) in [
            ("https://login.example", ""),
            ("https://login.example/", ""),
            ("https://login.example/shop", "/shop"),
            ("https://login.example:8443/shop/eu/", "/shop/eu"),
            ("shop", ""),
        ] {
            assert_eq!(path_of(issuer), path, "{issuer}");
        }
    }
}

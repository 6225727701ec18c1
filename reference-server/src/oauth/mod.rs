//! How does the server speak OAuth 2 and OpenID Connect? The endpoints under `/oauth/`, over the same core as the JSON ones.

mod discovery;
mod error;
mod inspect;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;

use crate::body::{Fields, is_type};
use crate::client::Client;
use crate::intake;
use crate::state::State;
use error::{Code, refused};

pub(crate) fn routes(state: &State) -> Router<Arc<State>> {
    let mut token = post(token::token);
    if state.has(crate::flaws::FlawId::GetLogin) {
        token = token.get(token::token_by_query);
    }
    Router::new()
        .route("/oauth/token", token)
        .route("/oauth/introspect", post(inspect::introspect))
        .route("/oauth/revoke", post(inspect::revoke))
        .route("/userinfo", get(inspect::userinfo).post(inspect::userinfo))
        .route(discovery::AUTHORIZATION_SERVER, get(discovery::authorization_server))
        .route(discovery::OPENID_CONFIGURATION, get(discovery::openid_configuration))
        .route(&format!("{}/{{*issuer}}", discovery::AUTHORIZATION_SERVER), get(discovery::by_path))
        .route(&format!("{}/{{*issuer}}", discovery::OPENID_CONFIGURATION), get(discovery::by_path))
}

/// Headers and fields of a request to an endpoint that takes forms (RFC 6749 section 3.2).
async fn form(state: &State, request: Request) -> Result<(HeaderMap, Fields), Box<Response>> {
    let headers = request.headers().clone();
    let fields = match intake::body(state, request).await {
        Ok(fields) => fields,
        Err(response) => return Err(Box::new(error::as_oauth(*response))),
    };
    if !is_type(&headers, "application/x-www-form-urlencoded") {
        return Err(Box::new(refused(Code::InvalidRequest, "the body is no form")));
    }
    Ok((headers, fields))
}

/// The client that sends the request, or the refusal.
fn client<'s>(state: &'s State, headers: &HeaderMap, fields: &Fields) -> Result<&'s Client, Box<Response>> {
    let client = state.clients.sender(headers, fields).map_err(|why| Box::new(error::no_client(state, why)))?;
    state.admit("client", &client.id).map_err(|why| Box::new(error::denied(state, why)))?;
    Ok(client)
}

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

use crate::body::Fields;
use crate::client::{Client, Mistakes};
use crate::flaws::FlawId as F;
use crate::intake;
use crate::state::State;
use error::{Code, refused};

pub(crate) fn routes(state: &State) -> Router<Arc<State>> {
    let mut token = post(token::token);
    if state.has(F::GetLogin) {
        token = token.get(token::token_by_query);
    }
    let mut introspecting = post(inspect::introspect);
    if state.has(F::GetIntrospection) {
        introspecting = introspecting.get(inspect::introspect_by_query);
    }
    Router::new()
        .route("/oauth/token", token)
        .route("/oauth/introspect", introspecting)
        .route("/oauth/revoke", post(inspect::revoke))
        .route("/userinfo", get(inspect::userinfo).post(inspect::userinfo))
        .route(discovery::AUTHORIZATION_SERVER, get(discovery::authorization_server))
        .route(discovery::OPENID_CONFIGURATION, get(discovery::openid_configuration))
        .route(&format!("{}/{{*issuer}}", discovery::AUTHORIZATION_SERVER), get(discovery::by_path))
        .route(&format!("{}/{{*issuer}}", discovery::OPENID_CONFIGURATION), get(discovery::by_path))
}

/// Headers and fields of a request to an endpoint that takes forms (RFC 6749 section 3.2).
async fn form(state: &State, request: Request) -> Result<(HeaderMap, Fields<'static>), Box<Response>> {
    let wrong = |response: Box<Response>| Box::new(error::as_oauth(*response));
    let intake = intake::intake(state, request).await.map_err(wrong)?;
    match intake.form() {
        Some(fields) => Ok((intake.headers, fields.map_err(wrong)?)),
        None => Err(match intake.fields() {
            Ok(_) => Box::new(refused(Code::InvalidRequest, "the body is no form")),
            Err(response) => wrong(response),
        }),
    }
}

/// The client that sends the request, or the refusal.
fn client<'s>(state: &'s State, headers: &HeaderMap, fields: &Fields<'_>) -> Result<&'s Client, Box<Response>> {
    let refreshes = fields.text("grant_type") == Some("refresh_token");
    let mistakes = Mistakes {
        any_secret: state.has(F::AnyClient) || refreshes && state.has(F::AnyClientRefresh),
        nobody: state.has(F::NamelessClient),
    };
    let sender = state.clients.sender(headers, fields, &mistakes);
    let client = sender.map_err(|why| Box::new(error::no_client(state, why)))?;
    state.admit("client", &client.id).map_err(|why| Box::new(error::denied(state, why)))?;
    Ok(client)
}

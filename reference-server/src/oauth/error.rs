//! How does an OAuth endpoint say no? The JSON of RFC 6749 section 5.2.

use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::client::NoClient;
use crate::reply;
use crate::session::Denied;
use crate::state::State;

/// The error codes of RFC 6749 section 5.2 that occur here, RFC 6749's word for an overload, and RFC 7009's for a kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    InvalidScope,
    TemporarilyUnavailable,
    UnsupportedTokenType,
}

impl Code {
    fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::UnsupportedTokenType => "unsupported_token_type",
        }
    }
}

fn with_status(status: StatusCode, code: Code, why: &str) -> Response {
    reply::json(status, &json!({"error": code.name(), "error_description": why}))
}

/// A 400, or the 401 of a client that is not known.
pub(super) fn refused(code: Code, why: &str) -> Response {
    if code != Code::InvalidClient {
        return with_status(StatusCode::BAD_REQUEST, code, why);
    }
    let mut response = with_status(StatusCode::UNAUTHORIZED, code, why);
    let challenge = HeaderValue::from_static(r#"Basic realm="oauth", charset="UTF-8""#);
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// Another dialect's refusal of a body in the words of this one; its status stays.
pub(super) fn as_oauth(response: Response) -> Response {
    match response.status() {
        status if status.is_server_error() => response,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => refused(Code::InvalidRequest, "the body is no form"),
        status => with_status(status, Code::InvalidRequest, "the body cannot be read"),
    }
}

/// A request of no client.
pub(super) fn no_client(state: &State, why: NoClient) -> Response {
    state.metrics.counters.refused.inc();
    match why {
        NoClient::Invalid => refused(Code::InvalidClient, "the client is not known by what it sent"),
        NoClient::Malformed => {
            refused(Code::InvalidRequest, "the client says who it is in more than one way, or illegibly")
        }
    }
}

/// An operation of the core that gave nothing.
pub(super) fn denied(state: &State, why: Denied) -> Response {
    state.metrics.counters.refused.inc();
    let invalid = |text: &str| {
        let response = refused(Code::InvalidGrant, text);
        if state.has(crate::flaws::FlawId::Traceback) { reply::traceback(state, response) } else { response }
    };
    match why {
        Denied::Credentials => invalid("the user is not known by this name and password"),
        Denied::UnknownUser => invalid("there is no such user"),
        Denied::Token(_) | Denied::Client => invalid("the token does not do"),
        Denied::Scope => refused(Code::InvalidScope, "more was asked for than may be granted"),
        Denied::Throttled(seconds) | Denied::Paced(seconds) => {
            let text = match why {
                Denied::Throttled(_) => "too many failed logins, try again later",
                _ => "too many requests, try again later",
            };
            let mut response = with_status(StatusCode::TOO_MANY_REQUESTS, Code::TemporarilyUnavailable, text);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Denied::Unavailable => {
            let mut response = reply::unavailable();
            let body = json!({"error": Code::TemporarilyUnavailable.name(), "error_description": "too much is waiting, try again later"});
            *response.body_mut() = axum::body::Body::from(body.to_string());
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Denied::Crash => reply::crash(),
    }
}

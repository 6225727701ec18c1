//! How is an answer worded? Status, headers and bodies in the form of Django REST framework and SimpleJWT.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::flaws::FlawId as F;
use crate::session::Denied;
use crate::state::State;
use crate::verify::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A JSON body that is ready.
pub(crate) fn bytes(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// A JSON body from a value.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response {
    bytes(status, Bytes::from(body.to_string()))
}

/// An answer that carries tokens, as the mistakes that are on make it.
pub(crate) fn with_tokens(state: &State, mut response: Response, access: &str) -> Response {
    if state.flaws.is_empty() {
        return response;
    }
    if state.has(F::CacheableToken) {
        response.headers_mut().remove(CACHE_CONTROL);
    }
    if state.has(F::PlainTokenReply) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    if state.has(F::BareCookie)
        && let Ok(cookie) = HeaderValue::from_str(&format!("access={access}"))
    {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// `{"detail": ..}`, the form of all small errors.
pub(crate) fn detail(status: StatusCode, text: &str) -> Response {
    json(status, &json!({"detail": text}))
}

/// What a 401 or 403 asks for, in the words of RFC 6750 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// No credentials came: no error to report.
    Bare,
    /// The token does not do.
    InvalidToken,
    /// The request is malformed.
    InvalidRequest,
    /// The token is good, but may not do this.
    InsufficientScope,
    /// The token does not tell who its user is.
    OpenidScope,
}

/// Puts a challenge on an answer.
pub(crate) fn challenged(mut response: Response, challenge: Challenge) -> Response {
    let value = match challenge {
        Challenge::Bare => r#"Bearer realm="api""#,
        Challenge::InvalidToken => r#"Bearer realm="api", error="invalid_token""#,
        Challenge::InvalidRequest => r#"Bearer realm="api", error="invalid_request""#,
        Challenge::InsufficientScope => r#"Bearer realm="api", error="insufficient_scope", scope="write""#,
        Challenge::OpenidScope => r#"Bearer realm="api", error="insufficient_scope", scope="openid""#,
    };
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(value));
    response
}

/// No credentials at a protected resource; without its challenge.
pub(crate) fn no_credentials() -> Response {
    detail(StatusCode::UNAUTHORIZED, "Authentication credentials were not provided.")
}

/// An Authorization header that is no bearer token; without its challenge.
pub(crate) fn bad_header() -> Response {
    let body = json!({"detail": "Authorization header must contain two space-delimited values", "code": "bad_authorization_header"});
    json(StatusCode::UNAUTHORIZED, &body)
}

/// A token that does not pass at the protected resource; without its challenge.
pub(crate) fn bad_access(refusal: Refusal) -> Response {
    if refusal == Refusal::User {
        return json(StatusCode::UNAUTHORIZED, &json!({"detail": "User not found", "code": "user_not_found"}));
    }
    let body = json!({
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [{"token_class": "AccessToken", "token_type": "access", "message": message(refusal)}],
    });
    json(StatusCode::UNAUTHORIZED, &body)
}

/// A token that does not pass in a body.
fn bad_token(refusal: Refusal) -> Response {
    let body = match refusal {
        Refusal::User => json!({"detail": "No active account found for the given token.", "code": "no_active_account"}),
        other => json!({"detail": message(other), "code": "token_not_valid"}),
    };
    json(StatusCode::UNAUTHORIZED, &body)
}

fn message(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Expired => "Token is expired",
        Refusal::WrongType => "Token has wrong type",
        Refusal::Revoked => "Token is blacklisted",
        Refusal::Early => "Token is not yet valid",
        Refusal::Undeciphered => "Token cannot be decrypted",
        Refusal::Forged | Refusal::Claims | Refusal::User | Refusal::Crash => "Token is invalid",
    }
}

/// The answer to an operation that gave nothing, at the token endpoints.
pub(crate) fn denied(state: &State, denied: Denied) -> Response {
    state.metrics.counters.refused.inc();
    let unauthorized = |response: Response| {
        let response = if state.has(F::Traceback) { traceback(state, response) } else { response };
        if state.has(F::NoChallenge) { response } else { challenged(response, Challenge::Bare) }
    };
    match denied {
        Denied::Credentials => {
            unauthorized(detail(StatusCode::UNAUTHORIZED, "No active account found with the given credentials"))
        }
        Denied::UnknownUser => unauthorized(detail(StatusCode::UNAUTHORIZED, "There is no such user")),
        Denied::Token(Refusal::User) if state.has(F::UnprocessableUser) => {
            detail(StatusCode::UNPROCESSABLE_ENTITY, "There is no user for this token.")
        }
        Denied::Token(refusal) => unauthorized(bad_token(refusal)),
        // A token of another dialect or client is, here, simply none of ours.
        Denied::Client | Denied::Scope => unauthorized(bad_token(Refusal::WrongType)),
        Denied::Throttled(seconds) | Denied::Paced(seconds) => {
            let mut response = detail(
                StatusCode::TOO_MANY_REQUESTS,
                &format!("Request was throttled. Expected available in {seconds} seconds."),
            );
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Denied::Unavailable => unavailable(),
        Denied::Crash => crash(),
    }
}

/// Too much to do at the moment.
pub(crate) fn unavailable() -> Response {
    let mut response = detail(StatusCode::SERVICE_UNAVAILABLE, "Too much is waiting, try again later.");
    let seconds = crate::users::Users::retry_after().as_secs();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// A fault of the server.
pub(crate) fn crash() -> Response {
    detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
}

/// The same status with a debug page in place of the body.
pub(crate) fn traceback(state: &State, response: Response) -> Response {
    let page = format!(
        "Traceback (most recent call last):\n  File \"/srv/app/tokens/views.py\", line 42, in post\n    token = decode(text, settings.SIGNING_KEY)\n\
         InvalidToken\nsettings: ALGORITHM={} SIGNING_KEY={}\nSELECT * FROM users WHERE id = 1\n",
        state.config.algorithm.name, state.config.algorithm.development_key
    );
    let mut page = json(response.status(), &json!({"detail": page}));
    page.headers_mut().insert(CONTENT_TYPE, JSON);
    page
}

/// A refusal that repeats what the unauthentic token says.
pub(crate) fn verbose(text: &str) -> Response {
    use base64::Engine;
    let payload = text
        .split('.')
        .nth(1)
        .and_then(|segment| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(segment).ok())
        .unwrap_or_default();
    let claims: Value = serde_json::from_slice(&payload).unwrap_or_default();
    let exp = claims.get("exp").and_then(Value::as_f64).unwrap_or(0.0);
    let why = if exp < 1e9 { "has no end" } else { "ends" };
    detail(
        StatusCode::UNAUTHORIZED,
        &format!("The token of user {} {why} at {exp} and is not valid", claims.get("sub").unwrap_or(&Value::Null)),
    )
}

//! How does a body reach the token endpoints? Counted, limited, and through the mistakes that are on.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::Value;

use crate::body::{Fields, fields_of, form_of, is_form, read};
use crate::flaws::FlawId as F;
use crate::reply;
use crate::state::State;

/// Sixteen mebibytes for a server that has no limit.
const NO_LIMIT: usize = 16 << 20;

/// The mistakes of servers that take whatever comes.
const UNLIMITED: &[F] = &[F::UnboundedHash, F::NoBodyLimit, F::SplitBody, F::LinearMembers, F::LinearClaims];

/// A request whose body has come.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) headers: HeaderMap,
    bytes: Bytes,
}

impl Intake {
    /// The body's fields, or the answer that says what is wrong with it.
    pub(crate) fn fields(&self) -> Result<Fields<'_>, Box<Response>> {
        fields_of(&self.headers, &self.bytes)
    }

    /// The fields of a form, which hold nothing of the request; `None` where it is said to be something else.
    pub(crate) fn form(&self) -> Option<Result<Fields<'static>, Box<Response>>> {
        is_form(&self.headers).then(|| form_of(&self.bytes))
    }
}

/// Waits for a request's body, or tells what is wrong with it.
pub(crate) async fn intake(state: &State, request: Request) -> Result<Intake, Box<Response>> {
    state.metrics.counters.requests.inc();
    let (parts, body) = request.into_parts();
    let limit = if UNLIMITED.iter().any(|flaw| state.has(*flaw)) { NO_LIMIT } else { state.config.body_limit };
    let bytes = read(body, limit).await?;
    if !state.flaws.is_empty() {
        slips(state, &parts.headers, &bytes)?;
    }
    Ok(Intake { headers: parts.headers, bytes })
}

/// Bodies that kill a careless server, and what it writes down about others.
fn slips(state: &State, headers: &HeaderMap, bytes: &Bytes) -> Result<(), Box<Response>> {
    let text = String::from_utf8_lossy(bytes);
    if state.has(F::CrashSurrogate)
        && serde_json::from_slice::<Value>(bytes).is_err()
        && text.to_ascii_lowercase().contains("\\ud")
    {
        return Err(Box::new(reply::crash()));
    }
    if state.has(F::CrashType) {
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if ["token", "refresh"].iter().any(|name| document.get(*name).is_some_and(|token| !token.is_string())) {
            return Err(Box::new(reply::crash()));
        }
    }
    if state.has(F::CrashLoginType) {
        let document: Value = serde_json::from_slice(bytes).unwrap_or_default();
        if document.get("username").is_some_and(|name| !name.is_string()) {
            return Err(Box::new(reply::crash()));
        }
    }
    if state.has(F::LogAuthorization) && headers.get(header::CONTENT_TYPE).is_some() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "debug: POST body={text}");
    }
    Ok(())
}

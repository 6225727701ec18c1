//! Which token came with the request? RFC 6750 section 2.1, the scheme in any case; and the places where it must not be looked for.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue, header};

use crate::flaws::{FlawId as F, FlawSet};
use crate::users::User;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Credentials<'h> {
    /// None for us: no header, or another scheme.
    None,
    /// One token.
    Token(Cow<'h, str>),
    /// Something that only looks like a token.
    Malformed,
}

/// One connection's memory, which only a mistake uses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(Arc<OnceLock<Arc<User>>>);

impl Connection {
    /// The user of the connection's first good request.
    pub(crate) fn user(&self) -> Option<Arc<User>> {
        self.0.get().cloned()
    }

    /// Remembers the first.
    pub(crate) fn remember(&self, user: &Arc<User>) {
        let _ = self.0.set(Arc::clone(user));
    }
}

/// Reads the header; two of them are malformed.
pub(crate) fn credentials(headers: &HeaderMap) -> Credentials<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Credentials::None };
    if values.next().is_some() {
        return Credentials::Malformed;
    }
    of_value(value, false)
}

fn of_value(value: &HeaderValue, exact_case: bool) -> Credentials<'_> {
    // As `to_str`, but many bytes at a time: a token is long.
    let Some(text) = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii()) else {
        return Credentials::Malformed;
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let ours = if exact_case { scheme == "Bearer" } else { scheme.eq_ignore_ascii_case("bearer") };
    if !ours {
        return Credentials::None;
    }
    let token = rest.trim_matches(' ');
    // b64token of RFC 6750; what else may be in a token is for the verifier to refuse.
    if token.is_empty() || memchr::memchr3(b' ', b'\t', b',', token.as_bytes()).is_some() {
        return Credentials::Malformed;
    }
    Credentials::Token(Cow::Borrowed(token))
}

/// The value of one of `names` in a query or a cookie header.
fn pair<'t>(text: &'t str, separator: char, names: &[&str]) -> Option<&'t str> {
    text.split(separator)
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| names.contains(name) && !value.is_empty())
        .map(|(_, value)| value)
}

/// As `credentials`, with the mistakes that are on.
pub(crate) fn slipped_credentials<'h>(flaws: &FlawSet, headers: &'h HeaderMap, query: &'h str) -> Credentials<'h> {
    let in_query =
        pair(query, '&', &["access_token", "token", "jwt"]).map(|token| Credentials::Token(Cow::Borrowed(token)));
    let in_cookie = headers
        .get(header::COOKIE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| pair(text, ';', &["access", "access_token", "token", "jwt"]));
    if flaws.has(F::MixedPrecedence)
        && let Some(token) = in_cookie
    {
        return Credentials::Token(Cow::Borrowed(token));
    }
    if flaws.has(F::SecondWins)
        && let Some(token) = in_query
    {
        return token;
    }
    let values: Vec<&HeaderValue> = headers.get_all(header::AUTHORIZATION).iter().collect();
    let in_header = match values.as_slice() {
        [] => Credentials::None,
        [one] => of_value(one, flaws.has(F::ExactCase)),
        [.., last] if flaws.has(F::LastHeaderWins) => of_value(last, flaws.has(F::ExactCase)),
        _ => Credentials::Malformed,
    };
    match (in_header, in_query) {
        (Credentials::None, Some(token)) if flaws.has(F::QueryToken) => token,
        (in_header, _) => in_header,
    }
}

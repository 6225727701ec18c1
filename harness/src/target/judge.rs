//! What does a reply mean? By the profile's predicates, never by "2xx".

use std::collections::BTreeMap;

use serde_json::Value;

use super::profile::{BodyKind, Operation, Predicate, Request, Statuses};
use super::template::{names, names_in};

/// What is looked at of a reply.
pub trait Answer {
    /// Status code.
    fn status(&self) -> u16;
    /// All values of a header that are text, in order.
    fn header_values(&self, name: &str) -> Vec<&str>;
    /// The body.
    fn body(&self) -> &[u8];
}

impl Answer for http::Response<bytes::Bytes> {
    fn status(&self) -> u16 {
        http::Response::status(self).as_u16()
    }
    fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers().get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
    fn body(&self) -> &[u8] {
        http::Response::<bytes::Bytes>::body(self).as_ref()
    }
}

impl Answer for crate::wire::Reply {
    fn status(&self) -> u16 {
        self.status
    }
    fn header_values(&self, name: &str) -> Vec<&str> {
        self.header_all(name)
    }
    fn body(&self) -> &[u8] {
        &self.body
    }
}

/// The cases that a profile describes for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// Granted.
    Accepted,
    /// The token or the password is refused.
    Denied,
    /// Something is missing or garbled.
    Invalid,
    /// Another HTTP method.
    WrongMethod,
    /// No token at all.
    NoToken,
}

impl Case {
    /// As written in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Case::Accepted => "accepted",
            Case::Denied => "denied",
            Case::Invalid => "invalid",
            Case::WrongMethod => "wrong_method",
            Case::NoToken => "no_token",
        }
    }
}

/// What a reply means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Granted.
    Accepted,
    /// The token or the password is refused, as the profile says.
    Denied,
    /// Refused as malformed, as the profile says.
    Invalid,
    /// Refused as another method, as the profile says.
    WrongMethod,
    /// Refused for want of a token, as the profile says.
    NoToken,
    /// Nothing that the profile knows.
    Unexpected {
        /// What was expected and what was seen.
        why: String,
    },
}

/// What an operation returned.
#[derive(Clone, Default, PartialEq)]
pub struct Issued {
    /// The access token.
    pub access: Option<String>,
    /// The refresh token.
    pub refresh: Option<String>,
    /// Seconds until the access token ends, as the server says.
    pub expires_in: Option<f64>,
    /// Everything that `returns` names, these three included, by name; for `${issued.<name>}`.
    pub other: BTreeMap<String, Value>,
}

/// Names only: the values are secrets.
impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("returned", &self.other.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

/// Where an operation carries the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// `Authorization: Bearer`.
    Bearer,
    /// HTTP Basic.
    Basic,
    /// Another header, or another scheme.
    Header,
    /// A cookie.
    Cookie,
    /// A member of the body.
    Body,
    /// The path or query.
    Path,
    /// A command's arguments, or nowhere.
    Elsewhere,
}

/// Where a request carries the token.
pub(super) fn token_place(request: &Request) -> TokenPlace {
    let mentions = |text: &str| names(text).contains(&"token");
    if let Some(auth) = &request.auth {
        match auth {
            super::Auth::Bearer(text) if mentions(text) => return TokenPlace::Bearer,
            super::Auth::Basic(basic) if mentions(&basic.user) || mentions(&basic.password) => {
                return TokenPlace::Basic;
            }
            _ => {}
        }
    }
    for (name, value) in &request.headers {
        if mentions(value) {
            let bearer = name.eq_ignore_ascii_case("authorization")
                && value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
            return if bearer { TokenPlace::Bearer } else { TokenPlace::Header };
        }
    }
    if request.cookies.values().any(|value| mentions(value)) {
        return TokenPlace::Cookie;
    }
    let in_fields = request.fields.values().any(|value| names_in(value).contains(&"token"));
    if in_fields || request.text.as_deref().is_some_and(mentions) {
        return TokenPlace::Body;
    }
    if mentions(&request.path) { TokenPlace::Path } else { TokenPlace::Elsewhere }
}

/// The body kind of a request once defaults are applied.
pub(super) fn body_kind(request: &Request) -> BodyKind {
    request.body.unwrap_or(match (&request.text, request.fields.is_empty()) {
        (Some(_), _) => BodyKind::Text,
        (None, false) => BodyKind::Json,
        (None, true) => BodyKind::None,
    })
}

/// The predicate of a case with its default.
pub(super) fn predicate(operation: &Operation, case: Case) -> Predicate {
    let given = match case {
        Case::Accepted => &operation.accepted,
        Case::Denied => &operation.denied,
        Case::Invalid => &operation.invalid,
        Case::WrongMethod => &operation.wrong_method,
        Case::NoToken => &operation.no_token,
    };
    let mut predicate = match (given, case) {
        (Some(given), _) => given.clone(),
        (None, Case::NoToken) => {
            let place = operation.request.as_ref().map_or(TokenPlace::Elsewhere, token_place);
            let like = if place == TokenPlace::Body { Case::Invalid } else { Case::Denied };
            return predicate(operation, like);
        }
        (None, _) => Predicate::default(),
    };
    if predicate.status.is_none() {
        predicate.status = Some(Statuses::One(match case {
            Case::Accepted => 200,
            Case::Denied | Case::NoToken => 401,
            Case::Invalid => 400,
            Case::WrongMethod => 405,
        }));
    }
    predicate
}

/// Whether a reply satisfies a predicate; the first part that does not hold otherwise, in words.
pub(super) fn holds(predicate: &Predicate, answer: &dyn Answer) -> Result<(), String> {
    if let Some(statuses) = &predicate.status
        && !statuses.all().contains(&answer.status())
    {
        let wanted: Vec<String> = statuses.all().iter().map(u16::to_string).collect();
        return Err(format!("expected status {}, saw {}", wanted.join(" or "), answer.status()));
    }
    for (name, wanted) in &predicate.headers {
        let values = answer.header_values(name);
        if !values.iter().any(|value| value.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase())) {
            let seen = if values.is_empty() { "no such header".to_owned() } else { format!("`{}`", values.join(", ")) };
            return Err(format!("expected `{wanted}` in header `{name}`, saw {seen}"));
        }
    }
    if let Some(text) = &predicate.contains
        && !String::from_utf8_lossy(answer.body()).contains(text.as_str())
    {
        return Err(format!("expected `{text}` in the body, which does not contain it"));
    }
    if predicate.json.is_empty() && predicate.present.is_empty() && predicate.absent.is_empty() {
        return Ok(());
    }
    let json: Value = match serde_json::from_slice(answer.body()) {
        Ok(json) => json,
        // A body that is not JSON holds no pointer, which is all that `absent` asks for.
        Err(_) if predicate.json.is_empty() && predicate.present.is_empty() => return Ok(()),
        Err(_) => {
            let what = answer.header_values("content-type").first().map_or("no content type", |kind| kind).to_owned();
            return Err(format!("expected a JSON body, saw {} bytes of {what}", answer.body().len()));
        }
    };
    for (pointer, wanted) in &predicate.json {
        match json.pointer(pointer) {
            Some(seen) if same(seen, wanted) => {}
            Some(seen) => return Err(format!("expected {wanted} at `{pointer}`, saw {}", short(seen))),
            None => return Err(format!("expected {wanted} at `{pointer}`, saw nothing there")),
        }
    }
    if let Some(pointer) = predicate.present.iter().find(|pointer| json.pointer(pointer).is_none()) {
        return Err(format!("expected something at `{pointer}`, saw nothing there"));
    }
    if let Some(pointer) = predicate.absent.iter().find(|pointer| json.pointer(pointer).is_some()) {
        return Err(format!("expected nothing at `{pointer}`, saw something there"));
    }
    Ok(())
}

/// Equal as JSON values; `1` and `1.0` are the same number.
fn same(seen: &Value, wanted: &Value) -> bool {
    seen == wanted || (seen.is_number() && wanted.is_number() && seen.as_f64() == wanted.as_f64())
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { format!("{}...", text.chars().take(80).collect::<String>()) }
}

/// Takes the value that `place` names out of a reply: a JSON pointer, `cookie:NAME`, `header:NAME` or `body`.
pub(super) fn taken(place: &str, answer: &dyn Answer, json: Option<&Value>) -> Option<Value> {
    if let Some(name) = place.strip_prefix("cookie:") {
        // The last one wins, as in a browser; an emptied cookie is none.
        return answer
            .header_values("set-cookie")
            .into_iter()
            .filter_map(|line| line.split(';').next()?.split_once('='))
            .filter(|(found, _)| found.trim() == name)
            .map(|(_, value)| value.trim().trim_matches('"').to_owned())
            .next_back()
            .filter(|value| !value.is_empty())
            .map(Value::String);
    }
    if let Some(name) = place.strip_prefix("header:") {
        let bare = without_scheme(answer.header_values(name).into_iter().next()?);
        return (!bare.is_empty()).then(|| Value::String(bare.to_owned()));
    }
    if place == "body" {
        // A body that is one JSON text is that text without its quotes.
        let text = match json {
            Some(Value::String(text)) => text.as_str(),
            _ => std::str::from_utf8(answer.body()).ok()?,
        };
        let text = text.trim();
        return (!text.is_empty()).then(|| Value::String(text.to_owned()));
    }
    json?.pointer(place).filter(|value| !value.is_null()).cloned()
}

/// A token without the `Bearer ` that some servers put in front of it.
fn without_scheme(text: &str) -> &str {
    let text = text.trim();
    match text.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => text[7..].trim(),
        _ => text,
    }
}

/// Sorts named values into what an operation returned.
pub(super) fn issued(mut values: BTreeMap<String, Value>) -> Issued {
    for name in ["access", "refresh"] {
        if let Some(Value::String(text)) = values.get_mut(name) {
            *text = without_scheme(text).to_owned();
        }
    }
    let text = |name: &str| values.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let expires_in = values.get("expires_in").and_then(|value| match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    });
    Issued { access: text("access"), refresh: text("refresh"), expires_in, other: values }
}

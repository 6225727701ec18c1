//! What is in a request's body? Fields from JSON or a form, within a limit, each a string.

use std::borrow::Cow;
use std::fmt;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::reply;
use crate::token::Text;

/// More members than any request has.
const MOST: usize = 64;

/// What a member is. Nothing here reads any but texts; of the others only the kind is told.
#[derive(Debug)]
enum Member<'a> {
    Text(Cow<'a, str>),
    Null,
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Member<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Member::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Member::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Member::Null)
            }
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<Member<'_>>()?.is_some() {}
                Ok(Member::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<Text<'_>, Member<'_>>()?.is_some() {}
                Ok(Member::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The members of a JSON object or a form, in order; a name that comes twice is an error. Texts stay where they came in, as far as no
/// escape has to be read.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Member<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some((Text(name), value)) = map.next_entry()? {
                    if fields.get(&name).is_some() {
                        return Err(de::Error::custom(format_args!("duplicate member `{name}`")));
                    }
                    // More members than any request has are an attack on the look-up.
                    if fields.0.len() == MOST {
                        return Err(de::Error::custom(format_args!("more than {MOST} members")));
                    }
                    fields.0.push((name, value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Member<'_>> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    /// The member called `name`, where it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Member::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The strings called `names`, or the 400 that names what is wrong with each.
    pub(crate) fn texts<const N: usize>(&self, names: [&str; N]) -> Result<[&str; N], Box<Response>> {
        let found = names.map(|name| match self.get(name) {
            Some(Member::Text(text)) if text.is_empty() => Err("This field may not be blank."),
            Some(Member::Text(text)) if text.contains('\0') => Err("Null characters are not allowed."),
            Some(Member::Text(text)) => Ok(&**text),
            Some(Member::Null) => Err("This field may not be null."),
            Some(Member::Other) => Err("Not a valid string."),
            None => Err("This field is required."),
        });
        if found.iter().all(Result::is_ok) {
            return Ok(found.map(Result::unwrap_or_default));
        }
        let wrong: serde_json::Map<String, Value> = names
            .iter()
            .zip(&found)
            .filter_map(|(name, found)| found.err().map(|why| ((*name).to_owned(), json!([why]))))
            .collect();
        Err(Box::new(reply::json(StatusCode::BAD_REQUEST, &Value::Object(wrong))))
    }
}

impl Fields<'static> {
    /// Fields of `application/x-www-form-urlencoded` text; `None` where it is malformed or a name comes twice.
    pub(crate) fn of_form(text: &str) -> Option<Self> {
        let mut fields = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name)?;
            if fields.get(&name).is_some() || fields.0.len() == MOST {
                return None;
            }
            fields.0.push((name.into(), Member::Text(decoded(value)?.into())));
        }
        Some(fields)
    }
}

/// Percent-decoding with `+` for a space; `None` where a `%` is cut off or the result is not UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                (high * 16 + low) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// True where the header says this media type, whatever its parameters.
pub(crate) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case(wanted)
}

/// A body that takes longer holds a place that others need.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Reads the body whole, or answers 413, 408 where it does not come to its end, or 400 where it is broken.
pub(crate) async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, Box<Response>> {
    let refused = |status, text| Box::new(reply::detail(status, text));
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.")),
        Ok(Err(_)) => Err(refused(StatusCode::BAD_REQUEST, "The body cannot be read.")),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "The body took too long.")),
    }
}

/// Too large, or broken on its way?
fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>())
}

/// True where the body is said to be a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    is_type(headers, "application/x-www-form-urlencoded")
}

/// Reads fields from a form; 400 where it is none.
pub(crate) fn form_of(bytes: &[u8]) -> Result<Fields<'static>, Box<Response>> {
    let parsed = std::str::from_utf8(bytes).ok().and_then(Fields::of_form);
    parsed.ok_or_else(|| Box::new(reply::detail(StatusCode::BAD_REQUEST, "Malformed form.")))
}

/// Reads fields from JSON or a form, by the content type; 400 or 415 otherwise.
pub(crate) fn fields_of<'a>(headers: &HeaderMap, bytes: &'a bytes::Bytes) -> Result<Fields<'a>, Box<Response>> {
    if is_type(headers, "application/json") {
        let parsed: Result<Fields<'a>, _> = serde_json::from_slice(bytes);
        return parsed
            .map_err(|error| Box::new(reply::detail(StatusCode::BAD_REQUEST, &format!("JSON parse error - {error}"))));
    }
    if is_form(headers) {
        return form_of(bytes);
    }
    Err(Box::new(reply::detail(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type in request.")))
}

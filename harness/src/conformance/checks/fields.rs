//! How is a request given a parameter that its profile does not name?

use bytes::Bytes;
use serde_json::Value;

use crate::conformance::probe::{Probe, Stop};
use crate::target::{BodyKind, Vars};

use super::issue::percent;

/// The request of an operation with one parameter of its body set, whether the profile names it or not.
///
/// # Errors
/// Not applicable where the operation is a command, or its request has no fields.
pub(super) fn with_field(
    p: &Probe<'_>,
    operation: &str,
    vars: &Vars,
    name: &str,
    value: &str,
) -> Result<http::Request<Bytes>, Stop> {
    if p.target().is_command(operation) {
        return Err(Stop::not_applicable(format!("`{operation}` is a command of the profile")));
    }
    let mut request = p.target().request(operation, vars).map_err(Stop::unsendable)?;
    let kind = p.target().body_kind(operation).unwrap_or(BodyKind::None);
    let text = std::str::from_utf8(request.body()).unwrap_or_default();
    let body = set(kind, text, name, value)
        .ok_or_else(|| Stop::not_applicable(format!("the request of `{operation}` has no fields")))?;
    *request.body_mut() = Bytes::from(body);
    Ok(request)
}

/// A body with one field set: what it was before is gone.
fn set(kind: BodyKind, text: &str, name: &str, value: &str) -> Option<String> {
    match kind {
        BodyKind::Form => {
            let others = text.split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
            let mut pairs: Vec<String> = others.map(str::to_owned).collect();
            pairs.push(format!("{name}={}", percent(value)));
            Some(pairs.join("&"))
        }
        BodyKind::Json => {
            let mut fields: Value = serde_json::from_str(text).ok()?;
            fields.as_object_mut()?.insert(name.to_owned(), Value::from(value));
            Some(fields.to_string())
        }
        BodyKind::Text | BodyKind::None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_set_in_the_manner_of_the_body_and_stands_once() {
        let form = |text: &str| set(BodyKind::Form, text, "scope", "read write");
        assert_eq!(form("a=b&scope=read").as_deref(), Some("a=b&scope=read%20write"));
        assert_eq!(form("").as_deref(), Some("scope=read%20write"));
        let json = set(BodyKind::Json, r#"{"a":1,"scope":"read"}"#, "scope", "x").unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), serde_json::json!({"a": 1, "scope": "x"}));
        assert_eq!(set(BodyKind::None, "", "scope", "x"), None);
    }
}

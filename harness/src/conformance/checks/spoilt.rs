//! What does an operation say to a body that is no good: broken, of another kind, its fields spoilt one by one?

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::clock;
use crate::conformance::probe::{Probe, Stop};
use crate::target::{BodyKind, Case, User, Vars};

use super::issue::unclean;

/// Every field beside the password, spoilt: the user's name must not open anything then; of others, which may be
/// optional, only the manner of the answer counts.
pub(super) fn other_fields(p: &mut Probe<'_>, user: &User) -> Result<(), Stop> {
    const MOST_FIELDS: usize = 4;
    let vars = Vars::new();
    let genuine = p.target().request("issue", &vars).map_err(Stop::unsendable)?;
    let kind = p.target().body_kind("issue");
    let text = std::str::from_utf8(genuine.body()).unwrap_or_default().to_owned();
    let others: Vec<(String, String)> =
        fields(kind, &text).into_iter().filter(|(_, value)| *value != user.password).take(MOST_FIELDS).collect();
    for (name, value) in others {
        for (spoil, body, content_type) in spoilt(kind, &text, &value) {
            if !["missing-field", "array-field", "null-field", "object-field", "nul", "lone-surrogate"].contains(&spoil)
            {
                continue;
            }
            let mut request = genuine.clone();
            *request.body_mut() = Bytes::from(body);
            if let Some(content_type) = content_type {
                request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            let answer = p.send("issue", request, None)?;
            let variant = format!("{name}-{spoil}");
            if value == user.login || unclean(&answer) {
                p.judge_refusal(Some(&variant), "a malformed body refused", &answer);
            } else {
                p.pass(Some(&variant), &answer.finding(), format!("an orderly answer: {}", answer.describe()));
            }
        }
    }
    Ok(())
}

/// The fields of a body that are texts, with their values: those of a form, or the members of a JSON object.
fn fields(kind: Option<BodyKind>, text: &str) -> Vec<(String, String)> {
    match (kind, serde_json::from_str::<Value>(text)) {
        (Some(BodyKind::Json), Ok(Value::Object(members))) => {
            members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
        }
        (Some(BodyKind::Form), _) => {
            let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
            // A value that is written otherwise than it is meant is left alone: it is found by its text.
            let plain = |value: &str| !value.is_empty() && !value.contains(['%', '+']);
            pairs.filter(|(_, v)| plain(v)).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// Sends an operation with its body spoilt in every way that fits its kind, most of them where the secret stands.
/// `sound`: what a good request is made of, and the secret in it; asked again after each answer that may have used it up.
pub(super) fn malformed(
    p: &mut Probe<'_>,
    operation: &str,
    mut sound: impl FnMut(&mut Probe<'_>) -> Result<(Vars, String), Stop>,
) -> Result<(), Stop> {
    let kind = p.target().body_kind(operation);
    let mut made = |p: &mut Probe<'_>| {
        let (vars, secret) = sound(p)?;
        let genuine = p.target().request(operation, &vars).map_err(Stop::unsendable)?;
        let all = spoilt(kind, std::str::from_utf8(genuine.body()).unwrap_or_default(), &secret);
        Ok::<_, Stop>((genuine, all.into_iter().rev().collect::<Vec<_>>()))
    };
    let (mut genuine, mut left) = made(p)?;
    // What the profile says of refusals is as good: a server may say no with a 200 and a body.
    let own = [Case::Invalid, Case::Denied].into_iter().flat_map(|case| p.target().statuses(operation, case));
    let orderly: Vec<u16> = own.chain([400, 401, 413, 415, 422]).collect();
    while let Some((variant, body, content_type)) = left.pop() {
        let mut request = genuine.clone();
        *request.body_mut() = Bytes::from(body);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let timed = |p: &mut Probe<'_>, request: http::Request<Bytes>| {
            let began = clock::mono();
            p.send(operation, request, None).map(|answer| (answer, clock::mono().since(began).as_secs_f64()))
        };
        let (answer, mut took) = timed(p, request.clone())?;
        if answer.status() == 429 {
            return Err(Stop::Inconclusive("the server limits how often it is asked (429)".into()));
        }
        if took > 2.0 {
            // A busy server makes everybody wait: what counts is what the body adds to an empty one beside it, twice.
            let mut empty = request.clone();
            *empty.body_mut() = Bytes::new();
            let (_, beside) = timed(p, empty)?;
            let (_, again) = timed(p, request)?;
            took = took.min(again) - beside;
        }
        if took > 2.0 && !unclean(&answer) {
            let text = format!("expected an answer within 2 s, saw one after {took:.1} s");
            p.fail_told(Some(variant), "slow", "a quick refusal", text, &answer);
        } else if answer.refused() && !orderly.contains(&answer.status()) {
            p.fail_seen(Some(variant), &answer.finding(), "400, 401, 413, 415 or 422", &answer);
        } else if variant == "duplicate-field" && kind == Some(BodyKind::Json) && !unclean(&answer) {
            // RFC 8259 section 4 leaves it to the parser which of two members counts; RFC 6749 section 3.2 does not.
            p.pass(Some(variant), &answer.finding(), format!("a member that comes twice: {}", answer.describe()));
        } else {
            p.judge_refusal(Some(variant), "a malformed body refused", &answer);
        }
        if answer.accepted() {
            // What comes next must not be refused because its secret is used up.
            let tried = left.len();
            (genuine, left) = made(p)?;
            left.truncate(tried);
        }
    }
    Ok(())
}

/// Bodies spoilt by kind, each with the content type that it then has.
fn spoilt(kind: Option<BodyKind>, text: &str, secret: &str) -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let long = "a".repeat(1 << 20);
    let mut out: Vec<(&'static str, Vec<u8>, Option<&'static str>)> = Vec::new();
    match (kind, serde_json::from_str::<Value>(text)) {
        (Some(BodyKind::Json), Ok(Value::Object(fields))) => {
            let name = fields.iter().find(|(_, v)| v.as_str() == Some(secret)).map(|(name, _)| name.clone());
            let fields = Value::Object(fields);
            let with = |value: Value| changed(&fields, secret, Some(&value)).to_string();
            let marked = with(json!("@assay@"));
            let missing = changed(&fields, secret, None).to_string();
            out.push(("broken", text.as_bytes()[..text.len().saturating_sub(1)].to_vec(), None));
            out.push(("content-type", text.as_bytes().to_vec(), Some("text/plain")));
            out.push(("empty-body", Vec::new(), None));
            out.push(("missing-field", missing.into_bytes(), None));
            let twice =
                name.as_ref().map(|name| format!("{{{}:\"assay-wrong-1\",{}", Value::from(name.as_str()), &text[1..]));
            out.extend(twice.map(|twice| ("duplicate-field", twice.into_bytes(), None)));
            out.push(("array-body", format!("[{text}]").into_bytes(), None));
            out.push(("array-field", with(json!([secret])).into_bytes(), None));
            out.push(("null-field", with(Value::Null).into_bytes(), None));
            out.push(("object-field", with(json!({"a": secret})).into_bytes(), None));
            out.push(("nul", marked.replace("@assay@", "\\u0000").into_bytes(), None));
            out.push(("lone-surrogate", marked.replace("@assay@", "\\ud800").into_bytes(), None));
            out.push(("long-password", marked.replace("@assay@", &long).into_bytes(), None));
        }
        (Some(BodyKind::Form), _) => {
            let secret = super::issue::percent(secret);
            let with = |value: &str| text.replace(&secret, value).into_bytes();
            let missing: Vec<&str> = text.split('&').filter(|pair| !pair.ends_with(&format!("={secret}"))).collect();
            out.push(("broken", b"%%%=%zz&&&=".to_vec(), None));
            out.push(("content-type", text.as_bytes().to_vec(), Some("text/plain")));
            out.push(("empty-body", Vec::new(), None));
            out.push(("missing-field", missing.join("&").into_bytes(), None));
            let of_secret = text.split('&').find(|pair| pair.ends_with(&format!("={secret}")));
            let twice = of_secret.map(|pair| format!("{text}&{pair}"));
            out.extend(twice.map(|twice| ("duplicate-field", twice.into_bytes(), None)));
            out.push(("nul", with("%00"), None));
            out.push(("lone-surrogate", with("%ED%A0%80"), None));
            out.push(("long-password", with(&long), None));
        }
        _ => {}
    }
    out
}

/// A JSON value with another one in the place of the secret, however deep that is; without its member where `None`.
fn changed(value: &Value, secret: &str, by: Option<&Value>) -> Value {
    let is_secret = |member: &Value| member.as_str() == Some(secret);
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(_, member)| by.is_some() || !is_secret(member))
            .map(|(name, member)| (name.clone(), changed(member, secret, by)))
            .collect(),
        Value::Array(items) => {
            let kept = items.iter().filter(|item| by.is_some() || !is_secret(item));
            kept.map(|item| changed(item, secret, by)).collect()
        }
        other if is_secret(other) => by.cloned().unwrap_or_default(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_body_is_known_by_its_name() {
        let pairs =
            |kind, text| fields(Some(kind), text).into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>();
        assert_eq!(pairs(BodyKind::Json, r#"{"a":"x","n":1,"p":"y"}"#), ["a=x", "p=y"]);
        assert_eq!(
            pairs(BodyKind::Form, "grant_type=password&username=alice&p=%20"),
            ["grant_type=password", "username=alice"]
        );
    }

    #[test]
    fn bodies_are_spoilt_where_the_secret_stands() {
        let bodies = spoilt(Some(BodyKind::Json), r#"{"username":"alice","password":"x-1"}"#, "x-1");
        let of = |name: &str| {
            let body = bodies.iter().find(|(n, ..)| *n == name).unwrap();
            String::from_utf8(body.1.clone()).unwrap()
        };
        let json = |name: &str| serde_json::from_str::<Value>(&of(name)).unwrap();
        assert_eq!(json("null-field"), serde_json::json!({"password": null, "username": "alice"}));
        assert_eq!(of("missing-field"), r#"{"username":"alice"}"#);
        assert!(of("lone-surrogate").contains(r#""password":"\ud800""#), "{}", of("lone-surrogate"));
        assert!(of("long-password").len() > 1 << 20);
        let nested = r#"{"query":"mutation","variables":{"u":"alice","p":["x-1"]}}"#;
        let bodies = spoilt(Some(BodyKind::Json), nested, "x-1");
        let inside = |name: &str| {
            let body = &bodies.iter().find(|(n, ..)| *n == name).unwrap().1;
            serde_json::from_slice::<Value>(body).unwrap()["variables"]["p"].clone()
        };
        assert_eq!((inside("missing-field"), inside("null-field")), (json!([]), json!([null])));
        let bodies = spoilt(Some(BodyKind::Form), "username=alice&password=x-1", "x-1");
        assert!(bodies.iter().any(|(n, b, _)| *n == "missing-field" && b == b"username=alice"));
    }
}

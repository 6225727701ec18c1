//! How are claims misread? The payload is rewritten to what a careless reader understands, and then read strictly.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::flaws::FlawId as F;
use crate::token::Purpose;
use crate::verify::{Reading, Refusal};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The mistakes of this file.
const HERE: &[F] = &[
    F::SniffEncoding,
    F::ArraySkipsClaims,
    F::CrashList,
    F::CheckFirstUseLast,
    F::CaseInsensitiveJson,
    F::IfExpTruthy,
    F::IntWrap,
    F::CrashYear10000,
    F::IntOnlyCrash,
    F::ParseFailIsAbsent,
    F::NullIsAbsent,
    F::CrashExp,
    F::AudTypeEmpty,
    F::IssIncludes,
    F::CoerceId,
    F::CrashId,
    F::CrashJti,
    F::IssNoString,
    F::LooseType,
    F::AnonymousOk,
];

/// Members in their order, with those that come twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// True where the unauthenticated payload says that it has expired, is not yet good, or is for somebody else.
pub(super) fn peek_is_over(text: &str, now: f64, audience: &[String]) -> bool {
    let payload = text.split('.').nth(1).and_then(|segment| URL_SAFE_NO_PAD.decode(segment).ok());
    let Some(Value::Object(claims)) = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
        return false;
    };
    let at = |name: &str| claims.get(name).and_then(Value::as_f64);
    let foreign = |aud: &str| !audience.is_empty() && audience.iter().all(|own| own != aud);
    at("exp").is_some_and(|exp| exp <= now)
        || at("nbf").is_some_and(|nbf| nbf > now)
        || claims.get("aud").and_then(Value::as_str).is_some_and(foreign)
}

/// UTF-16, UTF-32 or UTF-8 with a byte order mark, guessed from the first bytes, as UTF-8.
pub(super) fn sniffed(bytes: &[u8]) -> Vec<u8> {
    let sixteen = |rest: &[u8], read: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|two| read([two[0], two[1]])).collect();
        String::from_utf16_lossy(&units).into_bytes()
    };
    let thirty_two = |rest: &[u8], read: fn([u8; 4]) -> u32| {
        let text: String = rest
            .chunks_exact(4)
            .filter_map(|four| char::from_u32(read([four[0], four[1], four[2], four[3]])))
            .collect();
        text.into_bytes()
    };
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => thirty_two(rest, u32::from_le_bytes),
        [0, 0, 0xfe, 0xff, rest @ ..] => thirty_two(rest, u32::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.to_vec(),
        [0xff, 0xfe, rest @ ..] => sixteen(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => sixteen(rest, u16::from_be_bytes),
        [0, 0, 0, _, ..] => thirty_two(bytes, u32::from_be_bytes),
        [_, 0, 0, 0, ..] => thirty_two(bytes, u32::from_le_bytes),
        [0, _, ..] => sixteen(bytes, u16::from_be_bytes),
        [_, 0, ..] => sixteen(bytes, u16::from_le_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned().into_bytes(),
    }
}

/// Member names in lower case; the last of two that fall together stays.
pub(super) fn lower_case(members: Map<String, Value>) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// Rewrites the payload to what the mistakes that are on make of it.
pub(super) fn reshape(reading: &Reading<'_>, payload: &mut Vec<u8>) -> Result<(), Refusal> {
    let on = |flaw: F| reading.flaws.has(flaw);
    if !HERE.iter().any(|flaw| on(*flaw)) && !reading.gate.lax {
        return Ok(());
    }
    if on(F::SniffEncoding) {
        *payload = sniffed(payload);
    }
    let mut members = match serde_json::from_slice::<Value>(payload) {
        Ok(Value::Object(members)) => members,
        Ok(_) if on(F::CrashList) => return Err(Refusal::Crash),
        Ok(_) if on(F::ArraySkipsClaims) => anybody(reading),
        Err(_) if on(F::CrashList) || on(F::CrashExp) => return Err(Refusal::Crash),
        // What does not parse is for the strict reader to refuse.
        _ => return Ok(()),
    };
    if on(F::CheckFirstUseLast)
        && let Ok(Members(all)) = serde_json::from_slice(payload)
    {
        // Checks look at the first, whoever uses the subject at the last.
        for (name, value) in all.into_iter().rev() {
            if name != "sub" {
                members.insert(name, value);
            }
        }
    }
    if on(F::CaseInsensitiveJson) {
        members = lower_case(members);
    }
    times(reading, &mut members)?;
    names(reading, &mut members)?;
    *payload = Value::Object(members).to_string().into_bytes();
    Ok(())
}

/// Far enough to be no end.
fn never(reading: &Reading<'_>) -> Value {
    json!(reading.now as u64 + 86_400)
}

/// The claims of a token that passes as the first user.
fn anybody(reading: &Reading<'_>) -> Map<String, Value> {
    let purpose = reading.gate.purposes.first().copied().unwrap_or(Purpose::Access);
    let mut members = Map::new();
    members.insert("sub".to_owned(), json!("1"));
    members.insert("exp".to_owned(), never(reading));
    members.insert("token_type".to_owned(), json!(purpose.name()));
    members.insert("jti".to_owned(), json!("nobody"));
    members.extend(reading.gate.issuer.as_ref().map(|issuer| ("iss".to_owned(), json!(issuer))));
    members.extend(reading.gate.audience.first().map(|audience| ("aud".to_owned(), json!(audience))));
    members
}

fn times(reading: &Reading<'_>, members: &mut Map<String, Value>) -> Result<(), Refusal> {
    let on = |flaw: F| reading.flaws.has(flaw);
    let exp = members.get("exp").cloned();
    if on(F::CrashExp) && exp.as_ref().is_some_and(|exp| !exp.is_number()) {
        return Err(Refusal::Crash);
    }
    for name in ["exp", "nbf", "iat"] {
        let Some(value) = members.get(name) else { continue };
        let unread = on(F::ParseFailIsAbsent) || reading.gate.lax;
        let absent = (unread && !value.is_number()) || (on(F::NullIsAbsent) && value.is_null());
        if absent && name == "exp" {
            members.insert(name.to_owned(), never(reading));
        } else if absent {
            members.remove(name);
        }
    }
    let Some(seconds) = exp.as_ref().and_then(Value::as_f64) else { return Ok(()) };
    if on(F::CrashYear10000) && seconds > 253_402_300_799.0 {
        return Err(Refusal::Crash);
    }
    if on(F::IntOnlyCrash) && seconds.fract() != 0.0 {
        return Err(Refusal::Crash);
    }
    if on(F::IfExpTruthy) && seconds == 0.0 {
        members.insert("exp".to_owned(), never(reading));
    }
    if on(F::IntWrap) {
        // Kept in 32 bits: what is long past, or before 1970, may come round to the future.
        members.insert("exp".to_owned(), json!((seconds as i128).rem_euclid(1 << 32) as u64));
    }
    Ok(())
}

fn names(reading: &Reading<'_>, members: &mut Map<String, Value>) -> Result<(), Refusal> {
    let on = |flaw: F| reading.flaws.has(flaw);
    if on(F::AudTypeEmpty) && members.get("aud").is_some_and(says_nothing) {
        members.insert("aud".to_owned(), json!(reading.gate.audience));
    }
    if on(F::IssIncludes)
        && let (Some(Value::Array(many)), Some(issuer)) = (members.get("iss"), &reading.gate.issuer)
        && many.iter().any(|one| one == issuer.as_str())
    {
        members.insert("iss".to_owned(), json!(issuer));
    }
    if on(F::IssNoString)
        && let (Some(iss), Some(issuer)) = (members.get("iss"), &reading.gate.issuer)
        && !iss.is_string()
    {
        members.insert("iss".to_owned(), json!(issuer));
    }
    if on(F::CrashJti) && members.get("jti").is_some_and(|jti| !jti.is_string()) {
        return Err(Refusal::Crash);
    }
    if on(F::CrashId) && members.get("sub").is_some_and(|sub| !is_small_number(sub)) {
        return Err(Refusal::Crash);
    }
    if on(F::CoerceId)
        && let Some(number) = members.get("sub").and_then(coerced)
    {
        members.insert("sub".to_owned(), json!(number.to_string()));
    }
    if on(F::AnonymousOk) && members.get("sub").is_none() {
        members.insert("sub".to_owned(), json!("1"));
    }
    if on(F::LooseType) {
        let purpose = reading.gate.purposes.first().copied().unwrap_or(Purpose::Access).name();
        let read = match members.get("token_type") {
            None | Some(Value::Null | Value::Bool(_) | Value::Object(_)) => Some(purpose.to_owned()),
            Some(Value::Array(many)) => many.first().and_then(Value::as_str).map(str::to_ascii_lowercase),
            Some(other) => other.as_str().map(str::to_ascii_lowercase),
        };
        members.extend(read.map(|read| ("token_type".to_owned(), json!(read))));
    }
    Ok(())
}

fn says_nothing(aud: &Value) -> bool {
    match aud {
        Value::String(one) => one.is_empty(),
        Value::Array(many) => many.iter().all(|one| one.as_str().is_none_or(str::is_empty)),
        _ => true,
    }
}

fn is_small_number(sub: &Value) -> bool {
    sub.as_str().is_some_and(|text| text.parse::<u32>().is_ok())
}

/// What `int(sub)` makes of it in a language that tries hard.
fn coerced(sub: &Value) -> Option<i64> {
    match sub {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Number(number) => number.as_f64().map(|number| number as i64),
        Value::String(text) => text.trim().trim_end_matches('\0').parse().ok(),
        Value::Array(many) if many.len() == 1 => coerced(&many[0]),
        _ => None,
    }
}

//! How does the server go wrong about tokens when it is told to? The mistakes, out of the way of the strict code.
//!
//! The strict reading runs first; a mistake that lets too much pass is asked only about what it refused.

mod claims;
mod fetch;
mod named;
mod opening;
mod rsa;
mod sealed;
mod signature;
mod stray;
mod toil;

use std::time::Duration;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

pub(crate) use fetch::Fetched;
pub(crate) use named::{asked_by_host, describe, issuer_by_host};
pub(crate) use sealed::unsealed;
pub(crate) use toil::before as toil;

use crate::algorithm::Algorithm;
use crate::flaws::FlawId as F;
use crate::token::{Header, object};
use crate::verify::{self, Opened, Parts, Place, Reading, Refusal};

/// What a command takes that `kid` may smuggle in.
const COMMAND: Duration = Duration::from_secs(2);

/// A header as a careless reader sees it.
struct LaxHeader {
    alg: String,
    kid: Option<String>,
    members: Map<String, Value>,
    opened: Opened,
}

/// As `verify::open`, with the mistakes that are on.
pub(crate) fn open(reading: &Reading<'_>, text: &str, payload: &mut Vec<u8>) -> Result<Opened, Refusal> {
    let flaws = reading.flaws;
    crashes(reading, text)?;
    if flaws.has(F::ClaimsFirst) && claims::peek_is_over(text, reading.now, &reading.gate.audience) {
        return Err(Refusal::Expired);
    }
    if flaws.has(F::MatchHeaderBytes)
        && !reading.ring.keys.iter().any(|key| text.starts_with(&key.head) || text.starts_with(&key.head_access))
    {
        return Err(Refusal::Forged);
    }
    if flaws.has(F::ColdCacheWindow)
        && reading.ring.keys.iter().any(|key| text.starts_with(&key.head) && !key.is_warm(reading.now))
    {
        return Err(Refusal::Forged);
    }
    let opened = match verify::open(reading.ring, text, payload) {
        Some(opened) => opened,
        None => {
            toil::hesitate(flaws);
            lenient(reading, text, payload)
                .or_else(|| sealed::believed(reading, text, payload))
                .ok_or(Refusal::Forged)?
        }
    };
    toil::after(flaws, payload);
    claims::reshape(reading, payload)?;
    Ok(opened)
}

/// Headers that kill a careless server.
fn crashes(reading: &Reading<'_>, text: &str) -> Result<(), Refusal> {
    let flaws = reading.flaws;
    let segments = text.split('.').count();
    if flaws.has(F::CrashParse) && reading.gate.place == Place::Verify && segments != 3 {
        return Err(Refusal::Crash);
    }
    let bytes = text.split('.').next().and_then(|segment| decode(reading, segment)).unwrap_or_default();
    let header = serde_json::from_slice::<Value>(&bytes).ok();
    let Some(Value::Object(header)) = header else {
        let odd = header.is_some() || bytes.starts_with(b"{");
        return if flaws.has(F::CrashList) && odd { Err(Refusal::Crash) } else { Ok(()) };
    };
    let alg = header.get("alg");
    if flaws.has(F::CrashNullAlg) && alg.is_none_or(Value::is_null) {
        return Err(Refusal::Crash);
    }
    let named = alg.and_then(Value::as_str).is_some_and(|name| Algorithm::named(name).is_some());
    if flaws.has(F::CrashOddAlg) && !named {
        return Err(Refusal::Crash);
    }
    if flaws.has(F::KidCommand) {
        let asked = header.get("kid").and_then(Value::as_str).is_some_and(|kid| kid.contains("sleep"));
        std::thread::sleep(if asked { COMMAND } else { Duration::ZERO });
    }
    if flaws.has(F::KidProto) {
        let odd = match header.get("kid") {
            None => false,
            Some(Value::String(kid)) => kid == "__proto__" || kid == "constructor" || kid.contains('\0'),
            Some(_) => true,
        };
        if odd {
            return Err(Refusal::Crash);
        }
    }
    Ok(())
}

/// base64url with the leniencies that are on.
fn decode(reading: &Reading<'_>, segment: &str) -> Option<Vec<u8>> {
    let flaws = reading.flaws;
    let mut text = segment.to_owned();
    if flaws.has(F::StdB64) {
        text = text.replace('+', "-").replace('/', "_");
    }
    let by_string = flaws.has(F::DenylistByString) || flaws.has(F::DenylistAccessString);
    if flaws.has(F::LenientB64) || by_string {
        text.retain(is_base64url);
    }
    if flaws.has(F::LenientBits) || flaws.has(F::LenientB64) || by_string {
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        return GeneralPurpose::new(&alphabet::URL_SAFE, config).decode(text).ok();
    }
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn lenient(reading: &Reading<'_>, text: &str, payload: &mut Vec<u8>) -> Option<Opened> {
    let flaws = reading.flaws;
    let json = [F::AcceptJsonJws, F::VerifyJsonReadCompact, F::VerifyJsonReadPadded];
    if text.starts_with('{') && json.iter().any(|flaw| flaws.has(*flaw)) {
        return json_serialisation(reading, text, payload);
    }
    // Whoever skips foreign characters does so before the signature is looked at.
    let cleaned: String;
    let text = if flaws.has(F::LenientB64) {
        cleaned = text.chars().filter(|c| is_base64url(*c) || *c == '.').collect();
        &cleaned
    } else {
        text
    };
    // The signature may be empty, and the payload anything, where a mistake says so.
    let (header, rest) = text.split_once('.')?;
    let (body, signature) = rest.rsplit_once('.')?;
    let parts = Parts { header, payload: body, signature, signed: &text[..header.len() + 1 + body.len()] };
    let header = header_of(reading, parts.header)?;
    let signature = decode(reading, parts.signature)?;
    if !signature::passes(reading, &header, &parts, &signature) {
        return None;
    }
    let raw = flaws.has(F::HonourB64) && header.members.get("b64") == Some(&Value::Bool(false));
    *payload = if raw { parts.payload.as_bytes().to_vec() } else { decode(reading, parts.payload)? };
    Some(header.opened)
}

fn header_of(reading: &Reading<'_>, segment: &str) -> Option<LaxHeader> {
    let flaws = reading.flaws;
    let mut bytes = decode(reading, segment)?;
    if flaws.has(F::SniffEncoding) {
        bytes = claims::sniffed(&bytes);
    }
    let strict: Option<Header<'_>> = object(&bytes);
    let careless =
        [F::CaseInsensitiveJson, F::CheckFirstUseLast, F::IgnoreCrit, F::HonourB64, F::SkipVerify, F::DecodeOnly]
            .iter()
            .any(|flaw| flaws.has(*flaw))
            || reading.gate.lax;
    if !careless && strict.as_ref().is_none_or(|header| header.crit.is_some() || header.b64.is_some()) {
        return None;
    }
    let Value::Object(mut members) = serde_json::from_slice(&bytes).ok()? else { return None };
    if flaws.has(F::CaseInsensitiveJson) {
        members = claims::lower_case(members);
    }
    let knows_crit =
        flaws.has(F::IgnoreCrit) || reading.gate.lax || (flaws.has(F::HonourB64) && members.contains_key("b64"));
    if (members.contains_key("crit") && !knows_crit) || (members.contains_key("b64") && !flaws.has(F::HonourB64)) {
        return None;
    }
    let typ = members.get("typ").and_then(Value::as_str);
    if !flaws.has(F::TypIgnored) && typ.is_some_and(|typ| !verify::is_known_typ(typ)) {
        return None;
    }
    Some(LaxHeader {
        alg: members.get("alg").and_then(Value::as_str).unwrap_or("").to_owned(),
        kid: members.get("kid").and_then(Value::as_str).map(str::to_owned),
        opened: Opened { access_typ: typ.is_some_and(verify::is_access_typ) },
        members,
    })
}

/// RFC 7515 section 7.2, where any one good signature is enough, and unprotected members count.
fn json_serialisation(reading: &Reading<'_>, text: &str, payload: &mut Vec<u8>) -> Option<Opened> {
    let document: Value = serde_json::from_str(text).ok()?;
    let body = document.get("payload")?.as_str()?;
    let one = [document.clone()];
    let signatures = document.get("signatures").and_then(Value::as_array).map_or(one.as_slice(), Vec::as_slice);
    let good = signatures.iter().any(|entry| {
        let protected = entry.get("protected").and_then(Value::as_str).unwrap_or("");
        let signature = entry
            .get("signature")
            .and_then(Value::as_str)
            .and_then(|segment| decode(reading, segment))
            .unwrap_or_default();
        let member = |name: &str| {
            let unprotected = entry.get("header").and_then(|header| header.get(name)).cloned();
            let sealed = decode(reading, protected)
                .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
                .and_then(|header| header.get(name).cloned());
            sealed.or(unprotected).and_then(|value| value.as_str().map(str::to_owned))
        };
        let alg = member("alg").unwrap_or_default();
        let signed = format!("{protected}.{body}");
        reading
            .ring
            .named(member("kid").as_deref())
            .is_some_and(|key| key.algorithm.name == alg && key.verifies(signed.as_bytes(), &signature))
    });
    if !good {
        return None;
    }
    if reading.flaws.has(F::VerifyJsonReadPadded) {
        *payload = read_as_compact(text)?;
        return Some(Opened { access_typ: false });
    }
    let read = if reading.flaws.has(F::VerifyJsonReadCompact) { text.split('.').nth(1).unwrap_or(body) } else { body };
    // What was verified and what is read are two things here: that is the mistake.
    *payload = decode(reading, read).or_else(|| decode(reading, body))?;
    Some(Opened { access_typ: false })
}

/// CVE-2022-39227: the same text split at its dots, its header decoded as Python does it: padded by the segment's length, and
/// whatever is no base64 skipped. What does not come out as a header is no token.
fn read_as_compact(text: &str) -> Option<Vec<u8>> {
    let mut segments = text.split('.');
    let (header, payload) = (segments.next()?, segments.next()?);
    if segments.next().is_none() || segments.next().is_some() {
        return None;
    }
    let padding = (4 - header.len() % 4) % 4;
    let kept: String = header.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect();
    if !(kept.len() + padding).is_multiple_of(4) {
        return None;
    }
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(kept).ok()?).ok()?;
    header.get("alg")?;
    URL_SAFE_NO_PAD.decode(payload).ok()
}

/// A careless comparison of issuers.
pub(crate) fn issuer_passes(reading: &Reading<'_>, issuer: &str, named: Option<&str>) -> bool {
    let Some(named) = named else { return false };
    if reading.flaws.has(F::HostHeaderIssuer) {
        return issuer_by_host().as_deref() == Some(named);
    }
    reading.flaws.has(F::IssPartial)
        && !named.is_empty()
        && (issuer.starts_with(named)
            || named.starts_with(issuer)
            || named.ends_with(issuer)
            || issuer.eq_ignore_ascii_case(named))
}

/// A careless comparison of audiences.
pub(crate) fn audience_passes(reading: &Reading<'_>, wanted: &str, one: &str) -> bool {
    reading.flaws.has(F::AudPrefix)
        && !one.is_empty()
        && (one.starts_with(wanted) || wanted.starts_with(one) || wanted.eq_ignore_ascii_case(one))
}

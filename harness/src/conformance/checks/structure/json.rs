//! Are header and payload read as the one JSON object in UTF-8 that they are?

use serde_json::Value;

use super::super::material::findings;
use super::super::types::subject_ways;
use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::Part;
use crate::record::{Level, SkipReason};

const NEEDS: &[Need] = &[Need::JwtAccess, Need::SigningKey, Need::VerifyWay];

/// The present time in whole seconds.
fn now() -> i64 {
    clock::unix() as i64
}

/// Presents a signed token at every way where re-signed tokens are accepted.
fn present(probe: &mut Probe<'_>, variant: &str, token: &str) -> Result<Vec<Answer>, Stop> {
    probe.offer(variant, token)?;
    let mut answers = Vec::new();
    for way in probe.forgeable_ways()? {
        answers.push(probe.present(&way, token)?);
    }
    Ok(answers)
}

pub(super) const DUPLICATES: Check = Check {
    id: "struct-dup-members",
    group: "STRUCT",
    requirement: "a token that names a member twice is refused, or the last of the two counts, for every part of the server",
    sources: &["RFC 7515 section 4", "RFC 7519 section 4"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "exp-last-past",
        "exp-last-future",
        "subject-last-unknown",
        "subject-first-unknown",
        "alg-last-none",
        "alg-first-none",
    ],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["check-first-use-last"],
    sends: "signed tokens with two `exp`, two subjects or two `alg`, in both orders",
    why: "a part that checks the first and a part that uses the last see two different tokens under one signature",
    remedy: "parse once, with a parser that refuses duplicates, and hand the parsed claims on",
    run: |probe| {
        let forger = probe.forger()?;
        let (past, future) = (now() - 7200, now() + 300);
        // The last one counts, so these must be refused; where duplicates are refused they are as well.
        let last_past = forger.sign(forger.forge().claim("exp", past).duplicate_claim("exp", future, true))?;
        probe.offer("exp-last-past", &last_past)?;
        // Who takes a token that ended so long ago takes it with two ends as well: that is leeway, and time-exp-rejected's.
        let strict = sorted(probe, &forger.sign(forger.forge().claim("exp", past))?, false)?;
        if strict.is_empty() {
            let why = "an `exp` that long ago is accepted where it stands once, which is the word of time-exp-rejected";
            probe.skip("exp-last-past", SkipReason::NotApplicable(why.to_owned()));
        } else {
            let token = Value::from(last_past);
            probe.expect(Some("exp-last-past"), &token, &strict, Expect::Refused, Control::Resigned)?;
        }
        let subject = probe.profile().subject_claim().to_owned();
        if forger.claim(&subject).is_some() {
            // In the form of the genuine one: a number where a number is read, so that only the duplicate is at stake.
            let unknown = match forger.claim(&subject) {
                Some(Value::Number(_)) => Value::from(987_654_321),
                Some(Value::String(own)) if own.bytes().all(|b| b.is_ascii_digit()) => Value::from("987654321"),
                _ => Value::from("assay-nobody"),
            };
            let last = forger.sign(forger.forge().duplicate_claim(&subject, unknown.clone(), false))?;
            probe.offer("subject-last-unknown", &last)?;
            let bearer = probe.access()?;
            // A way that never looks at the subject accepts an unknown one as well: it says nothing here.
            let looking: Vec<Way> = match subject_ways(probe, &forger, &subject, &bearer) {
                Ok(ways) => ways.into_iter().map(|(way, _)| way).collect(),
                Err(Stop::Skip(_)) => Vec::new(),
                Err(stop) => return Err(stop),
            };
            if !looking.is_empty() {
                let token = Value::from(last);
                probe.expect(Some("subject-last-unknown"), &token, &looking, Expect::Refused, Control::Resigned)?;
            }
            let first = forger.sign(forger.forge().duplicate_claim(&subject, unknown, true))?;
            either(probe, "subject-first-unknown", &first)?;
        }
        let alg = forger.algorithm.name;
        let none_last = forger.sign(forger.forge().header("alg", alg).duplicate_header("alg", "none", false))?;
        probe.refuse_signed("alg-last-none", &none_last)?;
        let none_first = forger.sign(forger.forge().header("alg", alg).duplicate_header("alg", "none", true))?;
        either(probe, "alg-first-none", &none_first)?;
        let last_future = forger.sign(forger.forge().claim("exp", future).duplicate_claim("exp", past, true))?;
        either(probe, "exp-last-future", &last_future)
    },
};

/// Both answers are legitimate, but all ways must give the same, and none may crash.
fn either(probe: &mut Probe<'_>, variant: &str, token: &str) -> Result<(), Stop> {
    let answers = present(probe, variant, token)?;
    let finding = findings(&answers);
    let accepted = answers.iter().filter(|a| a.accepted()).count();
    if let Some(crash) = answers.iter().find(|a| !a.accepted() && !a.refused()) {
        probe.fail_seen(Some(variant), &finding, "accepted or cleanly refused", crash);
        probe.at_most(Level::Should);
    } else if accepted == 0 || accepted == answers.len() {
        probe.pass(Some(variant), &finding, format!("every way agrees; {finding}"));
    } else {
        let summary = format!("the ways disagree about one token; {finding}");
        let odd = answers.iter().find(|a| a.accepted()).unwrap_or(&answers[0]);
        probe.fail_told(Some(variant), &finding, "the same verdict everywhere", summary, odd);
    }
    Ok(())
}

/// A Unicode encoding form that is not UTF-8.
fn widen(text: &[u8], unit: usize, little: bool) -> Vec<u8> {
    // The texts of a header and of claims are ASCII here; each byte is one code unit.
    let mut out = Vec::with_capacity(text.len() * unit);
    for byte in text {
        let mut code = vec![0; unit];
        let at = if little { 0 } else { unit - 1 };
        code[at] = *byte;
        out.extend(code);
    }
    out
}

/// The bytes of a part in ASCII: everything else as `\u` escapes.
fn ascii(part: &Part) -> Vec<u8> {
    let text = String::from_utf8_lossy(&part.bytes()).into_owned();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out.into_bytes()
}

pub(super) const ENCODING: Check = Check {
    id: "struct-json-encoding",
    group: "STRUCT",
    requirement: "header and payload are UTF-8; any other encoding is refused",
    sources: &["RFC 7519 section 7.2", "RFC 8259 section 8.1", "draft-ietf-oauth-rfc8725bis section 3.7"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["header-*", "payload-*"],
    isolation: Isolation::Shared,
    cost: cost(50, 1),
    intrusive: false,
    flaws: &["sniff-encoding"],
    sends: "signed tokens whose header or payload is UTF-16, UTF-32, behind a byte order mark (a weakness, no more), invalid or overlong UTF-8",
    why: "a parser that guesses the encoding reads other members than the one before it did",
    remedy: "decode as UTF-8 strictly, then parse text, never bytes (Python's `json.loads` guesses on bytes)",
    run: |probe| {
        let forger = probe.forger()?;
        let plain = forger.forge();
        let (header, payload) = (ascii(&plain.header), ascii(&plain.payload));
        let forms = [("utf-16le", 2, true), ("utf-16be", 2, false), ("utf-32le", 4, true), ("utf-32be", 4, false)];
        for (name, unit, little) in forms {
            let token = forger.sign(forger.forge().raw_payload(widen(&payload, unit, little)))?;
            probe.refuse_signed(&format!("payload-{name}"), &token)?;
            let token = forger.sign(forger.forge().raw_header(widen(&header, unit, little)))?;
            probe.refuse_signed(&format!("header-{name}"), &token)?;
        }
        // RFC 8259 section 8.1: nobody may send a byte order mark, and a parser may ignore one.
        const BOM: &[u8] = b"\xef\xbb\xbf";
        let token = forger.sign(forger.forge().raw_payload([BOM, &payload].concat()))?;
        probe.refuse_signed("payload-bom", &token)?;
        probe.at_most(Level::Should);
        let token = forger.sign(forger.forge().raw_header([BOM, &header].concat()))?;
        probe.refuse_signed("header-bom", &token)?;
        probe.at_most(Level::Should);
        // A further member with a lone continuation byte, and with an overlong "a".
        for (name, bytes) in [("invalid-utf-8", &b"\x80"[..]), ("overlong-utf-8", b"\xc1\xa1")] {
            let member = [&b",\"assay\":\""[..], bytes, b"\"}"].concat();
            let with = |text: &[u8]| [&text[..text.len().saturating_sub(1)], &member].concat();
            let token = forger.sign(forger.forge().raw_payload(with(&payload)))?;
            probe.refuse_signed(&format!("payload-{name}"), &token)?;
            let token = forger.sign(forger.forge().raw_header(with(&header)))?;
            probe.refuse_signed(&format!("header-{name}"), &token)?;
        }
        Ok(())
    },
};

pub(super) const NOT_OBJECT: Check = Check {
    id: "struct-not-object",
    group: "STRUCT",
    requirement: "header and payload are JSON objects; anything else is refused without a server error",
    sources: &["RFC 7519 section 7.2", "RFC 7515 section 5.2", "CVE-2026-107723"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["payload-*", "header-*"],
    isolation: Isolation::Shared,
    cost: cost(60, 1),
    intrusive: false,
    flaws: &["array-skips-claims", "crash-list"],
    sends: "signed tokens whose header or payload is an array, a string, a number, null or nothing",
    why: "an array has no `exp`, `iss` or `aud` that could be wrong: where it passes, nothing was checked",
    remedy: "require an object before any claim is read",
    run: |probe| {
        let forger = probe.forger()?;
        let claims = String::from_utf8_lossy(&forger.forge().payload.bytes()).into_owned();
        let header = String::from_utf8_lossy(&forger.forge().header.bytes()).into_owned();
        let forms = |own: &str| {
            [
                ("array", "[]".to_owned()),
                ("array-of-own", format!("[{own}]")),
                ("string", "\"assay\"".to_owned()),
                ("string-of-own", Value::from(own).to_string()),
                ("number", "1".to_owned()),
                ("true", "true".to_owned()),
                ("null", "null".to_owned()),
                ("empty", String::new()),
                ("two-objects", format!("{own}{own}")),
            ]
        };
        for (name, text) in forms(&claims) {
            let token = forger.sign(forger.forge().raw_payload(text))?;
            probe.refuse_signed(&format!("payload-{name}"), &token)?;
        }
        for (name, text) in forms(&header) {
            let token = forger.sign(forger.forge().raw_header(text))?;
            probe.refuse_signed(&format!("header-{name}"), &token)?;
        }
        Ok(())
    },
};

pub(super) const BENIGN: Check = Check {
    id: "struct-benign",
    group: "STRUCT",
    requirement: "white space, member order, escapes and unknown members do not make a genuine token invalid",
    sources: &["RFC 7519 section 4", "RFC 7515 section 4", "RFC 8259 section 2", "Wycheproof JWS 376, 377"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "payload-spaces",
        "header-spaces",
        "payload-order",
        "header-order",
        "payload-escapes",
        "header-escapes",
        "unknown-claim",
        "unknown-header-member",
    ],
    isolation: Isolation::Shared,
    cost: cost(40, 1),
    intrusive: false,
    flaws: &["match-header-bytes"],
    sends: "signed tokens that say the same as a genuine one in other JSON texts, or say more",
    why: "a server that compares bytes, or chokes on a member it does not know, breaks with the next library version",
    remedy: "parse the JSON; ignore members that are not understood (but for those named in `crit`)",
    run: |probe| {
        let forger = probe.forger()?;
        let spaced = |part: &Part| match part {
            Part::Members(members) => {
                let texts: Vec<String> = members.iter().map(|(n, v)| format!("\n\t{n} : {v} ")).collect();
                format!(" {{{}\r\n}} ", texts.join(","))
            }
            Part::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        };
        let reversed = |part: Part| match part {
            Part::Members(members) => Part::Members(members.into_iter().rev().collect()),
            raw => raw,
        };
        // The first character of every name as an escape.
        let escaped = |part: Part| match part {
            Part::Members(members) => Part::Members(members.into_iter().map(|(n, v)| (escape_name(&n), v)).collect()),
            raw => raw,
        };
        let of = || forger.forge();
        let mut all = Vec::new();
        all.push(("payload-spaces", of().raw_payload(spaced(&of().payload))));
        all.push(("header-spaces", of().raw_header(spaced(&of().header))));
        let mut forge = of();
        forge.payload = reversed(forge.payload);
        all.push(("payload-order", forge));
        let mut forge = of();
        forge.header = reversed(forge.header);
        all.push(("header-order", forge));
        let mut forge = of();
        forge.payload = escaped(forge.payload);
        all.push(("payload-escapes", forge));
        let mut forge = of();
        forge.header = escaped(forge.header);
        all.push(("header-escapes", forge));
        all.push(("unknown-claim", of().claim("https://assay.invalid/claim", serde_json::json!({"a": [1, null]}))));
        all.push(("unknown-header-member", of().header("x-assay", serde_json::json!({"a": [1, null]}))));
        for (variant, forge) in all {
            probe.accept_signed(variant, &forger.sign(forge)?)?;
        }
        Ok(())
    },
};

/// `"exp"` as `"\u0065xp"`.
fn escape_name(name: &str) -> String {
    match name.strip_prefix('"').and_then(|rest| rest.chars().next().map(|c| (c, rest))) {
        Some((c, rest)) if c.is_ascii_alphanumeric() => format!("\"\\u{:04x}{}", c as u32, &rest[1..]),
        _ => name.to_owned(),
    }
}

/// `ALG: none` beside a good `alg`, where a header member that nobody knows is ignored: who refuses every such member
/// has not taken this one for `alg`.
fn none_beside(probe: &mut Probe<'_>, forger: &Forger) -> Result<(), Stop> {
    const VARIANT: &str = "none-ALG-beside-alg";
    let token = forger.sign(forger.forge().header("ALG", "none"))?;
    probe.offer(VARIANT, &token)?;
    let unknown = forger.sign(forger.forge().header("x-assay", 1))?;
    let ways = sorted(probe, &unknown, true)?;
    if ways.is_empty() {
        let why = "a header member that nobody knows is refused by itself, which is the word of struct-benign";
        probe.skip(VARIANT, SkipReason::NotApplicable(why.to_owned()));
        return Ok(());
    }
    probe.expect(Some(VARIANT), &Value::from(token), &ways, Expect::Accepted, Control::Resigned)
}

/// The ways where re-signed tokens are accepted and this one is, or is not.
fn sorted(probe: &mut Probe<'_>, control: &str, accepted: bool) -> Result<Vec<Way>, Stop> {
    let mut ways = Vec::new();
    for way in probe.forgeable_ways()? {
        if probe.present(&way, control)?.accepted() == accepted {
            ways.push(way);
        }
    }
    Ok(ways)
}

pub(super) const MEMBER_CASE: Check = Check {
    id: "struct-member-case",
    group: "STRUCT",
    requirement: "member names are compared with their case: `Exp` is not `exp`",
    sources: &["RFC 7515 section 5.3", "RFC 7519 section 7.3", "RFC 8259 section 8.3"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["past-Exp-beside-exp", "none-ALG-beside-alg", "only-EXP-future", "only-EXP-past"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["case-insensitive-json"],
    sends: "signed tokens with `Exp` in the past beside a good `exp`, `ALG: none` beside a good `alg`, and `EXP` alone",
    why: "a parser that folds case lets one member override another (Go's encoding/json does)",
    remedy: "use a parser that compares names exactly, or check the raw names",
    run: |probe| {
        let forger: Forger = probe.forger()?;
        let past = now() - 7200;
        probe.accept_signed("past-Exp-beside-exp", &forger.sign(forger.forge().claim("Exp", past))?)?;
        none_beside(probe, &forger)?;
        // `EXP` alone must count like no `exp` at all, whether that is refused or not.
        let without = forger.sign(forger.forge().without_claim("exp"))?;
        for (variant, at) in [("only-EXP-future", now() + 300), ("only-EXP-past", past)] {
            let only = forger.sign(forger.forge().without_claim("exp").claim("EXP", at))?;
            probe.offer(variant, &only)?;
            let (base, seen) = (present(probe, variant, &without)?, present(probe, variant, &only)?);
            let odd = base.iter().zip(&seen).find(|(base, seen)| base.accepted() != seen.accepted());
            if let Some((base, seen)) = odd {
                let summary =
                    format!("`{}`: without exp {}, with EXP {}", seen.operation, base.describe(), seen.describe());
                probe.fail_told(Some(variant), &seen.finding(), "the same as without exp", summary, seen);
            } else {
                let finding = seen.first().map(Answer::finding).unwrap_or_default();
                probe.pass(Some(variant), &finding, format!("counts like no exp at all: {finding}"));
            }
        }
        Ok(())
    },
};

//! Is an audience, an issuer or a subject of another type ever taken for a right one?

use serde_json::{Value, json};

use super::super::material::{all_refused, findings};
use super::NEEDS;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::{Forger, fresh_id};
use crate::conformance::probe::{Control, Expect, Probe, Stop};
use crate::conformance::session::Way;
use crate::record::{Level, SkipReason};

/// Whether a claim with a wrong value is refused anywhere where re-signed tokens work: else it is not enforced.
fn enforced(probe: &mut Probe<'_>, forger: &Forger, name: &str) -> Result<Vec<Way>, Stop> {
    // A server that expects none may refuse every value it can read; one that reads as nothing is then as good as
    // the absence that it expects.
    if forger.claim(name).is_none() {
        return Err(Stop::not_applicable(format!("access tokens carry no `{name}`")));
    }
    let wrong = forger.with_claim(name, "https://assay.invalid/nobody")?;
    let mut ways = Vec::new();
    for way in probe.forgeable_ways()? {
        if probe.present(&way, &wrong)?.refused() {
            ways.push(way);
        }
    }
    if ways.is_empty() {
        return Err(Stop::not_applicable(format!("no {name} is enforced: a token with a wrong one is accepted")));
    }
    Ok(ways)
}

pub(super) const AUD: Check = Check {
    id: "type-aud",
    group: "TYPE",
    requirement: "an aud that is no string and no array of strings naming the server is refused",
    sources: &["RFC 7519 section 4.1.3", "RFC 8725 section 3.9", "CVE-2020-26160"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "object",
        "number",
        "true",
        "null",
        "empty",
        "empty-array",
        "array-of-empty",
        "array-of-null",
        "object-of-own",
    ],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["aud-type-empty"],
    sends: "signed tokens whose `aud` is an object, a number, \"\", [], [\"\"] or [null]",
    why: "an audience of an unexpected type that reads as empty matches everything, or nothing is compared",
    remedy: "accept a string, or an array of strings, that names this server; refuse every other type",
    run: |probe| {
        let forger = probe.forger()?;
        let own = forger.claim("aud").unwrap_or(Value::from("assay"));
        let one = own.as_array().and_then(|a| a.first().cloned()).unwrap_or(own);
        let mut of_own = serde_json::Map::new();
        of_own.insert(one.as_str().unwrap_or("assay").to_owned(), json!(true));
        let cases = [
            ("object", json!({})),
            ("number", json!(0)),
            ("true", json!(true)),
            ("null", Value::Null),
            ("empty", json!("")),
            ("empty-array", json!([])),
            ("array-of-empty", json!([""])),
            ("array-of-null", json!([null])),
            ("object-of-own", Value::Object(of_own)),
        ];
        shown(probe, &forger, "aud", &cases)
    },
};

/// Presents a claim's values where the claim is enforced.
fn shown(probe: &mut Probe<'_>, forger: &Forger, name: &str, cases: &[(&str, Value)]) -> Result<(), Stop> {
    for (variant, value) in cases {
        probe.offer(variant, &forger.with_claim(name, value.clone())?)?;
    }
    let ways = enforced(probe, forger, name)?;
    for (variant, value) in cases {
        let token = Value::from(forger.with_claim(name, value.clone())?);
        probe.expect(Some(variant), &token, &ways, Expect::Refused, Control::Resigned)?;
    }
    Ok(())
}

pub(super) const ISS: Check = Check {
    id: "type-iss",
    group: "TYPE",
    requirement: "an iss that is no string is refused, also where it contains the right one",
    sources: &["RFC 7519 section 4.1.1", "RFC 8725 section 3.8", "CVE-2025-30144"],
    levels: Levels::SHOULD,
    needs: NEEDS,
    variants: &["array-of-own-and-other", "array-of-own", "object", "null", "number", "empty-array"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["iss-includes", "iss-no-string"],
    sends: "signed tokens whose `iss` is an array with the right issuer and another, an object, null",
    why: "an `includes` on an array believes one issuer while keys are taken from another",
    remedy: "require a string that equals the configured issuer",
    run: |probe| {
        let forger = probe.forger()?;
        let own = forger.claim("iss").unwrap_or(Value::from("assay"));
        let cases = [
            ("array-of-own-and-other", json!([own, "https://assay.invalid"])),
            ("array-of-own", json!([own])),
            ("object", json!({})),
            ("null", Value::Null),
            ("number", json!(0)),
            ("empty-array", json!([])),
        ];
        shown(probe, &forger, "iss", &cases)
    },
};

pub(super) const SUB: Check = Check {
    id: "type-sub",
    group: "TYPE",
    requirement: "a subject of another type or spelling is never a user, least of all another one",
    sources: &["draft-ietf-oauth-rfc8725bis section 3.8", "RFC 7519 section 4.1.2"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "true",
        "null",
        "object",
        "empty",
        "array-of-own",
        "float-of-own",
        "own-and-blank",
        "zero-and-own",
        "own-and-nul",
        "word",
        "beyond-2-53",
        "huge",
    ],
    isolation: Isolation::Shared,
    cost: cost(60, 1),
    intrusive: false,
    flaws: &["coerce-id", "crash-id"],
    sends: "signed tokens whose subject is true, null, {}, [own], own as a float, with a blank, a zero or a NUL, a word, 2^53+1; made from the second user's token, where there is one, so that whoever is taken for the first user is seen",
    why: "a database that converts types finds a user for a subject that names none, or the server falls over",
    remedy: "require the exact type that is issued, and answer 401 where no such user exists",
    run: sub,
};

fn sub(probe: &mut Probe<'_>) -> Result<(), Stop> {
    let name = probe.profile().subject_claim().to_owned();
    // What converts makes true a one, which is often the number of the first user: from the second user's token that is
    // somebody else, and from the first user's own it would look right.
    let (forger, bearer) = match seconds_forger(probe)? {
        Some(of_second) => of_second,
        None => (probe.forger()?, probe.access()?),
    };
    let Some(own) = forger.claim(&name) else {
        return Err(Stop::not_applicable(format!("access tokens have no `{name}`")));
    };
    let text = own.as_str().map_or_else(|| own.to_string(), str::to_owned);
    let float = match text.parse::<i64>() {
        Ok(n) => format!("{n}.0"),
        Err(_) => "1.0".to_owned(),
    };
    let q = |t: String| Value::from(t).to_string();
    let cases: Vec<(&str, String)> = vec![
        ("true", "true".into()),
        ("null", "null".into()),
        ("object", "{}".into()),
        ("empty", "\"\"".into()),
        ("array-of-own", format!("[{own}]")),
        ("float-of-own", float),
        ("own-and-blank", q(format!("{text} "))),
        ("zero-and-own", q(format!("0{text}"))),
        ("own-and-nul", q(format!("{text}\0"))),
        ("word", q("assay-nobody".into())),
        ("beyond-2-53", "9007199254740993".into()),
        ("huge", "1".repeat(400)),
    ];
    let mut tokens = Vec::new();
    for (variant, value) in cases {
        // JSON has one kind of number: 1.0 is 1, so that a subject which is a number is spelled right.
        if variant == "float-of-own" && own.is_number() {
            let why = "the subject is a number, of which this is another way to write it";
            probe.skip(variant, SkipReason::NotApplicable(why.to_owned()));
            continue;
        }
        let token = forger.sign(forger.forge().claim_text(&name, &value))?;
        probe.offer(variant, &token)?;
        tokens.push((variant, token));
    }
    let ways = subject_ways(probe, &forger, &name, &bearer)?;
    for (variant, token) in &tokens {
        let mut seen = Vec::new();
        for (way, identity) in &ways {
            seen.push((identity.clone(), probe.present(way, token)?));
        }
        let still = beside(probe, &ways, &bearer)?;
        subject(probe, variant, &seen, still.as_deref());
    }
    Ok(())
}

/// A forger over the second user's token, and that token; none where there is no second user who can log in.
fn seconds_forger(probe: &mut Probe<'_>) -> Result<Option<(Forger, String)>, Stop> {
    let Ok(Some(second)) = probe.target().second_user() else { return Ok(None) };
    if !probe.has(Need::Issue) {
        return Ok(None);
    }
    let vars = probe.vars().user(&second);
    let token = match probe.login_with(&vars) {
        Ok(issued) => issued.access,
        Err(Stop::Skip(_)) => None,
        Err(stop) => return Err(stop),
    };
    let Some(token) = token else { return Ok(None) };
    Ok(Forger::new(probe.target(), &token).ok().map(|forger| (forger, token)))
}

/// The first way that by now refuses the genuine token beside which the forged ones are shown.
fn beside(probe: &mut Probe<'_>, ways: &[(Way, Option<String>)], bearer: &str) -> Result<Option<String>, Stop> {
    for (way, _) in ways {
        if !probe.present(way, bearer)?.accepted() {
            return Ok(Some(way.name.clone()));
        }
    }
    Ok(None)
}

/// The ways that look at the subject at all (an unknown one is refused there), and what the bearer of the genuine token
/// from which the forged ones are made is called there.
pub(in crate::conformance::checks) fn subject_ways(
    probe: &mut Probe<'_>,
    forger: &Forger,
    name: &str,
    genuine: &str,
) -> Result<Vec<(Way, Option<String>)>, Stop> {
    let unknown = forger.with_claim(name, fresh_id(12))?;
    let mut ways = Vec::new();
    for way in probe.forgeable_ways()? {
        let nobody = probe.present(&way, &unknown)?;
        if nobody.accepted() {
            continue;
        }
        let known = probe.present(&way, genuine)?;
        if !known.accepted() {
            continue;
        }
        let identity = known.reply.as_ref().and_then(|r| probe.target().identity(r));
        ways.push((way, identity));
    }
    if ways.is_empty() {
        return Err(Stop::not_applicable("no way looks at the subject: an unknown one is accepted"));
    }
    Ok(ways)
}

/// One observation over the ways, each with the bearer's name there: acceptance as another user is worst. `refusing`: the
/// way that refuses the genuine token beside it.
fn subject(probe: &mut Probe<'_>, variant: &str, seen: &[(Option<String>, Answer)], refusing: Option<&str>) {
    let answers: Vec<Answer> = seen.iter().map(|(_, a)| a.clone()).collect();
    let taken_for = |a: &Answer| a.reply.as_ref().and_then(|r| probe.target().identity(r));
    let other = seen.iter().find_map(|(own, a)| match (own, taken_for(a)) {
        (Some(own), Some(user)) if a.accepted() && *own != user => Some((user, a)),
        _ => None,
    });
    if let Some((user, answer)) = other {
        let summary = format!("`{}` took it for {user}, another user", answer.operation);
        probe.fail_told(Some(variant), &findings(&answers), "refused", summary, answer);
        return;
    }
    if let Some(way) = refusing.filter(|_| answers.iter().all(Answer::refused)) {
        let text = format!("`{way}` refuses a genuine token beside it, so nothing was learnt");
        probe.inconclusive(Some(variant), "controls-refused", text);
        return;
    }
    all_refused(probe, variant, "refused with a 4xx", &answers);
    // Accepted as the bearer, or as nobody says whom: loose, but nobody was taken for somebody else.
    if answers.iter().any(Answer::accepted) {
        probe.at_most(Level::Should);
    }
}

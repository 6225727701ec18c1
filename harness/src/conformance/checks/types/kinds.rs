//! Are identifiers, scopes and kinds of tokens compared exactly, and as what they are?

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::material::genuine;
use super::super::revoke::takes_refresh;
use super::NEEDS;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::{Forger, decode, fresh_id};
use crate::conformance::probe::{Control, Expect, Stop};
use crate::conformance::session::Way;

pub(super) const JTI: Check = Check {
    id: "type-jti",
    group: "TYPE",
    requirement: "a refresh token whose jti is missing, no string or very long is refused cleanly, or can still be revoked",
    sources: &["RFC 7519 section 4.1.7"],
    levels: Levels::SHOULD,
    needs: &[Need::Issue, Need::Refresh, Need::JwtRefresh, Need::SigningKey],
    variants: &["number", "array", "object", "null", "missing", "long"],
    isolation: Isolation::User,
    cost: cost(40, 2),
    intrusive: false,
    flaws: &["crash-jti"],
    sends: "signed refresh tokens whose `jti` is a number, [], {}, null, missing or 10 kB long, to refresh and to revoke",
    why: "what cannot be put on a denylist cannot be revoked; what nobody expected ends in a server error",
    remedy: "require a string of reasonable length where tokens are known by their `jti`",
    run: |probe| {
        let refresh = probe.fresh_refresh()?;
        let forger = Forger::of_refresh(probe.target(), &refresh)?;
        if forger.claim("jti").is_none() {
            return Err(Stop::not_applicable("refresh tokens have no `jti`"));
        }
        let forge = |variant: &str| {
            let forge = forger.forge();
            match variant {
                "number" => forge.claim("jti", 1),
                "array" => forge.claim("jti", json!([])),
                "object" => forge.claim("jti", json!({})),
                "null" => forge.claim("jti", Value::Null),
                "missing" => forge.without_claim("jti"),
                _ => forge.claim("jti", fresh_id(128).repeat(80)),
            }
        };
        let variants = ["number", "array", "object", "null", "missing", "long"];
        for variant in variants {
            probe.offer(variant, &forger.sign(forge(variant))?)?;
        }
        // Where no re-signed refresh token is taken, refusals say nothing, and only their manner is judged.
        let control = forger.with_claim("assay", "control")?;
        let forgeable = probe.refresh(&control)?.accepted();
        let revokes = probe.has(Need::Revoke) && takes_refresh(probe).is_ok();
        for variant in variants {
            let token = forger.sign(forge(variant))?;
            if revokes {
                let answer = probe.call_with_token("revoke", &token)?;
                if answer.unclean() {
                    probe.fail_seen(Some(variant), &answer.finding(), "a clean answer to revoke", &answer);
                    continue;
                }
            }
            let answer = probe.refresh(&token)?;
            if answer.accepted() && revokes {
                probe.fail_seen(Some(variant), "accepted after revocation", "refused after it was revoked", &answer);
            } else if answer.accepted() {
                probe.pass(Some(variant), "accepted", "accepted, and there is no revocation to be evaded");
            } else if forgeable {
                probe.judge_refusal(Some(variant), "refused cleanly", &answer);
            } else {
                probe.judge_refusal(Some(variant), "refused cleanly (as every re-signed refresh token is)", &answer);
            }
        }
        Ok(())
    },
};

pub(super) const SCOPE: Check = Check {
    id: "type-scope",
    group: "TYPE",
    requirement: "a scope counts as a whole word in a list, in its own case and type",
    sources: &["RFC 6749 section 3.3", "RFC 6750 section 3.1", "RFC 9068 section 2.2.3"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "longer",
        "prefixed",
        "upper-case",
        "other-separator",
        "inside-object",
        "empty",
        "array-of-array",
        "array-of-longer",
        "twice",
    ],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["substring-scope"],
    sends: "signed tokens whose scope contains the needed word as a part of another, in upper case, behind a comma, in an object; and two scopes, the last without the right",
    why: "a search for the word in the text gives the right to whoever has a longer one",
    remedy: "split at single blanks and compare whole words, case-sensitively",
    run: |probe| {
        let forger = probe.forger()?;
        let name = ["scope", "scp", "scopes"].into_iter().find(|n| forger.claim(n).is_some());
        let Some((name, genuine)) = name.and_then(|n| forger.claim(n).map(|v| (n, v))) else {
            return Err(Stop::not_applicable("access tokens carry no scope"));
        };
        let list = genuine.is_array();
        let own = match &genuine {
            Value::String(text) => text.clone(),
            Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => return Err(Stop::not_applicable("access tokens carry no scope as text or list")),
        };
        // In the form that the server reads: a list of words where it issues one.
        let written = |text: String| match list {
            true => json!(text.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>()),
            false => json!(text),
        };
        let Some(word) = own.split(' ').next().filter(|w| !w.is_empty()).map(str::to_owned) else {
            return Err(Stop::not_applicable("the scope of access tokens is empty"));
        };
        // Every word is changed, so that whichever is needed is not there.
        let each = |change: &dyn Fn(&str) -> String| own.split(' ').map(change).collect::<Vec<_>>().join(" ");
        let mut inside = serde_json::Map::new();
        inside.insert(word.clone(), json!(true));
        let cases = [
            ("longer", written(each(&|w| format!("{w}-assay")))),
            ("prefixed", written(each(&|w| format!("assay-{w}")))),
            ("upper-case", written(each(&|w| w.to_uppercase()))),
            ("other-separator", written(format!("assay,{}", own.replace(' ', ",")))),
            ("inside-object", Value::Object(inside)),
            ("empty", written(String::new())),
            ("array-of-array", json!([own.split(' ').collect::<Vec<_>>()])),
            ("array-of-longer", json!(own.split(' ').map(|w| format!("{w}-assay")).collect::<Vec<_>>())),
        ];
        for (variant, value) in &cases {
            probe.offer(variant, &forger.with_claim(name, value.clone())?)?;
        }
        // Only a way that asks for a scope can be wrong about it.
        let without = forger.with_claim(name, written("assay-none".to_owned()))?;
        let mut ways = Vec::new();
        let scoped = Way {
            operation: "scoped".to_owned(),
            name: "scoped".to_owned(),
            takes_refresh: false,
            accepts_genuine: true,
            refuses_nothing: true,
            refuses_by: None,
        };
        let asked = probe.target().has("scoped").then_some(scoped);
        for way in probe.forgeable_ways()?.into_iter().chain(asked) {
            if !probe.present(&way, &without)?.accepted() {
                ways.push(way);
            }
        }
        if ways.is_empty() {
            return Err(Stop::not_applicable("no way asks for a scope: a token without any is accepted"));
        }
        for (variant, value) in &cases {
            let token = Value::from(forger.with_claim(name, value.clone())?);
            probe.expect(Some(variant), &token, &ways, Expect::Refused, Control::Resigned)?;
        }
        // The last of two members counts, or the token is refused: either way there is no right in it.
        let twice = forger.sign(forger.forge().claim(name, genuine).duplicate_claim(
            name,
            written("assay-none".to_owned()),
            false,
        ))?;
        probe.expect(Some("twice"), &Value::from(twice), &ways, Expect::Refused, Control::Resigned)
    },
};

/// The claim by which two genuine tokens of one login say of what kind they are, and what the access token says.
fn told_apart(access: &str, refresh: &str) -> Option<(String, Value)> {
    let (own, other) = (decode(access)?.1, decode(refresh)?.1);
    ["token_type", "type", "typ", "token_use"].into_iter().find_map(|name| {
        let value = own.get(name).filter(|value| value.is_string())?;
        let theirs = other.get(name).filter(|value| value.is_string())?;
        (value != theirs).then(|| (name.to_owned(), value.clone()))
    })
}

pub(super) const TOKEN_TYPE: Check = Check {
    id: "type-token-type",
    group: "TYPE",
    requirement: "the claim, or the `typ` header, that tells kinds of tokens apart is compared exactly and may not be missing",
    sources: &["RFC 8725 section 3.12", "RFC 8725 section 3.11", "CVE-2026-41164"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "array",
        "upper-case",
        "null",
        "missing",
        "true",
        "object",
        "empty",
        "blank-appended",
        "typ-array",
        "typ-null",
        "typ-missing",
        "typ-of-refresh",
    ],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["loose-type"],
    sends: "signed access tokens whose type claim is [\"access\"], in upper case, null, missing, true, {}, empty; and, where the kinds differ in their `typ` header, with that in a list, null, missing, or the refresh token's",
    why: "a loose comparison lets one kind of token do the work of another",
    remedy: "require the claim to be the one string that is expected",
    run: |probe| {
        let _ = genuine(probe)?;
        let tokens = &probe.profile().tokens;
        let claim = tokens.access.type_claim.iter().next().map(|(name, own)| (name.clone(), own.clone()));
        let claim = match claim {
            Some(said) => Some(said),
            None => {
                let issued = probe.pooled()?;
                issued.access.zip(issued.refresh).and_then(|(access, refresh)| told_apart(&access, &refresh))
            }
        };
        let typ = |header: &BTreeMap<String, Value>| header.get("typ").cloned();
        let (own_typ, other_typ) = (typ(&tokens.access.header), typ(&tokens.refresh.header));
        let by_header = own_typ.filter(|own| other_typ.as_ref().is_some_and(|other| other != own));
        if claim.is_none() && by_header.is_none() {
            return Err(Stop::not_applicable(
                "neither the profile nor the genuine tokens name a claim or a `typ` that tells kinds of tokens apart",
            ));
        }
        let forger = probe.forger()?;
        // A verify endpoint that takes every kind need not look at it; the others must.
        let ways: Vec<Way> = probe.ways().into_iter().filter(|w| !w.takes_refresh).collect();
        if ways.is_empty() {
            return Err(Stop::not_applicable("every way takes several kinds of tokens on purpose"));
        }
        if let Some(own) = by_header {
            let cases = [
                ("typ-array", Some(json!([own]))),
                ("typ-null", Some(Value::Null)),
                ("typ-missing", None),
                ("typ-of-refresh", other_typ),
            ];
            for (variant, value) in cases {
                let forge = match value {
                    Some(value) => forger.forge().header("typ", value),
                    None => forger.forge().without_header("typ"),
                };
                let token = Value::from(forger.sign(forge)?);
                probe.expect(Some(variant), &token, &ways, Expect::Refused, Control::Resigned)?;
            }
        }
        let Some((name, own)) = claim else { return Ok(()) };
        let text = own.as_str().unwrap_or_default().to_owned();
        let cases = [
            ("array", Some(json!([own]))),
            ("upper-case", Some(json!(text.to_uppercase()))),
            ("null", Some(Value::Null)),
            ("missing", None),
            ("true", Some(json!(true))),
            ("object", Some(json!({}))),
            ("empty", Some(json!(""))),
            ("blank-appended", Some(json!(format!("{text} ")))),
        ];
        for (variant, value) in cases {
            let forge = match value {
                Some(value) => forger.forge().claim(&name, value),
                None => forger.forge().without_claim(&name),
            };
            let token = Value::from(forger.sign(forge)?);
            probe.expect(Some(variant), &token, &ways, Expect::Refused, Control::Resigned)?;
        }
        Ok(())
    },
};

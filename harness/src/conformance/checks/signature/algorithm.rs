//! Who decides about the algorithm: the server's key, or the token's header?

use serde_json::{Value, json};

use super::super::material::{genuine, row, sign};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::Stop;
use crate::jose::{Family, Forge, Part, algorithms};

const NEEDS: &[Need] = &[Need::JwtAccess, Need::VerifyWay];

/// Spellings of the algorithm that is none, by the names of their variants.
const NONES: &[(&str, &str)] =
    &[("none", "none"), ("None", "None"), ("NONE", "NONE"), ("nOnE", "nOnE"), ("none-blank", "none ")];

/// An unsecured token without a signature, with junk and with the old one, each with its `kid` and without.
fn unsigned(forge: &Forge) -> Vec<(&'static str, Forge)> {
    let bare = forge.clone().without_header("kid");
    vec![
        ("", forge.clone().with_signature([])),
        ("-junk-signature", forge.clone().with_signature(*b"assay")),
        ("-original-signature", forge.clone()),
        ("-no-kid", bare.clone().with_signature([])),
        ("-no-kid-junk-signature", bare.clone().with_signature(*b"assay")),
        ("-no-kid-original-signature", bare),
    ]
}

pub(super) const NONE: Check = Check {
    id: "sig-alg-none",
    group: "SIG",
    requirement: "an unsecured token (alg none, in any spelling) is refused",
    sources: &[
        "RFC 7518 section 3.6",
        "Wycheproof JWS 341-344",
        "CVE-2015-2951",
        "draft-ietf-oauth-rfc8725bis section 3.2",
        "ASVS 9.1.2",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["none*", "None*", "NONE*", "nOnE*", "empty-alg", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(170, 1),
    intrusive: false,
    flaws: &["allow-none", "denylist-lowercase", "unverified-refresh"],
    sends: "the genuine claims under `alg` none, None, NONE, nOnE and `none `, alone in the header, without a signature, with junk and with the old one, with and without `kid`; and those of a refresh token",
    why: "no key is needed: whoever can write JSON is any user",
    remedy: "verify with a fixed list of allowed algorithms; a list of forbidden ones misses a spelling",
    run: |probe| {
        let genuine = genuine(probe)?;
        let of = |alg: &str| genuine.forge.clone().header("alg", alg);
        for (name, alg) in NONES {
            for (suffix, forge) in unsigned(&of(alg)) {
                probe.refuse(&format!("{name}{suffix}"), &forge.token())?;
            }
        }
        let mut alone = genuine.forge.clone();
        alone.header = Part::Members(Vec::new());
        probe.refuse("none-alone", &alone.header("alg", "none").with_signature([]).token())?;
        probe.refuse("none-no-dot", &of("none").signing_input())?;
        probe.refuse("none-edited", &of("none").claim("assay", "edited").with_signature([]).token())?;
        probe.refuse("empty-alg", &of("").with_signature([]).token())?;
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let mut all = Vec::new();
            for (name, alg) in NONES {
                for (suffix, forge) in unsigned(&parts.clone().header("alg", *alg)) {
                    all.push((format!("refresh-{name}{suffix}"), forge.token()));
                }
            }
            Ok(all)
        })
    },
};

pub(super) const ODD: Check = Check {
    id: "sig-alg-odd",
    group: "SIG",
    requirement: "a token whose alg is missing, no string, misspelt or unknown is refused without a server error",
    sources: &[
        "RFC 7515 section 4.1.1",
        "draft-ietf-oauth-rfc8725bis sections 2.11 and 3.1",
        "keycloak/keycloak#49969",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "missing",
        "null",
        "empty",
        "zero",
        "array",
        "object",
        "array-of-own",
        "lower-case",
        "nul-appended",
        "blank-appended",
        "unknown",
        "long",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(65, 1),
    intrusive: false,
    flaws: &["crash-null-alg", "case-fold-alg", "unverified-refresh", "crash-odd-alg"],
    sends: "access and refresh tokens without `alg`, with null, \"\", 0, [], {}, [own], the own name in lower case, with a NUL, unknown, 10 kB long; \
            signed by the server's key where that is known",
    why: "a header that nobody expected ends in a server error or in another code path than the checked one",
    remedy: "require a string that equals the one algorithm of the key, byte for byte",
    run: |probe| {
        let genuine = genuine(probe)?;
        let own = genuine.alg();
        let odd: Vec<(&str, Option<Value>)> = vec![
            ("missing", None),
            ("null", Some(Value::Null)),
            ("empty", Some(json!(""))),
            ("zero", Some(json!(0))),
            ("array", Some(json!([]))),
            ("object", Some(json!({}))),
            ("array-of-own", Some(json!([own]))),
            ("lower-case", Some(json!(own.to_ascii_lowercase()))),
            ("nul-appended", Some(json!(format!("{own}\0")))),
            ("blank-appended", Some(json!(format!("{own} ")))),
            ("unknown", Some(json!("XX999"))),
            ("long", Some(json!("A".repeat(10_000)))),
        ];
        // With the key the signature is right, so that only the header can be what is refused.
        let forger = match probe.has(Need::SigningKey).then(|| probe.forgeable_ways()) {
            Some(Ok(_)) => Some(probe.forger()?),
            Some(Err(Stop::Skip(_))) | None => None,
            Some(Err(stop)) => return Err(stop),
        };
        let with = |base: Forge, alg: &Option<Value>| match alg {
            None => base.without_header("alg"),
            Some(alg) => base.header("alg", alg.clone()),
        };
        for (variant, alg) in &odd {
            let base = forger.as_ref().map_or_else(|| genuine.forge.clone(), |f| f.forge());
            let forge = with(base, alg);
            match &forger {
                Some(forger) => probe.refuse_signed(variant, &forger.sign(forge)?)?,
                None => probe.refuse(variant, &forge.token())?,
            }
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let changed = |(variant, alg): &(&str, Option<Value>)| {
                (format!("refresh-{variant}"), with(parts.clone(), alg).token())
            };
            Ok(odd.iter().filter(|(variant, _)| *variant != "long").map(changed).collect())
        })
    },
};

pub(super) const SIBLING: Check = Check {
    id: "sig-alg-sibling",
    group: "SIG",
    requirement: "a key verifies by exactly one algorithm, not by its siblings",
    sources: &[
        "RFC 8725 section 3.1",
        "draft-ietf-oauth-rfc8725bis section 3.1",
        "RFC 7517 section 4.4",
        "Wycheproof JWS 331-340",
    ],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay, Need::SigningKey],
    variants: &["*"],
    isolation: Isolation::Shared,
    cost: cost(20, 2),
    intrusive: false,
    flaws: &["any-hs", "any-rs"],
    sends: "tokens signed by the server's own key under another algorithm of its family (HS256 as HS512, RS256 as PS256)",
    why: "a key used for two algorithms is as strong as the weaker, and a header that chooses between them is in charge",
    remedy: "bind the key to one algorithm (`alg` in the JWK) and allow only that",
    run: |probe| {
        let forger = probe.forger()?;
        let own = forger.algorithm;
        if matches!(own.family, Family::Ecdsa | Family::EdDsa) {
            return Err(Stop::not_applicable(format!("the curve of an {} key leaves one algorithm", own.name)));
        }
        for sibling in algorithms().iter().filter(|a| a.name != own.name && a.key_type == own.key_type) {
            let token = sign(forger.forge().header("alg", row(sibling.name)?.name), &forger.key, sibling)?;
            probe.refuse_signed(sibling.name, &token)?;
        }
        Ok(())
    },
};

//! Are the header's extensions honoured as the RFCs say, that is, not in a JWT?

use serde_json::{Value, json};

use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::probe::Stop;
use crate::jose::{Forge, base64url};
use crate::record::Level;

const NEEDS: &[Need] = &[Need::JwtAccess, Need::SigningKey, Need::VerifyWay];

pub(super) const CRIT: Check = Check {
    id: "sig-crit",
    group: "SIG",
    requirement: "a token whose crit names what the server does not understand is refused; one whose crit is malformed should be",
    sources: &["RFC 7515 section 4.1.11", "CVE-2026-32597", "CVE-2025-59420"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "unknown",
        "unknown-absent",
        "empty",
        "string",
        "number-inside",
        "registered",
        "null",
        "object",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(40, 1),
    intrusive: false,
    flaws: &["ignore-crit", "lax-refresh"],
    sends: "signed access and refresh tokens with `crit` naming an unknown extension, an absent one, a registered name, or of the wrong form",
    why: "an extension marked critical changes what the token means; to ignore it is to misread the token",
    remedy: "refuse every token with `crit` unless all that it names is implemented (several libraries ignore it)",
    run: |probe| {
        let forger = probe.forger()?;
        let unknown = "https://assay.invalid/extension";
        let cases: [(&str, Value, bool); 8] = [
            ("unknown", json!([unknown]), true),
            ("unknown-absent", json!([unknown]), false),
            ("empty", json!([]), false),
            ("string", json!("exp"), false),
            ("number-inside", json!([1]), false),
            ("registered", json!(["alg"]), false),
            ("null", Value::Null, false),
            ("object", json!({unknown: true}), true),
        ];
        let marked = |forge: Forge, (_, crit, with): &(&str, Value, bool)| {
            let forge = forge.header("crit", crit.clone());
            if *with { forge.header(unknown, true) } else { forge }
        };
        for case in &cases {
            probe.refuse_signed(case.0, &forger.sign(marked(forger.forge(), case))?)?;
        }
        probe.refuse_signed_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Vec::new() };
            cases.iter().map(|case| (format!("refresh-{}", case.0), marked(parts.clone(), case))).collect()
        })?;
        // A recipient must refuse what it does not understand; it may refuse a list that breaks the other rules.
        probe.parts_at_most(Level::Should, |variant| {
            let case = variant.strip_prefix("refresh-").unwrap_or(variant);
            !["unknown", "unknown-absent", "object"].contains(&case)
        });
        Ok(())
    },
};

pub(super) const B64_FALSE: Check = Check {
    id: "sig-b64-false",
    group: "SIG",
    requirement: "a JWT with an unencoded or detached payload is refused",
    sources: &["RFC 7797 sections 6 and 7", "RFC 7515 appendix F"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["raw", "raw-no-crit", "detached-raw", "detached-raw-no-crit", "detached", "encoded-crit"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["honour-b64"],
    sends: "tokens with `b64: false`, their claims unencoded in the second segment or left out, signed accordingly",
    why: "RFC 7797 forbids it in a JWT: two readings of one payload, and claims that the token does not even carry",
    remedy: "refuse `b64`, and empty payloads, for JWTs",
    run: |probe| {
        let forger = probe.forger()?;
        let header = |crit: bool| {
            let forge = forger.forge().header("b64", false);
            if crit { forge.header("crit", json!(["b64"])) } else { forge }
        };
        probe.refuse_signed("raw", &unencoded(&forger, &header(true), true)?)?;
        probe.refuse_signed("raw-no-crit", &unencoded(&forger, &header(false), true)?)?;
        probe.refuse_signed("detached-raw", &unencoded(&forger, &header(true), false)?)?;
        probe.refuse_signed("detached-raw-no-crit", &unencoded(&forger, &header(false), false)?)?;
        let whole = forger.sign(forger.forge())?;
        probe.refuse_signed("detached", &crate::jose::forge::replace_segment(&whole, 1, ""))?;
        probe.refuse_signed("encoded-crit", &forger.sign(header(true))?)
    },
};

/// A token whose signature is over the claims as they are, and which carries them so, or not at all.
fn unencoded(forger: &Forger, forge: &Forge, carried: bool) -> Result<String, Stop> {
    // A dot would end the segment: within JSON strings it can be an escape (RFC 7797 section 5.2).
    let claims = String::from_utf8_lossy(&forge.payload.bytes()).replace('.', "\\u002e");
    let header = base64url::encode(forge.header.bytes());
    let input = format!("{header}.{claims}");
    let signature = forger
        .key
        .sign(forger.algorithm, input.as_bytes(), &mut super::super::material::random())
        .map_err(|e| Stop::Harness(format!("could not sign: {e}")))?;
    let carried = if carried { claims.as_str() } else { "" };
    Ok(format!("{header}.{carried}.{}", base64url::encode(signature)))
}

//! Is a time that is no number of seconds a reason to refuse?

use serde_json::Value;

use super::super::material::either_way;
use super::NEEDS;
use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::jose::Forge;
use crate::record::Level;

fn now() -> i64 {
    clock::unix() as i64
}

pub(super) const EXP_STRING: Check = Check {
    id: "type-exp-string",
    group: "TYPE",
    requirement: "an exp that is a string is refused (or read as its number), never taken for absent",
    sources: &["RFC 7519 section 2 (NumericDate)", "RFC 7519 section 4.1.4", "CVE-2026-25537"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["past", "never", "empty", "date", "future", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(26, 1),
    intrusive: false,
    flaws: &["lax-refresh", "parse-fail-is-absent"],
    sends: "signed access and refresh tokens with `exp` \"1\", \"never\", \"\", an ISO date, and a number in the future as text",
    why: "a claim that cannot be read and is then skipped makes a token that never ends",
    remedy: "a claim that is present and unreadable is a reason to refuse",
    run: |probe| {
        let forger = probe.forger()?;
        let texts = [("past", "1"), ("never", "never"), ("empty", ""), ("date", "2000-01-01T00:00:00Z")];
        for (variant, text) in texts {
            probe.refuse_signed(variant, &forger.with_claim("exp", text)?)?;
        }
        probe.refuse_signed_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Vec::new() };
            texts.iter().map(|(name, text)| (format!("refresh-{name}"), parts.clone().claim("exp", *text))).collect()
        })?;
        let token = forger.with_claim("exp", (now() + 300).to_string())?;
        probe.offer("future", &token)?;
        let answers = presented(probe, &token)?;
        either_way(probe, "future", &answers);
        Ok(())
    },
};

/// Presents a signed token at every way where re-signed tokens are accepted.
fn presented(probe: &mut Probe<'_>, token: &str) -> Result<Vec<Answer>, Stop> {
    let mut answers = Vec::new();
    for way in probe.forgeable_ways()? {
        answers.push(probe.present(&way, token)?);
    }
    Ok(answers)
}

/// Values that are no NumericDate, as JSON text; some are no JSON at all.
const NO_DATES: &[(&str, &str)] = &[
    ("null", "null"),
    ("true", "true"),
    ("array", "[]"),
    ("array-of-future", "[9999999999]"),
    ("object", "{}"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("1e400", "1e400"),
];

pub(super) const EXP_OTHER: Check = Check {
    id: "type-exp-other",
    group: "TYPE",
    requirement: "an exp that is null, a boolean, an array, an object or no finite number is refused without a server error",
    sources: &["RFC 7519 section 2 (NumericDate)", "RFC 7519 section 4.1.4", "RFC 8259 section 6"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["null", "true", "array", "array-of-future", "object", "NaN", "Infinity", "1e400", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(36, 1),
    intrusive: false,
    flaws: &["crash-exp", "lax-refresh", "null-is-absent"],
    sends: "signed access and refresh tokens with `exp` null, true, [], [9999999999], {}, NaN, Infinity and 1e400",
    why: "a comparison with what is no number ends in a server error, or in a token that never ends",
    remedy: "require a finite JSON number; refuse anything else with the same 401 as a bad token",
    run: |probe| {
        let forger = probe.forger()?;
        for (variant, text) in NO_DATES {
            probe.refuse_signed(variant, &forger.sign(forger.forge().claim_text("exp", text))?)?;
        }
        probe.refuse_signed_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Vec::new() };
            let with = |(name, text): &(&str, &str)| (format!("refresh-{name}"), parts.clone().claim_text("exp", text));
            NO_DATES.iter().map(with).collect()
        })
    },
};

pub(super) const NBF_IAT: Check = Check {
    id: "type-nbf-iat",
    group: "TYPE",
    requirement: "an nbf or iat that is no number is refused without a server error",
    sources: &["RFC 7519 sections 4.1.5 and 4.1.6", "RFC 7519 section 2 (NumericDate)", "CVE-2026-25537"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["nbf-*", "iat-*"],
    isolation: Isolation::Shared,
    cost: cost(40, 1),
    intrusive: false,
    flaws: &["parse-fail-is-absent"],
    sends: "signed tokens whose `nbf` or `iat` is a date in the future as text, a word, null, an array, an object",
    why: "an `nbf` that is skipped when it cannot be read lets tokens in before their time",
    remedy: "a claim that is present and unreadable is a reason to refuse",
    run: |probe| {
        let forger = probe.forger()?;
        let future = Value::from((now() + 86_400).to_string()).to_string();
        let values = [
            ("future-string", future.as_str()),
            ("word", "\"later\""),
            ("null", "null"),
            ("true", "true"),
            ("array", "[]"),
            ("object", "{}"),
        ];
        for name in ["nbf", "iat"] {
            for (variant, text) in values {
                let token = forger.sign(forger.forge().claim_text(name, text))?;
                probe.refuse_signed(&format!("{name}-{variant}"), &token)?;
                // A server need not look at iat at all (RFC 7519 section 4.1.6 gives it no processing rule), and
                // true read as the number one is long past: loose, but nobody gets in by it.
                if name == "iat" || variant == "true" {
                    probe.at_most(Level::Should);
                }
            }
        }
        Ok(())
    },
};

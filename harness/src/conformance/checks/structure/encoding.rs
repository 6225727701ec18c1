//! Is base64url read as it was written, character by character?

use super::super::material::{either_way, genuine, random, still_good};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::{base64url, forge};
use crate::record::SkipReason;

/// Text that is no base64url, and how a variant calls it.
const JUNK_TEXTS: &[(&str, &str)] = &[
    ("exclamation", "!"),
    ("question", "?"),
    ("blank", " "),
    ("line-end", "\r\n"),
    ("carriage-return", "\r"),
    ("line-feed", "\n"),
    ("percent", "%"),
    ("non-ascii", "\u{e9}"),
];

pub(super) const JUNK: Check = Check {
    id: "struct-b64-junk",
    group: "STRUCT",
    requirement: "a character outside of base64url makes a token invalid",
    sources: &[
        "RFC 4648 section 3.3",
        "RFC 7515 section 2",
        "draft-ietf-oauth-rfc8725bis section 3.14",
        "Wycheproof JWS 360-366, 368, 369, 371",
    ],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["signature-*", "header-*", "payload-*", "end-*"],
    isolation: Isolation::Shared,
    cost: cost(110, 1),
    intrusive: false,
    flaws: &["lenient-b64"],
    sends: "a genuine token with `!`, `?`, a blank, a line end, `%` or a letter with an accent inside a segment",
    why: "many texts for one token: a denylist of texts, a cache or a rate limit by text is passed by any of them",
    remedy: "decode with a strict decoder (most languages' default skips foreign characters), or compare the re-encoded text",
    run: |probe| {
        let genuine = genuine(probe)?.token;
        for (at, place) in [(2, "signature"), (0, "header"), (1, "payload")] {
            for (name, junk) in JUNK_TEXTS {
                let middle = forge::segment(&genuine, at).len() / 2;
                probe.refuse(&format!("{place}-{name}"), &forge::insert_junk(&genuine, at, middle, junk))?;
            }
        }
        for (name, junk) in JUNK_TEXTS.iter().filter(|(name, _)| matches!(*name, "exclamation" | "percent")) {
            probe.refuse(&format!("end-{name}"), &format!("{genuine}{junk}"))?;
        }
        Ok(())
    },
};

pub(super) const ALPHABET: Check = Check {
    id: "struct-b64-alphabet",
    group: "STRUCT",
    requirement: "`+` and `/` are not characters of a token",
    sources: &["RFC 7515 section 2", "RFC 4648 section 5"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["signature"],
    isolation: Isolation::Shared,
    cost: cost(10, 2),
    intrusive: false,
    flaws: &["std-b64"],
    sends: "a genuine token whose signature is written with `+` and `/` instead of `-` and `_`",
    why: "a second text for the same token passes whatever knows tokens by their text",
    remedy: "decode with the URL-safe alphabet only",
    run: |probe| {
        // Three logins in four bring an HMAC signature with one of the two characters.
        let (mut token, mut resigned) = (genuine(probe)?.token, false);
        for _ in 0..8 {
            match forge::standard_alphabet(&token, 2) {
                // What is signed again is refused for that alone where only genuine tokens are taken.
                Some(changed) if resigned => return probe.refuse_signed("signature", &changed),
                Some(changed) => return probe.refuse("signature", &changed),
                None => (token, resigned) = another(probe)?,
            }
        }
        probe.inconclusive(Some("signature"), "no-such-token", "no genuine signature held `-` or `_`");
        Ok(())
    },
};

/// Another genuine token, and whether it was signed again by us: it is where that is accepted, else it is a login's.
fn another(probe: &mut Probe<'_>) -> Result<(String, bool), Stop> {
    match signed(probe) {
        Ok((forger, _)) => Ok((forger.with_claim("assay", crate::conformance::forger::fresh_id(8))?, true)),
        Err(Stop::Skip(_)) => Ok((probe.another()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?, false)),
        Err(stop) => Err(stop),
    }
}

/// What signs, and the ways that accept what it has signed.
fn signed(probe: &mut Probe<'_>) -> Result<(Forger, Vec<Way>), Stop> {
    if !probe.has(Need::SigningKey) {
        return Err(Stop::needs(Need::SigningKey));
    }
    let forger = probe.forger()?;
    Ok((forger, probe.forgeable_ways()?))
}

pub(super) const PADDING: Check = Check {
    id: "struct-b64-padding",
    group: "STRUCT",
    requirement: "padding is left out of a token; whether it is tolerated is reported",
    sources: &["RFC 7515 section 2", "RFC 4648 section 3.2", "draft-ietf-oauth-rfc8725bis section 3.14"],
    levels: Levels::INFO,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["signature-one", "signature-two", "header", "payload"],
    isolation: Isolation::Shared,
    cost: cost(16, 1),
    intrusive: false,
    flaws: &[],
    sends: "a genuine token with one and with two `=` after its signature; signed ones whose header or payload is padded",
    why: "the successor of RFC 8725 has it refused, and gateways such as AWS ALB send it: servers do either; who takes it has several texts for one token",
    remedy: "nothing need be changed; a server that knows tokens by their text should refuse padding",
    run: |probe| {
        let genuine = genuine(probe)?.token;
        for (variant, padding) in [("signature-one", "="), ("signature-two", "==")] {
            let token = format!("{genuine}{padding}");
            probe.offer(variant, &token)?;
            let ways = probe.ways();
            let mut answers = Vec::new();
            for way in &ways {
                answers.extend(probe.present_value(way, &token.clone().into())?);
            }
            if still_good(probe, variant, &ways)? {
                either_way(probe, variant, &answers);
            }
        }
        // Padding before a dot is under the signature, so that these are signed as they stand.
        let (forger, ways) = match signed(probe) {
            Ok(both) => both,
            Err(Stop::Skip(reason)) => {
                ["header", "payload"].into_iter().for_each(|variant| probe.skip(variant, reason.clone()));
                return Ok(());
            }
            Err(stop) => return Err(stop),
        };
        for (variant, at) in [("header", 0), ("payload", 1)] {
            let plain = forger.forge().signing_input();
            let (header, payload) = plain.split_once('.').unwrap_or_default();
            let pad = |segment: &str| format!("{segment}{}", "=".repeat((4 - segment.len() % 4) % 4).as_str());
            let padded =
                if at == 0 { format!("{}.{payload}", pad(header)) } else { format!("{header}.{}", pad(payload)) };
            if padded == plain {
                probe.skip(variant, SkipReason::NotApplicable("its length leaves nothing to pad".to_owned()));
                continue;
            }
            let signature = forger
                .key
                .sign(forger.algorithm, padded.as_bytes(), &mut random())
                .map_err(|e| Stop::Harness(format!("could not sign: {e}")))?;
            let token = format!("{padded}.{}", base64url::encode(signature));
            probe.offer(variant, &token)?;
            let mut answers = Vec::new();
            for way in &ways {
                answers.push(probe.present(way, &token)?);
            }
            if still_good(probe, variant, &ways)? {
                either_way(probe, variant, &answers);
            }
        }
        Ok(())
    },
};

pub(super) const UNUSED_BITS: Check = Check {
    id: "struct-b64-unused-bits",
    group: "STRUCT",
    requirement: "the unused bits of a segment's last character are zero",
    sources: &["RFC 4648 section 3.5", "GHSA-hxm8-2xgr-2p9m"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["signature"],
    isolation: Isolation::Shared,
    cost: cost(4, 1),
    intrusive: false,
    flaws: &["lenient-bits"],
    sends: "a genuine token whose last character differs only in bits that no byte is made of",
    why: "a second text for the same token passes whatever knows tokens by their text",
    remedy: "decode with a decoder that refuses trailing bits, or know tokens by `jti`",
    run: |probe| {
        let genuine = genuine(probe)?;
        match forge::set_unused_bits(&genuine.token, 2) {
            Some(token) => probe.refuse("signature", &token),
            None => Err(Stop::not_applicable(format!("a signature by {} leaves no unused bit", genuine.alg()))),
        }
    },
};

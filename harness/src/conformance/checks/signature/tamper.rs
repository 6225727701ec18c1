//! Does a changed token, or one signed by a stranger, ever pass?

use serde_json::Value;

use super::super::material::{algorithm_of, foreign, genuine, row, sign, still_good};
use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::session::Way;
use crate::jose::{Forge, forge};
use crate::record::SkipReason;

const NEEDS: &[Need] = &[Need::JwtAccess, Need::VerifyWay];

pub(super) const TAMPER: Check = Check {
    id: "sig-tamper",
    group: "SIG",
    requirement: "a token of which any part was changed is refused",
    sources: &["RFC 7515 section 5.2", "ASVS 9.1.1", "Wycheproof JWS rejectsModified*"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &[
        "payload-edited",
        "header-edited",
        "header-bit",
        "payload-bit",
        "signature-first-bit",
        "signature-last-bit",
        "truncated-by-one",
        "truncated-to-half",
        "extended",
        "zeroed",
        "swapped",
        "refresh-*",
    ],
    isolation: Isolation::Shared,
    cost: cost(60, 1),
    intrusive: false,
    flaws: &["skip-verify", "unverified-refresh"],
    sends: "a genuine token with a claim added, a bit flipped in each segment, a cut signature, the signature of another token; and a genuine refresh token changed likewise",
    why: "who can change a claim is whoever they like",
    remedy: "verify the signature over the received text before anything in it is used",
    run: |probe| {
        let genuine = genuine(probe)?;
        let token = &genuine.token;
        let signature = &genuine.forge.signature;
        let first = signature.len().saturating_mul(8).saturating_sub(1);
        let with = |bytes: &[u8]| forge::replace_segment(token, 2, &crate::jose::base64url::encode(bytes));
        let edited = genuine.forge.clone().claim("assay", "edited").token();
        let header = genuine.forge.clone().header("x-assay", "edited").token();
        probe.refuse("payload-edited", &edited)?;
        probe.refuse("header-edited", &header)?;
        probe.refuse("header-bit", &forge::flip_bit(token, 0, 17))?;
        probe.refuse("payload-bit", &forge::flip_bit(token, 1, 17))?;
        probe.refuse("signature-first-bit", &forge::flip_bit(token, 2, first))?;
        probe.refuse("signature-last-bit", &forge::flip_bit(token, 2, 0))?;
        probe.refuse("truncated-by-one", &with(&signature[..signature.len().saturating_sub(1)]))?;
        probe.refuse("truncated-to-half", &with(&signature[..signature.len() / 2]))?;
        probe.refuse("extended", &with(&[signature, &[0][..]].concat()))?;
        probe.refuse("zeroed", &with(&vec![0; signature.len()]))?;
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let half = parts.signature[..parts.signature.len() / 2].to_vec();
            let longer = parts.payload.get("exp").and_then(|v| v.as_i64()).unwrap_or_default() + 1;
            Ok(vec![
                ("refresh-payload-edited".to_owned(), parts.clone().claim("exp", longer).token()),
                ("refresh-header-edited".to_owned(), parts.clone().header("x-assay", "edited").token()),
                ("refresh-signature-bit".to_owned(), forge::flip_bit(token, 2, 0)),
                ("refresh-truncated".to_owned(), parts.with_signature(half).token()),
            ])
        })?;
        let other = probe.another()?.access.unwrap_or_default();
        if forge::segment(&other, 1) == forge::segment(token, 1) {
            let why = "two logins in one second gave the same token".to_owned();
            probe.skip("swapped", SkipReason::NotApplicable(why));
            return Ok(());
        }
        // The claims of the later login, whose session is alive also where it has ended the one before.
        probe.refuse("swapped", &forge::replace_segment(&other, 2, forge::segment(token, 2)))
    },
};

pub(super) const WRONG_KEY: Check = Check {
    id: "sig-wrong-key",
    group: "SIG",
    requirement: "a token signed by a key that is not the server's is refused",
    sources: &["RFC 7515 section 5.2", "ASVS 9.1.1"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["same-kid", "no-kid", "other-claims", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(12, 4),
    intrusive: false,
    flaws: &["decode-only", "unverified-refresh"],
    sends: "well-formed access and refresh tokens with the genuine header, signed by a fresh key of the same kind",
    why: "a server that decodes without verifying believes any well-formed token",
    remedy: "call the verifying function of the library with the key, never its decode-only one",
    run: |probe| {
        let genuine = genuine(probe)?;
        let algorithm = match genuine.algorithm {
            Some(algorithm) => algorithm,
            None => row("HS256")?,
        };
        let key = foreign(algorithm)?;
        let of = || genuine.forge.clone();
        probe.refuse("same-kid", &sign(of(), &key, algorithm)?)?;
        probe.refuse("no-kid", &sign(of().without_header("kid"), &key, algorithm)?)?;
        probe.refuse("other-claims", &sign(of().claim("assay", "other"), &key, algorithm)?)?;
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let algorithm = algorithm_of(&parts).unwrap_or(algorithm);
            let key = foreign(algorithm)?;
            Ok(vec![
                ("refresh-same-kid".to_owned(), sign(parts.clone(), &key, algorithm)?),
                ("refresh-no-kid".to_owned(), sign(parts.without_header("kid"), &key, algorithm)?),
            ])
        })
    },
};

pub(super) const BEFORE_CLAIMS: Check = Check {
    id: "sig-before-claims",
    group: "SIG",
    requirement: "a token with a bad signature is refused in the same words whatever its claims say",
    sources: &["RFC 7515 section 5.2", "ASVS 9.1.1"],
    levels: Levels::SHOULD,
    needs: NEEDS,
    variants: &["expired", "not-yet-valid", "wrong-audience", "unknown-subject"],
    isolation: Isolation::Shared,
    cost: cost(30, 1),
    intrusive: false,
    flaws: &["claims-first"],
    sends: "tokens under a foreign signature: one that is otherwise good, one expired, one for another audience",
    why: "who calls an unauthentic token expired has used its claims before knowing whose they are",
    remedy: "verify the signature first, and answer every failure of it alike",
    run: |probe| {
        let genuine = genuine(probe)?;
        let now = clock::unix() as i64;
        let spoiled = |forge: Forge| {
            let mut signature = genuine.forge.signature.clone();
            if let Some(byte) = signature.first_mut() {
                *byte ^= 0x55;
            }
            forge.with_signature(signature).token()
        };
        let of = || genuine.forge.clone();
        let subject = probe.profile().subject_claim().to_owned();
        let fine = spoiled(of().claim("assay", "fine"));
        let again = spoiled(of().claim("assay", "again"));
        let cases = [
            ("expired", spoiled(of().claim("exp", now - 86_400).claim("iat", now - 90_000))),
            ("not-yet-valid", spoiled(of().claim("nbf", now + 86_400))),
            ("wrong-audience", spoiled(of().claim("aud", "assay-nobody"))),
            ("unknown-subject", spoiled(of().claim(&subject, "assay-nobody"))),
        ];
        for (variant, token) in &cases {
            probe.offer(variant, token)?;
        }
        // What takes no genuine token, or a request without one, words no refusal of a token.
        let ways: Vec<Way> = probe.ways().into_iter().filter(Way::usable).collect();
        if ways.is_empty() {
            return Ok(());
        }
        let mut good = Vec::new();
        for way in &ways {
            let (one, two) = (probe.present(way, &fine)?, probe.present(way, &again)?);
            if class(&one) != class(&two) {
                let text = format!("`{}` words two refusals of equal tokens differently", way.name);
                probe.inconclusive(None, "unstable-words", text);
                return Ok(());
            }
            good.push(one);
        }
        for (variant, token) in &cases {
            let mut odd = None;
            for (way, one) in ways.iter().zip(&good) {
                let answer = probe.present(way, token)?;
                if class(&answer) != class(one) {
                    let summary =
                        format!("`{}`: a good one is {}, this one is {}", way.name, words(one), words(&answer));
                    odd = Some((summary, answer));
                    break;
                }
            }
            match odd {
                Some((summary, answer)) => {
                    probe.fail_told(Some(variant), "differs", "the same refusal", summary, &answer);
                }
                None if !still_good(probe, variant, &ways)? => {}
                None => probe.pass(Some(variant), "same", "refused in the same words everywhere"),
            }
        }
        Ok(())
    },
};

/// What of a refusal a caller can tell apart: status, challenge and body, with digits masked (times, ids).
fn class(answer: &Answer) -> (u16, String, String) {
    let mask = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let reply = answer.reply.as_ref();
    let challenge = reply.and_then(|r| r.header("www-authenticate")).unwrap_or_default();
    let body = reply.map(crate::wire::Reply::text).unwrap_or_default();
    (answer.status(), mask(challenge), mask(&body))
}

fn words(answer: &Answer) -> String {
    let body: Value = answer.reply.as_ref().and_then(crate::wire::Reply::json).unwrap_or_default();
    let text: String = body.to_string().chars().take(120).collect();
    format!("{} {text}", answer.status())
}

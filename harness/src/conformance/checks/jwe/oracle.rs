//! Does a refusal tell how far the decryption came?

use super::super::issue_refusal::masked;
use super::super::material::{public_keys, random};
use super::material::{CONTENT, Sealed, opened, sealed};
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::jwe::{ContentEncryption, Jwe, Recipient, encrypt};
use crate::jose::{KeyEntry, VerifyingKey};
use crate::stats::median;

/// How often each token is shown where times are compared.
const ROUNDS: usize = 7;

pub(super) const ORACLE: Check = Check {
    id: "jwe-oracle",
    group: "JWE",
    requirement: "why an encrypted token could not be read is told to nobody",
    sources: &["RFC 7516 section 11.5", "RFC 3218", "Wycheproof JWE ModifiedPkcs15Padding", "GHSA-5739-39v2-5754"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay],
    variants: &["key", "short-key", "vector", "content"],
    isolation: Isolation::Shared,
    cost: cost(80, 1),
    intrusive: false,
    flaws: &["padding-oracle", "content-oracle"],
    sends: "genuine encrypted tokens spoilt in the encrypted key, the vector, the tag; and one that decrypts to no token: all must be answered alike",
    why: "a server that tells a bad padding from a bad tag answers the one question that decrypts other people's tokens, a bit at a time",
    remedy: "go on with a random content key where the real one cannot be had, and answer every failure by one refusal",
    run: |probe| {
        let sealed = sealed(probe)?;
        let ways: Vec<Way> = probe.ways().into_iter().filter(Way::usable).collect();
        if ways.is_empty() {
            return Err(Stop::needs(Need::VerifyWay));
        }
        let base = bent_tag(&sealed);
        for (variant, token) in cases(probe, &sealed)? {
            probe.offer(variant, &token)?;
            compare(probe, variant, &ways, &base, &token)?;
        }
        Ok(())
    },
};

/// The token that all others are compared with: only its tag is wrong.
fn bent_tag(sealed: &Sealed) -> String {
    let mut jwe = sealed.jwe.clone();
    if let Some(last) = jwe.tag.last_mut() {
        *last ^= 1;
    }
    jwe.token()
}

fn cases(probe: &mut Probe<'_>, sealed: &Sealed) -> Result<Vec<(&'static str, String)>, Stop> {
    let jwe = &sealed.jwe;
    let mut out = Vec::new();
    if !jwe.encrypted_key.is_empty() {
        let mut bent = jwe.clone();
        let middle = bent.encrypted_key.len() / 2;
        bent.encrypted_key[middle] ^= 1;
        out.push(("key", bent.token()));
        let half = Jwe { encrypted_key: jwe.encrypted_key[..middle].to_vec(), ..jwe.clone() };
        out.push(("short-key", half.token()));
    }
    let mut vector = jwe.clone();
    vector.iv.pop();
    out.push(("vector", vector.token()));
    // What decrypts, and is no token.
    if probe.has(Need::DecryptionKey) {
        let opened = opened(probe)?;
        out.extend(opened.sealed_anew(b"assay-no-token")?.map(|token| ("content", token)));
    } else if let Some(token) = published(probe, jwe)? {
        out.push(("content", token));
    }
    Ok(out)
}

/// The same by a published key, which everybody has.
fn published(probe: &mut Probe<'_>, jwe: &Jwe) -> Result<Option<String>, Stop> {
    let keys = public_keys(probe)?;
    let kid = jwe.text("kid");
    let named = |entry: &&KeyEntry| entry.json["use"] == "enc" && (kid.is_empty() || entry.kid.as_ref() == Some(&kid));
    let Some(entry) = keys.set.keys.iter().find(named) else { return Ok(None) };
    let recipient = match (jwe.text("alg").as_str(), &entry.key) {
        ("RSA-OAEP", key @ VerifyingKey::Rsa(_)) => Recipient::RsaOaep(key),
        ("RSA-OAEP-256", key @ VerifyingKey::Rsa(_)) => Recipient::RsaOaep256(key),
        ("RSA1_5", key @ VerifyingKey::Rsa(_)) => Recipient::Rsa15(key),
        ("ECDH-ES", key) => Recipient::EcdhEs(key),
        ("ECDH-ES+A256KW", key) => Recipient::EcdhEsA256Kw(key),
        _ => return Ok(None),
    };
    let mut header = jwe.header.clone();
    header.remove("epk");
    let header = serde_json::from_slice(&header.bytes()).unwrap_or_default();
    let content = ContentEncryption::named(&jwe.text("enc")).unwrap_or(CONTENT);
    Ok(encrypt(&header, b"assay-no-token", content, recipient, &mut random()).ok().map(|jwe| jwe.token()))
}

/// Shows both, and compares how they are refused.
fn compare(probe: &mut Probe<'_>, variant: &str, ways: &[Way], base: &str, token: &str) -> Result<(), Stop> {
    let mut told = Vec::new();
    for way in ways {
        let (mut known, mut other) = (Vec::new(), Vec::new());
        let mut shown: Option<(Answer, Answer)> = None;
        for _ in 0..ROUNDS {
            let first = probe.present(way, base)?;
            let second = probe.present(way, token)?;
            known.extend(took_ms(&first));
            other.extend(took_ms(&second));
            shown = shown.or(Some((first, second)));
        }
        let Some((first, second)) = shown else { continue };
        if !probe.still_accepts(way)? {
            let text = format!("`{}` refuses a genuine token beside it, so nothing was learnt", way.name);
            probe.inconclusive(Some(variant), "controls-refused", text);
            return Ok(());
        }
        if !second.refused() {
            probe.judge_refusal(Some(variant), "an encrypted token that cannot be read refused", &second);
            return Ok(());
        }
        let (expected, seen) = (masked(&first, "<user>"), masked(&second, "<user>"));
        if expected != seen {
            let clip = |text: &str| -> String { text.chars().take(160).collect() };
            let text =
                format!("`{}`: a wrong tag is answered `{}`, this one `{}`", way.name, clip(&expected), clip(&seen));
            probe.fail_told(Some(variant), "told-apart", "the answer of a wrong tag", text, &second);
            return Ok(());
        }
        told.push(format!("`{}` {:.2} and {:.2} ms", way.name, middle(&known), middle(&other)));
    }
    probe.pass(Some(variant), "alike", format!("answered like a wrong tag (in the middle {})", told.join(", ")));
    Ok(())
}

fn middle(times: &[f64]) -> f64 {
    median(times).unwrap_or(0.0)
}

fn took_ms(answer: &Answer) -> Option<f64> {
    answer.reply.as_ref().map(|reply| reply.timing.service().0 as f64 / 1e6)
}

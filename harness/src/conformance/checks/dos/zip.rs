//! Is a token unpacked that is small on its way and large in memory?

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

use super::super::jwe::{Addressee, Claims, addressee, claims, seal};
use super::super::material::all_refused;
use super::pace::{Carrier, compared, ways};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::Forger;
use crate::conformance::probe::{Probe, Stop};
use crate::jose::base64url;
use crate::record::{Level, SkipReason};

/// What comes out of a token in a body, in bytes of a claim.
const LARGE: usize = 8 << 20;
/// What fits into a header.
const SMALLER: usize = 3 << 20;
/// How often large and small are compared.
const ROUNDS: usize = 5;

pub(super) const BOMB: Check = Check {
    id: "dos-zip-bomb",
    group: "DOS",
    requirement: "a compressed token is not unpacked beyond what a token needs",
    sources: &[
        "draft-ietf-oauth-rfc8725bis section 3.15",
        "RFC 7516 section 4.1.3",
        "CVE-2024-21319",
        "CVE-2024-28176",
        "CVE-2024-28180",
        "CVE-2024-28102",
        "CVE-2024-33664",
    ],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["10MB"],
    isolation: Isolation::Exclusive,
    cost: cost(30, 4),
    intrusive: true,
    flaws: &["unzip-unbounded"],
    sends: "an encrypted token of a few kilobytes (`zip: DEF`) that unpacks to more than ten million bytes, beside one of the same length that \
            unpacks to little more than itself",
    why: "a thousand bytes of memory for each byte that is sent: a few such requests at once end the process",
    remedy: "refuse `zip`, or stop to unpack after 250 kB",
    run: |probe| {
        let claims = claims(probe)?;
        let to = addressee(probe, &claims)?;
        let mut told = Vec::new();
        for (way, carrier) in ways(probe)? {
            let size = if carrier == Carrier::Body { LARGE } else { SMALLER };
            let bomb = packed(&content(probe, &claims, &"A".repeat(size))?);
            // As long as the other, and no larger when it is unpacked: its letters are drawn.
            let noise: Vec<u8> = (0..bomb.len() * 2 / 3).map(|_| rand::random()).collect();
            let light = sealed(&to, &packed(&content(probe, &claims, &base64url::encode(noise))?))?;
            let bomb = sealed(&to, &bomb)?;
            probe.offer("10MB", &bomb)?;
            if probe.forging() {
                continue;
            }
            let Some(c) = compared(probe, &way, &bomb, &light, ROUNDS)? else { continue };
            if !probe.still_accepts(&way)? && way.usable() {
                let text = format!("`{}` refuses a genuine token beside it, so nothing was learnt", way.name);
                probe.inconclusive(Some("10MB"), "controls-refused", text);
                return Ok(());
            }
            let (heavy, light) = (c.heavy_s * 1e3, c.light_s * 1e3);
            if c.answer.accepted() {
                let text = format!("`{}`: it was unpacked and accepted, in {heavy:.0} ms", way.name);
                probe.fail_told(Some("10MB"), "accepted", "a refusal", text, &c.answer);
                return Ok(());
            }
            if c.answer.unclean() {
                probe.fail_seen(Some("10MB"), &c.answer.finding(), "an orderly answer", &c.answer);
                probe.at_most(Level::Should);
                return Ok(());
            }
            if c.heavy_s >= 5.0 * c.light_s && heavy - light >= 5.0 {
                if c.noise_s > c.heavy_s / 2.0 {
                    let text = format!("`{}`: small tokens take up to {:.0} ms", way.name, c.noise_s * 1e3);
                    probe.inconclusive(Some("10MB"), "noisy", text);
                    return Ok(());
                }
                let text = format!("`{}`: {heavy:.0} ms, and {light:.1} ms where less is packed", way.name);
                probe.fail_told(Some("10MB"), "unpacked", "a refusal without unpacking", text, &c.answer);
                probe.at_most(Level::Should);
                return Ok(());
            }
            told.push(c.answer);
        }
        if told.is_empty() {
            let why = "the token cannot travel by any verify way".to_owned();
            probe.skip("10MB", SkipReason::NotApplicable(why));
        } else {
            all_refused(probe, "10MB", "refused and not unpacked", &told);
        }
        Ok(())
    },
};

/// The claims of a genuine token with one more; signed, where the key is known.
fn content(probe: &Probe<'_>, claims: &Claims, pad: &str) -> Result<Vec<u8>, Stop> {
    let padded = claims.forge.clone().claim("assay", pad);
    match Forger::new(probe.target(), &claims.token) {
        Ok(forger) => forger.sign(forger.forge().claim("assay", pad)).map(String::into_bytes),
        Err(_) => Ok(padded.payload.bytes()),
    }
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

fn sealed(to: &Addressee, content: &[u8]) -> Result<String, Stop> {
    let mut header = json!({"zip": "DEF", "cty": "JWT"});
    if let Some(kid) = &to.kid {
        header["kid"] = Value::from(kid.as_str());
    }
    seal(&header, content, to.recipient()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_bytes_travel_in_a_few_thousand() {
        let large = packed(&base64url::encode("A".repeat(LARGE)).into_bytes());
        assert!(large.len() < 16_000, "{}", large.len());
        let header = packed(&base64url::encode("A".repeat(SMALLER)).into_bytes());
        assert!(header.len() * 4 / 3 < super::super::pace::HEAD_ROOM, "{}", header.len());
        let noise: Vec<u8> = (0..3_000).map(|_| rand::random()).collect();
        assert!(packed(base64url::encode(noise).as_bytes()).len() > 2_900);
    }
}

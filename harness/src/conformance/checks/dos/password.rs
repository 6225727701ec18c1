//! Does a token say how often a password is hashed?

use serde_json::json;

use super::super::material::all_refused;
use super::pace::{Demand, compared, left_out, part, ways};
use crate::conformance::answer::Axis;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::Part;
use crate::jose::jwe::Jwe;
use crate::record::Level;

/// Above what any password needs (twice 600,000), and below what would harm a server that counts it.
const MANY: u64 = 1_300_000;
/// A count that nobody notices.
const FEW: u64 = 1_000;
/// Hours of work. It is sent only to servers that have not counted the other one.
const ENDLESS: u64 = 1_000_000_000;
/// How long the work may take that a server is asked for which counts, in seconds.
const ENOUGH_S: f64 = 3.0;
/// How often the two counts are compared.
const ROUNDS: usize = 3;

pub(super) const P2C: Check = Check {
    id: "dos-p2c",
    group: "DOS",
    requirement: "a token does not decide how long its password is hashed",
    sources: &[
        "draft-ietf-oauth-rfc8725bis section 3.13",
        "RFC 7518 section 8.8",
        "CVE-2022-36083",
        "CVE-2023-6681",
        "CVE-2023-49290",
        "CVE-2023-50658",
        "CVE-2023-51775",
    ],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["1.3M", "unbounded"],
    isolation: Isolation::Exclusive,
    cost: cost(40, 4),
    intrusive: true,
    flaws: &["p2c-unbounded"],
    sends: "tokens encrypted under a password (PBES2) with a count of 1,300,000, beside others with 1,000; then one with 1,000,000,000, or \
            where the first was counted, with as many as take three seconds",
    why: "one request of 300 bytes keeps a processor busy for hours",
    remedy: "do not allow PBES2 where no password is expected, and bound `p2c` (two million is more than anybody needs)",
    run: |probe| {
        let ways: Vec<Way> = ways(probe)?.into_iter().map(|(way, _)| way).collect();
        let (many, few) = (token(MANY), token(FEW));
        probe.offer("1.3M", &many)?;
        let Some(counted_s) = counted(probe, &ways, &many, &few)? else {
            left_out(probe, &["unbounded"]);
            return Ok(());
        };
        // A server that was not seen to count is asked for what would take hours; one that was, for three seconds.
        let next = match counted_s {
            Some(s) => ((MANY as f64 * ENOUGH_S / s) as u64).clamp(2 * MANY, ENDLESS),
            None => ENDLESS,
        };
        let next = token(next);
        let tokens: Vec<(Way, String)> = ways.into_iter().map(|way| (way, next.clone())).collect();
        part(probe, "unbounded", Demand::Refused, &tokens).map(|_| ())
    },
};

/// A token that could be decrypted by whoever has the password, if there were one.
fn token(count: u64) -> String {
    let bytes = |len: usize| -> Vec<u8> { (0..len).map(|_| rand::random()).collect() };
    let salt = crate::jose::base64url::encode(bytes(16));
    let header = json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2s": salt, "p2c": count});
    let header = Part::from_value(&header);
    Jwe { header, encrypted_key: bytes(24), iv: bytes(12), ciphertext: bytes(32), tag: bytes(16) }.token()
}

/// Tells whether the larger count takes longer. The time that it takes, where it does; `None` where nothing was learnt.
fn counted(p: &mut Probe<'_>, ways: &[Way], many: &str, few: &str) -> Result<Option<Option<f64>>, Stop> {
    const PART: Option<&str> = Some("1.3M");
    let mut seen = Vec::new();
    if p.forging() {
        return Ok(Some(None));
    }
    for way in ways {
        let Some(c) = compared(p, way, many, few, ROUNDS)? else { continue };
        if c.answer.axis == Axis::Hung {
            let text = format!("`{}`: no answer within the deadline", way.name);
            p.fail_told(PART, "slow", "a refusal at once", text, &c.answer);
            return Ok(None);
        }
        if c.noise_s > 0.25 {
            let text = format!("`{}`: a token with a count of 1,000 takes {:.0} ms", way.name, c.noise_s * 1e3);
            p.inconclusive(PART, "noisy", text);
            return Ok(None);
        }
        if c.heavy_s >= 20.0 * c.light_s && c.heavy_s - c.light_s >= 0.05 {
            let (heavy, light) = (c.heavy_s * 1e3, c.light_s * 1e3);
            let text = format!("`{}`: {heavy:.0} ms with a count of 1,300,000, {light:.1} ms with 1,000", way.name);
            p.fail_told(PART, "counted", "a refusal at once", text, &c.answer);
            p.at_most(Level::Should);
            return Ok(Some(Some(c.heavy_s)));
        }
        seen.push(c.answer);
    }
    all_refused(p, "1.3M", "refused without counting", &seen);
    Ok(Some(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_count_and_costs_its_sender_nothing() {
        let jwe = Jwe::of(&token(ENDLESS)).unwrap();
        assert_eq!((jwe.header.get("p2c").unwrap(), jwe.encrypted_key.len()), (json!(1_000_000_000), 24));
    }
}

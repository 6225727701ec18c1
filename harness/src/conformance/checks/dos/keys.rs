//! Is a key from the token put to work, however large it is?

use base64::Engine as _;
use serde_json::json;

use super::super::material::{genuine, random};
use super::pace::{Carrier, Demand, parts, ways};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::jose::base64url;
use crate::jose::forge::rsa_certificate;

pub(super) const BIG: Check = Check {
    id: "dos-big-key",
    group: "DOS",
    requirement: "a key that a token brings along is not put to work, let alone one of sixteen thousand bits",
    sources: &["RFC 8725 section 3.10", "RFC 7518 section 8.6", "CVE-2023-29409"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["jwk", "x5c"],
    isolation: Isolation::Exclusive,
    cost: cost(20, 4),
    intrusive: true,
    flaws: &["use-any-key", "use-any-chain"],
    sends: "tokens under RS256 with an RSA key of 16,384 bits (8,192 in a header) and an exponent as long, in `jwk` and in a certificate in `x5c`",
    why: "verifying takes time with the third power of a key's length: a key of the sender's making keeps a processor busy for seconds or minutes",
    remedy: "ignore keys in tokens; bound those that are fetched to 8,192 bits, with exponents of 32",
    run: |probe| {
        let genuine = genuine(probe)?;
        let ways = ways(probe)?;
        parts(probe, &["jwk", "x5c"], Demand::Refused, |_, part| {
            let mut all = Vec::new();
            for (way, carrier) in &ways {
                let bytes = if *carrier == Carrier::Body { 2048 } else { 1024 };
                let (n, e, signature) = (odd(bytes), odd(bytes), odd(bytes - 1));
                let forge = genuine.forge.clone().header("alg", "RS256").without_header("kid");
                let forge = match part {
                    "jwk" => {
                        let jwk = json!({"kty": "RSA", "n": base64url::encode(&n), "e": base64url::encode(&e)});
                        forge.header("jwk", jwk)
                    }
                    _ => {
                        let certificate = rsa_certificate(&n, &e, "assay", &mut random());
                        let text = base64::engine::general_purpose::STANDARD.encode(certificate);
                        forge.header("x5c", json!([text]))
                    }
                };
                all.push((way.clone(), forge.with_signature(signature).token()));
            }
            Ok(all)
        })
    },
};

/// An odd number of this length.
fn odd(bytes: usize) -> Vec<u8> {
    let mut number: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    if let [first, .., last] = number.as_mut_slice() {
        (*first, *last) = (*first | 0x80, *last | 1);
    }
    number
}

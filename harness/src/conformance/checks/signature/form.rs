//! Is a signature taken only in the one form that its algorithm has?

use super::super::material::{either_way, foreign, genuine, random, row, still_good};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::jose::forge::{self, ecdsa_der, ecdsa_order};
use crate::jose::{Curve, Family, SigningKey, digest, recover};
use crate::record::SkipReason;

const SIGNED: &[Need] = &[Need::JwtAccess, Need::SigningKey, Need::VerifyWay];

pub(super) const ECDSA_SPECIAL: Check = Check {
    id: "sig-ecdsa-special",
    group: "SIG",
    requirement: "an ECDSA signature whose r or s is zero, or not below the order, is refused",
    sources: &["FIPS 186-5 section 6.4.2", "RFC 7518 section 3.4", "CVE-2022-21449", "Wycheproof JWS 379-401"],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["r0-*", "r1-*", "rn-*", "der-zero", "one-byte", "oversize"],
    isolation: Isolation::Shared,
    cost: cost(60, 1),
    intrusive: false,
    flaws: &["psychic", "lax-ecdsa"],
    sends: "tokens with r and s of 0, 1, n-1 and n, with zeros in DER, and with too many bytes; no key is needed",
    why: "a library that does not check the range accepts one blank signature for every message",
    remedy: "update the library; check 1 <= r, s < n before the arithmetic",
    run: |probe| {
        let genuine = genuine(probe)?;
        let Some(algorithm) = genuine.algorithm.filter(|a| a.family == Family::Ecdsa) else {
            return Err(Stop::not_applicable(format!("{} is not ECDSA", genuine.alg())));
        };
        let (Some(curve), of) = (algorithm.curve, |bytes: Vec<u8>| {
            genuine.forge.clone().claim("assay", "special").with_signature(bytes).token()
        }) else {
            return Err(Stop::not_applicable("the algorithm has no curve"));
        };
        let len = curve.coordinate_len();
        let order = ecdsa_order(curve);
        let mut below = order.clone();
        // The orders of the three curves are odd.
        if let Some(last) = below.last_mut() {
            *last -= 1;
        }
        let small = |n: u8| {
            let mut out = vec![0; len];
            out[len - 1] = n;
            out
        };
        let numbers = [("0", small(0)), ("1", small(1)), ("n-1", below), ("n", order)];
        for (r_name, r) in &numbers {
            for (s_name, s) in &numbers {
                probe.refuse(&format!("r{r_name}-s{s_name}"), &of([r.as_slice(), s].concat()))?;
            }
        }
        // MAYCAQACAQA: SEQUENCE of two INTEGER 0.
        probe.refuse("der-zero", &of(vec![0x30, 6, 2, 1, 0, 2, 1, 0]))?;
        probe.refuse("one-byte", &of(vec![0]))?;
        probe.refuse("oversize", &of(vec![0xff; len * 4]))
    },
};

pub(super) const ECDSA_FORM: Check = Check {
    id: "sig-ecdsa-form",
    group: "SIG",
    requirement: "an ECDSA signature is R and S of fixed length, nothing else",
    sources: &["RFC 7518 section 3.4", "Wycheproof JWS 379, 380"],
    levels: Levels::MUST,
    needs: SIGNED,
    variants: &["der", "leading-zero", "trailing-zero", "wide-halves", "short", "swapped-halves", "wrong-curve"],
    isolation: Isolation::Shared,
    cost: cost(25, 1),
    intrusive: false,
    flaws: &["accept-der", "lax-ecdsa"],
    sends: "tokens signed by the server's key whose good signature is written as DER, with a byte more or less, or is of another curve",
    why: "several spellings of one signature mean several texts for one token, and parsers that are attacked",
    remedy: "require exactly twice the curve's length before parsing; do not try DER as well",
    run: |probe| {
        let forger = probe.forger()?;
        if forger.algorithm.family != Family::Ecdsa {
            return Err(Stop::not_applicable(format!("{} is not ECDSA", forger.algorithm.name)));
        }
        let signed = forger
            .forge()
            .sign(&forger.key, forger.algorithm, &mut random())
            .map_err(|e| Stop::Harness(e.to_string()))?;
        let raw = signed.signature.clone();
        let (r, s) = raw.split_at(raw.len() / 2);
        let of = |bytes: Vec<u8>| signed.clone().with_signature(bytes).token();
        probe.refuse_signed("der", &of(ecdsa_der(&raw)))?;
        probe.refuse_signed("leading-zero", &of([&[0][..], &raw].concat()))?;
        probe.refuse_signed("trailing-zero", &of([&raw[..], &[0]].concat()))?;
        probe.refuse_signed("wide-halves", &of([&[0][..], r, &[0], s].concat()))?;
        probe.refuse_signed("short", &of(raw[..raw.len() - 1].to_vec()))?;
        probe.refuse_signed("swapped-halves", &of([s, r].concat()))?;
        let other = row(if forger.algorithm.curve == Some(Curve::P256) { "ES384" } else { "ES256" })?;
        let key = foreign(other)?;
        let input = forger.forge();
        let token = input.sign(&key, other, &mut random()).map_err(|e| Stop::Harness(e.to_string()))?.token();
        probe.refuse_signed("wrong-curve", &token)
    },
};

pub(super) const EDDSA_FORM: Check = Check {
    id: "sig-eddsa-form",
    group: "SIG",
    requirement: "an Ed25519 signature has 64 bytes and S below the group order; an R of small order is reported",
    sources: &["RFC 8032 section 5.1.7", "Wycheproof ed25519", "RFC 8037 section 3.1.2"],
    levels: Levels::MUST,
    needs: SIGNED,
    variants: &["s-plus-order", "small-order", "truncated", "trailing-zero", "empty-s"],
    isolation: Isolation::Shared,
    cost: cost(20, 1),
    intrusive: false,
    flaws: &["no-s-check", "lax-eddsa"],
    sends: "tokens signed by the server's key with S + L for S, with an R of small order for which the equation holds, cut and extended",
    why: "without the check on S every signature has a twin: two texts for one token",
    remedy: "use a library that checks S < L (RFC 8032), in its strict mode where it has one",
    run: |probe| {
        let forger = probe.forger()?;
        if forger.algorithm.family != Family::EdDsa {
            return Err(Stop::not_applicable(format!("{} is not EdDSA", forger.algorithm.name)));
        }
        let signed = forger
            .forge()
            .sign(&forger.key, forger.algorithm, &mut random())
            .map_err(|e| Stop::Harness(e.to_string()))?;
        let raw = signed.signature.clone();
        let of = |bytes: Vec<u8>| signed.clone().with_signature(bytes).token();
        probe.refuse_signed("s-plus-order", &of(forge::ed25519_twin(&raw)))?;
        // R is the neutral element, and the equation holds: RFC 8032 lets a verifier take it, stricter ones refuse it.
        if let Some(small) = forge::ed25519_small_order(&forger.key, signed.signing_input().as_bytes()) {
            report(probe, "small-order", &of(small))?;
        }
        probe.refuse_signed("truncated", &of(raw[..63].to_vec()))?;
        probe.refuse_signed("trailing-zero", &of([&raw[..], &[0]].concat()))?;
        probe.refuse_signed("empty-s", &of(raw[..32].to_vec()))
    },
};

/// Shows a token that a verifier may take or refuse: reported, and judged only where the answer is out of order.
fn report(probe: &mut Probe<'_>, variant: &str, token: &str) -> Result<(), Stop> {
    probe.offer(variant, token)?;
    let mut answers = Vec::new();
    let ways = probe.forgeable_ways()?;
    for way in &ways {
        answers.push(probe.present(way, token)?);
    }
    if still_good(probe, variant, &ways)? {
        either_way(probe, variant, &answers);
    }
    Ok(())
}

pub(super) const RSA_PADDING: Check = Check {
    id: "sig-rsa-padding",
    group: "SIG",
    requirement: "an RSA signature has exactly the padding of its algorithm; a hash without the NULL of its parameters is reported",
    sources: &[
        "RFC 8017 section 8.2.2",
        "RFC 8017 appendix B.1",
        "RFC 7518 section 3.3",
        "Wycheproof JWS rs256 ModifiedPadding",
    ],
    levels: Levels::MUST,
    needs: SIGNED,
    variants: &[
        "no-null",
        "garbage-after-hash",
        "short-padding",
        "long-form-length",
        "wrong-block-type",
        "zero-padding",
        "no-separator",
        "no-digest-info",
        "wrong-digest",
        "pss-instead",
        "leading-zero",
        "cube-root",
    ],
    isolation: Isolation::Shared,
    cost: cost(40, 2),
    intrusive: false,
    flaws: &["lax-pkcs1"],
    sends: "tokens under raw RSA operations of the server's key over paddings that are almost right; where its exponent is 3, one under a cube root that needs no key",
    why: "a parser that skips over the padding lets signatures be forged where e is small, and has several texts for one token",
    remedy: "compare the whole encoded message with the expected one instead of parsing it",
    run: |probe| {
        let forger = probe.forger()?;
        let SigningKey::Rsa(_) = &forger.key else {
            return Err(Stop::not_applicable(format!("{} is not RSA", forger.algorithm.name)));
        };
        if forger.algorithm.family != Family::RsaPkcs1 {
            return Err(Stop::not_applicable(format!("{} has no PKCS#1 v1.5 padding", forger.algorithm.name)));
        }
        let base = forger.forge();
        let input = base.signing_input();
        let size = forger.key.verifying_key().rsa_modulus().map_or(0, |n| n.len());
        for (variant, encoded) in paddings(forger.algorithm.hash, input.as_bytes(), size) {
            let signature =
                forger.key.rsa_raw(&encoded, &mut random()).map_err(|e| Stop::Harness(format!("{variant}: {e}")))?;
            let token = base.clone().with_signature(signature).token();
            match variant {
                // Verifiers must take an AlgorithmIdentifier of SHA-2 with and without its NULL elsewhere (RFC 8017
                // appendix B.1), and some do so here on purpose: one more exact encoding opens no hole.
                "no-null" => report(probe, variant, &token)?,
                _ => probe.refuse_signed(variant, &token)?,
            }
        }
        let pss = row(&forger.algorithm.name.replace("RS", "PS"))?;
        let token = base.clone().sign(&forger.key, pss, &mut random()).map_err(|e| Stop::Harness(e.to_string()))?;
        probe.refuse_signed("pss-instead", &token.token())?;
        let good = base
            .clone()
            .sign(&forger.key, forger.algorithm, &mut random())
            .map_err(|e| Stop::Harness(e.to_string()))?;
        let longer = [&[0][..], &good.signature].concat();
        probe.refuse_signed("leading-zero", &good.with_signature(longer).token())?;
        match forge::rsa_cube_root(&forger.key.verifying_key(), forger.algorithm.hash, input.as_bytes()) {
            Some(root) => probe.refuse_signed("cube-root", &base.with_signature(root).token()),
            None => {
                let why = "the key's exponent is not 3, or the key is too short for it".to_owned();
                probe.skip("cube-root", SkipReason::NotApplicable(why));
                Ok(())
            }
        }
    },
};

/// Encoded messages that differ from the right one in one thing each.
fn paddings(hash: crate::jose::Hash, input: &[u8], size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let info = recover::digest_info(hash, input);
    let plain = digest(hash, input);
    let fill = |head: [u8; 2], padding: u8, separator: &[u8], tail: &[u8]| {
        let room = size.saturating_sub(2 + separator.len() + tail.len());
        [&head[..], &vec![padding; room], separator, tail].concat()
    };
    // Without the NULL of the parameters: both lengths shrink by two.
    let mut no_null = info.clone();
    no_null.drain(15..17);
    no_null[1] -= 2;
    no_null[3] -= 2;
    // The outer length in its long form.
    let mut long_form = info.clone();
    long_form.insert(1, 0x81);
    let mut wrong = info.clone();
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    // Eight bytes of padding, the right content, and junk up to the end (Bleichenbacher 2006).
    let mut garbage = [&[0, 1][..], &[0xff; 8], &[0], &info].concat();
    garbage.resize(size, 0x41);
    // The same with the padding filled up by more bytes of it inside the content's place.
    let short = {
        let mut out = [&[0, 1][..], &[0xff; 4], &[0], &info].concat();
        out.resize(size, 0);
        out
    };
    vec![
        ("no-null", fill([0, 1], 0xff, &[0], &no_null)),
        ("garbage-after-hash", garbage),
        ("short-padding", short),
        ("long-form-length", fill([0, 1], 0xff, &[0], &long_form)),
        ("wrong-block-type", fill([0, 2], 0xff, &[0], &info)),
        ("zero-padding", fill([0, 1], 0x00, &[0], &info)),
        ("no-separator", fill([0, 1], 0xff, &[], &info)),
        ("no-digest-info", fill([0, 1], 0xff, &[0], &plain)),
        ("wrong-digest", fill([0, 1], 0xff, &[0], &wrong)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm;

    #[test]
    fn a_small_r_satisfies_the_equation_and_so_could_be_taken() {
        use ed25519_dalek::Verifier as _;
        let key = SigningKey::generate(algorithm("EdDSA").unwrap(), &mut rand::rng()).unwrap();
        let signature = forge::ed25519_small_order(&key, b"input").unwrap();
        let SigningKey::Ed25519(key) = key else { panic!("another key") };
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        assert!(key.verifying_key().verify(b"input", &signature).is_ok());
        assert!(key.verifying_key().verify(b"other", &signature).is_err());
        assert!(key.verifying_key().verify_strict(b"input", &signature).is_err());
    }

    #[test]
    fn a_cube_root_looks_like_a_signature_to_who_reads_no_further_than_the_digest() {
        use crate::jose::VerifyingKey;
        use num_bigint::BigUint;
        let row = algorithm("RS256").unwrap();
        let key = VerifyingKey::from_rsa_parts(&[0xff; 256], &[3]).unwrap();
        let root = forge::rsa_cube_root(&key, row.hash, b"input").unwrap();
        let cube = BigUint::from_bytes_be(&root).pow(3).to_bytes_be();
        let info = recover::digest_info(row.hash, b"input");
        // The leading zero is no byte of a number.
        let begin = [&[1][..], &[0xff; 8], &[0], &info].concat();
        assert!(cube.len() == 255 && cube.starts_with(&begin));
        let other = VerifyingKey::from_rsa_parts(&[0xff; 256], &[1, 0, 1]).unwrap();
        assert_eq!(forge::rsa_cube_root(&other, row.hash, b"input"), None);
    }

    #[test]
    fn every_padding_is_as_long_as_the_modulus_and_verifies_nowhere() {
        let row = algorithm("RS256").unwrap();
        let key = SigningKey::generate_rsa(2048, &mut rand::rng()).unwrap();
        for (name, encoded) in paddings(row.hash, b"input", 256) {
            assert_eq!(encoded.len(), 256, "{name}");
            let signature = key.rsa_raw(&encoded, &mut rand::rng()).unwrap();
            assert!(!key.verifying_key().accepts(row, b"input", &signature), "{name}");
        }
    }
}

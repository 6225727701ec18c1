//! Can a key that everybody knows, or no key at all, sign by HMAC?

use std::time::Duration;

use super::super::material::{Genuine, genuine, public_keys};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};
use crate::jose::recover;
use crate::jose::{Family, Forge, Hash, Known, Spelling, VerifyingKey, forge, spellings};
use crate::record::SkipReason;
use crate::scenario::Budget;

/// What a divisor of two numbers of 134 million bits may take: four minutes of one core where nothing else runs.
const COMPUTING: Duration = Duration::from_secs(900);

/// The HMAC algorithms with their digests; the longer ones are tried with the likeliest spellings only.
const HMACS: &[(&str, Hash)] = &[("HS256", Hash::Sha256), ("HS384", Hash::Sha384), ("HS512", Hash::Sha512)];

pub(super) const PUBLIC: Check = Check {
    id: "sig-confusion-public",
    group: "SIG",
    requirement: "the public key is never used as an HMAC secret",
    sources: &[
        "RFC 8725 section 3.1",
        "CVE-2016-10555",
        "CVE-2017-11424",
        "CVE-2021-46743",
        "CVE-2022-29217",
        "CVE-2023-48223",
        "CVE-2023-48238",
        "CVE-2024-33663",
        "CVE-2024-37568",
        "CVE-2024-54150",
        "CVE-2026-22817",
        "CVE-2026-34950",
        "CVE-2015-9235",
    ],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay, Need::PublicKey],
    variants: &["HS256-*", "HS384-*", "HS512-*", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(400, 3),
    intrusive: false,
    flaws: &["rs-to-hs"],
    sends: "tokens under HS256, HS384 and HS512 keyed with the public key in every spelling: the file as it is, SPKI and \
            PKCS#1 PEM with and without line ends, DER, OpenSSH, certificate, JWK and JWKS text; and refresh tokens likewise",
    why: "the header turns a public key into a secret that everybody knows",
    remedy: "give the verifier a list with the one algorithm of the key; keep keys as typed objects, not as bytes",
    run: |probe| {
        let genuine = genuine(probe)?;
        if !genuine.is_asymmetric() {
            return Err(Stop::not_applicable(format!("{} has no public key", genuine.alg())));
        }
        let keys = public_keys(probe)?;
        let Some((key, jwk)) = keys.of(&genuine) else {
            let why = "no known public key verifies a genuine token".to_owned();
            return Err(Stop::Inconclusive(why));
        };
        let file = keys.file.as_deref();
        let known = Known { file, jwk: jwk.as_ref(), jwks_text: keys.jwks_text.as_deref() };
        let all = spellings(&key, known);
        confuse(probe, &genuine, "", &all)?;
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let keyed = |s: &Spelling| {
                let forge = parts.clone().header("alg", "HS256").sign_hmac(Hash::Sha256, &s.bytes);
                (format!("refresh-HS256-{}", s.name), forge.token())
            };
            Ok(all.iter().map(keyed).collect())
        })
    },
};

/// Presents HMAC tokens keyed with each spelling.
fn confuse(probe: &mut Probe<'_>, genuine: &Genuine, prefix: &str, all: &[Spelling]) -> Result<(), Stop> {
    for (at, spelling) in all.iter().enumerate() {
        for (alg, hash) in HMACS {
            if at >= 6 && *alg != "HS256" {
                continue;
            }
            let token = genuine.forge.clone().header("alg", *alg).sign_hmac(*hash, &spelling.bytes).token();
            probe.refuse(&format!("{prefix}{alg}-{}", spelling.name), &token)?;
        }
    }
    Ok(())
}

pub(super) const RECOVERED: Check = Check {
    id: "sig-confusion-recovered",
    group: "SIG",
    requirement: "an unpublished public key is not an HMAC secret either: it can be computed from tokens",
    sources: &["RFC 8725 section 3.1", "SEC 1 section 4.1.6", "CompassSecurity/jwt-scanner", "CVE-2017-11424"],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["HS256-*", "HS384-*", "HS512-*", "second-HS256-*", "second-HS384-*", "second-HS512-*"],
    isolation: Isolation::Shared,
    cost: cost(120, 3),
    intrusive: false,
    flaws: &["rs-to-hs"],
    sends: "tokens keyed with the public key as tokens alone give it away: computed from one ECDSA signature, or from two RSA \
            signatures (with e = 65537, where the key is not known anyway, minutes and 1.5 GB: `--budget thorough` only)",
    why: "not publishing the key protects nothing",
    remedy: "as for sig-confusion-public: allow the one algorithm of the key",
    run: |probe| {
        let genuine = genuine(probe)?;
        if !genuine.is_asymmetric() {
            return Err(Stop::not_applicable(format!("{} has no public key", genuine.alg())));
        }
        let keys = recovered(probe, &genuine)?;
        // The computation may have outlived the token, or the second login have ended its session.
        probe.another()?;
        let genuine = super::super::material::genuine(probe)?;
        for (at, key) in keys.iter().enumerate() {
            // The likely spellings: nobody keeps a recovered key in a file of their own making.
            let likely: Vec<Spelling> = spellings(key, Known::default())
                .into_iter()
                .filter(|s| matches!(s.name.as_str(), "spki-pem" | "spki-pem-no-newline" | "pkcs1-pem" | "spki-der"))
                .collect();
            confuse(probe, &genuine, if at == 0 { "" } else { "second-" }, &likely)?;
        }
        Ok(())
    },
};

/// The public keys that genuine tokens alone give away.
fn recovered(probe: &mut Probe<'_>, genuine: &Genuine) -> Result<Vec<VerifyingKey>, Stop> {
    let algorithm = genuine.algorithm.ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let input = |token: &str| token.rsplit_once('.').map(|(i, _)| i.as_bytes().to_vec()).unwrap_or_default();
    match algorithm.family {
        Family::Ecdsa => {
            let mut keys = recover::ecdsa_keys(algorithm, &input(&genuine.token), &genuine.forge.signature);
            // A second token leaves one of the candidates: both signatures verify under the true key only.
            if keys.len() > 1 {
                let other = probe.login()?.access.unwrap_or_default();
                let signature = crate::jose::base64url::decode(forge::segment(&other, 2)).unwrap_or_default();
                keys.retain(|key| key.accepts(algorithm, &input(&other), &signature));
            }
            keys.truncate(2);
            if keys.is_empty() {
                return Err(Stop::Inconclusive("no key fits the signatures of two genuine tokens".to_owned()));
            }
            Ok(keys)
        }
        Family::RsaPkcs1 => {
            // A key that is known need not be computed: it is the divisor of what two tokens give.
            if let Some((key, _)) = public_keys(probe)?.of(genuine) {
                return Ok(vec![key]);
            }
            let mut other = probe.login()?.access.unwrap_or_default();
            if other == genuine.token {
                // Without a jti, two logins within one second give the same token.
                probe.pause(Duration::from_millis(1100), "a second token")?;
                other = probe.login()?.access.unwrap_or_default();
            }
            let signature = crate::jose::base64url::decode(forge::segment(&other, 2)).unwrap_or_default();
            let signed = [(input(&genuine.token), genuine.forge.signature.clone()), (input(&other), signature)];
            // Without optimisation the computation takes an hour, whatever the budget.
            let computing = probe.session.budget == Budget::Thorough && !cfg!(debug_assertions);
            let common: &[u32] = if computing { &[3, 17, 65_537] } else { &[3, 17] };
            if computing {
                probe.allow(COMPUTING);
            }
            for exponent in common {
                if let Some(key) = recover::rsa_modulus(algorithm, *exponent, &signed, probe.session.cancel) {
                    return Ok(vec![key]);
                }
            }
            Err(Stop::Skip(if computing {
                SkipReason::NotApplicable("two tokens share no modulus with e = 3, 17 or 65537".to_owned())
            } else {
                SkipReason::Budget(COMPUTING.as_secs())
            }))
        }
        _ => Err(Stop::not_applicable(format!("signatures by {} do not give their key away", algorithm.name))),
    }
}

pub(super) const EMPTY_KEY: Check = Check {
    id: "sig-empty-key",
    group: "SIG",
    requirement: "an HMAC keyed with nothing, or with the name of nothing, is refused",
    sources: &["RFC 7518 section 3.2", "CVE-2019-20933", "CVE-2026-44351", "CVE-2026-45363", "CVE-2026-44699"],
    levels: Levels::MUST,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["*-known-kid", "*-unknown-kid", "*-no-kid", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(80, 1),
    intrusive: false,
    flaws: &["empty-key-fallback", "unverified-refresh"],
    sends: "tokens under HMAC with a key of no bytes, NUL bytes, `null`, `undefined`, `None`; with the kid known, unknown, absent; and refresh tokens likewise",
    why: "a secret that was never configured, or a key that was not found, is often an empty string",
    remedy: "refuse to start without a secret of the digest's length, and to verify when no key was found",
    run: |probe| {
        let genuine = genuine(probe)?;
        let (alg, hash) = match genuine.algorithm {
            Some(row) if row.family == Family::Hmac => (row.name, row.hash),
            _ => ("HS256", Hash::Sha256),
        };
        let zeros = [0; 32];
        let keys: [(&str, &[u8]); 7] = [
            ("empty", b""),
            ("nul", b"\0"),
            ("zeros", &zeros),
            ("null", b"null"),
            ("undefined", b"undefined"),
            ("None", b"None"),
            ("quotes", b"\"\""),
        ];
        for (name, key) in keys {
            let of = || genuine.forge.clone().header("alg", alg);
            probe.refuse(&format!("{name}-known-kid"), &of().sign_hmac(hash, key).token())?;
            let unknown = of().header("kid", "assay-unknown").sign_hmac(hash, key).token();
            probe.refuse(&format!("{name}-unknown-kid"), &unknown)?;
            let absent = of().without_header("kid").sign_hmac(hash, key).token();
            probe.refuse(&format!("{name}-no-kid"), &absent)?;
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let keyed = |(name, key): &(&str, &[u8])| {
                let forge = parts.clone().header("alg", alg).sign_hmac(hash, key);
                (format!("refresh-{name}"), forge.token())
            };
            Ok(keys.iter().map(keyed).collect())
        })
    },
};

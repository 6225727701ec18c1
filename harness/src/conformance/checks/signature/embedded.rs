//! Does a token bring the key along by which it is to be believed?

use base64::Engine as _;
use serde_json::{Value, json};

use super::super::material::{algorithm_of, foreign, genuine, random, row, sign};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::Stop;
use crate::jose::forge::self_signed_certificate;
use crate::jose::{Algorithm, Forge, SigningKey, thumbprint};

const NEEDS: &[Need] = &[Need::JwtAccess, Need::VerifyWay];

/// The algorithms to forge under: the target's own first, then one of each kind of key.
fn kinds(own: Option<&'static Algorithm>, names: &[&str]) -> Result<Vec<&'static Algorithm>, Stop> {
    let mut out: Vec<&'static Algorithm> = own.into_iter().collect();
    for name in names {
        let row = row(name)?;
        if !out.contains(&row) {
            out.push(row);
        }
    }
    Ok(out)
}

pub(super) const JWK: Check = Check {
    id: "sig-embedded-jwk",
    group: "SIG",
    requirement: "a key in the token's own header proves nothing",
    sources: &[
        "RFC 7515 section 4.1.3",
        "ASVS 9.1.3",
        "CVE-2018-0114",
        "Wycheproof JWS 32",
        "RFC 8725 section 3.8",
        "CVE-2025-24976",
    ],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["*", "*-no-kid", "*-kid-of-key"],
    isolation: Isolation::Shared,
    cost: cost(50, 5),
    intrusive: false,
    flaws: &["trust-jwk", "unverified-refresh"],
    sends: "tokens signed by a fresh RSA, EC, Ed25519 or symmetric key that stands in the header as `jwk`; access and refresh tokens",
    why: "a server that takes the key from the token accepts whatever its sender signed",
    remedy: "take keys from configuration or the issuer's JWKS only; ignore `jwk`",
    run: |probe| {
        let genuine = genuine(probe)?;
        for algorithm in kinds(genuine.algorithm, &["ES256", "RS256", "EdDSA", "HS256"])? {
            let key = foreign(algorithm)?;
            let public = key.verifying_key();
            let id = thumbprint(&public);
            let of = |kid: Option<&str>| {
                let mut jwk = public.to_jwk();
                let forge = genuine.forge.clone().header("alg", algorithm.name);
                let forge = match kid {
                    Some(kid) => {
                        jwk["kid"] = Value::from(kid);
                        forge.header("kid", kid)
                    }
                    None => forge,
                };
                forge.header("jwk", jwk)
            };
            let own = genuine.forge.header.get("kid");
            let own = own.as_ref().and_then(Value::as_str);
            probe.refuse(algorithm.name, &sign(of(own), &key, algorithm)?)?;
            let name = format!("{}-no-kid", algorithm.name);
            probe.refuse(&name, &sign(of(None).without_header("kid"), &key, algorithm)?)?;
            probe.refuse(&format!("{}-kid-of-key", algorithm.name), &sign(of(Some(&id)), &key, algorithm)?)?;
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let mut all = Vec::new();
            for algorithm in kinds(algorithm_of(&parts), &["ES256", "RS256"])? {
                let key = foreign(algorithm)?;
                let forge = parts.clone().header("alg", algorithm.name).header("jwk", key.verifying_key().to_jwk());
                all.push((format!("refresh-{}", algorithm.name), sign(forge.without_header("kid"), &key, algorithm)?));
            }
            Ok(all)
        })
    },
};

pub(super) const X5C: Check = Check {
    id: "sig-embedded-x5c",
    group: "SIG",
    requirement: "a self-signed certificate in the token's own header proves nothing",
    sources: &["RFC 7515 section 4.1.6", "ASVS 9.1.3"],
    levels: Levels::MUST,
    needs: NEEDS,
    variants: &["*", "*-no-kid", "refresh-*"],
    isolation: Isolation::Shared,
    cost: cost(30, 5),
    intrusive: false,
    flaws: &["trust-x5c", "unverified-refresh"],
    sends: "access and refresh tokens signed by a fresh key whose self-signed certificate stands in the header as `x5c`",
    why: "a certificate that nobody vouches for is only another way to bring one's own key",
    remedy: "ignore `x5c`, or verify the chain up to a configured anchor and the name in it",
    run: |probe| {
        let genuine = genuine(probe)?;
        let own = genuine.algorithm.filter(|a| a.is_asymmetric());
        let chain_of = |key: &SigningKey| -> Result<Value, Stop> {
            let certificate = self_signed_certificate(key, "assay", "200101000000Z", "491231235959Z", &mut random())
                .map_err(|e| Stop::Harness(format!("could not make a certificate: {e}")))?;
            Ok(json!([base64::engine::general_purpose::STANDARD.encode(certificate)]))
        };
        for algorithm in kinds(own, &["ES256", "RS256"])? {
            let key = foreign(algorithm)?;
            let chain = chain_of(&key)?;
            let of = || genuine.forge.clone().header("alg", algorithm.name).header("x5c", chain.clone());
            probe.refuse(algorithm.name, &sign(of(), &key, algorithm)?)?;
            let name = format!("{}-no-kid", algorithm.name);
            probe.refuse(&name, &sign(of().without_header("kid"), &key, algorithm)?)?;
        }
        probe.refuse_at_refresh(|token| {
            let Some(parts) = Forge::of(token) else { return Ok(Vec::new()) };
            let mut all = Vec::new();
            for algorithm in kinds(algorithm_of(&parts).filter(|a| a.is_asymmetric()), &["ES256", "RS256"])? {
                let key = foreign(algorithm)?;
                let forge = parts.clone().header("alg", algorithm.name).header("x5c", chain_of(&key)?);
                all.push((format!("refresh-{}", algorithm.name), sign(forge.without_header("kid"), &key, algorithm)?));
            }
            Ok(all)
        })
    },
};

//! Does a token count for genuine because it could be decrypted?

use serde_json::{Value, json};

use super::super::material::{foreign, public_keys, row, sign};
use super::material::{addressee, claims, seal};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::jose::VerifyingKey;
use crate::jose::jwe::Recipient;

/// Secrets that nobody has chosen, or everybody.
const WORD: &[u8] = b"secret";

/// How often a guessed password is worked through: no server refuses so few, and none is kept busy by them.
const ROUNDS: u32 = 1_000;

pub(super) const AS_JWS: Check = Check {
    id: "jwe-as-jws",
    group: "JWE",
    requirement: "claims that were encrypted to the server's public key are not claims that it signed",
    sources: &["draft-ietf-oauth-rfc8725bis section 3.3", "RFC 7519 section 11.2", "CVE-2022-3102", "CVE-2023-51774"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &[
        "RSA-OAEP",
        "RSA-OAEP-256",
        "RSA1_5",
        "ECDH-ES",
        "ECDH-ES+A256KW",
        "dir-zeros",
        "dir-word",
        "PBES2-empty",
        "PBES2-word",
        "PBES2-public-key",
    ],
    isolation: Isolation::Shared,
    cost: cost(60, 1),
    intrusive: false,
    flaws: &["sign-encrypt-confusion", "sign-encrypt-confusion-ec", "guessable-jwe"],
    sends: "the claims of a genuine token, not signed but encrypted: to the public key that verifies tokens (RSA, ECDH-ES), with a key of \
            zeros or the word `secret` (dir), and under a password that is empty, `secret`, or the public key (PBES2)",
    why: "a library that reads signed and encrypted tokens by one call decrypts what anybody has encrypted to the public key, and hands it on \
          as proven",
    remedy: "say what kind of token is expected, and refuse every other before any key is used; keys that verify must not decrypt",
    run: |probe| {
        let claims = claims(probe)?;
        let keys = public_keys(probe)?;
        let header = match claims.forge.header.get("kid") {
            Some(kid) => json!({"kid": kid}),
            None => json!({}),
        };
        let bare = claims.bare();
        let verifier = claims.verifier(&keys);
        let mut cases: Vec<(&str, Recipient<'_>)> = Vec::new();
        let pem = verifier.as_ref().and_then(VerifyingKey::to_spki_pem).unwrap_or_default();
        match &verifier {
            Some(key @ VerifyingKey::Rsa(_)) => cases.extend([
                ("RSA-OAEP", Recipient::RsaOaep(key)),
                ("RSA-OAEP-256", Recipient::RsaOaep256(key)),
                ("RSA1_5", Recipient::Rsa15(key)),
            ]),
            Some(key @ (VerifyingKey::P256(_) | VerifyingKey::P384(_) | VerifyingKey::P521(_))) => {
                cases.extend([("ECDH-ES", Recipient::EcdhEs(key)), ("ECDH-ES+A256KW", Recipient::EcdhEsA256Kw(key))]);
            }
            _ => {}
        }
        let zeros = [0; 32];
        let mut word = zeros;
        word[..WORD.len()].copy_from_slice(WORD);
        cases.extend([
            ("dir-zeros", Recipient::Direct(&zeros)),
            ("dir-word", Recipient::Direct(&word)),
            ("PBES2-empty", Recipient::Password(b"", ROUNDS)),
            ("PBES2-word", Recipient::Password(WORD, ROUNDS)),
        ]);
        if !pem.is_empty() {
            cases.push(("PBES2-public-key", Recipient::Password(pem.as_bytes(), ROUNDS)));
        }
        for (variant, recipient) in cases {
            probe.refuse(variant, &seal(&header, &bare, recipient)?)?;
        }
        Ok(())
    },
};

pub(super) const WRAPPED_PLAIN: Check = Check {
    id: "jwe-wrapped-plain",
    group: "JWE",
    requirement: "what is inside of an encrypted token must be signed by the server",
    sources: &["draft-ietf-oauth-rfc8725bis section 3.3", "RFC 7519 section 11.2", "CVE-2026-29000"],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["none", "none-cut", "bare", "foreign"],
    isolation: Isolation::Shared,
    cost: cost(25, 1),
    intrusive: false,
    flaws: &["plain-in-jwe"],
    sends: "tokens encrypted to the server's encryption key, or where it has none to the public key that verifies, in which the claims of a genuine \
            token stand bare, unsigned (`alg: none`), or signed by a fresh key",
    why: "everybody can encrypt to a public key: a server that takes the lock for a signature lets everybody write tokens",
    remedy: "verify the signature of what was decrypted, and refuse what has none",
    run: |probe| {
        let claims = claims(probe)?;
        let to = addressee(probe, &claims)?;
        let recipient = to.recipient()?;
        let named = |cty: bool| {
            let mut header = if cty { json!({"cty": "JWT"}) } else { json!({}) };
            if let Some(kid) = &to.kid {
                header["kid"] = Value::from(kid.as_str());
            }
            header
        };
        let unsigned = claims.forge.clone().header("alg", "none").with_signature(Vec::new()).token();
        let algorithm = match claims.algorithm {
            Some(own) => own,
            None => row("ES256")?,
        };
        let fresh = sign(claims.forge.clone(), &foreign(algorithm)?, algorithm)?;
        let (bare, two) = (claims.bare(), unsigned.trim_end_matches('.').to_owned());
        for (variant, content) in [
            ("none", unsigned.as_bytes()),
            ("none-cut", two.as_bytes()),
            ("bare", &bare),
            ("foreign", fresh.as_bytes()),
        ] {
            probe.refuse(variant, &seal(&named(variant != "bare"), content, recipient)?)?;
        }
        Ok(())
    },
};

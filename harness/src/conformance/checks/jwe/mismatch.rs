//! Is the server's key used only for what it is there for?

use super::super::material::random;
use super::material::{Opened, opened};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Control, Expect, Stop};
use crate::jose::jwe::{Recipient, Stray, agreed_key, enclose, off_curve, small_order};
use crate::jose::{Part, SigningKey};
use crate::record::{Level, SkipReason};

pub(super) const ALGORITHM: Check = Check {
    id: "jwe-alg-mismatch",
    group: "JWE",
    requirement: "a token is decrypted by the one algorithm of the key, whatever its header says",
    sources: &[
        "RFC 8725 section 3.1",
        "RFC 8725 section 3.2",
        "Wycheproof JWE Pkcs15WithOaepKey",
        "Wycheproof JWE WrongCipher",
    ],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "ECDH-ES+A256KW", "ECDH-ES", "dir", "A256KW", "A256GCMKW"],
    isolation: Isolation::Shared,
    cost: cost(15, 1),
    intrusive: false,
    flaws: &["any-jwe-alg", "any-jwe-agreement", "any-jwe-wrapping"],
    sends: "the content of a genuine token, encrypted anew to the same key by another algorithm that it could serve: RSA1_5 for an OAEP key, \
            direct agreement for wrapping, AES key wrap for GCM key wrap",
    why: "whoever may choose the algorithm chooses the weakest: RSA1_5 turns a server that tells good padding from bad into a decryption oracle",
    remedy: "bind the algorithm to the key, and compare the header with it before the key is used",
    run: |probe| {
        let opened = opened(probe)?;
        let ways = opened.ways(probe)?;
        let public = opened.key.verifying_key();
        let own = opened.alg();
        for recipient in others(&opened.key, &public).into_iter().filter(|recipient| recipient.alg() != own) {
            // The secret of `dir` need not have the length of the content key.
            let Ok(token) = opened.sealed_for(recipient) else { continue };
            let token = token.into();
            probe.expect(Some(recipient.alg()), &token, &ways, Expect::Refused, Control::Genuine)?;
            // The other hash of OAEP, or the other form of one agreement, weakens nothing by itself.
            if recipient.alg() != "RSA1_5" && !matches!(public, crate::jose::VerifyingKey::Secret(_)) {
                probe.at_most(Level::Should);
            }
        }
        Ok(())
    },
};

/// What a key could be used for.
fn others<'a>(key: &'a SigningKey, public: &'a crate::jose::VerifyingKey) -> Vec<Recipient<'a>> {
    match key {
        SigningKey::Rsa(_) => {
            vec![Recipient::Rsa15(public), Recipient::RsaOaep(public), Recipient::RsaOaep256(public)]
        }
        SigningKey::Secret(secret) if secret.len() == 32 => {
            vec![Recipient::Direct(secret), Recipient::Kw(secret), Recipient::GcmKw(secret)]
        }
        SigningKey::Secret(_) | SigningKey::Ed25519(_) => Vec::new(),
        _ => vec![Recipient::EcdhEs(public), Recipient::EcdhEsA256Kw(public)],
    }
}

pub(super) const CURVE: Check = Check {
    id: "jwe-invalid-curve",
    group: "JWE",
    requirement: "an ephemeral key is refused that is no point of the curve",
    sources: &[
        "RFC 8725 section 3.4",
        "RFC 7518 section 6.2.1",
        "CVE-2016-9121",
        "Wycheproof JWE rejectsInvalidCurvePoint",
    ],
    levels: Levels::MUST,
    needs: &[Need::VerifyWay],
    variants: &["off-curve", "small-order"],
    isolation: Isolation::Shared,
    cost: cost(15, 1),
    intrusive: false,
    flaws: &["no-curve-check"],
    sends: "the content of a genuine token, encrypted with the key that a careless server would agree on by a point that is on no curve of its, and by \
            one of order three",
    why: "a few hundred such tokens give away the private key, one remainder each",
    remedy: "check that the point satisfies the curve's equation before it is multiplied; most libraries do so where the key is imported",
    run: |probe| {
        let opened = opened(probe)?;
        if opened.alg() != "ECDH-ES" {
            return Err(Stop::not_applicable(format!("{} agrees on no key directly", opened.alg())));
        }
        let ways = opened.ways(probe)?;
        for (variant, stray) in [
            ("off-curve", off_curve(&opened.key, &mut random())),
            ("small-order", small_order(&opened.key, &mut random())),
        ] {
            let Some(stray) = stray else {
                let why = "the private key is a multiple of the order of the point, so that nothing comes of it";
                probe.skip(variant, SkipReason::NotApplicable(why.to_owned()));
                continue;
            };
            let token = agreed(&opened, &stray)?.into();
            probe.expect(Some(variant), &token, &ways, Expect::Refused, Control::Genuine)?;
        }
        Ok(())
    },
};

fn agreed(opened: &Opened, stray: &Stray) -> Result<String, Stop> {
    let mut header = Part::from_value(&opened.header());
    for (name, value) in
        [("alg", opened.alg().into()), ("enc", opened.content.name().into()), ("epk", stray.epk.clone())]
    {
        header.set_text(name, &serde_json::Value::to_string(&value));
    }
    let key = agreed_key(&stray.shared, opened.content);
    enclose(header, &opened.inside, opened.content, (&key, Vec::new()), &mut random())
        .map(|jwe| jwe.token())
        .map_err(|e| Stop::Harness(format!("could not encrypt: {e}")))
}

//! With which encrypted tokens and keys do the checks forge?

use serde_json::Value;

use super::super::material::{Genuine, PublicKeys, algorithm_of, public_keys, random};
use crate::conformance::descriptor::Need;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::jose::jwe::{ContentEncryption, Jwe, JweRefusal, Recipient, decrypt, encrypt};
use crate::jose::{Algorithm, Forge, SigningKey, VerifyingKey};
use crate::record::SkipReason;

/// Where neither the token nor a key tells what the server puts into its tokens.
const CLAIMS: &str = "access tokens that are JWTs, or encrypted ones and decryption-key";

/// What everybody understands who decrypts at all (RFC 7518 section 5.1 has it as recommended, and every library).
pub(super) const CONTENT: ContentEncryption = ContentEncryption::A256Gcm;

/// A genuine access token that is encrypted.
pub(super) struct Sealed {
    /// The token in parts.
    pub(super) jwe: Jwe,
}

/// The same, decrypted.
pub(super) struct Opened {
    /// The token in parts.
    pub(super) jwe: Jwe,
    /// What is inside: a signed token, most often.
    pub(super) inside: Vec<u8>,
    /// The key that the server decrypts with.
    pub(super) key: SigningKey,
    /// How the content is encrypted.
    pub(super) content: ContentEncryption,
}

/// A genuine access token in parts. Not applicable where it is not encrypted.
pub(super) fn sealed(probe: &mut Probe<'_>) -> Result<Sealed, Stop> {
    let token = probe.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let jwe = Jwe::of(&token).ok_or_else(|| Stop::not_applicable("access tokens are not encrypted"))?;
    Ok(Sealed { jwe })
}

/// A genuine access token, decrypted. Skipped where it is not encrypted or the key is not known.
pub(super) fn opened(probe: &mut Probe<'_>) -> Result<Opened, Stop> {
    let Sealed { jwe } = sealed(probe)?;
    let material = probe.target().decryption_key().map_err(|e| Stop::Harness(e.to_string()))?;
    let material = material.ok_or_else(|| Stop::needs(Need::DecryptionKey))?;
    let mut keys: Vec<SigningKey> = Vec::new();
    if !material.secret {
        keys.extend(SigningKey::parse(&material.bytes));
    }
    keys.push(SigningKey::secret(material.bytes.clone()));
    keys.push(SigningKey::secret(material.bytes.trim_ascii_end()));
    let mut refusal = None;
    for key in keys {
        match decrypt(&jwe.token(), &key, None) {
            Ok((_, inside)) => {
                let content = ContentEncryption::named(&jwe.text("enc")).unwrap_or(CONTENT);
                return Ok(Opened { jwe, inside, key, content });
            }
            // The first key is what the profile most likely means: its word counts.
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    match refusal {
        Some(JweRefusal::Header(why)) => Err(Stop::not_applicable(format!("tokens that Assay cannot decrypt: {why}"))),
        _ => Err(Stop::Inconclusive("the key under `keys.decrypt` does not decrypt a genuine token".to_owned())),
    }
}

impl Opened {
    /// The way in which the server's own tokens are encrypted.
    pub(super) fn alg(&self) -> String {
        self.jwe.text("alg")
    }

    /// The header without what encryption puts in.
    pub(super) fn header(&self) -> Value {
        let mut header = self.jwe.header.clone();
        for name in ["alg", "enc", "epk", "apu", "apv", "iv", "tag", "p2s", "p2c"] {
            header.remove(name);
        }
        serde_json::from_slice(&header.bytes()).unwrap_or_default()
    }

    /// The genuine content encrypted anew, in another way than the genuine one's.
    pub(super) fn sealed_for(&self, recipient: Recipient<'_>) -> Result<String, Stop> {
        encrypt(&self.header(), &self.inside, self.content, recipient, &mut random())
            .map(|jwe| jwe.token())
            .map_err(|e| Stop::Harness(format!("could not encrypt: {e}")))
    }

    /// Any content in the genuine way. None where we can read that way and not write it.
    pub(super) fn sealed_anew(&self, content: &[u8]) -> Result<Option<String>, Stop> {
        let public = self.key.verifying_key();
        let secret = match &self.key {
            SigningKey::Secret(secret) => secret.as_slice(),
            _ => &[],
        };
        let recipients = [
            Recipient::Direct(secret),
            Recipient::Kw(secret),
            Recipient::GcmKw(secret),
            Recipient::Rsa15(&public),
            Recipient::RsaOaep(&public),
            Recipient::RsaOaep256(&public),
            Recipient::EcdhEs(&public),
            Recipient::EcdhEsA256Kw(&public),
        ];
        let Some(recipient) = recipients.into_iter().find(|r| r.alg() == self.alg()) else { return Ok(None) };
        encrypt(&self.header(), content, self.content, recipient, &mut random())
            .map(|jwe| Some(jwe.token()))
            .map_err(|e| Stop::Harness(format!("could not encrypt: {e}")))
    }

    /// The ways that take a genuine token whose content was encrypted anew: only there does a refusal tell that it is the
    /// change which is refused.
    pub(super) fn ways(&self, probe: &mut Probe<'_>) -> Result<Vec<Way>, Stop> {
        let none = || Stop::Skip(SkipReason::Needs("tokens that are encrypted anew (the server refuses them)".into()));
        let token = self.sealed_anew(&self.inside)?.ok_or_else(|| {
            Stop::not_applicable(format!("tokens are encrypted by {}, in which Assay does not encrypt", self.alg()))
        })?;
        let mut ways = Vec::new();
        for way in probe.ways().into_iter().filter(Way::usable) {
            let answer = probe.present(&way, &token)?;
            if answer.accepted() {
                ways.push(way);
            }
        }
        if ways.is_empty() { Err(none()) } else { Ok(ways) }
    }
}

/// A token whose claims are the server's own, to be said again in another form.
pub(in crate::conformance::checks) struct Claims {
    /// The signed token that carries them.
    pub(in crate::conformance::checks) forge: Forge,
    /// The algorithm that signs it.
    pub(super) algorithm: Option<&'static Algorithm>,
    /// The signed token itself.
    pub(in crate::conformance::checks) token: String,
    /// The encrypted token that it came in.
    pub(super) opened: Option<Opened>,
}

/// The claims of a genuine access token, whether it is signed or encrypted.
pub(in crate::conformance::checks) fn claims(probe: &mut Probe<'_>) -> Result<Claims, Stop> {
    let token = probe.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let (token, opened) = match Forge::of(&token) {
        Some(_) => (token, None),
        None if Jwe::of(&token).is_some() && probe.has(Need::DecryptionKey) => {
            let opened = opened(probe)?;
            (String::from_utf8_lossy(&opened.inside).into_owned(), Some(opened))
        }
        None => return Err(Stop::Skip(SkipReason::Needs(CLAIMS.into()))),
    };
    let forge = Forge::of(&token).ok_or_else(|| Stop::Skip(SkipReason::Needs(CLAIMS.into())))?;
    Ok(Claims { algorithm: algorithm_of(&forge), forge, token, opened })
}

impl Claims {
    /// The claims as they stand in the token.
    pub(super) fn bare(&self) -> Vec<u8> {
        self.forge.payload.bytes()
    }

    /// The public key that verifies the token, where it is known.
    pub(super) fn verifier(&self, keys: &PublicKeys) -> Option<VerifyingKey> {
        let genuine = Genuine { token: self.token.clone(), forge: self.forge.clone(), algorithm: self.algorithm };
        keys.of(&genuine).map(|(key, _)| key)
    }
}

/// Who can decrypt what we encrypt, as far as everybody knows, and how it is asked for.
pub(in crate::conformance::checks) struct Addressee {
    key: VerifyingKey,
    alg: String,
    /// What the key is called.
    pub(in crate::conformance::checks) kid: Option<String>,
}

/// The server's key to encrypt to: the one of the genuine token, the one that is published for it, else the one that
/// verifies, which should decrypt nothing. Skipped where there is none.
pub(in crate::conformance::checks) fn addressee(p: &mut Probe<'_>, claims: &Claims) -> Result<Addressee, Stop> {
    let named = |kid: Option<Value>| kid.and_then(|kid| kid.as_str().map(str::to_owned));
    if let Some(opened) = &claims.opened {
        let kid = named(opened.jwe.header.get("kid"));
        return Ok(Addressee { key: opened.key.verifying_key(), alg: opened.alg(), kid });
    }
    let keys = public_keys(p)?;
    let text = |json: &Value, name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(entry) = keys.set.keys.iter().find(|entry| text(&entry.json, "use") == "enc") {
        return Ok(Addressee { key: entry.key.clone(), alg: text(&entry.json, "alg"), kid: entry.kid.clone() });
    }
    match claims.verifier(&keys) {
        Some(key) if !matches!(key, VerifyingKey::Secret(_)) => {
            Ok(Addressee { key, alg: String::new(), kid: named(claims.forge.header.get("kid")) })
        }
        _ if claims.algorithm.is_some_and(|algorithm| !algorithm.is_asymmetric()) => {
            let alg = claims.algorithm.map_or("", |algorithm| algorithm.name);
            Err(Stop::not_applicable(format!("{alg} has no public key, and none to encrypt to is published")))
        }
        _ => Err(Stop::needs(Need::PublicKey)),
    }
}

impl Addressee {
    /// How to encrypt to it. Not applicable where nobody can.
    pub(in crate::conformance::checks) fn recipient(&self) -> Result<Recipient<'_>, Stop> {
        let key = &self.key;
        let alg = self.alg.as_str();
        Ok(match key {
            VerifyingKey::Secret(secret) if alg == "dir" => Recipient::Direct(secret),
            VerifyingKey::Secret(secret) if alg.ends_with("GCMKW") => Recipient::GcmKw(secret),
            VerifyingKey::Secret(secret) => Recipient::Kw(secret),
            VerifyingKey::Rsa(_) if alg == "RSA1_5" => Recipient::Rsa15(key),
            VerifyingKey::Rsa(_) if alg == "RSA-OAEP-256" => Recipient::RsaOaep256(key),
            VerifyingKey::Rsa(_) => Recipient::RsaOaep(key),
            VerifyingKey::Ed25519(_) => {
                return Err(Stop::not_applicable(format!("nobody can encrypt to {}", key.kind())));
            }
            _ if alg == "ECDH-ES+A256KW" => Recipient::EcdhEsA256Kw(key),
            _ => Recipient::EcdhEs(key),
        })
    }
}

/// Encrypts any content to any recipient.
pub(in crate::conformance::checks) fn seal(
    header: &Value,
    content: &[u8],
    recipient: Recipient<'_>,
) -> Result<String, Stop> {
    encrypt(header, content, CONTENT, recipient, &mut random())
        .map(|jwe| jwe.token())
        .map_err(|e| Stop::Harness(format!("could not encrypt: {e}")))
}

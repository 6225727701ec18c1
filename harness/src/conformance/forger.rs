//! How is a genuine token changed and signed again? The forging of checks that know the key.

use serde_json::{Map, Value};

use crate::jose::{Algorithm, Forge, SigningKey, algorithm, base64url};
use crate::target::{Target, TargetError};

use super::descriptor::Need;
use super::probe::Stop;

/// A genuine token and the key that signs.
#[derive(Clone)]
pub struct Forger {
    /// The key.
    pub key: SigningKey,
    /// The algorithm of the genuine token.
    pub algorithm: &'static Algorithm,
    genuine: Forge,
    jti: Option<usize>,
}

impl Forger {
    /// For one kind of token of a target, by a genuine one.
    ///
    /// # Errors
    /// Skipped where the key is unknown or the token is no JWT; inconclusive where the key is another one.
    pub fn new(target: &Target, genuine: &str) -> Result<Forger, Stop> {
        let (header, claims) = decode(genuine).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = algorithm(name)
            .ok_or_else(|| Stop::not_applicable(format!("the server signs with `{name}`, which Assay cannot")))?;
        let parts = Forge::of(genuine).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
        let key = candidates(target)?
            .into_iter()
            .find(|key| {
                key.verifying_key().accepts(algorithm, parts.signing_input_of(genuine).as_bytes(), &parts.signature)
            })
            .ok_or_else(|| {
                Stop::Inconclusive("the signing key of the profile does not verify a genuine token".to_owned())
            })?;
        let jti = claims.get("jti").and_then(Value::as_str).map(str::len);
        Ok(Forger { key, algorithm, genuine: parts, jti })
    }

    /// As [`new`](Self::new) for a genuine refresh token, which another key may sign.
    ///
    /// # Errors
    /// As there; not applicable where no key of the profile signed it.
    pub fn of_refresh(target: &Target, genuine: &str) -> Result<Forger, Stop> {
        Forger::new(target, genuine).map_err(|stop| match stop {
            Stop::Inconclusive(_) => Stop::not_applicable(
                "no key of the profile verifies a genuine refresh token: another one signs those (`keys.refresh` names it)",
            ),
            other => other,
        })
    }

    /// The genuine header and claims, with a `jti` of its own where there was one.
    pub fn forge(&self) -> Forge {
        match self.jti {
            Some(len) => self.genuine.clone().claim("jti", fresh_id(len)),
            None => self.genuine.clone(),
        }
    }

    /// A claim of the genuine token.
    pub fn claim(&self, name: &str) -> Option<Value> {
        self.genuine.payload.get(name)
    }

    /// Signs with the server's key and algorithm, whatever the header says.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn sign(&self, forge: Forge) -> Result<String, Stop> {
        forge
            .sign(&self.key, self.algorithm, &mut rand::rng())
            .map(|f| f.token())
            .map_err(|e| Stop::Harness(format!("could not sign: {e}")))
    }

    /// The genuine token with one claim set, signed again.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn with_claim(&self, name: &str, value: impl Into<Value>) -> Result<String, Stop> {
        self.sign(self.forge().claim(name, value))
    }

    /// The genuine token with another end (Unix seconds), begun ten minutes before it, signed again.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn ending(&self, exp: i64) -> Result<String, Stop> {
        self.sign(self.aged(exp - 600).claim("exp", exp))
    }

    /// As [`ending`](Self::ending) with a fraction: `exp` is written with one digit after the point.
    ///
    /// # Errors
    /// A fault of ours.
    pub fn ending_at(&self, exp: f64) -> Result<String, Stop> {
        self.sign(self.aged(exp as i64 - 600).claim_text("exp", &format!("{exp:.1}")))
    }

    /// iat and nbf must not be what refuses: both lie before the end, as in a token that has aged.
    fn aged(&self, start: i64) -> Forge {
        let mut forge = self.forge();
        for name in ["iat", "nbf", "auth_time"] {
            if self.claim(name).is_some() {
                forge = forge.claim(name, start);
            }
        }
        forge
    }
}

trait SigningInput {
    fn signing_input_of(&self, token: &str) -> String;
}

impl SigningInput for Forge {
    /// The signed text of a token as it was sent, not as it would be written again.
    fn signing_input_of(&self, token: &str) -> String {
        token.rsplit_once('.').map(|(input, _)| input.to_owned()).unwrap_or_default()
    }
}

/// Header and claims of a JWT, without looking at its signature.
pub fn decode(token: &str) -> Option<(Map<String, Value>, Map<String, Value>)> {
    let mut parts = token.split('.');
    let mut object = || -> Option<Map<String, Value>> {
        let bytes = base64url::decode_lenient(parts.next()?);
        serde_json::from_slice::<Value>(&bytes).ok()?.as_object().cloned()
    };
    let (header, claims) = (object()?, object()?);
    (parts.next().is_some() && parts.next().is_none()).then_some((header, claims))
}

/// A random identifier of a length, hexadecimal.
pub fn fresh_id(len: usize) -> String {
    let len = len.clamp(8, 128);
    let mut text = String::with_capacity(len + 16);
    while text.len() < len {
        text.push_str(&format!("{:016x}", rand::random::<u64>()));
    }
    text.truncate(len);
    text
}

/// The keys that the profile may mean: a file holds a PEM, a JWK, or a secret with or without a line end.
pub(super) fn candidates(target: &Target) -> Result<Vec<SigningKey>, Stop> {
    let fault = |e: TargetError| Stop::Harness(e.to_string());
    let sign = target.signing_key().map_err(fault)?.ok_or_else(|| Stop::needs(Need::SigningKey))?;
    let mut keys: Vec<SigningKey> = Vec::new();
    for material in [Some(sign), target.refresh_key().map_err(fault)?].into_iter().flatten() {
        if !material.secret {
            keys.extend(SigningKey::parse(&material.bytes));
        }
        keys.push(SigningKey::secret(material.bytes.clone()));
        keys.push(SigningKey::secret(material.bytes.trim_ascii_end()));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SkipReason;
    use crate::scenario::Source;
    use crate::target::parse_profile;
    use serde_json::json;

    #[test]
    fn refresh_tokens_may_have_a_key_of_their_own() {
        let (access_key, refresh_key) = ("access-0123456789-0123456789-012", "refresh-0123456789-0123456789-01");
        let refresh = {
            let text = |value: Value| base64url::encode(value.to_string());
            let unsigned =
                format!("{}.{}.c2ln", text(json!({"alg": "HS256"})), text(json!({"sub": "alice", "exp": 1})));
            let key = SigningKey::secret(refresh_key);
            let forge = Forge::of(&unsigned).unwrap();
            forge.sign(&key, algorithm("HS256").unwrap(), &mut rand::rng()).unwrap().token()
        };
        let of = |keys: &str| {
            let text = format!("schema: 1\nname: a\ndialect: rs-only\nkeys: {{{keys}}}\noperations: {{}}\n");
            let profile = parse_profile(&Source::new("a.yaml", ".", text), None).unwrap();
            let target = Target::new(profile, "http://127.0.0.1:9", None, &[]).unwrap();
            Forger::of_refresh(&target, &refresh)
        };
        assert!(of(&format!("sign: {{secret: {access_key}}}, refresh: {{secret: {refresh_key}}}")).is_ok());
        let Err(Stop::Skip(SkipReason::NotApplicable(why))) = of(&format!("sign: {{secret: {access_key}}}")) else {
            panic!("another key signed it");
        };
        assert!(why.contains("`keys.refresh` names it"), "{why}");
    }
}

//! Which keys does the profile name? The bytes of files and secrets, as they are given.

use super::profile::{SigningKey, VerifyKey};
use super::server::{Target, TargetError};
use super::template::{Vars, environment};

/// Key bytes as the profile gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    /// The bytes of the file or secret.
    pub bytes: Vec<u8>,
    /// Whether it is an HMAC secret given as such (or a file named `*.secret`), not a file whose kind is to be found out.
    pub secret: bool,
}

/// Without the key.
impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyMaterial({} bytes)", self.bytes.len())
    }
}

/// Keys are read whole; the largest RSA key in use has about 12 KiB as PEM.
const MAX_KEY_BYTES: u64 = 1024 * 1024;

impl Target {
    /// The signing key or HMAC secret, where the profile has one.
    pub fn signing_key(&self) -> Result<Option<KeyMaterial>, TargetError> {
        self.material("keys.sign", self.profile.keys.sign.as_ref())
    }

    /// The key that signs refresh tokens, where the profile says that it is another one.
    pub fn refresh_key(&self) -> Result<Option<KeyMaterial>, TargetError> {
        self.material("keys.refresh", self.profile.keys.refresh.as_ref())
    }

    /// The key that the server decrypts tokens with, where the profile has one.
    pub fn decryption_key(&self) -> Result<Option<KeyMaterial>, TargetError> {
        self.material("keys.decrypt", self.profile.keys.decrypt.as_ref())
    }

    /// The bytes of a key that stands in the profile under this name.
    fn material(&self, name: &str, key: Option<&SigningKey>) -> Result<Option<KeyMaterial>, TargetError> {
        let secret = |bytes: Vec<u8>| Some(KeyMaterial { bytes, secret: true });
        let from_environment = |text: &str| {
            environment(text).map_err(|source| TargetError::Template { operation: name.to_owned(), source })
        };
        match key {
            None => Ok(None),
            Some(SigningKey::Secret(text)) => Ok(secret(from_environment(text)?.into_bytes())),
            Some(SigningKey::SecretBase64(text)) => {
                use base64::Engine as _;
                let text = from_environment(text)?.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
                let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).map_err(|why| {
                    TargetError::Key(format!("{name}.secret-base64: expected base64, saw something else: {why}"))
                })?;
                Ok(secret(bytes))
            }
            Some(SigningKey::File(path)) => {
                Ok(Some(KeyMaterial { bytes: self.key_file(path)?, secret: path.ends_with(".secret") }))
            }
        }
    }

    /// The public key from a file, where the profile has one.
    pub fn verify_key(&self) -> Result<Option<KeyMaterial>, TargetError> {
        match &self.profile.keys.verify {
            Some(VerifyKey::File(path)) => Ok(Some(KeyMaterial { bytes: self.key_file(path)?, secret: false })),
            _ => Ok(None),
        }
    }

    /// The path of the JWKS on the server, where the profile has one (the `keys` operation asks for it too).
    pub fn jwks_path(&self) -> Option<String> {
        match &self.profile.keys.verify {
            Some(VerifyKey::Jwks(path)) => self.path(&self.scope(&Vars::new()), path).ok(),
            _ => None,
        }
    }

    fn key_file(&self, path: &str) -> Result<Vec<u8>, TargetError> {
        let path = environment(path).map_err(|source| TargetError::Template { operation: "keys".into(), source })?;
        if let Some(name) = path.strip_prefix("builtin:") {
            return super::builtin::key(name)
                .map(<[u8]>::to_vec)
                .ok_or_else(|| TargetError::Key(format!("expected a key that comes with Assay, saw `{name}`")));
        }
        let path = self.profile.path(&path);
        let length = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        if length > MAX_KEY_BYTES {
            return Err(TargetError::Key(format!("{}: expected a key, saw a file of {length} bytes", path.display())));
        }
        std::fs::read(&path).map_err(|why| TargetError::Key(format!("{}: expected a key file: {why}", path.display())))
    }
}

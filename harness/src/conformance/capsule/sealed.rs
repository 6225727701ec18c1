//! How is a capsule written so that only its passphrase opens it, and nobody changes it unseen?
//!
//! Two lines of text. The first is a header in JSON, the second the content, encrypted with AES-256-GCM and written in
//! base64url. The whole header is authenticated with the content. The key comes from the passphrase by Argon2id with a
//! salt that is new at every writing, so that no key is used twice. How dear the derivation is belongs to the version:
//! a file must not be able to ask for more.

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use crate::jose::base64url;

/// The version of the format that is written, and the only one that is read.
const VERSION: u64 = 1;
/// The second choice of RFC 9106 section 4: 64 MiB, three passes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// Bytes of the salt.
const SALT: usize = 16;
/// Bytes of the nonce.
const NONCE: usize = 12;
/// Bytes of the key; as many again tell a wrong passphrase from a damaged file.
const KEY: usize = 32;

/// Why a text is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is no capsule, or a part of one: what is wrong.
    Damaged(String),
    /// A later version wrote it.
    Version(u64),
    /// Another passphrase sealed it.
    WrongKey,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Header {
    assay_capsule: u64,
    salt: String,
    check: String,
    nonce: String,
}

/// Encrypts a content. `random`: salt and nonce.
pub(super) fn seal(content: &[u8], passphrase: &str, random: [u8; SALT + NONCE]) -> Result<String, String> {
    let (salt, nonce) = random.split_at(SALT);
    let (cipher, check) = derived(passphrase, salt)?;
    let header = Header {
        assay_capsule: VERSION,
        salt: base64url::encode(salt),
        check: base64url::encode(check),
        nonce: base64url::encode(nonce),
    };
    let header = serde_json::to_string(&header).map_err(|e| e.to_string())?;
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| "a nonce of another length".to_owned())?;
    let payload = Payload { msg: content, aad: header.as_bytes() };
    let sealed = cipher.encrypt(&nonce.into(), payload).map_err(|e| e.to_string())?;
    Ok(format!("{header}\n{}\n", base64url::encode(sealed)))
}

/// Decrypts what [`seal`] wrote.
pub(super) fn unseal(text: &[u8], passphrase: &str) -> Result<Vec<u8>, Closed> {
    let damaged = |why: &str| Closed::Damaged(why.to_owned());
    let text = std::str::from_utf8(text).map_err(|_| damaged("it is no text"))?;
    let (line, rest) = text.split_once('\n').ok_or_else(|| damaged("it has no second line"))?;
    let version = serde_json::from_str::<serde_json::Value>(line).ok().and_then(|v| v.get("assay-capsule")?.as_u64());
    match version {
        Some(VERSION) => {}
        Some(other) => return Err(Closed::Version(other)),
        None => return Err(damaged("its first line is not that of a capsule")),
    }
    let header: Header = serde_json::from_str(line).map_err(|e| Closed::Damaged(format!("its first line: {e}")))?;
    let sealed = rest.strip_suffix('\n').ok_or_else(|| damaged("its end is missing"))?;
    let bytes = |name: &str, text: &str, length: Option<usize>| {
        let bytes = base64url::decode(text).filter(|b| length.is_none_or(|length| b.len() == length));
        bytes.ok_or_else(|| Closed::Damaged(format!("its {name} cannot be read")))
    };
    let salt = bytes("salt", &header.salt, Some(SALT))?;
    let nonce = bytes("nonce", &header.nonce, Some(NONCE))?;
    let sealed = bytes("second line", sealed, None)?;
    let (cipher, check) = derived(passphrase, &salt).map_err(Closed::Damaged)?;
    // Not secret: whoever has the file can try passphrases on the content as well.
    if base64url::encode(check) != header.check {
        return Err(Closed::WrongKey);
    }
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| damaged("its nonce cannot be read"))?;
    let payload = Payload { msg: &sealed, aad: line.as_bytes() };
    cipher.decrypt(&nonce.into(), payload).map_err(|_| damaged("it was changed after it was written"))
}

/// The cipher of a passphrase and a salt, and what shows that the passphrase is the right one.
fn derived(passphrase: &str, salt: &[u8]) -> Result<(Aes256Gcm, [u8; KEY]), String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(2 * KEY)).map_err(|e| e.to_string())?;
    let mut out = [0; 2 * KEY];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut out)
        .map_err(|e| format!("the key cannot be derived: {e}"))?;
    let (key, check) = out.split_at(KEY);
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|e| e.to_string())?;
    let check = check.try_into().map_err(|_| "a key of another length".to_owned())?;
    Ok((cipher, check))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery staple";

    fn sealed() -> String {
        seal(b"tokens", PASSPHRASE, [7; SALT + NONCE]).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_passphrase_alone() {
        let text = sealed();
        assert!(!text.contains("tokens"), "{text}");
        assert_eq!(unseal(text.as_bytes(), PASSPHRASE).unwrap(), b"tokens");
        assert_eq!(unseal(text.as_bytes(), "another passphrase"), Err(Closed::WrongKey));
    }

    #[test]
    fn a_file_that_was_cut_off_or_changed_anywhere_is_told_as_damaged() {
        let text = sealed();
        let header = text.find('\n').unwrap();
        for end in [0, 10, header, header + 1, text.len() - 5, text.len() - 1] {
            let cut = unseal(&text.as_bytes()[..end], PASSPHRASE);
            assert!(matches!(cut, Err(Closed::Damaged(_))), "{end}: {cut:?}");
        }
        for at in [header + 1, header + 9, text.len() - 3] {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(matches!(unseal(&changed, PASSPHRASE), Err(Closed::Damaged(_))), "{at}");
        }
        // A space in the header changes no member: the header is authenticated as it stands.
        let spaced = text.replacen(",\"salt\"", ", \"salt\"", 1);
        assert!(matches!(unseal(spaced.as_bytes(), PASSPHRASE), Err(Closed::Damaged(_))));
        let grown = format!("{text}\n");
        assert!(matches!(unseal(grown.as_bytes(), PASSPHRASE), Err(Closed::Damaged(_))));
    }

    #[test]
    fn a_version_of_the_future_is_told_as_one() {
        let future = sealed().replacen(":1,", ":2,", 1);
        assert_eq!(unseal(future.as_bytes(), PASSPHRASE), Err(Closed::Version(2)));
        assert!(matches!(unseal(b"{\"schema_version\": 1}\n\n", PASSPHRASE), Err(Closed::Damaged(_))));
    }
}

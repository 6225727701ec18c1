//! How are passwords kept and compared? Argon2id, in memory that is used again, or as they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::{Argon2, Block, Params};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;

/// How passwords are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// Argon2id with 19 MiB and two passes (OWASP's recommendation).
    Argon2id,
    /// As they are, compared in constant time: for measuring everything but the hash.
    None,
}

const SALT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = Params::DEFAULT_OUTPUT_LEN;

/// A password as it is kept.
#[derive(Clone)]
pub(crate) enum Kept {
    /// The parameters are the same for all, so salt and output are enough; `text` is the whole in PHC form.
    Argon2id {
        salt: [u8; SALT_BYTES],
        output: [u8; OUTPUT_BYTES],
        text: Arc<str>,
    },
    Plain(Arc<str>),
}

impl Kept {
    /// The text that is kept, which no one should see.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Argon2id { text, .. } | Self::Plain(text) => text,
        }
    }
}

/// Keeps and compares passwords.
///
/// A hash wants 19 MiB for some 20 ms. Taken from the allocator and given back each time, they stay in the heap of
/// whichever thread it was, several times over; so what one hash has used the next one gets. There are as many
/// pieces as hashes ever ran at once, which the caller bounds.
pub(crate) struct Passwords {
    hash: Hash,
    argon2: Argon2<'static>,
    idle: Mutex<Vec<Vec<Block>>>,
}

impl Passwords {
    pub(crate) fn new(hash: Hash) -> Self {
        Self { hash, argon2: Argon2::default(), idle: Mutex::default() }
    }

    /// True where comparing is slow on purpose.
    pub(crate) fn costly(&self) -> bool {
        self.hash == Hash::Argon2id
    }

    /// The password as it is to be kept.
    pub(crate) fn keep(&self, password: &str) -> Result<Kept, String> {
        Ok(match self.hash {
            Hash::None => Kept::Plain(password.into()),
            Hash::Argon2id => {
                let salt: [u8; SALT_BYTES] = rand::random();
                let output = self.hashed(password, &salt).map_err(|error| error.to_string())?;
                let params = self.argon2.params();
                let text = format!(
                    "$argon2id$v=19$m={},t={},p={}${}${}",
                    params.m_cost(),
                    params.t_cost(),
                    params.p_cost(),
                    STANDARD_NO_PAD.encode(salt),
                    STANDARD_NO_PAD.encode(output)
                );
                Kept::Argon2id { salt, output, text: text.into() }
            }
        })
    }

    /// True where this is the password that was kept.
    pub(crate) fn matches(&self, kept: &Kept, password: &str) -> bool {
        match kept {
            Kept::Argon2id { salt, output, .. } => {
                self.hashed(password, salt).is_ok_and(|seen| seen.ct_eq(output).into())
            }
            Kept::Plain(plain) => plain.as_bytes().ct_eq(password.as_bytes()).into(),
        }
    }

    fn hashed(&self, password: &str, salt: &[u8]) -> Result<[u8; OUTPUT_BYTES], argon2::Error> {
        let taken = self.idle().pop();
        let mut memory = taken.unwrap_or_else(|| vec![Block::new(); self.argon2.params().block_count()]);
        let mut output = [0; OUTPUT_BYTES];
        let hashed =
            self.argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut output, &mut memory[..]);
        self.idle().push(memory);
        hashed.map(|()| output)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Vec<Block>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn what_is_kept_is_what_the_library_reads_and_would_write() {
        let passwords = Passwords::new(Hash::Argon2id);
        let kept = passwords.keep("correct-horse-9").expect("kept");
        assert!(Argon2::default().verify_password(b"correct-horse-9", kept.text()).is_ok(), "{}", kept.text());
        assert!(Argon2::default().verify_password(b"correct-horse-8", kept.text()).is_err());
        let Kept::Argon2id { salt, text, .. } = &kept else { panic!("argon2id was asked for") };
        let written = Argon2::default().hash_password_with_salt(b"correct-horse-9", salt).expect("hashed");
        assert_eq!(written.to_string(), **text);
    }

    #[test]
    fn only_the_password_itself_matches_and_memory_is_used_again() {
        for hash in [Hash::Argon2id, Hash::None] {
            let passwords = Passwords::new(hash);
            let kept = passwords.keep("correct-horse-9").expect("kept");
            assert!(passwords.matches(&kept, "correct-horse-9"));
            assert!(!passwords.matches(&kept, "Correct-horse-9"));
            assert!(!passwords.matches(&kept, ""));
            assert!(passwords.matches(&kept, "correct-horse-9"), "after others had the memory");
            assert_eq!(passwords.idle().len(), usize::from(hash == Hash::Argon2id), "pieces of memory for one caller");
        }
    }
}

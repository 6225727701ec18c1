//! What is kept from one run to the next, so that the end of tokens is seen that outlive a run? A time capsule.
//!
//! Where tokens live for days and cannot be forged, nothing about their end can be observed in one run. A run puts a few
//! genuine tokens into a file, encrypted; a later one shows those whose time is over. [`Capsule`] is that file, opened.
//! `look` shows what lies in it at the begin of an examination, before anything is changed, and `fill` puts new tokens in
//! at its end. What was seen is told by the checks that the tokens are for.

mod content;
mod fill;
mod look;
mod sealed;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::target::Profile;

use content::Content;
use sealed::Closed;

pub use content::{Kept, Kind, Memory, Shelf, State};
pub(super) use fill::{claimed_end, fill};
pub(super) use look::{Basis, Opened, Shown, look};

/// The variable of the environment that holds the passphrase.
pub const KEY_VARIABLE: &str = "ASSAY_CAPSULE_KEY";
/// A shorter passphrase is refused: whoever has the file may try as many as they like.
const SHORTEST_PASSPHRASE: usize = 12;
/// A larger file is none that this program wrote.
const LARGEST: u64 = 8 << 20;

/// Why a capsule cannot be used: a mistake of the user's, before anything was sent.
#[derive(Debug, thiserror::Error)]
#[error("capsule {}: {why}", path.display())]
pub struct CapsuleError {
    /// The file.
    pub path: PathBuf,
    /// Expected, seen, hint.
    pub why: String,
}

/// What became of writing a capsule.
#[derive(Debug)]
pub enum Written {
    /// It is on the disk.
    Done,
    /// Another run has written the file meanwhile: its tokens stay, ours were not put in.
    Overtaken,
}

/// A capsule that has been opened.
pub struct Capsule {
    path: PathBuf,
    passphrase: String,
    /// The file as it was read; none where it is not there yet.
    origin: Option<Vec<u8>>,
    content: Content,
}

/// Without passphrase and content.
impl std::fmt::Debug for Capsule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capsule").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Capsule {
    /// Opens a capsule, or begins one where the file is not there.
    ///
    /// # Errors
    /// No passphrase, another one than the file was sealed with, a file that is no capsule or was changed, or the capsule
    /// of another profile.
    pub fn open(path: &Path, passphrase: Option<&str>, profile: &Profile) -> Result<Capsule, CapsuleError> {
        // Through a link, so that writing replaces the file and not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let fail = |why: String| CapsuleError { path: path.clone(), why };
        let passphrase = match passphrase {
            Some(text) if text.len() >= SHORTEST_PASSPHRASE => text.to_owned(),
            Some(_) => {
                return Err(fail(format!(
                    "expected a passphrase of {SHORTEST_PASSPHRASE} characters or more in {KEY_VARIABLE}; hint: `openssl rand -base64 24` makes one"
                )));
            }
            None => {
                return Err(fail(format!(
                    "expected its passphrase in the variable {KEY_VARIABLE}, which is not set; hint: keep it as a secret of your CI"
                )));
            }
        };
        let origin = read(&path).map_err(|why| fail(format!("expected a file that can be read: {why}")))?;
        let own = Content { profile: profile.name.clone(), variant: profile.variant.clone(), shelves: Vec::new() };
        // Told before a run and not behind it.
        let folder = folder(&path);
        tempfile::tempfile_in(&folder)
            .map_err(|why| fail(format!("expected the folder {} to take a file: {why}", folder.display())))?;
        let Some(bytes) = &origin else {
            return Ok(Capsule { path, passphrase, origin, content: own });
        };
        let damaged = |why: &str| {
            format!(
                "expected a capsule of Assay, saw one that is damaged: {why}; hint: it is left as it is; name another file, or move it away"
            )
        };
        let content = sealed::unseal(bytes, &passphrase).map_err(|closed| {
            fail(match closed {
                Closed::Damaged(why) => damaged(&why),
                Closed::Version(version) => {
                    format!("expected version 1 of the format, saw {version}; hint: a later Assay wrote it")
                }
                Closed::WrongKey => format!(
                    "the passphrase in {KEY_VARIABLE} is not the one that it was sealed with; hint: name another file to begin anew"
                ),
            })
        })?;
        let content: Content = serde_json::from_slice(&content).map_err(|e| fail(damaged(&e.to_string())))?;
        if (&content.profile, &content.variant) != (&own.profile, &own.variant) {
            let named = |c: &Content| match &c.variant {
                Some(variant) => format!("`{}` (variant `{variant}`)", c.profile),
                None => format!("`{}`", c.profile),
            };
            return Err(fail(format!(
                "expected a capsule of the profile {}, saw one of {}; hint: each target has a capsule of its own",
                named(&own),
                named(&content)
            )));
        }
        Ok(Capsule { path, passphrase, origin, content })
    }

    /// The tokens of a deployment, to be handed to its examination.
    ///
    /// # Errors
    /// It holds those of another address: tokens are shown to nobody but who issued them.
    pub fn shelf(&self, topology: &str, address: Option<&str>) -> Result<Shelf, CapsuleError> {
        let Some(shelf) = self.content.shelves.iter().find(|shelf| shelf.topology == topology) else {
            return Ok(Shelf::new(topology, address));
        };
        if shelf.address.as_deref() != address {
            let place = |address: Option<&str>| address.unwrap_or("a server that Assay starts").to_owned();
            let why = format!(
                "expected tokens of {} for `{topology}`, saw those of {}; hint: each target has a capsule of its own",
                place(address),
                place(shelf.address.as_deref())
            );
            return Err(CapsuleError { path: self.path.clone(), why });
        }
        Ok(shelf.clone())
    }

    /// Takes the tokens of a deployment back from its examination.
    pub fn put_back(&mut self, shelf: Shelf) {
        self.content.put_back(shelf);
    }

    /// Writes the file: the old one or the new one is there whatever happens, readable for its owner alone.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&mut self) -> io::Result<Written> {
        if read(&self.path)? != self.origin {
            return Ok(Written::Overtaken);
        }
        let content = serde_json::to_vec(&self.content)?;
        let text = sealed::seal(&content, &self.passphrase, rand::random()).map_err(io::Error::other)?;
        let folder = folder(&self.path);
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        File::open(&folder)?.sync_all()?;
        self.origin = Some(text.into_bytes());
        Ok(Written::Done)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file whole; none where it is not there.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other(format!("it has more than {} MiB", LARGEST >> 20))),
        false => Ok(Some(bytes)),
    }
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Source;
    use crate::target::parse_profile;

    const PASSPHRASE: &str = "correct horse battery staple";
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    fn profile(name: &str) -> Profile {
        let text = format!("schema: 1\nname: {name}\ndialect: rs-only\noperations: {{}}\n");
        parse_profile(&Source::new("p.yaml", ".", text), None).unwrap()
    }

    fn opened(path: &Path) -> Result<Capsule, CapsuleError> {
        Capsule::open(path, Some(PASSPHRASE), &profile("mine"))
    }

    /// A capsule with one token, as a first run leaves it.
    fn written(path: &Path) -> Capsule {
        let mut capsule = opened(path).unwrap();
        let mut shelf = capsule.shelf("target", Some("http://127.0.0.1:8000")).unwrap();
        shelf.tokens.push(Kept { exp: Some(2e9), ..Kept::new(Kind::Access, TOKEN, 1.0, 1.0) });
        capsule.put_back(shelf);
        assert!(matches!(capsule.save().unwrap(), Written::Done));
        capsule
    }

    #[track_caller]
    fn refused(result: Result<Capsule, CapsuleError>, says: &str) {
        let told = result.map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(says) && told.contains("capsule "), "{told}");
    }

    #[test]
    fn what_one_run_puts_in_the_next_one_finds_and_nobody_else_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nightly.capsule");
        written(&path);
        let bytes = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("c2lnbmF0dXJl"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = opened(&path).unwrap();
        let shelf = again.shelf("target", Some("http://127.0.0.1:8000")).unwrap();
        assert_eq!((shelf.tokens.len(), shelf.tokens[0].token.as_str()), (1, TOKEN));
        assert!(!format!("{again:?}{shelf:?}").contains(TOKEN));
        // Only the file itself is left in the folder.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_passphrase_that_is_missing_short_or_another_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        written(&path);
        refused(Capsule::open(&path, None, &profile("mine")), "ASSAY_CAPSULE_KEY, which is not set");
        refused(Capsule::open(&path, Some("short"), &profile("mine")), "12 characters or more");
        refused(Capsule::open(&path, Some("wrong horse battery staple"), &profile("mine")), "is not the one");
    }

    #[test]
    fn a_damaged_file_is_told_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        written(&path);
        let whole = fs::read(&path).unwrap();
        for length in [0, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            refused(opened(&path), "damaged");
            assert_eq!(fs::read(&path).unwrap(), &whole[..length]);
        }
        fs::write(&path, vec![b'x'; LARGEST as usize + 1]).unwrap();
        refused(opened(&path), "more than 8 MiB");
        refused(opened(folder.path()), "it is no file");
        refused(opened(&folder.path().join("none/c")), "to take a file");
    }

    #[test]
    fn tokens_of_another_profile_or_another_address_are_not_shown_to_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let capsule = written(&path);
        refused(Capsule::open(&path, Some(PASSPHRASE), &profile("other")), "one of `mine`");
        let told = capsule.shelf("target", Some("http://127.0.0.1:9000")).unwrap_err().to_string();
        assert!(told.contains("tokens of http://127.0.0.1:9000") && told.contains("those of http://127.0.0.1:8000"));
        assert!(capsule.shelf("target", None).unwrap_err().to_string().contains("a server that Assay starts"));
        assert!(capsule.shelf("behind-nginx", None).unwrap().tokens.is_empty());
    }

    #[test]
    fn of_two_runs_at_once_the_later_one_does_not_take_away_what_the_other_has_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let mut first = written(&path);
        let mut second = opened(&path).unwrap();
        assert!(matches!(second.save().unwrap(), Written::Done));
        let bytes = fs::read(&path).unwrap();
        assert!(matches!(first.save().unwrap(), Written::Overtaken));
        assert_eq!(fs::read(&path).unwrap(), bytes);
        // A file that vanished meanwhile is not made anew from what was in it.
        fs::remove_file(&path).unwrap();
        assert!(matches!(second.save().unwrap(), Written::Overtaken) && !path.exists());
    }

    #[test]
    fn a_link_to_a_capsule_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("c"), folder.path().join("l"));
        written(&path);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        opened(&link).unwrap().save().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(opened(&path).is_ok());
    }
}

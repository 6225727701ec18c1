//! Which store is meant, and how is its address kept out of every message? `memory`, `redb:FILE`, or the URL of a server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What may be written where a store is asked for.
const FORMS: &str = "`memory`, `redb:FILE`, `postgres://..`, `redis://..`, `env:NAME` or `file:PATH`";

/// Largest file that holds a store's address, in bytes.
const FILE_BYTES: u64 = 16 * 1024;

/// The URL of a store's server. It may hold a password, so that only [`StoreUrl::reveal`] gives it whole.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// The URL with its password, for the client library alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Scheme, host, port and database: without user, password and parameters.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        // The last `@`: a password that was not escaped may hold one, or a `?`, or a `/`.
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{place}")
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where used and revoked tokens are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreConfig {
    /// In the process: fast, and gone with it.
    #[default]
    Memory,
    /// In this file, which survives the process; one process at a time.
    File(PathBuf),
    /// In PostgreSQL, for any number of processes; needs the feature `postgres`.
    Postgres(StoreUrl),
    /// In Redis, for any number of processes; needs the feature `redis`.
    Redis(StoreUrl),
}

impl FromStr for StoreConfig {
    type Err = String;
    /// Reads `memory`, `redb:FILE`, `postgres://..`, `redis://..`, or what stands in `env:NAME` or `file:PATH`. Errors repeat nothing that
    /// could hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let text = std::env::var(name)
                .map_err(|_| format!("expected the variable {name} in the environment, saw none"))?;
            return plain(text.trim()).map_err(|why| format!("the variable {name}: {why}"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            let text = read(Path::new(path)).map_err(|why| format!("{path}: {why}"))?;
            return plain(text.trim()).map_err(|why| format!("{path}: {why}"));
        }
        plain(text)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES {
        return Err(format!("expected at most {FILE_BYTES} bytes, saw {length}"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn plain(text: &str) -> Result<StoreConfig, String> {
    let (scheme, rest) = match text.split_once(':') {
        None if text == "memory" => return Ok(StoreConfig::Memory),
        None if is_word(text) => return Err(format!("expected {FORMS}, saw `{text}`")),
        None => return Err(format!("expected {FORMS}, saw something else")),
        Some(parts) => parts,
    };
    let url = || StoreUrl(text.to_owned());
    match scheme {
        "redb" if !rest.is_empty() => Ok(StoreConfig::File(rest.into())),
        "postgres" | "postgresql" if rest.starts_with("//") => {
            built("postgres", cfg!(feature = "postgres")).map(|()| StoreConfig::Postgres(url()))
        }
        "redis" | "redis+unix" if rest.starts_with("//") => {
            built("redis", cfg!(feature = "redis")).map(|()| StoreConfig::Redis(url()))
        }
        "rediss" => {
            Err("expected `redis://`, saw `rediss://`\nhint: TLS to a store is not built in; reach it over loopback, \
                         a Unix socket or a tunnel"
                .to_owned())
        }
        other if is_word(other) => Err(format!("expected {FORMS}, saw `{other}:..`")),
        _ => Err(format!("expected {FORMS}, saw something else")),
    }
}

/// A short word of letters and digits, which may be repeated in a message: settings of another form may hold a password.
fn is_word(text: &str) -> bool {
    text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_".contains(&byte))
}

fn built(feature: &str, it_is: bool) -> Result<(), String> {
    if it_is {
        return Ok(());
    }
    Err(format!("this program was built without the store `{feature}`\nhint: build it with `--features {feature}`"))
}

/// A store as an argument gives it, read later: an argument that cannot be read would be shown whole.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreArgument(String);

impl StoreArgument {
    /// What it means.
    pub fn read(&self) -> Result<StoreConfig, String> {
        self.0.parse()
    }
}

impl FromStr for StoreArgument {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for StoreArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_neither_user_nor_password_nor_parameters() {
        for (url, shown) in [
            ("postgres://ann:s3cret@db.example:5432/tokens?sslmode=disable", "postgres://db.example:5432/tokens"),
            ("postgres://ann:s3c@r?e/t@db/tokens", "postgres://db/tokens"),
            ("postgres:///tokens?host=/run/pg&user=ann&password=s3cret", "postgres:///tokens"),
            ("redis://:s3cret@[::1]:6379/2", "redis://[::1]:6379/2"),
            ("redis+unix:///run/redis.sock?pass=s3cret", "redis+unix:///run/redis.sock"),
        ] {
            let url = StoreUrl(url.to_owned());
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?} {:?}", StoreConfig::Redis(url.clone())).contains("s3c"), "{url:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_repeating_a_password() {
        for (text, part) in [
            ("floppy", "saw `floppy`"),
            ("redb:", "saw `redb:..`"),
            ("mysql://ann:s3cret@db/tokens", "saw `mysql:..`"),
            ("rediss://ann:s3cret@db", "TLS"),
            ("ann@s3cret", "saw something else"),
            ("host=db user=ann password=s3cret", "saw something else"),
            ("host=db password=s3cret options=a:b", "saw something else"),
            ("env:NO_SUCH_VARIABLE_HERE", "NO_SUCH_VARIABLE_HERE"),
            ("file:/no/such/file", "/no/such/file"),
        ] {
            let why = text.parse::<StoreConfig>().unwrap_err();
            assert!(why.contains(part) && !why.contains("s3cret"), "{text}: {why}");
        }
    }

    #[test]
    fn a_file_may_hold_the_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        std::fs::write(&path, "redb:/tmp/tokens\n").unwrap();
        let read = format!("file:{}", path.display()).parse::<StoreConfig>();
        assert_eq!(read, Ok(StoreConfig::File("/tmp/tokens".into())));
        // One file does not lead to another.
        std::fs::write(&path, "file:/tmp/tokens").unwrap();
        assert!(format!("file:{}", path.display()).parse::<StoreConfig>().is_err());
    }

    #[test]
    fn a_store_that_was_not_built_in_is_named_with_its_feature() {
        for (feature, is_built, url) in [
            ("postgres", cfg!(feature = "postgres"), "postgres://ann:s3cret@db/tokens"),
            ("redis", cfg!(feature = "redis"), "redis://ann:s3cret@db/1"),
        ] {
            let read = url.parse::<StoreConfig>();
            assert_eq!(read.is_ok(), is_built, "{read:?}");
            let why = built(feature, false).unwrap_err();
            assert!(why.contains(&format!("--features {feature}")), "{why}");
        }
    }
}

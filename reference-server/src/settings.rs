//! What does the configuration file say? One YAML document, every member optional; what is wrong is shown with line and column.

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::client::ClientConfig;
use crate::config::{Config, KeyConfig, duration};
use crate::password::Hash;
use crate::sealing::Encryption;
use crate::state::StartError;
use crate::users::UserConfig;

/// Largest configuration file, in bytes; ten thousand users fit.
const FILE_BYTES: u64 = 2 << 20;

/// One key: its text is in a file, or in a variable of the environment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    kid: Option<String>,
    /// A path, from the folder of the configuration file.
    #[serde(default)]
    file: Option<PathBuf>,
    /// The name of a variable.
    #[serde(default)]
    env: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EncryptionEntry {
    alg: Encryption,
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    env: Option<String>,
}

/// The file; the meaning of each member is that of the same member of [`Config`].
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    algorithm: Option<String>,
    keys: Option<Vec<KeyEntry>>,
    encryption: Option<EncryptionEntry>,
    hash: Option<Hash>,
    users: Option<Vec<UserConfig>>,
    clients: Option<Vec<ClientConfig>>,
    access_lifetime: Option<String>,
    refresh_lifetime: Option<String>,
    absolute_lifetime: Option<String>,
    rotate: Option<bool>,
    grace: Option<String>,
    leeway: Option<String>,
    issuer: Option<String>,
    audience: Option<Vec<String>>,
    rfc9068: Option<bool>,
    claims: Option<serde_json::Map<String, serde_json::Value>>,
    store: Option<String>,
    login_limit: Option<u32>,
    rate_limit: Option<u32>,
    body_limit: Option<usize>,
    hash_queue: Option<usize>,
    tls: Option<Tls>,
    log: Option<bool>,
    server_timing: Option<bool>,
    request_metrics: Option<bool>,
}

fn wrong(path: &Path, what: &str) -> StartError {
    StartError::Config(format!("{}: {what}", path.display()))
}

/// Reads the file over `config`.
pub(crate) fn read(path: &Path, config: &mut Config) -> Result<(), StartError> {
    let io = |error: std::io::Error| wrong(path, &format!("expected a YAML file that can be read: {error}"));
    let length = std::fs::metadata(path).map_err(io)?.len();
    if length > FILE_BYTES {
        return Err(wrong(path, &format!("expected at most {FILE_BYTES} bytes, saw {length}")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let options = serde_yaml::options! {
        // Its neighbours may be passwords: `told` shows the line alone.
        with_snippet: false,
        strict_booleans: true,
        budget: serde_yaml::budget! { max_anchors: 0, max_depth: 16, max_documents: 1 },
    };
    let file: File =
        serde_yaml::from_str_with_options(&text, options).map_err(|error| wrong(path, &told(&error, &text)))?;
    apply(file, path, config)
}

/// The value of `env:NAME`, the first line of `file:PATH` (from the folder of the configuration file), or the text itself.
fn secret(text: &str, folder: &Path) -> Result<String, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return std::env::var(name).map_err(|_| format!("expected the variable {name} in the environment, saw none"));
    }
    if let Some(name) = text.strip_prefix("file:") {
        let at = folder.join(name);
        let text = std::fs::read_to_string(&at).map_err(|error| format!("{}: {error}", at.display()))?;
        return match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(line.to_owned()),
            _ => Err(format!("{}: expected a secret on the first line, saw none", at.display())),
        };
    }
    Ok(text.to_owned())
}

/// What is wrong, with the line that it is about; where that line or the one before it names a secret, neither line nor value.
fn told(error: &serde_yaml::Error, text: &str) -> String {
    let Some(location) = error.location() else { return error.to_string() };
    let (line, column) = (location.line() as usize, location.column() as usize);
    let nth = |line: usize| line.checked_sub(1).and_then(|line| text.lines().nth(line)).unwrap_or_default();
    let secret = |line: &str| ["password", "secret"].iter().any(|name| line.to_ascii_lowercase().contains(name));
    if secret(nth(line))
        || (nth(line.saturating_sub(1)).trim_end().ends_with(':') && secret(nth(line.saturating_sub(1))))
    {
        return format!(
            "line {line} column {column}: expected something else beside a secret, which is not shown here"
        );
    }
    let blank = " ".repeat(column.saturating_sub(1));
    format!("{error}\n  |\n{line} | {}\n  | {blank}^", nth(line))
}

fn apply(file: File, path: &Path, config: &mut Config) -> Result<(), StartError> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let bad = |what: String| wrong(path, &what);
    let source = |file: Option<&PathBuf>, env: Option<&String>| match (file, env) {
        (Some(name), None) => {
            let at = folder.join(name);
            std::fs::read_to_string(&at).map_err(|error| format!("{}: {error}", at.display()))
        }
        (None, Some(name)) => secret(&format!("env:{name}"), folder),
        _ => Err("expected exactly one of `file` and `env` for a key".to_owned()),
    };
    let algorithm = |name: &str| {
        Algorithm::named(name).ok_or_else(|| {
            let known: Vec<_> = Algorithm::all().iter().map(|row| row.name).collect();
            format!("expected an algorithm ({}), saw `{name}`", known.join(", "))
        })
    };
    if let Some(name) = &file.algorithm {
        config.algorithm = algorithm(name).map_err(bad)?;
    }
    for key in file.keys.iter().flatten() {
        config.keys.push(KeyConfig {
            algorithm: match &key.alg {
                Some(name) => algorithm(name).map_err(bad)?,
                None => config.algorithm,
            },
            kid: key.kid.clone(),
            text: source(key.file.as_ref(), key.env.as_ref()).map_err(bad)?.into(),
        });
    }
    if let Some(entry) = &file.encryption {
        config.encryption = Some(entry.alg);
        if entry.file.is_some() || entry.env.is_some() {
            config.encryption_key = Some(source(entry.file.as_ref(), entry.env.as_ref()).map_err(bad)?.into());
        }
    }
    if let Some(mut users) = file.users {
        for user in &mut users {
            user.password = secret(user.password.expose_secret(), folder).map_err(bad)?.into();
        }
        config.users = users;
    }
    if let Some(mut clients) = file.clients {
        for client in &mut clients {
            let given = client.secret.as_ref().map(|text| secret(text.expose_secret(), folder));
            client.secret = given.transpose().map_err(bad)?.map(Into::into);
        }
        config.clients = clients;
    }
    for (name, text, place) in [
        ("access-lifetime", file.access_lifetime, &mut config.access_lifetime),
        ("refresh-lifetime", file.refresh_lifetime, &mut config.refresh_lifetime),
        ("absolute-lifetime", file.absolute_lifetime, &mut config.absolute_lifetime),
        ("grace", file.grace, &mut config.grace),
        ("leeway", file.leeway, &mut config.leeway),
    ] {
        if let Some(text) = text {
            *place = duration(&text).map_err(|why| bad(format!("{name}: {why}")))?;
        }
    }
    if let Some(store) = &file.store {
        config.store = store.parse().map_err(|why| bad(format!("store: {why}")))?;
    }
    if let Some(tls) = &file.tls {
        config.tls = Some((folder.join(&tls.certificate), folder.join(&tls.key)));
    }
    config.hash = file.hash.unwrap_or(config.hash);
    config.rotate = file.rotate.unwrap_or(config.rotate);
    config.issuer = file.issuer.or(config.issuer.take());
    config.audience = file.audience.unwrap_or_else(|| std::mem::take(&mut config.audience));
    config.rfc9068 = file.rfc9068.unwrap_or(config.rfc9068);
    config.claims = file.claims.unwrap_or_else(|| std::mem::take(&mut config.claims));
    config.login_limit = file.login_limit.or(config.login_limit);
    config.rate_limit = file.rate_limit.or(config.rate_limit);
    config.body_limit = file.body_limit.unwrap_or(config.body_limit);
    config.hash_queue = file.hash_queue.unwrap_or(config.hash_queue);
    config.log = file.log.unwrap_or(config.log);
    config.server_timing = file.server_timing.unwrap_or(config.server_timing);
    config.request_metrics = file.request_metrics.unwrap_or(config.request_metrics);
    Ok(())
}

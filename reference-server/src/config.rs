//! What can be configured? One YAML file or flags; everything has a default.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::algorithm::Algorithm;
use crate::client::ClientConfig;
use crate::flaws::FlawSet;
use crate::password::Hash;
use crate::sealing::Encryption;
use crate::store::StoreConfig;
use crate::users::UserConfig;

/// The password of the development users.
pub const DEVELOPMENT_PASSWORD: &str = "correct-horse-9";

/// A key as the configuration gives it.
#[derive(Debug, Clone)]
pub struct KeyConfig {
    /// What it signs and verifies.
    pub algorithm: &'static Algorithm,
    /// Its name in headers and in the key set; where none is given its thumbprint (RFC 7638), or a secret's algorithm.
    pub kid: Option<String>,
    /// PKCS#8 or a public key in PEM, a JWK, or an HMAC secret as it is.
    pub text: SecretString,
}

/// The server's configuration; `Config::default()` runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// What tokens are signed with.
    pub algorithm: &'static Algorithm,
    /// The keys, of which the first signs and the others only verify; the published development key where none is given.
    pub keys: Vec<KeyConfig>,
    /// Access and refresh tokens are encrypted, the signed token inside, in this way.
    pub encryption: Option<Encryption>,
    /// The key to encrypt to, as the text of a [`KeyConfig`]; the published development key where none is given.
    pub encryption_key: Option<SecretString>,
    /// The deliberate faults.
    pub flaws: FlawSet,
    /// How passwords are kept.
    pub hash: Hash,
    /// Who may log in; `alice` and `bob` by default.
    pub users: Vec<UserConfig>,
    /// The OAuth clients; two confidential ones and a public one by default.
    pub clients: Vec<ClientConfig>,
    /// The address that the server is reached at, as `http://127.0.0.1:8080`: the issuer of the OAuth dialect where none is configured.
    pub address: String,
    /// How long an access token lives; whole seconds.
    pub access_lifetime: Duration,
    /// How long a refresh token lives; whole seconds.
    pub refresh_lifetime: Duration,
    /// The end of a session counted from its login, however often it is refreshed.
    pub absolute_lifetime: Duration,
    /// Where used and revoked tokens are kept.
    pub store: StoreConfig,
    /// A refresh gives a new refresh token and uses the old one up.
    pub rotate: bool,
    /// How long a used refresh token may come again and gets the same successor.
    pub grace: Duration,
    /// How long past `exp` a token still passes.
    pub leeway: Duration,
    /// The `iss` of tokens, asked for where it is set.
    pub issuer: Option<String>,
    /// The `aud` of tokens, asked for where it is set.
    pub audience: Vec<String>,
    /// Access tokens in the shape of RFC 9068.
    pub rfc9068: bool,
    /// How many failed logins a name may have in a minute; no limit where it is absent.
    pub login_limit: Option<u32>,
    /// How many logins, refreshes and other token requests one user or client may make in a second; no limit where it is absent.
    pub rate_limit: Option<u32>,
    /// Claims that every access token carries beside the registered ones. `${user}`, `${user_id}` and `${client}` in a text are filled in.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Certificate chain and private key in PEM: TLS 1.2 and 1.3, with HTTP/2.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A line of JSON per request on stderr, without anything that could hold a token.
    pub log: bool,
    /// Every answer says how long it took (`Server-Timing`).
    pub server_timing: bool,
    /// `/metrics` tells how long requests took, by route, method and status.
    pub request_metrics: bool,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// How many passwords may wait for a hashing worker.
    pub hash_queue: usize,
}

/// The users of the development configuration.
pub fn development_users() -> Vec<UserConfig> {
    ["alice", "bob"]
        .map(|name| UserConfig { name: name.to_owned(), password: DEVELOPMENT_PASSWORD.into(), scope: None })
        .into()
}

/// The clients of the development configuration.
pub fn development_clients() -> Vec<ClientConfig> {
    [("assay", Some("assay-secret")), ("assay-two", Some("assay-two-secret")), ("assay-public", None)]
        .map(|(id, secret)| ClientConfig { id: id.to_owned(), secret: secret.map(Into::into), scope: None })
        .into()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            algorithm: &Algorithm::all()[0],
            keys: Vec::new(),
            encryption: None,
            encryption_key: None,
            flaws: FlawSet::default(),
            hash: Hash::Argon2id,
            users: development_users(),
            clients: development_clients(),
            address: "http://127.0.0.1:8080".to_owned(),
            access_lifetime: Duration::from_secs(5 * 60),
            refresh_lifetime: Duration::from_secs(24 * 3600),
            absolute_lifetime: Duration::from_secs(30 * 24 * 3600),
            store: StoreConfig::Memory,
            rotate: true,
            grace: Duration::ZERO,
            leeway: Duration::ZERO,
            issuer: None,
            audience: Vec::new(),
            rfc9068: false,
            login_limit: None,
            rate_limit: None,
            claims: serde_json::Map::new(),
            tls: None,
            log: false,
            server_timing: false,
            request_metrics: false,
            body_limit: 64 * 1024,
            hash_queue: 256,
        }
    }
}

/// Reads `300`, `300s`, `5m`, `24h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 300, 90s, 5m, 24h or 30d, saw `{text}`");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(factor)
        .filter(|seconds| *seconds <= 100 * 365 * 86_400)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

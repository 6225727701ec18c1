//! How does one speak to this token server? The profile's YAML as plain types; all enums are externally tagged, since only those keep positions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::secrets::Asked;
use crate::record::Verdict;
use crate::scenario::ProcessStart;
use crate::units::Span;

/// A profile file: data that says how to speak to one token server, what it provides and which deviations are known.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Editors only.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub json_schema: Option<String>,
    /// Version of this format: 1.
    pub schema: u32,
    /// Names the profile in reports.
    pub name: String,
    /// One line for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A profile (built-in name or file) that this one is merged over, like a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// How the target behaves as a kind; picks the levels of the checks.
    pub dialect: Dialect,
    /// How to start it; a target may also already run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<ProcessStart>,
    /// How TLS is spoken to an address that begins with `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Path of a discovery document whose members serve as `${discovery.NAME}`; of addresses only the path is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<String>,
    /// Values for `${user.login}` and `${user.password}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// A second user, for checks that need two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_user: Option<User>,
    /// Values for `${client.id}` and `${client.secret}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientEntry>,
    /// A second client of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_client: Option<ClientEntry>,
    /// What the server promises; checks hold it to that.
    #[serde(default)]
    pub declares: Declares,
    /// Keys; the more is known, the more checks apply.
    #[serde(default)]
    pub keys: Keys,
    /// What its tokens look like.
    #[serde(default)]
    pub tokens: TokenKinds,
    /// What can be asked: `issue`, `refresh`, `revoke`, `keys`, `verify.<any name>`, and `scoped`, a protected request
    /// that needs a scope which the user's tokens have, and `owned`
    /// and `owned_write`, which read and change an object that is the first user's alone.
    pub operations: IndexMap<String, Operation>,
    /// Where the resource's reply names the caller: a JSON pointer, `header:NAME` or `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Hooks that change the server from outside, by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub admin: IndexMap<String, Hook>,
    /// Log files, searched for canary tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
    /// Whether the server looks every access token up, so that a re-signed one is refused.
    #[serde(default)]
    pub stateful_access: bool,
    /// Known deviations by check id or `id/variant`, globs allowed.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub known: IndexMap<String, Known>,
    /// Partial profiles that are merged over this one; null removes a member.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variants: IndexMap<String, Value>,
    /// The folder that relative paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
    /// What `--profile` takes to mean this one again: a built-in name or the file; empty where it was neither.
    #[serde(skip)]
    pub source: String,
    /// The variant that was merged in, if any.
    #[serde(skip)]
    pub variant: Option<String>,
    /// What of the user is the command line's.
    #[serde(skip)]
    pub asked: Asked,
}

/// How TLS is spoken to the target and its admin address. Files are PEM, relative to the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The authority that signed the server's certificate, or that certificate itself; the system's authorities if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Any certificate will do: for throw-away keys of development.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// The name to ask for and to find in the certificate, where it is not the address's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Our own certificate with its chain, for servers that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The key of our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// How a target behaves as a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// JSON endpoints in the manner of SimpleJWT.
    Simple,
    /// OAuth 2 endpoints.
    Oauth,
    /// OpenID Connect.
    Oidc,
    /// OAuth 2 with JWT access tokens by RFC 9068.
    Rfc9068,
    /// A resource server only; tokens come from elsewhere.
    RsOnly,
}

impl Dialect {
    /// As written in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Simple => "simple",
            Dialect::Oauth => "oauth",
            Dialect::Oidc => "oidc",
            Dialect::Rfc9068 => "rfc9068",
            Dialect::RsOnly => "rs-only",
        }
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A user of the server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name to log in with.
    pub login: String,
    /// Password; `${env:NAME}` keeps it out of the file.
    pub password: String,
    /// What the server calls this user in `sub` or in the resource's reply, where it is not the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Without the password.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("login", &self.login).finish_non_exhaustive()
    }
}

/// A client of the server, in OAuth's sense.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// `client_id`.
    pub id: String,
    /// `client_secret`; absent for a public client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Without the secret.
impl std::fmt::Debug for ClientEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientEntry").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What the server promises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Declares {
    /// The `iss` of its tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The `aud` it insists on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<OneOrMany<String>>,
    /// Scopes it knows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Seconds of leeway on `exp` and `nbf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leeway_s: Option<f64>,
    /// Seconds for which a rotated refresh token still works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_s: Option<f64>,
    /// Seconds after which a revocation is in force everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_bound_s: Option<f64>,
    /// Seconds after the first login beyond which no refresh reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_end_s: Option<f64>,
}

/// One value or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// `a`.
    One(T),
    /// `[a, b]`.
    Many(Vec<T>),
}

/// By hand, since serde's untagged enums lose the place of a mistake.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany<T>, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("one value or a list of them")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<OneOrMany<T>, E> {
                T::deserialize(value.into_deserializer()).map(OneOrMany::One)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany::Many)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

impl<T> OneOrMany<T> {
    /// All of them.
    pub fn all(&self) -> &[T] {
        match self {
            OneOrMany::One(one) => std::slice::from_ref(one),
            OneOrMany::Many(many) => many,
        }
    }
}

/// Status codes: one or a list.
pub type Statuses = OneOrMany<u16>;

/// Keys of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Where the public key is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyKey>,
    /// The private key or HMAC secret: lets the harness forge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign: Option<SigningKey>,
    /// The key of refresh tokens, where another one signs them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<SigningKey>,
    /// The key that the server decrypts tokens with: lets the harness read encrypted tokens, and encrypt them anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decrypt: Option<SigningKey>,
}

/// Where the public key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyKey {
    /// A file (PEM, JWK or JWKS) beside the profile.
    File(String),
    /// Path of a JWKS on the server.
    Jwks(String),
}

/// The private key or HMAC secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SigningKey {
    /// A file: PEM, JWK, or the bytes of an HMAC secret.
    File(String),
    /// The HMAC secret itself, as text.
    Secret(String),
    /// The HMAC secret in base64 (either alphabet).
    SecretBase64(String),
}

/// Without the key.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SigningKey::File(path) => f.debug_tuple("File").field(path).finish(),
            _ => f.write_str("Secret(..)"),
        }
    }
}

/// What the tokens of a server look like.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenKinds {
    /// Access tokens.
    pub access: TokenKind,
    /// Refresh tokens.
    pub refresh: TokenKind,
    /// ID tokens of OpenID Connect, where `issue` returns `id_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<TokenKind>,
}

/// What one kind of token looks like. What is absent is read off a genuine token.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenKind {
    /// Whether it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<TokenFormat>,
    /// The only `alg` that the server signs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Seconds from `iat` to `exp` as configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_s: Option<f64>,
    /// Header members that every such token has, such as `typ`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, Value>,
    /// The claims that tell this kind from the others: `{token_type: access}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub type_claim: BTreeMap<String, Value>,
    /// The claim that names the user, where it is not `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
}

/// Whether a token can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenFormat {
    /// A JSON Web Token.
    Jwt,
    /// A handle that only the server can read.
    Opaque,
}

/// One thing that can be asked of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Operation {
    /// The request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Instead of a request: a program that prints tokens as JSON, for flows that need a browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Deadline of the command; 30 s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Where values are in the reply: `access`, `refresh`, `expires_in`, and others for `${issued.<name>}`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub returns: IndexMap<String, String>,
    /// The reply that grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Predicate>,
    /// The reply that refuses a token or a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Predicate>,
    /// The reply to a request that lacks or garbles something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid: Option<Predicate>,
    /// The reply to another HTTP method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_method: Option<Predicate>,
    /// The reply to a request without any token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_token: Option<Predicate>,
    /// Verify ways: the kinds of token that are accepted on purpose; `[access]` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepts: Option<Vec<TokenUse>>,
    /// Verify ways: whether the user is looked up, so that a token of somebody who is gone is refused. `false`: on purpose
    /// not. Absent: nobody says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks_up_user: Option<bool>,
    /// Refresh: whether every answer brings a new refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotates: Option<bool>,
    /// Refresh: what happens to a refresh token that has been used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Refresh: whether a replay ends the newest token of that login too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_revokes_family: Option<bool>,
    /// Refresh: whether the old access token dies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills_old_access: Option<bool>,
}

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenUse {
    /// Access tokens.
    Access,
    /// Refresh tokens.
    Refresh,
    /// ID tokens.
    Id,
}

/// What happens to a used refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replay {
    /// It works again.
    Accepted,
    /// It is refused.
    Rejected,
}

/// A request, its texts with templates.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// HTTP method; GET without a body, POST with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Path and query, from the root of the target's address.
    pub path: String,
    /// How `fields` travel; JSON if there are fields, else no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<BodyKind>,
    /// Members of the body; values may be nested for JSON.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub fields: IndexMap<String, Value>,
    /// The body as it stands, for `body: text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Headers; `Accept: application/json` and the content type are there already and can be replaced.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Cookies.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub cookies: IndexMap<String, String>,
    /// The `Authorization` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// How the fields of a request travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyKind {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `text` as it stands.
    Text,
    /// No body.
    None,
}

/// The `Authorization` header.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// HTTP Basic.
    Basic(Basic),
    /// `Bearer`.
    Bearer(String),
}

/// Without the password.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::Basic(_) => "Basic(..)",
            Auth::Bearer(_) => "Bearer(..)",
        })
    }
}

/// HTTP Basic authentication.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// Name before the colon: `${client.id}`.
    #[serde(alias = "username", alias = "login", alias = "id")]
    pub user: String,
    /// Password after the colon: `${client.secret}`.
    #[serde(alias = "secret")]
    pub password: String,
    /// Form-encode both parts first, as RFC 6749 section 2.3.1 asks.
    #[serde(default)]
    pub urlencode: bool,
}

/// What a reply must be: every part given has to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Predicate {
    /// Status or statuses; the default of its place if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Statuses>,
    /// JSON pointers with the value each must have.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub json: IndexMap<String, Value>,
    /// JSON pointers that must lead somewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub present: Vec<String>,
    /// JSON pointers that must lead nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<String>,
    /// Headers that must be there with a value that contains this text, whatever its case.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, String>,
    /// Text that the body must contain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// A hook that changes the server from outside.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// A request to the admin address (to the target where there is none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// Or a program and its arguments; `${admin_url}` is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Deadline of the command; 30 s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// The reply that says it worked; any 2xx if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Predicate>,
}

/// A known deviation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The verdict that is expected; `fail` if absent.
    #[serde(default = "fail")]
    pub outcome: Verdict,
    /// Why this is known, for the report.
    pub reason: String,
    /// Last day on which it counts as known: `2027-01-31`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

fn fail() -> Verdict {
    Verdict::Fail
}

impl Known {
    /// Whether the entry still counts on `today` (`YYYY-MM-DD`, UTC).
    pub fn counts_on(&self, today: &str) -> bool {
        self.until.as_deref().is_none_or(|until| today <= until)
    }
}

impl Profile {
    /// A path of the profile, from the profile's folder.
    pub fn path(&self, path: &str) -> PathBuf {
        if Path::new(path).is_absolute() { PathBuf::from(path) } else { self.folder.join(path) }
    }

    /// The names of the verify ways, without `verify.`, in the order written.
    pub fn verify_ways(&self) -> Vec<&str> {
        self.operations.keys().filter_map(|name| name.strip_prefix("verify.")).collect()
    }

    /// The claim that names the user in access tokens.
    pub fn subject_claim(&self) -> &str {
        self.tokens.access.subject_claim.as_deref().unwrap_or("sub")
    }
}

//! Which OAuth clients are there, and which of them sends this request? RFC 6749 section 2.3.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::body::{Fields, decoded};

/// A client as the configuration gives it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The `client_id`.
    pub id: String,
    /// The `client_secret`; a public client has none.
    #[serde(default)]
    pub secret: Option<SecretString>,
    /// What the client may do by itself, separated by spaces; `read` where nothing is said.
    #[serde(default)]
    pub scope: Option<String>,
}

/// One registered client.
pub(crate) struct Client {
    pub(crate) id: String,
    /// The hash of the secret: secrets are long and random, so that one round is enough.
    secret: Option<[u8; 32]>,
    pub(crate) scope: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {}", self.id)
    }
}

impl Client {
    /// True for a client that can prove who it is.
    pub(crate) fn is_confidential(&self) -> bool {
        self.secret.is_some()
    }
}

/// Why a request is of no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoClient {
    /// Unknown, without a secret that it has, or with a wrong one; one answer for all.
    Invalid,
    /// More than one way of saying who it is, or one that cannot be read.
    Malformed,
}

/// All registered clients.
#[derive(Debug)]
pub(crate) struct Clients(Vec<Client>);

fn hashed(secret: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

/// What a careless server does not look at.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    /// Any secret proves a client.
    pub(crate) any_secret: bool,
    /// Who names no client is the first one.
    pub(crate) nobody: bool,
}

impl Clients {
    /// Takes the configuration over; the message says what is wrong with it.
    pub(crate) fn new(configured: &[ClientConfig]) -> Result<Self, String> {
        let mut clients: Vec<Client> = Vec::with_capacity(configured.len());
        for client in configured {
            let id = &client.id;
            if id.is_empty() || !id.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
                return Err(format!("expected a client id of visible ASCII characters, saw `{id}`"));
            }
            // A client's own token has its id as subject, where users have their number.
            if id.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("expected a client id that is no number, saw `{id}`\nhint: numbers name users"));
            }
            if clients.iter().any(|known| known.id == *id) {
                return Err(format!("the client `{id}` is configured twice"));
            }
            if client.secret.as_ref().is_some_and(|secret| secret.expose_secret().len() < 8) {
                return Err(format!(
                    "expected a secret of 8 characters or more for the client `{id}`\nhint: leave it out for a public client"
                ));
            }
            clients.push(Client {
                id: id.clone(),
                secret: client.secret.as_ref().map(|secret| hashed(secret.expose_secret())),
                scope: client.scope.clone().unwrap_or_else(|| "read".to_owned()),
            });
        }
        Ok(Self(clients))
    }

    fn named(&self, id: &str) -> Option<&Client> {
        self.0.iter().find(|client| client.id == id)
    }

    /// The client that sends the request: by HTTP Basic, by fields of the form, or by its mere id where it is public.
    pub(crate) fn sender(
        &self,
        headers: &HeaderMap,
        fields: &Fields<'_>,
        mistakes: &Mistakes,
    ) -> Result<&Client, NoClient> {
        let basic = basic(headers)?;
        // A parameter without a value is one that was left out (RFC 6749 section 3.2).
        let given = |name| fields.text(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let (form, form_secret) = (given("client_id"), given("client_secret"));
        let (id, secret) = match (basic, form, form_secret) {
            (Some(_), _, Some(_)) => return Err(NoClient::Malformed),
            (Some((id, _)), Some(form), None) if id != form => return Err(NoClient::Malformed),
            (Some((id, secret)), _, None) => (id, Some(secret)),
            (None, Some(id), secret) => (id, secret),
            (None, None, _) => return self.0.first().filter(|_| mistakes.nobody).ok_or(NoClient::Invalid),
        };
        let client = self.named(&id).ok_or(NoClient::Invalid)?;
        let proven = match (&client.secret, &secret) {
            (None, None) => true,
            // An empty secret is what a library sends for a client without one.
            (None, Some(given)) => given.is_empty(),
            (Some(_), Some(_)) if mistakes.any_secret => true,
            (Some(kept), Some(given)) => kept.ct_eq(&hashed(given)).into(),
            (Some(_), None) => false,
        };
        if proven { Ok(client) } else { Err(NoClient::Invalid) }
    }
}

/// Id and secret of an `Authorization: Basic` header, each form-encoded as RFC 6749 section 2.3.1 asks.
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, NoClient> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NoClient::Malformed);
    }
    let text = value.to_str().map_err(|_| NoClient::Malformed)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(NoClient::Invalid);
    }
    let bytes = STANDARD.decode(rest.trim_matches(' ')).map_err(|_| NoClient::Malformed)?;
    let pair = String::from_utf8(bytes).map_err(|_| NoClient::Malformed)?;
    let (id, secret) = pair.split_once(':').ok_or(NoClient::Malformed)?;
    match (decoded(id), decoded(secret)) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        _ => Err(NoClient::Malformed),
    }
}

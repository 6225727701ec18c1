//! What is this token server, and what can it do? A profile with an address; its people, its operations and what they mention.

use std::collections::BTreeMap;

use serde_json::Value;

use super::judge::{self, TokenPlace};
use super::profile::{
    Auth, BodyKind, ClientEntry, Dialect, Operation, Profile, TokenFormat, TokenUse, User, VerifyKey,
};
use super::template::{TemplateError, environment, names, names_in};
use crate::scenario::suggestion;
use crate::wire::{ClientCertificate, Endpoint, Scheme, TlsOptions, WireError};

/// Why a target cannot be spoken to as asked.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The profile has no such operation.
    #[error("the profile `{profile}` has no operation `{operation}`; hint: {hint}")]
    NoOperation {
        /// Name of the profile.
        profile: String,
        /// What was asked for.
        operation: String,
        /// What there is.
        hint: String,
    },
    /// The operation is a command, which no request stands for.
    #[error("operation `{0}` is a command of the profile, not a request")]
    IsCommand(String),
    /// A template could not be filled in.
    #[error("operation `{operation}`: {source}")]
    Template {
        /// The operation.
        operation: String,
        /// What was wrong.
        source: TemplateError,
    },
    /// A value that cannot travel where the profile puts it.
    #[error("operation `{operation}`: {what} cannot be sent: {why}")]
    Unsendable {
        /// The operation.
        operation: String,
        /// Header, method or path.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The reply lacks what `returns` says it has.
    #[error(
        "operation `{operation}`: expected `{name}` at `{place}` of the reply, saw {seen}; hint: see `returns` of the operation"
    )]
    NotReturned {
        /// The operation.
        operation: String,
        /// The name under `returns`.
        name: String,
        /// Where it should be.
        place: String,
        /// What is there.
        seen: String,
    },
    /// The address is not usable.
    #[error(transparent)]
    Address(#[from] WireError),
    /// A key of the profile could not be read.
    #[error("{0}")]
    Key(String),
    /// A command of the profile failed.
    #[error("command of `{operation}`: {why}")]
    Command {
        /// The operation or hook.
        operation: String,
        /// What went wrong, with the end of its standard error.
        why: String,
    },
}

/// A token server: a profile with an address.
#[derive(Clone, Debug)]
pub struct Target {
    /// How to speak to it.
    pub profile: Profile,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Where its admin hooks are, if they have an address of their own.
    pub admin: Option<Endpoint>,
    /// How TLS is spoken to both.
    pub tls: TlsOptions,
    pub(super) discovery: BTreeMap<String, Value>,
}

impl Target {
    /// A profile with an address. Refuses hosts beyond loopback that `allow_remote` does not name.
    pub fn new(
        profile: Profile,
        url: &str,
        admin_url: Option<&str>,
        allow_remote: &[String],
    ) -> Result<Target, TargetError> {
        let endpoint = Endpoint::parse(url, allow_remote)?;
        let admin = admin_url.map(|url| Endpoint::parse(url, allow_remote)).transpose()?;
        let encrypted = [Some(&endpoint), admin.as_ref()].into_iter().flatten().any(|e| e.scheme == Scheme::Https);
        let tls = if encrypted { tls_of(&profile)? } else { TlsOptions::default() };
        Ok(Target { profile, endpoint, admin, tls, discovery: BTreeMap::new() })
    }

    /// The names of all operations, in the order written.
    pub fn operations(&self) -> Vec<String> {
        self.profile.operations.keys().cloned().collect()
    }

    /// Whether the profile has this operation.
    pub fn has(&self, operation: &str) -> bool {
        self.profile.operations.contains_key(operation)
    }

    /// The operation as the profile describes it.
    pub fn operation(&self, operation: &str) -> Result<&Operation, TargetError> {
        self.profile.operations.get(operation).ok_or_else(|| {
            let names: Vec<&str> = self.profile.operations.keys().map(String::as_str).collect();
            TargetError::NoOperation {
                profile: self.profile.name.clone(),
                operation: operation.to_owned(),
                hint: suggestion(operation, &names).unwrap_or_else(|| "it has none".to_owned()),
            }
        })
    }

    /// The dialect of the target.
    pub fn dialect(&self) -> Dialect {
        self.profile.dialect
    }

    /// The first user, its secrets taken from the environment where the profile says so.
    pub fn user(&self) -> Result<Option<User>, TargetError> {
        self.profile.user.as_ref().map(|user| self.real_user(user)).transpose()
    }

    /// The second user.
    pub fn second_user(&self) -> Result<Option<User>, TargetError> {
        self.profile.second_user.as_ref().map(|user| self.real_user(user)).transpose()
    }

    fn real_user(&self, user: &User) -> Result<User, TargetError> {
        let real =
            |text: &str| environment(text).map_err(|source| TargetError::Template { operation: "user".into(), source });
        Ok(User {
            login: real(&user.login)?,
            password: real(&user.password)?,
            id: user.id.as_deref().map(real).transpose()?,
        })
    }

    /// The first client.
    pub fn client(&self) -> Option<&ClientEntry> {
        self.profile.client.as_ref()
    }

    /// The second client.
    pub fn second_client(&self) -> Option<&ClientEntry> {
        self.profile.second_client.as_ref()
    }

    /// Where an operation carries the token.
    pub fn token_place(&self, operation: &str) -> Option<TokenPlace> {
        self.profile.operations.get(operation)?.request.as_ref().map(judge::token_place)
    }

    /// How an operation carries its fields.
    pub fn body_kind(&self, operation: &str) -> Option<BodyKind> {
        self.profile.operations.get(operation)?.request.as_ref().map(judge::body_kind)
    }

    /// Whether the request of an operation mentions a name such as `client.secret` anywhere.
    pub fn mentions(&self, operation: &str, name: &str) -> bool {
        self.mentioned(operation).contains(&name)
    }

    /// Every `NAME` of `${issued.NAME}` that some request mentions, in alphabetical order.
    pub fn issued_names(&self) -> Vec<String> {
        let all = self.profile.operations.keys().flat_map(|operation| self.mentioned(operation));
        let issued = all.filter_map(|name| name.strip_prefix("issued.")).map(str::to_owned);
        issued.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// The names that the request of an operation mentions.
    fn mentioned(&self, operation: &str) -> Vec<&str> {
        let Some(request) = self.profile.operations.get(operation).and_then(|o| o.request.as_ref()) else {
            return Vec::new();
        };
        let auth = match &request.auth {
            Some(Auth::Basic(basic)) => vec![basic.user.as_str(), basic.password.as_str()],
            Some(Auth::Bearer(text)) => vec![text.as_str()],
            None => Vec::new(),
        };
        let texts =
            auth.into_iter().chain(request.headers.values().chain(request.cookies.values()).map(String::as_str));
        let texts = texts.chain([request.path.as_str()]).chain(request.text.as_deref());
        texts.flat_map(names).chain(request.fields.values().flat_map(names_in)).collect()
    }

    /// Which kinds of token a verify way accepts on purpose.
    pub fn accepts(&self, operation: &str) -> Vec<TokenUse> {
        self.profile.operations.get(operation).and_then(|o| o.accepts.clone()).unwrap_or_else(|| vec![TokenUse::Access])
    }

    /// Whether a verify way looks the user up, as far as the profile says.
    pub fn looks_up_user(&self, operation: &str) -> Option<bool> {
        self.profile.operations.get(operation).and_then(|o| o.looks_up_user)
    }

    /// The kinds of token that `revoke` ends by being shown them: refresh tokens where the profile does not say, access
    /// tokens where there are no others.
    pub fn revocable(&self) -> Vec<TokenUse> {
        let said = self.profile.operations.get("revoke").and_then(|o| o.accepts.clone());
        let refreshes = || {
            self.profile
                .operations
                .get("issue")
                .is_some_and(|o| o.returns.contains_key("refresh") || o.command.is_some())
        };
        said.unwrap_or_else(|| vec![if refreshes() { TokenUse::Refresh } else { TokenUse::Access }])
    }

    /// Whether an operation is a command and not a request.
    pub fn is_command(&self, operation: &str) -> bool {
        self.profile.operations.get(operation).is_some_and(|o| o.command.is_some())
    }

    /// The verify ways as operation names (`verify.resource`, ...), in the order written.
    pub fn verify_ways(&self) -> Vec<&str> {
        self.profile.operations.keys().map(String::as_str).filter(|name| name.starts_with("verify.")).collect()
    }

    /// Whether access tokens are opaque by the profile; unknown if it does not say.
    pub fn access_format(&self) -> Option<TokenFormat> {
        self.profile.tokens.access.format
    }

    /// Whether the server looks access tokens up, so that a re-signed one is refused.
    pub fn stateful_access(&self) -> bool {
        self.profile.stateful_access
    }

    /// The operation that a scenario's mix means by a word: `access` is the verify way `resource`, `verify` the one
    /// called `endpoint` (or `introspect`); any other verify way goes by its own name.
    pub fn resolve(&self, word: &str) -> Option<String> {
        self.profile.resolve(word).map(str::to_owned)
    }

    /// The path of the discovery document, where the profile has one.
    pub fn discovery_path(&self) -> Option<&str> {
        self.profile.discovery.as_deref()
    }

    /// Takes in the discovery document, for `${discovery.NAME}`. Operations that mention a member which it lacks are
    /// taken out: the server does not offer them. Their names come back.
    pub fn set_discovery(&mut self, document: &Value) -> Vec<String> {
        let members = document.as_object().into_iter().flatten();
        self.discovery = members.map(|(name, value)| (name.clone(), value.clone())).collect();
        let lacks =
            |name: &String| self.discovered(name).into_iter().any(|member| !self.discovery.contains_key(&member));
        let gone: Vec<String> = self.profile.operations.keys().filter(|name| lacks(name)).cloned().collect();
        self.profile.operations.retain(|name, _| !gone.contains(name));
        if matches!(self.profile.keys.verify, Some(VerifyKey::Jwks(_))) && self.jwks_path().is_none() {
            self.profile.keys.verify = None;
        }
        gone
    }

    /// The members of the discovery document that an operation mentions.
    fn discovered(&self, operation: &str) -> Vec<String> {
        let names = self.mentioned(operation).into_iter();
        names.filter_map(|name| name.strip_prefix("discovery.")).map(str::to_owned).collect()
    }
}

/// How the profile wants TLS to be spoken; its files are read now, so that a mistake in them is no mistake of the server.
fn tls_of(profile: &Profile) -> Result<TlsOptions, TargetError> {
    let Some(said) = &profile.tls else { return Ok(TlsOptions::default().prepared()?) };
    let path = |text: &str| {
        environment(text)
            .map(|text| profile.path(&text))
            .map_err(|source| TargetError::Template { operation: "tls".into(), source })
    };
    let mut tls =
        TlsOptions { insecure: said.insecure, server_name: said.server_name.clone(), ..TlsOptions::default() };
    if let Some(ca) = &said.ca {
        tls = tls.with_ca_file(&path(ca)?)?;
    }
    if let (Some(certificate), Some(key)) = (&said.certificate, &said.key) {
        let ours = ClientCertificate::from_files(&path(certificate)?, &path(key)?)?;
        tls.client = Some(std::sync::Arc::new(ours));
    }
    Ok(tls.prepared()?)
}

impl Profile {
    /// The operation that a scenario's mix means by a word.
    pub fn resolve(&self, word: &str) -> Option<&str> {
        let named = |name: &str| self.operations.get_key_value(name).map(|(key, _)| key.as_str());
        match word {
            "access" => named("verify.resource"),
            "verify" => named("verify.endpoint").or_else(|| named("verify.introspect")),
            _ => named(word).or_else(|| named(&format!("verify.{word}"))),
        }
    }

    /// The words that a scenario's mix can use for this profile.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for name in self.operations.keys() {
            let word = match name.as_str() {
                "verify.resource" => "access",
                "verify.endpoint" => "verify",
                "verify.introspect" if !self.operations.contains_key("verify.endpoint") => "verify",
                other => other.strip_prefix("verify.").unwrap_or(other),
            };
            words.push(word.to_owned());
        }
        words
    }
}

//! Which request is this operation, with these values? The target: a profile with an address.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::judge::{self, Answer, Case, Issued, Meaning, TokenPlace};
use super::profile::{
    Auth, BodyKind, ClientEntry, Dialect, Operation, Profile, Request, SigningKey, TokenFormat, TokenUse, User,
    VerifyKey,
};
use super::template::{Filled, Scope, TemplateError, Vars, as_text, environment, names, names_in};
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

    pub(super) fn scope<'a>(&'a self, vars: &'a Vars) -> Scope<'a> {
        Scope {
            vars,
            user: self.profile.user.as_ref(),
            client: self.profile.client.as_ref(),
            second_user: self.profile.second_user.as_ref(),
            second_client: self.profile.second_client.as_ref(),
            discovery: &self.discovery,
        }
    }

    /// The request of an operation with these values. Its URI is origin-form, relative to the endpoint's base path.
    /// Without a token in `vars`, every part that mentions `${token}` is left out.
    pub fn request(&self, operation: &str, vars: &Vars) -> Result<http::Request<Bytes>, TargetError> {
        match &self.operation(operation)?.request {
            Some(request) => self.build(operation, request, vars),
            None => Err(TargetError::IsCommand(operation.to_owned())),
        }
    }

    /// The request of a hook, and where it goes.
    pub fn hook(&self, name: &str, vars: &Vars) -> Option<Result<(http::Request<Bytes>, &Endpoint), TargetError>> {
        let request = self.profile.admin.get(name)?.request.as_ref()?;
        let request = strip_admin_url(request);
        Some(self.build(name, &request, vars).map(|built| (built, self.admin.as_ref().unwrap_or(&self.endpoint))))
    }

    /// Whether the profile has this hook, and the address that it needs: one that begins with `${admin_url}` is there only
    /// where an admin address was given.
    pub fn has_hook(&self, name: &str) -> bool {
        let elsewhere = |text: &str| text.contains("${admin_url}");
        self.profile.admin.get(name).is_some_and(|hook| {
            let path = hook.request.as_ref().is_some_and(|request| elsewhere(&request.path));
            let command = hook.command.iter().flatten().any(|word| elsewhere(word));
            self.admin.is_some() || !(path || command)
        })
    }

    /// Whether a hook's reply says that it worked: its predicate, or any 2xx.
    pub fn hook_accepted(&self, name: &str, reply: &dyn Answer) -> bool {
        match self.profile.admin.get(name).and_then(|hook| hook.accepted.as_ref()) {
            Some(predicate) => judge::holds(predicate, reply).is_ok(),
            None => (200..300).contains(&reply.status()),
        }
    }

    fn build(&self, operation: &str, request: &Request, vars: &Vars) -> Result<http::Request<Bytes>, TargetError> {
        let scope = self.scope(vars);
        let template = |source| TargetError::Template { operation: operation.to_owned(), source };
        let unsendable = |what: &str, why: &dyn std::fmt::Display| TargetError::Unsendable {
            operation: operation.to_owned(),
            what: what.to_owned(),
            why: why.to_string(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("assay/", env!("CARGO_PKG_VERSION"))));

        let body = match judge::body_kind(request) {
            BodyKind::None => None,
            BodyKind::Text => {
                request.text.as_deref().map(|text| scope.text(text)).transpose().map_err(template)?.and_then(|filled| {
                    match filled {
                        Filled::With(text) => Some(("text/plain; charset=utf-8", text)),
                        Filled::LeftOut => None,
                    }
                })
            }
            kind => {
                let mut fields = Vec::with_capacity(request.fields.len());
                for (name, value) in &request.fields {
                    if let Filled::With(value) = scope.json(value).map_err(template)? {
                        fields.push((name.clone(), value));
                    }
                }
                Some(if kind == BodyKind::Json {
                    ("application/json", Value::Object(fields.into_iter().collect()).to_string())
                } else {
                    ("application/x-www-form-urlencoded", form(&fields))
                })
            }
        };
        if let Some((kind, _)) = &body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let authorization = match &request.auth {
            None => None,
            Some(Auth::Bearer(text)) => match scope.text(text).map_err(template)? {
                Filled::With(token) => Some(format!("Bearer {token}")),
                Filled::LeftOut => None,
            },
            Some(Auth::Basic(basic)) => {
                let part = |text: &str| {
                    scope.text(text).map_err(template).map(|filled| match filled {
                        Filled::With(value) if basic.urlencode => Filled::With(form_encoded(&value)),
                        other => other,
                    })
                };
                match (part(&basic.user)?, part(&basic.password)?) {
                    (Filled::With(user), Filled::With(password)) => {
                        use base64::Engine as _;
                        let joined = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                        Some(format!("Basic {joined}"))
                    }
                    _ => None,
                }
            }
        };
        if let Some(text) = authorization {
            headers
                .insert(AUTHORIZATION, header_value(&text).map_err(|why| unsendable("header `authorization`", &why))?);
        }
        let mut cookies = Vec::new();
        for (name, value) in &request.cookies {
            if let Filled::With(value) = scope.text(value).map_err(template)? {
                cookies.push(format!("{name}={value}"));
            }
        }
        if !cookies.is_empty() {
            headers
                .insert(COOKIE, header_value(&cookies.join("; ")).map_err(|why| unsendable("header `cookie`", &why))?);
        }
        for (name, value) in &request.headers {
            let what = format!("header `{name}`");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|why| unsendable(&what, &why))?;
            if let Filled::With(value) = scope.text(value).map_err(template)? {
                // An empty value takes a header away that would otherwise be there.
                if value.is_empty() {
                    headers.remove(&name);
                } else {
                    headers.insert(name, header_value(&value).map_err(|why| unsendable(&what, &why))?);
                }
            }
        }
        let method = request.method.as_deref().unwrap_or(if body.is_some() { "POST" } else { "GET" });
        let method = Method::from_bytes(method.as_bytes()).map_err(|why| unsendable("the method", &why))?;
        let path = self.path(&scope, &request.path).map_err(template)?;
        let uri = path.parse::<http::Uri>().map_err(|why| unsendable(&format!("the path `{path}`"), &why))?;
        let mut built = http::Request::new(body.map(|(_, text)| Bytes::from(text)).unwrap_or_default());
        *built.method_mut() = method;
        *built.uri_mut() = uri;
        *built.headers_mut() = headers;
        Ok(built)
    }

    /// Fills a path; of an address (as a discovery document gives) only path and query stay. Query parameters that
    /// mention a left-out value go, values are percent-encoded.
    fn path(&self, scope: &Scope<'_>, path: &str) -> Result<String, TemplateError> {
        let (head, query) = path.split_once('?').map_or((path, None), |(head, query)| (head, Some(query)));
        let mut filled = String::new();
        for piece in super::template::pieces(head)? {
            match piece {
                super::template::Piece::Plain(text) => filled.push_str(text),
                super::template::Piece::Name(name) => {
                    if let Filled::With(value) = scope.text(&format!("${{{name}}}"))? {
                        if name.starts_with("discovery.") {
                            filled.push_str(&value)
                        } else {
                            filled.push_str(&percent(&value))
                        }
                    }
                }
            }
        }
        let mut filled = self.origin_form(&filled);
        let mut separator = if filled.contains('?') { '&' } else { '?' };
        for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let Filled::With(text) = scope.text(value)? {
                let text = if names(value).is_empty() { text } else { percent(&text) };
                filled.push(separator);
                filled.push_str(name);
                if pair.contains('=') {
                    filled.push('=');
                    filled.push_str(&text);
                }
                separator = '&';
            }
        }
        Ok(filled)
    }

    /// An absolute address becomes its path and query, less the endpoint's base path, which is put in front again
    /// when the request is sent.
    fn origin_form(&self, text: &str) -> String {
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.chars().all(|c| c.is_ascii_alphabetic()) => {
                rest.find('/').map_or("/", |at| &rest[at..])
            }
            _ => return if text.starts_with('/') { text.to_owned() } else { format!("/{text}") },
        };
        let base = self.endpoint.base_path.trim_end_matches('/');
        match rest.strip_prefix(base) {
            Some(inner) if inner.starts_with('/') => inner.to_owned(),
            _ => rest.to_owned(),
        }
    }

    /// What a reply to an operation means. A 200 that lacks the tokens it should bring is not accepted.
    pub fn judge(&self, operation: &str, reply: &dyn Answer) -> Meaning {
        let Some(described) = self.profile.operations.get(operation) else {
            return Meaning::Unexpected { why: format!("the profile has no operation `{operation}`") };
        };
        let accepted = match judge::holds(&judge::predicate(described, Case::Accepted), reply) {
            Ok(()) => match self.tokens(reply, operation) {
                Ok(_) => return Meaning::Accepted,
                Err(error) => error.to_string(),
            },
            Err(why) => why,
        };
        for (case, meaning) in [
            (Case::Denied, Meaning::Denied),
            (Case::Invalid, Meaning::Invalid),
            (Case::WrongMethod, Meaning::WrongMethod),
            (Case::NoToken, Meaning::NoToken),
        ] {
            if self.matches(operation, case, reply).is_ok() {
                return meaning;
            }
        }
        Meaning::Unexpected {
            why: format!("neither granted ({accepted}) nor refused as the profile says; status {}", reply.status()),
        }
    }

    /// Whether a reply is what the profile says of one case; if not, the first part that does not hold, in words.
    pub fn matches(&self, operation: &str, case: Case, reply: &dyn Answer) -> Result<(), String> {
        let described = self.operation(operation).map_err(|error| error.to_string())?;
        judge::holds(&judge::predicate(described, case), reply)
    }

    /// The statuses that the profile gives for a case, with its default.
    pub fn statuses(&self, operation: &str, case: Case) -> Vec<u16> {
        let described = self.profile.operations.get(operation);
        described
            .map_or_else(Vec::new, |o| judge::predicate(o, case).status.map_or_else(Vec::new, |s| s.all().to_vec()))
    }

    /// Whether a reply grants: the profile's predicate holds and the tokens it should bring are there.
    pub fn accepted(&self, operation: &str, reply: &dyn Answer) -> bool {
        self.judge(operation, reply) == Meaning::Accepted
    }

    /// What an operation returned, by the profile's `returns`. `access` and `refresh` must be there where they are
    /// named (a refresh that does not rotate may leave `refresh` out); everything else may be absent.
    pub fn tokens(&self, reply: &dyn Answer, operation: &str) -> Result<Issued, TargetError> {
        let described = self.operation(operation)?;
        let json: Option<Value> = serde_json::from_slice(reply.body()).ok();
        self.collect(operation, described, |place| judge::taken(place, reply, json.as_ref()))
    }

    pub(super) fn collect(
        &self,
        operation: &str,
        described: &Operation,
        take: impl Fn(&str) -> Option<Value>,
    ) -> Result<Issued, TargetError> {
        let mut values = BTreeMap::new();
        for (name, place) in &described.returns {
            let value = take(place);
            let optional =
                !(name == "access" || (name == "refresh" && (operation == "issue" || described.rotates == Some(true))));
            let seen = match &value {
                None => "nothing there".to_owned(),
                Some(Value::String(text)) if text.is_empty() => "an empty text".to_owned(),
                Some(Value::String(_)) => String::new(),
                Some(Value::Object(_) | Value::Array(_)) => "a list or an object".to_owned(),
                Some(other) => other.to_string(),
            };
            if !optional && !seen.is_empty() {
                return Err(TargetError::NotReturned {
                    operation: operation.to_owned(),
                    name: name.clone(),
                    place: place.clone(),
                    seen,
                });
            }
            if let Some(value) = value {
                values.insert(name.clone(), value);
            }
        }
        Ok(judge::issued(values))
    }

    /// The caller that the resource's reply names, where the profile says where.
    pub fn identity(&self, reply: &dyn Answer) -> Option<String> {
        let pointer = self.profile.identity.as_deref()?;
        let json: Option<Value> = serde_json::from_slice(reply.body()).ok();
        judge::taken(pointer, reply, json.as_ref()).map(|value| as_text(&value))
    }

    /// The signing key or HMAC secret, where the profile has one.
    pub fn signing_key(&self) -> Result<Option<KeyMaterial>, TargetError> {
        let secret = |bytes: Vec<u8>| Some(KeyMaterial { bytes, secret: true });
        let from_environment = |text: &str| {
            environment(text).map_err(|source| TargetError::Template { operation: "keys.sign".into(), source })
        };
        match &self.profile.keys.sign {
            None => Ok(None),
            Some(SigningKey::Secret(text)) => Ok(secret(from_environment(text)?.into_bytes())),
            Some(SigningKey::SecretBase64(text)) => {
                use base64::Engine as _;
                let text = from_environment(text)?.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
                let bytes = base64::engine::general_purpose::STANDARD_NO_PAD.decode(text).map_err(|why| {
                    TargetError::Key(format!("keys.sign.secret-base64: expected base64, saw something else: {why}"))
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
        let Some(request) = self.profile.operations.get(operation).and_then(|o| o.request.as_ref()) else {
            return Vec::new();
        };
        let texts = [request.path.as_str()].into_iter().chain(request.headers.values().map(String::as_str));
        let said = texts.flat_map(names).chain(request.fields.values().flat_map(names_in));
        said.filter_map(|name| name.strip_prefix("discovery.")).map(str::to_owned).collect()
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

/// Keys are read whole; the largest RSA key in use has about 12 KiB as PEM.
const MAX_KEY_BYTES: u64 = 1024 * 1024;

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

/// `${admin_url}` in front of a path says what is so anyway.
fn strip_admin_url(request: &Request) -> Request {
    let mut request = request.clone();
    if let Some(path) = request.path.strip_prefix("${admin_url}") {
        request.path = path.to_owned();
    }
    request
}

fn header_value(text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    HeaderValue::from_bytes(text.as_bytes())
}

/// `application/x-www-form-urlencoded`; a list is the same name several times.
fn form(fields: &[(String, Value)]) -> String {
    let mut pairs = Vec::new();
    for (name, value) in fields {
        let values = match value {
            Value::Array(items) => items.iter().map(as_text).collect(),
            other => vec![as_text(other)],
        };
        pairs.extend(values.into_iter().map(|value| format!("{}={}", form_encoded(name), form_encoded(&value))));
    }
    pairs.join("&")
}

fn form_encoded(text: &str) -> String {
    percent(text).replace("%20", "+")
}

/// Everything but RFC 3986's unreserved characters percent-encoded.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

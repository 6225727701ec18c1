//! What does `${...}` stand for? Values for a request, and the rule for a request "without" one of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::profile::{ClientEntry, User};

/// Values for the templates of one request.
#[derive(Clone, Default)]
pub struct Vars {
    token: Option<Value>,
    user: Option<User>,
    client: Option<ClientEntry>,
    issued: BTreeMap<String, Value>,
    other: BTreeMap<String, Value>,
    without: BTreeSet<String>,
}

/// Names only, no values: they are secrets.
impl std::fmt::Debug for Vars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vars")
            .field("token", &self.token.is_some())
            .field("without", &self.without)
            .finish_non_exhaustive()
    }
}

impl Vars {
    /// No token; user and client are the profile's.
    pub fn new() -> Vars {
        Vars::default()
    }
    /// With this token under test.
    pub fn with_token(token: &str) -> Vars {
        Vars::new().token(token)
    }
    /// The token under test. A value that is no text keeps its JSON type where `${token}` stands alone.
    pub fn token(mut self, token: impl Into<Value>) -> Vars {
        self.token = Some(token.into());
        self
    }
    /// Another user than the profile's first.
    pub fn user(mut self, user: &User) -> Vars {
        self.user = Some(user.clone());
        self
    }
    /// Another client than the profile's first.
    pub fn client(mut self, client: &ClientEntry) -> Vars {
        self.client = Some(client.clone());
        self
    }
    /// What `issue` (or the last refresh) returned, for `${issued.<name>}`.
    pub fn issued(mut self, issued: &BTreeMap<String, Value>) -> Vars {
        self.issued.extend(issued.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }
    /// Another value by name: `seconds`, `port`, `run_dir`, `admin_url`, `password`, or one that is given
    /// under its full name, such as `user.password`, and then comes before the profile's.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Vars {
        self.other.insert(name.to_owned(), value.into());
        self
    }
    /// Leaves out every part of the request that mentions this name, as `user.password` or `client.secret`.
    pub fn without(mut self, name: &str) -> Vars {
        self.without.insert(name.to_owned());
        self
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Filled<T> {
    /// The value.
    With(T),
    /// The part is to be left out.
    LeftOut,
}

/// Where values come from: the request's own, then the profile's, then the environment.
pub(super) struct Scope<'a> {
    pub(super) vars: &'a Vars,
    pub(super) user: Option<&'a User>,
    pub(super) client: Option<&'a ClientEntry>,
    pub(super) second_user: Option<&'a User>,
    pub(super) second_client: Option<&'a ClientEntry>,
    pub(super) discovery: &'a BTreeMap<String, Value>,
}

/// A template that could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A name that means nothing here.
    #[error("`${{{name}}}` stands for nothing here; hint: {hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What would mean something.
        hint: String,
    },
    /// `${` without `}`.
    #[error("expected `}}` after `${{` in `{0}`")]
    Open(String),
    /// An environment variable that is not set.
    #[error("the profile takes `${{env:{0}}}`, which is not set; hint: export {0}=...")]
    Environment(String),
}

/// One piece of a template text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Text as it stands.
    Plain(&'a str),
    /// A name between `${` and `}`.
    Name(&'a str),
}

/// Takes a text apart. `$${` stands for a literal `${`.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            pieces.push(Piece::Plain(&rest[..at - 1]));
            pieces.push(Piece::Plain("${"));
            rest = &rest[at + 2..];
            continue;
        }
        if at > 0 {
            pieces.push(Piece::Plain(&rest[..at]));
        }
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or_else(|| TemplateError::Open(text.to_owned()))?;
        pieces.push(Piece::Name(inner[..end].trim()));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest));
    }
    Ok(pieces)
}

/// The names that a text mentions.
pub(super) fn names(text: &str) -> Vec<&str> {
    pieces(text)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|p| if let Piece::Name(n) = p { Some(n) } else { None })
        .collect()
}

/// The names that a JSON value mentions anywhere.
pub(super) fn names_in(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => names(text),
        Value::Array(items) => items.iter().flat_map(names_in).collect(),
        Value::Object(members) => members.values().flat_map(names_in).collect(),
        _ => Vec::new(),
    }
}

/// How a JSON value reads inside a text.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Scope<'_> {
    /// The value of a name.
    fn value(&self, name: &str) -> Result<Filled<Value>, TemplateError> {
        let unknown = |hint: &str| TemplateError::Unknown { name: name.to_owned(), hint: hint.to_owned() };
        if self.vars.without.contains(name) {
            return Ok(Filled::LeftOut);
        }
        if let Some(value) = self.vars.other.get(name) {
            return Ok(Filled::With(value.clone()));
        }
        if let Some(variable) = name.strip_prefix("env:") {
            return std::env::var(variable)
                .map(|value| Filled::With(Value::String(value)))
                .map_err(|_| TemplateError::Environment(variable.to_owned()));
        }
        let (head, tail) = name.split_once('.').unwrap_or((name, ""));
        let (user, second) = (self.vars.user.as_ref().or(self.user), self.second_user);
        let (client, second_client) = (self.vars.client.as_ref().or(self.client), self.second_client);
        match (head, tail) {
            ("token", "") => Ok(self.vars.token.clone().map_or(Filled::LeftOut, Filled::With)),
            ("user", _) => self.user_value(user, tail, || {
                unknown("give `user: {login, password}` in the profile, or --user and --password")
            }),
            ("second_user", _) => {
                self.user_value(second, tail, || unknown("give `second_user: {login, password}` in the profile"))
            }
            ("client", _) => self.client_value(client, tail, || unknown("give `client: {id, secret}` in the profile")),
            ("second_client", _) => {
                self.client_value(second_client, tail, || unknown("give `second_client: {id, secret}` in the profile"))
            }
            ("issued", _) => match self.vars.issued.get(tail) {
                Some(value) => Ok(Filled::With(value.clone())),
                // Whoever has no token has nothing that comes with one.
                None if self.vars.token.is_none() => Ok(Filled::LeftOut),
                None => Err(unknown(&format!(
                    "let `returns` of the issue operation say where `{tail}` is, and issue first"
                ))),
            },
            ("discovery", _) => self
                .discovery
                .get(tail)
                .cloned()
                .map(Filled::With)
                .ok_or_else(|| unknown(&format!("the discovery document has no `{tail}`, or was not read"))),
            _ => Err(unknown(
                "there are token, user, client, second_user, second_client, issued, discovery and env:NAME",
            )),
        }
    }

    fn user_value(
        &self,
        user: Option<&User>,
        tail: &str,
        unknown: impl Fn() -> TemplateError,
    ) -> Result<Filled<Value>, TemplateError> {
        let user = user.ok_or_else(&unknown)?;
        let text = match tail {
            "login" => &user.login,
            "password" => &user.password,
            "id" => user.id.as_ref().unwrap_or(&user.login),
            _ => return Err(unknown()),
        };
        self.nested(text)
    }

    fn client_value(
        &self,
        client: Option<&ClientEntry>,
        tail: &str,
        unknown: impl Fn() -> TemplateError,
    ) -> Result<Filled<Value>, TemplateError> {
        let client = client.ok_or_else(&unknown)?;
        match (tail, &client.secret) {
            ("id", _) => self.nested(&client.id),
            ("secret", Some(secret)) => self.nested(secret),
            // A public client has none: what mentions it is left out.
            ("secret", None) => Ok(Filled::LeftOut),
            _ => Err(unknown()),
        }
    }

    /// A value of the profile may itself name the environment, and nothing else.
    fn nested(&self, text: &str) -> Result<Filled<Value>, TemplateError> {
        Ok(Filled::With(Value::String(environment(text)?)))
    }

    /// Fills a text; left out as a whole if it mentions a value that is.
    pub(super) fn text(&self, text: &str) -> Result<Filled<String>, TemplateError> {
        Ok(match self.json_text(text)? {
            Filled::With(value) => Filled::With(as_text(&value)),
            Filled::LeftOut => Filled::LeftOut,
        })
    }

    fn json_text(&self, text: &str) -> Result<Filled<Value>, TemplateError> {
        let pieces = pieces(text)?;
        if let [Piece::Name(name)] = pieces.as_slice() {
            return self.value(name);
        }
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Plain(plain) => filled.push_str(plain),
                Piece::Name(name) => match self.value(name)? {
                    Filled::With(value) => filled.push_str(&as_text(&value)),
                    Filled::LeftOut => return Ok(Filled::LeftOut),
                },
            }
        }
        Ok(Filled::With(Value::String(filled)))
    }

    /// Fills a JSON value; members and elements that mention a left-out value go.
    pub(super) fn json(&self, value: &Value) -> Result<Filled<Value>, TemplateError> {
        match value {
            Value::String(text) => self.json_text(text),
            Value::Array(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for item in items {
                    if let Filled::With(value) = self.json(item)? {
                        filled.push(value);
                    }
                }
                Ok(Filled::With(Value::Array(filled)))
            }
            Value::Object(members) => {
                let mut filled = serde_json::Map::new();
                for (name, member) in members {
                    if let Filled::With(value) = self.json(member)? {
                        filled.insert(name.clone(), value);
                    }
                }
                Ok(Filled::With(Value::Object(filled)))
            }
            other => Ok(Filled::With(other.clone())),
        }
    }
}

/// Fills `${env:NAME}` and refuses every other name.
///
/// # Errors
/// A variable that is not set, another name, or a brace that is not closed.
pub fn environment(text: &str) -> Result<String, TemplateError> {
    let mut filled = String::new();
    for piece in pieces(text)? {
        match piece {
            Piece::Plain(plain) => filled.push_str(plain),
            Piece::Name(name) => match name.strip_prefix("env:") {
                Some(variable) => filled
                    .push_str(&std::env::var(variable).map_err(|_| TemplateError::Environment(variable.to_owned()))?),
                None => {
                    return Err(TemplateError::Unknown {
                        name: name.to_owned(),
                        hint: "only `${env:NAME}` can stand here".to_owned(),
                    });
                }
            },
        }
    }
    Ok(filled)
}

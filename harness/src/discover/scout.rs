//! How does discovery speak to the server? A target whose profile grows while it is looked at.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use super::{DiscoverError, Question, Talk, Wanted};
use crate::scenario::Source;
use crate::target::{ClientEntry, Issued, Operation, Target, TargetError, User, Vars, environment, parse_profile};
use crate::wire::{self, Reply, WireError};

/// A login may hash a password; nothing else takes long.
const PATIENCE: Duration = Duration::from_secs(10);
/// A profile that says nothing yet.
const EMPTY: &str = "schema: 1\nname: server\ndialect: rs-only\noperations: {}\n";

pub(super) struct Scout<'a> {
    pub(super) target: Target,
    pub(super) wanted: Wanted,
    pub(super) talk: &'a mut dyn Talk,
}

impl<'a> Scout<'a> {
    pub(super) fn new(wanted: Wanted, talk: &'a mut dyn Talk) -> Result<Scout<'a>, DiscoverError> {
        let contradiction = |why: String| DiscoverError::Contradiction(why);
        let mut profile =
            parse_profile(&Source::new("draft", ".", EMPTY), None).map_err(|e| contradiction(e.to_string()))?;
        profile.folder = std::env::current_dir().unwrap_or_default();
        profile.tls.clone_from(&wanted.tls);
        let target = Target::new(profile, &wanted.url, None, &wanted.allow_remote).map_err(|why| match why {
            TargetError::Address(why) => DiscoverError::Address(why),
            other => contradiction(other.to_string()),
        })?;
        let mut scout = Scout { target, wanted, talk };
        if let Err(why) = scout.raw("GET", "/", None) {
            return Err(DiscoverError::Unreachable { url: scout.target.endpoint.url(), why });
        }
        scout.people();
        Ok(scout)
    }

    /// Writes user and client, as far as they are known, into the profile.
    pub(super) fn people(&mut self) {
        let wanted = &self.wanted;
        self.target.profile.user = wanted.user.as_ref().map(|login| User {
            login: login.clone(),
            password: wanted.password.clone().unwrap_or_default(),
            id: None,
        });
        self.target.profile.client = wanted.client.as_ref().map(|id| ClientEntry {
            id: id.clone(),
            secret: wanted.client_secret.clone().filter(|secret| !secret.is_empty()),
        });
    }

    pub(super) fn say(&mut self, line: impl AsRef<str>) {
        self.talk.say(line.as_ref());
    }

    /// Makes sure that user and password are known.
    pub(super) fn need_user(&mut self) -> Result<(), DiscoverError> {
        for question in [Question::User, Question::Password] {
            let known = match question {
                Question::User => &self.wanted.user,
                _ => &self.wanted.password,
            };
            if known.is_none() {
                let answer = self.talk.ask(question).ok_or(DiscoverError::Missing(question))?;
                match question {
                    Question::User => self.wanted.user = Some(answer),
                    _ => self.wanted.password = Some(answer),
                }
            }
        }
        self.people();
        Ok(())
    }

    /// Makes sure that there is a client; `false` where nobody knows one.
    pub(super) fn need_client(&mut self) -> bool {
        if self.wanted.client.is_none() {
            let Some(id) = self.talk.ask(Question::Client).filter(|id| !id.is_empty()) else { return false };
            self.wanted.client = Some(id);
            if self.wanted.client_secret.is_none() {
                self.wanted.client_secret = self.talk.ask(Question::ClientSecret);
            }
            self.people();
        }
        true
    }

    /// One request as it stands.
    pub(super) fn raw(&self, method: &str, path: &str, json: Option<&str>) -> Result<Reply, WireError> {
        let mut request = http::Request::new(json.map(|text| Bytes::from(text.to_owned())).unwrap_or_default());
        let wrong = |reason: String| WireError::Address { url: path.to_owned(), reason };
        *request.method_mut() = method.parse().map_err(|e: http::method::InvalidMethod| wrong(e.to_string()))?;
        *request.uri_mut() = path.parse().map_err(|e: http::uri::InvalidUri| wrong(e.to_string()))?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if json.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.wanted.headers {
            let name: http::HeaderName = name.parse().map_err(|_| wrong(format!("`{name}` is no header's name")))?;
            let value = environment(value).map_err(|why| wrong(format!("`{name}`: {why}")))?;
            let value = value.parse().map_err(|_| wrong(format!("`{name}` cannot have this value")))?;
            request.headers_mut().insert(name, value);
        }
        exchange(&self.target, &request)
    }

    /// A JSON document, if one is there.
    pub(super) fn document(&self, path: &str) -> Option<serde_json::Value> {
        let reply = self.raw("GET", path, None).ok()?;
        (reply.status == 200).then(|| reply.json()).flatten().filter(serde_json::Value::is_object)
    }

    /// The path of an address that a document names, below the target's own.
    pub(super) fn local(&self, address: &str) -> String {
        let path = match address.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
            None => format!("/{}", address.trim_start_matches("./").trim_start_matches('/')),
        };
        let base = self.target.endpoint.base_path.trim_end_matches('/');
        match path.strip_prefix(base) {
            Some(inner) if inner.starts_with('/') => inner.to_owned(),
            _ => path,
        }
    }

    /// Puts an operation into the profile, in place of one of that name.
    pub(super) fn set(&mut self, name: &str, mut operation: Operation) {
        if let Some(request) = &mut operation.request {
            for (name, value) in &self.wanted.headers {
                request.headers.insert(name.clone(), value.clone());
            }
        }
        self.target.profile.operations.insert(name.to_owned(), operation);
    }

    pub(super) fn unset(&mut self, name: &str) {
        self.target.profile.operations.shift_remove(name);
    }

    pub(super) fn operation(&mut self, name: &str) -> Option<&mut Operation> {
        self.target.profile.operations.get_mut(name)
    }

    /// Sends an operation of the profile.
    pub(super) fn call(&self, operation: &str, vars: &Vars) -> Option<Reply> {
        let request = self.target.request(operation, vars).ok()?;
        exchange(&self.target, &request).ok()
    }

    /// As [`call`](Self::call) with another method.
    pub(super) fn call_as(&self, method: http::Method, operation: &str, vars: &Vars) -> Option<Reply> {
        let mut request = self.target.request(operation, vars).ok()?;
        *request.method_mut() = method;
        *request.body_mut() = Bytes::new();
        request.headers_mut().remove(CONTENT_TYPE);
        exchange(&self.target, &request).ok()
    }

    /// Logs in as the profile says.
    pub(super) fn log_in(&self) -> Option<Issued> {
        if self.target.is_command("issue") {
            return self.target.command("issue", &Vars::new()).ok();
        }
        let reply = self.call("issue", &Vars::new())?;
        self.target.tokens(&reply, "issue").ok().filter(|_| is_good(&reply))
    }
}

/// Whether a status is of the 200s: all that is known before there is a predicate.
pub(super) fn is_good(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

/// The values of one login, with a token under test.
pub(super) fn with(issued: &Issued, token: &str) -> Vars {
    Vars::with_token(token).issued(&issued.other)
}

fn exchange(target: &Target, request: &http::Request<Bytes>) -> Result<Reply, WireError> {
    wire::ask(&target.endpoint, &target.tls, request, PATIENCE)
}

/// A reply in a few words: `401 {"detail": "..."}`.
pub(super) fn brief(reply: &Reply) -> String {
    let text: String = reply.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(100).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    if short.is_empty() { reply.status.to_string() } else { format!("{} {short}{dots}", reply.status) }
}

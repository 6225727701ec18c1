//! Which request is this operation, with these values?

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::judge;
use super::profile::{Auth, BodyKind, Request};
use super::server::{Target, TargetError};
use super::template::{Filled, Scope, TemplateError, Vars, as_text, names};
use crate::wire::Endpoint;

impl Target {
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
    pub(super) fn path(&self, scope: &Scope<'_>, path: &str) -> Result<String, TemplateError> {
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
    pub fn origin_form(&self, text: &str) -> String {
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

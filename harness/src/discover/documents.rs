//! What does the server say of itself? Metadata of OAuth and OpenID Connect, OpenAPI documents, JWKS.

use serde_json::Value;

use super::scout::Scout;
use crate::target::BodyKind;

/// Where metadata is, by RFC 8414 and OpenID Connect Discovery.
const METADATA: &[&str] = &["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];
/// Where frameworks put their OpenAPI documents.
const OPENAPI: &[&str] = &[
    "/openapi.json",
    "/api/openapi.json",
    "/api/schema/?format=json",
    "/schema/?format=json",
    "/swagger.json",
    "/swagger/v1/swagger.json",
    "/v3/api-docs",
    "/v2/api-docs",
    "/api-json",
    "/api/docs/openapi.json",
];
/// Where key sets are without metadata.
const KEY_SETS: &[&str] = &["/.well-known/jwks.json", "/jwks.json", "/.well-known/jwks", "/oauth2/jwks"];
/// Deepest chain of references within an OpenAPI document.
const MAX_REFERENCES: u8 = 8;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// The metadata document and its path.
    pub(super) metadata: Option<(&'static str, Value)>,
    /// Operations of the OpenAPI document.
    pub(super) operations: Vec<Described>,
    /// The path of an OAuth 2 password login that the OpenAPI document names.
    pub(super) password_login: Option<String>,
    /// The title that the OpenAPI document gives.
    pub(super) title: Option<String>,
    /// The path of a key set.
    pub(super) keys: Option<String>,
}

impl Documents {
    /// A text member of the metadata.
    pub(super) fn member(&self, name: &str) -> Option<&str> {
        self.metadata.as_ref()?.1.get(name)?.as_str()
    }

    /// The entries of a list of the metadata; `None` where it has no such list.
    pub(super) fn list(&self, name: &str) -> Option<Vec<&str>> {
        let list = self.metadata.as_ref()?.1.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }
}

/// An operation of an OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) method: String,
    pub(super) path: String,
    /// Members of the body.
    pub(super) fields: Vec<String>,
    pub(super) body: BodyKind,
    /// It needs a token.
    pub(super) secured: bool,
    /// It has parameters that nobody can guess.
    pub(super) parameters: bool,
}

/// Looks for every document.
pub(super) fn read(scout: &mut Scout<'_>) -> Documents {
    let mut found = Documents::default();
    for path in METADATA {
        let Some(document) = scout.document(path).filter(|d| d.get("token_endpoint").is_some()) else { continue };
        scout.say(format!("{path}: metadata of {}", text(&document, "issuer").unwrap_or("an OAuth 2 server")));
        found.metadata = Some((path, document));
        break;
    }
    for path in OPENAPI {
        let named = |d: &Value| d.get("openapi").is_some() || d.get("swagger").is_some();
        let Some(document) = scout.document(path).filter(named) else { continue };
        let prefix = prefix(&document);
        found.operations = operations(&document, &prefix);
        found.password_login = password_login(&document, &prefix);
        found.title = document.pointer("/info/title").and_then(Value::as_str).map(str::to_owned);
        let (count, title) = (found.operations.len(), found.title.as_deref().unwrap_or("no title"));
        scout.say(format!("{path}: an OpenAPI document ({title}), {count} operations"));
        break;
    }
    let named = found.member("jwks_uri").map(|uri| scout.local(uri));
    let paths = named.into_iter().chain(KEY_SETS.iter().map(|path| (*path).to_owned()));
    found.keys = paths.into_iter().find(|path| scout.document(path).is_some_and(|d| d.get("keys").is_some()));
    if let Some(path) = &found.keys {
        scout.say(format!("{path}: public keys"));
    }
    found
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// What stands before every path of the document.
fn prefix(document: &Value) -> String {
    let server = document.pointer("/servers/0/url").and_then(Value::as_str).or_else(|| text(document, "basePath"));
    let path = match server.unwrap_or("").split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => server.unwrap_or(""),
    };
    path.trim_end_matches('/').to_owned()
}

/// Follows `$ref` within the document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..MAX_REFERENCES {
        match text(value, "$ref").and_then(|r| r.strip_prefix('#')).and_then(|pointer| document.pointer(pointer)) {
            Some(next) => value = next,
            None => break,
        }
    }
    value
}

fn operations(document: &Value, prefix: &str) -> Vec<Described> {
    let empty = serde_json::Map::new();
    let secured_by_default = document.get("security").and_then(Value::as_array).is_some_and(|s| !s.is_empty());
    let mut found = Vec::new();
    for (path, item) in document.get("paths").and_then(Value::as_object).unwrap_or(&empty) {
        for (method, operation) in item.as_object().unwrap_or(&empty) {
            let method = method.to_ascii_uppercase();
            if !matches!(method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
                continue;
            }
            let secured = operation.get("security").and_then(Value::as_array).map_or(secured_by_default, |ways| {
                !ways.is_empty() && ways.iter().all(|w| w != &Value::Object(empty.clone()))
            });
            let lists = [item.get("parameters"), operation.get("parameters")];
            let parameters: Vec<&Value> = lists
                .into_iter()
                .flatten()
                .filter_map(Value::as_array)
                .flatten()
                .map(|parameter| resolved(document, parameter))
                .collect();
            let place = |parameter: &Value| text(parameter, "in").unwrap_or("").to_owned();
            let unknown = path.contains('{')
                || parameters.iter().any(|p| {
                    matches!(place(p).as_str(), "query" | "header" | "path")
                        && p.get("required").and_then(Value::as_bool) == Some(true)
                });
            let (body, fields) = body(document, operation, &parameters);
            let path = format!("{prefix}{path}");
            found.push(Described { method, path, fields, body, secured, parameters: unknown });
        }
    }
    found
}

/// How the body travels, and its members.
fn body(document: &Value, operation: &Value, parameters: &[&Value]) -> (BodyKind, Vec<String>) {
    let members = |schema: &Value| -> Vec<String> {
        let properties = resolved(document, schema).get("properties").and_then(Value::as_object);
        properties.map(|p| p.keys().cloned().collect()).unwrap_or_default()
    };
    if let Some(content) =
        operation.get("requestBody").map(|b| resolved(document, b)).and_then(|b| b.get("content")?.as_object())
    {
        let of = |kind: &str| content.iter().find(|(name, _)| name.contains(kind)).and_then(|(_, c)| c.get("schema"));
        if let Some(schema) = of("json") {
            return (BodyKind::Json, members(schema));
        }
        if let Some(schema) = of("form") {
            return (BodyKind::Form, members(schema));
        }
    }
    // Swagger 2.
    let inside = |place: &str| parameters.iter().filter(move |p| text(p, "in") == Some(place)).collect::<Vec<_>>();
    if let Some(schema) = inside("body").first().and_then(|p| p.get("schema")) {
        return (BodyKind::Json, members(schema));
    }
    let form: Vec<String> = inside("formData").iter().filter_map(|p| text(p, "name")).map(str::to_owned).collect();
    (if form.is_empty() { BodyKind::None } else { BodyKind::Form }, form)
}

/// Where the document says that a password is exchanged for a token.
fn password_login(document: &Value, prefix: &str) -> Option<String> {
    let schemes = document.pointer("/components/securitySchemes").or_else(|| document.get("securityDefinitions"))?;
    let address = schemes.as_object()?.values().find_map(|scheme| {
        let modern = scheme.pointer("/flows/password/tokenUrl").and_then(Value::as_str);
        modern.or_else(|| (text(scheme, "flow") == Some("password")).then(|| text(scheme, "tokenUrl")).flatten())
    })?;
    Some(match address.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None if address.starts_with('/') => address.to_owned(),
        None => format!("{prefix}/{}", address.trim_start_matches("./")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_openapi_document_tells_logins_and_what_needs_a_token() {
        let document = json!({
            "openapi": "3.1.0", "servers": [{"url": "https://api.example/v1/"}],
            "paths": {
                "/token": {"post": {"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/Login"}}}}}},
                "/me": {"get": {"security": [{"bearer": []}]}},
                "/items/{id}": {"get": {"security": [{"bearer": []}]}},
                "/open": {"get": {"security": [{}]}},
                "/search": {"get": {"security": [{"bearer": []}], "parameters": [{"in": "query", "name": "q", "required": true}]}}
            },
            "components": {
                "schemas": {"Login": {"properties": {"username": {}, "password": {}}}},
                "securitySchemes": {"bearer": {"type": "oauth2", "flows": {"password": {"tokenUrl": "token"}}}}
            }
        });
        let prefix = prefix(&document);
        let found = operations(&document, &prefix);
        let of = |path: &str| found.iter().find(|o| o.path == path).expect("described");
        assert_eq!((of("/v1/token").body, of("/v1/token").fields.len()), (BodyKind::Form, 2));
        assert!(of("/v1/me").secured && !of("/v1/me").parameters);
        assert!(of("/v1/items/{id}").parameters && of("/v1/search").parameters);
        assert!(!of("/v1/open").secured);
        assert_eq!(password_login(&document, &prefix).as_deref(), Some("/v1/token"));
    }

    #[test]
    fn the_older_form_is_read_too() {
        let document = json!({
            "swagger": "2.0", "basePath": "/api", "security": [{"jwt": []}],
            "paths": {"/login": {"post": {"security": [], "parameters": [{"in": "body", "name": "b", "schema": {"properties": {"email": {}, "password": {}}}}]}},
                      "/me": {"get": {}}},
            "securityDefinitions": {"jwt": {"type": "oauth2", "flow": "password", "tokenUrl": "https://x.example/api/login"}}
        });
        let prefix = prefix(&document);
        let found = operations(&document, &prefix);
        assert!(found.iter().any(|o| o.path == "/api/login" && !o.secured && o.fields == ["email", "password"]));
        assert!(found.iter().any(|o| o.path == "/api/me" && o.secured));
        assert_eq!(password_login(&document, &prefix).as_deref(), Some("/api/login"));
    }
}

//! How does one log in? Candidates from the user, from documents and from well-known paths, tried in this order.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::documents::{Described, Documents};
use super::scout::{Scout, brief, is_good, with};
use super::{DiscoverError, Question, tokens};
use crate::target::{Auth, Basic, BodyKind, Dialect, Issued, Operation, Predicate, Request, Statuses, Vars};
use crate::wire::Reply;

/// Where tutorials, frameworks and libraries put the login, the likeliest first.
const PATHS: &[&str] = &[
    "/api/token/",
    "/api/token",
    "/token",
    "/token/",
    "/auth/jwt/create/",
    "/api/auth/jwt/create/",
    "/api/auth/token/",
    "/api/v1/token/",
    "/auth/token",
    "/o/token/",
    "/oauth/token",
    "/oauth2/token",
    "/connect/token",
    "/auth/login",
    "/auth/login/",
    "/api/auth/login",
    "/api/auth/login/",
    "/api/login",
    "/api/login/",
    "/login",
    "/api/v1/auth/login",
    "/api/v1/login",
    "/api/sessions",
    "/sessions",
    "/authenticate",
    "/api/authenticate",
    "/auth/signin",
    "/api/auth/signin",
    "/signin",
    "/auth/jwt/login",
    "/jwt/login",
    "/dj-rest-auth/login/",
    "/users/login",
    "/api/users/login",
    "/auth",
];
/// What a login is called, the likeliest first.
const LOGINS: &[&str] = &["username", "email", "login", "user", "userName", "user_name", "name", "identifier"];
/// What a password is called.
const PASSWORDS: &[&str] = &["password", "passwd", "pass", "pwd"];
/// Words in paths that take a password for something else.
const NOT_A_LOGIN: &[&str] = &["register", "signup", "sign-up", "reset", "change", "forgot", "confirm", "users/create"];
/// Most logins that are tried: servers count wrong ones.
const MAX_TRIES: usize = 40;
/// Member `error` of a token endpoint's refusal (RFC 6749 section 5.2).
const OAUTH_ERRORS: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// The login that works.
#[derive(Debug)]
pub(super) struct Login {
    /// What it returned.
    pub(super) issued: Issued,
    /// What kind of server this seems to be, as a name for files.
    pub(super) kind: &'static str,
}

/// What an answer to an empty login tells.
#[derive(Debug, Default, PartialEq)]
struct Hints {
    login: Option<String>,
    password: Option<String>,
    oauth: bool,
}

/// Finds the login, puts it into the profile as `issue`.
pub(super) fn find(scout: &mut Scout<'_>, documents: &Documents) -> Result<Login, DiscoverError> {
    if !scout.wanted.command.is_empty() {
        return by_command(scout, documents);
    }
    let mut tried = Tried::default();
    if let Some(path) = scout.wanted.login.clone() {
        let local = scout.local(&path);
        return at(scout, &local, &mut tried)?
            .map_or_else(|| Err(tried.failure(&local)), |login| Ok(named(login, documents)));
    }
    if let Some(login) = by_metadata(scout, documents, &mut tried)? {
        return Ok(login);
    }
    let mut paths: Vec<String> = documents.password_login.iter().map(|path| scout.local(path)).collect();
    let described = documents.operations.iter().filter(|o| is_login(o)).map(|o| scout.local(&o.path));
    paths.extend(described.collect::<Vec<_>>());
    for path in PATHS {
        if !paths.iter().any(|known| known == path) {
            paths.push((*path).to_owned());
        }
    }
    let nowhere = scout.raw("POST", "/assay/nowhere", Some("{}")).map_or(404, |reply| reply.status);
    for path in &paths {
        let named_by_document = documents.password_login.as_ref() == Some(path);
        let Ok(reply) = scout.raw("POST", path, Some("{}")) else { continue };
        // Middleware that asks for a token everywhere says the same of a path that is not there.
        let silent = matches!(reply.status, 404 | 405 | 501 | 300..=399)
            || (reply.status == nowhere && hints(&reply) == Hints::default());
        if silent && !named_by_document {
            continue;
        }
        if let Some(login) = at(scout, path, &mut tried)? {
            return Ok(named(login, documents));
        }
    }
    if tried.lines.is_empty()
        && let Some(path) = scout.talk.ask(Question::Login)
    {
        let local = scout.local(&path);
        if let Some(login) = at(scout, &local, &mut tried)? {
            return Ok(named(login, documents));
        }
    }
    for path in ["/graphql", "/graphql/", "/"] {
        let reply = scout.raw("POST", path, Some(r#"{"query":"{ __typename }"}"#)).ok();
        if reply.and_then(|reply| reply.json()).is_some_and(|json| json.pointer("/data/__typename").is_some()) {
            tried.lines.push(format!(
                "  {path}: GraphQL, where the login is a mutation that nobody can guess: write the profile after the recipe in docs/profiles.md"
            ));
            break;
        }
    }
    Err(tried.failure(""))
}

/// What was tried, for the message when nothing worked.
#[derive(Default)]
struct Tried {
    lines: Vec<String>,
    /// How much each refusal looks like that of a login that was understood; the least comes first.
    ranks: HashMap<String, u8>,
    /// What the place that is tried answered to a login without any field.
    empty: Option<Reply>,
    count: usize,
}

impl Tried {
    /// Notes how a login was refused.
    fn refused(&mut self, line: String, reply: Option<&Reply>) {
        // What says the same to an empty login has not looked at the password: a refresh, say.
        let blind = reply.zip(self.empty.as_ref()).is_some_and(|(a, b)| a.status == b.status && a.body == b.body);
        let place = line.split(" (").next().unwrap_or_default();
        let called = ["login", "signin", "session", "authenticate"].iter().any(|word| place.contains(word));
        let rank = match reply.map(|reply| reply.status) {
            Some(401) => 0,
            // RFC 6749 section 5.2 refuses a wrong password with 400.
            Some(400) if reply.is_some_and(|reply| reply.text().contains("invalid_grant")) => 0,
            Some(403 | 423 | 429) => 1,
            Some(200..300) => 2,
            Some(400 | 422) => 3,
            Some(_) => 4,
            None => 5,
        };
        self.ranks.insert(line.clone(), 4 * rank + 2 * u8::from(blind) + u8::from(!called));
        self.lines.push(line);
    }

    fn failure(&self, path: &str) -> DiscoverError {
        let mut lines = self.lines.clone();
        lines.dedup();
        // The real login's answer must not be cut away behind paths that are something else.
        lines.sort_by_key(|line| self.ranks.get(line).copied().unwrap_or_default());
        lines.truncate(12);
        if lines.is_empty() {
            lines.push(if path.is_empty() {
                "  no path answers as a login does".into()
            } else {
                format!("  {path} does not answer")
            });
        }
        DiscoverError::NoLogin {
            tried: lines.join("\n"),
            hint: "look at user and password; say where the login is with --login PATH, what it wants with --body and --field NAME=VALUE, or give a program with --login-command".into(),
        }
    }
}

fn is_login(operation: &Described) -> bool {
    let path = operation.path.to_ascii_lowercase();
    operation.method == "POST"
        && !operation.parameters
        && operation.fields.iter().any(|field| PASSWORDS.contains(&field.as_str()))
        && operation.fields.iter().any(|field| LOGINS.contains(&field.as_str()))
        && !NOT_A_LOGIN.iter().any(|word| path.contains(word))
}

/// The kind by what the document calls itself, else by what the login looked like.
fn named(login: Login, documents: &Documents) -> Login {
    match documents.title.as_deref() {
        Some("FastAPI") if login.kind == "server" => Login { kind: "fastapi", ..login },
        _ => login,
    }
}

/// A login by the user's own program.
fn by_command(scout: &mut Scout<'_>, documents: &Documents) -> Result<Login, DiscoverError> {
    let command = scout.wanted.command.clone();
    if command.iter().any(|word| word.contains("${user.")) {
        scout.need_user()?;
    }
    scout.set("issue", Operation { command: Some(command), ..Operation::default() });
    match scout.target.command("issue", &Vars::new()) {
        Ok(issued) => {
            // Who has a token endpoint issues tokens, whoever fetches them.
            let (dialect, kind) = match &documents.metadata {
                Some((path, _)) if documents.member("token_endpoint").is_some() => by_document(path),
                _ => (Dialect::RsOnly, "server"),
            };
            scout.target.profile.dialect = dialect;
            scout.say("the program logs in");
            Ok(Login { issued, kind })
        }
        Err(why) => Err(DiscoverError::NoLogin {
            tried: format!("  {why}"),
            hint: "it has to print {\"access\": \"...\"} and to end with status 0".into(),
        }),
    }
}

/// Dialect and kind of a server whose metadata lies at this path.
fn by_document(path: &str) -> (Dialect, &'static str) {
    match path.ends_with("openid-configuration") {
        true => (Dialect::Oidc, "oidc"),
        false => (Dialect::Oauth, "oauth2"),
    }
}

/// A login at the token endpoint that the metadata names.
fn by_metadata(
    scout: &mut Scout<'_>,
    documents: &Documents,
    tried: &mut Tried,
) -> Result<Option<Login>, DiscoverError> {
    let (Some((path, _)), Some(endpoint)) = (&documents.metadata, documents.member("token_endpoint")) else {
        return Ok(None);
    };
    let (dialect, kind) = by_document(path);
    let oidc = dialect == Dialect::Oidc;
    let endpoint = scout.local(endpoint);
    let grants = documents.list("grant_types_supported");
    let offers = |grant: &str| grants.as_ref().is_none_or(|grants| grants.contains(&grant));
    let methods =
        documents.list("token_endpoint_auth_methods_supported").unwrap_or_else(|| vec!["client_secret_basic"]);
    if !offers("password") && !offers("client_credentials") {
        let listed = grants.unwrap_or_default().join(", ");
        tried.lines.push(format!(
            "  {endpoint}: offers {listed}: a browser is needed, so log in by a program (--login-command)"
        ));
        return Ok(None);
    }
    let client = scout.need_client();
    let person = offers("password") && (scout.wanted.user.is_some() || !offers("client_credentials") || !client);
    if person {
        scout.need_user()?;
    }
    scout.target.profile.dialect = dialect;
    let scope = documents.list("scopes_supported").filter(|scopes| oidc && person && scopes.contains(&"openid"));
    let mut ways = Vec::new();
    if client && (methods.contains(&"client_secret_basic") || !methods.contains(&"client_secret_post")) {
        ways.push(ClientWay::Basic);
    }
    if client {
        ways.push(ClientWay::Form);
    } else {
        ways.push(ClientWay::None);
    }
    for way in ways {
        let mut operation = oauth_login(&endpoint, person, way);
        if let (Some(request), Some(_)) = (operation.request.as_mut(), &scope) {
            request.fields.insert("scope".into(), Value::from("openid"));
        }
        with_given(scout, &mut operation);
        if let Some(issued) = attempt(scout, operation, tried) {
            return Ok(Some(Login { issued, kind }));
        }
    }
    Ok(None)
}

/// How the client shows who it is.
#[derive(Clone, Copy, PartialEq)]
enum ClientWay {
    None,
    Basic,
    Form,
}

fn oauth_login(path: &str, person: bool, way: ClientWay) -> Operation {
    let mut fields: IndexMap<String, Value> = IndexMap::new();
    fields.insert("grant_type".into(), Value::from(if person { "password" } else { "client_credentials" }));
    if person {
        fields.insert("username".into(), Value::from("${user.login}"));
        fields.insert("password".into(), Value::from("${user.password}"));
    }
    let mut auth = None;
    match way {
        ClientWay::None => {}
        ClientWay::Basic => auth = Some(basic()),
        ClientWay::Form => {
            fields.insert("client_id".into(), Value::from("${client.id}"));
            fields.insert("client_secret".into(), Value::from("${client.secret}"));
        }
    }
    post(path, BodyKind::Form, fields, auth)
}

/// Puts the fields that the user gave beside those of an OAuth login, or in their place.
fn with_given(scout: &Scout<'_>, operation: &mut Operation) {
    let Some(request) = operation.request.as_mut() else { return };
    for (name, value) in &scout.wanted.fields {
        request.fields.insert(name.clone(), Value::from(value.clone()));
    }
}

pub(super) fn basic() -> Auth {
    Auth::Basic(Basic { user: "${client.id}".into(), password: "${client.secret}".into(), urlencode: false })
}

fn post(path: &str, body: BodyKind, fields: IndexMap<String, Value>, auth: Option<Auth>) -> Operation {
    let request = Request {
        method: Some("POST".into()),
        path: path.to_owned(),
        body: Some(body),
        fields,
        auth,
        ..Request::default()
    };
    Operation { request: Some(request), ..Operation::default() }
}

/// Tries everything that a login at this path may want.
fn at(scout: &mut Scout<'_>, path: &str, tried: &mut Tried) -> Result<Option<Login>, DiscoverError> {
    scout.need_user()?;
    tried.empty = scout.raw("POST", path, Some("{}")).ok();
    let hints = tried.empty.as_ref().map(hints).unwrap_or_default();
    let mut shapes = Vec::new();
    if hints.oauth {
        scout.target.profile.dialect = Dialect::Oauth;
        if scout.wanted.client.is_some() || scout.need_client() {
            shapes.push(oauth_login(path, true, ClientWay::Basic));
            shapes.push(oauth_login(path, true, ClientWay::Form));
        } else {
            shapes.push(oauth_login(path, true, ClientWay::None));
        }
        shapes.iter_mut().for_each(|shape| with_given(scout, shape));
    } else {
        scout.target.profile.dialect = Dialect::Simple;
        shapes.extend(plain(scout, path, &hints));
    }
    for shape in shapes {
        if tried.count >= MAX_TRIES {
            tried.lines.push(format!("  {path}: {MAX_TRIES} logins were tried, and servers count wrong ones: no more"));
            break;
        }
        if let Some(issued) = attempt(scout, shape, tried) {
            let simple = !hints.oauth && path.contains("token/") && issued.other.len() == 2 && issued.refresh.is_some();
            let kind = match (hints.oauth, simple) {
                (true, _) if path.ends_with("/o/token/") => "django-oauth-toolkit",
                (true, _) => "oauth2",
                (_, true) => "simplejwt",
                _ => "server",
            };
            return Ok(Some(Login { issued, kind }));
        }
    }
    Ok(None)
}

/// Logins with a name and a password, as JSON and as a form.
fn plain(scout: &Scout<'_>, path: &str, hints: &Hints) -> Vec<Operation> {
    let bodies = match scout.wanted.body {
        Some(body) => vec![body],
        None => vec![BodyKind::Json, BodyKind::Form],
    };
    let given = &scout.wanted.fields;
    // Fields that say who logs in are the whole login; others go beside what is guessed.
    let says_who = |(name, value): &(String, String)| {
        value.contains("${") || LOGINS.contains(&name.as_str()) || PASSWORDS.contains(&name.as_str())
    };
    let whole = given.iter().any(says_who);
    let password = hints.password.clone().unwrap_or_else(|| PASSWORDS[0].to_owned());
    // A complaint may hold such a word by chance: the others come after it.
    let mut logins: Vec<String> = hints.login.iter().cloned().collect();
    logins
        .extend(LOGINS.iter().take(5).map(|name| (*name).to_owned()).filter(|name| hints.login.as_ref() != Some(name)));
    let mut shapes = Vec::new();
    for body in bodies {
        if whole {
            let fields = given.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
            shapes.push(post(path, body, fields, None));
            continue;
        }
        for login in &logins {
            let mut fields: IndexMap<String, Value> = IndexMap::new();
            if body == BodyKind::Form && path.contains("token") {
                fields.insert("grant_type".into(), Value::from("password"));
            }
            fields.insert(login.clone(), Value::from("${user.login}"));
            fields.insert(password.clone(), Value::from("${user.password}"));
            fields.extend(given.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))));
            shapes.push(post(path, body, fields, None));
        }
    }
    shapes
}

/// Sends a login; where it grants, it stays in the profile as `issue`.
fn attempt(scout: &mut Scout<'_>, operation: Operation, tried: &mut Tried) -> Option<Issued> {
    tried.count += 1;
    let what = operation.request.as_ref().map(told).unwrap_or_default();
    scout.set("issue", operation);
    let Some(reply) = scout.call("issue", &Vars::new()) else {
        tried.refused(format!("  {what}: no answer"), None);
        scout.unset("issue");
        return None;
    };
    let returns = if is_good(&reply) { tokens::returns(&reply) } else { IndexMap::new() };
    if returns.is_empty() {
        let empty = if is_good(&reply) { ", without a token that could be found" } else { "" };
        tried.refused(format!("  {what}: {}{empty}", brief(&reply)), Some(&reply));
        scout.unset("issue");
        return None;
    }
    let places: Vec<String> = returns.iter().map(|(name, place)| format!("{name} at {place}")).collect();
    scout.say(format!("{what}: {}, {}", reply.status, places.join(", ")));
    if let Some(issue) = scout.operation("issue") {
        issue.returns = returns;
        issue.accepted = Some(Predicate { status: Some(Statuses::One(reply.status)), ..Predicate::default() });
    }
    scout.target.tokens(&reply, "issue").ok()
}

/// A request in a few words: `POST /login (JSON: username, password)`.
fn told(request: &Request) -> String {
    let body = match request.body {
        Some(BodyKind::Form) => "form",
        _ => "JSON",
    };
    let fields: Vec<&str> = request.fields.keys().map(String::as_str).collect();
    let auth = if request.auth.is_some() { ", client by Basic" } else { "" };
    format!("POST {} ({body}: {}{auth})", request.path, fields.join(", "))
}

/// What an answer to an empty login tells of the fields that it wants.
fn hints(reply: &Reply) -> Hints {
    let Some(json) = reply.json() else { return Hints::default() };
    let oauth = json.get("error").and_then(Value::as_str).is_some_and(|error| OAUTH_ERRORS.contains(&error));
    let mut words = Vec::new();
    collect(&json, 0, &mut words);
    let find =
        |known: &[&str]| known.iter().find(|name| words.iter().any(|word| word == *name)).map(|n| (*n).to_owned());
    Hints { login: find(LOGINS), password: find(PASSWORDS), oauth }
}

/// Every key and every word of a small JSON value: validation errors name the fields as one or the other.
fn collect(value: &Value, depth: u8, words: &mut Vec<String>) {
    match value {
        Value::Object(members) if depth < 6 => {
            for (name, member) in members {
                words.push(name.clone());
                collect(member, depth + 1, words);
            }
        }
        Value::Array(items) if depth < 6 => items.iter().take(20).for_each(|item| collect(item, depth + 1, words)),
        Value::String(text) => {
            let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            words.extend(parts.filter(|word| !word.is_empty()).take(40).map(str::to_owned));
        }
        _ => {}
    }
}

/// The genuine tokens of one login, with the access token as the one under test.
pub(super) fn shown(issued: &Issued) -> Vars {
    with(issued, issued.access.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, login: Option<&str>, password: Option<&str>, oauth: bool) {
        let reply = Reply { status: 400, body: body.as_bytes().to_vec(), ..Reply::default() };
        let wanted = Hints { login: login.map(str::to_owned), password: password.map(str::to_owned), oauth };
        assert_eq!(hints(&reply), wanted, "{body}");
    }

    #[test]
    fn the_answer_of_the_real_login_is_named_first() {
        let reply = |status: u16| Reply { status, ..Reply::default() };
        let mut tried = Tried { empty: Some(reply(401)), ..Tried::default() };
        for n in 0..20 {
            tried.refused(format!("  POST /token/{n}: 401"), Some(&reply(401)));
        }
        tried.empty = Some(reply(400));
        tried.refused("  POST /login: 401".to_owned(), Some(&reply(401)));
        let said = tried.failure("").to_string();
        assert!(said.starts_with("no login worked:\n  POST /login: 401\n  POST /token/0"), "{said}");
    }

    #[test]
    fn complaints_about_an_empty_login_tell_its_fields() {
        check(
            r#"{"email":["This field is required."],"password":["This field is required."]}"#,
            Some("email"),
            Some("password"),
            false,
        );
        check(
            r#"{"detail":[{"type":"missing","loc":["body","username"],"msg":"Field required"}]}"#,
            Some("username"),
            None,
            false,
        );
        check(r#"{"message":["login must be a string","pwd must be a string"]}"#, Some("login"), Some("pwd"), false);
        check(r#"{"error":"unsupported_grant_type"}"#, None, None, true);
        check("<html>no</html>", None, None, false);
    }
}

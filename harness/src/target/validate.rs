//! Does a profile make sense beyond its types? Every problem, each at its place, in every variant.

use std::path::Path;
use std::sync::Arc;

use globset::Glob;

use super::judge::{self, TokenPlace};
use super::load::{find, whole, with_variant};
use super::profile::{Auth, Dialect, Operation, Predicate, Profile, Request, VerifyKey};
use super::template::{Piece, pieces};
use crate::scenario::{Diagnostic, Diagnostics, Entry, Kind, Node, Place, Severity, Source, decode, suggestion};

/// Operations that have a meaning of their own; `verify.<any name>` stands beside them.
const OPERATIONS: &[&str] = &["issue", "refresh", "revoke", "keys", "scoped", "owned", "owned_write"];
/// Hooks that checks call.
const HOOKS: &[&str] = &[
    "disable_user",
    "enable_user",
    "delete_user",
    "create_user",
    "demote_user",
    "change_password",
    "logout_all",
    "rotate_keys",
    "retire_keys",
    "restart",
    "advance_clock",
    "reset",
];
/// Names that templates can say; `issued.*`, `discovery.*` and `env:*` beside.
const NAMES: &[&str] = &[
    "token",
    "user.login",
    "user.password",
    "user.id",
    "second_user.login",
    "second_user.password",
    "second_user.id",
    "client.id",
    "client.secret",
    "second_client.id",
    "second_client.secret",
];

/// The hooks that checks call, by name.
pub fn hooks() -> &'static [&'static str] {
    HOOKS
}

/// Everything that is wrong or doubtful in a profile's text, its variants included.
pub fn examine(source: &Arc<Source>) -> Diagnostics {
    let tree = match whole(source, 0) {
        Ok(tree) => tree,
        Err(found) => return found,
    };
    let mut found = examine_tree(&tree, None);
    // A variant of the profile that this one extends may not fit any more: whoever asks for it is told then.
    let own = |entry: &&Entry| Arc::ptr_eq(&entry.place.source, source);
    let variants: Vec<&str> = match tree.get("variants").map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries.iter().filter(own).map(|entry| entry.key.as_str()).collect(),
        _ => Vec::new(),
    };
    for name in variants {
        match with_variant(&tree, Some(name)) {
            Ok(merged) => {
                for mut problem in examine_tree(&merged, Some(name)).0 {
                    if !found.0.iter().any(|known| known.place == problem.place) {
                        problem.message = format!("variant `{name}`: {}", problem.message);
                        found.0.push(problem);
                    }
                }
            }
            Err(problems) => found.0.extend(problems.0),
        }
    }
    found
}

/// [`examine`] for a built-in name or a file.
pub fn examine_named(name_or_path: &str, base_dir: &Path) -> Diagnostics {
    match find(name_or_path, base_dir) {
        Ok(source) => examine(&source),
        Err(found) => found,
    }
}

/// The errors of one variant of a profile whose tree is merged already.
pub(super) fn examine_tree(tree: &Node, variant: Option<&str>) -> Diagnostics {
    let profile: Profile = match decode(tree) {
        Ok(profile) => profile,
        Err(found) => return found,
    };
    let mut look = Look { tree, found: Vec::new() };
    look.head(&profile);
    for (name, operation) in &profile.operations {
        look.operation(&profile, name, operation);
    }
    look.whole(&profile);
    look.hooks(&profile);
    look.known(&profile);
    if variant.is_none() {
        look.found.sort_by_key(|d| d.place.as_ref().map_or(0, |place| place.span.start));
    }
    Diagnostics(look.found)
}

struct Look<'a> {
    tree: &'a Node,
    found: Vec<Diagnostic>,
}

impl Look<'_> {
    fn value(&self, path: &[&str]) -> Place {
        self.tree.find(path).map_or_else(|| self.tree.place_of(path), |node| node.place.clone())
    }
    fn add(&mut self, severity: Severity, place: Place, message: impl Into<String>, hint: Option<String>) {
        let mut diagnostic = Diagnostic::new(message).at(place);
        diagnostic.severity = severity;
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }
    fn wrong(&mut self, path: &[&str], message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Error, self.value(path), message, hint);
    }
    fn wrong_key(&mut self, path: &[&str], message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Error, self.tree.place_of(path), message, hint);
    }
    fn doubt(&mut self, path: &[&str], message: impl Into<String>, hint: Option<String>) {
        self.add(Severity::Warning, self.tree.place_of(path), message, hint);
    }

    fn head(&mut self, profile: &Profile) {
        if profile.schema != 1 {
            self.wrong(&["schema"], format!("expected version 1 of the profile format, saw {}", profile.schema), None);
        }
        if profile.name.trim().is_empty() {
            self.wrong(&["name"], "expected a name, saw an empty text", None);
        }
        for (path, text) in [(["discovery"], &profile.discovery), (["identity"], &profile.identity)] {
            let Some(text) = text else { continue };
            let other_place = path[0] == "identity" && (text == "body" || text.starts_with("header:"));
            if !text.starts_with('/') && !other_place {
                self.wrong(
                    &path,
                    format!(
                        "expected a {} that begins with `/`, saw `{text}`",
                        if path[0] == "discovery" { "path" } else { "JSON pointer" }
                    ),
                    None,
                );
            }
        }
        if let Some(VerifyKey::Jwks(path)) = &profile.keys.verify {
            self.template(&["keys", "verify", "jwks"], path, profile, &[]);
        }
        if let Some(tls) = &profile.tls {
            for (given, other, missing) in
                [("certificate", &tls.certificate, &tls.key), ("key", &tls.key, &tls.certificate)]
            {
                if other.is_some() && missing.is_none() {
                    self.wrong_key(
                        &["tls", given],
                        "expected `certificate` and `key` together, saw one of them",
                        Some("both are PEM files; they may be the same one".into()),
                    );
                }
            }
            if tls.insecure && tls.ca.is_some() {
                self.doubt(&["tls", "insecure"], "`insecure` takes any certificate, so `ca` says nothing", None);
            }
        }
        for (path, seconds) in [
            ("leeway_s", profile.declares.leeway_s),
            ("grace_s", profile.declares.grace_s),
            ("revocation_bound_s", profile.declares.revocation_bound_s),
            ("absolute_end_s", profile.declares.absolute_end_s),
        ] {
            if seconds.is_some_and(|s| !s.is_finite() || s < 0.0) {
                self.wrong(&["declares", path], "expected seconds, zero or more", None);
            }
        }
        for (kind, described) in [("access", &profile.tokens.access), ("refresh", &profile.tokens.refresh)] {
            if described.lifetime_s.is_some_and(|s| !s.is_finite() || s <= 0.0) {
                self.wrong(&["tokens", kind, "lifetime_s"], "expected seconds above zero", None);
            }
        }
    }

    fn operation(&mut self, profile: &Profile, name: &str, operation: &Operation) {
        let root = ["operations", name];
        if !OPERATIONS.contains(&name) && name.strip_prefix("verify.").is_none_or(str::is_empty) {
            let mut words = OPERATIONS.to_vec();
            words.extend(["verify.resource", "verify.endpoint", "verify.introspect", "verify.userinfo"]);
            let hint = if name == "verify" {
                Some("each way has a name of its own: `verify.resource:`, `verify.endpoint:`".to_owned())
            } else {
                suggestion(name, &words)
            };
            self.wrong_key(
                &root,
                format!("expected `issue`, `refresh`, `revoke`, `keys` or `verify.<name>`, saw `{name}`"),
                hint,
            );
        }
        match (&operation.request, &operation.command) {
            (None, None) => self.wrong_key(&root, format!("`{name}` has neither `request` nor `command`"), None),
            (Some(_), Some(_)) => self.wrong_key(
                &["operations", name, "command"],
                "expected either `request` or `command`, saw both",
                Some("a variant that gives a command sets `request: null`".into()),
            ),
            (Some(request), None) => self.request(profile, &["operations", name, "request"], name, request),
            (None, Some(command)) => {
                if command.first().is_none_or(|program| program.trim().is_empty()) {
                    self.wrong(
                        &["operations", name, "command"],
                        "expected a program and its arguments, saw an empty list",
                        None,
                    );
                }
                for (n, word) in command.iter().enumerate() {
                    self.template(&["operations", name, "command", &n.to_string()], word, profile, &["url", "run_dir"]);
                }
            }
        }
        for (what, place) in &operation.returns {
            let path = ["operations", name, "returns", what.as_str()];
            let good = place.starts_with('/')
                || place == "body"
                || ["cookie:", "header:"]
                    .iter()
                    .any(|p| place.strip_prefix(p).is_some_and(|rest| !rest.trim().is_empty()));
            if !good {
                self.wrong(&path, format!("expected a JSON pointer such as `/access`, `cookie:NAME`, `header:NAME` or `body`, saw `{place}`"), None);
            } else if operation.command.is_some() && !place.starts_with('/') {
                self.wrong(&path, format!("expected a JSON pointer into what the command prints, saw `{place}`"), None);
            }
        }
        if matches!(name, "issue" | "refresh")
            && !operation.returns.contains_key("access")
            && operation.command.is_none()
        {
            self.wrong_key(
                &["operations", name, "returns"],
                format!("`{name}` does not say where the access token is"),
                Some("`returns: {access: /access}`".into()),
            );
        }
        for (key, predicate) in [
            ("accepted", &operation.accepted),
            ("denied", &operation.denied),
            ("invalid", &operation.invalid),
            ("wrong_method", &operation.wrong_method),
            ("no_token", &operation.no_token),
        ] {
            if let Some(predicate) = predicate {
                self.predicate(&["operations", name, key], predicate);
            }
        }
        let same =
            judge::predicate(operation, judge::Case::Accepted) == judge::predicate(operation, judge::Case::Denied);
        if same && operation.denied.is_some() && name != "revoke" {
            self.wrong_key(
                &["operations", name, "denied"],
                "`denied` says the same as `accepted`: no reply could be told apart",
                Some("add what differs in the body: `json: {/active: false}`".into()),
            );
        }
        let refresh_only = [
            ("rotates", operation.rotates.is_some()),
            ("replay", operation.replay.is_some()),
            ("replay_revokes_family", operation.replay_revokes_family.is_some()),
            ("kills_old_access", operation.kills_old_access.is_some()),
        ];
        for (key, given) in refresh_only {
            if given && name != "refresh" {
                self.wrong_key(&["operations", name, key], format!("`{key}` belongs to `refresh`"), None);
            }
        }
        if operation.looks_up_user.is_some() && !name.starts_with("verify.") {
            self.wrong_key(
                &["operations", name, "looks_up_user"],
                "`looks_up_user` belongs to a verify way",
                Some("under `verify.resource` or another `verify.<name>`".into()),
            );
        }
        if name == "refresh"
            && operation.rotates == Some(true)
            && !operation.returns.contains_key("refresh")
            && operation.command.is_none()
        {
            self.wrong_key(
                &["operations", name, "rotates"],
                "a refresh that rotates returns a new refresh token, but `returns` does not say where",
                Some("`returns: {access: /access, refresh: /refresh}`".into()),
            );
        }
    }

    fn request(&mut self, profile: &Profile, path: &[&str], name: &str, request: &Request) {
        let at = |key: &'static str| [path, &[key]].concat();
        if request.path.is_empty() {
            self.wrong_key(path, "missing key `path`", None);
        } else if !request.path.starts_with('/') && !request.path.starts_with("${") {
            self.wrong(
                &at("path"),
                format!("expected a path that begins with `/`, saw `{}`", request.path),
                Some("the address comes from the topology or from --target".into()),
            );
        }
        if let Some(method) = &request.method
            && http::Method::from_bytes(method.as_bytes()).map_or(true, |_| method.to_uppercase() != *method)
        {
            self.wrong(&at("method"), format!("expected an HTTP method such as `POST`, saw `{method}`"), None);
        }
        let extra: &[&str] = if path.first() == Some(&"admin") { &["seconds", "admin_url"] } else { &[] };
        self.template(&at("path"), &request.path, profile, extra);
        for (key, map) in [("headers", &request.headers), ("cookies", &request.cookies)] {
            for (header, value) in map {
                let place = [path, &[key, header.as_str()]].concat();
                if http::HeaderName::from_bytes(header.as_bytes()).is_err() {
                    self.wrong_key(
                        &place,
                        format!(
                            "expected a {}, saw `{header}`",
                            if key == "headers" { "header's name" } else { "cookie's name" }
                        ),
                        None,
                    );
                }
                self.template(&place, value, profile, extra);
            }
        }
        for (field, value) in &request.fields {
            let place = [path, &["fields", field.as_str()]].concat();
            for text in texts(value) {
                self.template(&place, text, profile, extra);
            }
        }
        if let Some(text) = &request.text {
            self.template(&at("text"), text, profile, extra);
        }
        match &request.auth {
            Some(Auth::Bearer(text)) => self.template(&[path, &["auth", "bearer"]].concat(), text, profile, extra),
            Some(Auth::Basic(basic)) => {
                self.template(&[path, &["auth", "basic", "user"]].concat(), &basic.user, profile, extra);
                self.template(&[path, &["auth", "basic", "password"]].concat(), &basic.password, profile, extra);
            }
            None => {}
        }
        if let Some(Auth::Basic(basic)) = &request.auth
            && [&basic.user, &basic.password].into_iter().any(|text| text.contains("${client.secret}"))
            && profile.client.as_ref().is_some_and(|client| client.secret.is_none())
        {
            self.doubt(
                &at("auth"),
                "the client has no secret, so this whole `auth` is left out, and its id with it",
                Some("a public client names itself in the form: `auth: null` and `fields: {client_id: \"${client.id}\"}`".into()),
            );
        }
        if request.auth.is_some() && request.headers.keys().any(|header| header.eq_ignore_ascii_case("authorization")) {
            self.doubt(&at("auth"), "`auth` and an `Authorization` header are both given: the header wins", None);
        }
        let kind = judge::body_kind(request);
        if request.text.is_some() != (kind == super::BodyKind::Text)
            || (!request.fields.is_empty() && matches!(kind, super::BodyKind::Text | super::BodyKind::None))
        {
            self.wrong_key(
                &at("body"),
                "the body's kind does not fit what is given",
                Some("`fields` go with `json` or `form`, `text` goes with `text`".into()),
            );
        }
        let carries = judge::token_place(request) != TokenPlace::Elsewhere;
        if !carries
            && (matches!(name, "refresh" | "revoke" | "scoped" | "owned" | "owned_write")
                || name.starts_with("verify."))
        {
            self.wrong_key(
                path,
                format!("nothing in the request of `{name}` carries the token under test"),
                Some("say where it goes: `auth: {bearer: \"${token}\"}`, or `fields: {token: \"${token}\"}`".into()),
            );
        }
        if carries && name == "issue" {
            self.doubt(path, "`issue` mentions `${token}`, but no token is there yet", None);
        }
    }

    fn predicate(&mut self, path: &[&str], predicate: &Predicate) {
        if let Some(statuses) = &predicate.status {
            let bad = statuses.all().iter().find(|status| !(100..600).contains(*status));
            if bad.is_some() || statuses.all().is_empty() {
                self.wrong(&[path, &["status"]].concat(), "expected a status between 100 and 599", None);
            }
        }
        let pointers = predicate
            .json
            .keys()
            .map(|p| ("json", p))
            .chain(predicate.present.iter().map(|p| ("present", p)))
            .chain(predicate.absent.iter().map(|p| ("absent", p)));
        for (key, pointer) in pointers {
            if !pointer.starts_with('/') {
                let place =
                    if key == "json" { [path, &[key, pointer.as_str()]].concat() } else { [path, &[key]].concat() };
                self.wrong_key(
                    &place,
                    format!("expected a JSON pointer such as `/user/name`, saw `{pointer}`"),
                    Some(format!("`/{}`", pointer.replace('.', "/"))),
                );
            }
        }
    }

    /// Every name in a template must stand for something that this profile has.
    fn template(&mut self, path: &[&str], text: &str, profile: &Profile, extra: &[&str]) {
        if let Err(error) = pieces(text) {
            self.wrong(path, error.to_string(), None);
            return;
        }
        let said: Vec<&str> = pieces(text)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|p| if let Piece::Name(name) = p { Some(name) } else { None })
            .collect();
        for name in said {
            if name.starts_with("env:") && name.len() > 4 || extra.contains(&name) {
                continue;
            }
            if let Some(rest) = name.strip_prefix("issued.") {
                let returned = profile.operations.values().any(|operation| operation.returns.contains_key(rest));
                let by_command = profile.operations.get("issue").is_some_and(|issue| issue.command.is_some());
                if !returned && !by_command {
                    self.wrong(
                        path,
                        format!("no operation returns `{rest}`"),
                        Some(format!("`returns: {{{rest}: /pointer}}` under `issue` says where it is")),
                    );
                }
            } else if name.starts_with("discovery.") {
                if profile.discovery.is_none() {
                    self.wrong(
                        path,
                        format!("`${{{name}}}` needs a discovery document"),
                        Some("`discovery: /.well-known/openid-configuration`".into()),
                    );
                }
            } else if !NAMES.contains(&name) {
                let mut words = NAMES.to_vec();
                words.extend_from_slice(extra);
                let hint = suggestion(name, &words);
                self.wrong(path, format!("`${{{name}}}` stands for nothing"), hint);
            } else {
                let missing = match name.split('.').next() {
                    Some("second_user") => profile.second_user.is_none(),
                    Some("client") => profile.client.is_none(),
                    Some("second_client") => profile.second_client.is_none(),
                    _ => false,
                };
                if missing {
                    let head = name.split('.').next().unwrap_or(name);
                    self.wrong(path, format!("`${{{name}}}` is used, but the profile has no `{head}`"), None);
                }
            }
        }
    }

    fn whole(&mut self, profile: &Profile) {
        let ways = profile.verify_ways();
        if ways.is_empty() {
            self.doubt(
                &["operations"],
                "the profile has no way to verify a token: most checks will be skipped",
                Some("add `verify.resource`: a request that needs a token".into()),
            );
        }
        if !profile.operations.contains_key("issue") {
            let hint = Some("a request, or a `command` that prints `{\"access\": \"...\"}`".to_owned());
            if profile.dialect == Dialect::RsOnly {
                self.doubt(&["operations"], "nothing issues a token: checks need a genuine one", hint);
            } else {
                self.add(
                    Severity::Error,
                    self.tree.place_of(&["operations"]),
                    format!("a server of the dialect `{}` issues tokens, but there is no `issue`", profile.dialect),
                    hint,
                );
            }
        }
        let refresh_returned = profile
            .operations
            .get("issue")
            .is_some_and(|issue| issue.returns.contains_key("refresh") || issue.command.is_some());
        if profile.operations.contains_key("refresh") && !refresh_returned {
            self.doubt(
                &["operations", "refresh"],
                "`issue` does not say where the refresh token is",
                Some("`returns: {access: /access, refresh: /refresh}`".into()),
            );
        }
        if profile.second_user.is_some()
            && profile.second_user.as_ref().map(|u| &u.login) == profile.user.as_ref().map(|u| &u.login)
        {
            self.wrong(&["second_user", "login"], "expected another user than the first", None);
        }
    }

    fn hooks(&mut self, profile: &Profile) {
        for (name, hook) in &profile.admin {
            let root = ["admin", name.as_str()];
            if !HOOKS.contains(&name.as_str()) {
                self.doubt(&root, format!("no check calls a hook `{name}`"), suggestion(name, HOOKS));
            }
            match (&hook.request, &hook.command) {
                (Some(request), None) => self.request(profile, &["admin", name, "request"], name, request),
                (None, Some(command)) if !command.is_empty() => {
                    for (n, word) in command.iter().enumerate() {
                        self.template(
                            &["admin", name, "command", &n.to_string()],
                            word,
                            profile,
                            &["admin_url", "url", "seconds", "run_dir"],
                        );
                    }
                }
                _ => self.wrong_key(
                    &root,
                    format!("expected `request` or `command` in the hook `{name}`, and only one of them"),
                    None,
                ),
            }
            if let Some(predicate) = &hook.accepted {
                self.predicate(&["admin", name, "accepted"], predicate);
            }
        }
    }

    fn known(&mut self, profile: &Profile) {
        for (glob, known) in &profile.known {
            let path = ["known", glob.as_str()];
            if let Err(why) = Glob::new(glob) {
                self.wrong_key(&path, format!("expected a check id or a glob, saw `{glob}`: {}", why.kind()), None);
            }
            if known.reason.trim().is_empty() {
                self.wrong(&["known", glob, "reason"], "expected a reason, saw an empty text", None);
            }
            if let Some(until) = &known.until
                && until.parse::<jiff::civil::Date>().is_err()
            {
                self.wrong(
                    &["known", glob, "until"],
                    format!("expected a date such as `2027-01-31`, saw `{until}`"),
                    None,
                );
            }
        }
    }
}

/// All texts of a JSON value that mention a template.
fn texts(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
        serde_json::Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

//! How is what was found written down? YAML that people like to read, checked before it is handed out.

use std::fmt::Write as _;

use serde_json::Value;

use super::login::{Login, shown};
use super::scout::Scout;
use super::{DiscoverError, Draft};
use crate::scenario::Source;
use crate::target::{Vars, examine, parse_profile};

/// Longest line of a mapping that is written in braces.
const WIDTH: usize = 110;

/// Writes both files, reads them back and goes through the flow once more.
pub(super) fn draft(scout: &mut Scout<'_>, login: &Login) -> Result<Draft, DiscoverError> {
    let name = scout.wanted.name.clone().unwrap_or_else(|| login.kind.to_owned());
    let url = scout.target.endpoint.url();
    let profile = &mut scout.target.profile;
    profile.name.clone_from(&name);
    profile.description = None;
    if let (Some(user), Some(variable)) = (&mut profile.user, &scout.wanted.password_from) {
        user.password = format!("${{env:{variable}}}");
    }
    if let (Some(client), Some(variable)) = (&mut profile.client, &scout.wanted.client_secret_from) {
        client.secret = Some(format!("${{env:{variable}}}"));
    }
    let value = serde_json::to_value(&*profile).map_err(|e| DiscoverError::Contradiction(e.to_string()))?;
    let mut text = format!("# What `assay init {url}` saw. Every key is explained in docs/profiles.md.\n");
    text.push_str(&hints(scout));
    text.push_str(&yaml(&value));
    let draft = Draft { scenario: scenario(scout, &name, &url), name, profile: text };
    rehearse(scout, &draft)?;
    Ok(draft)
}

/// What the user could add, as comments.
fn hints(scout: &Scout<'_>) -> String {
    let profile = &scout.target.profile;
    let mut lines = Vec::new();
    if profile.keys.sign.is_none() && profile.tokens.access.alg.is_some() {
        let example = match profile.tokens.access.alg.as_deref() {
            Some(alg) if alg.starts_with("HS") => "keys: {sign: {secret: \"${env:SIGNING_SECRET}\"}}",
            _ => "keys: {sign: {file: private.pem}}",
        };
        lines.push(format!("{example}   lets Assay sign tokens of its own, which many more checks need"));
    }
    if profile.second_user.is_none() && profile.user.is_some() {
        lines.push("second_user: {login: ..., password: ...}   for checks that two people take part in".to_owned());
    }
    if !profile.operations.contains_key("verify.resource") {
        lines.push("operations.verify.resource: {request: {path: ..., auth: {bearer: \"${token}\"}}}   a GET that needs a token".to_owned());
    }
    if lines.is_empty() {
        return String::new();
    }
    lines.iter().fold("# What would let more be checked:\n".to_owned(), |mut text, line| {
        let _ = writeln!(text, "#   {line}");
        text
    })
}

/// A scenario that checks the server and drives a load that no server of development minds.
fn scenario(scout: &Scout<'_>, name: &str, url: &str) -> String {
    let profile = &scout.target.profile;
    let words = profile.words();
    let weights: Vec<String> = words
        .iter()
        .filter_map(|word| {
            let operation = profile.operations.get(profile.resolve(word)?)?;
            let weight = match word.as_str() {
                "access" => 80,
                "verify" | "userinfo" => 15,
                "refresh" => 5,
                _ => return None,
            };
            operation.request.is_some().then(|| format!("{word}: {weight}"))
        })
        .collect();
    let can_issue = profile.operations.get("issue").is_some_and(|issue| issue.request.is_some());
    let mut text = format!(
        "# Checks the server at {url} and drives a small load against it.\n#   assay check {name}.yaml --out out/    the checks alone\n#   assay run {name}.yaml\nname: {name}\ntarget: {name}.profile.yaml\n"
    );
    if !scout.target.endpoint.is_loopback() {
        let _ = writeln!(text, "allow-remote: [{}]", quoted(&scout.target.endpoint.host));
    }
    let _ = writeln!(text, "topologies:\n  running: {{url: {}}}", quoted(url));
    text.push_str("conformance:\n  only: [\"*\"]\n  budget: ci\n");
    let load = |rate: &str, mix: &str, warmup: &str| {
        format!(
            "load:\n  arrival: {{open: {{rate: {rate}}}}}\n  stages: [{{hold: 10s}}]\n  mix: {{{mix}}}\n  tokens: {{sessions: 5}}\n  warmup: {warmup}\n"
        )
    };
    if !weights.is_empty() {
        text.push_str(&load("20/s", &weights.join(", "), "2s"));
    } else if can_issue {
        text.push_str(&load("1/s", "issue: 1", "1s"));
    }
    text.push_str("reports: [html, json, junit]\n");
    text
}

/// The profile as it was written must hold, and speak to the server.
fn rehearse(scout: &mut Scout<'_>, draft: &Draft) -> Result<(), DiscoverError> {
    let source =
        Source::new(format!("{}.profile.yaml", draft.name), scout.target.profile.folder.clone(), &*draft.profile);
    let found = examine(&source);
    if found.has_errors() {
        return Err(DiscoverError::Contradiction(found.render(false)));
    }
    let mut profile = parse_profile(&source, None).map_err(|e| DiscoverError::Contradiction(e.to_string()))?;
    if let (Some(user), Some(password)) = (&mut profile.user, &scout.wanted.password) {
        user.password.clone_from(password);
    }
    scout.target.profile = profile;
    let Some(issued) = scout.log_in() else {
        return Err(DiscoverError::Contradiction("the login worked, and does not now".into()));
    };
    let mut told = Vec::new();
    for way in scout.target.verify_ways() {
        let genuine = scout.call(way, &shown(&issued)).is_some_and(|reply| scout.target.accepted(way, &reply));
        let nothing =
            scout.call(way, &Vars::new().issued(&issued.other)).is_some_and(|r| scout.target.accepted(way, &r));
        told.push(match (genuine, nothing) {
            (true, false) => format!("`{way}` grants a genuine token and nothing else"),
            (true, true) => format!("`{way}` grants without a token too: make its `accepted` stricter"),
            (false, _) => format!("`{way}` refuses a genuine token now: look at it by hand"),
        });
    }
    for line in told {
        scout.say(format!("tried again by the profile: {line}"));
    }
    Ok(())
}

/// A JSON value as YAML: blocks, and braces where they fit on a line. Empty members are left out.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    if let Value::Object(members) = value {
        for (name, member) in members {
            entry(&mut text, 0, name, member);
        }
    }
    text
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn entry(text: &mut String, indent: usize, name: &str, value: &Value) {
    if is_empty(value) || (name == "stateful_access" && value == &Value::Bool(false)) {
        return;
    }
    let pad = " ".repeat(indent);
    let line = format!("{pad}{}: {}", quoted(name), braces(value));
    // Operations are read one under the other, whatever their length.
    let block = matches!(value, Value::Object(_))
        && (name == "operations" || line.len() > WIDTH || indent == 2 && line.len() > WIDTH / 2);
    match value {
        Value::Object(members) if block => {
            let _ = writeln!(text, "{pad}{}:", quoted(name));
            members.iter().for_each(|(name, member)| entry(text, indent + 2, name, member));
        }
        _ => {
            let _ = writeln!(text, "{line}");
        }
    }
}

fn braces(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let inside: Vec<String> = members
                .iter()
                .filter(|(_, member)| !is_empty(member))
                .map(|(name, member)| format!("{}: {}", quoted(name), braces(member)))
                .collect();
            format!("{{{}}}", inside.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(braces).collect::<Vec<_>>().join(", ")),
        Value::String(text) => quoted(text),
        // Whole seconds are written without a point.
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => format!("{whole:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A text, in quotes where YAML would read something else.
fn quoted(text: &str) -> String {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'/' | b'_'));
    let rest = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'.' | b'+'));
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if first && rest && !word { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let value = json!({
            "schema": 1, "name": "no", "user": {"login": "alice", "password": "a: b # \"c\" ${env:X}"},
            "tokens": {"access": {"lifetime_s": 300.0, "alg": "HS256"}, "refresh": {}},
            "operations": {"verify.resource": {"request": {"method": "GET", "path": "/me?x=1", "auth": {"bearer": "${token}"},
                "headers": {"X-Very-Long-Name-Of-A-Header": "so that the line is longer than what fits between two braces"}},
                "denied": {"status": [401, 403]}}},
            "known": {}, "identity": null
        });
        let text = yaml(&value);
        let tree =
            crate::scenario::parse(&Source::new("x.yaml", ".", &*text)).unwrap_or_else(|e| panic!("{text}\n{e:?}"));
        let read: Value = crate::scenario::decode(&tree).expect("values");
        assert_eq!(read["user"], value["user"], "{text}");
        assert_eq!(read["operations"], value["operations"], "{text}");
        assert_eq!(read["name"], "no");
        assert_eq!(read["tokens"], json!({"access": {"lifetime_s": 300, "alg": "HS256"}}));
        assert!(read.get("known").is_none() && read.get("identity").is_none());
    }
}

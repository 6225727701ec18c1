//! How does a reader see a finding again? The request redacted, and lines for a shell.

use bytes::Bytes;

use super::answer::Answer;
use super::descriptor::Check;
use super::session::Session;
use crate::target::Profile;
use crate::wire::{Scheme, encode};

/// Bytes of a request or a reply that are kept as evidence.
const TEXT_LIMIT: usize = 2_000;
/// Bytes of a request or a reply in which secrets are looked for, many times more than are kept.
const LOOKED_AT: usize = 64 << 10;
/// A text under so many bytes is no token.
const SHORTEST_TOKEN: usize = 8;
/// Bytes of a body that stand in a shell line: reports stay readable, and a shell takes 128 KiB at most.
const BODY_LIMIT: usize = 4_000;

const CURL: &str = "curl -sS -i";
const HTTPIE: &str = "http --ignore-stdin -v";

/// Texts of one exchange.
pub(super) struct Lines {
    pub request: String,
    pub response: Option<String>,
    pub curl: Option<String>,
    pub httpie: Option<String>,
}

/// What stands for a secret in a shell line.
struct Secret<'a> {
    value: &'a str,
    name: &'static str,
}

/// The texts of an exchange. The token is made again by `assay forge`; passwords are shell variables.
pub(super) fn lines(session: &Session<'_>, check: &Check, variant: Option<&str>, answer: &Answer) -> Lines {
    let bytes = encode(&answer.request, &session.target.endpoint);
    let opaque = answer.token.as_deref().unwrap_or_default();
    let brought = brought(session, answer);
    let brought: Vec<&str> = brought.iter().map(String::as_str).collect();
    let shown = |text: &[u8]| {
        let whole = text.len();
        let text = String::from_utf8_lossy(&text[..text.len().min(LOOKED_AT)]);
        let text = if opaque.len() > 3 { text.replace(opaque, &stand_in(session, opaque)) } else { text.into_owned() };
        short(&session.redact_exchange(&text, &brought), whole)
    };
    let request = shown(&bytes);
    let response = answer.reply.as_ref().map(|reply| {
        let mut all = reply.head.clone();
        all.extend_from_slice(&reply.body);
        shown(&all)
    });
    let profile = &session.target.profile;
    let mut secrets: Vec<Secret<'_>> = Vec::new();
    if let Some(token) = answer.token.as_deref().filter(|t| !t.is_empty()) {
        secrets.push(Secret { value: token, name: "TOKEN" });
    }
    let user = session.target.user().ok().flatten();
    if let Some(user) = &user {
        secrets.push(Secret { value: &user.password, name: "PASSWORD" });
    }
    if let Some(secret) = profile.client.as_ref().and_then(|c| c.secret.as_deref()) {
        secrets.push(Secret { value: secret, name: "CLIENT_SECRET" });
    }
    let url = session.target.endpoint.url();
    let prelude = if answer.token.is_some() {
        let name = variant.map_or_else(|| check.id.to_owned(), |v| format!("{}/{v}", check.id));
        let source = if profile.source.is_empty() { &profile.name } else { &profile.source };
        let variant = profile.variant.as_ref().map(|v| format!(" --variant {}", word(v))).unwrap_or_default();
        let admin = session.target.admin.as_ref().map(|a| format!(" --admin {}", word(&a.url()))).unwrap_or_default();
        let endpoint = &session.target.endpoint;
        let remote = match endpoint.is_loopback() {
            true => String::new(),
            false => format!(" --allow-remote {}", word(&endpoint.host)),
        };
        let (name, url, source) = (word(&name), word(&url), word(source));
        format!("TOKEN=$(assay forge {name} --target {url} --profile {source}{variant}{admin}{remote})\n")
    } else {
        String::new()
    };
    let (by_curl, by_httpie) = match session.target.endpoint.scheme {
        Scheme::Https => tls(profile),
        Scheme::Http => Default::default(),
    };
    let with = |line: String, program: &str, tls: &str| {
        // What no variable stands for (another user's password, a password in other case) is not shown either.
        let line = session.redact_exchange(&line, &brought);
        format!("{prelude}{}", line.replacen(program, &format!("{program}{tls}"), 1))
    };
    let curl = curl_line(&answer.request, &url, &secrets).map(|line| with(line, CURL, &by_curl));
    let httpie = httpie_line(&answer.request, &url, &secrets).map(|line| with(line, HTTPIE, &by_httpie));
    Lines { request, response, curl, httpie }
}

/// What curl and HTTPie have to be told to speak TLS as the profile says.
fn tls(profile: &Profile) -> (String, String) {
    let Some(said) = &profile.tls else { return Default::default() };
    let (mut curl, mut httpie) = (String::new(), String::new());
    let file = |text: &String| word(&profile.path(text).to_string_lossy());
    match &said.ca {
        // A reader who repeats a finding need not be told again who the server is.
        _ if said.insecure || said.server_name.is_some() => {
            curl.push_str(" -k");
            httpie.push_str(" --verify no");
        }
        Some(ca) => {
            curl.push_str(&format!(" --cacert {}", file(ca)));
            httpie.push_str(&format!(" --verify {}", file(ca)));
        }
        None => {}
    }
    if let (Some(certificate), Some(key)) = (&said.certificate, &said.key) {
        curl.push_str(&format!(" --cert {} --key {}", file(certificate), file(key)));
        httpie.push_str(&format!(" --cert {} --cert-key {}", file(certificate), file(key)));
    }
    (curl, httpie)
}

/// The values that a reply brought and that may be live tokens, whether it was accepted or not.
fn brought(session: &Session<'_>, answer: &Answer) -> Vec<String> {
    let Some(reply) = &answer.reply else { return Vec::new() };
    let Ok(issued) = session.target.tokens(reply, &answer.operation) else { return Vec::new() };
    let texts = issued.other.values().filter_map(|value| value.as_str());
    // Shorter ones are words: a token type, a scope.
    texts.filter(|text| text.len() >= SHORTEST_TOKEN).map(str::to_owned).collect()
}

fn stand_in(session: &Session<'_>, token: &str) -> String {
    format!("<token {}>", session.view(token).fingerprint)
}

fn short(text: &str, whole: usize) -> String {
    if text.len() <= TEXT_LIMIT && whole <= LOOKED_AT {
        return text.to_owned();
    }
    let end = (0..=TEXT_LIMIT.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    format!("{}... ({whole} bytes in all)", &text[..end])
}

/// The `curl` line of a request; none where a shell cannot say it (NUL, bytes that are no text).
fn curl_line(request: &http::Request<Bytes>, url: &str, secrets: &[Secret<'_>]) -> Option<String> {
    let mut words = vec![CURL.to_owned()];
    let body = std::str::from_utf8(request.body()).ok()?;
    let method = request.method().as_str();
    match (method, body.is_empty()) {
        ("GET", true) | ("POST", false) => {}
        ("HEAD", _) => words.push("--head".into()),
        _ => words.push(format!("-X {method}")),
    }
    for (name, value) in request.headers() {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        match basic_user(name.as_str(), value) {
            Some(pair) => words.push(format!("-u {}", quote(&pair, secrets)?)),
            None => words.push(format!("-H {}", quote(&format!("{name}: {value}"), secrets)?)),
        }
    }
    let mut piped = String::new();
    if body.len() > BODY_LIMIT {
        piped = format!("{} | ", made(body, secrets)?);
        words.push("--data-binary @-".into());
    } else if !body.is_empty() {
        words.push(format!("--data-raw {}", quote(body, secrets)?));
    }
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    words.push(quote(&format!("{url}{path}"), secrets)?);
    Some(format!("{piped}{}", words.join(" ")))
}

/// Shell commands that make a body which is long for a run of one character; none for any other long body.
fn made(body: &str, secrets: &[Secret<'_>]) -> Option<String> {
    let bytes = body.as_bytes();
    let (mut from, mut longest) = (0, 0..0);
    for at in 1..=bytes.len() {
        if bytes.get(at) != Some(&bytes[from]) {
            if at - from > longest.len() {
                longest = from..at;
            }
            from = at;
        }
    }
    let letter = char::from(*bytes.get(longest.start)?);
    if bytes.len() - longest.len() > BODY_LIMIT || !letter.is_ascii_alphanumeric() {
        return None;
    }
    let (head, tail) = (quote(&body[..longest.start], secrets)?, quote(&body[longest.end..], secrets)?);
    let run = format!("head -c {} /dev/zero | tr '\\0' {letter}", longest.len());
    Some(format!("{{ printf %s {head}; {run}; printf %s {tail}; }}"))
}

/// The same for HTTPie.
fn httpie_line(request: &http::Request<Bytes>, url: &str, secrets: &[Secret<'_>]) -> Option<String> {
    let body = std::str::from_utf8(request.body()).ok().filter(|body| body.len() <= BODY_LIMIT)?;
    let mut words = vec![HTTPIE.to_owned()];
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        match basic_user(name.as_str(), value) {
            Some(pair) => words.push(format!("-a {}", quote(&pair, secrets)?)),
            None => headers.push(quote(&format!("{name}:{value}"), secrets)?),
        }
    }
    if !body.is_empty() {
        words.push(format!("--raw {}", quote(body, secrets)?));
    }
    words.push(request.method().as_str().to_owned());
    words.push(quote(&format!("{url}{path}"), secrets)?);
    words.extend(headers);
    Some(words.join(" "))
}

/// `id:secret` of an `Authorization: Basic` header.
fn basic_user(name: &str, value: &str) -> Option<String> {
    use base64::Engine as _;
    if !name.eq_ignore_ascii_case("authorization") {
        return None;
    }
    let encoded = value.strip_prefix("Basic ")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    String::from_utf8(bytes).ok()
}

/// A word of a shell command in which secrets are variables: `'Authorization: Bearer '"$TOKEN"`.
fn quote(text: &str, secrets: &[Secret<'_>]) -> Option<String> {
    if text.contains('\0') {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    'next: while !rest.is_empty() {
        let hit = secrets
            .iter()
            .flat_map(|s| spellings(s.value).into_iter().map(move |v| (v, s.name)))
            .filter(|(v, _)| v.len() >= 4)
            .filter_map(|(v, name)| rest.find(&v).map(|at| (at, v.len(), name)))
            .min_by_key(|(at, len, _)| (*at, std::cmp::Reverse(*len)));
        let Some((at, len, name)) = hit else {
            out.push_str(&word(rest));
            break 'next;
        };
        if at > 0 {
            out.push_str(&word(&rest[..at]));
        }
        out.push_str(&format!("\"${name}\""));
        rest = &rest[at + len..];
    }
    Some(if out.is_empty() { "''".into() } else { out })
}

/// How a secret may be written inside a request: as it is, or form-encoded.
fn spellings(value: &str) -> Vec<String> {
    let form: String = value
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => (b as char).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect();
    if form == value { vec![form] } else { vec![value.to_owned(), form] }
}

/// One word for a POSIX shell.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets<'a>(token: &'a str, password: &'a str) -> Vec<Secret<'a>> {
        vec![Secret { value: token, name: "TOKEN" }, Secret { value: password, name: "PASSWORD" }]
    }

    #[test]
    fn a_curl_line_holds_no_token_and_survives_a_shell() {
        let request = http::Request::post("/api/token/verify/")
            .header("content-type", "application/json")
            .body(Bytes::from_static(br#"{"token":"eyJ.x.y","note":"it's"}"#))
            .unwrap();
        let line = curl_line(&request, "http://127.0.0.1:1", &secrets("eyJ.x.y", "correct-horse-9")).unwrap();
        assert_eq!(
            line,
            r#"curl -sS -i -H 'content-type: application/json' --data-raw '{"token":"'"$TOKEN"'","note":"it'\''s"}' http://127.0.0.1:1/api/token/verify/"#
        );
    }

    #[test]
    fn basic_credentials_become_a_user_with_a_variable() {
        let request = http::Request::post("/o/token/")
            .header("authorization", "Basic aWQ6Y29ycmVjdC1ob3JzZS05")
            .body(Bytes::from_static(b"grant_type=password"))
            .unwrap();
        let line = curl_line(&request, "http://h", &secrets("unused-token", "correct-horse-9")).unwrap();
        assert!(line.contains(r#"-u id:"$PASSWORD""#), "{line}");
        let line = httpie_line(&request, "http://h", &secrets("unused-token", "correct-horse-9")).unwrap();
        assert!(line.contains(r#"-a id:"$PASSWORD""#) && line.contains("--raw"), "{line}");
    }

    #[test]
    fn what_no_shell_can_say_has_no_line() {
        let request = http::Request::post("/x").body(Bytes::from_static(b"a\0b")).unwrap();
        assert_eq!(curl_line(&request, "http://h", &[]), None);
    }

    #[test]
    fn a_long_body_is_made_by_the_shell() {
        let body = format!("{{\"password\":\"{}\"}}", "a".repeat(1 << 20));
        let request = http::Request::post("/x").body(Bytes::from(body.clone())).unwrap();
        let line = curl_line(&request, "http://h", &[]).unwrap();
        assert!(line.len() < 300 && line.ends_with("| curl -sS -i --data-binary @- http://h/x"), "{line}");
        let made = line.split(" | curl").next().unwrap();
        let output = std::process::Command::new("sh").args(["-c", made]).output().unwrap();
        assert!(output.stdout == body.as_bytes(), "the shell makes {} bytes", output.stdout.len());
        assert_eq!(httpie_line(&request, "http://h", &[]), None);
        let odd: String = (0..3_000).map(|n| format!("{n:x}")).collect();
        let request = http::Request::post("/x").body(Bytes::from(odd)).unwrap();
        assert_eq!(curl_line(&request, "http://h", &[]), None);
    }

    #[test]
    fn long_texts_are_cut_with_their_length() {
        let text = "\u{e9}".repeat(3_000);
        assert!(short(&text, text.len()).ends_with("(6000 bytes in all)"));
    }
}

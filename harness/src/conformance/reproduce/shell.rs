//! How does a shell say a request? One `curl` and one HTTPie line in which every secret is a variable.

use bytes::Bytes;

use super::secret::{Found, Secrets};

/// Bytes of a body that stand in a shell line: reports stay readable, and a shell takes 128 KiB at most.
const BODY_LIMIT: usize = 4_000;

pub(super) const CURL: &str = "curl -sS -i";
pub(super) const HTTPIE: &str = "http --ignore-stdin -v";

/// A shell line and the variables that it takes.
#[derive(Debug)]
pub(super) struct Line {
    pub text: String,
    pub uses: Found,
}

/// The `curl` line of a request; none where a shell cannot say it (NUL, bytes that are no text).
pub(super) fn curl(request: &http::Request<Bytes>, url: &str, secrets: &Secrets) -> Option<Line> {
    let mut uses = Found::default();
    let mut quote = |text: &str| quote(text, secrets, &mut uses);
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
            Some(pair) => words.push(format!("-u {}", quote(&pair)?)),
            // curl leaves a header without a value out unless a semicolon stands for the colon.
            None if value.is_empty() => words.push(format!("-H {}", quote(&format!("{name};"))?)),
            None => words.push(format!("-H {}", quote(&format!("{name}: {value}"))?)),
        }
    }
    let mut piped = String::new();
    if body.len() > BODY_LIMIT {
        piped = format!("{} | ", made(body, &mut quote)?);
        // Or curl would ask first whether so much is wanted.
        words.push("-H expect: --data-binary @-".into());
    } else if !body.is_empty() {
        words.push(format!("--data-raw {}", quote(body)?));
    }
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    words.push(quote(&format!("{url}{path}"))?);
    Some(Line { text: format!("{piped}{}", words.join(" ")), uses })
}

/// Shell commands that make a body which is long for a run of one character; none for any other long body.
fn made(body: &str, quote: &mut impl FnMut(&str) -> Option<String>) -> Option<String> {
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
    let (head, tail) = (quote(&body[..longest.start])?, quote(&body[longest.end..])?);
    let run = format!("head -c {} /dev/zero | tr '\\0' {letter}", longest.len());
    Some(format!("{{ printf %s {head}; {run}; printf %s {tail}; }}"))
}

/// The same for HTTPie.
pub(super) fn httpie(request: &http::Request<Bytes>, url: &str, secrets: &Secrets) -> Option<Line> {
    let mut uses = Found::default();
    let mut quote = |text: &str| quote(text, secrets, &mut uses);
    let body = std::str::from_utf8(request.body()).ok().filter(|body| body.len() <= BODY_LIMIT)?;
    let mut words = vec![HTTPIE.to_owned()];
    let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        match basic_user(name.as_str(), value) {
            Some(pair) => words.push(format!("-a {}", quote(&pair)?)),
            None if value.is_empty() => headers.push(quote(&format!("{name};"))?),
            None => headers.push(quote(&format!("{name}:{value}"))?),
        }
    }
    if !body.is_empty() {
        words.push(format!("--raw {}", quote(body)?));
    }
    words.push(request.method().as_str().to_owned());
    words.push(quote(&format!("{url}{path}"))?);
    words.extend(headers);
    Some(Line { text: words.join(" "), uses })
}

/// `id:secret` of an `Authorization: Basic` header.
fn basic_user(name: &str, value: &str) -> Option<String> {
    use base64::Engine as _;
    if !name.eq_ignore_ascii_case("authorization") {
        return None;
    }
    let encoded = value.strip_prefix("Basic ")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
    String::from_utf8(bytes).ok().filter(|pair| pair.contains(':'))
}

/// A word of a shell command in which secrets are variables: `'Authorization: Bearer '"$TOKEN"`.
fn quote(text: &str, secrets: &Secrets, uses: &mut Found) -> Option<String> {
    if text.contains('\0') {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some((range, variable)) = secrets.first_in(rest) else {
            out.push_str(&word(rest));
            break;
        };
        if range.start > 0 {
            out.push_str(&word(&rest[..range.start]));
        }
        out.push_str(&format!("\"${}\"", variable.name()));
        rest = &rest[range.end..];
        uses.add(variable);
    }
    Some(if out.is_empty() { "''".into() } else { out })
}

/// One word for a POSIX shell.
pub(in super::super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secret;
    use super::*;

    fn secrets(token: &str, password: &str) -> Secrets {
        Secrets::of(vec![
            Secret::token(token, "sig-alg-none"),
            Secret::told("PASSWORD", password, "the password of alice"),
        ])
    }

    fn post(path: &str, body: &'static str) -> http::Request<Bytes> {
        http::Request::post(path).body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    #[test]
    fn a_curl_line_holds_no_token_and_survives_a_shell() {
        let request = http::Request::post("/api/token/verify/")
            .header("content-type", "application/json")
            .body(Bytes::from_static(br#"{"token":"eyJ.x.y","note":"it's"}"#))
            .unwrap();
        let line = curl(&request, "http://127.0.0.1:1", &secrets("eyJ.x.y", "correct-horse-9")).unwrap();
        assert_eq!(
            line.text,
            r#"curl -sS -i -H 'content-type: application/json' --data-raw '{"token":"'"$TOKEN"'","note":"it'\''s"}' http://127.0.0.1:1/api/token/verify/"#
        );
    }

    #[test]
    fn basic_credentials_become_a_user_with_a_variable() {
        let request = http::Request::post("/o/token/")
            .header("authorization", "Basic aWQ6Y29ycmVjdC1ob3JzZS05")
            .body(Bytes::from_static(b"grant_type=password"))
            .unwrap();
        let line = curl(&request, "http://h", &secrets("unused-token", "correct-horse-9")).unwrap();
        assert!(line.text.contains(r#"-u id:"$PASSWORD""#), "{line:?}");
        let line = httpie(&request, "http://h", &secrets("unused-token", "correct-horse-9")).unwrap();
        assert!(line.text.contains(r#"-a id:"$PASSWORD""#) && line.text.contains("--raw"), "{line:?}");
    }

    #[test]
    fn a_secret_that_a_body_writes_otherwise_is_a_variable_that_is_written_so() {
        let secrets = secrets("a b\"c", "p@ss word");
        let line = curl(&post("/x", r#"{"token":"a b\"c","x":"a%20b%22c&a+b%22c"}"#), "http://h", &secrets).unwrap();
        assert!(
            line.text.contains(r#"'{"token":"'"$TOKEN_JSON"'","x":"'"$TOKEN_QUERY"'&'"$TOKEN_FORM"'"}'"#),
            "{line:?}"
        );
        let line = curl(&post("/x", "password=p%40ss+word"), "http://h", &secrets).unwrap();
        assert!(line.text.contains(r#"password="$PASSWORD_FORM""#), "{line:?}");
    }

    #[test]
    fn a_password_that_is_a_word_is_a_variable_only_where_it_is_the_value() {
        let request = http::Request::post("/login")
            .header("if-none-match", "*")
            .body(Bytes::from_static(br#"{"alg":"none-such","password":"none"}"#))
            .unwrap();
        let line = curl(&request, "http://h", &secrets("unused-token", "none")).unwrap().text;
        assert!(line.contains("-H 'if-none-match: *'"), "{line}");
        assert!(line.contains(r#"'{"alg":"none-such","password":"'"$PASSWORD"'"}'"#), "{line}");
    }

    #[test]
    fn what_no_shell_can_say_has_no_line() {
        assert!(curl(&post("/x", "a\0b"), "http://h", &Secrets::default()).is_none());
    }

    #[test]
    fn a_long_body_is_made_by_the_shell() {
        let body = format!("{{\"password\":\"{}\"}}", "a".repeat(1 << 20));
        let request = http::Request::post("/x").body(Bytes::from(body.clone())).unwrap();
        let line = curl(&request, "http://h", &Secrets::default()).unwrap().text;
        assert!(line.len() < 300 && line.ends_with("| curl -sS -i -H expect: --data-binary @- http://h/x"), "{line}");
        let made = line.split(" | curl").next().unwrap();
        let output = std::process::Command::new("sh").args(["-c", made]).output().unwrap();
        assert!(output.stdout == body.as_bytes(), "the shell makes {} bytes", output.stdout.len());
        assert!(httpie(&request, "http://h", &Secrets::default()).is_none());
        let odd: String = (0..3_000).map(|n| format!("{n:x}")).collect();
        let request = http::Request::post("/x").body(Bytes::from(odd)).unwrap();
        assert!(curl(&request, "http://h", &Secrets::default()).is_none());
    }
}

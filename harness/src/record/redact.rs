//! What may be written down? Everything but passwords, keys and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::TokenView;

/// The first 12 hexadecimal digits of the SHA-256 of a token: enough to tell two apart.
pub fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Takes secrets out of text on its way into a record.
///
/// Known secrets (passwords, client secrets, opaque tokens) are replaced wherever they occur, also as JSON, a form, a
/// query, Base64 or other letter case writes them; anything shaped like a JWT, the credentials of an `Authorization:
/// Basic` and the values of members and cookies that are tokens by their name are replaced whether they are known or not.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Vec<Secret>,
    keep: bool,
}

/// A secret as one way of writing has it.
#[derive(Clone, Debug)]
struct Secret {
    /// In lower case: a server that echoes a password may change its case, and some checks do.
    spelling: String,
    label: String,
}

/// At most this many spellings are searched for; what an exchange brings beyond them is given to
/// [`Redactor::token_free`] with its texts.
const MOST_SPELLINGS: usize = 4096;

/// Bytes of a header or of claims that are kept, in Base64: every finding keeps some.
const MOST_SHOWN: usize = 16 << 10;

impl Redactor {
    /// `keep`: the user asked for `--keep-secrets`.
    pub fn new(keep: bool) -> Redactor {
        Redactor { secrets: Vec::new(), keep }
    }

    /// Adds a secret. Texts under four characters are not secrets that can be searched for.
    pub fn learn(&mut self, secret: &str) {
        if secret.len() < 4 || self.secrets.len() >= MOST_SPELLINGS {
            return;
        }
        for secret in Secret::all(secret) {
            if !self.secrets.iter().any(|known| known.spelling == secret.spelling) {
                self.secrets.push(secret);
            }
        }
        self.secrets.sort_by_key(|s| std::cmp::Reverse(s.spelling.len()));
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.token_free(text, &[])
    }

    /// The text without secrets and without these tokens, which need not be known.
    pub fn token_free(&self, text: &str, tokens: &[&str]) -> String {
        if self.keep {
            return harmless(text);
        }
        let mut out = redact_basic(text);
        let mut lower = out.to_ascii_lowercase();
        let given = tokens.iter().filter(|token| token.len() >= 4);
        let given: Vec<Secret> = given.flat_map(|token| Secret::all(token)).collect();
        for secret in given.iter().chain(&self.secrets).filter(|secret| !secret.spelling.is_empty()) {
            if lower.contains(&secret.spelling) {
                out = replaced(&out, &lower, secret);
                lower = out.to_ascii_lowercase();
            }
        }
        harmless(&redact_named(&redact_jwts(&out)))
    }

    /// What may be shown of a token.
    pub fn token(&self, token: &str) -> TokenView {
        let mut parts = token.split('.');
        let mut decoded = || {
            let raw = parts.next().unwrap_or_default();
            if raw.len() > MOST_SHOWN {
                return serde_json::Value::from(format!("{} bytes, too many to be kept", raw.len()));
            }
            let bytes = URL_SAFE_NO_PAD.decode(raw.trim_end_matches('=')).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null)
        };
        let (header, claims) = (decoded(), decoded());
        TokenView { header, claims, fingerprint: fingerprint(token) }
    }
}

impl Secret {
    /// Every way to write a secret.
    fn all(secret: &str) -> Vec<Secret> {
        let label = match jwt_like(secret) {
            true => format!("<token {}>", fingerprint(secret)),
            false => "<redacted>".to_owned(),
        };
        let one = |text: String| Secret { spelling: text.to_ascii_lowercase(), label: label.clone() };
        spellings(secret).into_iter().map(one).collect()
    }
}

/// Text that does nothing to whoever shows it: control characters (a terminal's escape sequences, NUL, which XML cannot
/// say) and marks that turn the direction of writing are spelled out.
pub fn harmless(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\r' | '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(acts) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match acts(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// How requests, replies and messages write a text: as it is, inside JSON, in a query, in a form.
fn spellings(text: &str) -> Vec<String> {
    let percent = |plus: bool| -> String {
        text.bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(b).to_string(),
                b'~' if !plus => "~".to_owned(),
                b'*' if plus => "*".to_owned(),
                b' ' if plus => "+".to_owned(),
                _ => format!("%{b:02X}"),
            })
            .collect()
    };
    let json = serde_json::Value::from(text).to_string();
    let inside = json[1..json.len() - 1].to_owned();
    // Python and PHP write everything beyond ASCII as \uXXXX, Debug output escapes in its own way.
    let ascii: String = inside
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte < 0x80 => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let debug = format!("{text:?}");
    let mut all = vec![text.to_owned()];
    for other in [inside, ascii, percent(false), percent(true), debug[1..debug.len() - 1].to_owned()] {
        if !all.contains(&other) {
            all.push(other);
        }
    }
    all
}

/// `text`, of which `lower` is the lower case, with every occurrence of a secret replaced.
fn replaced(text: &str, lower: &str, secret: &Secret) -> String {
    // ASCII case folding keeps every byte offset.
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, found) in lower.match_indices(&secret.spelling) {
        out.push_str(&text[copied..at]);
        out.push_str(&secret.label);
        copied = at + found.len();
    }
    out.push_str(&text[copied..]);
    out
}

/// `Basic bmFtZTpzZWNyZXQ=` without what it carries.
fn redact_basic(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, scheme) in lower.match_indices("basic ") {
        let from = at + scheme.len();
        if from < copied {
            continue;
        }
        let byte = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'+' | b'/' | b'=' | b'-' | b'_');
        let end = from + text.as_bytes()[from..].iter().take_while(byte).count();
        let bare = text[from..end].trim_end_matches('=').replace('-', "+").replace('_', "/");
        if STANDARD_NO_PAD.decode(bare).is_ok_and(|pair| pair.contains(&b':')) {
            out.push_str(&text[copied..from]);
            out.push_str("<redacted>");
            copied = end;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Members of a JSON text and cookies that are live tokens by their name. Passwords are known, and need none.
const NAMED: &[&str] = &[
    "access",
    "refresh",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "session",
    "sessionid",
    "sid",
    "jwt",
];
/// A shorter value is a word, not a secret: `"token": "invalid"`.
const SHORTEST_NAMED: usize = 16;

/// Values that are secrets by their name: `"access_token": "..."`, `Set-Cookie: session=...`.
fn redact_named(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let bytes = text.as_bytes();
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let mut at = 0;
    while at < bytes.len() {
        if !word(bytes[at]) || (at > 0 && word(bytes[at - 1])) {
            at += 1;
            continue;
        }
        let name_end = at + bytes[at..].iter().take_while(|b| word(**b)).count();
        let name = text[at..name_end].to_ascii_lowercase().replace('-', "_");
        at = name_end;
        if !NAMED.contains(&name.as_str()) {
            continue;
        }
        // `"name" : "`, `name=`: what may stand between a name and its value.
        let gap = bytes[at..].iter().take_while(|b| matches!(**b, b'"' | b'\\' | b' ' | b':' | b'=')).count();
        let between = &text[at..at + gap];
        if !between.contains(':') && !between.contains('=') {
            continue;
        }
        let from = at + gap;
        let end = from + bytes[from..].iter().take_while(|b| is_secret_byte(**b)).count();
        let shown = text[from..end].trim_start_matches(['<', '$']);
        if end - from >= SHORTEST_NAMED && shown.len() == end - from && !text[from..end].contains(' ') {
            out.push_str(&text[copied..from]);
            out.push_str("<redacted>");
            copied = end;
        }
        at = end.max(name_end);
    }
    out.push_str(&text[copied..]);
    out
}

/// What opaque tokens are made of.
fn is_secret_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'=' | b'%' | b'|' | b':')
}

/// Whether a byte can stand in a compact JWS or JWE.
fn token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=')
}

/// A run of token bytes that begins like a JSON object in Base64 (`eyJ` is `{"`) and has at least two dots.
fn jwt_like(run: &str) -> bool {
    if run.matches('.').count() < 2 {
        return false;
    }
    if run.starts_with("eyJ") {
        return true;
    }
    // Pretty-printed headers begin with other letters.
    run.starts_with('e')
        && run.split('.').next().is_some_and(|head| {
            let head = URL_SAFE_NO_PAD.decode(head.trim_end_matches('=')).unwrap_or_default();
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&head).is_ok()
        })
}

fn redact_jwts(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        // Behind `%22` or another prefix only the usual first letters tell.
        let first = at == 0 || !token_byte(bytes[at - 1]) || bytes[at - 1] == b'=';
        let usual = bytes[at..].starts_with(b"eyJ");
        let begins = usual || (first && bytes[at] == b'e');
        if !begins {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|b| token_byte(**b)).count();
        let run = &text[at..end];
        if jwt_like(run) {
            out.push_str(&text[copied..at]);
            out.push_str(&format!("<token {}>", fingerprint(run)));
            copied = end;
            at = end;
        } else if usual {
            // Too few dots from here on: nothing later in this run has more.
            at = end;
        } else {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";

    #[test]
    fn tokens_and_passwords_never_reach_a_record() {
        let mut redactor = Redactor::new(false);
        redactor.learn("correct-horse-9");
        let text = format!("{{\"access\":\"{JWT}\",\"password\":\"correct-horse-9\"}} Bearer {JWT}, {JWT}.");
        let shown = redactor.text(&text);
        assert!(!shown.contains("c2lnbmF0dXJl") && !shown.contains("correct-horse"), "{shown}");
        assert!(shown.contains("<redacted>") && shown.matches("<token ").count() == 3, "{shown}");
    }

    #[test]
    fn a_query_parameter_holds_no_token_either() {
        assert_eq!(
            Redactor::new(false).text(&format!("GET /x?access_token={JWT} HTTP/1.1")),
            format!("GET /x?access_token=<token {}> HTTP/1.1", fingerprint(JWT))
        );
    }

    #[test]
    fn a_token_is_shown_without_its_signature() {
        let view = Redactor::new(false).token(JWT);
        assert_eq!(view.header["alg"], "HS256");
        assert_eq!(view.claims["sub"], "a");
        assert!(!serde_json::to_string(&view).unwrap().contains("c2lnbmF0dXJl"));
    }

    #[test]
    fn secrets_stay_when_the_user_asks_for_them() {
        assert_eq!(Redactor::new(true).text(JWT), JWT);
    }

    #[track_caller]
    fn hidden(secret: &str, text: &str) {
        let mut redactor = Redactor::new(false);
        redactor.learn(secret);
        let shown = redactor.text(text);
        assert!(shown.contains("<redacted>"), "`{text}` is shown as `{shown}`");
    }

    #[test]
    fn a_password_is_found_however_it_is_written() {
        let secret = "pä\"ss w\\rd~*";
        hidden(secret, &serde_json::json!({ "password": secret }).to_string());
        hidden(secret, r#"{"password": "p\u00e4\"ss w\\rd~*"}"#);
        hidden(secret, "GET /login?password=p%C3%A4%22ss%20w%5Crd~%2A HTTP/1.1");
        hidden(secret, "username=a&password=p%C3%A4%22ss+w%5Crd%7E*");
        hidden(secret, &format!("expected nothing, saw {secret:?}"));
        hidden("correct-horse-9", "CORRECT-HORSE-9 is wrong");
        hidden("ß-Straße-9", "ÄÖÜ ß-sTRAßE-9");
    }

    #[test]
    fn basic_credentials_are_not_shown_in_base64() {
        let text = "POST /o/token/ HTTP/1.1\r\nauthorization: Basic c2hvcDpzaG9wLXNlY3JldC05\r\n\r\n";
        assert_eq!(
            Redactor::new(false).text(text),
            "POST /o/token/ HTTP/1.1\r\nauthorization: Basic <redacted>\r\n\r\n"
        );
        let challenge = r#"www-authenticate: Basic realm="shop", basic understanding"#;
        assert_eq!(Redactor::new(false).text(challenge), challenge);
    }

    #[test]
    fn opaque_tokens_are_known_by_the_names_they_go_by() {
        let text =
            r#"{"access_token": "q8Zt0mWc2VdKx71LrPaN", "expires_in": 300, "refreshToken":"Bf93kLzQ0x7YhTrEwMvU"}"#;
        assert_eq!(
            Redactor::new(false).text(text),
            r#"{"access_token": "<redacted>", "expires_in": 300, "refreshToken":"<redacted>"}"#
        );
        let cookie = "set-cookie: session=9f86d081884c7d659a2feaa0c55ad015; Path=/";
        assert_eq!(Redactor::new(false).text(cookie), "set-cookie: session=<redacted>; Path=/");
        for harmless in [r#"{"token": "invalid or expired"}"#, "token_type: access", "the refresh token is refused"] {
            assert_eq!(Redactor::new(false).text(harmless), harmless);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        let text = "\u{1b}[31mred\u{1b}]0;title\u{7} \u{9b}2J \0 \u{202e}txt.exe\nnext\tcell";
        let shown = r"\u{1b}[31mred\u{1b}]0;title\u{7} \u{9b}2J \u{0} \u{202e}txt.exe";
        assert_eq!(Redactor::new(false).text(text), format!("{shown}\nnext\tcell"));
        assert_eq!(Redactor::new(true).text(text), format!("{shown}\nnext\tcell"));
    }

    #[test]
    fn a_token_is_found_behind_anything_and_with_any_header() {
        let shown = Redactor::new(false).text(&format!("token=%22{JWT}%22 x{JWT}"));
        assert!(!shown.contains("c2lnbmF0dXJl"), "{shown}");
        let spaced = format!("{}.eyJzdWIiOiJhIn0.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode("{ \"alg\": \"HS256\" }"));
        assert!(!Redactor::new(false).text(&spaced).contains("c2lnbmF0dXJl"));
        assert_eq!(Redactor::new(false).text("either.or.else example.org.test"), "either.or.else example.org.test");
    }
}

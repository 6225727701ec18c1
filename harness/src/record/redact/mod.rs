//! What may be written down? Everything but passwords, keys and signatures.

mod care;
mod reading;
mod shape;
mod signature;

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

pub(crate) use self::care::Care;
use self::reading::{Atom, readings};
use self::shape::jwt_like;
use self::signature::{Known, Signatures};
use super::TokenView;

/// The first 12 hexadecimal digits of the SHA-256 of a token: enough to tell two apart.
pub fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Takes secrets out of text on its way into a record.
///
/// Known secrets (passwords, client secrets, opaque tokens) are replaced wherever they occur, also as JSON, a form, a
/// query, Base64 or other letter case writes them. Signatures of known tokens are replaced however the text breaks or
/// escapes them, since header and claims are shown. Anything shaped like a JWT, the credentials of an `Authorization:
/// Basic` and the values of members and cookies that are tokens by their name (`signature` in a JWS as JSON) are
/// replaced whether they are known or not, in every reading of the text: as it stands, and with its JSON, percent and
/// entity escapes undone layer by layer. So are the private members of JSON Web Keys.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Vec<Secret>,
    signatures: Arc<Signatures>,
    keep: bool,
}

/// A secret as one way of writing has it.
#[derive(Clone, Debug)]
struct Secret {
    /// In lower case: a server that echoes a password may change its case, and some checks do.
    spelling: String,
    label: String,
    /// Where it is taken for the secret.
    care: Care,
}

/// Bytes of a text that are not shown, and what stands for them.
struct Hidden {
    bytes: Range<usize>,
    label: String,
}

/// At most this many spellings are searched for; what an exchange brings beyond them is given to
/// [`Redactor::token_free`] with its texts.
const MOST_SPELLINGS: usize = 4096;

/// Bytes of a header or of claims that are kept, in Base64: every finding keeps some.
const MOST_SHOWN: usize = 16 << 10;

/// What stands for a secret.
const REDACTED: &str = "<redacted>";

impl Redactor {
    /// `keep`: the user asked for `--keep-secrets`.
    pub fn new(keep: bool) -> Redactor {
        Redactor { keep, ..Redactor::default() }
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

    /// Remembers the signature of a token, compact or as JSON, for this redactor and all its copies. A text that is no
    /// signed token is none to remember.
    pub fn learn_signed(&self, token: &str) {
        self.signatures.learn(token);
    }

    /// Adds an opaque token: a secret that is also found where a text breaks it.
    pub fn learn_opaque(&mut self, token: &str) {
        self.learn(token);
        self.signatures.learn_opaque(token);
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
        let given: Vec<&str> = tokens.iter().copied().filter(|token| token.len() >= 4).collect();
        let signed = Known::of(&given);
        let given: Vec<Secret> = given.into_iter().flat_map(Secret::all).collect();
        let mut hidden = basic(text);
        for reading in readings(text) {
            let bytes = |atoms: Range<usize>| reading[atoms.start].at..reading[atoms.end - 1].end;
            for atoms in shape::tokens(&reading) {
                let token: String = reading[atoms.clone()].iter().map(|a| a.c).collect();
                hidden.push(Hidden { bytes: bytes(atoms), label: format!("<token {}>", fingerprint(&token)) });
            }
            hidden.extend(shape::named(&reading).into_iter().map(bytes).map(Hidden::secret));
            hidden.extend(shape::private(&reading).into_iter().map(bytes).map(Hidden::secret));
            hidden.extend(signed.find(&reading).into_iter().map(Hidden::secret));
            hidden.extend(self.signatures.find(&reading).into_iter().map(Hidden::secret));
            hidden.extend(spelled(&reading, given.iter().chain(&self.secrets)));
        }
        harmless(&without(text, hidden))
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
            let mut value = serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null);
            self.inside(&mut value, false);
            value
        };
        let (header, claims) = (decoded(), decoded());
        TokenView { header, claims, fingerprint: fingerprint(token) }
    }

    /// A token may carry another one in a claim, or a key. `key`: this is inside of one.
    fn inside(&self, value: &mut serde_json::Value, key: bool) {
        match value {
            serde_json::Value::String(text) => *text = self.text(text),
            serde_json::Value::Array(list) => list.iter_mut().for_each(|value| self.inside(value, key)),
            serde_json::Value::Object(members) => {
                let key = key || shape::is_key(members.keys());
                for (name, value) in members {
                    match value.as_str() {
                        Some(text) if key && !self.keep && shape::is_private(name, text) => *value = REDACTED.into(),
                        _ => self.inside(value, key),
                    }
                }
            }
            _ => {}
        }
    }
}

impl Hidden {
    fn secret(bytes: Range<usize>) -> Hidden {
        Hidden { bytes, label: REDACTED.to_owned() }
    }
}

impl Secret {
    /// Every way to write a secret.
    fn all(secret: &str) -> Vec<Secret> {
        let label = match jwt_like(secret) {
            true => format!("<token {}>", fingerprint(secret)),
            false => REDACTED.to_owned(),
        };
        let care = Care::of(secret);
        let one = |text: String| Secret { spelling: text.to_ascii_lowercase(), label: label.clone(), care };
        spellings(secret).into_iter().map(one).collect()
    }
}

/// The text with what is hidden replaced. Of what overlaps the longest says what it was.
fn without(text: &str, mut hidden: Vec<Hidden>) -> String {
    if hidden.is_empty() {
        return text.to_owned();
    }
    hidden.sort_by_key(|h| (h.bytes.start, std::cmp::Reverse(h.bytes.end)));
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut rest = hidden.into_iter().peekable();
    while let Some(first) = rest.next() {
        let (start, mut end) = (first.bytes.start, first.bytes.end);
        let weight = |h: &Hidden| (h.label.starts_with("<token"), h.bytes.len());
        let mut lead = first;
        while let Some(next) = rest.next_if(|next| next.bytes.start < end) {
            end = end.max(next.bytes.end);
            if weight(&next) > weight(&lead) {
                lead = next;
            }
        }
        out.push_str(&text[copied..start]);
        out.push_str(&lead.label);
        copied = end;
    }
    out.push_str(&text[copied..]);
    out
}

/// Every occurrence of these secrets in a reading, whatever their letter case.
fn spelled<'s>(reading: &[Atom], secrets: impl Iterator<Item = &'s Secret>) -> Vec<Hidden> {
    let mut lower = String::with_capacity(reading.len());
    let mut atoms = Vec::with_capacity(reading.len());
    for (number, atom) in reading.iter().enumerate() {
        lower.push(atom.c.to_ascii_lowercase());
        atoms.resize(lower.len(), number);
    }
    let mut found = Vec::new();
    for secret in secrets.filter(|secret| !secret.spelling.is_empty()) {
        let hits = lower.match_indices(&secret.spelling);
        for (at, hit) in hits.filter(|(at, hit)| secret.care.stands(&lower, *at..at + hit.len())) {
            let bytes = reading[atoms[at]].at..reading[atoms[at + hit.len() - 1]].end;
            found.push(Hidden { bytes, label: secret.label.clone() });
        }
    }
    found
}

/// What `Basic bmFtZTpzZWNyZXQ=` carries.
fn basic(text: &str) -> Vec<Hidden> {
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, scheme) in lower.match_indices("basic ") {
        let from = at + scheme.len();
        let byte = |b: &&u8| b.is_ascii_alphanumeric() || matches!(**b, b'+' | b'/' | b'=' | b'-' | b'_');
        let end = from + text.as_bytes()[from..].iter().take_while(byte).count();
        let bare = text[from..end].trim_end_matches('=').replace('-', "+").replace('_', "/");
        if STANDARD_NO_PAD.decode(bare).is_ok_and(|pair| pair.contains(&b':')) {
            found.push(Hidden::secret(from..end));
        }
    }
    found
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
    fn a_password_that_is_a_word_is_hidden_as_a_value_and_not_in_what_is_said() {
        hidden("none", r#"{"username":"alice","password":"none"}"#);
        hidden("none", "username=alice&password=none");
        hidden("none", "the server said `none`");
        hidden("wrong", "password: wrong\n");
        hidden("a1b2", "the password a1b2 is too short");
        let shown = |secret: &str, text: &str| {
            let mut redactor = Redactor::new(false);
            redactor.learn(secret);
            assert_eq!(redactor.text(text), text);
        };
        shown("none", "GET / HTTP/1.1\r\nif-none-match: *\r\nx: sig-alg-none");
        shown("wrong", "it takes as long as one with a wrong password");
        shown("host", "GET / HTTP/1.1\r\nhost: 127.0.0.1");
        shown("password", r#"{"password":1}&password=1"#);
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

    const HEADER: &str = "eyJhbGciOiJIUzI1NiJ9";
    const PAYLOAD: &str = "eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ";
    const SIGNATURE: &str = "k9Zt0mWc2VdKx71LrPaN-Qe_3yUhJbTfXoGs5iMv8A4";

    /// No piece of the signature that is longer than luck would have it.
    #[track_caller]
    fn lifeless(redactor: &Redactor, text: &str) {
        let shown = redactor.text(text);
        let squeezed = |text: &str| -> String { text.chars().filter(char::is_ascii_alphanumeric).collect() };
        let (letters, signature) = (squeezed(&shown), squeezed(SIGNATURE));
        for at in 0..signature.len() - 6 {
            assert!(!letters.contains(&signature[at..at + 6]), "`{text}` is shown as `{shown}`");
        }
    }

    /// The ways in which checks, servers and logs have written a token that is no run of its letters.
    fn unusual() -> Vec<String> {
        let (half, rest) = SIGNATURE.split_at(20);
        let whole = format!("{HEADER}.{PAYLOAD}.{SIGNATURE}");
        let member = format!(r#"{{"payload":"{PAYLOAD}","protected":"{HEADER}","signature":"{SIGNATURE}"}}"#);
        let inside = serde_json::json!({ "token": member }).to_string();
        let twice = serde_json::json!({ "log": inside }).to_string();
        let percent = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02x}")).collect() };
        let escaped = |text: &str| -> String { text.chars().map(|c| format!("\\u{:04x}", c as u32)).collect() };
        vec![
            member.clone(),
            member.replace(':', " :\n  "),
            format!(r#"{{"payload":"{PAYLOAD}","signatures":[{{"protected":"{HEADER}","signature":"{SIGNATURE}"}}]}}"#),
            format!(r#"{{"Signature" : "{half}\u002d{rest}"}}"#),
            inside,
            twice,
            percent(&member),
            member.replace('"', "%22"),
            member.replace('"', "%2522"),
            member.replace('"', "&quot;"),
            whole.replace('.', "%2E"),
            whole.replace('.', "%252e"),
            whole.replace('.', "\\u002e"),
            whole.replace('.', "\\\\u002E"),
            whole.replace('.', "&#46;"),
            percent(&whole),
            escaped(&whole),
            format!("{HEADER}.{PAYLOAD}.{half}\r\n{rest}"),
            format!("{HEADER}.{PAYLOAD}.{half}\\r\\n{rest}"),
            format!("{HEADER}.{PAYLOAD}.{half}\r\n {rest}"),
            format!("{HEADER}.{PAYLOAD}.{half} {rest}"),
            format!("{HEADER}.{PAYLOAD}.{half}!{rest}"),
            format!("{HEADER}.{PAYLOAD}.{half}%{rest}"),
            format!("{HEADER}.{PAYLOAD}.{half}\u{e9}{rest}"),
            format!("{}\r\n{}.{PAYLOAD}.{SIGNATURE}", &HEADER[..9], &HEADER[9..]),
            format!("{}\\r\\n{}.{PAYLOAD}.{SIGNATURE}", &HEADER[..9], &HEADER[9..]),
            format!("{HEADER}.{} {}.{SIGNATURE}", &PAYLOAD[..9], &PAYLOAD[9..]),
            format!("{HEADER}.{}?{}.{SIGNATURE}", &PAYLOAD[..9], &PAYLOAD[9..]),
            format!("e\r\n{}.{PAYLOAD}.{SIGNATURE}", &HEADER[1..]),
        ]
    }

    #[test]
    fn no_way_to_write_a_token_shows_its_signature() {
        let stranger = Redactor::new(false);
        unusual().iter().for_each(|text| lifeless(&stranger, text));
    }

    #[test]
    fn a_known_signature_is_found_in_pieces_and_by_itself() {
        let redactor = Redactor::new(false);
        redactor.clone().learn_signed(&format!("{HEADER}.{PAYLOAD}.{SIGNATURE}"));
        unusual().iter().for_each(|text| lifeless(&redactor, text));
        let spaced: String = SIGNATURE.chars().flat_map(|c| [c, ' ']).collect();
        lifeless(&redactor, &format!("the signature is {spaced}, they say"));
        lifeless(&redactor, &SIGNATURE.replace('-', "+").replace('_', "\\/"));
        lifeless(&redactor, &SIGNATURE[4..]);
        assert_eq!(
            redactor.text("no signature at all, and nothing that looks like one"),
            "no signature at all, and nothing that looks like one"
        );
    }

    #[test]
    fn the_signature_of_a_token_as_json_is_known_too() {
        let redactor = Redactor::new(false);
        redactor.learn_signed(&unusual()[0]);
        lifeless(&redactor, &format!("bad signature: {SIGNATURE}"));
    }

    #[test]
    fn a_payload_that_is_not_encoded_teaches_no_secret() {
        let redactor = Redactor::new(false);
        let payload = r#"{"iss":"https://a.example","token_type":"access","exp":9999999999,"v":1.5}"#;
        redactor.learn_signed(&format!("{HEADER}.{payload}.{SIGNATURE}"));
        let text = r#"{"active":true,"token_type":"access","exp":9999999999}"#;
        assert_eq!(redactor.text(text), text);
        lifeless(&redactor, SIGNATURE);
    }

    #[test]
    fn a_broken_token_is_replaced_whole_and_what_follows_stays() {
        let (half, rest) = SIGNATURE.split_at(20);
        let text = format!(
            "Bearer {HEADER}.{PAYLOAD}.{half}\r\n{rest}\r\nhost: here, and {HEADER}.{PAYLOAD}.{SIGNATURE} there"
        );
        let shown = Redactor::new(false).text(&text);
        assert!(shown.starts_with("Bearer <token ") && shown.contains(">\r\nhost: here, and <token "), "{shown}");
        assert!(shown.ends_with("> there"), "{shown}");
        assert_eq!(shown.matches("<token").count(), 2, "{shown}");
    }

    #[test]
    fn a_token_inside_a_claim_is_not_shown() {
        let inner = format!("{HEADER}.{PAYLOAD}.{SIGNATURE}");
        let claims = URL_SAFE_NO_PAD.encode(serde_json::json!({"act": {"token": [inner]}}).to_string());
        let view = Redactor::new(false).token(&format!("{HEADER}.{claims}.{SIGNATURE}"));
        assert!(view.claims["act"]["token"][0].as_str().unwrap().starts_with("<token "), "{view:?}");
    }

    /// A private key of each kind, as its members stand in a key set, and the set.
    fn key_set() -> (Vec<String>, serde_json::Value) {
        let secret = |number: usize| format!("{number:02}Zt0mWc2VdKx71LrPaN-Qe_3yUhJbTfXoGs5iMv8A4");
        let secrets: Vec<String> = (0..10).map(secret).collect();
        let of = |number: usize| secrets[number].as_str();
        let oth = serde_json::json!([{"r": of(7), "d": of(8), "t": of(9)}]);
        let rsa = serde_json::json!({
            "kty": "RSA", "n": "a-modulus-that-is-public", "d": of(0), "p": of(1), "q": of(2), "dp": of(3), "dq": of(4),
            "qi": of(5), "oth": oth,
        });
        let keys = serde_json::json!({"keys": [{"k": of(6), "kty": "oct"}, rsa, {"kty": "EC", "x": "a-coordinate-is-public"}]});
        (secrets, keys)
    }

    #[test]
    fn the_private_members_of_keys_are_never_shown() {
        let (secrets, keys) = key_set();
        let text = keys.to_string();
        let layered = serde_json::json!({ "log": serde_json::json!({ "body": text }).to_string() }).to_string();
        let percent: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
        for text in [
            text.clone(),
            format!("{keys:#}"),
            text.replace('"', "'").replace(':', ": "),
            layered,
            text.replace('"', "&quot;"),
            percent,
            // Cut off at both ends: what is left may be a key's.
            format!("{}...", &text[..text.find("\"dq\"").unwrap() + 30]),
            text[text.find("\"kty\"").unwrap()..].to_owned(),
        ] {
            let shown = Redactor::new(false).text(&text);
            let leak = secrets.iter().find(|secret| shown.contains(&secret[..20]));
            assert!(leak.is_none() && shown.contains(REDACTED), "`{text}` is shown as `{shown}`");
        }
        let shown = Redactor::new(false).text(&text);
        assert!(shown.contains("a-modulus-that-is-public") && shown.contains("a-coordinate-is-public"), "{shown}");
    }

    #[test]
    fn the_letters_that_name_the_parts_of_a_key_are_letters_elsewhere() {
        let claims = r#"{"d":"2026-11-24T00:00:00Z","k":"a-long-value-of-no-key","nested":{"p":"another-long-value"}}"#;
        assert_eq!(Redactor::new(false).text(claims), claims);
    }

    #[test]
    fn a_private_key_inside_a_token_is_not_shown() {
        let (secrets, keys) = key_set();
        let header = URL_SAFE_NO_PAD.encode(serde_json::json!({"alg": "RS256", "jwk": keys["keys"][1]}).to_string());
        let shown =
            serde_json::to_string(&Redactor::new(false).token(&format!("{header}.{PAYLOAD}.{SIGNATURE}"))).unwrap();
        assert!(secrets.iter().all(|secret| !shown.contains(secret)) && shown.contains("a-modulus"), "{shown}");
    }

    #[test]
    fn prose_around_what_is_no_token_stays_as_it_is() {
        for text in [
            "eyJhbGciOiJIUzI1NiJ9 is a header. It has no payload. Really.",
            "the member \"signature\": \"is missing from this message\"",
            "signature: none, 100% sure. See e.g. chapter e.f.g",
            r"C:\new\users\ecb.dll and \\server\share",
            "{\"error\": \"signature verification failed for token\"}",
        ] {
            assert_eq!(Redactor::new(false).text(text), text);
        }
    }
}

//! What may be written down? Everything but passwords, keys and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::TokenView;

/// The first 12 hexadecimal digits of the SHA-256 of a token: enough to tell two apart.
pub fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// Takes secrets out of text on its way into a record.
///
/// Known secrets (passwords, client secrets, opaque tokens) are replaced wherever they occur; anything
/// shaped like a JWT is replaced whether it is known or not.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Vec<String>,
    keep: bool,
}

impl Redactor {
    /// `keep`: the user asked for `--keep-secrets`.
    pub fn new(keep: bool) -> Redactor {
        Redactor { secrets: Vec::new(), keep }
    }

    /// Adds a secret. Texts under four characters are not secrets that can be searched for.
    pub fn learn(&mut self, secret: &str) {
        if secret.len() >= 4 && !self.secrets.iter().any(|s| s == secret) {
            self.secrets.push(secret.to_owned());
            self.secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        if self.keep {
            return text.to_owned();
        }
        let mut out = text.to_owned();
        for secret in &self.secrets {
            if out.contains(secret.as_str()) {
                let label = match jwt_like(secret) {
                    Some(_) => format!("<token {}>", fingerprint(secret)),
                    None => "<redacted>".to_owned(),
                };
                out = out.replace(secret.as_str(), &label);
            }
        }
        redact_jwts(&out)
    }

    /// What may be shown of a token.
    pub fn token(&self, token: &str) -> TokenView {
        let mut parts = token.split('.');
        let mut decoded = || {
            let raw = parts.next().unwrap_or_default();
            let bytes = URL_SAFE_NO_PAD.decode(raw.trim_end_matches('=')).unwrap_or_default();
            serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null)
        };
        let (header, claims) = (decoded(), decoded());
        TokenView { header, claims, fingerprint: fingerprint(token) }
    }
}

/// Whether a byte can stand in a compact JWS or JWE.
fn token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=')
}

/// A run of token bytes that begins like a JSON header (`eyJ`) and has at least two dots.
fn jwt_like(run: &str) -> Option<()> {
    (run.starts_with("eyJ") && run.matches('.').count() >= 2).then_some(())
}

fn redact_jwts(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let begins =
            bytes[at..].starts_with(b"eyJ") && (at == 0 || !token_byte(bytes[at - 1]) || bytes[at - 1] == b'=');
        if !begins {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|b| token_byte(**b)).count();
        let run = &text[at..end];
        if jwt_like(run).is_some() {
            out.push_str(&text[copied..at]);
            out.push_str(&format!("<token {}>", fingerprint(run)));
            copied = end;
        }
        at = end;
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
}

//! What does a token say that a server has just given out? Read without allocating, for every token of a load.
//!
//! Nothing is verified here: these are the marks by which tokens are told apart and lifetimes are known. What a genuine
//! token must be is [`crate::jose::verify`]'s to say.

use std::hash::{DefaultHasher, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The marks of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Claims {
    /// `iat`, Unix seconds.
    pub iat: Option<f64>,
    /// `exp`, Unix seconds.
    pub exp: Option<f64>,
    /// Hash of `jti`, and of the whole token where there is none to compare.
    pub jti: Option<u64>,
    /// Hash of the subject claim.
    pub subject: Option<u64>,
    /// Hash of the first half of an ECDSA signature, which is the same exactly where the nonce is.
    pub nonce: Option<u64>,
}

/// Reads a JWT's marks; `None` for whatever is none. `subject` is the claim that names the user; `buffer` is room that
/// is used again.
pub(crate) fn read(token: &str, subject: &str, buffer: &mut Vec<u8>) -> Option<Claims> {
    let (head, rest) = token.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    if signature.contains('.') {
        return None;
    }
    let mut claims = Claims::default();
    decode(head, buffer)?;
    if Members::of(buffer).any(|(name, value)| name == b"alg" && value.starts_with(b"\"ES")) {
        claims.nonce = signature.get(..(signature.len() / 2).saturating_sub(1)).map(|r| hash(r.as_bytes()));
    }
    decode(payload, buffer)?;
    for (name, value) in Members::of(buffer) {
        match name {
            b"iat" => claims.iat = number(value),
            b"exp" => claims.exp = number(value),
            b"jti" => claims.jti = Some(hash(value)),
            _ => {}
        }
        if name == subject.as_bytes() {
            claims.subject = Some(hash(value));
        }
    }
    Some(claims)
}

fn decode(segment: &str, into: &mut Vec<u8>) -> Option<()> {
    into.clear();
    URL_SAFE_NO_PAD.decode_vec(segment, into).ok()
}

/// The same for the same bytes, within one process.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The members of a JSON object as they stand in its text: names without their quotes, values with them. Ends where the
/// text stops making sense.
pub(crate) struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Members<'a> {
    /// The members of the object that the text begins with; none if it begins with something else.
    pub fn of(text: &'a [u8]) -> Members<'a> {
        Members { rest: text.trim_ascii_start().strip_prefix(b"{").unwrap_or_default() }
    }
}

impl Members<'_> {
    /// Whether what has been read is the whole of the text: nothing but the end of the object is left.
    pub fn ended(&self) -> bool {
        self.rest.trim_ascii() == b"}"
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let from = self.rest.trim_ascii_start();
        let from = from.strip_prefix(b",").unwrap_or(from).trim_ascii_start();
        let end = string_end(from)?;
        let name = &from[1..end - 1];
        let value = from[end..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let end = value_end(value)?;
        self.rest = &value[end..];
        Some((name, &value[..end]))
    }
}

/// Behind the closing quote of the string that the text begins with.
fn string_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

fn value_end(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' => string_end(text),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0u32, 0);
            loop {
                match text.get(at)? {
                    b'"' => at += string_end(&text[at..])? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let ends = |b: &u8| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace();
            text.iter().position(ends).filter(|at| *at > 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str, signature: &str) -> String {
        format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn marks(header: &str, payload: &str, signature: &str) -> Claims {
        read(&token(header, payload, signature), "sub", &mut Vec::new()).unwrap()
    }

    #[test]
    fn members_are_found_wherever_they_stand() {
        let text = br#" {"a" : "x\"}", "b":{"iat":1,"c":["}"]} ,"iat": 12.5,"n":null} "#;
        let found: Vec<(&[u8], &[u8])> = Members::of(text).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", br#""x\"}""#), (b"b", br#"{"iat":1,"c":["}"]}"#), (b"iat", b"12.5"), (b"n", b"null")];
        assert_eq!(found, expected);
        for odd in ["", "[1]", "{\"a\"", "{\"a\":", "{a:1}", "{\"a\":{\"b\":", "{\"a\":\"\\"] {
            assert_eq!(Members::of(odd.as_bytes()).count(), 0, "{odd}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_marks() {
        let hs = r#"{"alg":"HS256"}"#;
        let one = marks(hs, r#"{"jti":"a","sub":"7","iat":1000,"exp":1300}"#, "x");
        assert_eq!((one.iat, one.exp, one.nonce), (Some(1000.0), Some(1300.0), None));
        let two = marks(hs, r#"{"exp":1300,"sub":"7","jti":"b"}"#, "y");
        assert!(one.subject.is_some() && one.subject == two.subject && one.jti != two.jti);
        assert_ne!(marks(hs, r#"{"sub":7}"#, "").subject, two.subject);
        assert_eq!(read("opaque", "sub", &mut Vec::new()), None);
        assert_eq!(read("a.b.c.d.e", "sub", &mut Vec::new()), None);
    }

    #[test]
    fn the_same_nonce_gives_the_same_first_half() {
        let es = r#"{"alg":"ES256","typ":"JWT"}"#;
        let sign = |r: u8, s: u8| URL_SAFE_NO_PAD.encode([[r; 32], [s; 32]].concat());
        let nonce = |r, s| marks(es, "{}", &sign(r, s)).nonce.unwrap();
        assert_eq!(nonce(1, 2), nonce(1, 255));
        assert_ne!(nonce(1, 2), nonce(3, 2));
    }
}

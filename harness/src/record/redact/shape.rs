//! What looks like a token, or stands where one stands, whether it is known or not?

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::reading::Atom;

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
/// Members of the JSON serializations (RFC 7515 section 7.2, RFC 7516 section 7.2) without which they are no tokens.
pub(super) const SIGNED: &[&str] = &["signature", "ciphertext"];
/// A shorter value is a word, not a secret: `"token": "invalid"`.
const SHORTEST_NAMED: usize = 16;
/// Foreign characters in a row that a token is still read across: a folded line has CR, LF and a blank.
const WIDEST_GAP: usize = 3;
/// Characters of a signature by algorithm and key: HMAC, ECDSA and EdDSA, RSA of 1024 to 4096 bits. Only a signature
/// that comes to one of these is put together over a blank or a line end, behind which another text may begin.
const LENGTHS: &[usize] = &[43, 64, 86, 128, 152, 171, 176, 256, 342, 512, 683];

/// The characters of everything that is shaped like a compact token.
pub(super) fn tokens(reading: &[Atom]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < reading.len() {
        // Behind `%22` or another prefix only the usual first letters tell.
        let first = at == 0 || !in_token(reading[at - 1].c) || reading[at - 1].c == '=';
        let usual = begins(&reading[at..]);
        if !(usual || first && reading[at].c == 'e') {
            at += 1;
            continue;
        }
        let run = reading[at..].iter().take_while(|a| in_token(a.c)).count();
        let text: String = reading[at..at + run].iter().map(|a| a.c).collect();
        if jwt_like(&text) {
            let end = match text.matches('.').count() {
                2 => at + signature_end(&reading[at..], text.rfind('.').map_or(0, |dot| dot + 1)),
                _ => at + run,
            };
            found.push(at..end);
            at = end;
        } else if usual {
            match broken(&reading[at..]) {
                Ok(length) => {
                    found.push(at..at + length);
                    at += length;
                }
                // Nothing that begins later within this has more segments.
                Err(length) => at += length.max(1),
            }
        } else {
            at += 1;
        }
    }
    found
}

/// The values of the members that are secrets by their name: `"access_token": "..."`, `Set-Cookie: session=...`.
pub(super) fn named(reading: &[Atom]) -> Vec<Range<usize>> {
    [members(reading, NAMED), members(reading, SIGNED)].concat()
}

/// The private members of JSON Web Keys (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1), those of `oth` among them.
const PRIVATE: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "k", "r", "t"];
/// What makes an object a key.
const KEY_TYPE: &str = "kty";

/// Whether a member of an object that is a key must not be shown.
pub(super) fn is_private(name: &str, value: &str) -> bool {
    PRIVATE.contains(&name) && value.len() >= SHORTEST_NAMED
}

/// Whether an object with these members is a key.
pub(super) fn is_key<'n>(mut names: impl Iterator<Item = &'n String>) -> bool {
    names.any(|name| name == KEY_TYPE)
}

/// The values of the private members of keys: of objects that have a `kty`, and of what is inside of them. An object
/// that is cut off may have had one.
pub(super) fn private(reading: &[Atom]) -> Vec<Range<usize>> {
    #[derive(Default)]
    struct Object {
        key: bool,
        values: Vec<Range<usize>>,
    }
    let mut found = Vec::new();
    // What stands around all objects may be one whose beginning is cut off.
    let mut open = vec![Object::default()];
    let mut at = 0;
    while at < reading.len() {
        let c = reading[at].c;
        at += 1;
        match c {
            '{' => open.push(Object::default()),
            '}' if open.len() > 1 => {
                let Some(ended) = open.pop() else { continue };
                match open.last_mut() {
                    Some(outer) if !ended.key => outer.values.extend(ended.values),
                    _ => found.extend(ended.values),
                }
            }
            '"' | '\'' => {
                let Some((name, value)) = member(&reading[at..]) else { continue };
                let Some(object) = open.last_mut() else { continue };
                object.key |= name == KEY_TYPE;
                let text: String = reading[at..][value.clone()].iter().map(|a| a.c).collect();
                if is_private(&name, &text) {
                    object.values.push(at + value.start..at + value.end);
                    at += value.end;
                }
            }
            _ => {}
        }
    }
    let cut_off = open.into_iter().enumerate().filter(|(depth, object)| *depth > 0 || object.key);
    found.extend(cut_off.flat_map(|(_, object)| object.values));
    found
}

/// The name of a member and where its value stands, seen from behind the quote that begins the name.
fn member(rest: &[Atom]) -> Option<(String, Range<usize>)> {
    const LONGEST_NAME: usize = 3;
    let quote = |a: &Atom| matches!(a.c, '"' | '\'');
    let blank = |a: &&Atom| a.c.is_ascii_whitespace();
    let name: String = rest.iter().map(|a| a.c).take(LONGEST_NAME + 1).take_while(char::is_ascii_lowercase).collect();
    let mut at = name.len();
    rest.get(at).filter(|a| quote(a))?;
    at += 1;
    at += rest[at..].iter().take_while(blank).count();
    rest.get(at).filter(|a| a.c == ':')?;
    at += 1;
    at += rest[at..].iter().take_while(blank).count();
    rest.get(at).filter(|a| quote(a))?;
    at += 1;
    let length = rest[at..].iter().take_while(|a| in_secret(a.c)).count();
    Some((name, at..at + length))
}

/// The values of members with one of these names, where they are no words.
pub(super) fn members(reading: &[Atom], names: &[&str]) -> Vec<Range<usize>> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut found = Vec::new();
    let mut at = 0;
    while at < reading.len() {
        if !word(reading[at].c) || (at > 0 && word(reading[at - 1].c)) {
            at += 1;
            continue;
        }
        let name: String = reading[at..].iter().map(|a| a.c).take_while(|c| word(*c)).collect();
        at += name.len();
        if !names.contains(&name.to_ascii_lowercase().replace('-', "_").as_str()) {
            continue;
        }
        // `"name" : "`, `name=`: what may stand between a name and its value; line ends only where the name was quoted.
        let member = reading.get(at).is_some_and(|a| matches!(a.c, '"' | '\\'));
        let may = |c: &char| matches!(c, '"' | '\\' | ' ' | ':' | '=') || member && matches!(c, '\n' | '\r' | '\t');
        let between: String = reading[at..].iter().map(|a| a.c).take_while(may).collect();
        if !between.contains([':', '=']) {
            continue;
        }
        let from = at + between.len();
        let length = value(&reading[from..], between.ends_with('"'));
        if length > 0 {
            found.push(from..from + length);
            at = from + length;
        }
    }
    found
}

/// How long a value is, 0 where it is a word or a sentence.
fn value(rest: &[Atom], quoted: bool) -> usize {
    let plain = rest.iter().take_while(|a| in_secret(a.c)).count();
    let mut length = plain;
    if quoted {
        let inside = rest.iter().take_while(|a| in_secret(a.c) || is_junk(a.c)).count();
        let letters = rest[..inside].iter().filter(|a| a.c.is_ascii_alphanumeric() || "-_+/".contains(a.c)).count();
        if !rest[..inside].iter().any(|a| a.c == ' ') || LENGTHS.contains(&letters) {
            length = inside;
        }
    }
    while length > 0 && rest[length - 1].c == '\\' {
        length -= 1;
    }
    if rest[..length].iter().filter(|a| in_secret(a.c)).count() >= SHORTEST_NAMED { length } else { 0 }
}

/// A run of token characters that begins like a JSON object in Base64 (`eyJ` is `{"`) and has at least two dots.
pub(super) fn jwt_like(run: &str) -> bool {
    if run.matches('.').count() < 2 || run.contains(|c| !in_token(c)) {
        return false;
    }
    // Pretty-printed headers begin with other letters.
    run.starts_with("eyJ") || run.starts_with('e') && run.split('.').next().is_some_and(is_object)
}

/// Whether a segment says a JSON object.
fn is_object(segment: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(segment.trim_end_matches('=')).unwrap_or_default();
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).is_ok()
}

/// Whether `eyJ` stands here, perhaps with foreign characters between its letters.
fn begins(rest: &[Atom]) -> bool {
    if rest.first().is_none_or(|a| a.c != 'e') {
        return false;
    }
    let letters = rest.iter().take(3 + 2 * WIDEST_GAP).map(|a| a.c).filter(|c| !is_junk(*c));
    letters.take(3).eq(['e', 'y', 'J'])
}

/// Where a token with foreign characters in its header or its payload ends; or how far none goes.
fn broken(rest: &[Atom]) -> Result<usize, usize> {
    let mut segment = String::new();
    let mut segments = 0;
    let mut at = 0;
    while segments < 2 {
        match rest.get(at).map(|a| a.c) {
            Some('.') if is_object(&segment) => {
                segments += 1;
                segment.clear();
                at += 1;
            }
            Some(c) if c != '.' && in_token(c) => {
                segment.push(c);
                at += 1;
            }
            Some(c) if is_junk(c) => at += gap(&rest[at..]).ok_or(at)?,
            _ => return Err(at),
        }
    }
    Ok(signature_end(rest, at))
}

/// Where the signature ends that begins at `from`, put together over foreign characters where its length tells.
fn signature_end(rest: &[Atom], from: usize) -> usize {
    let mut at = from;
    let mut letters = 0;
    let mut whole = None;
    loop {
        let run = rest[at..].iter().take_while(|a| a.c != '.' && in_token(a.c)).count();
        letters += rest[at..at + run].iter().filter(|a| a.c != '=').count();
        at += run;
        let first = *whole.get_or_insert(at);
        if LENGTHS.contains(&letters) {
            return at;
        }
        match gap(&rest[at..]) {
            Some(more) if letters < 700 && rest[at + more].c != '.' => at += more,
            _ => return first,
        }
    }
}

/// How many foreign characters stand here before a token goes on.
fn gap(rest: &[Atom]) -> Option<usize> {
    let width = rest.iter().take_while(|a| is_junk(a.c)).count();
    (1..=WIDEST_GAP).contains(&width).then_some(width).filter(|width| rest.get(*width).is_some_and(|a| in_token(a.c)))
}

/// Whether a character can stand in a compact JWS or JWE, in either alphabet.
fn in_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+' | '/')
}

/// What opaque tokens are made of.
fn in_secret(c: char) -> bool {
    in_token(c) || matches!(c, '~' | '%' | '|' | ':')
}

/// What a lenient reader of Base64 drops and no grammar needs: control characters, blanks, a few signs.
fn is_junk(c: char) -> bool {
    c.is_control() || !c.is_ascii() || matches!(c, ' ' | '!' | '?' | '%' | '\\' | '~' | '*' | '#' | '@' | '^')
}

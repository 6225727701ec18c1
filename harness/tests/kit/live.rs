//! Can a token that is alive be put together from what was written down? Every way to read it, every part with every other.
#![allow(dead_code, reason = "every test file takes the part that it needs")]

use std::collections::BTreeSet;

use assay::conformance::decode;
use assay::jose::{SigningKey, VerifyingKey, algorithm, base64url};
use assay::target::Target;
use serde_json::Value;

/// Layers of escapes that are undone.
const DEPTH: usize = 4;

/// The key that an attacker does not have.
pub fn key(target: &Target) -> VerifyingKey {
    let material = target.signing_key().expect("the profile is sound").expect("the profile knows the key");
    let key = match material.secret {
        true => SigningKey::secret(material.bytes),
        false => SigningKey::parse(&material.bytes).expect("a key"),
    };
    key.verifying_key()
}

/// What of these texts can be put together to a token that the key believes and that has not ended.
pub fn live_tokens(texts: &[String], key: &VerifyingKey) -> Vec<String> {
    let mut found = Parts::default();
    for text in texts {
        found.read(text);
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            found.walk(&value);
        }
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let mut live = Vec::new();
    for header in &found.objects {
        let Some(row) = object(header).as_ref().and_then(|h| algorithm(h.get("alg")?.as_str()?)) else { continue };
        if !key.serves(row) {
            continue;
        }
        for payload in &found.objects {
            let ended = |claims: &Value| claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp <= now);
            if object(payload).is_none_or(|claims| ended(&claims)) {
                continue;
            }
            let input = format!("{header}.{payload}");
            for signature in &found.signatures {
                let fits = row.signature_len.is_none_or(|length| length == signature.len());
                if fits && key.accepts(row, input.as_bytes(), signature) {
                    live.push(format!("{input}.{}", base64url::encode(signature)));
                }
            }
        }
    }
    live
}

#[derive(Default)]
struct Parts {
    /// Segments that say a JSON object.
    objects: BTreeSet<String>,
    /// Bytes that are as long as signatures are.
    signatures: BTreeSet<Vec<u8>>,
}

impl Parts {
    /// Every text and every object inside a JSON value: a token is shown as its header and its claims.
    fn walk(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.read(text),
            Value::Array(list) => list.iter().for_each(|value| self.walk(value)),
            Value::Object(members) => {
                for name in ["header", "claims"] {
                    if let Some(shown) = members.get(name).filter(|shown| shown.is_object()) {
                        self.objects.insert(base64url::encode(shown.to_string()));
                    }
                }
                members.iter().for_each(|(name, value)| {
                    self.read(name);
                    self.walk(value);
                });
            }
            _ => {}
        }
    }

    /// A text in every reading.
    fn read(&mut self, text: &str) {
        let mut text = text.to_owned();
        for _ in 0..=DEPTH {
            for word in text.split(['"', '\'', ',', '{', '}', '[', ']', '<', '>', '(', ')', ':', ';', '&', '$']) {
                word.split(|c: char| !letter(c)).for_each(|run| self.keep(run));
                // What a forgiving decoder would leave out of a word.
                for segment in word.split('.') {
                    self.keep(&segment.chars().filter(|c| letter(*c)).collect::<String>());
                    self.keep(&segment.replace('+', "-").replace('/', "_").replace(|c| !letter(c), ""));
                }
            }
            let next = less_escaped(&text);
            if next == text {
                break;
            }
            text = next;
        }
    }

    fn keep(&mut self, run: &str) {
        for (at, _) in run.match_indices("eyJ") {
            if object(&run[at..]).is_some() {
                self.objects.insert(run[at..].to_owned());
            }
        }
        // HMAC and ECDSA over 256 bits, then 512; RSA of 2048 bits.
        for length in [43, 86, 342] {
            if run.len() >= length && !run.starts_with("eyJ") {
                let last = run.len() - length;
                let starts: Vec<usize> = if last <= 24 { (0..=last).collect() } else { vec![0, last] };
                self.signatures.extend(starts.iter().map(|at| base64url::decode_lenient(&run[*at..at + length])));
            }
        }
    }
}

fn letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn object(segment: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(&base64url::decode_lenient(segment)).ok()?;
    value.is_object().then_some(value)
}

/// One layer of JSON, percent and entity escapes less.
fn less_escaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let code = |from: usize, digits: usize| {
            let digits = rest.get(from..from + digits).filter(|d| d.chars().all(|c| c.is_ascii_hexdigit()))?;
            char::from_u32(u32::from_str_radix(digits, 16).ok()?).map(|c| (c, from + digits.len()))
        };
        let said = match c {
            '\\' => match rest.chars().nth(1) {
                Some('u') => code(2, 4),
                Some('n' | 'r' | 't') => Some(('\n', 2)),
                Some(next @ ('"' | '\\' | '/')) => Some((next, 2)),
                _ => None,
            },
            '%' => code(1, 2),
            '&' => [("&quot;", '"'), ("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>')]
                .into_iter()
                .find(|(name, _)| rest.starts_with(name))
                .map(|(name, c)| (c, name.len())),
            _ => None,
        };
        let (c, width) = said.unwrap_or((c, c.len_utf8()));
        out.push(c);
        rest = &rest[width..];
    }
    out
}

/// A sanity check of the attack itself: without it nothing found would prove nothing.
pub fn finds(text: &str, token: &str, key: &VerifyingKey) -> bool {
    assert!(decode(token).is_some(), "no token to look for");
    !live_tokens(&[text.to_owned()], key).is_empty()
}

//! Is there anything in a token to be guessed, or that nobody should read?

use serde_json::{Map, Value};

use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::jose::{SigningKey, algorithm, base64url};
use crate::record::Level;

/// The family's fifth part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "issue-weak-secret",
        group: "ISSUE",
        requirement: "the HMAC secret is in no dictionary",
        sources: &["RFC 8725 section 3.5", "RFC 7518 section 3.2", "GO-2026-5515"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Issue, Need::JwtAccess],
        variants: &[],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["secret-secret"],
        sends: "nothing: tries common secrets, and words from the address and the profile, on the signature of a genuine token",
        why: "whoever holds one token can guess the secret offline, and then be anybody",
        remedy: "generate the secret: 32 random bytes for HS256, 64 for HS512",
        run: weak_secret,
    },
    Check {
        id: "issue-no-secret-claims",
        group: "ISSUE",
        requirement: "tokens carry no password hash, key, mail address or card number",
        sources: &["RFC 7519 section 12", "ASVS 14.2.6", "WSTG-SESS-10"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Issue],
        variants: &["access", "refresh"],
        isolation: Isolation::Shared,
        cost: cost(1, 1),
        intrusive: false,
        flaws: &["hash-in-claim"],
        sends: "a login, and reads names and values of all claims",
        why: "a payload is readable by everybody who sees the token; a hash in it can be cracked offline",
        remedy: "put an opaque id into the token, and look the rest up",
        run: no_secret_claims,
    },
];

/// Secrets that people take from examples, and the commonest passwords.
const DICTIONARY: &str = include_str!("weak_secrets.txt");

fn weak_secret(p: &mut Probe<'_>) -> Result<(), Stop> {
    let token = p.access()?;
    let (header, _) = decode(&token).ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = algorithm(name)
        .filter(|a| !a.is_asymmetric())
        .ok_or_else(|| Stop::not_applicable(format!("tokens are signed with {name}, not with a shared secret")))?;
    let (input, signature) = token.rsplit_once('.').ok_or_else(|| Stop::needs(Need::JwtAccess))?;
    let signature = base64url::decode_lenient(signature);
    let words = words(&p.profile().name, &p.target().endpoint.host);
    let opens = |key: &[u8]| SigningKey::secret(key).verifying_key().accepts(algorithm, input.as_bytes(), &signature);
    let found = words.iter().any(|word| forms(word).iter().any(|key| opens(key)));
    let n = words.len();
    if found {
        p.fail(None, "found", format!("the signing secret is one of {n} words that everybody tries"));
    } else {
        p.pass(None, "not-found", format!("the secret is none of {n} common ones"));
    }
    Ok(())
}

/// The dictionary, words of the target's own, and each with the usual endings.
fn words(profile: &str, host: &str) -> Vec<String> {
    let own = profile.split(|c: char| !c.is_alphanumeric()).chain(host.split('.')).filter(|w| w.len() > 2);
    let mut words: Vec<String> = DICTIONARY.lines().map(str::to_owned).collect();
    for word in own {
        for ending in ["", "-secret", "_secret", "secret", "-secret-key", "_secret_key", "-key", "123"] {
            words.push(format!("{word}{ending}"));
        }
    }
    let more: Vec<String> = words
        .iter()
        .flat_map(|word| [format!("{word}\n"), format!("{word}!"), format!("{word}123"), word.to_uppercase()])
        .collect();
    words.push(String::new());
    words.extend(more);
    words
}

/// The bytes that a word may stand for: its own, and what comes out where a library decodes the setting first.
fn forms(word: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![word.as_bytes().to_vec()];
    let of_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    let plain = word.trim_end_matches('=');
    if plain.len() >= 2 && plain.chars().all(of_base64) {
        let url_safe: String = plain
            .chars()
            .map(|c| {
                if c == '+' {
                    '-'
                } else if c == '/' {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        forms.push(base64url::decode_lenient(&url_safe));
    } else if plain.chars().filter(|c| of_base64(*c)).count() >= 2 {
        // Java's and Python's decoders skip what is no base64, the marks of a line of signs for instance.
        let kept: String = word.chars().filter(|c| of_base64(*c)).collect();
        forms.push(base64url::decode_lenient(&kept));
    }
    if word.len() >= 2 && word.len().is_multiple_of(2) && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        let byte = |at: usize| u8::from_str_radix(word.get(at..at + 2)?, 16).ok();
        forms.extend((0..word.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>());
    }
    forms
}

fn no_secret_claims(p: &mut Probe<'_>) -> Result<(), Stop> {
    let issued = p.pooled()?;
    let mut read = false;
    for (variant, token) in [("access", &issued.access), ("refresh", &issued.refresh)] {
        let Some((_, claims)) = token.as_deref().and_then(decode) else { continue };
        read = true;
        match private_claim(&claims) {
            None => p.pass(Some(variant), "nothing", format!("{} claims, none of them private", claims.len())),
            Some((name, what)) => {
                p.fail(Some(variant), what, format!("the claim `{name}` looks like {}", what.replace('-', " ")));
            }
        }
    }
    if read { Ok(()) } else { Err(Stop::not_applicable("its tokens cannot be read")) }
}

/// The first claim that should not be readable: its name, and what it looks like.
fn private_claim(claims: &Map<String, Value>) -> Option<(String, &'static str)> {
    const NAMES: &[(&str, &str)] = &[
        ("password", "a-password"),
        ("passwd", "a-password"),
        ("pwd", "a-password"),
        ("secret", "a-secret"),
        ("private_key", "a-key"),
        ("api_key", "a-key"),
        ("apikey", "a-key"),
        ("hash", "a-hash"),
    ];
    // Hashes of OpenID Connect tokens are over tokens, not over passwords.
    const HARMLESS: &[&str] = &["at_hash", "c_hash", "s_hash"];
    claims.iter().filter(|(name, _)| !HARMLESS.contains(&name.as_str())).find_map(|(name, value)| {
        if let Value::Object(inner) = value {
            return private_claim(inner).map(|(inside, what)| (format!("{name}.{inside}"), what));
        }
        if let Value::Array(items) = value
            && let Some((inside, what)) = items.iter().enumerate().find_map(|(at, item)| in_a_list(at, item))
        {
            return Some((format!("{name}{inside}"), what));
        }
        let lower = name.to_ascii_lowercase();
        let by_name = NAMES.iter().find(|(part, _)| lower.contains(part)).map(|(_, what)| *what);
        // `pwd` of RFC 8176 is a method, not a password.
        let by_name = by_name.filter(|_| !value.is_boolean() && !value.is_null());
        let by_value = value.as_str().and_then(private_value);
        by_name.or(by_value).map(|what| (name.clone(), what))
    })
}

/// A private one among the items of a list: where it stands, and what it looks like.
fn in_a_list(at: usize, item: &Value) -> Option<(String, &'static str)> {
    match item {
        Value::Object(inner) => private_claim(inner).map(|(inside, what)| (format!("[{at}].{inside}"), what)),
        Value::Array(items) => {
            let mut inner = items.iter().enumerate().filter_map(|(at, item)| in_a_list(at, item));
            inner.next().map(|(inside, what)| (format!("[{at}]{inside}"), what))
        }
        Value::String(text) => private_value(text).map(|what| (format!("[{at}]"), what)),
        _ => None,
    }
}

fn private_value(text: &str) -> Option<&'static str> {
    let hash = ["$2a$", "$2b$", "$2y$", "$argon2", "$5$", "$6$", "pbkdf2_", "bcrypt", "argon2", "scrypt", "$scrypt"];
    if hash.iter().any(|prefix| text.starts_with(prefix)) {
        return Some("a-password-hash");
    }
    if text.contains("-----BEGIN") {
        return Some("a-key");
    }
    if let Some((user, host)) = text.split_once('@')
        && !user.is_empty()
        && host.contains('.')
        && !text.contains(['/', ' ', ':'])
    {
        return Some("a-mail-address");
    }
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let only = text.chars().all(|c| c.is_ascii_digit() || c == ' ' || c == '-');
    (only && (15..=19).contains(&digits.len()) && luhn(&digits)).then_some("a-card-number")
}

/// The check digit of ISO/IEC 7812.
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (1, double) if double > 9 => double - 9,
            (1, double) => double,
            _ => *digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn looks(claims: Value, expected: Option<&str>) {
        let found = private_claim(claims.as_object().unwrap());
        assert_eq!(found.as_ref().map(|(_, what)| *what), expected, "{found:?}");
    }

    #[test]
    fn private_claims_are_known_by_name_and_by_value() {
        looks(json!({"sub": "1", "at_hash": "x", "scope": "read"}), None);
        looks(json!({"hash_password": "0123"}), Some("a-password"));
        looks(json!({"p": "$argon2id$v=19$m=19456"}), Some("a-password-hash"));
        looks(json!({"email": "alice@example.org"}), Some("a-mail-address"));
        looks(json!({"sub": "acct:alice@example.org"}), None);
        looks(json!({"n": "4111 1111 1111 1111"}), Some("a-card-number"));
        looks(json!({"n": "4111111111111112"}), None);
        looks(json!({"amr": ["pwd"], "pwd_changed": true}), None);
        looks(json!({"user": {"id": 7, "hash": "x"}}), Some("a-hash"));
        looks(json!({"mails": ["alice@example.org"]}), Some("a-mail-address"));
        looks(json!({"accounts": [{"id": 1}, {"password": "x"}]}), Some("a-password"));
        looks(json!({"rows": [[1, "$2b$10$abcdefghijklmnopqrstuv"]]}), Some("a-password-hash"));
        looks(json!({"aud": ["shop", "https://api.example.org"]}), None);
    }

    #[test]
    fn words_of_the_target_are_tried_too() {
        let words = words("my-shop", "tokens.example");
        for word in ["secret", "shop-secret", "tokens123", "SECRET", "", "changeme\n"] {
            assert!(words.iter().any(|w| w == word), "{word:?} is not tried");
        }
    }

    #[test]
    fn secrets_of_wellknown_tutorials_are_tried_in_every_form_that_a_library_makes_of_them() {
        let words = words("my-shop", "tokens.example");
        let tried = |key: &[u8]| words.iter().any(|word| forms(word).iter().any(|form| form == key));
        for word in ["AllYourBase", "!ChangeThisJWTSecret!", "bezKoderSecretKey"] {
            assert!(tried(word.as_bytes()), "{word}");
        }
        let hex = "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970";
        assert!(tried(hex.as_bytes()) && tried(b"@NcRfUjXn2r5u8x/A?D(G+KbPdSgVkYp"), "as text and as hex");
        assert!(tried(&base64url::decode_lenient(hex)), "and as the tutorial reads it, which is base64");
        assert!(tried(&base64url::decode_lenient("secret")), "any word may be decoded first");
    }
}

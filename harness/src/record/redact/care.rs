//! Where is a text the secret, and where is it a word of somebody else's? Passwords of tests are often words.

use std::ops::Range;

/// A shorter secret is found inside of other words by chance.
const SHORT: usize = 6;
/// Words that Assay and HTTP say themselves, and that people take as passwords for tests.
const WORDS: &[&str] = &[
    "access", "admin", "alice", "another", "bearer", "body", "client", "cookie", "correct", "default", "empty",
    "error", "expired", "false", "genuine", "good", "header", "host", "invalid", "known", "login", "missing", "none",
    "null", "other", "password", "refresh", "right", "secret", "server", "test", "token", "true", "unknown", "user",
    "valid", "wrong",
];

/// How much has to stand around a text for it to be the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// It is the secret wherever it stands.
    Anywhere,
    /// It is the secret where it is a word.
    Word,
    /// It is the secret where it is a value: in quotes, behind `=`, or alone.
    Value,
}

impl Care {
    /// What a secret needs. Only words of ours and short ones need anything.
    pub fn of(secret: &str) -> Care {
        let lower = secret.to_ascii_lowercase();
        match WORDS.contains(&lower.as_str()) {
            true => Care::Value,
            false if secret.len() < SHORT => Care::Word,
            false => Care::Anywhere,
        }
    }

    /// Whether the secret is what stands at these bytes of a text.
    pub fn stands(self, text: &str, at: Range<usize>) -> bool {
        if self == Care::Anywhere {
            return true;
        }
        let (head, tail) = (&text[..at.start], &text[at.end..]);
        let (before, after) = (head.chars().next_back(), tail.chars().next());
        let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '$');
        // The letter behind a backslash is part of an escape, not of a word: `\nsecret`.
        let escaped = before.is_some_and(|c| c.is_ascii_alphabetic()) && head[..head.len() - 1].ends_with('\\');
        let begins_line = head.is_empty() || head.ends_with('\n');
        if before.is_some_and(part) && !escaped || after.is_some_and(part) || begins_line && tail.starts_with(": ") {
            return false;
        }
        self == Care::Word || value(head, tail)
    }
}

/// Whether what stands between these is a value and no word of a sentence, nor the name of one.
fn value(head: &str, tail: &str) -> bool {
    const QUOTES: [char; 3] = ['"', '\'', '`'];
    let named = tail.strip_prefix(['"', '\'']).unwrap_or(tail).trim_start();
    if named.starts_with(':') || tail.starts_with('=') {
        return false;
    }
    let ends = tail.is_empty() || tail.starts_with(['\r', '\n', '&', '"', '\'', '`', ',', ';', '}', '<', '\\']);
    let given = head.is_empty() || head.ends_with(['=', ':', '>']) || head.ends_with(QUOTES);
    given || ends && head.trim_end_matches(' ').ends_with([':', '=']) || tail.starts_with(['"', '`', '&'])
}

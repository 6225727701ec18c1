//! How does a text read that was written inside others? Layer by layer: JSON strings, percent encoding, entities.

/// One character as it reads, and the bytes of the text that say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Atom {
    /// The character.
    pub c: char,
    /// Where it begins in the text.
    pub at: usize,
    /// Where it ends there.
    pub end: usize,
}

/// A text as it stands, and as it reads with one, two, ... layers of escapes undone.
pub(super) type Reading = Vec<Atom>;

/// So many layers are undone: a token in JSON in a JSON log line in a query has three.
const DEEPEST: usize = 5;

/// Every reading of a text, the text as it stands first.
pub(super) fn readings(text: &str) -> Vec<Reading> {
    let plain = text.char_indices().map(|(at, c)| Atom { c, at, end: at + c.len_utf8() }).collect();
    let mut all: Vec<Reading> = vec![plain];
    while all.len() <= DEEPEST
        && let Some(next) = all.last().and_then(|last| undone(last))
    {
        all.push(next);
    }
    all
}

/// One layer less; none where nothing is escaped.
fn undone(reading: &[Atom]) -> Option<Reading> {
    let mut out = Vec::with_capacity(reading.len());
    let mut at = 0;
    while at < reading.len() {
        let said = match reading[at].c {
            '\\' => backslash(&reading[at + 1..]),
            '%' => hex(&reading[at + 1..], 2).map(|c| (c, 2)),
            '&' => entity(&reading[at + 1..]),
            _ => None,
        };
        let (c, more) = said.unwrap_or((reading[at].c, 0));
        out.push(Atom { c, at: reading[at].at, end: reading[at + more].end });
        at += 1 + more;
    }
    (out.len() < reading.len()).then_some(out)
}

/// What stands behind a backslash: the character that is meant, and how many characters say it.
fn backslash(rest: &[Atom]) -> Option<(char, usize)> {
    let first = rest.first()?.c;
    let simple = |c: char| Some((c, 1));
    match first {
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'b' | 'f' | '0' => simple('\0'),
        '"' | '\'' | '\\' | '/' => simple(first),
        'x' => hex(&rest[1..], 2).map(|c| (c, 3)),
        'u' if rest.get(1).is_some_and(|a| a.c == '{') => {
            let digits = rest[2..].iter().take(7).position(|a| a.c == '}')?;
            hex(&rest[2..], digits).map(|c| (c, digits + 3))
        }
        'u' => hex(&rest[1..], 4).map(|c| (c, 5)),
        _ => None,
    }
}

/// `quot;` and its like, named or by number.
fn entity(rest: &[Atom]) -> Option<(char, usize)> {
    let length = rest.iter().take(9).position(|a| a.c == ';')?;
    let name: String = rest[..length].iter().map(|a| a.c).collect();
    let c = match name.as_str() {
        "quot" => '"',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((c, length + 1))
}

/// A character by its number. Halves of surrogate pairs and bytes beyond ASCII are no characters of a token.
fn hex(rest: &[Atom], digits: usize) -> Option<char> {
    if digits == 0 || rest.len() < digits {
        return None;
    }
    let code = rest[..digits].iter().try_fold(0u32, |code, a| Some(code * 16 + a.c.to_digit(16)?))?;
    Some(char::from_u32(code).filter(|_| digits != 2 || code < 0x80).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        readings(text).iter().map(|reading| reading.iter().map(|a| a.c).collect()).collect()
    }

    #[test]
    fn a_text_is_read_layer_by_layer() {
        assert_eq!(texts("plain"), ["plain"]);
        assert_eq!(texts(r"a\u002eb"), [r"a\u002eb", "a.b"]);
        assert_eq!(texts(r"a\\u002eb"), [r"a\\u002eb", r"a\u002eb", "a.b"]);
        assert_eq!(texts("a%252Eb"), ["a%252Eb", "a%2Eb", "a.b"]);
        assert_eq!(texts(r"a\u{2e}b\x2ec&#46;d&quot;"), [r"a\u{2e}b\x2ec&#46;d&quot;", "a.b.c.d\""]);
        assert_eq!(texts(r#"{\"s\":\"a\r\nb\"}"#).last().unwrap(), "{\"s\":\"a\r\nb\"}");
        assert_eq!(texts("100% & more; \\q"), ["100% & more; \\q"]);
    }

    #[test]
    fn every_character_knows_what_says_it() {
        let last = readings(r"x\\u002ey").pop().unwrap();
        assert_eq!((last[1].c, last[1].at, last[1].end, last[2].at), ('.', 1, 8, 8));
    }
}

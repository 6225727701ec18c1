//! Which signatures make a token live? They are found in a text however it breaks them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use super::reading::{Reading, readings};
use super::shape;

/// Characters of a signature by which it is found. A piece of twice as many is found wherever it was cut out.
const WINDOW: usize = 16;
/// At most this many signatures are remembered.
const MOST: usize = 1 << 16;
/// Characters of a token in which signatures are looked for.
const LONGEST_TOKEN: usize = 64 << 10;

/// The signatures (and the opaque tokens) that must not be shown, shared by every copy of a redactor.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    known: RwLock<Known>,
}

/// Signatures by the pieces that they are found by.
#[derive(Debug, Default)]
pub(super) struct Known {
    all: Vec<Vec<u8>>,
    windows: HashMap<[u8; WINDOW], Vec<(usize, usize)>>,
}

impl Signatures {
    /// Remembers what makes a token live. A text that is no token in any serialization has nothing of the kind.
    pub fn learn(&self, token: &str) {
        let cores = cores(token);
        if cores.is_empty() {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        cores.iter().for_each(|core| known.add(core));
    }

    /// Remembers an opaque token.
    pub fn learn_opaque(&self, token: &str) {
        let core: Vec<u8> = token.chars().filter_map(|c| letter(c, true)).collect();
        self.known.write().unwrap_or_else(PoisonError::into_inner).add(&core);
    }

    /// The bytes of the text that say a known signature, or a piece of one.
    pub fn find(&self, reading: &Reading) -> Vec<Range<usize>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).find(reading)
    }
}

impl Known {
    /// The signatures of these tokens.
    pub fn of(tokens: &[&str]) -> Known {
        let mut known = Known::default();
        tokens.iter().flat_map(|token| cores(token)).for_each(|core| known.add(&core));
        known
    }

    fn add(&mut self, core: &[u8]) {
        let Some(first) = core.first_chunk::<WINDOW>() else { return };
        let there = |(number, at): &(usize, usize)| *at == 0 && self.all[*number] == core;
        if self.all.len() >= MOST || self.windows.get(first).is_some_and(|hits| hits.iter().any(there)) {
            return;
        }
        let number = self.all.len();
        for at in (0..=core.len() - WINDOW).step_by(WINDOW) {
            if let Some(window) = core[at..].first_chunk::<WINDOW>() {
                self.windows.entry(*window).or_default().push((number, at));
            }
        }
        self.all.push(core.to_vec());
    }

    /// As [`Signatures::find`].
    pub fn find(&self, reading: &Reading) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.all.is_empty() {
            return found;
        }
        // In a form `+` is a blank, in the other alphabet a letter.
        for plus in [true, false] {
            if !plus && !reading.iter().any(|a| a.c == '+') {
                break;
            }
            let (letters, atoms): (Vec<u8>, Vec<usize>) =
                reading.iter().enumerate().filter_map(|(n, a)| Some((letter(a.c, plus)?, n))).unzip();
            let mut at = 0;
            while let Some(window) = letters[at..].first_chunk::<WINDOW>() {
                let hit = self.windows.get(window).and_then(|hits| self.longest(hits, &letters, at));
                match hit {
                    Some(piece) => {
                        found.push(reading[atoms[piece.start]].at..reading[atoms[piece.end - 1]].end);
                        at = piece.end;
                    }
                    None => at += 1,
                }
            }
        }
        found
    }

    /// How far the text agrees with one of these signatures, on both sides of the window.
    fn longest(&self, hits: &[(usize, usize)], letters: &[u8], at: usize) -> Option<Range<usize>> {
        let agree = |(number, from): &(usize, usize)| {
            let core = &self.all[*number];
            let before = (1..=at.min(*from)).take_while(|n| letters[at - n] == core[from - n]).count();
            let after = letters[at..].iter().zip(&core[*from..]).take_while(|(a, b)| a == b).count();
            at - before..at + after
        };
        hits.iter().map(agree).max_by_key(ExactSizeIterator::len)
    }
}

/// A character of a signature, in the URL-safe alphabet; none for what a lenient reader drops.
fn letter(c: char, plus: bool) -> Option<u8> {
    match c {
        '+' => plus.then_some(b'-'),
        '/' => Some(b'_'),
        c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => u8::try_from(c).ok(),
        _ => None,
    }
}

/// What makes a token live: its signature, the signatures of a JSON serialization, the secret parts of an encrypted one.
fn cores(token: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let squeezed = |text: &str| -> Vec<u8> { text.chars().filter_map(|c| letter(c, true)).collect() };
    let mut add = |core: Vec<u8>| {
        // Headers and payloads are shown beside a finding anyway.
        if core.len() >= WINDOW && !core.starts_with(b"eyJ") && !found.contains(&core) {
            found.push(core);
        }
    };
    let segments: Vec<&str> = token.split('.').collect();
    if segments.len() > 2 {
        let from = if segments.len() == 5 { 1 } else { 2 };
        // A payload that is not encoded (RFC 7797) may hold dots: its text is no secret, and is found everywhere.
        let encoded = segments[from..].iter().filter(|segment| !segment.contains(['"', '{', '}', ':', ',']));
        encoded.for_each(|segment| add(squeezed(segment)));
    }
    let end = (0..=LONGEST_TOKEN.min(token.len())).rev().find(|at| token.is_char_boundary(*at)).unwrap_or(0);
    if token.contains(['"', '%', '\\', '&']) {
        for reading in readings(&token[..end]) {
            for value in shape::members(&reading, shape::SIGNED) {
                add(reading[value].iter().filter_map(|a| letter(a.c, true)).collect());
            }
            let text: String = reading.iter().map(|a| a.c).collect();
            let segments: Vec<&str> = text.split('.').collect();
            if segments.len() == 3 && !text.contains('"') {
                add(squeezed(segments[2]));
            }
        }
    }
    found
}

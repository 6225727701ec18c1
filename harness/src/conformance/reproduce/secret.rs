//! What does a shell line not show, and where does a reader get it from? Secrets as variables of the shell.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::record::Care;

/// How a request may write a text: the ways of `assay escape`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As inside a JSON string.
    Json,
    /// As in `application/x-www-form-urlencoded`.
    Form,
    /// As in a path or a query: everything but the unreserved characters of RFC 3986 percent-encoded.
    Query,
}

impl Escape {
    /// The text, written so.
    pub fn write(self, text: &str) -> String {
        match self {
            Escape::Json => in_json(text),
            Escape::Form => in_form(text),
            Escape::Query => in_query(text),
        }
    }
}

/// How a request may write a value, the ending of the variable that holds it so, and the command that writes it so.
type Spelling = (&'static str, fn(&str) -> String, &'static str);

/// Every spelling, the plain one first.
const SPELLINGS: &[Spelling] = &[
    ("", str::to_owned, ""),
    ("_JSON", in_json, "assay escape json"),
    ("_FORM", in_form, "assay escape form"),
    ("_QUERY", in_query, "assay escape query"),
    // Checks of upper and lower case turn a password's letters over.
    ("_TURNED", turned, "tr 'A-Za-z' 'a-zA-Z'"),
];

/// A shorter value is no secret that could be told from other text.
const SHORTEST: usize = 4;

/// The variable of the token under test.
const TOKEN: &str = "TOKEN";

/// A value that a shell line must not show.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    name: String,
    value: String,
    from: From,
}

/// Where a shell has a secret from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    /// The reader alone knows it: what it is.
    Told(String),
    /// `assay forge` makes it: the check and its part.
    Forged(String),
}

impl Secret {
    /// The token under test, which the part of a check makes.
    pub fn token(value: &str, part: &str) -> Secret {
        Secret::forged(TOKEN, value, part)
    }

    /// A token that `assay forge` makes for what it is called here.
    pub fn forged(name: &str, value: &str, part: &str) -> Secret {
        Secret { name: name.to_owned(), value: value.to_owned(), from: From::Forged(part.to_owned()) }
    }

    /// A value that only the reader knows: a variable of this name has to hold it.
    pub fn told(name: &str, value: &str, about: &str) -> Secret {
        Secret { name: name.to_owned(), value: value.to_owned(), from: From::Told(about.to_owned()) }
    }
}

/// The secrets of a profile and the token under test.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    spelled: Vec<(String, Variable, Care)>,
}

/// A variable of the shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Variable {
    secret: String,
    from: From,
    spelling: usize,
}

impl Variable {
    /// `PASSWORD`, `PASSWORD_FORM`.
    pub fn name(&self) -> String {
        format!("{}{}", self.secret, SPELLINGS[self.spelling].0)
    }
}

impl Secrets {
    /// Of these; the first ones win where two are the same.
    pub fn of(list: Vec<Secret>) -> Secrets {
        let mut spelled: Vec<(String, Variable, Care)> = Vec::new();
        for secret in list {
            for (number, (_, write, _)) in SPELLINGS.iter().enumerate() {
                let text = write(&secret.value);
                let known = spelled.iter().any(|(there, ..)| *there == text);
                let turned_over = number == SPELLINGS.len() - 1;
                if text.len() < SHORTEST || known || turned_over && matches!(secret.from, From::Forged(_)) {
                    continue;
                }
                let variable = Variable { secret: secret.name.clone(), from: secret.from.clone(), spelling: number };
                // A token is what it is; a password may be a word that the request says for itself.
                let care = if matches!(secret.from, From::Told(_)) { Care::of(&secret.value) } else { Care::Anywhere };
                spelled.push((text, variable, care));
            }
        }
        Secrets { spelled }
    }

    /// The first secret in a text, the longest of those that begin there.
    pub fn first_in(&self, text: &str) -> Option<(Range<usize>, &Variable)> {
        let hits = self.spelled.iter().filter_map(|(spelled, variable, care)| {
            let mut hits = text.match_indices(spelled.as_str()).map(|(at, hit)| at..at + hit.len());
            Some((hits.find(|range| care.stands(text, range.clone()))?, variable))
        });
        hits.min_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)))
    }

    /// The text with every spelling of the token replaced.
    pub fn without_token(&self, text: &str, stand_in: &str) -> String {
        let mut out = text.to_owned();
        for (spelled, ..) in self.spelled.iter().filter(|(_, variable, _)| variable.secret == TOKEN) {
            out = out.replace(spelled.as_str(), stand_in);
        }
        out
    }
}

/// The variables that a shell line takes.
#[derive(Debug, Default)]
pub(super) struct Found {
    variables: BTreeMap<String, Variable>,
}

impl Found {
    pub(super) fn add(&mut self, variable: &Variable) {
        self.variables.insert(variable.name(), variable.clone());
    }

    /// Whether the token under test is all that the line takes.
    pub fn only_token(&self) -> bool {
        self.variables.keys().eq([TOKEN])
    }

    /// Everything that stands before the line: which variables the reader has to set, and those that come of them.
    /// `forge` is the command that makes a part's token, which takes the variables of `more` itself.
    pub fn prelude(&self, forge: &dyn Fn(&str) -> String, more: &[(String, String)]) -> String {
        let mut told: BTreeMap<&str, &str> = BTreeMap::new();
        let mut made = String::new();
        for (name, variable) in &self.variables {
            let spelled = SPELLINGS[variable.spelling].2;
            match &variable.from {
                From::Forged(part) => {
                    let pipe = if spelled.is_empty() { String::new() } else { format!(" | {spelled}") };
                    // A token that could not be made must not be sent as an empty one. A pipe ends well whatever began it.
                    let there = if pipe.is_empty() { String::new() } else { format!(" && [ -n \"${name}\" ]") };
                    made.push_str(&format!("{name}=$({}{pipe}){there} &&\n", forge(part)));
                    told.extend(more.iter().map(|(name, about)| (name.as_str(), about.as_str())));
                }
                From::Told(about) => {
                    told.insert(&variable.secret, about);
                    if !spelled.is_empty() {
                        made.push_str(&format!("{name}=$(printf %s \"${}\" | {spelled}) &&\n", variable.secret));
                    }
                }
            }
        }
        demand(&told) + &made
    }

    /// The line that says what the reader has to set so that `forge` works.
    pub fn demands(more: &[(String, String)]) -> String {
        demand(&more.iter().map(|(name, about)| (name.as_str(), about.as_str())).collect())
    }
}

/// A line that says which variables have to be set, and ends a script in which they are not.
fn demand(told: &BTreeMap<&str, &str>) -> String {
    if told.is_empty() {
        return String::new();
    }
    // Inside of the quotes nothing may mean something to the shell.
    let plain = |about: &str| about.replace(|c: char| !(c.is_alphanumeric() || " -_.@".contains(c)), "");
    let each: Vec<String> =
        told.iter().map(|(name, about)| format!("\"${{{name}:?set it to {}}}\"", plain(about))).collect();
    format!(": {}\n", each.join(" "))
}

fn in_json(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json[1..json.len() - 1].to_owned()
}

fn in_form(text: &str) -> String {
    in_query(text).replace("%20", "+")
}

fn in_query(text: &str) -> String {
    let one = |b: u8| match b {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Upper case for lower case, and the other way round.
fn turned(text: &str) -> String {
    let one = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(one).collect()
}

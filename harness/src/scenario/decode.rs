//! Which typed value is this tree, and what in it is wrong? Serde over the tree; every problem with its place, not only the first.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
};
use serde_json::Value;

use super::diagnostic::{Diagnostic, Diagnostics, Place, listed, suggestion};
use super::parse::{Entry, Kind, Node};

/// Most problems that are reported of one file.
const MAX_PROBLEMS: usize = 20;

/// Reads a tree as `T`. Unknown keys are all reported; after a wrong value the rest is still looked at.
pub fn decode<T: DeserializeOwned>(tree: &Node) -> Result<T, Diagnostics> {
    let mut tree = tree.clone();
    let mut problems: Vec<Diagnostic> = Vec::new();
    let mut removed: Vec<String> = Vec::new();
    while problems.len() < MAX_PROBLEMS {
        let unknown = RefCell::new(Vec::new());
        let outcome = T::deserialize(At { node: &tree, unknown: &unknown });
        let unknown = unknown.into_inner();
        match outcome {
            Ok(value) if problems.is_empty() && unknown.is_empty() => return Ok(value),
            Ok(_) => {
                add(&mut problems, unknown);
                break;
            }
            Err(error) => {
                add(&mut problems, unknown);
                // A key that was taken out, or is there misspelt, is not reported again as missing.
                let gap = error.missing.as_ref().is_some_and(|field| {
                    let meant = format!("did you mean `{field}`?");
                    removed.contains(field) || problems.iter().any(|p| p.hint.as_deref() == Some(&meant))
                });
                let path = error.path.clone();
                if !gap {
                    add(&mut problems, vec![error.diagnostic(&tree)]);
                }
                // The wrong value is taken out and the rest read again, so that one look shows all mistakes.
                match remove(&mut tree, &path) {
                    Some(key) => removed.push(key),
                    None => break,
                }
            }
        }
    }
    problems.sort_by_key(|d| d.place.as_ref().map_or(0, |place| place.span.start));
    Err(Diagnostics(problems))
}

fn add(problems: &mut Vec<Diagnostic>, new: Vec<Diagnostic>) {
    for one in new {
        if !problems.contains(&one) && problems.len() < MAX_PROBLEMS {
            problems.push(one);
        }
    }
}

/// Takes out the value at a path of positions (innermost step first) and returns its key.
fn remove(tree: &mut Node, path: &[usize]) -> Option<String> {
    let (last, outer) = path.split_first()?;
    let mut node = tree;
    for step in outer.iter().rev() {
        node = match &mut node.kind {
            Kind::List(items) => items.get_mut(*step)?,
            Kind::Map(entries) => &mut entries.get_mut(*step)?.value,
            Kind::Scalar(..) => return None,
        };
    }
    match &mut node.kind {
        Kind::Map(entries) if *last < entries.len() => Some(entries.remove(*last).key),
        Kind::List(items) if *last < items.len() => {
            items.remove(*last);
            Some(String::new())
        }
        _ => None,
    }
}

/// A problem on its way up; the innermost place wins.
#[derive(Debug)]
struct Problem {
    message: String,
    hint: Option<String>,
    place: Option<Place>,
    missing: Option<String>,
    /// Positions from the innermost container outwards; empty once the place is no value of its own.
    path: Vec<usize>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), hint: None, place: None, missing: None, path: Vec::new() }
    }
    fn hint(mut self, hint: Option<String>) -> Problem {
        self.hint = hint;
        self
    }
    fn at(mut self, place: &Place) -> Problem {
        self.place.get_or_insert_with(|| place.clone());
        self
    }
    fn within(mut self, step: usize) -> Problem {
        self.path.push(step);
        self
    }
    fn diagnostic(self, tree: &Node) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(self.message).at(self.place.unwrap_or_else(|| tree.place.clone()));
        diagnostic.hint = self.hint;
        diagnostic
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Problem {
        Problem::new(message.to_string())
    }
    fn invalid_type(seen: Unexpected<'_>, expected: &dyn Expected) -> Problem {
        Problem::new(format!("expected {expected}, saw {seen}"))
    }
    fn invalid_value(seen: Unexpected<'_>, expected: &dyn Expected) -> Problem {
        Problem::new(format!("expected {expected}, saw {seen}"))
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Problem {
        Problem::new(format!("unknown key `{field}`")).hint(suggestion(field, expected))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Problem {
        Problem::new(format!("expected one of {}, saw `{variant}`", listed(expected)))
            .hint(super::diagnostic::nearest(variant, expected.iter().copied()).map(|n| format!("did you mean `{n}`?")))
    }
    fn missing_field(field: &'static str) -> Problem {
        let mut problem = Problem::new(format!("missing key `{field}`"));
        problem.missing = Some(field.to_owned());
        problem
    }
}

/// A node being read.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    unknown: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> At<'a> {
    fn seen(self) -> String {
        match &self.node.kind {
            Kind::Scalar(Value::Null, _) => "nothing".into(),
            Kind::Scalar(_, text) if text.chars().count() > 40 => {
                format!("`{}...`", text.chars().take(40).collect::<String>())
            }
            Kind::Scalar(_, text) => format!("`{text}`"),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }
    fn expected(self, what: &str) -> Problem {
        Problem::new(format!("expected {what}, saw {}", self.seen())).at(&self.node.place)
    }
    fn here<T>(self, result: Result<T, Problem>) -> Result<T, Problem> {
        result.map_err(|problem| problem.at(&self.node.place))
    }
    fn child(self, node: &'a Node) -> At<'a> {
        At { node, unknown: self.unknown }
    }
    fn whole<T: TryFrom<i128>>(self, low: i128, high: i128) -> Result<T, Problem> {
        let number = match &self.node.kind {
            Kind::Scalar(Value::Number(number), _) => {
                number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
            }
            _ => None,
        };
        number
            .filter(|n| (low..=high).contains(n))
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.expected(&format!("a whole number from {low} to {high}")))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            let value = self.whole::<$type>(<$type>::MIN as i128, <$type>::MAX as i128)?;
            self.here(visitor.$visit(value))
        }
    )*};
}

impl<'de, 'a: 'de> Deserializer<'de> for At<'a> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Scalar(value, _) => self.here(match value {
                Value::Null => visitor.visit_unit(),
                Value::Bool(flag) => visitor.visit_bool(*flag),
                Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(n), ..) => visitor.visit_u64(n),
                    (_, Some(n), _) => visitor.visit_i64(n),
                    (.., Some(n)) => visitor.visit_f64(n),
                    _ => visitor.visit_str(&number.to_string()),
                },
                Value::String(text) => visitor.visit_str(text),
                Value::Array(_) | Value::Object(_) => visitor.visit_unit(),
            }),
            Kind::List(items) => self.here(visitor.visit_seq(List { at: self, items, next: 0 })),
            Kind::Map(entries) => self.here(visitor.visit_map(Map { at: self, entries, next: 0, fields: None })),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Scalar(Value::Bool(flag), _) => self.here(visitor.visit_bool(*flag)),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    whole_numbers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Scalar(Value::Number(number), _) => self.here(visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN))),
            _ => Err(self.expected("a number")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }
    /// A plain number or boolean is taken as its text where a text is wanted: `password: 1234`.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.node.text() {
            Some(text) => self.here(visitor.visit_str(text)),
            None => Err(self.expected("a text")),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        if self.node.is_null() { visitor.visit_unit() } else { Err(self.expected("nothing")) }
    }
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::List(items) => self.here(visitor.visit_seq(List { at: self, items, next: 0 })),
            _ => Err(self.expected("a list")),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Map(entries) => self.here(visitor.visit_map(Map { at: self, entries, next: 0, fields: None })),
            _ => Err(self.expected("a mapping")),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Map(entries) => {
                self.here(visitor.visit_map(Map { at: self, entries, next: 0, fields: Some(fields) }))
            }
            _ => Err(self.expected(&format!(
                "a mapping with {}",
                listed(&fields.iter().copied().filter(|f| !f.starts_with('$')).take(6).collect::<Vec<_>>())
            ))),
        }
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.node.kind {
            Kind::Map(entries) if entries.len() == 1 => {
                self.here(visitor.visit_enum(Choice { at: self, entry: &entries[0] }))
            }
            Kind::Scalar(value, text) if !value.is_null() => {
                self.here(visitor.visit_enum(text.as_str().into_deserializer()))
            }
            Kind::Map(entries) if entries.len() > 1 => Err(Problem::new(format!(
                "expected exactly one of {}, saw {}",
                listed(variants),
                listed(&entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>())
            ))
            .at(&entries[1].place)),
            _ => Err(self.expected(&format!("one of {}", listed(variants)))),
        }
    }
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}

struct List<'a> {
    at: At<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'de, 'a: 'de> de::SeqAccess<'de> for List<'a> {
    type Error = Problem;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        self.next += 1;
        let at = self.at.child(item);
        at.here(seed.deserialize(at)).map(Some).map_err(|problem| problem.within(self.next - 1))
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Map<'a> {
    at: At<'a>,
    entries: &'a [Entry],
    next: usize,
    /// The keys of the struct that is read; unknown ones are noted and passed over.
    fields: Option<&'static [&'static str]>,
}

impl<'de, 'a: 'de> de::MapAccess<'de> for Map<'a> {
    type Error = Problem;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        while let Some(entry) = self.entries.get(self.next) {
            if let Some(fields) = self.fields.filter(|fields| !fields.contains(&entry.key.as_str())) {
                let mut diagnostic = Diagnostic::new(format!("unknown key `{}`", entry.key)).at(entry.place.clone());
                diagnostic.hint = suggestion(&entry.key, fields);
                self.at.unknown.borrow_mut().push(diagnostic);
                self.next += 1;
                continue;
            }
            return seed
                .deserialize(KeyAt(&entry.key))
                .map(Some)
                .map_err(|problem| problem.at(&entry.place).within(self.next));
        }
        Ok(None)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some(entry) = self.entries.get(self.next) else {
            return Err(Problem::new("expected a value after the last key"));
        };
        self.next += 1;
        let at = self.at.child(&entry.value);
        // A value that is not there at all is best shown at its key.
        let place = if entry.value.is_null() { &entry.place } else { &entry.value.place };
        seed.deserialize(at).map_err(|mut problem| {
            if entry.value.is_null() {
                problem.place = Some(entry.place.clone());
                problem.message = format!("`{}`: {}", entry.key, problem.message);
            }
            problem.at(place).within(self.next - 1)
        })
    }
}

/// A key, which is a text whatever it looks like.
struct KeyAt<'a>(&'a str);

impl<'de, 'a: 'de> Deserializer<'de> for KeyAt<'a> {
    type Error = Problem;
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.0)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(self.0.into_deserializer())
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// `{variant: value}`.
struct Choice<'a> {
    at: At<'a>,
    entry: &'a Entry,
}

impl<'de, 'a: 'de> de::EnumAccess<'de> for Choice<'a> {
    type Error = Problem;
    type Variant = Choice<'a>;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Choice<'a>), Problem> {
        let value = seed.deserialize(KeyAt(&self.entry.key)).map_err(|problem| problem.at(&self.entry.place))?;
        Ok((value, self))
    }
}

impl<'de, 'a: 'de> de::VariantAccess<'de> for Choice<'a> {
    type Error = Problem;
    fn unit_variant(self) -> Result<(), Problem> {
        if self.entry.value.is_null() {
            return Ok(());
        }
        Err(Problem::new(format!("expected nothing after `{}`", self.entry.key)).at(&self.entry.value.place))
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        let at = self.at.child(&self.entry.value);
        seed.deserialize(at).map_err(|problem| {
            // A choice without its value would be one more mistake, so the whole choice is what is wrong.
            let mut problem = problem.at(&self.entry.value.place);
            problem.path.clear();
            problem
        })
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Problem> {
        self.at.child(&self.entry.value).deserialize_seq(visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Problem> {
        self.at.child(&self.entry.value).deserialize_struct("", fields, visitor)
    }
}

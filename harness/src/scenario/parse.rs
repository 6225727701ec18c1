//! What does this YAML text hold, and where? A tree with positions, within tight limits; the one place that knows the YAML library.

use std::sync::Arc;

use serde_json::{Number, Value};
use serde_yaml::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::diagnostic::{Diagnostic, Place, Source};

/// Longest text that is read. The largest scenario of ours has 4 KiB.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most nodes (values) of a document.
pub const MAX_NODES: usize = 20_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 32;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A scalar: its value by YAML 1.2's core schema, and its text.
    Scalar(Value, String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order written.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value under a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }
    /// The entry of a key of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }
    /// The value under a path of keys and list positions.
    pub fn find(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, step| match &node.kind {
            Kind::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => node.get(step),
        })
    }
    /// Where the key at the end of a path stands; where its nearest ancestor stands if it is not there.
    pub fn place_of(&self, path: &[&str]) -> Place {
        let mut node = self;
        let mut place = self.place.clone();
        for step in path {
            match &node.kind {
                Kind::Map(entries) => match entries.iter().find(|entry| entry.key == *step) {
                    Some(entry) => (node, place) = (&entry.value, entry.place.clone()),
                    None => break,
                },
                Kind::List(items) => match step.parse::<usize>().ok().and_then(|at| items.get(at)) {
                    Some(item) => (node, place) = (item, item.place.clone()),
                    None => break,
                },
                Kind::Scalar(..) => break,
            }
        }
        place
    }
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::Null, _) => None,
            Kind::Scalar(_, text) => Some(text),
            _ => None,
        }
    }
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null, _))
    }
    /// As JSON, without places.
    pub fn json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value, _) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect())
            }
        }
    }
    /// Merges a partial tree over this one: mappings member by member, null removes, everything else replaces.
    /// Members named in `whole` are choices of one form among several and are replaced whole.
    pub fn merge(&mut self, over: &Node, whole: &[&str]) {
        match (&mut self.kind, &over.kind) {
            (Kind::Map(ours), Kind::Map(theirs)) => {
                for entry in theirs {
                    let at = ours.iter().position(|mine| mine.key == entry.key);
                    match at {
                        Some(at) if entry.value.is_null() => drop(ours.remove(at)),
                        None if entry.value.is_null() => {}
                        Some(at) if whole.contains(&entry.key.as_str()) => ours[at] = entry.clone(),
                        Some(at) => {
                            ours[at].value.merge(&entry.value, whole);
                            ours[at].place = entry.place.clone();
                        }
                        None => ours.push(entry.clone()),
                    }
                }
            }
            _ => *self = over.clone(),
        }
    }
}

/// Reads one YAML document. Anchors, aliases, tags, merge keys and further documents are refused: nothing here
/// needs them, and they are what YAML bombs are made of.
pub fn parse(source: &Arc<Source>) -> Result<Node, Diagnostic> {
    if source.text.len() > MAX_BYTES {
        return Err(Diagnostic::new(format!(
            "{}: expected at most {} KiB of YAML, saw {}",
            source.name,
            MAX_BYTES / 1024,
            source.text.len().div_ceil(1024)
        )));
    }
    let mut options = Options::default();
    options.flow_nesting_limit = MAX_DEPTH * 2;
    options.block_nesting_limit = MAX_DEPTH * 2;
    let mut reader =
        Reader { source, events: Parser::new_from_str_with_options(&source.text, options), nodes: 0, here: 0..0 };
    reader.document()
}

struct Reader<'a, P> {
    source: &'a Arc<Source>,
    events: P,
    nodes: usize,
    here: std::ops::Range<usize>,
}

type Spanned<'a> = (Event<'a>, Span);

impl<'a, P> Reader<'a, P>
where
    P: Iterator<Item = Result<Spanned<'a>, ScanError>>,
{
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { source: self.source.clone(), span }
    }

    fn wrong(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(message).at(self.place(self.here.clone()))
    }

    fn next(&mut self) -> Result<Event<'a>, Diagnostic> {
        match self.events.next() {
            None => Ok(Event::StreamEnd),
            Some(Ok((event, span))) => {
                let start = span.start.byte_offset().unwrap_or(self.here.end);
                let end = span.end.byte_offset().unwrap_or(start);
                self.here = start..end;
                Ok(event)
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or_else(|| self.byte(error.marker().index()));
                self.here = at..at;
                let diagnostic = self.wrong(format!("this is not YAML: {}", error.kind()));
                Err(match error.kind() {
                    ErrorKind::UnknownAnchor => diagnostic.hint(NO_ANCHORS),
                    _ => diagnostic,
                })
            }
        }
    }

    fn byte(&self, chars: usize) -> usize {
        self.source.text.char_indices().nth(chars).map_or(self.source.text.len(), |(at, _)| at)
    }

    fn document(&mut self) -> Result<Node, Diagnostic> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Err(self.wrong("expected a YAML mapping, saw an empty file")),
                event => {
                    let node = self.node(event, 0)?;
                    return match (self.next()?, self.next()?) {
                        (Event::DocumentEnd, Event::StreamEnd) => Ok(node),
                        _ => Err(self.wrong("expected one YAML document, saw a second one").hint("remove the `---`")),
                    };
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Diagnostic> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.wrong(format!("expected at most {MAX_NODES} values in one file")));
        }
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("expected at most {MAX_DEPTH} levels of nesting")));
        }
        let start = self.here.start;
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plainly(anchor, tag.is_some())?;
                let value = match style {
                    ScalarStyle::Plain => resolve(&text),
                    _ => Value::String(text.clone().into_owned()),
                };
                return Ok(Node { place: self.place(self.here.clone()), kind: Kind::Scalar(value, text.into_owned()) });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plainly(anchor, tag.is_some())?;
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break Kind::List(items),
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plainly(anchor, tag.is_some())?;
                Kind::Map(self.entries(depth)?)
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                return Err(self.wrong("expected a value, saw an alias").hint(NO_ANCHORS));
            }
            _ => return Err(self.wrong("expected a value, saw the end of the document")),
        };
        Ok(Node { place: self.place(start..self.here.end.max(start)), kind })
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Diagnostic> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        loop {
            let (key, place) = match self.next()? {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, _, anchor, tag) => {
                    self.plainly(anchor, tag.is_some())?;
                    (text.into_owned(), self.place(self.here.clone()))
                }
                _ => return Err(self.wrong("expected a word as the key, saw a list or a mapping")),
            };
            if key == "<<" {
                return Err(self.wrong("expected a key, saw a YAML merge key").hint(NO_ANCHORS));
            }
            if !seen.insert(key.clone()) {
                return Err(self.wrong(format!("`{key}` is given twice")).label("the second time"));
            }
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            entries.push(Entry { key, place, value });
        }
    }

    fn plainly(&self, anchor: usize, tagged: bool) -> Result<(), Diagnostic> {
        if anchor != 0 {
            return Err(self.wrong("expected a plain value, saw an anchor").hint(NO_ANCHORS));
        }
        if tagged {
            return Err(self.wrong("expected a plain value, saw a YAML tag").hint("quote the value to make it a text"));
        }
        Ok(())
    }
}

const NO_ANCHORS: &str =
    "anchors, aliases and merge keys are not read here; a profile has `extends` and `variants` for what is shared";

/// YAML 1.2's core schema, strictly: `yes`, `on` and numbers with leading zeros are texts.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number_like = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if number_like && !padded {
        if let Ok(whole) = text.parse::<i64>() {
            return Value::Number(whole.into());
        }
        if let Ok(whole) = text.parse::<u64>() {
            return Value::Number(whole.into());
        }
        if let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

/// Reads a file of the user's as a source.
pub fn read(path: &std::path::Path) -> Result<Arc<Source>, Diagnostic> {
    use std::io::Read as _;
    let name = path.display().to_string();
    let wrong =
        |why: &dyn std::fmt::Display| Diagnostic::new(format!("{name}: expected a YAML file that can be read: {why}"));
    let file = std::fs::File::open(path).map_err(|why| wrong(&why))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|why| wrong(&why))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"it is not UTF-8"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        _ => std::path::PathBuf::from("."),
    };
    Ok(Source::new(name, folder, text))
}

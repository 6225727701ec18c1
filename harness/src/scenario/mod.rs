//! What did the user ask for? The only YAML: types, parsing with positions, validation, diagnostics.

mod decode;
mod diagnostic;
mod flow;
mod load;
mod parse;
mod schema;
mod start;
#[cfg(test)]
mod tests;
mod threshold;
mod types;
mod validate;

pub use decode::decode;
pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity, Source, listed, nearest, suggestion};
pub use flow::{FlowStep, Walked};
pub use load::{Loaded, from_source, load};
pub use parse::{Entry, Kind, MAX_BYTES, Node, parse, read};
pub use schema::schema_of;
pub use start::{Prepare, ProcessStart, Ready};
pub use threshold::{Clock, Comparison, Metric, Outcome, Statistic, Threshold, ThresholdError, Window};
pub use types::*;
pub use validate::{LinkWord, Vocabulary, validate};

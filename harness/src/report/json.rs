//! Everything, as recorded; and the schema it follows.

use std::io::{self, Write};

use schemars::generate::SchemaSettings;

use super::Report;
use crate::record::Run;

/// The record, indented.
pub fn render(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report.run)?;
    out.write_all(b"\n")
}

/// The JSON Schema (draft 7) of `run.json`.
pub fn run_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Run>();
    schema.insert("title".to_owned(), "A run of Assay".into());
    schema.to_value()
}

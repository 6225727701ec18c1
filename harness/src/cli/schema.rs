//! `assay schema`: what do editors and programs know of our files?

use assay::record::{ExitCode, Run};
use assay::scenario::{Scenario, schema_of};
use assay::target::Profile;
use clap::ValueEnum;

use super::{Done, line};

/// Arguments of `assay schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay schema > scenario.schema.json              then, first in the scenario:
                                                   # yaml-language-server: $schema=./scenario.schema.json
  assay schema profile > profile.schema.json")]
pub struct Args {
    /// Which file it describes
    #[arg(value_enum, default_value = "scenario")]
    of: Of,
}

/// Files that have a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// Scenarios
    Scenario,
    /// Target profiles
    Profile,
    /// The record of a run
    Run,
}

/// Prints the schema (JSON Schema, draft 7).
pub fn run(args: &Args) -> Done {
    let schema = match args.of {
        Of::Scenario => schema_of::<Scenario>("Assay scenario"),
        Of::Profile => schema_of::<Profile>("Assay target profile"),
        Of::Run => schema_of::<Run>("Assay run"),
    };
    line(format_args!("{schema:#}"));
    Ok(ExitCode::Ok)
}

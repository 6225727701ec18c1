//! `assay escape`: hidden; writes a text as a request would, for the shell lines of findings.

use std::io::Read as _;

use assay::conformance::Escape;
use assay::record::ExitCode;
use clap::ValueEnum;

use super::{Done, Failure, print};

/// Arguments of the hidden `escape` command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As it stands inside a JSON string, in a form, or in a query
    #[arg(value_name = "WHERE")]
    within: Within,
}

/// Where a text can stand.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Within {
    Json,
    Form,
    Query,
}

/// Reads standard input, less one line end behind it, and prints it escaped.
pub fn run(args: &Args) -> Done {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| Failure::usage(format!("expected a text: {e}")))?;
    let escape = match args.within {
        Within::Json => Escape::Json,
        Within::Form => Escape::Form,
        Within::Query => Escape::Query,
    };
    print(escape.write(text.strip_suffix('\n').unwrap_or(&text)).as_bytes());
    Ok(ExitCode::Ok)
}

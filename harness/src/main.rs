//! The `assay` program: arguments in, results to stdout, everything else to stderr, an exit code out.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Two TLS libraries could claim the process; ours is named before anything asks.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let asked = cli::Assay::parse();
    let outcome = cli::dispatch(asked.command, &asked.global);
    cli::finish(&asked.global, outcome)
}

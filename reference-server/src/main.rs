//! The reference token server as a program; `assay serve` is the same.

use clap::Parser;

/// A complete JWT token server that can be made wrong on purpose
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    serve: reference_server::ServeArgs,
}

fn main() -> std::process::ExitCode {
    reference_server::run(&Arguments::parse().serve)
}

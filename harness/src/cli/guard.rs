//! `assay guard`: hidden; stands above a server or proxy and ends its whole tree with us.

use std::ffi::OsString;
use std::time::Duration;

use assay::launch::guard::{Guard, guard};

/// Arguments of the hidden `guard` command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Processors to pin the tree to, as `1,2`.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<u32>,
    /// Milliseconds between SIGTERM and SIGKILL.
    #[arg(long, default_value_t = 2000)]
    grace_ms: u64,
    /// Program and arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the guard; the exit code is the command's own.
pub fn run(args: Args) -> u8 {
    let program = args.command[0].to_string_lossy().into_owned();
    let asked = Guard { cpus: args.cpus, grace: Duration::from_millis(args.grace_ms), command: args.command };
    guard(&asked).unwrap_or_else(|e| {
        eprintln!("cannot start `{program}`: {e}");
        127
    })
}

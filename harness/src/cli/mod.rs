//! What can be asked of `assay`? One file per command; only these print.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is where printing is done")]

pub mod args;
mod carry;
mod check;
mod compare;
mod completions;
mod escape;
mod explain;
mod forge;
mod guard;
mod init;
mod kill_matrix;
mod list;
mod load;
mod man;
mod out;
mod profile;
mod progress;
mod proxy;
mod report;
mod run;
mod schema;
mod selftest;
mod serve;
mod validate;

use std::process::ExitCode as Exit;

use assay::record::{ExitCode, harmless};
use assay::scenario::Diagnostics;
use clap::{Parser, Subcommand};

pub use args::Global;
pub use out::{line, print, tell};

/// Load testing and conformance for JWT token servers.
///
/// One YAML scenario names a token server, the ways it is deployed, a load, the checks and the thresholds; one command starts it
/// all on this machine, drives it, judges it, compares the deployments and leaves a report.
#[derive(Debug, Parser)]
#[command(name = "assay", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "\
Examples:
  assay run scenarios/bare-vs-proxy.yaml           the main job: everything the scenario names
  assay check --target http://127.0.0.1:8000 --profile simplejwt --user alice --password ...
  assay list checks                                what is checked; `assay explain CHECK` says why

Exit codes:
  0 all good   1 a violation, a missed threshold or a regression   2 usage or scenario
  3 target, launch, or an inconclusive answer   4 a fault of Assay   130 interrupted

Environment:
  ASSAY_PASSWORD, ASSAY_SECOND_PASSWORD, ASSAY_CLIENT_SECRET    what would else stand in the arguments
  ASSAY_CAPSULE_KEY    the passphrase of `check --capsule FILE`
  ASSAY_WITHOUT    programs that are not to be used, as if they were not installed: nginx,haproxy
  ASSAY_CACHE      where virtual environments are kept
  NO_COLOR         no colours on a terminal")]
pub struct Assay {
    /// Flags that every command understands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One file of this folder each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do everything a scenario names: start, examine, load, compare, report
    Run(args::RunArgs),
    /// Check what a token server must do, of a scenario or at an address
    Check(args::CheckArgs),
    /// Make the token that a check sends, for the curl line of a finding
    Forge(args::ForgeArgs),
    /// Drive a load, of a scenario or at an address
    Load(args::LoadArgs),
    /// Compare deployments that already run, or two stored runs
    Compare(args::CompareArgs),
    /// Render a stored run again
    Report(report::Args),
    /// List what Assay knows: checks, flaws, algorithms, topologies, profiles, formats, operations
    List(list::Args),
    /// Say what a check sends, what must happen, why, and how a server is mended
    Explain(explain::Args),
    /// Run the reference token server
    Serve(serve::ServeArgs),
    /// Read scenarios and profiles and say what is wrong in them, without running anything
    Validate(validate::Args),
    /// Look at a server that runs, and write a profile and a scenario for it
    Init(init::Args),
    /// Print the JSON Schema of scenarios, profiles or run.json, for editors and programs
    Schema(schema::Args),
    /// Prove clock, pacer and percentiles on this machine, and say which rate it can be trusted with
    Selftest(selftest::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page
    Man,
    /// Run the embedded reverse proxy in front of a server
    Proxy(proxy::Args),
    /// Stand above a process and end its whole tree with us
    #[command(hide = true)]
    Guard(guard::Args),
    /// Write a text as JSON, a form or a query has it
    #[command(hide = true)]
    Escape(escape::Args),
}

/// Why a command ended without a result.
#[derive(Debug)]
pub enum Failure {
    /// The user's files are wrong: exit 2.
    Files(Diagnostics),
    /// Anything else, with its exit code, in words.
    Other(ExitCode, String),
    /// It has been said already.
    Said(Exit),
}

impl Failure {
    /// The command line is wrong: exit 2.
    pub fn usage(message: impl std::fmt::Display) -> Failure {
        Failure::Other(ExitCode::Usage, message.to_string())
    }
    /// Our fault: exit 4.
    pub fn harness(message: impl std::fmt::Display) -> Failure {
        Failure::Other(ExitCode::Harness, message.to_string())
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Failure {
        Failure::Files(diagnostics)
    }
}

/// What a command ends with.
pub type Done = Result<ExitCode, Failure>;

/// Does what was asked.
pub fn dispatch(command: Command, global: &Global) -> Done {
    match command {
        Command::Run(args) => run::run(&args, global),
        Command::Check(args) => check::run(&args, global),
        Command::Forge(args) => forge::run(&args, global),
        Command::Load(args) => load::run(&args, global),
        Command::Compare(args) => compare::run(&args, global),
        Command::Report(args) => report::run(&args, global),
        Command::List(args) => list::run(&args, global),
        Command::Explain(args) => explain::run(&args, global),
        Command::Serve(args) => serve::run(&args),
        Command::Validate(args) => validate::run(&args, global),
        Command::Init(args) => init::run(&args, global),
        Command::Schema(args) => schema::run(&args),
        Command::Selftest(args) => selftest::run(&args, global),
        Command::Completions(args) => completions::run(&args),
        Command::Man => man::run(),
        Command::Proxy(args) => Err(Failure::Said(proxy::run(args, global))),
        Command::Escape(args) => escape::run(&args),
        Command::Guard(args) => Err(Failure::Said(Exit::from(guard::run(args)))),
    }
}

/// Says why a command ended, and turns it into the process's exit code.
pub fn finish(global: &Global, outcome: Done) -> Exit {
    let code = match outcome {
        Ok(code) => code,
        Err(Failure::Said(exit)) => return exit,
        Err(Failure::Files(diagnostics)) => {
            tell(format_args!("{}", diagnostics.render(global.colors_on_stderr())));
            ExitCode::Usage
        }
        Err(Failure::Other(code, message)) => {
            // What a target said may be part of it.
            tell(format_args!("error: {}", harmless(&message).replace("; hint: ", "\nhint: ")));
            code
        }
    };
    match out::trouble() {
        // Results that did not arrive are no results.
        Some(why) => {
            tell(format_args!("error: writing to standard output: {why}"));
            Exit::from(ExitCode::Harness as u8)
        }
        None => Exit::from(code as u8),
    }
}

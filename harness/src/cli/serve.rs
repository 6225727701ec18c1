//! How does `assay serve` run the reference token server? By handing its arguments over; the only place that knows that crate.

use assay::record::ExitCode;
pub use reference_server::ServeArgs;

use super::{Done, Failure};

/// Serves until interrupted. Exit code 2 for arguments that contradict each other, 3 where the server cannot start.
pub fn run(args: &ServeArgs) -> Done {
    let exit = reference_server::run(args);
    if exit == std::process::ExitCode::SUCCESS { Ok(ExitCode::Ok) } else { Err(Failure::Said(exit)) }
}

/// A flaw of the reference server: its name, what it breaks, what must be configured, which checks it must turn.
pub struct FlawRow {
    pub name: &'static str,
    pub breaks: &'static str,
    pub needs: &'static [&'static str],
    pub kills: &'static [&'static str],
    pub also: &'static [&'static str],
}

/// Every flaw.
pub fn flaws() -> Vec<FlawRow> {
    reference_server::flaws()
        .iter()
        .map(|flaw| FlawRow {
            name: flaw.name,
            breaks: flaw.breaks,
            needs: flaw.needs,
            kills: flaw.kills,
            also: flaw.also,
        })
        .collect()
}

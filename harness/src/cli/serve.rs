//! How does `assay serve` run the reference token server? By handing its arguments over; the only place that knows that crate.

use assay::conformance::kill_matrix::{Flaw, Side};
use assay::record::ExitCode;
pub use reference_server::ServeArgs;

use super::{Done, Failure};

/// Serves until interrupted. Exit code 2 for arguments that contradict each other, 3 where the server cannot start.
pub fn run(args: &ServeArgs) -> Done {
    let exit = reference_server::run(args);
    if exit == std::process::ExitCode::SUCCESS { Ok(ExitCode::Ok) } else { Err(Failure::Said(exit)) }
}

/// Every flaw of the reference server.
pub fn flaws() -> Vec<Flaw> {
    reference_server::flaws()
        .iter()
        .map(|flaw| Flaw {
            name: flaw.name,
            breaks: flaw.breaks,
            needs: flaw.needs,
            kills: flaw.kills,
            also: flaw.also,
            side: Side::Server,
        })
        .collect()
}

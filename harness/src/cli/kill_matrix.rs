//! `assay check --kill-matrix`: can every check fail?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use assay::conformance::catalogue;
use assay::conformance::kill_matrix::{Flaw, Matrix, Progress, Servers, kill_matrix};
use assay::record::ExitCode;
use assay::scenario::Budget;

use super::{Done, Failure, Global, line, serve, tell};

/// Servers that are examined at the same time: their checks wait more than they compute.
const SIDE_BY_SIDE: usize = 6;
/// The same for the thorough matrix, where every server is examined by the checks that wait.
const SIDE_BY_SIDE_THOROUGH: usize = 12;

/// Makes the matrix and prints it. Exit code 1 where a flaw is missed, a turn is unexplained, a clean server is not
/// clean, or a check is unproven without a reason. `only`: globs on flaws and checks; `side_by_side`: servers at once.
pub fn run(budget: Budget, only: &[String], global: &Global) -> Done {
    let cancel = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&cancel);
    ctrlc::set_handler(move || asked.store(true, Ordering::Relaxed))
        .map_err(|e| Failure::harness(format!("listening for signals: {e}")))?;
    let folder = tempfile::tempdir().map_err(|e| Failure::harness(format!("making a folder for logs: {e}")))?;
    let assay = std::env::current_exe().map_err(|e| Failure::harness(format!("finding our own binary: {e}")))?;
    let servers = Servers::new(&assay, folder.path());
    let flaws: Vec<Flaw> = serve::flaws().into_iter().chain(Flaw::of_proxy()).collect();
    let quiet = global.quiet;
    let report = kill_matrix(&Matrix {
        flaws: &flaws,
        catalogue: catalogue(),
        budget,
        only,
        side_by_side: if budget == Budget::Thorough { SIDE_BY_SIDE_THOROUGH } else { SIDE_BY_SIDE },
        start: &|setup| servers.start(setup, &cancel),
        on_progress: &|progress| {
            if let (false, Progress::Finished { cell, done, total, seconds }) = (quiet, progress) {
                tell(format_args!("[{done}/{total}] {cell} ({seconds:.1} s)"));
            }
        },
        cancel: &cancel,
    })
    .map_err(Failure::usage)?;
    if global.json {
        let json = serde_json::to_value(&report).map_err(Failure::harness)?;
        line(format_args!("{json:#}"));
    } else {
        report.text().lines().for_each(|text| line(format_args!("{text}")));
    }
    Ok(if report.interrupted {
        ExitCode::Interrupted
    } else if report.holds() {
        ExitCode::Ok
    } else {
        ExitCode::Failed
    })
}

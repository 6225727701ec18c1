//! Can every check fail, and does none fail where nothing is wrong?
#![allow(clippy::print_stdout, reason = "the table is what a failing matrix is read by")]

#[path = "kit/flaws.rs"]
mod flaws;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use assay::conformance::catalogue;
use assay::conformance::kill_matrix::{Matrix, Progress, Servers, kill_matrix};
use assay::scenario::Budget;

/// `ASSAY_MATRIX_ONLY=sig-*,time-*` makes a part of the matrix, for work on a few checks.
fn only() -> Vec<String> {
    let text = std::env::var("ASSAY_MATRIX_ONLY").unwrap_or_default();
    text.split(',').filter(|glob| !glob.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_flaw_is_found_by_its_checks_and_a_clean_server_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Servers::new(Path::new(env!("CARGO_BIN_EXE_assay")), folder.path());
    let cancel = AtomicBool::new(false);
    let flaws = flaws::all();
    let report = kill_matrix(&Matrix {
        flaws: &flaws,
        catalogue: catalogue(),
        budget: Budget::Ci,
        only: &only(),
        side_by_side: 6,
        start: &|setup| servers.start(setup, &cancel),
        on_progress: &|progress| {
            if let Progress::Finished { cell, done, total, seconds } = progress {
                println!("[{done}/{total}] {cell} ({seconds:.1} s)");
            }
        },
        cancel: &cancel,
    })
    .unwrap();
    println!("{}", report.text());
    assert!(report.holds(), "{}", report.text());
}

#[test]
fn every_check_names_the_flaws_that_kill_it() {
    let flaws = flaws::all();
    let mut wrong = Vec::new();
    for check in catalogue() {
        let mut by_table: Vec<&str> = flaws.iter().filter(|f| f.kills.contains(&check.id)).map(|f| f.name).collect();
        let mut told = check.flaws.to_vec();
        // The server and the proxy may both have a flaw of one name.
        by_table.sort_unstable();
        by_table.dedup();
        told.sort_unstable();
        if by_table != told {
            wrong.push(format!("{}: the check says {told:?}, the tables say {by_table:?}", check.id));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

//! Can every check fail? The reference server without and with each of its flaws, and who noticed.
//!
//! A plan of cells (a server as it is started, and the checks that examine it) is run by [`kill_matrix`], which
//! compares what each check found on a flawed server with what it found on the clean one of the same settings. A
//! flaw must turn every check that it `kills`, and none beyond those and its `also` list. What is missed or turns
//! unexplained is tried once more on a fresh server, so that a busy machine does not decide.

mod judge;
mod parts;
mod plan;
mod servers;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::clock;
use crate::launch::{Deployment, LogFile};
use crate::record::{CheckRecord, Redactor};
use crate::scenario::Budget;
use crate::target::Target;

use super::descriptor::Check;
use super::engine::{Examination, Findings, examine};
use super::select::Selection;

pub use judge::{Baseline, MatrixReport, Row, RowVerdict, Seen, UNPROVEN};
pub use parts::Parts;
pub use plan::{ALGORITHMS, Cell, Setup, Side};
pub use servers::Servers;

/// One deliberate fault, as its table describes it.
#[derive(Clone, Copy, Debug)]
pub struct Flaw {
    /// Its name, for `--flaw`.
    pub name: &'static str,
    /// What it breaks, in one sentence.
    pub breaks: &'static str,
    /// What must be configured for it to show.
    pub needs: &'static [&'static str],
    /// The checks that must turn.
    pub kills: &'static [&'static str],
    /// The checks that may turn; `*` for any.
    pub also: &'static [&'static str],
    /// Whose fault it is.
    pub side: Side,
}

impl Flaw {
    /// The flaws of the embedded proxy.
    pub fn of_proxy() -> impl Iterator<Item = Flaw> {
        crate::proxy::flaws().iter().map(|f| Flaw {
            name: f.name,
            breaks: f.breaks,
            needs: f.needs,
            kills: f.kills,
            also: f.also,
            side: Side::Proxy,
        })
    }
}

/// What runs, and how it is reached.
pub struct Running {
    /// The address that is examined.
    pub url: String,
    /// The admin hooks.
    pub admin: Option<String>,
    /// The server without its proxy, where there is one.
    pub peer: Option<String>,
    /// Log files of the server and its proxy.
    pub logs: Vec<LogFile>,
    /// Ends it all when it is dropped.
    pub deployment: Deployment,
}

/// Starts the server of a cell; an error in words ends that cell.
pub type StartFn<'a> = dyn Fn(&Setup) -> Result<Running, String> + Sync + 'a;

/// What happens while the matrix is made.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A cell begins.
    Started {
        /// What is examined: `HS256`, or the flaw with its algorithm.
        cell: String,
    },
    /// A cell has ended.
    Finished {
        /// What was examined.
        cell: String,
        /// Cells that have ended, this one included.
        done: usize,
        /// All cells of this round.
        total: usize,
        /// Seconds that it took.
        seconds: f64,
    },
}

/// What to try.
pub struct Matrix<'a> {
    /// The flaws, of the server and of the proxy.
    pub flaws: &'a [Flaw],
    /// The checks.
    pub catalogue: &'a [&'static Check],
    /// `ci`: each flaw under one algorithm, with the checks that it concerns and some that it must leave alone.
    /// `thorough`: each flaw under every algorithm, with every check; those that draw large samples only where the
    /// flaw concerns them.
    pub budget: Budget,
    /// Globs on names of flaws and ids of checks; everything if empty.
    pub only: &'a [String],
    /// Servers that are examined at the same time. Most checks wait for answers or clocks, so this may be more than
    /// there are processors.
    pub side_by_side: usize,
    /// Starts a server.
    pub start: &'a StartFn<'a>,
    /// Told of everything that happens, from several threads.
    pub on_progress: &'a (dyn Fn(Progress) + Sync),
    /// Ends the work early: what is left is reported as not run.
    pub cancel: &'a AtomicBool,
}

/// What the checks found in one cell.
pub(crate) type Found = Result<BTreeMap<String, CheckRecord>, String>;

/// Runs the whole plan and judges it.
///
/// # Errors
/// A glob of `only` that does not parse or names nothing, in words for the user.
pub fn kill_matrix(matrix: &Matrix<'_>) -> Result<MatrixReport, String> {
    let began = clock::mono();
    let cells = plan::cells(matrix)?;
    let found = round(matrix, &cells, matrix.side_by_side);
    let again = judge::doubtful(&cells, &found);
    // One at a time, so that what measures time has the machine to itself.
    let second = round(matrix, &again, 1);
    let mut report = judge::report(matrix, &cells, &found, &again, &second);
    report.seconds = clock::mono().since(began).as_secs_f64();
    report.interrupted = matrix.cancel.load(Ordering::Relaxed);
    Ok(report)
}

/// Examines every cell, several at a time, in the order given.
fn round(matrix: &Matrix<'_>, cells: &[Cell], side_by_side: usize) -> Vec<(Found, u64)> {
    let results: Vec<Mutex<(Found, u64)>> =
        cells.iter().map(|_| Mutex::new((Err("the work was ended before this".to_owned()), 0))).collect();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..side_by_side.clamp(1, cells.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(index) else { break };
                    if matrix.cancel.load(Ordering::Relaxed) {
                        break;
                    }
                    (matrix.on_progress)(Progress::Started { cell: cell.setup.name() });
                    let began = clock::mono();
                    let outcome = match examined(matrix, cell) {
                        Ok(findings) => {
                            let logins = findings.traffic.logins;
                            (Ok(findings.checks.into_iter().map(|c| (c.id.clone(), c)).collect()), logins)
                        }
                        Err(why) => (Err(why), 0),
                    };
                    *results[index].lock().unwrap_or_else(PoisonError::into_inner) = outcome;
                    (matrix.on_progress)(Progress::Finished {
                        cell: cell.setup.name(),
                        done: done.fetch_add(1, Ordering::Relaxed) + 1,
                        total: cells.len(),
                        seconds: clock::mono().since(began).as_secs_f64(),
                    });
                }
            });
        }
    });
    results.into_iter().map(|m| m.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

fn examined(matrix: &Matrix<'_>, cell: &Cell) -> Result<Findings, String> {
    let profile = cell.setup.profile()?;
    let running = (matrix.start)(&cell.setup)?;
    let target = |url: &str| {
        let mut target = Target::new(profile.clone(), url, running.admin.as_deref(), &[]).map_err(|e| e.to_string())?;
        target.discover().map_err(|e| e.to_string())?;
        Ok::<_, String>(target)
    };
    let front = target(&running.url)?;
    let peer = running.peer.as_deref().map(target).transpose()?;
    let mut selection = Selection::everything();
    // The thorough matrix tries more pairs of flaws and checks; how far one check goes is not what it is about.
    selection.budget = Budget::Ci;
    selection.intrusive = true;
    examine(&Examination {
        target: &front,
        topology: if peer.is_some() { "proxied" } else { "bare" },
        selection: &selection,
        redactor: Redactor::default(),
        logs: running.logs.clone(),
        peer: peer.as_ref(),
        deployment: Some(&running.deployment),
        capsule: None,
        catalogue: &cell.checks,
        on_event: &|_| {},
        cancel: matrix.cancel,
    })
}

impl MatrixReport {
    /// The table for a terminal.
    pub fn text(&self) -> String {
        text::render(self)
    }
}

/// How the matrix sees one check under one flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// It found the same as on the clean server.
    Same,
    /// It passed, and now it fails.
    Failed,
    /// It still passes, but observed something else.
    Changed,
    /// It learnt something, and now it learns nothing.
    Silenced,
}

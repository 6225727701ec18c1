//! What is to happen? A scenario with everything that the command line adds to it.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::event::Listener;
use crate::record::RunDir;
use crate::scenario::{Scenario, Source};
use crate::target::Profile;

/// A run, before it has begun.
pub struct Ask<'a> {
    /// Which command asks: `run`, `check`, `load`, `compare`. A `compare` drives nothing but the blocks of its pairs.
    pub command: &'static str,
    /// What to do.
    pub scenario: &'a Scenario,
    /// The file of the scenario, where there is one: its path and its hash are recorded.
    pub source: Option<&'a Source>,
    /// The folder that relative paths of the scenario start from.
    pub folder: PathBuf,
    /// How the target speaks.
    pub profile: &'a Profile,
    /// Whether secrets stay readable in records.
    pub keep_secrets: bool,
    /// Our own binary: guard, reference server and embedded proxy are commands of it.
    pub assay: PathBuf,
    /// Where everything is written.
    pub dir: &'a RunDir,
    /// Ends the run early; what was seen until then is kept.
    pub cancel: &'a AtomicBool,
    /// Is told what happens, from several threads.
    pub listen: Listener<'a>,
}

//! How do servers and proxies start, and how do they surely end?
//!
//! A [`Launcher`] brings a topology up: each link of its chain is a process below a [`guard`], on
//! 127.0.0.1 and a free port, ready before the next one starts. The [`Deployment`] that comes back gives
//! the addresses, samples CPU and memory of every tree, restarts and kills on demand, and ends everything
//! when it is dropped; when we are killed, the guards do.
//!
//! All files of a deployment are in `<logs>/<topology>/`: what a link prints in `<link>.log`, its
//! configuration and own logs in `<link>/`.

mod cpu;
mod deployment;
mod error;
pub mod guard;
mod links;
mod log;
mod prepare;
mod process;
mod ready;
mod sample;
mod settings;
mod table;
mod tree;
mod twin;

pub use cpu::CpuPlan;
pub use deployment::{Deployment, LogFile};
pub use error::LaunchError;
pub use settings::Setting;
pub use table::{Kind, Program, Row, topologies};
pub use twin::Twin;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::scenario::{ProcessStart, Topology};

/// What a launcher needs to know of the run.
#[derive(Clone, Debug)]
pub struct LaunchOptions {
    /// The folder for logs and configurations, inside the run's folder; made if it is not there.
    pub logs: PathBuf,
    /// Our own binary, which serves as guard, reference server and embedded proxy.
    pub assay: PathBuf,
    /// Where processes are pinned; nowhere if absent.
    pub cpus: Option<CpuPlan>,
}

/// How the profile starts a server of the user's own.
#[derive(Clone, Debug, Default)]
pub struct ProfileStart {
    /// Its words.
    pub start: ProcessStart,
    /// The folder of the profile's file, which relative paths start from.
    pub dir: PathBuf,
}

/// What a start needs beyond the topology.
pub struct Start<'a> {
    /// The folder of the scenario's file, which relative paths in settings start from.
    pub scenario_dir: &'a Path,
    /// The profile's starts by name; the link `process` means the one of that name, or the only one.
    pub processes: BTreeMap<String, ProfileStart>,
    /// Told what takes long: `preparing a virtual environment`.
    pub on_progress: &'a (dyn Fn(&str) + Sync),
    /// Set by the user's Ctrl-C: the start ends with [`LaunchError::Cancelled`].
    pub cancel: &'a AtomicBool,
}

impl<'a> Start<'a> {
    /// A start without a profile, progress or interruption.
    pub fn plain(scenario_dir: &'a Path) -> Start<'a> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Start { scenario_dir, processes: BTreeMap::new(), on_progress: &|_| {}, cancel: &NEVER }
    }
}

/// Brings topologies up.
#[derive(Clone, Debug)]
pub struct Launcher {
    options: LaunchOptions,
}

impl Launcher {
    /// A launcher for one run.
    pub fn new(options: LaunchOptions) -> Launcher {
        Launcher { options }
    }

    /// Whether the chain and its settings make sense and everything it needs is installed; starts nothing.
    pub fn check(&self, name: &str, topology: &Topology, start: &Start) -> Result<(), LaunchError> {
        deployment::read_chain(name, topology, start).map(drop)
    }

    /// Starts the chain, innermost first, each link ready before the next. An error leaves nothing running.
    pub fn up(&self, name: &str, topology: &Topology, start: &Start) -> Result<Deployment, LaunchError> {
        Deployment::up(&self.options, name, topology, start)
    }
}

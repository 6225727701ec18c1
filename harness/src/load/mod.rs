//! How does a target bear a load, and can the clock that says so be trusted?
//!
//! [`Population::prepare`] logs in off the timed path, once per deployment; [`drive`] then drives a workload, as
//! often as wanted. Pacer, stop rule, connections and recorder meet in ONE loop per core ([`worker`]), whatever
//! the arrival model.
//!
//! Three clocks for every request: *planned* (what the pacer said), *wire* (just before the first write, or before
//! connecting where that was needed) and *done* (last byte parsed). Response time is planned to done, service time
//! wire to done, lag planned to wire; what a request waited for a free connection is not lag but the phase `queue`.
//! Nothing is ever back-filled.

mod books;
mod certificate;
mod claims;
mod controls;
mod drive;
mod find;
mod flight;
mod flow;
mod found;
mod hlog;
mod house;
mod ledger;
mod machine;
mod plan;
mod population;
mod recorder;
mod rings;
mod sampled;
mod script;
pub mod selftest;
mod session;
mod setup;
mod shared;
mod streams;
#[cfg(test)]
mod tests;
mod thresholds;
mod timeline;
mod worker;

pub use drive::{Drive, Driven, Interval, drive, drive_watched};
pub use find::{Searched, find_max_rate};
pub use hlog::write_hlog;
pub use plan::{Arrivals, Pacer, Purpose, StopRule, Stripe, random, uniform};
pub use population::Population;
pub use thresholds::{Judgement, Seen, Why, judge};

use crate::target::TargetError;
use crate::units::Nanos;
use crate::wire::WireError;

/// Why a load could not be driven. What the target answers under load is never an error but a count.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The workload cannot be driven against this target.
    #[error("{0}")]
    Usage(String),
    /// The profile cannot make a request.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The target cannot be reached at all.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Sessions could not be prepared.
    #[error("could not prepare sessions: {0}")]
    Preparation(String),
    /// The machine refused something.
    #[error("the machine refused: {0}")]
    Machine(String),
    /// Cancelled before anything was recorded.
    #[error("cancelled before anything was recorded")]
    Cancelled,
    /// A mistake of ours.
    #[error("internal error of the load engine: {0}")]
    Internal(String),
}

/// Where a drive is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Phase {
    /// Sessions log in.
    Preparing {
        /// Sessions that hold tokens.
        done: u64,
        /// Sessions wanted.
        of: u64,
    },
    /// Connections are opened.
    #[default]
    Connecting,
    /// Driven, not recorded.
    Warmup,
    /// Driven and recorded.
    Recording,
    /// Nothing is sent any more; the unfinished are waited for.
    Draining,
    /// A search has tried a rate.
    Tried {
        /// Arrivals per second.
        rate: f64,
        /// Whether every threshold held; none where the try could not say.
        held: Option<bool>,
    },
}

/// Where a search for the highest rate is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchProgress {
    /// The try, from 1.
    pub number: usize,
    /// Tries altogether, as far as it can be told.
    pub about: usize,
    /// Arrivals per second of this try.
    pub rate: f64,
    /// How long the search takes from the beginning of this try, as far as it can be told.
    pub left: Nanos,
}

/// What can be shown while a load runs. About five times a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Where it is.
    pub phase: Phase,
    /// Since the start of the phase's clock (preparation, or the drive).
    pub elapsed: Nanos,
    /// The whole drive, warm-up included; zero while preparing.
    pub total: Nanos,
    /// Completed since recording began.
    pub completed: u64,
    /// Failed or timed out since recording began.
    pub failed: u64,
    /// On their way now.
    pub in_flight: u64,
    /// Completed and failed per second, over the last look.
    pub rate_per_s: f64,
    /// Median response time of the last whole second.
    pub p50_ns: Option<u64>,
    /// 99th percentile of the last whole second.
    pub p99_ns: Option<u64>,
    /// The search of which this drive is a try.
    pub search: Option<SearchProgress>,
}

/// Who is told about the progress; must not block.
pub type ProgressSink<'a> = &'a (dyn Fn(&Progress) + Sync);

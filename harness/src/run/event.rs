//! What is told while a run goes on?

use super::plan::Step;
use crate::record::Warning;
use crate::{conformance, load};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A step begins.
    Step {
        /// Which.
        step: &'a Step,
        /// Its number, from 1.
        number: usize,
        /// Steps in all.
        of: usize,
    },
    /// A topology starts, or one of its slow preparations.
    Launching {
        /// The topology.
        topology: &'a str,
        /// What takes its time; empty at the beginning.
        doing: &'a str,
    },
    /// A topology is up.
    Up {
        /// The topology.
        topology: &'a str,
        /// Its address.
        url: &'a str,
    },
    /// Something about the checks.
    Check {
        /// The topology examined.
        topology: &'a str,
        /// What.
        event: conformance::Event,
    },
    /// A load goes on.
    Load {
        /// The topology driven.
        topology: &'a str,
        /// How far it is.
        progress: &'a load::Progress,
    },
    /// A round of a comparison begins.
    Round {
        /// From 1.
        number: u32,
        /// Rounds in all, repeated ones included.
        of: u32,
        /// Seconds that one round takes.
        seconds: f64,
    },
    /// A doubt that the record will hold.
    Warning(&'a Warning),
}

/// Who is told. Must not block.
pub type Listener<'a> = &'a (dyn Fn(Event<'_>) + Sync);

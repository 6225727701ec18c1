//! Where did it run?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine, as far as it matters to a number.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// `Linux 6.1.0`.
    pub kernel: String,
    /// Processors we may use.
    pub cpus: u32,
    /// Model name of the first.
    pub cpu_model: String,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Kernel clock source: `tsc` is good.
    pub clocksource: String,
    /// Frequency governor, where the kernel shows one.
    pub governor: Option<String>,
}

/// A topology and the processes that made it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TopologyRecord {
    /// Name in the scenario.
    pub name: String,
    /// What it is made of, outermost last: `["reference-server", "nginx"]`.
    pub chain: Vec<String>,
    /// The address that was driven.
    pub url: Option<String>,
    /// Why it was left out, where it was.
    pub left_out: Option<String>,
    /// Whether a stand-in (the embedded proxy) is part of it.
    pub stand_in: bool,
    /// The processes we started for it, outermost last.
    pub processes: Vec<ProcessRecord>,
}

/// A process (with its children) that we started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRecord {
    /// `nginx`, `reference-server`, ...
    pub name: String,
    /// What it says of its version.
    pub version: String,
    /// Start to ready.
    pub ready_ms: u64,
    /// Processors it was pinned to; empty if none.
    pub cpus: Vec<u32>,
    /// Its log, relative to the run's folder.
    pub log: Option<String>,
    /// CPU and memory over time, the whole tree summed.
    #[serde(default)]
    pub samples: Vec<ProcessSample>,
}

/// CPU and memory of a process tree at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProcessSample {
    /// Milliseconds since the process was started.
    pub at_ms: u64,
    /// CPU seconds used since start.
    pub cpu_s: f64,
    /// Resident bytes.
    pub rss_bytes: u64,
    /// Processes in the tree.
    pub processes: u32,
}

//! What is kept of a run? The only persisted types: versioned, redacted on entry, saved atomically.

mod check;
mod comparison;
mod environment;
mod grade;
mod load;
mod redact;
mod store;

pub use check::{
    CheckRecord, ControlShown, Evidence, ExaminationRecord, Level, SkipReason, TokenView, VariantRecord, Verdict,
    WindowRecord,
};
pub use comparison::{Answer, ComparisonRecord, ControlRecord, QuantileRecord, ShiftPoint, ThroughputRecord};
pub use environment::{Environment, ProcessRecord, ProcessSample, TopologyRecord};
pub use grade::{ExitCode, Grade, grade};
pub use load::{
    Accounting, CertificateRecord, ControlsRecord, ErrorCount, FlowRecord, FoundRecord, HistogramRecord,
    HousekeepingRecord, LoadFinding, LoadRecord, LoadWindow, OperationRecord, SecondRecord, TryRecord, UnendedRecord,
    WorkerRecord,
};
pub(crate) use redact::Care;
pub use redact::{Redactor, fingerprint, harmless};
pub use store::{RunDir, StoreError, load};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of `run.json`. Raised when a member changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// One run, whole: what was asked, where it ran, what was seen and what it means.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// [`SCHEMA_VERSION`] at the time of writing.
    pub schema_version: u32,
    /// `<scenario>-<utc>-<random>`: the name of the run's folder.
    pub id: String,
    /// Which command made it: `run`, `check`, `load`, `compare`.
    pub command: String,
    /// Version of Assay.
    pub assay_version: String,
    /// Name of the scenario (or of the command's target).
    pub scenario: String,
    /// Path of the scenario's file from the folder where the command was given; absent where there was no file, or where it lies
    /// outside that folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario_file: Option<String>,
    /// SHA-256 of the scenario's text, hexadecimal; absent where there was no file.
    pub scenario_sha256: Option<String>,
    /// Name of the profile that spoke to the target.
    pub profile: String,
    /// Path of the profile's file, as that of the scenario; absent where the profile is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile_file: Option<String>,
    /// Dialect of the target: simple, oauth, oidc, rfc9068, rs-only.
    pub dialect: String,
    /// Seed of every random choice of ours.
    pub seed: u64,
    /// RFC 3339, UTC.
    pub started: String,
    /// Wall time of the whole run.
    pub duration_ms: u64,
    /// Ended early by the user: what is here is valid but partial.
    pub interrupted: bool,
    /// The machine.
    pub environment: Environment,
    /// Every topology the scenario names, also those left out (with the reason).
    pub topologies: Vec<TopologyRecord>,
    /// Every check in every topology.
    pub checks: Vec<CheckRecord>,
    /// What every examination asked of its topology.
    #[serde(default)]
    pub examinations: Vec<ExaminationRecord>,
    /// Measured expiry windows.
    pub windows: Vec<WindowRecord>,
    /// Every load that was driven, the blocks of comparisons excluded.
    pub loads: Vec<LoadRecord>,
    /// Baseline against each other topology.
    pub comparisons: Vec<ComparisonRecord>,
    /// Every threshold with its verdict.
    pub thresholds: Vec<ThresholdRecord>,
    /// Doubts about our own measurement, and things left out.
    pub warnings: Vec<Warning>,
    /// Free-form findings in prose about deployments (log leaks, header limits, costs), by scenario reports.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The level from which a failed check ends with exit code 1: `must` or `should`.
    #[serde(default = "must")]
    pub fail_on: Level,
    /// What the process answered to its caller.
    pub exit_code: u8,
}

fn must() -> Level {
    Level::Must
}

/// A threshold and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdRecord {
    /// As written: `access.response.p99 < 20ms`.
    pub expression: String,
    /// The topology it was judged in.
    pub topology: String,
    /// The observed value as text with its unit, where there was one.
    pub observed: Option<String>,
    /// Held, missed, or not judged.
    pub outcome: ThresholdOutcome,
    /// Why it was not judged.
    pub reason: Option<String>,
}

/// What became of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ThresholdOutcome {
    /// The observed value satisfies it.
    Held,
    /// It does not: exit 1.
    Missed,
    /// The load was void, or had no such sample: exit 3.
    NotJudged,
}

/// A doubt about our own measurement, with a hint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Warning {
    /// Stable short name: `shared-cores`, `left-out`, `lag-high`.
    pub code: String,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What the user could do about it.
    pub hint: Option<String>,
    /// Where it applies; everywhere if absent.
    pub topology: Option<String>,
}

impl Warning {
    /// A warning that applies everywhere and carries no hint yet.
    pub fn new(code: &str, message: impl Into<String>) -> Warning {
        Warning { code: code.into(), message: message.into(), hint: None, topology: None }
    }
    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Warning {
        self.hint = Some(hint.into());
        self
    }
    /// For one topology.
    pub fn at(mut self, topology: &str) -> Warning {
        self.topology = Some(topology.into());
        self
    }
}

//! What did a check find, and how can it be seen again?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExitCode, Grade};

/// How much a requirement weighs in the dialect of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A failure is a violation and ends with exit code 1.
    Must,
    /// A failure is a weakness, shown.
    Should,
    /// A finding is a note.
    Info,
}

/// What happened. What it means is a [`Grade`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The requirement was seen to hold.
    Pass,
    /// The requirement was seen not to hold.
    Fail,
    /// The requirement does not apply to this target.
    NotApplicable,
    /// Something that the check needs is missing or did not work.
    Blocked,
    /// The controls around the probe did not hold, or the statistics had no power.
    Inconclusive,
    /// We failed, not the target.
    HarnessError,
}

impl Verdict {
    /// As written in records and profiles.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::NotApplicable => "not-applicable",
            Verdict::Blocked => "blocked",
            Verdict::Inconclusive => "inconclusive",
            Verdict::HarnessError => "harness-error",
        }
    }
}

/// Why a check has no finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// A capability is missing: `needs:signing-key`.
    Needs(String),
    /// The requirement does not concern this target, and why.
    NotApplicable(String),
    /// The target's dialect gives the check no level.
    Dialect,
    /// An intrusive check without `--intrusive`.
    IntrusiveOff,
    /// It would take longer than the budget: the seconds it wants.
    Budget(u64),
    /// Left out by a filter, and whose.
    Excluded(String),
    /// Another check failed on which this one builds.
    BlockedBy(String),
}

impl std::fmt::Display for SkipReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SkipReason::Needs(cap) => write!(f, "needs:{cap}"),
            SkipReason::NotApplicable(why) => write!(f, "not-applicable:{why}"),
            SkipReason::Dialect => write!(f, "dialect"),
            SkipReason::IntrusiveOff => write!(f, "intrusive-off"),
            SkipReason::Budget(secs) => write!(f, "budget:{secs}"),
            SkipReason::Excluded(who) => write!(f, "excluded:{who}"),
            SkipReason::BlockedBy(id) => write!(f, "blocked-by:{id}"),
        }
    }
}

/// One check in one topology.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckRecord {
    /// `group-what`, stable for ever.
    pub id: String,
    /// Upper-case group of the catalogue: ISSUE, STRUCT, SIG, TIME, ...
    pub group: String,
    /// The requirement in one line.
    pub requirement: String,
    /// RFC sections, CVEs and documents.
    pub sources: Vec<String>,
    /// The level in the target's dialect.
    pub level: Level,
    /// Name of the topology it was run in.
    pub topology: String,
    /// What happened.
    pub verdict: Verdict,
    /// What it means, from the one grade table.
    pub grade: Grade,
    /// `--require` names it or its group: where nothing was learnt it has not passed, whatever its level.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Why there is no finding, for `not-applicable` and `blocked`.
    pub reason: Option<SkipReason>,
    /// One sentence: what was seen.
    pub summary: String,
    /// The reason given under `known:` in the profile, where one applied.
    #[serde(default)]
    pub known: Option<String>,
    /// The normalised finding that runs are compared by (accepted, refused how, observed value).
    pub finding: String,
    /// The parts, where a check has several.
    pub variants: Vec<VariantRecord>,
    /// How it was seen: at most a handful, the most telling first.
    pub evidence: Vec<Evidence>,
    /// Requests sent for it, controls included.
    pub requests: u64,
    /// Wall time it took.
    pub duration_ms: u64,
}

impl CheckRecord {
    /// What it asks of the exit code. `fail_on`: from which level a failure is one of the run.
    pub fn exit(&self, fail_on: Level) -> ExitCode {
        // A pipeline that asked for an answer must not go green without one.
        let level = if self.required && self.grade == Grade::Inconclusive { Level::Must } else { self.level };
        self.grade.exit(level, fail_on)
    }
}

/// One variant of a check: `sig-alg-none/None`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct VariantRecord {
    /// The part after the slash.
    pub name: String,
    /// What happened.
    pub verdict: Verdict,
    /// What it means; differs from the check's where a `known:` glob names the variant.
    pub grade: Grade,
    /// The normalised finding.
    pub finding: String,
    /// One sentence.
    pub summary: String,
}

/// One exchange (or a few) that shows a finding.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The variant it belongs to, if any.
    pub variant: Option<String>,
    /// What had to happen.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The request as sent, redacted; absent where it would say nothing.
    pub request: Option<String>,
    /// The reply as received, redacted and bounded.
    pub response: Option<String>,
    /// The token under test.
    pub token: Option<TokenView>,
    /// Lines for a shell that show it again.
    pub curl: Option<String>,
    /// The same for HTTPie.
    pub httpie: Option<String>,
    /// Wire to last byte.
    pub service_ns: Option<u64>,
    /// When the request went out, in seconds after the examination began (monotonic).
    #[serde(default)]
    pub sent_s: Option<f64>,
    /// When the answer was there, or the attempt was given up, in seconds after the examination began (monotonic).
    #[serde(default)]
    pub answered_s: Option<f64>,
    /// Number of the connection, counted over the examination from 1: the same number, the same connection.
    #[serde(default)]
    pub connection: Option<u64>,
    /// The server's clock minus ours lies in this interval, in seconds, by the `Date` of this reply alone.
    #[serde(default)]
    pub clock_offset_s: Option<(f64, f64)>,
    /// Genuine tokens that were shown beside it.
    #[serde(default)]
    pub controls: Vec<ControlShown>,
}

/// What became of the genuine tokens around a probe: where one was refused, its own refusal says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlShown {
    /// The operation of the profile that they were shown to.
    pub operation: String,
    /// The one before was accepted.
    pub before: bool,
    /// The one after was accepted.
    pub after: bool,
}

/// What may be shown of a token: everything but the signature.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Decoded header, or the raw text where it is not JSON.
    pub header: serde_json::Value,
    /// Decoded claims, or null where they are not JSON.
    pub claims: serde_json::Value,
    /// First 12 hexadecimal digits of the SHA-256 of the whole token.
    pub fingerprint: String,
}

/// What an examination asked of a target, and how often no orderly answer came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExaminationRecord {
    /// Name of the topology.
    pub topology: String,
    /// Requests that went out, controls and logins included.
    pub requests: u64,
    /// Requests to the login, those that had to be refused included.
    pub logins: u64,
    /// Answers of the 5xx kind.
    pub server_errors: u64,
    /// Requests without an answer within the patience that each is given.
    pub unanswered: u64,
    /// Connections that ended without an answer, or could not be opened.
    pub dropped: u64,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
}

/// A measured expiry window of one verifying endpoint in one topology.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WindowRecord {
    /// Name of the topology.
    pub topology: String,
    /// The verify way (`resource`, `endpoint`, `userinfo`, ...) or `refresh`.
    pub endpoint: String,
    /// The claim measured: `exp` or `nbf`.
    pub claim: String,
    /// How: `forged`, `short-lived`, `polled`, `clock-hook`, `capsule` (tokens of earlier runs).
    pub method: String,
    /// Lifetime of a genuine token (exp - iat), if known.
    pub lifetime_s: Option<f64>,
    /// Latest acceptance, in seconds after the claim's instant (negative: before), harness clock.
    pub last_accepted_s: Option<f64>,
    /// Earliest refusal, in seconds after the claim's instant, harness clock.
    pub first_refused_s: Option<f64>,
    /// The leeway lies in this interval, seconds.
    pub leeway_s: Option<(f64, f64)>,
    /// Server clock minus harness clock lies in this interval, seconds.
    pub offset_s: Option<(f64, f64)>,
    /// Where the offset comes from: `date-header`, `iat`, `two-sided`.
    pub offset_source: Option<String>,
    /// `strict`, `inclusive`, `floored`, `sub-second`, or unknown.
    pub boundary: Option<String>,
    /// Probes used.
    pub probes: u64,
    /// Pairs of answers that no single cut-off explains.
    pub contradictions: u64,
    /// The nearest known default, or why nothing could be observed.
    pub note: Option<String>,
}

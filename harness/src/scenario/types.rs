//! Which words can a scenario say? The YAML file as plain types; all enums are externally tagged, since only those keep positions.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::flow::{FlowStep, Walked};
use crate::units::{Rate, Ratio, Span};

/// A scenario file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Editors only.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Names the run's folder: letters, digits and dashes.
    pub name: String,
    /// A profile: a built-in name or a file beside the scenario.
    pub target: String,
    /// One variant of the profile.
    #[serde(default)]
    pub variant: Option<String>,
    /// Hosts beyond loopback that may be driven.
    #[serde(default)]
    pub allow_remote: Vec<String>,
    /// Chains by name, outermost last; or an address that already runs.
    pub topologies: Topologies,
    /// Which checks to run; absent: none.
    #[serde(default)]
    pub conformance: Option<Conformance>,
    /// Which load to drive; absent: none.
    #[serde(default)]
    pub load: Option<Workload>,
    /// Expressions such as `access.response.p99 < 20ms`; with `or abort` behind it, a miss ends the load.
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// What to compare; absent: nothing.
    #[serde(default)]
    pub compare: Option<Compare>,
    /// Formats of the report.
    #[serde(default = "default_reports")]
    pub reports: Vec<String>,
}

fn default_reports() -> Vec<String> {
    ["html", "json", "junit"].map(str::to_owned).to_vec()
}

/// Topologies by name, in the order written.
pub type Topologies = IndexMap<String, Topology>;

/// A chain, outermost last, or something that already runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Topology {
    /// `[reference-server, nginx]`.
    Chain(Vec<Link>),
    /// `{url: http://127.0.0.1:8000}`.
    Running(Running),
}

/// By hand, since serde's untagged enums lose the place of a mistake.
impl<'de> Deserialize<'de> for Topology {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Topology, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Topology;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a chain such as `[reference-server, nginx]`, or `{url: http://127.0.0.1:8000}`")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Topology, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Topology::Chain)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Topology, A::Error> {
                Running::deserialize(MapAccessDeserializer::new(map)).map(Topology::Running)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A server that we did not start.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Running {
    /// Its base address.
    pub url: String,
    /// Its admin address, where it has one.
    #[serde(default)]
    pub admin_url: Option<String>,
}

/// One element of a chain: a name, or a name with settings.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Link {
    /// `nginx`.
    Name(String),
    /// `{nginx: {keepalive: 64}}`.
    Settings(BTreeMap<String, BTreeMap<String, serde_json::Value>>),
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Link, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Link;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name such as `nginx`, or a name with settings such as `{nginx: {keepalive: 64}}`")
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Link, E> {
                Ok(Link::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Link, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Link::Settings)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Which checks to run and how long they may take.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Conformance {
    /// Globs on ids and groups that are run.
    #[serde(default = "everything")]
    pub only: Vec<String>,
    /// Globs that are left out.
    #[serde(default)]
    pub skip: Vec<String>,
    /// Globs (ids, groups, capabilities) for which a skip is a failure.
    #[serde(default)]
    pub require: Vec<String>,
    /// How long checks may take.
    #[serde(default)]
    pub budget: Budget,
    /// Whether checks that could harm the target are run.
    #[serde(default)]
    pub intrusive: bool,
    /// The level from which a failure ends with exit code 1: `must` or `should`.
    #[serde(default)]
    pub fail_on: FailOn,
    /// Whether all topologies are examined at once: quicker, for servers that share no users, no store and no limits.
    #[serde(default)]
    pub side_by_side: bool,
    /// A file, encrypted with the passphrase in ASSAY_CAPSULE_KEY, that keeps a few tokens until a later run shows them after
    /// their end; absent: none.
    #[serde(default)]
    pub capsule: Option<PathBuf>,
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// How long checks may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// Typically 10 to 90 s, longer where the server is slow, ten minutes at most.
    #[default]
    Ci,
    /// Waits out whole lifetimes and takes large samples.
    Thorough,
}

/// The level from which a failure ends with exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailOn {
    /// Violations only.
    #[default]
    Must,
    /// Weaknesses too.
    Should,
}

/// Connections and users that one load may have at most: two descriptors each would exhaust a common limit.
pub const MOST_CONNECTIONS: u32 = 60_000;

/// Weighted operations plus an arrival model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Workload {
    /// Open or closed. Left out where `rates` says it all.
    #[serde(default = "default_arrival")]
    pub arrival: Arrival,
    /// Durations and ramps, in order; one hold of 10 s if absent. A closed model has no rate that could change: it only holds.
    #[serde(default = "default_stages")]
    pub stages: Vec<Stage>,
    /// Weight by operation. Left out where `rates` says it all.
    #[serde(default)]
    pub mix: IndexMap<String, f64>,
    /// Instead of `arrival` and `mix`: arrivals per second of each operation, independent of each other (Poisson).
    #[serde(default)]
    pub rates: IndexMap<String, Rate>,
    /// Instead of `mix`: the steps that a session takes, one after the other; `arrival` then says when a session begins.
    #[serde(default)]
    pub flow: Vec<FlowStep>,
    /// Searches instead of driving one rate: below `arrival.open.rate`, each try a hold as long as the stages, held to the
    /// scenario's thresholds.
    #[serde(default)]
    pub find: Option<Find>,
    /// The token population.
    #[serde(default)]
    pub tokens: Tokens,
    /// Driven, not recorded.
    #[serde(default = "default_warmup")]
    pub warmup: Span,
    /// Makes a run repeatable.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Connections held open; by default 64 for open loads, one per user for closed ones.
    #[serde(default)]
    pub connections: Option<u32>,
    /// Loops that drive it, each on a core of its own; one if absent. The servers that we start get the other cores.
    #[serde(default)]
    pub cores: Option<u32>,
    /// Deadline of one request.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// What a waiting loop does; chosen by the machine if absent.
    #[serde(default)]
    pub idle: Option<Idle>,
    /// What is spoken on the connections.
    #[serde(default)]
    pub protocol: Protocol,
    /// Requests on their way at once on one HTTP/2 connection; 32 if absent. HTTP/1.1 has one.
    #[serde(default)]
    pub streams: Option<u32>,
    /// Replies per second that are verified while the load runs (signature, claims, lifetime, unique `jti`); 0: none.
    #[serde(default = "default_sample")]
    pub sample: u32,
    /// Control operations as a share of the load's requests: expired, tampered, used and revoked tokens that must be
    /// refused, and users who must not be mixed up. Every kind comes at least once, and at most 50 are sent in a second;
    /// 0: none.
    #[serde(default = "default_control")]
    pub control: Ratio,
}

impl Workload {
    /// The same workload without `rates`: their sum becomes the open rate, their shares the mix. A sum of independent
    /// Poisson arrivals is Poisson again, and each arrival belongs to an operation by its share. The mix of a `flow` is
    /// how often its operations come in it.
    pub fn plain(mut self) -> Workload {
        if !self.rates.is_empty() {
            let sum = self.rates.values().map(|r| r.0).sum();
            self.arrival = Arrival::Open(Open { rate: Rate(sum), process: Process::Poisson });
            self.mix = std::mem::take(&mut self.rates).into_iter().map(|(word, rate)| (word, rate.0)).collect();
        }
        if !self.flow.is_empty() {
            self.mix.clear();
            for step in &self.flow {
                if let Ok(Walked::Operation { word, times }) = step.read() {
                    *self.mix.entry(word).or_default() += f64::from(times);
                }
            }
        }
        self
    }
}

impl Workload {
    /// Whether it is a flow whose first operation is a login, so that sessions bring their own tokens.
    pub fn begins_with_login(&self) -> bool {
        let operation = |step: &FlowStep| match step.read() {
            Ok(Walked::Operation { word, .. }) => Some(word),
            _ => None,
        };
        self.flow.iter().find_map(operation).is_some_and(|word| word == "issue")
    }

    /// How many requests an arrival brings: more than one where it walks through a flow.
    pub fn requests_per_arrival(&self) -> f64 {
        let times = |step: &FlowStep| match step.read() {
            Ok(Walked::Operation { times, .. }) => f64::from(times),
            _ => 0.0,
        };
        if self.flow.is_empty() { 1.0 } else { self.flow.iter().map(times).sum::<f64>().max(1.0) }
    }

    /// The steps of a flow in words: `issue > verify x20 > pause 100ms > refresh`.
    pub fn flow_words(&self) -> Option<String> {
        let word = |step: &FlowStep| match step.read() {
            Ok(Walked::Operation { word, times: 1 }) => word,
            Ok(Walked::Operation { word, times }) => format!("{word} x{times}"),
            Ok(Walked::Pause(span)) => format!("pause {span}"),
            Err(why) => why,
        };
        (!self.flow.is_empty()).then(|| self.flow.iter().map(word).collect::<Vec<_>>().join(" > "))
    }
}

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Find {
    /// The highest open rate at which every threshold holds.
    MaxRate,
}

/// What is spoken on the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge without.
    Http2,
}

fn default_arrival() -> Arrival {
    Arrival::Closed(Closed { users: 1, think: None })
}
fn default_sample() -> u32 {
    20
}

fn default_control() -> Ratio {
    Ratio(0.01)
}

fn default_stages() -> Vec<Stage> {
    vec![Stage::Hold(Span(std::time::Duration::from_secs(10)))]
}
fn default_warmup() -> Span {
    Span(std::time::Duration::from_secs(2))
}
fn default_timeout() -> Span {
    Span(std::time::Duration::from_secs(10))
}
fn default_seed() -> u64 {
    42
}

/// Who decides when the next request is sent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// A rate, whatever the target does.
    Open(Open),
    /// Users that wait for their answer.
    Closed(Closed),
}

/// An open model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Open {
    /// Arrivals per second at full height, all operations together.
    pub rate: Rate,
    /// Distances between arrivals.
    #[serde(default)]
    pub process: Process,
}

/// Distances between arrivals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Process {
    /// Equal distances.
    Constant,
    /// Exponential distances: independent callers.
    #[default]
    Poisson,
}

/// A closed model.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Closed {
    /// Users, each with one request at a time.
    pub users: u32,
    /// Pause between an answer and the next request.
    #[serde(default)]
    pub think: Option<Span>,
}

/// One stage of a load.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// From where the rate was to full height.
    Ramp(Span),
    /// At the height reached.
    Hold(Span),
    /// A sudden rise above full height, and back to the height before.
    Spike(Spike),
    /// A wave around the height reached.
    Sine(Sine),
}

impl Stage {
    /// How long it takes.
    pub fn lasts(&self) -> std::time::Duration {
        match self {
            Stage::Ramp(span) | Stage::Hold(span) => span.0,
            Stage::Spike(spike) => spike.lasts.0,
            Stage::Sine(sine) => sine.lasts.0,
        }
    }
}

/// A sudden rise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spike {
    /// Multiple of the full rate: `5` is five times as much.
    pub height: f64,
    /// How long it takes.
    pub lasts: Span,
}

/// A wave around the height reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sine {
    /// How far it goes up and down, as a share of the full rate; at most the height reached.
    pub amplitude: Ratio,
    /// From crest to crest.
    pub period: Span,
    /// How long it takes.
    pub lasts: Span,
}

/// What a waiting loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Idle {
    /// Polls shortly before the next arrival: exact, takes a whole core.
    Poll,
    /// Sleeps in the kernel until it is due.
    Sleep,
}

/// The token population.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tokens {
    /// Sessions that hold tokens of their own.
    pub sessions: u32,
    /// Which session is used next.
    pub reuse: Reuse,
    /// How long before its end an access token is refreshed, off the timed path.
    pub refresh_lead: Span,
    /// Share of expired tokens sent on purpose, whose refusal is success.
    pub expired: Option<Ratio>,
    /// Share of tampered tokens sent on purpose, whose refusal is success.
    pub tampered: Option<Ratio>,
    /// Share of revoked tokens (of the kind that the profile's `revoke` accepts) sent on purpose to the operations that
    /// present this kind, whose refusal is success.
    pub revoked: Option<Ratio>,
    /// Access tokens are signed by Assay with the signing key of the profile, after the model of one real login: for
    /// populations that no server could log in.
    pub sign: bool,
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens {
            sessions: 100,
            reuse: Reuse::Uniform,
            refresh_lead: Span(std::time::Duration::from_secs(30)),
            expired: None,
            tampered: None,
            revoked: None,
            sign: false,
        }
    }
}

/// Which session is used next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reuse {
    /// Every session equally.
    #[default]
    Uniform,
    /// Few sessions often, many seldom (exponent 1).
    Zipf,
    /// Every token once.
    Once,
}

/// What to compare.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compare {
    /// The topology that the others are compared with.
    pub baseline: String,
    /// How many pairs.
    #[serde(default)]
    pub effort: Effort,
    /// Whether a regression beyond the margin ends with exit code 1.
    #[serde(default)]
    pub gate: bool,
}

/// How many pairs, how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// 6 pairs of 2 s.
    #[default]
    Quick,
    /// 12 pairs of 5 s.
    Standard,
}

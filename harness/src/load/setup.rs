//! What does a workload ask for? Read once, with what replaces it, before anything is opened.

use std::time::Duration;

use super::LoadError;
use super::drive::Drive;
use super::plan::Pacer;
use super::shared::Model;
use crate::scenario::{Arrival, Idle, MOST_CONNECTIONS, Process, Protocol, Stage, Window};
use crate::units::Nanos;

/// Connections of an open load that does not say how many.
const OPEN_CONNECTIONS: u32 = 64;
/// Requests on their way at once on one HTTP/2 connection, if the workload does not say.
const STREAMS: u32 = 32;

/// What is driven, as far as it does not depend on the target.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub model: Model,
    /// The model in words.
    pub words: String,
    /// The steps of a flow in words.
    pub flow: Option<String>,
    pub open: bool,
    pub warmup: Nanos,
    pub duration: Nanos,
    pub connections: u32,
    pub timeout: Nanos,
    pub seed: u64,
    pub idle: Idle,
    pub cpus: Vec<Option<usize>>,
    /// Doubts about who shares the processors.
    pub neighbours: Vec<String>,
    pub protocol: Protocol,
    pub streams: u32,
    /// Replies per second for the verifier.
    pub sample: u32,
    /// Control operations as a share of the load; none at zero.
    pub control: f64,
    /// Parts of the time that are kept beside the whole.
    pub windows: Vec<Window>,
}

impl Setup {
    pub fn of(d: &Drive<'_>) -> Result<Setup, LoadError> {
        let w = d.workload;
        let seed = d.seed.unwrap_or(w.seed);
        let warmup: Nanos = d.warmup.unwrap_or(w.warmup.0).into();
        let stages = match d.duration {
            Some(duration) => vec![Stage::Hold(crate::units::Span(duration))],
            None => w.stages.clone(),
        };
        let duration: Duration = stages.iter().map(Stage::lasts).sum();
        if duration.is_zero() {
            return Err(LoadError::Usage("`load.stages` last no time at all; hint: `stages: [{hold: 10s}]`".into()));
        }
        if w.mix.is_empty() || w.mix.values().any(|x| !x.is_finite() || *x < 0.0) || w.mix.values().sum::<f64>() <= 0.0
        {
            return Err(LoadError::Usage(
                "`load.mix` needs weights of which at least one is above zero; hint: `mix: {access: 1}`".into(),
            ));
        }
        let closed = |users: u32, think: Duration| {
            let words = match (think.is_zero(), d.full_speed) {
                (_, true) => format!("closed {users} users at full speed"),
                (true, _) => format!("closed {users} users"),
                _ => format!("closed {users} users, think {}", crate::units::Span(think)),
            };
            (Model::Closed { users, think: think.into() }, words, false, users)
        };
        let open = |rate: f64, process: Process| {
            let name = if process == Process::Constant { "constant" } else { "poisson" };
            let pacer = Pacer::new(rate, process, warmup, &stages, seed);
            (Model::Open(pacer), format!("open {} {name}", crate::units::Rate(rate)), true, OPEN_CONNECTIONS)
        };
        let (model, words, is_open, by_default) = match (&w.arrival, d.rate) {
            _ if d.full_speed => closed(w.connections.unwrap_or(OPEN_CONNECTIONS), Duration::ZERO),
            (Arrival::Open(o), rate) => open(rate.unwrap_or(o.rate.0), o.process),
            (Arrival::Closed(_), Some(rate)) => open(rate, Process::Poisson),
            (Arrival::Closed(c), None) => closed(c.users, c.think.map_or(Duration::ZERO, |t| t.0)),
        };
        if !is_open && !stages.iter().all(|stage| matches!(stage, Stage::Hold(_))) && !d.full_speed {
            return Err(LoadError::Usage(
                "a closed model has no rate that a stage could change; hint: `stages: [{hold: 10s}]`".into(),
            ));
        }
        let connections = w.connections.unwrap_or(by_default);
        if connections == 0 || connections > MOST_CONNECTIONS || by_default == 0 || by_default > MOST_CONNECTIONS {
            return Err(LoadError::Usage(format!(
                "expected 1 to {MOST_CONNECTIONS} connections and users, saw {connections} and {by_default}"
            )));
        }
        let cpus: Vec<Option<usize>> = match d.cpus {
            Some(cpus) if !cpus.is_empty() => cpus.iter().map(|c| Some(*c)).collect(),
            _ => vec![None],
        };
        if (connections as usize) < cpus.len() {
            return Err(LoadError::Usage(format!(
                "expected a connection at least for each of {} loops, saw {connections}; hint: more `connections`, or fewer `cores`",
                cpus.len()
            )));
        }
        let idle = w.idle.unwrap_or(if d.own_cpus && d.cpus.is_some() && is_open { Idle::Poll } else { Idle::Sleep });
        let flow = w.flow_words();
        let words = match &flow {
            Some(steps) => format!("{words}, each through {steps}"),
            None => words,
        };
        Ok(Setup {
            model,
            words,
            flow,
            open: is_open,
            warmup,
            duration: duration.into(),
            connections,
            timeout: w.timeout.0.into(),
            seed,
            idle,
            cpus,
            neighbours: match (d.neighbours, d.own_cpus) {
                ([], false) => vec!["the generator had no core of its own".to_owned()],
                (known, _) => known.to_vec(),
            },
            protocol: w.protocol,
            streams: if w.protocol == Protocol::Http2 { w.streams.unwrap_or(STREAMS) } else { 1 },
            sample: w.sample,
            control: d.control.unwrap_or(if d.full_speed { 0.0 } else { w.control.0 }),
            windows: Vec::new(),
        })
    }
}

//! Can this machine be trusted with a load? Servers of our own whose numbers are known, and the highest rate that keeps the certificate.

mod server;
mod truth;

use std::sync::atomic::AtomicBool;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use super::drive::{Control, Driven, Plan, on_own_thread, run};
use super::plan::Pacer;
use super::population::Population;
use super::recorder::Samples;
use super::script::Script;
use super::setup::Setup;
use super::shared::Model;
use super::{LoadError, Progress};
use crate::clock;
use crate::launch::CpuPlan;
use crate::record::{CertificateRecord, Redactor};
use crate::scenario::{Idle, Process, Protocol, Reuse, Stage};
use crate::target::TokenUse;
use crate::units::{Nanos, Rate, Span};
use crate::wire::TlsOptions;

pub use server::{Behaviour, KnownServer, REQUEST, Seen};
pub use truth::{Truth, TruthVerdict};

/// The rate at which lag is shown, per second.
const LAG_RATE: f64 = 10_000.0;
/// The rate at which the floor is looked at beside a load, per second.
const FLOOR_RATE: f64 = 2_000.0;
/// The rate from which the search begins.
const FIRST_RATE: f64 = 4_000.0;
/// The rate beyond which nobody looks.
const LAST_RATE: f64 = 2_000_000.0;
/// The search ends once its two ends are this near.
const NEAR: f64 = 1.08;
/// Connections of the search and of the lag drives.
const CONNECTIONS: u32 = 64;

/// How thoroughly, and who watches.
#[derive(Clone, Copy)]
pub struct SelfTestOptions<'a> {
    /// Shorter drives: about a quarter of a minute instead of one.
    pub quick: bool,
    /// Ends it early.
    pub cancel: &'a AtomicBool,
    /// Is told what comes next.
    pub on_step: &'a (dyn Fn(&str) + Sync),
}

/// What a self-test saw.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SelfTest {
    /// Who ran on which processors.
    pub processors: String,
    /// Whether the generator had a processor of its own.
    pub own_processor: bool,
    /// How late a plain loop is that does nothing but look at the clock: nothing can be more exact here.
    pub spin: LagRecord,
    /// By idle policy.
    pub policies: Vec<PolicyRecord>,
    /// Servers known by arithmetic, number by number.
    pub truths: Vec<Truth>,
}

/// How late.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct LagRecord {
    /// Samples.
    pub n: u64,
    /// Median.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
}

/// One idle policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PolicyRecord {
    /// `poll` or `sleep`.
    pub idle: String,
    /// Arrivals per second at which the following was seen.
    pub rate_per_s: f64,
    /// Planned to wire.
    pub lag: LagRecord,
    /// Wire to last byte at a server that answers at once: no smaller difference can be claimed.
    pub floor: LagRecord,
    /// The highest rate at which the certificate is not void; 0 where there was none.
    pub highest_per_s: f64,
    /// What ended it.
    pub limited_by: String,
}

impl SelfTest {
    /// The highest rate of the better policy.
    pub fn highest_per_s(&self) -> f64 {
        self.policies.iter().map(|p| p.highest_per_s).fold(0.0, f64::max)
    }

    /// Whether any number was wrong although everything around it was right.
    pub fn is_wrong(&self) -> bool {
        self.truths.iter().any(|t| t.verdict == TruthVerdict::Wrong)
    }

    /// Whether any number could not be told, because the machine was too busy with something else.
    pub fn is_inconclusive(&self) -> bool {
        self.truths.iter().any(|t| t.verdict == TruthVerdict::Inconclusive) || self.highest_per_s() == 0.0
    }
}

/// What is seen of a server of ours that answers at once, driven with this idle policy: service times below which no
/// difference can be claimed. Takes a third of a second.
pub fn floor(generator: Option<usize>, servers: Option<usize>, idle: Idle) -> Result<LagRecord, LoadError> {
    let server = KnownServer::start(Behaviour::Null, servers)?;
    let control = Control {
        redactor: &Redactor::new(false),
        on_progress: &|_: &Progress| {},
        cancel: &AtomicBool::new(false),
        abort: &[],
    };
    let shape = Shape { rate: FLOOR_RATE, seconds: 0.25, connections: 8, idle, warmup: 0.05 };
    let driven = drive_known(&server, shape, generator, true, &control)?;
    let service = &driven.record.operations[0].service;
    Ok(LagRecord { n: service.n, p50_ns: service.p50_ns, p99_ns: service.p99_ns })
}

/// Runs all of it. Takes about a minute, a quarter of one if quick.
pub fn selftest(options: &SelfTestOptions<'_>) -> Result<SelfTest, LoadError> {
    let plan = CpuPlan::of_this_process();
    let own = plan.generator != plan.servers;
    let bench = Bench {
        generator: plan.generator.first().map(|cpu| *cpu as usize),
        servers: plan.servers.last().map(|cpu| *cpu as usize),
        own,
        options,
    };
    let seconds = if options.quick { 0.5 } else { 2.0 };
    (options.on_step)("a plain loop that looks at the clock");
    let spin = on_own(bench.generator, || spin(LAG_RATE, seconds))?;
    let mut policies = Vec::new();
    for idle in [Idle::Poll, Idle::Sleep] {
        policies.push(bench.policy(idle, seconds)?);
    }
    let truths = truth::check(&bench)?;
    Ok(SelfTest { processors: plan.describe(), own_processor: own, spin: LagRecord::of(&spin), policies, truths })
}

impl LagRecord {
    fn of(h: &Histogram<u64>) -> LagRecord {
        LagRecord { n: h.len(), p50_ns: h.value_at_quantile(0.5), p99_ns: h.value_at_quantile(0.99) }
    }
}

/// Work on a thread of its own, pinned where a processor is given.
fn on_own<T: Send>(cpu: Option<usize>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| on_own_thread(cpu, work));
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// How late a loop is that only looks at the clock.
fn spin(rate: f64, seconds: f64) -> Result<Histogram<u64>, LoadError> {
    let mut late = Samples::new()?;
    let from = clock::mono();
    for n in 0..(rate * seconds) as u64 {
        let due = from + Nanos::from_secs_f64(n as f64 / rate);
        let now = loop {
            let now = clock::mono();
            if now >= due {
                break now;
            }
        };
        late.record(now.since(due).0);
    }
    Ok(late.histogram)
}

/// Where servers and loops run.
struct Bench<'a> {
    generator: Option<usize>,
    servers: Option<usize>,
    own: bool,
    options: &'a SelfTestOptions<'a>,
}

impl Bench<'_> {
    fn server(&self, behaviour: Behaviour) -> Result<KnownServer, LoadError> {
        KnownServer::start(behaviour, self.servers)
    }

    /// The policy of a generator that is used here.
    fn usual(&self) -> Idle {
        if self.own { Idle::Poll } else { Idle::Sleep }
    }

    fn drive(&self, server: &KnownServer, shape: Shape) -> Result<Driven, LoadError> {
        let control = Control {
            redactor: &Redactor::new(false),
            on_progress: &|_: &Progress| {},
            cancel: self.options.cancel,
            abort: &[],
        };
        let driven = drive_known(server, shape, self.generator, self.own, &control)?;
        if driven.interrupted { Err(LoadError::Cancelled) } else { Ok(driven) }
    }

    fn policy(&self, idle: Idle, seconds: f64) -> Result<PolicyRecord, LoadError> {
        let name = if idle == Idle::Poll { "poll" } else { "sleep" };
        (self.options.on_step)(&format!("lag at {}, idle policy {name}", Rate(LAG_RATE)));
        let server = self.server(Behaviour::Null)?;
        let shape = Shape { rate: LAG_RATE, seconds, connections: CONNECTIONS, idle, warmup: 0.2 };
        let driven = self.drive(&server, shape)?;
        let operation = &driven.record.operations[0];
        let of = |h: &crate::record::HistogramRecord| LagRecord { n: h.n, p50_ns: h.p50_ns, p99_ns: h.p99_ns };
        let (lag, floor) = (of(&operation.lag), of(&operation.service));
        (self.options.on_step)(&format!("the highest rate, idle policy {name}"));
        let (highest_per_s, limited_by) = self.highest(&server, idle, seconds / 2.0)?;
        Ok(PolicyRecord { idle: name.to_owned(), rate_per_s: LAG_RATE, lag, floor, highest_per_s, limited_by })
    }

    /// Doubles the rate until the certificate is void, halves the distance, and holds what is left once more for longer.
    fn highest(&self, server: &KnownServer, idle: Idle, seconds: f64) -> Result<(f64, String), LoadError> {
        let mut why = "nothing below the highest rate that is tried".to_owned();
        let mut bears = |rate: f64, seconds: f64| -> Result<bool, LoadError> {
            let shape = Shape { rate, seconds, connections: CONNECTIONS, idle, warmup: 0.1 };
            let certificate: CertificateRecord = self.drive(server, shape)?.record.certificate;
            if let Some(first) = certificate.void.into_iter().next() {
                why = format!("at {}: {first}", Rate(rate));
                return Ok(false);
            }
            Ok(true)
        };
        let (mut low, mut high) = (0.0, FIRST_RATE);
        while high < LAST_RATE && bears(high, seconds)? {
            low = high;
            high *= 2.0;
        }
        if low == 0.0 {
            return Ok((0.0, why));
        }
        while high / low > NEAR {
            let middle = (low * high).sqrt();
            if bears(middle, seconds)? { low = middle } else { high = middle }
        }
        // What was borne for a moment must be borne for longer too.
        for _ in 0..8 {
            if bears(low, seconds * 2.0)? {
                return Ok((low, why));
            }
            low *= 0.93;
        }
        Ok((0.0, why))
    }
}

/// An open drive at a constant rate.
#[derive(Clone, Copy, Debug)]
struct Shape {
    rate: f64,
    seconds: f64,
    connections: u32,
    idle: Idle,
    warmup: f64,
}

/// Drives a server of known behaviour.
fn drive_known(
    server: &KnownServer,
    shape: Shape,
    cpu: Option<usize>,
    own: bool,
    control: &Control<'_>,
) -> Result<Driven, LoadError> {
    let stages = [Stage::Hold(Span(std::time::Duration::from_secs_f64(shape.seconds)))];
    let warmup = Nanos::from_secs_f64(shape.warmup);
    let setup = Setup {
        model: Model::Open(Pacer::new(shape.rate, Process::Constant, warmup, &stages, 42)),
        words: format!("open {} constant", Rate(shape.rate)),
        open: true,
        warmup,
        duration: Nanos::from_secs_f64(shape.seconds),
        connections: shape.connections,
        timeout: Nanos(5_000_000_000),
        seed: 42,
        idle: shape.idle,
        cpus: vec![cpu],
        flow: None,
        neighbours: if own { Vec::new() } else { vec!["the generator had no core of its own".to_owned()] },
        protocol: Protocol::Http1,
        streams: 1,
        sample: 0,
        control: 0.0,
        windows: Vec::new(),
    };
    let plan = Plan {
        scripts: vec![Script::fixed("get", REQUEST, 200)],
        uses: vec![TokenUse::Access],
        weights: vec![1.0],
        target: None,
        tls_options: &TlsOptions::default(),
        tls: None,
        addr: server.addr(),
        expired: 0.0,
        tampered: 0.0,
        revoked: 0.0,
        lead: Nanos(0),
        reuse: Reuse::Uniform,
        flow: Vec::new(),
    };
    run(setup, plan, &mut Population::empty(), "known server", control)
}

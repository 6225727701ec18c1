//! How is a workload driven, whole? Threads, progress, and the record at the end.

use std::num::NonZeroU64;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use super::books::Books;
use super::certificate::overshoot;
use super::controls::{self, Controlled, Controls};
use super::flow::Step;
use super::house;
use super::ledger::Ledger;
use super::machine::{Machine, raise_descriptor_limit, watch_machine};
use super::plan::{StopRule, Stripe};
use super::population::Population;
use super::recorder::IntervalSamples;
use super::sampled::{self, Expected, Verified};
use super::script::{Role, Script};
use super::session::{Session, Sessions};
use super::setup::Setup;
use super::shared::{Chore, Done, Failed, Lines, Live, Shared};
use super::streams;
use super::timeline::cut_seconds;
use super::worker::Worker;
use super::{LoadError, ProgressSink};
use crate::record::{HousekeepingRecord, LoadRecord, Redactor};
use crate::scenario::{Idle, Protocol, Threshold, Walked, Workload};
use crate::target::{Target, TokenUse};
use crate::units::Nanos;
use crate::wire::{Scheme, TlsOptions};

/// One drive of a workload against a deployment.
#[derive(Clone, Copy)]
pub struct Drive<'a> {
    /// The server, as its profile says.
    pub target: &'a Target,
    /// What to drive.
    pub workload: &'a Workload,
    /// Name of the topology, for the record.
    pub topology: &'a str,
    /// How TLS is spoken where the endpoint is encrypted.
    pub tls: &'a TlsOptions,
    /// Replaces the seed of the workload.
    pub seed: Option<u64>,
    /// Replaces the stages of the workload by one hold of this length.
    pub duration: Option<Duration>,
    /// Replaces the warm-up of the workload.
    pub warmup: Option<Duration>,
    /// Replaces the arrival model by an open one of this rate per second (the process stays, Poisson if there is none).
    pub rate: Option<f64>,
    /// Replaces the arrival model by a closed one at full speed: as many users as connections, no thinking. Comes
    /// before `rate`.
    pub full_speed: bool,
    /// Replaces the share of control operations; none at zero.
    pub control: Option<f64>,
    /// Processors for the loops, one loop each; one loop that is not pinned if absent.
    pub cpus: Option<&'a [usize]>,
    /// Whether those processors are the generator's own: polling is the default then.
    pub own_cpus: bool,
    /// Who shares them, in sentences; told as doubts. Where there is none and they are not the generator's own, that
    /// alone is told.
    pub neighbours: &'a [String],
    /// Takes secrets out of the examples of failures.
    pub redactor: &'a Redactor,
    /// Is told about five times a second, on the calling thread.
    pub on_progress: ProgressSink<'a>,
    /// Ends the drive early; what was seen until then stays valid.
    pub cancel: &'a AtomicBool,
}

/// What a drive saw.
#[derive(Clone, Debug)]
pub struct Driven {
    /// For `run.json`.
    pub record: LoadRecord,
    /// For the interval log: by second, operation and series, empty ones left out.
    pub intervals: Vec<Interval>,
    /// Response time of the completed, by operation in the order of the mix, whole.
    pub responses: Vec<(String, Histogram<u64>)>,
    /// When recording began, in Unix seconds.
    pub began_unix_s: f64,
    /// It was cancelled: what is here is valid but shorter than asked.
    pub interrupted: bool,
}

/// One second of one operation and series, by when requests were planned.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Whole seconds since recording began.
    pub second: u32,
    /// Its length in seconds: one, except for the last.
    pub length_s: f64,
    /// The operation.
    pub operation: String,
    /// `completed` or `failed` (response times), `service` or `lag`.
    pub series: &'static str,
    /// HdrHistogram V2 with DEFLATE, in ns.
    pub hdr: Vec<u8>,
}

impl Interval {
    /// The times.
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        Deserializer::new().deserialize(&mut self.hdr.as_slice()).ok()
    }
}

/// Drives a workload against a deployment, with the sessions that were prepared for it. Blocks until it is done
/// or cancelled.
pub fn drive(d: &Drive<'_>, population: &mut Population) -> Result<Driven, LoadError> {
    drive_watched(d, population, &[])
}

/// The same, held to thresholds: the windows that they speak of are kept, and the load ends early once one that says so
/// (`or abort`) is missed. The record then names it.
pub fn drive_watched(
    d: &Drive<'_>,
    population: &mut Population,
    thresholds: &[Threshold],
) -> Result<Driven, LoadError> {
    let here = |t: &&Threshold| t.topology.as_deref().is_none_or(|name| name == d.topology);
    let abort: Vec<Threshold> = thresholds.iter().filter(|t| t.abort_after.is_some()).filter(here).cloned().collect();
    let mut setup = Setup::of(d)?;
    for window in thresholds.iter().filter(here).filter_map(|t| t.window) {
        if !setup.windows.contains(&window) {
            setup.windows.push(window);
        }
    }
    let scripts = d
        .workload
        .mix
        .keys()
        .map(|word| Script::new(d.target, word, &population.others))
        .collect::<Result<Vec<_>, _>>()?;
    let uses: Vec<TokenUse> = scripts.iter().map(|s| s.presents(d.target)).collect();
    for (script, uses) in scripts.iter().zip(&uses) {
        let needs = matches!(script.role, Role::Present | Role::Refresh | Role::Revoke);
        // A walk that begins with a login brings its own.
        let brings = d.workload.begins_with_login();
        if needs && !brings && !Done::presents(&population.sessions, *uses) {
            let token = if *uses == TokenUse::Refresh { "a refresh token" } else { "an access token" };
            return Err(LoadError::Usage(format!(
                "operation `{}` needs {token}, and no session has one; hint: see `returns` of `issue` in the profile, or leave it out of the mix",
                script.name
            )));
        }
    }
    let tokens = &d.workload.tokens;
    let alpn: &[u8] = if setup.protocol == Protocol::Http2 { b"h2" } else { b"http/1.1" };
    let tls = match d.target.endpoint.scheme {
        Scheme::Http => None,
        Scheme::Https => Some((d.tls.with_alpn(vec![alpn.to_vec()]).config()?, d.tls.name(&d.target.endpoint.host)?)),
    };
    let plan = Plan {
        scripts,
        uses,
        weights: d.workload.mix.values().copied().collect(),
        target: Some(d.target),
        tls_options: d.tls,
        tls,
        addr: reachable(d.target, d.tls)?,
        expired: tokens.expired.map_or(0.0, |s| s.0),
        tampered: tokens.tampered.map_or(0.0, |s| s.0),
        revoked: tokens.revoked.map_or(0.0, |s| s.0),
        lead: tokens.refresh_lead.0.into(),
        reuse: tokens.reuse,
        flow: steps(d.workload),
    };
    let control = Control { redactor: d.redactor, on_progress: d.on_progress, cancel: d.cancel, abort: &abort };
    run(setup, plan, population, d.topology, &control)
}

/// The steps of a flow, by the place of their operations in the mix.
fn steps(workload: &Workload) -> Vec<Step> {
    let mut pause = Nanos(0);
    let mut steps = Vec::new();
    for step in &workload.flow {
        match step.read() {
            Ok(Walked::Pause(span)) => pause = pause + Nanos::from(span.0),
            Ok(Walked::Operation { word, times }) => {
                if let Some(operation) = workload.mix.get_index_of(&word) {
                    steps.push(Step { operation: operation as u16, times, pause: std::mem::take(&mut pause) });
                }
            }
            Err(_) => {}
        }
    }
    steps
}

/// The first address of the endpoint that answers.
fn reachable(target: &Target, tls: &TlsOptions) -> Result<std::net::SocketAddr, LoadError> {
    let mut error = None;
    for addr in &target.endpoint.addrs {
        let alone = crate::wire::Endpoint { addrs: vec![*addr], ..target.endpoint.clone() };
        match crate::wire::Connection::open(&alone, tls, Duration::from_secs(5)) {
            Ok(_) => return Ok(*addr),
            Err(e) => error = Some(e),
        }
    }
    Err(error.map_or(LoadError::Internal("an endpoint without an address".into()), LoadError::Wire))
}

/// What is sent, and to whom.
pub(crate) struct Plan<'a> {
    pub scripts: Vec<Script>,
    pub uses: Vec<TokenUse>,
    pub weights: Vec<f64>,
    pub target: Option<&'a Target>,
    pub tls_options: &'a TlsOptions,
    pub tls: Option<(std::sync::Arc<rustls::ClientConfig>, rustls_pki_types::ServerName<'static>)>,
    pub addr: std::net::SocketAddr,
    pub expired: f64,
    pub tampered: f64,
    pub revoked: f64,
    pub lead: Nanos,
    pub reuse: crate::scenario::Reuse,
    /// The steps of a flow, by the place of their scripts; none where there is a mix.
    pub flow: Vec<Step>,
}

/// Who watches.
pub(crate) struct Control<'a> {
    pub redactor: &'a Redactor,
    pub on_progress: ProgressSink<'a>,
    pub cancel: &'a AtomicBool,
    /// Thresholds whose miss ends the load.
    pub abort: &'a [Threshold],
}

/// Drives a plan.
pub(crate) fn run(
    setup: Setup,
    plan: Plan<'_>,
    population: &mut Population,
    topology: &str,
    control: &Control<'_>,
) -> Result<Driven, LoadError> {
    let raised = raise_descriptor_limit(setup.connections)?;
    let workers = setup.cpus.len().min(setup.connections as usize);
    let total: f64 = plan.weights.iter().sum();
    let mut upper = 0.0;
    let mix = plan.weights.iter().map(|w| {
        upper += w / total;
        upper
    });
    population.drives += 1;
    // What is known of users before anything is driven is what they are held to under load.
    let logs_in = plan.scripts.iter().zip(&plan.weights).any(|(s, weight)| s.role == Role::Issue && *weight > 0.0);
    let controls =
        plan.target.filter(|_| setup.control > 0.0).map(|target| Controls::prepare(target, plan.tls_options, logs_in));
    let (subject, identity) = match &controls {
        Some(Ok(controls)) => controls.own(),
        _ => (None, None),
    };
    let expected = Expected {
        operations: plan.scripts.iter().map(|s| s.name.clone()).collect(),
        identity,
        behind_s: controls.as_ref().and_then(|c| c.as_ref().ok()).map_or(0.0, |c| c.behind_s),
    };
    let shared = Shared {
        mix: mix.collect(),
        scripts: plan.scripts,
        uses: plan.uses,
        target: plan.target,
        others: population.others.clone(),
        lifetime_s: population.lifetime_s,
        addr: plan.addr,
        tls: plan.tls,
        stop: StopRule::new(setup.warmup, setup.warmup + setup.duration, setup.timeout),
        model: setup.model.clone(),
        seed: setup.seed,
        timeout: setup.timeout,
        idle: setup.idle,
        overshoot: if setup.idle == Idle::Poll { overshoot()? } else { Nanos(0) },
        expired: plan.expired,
        tampered: plan.tampered,
        revoked: plan.revoked,
        revoked_use: population.revoked_use,
        lead: plan.lead,
        can_refresh: plan.target.is_some_and(|t| t.has("refresh")),
        streams: setup.streams,
        protocol: setup.protocol,
        sample: setup.sample,
        control: setup.control,
        subject_claim: plan.target.map_or("sub", |t| t.profile.subject_claim()).to_owned(),
        subject,
        loops: workers,
        flow: plan.flow,
        refresh_kills: plan
            .target
            .and_then(|t| t.operation("refresh").ok())
            .is_some_and(|o| o.kills_old_access != Some(false)),
        cut_seconds: cut_seconds(&setup.windows),
        start: AtomicU64::new(0),
        ready: Barrier::new(workers),
        cancel: AtomicBool::new(false),
    };
    let keys = plan.target.filter(|_| setup.sample > 0).and_then(sampled::keys_of);
    let live: Vec<Live> = (0..workers).map(|_| Live::default()).collect();
    let (full, filled) = mpsc::channel();
    let (chores, chore) = mpsc::sync_channel::<Chore>(house::WAITING);
    let (samples, sampled) = mpsc::sync_channel(sampled::WAITING);
    let looks = (setup.sample > 0 && plan.target.is_some()).then_some(samples);
    let mut empties = Vec::new();
    let mut renewals = Vec::new();
    let mut loops = Vec::new();
    // Sessions are dealt out, and belong to one loop each from here on.
    let mut dealt: Vec<Vec<Session>> = (0..workers).map(|_| Vec::new()).collect();
    for (i, session) in std::mem::take(&mut population.sessions).into_iter().enumerate() {
        dealt[i % workers].push(session);
    }
    for (index, list) in dealt.into_iter().enumerate() {
        let (empty, to_fill) = mpsc::channel();
        let (renewal, renewed) = mpsc::channel();
        let _ = empty.send(Box::new(IntervalSamples::new(shared.scripts.len())?));
        empties.push(empty);
        renewals.push(renewal);
        let sessions = Sessions::new(list, plan.reuse, setup.seed, population.drives)
            .with_spoilt(population.expired.clone(), population.revoked.clone());
        let samples = looks.clone();
        let lines = Lines { full: full.clone(), empty: to_fill, chores: chores.clone(), renewed, samples };
        let stripe = Stripe { index: index as u64, of: workers as u64 };
        let connections =
            setup.connections as usize / workers + usize::from(index < setup.connections as usize % workers);
        loops.push((&live[index], stripe, connections, sessions, lines));
    }
    drop((full, chores));
    let after = sampled::cores_are_few(workers, setup.protocol);
    let mut books = Books::new(&shared, &setup)?;
    let collected = std::thread::scope(|scope| {
        let (shared, renewals, tls_options, live) = (&shared, &renewals, plan.tls_options, live.as_slice());
        let keepers = scope.spawn(move || house::keep(shared, tls_options, chore, renewals));
        let verifier = plan.target.map(|target| {
            let keys = keys.as_ref();
            let expected = &expected;
            scope.spawn(move || sampled::verify(target, keys, expected, &sampled, after))
        });
        let (controls, no_controls) = match controls {
            Some(Ok(controls)) => (Some(controls), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let patrol = controls.map(|controls| scope.spawn(move || controls::patrol(controls, shared, live, looks)));
        let threads: Vec<_> = loops
            .into_iter()
            .zip(&setup.cpus)
            .map(|((live, stripe, connections, sessions, lines), cpu)| {
                scope.spawn(move || {
                    on_own_thread(*cpu, || drive_share(shared, live, stripe, connections, sessions, lines))
                })
            })
            .collect();
        let machine = scope.spawn(move || watch_machine(shared));
        books.collect(&filled, &empties, live, shared, control)?;
        let mut done = Vec::new();
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(mut result)) => {
                    population.sessions.append(&mut result.sessions.list);
                    done.push(result);
                }
                Ok(Err(Failed { error, mut sessions })) => {
                    population.sessions.append(&mut sessions);
                    // The others are cancelled by the first that fails, and know nothing of why.
                    if matches!(failed, None | Some(LoadError::Cancelled)) {
                        failed = Some(error);
                    }
                }
                Err(_) => failed = Some(LoadError::Internal("a loop ended in a panic".into())),
            }
        }
        let mut housekeeping = keepers.join().unwrap_or_default();
        housekeeping.behind = done.iter().map(|d: &Done| d.tired).sum();
        match failed {
            Some(error) => Err(error),
            None => {
                let mut controlled = patrol.map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
                controlled.left_out.extend(no_controls.map(|why| format!("all of them: {why}")));
                let verified = verifier.map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
                let (before, after) = machine.join().unwrap_or_else(|_| (Machine::now(), Machine::now()));
                Ok((
                    before,
                    after,
                    done,
                    Seen { verified, controlled, housekeeping, notes: raised.into_iter().collect() },
                ))
            }
        }
    });
    let (before, after, mut done, seen) = collected?;
    Ok(books.close(&setup, &shared, topology, control, &before, &after, &mut done, seen))
}

/// What was seen beside the loops.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub verified: Verified,
    pub controlled: Controlled,
    pub housekeeping: HousekeepingRecord,
    /// What was done to this machine for the load.
    pub notes: Vec<String>,
}

/// One loop, whatever is spoken.
fn drive_share(
    shared: &Shared<'_>,
    live: &Live,
    stripe: Stripe,
    connections: usize,
    sessions: Sessions,
    lines: Lines,
) -> Result<Done, Failed> {
    let made = Ledger::new(shared, live, stripe, sessions, lines).and_then(|ledger| match shared.protocol {
        Protocol::Http1 => Worker::new(ledger, connections).map(Share::Worker),
        Protocol::Http2 => Ok(Share::Streams(Box::new(ledger))),
    });
    match made {
        Ok(Share::Worker(worker)) => worker.run(),
        Ok(Share::Streams(ledger)) => streams::run(*ledger, connections),
        Err(error) => {
            // The others wait for this loop, and have nothing to drive without it.
            shared.cancel.store(true, Ordering::Relaxed);
            shared.ready.wait();
            shared.ready.wait();
            Err(Failed { error, sessions: Vec::new() })
        }
    }
}

/// A loop that is ready to be run.
#[expect(clippy::large_enum_variant, reason = "there is one per core")]
enum Share<'a> {
    Worker(Worker<'a>),
    Streams(Box<Ledger<'a>>),
}

/// Runs a loop with a fine timer and, where one is given, on its processor.
pub(crate) fn on_own_thread<T>(cpu: Option<usize>, work: impl FnOnce() -> T) -> T {
    // Failing to be exact is seen in the lag; it is no reason to end.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    if let Some(cpu) = cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
    work()
}

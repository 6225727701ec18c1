//! How is a workload driven, whole? Threads, progress, and the record at the end.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use super::certificate::{Machine, Observed, certify, overshoot};
use super::plan::{Pacer, StopRule, Stripe};
use super::population::{Line, Population};
use super::recorder::{Failure, IntervalSamples, OperationSamples, Samples};
use super::script::{Role, Script};
use super::session::{Session, Sessions};
use super::worker::{Chore, Done, Lines, Live, Model, Renewed, Shared, Worker};
use super::{LoadError, Phase, Progress, ProgressSink};
use crate::clock;
use crate::record::{Accounting, ErrorCount, LoadRecord, OperationRecord, Redactor, SecondRecord};
use crate::scenario::{Arrival, Idle, Process, Stage, Workload};
use crate::stats;
use crate::target::{Target, TokenUse, Vars};
use crate::units::Nanos;
use crate::wire::{Scheme, TlsOptions};

/// Connections of an open load that does not say how many.
const OPEN_CONNECTIONS: u32 = 64;
/// Connections and users that one drive may have at most: two descriptors each would exhaust a common limit.
const MOST_CONNECTIONS: u32 = 60_000;
/// How often the progress is told.
const LOOK: Duration = Duration::from_millis(200);

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
    /// Processors for the loops, one loop each; one loop that is not pinned if absent.
    pub cpus: Option<&'a [usize]>,
    /// Whether those processors are the generator's own: polling is the default then.
    pub own_cpus: bool,
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
    /// For the interval log: by second, operation and outcome, empty ones left out.
    pub intervals: Vec<Interval>,
    /// Response time of the completed, by operation in the order of the mix, whole.
    pub responses: Vec<(String, Histogram<u64>)>,
    /// When recording began, in Unix seconds.
    pub began_unix_s: f64,
    /// It was cancelled: what is here is valid but shorter than asked.
    pub interrupted: bool,
}

/// One second of one operation and outcome.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Whole seconds since recording began.
    pub second: u32,
    /// Its length in seconds: one, except for the last.
    pub length_s: f64,
    /// The operation.
    pub operation: String,
    /// `completed` or `failed`.
    pub outcome: &'static str,
    /// HdrHistogram V2 with DEFLATE of response times in ns.
    pub hdr: Vec<u8>,
}

impl Interval {
    /// The response times.
    pub fn histogram(&self) -> Option<Histogram<u64>> {
        Deserializer::new().deserialize(&mut self.hdr.as_slice()).ok()
    }
}

/// Drives a workload against a deployment, with the sessions that were prepared for it. Blocks until it is done
/// or cancelled.
pub fn drive(d: &Drive<'_>, population: &mut Population) -> Result<Driven, LoadError> {
    let setup = Setup::of(d)?;
    let scripts = d
        .workload
        .mix
        .keys()
        .map(|word| Script::new(d.target, word, &population.others))
        .collect::<Result<Vec<_>, _>>()?;
    let uses: Vec<TokenUse> = scripts.iter().map(|s| s.presents(d.target)).collect();
    for (script, uses) in scripts.iter().zip(&uses) {
        let needs = matches!(script.role, Role::Present | Role::Refresh | Role::Revoke);
        if needs && !Done::presents(&population.sessions, *uses) {
            let token = if *uses == TokenUse::Refresh { "a refresh token" } else { "an access token" };
            return Err(LoadError::Usage(format!(
                "operation `{}` needs {token}, and no session has one; hint: see `returns` of `issue` in the profile, or leave it out of the mix",
                script.name
            )));
        }
    }
    let tokens = &d.workload.tokens;
    let tls = match d.target.endpoint.scheme {
        Scheme::Http => None,
        Scheme::Https => Some((
            TlsOptions { alpn: vec![b"http/1.1".to_vec()], ..d.tls.clone() }.config()?,
            d.tls.name(&d.target.endpoint.host)?,
        )),
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
        lead: tokens.refresh_lead.0.into(),
        reuse: tokens.reuse,
    };
    let control = Control { redactor: d.redactor, on_progress: d.on_progress, cancel: d.cancel };
    run(setup, plan, population, d.topology, &control)
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

/// What is driven, as far as it does not depend on the target.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub model: Model,
    /// The model in words.
    pub words: String,
    pub open: bool,
    pub full_speed: bool,
    pub warmup: Nanos,
    pub duration: Nanos,
    pub connections: u32,
    pub timeout: Nanos,
    pub seed: u64,
    pub idle: Idle,
    pub cpus: Vec<Option<usize>>,
    pub own_cpus: bool,
}

impl Setup {
    fn of(d: &Drive<'_>) -> Result<Setup, LoadError> {
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
        let idle = w.idle.unwrap_or(if d.own_cpus && d.cpus.is_some() && is_open { Idle::Poll } else { Idle::Sleep });
        Ok(Setup {
            model,
            words,
            open: is_open,
            full_speed: d.full_speed,
            warmup,
            duration: duration.into(),
            connections,
            timeout: w.timeout.0.into(),
            seed,
            idle,
            cpus,
            own_cpus: d.own_cpus,
        })
    }
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
    pub lead: Nanos,
    pub reuse: crate::scenario::Reuse,
}

/// Who watches.
pub(crate) struct Control<'a> {
    pub redactor: &'a Redactor,
    pub on_progress: ProgressSink<'a>,
    pub cancel: &'a AtomicBool,
}

/// Drives a plan.
pub(crate) fn run(
    setup: Setup,
    plan: Plan<'_>,
    population: &mut Population,
    topology: &str,
    control: &Control<'_>,
) -> Result<Driven, LoadError> {
    raise_descriptor_limit(setup.connections);
    let workers = setup.cpus.len().min(setup.connections as usize);
    let total: f64 = plan.weights.iter().sum();
    let mut upper = 0.0;
    let mix = plan.weights.iter().map(|w| {
        upper += w / total;
        upper
    });
    population.drives += 1;
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
        lead: plan.lead,
        can_refresh: plan.target.is_some_and(|t| t.has("refresh")),
        start: AtomicU64::new(0),
        ready: Barrier::new(workers),
        cancel: AtomicBool::new(false),
    };
    let live: Vec<Live> = (0..workers).map(|_| Live::default()).collect();
    let (full, filled) = mpsc::channel();
    let (chores, chore) = mpsc::sync_channel::<Chore>(256);
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
        let sessions = Sessions::new(list, population.expired.clone(), plan.reuse, setup.seed, population.drives);
        let lines = Lines { full: full.clone(), empty: to_fill, chores: chores.clone(), renewed };
        let stripe = Stripe { index: index as u64, of: workers as u64 };
        let connections =
            setup.connections as usize / workers + usize::from(index < setup.connections as usize % workers);
        loops.push((&live[index], stripe, connections, sessions, lines));
    }
    drop((full, chores));
    let mut books = Books::new(&shared, &setup)?;
    let collected = std::thread::scope(|scope| {
        let (shared, renewals, tls_options) = (&shared, &renewals, plan.tls_options);
        let housekeeper = scope.spawn(move || keep_house(shared, tls_options, &chore, renewals));
        let threads: Vec<_> = loops
            .into_iter()
            .zip(&setup.cpus)
            .map(|((live, stripe, connections, sessions, lines), cpu)| {
                scope.spawn(move || {
                    on_own_thread(*cpu, || match Worker::new(shared, live, stripe, connections, sessions, lines) {
                        Ok(worker) => worker.run(),
                        Err(error) => {
                            // The others wait for this loop, and have nothing to drive without it.
                            shared.cancel.store(true, Ordering::Relaxed);
                            shared.ready.wait();
                            shared.ready.wait();
                            Err(error)
                        }
                    })
                })
            })
            .collect();
        let before = Machine::now();
        books.collect(&filled, &empties, &live, shared, control)?;
        let after = Machine::now();
        let mut done = Vec::new();
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(result)) => done.push(result),
                Ok(Err(error)) => failed = Some(error),
                Err(_) => failed = Some(LoadError::Internal("a loop ended in a panic".into())),
            }
        }
        let _ = housekeeper.join();
        match failed {
            Some(error) => Err(error),
            None => Ok((before, after, done)),
        }
    });
    let (before, after, mut done) = collected?;
    for done in &mut done {
        population.sessions.append(&mut done.sessions.list);
    }
    Ok(books.close(&setup, &shared, topology, control, &before, &after, &done))
}

/// Raises the limit of open files as far as it goes: every connection is one.
fn raise_descriptor_limit(connections: u32) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(connections) + 512;
    if limit.current.is_some_and(|now| now < wanted) {
        let to = limit.maximum.map_or(wanted, |most| most.min(wanted.max(4096)));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(to), maximum: limit.maximum });
    }
}

/// Runs a loop with a fine timer and, where one is given, on its processor.
fn on_own_thread<T>(cpu: Option<usize>, work: impl FnOnce() -> T) -> T {
    // Failing to be exact is seen in the lag; it is no reason to end.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    if let Some(cpu) = cpu {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        let _ = rustix::thread::sched_setaffinity(None, &set);
    }
    work()
}

/// Logs in and refreshes off the timed path while loops run. Ends when no loop is left to ask.
fn keep_house(shared: &Shared<'_>, tls: &TlsOptions, chores: &Receiver<Chore>, renewals: &[Sender<Renewed>]) {
    let Some(target) = shared.target else { return };
    let mut line = Line::new(target, tls);
    while let Ok(chore) = chores.recv() {
        if shared.cancel.load(Ordering::Relaxed) {
            continue;
        }
        let asked = match &chore.refresh {
            Some(token) => line.ask("refresh", &Vars::with_token(token)),
            None => line.ask("issue", &Vars::new()),
        };
        if asked.is_err() {
            // A server that refuses logins must not be asked as fast as it can refuse.
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = renewals[chore.worker].send((chore.session, asked.ok()));
    }
}

/// The sums of all intervals.
struct Books {
    names: Vec<String>,
    sums: Vec<OperationSamples>,
    /// Intervals by second that are not written down yet: a slower loop may still add to them.
    open: BTreeMap<u32, (usize, IntervalSamples)>,
    intervals: Vec<Interval>,
    seconds: Vec<SecondRecord>,
    last_second: Option<(u64, u64)>,
    duration_s: f64,
    interrupted: bool,
}

impl Books {
    fn new(shared: &Shared<'_>, setup: &Setup) -> Result<Books, LoadError> {
        Ok(Books {
            names: shared.scripts.iter().map(|s| s.name.clone()).collect(),
            sums: shared.scripts.iter().map(|_| OperationSamples::new()).collect::<Result<_, _>>()?,
            open: BTreeMap::new(),
            intervals: Vec::new(),
            seconds: Vec::new(),
            last_second: None,
            duration_s: setup.duration.as_secs_f64(),
            interrupted: false,
        })
    }

    /// Takes intervals and tells the progress until the last loop is done.
    fn collect(
        &mut self,
        filled: &Receiver<(usize, Box<IntervalSamples>)>,
        empties: &[Sender<Box<IntervalSamples>>],
        live: &[Live],
        shared: &Shared<'_>,
        control: &Control<'_>,
    ) -> Result<(), LoadError> {
        let mut last = (clock::mono(), 0);
        loop {
            match filled.recv_timeout(LOOK) {
                Ok((worker, mut interval)) => {
                    self.add(&interval, live.len())?;
                    interval.clear();
                    let _ = empties[worker].send(interval);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if control.cancel.load(Ordering::Relaxed) {
                self.interrupted = true;
                shared.cancel.store(true, Ordering::Relaxed);
            }
            let now = clock::mono();
            if now.since(last.0) < Nanos::from(LOOK) {
                continue;
            }
            let sum = |f: fn(&Live) -> &AtomicU64| live.iter().map(|l| f(l).load(Ordering::Relaxed)).sum::<u64>();
            let (completed, failed) = (sum(|l| &l.completed), sum(|l| &l.failed));
            let start = Nanos(shared.start.load(Ordering::Acquire));
            let elapsed = if start.0 == 0 { Nanos(0) } else { now.since(start) };
            let phase = match elapsed {
                Nanos(0) => Phase::Connecting,
                t if t < shared.stop.warmup => Phase::Warmup,
                t if t < shared.stop.ends => Phase::Recording,
                _ => Phase::Draining,
            };
            (control.on_progress)(&Progress {
                phase,
                elapsed,
                total: shared.stop.ends,
                completed,
                failed,
                in_flight: sum(|l| &l.in_flight),
                rate_per_s: (completed + failed).saturating_sub(last.1) as f64 / now.since(last.0).as_secs_f64(),
                p50_ns: self.last_second.map(|(p50, _)| p50),
                p99_ns: self.last_second.map(|(_, p99)| p99),
            });
            last = (now, completed + failed);
        }
    }

    /// Adds one interval of one loop; a second that all loops have handed over is written down.
    fn add(&mut self, interval: &IntervalSamples, loops: usize) -> Result<(), LoadError> {
        for (sum, part) in self.sums.iter_mut().zip(&interval.operations) {
            sum.add(part);
        }
        if loops == 1 {
            self.write_down(interval);
            return Ok(());
        }
        let second = interval.second;
        let entry = match self.open.entry(second) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert((0, IntervalSamples { second, ..IntervalSamples::new(self.names.len())? }))
            }
        };
        entry.0 += 1;
        entry.1.add(interval);
        if entry.0 == loops
            && let Some((_, whole)) = self.open.remove(&second)
        {
            self.write_down(&whole);
        }
        Ok(())
    }

    fn write_down(&mut self, interval: &IntervalSamples) {
        let mut all: Option<Histogram<u64>> = None;
        let second = interval.second;
        for (name, op) in self.names.iter().zip(&interval.operations) {
            let length_s = (self.duration_s - f64::from(second)).clamp(0.001, 1.0);
            for (outcome, samples) in [("completed", &op.response), ("failed", &op.failed_response)] {
                let mut hdr = Vec::new();
                if !samples.histogram.is_empty()
                    && V2DeflateSerializer::new().serialize(&samples.histogram, &mut hdr).is_ok()
                {
                    self.intervals.push(Interval { second, length_s, operation: name.clone(), outcome, hdr });
                }
            }
            if op.completed + op.failed + op.timed_out == 0 {
                continue;
            }
            let at = |samples: &Samples, q: f64| {
                (!samples.histogram.is_empty()).then(|| samples.histogram.value_at_quantile(q))
            };
            self.seconds.push(SecondRecord {
                second,
                operation: name.clone(),
                completed: op.completed,
                failed: op.failed + op.timed_out,
                response_p50_ns: at(&op.response, 0.5),
                response_p99_ns: at(&op.response, 0.99),
                response_max_ns: at(&op.response, 1.0),
                service_p50_ns: at(&op.service, 0.5),
            });
            match &mut all {
                Some(all) => {
                    let _ = all.add(&op.response.histogram);
                }
                None => all = Some(op.response.histogram.clone()),
            }
        }
        if let Some(all) = all.filter(|h| !h.is_empty()) {
            self.last_second = Some((all.value_at_quantile(0.5), all.value_at_quantile(0.99)));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "everything that a record is made of")]
    fn close(
        mut self,
        setup: &Setup,
        shared: &Shared<'_>,
        topology: &str,
        control: &Control<'_>,
        before: &Machine,
        after: &Machine,
        done: &[Done],
    ) -> Driven {
        for (_, interval) in std::mem::take(&mut self.open).into_values() {
            self.write_down(&interval);
        }
        self.seconds.sort_by_key(|s| s.second);
        let start = Nanos(shared.start.load(Ordering::Acquire));
        let began = start + setup.warmup;
        let recorded_s =
            if self.interrupted { after.at().since(began).as_secs_f64().min(self.duration_s) } else { self.duration_s };
        let mut all = Accounting::default();
        let mut operations = Vec::new();
        let mut responses = Vec::new();
        let (mut lag, mut response) = (None, None);
        for (i, name) in self.names.iter().enumerate() {
            let mut accounting = Accounting::default();
            for part in done.iter().map(|d| &d.accounting[i]) {
                add(&mut accounting, part);
            }
            add(&mut all, &accounting);
            let sum = &self.sums[i];
            operations.push(operation_record(name, i as u16, accounting, sum, done, control.redactor));
            responses.push((name.clone(), sum.response.histogram.clone()));
            merge(&mut lag, &sum.lag.histogram);
            merge(&mut response, &sum.response.histogram);
        }
        let empty = Histogram::new_with_bounds(1, 2, 3).ok();
        let whole = |h: &Option<Histogram<u64>>| h.clone().or(empty.clone());
        let certificate = match (whole(&lag), whole(&response)) {
            (Some(lag), Some(response)) => certify(
                before,
                after,
                &Observed {
                    open: setup.open,
                    full_speed: setup.full_speed,
                    accounting: all,
                    sent: done.iter().map(|d| d.sent).sum(),
                    lag: &lag,
                    response: &response,
                    recorded_s,
                    busy: done.iter().map(|d| d.busy).max().unwrap_or_default(),
                    cpu: Nanos(done.iter().map(|d| d.cpu.0).sum()),
                    ours: done.iter().find_map(|d| d.ours.as_deref()),
                    shared_core: !setup.own_cpus,
                    extra_bytes: done.iter().map(|d| d.extra_bytes).sum(),
                    rounds: done.iter().map(|d| d.sessions.rounds).sum(),
                },
            ),
            _ => crate::record::CertificateRecord::default(),
        };
        let presentations: u64 = done.iter().map(|d| d.sessions.presentations).sum();
        let distinct: u64 = done.iter().map(|d| d.sessions.distinct).sum();
        let record = LoadRecord {
            topology: topology.to_owned(),
            model: setup.words.clone(),
            open: setup.open,
            duration_s: recorded_s,
            warmup_s: setup.warmup.as_secs_f64(),
            connections: setup.connections,
            workers: done.len() as u32,
            idle: if setup.idle == Idle::Poll { "poll" } else { "sleep" }.to_owned(),
            accounting: all,
            operations,
            seconds: self.seconds,
            certificate,
            distinct_token_ratio: (presentations > 0).then(|| distinct as f64 / presentations as f64),
            hlog: None,
            findings: Vec::new(),
        };
        Driven {
            record,
            intervals: self.intervals,
            responses,
            began_unix_s: clock::unix_at(began),
            interrupted: self.interrupted,
        }
    }
}

fn merge(into: &mut Option<Histogram<u64>>, part: &Histogram<u64>) {
    match into {
        // All have the same bounds, so that adding cannot fail.
        Some(sum) => drop(sum.add(part)),
        None => *into = Some(part.clone()),
    }
}

fn add(sum: &mut Accounting, part: &Accounting) {
    sum.planned += part.planned;
    sum.completed += part.completed;
    sum.failed += part.failed;
    sum.timed_out += part.timed_out;
    sum.skipped += part.skipped;
    sum.in_flight += part.in_flight;
}

fn operation_record(
    name: &str,
    index: u16,
    accounting: Accounting,
    sum: &OperationSamples,
    done: &[Done],
    redactor: &Redactor,
) -> OperationRecord {
    let example = |failure: Failure| {
        let found = done.iter().flat_map(|d| &d.examples).find(|(i, f, _)| *i == index && *f == failure);
        found.map(|(_, _, text)| redactor.text(text))
    };
    let mut errors: Vec<ErrorCount> = sum
        .failures
        .iter()
        .map(|(failure, count)| ErrorCount { kind: failure.to_string(), count: *count, example: example(*failure) })
        .collect();
    errors.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    let summary = |samples: &Samples| stats::summarise(&samples.histogram, samples.clipped);
    let mut phases = BTreeMap::new();
    for (phase, samples) in
        [("connect", &sum.connect), ("tls", &sum.tls), ("first-byte", &sum.first_byte), ("queue", &sum.queue)]
    {
        if !samples.histogram.is_empty() {
            phases.insert(phase.to_owned(), summary(samples));
        }
    }
    let mut response = summary(&sum.response);
    let unfinished = accounting.in_flight + accounting.timed_out + accounting.skipped;
    response.censored_from = stats::censored_from(&sum.response.histogram, unfinished);
    OperationRecord {
        operation: name.to_owned(),
        accounting,
        errors,
        response,
        service: summary(&sum.service),
        lag: summary(&sum.lag),
        phases,
    }
}

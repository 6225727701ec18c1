//! What runs for a topology, and how does all of it come up, go on and end?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;

use super::error::{LaunchError, nearest};
use super::links::process::{Asked, Places, asked, plan_process, ready_by, ready_within};
use super::prepare;
use super::process::{Process, Spec, Told};
use super::ready::{ReadyBy, reserve_port};
use super::sample::{Sampler, Watch};
use super::settings::Settings;
use super::table::{Kind, Plan, Row, Site, find, first_version, is_executable, topologies, version};
use super::{LaunchOptions, Start};
use crate::clock;
use crate::record::{ProcessRecord, TopologyRecord};
use crate::scenario::{Link, Topology};

/// Ports that were taken between our choice and the program's start: try others this often.
pub(super) const PORT_TRIES: u32 = 5;
/// Our own binary and the proxies are ready within milliseconds; a busy machine gets this long.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(15);
/// A program's check of its configuration.
const CHECK_WITHIN: Duration = Duration::from_secs(20);
/// Most links of a chain.
const MOST_LINKS: usize = 8;

/// A link that has been read and checked, not yet started.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) row: &'static Row,
    pub(super) settings: Settings,
    /// The program, where it is not ours.
    pub(super) program: PathBuf,
    /// For links of the user's own.
    pub(super) asked: Option<Asked>,
}

/// Reads a chain: every name known, every setting understood, every program installed.
pub(super) fn read_chain(topology: &str, what: &Topology, start: &Start) -> Result<Vec<Planned>, LaunchError> {
    let Topology::Chain(links) = what else { return Ok(Vec::new()) };
    let wrong = |problem: String| LaunchError::BadChain { topology: topology.to_owned(), problem };
    if links.is_empty() || links.len() > MOST_LINKS {
        return Err(wrong(format!("expected 1 to {MOST_LINKS} links, saw {}", links.len())));
    }
    let mut planned = Vec::with_capacity(links.len());
    for (index, link) in links.iter().enumerate() {
        let (name, given) = match link {
            Link::Name(name) => (name.clone(), BTreeMap::new()),
            Link::Settings(one) => match one.iter().next() {
                Some((name, given)) if one.len() == 1 => (name.clone(), given.clone()),
                _ => return Err(wrong(format!("expected one name per link, saw {} in link {}", one.len(), index + 1))),
            },
        };
        let one = plan_link(&name, given, start)?;
        if one.row.kind == Kind::Proxy && index == 0 {
            return Err(wrong(format!("`{name}` is a proxy and stands in front of nothing")));
        }
        if one.row.kind == Kind::Server && one.asked.is_none() && index > 0 {
            return Err(wrong(format!("`{name}` is a server and cannot stand in front of another")));
        }
        planned.push(one);
    }
    Ok(planned)
}

fn plan_link(name: &str, given: BTreeMap<String, Value>, start: &Start) -> Result<Planned, LaunchError> {
    let process = || topologies().iter().find(|row| row.name == "process");
    let profile = start.processes.get(name).or_else(|| match name {
        "process" if start.processes.len() == 1 => start.processes.values().next(),
        _ => None,
    });
    let row = match topologies().iter().find(|row| row.name == name) {
        Some(row) => row,
        None => profile.and_then(|_| process()).ok_or_else(|| {
            let rows = topologies().iter().map(|row| row.name.to_owned());
            let known: Vec<String> = rows.chain(start.processes.keys().cloned()).collect();
            LaunchError::UnknownLink { name: name.to_owned(), suggestion: nearest(name, &known), known }
        })?,
    };
    let settings = Settings::new(name, row.settings, given)?;
    let program = match row.program {
        None => PathBuf::new(),
        Some(program) => find(program.name).ok_or_else(|| LaunchError::NotInstalled {
            program: program.name.to_owned(),
            hint: program.install.to_owned(),
        })?,
    };
    let asked = match row.name {
        "process" => {
            let profile = profile.map(|profile| (&profile.start, profile.dir.as_path()));
            Some(asked(name, profile, &settings, start.scenario_dir)?)
        }
        _ => None,
    };
    Ok(Planned { name: name.to_owned(), row, settings, program, asked })
}

/// A log, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Written by a proxy, not by the server behind it.
    pub proxys: bool,
}

/// A link that runs.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) planned: Planned,
    dir: PathBuf,
    log: PathBuf,
    logs: Vec<PathBuf>,
    venv: Option<PathBuf>,
    version: String,
    process: Option<Process>,
    port: u16,
    admin: Option<String>,
    ready_ms: u64,
}

impl Live {
    /// What it prints, its configured logs, and every other `*.log` in its folder.
    fn all_logs(&self) -> Vec<PathBuf> {
        let mut all = vec![self.log.clone()];
        all.extend(self.logs.iter().cloned());
        all.extend(logs_in(&self.dir));
        all
    }
}

/// The `*.log` of a folder.
fn logs_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let all = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == "log"))
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.row.name)
    }
}

/// The running processes of a topology, with their addresses. Dropping it ends them all.
#[derive(Debug)]
pub struct Deployment {
    name: String,
    url: String,
    inner_url: String,
    admin_url: Option<String>,
    pub(super) assay: PathBuf,
    pub(super) cpus: Vec<u32>,
    /// What logs are recorded relative to: the folder above that of the logs.
    run_folder: PathBuf,
    /// The folder of this deployment.
    run_dir: PathBuf,
    pub(super) base: PathBuf,
    pub(super) links: Vec<Live>,
    sampler: Sampler,
}

impl Deployment {
    pub(super) fn up(
        options: &LaunchOptions,
        name: &str,
        topology: &Topology,
        start: &Start,
    ) -> Result<Deployment, LaunchError> {
        let planned = read_chain(name, topology, start)?;
        let logs = std::path::absolute(&options.logs)
            .map_err(LaunchError::io(format!("finding the folder {}", options.logs.display())))?;
        let mut deployment = Deployment {
            name: name.to_owned(),
            url: String::new(),
            inner_url: String::new(),
            admin_url: None,
            assay: options.assay.clone(),
            cpus: options.cpus.as_ref().map(|plan| plan.servers.clone()).unwrap_or_default(),
            run_folder: logs.parent().unwrap_or(&logs).to_owned(),
            run_dir: logs.clone(),
            base: start.scenario_dir.to_owned(),
            links: Vec::new(),
            sampler: Sampler::start(vec![Watch::default(); planned.len()]),
        };
        if let Topology::Running(running) = topology {
            deployment.url = running.url.trim_end_matches('/').to_owned();
            deployment.inner_url = deployment.url.clone();
            deployment.admin_url = running.admin_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
            return Ok(deployment);
        }
        deployment.run_dir = folder_for(&logs, name)?;
        for planned in planned {
            let live = deployment.settle(planned, start)?;
            deployment.links.push(live);
            deployment.start_link(deployment.links.len() - 1, start.cancel)?;
        }
        Ok(deployment)
    }

    /// Where the outermost link is reached: `http://127.0.0.1:40001`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where the innermost link, the server itself, is reached.
    pub fn inner_url(&self) -> &str {
        &self.inner_url
    }

    /// Where the server's admin hooks are, where it has some.
    pub fn admin_url(&self) -> Option<&str> {
        self.admin_url.as_deref()
    }

    /// The folder that `${run_dir}` stands for; the folder of the logs where nothing was started.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// The logs of all links, outermost last: what they print, and what they write themselves as `*.log` into their
    /// folders; then what an application wrote as `*.log` into `${run_dir}`.
    pub fn logs(&self) -> Vec<LogFile> {
        let of_link = |live: &Live| {
            let proxys = live.planned.row.kind == Kind::Proxy;
            live.all_logs().into_iter().map(move |path| LogFile { path, proxys })
        };
        let mut all: Vec<_> = self.links.iter().flat_map(of_link).collect();
        if !self.links.is_empty() {
            all.extend(logs_in(&self.run_dir).map(|path| LogFile { path, proxys: false }));
        }
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|log| log.path.is_file() && seen.insert(log.path.clone()));
        all
    }

    /// What is recorded of it; can be asked at any time.
    pub fn record(&self) -> TopologyRecord {
        let mut watches = self.sampler.watches();
        let processes = self.links.iter().zip(watches.iter_mut()).map(|(live, watch)| {
            watch.sample();
            ProcessRecord {
                name: live.planned.name.clone(),
                version: live.version.clone(),
                ready_ms: live.ready_ms,
                cpus: self.cpus.clone(),
                log: Some(live.log.strip_prefix(&self.run_folder).unwrap_or(&live.log).display().to_string()),
                samples: watch.samples.clone(),
            }
        });
        TopologyRecord {
            name: self.name.clone(),
            url: Some(self.url.clone()),
            left_out: None,
            stand_in: self.links.iter().any(|live| live.planned.row.stand_in),
            processes: processes.collect(),
            chain: self.links.iter().map(|live| live.planned.name.clone()).collect(),
        }
    }

    /// Ends all links, outermost first, and starts them again, on the same ports where they are still free:
    /// ask for the addresses again. Nothing happens to what we did not start.
    pub fn restart(&mut self) -> Result<(), LaunchError> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        self.end_all();
        for index in 0..self.links.len() {
            self.start_link(index, &NEVER)?;
        }
        Ok(())
    }

    /// Ends the server alone, with SIGKILL if `hard`, and starts it again on its port; proxies go on, but for
    /// the case that its port was taken meanwhile: then all are restarted.
    pub fn restart_server(&mut self, hard: bool) -> Result<(), LaunchError> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        self.kill_link(0, hard);
        let Some(before) = self.links.first().map(|live| live.port) else { return Ok(()) };
        self.start_link(0, &NEVER)?;
        if self.links.first().is_some_and(|live| live.port != before) {
            return self.restart();
        }
        Ok(())
    }

    /// Ends one link (0 is the server), with SIGKILL if `hard`; the others go on.
    pub fn kill_link(&mut self, index: usize, hard: bool) {
        if let Some(watch) = self.sampler.watches().get_mut(index) {
            watch.pause();
        }
        if let Some(mut process) = self.links.get_mut(index).and_then(|live| live.process.take()) {
            if hard {
                process.kill();
            } else {
                process.end();
            }
        }
    }

    /// A link that has ended though nobody asked it to: its name, how it ended, its last lines.
    pub fn died(&mut self) -> Option<LaunchError> {
        self.links.iter_mut().find_map(|live| {
            let process = live.process.as_mut()?;
            let status = super::process::describe(process.exited()?);
            let (name, log, tail) = (live.planned.name.clone(), live.log.clone(), process.tail());
            Some(LaunchError::Died { name, status, log, tail })
        })
    }

    /// Ends everything and waits until it has. Dropping does the same.
    pub fn down(self) {}

    fn end_all(&mut self) {
        for watch in self.sampler.watches().iter_mut() {
            watch.pause();
        }
        // All are asked at once, then waited for, outermost first.
        for live in self.links.iter_mut().rev() {
            if let Some(process) = &mut live.process {
                process.close();
            }
        }
        for live in self.links.iter_mut().rev() {
            live.process = None;
        }
    }

    /// Gives a link its folder and what it needs before any start.
    fn settle(&self, planned: Planned, start: &Start) -> Result<Live, LaunchError> {
        let dir = folder_for(&self.run_dir, &planned.name)?;
        let file = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let log = self.run_dir.join(format!("{file}.log"));
        let venv = match planned.asked.as_ref().and_then(|asked| Some((asked, asked.start.prepare.as_ref()?))) {
            None => None,
            Some((asked, prepare)) => {
                let name = &planned.name;
                prepare::venv(&self.assay, name, prepare, &asked.app_dir, &dir, start.on_progress, start.cancel)?
            }
        };
        let mut live = Live {
            version: String::new(),
            planned,
            dir,
            log,
            logs: Vec::new(),
            venv,
            process: None,
            port: 0,
            admin: None,
            ready_ms: 0,
        };
        live.version = self.version_of(&live);
        Ok(live)
    }

    fn version_of(&self, live: &Live) -> String {
        if let Some(program) = live.planned.row.program {
            return version(&live.planned.program, program.version);
        }
        let Some(asked) = &live.planned.asked else { return env!("CARGO_PKG_VERSION").to_owned() };
        let plan = plan_process(asked, &self.places(live, asked, 0, ""));
        let places = self.places(live, asked, 0, "");
        let Some((program, arguments)) = asked.start.version.split_first() else { return String::new() };
        std::process::Command::new(on_path(&places.fill(program), &plan).unwrap_or_else(|| program.into()))
            .args(arguments.iter().map(|argument| places.fill(argument)))
            .envs(&plan.env)
            .current_dir(&asked.app_dir)
            .stdin(std::process::Stdio::null())
            .output()
            .map(|output| first_version(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat())))
            .unwrap_or_default()
    }

    fn places<'a>(&'a self, live: &'a Live, asked: &'a Asked, port: u16, upstream: &'a str) -> Places<'a> {
        Places { port, upstream, run_dir: &self.run_dir, app_dir: &asked.app_dir, venv: live.venv.as_deref() }
    }

    /// Starts one link and waits until it is ready.
    fn start_link(&mut self, index: usize, cancel: &AtomicBool) -> Result<(), LaunchError> {
        let mut tries = 0;
        loop {
            // The port it had before, the first time; a fresh one when that is taken.
            let before = self.links.get(index).map_or(0, |live| live.port);
            let port = match before {
                port @ 1.. if tries == 0 => port,
                _ => reserve_port().map_err(LaunchError::io("choosing a port"))?,
            };
            tries += 1;
            match self.start_on(index, port, cancel) {
                Err(LaunchError::PortInUse { .. }) if tries < PORT_TRIES => {}
                Err(LaunchError::PortInUse { name, log, tail, .. }) => {
                    return Err(LaunchError::PortInUse { name, tries, log, tail });
                }
                other => return other,
            }
        }
    }

    fn start_on(&mut self, index: usize, port: u16, cancel: &AtomicBool) -> Result<(), LaunchError> {
        let upstream = match index {
            0 => String::new(),
            _ => format!("127.0.0.1:{}", self.links[index - 1].port),
        };
        let live = &self.links[index];
        // The server's own sign of life is asked through the proxies too.
        let chain_ready = match self.links.first().and_then(|first| first.planned.asked.as_ref()) {
            Some(asked) => ready_by(asked.start.ready.as_ref()),
            None => ReadyBy::Http { method: "GET".to_owned(), path: "/healthz".to_owned(), statuses: Vec::new() },
        };
        let (plan, within) = match &live.planned.asked {
            Some(asked) => {
                let mut plan = plan_process(asked, &self.places(live, asked, port, &upstream));
                if index > 0 && asked.start.ready.is_none() {
                    plan.ready = chain_ready;
                }
                (self.resolve(live, plan)?, ready_within(&asked.start))
            }
            None => {
                let run_dir = self.run_dir.to_string_lossy();
                let settings = live.planned.settings.with_run_dir(&run_dir);
                let site = Site {
                    assay: &self.assay,
                    program: &live.planned.program,
                    settings: &settings,
                    port,
                    upstream: &upstream,
                    dir: &live.dir,
                    base: &self.base,
                    ready: &chain_ready,
                };
                ((live.planned.row.plan)(&site)?, READY_WITHIN)
            }
        };
        self.check(live, &plan, cancel)?;
        self.prepare(live, &plan, port, &upstream, cancel)?;
        let mut process = Process::start(&self.assay, &self.spec(live, plan.command, &plan.env, plan.cwd))?;
        let told = process.wait_ready(&plan.ready, port, within, cancel)?;
        let ready_ms = clock::mono().since(process.started()).0 / 1_000_000;
        self.went_up(index, process, told, port, ready_ms, plan.logs);
        Ok(())
    }

    fn went_up(&mut self, index: usize, process: Process, told: Told, port: u16, ready_ms: u64, logs: Vec<PathBuf>) {
        if let Some(watch) = self.sampler.watches().get_mut(index) {
            watch.guard = process.pid();
            if watch.samples.is_empty() {
                watch.since = process.started();
            }
            watch.logs = logs.clone();
            watch.logs.push(self.links[index].log.clone());
            watch.sample();
        }
        let url = told.url.unwrap_or_else(|| format!("http://127.0.0.1:{port}"));
        let live = &mut self.links[index];
        live.port = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(port);
        live.admin = told.admin;
        live.ready_ms = ready_ms;
        live.logs = logs;
        live.process = Some(process);
        if index == 0 {
            self.inner_url = url.clone();
            self.admin_url = self.links[0].admin.clone();
        }
        self.url = match index + 1 == self.links.len() {
            true => url,
            // A server restarted alone leaves the outermost address as it is.
            false => std::mem::take(&mut self.url),
        };
    }

    fn spec(
        &self,
        live: &Live,
        command: Vec<OsString>,
        env: &BTreeMap<String, OsString>,
        cwd: Option<PathBuf>,
    ) -> Spec {
        Spec {
            name: live.planned.name.clone(),
            command,
            env: env.clone(),
            cwd,
            log: live.log.clone(),
            cpus: self.cpus.clone(),
        }
    }

    /// The program's own check of the configuration.
    fn check(&self, live: &Live, plan: &Plan, cancel: &AtomicBool) -> Result<(), LaunchError> {
        let Some((command, file)) = &plan.check else { return Ok(()) };
        let mut spec = self.spec(live, command.clone(), &plan.env, plan.cwd.clone());
        spec.log = live.dir.join("check.log");
        prepare::run(&self.assay, &spec, "checking the configuration", CHECK_WITHIN, cancel).map_err(|e| match e {
            LaunchError::Prepare { problem, .. } => {
                LaunchError::ConfigRefused { program: live.planned.name.clone(), file: file.clone(), output: problem }
            }
            other => other,
        })
    }

    /// The commands that come before every start.
    fn prepare(
        &self,
        live: &Live,
        plan: &Plan,
        port: u16,
        upstream: &str,
        cancel: &AtomicBool,
    ) -> Result<(), LaunchError> {
        let Some(asked) = &live.planned.asked else { return Ok(()) };
        let places = self.places(live, asked, port, upstream);
        for command in asked.start.prepare.iter().flat_map(|prepare| &prepare.commands) {
            let filled: Vec<OsString> = command.iter().map(|part| places.fill(part).into()).collect();
            let mut spec = self.spec(live, filled, &plan.env, plan.cwd.clone());
            spec.log = live.dir.join("prepare.log");
            let step = format!("`{}`", command.join(" "));
            prepare::run(&self.assay, &spec, &step, prepare::COMMAND_WITHIN, cancel)?;
        }
        Ok(())
    }

    /// Says which program is missing before anything is started.
    fn resolve(&self, live: &Live, plan: Plan) -> Result<Plan, LaunchError> {
        let program = plan.command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        match on_path(&program, &plan) {
            Some(_) => Ok(plan),
            None => Err(LaunchError::NotInstalled {
                hint: format!("`{}` is started by this command: install it, or mend the command", live.planned.name),
                program,
            }),
        }
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.end_all();
    }
}

/// Where the system would find a program with the plan's `PATH` and folder.
fn on_path(program: &str, plan: &Plan) -> Option<PathBuf> {
    if program.contains('/') {
        let path = plan.cwd.as_deref().unwrap_or(Path::new(".")).join(program);
        return is_executable(&path).then_some(path);
    }
    let path = plan.env.get("PATH").cloned().or_else(|| std::env::var_os("PATH"))?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| is_executable(path))
}

/// A new folder for this name: the name itself, or with a number behind it if that one is there.
pub(super) fn folder_for(parent: &Path, name: &str) -> Result<PathBuf, LaunchError> {
    let safe: String =
        name.chars().take(60).map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    let wrong = |path: &Path| LaunchError::io(format!("creating the folder {}", path.display()));
    std::fs::create_dir_all(parent).map_err(wrong(parent))?;
    for number in 1..10_000 {
        let path = parent.join(if number == 1 { safe.clone() } else { format!("{safe}-{number}") });
        match std::fs::create_dir(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(wrong(&path)(e)),
            Ok(()) => return Ok(path),
        }
    }
    Err(wrong(&parent.join(safe))(std::io::ErrorKind::AlreadyExists.into()))
}

//! How does one process start, become ready and end?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::error::LaunchError;
use super::guard::KILL;
use super::log::Log;
use super::ready::{ReadyBy, probe, ready_lines, says_port_in_use};
use super::tree;
use crate::clock;
use crate::units::Nanos;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the guard may take beyond the grace before it is ended itself.
const GUARD_ENDS_WITHIN: Duration = Duration::from_secs(6);
/// Between two looks at a child that is starting.
const LOOK: Duration = Duration::from_millis(5);
/// One readiness probe may take this long: a server that accepts and does not answer is not ready.
const PROBE: Duration = Duration::from_secs(5);

/// What is started.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) command: Vec<OsString>,
    pub(super) env: BTreeMap<String, OsString>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) log: PathBuf,
    pub(super) cpus: Vec<u32>,
}

/// A process with its tree, below a guard. Dropping it ends them all.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    guard: Child,
    /// The pipe whose end tells the guard to end the tree.
    pipe: Option<ChildStdin>,
    log: Log,
    started: Nanos,
    ended: Option<ExitStatus>,
}

/// What a ready process told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) url: Option<String>,
    pub(super) admin: Option<String>,
}

impl Process {
    /// Starts the guard, which starts the command.
    pub(super) fn start(assay: &Path, spec: &Spec) -> Result<Process, LaunchError> {
        let (log, file) = Log::open(&spec.log)?;
        let again = file.try_clone().map_err(LaunchError::io("duplicating the log's descriptor"))?;
        let mut command = Command::new(assay);
        command.arg("guard").arg("--grace-ms").arg(GRACE.as_millis().to_string());
        if !spec.cpus.is_empty() {
            command.arg("--cpus").arg(spec.cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
        }
        command.arg("--").args(&spec.command).envs(&spec.env);
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(file).stderr(again).process_group(0);
        let mut guard = command.spawn().map_err(LaunchError::io(format!("starting `{}`", spec.name)))?;
        let pipe = guard.stdin.take();
        Ok(Process { name: spec.name.clone(), guard, pipe, log, started: clock::mono(), ended: None })
    }

    /// Waits until it is ready on `port`, until it ends, or until `within` has passed.
    pub(super) fn wait_ready(
        &mut self,
        ready: &ReadyBy,
        port: u16,
        within: Duration,
        cancel: &AtomicBool,
    ) -> Result<Told, LaunchError> {
        let mut last = "no answer yet".to_owned();
        loop {
            if let Some(status) = self.exited() {
                let tail = self.log.tail();
                return Err(match says_port_in_use(&tail) {
                    true => self.port_in_use(1),
                    false => LaunchError::Died {
                        name: self.name.clone(),
                        status: describe(status),
                        log: self.log.path().to_owned(),
                        tail,
                    },
                });
            }
            if cancel.load(Ordering::Relaxed) {
                return Err(LaunchError::Cancelled(self.name.clone()));
            }
            let waited = clock::mono().since(self.started).duration();
            if waited >= within {
                let (log, tail) = (self.log.path().to_owned(), self.log.tail());
                return Err(LaunchError::NotReady { name: self.name.clone(), waited: within, last, log, tail });
            }
            match ready {
                ReadyBy::Line { admin } => match ready_lines(&self.log.head()) {
                    (Some(url), there) if there.is_some() || !admin => {
                        return Ok(Told { url: Some(url), admin: there });
                    }
                    (Some(_), _) => last = "it tells where it listens, not its admin address".to_owned(),
                    (None, _) => last = "no line `listening on http://...` yet".to_owned(),
                },
                ReadyBy::Http { method, path, statuses } => {
                    match probe(port, method, path, PROBE.min(within.saturating_sub(waited).max(LOOK))) {
                        Ok(seen) if statuses.contains(&seen) || (statuses.is_empty() && seen < 500) => {
                            // Somebody else may have taken the port: then our child is about to find out.
                            if tree::listens(self.pid(), port) != Some(false) {
                                return Ok(Told::default());
                            }
                            last = format!("port {port} is answered by a process that is not ours");
                        }
                        Ok(seen) => last = format!("{method} {path} answers {seen}"),
                        Err(e) => last = format!("{method} {path} on port {port}: {e}"),
                    }
                }
            }
            // Quick at first, slower when it takes long: 5 ms, up to 50 ms.
            std::thread::sleep((waited / 16).clamp(LOOK, LOOK * 10));
        }
    }

    /// The error that says that the port was taken.
    pub(super) fn port_in_use(&self, tries: u32) -> LaunchError {
        let (log, tail) = (self.log.path().to_owned(), self.log.tail());
        LaunchError::PortInUse { name: self.name.clone(), tries, log, tail }
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> String {
        self.log.tail()
    }

    /// The guard's process id.
    pub(super) fn pid(&self) -> i32 {
        i32::try_from(self.guard.id()).unwrap_or(0)
    }

    /// When it was started.
    pub(super) fn started(&self) -> Nanos {
        self.started
    }

    /// How it ended, if the whole tree has.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.guard.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Asks the tree to end; does not wait.
    pub(super) fn close(&mut self) {
        self.pipe = None;
    }

    /// Ends the tree with SIGKILL and waits until it has.
    pub(super) fn kill(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(&[KILL]);
        }
        self.close();
        self.wait(Duration::ZERO);
    }

    /// Ends the tree, SIGTERM first, and waits until it has.
    pub(super) fn end(&mut self) {
        self.close();
        self.wait(GRACE);
    }

    fn wait(&mut self, grace: Duration) {
        let asked = clock::mono();
        while self.exited().is_none() {
            if clock::mono().since(asked).duration() > grace + GUARD_ENDS_WITHIN {
                // The guard itself hangs: end what it guards, then it.
                for pid in tree::descendants(self.pid()) {
                    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
                let _ = self.guard.kill();
                self.ended = self.guard.wait().ok();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// `exit code 1`, `signal 9`.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code @ 129..=192), _) => format!("signal {}", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} to its guard"),
        (None, None) => "an unknown status".to_owned(),
    }
}

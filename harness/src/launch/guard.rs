//! How does a process tree surely end? A process of ours stands above it and ends it when the pipe from
//! our side closes: at the end of a run, on Ctrl-C, on a panic, and when we are killed with SIGKILL.
//!
//! The guard is a subreaper, so that a grandchild that daemonises becomes its child and is found. It
//! leads a process group of its own, so that Ctrl-C in a terminal reaches us alone and we decide. Its
//! name in the process table is not ours: `pkill -9 assay` ends us, and then the guard ends the tree.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::tree;
use crate::clock;

/// The byte that asks the guard to end the tree at once, without SIGTERM first.
pub const KILL: u8 = b'K';

/// After SIGKILL a process ends as soon as it leaves the kernel; longer than this and nobody can help.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// What the guard is asked to run.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Processors to which the tree is pinned; none if empty.
    pub cpus: Vec<u32>,
    /// Time between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// Program and arguments.
    pub command: Vec<std::ffi::OsString>,
}

enum Event {
    Ended(Pid, WaitStatus),
    NobodyLeft,
    Close,
    Kill,
}

/// Runs the command until it and everything below it has ended, or until standard input closes: then ends
/// them all. Returns the exit code: the command's own, 128 plus the number of the signal that ended it, or
/// 127 if it cannot be started (with the reason on standard error by the caller).
pub fn guard(asked: &Guard) -> std::io::Result<u8> {
    let _ = rustix::thread::set_name(c"tree-guard");
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    pin(&asked.cpus)?;
    let (events, inbox) = mpsc::channel();
    // SIGTERM, SIGHUP and SIGINT sent to the guard itself mean the same as a closed pipe.
    let signalled = events.clone();
    ctrlc::set_handler(move || drop(signalled.send(Event::Close))).map_err(std::io::Error::other)?;

    let Some((program, arguments)) = asked.command.split_first() else {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "expected a command, saw none"));
    };
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).process_group(0).spawn()?;
    let leader = Pid::from_child(&child);

    let closing = events.clone();
    std::thread::spawn(move || {
        let mut byte = [0_u8; 1];
        let mut pipe = std::io::stdin().lock();
        loop {
            match pipe.read(&mut byte) {
                Ok(1) if byte[0] == KILL => drop(closing.send(Event::Kill)),
                Ok(1) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break drop(closing.send(Event::Close)),
            }
        }
    });
    std::thread::spawn(move || {
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) => drop(events.send(Event::Ended(pid, status))),
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break drop(events.send(Event::NobodyLeft)),
            }
        }
    });

    let mut code = 0;
    loop {
        match inbox.recv() {
            Ok(Event::Ended(pid, status)) if pid == leader => {
                code = exit_code(status);
                // A leader that ends well and leaves others behind has daemonised; one that fails takes all along.
                if code != 0 {
                    return Ok(end(&inbox, asked.grace, leader, code));
                }
            }
            Ok(Event::Ended(..)) => {}
            Ok(Event::NobodyLeft) | Err(_) => return Ok(code),
            Ok(Event::Close) => return Ok(end(&inbox, asked.grace, leader, code)),
            Ok(Event::Kill) => return Ok(end(&inbox, Duration::ZERO, leader, code)),
        }
    }
}

/// SIGTERM to those directly below (they know how to end their own), SIGKILL to all after `grace`.
fn end(inbox: &mpsc::Receiver<Event>, grace: Duration, leader: Pid, mut code: u8) -> u8 {
    let started = clock::mono();
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let mut told = std::collections::HashSet::new();
    loop {
        let passed = clock::mono().since(started).duration();
        let kill = passed >= grace;
        let below = tree::descendants(me);
        for pid in below.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let direct = || parent(pid) == Some(me);
            if kill {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            } else if !told.contains(&pid) && direct() {
                told.insert(pid);
                let _ = rustix::process::kill_process(pid, Signal::TERM);
                // A stopped process sees SIGTERM only when it goes on.
                let _ = rustix::process::kill_process(pid, Signal::CONT);
            }
        }
        // New orphans arrive while others end: look again soon.
        match inbox.recv_timeout(Duration::from_millis(20)) {
            Ok(Event::NobodyLeft) => return code,
            Ok(Event::Ended(pid, status)) if pid == leader => code = exit_code(status),
            Ok(Event::Kill) => return end(inbox, Duration::ZERO, leader, code),
            Err(mpsc::RecvTimeoutError::Disconnected) => return code,
            Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if passed > grace + KILLED_WITHIN {
            return code;
        }
    }
}

fn parent(pid: Pid) -> Option<i32> {
    procfs::process::Process::new(pid.as_raw_nonzero().get()).and_then(|p| p.stat()).ok().map(|stat| stat.ppid)
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(u8::MAX)
}

/// Pins the calling thread, and what it spawns from now on.
fn pin(cpus: &[u32]) -> std::io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = rustix::thread::CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| (**cpu as usize) < rustix::thread::CpuSet::MAX_CPU) {
        set.set(*cpu as usize);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

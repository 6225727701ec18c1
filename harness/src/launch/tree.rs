//! Which processes descend from this one, and what do they use together?

use std::collections::{HashMap, HashSet};

use procfs::process::{FDTarget, Process};

use crate::record::ProcessSample;

/// No tree of a server has more processes than this; what is beyond is not looked at.
const MOST: usize = 4096;

/// The processes below `root`, parents before their children, `root` itself left out.
pub(super) fn descendants(root: i32) -> Vec<i32> {
    let mut found = Vec::new();
    match children(root) {
        Some(first) => {
            found.extend(first);
            let mut next = 0;
            while next < found.len() && found.len() < MOST {
                let below = children(found[next]).unwrap_or_default();
                found.extend(below);
                next += 1;
            }
        }
        // Kernels without CONFIG_PROC_CHILDREN: read every parent.
        None => {
            let mut below: HashMap<i32, Vec<i32>> = HashMap::new();
            for process in procfs::process::all_processes().into_iter().flatten().flatten() {
                if let Ok(stat) = process.stat() {
                    below.entry(stat.ppid).or_default().push(stat.pid);
                }
            }
            found.extend(below.get(&root).into_iter().flatten());
            let mut next = 0;
            while next < found.len() && found.len() < MOST {
                found.extend(below.get(&found[next]).cloned().unwrap_or_default());
                next += 1;
            }
        }
    }
    found
}

/// The children of every thread of a process; `None` where the kernel does not tell.
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        match std::fs::read_to_string(task.path().join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // The thread has ended between the two calls.
            Err(_) if !task.path().exists() => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// CPU and memory of everything below `guard`, whose own use is left out.
pub(super) fn usage(guard: i32, at_ms: u64) -> ProcessSample {
    let ticks_per_second = procfs::ticks_per_second().max(1) as f64;
    let page = procfs::page_size();
    // The guard inherits orphans and reaps them: what they used is its children's time.
    let mut ticks = reaped(guard);
    let mut sample = ProcessSample { at_ms, ..ProcessSample::default() };
    for pid in descendants(guard) {
        if let Ok(stat) = Process::new(pid).and_then(|process| process.stat()) {
            ticks += stat.utime + stat.stime + stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
            sample.rss_bytes += stat.rss * page;
            sample.processes += 1;
        }
    }
    sample.cpu_s = ticks as f64 / ticks_per_second;
    sample
}

fn reaped(pid: i32) -> u64 {
    Process::new(pid)
        .and_then(|process| process.stat())
        .map_or(0, |stat| stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64)
}

/// Whether something below `guard` listens on this port of this machine. `None` where the kernel does not
/// show it (another user's process): then nobody can tell.
pub(super) fn listens(guard: i32, port: u16) -> Option<bool> {
    let inodes: HashSet<u64> = [procfs::net::tcp(), procfs::net::tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == procfs::net::TcpState::Listen && entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    let mut hidden = false;
    for pid in descendants(guard) {
        match Process::new(pid).and_then(|process| process.fd()) {
            Ok(open) => {
                for fd in open.flatten() {
                    if matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)) {
                        return Some(true);
                    }
                }
            }
            Err(procfs::ProcError::PermissionDenied(_)) => hidden = true,
            Err(_) => {}
        }
    }
    if hidden { None } else { Some(false) }
}

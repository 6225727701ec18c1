//! What did the machine do meanwhile? The kernel's counters at one moment, and what came of them between two.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LoadError;
use super::shared::Shared;
use crate::clock;
use crate::units::Nanos;

/// The machine's counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub at: Nanos,
    /// Ticks of all processors: stolen, and all together.
    pub steal: Option<(u64, u64)>,
    /// Microseconds in which some task waited for a processor.
    pub pressure_us: Option<u64>,
    /// Microseconds in which our control group was not let run, since its quota was used up.
    pub throttled_us: Option<u64>,
    pub step_s: f64,
}

impl Machine {
    /// When it was looked at.
    pub fn at(&self) -> Nanos {
        self.at
    }

    pub fn now() -> Machine {
        Machine {
            at: clock::mono(),
            steal: read("/proc/stat").as_deref().and_then(steal),
            pressure_us: read("/proc/pressure/cpu").as_deref().and_then(pressure),
            throttled_us: throttled(),
            step_s: clock::wall_step(),
        }
    }
}

/// Ports for outgoing connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    /// In TIME_WAIT, all addresses together.
    pub time_wait: u64,
    /// How many there are for each address that is connected to.
    pub range: u64,
}

impl Ports {
    pub fn now() -> Option<Ports> {
        Some(Ports {
            time_wait: time_wait(&read("/proc/net/sockstat")?)?,
            range: range(&read("/proc/sys/net/ipv4/ip_local_port_range")?)?,
        })
    }

    /// Share of the ports that wait, 0 to 1.
    pub fn waiting(self) -> f64 {
        self.time_wait as f64 / self.range.max(1) as f64
    }
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Stolen and all ticks of the first line of `/proc/stat`.
fn steal(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find(|l| l.starts_with("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are part of user.
    Some((*ticks.get(7)?, ticks.iter().take(8).sum()))
}

/// `some ... total=` of `/proc/pressure/cpu`, in microseconds.
fn pressure(text: &str) -> Option<u64> {
    text.lines().find(|l| l.starts_with("some"))?.rsplit_once("total=")?.1.trim().parse().ok()
}

/// How long our control group has been throttled: version 2 of control groups by its path, version 1 in its usual place.
fn throttled() -> Option<u64> {
    let path = read("/proc/self/cgroup").and_then(|text| group(&text).map(str::to_owned)).unwrap_or_default();
    let places = [
        format!("/sys/fs/cgroup{path}/cpu.stat"),
        "/sys/fs/cgroup/cpu.stat".to_owned(),
        "/sys/fs/cgroup/cpu/cpu.stat".to_owned(),
    ];
    places.iter().find_map(|place| throttled_in(&read(place)?))
}

/// The path of version 2 in `/proc/self/cgroup`.
fn group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(|path| path.trim_end_matches('/'))
}

/// `throttled_usec` of version 2, or `throttled_time` (ns) of version 1, in microseconds.
fn throttled_in(text: &str) -> Option<u64> {
    let of = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.trim().parse::<u64>().ok());
    of("throttled_usec ").or_else(|| of("throttled_time ").map(|ns| ns / 1000))
}

/// Ports in TIME_WAIT, by `/proc/net/sockstat`.
fn time_wait(text: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.starts_with("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|w| *w != "tw");
    words.nth(1)?.parse().ok()
}

/// How many ports `ip_local_port_range` holds.
fn range(text: &str) -> Option<u64> {
    let ends: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    Some(ends.get(1)?.checked_sub(*ends.first()?)? + 1)
}

/// The machine's counters when recording began and when it ended: connecting, warming up and waiting for the last answers
/// are not what is recorded.
pub(super) fn watch_machine(shared: &Shared<'_>) -> (Machine, Machine) {
    let over = |until: u64| clock::mono().0 >= until || shared.cancel.load(Ordering::Relaxed);
    while shared.start.load(Ordering::Acquire) == 0 && !over(u64::MAX) {
        std::thread::sleep(WATCH);
    }
    let start = Nanos(shared.start.load(Ordering::Acquire));
    let wait = |until: Nanos| {
        while !over(until.0) {
            std::thread::sleep(until.since(clock::mono()).duration().min(WATCH));
        }
        Machine::now()
    };
    let before = wait(start + shared.stop.warmup);
    (before, wait(start + shared.stop.ends))
}

/// How often somebody looks whether a drive was cancelled.
const WATCH: Duration = Duration::from_millis(20);

/// Descriptors that we need beside the connections of a load.
const OTHER_DESCRIPTORS: u64 = 256;

/// Raises the limit of open files as far as it goes: every connection is one. Says so where it had to.
pub(super) fn raise_descriptor_limit(connections: u32) -> Result<Option<String>, LoadError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(connections) + OTHER_DESCRIPTORS;
    if limit.current.is_none_or(|now| now >= wanted) {
        return Ok(None);
    }
    // Root may go beyond the hard limit; whoever may not takes what there is.
    let raised = [limit.maximum.map_or(wanted, |most| most.max(wanted)), limit.maximum.unwrap_or(wanted)]
        .into_iter()
        .find(|to| setrlimit(Resource::Nofile, Rlimit { current: Some(*to), maximum: Some(*to) }).is_ok());
    match getrlimit(Resource::Nofile).current {
        Some(now) if now < wanted => Err(LoadError::Machine(format!(
            "{connections} connections need {wanted} open files, and the limit is {now}{}; hint: `ulimit -Hn {wanted}` as root, or fewer connections",
            if raised.is_some() { " at most" } else { "" }
        ))),
        now => Ok(Some(format!(
            "the limit of open files was raised from {} to {}",
            limit.current.unwrap_or_default(),
            now.map_or_else(|| "none at all".to_owned(), |now| now.to_string())
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_the_kernel_are_read() {
        assert_eq!(steal("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1\n"), Some((8, 36)));
        assert_eq!(pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0 total=9\n"), Some(1234));
        assert!(steal("").is_none() && pressure("x").is_none());
        assert!(Machine::now().steal.is_some());
    }

    #[test]
    fn throttling_is_read_from_both_versions_of_control_groups() {
        assert_eq!(group("12:cpu:/x\n0::/system.slice/a\n"), Some("/system.slice/a"));
        assert_eq!(group("0::/\n"), Some(""));
        assert_eq!(throttled_in("usage_usec 9\nnr_throttled 3\nthrottled_usec 4500\n"), Some(4500));
        assert_eq!(throttled_in("nr_periods 0\nnr_throttled 0\nthrottled_time 7000000\n"), Some(7000));
        assert_eq!(throttled_in("usage_usec 9\n"), None);
    }

    #[test]
    fn ports_that_wait_are_a_share_of_those_that_there_are() {
        assert_eq!(time_wait("sockets: used 9\nTCP: inuse 5 orphan 0 tw 14116 alloc 7 mem 1\n"), Some(14116));
        assert_eq!(range("32768\t60999\n"), Some(28232));
        assert_eq!(Ports { time_wait: 14116, range: 28232 }.waiting(), 0.5);
    }
}

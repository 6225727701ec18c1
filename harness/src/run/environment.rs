//! Which machine is this, as far as it matters to a number?

use std::fs;

use crate::record::Environment;

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Reads the machine from procfs and sysfs; what the kernel does not show stays empty.
pub fn environment() -> Environment {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let field = |text: &str, key: &str| {
        text.lines().find(|l| l.starts_with(key)).and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned())
    };
    let memory_kib = read("/proc/meminfo")
        .and_then(|t| field(&t, "MemTotal"))
        .and_then(|v| v.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()))
        .unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    Environment {
        kernel: format!("{} {release}", read("/proc/sys/kernel/ostype").unwrap_or_else(|| "unknown".into())),
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        cpu_model: field(&cpuinfo, "model name").unwrap_or_default(),
        memory_bytes: memory_kib * 1024,
        clocksource: read("/sys/devices/system/clocksource/clocksource0/current_clocksource").unwrap_or_default(),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }
}

//! How is one topology driven once: which processors, which part of the workload, with whose sessions?

use std::collections::BTreeMap;
use std::time::Duration;

use super::arms::Armed;
use super::ask::Ask;
use super::error::RunError;
use super::event::Event;
use crate::launch::CpuPlan;
use crate::load::{self, Drive, Driven, LoadError, Population, Progress, Searched};
use crate::record::{Accounting, LoadRecord, Redactor};
use crate::scenario::{Find, Idle, Protocol, Threshold, Workload};
use crate::wire::Scheme;

/// The generator's processors.
pub(super) struct Wheel<'a> {
    pub ask: &'a Ask<'a>,
    pub workload: &'a Workload,
    pub redactor: &'a Redactor,
    cpus: Vec<usize>,
    /// A processor for a server of ours.
    server: Option<usize>,
    /// Whether servers that we start stay off the generator's processors.
    apart: bool,
}

/// How one drive differs from the workload as written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Recorded time; the stages as written if absent.
    pub duration: Option<Duration>,
    pub warmup: Option<Duration>,
    /// Open rate per second.
    pub rate: Option<f64>,
    /// Closed, as fast as it goes.
    pub full_speed: bool,
    pub seed: Option<u64>,
    /// Replaces the share of control operations.
    pub control: Option<f64>,
}

impl<'a> Wheel<'a> {
    pub fn new(ask: &'a Ask<'a>, workload: &'a Workload, redactor: &'a Redactor, cpus: &CpuPlan) -> Wheel<'a> {
        let apart = cpus.generator != cpus.servers;
        Wheel {
            ask,
            workload,
            redactor,
            cpus: cpus.generator.iter().map(|cpu| *cpu as usize).collect(),
            server: cpus.servers.last().map(|cpu| *cpu as usize),
            apart,
        }
    }

    /// Drives the workload as written: held to thresholds that may end it, or in search of the highest rate. With an
    /// error where a search ended early and something was driven before.
    pub fn drive_held(
        &self,
        arm: &mut Armed,
        thresholds: &[Threshold],
    ) -> Result<(Driven, Option<RunError>), RunError> {
        let search = self.workload.find == Some(Find::MaxRate);
        let Searched { mut driven, ended } = self.with(arm, Turn::default(), |drive, population| {
            if search {
                load::find_max_rate(drive, population, thresholds)
            } else {
                load::drive_watched(drive, population, thresholds).map(|driven| Searched { driven, ended: None })
            }
        })?;
        // What is seen of a server that answers at once, in the same way on the same processors.
        let idle = if driven.record.idle == "poll" { Idle::Poll } else { Idle::Sleep };
        if let Ok(floor) = load::selftest::floor(self.cpus.first().copied(), self.server, idle) {
            let certificate = &mut driven.record.certificate;
            (certificate.floor_p50_ns, certificate.floor_p99_ns) = (Some(floor.p50_ns), Some(floor.p99_ns));
            let encrypted = arm.target.endpoint.scheme == Scheme::Https;
            certificate.notes.extend(floor_note(self.workload.protocol, encrypted));
        }
        Ok((driven, ended.map(RunError::load(&arm.name))))
    }

    /// Drives one turn, with sessions prepared before if there are none yet.
    pub fn drive(&self, arm: &mut Armed, turn: Turn) -> Result<Driven, RunError> {
        // What is compared must not be disturbed by what stands beside it.
        self.with(arm, Turn { control: Some(0.0), ..turn }, load::drive)
    }

    fn with<T>(
        &self,
        arm: &mut Armed,
        turn: Turn,
        act: impl FnOnce(&Drive<'_>, &mut Population) -> Result<T, LoadError>,
    ) -> Result<T, RunError> {
        let tls = arm.target.tls.clone();
        let name = arm.name.clone();
        let on_progress = |progress: &Progress| (self.ask.listen)(Event::Load { topology: &name, progress });
        if arm.population.is_none() {
            let prepared = Population::prepare(&arm.target, self.workload, &tls, &on_progress, self.ask.cancel);
            arm.population = Some(prepared.map_err(RunError::load(&name))?);
        }
        let neighbours = neighbours(arm, &self.cpus);
        let Some(population) = arm.population.as_mut() else { return Err(RunError::Interrupted) };
        let drive = Drive {
            target: &arm.target,
            workload: self.workload,
            topology: &name,
            tls: &tls,
            seed: turn.seed,
            duration: turn.duration,
            warmup: turn.warmup,
            rate: turn.rate,
            full_speed: turn.full_speed,
            control: turn.control,
            cpus: Some(&self.cpus),
            own_cpus: self.apart && arm.started,
            neighbours: &neighbours,
            redactor: self.redactor,
            on_progress: &on_progress,
            cancel: self.ask.cancel,
        };
        act(&drive, population).map_err(RunError::load(&name))
    }
}

/// An error where requests were sent and not one was answered as the profile says.
pub(super) fn answered(load: &LoadRecord) -> Result<(), RunError> {
    let Accounting { completed, failed, timed_out, .. } = load.accounting;
    if completed > 0 || failed + timed_out == 0 {
        return Ok(());
    }
    let example = load.operations.iter().flat_map(|o| &o.errors).find_map(|error| error.example.as_deref());
    let example = example.map(|text| format!(", such as {text}")).unwrap_or_default();
    let problem = format!("expected requests to be answered as the profile says, saw none: {}{example}", mishaps(load));
    Err(RunError::Unexpected { topology: load.topology.clone(), problem })
}

/// How many requests went wrong, and how: `512 of 1,200 requests failed (refused 500, closed 12)`.
pub(super) fn mishaps(load: &LoadRecord) -> String {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for error in load.operations.iter().flat_map(|operation| &operation.errors) {
        *kinds.entry(&error.kind).or_default() += error.count;
    }
    let mut kinds: Vec<(&str, u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds: Vec<String> = kinds.iter().take(4).map(|(kind, count)| format!("{kind} {count}")).collect();
    let Accounting { planned, failed, timed_out, .. } = load.accounting;
    format!("{} of {planned} requests failed or timed out ({})", failed + timed_out, kinds.join(", "))
}

/// The server of ours by which the floor is known speaks plain HTTP/1.1. What is said of it where the load speaks otherwise.
fn floor_note(protocol: Protocol, encrypted: bool) -> Option<String> {
    let spoken = match (protocol, encrypted) {
        (Protocol::Http1, false) => return None,
        (Protocol::Http1, true) => "TLS",
        (Protocol::Http2, false) => "HTTP/2",
        (Protocol::Http2, true) => "HTTP/2 over TLS",
    };
    Some(format!("the floor was measured over plain HTTP/1.1: over {spoken}, as this load was driven, it lies higher"))
}

/// Which processes share a processor: with the generator, or with one another.
fn neighbours(arm: &Armed, generator: &[usize]) -> Vec<String> {
    if !arm.started {
        return vec!["the target's processors are not known: it may have shared the generator's".to_owned()];
    }
    let pinned: Vec<(String, Vec<u32>)> =
        arm.deployment.record().processes.into_iter().map(|process| (process.name, process.cpus)).collect();
    let generator: Vec<u32> = generator.iter().map(|cpu| *cpu as u32).collect();
    sharing(&pinned, &generator)
}

/// The same of processes with the processors that each may use; none where it may use all.
fn sharing(pinned: &[(String, Vec<u32>)], generator: &[u32]) -> Vec<String> {
    let names = |list: Vec<&str>| list.join(", ");
    let on = |cpu: u32| pinned.iter().filter(move |(_, cpus)| cpus.is_empty() || cpus.contains(&cpu));
    let mut said = Vec::new();
    for cpu in generator {
        let with: Vec<&str> = on(*cpu).map(|(name, _)| name.as_str()).collect();
        if !with.is_empty() {
            said.push(format!("the generator shared processor {cpu} with {}", names(with)));
        }
    }
    let others: std::collections::BTreeSet<u32> = pinned.iter().flat_map(|(_, cpus)| cpus.iter().copied()).collect();
    for cpu in others.into_iter().filter(|cpu| !generator.contains(cpu)) {
        let with: Vec<&str> = on(cpu).map(|(name, _)| name.as_str()).collect();
        // Where each has a processor to go to, they need not meet on this one.
        let room = pinned.iter().flat_map(|(_, cpus)| cpus).collect::<std::collections::BTreeSet<_>>().len();
        if with.len() > 1 && room < pinned.len() {
            said.push(format!("{} shared processor {cpu}", names(with)));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_that_is_of_another_protocol_is_said_to_be() {
        assert_eq!(floor_note(Protocol::Http1, false), None);
        let over = |protocol, encrypted| floor_note(protocol, encrypted).unwrap();
        assert!(over(Protocol::Http2, false).contains("plain HTTP/1.1: over HTTP/2, as"));
        assert!(over(Protocol::Http2, true).contains("over HTTP/2 over TLS"));
        assert!(over(Protocol::Http1, true).contains("over TLS"));
    }

    #[test]
    fn whoever_shares_a_processor_is_named() {
        let on = |list: &[(&str, &[u32])]| -> Vec<(String, Vec<u32>)> {
            list.iter().map(|(name, cpus)| ((*name).to_owned(), cpus.to_vec())).collect()
        };
        let both = on(&[("reference-server", &[1]), ("nginx", &[1])]);
        assert_eq!(sharing(&both, &[0]), ["reference-server, nginx shared processor 1"]);
        let room = on(&[("reference-server", &[1, 2]), ("nginx", &[1, 2])]);
        assert_eq!(sharing(&room, &[0]), [""; 0]);
        let one = on(&[("reference-server", &[0, 1])]);
        assert_eq!(sharing(&one, &[0, 1]).len(), 2);
        assert_eq!(sharing(&one, &[0])[0], "the generator shared processor 0 with reference-server");
        assert_eq!(sharing(&on(&[("mine", &[])]), &[0]), ["the generator shared processor 0 with mine"]);
    }
}

//! How is one topology driven once: which processors, which part of the workload, with whose sessions?

use std::time::Duration;

use super::arms::Armed;
use super::ask::Ask;
use super::error::RunError;
use super::event::Event;
use crate::launch::CpuPlan;
use crate::load::{self, Drive, Driven, LoadError, Population, Progress};
use crate::record::Redactor;
use crate::scenario::{Find, Threshold, Workload};

/// The generator's processors.
pub(super) struct Wheel<'a> {
    pub ask: &'a Ask<'a>,
    pub workload: &'a Workload,
    pub redactor: &'a Redactor,
    cpus: Vec<usize>,
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
        Wheel { ask, workload, redactor, cpus: cpus.generator.iter().map(|cpu| *cpu as usize).collect(), apart }
    }

    /// Drives the workload as written: held to thresholds that may end it, or in search of the highest rate.
    pub fn drive_held(&self, arm: &mut Armed, thresholds: &[Threshold]) -> Result<Driven, RunError> {
        let search = self.workload.find == Some(Find::MaxRate);
        self.with(arm, Turn::default(), |drive, population| {
            if search {
                load::find_max_rate(drive, population, thresholds)
            } else {
                load::drive_watched(drive, population, thresholds)
            }
        })
    }

    /// Drives one turn, with sessions prepared before if there are none yet.
    pub fn drive(&self, arm: &mut Armed, turn: Turn) -> Result<Driven, RunError> {
        // What is compared must not be disturbed by what stands beside it.
        self.with(arm, Turn { control: Some(0.0), ..turn }, load::drive)
    }

    fn with(
        &self,
        arm: &mut Armed,
        turn: Turn,
        act: impl FnOnce(&Drive<'_>, &mut Population) -> Result<Driven, LoadError>,
    ) -> Result<Driven, RunError> {
        let tls = arm.target.tls.clone();
        let name = arm.name.clone();
        let on_progress = |progress: &Progress| (self.ask.listen)(Event::Load { topology: &name, progress });
        if arm.population.is_none() {
            let prepared = Population::prepare(&arm.target, self.workload, &tls, &on_progress, self.ask.cancel);
            arm.population = Some(prepared.map_err(RunError::load(&name))?);
        }
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
            redactor: self.redactor,
            on_progress: &on_progress,
            cancel: self.ask.cancel,
        };
        act(&drive, population).map_err(RunError::load(&name))
    }
}

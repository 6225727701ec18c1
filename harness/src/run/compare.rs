//! How are topologies compared? Interleaved rounds, one block per arm, at a rate that the slower arm bears.

use std::time::Duration;

use super::arms::{Arms, stopped};
use super::drive::{Turn, Wheel, answered};
use super::error::RunError;
use super::event::Event;
use super::rounds::{Driving, Field, Meant, Speed, conclude, drive_rounds};
use super::schedule::{Design, design};
use crate::load::Driven;
use crate::record::{ComparisonRecord, Warning};
use crate::scenario::{Arrival, Compare};
use crate::stats::Block;

/// Recorded time of the search for the knee, per arm.
const KNEE: Duration = Duration::from_millis(400);
/// A server that takes longer to start is not restarted between rounds.
const RESTART_AT_MOST_MS: u64 = 2_000;

/// Compares every topology that is up with the baseline. Where that ends early, `records` gets what the rounds before say.
pub(super) fn compare(
    wheel: &Wheel<'_>,
    arms: &mut Arms,
    asked: &Compare,
    seed: u64,
    warnings: &mut Vec<Warning>,
    records: &mut Vec<ComparisonRecord>,
) -> Result<(), RunError> {
    let mut warn = |warning: Warning| {
        (wheel.ask.listen)(Event::Warning(&warning));
        warnings.push(warning);
    };
    let Some(baseline) = arms.find(&asked.baseline) else {
        warn(Warning::new(
            "not-compared",
            format!("the baseline `{}` was left out, so nothing is compared", asked.baseline),
        ));
        return Ok(());
    };
    if arms.list.len() < 2 {
        warn(Warning::new("not-compared", "only one topology is up, so nothing is compared"));
        return Ok(());
    }
    // The baseline first; the others in the order of the scenario.
    let order: Vec<usize> =
        std::iter::once(baseline).chain((0..arms.list.len()).filter(|place| *place != baseline)).collect();
    let plan = design(asked.effort);
    let mut yard = Yard { wheel, arms, order: &order, plan: &plan, rate: 0.0 };
    let knee = yard.knee()?;
    let most = plan.knee_share * knee.per_s;
    let rate = match &wheel.workload.arrival {
        Arrival::Open(open) if open.rate.0 > most => {
            let ends = if knee.limited.is_none() { "ends at" } else { "was seen to give no more than" };
            let text = format!(
                "compared at {most:.0}/s instead of {:.0}/s: the slowest topology {ends} {:.0}/s",
                open.rate.0, knee.per_s
            );
            warn(Warning::new("rate-lowered", text).hint("above 60 % of the knee a comparison measures queues"));
            most
        }
        Arrival::Open(open) => open.rate.0,
        Arrival::Closed(_) => most,
    };
    yard.rate = rate;
    let seen = drive_rounds(&mut yard, order.len(), &plan, seed);
    let ended = seen.ended.as_ref().map(|error| wheel.redactor.text(&error.to_string()));
    let meant = Meant { asked, plan: &plan, rate, knee, seed };
    for (place, index) in order.iter().enumerate().skip(1) {
        let candidate = arms.list[*index].name.clone();
        records.push(conclude(&seen.rounds, place, candidate, &meant, ended.as_deref())?);
    }
    seen.ended.map_or(Ok(()), Err)
}

/// The topologies that are up, by their place in the comparison.
struct Yard<'y, 'a> {
    wheel: &'y Wheel<'a>,
    arms: &'y mut Arms,
    order: &'y [usize],
    plan: &'y Design,
    /// Arrivals per second of the blocks.
    rate: f64,
}

impl Yard<'_, '_> {
    /// What the slowest arm gives at full speed, in arrivals per second.
    fn knee(&mut self) -> Result<Speed, RunError> {
        let mut slowest = Speed { per_s: f64::INFINITY, limited: None };
        for place in 0..self.order.len() {
            let driven = self.drive(place, Turn { duration: Some(KNEE), ..full_speed(self.plan) })?;
            // Rounds of refusals would only take their time: there is nothing to compare.
            answered(&driven.record)?;
            let seen = speed(&driven);
            let per_s = seen.per_s / self.wheel.workload.requests_per_arrival();
            if per_s < slowest.per_s {
                slowest = Speed { per_s, ..seen };
            }
        }
        Ok(slowest)
    }

    /// One block, whole.
    fn drive(&mut self, place: usize, turn: Turn) -> Result<Driven, RunError> {
        stopped(self.wheel.ask.cancel)?;
        let driven = self.wheel.drive(&mut self.arms.list[self.order[place]], turn)?;
        if driven.interrupted { Err(RunError::Interrupted) } else { Ok(driven) }
    }
}

impl Field for Yard<'_, '_> {
    fn begin(&mut self, number: u32, of: u32, seconds: f64) {
        (self.wheel.ask.listen)(Event::Round { number, of, seconds });
    }

    fn restart(&mut self) -> Result<(), RunError> {
        for arm in &mut self.arms.list {
            let quick = arm.deployment.record().processes.iter().all(|p| p.ready_ms <= RESTART_AT_MOST_MS);
            if arm.started && quick {
                arm.restart(self.wheel.ask)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, place: usize, seed: u64) -> Result<Driving, RunError> {
        // All arms of a round are sent the same plan.
        let turn = Turn {
            duration: Some(Duration::from_secs_f64(self.plan.block_s)),
            warmup: Some(Duration::from_secs_f64(self.plan.guard_s)),
            rate: Some(self.rate),
            seed: Some(seed),
            full_speed: false,
            control: None,
        };
        Ok(driving(self.drive(place, turn)?))
    }

    fn full_speed(&mut self, place: usize, seed: u64) -> Result<Speed, RunError> {
        Ok(speed(&self.drive(place, Turn { seed: Some(seed), ..full_speed(self.plan) })?))
    }

    fn stands(&mut self) -> Result<(), RunError> {
        // A Ctrl-C may end our servers too, which is not their doing.
        stopped(self.wheel.ask.cancel)?;
        self.arms.died()
    }
}

fn full_speed(plan: &Design) -> Turn {
    Turn {
        duration: Some(Duration::from_secs_f64(plan.full_speed_s)),
        warmup: Some(Duration::from_secs_f64(plan.guard_s / 2.0)),
        full_speed: true,
        ..Turn::default()
    }
}

/// What a block at full speed says, if it says anything of the target.
fn speed(driven: &Driven) -> Speed {
    let (record, certificate) = (&driven.record, &driven.record.certificate);
    let ours = certificate.bottleneck.as_deref() == Some("generator");
    let ours = ours.then(|| "the generator was the bottleneck".to_owned());
    Speed {
        per_s: record.accounting.completed as f64 / record.duration_s.max(1e-9),
        limited: ours.or_else(|| certificate.void.first().map(|why| format!("the load was void: {why}"))),
    }
}

fn driving(driven: Driven) -> Driving {
    let accounting = driven.record.accounting;
    Driving {
        void: driven.record.certificate.void.first().cloned(),
        block: Block {
            responses: driven.responses.into_iter().collect(),
            failed: accounting.failed + accounting.timed_out,
            lag_p50_ns: driven.record.certificate.lag_p50_ns,
        },
    }
}

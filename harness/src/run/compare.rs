//! How are topologies compared? Interleaved rounds, one block per arm, at a rate that the slower arm bears.

use std::collections::BTreeMap;
use std::time::Duration;

use super::arms::{Armed, Arms, stopped};
use super::drive::{Turn, Wheel};
use super::error::RunError;
use super::event::Event;
use super::schedule::{Arm, Design, design, rounds};
use crate::load::Driven;
use crate::record::{ComparisonRecord, Warning};
use crate::scenario::{Arrival, Compare, Effort};
use crate::stats::{self, Block, Pair};

/// Rounds that are driven once more because a block was void, as a share of the planned ones.
const MOST_REPEATED: f64 = 0.34;
/// Recorded time of the search for the knee, per arm.
const KNEE: Duration = Duration::from_millis(400);
/// A server that takes longer to start is not restarted between rounds.
const RESTART_AT_MOST_MS: u64 = 2_000;
/// Blocks of the baseline beside itself that a control needs.
const FEWEST_CONTROLS: usize = 4;
/// Quantiles that gate where the scenario asks for it: fixed before the first block.
const GATES: [f64; 2] = [0.5, 0.99];

/// One block of one arm.
struct Driving {
    block: Block,
    void: Option<String>,
}

/// What one round saw.
#[derive(Default)]
struct Round {
    blocks: BTreeMap<usize, Driving>,
    control: Option<Driving>,
    /// Full-speed requests per second.
    speed: BTreeMap<usize, f64>,
}

/// Compares every topology that is up with the baseline.
pub(super) fn compare(
    wheel: &Wheel<'_>,
    arms: &mut Arms,
    asked: &Compare,
    seed: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<ComparisonRecord>, RunError> {
    let mut warn = |warning: Warning| {
        (wheel.ask.listen)(Event::Warning(&warning));
        warnings.push(warning);
    };
    let Some(baseline) = arms.find(&asked.baseline) else {
        warn(Warning::new(
            "not-compared",
            format!("the baseline `{}` was left out, so nothing is compared", asked.baseline),
        ));
        return Ok(Vec::new());
    };
    if arms.list.len() < 2 {
        warn(Warning::new("not-compared", "only one topology is up, so nothing is compared"));
        return Ok(Vec::new());
    }
    // The baseline first; the others in the order of the scenario.
    let order: Vec<usize> =
        std::iter::once(baseline).chain((0..arms.list.len()).filter(|place| *place != baseline)).collect();
    let plan = design(asked.effort);
    let knee = knee(wheel, arms, &order, &plan)?;
    let most = plan.knee_share * knee;
    let rate = match &wheel.workload.arrival {
        Arrival::Open(open) if open.rate.0 > most => {
            warn(
                Warning::new(
                    "rate-lowered",
                    format!(
                        "compared at {most:.0}/s instead of {:.0}/s: the slowest topology ends at {knee:.0}/s",
                        open.rate.0
                    ),
                )
                .hint("above 60 % of the knee a comparison measures queues"),
            );
            most
        }
        Arrival::Open(open) => open.rate.0,
        Arrival::Closed(_) => most,
    };
    let seen = drive_rounds(wheel, arms, &order, &plan, rate, seed)?;
    order
        .iter()
        .enumerate()
        .skip(1)
        .map(|(place, index)| {
            let candidate = arms.list[*index].name.clone();
            let names = (asked.baseline.clone(), candidate);
            Ok(conclude(&seen, place, names, asked, &plan, (rate, knee), seed)?)
        })
        .collect()
}

/// What the slowest arm gives at full speed, in arrivals per second.
fn knee(wheel: &Wheel<'_>, arms: &mut Arms, order: &[usize], plan: &Design) -> Result<f64, RunError> {
    let mut slowest = f64::INFINITY;
    for index in order {
        let turn = Turn { duration: Some(KNEE), ..full_speed(plan) };
        let driven = wheel.drive(&mut arms.list[*index], turn)?;
        slowest = slowest.min(speed(&driven) / wheel.workload.requests_per_arrival());
    }
    Ok(slowest)
}

fn full_speed(plan: &Design) -> Turn {
    Turn {
        duration: Some(Duration::from_secs_f64(plan.full_speed_s)),
        warmup: Some(Duration::from_secs_f64(plan.guard_s / 2.0)),
        full_speed: true,
        ..Turn::default()
    }
}

fn speed(driven: &Driven) -> f64 {
    driven.record.accounting.completed as f64 / driven.record.duration_s.max(1e-9)
}

fn drive_rounds(
    wheel: &Wheel<'_>,
    arms: &mut Arms,
    order: &[usize],
    plan: &Design,
    rate: f64,
    seed: u64,
) -> Result<Vec<Round>, RunError> {
    let mut todo = rounds(order.len(), false, plan, seed);
    // Rounds to repeat are drawn before the first block too, so that nothing seen decides their order.
    let extra = (f64::from(plan.rounds) * MOST_REPEATED).floor() as usize;
    let spare = rounds(order.len(), false, plan, seed ^ 1).into_iter().take(extra);
    let wanted = todo.len();
    todo.extend(spare);
    let mut seen: Vec<Round> = Vec::new();
    let mut good = 0;
    for (number, blocks) in todo.into_iter().enumerate() {
        if good == wanted {
            break;
        }
        let blocks_s = (plan.block_s + plan.guard_s) * blocks.len() as f64;
        let seconds = blocks_s + (plan.full_speed_s + plan.guard_s / 2.0) * order.len() as f64;
        let of = wanted.max(number + 1) as u32;
        (wheel.ask.listen)(Event::Round { number: number as u32 + 1, of, seconds });
        if plan.restart_every > 0 && number > 0 && (number as u32).is_multiple_of(plan.restart_every) {
            restart(wheel, arms)?;
        }
        let round_seed = seed.wrapping_add(number as u64);
        let round = drive_round(wheel, arms, order, plan, rate, &blocks, round_seed)?;
        let whole = round.blocks.values().chain(&round.control).all(|driving| driving.void.is_none());
        good += usize::from(whole);
        seen.push(round);
        arms.died()?;
    }
    Ok(seen)
}

fn restart(wheel: &Wheel<'_>, arms: &mut Arms) -> Result<(), RunError> {
    for arm in &mut arms.list {
        let quick = arm.deployment.record().processes.iter().all(|p| p.ready_ms <= RESTART_AT_MOST_MS);
        if arm.started && quick {
            arm.restart(wheel.ask)?;
        }
    }
    Ok(())
}

fn drive_round(
    wheel: &Wheel<'_>,
    arms: &mut Arms,
    order: &[usize],
    plan: &Design,
    rate: f64,
    blocks: &[Arm],
    seed: u64,
) -> Result<Round, RunError> {
    let mut round = Round::default();
    // All arms of a round are sent the same plan.
    let turn = Turn {
        duration: Some(Duration::from_secs_f64(plan.block_s)),
        warmup: Some(Duration::from_secs_f64(plan.guard_s)),
        rate: Some(rate),
        seed: Some(seed),
        full_speed: false,
        control: None,
    };
    let drive = |arm: &mut Armed| -> Result<Driving, RunError> {
        let driven = wheel.drive(arm, turn)?;
        if driven.interrupted {
            return Err(RunError::Interrupted);
        }
        Ok(driving(driven))
    };
    for arm in blocks {
        stopped(wheel.ask.cancel)?;
        match arm {
            Arm::Topology(place) => {
                let seen = drive(&mut arms.list[order[*place]])?;
                round.blocks.insert(*place, seen);
            }
            Arm::Control | Arm::Delayed => round.control = Some(drive(&mut arms.list[order[0]])?),
        }
    }
    let places = blocks.iter().filter_map(|arm| match arm {
        Arm::Topology(place) => Some(*place),
        Arm::Control | Arm::Delayed => None,
    });
    for place in places {
        stopped(wheel.ask.cancel)?;
        let driven = wheel.drive(&mut arms.list[order[place]], Turn { seed: Some(seed), ..full_speed(plan) })?;
        if driven.interrupted {
            return Err(RunError::Interrupted);
        }
        round.speed.insert(place, speed(&driven));
    }
    Ok(round)
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

fn conclude(
    seen: &[Round],
    place: usize,
    (baseline, candidate): (String, String),
    asked: &Compare,
    plan: &Design,
    (rate, knee): (f64, f64),
    seed: u64,
) -> Result<ComparisonRecord, stats::HistogramError> {
    let mut pairs = Vec::new();
    let mut dropped = Vec::new();
    let mut control = Vec::new();
    for (number, round) in seen.iter().enumerate() {
        let (Some(base), Some(other)) = (round.blocks.get(&0), round.blocks.get(&place)) else { continue };
        match base.void.as_ref().or(other.void.as_ref()) {
            Some(why) => dropped.push(format!("pair {}: {why}", number + 1)),
            None => pairs.push(Pair { baseline: base.block.clone(), candidate: other.block.clone() }),
        }
        if let Some(again) = &round.control
            && base.void.is_none()
            && again.void.is_none()
        {
            control.extend(median_difference(&base.block, &again.block));
        }
    }
    // No more pairs than were planned: a repeated round replaces what it repeats.
    pairs.truncate(plan.rounds as usize);
    let baseline_ns = control.first().map_or(0.0, |(base, _)| *base);
    let differences: Vec<f64> = control.iter().map(|(_, difference)| *difference).collect();
    let controls = match differences.len() {
        0..FEWEST_CONTROLS => Vec::new(),
        _ => vec![stats::control("A/A", 0.0, &differences, stats::margin_ns(baseline_ns) / 10.0)],
    };
    let throughput: Vec<(f64, f64)> =
        seen.iter().filter_map(|round| Some((*round.speed.get(&0)?, *round.speed.get(&place)?))).collect();
    let design = stats::Design {
        baseline,
        candidate,
        effort: match asked.effort {
            Effort::Quick => "quick",
            Effort::Standard => "standard",
        }
        .to_owned(),
        block_s: plan.block_s,
        rate_per_s: rate,
        knee_per_s: Some(knee),
        gates: if asked.gate { GATES.to_vec() } else { Vec::new() },
        dropped,
        seed,
    };
    let mut record = stats::compare(&design, &pairs, &throughput, controls)?;
    if !pairs.is_empty() && record.controls.is_empty() {
        record.void.push(format!(
            "only {} blocks of the baseline beside itself stand: without the A/A control nobody knows what the machine can tell apart",
            differences.len()
        ));
    }
    Ok(record)
}

/// The baseline's median and how far its second block is from it, of the operation sent most.
fn median_difference(base: &Block, again: &Block) -> Option<(f64, f64)> {
    let (name, before) = base.responses.iter().max_by_key(|(_, histogram)| histogram.len())?;
    let (before, after) =
        (before.value_at_quantile(0.5) as f64, again.responses.get(name)?.value_at_quantile(0.5) as f64);
    Some((before, after - before))
}

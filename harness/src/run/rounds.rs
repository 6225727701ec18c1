//! In which rounds is a comparison driven, and what do as many as there were say? Apart from what drives a block.

use std::collections::BTreeMap;

use super::error::RunError;
use super::schedule::{Arm, Design, rounds};
use crate::record::ComparisonRecord;
use crate::scenario::{Compare, Effort};
use crate::stats::{self, Block, Pair};

/// Rounds that are driven once more because a block was void, as a share of the planned ones.
const MOST_REPEATED: f64 = 0.34;
/// Blocks of the baseline beside itself that a control needs.
const FEWEST_CONTROLS: usize = 4;
/// Quantiles that gate where the scenario asks for it: fixed before the first block.
const GATES: [f64; 2] = [0.5, 0.99];
/// More pairs than this share in which somebody else than the target was the limit leave no throughput to tell: the pairs
/// that remain would be those in which it was slow.
const MOST_LIMITED: f64 = 0.2;

/// One block of one arm.
pub(super) struct Driving {
    pub block: Block,
    pub void: Option<String>,
}

/// What an arm gave at full speed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Speed {
    /// Requests per second.
    pub per_s: f64,
    /// Why that is not what the target bears.
    pub limited: Option<String>,
}

/// What one round saw: all of it, or as much as there was before it ended early.
#[derive(Default)]
pub(super) struct Round {
    pub blocks: BTreeMap<usize, Driving>,
    pub control: Option<Driving>,
    pub speed: BTreeMap<usize, Speed>,
}

impl Round {
    fn all(&mut self) -> impl Iterator<Item = &mut Driving> {
        self.blocks.values_mut().chain(&mut self.control)
    }
}

/// Where blocks are driven. Arms go by their place; the baseline is 0.
pub(super) trait Field {
    /// A round begins, and takes about so long.
    fn begin(&mut self, number: u32, of: u32, seconds: f64);
    /// Starts the arms anew.
    fn restart(&mut self) -> Result<(), RunError>;
    /// One block at the rate of the comparison.
    fn block(&mut self, place: usize, seed: u64) -> Result<Driving, RunError>;
    /// One block at full speed.
    fn full_speed(&mut self, place: usize, seed: u64) -> Result<Speed, RunError>;
    /// An error where an arm is gone, or the user asked to stop.
    fn stands(&mut self) -> Result<(), RunError>;
}

/// The rounds that were driven, and why there are no more, if they ended early.
pub(super) struct Seen {
    pub rounds: Vec<Round>,
    pub ended: Option<RunError>,
}

/// Drives the rounds of a plan. What was driven before an end that was not planned is kept.
pub(super) fn drive_rounds(field: &mut impl Field, arms: usize, plan: &Design, seed: u64) -> Seen {
    let mut seen = Seen { rounds: Vec::new(), ended: None };
    let mut todo = rounds(arms, false, plan, seed);
    // Rounds to repeat are drawn before the first block too, so that nothing seen decides their order.
    let extra = (f64::from(plan.rounds) * MOST_REPEATED).floor() as usize;
    let spare = rounds(arms, false, plan, seed ^ 1).into_iter().take(extra);
    let wanted = todo.len();
    todo.extend(spare);
    let mut good = 0;
    for (number, blocks) in todo.into_iter().enumerate() {
        if good == wanted {
            break;
        }
        let blocks_s = (plan.block_s + plan.guard_s) * blocks.len() as f64;
        let seconds = blocks_s + (plan.full_speed_s + plan.guard_s / 2.0) * arms as f64;
        field.begin(number as u32 + 1, wanted.max(number + 1) as u32, seconds);
        let anew = plan.restart_every > 0 && number > 0 && (number as u32).is_multiple_of(plan.restart_every);
        if anew && let Err(error) = field.restart() {
            seen.ended = Some(error);
            break;
        }
        let mut round = Round::default();
        let ended = drive_round(field, &mut round, &blocks, seed.wrapping_add(number as u64));
        let ended = ended.and_then(|()| field.stands()).err();
        // Nobody knows since when an arm was not well: a round that one did not survive is no pair. An interruption
        // comes from outside, and takes nothing from the blocks before it.
        if ended.as_ref().is_some_and(|error| !matches!(error, RunError::Interrupted)) {
            round.all().for_each(|driving| driving.void = Some("the round ended early".to_owned()));
        }
        good += usize::from(round.all().all(|driving| driving.void.is_none()));
        seen.rounds.push(round);
        if ended.is_some() {
            seen.ended = ended;
            break;
        }
    }
    seen
}

fn drive_round(field: &mut impl Field, round: &mut Round, blocks: &[Arm], seed: u64) -> Result<(), RunError> {
    for arm in blocks {
        match arm {
            Arm::Topology(place) => _ = round.blocks.insert(*place, field.block(*place, seed)?),
            Arm::Control | Arm::Delayed => round.control = Some(field.block(0, seed)?),
        }
    }
    for arm in blocks {
        if let Arm::Topology(place) = arm {
            round.speed.insert(*place, field.full_speed(*place, seed)?);
        }
    }
    Ok(())
}

/// What was fixed before the first round.
pub(super) struct Meant<'a> {
    pub asked: &'a Compare,
    pub plan: &'a Design,
    /// Arrivals per second of the blocks.
    pub rate: f64,
    /// What the slowest arm gave at full speed, in arrivals per second.
    pub knee: Speed,
    pub seed: u64,
}

/// Judges what was driven of the baseline and of the arm at `place`. `ended` says why there is no more.
pub(super) fn conclude(
    seen: &[Round],
    place: usize,
    candidate: String,
    meant: &Meant<'_>,
    ended: Option<&str>,
) -> Result<ComparisonRecord, stats::HistogramError> {
    let (plan, asked) = (meant.plan, meant.asked);
    let mut pairs = Vec::new();
    let mut dropped = Vec::new();
    let mut control = Vec::new();
    for (number, round) in seen.iter().enumerate() {
        if let (Some(base), Some(again)) = (round.blocks.get(&0), &round.control)
            && base.void.is_none()
            && again.void.is_none()
        {
            control.extend(median_difference(&base.block, &again.block));
        }
        let (Some(base), Some(other)) = (round.blocks.get(&0), round.blocks.get(&place)) else { continue };
        match base.void.as_ref().or(other.void.as_ref()) {
            Some(why) => dropped.push(format!("pair {}: {why}", number + 1)),
            None => pairs.push(Pair { baseline: base.block.clone(), candidate: other.block.clone() }),
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
    let (throughput, limited) = throughput(seen, place);
    let design = stats::Design {
        baseline: asked.baseline.clone(),
        candidate,
        effort: match asked.effort {
            Effort::Quick => "quick",
            Effort::Standard => "standard",
        }
        .to_owned(),
        block_s: plan.block_s,
        rate_per_s: meant.rate,
        knee_per_s: meant.knee.limited.is_none().then_some(meant.knee.per_s),
        gates: if asked.gate { GATES.to_vec() } else { Vec::new() },
        dropped,
        seed: meant.seed,
    };
    let mut record = stats::compare(&design, &pairs, &throughput, controls)?;
    record.doubts.extend(limited);
    if let Some(why) = &meant.knee.limited {
        record.doubts.push(format!(
            "how much the slowest deployment bears is not known, only that it gave {:.0}/s, by which the rate was set: {why}",
            meant.knee.per_s
        ));
    }
    if !pairs.is_empty() && record.controls.is_empty() {
        record.void.push(format!(
            "only {} blocks of the baseline beside itself stand: without the A/A control nobody knows what the machine can tell apart",
            differences.len()
        ));
    }
    if let Some(why) = ended {
        let (n, of) = (pairs.len(), plan.rounds);
        // Where too little is left, the end is the reason of the others.
        match record.void.is_empty() {
            true => record.doubts.push(format!("it ended early, after {n} of {of} pairs: {why}")),
            false => record.void.insert(0, format!("it ended too early, after {n} of {of} pairs: {why}")),
        }
    }
    Ok(record)
}

/// The full-speed rates of the pairs in which the targets were what set them, and a doubt where others were left out.
fn throughput(seen: &[Round], place: usize) -> (Vec<(f64, f64)>, Option<String>) {
    let both: Vec<(&Speed, &Speed)> =
        seen.iter().filter_map(|round| Some((round.speed.get(&0)?, round.speed.get(&place)?))).collect();
    let why = |(base, other): &(&Speed, &Speed)| base.limited.clone().or_else(|| other.limited.clone());
    let limited: Vec<String> = both.iter().filter_map(why).collect();
    let rates: Vec<(f64, f64)> =
        both.iter().filter(|pair| why(pair).is_none()).map(|(base, other)| (base.per_s, other.per_s)).collect();
    let Some(first) = limited.first() else { return (rates, None) };
    let share = format!("in {} of {} pairs at full speed {first}", limited.len(), both.len());
    if limited.len() as f64 > both.len() as f64 * MOST_LIMITED {
        (Vec::new(), Some(format!("throughput is not compared: {share}")))
    } else {
        (rates, Some(format!("{share}; the throughput is that of the others")))
    }
}

/// The baseline's median and how far its second block is from it, of the operation sent most.
fn median_difference(base: &Block, again: &Block) -> Option<(f64, f64)> {
    let (name, before) = base.responses.iter().max_by_key(|(_, histogram)| histogram.len())?;
    let (before, after) =
        (before.value_at_quantile(0.5) as f64, again.responses.get(name)?.value_at_quantile(0.5) as f64);
    Some((before, after - before))
}

#[cfg(test)]
#[path = "rounds/tests.rs"]
mod tests;

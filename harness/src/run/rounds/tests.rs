use std::collections::BTreeMap;

use super::*;
use crate::record::Answer;
use crate::run::schedule::design;

/// Arms whose answers are 1 ms, and `later_ns` more for all but the baseline.
#[derive(Default)]
struct Fake {
    later_ns: u64,
    blocks: u32,
    rounds: u32,
    restarts: u32,
    /// The user stops at this block, counted from 1.
    stop_at: Option<u32>,
    /// An arm is found dead after this round.
    dead_after: Option<u32>,
    /// Blocks that are void, counted from 1.
    void: Vec<u32>,
    /// Rounds in which the generator is the bottleneck at full speed.
    ours: Vec<u32>,
}

impl Field for Fake {
    fn begin(&mut self, number: u32, _: u32, _: f64) {
        self.rounds = number;
    }
    fn restart(&mut self) -> Result<(), RunError> {
        self.restarts += 1;
        Ok(())
    }
    fn block(&mut self, place: usize, seed: u64) -> Result<Driving, RunError> {
        self.blocks += 1;
        if self.stop_at == Some(self.blocks) {
            return Err(RunError::Interrupted);
        }
        let mut histogram = hdrhistogram::Histogram::new(3).unwrap();
        for n in 0..2000 {
            // A little noise, the same in both arms of a round.
            let noise = (seed * 31 + n * 7) % 2000;
            histogram.record(1_000_000 + noise + if place == 0 { 0 } else { self.later_ns }).unwrap();
        }
        let responses = BTreeMap::from([("access".to_owned(), histogram)]);
        let void = self.void.contains(&self.blocks).then(|| "the wall clock stepped".to_owned());
        Ok(Driving { void, block: Block { responses, failed: 0, lag_p50_ns: 1_000 } })
    }
    fn full_speed(&mut self, place: usize, _: u64) -> Result<Speed, RunError> {
        let ours = self.ours.contains(&self.rounds);
        let limited = ours.then(|| "the generator was the bottleneck".to_owned());
        Ok(Speed { per_s: if place == 0 { 2000.0 } else { 1000.0 }, limited })
    }
    fn stands(&mut self) -> Result<(), RunError> {
        match self.dead_after == Some(self.rounds) {
            true => Err(RunError::Unexpected { topology: "nginx".into(), problem: "it is gone".into() }),
            false => Ok(()),
        }
    }
}

fn judged(fake: &mut Fake, effort: Effort, knee: Speed) -> (Seen, ComparisonRecord) {
    let plan = design(effort);
    let asked = Compare { baseline: "bare".into(), effort, gate: true };
    let seen = drive_rounds(fake, 2, &plan, 42);
    let ended = seen.ended.as_ref().map(ToString::to_string);
    let meant = Meant { asked: &asked, plan: &plan, rate: 600.0, knee, seed: 42 };
    let record = conclude(&seen.rounds, 1, "nginx".into(), &meant, ended.as_deref()).unwrap();
    (seen, record)
}

fn knee() -> Speed {
    Speed { per_s: 1000.0, limited: None }
}

fn median(record: &ComparisonRecord) -> &crate::record::QuantileRecord {
    record.quantiles.iter().find(|q| q.quantile == 0.5).unwrap()
}

#[track_caller]
fn says(list: &[String], text: &str) {
    assert!(list.iter().any(|line| line.contains(text)), "`{text}` is not in {list:?}");
}

#[test]
fn a_plan_that_is_driven_whole_is_judged_by_all_of_its_pairs() {
    let mut fake = Fake { later_ns: 500_000, ..Fake::default() };
    let (seen, record) = judged(&mut fake, Effort::Quick, knee());
    assert!(seen.ended.is_none() && record.void.is_empty() && record.doubts.is_empty(), "{record:?}");
    assert_eq!((record.pairs, fake.blocks, record.knee_per_s), (6, 18, Some(1000.0)));
    assert_eq!(median(&record).answer, Answer::Different);
    let throughput = record.throughput.unwrap();
    assert_eq!((throughput.pairs, throughput.ratio), (6, 0.5));
}

#[test]
fn a_void_block_has_its_round_driven_again() {
    // The first block of the second round and of the fourth.
    let mut fake = Fake { void: vec![4, 10], ..Fake::default() };
    let (seen, record) = judged(&mut fake, Effort::Quick, knee());
    assert_eq!((seen.rounds.len(), fake.rounds), (8, 8));
    assert!(seen.ended.is_none() && record.pairs >= 6, "{record:?}");
    assert_eq!(record.controls[0].name, "A/A");
}

#[test]
fn a_comparison_that_is_interrupted_keeps_the_pairs_that_it_has() {
    // Within the eleventh of twelve rounds of three blocks.
    let mut fake = Fake { later_ns: 500_000, stop_at: Some(32), ..Fake::default() };
    let (seen, record) = judged(&mut fake, Effort::Standard, knee());
    assert!(matches!(seen.ended, Some(RunError::Interrupted)));
    assert_eq!((record.pairs, fake.restarts), (10, 10));
    assert_eq!((median(&record).answer, record.void.len()), (Answer::Different, 0), "ten pairs suffice: {record:?}");
    says(&record.doubts, "it ended early, after 10 of 12 pairs: interrupted");
    assert_eq!(record.throughput.unwrap().pairs, 10);
}

#[test]
fn pairs_that_do_not_suffice_decide_nothing() {
    let mut fake = Fake { later_ns: 500_000, stop_at: Some(16), ..Fake::default() };
    let (_, record) = judged(&mut fake, Effort::Quick, knee());
    assert_eq!((record.pairs, median(&record).answer), (5, Answer::Inconclusive), "{record:?}");
    let mut fake = Fake { stop_at: Some(1), ..Fake::default() };
    let (_, record) = judged(&mut fake, Effort::Quick, knee());
    assert_eq!((record.pairs, record.void[0].as_str()), (0, "it ended too early, after 0 of 6 pairs: interrupted"));
}

#[test]
fn an_arm_that_dies_costs_its_own_round_and_no_other() {
    let mut fake = Fake { later_ns: 500_000, dead_after: Some(9), ..Fake::default() };
    let (seen, record) = judged(&mut fake, Effort::Standard, knee());
    assert!(matches!(seen.ended, Some(RunError::Unexpected { .. })));
    assert_eq!((record.pairs, record.dropped.as_slice()), (8, ["pair 9: the round ended early".to_owned()].as_slice()));
    assert_eq!((median(&record).answer, record.void.len()), (Answer::Different, 0), "{record:?}");
    says(&record.doubts, "it ended early, after 8 of 12 pairs: topology `nginx`: it is gone");
}

#[test]
fn what_the_generator_gave_at_full_speed_is_no_throughput_of_the_targets() {
    let (_, record) = judged(&mut Fake { ours: vec![1, 2], ..Fake::default() }, Effort::Quick, knee());
    assert!(record.throughput.is_none() && record.void.is_empty(), "{record:?}");
    says(&record.doubts, "throughput is not compared: in 2 of 6 pairs at full speed the generator was the bottleneck");
    let (_, record) = judged(&mut Fake { ours: vec![3], ..Fake::default() }, Effort::Quick, knee());
    assert_eq!(record.throughput.as_ref().map(|t| t.pairs), Some(5));
    says(
        &record.doubts,
        "in 1 of 6 pairs at full speed the generator was the bottleneck; the throughput is that of the",
    );
}

#[test]
fn a_knee_that_is_the_generators_is_not_said_to_be_the_targets() {
    let knee = Speed { limited: Some("the generator was the bottleneck".into()), ..knee() };
    let (_, record) = judged(&mut Fake::default(), Effort::Quick, knee);
    assert_eq!((record.knee_per_s, record.void.len()), (None, 0));
    says(&record.doubts, "only that it gave 1000/s, by which the rate was set: the generator was the bottleneck");
}

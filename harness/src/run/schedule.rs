//! In which order are the arms of a comparison driven? Pure: rounds of one block per arm, order random within a round.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_pcg::Pcg64Mcg;

use crate::scenario::Effort;

/// How much a comparison does, by effort (measurement.md of the design: at least 6 pairs, or the signed-rank test has no power at 95 %).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    /// Rounds; each gives one pair per candidate.
    pub rounds: u32,
    /// Recorded seconds of one block.
    pub block_s: f64,
    /// Driven, unrecorded seconds before each block.
    pub guard_s: f64,
    /// Recorded seconds of one full-speed block per arm and round.
    pub full_speed_s: f64,
    /// Share of the slower arm's knee that the open rate may not exceed.
    pub knee_share: f64,
    /// Rounds between restarts of servers and proxies; 0: never.
    pub restart_every: u32,
}

/// The design of an effort.
pub fn design(effort: Effort) -> Design {
    match effort {
        Effort::Quick => {
            Design { rounds: 6, block_s: 2.0, guard_s: 0.1, full_speed_s: 0.2, knee_share: 0.6, restart_every: 0 }
        }
        Effort::Standard => {
            Design { rounds: 12, block_s: 5.0, guard_s: 1.0, full_speed_s: 2.0, knee_share: 0.6, restart_every: 1 }
        }
    }
}

/// What is driven in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arm {
    /// A topology, by its place in the list of arms; 0 is the baseline.
    Topology(usize),
    /// The baseline a second time: the A/A control.
    Control,
    /// The baseline's twin with a known injected delay: the A/A+delta control.
    Delayed,
}

/// The blocks of every round in the order they are driven. `arms` counts the baseline.
pub fn rounds(arms: usize, delayed: bool, design: &Design, seed: u64) -> Vec<Vec<Arm>> {
    let mut random = Pcg64Mcg::seed_from_u64(seed ^ 0xc0_4a_5e);
    (0..design.rounds)
        .map(|_| {
            let mut blocks: Vec<Arm> = (0..arms).map(Arm::Topology).collect();
            blocks.push(Arm::Control);
            if delayed {
                blocks.push(Arm::Delayed);
            }
            blocks.shuffle(&mut random);
            blocks
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_drives_every_arm_and_the_control_once() {
        let design = design(Effort::Quick);
        for round in rounds(3, true, &design, 42) {
            assert_eq!(round.len(), 5);
            for arm in [Arm::Topology(0), Arm::Topology(1), Arm::Topology(2), Arm::Control, Arm::Delayed] {
                assert_eq!(round.iter().filter(|a| **a == arm).count(), 1, "{arm:?} in {round:?}");
            }
        }
    }

    #[test]
    fn the_order_is_random_within_rounds_and_repeats_with_the_seed() {
        let design = design(Effort::Standard);
        assert_eq!(rounds(2, false, &design, 7), rounds(2, false, &design, 7));
        assert_ne!(rounds(2, false, &design, 7), rounds(2, false, &design, 8));
        let firsts: std::collections::BTreeSet<_> =
            rounds(2, false, &design, 7).iter().map(|r| format!("{:?}", r[0])).collect();
        assert!(firsts.len() > 1, "one arm always goes first");
    }

    #[test]
    fn no_effort_has_fewer_pairs_than_the_signed_rank_test_needs() {
        for effort in [Effort::Quick, Effort::Standard] {
            assert!(design(effort).rounds >= 6);
        }
    }
}

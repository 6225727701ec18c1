//! What does a verdict mean? The one table; nothing else decides.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Level, Verdict};

/// What a verdict means at its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As required.
    Ok,
    /// A must that does not hold: exit 1.
    Violation,
    /// A should that does not hold: exit 1 only with `--fail-on should`.
    Weakness,
    /// Worth knowing.
    Note,
    /// A failure (or another outcome) that the profile expects, with a reason.
    Known,
    /// Listed as known, but it came out otherwise, as a rule since it no longer fails: exit 1 (for info checks shown only).
    StaleKnown,
    /// No finding, with a reason.
    Skip,
    /// A skip that `--require` forbids: exit 1.
    Required,
    /// No finding although it was tried: exit 3 for a must, and for what `--require` names.
    Inconclusive,
    /// Our fault: exit 4.
    HarnessError,
}

/// What a verdict means. `known`: what the profile expects of this check under `known:`, where the entry is not past its
/// date. `required`: `--require` names it.
pub fn grade(verdict: Verdict, level: Level, known: Option<Verdict>, required: bool) -> Grade {
    let skipped = matches!(verdict, Verdict::NotApplicable | Verdict::Blocked);
    match verdict {
        Verdict::HarnessError => Grade::HarnessError,
        Verdict::Pass if known.is_none_or(|expected| expected == verdict) => Grade::Ok,
        _ if known == Some(verdict) => Grade::Known,
        Verdict::Inconclusive => Grade::Inconclusive,
        Verdict::Fail => match level {
            Level::Must => Grade::Violation,
            Level::Should => Grade::Weakness,
            Level::Info => Grade::Note,
        },
        _ if skipped && required => Grade::Required,
        _ if known.is_some() => Grade::StaleKnown,
        _ => Grade::Skip,
    }
}

/// The exit codes of every command, least to most serious by [`ExitCode::rank`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// Everything asked for holds.
    Ok = 0,
    /// A violation, a missed threshold, a regression.
    Failed = 1,
    /// The command line or the scenario is wrong.
    Usage = 2,
    /// The target could not be reached or started, or an answer is inconclusive or void.
    Target = 3,
    /// A fault of Assay itself.
    Harness = 4,
    /// Interrupted by the user; partial results are saved.
    Interrupted = 130,
}

impl ExitCode {
    /// Several at once: interrupted, then 4 before 3 before 1.
    pub fn rank(self) -> u8 {
        match self {
            ExitCode::Ok => 0,
            ExitCode::Failed => 1,
            ExitCode::Usage => 2,
            ExitCode::Target => 3,
            ExitCode::Harness => 4,
            ExitCode::Interrupted => 5,
        }
    }
    /// The more serious of two.
    pub fn and(self, other: ExitCode) -> ExitCode {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl Grade {
    /// What a grade at its level asks of the exit code.
    pub(super) fn exit(self, level: Level, fail_on: Level) -> ExitCode {
        match self {
            Grade::Violation | Grade::Required => ExitCode::Failed,
            Grade::Weakness if fail_on >= Level::Should => ExitCode::Failed,
            Grade::StaleKnown if level != Level::Info => ExitCode::Failed,
            Grade::Inconclusive if level == Level::Must => ExitCode::Target,
            Grade::HarnessError => ExitCode::Harness,
            _ => ExitCode::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grade_table_is_the_contract() {
        use Grade as G;
        use Level::{Info, Must, Should};
        use Verdict as V;
        let table = [
            (V::Pass, false, [G::Ok, G::Ok, G::Ok]),
            (V::Fail, false, [G::Violation, G::Weakness, G::Note]),
            (V::Fail, true, [G::Known, G::Known, G::Known]),
            (V::Pass, true, [G::StaleKnown; 3]),
            (V::NotApplicable, true, [G::StaleKnown; 3]),
            (V::Blocked, false, [G::Skip; 3]),
            (V::NotApplicable, false, [G::Skip; 3]),
            (V::Inconclusive, false, [G::Inconclusive; 3]),
            (V::HarnessError, false, [G::HarnessError; 3]),
        ];
        for (verdict, known, grades) in table {
            for (level, expected) in [Must, Should, Info].into_iter().zip(grades) {
                let listed = known.then_some(V::Fail);
                assert_eq!(grade(verdict, level, listed, false), expected, "{verdict:?} {level:?} known={known}");
            }
        }
        assert_eq!(grade(V::Blocked, Info, None, true), G::Required);
    }

    #[test]
    fn a_known_deviation_is_held_to_the_outcome_that_it_names() {
        use Grade as G;
        use Level::Must;
        use Verdict as V;
        for (expected, seen, meaning) in [
            (V::Inconclusive, V::Inconclusive, G::Known),
            (V::Inconclusive, V::Pass, G::StaleKnown),
            (V::Inconclusive, V::Fail, G::Violation),
            (V::Blocked, V::Blocked, G::Known),
            (V::Blocked, V::NotApplicable, G::StaleKnown),
            (V::NotApplicable, V::Fail, G::Violation),
            (V::Pass, V::Pass, G::Ok),
            (V::Pass, V::Fail, G::Violation),
            (V::Pass, V::Blocked, G::StaleKnown),
            (V::Fail, V::Inconclusive, G::Inconclusive),
        ] {
            assert_eq!(grade(seen, Must, Some(expected), false), meaning, "expected {expected:?}, saw {seen:?}");
        }
        // What is required is not excused by being known.
        assert_eq!(grade(V::Blocked, Must, Some(V::Fail), true), G::Required);
    }

    #[test]
    fn exit_codes_rank_four_before_three_before_one() {
        let worst =
            [ExitCode::Failed, ExitCode::Harness, ExitCode::Target].into_iter().fold(ExitCode::Ok, ExitCode::and);
        assert_eq!(worst, ExitCode::Harness);
        assert_eq!(ExitCode::Failed.and(ExitCode::Target), ExitCode::Target);
        assert_eq!(Grade::StaleKnown.exit(Level::Info, Level::Must), ExitCode::Ok);
        assert_eq!(Grade::Weakness.exit(Level::Should, Level::Should), ExitCode::Failed);
        assert_eq!(Grade::Weakness.exit(Level::Should, Level::Must), ExitCode::Ok);
        assert_eq!(Grade::Inconclusive.exit(Level::Should, Level::Must), ExitCode::Ok);
    }
}

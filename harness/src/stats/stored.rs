//! What changed between two stored runs? Loads and findings side by side; nothing was interleaved, so nothing is decided.

use std::collections::BTreeMap;

use super::compare::{Block, Design, Pair, compare};
use super::histogram::{HistogramError, decode};
use crate::record::{CheckRecord, ComparisonRecord, LoadRecord, Run};

/// Two stored runs side by side.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StoredComparison {
    /// One for each topology that was loaded in both.
    pub loads: Vec<ComparisonRecord>,
    /// Checks whose grade or finding differs, and those that only one run has.
    pub findings: Vec<StoredFinding>,
    /// Why to be careful; never empty.
    pub warnings: Vec<String>,
}

/// A check that two runs see differently.
#[derive(Clone, Debug, serde::Serialize)]
pub struct StoredFinding {
    /// Id of the check.
    pub check: String,
    /// The topology, under its name in the second run.
    pub topology: String,
    /// As the first run has it.
    pub before: Option<CheckRecord>,
    /// As the second run has it.
    pub after: Option<CheckRecord>,
}

/// Compares two stored runs. Topologies meet by name; a single topology of each meets its counterpart whatever it is
/// called. Every answer is inconclusive, since one block of each arm has no spread and drift is not controlled.
///
/// # Errors
/// Where a stored histogram cannot be read.
pub fn compare_stored(before: &Run, after: &Run) -> Result<StoredComparison, HistogramError> {
    let mut warnings = vec![format!(
        "the runs were not interleaved: what changed on the machine between {} and {} is in the differences too",
        before.started, after.started
    )];
    if before.scenario_sha256 != after.scenario_sha256 {
        warnings.push("the runs come from different scenarios".to_owned());
    }
    if before.environment.cpu_model != after.environment.cpu_model
        || before.environment.cpus != after.environment.cpus
        || before.environment.kernel != after.environment.kernel
    {
        warnings.push("the runs come from different machines or kernels".to_owned());
    }
    if before.assay_version != after.assay_version {
        warnings.push(format!(
            "the runs come from different versions of Assay: {} and {}",
            before.assay_version, after.assay_version
        ));
    }
    let mut loads = Vec::new();
    for (b, a) in matched(&before.loads, &after.loads) {
        let design = Design {
            baseline: format!("{} in {}", b.topology, before.id),
            candidate: format!("{} in {}", a.topology, after.id),
            effort: "stored".to_owned(),
            block_s: b.duration_s.min(a.duration_s),
            rate_per_s: b.accounting.planned as f64 / b.duration_s.max(1e-9),
            knee_per_s: None,
            gates: Vec::new(),
            dropped: Vec::new(),
            seed: after.seed,
        };
        let mut record = compare(&design, &[Pair { baseline: block(b)?, candidate: block(a)? }], &[], Vec::new())?;
        // One pair has no spread: a band around it would pretend to one.
        record.shift.iter_mut().for_each(|p| (p.low_ns, p.high_ns) = (p.difference_ns, p.difference_ns));
        if b.model != a.model {
            record.doubts.push(format!("the load models differ: {} and {}", b.model, a.model));
        }
        for (load, run) in [(b, before), (a, after)] {
            record
                .void
                .extend(load.certificate.void.iter().map(|why| format!("the load of {} is void: {why}", run.id)));
        }
        loads.push(record);
    }
    Ok(StoredComparison { loads, findings: findings(before, after), warnings })
}

fn matched<'a>(before: &'a [LoadRecord], after: &'a [LoadRecord]) -> Vec<(&'a LoadRecord, &'a LoadRecord)> {
    if let ([b], [a]) = (before, after) {
        return vec![(b, a)];
    }
    before.iter().filter_map(|b| Some((b, after.iter().find(|a| a.topology == b.topology)?))).collect()
}

fn block(load: &LoadRecord) -> Result<Block, HistogramError> {
    let responses = load
        .operations
        .iter()
        .map(|o| Ok((o.operation.clone(), decode(&o.response)?)))
        .collect::<Result<BTreeMap<_, _>, HistogramError>>()?;
    Ok(Block {
        responses,
        failed: load.accounting.failed + load.accounting.timed_out,
        lag_p50_ns: load.certificate.lag_p50_ns,
    })
}

/// One check as the first and as the second run have it.
type Sides<'a> = (Option<&'a CheckRecord>, Option<&'a CheckRecord>);

fn findings(before: &Run, after: &Run) -> Vec<StoredFinding> {
    let names = |run: &Run| {
        let mut names: Vec<String> = Vec::new();
        for check in &run.checks {
            if !names.contains(&check.topology) {
                names.push(check.topology.clone());
            }
        }
        names
    };
    let (names_before, names_after) = (names(before), names(after));
    let single = names_before.len() == 1 && names_after.len() == 1;
    let key = |check: &CheckRecord| {
        let topology = if single { names_after[0].clone() } else { check.topology.clone() };
        (check.id.clone(), topology)
    };
    let mut both: BTreeMap<(String, String), Sides> = BTreeMap::new();
    for check in &before.checks {
        both.entry(key(check)).or_default().0 = Some(check);
    }
    for check in &after.checks {
        both.entry(key(check)).or_default().1 = Some(check);
    }
    both.into_iter()
        .filter(|(_, sides)| match sides {
            (Some(b), Some(a)) => b.grade != a.grade || b.finding != a.finding,
            _ => true,
        })
        .map(|((check, topology), (before, after))| StoredFinding {
            check,
            topology,
            before: before.cloned(),
            after: after.cloned(),
        })
        .collect()
}

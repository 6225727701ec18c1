//! Is a token counted through that is nothing but dots?

use super::pace::{Carrier, Demand, parts, ways};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};

/// What every server reads of a head, and what the most patient ones do.
const IN_HEADER: [usize; 2] = [7_000, 60_000];
/// As many as fit into a body of a megabyte.
const IN_BODY: usize = 1_000_000;

pub(super) const DOTS: Check = Check {
    id: "dos-dots",
    group: "DOS",
    requirement: "a token of a million dots is refused at once",
    sources: &["CVE-2025-30204", "CVE-2025-27144", "CVE-2025-22868"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay],
    variants: &["header", "body"],
    isolation: Isolation::Exclusive,
    cost: cost(25, 4),
    intrusive: true,
    flaws: &["split-all", "split-body"],
    sends: "a token of 7,000 and of 60,000 dots in the header, and of a million in the body",
    why: "splitting at every dot makes sixteen bytes and more of each byte that is sent, for anybody and before anything is verified",
    remedy: "split at the first dots only, or count them first; bound the length of a token",
    run: |probe| {
        let ways = ways(probe)?;
        parts(probe, &["header", "body"], Demand::Refused, |_, part| {
            let wanted = if part == "header" { Carrier::Head } else { Carrier::Body };
            let lengths: &[usize] = if part == "header" { &IN_HEADER } else { &[IN_BODY] };
            let of = ways.iter().filter(|(_, carrier)| *carrier == wanted);
            Ok(of.flat_map(|(way, _)| lengths.iter().map(|n| (way.clone(), ".".repeat(*n)))).collect())
        })
    },
};

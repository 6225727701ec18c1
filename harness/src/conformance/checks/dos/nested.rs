//! Is JSON survived that is deeper, wider or longer than any token's?

use super::super::material::{Genuine, genuine};
use super::pace::{Carrier, Demand, HEAD_ROOM, parts, ways};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};

const PARTS: &[&str] =
    &["header-nested", "header-members", "header-number", "payload-nested", "payload-members", "payload-number"];

pub(super) const JSON: Check = Check {
    id: "dos-deep-json",
    group: "DOS",
    requirement: "JSON that is deeply nested, has very many members or a very long number is answered in order and at once",
    sources: &["RFC 8259 section 9", "CVE-2020-10735", "CWE-674"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: PARTS,
    isolation: Isolation::Exclusive,
    cost: cost(90, 4),
    intrusive: true,
    flaws: &["recursion", "linear-members", "linear-claims", "crash-number"],
    sends: "tokens whose header or payload holds lists 2,000 and 100,000 deep, 400 and 100,000 members, a number of 4,500 and of a million \
            digits; signed, where the key is known",
    why: "a parser that calls itself for each level ends the process or the thread; one that compares each member with all others, or reads digits \
          in quadratic time, keeps it busy for minutes",
    remedy: "bound the token's length first, then the parser's depth; answer what it cannot read with 401 or 400",
    run: |probe| {
        let genuine = genuine(probe)?;
        let ways = ways(probe)?;
        parts(probe, PARTS, Demand::Orderly, |p, part| {
            let mut all = Vec::new();
            for large in [false, true] {
                let token = token(p, &genuine, part, large)?;
                let fits = |carrier: &Carrier| *carrier == Carrier::Body || token.len() <= HEAD_ROOM;
                all.extend(ways.iter().filter(|(_, c)| fits(c)).map(|(way, _)| (way.clone(), token.clone())));
            }
            Ok(all)
        })
    },
};

fn token(p: &mut Probe<'_>, genuine: &Genuine, part: &str, large: bool) -> Result<String, Stop> {
    let (segment, kind) = part.split_once('-').unwrap_or((part, ""));
    let forger = p.forger().ok();
    let mut forge = forger.as_ref().map_or_else(|| genuine.forge.clone(), |forger| forger.forge());
    let into = if segment == "header" { &mut forge.header } else { &mut forge.payload };
    match kind {
        "nested" => {
            let depth = if large { 100_000 } else { 2_000 };
            into.set_text("assay", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
        }
        "members" => {
            let members = if large { 100_000 } else { 400 };
            (0..members).for_each(|n| into.insert_text(&format!("\"m{n}\""), "1", false));
        }
        _ => into.set_text("assay", &"7".repeat(if large { 1_000_000 } else { 4_500 })),
    }
    match &forger {
        Some(forger) => forger.sign(forge),
        None => Ok(forge.token()),
    }
}

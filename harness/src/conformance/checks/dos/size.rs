//! Is a token refused for its size, and a claim read in time that grows no faster than it?

use super::super::material::genuine;
use super::pace::{Carrier, Demand, left_out, part, parts, ways};
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};

pub(super) const TOKEN: Check = Check {
    id: "dos-big-token",
    group: "DOS",
    requirement: "a body of many megabytes is refused before it is read whole",
    sources: &["RFC 9110 section 15.5.14", "CWE-770", "ASVS 15.2.2"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::VerifyWay],
    variants: &["1MB", "10MB"],
    isolation: Isolation::Exclusive,
    cost: cost(20, 4),
    intrusive: true,
    flaws: &["no-body-limit"],
    sends: "a genuine token with a payload of one and of ten megabytes, in the body",
    why: "whoever may send bodies of any size fills the memory with a few connections",
    remedy: "bound bodies at the proxy and in the framework: tokens have a few kilobytes",
    run: |probe| {
        let genuine = genuine(probe)?;
        let ways = ways(probe)?;
        let tokens = |megabytes: usize| -> Vec<_> {
            let long = crate::jose::forge::replace_segment(&genuine.token, 1, &"A".repeat(megabytes << 20));
            let bodies = ways.iter().filter(|(_, carrier)| *carrier == Carrier::Body);
            bodies.map(|(way, _)| (way.clone(), long.clone())).collect()
        };
        // A megabyte is not much for a server that takes other things too.
        if !part(probe, "1MB", Demand::Refused, &tokens(1))? {
            left_out(probe, &["10MB"]);
            return Ok(());
        }
        part(probe, "10MB", Demand::TooLarge, &tokens(10)).map(|_| ())
    },
};

pub(super) const REGEX: Check = Check {
    id: "dos-regex",
    group: "DOS",
    requirement: "a claim that nearly matches is refused as quickly as any other",
    sources: &["CVE-2026-35041", "CWE-1333"],
    levels: Levels::SHOULD,
    needs: &[Need::JwtAccess, Need::SigningKey, Need::VerifyWay],
    variants: &["aud", "iss", "sub"],
    isolation: Isolation::Exclusive,
    cost: cost(50, 4),
    intrusive: true,
    flaws: &["redos-aud", "redos-iss", "redos-sub"],
    sends: "tokens signed with the server's key whose `aud`, `iss` or `sub` is up to 36,000 letters long: one letter again and again, and the genuine \
            value again and again, each with an end that spoils the match",
    why: "an expression with nested repetitions tries every way to part such a text, which takes longer than the universe has existed",
    remedy: "compare claims with whole strings; where patterns are needed, take an engine that does not go back",
    run: |probe| {
        let forger = probe.forger()?;
        let ways = ways(probe)?;
        parts(probe, &["aud", "iss", "sub"], Demand::Orderly, |_, claim| {
            let own = match forger.claim(claim) {
                Some(serde_json::Value::String(own)) if !own.is_empty() => own,
                _ => "https://assay.example".to_owned(),
            };
            let mut all = Vec::new();
            for (way, carrier) in &ways {
                let length = if *carrier == Carrier::Body { 36_000 } else { 4_000 };
                for text in ["a".repeat(length), own.repeat(length / own.len())] {
                    all.push((way.clone(), forger.with_claim(claim, format!("{text}!"))?));
                }
            }
            Ok(all)
        })
    },
};

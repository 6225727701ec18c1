//! Do the ways to verify a token say the same?

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::{Presented, Way};
use crate::record::Level;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "verify-revoked",
        group: "VERIFY",
        requirement: "a revoked token is refused by the ways that take it, without a server error",
        sources: &["RFC 7662 section 4", "jazzband/djangorestframework-simplejwt#46"],
        levels: Levels::issuing(Level::Must),
        needs: &[Need::Revoke, Need::Refresh, Need::VerifyWay],
        variants: &["*"],
        isolation: Isolation::User,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["ignore-denylist"],
        sends: "a revoked refresh token to every verify way that takes refresh tokens",
        why: "a service that asks the verify endpoint lets a logged-out session in",
        remedy: "look revocations up wherever a token is verified",
        run: revoked,
    },
    Check {
        id: "verify-agreement",
        group: "VERIFY",
        requirement: "for every token of the whole run the verify ways give the same verdict",
        sources: &["RFC 7662 section 4", "RFC 8725 section 3.12"],
        levels: Levels::MUST,
        needs: &[Need::SecondWay],
        variants: &["*"],
        isolation: Isolation::Last,
        cost: cost(12, 2),
        intrusive: false,
        flaws: &["verify-signature-only"],
        sends: "a genuine, a tampered and an ended token to every way; and compares the verdicts on every token that other checks showed to several ways",
        why: "a gateway that asks one way and an application that asks another will disagree on who is logged in",
        remedy: "verify in one place with one configuration; a declared difference belongs under `known` (`verify-agreement/CHECK`)",
        run: agreement,
    },
];

fn revoked(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways: Vec<Way> = p.ways().into_iter().filter(|w| w.takes_refresh && w.usable()).collect();
    if ways.is_empty() {
        return Err(Stop::not_applicable("no verify way takes refresh tokens"));
    }
    let token = p.fresh_refresh()?;
    for way in &ways {
        if !p.present(way, &token)?.accepted() {
            return Err(Stop::Inconclusive(format!("`{}` refuses a refresh token that is not revoked", way.name)));
        }
    }
    if !p.call_with_token("revoke", &token)?.accepted() {
        return Err(Stop::blocked_by("revoke-effective"));
    }
    for way in &ways {
        p.offer(&way.name, &token)?;
        let answer = p.present(way, &token)?;
        p.judge_refusal(Some(&way.name), "a revoked refresh token refused", &answer);
    }
    Ok(())
}

fn agreement(p: &mut Probe<'_>) -> Result<(), Stop> {
    own_tokens(p)?;
    let comparable: BTreeSet<String> = p.ways().into_iter().filter(Way::usable).map(|w| w.name).collect();
    if comparable.len() < 2 {
        return Err(Stop::needs(Need::SecondWay));
    }
    let ledger = p.session.ledger();
    let (compared, differences) = compare(&ledger, &comparable);
    for (by, split) in &differences {
        let text = format!(
            "a token of {by} ({}): accepted by {}, refused by {}",
            p.session.view(&split.token).fingerprint,
            split.accepted.join(", "),
            split.refused.join(", ")
        );
        p.offer(by, &split.token)?;
        let finding = format!("accepted only by {}", split.accepted.join(", "));
        p.fail(Some(by), &finding, text);
    }
    if differences.is_empty() {
        p.pass(
            None,
            "agree",
            format!("{} ways agree on all {compared} tokens that several of them saw", comparable.len()),
        );
    }
    Ok(())
}

/// A few tokens of its own, so that it says something when it is run alone.
fn own_tokens(p: &mut Probe<'_>) -> Result<(), Stop> {
    let genuine = p.access()?;
    let mut tokens = vec![genuine.clone()];
    if decode(&genuine).is_some() {
        tokens.push(crate::jose::forge::flip_bit(&genuine, 2, 9));
    }
    if p.has(Need::SigningKey) {
        let forger = p.forger()?;
        tokens.push(forger.ending(clock::unix().floor() as i64 - 400)?);
        tokens.push(forger.with_claim("assay", "agreement")?);
    }
    let ways: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    for token in tokens {
        for way in &ways {
            p.present(way, &token)?;
        }
    }
    Ok(())
}

/// Who said what of one token.
#[derive(Debug, PartialEq, Eq)]
struct Split {
    token: String,
    accepted: Vec<String>,
    refused: Vec<String>,
}

/// Compares the verdicts on every token that one probe showed to several ways without changing any state between.
/// Returns how many were compared, and the first difference by check. What `time-` checks show is left out: near an
/// edge two requests may fall on its two sides.
fn compare(ledger: &[Presented], ways: &BTreeSet<String>) -> (usize, BTreeMap<String, Split>) {
    let mut groups: BTreeMap<(&str, &str, u64), BTreeMap<&str, BTreeSet<bool>>> = BTreeMap::new();
    for seen in ledger.iter().filter(|s| ways.contains(&s.way) && !s.by.starts_with("time-")) {
        let group = groups.entry((&seen.by, &seen.token, seen.epoch)).or_default();
        group.entry(&seen.way).or_default().insert(seen.accepted);
    }
    let mut compared = 0;
    let mut differences = BTreeMap::new();
    for ((by, token, _), verdicts) in groups {
        // One way that said both is unsteady, which is another check's subject.
        if verdicts.len() < 2 || verdicts.values().any(|v| v.len() > 1) {
            continue;
        }
        compared += 1;
        let side = |accepted: bool| -> Vec<String> {
            verdicts.iter().filter(|(_, v)| v.contains(&accepted)).map(|(w, _)| (*w).to_owned()).collect()
        };
        let (accepted, refused) = (side(true), side(false));
        if !accepted.is_empty() && !refused.is_empty() {
            differences.entry(by.to_owned()).or_insert(Split { token: token.to_owned(), accepted, refused });
        }
    }
    (compared, differences)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn seen(by: &str, token: &str, epoch: u64, way: &str, accepted: bool) -> Presented {
        Presented { by: by.into(), token: token.into(), epoch, way: way.into(), accepted, at: Nanos(0) }
    }

    #[test]
    fn a_token_judged_differently_by_two_ways_is_found_with_its_check() {
        let ways = ["resource", "endpoint"].map(str::to_owned).into();
        let ledger = [
            seen("sig-tamper", "a", 1, "resource", false),
            seen("sig-tamper", "a", 1, "endpoint", true),
            seen("sig-alg-none", "b", 2, "resource", false),
            seen("sig-alg-none", "b", 2, "endpoint", false),
        ];
        let (compared, differences) = compare(&ledger, &ways);
        assert_eq!(compared, 2);
        assert_eq!(differences.keys().collect::<Vec<_>>(), ["sig-tamper"]);
        assert_eq!(differences["sig-tamper"].accepted, ["endpoint"]);
    }

    #[test]
    fn state_that_changed_between_is_no_difference() {
        let ways = ["resource", "endpoint"].map(str::to_owned).into();
        let ledger = [
            seen("revoke-access", "a", 1, "resource", true),
            seen("revoke-access", "a", 2, "endpoint", false),
            seen("time-exp-leeway", "b", 3, "resource", true),
            seen("time-exp-leeway", "b", 3, "endpoint", false),
        ];
        assert_eq!(compare(&ledger, &ways), (0, BTreeMap::new()));
    }
}

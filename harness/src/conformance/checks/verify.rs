//! Do the ways to verify a token say the same?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::{Presented, Way};
use crate::jose::base64url;
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
        remedy: "verify in one place with one configuration; a way that looks no user up on purpose says `looks_up_user: false` in the profile; any other declared difference belongs under `known` (`verify-agreement/CHECK`)",
        run: agreement,
    },
];

fn revoked(p: &mut Probe<'_>) -> Result<(), Stop> {
    let ways: Vec<Way> = p.ways().into_iter().filter(|w| w.takes_refresh && w.usable()).collect();
    if ways.is_empty() {
        return Err(Stop::not_applicable("no verify way takes refresh tokens"));
    }
    super::revoke::takes_refresh(p)?;
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
    let blind = p.ways().into_iter().filter(|w| p.target().looks_up_user(&w.operation) == Some(false));
    let blind: BTreeSet<String> = blind.map(|w| w.name).collect();
    let subject = Subject::of(p.profile().subject_claim(), &p.access()?);
    let (compared, differences) = compare(&ledger, &comparable, &blind, subject.as_ref());
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

/// The first user, as a genuine token names them.
struct Subject {
    claim: String,
    value: Value,
}

impl Subject {
    fn of(claim: &str, token: &str) -> Option<Subject> {
        let value = decode(token)?.1.get(claim)?.clone();
        Some(Subject { claim: claim.to_owned(), value })
    }

    /// Whether a token names this user, once and in the same words: whoever looks no user up cannot tell another one.
    fn named_by(&self, token: &str) -> bool {
        let payload = token.split('.').nth(1).map(base64url::decode_lenient).unwrap_or_default();
        let once = String::from_utf8_lossy(&payload).matches(&format!("\"{}\"", self.claim)).count() == 1;
        once && decode(token).is_some_and(|(_, claims)| claims.get(&self.claim) == Some(&self.value))
    }
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
/// edge two requests may fall on its two sides. Of a way in `blind`, which looks no user up on purpose, it is no
/// difference that it accepts a token of somebody whom others do not know.
fn compare(
    ledger: &[Presented],
    ways: &BTreeSet<String>,
    blind: &BTreeSet<String>,
    subject: Option<&Subject>,
) -> (usize, BTreeMap<String, Split>) {
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
        let by_blind_ways = !accepted.is_empty() && accepted.iter().all(|way| blind.contains(way));
        if by_blind_ways && subject.is_some_and(|subject| !subject.named_by(token)) {
            continue;
        }
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
        let (compared, differences) = compare(&ledger, &ways, &BTreeSet::new(), None);
        assert_eq!(compared, 2);
        assert_eq!(differences.keys().collect::<Vec<_>>(), ["sig-tamper"]);
        assert_eq!(differences["sig-tamper"].accepted, ["endpoint"]);
    }

    #[test]
    fn a_way_that_looks_no_user_up_may_take_a_stranger_and_nothing_else() {
        let jwt = |payload: &str| format!("{}.{}.s", base64url::encode("{}"), base64url::encode(payload));
        let (own, stranger) = (jwt(r#"{"uid":1}"#), jwt(r#"{"uid":2}"#));
        let twice = jwt(r#"{"uid":2,"uid":1}"#);
        let ways = ["resource", "endpoint"].map(str::to_owned).into();
        let blind = ["endpoint".to_owned()].into();
        let subject = Subject::of("uid", &own);
        let split = |token: &str, endpoint: bool| {
            let ledger = [seen("x", token, 1, "resource", !endpoint), seen("x", token, 1, "endpoint", endpoint)];
            compare(&ledger, &ways, &blind, subject.as_ref()).1.len()
        };
        assert_eq!([split(&own, true), split(&stranger, true), split(&twice, true)], [1, 0, 0]);
        assert_eq!(split(&stranger, false), 1, "that the other way takes a stranger is a difference");
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
        assert_eq!(compare(&ledger, &ways, &BTreeSet::new(), None), (0, BTreeMap::new()));
    }
}

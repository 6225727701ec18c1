//! Do the ways to verify a token say the same?

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::clock;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::{Forger, decode};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::{Presented, Way};
use crate::jose::base64url;
use crate::record::Level;

use super::refresh::second_vars;

/// The family.
pub const CHECKS: &[Check] = &[
    Check {
        id: "verify-revoked",
        group: "VERIFY",
        requirement: "a revoked token is refused by the ways that take it, without a server error",
        sources: &["RFC 7662 section 4", "jazzband/djangorestframework-simplejwt#46", "RFC 7009 section 2.1"],
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
        sources: &["RFC 7662 section 4"],
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
    Check {
        id: "verify-user-state",
        group: "VERIFY",
        requirement: "the token of a disabled user is refused by every verify way",
        sources: &["jazzband/djangorestframework-simplejwt#193", "ASVS 7.4.2"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::VerifyWay, Need::Issue, Need::SecondUser, Need::DisableUser],
        variants: &["*"],
        isolation: Isolation::Exclusive,
        cost: cost(6, 1),
        intrusive: false,
        flaws: &["stale-user-verify"],
        sends: "a login of the second user, the admin hook that disables that user, and the token to every verify way",
        why: "a service that asks the verify endpoint goes on serving who was dismissed",
        remedy: "look the user up where tokens are verified for others",
        run: user_state,
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
    let session = p.session;
    let judges = Judges { ways: &comparable, blind: &blind, subject: subject.as_ref(), given: &|t| session.gave(t) };
    let (compared, differences) = compare(&ledger, &judges);
    for (by, split) in &differences {
        let text = format!(
            "a token of {by} ({}): accepted by {}, refused by {}",
            p.session.view(&split.token).fingerprint,
            split.accepted.join(", "),
            split.refused.join(", ")
        );
        p.offer(by, &split.token)?;
        let finding = format!("accepted only by {}", split.accepted.join(", "));
        if split.stranger {
            let hint = "it names nobody whom the other way knows; a way that looks no user up on purpose says `looks_up_user: false`";
            p.fail(Some(by), &finding, format!("{text}; {hint}"));
            p.at_most(Level::Should);
        } else {
            p.fail(Some(by), &finding, text);
        }
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
    // The pooled token may belong to a session that the run has ended since.
    let genuine = match p.login() {
        Ok(issued) => issued.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?,
        Err(Stop::Skip(_) | Stop::Inconclusive(_)) => p.access()?,
        Err(stop) => return Err(stop),
    };
    let mut tokens = vec![genuine.clone()];
    if decode(&genuine).is_some() {
        tokens.push(crate::jose::forge::flip_bit(&genuine, 2, 9));
    }
    if p.has(Need::SigningKey) {
        let forger = Forger::new(p.target(), &genuine)?;
        tokens.push(forger.ending(clock::unix().floor() as i64 - 400)?);
        tokens.push(forger.with_claim("assay", "agreement")?);
    }
    let ways: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    // The genuine one once more at the end, which shows that its session was alive all along.
    tokens.push(genuine);
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
    /// It does not name the first user: who accepts it may only have looked nobody up.
    stranger: bool,
}

/// Between whom the verdicts are compared.
struct Judges<'a> {
    ways: &'a BTreeSet<String>,
    /// Those that look no user up, as the profile says.
    blind: &'a BTreeSet<String>,
    subject: Option<&'a Subject>,
    /// Whether the server itself gave a token out, as it stands.
    given: &'a dyn Fn(&str) -> bool,
}

impl Judges<'_> {
    /// Whether a way that looks no user up may rightly accept a token that others refuse: somebody whom they do not
    /// know, or a session that has ended meanwhile, which the token does not say.
    fn excuses(&self, ledger: &[Presented], by: &str, token: &str, epoch: u64, refused: &[String]) -> bool {
        let Some(subject) = self.subject else { return false };
        if !subject.named_by(token) || (self.given)(token) {
            return true;
        }
        let of_probe = || ledger.iter().filter(|s| s.by == by && s.epoch == epoch);
        // Alive: a token of the same user is accepted where this one was refused before.
        let alive = |way: &String| {
            let refusal = of_probe().filter(|s| s.way == *way && s.token == token).map(|s| s.at).min();
            let later = |s: &&Presented| s.way == *way && s.accepted && refusal.is_some_and(|at| s.at >= at);
            of_probe().filter(later).any(|s| subject.named_by(&s.token))
        };
        !refused.iter().all(alive)
    }
}

/// Compares the verdicts on every token that one probe showed to several ways without changing any state between.
/// Returns how many were compared, and the first difference by check. What `time-` checks show is left out: near an
/// edge two requests may fall on its two sides. What a way that looks no user up accepts is no difference where the
/// user's state alone may explain it.
fn compare(ledger: &[Presented], judges: &Judges<'_>) -> (usize, BTreeMap<String, Split>) {
    let mut groups: BTreeMap<(&str, &str, u64), BTreeMap<&str, BTreeSet<bool>>> = BTreeMap::new();
    for seen in ledger.iter().filter(|s| judges.ways.contains(&s.way) && !s.by.starts_with("time-")) {
        let group = groups.entry((&seen.by, &seen.token, seen.epoch)).or_default();
        group.entry(&seen.way).or_default().insert(seen.accepted);
    }
    let mut compared = 0;
    let mut differences: BTreeMap<String, Split> = BTreeMap::new();
    for ((by, token, epoch), verdicts) in groups {
        // One way that said both is unsteady, which is another check's subject.
        if verdicts.len() < 2 || verdicts.values().any(|v| v.len() > 1) {
            continue;
        }
        compared += 1;
        let side = |accepted: bool| -> Vec<String> {
            verdicts.iter().filter(|(_, v)| v.contains(&accepted)).map(|(w, _)| (*w).to_owned()).collect()
        };
        let (accepted, refused) = (side(true), side(false));
        if accepted.is_empty() || refused.is_empty() {
            continue;
        }
        let by_blind_ways = accepted.iter().all(|way| judges.blind.contains(way));
        if by_blind_ways && judges.excuses(ledger, by, token, epoch, &refused) {
            continue;
        }
        let stranger = decode(token).is_some() && judges.subject.is_some_and(|subject| !subject.named_by(token));
        let split = Split { token: token.to_owned(), accepted, refused, stranger };
        // What needs no excuse at all is told before what may be one.
        let known = differences.get(by);
        if known.is_none_or(|known| known.stranger && !split.stranger) {
            differences.insert(by.to_owned(), split);
        }
    }
    (compared, differences)
}

fn user_state(p: &mut Probe<'_>) -> Result<(), Stop> {
    if !p.target().has_hook("enable_user") {
        return Err(Stop::not_applicable("the profile has no hook `enable_user`, so the user would stay disabled"));
    }
    let vars = second_vars(p)?;
    let token = p.login_with(&vars)?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))?;
    let ways: Vec<Way> = p.ways().into_iter().filter(Way::usable).collect();
    let mut good = Vec::new();
    for way in ways {
        if p.present(&way, &token)?.accepted() {
            good.push(way);
        } else {
            let text = format!("`{}` refuses the second user's token from the start", way.name);
            p.inconclusive(Some(&way.name), "controls-refused", text);
        }
    }
    let seen = p.changed("disable_user", &vars, |p| {
        good.iter().map(|way| Ok((way.name.clone(), p.present(way, &token)?))).collect::<Result<Vec<_>, Stop>>()
    })?;
    for (name, answer) in seen {
        p.judge_refusal(Some(&name), "a disabled user's token refused", &answer);
        p.transient();
        if p.target().looks_up_user(&format!("verify.{name}")) == Some(false) {
            p.at_most(Level::Info);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn judged(
        ledger: &[Presented],
        blind: &BTreeSet<String>,
        subject: Option<&Subject>,
    ) -> (usize, BTreeMap<String, Split>) {
        let ways = ["resource", "endpoint"].map(str::to_owned).into();
        compare(ledger, &Judges { ways: &ways, blind, subject, given: &|_| false })
    }

    fn seen(by: &str, token: &str, epoch: u64, way: &str, accepted: bool) -> Presented {
        Presented { by: by.into(), token: token.into(), epoch, way: way.into(), accepted, at: Nanos(0) }
    }

    #[test]
    fn a_token_judged_differently_by_two_ways_is_found_with_its_check() {
        let ledger = [
            seen("sig-tamper", "a", 1, "resource", false),
            seen("sig-tamper", "a", 1, "endpoint", true),
            seen("sig-alg-none", "b", 2, "resource", false),
            seen("sig-alg-none", "b", 2, "endpoint", false),
        ];
        let (compared, differences) = judged(&ledger, &BTreeSet::new(), None);
        assert_eq!(compared, 2);
        assert_eq!(differences.keys().collect::<Vec<_>>(), ["sig-tamper"]);
        assert_eq!(differences["sig-tamper"].accepted, ["endpoint"]);
    }

    fn jwt(payload: &str) -> String {
        format!("{}.{}.s", base64url::encode("{}"), base64url::encode(payload))
    }

    #[test]
    fn a_way_that_looks_no_user_up_may_take_a_stranger_and_nothing_else() {
        let (own, stranger) = (jwt(r#"{"uid":1}"#), jwt(r#"{"uid":2}"#));
        let (twice, control) = (jwt(r#"{"uid":2,"uid":1}"#), jwt(r#"{"uid":1,"control":1}"#));
        let blind = ["endpoint".to_owned()].into();
        let subject = Subject::of("uid", &own);
        let split = |token: &str, endpoint: bool| {
            let control = seen("x", &control, 1, "resource", true);
            let ledger =
                [seen("x", token, 1, "resource", !endpoint), seen("x", token, 1, "endpoint", endpoint), control];
            judged(&ledger, &blind, subject.as_ref()).1.len()
        };
        assert_eq!([split(&own, true), split(&stranger, true), split(&twice, true)], [1, 0, 0]);
        assert_eq!(split(&stranger, false), 1, "that the other way takes a stranger is a difference");
    }

    #[test]
    fn a_session_that_ended_meanwhile_is_no_difference_to_a_way_that_looks_nobody_up() {
        let (genuine, resigned) = (jwt(r#"{"uid":1}"#), jwt(r#"{"uid":1,"control":1}"#));
        let subject = Subject::of("uid", &genuine);
        let ledger: Vec<Presented> = [&genuine, &resigned]
            .into_iter()
            .flat_map(|t| [seen("x", t, 1, "resource", false), seen("x", t, 1, "endpoint", true)])
            .collect();
        let ways = ["resource", "endpoint"].map(str::to_owned).into();
        let given = |token: &str| token == genuine;
        let found = |blind: &BTreeSet<String>| {
            compare(&ledger, &Judges { ways: &ways, blind, subject: subject.as_ref(), given: &given }).1.len()
        };
        assert_eq!(found(&["endpoint".to_owned()].into()), 0);
        assert_eq!(found(&BTreeSet::new()), 1, "both ways are said to look the user up");
    }

    #[test]
    fn a_stranger_whom_an_undeclared_way_takes_weighs_less_and_hides_nothing() {
        let (own, stranger) = (jwt(r#"{"uid":1}"#), jwt(r#"{"uid":2}"#));
        let subject = Subject::of("uid", &own);
        let of = |token: &str| [seen("x", token, 1, "resource", false), seen("x", token, 1, "endpoint", true)];
        let weight = |ledger: &[Presented]| judged(ledger, &BTreeSet::new(), subject.as_ref()).1["x"].stranger;
        assert!(weight(&of(&stranger)));
        assert!(!weight(&[of(&stranger), of(&own)].concat()));
    }

    #[test]
    fn state_that_changed_between_is_no_difference() {
        let ledger = [
            seen("revoke-access", "a", 1, "resource", true),
            seen("revoke-access", "a", 2, "endpoint", false),
            seen("time-exp-leeway", "b", 3, "resource", true),
            seen("time-exp-leeway", "b", 3, "endpoint", false),
        ];
        assert_eq!(judged(&ledger, &BTreeSet::new(), None), (0, BTreeMap::new()));
    }
}

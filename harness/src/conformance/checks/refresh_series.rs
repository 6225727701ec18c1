//! What shows only in many refreshes: do they grow slower, and are the tokens of a kind?

use std::collections::BTreeSet;

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::probe::{Probe, Stop};
use crate::record::{Level, SkipReason};
use crate::scenario::Budget;

/// The family's second part.
pub const CHECKS: &[Check] = &[
    Check {
        id: "refresh-chain",
        group: "REFRESH",
        requirement: "a long chain of refreshes works, does not slow down, and its predecessors stay dead",
        sources: &["RFC 9700 section 4.14.2"],
        levels: Levels::issuing(Level::Should),
        needs: &[Need::Refresh],
        variants: &["chain", "slope", "predecessor"],
        isolation: Isolation::User,
        cost: cost(125, 4),
        intrusive: false,
        flaws: &["chain-growth"],
        sends: "a login and 100 refreshes one after the other (fewer where they are slow), some of a fresh login beside them, then one of the middle tokens again",
        why: "a session that lives for days refreshes hundreds of times; state that grows with the chain breaks it late",
        remedy: "keep one row per login and replace its current token, instead of growing a list",
        run: chain,
    },
    Check {
        id: "refresh-entropy",
        group: "REFRESH",
        requirement: "an opaque refresh token has at least 128 bits by length and alphabet, and no counter",
        sources: &["RFC 6749 section 10.10", "ASVS 7.2.3"],
        levels: Levels::issuing(Level::Should).oauth(Level::Must),
        needs: &[Need::Refresh],
        variants: &[],
        isolation: Isolation::User,
        cost: cost(20, 2),
        intrusive: false,
        flaws: &[],
        sends: "some logins and refreshes, and compares the tokens",
        why: "whoever can guess the next token needs no theft",
        remedy: "take 32 bytes from the operating system's random source",
        run: entropy,
    },
];

/// Refreshes that make a chain, however slow the server is.
const FEWEST: usize = 20;

fn chain(p: &mut Probe<'_>) -> Result<(), Stop> {
    let links = if p.session.budget == Budget::Thorough { 1_000 } else { 100 };
    let mut token = p.fresh_refresh()?;
    let mut past = Vec::with_capacity(links);
    let mut took = Vec::with_capacity(links);
    // A server that takes most of a second for each gets a shorter chain: what comes after it needs time too.
    let share = p.time_left() / 3;
    let began = clock::mono();
    for link in 0..links {
        if link >= FEWEST && clock::mono().since(began).duration() > share {
            break;
        }
        let answer = p.refresh(&token)?;
        took.push(service_ms(&answer));
        let issued =
            answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().tokens(r, "refresh").ok());
        let Some(issued) = issued else {
            if link == 0 {
                return Err(Stop::blocked_by("refresh-basic"));
            }
            if !answer.answered() {
                let text =
                    format!("refresh number {} of a chain: {}, so nothing was learnt", link + 1, answer.describe());
                p.inconclusive(Some("chain"), "no-answer", text);
                return Ok(());
            }
            p.fail_told(
                Some("chain"),
                "breaks",
                "a chain of refreshes to go on",
                format!("refresh number {} of a chain was not accepted: {}", link + 1, answer.describe()),
                &answer,
            );
            return Ok(());
        };
        let next = issued.refresh.unwrap_or_else(|| token.clone());
        past.push(std::mem::replace(&mut token, next));
    }
    let middle = past.get(past.len() / 2).cloned();
    p.pass(Some("chain"), "holds", format!("{} refreshes one after the other", past.len()));
    if p.session.has_one_session() {
        // The young session beside it would end it.
        p.skip("slope", SkipReason::NotApplicable("a login ends the user's session before it".into()));
    } else {
        token = slope(p, &took, token)?;
    }
    match middle.filter(|m| p.has(Need::Rotation) && *m != token) {
        Some(middle) if p.profile().declares.grace_s.unwrap_or(0.0) <= 2.0 => {
            p.offer("predecessor", &middle)?;
            let answer = p.refresh(&middle)?;
            p.judge_refusal(Some("predecessor"), "a middle token of the chain refused", &answer);
        }
        _ => p.skip("predecessor", SkipReason::NotApplicable("refresh tokens are not rotated".into())),
    }
    Ok(())
}

/// Wire to last byte, in milliseconds.
fn service_ms(answer: &Answer) -> f64 {
    answer.reply.as_ref().map_or(0.0, |r| r.timing.service().0 as f64 / 1e6)
}

/// Compares the end of a chain with its beginning, and with a chain that has only begun: both go on in turns, so that
/// what slows them down alike is the machine, not the chain. The chain's last token comes back.
fn slope(p: &mut Probe<'_>, took: &[f64], chain: String) -> Result<String, Stop> {
    const ENDS: usize = 20;
    let median = |list: &[f64]| crate::stats::median(list).unwrap_or(0.0);
    let first = median(&took[..ENDS.min(took.len())]);
    let mut tokens = [chain, p.fresh_refresh()?];
    let mut times = [Vec::with_capacity(ENDS), Vec::with_capacity(ENDS)];
    for _ in 0..ENDS {
        for (token, times) in tokens.iter_mut().zip(&mut times) {
            let answer = p.refresh(token)?;
            times.push(service_ms(&answer));
            let reply = answer.reply.as_ref().filter(|_| answer.accepted());
            let next = reply.and_then(|reply| p.target().tokens(reply, "refresh").ok());
            *token = next.and_then(|issued| issued.refresh).unwrap_or_else(|| token.clone());
        }
    }
    let (last, young) = (median(&times[0]), median(&times[1]));
    let text =
        format!("median {first:.1} ms at its beginning, {last:.1} ms at its end, {young:.1} ms in a young session");
    if last > 3.0 * first.max(young) && last - first.max(young) > 5.0 {
        p.fail(Some("slope"), "grows", format!("refreshes slow down along a chain: {text}"));
    } else {
        p.pass(Some("slope"), "flat", text);
    }
    let [chain, _] = tokens;
    Ok(chain)
}

fn entropy(p: &mut Probe<'_>) -> Result<(), Stop> {
    let first = p.fresh_refresh()?;
    if decode(&first).is_some() {
        return Err(Stop::not_applicable("refresh tokens are JWTs"));
    }
    let mut all = vec![first];
    for _ in 0..15 {
        let token = all.last().cloned().unwrap_or_default();
        match p.refreshed(&token)?.refresh {
            Some(next) if next != token => all.push(next),
            _ => all.push(p.fresh_refresh()?),
        }
    }
    match weakness(&all) {
        None => {
            p.pass(None, "strong", format!("{} tokens of {} characters without a pattern", all.len(), all[0].len()))
        }
        Some((finding, text)) => p.fail(None, finding, text),
    }
    Ok(())
}

/// What is weak about opaque tokens, by length, alphabet, common beginnings and repetitions.
fn weakness(tokens: &[String]) -> Option<(&'static str, String)> {
    let distinct: BTreeSet<&String> = tokens.iter().collect();
    if distinct.len() < tokens.len() {
        return Some(("repeats", format!("{} of {} tokens repeat", tokens.len() - distinct.len(), tokens.len())));
    }
    let all: String = tokens.concat();
    let alphabet = if all.chars().all(|c| c.is_ascii_digit()) {
        10.0_f64
    } else if all.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        16.0
    } else {
        62.0
    };
    let shared = (0..tokens[0].len())
        .take_while(|i| tokens.iter().all(|t| t.as_bytes().get(*i) == tokens[0].as_bytes().get(*i)))
        .count();
    let shortest = tokens.iter().map(String::len).min().unwrap_or(0);
    let bits = shortest.saturating_sub(shared) as f64 * alphabet.log2();
    (bits < 128.0).then(|| {
        (
            "short",
            format!("at most {bits:.0} bits differ between tokens ({shortest} characters, {shared} of them shared)"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_short_tokens_are_weak() {
        let counters: Vec<String> = (0..16).map(|i| format!("refresh-token-of-the-server-{i:08}")).collect();
        assert_eq!(weakness(&counters).unwrap().0, "short");
        let repeats = vec!["a".repeat(40); 3];
        assert_eq!(weakness(&repeats).unwrap().0, "repeats");
        let strong: Vec<String> = (0..16).map(|_| crate::conformance::fresh_id(64)).collect();
        assert_eq!(weakness(&strong), None);
    }
}

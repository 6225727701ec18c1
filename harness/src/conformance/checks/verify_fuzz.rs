//! Does a verify way keep its composure, whatever is sent in the place of a token?

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::probe::{Probe, Stop};

use super::issue::unclean;

/// The family's second part.
pub const CHECKS: &[Check] = &[Check {
    id: "verify-fuzz",
    group: "VERIFY",
    requirement: "no mutation of a token brings a server error or an answer after two seconds",
    sources: &["CWE-20", "RFC 7519 section 7.2", "draft-ietf-oauth-rfc8725bis section 3.14"],
    levels: Levels::SHOULD,
    needs: &[Need::VerifyWay, Need::Issue],
    variants: &["*"],
    isolation: Isolation::User,
    cost: cost(600, 3),
    intrusive: false,
    flaws: &["crash-parse"],
    sends: "300 mutations of a genuine token (cut, doubled, swapped, bytes changed, dots moved) to every verify way",
    why: "the parser is open to everybody; one input that crashes it is a denial of service",
    remedy: "treat every error of the parser as a refused token",
    run: fuzz,
}];

/// Mutation `n` of a token; the same number gives the same kind of change.
fn mutated(token: &str, n: usize) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let at = (n * 7919) % bytes.len().max(1);
    match n % 8 {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, b'.'),
        2 => bytes.retain(|b| *b != b'.'),
        3 => bytes[at] = b"AZaz09-_=+/~"[n % 12],
        4 => bytes.extend_from_within(at..),
        5 => bytes.reverse(),
        6 => {
            bytes.drain(..at);
        }
        _ => bytes.rotate_left(at),
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn fuzz(p: &mut Probe<'_>) -> Result<(), Stop> {
    const MUTATIONS: usize = 300;
    /// Of every kind three.
    const FEWEST: usize = 24;
    let token = p.access()?;
    let mut ways = p.ways();
    while let Some(way) = (!ways.is_empty()).then(|| ways.remove(0)) {
        let mut bad: Option<(Answer, f64)> = None;
        // A way that takes a fifth of a second for each gets fewer, not an end in the middle.
        let share = p.time_left().mul_f64(0.8 / (ways.len() + 1) as f64);
        let from = clock::mono();
        let mut tried = 0;
        for n in 0..MUTATIONS {
            if tried >= FEWEST && clock::mono().since(from).duration() > share {
                break;
            }
            tried = n + 1;
            let mutant = mutated(&token, n);
            if mutant.is_empty() || mutant == token {
                continue;
            }
            let began = clock::mono();
            let answer = p.present(&way, &mutant)?;
            let mut took = clock::mono().since(began).as_secs_f64();
            if took > 2.0 && !unclean(&answer) {
                // A busy server makes everybody wait: what counts is what this token adds to a genuine one, twice.
                let timed = |p: &mut Probe<'_>, token: &str| -> Result<f64, Stop> {
                    let began = clock::mono();
                    p.present(&way, token).map(|_| clock::mono().since(began).as_secs_f64())
                };
                took = took.min(timed(p, &mutant)?) - timed(p, &token)?;
            }
            if unclean(&answer) || took > 2.0 {
                p.offer(&way.name, &mutant)?;
                bad = Some((answer, took));
                break;
            }
        }
        match bad {
            Some((answer, _)) if unclean(&answer) => {
                p.fail_seen(Some(&way.name), &answer.finding(), "an orderly answer to a mutated token", &answer);
            }
            Some((answer, took)) => {
                let text = format!("an answer took {took:.1} s");
                p.fail_told(Some(&way.name), "slow", "an answer within 2 s", text, &answer);
            }
            None => p.pass(Some(&way.name), "orderly", format!("{tried} mutations are answered in order")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_repeatable_and_of_every_kind() {
        let token = "aaaa.bbbbbbbb.cccc";
        for n in 0..64 {
            assert_eq!(mutated(token, n), mutated(token, n));
        }
        assert!((0..64).filter(|n| mutated(token, *n) != token).count() > 48);
    }
}

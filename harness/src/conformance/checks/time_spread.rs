//! Do all instances of the server have one clock?

use crate::clock;
use crate::conformance::answer::Answer;
use crate::conformance::descriptor::{Check, Isolation, Levels, Need, cost};
use crate::conformance::forger::decode;
use crate::conformance::measure::{self, Edge};
use crate::conformance::probe::{Probe, Stop};
use crate::conformance::session::Way;
use crate::conformance::window;
use crate::record::{Level, SkipReason};

use super::issue::{SLOW_LOGIN, login_cost};

/// Connections that are opened, each of which may reach another instance.
const CONNECTIONS: usize = 32;

/// The family's second part.
pub const CHECKS: &[Check] = &[Check {
    id: "time-node-spread",
    group: "TIME",
    requirement: "the clocks behind 32 fresh connections agree to a second",
    sources: &["ASVS 16.2.2", "RFC 7519 section 4.1.6"],
    levels: Levels::issuing(Level::Should),
    needs: &[Need::Issue],
    variants: &["iat", "date", "cut-off"],
    isolation: Isolation::User,
    cost: cost(CONNECTIONS as u32 + 150, 4),
    intrusive: false,
    flaws: &["skewed-worker"],
    sends: "32 refreshes (a few logins where there are none), each over a connection of its own; compares iat and Date with the instants of sending and receiving; and the end of re-signed tokens as time-exp-leeway measures it, each answer over a connection of its own",
    why: "instances whose clocks differ accept and refuse the same token by luck",
    remedy: "run a time service on every machine, and alarm on its offset",
    run: node_spread,
}];

/// Server clock minus ours, by what many answers allow: an answer says that the offset lies between two bounds.
#[derive(Clone, Copy, Debug)]
struct Spread {
    low: f64,
    high: f64,
    n: usize,
    /// How old a stamp may be when it is shown.
    stale: f64,
}

impl Spread {
    fn new() -> Spread {
        Spread { low: f64::NEG_INFINITY, high: f64::INFINITY, n: 0, stale: 0.0 }
    }

    /// A stamp of whole seconds, rounded down, made between sending and receiving.
    fn see(&mut self, stamp: f64, sent: f64, received: f64) {
        self.low = self.low.max(stamp - received);
        self.high = self.high.min(stamp + 1.0 - sent);
        self.n += 1;
    }

    /// By how much no single offset explains the answers.
    fn excess(&self) -> f64 {
        self.low - self.high - self.stale
    }
}

fn node_spread(p: &mut Probe<'_>) -> Result<(), Stop> {
    if p.target().is_command("issue") {
        return Err(Stop::not_applicable("the login is a command of the profile"));
    }
    let (mut iat, mut date) = (Spread::new(), Spread::new());
    let (slow, first) = login_cost(p)?;
    let mut refresh = first.refresh.filter(|_| p.has(Need::Refresh) && !p.target().is_command("refresh"));
    let rounds = if refresh.is_some() || slow < SLOW_LOGIN { CONNECTIONS } else { 8 };
    for _ in 0..rounds {
        let (operation, answer) = match &refresh {
            Some(token) => ("refresh", p.refresh(token)?),
            None => {
                let vars = p.vars();
                ("issue", p.call("issue", &vars)?)
            }
        };
        see_date(&mut date, &answer);
        let issued =
            answer.reply.as_ref().filter(|_| answer.accepted()).and_then(|r| p.target().tokens(r, operation).ok());
        let Some(issued) = issued else { break };
        let stamp = issued.access.as_deref().and_then(decode).and_then(|(_, c)| c.get("iat")?.as_f64());
        if let Some(stamp) = stamp {
            iat.see(stamp, clock::unix_at(answer.sent), clock::unix_at(answer.received));
        }
        if refresh.is_some() {
            refresh = issued.refresh.or(refresh);
        }
    }
    for (variant, spread) in [("iat", iat), ("date", date)] {
        if spread.n < 2 {
            p.skip(variant, SkipReason::NotApplicable(format!("its answers have no {variant}")));
        } else if spread.excess() > 1.0 {
            let text = format!(
                "{} answers contradict each other by {:.1} s: clocks differ by that at least",
                spread.n,
                spread.excess()
            );
            p.fail(Some(variant), "spread", text);
        } else {
            let text = format!(
                "one clock explains {} answers, {:.2} to {:.2} s ahead of ours",
                spread.n, spread.low, spread.high
            );
            p.pass(Some(variant), "one-clock", text);
        }
    }
    cut_offs(p)
}

/// Whether one cut-off explains what the instances say of a token's end: measured over a connection for each answer.
fn cut_offs(p: &mut Probe<'_>) -> Result<(), Stop> {
    let variant = Some("cut-off");
    if !p.has(Need::SigningKey) {
        p.skip("cut-off", SkipReason::Needs(Need::SigningKey.name().into()));
        return Ok(());
    }
    let ways = match p.forgeable_ways() {
        Ok(ways) => ways,
        Err(Stop::Skip(reason)) => {
            p.skip("cut-off", reason);
            return Ok(());
        }
        Err(stop) => return Err(stop),
    };
    let forger = p.forger()?;
    for way in ways.into_iter().filter(Way::usable) {
        let bounds = measure::cut(p, &way, &forger, Edge::Exp)?.bounds;
        if bounds.excess() > 1.0 {
            let text = format!(
                "`{}` accepts and refuses at the same age: its instances differ by {:.1} s at least",
                way.name,
                bounds.excess()
            );
            p.fail(variant, "spread", text);
            return Ok(());
        }
    }
    p.pass(variant, "one-clock", "one end explains all answers about tokens near their end");
    Ok(())
}

fn see_date(spread: &mut Spread, answer: &Answer) {
    let date = answer.reply.as_ref().and_then(|r| r.header("date")).and_then(window::parse_http_date);
    if let Some(date) = date {
        let (sent, received) = (clock::unix_at(answer.sent), clock::unix_at(answer.received));
        spread.see(date as f64, sent, received);
        // Servers write this header once a second, between requests: one that is busy for a while shows an old one.
        spread.stale = spread.stale.max(1.0 + 2.0 * (received - sent));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_clock_explains_its_stamps_and_two_do_not() {
        let mut one = Spread::new();
        for at in [100.2, 100.9, 101.4, 107.95] {
            one.see((at + 3.0_f64).floor(), at, at + 0.05);
        }
        assert!(one.excess() <= 0.0, "{one:?}");
        let mut two = one;
        two.see((108.0_f64 + 8.0).floor(), 108.0, 108.05);
        assert!(two.excess() > 3.0, "{two:?}");
    }
}

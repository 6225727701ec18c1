//! Is the generator to be believed? The machine's counters before and after, and the rules for void and doubt.

use std::time::Duration;

use rustix::event::{Timespec, epoll};

use super::LoadError;
use super::machine::{Machine, Ports};
use crate::clock;
use crate::record::{Accounting, CertificateRecord, WorkerRecord};
use crate::stats;
use crate::units::Nanos;
use hdrhistogram::Histogram;

/// Less than this share of the planned arrivals sent on time's end voids an open run.
const ACHIEVED_AT_LEAST: f64 = 0.99;
/// More work than this in an open run voids it: the loop was the bottleneck.
pub(super) const BUSY_AT_MOST: f64 = 0.85;
/// A wall clock that moved further than this has stepped.
const STEP_S: f64 = 0.2;
/// More than this share of the time in which our control group was not let run is a doubt.
const THROTTLED_AT_MOST: f64 = 0.001;
/// More than this share of the outgoing ports in TIME_WAIT is a doubt: soon there are none left to connect from.
const PORTS_AT_MOST: f64 = 0.5;
/// More than this share of the answers that refuse what we had spoilt ourselves voids a load.
const BY_US_AT_MOST: f64 = 0.01;
/// Samples below which a median is in doubt.
const FEW: u64 = 200;

/// What a drive knows of itself.
pub(crate) struct Observed<'a> {
    pub open: bool,
    pub accounting: Accounting,
    pub sent: u64,
    pub lag: &'a Histogram<u64>,
    pub response: &'a Histogram<u64>,
    /// Seconds recorded.
    pub recorded_s: f64,
    /// The busiest loop's time with work.
    pub busy: Nanos,
    pub cpu: Nanos,
    pub ours: Option<&'a str>,
    /// The loops, one by one.
    pub workers: Vec<WorkerRecord>,
    /// Who ran on the processors of the loops; none where they had them for themselves.
    pub neighbours: &'a [String],
    pub ports: Option<Ports>,
    pub extra_bytes: u64,
    /// Times a population that is to be used once had to begin again.
    pub rounds: u64,
    /// Requests sent again off the record.
    pub again: u64,
    /// What a closed model is limited by, apart from the generator.
    pub closed: Option<ClosedModel>,
}

/// Where the users of a closed model spend their time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosedModel {
    pub users: u64,
    /// Requests that can be on their way at once.
    pub places: u64,
    /// Users that never sent anything.
    pub never_started: u64,
    pub think_ns: f64,
    /// Mean of all that were completed, the wait for a connection or a session included.
    pub response_ns: f64,
    /// Mean of that wait over all that were planned.
    pub queue_ns: f64,
}

impl ClosedModel {
    /// What keeps the rate from being higher.
    fn limited_by(&self, busy: f64) -> &'static str {
        match self {
            _ if busy > 0.9 => "generator",
            m if m.queue_ns > m.response_ns / 2.0 && m.users > m.places => "connections",
            m if m.queue_ns > m.response_ns / 2.0 => "sessions",
            m if m.think_ns > m.response_ns => "thinking",
            _ if busy < 0.8 => "target",
            _ => "unknown",
        }
    }
}

/// The certificate, by the rules of the design: void means that no verdict may be drawn.
pub(crate) fn certify(before: &Machine, after: &Machine, seen: &Observed<'_>) -> CertificateRecord {
    let a = seen.accounting;
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    let busy = if seen.recorded_s > 0.0 { (seen.busy.as_secs_f64() / seen.recorded_s).min(1.0) } else { 0.0 };
    let steal = match (before.steal, after.steal) {
        (Some((s0, all0)), Some((s1, all1))) if all1 > all0 => Some(share(s1.saturating_sub(s0), all1 - all0)),
        _ => None,
    };
    let wall_us = after.at.since(before.at).0 / 1000;
    let pressure = match (before.pressure_us, after.pressure_us) {
        (Some(p0), Some(p1)) if wall_us > 0 => Some(share(p1.saturating_sub(p0), wall_us).min(1.0)),
        _ => None,
    };
    let throttled = match (before.throttled_us, after.throttled_us) {
        (Some(t0), Some(t1)) if wall_us > 0 => Some(share(t1.saturating_sub(t0), wall_us)),
        _ => None,
    };
    let mut c = CertificateRecord {
        lag_n: seen.lag.len(),
        lag_p50_ns: seen.lag.value_at_quantile(0.5),
        lag_p99_ns: seen.lag.value_at_quantile(0.99),
        achieved: if a.planned == 0 { 1.0 } else { share(seen.sent, a.planned) },
        busy,
        cpu_s: seen.cpu.as_secs_f64(),
        steal,
        pressure,
        throttled,
        time_wait: seen.ports.map(|ports| ports.time_wait),
        ports: seen.ports.map(|ports| ports.range),
        workers: seen.workers.clone(),
        ..CertificateRecord::default()
    };
    let percent = |x: f64| format!("{:.1} %", x * 100.0);
    if a.skipped > 0 {
        c.void.push(format!("{} planned arrivals were skipped: the queue for a connection was full", a.skipped));
    }
    if seen.open && c.achieved < ACHIEVED_AT_LEAST {
        c.void.push(format!("only {} of the planned arrivals were sent by the end", percent(c.achieved)));
    }
    if seen.open && busy > BUSY_AT_MOST {
        c.void.push(format!("the generator was busy {} of the time: it was the bottleneck", percent(busy)));
    }
    if a.by_us > 0 {
        let ended = a.ended() + a.by_us;
        let why = format!(
            "{} of {ended} answers refused a token that we had revoked, rotated or let expire: they say nothing of the target; more `sessions`, or tokens that live longer, would help",
            a.by_us
        );
        let list = if share(a.by_us, ended) > BY_US_AT_MOST { &mut c.void } else { &mut c.doubts };
        list.push(why);
    }
    if let Some(why) = seen.ours {
        c.void.push(format!("this machine failed, not the target: {why}"));
    }
    let stepped = (after.step_s - before.step_s).abs();
    if stepped > STEP_S {
        c.void.push(format!("the wall clock stepped by {stepped:.1} s"));
    }
    let p50 = seen.response.value_at_quantile(0.5);
    if seen.open && p50 > 0 && c.lag_p99_ns as f64 > 0.05 * p50 as f64 {
        c.doubts.push(format!(
            "lag p99 of {} is above 5 % of the median response time of {}",
            Nanos(c.lag_p99_ns),
            Nanos(p50)
        ));
    }
    if let Some(steal) = steal.filter(|s| *s > 0.01) {
        c.doubts.push(format!("the hypervisor took {} of the time", percent(steal)));
    }
    if let Some(throttled) = throttled.filter(|share| *share > THROTTLED_AT_MOST) {
        let part = percent(throttled);
        c.doubts.push(format!("our control group had used up its quota of CPU and stood still for {part} of the time"));
    }
    c.doubts.extend(seen.neighbours.iter().cloned());
    if let Some(ports) = seen.ports.filter(|ports| ports.waiting() > PORTS_AT_MOST) {
        c.doubts.push(format!(
            "{} of {} ports for outgoing connections were in TIME_WAIT: soon none is left to connect from, and a server that keeps connections open needs none",
            ports.time_wait, ports.range
        ));
    }
    if seen.response.len() < FEW {
        c.doubts.push(format!("only {} requests were completed", seen.response.len()));
    } else if !stats::printable(seen.response.len(), 0.99) {
        c.doubts.push("there are too few requests for a 99th percentile".to_owned());
    }
    if seen.extra_bytes > 0 {
        c.doubts
            .push(format!("{} replies had bytes behind their body; those connections were closed", seen.extra_bytes));
    }
    if seen.rounds > 0 {
        c.doubts.push(format!("tokens that were to be used once ran out {} times and were used again", seen.rounds));
    }
    if seen.again > 0 {
        c.doubts.push(format!(
            "{} requests were sent again: the server had closed their connection without a word, or turned them away unread",
            seen.again
        ));
    }
    if let Some(model) = &seen.closed {
        if model.never_started > 0 {
            c.void.push(format!(
                "{} of {} users never sent a request: no connection or session was ever free for them",
                model.never_started, model.users
            ));
        }
        c.bottleneck = Some(model.limited_by(busy).to_owned());
    }
    c
}

/// How late this thread wakes from a kernel timer: what a polling loop has to be early by. Takes about 20 ms.
pub(crate) fn overshoot() -> Result<Nanos, LoadError> {
    let failed = |e: rustix::io::Errno| LoadError::Machine(format!("epoll: {e}"));
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(failed)?;
    let mut events: Vec<epoll::Event> = Vec::with_capacity(1);
    let wish = Duration::from_millis(1);
    let mut late: Vec<u64> = Vec::with_capacity(20);
    for _ in 0..20 {
        let from = clock::mono();
        let timeout = Timespec { tv_sec: 0, tv_nsec: wish.subsec_nanos().into() };
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(failed(e)),
        }
        late.push(clock::mono().since(from).0.saturating_sub(wish.as_nanos() as u64));
    }
    late.sort_unstable();
    // The 90th percentile, within reason: polling longer only costs processor time.
    Ok(Nanos(late[late.len() * 9 / 10].clamp(40_000, 500_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { at: Nanos(0), steal: Some((0, 100)), pressure_us: Some(0), throttled_us: Some(0), step_s: 0.0 }
    }

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut h = Histogram::new_with_bounds(100, 120_000_000_000, 3).unwrap();
        values.iter().for_each(|v| h.saturating_record(*v));
        h
    }

    /// A run of which nothing is to be said.
    fn sound<'h>(lag: &'h Histogram<u64>, response: &'h Histogram<u64>) -> Observed<'h> {
        Observed {
            open: true,
            accounting: Accounting { planned: 2000, completed: 2000, ..Accounting::default() },
            sent: 2000,
            lag,
            response,
            recorded_s: 10.0,
            busy: Nanos(1_000_000_000),
            cpu: Nanos(0),
            ours: None,
            workers: Vec::new(),
            neighbours: &[],
            ports: None,
            extra_bytes: 0,
            rounds: 0,
            again: 0,
            closed: None,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Observed<'_>), void: &str, doubt: &str) {
        let (lag, response) = (histogram(&[1_000; 2000]), histogram(&[100_000; 2000]));
        let mut seen = sound(&lag, &response);
        change(&mut seen);
        let c = certify(&machine(), &Machine { at: Nanos(1_000_000), steal: Some((0, 200)), ..machine() }, &seen);
        assert!(if void.is_empty() { c.void.is_empty() } else { c.void.iter().any(|v| v.contains(void)) }, "{c:?}");
        assert!(
            if doubt.is_empty() { c.doubts.is_empty() } else { c.doubts.iter().any(|v| v.contains(doubt)) },
            "{c:?}"
        );
    }

    #[test]
    fn a_sound_run_is_neither_void_nor_doubtful() {
        check(|_| {}, "", "");
    }

    #[test]
    fn a_control_group_that_stood_still_is_a_doubt() {
        let (lag, response) = (histogram(&[1_000; 2000]), histogram(&[100_000; 2000]));
        let seen = sound(&lag, &response);
        let certified = |throttled_us| {
            let after = Machine { at: Nanos(10_000_000_000), throttled_us: Some(throttled_us), ..machine() };
            certify(&machine(), &after, &seen)
        };
        let still = certified(500_000);
        assert_eq!(still.throttled, Some(0.05));
        assert!(still.doubts.iter().any(|d| d.contains("stood still for 5.0 % of the time")), "{:?}", still.doubts);
        assert!(certified(0).doubts.is_empty());
    }

    #[test]
    fn every_rule_voids_alone() {
        check(|s| s.accounting.skipped = 1, "skipped", "");
        check(|s| s.sent = 1979, "only 99.0 %", "");
        check(|s| s.busy = Nanos(8_600_000_000), "bottleneck", "");
        check(|s| s.ours = Some("no ports"), "no ports", "");
        check(|s| s.accounting.by_us = 50, "50 of 2050 answers refused a token that we", "");
    }

    #[test]
    fn doubts_stand_beside_the_numbers() {
        let lag = histogram(&[6_000; 2000]);
        let few = histogram(&[100_000; 50]);
        let (lag, few) = (&lag, &few);
        let (a, b) = (Histogram::clone(lag), Histogram::clone(few));
        let (a, b): (&'static Histogram<u64>, &'static Histogram<u64>) =
            (Box::leak(Box::new(a)), Box::leak(Box::new(b)));
        check(|s| s.lag = a, "", "lag p99");
        check(|s| s.response = b, "", "only 50 requests");
        let neighbours: &'static [String] = Box::leak(Box::new(["nginx shared processor 1".to_owned()]));
        check(|s| s.neighbours = neighbours, "", "nginx shared processor 1");
        check(|s| s.ports = Some(Ports { time_wait: 15_000, range: 28_232 }), "", "15000 of 28232 ports");
        check(|s| s.ports = Some(Ports { time_wait: 12_000, range: 28_232 }), "", "");
        check(|s| s.rounds = 2, "", "ran out 2 times");
        check(|s| s.accounting.by_us = 5, "", "5 of 2005 answers");
    }

    fn users(of: u64) -> ClosedModel {
        ClosedModel { users: of, places: 64, never_started: 0, think_ns: 0.0, response_ns: 1e6, queue_ns: 0.0 }
    }

    #[test]
    fn a_closed_run_may_be_busy() {
        check(
            |s| {
                s.open = false;
                s.closed = Some(users(64));
                s.busy = Nanos(9_500_000_000);
            },
            "",
            "",
        );
    }

    #[test]
    fn a_closed_run_says_what_it_was_limited_by() {
        let model = users(64);
        assert_eq!(model.limited_by(0.95), "generator");
        assert_eq!(model.limited_by(0.85), "unknown");
        assert_eq!(model.limited_by(0.2), "target");
        assert_eq!(ClosedModel { think_ns: 2e6, ..model }.limited_by(0.2), "thinking");
        let waiting = ClosedModel { queue_ns: 0.8e6, ..model };
        assert_eq!(waiting.limited_by(0.2), "sessions");
        assert_eq!(ClosedModel { users: 100, ..waiting }.limited_by(0.2), "connections");
    }

    #[test]
    fn users_that_never_sent_anything_void_a_closed_run() {
        let lost = |s: &mut Observed<'_>| {
            s.open = false;
            s.closed = Some(ClosedModel { never_started: 3, ..users(64) });
        };
        check(lost, "3 of 64 users never sent a request", "");
        check(
            |s| {
                s.open = false;
                s.accounting.skipped = 1;
            },
            "skipped",
            "",
        );
        check(|s| s.again = 12, "", "12 requests were sent again");
    }
}

//! When is the n-th request due? A pure function of the seed, so that any core can recompute its share.

use crate::scenario::{Process, Sine, Stage};
use crate::units::Nanos;

/// What a choice is made for: each purpose has random numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The distance to the arrival before.
    Gap = 1,
    /// Which operation.
    Operation = 2,
    /// Which session's token.
    Session = 3,
    /// Whether the token is spoilt on purpose.
    Spoil = 4,
}

/// The random 64 bits of arrival `n` for one purpose: the same in every run with this seed, on any core.
pub fn random(seed: u64, n: u64, purpose: Purpose) -> u64 {
    // SplitMix64 (Steele, Lea, Flood 2014), used as a counter-based generator.
    let mut z = seed ^ (purpose as u64).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    z = z.wrapping_add((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The same as a number in `[0, 1)`.
pub fn uniform(seed: u64, n: u64, purpose: Purpose) -> f64 {
    (random(seed, n, purpose) >> 11) as f64 / (1u64 << 53) as f64
}

/// A share of the plan: every arrival `n` with `n mod of = index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stripe {
    /// Which share, from 0.
    pub index: u64,
    /// How many shares.
    pub of: u64,
}

/// A stretch of time in which the rate changes evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Segment {
    /// Seconds.
    lasts: f64,
    /// Arrivals per second at its start.
    from: f64,
    /// Arrivals per second at its end.
    to: f64,
}

impl Segment {
    fn area(self) -> f64 {
        self.lasts * (self.from + self.to) / 2.0
    }
    /// Seconds from its start until `area` arrivals are due.
    fn when(self, area: f64) -> f64 {
        let slope = (self.to - self.from) / self.lasts;
        // The form of the root that does not cancel, also right for a slope of zero.
        2.0 * area / (self.from + (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt())
    }
}

/// The open plan: arrivals over time, warm-up first.
#[derive(Clone, Debug, PartialEq)]
pub struct Pacer {
    segments: Vec<Segment>,
    process: Process,
    seed: u64,
    warmup: Nanos,
    total: Nanos,
}

/// Straight pieces of one period of a wave: the rate is nowhere off by more than 0.2 % of the amplitude.
const PIECES: f64 = 64.0;

/// A wave around `height`, in straight pieces. It never goes below zero.
fn wave(sine: &Sine, lasts: f64, rate: f64, height: f64, segments: &mut Vec<Segment>) {
    let period = sine.period.0.as_secs_f64().max(0.001);
    let at = |t: f64| rate * (height + sine.amplitude.0 * (std::f64::consts::TAU * t / period).sin()).max(0.0);
    let pieces = (lasts / period * PIECES).ceil().max(1.0);
    for piece in 0..pieces as u64 {
        let (from, to) = (lasts * piece as f64 / pieces, lasts * (piece + 1) as f64 / pieces);
        segments.push(Segment { lasts: to - from, from: at(from), to: at(to) });
    }
}

/// The share of full height at which a plan that begins with a ramp is warmed up.
const WARM_HEIGHT: f64 = 0.1;

impl Pacer {
    /// `rate` per second at full height. A plan that begins with a hold warms up at full height; one that begins
    /// with a ramp warms up at a tenth of it, and the ramp goes on from there. Stages of no length are left out.
    pub fn new(rate: f64, process: Process, warmup: Nanos, stages: &[Stage], seed: u64) -> Pacer {
        let ramps = matches!(stages.first(), Some(Stage::Ramp(_)));
        let mut height = match (ramps, warmup) {
            (false, _) => 1.0,
            (true, Nanos(0)) => 0.0,
            (true, _) => WARM_HEIGHT,
        };
        let mut segments = vec![Segment { lasts: warmup.as_secs_f64(), from: rate * height, to: rate * height }];
        let mut total = warmup;
        for stage in stages {
            total = total + Nanos::from(stage.lasts());
            let lasts = stage.lasts().as_secs_f64();
            match stage {
                Stage::Ramp(_) => {
                    segments.push(Segment { lasts, from: rate * height, to: rate });
                    height = 1.0;
                }
                Stage::Hold(_) => segments.push(Segment { lasts, from: rate * height, to: rate * height }),
                Stage::Spike(spike) => {
                    segments.push(Segment { lasts, from: rate * spike.height, to: rate * spike.height });
                }
                Stage::Sine(sine) => wave(sine, lasts, rate, height, &mut segments),
            }
        }
        segments.retain(|s| s.lasts > 0.0 && s.area() > 0.0);
        Pacer { segments, process, seed, warmup, total }
    }

    /// From the start until recording begins.
    pub fn warmup(&self) -> Nanos {
        self.warmup
    }

    /// From the start until the last stage ends.
    pub fn total(&self) -> Nanos {
        self.total
    }

    /// The expected number of arrivals, warm-up included.
    pub fn expected(&self) -> f64 {
        self.segments.iter().map(|s| s.area()).sum()
    }

    /// The intended starts of one share, in order.
    pub fn arrivals(&self, stripe: Stripe) -> Arrivals<'_> {
        Arrivals { pacer: self, stripe, n: 0, area: 0.0, segment: 0, began: 0.0, used: 0.0 }
    }

    fn gap(&self, n: u64) -> f64 {
        match self.process {
            // Half a distance first: the plan is centred in its time.
            Process::Constant => {
                if n == 0 {
                    0.5
                } else {
                    1.0
                }
            }
            Process::Poisson => -(1.0 - uniform(self.seed, n, Purpose::Gap)).ln(),
        }
    }
}

/// The intended starts of one share of a plan.
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    pacer: &'a Pacer,
    stripe: Stripe,
    /// The next arrival of the whole plan.
    n: u64,
    /// Arrivals that were due by then, as a real number.
    area: f64,
    segment: usize,
    /// Seconds at which the present segment began.
    began: f64,
    /// Area of the segments before the present one.
    used: f64,
}

impl Iterator for Arrivals<'_> {
    /// The arrival's number in the whole plan, and when it is due after the start.
    type Item = (u64, Nanos);

    fn next(&mut self) -> Option<(u64, Nanos)> {
        loop {
            let n = self.n;
            self.area += self.pacer.gap(n);
            self.n += 1;
            while self.area >= self.used + self.pacer.segments.get(self.segment)?.area() {
                let segment = self.pacer.segments[self.segment];
                self.used += segment.area();
                self.began += segment.lasts;
                self.segment += 1;
            }
            if n % self.stripe.of == self.stripe.index {
                let segment = self.pacer.segments[self.segment];
                return Some((n, Nanos::from_secs_f64(self.began + segment.when(self.area - self.used))));
            }
        }
    }
}

/// When a load stops, all instants after its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopRule {
    /// From here on it is recorded.
    pub warmup: Nanos,
    /// From here on nothing is sent.
    pub ends: Nanos,
    /// Until here the unfinished are waited for; what is left then is censored.
    pub drained: Nanos,
}

impl StopRule {
    /// Waits for the unfinished no longer than for one request, and never longer than 5 s.
    pub fn new(warmup: Nanos, ends: Nanos, timeout: Nanos) -> StopRule {
        StopRule { warmup, ends, drained: ends + timeout.min(Nanos(5_000_000_000)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Spike;
    use crate::units::{Ratio, Span};
    use std::time::Duration;

    const ALL: Stripe = Stripe { index: 0, of: 1 };

    fn secs(s: f64) -> Span {
        Span(Duration::from_secs_f64(s))
    }

    fn plan(rate: f64, process: Process, warmup: f64, stages: &[Stage]) -> Pacer {
        Pacer::new(rate, process, Nanos::from_secs_f64(warmup), stages, 42)
    }

    fn between(pacer: &Pacer, from: f64, to: f64) -> usize {
        let within = |at: &Nanos| at.as_secs_f64() >= from && at.as_secs_f64() < to;
        pacer.arrivals(ALL).filter(|(_, at)| within(at)).count()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced_and_centred() {
        let pacer = plan(1000.0, Process::Constant, 0.0, &[Stage::Hold(secs(2.0))]);
        let due: Vec<u64> = pacer.arrivals(ALL).map(|(_, at)| at.0).collect();
        assert_eq!(due.len(), 2000);
        for (n, at) in due.iter().enumerate() {
            let expected = n as u64 * 1_000_000 + 500_000;
            assert!(at.abs_diff(expected) <= 1, "arrival {n} at {at}");
        }
    }

    #[test]
    fn a_ramp_rises_evenly_and_holds() {
        let pacer = plan(1000.0, Process::Constant, 0.0, &[Stage::Ramp(secs(2.0)), Stage::Hold(secs(1.0))]);
        assert_eq!(pacer.expected().round(), 2000.0);
        // A quarter of the ramp's arrivals fall into its first half.
        assert_eq!((between(&pacer, 0.0, 1.0), between(&pacer, 1.0, 2.0), between(&pacer, 2.0, 3.0)), (250, 750, 1000));
        let downhill = Segment { lasts: 2.0, from: 100.0, to: 0.0 };
        assert_eq!(downhill.area(), 100.0);
        assert!((downhill.when(75.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_spike_rises_at_once_and_falls_back() {
        let spike = Stage::Spike(Spike { height: 5.0, lasts: secs(0.5) });
        let pacer = plan(1000.0, Process::Constant, 0.0, &[Stage::Hold(secs(1.0)), spike, Stage::Hold(secs(1.0))]);
        assert_eq!(
            (between(&pacer, 0.0, 1.0), between(&pacer, 1.0, 1.5), between(&pacer, 1.5, 2.5)),
            (1000, 2500, 1000)
        );
        assert_eq!(pacer.total(), Nanos(2_500_000_000));
    }

    #[test]
    fn a_wave_goes_up_and_down_around_the_height_reached() {
        let sine = Stage::Sine(Sine { amplitude: Ratio(0.5), period: secs(2.0), lasts: secs(4.0) });
        let pacer = plan(1000.0, Process::Constant, 0.0, &[Stage::Hold(secs(1.0)), sine]);
        // Half a period holds 1 s x (1 + 0.5 x 2/pi), the other half as much less.
        let (crest, trough) = (between(&pacer, 1.0, 2.0), between(&pacer, 2.0, 3.0));
        assert!(crest.abs_diff(1318) <= 2 && trough.abs_diff(682) <= 2, "{crest} and {trough}");
        assert!(between(&pacer, 1.0, 5.0).abs_diff(4000) <= 2);
        // From the ground up a wave has troughs without any arrival, and does not go below them.
        let deep = Stage::Sine(Sine { amplitude: Ratio(1.0), period: secs(2.0), lasts: secs(2.0) });
        let ground = Pacer::new(1000.0, Process::Constant, Nanos(0), &[Stage::Ramp(secs(1.0)), deep], 42);
        assert!(ground.arrivals(ALL).all(|(_, at)| at <= ground.total()));
        assert!(between(&ground, 2.45, 2.55) < 5);
    }

    #[test]
    fn warm_up_comes_first_at_the_height_that_follows() {
        let hold = plan(1000.0, Process::Constant, 1.0, &[Stage::Hold(secs(1.0))]);
        assert_eq!((between(&hold, 0.0, 1.0), between(&hold, 1.0, 2.0)), (1000, 1000));
        assert_eq!((hold.warmup(), hold.total()), (Nanos(1_000_000_000), Nanos(2_000_000_000)));
        let ramp = plan(1000.0, Process::Constant, 1.0, &[Stage::Ramp(secs(1.0)), Stage::Hold(secs(1.0))]);
        assert_eq!((between(&ramp, 0.0, 1.0), between(&ramp, 1.0, 2.0), between(&ramp, 2.0, 3.0)), (100, 550, 1000));
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps() {
        let pacer = plan(1000.0, Process::Poisson, 0.0, &[Stage::Hold(secs(100.0))]);
        let due: Vec<f64> = pacer.arrivals(ALL).map(|(_, at)| at.as_secs_f64()).collect();
        assert!((due.len() as f64 - 100_000.0).abs() < 4.0 * 100_000f64.sqrt(), "{}", due.len());
        let gaps: Vec<f64> = due.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "coefficient of variation {}", variance.sqrt() / mean);
        let longer = gaps.iter().filter(|g| **g > 0.002).count() as f64 / gaps.len() as f64;
        assert!((longer - (-2f64).exp()).abs() < 0.005, "{longer}");
    }

    #[test]
    fn stripes_are_the_plan_dealt_out() {
        let pacer = plan(500.0, Process::Poisson, 0.5, &[Stage::Ramp(secs(1.0)), Stage::Hold(secs(1.0))]);
        let whole: Vec<_> = pacer.arrivals(ALL).collect();
        let mut dealt: Vec<_> =
            (0..3).flat_map(|index| pacer.arrivals(Stripe { index, of: 3 }).collect::<Vec<_>>()).collect();
        dealt.sort();
        assert_eq!(whole, dealt);
        assert_eq!(whole, pacer.arrivals(ALL).collect::<Vec<_>>());
    }

    #[test]
    fn another_seed_is_another_plan() {
        let other = Pacer::new(500.0, Process::Poisson, Nanos(0), &[Stage::Hold(secs(1.0))], 43);
        let pacer = plan(500.0, Process::Poisson, 0.0, &[Stage::Hold(secs(1.0))]);
        assert_ne!(pacer.arrivals(ALL).next(), other.arrivals(ALL).next());
        assert_ne!(random(1, 2, Purpose::Session), random(1, 2, Purpose::Operation));
    }
}

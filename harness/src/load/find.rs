//! What is the highest rate at which every threshold holds? A bisection, repeated, so that its spread is known.

use super::certificate::BUSY_AT_MOST;
use super::drive::{Drive, Driven, drive};
use super::population::Population;
use super::thresholds::observed;
use super::{LoadError, Phase};
use crate::record::{FoundRecord, TryRecord};
use crate::scenario::{Arrival, Threshold};

/// Independent searches whose least and greatest result are the interval: the median lies outside with probability
/// 2 x (1/2)^6, so that the interval covers it with 96.9 %.
const SEARCHES: u64 = 6;
/// The first search stops once the two ends are this near.
const COARSE: f64 = 1.25;
/// Tries of each of the others, each of which halves the distance.
const FINE_TRIES: usize = 3;
/// The lowest rate that is tried, as a share of the highest.
const LOWEST: f64 = 1.0 / 1024.0;

/// Searches below the open rate of the workload, each try as long as its stages, and drives the rate it found once
/// more. The record of that drive carries what was found; its thresholds are judged like those of any other load.
pub fn find_max_rate(
    d: &Drive<'_>,
    population: &mut Population,
    thresholds: &[Threshold],
) -> Result<Driven, LoadError> {
    let top = match (&d.workload.arrival, d.rate) {
        (_, Some(rate)) => rate,
        (Arrival::Open(open), None) => open.rate.0,
        (Arrival::Closed(_), None) => {
            return Err(LoadError::Usage(
                "`find: max-rate` needs an open arrival model; hint: `arrival: {open: {rate: 20000/s}}`".into(),
            ));
        }
    };
    let judged: Vec<&Threshold> =
        thresholds.iter().filter(|t| t.topology.as_deref().is_none_or(|name| name == d.topology)).collect();
    if judged.is_empty() {
        return Err(LoadError::Usage(format!(
            "`find: max-rate` needs a threshold that is held to in `{}`; hint: `thresholds: [response.p99 < 20ms]`",
            d.topology
        )));
    }
    let mut search = Search { d, population, thresholds: &judged, tries: Vec::new() };
    let found = search.run(top)?;
    let tries = std::mem::take(&mut search.tries);
    let at = found.median.max(top * LOWEST);
    let mut last = drive(&Drive { rate: Some(at), full_speed: false, ..*d }, population)?;
    last.record.found = Some(FoundRecord {
        rate_per_s: found.median,
        low_per_s: found.low,
        high_per_s: found.high,
        at_least: found.at_least,
        tries,
    });
    Ok(last)
}

struct Found {
    median: f64,
    low: f64,
    high: f64,
    at_least: bool,
}

struct Search<'a, 'd> {
    d: &'a Drive<'d>,
    population: &'a mut Population,
    thresholds: &'a [&'a Threshold],
    tries: Vec<TryRecord>,
}

impl Search<'_, '_> {
    fn run(&mut self, top: f64) -> Result<Found, LoadError> {
        if self.holds(top, 0)? {
            return Ok(Found { median: top, low: top, high: top, at_least: true });
        }
        // Downwards in large steps first, since most of the range is far above what a server can bear.
        let mut high = top;
        let mut low = loop {
            let low = high / 4.0;
            if low < top * LOWEST {
                return Ok(Found { median: 0.0, low: 0.0, high, at_least: false });
            }
            if self.holds(low, 0)? {
                break low;
            }
            high = low;
        };
        while high / low > COARSE {
            let middle = (low * high).sqrt();
            if self.holds(middle, 0)? { low = middle } else { high = middle }
        }
        let centre = (low * high).sqrt();
        let mut results = vec![centre];
        for search in 1..SEARCHES {
            results.push(self.once(centre / COARSE, centre * COARSE, search)?);
        }
        results.sort_by(f64::total_cmp);
        let middle = results.len() / 2;
        let median = (results[middle - 1] + results[middle]) / 2.0;
        Ok(Found { median, low: results[0], high: results[results.len() - 1], at_least: false })
    }

    /// One more search between two rates, with arrivals of its own.
    fn once(&mut self, mut low: f64, mut high: f64, search: u64) -> Result<f64, LoadError> {
        for _ in 0..FINE_TRIES {
            let middle = (low * high).sqrt();
            if self.holds(middle, search)? { low = middle } else { high = middle }
        }
        Ok((low * high).sqrt())
    }

    /// Whether every threshold holds at this rate.
    fn holds(&mut self, rate: f64, search: u64) -> Result<bool, LoadError> {
        let seed = self.d.seed.unwrap_or(self.d.workload.seed).wrapping_add(search * 1000 + self.tries.len() as u64);
        let driven = drive(
            &Drive { rate: Some(rate), full_speed: false, control: Some(0.0), seed: Some(seed), ..*self.d },
            self.population,
        )?;
        if driven.interrupted {
            return Err(LoadError::Cancelled);
        }
        let why = self.miss(&driven);
        self.tries.push(TryRecord { rate_per_s: rate, held: why.is_none(), why: why.clone() });
        (self.d.on_progress)(&super::Progress {
            phase: Phase::Trying { rate, held: why.is_none() },
            ..Default::default()
        });
        Ok(why.is_none())
    }

    fn miss(&self, driven: &Driven) -> Option<String> {
        let certificate = &driven.record.certificate;
        if certificate.busy > BUSY_AT_MOST {
            return Some("the generator itself cannot send more".to_owned());
        }
        for threshold in self.thresholds {
            match observed(threshold, &driven.record, &driven.intervals) {
                Some(value) if threshold.holds(value) => {}
                Some(_) => return Some(format!("missed `{threshold}`")),
                None => return Some(format!("too few samples for `{threshold}`")),
            }
        }
        certificate.void.first().cloned()
    }
}

//! What is the highest rate at which every threshold holds? Brackets around it, found anew several times, so that their
//! spread is known.

use std::time::Duration;

use super::certificate::BUSY_AT_MOST;
use super::drive::{Drive, Driven, drive_watched};
use super::population::Population;
use super::thresholds::{Judgement, judge};
use super::{LoadError, Phase, Progress, SearchProgress};
use crate::record::{FoundRecord, TryRecord};
use crate::scenario::{Arrival, Stage, Threshold};
use crate::units::{Nanos, Span};

/// Searches that each bracket the limit anew. With n of them, their median lies between the least and the greatest with
/// probability 1 - 2 x (1/2)^n: 96.9 % with six.
const SEARCHES: usize = 6;
/// The first, coarse search stops once the two ends are this near; the others begin with ends this far apart.
const COARSE: f64 = 1.25;
/// The other searches stop once their two ends are this near.
const FINE: f64 = 1.06;
/// The lowest rate that is tried, as a share of the highest.
const LOWEST: f64 = 1.0 / 1024.0;
/// A try that has too few samples is made longer, up to so many times the workload's length.
const LONGER_AT_MOST: f64 = 8.0;
/// How long a target that cannot be reached is given to recover from the try before.
const RECOVERY: Duration = Duration::from_secs(2);
/// Why a try was missed that says nothing of the target.
const OURS: &str = "the generator itself cannot send more";
/// Tries of the coarse search, about; and of each of the others.
const COARSE_TRIES: usize = 8;
const FINE_TRIES: usize = 4;

/// Searches below the open rate of the workload, each try a hold as long as its stages or, where that has too few samples
/// for a percentile, longer. Then drives once more at the rate that held in every search: the record of that drive carries
/// what was found, and its thresholds are judged like those of any other load. Interrupted, or where the target can no longer
/// be reached, the record of the last try carries what was found until then.
pub fn find_max_rate(
    d: &Drive<'_>,
    population: &mut Population,
    thresholds: &[Threshold],
) -> Result<Searched, LoadError> {
    let top = match (&d.workload.arrival, d.rate) {
        (_, Some(rate)) => rate,
        (Arrival::Open(open), None) => open.rate.0,
        (Arrival::Closed(_), None) => {
            return Err(LoadError::Usage(
                "`find: max-rate` needs an open arrival model; hint: `arrival: {open: {rate: 20000/s}}`".into(),
            ));
        }
    };
    let judged: Vec<Threshold> =
        thresholds.iter().filter(|t| t.topology.as_deref().is_none_or(|name| name == d.topology)).cloned().collect();
    if judged.is_empty() {
        return Err(LoadError::Usage(format!(
            "`find: max-rate` needs a threshold that is held to in `{}`; hint: `thresholds: [response.p99 < 20ms]`",
            d.topology
        )));
    }
    let length = d.duration.unwrap_or_else(|| d.workload.stages.iter().map(Stage::lasts).sum());
    let mut tries = Tries { d, population, thresholds: &judged, length, done: Vec::new(), wanted: 0.0, last: None };
    let mut brackets = Vec::new();
    let ended = search(top, &mut |rate, left| tries.at(rate, left), &mut brackets);
    let mut found = match ended {
        // What is known by then is kept.
        Err(Stop(error)) => {
            let found = bracketed(&brackets).unwrap_or_else(|| between(&tries.done, top));
            return tries.ended_by(error, found);
        }
        Ok(Ended::Bracketed) => bracketed(&brackets).unwrap_or_default(),
        Ok(Ended::AtLeast) => {
            FoundRecord { rate_per_s: top, low_per_s: top, high_per_s: top, at_least: true, ..FoundRecord::default() }
        }
        Ok(Ended::Below(high)) => FoundRecord { high_per_s: high, ..FoundRecord::default() },
        Ok(Ended::Unjudged(rate)) => FoundRecord {
            unjudged: tries.done.last().and_then(|last| last.why.clone()),
            ..between(&tries.done, rate * 4.0)
        },
    };
    found = unless_ours(found, &tries.done);
    let at = match (found.low_per_s, &found.unjudged, tries.done.last()) {
        (low, ..) if low > 0.0 => low,
        (_, Some(_), Some(last)) => last.rate_per_s,
        _ => found.high_per_s,
    };
    let longer = tries.longer(at);
    let mut last = match tries.drive_patiently(at, longer, 0) {
        Err(error) => return tries.ended_by(error, found),
        Ok(driven) => driven,
    };
    found.interrupted = last.interrupted;
    found.tries = tries.done;
    last.record.found = Some(found);
    Ok(Searched { driven: last, ended: None })
}

/// What a search came to.
#[derive(Debug)]
pub struct Searched {
    /// The last drive, whose record carries what was found.
    pub driven: Driven,
    /// What ended the search before it was through, unless that was a cancellation.
    pub ended: Option<LoadError>,
}

/// What a try says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Held,
    Missed,
    /// Too few samples, however long it was made.
    TooFew,
}

/// A try that could not be made, or was interrupted.
struct Stop(LoadError);

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    Bracketed,
    /// Everything held at the highest rate that was to be tried.
    AtLeast,
    /// Nothing held, down to this rate.
    Below(f64),
    /// At this rate a try has too few samples, and nothing higher held.
    Unjudged(f64),
}

/// A rate that held and a higher one that did not.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bracket {
    low: f64,
    high: f64,
}

impl Bracket {
    fn middle(self) -> f64 {
        (self.low * self.high).sqrt()
    }
}

/// The search, apart from what a try is: `ask` is given a rate and how many tries are still to come, about. Brackets are
/// kept as they are found.
fn search<E>(
    top: f64,
    ask: &mut impl FnMut(f64, usize) -> Result<Answer, E>,
    brackets: &mut Vec<Bracket>,
) -> Result<Ended, E> {
    let fine = SEARCHES * FINE_TRIES;
    match ask(top, COARSE_TRIES + fine)? {
        Answer::Held => return Ok(Ended::AtLeast),
        Answer::TooFew => return Ok(Ended::Unjudged(top)),
        Answer::Missed => {}
    }
    // Downwards in large steps first, since most of the range is far above what a server can bear.
    let mut around = Bracket { low: 0.0, high: top };
    loop {
        let low = around.high / 4.0;
        if low < top * LOWEST {
            return Ok(Ended::Below(around.high));
        }
        match ask(low, COARSE_TRIES / 2 + fine)? {
            Answer::Held => {
                around.low = low;
                break;
            }
            Answer::Missed => around.high = low,
            Answer::TooFew => return Ok(Ended::Unjudged(low)),
        }
    }
    halve(&mut around, COARSE, fine, ask)?;
    let centre = around.middle();
    for n in 0..SEARCHES {
        let left = (SEARCHES - n) * FINE_TRIES;
        // Each on a grid of its own, so that they do not agree because they ask about the same rates.
        let centre = centre * FINE.powf((n as f64 + 0.5) / SEARCHES as f64 - 0.5);
        let (low, high) = (centre / COARSE.sqrt(), (centre * COARSE.sqrt()).min(top));
        let mut bracket = Bracket { low, high };
        // Both ends are tried anew: what held before may have been luck.
        if ask(low, left)? == Answer::Held {
            while bracket.high < top && ask(bracket.high, left.saturating_sub(1))? == Answer::Held {
                bracket = Bracket { low: bracket.high, high: (bracket.high * COARSE).min(top) };
            }
        } else {
            bracket = Bracket { low: low / COARSE, high: low };
            while bracket.low >= top * LOWEST && ask(bracket.low, left.saturating_sub(1))? != Answer::Held {
                bracket = Bracket { low: bracket.low / COARSE, high: bracket.low };
            }
            if bracket.low < top * LOWEST {
                bracket.low = 0.0;
                brackets.push(bracket);
                continue;
            }
        }
        halve(&mut bracket, FINE, left.saturating_sub(2), ask)?;
        brackets.push(bracket);
    }
    Ok(Ended::Bracketed)
}

/// Halves a bracket until its ends are near.
fn halve<E>(
    bracket: &mut Bracket,
    near: f64,
    left: usize,
    ask: &mut impl FnMut(f64, usize) -> Result<Answer, E>,
) -> Result<(), E> {
    while bracket.high / bracket.low > near {
        let middle = bracket.middle();
        match ask(middle, left)? {
            Answer::Held => bracket.low = middle,
            // What cannot be shown to hold is not said to.
            Answer::Missed | Answer::TooFew => bracket.high = middle,
        }
    }
    Ok(())
}

/// The median of the brackets, from the lowest rate that held to the highest that did not, and how sure that is.
fn bracketed(brackets: &[Bracket]) -> Option<FoundRecord> {
    let mut middles: Vec<f64> = brackets.iter().map(|b| b.middle()).collect();
    middles.sort_by(f64::total_cmp);
    let n = middles.len();
    let median = (middles.get(n.checked_sub(1)? / 2)? + middles.get(n / 2)?) / 2.0;
    Some(FoundRecord {
        rate_per_s: median,
        low_per_s: brackets.iter().map(|b| b.low).fold(f64::INFINITY, f64::min),
        high_per_s: brackets.iter().map(|b| b.high).fold(0.0, f64::max),
        searches: n as u32,
        level: 1.0 - 0.5_f64.powi(n as i32 - 1),
        ..FoundRecord::default()
    })
}

/// What the tries alone say: the highest rate that held below every one that did not.
fn between(tries: &[TryRecord], top: f64) -> FoundRecord {
    let missed = tries.iter().filter(|t| !t.held).map(|t| t.rate_per_s).fold(top, f64::min);
    let held = tries.iter().filter(|t| t.held && t.rate_per_s < missed).map(|t| t.rate_per_s).fold(0.0, f64::max);
    FoundRecord { rate_per_s: held, low_per_s: held, high_per_s: missed, ..FoundRecord::default() }
}

/// Where the generator gave out before the target did, the target bears at least what held: no more is known of it.
fn unless_ours(found: FoundRecord, tries: &[TryRecord]) -> FoundRecord {
    let ours = |t: &TryRecord| !t.held && t.rate_per_s <= found.high_per_s && t.why.as_deref() == Some(OURS);
    if !tries.iter().any(ours) {
        return found;
    }
    match found.low_per_s {
        low if low > 0.0 => {
            FoundRecord { rate_per_s: low, high_per_s: low, at_least: true, by_generator: true, ..found }
        }
        _ => FoundRecord { unjudged: Some(OURS.to_owned()), by_generator: true, ..found },
    }
}

/// The tries of a search, driven.
struct Tries<'a, 'd> {
    d: &'a Drive<'d>,
    population: &'a mut Population,
    thresholds: &'a [Threshold],
    length: Duration,
    done: Vec<TryRecord>,
    /// Arrivals that a try must have, as far as it is known: as many whatever the rate is.
    wanted: f64,
    /// The last one that was driven.
    last: Option<Driven>,
}

impl Tries<'_, '_> {
    /// Drives a rate, longer again as long as there are too few samples.
    fn at(&mut self, rate: f64, left: usize) -> Result<Answer, Stop> {
        let mut longer = self.longer(rate);
        loop {
            let driven = self.drive_patiently(rate, longer, left).map_err(Stop)?;
            if driven.interrupted {
                self.last = Some(driven);
                return Err(Stop(LoadError::Cancelled));
            }
            let seconds = driven.record.duration_s;
            let (answer, why, wants) = self.verdict(&driven);
            self.last = Some(driven);
            // A little more than it takes, since arrivals are not even.
            let wanted = (longer * wants * 1.2).min(LONGER_AT_MOST);
            if answer == Answer::TooFew && wanted > longer * 1.05 {
                longer = wanted;
                self.wanted = self.wanted.max(longer * self.length.as_secs_f64() * rate);
                continue;
            }
            let held = answer == Answer::Held;
            self.done.push(TryRecord { rate_per_s: rate, held, why, seconds });
            (self.d.on_progress)(&Progress {
                phase: Phase::Tried { rate, held: (answer != Answer::TooFew).then_some(held) },
                ..Progress::default()
            });
            return Ok(answer);
        }
    }

    /// The last record that there is, with what was found until then; the error alone where nothing was driven before.
    fn ended_by(self, error: LoadError, found: FoundRecord) -> Result<Searched, LoadError> {
        let Some(mut driven) = self.last else { return Err(error) };
        let ended = (!matches!(error, LoadError::Cancelled)).then_some(error);
        driven.interrupted = ended.is_none();
        let why = ended.as_ref().map(|error| self.d.redactor.text(&error.to_string()));
        let found = unless_ours(found, &self.done);
        driven.record.found = Some(FoundRecord { interrupted: ended.is_none(), ended: why, tries: self.done, ..found });
        Ok(Searched { driven, ended })
    }

    /// Drives a rate. The try before may have been too much: what cannot be reached now gets a moment, once.
    fn drive_patiently(&mut self, rate: f64, longer: f64, left: usize) -> Result<Driven, LoadError> {
        match self.drive(rate, longer, left) {
            Err(LoadError::Wire(_)) => {
                std::thread::sleep(RECOVERY);
                self.drive(rate, longer, left)
            }
            driven => driven,
        }
    }

    /// How many times as long as the workload a try at this rate has to be, as far as it is known.
    fn longer(&self, rate: f64) -> f64 {
        (self.wanted / rate / self.length.as_secs_f64().max(1e-3)).clamp(1.0, LONGER_AT_MOST)
    }

    fn drive(&mut self, rate: f64, longer: f64, left: usize) -> Result<Driven, LoadError> {
        let d = self.d;
        let number = self.done.len() + 1;
        let seed = d.seed.unwrap_or(d.workload.seed).wrapping_add(number as u64 - 1);
        let duration = self.length.mul_f64(longer);
        let warmup = d.warmup.unwrap_or(d.workload.warmup.0);
        let one = Nanos::from(warmup) + Nanos::from(self.length);
        let this = Nanos::from(warmup) + Nanos::from(duration);
        let progress = SearchProgress {
            number,
            about: number + left,
            rate,
            left: Nanos(one.0.saturating_mul(left as u64)) + this,
        };
        let told = |p: &Progress| (d.on_progress)(&Progress { search: Some(progress), ..*p });
        let stages = vec![Stage::Hold(Span(duration))];
        let workload = crate::scenario::Workload { stages, ..d.workload.clone() };
        let drive = Drive {
            workload: &workload,
            rate: Some(rate),
            full_speed: false,
            seed: Some(seed),
            // Beside the last drive only: what stands beside a try must not decide it.
            control: if left > 0 { Some(0.0) } else { d.control },
            duration: None,
            on_progress: &told,
            ..*d
        };
        drive_watched(&drive, self.population, self.thresholds)
    }

    /// Whether every threshold held; if not, why; and how many times as long it has to be to say.
    fn verdict(&self, driven: &Driven) -> (Answer, Option<String>, f64) {
        let record = &driven.record;
        let missed = |why: String| (Answer::Missed, Some(why), 1.0);
        if record.certificate.busy > BUSY_AT_MOST {
            return missed(OURS.to_owned());
        }
        if let Some(expression) = &record.aborted_by {
            return missed(format!("missed `{expression}`"));
        }
        let mut few: Option<(String, f64)> = None;
        for threshold in self.thresholds {
            match judge(threshold, record) {
                Judgement::Held(_) => {}
                Judgement::Missed(seen) => {
                    return missed(format!("missed `{threshold}`: {}", seen.text(threshold.metric)));
                }
                Judgement::Open(_, why) => match why.wants() {
                    Some(wants) => {
                        let most = few.as_ref().map_or(0.0, |(_, most)| *most);
                        few = Some((format!("`{threshold}`: {why}"), wants.max(most)));
                    }
                    None => return missed(format!("`{threshold}` cannot be shown to hold: {why}")),
                },
            }
        }
        match (record.certificate.void.first(), few) {
            (Some(void), _) => missed(void.clone()),
            (None, Some((why, wants))) => (Answer::TooFew, Some(why), wants),
            (None, None) => (Answer::Held, None, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::plan::Purpose;
    use crate::load::random;

    /// A server that bears `limit` a second, give or take a factor that changes from try to try.
    fn server(limit: f64, spread: f64, asked: &mut Vec<f64>) -> impl FnMut(f64, usize) -> Result<Answer, ()> {
        move |rate, _| {
            let u = random(7, asked.len() as u64, Purpose::Gap) as f64 / u64::MAX as f64;
            asked.push(rate);
            Ok(if rate <= limit * (1.0 + spread * (2.0 * u - 1.0)) { Answer::Held } else { Answer::Missed })
        }
    }

    fn found(limit: f64, spread: f64) -> (FoundRecord, Vec<Bracket>, usize) {
        let (mut asked, mut brackets) = (Vec::new(), Vec::new());
        let ended = search(20_000.0, &mut server(limit, spread, &mut asked), &mut brackets);
        assert_eq!(ended, Ok(Ended::Bracketed));
        (bracketed(&brackets).unwrap(), brackets, asked.len())
    }

    #[test]
    fn a_sharp_limit_lies_in_every_bracket_and_near_the_median() {
        for limit in [37.0, 480.0, 1234.5, 19_000.0] {
            let (found, brackets, tries) = found(limit, 0.0);
            assert!(brackets.iter().all(|b| b.low <= limit && limit < b.high), "{limit}: {brackets:?}");
            assert!((found.rate_per_s / limit - 1.0).abs() < 0.05, "{limit}: {found:?}");
            assert!(found.low_per_s <= limit && limit <= found.high_per_s, "{found:?}");
            assert!(tries <= 45, "{tries} tries");
        }
    }

    #[test]
    fn the_level_is_that_of_as_many_searches_as_there_were() {
        let (found, brackets, _) = found(480.0, 0.2);
        assert_eq!((brackets.len(), found.searches), (6, 6));
        assert!((found.level - 0.96875).abs() < 1e-9, "{found:?}");
        assert!(found.high_per_s / found.low_per_s > 1.06, "a limit that moves has a wider interval: {found:?}");
        assert_eq!(bracketed(&brackets[..3]).unwrap().level, 0.75);
        assert_eq!(bracketed(&brackets[..1]).unwrap().level, 0.0);
        assert!(bracketed(&[]).is_none());
    }

    #[test]
    fn a_first_search_that_was_lucky_does_not_hold_the_others_captive() {
        // All of the coarse search meets a server twice as quick as the others do.
        let (mut tries, mut brackets) = (0, Vec::new());
        let mut ask = |rate: f64, _| {
            tries += 1;
            let limit = if tries <= 6 { 1000.0 } else { 500.0 };
            Ok::<_, ()>(if rate <= limit { Answer::Held } else { Answer::Missed })
        };
        assert_eq!(search(20_000.0, &mut ask, &mut brackets), Ok(Ended::Bracketed));
        let found = bracketed(&brackets).unwrap();
        assert!(found.low_per_s <= 500.0 && found.rate_per_s < 560.0, "{found:?}");
    }

    #[test]
    fn the_ends_of_the_range_are_told_as_such() {
        let mut asked = Vec::new();
        let ended = search(100.0, &mut server(1e9, 0.0, &mut asked), &mut Vec::new());
        assert_eq!(ended, Ok(Ended::AtLeast));
        let mut asked = Vec::new();
        let ended = search(1024.0, &mut server(0.0, 0.0, &mut asked), &mut Vec::new());
        assert_eq!(ended, Ok(Ended::Below(1.0)));
        let few = |rate: f64, _| Ok::<_, ()>(if rate > 300.0 { Answer::Missed } else { Answer::TooFew });
        assert_eq!(search(4000.0, &mut { few }, &mut Vec::new()), Ok(Ended::Unjudged(250.0)));
    }

    #[test]
    fn a_limit_of_the_generator_is_not_taken_for_one_of_the_target() {
        let tried = |rate_per_s, why: Option<&str>| TryRecord {
            rate_per_s,
            held: why.is_none(),
            why: why.map(str::to_owned),
            seconds: 1.0,
        };
        let bracket =
            || FoundRecord { rate_per_s: 480.0, low_per_s: 460.0, high_per_s: 500.0, ..FoundRecord::default() };
        // Far above it was the generator too, but the target ends before that.
        let theirs =
            unless_ours(bracket(), &[tried(4000.0, Some(OURS)), tried(500.0, Some("missed")), tried(460.0, None)]);
        assert_eq!((theirs.rate_per_s, theirs.at_least, theirs.by_generator), (480.0, false, false));
        let ours =
            unless_ours(bracket(), &[tried(4000.0, Some("missed")), tried(490.0, Some(OURS)), tried(460.0, None)]);
        assert_eq!((ours.rate_per_s, ours.high_per_s, ours.at_least, ours.by_generator), (460.0, 460.0, true, true));
        let none = FoundRecord { high_per_s: 10.0, ..FoundRecord::default() };
        assert_eq!(unless_ours(none, &[tried(10.0, Some(OURS))]).unjudged.as_deref(), Some(OURS));
    }

    #[test]
    fn what_was_found_before_an_interruption_is_kept() {
        let mut left = 20;
        let mut brackets = Vec::new();
        let mut ask = |rate: f64, _| {
            left -= 1;
            if left == 0 { Err("interrupted") } else { Ok(if rate <= 480.0 { Answer::Held } else { Answer::Missed }) }
        };
        assert_eq!(search(20_000.0, &mut ask, &mut brackets), Err("interrupted"));
        assert!(!brackets.is_empty() && brackets.len() < SEARCHES, "{brackets:?}");
        let tried = |rate_per_s, held| TryRecord { rate_per_s, held, why: None, seconds: 1.0 };
        let known =
            between(&[tried(1000.0, false), tried(250.0, true), tried(500.0, false), tried(300.0, true)], 1000.0);
        assert_eq!((known.low_per_s, known.high_per_s, known.searches), (300.0, 500.0, 0));
    }
}

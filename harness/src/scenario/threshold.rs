//! What must a load hold to? Expressions such as `access.response.p99 < 20ms`, as values.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use super::diagnostic::{listed, suggestion};
use crate::units::{Rate, Ratio};

/// A threshold: `[OPERATION.]METRIC [in TOPOLOGY] [from TIME] [to TIME] < VALUE [or abort [after TIME]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// As written, with single spaces.
    pub expression: String,
    /// The operation of the mix, or all of them together.
    pub operation: Option<String>,
    /// What is looked at.
    pub metric: Metric,
    /// The topology; every one if absent.
    pub topology: Option<String>,
    /// The part of the recorded time that counts; all of it if absent.
    pub window: Option<Window>,
    /// How the two are compared.
    pub comparison: Comparison,
    /// The value compared with: nanoseconds for times, 0 to 1 for ratios, per second for rates, else a number.
    pub limit: f64,
    /// The value as written: `20ms`.
    pub limit_text: String,
    /// A miss ends the load, but not before this long after recording began.
    pub abort_after: Option<Duration>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// A time, as `response.p99`.
    Time(Clock, Statistic),
    /// A share of everything that ended, as `failed.ratio`.
    Ratio(Outcome),
    /// How many, as `failed.count`.
    Count(Outcome),
    /// How many per second, as `completed.rate`.
    Rate(Outcome),
}

/// Between which stamps a time lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Planned to last byte.
    Response,
    /// Wire to last byte.
    Service,
    /// Planned to wire.
    Lag,
    /// Making a connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// Wire to first byte.
    FirstByte,
}

/// Which number of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// A quantile, 0 to 1.
    Quantile(f64),
    /// The mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered as the profile says.
    Completed,
    /// Answered otherwise, failed on the wire, or timed out.
    Failed,
    /// Timed out.
    TimedOut,
    /// Never sent.
    Skipped,
}

/// The recorded time that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// From this long after recording began.
    pub from: Duration,
    /// To this long after it began; to its end if absent.
    pub to: Option<Duration>,
}

/// How the observed value compares with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}

impl Comparison {
    /// As written.
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
    /// Whether it holds between an observed value and a limit.
    pub fn holds(self, observed: f64, limit: f64) -> bool {
        match self {
            Comparison::Less => observed < limit,
            Comparison::LessOrEqual => observed <= limit,
            Comparison::Greater => observed > limit,
            Comparison::GreaterOrEqual => observed >= limit,
        }
    }
}

impl Threshold {
    /// Whether an observed value satisfies it, in the unit of `limit`.
    pub fn holds(&self, observed: f64) -> bool {
        self.comparison.holds(observed, self.limit)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// What is wrong in an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ThresholdError {
    /// What was expected and what was seen.
    pub message: String,
    /// Bytes of the expression.
    pub span: Range<usize>,
    /// What would be right.
    pub hint: Option<String>,
}

const CLOCKS: &[(&str, Clock)] = &[
    ("response", Clock::Response),
    ("service", Clock::Service),
    ("lag", Clock::Lag),
    ("connect", Clock::Connect),
    ("tls", Clock::Tls),
    ("first-byte", Clock::FirstByte),
];
const OUTCOMES: &[(&str, Outcome)] = &[
    ("completed", Outcome::Completed),
    ("failed", Outcome::Failed),
    ("timed-out", Outcome::TimedOut),
    ("skipped", Outcome::Skipped),
];
const STATISTICS: &[&str] = &["p50", "p90", "p99", "p99.9", "mean", "min", "max"];
const EXAMPLE: &str = "an expression such as `access.response.p99 < 20ms` or `failed.ratio < 0.1%`";

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Threshold, ThresholdError> {
        let error = |message: String, span: Range<usize>, hint: Option<String>| ThresholdError { message, span, hint };
        let Some(at) = text.find(['<', '>']) else {
            return Err(error(format!("expected {EXAMPLE}, saw no `<` or `>`"), 0..text.len(), None));
        };
        let or_equal = text[at + 1..].starts_with('=');
        let comparison = match (text.as_bytes()[at], or_equal) {
            (b'<', false) => Comparison::Less,
            (b'<', true) => Comparison::LessOrEqual,
            (_, false) => Comparison::Greater,
            (_, true) => Comparison::GreaterOrEqual,
        };
        let value_at = at + 1 + usize::from(or_equal);
        let mut words = words(&text[..at]).into_iter();
        let Some((subject, subject_at)) = words.next() else {
            return Err(error(
                format!("expected {EXAMPLE}, saw nothing before `{}`", comparison.sign()),
                0..at + 1,
                None,
            ));
        };
        let (operation, metric) = self::subject(subject, subject_at)?;
        let (mut topology, mut from, mut to) = (None, None, None);
        while let Some((word, word_at)) = words.next() {
            let place = word_at..word_at + word.len();
            let mut value =
                || words.next().ok_or_else(|| error(format!("expected something after `{word}`"), place.clone(), None));
            match word {
                "in" => topology = Some(value()?.0.to_owned()),
                "from" => from = Some(time(value()?)?),
                "to" => to = Some(time(value()?)?),
                _ => {
                    let hint = "`in TOPOLOGY`, `from TIME` and `to TIME` can stand before the comparison".to_owned();
                    return Err(error(format!("expected `{}`, saw `{word}`", comparison.sign()), place, Some(hint)));
                }
            }
        }
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(error("expected `to` to be later than `from`".into(), 0..at, None));
        }
        let (limit_text, abort_after) = match text[value_at..].split_once(" or ") {
            None => (text[value_at..].trim(), None),
            Some((limit, rest)) => (limit.trim(), Some(abort(rest, text.len() - rest.len())?)),
        };
        let start = value_at + (text[value_at..].len() - text[value_at..].trim_start().len());
        let place = start..start + limit_text.len();
        let limit = limit(metric, limit_text).map_err(|message| error(message, place, None))?;
        Ok(Threshold {
            expression: text.split_whitespace().collect::<Vec<_>>().join(" "),
            operation,
            metric,
            topology,
            window: (from.is_some() || to.is_some()).then(|| Window { from: from.unwrap_or_default(), to }),
            comparison,
            limit,
            limit_text: limit_text.to_owned(),
            abort_after,
        })
    }
}

/// Long enough for a load that has just begun to have settled.
const ABORT_AFTER: Duration = Duration::from_secs(2);

/// `abort` or `abort after TIME`.
fn abort(text: &str, at: usize) -> Result<Duration, ThresholdError> {
    let words: Vec<(&str, usize)> = words(text).into_iter().map(|(word, place)| (word, at + place)).collect();
    match words.as_slice() {
        [("abort", _)] => Ok(ABORT_AFTER),
        [("abort", _), ("after", _), value] => time(*value),
        _ => Err(ThresholdError {
            message: format!("expected `abort` or `abort after 10s` behind `or`, saw `{}`", text.trim()),
            span: at..at + text.len(),
            hint: None,
        }),
    }
}

/// Words with their byte positions.
fn words(text: &str) -> Vec<(&str, usize)> {
    text.split_whitespace().map(|word| (word, word.as_ptr() as usize - text.as_ptr() as usize)).collect()
}

fn time((text, at): (&str, usize)) -> Result<Duration, ThresholdError> {
    match duration_ns(text) {
        Some(ns) => Ok(Duration::from_nanos(ns as u64)),
        None => Err(ThresholdError {
            message: format!("expected a time such as `10s`, saw `{text}`"),
            span: at..at + text.len(),
            hint: None,
        }),
    }
}

/// `[operation.]clock.statistic` or `[operation.]outcome.ratio|count|rate`.
fn subject(text: &str, at: usize) -> Result<(Option<String>, Metric), ThresholdError> {
    let wrong = |part: &str, expected: &str, hint: Option<String>| {
        let offset = at + (part.as_ptr() as usize - text.as_ptr() as usize);
        ThresholdError {
            message: format!("expected {expected}, saw `{part}`"),
            span: offset..offset + part.len().max(1),
            hint,
        }
    };
    // `p99.9` holds a dot of its own, so the parts are found from the known words.
    let parts: Vec<&str> = text.split('.').collect();
    let known =
        |part: &&str| CLOCKS.iter().any(|(name, _)| name == part) || OUTCOMES.iter().any(|(name, _)| name == part);
    let Some(middle) = parts.iter().position(known) else {
        let names: Vec<&str> = CLOCKS.iter().map(|(n, _)| *n).chain(OUTCOMES.iter().map(|(n, _)| *n)).collect();
        let part = if parts.len() >= 3 { parts[parts.len() - 2] } else { parts[0] };
        return Err(wrong(part, &format!("one of {}", listed(&names)), suggestion(part, &names)));
    };
    let operation = (middle > 0).then(|| parts[..middle].join("."));
    let rest = match text
        .match_indices(parts[middle])
        .map(|(at, _)| at)
        .nth(parts[..middle].iter().map(|part| part.matches(parts[middle]).count()).sum())
    {
        Some(start) => text[start + parts[middle].len()..].trim_start_matches('.'),
        None => "",
    };
    if let Some((_, clock)) = CLOCKS.iter().find(|(name, _)| *name == parts[middle]) {
        let statistic = match rest {
            "mean" => Some(Statistic::Mean),
            "min" => Some(Statistic::Min),
            "max" => Some(Statistic::Max),
            _ => rest
                .strip_prefix('p')
                .and_then(|digits| digits.parse::<f64>().ok())
                .filter(|percent| (0.0..100.0).contains(percent) && *percent > 0.0)
                .map(|percent| Statistic::Quantile((percent * 1e4).round() / 1e6)),
        };
        return match statistic {
            Some(statistic) => Ok((operation, Metric::Time(*clock, statistic))),
            None => Err(wrong(
                if rest.is_empty() { parts[middle] } else { rest },
                &format!("one of {} after `{}`", listed(STATISTICS), parts[middle]),
                suggestion(rest, STATISTICS),
            )),
        };
    }
    let outcome =
        OUTCOMES.iter().find(|(name, _)| *name == parts[middle]).map_or(Outcome::Failed, |(_, outcome)| *outcome);
    match rest {
        "ratio" => Ok((operation, Metric::Ratio(outcome))),
        "count" => Ok((operation, Metric::Count(outcome))),
        "rate" => Ok((operation, Metric::Rate(outcome))),
        _ => {
            let names = ["ratio", "count", "rate"];
            let seen = if rest.is_empty() { parts[middle] } else { rest };
            Err(wrong(seen, &format!("one of {} after `{}`", listed(&names), parts[middle]), suggestion(rest, &names)))
        }
    }
}

fn limit(metric: Metric, text: &str) -> Result<f64, String> {
    match metric {
        Metric::Time(..) => duration_ns(text).ok_or_else(|| format!("expected a time such as `20ms`, saw `{text}`")),
        Metric::Ratio(_) => text.parse::<Ratio>().map(|ratio| ratio.0),
        Metric::Rate(_) => text.parse::<Rate>().map(|rate| rate.0),
        Metric::Count(_) => {
            text.parse::<u64>().map(|n| n as f64).map_err(|_| format!("expected a whole number, saw `{text}`"))
        }
    }
}

/// Nanoseconds of `1.5ms`, `20us`, `2s`; the units of [`crate::units::Span`], and fractions too.
fn duration_ns(text: &str) -> Option<f64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text[..split].parse().ok()?;
    let scale = match text[split..].trim() {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, operation: Option<&str>, metric: Metric, limit: f64) {
        let parsed: Threshold = text.parse().unwrap();
        assert_eq!((parsed.operation.as_deref(), parsed.metric, parsed.limit), (operation, metric, limit));
    }

    #[test]
    fn times_shares_counts_and_rates_can_be_held_to_a_limit() {
        check(
            "access.response.p99 < 20ms",
            Some("access"),
            Metric::Time(Clock::Response, Statistic::Quantile(0.99)),
            20e6,
        );
        check("response.p99.9 <= 1.5s", None, Metric::Time(Clock::Response, Statistic::Quantile(0.999)), 1.5e9);
        check(
            "verify.introspect.service.max<50us",
            Some("verify.introspect"),
            Metric::Time(Clock::Service, Statistic::Max),
            50e3,
        );
        check("failed.ratio < 0.1%", None, Metric::Ratio(Outcome::Failed), 0.001);
        check("issue.timed-out.count <= 0", Some("issue"), Metric::Count(Outcome::TimedOut), 0.0);
        check("completed.rate >= 500/s", None, Metric::Rate(Outcome::Completed), 500.0);
        check("first-byte.mean < 1ms", None, Metric::Time(Clock::FirstByte, Statistic::Mean), 1e6);
    }

    #[test]
    fn a_topology_and_a_window_can_be_named() {
        let parsed: Threshold = "access.response.p50  in nginx from 2s to 10s < 5ms".parse().unwrap();
        assert_eq!(parsed.topology.as_deref(), Some("nginx"));
        let window = parsed.window.unwrap();
        assert_eq!((window.from, window.to), (Duration::from_secs(2), Some(Duration::from_secs(10))));
        assert_eq!(parsed.expression, "access.response.p50 in nginx from 2s to 10s < 5ms");
        assert!(parsed.holds(4.9e6) && !parsed.holds(5e6));
    }

    #[test]
    fn a_miss_may_end_the_load() {
        let after = |text: &str| text.parse::<Threshold>().unwrap().abort_after;
        assert_eq!(after("failed.ratio < 1%"), None);
        assert_eq!(after("failed.ratio < 1% or abort"), Some(ABORT_AFTER));
        assert_eq!(after("access.response.p99 in nginx < 20ms or abort after 500ms"), Some(Duration::from_millis(500)));
        assert_eq!("failed.ratio < 1% or abort".parse::<Threshold>().unwrap().limit, 0.01);
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        #[track_caller]
        fn wrong(text: &str, at: &str, says: &str) {
            let error = text.parse::<Threshold>().unwrap_err();
            assert_eq!(&text[error.span.clone()], at, "{error:?}");
            let whole = format!("{} {}", error.message, error.hint.unwrap_or_default());
            assert!(whole.contains(says), "{whole}");
        }
        wrong("access.response.p99", "access.response.p99", "saw no `<`");
        wrong("access.respons.p99 < 1ms", "respons", "did you mean `response`?");
        wrong("access.response.p999x < 1ms", "p999x", "expected one of");
        wrong("access.response < 1ms", "response", "after `response`");
        wrong("access.response.p99 < 20", "20", "a time such as");
        wrong("failed.ratio < 20ms", "20ms", "a share");
        wrong("failed.ratios < 1%", "ratios", "did you mean `ratio`?");
        wrong("failed.ratio at nginx < 1%", "at", "`in TOPOLOGY`");
        wrong("failed.ratio in < 1%", "in", "something after");
        wrong("failed.ratio from 5s to 2s < 1%", "failed.ratio from 5s to 2s ", "later");
        wrong("< 5", "<", "nothing before");
        wrong("failed.ratio < 1% or stop", "stop", "expected `abort`");
        wrong("failed.ratio < 1% or abort after soon", "soon", "a time such as");
    }
}

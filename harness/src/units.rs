//! Which unit is this number in? The types that say so, and how people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration or a monotonic instant in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The difference to an earlier instant, zero if `earlier` is later.
    pub fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
    /// From seconds; negative becomes zero.
    pub fn from_secs_f64(secs: f64) -> Nanos {
        Nanos((secs.max(0.0) * 1e9) as u64)
    }
    /// As the standard library's duration.
    pub fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Nanos {
    fn from(d: Duration) -> Nanos {
        Nanos(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl std::ops::Add for Nanos {
    type Output = Nanos;
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

/// Three significant digits in the unit that fits: `812 ns`, `56.1 us`, `1.24 ms`, `12.0 s`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let (value, unit) = match self.0 {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => (ns / 1e3, "us"),
            1_000_000..1_000_000_000 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        match value {
            v if v < 9.995 => write!(f, "{v:.2} {unit}"),
            v if v < 99.95 => write!(f, "{v:.1} {unit}"),
            v => write!(f, "{v:.0} {unit}"),
        }
    }
}

/// A duration as people write it in YAML and on the command line: `250ms`, `10s`, `1m 30s`, `2h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Span, String> {
        humantime::parse_duration(text.trim())
            .map(Span)
            .map_err(|_| format!("expected a duration such as `250ms`, `10s` or `1m 30s`, saw `{text}`"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

/// Events per second, as people write it: `500/s`, `30/m`, `2000`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("expected a rate such as `500/s` or `30/m`, saw `{text}`");
        let (number, per) = text.trim().split_once('/').unwrap_or((text.trim(), "s"));
        let seconds = match per.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let value: f64 = number.trim().replace('_', "").parse().map_err(|_| wrong())?;
        if !value.is_finite() || value <= 0.0 {
            return Err(format!("expected a rate above zero, saw `{text}`"));
        }
        Ok(Rate(value / seconds))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 10.0 { write!(f, "{:.0}/s", self.0) } else { write!(f, "{:.2}/s", self.0) }
    }
}

/// A share between 0 and 1, as people write it: `0.1%`, `0.25`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

impl FromStr for Ratio {
    type Err = String;
    fn from_str(text: &str) -> Result<Ratio, String> {
        let wrong = || format!("expected a share such as `0.1%` or `0.25`, saw `{text}`");
        let trimmed = text.trim();
        let (number, scale) = match trimmed.strip_suffix('%') {
            Some(n) => (n, 100.0),
            None => (trimmed, 1.0),
        };
        let value: f64 = number.trim().parse().map_err(|_| wrong())?;
        if (0.0..=scale).contains(&value) { Ok(Ratio(value / scale)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", (self.0 * 1e6).round() / 1e4)
    }
}

/// The kinds of unit that are written as text in YAML (and, where that is unambiguous, a number).
macro_rules! as_text {
    ($name:ident, $pattern:literal, $example:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": ["string", "number"], "pattern": $pattern, "examples": [$example]})
            }
        }
    };
}
as_text!(Span, r"^\s*([0-9]+\s*[a-zA-Z]+\s*)+$", "10s");
as_text!(Rate, r"^\s*[0-9._]+\s*(/\s*[smh])?\s*$", "500/s");
as_text!(Ratio, r"^\s*[0-9.]+\s*%?\s*$", "0.1%");

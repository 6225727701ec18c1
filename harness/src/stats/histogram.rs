//! What is kept of a histogram, and which of its percentiles may be printed?

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use crate::record::HistogramRecord;

/// Fewest samples that must be expected above a quantile before it is printed or compared.
pub const MIN_SAMPLES_ABOVE: f64 = 10.0;

/// Longest encoded histogram that is read: a full range of `u64` at three digits takes well under 1 MiB.
const MAX_ENCODED_BYTES: usize = 4 << 20;

/// A histogram that could not be encoded, decoded or merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, saw {seen}")]
pub struct HistogramError {
    /// What had to be there.
    pub expected: &'static str,
    /// What was there.
    pub seen: String,
}

/// The summary of a histogram of nanoseconds, with the histogram itself in base64. `clipped` counts the
/// samples that lay outside the recordable range and stand at its edge.
pub fn summarise(histogram: &Histogram<u64>, clipped: u64) -> HistogramRecord {
    let n = histogram.len();
    if n == 0 {
        return HistogramRecord { clipped, ..HistogramRecord::default() };
    }
    let mut bytes = Vec::new();
    // Writing into a vector cannot fail; an encoder that refuses leaves the field empty, and decode says so.
    let encoded = V2DeflateSerializer::new().serialize(histogram, &mut bytes).is_ok();
    let at = |q: f64| histogram.value_at_quantile(q);
    HistogramRecord {
        n,
        clipped,
        min_ns: histogram.min(),
        mean_ns: histogram.mean(),
        p50_ns: at(0.5),
        p90_ns: at(0.9),
        p99_ns: at(0.99),
        p999_ns: printable(n, 0.999).then(|| at(0.999)),
        max_ns: histogram.max(),
        hdr_base64: if encoded { STANDARD.encode(&bytes) } else { String::new() },
        censored_from: None,
    }
}

/// The histogram of a record. An empty record gives an empty histogram.
///
/// # Errors
/// Where the text is not base64, not an HdrHistogram, too long, or does not hold `n` samples.
pub fn decode(record: &HistogramRecord) -> Result<Histogram<u64>, HistogramError> {
    let wrong = |expected, seen: &dyn std::fmt::Display| HistogramError { expected, seen: seen.to_string() };
    if record.hdr_base64.is_empty() && record.n == 0 {
        return empty();
    }
    if record.hdr_base64.len() > MAX_ENCODED_BYTES {
        let seen = format!("{} bytes", record.hdr_base64.len());
        return Err(wrong("an encoded histogram of at most 4 MiB", &seen));
    }
    let bytes = STANDARD.decode(&record.hdr_base64).map_err(|e| wrong("a histogram in base64", &e))?;
    let histogram: Histogram<u64> = Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|e| wrong("an HdrHistogram in V2 encoding", &format!("{e:?}")))?;
    if histogram.len() != record.n {
        let seen = format!("{} in the histogram and n = {}", histogram.len(), record.n);
        return Err(wrong("as many samples as the record says", &seen));
    }
    Ok(histogram)
}

/// All samples of all histograms in one. Merging is exact: counts are added bin by bin.
///
/// # Errors
/// Where two histograms cannot be brought into one range.
pub fn merge<'a>(histograms: impl IntoIterator<Item = &'a Histogram<u64>>) -> Result<Histogram<u64>, HistogramError> {
    let mut all = empty()?;
    for histogram in histograms {
        all.add(histogram)
            .map_err(|e| HistogramError { expected: "histograms that can be merged", seen: format!("{e:?}") })?;
    }
    Ok(all)
}

fn empty() -> Result<Histogram<u64>, HistogramError> {
    Histogram::new(3).map_err(|e| HistogramError { expected: "a histogram of three digits", seen: format!("{e:?}") })
}

/// Whether a quantile (0 to 1) of `n` samples may be printed: at least ten samples are expected above it.
pub fn printable(n: u64, quantile: f64) -> bool {
    // The tolerance is for 1 - 0.99, which is a little more than 0.01 in binary, and 1 - 0.999, which is less.
    n as f64 * (1.0 - quantile) >= MIN_SAMPLES_ABOVE - 1e-6
}

/// The lowest of the printed percentiles (50, 90, 99, 99.9, 100) that `unfinished` requests could still move by
/// more than one per cent, were they all slower than everything seen. `None` if none could be.
pub fn censored_from(histogram: &Histogram<u64>, unfinished: u64) -> Option<f64> {
    let n = histogram.len();
    if unfinished == 0 {
        return None;
    }
    [50.0, 90.0, 99.0, 99.9, 100.0].into_iter().find(|percentile| {
        let rank = (percentile / 100.0 * (n + unfinished) as f64).ceil();
        if n == 0 || rank > n as f64 {
            return true;
        }
        let seen = histogram.value_at_quantile(percentile / 100.0) as f64;
        let moved = histogram.value_at_quantile(rank / n as f64) as f64;
        moved > seen * 1.01
    })
}

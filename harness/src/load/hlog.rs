//! How do the field's tools read what was seen? An HdrHistogram interval log beside `run.json`.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::{Driven, Interval};

/// Writes the intervals of a drive as an HdrHistogram log (format 1.3, V2 with DEFLATE): one line per second, operation
/// and series, tagged `operation.completed` and `operation.failed` (response time), `operation.service` and
/// `operation.lag`, in ns, the maximum in ms. A request stands in the second in which it was planned.
pub fn write_hlog(driven: &Driven, out: &mut dyn Write) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut out = Only(out);
    let legend = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"";
    // The version has to be the first line, and the writer knows neither it nor the legend.
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(
        out,
        "#[Values are in nanoseconds, by the second in which a request was planned; tags are operation.completed and operation.failed (response time), operation.service, operation.lag; arm: {}]",
        driven.record.topology
    )?;
    let start = UNIX_EPOCH + Duration::from_secs_f64(driven.began_unix_s.max(0.0));
    let mut text = Vec::new();
    {
        let mut log = IntervalLogWriterBuilder::new()
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(1e6)
            .begin_log_with(&mut text, &mut serializer)
            .map_err(|e| io::Error::other(format!("{e:?}")))?;
        for interval in &driven.intervals {
            let Interval { second, length_s, operation, series, .. } = interval;
            let samples = interval.histogram().ok_or_else(|| io::Error::other("an interval could not be decoded"))?;
            let name: String = operation.chars().map(|c| if c.is_whitespace() || c == ',' { '-' } else { c }).collect();
            let tag = format!("{name}.{series}");
            log.write_histogram(
                &samples,
                Duration::from_secs(u64::from(*second)),
                Duration::from_secs_f64(*length_s),
                Tag::new(&tag),
            )
            .map_err(|e| io::Error::other(format!("{e:?}")))?;
        }
    }
    // Comments first, then the legend, then the lines.
    let at =
        text.split_inclusive(|b| *b == b'\n').take_while(|line| line.starts_with(b"#")).map(<[u8]>::len).sum::<usize>();
    out.write_all(&text[..at])?;
    writeln!(out, "{legend}")?;
    out.write_all(&text[at..])
}

/// A writer of known size behind a reference to one of any.
struct Only<'a>(&'a mut dyn Write);

impl Write for Only<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

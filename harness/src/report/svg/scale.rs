//! Where on the page does a value lie, and where do the ticks stand?

/// A mapping from values to coordinates.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    /// A linear scale. An empty range of values is widened, so that nothing is divided by zero.
    pub fn linear(values: (f64, f64), page: (f64, f64)) -> Scale {
        let (low, high) = finite(values);
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        Scale { low, high, from: page.0, to: page.1, log: false }
    }

    /// A linear scale whose ends are moved out to round numbers.
    pub fn nice(values: (f64, f64), page: (f64, f64)) -> Scale {
        let plain = Scale::linear(values, page);
        let step = step(plain.high - plain.low, 5);
        Scale { low: (plain.low / step).floor() * step, high: (plain.high / step).ceil() * step, ..plain }
    }

    /// A logarithmic scale. Values at or below zero lie at the lower end.
    pub fn log(values: (f64, f64), page: (f64, f64)) -> Scale {
        let (low, high) = finite(values);
        let low = if low > 0.0 { low } else { 1.0 };
        let high = if high > low { high } else { low * 10.0 };
        Scale { low, high, from: page.0, to: page.1, log: true }
    }

    /// The coordinate of a value, held within the page.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        self.from + share * (self.to - self.from)
    }

    /// Round values inside the scale: about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        if self.log {
            return self.log_ticks(wanted);
        }
        let step = step(self.high - self.low, wanted);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }

    fn log_ticks(&self, wanted: usize) -> Vec<f64> {
        let decades = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
        let inside = |v: &f64| *v >= self.low * 0.999 && *v <= self.high * 1.001;
        let with = |multiples: &[f64]| -> Vec<f64> {
            decades.clone().flat_map(|d| multiples.iter().map(move |m| m * 10f64.powi(d))).filter(inside).collect()
        };
        let candidates = [with(&[1.0, 2.0, 5.0]), with(&[1.0, 3.0]), with(&[1.0])];
        candidates.into_iter().find(|t| t.len() <= wanted + 2 && t.len() > 1).unwrap_or_else(|| {
            let all = with(&[1.0]);
            let every = all.len().div_ceil(wanted.max(1)).max(1);
            all.into_iter().step_by(every).collect()
        })
    }
}

fn finite((low, high): (f64, f64)) -> (f64, f64) {
    let low = if low.is_finite() { low } else { 0.0 };
    (low, if high.is_finite() { high } else { low + 1.0 })
}

/// A round step (1, 2 or 5 times a power of ten) that cuts a range into about `wanted` pieces.
fn step(range: f64, wanted: usize) -> f64 {
    let raw = range / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let multiple = match raw / power {
        m if m <= 1.0 => 1.0,
        m if m <= 2.0 => 2.0,
        m if m <= 5.0 => 5.0,
        _ => 10.0,
    };
    multiple * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_ticks_are_round_and_inside() {
        let scale = Scale::nice((0.0, 97.0), (0.0, 100.0));
        assert_eq!(scale.ticks(5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(Scale::linear((-12.0, 12.0), (0.0, 1.0)).ticks(4), [-10.0, 0.0, 10.0]);
    }

    #[test]
    fn logarithmic_ticks_stay_few() {
        assert_eq!(Scale::log((1.0, 1000.0), (0.0, 300.0)).ticks(4), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::log((100.0, 900.0), (0.0, 300.0)).ticks(4), [100.0, 200.0, 500.0]);
        assert!(Scale::log((1e-9, 1e12), (0.0, 1.0)).ticks(5).len() <= 7);
    }

    #[test]
    fn no_value_leaves_the_page() {
        for scale in [
            Scale::linear((1.0, 1.0), (10.0, 20.0)),
            Scale::log((0.0, 0.0), (10.0, 20.0)),
            Scale::linear((f64::NAN, f64::INFINITY), (10.0, 20.0)),
        ] {
            for value in [-5.0, 0.0, 1.0, 1e300, f64::NAN] {
                assert!((10.0..=20.0).contains(&scale.at(value)), "{scale:?} {value}");
            }
        }
    }

    #[test]
    fn turned_pages_run_downwards() {
        let scale = Scale::linear((0.0, 10.0), (100.0, 0.0));
        assert_eq!((scale.at(0.0), scale.at(10.0)), (100.0, 0.0));
    }
}

//! What difference would this design have seen, and how many pairs would decide?

/// Power at which a difference counts as detectable.
const POWER: f64 = 0.8;
/// Pitman efficiency of the signed-rank test against the t test on normal differences: 3 / pi.
const EFFICIENCY: f64 = 0.954_929_658_551_372;
/// More pairs than this are not worth proposing.
const MOST_PAIRS: f64 = 10_000.0;

/// The smallest true difference that pairs like these would have shown with power 0.8, given the exact confidence
/// of their interval. In the unit of the differences; `None` for fewer than two.
pub fn detectable(differences: &[f64], confidence: f64) -> Option<f64> {
    let n = differences.len();
    let deviation = standard_deviation(differences)?;
    Some(
        (student_quantile((1.0 + confidence.clamp(0.0, 0.999_999)) / 2.0, n - 1) + student_quantile(POWER, n - 1))
            * deviation
            / (n as f64 * EFFICIENCY).sqrt(),
    )
}

/// The pairs that would probably (power 0.8, 95 %) decide a comparison whose estimate is `estimate` and whose
/// margin is `margin`: far enough from zero to be different, or narrow enough to be equivalent. `None` where no
/// reasonable number would, or where there is no spread to go by.
pub fn pairs_needed(differences: &[f64], estimate: f64, margin: f64) -> Option<u32> {
    let deviation = standard_deviation(differences)?;
    let distance = if estimate.abs() > margin { estimate.abs() } else { margin - estimate.abs() };
    if distance <= 0.0 {
        return None;
    }
    let spread = (normal_quantile(0.975) + normal_quantile(POWER)) * deviation / distance;
    let needed = (spread * spread / EFFICIENCY).ceil().max(differences.len() as f64 + 1.0).max(6.0);
    (needed <= MOST_PAIRS).then_some(needed as u32)
}

fn standard_deviation(values: &[f64]) -> Option<f64> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    Some((squares / (n - 1) as f64).sqrt())
}

/// The quantile of the standard normal distribution, `p` between 0.5 and 1.
pub(super) fn normal_quantile(p: f64) -> f64 {
    quantile(p, |x| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt())
}

/// The quantile of Student's t distribution, `p` between 0.5 and 1.
pub(super) fn student_quantile(p: f64, freedom: usize) -> f64 {
    let freedom = freedom.max(1);
    if freedom > 500 {
        return normal_quantile(p);
    }
    // The norming constants follow from those of one and two degrees of freedom by the recurrence of the gamma function.
    let (mut at, mut norm) = if freedom % 2 == 1 { (1, std::f64::consts::FRAC_1_PI) } else { (2, 8f64.sqrt().recip()) };
    while at < freedom {
        let v = at as f64;
        norm *= (v + 1.0) / v * (v / (v + 2.0)).sqrt();
        at += 2;
    }
    let v = freedom as f64;
    quantile(p, |x| norm * (1.0 + x * x / v).powf(-(v + 1.0) / 2.0))
}

/// Inverts a symmetric density: Simpson's rule outwards from zero until the wanted mass lies below.
fn quantile(p: f64, density: impl Fn(f64) -> f64) -> f64 {
    let wanted = p.clamp(0.5, 0.999_999_9) - 0.5;
    let (mut x, mut mass) = (0.0f64, 0.0);
    loop {
        // Heavy tails reach far: the steps grow with the distance, so that the walk stays short.
        let step = 0.002 * (1.0 + x);
        let slice = step / 6.0 * (density(x) + 4.0 * density(x + step / 2.0) + density(x + step));
        if mass + slice >= wanted || slice < 1e-16 {
            return x + step * ((wanted - mass) / slice.max(1e-300)).clamp(0.0, 1.0);
        }
        mass += slice;
        x += step;
    }
}

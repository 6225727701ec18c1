//! Until when is a token accepted? Bounds on the cut-off from outside, without trusting the server's clock.
//!
//! Every answer bounds the cut-off t* without assuming when between sending and receiving the server decided:
//! accepted means t* > sent, refused means t* <= received. What is observable is t* - exp = leeway - offset
//! (one second more where a whole-second clock is compared inclusively); leeway and offset separate only with a
//! second source for the offset.

/// Leeways that libraries have by default, in seconds, with where they come from.
pub const KNOWN_LEEWAYS: &[(f64, &str)] = &[
    (0.0, "none: PyJWT, simplejwt, jsonwebtoken (node), jose, golang-jwt"),
    (5.0, "5 s"),
    (10.0, "10 s"),
    (15.0, "15 s: oidc-provider"),
    (30.0, "30 s"),
    (60.0, "60 s: Spring Security, jsonwebtoken (Rust)"),
    (120.0, "120 s"),
    (300.0, "300 s: Microsoft.IdentityModel"),
    (600.0, "600 s"),
];

/// Ages after `exp` (negative: before) at which a first scan looks, in seconds: around every known default.
pub const LADDER: &[i64] = &[
    -300, -60, -2, -1, 0, 1, 2, 4, 5, 6, 9, 10, 11, 14, 15, 16, 29, 30, 31, 59, 60, 61, 119, 120, 121, 299, 300, 301,
    599, 600, 601, 3600, 86_400,
];

/// Bounds on one instant, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// It lies after this.
    pub low: f64,
    /// It lies at or before this.
    pub high: f64,
    /// Answers that it was drawn from.
    pub n: u64,
    /// Answers that contradict an earlier one: no single cut-off explains them.
    pub contradictions: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { low: f64::NEG_INFINITY, high: f64::INFINITY, n: 0, contradictions: 0 }
    }
}

impl Bounds {
    /// Takes one answer: `sent` and `received` are seconds after the claim's instant.
    pub fn see(&mut self, accepted: bool, sent: f64, received: f64) {
        self.n += 1;
        if accepted {
            if sent >= self.high {
                self.contradictions += 1;
            }
            self.low = self.low.max(sent);
        } else {
            if received <= self.low {
                self.contradictions += 1;
            }
            self.high = self.high.min(received);
        }
    }

    /// Keeps what both say.
    pub fn meet(&mut self, low: f64, high: f64) {
        self.n += 1;
        self.low = self.low.max(low);
        self.high = self.high.min(high);
    }

    /// Whether it is bounded on both sides and the sides agree.
    pub fn closed(&self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high
    }

    /// The distance between the sides.
    pub fn width(&self) -> f64 {
        self.high - self.low
    }

    /// The middle.
    pub fn middle(&self) -> f64 {
        (self.low + self.high) / 2.0
    }

    /// By how much the sides overlap: a lower bound on the skew between instances, or of a cached verdict.
    pub fn excess(&self) -> f64 {
        (self.low - self.high).max(0.0)
    }
}

/// The offset server - harness from `Date` headers: each whole second D was shown somewhere between sending and
/// receiving, so D - received < offset < D + 1 - sent. Some servers (uvicorn) make the header once a second, at an
/// instant of their own, and show one that may be a second old: then offset < D + 2 - sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offset {
    bounds: Bounds,
}

impl Offset {
    /// Takes one reply: its `Date` as Unix seconds, and when it was asked for and there (Unix seconds, ours).
    pub fn see(&mut self, date: i64, sent: f64, received: f64) {
        self.bounds.meet(date as f64 - received, date as f64 + 1.0 - sent);
    }

    /// The interval, if any reply had a date and they agree. Where fresh dates would mean that the clocks differ, or
    /// contradict each other, the dates may be old ones, and the interval is a second wider.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let Bounds { low, high, .. } = self.bounds;
        let same_clock = low <= 0.0 && 0.0 <= high;
        let high = if same_clock { high } else { high + 1.0 };
        (low.is_finite() && high.is_finite() && low <= high).then_some((low, high))
    }

    /// When to ask next so that the interval halves: the predicted tick of the server's second nearest after `now`.
    pub fn next_tick(&self, now: f64) -> f64 {
        let theta = if self.bounds.closed() { self.bounds.middle() } else { 0.0 };
        let server = now + theta;
        now + (server.ceil() - server)
    }
}

/// A `Date` header as Unix seconds (IMF-fixdate only, which is what RFC 9110 asks senders for).
pub fn parse_http_date(text: &str) -> Option<i64> {
    let rest = text.trim().split_once(", ")?.1;
    let mut parts = rest.split(' ');
    let day: i64 = parts.next()?.parse().ok()?;
    let month = parts.next()?;
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        .iter()
        .position(|m| *m == month)? as i64
        + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(|p| p.parse::<i64>().ok());
    let (h, m, s) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next() != Some("GMT") || !(1..=31).contains(&day) || h > 23 || m > 59 || s > 60 {
        return None;
    }
    // Days since 1970-01-01 of a Gregorian date, counted in years that begin in March.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + h * 3_600 + m * 60 + s)
}

/// The leeway from the cut-off and the offset: leeway = (t* - exp) + offset.
pub fn leeway(cut: &Bounds, offset: (f64, f64)) -> Option<(f64, f64)> {
    cut.closed().then_some((cut.low + offset.0, cut.high + offset.1))
}

/// Leeway and offset from the cut-offs of `exp` and `nbf` together, where one leeway serves both: acceptance ends at
/// exp + L - offset and begins at nbf - L - offset, so the sum gives the offset and the difference the leeway.
/// Returns (leeway, offset) as intervals.
pub fn two_sided(exp: &Bounds, nbf: &Bounds) -> Option<((f64, f64), (f64, f64))> {
    if !exp.closed() || !nbf.closed() {
        return None;
    }
    let leeway = ((exp.low - nbf.high) / 2.0, (exp.high - nbf.low) / 2.0);
    let offset = (-(exp.high + nbf.high) / 2.0, -(exp.low + nbf.low) / 2.0);
    Some((leeway, offset))
}

/// The nearest known default within a second of the interval, in words.
pub fn nearest(leeway: (f64, f64)) -> String {
    let middle = (leeway.0 + leeway.1) / 2.0;
    let mut best: Option<(f64, &str, bool)> = None;
    for (value, name) in KNOWN_LEEWAYS {
        for inclusive in [false, true] {
            let at = if inclusive { value + 1.0 } else { *value };
            let distance = (middle - at).abs();
            if distance < 0.75 && best.is_none_or(|(d, _, _)| distance < d) {
                best = Some((distance, name, inclusive));
            }
        }
    }
    match best {
        Some((_, name, false)) => format!("nearest known default: {name}"),
        Some((_, name, true)) => format!("nearest known default: {name}, compared inclusively in whole seconds"),
        None => "no known default is near".to_owned(),
    }
}

/// How the boundary is drawn, as far as the interval shows: `strict` where acceptance ends at exp + a whole leeway
/// (strict compare, or any compare of a floored clock with a whole limit), `inclusive` where it ends one second
/// later than a known default, `sub-second` where it ends between two seconds.
pub fn boundary(leeway: (f64, f64)) -> Option<&'static str> {
    if leeway.1 - leeway.0 > 0.5 {
        return None;
    }
    let middle = (leeway.0 + leeway.1) / 2.0;
    let whole = middle.round();
    if !(leeway.0 - 0.1..=leeway.1 + 0.1).contains(&whole) {
        return Some("sub-second");
    }
    let is_default = |v: f64| KNOWN_LEEWAYS.iter().any(|(k, _)| *k == v);
    Some(if is_default(whole) || !is_default(whole - 1.0) { "strict" } else { "inclusive" })
}

/// What clock the end is compared with, by the cut-offs of a whole `exp` and of one half a second past a whole
/// second: a clock with fractions moves by that half, one of whole seconds by a whole second, and an `exp` that is cut
/// to whole seconds not at all. The server's offset and leeway move both alike.
pub fn compared(whole: &Bounds, half: &Bounds) -> Option<&'static str> {
    if !whole.closed() || !half.closed() || whole.width() > 0.3 || half.width() > 0.3 {
        return None;
    }
    let moved = half.middle() - whole.middle();
    let near = |at: f64| (moved - at).abs() <= 0.2;
    match () {
        () if near(0.0) => Some("a clock with fractions"),
        () if near(0.5) => Some("a clock of whole seconds"),
        () if near(-0.5) => Some("a fraction of exp counts for nothing"),
        () => None,
    }
}

/// The next whole-second age between the bounds that halves them, or none when they are a second apart.
pub fn bisect(accepted_age: i64, refused_age: i64) -> Option<i64> {
    (refused_age - accepted_age > 1).then(|| accepted_age + (refused_age - accepted_age) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with a leeway, an offset and a whole-second clock or not, asked at harness instants.
    struct Server {
        leeway: f64,
        offset: f64,
        floored: bool,
        inclusive: bool,
    }

    impl Server {
        fn accepts(&self, exp: f64, at: f64) -> bool {
            let now = at + self.offset;
            let now = if self.floored { now.floor() } else { now };
            if self.inclusive { now <= exp + self.leeway } else { now < exp + self.leeway }
        }
        fn cut(&self) -> Bounds {
            let (exp, mut cut) = (1_000_000.0, Bounds::default());
            for step in -4_000..8_000 {
                let sent = exp + f64::from(step) * 0.01;
                // It decides 3 ms after sending; the answer is there after 5 ms.
                let accepted = self.accepts(exp, sent + 0.003);
                cut.see(accepted, sent - exp, sent + 0.005 - exp);
            }
            cut
        }
    }

    #[test]
    fn the_cut_off_is_leeway_minus_offset_whatever_the_clock() {
        for (leeway, offset, floored, inclusive, expected) in [
            (0.0, 0.0, false, false, 0.0),
            (0.0, 0.3, true, false, -0.3),
            (10.0, -2.0, true, false, 12.0),
            (60.0, 0.0, true, true, 61.0),
        ] {
            let cut = Server { leeway, offset, floored, inclusive }.cut();
            assert!(cut.low <= expected && expected <= cut.high + 1e-9, "{cut:?} {expected}");
            assert!(cut.width() < 0.02 && cut.contradictions == 0, "{cut:?}");
        }
    }

    #[test]
    fn a_cached_verdict_contradicts_itself() {
        let mut cut = Bounds::default();
        cut.see(false, 1.0, 1.1);
        cut.see(true, 30.0, 30.1);
        assert_eq!(cut.contradictions, 1);
        assert!(cut.excess() > 28.0);
    }

    #[test]
    fn the_offset_narrows_to_the_round_trip_around_a_tick() {
        // A clock that is not ours may also be one whose dates are old, which costs a second.
        for (theta, width) in [(0.0, 0.3), (0.37, 1.3)] {
            let mut offset = Offset::default();
            let mut now: f64 = 1_000.123;
            for _ in 0..10 {
                let date = (now + 0.001 + theta).floor() as i64;
                offset.see(date, now, now + 0.002);
                now = offset.next_tick(now + 0.002) + if date % 2 == 0 { 0.0 } else { 0.001 };
            }
            let (low, high) = offset.interval().unwrap();
            assert!(low < theta && theta < high && high - low < width, "{theta}: {low} {high}");
        }
    }

    #[test]
    fn a_date_that_is_made_once_a_second_moves_no_clock() {
        for theta in [0.0, 5.0] {
            let mut offset = Offset::default();
            for step in 0..200 {
                let now = 1_000.0 + f64::from(step) * 0.05;
                // Made at 0.7 of each second of the server's clock, and shown until the next.
                let made = (now + theta - 0.7).floor() + 0.7;
                offset.see(made.floor() as i64, now, now + 0.002);
            }
            let (low, high) = offset.interval().unwrap();
            assert!(low <= theta && theta <= high && high - low < 1.2, "{theta}: {low} {high}");
        }
    }

    #[test]
    fn leeway_and_offset_separate_with_both_sides() {
        // Leeway 10, offset 2: exp ends at 8, nbf begins at -12.
        let exp = Bounds { low: 7.9, high: 8.1, n: 1, contradictions: 0 };
        let nbf = Bounds { low: -12.1, high: -11.9, n: 1, contradictions: 0 };
        let (leeway, offset) = two_sided(&exp, &nbf).unwrap();
        assert!(leeway.0 <= 10.0 && 10.0 <= leeway.1, "{leeway:?}");
        assert!(offset.0 <= 2.0 && 2.0 <= offset.1, "{offset:?}");
    }

    #[test]
    fn defaults_are_recognised_with_their_boundary() {
        assert!(nearest((-0.05, 0.05)).contains("PyJWT"));
        assert!(nearest((60.9, 61.1)).contains("inclusively"));
        assert_eq!(boundary((60.95, 61.05)), Some("inclusive"));
        assert_eq!(boundary((59.95, 60.05)), Some("strict"));
        assert_eq!(boundary((0.4, 0.45)), Some("sub-second"));
        assert_eq!(boundary((0.0, 0.9)), None);
        assert!(nearest((42.0, 42.1)).contains("no known"));
    }

    #[test]
    fn an_http_date_is_read_as_unix_seconds() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
        for wrong in
            ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            assert_eq!(parse_http_date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_clock_shows_in_how_a_half_second_counts() {
        for (floored, inclusive, expected) in
            [(false, false, "a clock with fractions"), (true, false, "a clock of whole seconds")]
        {
            let server = Server { leeway: 5.0, offset: 0.31, floored, inclusive };
            let half = {
                let (exp, mut cut) = (1_000_000.5, Bounds::default());
                for step in -200..1_200 {
                    let sent = exp + f64::from(step) * 0.01;
                    cut.see(server.accepts(exp, sent + 0.003), sent - exp, sent + 0.005 - exp);
                }
                cut
            };
            assert_eq!(compared(&server.cut(), &half), Some(expected));
        }
        assert_eq!(compared(&Bounds::default(), &Bounds::default()), None);
    }

    #[test]
    fn bisection_ends_a_second_apart() {
        let (mut low, mut high, truth, mut steps) = (0, 86_400, 613, 0);
        while let Some(at) = bisect(low, high) {
            if at < truth {
                low = at
            } else {
                high = at
            }
            steps += 1;
        }
        assert_eq!((low, high), (612, 613));
        assert!(steps <= 17);
    }
}

//! May this account try another password? Failed logins per name and minute, where a limit is configured.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Names that are remembered, 24 bytes each.
const NAMES: usize = 100_000;
const WINDOW_S: f64 = 60.0;

/// What is known of one name.
#[derive(Debug, Clone, Copy)]
struct Tries {
    /// When its minute began.
    since: f64,
    failed: u32,
    /// Passwords that are being looked at.
    open: u32,
}

impl Tries {
    fn is_over(&self, now: f64) -> bool {
        // A clock that was put back must not keep anybody out for longer than a minute.
        self.open == 0 && !(0.0..WINDOW_S).contains(&(now - self.since))
    }
}

/// Failed logins by name, each name as a number of the caller's.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    tries: Mutex<HashMap<u64, Tries>>,
}

/// May a password be looked at?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Yes; the caller says afterwards how it ended.
    Go,
    /// As many are being looked at as may still fail: ask again when one has ended.
    Wait,
    /// Not before so many seconds.
    Refused(u64),
}

impl Throttle {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Tries>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a try of `name` begin, where it and all that are under way may fail without passing `limit` failures within a minute.
    pub(crate) fn begin(&self, name: u64, limit: u32, now: f64) -> Turn {
        let mut tries = self.lock();
        if tries.len() >= NAMES && !tries.contains_key(&name) {
            make_room(&mut tries, limit, now);
        }
        let fresh = Tries { since: now, failed: 0, open: 0 };
        let known = tries.entry(name).or_insert(fresh);
        if known.is_over(now) {
            *known = fresh;
        }
        if known.failed >= limit {
            return Turn::Refused((known.since + WINDOW_S - now).clamp(1.0, WINDOW_S).ceil() as u64);
        }
        if known.failed + known.open >= limit {
            return Turn::Wait;
        }
        known.open += 1;
        Turn::Go
    }

    /// A try has ended: a good login wipes the slate, a failed one counts, and one that was not looked at does neither.
    pub(crate) fn end(&self, name: u64, opened: Option<bool>) {
        let mut tries = self.lock();
        let Entry::Occupied(mut known) = tries.entry(name) else { return };
        let tried = known.get_mut();
        tried.open = tried.open.saturating_sub(1);
        match opened {
            Some(true) => tried.failed = 0,
            Some(false) => tried.failed += 1,
            None => {}
        }
        if tried.open == 0 && tried.failed == 0 {
            known.remove();
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

/// Forgets names whose minute is over; then, where names are being invented, those that are not at their limit. Who is locked out
/// stays so unless every name is.
fn make_room(tries: &mut HashMap<u64, Tries>, limit: u32, now: f64) {
    tries.retain(|_, known| !known.is_over(now));
    if tries.len() >= NAMES {
        tries.retain(|_, known| known.open > 0 || known.failed >= limit);
    }
    if tries.len() >= NAMES {
        let mut begun: Vec<f64> = tries.values().map(|known| known.since).collect();
        let middle = begun.len() / 2;
        let (_, median, _) = begun.select_nth_unstable_by(middle, f64::total_cmp);
        let median = *median;
        tries.retain(|_, known| known.open > 0 || known.since > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_at_the_same_time_cannot_fail_more_often_than_the_limit() {
        let throttle = Throttle::default();
        let turns: Vec<_> = (0..8).map(|_| throttle.begin(1, 5, 0.0)).collect();
        assert_eq!(turns.iter().filter(|turn| **turn == Turn::Go).count(), 5);
        assert_eq!(turns[5..], [Turn::Wait; 3]);
        (0..4).for_each(|_| throttle.end(1, Some(false)));
        assert_eq!(throttle.begin(1, 5, 1.0), Turn::Wait, "one is still open");
        throttle.end(1, Some(false));
        assert_eq!(throttle.begin(1, 5, 1.0), Turn::Refused(59));
        assert_eq!(throttle.begin(1, 5, 61.0), Turn::Go);
    }

    #[test]
    fn a_good_login_wipes_the_slate_and_one_that_was_not_looked_at_does_not() {
        let throttle = Throttle::default();
        for opened in [Some(false), Some(false), None] {
            assert_eq!(throttle.begin(1, 3, 0.0), Turn::Go);
            throttle.end(1, opened);
        }
        assert_eq!(throttle.begin(1, 3, 0.0), Turn::Go);
        throttle.end(1, Some(true));
        for _ in 0..3 {
            assert_eq!(throttle.begin(1, 3, 0.0), Turn::Go);
        }
    }

    #[test]
    fn invented_names_do_not_set_free_who_is_locked_out() {
        let throttle = Throttle::default();
        for _ in 0..3 {
            assert_eq!(throttle.begin(7, 3, 0.0), Turn::Go);
            throttle.end(7, Some(false));
        }
        for name in 100..100 + 2 * NAMES as u64 {
            throttle.begin(name, 3, 1.0);
            throttle.end(name, Some(false));
        }
        assert!(throttle.lock().len() <= NAMES);
        assert_eq!(throttle.begin(7, 3, 2.0), Turn::Refused(58));
    }
}

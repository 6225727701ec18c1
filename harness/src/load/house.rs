//! Who keeps the sessions fresh while loops run? Threads that log in and refresh off the timed path.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::population::Line;
use super::shared::{Chore, Renewed, Shared};
use crate::clock;
use crate::record::HousekeepingRecord;
use crate::target::Vars;
use crate::units::Nanos;
use crate::wire::TlsOptions;

/// Chores that wait to be done, at most; the loops keep what is beyond.
pub(super) const WAITING: usize = 4096;
/// How many keep house side by side: one caller that waits for each answer gives a few thousand refreshes in a second,
/// and a large population with short-lived tokens needs more.
const KEEPERS: usize = 8;
/// Pause after a refusal: a server that refuses logins must not be asked as fast as it can refuse.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// Does chores until no loop is left to ask for any.
pub(super) fn keep(
    shared: &Shared<'_>,
    tls: &TlsOptions,
    chores: Receiver<Chore>,
    renewals: &[Sender<Renewed>],
) -> HousekeepingRecord {
    let Some(target) = shared.target else { return HousekeepingRecord::default() };
    let (logins, refreshes, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let chores = Mutex::new(chores);
    let next = || chores.lock().unwrap_or_else(PoisonError::into_inner).recv();
    std::thread::scope(|scope| {
        for _ in 0..KEEPERS {
            scope.spawn(|| {
                let mut line = Line::new(target, tls);
                while let Ok(chore) = next() {
                    // What is left when the load is over need not be done.
                    let start = Nanos(shared.start.load(Ordering::Acquire));
                    if shared.cancel.load(Ordering::Relaxed) || clock::mono() >= start + shared.stop.ends {
                        continue;
                    }
                    let (counter, asked) = match &chore.refresh {
                        Some(vars) => (&refreshes, line.asked("refresh", vars)),
                        None => (&logins, line.asked("issue", &Vars::new())),
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    if asked.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(AFTER_REFUSAL);
                    }
                    let _ = renewals[chore.worker].send((chore.session, asked.ok()));
                }
            });
        }
    });
    HousekeepingRecord {
        logins: logins.into_inner(),
        refreshes: refreshes.into_inner(),
        failed: failed.into_inner(),
        behind: 0,
    }
}

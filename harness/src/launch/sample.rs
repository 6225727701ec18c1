//! How much CPU and memory do the processes use over time?

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use super::{log, tree};
use crate::clock;
use crate::record::ProcessSample;
use crate::units::Nanos;

/// Between two samples at first.
const EVERY: Duration = Duration::from_millis(250);
/// Beyond this many, every second one is dropped and the distance doubled: the shape stays, memory too.
const MOST: usize = 2400;

/// What is watched of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// The guard above it; 0 while it is not running.
    pub(super) guard: i32,
    /// When it was first started.
    pub(super) since: Nanos,
    /// CPU seconds of earlier starts.
    pub(super) before_s: f64,
    /// What was seen.
    pub(super) samples: Vec<ProcessSample>,
    /// Logs that are kept below their limit.
    pub(super) logs: Vec<PathBuf>,
}

impl Watch {
    /// Takes one sample now.
    pub(super) fn sample(&mut self) {
        if self.guard == 0 {
            return;
        }
        let at_ms = clock::mono().since(self.since).0 / 1_000_000;
        let mut sample = tree::usage(self.guard, at_ms);
        if sample.processes == 0 {
            return;
        }
        sample.cpu_s += self.before_s;
        self.samples.push(sample);
    }

    /// The process ends or starts anew: what it used so far stays counted.
    pub(super) fn pause(&mut self) {
        self.sample();
        self.before_s = self.samples.last().map_or(self.before_s, |sample| sample.cpu_s);
        self.guard = 0;
    }
}

/// Samples until it is dropped.
#[derive(Debug)]
pub(super) struct Sampler {
    watches: Arc<Mutex<Vec<Watch>>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sampler {
    pub(super) fn start(watches: Vec<Watch>) -> Sampler {
        let watches = Arc::new(Mutex::new(watches));
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::clone(&watches);
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || {
                let mut every = EVERY;
                while stopped.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let mut longest = 0;
                    for watch in lock(&shared).iter_mut() {
                        watch.sample();
                        watch.logs.iter().for_each(|path| log::keep_below_limit(path));
                        longest = longest.max(watch.samples.len());
                    }
                    if longest > MOST {
                        every *= 2;
                        for watch in lock(&shared).iter_mut() {
                            let mut index = 0;
                            watch.samples.retain(|_| {
                                index += 1;
                                index % 2 == 0
                            });
                        }
                    }
                }
            })
            .ok();
        Sampler { watches, stop: Some(stop), thread }
    }

    pub(super) fn watches(&self) -> MutexGuard<'_, Vec<Watch>> {
        lock(&self.watches)
    }
}

fn lock(watches: &Mutex<Vec<Watch>>) -> MutexGuard<'_, Vec<Watch>> {
    watches.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

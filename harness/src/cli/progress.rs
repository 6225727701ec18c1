//! What does the user see while a run goes on? A bar on a terminal, plain lines in a log; always on standard error.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use assay::conformance;
use assay::load::{Phase, Progress};
use assay::record::{Grade, Verdict, harmless};
use assay::run::Event;
use assay::units::{Nanos, Rate};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Global, tell};

/// A plain line about a load that goes on comes this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A wait of so many seconds is told in a log too, again whenever so many have passed.
const LONG_WAIT_S: u64 = 10;

/// Shows events of a run.
pub struct Show {
    mode: Mode,
    state: Mutex<State>,
}

enum Mode {
    Silent,
    Lines,
    Bar(ProgressBar),
}

#[derive(Default)]
struct State {
    /// The step, as it is shown before everything.
    step: String,
    /// Findings so far, by topology.
    findings: BTreeMap<String, BTreeMap<[&'static str; 2], usize>>,
    /// When the last plain line about a load was written, of the drive's own clock.
    told: Nanos,
    /// The same about sessions that are prepared; none before the first of them.
    prepared: Option<Nanos>,
    /// In a comparison: the round.
    round: String,
    /// Checks that wait, with the seconds that a plain line last told.
    waits: BTreeMap<&'static str, u64>,
}

impl State {
    /// One more check of a topology, run or skipped: the same ones that the summary counts.
    fn count(&mut self, topology: &str, grade: Grade) {
        // One of them, and several.
        let word = match grade {
            Grade::Ok | Grade::Known => ["as required"; 2],
            Grade::Violation | Grade::StaleKnown | Grade::Required => ["violation", "violations"],
            Grade::Weakness => ["weakness", "weaknesses"],
            Grade::Note => ["note", "notes"],
            Grade::Skip => ["skipped"; 2],
            Grade::Inconclusive => ["inconclusive"; 2],
            Grade::HarnessError => ["fault of ours", "faults of ours"],
        };
        *self.findings.entry(topology.to_owned()).or_default().entry(word).or_default() += 1;
    }

    /// `147 checks: 120 as required, 27 skipped`.
    fn counted(&self, topology: &str) -> String {
        let none = BTreeMap::new();
        let counts = self.findings.get(topology).unwrap_or(&none);
        let total: usize = counts.values().sum();
        let each: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {}", word[usize::from(*n != 1)])).collect();
        let checks = if total == 1 { "check" } else { "checks" };
        format!("{total} {checks}: {}", each.join(", "))
    }
}

impl Show {
    /// A bar where standard error is a terminal, lines elsewhere, nothing with `--quiet`.
    pub fn new(global: &Global) -> Show {
        let mode = match (global.quiet, std::io::stderr().is_terminal()) {
            (true, _) => Mode::Silent,
            (false, false) => Mode::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
                let style = ProgressStyle::with_template("{spinner} {prefix} {wide_msg} {elapsed}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.enable_steady_tick(Duration::from_millis(125));
                Mode::Bar(bar)
            }
        };
        Show { mode, state: Mutex::default() }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }

    /// A line that stays. What a target said may be part of it.
    fn line(&self, text: &str) {
        let text = harmless(text);
        match &self.mode {
            Mode::Silent => {}
            Mode::Lines => tell(format_args!("{text}")),
            Mode::Bar(bar) => bar.suspend(|| tell(format_args!("{text}"))),
        }
    }

    /// What is happening now; only a terminal shows it.
    fn now(&self, text: String) {
        if let Mode::Bar(bar) = &self.mode {
            bar.set_message(text);
        }
    }

    /// Shows one event.
    pub fn event(&self, event: Event<'_>) {
        if matches!(self.mode, Mode::Silent) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Step { step, number, of } => {
                state.step = format!("[{number}/{of}] {step}");
                state.findings.clear();
                state.told = Nanos(0);
                state.prepared = None;
                state.round.clear();
                match &self.mode {
                    Mode::Bar(bar) => bar.set_prefix(state.step.clone()),
                    _ => self.line(&state.step),
                }
                self.now(String::new());
            }
            Event::Launching { topology, doing: "" } => self.now(topology.to_owned()),
            Event::Launching { topology, doing } => match self.mode {
                Mode::Bar(_) => self.now(format!("{topology}: {doing}")),
                _ => self.line(&format!("  {topology}: {doing}")),
            },
            Event::Up { topology, url } => self.line(&format!("  {topology} is up at {url}")),
            Event::Check { topology, event } => self.check(&mut state, topology, event),
            Event::Load { progress, .. } => self.load(&mut state, progress),
            Event::Round { number, of, seconds } => {
                let left = seconds * f64::from(of + 1 - number);
                state.round = format!("round {number} of {of}");
                self.line(&format!("  {}, about {left:.0} s left", state.round));
            }
            Event::Warning(warning) => {
                let place = warning.topology.as_ref().map(|t| format!(" [{t}]")).unwrap_or_default();
                self.line(&format!("  warning{place}: {}", warning.message.replace("; hint: ", "; ")));
            }
        }
    }

    fn check(&self, state: &mut State, topology: &str, event: conformance::Event) {
        use conformance::Event as E;
        match event {
            E::Calibrated { ways, usable } => {
                if usable < ways {
                    self.line(&format!("  {topology}: {usable} of {ways} verify ways can be judged by"));
                }
            }
            E::Started { id, done, total } => self.now(format!("{topology}: {done}/{total} {id}")),
            E::Waiting { id, what, seconds_left } => {
                let text = format!("{topology}: {id} waits {seconds_left} s for {what}");
                // A log is told of long waits when they begin, and now and then.
                let told = state.waits.entry(id).or_insert(u64::MAX);
                let long = matches!(self.mode, Mode::Lines) && seconds_left >= LONG_WAIT_S;
                if long && (seconds_left > *told || told.saturating_sub(seconds_left) >= LONG_WAIT_S) {
                    self.line(&format!("  {text}"));
                    *told = seconds_left;
                }
                self.now(text);
            }
            E::Skipped { record } => state.count(topology, record.grade),
            E::Finished { record, done, total } => {
                state.count(topology, record.grade);
                if record.verdict == Verdict::Fail && record.grade == Grade::Violation {
                    self.line(&format!("  {topology}: violation {}: {}", record.id, record.summary));
                }
                if done == total {
                    self.line(&format!("  {topology}: {}", state.counted(topology)));
                }
            }
        }
    }

    /// A log is told when sessions begin to be prepared, every few seconds, and how long it took.
    fn preparing(&self, state: &mut State, elapsed: Nanos, (done, of): (u64, u64)) {
        let first = state.prepared.is_none();
        let last = done == of;
        let due = state.prepared.is_some_and(|told| elapsed.since(told) >= Nanos::from(LINE_EVERY));
        if !matches!(self.mode, Mode::Lines) || !(first || due || last) {
            return;
        }
        if first {
            self.line(&format!("  preparing {of} sessions"));
        } else if last {
            self.line(&format!("  {of} sessions are ready after {:.1} s", elapsed.as_secs_f64()));
        } else {
            self.line(&format!("  {done} of {of} sessions after {:.0} s", elapsed.as_secs_f64()));
        }
        state.prepared = Some(elapsed);
    }

    fn load(&self, state: &mut State, p: &Progress) {
        // The clock of each try begins anew.
        if p.elapsed < state.told {
            state.told = Nanos(0);
        }
        let text = match p.phase {
            Phase::Preparing { done, of } => format!("sessions {done}/{of}"),
            Phase::Connecting => "connecting".to_owned(),
            Phase::Warmup => "warming up".to_owned(),
            Phase::Recording => {
                let left = p.total.0.saturating_sub(p.elapsed.0) / 1_000_000_000;
                let time = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| Nanos(ns).to_string());
                format!(
                    "{:.0}/s, p50 {}, p99 {}, {} failed, {} in flight, {left} s left",
                    p.rate_per_s,
                    time(p.p50_ns),
                    time(p.p99_ns),
                    p.failed,
                    p.in_flight
                )
            }
            Phase::Draining => "waiting for the last answers".to_owned(),
            Phase::Tried { rate, held } => {
                let word = match held {
                    Some(true) => "held",
                    Some(false) => "missed",
                    None => "too few samples",
                };
                let text = format!("{}: {word}", Rate(rate));
                self.line(&format!("  {text}"));
                text
            }
        };
        let text = match p.search {
            None => text,
            Some(s) => format!(
                "try {} of about {} at {}, about {} left: {text}",
                s.number,
                s.about,
                Rate(s.rate),
                minutes(s.left.0.saturating_sub(p.elapsed.0))
            ),
        };
        if let Phase::Preparing { done, of } = p.phase {
            self.preparing(state, p.elapsed, (done, of));
        }
        match self.mode {
            Mode::Bar(_) if state.round.is_empty() => self.now(text),
            Mode::Bar(_) => self.now(format!("{}: {text}", state.round)),
            _ if state.round.is_empty()
                && p.phase == Phase::Recording
                && p.elapsed.since(state.told) >= Nanos::from(LINE_EVERY) =>
            {
                state.told = p.elapsed;
                self.line(&format!("  {text}"));
            }
            _ => {}
        }
    }
}

/// A time that is left, as people say it.
fn minutes(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

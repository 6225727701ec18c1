//! What do all probes of one examination share? The target, the token pool, the calibration, the controls.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::launch::Deployment;
use crate::record::{ExaminationRecord, Redactor, WindowRecord};
use crate::target::{Issued, Target};
use crate::units::Nanos;
use crate::wire::{Reply, WireError};

use super::capsule::Opened;
use super::company::Company;
use super::descriptor::Need;
use super::measure::{Cut, Edge};
use super::probe::Stop;
use super::texts::Texts;

/// The longest that one answer may take before it counts as a hang. Well above the slowest password hash met
/// (0.4 s), well below what a caller would wait.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// How long a pooled access token must still live to be used as a control.
pub const FRESH_S: f64 = 15.0;
/// So many requests in a row without any answer, each given its whole [`PATIENCE`]: the target has stopped answering,
/// and the rest of the run would only wait.
const SILENT_AFTER: u32 = 6;
/// At most this many presentations are remembered for the check that compares the verify ways.
const LEDGER_LIMIT: usize = 20_000;
/// At most this many genuine tokens are known by name.
const ISSUED_LIMIT: usize = 4_096;

/// One way to have a token judged: an operation `verify.<name>` of the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The operation: `verify.resource`.
    pub operation: String,
    /// Its short name: `resource`.
    pub name: String,
    /// It takes refresh tokens too, on purpose.
    pub takes_refresh: bool,
    /// Calibration: a genuine token was accepted.
    pub accepts_genuine: bool,
    /// Calibration: a request without a token was refused.
    pub refuses_nothing: bool,
    /// Calibration: nothing and garbage got this answer of the 2xx kind, which is not what the profile calls acceptance:
    /// then it is how the target refuses.
    pub refuses_by: Option<Manner>,
}

/// An answer of the 2xx kind that grants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Its status.
    pub status: u16,
    /// The caller that it names, where it names one.
    pub identity: Option<String>,
}

impl Way {
    /// Whether a refusal there says anything.
    pub fn usable(&self) -> bool {
        self.accepts_genuine && self.refuses_nothing
    }
}

/// One presentation of a token, remembered for the comparison of the ways.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Which check, which part.
    pub by: String,
    /// The token.
    pub token: String,
    /// The way's name.
    pub way: String,
    /// Raised whenever the probe changes state: presentations of one epoch can be compared.
    pub epoch: u64,
    /// Whether it was accepted.
    pub accepted: bool,
    /// When the answer was there (monotonic).
    pub at: Nanos,
}

/// What other checks build on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A login with the profile's own user.
    Login,
    /// A refresh with a refresh token that is still good.
    Refresh,
}

/// A genuine pair of tokens and how long the access token may still be used.
#[derive(Clone, Debug)]
pub struct Held {
    /// What the server issued.
    pub issued: Issued,
    /// When to stop using the access token (monotonic).
    pub use_until: Nanos,
}

/// A cut-off that is measured once: empty until somebody has, locked while somebody does.
type CutSlot = Arc<Mutex<Option<Cut>>>;

/// Counters of everything that goes out.
#[derive(Default)]
struct Traffic {
    requests: AtomicU64,
    logins: AtomicU64,
    server_errors: AtomicU64,
    unanswered: AtomicU64,
    dropped: AtomicU64,
}

/// What all probes share.
pub struct Session<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its name in the record.
    pub topology: &'a str,
    /// Ends everything early.
    pub cancel: &'a AtomicBool,
    /// The whole run's deadline (monotonic).
    pub deadline: Nanos,
    /// What the target and the run provide.
    pub has: HashSet<Need>,
    /// The verify ways as calibrated.
    pub ways: Vec<Way>,
    /// Whether the login of the profile's own user was refused when the session was calibrated.
    pub no_login: bool,
    /// The same server without its proxy.
    pub peer: Option<&'a Target>,
    /// What was started for the target, where that was done by us.
    pub deployment: Option<&'a Deployment>,
    /// Log files of the server (and of the proxy, where it has one).
    pub logs: Vec<crate::launch::LogFile>,
    /// How long checks may take.
    pub budget: crate::scenario::Budget,
    /// What was issued beside the tokens.
    pub company: Company,
    /// Which tokens were given out, by their text.
    pub(super) texts: Texts,
    /// Tokens of earlier runs, as they were answered when this one began.
    pub(super) capsule: Option<Opened>,
    redactor: Mutex<Redactor>,
    issued: Mutex<HashMap<String, &'static str>>,
    pool: Mutex<Option<Held>>,
    controls: Mutex<HashMap<String, bool>>,
    cuts: Mutex<HashMap<(String, Edge), CutSlot>>,
    refresh: Mutex<Option<String>>,
    ledger: Mutex<Vec<Presented>>,
    given: Mutex<HashSet<String>>,
    windows: Mutex<Vec<WindowRecord>>,
    traffic: Traffic,
    /// When the examination began (monotonic).
    pub began: Nanos,
    connections: AtomicU64,
    limited: AtomicBool,
    worked: [AtomicBool; 2],
    epochs: AtomicU64,
    unanswered: AtomicU32,
    alone: AtomicBool,
    one_at_a_time: AtomicBool,
    died: AtomicBool,
    changed: AtomicBool,
    reset: AtomicBool,
}

impl<'a> Session<'a> {
    /// A session that is not calibrated yet.
    pub fn new(target: &'a Target, topology: &'a str, cancel: &'a AtomicBool, redactor: Redactor) -> Session<'a> {
        Session {
            target,
            topology,
            cancel,
            deadline: Nanos(u64::MAX),
            has: HashSet::new(),
            ways: Vec::new(),
            no_login: false,
            peer: None,
            deployment: None,
            logs: Vec::new(),
            budget: crate::scenario::Budget::Ci,
            company: Company::new(target),
            texts: Texts::default(),
            capsule: None,
            redactor: Mutex::new(redactor),
            issued: Mutex::new(HashMap::new()),
            pool: Mutex::new(None),
            controls: Mutex::new(HashMap::new()),
            cuts: Mutex::new(HashMap::new()),
            refresh: Mutex::new(None),
            ledger: Mutex::new(Vec::new()),
            given: Mutex::new(HashSet::new()),
            windows: Mutex::new(Vec::new()),
            traffic: Traffic::default(),
            began: clock::mono(),
            connections: AtomicU64::new(0),
            limited: AtomicBool::new(false),
            worked: [AtomicBool::new(false), AtomicBool::new(false)],
            epochs: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
            alone: AtomicBool::new(false),
            one_at_a_time: AtomicBool::new(false),
            died: AtomicBool::new(false),
            changed: AtomicBool::new(false),
            reset: AtomicBool::new(false),
        }
    }

    /// A hook of the server was called, which may have changed what it knows.
    pub(super) fn note_hook(&self, hook: &str) {
        self.changed.store(true, Ordering::Relaxed);
        if hook == "reset" {
            self.reset.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any hook was called.
    pub(super) fn was_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Whether the server was put back to its begin.
    pub(super) fn was_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    /// Whether the user or a deadline ended the run.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Notes an exchange, every one where it goes out: what it asked for and how it ended. A connection that ends at
    /// once is no silence: it costs no time.
    pub(super) fn note(&self, operation: &str, result: &Result<Reply, WireError>) {
        let count = |counter: &AtomicU64| _ = counter.fetch_add(1, Ordering::Relaxed);
        count(&self.traffic.requests);
        if operation == "issue" {
            count(&self.traffic.logins);
        }
        match result {
            Ok(reply) => {
                self.unanswered.store(0, Ordering::Relaxed);
                if reply.status >= 500 {
                    count(&self.traffic.server_errors);
                }
                // Logins are limited, which ends a check that asked for nothing else.
                if operation == "issue" && reply.status == 429 {
                    self.limited.store(true, Ordering::Relaxed);
                }
            }
            Err(WireError::Timeout { .. }) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                count(&self.traffic.unanswered);
            }
            Err(_) => count(&self.traffic.dropped),
        }
    }

    /// Notes a login by a command of the profile, which sends its requests itself.
    pub(super) fn note_command(&self) {
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        self.traffic.logins.fetch_add(1, Ordering::Relaxed);
    }

    /// Why nothing more is worth asking: the target has stopped answering.
    pub fn silent(&self) -> Option<String> {
        let unanswered = self.unanswered.load(Ordering::Relaxed);
        (unanswered >= SILENT_AFTER).then(|| {
            let seconds = PATIENCE.as_secs();
            format!("the target has stopped answering: {SILENT_AFTER} requests in a row, each given {seconds} s")
        })
    }

    /// Whether one check runs at a time.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }

    /// From here on one check runs at a time.
    pub(super) fn leave_alone(&self) {
        self.alone.store(true, Ordering::Relaxed);
    }

    /// Whether a login ends the user's session before it, so that what one check logs in for ends another's tokens.
    pub(super) fn has_one_session(&self) -> bool {
        self.one_at_a_time.load(Ordering::Relaxed)
    }

    /// Ends a check that has to hold several sessions of one user side by side.
    ///
    /// # Errors
    /// Not applicable where a login ends the session before it.
    pub(super) fn holds_several(&self) -> Result<(), Stop> {
        match self.has_one_session() {
            true => Err(Stop::not_applicable("a login ends the user's session before it")),
            false => Ok(()),
        }
    }

    /// A login has ended the session before it: every check runs alone, on a login of its own.
    pub(super) fn note_one_session(&self) {
        self.one_at_a_time.store(true, Ordering::Relaxed);
        self.leave_alone();
    }

    /// Text without secrets.
    pub fn redact(&self, text: &str) -> String {
        lock(&self.redactor).text(text)
    }

    /// Text of an exchange without secrets and without the tokens that it carried.
    pub(super) fn redact_exchange(&self, text: &str, tokens: &[&str]) -> String {
        lock(&self.redactor).token_free(text, tokens)
    }

    /// Remembers a secret, so that no record shows it.
    pub fn learn(&self, secret: &str) {
        lock(&self.redactor).learn(secret);
    }

    /// Remembers a token: its signature where it has one, else the whole of it.
    pub(super) fn learn_token(&self, token: &str) {
        let mut redactor = lock(&self.redactor);
        match token.starts_with("eyJ") {
            true => redactor.learn_signed(token),
            false => redactor.learn_opaque(token),
        }
    }

    /// Remembers the signatures of a text under test, compact or as JSON.
    pub(super) fn learn_signed(&self, text: &str) {
        lock(&self.redactor).learn_signed(text);
    }

    /// Remembers genuine tokens by what `assay forge login/...` calls them.
    pub(super) fn name_issued(&self, issued: &Issued, second: bool) {
        let names = if second { ["second-access", "second-refresh"] } else { ["access", "refresh"] };
        let mut known = lock(&self.issued);
        for (name, token) in names.into_iter().zip([&issued.access, &issued.refresh]) {
            if let Some(token) = token.as_ref().filter(|_| known.len() < ISSUED_LIMIT) {
                known.insert(token.clone(), name);
            }
        }
    }

    /// Whether a genuine token is the second user's.
    pub(super) fn is_seconds(&self, token: &str) -> bool {
        lock(&self.issued).get(token).is_some_and(|name| name.starts_with("second-"))
    }

    /// The genuine tokens that a text holds, with their names; none where two go by one name.
    pub(super) fn issued_in(&self, text: &str) -> Vec<(&'static str, String)> {
        let known = lock(&self.issued);
        let found: Vec<(&'static str, String)> = known
            .iter()
            .filter(|(token, _)| text.contains(*token))
            .map(|(token, name)| (*name, token.clone()))
            .collect();
        let names: HashSet<&str> = found.iter().map(|(name, _)| *name).collect();
        if names.len() == found.len() { found } else { Vec::new() }
    }

    /// What may be shown of a token.
    pub fn view(&self, token: &str) -> crate::record::TokenView {
        lock(&self.redactor).token(token)
    }

    /// The pooled token, held while `renew` looks at it and perhaps replaces it: one login, not one per thread.
    pub(super) fn pooled<E>(
        &self,
        renew: impl FnOnce(&Option<Held>) -> Result<Option<Held>, E>,
    ) -> Result<Option<Held>, E> {
        let mut pool = lock(&self.pool);
        if let Some(held) = renew(&pool)? {
            self.company.pin(&held.issued);
            *pool = Some(held);
        }
        Ok(pool.clone())
    }

    /// The pooled token.
    pub(super) fn held(&self) -> Option<Held> {
        lock(&self.pool).clone()
    }

    /// Throws the pooled token away where it is this one: its session has ended before its time. The refresh token that
    /// serves as a control may have ended with it.
    pub(super) fn forget(&self, access: &str) {
        self.died.store(true, Ordering::Relaxed);
        let mut pool = lock(&self.pool);
        if pool.as_ref().is_some_and(|held| held.issued.access.as_deref() == Some(access)) {
            *pool = None;
        }
    }

    /// Whether a genuine token ended before its time.
    pub(super) fn lost_a_session(&self) -> bool {
        self.died.load(Ordering::Relaxed)
    }

    /// From now on this is the pooled token.
    pub(super) fn pool(&self, held: Held) {
        self.company.pin(&held.issued);
        *lock(&self.pool) = Some(held);
    }

    /// Throws the pooled token away: an exclusive check has changed the world.
    pub fn drain(&self) {
        *lock(&self.pool) = None;
        *lock(&self.refresh) = None;
        lock(&self.controls).clear();
        lock(&self.cuts).clear();
    }

    /// Where the cut-off of a way is kept once it is measured.
    pub(super) fn cut_slot(&self, way: &str, edge: Edge) -> CutSlot {
        Arc::clone(lock(&self.cuts).entry((way.to_owned(), edge)).or_default())
    }

    /// The genuine refresh token beside which forged ones are shown: whoever holds the lock may use it up, and leaves
    /// its successor.
    pub(super) fn refresh_control(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.refresh)
    }

    /// Whether a re-signed genuine token is accepted at a way, if that was tried.
    pub(super) fn control(&self, way: &str) -> Option<bool> {
        lock(&self.controls).get(way).copied()
    }

    pub(super) fn set_control(&self, way: &str, accepted: bool) {
        lock(&self.controls).insert(way.to_owned(), accepted);
    }

    pub(super) fn remember(&self, presented: Presented) {
        let mut ledger = lock(&self.ledger);
        if ledger.len() < LEDGER_LIMIT {
            ledger.push(presented);
        }
    }

    /// Remembers what the server gave out.
    pub(super) fn note_given(&self, token: &str) {
        let mut given = lock(&self.given);
        if given.len() < LEDGER_LIMIT {
            given.insert(token.to_owned());
        }
    }

    /// Whether the server gave this very token out.
    pub fn gave(&self, token: &str) -> bool {
        lock(&self.given).contains(token)
    }

    /// Every presentation so far.
    pub fn ledger(&self) -> Vec<Presented> {
        lock(&self.ledger).clone()
    }

    /// Whether a reply that the profile does not know is the one that nothing and garbage get there too.
    pub(super) fn refuses_so(&self, operation: &str, reply: &Reply) -> bool {
        let by = self.ways.iter().find(|way| way.operation == operation).and_then(|way| way.refuses_by.as_ref());
        by.is_some_and(|by| by.status == reply.status && by.identity == self.target.identity(reply))
    }

    /// Adds a measured window.
    pub fn add_window(&self, window: WindowRecord) {
        lock(&self.windows).push(window);
    }

    /// The windows measured so far.
    pub fn windows(&self) -> Vec<WindowRecord> {
        lock(&self.windows).clone()
    }

    /// Remembers that a step on which others build has worked.
    pub(super) fn has_worked(&self, step: Step) {
        self.worked[step as usize].store(true, Ordering::Relaxed);
    }

    /// Whether it has worked before: then its failure is none of the target's ways to answer it, but a change of mind.
    pub(super) fn worked(&self, step: Step) -> bool {
        self.worked[step as usize].load(Ordering::Relaxed)
    }

    /// The number of a connection that has just been opened.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A number that no other probe has.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epochs.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the server limits logins.
    pub fn limits_logins(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// What was asked so far.
    pub fn traffic(&self) -> ExaminationRecord {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExaminationRecord {
            topology: self.topology.to_owned(),
            requests: read(&self.traffic.requests),
            logins: read(&self.traffic.logins),
            server_errors: read(&self.traffic.server_errors),
            unanswered: read(&self.traffic.unanswered),
            dropped: read(&self.traffic.dropped),
            duration_ms: clock::mono().since(self.began).0 / 1_000_000,
        }
    }
}

/// A check that panicked while it held a lock has not broken what the lock guards: plain values, replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! In what order do checks run, and what becomes of one that breaks?

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock;
use crate::launch::{Deployment, LogFile};
use crate::record::{
    CheckRecord, ExaminationRecord, Grade, Level, Redactor, SkipReason, Verdict, Warning, WindowRecord,
};
use crate::scenario::Budget;
use crate::target::Target;
use crate::wire::Connection;

use super::budget::more;
use super::calibrate;
use super::capsule::{self, Shelf};
use super::checks::named_logs;
use super::descriptor::{Check, Isolation, Need};
use super::known::{Deviation, Deviations};
use super::outcome::{Observation, Outcome, conclude};
use super::probe::{Probe, Stop};
use super::select::Selection;
use super::session::{Session, lock};

/// Checks that run side by side: enough to hide waiting, few enough to leave a small server its workers.
const SIDE_BY_SIDE: usize = 4;
/// A run that takes longer than this within the CI budget is given up: what is left is inconclusive.
const CI_RUN: Duration = Duration::from_secs(600);
/// The same for the thorough budget.
const THOROUGH_RUN: Duration = Duration::from_secs(6 * 3600);

/// What happens while a target is examined.
#[derive(Clone, Debug)]
pub enum Event {
    /// The controls before anything: how many verify ways there are, and how many can be judged by.
    Calibrated {
        /// Ways of the profile.
        ways: usize,
        /// Ways that accept a genuine token and refuse nothing.
        usable: usize,
    },
    /// A check is not run: its record says why.
    Skipped {
        /// Its record.
        record: Box<CheckRecord>,
    },
    /// A check begins.
    Started {
        /// Its id.
        id: &'static str,
        /// Checks that have ended.
        done: usize,
        /// Checks that run at all.
        total: usize,
    },
    /// A check waits for the target's clock.
    Waiting {
        /// Its id.
        id: &'static str,
        /// For what.
        what: String,
        /// Whole seconds until it goes on.
        seconds_left: u64,
    },
    /// A check has ended.
    Finished {
        /// Its record.
        record: Box<CheckRecord>,
        /// Checks that have ended, this one included.
        done: usize,
        /// Checks that run at all.
        total: usize,
    },
}

/// What to examine.
pub struct Examination<'a> {
    /// The target.
    pub target: &'a Target,
    /// Its name in the record.
    pub topology: &'a str,
    /// Which checks.
    pub selection: &'a Selection,
    /// What keeps secrets out of records; it learns the profile's by itself.
    pub redactor: Redactor,
    /// Log files of the server and its proxies, beyond those that the profile names.
    pub logs: Vec<LogFile>,
    /// The same server without its proxy, where this is a proxied one.
    pub peer: Option<&'a Target>,
    /// What was started for it, where that was done by us.
    pub deployment: Option<&'a Deployment>,
    /// Tokens of earlier runs, where a capsule keeps some; also an empty shelf, for this run to put some on.
    pub capsule: Option<Shelf>,
    /// The catalogue; [`catalogue`](super::catalogue) but in tests.
    pub catalogue: &'a [&'static Check],
    /// Told of everything that happens, from several threads.
    pub on_event: &'a (dyn Fn(Event) + Sync),
    /// Ends the examination early; what has been found stays.
    pub cancel: &'a AtomicBool,
}

/// What an examination found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Every check of the catalogue, in its order; those that the user's filters leave out are listed only where they are
    /// required.
    pub checks: Vec<CheckRecord>,
    /// Measured expiry windows.
    pub windows: Vec<WindowRecord>,
    /// Doubts, and things left out.
    pub warnings: Vec<Warning>,
    /// Tokens for later runs, and a sentence on what became of those of earlier ones.
    pub capsule: Option<(Shelf, String)>,
    /// What was asked, and how often no orderly answer came.
    pub traffic: ExaminationRecord,
    /// Why nothing could be learnt at all: the target does not answer, or does not speak as the profile says. Every
    /// check is inconclusive then.
    pub unusable: Option<String>,
    /// What the thorough budget would do beyond this: check and what. Empty where that was the budget.
    pub more: Vec<(String, String)>,
}

/// Examines a target: calibrates, runs what is selected, grades.
///
/// # Errors
/// A `known:` entry that cannot be read, in words for the user.
pub fn examine(e: &Examination<'_>) -> Result<Findings, String> {
    let deviations = deviations(e.target)?;
    let mut findings = Findings::default();
    for d in deviations.past() {
        let text = format!(
            "the known deviation `{}` is past its date ({}) and counts no more",
            d.pattern,
            d.until.as_deref().unwrap_or("-")
        );
        findings
            .warnings
            .push(Warning::new("known-past", text).at(e.topology).hint("mend the target, or give `until` a later day"));
    }
    let mut has = capabilities(e.target, e.peer, &e.logs, e.selection.budget);
    if e.peer.is_some() && e.deployment.is_some_and(Deployment::has_own_proxies) {
        has.insert(Need::OwnProxy);
    }
    let mut session = Session::new(e.target, e.topology, e.cancel, redactor(e.target, &e.redactor));
    session.has = has;
    if e.capsule.is_some() {
        session.has.insert(Need::ForgeWaitOrCapsule);
    }
    session.peer = e.peer;
    session.deployment = e.deployment;
    session.logs = e.logs.clone();
    session.logs.extend(named_logs(&e.target.profile));
    session.budget = e.selection.budget;
    session.deadline = clock::mono() + (if e.selection.budget == Budget::Ci { CI_RUN } else { THOROUGH_RUN }).into();
    let usable = reach(e.target).and_then(|()| calibrate::calibrate(&mut session, e.on_event, &mut findings.warnings));
    if usable.is_ok() {
        calibrate::sessions(&session, e.on_event, &mut findings.warnings);
        // Before anything is changed.
        let shelf = e.capsule.clone();
        session.capsule = shelf.map(|shelf| capsule::look(&session, shelf, e.on_event));
    }
    let side_by_side = if session.has_one_session() { 1 } else { SIDE_BY_SIDE };
    let plan = Plan::new(e, &session);
    if usable.is_ok() {
        let planned: Vec<&Check> = plan.all().map(|(index, _)| e.catalogue[index]).collect();
        calibrate::others(&session, &planned, e.on_event, &mut findings.warnings);
    }
    let mut records: Vec<(usize, CheckRecord)> = Vec::new();
    let grade = |index: usize, level: Level, outcome: Outcome| {
        let check = e.catalogue[index];
        let required = |reason: Option<&SkipReason>| e.selection.requires(check, reason);
        (index, conclude(check, level, e.topology, outcome, &deviations, &required))
    };
    for (index, reason) in &plan.skipped {
        let level = e.catalogue[*index].level(e.target.profile.dialect).unwrap_or(Level::Info);
        let record = grade(*index, level, Outcome::skip(reason.clone()));
        (e.on_event)(Event::Skipped { record: Box::new(record.1.clone()) });
        records.push(record);
    }
    match usable {
        Err(why) => {
            let seen = why.split("; hint: ").next().unwrap_or_default();
            for (index, level) in plan.all() {
                let outcome = Outcome {
                    observations: vec![Observation::new(None, Verdict::Inconclusive, "unusable-target", seen)],
                    ..Outcome::default()
                };
                records.push(grade(index, level, outcome));
            }
            findings.unusable = Some(why);
        }
        Ok(()) => {
            let total = plan.all().count();
            let done = AtomicUsize::new(0);
            let finished: Mutex<Vec<(usize, CheckRecord)>> = Mutex::new(Vec::new());
            let postponed: Mutex<Vec<(usize, Level)>> = Mutex::new(Vec::new());
            let run = |(index, level): (usize, Level)| {
                let check = e.catalogue[index];
                (e.on_event)(Event::Started { id: check.id, done: done.load(Ordering::Relaxed), total });
                let outcome = run_one(&session, check, e.on_event);
                if outcome.postponed {
                    lock(&postponed).push((index, level));
                    return;
                }
                let record = grade(index, level, outcome);
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                (e.on_event)(Event::Finished { record: Box::new(record.1.clone()), done, total });
                lock(&finished).push(record);
            };
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for number in 0..side_by_side.min(plan.beside.len()) {
                    let (next, plan, session, run) = (&next, &plan, &session, &run);
                    scope.spawn(move || {
                        // Where logins of one second are one text, one goes on alone: see `Texts::note_repeat`.
                        while number == 0 || !session.texts.repeat() {
                            let Some(item) = plan.beside.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                            run(*item);
                        }
                    });
                }
            });
            session.leave_alone();
            let later = std::mem::take(&mut *lock(&postponed));
            for item in later.iter().chain(&plan.alone).chain(&plan.last) {
                run(*item);
            }
            findings.capsule = session.capsule.as_ref().map(|opened| capsule::fill(&session, opened, e.on_event));
            records.append(&mut lock(&finished));
        }
    }
    records.sort_by_key(|(index, _)| *index);
    findings.more = beyond(e, &records, session.has.contains(&Need::SigningKey));
    findings.checks = records.into_iter().map(|(_, record)| record).collect();
    let ids: Vec<&str> = e.catalogue.iter().map(|c| c.id).collect();
    let partless = deviations.partless(e.catalogue, &findings.checks).into_iter().map(|d| stale_part(d, e.topology));
    let partless: Vec<CheckRecord> = partless.collect();
    findings.checks.extend(partless);
    findings.checks.extend(deviations.unmatched(&ids).into_iter().map(|d| stale(d, e.topology)));
    // A capability that is required by name is missing, whether or not a check that was chosen asks for it.
    if !findings.checks.iter().any(|record| record.grade == Grade::Required) {
        let lacking = e.selection.lacking(e.catalogue, &session.has).into_iter();
        findings.checks.extend(lacking.map(|(pattern, need)| lacks(pattern, need, e.topology)));
    }
    if session.limits_logins() {
        let text = "the server limits logins (429): checks that need more of them learnt nothing";
        let hint = "lift the limit for this examination, or take fewer checks at a time with --only";
        findings.warnings.push(Warning::new("rate-limited", text).at(e.topology).hint(hint));
    }
    if session.texts.repeat() {
        let text = "two logins of one user within a second bring the same token: checks run one after another, and each login waits for a second of its own";
        let hint = "give every token a `jti`, so that one session can be told from the next";
        findings.warnings.push(Warning::new("same-second", text).at(e.topology).hint(hint));
    }
    if session.lost_a_session() {
        let text = "sessions ended before their time (is there a limit of sessions per user?): checks that used one were run again, alone";
        findings
            .warnings
            .push(Warning::new("sessions-ended", text).at(e.topology).hint("allow more sessions per user"));
    }
    findings.windows = session.windows();
    findings.traffic = session.traffic();
    findings.warnings.extend(disorder(&findings.traffic));
    // A path may carry a token.
    findings.warnings.iter_mut().for_each(|warning| warning.message = session.redact(&warning.message));
    Ok(findings)
}

/// Runs one check. A panic of its own is a fault of ours, and takes nothing else down.
pub(super) fn run_one(session: &Session<'_>, check: &'static Check, on_event: &(dyn Fn(Event) + Sync)) -> Outcome {
    let mut probe = Probe::new(session, check, on_event, None);
    let mut ended = catch_unwind(AssertUnwindSafe(|| (check.run)(&mut probe)));
    while ended.is_ok() && probe.begins_again() {
        ended = catch_unwind(AssertUnwindSafe(|| (check.run)(&mut probe)));
    }
    let ended = ended.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Stop::Harness(format!("the check broke: {}", session.redact(text))))
    });
    probe.finish(ended)
}

/// A doubt about a target that broke down again and again, whatever the checks made of each time.
fn disorder(traffic: &ExaminationRecord) -> Option<Warning> {
    let ExaminationRecord { requests, server_errors, unanswered, .. } = traffic;
    (*server_errors + *unanswered > 0).then(|| {
        let text = format!(
            "of {requests} requests {server_errors} were answered with a server error (5xx) and {unanswered} with nothing at all"
        );
        let hint = "the findings say which requests; the server's log says why";
        Warning::new("server-errors", text).at(&traffic.topology).hint(hint)
    })
}

/// What the thorough budget would add to these records. A check that does not apply gains nothing by it.
fn beyond(e: &Examination<'_>, records: &[(usize, CheckRecord)], keyed: bool) -> Vec<(String, String)> {
    if e.selection.budget == Budget::Thorough {
        return Vec::new();
    }
    let gains = |record: &CheckRecord| match &record.reason {
        None | Some(SkipReason::Budget(_)) => true,
        Some(_) => false,
    };
    let of = |(index, record): &(usize, CheckRecord)| {
        more(e.catalogue[*index], keyed).filter(|_| gains(record)).map(|what| (record.id.clone(), what))
    };
    records.iter().filter_map(of).collect()
}

/// What runs when.
struct Plan {
    beside: Vec<(usize, Level)>,
    alone: Vec<(usize, Level)>,
    last: Vec<(usize, Level)>,
    skipped: Vec<(usize, SkipReason)>,
}

impl Plan {
    fn new(e: &Examination<'_>, session: &Session<'_>) -> Plan {
        let mut plan = Plan { beside: vec![], alone: vec![], last: vec![], skipped: vec![] };
        for (index, check) in e.catalogue.iter().enumerate() {
            if e.selection.filtered_out(check) {
                continue;
            }
            match e.selection.admit(check, e.target.profile.dialect, &session.has) {
                Err(reason) => plan.skipped.push((index, reason)),
                Ok(level) => match check.isolation {
                    Isolation::Shared | Isolation::User => plan.beside.push((index, level)),
                    Isolation::Exclusive => plan.alone.push((index, level)),
                    Isolation::Last | Isolation::Locking => plan.last.push((index, level)),
                },
            }
        }
        plan.last.sort_by_key(|(index, _)| e.catalogue[*index].isolation == Isolation::Locking);
        // The long ones first, so that the short ones fill the gaps.
        plan.beside.sort_by_key(|(index, _)| std::cmp::Reverse(e.catalogue[*index].cost.seconds));
        plan
    }

    fn all(&self) -> impl Iterator<Item = (usize, Level)> + '_ {
        self.beside.iter().chain(&self.alone).chain(&self.last).copied()
    }
}

fn reach(target: &Target) -> Result<(), String> {
    Connection::open(&target.endpoint, &target.tls, Duration::from_secs(5))
        .map(|_| ())
        .map_err(|error| format!("the target cannot be reached: {error}"))
}

/// The profile's `known:` entries that hold today.
///
/// # Errors
/// An entry that is no glob, in words for the user.
pub fn deviations(target: &Target) -> Result<Deviations, String> {
    let list: Vec<Deviation> = target
        .profile
        .known
        .iter()
        .map(|(pattern, known)| Deviation {
            pattern: pattern.clone(),
            outcome: known.outcome,
            reason: known.reason.clone(),
            until: known.until.clone(),
        })
        .collect();
    Deviations::new(&list, clock::utc_text().get(..10).unwrap_or_default())
}

/// An entry under `known:` that names no check: as stale as one whose check no longer fails.
fn stale(d: &Deviation, topology: &str) -> CheckRecord {
    CheckRecord {
        known: Some(d.reason.clone()),
        finding: "no-such-check".into(),
        summary: format!("the profile lists `{}` as known, but no check has this id", d.pattern),
        ..beside_the_catalogue(&d.pattern, Grade::StaleKnown, "no check has this id", topology)
    }
}

/// An entry under `known:` that names a check and no part of it.
fn stale_part(d: &Deviation, topology: &str) -> CheckRecord {
    CheckRecord {
        known: Some(d.reason.clone()),
        finding: "no-such-variant".into(),
        summary: format!("the profile lists `{}` as known, but the check has no such variant", d.pattern),
        ..beside_the_catalogue(&d.pattern, Grade::StaleKnown, "no variant has this name", topology)
    }
}

/// A required capability that is not there, although no check that was chosen asks for it.
fn lacks(pattern: &str, need: Need, topology: &str) -> CheckRecord {
    CheckRecord {
        group: "REQUIRED".into(),
        requirement: "what `--require` names is there".into(),
        verdict: Verdict::Blocked,
        reason: Some(SkipReason::Needs(need.name().into())),
        finding: format!("needs:{}", need.name()),
        summary: format!("required, but {} is missing; hint: {}", need.name(), need.provided_by()),
        ..beside_the_catalogue(pattern, Grade::Required, "", topology)
    }
}

/// A record of something that is no check.
fn beside_the_catalogue(id: &str, grade: Grade, why: &str, topology: &str) -> CheckRecord {
    CheckRecord {
        id: id.to_owned(),
        group: "KNOWN".into(),
        requirement: "a known deviation names a check of the catalogue".into(),
        sources: Vec::new(),
        level: Level::Must,
        topology: topology.into(),
        verdict: Verdict::NotApplicable,
        grade,
        required: grade == Grade::Required,
        reason: Some(SkipReason::NotApplicable(why.into())),
        summary: String::new(),
        known: None,
        finding: String::new(),
        variants: Vec::new(),
        evidence: Vec::new(),
        requests: 0,
        duration_ms: 0,
    }
}

pub(super) fn redactor(target: &Target, given: &Redactor) -> Redactor {
    let mut redactor = given.clone();
    for secret in target.secrets() {
        redactor.learn(&secret);
    }
    redactor
}

/// What a profile and a run provide.
pub fn capabilities(target: &Target, peer: Option<&Target>, logs: &[LogFile], budget: Budget) -> HashSet<Need> {
    use crate::target::TokenFormat::Opaque;
    let p = &target.profile;
    let mut has = HashSet::new();
    let mut give = |need: Need, given: bool| {
        if given {
            has.insert(need);
        }
    };
    let operation = |name: &str| p.operations.get(name);
    let ways = p.verify_ways();
    give(Need::Issue, operation("issue").is_some());
    give(Need::Refresh, operation("refresh").is_some());
    give(Need::Rotation, operation("refresh").is_some_and(|o| o.rotates == Some(true)));
    give(Need::Revoke, operation("revoke").is_some());
    give(Need::VerifyWay, !ways.is_empty());
    give(Need::Resource, operation("verify.resource").is_some());
    give(Need::SecondWay, ways.len() > 1);
    let jwt_access = p.tokens.access.format != Some(Opaque);
    give(Need::JwtAccess, jwt_access);
    give(Need::JwtRefresh, operation("refresh").is_some() && p.tokens.refresh.format != Some(Opaque));
    let forge = p.keys.sign.is_some() && jwt_access && !p.stateful_access;
    give(Need::SigningKey, forge);
    give(Need::PublicKey, p.keys.verify.is_some() || operation("keys").is_some());
    give(Need::DecryptionKey, p.keys.decrypt.is_some());
    let longest = if budget == Budget::Ci { 15.0 } else { 3600.0 };
    let short = p.tokens.access.lifetime_s.is_some_and(|life| life <= longest);
    let seen = forge || short || target.has_hook("advance_clock");
    give(Need::ForgeOrWait, seen);
    give(Need::ForgeWaitOrCapsule, seen);
    give(Need::Listener, target.endpoint.is_loopback());
    give(Need::SecondUser, p.second_user.is_some());
    give(Need::SecondClient, p.second_client.is_some());
    for (need, hook) in [
        (Need::DisableUser, "disable_user"),
        (Need::DeleteUser, "delete_user"),
        (Need::RotateKeys, "rotate_keys"),
        (Need::Restart, "restart"),
        (Need::Clock, "advance_clock"),
    ] {
        give(need, target.has_hook(hook));
    }
    give(Need::Logs, !p.logs.is_empty() || !logs.is_empty());
    give(Need::Peer, peer.is_some());
    has
}

//! What is a check handed? A probe: obtain tokens, forge them, present them, say what was seen.

mod base;
mod change;
mod exchange;
mod expect;
mod tell;
mod tokens;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::Value;

use crate::clock;
use crate::record::{SkipReason, Verdict};
use crate::target::{Dialect, Profile, Target, Vars};
use crate::units::Nanos;
use crate::wire::Connection;

use super::answer::Answer;
use super::descriptor::{Check, Need};
use super::engine::Event;
use super::forger::Forger;
use super::outcome::{Observation, Outcome};
use super::session::{Session, Way};

pub(super) use exchange::asks_only;
pub(super) use tell::merged;
pub(super) use tokens::NEXT_SECOND;

/// What a check of tokens lacks where no verify way can be judged by.
const JUDGE: &str = "a verify way that accepts a genuine token and refuses a request without one";

/// What a check lacks whose resource is open to everybody.
const GUARDED: &str = "a resource that refuses a request without a token";

/// Why a check ended before its end.
#[derive(Debug)]
pub enum Stop {
    /// It cannot be tried here, or does not apply.
    Skip(SkipReason),
    /// Its controls do not hold, or its deadline passed: nothing was learnt.
    Inconclusive(String),
    /// The user ended the run.
    Cancelled,
    /// We failed, not the target.
    Harness(String),
    /// It must go on with nobody beside it: the engine runs it again, alone.
    Alone,
    /// `assay forge`: this is the token that was asked for.
    Captured(String),
}

impl Stop {
    /// Something that the check needs is not there.
    pub fn needs(need: Need) -> Stop {
        Stop::Skip(SkipReason::Needs(need.name().into()))
    }
    /// The requirement does not concern this target.
    pub fn not_applicable(why: impl Into<String>) -> Stop {
        Stop::Skip(SkipReason::NotApplicable(why.into()))
    }
    /// A request that cannot be made of what the target gave out: a token that no header takes, a query longer than any.
    pub fn unsendable(why: impl std::fmt::Display) -> Stop {
        Stop::Inconclusive(format!("the request cannot be made: {why}"))
    }
    /// Another check's subject does not work, and this one builds on it.
    pub fn blocked_by(id: &str) -> Stop {
        Stop::Skip(SkipReason::BlockedBy(id.into()))
    }
}

/// What must happen to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It must be accepted.
    Accepted,
    /// It must be refused, and cleanly.
    Refused,
    /// Either, as long as it is an orderly answer.
    Orderly,
}

/// What has to be accepted beside a probe, so that its refusal says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// A genuine token.
    Genuine,
    /// A genuine token, and a genuine token re-signed by us with one claim added.
    Resigned,
}

/// What `assay forge` wants of a check: a token, and nothing else.
#[derive(Clone, Copy)]
pub(in crate::conformance) struct Wanted<'a> {
    /// The part that sends it; the first one where this is empty.
    pub variant: &'a str,
    /// Told of the token while everything that the check has set up for it is still there.
    pub then: &'a dyn Fn(&str),
    /// Ends the check before its exchange of this number, with the token unused.
    pub before: Option<u64>,
}

impl Wanted<'_> {
    /// Whether it is the token of this part.
    fn is(&self, variant: Option<&str>) -> bool {
        self.variant.is_empty() || variant == Some(self.variant)
    }

    /// Hands the token over; what ends the check.
    fn take(&self, token: String) -> Stop {
        (self.then)(&token);
        Stop::Captured(token)
    }
}

/// What came of a check that was run for a token.
pub(in crate::conformance) struct Forged {
    /// The token of the finding that was asked for, where the check made one without offering it.
    pub token: Option<String>,
    /// The number of the exchange that has used it up, where it has.
    pub used_by: Option<u64>,
    /// What was seen.
    pub observations: Vec<Observation>,
}

/// What a check is handed.
pub struct Probe<'a> {
    /// What all probes share.
    pub session: &'a Session<'a>,
    check: &'static Check,
    on_event: &'a (dyn Fn(Event) + Sync),
    outcome: Outcome,
    began: Nanos,
    deadline: Nanos,
    connections: HashMap<String, (u64, Connection)>,
    /// The exchange that ended last.
    last: Option<Answer>,
    wanted: Option<Wanted<'a>>,
    captured: std::cell::RefCell<Option<(String, Option<u64>)>>,
    /// Exchanges so far that may use a token up.
    used: u64,
    base: base::Base,
    forger: Option<Forger>,
    controls: HashMap<String, (bool, Nanos)>,
    issued: BTreeMap<String, Value>,
    epoch: u64,
    /// By how many seconds the server's clock is ahead of where it was.
    moved: i64,
    /// A server error was answered again after a pause: whoever asks again only waits.
    asked_in_vain: bool,
    /// It has logged in itself, where each login ends the session before it.
    own_login: bool,
    /// How the last login that failed was answered.
    last_login: String,
    /// Limits are what the check looks for.
    limits_wanted: bool,
}

impl<'a> Probe<'a> {
    /// A probe for one check. `wanted`: only make a token (`assay forge`).
    pub(super) fn new(
        session: &'a Session<'a>,
        check: &'static Check,
        on_event: &'a (dyn Fn(Event) + Sync),
        wanted: Option<Wanted<'a>>,
    ) -> Probe<'a> {
        let began = clock::mono();
        let allowance = Duration::from_secs(u64::from(check.cost.seconds) * 4 + 45);
        Probe {
            session,
            check,
            on_event,
            outcome: Outcome::default(),
            began,
            deadline: (began + allowance.into()).min(session.deadline),
            connections: HashMap::new(),
            last: None,
            wanted,
            captured: std::cell::RefCell::default(),
            used: 0,
            base: base::Base::default(),
            forger: None,
            controls: HashMap::new(),
            issued: BTreeMap::new(),
            epoch: session.next_epoch(),
            moved: 0,
            asked_in_vain: false,
            own_login: false,
            last_login: String::new(),
            limits_wanted: false,
        }
    }

    /// What was seen, when the check has ended.
    pub(super) fn finish(mut self, ended: Result<(), Stop>) -> Outcome {
        self.outcome.observations = self.all_found();
        match ended {
            Ok(()) if self.outcome.observations.is_empty() => {
                let reason = match self.session.ways.iter().any(Way::usable) {
                    true => SkipReason::NotApplicable("the target offers nothing that this could be tried on".into()),
                    false => SkipReason::Needs(JUDGE.into()),
                };
                self.outcome.observations.push(Observation::skip(None, reason));
            }
            Ok(()) | Err(Stop::Captured(_)) => {}
            Err(Stop::Skip(reason)) => self.outcome.observations.push(Observation::skip(None, reason)),
            Err(Stop::Inconclusive(why)) => self.inconclusive(None, "inconclusive", why),
            Err(Stop::Alone) => self.outcome.postponed = true,
            Err(Stop::Cancelled) => self.inconclusive(None, "cancelled", "the run was ended before this check"),
            Err(Stop::Harness(why)) => {
                self.outcome.observations.push(Observation::new(None, Verdict::HarnessError, "harness-error", why));
            }
        }
        self.outcome.duration_ms = clock::mono().since(self.began).0 / 1_000_000;
        // What a target says reaches the words of a finding too.
        for observation in &mut self.outcome.observations {
            let evidence = observation.evidence.iter_mut().flat_map(|e| [&mut e.expected, &mut e.seen]);
            for text in evidence.chain([&mut observation.summary, &mut observation.finding]) {
                *text = self.session.redact(text);
            }
            if let Some(SkipReason::NotApplicable(why) | SkipReason::Needs(why)) = &mut observation.reason {
                *why = self.session.redact(why);
            }
        }
        self.outcome
    }

    /// `assay forge`: what came of it.
    pub(super) fn finish_forging(self) -> Forged {
        let (token, used_by) = self.captured.into_inner().unzip();
        Forged { token, used_by: used_by.flatten(), observations: self.outcome.observations }
    }

    /// Whether a token is wanted and nothing else (`assay forge`): what only measures need not be sent.
    pub fn forging(&self) -> bool {
        self.wanted.is_some()
    }
    /// The target.
    pub fn target(&self) -> &'a Target {
        self.session.target
    }
    /// Its profile.
    pub fn profile(&self) -> &'a Profile {
        &self.session.target.profile
    }
    /// Its dialect.
    pub fn dialect(&self) -> Dialect {
        self.profile().dialect
    }
    /// Whether a capability is there.
    pub fn has(&self, need: Need) -> bool {
        self.session.has.contains(&need)
    }
    /// The verify ways, as calibrated.
    pub fn ways(&self) -> Vec<Way> {
        self.session.ways.clone()
    }
    /// The protected resource.
    ///
    /// # Errors
    /// Skipped where the profile has none.
    pub fn resource(&self) -> Result<Way, Stop> {
        self.session.ways.iter().find(|w| w.name == "resource").cloned().ok_or_else(|| Stop::needs(Need::Resource))
    }
    /// What follows changes the world for everybody (it moves the server's clock): goes on only where the check runs
    /// alone, and else ends it, to be run again later. Nothing may have been told before.
    ///
    /// # Errors
    /// [`Stop::Alone`] while others run beside it.
    pub fn alone(&self) -> Result<(), Stop> {
        if self.session.is_alone() || self.wanted.is_some() { Ok(()) } else { Err(Stop::Alone) }
    }
    /// The protected resource, where it is protected: of one that takes a request without a token, no answer tells what
    /// it makes of a bad one. That it is open is the word of `bearer-missing`.
    ///
    /// # Errors
    /// Skipped where the profile has none, or it is open to everybody.
    pub fn guarded(&self) -> Result<Way, Stop> {
        let way = self.resource()?;
        match way.refuses_nothing {
            true => Ok(way),
            false => Err(Stop::Skip(SkipReason::Needs(GUARDED.into()))),
        }
    }
    /// Values for the templates of a request: the profile's user and client, what the last login returned.
    pub fn vars(&self) -> Vars {
        Vars::new().issued(&self.issued)
    }
    /// The same with a token under test: what travels beside it is what was issued with it.
    pub fn vars_with(&self, token: impl Into<Value>) -> Vars {
        self.session.company.vars(&token.into(), &self.issued)
    }
}

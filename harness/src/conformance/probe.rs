//! What is a check handed? A probe: obtain tokens, forge them, present them, say what was seen.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::clock;
use crate::record::{Level, SkipReason, Verdict, WindowRecord};
use crate::target::{Dialect, Issued, Meaning, Profile, Target, Vars};
use crate::units::Nanos;
use crate::wire::{Connection, TlsOptions, WireError, encode};

use super::answer::{Answer, Axis};
use super::crowd::{self, Worker};
use super::descriptor::{Check, Need};
use super::engine::Event;
use super::forger::Forger;
use super::outcome::{Observation, Outcome};
use super::reproduce;
use super::session::{FRESH_S, Held, PATIENCE, Presented, Session, Way};

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

/// What a check is handed.
pub struct Probe<'a> {
    /// What all probes share.
    pub session: &'a Session<'a>,
    check: &'static Check,
    on_event: &'a (dyn Fn(Event) + Sync),
    outcome: Outcome,
    began: Nanos,
    deadline: Nanos,
    connections: HashMap<String, Connection>,
    wanted: Option<String>,
    captured: std::cell::RefCell<Option<String>>,
    forger: Option<Forger>,
    controls: HashMap<String, (bool, Nanos)>,
    issued: BTreeMap<String, Value>,
    epoch: u64,
}

impl<'a> Probe<'a> {
    /// A probe for one check. `wanted`: only make the token of this variant (`assay forge`).
    pub(super) fn new(
        session: &'a Session<'a>,
        check: &'static Check,
        on_event: &'a (dyn Fn(Event) + Sync),
        wanted: Option<&str>,
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
            wanted: wanted.map(str::to_owned),
            captured: std::cell::RefCell::default(),
            forger: None,
            controls: HashMap::new(),
            issued: BTreeMap::new(),
            epoch: session.next_epoch(),
        }
    }

    /// What was seen, when the check has ended.
    pub(super) fn finish(mut self, ended: Result<(), Stop>) -> Outcome {
        match ended {
            Ok(()) | Err(Stop::Captured(_)) => {}
            Err(Stop::Skip(reason)) => self.outcome.observations.push(Observation::skip(None, reason)),
            Err(Stop::Inconclusive(why)) => self.inconclusive(None, "inconclusive", why),
            Err(Stop::Cancelled) => self.inconclusive(None, "cancelled", "the run was ended before this check"),
            Err(Stop::Harness(why)) => {
                self.outcome.observations.push(Observation::new(None, Verdict::HarnessError, "harness-error", why));
            }
        }
        self.outcome.duration_ms = clock::mono().since(self.began).0 / 1_000_000;
        self.outcome
    }

    /// `assay forge`: the token of the finding that was asked for, where the check made one without offering it, and
    /// what was seen.
    pub(super) fn finish_forging(self) -> (Option<String>, Vec<Observation>) {
        (self.captured.into_inner(), self.outcome.observations)
    }

    // ---- the target ------------------------------------------------------------------------------------------

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
    /// Values for the templates of a request: the profile's user and client, what the last login returned.
    pub fn vars(&self) -> Vars {
        Vars::new().issued(&self.issued)
    }

    // ---- genuine tokens --------------------------------------------------------------------------------------

    /// A genuine access token that lives for a while yet. Pooled: never revoke it, never refresh its session.
    ///
    /// # Errors
    /// Blocked by `issue-basic` where no login works.
    pub fn access(&mut self) -> Result<String, Stop> {
        self.pooled()?.access.ok_or_else(|| Stop::blocked_by("issue-basic"))
    }

    /// The pooled session's tokens. Use them for reading and presenting only.
    ///
    /// # Errors
    /// As [`access`](Self::access).
    pub fn pooled(&mut self) -> Result<Issued, Stop> {
        let session = self.session;
        let held = session.pooled(|held| match held {
            Some(held) if clock::mono() < held.use_until => Ok(None),
            _ => self.login().map(|issued| {
                let use_until = use_until(&issued);
                Some(Held { issued, use_until })
            }),
        })?;
        let issued = held.map(|h| h.issued);
        let issued = issued.ok_or_else(|| Stop::Harness("the token pool is empty after a login".into()))?;
        self.issued.clone_from(&issued.other);
        Ok(issued)
    }

    /// A login of one's own: tokens that nobody else uses.
    ///
    /// # Errors
    /// Blocked by `issue-basic` where it does not work.
    pub fn login(&mut self) -> Result<Issued, Stop> {
        let vars = self.vars();
        self.login_with(&vars)
    }

    /// A login with other values (another user, another client).
    ///
    /// # Errors
    /// As [`login`](Self::login).
    pub fn login_with(&mut self, vars: &Vars) -> Result<Issued, Stop> {
        self.guard()?;
        self.session.count_login();
        let issued = if self.target().is_command("issue") {
            self.outcome.requests += 1;
            self.target()
                .command("issue", vars)
                .map_err(|e| Stop::Inconclusive(format!("the login command failed: {e}")))?
        } else {
            let answer = self.call("issue", vars)?;
            match (&answer.axis, &answer.reply) {
                (Axis::Accepted, Some(reply)) => {
                    self.target().tokens(reply, "issue").map_err(|_| Stop::blocked_by("issue-basic"))?
                }
                _ => return Err(Stop::blocked_by("issue-basic")),
            }
        };
        self.issued.clone_from(&issued.other);
        Ok(issued)
    }

    /// A refresh token of one's own.
    ///
    /// # Errors
    /// As [`login`](Self::login); blocked where the login brings none.
    pub fn fresh_refresh(&mut self) -> Result<String, Stop> {
        self.login()?.refresh.ok_or_else(|| Stop::needs(Need::Refresh))
    }

    /// Presents a refresh token to the refresh operation.
    ///
    /// # Errors
    /// Only where the request cannot be made or the run ends.
    pub fn refresh(&mut self, token: &str) -> Result<Answer, Stop> {
        self.call_with_token("refresh", token)
    }

    /// Refreshes and expects it to work.
    ///
    /// # Errors
    /// Blocked by `refresh-basic` where it does not.
    pub fn refreshed(&mut self, token: &str) -> Result<Issued, Stop> {
        let answer = self.refresh(token)?;
        match (&answer.axis, &answer.reply) {
            (Axis::Accepted, Some(reply)) => {
                self.target().tokens(reply, "refresh").map_err(|_| Stop::blocked_by("refresh-basic"))
            }
            _ => Err(Stop::blocked_by("refresh-basic")),
        }
    }

    /// The forger: genuine header and claims, and the key that signs.
    ///
    /// # Errors
    /// Skipped where the key is unknown or access tokens are not JWTs.
    pub fn forger(&mut self) -> Result<Forger, Stop> {
        if let Some(forger) = &self.forger {
            return Ok(forger.clone());
        }
        let genuine = self.access()?;
        let forger = Forger::new(self.session.target, &genuine)?;
        self.forger = Some(forger.clone());
        Ok(forger)
    }

    // ---- exchanges -------------------------------------------------------------------------------------------

    /// Closes the kept connection: what comes next travels on a fresh one.
    pub fn hang_up(&mut self) {
        self.connections.clear();
    }

    /// Performs an operation and judges the reply. State-changing operations travel on connections of their own.
    ///
    /// # Errors
    /// Only where the request cannot be made or the run ends; a target that fails is an answer.
    pub fn call(&mut self, operation: &str, vars: &Vars) -> Result<Answer, Stop> {
        let request = self
            .target()
            .request(operation, vars)
            .map_err(|e| Stop::Harness(format!("cannot make the request of `{operation}`: {e}")))?;
        self.send(operation, request, None)
    }

    /// Performs an operation with a token.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_with_token(&mut self, operation: &str, token: &str) -> Result<Answer, Stop> {
        let vars = self.vars().token(token);
        let request = self
            .target()
            .request(operation, &vars)
            .map_err(|e| Stop::Inconclusive(format!("the token cannot travel by `{operation}`: {e}")))?;
        self.send(operation, request, Some(token.to_owned()))
    }

    /// Presents a token (any JSON value: a body may carry a number) to a way. `None`: it cannot travel that way.
    ///
    /// # Errors
    /// Only where the run ends.
    pub fn present_value(&mut self, way: &Way, token: &Value) -> Result<Option<Answer>, Stop> {
        let vars = self.vars().token(token.clone());
        let Ok(request) = self.target().request(&way.operation, &vars) else { return Ok(None) };
        let answer = self.send(&way.operation, request, token.as_str().map(str::to_owned))?;
        // A token that may not do this was read and believed: no verdict on the token itself (RFC 6750 section 3.1).
        let lacks_scope = answer.reply.as_ref().is_some_and(|reply| {
            reply.status == 403 && reply.header_all("www-authenticate").iter().any(|v| v.contains("insufficient_scope"))
        });
        if let Some(text) = token.as_str()
            && answer.answered()
            && !lacks_scope
        {
            self.session.remember(Presented {
                by: self.check.id.to_owned(),
                token: text.to_owned(),
                way: way.name.clone(),
                epoch: self.epoch,
                accepted: answer.accepted(),
                at: answer.received,
            });
        }
        Ok(Some(answer))
    }

    /// Presents a token to a way.
    ///
    /// # Errors
    /// Inconclusive where the token cannot travel that way; or the run ends.
    pub fn present(&mut self, way: &Way, token: &str) -> Result<Answer, Stop> {
        self.present_value(way, &Value::String(token.to_owned()))?
            .ok_or_else(|| Stop::Inconclusive(format!("the token cannot travel by `{}`", way.operation)))
    }

    /// Sends a request as it is and judges the reply as that of an operation. `token`: the one under test.
    ///
    /// # Errors
    /// Only where the run ends or our own machine fails.
    pub fn send(
        &mut self,
        operation: &str,
        request: http::Request<Bytes>,
        token: Option<String>,
    ) -> Result<Answer, Stop> {
        self.guard()?;
        let target = self.session.target;
        self.send_to(target, operation, request, token)
    }

    /// [`send`](Self::send) to another address of the same server (its bare side).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_to(
        &mut self,
        target: &Target,
        operation: &str,
        request: http::Request<Bytes>,
        token: Option<String>,
    ) -> Result<Answer, Stop> {
        let bytes = encode(&request, &target.endpoint);
        let sent = clock::mono();
        let result = self.exchange(target, operation, &bytes, request.method() == http::Method::HEAD);
        let received = clock::mono();
        let (axis, reply) = crowd::axis(target, operation, result)?;
        Ok(Answer { operation: operation.to_owned(), request, token, reply, axis, sent, received })
    }

    fn exchange(
        &mut self,
        target: &Target,
        operation: &str,
        bytes: &[u8],
        head: bool,
    ) -> Result<crate::wire::Reply, WireError> {
        self.outcome.requests += 1;
        let patience = PATIENCE.min(self.deadline.since(clock::mono()).duration()).max(Duration::from_millis(50));
        let key = target.endpoint.url();
        // What only asks may reuse a connection; what changes state takes a fresh one, so that nothing is ever sent
        // twice because a server had closed a connection meanwhile.
        let asks_only = operation.starts_with("verify.") || operation == "keys";
        if !asks_only {
            self.epoch = self.session.next_epoch();
        }
        if asks_only
            && let Some(mut connection) = self.connections.remove(&key)
            && connection.is_usable()
        {
            match connection.exchange(bytes, head, patience) {
                Ok(reply) => {
                    if !reply.closes {
                        self.connections.insert(key, connection);
                    }
                    return Ok(reply);
                }
                Err(error @ WireError::Timeout { .. }) => return Err(error),
                Err(_) => {}
            }
        }
        let mut connection = Connection::open(&target.endpoint, &TlsOptions::default(), patience)?;
        let reply = connection.exchange(bytes, head, patience)?;
        if asks_only && !reply.closes {
            self.connections.insert(key, connection);
        }
        Ok(reply)
    }

    /// Presents tokens to an operation at the same instant: every connection is open and has sent all but its last
    /// byte before the first last byte goes out. The answers come in the order given.
    ///
    /// # Errors
    /// Where a connection cannot be opened; or the run ends.
    pub fn together(&mut self, operation: &str, tokens: &[&str]) -> Result<Vec<Answer>, Stop> {
        self.guard()?;
        let target = self.session.target;
        let mut racers = Vec::with_capacity(tokens.len());
        for token in tokens {
            let request = target
                .request(operation, &self.vars().token(*token))
                .map_err(|e| Stop::Harness(format!("cannot make the request of `{operation}`: {e}")))?;
            let bytes = encode(&request, &target.endpoint);
            let mut connection = Connection::open(&target.endpoint, &TlsOptions::default(), PATIENCE)
                .map_err(|e| Stop::Inconclusive(format!("could not open {} connections: {e}", tokens.len())))?;
            connection
                .hold_last_byte(&bytes, PATIENCE)
                .map_err(|e| Stop::Inconclusive(format!("could not prepare a race: {e}")))?;
            racers.push((connection, request, Some((*token).to_owned())));
        }
        // The servers' reader threads need a moment to have taken what was sent so far.
        std::thread::sleep(Duration::from_millis(2));
        let sent = clock::mono();
        let released: Vec<Result<(), WireError>> =
            racers.iter_mut().map(|(connection, _, _)| connection.release(PATIENCE)).collect();
        let mut answers = Vec::with_capacity(racers.len());
        for ((mut connection, request, token), released) in racers.into_iter().zip(released) {
            self.outcome.requests += 1;
            let result = released.and_then(|()| connection.receive(false, PATIENCE));
            let received = clock::mono();
            let (axis, reply) = match result {
                Ok(reply) => (Answer::axis_of(&target.judge(operation, &reply), reply.status), Some(reply)),
                Err(WireError::Timeout { .. }) => (Axis::Hung, None),
                Err(error) => (Axis::Dropped(error.kind().to_owned()), None),
            };
            answers.push(Answer { operation: operation.to_owned(), request, token, reply, axis, sent, received });
        }
        Ok(answers)
    }

    /// Several callers at the same time, each with a connection of its own and `within` to end: what each of them
    /// returned.
    ///
    /// # Errors
    /// The first error of a worker; or the run ends.
    pub fn crowd<R: Send>(
        &mut self,
        workers: usize,
        within: Duration,
        work: impl Fn(usize, &mut Worker<'_>) -> Result<R, Stop> + Sync,
    ) -> Result<Vec<R>, Stop> {
        self.guard()?;
        self.epoch = self.session.next_epoch();
        let within = within.min(self.deadline.since(clock::mono()).duration());
        let (results, requests) = crowd::crowd(self.session, workers, within, work);
        self.outcome.requests += requests;
        results
    }

    /// Calls an admin hook of the profile.
    ///
    /// # Errors
    /// Inconclusive where the hook does not do its work.
    pub fn admin(&mut self, hook: &str, vars: &Vars) -> Result<(), Stop> {
        self.guard()?;
        self.outcome.requests += 1;
        self.epoch = self.session.next_epoch();
        super::admin::run(self.session.target, hook, vars)
            .map_err(|why| Stop::Inconclusive(format!("the admin hook `{hook}` failed: {why}")))
    }

    /// Gives the check more time: for work of our own that takes minutes and that the budget has admitted.
    pub fn allow(&mut self, more: Duration) {
        self.deadline = (self.deadline + more.into()).min(self.session.deadline);
    }

    /// Waits, tells the user for what, and ends early when the run does.
    ///
    /// # Errors
    /// When the run ends, or the check's deadline would pass.
    pub fn pause(&mut self, how_long: Duration, what: &str) -> Result<(), Stop> {
        if self.wanted.is_some() {
            return Ok(());
        }
        let until = clock::mono() + how_long.into();
        let mut told = u64::MAX;
        loop {
            self.guard()?;
            let left = until.since(clock::mono());
            if left.0 == 0 {
                return Ok(());
            }
            let seconds = left.0.div_ceil(1_000_000_000);
            if seconds != told && how_long >= Duration::from_secs(2) {
                told = seconds;
                (self.on_event)(Event::Waiting { id: self.check.id, what: what.to_owned(), seconds_left: seconds });
            }
            std::thread::sleep(left.duration().min(Duration::from_millis(100)));
        }
    }

    /// Whether the check may go on.
    fn guard(&self) -> Result<(), Stop> {
        if self.session.cancelled() {
            return Err(Stop::Cancelled);
        }
        if clock::mono() >= self.deadline {
            let secs = self.deadline.since(self.began).as_secs_f64();
            return Err(Stop::Inconclusive(format!("the check did not end within its {secs:.0} s")));
        }
        Ok(())
    }

    // ---- expectations ----------------------------------------------------------------------------------------

    /// The token must be refused, cleanly, at every verify way; genuine tokens around it must be accepted.
    ///
    /// # Errors
    /// When the run ends; findings are no errors.
    pub fn refuse(&mut self, variant: &str, token: &str) -> Result<(), Stop> {
        let ways = self.ways();
        self.expect(Some(variant), &Value::String(token.to_owned()), &ways, Expect::Refused, Control::Genuine)
    }

    /// As [`refuse`](Self::refuse) for a token that we signed with the server's key: a refusal counts only where a
    /// re-signed genuine token is accepted.
    ///
    /// # Errors
    /// As [`refuse`](Self::refuse).
    pub fn refuse_signed(&mut self, variant: &str, token: &str) -> Result<(), Stop> {
        let ways = self.ways();
        self.expect(Some(variant), &Value::String(token.to_owned()), &ways, Expect::Refused, Control::Resigned)
    }

    /// The token, signed by us with the server's key, must be accepted wherever a re-signed genuine token is.
    ///
    /// # Errors
    /// As [`refuse`](Self::refuse).
    pub fn accept_signed(&mut self, variant: &str, token: &str) -> Result<(), Stop> {
        let ways = self.ways();
        self.expect(Some(variant), &Value::String(token.to_owned()), &ways, Expect::Accepted, Control::Resigned)
    }

    /// The token may be accepted or refused, but must bring no server error, no hang, no dropped connection.
    ///
    /// # Errors
    /// As [`refuse`](Self::refuse).
    pub fn never_crash(&mut self, variant: &str, token: &str, control: Control) -> Result<(), Stop> {
        let ways = self.ways();
        self.expect(Some(variant), &Value::String(token.to_owned()), &ways, Expect::Orderly, control)
    }

    /// One expectation over some ways: the general form. Adds one observation.
    ///
    /// # Errors
    /// When the run ends, or `assay forge` asked for this very token.
    pub fn expect(
        &mut self,
        variant: Option<&str>,
        token: &Value,
        ways: &[Way],
        expect: Expect,
        control: Control,
    ) -> Result<(), Stop> {
        if let Some(wanted) = &self.wanted {
            return if wanted.is_empty() || variant == Some(wanted.as_str()) {
                Err(Stop::Captured(token.as_str().map_or_else(|| token.to_string(), str::to_owned)))
            } else {
                Ok(())
            };
        }
        let mut seen: Vec<(String, Answer, bool)> = Vec::new();
        let mut unforgeable = 0;
        for way in ways {
            if control == Control::Resigned && !self.resigned_accepted(way)? {
                unforgeable += 1;
                continue;
            }
            let before = self.control_near(way)?;
            let Some(answer) = self.present_value(way, token)? else { continue };
            let after = self.control_now(way)?;
            // A way that answers garbage with a 200 of its own kind refuses in that manner.
            seen.push((way.name.clone(), answer, before && after && way.refuses_nothing));
        }
        if seen.is_empty() {
            let reason = if unforgeable > 0 {
                SkipReason::Needs("re-signed tokens (the server refuses a genuine token that was signed again)".into())
            } else if ways.is_empty() {
                SkipReason::Needs(Need::VerifyWay.name().into())
            } else {
                SkipReason::NotApplicable("the token cannot travel by any verify way".into())
            };
            self.outcome.observations.push(Observation::skip(variant, reason));
            return Ok(());
        }
        self.conclude(variant, token, expect, &seen);
        Ok(())
    }

    fn conclude(&mut self, variant: Option<&str>, token: &Value, expect: Expect, seen: &[(String, Answer, bool)]) {
        let finding = merged(seen.iter().map(|(way, answer, _)| (way.as_str(), answer.finding())));
        let wrong = |a: &Answer| match expect {
            Expect::Refused => a.accepted() || matches!(a.axis, Axis::Unclear(_)) && (200..300).contains(&a.status()),
            Expect::Accepted => !a.accepted(),
            Expect::Orderly => false,
        };
        let unclean = |a: &Answer| matches!(a.axis, Axis::Crashed(_) | Axis::Hung | Axis::Dropped(_));
        let expected = match expect {
            Expect::Refused => "refused",
            Expect::Accepted => "accepted",
            Expect::Orderly => "answered in order",
        };
        // A way that never took a genuine token proves nothing, and spoils nothing while another one does.
        let mute = |name: &str| self.session.ways.iter().any(|w| w.name == name && !w.usable());
        let undecided = seen
            .iter()
            .find(|(way, _, controls)| !controls && !mute(way))
            .or_else(|| if seen.iter().all(|(_, _, controls)| !controls) { seen.first() } else { None });
        let (verdict, at_most, lead) = if let Some(hit) = seen.iter().find(|(_, a, controls)| {
            // Acceptance is proof whatever the controls say; a refusal is proof only beside good controls.
            wrong(a) && (expect == Expect::Refused || *controls)
        }) {
            let cap = (expect == Expect::Accepted && unclean(&hit.1)).then_some(Level::Should);
            (Verdict::Fail, cap, hit)
        } else if let Some(hit) = seen.iter().find(|(_, a, controls)| unclean(a) && *controls) {
            (Verdict::Fail, Some(Level::Should), hit)
        } else if let Some(hit) = undecided {
            let text = format!(
                "`{}`: {}, but a genuine token beside it was refused too, so nothing was learnt",
                hit.0,
                hit.1.describe()
            );
            self.inconclusive(variant, "controls-refused", text);
            return;
        } else {
            (Verdict::Pass, None, seen.iter().find(|(_, _, controls)| *controls).unwrap_or(&seen[0]))
        };
        let summary = match verdict {
            Verdict::Pass => format!("{expected} by {}", names(seen)),
            _ => format!("`{}`: expected it {expected}, saw {}", lead.0, lead.1.describe()),
        };
        let mut observation = Observation { at_most, ..Observation::new(variant, verdict, &finding, summary) };
        if verdict == Verdict::Fail {
            for (_, answer, _) in seen.iter().filter(|(_, a, _)| wrong(a) || unclean(a)).take(2) {
                let mut evidence = self.evidence(variant, answer, expected);
                if let Some(text) = token.as_str() {
                    evidence.token = Some(self.session.view(text));
                }
                observation.evidence.push(evidence);
            }
        }
        self.outcome.observations.push(observation);
    }

    /// Whether a genuine token is accepted at the way, asked within the last second or now.
    fn control_near(&mut self, way: &Way) -> Result<bool, Stop> {
        match self.controls.get(&way.operation) {
            Some((held, at)) if clock::mono().since(*at) < Nanos(1_000_000_000) => Ok(*held),
            _ => self.control_now(way),
        }
    }

    fn control_now(&mut self, way: &Way) -> Result<bool, Stop> {
        // A way that never took a genuine token is not asked again: what it accepts is still worth seeing.
        let held = if way.accepts_genuine {
            let genuine = self.access()?;
            self.present(way, &genuine)?.accepted()
        } else {
            false
        };
        self.controls.insert(way.operation.clone(), (held, clock::mono()));
        Ok(held)
    }

    /// Whether the way accepts a genuine token that we signed again with one claim added. Asked once per run.
    ///
    /// # Errors
    /// As [`forger`](Self::forger).
    pub fn resigned_accepted(&mut self, way: &Way) -> Result<bool, Stop> {
        if let Some(known) = self.session.control(&way.operation) {
            return Ok(known);
        }
        let forger = self.forger()?;
        let token = forger.with_claim("assay", Value::from("control"))?;
        let accepted = self.present(way, &token)?.accepted();
        self.session.set_control(&way.operation, accepted);
        Ok(accepted)
    }

    /// The ways at which forging works at all.
    ///
    /// # Errors
    /// Skipped where it works nowhere.
    pub fn forgeable_ways(&mut self) -> Result<Vec<Way>, Stop> {
        let mut ways = Vec::new();
        for way in self.ways() {
            if self.resigned_accepted(&way)? {
                ways.push(way);
            }
        }
        if ways.is_empty() {
            let what = "re-signed tokens (the server refuses a genuine token that was signed again)";
            return Err(Stop::Skip(SkipReason::Needs(what.into())));
        }
        Ok(ways)
    }

    // ---- findings --------------------------------------------------------------------------------------------

    /// `assay forge` wants the token of this variant: ends the check with it. A no-op while examining.
    ///
    /// # Errors
    /// [`Stop::Captured`] where it is the one.
    pub fn offer(&self, variant: &str, token: &str) -> Result<(), Stop> {
        match &self.wanted {
            Some(wanted) if wanted.is_empty() || wanted == variant => Err(Stop::Captured(token.to_owned())),
            _ => Ok(()),
        }
    }

    /// The requirement holds.
    pub fn pass(&mut self, variant: Option<&str>, finding: &str, summary: impl Into<String>) {
        self.outcome.observations.push(Observation::new(variant, Verdict::Pass, finding, summary));
    }

    /// The requirement does not hold.
    pub fn fail(&mut self, variant: Option<&str>, finding: &str, summary: impl Into<String>) {
        self.outcome.observations.push(Observation::new(variant, Verdict::Fail, finding, summary));
    }

    /// The requirement does not hold, shown by an exchange.
    pub fn fail_seen(&mut self, variant: Option<&str>, finding: &str, expected: &str, answer: &Answer) {
        let summary = format!("expected {expected}, saw {}", answer.describe());
        self.fail_told(variant, finding, expected, summary, answer);
    }

    /// As [`fail_seen`](Self::fail_seen) with a sentence of one's own.
    pub fn fail_told(
        &mut self,
        variant: Option<&str>,
        finding: &str,
        expected: &str,
        summary: impl Into<String>,
        answer: &Answer,
    ) {
        let mut evidence = self.evidence(variant, answer, expected);
        let observation = Observation::new(variant, Verdict::Fail, finding, summary);
        evidence.seen.clone_from(&observation.summary);
        self.outcome.observations.push(Observation { evidence: vec![evidence], ..observation });
    }

    /// Makes the last observation weigh no more than this.
    pub fn at_most(&mut self, level: Level) {
        if let Some(last) = self.outcome.observations.last_mut() {
            last.at_most = Some(level);
        }
    }

    /// What was seen last was seen in a state that has been undone since (a disabled user who is enabled again), so
    /// that no shell line shows it again.
    pub fn transient(&mut self) {
        if let Some(last) = self.outcome.observations.last_mut() {
            for evidence in &mut last.evidence {
                evidence.curl = None;
                evidence.httpie = None;
            }
        }
    }

    /// Nothing was learnt.
    pub fn inconclusive(&mut self, variant: Option<&str>, finding: &str, summary: impl Into<String>) {
        self.outcome.observations.push(Observation::new(variant, Verdict::Inconclusive, finding, summary));
    }

    /// One part does not apply or cannot be tried.
    pub fn skip(&mut self, variant: &str, reason: SkipReason) {
        self.outcome.observations.push(Observation::skip(Some(variant), reason));
    }

    /// Judges one answer that had to be a clean refusal.
    pub fn judge_refusal(&mut self, variant: Option<&str>, expected: &str, answer: &Answer) {
        let finding = answer.finding();
        match &answer.axis {
            Axis::Refused => self.pass(variant, &finding, format!("{expected}: {}", answer.describe())),
            Axis::Accepted => self.fail_seen(variant, &finding, expected, answer),
            Axis::Unclear(_) if (300..400).contains(&answer.status()) => {
                self.pass(variant, &finding, format!("{expected}: {}", answer.describe()));
            }
            Axis::Unclear(_) => self.fail_seen(variant, &finding, expected, answer),
            Axis::Crashed(_) | Axis::Hung | Axis::Dropped(_) => {
                self.fail_seen(variant, &finding, expected, answer);
                self.at_most(Level::Should);
            }
        }
    }

    /// Whether nothing has failed so far.
    pub fn clean(&self) -> bool {
        self.outcome.observations.iter().all(|o| o.verdict != Verdict::Fail)
    }

    /// Adds a measured window to the record.
    pub fn window(&self, window: WindowRecord) {
        self.session.add_window(window);
    }

    /// The meaning of an answer by the profile, where there was a reply.
    pub fn meaning(&self, answer: &Answer) -> Option<Meaning> {
        answer.reply.as_ref().map(|r| self.target().judge(&answer.operation, r))
    }

    fn evidence(&self, variant: Option<&str>, answer: &Answer, expected: &str) -> crate::record::Evidence {
        if let (Some(wanted), Some(token)) = (&self.wanted, &answer.token)
            && (wanted.is_empty() || variant == Some(wanted.as_str()))
        {
            self.captured.borrow_mut().get_or_insert_with(|| token.clone());
        }
        let mut evidence = answer.evidence(variant, expected, &answer.describe());
        let lines = reproduce::lines(self.session, self.check, variant, answer);
        evidence.request = Some(lines.request);
        evidence.response = lines.response;
        evidence.curl = lines.curl;
        evidence.httpie = lines.httpie;
        if let Some(token) = &answer.token {
            evidence.token = Some(self.session.view(token));
        }
        evidence
    }
}

fn names(seen: &[(String, Answer, bool)]) -> String {
    seen.iter().map(|(way, _, _)| format!("`{way}`")).collect::<Vec<_>>().join(", ")
}

/// One finding over several ways: `refused 401` where all agree, else `resource: accepted, endpoint: refused 401`.
pub(super) fn merged<'x>(parts: impl Iterator<Item = (&'x str, String)>) -> String {
    let parts: Vec<(&str, String)> = parts.collect();
    match parts.split_first() {
        Some(((_, first), rest)) if rest.iter().all(|(_, f)| f == first) => first.clone(),
        _ => parts.iter().map(|(way, f)| format!("{way}: {f}")).collect::<Vec<_>>().join(", "),
    }
}

/// When to stop using an access token, by its own `exp - iat`, by `expires_in`, or after five minutes at most.
fn use_until(issued: &Issued) -> Nanos {
    let claims = issued.access.as_deref().and_then(super::forger::decode).map(|(_, claims)| claims);
    let number = |name: &str| claims.as_ref().and_then(|c| c.get(name)).and_then(Value::as_f64);
    let lifetime = match (number("exp"), number("iat")) {
        (Some(exp), Some(iat)) => exp - iat,
        (Some(exp), None) => exp - clock::unix(),
        _ => issued.expires_in.unwrap_or(60.0),
    };
    // Short-lived tokens are used for half their life: a control must not die between two probes.
    let usable = if lifetime > 2.0 * FRESH_S { lifetime - FRESH_S } else { lifetime / 2.0 };
    clock::mono() + Nanos::from_secs_f64(usable.min(300.0))
}

//! Where do the tokens come from? Logins before the load, off the timed path, and chores while it runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::plan::{Purpose, random};
use super::sampled;
use super::script::{Role, Script};
use super::session::Session;
use super::shared::Exchanged;
use super::{LoadError, Phase, Progress, ProgressSink};
use crate::clock;
use crate::jose::{self, Forge};
use crate::scenario::Workload;
use crate::target::{Issued, Target, TokenUse, Vars};
use crate::units::Nanos;
use crate::wire::{Connection, TlsOptions, WireError, encode};

/// Deadline of one login or refresh outside the load: a password hash may take a while.
const DEADLINE: Duration = Duration::from_secs(30);
/// Connections that prepare sessions at once.
const PREPARERS: usize = 4;
/// Logins are done for this long; after it the rest is fanned out by refreshing, where the profile allows.
const LOGIN_BUDGET: Duration = Duration::from_secs(3);
/// Logins that are done at least before anything is fanned out: one for each refresh that may be in flight.
const LOGINS_AT_LEAST: usize = 64;
/// Expired tokens made for the share that is sent on purpose.
const EXPIRED: usize = 64;
/// Tokens that are revoked for the share that is sent on purpose: each costs a login.
const REVOKED: usize = 16;
/// How long a token lives that is signed here, in seconds: longer than any load.
const SIGNED_LIFETIME_S: i64 = 3 * 86_400;

/// The sessions of a deployment: prepared once, then lent to one drive after the other.
pub struct Population {
    pub(crate) sessions: Vec<Session>,
    pub(crate) expired: Vec<Vec<u8>>,
    pub(crate) revoked: Vec<Vec<u8>>,
    /// Which kind the revoked ones are of.
    pub(crate) revoked_use: TokenUse,
    pub(crate) others: Vec<String>,
    pub(crate) lifetime_s: Option<f64>,
    pub(crate) drives: u32,
    logins: usize,
}

impl std::fmt::Debug for Population {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Population").field("sessions", &self.sessions.len()).field("logins", &self.logins).finish()
    }
}

impl Population {
    /// No sessions: for mixes of operations that need none.
    pub fn empty() -> Population {
        Population {
            sessions: Vec::new(),
            expired: Vec::new(),
            revoked: Vec::new(),
            revoked_use: TokenUse::Access,
            others: Vec::new(),
            lifetime_s: None,
            drives: 0,
            logins: 0,
        }
    }

    /// Logs in as often as the mix needs, reporting on the way. The first failure ends it, since a load with
    /// tokens that nobody has would measure refusals.
    pub fn prepare(
        target: &Target,
        workload: &Workload,
        tls: &TlsOptions,
        on_progress: ProgressSink<'_>,
        cancel: &AtomicBool,
    ) -> Result<Population, LoadError> {
        let others = target.issued_names();
        let scripts =
            workload.mix.keys().map(|word| Script::new(target, word, &others)).collect::<Result<Vec<_>, _>>()?;
        let needs = |roles: &[Role]| scripts.iter().any(|s| roles.contains(&s.role));
        let mut population =
            Population { others, lifetime_s: target.profile.tokens.access.lifetime_s, ..Population::empty() };
        if !needs(&[Role::Present, Role::Refresh, Role::Revoke]) {
            return Ok(population);
        }
        if !target.has("issue") {
            return Err(LoadError::Usage(format!(
                "the profile `{}` has no operation `issue`, so that there are no tokens to send; hint: leave what needs a token out of the mix",
                target.profile.name
            )));
        }
        let sessions = workload.tokens.sessions.max(1) as usize;
        // Signed ones need one model, and refreshes need logins of their own.
        let wanted = match (workload.tokens.sign, needs(&[Role::Refresh, Role::Revoke])) {
            (true, true) => sessions.min(LOGINS_AT_LEAST),
            (true, false) => 1,
            // Who walks through a flow that begins with a login logs in by himself.
            (false, _) if workload.begins_with_login() => 1,
            (false, _) => sessions,
        };
        let job = Preparation {
            target,
            tls,
            wanted,
            others: &population.others,
            lifetime_s: population.lifetime_s,
            may_fan_out: may_fan_out(target) && !needs(&[Role::Revoke]),
            from: clock::mono(),
            claimed: AtomicUsize::new(0),
            done: Mutex::new(Vec::with_capacity(wanted)),
            failed: Mutex::new(None),
            cancel,
            on_progress,
        };
        on_progress(&Progress { phase: Phase::Preparing { done: 0, of: wanted as u64 }, ..Progress::default() });
        std::thread::scope(|scope| {
            for _ in 0..PREPARERS.min(wanted) {
                scope.spawn(|| job.run());
            }
        });
        if let Some(error) = job.failed.into_inner().unwrap_or(None) {
            return Err(error);
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(LoadError::Cancelled);
        }
        population.sessions = job.done.into_inner().unwrap_or_default();
        population.logins = population.sessions.iter().filter(|s| !s.refresh.is_empty()).count();
        if workload.tokens.expired.is_some_and(|share| share.0 > 0.0) {
            population.expired = expired_tokens(target, &population.sessions)?;
        }
        if workload.tokens.revoked.is_some_and(|share| share.0 > 0.0) {
            population.revoke(target, tls, &scripts)?;
        }
        if workload.tokens.sign {
            population.sign(target, sessions, on_progress, cancel)?;
        }
        Ok(population)
    }

    /// Logs in and revokes, so that there are tokens which must be refused.
    fn revoke(&mut self, target: &Target, tls: &TlsOptions, scripts: &[Script]) -> Result<(), LoadError> {
        let need = |why: String| {
            Err(LoadError::Usage(format!(
                "`tokens.revoked` needs revoked tokens, and {why}; hint: leave `revoked` out"
            )))
        };
        if !target.has("revoke") || target.is_command("revoke") {
            return need(format!("the profile `{}` has no request `revoke`", target.profile.name));
        }
        self.revoked_use = Script::new(target, "revoke", &self.others)?.presents(target);
        let kind = if self.revoked_use == TokenUse::Refresh { "refresh" } else { "access" };
        let sent =
            |s: &Script| matches!(s.role, Role::Present | Role::Refresh) && s.presents(target) == self.revoked_use;
        if !scripts.iter().any(sent) {
            return need(format!("`revoke` takes {kind} tokens, which no operation of the mix presents"));
        }
        let mut line = Line::new(target, tls);
        for _ in 0..REVOKED {
            let issued = line.ask("issue", &Vars::new())?;
            let beside = issued.other.clone();
            let token = if kind == "refresh" { issued.refresh } else { issued.access };
            let Some(token) = token else { return need(format!("`issue` returns no {kind} token")) };
            line.tell("revoke", &Vars::with_token(&token).issued(&beside))?;
            self.revoked.push(token.into_bytes());
        }
        Ok(())
    }

    /// Fills up with sessions whose access tokens are signed here, after the model of a genuine one.
    fn sign(
        &mut self,
        target: &Target,
        wanted: usize,
        on_progress: ProgressSink<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), LoadError> {
        let need = |what: &str| {
            LoadError::Usage(format!(
                "`tokens.sign` signs tokens, and {what}; hint: leave `sign` out, so that every session logs in"
            ))
        };
        if target.stateful_access() {
            return Err(need("this server looks every access token up"));
        }
        let key =
            sampled::signing_key(target).ok_or_else(|| need("the profile names no signing key that can be read"))?;
        let model = self.sessions.first().map(|s| String::from_utf8_lossy(&s.access).into_owned()).unwrap_or_default();
        let model = Forge::of(&model).ok_or_else(|| need("the access tokens are not JWTs"))?;
        let named = model.header.get("alg").and_then(|alg| alg.as_str().map(str::to_owned)).unwrap_or_default();
        let algorithm = jose::algorithm(&named).ok_or_else(|| need("the algorithm is not known"))?;
        let from = clock::mono();
        let now = clock::unix() as i64;
        let model = model.claim("iat", now).claim("exp", now + SIGNED_LIFETIME_S);
        let has_jti = model.payload.get("jti").is_some();
        let run = random(from.0, 0, Purpose::Session);
        self.sessions.reserve_exact(wanted.saturating_sub(self.sessions.len()));
        let mut rng = rand::rng();
        while self.sessions.len() < wanted {
            let n = self.sessions.len();
            let mut forge = model.clone();
            if has_jti {
                forge = forge.claim("jti", format!("assay-{run:016x}-{n}"));
            } else {
                // Tokens of one second would be the same.
                forge = forge.claim("iat", now - (n as i64 % SIGNED_LIFETIME_S));
            }
            let signed = forge.sign(&key, algorithm, &mut rng).map_err(|e| need(&format!("signing failed: {e}")))?;
            self.sessions.push(Session::signed(signed.token().into_bytes(), self.others.len(), {
                clock::mono() + Nanos(SIGNED_LIFETIME_S as u64 * 1_000_000_000)
            }));
            if n.is_multiple_of((wanted / 100).max(1)) {
                if cancel.load(Ordering::Relaxed) {
                    return Err(LoadError::Cancelled);
                }
                on_progress(&Progress {
                    phase: Phase::Preparing { done: n as u64, of: wanted as u64 },
                    elapsed: clock::mono().since(from),
                    ..Progress::default()
                });
            }
        }
        Ok(())
    }

    /// Sessions that hold tokens.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sessions that hold a refresh token of their own; the others' access tokens were got by refreshing.
    pub fn refreshable(&self) -> usize {
        self.logins
    }
}

/// Whether refreshing gives more access tokens without taking the earlier ones away.
fn may_fan_out(target: &Target) -> bool {
    let refresh = target.operation("refresh").ok();
    refresh.is_some_and(|o| o.request.is_some() && o.kills_old_access != Some(true)) && !target.stateful_access()
}

struct Preparation<'a> {
    target: &'a Target,
    tls: &'a TlsOptions,
    wanted: usize,
    others: &'a [String],
    lifetime_s: Option<f64>,
    may_fan_out: bool,
    from: Nanos,
    claimed: AtomicUsize,
    done: Mutex<Vec<Session>>,
    failed: Mutex<Option<LoadError>>,
    cancel: &'a AtomicBool,
    on_progress: ProgressSink<'a>,
}

impl Preparation<'_> {
    /// One preparer: logs in, and once that has taken its time, refreshes its last session for more tokens.
    fn run(&self) {
        let mut line = Line::new(self.target, self.tls);
        let mut source: Option<Session> = None;
        loop {
            let n = self.claimed.fetch_add(1, Ordering::Relaxed);
            let stop = self.cancel.load(Ordering::Relaxed) || self.failed.lock().is_ok_and(|f| f.is_some());
            if n >= self.wanted || stop {
                break;
            }
            let over = clock::mono().since(self.from) > Nanos::from(LOGIN_BUDGET);
            let fan_out = self.may_fan_out && over && n >= LOGINS_AT_LEAST;
            let made = match source.as_mut().filter(|s| fan_out && !s.refresh.is_empty()) {
                Some(source) => self.fan_out(&mut line, source),
                None => line
                    .asked("issue", &Vars::new())
                    .map(|(issued, when)| Session::new(&issued, self.others, self.lifetime_s, when)),
            };
            match made {
                Ok(session) if session.refresh.is_empty() => self.keep(session),
                Ok(session) => {
                    if let Some(before) = source.replace(session) {
                        self.keep(before);
                    }
                }
                Err(error) => {
                    if let Ok(mut failed) = self.failed.lock() {
                        failed.get_or_insert(error);
                    }
                    break;
                }
            }
        }
        if let Some(last) = source {
            self.keep(last);
        }
    }

    /// The source's access token goes to a session of its own, without a refresh token; the source gets the next.
    fn fan_out(&self, line: &mut Line<'_>, source: &mut Session) -> Result<Session, LoadError> {
        let refresh = String::from_utf8_lossy(&source.refresh).into_owned();
        let mut given = source.clone();
        given.refresh.clear();
        let (issued, when) = line.asked("refresh", &Vars::with_token(&refresh).issued(&source.values(self.others)))?;
        source.renew(&issued, Session::claims(&issued), self.others, self.lifetime_s, when);
        Ok(given)
    }

    fn keep(&self, session: Session) {
        let Ok(mut done) = self.done.lock() else { return };
        done.push(session);
        let n = done.len();
        drop(done);
        // About a hundred reports, whatever the size, and the last one.
        if n == self.wanted || n.is_multiple_of((self.wanted / 100).max(1)) {
            (self.on_progress)(&Progress {
                phase: Phase::Preparing { done: n as u64, of: self.wanted as u64 },
                elapsed: clock::mono().since(self.from),
                ..Progress::default()
            });
        }
    }
}

/// A connection for exchanges outside the load, opened again when the server closes it.
pub(crate) struct Line<'a> {
    target: &'a Target,
    tls: &'a TlsOptions,
    open: Option<Connection>,
}

impl<'a> Line<'a> {
    pub fn new(target: &'a Target, tls: &'a TlsOptions) -> Line<'a> {
        Line { target, tls, open: None }
    }

    /// One issue or refresh, judged by the profile, and when it was asked and answered.
    pub fn asked(&mut self, operation: &str, vars: &Vars) -> Result<(Issued, Exchanged), LoadError> {
        let sent = clock::mono();
        let issued = self.ask(operation, vars)?;
        Ok((issued, Exchanged { sent, received: clock::mono() }))
    }

    /// One issue or refresh, judged by the profile.
    pub fn ask(&mut self, operation: &str, vars: &Vars) -> Result<Issued, LoadError> {
        if self.target.is_command(operation) {
            return Ok(self.target.command(operation, vars)?);
        }
        let request = self.target.request(operation, vars)?;
        let bytes = encode(&request, &self.target.endpoint);
        let reply = self.exchange(&bytes).map_err(|error| without_answer(operation, &error))?;
        if !self.target.accepted(operation, &reply) {
            let why = match self.target.judge(operation, &reply) {
                crate::target::Meaning::Unexpected { why } => why,
                other => format!("it was {other:?}").to_lowercase(),
            };
            return Err(LoadError::Preparation(format!(
                "operation `{operation}`: expected tokens, saw status {}: {why}; hint: {}",
                reply.status,
                self.hint(operation)
            )));
        }
        Ok(self.target.tokens(&reply, operation)?)
    }

    /// One request that brings nothing back, judged by the profile.
    pub fn tell(&mut self, operation: &str, vars: &Vars) -> Result<(), LoadError> {
        let request = self.target.request(operation, vars)?;
        let bytes = encode(&request, &self.target.endpoint);
        let reply = self.exchange(&bytes).map_err(|error| without_answer(operation, &error))?;
        if self.target.accepted(operation, &reply) {
            return Ok(());
        }
        Err(LoadError::Preparation(format!(
            "operation `{operation}`: expected it to be granted, saw status {}; hint: try the operation alone with `assay check`",
            reply.status
        )))
    }

    /// What a refusal may come from.
    fn hint(&self, operation: &str) -> &'static str {
        let described = self.target.operation(operation).ok();
        match (operation, described.and_then(|o| o.rotates)) {
            ("refresh", Some(true)) => "try the operation alone with `assay check`",
            ("refresh", _) => {
                "does the server rotate refresh tokens? the profile does not say so (`rotates: true` and `refresh` under `returns`)"
            }
            ("issue", _) => "are user and password right, and is it the right profile? `assay check` says more",
            _ => "try the operation alone with `assay check`",
        }
    }

    fn exchange(&mut self, bytes: &[u8]) -> Result<crate::wire::Reply, WireError> {
        let usable = self.open.take().and_then(|mut open| open.is_usable().then_some(open));
        let mut connection = match usable {
            Some(open) => open,
            None => Connection::open(&self.target.endpoint, self.tls, DEADLINE)?,
        };
        let reply = connection.exchange(bytes, false, DEADLINE)?;
        self.open = Some(connection);
        Ok(reply)
    }
}

/// An operation outside the load that brought no answer.
fn without_answer(operation: &str, error: &WireError) -> LoadError {
    LoadError::Preparation(format!(
        "operation `{operation}`: expected an answer, saw none: {error}; hint: is the server well?"
    ))
}

/// Genuine tokens signed again with an end an hour ago.
fn expired_tokens(target: &Target, sessions: &[Session]) -> Result<Vec<Vec<u8>>, LoadError> {
    let need = |what: &str| {
        LoadError::Usage(format!(
            "`tokens.expired` needs expired tokens, and {what}; hint: name the signing key under `keys.sign` of the profile, or leave `expired` out"
        ))
    };
    let key = sampled::signing_key(target).ok_or_else(|| need("the profile names no signing key that can be read"))?;
    let now = clock::unix() as i64;
    let mut made = Vec::new();
    for session in sessions.iter().take(EXPIRED) {
        let token = String::from_utf8_lossy(&session.access);
        let forge = Forge::of(&token).ok_or_else(|| need("the access tokens are not JWTs"))?;
        let named = forge.header.get("alg").and_then(|alg| alg.as_str().map(str::to_owned)).unwrap_or_default();
        let algorithm = jose::algorithm(&named).unwrap_or(key.default_algorithm());
        let signed = forge
            .claim("iat", now - 7200)
            .claim("exp", now - 3600)
            .sign(&key, algorithm, &mut rand::rng())
            .map_err(|e| need(&format!("signing failed: {e}")))?;
        made.push(signed.token().into_bytes());
    }
    Ok(made)
}

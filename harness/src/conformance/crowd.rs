//! How do several callers ask at the same time? Workers, each with a connection of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::target::{Issued, Meaning, Target, User, Vars};
use crate::units::Nanos;
use crate::wire::{Connection, Reply, WireError, encode};

use super::answer::{Answer, Axis};
use super::probe::{Stop, asks_only};
use super::session::{PATIENCE, Session, lock};

/// One of several callers.
pub struct Worker<'a> {
    session: &'a Session<'a>,
    target: &'a Target,
    connection: Option<(u64, Connection)>,
    last: Option<Answer>,
    until: Nanos,
    requests: &'a AtomicU64,
}

impl<'a> Worker<'a> {
    /// The target.
    pub fn target(&self) -> &'a Target {
        self.target
    }

    /// Whether the time given is over, or the run has ended.
    pub fn over(&self) -> bool {
        self.session.cancelled() || clock::mono() >= self.until
    }

    /// Asks over the worker's connection; a target that fails is an answer.
    ///
    /// # Errors
    /// Where the request cannot be made, our own machine fails, or the run ends.
    pub fn ask(&mut self, operation: &str, vars: &Vars) -> Result<Answer, Stop> {
        self.asked(operation, vars, None)
    }

    fn asked(&mut self, operation: &str, vars: &Vars, token: Option<&str>) -> Result<Answer, Stop> {
        let request = self.target.request(operation, vars).map_err(Stop::unsendable)?;
        if self.session.cancelled() {
            return Err(Stop::Cancelled);
        }
        if let Some(why) = self.session.silent() {
            return Err(Stop::Inconclusive(why));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = encode(&request, &self.target.endpoint);
        let mut sent = clock::mono();
        let (mut result, mut connection) = self.exchange(operation, &bytes);
        let mut received = clock::mono();
        self.session.note(operation, &result);
        if perhaps_limited(self.target, operation, &result) && !self.over() {
            std::thread::sleep(LATER);
            sent = clock::mono();
            (result, connection) = self.exchange(operation, &bytes);
            received = clock::mono();
            self.session.note(operation, &result);
        }
        let outcome = axis(self.target, operation, result)?;
        let one = Answer::new(operation, request, token.map(str::to_owned), outcome, connection, (sent, received));
        let answer = Answer { raced: true, ..one };
        learn(self.session, &answer);
        self.last = Some(answer.clone());
        Ok(answer)
    }

    /// Asks with a token.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_with(&mut self, operation: &str, token: &str) -> Result<Answer, Stop> {
        let vars = self.session.company.vars(&token.into(), &Default::default());
        self.asked(operation, &vars, Some(token))
    }

    /// The tokens of an answer that was accepted.
    pub fn tokens(&self, answer: &Answer) -> Option<Issued> {
        let reply = answer.reply.as_ref().filter(|_| answer.accepted())?;
        self.target.tokens(reply, &answer.operation).ok()
    }

    /// Logs in as somebody.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn login(&mut self, vars: &Vars) -> Result<(Answer, Option<Issued>), Stop> {
        let answer = self.ask("issue", vars)?;
        let issued = self.tokens(&answer);
        Ok((answer, issued))
    }

    /// One exchange and the number of its connection. What only asks is asked again where a server has closed the
    /// connection that was kept.
    fn exchange(&mut self, operation: &str, bytes: &[u8]) -> (Result<Reply, WireError>, u64) {
        let kept = self.connection.take().and_then(|(number, mut c)| c.is_usable().then_some((number, c)));
        if let Some((number, connection)) = kept {
            let result = self.exchanged(number, connection, bytes);
            if !asks_only(operation) || matches!(result, Ok(_) | Err(WireError::Timeout { .. })) {
                return (result, number);
            }
        }
        match Connection::open(&self.target.endpoint, &self.target.tls, PATIENCE) {
            Ok(connection) => {
                let number = self.session.next_connection();
                (self.exchanged(number, connection, bytes), number)
            }
            Err(error) => (Err(error), 0),
        }
    }

    fn exchanged(&mut self, number: u64, mut connection: Connection, bytes: &[u8]) -> Result<Reply, WireError> {
        let result = connection.exchange(bytes, false, PATIENCE);
        if result.as_ref().is_ok_and(|reply| !reply.closes) {
            self.connection = Some((number, connection));
        }
        result
    }
}

/// Remembers what an exchange carried: the signatures of tokens, and what was issued beside them. Not for the masses of
/// a crowd: of those only what is shown is looked through, and then for its own tokens.
pub(super) fn learn_all(session: &Session<'_>, answer: &Answer) {
    answer.token.iter().for_each(|token| session.learn_signed(token));
    if let Some(issued) = learn(session, answer) {
        let beside = issued.other.values().filter_map(|value| value.as_str());
        let tokens = [issued.access.as_deref(), issued.refresh.as_deref()].into_iter().flatten().chain(beside);
        tokens.for_each(|token| session.learn_signed(token));
        session.name_issued(&issued, seconds(session, answer));
    }
}

/// Whether tokens were issued to the second user: by whose token was refreshed, else by who is named in the login.
fn seconds(session: &Session<'_>, answer: &Answer) -> bool {
    if let Some(token) = &answer.token {
        return session.is_seconds(token);
    }
    let profile = &session.target.profile;
    let text = String::from_utf8_lossy(answer.request.body());
    let named = |user: &Option<User>| user.as_ref().is_some_and(|user| text.contains(&user.login));
    named(&profile.second_user) && !named(&profile.user)
}

/// Remembers what an answer brought beside tokens; what it brought at all.
fn learn(session: &Session<'_>, answer: &Answer) -> Option<Issued> {
    if let ("issue" | "refresh", true, Some(reply)) = (answer.operation.as_str(), answer.accepted(), &answer.reply)
        && let Ok(issued) = session.target.tokens(reply, &answer.operation)
    {
        session.company.learn(answer.token.as_deref(), &issued);
        session.texts.note(&issued, answer.received);
        return Some(issued);
    }
    None
}

/// Whether a reply says "not now" and nothing else: it refuses everybody, so it says nothing of what was sent. Not where
/// the profile names such an answer as a refusal.
pub(super) fn limits(meaning: &Meaning, reply: &Reply) -> bool {
    let later = reply.status == 503 && reply.header("retry-after").is_some();
    matches!(meaning, Meaning::Unexpected { .. }) && (reply.status == 429 || later)
}

/// How long a server that may limit its callers is left alone.
pub(super) const LATER: Duration = Duration::from_secs(1);

/// Whether a reply may be a limit that does not say so: proxies answer a bare 503 (nginx's `limit_req` by default). What
/// is asked again after a pause is then answered in order; an error of the server's own comes again. Not where asking
/// again could use a token up.
pub(super) fn perhaps_limited(target: &Target, operation: &str, result: &Result<Reply, WireError>) -> bool {
    let again = asks_only(operation) || operation == "issue";
    let bare = |reply: &Reply| reply.status == 503 && reply.header("retry-after").is_none();
    let unknown = |reply: &Reply| matches!(target.judge(operation, reply), Meaning::Unexpected { .. });
    again && result.as_ref().is_ok_and(|reply| bare(reply) && unknown(reply))
}

/// How what a user is told of such a reply begins.
pub(super) const LIMITED: &str = "the target limits its callers";

/// What a user is told of such a reply.
pub(super) fn limited(operation: &str, reply: &Reply) -> String {
    let after = reply.header("retry-after").map(|s| format!(", to be asked again after {s}")).unwrap_or_default();
    format!(
        "{LIMITED} (`{operation}` was answered {}{after}), which says nothing of what was sent; \
         hint: raise the limit for this run, or leave checks out with --skip",
        reply.status
    )
}

/// What an exchange means, or why nothing can be said of the target.
pub(super) fn axis(
    target: &Target,
    operation: &str,
    result: Result<Reply, WireError>,
) -> Result<(Axis, Option<Reply>), Stop> {
    Ok(match result {
        Ok(reply) => {
            let meaning = target.judge(operation, &reply);
            if limits(&meaning, &reply) {
                return Err(Stop::Inconclusive(limited(operation, &reply)));
            }
            (Answer::axis_of(&meaning, reply.status), Some(reply))
        }
        Err(WireError::Timeout { .. }) => (Axis::Hung, None),
        Err(error @ WireError::Refused { .. }) => {
            return Err(Stop::Inconclusive(format!("the target cannot be reached: {error}")));
        }
        Err(error @ (WireError::Local { .. } | WireError::NotAllowed { .. } | WireError::Address { .. })) => {
            return Err(Stop::Harness(error.to_string()));
        }
        Err(error) => (Axis::Dropped(error.kind().to_owned()), None),
    })
}

/// Runs `work` once for every worker, side by side; what they return, by worker, how many requests they sent, and one of
/// the exchanges that ended last.
pub(super) fn crowd<'a, R: Send>(
    session: &'a Session<'a>,
    workers: usize,
    within: Duration,
    work: impl Fn(usize, &mut Worker<'_>) -> Result<R, Stop> + Sync,
) -> (Result<Vec<R>, Stop>, u64, Option<Answer>) {
    let requests = AtomicU64::new(0);
    let last = Mutex::new(None);
    let until = clock::mono() + within.into();
    let results: Vec<Result<R, Stop>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|number| {
                let (work, requests, last) = (&work, &requests, &last);
                scope.spawn(move || {
                    let mut worker =
                        Worker { session, target: session.target, connection: None, last: None, until, requests };
                    let result = work(number, &mut worker);
                    if let Some(answer) = worker.last {
                        *lock(last) = Some(answer);
                    }
                    result
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::Harness("a worker of a check broke".into()))))
            .collect()
    });
    let last = lock(&last).take();
    (results.into_iter().collect(), requests.into_inner(), last)
}

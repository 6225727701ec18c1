//! How does a check speak to the target, one request at a time or many at once, and how does it wait?

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::clock;
use crate::target::{Target, Vars};
use crate::wire::{Connection, Reply, WireError, encode};

use super::super::answer::{Answer, Axis};
use super::super::crowd::{self, Worker};
use super::super::engine::Event;
use super::super::session::{PATIENCE, Presented, Way};
use super::{Probe, Stop};

impl Probe<'_> {
    /// Closes the kept connection: what comes next travels on a fresh one.
    pub fn hang_up(&mut self) {
        self.connections.clear();
    }

    /// Performs an operation and judges the reply. State-changing operations travel on connections of their own.
    ///
    /// # Errors
    /// Only where the request cannot be made or the run ends; a target that fails is an answer.
    pub fn call(&mut self, operation: &str, vars: &Vars) -> Result<Answer, Stop> {
        let request = self.target().request(operation, vars).map_err(Stop::unsendable)?;
        self.send(operation, request, None)
    }

    /// Performs an operation with a token.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_with_token(&mut self, operation: &str, token: &str) -> Result<Answer, Stop> {
        let vars = self.vars_with(token);
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
        let vars = self.vars_with(token.clone());
        let Ok(request) = self.target().request(&way.operation, &vars) else { return Ok(None) };
        let answer = self.send(&way.operation, request, token.as_str().map(str::to_owned))?;
        // A token that may not do this was read and believed: no verdict on the token itself (RFC 6750 section 3.1).
        let lacks_scope = answer.reply.as_ref().is_some_and(|reply| {
            reply.status == 403 && reply.header_all("www-authenticate").iter().any(|v| v.contains("insufficient_scope"))
        });
        if let Some(text) = token.as_str()
            // A server error is no verdict: one that comes in between must not look like two ways that disagree.
            && (answer.accepted() || answer.refused())
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
        let used = match &token {
            Some(token) if !asks_only(operation) => {
                self.used += 1;
                if let Some(wanted) = self.wanted.filter(|wanted| wanted.before == Some(self.used)) {
                    return Err(wanted.take(token.clone()));
                }
                Some(self.used)
            }
            _ => None,
        };
        let bytes = encode(&request, &target.endpoint);
        let head = request.method() == http::Method::HEAD;
        let mut sent = clock::mono();
        let mut cut_short = self.time_left() < PATIENCE;
        let (mut result, mut connection) = self.exchange(target, operation, &bytes, head);
        let mut received = clock::mono();
        self.session.note(operation, &result);
        if crowd::perhaps_limited(target, operation, &result) && !self.asked_in_vain && !self.limits_wanted {
            self.pause(crowd::LATER, "a server that may limit its callers")?;
            sent = clock::mono();
            cut_short = self.time_left() < PATIENCE;
            (result, connection) = self.exchange(target, operation, &bytes, head);
            received = clock::mono();
            self.session.note(operation, &result);
            self.asked_in_vain = crowd::perhaps_limited(target, operation, &result);
        }
        let (axis, reply) = match result {
            Ok(reply) if self.limits_wanted => {
                (Answer::axis_of(&target.judge(operation, &reply), reply.status), Some(reply))
            }
            other => crowd::axis(target, operation, other)?,
        };
        if axis == Axis::Hung && cut_short {
            // Our own deadline ended it, which says nothing of the target.
            return Err(self.out_of_time());
        }
        let axis = match (axis, &reply) {
            (Axis::Unclear(_), Some(reply)) if self.session.refuses_so(operation, reply) => Axis::Refused,
            (axis, _) => axis,
        };
        let one = Answer::new(operation, request, token, (axis, reply), connection, (sent, received));
        let answer = Answer { used, ..one };
        self.last = Some(answer.clone());
        crowd::learn_all(self.session, &answer);
        Ok(answer)
    }

    /// From now on an answer that limits callers (429) is one like others: the check looks for it.
    pub fn want_limits(&mut self) {
        self.limits_wanted = true;
    }

    /// One exchange and the number of its connection.
    fn exchange(
        &mut self,
        target: &Target,
        operation: &str,
        bytes: &[u8],
        head: bool,
    ) -> (Result<Reply, WireError>, u64) {
        self.outcome.requests += 1;
        let patience = PATIENCE.min(self.deadline.since(clock::mono()).duration()).max(Duration::from_millis(50));
        let key = target.endpoint.url();
        // What only asks may reuse a connection; what changes state takes a fresh one, so that nothing is ever sent
        // twice because a server had closed a connection meanwhile.
        let asks_only = asks_only(operation);
        if !asks_only {
            self.epoch = self.session.next_epoch();
        }
        let kept = if asks_only { self.connections.remove(&key) } else { None };
        if let Some((number, mut connection)) = kept
            && connection.is_usable()
        {
            match connection.exchange(bytes, head, patience) {
                Ok(reply) => {
                    if !reply.closes {
                        self.connections.insert(key, (number, connection));
                    }
                    return (Ok(reply), number);
                }
                Err(error @ WireError::Timeout { .. }) => return (Err(error), number),
                Err(_) => {}
            }
        }
        let mut connection = match Connection::open(&target.endpoint, &target.tls, patience) {
            Ok(connection) => connection,
            Err(error) => return (Err(error), 0),
        };
        let number = self.session.next_connection();
        let result = connection.exchange(bytes, head, patience);
        if asks_only && result.as_ref().is_ok_and(|reply| !reply.closes) {
            self.connections.insert(key, (number, connection));
        }
        (result, number)
    }

    /// Sends an operation with a token and closes the connection `after` so long, without reading what has come back.
    ///
    /// # Errors
    /// Inconclusive where the token cannot travel, or nothing can be sent; or the run ends.
    pub fn send_and_leave(&mut self, operation: &str, token: &str, after: Duration) -> Result<(), Stop> {
        self.guard()?;
        let target = self.session.target;
        let request = target.request(operation, &self.vars_with(token)).map_err(Stop::unsendable)?;
        let unsent = |e: WireError| Stop::Inconclusive(format!("`{operation}` could not be sent: {e}"));
        self.outcome.requests += 1;
        self.epoch = self.session.next_epoch();
        let mut connection = Connection::open(&target.endpoint, &target.tls, PATIENCE).map_err(unsent)?;
        connection.send(&encode(&request, &target.endpoint), PATIENCE).map_err(unsent)?;
        self.pause(after, "a server that is not listened to")
    }

    /// Sends bytes as they are over a connection of the caller's, and waits for a reply. What comes of it is no word of the
    /// target's on a token, and counts neither as an answer nor as a silence.
    ///
    /// # Errors
    /// When the run ends.
    pub fn asked_by_hand(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        patience: Duration,
    ) -> Result<Result<Reply, WireError>, Stop> {
        self.guard()?;
        self.outcome.requests += 1;
        Ok(connection.exchange(bytes, false, patience))
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
            let request = target.request(operation, &self.vars_with(*token)).map_err(Stop::unsendable)?;
            let bytes = encode(&request, &target.endpoint);
            let mut connection = Connection::open(&target.endpoint, &target.tls, PATIENCE)
                .map_err(|e| Stop::Inconclusive(format!("could not open {} connections: {e}", tokens.len())))?;
            connection
                .hold_last_byte(&bytes, PATIENCE)
                .map_err(|e| Stop::Inconclusive(format!("could not prepare a race: {e}")))?;
            racers.push((connection, self.session.next_connection(), request, Some((*token).to_owned())));
        }
        // The servers' reader threads need a moment to have taken what was sent so far.
        std::thread::sleep(Duration::from_millis(2));
        let sent = clock::mono();
        let released: Vec<Result<(), WireError>> =
            racers.iter_mut().map(|(connection, ..)| connection.release(PATIENCE)).collect();
        let mut answers = Vec::with_capacity(racers.len());
        for ((mut connection, number, request, token), released) in racers.into_iter().zip(released) {
            self.outcome.requests += 1;
            let result = released.and_then(|()| connection.receive(false, PATIENCE));
            let received = clock::mono();
            self.session.note(operation, &result);
            // Whoever is told to come later has not lost the race.
            let outcome = crowd::axis(target, operation, result)?;
            let one = Answer::new(operation, request, token, outcome, number, (sent, received));
            let answer = Answer { raced: true, ..one };
            crowd::learn_all(self.session, &answer);
            answers.push(answer);
        }
        self.last = answers.last().cloned();
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
        let (results, requests, last) = crowd::crowd(self.session, workers, within, work);
        self.outcome.requests += requests;
        self.last = last.or(self.last.take());
        results
    }

    /// What is presented from now on is not compared with what was before: the ways may rightly disagree on it.
    pub fn apart(&mut self) {
        self.epoch = self.session.next_epoch();
    }

    /// How long the check may still go on.
    pub fn time_left(&self) -> Duration {
        self.deadline.since(clock::mono()).duration()
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
    pub(super) fn guard(&self) -> Result<(), Stop> {
        if self.session.cancelled() {
            return Err(Stop::Cancelled);
        }
        if let Some(why) = self.session.silent() {
            return Err(Stop::Inconclusive(why));
        }
        if clock::mono() >= self.deadline {
            return Err(self.out_of_time());
        }
        Ok(())
    }

    fn out_of_time(&self) -> Stop {
        let secs = self.deadline.since(self.began).as_secs_f64();
        Stop::Inconclusive(format!("the check did not end within its {secs:.0} s"))
    }
}

/// Whether an operation only asks: it changes nothing, and uses no token up.
pub(in crate::conformance) fn asks_only(operation: &str) -> bool {
    operation.starts_with("verify.") || operation == "keys"
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::conformance::find;
    use crate::conformance::session::Session;
    use crate::record::Redactor;
    use crate::scenario::Source;
    use crate::target::parse_profile;
    use crate::units::Nanos;

    #[test]
    fn an_answer_that_our_own_deadline_cuts_short_is_no_hang_of_the_target() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let profile = "schema: 1\nname: silent\ndialect: simple\noperations: {issue: {request: {path: /login}, returns: {access: /access}}}\n";
        let profile = parse_profile(&Source::new("silent.yaml", ".", profile), None).unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let target = Target::new(profile, &url, None, &[]).unwrap();
        let cancel = AtomicBool::new(false);
        let mut session = Session::new(&target, "bare", &cancel, Redactor::default());
        session.deadline = clock::mono() + Nanos(300_000_000);
        let mut probe = Probe::new(&session, find("issue-basic").unwrap(), &|_| {}, None);
        let answer = probe.call("issue", &Vars::new());
        let Err(Stop::Inconclusive(why)) = &answer else { panic!("{answer:?}") };
        assert!(why.starts_with("the check did not end within"), "{why}");
        assert!(probe.time_left().is_zero());
    }
}

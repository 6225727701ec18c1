//! How does a check say what it saw?

use crate::clock;
use crate::record::{Evidence, Level, SkipReason, Verdict, WindowRecord};
use crate::target::Meaning;

use super::super::answer::{Answer, Axis};
use super::super::outcome::Observation;
use super::super::reproduce;
use super::{Probe, Stop};

impl Probe<'_> {
    /// `assay forge` wants the token of this variant: ends the check with it. A no-op while examining.
    ///
    /// # Errors
    /// [`Stop::Captured`] where it is the one.
    pub fn offer(&self, variant: &str, token: &str) -> Result<(), Stop> {
        match &self.wanted {
            Some(wanted) if wanted.is(Some(variant)) => Err(wanted.take(token.to_owned())),
            _ => Ok(()),
        }
    }

    /// The requirement holds.
    pub fn pass(&mut self, variant: Option<&str>, finding: &str, summary: impl Into<String>) {
        self.outcome.observations.push(Observation::new(variant, Verdict::Pass, finding, summary));
    }

    /// The requirement does not hold.
    pub fn fail(&mut self, variant: Option<&str>, finding: &str, summary: impl Into<String>) {
        let mut observation = Observation::new(variant, Verdict::Fail, finding, summary);
        observation.evidence.push(self.last_exchange(variant, &observation.summary));
        self.outcome.observations.push(observation);
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

    /// Shows the bytes that led to what was seen last, where they were written by hand. `tokens`: those that they carry.
    pub fn shows_bytes(&mut self, sent: &str, tokens: &[&str]) {
        let request = self.session.redact_exchange(sent, tokens);
        if let Some(last) = self.outcome.observations.last_mut() {
            let (expected, seen) = (self.check.requirement.to_owned(), "sent before, as it stands here".to_owned());
            let variant = last.variant.clone();
            last.evidence.push(Evidence { variant, expected, seen, request: Some(request), ..Evidence::default() });
        }
    }

    /// Makes the last observation weigh no more than this.
    pub fn at_most(&mut self, level: Level) {
        if let Some(last) = self.outcome.observations.last_mut() {
            last.at_most = Some(level);
        }
    }

    /// As [`at_most`](Self::at_most) for everything that was seen of some parts.
    pub fn parts_at_most(&mut self, level: Level, of: impl Fn(&str) -> bool) {
        for seen in &mut self.outcome.observations {
            if seen.variant.as_deref().is_some_and(&of) {
                // A later level weighs less.
                seen.at_most = seen.at_most.max(Some(level));
            }
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
            Axis::Unclear(_) => {
                self.fail_seen(variant, &finding, expected, answer);
                // Acceptance would have brought tokens: nothing was granted, only told in a way of its own.
                let granted =
                    self.target().operation(&answer.operation).is_ok_and(|o| o.returns.contains_key("access"));
                if granted && !answer.carries_token() {
                    self.at_most(Level::Should);
                }
            }
            Axis::Dropped(_) if !answer.unclean() => {
                self.pass(variant, &finding, format!("{expected}: {}", answer.describe()));
            }
            Axis::Crashed(_) | Axis::Hung | Axis::Dropped(_) => {
                self.fail_seen(variant, &finding, expected, answer);
                self.at_most(Level::Should);
            }
        }
    }

    /// Adds a measured window to the record.
    pub fn window(&self, window: WindowRecord) {
        self.session.add_window(window);
    }

    /// The meaning of an answer by the profile, where there was a reply.
    pub fn meaning(&self, answer: &Answer) -> Option<Meaning> {
        answer.reply.as_ref().map(|r| self.target().judge(&answer.operation, r))
    }

    /// What many exchanges or a computation have shown: the last exchange stands for how it was looked for. A line for
    /// a shell would promise that it shows the finding.
    fn last_exchange(&self, variant: Option<&str>, summary: &str) -> Evidence {
        let expected = self.check.requirement;
        let Some(answer) = &self.last else {
            let now = Some(clock::mono().since(self.session.began).as_secs_f64());
            let (expected, seen) = (expected.to_owned(), summary.to_owned());
            let variant = variant.map(str::to_owned);
            return Evidence { variant, expected, seen, answered_s: now, ..Evidence::default() };
        };
        let lines = reproduce::lines(self.session, self.check, variant, answer);
        Evidence {
            request: Some(lines.request),
            response: lines.response,
            token: answer.token.as_deref().map(|token| self.session.view(token)),
            ..answer.evidence(variant, expected, summary, self.session.began)
        }
    }

    pub(super) fn evidence(&self, variant: Option<&str>, answer: &Answer, expected: &str) -> Evidence {
        if let (Some(wanted), Some(token)) = (&self.wanted, &answer.token)
            && wanted.is(variant)
        {
            self.captured.borrow_mut().get_or_insert_with(|| (token.clone(), answer.used));
        }
        let mut evidence = answer.evidence(variant, expected, &answer.describe(), self.session.began);
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

/// One finding over several ways: `refused 401` where all agree, else `resource: accepted, endpoint: refused 401`.
pub(in crate::conformance) fn merged<'x>(parts: impl Iterator<Item = (&'x str, String)>) -> String {
    let parts: Vec<(&str, String)> = parts.collect();
    match parts.split_first() {
        Some(((_, first), rest)) if rest.iter().all(|(_, f)| f == first) => first.clone(),
        _ => parts.iter().map(|(way, f)| format!("{way}: {f}")).collect::<Vec<_>>().join(", "),
    }
}

//! What must happen to a token, and do the genuine ones around it show that the answer means something?

use serde_json::Value;

use crate::clock;
use crate::record::{Level, SkipReason, Verdict};
use crate::units::Nanos;

use super::super::answer::{Answer, Axis};
use super::super::descriptor::Need;
use super::super::outcome::Observation;
use super::super::session::Way;
use super::tell::merged;
use super::{Control, Expect, Probe, Stop};

impl Probe<'_> {
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
            return if wanted.is(variant) {
                Err(wanted.take(token.as_str().map_or_else(|| token.to_string(), str::to_owned)))
            } else {
                Ok(())
            };
        }
        if self.was_found(variant) {
            return Ok(());
        }
        // Each token travels on a connection of its own, its controls beside it: where one of several workers behind an
        // address is broken, a kept connection would show all tokens to the same one.
        self.hang_up();
        let mut seen: Vec<(String, Answer, bool)> = Vec::new();
        let mut unforgeable = 0;
        // What takes a request without a token judges none, whatever it answers: that it is open is bearer-missing's word.
        for way in ways.iter().filter(|way| way.refuses_nothing) {
            if control == Control::Resigned && !self.resigned_accepted(way)? {
                unforgeable += 1;
                continue;
            }
            let before = self.control_near(way)?;
            let Some(mut answer) = self.present_value(way, token)? else { continue };
            // One answer that was lost is not yet a good token refused.
            if expect == Expect::Accepted
                && answer.unclean()
                && let Some(again) = self.present_value(way, token)?
            {
                answer = again;
            }
            let after = self.still_accepts(way)?;
            answer.beside = way.accepts_genuine.then_some((before, after));
            // A way that answers garbage with a 200 of its own kind refuses in that manner.
            seen.push((way.name.clone(), answer, before && after));
        }
        if seen.is_empty() {
            let reason = if unforgeable > 0 {
                SkipReason::Needs("re-signed tokens (the server refuses a genuine token that was signed again)".into())
            } else if ways.is_empty() {
                SkipReason::Needs(Need::VerifyWay.name().into())
            } else if ways.iter().all(|way| !way.refuses_nothing) {
                SkipReason::Needs("a verify way that refuses a request without a token".into())
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
        let unclean = Answer::unclean;
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
                "`{}`: {}, but a genuine token beside it was refused too{}, so nothing was learnt",
                hit.0,
                hit.1.describe(),
                match () {
                    () if self.outlived() => " (it had ended: tokens live too shortly to show one beside each)",
                    () if self.session.lost_a_session() => " (a new login's is accepted: its session had ended)",
                    () => "",
                }
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
            _ => self.still_accepts(way),
        }
    }

    /// Whether a way takes the genuine token that this check forges of, or any where it forges of none, right now.
    ///
    /// # Errors
    /// Where that token has ended: the check begins again with another one. When the run ends.
    pub fn still_accepts(&mut self, way: &Way) -> Result<bool, Stop> {
        // A way that never took a genuine token is not asked again: what it accepts is still worth seeing.
        let held = if way.accepts_genuine {
            let genuine = self.control_token()?;
            let held = self.present(way, &genuine)?.accepted();
            if !held {
                self.has_ended(way, &genuine)?;
            }
            held
        } else {
            false
        };
        self.controls.insert(way.operation.clone(), (held, clock::mono()));
        Ok(held)
    }

    /// Whether the way accepts a genuine token that we signed again with one claim added. Found out once per run.
    ///
    /// # Errors
    /// Inconclusive where it was not answered in order, or a genuine token is refused too; as [`forger`](Self::forger).
    pub fn resigned_accepted(&mut self, way: &Way) -> Result<bool, Stop> {
        if let Some(known) = self.session.control(&way.operation) {
            return Ok(known);
        }
        let forger = self.forger()?;
        let token = forger.with_claim("assay", Value::from("control"))?;
        // Everything that is signed hangs on it: one answer that was lost must not switch it off.
        let mut answer = self.present(way, &token)?;
        if !answer.accepted() {
            answer = self.present(way, &token)?;
        }
        if way.usable() && !answer.accepted() {
            let why = match answer.unclean() {
                true => answer.describe(),
                false if !self.still_accepts(way)? => "so is a genuine one beside it".to_owned(),
                false => String::new(),
            };
            if !why.is_empty() {
                return Err(Stop::Inconclusive(format!(
                    "whether `{}` takes a genuine token that was signed again was not learnt ({why})",
                    way.name
                )));
            }
        }
        self.session.set_control(&way.operation, answer.accepted());
        Ok(answer.accepted())
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
}

fn names(seen: &[(String, Answer, bool)]) -> String {
    // A way whose controls did not hold has said nothing, and is not named among those that did.
    let list = |held: bool| -> Vec<String> {
        seen.iter().filter(|(_, _, controls)| *controls == held).map(|(way, _, _)| format!("`{way}`")).collect()
    };
    match (list(true), list(false)) {
        (held, mute) if held.is_empty() || mute.is_empty() => [held, mute].concat().join(", "),
        (held, mute) => {
            format!("{} ({} takes no genuine token, so it was not judged)", held.join(", "), mute.join(", "))
        }
    }
}

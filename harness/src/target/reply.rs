//! What does a reply mean by the profile, and what is in it? Meanings, tokens, and whom it names.

use std::collections::BTreeMap;

use serde_json::Value;

use super::judge::{self, Answer, Case, Issued, Meaning};
use super::profile::Operation;
use super::server::{Target, TargetError};
use super::template::as_text;

impl Target {
    /// What a reply to an operation means. A 200 that lacks the tokens it should bring is not accepted.
    pub fn judge(&self, operation: &str, reply: &dyn Answer) -> Meaning {
        let Some(described) = self.profile.operations.get(operation) else {
            return Meaning::Unexpected { why: format!("the profile has no operation `{operation}`") };
        };
        let accepted = match judge::holds(&judge::predicate(described, Case::Accepted), reply) {
            Ok(()) => match self.tokens(reply, operation) {
                Ok(_) => return Meaning::Accepted,
                Err(error) => error.to_string(),
            },
            Err(why) => why,
        };
        for (case, meaning) in [
            (Case::Denied, Meaning::Denied),
            (Case::Invalid, Meaning::Invalid),
            (Case::WrongMethod, Meaning::WrongMethod),
            (Case::NoToken, Meaning::NoToken),
        ] {
            if self.matches(operation, case, reply).is_ok() {
                return meaning;
            }
        }
        Meaning::Unexpected {
            why: format!("neither granted ({accepted}) nor refused as the profile says; status {}", reply.status()),
        }
    }

    /// Whether a reply is what the profile says of one case; if not, the first part that does not hold, in words.
    pub fn matches(&self, operation: &str, case: Case, reply: &dyn Answer) -> Result<(), String> {
        let described = self.operation(operation).map_err(|error| error.to_string())?;
        judge::holds(&judge::predicate(described, case), reply)
    }

    /// The statuses that the profile gives for a case, with its default.
    pub fn statuses(&self, operation: &str, case: Case) -> Vec<u16> {
        let described = self.profile.operations.get(operation);
        described
            .map_or_else(Vec::new, |o| judge::predicate(o, case).status.map_or_else(Vec::new, |s| s.all().to_vec()))
    }

    /// Whether a reply grants: the profile's predicate holds and the tokens it should bring are there.
    pub fn accepted(&self, operation: &str, reply: &dyn Answer) -> bool {
        self.judge(operation, reply) == Meaning::Accepted
    }

    /// What an operation returned, by the profile's `returns`. `access` and `refresh` must be there where they are
    /// named (a refresh that does not rotate may leave `refresh` out); everything else may be absent.
    pub fn tokens(&self, reply: &dyn Answer, operation: &str) -> Result<Issued, TargetError> {
        let described = self.operation(operation)?;
        let json: Option<Value> = serde_json::from_slice(reply.body()).ok();
        self.collect(operation, described, |place| judge::taken(place, reply, json.as_ref()))
    }

    pub(super) fn collect(
        &self,
        operation: &str,
        described: &Operation,
        take: impl Fn(&str) -> Option<Value>,
    ) -> Result<Issued, TargetError> {
        let mut values = BTreeMap::new();
        for (name, place) in &described.returns {
            let value = take(place);
            let optional =
                !(name == "access" || (name == "refresh" && (operation == "issue" || described.rotates == Some(true))));
            let seen = match &value {
                None => "nothing there".to_owned(),
                Some(Value::String(text)) if text.is_empty() => "an empty text".to_owned(),
                Some(Value::String(_)) => String::new(),
                Some(Value::Object(_) | Value::Array(_)) => "a list or an object".to_owned(),
                Some(other) => other.to_string(),
            };
            if !optional && !seen.is_empty() {
                return Err(TargetError::NotReturned {
                    operation: operation.to_owned(),
                    name: name.clone(),
                    place: place.clone(),
                    seen,
                });
            }
            if let Some(value) = value {
                values.insert(name.clone(), value);
            }
        }
        Ok(judge::issued(values))
    }

    /// The caller that the resource's reply names, where the profile says where.
    pub fn identity(&self, reply: &dyn Answer) -> Option<String> {
        let pointer = self.profile.identity.as_deref()?;
        let json: Option<Value> = serde_json::from_slice(reply.body()).ok();
        judge::taken(pointer, reply, json.as_ref()).map(|value| as_text(&value))
    }

    /// Whether a hook's reply says that it worked: its predicate, or any 2xx.
    pub fn hook_accepted(&self, name: &str, reply: &dyn Answer) -> bool {
        match self.profile.admin.get(name).and_then(|hook| hook.accepted.as_ref()) {
            Some(predicate) => judge::holds(predicate, reply).is_ok(),
            None => (200..300).contains(&reply.status()),
        }
    }
}

//! What does a session do, step by step? The steps of a flow as they are written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::units::Span;

/// One step of a flow: `issue`, `{verify: 20}` for twenty times, `{pause: 100ms}` for a pause before the next step.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FlowStep {
    /// `issue`.
    Operation(String),
    /// `{verify: 20}` or `{pause: 100ms}`.
    Settings(BTreeMap<String, serde_json::Value>),
}

impl<'de> Deserialize<'de> for FlowStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FlowStep, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FlowStep;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a step such as `issue`, `{verify: 20}` or `{pause: 100ms}`")
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<FlowStep, E> {
                Ok(FlowStep::Operation(word.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FlowStep, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(FlowStep::Settings)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What a step of a flow says.
#[derive(Clone, Debug, PartialEq)]
pub enum Walked {
    /// An operation, so many times.
    Operation {
        /// The word, as in `mix`.
        word: String,
        /// How often, one after the other.
        times: u32,
    },
    /// A pause before the next step.
    Pause(Span),
}

impl FlowStep {
    /// Most times of one step.
    pub const MOST_TIMES: u32 = 100_000;

    /// What it says.
    ///
    /// # Errors
    /// What was expected and what was seen, in words.
    pub fn read(&self) -> Result<Walked, String> {
        let map = match self {
            FlowStep::Operation(word) => return Ok(Walked::Operation { word: word.clone(), times: 1 }),
            FlowStep::Settings(map) => map,
        };
        let Some((word, value)) = map.iter().next().filter(|_| map.len() == 1) else {
            return Err(format!("expected one operation in a step such as `{{verify: 20}}`, saw {}", map.len()));
        };
        if word == "pause" {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return text.parse().map(Walked::Pause);
        }
        let times = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=Self::MOST_TIMES).contains(n));
        let Some(times) = times else {
            return Err(format!("expected 1 to {} times, saw {value}", Self::MOST_TIMES));
        };
        Ok(Walked::Operation { word: word.clone(), times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Source, Vocabulary, decode, parse, validate};

    /// What is said of a scenario with this flow.
    fn said(flow: &str, more: &str) -> String {
        let text = format!(
            "name: x\ntarget: reference\ntopologies: {{bare: [reference-server]}}\nload:\n  arrival: {{open: {{rate: 10/s}}}}\n  flow: {flow}\n{more}"
        );
        let tree = parse(&Source::new("s.yaml", ".", &text)).unwrap();
        let operations = Some(["issue", "refresh", "verify", "revoke"].map(str::to_owned).to_vec());
        match decode(&tree) {
            Ok(scenario) => {
                validate(&scenario, &tree, &Vocabulary { operations, ..Vocabulary::default() }).render(false)
            }
            Err(why) => why.render(false),
        }
    }

    #[test]
    fn an_arrival_brings_as_many_requests_as_its_flow_has_steps() {
        let of = |flow: serde_json::Value| {
            let text = serde_json::json!({"arrival": {"open": {"rate": "10/s"}}, "mix": {"access": 9, "issue": 1}, "flow": flow});
            serde_json::from_value::<crate::scenario::Workload>(text).unwrap().requests_per_arrival()
        };
        assert_eq!(of(serde_json::json!([])), 1.0);
        assert_eq!(of(serde_json::json!(["issue", {"verify": 20}, {"pause": "100ms"}, "refresh"])), 22.0);
    }

    #[test]
    fn steps_are_operations_times_and_pauses() {
        assert_eq!(said("[issue, {verify: 20}, {pause: 100ms}, refresh]", ""), "");
        let read = |json: serde_json::Value| serde_json::from_value::<FlowStep>(json).unwrap().read().unwrap();
        assert_eq!(read("issue".into()), Walked::Operation { word: "issue".into(), times: 1 });
        assert_eq!(read(serde_json::json!({"verify": 20})), Walked::Operation { word: "verify".into(), times: 20 });
        let pause = Walked::Pause(Span(std::time::Duration::from_millis(100)));
        assert_eq!(read(serde_json::json!({"pause": "100ms"})), pause);
    }

    #[test]
    fn a_flow_that_makes_no_sense_is_told_at_its_place() {
        for (flow, more, says) in [
            ("[isue]", "", "no operation `isue`"),
            ("[issue, {verify: 0}]", "", "1 to 100000 times, saw 0"),
            ("[issue, {verify: 2, refresh: 1}]", "", "one operation in a step"),
            ("[{pause: 1s}]", "", "saw pauses only"),
            ("[issue, {pause: soon}]", "", "soon"),
            ("[issue, [verify]]", "", "a step such as"),
            ("[issue, revoke, verify]", "", "nothing for `verify` to present"),
            ("[issue]", "  mix: {verify: 1}\n", "`mix` stands beside it"),
        ] {
            let said = said(flow, more);
            assert!(said.contains(says), "{flow}: {said}");
        }
    }
}

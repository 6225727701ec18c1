//! What did the scenario set on a link? Unknown names are refused with the nearest known one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{LaunchError, nearest};

/// A setting that a link understands.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// As written in YAML.
    pub name: &'static str,
    /// The value where none is written, as text; empty: left to the program.
    pub default: &'static str,
    /// What it does, one clause.
    pub what: &'static str,
}

/// The settings of one link, checked against what it understands.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    link: String,
    known: &'static [Setting],
    given: BTreeMap<String, Value>,
}

impl Settings {
    pub(super) fn new(
        link: &str,
        known: &'static [Setting],
        given: BTreeMap<String, Value>,
    ) -> Result<Settings, LaunchError> {
        let names: Vec<String> = known.iter().map(|setting| setting.name.to_owned()).collect();
        match given.keys().find(|name| !names.contains(name)) {
            None => Ok(Settings { link: link.to_owned(), known, given }),
            Some(name) => Err(LaunchError::UnknownSetting {
                link: link.to_owned(),
                name: name.clone(),
                suggestion: nearest(name, &names),
                known: names,
            }),
        }
    }

    /// The value as text, the default where none is written.
    pub(super) fn text(&self, name: &str) -> Result<String, LaunchError> {
        let default = self.known.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        match self.given.get(name) {
            None | Some(Value::Null) => Ok(default.to_owned()),
            Some(value) => scalar(value).ok_or_else(|| self.bad(name, "a plain value", value)),
        }
    }

    /// One value or a list of them.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>, LaunchError> {
        match self.given.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| scalar(value).ok_or_else(|| self.bad(name, "a list of plain values", value)))
                .collect(),
            Some(value) => Ok(vec![scalar(value).ok_or_else(|| self.bad(name, "a value or a list", value))?]),
        }
    }

    /// A whole number between two limits.
    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<u64, LaunchError> {
        let text = self.text(name)?;
        text.parse::<u64>().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            self.bad(name, &format!("a whole number between {least} and {most}"), &Value::String(text.clone()))
        })
    }

    /// `on` or `off`, `true` or `false`.
    pub(super) fn switch(&self, name: &str) -> Result<bool, LaunchError> {
        let text = self.text(name)?;
        match text.as_str() {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            _ => Err(self.bad(name, "`on` or `off`", &Value::String(text.clone()))),
        }
    }

    /// One of a few words.
    pub(super) fn word(&self, name: &str, words: &[&str]) -> Result<String, LaunchError> {
        let text = self.text(name)?;
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(self.bad(name, &format!("one of {}", words.join(", ")), &Value::String(text.clone())))
    }

    /// A value in a configuration file, where only these characters cannot change the file's meaning.
    pub(super) fn token(&self, name: &str) -> Result<String, LaunchError> {
        let text = self.text(name)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        if text.chars().all(plain) {
            return Ok(text);
        }
        Err(self.bad(name, "letters, digits and `._-/` only", &Value::String(text.clone())))
    }

    /// Everything as written, for links whose settings are a type of their own.
    pub(super) fn given(&self) -> &BTreeMap<String, Value> {
        &self.given
    }

    /// The same, `${run_dir}` filled in.
    pub(super) fn with_run_dir(&self, run_dir: &str) -> Settings {
        let mut settings = self.clone();
        for value in settings.given.values_mut() {
            if let Value::String(text) = value {
                *text = text.replace("${run_dir}", run_dir);
            }
        }
        settings
    }

    pub(super) fn bad(&self, setting: &str, expected: &str, seen: &Value) -> LaunchError {
        LaunchError::BadSetting {
            link: self.link.clone(),
            setting: setting.to_owned(),
            expected: expected.to_owned(),
            seen: scalar(seen).unwrap_or_else(|| seen.to_string()),
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[Setting] = &[
        Setting { name: "keepalive", default: "64", what: "idle upstream connections" },
        Setting { name: "access-log", default: "on", what: "whether requests are logged" },
    ];

    fn given(value: Value) -> Result<Settings, LaunchError> {
        Settings::new("nginx", KNOWN, serde_json::from_value(value).expect("map"))
    }

    #[test]
    fn a_slip_in_a_name_is_answered_with_the_name_meant() {
        let refused = given(json!({"keep-alive": 3})).expect_err("unknown").to_string();
        assert_eq!(refused, "`nginx` has no setting `keep-alive`; hint: did you mean `keepalive`?");
        let refused = given(json!({"colour": 3})).expect_err("unknown").to_string();
        assert_eq!(refused, "`nginx` has no setting `colour`; hint: it knows keepalive, access-log");
    }

    #[test]
    fn defaults_hold_where_nothing_is_written_and_limits_are_named() {
        let settings = given(json!({"access-log": false})).expect("known");
        assert_eq!(settings.number("keepalive", 0, 100).expect("number"), 64);
        assert!(!settings.switch("access-log").expect("switch"));
        let refused = given(json!({"keepalive": "many"})).expect("known").number("keepalive", 0, 9).expect_err("text");
        assert_eq!(
            refused.to_string(),
            "setting `keepalive` of `nginx`: expected a whole number between 0 and 9, saw `many`"
        );
    }
}

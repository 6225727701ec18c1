//! How does a server of the user's own start? By the command that the profile or the link names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::super::error::LaunchError;
use super::super::ready::ReadyBy;
use super::super::settings::{Setting, Settings};
use super::super::table::{Kind, Plan, Row, fill};
use crate::scenario::{ProcessStart, Ready};

/// The members of [`ProcessStart`], as settings of a link.
const SETTINGS: &[Setting] = &[
    Setting {
        name: "command",
        default: "",
        what: "program and arguments; ${port}, ${run_dir}, ${app_dir}, ${venv} are filled in",
    },
    Setting { name: "env", default: "", what: "added to the environment" },
    Setting { name: "cwd", default: "", what: "where it is started, relative to the file that says so" },
    Setting { name: "ready", default: "/", what: "a path that answers below 500, or {method, path, status}" },
    Setting { name: "ready-within", default: "30s", what: "how long it may take" },
    Setting { name: "version", default: "", what: "a command that prints the version" },
    Setting { name: "prepare", default: "", what: "{venv, python, commands}: what has to be there before" },
];

pub(crate) const ROW: Row = Row {
    name: "process",
    what: "a server of your own, by the command in the profile's `start` or in these settings",
    kind: Kind::Server,
    stand_in: false,
    program: None,
    settings: SETTINGS,
    // A process is planned by `plan_process`, which knows more than a site: the profile's words.
    plan: |site| {
        Err(LaunchError::BadSetting {
            link: "process".to_owned(),
            setting: "command".to_owned(),
            expected: "a program and its arguments".to_owned(),
            seen: site.dir.display().to_string(),
        })
    },
};

/// A server of the user's own, as the profile and the link together describe it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) start: ProcessStart,
    /// The folder in which it is started.
    pub(crate) app_dir: PathBuf,
}

/// The profile's words with the link's settings laid over them: `env` is merged, all else replaced.
pub(crate) fn asked(
    link: &str,
    profile: Option<(&ProcessStart, &Path)>,
    settings: &Settings,
    scenario_dir: &Path,
) -> Result<Asked, LaunchError> {
    let bad = |name: &str, problem: String, seen: &Value| settings.bad(name, &problem, seen);
    let (start, dir) = match profile {
        Some((start, dir)) => (start.clone(), dir),
        None => (ProcessStart::default(), scenario_dir),
    };
    let base = if settings.given().contains_key("cwd") { scenario_dir } else { dir };
    let Ok(Value::Object(mut merged)) = serde_json::to_value(&start) else {
        return Err(LaunchError::Io {
            what: format!("reading the start of `{link}`"),
            source: std::io::Error::from(std::io::ErrorKind::InvalidData),
        });
    };
    for (name, value) in settings.given() {
        match (name.as_str(), merged.get_mut(name), value) {
            ("env", Some(Value::Object(old)), Value::Object(new)) => {
                for (key, value) in new {
                    // Numbers and booleans are what people write: `{WORKERS: 2}`.
                    let text = match value {
                        Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
                        other => other.clone(),
                    };
                    old.insert(key.clone(), text);
                }
            }
            _ => drop(merged.insert(name.clone(), value.clone())),
        }
        // Each setting alone, so that the one at fault is named.
        let alone = serde_json::json!({ name: merged[name] });
        serde_json::from_value::<ProcessStart>(alone).map_err(|e| bad(name, format!("something else ({e})"), value))?;
    }
    let start: ProcessStart =
        serde_json::from_value(Value::Object(merged)).map_err(|e| bad("command", e.to_string(), &Value::Null))?;
    if start.command.is_empty() {
        return Err(bad(
            "command",
            "a program and its arguments, here or as `start` in the profile".to_owned(),
            &Value::String("nothing".to_owned()),
        ));
    }
    let app_dir = base.join(start.cwd.as_deref().unwrap_or("."));
    let app_dir = app_dir
        .canonicalize()
        .map_err(LaunchError::io(format!("looking for the folder of `{link}`, {}", app_dir.display())))?;
    Ok(Asked { start, app_dir })
}

/// What the placeholders of a command stand for.
pub(crate) struct Places<'a> {
    pub(crate) port: u16,
    /// Authority of the link before it; empty for the first.
    pub(crate) upstream: &'a str,
    pub(crate) run_dir: &'a Path,
    pub(crate) app_dir: &'a Path,
    pub(crate) venv: Option<&'a Path>,
}

impl Places<'_> {
    /// Fills them in; `${env:NAME}` is the environment's, empty where it is not set.
    pub(crate) fn fill(&self, text: &str) -> String {
        let port = self.port.to_string();
        let run_dir = self.run_dir.to_string_lossy();
        let app_dir = self.app_dir.to_string_lossy();
        let venv = self.venv.map(Path::to_string_lossy).unwrap_or_default();
        let mut values = vec![
            ("port", port.as_str()),
            ("upstream", self.upstream),
            ("run_dir", &*run_dir),
            ("app_dir", &*app_dir),
            ("venv", &*venv),
        ];
        let names: Vec<(String, String)> = text
            .match_indices("${env:")
            .filter_map(|(at, _)| text[at + 2..].split_once('}').map(|(name, _)| name.to_owned()))
            .map(|name| {
                let value = std::env::var(name.trim_start_matches("env:")).unwrap_or_default();
                (name, value)
            })
            .collect();
        values.extend(names.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        fill(text, &values)
    }
}

/// How it is started at these places.
pub(crate) fn plan_process(asked: &Asked, places: &Places) -> Plan {
    let mut env: BTreeMap<String, std::ffi::OsString> = environment(places);
    env.extend(asked.start.env.iter().map(|(key, value)| (key.clone(), places.fill(value).into())));
    Plan {
        command: asked.start.command.iter().map(|part| places.fill(part).into()).collect(),
        env,
        cwd: Some(asked.app_dir.clone()),
        check: None,
        ready: ready_by(asked.start.ready.as_ref()),
        logs: Vec::new(),
    }
}

/// The environment beyond what is asked: logs that are written at once, and the virtual environment first on the path.
fn environment(places: &Places) -> BTreeMap<String, std::ffi::OsString> {
    let mut env = BTreeMap::from([
        ("PYTHONUNBUFFERED".to_owned(), "1".into()),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into()),
        ("PORT".to_owned(), places.port.to_string().into()),
    ]);
    if let Some(venv) = places.venv {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(venv.join("bin")).chain(std::env::split_paths(&old));
        env.insert("VIRTUAL_ENV".to_owned(), venv.into());
        env.insert("PATH".to_owned(), std::env::join_paths(path).unwrap_or(old));
    }
    env
}

/// How readiness is asked.
pub(crate) fn ready_by(ready: Option<&Ready>) -> ReadyBy {
    let ready = ready.cloned().unwrap_or_default();
    ReadyBy::Http { method: ready.method, path: ready.path, statuses: ready.status }
}

/// How long it may take.
pub(crate) fn ready_within(start: &ProcessStart) -> Duration {
    start.ready_within.map_or(Duration::from_secs(30), |span| span.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(value: Value) -> Settings {
        Settings::new("process", SETTINGS, serde_json::from_value(value).expect("map")).expect("known")
    }

    #[test]
    fn the_links_environment_is_laid_over_the_profiles() {
        let profile: ProcessStart = serde_json::from_value(json!({
            "command": ["python3", "app.py", "${port}"], "env": {"A": "1", "B": "2"}, "ready": "/healthz"
        }))
        .expect("start");
        let here = Path::new(".");
        let asked = asked("process", Some((&profile, here)), &settings(json!({"env": {"B": 3}})), here).expect("asked");
        assert_eq!(asked.start.env.get("A").map(String::as_str), Some("1"));
        assert_eq!(asked.start.env.get("B").map(String::as_str), Some("3"));
        assert_eq!(
            ready_by(asked.start.ready.as_ref()),
            ready_by(Some(&Ready { path: "/healthz".into(), ..Ready::default() }))
        );
    }

    #[test]
    fn a_setting_of_the_wrong_kind_is_named() {
        let here = Path::new(".");
        let refused = asked("process", None, &settings(json!({"command": "python3 app.py"})), here).expect_err("text");
        assert!(refused.to_string().contains("setting `command` of `process`"), "{refused}");
        let refused = asked("process", None, &settings(json!({})), here).expect_err("nothing");
        assert!(refused.to_string().contains("saw `nothing`"), "{refused}");
    }

    #[test]
    fn placeholders_are_filled_in() {
        let places = Places {
            port: 80,
            upstream: "",
            run_dir: Path::new("/r"),
            app_dir: Path::new("/a"),
            venv: Some(Path::new("/v")),
        };
        assert_eq!(places.fill("${venv}/bin/x --port ${port} ${run_dir} ${app_dir}"), "/v/bin/x --port 80 /r /a");
        assert_eq!(places.fill("${env:ASSAY_SURELY_NOT_SET}|${other}"), "|${other}");
    }
}

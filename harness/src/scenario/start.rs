//! How is a server of the user's own started? The same words in a profile and in a chain.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::units::Span;

/// How a server of the user's own is started: in a profile under `start`, or as settings of the link `process`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ProcessStart {
    /// Program and arguments. `${port}` is the port to listen on, `${run_dir}` a folder of its own for this
    /// start, `${app_dir}` is `cwd`, `${venv}` the prepared virtual environment, `${env:NAME}` the environment's.
    pub command: Vec<String>,
    /// Added to our environment; the same placeholders.
    pub env: IndexMap<String, String>,
    /// Where it is started, relative to the file that says so; that file's folder if absent.
    pub cwd: Option<String>,
    /// What tells that it is ready; an answer below 500 to `GET /` if absent.
    pub ready: Option<Ready>,
    /// How long it may take to become ready; 30 s if absent.
    #[serde(alias = "ready_within")]
    pub ready_within: Option<Span>,
    /// A command that prints the version, for the report.
    pub version: Vec<String>,
    /// What has to be there before it starts.
    pub prepare: Option<Prepare>,
}

/// What tells that a server is ready: written as a path, or as `{method, path, status}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// `GET` if absent.
    pub method: String,
    /// Where to ask; `/` if absent.
    pub path: String,
    /// The statuses that mean ready, one or a list; any below 500 if empty.
    pub status: Vec<u16>,
}

impl Default for Ready {
    fn default() -> Ready {
        Ready { method: "GET".to_owned(), path: "/".to_owned(), status: Vec::new() }
    }
}

/// By hand, since serde's untagged enums lose the place of a mistake.
impl<'de> Deserialize<'de> for Ready {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ready, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Exactly {
            #[serde(default)]
            method: Option<String>,
            #[serde(default)]
            path: Option<String>,
            #[serde(default)]
            status: Option<Statuses>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Ready;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path such as `/healthz`, or `{method: GET, path: /healthz, status: 200}`")
            }
            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Ready, E> {
                Ok(Ready { path: path.to_owned(), ..Ready::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ready, A::Error> {
                let written = Exactly::deserialize(MapAccessDeserializer::new(map))?;
                let usual = Ready::default();
                Ok(Ready {
                    method: written.method.unwrap_or(usual.method),
                    path: written.path.unwrap_or(usual.path),
                    status: written.status.map_or(usual.status, |statuses| statuses.0),
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One status or a list of them.
struct Statuses(Vec<u16>);

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Statuses, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Statuses;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a status such as `200`, or a list of them")
            }
            fn visit_u64<E: serde::de::Error>(self, status: u64) -> Result<Statuses, E> {
                u16::try_from(status).map(|status| Statuses(vec![status])).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, status: i64) -> Result<Statuses, E> {
                u16::try_from(status).map(|status| Statuses(vec![status])).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Statuses, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Statuses)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Ready {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ready".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "What tells that a server is ready: a path that answers below 500, or {method, path, status}.",
            "oneOf": [
                {"type": "string", "pattern": "^/", "examples": ["/healthz"]},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "method": {"type": "string", "default": "GET"},
                        "path": {"type": "string", "pattern": "^/", "default": "/"},
                        "status": {"oneOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}
                    }
                }
            ]
        })
    }
}

/// What has to be there before a server starts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Prepare {
    /// A file of pinned Python requirements, relative to `cwd`: a virtual environment is made from it once
    /// and kept in a cache by the hash of its text; `${venv}` is its folder.
    pub venv: Option<String>,
    /// The interpreter that makes it; `python3` if absent.
    pub python: Option<String>,
    /// Commands that are run before every start, with the server's environment: migrations, static files.
    pub commands: Vec<Vec<String>>,
}

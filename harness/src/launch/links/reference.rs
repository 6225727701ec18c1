//! How does the reference server start? As a child of our own binary, which tells its port.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::super::error::LaunchError;
use super::super::ready::ReadyBy;
use super::super::settings::Setting;
use super::super::table::{Kind, Plan, Row, Site};

const SETTINGS: &[Setting] = &[
    Setting { name: "alg", default: "", what: "signature algorithm; HS256 if absent" },
    Setting { name: "flaw", default: "", what: "one deliberate fault or a list, see `assay list flaws`" },
    Setting { name: "encrypt", default: "", what: "encrypts tokens: dir, ECDH-ES or RSA-OAEP-256" },
    Setting { name: "hash", default: "", what: "password hash: argon2id or none" },
    Setting { name: "access-lifetime", default: "", what: "lifetime of an access token, such as `5m`" },
    Setting { name: "refresh-lifetime", default: "", what: "lifetime of a refresh token, such as `24h`" },
    Setting { name: "absolute-lifetime", default: "", what: "when a session ends, however often it is refreshed" },
    Setting { name: "store", default: "", what: "where used and revoked tokens are kept, as for assay serve --store" },
    Setting { name: "config", default: "", what: "its configuration file" },
    Setting { name: "rate-limit", default: "", what: "token requests that one user or client may make in a second" },
    Setting { name: "rotate", default: "", what: "whether a refresh gives a new refresh token; on if absent" },
    Setting { name: "grace", default: "", what: "how long a used refresh token may come again" },
    Setting { name: "leeway", default: "", what: "how long past its end a token still passes" },
    Setting { name: "issuer", default: "", what: "the issuer named in tokens, and asked for" },
    Setting { name: "audience", default: "", what: "an audience or a list, named in tokens" },
    Setting { name: "rfc9068", default: "", what: "access tokens in the shape of RFC 9068" },
    Setting { name: "login-limit", default: "", what: "how many failed logins a name may have in a minute" },
    Setting { name: "users", default: "", what: "how many further users it has, user1 to userN" },
];

/// Settings that are switches on its command line: the flag for on, and the one for off.
const SWITCHES: &[(&str, Option<&str>, Option<&str>)] =
    &[("rotate", Some("--rotate"), Some("--no-rotate")), ("rfc9068", Some("--rfc9068"), None)];

pub(crate) const ROW: Row = Row {
    name: "reference-server",
    what: "the reference token server, SimpleJWT's wire form and OAuth 2",
    kind: Kind::Server,
    stand_in: false,
    program: None,
    settings: SETTINGS,
    plan,
};

fn plan(site: &Site) -> Result<Plan, LaunchError> {
    let settings = site.settings;
    let mut command: Vec<OsString> = vec![site.assay.into()];
    command.extend(["serve", "--port", &site.port.to_string(), "--admin-port", "0"].map(Into::into));
    for setting in SETTINGS {
        let switch = SWITCHES.iter().find(|(name, ..)| *name == setting.name);
        match switch {
            Some((name, on, off)) if !settings.text(name)?.is_empty() => {
                command.extend(if settings.switch(name)? { on } else { off }.map(Into::into));
            }
            Some(_) => {}
            None => {
                for value in settings.list(setting.name)? {
                    command.extend([format!("--{}", setting.name).into(), value.into()]);
                }
            }
        }
    }
    Ok(Plan {
        command,
        env: BTreeMap::new(),
        cwd: None,
        check: None,
        ready: ReadyBy::Line { admin: true },
        logs: Vec::new(),
    })
}

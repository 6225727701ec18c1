//! How does Caddy stand in front of a server?

use std::collections::BTreeMap;

use super::super::error::LaunchError;
use super::super::settings::Setting;
use super::super::table::{Kind, Plan, Program, Row, Site, fill};

const SETTINGS: &[Setting] = &[
    Setting { name: "keepalive", default: "64", what: "idle upstream connections kept; 0 closes after each request" },
    Setting { name: "workers", default: "1", what: "processors it may use at once (GOMAXPROCS)" },
    Setting { name: "access-log", default: "on", what: "whether requests are logged, as JSON" },
    Setting { name: "read-timeout", default: "60s", what: "wait for the upstream's answer" },
];

pub(crate) const ROW: Row = Row {
    name: "caddy",
    what: "Caddy as reverse proxy over plain HTTP",
    kind: Kind::Proxy,
    stand_in: false,
    program: Some(Program {
        name: "caddy",
        version: &["version"],
        install: "`apt-get install caddy` or your system's package",
    }),
    settings: SETTINGS,
    plan,
};

fn plan(site: &Site) -> Result<Plan, LaunchError> {
    let settings = site.settings;
    let dir = site.dir_text()?;
    let keepalive = match settings.number("keepalive", 0, 100_000)? {
        0 => "keepalive off".to_owned(),
        idle => format!(
            "keepalive 60s\n            keepalive_idle_conns {idle}\n            keepalive_idle_conns_per_host {idle}"
        ),
    };
    let log = match settings.switch("access-log")? {
        true => format!(
            "log {{\n        output file \"{dir}/access.log\" {{\n            roll_disabled\n        }}\n    }}"
        ),
        false => String::new(),
    };
    let file = site.write(
        "Caddyfile",
        &fill(
            include_str!("../templates/Caddyfile"),
            &[
                ("dir", dir),
                ("port", &site.port.to_string()),
                ("log", &log),
                ("upstream", site.upstream),
                ("keepalive", &keepalive),
                ("read_timeout", &settings.token("read-timeout")?),
            ],
        ),
    )?;
    let command = |word: &str| -> Vec<std::ffi::OsString> {
        vec![
            site.program.as_os_str().to_owned(),
            word.into(),
            "--config".into(),
            file.clone().into(),
            "--adapter".into(),
            "caddyfile".into(),
        ]
    };
    // It keeps state below these folders, also when it only checks.
    let env = BTreeMap::from([
        ("HOME".to_owned(), site.dir.into()),
        ("XDG_DATA_HOME".to_owned(), site.dir.join("data").into()),
        ("XDG_CONFIG_HOME".to_owned(), site.dir.join("config").into()),
        ("GOMAXPROCS".to_owned(), settings.number("workers", 1, 256)?.to_string().into()),
    ]);
    Ok(Plan {
        command: command("run"),
        env,
        cwd: None,
        check: Some((command("validate"), file.clone())),
        ready: site.ready.clone(),
        logs: vec![site.dir.join("access.log")],
    })
}

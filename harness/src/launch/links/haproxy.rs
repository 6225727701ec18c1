//! How does HAProxy stand in front of a server?

use std::collections::BTreeMap;

use super::super::error::LaunchError;
use super::super::settings::Setting;
use super::super::table::{Kind, Plan, Program, Row, Site, fill};

const SETTINGS: &[Setting] = &[
    Setting { name: "keepalive", default: "64", what: "idle upstream connections kept; 0 closes after each request" },
    Setting { name: "workers", default: "1", what: "threads" },
    Setting { name: "access-log", default: "on", what: "whether requests are logged, in the format `httplog`" },
    Setting { name: "read-timeout", default: "60s", what: "wait for the upstream's answer" },
];

pub(crate) const ROW: Row = Row {
    name: "haproxy",
    what: "HAProxy in HTTP mode, upstream connections reused safely",
    kind: Kind::Proxy,
    stand_in: false,
    program: Some(Program {
        name: "haproxy",
        version: &["-v"],
        install: "`apt-get install haproxy` or your system's package",
    }),
    settings: SETTINGS,
    plan,
};

fn plan(site: &Site) -> Result<Plan, LaunchError> {
    let settings = site.settings;
    let keepalive = settings.number("keepalive", 0, 100_000)?.to_string();
    let (connections, pool) = match keepalive.as_str() {
        "0" => ("option http-server-close\n    http-reuse never", String::new()),
        idle => ("option http-keep-alive\n    http-reuse safe", format!("pool-max-conn {idle} pool-purge-delay 60s")),
    };
    let log = if settings.switch("access-log")? { "option httplog" } else { "no log" };
    let file = site.write(
        "haproxy.cfg",
        &fill(
            include_str!("../templates/haproxy.cfg"),
            &[
                ("workers", &settings.number("workers", 1, 64)?.to_string()),
                ("log", log),
                ("connections", connections),
                ("read_timeout", &settings.token("read-timeout")?),
                ("port", &site.port.to_string()),
                ("upstream", site.upstream),
                ("pool", &pool),
            ],
        ),
    )?;
    let program = site.program.as_os_str().to_owned();
    Ok(Plan {
        command: vec![program.clone(), "-db".into(), "-f".into(), file.clone().into()],
        env: BTreeMap::new(),
        cwd: None,
        check: Some((vec![program, "-c".into(), "-f".into(), file.clone().into()], file)),
        ready: site.ready.clone(),
        logs: Vec::new(),
    })
}

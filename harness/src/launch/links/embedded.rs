//! How does our own proxy stand in front of a server?

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::super::error::LaunchError;
use super::super::ready::ReadyBy;
use super::super::settings::Setting;
use super::super::table::{Kind, Plan, Row, Site};

const SETTINGS: &[Setting] = &[
    Setting { name: "keepalive", default: "on", what: "whether upstream connections are kept" },
    Setting { name: "delay", default: "", what: "added before each request is passed on, such as `2ms`" },
    Setting { name: "threads", default: "1", what: "threads, each with a loop of its own" },
    Setting { name: "access-log", default: "on", what: "whether requests are logged, without headers and query" },
    Setting { name: "flaw", default: "", what: "one deliberate fault or a list, see `assay list flaws`" },
];

pub(crate) const ROW: Row = Row {
    name: "embedded-proxy",
    what: "our own small reverse proxy: a stand-in where no real one is installed",
    kind: Kind::Proxy,
    stand_in: true,
    program: None,
    settings: SETTINGS,
    plan,
};

fn plan(site: &Site) -> Result<Plan, LaunchError> {
    let settings = site.settings;
    let mut command: Vec<OsString> = vec![site.assay.into(), "proxy".into()];
    let mut flag = |name: &str, value: String| {
        command.push(format!("--{name}").into());
        command.push(value.into());
    };
    flag("port", site.port.to_string());
    flag("upstream", format!("http://{}", site.upstream));
    flag("keepalive", if settings.switch("keepalive")? { "on" } else { "off" }.to_owned());
    flag("threads", settings.number("threads", 1, 64)?.to_string());
    let delay = settings.text("delay")?;
    if !delay.is_empty() {
        flag("delay", delay);
    }
    let access = site.dir.join("access.log");
    if settings.switch("access-log")? {
        flag("access-log", access.to_string_lossy().into_owned());
    }
    for name in settings.list("flaw")? {
        flag("flaw", name);
    }
    Ok(Plan {
        command,
        env: BTreeMap::new(),
        cwd: None,
        check: None,
        ready: ReadyBy::Line { admin: false },
        logs: vec![access],
    })
}

//! How does nginx stand in front of a server?

use std::collections::BTreeMap;

use super::super::error::LaunchError;
use super::super::settings::Setting;
use super::super::table::{Kind, Plan, Program, Row, Site, fill, plain_path};

const SETTINGS: &[Setting] = &[
    Setting {
        name: "keepalive",
        default: "64",
        what: "idle upstream connections kept per worker; 0 closes after each request",
    },
    Setting {
        name: "upstream-http",
        default: "1.1",
        what: "1.1 or 1.0: with 1.0 nginx behaves as without any tuning, and keeps no upstream connection",
    },
    Setting { name: "workers", default: "1", what: "worker processes" },
    Setting { name: "access-log", default: "on", what: "whether requests are logged, in the format `combined`" },
    Setting { name: "buffering", default: "on", what: "whether replies are buffered" },
    Setting { name: "header-buffers", default: "4 8k", what: "`large_client_header_buffers`: number and size" },
    Setting { name: "static", default: "", what: "a folder served under `static-path`" },
    Setting { name: "static-path", default: "/static/", what: "where the folder is served" },
    Setting { name: "read-timeout", default: "60s", what: "wait for the upstream's answer" },
];

pub(crate) const ROW: Row = Row {
    name: "nginx",
    what: "nginx as reverse proxy, upstream keep-alive on",
    kind: Kind::Proxy,
    stand_in: false,
    program: Some(Program {
        name: "nginx",
        version: &["-v"],
        install: "`apt-get install nginx` or your system's package",
    }),
    settings: SETTINGS,
    plan,
};

fn plan(site: &Site) -> Result<Plan, LaunchError> {
    let settings = site.settings;
    let keepalive = settings.number("keepalive", 0, 100_000)?;
    let http = settings.word("upstream-http", &["1.1", "1.0"])?;
    let workers = settings.number("workers", 1, 256)?.to_string();
    let dir = site.dir_text()?;
    let access = match settings.switch("access-log")? {
        true => format!("\"{dir}/access.log\" combined"),
        false => "off".to_owned(),
    };
    let pool = match (keepalive, http.as_str()) {
        (0, _) | (_, "1.0") => String::new(),
        (idle, _) => format!("keepalive {idle};\n        keepalive_requests 1000000;\n        keepalive_timeout 60s;"),
    };
    // Without this header nginx sends `Connection: close` upstream, whatever the pool says.
    let connection = if pool.is_empty() { "" } else { "proxy_set_header Connection \"\";" };
    let buffers = settings.text("header-buffers")?;
    if !buffers.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ') {
        return Err(settings.bad("header-buffers", "a number and a size such as `4 8k`", &buffers.clone().into()));
    }
    let location = match settings.text("static")?.as_str() {
        "" => String::new(),
        folder => {
            // `process` may have filled in a folder of this run; anything else is relative to the scenario.
            let folder = site.base.join(folder);
            format!(
                "location {} {{\n            alias \"{}/\";\n        }}",
                settings.token("static-path")?,
                plain_path(&folder)?
            )
        }
    };
    // Only root may change the user; and a worker of another user could not write into the run's folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    for temporary in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = site.dir.join(temporary);
        std::fs::create_dir_all(&path).map_err(LaunchError::io(format!("creating {}", path.display())))?;
    }
    let file = site.write(
        "nginx.conf",
        &fill(
            include_str!("../templates/nginx.conf"),
            &[
                ("user", user),
                ("workers", &workers),
                ("dir", dir),
                ("access_log", &access),
                ("upstream", site.upstream),
                ("pool", &pool),
                ("port", &site.port.to_string()),
                ("http", &http),
                ("connection", connection),
                ("buffering", &settings.word("buffering", &["on", "off"])?),
                ("header_buffers", &buffers),
                ("read_timeout", &settings.token("read-timeout")?),
                ("static", &location),
            ],
        ),
    )?;
    let command = |extra: &[&str]| {
        let mut command = vec![site.program.as_os_str().to_owned()];
        for argument in ["-e", "stderr", "-p"] {
            command.push(argument.into());
        }
        command.push(site.dir.into());
        command.push("-c".into());
        command.push(file.as_os_str().to_owned());
        command.extend(extra.iter().map(Into::into));
        command
    };
    Ok(Plan {
        command: command(&[]),
        env: BTreeMap::new(),
        cwd: None,
        check: Some((command(&["-t", "-q"]), file.clone())),
        ready: site.ready.clone(),
        logs: vec![site.dir.join("access.log")],
    })
}

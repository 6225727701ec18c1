//! How does the proxy of a topology behave in front of another server? The same proxies once more, beside those that run.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use super::deployment::{Deployment, Live, PORT_TRIES, READY_WITHIN, folder_for};
use super::error::LaunchError;
use super::process::{Process, Spec};
use super::ready::{ReadyBy, reserve_port};
use super::table::{Kind, Site};

/// The proxies of a chain once more, with the same settings, in front of something else. Dropping it ends them.
#[derive(Debug)]
pub struct Twin {
    url: String,
    /// Outermost last.
    processes: Vec<Process>,
}

impl Twin {
    /// Where the outermost proxy is reached.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        while self.processes.pop().is_some() {}
    }
}

impl Deployment {
    /// Whether a proxy stands in front, and all that do are of a kind that we can start as often as we like.
    pub fn has_own_proxies(&self) -> bool {
        let ours = |live: &Live| live.planned.row.kind == Kind::Proxy && live.planned.asked.is_none();
        self.links.len() > 1 && self.links.iter().skip(1).all(ours)
    }

    /// Starts the proxies once more, in front of this address, which has to answer a GET of `/` meanwhile.
    ///
    /// # Errors
    /// What keeps a proxy from starting.
    pub fn twin(&self, upstream: SocketAddr, cancel: &AtomicBool) -> Result<Twin, LaunchError> {
        let mut twin = Twin { url: format!("http://{upstream}"), processes: Vec::new() };
        for live in self.links.iter().skip(1) {
            let (process, url) = self.once_more(live, authority(&twin.url), cancel)?;
            twin.processes.push(process);
            twin.url = url;
        }
        Ok(twin)
    }

    fn once_more(&self, live: &Live, upstream: &str, cancel: &AtomicBool) -> Result<(Process, String), LaunchError> {
        let planned = &live.planned;
        let dir = folder_for(self.run_dir(), &format!("{}-twin", planned.name))?;
        let run_dir = self.run_dir().to_string_lossy();
        let settings = planned.settings.with_run_dir(&run_dir);
        let ready = ReadyBy::Http { method: "GET".to_owned(), path: "/".to_owned(), statuses: Vec::new() };
        let mut tries = 0;
        loop {
            tries += 1;
            let port = reserve_port().map_err(LaunchError::io("choosing a port"))?;
            let site = Site {
                assay: &self.assay,
                program: &planned.program,
                settings: &settings,
                port,
                upstream,
                dir: &dir,
                base: &self.base,
                ready: &ready,
            };
            let plan = (planned.row.plan)(&site)?;
            // Its log lies in its own folder: what the twin is asked is no business of the logs that are examined.
            let spec = Spec {
                name: planned.name.clone(),
                command: plan.command,
                env: plan.env,
                cwd: plan.cwd,
                log: dir.join("output.log"),
                cpus: self.cpus.clone(),
            };
            let mut process = Process::start(&self.assay, &spec)?;
            match process.wait_ready(&plan.ready, port, READY_WITHIN, cancel) {
                Ok(told) => return Ok((process, told.url.unwrap_or_else(|| format!("http://127.0.0.1:{port}")))),
                Err(LaunchError::PortInUse { .. }) if tries < PORT_TRIES => {}
                Err(why) => return Err(why),
            }
        }
    }
}

/// `127.0.0.1:8080` of `http://127.0.0.1:8080`.
fn authority(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

//! How are the servers of the matrix started? By the launcher, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Map, Value, json};

use crate::launch::{LaunchOptions, Launcher, Start};
use crate::scenario::Topology;

use super::{Running, Setup, Side};

/// Starts reference servers, and embedded proxies in front of them, as processes of our own binary.
pub struct Servers {
    launcher: Launcher,
    folder: PathBuf,
    started: AtomicUsize,
}

impl Servers {
    /// For a folder that gets their logs. `assay`: our own binary.
    pub fn new(assay: &Path, folder: &Path) -> Servers {
        Servers {
            launcher: Launcher::new(LaunchOptions { logs: folder.to_owned(), assay: assay.to_owned(), cpus: None }),
            folder: folder.to_owned(),
            started: AtomicUsize::new(0),
        }
    }

    /// Starts a server as a cell of the matrix asks for it.
    ///
    /// # Errors
    /// What the launcher says.
    pub fn start(&self, setup: &Setup, cancel: &AtomicBool) -> Result<Running, String> {
        let topology: Topology = serde_json::from_value(chain(setup)).map_err(|e| format!("the chain: {e}"))?;
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let start = Start { cancel, ..Start::plain(&self.folder) };
        let deployment = self.launcher.up(&format!("server-{number}"), &topology, &start).map_err(|e| e.to_string())?;
        Ok(Running {
            url: deployment.url().to_owned(),
            admin: deployment.admin_url().map(str::to_owned),
            peer: setup.proxied.then(|| deployment.inner_url().to_owned()),
            logs: deployment.logs(),
            deployment,
        })
    }
}

/// The chain of a topology, as a scenario would write it.
fn chain(setup: &Setup) -> Value {
    let mut server: Map<String, Value> =
        setup.settings.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect();
    server.insert("alg".to_owned(), Value::from(setup.algorithm.clone()));
    let mut proxy = Map::new();
    match setup.flaw {
        Some((Side::Server, flaw)) => server.insert("flaw".to_owned(), Value::from(flaw)),
        Some((Side::Proxy, flaw)) => proxy.insert("flaw".to_owned(), Value::from(flaw)),
        None => None,
    };
    let server = json!({"reference-server": server});
    if setup.proxied { json!([server, {"embedded-proxy": proxy}]) } else { json!([server]) }
}

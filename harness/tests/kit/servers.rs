//! Servers for tests, each on a port of its own and ended with the value that stands for it.
#![allow(dead_code, reason = "every test file takes the part that it needs")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use assay::launch::{Deployment, LaunchError, LaunchOptions, Launcher, ProfileStart, Start};
use assay::target;

pub const ASSAY: &str = env!("CARGO_BIN_EXE_assay");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness is a folder of the workspace")
}

/// `assay serve` with these arguments.
pub struct Serve {
    pub url: String,
    child: Child,
}

impl Serve {
    pub fn start(arguments: &[&str]) -> Serve {
        let mut child = Command::new(ASSAY)
            .args(["serve", "--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("our own program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("its first line");
        let url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        Serve { url, child }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server of scenarios/NAME by its profile, or the reason why it cannot run on this machine.
pub fn real(name: &str, logs: &Path) -> Result<Deployment, String> {
    chain(name, serde_json::json!(["process"]), logs)
}

/// A chain that begins with a server of scenarios/NAME.
pub fn chain(name: &str, links: serde_json::Value, logs: &Path) -> Result<Deployment, String> {
    let folder = root().join("scenarios").join(name);
    let profile = target::load("profile.yaml", None, &folder).unwrap_or_else(|e| panic!("{name}: {e}"));
    let start = profile.start.clone().expect("the profile says how to start it");
    let launcher = Launcher::new(LaunchOptions { logs: logs.to_owned(), assay: PathBuf::from(ASSAY), cpus: None });
    let mut how = Start::plain(&folder);
    how.processes = BTreeMap::from([(profile.name.clone(), ProfileStart { start, dir: folder.clone() })]);
    let topology = serde_json::from_value(links).expect("a chain");
    match launcher.up(name, &topology, &how) {
        Ok(deployment) => Ok(deployment),
        // Python, venv or the package index are not there: nothing that this repository could mend.
        Err(why @ (LaunchError::NotInstalled { .. } | LaunchError::Prepare { .. })) => Err(why.to_string()),
        Err(why) => panic!("{name}: {why}"),
    }
}

/// Says that a test could not look.
pub fn pass_over(what: &str, why: &str) {
    let line = why.lines().next().unwrap_or_default();
    // Tests run as users run them: this is what they read.
    #[allow(clippy::print_stderr, reason = "a test that looks at nothing has to say so")]
    {
        eprintln!("PASSED OVER: {what}: {line}");
    }
}

/// Runs `assay` in a folder.
pub fn assay(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(ASSAY)
        .args(arguments)
        .current_dir(folder)
        .env_remove("ASSAY_PASSWORD")
        .stdin(Stdio::null())
        .output()
        .expect("our own program starts")
}

/// What a program said, for messages.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

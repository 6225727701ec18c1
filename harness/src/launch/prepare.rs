//! What has to be there before a server of the user's own starts? A virtual environment, made once and kept.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::error::LaunchError;
use super::process::{Process, Spec, describe};
use super::table::find;
use crate::clock;
use crate::scenario::Prepare;

/// A virtual environment of a hundred packages takes a minute; more than this is a network that does not answer.
const VENV_WITHIN: Duration = Duration::from_secs(600);
/// Migrations and the like.
pub(super) const COMMAND_WITHIN: Duration = Duration::from_secs(120);
/// A file that says that an environment is complete.
const COMPLETE: &str = "assay-complete";

/// Where prepared things are kept: `$ASSAY_CACHE`, else `$XDG_CACHE_HOME/assay`, else `~/.cache/assay`.
fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("ASSAY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("assay")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/assay")))
        .unwrap_or_else(|| std::env::temp_dir().join("assay-cache"))
}

/// The folder of the virtual environment for these requirements; makes it if it is not there yet.
pub(super) fn venv(
    assay: &Path,
    name: &str,
    prepare: &Prepare,
    app_dir: &Path,
    log_dir: &Path,
    on_progress: &dyn Fn(&str),
    cancel: &AtomicBool,
) -> Result<Option<PathBuf>, LaunchError> {
    let Some(file) = &prepare.venv else { return Ok(None) };
    let requirements = app_dir.join(file);
    let text = std::fs::read(&requirements)
        .map_err(LaunchError::io(format!("reading the requirements {}", requirements.display())))?;
    let wanted = prepare.python.as_deref().unwrap_or("python3");
    let python = find(wanted).ok_or_else(|| LaunchError::NotInstalled {
        program: wanted.to_owned(),
        hint: "`apt-get install python3 python3-venv` or your system's package".to_owned(),
    })?;
    // Another interpreter needs another environment: its libraries are in a folder of its version.
    let asked = Command::new(&python)
        .args(["-c", "import sys; print(sys.implementation.cache_tag, sys.base_prefix)"])
        .stdin(Stdio::null())
        .output()
        .map_err(LaunchError::io(format!("asking {} for its version", python.display())))?;
    let mut hash = Sha256::new();
    hash.update(&asked.stdout);
    hash.update(&text);
    let digest: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache().join("venv").join(&digest);
    if folder.join(COMPLETE).is_file() {
        return Ok(Some(folder));
    }

    let wrong = |what: &str| LaunchError::io(format!("{what} {}", folder.display()));
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(wrong("creating"))?;
    // Two runs at once: the second waits for the first, then finds it complete.
    let lock = std::fs::File::create(parent.join(format!("{digest}.lock"))).map_err(wrong("locking"))?;
    while rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        if cancel.load(Ordering::Relaxed) {
            return Err(LaunchError::Cancelled(name.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if folder.join(COMPLETE).is_file() {
        return Ok(Some(folder));
    }
    // What an interrupted attempt left behind is not worth mending.
    match std::fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(wrong("clearing")(e)),
        _ => {}
    }
    on_progress(&format!("preparing a virtual environment for {name} from {} (once)", requirements.display()));
    let log = log_dir.join("prepare.log");
    let step = |command: Vec<OsString>, what: &str| {
        let spec = Spec {
            name: name.to_owned(),
            command,
            env: BTreeMap::new(),
            cwd: Some(app_dir.to_owned()),
            log: log.clone(),
            cpus: Vec::new(),
        };
        run(assay, &spec, what, VENV_WITHIN, cancel)
    };
    let words = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<OsString>>();
    step(
        [vec![python.into()], words(&["-m", "venv"]), vec![folder.clone().into()]].concat(),
        "making the virtual environment",
    )?;
    on_progress(&format!("installing the requirements of {name}"));
    let install = words(&["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--requirement"]);
    step(
        [vec![folder.join("bin/python").into()], install, vec![requirements.into()]].concat(),
        "installing the requirements",
    )?;
    std::fs::write(folder.join(COMPLETE), &text).map_err(wrong("completing"))?;
    on_progress(&format!("the virtual environment of {name} is ready"));
    Ok(Some(folder))
}

/// What the user can do about a failed installation.
fn hint_of(said: &str) -> Option<String> {
    let lower = said.to_ascii_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if any(&[
        "temporary failure in name resolution",
        "failed to establish",
        "network is unreachable",
        "connection refused",
        "read timed out",
        "max retries exceeded",
        "connectionerror",
        "newconnectionerror",
    ]) {
        return Some(
            "the package index was not reached: it is needed once; connect, or set PIP_INDEX_URL to a mirror, or PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder of wheels"
                .to_owned(),
        );
    }
    if any(&["ensurepip is not", "python3-venv"]) {
        return Some("`apt-get install python3-venv` or your system's package".to_owned());
    }
    if any(&["no matching distribution", "could not find a version"]) {
        return Some(
            "the index does not offer this version: compare the requirements with it, or with your Python".to_owned(),
        );
    }
    None
}

/// Runs a command that comes before a start, below a guard of its own, until it ends well.
pub(super) fn run(
    assay: &Path,
    spec: &Spec,
    step: &str,
    within: Duration,
    cancel: &AtomicBool,
) -> Result<(), LaunchError> {
    let failed = |problem: String| LaunchError::Prepare {
        name: spec.name.clone(),
        step: step.to_owned(),
        hint: hint_of(&problem),
        problem,
    };
    let asked = clock::mono();
    let mut process = Process::start(assay, spec)?;
    loop {
        if let Some(status) = process.exited() {
            return match status.success() {
                true => Ok(()),
                false => Err(failed(format!(
                    "{}; its last lines in {}:\n{}",
                    describe(status),
                    spec.log.display(),
                    process.tail()
                ))),
            };
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(LaunchError::Cancelled(spec.name.clone()));
        }
        if clock::mono().since(asked).duration() > within {
            return Err(failed(format!("it took longer than {within:?}; its last lines:\n{}", process.tail())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_out_of_reach_is_explained() {
        let said = "WARNING: Retrying ... Failed to establish a new connection: [Errno -3] Temporary failure in name resolution";
        assert!(hint_of(said).expect("hint").contains("PIP_INDEX_URL"));
        assert!(hint_of("ERROR: No matching distribution found for django==99").expect("hint").contains("version"));
        assert_eq!(hint_of("SyntaxError"), None);
    }
}

//! Why did a server or proxy not start?

use std::path::PathBuf;
use std::time::Duration;

/// Why a topology could not be brought up. None of these is the target's fault.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A program that the topology needs is not on this machine: leave the topology out with a note.
    #[error("`{program}` is not installed; hint: {hint}")]
    NotInstalled {
        /// The program looked for.
        program: String,
        /// How it is installed.
        hint: String,
    },
    /// The chain names something that nobody knows.
    #[error("expected a server or proxy, saw `{name}`{}", did_you_mean(suggestion, known))]
    UnknownLink {
        /// As written.
        name: String,
        /// The nearest known name.
        suggestion: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// A link has a setting that it does not understand.
    #[error("`{link}` has no setting `{name}`{}", did_you_mean(suggestion, known))]
    UnknownSetting {
        /// The link.
        link: String,
        /// The setting as written.
        name: String,
        /// The nearest known setting.
        suggestion: Option<String>,
        /// All settings of the link.
        known: Vec<String>,
    },
    /// A setting has a value that makes no sense.
    #[error("setting `{setting}` of `{link}`: expected {expected}, saw `{seen}`")]
    BadSetting {
        /// The link.
        link: String,
        /// The setting.
        setting: String,
        /// What was expected.
        expected: String,
        /// As written.
        seen: String,
    },
    /// The chain is not a server with proxies in front.
    #[error(
        "topology `{topology}`: {problem}; hint: write the server first and the outermost proxy last, as in `[reference-server, nginx]`"
    )]
    BadChain {
        /// The topology.
        topology: String,
        /// What is wrong.
        problem: String,
    },
    /// The program's own check refused the configuration that we wrote.
    #[error("`{program}` refuses the configuration {}:\n{output}", file.display())]
    ConfigRefused {
        /// The program.
        program: String,
        /// The configuration.
        file: PathBuf,
        /// What it said, at most some lines.
        output: String,
    },
    /// It ended before it was ready.
    #[error("`{name}` ended with {status} before it was ready; its last lines in {}:\n{tail}", log.display())]
    Died {
        /// The process.
        name: String,
        /// Exit code or signal.
        status: String,
        /// The log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It did not become ready in time.
    #[error("`{name}` was not ready within {waited:?} ({last}); its last lines in {}:\n{tail}", log.display())]
    NotReady {
        /// The process.
        name: String,
        /// The limit.
        waited: Duration,
        /// What the last probe saw.
        last: String,
        /// The log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Every port that we tried was taken by others between our choice and its start.
    #[error("`{name}` found its port in use {tries} times; its last lines in {}:\n{tail}", log.display())]
    PortInUse {
        /// The process.
        name: String,
        /// How often.
        tries: u32,
        /// The log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A step before the start failed.
    #[error("preparing `{name}`: {step} failed: {problem}{}", hint.as_ref().map(|h| format!("; hint: {h}")).unwrap_or_default())]
    Prepare {
        /// The process.
        name: String,
        /// The step.
        step: String,
        /// What was seen.
        problem: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// The user asked to stop.
    #[error("interrupted while `{0}` was starting")]
    Cancelled(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LaunchError {
    /// Whether the topology may be left out with a note instead of failing the run.
    pub fn is_not_installed(&self) -> bool {
        matches!(self, LaunchError::NotInstalled { .. })
    }

    /// Whether the scenario or its settings are at fault: exit code 2 instead of 3.
    pub fn is_usage(&self) -> bool {
        use LaunchError::{BadChain, BadSetting, UnknownLink, UnknownSetting};
        matches!(self, UnknownLink { .. } | UnknownSetting { .. } | BadSetting { .. } | BadChain { .. })
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> LaunchError {
        let what = what.into();
        move |source| LaunchError::Io { what, source }
    }
}

fn did_you_mean(suggestion: &Option<String>, known: &[String]) -> String {
    match suggestion {
        Some(near) => format!("; hint: did you mean `{near}`?"),
        None if known.is_empty() => "; it takes none".to_owned(),
        None => format!("; hint: it knows {}", known.join(", ")),
    }
}

/// The known name nearest to what was written, if one is near enough to be a slip.
pub(super) fn nearest(written: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name.clone())
}

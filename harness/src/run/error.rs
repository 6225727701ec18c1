//! Why did a run end early, and what does the process answer then?

use crate::launch::LaunchError;
use crate::load::LoadError;
use crate::record::{ExitCode, StoreError};
use crate::stats::HistogramError;
use crate::target::{TargetError, TemplateError};
use crate::wire::WireError;

/// Why a run ended before its last step.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A topology did not come up, or died.
    #[error("topology `{topology}`: {source}")]
    Launch {
        /// Which.
        topology: String,
        /// Why.
        source: Box<LaunchError>,
    },
    /// The target cannot be spoken to.
    #[error("topology `{topology}`: {source}")]
    Target {
        /// Which.
        topology: String,
        /// Why.
        source: Box<TargetError>,
    },
    /// The target cannot be reached.
    #[error(
        "topology `{topology}`: the target at {url} cannot be reached: {source}; hint: is it up, and is the address right?"
    )]
    Unreachable {
        /// Which.
        topology: String,
        /// The address.
        url: String,
        /// Why.
        source: WireError,
    },
    /// The target answers, but not as the profile says.
    #[error("topology `{topology}`: {problem}")]
    Unexpected {
        /// Which.
        topology: String,
        /// Expected, seen, hint.
        problem: String,
    },
    /// A load could not be driven.
    #[error("topology `{topology}`: {source}")]
    Load {
        /// Which.
        topology: String,
        /// Why.
        source: Box<LoadError>,
    },
    /// The record could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A histogram of ours cannot be read again.
    #[error("internal error: {0}")]
    Histogram(#[from] HistogramError),
    /// A mistake of ours.
    #[error("internal error: {0}")]
    Internal(String),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl RunError {
    pub(super) fn launch(topology: &str) -> impl FnOnce(LaunchError) -> RunError {
        move |source| match source {
            LaunchError::Cancelled(_) => RunError::Interrupted,
            source => RunError::Launch { topology: topology.to_owned(), source: Box::new(source) },
        }
    }

    pub(super) fn target(topology: &str) -> impl FnOnce(TargetError) -> RunError {
        move |source| RunError::Target { topology: topology.to_owned(), source: Box::new(source) }
    }

    pub(super) fn load(topology: &str) -> impl FnOnce(LoadError) -> RunError {
        move |source| match source {
            LoadError::Cancelled => RunError::Interrupted,
            source => RunError::Load { topology: topology.to_owned(), source: Box::new(source) },
        }
    }

    /// What the process answers.
    pub fn exit(&self) -> ExitCode {
        match self {
            RunError::Usage(_) => ExitCode::Usage,
            RunError::Launch { source, .. } if source.is_usage() => ExitCode::Usage,
            RunError::Target { source, .. } if refused(source) => ExitCode::Usage,
            RunError::Load { source, .. } => match **source {
                LoadError::Usage(_) => ExitCode::Usage,
                LoadError::Internal(_) | LoadError::Machine(_) => ExitCode::Harness,
                _ => ExitCode::Target,
            },
            RunError::Launch { .. }
            | RunError::Target { .. }
            | RunError::Unreachable { .. }
            | RunError::Unexpected { .. } => ExitCode::Target,
            RunError::Store(_) | RunError::Histogram(_) | RunError::Internal(_) => ExitCode::Harness,
            RunError::Interrupted => ExitCode::Interrupted,
        }
    }
}

/// Whether it is a mistake of the user's: an address that was refused before anything was sent, a key that is not where the profile
/// says, a variable that is not set.
fn refused(error: &TargetError) -> bool {
    matches!(
        error,
        TargetError::Address(WireError::Address { .. } | WireError::NotAllowed { .. })
            | TargetError::Key(_)
            | TargetError::Template { source: TemplateError::Environment(_), .. }
    )
}

//! What do the loops of one drive share, and what does each hand back?

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::sync::{Arc, Barrier};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;

use super::LoadError;
use super::flow::{Counts, Step};
use super::found::Found;
use super::plan::{Pacer, Purpose, StopRule, uniform};
use super::recorder::{Failure, IntervalSamples};
use super::sampled::Look;
use super::script::{Role, Script, Spoil};
use super::session::{Session, Sessions};
use crate::scenario::{Idle, Protocol};
use crate::target::{Issued, Target, TokenUse, Vars};
use crate::units::Nanos;

/// Who decides when the next request is due.
#[derive(Clone, Debug)]
pub(crate) enum Model {
    Open(Pacer),
    Closed { users: u32, think: Nanos },
}

/// What all loops of a drive share and only read.
pub(crate) struct Shared<'a> {
    pub scripts: Vec<Script>,
    /// Which token each script presents.
    pub uses: Vec<TokenUse>,
    /// Upper ends of the scripts' shares of the mix, the last one 1.
    pub mix: Vec<f64>,
    pub target: Option<&'a Target>,
    pub others: Vec<String>,
    pub lifetime_s: Option<f64>,
    pub addr: SocketAddr,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub model: Model,
    pub stop: StopRule,
    pub seed: u64,
    pub timeout: Nanos,
    pub idle: Idle,
    pub overshoot: Nanos,
    pub expired: f64,
    pub tampered: f64,
    pub revoked: f64,
    /// Which token the share of revoked ones is of.
    pub revoked_use: TokenUse,
    pub lead: Nanos,
    /// Whether chores may refresh, or have to log in.
    pub can_refresh: bool,
    /// Requests on their way at once on one connection; above one with HTTP/2 only.
    pub streams: u32,
    pub protocol: Protocol,
    /// Replies per second that the verifier is given, all loops together.
    pub sample: u32,
    /// Control operations as a share of the load; none at zero.
    pub control: f64,
    /// The claim that names the user, and its hash in the tokens of the load's own user where that is known.
    pub subject_claim: String,
    pub subject: Option<u64>,
    /// How many loops there are.
    pub loops: usize,
    /// Seconds in which a window of a threshold begins or ends.
    pub cut_seconds: Vec<u32>,
    /// The steps of a flow; none where there is a mix.
    pub flow: Vec<Step>,
    /// Whether a refresh may end the access token before it.
    pub refresh_kills: bool,
    /// Set once, after all connections stand.
    pub start: AtomicU64,
    pub ready: Barrier,
    pub cancel: AtomicBool,
}

impl Shared<'_> {
    /// The script of arrival `n`.
    pub fn operation(&self, n: u64) -> usize {
        let u = uniform(self.seed, n, Purpose::Operation);
        self.mix.iter().position(|upper| u < *upper).unwrap_or(self.mix.len() - 1)
    }

    /// Whether the token of arrival `n` is spoilt, for an operation that presents this kind of token.
    pub fn spoil(&self, n: u64, uses: TokenUse, role: Role, sessions: &Sessions) -> Spoil {
        if self.expired + self.tampered + self.revoked == 0.0 {
            return Spoil::None;
        }
        let u = uniform(self.seed, n, Purpose::Spoil);
        let (expired, tampered) = (self.expired, self.expired + self.tampered);
        if u >= tampered && u < tampered + self.revoked {
            let fits = uses == self.revoked_use && !sessions.revoked.is_empty();
            return if fits { Spoil::Revoked } else { Spoil::None };
        }
        // Spoilt refresh tokens would cost their session; the verify ways get them.
        if role != Role::Present || u >= tampered {
            Spoil::None
        } else if u >= expired {
            Spoil::Tampered
        } else if !sessions.expired.is_empty() {
            Spoil::Expired
        } else {
            Spoil::None
        }
    }
}

/// What a loop shows while it runs, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Live {
    pub completed: AtomicU64,
    pub failed: AtomicU64,
    pub in_flight: AtomicU64,
}

/// Something to do for a session off the timed path.
#[derive(Debug)]
pub(crate) struct Chore {
    pub worker: usize,
    pub session: u32,
    /// Refresh with these values, the refresh token among them; a login where absent.
    pub refresh: Option<Vars>,
}

/// When tokens were asked for and received, on the clock of [`crate::clock::mono`]. A server counts their lifetime from a
/// moment between the two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchanged {
    pub sent: Nanos,
    pub received: Nanos,
}

/// What came of a chore.
pub(crate) type Renewed = (u32, Option<(Issued, Exchanged)>);

/// What a loop hands back.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub sessions: Sessions,
    /// Users of a closed model that never sent a request: nothing was ever free for them.
    pub never_started: u64,
    /// Recorded arrivals that were sent by the end.
    pub sent: u64,
    /// Time in which there was work, since recording began.
    pub busy: Nanos,
    /// CPU since recording began.
    pub cpu: Nanos,
    /// What the thread had used when it did.
    pub cpu_before: Option<Nanos>,
    pub examples: Vec<(u16, Failure, String)>,
    /// Failures that were ours: descriptors, ports.
    pub ours: Option<String>,
    /// Replies with bytes behind their body.
    pub extra_bytes: u64,
    /// Requests sent again after a silent close.
    pub again: u64,
    /// Connections opened while it was recorded.
    pub opened: u64,
    /// What must not have been accepted and was.
    pub found: Found,
    /// How far flows came.
    pub flows: Counts,
    /// What operations of flows were expected to take, by script.
    pub expected: Vec<Option<Nanos>>,
    /// Sessions that still waited for a login or a refresh when the time was over.
    pub tired: u64,
}

/// What a loop hands back that could not be driven: its sessions are needed for the next try.
#[derive(Debug)]
pub(crate) struct Failed {
    pub error: LoadError,
    pub sessions: Vec<Session>,
}

impl Done {
    /// Whether a session can be chosen for an operation that presents this kind of token.
    pub fn presents(sessions: &[Session], uses: TokenUse) -> bool {
        match uses {
            TokenUse::Refresh => sessions.iter().any(|s| !s.refresh.is_empty()),
            _ => sessions.iter().any(|s| !s.access.is_empty()),
        }
    }
}

/// The ways between a loop and the collecting thread.
pub(crate) struct Lines {
    pub full: Sender<(usize, Box<IntervalSamples>)>,
    pub empty: Receiver<Box<IntervalSamples>>,
    pub chores: SyncSender<Chore>,
    pub renewed: Receiver<Renewed>,
    /// To the verifier, where there is one.
    pub samples: Option<SyncSender<Look>>,
}

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Nanos {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}

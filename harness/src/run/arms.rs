//! What runs for a run? Every topology with its deployment, its target and its sessions.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::ask::Ask;
use super::error::RunError;
use super::event::Event;
use super::preflight::{preflight, still_there};
use crate::launch::{CpuPlan, Deployment, LaunchOptions, Launcher, ProfileStart, Start};
use crate::load::Population;
use crate::record::{TopologyRecord, Warning};
use crate::scenario::Topology;
use crate::target::{Profile, Target};

/// A topology that is up.
pub(super) struct Armed {
    pub name: String,
    pub deployment: Deployment,
    pub target: Target,
    /// The same server without its proxies, where it has some.
    pub peer: Option<Target>,
    /// Whether we started its processes, on processors of our choice.
    pub started: bool,
    /// Its sessions, prepared when first needed.
    pub population: Option<Population>,
}

/// Everything that is up, and what had to be left out.
pub(super) struct Arms {
    pub list: Vec<Armed>,
    pub left_out: Vec<TopologyRecord>,
}

/// The profile's own start, under the name that a chain may use for it.
fn starts(profile: &Profile) -> BTreeMap<String, ProfileStart> {
    let own =
        profile.start.clone().map(|start| (profile.name.clone(), ProfileStart { start, dir: profile.folder.clone() }));
    own.into_iter().collect()
}

impl Arms {
    /// Starts every topology of the scenario. What is not installed is left out; the record says so.
    pub fn up(ask: &Ask<'_>, cpus: &CpuPlan, warnings: &mut Vec<Warning>) -> Result<Arms, RunError> {
        let launcher =
            Launcher::new(LaunchOptions { logs: ask.dir.logs(), assay: ask.assay.clone(), cpus: Some(cpus.clone()) });
        let mut arms = Arms { list: Vec::new(), left_out: Vec::new() };
        for (name, topology) in &ask.scenario.topologies {
            (ask.listen)(Event::Launching { topology: name, doing: "" });
            let progress = |doing: &str| (ask.listen)(Event::Launching { topology: name, doing });
            let start = Start {
                scenario_dir: &ask.folder,
                processes: starts(ask.profile),
                on_progress: &progress,
                cancel: ask.cancel,
            };
            match launcher.up(name, topology, &start) {
                Ok(deployment) => {
                    let armed = arm(ask, name, topology, deployment)?;
                    (ask.listen)(Event::Up { topology: name, url: armed.deployment.url() });
                    arms.list.push(armed);
                }
                Err(error) if error.is_not_installed() => {
                    let record = TopologyRecord {
                        name: name.clone(),
                        chain: chain(topology),
                        left_out: Some(error.to_string().replace("; hint: ", "; ")),
                        ..TopologyRecord::default()
                    };
                    let warning = Warning::new("left-out", format!("topology `{name}` was left out: {error}")).at(name);
                    (ask.listen)(Event::Warning(&warning));
                    warnings.push(warning);
                    arms.left_out.push(record);
                }
                Err(error) => return Err(RunError::launch(name)(error)),
            }
        }
        if arms.list.is_empty() {
            let why: Vec<&str> = arms.left_out.iter().filter_map(|t| t.left_out.as_deref()).collect();
            return Err(RunError::Unexpected {
                topology: ask.scenario.topologies.keys().cloned().collect::<Vec<_>>().join(", "),
                problem: format!("nothing can be started: {}", why.join("; ")),
            });
        }
        Ok(arms)
    }

    /// The place of a topology in the list, unless it was left out.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|arm| arm.name == name)
    }

    /// The first process that ended though nobody asked it to, or the first server of somebody else's that is gone.
    pub fn died(&mut self) -> Result<(), RunError> {
        for arm in &mut self.list {
            if let Some(source) = arm.deployment.died() {
                return Err(RunError::Launch { topology: arm.name.clone(), source: Box::new(source) });
            }
            if !arm.started {
                still_there(&arm.target).map_err(|error| RunError::Unexpected {
                    topology: arm.name.clone(),
                    problem: format!(
                        "the target at {} is gone: {error}; hint: its logs may say why",
                        arm.deployment.url()
                    ),
                })?;
            }
        }
        Ok(())
    }

    /// What is recorded of all topologies, in the order of the scenario.
    pub fn records(&self, ask: &Ask<'_>) -> Vec<TopologyRecord> {
        let up = self.list.iter().map(|arm| arm.deployment.record());
        let mut all: Vec<TopologyRecord> = up.chain(self.left_out.iter().cloned()).collect();
        all.sort_by_key(|record| ask.scenario.topologies.get_index_of(&record.name));
        all
    }
}

fn arm(ask: &Ask<'_>, name: &str, topology: &Topology, deployment: Deployment) -> Result<Armed, RunError> {
    let allowed = &ask.scenario.allow_remote;
    let target = preflight(name, ask.profile, deployment.url(), deployment.admin_url(), allowed)?;
    let peer = match deployment.inner_url() == deployment.url() {
        true => None,
        false => Some(preflight(name, ask.profile, deployment.inner_url(), deployment.admin_url(), allowed)?),
    };
    let started = matches!(topology, Topology::Chain(_));
    Ok(Armed { name: name.to_owned(), deployment, target, peer, started, population: None })
}

impl Armed {
    /// Restarts everything and meets it anew: addresses may have changed, tokens are gone.
    pub fn restart(&mut self, ask: &Ask<'_>) -> Result<(), RunError> {
        self.deployment.restart().map_err(RunError::launch(&self.name))?;
        let allowed = &ask.scenario.allow_remote;
        self.target = preflight(&self.name, ask.profile, self.deployment.url(), self.deployment.admin_url(), allowed)?;
        self.population = None;
        Ok(())
    }
}

/// The names of a chain.
fn chain(topology: &Topology) -> Vec<String> {
    use crate::scenario::Link;
    match topology {
        Topology::Running(running) => vec![running.url.clone()],
        Topology::Chain(links) => links
            .iter()
            .map(|link| match link {
                Link::Name(name) => name.clone(),
                Link::Settings(map) => map.keys().next().cloned().unwrap_or_default(),
            })
            .collect(),
    }
}

/// Whether the user asked to stop.
pub(super) fn stopped(cancel: &AtomicBool) -> Result<(), RunError> {
    match cancel.load(std::sync::atomic::Ordering::Relaxed) {
        true => Err(RunError::Interrupted),
        false => Ok(()),
    }
}

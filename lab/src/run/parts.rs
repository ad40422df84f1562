//! The parts of a lab as agents are asked for them.

use std::path::Path;

use super::call::Target;
use super::protocol::{Kind, Start, Unit};
use crate::plan::{Host, KEYS_FILE, LabPlan, Place, SeedFile, ServerPlan, Word};

/// A part of a lab, and where it is.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is for people.
    pub title: &'static str,
    /// Where it is, for people.
    pub place: String,
    pub(super) target: Target,
    pub(super) unit: Unit,
    /// Which of the plan's servers it is; none is the bridge.
    pub server: Option<usize>,
}

/// The bridge.
pub(super) fn bridge(plan: &LabPlan) -> Part {
    let kind = if plan.bridge.kernel { Kind::KernelBridge } else { Kind::Bridge };
    Part {
        title: "the bridge",
        place: plan.bridge.host.to_string(),
        target: Target { host: plan.bridge.host.clone(), mvpnet: plan.bridge.mvpnet.clone() },
        unit: Unit { name: format!("{}.bridge", plan.name), kind, called: plan.name.clone() },
        server: None,
    }
}

/// The servers that have guests.
pub(super) fn servers(plan: &LabPlan) -> Vec<Part> {
    plan.servers.iter().enumerate().map(|(index, server)| guests_of(plan, index, server)).collect()
}

fn guests_of(plan: &LabPlan, index: usize, server: &ServerPlan) -> Part {
    let host = &server.host;
    let place =
        if host.machine() == server.name { host.to_string() } else { format!("{host} ({})", server.name) };
    Part {
        title: "the guests",
        place,
        target: Target { host: server.host.clone(), mvpnet: server.mvpnet.clone() },
        unit: Unit {
            name: format!("{}.server-{}", plan.name, server.name),
            kind: Kind::Job,
            called: plan.job_of(server),
        },
        server: Some(index),
    }
}

impl Part {
    /// Its name, which no other part of any lab of this user has on the host.
    pub fn name(&self) -> &str {
        &self.unit.name
    }

    /// The host that it is on.
    pub fn host(&self) -> &Host {
        &self.target.host
    }

    /// The verb that goes with its title.
    pub(super) fn verb(&self) -> &'static str {
        if self.server.is_none() { "is" } else { "are" }
    }

    /// What starts it; `directory` is where the lab's file is, `keys` what the guests' keys follow from.
    pub(super) fn start(&self, plan: &LabPlan, directory: &Path, keys: &str) -> Start {
        let (words, mut files) = match self.server.and_then(|index| plan.servers.get(index)) {
            Some(server) => (plan.server_arguments(server), plan.seed_files(server)),
            None => (plan.bridge_arguments(), Vec::new()),
        };
        if self.server.is_some() && plan.servers.len() > 1 {
            files.push(SeedFile { path: KEYS_FILE.to_owned(), text: format!("{keys}\n") });
        }
        let words = words.into_iter().map(|word: Word| word.resolve(Place::LabDir, directory)).collect();
        Start { unit: self.unit.clone(), words, files, directory: directory.to_owned() }
    }
}

//! `mvpnet bridge`, and what it says of itself.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use serde::Deserialize;

use super::{super::Host, super::TwoServers, wait_until};

/// What `mvpnet bridge status --json` says, as far as it is looked at here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// One for each VNI.
    pub ports: Vec<Port>,
    /// Datagrams that were not taken, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Datagrams that the kernel had no room for.
    pub kernel_drops: u64,
    /// MTU of the guests' network.
    pub mtu: u32,
    /// Whether every frame is accounted for.
    pub books_balance: bool,
}

/// A VNI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// Its number.
    pub vni: u32,
    /// The address that its guest is behind.
    pub peer: String,
    /// What came from there.
    pub received: Volume,
    /// What went there.
    pub sent: Volume,
    /// What was taken no further, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// Frames.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Status {
    /// Asks the bridge of server2.
    pub fn of(servers: &TwoServers, mvpnet: &Path) -> anyhow::Result<Status> {
        let mut ask = servers.command(Host::Server2, mvpnet);
        let said =
            super::super::output_of(ask.args(["bridge", "status", "--json", "--name", servers.name()]))?;
        serde_json::from_str(said.trim()).with_context(|| format!("mvpnet bridge status: {said}"))
    }

    /// The port of a VNI.
    pub fn port(&self, vni: u32) -> Option<&Port> {
        self.ports.iter().find(|port| port.vni == vni)
    }

    /// Everything that was lost and counted, for whatever reason.
    pub fn lost(&self) -> u64 {
        let drops = self.ports.iter().flat_map(|port| port.drops.values());
        drops.chain(self.refusals.values()).sum::<u64>() + self.kernel_drops
    }
}

/// The command that is the bridge of server2, for these VNIs and the peer server1.
pub fn command(servers: &TwoServers, mvpnet: &Path, vnis: Range<u32>) -> Command {
    let mut command = servers.command(Host::Server2, mvpnet);
    command.args(["bridge", "--name", servers.name(), "--peer", "server1", "--vni"]);
    command.arg(format!("{}-{}", vnis.start, vnis.end - 1));
    command
}

/// Starts it for all guests, and waits until it answers.
pub(super) fn start(servers: &TwoServers, mvpnet: &Path) -> anyhow::Result<Child> {
    let mut command = command(servers, mvpnet, servers.vnis());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot start {}", mvpnet.display()))?;
    let up = wait_for_status(servers, mvpnet);
    if up.is_err() {
        super::end(&mut child);
    }
    up.map(|()| child)
}

/// Waits until the bridge of server2 answers.
pub fn wait_for_status(servers: &TwoServers, mvpnet: &Path) -> anyhow::Result<()> {
    let mut last = None;
    let up = wait_until("mvpnet bridge status", || match Status::of(servers, mvpnet) {
        Ok(_) => true,
        Err(error) => {
            last = Some(error);
            false
        }
    });
    up.map_err(|error| last.unwrap_or(error))
}

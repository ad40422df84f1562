//! What can stand in server2 between the guests' tunnels: mvpnet's bridge, the kernel's, Open vSwitch in user space, VDE.
//!
//! Each is set up as its documentation says and given what it needs of the tunnels' other ends on server1; where it
//! cannot do with a tunnel as it is, this is said with it.

mod kernel;
mod open_vswitch;
mod ours;
mod vde;

use std::{
    fmt,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use anyhow::{bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub use kernel::make as kernel;
pub use ours::{Status, command, wait_for_status};

use super::{Host, TwoServers};
use crate::wall::{nap, now};

/// How long a bridge may take to come to life.
const STARTING: Duration = Duration::from_secs(20);

/// A kind of bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `mvpnet bridge`.
    Mvpnet,
    /// A Linux bridge with kernel vxlan interfaces.
    Kernel,
    /// Open vSwitch with its user-space datapath.
    OpenVswitch,
    /// `vde_switch` with a plug for each VNI.
    Vde,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Mvpnet, Kind::Kernel, Kind::OpenVswitch, Kind::Vde];

    /// Whether it can do with what a guest's kernel leaves to the card. Open vSwitch and VDE get such frames as they
    /// are, through packet sockets and datagrams, and pass them on so.
    pub fn knows_offload(self) -> bool {
        matches!(self, Kind::Mvpnet | Kind::Kernel)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Kind::Mvpnet => "mvpnet bridge",
            Kind::Kernel => "kernel",
            Kind::OpenVswitch => "OVS user space",
            Kind::Vde => "VDE",
        })
    }
}

/// A bridge that is there. Its processes end with it; what it has made in server2's network goes with server2.
#[derive(Debug)]
pub struct Bridge {
    kind: Kind,
    processes: Vec<Child>,
    /// Where its files are, removed after its processes.
    _directory: Option<TempDir>,
}

impl Bridge {
    /// Makes one in server2 and joins all guests' tunnels to it.
    pub fn start(kind: Kind, servers: &TwoServers, mvpnet: &Path) -> anyhow::Result<Bridge> {
        let mut bridge = Bridge { kind, processes: Vec::new(), _directory: None };
        match kind {
            Kind::Mvpnet => bridge.processes.push(ours::start(servers, mvpnet)?),
            Kind::Kernel => kernel::make(servers, servers.vnis())?,
            Kind::OpenVswitch | Kind::Vde => {
                let directory = tempfile::Builder::new().prefix("mvpnet-bridge-").tempdir()?;
                let start = if kind == Kind::Vde { vde::start } else { open_vswitch::start };
                // Its processes are the bridge's from the first on, so that none outlives a failure.
                start(servers, directory.path(), &mut bridge.processes)?;
                bridge._directory = Some(directory);
            }
        }
        Ok(bridge)
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The processes that make it up.
    pub fn processes(&mut self) -> &mut Vec<Child> {
        &mut self.processes
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for child in &mut self.processes {
            end(child);
        }
    }
}

/// Asks a process to end, and makes it end.
pub fn end(child: &mut Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    if !matches!(child.try_wait(), Ok(None)) {
        return;
    }
    // Our child and not waited for: the number is still its own.
    let _ = kill(pid, Signal::SIGTERM);
    let start = now();
    while matches!(child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
        nap(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// The tunnels of server1 made anew, with these words for each in place of its `local … remote …`.
fn remake_tunnels(servers: &TwoServers, words: impl Fn(u32) -> String) -> anyhow::Result<()> {
    let mtu = servers.plan().inner_mtu();
    for vni in servers.vnis() {
        let words = words(vni);
        servers.ip(
            Host::Server1,
            &format!(
                "link delete vxlan{vni}
                 link add vxlan{vni} type vxlan id {vni} {words}
                 link set vxlan{vni} mtu {mtu} master br{vni} up"
            ),
        )?;
    }
    Ok(())
}

/// Waits until something has come to life.
pub(super) fn wait_until(what: &str, look: impl FnMut() -> bool) -> anyhow::Result<()> {
    within(STARTING, what, look)
}

/// Waits for a condition.
pub(super) fn within(limit: Duration, what: &str, mut look: impl FnMut() -> bool) -> anyhow::Result<()> {
    let start = now();
    while !look() {
        if start.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        nap(Duration::from_millis(10));
    }
    Ok(())
}

/// A program's path, or what to install.
fn need(program: &str, package: &str) -> anyhow::Result<()> {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status()?;
    ensure!(found.success(), "{program} is not installed: ci/setup --bench, or the package {package}");
    Ok(())
}

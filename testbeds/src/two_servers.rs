//! Two servers joined by a cable, made of network namespaces: `testbeds/two-servers` for programs.
//!
//! [`TwoServers`] exists as long as the value does, under a name of its own, so that several can be there at once.
//! What stands in server2 and passes frames between the guests' tunnels is in [`bridges`], and what the guests
//! send each other in [`traffic`].

pub mod bridges;
pub mod traffic;

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};

/// The port that everybody's VXLAN uses (RFC 7348 §5).
pub const VXLAN_PORT: u16 = 4789;

/// A namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Where the guests are.
    Server1,
    /// Where the bridge is.
    Server2,
    /// A guest behind a kernel tunnel of server1.
    Guest(u32),
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Server1 => formatter.pad("server1"),
            Host::Server2 => formatter.pad("server2"),
            Host::Guest(number) => formatter.pad(&format!("g{number}")),
        }
    }
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// MTU of the network between the servers.
    pub mtu: u32,
    /// Names and tunnels mean IPv6.
    pub ipv6: bool,
    /// No offload between the servers.
    pub wire: bool,
    /// Faults of the cable, in the link model's words.
    pub loss: Option<String>,
    /// Guests behind kernel tunnels.
    pub guests: u32,
    /// The VNI of guest 0.
    pub vni: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { mtu: 1500, ipv6: false, wire: false, loss: None, guests: 0, vni: 40 }
    }
}

impl Plan {
    /// With so many guests.
    pub fn with_guests(guests: u32) -> Plan {
        Plan { guests, ..Plan::default() }
    }

    /// What the network leaves to a guest's IP packets: an Ethernet, a VXLAN, a UDP and an IP header less.
    pub fn inner_mtu(&self) -> u32 {
        self.mtu - if self.ipv6 { 70 } else { 50 }
    }
}

/// The namespaces; dropping takes them down with everything that runs in them.
#[derive(Debug)]
pub struct TwoServers {
    name: String,
    plan: Plan,
}

impl TwoServers {
    /// Makes them.
    pub fn up(plan: Plan) -> anyhow::Result<TwoServers> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Made first: what an `up` that fails has left is taken down too.
        let servers = TwoServers { name: format!("p{}x{count}", std::process::id()), plan };
        let plan = &servers.plan;
        let mut up = servers.script("up");
        up.args(["--mtu", &plan.mtu.to_string(), "--guests", &plan.guests.to_string()]);
        up.args(["--vni", &plan.vni.to_string()]);
        up.args(plan.ipv6.then_some("--ipv6"));
        up.args(plan.wire.then_some("--wire"));
        if let Some(words) = &plan.loss {
            up.args(["--loss", words]);
        }
        output_of(&mut up)?;
        Ok(servers)
    }

    /// Their name, different for each pair.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What they were made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a host's namespace is called.
    pub fn namespace(&self, host: Host) -> String {
        format!("mvpnet-{}-{host}", self.name)
    }

    /// The address of a server, of the family that its name has, or of a guest.
    pub fn address(&self, host: Host) -> IpAddr {
        let number = match host {
            Host::Server1 => 1,
            Host::Server2 => 2,
            Host::Guest(number) => return IpAddr::from([10, 0, 0, number as u8 + 1]),
        };
        if self.plan.ipv6 {
            IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number])
        } else {
            IpAddr::from([192, 0, 2, number as u8])
        }
    }

    /// The VNIs of the guests.
    pub fn vnis(&self) -> std::ops::Range<u32> {
        self.plan.vni..self.plan.vni + self.plan.guests
    }

    /// A command in a host. The process is the command's own.
    pub fn command(&self, host: Host, program: impl AsRef<Path>) -> Command {
        let mut command = self.script("enter");
        command.arg(host.to_string()).arg(program.as_ref());
        command
    }

    /// Runs a command in a host, which has to succeed: what it printed.
    pub fn run(&self, host: Host, words: &[&str]) -> anyhow::Result<String> {
        output_of(self.command(host, words[0]).args(&words[1..]))
    }

    /// `ip` in a host, which has to succeed: lines of arguments, one after the other.
    pub fn ip(&self, host: Host, lines: &str) -> anyhow::Result<()> {
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            output_of(Command::new("ip").args(["-n", &self.namespace(host)]).args(line.split_whitespace()))?;
        }
        Ok(())
    }

    /// Turns on or off what an interface leaves to its card: checksums, segmentation, merging.
    pub fn offload(&self, host: Host, interface: &str, on: bool) -> anyhow::Result<()> {
        let mut words = vec!["ethtool", "-K", interface];
        // With scatter and gather, which segmentation wants.
        for feature in ["tx", "sg", "tso", "gso", "gro"] {
            words.extend([feature, if on { "on" } else { "off" }]);
        }
        self.run(host, &words).map(|_| ())
    }

    fn script(&self, name: &str) -> Command {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("two-servers").join(name);
        let mut command = Command::new(path);
        command.args(["--name", &self.name]).stdin(Stdio::null());
        command
    }
}

impl Drop for TwoServers {
    fn drop(&mut self) {
        if let Err(error) = output_of(&mut self.script("down")) {
            eprintln!("{error:#}");
        }
    }
}

/// Runs a command that has to succeed: its standard output.
pub fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let what = format!("{command:?}").replace('"', "");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {what}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}: {}", output.status, said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

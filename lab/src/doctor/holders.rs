//! Who holds a port: /proc/net/udp and its like give a socket's inode, /proc/PID/fd the process that has it.
//!
//! An ordinary user sees only his own processes' descriptors; others' ports are held by somebody unknown.

use super::machine::Machine;
use super::system::{System, quoted};

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub process: u32,
    /// Its command line.
    pub command: String,
    /// Whether it runs as who looks.
    pub is_own: bool,
    /// The systemd unit that started it, and would start it again.
    pub unit: Option<String>,
}

/// What the port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP over IPv4 and IPv6.
    Udp,
    /// TCP over IPv4 and IPv6, listening.
    Tcp,
}

impl Holder {
    /// `mvpnet bridge (process 12)`.
    pub fn words(&self) -> String {
        const MOST: usize = 60;
        let mut command: String = self.command.chars().take(MOST).collect();
        if self.command.chars().count() > MOST {
            command.push('…');
        }
        format!("{command} (process {})", self.process)
    }

    /// The command that ends it.
    pub fn end(&self, machine: &Machine) -> String {
        match &self.unit {
            Some(unit) => machine.as_root(&format!("systemctl stop {}", quoted(unit))),
            None if self.is_own => format!("kill {}", self.process),
            None => machine.as_root(&format!("kill {}", self.process)),
        }
    }

    /// Whether it is this program with this subcommand.
    pub fn is_mvpnet(&self, subcommand: &str) -> bool {
        let mut words = self.command.split(' ');
        words.next().is_some_and(|program| program.rsplit('/').next() == Some("mvpnet"))
            && words.next() == Some(subcommand)
    }
}

/// Whether somebody has the port, and who, where that can be seen.
pub fn holders(system: &System, protocol: Protocol, port: u16) -> (bool, Vec<Holder>) {
    let inodes = inodes(system, protocol, port);
    if inodes.is_empty() {
        return (false, Vec::new());
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = system.names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    let holders = processes.filter(|process| has_one_of(system, *process, &links));
    (true, holders.filter_map(|process| holder(system, process)).collect())
}

/// The inodes of the sockets that are bound to the port (proc_pid_net(5)).
fn inodes(system: &System, protocol: Protocol, port: u16) -> Vec<u64> {
    /// TCP_LISTEN of the kernel's tcp_states.h; only these stand in the way of another listener.
    const LISTENS: &str = "0A";
    let files = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let mut inodes = Vec::new();
    for text in files.iter().filter_map(|file| system.text(file)) {
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (words.get(1), words.get(3), words.get(9)) else {
                continue;
            };
            let bound = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if bound == Some(port)
                && (protocol == Protocol::Udp || *state == LISTENS)
                && let Ok(inode) = inode.parse()
            {
                inodes.push(inode);
            }
        }
    }
    inodes
}

fn has_one_of(system: &System, process: u32, links: &[String]) -> bool {
    let dir = format!("/proc/{process}/fd");
    system.names(&dir).iter().any(|fd| {
        let target = std::fs::read_link(system.path(format!("{dir}/{fd}")));
        target.is_ok_and(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
    })
}

fn holder(system: &System, process: u32) -> Option<Holder> {
    use std::os::unix::fs::MetadataExt;
    let command = system.text(format!("/proc/{process}/cmdline"))?;
    let command = command.trim_end_matches('\0').replace('\0', " ");
    let owner = system.path(format!("/proc/{process}")).metadata().ok()?.uid();
    let group = system.text(format!("/proc/{process}/cgroup")).unwrap_or_default();
    Some(Holder { process, command, is_own: owner == nix::unistd::geteuid().as_raw(), unit: unit(&group) })
}

/// The service in a path like `0::/system.slice/named.service`. What a user's own session started has none.
fn unit(group: &str) -> Option<String> {
    let path = group.lines().find_map(|line| line.split(':').nth(2)?.strip_prefix("/system.slice/"))?;
    path.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_holder_of_a_port_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (taken, found) = holders(&System::here(), Protocol::Udp, port);
        assert!(taken);
        assert!(
            found.iter().any(|holder| holder.process == std::process::id() && holder.is_own),
            "{found:?}"
        );
        drop(socket);
        assert!(!holders(&System::here(), Protocol::Udp, port).0);
        let listener = TcpListener::bind("[::1]:0").or_else(|_| TcpListener::bind("127.0.0.1:0")).unwrap();
        assert!(holders(&System::here(), Protocol::Tcp, listener.local_addr().unwrap().port()).0);
    }

    #[test]
    fn a_service_is_stopped_and_a_process_killed() {
        let process = Holder { process: 7, command: "x".into(), is_own: true, unit: None };
        assert_eq!(process.end(&Machine::default()), "kill 7");
        let theirs = Holder { is_own: false, ..process.clone() };
        assert_eq!(theirs.end(&Machine::default()), "sudo kill 7");
        let service = Holder { unit: unit("0::/system.slice/named.service\n"), ..process };
        assert_eq!(service.end(&Machine::default()), "sudo systemctl stop named.service");
        assert_eq!(unit("0::/user.slice/user-1000.slice/session-1.scope"), None);
    }

    #[test]
    fn our_own_bridge_is_known() {
        let bridge = Holder {
            process: 7,
            command: "/usr/bin/mvpnet bridge --vni 40".into(),
            is_own: true,
            unit: None,
        };
        assert!(bridge.is_mvpnet("bridge") && !bridge.is_mvpnet("up"));
        assert_eq!(bridge.words(), "/usr/bin/mvpnet bridge --vni 40 (process 7)");
    }
}

//! Host names: that each host knows the others by names, and not by addresses of its own.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::finding::Verdict;
use super::machine::Machine;
use super::system::quoted;

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a name means here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Its addresses, the preferred first, or why there are none.
    pub addresses: Result<Vec<IpAddr>, String>,
}

impl Name {
    /// Asks this host.
    pub fn resolve(name: &str) -> Self {
        let (sender, receiver) = mpsc::channel();
        let asked = name.to_owned();
        // The library's resolver takes as long as it likes.
        thread::spawn(move || {
            let found =
                (asked.as_str(), 0).to_socket_addrs().map(|all| all.map(|at| at.ip()).collect::<Vec<_>>());
            // Nobody waits any more: the time was over.
            let _ = sender.send(found);
        });
        let addresses = match receiver.recv_timeout(PATIENCE) {
            Ok(Ok(mut addresses)) => {
                let mut seen = Vec::new();
                addresses.retain(|address| !seen.contains(address) && (seen.push(*address), true).1);
                Ok(addresses)
            }
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        Self { name: name.to_owned(), addresses }
    }

    /// Where the host is, if its name says.
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses.as_ref().ok()?.iter().copied().find(|address| !address.is_loopback())
    }

    /// Whether a peer's name leads to it. `known`: an address of it that is known from elsewhere.
    pub fn check_peer(&self, machine: &Machine, known: Option<IpAddr>) -> Verdict {
        let name = &self.name;
        match &self.addresses {
            Err(why) => {
                let mend = known.map(|known| self.add(machine, known));
                let seen = match known {
                    Some(_) => format!("{name} does not resolve: {why}"),
                    None => format!(
                        "{name} does not resolve: {why}; called as {name}=ADDRESS, this tells the line for /etc/hosts"
                    ),
                };
                Verdict::failure(seen, mend)
            }
            Ok(addresses) if addresses.iter().all(IpAddr::is_loopback) => {
                let seen = format!("{name} resolves to {}, which is this host itself", list(addresses));
                Verdict::failure(seen, Some(self.replace(machine, known)))
            }
            Ok(addresses) => match known.filter(|known| !addresses.contains(known)) {
                None => Verdict::ok(format!("{name} is {}", list(addresses))),
                Some(known) => {
                    let seen =
                        format!("{name} is {} here, but {known} where this was started", list(addresses));
                    Verdict::warning(seen, Some(format!("getent ahosts {}", quoted(name))))
                }
            },
        }
    }

    /// The host's own name as it sees it: MPI tells it to other hosts.
    pub fn check_own(&self, machine: &Machine) -> Verdict {
        let name = &self.name;
        match &self.addresses {
            Err(why) => {
                let line = quoted(&format!("127.0.1.1 {name}"));
                let mend = format!("echo {line} | {}", machine.as_root("tee -a /etc/hosts"));
                Verdict::warning(format!("its own name {name} does not resolve: {why}"), Some(mend))
            }
            Ok(addresses) => Verdict::ok(format!("its own name {name} is {}", list(addresses))),
        }
    }

    /// A line for the name.
    fn add(&self, machine: &Machine, known: IpAddr) -> String {
        format!(
            "echo {} | {}",
            quoted(&format!("{known} {}", self.name)),
            machine.as_root("tee -a /etc/hosts")
        )
    }

    /// The lines of the name go, and the right one comes. The file stays the same file: in a container it is a mount.
    fn replace(&self, machine: &Machine, known: Option<IpAddr>) -> String {
        let name = self.name.replace('.', "\\.");
        let line = known.map(|known| format!(" \"{known} {}\"", self.name)).unwrap_or_default();
        machine.as_root(&format!(
            "sh -c 'kept=$(sed \"/[[:space:]]{name}\\([[:space:]]\\|\\$\\)/d\" /etc/hosts) && \
             printf \"%s\\n\" \"$kept\"{line} >/etc/hosts'"
        ))
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// The resolver's words without the library's own in front.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn name(addresses: Result<&[[u8; 4]], &str>) -> Name {
        let addresses = addresses.map(|all| all.iter().map(|a| IpAddr::from(*a)).collect());
        Name { name: "server2".into(), addresses: addresses.map_err(str::to_owned) }
    }

    #[test]
    fn a_name_that_does_not_resolve_is_written_into_etc_hosts() {
        let unknown = name(Err("Name or service not known"));
        let verdict = unknown.check_peer(&Machine::default(), Some([192, 0, 2, 2].into()));
        assert_eq!(verdict.status, Status::Failure);
        assert_eq!(verdict.mend.unwrap(), "echo '192.0.2.2 server2' | sudo tee -a /etc/hosts");
        let nobody_knows = unknown.check_peer(&Machine::default(), None);
        assert!(nobody_knows.mend.is_none() && nobody_knows.seen.contains("server2=ADDRESS"));
    }

    #[test]
    fn a_peer_is_not_this_host() {
        let verdict =
            name(Ok(&[[127, 0, 1, 1]])).check_peer(&Machine::default(), Some([192, 0, 2, 2].into()));
        assert_eq!(verdict.status, Status::Failure);
        let dir = tempfile::tempdir().unwrap();
        let hosts = dir.path().join("hosts");
        std::fs::write(&hosts, "127.0.0.1 localhost\n127.0.1.1 server2 alias\n192.0.2.20 server20\n")
            .unwrap();
        let mend = verdict.mend.unwrap().replace("sudo ", "").replace("/etc/hosts", hosts.to_str().unwrap());
        assert!(std::process::Command::new("sh").args(["-c", &mend]).status().unwrap().success());
        let kept = "127.0.0.1 localhost\n192.0.2.20 server20\n192.0.2.2 server2\n";
        assert_eq!(std::fs::read_to_string(&hosts).unwrap(), kept);
    }

    #[test]
    fn hosts_that_mean_different_addresses_are_worth_a_look() {
        let here = name(Ok(&[[192, 0, 2, 2]]));
        assert_eq!(here.check_peer(&Machine::default(), Some([192, 0, 2, 2].into())).status, Status::Ok);
        assert_eq!(here.check_peer(&Machine::default(), Some([10, 0, 0, 2].into())).status, Status::Warning);
        assert_eq!(here.address(), Some([192, 0, 2, 2].into()));
    }

    #[test]
    fn addresses_are_their_own_names() {
        assert_eq!(Name::resolve("192.0.2.9").address(), Some([192, 0, 2, 9].into()));
        assert!(Name::resolve("no-such-host.invalid").addresses.is_err());
    }
}

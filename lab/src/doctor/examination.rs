//! Who is examined, and for what: from host names, or from a lab's plan.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::names::Name;
use super::ports::address;
use super::system::System;
use super::wanted::{Peer, Wanted};
use crate::plan::{self, LabPlan, Place, ServerPlan};

/// What is to be examined.
#[derive(Clone, Debug)]
pub struct Examination {
    /// This host.
    pub here: Wanted,
    /// What other hosts call this one.
    pub here_names: Vec<String>,
    /// The others.
    pub others: Vec<Member>,
    /// The program that runs here, which hosts without one are to be given.
    pub program: PathBuf,
}

/// Another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What ssh calls it.
    pub login: String,
    /// What the program is called there.
    pub mvpnet: String,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// What other hosts call it.
    pub names: Vec<String>,
}

impl Examination {
    /// These hosts, and this one: all for everything. This one may be among them; it then is a peer of the others.
    /// `common` has what is wanted of each, but for peers.
    pub fn of_hosts(common: &Wanted, hosts: &[Peer], mvpnet: &str, program: PathBuf) -> Self {
        let (own, others): (Vec<&Peer>, Vec<&Peer>) = hosts.iter().partition(|peer| is_here(peer.host()));
        let all = |all: &[&Peer]| all.iter().map(|peer| (*peer).clone()).collect::<Vec<_>>();
        let here = Wanted { peers: all(&others), ..common.clone() };
        let member = |peer: &Peer| {
            let mut peers: Vec<Peer> = hosts
                .iter()
                .filter(|other| *other != peer && !own.contains(other))
                .map(with_address)
                .collect();
            peers.extend(
                own.iter().map(|own| Peer { address: own.address.or(towards(peer)), ..(*own).clone() }),
            );
            let wanted = Wanted { peers, listen: None, ..common.clone() };
            Member {
                login: peer.name.clone(),
                mvpnet: mvpnet.to_owned(),
                wanted,
                names: vec![peer.name.clone()],
            }
        };
        let members = others.iter().map(|peer| member(peer)).collect();
        Self {
            here,
            here_names: all(&own).into_iter().map(|peer| peer.name).collect(),
            others: members,
            program,
        }
    }

    /// The hosts of a lab, each for its part, and this one, which perhaps only gives orders. Paths that are not
    /// absolute begin in `directory`.
    pub fn of_lab(common: &Wanted, plan: &LabPlan, directory: &Path, program: PathBuf) -> Self {
        let common = Wanted { mpi: false, ..common.clone() };
        let mut here = Wanted { ranks: Some(0), ..common.clone() };
        let mut here_names = Vec::new();
        let mut others = Vec::new();
        let mut logins = Vec::new();
        for host in plan.hosts() {
            let wanted = part_of(host, plan, directory, &common);
            let names = names_of(host, plan);
            match host {
                plan::Host::Remote(login) if !is_here(host.machine()) => {
                    let member =
                        Member { login: login.clone(), mvpnet: program_on(host, plan), wanted, names };
                    logins.push(Peer { name: login.clone(), address: None, tunnel: false, ssh: true });
                    others.push(member);
                }
                _ => (here, here_names) = (wanted, names),
            }
        }
        for login in logins {
            match here.peers.iter_mut().find(|peer| peer.name == login.name) {
                Some(peer) => peer.ssh = true,
                None => here.peers.push(login),
            }
        }
        Self { here, here_names, others, program }
    }
}

/// Whether `host` is a name or an address of this one.
fn is_here(host: &str) -> bool {
    let own = System::here().text("/proc/sys/kernel/hostname").unwrap_or_default();
    let all = nix::ifaddrs::getifaddrs().map(|all| all.filter_map(|each| address(&each)).collect::<Vec<_>>());
    let all = all.unwrap_or_default();
    let is_ours = |ip: &IpAddr| all.contains(ip) && !ip.is_loopback();
    // A name that wrongly means loopback is somebody else's all the same.
    host == "localhost"
        || host == own.trim()
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || Name::resolve(host).addresses.is_ok_and(|all| all.iter().any(is_ours))
}

/// A peer with the address that it has here: who does not know its name is told.
fn with_address(peer: &Peer) -> Peer {
    Peer { address: peer.address.or_else(|| Name::resolve(peer.host()).address()), ..peer.clone() }
}

/// The address of this host on the way to a peer.
fn towards(peer: &Peer) -> Option<IpAddr> {
    super::route::source(with_address(peer).address?).ok()
}

/// What a lab wants of one of its hosts.
fn part_of(host: &plan::Host, plan: &LabPlan, directory: &Path, common: &Wanted) -> Wanted {
    let servers: Vec<&ServerPlan> = plan.servers.iter().filter(|server| server.host == *host).collect();
    let is_bridge = plan.bridge.host == *host;
    let tunnel =
        |name: &str| with_address(&Peer { name: name.to_owned(), address: None, tunnel: true, ssh: false });
    let mut peers = Vec::new();
    if is_bridge {
        let far = plan.servers.iter().filter(|server| server.host != *host);
        peers.extend(far.map(|server| tunnel(&server.address)));
    } else {
        peers.push(tunnel(&plan.bridge.address));
    }
    let listen = servers.iter().find_map(|server| server.listen);
    let image = servers.iter().find_map(|server| server.guest.image.as_ref());
    Wanted {
        listen: if is_bridge { plan.bridge.listen } else { listen },
        ranks: Some(servers.iter().map(|server| server.guests).sum()),
        memory: servers
            .iter()
            .filter_map(|server| server.guest.memory_mib)
            .max()
            .map_or(common.memory, u64::from),
        image: image.map(|image| path_of(&image.word, directory)),
        peers,
        ..common.clone()
    }
}

/// `~/` stays: it is the other host's home.
fn path_of(word: &plan::Word, directory: &Path) -> PathBuf {
    let word = word.clone().resolve(Place::LabDir, directory).resolve(Place::Home, Path::new("~"));
    word.text.into()
}

fn names_of(host: &plan::Host, plan: &LabPlan) -> Vec<String> {
    let mut names = vec![host.to_string()];
    if plan.bridge.host == *host {
        names.push(plan.bridge.address.clone());
    }
    names.extend(
        plan.servers.iter().filter(|server| server.host == *host).map(|server| server.address.clone()),
    );
    names
}

fn program_on(host: &plan::Host, plan: &LabPlan) -> String {
    let server = plan.servers.iter().find(|server| server.host == *host).map(|server| &server.mvpnet);
    if plan.bridge.host == *host {
        plan.bridge.mvpnet.clone()
    } else {
        server.unwrap_or(&plan.bridge.mvpnet).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(wanted: &Wanted) -> Vec<(&str, bool, bool)> {
        wanted.peers.iter().map(|peer| (peer.name.as_str(), peer.tunnel, peer.ssh)).collect()
    }

    const LAB: &str = r#"
        name = "demo"
        [bridge]
        host = "ann@203.0.113.2"
        [[server]]
        host = "203.0.113.11"
        guests = 4
        [[server]]
        host = "localhost"
        address = "203.0.113.12"
        guests = 2
        [guest]
        image = "debian.qcow2"
        memory = "1G"
    "#;

    #[test]
    fn each_host_of_a_lab_is_examined_for_its_part() {
        let plan: LabPlan = LAB.parse().unwrap();
        let lab = Examination::of_lab(&Wanted::default(), &plan, Path::new("/labs"), "/bin/mvpnet".into());
        let here = &lab.here;
        assert_eq!((here.ranks, here.memory, here.mpi), (Some(2), 1024, false));
        let login = |name| (name, false, true);
        assert_eq!(
            peers(here),
            [("203.0.113.2", true, false), login("ann@203.0.113.2"), login("203.0.113.11")]
        );
        assert!(lab.here_names.contains(&"203.0.113.12".to_owned()));
        let [bridge, server] = lab.others.as_slice() else { panic!("{:?}", lab.others) };
        assert_eq!((bridge.login.as_str(), bridge.wanted.ranks), ("ann@203.0.113.2", Some(0)));
        assert_eq!(peers(&bridge.wanted), [("203.0.113.11", true, false), ("203.0.113.12", true, false)]);
        assert_eq!(
            (server.wanted.ranks, peers(&server.wanted)),
            (Some(4), vec![("203.0.113.2", true, false)])
        );
        assert!(server.wanted.image.as_ref().unwrap().starts_with("/labs/"), "{:?}", server.wanted.image);
    }

    #[test]
    fn who_only_gives_orders_needs_no_tunnels() {
        let text = LAB.replace("\"localhost\"", "\"203.0.113.13\"");
        let lab = Examination::of_lab(&Wanted::default(), &text.parse().unwrap(), Path::new("/"), "x".into());
        assert!(!lab.here.has_tunnels() && !lab.here.has_guests());
        assert_eq!(lab.others.len(), 3);
    }

    #[test]
    fn hosts_are_peers_of_each_other() {
        let hosts = ["203.0.113.1", "ann@203.0.113.2"].map(|host| host.parse().unwrap());
        let all = Examination::of_hosts(&Wanted::default(), &hosts, "mvpnet", "x".into());
        assert_eq!(peers(&all.here), [("203.0.113.1", true, true), ("ann@203.0.113.2", true, true)]);
        assert_eq!(peers(&all.others[0].wanted), [("ann@203.0.113.2", true, true)]);
        let with_here = ["127.0.0.1=127.0.0.1", "203.0.113.1"].map(|host| host.parse().unwrap());
        let all = Examination::of_hosts(&Wanted::default(), &with_here, "mvpnet", "x".into());
        assert_eq!((peers(&all.here), all.others.len()), (vec![("203.0.113.1", true, true)], 1));
        assert_eq!(peers(&all.others[0].wanted), [("127.0.0.1", true, true)]);
    }
}

//! All that is looked at on a host before anything is judged.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;

use super::firewall::Firewall;
use super::image::Image;
use super::kvm::Kvm;
use super::machine::Machine;
use super::mpi::Mpirun;
use super::names::Name;
use super::ports::{Taken, TunnelPort, taken_ssh_ports};
use super::qemu::Qemus;
use super::room::{Descriptors, Disk, Memory};
use super::route::Route;
use super::ssh::{Keys, Login};
use super::sysctls::Sysctls;
use super::system::System;
use super::wanted::{Peer, Wanted};

/// A host as it was found.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Who and where.
    pub machine: Machine,
    /// KVM.
    pub kvm: Kvm,
    /// The qemus.
    pub qemus: Qemus,
    /// mpirun, if there is one.
    pub mpirun: Option<Mpirun>,
    /// Memory, if it can be read.
    pub memory: Option<Memory>,
    /// Limits of descriptors, if they can be read.
    pub descriptors: Option<Descriptors>,
    /// /dev/shm.
    pub shm: Option<Disk>,
    /// The run directory, or where logs go.
    pub run_dir: Option<Disk>,
    /// The image, if one is named.
    pub image: Option<Image>,
    /// The tunnels' port.
    pub tunnel_port: TunnelPort,
    /// Taken ports of guests' ssh.
    pub ssh_ports: Vec<Taken>,
    /// The firewall.
    pub firewall: Firewall,
    /// Settings of the kernel.
    pub sysctls: Sysctls,
    /// What its own name means.
    pub own_name: Name,
    /// ssh keys.
    pub keys: Keys,
    /// The other hosts, as seen from here.
    pub peers: Vec<PeerReadings>,
}

/// Another host, as seen from here.
#[derive(Clone, Debug)]
pub struct PeerReadings {
    /// What was asked for.
    pub peer: Peer,
    /// Its address by what was told, or else by ssh's configuration.
    pub known: Option<IpAddr>,
    /// What its name means.
    pub name: Name,
    /// The way to it; none: it has no address.
    pub route: Option<Result<Route, String>>,
    /// Whether ssh gets there; none: it need not.
    pub login: Option<Login>,
}

impl Readings {
    /// Looks at this host, and at the way to each peer.
    pub fn gather(system: &System, wanted: &Wanted) -> Self {
        let machine = Machine::read(system);
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let run_dir = wanted.run_dir.clone().unwrap_or_else(|| PathBuf::from("/tmp"));
        // Logins wait for others, and for nothing here.
        let peers = thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .peers
                .iter()
                .map(|peer| scope.spawn(|| PeerReadings::gather(system, wanted, peer)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|peer| peer.expect("readings do not panic")).collect()
        });
        Self {
            kvm: Kvm::read(system),
            qemus: Qemus::read(system, &path),
            mpirun: Mpirun::read(system),
            memory: Memory::read(system),
            descriptors: Descriptors::read(system),
            shm: Disk::read(system, Path::new("/dev/shm")),
            run_dir: Disk::read(system, &at_home(&run_dir, &machine.home)),
            image: wanted.image.as_deref().map(|image| Image::read(&at_home(image, &machine.home))),
            tunnel_port: TunnelPort::read(system, wanted),
            ssh_ports: taken_ssh_ports(system, wanted),
            firewall: Firewall::read(system),
            sysctls: Sysctls::read(system),
            own_name: Name::resolve(&machine.name),
            keys: Keys::read(system, &machine.home),
            machine,
            peers,
        }
    }

    /// Addresses that tunnels go to.
    pub fn peer_addresses(&self) -> Vec<IpAddr> {
        let tunnels = self.peers.iter().filter(|peer| peer.peer.tunnel);
        tunnels.filter_map(PeerReadings::address).collect()
    }
}

impl PeerReadings {
    fn gather(system: &System, wanted: &Wanted, peer: &Peer) -> Self {
        let name = Name::resolve(peer.host());
        let known = peer.address.or_else(|| alias(system, peer));
        let address = name.address().or(known);
        Self {
            peer: peer.clone(),
            known,
            route: address.map(|address| Route::read(system, address)),
            login: peer.ssh.then(|| Login::read(wanted, peer)),
            name,
        }
    }

    /// Where it is.
    pub fn address(&self) -> Option<IpAddr> {
        self.name.address().or(self.known)
    }
}

/// `~/` is the home directory: a shell has not seen a path that came from another host.
fn at_home(path: &Path, home: &str) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| Path::new(home).join(rest))
}

/// The address that ssh's configuration has for a name that nobody else knows.
fn alias(system: &System, peer: &Peer) -> Option<IpAddr> {
    let ran = system.run("ssh", &["-G", &peer.name]);
    let host = ran.out()?.lines().find_map(|line| line.strip_prefix("hostname "))?;
    if host == peer.host() { None } else { Name::resolve(host).address() }
}

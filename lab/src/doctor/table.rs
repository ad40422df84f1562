//! The table of all checks: what each is called, what it looks for, and which function judges.

use super::finding::{Finding, Verdict};
use super::mpi::Mpirun;
use super::ports::check_ssh_ports;
use super::readings::{PeerReadings, Readings};
use super::room::{Descriptors, Disk, Memory};
use super::wanted::Wanted;

/// A check of a host by itself.
#[derive(Clone, Copy, Debug)]
pub struct HostCheck {
    /// Its name in reports.
    pub name: &'static str,
    /// What it looks for.
    pub about: &'static str,
    /// For which hosts.
    pub scope: Scope,
    /// Judges.
    pub run: fn(&Readings, &Wanted) -> Verdict,
}

/// A check of a host's way to another.
#[derive(Clone, Copy, Debug)]
pub struct PeerCheck {
    /// Its name in reports.
    pub name: &'static str,
    /// What it looks for.
    pub about: &'static str,
    /// Judges; none where it makes no sense.
    pub run: fn(&Readings, &PeerReadings) -> Option<Verdict>,
}

/// Which hosts a check concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those that have guests.
    Guests,
    /// Those that tunnels end at.
    Tunnels,
    /// Those that MPI jobs run on.
    Mpi,
    /// Those with guests for which an image is named.
    Image,
}

/// The checks of a host by itself, in the order of the report.
pub const HOST: &[HostCheck] = &[
    HostCheck {
        name: "kvm",
        about: "guests can run on the CPU: /dev/kvm opens, and vmx or svm is there",
        scope: Scope::Guests,
        run: |seen, _| seen.kvm.check(&seen.machine),
    },
    HostCheck {
        name: "qemu",
        about: "there is a qemu, of version 7.2 at least",
        scope: Scope::Guests,
        run: |seen, _| seen.qemus.check(&seen.machine),
    },
    HostCheck {
        name: "mpirun",
        about: "there is an mpirun, and which MPI's",
        scope: Scope::Mpi,
        run: |seen, _| Mpirun::check(seen.mpirun.as_ref(), &seen.machine),
    },
    HostCheck {
        name: "memory",
        about: "the guests fit into memory",
        scope: Scope::Guests,
        run: |seen, wanted| Memory::check(seen.memory.as_ref(), wanted),
    },
    HostCheck {
        name: "shm",
        about: "/dev/shm has room for MPI",
        scope: Scope::Mpi,
        run: |seen, _| Disk::check_shm(seen.shm.as_ref(), &seen.machine),
    },
    HostCheck {
        name: "nofile",
        about: "enough files may be open",
        scope: Scope::All,
        run: |seen, wanted| Descriptors::check(seen.descriptors.as_ref(), &seen.machine, wanted),
    },
    HostCheck {
        name: "image",
        about: "the image can be read, and is one",
        scope: Scope::Image,
        run: |seen, _| match &seen.image {
            Some(image) => image.check(&seen.machine),
            None => Verdict::ok("none is named"),
        },
    },
    HostCheck {
        name: "run-dir",
        about: "the run directory has room for copies of the image",
        scope: Scope::All,
        run: |seen, wanted| {
            let image = seen.image.as_ref().and_then(super::image::Image::bytes);
            Disk::check_run_dir(seen.run_dir.as_ref(), image, &seen.machine, wanted)
        },
    },
    HostCheck {
        name: "ssh-ports",
        about: "the ports for ssh to guests, 2200 and up, are free",
        scope: Scope::Guests,
        run: |seen, wanted| check_ssh_ports(&seen.ssh_ports, &seen.machine, wanted),
    },
    HostCheck {
        name: "ssh-keys",
        about: "there is a key to be let in by",
        scope: Scope::All,
        run: |seen, _| seen.keys.check(),
    },
    HostCheck {
        name: "own-name",
        about: "the host's own name resolves",
        scope: Scope::Mpi,
        run: |seen, _| seen.own_name.check_own(&seen.machine),
    },
    HostCheck {
        name: "vxlan-port",
        about: "the tunnels' UDP port is free, or who has it",
        scope: Scope::Tunnels,
        run: |seen, wanted| seen.tunnel_port.check(&seen.machine, wanted),
    },
    HostCheck {
        name: "firewall",
        about: "no rule of the host drops the tunnels' datagrams",
        scope: Scope::Tunnels,
        run: |seen, wanted| seen.firewall.check(&seen.machine, wanted.vxlan_port, &seen.peer_addresses()),
    },
    HostCheck {
        name: "bridge-nf",
        about: "frames in kernel bridges do not meet rules for packets",
        scope: Scope::Tunnels,
        run: |seen, _| {
            seen.sysctls.check_bridge_nf(&seen.machine, seen.firewall.forward_drops(&seen.machine))
        },
    },
    HostCheck {
        name: "ip-forward",
        about: "a host that is a gateway forwards",
        scope: Scope::Tunnels,
        run: |seen, _| seen.sysctls.check_ip_forward(&seen.machine),
    },
    HostCheck {
        name: "rp-filter",
        about: "no strict reverse path filter stands between several interfaces",
        scope: Scope::Tunnels,
        run: |seen, _| seen.sysctls.check_rp_filter(&seen.machine),
    },
    HostCheck {
        name: "rmem-max",
        about: "receive buffers may be as large as tunnels want them",
        scope: Scope::Tunnels,
        run: |seen, _| seen.sysctls.check_rmem_max(&seen.machine),
    },
];

/// The checks of the way to another host, before anything is sent there.
pub const PEER: &[PeerCheck] = &[
    PeerCheck {
        name: "name",
        about: "the other host's name resolves, and to that host",
        run: |seen, peer| peer.peer.tunnel.then(|| peer.name.check_peer(&seen.machine, peer.known)),
    },
    PeerCheck {
        name: "ssh",
        about: "ssh gets there without a password",
        run: |seen, peer| Some(peer.login.as_ref()?.check(&seen.machine, &seen.keys, &peer.peer)),
    },
    PeerCheck {
        name: "mtu",
        about: "the MTU of the interface towards it",
        run: |seen, peer| match peer.route.as_ref().filter(|_| peer.peer.tunnel)? {
            Ok(route) => Some(route.check(&seen.machine, &peer.name.name)),
            Err(why) => {
                let seen = format!("there is no way to {}: {why}", peer.name.name);
                Some(Verdict::failure(seen, Some("ip route show".to_owned())))
            }
        },
    },
];

/// The check that another host has this program, and what it looks for.
pub const PROGRAM: (&str, &str) = ("program", "this same program is there");

/// The check that hosts have the same MPI, and what it looks for.
pub const SAME_MPI: (&str, &str) = ("same-mpi", "mpirun is that of the same MPI and version there");

/// The checks by datagrams between two hosts, and what each looks for.
pub const PROBES: [(&str, &str); 2] = [
    ("probe", "datagrams to the tunnels' port of the other host arrive, and answers come back"),
    ("path-mtu", "packets as long as the interface takes arrive there"),
];

impl Scope {
    fn has(self, wanted: &Wanted) -> bool {
        match self {
            Self::All => true,
            Self::Guests => wanted.has_guests() && wanted.has_tunnels(),
            Self::Tunnels => wanted.has_tunnels(),
            Self::Mpi => wanted.mpi && wanted.has_guests(),
            Self::Image => wanted.has_guests() && wanted.image.is_some(),
        }
    }
}

/// Judges what was read, by all checks that concern the host.
pub fn judge(readings: &Readings, wanted: &Wanted, host: &str) -> Vec<Finding> {
    let own = HOST.iter().filter(|check| check.scope.has(wanted));
    let own = own.map(|check| (check.run)(readings, wanted).found(check.name, host, None));
    let of_peer = |peer| {
        let found = |check: &PeerCheck| {
            Some((check.run)(readings, peer)?.found(check.name, host, Some(&peer.peer.name)))
        };
        PEER.iter().filter_map(found).collect::<Vec<_>>()
    };
    own.chain(readings.peers.iter().flat_map(of_peer)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doctor::system::System;

    #[test]
    fn names_of_checks_are_unique_and_plain() {
        let names = HOST.iter().map(|check| check.name).chain(PEER.iter().map(|check| check.name));
        let names: Vec<_> =
            names.chain(PROBES.map(|(name, _)| name)).chain([PROGRAM.0, SAME_MPI.0]).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(names.iter().all(|name| plain(name)), "{names:?}");
    }

    #[test]
    fn a_bridge_needs_no_qemu_and_who_only_gives_orders_no_tunnels() {
        let concerned = |wanted: &Wanted| {
            HOST.iter().filter(|check| check.scope.has(wanted)).map(|check| check.name).collect::<Vec<_>>()
        };
        let bridge = concerned(&Wanted { ranks: Some(0), mpi: false, ..Wanted::default() });
        assert!(!bridge.contains(&"qemu") && bridge.contains(&"vxlan-port"), "{bridge:?}");
        let mut server: super::super::wanted::Peer = "server1".parse().unwrap();
        server.tunnel = false;
        let chief = Wanted { mpi: false, peers: vec![server], ..Wanted::default() };
        assert_eq!(concerned(&chief), ["nofile", "run-dir", "ssh-keys"]);
    }

    #[test]
    fn this_host_is_judged_by_all_checks() {
        let wanted = Wanted::default();
        let findings = judge(&Readings::gather(&System::here(), &wanted), &wanted, "here");
        assert_eq!(findings.len(), HOST.len() - 1, "all but the image");
        for finding in findings {
            assert!(!finding.seen.is_empty());
            assert!(
                finding.status != super::super::finding::Status::Ok || finding.mend.is_none(),
                "{finding:?}"
            );
        }
    }
}

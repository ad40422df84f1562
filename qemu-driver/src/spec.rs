//! What a guest is: every choice that ends up on qemu's command line, and nothing about how the process is
//! run. Turning it into arguments is [`crate::argv()`]'s.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use mvpnet_switch::{Rank, World};

use crate::accel::Accel;

/// One guest, ready to be started: the machine and the ends of its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmSpec {
    /// What does not depend on descriptors and sockets.
    pub machine: Machine,
    /// How frames travel between the cluster NIC and its switch.
    pub cluster: ClusterNet,
    /// The descriptor of the monitor's socket.
    pub qmp: Option<GuestFd>,
    /// The virtio-serial channels by which commands run in the guest without its network.
    pub channels: Option<GuestChannels>,
}

/// The guest's ends of its channels. [`crate::supervise::GuestFds::add_channels`] makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestChannels {
    /// For the qemu guest agent: `org.qemu.guest_agent.0`.
    pub guest_agent: GuestFd,
    /// For the agent of our own: `org.mvpnet.exec.0`.
    pub exec: Option<GuestFd>,
}

/// A guest's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The rank whose guest it is: gives the cluster NIC's address and the host name.
    pub rank: Rank,
    /// The job's world: its size is in the user NIC's address.
    pub world: World,
    /// The job's name, shown in qemu's process name.
    pub job: Option<String>,
    /// The qemu command, a path or a name to be found on `PATH`.
    pub qemu: PathBuf,
    /// A program to start qemu under: it is given the whole qemu command as its arguments.
    pub wrapper: Option<PathBuf>,
    /// What executes the guest's instructions.
    pub accel: Accel,
    /// The CPU type, with its properties; [`Accel::default_cpu`] if none is given.
    pub cpu: Option<String>,
    /// qemu's `-smp` value, untouched.
    pub smp: String,
    /// The guest's memory in MiB.
    pub memory_mib: u32,
    /// The disks, the boot disk first.
    pub disks: Vec<Drive>,
    /// The guest's configuration (NoCloud, file system label `cidata`), an image of an ISO 9660 or FAT file system for
    /// instance. The guest sees it read-only, as the second disk.
    pub seed: Option<PathBuf>,
    /// Boots a kernel without a boot loader.
    pub direct_boot: Option<DirectBoot>,
    /// The IP MTU of the cluster network, which the guest learns from its NIC.
    pub mtu: u16,
    /// The second NIC, on qemu's user network.
    pub user_net: UserNet,
    /// Directories of the host that the guest can mount, at most [`HostShare::MOST`].
    pub shares: Vec<HostShare>,
    /// The file to which qemu copies the serial console, made anew.
    pub console_log: Option<PathBuf>,
}

impl Machine {
    /// A machine with the values that apply where nothing is chosen, in software emulation, with nothing to
    /// boot from.
    pub fn new(rank: Rank, world: World) -> Machine {
        Machine {
            rank,
            world,
            job: None,
            qemu: "qemu-system-x86_64".into(),
            wrapper: None,
            accel: Accel::Tcg,
            cpu: None,
            smp: "1".into(),
            memory_mib: 4096,
            disks: Vec::new(),
            seed: None,
            direct_boot: None,
            mtu: 1500,
            user_net: UserNet::default(),
            shares: Vec::new(),
            console_log: None,
        }
    }
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drive {
    /// A file, with the properties of qemu's `-drive` that go with it, in order.
    Image {
        /// The file.
        file: PathBuf,
        /// Names and values, unescaped.
        properties: Vec<(OsString, OsString)>,
    },
    /// The value of a `-drive` that goes to qemu untouched.
    Verbatim(OsString),
}

/// A kernel that qemu loads itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectBoot {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The kernel's command line.
    pub append: Option<OsString>,
}

/// The kind of link between the cluster NIC and the switch, and qemu's end of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterNet {
    /// A byte stream: each frame follows its length, four bytes, big-endian. qemu connects to the path.
    Stream(StreamEnd),
    /// One frame per datagram.
    Dgram(DgramEnd),
    /// Rings in the guest's memory, which the switch shares. qemu connects to the switch.
    VhostUser(VhostUserEnd),
    /// A tap interface of the host that is there already: the kernel carries the frames, no switch of ours.
    Tap(String),
}

/// qemu's end of a stream link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// A connected stream socket that qemu inherits.
    Inherited(GuestFd),
    /// The unix socket on which the switch listens.
    Path(PathBuf),
}

/// qemu's end of a datagram link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DgramEnd {
    /// A connected datagram socket that qemu inherits.
    Inherited(GuestFd),
    /// Two unix sockets.
    Paths {
        /// The one that qemu makes (and does not remove).
        guest: PathBuf,
        /// The one that the switch has bound.
        switch: PathBuf,
    },
}

/// How qemu finds the socket of a vhost-user link, to which it connects itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VhostUserEnd {
    /// A descriptor that names it, of [`listen`](crate::links::vhost_user::listen), which qemu inherits.
    Inherited(GuestFd),
    /// The unix socket on which the switch listens.
    Path(PathBuf),
}

/// The user network, 192.168.1.0/24 in every guest, with another address for the guest of each rank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserNet {
    /// The port of 127.0.0.1 that is forwarded to the guest's port 22.
    pub ssh_port: Option<u16>,
    /// DNS search domains, in order.
    pub dns_search: Vec<String>,
    /// The directory that the guest can fetch from by TFTP.
    pub tftp: Option<PathBuf>,
}

/// A directory of the host that the guest can mount, as a 9p file system:
/// `mount -t 9p -o trans=virtio,version=9p2000.L TAG DIR`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostShare {
    /// The tag by which the guest's kernel knows it, at most 31 octets.
    pub tag: String,
    /// The directory.
    pub host_dir: PathBuf,
    /// Whether qemu refuses to write to it.
    pub read_only: bool,
}

impl HostShare {
    /// How many of them a guest can have: each is a PCI device with a slot of its own.
    pub const MOST: usize = 14;
}

/// The number that a descriptor has in the qemu process.
///
/// Only [`crate::supervise::GuestFds`] makes them: it holds the descriptor to go with the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestFd(u32);

impl GuestFd {
    /// The first number after stdin, stdout and stderr.
    pub(crate) const FIRST: u32 = 3;

    /// The number of the `index`th descriptor that is handed over.
    pub(crate) const fn nth(index: u32) -> GuestFd {
        GuestFd(GuestFd::FIRST + index)
    }
}

impl fmt::Display for GuestFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

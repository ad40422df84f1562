//! qemu's command line, made of a [`VmSpec`]: a pure function. Starting the process is
//! [`crate::supervise`]'s.
//!
//! The options are those of qemu 7.2 and later (`stream` and `dgram` netdevs on inherited descriptors
//! came with 7.2). Every device but the disks has a fixed PCI slot, so that the names of the guest's network
//! interfaces do not depend on its number of disks, nor on what else is added.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use mvpnet_switch::{MacAddr, Rank};

use crate::accel::Accel;
use crate::spec::{
    ClusterNet, DgramEnd, DirectBoot, Drive, GuestChannels, HostShare, Machine, StreamEnd, UserNet,
    VhostUserEnd, VmSpec,
};

#[cfg(test)]
mod tests;

/// PCI slot of the cluster NIC: the first of the guest's NICs.
const CLUSTER_SLOT: &str = "0x2";
/// PCI slot of the user network's NIC.
const USER_SLOT: &str = "0x3";
/// PCI slot of the random number device.
const RNG_SLOT: &str = "0x4";
/// PCI slot of the channels' device.
const CHANNELS_SLOT: &str = "0x5";
/// PCI slot of the first share; the others follow. Disks get slots from below, and there are not as many.
const FIRST_SHARE_SLOT: usize = 0x10;
/// The user network, the same in every guest.
const USER_NETWORK: &str = "192.168.1.0/24";
/// Last octets of the addresses that guests have there: qemu's own first one, and how many follow.
const USER_ADDRESSES: (u32, u32) = (15, 240);

/// The command that runs the guest: the program, then its arguments.
pub fn argv(spec: &VmSpec) -> Vec<OsString> {
    let VmSpec { machine, cluster, qmp, channels } = spec;
    let Machine {
        rank,
        world,
        job,
        qemu,
        wrapper,
        accel,
        cpu,
        smp,
        memory_mib,
        disks,
        seed,
        direct_boot,
        mtu,
        user_net,
        shares,
        console_log,
    } = machine;
    let host_name = rank.host_name();
    let mut argv = Argv::default();
    if let Some(wrapper) = wrapper {
        argv.word(wrapper);
    }
    argv.word(qemu);
    let name = match job {
        Some(job) => format!("{host_name}.{job}"),
        None => host_name.clone(),
    };
    argv.option("-name", Value::new("").with("guest", name));
    // Nothing that is not asked for: no default devices, no configuration of the user's, no display.
    argv.word("-nodefaults").word("-no-user-config").pair("-display", "none");
    // q35 costs about a fifth less than pc under software emulation. Without graphics the firmware and the
    // boot loader show their messages on the serial console, where "No bootable device" is wanted.
    let machine = Value::new("q35").with("accel", accel.name()).with("graphics", "off");
    argv.machine(machine, cluster, *memory_mib);
    argv.pair("-cpu", cpu.as_deref().unwrap_or(accel.default_cpu()));
    argv.pair("-smp", smp).pair("-m", format!("{memory_mib}M"));

    let mut console = Value::new("stdio").with("id", "console").with("signal", "off");
    if let Some(log) = console_log {
        // qemu's own copy goes on when nobody reads its standard output any more.
        console = console.with("logfile", log);
    }
    argv.option("-chardev", console);
    argv.pair("-serial", "chardev:console");
    if let Some(fd) = qmp {
        argv.option("-chardev", Value::new("socket").with("id", "qmp").with("fd", fd.to_string()));
        argv.option("-mon", Value::new("").with("chardev", "qmp").with("mode", "control"));
    }

    argv.cluster_net(
        cluster,
        nic("cluster", rank.mac(), CLUSTER_SLOT).with("host_mtu", mtu.to_string()),
        *accel,
    );
    argv.option("-netdev", user_netdev(user_net, *rank));
    argv.option("-device", nic("user", MacAddr::user_nic(*world), USER_SLOT));
    argv.option("-device", Value::new("virtio-rng-pci").with("addr", RNG_SLOT));
    if let Some(channels) = channels {
        argv.channels(channels);
    }
    argv.shares(shares);
    argv.drives(disks, seed.as_deref());
    if let Some(direct_boot) = direct_boot {
        argv.direct_boot(direct_boot);
    }
    argv.words
}

fn nic(netdev: &str, mac: MacAddr, slot: &str) -> Value {
    // The empty ROM file keeps the firmware from trying to boot over the network.
    Value::new("virtio-net-pci")
        .with("netdev", netdev)
        .with("mac", mac.to_string())
        .with("addr", slot)
        .with("romfile", "")
}

fn cluster_netdev(cluster: &ClusterNet) -> Value {
    match cluster {
        ClusterNet::Stream(end) => {
            let netdev = Value::new("stream").with("id", "cluster");
            match end {
                StreamEnd::Inherited(fd) => netdev.with("addr.type", "fd").with("addr.str", fd.to_string()),
                StreamEnd::Path(path) => netdev.with("addr.type", "unix").with("addr.path", path),
            }
        }
        ClusterNet::Dgram(end) => {
            let netdev = Value::new("dgram").with("id", "cluster");
            match end {
                DgramEnd::Inherited(fd) => netdev.with("local.type", "fd").with("local.str", fd.to_string()),
                DgramEnd::Paths { guest, switch } => netdev
                    .with("local.type", "unix")
                    .with("local.path", guest)
                    .with("remote.type", "unix")
                    .with("remote.path", switch),
            }
        }
        ClusterNet::VhostUser(_) => Value::new("vhost-user").with("id", "cluster").with("chardev", "cluster"),
        // Without the scripts, which would have qemu look for bridges of its own.
        ClusterNet::Tap(interface) => Value::new("tap")
            .with("id", "cluster")
            .with("ifname", interface)
            .with("script", "no")
            .with("downscript", "no"),
    }
}

fn user_netdev(user_net: &UserNet, rank: Rank) -> Value {
    let UserNet { ssh_port, dns_search, tftp } = user_net;
    // Nothing of one guest reaches another there, but programs that gather a cluster's addresses take two hosts
    // with one address for the same (MPI libraries do).
    let (first, count) = USER_ADDRESSES;
    let mut netdev = Value::new("user")
        .with("id", "user")
        .with("net", USER_NETWORK)
        .with("hostname", rank.host_name())
        .with("dhcpstart", format!("192.168.1.{}", first + rank.index() % count));
    if let Some(port) = ssh_port {
        netdev = netdev.with("hostfwd", format!("tcp:127.0.0.1:{port}-:22"));
    }
    for domain in dns_search {
        netdev = netdev.with("dnssearch", domain);
    }
    if let Some(directory) = tftp {
        netdev = netdev.with("tftp", directory);
    }
    netdev
}

fn drive(drive: &Drive) -> Value {
    match drive {
        Drive::Image { file, properties } => properties
            .iter()
            .fold(Value::new("").with("file", file), |value, (name, setting)| value.with(name, setting)),
        Drive::Verbatim(value) => Value::new(value),
    }
}

fn seed_drive(file: &Path) -> Value {
    Value::new("").with("file", file).with("media", "disk").with("if", "virtio").with("read-only", "on")
}

/// The words of a command line.
#[derive(Default)]
struct Argv {
    words: Vec<OsString>,
}

impl Argv {
    fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Argv {
        self.words.push(word.as_ref().to_owned());
        self
    }

    fn pair(&mut self, option: &str, value: impl AsRef<OsStr>) -> &mut Argv {
        self.word(option).word(value)
    }

    fn option(&mut self, option: &str, value: Value) -> &mut Argv {
        self.pair(option, OsString::from_vec(value.text))
    }

    /// The machine, with memory that it shares with the switch if that is to reach into it.
    fn machine(&mut self, machine: Value, cluster: &ClusterNet, memory_mib: u32) {
        let ClusterNet::VhostUser(_) = cluster else {
            self.option("-machine", machine);
            return;
        };
        // Sealed against shrinking, as it is by default: the switch takes no other.
        let memory = Value::new("memory-backend-memfd")
            .with("id", "memory")
            .with("size", format!("{memory_mib}M"))
            .with("share", "on");
        self.option("-object", memory).option("-machine", machine.with("memory-backend", "memory"));
    }

    fn cluster_net(&mut self, cluster: &ClusterNet, mut nic: Value, accel: Accel) {
        if let ClusterNet::VhostUser(end) = cluster {
            // An inherited connection would not do: qemu passes no descriptors over it.
            let path = match end {
                VhostUserEnd::Inherited(fd) => format!("/proc/self/fd/{fd}").into(),
                VhostUserEnd::Path(path) => path.clone(),
            };
            self.option("-chardev", Value::new("socket").with("id", "cluster").with("path", path));
            // The switch is not told of a driver that changes its mind about offloads, so it must not. The largest ring
            // that qemu allows takes the longest bursts.
            nic = nic.with("ctrl_guest_offloads", "off").with("rx_queue_size", "1024");
            if accel == Accel::Tcg {
                // Without KVM qemu 7.2 crashes when the driver starts with message-signalled interrupts
                // (it asks KVM for their routes).
                nic = nic.with("vectors", "0");
            }
        }
        self.option("-netdev", cluster_netdev(cluster)).option("-device", nic);
    }

    fn channels(&mut self, channels: &GuestChannels) {
        let GuestChannels { guest_agent, exec } = channels;
        self.option(
            "-device",
            Value::new("virtio-serial-pci").with("id", "channels").with("addr", CHANNELS_SLOT),
        );
        self.channel("guest-agent", "org.qemu.guest_agent.0", "1", guest_agent.to_string());
        if let Some(exec) = exec {
            self.channel("exec", "org.mvpnet.exec.0", "2", exec.to_string());
        }
    }

    fn channel(&mut self, id: &str, name: &str, number: &str, fd: String) {
        self.option("-chardev", Value::new("socket").with("id", id).with("fd", fd));
        // The device's id is what qemu's monitor calls it in VSERPORT_CHANGE.
        let port = Value::new("virtserialport")
            .with("id", format!("{id}-port"))
            .with("bus", "channels.0")
            .with("nr", number)
            .with("chardev", id)
            .with("name", name);
        self.option("-device", port);
    }

    fn shares(&mut self, shares: &[HostShare]) {
        for (index, share) in shares.iter().enumerate() {
            let HostShare { tag, host_dir, read_only } = share;
            // With "none", files are what they are on the host: modes, symbolic links, names of owners; a qemu without
            // privileges makes all of them its user's. The mapped models keep modes and links in attributes that
            // only other guests understand, "passthrough" needs root (docs/system/invocation, -fsdev).
            let mut fsdev = Value::new("local")
                .with("id", format!("share{index}"))
                .with("path", host_dir)
                .with("security_model", "none")
                // File systems that are mounted below it have inode numbers of their own.
                .with("multidevs", "remap");
            if *read_only {
                fsdev = fsdev.with("readonly", "on");
            }
            self.option("-fsdev", fsdev);
            let device = Value::new("virtio-9p-pci")
                .with("fsdev", format!("share{index}"))
                .with("mount_tag", tag)
                .with("addr", format!("{:#x}", FIRST_SHARE_SLOT + index));
            self.option("-device", device);
        }
    }

    fn drives(&mut self, disks: &[Drive], seed: Option<&Path>) {
        let mut disks = disks.iter();
        // The configuration is the second disk: /dev/vda stays what the user gave first.
        if let Some(boot_disk) = disks.next() {
            self.option("-drive", drive(boot_disk));
        }
        if let Some(seed) = seed {
            self.option("-drive", seed_drive(seed));
        }
        for disk in disks {
            self.option("-drive", drive(disk));
        }
    }

    fn direct_boot(&mut self, direct_boot: &DirectBoot) {
        let DirectBoot { kernel, initrd, append } = direct_boot;
        self.pair("-kernel", kernel);
        if let Some(initrd) = initrd {
            self.pair("-initrd", initrd);
        }
        if let Some(append) = append {
            self.pair("-append", append);
        }
    }
}

/// The value of an option that is a list of `name=value`, with commas doubled as qemu wants it
/// (qemu(1), "-drive": "to use a file name with comma, it must be doubled").
struct Value {
    text: Vec<u8>,
}

impl Value {
    /// Begins with the kind of thing, or with nothing.
    fn new(kind: impl AsRef<OsStr>) -> Value {
        Value { text: kind.as_ref().as_bytes().to_vec() }
    }

    fn with(mut self, name: impl AsRef<OsStr>, setting: impl AsRef<OsStr>) -> Value {
        if !self.text.is_empty() {
            self.text.push(b',');
        }
        self.text.extend_from_slice(name.as_ref().as_bytes());
        self.text.push(b'=');
        for &byte in setting.as_ref().as_bytes() {
            self.text.push(byte);
            if byte == b',' {
                self.text.push(byte);
            }
        }
        self
    }
}

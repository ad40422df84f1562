//! qemu's command line, made of a [`VmSpec`]: a pure function. Starting the process is
//! [`crate::supervise`]'s.
//!
//! The options are those of qemu 7.2 and later (`stream` and `dgram` netdevs on inherited descriptors
//! came with 7.2). The NICs and the random number device have fixed PCI slots, so that the names of the
//! guest's network interfaces do not depend on its number of disks.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use mvpnet_switch::MacAddr;

use crate::spec::{ClusterNet, DgramEnd, DirectBoot, Drive, Machine, Seed, StreamEnd, UserNet, VmSpec};

#[cfg(test)]
mod tests;

/// PCI slot of the cluster NIC: the first of the guest's NICs.
const CLUSTER_SLOT: &str = "0x2";
/// PCI slot of the user network's NIC.
const USER_SLOT: &str = "0x3";
/// PCI slot of the random number device.
const RNG_SLOT: &str = "0x4";
/// The user network, the same in every guest.
const USER_NETWORK: &str = "192.168.1.0/24";

/// The command that runs the guest: the program, then its arguments.
pub fn argv(spec: &VmSpec) -> Vec<OsString> {
    let VmSpec { machine, cluster, qmp } = spec;
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
    argv.option("-machine", Value::new("q35").with("accel", accel.name()).with("graphics", "off"));
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

    argv.option("-netdev", cluster_netdev(cluster));
    argv.option("-device", nic("cluster", rank.mac(), CLUSTER_SLOT).with("host_mtu", mtu.to_string()));
    argv.option("-netdev", user_netdev(user_net, &host_name));
    argv.option("-device", nic("user", MacAddr::user_nic(*world), USER_SLOT));
    argv.option("-device", Value::new("virtio-rng-pci").with("addr", RNG_SLOT));
    argv.drives(disks, seed.as_ref());
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
        // Without the scripts, which would have qemu look for bridges of its own.
        ClusterNet::Tap(interface) => Value::new("tap")
            .with("id", "cluster")
            .with("ifname", interface)
            .with("script", "no")
            .with("downscript", "no"),
    }
}

fn user_netdev(user_net: &UserNet, host_name: &str) -> Value {
    let UserNet { ssh_port, dns_search, tftp } = user_net;
    let mut netdev =
        Value::new("user").with("id", "user").with("net", USER_NETWORK).with("hostname", host_name);
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

fn seed_drive(seed: &Seed) -> Value {
    let value = match seed {
        Seed::Image(file) => Value::new("").with("file", file),
        // The label is how cloud-init finds the file system (NoCloud data source).
        Seed::Directory(directory) => Value::new("")
            .with("driver", "raw")
            .with("file.driver", "vvfat")
            .with("file.dir", directory)
            .with("file.label", "cidata"),
    };
    value.with("media", "disk").with("if", "virtio").with("read-only", "on")
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

    fn drives(&mut self, disks: &[Drive], seed: Option<&Seed>) {
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

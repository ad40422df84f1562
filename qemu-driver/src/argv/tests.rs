//! Every option of the command line, as snapshots.

use std::ffi::OsString;

use mvpnet_switch::World;

use crate::accel::Accel;
use crate::argv;
use crate::spec::{
    ClusterNet, DgramEnd, DirectBoot, Drive, GuestChannels, GuestFd, HostShare, Machine, StreamEnd, UserNet,
    VhostUserEnd, VmSpec,
};

fn plain() -> VmSpec {
    let world = World::new(4).unwrap();
    let rank = world.rank(3).unwrap();
    VmSpec {
        machine: Machine { disks: vec![disk("/images/a.qcow2")], ..Machine::new(rank, world) },
        cluster: ClusterNet::Stream(StreamEnd::Inherited(GuestFd::nth(1))),
        qmp: Some(GuestFd::nth(0)),
        channels: None,
    }
}

fn disk(file: &str) -> Drive {
    Drive::Image {
        file: file.into(),
        properties: vec![("media".into(), "disk".into()), ("if".into(), "virtio".into())],
    }
}

/// One option a line, its value beside it.
fn show(spec: &VmSpec) -> String {
    let mut text = String::new();
    for word in argv(spec) {
        let word = word.into_string().unwrap();
        let opens_a_line = word.starts_with('-') || text.is_empty() || !text.contains('-');
        if !text.is_empty() {
            text.push(if opens_a_line { '\n' } else { ' ' });
        }
        text.push_str(if word.is_empty() { "''" } else { &word });
    }
    text
}

/// The lines that a change to the plain guest adds or removes.
fn show_change(change: impl FnOnce(&mut VmSpec)) -> String {
    let mut spec = plain();
    let before = show(&spec);
    change(&mut spec);
    let after = show(&spec);
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
    let lines: Vec<_> =
        gone.map(|line| format!("- {line}")).chain(new.map(|line| format!("+ {line}"))).collect();
    lines.join("\n")
}

#[test]
fn a_plain_guest() {
    insta::assert_snapshot!(show(&plain()), @"
    qemu-system-x86_64
    -name guest=n0003
    -nodefaults
    -no-user-config
    -display none
    -machine q35,accel=tcg,graphics=off
    -cpu max
    -smp 1
    -m 4096M
    -chardev stdio,id=console,signal=off
    -serial chardev:console
    -chardev socket,id=qmp,fd=3
    -mon chardev=qmp,mode=control
    -netdev stream,id=cluster,addr.type=fd,addr.str=4
    -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500
    -netdev user,id=user,net=192.168.1.0/24,hostname=n0003,dhcpstart=192.168.1.18
    -device virtio-net-pci,netdev=user,mac=52:56:00:00:00:04,addr=0x3,romfile=
    -device virtio-rng-pci,addr=0x4
    -drive file=/images/a.qcow2,media=disk,if=virtio
    ");
}

#[test]
fn a_wrapper_gets_the_whole_command() {
    let mut spec = plain();
    spec.machine.wrapper = Some("monwrap".into());
    spec.machine.qemu = "/usr/libexec/qemu-kvm".into();
    assert_eq!(argv(&spec)[..3], ["monwrap", "/usr/libexec/qemu-kvm", "-name"].map(OsString::from));
}

#[test]
fn the_accelerator_brings_its_cpu_unless_one_is_given() {
    insta::assert_snapshot!(show_change(|spec| spec.machine.accel = Accel::Kvm), @"
    - -machine q35,accel=tcg,graphics=off
    - -cpu max
    + -machine q35,accel=kvm,graphics=off
    + -cpu host
    ");
    insta::assert_snapshot!(show_change(|spec| spec.machine.cpu = Some("max,-avx512f".into())), @"
    - -cpu max
    + -cpu max,-avx512f
    ");
}

#[test]
fn size_and_topology() {
    insta::assert_snapshot!(show_change(|spec| {
        spec.machine.smp = "4,sockets=2,cores=2".into();
        spec.machine.memory_mib = 512;
    }), @"
    - -smp 1
    - -m 4096M
    + -smp 4,sockets=2,cores=2
    + -m 512M
    ");
}

#[test]
fn the_job_is_in_the_name() {
    insta::assert_snapshot!(show_change(|spec| spec.machine.job = Some("a,b".into())), @"
    - -name guest=n0003
    + -name guest=n0003.a,,b
    ");
}

#[test]
fn the_seed_is_the_second_disk() {
    let mut spec = plain();
    spec.machine.disks.push(disk("/images/b.raw"));
    spec.machine.seed = Some("/seeds/3.iso".into());
    insta::assert_snapshot!(drives(&spec), @"
    -drive file=/images/a.qcow2,media=disk,if=virtio
    -drive file=/seeds/3.iso,media=disk,if=virtio,read-only=on
    -drive file=/images/b.raw,media=disk,if=virtio
    ");
}

#[test]
fn commas_in_file_names_are_doubled_and_verbatim_drives_are_untouched() {
    let mut spec = plain();
    spec.machine.disks = vec![
        Drive::Image { file: "/a,b.img".into(), properties: vec![("snapshot".into(), "on".into())] },
        Drive::Verbatim("file=nbd://host/x,if=virtio,format=raw".into()),
    ];
    insta::assert_snapshot!(drives(&spec), @"
    -drive file=/a,,b.img,snapshot=on
    -drive file=nbd://host/x,if=virtio,format=raw
    ");
}

#[test]
fn a_kernel_is_booted_directly() {
    insta::assert_snapshot!(show_change(|spec| {
        spec.machine.disks.clear();
        spec.machine.direct_boot = Some(DirectBoot {
            kernel: "/tiny/vmlinuz".into(),
            initrd: Some("/tiny/initramfs.gz".into()),
            append: Some("console=ttyS0 quiet".into()),
        });
    }), @"
    - -drive file=/images/a.qcow2,media=disk,if=virtio
    + -kernel /tiny/vmlinuz
    + -initrd /tiny/initramfs.gz
    + -append console=ttyS0 quiet
    ");
}

#[test]
fn the_mtu_is_told_by_the_nic() {
    insta::assert_snapshot!(show_change(|spec| spec.machine.mtu = 9000), @"
    - -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500
    + -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=9000
    ");
}

#[test]
fn the_console_log_is_qemu_s() {
    insta::assert_snapshot!(show_change(|spec| spec.machine.console_log = Some("/logs/con.a,b.3.log".into())), @"
    - -chardev stdio,id=console,signal=off
    + -chardev stdio,id=console,signal=off,logfile=/logs/con.a,,b.3.log
    ");
}

#[test]
fn cluster_links() {
    let link = |cluster| show_change(|spec| spec.cluster = cluster);
    insta::assert_snapshot!(link(ClusterNet::Stream(StreamEnd::Path("/s/stream.job.3.sock".into()))), @"
    - -netdev stream,id=cluster,addr.type=fd,addr.str=4
    + -netdev stream,id=cluster,addr.type=unix,addr.path=/s/stream.job.3.sock
    ");
    insta::assert_snapshot!(link(ClusterNet::Dgram(DgramEnd::Inherited(GuestFd::nth(1)))), @"
    - -netdev stream,id=cluster,addr.type=fd,addr.str=4
    + -netdev dgram,id=cluster,local.type=fd,local.str=4
    ");
    insta::assert_snapshot!(
        link(ClusterNet::Dgram(DgramEnd::Paths { guest: "/s/g.sock".into(), switch: "/s/s.sock".into() })),
        @"
        - -netdev stream,id=cluster,addr.type=fd,addr.str=4
        + -netdev dgram,id=cluster,local.type=unix,local.path=/s/g.sock,remote.type=unix,remote.path=/s/s.sock
        "
    );
}

#[test]
fn rings_in_shared_memory() {
    insta::assert_snapshot!(show_change(|spec| spec.cluster = ClusterNet::VhostUser(VhostUserEnd::Inherited(GuestFd::nth(1)))), @"
    - -machine q35,accel=tcg,graphics=off
    - -netdev stream,id=cluster,addr.type=fd,addr.str=4
    - -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500
    + -object memory-backend-memfd,id=memory,size=4096M,share=on
    + -machine q35,accel=tcg,graphics=off,memory-backend=memory
    + -chardev socket,id=cluster,path=/proc/self/fd/4
    + -netdev vhost-user,id=cluster,chardev=cluster
    + -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500,ctrl_guest_offloads=off,rx_queue_size=1024,vectors=0
    ");
    // With KVM interrupts may be as they are elsewhere.
    insta::assert_snapshot!(show_change(|spec| {
        spec.machine.accel = Accel::Kvm;
        spec.machine.memory_mib = 512;
        spec.cluster = ClusterNet::VhostUser(VhostUserEnd::Path("/s/v.sock".into()));
    }), @"
    - -machine q35,accel=tcg,graphics=off
    - -cpu max
    - -m 4096M
    - -netdev stream,id=cluster,addr.type=fd,addr.str=4
    - -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500
    + -object memory-backend-memfd,id=memory,size=512M,share=on
    + -machine q35,accel=kvm,graphics=off,memory-backend=memory
    + -cpu host
    + -m 512M
    + -chardev socket,id=cluster,path=/s/v.sock
    + -netdev vhost-user,id=cluster,chardev=cluster
    + -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500,ctrl_guest_offloads=off,rx_queue_size=1024
    ");
}

#[test]
fn a_tap_is_used_as_it_is() {
    insta::assert_snapshot!(show_change(|spec| spec.cluster = ClusterNet::Tap("mvtap40".into())), @"
    - -netdev stream,id=cluster,addr.type=fd,addr.str=4
    + -netdev tap,id=cluster,ifname=mvtap40,script=no,downscript=no
    ");
}

#[test]
fn the_user_network() {
    insta::assert_snapshot!(show_change(|spec| {
        spec.machine.user_net = UserNet {
            ssh_port: Some(2203),
            dns_search: vec!["example.org".into(), "lab".into()],
            tftp: Some("/srv/tftp".into()),
        };
    }), @"
    - -netdev user,id=user,net=192.168.1.0/24,hostname=n0003,dhcpstart=192.168.1.18
    + -netdev user,id=user,net=192.168.1.0/24,hostname=n0003,dhcpstart=192.168.1.18,hostfwd=tcp:127.0.0.1:2203-:22,dnssearch=example.org,dnssearch=lab,tftp=/srv/tftp
    ");
}

#[test]
fn without_a_monitor_there_is_no_socket() {
    insta::assert_snapshot!(show_change(|spec| spec.qmp = None), @"
    - -chardev socket,id=qmp,fd=3
    - -mon chardev=qmp,mode=control
    ");
}

#[test]
fn channels_are_sockets_that_qemu_inherits() {
    insta::assert_snapshot!(show_change(|spec| {
        let channels = GuestChannels { guest_agent: GuestFd::nth(2), exec: Some(GuestFd::nth(3)) };
        spec.channels = Some(channels);
    }), @"
    + -device virtio-serial-pci,id=channels,addr=0x5
    + -chardev socket,id=guest-agent,fd=5
    + -device virtserialport,id=guest-agent-port,bus=channels.0,nr=1,chardev=guest-agent,name=org.qemu.guest_agent.0
    + -chardev socket,id=exec,fd=6
    + -device virtserialport,id=exec-port,bus=channels.0,nr=2,chardev=exec,name=org.mvpnet.exec.0
    ");
    insta::assert_snapshot!(show_change(|spec| {
        spec.channels = Some(GuestChannels { guest_agent: GuestFd::nth(2), exec: None });
    }), @"
    + -device virtio-serial-pci,id=channels,addr=0x5
    + -chardev socket,id=guest-agent,fd=5
    + -device virtserialport,id=guest-agent-port,bus=channels.0,nr=1,chardev=guest-agent,name=org.qemu.guest_agent.0
    ");
}

#[test]
fn shares_have_slots_of_their_own() {
    insta::assert_snapshot!(show_change(|spec| {
        let share = |tag: &str, host_dir: &str, read_only| {
            HostShare { tag: tag.into(), host_dir: host_dir.into(), read_only }
        };
        spec.machine.shares = vec![share("share0", "/home/me/a,b", false), share("share1", "/srv/data", true)];
    }), @"
    + -fsdev local,id=share0,path=/home/me/a,,b,security_model=none,multidevs=remap
    + -device virtio-9p-pci,fsdev=share0,mount_tag=share0,addr=0x10
    + -fsdev local,id=share1,path=/srv/data,security_model=none,multidevs=remap,readonly=on
    + -device virtio-9p-pci,fsdev=share1,mount_tag=share1,addr=0x11
    ");
}

#[test]
fn ranks_have_other_addresses_on_the_user_network_as_long_as_there_are_any() {
    let address = |rank| {
        let mut spec = plain();
        spec.machine.world = World::new(1000).unwrap();
        spec.machine.rank = spec.machine.world.rank(rank).unwrap();
        show(&spec).split("dhcpstart=").nth(1).unwrap().lines().next().unwrap().to_owned()
    };
    assert_eq!(
        [0, 1, 239, 240].map(address),
        ["192.168.1.15", "192.168.1.16", "192.168.1.254", "192.168.1.15"]
    );
}

#[test]
fn every_rank_has_its_own_cluster_address_and_all_share_the_user_nics() {
    insta::assert_snapshot!(show_change(|spec| {
        spec.machine.world = World::new(100_000).unwrap();
        spec.machine.rank = spec.machine.world.rank(65_536).unwrap();
    }), @"
    - -name guest=n0003
    - -device virtio-net-pci,netdev=cluster,mac=52:55:00:00:00:03,addr=0x2,romfile=,host_mtu=1500
    - -netdev user,id=user,net=192.168.1.0/24,hostname=n0003,dhcpstart=192.168.1.18
    - -device virtio-net-pci,netdev=user,mac=52:56:00:00:00:04,addr=0x3,romfile=
    + -name guest=n65536
    + -device virtio-net-pci,netdev=cluster,mac=52:55:00:01:00:00,addr=0x2,romfile=,host_mtu=1500
    + -netdev user,id=user,net=192.168.1.0/24,hostname=n65536,dhcpstart=192.168.1.31
    + -device virtio-net-pci,netdev=user,mac=52:56:00:01:86:a0,addr=0x3,romfile=
    ");
}

fn drives(spec: &VmSpec) -> String {
    show(spec).lines().filter(|line| line.starts_with("-drive")).collect::<Vec<_>>().join("\n")
}

//! The real qemu, without an operating system in it: the firmware finds nothing to boot and waits.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use mvpnet_qemu_driver::readiness::{NotReady, ProbeFailure, ReadyTimes, ReadyWhen, wait_ready};
use mvpnet_qemu_driver::spec::{ClusterNet, DgramEnd, Drive, HostShare, Machine, StreamEnd, UserNet, VmSpec};
use mvpnet_qemu_driver::supervise::{Guest, GuestFds, Keeper, Launch, ProcessEnd, StopLadder, StopStep};
use mvpnet_qemu_driver::{argv, ports};
use mvpnet_switch::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use common::{GONE_WITHIN, have_qemu, holds_within, is_gone, keeper_spec};

const MONITOR: Duration = Duration::from_secs(60);

/// A guest with an inherited link; the other end of the link is given back to be kept open.
fn spec(fds: &mut GuestFds) -> (VmSpec, UnixStream) {
    let world = World::new(4).unwrap();
    let qmp = fds.add_qmp().unwrap();
    let (switch, guest) = UnixStream::pair().unwrap();
    let machine =
        Machine { job: Some("test".into()), memory_mib: 64, ..Machine::new(world.rank(3).unwrap(), world) };
    let spec = VmSpec {
        machine,
        cluster: ClusterNet::Stream(StreamEnd::Inherited(fds.add(guest))),
        qmp: Some(qmp),
        channels: None,
    };
    (spec, switch)
}

async fn start(spec: &VmSpec, fds: GuestFds) -> Guest {
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(Launch { argv: argv(spec), env: Vec::new(), fds }).await.unwrap();
    if let Err(error) = guest.qmp().unwrap().ready(MONITOR).await {
        panic!("{error}: {:?}", guest.stderr().last_lines(5));
    }
    guest
}

async fn query(guest: &Guest, command: &str) -> Value {
    guest.qmp().unwrap().execute(command, Value::Null).await.unwrap()
}

/// The guest runs, complained of nothing, and ends when told to.
async fn runs_and_quits(guest: Guest) {
    assert_eq!(guest.qmp().unwrap().query_status().await.unwrap(), "running");
    guest.qmp().unwrap().quit().await.unwrap();
    let end = guest.ended().await;
    assert_eq!(end.process, Some(ProcessEnd::Code(0)), "{end}");
    assert!(!end.powered_off());
    assert_eq!(guest.stderr().last_lines(5), Vec::<String>::new());
    assert!(guest.finish(vec![]).await.is_empty());
}

#[tokio::test]
async fn a_plain_guest_is_accepted_and_says_on_its_console_that_it_cannot_boot() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (spec, _switch) = spec(&mut fds);
    let guest = start(&spec, fds).await;
    assert!(guest.console().wait_for("No bootable device.").await);
    runs_and_quits(guest).await;
}

#[tokio::test]
async fn every_kind_of_link_is_accepted() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (guest_path, switch_path) = (dir.path().join("g.sock"), dir.path().join("s.sock"));
    let listening_path = dir.path().join("l,1.sock");
    let switch = UnixDatagram::bind(&switch_path).unwrap();
    let listener = UnixListener::bind(&listening_path).unwrap();
    let (inherited, theirs) = UnixDatagram::pair().unwrap();

    let mut fds = GuestFds::new();
    let (mut vm, _) = spec(&mut fds);
    vm.cluster = ClusterNet::Dgram(DgramEnd::Inherited(fds.add(theirs)));
    runs_and_quits(start(&vm, fds).await).await;

    let mut fds = GuestFds::new();
    let (mut vm, _) = spec(&mut fds);
    vm.cluster = ClusterNet::Dgram(DgramEnd::Paths { guest: guest_path, switch: switch_path });
    runs_and_quits(start(&vm, fds).await).await;

    let mut fds = GuestFds::new();
    let (mut vm, _) = spec(&mut fds);
    vm.cluster = ClusterNet::Stream(StreamEnd::Path(listening_path));
    let guest = start(&vm, fds).await;
    listener.accept().unwrap();
    runs_and_quits(guest).await;
    drop((switch, inherited));
}

#[tokio::test]
async fn every_kind_of_disk_and_option_is_accepted_and_the_nics_stay_where_they_are() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = |name: &str| {
        let path = dir.path().join(name);
        fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
        path
    };
    let virtio = |path: &Path, more: &str| Drive::Image {
        file: path.to_owned(),
        properties: [("format", "raw"), ("media", "disk"), ("if", "virtio"), (more, "on")]
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
    };
    let port = ports::reserve(World::new(65_000).unwrap().rank(30_000).unwrap(), 100).unwrap();

    let mut fds = GuestFds::new();
    let (mut vm, _switch) = spec(&mut fds);
    vm.machine.disks = vec![
        virtio(&image("a,b.img"), "snapshot"),
        virtio(&image("c.img"), "read-only"),
        virtio(&image("d.img"), "snapshot"),
        Drive::Verbatim(format!("file={},if=virtio,format=raw", image("e.img").display()).into()),
    ];
    vm.machine.seed = Some(image("se,ed.img"));
    vm.machine.smp = "2,sockets=1".into();
    vm.machine.mtu = 9000;
    vm.machine.user_net = UserNet {
        ssh_port: Some(port.port()),
        dns_search: vec!["example.org".into(), "lab".into()],
        tftp: Some(dir.path().to_owned()),
    };
    let guest = start(&vm, fds).await;

    let pci = query(&guest, "query-pci").await;
    let network: Vec<_> = pci[0]["devices"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|device| device["class_info"]["class"] == 0x200)
        .map(|device| device["slot"].as_u64().unwrap())
        .collect();
    assert_eq!(network, [2, 3]);
    let first = json!({ "path": "/machine/peripheral-anon/device[0]", "property": "host_mtu" });
    let mtu = guest.qmp().unwrap().execute("qom-get", first).await.unwrap();
    assert_eq!(mtu, 9000);
    let blocks = query(&guest, "query-block").await;
    let read_only: Vec<_> =
        blocks.as_array().unwrap().iter().map(|block| block["inserted"]["ro"].as_bool().unwrap()).collect();
    assert_eq!(read_only, [false, true, true, false, false], "{blocks:#}");

    // qemu takes the connection although nothing listens in the guest.
    let times =
        ReadyTimes { banner: Duration::from_millis(300), ..ReadyTimes::with_overall(Duration::from_secs(1)) };
    let error = wait_ready(&ReadyWhen::Ssh, port.address(), guest.console(), times).await.unwrap_err();
    assert!(matches!(error, NotReady::NoBanner { last: ProbeFailure::Silent, .. }), "{error}");
    runs_and_quits(guest).await;
}

#[tokio::test]
async fn a_guest_that_does_not_heed_the_power_button_is_terminated() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (spec, _switch) = spec(&mut fds);
    let guest = start(&spec, fds).await;
    let mut events = guest.qmp().unwrap().events();
    let ladder = StopLadder {
        powerdown_grace: Duration::from_millis(700),
        powerdown_every: Duration::from_millis(300),
        terminate_grace: Duration::from_secs(30),
    };
    let report = guest.shutdown(&ladder).await;
    assert_eq!(report.step, StopStep::Terminate, "{report:?}");
    assert!(report.elapsed >= ladder.powerdown_grace);
    // qemu heeds SIGINT: it closes its images and exits.
    assert_eq!(report.end.process, Some(ProcessEnd::Code(0)));
    assert_eq!(report.end.to_string(), "qemu was told to quit");
    let mut pressed = 0;
    while let Ok(event) = events.try_recv() {
        pressed += usize::from(event.name == "POWERDOWN");
    }
    assert!(pressed >= 2, "the button was pressed {pressed} times");
}

/// As a batch system sends it to every process of a job that is cancelled.
#[tokio::test]
async fn a_sigterm_from_elsewhere_does_not_cut_a_guest_off() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (spec, _switch) = spec(&mut fds);
    let guest = start(&spec, fds).await;
    kill(Pid::from_raw(guest.pid().cast_signed()), Signal::SIGTERM).unwrap();
    // By the second answer qemu has been through its main loop, where it would have heard.
    for _ in 0..2 {
        assert_eq!(query(&guest, "query-status").await["status"], "running");
    }
    runs_and_quits(guest).await;
}

#[tokio::test]
async fn qemu_dies_with_its_keeper() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (spec, _switch) = spec(&mut fds);
    let guest = start(&spec, fds).await;
    kill(Pid::from_raw(guest.keeper_pid().cast_signed()), Signal::SIGKILL).unwrap();
    assert!(holds_within(GONE_WITHIN, || is_gone(guest.pid())));
    assert_eq!(guest.ended().await.process, None);
}

#[tokio::test]
async fn qemu_is_stopped_when_its_guest_is_dropped() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (spec, _switch) = spec(&mut fds);
    let guest = start(&spec, fds).await;
    let (pid, keeper) = (guest.pid(), guest.keeper_pid());
    drop(guest);
    assert!(holds_within(GONE_WITHIN, || is_gone(pid) && is_gone(keeper)));
}

#[tokio::test]
async fn what_qemu_has_to_say_against_its_command_line_is_kept() {
    if !have_qemu() {
        return;
    }
    let mut fds = GuestFds::new();
    let (mut spec, _switch) = spec(&mut fds);
    spec.machine.cpu = Some("no-such-cpu".into());
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(Launch { argv: argv(&spec), env: Vec::new(), fds }).await.unwrap();
    assert_eq!(guest.ended().await.process, Some(ProcessEnd::Code(1)));
    let said = guest.stderr().last_lines(1).concat();
    assert!(said.contains("no-such-cpu"), "{said}");
}

#[tokio::test]
async fn channels_and_shares_are_accepted_and_do_not_move_the_network_cards() {
    if !have_qemu() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut fds = GuestFds::new();
    let (mut spec, _switch) = spec(&mut fds);
    spec.channels = Some(fds.add_channels(true).unwrap());
    spec.machine.shares = (0..HostShare::MOST)
        .map(|index| HostShare {
            tag: format!("share{index}"),
            host_dir: dir.path().into(),
            read_only: index % 2 == 1,
        })
        .collect();
    let guest = start(&spec, fds).await;
    let chardevs = query(&guest, "query-chardev").await;
    let names: Vec<_> =
        chardevs.as_array().unwrap().iter().filter_map(|entry| entry["label"].as_str()).collect();
    assert!(["guest-agent", "exec"].iter().all(|name| names.contains(name)), "{names:?}");
    let buses = query(&guest, "query-pci").await;
    let devices = buses[0]["devices"].as_array().unwrap();
    // virtio's id of network cards, 1000 (VIRTIO 1.2, section 5.1.1, transitional).
    let cards: Vec<_> = devices.iter().filter(|device| device["id"]["device"] == 0x1000).collect();
    assert_eq!(cards.iter().map(|card| &card["slot"]).collect::<Vec<_>>(), [2, 3]);
    let ends = guest.take_channels().unwrap();
    assert!(ends.exec.is_some() && guest.take_channels().is_none());
    runs_and_quits(guest).await;
}

//! The real qemu with a real Linux in it: the tiny guest of the testbeds, if it has been built.
// Real processes take real time, and clippy sees no test in what tests share.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod common;

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_qemu_driver::ports::PortReservation;
use mvpnet_qemu_driver::readiness::{ReadyTimes, ReadyWhen, wait_ready};
use mvpnet_qemu_driver::spec::{ClusterNet, DirectBoot, Machine, StreamEnd, UserNet, VmSpec};
use mvpnet_qemu_driver::supervise::{Guest, GuestFds, Keeper, Launch, StopLadder, StopStep};
use mvpnet_qemu_driver::{Accel, argv, ports};
use mvpnet_switch::World;

use common::{is_gone, keeper_spec, tiny};

struct Tiny {
    guest: Guest,
    port: PortReservation,
    _switch: UnixStream,
}

async fn boot(dir: PathBuf) -> Tiny {
    let world = World::new(65_000).unwrap();
    let rank = world.rank(31_000).unwrap();
    let port = ports::reserve(rank, 100).unwrap();
    let mut fds = GuestFds::new();
    let qmp = fds.add_qmp().unwrap();
    let (switch, theirs) = UnixStream::pair().unwrap();
    let machine = Machine {
        memory_mib: 256,
        direct_boot: Some(DirectBoot {
            kernel: dir.join("kernel"),
            initrd: Some(dir.join("initrd")),
            append: Some(std::fs::read_to_string(dir.join("cmdline")).unwrap().trim().into()),
        }),
        user_net: UserNet { ssh_port: Some(port.port()), ..UserNet::default() },
        ..Machine::new(rank, world)
    };
    let spec = VmSpec {
        machine,
        cluster: ClusterNet::Stream(StreamEnd::Inherited(fds.add(theirs))),
        qmp: Some(qmp),
        channels: None,
    };
    let keeper = Keeper::spawn(keeper_spec()).await.unwrap();
    let guest = keeper.launch(Launch { argv: argv(&spec), env: Vec::new(), fds }).await.unwrap();
    Tiny { guest, port, _switch: switch }
}

#[tokio::test]
async fn a_guest_boots_to_its_ssh_banner_and_heeds_the_power_button() {
    let Some(dir) = tiny() else { return };
    let Tiny { guest, port, _switch } = boot(dir).await;
    let times = ReadyTimes::default_for(Accel::Tcg);
    let ready = wait_ready(&ReadyWhen::Ssh, port.address(), guest.console(), times).await;
    let ready = ready.unwrap_or_else(|error| panic!("{error}: {:#?}", guest.console().last_lines(20)));
    assert!(ready.banner.unwrap().starts_with("SSH-2.0-"));

    let report = guest.shutdown(&StopLadder::default_for(Accel::Tcg)).await;
    assert_eq!(report.step, StopStep::PowerDown, "{report:?}");
    assert!(report.end.powered_off(), "{}", report.end);
    assert_eq!(report.end.to_string(), "the guest powered off");
    assert!(guest.finish(vec![]).await.is_empty());
    assert!(is_gone(guest.pid()));
}

#[tokio::test]
async fn a_guest_that_still_boots_heeds_a_later_press_of_the_button() {
    let Some(dir) = tiny() else { return };
    let Tiny { guest, _switch, .. } = boot(dir).await;
    let ladder =
        StopLadder { powerdown_every: Duration::from_secs(1), ..StopLadder::default_for(Accel::Tcg) };
    let report = guest.shutdown(&ladder).await;
    assert_eq!(report.step, StopStep::PowerDown, "{report:?}: {:#?}", guest.console().last_lines(20));
    assert!(report.end.powered_off(), "{}", report.end);
}

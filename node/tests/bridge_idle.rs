//! A bridge without traffic sleeps, and one that was woken sleeps again.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that fails says so by panicking, and what it measures is real time"
)]

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use mvpnet_node::bridge::{BridgeLoop, Command, mailbox};
use mvpnet_switch::{BridgeConfig, Vni};
use mvpnet_transports::vxlan::{Tunnel, Vtep, VtepConfig};
use nix::sys::resource::{UsageWho, getrusage};

/// Time on a core that all threads of this process have used.
fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = [usage.user_time(), usage.system_time()].map(|it| it.tv_sec() * 1_000_000 + it.tv_usec());
    Duration::from_micros(micros.iter().sum::<i64>().cast_unsigned())
}

#[test]
fn an_idle_bridge_keeps_no_core_busy() {
    let peers = [2, 3].map(|last| UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap());
    let [sender, receiver] = &peers;
    let vtep = Vtep::bind(&VtepConfig::new(([127, 0, 0, 1], 0).into())).unwrap();
    let listen = vtep.local_addr();
    let (handle, mailbox, _events) = mailbox().unwrap();
    let mut bridge = BridgeLoop::new("test".into(), vtep, BridgeConfig::default(), Some(1450), mailbox);
    let tunnel =
        |vni, peer: &UdpSocket| Tunnel { vni: Vni::new(vni).unwrap(), peer: peer.local_addr().unwrap() };
    bridge.set_tunnels(&[tunnel(40, sender), tunnel(41, receiver)]);
    let thread = std::thread::spawn(move || bridge.run());

    let mut datagram = [&[8, 0, 0, 0, 0, 0, 40, 0][..], &[0xff; 6], &[2, 0, 0, 0, 0, 1]].concat();
    datagram.resize(68, 0);
    // A stranger's, which is told of once and then once a minute.
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    stranger.send_to(&datagram, listen).unwrap();
    stranger.send_to(&datagram, listen).unwrap();
    let (began, used) = (Instant::now(), cpu_time());
    receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for _ in 0..10 {
        sender.send_to(&datagram, listen).unwrap();
        receiver.recv(&mut [0; 100]).unwrap();
        // Nothing more comes: this is how the test waits.
        receiver.recv(&mut [0; 100]).unwrap_err();
    }
    let (took, used) = (began.elapsed(), cpu_time() - used);
    assert!(took >= Duration::from_secs(1));
    assert!(used < took / 50, "{used:?} on a core in {took:?} with ten frames");
    handle.send(Command::Stop);
    thread.join().unwrap();
}

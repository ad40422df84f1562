//! A warm bridge allocates nothing for a frame: counted while frames cross it both ways, learned, flooded and
//! dropped.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

mod counting;

use std::net::{SocketAddr, UdpSocket};

use mvpnet_node::bridge::{BridgeLoop, Command, mailbox};
use mvpnet_switch::{BridgeConfig, Vni};
use mvpnet_transports::vxlan::{Tunnel, Vtep, VtepConfig};

use counting::{Counting, allocations};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Frames that are sent before any is received: few enough for the sockets' buffers.
const ROUND: usize = 32;

/// A frame of 200 bytes as VXLAN, from the guest of VNI 40.
fn datagram(to: [u8; 6]) -> Vec<u8> {
    let mut datagram = [&[8, 0, 0, 0, 0, 0, 40, 0][..], &to, &[2, 0, 0, 0, 0, 1]].concat();
    datagram.resize(8 + 200, 0x5a);
    datagram
}

#[test]
fn a_warm_bridge_allocates_nothing_for_a_frame() {
    let peers = [2, 3].map(|last| UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap());
    let [sender, receiver] = &peers;
    let vtep = Vtep::bind(&VtepConfig::new(([127, 0, 0, 1], 0).into())).unwrap();
    let listen = vtep.local_addr();
    let (handle, mailbox, _events) = mailbox().unwrap();
    // No storm is too large here.
    let config = BridgeConfig { storm_limit: None, ..BridgeConfig::default() };
    let mut bridge = BridgeLoop::new("test".into(), vtep, config, Some(1450), mailbox);
    let tunnel =
        |vni, peer: &UdpSocket| Tunnel { vni: Vni::new(vni).unwrap(), peer: peer.local_addr().unwrap() };
    bridge.set_tunnels(&[tunnel(40, sender), tunnel(41, receiver)]);
    let thread = std::thread::spawn(move || bridge.run());

    // To nobody known, to all, to itself (which is dropped), and behind it one that is waited for.
    let kinds = [[2, 0, 0, 0, 0, 2], [0xff; 6], [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 3]].map(datagram);
    let mut got = [0; 300];
    let mut exchange = |rounds: usize| {
        for _ in 0..rounds {
            for _ in 0..ROUND {
                for datagram in &kinds {
                    sender.send_to(datagram, listen).unwrap();
                }
            }
            for _ in 0..ROUND * 3 {
                receiver.recv(&mut got).unwrap();
            }
        }
    };
    exchange(20);
    let before = allocations();
    exchange(200);
    let allocations = allocations() - before;
    // A queue may still find a new high-water mark; 25,600 frames passed.
    assert!(allocations < 64, "{allocations} allocations for {} frames", 200 * ROUND * kinds.len());
    handle.send(Command::Stop);
    assert!(thread.join().unwrap().status.books_balance);
}

//! Every frame of every VNI in a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::Duration;

use mvpnet_node::bridge::Interfaces;
use mvpnet_node::capture::{Destination, Pool, start_at};
use mvpnet_pcap::{Direction, Entry, Reader};
use mvpnet_switch::BridgeConfig;

use super::lab::{BROADCAST, Lab, Peer, frame, mac};

#[test]
fn a_capture_has_an_interface_for_each_vni() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bridge.pcapng");
    let peers = [2, 3, 4].map(Peer::on);
    let [a, b, c] = &peers;
    let tunnels = [a.tunnel(40), b.tunnel(41), c.tunnel(60)];
    let (interfaces, layout) = Interfaces::lay_out("test", &tunnels, false);
    let (tap, capture) = start_at(&Destination::Path(path.clone()), layout, Pool::default()).unwrap();
    let lab = Lab::start_as(BridgeConfig::default(), &tunnels, |bridge| bridge.capture(tap, interfaces));
    a.send(&lab, 40, &frame(BROADCAST, mac(1), "to all"));
    b.receive();
    c.receive();
    b.send(&lab, 41, &frame(mac(1), mac(2), "to 1"));
    a.receive();
    // Spanning tree's own address (IEEE 802.1Q section 8.6.3).
    c.send(&lab, 60, &frame([1, 0x80, 0xc2, 0, 0, 0], mac(3), "bridges only"));
    lab.wait(|status| status.received().frames == 3);
    lab.stop();
    assert!(capture.finish(Duration::from_secs(30)).is_complete());

    let mut reader = Reader::new(File::open(&path).unwrap()).unwrap();
    let mut seen: BTreeMap<String, Vec<(Direction, Option<String>)>> = BTreeMap::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let Entry::Packet(packet) = entry {
            let comment =
                packet.comment.map(|comment| comment.split(": ").take(2).collect::<Vec<_>>().join(": "));
            let (interface, direction) = (packet.interface, packet.direction.unwrap());
            let name = reader.interface(interface).unwrap().name.clone();
            seen.entry(name).or_default().push((direction, comment));
        }
    }
    let (inbound, outbound) = ((Direction::Inbound, None), (Direction::Outbound, None));
    assert_eq!(seen["vni40"], [inbound.clone(), outbound.clone()]);
    assert_eq!(seen["vni41"], [outbound.clone(), inbound]);
    let dropped = (Direction::Inbound, Some("dropped: reserved-group".to_owned()));
    assert_eq!(seen["vni60"], [outbound, dropped]);
}

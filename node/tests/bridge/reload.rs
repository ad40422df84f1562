//! Peers that change while the bridge runs.

use mvpnet_node::bridge::Changed;

use super::lab::{BROADCAST, Lab, Peer, frame, mac};

#[test]
fn a_peer_that_has_moved_keeps_its_counters_and_the_old_one_is_refused() {
    let peers = [2, 3, 5].map(Peer::on);
    let [a, b, moved] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    b.send(&lab, 41, &frame(BROADCAST, mac(2), "I am 2"));
    a.receive();

    let changed = lab.set_tunnels(&[a.tunnel(40), moved.tunnel(41)]);
    assert_eq!(changed, Changed { moved: 1, ..Changed::default() });
    let unicast = frame(mac(2), mac(1), "still learned");
    a.send(&lab, 40, &unicast);
    assert_eq!(moved.receive(), (41, unicast));
    b.send(&lab, 41, &frame(BROADCAST, mac(2), "me too"));
    lab.wait(|status| status.refusals.get("unknown-peer") == Some(&1));
    let status = lab.stop();
    assert_eq!((status.ports[1].received.frames, status.ports[1].sent.frames), (1, 1));
    assert!(b.has_nothing());
}

#[test]
fn tunnels_come_and_go_and_what_was_learned_behind_them_goes_too() {
    let peers = [2, 3, 4].map(Peer::on);
    let [a, b, c] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    b.send(&lab, 41, &frame(BROADCAST, mac(2), "I am 2"));
    a.receive();
    let changed = lab.set_tunnels(&[a.tunnel(40), c.tunnel(60), c.tunnel(61)]);
    assert_eq!(changed, Changed { added: 2, removed: 1, ..Changed::default() });
    let status = lab.status();
    assert_eq!(status.ports.iter().map(|port| port.vni).collect::<Vec<_>>(), [40, 60, 61]);
    assert!(status.fdb.is_empty(), "{:?}", status.fdb);
    a.send(&lab, 40, &frame(mac(2), mac(1), "unknown again"));
    let mut vnis = [c.receive().0, c.receive().0];
    vnis.sort_unstable();
    assert_eq!(vnis, [60, 61]);
    assert_eq!(lab.set_tunnels(&[a.tunnel(40), c.tunnel(60), c.tunnel(61)]), Changed::default());
    lab.stop();
    assert!(b.has_nothing());
}

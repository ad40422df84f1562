//! What is not for this bridge.

use super::lab::{BROADCAST, Lab, Peer, frame, mac};

#[test]
fn unknown_peers_and_vnis_are_refused_counted_and_told() {
    let peers = [2, 3, 9].map(Peer::on);
    let [a, b, stranger] = &peers;
    let mut lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    let hostile = frame(BROADCAST, mac(9), "let me in");
    for _ in 0..3 {
        stranger.send(&lab, 40, &hostile);
    }
    lab.wait(|status| status.refusals.get("unknown-peer") == Some(&3));
    let notice = lab.notice().to_string();
    let from = stranger.address();
    assert!(notice.contains(&format!("from {from}")) && notice.contains("(unknown-peer)"), "{notice}");

    a.send(&lab, 41, &hostile);
    lab.wait(|status| status.refusals.get("unknown-vni") == Some(&1));
    let notice = lab.notice().to_string();
    assert_eq!(
        notice,
        format!(
            "a datagram from {} refused (unknown-vni): the peer has no tunnel with this VNI; if it should have, put \
             the VNI in front of its name: --peer VNI:HOST",
            a.address()
        )
    );
    let good = frame(BROADCAST, mac(1), "good");
    a.send(&lab, 40, &good);
    assert_eq!(b.receive(), (41, good), "nothing came before it");
    let status = lab.stop();
    assert!(stranger.has_nothing() && b.has_nothing());
    assert_eq!(status.received().frames, 1, "what is refused is no frame");
}

#[test]
fn datagrams_that_are_no_vxlan_are_refused_each_for_its_reason() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = &peers;
    let lab = Lab::start(&[a.tunnel(40), b.tunnel(41)]);
    for (datagram, reason) in [
        (&[8, 0, 0][..], "short-header"),
        (&[0, 0, 0, 0, 0, 0, 40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], "no-vni-flag"),
        (&[8, 0, 0, 1, 0, 0, 40, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], "reserved-bits"),
        (&[8, 0, 0, 0, 0, 0, 40, 0, 1, 2, 3], "truncated-frame"),
    ] {
        a.send_raw(&lab, datagram);
        lab.wait(|status| status.refusals.get(reason) == Some(&1));
    }
    assert_eq!(lab.stop().refusals.values().sum::<u64>(), 4);
    assert!(b.has_nothing());
}

#[test]
fn a_peer_that_nobody_listens_for_is_told_and_served_again_when_it_is_back() {
    let peers = [2, 3].map(Peer::on);
    let [a, b] = peers;
    let (address, tunnel) = (b.address(), b.tunnel(41));
    let mut lab = Lab::start(&[a.tunnel(40), tunnel]);
    drop(b);
    let notice = loop {
        // The first is only what the answer comes to.
        a.send(&lab, 40, &frame(BROADCAST, mac(1), "anybody?"));
        if lab.status().unreachable > 0 {
            break lab.notice().to_string();
        }
    };
    assert!(
        notice.starts_with("a peer cannot be reached: it, or a router, says that nobody is there"),
        "{notice}"
    );
    assert!(notice.contains(&format!("; silent are {address};")), "{notice}");
    let b = std::net::UdpSocket::bind(address).unwrap();
    b.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    a.send(&lab, 40, &frame(BROADCAST, mac(1), "welcome back"));
    let mut got = [0; 200];
    let len = b.recv(&mut got).unwrap();
    assert_eq!(&got[8..len], frame(BROADCAST, mac(1), "welcome back"));
    lab.stop();
}

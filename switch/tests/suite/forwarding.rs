//! Where frames go, by destination, length and tags.

use mvpnet_switch::{
    Config, Delivery, DropReason, Ingress, Instant, MacAddr, MacPolicy, PortId, Switch, Verdict,
};

use crate::frames::*;

fn from_peer(switch: &mut Switch, origin: u32, delivery: Delivery, frame: &[u8]) -> Verdict {
    let ingress = Ingress::Peer { origin: rank(origin), delivery };
    switch.decide(Instant::ZERO, ingress, frame, frame.len())
}

#[test]
fn unicast_to_a_rank_goes_to_that_rank_only() {
    let frame = plain(rank(3).mac(), rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &frame), Verdict::Forward(PortId::Peer(rank(3))));
}

#[test]
fn a_guest_that_sends_to_itself_gets_nothing_back() {
    let frame = plain(rank(0).mac(), rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &frame), Verdict::Drop(DropReason::SamePort));
}

#[test]
fn the_rank_after_the_last_is_absent() {
    // Four ranks, 0 to 3.
    let frame = plain(rank(4).mac(), rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &frame), Verdict::Drop(DropReason::AbsentRank));
    let far = plain(MacAddr::new([0x52, 0x55, 0xff, 0xff, 0xff, 0xff]), rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &far), Verdict::Drop(DropReason::AbsentRank));
}

#[test]
fn broadcast_and_multicast_go_to_the_children_but_not_back_to_the_guest() {
    for destination in [MacAddr::BROADCAST, MacAddr::new([0x33, 0x33, 0, 0, 0, 1])] {
        let Verdict::Flood(flood) = from_guest(&mut switch(), &plain(destination, rank(0).mac())) else {
            panic!("{destination} is not flooded");
        };
        assert!(!flood.to_guest);
        assert_eq!(flood.children().collect::<Vec<_>>(), [rank(1), rank(2)]);
    }
}

#[test]
fn a_lone_rank_floods_to_nobody() {
    let mut switch = Switch::new(Config::new(rank(0), world(1)));
    let Verdict::Flood(flood) = from_guest(&mut switch, &plain(MacAddr::BROADCAST, rank(0).mac())) else {
        panic!("a broadcast is flooded");
    };
    assert_eq!(flood.copies(), 0);
    assert_eq!(switch.counters().check_settled(), Ok(()));
}

#[test]
fn unknown_unicast_floods_unless_the_policy_is_strict() {
    let frame = plain(CONTAINER, rank(0).mac());
    assert!(matches!(from_guest(&mut switch(), &frame), Verdict::Flood(_)));
    let mut strict = Switch::new(Config { mac_policy: MacPolicy::Strict, ..config() });
    assert_eq!(from_guest(&mut strict, &frame), Verdict::Drop(DropReason::UnknownDestination));
}

#[test]
fn what_is_sent_to_the_switch_ends_there() {
    let frame = plain(MacAddr::SWITCH, rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &frame), Verdict::Drop(DropReason::ToSwitch));
}

#[test]
fn unicast_from_a_peer_goes_to_the_guest_and_nowhere_else() {
    for destination in [rank(0).mac(), CONTAINER, MacAddr::BROADCAST] {
        let frame = plain(destination, rank(1).mac());
        let verdict = from_peer(&mut switch(), 1, Delivery::Unicast, &frame);
        assert_eq!(verdict, Verdict::Forward(PortId::Guest), "to {destination}");
    }
}

#[test]
fn what_a_peer_sends_for_another_rank_is_not_passed_on() {
    let to_another = plain(rank(2).mac(), rank(1).mac());
    let to_me = plain(rank(0).mac(), rank(1).mac());
    let misrouted = Verdict::Drop(DropReason::Misrouted);
    for nobody in [rank(4).mac(), MacAddr::SWITCH] {
        for delivery in [Delivery::Unicast, Delivery::Flood] {
            let frame = plain(nobody, rank(1).mac());
            assert_eq!(from_peer(&mut switch(), 1, delivery, &frame), misrouted, "{nobody}");
        }
    }
    assert_eq!(from_peer(&mut switch(), 1, Delivery::Unicast, &to_another), misrouted);
    assert_eq!(from_peer(&mut switch(), 1, Delivery::Flood, &to_another), misrouted);
    // Everyone knows where this rank is: nobody floods what is for it.
    assert_eq!(from_peer(&mut switch(), 1, Delivery::Flood, &to_me), misrouted);
}

#[test]
fn a_flood_is_passed_on_down_the_tree_of_its_root() {
    let mut switch = Switch::new(Config::new(rank(1), world(8)));
    let frame = plain(MacAddr::BROADCAST, rank(0).mac());
    let Verdict::Flood(flood) = from_peer(&mut switch, 0, Delivery::Flood, &frame) else {
        panic!("a flood is passed on");
    };
    assert!(flood.to_guest);
    assert_eq!(flood.root, rank(0));
    assert_eq!(flood.children().collect::<Vec<_>>(), [rank(3), rank(4)]);
}

#[test]
fn impossible_origins_are_refused() {
    for origin in [0, 4] {
        for delivery in [Delivery::Unicast, Delivery::Flood] {
            let frame = plain(MacAddr::BROADCAST, CONTAINER);
            let verdict = from_peer(&mut switch(), origin, delivery, &frame);
            assert_eq!(verdict, Verdict::Drop(DropReason::BadOrigin), "origin {origin}, {delivery:?}");
        }
    }
}

#[test]
fn runts_are_dropped_on_every_port() {
    let frame = plain(rank(1).mac(), rank(0).mac());
    assert_eq!(from_guest(&mut switch(), &frame[..13]), Verdict::Drop(DropReason::Runt));
    assert_eq!(from_guest(&mut switch(), &[]), Verdict::Drop(DropReason::Runt));
    let verdict = from_peer(&mut switch(), 1, Delivery::Unicast, &frame[..13]);
    assert_eq!(verdict, Verdict::Drop(DropReason::Runt));
}

#[test]
fn the_length_limit_is_the_mtu_the_header_and_the_tags_that_are_there() {
    let frame = plain(rank(1).mac(), rank(0).mac());
    for (types, limit) in [
        (&[][..], 1514),
        (&[0x8100], 1518),
        (&[0x88a8], 1518),
        (&[0x88a8, 0x8100], 1522),
        (&[0x8100; 3], 1522),
    ] {
        let head = tagged(&frame, types);
        let verdict = |len| switch().decide(Instant::ZERO, Ingress::Guest, &head, len);
        assert_eq!(verdict(limit), Verdict::Forward(PortId::Peer(rank(1))), "{} tags", types.len());
        assert_eq!(verdict(limit + 1), Verdict::Drop(DropReason::Oversize), "{} tags", types.len());
    }
}

#[test]
fn jumbo_frames_pass_if_the_mtu_says_so() {
    let mut switch = Switch::new(Config { mtu: 9000, ..config() });
    assert_eq!(switch.max_frame_len(0), 9014);
    let frame = plain(rank(1).mac(), rank(0).mac());
    let verdict = switch.decide(Instant::ZERO, Ingress::Guest, &frame, 9014);
    assert_eq!(verdict, Verdict::Forward(PortId::Peer(rank(1))));
}

#[test]
fn tagged_frames_are_forwarded_by_address_and_never_answered() {
    let questions =
        [arp_request(rank(1).ipv4()), neighbor_solicitation(rank(1).link_local()), dhcp_discover()];
    for question in questions {
        assert!(matches!(from_guest(&mut switch(), &question), Verdict::Reply(_)));
        for types in [&[0x8100][..], &[0x88a8], &[0x88a8, 0x8100]] {
            let verdict = from_guest(&mut switch(), &tagged(&question, types));
            assert!(matches!(verdict, Verdict::Flood(_)), "{verdict:?}");
        }
    }
    let unicast = tagged(&plain(rank(2).mac(), rank(0).mac()), &[0x88a8, 0x8100]);
    assert_eq!(from_guest(&mut switch(), &unicast), Verdict::Forward(PortId::Peer(rank(2))));
}

#[test]
fn questions_from_peers_are_not_answered() {
    let mut question = arp_request(rank(0).ipv4());
    question[6..12].copy_from_slice(&rank(1).mac().octets());
    assert!(matches!(from_peer(&mut switch(), 1, Delivery::Flood, &question), Verdict::Flood(_)));
}

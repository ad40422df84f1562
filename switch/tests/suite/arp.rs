//! ARP is answered for the ranks, watched over for the guest network, and left alone otherwise.

use std::net::Ipv4Addr;

use mvpnet_switch::{Config, Control, DropReason, MacAddr, ReplyKind, Switch, Verdict, World};

use crate::frames::*;

fn verdict(frame: &[u8]) -> Verdict {
    from_guest(&mut switch(), frame)
}

fn own() -> (MacAddr, Ipv4Addr) {
    (rank(0).mac(), rank(0).ipv4())
}

const NESTED: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const OTHER_NESTED: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);
const ABSENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

#[test]
fn requests_for_a_rank_are_answered_with_its_address() {
    let mut switch = switch();
    let verdict = from_guest(&mut switch, &arp_request(rank(3).ipv4()));
    assert_eq!(verdict, Verdict::Reply(ReplyKind::Arp));
    let mut expected = vec![
        0x52, 0x55, 0, 0, 0, 0, 0x52, 0x55, 0, 0, 0, 3, 8, 6, // Ethernet: to rank 0 from rank 3
        0, 1, 8, 0, 6, 4, 0, 2, // reply
        0x52, 0x55, 0, 0, 0, 3, 10, 0, 0, 4, // rank 3 is there
        0x52, 0x55, 0, 0, 0, 0, 10, 0, 0, 1, // says who asked
    ];
    expected.resize(60, 0);
    assert_eq!(switch.reply(), expected);
    assert_eq!(switch.counters().answered(ReplyKind::Arp), 1);
}

#[test]
fn a_unicast_request_is_answered_as_well() {
    let mut request = arp_request(rank(3).ipv4());
    request[..6].copy_from_slice(&rank(3).mac().octets());
    assert_eq!(verdict(&request), Verdict::Reply(ReplyKind::Arp));
}

#[test]
fn a_container_gets_its_answer_at_its_own_address() {
    let mut switch = switch();
    let request = arp(REQUEST, (CONTAINER, NESTED), rank(3).ipv4());
    assert_eq!(from_guest(&mut switch, &request), Verdict::Reply(ReplyKind::Arp));
    assert_eq!(switch.reply()[..6], CONTAINER.octets());
    assert_eq!(switch.fdb().len(), 1);
}

#[test]
fn a_probe_for_another_ranks_address_is_answered() {
    let mut switch = switch();
    let probe = arp(REQUEST, (rank(0).mac(), Ipv4Addr::UNSPECIFIED), rank(1).ipv4());
    assert_eq!(from_guest(&mut switch, &probe), Verdict::Reply(ReplyKind::Arp));
    assert_eq!(switch.reply()[38..42], [0, 0, 0, 0]);
}

#[test]
fn probes_and_announcements_of_the_own_address_are_dropped() {
    let gratuitous = Verdict::Drop(DropReason::GratuitousArp);
    let probe = arp(REQUEST, (rank(0).mac(), Ipv4Addr::UNSPECIFIED), rank(0).ipv4());
    assert_eq!(verdict(&probe), gratuitous);
    assert_eq!(verdict(&arp(REQUEST, own(), rank(0).ipv4())), gratuitous);
    assert_eq!(verdict(&arp(REPLY, own(), rank(0).ipv4())), gratuitous);
    assert_eq!(verdict(&arp(REQUEST, (CONTAINER, NESTED), rank(0).ipv4())), gratuitous);
}

#[test]
fn announcements_of_any_address_of_the_guest_network_are_dropped() {
    for address in [rank(1).ipv4(), ABSENT, World::SHUTDOWN_ADDRESS, World::BROADCAST_ADDRESS] {
        for operation in [REQUEST, REPLY] {
            let frame = arp(operation, (rank(0).mac(), address), address);
            assert_eq!(verdict(&frame), Verdict::Drop(DropReason::GratuitousArp), "{address}");
        }
    }
}

#[test]
fn nobody_claims_another_ranks_address() {
    for (operation, target) in [(REQUEST, rank(2).ipv4()), (REQUEST, NESTED), (REPLY, rank(2).ipv4())] {
        let frame = arp(operation, (rank(0).mac(), rank(1).ipv4()), target);
        assert_eq!(verdict(&frame), Verdict::Drop(DropReason::ForgedArp));
    }
}

#[test]
fn asking_for_the_shutdown_address_shuts_the_job_down() {
    let mut switch = switch();
    let verdict = from_guest(&mut switch, &arp_request(World::SHUTDOWN_ADDRESS));
    assert_eq!(verdict, Verdict::Control(Control::Shutdown));
    assert_eq!(switch.counters().consumed(Control::Shutdown), 1);
}

#[test]
fn the_shutdown_address_can_be_turned_off() {
    let mut switch = Switch::new(Config { shutdown_by_arp: false, ..config() });
    let verdict = from_guest(&mut switch, &arp_request(World::SHUTDOWN_ADDRESS));
    assert_eq!(verdict, Verdict::Drop(DropReason::ShutdownIgnored));
}

#[test]
fn a_reply_about_the_shutdown_address_shuts_nothing_down() {
    assert!(matches!(verdict(&arp(REPLY, own(), World::SHUTDOWN_ADDRESS)), Verdict::Flood(_)));
}

#[test]
fn addresses_of_the_guest_network_that_nobody_has_are_not_asked_around_for() {
    for target in [ABSENT, World::BROADCAST_ADDRESS, Ipv4Addr::new(10, 0, 0, 0)] {
        assert_eq!(verdict(&arp_request(target)), Verdict::Drop(DropReason::ArpAbsentRank), "{target}");
    }
}

#[test]
fn networks_that_guests_have_made_are_their_own() {
    let request = arp(REQUEST, (CONTAINER, NESTED), OTHER_NESTED);
    let announcement = arp(REQUEST, (CONTAINER, NESTED), NESTED);
    for frame in [request, announcement] {
        assert!(matches!(verdict(&frame), Verdict::Flood(_)));
    }
    let mut reply = arp(REPLY, (CONTAINER, NESTED), OTHER_NESTED);
    reply[..6].copy_from_slice(&rank(2).mac().octets());
    assert_eq!(verdict(&reply), Verdict::Forward(mvpnet_switch::PortId::Peer(rank(2))));
}

#[test]
fn packets_that_are_not_arp_for_ethernet_and_ipv4_are_malformed() {
    let good = arp_request(rank(1).ipv4());
    let malformed = Verdict::Drop(DropReason::ArpMalformed);
    for len in 14..42 {
        assert_eq!(verdict(&good[..len]), malformed, "{len} bytes");
    }
    assert_eq!(verdict(&good[..42]), Verdict::Reply(ReplyKind::Arp));
    for (place, value) in [(15, 6), (16, 0x86), (18, 8), (19, 16)] {
        let mut bad = good.clone();
        bad[place] = value;
        assert_eq!(verdict(&bad), malformed, "byte {place}");
    }
}

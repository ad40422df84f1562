//! A rank whose one way out is a tunnel: behind it is an Ethernet like any other.

use mvpnet_switch::{
    Config, Control, Delivery, DropReason, Ingress, Instant, MacAddr, MacPolicy, PortId, ReplyKind, Switch,
    Topology, Verdict, World,
};

use crate::frames::*;

/// The verdict for what goes into the tunnel.
fn into_tunnel() -> Verdict {
    Verdict::Forward(PortId::Tunnel(vni(40)))
}

fn tunnelled() -> Config {
    Config { topology: Topology::Tunnel(vni(40)), ..config() }
}

fn switch() -> Switch {
    Switch::new(tunnelled())
}

fn from_tunnel(switch: &mut Switch, frame: &[u8]) -> Verdict {
    switch.decide(Instant::ZERO, Ingress::Tunnel(vni(40)), frame, frame.len())
}

#[test]
fn whatever_the_guest_sends_goes_into_the_tunnel_once() {
    let anywhere =
        [rank(1).mac(), rank(9).mac(), rank(0).mac(), MacAddr::SWITCH, CONTAINER, MacAddr::BROADCAST];
    for (destination, source) in
        anywhere.into_iter().flat_map(|to| [rank(0).mac(), CONTAINER].map(|from| (to, from)))
    {
        let mut switch = switch();
        let frame = plain(destination, source);
        assert_eq!(from_guest(&mut switch, &frame), into_tunnel(), "{source} to {destination}");
        let offered = switch.counters().tunnel.offered;
        assert_eq!((offered.frames, offered.bytes), (1, frame.len() as u64));
        switch.sent(PortId::Tunnel(vni(40)), frame.len());
        assert_eq!(switch.counters().check_settled(), Ok(()));
    }
}

#[test]
fn hosts_find_each_other_by_asking_through_the_tunnel() {
    let announcement = arp(REPLY, (rank(0).mac(), rank(0).ipv4()), rank(0).ipv4());
    let others = arp(REQUEST, (rank(0).mac(), rank(2).ipv4()), rank(1).ipv4());
    let mut malformed = arp_request(rank(1).ipv4());
    malformed.truncate(20);
    for frame in [
        arp_request(rank(1).ipv4()),
        arp_request(rank(9).ipv4()),
        announcement,
        others,
        malformed,
        neighbor_solicitation(rank(1).link_local()),
        neighbor_solicitation(rank(0).link_local()),
    ] {
        assert_eq!(from_guest(&mut switch(), &frame), into_tunnel());
    }
}

#[test]
fn the_guest_gets_its_address_and_its_prefix_from_its_own_switch() {
    let mut switch = switch();
    assert_eq!(from_guest(&mut switch, &dhcp_discover()), Verdict::Reply(ReplyKind::DhcpOffer));
    let solicitation = router_solicitation(rank(0).link_local());
    assert_eq!(from_guest(&mut switch, &solicitation), Verdict::Reply(ReplyKind::RouterAdvertisement));
    // On a VLAN it is somebody else's business, as ever.
    assert_eq!(from_guest(&mut switch, &tagged(&dhcp_discover(), &[0x8100])), into_tunnel());
}

#[test]
fn the_shutdown_address_is_heard_unless_the_job_ignores_it() {
    let request = arp_request(World::SHUTDOWN_ADDRESS);
    assert_eq!(from_guest(&mut switch(), &request), Verdict::Control(Control::Shutdown));
    let mut deaf = Switch::new(Config { shutdown_by_arp: false, ..tunnelled() });
    assert_eq!(from_guest(&mut deaf, &request), into_tunnel());
    assert_eq!(from_tunnel(&mut switch(), &request_of_another(&request)), Verdict::Forward(PortId::Guest));
}

fn request_of_another(request: &[u8]) -> Vec<u8> {
    let mut request = request.to_vec();
    request[6..12].copy_from_slice(&rank(1).mac().octets());
    request
}

#[test]
fn the_guest_cannot_pass_for_another() {
    for source in [rank(1).mac(), rank(9).mac(), MacAddr::SWITCH] {
        let verdict = from_guest(&mut switch(), &plain(MacAddr::BROADCAST, source));
        assert_eq!(verdict, Verdict::Drop(DropReason::ForgedSource), "{source}");
    }
    let group = plain(MacAddr::BROADCAST, MacAddr::BROADCAST);
    assert_eq!(from_guest(&mut switch(), &group), Verdict::Drop(DropReason::MulticastSource));
    assert_eq!(from_tunnel(&mut switch(), &group), Verdict::Drop(DropReason::MulticastSource));
}

#[test]
fn a_strict_switch_lets_the_guest_send_from_its_own_address_to_anyone() {
    let mut strict = Switch::new(Config { mac_policy: MacPolicy::Strict, ..tunnelled() });
    let from_container = plain(rank(1).mac(), CONTAINER);
    assert_eq!(from_guest(&mut strict, &from_container), Verdict::Drop(DropReason::ForeignSource));
    assert_eq!(from_guest(&mut strict, &plain(CONTAINER, rank(0).mac())), into_tunnel());
    let to_guest = plain(rank(0).mac(), CONTAINER);
    assert_eq!(from_tunnel(&mut strict, &to_guest), Verdict::Forward(PortId::Guest));
}

#[test]
fn what_comes_out_of_the_tunnel_is_the_guests() {
    let mut switch = switch();
    // Rank 9 is none of this job's, but may be one of another's on the same bridge.
    for source in [rank(1).mac(), rank(9).mac(), CONTAINER] {
        for destination in [rank(0).mac(), CONTAINER, MacAddr::BROADCAST, rank(9).mac()] {
            let verdict = from_tunnel(&mut switch, &plain(destination, source));
            assert_eq!(verdict, Verdict::Forward(PortId::Guest), "{source} to {destination}");
        }
    }
    assert!(switch.fdb().is_empty(), "there is nothing to learn where there is no choice");
}

#[test]
fn what_was_flooded_for_another_rank_and_what_comes_back_is_not() {
    let mut switch = switch();
    let for_another = plain(rank(2).mac(), rank(1).mac());
    assert_eq!(from_tunnel(&mut switch, &for_another), Verdict::Drop(DropReason::Misrouted));
    for source in [rank(0).mac(), MacAddr::SWITCH] {
        let verdict = from_tunnel(&mut switch, &plain(MacAddr::BROADCAST, source));
        assert_eq!(verdict, Verdict::Drop(DropReason::ForgedSource), "{source}");
    }
}

#[test]
fn no_other_way_leads_to_a_rank_with_a_tunnel_nor_a_tunnel_to_a_rank_without() {
    let frame = plain(rank(0).mac(), rank(1).mac());
    let misrouted = Verdict::Drop(DropReason::Misrouted);
    let decide = |switch: &mut Switch, ingress| switch.decide(Instant::ZERO, ingress, &frame, frame.len());
    assert_eq!(decide(&mut switch(), Ingress::Tunnel(vni(41))), misrouted);
    for delivery in [Delivery::Unicast, Delivery::Flood] {
        let peer = Ingress::Peer { origin: rank(1), delivery };
        assert_eq!(decide(&mut switch(), peer), misrouted);
    }
    let mut joined_each_to_each = Switch::new(config());
    assert_eq!(decide(&mut joined_each_to_each, Ingress::Tunnel(vni(40))), misrouted);
}

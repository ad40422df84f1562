//! Neighbour and router solicitations.

use std::net::Ipv6Addr;

use mvpnet_switch::{Config, DropReason, MacAddr, ReplyKind, Switch, UlaPrefix, Verdict};

use crate::frames::*;

const ADVERTISED: Verdict = Verdict::Reply(ReplyKind::NeighborAdvertisement);

fn verdict(frame: &[u8]) -> Verdict {
    from_guest(&mut switch(), frame)
}

fn is_flooded(frame: &[u8]) -> bool {
    matches!(verdict(frame), Verdict::Flood(_))
}

fn switch_link_local() -> Ipv6Addr {
    "fe80::5057:ff:fe00:1".parse().unwrap()
}

#[test]
fn solicitations_of_every_address_of_a_rank_are_answered() {
    let prefix = UlaPrefix::default();
    for target in [rank(3).link_local(), rank(3).ula(prefix), rank(3).ula_eui64(prefix)] {
        let mut switch = switch();
        assert_eq!(from_guest(&mut switch, &neighbor_solicitation(target)), ADVERTISED);
        let reply = switch.reply();
        assert_eq!(reply[..6], rank(0).mac().octets());
        assert_eq!(reply[6..12], rank(3).mac().octets());
        let (ip, message) = icmpv6_of(reply);
        assert_eq!(ip.hop_limit, 255);
        assert_eq!(ip.source_addr(), target);
        assert_eq!(ip.destination_addr(), rank(0).link_local());
        let mut expected = vec![136, 0, message[2], message[3], 0b0110_0000, 0, 0, 0];
        expected.extend(target.octets());
        expected.extend([2, 1, 0x52, 0x55, 0, 0, 0, 3]);
        assert_eq!(message, expected);
    }
}

#[test]
fn a_guest_that_wants_another_ranks_address_learns_that_it_is_taken() {
    let mut switch = switch();
    let target = rank(3).link_local();
    let message = solicitation(target, &[]);
    let frame = icmpv6(Ipv6Addr::UNSPECIFIED, solicited_node(target), 255, &message);
    assert_eq!(from_guest(&mut switch, &frame), ADVERTISED);
    let reply = switch.reply();
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let (ip, message) = icmpv6_of(reply);
    assert_eq!(ip.destination_addr(), "ff02::1".parse::<Ipv6Addr>().unwrap());
    // Override, but not solicited.
    assert_eq!(message[4], 0b0010_0000);
}

#[test]
fn a_guest_that_checks_its_own_address_finds_it_free() {
    for target in [rank(0).link_local(), rank(0).ula(UlaPrefix::default())] {
        let message = solicitation(target, &[]);
        let frame = icmpv6(Ipv6Addr::UNSPECIFIED, solicited_node(target), 255, &message);
        assert_eq!(verdict(&frame), Verdict::Drop(DropReason::OwnNeighbor));
    }
}

#[test]
fn addresses_that_follow_from_no_rank_are_asked_around_for() {
    for target in ["fe80::1", "2001:db8::1", "fd6d:7670:6e65::5", "fd6d:7670:6e65::", "fe80::5055:ff:fe00:4"]
    {
        assert!(is_flooded(&neighbor_solicitation(target.parse().unwrap())), "{target}");
    }
}

#[test]
fn another_jobs_prefix_is_another_matter() {
    let ula: UlaPrefix = "fd00:1:2:3::/64".parse().unwrap();
    let mut switch = Switch::new(Config { ula, ..config() });
    assert_eq!(from_guest(&mut switch, &neighbor_solicitation(rank(1).ula(ula))), ADVERTISED);
    let default = neighbor_solicitation(rank(1).ula(UlaPrefix::default()));
    assert!(matches!(from_guest(&mut switch, &default), Verdict::Flood(_)));
}

#[test]
fn unicast_probes_of_reachability_are_answered() {
    let target = rank(1).link_local();
    let mut frame = icmpv6(rank(0).link_local(), target, 255, &solicitation(target, &[]));
    frame[..6].copy_from_slice(&rank(1).mac().octets());
    assert_eq!(verdict(&frame), ADVERTISED);
}

#[test]
fn what_fails_the_checks_of_neighbour_discovery_passes_as_it_is() {
    let target = rank(1).link_local();
    let good = neighbor_solicitation(target);
    assert_eq!(verdict(&good), ADVERTISED);
    let (source, group) = (rank(0).link_local(), solicited_node(target));
    let message = solicitation(target, &source_option());

    assert!(is_flooded(&icmpv6(source, group, 254, &message)), "hop limit");
    let mut wrong_sum = good.clone();
    wrong_sum[56] ^= 1;
    assert!(is_flooded(&wrong_sum), "checksum");
    let mut wrong_code = message.clone();
    wrong_code[1] = 1;
    assert!(is_flooded(&icmpv6(source, group, 255, &wrong_code)), "code");
    assert!(
        is_flooded(&icmpv6(source, group, 255, &solicitation(target, &[1, 0, 0, 0, 0, 0, 0, 0]))),
        "empty option"
    );
    assert!(
        is_flooded(&icmpv6(source, group, 255, &solicitation(target, &[1, 2, 0, 0, 0, 0, 0, 0]))),
        "long option"
    );
    assert!(is_flooded(&icmpv6(source, group, 255, &message[..20])), "truncated target");
    assert!(is_flooded(&icmpv6(Ipv6Addr::UNSPECIFIED, group, 255, &message)), "source option of nobody");
    let to_all = "ff02::1".parse().unwrap();
    let from_nobody = icmpv6(Ipv6Addr::UNSPECIFIED, to_all, 255, &solicitation(target, &[]));
    assert!(is_flooded(&from_nobody), "duplicate address detection at the wrong group");
    // The checksum is right for what is there, but the packet says that there is more.
    let mut short = good.clone();
    short[19] += 8;
    assert!(is_flooded(&short), "packet shorter than it says");
    for len in 14..good.len() {
        assert!(is_flooded(&good[..len]), "cut off after {len} bytes");
    }
}

#[test]
fn options_that_the_switch_does_not_know_do_no_harm() {
    let target = rank(1).link_local();
    // A nonce (RFC 3971 §5.3.2), as in enhanced duplicate address detection (RFC 7527 §4.2).
    let message = solicitation(target, &[14, 1, 1, 2, 3, 4, 5, 6]);
    let frame = icmpv6(Ipv6Addr::UNSPECIFIED, solicited_node(target), 255, &message);
    assert_eq!(verdict(&frame), ADVERTISED);
}

#[test]
fn nobody_claims_another_ranks_address() {
    let forged = Verdict::Drop(DropReason::ForgedNeighbor);
    let claim = |target: Ipv6Addr| {
        let message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &target.octets()].concat();
        icmpv6(rank(0).link_local(), "ff02::1".parse().unwrap(), 255, &message)
    };
    assert_eq!(verdict(&claim(rank(1).link_local())), forged);
    assert!(is_flooded(&claim(rank(0).link_local())));
    assert!(is_flooded(&claim("2001:db8::1".parse().unwrap())));
    let target = "2001:db8::1".parse().unwrap();
    let question = icmpv6(rank(1).link_local(), solicited_node(target), 255, &solicitation(target, &[]));
    assert_eq!(verdict(&question), forged);
}

#[test]
fn router_solicitations_are_answered_with_the_prefix_and_the_mtu_and_no_router() {
    let mut switch = switch();
    let frame = router_solicitation(rank(0).link_local());
    assert_eq!(from_guest(&mut switch, &frame), Verdict::Reply(ReplyKind::RouterAdvertisement));
    let reply = switch.reply();
    assert_eq!(reply[..6], rank(0).mac().octets());
    assert_eq!(reply[6..12], MacAddr::SWITCH.octets());
    let (ip, message) = icmpv6_of(reply);
    assert_eq!((ip.hop_limit, ip.source_addr()), (255, switch_link_local()));
    assert_eq!(ip.destination_addr(), rank(0).link_local());
    let mut expected = vec![134, 0, message[2], message[3]];
    expected.extend([0; 12]); // hop limit, flags, router lifetime, times
    expected.extend([1, 1, 0x52, 0x57, 0, 0, 0, 1]);
    expected.extend([3, 4, 64, 0b1100_0000]);
    expected.extend([0xff; 8]); // for ever
    expected.extend([0; 4]);
    expected.extend(UlaPrefix::default().address().octets());
    expected.extend([5, 1, 0, 0, 0, 0, 0x05, 0xdc]);
    assert_eq!(message, expected);
}

#[test]
fn a_guest_without_an_address_hears_of_the_prefix_at_all_nodes() {
    let mut switch = switch();
    let _ = from_guest(&mut switch, &router_solicitation(Ipv6Addr::UNSPECIFIED));
    assert_eq!(switch.reply()[..6], [0x33, 0x33, 0, 0, 0, 1]);
}

#[test]
fn an_mtu_too_small_for_ipv6_is_not_advertised() {
    let mut switch = Switch::new(Config { mtu: 1000, ..config() });
    let _ = from_guest(&mut switch, &router_solicitation(rank(0).link_local()));
    let (_, message) = icmpv6_of(switch.reply());
    assert_eq!(message.len(), 16 + 8 + 32);
}

#[test]
fn the_switch_itself_can_be_found() {
    let mut switch = switch();
    assert_eq!(from_guest(&mut switch, &neighbor_solicitation(switch_link_local())), ADVERTISED);
    let (_, message) = icmpv6_of(switch.reply());
    assert_eq!(message[4], 0b1110_0000, "it is a router");
    assert_eq!(message[26..32], MacAddr::SWITCH.octets());
}

//! Which source addresses are believed.

use mvpnet_switch::{
    Config, Delivery, DropReason, Ingress, Instant, MacAddr, MacPolicy, PortId, Switch, Verdict,
};

use crate::frames::*;

fn verdict(policy: MacPolicy, source: MacAddr) -> Verdict {
    let mut switch = Switch::new(Config { mac_policy: policy, ..config() });
    from_guest(&mut switch, &plain(rank(1).mac(), source))
}

#[test]
fn a_guest_cannot_speak_for_another_rank_under_any_policy() {
    for policy in [MacPolicy::Learn, MacPolicy::Strict] {
        for source in [rank(2).mac(), rank(4).mac(), MacAddr::SWITCH] {
            let verdict = verdict(policy, source);
            assert_eq!(verdict, Verdict::Drop(DropReason::ForgedSource), "{source}, {policy:?}");
        }
    }
}

#[test]
fn no_sender_is_a_group() {
    for policy in [MacPolicy::Learn, MacPolicy::Strict] {
        for source in [MacAddr::BROADCAST, MacAddr::new([1, 0, 0x5e, 0, 0, 1])] {
            assert_eq!(verdict(policy, source), Verdict::Drop(DropReason::MulticastSource), "{source}");
        }
    }
}

#[test]
fn containers_may_speak_unless_the_policy_is_strict() {
    assert_eq!(verdict(MacPolicy::Learn, CONTAINER), Verdict::Forward(PortId::Peer(rank(1))));
    assert_eq!(verdict(MacPolicy::Strict, CONTAINER), Verdict::Drop(DropReason::ForeignSource));
    assert_eq!(verdict(MacPolicy::Strict, rank(0).mac()), Verdict::Forward(PortId::Peer(rank(1))));
}

#[test]
fn a_strict_switch_learns_nothing() {
    let mut switch = Switch::new(Config { mac_policy: MacPolicy::Strict, ..config() });
    let _ = from_guest(&mut switch, &plain(rank(1).mac(), CONTAINER));
    assert!(switch.fdb().is_empty());
}

#[test]
fn a_peer_speaks_only_for_its_own_guest() {
    let mut switch = switch();
    for source in [rank(0).mac(), rank(2).mac(), MacAddr::SWITCH] {
        for delivery in [Delivery::Unicast, Delivery::Flood] {
            let frame = plain(MacAddr::BROADCAST, source);
            let ingress = Ingress::Peer { origin: rank(1), delivery };
            let verdict = switch.decide(Instant::ZERO, ingress, &frame, frame.len());
            assert_eq!(verdict, Verdict::Drop(DropReason::ForgedSource), "{source}");
        }
    }
}

//! Tests of the books themselves; that a switch keeps them is a property test of the crate.

use super::*;

#[test]
fn empty_books_balance() {
    assert_eq!(Counters::default().check_settled(), Ok(()));
}

#[test]
fn a_frame_of_which_nothing_became_is_found() {
    let mut counters = Counters::default();
    counters.guest.received += 60;
    assert_eq!(counters.check(), Err(Imbalance::Frames { received: 1, decided: 0 }));
    counters.ingress_drops.count(DropReason::Runt, 60);
    assert_eq!(counters.check(), Ok(()));
}

#[test]
fn a_copy_may_be_pending_until_the_books_are_to_be_settled() {
    let mut counters = Counters::default();
    counters.peers.offered += 60;
    assert_eq!(counters.check(), Ok(()));
    assert_eq!(counters.check_settled(), Err(Imbalance::Pending { guest: 0, peers: 1, tunnel: 0 }));
    counters.peers.egress_drops.count(DropReason::QueueFull, 60);
    assert_eq!(counters.check_settled(), Ok(()));
}

#[test]
fn copies_that_nobody_offered_are_found() {
    let mut counters = Counters::default();
    counters.guest.sent += 60;
    assert_eq!(
        counters.check().unwrap_err().to_string(),
        "guest: 0 copies offered, but 1 sent and 0 dropped"
    );
}

#[test]
fn a_copy_cannot_be_both_sent_and_dropped() {
    let mut counters = Counters::default();
    counters.peers.offered += 60;
    counters.peers.sent += 60;
    counters.peers.egress_drops.count(DropReason::PeerGone, 60);
    assert!(matches!(counters.check(), Err(Imbalance::Copies { port: "peers", unit: "copies", .. })));
}

#[test]
fn bytes_balance_as_well_as_copies() {
    let mut counters = Counters::default();
    counters.guest.offered += 60;
    counters.guest.sent += 61;
    assert!(matches!(counters.check(), Err(Imbalance::Copies { unit: "bytes", .. })));
}

#[test]
fn every_counter_has_its_own_name() {
    let counters = Counters::default();
    let mut names: Vec<_> = counters.iter().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(names.contains(&"ingress-drop-runt".to_owned()));
}

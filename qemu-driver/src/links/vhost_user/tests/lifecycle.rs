//! Guests that boot again, are paused, or go away, in the middle of traffic.

use std::os::fd::AsFd;

use nix::sys::eventfd::EventFd;

use super::super::features::bit;
use super::super::messages::RingFd;
use super::*;

#[test]
fn a_guest_that_boots_again_in_traffic_takes_up_its_frames_anew() {
    for event_idx in [true, false] {
        let mut lab = Lab::new(FrontConfig { event_idx, ..FrontConfig::default() });
        for round in 0..20 {
            let frames: Vec<Vec<u8>> = (0..40).map(|n| frame(n, 60 + round)).collect();
            lab.send(&frames);
            assert_eq!(lab.received(), finished(&frames));
            // Frames are under way in both directions when the device is reset.
            lab.send(&frames[..round]);
            lab.write(&run(&finished(&frames)));
            let (restarted, _) = lab.wait_for(Front::restart);
            restarted.unwrap();
            assert!(lab.link.has_peer());
            assert_eq!(lab.got(), []);
            lab.write(&run(&finished(&frames)));
            assert_eq!(lab.got(), finished(&frames));
        }
        assert_eq!((lab.stat("ring-starts"), lab.stat("ring-stops")), (42, 40));
        assert_eq!((lab.stat("rings-broken"), lab.stat("bad-chains")), (0, 0));
    }
}

#[test]
fn a_paused_guest_loses_nothing_and_goes_on_where_it_was() {
    let mut lab = Lab::new(FrontConfig { ring_size: 32, ..FrontConfig::default() });
    let (mut sent_in_all, mut came_in_all) = (0, 0);
    for round in 0..100 {
        let frames: Vec<Vec<u8>> = (0..round % 20).map(|n| frame(n, 100 + round)).collect();
        lab.send(&frames);
        sent_in_all += frames.len();
        let (bases, early) = lab.wait_for(Front::stop);
        let bases = bases.unwrap();
        came_in_all += early.len();
        assert_eq!(usize::from(bases[FROM_GUEST]), came_in_all);
        assert!(!lab.link.has_peer());
        // A stopped ring takes nothing and gives nothing.
        assert_eq!(lab.write(&run(&finished(&[frame(1, 60)]))), Wrote::default());
        assert_eq!(lab.received(), []);
        let (resumed, late) = lab.wait_for(|front| front.resume(bases));
        resumed.unwrap();
        came_in_all += late.len() + lab.received().len();
        assert_eq!(came_in_all, sent_in_all);
        lab.write(&run(&finished(&[frame(1, 60)])));
        assert_eq!(lab.got().len(), 1);
        lab.front.reclaim();
    }
}

#[test]
fn memory_may_be_handed_over_again_while_rings_run() {
    let mut lab = Lab::new(FrontConfig::default());
    for n in 0..10 {
        lab.send(&[frame(n, 60)]);
        let (remembered, early) = lab.wait_for(Front::remember);
        remembered.unwrap();
        assert_eq!(early.len() + lab.received().len(), 1);
        lab.write(&run(&finished(&[frame(n, 9000)])));
        assert_eq!(lab.got(), finished(&[frame(n, 9000)]));
    }
    assert_eq!((lab.stat("memory-tables"), lab.stat("ring-starts"), lab.stat("rings-broken")), (11, 2, 0));
}

#[test]
fn a_reset_of_the_owner_stops_everything_until_it_is_started_again() {
    let mut lab = Lab::new(FrontConfig::default());
    lab.front.session.tell(&Request::ResetOwner, &[]).unwrap();
    assert_eq!(lab.received(), []);
    assert!(!lab.link.has_peer());
    // Started is not enabled: that was reset as well.
    let kick = Request::SetVringKick(RingFd { ring: 0, has_fd: true });
    let event = EventFd::new().unwrap();
    lab.wait_for(|front| front.session.command(&kick, &[event.as_fd()])).0.unwrap();
    assert_eq!((lab.stat("ring-starts"), lab.link.has_peer()), (3, false));
    lab.wait_for(Front::restart).0.unwrap();
    lab.send(&[frame(1, 60)]);
    assert_eq!(lab.received().len(), 1);
}

#[test]
fn a_front_end_that_knows_of_no_enabling_has_its_rings_enabled() {
    let mut lab = Lab::new(FrontConfig::default());
    let tell = |lab: &mut Lab, request| {
        lab.wait_for(|front| front.session.command(&request, &[])).0.unwrap();
        lab.link.has_peer()
    };
    assert!(!tell(&mut lab, Request::SetVringEnable { ring: TO_GUEST as u32, enable: 0 }));
    let features = Offers::default().features();
    assert!(!tell(&mut lab, Request::SetFeatures(features)));
    assert!(tell(&mut lab, Request::SetFeatures(features & !bit::PROTOCOL_FEATURES)));
}

#[test]
fn a_network_card_that_is_off_is_emptied() {
    let mut lab = Lab::new(FrontConfig::default());
    let enable = |lab: &mut Lab, enable| {
        for ring in 0..2 {
            let request = Request::SetVringEnable { ring, enable };
            lab.wait_for(|front| front.session.command(&request, &[])).0.unwrap();
        }
    };
    enable(&mut lab, 0);
    assert!(!lab.link.has_peer());
    lab.send(&[frame(1, 60), frame(2, 60)]);
    assert_eq!(lab.received(), []);
    assert_eq!((lab.stat("discarded"), lab.front.reclaim()), (2, 2));
    assert_eq!(lab.write(&run(&finished(&[frame(1, 60)]))), Wrote::default());
    enable(&mut lab, 1);
    assert!(lab.link.has_peer());
    lab.send(&[frame(3, 60)]);
    assert_eq!(lab.received(), finished(&[frame(3, 60)]));
}

#[test]
fn a_guest_that_is_gone_is_told_apart_from_a_silent_one() {
    let mut lab = Lab::new(FrontConfig::default());
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Nothing));
    drop(lab.front);
    let run = run(&finished(&[frame(1, 60)]));
    for _ in 0..3 {
        assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed));
        assert_eq!(lab.link.write(&[IoSlice::new(&run)]), Ok(Wrote::default()));
        assert!(!lab.link.has_peer() && !lab.link.arm(true, true));
        lab.link.disarm();
    }
}

#[test]
fn what_the_guest_sent_last_is_not_lost_when_it_goes() {
    let mut lab = Lab::new(FrontConfig::default());
    lab.link.receive(&mut lab.space).unwrap();
    lab.send(&[frame(1, 60)]);
    drop(lab.front);
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Records(64)));
    assert_eq!(lab.link.receive(&mut lab.space), Ok(Received::Closed));
}

#[test]
fn the_control_socket_is_heard_in_a_flood_of_frames() {
    let mut lab = Lab::new(FrontConfig::default());
    let Lab { link, front, space } = &mut lab;
    let burst = vec![frame(1, 60); 4];
    front.session.tell(&Request::SetVringEnable { ring: 0, enable: 0 }, &[]).unwrap();
    let mut receives = 0;
    while link.has_peer() {
        front.send(burst.iter().map(|frame| (None, &frame[..])));
        link.receive(space).unwrap();
        front.reclaim();
        receives += 1;
        assert!(receives < 100);
    }
}

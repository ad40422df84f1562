//! Tests of what datagrams mean, without sockets.

use mvpnet_switch::Vni;
use proptest::prelude::*;

use super::super::table::Tunnel;
use super::*;
use crate::offload::layout::Protocol;
use crate::offload::samples::{checksums_are_right, frame, unfinished};

const PEER: ([u8; 4], u16) = ([192, 0, 2, 1], 50_000);

fn intake() -> Intake {
    let mut intake = Intake::new(1450);
    for vni in [40, 41] {
        let tunnel = Tunnel { vni: Vni::new(vni).unwrap(), peer: ([192, 0, 2, 1], 4789).into() };
        intake.table.insert(tunnel).unwrap();
    }
    intake
}

fn datagram(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&Header { vni: Vni::new(vni).unwrap() }.emit(), frame].concat()
}

/// What was accepted of one datagram, or why it was not.
fn take(source: impl Into<SocketAddr>, datagram: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut intake = intake();
    let mut received = datagram.to_vec();
    let len = received.len();
    intake.take(source.into(), &mut received, 0..len, len);
    match intake.refusals.iter().find(|(_, count, _)| *count > 0) {
        Some((refusal, ..)) => {
            assert_eq!((intake.refusals.total(), intake.frames.len()), (1, 0));
            Err(refusal)
        }
        None => Ok(bytes(&intake, &received)),
    }
}

fn bytes(intake: &Intake, received: &[u8]) -> Vec<Vec<u8>> {
    let arena = |frame: &Frame| if frame.arena == Arena::Cut { &intake.cut } else { received };
    intake.frames.iter().map(|frame| arena(frame)[frame.bytes()].to_vec()).collect()
}

#[test]
fn a_frame_of_a_configured_peer_and_vni_is_accepted_as_it_is() {
    assert_eq!(take(PEER, &datagram(41, &[7; 60])), Ok(vec![vec![7; 60]]));
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:1".parse().unwrap();
    assert_eq!(take(mapped, &datagram(40, &[7; 14])), Ok(vec![vec![7; 14]]));
}

#[test]
fn everything_else_is_refused_by_its_reason() {
    let good = datagram(40, &[7; 60]);
    let with = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        take(PEER, &bad)
    };
    assert_eq!(take(([192, 0, 2, 2], 4789), &good), Err(Refusal::UnknownPeer));
    assert_eq!(take(PEER, &datagram(42, &[7; 60])), Err(Refusal::UnknownVni));
    assert_eq!(take(PEER, &good[..7]), Err(Refusal::ShortHeader));
    assert_eq!(take(PEER, &[]), Err(Refusal::ShortHeader));
    assert_eq!(with(0, 0), Err(Refusal::NoVniFlag));
    assert_eq!(with(0, 0x88), Err(Refusal::ReservedBits));
    assert_eq!(with(2, 1), Err(Refusal::ReservedBits));
    assert_eq!(with(7, 1), Err(Refusal::ReservedBits));
    assert_eq!(take(PEER, &good[..8 + 13]), Err(Refusal::TruncatedFrame));
    assert_eq!(take(PEER, &good[..8]), Err(Refusal::TruncatedFrame));
}

#[test]
fn what_the_kernel_put_together_is_taken_apart_and_judged_one_by_one() {
    let mut intake = intake();
    let mut received = [datagram(40, &[1; 60]), datagram(77, &[2; 60]), datagram(41, &[3; 20])].concat();
    let len = received.len();
    intake.take(PEER.into(), &mut received, 0..len, 68);
    assert_eq!(bytes(&intake, &received), [vec![1; 60], vec![3; 20]]);
    assert_eq!((intake.refusals.by(Refusal::UnknownVni), intake.tally.datagrams), (1, 3));
}

#[test]
fn an_unfinished_super_frame_becomes_frames_of_the_mtu_and_a_finished_one_stays() {
    let whole = frame(true, Protocol::Tcp, &[5; 20_000]);
    let unfinished = unfinished(true, Protocol::Tcp, &[5; 20_000]);
    let frames = take(PEER, &datagram(40, &unfinished)).unwrap();
    assert_eq!(frames.len(), 20_000_usize.div_ceil(1450 - 52));
    assert!(frames.iter().all(|frame| frame.len() <= 1464 && checksums_are_right(frame).is_ok()));
    assert_eq!(take(PEER, &datagram(40, &whole)), Ok(vec![whole]));
}

#[test]
fn super_frames_beyond_the_room_are_refused_and_the_next_receive_has_room_again() {
    let mut intake = intake();
    intake.mtu = 53;
    let unfinished = unfinished(true, Protocol::Tcp, &[5; 60_000]);
    let mut received = datagram(40, &unfinished);
    let len = received.len();
    for _ in 0..3 {
        intake.take(PEER.into(), &mut received, 0..len, len);
    }
    assert!(intake.refusals.by(Refusal::NoRoom) > 0);
    let refused = intake.refusals.total();
    intake.begin();
    intake.take(PEER.into(), &mut received, 0..len, len);
    assert_eq!((intake.refusals.total(), intake.frames.len()), (refused, 60_000));
}

#[test]
fn probes_of_peers_are_answered_and_those_of_strangers_are_not() {
    let mut intake = intake();
    let mut probe = Message::Ask { token: 7 }.emit().to_vec();
    probe.resize(1472, 0);
    intake.take(PEER.into(), &mut probe, 0..1472, 1472);
    intake.take(([192, 0, 2, 9], 1).into(), &mut probe, 0..1472, 1472);
    let answer = Message::Answer { token: 7, heard: 1472 }.emit();
    assert_eq!(intake.answers, [(PEER.into(), answer)]);
    assert_eq!(intake.refusals.by(Refusal::UnknownPeer), 1);
    let mut answer = answer.to_vec();
    intake.take(PEER.into(), &mut answer, 0..24, 24);
    assert_eq!((intake.answers.len(), intake.refusals.by(Refusal::NoVniFlag)), (1, 1));
}

proptest! {
    #[test]
    fn any_datagrams_are_taken_or_counted(
        mut received in prop::collection::vec(any::<u8>(), 0..2000), stride in 0usize..300, vni in 39u32..43, mtu in 0u32..2000
    ) {
        let mut intake = intake();
        intake.mtu = mtu as usize;
        if stride > 0 {
            for chunk in received.chunks_mut(stride).filter(|chunk| chunk.len() >= 8) {
                chunk[..8].copy_from_slice(&datagram(vni, &[]));
            }
        }
        let len = received.len();
        intake.take(PEER.into(), &mut received, 0..len, stride);
        let cut = intake.tally.super_frames;
        let expected = if stride == 0 { 1 } else { len.div_ceil(stride).max(1) as u64 };
        prop_assert_eq!(intake.tally.datagrams, expected);
        prop_assert!(cut > 0 || intake.frames.len() as u64 + intake.refusals.total() + intake.tally.probes == expected);
        for frame in bytes(&intake, &received) {
            prop_assert!(frame.len() >= 14);
        }
    }
}

//! The ranks of a job with a tunnel each, on one UDP port.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use mvpnet_switch::{OFFLOAD_LEN, World};
use mvpnet_transports::conformance::{self, Expectations};
use mvpnet_transports::vxlan::{TunnelTransport, TunnelsError, Vtep, VtepConfig, tunnels};
use mvpnet_transports::{Arm, Lane, RECORD_HEADER_LEN, RecordKind, SendError, Transport, mem};
use nix::poll::{PollFd, PollFlags, poll};

use super::ends::{flush, frame, port, receive, tunnel, vni, vtep, wait};

/// The ranks' ends on `address`, and a bridge with a tunnel to each.
fn job(ranks: u32, address: &str, bridge: &str) -> (Vec<TunnelTransport>, Vtep) {
    let mut bridge = vtep(bridge);
    let listen = SocketAddr::new(address.parse().unwrap(), port());
    let fabric = mem::fabric(World::new(ranks).unwrap()).unwrap();
    let ends = tunnels(fabric, listen, bridge.local_addr(), vni(100)).unwrap();
    for rank in 0..ranks {
        bridge.add(tunnel(100 + rank, listen)).unwrap();
    }
    (ends, bridge)
}

/// Frames that have come to a rank, waiting for as many.
fn frames(end: &mut TunnelTransport, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let Some(batch) = end.receive().unwrap() else {
            if let Arm::Sleep { .. } = end.arm() {
                wait(end.doorbell());
            }
            end.disarm();
            continue;
        };
        assert_eq!((batch.from(), batch.lane()), (end.me(), Lane::Data));
        for record in batch.records() {
            let record = record.unwrap();
            assert_eq!(record.kind, RecordKind::Unicast);
            frames.push(batch.bytes()[record.frame].to_vec());
        }
        end.recycle(batch);
    }
    assert_eq!(frames.len(), count);
    frames
}

#[test]
fn each_rank_gets_what_has_its_vni_and_nothing_else() {
    for (address, at) in [("127.0.0.60", "127.0.0.61"), ("::1", "::1")] {
        let (mut ends, mut bridge) = job(4, address, at);
        let ids: Vec<_> = bridge.tunnels().map(|(id, _)| id).collect();
        for number in 0..200 {
            for id in &ids {
                bridge.send(*id, &frame(100 + id.index() as u8, 200 + number));
            }
        }
        assert!(flush(&mut bridge).iter().all(|(_, result)| result.is_ok()));
        for (end, rank) in ends.iter_mut().zip(0..) {
            let frames = frames(end, 200);
            assert!(frames.iter().all(|bytes| *bytes == frame(100 + rank, bytes.len())));
            assert_eq!(end.refusals().total(), 0);
        }
    }
}

/// A TCP segment over IPv4 whose checksum field holds the pseudo-header's sum.
fn unfinished(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let mut frame = Vec::new();
    builder.tcp(1, 2, 3, 4).write(&mut frame, payload).unwrap();
    let sum = 0x0a00 + 1 + 0x0a00 + 2 + 6 + (20 + payload.len() as u16);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn unfinished_frames_leave_as_finished_ones() {
    let (mut ends, mut bridge) = job(1, "127.0.0.90", "127.0.0.91");
    let end = &mut ends[0];
    let mut run = Vec::new();
    let mut push = |header: &[u8; OFFLOAD_LEN], frame: &[u8]| {
        let len = (OFFLOAD_LEN + frame.len()) as u32;
        run.extend_from_slice(&(0x8000_0000 | len).to_be_bytes());
        run.extend_from_slice(&[header, frame].concat());
    };
    let super_frame = unfinished(&[7; 2500]);
    // A checksum at 34 + 16; TCP segments over IPv4 of 1000 octets.
    push(&[1, 1, 0, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0], &super_frame);
    push(&[1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], &unfinished(b"one segment"));
    push(&[0; OFFLOAD_LEN], &frame(1, 60));
    // Over IPv6, which it is not; and with a header that says what cannot be.
    push(&[1, 4, 0, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0], &super_frame);
    push(&[1, 9, 0, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0], &super_frame);
    end.send_run(end.me(), &run).unwrap();
    assert_eq!(end.progress().unwrap().bytes, 0);
    let frames = receive(&mut bridge, 5);
    let lens: Vec<usize> = frames.iter().map(|(_, frame)| frame.len()).collect();
    assert_eq!(lens, [1054, 1054, 554, 54 + 11, 60]);
    for (_, bytes) in &frames[..4] {
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else { panic!("no TCP") };
        assert_eq!(tcp.calc_checksum_ipv4([10, 0, 0, 1], [10, 0, 0, 2]), Ok(tcp.checksum()));
    }
    assert_eq!(frames[4].1, frame(1, 60));
    // The far end has found nothing to finish.
    assert_eq!((bridge.stats().checksums_completed, bridge.stats().super_frames_cut), (0, 0));
    let whole = (RECORD_HEADER_LEN + OFFLOAD_LEN + super_frame.len()) as u64;
    assert_eq!(end.stats().discarded_bytes, 2 * whole);
}

#[test]
fn runs_and_single_frames_go_to_the_bridge_with_the_ranks_vni() {
    let (mut ends, mut bridge) = job(3, "127.0.0.62", "127.0.0.63");
    for end in &mut ends {
        let me = end.me();
        let number = me.index() as u8;
        let mut run = Vec::new();
        for len in [60usize, 60, 1464] {
            run.extend_from_slice(&(len as u32).to_be_bytes());
            run.extend_from_slice(&frame(number, len));
        }
        end.send_run(me, &run).unwrap();
        end.send(me, RecordKind::Flood, me, &frame(number, 100)).unwrap();
        assert_eq!(end.progress().unwrap().bytes, 0);
    }
    let mut lens = BTreeMap::<usize, Vec<usize>>::new();
    for (tunnel, bytes) in receive(&mut bridge, 12) {
        assert_eq!(bytes, frame(tunnel.index() as u8, bytes.len()));
        lens.entry(tunnel.index()).or_default().push(bytes.len());
    }
    assert_eq!(lens, (0..3).map(|rank| (rank, vec![60, 60, 1464, 100])).collect());
}

#[test]
fn control_goes_by_memory_and_rings() {
    let (mut ends, _bridge) = job(2, "127.0.0.64", "127.0.0.65");
    let mut one = ends.pop().unwrap();
    let mut zero = ends.pop().unwrap();
    assert!(matches!(one.arm(), Arm::Sleep { .. }));
    zero.send(one.me(), RecordKind::Control, zero.me(), b"are you there?").unwrap();
    let _pending = zero.progress().unwrap();
    wait(one.doorbell());
    one.disarm();
    let batch = one.receive().unwrap().expect("a control batch");
    assert_eq!((batch.from(), batch.lane()), (zero.me(), Lane::Control));
    one.recycle(batch);
    let refused = zero.send(one.me(), RecordKind::Unicast, zero.me(), &frame(1, 60));
    assert_eq!(refused, Err(SendError::PeerGone(one.me())));
    let max = zero.max_frame_len();
    let refused = zero.send(zero.me(), RecordKind::Unicast, zero.me(), &vec![0; max + 1]);
    assert_eq!(refused, Err(SendError::TooLong { len: max + 1, max }));
}

#[test]
fn a_rank_that_has_left_changes_nothing_for_the_others() {
    let (mut ends, mut bridge) = job(3, "127.0.0.66", "127.0.0.67");
    drop(ends.remove(0));
    let ids: Vec<_> = bridge.tunnels().map(|(id, _)| id).collect();
    for id in &ids {
        bridge.send(*id, &frame(id.index() as u8, 60));
    }
    flush(&mut bridge);
    assert_eq!(frames(&mut ends[0], 1), [frame(1, 60)]);
    assert_eq!(frames(&mut ends[1], 1), [frame(2, 60)]);
    // With the last of them the port is free again.
    let listen = SocketAddr::from(([127, 0, 0, 66], port()));
    assert!(UdpSocket::bind(listen).is_err());
    drop(ends);
    assert!(UdpSocket::bind(listen).is_ok());
}

#[test]
fn a_second_job_on_the_same_port_is_told_so() {
    let (_ends, bridge) = job(2, "127.0.0.68", "127.0.0.69");
    let fabric = mem::fabric(World::new(2).unwrap()).unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 68], port()));
    let error = tunnels(fabric, listen, bridge.local_addr(), vni(300)).unwrap_err();
    assert!(matches!(error, TunnelsError::Bind(_)));
    assert!(error.to_string().contains(&format!("UDP port {} of 127.0.0.68 is taken", port())), "{error}");
    assert!(Vtep::bind(&VtepConfig::new(listen)).is_err());
}

/// The far end sends everything back, so that a rank of a world of one reaches itself by it.
#[test]
fn a_tunnel_conforms() {
    let (mut ends, mut bridge) = job(1, "127.0.0.90", "127.0.0.91");
    let back = bridge.tunnels().map(|(id, _)| id).next().unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let got = bridge.receive().unwrap();
                (0..got).for_each(|n| bridge.forward(n, back));
                bridge.flush(|_, _, result| assert_eq!(result, Ok(())));
                if got == 0 {
                    poll(&mut [PollFd::new(bridge.wait_fd(), PollFlags::POLLIN)], 20u16).unwrap();
                }
            }
        });
        let result = conformance::run(&mut ends[0], &Expectations::datagrams(64 << 10), |name| {
            println!("tunnel: {name}");
        });
        stop.store(true, Ordering::Relaxed);
        assert_eq!(result, Ok(()));
    });
}

#[test]
fn vnis_end_before_the_ranks_do() {
    let fabric = mem::fabric(World::new(4).unwrap()).unwrap();
    let peer = "127.0.0.71:4789".parse().unwrap();
    let error = tunnels(fabric, "127.0.0.70:0".parse().unwrap(), peer, vni(16_777_214)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 ranks need as many VNIs, but from 16777214 on there are fewer: the last is 16777215"
    );
}

#[test]
fn a_sleeping_rank_is_woken_by_a_frame_of_its_own_only() {
    let (mut ends, mut bridge) = job(2, "127.0.0.72", "127.0.0.73");
    for end in &mut ends {
        assert!(matches!(end.arm(), Arm::Sleep { .. }));
    }
    let first = bridge.tunnels().map(|(id, _)| id).next().unwrap();
    bridge.send(first, &frame(5, 60));
    flush(&mut bridge);
    wait(ends[0].doorbell());
    let mut other = [PollFd::new(ends[1].doorbell(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut other, 0u16), Ok(0));
    assert_eq!(frames(&mut ends[0], 1), [frame(5, 60)]);
}

//! Tests of finished frames: etherparse reads them, and the one that was not cut is known.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use mvpnet_switch::OFFLOAD_LEN;
use proptest::prelude::*;

use super::layout::{ethernet, ipv6, put, word};
use super::samples::{Shape, checksums_are_right, plain_sum};
use super::*;

/// What is left to be done to a frame of this shape, as its header says it.
fn offload(shape: Shape, payload_len: Option<u16>, frame: &[u8]) -> Offload {
    let kind = match (shape.protocol, shape.is_v4) {
        (Protocol::Tcp, true) => 1,
        (Protocol::Tcp, false) => 4,
        (Protocol::Udp, _) => 5,
    };
    let mut header = [0; OFFLOAD_LEN];
    (header[0], header[1]) = (1, payload_len.map_or(0, |_| kind));
    header[4..6].copy_from_slice(&payload_len.unwrap_or(0).to_le_bytes());
    header[6..8].copy_from_slice(&(shape.transport() as u16).to_le_bytes());
    header[8] = shape.protocol.checksum() as u8;
    Offload::read(&header, frame).unwrap().unwrap()
}

fn finish(offload: &Offload, frame: &[u8]) -> Result<Vec<Vec<u8>>, FinishError> {
    let mut frames = Vec::new();
    let count = Finisher::new().finish(offload, frame, |frame| frames.push(frame.to_vec()))?;
    assert_eq!(count, frames.len());
    Ok(frames)
}

fn shape(is_v4: bool, protocol: Protocol) -> Shape {
    Shape { is_v4, protocol, tags: 0, has_options: false }
}

/// What is a segment's own, in order: the rest is as in the frame that was cut.
fn check_segment(shape: Shape, whole: &[u8], segment: &[u8], number: usize, is_last: bool, sent: usize) {
    assert_eq!(checksums_are_right(segment), Ok(()), "segment {number} of {shape:?}");
    let packet = SlicedPacket::from_ethernet(segment).unwrap();
    assert_eq!(packet.link_exts.len(), shape.tags);
    let (network, transport) = (shape.network(), shape.transport());
    let mut same = vec![0..network + 2, network + 4..network + 4, network + 6..transport];
    match packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            assert_eq!(usize::from(ip.header().total_len()), segment.len() - network);
            assert_eq!(usize::from(ip.header().identification()), (0xfffe + number) & 0xffff);
            same[2] = network + 6..network + 10;
            same.push(network + 12..transport);
        }
        Some(NetSlice::Ipv6(ip)) => {
            assert_eq!(usize::from(ip.header().payload_length()), segment.len() - network - 40);
            same[1] = network + 2..network + 4;
        }
        other => panic!("{other:?}"),
    }
    match packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            assert_eq!(tcp.sequence_number(), 0xffff_f000_u32.wrapping_add(sent as u32));
            assert_eq!((tcp.fin(), tcp.psh(), tcp.cwr()), (is_last, is_last, number == 0));
            assert!(tcp.ack() && !tcp.syn() && !tcp.rst() && !tcp.urg() && !tcp.ece());
            same.extend([transport..transport + 4, transport + 8..transport + 13]);
            same.extend([transport + 14..transport + 16, transport + 18..shape.headers_len()]);
        }
        Some(TransportSlice::Udp(udp)) => {
            assert_eq!(usize::from(udp.length()), segment.len() - transport);
            same.push(transport..transport + 4);
        }
        other => panic!("{other:?}"),
    }
    for same in same {
        assert_eq!(segment[same.clone()], whole[same]);
    }
}

/// The same frame with another IPv4 identification, which runs over when it is counted up.
fn identified(shape: Shape, mut frame: Vec<u8>) -> Vec<u8> {
    if shape.is_v4 {
        let network = shape.network();
        put(&mut frame, network + 4, 0xfffe);
        put(&mut frame, network + 10, 0);
        let checksum = !plain_sum(&frame[network..shape.transport()]);
        put(&mut frame, network + 10, checksum);
    }
    frame
}

proptest! {
    #[test]
    fn the_segments_make_the_stream_again(
        shape in Shape::any(), len in 1usize..65000, payload_len in 100u16..9000, seed: u8, padding in 0usize..20
    ) {
        let payload: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8 ^ seed).collect();
        let mut whole = identified(shape, shape.unfinished(&payload));
        whole.extend(std::iter::repeat_n(0xa5, padding));
        let segments = finish(&offload(shape, Some(payload_len), &whole), &whole).unwrap();
        prop_assert_eq!(segments.len(), len.div_ceil(usize::from(payload_len)));
        let mut stream = Vec::new();
        for (number, segment) in segments.iter().enumerate() {
            let is_last = number + 1 == segments.len();
            check_segment(shape, &whole, segment, number, is_last, stream.len());
            let carried = &segment[shape.headers_len()..];
            prop_assert!(carried.len() == usize::from(payload_len) || is_last);
            stream.extend_from_slice(carried);
        }
        prop_assert_eq!(stream, payload);
    }

    #[test]
    fn a_checksum_alone_makes_the_frame_that_was_never_left_to_others(
        shape in Shape::any(), payload in prop::collection::vec(any::<u8>(), 0..3000), padding in 0usize..20
    ) {
        let pad = |mut frame: Vec<u8>| {
            frame.extend(std::iter::repeat_n(0xa5, padding));
            frame
        };
        let (whole, mut unfinished) = (pad(shape.frame(&payload)), pad(shape.unfinished(&payload)));
        let offload = offload(shape, None, &unfinished);
        prop_assert_eq!(finish(&offload, &unfinished), Ok(vec![whole.clone()]));
        prop_assert_eq!(complete_checksum(&offload, &mut unfinished), Ok(()));
        prop_assert_eq!(unfinished, whole);
    }

    #[test]
    fn any_header_and_any_frame_are_finished_or_not(
        header: [u8; OFFLOAD_LEN], kind in 0u8..6, mut frame in prop::collection::vec(any::<u8>(), 0..400), shape in Shape::any(), real in 0usize..100
    ) {
        // As much of a real frame as there is room for, so that some are found to be packets.
        let sample = shape.unfinished(&[1; 200]);
        let real = real.min(frame.len()).min(sample.len());
        frame[..real].copy_from_slice(&sample[..real]);
        let (start, field) = (shape.transport() as u8, shape.protocol.checksum() as u8);
        for header in [header, [1, kind, 0, 0, header[4], 0, start, 0, field, 0, 0, 0]] {
            let Ok(Some(offload)) = Offload::read(&header, &frame) else { continue };
            let (mut bytes, mut count) = (0, 0);
            let finished = Finisher::new().finish(&offload, &frame, |segment| (bytes, count) = (bytes + segment.len(), count + 1));
            prop_assert_eq!(finished.unwrap_or(0), count);
            prop_assert!(bytes <= count * offload.longest_frame(frame.len()));
            let _ = complete_checksum(&offload, &mut frame);
        }
    }

    #[test]
    fn what_was_read_for_another_frame_does_no_harm(one in Shape::any(), two in Shape::any(), payload_len in 1u16..300, len in 0usize..300) {
        let frame = one.unfinished(&[1; 300]);
        let offload = offload(one, Some(payload_len), &frame);
        let mut other = two.unfinished(&[2; 200]);
        other.truncate(len);
        let _ = finish(&offload, &other);
        let _ = complete_checksum(&offload, &mut other);
    }
}

#[test]
fn segments_are_for_the_protocol_and_version_that_the_frame_has() {
    let tcp = shape(true, Protocol::Tcp);
    let frame = tcp.unfinished(&[7; 3000]);
    let good = offload(tcp, Some(1000), &frame);
    let wrong = |kind| Err(FinishError::Kind { kind, at: 34 });
    let mut other = good;
    other.segments.as_mut().unwrap().kind = SegmentKind::TcpV6;
    assert_eq!(finish(&other, &frame), wrong(SegmentKind::TcpV6));
    other.segments.as_mut().unwrap().kind = SegmentKind::Udp;
    assert_eq!(finish(&other, &frame), wrong(SegmentKind::Udp));
    // A fragment's payload is no transport header.
    let mut fragment = frame.clone();
    fragment[20] = 0x20;
    assert_eq!(finish(&good, &fragment), wrong(SegmentKind::TcpV4));
    let mut elsewhere = good;
    elsewhere.checksum_start += 4;
    assert_eq!(finish(&elsewhere, &frame), Err(FinishError::Kind { kind: SegmentKind::TcpV4, at: 38 }));
}

#[test]
fn segments_are_for_whole_packets_with_a_payload() {
    let tcp = shape(false, Protocol::Tcp);
    let frame = tcp.unfinished(&[7; 3000]);
    let good = offload(tcp, Some(1000), &frame);
    let mut bad = frame.clone();
    put(&mut bad, ethernet::HEADER_LEN + ipv6::PAYLOAD_LEN, 3100);
    assert_eq!(finish(&good, &bad), Err(FinishError::NoPacket { len: frame.len() }));
    bad[12] = 0;
    assert_eq!(finish(&good, &bad), Err(FinishError::NoPacket { len: frame.len() }));
    let mut no_payload = frame.clone();
    put(&mut no_payload, ethernet::HEADER_LEN + ipv6::PAYLOAD_LEN, 32);
    let indivisible = FinishError::Indivisible { headers_len: 86, payload_len: 1000, end: 86 };
    assert_eq!(finish(&good, &no_payload), Err(indivisible));
    assert_eq!(DropReason::from(indivisible), DropReason::BadOffload);
}

#[test]
fn nobody_is_made_to_cut_more_than_is_sensible() {
    let udp = shape(true, Protocol::Udp);
    let most = udp.unfinished(&[7; MAX_SEGMENTS]);
    assert_eq!(finish(&offload(udp, Some(1), &most), &most).map(|frames| frames.len()), Ok(MAX_SEGMENTS));
    let more = udp.unfinished(&[7; MAX_SEGMENTS + 1]);
    let error = FinishError::TooMany { count: MAX_SEGMENTS + 1 };
    assert_eq!(finish(&offload(udp, Some(1), &more), &more), Err(error));
}

#[test]
fn a_super_frame_of_one_segment_is_one_finished_frame() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let shape = shape(true, protocol);
        let unfinished = shape.unfinished(b"short");
        let finished = finish(&offload(shape, Some(1448), &unfinished), &unfinished);
        assert_eq!(finished, Ok(vec![shape.frame(b"short")]));
    }
}

#[test]
fn any_protocol_can_have_its_checksum_completed() {
    // ICMPv6 (RFC 4443 §2.3), as in a frame of Ethernet type IPv6; and the same bytes behind headers that
    // nobody knows.
    for ether_type in [ethernet::IPV6, 0x1234] {
        let mut frame = vec![0; 14 + 40 + 9];
        put(&mut frame, 12, ether_type);
        (frame[14], frame[19], frame[20], frame[54]) = (0x60, 9, 58, 128);
        frame[22..54].fill(0xfd);
        frame[58..].copy_from_slice(b"echo!");
        let pseudo = [&frame[22..54], &[0, 58, 0, 9]].concat();
        put(&mut frame, 56, plain_sum(&pseudo));
        let offload = Offload { checksum_start: 54, checksum_offset: 2, segments: None };
        assert_eq!(complete_checksum(&offload, &mut frame), Ok(()));
        assert_eq!(plain_sum(&[&pseudo[..], &frame[54..]].concat()), 0xffff, "{:#06x}", word(&frame, 56));
    }
}

#[test]
fn a_checksum_in_the_padding_is_none() {
    let udp = shape(true, Protocol::Udp);
    let mut frame = udp.unfinished(b"");
    let end = frame.len();
    frame.extend([0; 18]);
    let before = frame.clone();
    let offload = Offload { checksum_start: end as u16 - 7, checksum_offset: 6, segments: None };
    assert_eq!(complete_checksum(&offload, &mut frame), Err(FinishError::Checksum { at: end - 1, end }));
    assert_eq!(frame, before);
}

#[test]
fn a_warm_finisher_allocates_nothing() {
    let tcp = shape(true, Protocol::Tcp);
    let long = tcp.unfinished(&[7; 60_000]);
    let short = tcp.unfinished(&[7; 6]);
    let mut finisher = Finisher::new();
    finisher.finish(&offload(tcp, Some(9000), &long), &long, |_| ()).unwrap();
    let memory = (finisher.finished.as_ptr(), finisher.finished.capacity());
    finisher.finish(&offload(tcp, Some(1448), &long), &long, |_| ()).unwrap();
    finisher.finish(&offload(tcp, None, &short), &short, |_| ()).unwrap();
    assert_eq!((finisher.finished.as_ptr(), finisher.finished.capacity()), memory);
}

//! Tests of what is seen in a frame; that what is written is right is tested with [`crate::offload`].

use proptest::prelude::*;

use super::*;
use crate::offload::layout::put;
use crate::offload::samples::{Shape, checksums_are_right, frame, unfinished};

proptest! {
    #[test]
    fn a_partial_checksum_is_seen_and_completed(shape in Shape::any(), payload in prop::collection::vec(any::<u8>(), 0..90)) {
        let (whole, mut partial) = (shape.frame(&payload), shape.unfinished(&payload));
        let layout = Layout::of(&whole).unwrap();
        let is_routed = !shape.is_v4 && shape.has_options;
        prop_assert_eq!(is_partial(&partial, &layout), !is_routed);
        // Once in 65536 frames they are the same.
        prop_assert_eq!(is_partial(&whole, &layout), whole == partial && !is_routed);
        complete(&mut partial, &layout);
        prop_assert_eq!(&partial, &whole);
    }

    #[test]
    fn parts_lie_one_behind_the_other_with_room_for_headers(is_v4: bool, len in 1usize..65000, mtu in 200usize..3000) {
        let whole = unfinished(is_v4, Protocol::Tcp, &vec![7; len]);
        let layout = Layout::of(&whole).unwrap();
        let mut out = vec![0; 3 * whole.len() + 1000];
        let mut places = Vec::new();
        let used = cut(&whole, &layout, mtu, &mut out, |place| places.push(place)).unwrap();
        let (mut end, mut payload) = (0, 0);
        for place in places {
            prop_assert_eq!(place.start, end + HEADER_LEN);
            end = place.end;
            let layout = Layout::of(&out[place.clone()]).unwrap();
            prop_assert!(layout.end == place.len() && layout.end - layout.network <= mtu);
            prop_assert_eq!(checksums_are_right(&out[place.clone()]), Ok(()));
            payload += place.len() - (layout.transport.unwrap().1 + 32);
        }
        prop_assert_eq!((used, len), (end, payload));
    }

    #[test]
    fn any_bytes_are_cut_or_not(mut bytes in prop::collection::vec(any::<u8>(), 54..300), mtu in 0usize..200, is_v4: bool) {
        let real = frame(is_v4, Protocol::Tcp, b"");
        bytes[..15].copy_from_slice(&real[..15]);
        if let Some(layout) = Layout::of(&bytes) {
            let mut out = vec![0; 4000];
            let used = cut(&bytes, &layout, mtu, &mut out, |_| ());
            prop_assert!(used.is_ok_and(|used| used <= out.len()) || used.is_err());
        }
    }
}

#[test]
fn a_udp_packet_without_a_checksum_is_left_alone() {
    let mut whole = frame(true, Protocol::Udp, b"no checksum");
    let layout = Layout::of(&whole).unwrap();
    let (_, at) = layout.transport.unwrap();
    put(&mut whole, at + Protocol::Udp.checksum(), 0);
    assert!(!is_partial(&whole, &layout));
}

#[test]
fn what_is_not_tcp_or_has_no_room_is_not_cut() {
    let udp = unfinished(true, Protocol::Udp, &[0; 3000]);
    let tcp = unfinished(true, Protocol::Tcp, &[0; 3000]);
    let try_cut =
        |frame: &[u8], mtu, room| cut(frame, &Layout::of(frame).unwrap(), mtu, &mut vec![0; room], |_| ());
    assert_eq!(try_cut(&udp, 1450, 9000), Err(CutError::Indivisible));
    assert_eq!(try_cut(&tcp, 52, 9000), Err(CutError::Indivisible));
    assert_eq!(try_cut(&tcp, 1450, 3000), Err(CutError::NoRoom));
    assert_eq!(try_cut(&tcp, 1450, 9000), Ok(3000 + 3 * (8 + 66)));
}

//! No bytes of a guest or a peer make the switch panic or say something that it must not say.

use mvpnet_switch::{Ingress, Instant, MacAddr, Switch, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::books::{frame, ingress};
use crate::frames::*;

/// Decides, and checks what must hold for any frame whatsoever.
fn decide(switch: &mut Switch, ingress: Ingress, head: &[u8], frame_len: usize) {
    let verdict = switch.decide(Instant::ZERO, ingress, head, frame_len);
    assert_eq!(switch.counters().check(), Ok(()));
    match verdict {
        Verdict::Reply(_) => {
            assert_eq!(ingress, Ingress::Guest);
            let reply = switch.reply();
            assert!((60..=1302).contains(&reply.len()), "{} bytes", reply.len());
            // It goes to who asked, or to everyone on a link where nobody else is.
            let destination = MacAddr::new(reply[..6].try_into().unwrap());
            assert!(destination.is_multicast() || destination.octets() == head[6..12]);
            assert!(!MacAddr::new(reply[6..12].try_into().unwrap()).is_multicast());
        }
        Verdict::Control(_) => assert_eq!(ingress, Ingress::Guest),
        Verdict::Flood(flood) => assert_eq!(flood.to_guest, ingress != Ingress::Guest),
        Verdict::Forward(_) | Verdict::Drop(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_decided_about(
        head in prop::collection::vec(any::<u8>(), 0..700),
        frame_len in prop_oneof![0..2000usize, Just(usize::MAX)],
        ingress in ingress(),
    ) {
        decide(&mut switch(), ingress, &head, frame_len);
    }

    #[test]
    fn any_payload_of_the_types_that_are_looked_at_is_decided_about(
        ether_type in prop::sample::select(vec![0x0800u16, 0x0806, 0x86dd, 0x8100, 0x88a8]),
        payload in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let frame = ethernet(MacAddr::BROADCAST, rank(0).mac(), ether_type, &payload);
        decide(&mut switch(), Ingress::Guest, &frame, frame.len());
    }

    #[test]
    fn valid_frames_with_some_bytes_changed_are_decided_about(
        frame in frame(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..8),
        cut in prop::option::of(any::<Index>()),
        frame_len in prop::option::of(0..2000usize),
        ingress in ingress(),
    ) {
        let mut frame = frame;
        for (place, byte) in changes {
            if !frame.is_empty() {
                let place = place.index(frame.len());
                frame[place] = byte;
            }
        }
        let frame_len = frame_len.unwrap_or(frame.len());
        let head = match cut {
            Some(cut) => &frame[..cut.index(frame.len() + 1)],
            None => &frame[..],
        };
        decide(&mut switch(), ingress, head, frame_len);
    }
}

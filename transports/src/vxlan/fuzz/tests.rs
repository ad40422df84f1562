//! The corpus: every file does what its name says. `MVPNET_WRITE_CORPUS=1 cargo test -p mvpnet-transports corpus`
//! writes the named files anew.

use std::collections::BTreeMap;

use super::super::header::Header;
use super::super::probe::message::Message;
use super::*;
use crate::offload::layout::Protocol;
use crate::offload::samples::{frame, unfinished};

#[path = "../../../../fuzz/replay.rs"]
mod replay;

fn datagram(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&Header { vni: Vni::new(vni).unwrap() }.emit(), frame].concat()
}

fn with(flags: u8, stride: u16, datagrams: &[Vec<u8>]) -> Vec<u8> {
    let [low, high] = stride.to_le_bytes();
    [vec![flags, low, high], datagrams.concat()].concat()
}

/// A frame between two hosts that the bridge can learn.
fn between(to: u8, from: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5]);
    frame
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 7], &frame[12..]].concat()
}

/// What is told apart: name, bytes, and what they lead to.
fn named() -> BTreeMap<&'static str, (Vec<u8>, Outcome)> {
    let nothing = Outcome::default();
    let flooded = |count| Outcome { flooded: count, ..nothing.clone() };
    let refused = |refusal| Outcome { refused: vec![(refusal, 1)], ..nothing.clone() };
    let plain = |datagram: Vec<u8>| with(0, 0, &[datagram]);
    let good = datagram(40, &between(1, 2, 60));
    let edit = |at: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at] = byte;
        with(0, 0, &[bad])
    };
    let ask = Message::Ask { token: 7 }.emit().to_vec();
    let mut with_options = unfinished(false, Protocol::Tcp, &[3; 4000]);
    // Hop-by-hop options in front of TCP, as RFC 8200 §4.3 has them.
    with_options.splice(54..54, [6, 0, 1, 4, 0, 0, 0, 0]);
    with_options[20] = 0;
    let len = u16::from_be_bytes([with_options[18], with_options[19]]) + 8;
    with_options[18..20].copy_from_slice(&len.to_be_bytes());
    let mut do_not_fragment = frame(true, Protocol::Udp, &[4; 3000]);
    do_not_fragment[20] |= 0x40;
    [
        ("one-frame", plain(good.clone()), flooded(1)),
        ("shortest-frame", plain(datagram(40, &between(1, 2, 14))), flooded(1)),
        (
            "three-datagrams-put-together",
            with(
                0,
                68,
                &[
                    datagram(40, &between(1, 2, 60)),
                    datagram(41, &between(2, 1, 60)),
                    datagram(40, &between(1, 2, 20)),
                ],
            ),
            Outcome { flooded: 1, forwarded: 2, ..nothing.clone() },
        ),
        ("unknown-peer", with(FROM_STRANGER, 0, std::slice::from_ref(&good)), refused(Refusal::UnknownPeer)),
        ("unknown-vni", plain(datagram(42, &between(1, 2, 60))), refused(Refusal::UnknownVni)),
        ("vni-of-another-peer", plain(datagram(60, &between(1, 2, 60))), refused(Refusal::UnknownVni)),
        ("empty-datagram", plain(vec![]), refused(Refusal::ShortHeader)),
        ("short-header", plain(good[..7].to_vec()), refused(Refusal::ShortHeader)),
        ("no-vni-flag", edit(0, 0), refused(Refusal::NoVniFlag)),
        ("reserved-flag", edit(0, 0x0c), refused(Refusal::ReservedBits)),
        ("reserved-byte", edit(7, 1), refused(Refusal::ReservedBits)),
        ("header-alone", plain(good[..8].to_vec()), refused(Refusal::TruncatedFrame)),
        ("truncated-frame", plain(good[..21].to_vec()), refused(Refusal::TruncatedFrame)),
        ("probe", plain(ask.clone()), Outcome { probes: 1, ..nothing.clone() }),
        ("probe-of-a-stranger", with(FROM_STRANGER, 0, &[ask]), refused(Refusal::UnknownPeer)),
        (
            "group-source",
            plain(datagram(40, &[&[2, 0, 0, 0, 0, 1][..], &[3; 6], &[8; 50]].concat())),
            Outcome { dropped: Some(DropReason::MulticastSource), ..nothing.clone() },
        ),
        (
            "partial-tcp-checksum",
            plain(datagram(40, &unfinished(true, Protocol::Tcp, b"GET /"))),
            Outcome { completed: 1, ..flooded(1) },
        ),
        (
            "partial-udp-checksum-over-ipv6",
            plain(datagram(40, &unfinished(false, Protocol::Udp, b"odd"))),
            Outcome { completed: 1, ..flooded(1) },
        ),
        (
            "partial-checksum-behind-a-tag",
            plain(datagram(40, &tagged(&unfinished(true, Protocol::Udp, b"1")))),
            Outcome { completed: 1, ..flooded(1) },
        ),
        (
            "super-frame",
            plain(datagram(40, &unfinished(true, Protocol::Tcp, &[1; 5000]))),
            Outcome { cut: 1, ..flooded(4) },
        ),
        (
            "super-frame-over-ipv6-with-options",
            plain(datagram(40, &with_options)),
            Outcome { cut: 1, ..flooded(3) },
        ),
        (
            "super-frame-in-small-parts",
            with(SMALL_MTU, 0, &[datagram(40, &unfinished(true, Protocol::Tcp, &[1; 1000]))]),
            Outcome { cut: 1, ..flooded(21) },
        ),
        (
            "super-frame-over-ipv6-in-small-parts",
            with(SMALL_MTU, 0, &[datagram(40, &unfinished(false, Protocol::Tcp, &[1; 1000]))]),
            Outcome { cut: 1, ..flooded(36) },
        ),
        (
            "udp-super-frame",
            plain(datagram(40, &unfinished(true, Protocol::Udp, &[1; 5000]))),
            Outcome { completed: 1, replied: Some(ReplyKind::TooBig), ..nothing.clone() },
        ),
        (
            "finished-and-too-long",
            plain(datagram(40, &do_not_fragment)),
            Outcome { replied: Some(ReplyKind::TooBig), ..nothing.clone() },
        ),
    ]
    .map(|(name, bytes, outcome)| (name, (bytes, outcome)))
    .into()
}

#[test]
fn the_corpus_does_what_its_names_say() {
    replay::does_what_its_names_say("vxlan_datagram", named(), vxlan_datagram);
}

#[test]
fn every_file_of_the_corpus_passes() {
    replay::every_file_passes("vxlan_datagram", named().len(), vxlan_datagram);
}

proptest::proptest! {
    #[test]
    fn pieces_of_the_corpus_in_any_order_pass(
        picks in proptest::collection::vec((0usize..25, 0usize..3000, proptest::prelude::any::<u8>()), 1..6), flags: u8, stride in 0u16..300
    ) {
        let named: Vec<Vec<u8>> = named().into_values().map(|(bytes, _)| bytes).collect();
        let mut datagrams = Vec::new();
        for (pick, at, byte) in picks {
            let mut piece = named[pick % named.len()][PREFIX_LEN..].to_vec();
            if let Some(place) = piece.get_mut(at) {
                *place = byte;
            }
            datagrams.push(piece);
        }
        vxlan_datagram(&with(flags, stride, &datagrams));
    }
}

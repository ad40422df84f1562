//! What is written is what is read, and no bytes make the reader panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::borrow::Cow;

use mvpnet_pcap::{
    Direction, Entry, Interface, Packet, ReadError, Reader, Section, Statistics, WriteError, Writer,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Everything that a capture says, owned.
#[derive(Clone, Debug, Default, PartialEq)]
struct Whole {
    section: Section,
    interfaces: Vec<Interface>,
    packets: Vec<Packet<'static>>,
    statistics: Vec<Statistics>,
}

fn write(whole: &Whole) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &whole.section).unwrap();
    for interface in &whole.interfaces {
        writer.add_interface(interface).unwrap();
    }
    for packet in &whole.packets {
        writer.packet(packet).unwrap();
    }
    for statistics in &whole.statistics {
        writer.statistics(statistics).unwrap();
    }
    writer.into_inner()
}

fn read(bytes: &[u8]) -> (Whole, Option<ReadError>) {
    let mut whole = Whole::default();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (whole, Some(error)),
    };
    let error = loop {
        match reader.next_entry() {
            Ok(Some(Entry::Packet(packet))) => whole.packets.push(to_owned(packet)),
            Ok(Some(Entry::Statistics(statistics))) => whole.statistics.push(statistics),
            Ok(Some(Entry::Section | Entry::Interface | Entry::Other)) => {}
            Ok(None) => break None,
            Err(error) => {
                assert!(matches!(reader.next_entry(), Ok(None)), "an error is the last thing to be had");
                break Some(error);
            }
        }
    };
    whole.section = reader.section().clone();
    whole.interfaces = reader.interfaces().cloned().collect();
    (whole, error)
}

fn to_owned(packet: Packet<'_>) -> Packet<'static> {
    Packet {
        data: Cow::Owned(packet.data.into_owned()),
        comment: packet.comment.map(|comment| Cow::Owned(comment.into_owned())),
        ..packet
    }
}

fn a_section() -> impl Strategy<Value = Section> {
    let text = || option::of(".{0,40}");
    (text(), text(), text(), text()).prop_map(|(hardware, os, application, comment)| Section {
        hardware,
        os,
        application,
        comment,
    })
}

fn an_interface() -> impl Strategy<Value = Interface> {
    (".{0,20}", option::of(".{0,40}"), option::of(any::<[u8; 6]>()))
        .prop_map(|(name, description, mac)| Interface { description, mac, ..Interface::new(name) })
}

fn a_direction() -> impl Strategy<Value = Option<Direction>> {
    option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)])
}

fn a_packet(interfaces: u32) -> impl Strategy<Value = Packet<'static>> {
    let fields = (
        0..interfaces,
        a_direction(),
        any::<u64>(),
        0..9000u32,
        vec(any::<u8>(), 0..200),
        option::of(".{0,60}"),
    );
    (fields, any::<u64>()).prop_map(|((interface, direction, time_ns, beyond, data, comment), missed)| {
        Packet {
            interface,
            direction,
            time_ns,
            original_len: data.len() as u32 + beyond,
            data: Cow::Owned(data),
            comment: comment.map(Cow::Owned),
            missed,
        }
    })
}

fn some_statistics(interfaces: u32) -> impl Strategy<Value = Statistics> {
    let number = || option::of(any::<u64>());
    let fields = (number(), number(), number(), number(), number(), option::of(".{0,40}"));
    (0..interfaces, any::<u64>(), fields).prop_map(
        |(interface, time_ns, (start_ns, end_ns, received, missed, delivered, comment))| Statistics {
            interface,
            time_ns,
            start_ns,
            end_ns,
            received,
            missed,
            delivered,
            comment,
        },
    )
}

fn a_capture() -> impl Strategy<Value = Whole> {
    (a_section(), vec(an_interface(), 1..4)).prop_flat_map(|(section, interfaces)| {
        let count = interfaces.len() as u32;
        (vec(a_packet(count), 0..12), vec(some_statistics(count), 0..4)).prop_map(
            move |(packets, statistics)| Whole {
                section: section.clone(),
                interfaces: interfaces.clone(),
                packets,
                statistics,
            },
        )
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(whole in a_capture()) {
        let (back, error) = read(&write(&whole));
        prop_assert!(error.is_none(), "{:?}", error);
        prop_assert_eq!(back, whole);
    }

    #[test]
    fn a_cut_capture_reads_as_its_whole_blocks(whole in a_capture(), cut in any::<prop::sample::Index>()) {
        let bytes = write(&whole);
        let (back, error) = read(&bytes[..cut.index(bytes.len())]);
        prop_assert!(matches!(error, None | Some(ReadError::CutShort)), "{:?}", error);
        prop_assert!(back.packets.len() <= whole.packets.len());
        prop_assert_eq!(&back.packets[..], &whole.packets[..back.packets.len()]);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_capture_is_read_without_panic(
        whole in a_capture(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = write(&whole);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn blocks_of_any_kind_and_body_are_read_without_panic(
        kind in 0..12u32,
        body in vec(any::<u8>(), 0..120),
        little_endian in any::<bool>(),
    ) {
        let number = |n: u32| if little_endian { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut bytes = Vec::new();
        for n in [0x0a0d_0d0a, 28, 0x1a2b_3c4d] {
            bytes.extend(number(n));
        }
        bytes.extend([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        bytes.extend(number(28));
        let padded = body.len().next_multiple_of(4);
        bytes.extend(number(kind));
        bytes.extend(number(padded as u32 + 12));
        bytes.extend(&body);
        bytes.resize(bytes.len() + padded - body.len(), 0);
        bytes.extend(number(padded as u32 + 12));
        let _ = read(&bytes);
    }
}

#[test]
fn cuts_packets_to_the_snap_length_and_keeps_their_real_length() {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    let port = writer.add_interface(&Interface { snaplen: 64, ..Interface::new("port") }).unwrap();
    writer.packet(&Packet::new(port, Direction::Inbound, 0, &[7; 1514])).unwrap();

    let (back, _) = read(&writer.into_inner());

    assert_eq!((back.packets[0].data.len(), back.packets[0].original_len), (64, 1514));
}

#[test]
fn cuts_a_comment_that_no_option_can_hold_between_two_characters() {
    let whole = Whole {
        interfaces: vec![Interface::new("port")],
        packets: vec![to_owned(
            Packet::new(0, Direction::Inbound, 0, &[7; 60]).with_comment("ä".repeat(40_000)),
        )],
        ..Whole::default()
    };

    let (back, error) = read(&write(&whole));

    assert!(error.is_none(), "{error:?}");
    assert_eq!(back.packets[0].comment.as_deref().map(str::len), Some(65_534));
}

#[test]
fn refuses_a_packet_of_an_interface_that_was_never_added() {
    let mut writer = Writer::new(Vec::new(), &Section::default()).unwrap();
    writer.add_interface(&Interface::new("port")).unwrap();

    let refused = writer.packet(&Packet::new(1, Direction::Inbound, 0, &[7; 60]));

    assert!(matches!(refused, Err(WriteError::UnknownInterface { interface: 1, known: 1 })), "{refused:?}");
}

#[test]
fn understands_the_times_of_a_little_endian_capture_in_microseconds() {
    // One section, one interface without options, one packet and one statistics block, as other tools write
    // them.
    let time_us: u64 = 1_700_000_000_123_456;
    let mut bytes = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let len = (body.len() as u32 + 12).to_le_bytes();
        bytes.extend([&kind.to_le_bytes()[..], &len, body, &len].concat());
    };
    let time = [((time_us >> 32) as u32).to_le_bytes(), (time_us as u32).to_le_bytes()].concat();
    block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
    block(6, &[&[0; 4][..], &time, &[4, 0, 0, 0], &[4, 0, 0, 0], b"abcd"].concat());
    block(5, &[&[0; 4][..], &time].concat());

    let (back, error) = read(&bytes);

    assert!(error.is_none(), "{error:?}");
    assert_eq!(back.packets[0].time_ns, time_us * 1000);
    assert_eq!(back.statistics[0].time_ns, time_us * 1000);
}

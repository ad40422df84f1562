//! What a capture consists of: the section, its interfaces, packets and statistics. The same types are
//! written and read, so that a round trip can be compared. How they look as bytes is the business of `writer`
//! and `reader`.

use std::borrow::Cow;

/// Longest packet that is kept whole unless an interface says otherwise. It is dumpcap's own default, and the
/// longest packet that Wireshark takes from an Ethernet interface.
pub const SNAPLEN: u32 = 262_144;

/// Who made a capture and where: the options of the section header block (pcapng §4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The machine, such as its processor's architecture.
    pub hardware: Option<String>,
    /// The operating system's name and release.
    pub os: Option<String>,
    /// The program that wrote the capture.
    pub application: Option<String>,
    /// Anything else that a reader should know of the whole capture.
    pub comment: Option<String>,
}

/// A port that packets were captured on: an Ethernet interface of the capture (pcapng §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Short name, which display filters compare with: `frame.interface_name == "rank3-guest"`.
    pub name: String,
    /// What the port is, for people.
    pub description: Option<String>,
    /// The port's own hardware address, where it has one.
    pub mac: Option<[u8; 6]>,
    /// Bytes of each packet that are kept; 0 for all of them.
    pub snaplen: u32,
}

impl Interface {
    /// An interface of this name that keeps packets up to [`SNAPLEN`] bytes.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), description: None, mac: None, snaplen: SNAPLEN }
    }
}

/// Which way a packet crossed its interface, as seen from the switch: `epb_flags` bits 0 and 1 (pcapng
/// §4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Into the switch: the guest sent it, or a peer did.
    Inbound,
    /// Out of the switch: to the guest, or to a peer.
    Outbound,
}

/// One captured packet: an enhanced packet block (pcapng §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Index of its interface, in the order in which interfaces were added.
    pub interface: u32,
    /// Which way it went, if that is known.
    pub direction: Option<Direction>,
    /// Nanoseconds since 1970-01-01 00:00 UTC.
    pub time_ns: u64,
    /// Its length on the wire, in bytes: `data` is shorter if the capture cut it.
    pub original_len: u32,
    /// Its bytes, from the destination address on, without frame check sequence.
    pub data: Cow<'a, [u8]>,
    /// What there is to say about it, such as the reason why it was dropped.
    pub comment: Option<Cow<'a, str>>,
    /// Packets of this interface that are missing from the capture since the one before (`epb_dropcount`).
    pub missed: u64,
}

impl<'a> Packet<'a> {
    /// A whole packet with nothing to say about it.
    pub fn new(interface: u32, direction: Direction, time_ns: u64, data: &'a [u8]) -> Self {
        Self {
            interface,
            direction: Some(direction),
            time_ns,
            original_len: u32::try_from(data.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(data),
            comment: None,
            missed: 0,
        }
    }

    /// The same packet with a comment.
    pub fn with_comment(self, comment: impl Into<Cow<'a, str>>) -> Self {
        Self { comment: Some(comment.into()), ..self }
    }
}

/// The books of one interface: an interface statistics block (pcapng §4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Index of the interface.
    pub interface: u32,
    /// When the books were closed, in nanoseconds since 1970.
    pub time_ns: u64,
    /// When the capture of this interface began (`isb_starttime`).
    pub start_ns: Option<u64>,
    /// When the capture of this interface ended (`isb_endtime`).
    pub end_ns: Option<u64>,
    /// Packets that crossed the interface since the start (`isb_ifrecv`).
    pub received: Option<u64>,
    /// Those of them that are missing from the capture (`isb_ifdrop`).
    pub missed: Option<u64>,
    /// Those of them that are in the capture (`isb_usrdeliv`).
    pub delivered: Option<u64>,
    /// What there is to say about it.
    pub comment: Option<String>,
}

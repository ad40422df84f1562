//! The frames that load generators exchange: building, stamping and reading them, and the addresses of ranks.
//!
//! A frame is Ethernet with the first local experimental EtherType (IEEE 802-2014 §9.2.4) and carries its kind, its
//! origin, a sequence number, a time stamp, its own length, a check over these, and a tail that repeats the
//! sequence number, so that a receiver notices loss, duplication, truncation and damage at the cost of a few
//! instructions. [A packet that is still to be cut](segmented) has the same behind headers of IPv4 and TCP. Addresses are
//! written out here again, on purpose: a generator that shared the switch's code would
//! share its mistakes.

pub mod segmented;

use std::ops::Range;

/// Destination, source, EtherType.
pub const ETHERNET_HEADER: usize = 14;
/// The smallest frame of ours; also the smallest Ethernet frame without its checksum (IEEE 802.3 §3.2.8).
pub const MIN_FRAME: usize = 60;
/// The largest frame that qemu's netdevs carry (`NET_BUFSIZE`, 4096 + 65536).
pub const MAX_FRAME: usize = 69_632;

const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
// Places behind the headers.
const KIND: usize = 0;
const MAGIC_AT: Range<usize> = 2..6;
const ORIGIN: Range<usize> = 6..10;
const SEQ: Range<usize> = 10..18;
const STAMP: Range<usize> = 18..26;
const LENGTH: Range<usize> = 26..30;
const CHECK: Range<usize> = 30..34;
const FILLING: usize = 34;
const MAGIC: [u8; 4] = *b"mvLG";
const FILL: u8 = 0x5a;
const TAIL: usize = 8;
const TAIL_MASK: u64 = 0x6d76_706e_6574_4c47;

/// The address of a rank's guest on the cluster network.
pub fn rank_mac(rank: u32) -> [u8; 6] {
    let [a, b, c, d] = rank.to_be_bytes();
    [0x52, 0x55, a, b, c, d]
}

/// The broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Are you there? Answered by [`Kind::HelloAck`] from every generator that reads its link.
    Hello,
    /// I am here.
    HelloAck,
    /// Load; counted, not answered.
    Data,
    /// Answered by [`Kind::Pong`] with the same sequence number and time stamp.
    Ping,
    /// The answer to a ping.
    Pong,
    /// The receiver has measured enough.
    Enough,
    /// The sender has sent all; the sequence number is how many frames that were.
    Bye,
}

impl Kind {
    const ALL: [Kind; 7] =
        [Kind::Hello, Kind::HelloAck, Kind::Data, Kind::Ping, Kind::Pong, Kind::Enough, Kind::Bye];

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    fn byte(self) -> u8 {
        self as u8 + 1
    }
}

/// What a generator's frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What it is for.
    pub kind: Kind,
    /// The rank that made it.
    pub origin: u32,
    /// Its number.
    pub seq: u64,
    /// The origin's clock, ns.
    pub stamp: u64,
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// A generator's frame, whole.
    Whole(Message),
    /// A generator's frame whose check, length or tail is wrong.
    Damaged,
    /// Somebody else's frame.
    Foreign,
}

/// Writes a whole frame of `frame.len()` bytes (at least [`MIN_FRAME`]).
pub fn write(frame: &mut [u8], to: [u8; 6], from: [u8; 6], message: Message) {
    let len = frame.len();
    assert!(len >= MIN_FRAME, "a generator's frame has at least {MIN_FRAME} bytes, not {len}");
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    write_body(frame, ETHERNET_HEADER, message);
}

fn write_body(frame: &mut [u8], at: usize, message: Message) {
    let len = frame.len();
    let body = &mut frame[at..];
    body[KIND] = message.kind.byte();
    body[KIND + 1] = 0;
    body[MAGIC_AT].copy_from_slice(&MAGIC);
    body[ORIGIN].copy_from_slice(&message.origin.to_be_bytes());
    body[LENGTH].copy_from_slice(&(len as u32).to_be_bytes());
    let tail = body.len() - TAIL;
    body[FILLING..tail].fill(FILL);
    restamp_body(frame, at, message);
}

/// Gives a frame that [`write`] made another sequence number and time stamp.
#[inline]
pub fn restamp(frame: &mut [u8], message: Message) {
    restamp_body(frame, body(frame).unwrap_or(ETHERNET_HEADER), message);
}

#[inline]
fn restamp_body(frame: &mut [u8], at: usize, message: Message) {
    let len = frame.len();
    let body = &mut frame[at..];
    body[SEQ].copy_from_slice(&message.seq.to_be_bytes());
    body[STAMP].copy_from_slice(&message.stamp.to_be_bytes());
    body[CHECK].copy_from_slice(&check(&message, len).to_be_bytes());
    let tail = body.len() - TAIL;
    body[tail..].copy_from_slice(&(message.seq ^ TAIL_MASK).to_be_bytes());
}

/// Where a generator's own part of a frame begins.
#[inline]
fn body(frame: &[u8]) -> Option<usize> {
    match frame.get(12..14)? {
        kind if *kind == ETHERTYPE => Some(ETHERNET_HEADER),
        kind if *kind == segmented::ETHERTYPE => Some(segmented::HEADERS),
        _ => None,
    }
}

/// Reads a frame. With `all`, every byte of the filling is compared as well.
#[inline]
pub fn read(frame: &[u8], all: bool) -> Reading {
    let len = frame.len();
    let Some(at) = body(frame).filter(|at| len >= MIN_FRAME - ETHERNET_HEADER + at) else {
        return Reading::Foreign;
    };
    let body = &frame[at..];
    if body[MAGIC_AT] != MAGIC {
        return Reading::Foreign;
    }
    let Some(kind) = Kind::from_byte(body[KIND]) else { return Reading::Damaged };
    let message = Message {
        kind,
        origin: u32_at(body, ORIGIN.start),
        seq: u64_at(body, SEQ.start),
        stamp: u64_at(body, STAMP.start),
    };
    let tail = body.len() - TAIL;
    let whole = u32_at(body, LENGTH.start) as usize == len
        && u32_at(body, CHECK.start) == check(&message, len)
        && u64_at(body, tail) == message.seq ^ TAIL_MASK
        && (!all || body[FILLING..tail].iter().all(|&byte| byte == FILL));
    if whole { Reading::Whole(message) } else { Reading::Damaged }
}

/// Enough to notice a changed bit in any of the fields; no protection against malice.
#[inline]
fn check(message: &Message, len: usize) -> u32 {
    let mixed = message.seq
        ^ message.stamp.rotate_left(29)
        ^ (u64::from(message.origin) << 24)
        ^ ((len as u64) << 8)
        ^ u64::from(message.kind.byte());
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[inline]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(seq: u64) -> Message {
        Message { kind: Kind::Ping, origin: 3, seq, stamp: 77 }
    }

    #[test]
    fn reads_what_it_wrote_at_every_size() {
        for len in [60, 61, 64, 1514, 9014, MAX_FRAME] {
            let mut frame = vec![0; len];
            write(&mut frame, rank_mac(1), rank_mac(3), message(5));
            restamp(&mut frame, message(6));
            assert_eq!(read(&frame, true), Reading::Whole(message(6)), "{len} bytes");
        }
    }

    #[test]
    fn notices_every_changed_byte_behind_the_ethernet_header() {
        let mut frame = vec![0; 80];
        write(&mut frame, rank_mac(1), rank_mac(3), message(5));
        for at in 14..frame.len() {
            // Byte 15 is unused.
            if at == 15 {
                continue;
            }
            frame[at] ^= 0x10;
            assert_ne!(read(&frame, true), Reading::Whole(message(5)), "byte {at}");
            frame[at] ^= 0x10;
        }
    }

    #[test]
    fn notices_a_cut_frame() {
        let mut frame = vec![0; 1514];
        write(&mut frame, rank_mac(1), rank_mac(3), message(5));
        assert_eq!(read(&frame[..1513], false), Reading::Damaged);
        assert_eq!(read(&frame[..59], false), Reading::Foreign);
    }
}

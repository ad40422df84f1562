//! What the fuzzer's bytes mean: one operation after the other, each a number and its operands, little-endian.

use mvpnet_switch::OFFLOAD_LEN;

use super::super::ring::Descriptor;

/// Something that a front end, a guest or the frame loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Operation<'a> {
    /// The guest writes to its memory.
    Memory { at: u16, octets: &'a [u8] },
    /// The guest describes a buffer.
    Describe { ring: u8, index: u8, descriptor: Descriptor },
    /// The guest makes a chain available.
    Offer { ring: u8, head: u16 },
    /// The front end sends a message, with descriptors of a kind.
    Request { code: u8, needs_reply: bool, fds: u8, fd_kind: u8, payload: &'a [u8] },
    /// The front end sends octets, with descriptors of a kind.
    Octets { fds: u8, fd_kind: u8, octets: &'a [u8] },
    /// The guest kicks.
    Kick,
    /// The loop receives into a space of twice so many octets.
    Receive { space: u16 },
    /// The loop writes octets that should be records.
    Write { octets: &'a [u8] },
    /// The loop writes one frame of one octet more than this.
    Frame { header: Option<[u8; OFFLOAD_LEN]>, len: u16 },
    /// The loop is about to sleep, and wakes up.
    Sleep { receives: bool, writes: bool },
    /// The loop asks what was refused.
    Refusals,
    /// The front end goes.
    HangUp,
}

/// The numbers of the operations; any other is the one that it is modulo their count.
const COUNT: u8 = 12;

impl<'a> Operation<'a> {
    /// Takes the next operation, if there is a whole one.
    pub(in super::super) fn read(bytes: &mut &'a [u8]) -> Option<Operation<'a>> {
        let [number] = chunk(bytes)?;
        Some(match number % COUNT {
            0 => Operation::Memory { at: number16(bytes)?, octets: octets(bytes)? },
            1 => {
                let [ring, index] = chunk(bytes)?;
                let address = u64::from_le_bytes(chunk(bytes)?);
                let len = u32::from_le_bytes(chunk(bytes)?);
                let (flags, next) = (number16(bytes)?, number16(bytes)?);
                Operation::Describe { ring, index, descriptor: Descriptor { address, len, flags, next } }
            }
            2 => {
                let [ring] = chunk(bytes)?;
                Operation::Offer { ring, head: number16(bytes)? }
            }
            3 => {
                let [code, flags] = chunk(bytes)?;
                let (needs_reply, fds, fd_kind) = (flags & 0x80 != 0, flags & 15, flags >> 4 & 3);
                Operation::Request { code, needs_reply, fds, fd_kind, payload: octets(bytes)? }
            }
            4 => {
                let [flags] = chunk(bytes)?;
                Operation::Octets { fds: flags & 15, fd_kind: flags >> 4, octets: octets(bytes)? }
            }
            5 => Operation::Kick,
            6 => Operation::Receive { space: number16(bytes)? },
            7 => Operation::Write { octets: octets(bytes)? },
            8 => {
                let [flag] = chunk(bytes)?;
                let header = if flag == 0 { None } else { Some(chunk(bytes)?) };
                Operation::Frame { header, len: number16(bytes)? }
            }
            9 => {
                let [flags] = chunk(bytes)?;
                Operation::Sleep { receives: flags & 1 != 0, writes: flags & 2 != 0 }
            }
            10 => Operation::Refusals,
            _ => Operation::HangUp,
        })
    }

    /// The bytes that are read as this.
    #[cfg(test)]
    pub(in super::super) fn write(&self) -> Vec<u8> {
        let with_len = |octets: &[u8]| [&[octets.len() as u8], octets].concat();
        match self {
            Operation::Memory { at, octets } => [&[0], &at.to_le_bytes()[..], &with_len(octets)].concat(),
            Operation::Describe { ring, index, descriptor } => {
                let Descriptor { address, len, flags, next } = descriptor;
                let fields = [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes()].concat();
                [&[1, *ring, *index], &fields[..], &next.to_le_bytes()].concat()
            }
            Operation::Offer { ring, head } => [&[2, *ring], &head.to_le_bytes()[..]].concat(),
            Operation::Request { code, needs_reply, fds, fd_kind, payload } => {
                let flags = fds | fd_kind << 4 | if *needs_reply { 0x80 } else { 0 };
                [&[3, *code, flags], &with_len(payload)[..]].concat()
            }
            Operation::Octets { fds, fd_kind, octets } => {
                [&[4, fds | fd_kind << 4], &with_len(octets)[..]].concat()
            }
            Operation::Kick => vec![5],
            Operation::Receive { space } => [&[6], &space.to_le_bytes()[..]].concat(),
            Operation::Write { octets } => [&[7], &with_len(octets)[..]].concat(),
            Operation::Frame { header, len } => {
                let header = header.as_ref().map_or(&[][..], |header| header);
                [&[8, u8::from(!header.is_empty())], header, &len.to_le_bytes()].concat()
            }
            Operation::Sleep { receives, writes } => vec![9, u8::from(*receives) | u8::from(*writes) << 1],
            Operation::Refusals => vec![10],
            Operation::HangUp => vec![11],
        }
    }
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*chunk)
}

fn number16(bytes: &mut &[u8]) -> Option<u16> {
    chunk(bytes).map(u16::from_le_bytes)
}

/// Octets behind their number.
fn octets<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let [len] = chunk(bytes)?;
    let (octets, rest) = bytes.split_at_checked(len.into())?;
    *bytes = rest;
    Some(octets)
}

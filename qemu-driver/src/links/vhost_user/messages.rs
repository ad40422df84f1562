//! The messages of the control socket (qemu, docs/interop/vhost-user.rst, "Message Specification").
//!
//! A message is a header of twelve octets and a payload, in the byte order of the host: both ends run on it.

/// Octets of the header.
pub(super) const HEADER_LEN: usize = 12;
/// Octets of the longest payload that is read. The longest that means something here, a table of
/// [`MAX_REGIONS`], has 264; requests of devices that are no network card have some hundreds.
pub(super) const MAX_PAYLOAD_LEN: usize = 4096;
/// Regions of a memory table (vhost-user.rst, "Memory regions description").
pub(super) const MAX_REGIONS: usize = 8;

/// Bits of the header's flags: the version, which is 1, and what kind of message it is.
const VERSION_MASK: u32 = 3;
const VERSION: u32 = 1;
const IS_REPLY: u32 = 1 << 2;
const NEEDS_REPLY: u32 = 1 << 3;

/// Octets of a region in a memory table, and of what precedes the regions.
const REGION_LEN: usize = 32;
const TABLE_HEAD_LEN: usize = 8;

/// Numbers of the requests (vhost-user.rst, "Front-end message types").
mod code {
    pub const FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const RESET_OWNER: u32 = 4;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ERR: u32 = 14;
    pub const PROTOCOL_FEATURES: u32 = 15;
    pub const SET_PROTOCOL_FEATURES: u32 = 16;
    pub const QUEUE_NUM: u32 = 17;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const NET_SET_MTU: u32 = 20;
}

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// Not version 1.
    #[error("a message with flags {0:#x}, which is not of version 1")]
    Flags(u32),
    /// Nothing was asked.
    #[error("a reply to request {0}, which was not asked")]
    Reply(u32),
    /// Longer than any that is known.
    #[error("a payload of {0} octets exceeds {MAX_PAYLOAD_LEN}")]
    TooLong(u32),
    /// The payload is not as long as the request's.
    #[error("request {request} with a payload of {len} octets")]
    PayloadLen {
        /// The request's number.
        request: u32,
        /// Octets of its payload.
        len: usize,
    },
    /// More regions than fit.
    #[error("a memory table of {0} regions exceeds {MAX_REGIONS}")]
    Regions(u32),
}

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The request's number, in a reply too.
    pub(super) request: u32,
    pub(super) is_reply: bool,
    /// Whether the front end waits for a word on how the request went.
    pub(super) needs_reply: bool,
    /// Octets of the payload.
    pub(super) payload_len: u32,
}

impl Header {
    pub(super) fn read(bytes: &[u8; HEADER_LEN]) -> Result<Header, MessageError> {
        let [request, flags, payload_len] = [0, 4, 8].map(|at| number32(bytes, at));
        if flags & VERSION_MASK != VERSION {
            return Err(MessageError::Flags(flags));
        }
        if payload_len as usize > MAX_PAYLOAD_LEN {
            return Err(MessageError::TooLong(payload_len));
        }
        let (is_reply, needs_reply) = (flags & IS_REPLY != 0, flags & NEEDS_REPLY != 0);
        Ok(Header { request, is_reply, needs_reply, payload_len })
    }

    pub(super) fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let kind = if self.is_reply { IS_REPLY } else { 0 } | if self.needs_reply { NEEDS_REPLY } else { 0 };
        for (at, number) in [(0, self.request), (4, VERSION | kind), (8, self.payload_len)] {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// A region of the guest's memory, and where it is in the file that comes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RegionEntry {
    /// Its address in the guest.
    pub(super) guest_address: u64,
    /// Octets.
    pub(super) len: u64,
    /// Its address in the front end's process, in terms of which the rings' addresses are given.
    pub(super) front_address: u64,
    /// Where it begins in its file.
    pub(super) file_offset: u64,
}

/// Where the parts of a ring are, in addresses of the front end's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingAddresses {
    pub(super) descriptors: u64,
    pub(super) used: u64,
    pub(super) available: u64,
}

/// Which ring a descriptor is for, and whether there is one: without, the ring is to be polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingFd {
    pub(super) ring: u8,
    pub(super) has_fd: bool,
}

/// What a front end asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Features,
    SetFeatures(u64),
    SetOwner,
    ResetOwner,
    SetMemTable(Vec<RegionEntry>),
    SetVringNum {
        ring: u32,
        size: u32,
    },
    SetVringAddr {
        ring: u32,
        addresses: RingAddresses,
    },
    SetVringBase {
        ring: u32,
        base: u32,
    },
    VringBase {
        ring: u32,
    },
    SetVringKick(RingFd),
    SetVringCall(RingFd),
    SetVringErr(RingFd),
    ProtocolFeatures,
    SetProtocolFeatures(u64),
    QueueNum,
    SetVringEnable {
        ring: u32,
        enable: u32,
    },
    NetSetMtu(u64),
    /// Nothing that a network card's back end has to know.
    Unknown(u32),
}

impl Request {
    pub(super) fn read(request: u32, payload: &[u8]) -> Result<Request, MessageError> {
        let wants = |len: usize| {
            let error = MessageError::PayloadLen { request, len: payload.len() };
            if payload.len() == len { Ok(()) } else { Err(error) }
        };
        let number = || wants(8).map(|()| number64(payload, 0));
        let state = || wants(8).map(|()| (number32(payload, 0), number32(payload, 4)));
        let ring_fd = || number().map(RingFd::read);
        Ok(match request {
            code::FEATURES => Request::Features,
            code::SET_FEATURES => Request::SetFeatures(number()?),
            code::SET_OWNER => Request::SetOwner,
            code::RESET_OWNER => Request::ResetOwner,
            code::SET_MEM_TABLE => Request::SetMemTable(read_table(payload)?),
            code::SET_VRING_NUM => state().map(|(ring, size)| Request::SetVringNum { ring, size })?,
            code::SET_VRING_ADDR => {
                // Flags are for logging writes, which is not offered; so is the last address.
                wants(40)?;
                let [descriptors, used, available] = [8, 16, 24].map(|at| number64(payload, at));
                let addresses = RingAddresses { descriptors, used, available };
                Request::SetVringAddr { ring: number32(payload, 0), addresses }
            }
            code::SET_VRING_BASE => state().map(|(ring, base)| Request::SetVringBase { ring, base })?,
            code::VRING_BASE => state().map(|(ring, _)| Request::VringBase { ring })?,
            code::SET_VRING_KICK => Request::SetVringKick(ring_fd()?),
            code::SET_VRING_CALL => Request::SetVringCall(ring_fd()?),
            code::SET_VRING_ERR => Request::SetVringErr(ring_fd()?),
            code::PROTOCOL_FEATURES => Request::ProtocolFeatures,
            code::SET_PROTOCOL_FEATURES => Request::SetProtocolFeatures(number()?),
            code::QUEUE_NUM => Request::QueueNum,
            code::SET_VRING_ENABLE => {
                state().map(|(ring, enable)| Request::SetVringEnable { ring, enable })?
            }
            code::NET_SET_MTU => Request::NetSetMtu(number()?),
            other => Request::Unknown(other),
        })
    }

    /// The request's number.
    #[cfg(any(test, feature = "vhost-front"))]
    pub(super) fn code(&self) -> u32 {
        match self {
            Request::Features => code::FEATURES,
            Request::SetFeatures(_) => code::SET_FEATURES,
            Request::SetOwner => code::SET_OWNER,
            Request::ResetOwner => code::RESET_OWNER,
            Request::SetMemTable(_) => code::SET_MEM_TABLE,
            Request::SetVringNum { .. } => code::SET_VRING_NUM,
            Request::SetVringAddr { .. } => code::SET_VRING_ADDR,
            Request::SetVringBase { .. } => code::SET_VRING_BASE,
            Request::VringBase { .. } => code::VRING_BASE,
            Request::SetVringKick(_) => code::SET_VRING_KICK,
            Request::SetVringCall(_) => code::SET_VRING_CALL,
            Request::SetVringErr(_) => code::SET_VRING_ERR,
            Request::ProtocolFeatures => code::PROTOCOL_FEATURES,
            Request::SetProtocolFeatures(_) => code::SET_PROTOCOL_FEATURES,
            Request::QueueNum => code::QUEUE_NUM,
            Request::SetVringEnable { .. } => code::SET_VRING_ENABLE,
            Request::NetSetMtu(_) => code::NET_SET_MTU,
            Request::Unknown(code) => *code,
        }
    }

    /// How many descriptors come with it.
    pub(super) fn fds(&self) -> usize {
        match self {
            Request::SetMemTable(regions) => regions.len(),
            Request::SetVringKick(fd) | Request::SetVringCall(fd) | Request::SetVringErr(fd) => {
                usize::from(fd.has_fd)
            }
            _ => 0,
        }
    }

    /// The payload, as a front end writes it.
    #[cfg(any(test, feature = "vhost-front"))]
    pub(super) fn payload(&self) -> Vec<u8> {
        let state = |ring: u32, number: u32| [ring.to_ne_bytes(), number.to_ne_bytes()].concat();
        match self {
            Request::SetFeatures(number)
            | Request::SetProtocolFeatures(number)
            | Request::NetSetMtu(number) => number.to_ne_bytes().to_vec(),
            Request::SetMemTable(regions) => {
                let count = u32::try_from(regions.len()).expect("a table has few regions");
                let mut payload = state(count, 0);
                for entry in regions {
                    let RegionEntry { guest_address, len, front_address, file_offset } = *entry;
                    payload.extend(
                        [guest_address, len, front_address, file_offset].map(u64::to_ne_bytes).concat(),
                    );
                }
                payload
            }
            Request::SetVringNum { ring, size: number }
            | Request::SetVringBase { ring, base: number }
            | Request::SetVringEnable { ring, enable: number } => state(*ring, *number),
            Request::VringBase { ring } => state(*ring, 0),
            Request::SetVringAddr { ring, addresses } => {
                let RingAddresses { descriptors, used, available } = *addresses;
                let addresses = [descriptors, used, available, 0].map(u64::to_ne_bytes).concat();
                [state(*ring, 0), addresses].concat()
            }
            Request::SetVringKick(fd) | Request::SetVringCall(fd) | Request::SetVringErr(fd) => {
                fd.number().to_ne_bytes().to_vec()
            }
            _ => Vec::new(),
        }
    }
}

impl RingFd {
    const NO_FD: u64 = 1 << 8;

    fn read(number: u64) -> RingFd {
        let [ring, ..] = number.to_le_bytes();
        RingFd { ring, has_fd: number & RingFd::NO_FD == 0 }
    }

    #[cfg(any(test, feature = "vhost-front"))]
    fn number(self) -> u64 {
        u64::from(self.ring) | if self.has_fd { 0 } else { RingFd::NO_FD }
    }
}

fn read_table(payload: &[u8]) -> Result<Vec<RegionEntry>, MessageError> {
    let error = MessageError::PayloadLen { request: code::SET_MEM_TABLE, len: payload.len() };
    let (head, entries) = payload.split_at_checked(TABLE_HEAD_LEN).ok_or(error)?;
    let count = number32(head, 0);
    if count as usize > MAX_REGIONS {
        return Err(MessageError::Regions(count));
    }
    // Some front ends send the whole array, whatever is in use of it.
    let entries = entries.get(..count as usize * REGION_LEN).ok_or(error)?;
    let entry = |bytes: &[u8]| {
        let [guest_address, len, front_address, file_offset] = [0, 8, 16, 24].map(|at| number64(bytes, at));
        RegionEntry { guest_address, len, front_address, file_offset }
    };
    Ok(entries.chunks_exact(REGION_LEN).map(entry).collect())
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four octets"))
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight octets"))
}

#[cfg(test)]
mod tests;

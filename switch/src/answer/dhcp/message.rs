//! DHCP messages on the wire (RFC 2131 §2, options RFC 2132): [`View`] over bytes, [`Repr`] for what they mean.

use std::net::Ipv4Addr;

use crate::MacAddr;

/// Where the fixed fields are (RFC 2131 §2, figure 1).
mod field {
    use std::ops::Range;

    pub const OP: usize = 0;
    pub const HARDWARE_TYPE: usize = 1;
    pub const HARDWARE_LEN: usize = 2;
    pub const TRANSACTION: Range<usize> = 4..8;
    pub const FLAGS: Range<usize> = 10..12;
    pub const CLIENT_ADDRESS: Range<usize> = 12..16;
    pub const YOUR_ADDRESS: Range<usize> = 16..20;
    pub const RELAY_ADDRESS: Range<usize> = 24..28;
    pub const HARDWARE_ADDRESS: Range<usize> = 28..34;
    pub const COOKIE: Range<usize> = 236..240;
    pub const OPTIONS: usize = 240;
}

/// Option codes (RFC 2132; the section is the option's).
mod option {
    pub const PAD: u8 = 0; // §3.1
    pub const END: u8 = 255; // §3.2
    pub const NETMASK: u8 = 1; // §3.3
    pub const HOST_NAME: u8 = 12; // §3.14
    pub const MTU: u8 = 26; // §5.1
    pub const BROADCAST_ADDRESS: u8 = 28; // §5.3
    pub const REQUESTED_ADDRESS: u8 = 50; // §9.1
    pub const LEASE_TIME: u8 = 51; // §9.2
    pub const MESSAGE_TYPE: u8 = 53; // §9.6
    pub const SERVER: u8 = 54; // §9.7
    pub const CLIENT_ID: u8 = 61; // §9.14
}

/// Precedes the options (RFC 2131 §3).
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The only hardware type there is here (RFC 2131 §2: `htype`).
const ETHERNET: u8 = 1;
/// The flag of a client that cannot receive unicast before it is configured (RFC 2131 §2, figure 2).
const BROADCAST_FLAG: u16 = 0x8000;
/// The shortest message that every BOOTP relay and client takes (RFC 1542 §2.1).
const MIN_LEN: usize = 300;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// From the client.
    Request = 1,
    /// From the server.
    Reply = 2,
}

/// The value of the message type option (RFC 2132 §9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageType(pub u8);

impl MessageType {
    pub const DISCOVER: MessageType = MessageType(1);
    pub const OFFER: MessageType = MessageType(2);
    pub const REQUEST: MessageType = MessageType(3);
    pub const DECLINE: MessageType = MessageType(4);
    pub const ACK: MessageType = MessageType(5);
    pub const NAK: MessageType = MessageType(6);
    pub const RELEASE: MessageType = MessageType(7);
    pub const INFORM: MessageType = MessageType(8);
}

/// A message is not readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A message's bytes, long enough for its fixed fields: after [`View::new_checked`] no accessor panics.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<View<'a>, Malformed> {
        if bytes.len() < field::OPTIONS { Err(Malformed) } else { Ok(View { bytes }) }
    }

    pub fn op(&self) -> Option<Op> {
        match self.bytes[field::OP] {
            1 => Some(Op::Request),
            2 => Some(Op::Reply),
            _ => None,
        }
    }

    /// The client's MAC address, which means something only if [`is_ethernet`](View::is_ethernet).
    pub fn hardware_address(&self) -> MacAddr {
        MacAddr::new(self.array(field::HARDWARE_ADDRESS))
    }

    pub fn is_ethernet(&self) -> bool {
        self.bytes[field::HARDWARE_TYPE] == ETHERNET && self.bytes[field::HARDWARE_LEN] == 6
    }

    /// The relay agent that the message came by, or 0.0.0.0.
    pub fn relay_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.array(field::RELAY_ADDRESS))
    }

    fn has_cookie(&self) -> bool {
        self.bytes[field::COOKIE] == COOKIE
    }

    /// The options up to the end option, each as code and value (RFC 2132 §2).
    fn options(&self) -> impl Iterator<Item = Result<(u8, &'a [u8]), Malformed>> + use<'a> {
        let mut rest = &self.bytes[field::OPTIONS..];
        std::iter::from_fn(move || {
            while let [option::PAD, after @ ..] = rest {
                rest = after;
            }
            match rest {
                // RFC 2131 §4.1 wants the end option; those who forget it are understood all the same.
                [] | [option::END, ..] => None,
                [code, len, after @ ..] if after.len() >= usize::from(*len) => {
                    let (value, after) = after.split_at(usize::from(*len));
                    rest = after;
                    Some(Ok((*code, value)))
                }
                _ => {
                    rest = &[];
                    Some(Err(Malformed))
                }
            }
        })
    }

    fn array<const N: usize>(&self, range: std::ops::Range<usize>) -> [u8; N] {
        self.bytes[range].try_into().expect("the field has this length")
    }
}

/// What a message says, as far as the switch understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repr<'a> {
    pub op: Op,
    /// Absent in BOOTP, the protocol before DHCP.
    pub message_type: Option<MessageType>,
    pub transaction: u32,
    pub broadcast: bool,
    pub client_address: Ipv4Addr,
    pub your_address: Ipv4Addr,
    pub hardware_address: MacAddr,
    pub requested_address: Option<Ipv4Addr>,
    pub server: Option<Ipv4Addr>,
    pub lease_seconds: Option<u32>,
    pub netmask: Option<Ipv4Addr>,
    pub broadcast_address: Option<Ipv4Addr>,
    pub host_name: Option<&'a [u8]>,
    pub mtu: Option<u16>,
    pub client_id: Option<&'a [u8]>,
}

impl<'a> Repr<'a> {
    /// A message with nothing but the fixed fields that every message has.
    pub fn new(op: Op, message_type: MessageType, transaction: u32, hardware_address: MacAddr) -> Repr<'a> {
        Repr {
            op,
            message_type: Some(message_type),
            transaction,
            broadcast: false,
            client_address: Ipv4Addr::UNSPECIFIED,
            your_address: Ipv4Addr::UNSPECIFIED,
            hardware_address,
            requested_address: None,
            server: None,
            lease_seconds: None,
            netmask: None,
            broadcast_address: None,
            host_name: None,
            mtu: None,
            client_id: None,
        }
    }

    pub fn parse(view: &View<'a>) -> Result<Repr<'a>, Malformed> {
        let op = view.op().ok_or(Malformed)?;
        if !view.is_ethernet() || !view.has_cookie() {
            return Err(Malformed);
        }
        let transaction = u32::from_be_bytes(view.array(field::TRANSACTION));
        let mut repr = Repr::new(op, MessageType(0), transaction, view.hardware_address());
        repr.message_type = None;
        repr.broadcast = u16::from_be_bytes(view.array(field::FLAGS)) & BROADCAST_FLAG != 0;
        repr.client_address = Ipv4Addr::from(view.array(field::CLIENT_ADDRESS));
        repr.your_address = Ipv4Addr::from(view.array(field::YOUR_ADDRESS));
        for option in view.options() {
            let (code, value) = option?;
            match code {
                option::MESSAGE_TYPE => repr.message_type = Some(MessageType(fixed::<1>(value)?[0])),
                option::REQUESTED_ADDRESS => repr.requested_address = Some(fixed(value)?.into()),
                option::SERVER => repr.server = Some(fixed(value)?.into()),
                option::LEASE_TIME => repr.lease_seconds = Some(u32::from_be_bytes(fixed(value)?)),
                option::NETMASK => repr.netmask = Some(fixed(value)?.into()),
                option::BROADCAST_ADDRESS => repr.broadcast_address = Some(fixed(value)?.into()),
                option::HOST_NAME => repr.host_name = Some(value),
                option::MTU => repr.mtu = Some(u16::from_be_bytes(fixed(value)?)),
                option::CLIENT_ID => repr.client_id = Some(value),
                _ => {}
            }
        }
        Ok(repr)
    }

    /// How long the message is on the wire, padding included.
    pub fn buffer_len(&self) -> usize {
        let mut len = field::OPTIONS + 1;
        self.each_option(|_, value| len += 2 + value.len());
        len.max(MIN_LEN)
    }

    /// Writes the message into `buffer`, which must be [`buffer_len`](Repr::buffer_len) bytes long.
    pub fn emit(&self, buffer: &mut [u8]) {
        buffer.fill(0);
        buffer[field::OP] = self.op as u8;
        buffer[field::HARDWARE_TYPE] = ETHERNET;
        buffer[field::HARDWARE_LEN] = 6;
        buffer[field::TRANSACTION].copy_from_slice(&self.transaction.to_be_bytes());
        let flags = if self.broadcast { BROADCAST_FLAG } else { 0 };
        buffer[field::FLAGS].copy_from_slice(&flags.to_be_bytes());
        buffer[field::CLIENT_ADDRESS].copy_from_slice(&self.client_address.octets());
        buffer[field::YOUR_ADDRESS].copy_from_slice(&self.your_address.octets());
        buffer[field::HARDWARE_ADDRESS].copy_from_slice(&self.hardware_address.octets());
        buffer[field::COOKIE].copy_from_slice(&COOKIE);
        let mut at = field::OPTIONS;
        self.each_option(|code, value| {
            buffer[at] = code;
            buffer[at + 1] = value.len() as u8;
            buffer[at + 2..][..value.len()].copy_from_slice(value);
            at += 2 + value.len();
        });
        buffer[at] = option::END;
    }

    /// Calls `write` for each option that is present. No value is longer than the 255 bytes that fit.
    fn each_option(&self, mut write: impl FnMut(u8, &[u8])) {
        if let Some(MessageType(value)) = self.message_type {
            write(option::MESSAGE_TYPE, &[value]);
        }
        let addresses = [
            (option::SERVER, self.server),
            (option::REQUESTED_ADDRESS, self.requested_address),
            (option::NETMASK, self.netmask),
            (option::BROADCAST_ADDRESS, self.broadcast_address),
        ];
        for (code, address) in addresses {
            if let Some(address) = address {
                write(code, &address.octets());
            }
        }
        if let Some(seconds) = self.lease_seconds {
            write(option::LEASE_TIME, &seconds.to_be_bytes());
        }
        if let Some(mtu) = self.mtu {
            write(option::MTU, &mtu.to_be_bytes());
        }
        for (code, value) in [(option::HOST_NAME, self.host_name), (option::CLIENT_ID, self.client_id)] {
            if let Some(value) = value {
                write(code, &value[..value.len().min(255)]);
            }
        }
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;

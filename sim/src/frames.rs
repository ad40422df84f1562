//! Frames on their way, and a filter in a few words of which a rule is about.

use mvpnet_switch::{Instant, Rank};
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

/// A frame on its way from one guest to another, where a rule sees it: a flood once for each receiver.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The simulated time.
    pub now: Instant,
    /// The rank whose guest sent it.
    pub from: Rank,
    /// The rank whose guest is to get it.
    pub to: Rank,
    /// The frame.
    pub frame: &'a [u8],
}

/// Some frames, by who sends them to whom and what is in them. What is not said does not matter.
///
/// ```
/// use mvpnet_sim::Frames;
///
/// let answers = Frames::from(0).to(1).tcp().port(80);
/// # let _ = answers;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    from: Option<u32>,
    to: Option<u32>,
    ethertype: Option<u16>,
    protocol: Option<u8>,
    port: Option<u16>,
    longer_than: Option<usize>,
}

impl Frames {
    /// All frames.
    pub fn all() -> Frames {
        Frames::default()
    }

    /// Those that this rank's guest sends.
    pub fn from(rank: u32) -> Frames {
        Frames { from: Some(rank), ..Frames::default() }
    }

    /// Of these, those to this rank's guest.
    pub fn to(self, rank: u32) -> Frames {
        Frames { to: Some(rank), ..self }
    }

    /// Of these, those with this EtherType.
    pub fn ethertype(self, ethertype: u16) -> Frames {
        Frames { ethertype: Some(ethertype), ..self }
    }

    /// Of these, those with TCP over IPv4 or IPv6.
    pub fn tcp(self) -> Frames {
        self.protocol(IpProtocol::Tcp)
    }

    /// Of these, those with UDP over IPv4 or IPv6.
    pub fn udp(self) -> Frames {
        self.protocol(IpProtocol::Udp)
    }

    /// Of these, those with ICMP over IPv4.
    pub fn icmp(self) -> Frames {
        self.protocol(IpProtocol::Icmp)
    }

    /// Of these, those of TCP or UDP with this port at either end.
    pub fn port(self, port: u16) -> Frames {
        Frames { port: Some(port), ..self }
    }

    /// Of these, those longer than this many bytes: data rather than acknowledgements.
    pub fn longer_than(self, bytes: usize) -> Frames {
        Frames { longer_than: Some(bytes), ..self }
    }

    fn protocol(self, protocol: IpProtocol) -> Frames {
        Frames { protocol: Some(protocol.into()), ..self }
    }

    /// Whether the frame is one of these.
    pub fn matches(&self, hop: &Hop<'_>) -> bool {
        let is = |wanted: Option<u32>, rank: mvpnet_switch::Rank| wanted.is_none_or(|w| w == rank.index());
        is(self.from, hop.from)
            && is(self.to, hop.to)
            && self.longer_than.is_none_or(|bytes| hop.frame.len() > bytes)
            && self.matches_content(hop.frame)
    }

    fn matches_content(&self, frame: &[u8]) -> bool {
        if self.ethertype.is_none() && self.protocol.is_none() && self.port.is_none() {
            return true;
        }
        let Ok(frame) = EthernetFrame::new_checked(frame) else { return false };
        if self.ethertype.is_some_and(|ethertype| ethertype != u16::from(frame.ethertype())) {
            return false;
        }
        if self.protocol.is_none() && self.port.is_none() {
            return true;
        }
        match payload(&frame) {
            Some((protocol, payload)) => {
                self.protocol.is_none_or(|wanted| wanted == u8::from(protocol))
                    && self.port.is_none_or(|port| ports(protocol, payload).contains(&Some(port)))
            }
            None => false,
        }
    }
}

/// The protocol over IP and its bytes.
fn payload<'a>(frame: &EthernetFrame<&'a [u8]>) -> Option<(IpProtocol, &'a [u8])> {
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            Some((packet.next_header(), packet.payload()))
        }
        EthernetProtocol::Ipv6 => {
            let packet = Ipv6Packet::new_checked(frame.payload()).ok()?;
            Some((packet.next_header(), packet.payload()))
        }
        _ => None,
    }
}

/// The ports at both ends.
fn ports(protocol: IpProtocol, payload: &[u8]) -> [Option<u16>; 2] {
    match protocol {
        IpProtocol::Tcp => match TcpPacket::new_checked(payload) {
            Ok(packet) => [Some(packet.src_port()), Some(packet.dst_port())],
            Err(_) => [None, None],
        },
        IpProtocol::Udp => match UdpPacket::new_checked(payload) {
            Ok(packet) => [Some(packet.src_port()), Some(packet.dst_port())],
            Err(_) => [None, None],
        },
        _ => [None, None],
    }
}

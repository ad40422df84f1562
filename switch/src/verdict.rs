//! What the switch decides about a frame. Whoever holds the frame acts on it.

use crate::{DropReason, Flood, PortId};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a frame whose verdict is ignored is lost without being counted"]
pub enum Verdict {
    /// Send it to this port. To a peer it goes as a unicast record.
    Forward(PortId),
    /// Send it to the guest, if the flood says so, and to the children as flood records.
    Flood(Flood),
    /// The switch has made an answer: send [`Switch::reply`](crate::Switch::reply) to the guest. The frame
    /// itself goes nowhere.
    Reply(ReplyKind),
    /// The frame was a message to the job, not to another guest. It goes nowhere.
    Control(Control),
    /// Count it, capture it with its reason, and forget it.
    Drop(DropReason),
}

impl Verdict {
    /// Why the frame counts as dropped, if it does.
    pub const fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Verdict::Drop(reason) => Some(*reason),
            Verdict::Reply(kind) => kind.drop_reason(),
            Verdict::Forward(_) | Verdict::Flood(_) | Verdict::Control(_) => None,
        }
    }
}

/// What kind of answer the switch has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplyKind {
    /// An ARP reply (RFC 826).
    Arp,
    /// A neighbour advertisement (RFC 4861 §4.4).
    NeighborAdvertisement,
    /// A router advertisement (RFC 4861 §4.2).
    RouterAdvertisement,
    /// A DHCPOFFER (RFC 2131 §3.1).
    DhcpOffer,
    /// A DHCPACK.
    DhcpAck,
    /// A DHCPNAK.
    DhcpNak,
    /// An oversize packet's sender is told the MTU: fragmentation needed (RFC 1191 §4) or packet too big
    /// (RFC 4443 §3.2). The frame itself counts as dropped.
    TooBig,
}

impl ReplyKind {
    /// All kinds, in the order of their counters.
    pub const ALL: &'static [ReplyKind] = &[
        ReplyKind::Arp,
        ReplyKind::NeighborAdvertisement,
        ReplyKind::RouterAdvertisement,
        ReplyKind::DhcpOffer,
        ReplyKind::DhcpAck,
        ReplyKind::DhcpNak,
        ReplyKind::TooBig,
    ];

    /// The name used in logs and statistics, in kebab case.
    pub const fn name(self) -> &'static str {
        match self {
            ReplyKind::Arp => "arp",
            ReplyKind::NeighborAdvertisement => "neighbor-advertisement",
            ReplyKind::RouterAdvertisement => "router-advertisement",
            ReplyKind::DhcpOffer => "dhcp-offer",
            ReplyKind::DhcpAck => "dhcp-ack",
            ReplyKind::DhcpNak => "dhcp-nak",
            ReplyKind::TooBig => "too-big",
        }
    }

    /// Why the frame that was answered counts as dropped all the same, if it does: an answer that says that
    /// a frame was dropped does not take the drop out of the books.
    pub const fn drop_reason(self) -> Option<DropReason> {
        match self {
            ReplyKind::TooBig => Some(DropReason::Oversize),
            _ => None,
        }
    }
}

/// What a guest told the job by way of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    /// It asked who has 10.255.255.254: shut the job down.
    Shutdown,
    /// It gave its address back (DHCPRELEASE). The address stays the rank's all the same.
    DhcpRelease,
    /// It found its address in use by someone else (DHCPDECLINE), which is worth a warning.
    DhcpDecline,
}

impl Control {
    /// All kinds, in the order of their counters.
    pub const ALL: &'static [Control] = &[Control::Shutdown, Control::DhcpRelease, Control::DhcpDecline];

    /// The name used in logs and statistics, in kebab case.
    pub const fn name(self) -> &'static str {
        match self {
            Control::Shutdown => "shutdown",
            Control::DhcpRelease => "dhcp-release",
            Control::DhcpDecline => "dhcp-decline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_the_counters() {
        assert!(ReplyKind::ALL.iter().enumerate().all(|(place, &kind)| kind as usize == place));
        assert!(Control::ALL.iter().enumerate().all(|(place, &kind)| kind as usize == place));
    }
}

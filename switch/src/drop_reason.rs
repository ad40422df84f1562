//! Every reason for which a frame, or one copy of it, can end nowhere.
//!
//! Not all are the switch's own decisions: links and transports drop too, and their drops are kept in the
//! same books.

use std::fmt;

/// Defines the enum, its list and its texts from one table, so that none can be forgotten.
macro_rules! drop_reasons {
    ($($variant:ident $name:literal $sentence:literal)*) => {
        /// Why a frame, or one copy of it, was dropped. Each reason has a counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $(#[doc = $sentence] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The name used in logs and statistics, in kebab case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name,)*
                }
            }

            /// A sentence for people, as in the comment of a captured frame.
            pub const fn describe(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $sentence,)*
                }
            }
        }
    };
}

drop_reasons! {
    Runt "runt" "The frame is shorter than an Ethernet header."
    Oversize "oversize" "The frame is longer than the network's MTU allows."
    MulticastSource "multicast-source" "The source address is a group address, which no sender can have."
    ForgedSource "forged-source" "The source address belongs to another rank or to the switch."
    ForeignSource "foreign-source" "The source address is not the guest's own and the MAC policy is strict."
    SamePort "same-port" "The destination is on the port that the frame came from."
    AbsentRank "absent-rank" "The destination is the address of a rank that the job does not have."
    UnknownDestination "unknown-destination" "The destination is no rank's address and the MAC policy is strict."
    ReservedGroup "reserved-group" "The destination is a group that bridges do not forward to, 01-80-c2-00-00-00 to -0f."
    StormLimit "storm-limit" "The port sent more frames for everyone than its storm limit allows."
    ToSwitch "to-switch" "The frame was sent to the switch itself, which has no use for it."
    Misrouted "misrouted" "A peer or the tunnel brought a frame here that is not for this rank."
    BadOrigin "bad-origin" "A peer named an impossible origin: this very rank, or none of the job."
    ArpMalformed "arp-malformed" "The ARP packet is truncated or not about Ethernet and IPv4."
    GratuitousArp "gratuitous-arp" "The guest announced or probed for an address; the switch already knows who has it."
    ForgedArp "forged-arp" "The guest claimed another rank's IPv4 address in the sender fields of an ARP packet."
    ArpAbsentRank "arp-absent-rank" "The guest asked for an address of the guest network that no rank of the job has."
    ShutdownIgnored "shutdown-ignored" "The guest asked for the shutdown address, which this job ignores."
    OwnNeighbor "own-neighbor" "The guest solicited its own IPv6 address, as in duplicate address detection."
    ForgedNeighbor "forged-neighbor" "The guest claimed another rank's IPv6 address in neighbour discovery."
    DhcpMalformed "dhcp-malformed" "The DHCP message is truncated or breaks RFC 2131."
    DhcpOtherServer "dhcp-other-server" "The DHCP request names another server."
    DhcpUnserved "dhcp-unserved" "The switch does not serve DHCP messages of this type."
    BadLength "bad-length" "The length that precedes the frame on the link is impossible."
    BadDescriptor "bad-descriptor" "The guest's network card was given a chain of buffers that cannot be read."
    BadOffload "bad-offload" "The guest left work on the frame to others that the frame does not allow."
    BadRecord "bad-record" "A peer's batch holds a record that cannot be read."
    NotUp "not-up" "The network was not up yet."
    Stopping "stopping" "The job was shutting down."
    QueueFull "queue-full" "The queue of the egress port had no room."
    TooLong "too-long" "The frame is longer than the egress port carries."
    GuestGone "guest-gone" "The guest's link is closed."
    PeerGone "peer-gone" "The peer is gone."
    LinkLoss "link-loss" "A fault: the simulated link lost the frame."
    LinkBurst "link-burst" "A fault: the simulated link lost the frame in a burst."
    LinkQueueFull "link-queue-full" "A fault: the queue of the simulated link had no room."
    LinkTooLong "link-too-long" "A fault: the frame is longer than the simulated link carries."
    Partition "partition" "A fault: a partition is between the sender and this rank."
    Rule "rule" "A fault: a rule dropped the frame."
}

impl DropReason {
    /// The reason's place in [`DropReason::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_of_the_counters() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }

    #[test]
    fn names_are_distinct_and_in_kebab_case() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert!(names.iter().all(|name| name.bytes().all(|c| c == b'-' || c.is_ascii_lowercase())));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
    }

    #[test]
    fn descriptions_are_sentences() {
        for reason in DropReason::ALL {
            assert!(reason.describe().ends_with('.'), "{reason}");
        }
    }
}

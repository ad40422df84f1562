//! What people need to know of a running bridge, in words.

use std::fmt;
use std::net::SocketAddr;

use mvpnet_switch::{DropReason, Vni};
use mvpnet_transports::vxlan::Refusal;

/// Something that people need to know. It shows as a line, without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Datagrams were refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Who sent the first of all.
        first: Option<SocketAddr>,
        /// How many since it was last said.
        new: u64,
        /// Whether it was said before.
        again: bool,
    },
    /// Frames were dropped at a port.
    Dropped {
        /// The port.
        vni: Vni,
        /// Its peer.
        peer: SocketAddr,
        /// Why.
        reason: DropReason,
        /// The MTU of the guests' network.
        mtu: u32,
        /// How many since it was last said.
        new: u64,
        /// Whether it was said before.
        again: bool,
    },
    /// Nobody is there where frames are sent.
    Unreachable {
        /// Peers that nothing has come from of late.
        silent: Vec<SocketAddr>,
        /// Whether it was said before.
        again: bool,
    },
    /// The kernel had no room for datagrams.
    KernelDrops {
        /// How many since it was last said.
        new: u64,
        /// Bytes that may wait.
        room: usize,
    },
    /// The MTU of the guests' network has changed, because a path did.
    Mtu {
        /// What it is now.
        mtu: u32,
        /// What it was.
        was: u32,
        /// A peer whose path carries no more.
        peer: SocketAddr,
        /// What that path carries.
        path_mtu: u32,
    },
    /// A system call fails, and the bridge goes on.
    Trouble(String),
    /// The peers were read again.
    Reloaded {
        /// `40-43 to server1 (192.0.2.1)`, one for each peer.
        peers: Vec<String>,
        /// VNIs that there were not.
        added: usize,
        /// VNIs that there are no more.
        removed: usize,
        /// VNIs whose peer is another now.
        moved: usize,
    },
    /// The peers could not be read again, and stay as they were.
    NotReloaded(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { refusal, first, new, again } => refused(f, *refusal, *first, *new, *again),
            Self::Dropped { vni, peer, reason, mtu, new, again } => {
                let more = if *again { " more" } else { "" };
                let frames = if *new == 1 { "frame" } else { "frames" };
                write!(f, "VNI {vni} ({peer}): {new}{more} {frames} dropped ({reason}): ")?;
                dropped(f, *reason, *mtu)
            }
            Self::Unreachable { silent, again } => {
                let still = if *again { "still " } else { "" };
                let silent: Vec<String> = silent.iter().map(SocketAddr::to_string).collect();
                let silent = if silent.is_empty() {
                    String::new()
                } else {
                    format!("; silent are {}", silent.join(", "))
                };
                write!(
                    f,
                    "a peer {still}cannot be reached: it, or a router, says that nobody is there (ICMP){silent}; the \
                     bridge goes on by itself when somebody listens there again"
                )
            }
            Self::KernelDrops { new, room } => write!(
                f,
                "the kernel had no room for {new} datagrams: frames come faster than they are passed on, and {} KiB of \
                 them may wait; `sysctl -w net.core.rmem_max=8388608` before the bridge starts allows more",
                room >> 10
            ),
            Self::Mtu { mtu, was, peer, path_mtu } => write!(
                f,
                "the guests' MTU is {mtu} now, it was {was}: the path to {peer} carries packets of {path_mtu} bytes; \
                 guests that keep theirs are told by ICMP"
            ),
            Self::Trouble(text) => f.write_str(text),
            Self::Reloaded { peers, added: 0, removed: 0, moved: 0 } => {
                write!(f, "peers read again, and nothing has changed: VNIs {}", peers.join(", "))
            }
            Self::Reloaded { peers, added, removed, moved } => {
                let noun = if *added == 1 { "VNI" } else { "VNIs" };
                let peers = peers.join(", ");
                write!(
                    f,
                    "peers read again: VNIs {peers}; {added} {noun} added, {removed} removed, {moved} at another \
                     address"
                )
            }
            Self::NotReloaded(why) => write!(f, "the peers stay as they were: {why}"),
        }
    }
}

fn refused(
    f: &mut fmt::Formatter<'_>,
    refusal: Refusal,
    first: Option<SocketAddr>,
    new: u64,
    again: bool,
) -> fmt::Result {
    let datagrams = if new == 1 { "datagram" } else { "datagrams" };
    match (again, first) {
        (true, _) => return write!(f, "{new} more {datagrams} refused ({refusal})"),
        (false, Some(first)) if new == 1 => write!(f, "a datagram from {first} refused ({refusal}): ")?,
        (false, Some(first)) => write!(f, "{new} {datagrams} refused ({refusal}), the first from {first}: ")?,
        (false, None) => write!(f, "{new} {datagrams} refused ({refusal}): ")?,
    }
    begin_small(f, refusal.describe())?;
    match refusal {
        Refusal::UnknownPeer => f.write_str("; if it should be one, name it with --peer"),
        Refusal::UnknownVni => {
            f.write_str("; if it should have, put the VNI in front of its name: --peer VNI:HOST")
        }
        _ => Ok(()),
    }
}

fn dropped(f: &mut fmt::Formatter<'_>, reason: DropReason, mtu: u32) -> fmt::Result {
    match reason {
        DropReason::Oversize | DropReason::TooLong => write!(
            f,
            "longer than the MTU of {mtu} allows; give that MTU to the guest's interface (senders of IP packets that \
             must not be fragmented were told)"
        ),
        DropReason::StormLimit => f.write_str(
            "more broadcasts and unknown addresses a second than --storm-limit allows; is there a loop, such as two \
             interfaces of one guest joined by a bridge in it?",
        ),
        DropReason::PeerGone => f.write_str(
            "this host has no route to the peer; the bridge goes on by itself when it has one",
        ),
        DropReason::QueueFull => f.write_str("the kernel takes no more; it is sent faster than the network carries"),
        reason => begin_small(f, reason.describe()),
    }
}

/// A sentence as a part of another.
fn begin_small(f: &mut fmt::Formatter<'_>, sentence: &str) -> fmt::Result {
    let sentence = sentence.strip_suffix('.').unwrap_or(sentence);
    let mut rest = sentence.chars();
    let first = rest.next().into_iter().flat_map(char::to_lowercase);
    first.chain(rest).try_for_each(|c| fmt::Write::write_char(f, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_why_and_what_to_do() {
        let notice = |new, again| Notice::Refused {
            refusal: Refusal::UnknownPeer,
            first: Some(SocketAddr::from(([192, 0, 2, 9], 50000))),
            new,
            again,
        };
        assert_eq!(
            notice(1, false).to_string(),
            "a datagram from 192.0.2.9:50000 refused (unknown-peer): the sender's address is not that of a configured \
             peer; if it should be one, name it with --peer"
        );
        assert!(
            notice(70, false)
                .to_string()
                .starts_with("70 datagrams refused (unknown-peer), the first from 192.")
        );
        assert!(notice(70, true).to_string().starts_with("70 more datagrams refused (unknown-peer)"));
    }

    #[test]
    fn an_oversize_frame_says_what_to_set() {
        let notice = Notice::Dropped {
            vni: Vni::new(40).unwrap(),
            peer: SocketAddr::from(([192, 0, 2, 1], 4789)),
            reason: DropReason::Oversize,
            mtu: 1450,
            new: 3,
            again: true,
        };
        let said = notice.to_string();
        assert!(said.starts_with(
            "VNI 40 (192.0.2.1:4789): 3 more frames dropped (oversize): longer than the MTU of 1450"
        ));
    }
}

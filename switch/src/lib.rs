//! The switch of one rank of an mvpnet job: pure decisions about Ethernet frames. And the [`Bridge`] of a lab
//! whose guests are joined by tunnels: the same for an Ethernet of which nothing is known beforehand.
//!
//! Every rank runs a guest, and one [`Switch`] between its guest and the other ranks. The switch has no
//! sockets, no clock, no threads and no randomness, and it never holds a frame: it is shown a frame's head,
//! says what should become of the frame, and counts. The same code therefore serves a socket's buffer, a
//! guest's memory and a simulation, and two runs over the same input decide the same.
//!
//! ```
//! use mvpnet_switch::{Config, Ingress, Instant, PortId, Switch, Verdict, World};
//!
//! let world = World::new(4)?;
//! let [me, peer] = [0, 3].map(|index| world.rank(index).expect("ranks are 0 to 3"));
//! let mut switch = Switch::new(Config::new(me, world));
//!
//! // The guest sends a frame to rank 3: destination, source, type, payload.
//! let frame = [&peer.mac().octets()[..], &me.mac().octets(), &[0x88, 0xb5], &[0; 46]].concat();
//! let verdict = switch.decide(Instant::ZERO, Ingress::Guest, &frame, frame.len());
//! assert_eq!(verdict, Verdict::Forward(PortId::Peer(peer)));
//!
//! // Whoever holds the frame sends it, and says so. Then the books are settled.
//! switch.sent(PortId::Peer(peer), frame.len());
//! assert_eq!(switch.counters().check_settled(), Ok(()));
//! # Ok::<(), mvpnet_switch::WorldError>(())
//! ```
//!
//! # Theory of operation
//!
//! **Addresses are arithmetic.** A [`Rank`]'s MAC, IPv4 and IPv6 addresses follow from its number, and its
//! number from each of them. Nothing about ranks is ever learned, asked for or flooded. A [`Rank`] is made
//! only by a [`World`] that has it, so that no other number can get into the code that follows.
//!
//! **Questions about ranks are answered on the spot.** ARP requests, IPv6 neighbour and router
//! solicitations, and DHCP messages of the guest's own client end at the first switch, which answers them
//! ([`Verdict::Reply`]). What guests announce about addresses of ranks, true or not, ends there too. Only
//! untagged frames from the guest are looked at; on VLANs, and in networks that guests have made for
//! themselves, everything passes as it is.
//!
//! **Sources are believed where they can be.** A guest, or a peer on its behalf, sends from its own address or from a
//! foreign one, never from another rank's. [`MacPolicy::Strict`] leaves the own address alone.
//!
//! **Foreign addresses are learned.** Those are containers, nested guests and bonds. The [`Fdb`] remembers
//! behind which rank they are, as IEEE 802.1Q bridges do, in a table that never grows. Unicast to addresses
//! that are not in it is flooded.
//!
//! **Floods go down a tree.** Which peers a rank passes a [`Flood`] on to follows from the root, its own
//! number and the size of the world. The root travels beside the frame, never in it, so that frames of any
//! source flood correctly. No other frame goes from peer to peer, so that none can run in circles. In a
//! [`Topology::Star`] the root sends to all others itself; behind a [`Topology::Tunnel`] a bridge does it, and
//! the switch passes on what it cannot answer.
//!
//! **Nobody is left to guess an MTU.** An oversize frame goes nowhere, but if it has an IP packet that must
//! not be fragmented, its sender is told how long packets may be ([`ReplyKind::TooBig`]).
//!
//! **Every frame is accounted for.** A drop is a verdict with a [`DropReason`]. The [`Counters`] can be
//! checked at any time: frames in = forwarded + flooded + answered + consumed + dropped, and copies offered
//! = sent + dropped on the way out + pending. (A frame whose sender is told that it is too long counts as
//! dropped.)
//!
//! **Nobody can make it fail.** On any bytes, `decide` takes a bounded number of steps, does not panic and
//! does not allocate. A panic is a bug in this crate.
//!
//! # The modules
//!
//! | module | what lives there |
//! | --- | --- |
//! | `switch` | [`Switch`]: source check, learning, forwarding, counting |
//! | `express` | the common case of it, sooner |
//! | `bridge` | [`Bridge`], its ports and their books |
//! | `verdict`, `drop_reason`, `port` | what goes in and comes out of `decide` |
//! | `flood` | the tree over the ranks |
//! | `fdb` | the table of learned addresses |
//! | `answer` | ARP, neighbour discovery and DHCP |
//! | `too_big` | fragmentation needed, packet too big |
//! | `reply` | the buffer in which both are made |
//! | `token_bucket` | so many a second: storm limits, ICMP |
//! | `frame` | a frame's head: addresses, tags, type |
//! | `offload` | what is left to be done to a frame: checksum, segments |
//! | `counters` | the books |
//! | `rank`, `mac`, `ipv6` | worlds, ranks and their addresses |
//! | `vni` | VXLAN network identifiers |
//! | `rank_list`, `vni_list` | ranks and VNIs as people write them |
//! | `config`, `time` | settings; time as an argument |

#![forbid(unsafe_code)]

mod answer;
mod bridge;
mod config;
mod counters;
mod drop_reason;
mod express;
mod fdb;
mod flood;
mod frame;
mod ipv6;
mod mac;
mod offload;
mod port;
mod rank;
mod rank_list;
mod reply;
mod switch;
mod time;
mod token_bucket;
mod too_big;
mod verdict;
mod vni;
mod vni_list;

pub use bridge::{AddPortError, Bridge, BridgeConfig, BridgePort, BridgePortCounters, BridgeVerdict};
pub use config::{Config, MacPolicy, Topology};
pub use counters::{Counters, Drops, FdbCounters, Imbalance, PortCounters, Tally};
pub use drop_reason::DropReason;
pub use fdb::{Fdb, FdbEntry};
pub use flood::Flood;
pub use frame::HEAD_LEN;
pub use ipv6::{UlaPrefix, UlaPrefixError};
pub use mac::{MacAddr, MacAddrError};
pub use offload::{OFFLOAD_LEN, Offload, OffloadError, SegmentKind, Segments};
pub use port::{Delivery, Ingress, PortId};
pub use rank::{MacOwner, Rank, RankError, World, WorldError};
pub use rank_list::{RankList, RankListError};
pub use switch::Switch;
pub use time::Instant;
pub use verdict::{Control, ReplyKind, Verdict};
pub use vni::{Vni, VniError};
pub use vni_list::{VniList, VniListError};

/// The example of the README, so that it stays true.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

//! VXLAN (RFC 7348): Ethernet frames in UDP datagrams, between ranks or between a rank and a bridge.
//!
//! [`Vtep`] is the end of tunnels: sockets, and what a datagram means. On it are built two transports:
//! [`tunnels`] joins each rank of a job to a bridge elsewhere by a VNI of its own, [`mesh`] joins the ranks to
//! each other by one. [`probe`] asks whether a peer hears, and what its path takes. Nothing needs privileges.
//!
//! # Theory of operation
//!
//! **Only what is configured is heard.** A datagram whose sender, header, VNI or frame is not as it should be
//! is refused, and counted by its [reason](Refusal). What is accepted is a switch's business.
//!
//! **The path's MTU is learned, never exceeded.** Nothing is fragmented (RFC 7348 §4.3): datagrams are sent
//! with DF, routers' and the kernel's errors teach what the path takes (RFC 1191), and a frame that is too
//! long is dropped with its reason.
//!
//! **System calls are few.** Receives take many datagrams at once; frames for one peer that are of one length leave
//! in one call, which the kernel or the network card cuts into datagrams.
//!
//! **Frames stay where they are.** A frame that is passed on is sent from the memory it was received in.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `header`, `mtu`, `refusal` | the format, its overhead, what is refused |
//! | `entropy`, `offload` | inside a frame: its flow, and what its sender left to a network card |
//! | `table`, `intake` | what a datagram means; pure |
//! | `outgoing` | what leaves in one system call; pure |
//! | `socket`, `vtep` | sockets and the VTEP over them |
//! | `carrier`, `tunnel`, `mesh`, `steer` | the transports; one port for several ranks |
//! | `probe` | questions to a peer |

mod carrier;
mod entropy;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod header;
mod intake;
mod mesh;
mod mtu;
mod offload;
mod outgoing;
pub mod probe;
mod refusal;
mod socket;
mod steer;
mod table;
mod tunnel;
mod vtep;

pub use carrier::{VxlanTransport, Ways};
pub use header::{HEADER_LEN, Header, HeaderError};
pub use mesh::{MeshConfig, MeshError, MeshTransport, ToRanks, mesh};
pub use mtu::{OVERHEAD_V4, OVERHEAD_V6, inner_mtu};
pub use refusal::{Refusal, Refusals};
pub use socket::BindError;
pub use table::{Tunnel, TunnelId};
pub use tunnel::{ToBridge, TunnelTransport, TunnelsError, tunnels};
pub use vtep::{AddError, Vtep, VtepConfig, VtepStats};

use crate::RecordKind;

/// The UDP port of VXLAN (RFC 7348 §5).
pub const PORT: u16 = 4789;

/// Datagrams, or groups of them, that one receive takes at most.
const RECEIVE_SLOTS: usize = 4 * socket::BATCH;
/// The longest of them.
const RECEIVE_SLOT: usize = 1 << 16;
/// Bytes that one receive can bring.
const RECEIVE_ROOM: usize = RECEIVE_SLOTS * RECEIVE_SLOT;

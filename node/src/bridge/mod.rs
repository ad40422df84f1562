//! A bridge of VXLAN tunnels: the switch of guests on other hosts, each behind a VNI of its own.
//!
//! One thread ([`BridgeLoop`]) owns the sockets ([`Vtep`](mvpnet_transports::vxlan::Vtep)), the decisions
//! ([`Bridge`](mvpnet_switch::Bridge)), the counters and the capture's tap, so that nothing on a frame's way takes a
//! lock. Everything else – signals, the control socket, names and files of peers – is the control plane's
//! ([`live`]), on another thread, which talks to the loop by a channel and an eventfd.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `peers`, `resolve` | peers as people name them, which VNIs they have, their addresses |
//! | `forward`, `ports`, `wait` | the loop: receive, decide, forward, sleep |
//! | `tell` | what the loop says of itself, asked and unasked |
//! | `mailbox` | what the two threads say to each other |
//! | `watch`, `notice` | what people are told, how often, and in which words |
//! | `setup`, `life`, `reload` | from settings to a running bridge, its life, and changed peers |
//! | `status`, `protocol` | how a bridge does, and how it is asked |
//! | `notify` | what systemd is told |

mod forward;
mod life;
mod mailbox;
mod notice;
mod notify;
mod peers;
mod ports;
mod protocol;
mod reload;
mod resolve;
mod setup;
mod status;
mod tell;
mod wait;
mod watch;

pub use forward::{BridgeLoop, LoopEnd};
pub use life::{End, Started, live};
pub use mailbox::{Changed, Command, Event, Handle, Mailbox};

pub use crate::mailbox::mailbox;
pub use notice::Notice;
pub use peers::{AssignError, Assignment, Peer, PeerError, PeersFileError, assign, read_peers};
pub use ports::Interfaces;
pub use protocol::{Answer, Request, ask, running, shares_network};
pub use resolve::{Family, ResolveError, resolve};
pub use setup::{BridgeError, PeerSource, PeersError, Settings};
pub use status::{FdbStatus, PortStatus, Status, Volume};

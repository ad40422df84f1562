//! Deterministic simulation of a whole mvpnet job: break a network on purpose, in `cargo test`.
//!
//! The same switch code that production runs, on virtual time, in one thread: ranks with their switches, the network
//! between them with all its faults, and guests that are real TCP/IP stacks, frame senders, or the code under test.
//! One seed, one result, bit for bit.
//!
//! ```
//! use std::time::Duration;
//! use mvpnet_sim::{LinkModel, Sim};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! let mut sim = Sim::new(7, 2).links(LinkModel::CLUSTER_10G);
//! sim.host(0, async |host| {
//!     let mut listener = host.listen(7)?;
//!     loop {
//!         let mut stream = listener.accept().await?;
//!         host.spawn(async move {
//!             let (mut reader, mut writer) = tokio::io::split(&mut stream);
//!             tokio::io::copy(&mut reader, &mut writer).await?;
//!             Ok(())
//!         });
//!     }
//! });
//! sim.client(1, async |host| {
//!     let mut stream = host.connect(0, 7).await?;
//!     stream.write_all(b"hello").await?;
//!     let mut answer = [0; 5];
//!     stream.read_exact(&mut answer).await?;
//!     assert_eq!(&answer, b"hello");
//!     Ok(())
//! });
//! sim.at(Duration::from_micros(100)).partition([&[0], &[1]]);
//! sim.at(Duration::from_secs(2)).heal(); // TCP sends again what was lost
//! sim.run()?;
//! # Ok::<(), mvpnet_sim::Failure>(())
//! ```
//!
//! # The modules
//!
//! | module | what lives there |
//! | --- | --- |
//! | `sim`, `plan`, `rules`, `frames` | what a test says: ranks, guests, what is to happen, which frames |
//! | `world`, `queue`, `node` | what happens: events in order, switches, links, guests |
//! | `guest` | what a guest is |
//! | `guests` | guests that send frames by a script or from a capture |
//! | `host` | the guest with a TCP/IP stack and asynchronous programs |
//! | `books` | what is counted, and what must hold for the whole world |
//! | `invariants` | what else must hold: frames, broadcasts, streams, delivery |
//! | `property` | random scenarios that must hold, and shrink when they do not |
//! | `capture` | the capture |
//! | [`cluster`] | one test for simulated and for real guests |
//!
//! What a link does to a frame is in `mvpnet-transports`, since a running job does the same to its frames.

#![forbid(unsafe_code)]

mod books;
mod capture;
pub mod cluster;
mod failure;
mod frames;
mod guest;
mod guests;
mod host;
pub mod invariants;
mod node;
mod plan;
#[cfg(feature = "proptest")]
pub mod property;
mod queue;
mod ready;
mod rules;
pub mod scenario;
mod sim;
mod world;

pub use books::{Amount, History, SLOT, Traffic, WorldImbalance};
pub use failure::{Failure, FailureKind};
pub use frames::{Frames, Hop};
pub use guest::{Guest, Port};
pub use guests::{Received, Replay, ReplayError, Scripted, Timing};
pub use host::{Elapsed, Host, PingError, Sleep, TCP_TIMEOUT, TcpListener, TcpStream, UdpSocket};
pub use mvpnet_transports::link::{
    BitRate, Burst, ByteSize, Chance, Change, ChangeError, Jitter, LinkModel, Pairs, Probability,
};
pub use node::GuestState;
pub use plan::At;
pub use rules::{Rule, RuleVerdict, When};
pub use sim::{Sim, TIME_LIMIT};

/// How a guest's program ends. Any error ends the simulation.
pub type Result = std::result::Result<(), Box<dyn std::error::Error>>;

/// The examples of the tutorial, so that they stay true.
#[cfg(doctest)]
#[doc = include_str!("../../docs/SIMULATION.md")]
struct Tutorial;

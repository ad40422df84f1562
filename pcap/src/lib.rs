//! pcapng captures: what was seen on the ports of a switch, written and read back.
//!
//! A capture has one interface per port, and each packet carries its interface, its direction as seen from
//! that port, a time in nanoseconds since 1970, and, where there is something to say (why a frame was
//! dropped), a comment. What the capture itself missed is in the file too: before the next packet of the same
//! interface (`epb_dropcount`) and in the statistics at the end (`isb_ifdrop`).
//!
//! This crate knows bytes, names and times. It has no clock, no threads and no idea of a switch: times are
//! arguments, and reasons are comments. The format is pcapng as in draft-ietf-opsawg-pcapng; blocks are
//! encoded and decoded by the `pcap-file` crate.
//!
//! ```
//! use mvpnet_pcap::{Direction, Entry, Interface, Packet, Reader, Section, Writer};
//!
//! let mut writer = Writer::new(Vec::new(), &Section::default())?;
//! let guest = writer.add_interface(&Interface::new("rank3-guest"))?;
//! writer.packet(&Packet::new(guest, Direction::Inbound, 1_700_000_000_123_456_789, &[0xff; 60]))?;
//!
//! let file = writer.into_inner();
//! let mut reader = Reader::new(&file[..])?;
//! while let Some(entry) = reader.next_entry()? {
//!     if let Entry::Packet(packet) = entry {
//!         assert_eq!(packet.time_ns, 1_700_000_000_123_456_789);
//!         assert_eq!(packet.direction, Some(Direction::Inbound));
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod model;
mod reader;
mod writer;

pub use model::{Direction, Interface, Packet, SNAPLEN, Section, Statistics};
pub use reader::{Entry, ReadError, Reader};
pub use writer::{WriteError, Writer};

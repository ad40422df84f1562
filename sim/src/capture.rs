//! The capture of a whole simulation: one pcapng file with two interfaces per rank, its guest's port and its
//! port to the other ranks. Two runs of one simulation write the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

use mvpnet_pcap::{Direction, Interface, Packet, Section, WriteError, Writer};
use mvpnet_switch::{DropReason, Instant, Rank};

/// A port of a rank's switch as the capture knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Guest,
    Peers,
}

/// A port, and whether a frame comes in or goes out by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) rank: Rank,
    pub(crate) side: Side,
    pub(crate) direction: Direction,
}

/// Writes frames as they pass the ports. The first error ends it; the simulation says so at its end.
pub(crate) struct Recorder {
    writer: Writer<Box<dyn Write>>,
    interfaces: BTreeMap<(Rank, Side), u32>,
    error: Option<WriteError>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("interfaces", &self.interfaces.len()).finish_non_exhaustive()
    }
}

impl Recorder {
    pub(crate) fn new(sink: Box<dyn Write>, ranks: u32, seed: u64) -> Result<Recorder, WriteError> {
        let section = Section {
            application: Some(format!("mvpnet {}", env!("CARGO_PKG_VERSION"))),
            comment: Some(format!("simulation of {ranks} ranks, seed {seed}")),
            ..Section::default()
        };
        let writer = Writer::new(sink, &section)?;
        Ok(Recorder { writer, interfaces: BTreeMap::new(), error: None })
    }

    /// Writes a frame that passes a port, or is dropped there for this reason.
    pub(crate) fn record(&mut self, now: Instant, place: Place, frame: &[u8], dropped: Option<DropReason>) {
        if self.error.is_none() {
            self.error = self.write(now, place, frame, dropped).err();
        }
    }

    fn write(
        &mut self,
        now: Instant,
        Place { rank, side, direction }: Place,
        frame: &[u8],
        dropped: Option<DropReason>,
    ) -> Result<(), WriteError> {
        let interface = match self.interfaces.get(&(rank, side)) {
            Some(interface) => *interface,
            None => {
                let interface = self.writer.add_interface(&describe(rank, side))?;
                self.interfaces.insert((rank, side), interface);
                interface
            }
        };
        let packet = Packet::new(interface, direction, now.as_nanos(), frame);
        match dropped {
            Some(reason) => {
                self.writer.packet(&packet.with_comment(format!("dropped: {reason}: {}", reason.describe())))
            }
            None => self.writer.packet(&packet),
        }
    }

    /// Ends the capture: everything is written, or the error that ended it before.
    pub(crate) fn finish(mut self) -> Result<(), WriteError> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.writer.sink_mut().flush()?),
        }
    }
}

fn describe(rank: Rank, side: Side) -> Interface {
    match side {
        Side::Guest => Interface {
            description: Some(format!("guest {} ({}) of rank {rank}", rank.host_name(), rank.ipv4())),
            mac: Some(rank.mac().octets()),
            ..Interface::new(format!("rank{rank}-guest"))
        },
        Side::Peers => Interface {
            description: Some(format!("simulated network between rank {rank} and the other ranks")),
            ..Interface::new(format!("rank{rank}-sim"))
        },
    }
}

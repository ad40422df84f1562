//! From packets to pcapng bytes. Blocks go to the underlying writer in many small pieces: who needs few
//! system calls, or only whole blocks in a file, writes into a buffer and hands that on.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{Block, PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

use crate::model::{Direction, Interface, Packet, Section, Statistics};

/// `if_tsresol`: times are in units of 10^-9 seconds (pcapng §4.2).
const NANOSECONDS: u8 = 9;

/// An option's length field has 16 bits (pcapng §3.5).
const MAX_OPTION_LEN: usize = u16::MAX as usize;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The underlying writer failed.
    #[error("cannot write the capture: {0}")]
    Io(#[from] io::Error),
    /// A packet or statistics of an interface that was never added.
    #[error("interface {interface} is not one of the capture's {known}")]
    UnknownInterface {
        /// The index that was given.
        interface: u32,
        /// How many interfaces the capture has.
        known: usize,
    },
    /// The encoder refused a block.
    #[error("cannot encode a block: {0}")]
    Encode(String),
}

/// Writes one section of pcapng to any writer.
pub struct Writer<W: Write> {
    inner: PcapNgWriter<W>,
    snaplens: Vec<u32>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture: writes the section header.
    pub fn new(sink: W, section: &Section) -> Result<Self, WriteError> {
        // Big-endian on every host: the halves of a 64-bit time then stand in the order that pcapng wants
        // (the upper one first), which pcap-file 2.0 gets wrong for statistics of a little-endian section.
        let header = SectionHeaderBlock {
            endianness: Endianness::Big,
            options: section_options(section),
            ..SectionHeaderBlock::default()
        };
        let inner = PcapNgWriter::with_section_header(sink, header).map_err(|e| refused(e, 0, 0))?;
        Ok(Self { inner, snaplens: Vec::new() })
    }

    /// Describes one more interface and says which index it has.
    pub fn add_interface(&mut self, interface: &Interface) -> Result<u32, WriteError> {
        let index = u32::try_from(self.snaplens.len()).expect("interfaces are few");
        let block = InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: interface.snaplen,
            options: interface_options(interface),
        };
        self.write(&block.into_block(), index)?;
        self.snaplens.push(interface.snaplen);
        Ok(index)
    }

    /// Writes one packet, cut to its interface's snap length.
    pub fn packet(&mut self, packet: &Packet<'_>) -> Result<(), WriteError> {
        let known = self.snaplens.len();
        let snaplen = match self.snaplens.get(packet.interface as usize) {
            Some(0) => usize::MAX,
            Some(&snaplen) => snaplen as usize,
            None => return Err(WriteError::UnknownInterface { interface: packet.interface, known }),
        };
        let data = &packet.data[..packet.data.len().min(snaplen)];
        let whole = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        let block = EnhancedPacketBlock {
            interface_id: packet.interface,
            // pcap-file 2.0 writes times in nanoseconds whatever the interface says, and ours say
            // nanoseconds.
            timestamp: Duration::from_nanos(packet.time_ns),
            original_len: packet.original_len.max(whole),
            data: Cow::Borrowed(data),
            options: packet_options(packet),
        };
        self.write(&block.into_block(), packet.interface)
    }

    /// Writes the books of one interface.
    pub fn statistics(&mut self, statistics: &Statistics) -> Result<(), WriteError> {
        let block = InterfaceStatisticsBlock {
            interface_id: statistics.interface,
            timestamp: statistics.time_ns,
            options: statistics_options(statistics),
        };
        self.write(&block.into_block(), statistics.interface)
    }

    /// How many interfaces the capture has.
    pub fn interface_count(&self) -> usize {
        self.snaplens.len()
    }

    /// The underlying writer.
    pub fn sink(&self) -> &W {
        self.inner.get_ref()
    }

    /// The underlying writer, to empty a buffer that has been passed on. What is written to it directly is
    /// not checked.
    pub fn sink_mut(&mut self) -> &mut W {
        self.inner.get_mut()
    }

    /// Ends writing and gives the underlying writer back.
    pub fn into_inner(self) -> W {
        self.inner.into_inner()
    }

    fn write(&mut self, block: &Block<'_>, interface: u32) -> Result<(), WriteError> {
        let known = self.snaplens.len();
        self.inner.write_block(block).map(drop).map_err(|e| refused(e, interface, known))
    }
}

fn refused(error: PcapError, interface: u32, known: usize) -> WriteError {
    match error {
        PcapError::IoError(e) => WriteError::Io(e),
        PcapError::InvalidInterfaceId(_) => WriteError::UnknownInterface { interface, known },
        other => WriteError::Encode(other.to_string()),
    }
}

fn section_options(section: &Section) -> Vec<SectionHeaderOption<'static>> {
    let mut options = Vec::new();
    options.extend(section.comment.as_deref().map(|s| SectionHeaderOption::Comment(owned(s))));
    options.extend(section.hardware.as_deref().map(|s| SectionHeaderOption::Hardware(owned(s))));
    options.extend(section.os.as_deref().map(|s| SectionHeaderOption::OS(owned(s))));
    options.extend(section.application.as_deref().map(|s| SectionHeaderOption::UserApplication(owned(s))));
    options
}

fn interface_options(interface: &Interface) -> Vec<InterfaceDescriptionOption<'_>> {
    let mut options = vec![InterfaceDescriptionOption::IfName(text(&interface.name))];
    options
        .extend(interface.description.as_deref().map(|s| InterfaceDescriptionOption::IfDescription(text(s))));
    options
        .extend(interface.mac.as_ref().map(|mac| InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(mac))));
    options.push(InterfaceDescriptionOption::IfTsResol(NANOSECONDS));
    options
}

fn packet_options<'a>(packet: &'a Packet<'_>) -> Vec<EnhancedPacketOption<'a>> {
    let mut options = Vec::with_capacity(3);
    options.extend(packet.comment.as_deref().map(|s| EnhancedPacketOption::Comment(text(s))));
    // epb_flags bits 0 and 1 (pcapng §4.3.1): 01 inbound, 10 outbound.
    options.extend(packet.direction.map(|direction| match direction {
        Direction::Inbound => EnhancedPacketOption::Flags(0b01),
        Direction::Outbound => EnhancedPacketOption::Flags(0b10),
    }));
    options.extend((packet.missed > 0).then_some(EnhancedPacketOption::DropCount(packet.missed)));
    options
}

fn statistics_options(statistics: &Statistics) -> Vec<InterfaceStatisticsOption<'_>> {
    let mut options = Vec::new();
    options.extend(statistics.comment.as_deref().map(|s| InterfaceStatisticsOption::Comment(text(s))));
    options.extend(statistics.start_ns.map(InterfaceStatisticsOption::IsbStartTime));
    options.extend(statistics.end_ns.map(InterfaceStatisticsOption::IsbEndTime));
    options.extend(statistics.received.map(InterfaceStatisticsOption::IsbIfRecv));
    options.extend(statistics.missed.map(InterfaceStatisticsOption::IsbIfDrop));
    options.extend(statistics.delivered.map(InterfaceStatisticsOption::IsbUsrDeliv));
    options
}

/// Text as long as an option can hold; pcap-file would write a wrong length for a longer one.
fn text(s: &str) -> Cow<'_, str> {
    Cow::Borrowed(&s[..s.floor_char_boundary(MAX_OPTION_LEN)])
}

fn owned(s: &str) -> Cow<'static, str> {
    Cow::Owned(text(s).into_owned())
}

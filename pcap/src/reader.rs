//! From pcapng bytes to packets: files of this crate, and others' as far as they consist of enhanced packets
//! with well-formed options. Never panics, whatever the bytes: a file that is cut short or wrong ends with an
//! error after the last good block.

use std::io::{self, Read};

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{Endianness, PcapError};

use crate::model::{Direction, Interface, Packet, Section, Statistics};

/// Why reading ended before the end of the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file ends inside a block, as one does whose writer was killed.
    #[error("the capture is cut short in the middle of a block")]
    CutShort,
    /// The underlying reader failed.
    #[error("cannot read the capture: {0}")]
    Io(#[source] io::Error),
    /// These bytes are not pcapng.
    #[error("malformed capture: {0}")]
    Malformed(String),
}

/// One block of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Another section begins: indices of interfaces start again at 0.
    Section,
    /// An interface was described; it is now the last of [`Reader::interfaces`].
    Interface,
    /// A packet.
    Packet(Packet<'a>),
    /// Statistics of an interface.
    Statistics(Statistics),
    /// A block of another kind.
    Other,
}

/// Reads pcapng from any reader.
pub struct Reader<R: Read> {
    inner: PcapNgReader<R>,
    section: Section,
    interfaces: Vec<Described>,
    swapped_times: bool,
    ended: bool,
}

/// An interface and how its times are to be understood.
struct Described {
    interface: Interface,
    resolution: u8,
    offset_s: i64,
}

impl<R: Read> Reader<R> {
    /// Reads the section header, with which every capture begins.
    pub fn new(source: R) -> Result<Self, ReadError> {
        let inner = PcapNgReader::new(source).map_err(failed)?;
        let (section, swapped_times) = read_section(inner.section());
        Ok(Self { inner, section, interfaces: Vec::new(), swapped_times, ended: false })
    }

    /// The next block, or none at the end of the file. After an error there is nothing more to be had.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ReadError> {
        if self.ended {
            return Ok(None);
        }
        let block = match self.inner.next_block() {
            Some(Ok(block)) => block,
            Some(Err(error)) => {
                self.ended = true;
                return Err(failed(error));
            }
            None => {
                self.ended = true;
                return Ok(None);
            }
        };
        Ok(Some(match block {
            Block::SectionHeader(header) => {
                (self.section, self.swapped_times) = read_section(&header);
                self.interfaces.clear();
                Entry::Section
            }
            Block::InterfaceDescription(block) => {
                self.interfaces.push(read_interface(&block));
                Entry::Interface
            }
            Block::EnhancedPacket(block) => {
                let described = self.interfaces.get(block.interface_id as usize);
                Entry::Packet(read_packet(block, described))
            }
            Block::InterfaceStatistics(block) => {
                let described = self.interfaces.get(block.interface_id as usize);
                Entry::Statistics(read_statistics(&block, described, self.swapped_times))
            }
            _ => Entry::Other,
        }))
    }

    /// What the current section's header says.
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// The interfaces that the current section has described so far.
    pub fn interfaces(&self) -> impl ExactSizeIterator<Item = &Interface> {
        self.interfaces.iter().map(|described| &described.interface)
    }

    /// The interface of this index, if the current section has described it.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(index as usize).map(|described| &described.interface)
    }
}

fn failed(error: PcapError) -> ReadError {
    match error {
        PcapError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => ReadError::CutShort,
        PcapError::IoError(e) => ReadError::Io(e),
        other => ReadError::Malformed(other.to_string()),
    }
}

/// The header's options, and whether pcap-file 2.0 hands out the 64-bit times of statistics with their halves
/// swapped, which it does for little-endian sections.
fn read_section(header: &SectionHeaderBlock<'_>) -> (Section, bool) {
    let mut section = Section::default();
    for option in &header.options {
        match option {
            SectionHeaderOption::Comment(s) => section.comment = Some(s.to_string()),
            SectionHeaderOption::Hardware(s) => section.hardware = Some(s.to_string()),
            SectionHeaderOption::OS(s) => section.os = Some(s.to_string()),
            SectionHeaderOption::UserApplication(s) => section.application = Some(s.to_string()),
            _ => {}
        }
    }
    (section, header.endianness == Endianness::Little)
}

fn read_interface(block: &InterfaceDescriptionBlock<'_>) -> Described {
    let mut described = Described {
        interface: Interface { name: String::new(), description: None, mac: None, snaplen: block.snaplen },
        // Microseconds, when the file does not say (pcapng §4.2, if_tsresol).
        resolution: 6,
        offset_s: 0,
    };
    for option in &block.options {
        match option {
            InterfaceDescriptionOption::IfName(s) => described.interface.name = s.to_string(),
            InterfaceDescriptionOption::IfDescription(s) => {
                described.interface.description = Some(s.to_string())
            }
            InterfaceDescriptionOption::IfMacAddr(mac) => {
                described.interface.mac = mac.as_ref().try_into().ok()
            }
            InterfaceDescriptionOption::IfTsResol(resolution) => described.resolution = *resolution,
            InterfaceDescriptionOption::IfTsOffset(seconds) => described.offset_s = seconds.cast_signed(),
            _ => {}
        }
    }
    described
}

fn read_packet<'a>(block: EnhancedPacketBlock<'a>, described: Option<&Described>) -> Packet<'a> {
    // pcap-file 2.0 takes every time for nanoseconds; undo that to get at what the file says.
    let ticks = u64::try_from(block.timestamp.as_nanos()).unwrap_or(u64::MAX);
    let mut packet = Packet {
        interface: block.interface_id,
        direction: None,
        time_ns: nanoseconds(ticks, described),
        original_len: block.original_len,
        data: block.data,
        comment: None,
        missed: 0,
    };
    for option in block.options {
        match option {
            EnhancedPacketOption::Comment(s) => {
                packet.comment = Some(match packet.comment.take() {
                    None => s,
                    Some(earlier) => format!("{earlier}\n{s}").into(),
                });
            }
            EnhancedPacketOption::Flags(flags) => {
                packet.direction = match flags & 0b11 {
                    0b01 => Some(Direction::Inbound),
                    0b10 => Some(Direction::Outbound),
                    _ => None,
                }
            }
            EnhancedPacketOption::DropCount(missed) => packet.missed = missed,
            _ => {}
        }
    }
    packet
}

fn read_statistics(
    block: &InterfaceStatisticsBlock<'_>,
    described: Option<&Described>,
    swapped_times: bool,
) -> Statistics {
    let time = |raw: u64| nanoseconds(if swapped_times { raw.rotate_left(32) } else { raw }, described);
    let mut statistics =
        Statistics { interface: block.interface_id, time_ns: time(block.timestamp), ..Statistics::default() };
    for option in &block.options {
        match option {
            InterfaceStatisticsOption::Comment(s) => statistics.comment = Some(s.to_string()),
            InterfaceStatisticsOption::IsbStartTime(raw) => statistics.start_ns = Some(time(*raw)),
            InterfaceStatisticsOption::IsbEndTime(raw) => statistics.end_ns = Some(time(*raw)),
            InterfaceStatisticsOption::IsbIfRecv(count) => statistics.received = Some(*count),
            InterfaceStatisticsOption::IsbIfDrop(count) => statistics.missed = Some(*count),
            InterfaceStatisticsOption::IsbUsrDeliv(count) => statistics.delivered = Some(*count),
            _ => {}
        }
    }
    statistics
}

/// An interface's ticks as nanoseconds since 1970, at the ends of the range if they are beyond it (pcapng
/// §4.2, if_tsresol: the top bit chooses powers of 2 over powers of 10, the rest is the negative exponent).
fn nanoseconds(ticks: u64, described: Option<&Described>) -> u64 {
    let (resolution, offset_s) = described.map_or((6, 0), |d| (d.resolution, d.offset_s));
    let exponent = u32::from(resolution & 0x7f);
    let base: u128 = if resolution & 0x80 != 0 { 2 } else { 10 };
    // With a unit this small, 2^64 ticks are less than a nanosecond.
    let elapsed =
        base.checked_pow(exponent).map_or(0, |per_second| u128::from(ticks) * 1_000_000_000 / per_second);
    let shifted =
        i128::try_from(elapsed).expect("2^64 * 10^9 is below 2^94") + i128::from(offset_s) * 1_000_000_000;
    u64::try_from(shifted.max(0)).unwrap_or(u64::MAX)
}

//! TCP packets that a guest leaves to others to cut into segments and to checksum, as on a card with TSO: far longer than
//! any frame on a wire, behind a virtio-net header that says so (VIRTIO 1.2 §5.1.6.2).

use super::{ETHERNET_HEADER, MIN_FRAME, Message, write_body};

/// IPv4.
pub(super) const ETHERTYPE: [u8; 2] = [0x08, 0x00];
/// Ethernet, IPv4 (RFC 791 §3.1) and TCP (RFC 9293 §3.1), both without options.
pub(super) const HEADERS: usize = IP + 20 + 20;
/// The shortest packet that a message fits into.
pub const MIN: usize = HEADERS + MIN_FRAME - ETHERNET_HEADER;
/// The longest: 16 bits of length in IPv4.
pub const MAX: usize = ETHERNET_HEADER + 65_535;
/// Octets of the header in front.
pub const OFFLOAD_LEN: usize = mvpnet_switch::OFFLOAD_LEN;

const IP: usize = ETHERNET_HEADER;
const TCP: usize = IP + 20;
/// The discard service (RFC 863), from the first of the dynamic ports.
const PORTS: [u8; 4] = [0xc0, 0x00, 0, 9];

/// The header in front of packets that are to be cut into segments of so many bytes.
pub fn header(segment: u16) -> [u8; OFFLOAD_LEN] {
    let mut header = [0; OFFLOAD_LEN];
    // The checksum is not there yet; TCP over IPv4.
    (header[0], header[1]) = (1, 1);
    header[2..4].copy_from_slice(&(HEADERS as u16).to_le_bytes());
    header[4..6].copy_from_slice(&segment.to_le_bytes());
    header[6..8].copy_from_slice(&(TCP as u16).to_le_bytes());
    header[8..10].copy_from_slice(&16_u16.to_le_bytes());
    header
}

/// Writes a whole packet of `packet.len()` bytes, [`MIN`] to [`MAX`], between the guests of two ranks.
pub fn write(packet: &mut [u8], to: u32, from: u32, message: Message) {
    let len = packet.len();
    assert!((MIN..=MAX).contains(&len), "a packet has {MIN} to {MAX} bytes, not {len}");
    packet[..6].copy_from_slice(&super::rank_mac(to));
    packet[6..12].copy_from_slice(&super::rank_mac(from));
    packet[12..14].copy_from_slice(&ETHERTYPE);
    let ip = &mut packet[IP..TCP];
    // Version and length, no number, not to be fragmented, 64 hops, TCP.
    ip.copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    ip[2..4].copy_from_slice(&((len - IP) as u16).to_be_bytes());
    ip[12..16].copy_from_slice(&address(from));
    ip[16..20].copy_from_slice(&address(to));
    let checksum = !sum(ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    // What is to be summed up besides what is behind: addresses, protocol and length (RFC 9293 §3.1).
    let [high, low] = ((len - TCP) as u16).to_be_bytes();
    let pseudo: Vec<u8> = address(from).into_iter().chain(address(to)).chain([0, 6, high, low]).collect();
    let tcp = &mut packet[TCP..HEADERS];
    tcp.fill(0);
    tcp[..4].copy_from_slice(&PORTS);
    // Five words of header; an acknowledgement; the widest window.
    tcp[12..16].copy_from_slice(&[0x50, 0x10, 0xff, 0xff]);
    tcp[16..18].copy_from_slice(&sum(&pseudo).to_be_bytes());
    write_body(packet, HEADERS, message);
}

/// The address of a rank's guest: 10.0.0.1 is that of rank 0.
fn address(rank: u32) -> [u8; 4] {
    (0x0a00_0001 + rank).to_be_bytes()
}

/// RFC 1071 §1, not yet inverted.
fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use mvpnet_switch::Offload;

    use super::super::{Kind, Reading, read};
    use super::*;

    #[test]
    fn a_packet_is_what_the_switch_takes_for_one_that_is_to_be_cut() {
        let mut packet = vec![0; 65_226];
        let message = Message { kind: Kind::Data, origin: 3, seq: 9, stamp: 1 };
        write(&mut packet, 1, 3, message);
        assert_eq!(read(&packet, true), Reading::Whole(message));
        let offload = Offload::read(&header(1448), &packet).unwrap().unwrap();
        assert_eq!(offload.segments.unwrap().payload_len, 1448);
        assert_eq!(offload.header()[..10], header(1448)[..10]);
        // Summed over itself a right checksum gives all ones.
        assert_eq!(sum(&packet[IP..TCP]), 0xffff);
    }
}

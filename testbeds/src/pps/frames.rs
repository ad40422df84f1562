//! The frames of `mvpnet-pps`: Ethernet, IPv4 (RFC 791 §3.1), UDP (RFC 768).

const ETHERNET: usize = 14;
const IP: usize = 20;
const UDP: usize = 8;

/// Of the range 198.18.0.0/15, RFC 2544 appendix C.2.2.
const SOURCE: [u8; 4] = [198, 18, 0, 1];
const DESTINATION: [u8; 4] = [198, 18, 0, 2];
/// The discard service (RFC 863), and the first of the sources, one for each flow.
const PORT: u16 = 9;
const FIRST_PORT: u16 = 50_000;

/// A frame of `size` bytes.
pub fn udp(from: [u8; 6], to: [u8; 6], size: usize, flow: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(size);
    frame.extend(to);
    frame.extend(from);
    frame.extend([0x08, 0x00]);
    let length = |bytes: usize| u16::try_from(bytes).expect("frames are short").to_be_bytes();
    frame.extend([0x45, 0]);
    frame.extend(length(size - ETHERNET));
    // No number, not to be fragmented, 64 hops, UDP; the checksum comes when the rest is there.
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    frame.extend(SOURCE);
    frame.extend(DESTINATION);
    let sum = checksum(&frame[ETHERNET..ETHERNET + IP]);
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
    frame.extend((FIRST_PORT + flow).to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend(length(size - ETHERNET - IP));
    // Without a checksum, as IPv4 allows.
    frame.extend([0, 0]);
    debug_assert_eq!(frame.len(), ETHERNET + IP + UDP);
    frame.resize(size, 0x5a);
    frame
}

/// RFC 1071 §1.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// `52:55:00:00:00:01`.
pub fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let octets: Option<Vec<u8>> = text
        .split(':')
        .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
        .collect();
    octets
        .and_then(|octets| octets.try_into().ok())
        .ok_or_else(|| "an address is six octets like 52:55:00:00:00:01".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_size_and_right_lengths_and_checksums() {
        let frame = udp([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], 64, 7);
        assert_eq!(frame.len(), 64);
        assert_eq!(u16::from_be_bytes([frame[16], frame[17]]), 50);
        assert_eq!(u16::from_be_bytes([frame[38], frame[39]]), 30);
        // Summed over itself a right checksum gives zero.
        assert_eq!(checksum(&frame[14..34]), 0);
        assert_eq!(u16::from_be_bytes([frame[34], frame[35]]), 50_007);
    }

    #[test]
    fn addresses_are_six_octets_of_two_digits() {
        assert_eq!(parse_mac("52:55:00:00:00:0a"), Ok([0x52, 0x55, 0, 0, 0, 10]));
        for wrong in ["", "52:55:00:00:00", "52:55:00:00:00:0a:0b", "5:5:0:0:0:a", "52:55:00:00:00:0g"] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
    }
}

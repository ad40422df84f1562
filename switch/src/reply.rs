//! The buffer in which a switch makes the frames that it sends itself.

/// The longest of them: IPv6 of its minimum MTU (RFC 4443 §2.4 c) behind two VLAN tags.
const MAX_LEN: usize = 14 + 2 * 4 + 1280;
/// The shortest frame of Ethernet, without its check sequence (IEEE 802.3 §4.2.3.3); shorter ones are padded.
const MIN_LEN: usize = 60;

/// A frame under construction.
#[derive(Debug)]
pub(crate) struct Reply {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Reply {
    /// The last frame that was made, empty before the first.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Makes the frame of these parts, padded to Ethernet's minimum.
    pub(crate) fn assemble(&mut self, parts: &[&[u8]]) {
        self.len = 0;
        for part in parts {
            self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
            self.len += part.len();
        }
        if self.len < MIN_LEN {
            self.bytes[self.len..MIN_LEN].fill(0);
            self.len = MIN_LEN;
        }
    }
}

impl Default for Reply {
    fn default() -> Reply {
        Reply { bytes: [0; MAX_LEN], len: 0 }
    }
}

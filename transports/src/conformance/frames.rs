//! The frames that the suite sends: any length, and bytes by which each is known.

use super::Medium;
use crate::MAX_FRAME_LEN;

/// In the number of a frame: makes its destination a group address, as a flood's may be. Some media know floods by
/// it.
pub(super) const GROUP: u32 = 1 << 24;

/// Length of a frame's addresses.
const ADDRESSES: usize = 12;
/// The most that a frame begins with beside its pattern.
const HEAD_LEN: usize = ADDRESSES + 4;
/// The patterns differ by where they begin: numbers of this period have the same.
const PERIOD: usize = 251;

/// Makes frames and knows them again.
pub(super) struct Frames {
    medium: Medium,
    pattern: Vec<u8>,
}

impl Frames {
    pub fn new(medium: Medium) -> Frames {
        let pattern = (0..MAX_FRAME_LEN + PERIOD + 5).map(|at| (at * 7 + at / PERIOD) as u8).collect();
        Frames { medium, pattern }
    }

    /// A frame of any length whose bytes follow from length and number.
    pub fn frame(&self, number: u32, len: usize) -> Vec<u8> {
        let mut frame = self.pattern[number as usize % PERIOD..][..len].to_vec();
        let (head, head_len) = self.head(number, len);
        frame[..head_len].copy_from_slice(&head[..head_len]);
        frame
    }

    /// Whether a frame is what [`Frames::frame`] makes.
    pub fn is_frame(&self, frame: &[u8], number: u32, len: usize) -> bool {
        let (head, head_len) = self.head(number, len);
        frame.len() == len
            && frame[..head_len] == head[..head_len]
            && frame[head_len..] == self.pattern[number as usize % PERIOD..][head_len..len]
    }

    /// What a frame begins with, and how much of it fits. Datagrams keep the order within a flow only, which
    /// addresses make: there all frames have the same.
    fn head(&self, number: u32, len: usize) -> ([u8; HEAD_LEN], usize) {
        let mut bytes = [0; HEAD_LEN];
        let number_at = match self.medium {
            Medium::Reliable => 0,
            Medium::Datagrams { .. } => {
                let group = u8::from(number & GROUP != 0);
                bytes[..ADDRESSES].copy_from_slice(&[2 | group, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
                ADDRESSES
            }
        };
        bytes[number_at..number_at + 4].copy_from_slice(&number.to_be_bytes());
        (bytes, len.min(number_at + 4))
    }
}

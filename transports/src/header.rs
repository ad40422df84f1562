//! The batch header: what a message between processes carries in front of its records.
//!
//! 24 bytes, big-endian: `"mv"`, version, lane, four zero bytes, then the sender's two counts of bytes that
//! it has consumed from the receiver, data and control ([`crate::credit`]). A batch without records only
//! brings the counts. Between threads of one process no header is needed and none is written.

use thiserror::Error;

use crate::batch::{BATCH_HEADER_LEN, Lane};

const MAGIC: [u8; 2] = *b"mv";
const VERSION: u8 = 1;

/// A batch header, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub lane: Lane,
    pub data_consumed: u64,
    pub control_consumed: u64,
}

/// Why bytes are not a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum HeaderError {
    #[error("message does not start like a batch of mvpnet")]
    Magic,
    #[error("batch of version {0}, this program speaks version {VERSION}")]
    Version(u8),
    #[error("batch for unknown lane {0}")]
    Lane(u8),
}

impl BatchHeader {
    pub fn write(&self, out: &mut [u8; BATCH_HEADER_LEN]) {
        let lane = match self.lane {
            Lane::Data => 0,
            Lane::Control => 1,
        };
        out[..8].copy_from_slice(&[MAGIC[0], MAGIC[1], VERSION, lane, 0, 0, 0, 0]);
        out[8..16].copy_from_slice(&self.data_consumed.to_be_bytes());
        out[16..24].copy_from_slice(&self.control_consumed.to_be_bytes());
    }

    pub fn read(bytes: &[u8; BATCH_HEADER_LEN]) -> Result<Self, HeaderError> {
        if bytes[..2] != MAGIC {
            return Err(HeaderError::Magic);
        }
        if bytes[2] != VERSION {
            return Err(HeaderError::Version(bytes[2]));
        }
        let lane = match bytes[3] {
            0 => Lane::Data,
            1 => Lane::Control,
            other => return Err(HeaderError::Lane(other)),
        };
        let count = |at: usize| {
            u64::from_be_bytes(*bytes[at..].first_chunk().expect("the header has room for two counts"))
        };
        Ok(BatchHeader { lane, data_consumed: count(8), control_consumed: count(16) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_header_is_read_back(control in any::<bool>(), data_consumed: u64, control_consumed: u64) {
            let lane = if control { Lane::Control } else { Lane::Data };
            let header = BatchHeader { lane, data_consumed, control_consumed };
            let mut bytes = [0xff; BATCH_HEADER_LEN];
            header.write(&mut bytes);
            prop_assert_eq!(BatchHeader::read(&bytes), Ok(header));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: [u8; BATCH_HEADER_LEN]) {
            if let Ok(header) = BatchHeader::read(&bytes) {
                let mut again = bytes;
                header.write(&mut again);
                prop_assert_eq!(BatchHeader::read(&again), Ok(header));
            }
        }
    }

    #[test]
    fn what_is_not_a_batch_says_why() {
        let mut bytes = [0; BATCH_HEADER_LEN];
        assert_eq!(BatchHeader::read(&bytes), Err(HeaderError::Magic));
        bytes[..4].copy_from_slice(b"mv\x09\x00");
        assert_eq!(BatchHeader::read(&bytes), Err(HeaderError::Version(9)));
        bytes[..4].copy_from_slice(b"mv\x01\x05");
        assert_eq!(BatchHeader::read(&bytes), Err(HeaderError::Lane(5)));
    }
}

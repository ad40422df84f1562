//! What a probe looks like on the wire: a datagram for the VXLAN port that no VTEP takes for VXLAN, because
//! the I flag is not set in it (RFC 7348 §5).

/// Bytes of an answer, and the fewest of a question: an answer is never longer than what it answers, so that
/// nobody can make a VTEP flood a third.
pub(in crate::vxlan) const ANSWER_LEN: usize = 24;

/// Where the fields are.
mod field {
    use std::ops::Range;

    pub const MAGIC: Range<usize> = 0..4;
    pub const KIND: usize = 4;
    pub const TOKEN: Range<usize> = 8..16;
    pub const HEARD: Range<usize> = 16..20;
}

const MAGIC: [u8; 4] = *b"\0mvp";
const ASK: u8 = 1;
const ANSWER: u8 = 2;

/// A question or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vxlan) enum Message {
    /// Is anybody there? The datagram may be as long as the path is to be tested for.
    Ask {
        /// By which the asker knows the answer.
        token: u64,
    },
    /// Yes.
    Answer {
        /// That of the question.
        token: u64,
        /// The length of the question as it arrived.
        heard: usize,
    },
}

impl Message {
    /// Reads a datagram. `None` where it is no probe.
    pub fn parse(datagram: &[u8]) -> Option<Message> {
        let message = datagram.first_chunk::<ANSWER_LEN>()?;
        if message[field::MAGIC] != MAGIC {
            return None;
        }
        let token = u64::from_be_bytes(*message[field::TOKEN].first_chunk()?);
        match message[field::KIND] {
            ASK => Some(Message::Ask { token }),
            ANSWER => {
                let heard = u32::from_be_bytes(*message[field::HEARD].first_chunk()?);
                Some(Message::Answer { token, heard: heard as usize })
            }
            _ => None,
        }
    }

    /// The message's bytes; a question may be followed by any others.
    pub fn emit(self) -> [u8; ANSWER_LEN] {
        let mut bytes = [0; ANSWER_LEN];
        bytes[field::MAGIC].copy_from_slice(&MAGIC);
        let (kind, token, heard) = match self {
            Message::Ask { token } => (ASK, token, 0),
            Message::Answer { token, heard } => (ANSWER, token, u32::try_from(heard).unwrap_or(u32::MAX)),
        };
        bytes[field::KIND] = kind;
        bytes[field::TOKEN].copy_from_slice(&token.to_be_bytes());
        bytes[field::HEARD].copy_from_slice(&heard.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::header::{Header, HeaderError};
    use super::*;

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_back_and_is_no_vxlan(token: u64, heard: u32, is_answer: bool, pad in 0usize..9000) {
            let message = if is_answer { Message::Answer { token, heard: heard as usize } } else { Message::Ask { token } };
            let mut bytes = message.emit().to_vec();
            bytes.resize(ANSWER_LEN + pad, 0);
            prop_assert_eq!(Message::parse(&bytes), Some(message));
            let is_vxlan = !matches!(Header::parse(&bytes), Err(HeaderError::NoVniFlag { .. }));
            prop_assert!(!is_vxlan);
        }

        #[test]
        fn any_bytes_are_parsed(mut bytes in prop::collection::vec(any::<u8>(), 0..60), has_magic: bool) {
            if has_magic && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            let _ = Message::parse(&bytes);
        }
    }
}

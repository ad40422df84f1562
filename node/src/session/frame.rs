//! What the two ends of a session say to each other, and how it is written: on a control socket a frame is its kind (one
//! octet), the length of its payload (four, big-endian) and the payload.

use super::{MAX_DATA, Outcome};

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Data: standard input one way, output the other.
    Data(Vec<u8>),
    /// Standard error.
    Error(Vec<u8>),
    /// No more data comes this way.
    End,
    /// To a command: a signal, by number.
    Signal(i32),
    /// So many octets more may be sent this way.
    Credit(u32),
    /// From the service: it is over.
    Done(Outcome),
    /// From the client: it has gone.
    Close,
}

/// What is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No such kind.
    #[error("there is no kind {0} of frame")]
    Kind(u8),
    /// It says too much.
    #[error("a frame of {len} octets exceeds the {MAX_PAYLOAD} that one may have")]
    TooLong {
        /// What it has.
        len: usize,
    },
    /// The payload is none for its kind.
    #[error("a frame of kind {kind} has a payload that means nothing: {why}")]
    Payload {
        /// The kind.
        kind: u8,
        /// What is wrong.
        why: String,
    },
}

/// The length of what precedes the payload on a control socket.
pub(super) const HEADER_LEN: usize = 5;

/// The longest payload. Data has [`MAX_DATA`] at most; an outcome with a long text has more than the text.
pub(super) const MAX_PAYLOAD: usize = MAX_DATA + (4 << 10);

/// The longest text of an outcome.
const MAX_TEXT: usize = 2 << 10;

const DATA: u8 = 0;
const ERROR: u8 = 1;
const END: u8 = 2;
const SIGNAL: u8 = 3;
const CREDIT: u8 = 4;
const DONE: u8 = 5;
const CLOSE: u8 = 6;

impl Frame {
    /// The frame with its header, as it is written to a control socket.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind(), 0, 0, 0, 0];
        self.write_payload(&mut bytes);
        let len = u32::try_from(bytes.len() - HEADER_LEN).expect("a payload is short");
        bytes[1..HEADER_LEN].copy_from_slice(&len.to_be_bytes());
        bytes
    }

    /// Reads a header: the kind and how long the payload is.
    ///
    /// # Errors
    /// It announces more than a frame may have.
    pub fn read_header(header: [u8; HEADER_LEN]) -> Result<(u8, usize), FrameError> {
        let [kind, len @ ..] = header;
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD { Err(FrameError::TooLong { len }) } else { Ok((kind, len)) }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// It is none of this kind, or there is no such kind.
    pub fn read(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let number = || {
            let bytes = payload.try_into().map_err(|_| FrameError::Payload {
                kind,
                why: format!("{} octets instead of 4", payload.len()),
            })?;
            Ok(u32::from_be_bytes(bytes))
        };
        Ok(match kind {
            DATA | ERROR if payload.len() > MAX_DATA => {
                return Err(FrameError::TooLong { len: payload.len() });
            }
            DATA => Self::Data(payload.to_vec()),
            ERROR => Self::Error(payload.to_vec()),
            END => Self::End,
            SIGNAL => Self::Signal(number()?.cast_signed()),
            CREDIT => Self::Credit(number()?),
            DONE => Self::Done(
                serde_json::from_slice(payload)
                    .map_err(|error| FrameError::Payload { kind, why: error.to_string() })?,
            ),
            CLOSE => Self::Close,
            _ => return Err(FrameError::Kind(kind)),
        })
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Data(_) => DATA,
            Self::Error(_) => ERROR,
            Self::End => END,
            Self::Signal(_) => SIGNAL,
            Self::Credit(_) => CREDIT,
            Self::Done(_) => DONE,
            Self::Close => CLOSE,
        }
    }

    pub(super) fn write_payload(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Data(data) | Self::Error(data) => bytes.extend_from_slice(data),
            Self::End | Self::Close => {}
            Self::Signal(signal) => bytes.extend_from_slice(&signal.to_be_bytes()),
            Self::Credit(octets) => bytes.extend_from_slice(&octets.to_be_bytes()),
            Self::Done(outcome) => {
                let outcome = match outcome {
                    Outcome::Failed(text) => Outcome::Failed(shortened(text)),
                    other => other.clone(),
                };
                bytes.extend(serde_json::to_vec(&outcome).expect("an outcome holds only what JSON can say"));
            }
        }
    }
}

/// The beginning of a text that is too long; escaped it has six octets for one at most.
fn shortened(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_frame() -> impl Strategy<Value = Frame> {
        let data = || prop::collection::vec(any::<u8>(), 0..100);
        prop_oneof![
            data().prop_map(Frame::Data),
            data().prop_map(Frame::Error),
            Just(Frame::End),
            any::<i32>().prop_map(Frame::Signal),
            any::<u32>().prop_map(Frame::Credit),
            any::<i32>().prop_map(|code| Frame::Done(Outcome::Exited(code))),
            ".{0,40}".prop_map(|why| Frame::Done(Outcome::Failed(why))),
            Just(Frame::Done(Outcome::Closed)),
            Just(Frame::Close),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_that_was_written_is_read_back(frame in any_frame()) {
            let bytes = frame.to_bytes();
            let (header, payload) = bytes.split_first_chunk().unwrap();
            let (kind, len) = Frame::read_header(*header).unwrap();
            prop_assert_eq!(len, payload.len());
            prop_assert_eq!(Frame::read(kind, payload).unwrap(), frame);
        }

        #[test]
        fn no_bytes_make_a_reader_panic(kind: u8, payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::read(kind, &payload);
        }
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_read() {
        assert!(matches!(Frame::read_header([0, 0, 1, 0, 0]), Err(FrameError::TooLong { len: 65_536 })));
        assert!(Frame::read(DATA, &vec![0; MAX_DATA + 1]).is_err());
        let long = Frame::Done(Outcome::Failed("\u{1}".repeat(100_000)));
        let (kind, len) = Frame::read_header(long.to_bytes()[..HEADER_LEN].try_into().unwrap()).unwrap();
        assert!(len <= MAX_PAYLOAD, "{len}");
        assert!(Frame::read(kind, &long.to_bytes()[HEADER_LEN..]).is_ok());
    }
}

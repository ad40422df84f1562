//! What hubs say to each other: the payload of a control record. The first octet tells it from other messages, which
//! are JSON.

use super::frame::{Frame, FrameError};
use super::request::Service;

/// The first octet. No JSON begins with it.
const TAG: u8 = 0x01;

const OPEN: u8 = 0;
const TO_SERVICE: u8 = 1;
const TO_CLIENT: u8 = 2;
const ACK: u8 = 3;

/// One message between two hubs. A session is known by its client's rank and a number that the client's hub gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// A client of the sender wants this of the receiver.
    Open { id: u32, service: Service },
    /// From a client of the sender.
    ToService { id: u32, frame: Frame },
    /// To a client of the receiver.
    ToClient { id: u32, frame: Frame },
    /// So many octets of packets has the sender taken from the receiver, since the beginning.
    Ack { taken: u64 },
}

/// What is no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PacketError {
    #[error("a session's message ends too soon")]
    Short,
    #[error("there is no kind {0} of session message")]
    Kind(u8),
    #[error("a session's message: {0}")]
    Frame(#[from] FrameError),
    #[error("a session's request: {0}")]
    Request(#[from] serde_json::Error),
}

impl Packet {
    /// Whether a control record is one of these.
    pub(crate) fn is_one(payload: &[u8]) -> bool {
        payload.first() == Some(&TAG)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![TAG];
        match self {
            Self::Open { id, service } => {
                bytes.push(OPEN);
                bytes.extend(id.to_be_bytes());
                bytes.extend(serde_json::to_vec(service).expect("a request holds only what JSON can say"));
            }
            Self::ToService { id, frame } => write_frame(&mut bytes, TO_SERVICE, *id, frame),
            Self::ToClient { id, frame } => write_frame(&mut bytes, TO_CLIENT, *id, frame),
            Self::Ack { taken } => {
                bytes.push(ACK);
                bytes.extend(taken.to_be_bytes());
            }
        }
        bytes
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, PacketError> {
        let [TAG, kind, rest @ ..] = payload else { return Err(PacketError::Short) };
        if *kind == ACK {
            let taken = rest.try_into().map_err(|_| PacketError::Short)?;
            return Ok(Self::Ack { taken: u64::from_be_bytes(taken) });
        }
        let (id, rest) = rest.split_first_chunk().ok_or(PacketError::Short)?;
        let id = u32::from_be_bytes(*id);
        let frame = || {
            let (kind, payload) = rest.split_first().ok_or(PacketError::Short)?;
            Ok::<_, PacketError>(Frame::read(*kind, payload)?)
        };
        Ok(match *kind {
            OPEN => Self::Open { id, service: serde_json::from_slice(rest)? },
            TO_SERVICE => Self::ToService { id, frame: frame()? },
            TO_CLIENT => Self::ToClient { id, frame: frame()? },
            other => return Err(PacketError::Kind(other)),
        })
    }
}

fn write_frame(bytes: &mut Vec<u8>, kind: u8, id: u32, frame: &Frame) {
    bytes.push(kind);
    bytes.extend(id.to_be_bytes());
    bytes.push(frame.kind());
    frame.write_payload(bytes);
}

#[cfg(test)]
mod tests {
    use mvpnet_qemu_driver::agent::ExecRequest;
    use mvpnet_transports::MAX_CONTROL_LEN;
    use proptest::prelude::*;

    use super::*;
    use crate::session::{MAX_DATA, Outcome};

    #[test]
    fn packets_survive_the_journey_and_fit_into_control_records() {
        let exec =
            ExecRequest { argv: vec!["true".into()], user: Some("x".into()), ..ExecRequest::default() };
        for packet in [
            Packet::Open { id: 7, service: Service::Exec(exec) },
            Packet::ToService { id: u32::MAX, frame: Frame::Data(vec![0xff; MAX_DATA]) },
            Packet::ToClient { id: 0, frame: Frame::Done(Outcome::Killed(9)) },
            Packet::Ack { taken: u64::MAX },
        ] {
            let bytes = packet.encode();
            assert!(Packet::is_one(&bytes) && bytes.len() < MAX_CONTROL_LEN / 2 + 1024);
            assert_eq!(Packet::decode(&bytes).unwrap(), packet);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(rest in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::decode(&[&[TAG], &rest[..]].concat());
        }
    }
}

//! Finding frames in what arrives in pieces.

use std::fmt;

use super::{Body, Frame, HEADER_LEN, MAGIC, MAX_PAYLOAD, Violation, kind};

/// Makes frames of octets. After a violation it skips everything until a HELLO begins.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    hunting: bool,
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffered = self.buffer.len() - self.start;
        f.debug_struct("Decoder").field("buffered", &buffered).field("hunting", &self.hunting).finish()
    }
}

impl Decoder {
    /// One that waits for a HELLO, as all do in the beginning.
    pub fn hunting() -> Decoder {
        Decoder { hunting: true, ..Decoder::default() }
    }

    /// Skips everything until a HELLO begins.
    pub fn hunt(&mut self) {
        self.hunting = true;
    }

    /// Takes what was received. All frames are to be taken with [`Decoder::next`] before more comes: what is kept is less than
    /// one frame then.
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(octets);
    }

    /// The next frame, if it is there whole.
    #[expect(clippy::should_implement_trait, reason = "more may come after none")]
    pub fn next(&mut self) -> Option<Result<Frame, Violation>> {
        loop {
            if self.hunting {
                self.skip_to_hello();
            } else {
                self.start += self.rest().iter().take_while(|&&octet| octet == 0).count();
            }
            let frame = self.parse()?;
            match frame {
                Err(_) if self.hunting => {
                    // It only looked like a HELLO.
                    self.start += 1;
                    continue;
                }
                Ok(_) => self.hunting = false,
                Err(_) => self.hunting = true,
            }
            return Some(frame);
        }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn skip_to_hello(&mut self) {
        let [a, b, c] = MAGIC;
        let opening = [a, b, c, kind::HELLO];
        let rest = self.rest();
        let skip = rest.windows(opening.len()).position(|octets| octets == opening).unwrap_or_else(|| {
            // The end may be the beginning of one.
            (1..opening.len())
                .rev()
                .find(|&length| rest.ends_with(&opening[..length]))
                .map_or(rest.len(), |length| rest.len() - length)
        });
        self.start += skip;
    }

    fn parse(&mut self) -> Option<Result<Frame, Violation>> {
        let rest = self.rest();
        let known = rest.len().min(MAGIC.len());
        if rest[..known] != MAGIC[..known] {
            return Some(Err(Violation::NoFrame));
        }
        let header: &[u8; HEADER_LEN] = rest.first_chunk()?;
        let [_, _, _, kind, s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_PAYLOAD {
            return Some(Err(Violation::TooLong));
        }
        let payload = rest.get(HEADER_LEN..HEADER_LEN + length)?;
        let body = Body::decode(kind, payload);
        if body.is_ok() {
            self.start += HEADER_LEN + length;
        }
        Some(body.map(|body| Frame { session: u32::from_be_bytes([s0, s1, s2, s3]), body }))
    }
}

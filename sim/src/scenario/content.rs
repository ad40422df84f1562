//! What TCP connections of scenarios carry: bytes of which each place has its own, so that a missing, doubled or moved
//! piece is seen.

use std::io;
use std::sync::LazyLock;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A prime, so that no segment or buffer is a multiple of it.
const PERIOD: usize = 251;
const CHUNK: usize = 16 << 10;

/// The bytes of any piece of [`CHUNK`] bytes, from its place in the period on.
static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..PERIOD + CHUNK).map(|at| (at % PERIOD) as u8).collect());

/// The `len` bytes at a place of the stream, [`CHUNK`] at most.
fn piece(at: u64, len: usize) -> &'static [u8] {
    let begin = (at % PERIOD as u64) as usize;
    &PATTERN[begin..begin + len]
}

/// What the receiver says at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether every byte was the one that belongs there.
    pub(super) intact: bool,
    /// How many there were.
    pub(super) bytes: u64,
}

impl Verdict {
    pub(super) const LEN: usize = 9;

    pub(super) fn encode(self) -> [u8; Verdict::LEN] {
        let [a, b, c, d, e, f, g, h] = self.bytes.to_be_bytes();
        [u8::from(self.intact), a, b, c, d, e, f, g, h]
    }

    pub(super) fn decode([intact, bytes @ ..]: [u8; Verdict::LEN]) -> Verdict {
        Verdict { intact: intact == 1, bytes: u64::from_be_bytes(bytes) }
    }
}

/// Writes so many bytes.
pub(super) async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: u64) -> io::Result<()> {
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(piece(at, len)).await?;
        at += len as u64;
    }
    Ok(())
}

/// Reads to the end, and says what came.
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Verdict> {
    let mut verdict = Verdict { intact: true, bytes: 0 };
    let mut buffer = vec![0; CHUNK];
    loop {
        let len = stream.read(&mut buffer).await?;
        if len == 0 {
            return Ok(verdict);
        }
        verdict.intact &= buffer[..len] == *piece(verdict.bytes, len);
        verdict.bytes += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What never has to wait for anything.
    fn at_once<T>(work: impl Future<Output = T>) -> T {
        match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("memory is always ready"),
        }
    }

    fn verdict_on(mut bytes: &[u8]) -> Verdict {
        at_once(receive(&mut bytes)).unwrap()
    }

    #[test]
    fn whatever_differs_is_seen() {
        let mut bytes = Vec::new();
        at_once(send(&mut bytes, 100_000)).unwrap();
        assert_eq!(verdict_on(&bytes), Verdict { intact: true, bytes: 100_000 });
        let missing = [&bytes[..1460], &bytes[2920..]].concat();
        assert!(!verdict_on(&missing).intact);
        let doubled = [&bytes[..1460], &bytes[..]].concat();
        assert!(!verdict_on(&doubled).intact);
        assert_eq!(verdict_on(&bytes[..99_000]), Verdict { intact: true, bytes: 99_000 });
    }

    #[test]
    fn a_verdict_is_read_as_it_was_written() {
        let verdict = Verdict { intact: true, bytes: 1 << 40 };
        assert_eq!(Verdict::decode(verdict.encode()), verdict);
    }
}

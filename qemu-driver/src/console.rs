//! What a guest writes to its console, or qemu to its standard error: the last 64 KiB are kept, a text can be waited
//! for, and all of it followed. The log of it is qemu's own, so that it goes on when the rank is gone. What is typed
//! there goes the other way, by a [`ConsoleInput`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tracing::Instrument;

/// How many bytes are kept.
pub const KEPT: usize = 64 << 10;

/// A shared view of one output of the guest.
#[derive(Clone, Debug)]
pub struct Console {
    state: Arc<Mutex<State>>,
    /// How many bytes came in all.
    grown: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
}

/// A piece of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes came before it.
    pub from: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is typed at a guest's console: the writing end of qemu's standard input. Clones share it.
#[derive(Clone, Debug)]
pub struct ConsoleInput {
    pipe: Arc<pipe::Sender>,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<u8>,
    total: u64,
    closed: bool,
    waiters: Vec<Waiter>,
    /// What came before this is not what anybody waits for.
    since: u64,
}

#[derive(Debug)]
struct Waiter {
    text: Vec<u8>,
    found: oneshot::Sender<()>,
}

impl Console {
    /// Reads `output` until its end in a task of its own.
    pub fn read(output: impl AsyncRead + Unpin + Send + 'static) -> Console {
        let (closing, closed) = watch::channel(false);
        let (growing, grown) = watch::channel(0);
        let console = Console { state: Arc::default(), grown, closed };
        let state = console.state.clone();
        let reading = async move {
            pump(output, &state, &growing).await;
            let mut state = lock(&state);
            state.closed = true;
            // Who waits for a text waits in vain from here on.
            state.waiters.clear();
            closing.send_replace(true);
        };
        tokio::spawn(reading.in_current_span());
        console
    }

    /// The last bytes.
    pub fn tail(&self) -> Vec<u8> {
        self.lock().kept.iter().copied().collect()
    }

    /// How many bytes came in all.
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// At most `limit` bytes of what came after the first `position`, or of what is kept of that; waits for some.
    /// None when the output has ended before.
    pub async fn after(&self, position: u64, limit: usize) -> Option<Piece> {
        let mut grown = self.grown.clone();
        // An error means that the output has ended; what came until then is still there.
        let _ = grown.wait_for(|total| *total > position).await;
        let state = self.lock();
        let begin = state.total - state.kept.len() as u64;
        let from = position.max(begin);
        let skipped = usize::try_from(from - begin).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = state.kept.iter().skip(skipped).take(limit).copied().collect();
        (!bytes.is_empty()).then_some(Piece { from, bytes })
    }

    /// The last lines that are not empty, fit for a message: without control sequences.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = printable(&self.tail());
        let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
    }

    /// Waits until `text` shows, or has shown among the bytes that are kept. False if the output ends first.
    pub async fn wait_for(&self, text: &str) -> bool {
        let found = {
            let mut state = self.lock();
            state.waiters.retain(|waiter| !waiter.found.is_closed());
            let from = state.place_of_news();
            if contains(&state.kept.make_contiguous()[from..], text.as_bytes()) {
                return true;
            }
            if state.closed {
                return false;
            }
            let (sender, found) = oneshot::channel();
            state.waiters.push(Waiter { text: text.into(), found: sender });
            found
        };
        found.await.is_ok()
    }

    /// Has whoever waits for a text wait for one that shows from now on, as after a reset of the guest.
    pub fn begin_anew(&self) {
        let mut state = self.lock();
        state.since = state.total;
    }

    /// Waits for the end of the output: nothing has it open for writing any more.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // The task ending without a word means closed as well.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl ConsoleInput {
    /// Of a pipe's writing end. To be called inside a tokio runtime.
    pub(crate) fn new(pipe: OwnedFd) -> io::Result<ConsoleInput> {
        Ok(ConsoleInput { pipe: Arc::new(pipe::Sender::from_owned_fd(pipe)?) })
    }

    /// Types as much of `bytes` as there is room for, once there is some; says how much.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.pipe.writable().await?;
            match self.pipe.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }
}

impl State {
    /// Where in what is kept that begins which counts for who waits.
    fn place_of_news(&self) -> usize {
        let new = usize::try_from(self.total - self.since).unwrap_or(usize::MAX);
        self.kept.len().saturating_sub(new)
    }

    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        self.kept.extend(bytes);
        let news = self.place_of_news();
        let State { kept, waiters, .. } = self;
        if !waiters.is_empty() {
            let kept = kept.make_contiguous();
            let mut rest = Vec::new();
            for waiter in waiters.drain(..) {
                // The text may have begun before these bytes.
                let from =
                    kept.len().saturating_sub(bytes.len() + waiter.text.len().saturating_sub(1)).max(news);
                if contains(&kept[from..], &waiter.text) {
                    let _ = waiter.found.send(());
                } else if !waiter.found.is_closed() {
                    rest.push(waiter);
                }
            }
            *waiters = rest;
        }
        let excess = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..excess);
    }
}

async fn pump(mut output: impl AsyncRead + Unpin, state: &Mutex<State>, growing: &watch::Sender<u64>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match output.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => {
                let total = {
                    let mut state = lock(state);
                    state.push(&buffer[..read]);
                    state.total
                };
                growing.send_replace(total);
            }
            Err(error) => {
                tracing::warn!("cannot read the console any more: {error}");
                break;
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // No code under the lock leaves the state half changed.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    text.is_empty() || bytes.windows(text.len()).any(|window| window == text)
}

/// Leaves out terminal control sequences (ECMA-48 §5.4 and shorter escapes) and other control characters.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| matches!(c, ' '..='?')).is_some() {}
                }
                characters.next();
            }
            '\n' | '\t' => clean.push(character),
            '\r' if characters.peek() != Some(&'\n') => clean.push('\n'),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_text_is_found_across_reads_and_afterwards() {
        let (mut guest, output) = tokio::io::duplex(4);
        let console = Console::read(output);
        let waiting = tokio::spawn({
            let console = console.clone();
            async move { console.wait_for("login:").await }
        });
        guest.write_all(b"welcome\r\nn0000 login: ").await.unwrap();
        assert!(waiting.await.unwrap());
        assert!(console.wait_for("welcome").await);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_output() {
        let (guest, output) = tokio::io::duplex(4);
        let console = Console::read(output);
        let waiting = tokio::spawn({
            let console = console.clone();
            async move { console.wait_for("never").await }
        });
        drop(guest);
        assert!(!waiting.await.unwrap());
        console.closed().await;
        assert!(!console.wait_for("never").await);
    }

    #[tokio::test]
    async fn the_last_bytes_are_kept_and_all_are_counted() {
        let (mut guest, output) = tokio::io::duplex(1 << 20);
        let console = Console::read(output);
        let written: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        guest.write_all(&written).await.unwrap();
        drop(guest);
        console.closed().await;
        assert_eq!(console.tail(), &written[written.len() - KEPT..]);
        assert_eq!(console.total(), 200_000);
    }

    #[tokio::test]
    async fn who_follows_gets_what_is_kept_then_what_comes_and_then_the_end() {
        let (mut guest, output) = tokio::io::duplex(1 << 20);
        let console = Console::read(output);
        guest.write_all(&[b'a'; KEPT + 10]).await.unwrap();
        guest.write_all(b"history").await.unwrap();
        while console.total() < KEPT as u64 + 17 {
            tokio::task::yield_now().await;
        }
        let history = console.after(0, KEPT).await.unwrap();
        assert_eq!((history.from, history.bytes.len()), (17, KEPT));
        let next = history.from + history.bytes.len() as u64;
        let (live, ()) = tokio::join!(console.after(next, 2), async {
            guest.write_all(b"live").await.unwrap();
        });
        assert_eq!(live.unwrap(), Piece { from: next, bytes: b"li".to_vec() });
        drop(guest);
        assert_eq!(console.after(next + 2, 100).await.unwrap().bytes, b"ve");
        assert_eq!(console.after(next + 4, 100).await, None);
    }

    #[tokio::test]
    async fn last_lines_are_fit_for_a_message() {
        let (mut guest, output) = tokio::io::duplex(1 << 10);
        let console = Console::read(output);
        guest.write_all(b"one\r\n\x1b[0m\x1b[?7l\x07two \r\n\r\n\x1bcthree\r12%\r13%\xff").await.unwrap();
        drop(guest);
        console.closed().await;
        assert_eq!(console.last_lines(4), ["two", "three", "12%", "13%\u{fffd}"]);
        assert_eq!(console.last_lines(100).len(), 5);
    }
}

//! TCP streams arrive intact or fail explicitly: programs that send and receive, and know what should have come.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_switch::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Violation;
use crate::{Host, Sim, TCP_TIMEOUT, TcpStream};

/// Bytes that are written or read at once.
const CHUNK: usize = 4096;

/// Streams between hosts whose bytes are known in advance. Clones share them.
///
/// The sender writes, and waits for the receiver's word that everything has come. A network may be as bad as it
/// likes: [`check`](Streams::check) only asks that nobody is told a lie.
#[derive(Clone, Debug, Default)]
pub struct Streams(Rc<RefCell<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// Ranks that have a receiver.
    receivers: Vec<u32>,
    reports: Vec<StreamReport>,
}

/// What is known of one stream. A sender that crashes begins another when it starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Who sends.
    pub from: u32,
    /// Who receives.
    pub to: u32,
    /// How many bytes there are.
    pub bytes: u64,
    /// How many have come.
    pub received: u64,
    /// The first that was wrong.
    pub wrong: Option<u64>,
    /// Whether the receiver has seen the end of the stream, and no error.
    pub ended: bool,
    /// What the sender was told: that all has arrived, or why not. `None` while it waits, or if it crashed.
    pub sender: Option<Result<(), String>>,
    /// Whether the stack let the sender wait for longer than [`Streams::STUCK_AFTER`].
    pub stuck: bool,
}

impl StreamReport {
    /// Whether all has arrived, and both ends know it.
    pub fn is_intact(&self) -> bool {
        self.sender == Some(Ok(())) && self.received == self.bytes && self.wrong.is_none()
    }

    fn check(&self, stream: u64) -> Result<(), Violation> {
        let StreamReport { from, to, received, bytes: sent, .. } = *self;
        if let Some(offset) = self.wrong {
            return Err(Violation::StreamChanged { stream, from, to, offset });
        }
        if (self.ended || self.sender == Some(Ok(()))) && received != sent {
            return Err(Violation::StreamCutOff { stream, from, to, received, sent });
        }
        if self.stuck { Err(Violation::StreamStuck { stream, from, to }) } else { Ok(()) }
    }
}

impl Streams {
    /// The port that receivers listen at.
    pub const PORT: u16 = 7007;

    /// How long a sender may take until the last byte is acknowledged. A connection without answers fails after
    /// [`TCP_TIMEOUT`], so that only links that are too slow for what is sent need so long.
    pub const STUCK_AFTER: Duration = TCP_TIMEOUT.saturating_mul(10);

    /// None yet.
    pub fn new() -> Streams {
        Streams::default()
    }

    /// Sends so many bytes from one rank to another as soon as its host is up.
    pub fn send(&self, sim: &mut Sim, from: u32, to: u32, bytes: u64) {
        self.send_at(sim, Duration::ZERO, from, to, bytes);
    }

    /// Sends them at this time of the simulation, or when the host is up after it.
    pub fn send_at(&self, sim: &mut Sim, at: Duration, from: u32, to: u32, bytes: u64) {
        if !self.0.borrow().receivers.contains(&to) {
            self.0.borrow_mut().receivers.push(to);
            let streams = self.clone();
            sim.host(to, async move |host| streams.clone().receive_all(host).await);
        }
        let streams = self.clone();
        sim.host(from, async move |host| {
            host.sleep_until(Instant::ZERO + at).await;
            streams.run_sender(&host, to, bytes).await;
            Ok(())
        });
    }

    /// All streams so far, in the order in which they began.
    pub fn reports(&self) -> Vec<StreamReport> {
        self.0.borrow().reports.clone()
    }

    /// Checks that what has arrived is what was sent, and that no stream ended early without an error.
    ///
    /// # Errors
    ///
    /// The first stream of which that is not true.
    pub fn check(&self) -> Result<(), Violation> {
        (0..).zip(&self.0.borrow().reports).try_for_each(|(stream, report)| report.check(stream))
    }

    fn report(&self, stream: u64, work: impl FnOnce(&mut StreamReport)) {
        let place = usize::try_from(stream).unwrap_or(usize::MAX);
        if let Some(report) = self.0.borrow_mut().reports.get_mut(place) {
            work(report);
        }
    }

    // ---- the sender

    async fn run_sender(&self, host: &Host, to: u32, bytes: u64) {
        let stream = self.0.borrow().reports.len() as u64;
        self.0.borrow_mut().reports.push(StreamReport {
            from: host.rank(),
            to,
            bytes,
            received: 0,
            wrong: None,
            ended: false,
            sender: None,
            stuck: false,
        });
        let sent = match host.timeout(Streams::STUCK_AFTER, send(host, to, stream, bytes)).await {
            Ok(Ok(connection)) => confirmed(host, connection, bytes).await,
            Ok(Err(error)) => Err(error),
            Err(_) => return self.report(stream, |report| report.stuck = true),
        };
        self.report(stream, |report| report.sender = Some(sent.map_err(|error| error.to_string())));
    }

    // ---- the receiver

    async fn receive_all(self, host: Host) -> crate::Result {
        let mut listener = host.listen(Streams::PORT)?;
        loop {
            // A connection may break before it is accepted.
            let Ok(connection) = listener.accept().await else { continue };
            let streams = self.clone();
            host.spawn(async move {
                // The sender sees what becomes of it.
                let _ = streams.receive(connection).await;
                Ok(())
            });
        }
    }

    async fn receive(&self, mut connection: TcpStream) -> io::Result<()> {
        let (stream, mut offset) = (connection.read_u64().await?, 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            let len = connection.read(&mut chunk).await?;
            if len == 0 {
                break;
            }
            let wrong =
                (offset..).zip(&chunk[..len]).find(|(offset, byte)| **byte != byte_at(stream, *offset));
            offset += len as u64;
            self.report(stream, |report| {
                report.received = offset;
                report.wrong = report.wrong.or(wrong.map(|(offset, _)| offset));
            });
        }
        self.report(stream, |report| report.ended = true);
        connection.write_u64(offset).await?;
        connection.shutdown().await
    }
}

/// Sends the stream's number and its bytes, and waits until all are acknowledged.
async fn send(host: &Host, to: u32, stream: u64, bytes: u64) -> io::Result<TcpStream> {
    let mut connection = host.connect(to, Streams::PORT).await?;
    connection.write_u64(stream).await?;
    let mut offset = 0;
    while offset < bytes {
        let end = bytes.min(offset + CHUNK as u64);
        let chunk: Vec<u8> = (offset..end).map(|offset| byte_at(stream, offset)).collect();
        connection.write_all(&chunk).await?;
        offset = end;
    }
    connection.flush().await?;
    connection.shutdown().await?;
    Ok(connection)
}

/// Waits for the receiver's word. It may have crashed since: then there is nobody left to say anything.
async fn confirmed(host: &Host, mut connection: TcpStream, bytes: u64) -> io::Result<()> {
    match host.timeout(TCP_TIMEOUT, connection.read_u64()).await {
        Ok(Ok(received)) if received == bytes => Ok(()),
        Ok(Ok(received)) => Err(io::Error::other(format!("only {received} of {bytes} bytes arrived"))),
        Ok(Err(error)) => Err(error),
        Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)),
    }
}

/// Each stream has bytes of its own, without a short period.
fn byte_at(stream: u64, offset: u64) -> u8 {
    let mixed = (offset ^ stream.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> StreamReport {
        StreamReport {
            from: 0,
            to: 1,
            bytes: 10,
            received: 10,
            wrong: None,
            ended: true,
            sender: Some(Ok(())),
            stuck: false,
        }
    }

    #[test]
    fn only_lies_break_the_invariant() {
        let failed = StreamReport { received: 3, ended: false, sender: Some(Err(String::new())), ..report() };
        let crashed = StreamReport { received: 0, ended: false, sender: None, ..report() };
        for honest in [report(), failed.clone(), crashed] {
            assert_eq!(honest.check(0), Ok(()));
        }
        for (lie, text) in [
            (StreamReport { wrong: Some(4), ..report() }, "arrived changed: byte 4 is wrong"),
            (StreamReport { ended: true, ..failed.clone() }, "without an error after 3 of 10 bytes"),
            (StreamReport { sender: Some(Ok(())), ..failed }, "without an error after 3 of 10 bytes"),
            (StreamReport { sender: None, stuck: true, ..report() }, "neither arrived nor failed"),
        ] {
            let violation = lie.check(0).unwrap_err().to_string();
            assert!(violation.starts_with("stream 0 from rank 0 to rank 1"), "{violation}");
            assert!(violation.ends_with(text), "{violation}");
        }
    }

    #[test]
    fn a_stream_through_a_crash_is_sent_anew_and_the_first_fails_for_nobody() {
        let mut sim = Sim::new(1, 2).links(crate::LinkModel::CAMPUS);
        let streams = Streams::new();
        streams.send(&mut sim, 0, 1, 10_000_000);
        sim.at(Duration::from_millis(50)).crash(0).then_after(Duration::from_millis(50)).restart(0);
        sim.run_for(Duration::from_secs(10)).unwrap();
        let reports = streams.reports();
        assert_eq!(reports.len(), 2);
        assert!(!reports[0].is_intact() && reports[0].sender.is_none());
        assert!(reports[1].is_intact(), "{:?}", reports[1]);
        assert_eq!(streams.check(), Ok(()));
    }
}

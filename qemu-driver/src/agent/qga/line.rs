//! The channel to the qemu guest agent: one command after the other, each with its answer, and finding out where the
//! channel is when that is not known.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::{QgaError, Request};
use crate::agent::AgentTimes;

/// The most output that the agent keeps of each kind, 16 MiB (qga/commands.c, GUEST_EXEC_MAX_OUTPUT), twice and in base 64.
const MAX_ANSWER: usize = 44 << 20;
/// How long a question stands before it is put again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long a socket may have no room before it counts as full. Nothing else is written meanwhile.
const FULL_AFTER: Duration = Duration::from_millis(100);
/// What asks the agent's parser to begin anew, and announces the answer to it.
const DELIMITER: u8 = 0xff;

/// The task's side: the socket, and what is known of the other end.
pub(super) struct Line {
    socket: UnixStream,
    received: Vec<u8>,
    /// The agent listens, and no answer is outstanding.
    synced: bool,
    /// When the agent was heard last.
    heard: Option<Instant>,
    /// The question that is not answered yet, and when it was put.
    asked: Option<(u64, Instant)>,
    last_id: u64,
}

impl Line {
    pub(super) fn new(socket: UnixStream) -> Line {
        Line { socket, received: Vec::new(), synced: false, heard: None, asked: None, last_id: 0 }
    }

    /// Has one command after the other answered, until nobody is left who could ask.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Request>, times: AgentTimes) {
        while let Some(Request { command, within, mut answer }) = queue.recv().await {
            let result = tokio::select! {
                result = self.exchange(command, times) => result,
                // Who asked has given up, or never waited.
                () = answer.closed() => Err(io::ErrorKind::TimedOut.into()),
            };
            let result = result.unwrap_or_else(|error| {
                // What was half said or is answered later has to be skipped.
                self.synced = false;
                match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::InvalidData => Err(QgaError::Silent(within)),
                    _ => {
                        tracing::debug!("the qemu guest agent's channel: {error}");
                        Err(QgaError::Closed)
                    }
                }
            });
            let closed = result == Err(QgaError::Closed);
            let _ = answer.send(result);
            if closed {
                return;
            }
        }
    }

    async fn exchange(
        &mut self,
        command: Option<Value>,
        times: AgentTimes,
    ) -> io::Result<Result<Value, QgaError>> {
        let fresh = self.heard.is_some_and(|heard| heard.elapsed() < times.ask);
        if !self.synced || command.is_none() && !fresh {
            self.sync().await?;
        }
        let Some(command) = command else { return Ok(Ok(Value::Null)) };
        self.synced = false;
        self.discard()?;
        self.socket.write_all(format!("{command}\n").as_bytes()).await?;
        loop {
            let line = self.line().await?;
            let Ok(Answer { value, error }) = serde_json::from_slice(&line) else { continue };
            self.synced = true;
            self.heard = Some(Instant::now());
            return Ok(match (value, error) {
                (Some(value), _) => Ok(value),
                (None, Some(Failure { class, desc })) => Err(QgaError::Refused(explain(&class, desc))),
                (None, None) => continue,
            });
        }
    }

    /// Makes sure that the agent listens and that the next answer is to the next command.
    async fn sync(&mut self) -> io::Result<()> {
        self.synced = false;
        loop {
            let again = match self.asked {
                Some((_, at)) if at.elapsed() < ASK_AGAIN => at + ASK_AGAIN,
                _ => {
                    self.question().await?;
                    Instant::now() + ASK_AGAIN
                }
            };
            let Ok(line) = timeout_at(again, self.line()).await else { continue };
            let line = line?;
            // The delimiter ends whatever was half said before.
            let Some(start) = line.iter().rposition(|&octet| octet == DELIMITER) else { continue };
            let Ok(Answer { value: Some(id), .. }) = serde_json::from_slice(&line[start + 1..]) else {
                continue;
            };
            if self.asked.is_some_and(|(asked, _)| id == asked) {
                self.asked = None;
                self.synced = true;
                self.heard = Some(Instant::now());
                return Ok(());
            }
        }
    }

    /// Asks the agent whether it is there, unless earlier questions lie unread.
    async fn question(&mut self) -> io::Result<()> {
        let id = self.last_id + 1;
        let question = json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } });
        let mut octets = vec![DELIMITER];
        octets.extend_from_slice(format!("{question}\n").as_bytes());
        let written = match timeout(FULL_AFTER, self.socket.writable()).await {
            Ok(writable) => {
                writable?;
                self.socket.try_write(&octets)
            }
            Err(_) => Err(io::ErrorKind::WouldBlock.into()),
        };
        match written {
            Ok(length) if length == octets.len() => self.last_id = id,
            // The kernel takes so little whole or not at all. If it did not, the next delimiter mends it; and where
            // there is no room the last question is as good.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.asked = Some((self.last_id, Instant::now()));
        Ok(())
    }

    /// Throws away what the agent said without being asked.
    fn discard(&mut self) -> io::Result<()> {
        self.received.clear();
        let mut buffer = [0; 4096];
        for _ in 0..MAX_ANSWER / buffer.len() {
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// The next line. Can be cancelled without losing anything.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|&octet| octet == b'\n') {
                return Ok(self.received.drain(..=searched + end).collect());
            }
            searched = self.received.len();
            if searched > MAX_ANSWER {
                self.received = Vec::new();
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The agent's words, and what to do where they do not say it.
fn explain(class: &str, desc: String) -> String {
    if class == "CommandNotFound" {
        format!(
            "the qemu guest agent in the guest does not run commands ({desc}); its configuration there has to allow \
             guest-exec and guest-exec-status"
        )
    } else {
        desc
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    value: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    class: String,
    #[serde(default)]
    desc: String,
}

//! A client on a control socket: frames from the socket to the hub and back.

use std::io;

use tokio::io::{AsyncBufRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::control::Stream;
use crate::session::WINDOW;
use crate::session::credit::SIGNAL_COST;
use crate::session::duplex::Outlet;
use crate::session::frame::{Frame, FrameError, HEADER_LEN};

/// What is wrong with what a client says.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("it sends more than it may")]
    Overrun,
    #[error("a client does not say that")]
    NotItsOwn,
}

/// Serves the client until one side is gone or the session is over.
pub(in crate::session) async fn attend_stream(
    stream: oneshot::Receiver<Stream>,
    mut frames: mpsc::UnboundedReceiver<Frame>,
    mut outlet: Outlet,
) {
    // Who asked may have gone before it had its answer.
    let Ok(Stream { mut reader, mut writer }) = stream.await else { return };
    let mut allowed = WINDOW;
    let (said, mut heard) = mpsc::channel(1);
    let reading = async {
        // Read in one place only: what is read halfway must not be given up.
        loop {
            let frame = read(&mut reader).await;
            let is_last = !matches!(frame, Ok(Some(_)));
            if said.send(frame).await.is_err() || is_last {
                return std::future::pending().await;
            }
        }
    };
    let passing = async {
        loop {
            tokio::select! {
                frame = frames.recv() => {
                    let Some(frame) = frame else { return Ok(()) };
                    if let Frame::Credit(octets) = frame {
                        allowed = allowed.saturating_add(octets);
                    }
                    let over = matches!(frame, Frame::Done(_));
                    writer.write_all(&frame.to_bytes()).await?;
                    if over {
                        outlet.say(Frame::Close);
                        return Ok(writer.shutdown().await?);
                    }
                }
                Some(frame) = heard.recv() => match frame? {
                    Some(frame) => pass(frame, &mut allowed, &mut outlet)?,
                    None => return Ok::<_, ClientError>(()),
                },
            }
        }
    };
    let done = tokio::select! {
        done = passing => done,
        () = reading => Ok(()),
    };
    if let Err(error) = done {
        tracing::debug!("a session's client: {error}");
    }
}

/// Hands over what a client says, if it may.
fn pass(frame: Frame, allowed: &mut u32, outlet: &mut Outlet) -> Result<(), ClientError> {
    let cost = match &frame {
        Frame::Data(data) => u32::try_from(data.len()).unwrap_or(u32::MAX),
        Frame::Signal(_) => SIGNAL_COST,
        Frame::End | Frame::Close | Frame::Credit(_) => 0,
        Frame::Error(_) | Frame::Done(_) => return Err(ClientError::NotItsOwn),
    };
    *allowed = allowed.checked_sub(cost).ok_or(ClientError::Overrun)?;
    outlet.say(frame);
    Ok(())
}

/// The next frame; none at the end of the connection.
async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Frame>, ClientError> {
    let mut header = [0; HEADER_LEN];
    match reader.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (kind, len) = Frame::read_header(header)?;
    let mut payload = vec![0; len];
    reader.read_exact(&mut payload).await?;
    Ok(Some(Frame::read(kind, &payload)?))
}

//! One command on our own agent's channel: moving what its caller and the guest have to say, as the windows allow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::Instrument;

use super::channel::Shared;
use super::wire::{Body, CHUNK, MAX_PAYLOAD, cost_of};
use super::{ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, GuestCall, Input};

/// How much standard input, in octets, is read ahead of what the guest has room for, so that a signal behind it is seen.
pub(super) const LOOKAHEAD: usize = 256 << 10;
/// How many pieces of input and output wait for the one who called, or who runs the command.
const PIECES: usize = 8;
/// How long a last word may take that is not worth waiting for.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The signal for a command that was started too late.
const SIGTERM: u8 = 15;

/// A session that is under way. Dropping it leaves it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u32,
    /// The life of the channel that it belongs to.
    pub(super) life: u64,
    /// What the guest says. Its end is the life's.
    pub(super) incoming: mpsc::UnboundedReceiver<Body>,
    /// How much data the guest has room for.
    pub(super) credit: Arc<Semaphore>,
    pub(super) shared: Arc<Shared>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.leave(self.life, self.id);
    }
}

/// The sending half of a session.
#[derive(Clone, Debug)]
struct Outgoing {
    id: u32,
    life: u64,
    credit: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Session {
    fn outgoing(&self) -> Outgoing {
        let Session { id, life, credit, shared, .. } = self;
        Outgoing { id: *id, life: *life, credit: Arc::clone(credit), shared: Arc::clone(shared) }
    }
}

impl Outgoing {
    async fn send(&self, body: Body) -> Result<(), ExecError> {
        self.shared.send(self.life, self.id, body).await
    }

    /// Waits for room for so much data.
    async fn room_for(&self, data_len: usize) {
        // A life's end is seen by who receives.
        if let Ok(permits) = self.credit.acquire_many(cost_of(data_len)).await {
            permits.forget();
        }
    }

    /// Sends data in pieces as there is room.
    async fn data(&self, data: &[u8], body: fn(Vec<u8>) -> Body) -> Result<(), ExecError> {
        for piece in data.chunks(CHUNK) {
            self.room_for(piece.len()).await;
            self.send(body(piece.to_vec())).await?;
        }
        Ok(())
    }

    async fn grant(&self, cost: u32) -> Result<(), ExecError> {
        self.shared.grant(self.life, self.id, cost).await
    }
}

/// Has the guest run a command, to its end.
pub(super) async fn run(
    mut session: Session,
    request: ExecRequest,
    input: Input,
    output: mpsc::Sender<ExecOutput>,
    within: Duration,
) -> Result<ExecEnd, ExecError> {
    let outgoing = session.outgoing();
    let takes_input = request.stdin;
    let open = Body::Open { request, host: None };
    if open.payload_len() > MAX_PAYLOAD {
        return Err(ExecError::Refused(format!("the command's words take more than {MAX_PAYLOAD} octets")));
    }
    let opening = async {
        outgoing.send(open).await?;
        session.incoming.recv().await.ok_or_else(|| outgoing.shared.lost())
    };
    match timeout(within, opening).await {
        Ok(Ok(Body::Opened)) => {}
        Ok(Ok(Body::Error(error)) | Err(error)) => return Err(error),
        Ok(Ok(_)) => return Err(ExecError::Lost("the agent answered with something else".into())),
        Err(_) => {
            // Should it come to start it after all.
            let _ = timeout(LAST_WORDS, outgoing.send(Body::Signal(SIGTERM))).await;
            let within = within.as_secs_f32();
            return Err(ExecError::Lost(format!("it did not say within {within} s that the command runs")));
        }
    }
    let feeding = feed(&outgoing, input, takes_input);
    let listening = listen(&outgoing, &mut session.incoming, &output);
    tokio::pin!(listening);
    tokio::select! {
        biased;
        end = &mut listening => return end,
        () = feeding => {}
    }
    listening.await
}

/// Gives the command its standard input and signals, until nobody sends any more.
async fn feed(outgoing: &Outgoing, mut input: Input, takes_input: bool) {
    let mut waiting: VecDeque<Vec<u8>> = VecDeque::new();
    let mut waiting_len = 0;
    let mut end_came = false;
    let mut end_sent = !takes_input;
    let mut open = true;
    while open || !end_sent {
        let first_len = waiting.front().map(Vec::len);
        let sent = tokio::select! {
            biased;
            item = input.recv(), if open && waiting_len < LOOKAHEAD => match item {
                Some(ExecInput::Signal(number)) => match u8::try_from(number) {
                    Ok(number) => outgoing.send(Body::Signal(number)).await,
                    Err(_) => Ok(()),
                },
                Some(ExecInput::Stdin(data)) => {
                    if !end_came && !end_sent {
                        waiting_len += data.len();
                        waiting.extend(data.chunks(CHUNK).map(<[u8]>::to_vec));
                    } else {
                        input.used(data.len());
                    }
                    Ok(())
                }
                Some(ExecInput::StdinEnd) => {
                    end_came = true;
                    Ok(())
                }
                None => {
                    end_came = true;
                    open = false;
                    Ok(())
                }
            },
            () = outgoing.room_for(first_len.unwrap_or_default()), if first_len.is_some() => {
                let piece = waiting.pop_front().unwrap_or_default();
                waiting_len -= piece.len();
                input.used(piece.len());
                outgoing.send(Body::Stdin(piece)).await
            }
        };
        if sent.is_err() {
            return;
        }
        if end_came && waiting.is_empty() && !end_sent {
            end_sent = true;
            if outgoing.send(Body::StdinEnd).await.is_err() {
                return;
            }
        }
    }
}

/// Passes on output until the command has ended.
async fn listen(
    outgoing: &Outgoing,
    incoming: &mut mpsc::UnboundedReceiver<Body>,
    output: &mpsc::Sender<ExecOutput>,
) -> Result<ExecEnd, ExecError> {
    loop {
        let body = incoming.recv().await.ok_or_else(|| outgoing.shared.lost())?;
        let cost = body.cost();
        // Where nobody takes the output it is thrown away.
        match body {
            Body::Stdout(data) => drop(output.send(ExecOutput::Stdout(data)).await),
            Body::Stderr(data) => drop(output.send(ExecOutput::Stderr(data)).await),
            Body::Exit(end) => return Ok(end),
            Body::Error(error) => return Err(error),
            _ => {}
        }
        if cost > 0 {
            outgoing.grant(cost).await?;
        }
    }
}

/// Serves a command that the guest wants to have run elsewhere, in a task of its own.
pub(super) fn serve(
    mut session: Session,
    host: String,
    request: ExecRequest,
    place: mpsc::OwnedPermit<GuestCall>,
) {
    let (to_command, input) = mpsc::channel(PIECES);
    let (output, from_command) = mpsc::channel(PIECES);
    let (end, ended) = oneshot::channel();
    place.send(GuestCall { host, request, input, output, end });
    let serving = async move {
        let outgoing = session.outgoing();
        tokio::select! {
            // Ends first with the caller, or the channel's life.
            () = hear(&outgoing, &mut session.incoming, to_command) => {}
            () = answer(&outgoing, from_command, ended) => {}
        }
    };
    tokio::spawn(serving.in_current_span());
}

/// Passes on what the caller in the guest sends, signals first.
async fn hear(
    outgoing: &Outgoing,
    incoming: &mut mpsc::UnboundedReceiver<Body>,
    to_command: mpsc::Sender<ExecInput>,
) {
    let mut waiting: VecDeque<(ExecInput, u32)> = VecDeque::new();
    loop {
        // Nobody else sends: room that there is stays.
        let room = async {
            match waiting.is_empty() {
                false => drop(to_command.reserve().await),
                true => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            body = incoming.recv() => {
                let Some(body) = body else { return };
                let cost = body.cost();
                match body {
                    Body::Stdin(data) => waiting.push_back((ExecInput::Stdin(data), cost)),
                    Body::StdinEnd => waiting.push_back((ExecInput::StdinEnd, 0)),
                    Body::Signal(number) => waiting.push_front((ExecInput::Signal(number.into()), 0)),
                    // Whoever serves it hears that too, whether it reads or not.
                    Body::Close => return,
                    _ => {}
                }
            }
            () = room => {
                let Some((item, cost)) = waiting.pop_front() else { continue };
                // Where nobody takes it any more it is thrown away.
                let _ = to_command.try_send(item);
                if cost > 0 && outgoing.grant(cost).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Gives the caller in the guest the output of its command and how it ended.
async fn answer(
    outgoing: &Outgoing,
    mut output: mpsc::Receiver<ExecOutput>,
    mut ended: oneshot::Receiver<Result<ExecEnd, ExecError>>,
) {
    let mut end = None;
    loop {
        let piece = tokio::select! {
            biased;
            said = &mut ended, if end.is_none() => {
                end = Some(said.unwrap_or_else(|_| Err(ExecError::Lost("the host gave it up".into()))));
                output.close();
                continue;
            }
            piece = output.recv() => piece,
        };
        let sent = match piece {
            Some(ExecOutput::Stdout(data)) => outgoing.data(&data, Body::Stdout).await,
            Some(ExecOutput::Stderr(data)) => outgoing.data(&data, Body::Stderr).await,
            None if end.is_some() => break,
            None => {
                end = Some(
                    (&mut ended).await.unwrap_or_else(|_| Err(ExecError::Lost("the host gave it up".into()))),
                );
                break;
            }
        };
        if sent.is_err() {
            return;
        }
    }
    let last = match end {
        Some(Ok(end)) => Body::Exit(end),
        Some(Err(error)) => Body::Error(error),
        None => return,
    };
    let _ = outgoing.send(last).await;
}

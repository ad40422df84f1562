//! Commands that commands of a guest want to have run in other guests.

use mvpnet_qemu_driver::agent::{ExecEnd, ExecError, ExecInput, ExecOutput, ExecRequest, GuestCall};
use tokio::sync::{mpsc, oneshot};

use super::fabric::{Node, start, stop};

struct Caller {
    input: mpsc::Sender<ExecInput>,
    output: mpsc::Receiver<ExecOutput>,
    end: oneshot::Receiver<Result<ExecEnd, ExecError>>,
}

async fn call(node: &Node, host: &str, words: &str) -> Caller {
    let (input, inputs) = mpsc::channel(1);
    let (outputs, output) = mpsc::channel(1);
    let (ends, end) = oneshot::channel();
    let argv = words.split(' ').map(str::to_owned).collect();
    let request = ExecRequest { argv, user: Some("mpi".into()), ..ExecRequest::default() };
    let call = GuestCall { host: host.into(), request, input: inputs, output: outputs, end: ends };
    node.sessions.calls().send(call).await.unwrap();
    Caller { input, output, end }
}

impl Caller {
    async fn finish(mut self) -> (Vec<u8>, Result<ExecEnd, ExecError>) {
        let mut said = Vec::new();
        while let Some(ExecOutput::Stdout(data) | ExecOutput::Stderr(data)) = self.output.recv().await {
            said.extend(data);
        }
        (said, self.end.await.unwrap())
    }
}

#[tokio::test]
async fn a_guest_reaches_every_guest_by_name_as_the_same_user() {
    let nodes = start(3, 0);
    for host in ["n0000", "n0002", "1", "10.0.0.2"] {
        let (said, end) = call(&nodes[1], host, "whoami").await.finish().await;
        assert_eq!((said.as_slice(), end), (&b"mpi"[..], Ok(ExecEnd::Exited(0))), "{host}");
    }
    let (_, end) = call(&nodes[1], "n0003", "whoami").await.finish().await;
    assert_eq!(end, Err(ExecError::Refused("no guest is called n0003".into())));
    stop(nodes).await;
}

#[tokio::test]
async fn what_a_guest_sends_and_gets_is_whole_and_waits_for_whom_is_slow() {
    let nodes = start(2, 0);
    let mut caller = call(&nodes[1], "n0000", "cat").await;
    let data: Vec<u8> = (0..400_000_u32).map(|n| (n % 253) as u8).collect();
    let sending = {
        let (input, data) = (caller.input.clone(), data.clone());
        tokio::spawn(async move {
            for piece in data.chunks(50_000) {
                input.send(ExecInput::Stdin(piece.to_vec())).await.unwrap();
            }
            input.send(ExecInput::StdinEnd).await.unwrap();
        })
    };
    let mut said = Vec::new();
    while let Some(ExecOutput::Stdout(piece)) = caller.output.recv().await {
        said.extend(piece);
    }
    sending.await.unwrap();
    assert!(said == data);
    assert_eq!(caller.end.await.unwrap(), Ok(ExecEnd::Exited(0)));
    stop(nodes).await;
}

#[tokio::test]
async fn signals_pass_and_a_caller_that_goes_ends_its_command() {
    let nodes = start(2, 0);
    let caller = call(&nodes[0], "n0001", "sleep").await;
    caller.input.send(ExecInput::Signal(2)).await.unwrap();
    assert_eq!(caller.finish().await.1, Ok(ExecEnd::Killed(2)));
    let running = nodes[1].commands.running.clone();
    let caller = call(&nodes[0], "n0001", "sleep").await;
    let count = || running.load(std::sync::atomic::Ordering::SeqCst);
    super::fabric::until("it runs", || count() == 1).await;
    drop(caller);
    super::fabric::until("it is over", || count() == 0).await;
    stop(nodes).await;
}

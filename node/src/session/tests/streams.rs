//! Commands, consoles and ports, at the same rank and at others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::fabric::{command, start, stop, to_the_end, until};
use crate::session::{Outcome, Service, SessionEvent};

#[tokio::test]
async fn a_command_has_its_output_errors_and_code_at_any_rank() {
    let nodes = start(3, 0);
    for rank in 0..3 {
        let said = nodes[0].exec(rank, "echo hello there", b"").await;
        assert_eq!((said.output.as_slice(), said.outcome), (&b"hello there"[..], Outcome::Exited(0)));
        let said = nodes[2].exec(rank, "fail 7", b"").await;
        assert_eq!((said.error.as_slice(), said.outcome), (&b"no such luck"[..], Outcome::Exited(7)));
    }
    let said = nodes[0].exec(1, "dance", b"").await;
    assert_eq!(said.outcome, Outcome::Failed("dance: no such program".into()));
    let said = nodes[0].exec(1, "lost", b"").await;
    assert!(matches!(&said.outcome, Outcome::Failed(why) if why.contains("it rebooted")), "{said:?}");
    stop(nodes).await;
}

#[tokio::test]
async fn megabytes_pass_in_both_directions_of_many_sessions_at_once() {
    let nodes = start(2, 0);
    let data: Vec<u8> = (0..1_500_000_u32).map(|n| (n % 251) as u8).collect();
    let sessions = (0..24).map(|n| nodes[n % 2].exec((n as u32 / 2) % 2, "cat", &data));
    for said in join_all(sessions).await {
        assert_eq!(said.outcome, Outcome::Exited(0));
        assert!(said.output == data, "{} octets came back", said.output.len());
    }
    stop(nodes).await;
}

#[tokio::test]
async fn a_signal_reaches_a_command_and_comes_back_as_its_end() {
    let nodes = start(2, 0);
    let session = nodes[0].open(1, command("sleep")).await.unwrap();
    session.input().signal(15).unwrap();
    assert_eq!(to_the_end(session).await.outcome, Outcome::Killed(15));
    stop(nodes).await;
}

#[tokio::test]
async fn a_signal_overtakes_input_that_is_not_read() {
    let nodes = start(2, 0);
    let session = nodes[0].open(1, command("sleep")).await.unwrap();
    let (mut input, signals) = (session.input(), session.input());
    let sending = std::thread::spawn(move || input.write_all(&[0; 1 << 20]));
    let waiting = tokio::spawn(to_the_end(session));
    let credit = || signals.room() == 0;
    until("the window is full", credit).await;
    signals.signal(9).unwrap();
    assert_eq!(waiting.await.unwrap().outcome, Outcome::Killed(9));
    assert!(sending.join().unwrap().is_err());
    stop(nodes).await;
}

#[tokio::test]
async fn a_client_that_goes_ends_its_command() {
    let nodes = start(2, 0);
    let running = nodes[1].commands.running.clone();
    let session = nodes[0].open(1, command("sleep")).await.unwrap();
    until("the command runs", || running.load(Ordering::SeqCst) == 1).await;
    drop(session);
    until("the command is over", || running.load(Ordering::SeqCst) == 0).await;
    stop(nodes).await;
}

#[tokio::test]
async fn the_console_shows_what_is_kept_then_what_comes() {
    let mut nodes = start(2, 0);
    nodes[1].write("booting\r\n").await;
    let console = nodes[1].console.clone();
    assert!(console.wait_for("booting").await);
    let kept = nodes[0].open(1, Service::Console { follow: false }).await.unwrap();
    let said = to_the_end(kept).await;
    assert_eq!((said.output.as_slice(), said.outcome), (&b"booting\r\n"[..], Outcome::Closed));

    let mut live = nodes[0].open(1, Service::Console { follow: true }).await.unwrap();
    let (mut live, first) = tokio::task::spawn_blocking(move || {
        let first = live.next_event();
        (live, first)
    })
    .await
    .unwrap();
    assert_eq!(first, SessionEvent::Output(b"booting\r\n".to_vec()));
    nodes[1].write("login: ").await;
    let next = tokio::task::spawn_blocking(move || {
        let next = live.next_event();
        (live, next)
    });
    let (live, next) = next.await.unwrap();
    assert_eq!(next, SessionEvent::Output(b"login: ".to_vec()));
    drop(nodes[1].screen.take());
    assert_eq!(to_the_end(live).await.outcome, Outcome::Closed);
    stop(nodes).await;
}

#[tokio::test]
async fn the_port_is_a_connection_with_both_of_its_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nodes = start(2, listener.local_addr().unwrap().port());
    let sshd = std::thread::spawn(move || {
        let mut connection = listener.accept().unwrap().0;
        connection.write_all(b"SSH-2.0-made-up\r\n").unwrap();
        let mut heard = Vec::new();
        connection.read_to_end(&mut heard).unwrap();
        connection.write_all(&heard.len().to_be_bytes()).unwrap();
        drop(connection);
        listener
    });
    let session = nodes[0].open(1, Service::Port).await.unwrap();
    let mut input = session.input();
    let sending = std::thread::spawn(move || {
        input.write_all(&vec![7; 300_000])?;
        input.end()
    });
    let said = to_the_end(session).await;
    sending.join().unwrap().unwrap();
    assert_eq!(said.outcome, Outcome::Closed);
    assert_eq!(said.output, [&b"SSH-2.0-made-up\r\n"[..], &300_000_usize.to_be_bytes()[..]].concat());
    drop(sshd.join().unwrap());
    let refused = to_the_end(nodes[0].open(1, Service::Port).await.unwrap()).await;
    assert!(
        matches!(&refused.outcome, Outcome::Failed(why) if why.contains("ssh port of rank 1")),
        "{refused:?}"
    );
    stop(nodes).await;
}

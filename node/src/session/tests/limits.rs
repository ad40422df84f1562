//! What is refused, and how sessions end that nobody ended.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;

use super::fabric::{command, start, stop, to_the_end, until};
use crate::session::services::{Commands, Facilities};
use crate::session::{Frame, MAX_DATA, MAX_SERVED, Outcome, Service, WINDOW};

#[tokio::test]
async fn ranks_that_the_job_has_not_are_refused_at_once() {
    let nodes = start(2, 0);
    let error = nodes[0].open(2, Service::Port).await.unwrap_err();
    assert_eq!(error, "this job has no rank 2: its ranks are 0 to 1");
    let long = command(&"x".repeat(30_000));
    let error = nodes[0].open(1, long).await.unwrap_err();
    assert!(error.contains("at most 24576 can be sent"), "{error}");
    stop(nodes).await;
}

#[tokio::test]
async fn a_rank_has_so_many_sessions_and_no_more_until_some_end() {
    let nodes = start(2, 0);
    let mut open = Vec::new();
    for _ in 0..MAX_SERVED {
        open.push(nodes[0].open(1, command("sleep")).await.unwrap());
    }
    let running = nodes[1].commands.running.clone();
    until("all run", || running.load(Ordering::SeqCst) == MAX_SERVED).await;
    let refused = nodes[0].exec(1, "echo", b"").await;
    assert_eq!(
        refused.outcome,
        Outcome::Failed("rank 1 has 256 sessions already; wait until some end".into())
    );
    assert_eq!(nodes[0].exec(0, "echo", b"").await.outcome, Outcome::Exited(0), "other ranks have room");
    open.truncate(MAX_SERVED / 2);
    until("half of them are over", || running.load(Ordering::SeqCst) == MAX_SERVED / 2).await;
    assert_eq!(nodes[0].exec(1, "echo", b"").await.outcome, Outcome::Exited(0));
    stop(nodes).await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_nobody_up() {
    let nodes = start(2, 0);
    let deaf = nodes[0].open(1, command("flood 10000000")).await.unwrap();
    let running = nodes[1].commands.running.clone();
    until("the flood runs", || running.load(Ordering::SeqCst) == 1).await;
    let said = nodes[0].exec(1, "flood 3000000", b"").await;
    assert_eq!((said.output.len(), said.outcome), (3_000_000, Outcome::Exited(0)));
    assert_eq!(running.load(Ordering::SeqCst), 1, "the flood waits for its reader");
    assert_eq!(to_the_end(deaf).await.output.len(), 10_000_000);
    stop(nodes).await;
}

#[tokio::test]
async fn sessions_of_a_guest_that_goes_off_end_and_say_so() {
    let nodes = start(2, 0);
    let session = nodes[0].open(1, command("sleep")).await.unwrap();
    let running = nodes[1].commands.running.clone();
    until("it runs", || running.load(Ordering::SeqCst) == 1).await;
    nodes[1].sessions.guest(None);
    assert_eq!(to_the_end(session).await.outcome, Outcome::Failed("the guest of rank 1 is off".into()));
    let refused = nodes[0].exec(1, "echo", b"").await;
    assert_eq!(refused.outcome, Outcome::Failed("the guest of rank 1 does not run".into()));
    stop(nodes).await;
}

#[tokio::test]
async fn clients_hear_of_the_end_of_the_job() {
    let nodes = start(2, 0);
    let session = nodes[0].open(1, command("sleep")).await.unwrap();
    let waiting = tokio::spawn(to_the_end(session));
    nodes[0].sessions.close().await;
    assert_eq!(waiting.await.unwrap().outcome, Outcome::Failed("the job has ended".into()));
    stop(nodes).await;
}

#[tokio::test]
async fn a_rank_that_has_left_the_job_ends_its_sessions() {
    let mut nodes = start(3, 0);
    let open = nodes[0].open(1, command("sleep")).await.unwrap();
    let running = nodes[1].commands.running.clone();
    until("it runs", || running.load(Ordering::SeqCst) == 1).await;
    nodes[1].stop_loop();
    // The next word that it is told finds it gone.
    open.input().signal(2).unwrap();
    assert_eq!(to_the_end(open).await.outcome, Outcome::Failed("rank 1 has left the job".into()));
    assert_eq!(
        nodes[0].exec(1, "echo", b"").await.outcome,
        Outcome::Failed("rank 1 has left the job".into())
    );
    assert_eq!(nodes[0].exec(2, "echo", b"").await.outcome, Outcome::Exited(0));
    nodes.remove(1);
    stop(nodes).await;
}

#[tokio::test]
async fn a_program_that_says_what_is_no_frame_or_too_much_is_cut_off() {
    let nodes = start(2, 0);
    let running = nodes[1].commands.running.clone();
    let piece = Frame::Data(vec![0; MAX_DATA]).to_bytes();
    let too_much = piece.repeat(WINDOW as usize / MAX_DATA + 1);
    let others = Frame::Done(Outcome::Closed).to_bytes();
    for said in [&b"\xff\0\0\0\0"[..], b"\0\xff\xff\xff\xff", b"\x03\0\0\0\x01x", &others, &too_much] {
        let mut stream = nodes[0].connect(1, command("deaf")).await.unwrap();
        until("it runs", || running.load(Ordering::SeqCst) == 1).await;
        stream.write_all(said).unwrap();
        let closed = tokio::task::spawn_blocking(move || {
            let mut rest = Vec::new();
            // Closed with what was said unread, or without.
            let _ = stream.read_to_end(&mut rest);
        });
        closed.await.unwrap();
        until("it is over", || running.load(Ordering::SeqCst) == 0).await;
    }
    stop(nodes).await;
}

#[tokio::test]
async fn without_exec_commands_are_refused_and_the_console_is_not() {
    let nodes = start(1, 0);
    nodes[0].sessions.guest(Some(Facilities {
        console: nodes[0].console.clone(),
        console_input: None,
        commands: Commands::Forbidden,
        ssh_port: 0,
    }));
    let refused = nodes[0].exec(0, "echo", b"").await;
    assert!(matches!(&refused.outcome, Outcome::Failed(why) if why.contains("--no-exec")), "{refused:?}");
    let console = nodes[0].open(0, Service::Console { follow: false }).await.unwrap();
    assert_eq!(to_the_end(console).await.outcome, Outcome::Closed);
    stop(nodes).await;
}

//! `mvpnet-frame-path [KIND] GENERATOR`: a rank's frame loop and nothing else, to be looked at by a profiler.
//!
//! Run by `mpirun -n N`, each rank starts its generator on a link of that kind (stream, if nothing is said) in place of
//! qemu's and runs mvpnet's own frame loop as in an MPI job, without the processes and the control plane of a job, which a profiler would have to tell
//! apart. It ends with its generator, and says in one line of JSON how many frames went which way.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use mvpnet_node::{
    clock::Clock,
    frame_loop::{Command, GuestEnd, LoopHandle, RankLoop, mailbox},
};
use mvpnet_switch::{Config, Switch};
use mvpnet_transports::{
    Transport,
    mpi::{MpiConfig, MpiTransport},
};
use serde_json::json;

use crate::loadgen::stand_in;

/// What the benchmark's frames need.
const MTU: u32 = 9000;
/// How long the end may take.
const DRAIN: Duration = Duration::from_secs(5);

/// The program, on its arguments without its name.
pub fn main(args: Vec<String>) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        [generator] => run("stream", generator),
        [kind, generator] => run(kind, generator),
        _ => {
            eprintln!("usage: mpirun -n N mvpnet-frame-path [stream|dgram|vhost-user] GENERATOR");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mvpnet-frame-path: {error:#}");
            std::process::exit(1)
        }
    }
}

fn run(kind: &str, generator: &str) -> anyhow::Result<()> {
    let kind = stand_in::kind_named(kind)?;
    let transport = MpiTransport::init(MpiConfig::default())?;
    let (me, world) = (transport.me(), transport.world());
    let (handle, inbox, _events) = mailbox()?;
    let (child, socket) = stand_in::start(generator.as_ref(), kind, me.index())?;
    handle.send(Command::Attach(GuestEnd { kind, socket, guest_path: None }));
    let watch = std::thread::spawn(move || stop_with(child, &handle));
    let switch = Switch::new(Config { mtu: MTU, ..Config::new(me, world) });
    let end = RankLoop::new(switch, transport, Clock::start(), inbox, None).run();
    let counters = end.switch.counters();
    println!(
        "{}",
        json!({
            "rank": me.index(), "pid": std::process::id(),
            "from_guest": counters.guest.received.frames, "to_guest": counters.guest.sent.frames,
        })
    );
    let report = end.transport.close(DRAIN, 1);
    ensure!(report.all_met, "the ranks did not meet at the end: {report:?}");
    watch.join().expect("waiting for a child does not panic")
}

/// Waits for the generator's end and ends the loop.
fn stop_with(mut child: std::process::Child, handle: &LoopHandle) -> anyhow::Result<()> {
    let status = child.wait();
    handle.send(Command::Stop);
    let status = status.context("cannot wait for the generator")?;
    ensure!(status.success(), "the generator ended with {status}");
    Ok(())
}

//! `mvpnet-bare-relay`: what the same rings carry between two guests' links when nobody looks at a frame: the mark that
//! the switch is measured against.
//!
//! Each rank starts its generator in a guest's place and moves bytes: what is there to read goes into a draft of the
//! transport and leaves as it is; what a batch brings is written; when there is nothing to do the rank yields the core. It
//! cannot switch, count, drop, capture or sleep. It ends when either generator has closed its link and all that was under
//! way has arrived.
//!
//! | call | what moves the bytes |
//! | --- | --- |
//! | `mpirun -n 2 mvpnet-bare-relay mpi KIND GENERATOR` | the `mpi` transport between two processes (feature `mpi`) |
//! | `mvpnet-bare-relay threads KIND GENERATOR` | the `mem` transport between two threads |
//! | `mvpnet-bare-relay copy GENERATOR` | one thread that copies between the rings of two vhost-user links, no transport |
//! | `mvpnet-bare-relay sleepers GENERATOR` | two threads that wait in `poll`, between stream links, no transport |
//! | `mpirun -n 2 mvpnet-bare-relay messages SECONDS` | no links: messages of 64 KiB, MPI alone (feature `mpi`) |
//!
//! KIND is stream, dgram or vhost-user.

mod copy;
mod end;
#[cfg(feature = "mpi")]
mod ffi;
#[cfg(feature = "mpi")]
mod messages;
mod pump;
mod sleepers;

use std::{
    ffi::OsStr,
    process::{Child, ExitCode},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_switch::World;
use mvpnet_transports::{Transport, mem};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use self::{end::End, pump::Pump};
use crate::{
    loadgen::stand_in,
    wall::{nap, now},
};

/// How long a generator may take to end once its link is closed.
const ENDING: Duration = Duration::from_secs(5);

/// Turns without work between two looks whether the generator lives.
const LOOK: u32 = 1024;

const USAGE: &str = "usage: mpirun -n 2 mvpnet-bare-relay mpi stream|dgram|vhost-user GENERATOR
       mvpnet-bare-relay threads stream|dgram|vhost-user GENERATOR
       mvpnet-bare-relay copy GENERATOR
       mvpnet-bare-relay sleepers GENERATOR
       mpirun -n 2 mvpnet-bare-relay messages SECONDS";

/// The program, on its arguments without its name.
pub fn main(args: Vec<String>) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["mpi", kind, generator] => over_mpi(kind, generator),
        ["threads", kind, generator] => over_threads(kind, generator),
        ["copy", generator] => copy::run(generator),
        ["sleepers", generator] => sleepers::run(generator),
        ["messages", seconds] => messages(seconds),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mvpnet-bare-relay: {error:#}");
            // Without finalizing MPI, so that mpirun ends the other rank too.
            std::process::exit(1)
        }
    }
}

fn over_threads(kind: &str, generator: &str) -> anyhow::Result<()> {
    let kind = stand_in::kind_named(kind)?;
    let ends = mem::fabric(World::new(2)?)?;
    let threads: Vec<_> = ends
        .into_iter()
        .map(|transport| {
            let generator = generator.to_owned();
            std::thread::spawn(move || carry(transport, kind, generator.as_ref()).map(drop))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a rank panicked"))??;
    }
    Ok(())
}

#[cfg(feature = "mpi")]
fn over_mpi(kind: &str, generator: &str) -> anyhow::Result<()> {
    use mvpnet_transports::mpi::{MpiConfig, MpiTransport};
    let transport = MpiTransport::init(MpiConfig::default())?;
    let size = transport.world().size();
    ensure!(size == 2, "needs two ranks, has {size}; was it built for another MPI than this mpirun's?");
    let transport = carry(transport, stand_in::kind_named(kind)?, generator.as_ref())?;
    // Where MPI hangs in finalising, all is done already.
    let report = transport.close(ENDING, 0);
    ensure!(report.all_met, "the ranks did not meet at the end: {report:?}");
    Ok(())
}

#[cfg(not(feature = "mpi"))]
fn over_mpi(_: &str, _: &str) -> anyhow::Result<()> {
    bail!("built without MPI")
}

#[cfg(feature = "mpi")]
fn messages(seconds: &str) -> anyhow::Result<()> {
    messages::run(Duration::try_from_secs_f64(seconds.parse()?)?)
}

#[cfg(not(feature = "mpi"))]
fn messages(_: &str) -> anyhow::Result<()> {
    bail!("built without MPI")
}

/// One rank's part, to the end; gives the transport back.
fn carry<T: Transport>(transport: T, kind: LinkKind, generator: &OsStr) -> anyhow::Result<T> {
    let (mut child, link) = stand_in::start(generator, kind, transport.me().index())?;
    let mut pump = Pump::new(transport, End::new(kind, link)?)?;
    let mut idle = 0_u32;
    while !pump.is_over() {
        if pump.turn()? {
            continue;
        }
        idle = idle.wrapping_add(1);
        if idle.is_multiple_of(LOOK) && child.try_wait()?.is_some() {
            pump.note_the_end();
        }
        std::thread::yield_now();
    }
    let transport = pump.finish();
    if kind == LinkKind::Dgram && child.try_wait()?.is_none() {
        // It does not see that nobody is there any more. Its number is not used again before we have waited for it.
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    }
    reap(&mut child)?;
    Ok(transport)
}

/// Waits for a generator whose link is closed.
fn reap(child: &mut Child) -> anyhow::Result<()> {
    let start = now();
    while start.elapsed() < ENDING {
        if let Some(status) = child.try_wait().context("cannot wait for the generator")? {
            ensure!(status.success(), "the generator ended with {status}");
            return Ok(());
        }
        nap(Duration::from_millis(5));
    }
    child.kill()?;
    child.wait()?;
    bail!("the generator did not end within {ENDING:?} and was killed")
}

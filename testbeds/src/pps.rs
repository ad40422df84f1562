//! What stands behind `mvpnet-pps`: short frames, as many per second as an interface takes or at a rate, and the
//! count of those that come in at another interface.
//!
//! Frames are sent through a packet socket and counted by the receiving interface itself, so that neither end does
//! more per frame than it has to. Each is Ethernet, IPv4 and UDP between two addresses of RFC 2544's range for
//! measurements, which no host of a test has: the receiver's IP drops them at once and answers nothing. Results are
//! one line of JSON on standard output.

mod frames;

use std::{fs, io, io::IoSlice, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MultiHeaders;
use serde::{Deserialize, Serialize};

use crate::wall::{nap, now};
use crate::wire::{BURST, Use, Wire};

/// Sends or counts frames on an interface.
#[derive(Debug, Parser)]
#[command(name = "mvpnet-pps", version)]
struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send frames
    Send(Send),
    /// Count the frames that come in
    Count(Count),
}

#[derive(Debug, Args)]
struct Send {
    /// The interface
    interface: String,
    /// The destination's MAC address
    #[arg(value_parser = frames::parse_mac)]
    to: [u8; 6],
    /// Length of a frame, bytes, without FCS
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(42..=9014))]
    size: u16,
    /// How long
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Frames per second; without it as many as the interface takes
    #[arg(long)]
    rate: Option<f64>,
    /// Frames belong to so many flows, in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    flows: u16,
}

#[derive(Debug, Args)]
struct Count {
    /// The interface
    interface: String,
    /// When to begin
    #[arg(long, default_value_t = 0.0)]
    after: f64,
    /// How long
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// Frames that the interface took.
    pub frames: u64,
    /// Frames that it did not take: the next queue was full.
    pub refused: u64,
    /// How long that took.
    pub seconds: f64,
}

/// What came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    /// Frames, whoever sent them.
    pub frames: u64,
    /// In this time.
    pub seconds: f64,
}

/// The program.
pub fn main() -> ExitCode {
    let line = match Options::parse().action {
        Action::Send(what) => send(&what).and_then(|sent| Ok(serde_json::to_string(&sent)?)),
        Action::Count(what) => count(&what).and_then(|counted| Ok(serde_json::to_string(&counted)?)),
    };
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("mvpnet-pps: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn send(what: &Send) -> anyhow::Result<Sent> {
    let wire = Wire::open(&what.interface, Use::Send)?;
    let flows: Vec<Vec<u8>> = (0..what.flows)
        .map(|flow| frames::udp(wire.address(), what.to, usize::from(what.size), flow))
        .collect();
    // One more burst than there are flows: a burst may begin at any of them.
    let slices: Vec<[IoSlice<'_>; 1]> =
        flows.iter().cycle().take(flows.len() + BURST).map(|frame| [IoSlice::new(frame)]).collect();
    let mut headers = MultiHeaders::preallocate(BURST, None);
    let limit = Duration::from_secs_f64(what.seconds);
    let start = now();
    let mut sent = Sent::default();
    loop {
        let elapsed = start.elapsed();
        let done = sent.frames + sent.refused;
        let due = what.rate.map(|rate| (elapsed.min(limit).as_secs_f64() * rate) as u64 - done);
        if elapsed >= limit && due.unwrap_or(0) == 0 {
            sent.seconds = elapsed.as_secs_f64();
            return Ok(sent);
        }
        if due == Some(0) {
            nap(Duration::from_micros(50));
            continue;
        }
        let first = (done % u64::from(what.flows)) as usize;
        let count = due.map_or(BURST, |due| BURST.min(due as usize));
        match wire.send(&mut headers, &slices[first..first + count]) {
            Ok(count) => sent.frames += count as u64,
            Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
                Errno::ENOBUFS => sent.refused += 1,
                Errno::EAGAIN => wait_until_it_takes_more(&wire)?,
                _ => bail!("cannot send on {}: {error}", what.interface),
            },
        }
    }
}

fn wait_until_it_takes_more(wire: &Wire) -> io::Result<()> {
    use std::os::fd::AsFd;
    poll(&mut [PollFd::new(wire.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(100u8))?;
    Ok(())
}

fn count(what: &Count) -> anyhow::Result<Counted> {
    nap(Duration::from_secs_f64(what.after));
    let (start, before) = (now(), received(&what.interface)?);
    nap(Duration::from_secs_f64(what.seconds));
    let (frames, seconds) = (received(&what.interface)? - before, start.elapsed().as_secs_f64());
    Ok(Counted { frames, seconds })
}

/// How many frames an interface of this network namespace has received (`/proc/net/dev`, proc_net(5)).
fn received(interface: &str) -> anyhow::Result<u64> {
    let table = fs::read_to_string("/proc/self/net/dev")?;
    let row = table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let row = row.with_context(|| format!("there is no interface {interface} here"))?;
    let packets = row.split_whitespace().nth(1).and_then(|column| column.parse().ok());
    packets.context("/proc/net/dev is not as expected")
}

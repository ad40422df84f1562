//! Two threads that sleep until there are bytes and write them on: the fewest wake-ups between two stream links with two
//! ranks on the way, none of which polls.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

use mvpnet_qemu_driver::links::LinkKind;
use mvpnet_transports::BATCH_LEN;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::reap;
use crate::loadgen::stand_in;

/// Starts both generators and carries until either has ended.
pub(super) fn run(generator: &str) -> anyhow::Result<()> {
    let start = |rank| stand_in::start(generator.as_ref(), LinkKind::Stream, rank);
    let (first, second) = (start(0)?, start(1)?);
    let (left, right) = UnixStream::pair()?;
    let ranks = [(UnixStream::from(first.1), left), (UnixStream::from(second.1), right)];
    let threads = ranks.map(|(link, peer)| std::thread::spawn(move || carry(link, peer)));
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a rank panicked"))??;
    }
    [first.0, second.0].iter_mut().try_for_each(reap)
}

/// One rank: ends when either side has.
fn carry(mut link: UnixStream, mut peer: UnixStream) -> io::Result<()> {
    let mut space = vec![0; BATCH_LEN];
    loop {
        let mut ready = [&link, &peer].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        poll(&mut ready, PollTimeout::NONE)?;
        let [from_guest, from_peer] = ready.map(|fd| fd.any() == Some(true));
        if (from_guest && !pass(&mut link, &mut peer, &mut space)?)
            || (from_peer && !pass(&mut peer, &mut link, &mut space)?)
        {
            return Ok(());
        }
    }
}

/// Passes on what is there; false at the end.
fn pass(from: &mut UnixStream, to: &mut UnixStream, space: &mut [u8]) -> io::Result<bool> {
    let is_end = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    };
    let octets = match from.read(space) {
        Ok(octets) => octets,
        Err(error) if is_end(&error) => 0,
        Err(error) => return Err(error),
    };
    match to.write_all(&space[..octets]) {
        Ok(()) => Ok(octets > 0),
        Err(error) if is_end(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

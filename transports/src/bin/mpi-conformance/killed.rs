//! `mpi-conformance killed MICROSECONDS DIRECTORY`: the last rank is killed in the middle of its traffic, by itself and
//! without any of its code running on, so many microseconds after all have met.
//!
//! The others go on with each other as if nothing had happened, and find out that it is gone. How it went stands in a
//! file of the directory, one for each: Hydra may end at the moment of a death, and then nobody passes on what ranks write.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mvpnet_switch::Rank;
use mvpnet_transports::mpi::MpiTransport;
use mvpnet_transports::{Arm, RecordKind, SendError, Transport};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, raise};

/// How long the others may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Frames that the others send to each other once they know.
const AFTERWARDS: u64 = 2000;
/// In place of the number of a frame: its sender has all that it waits for.
const DONE: u64 = u64::MAX;
/// Octets of a frame.
const FRAME_LEN: usize = 1514;

/// Plays this rank's part.
pub fn killed(mut transport: MpiTransport, after: Duration, directory: &Path) -> ExitCode {
    let (me, size) = (transport.me(), transport.world().size());
    let Ok(last) = transport.world().rank(size - 1) else { return ExitCode::FAILURE };
    if me == last {
        die_in_traffic(&mut transport, after);
    }
    let result = go_on(&mut transport, last);
    let said = result.clone().map_or_else(|what| what, |()| "went on".to_owned());
    if let Err(error) = std::fs::write(directory.join(format!("rank-{me}")), said) {
        println!("rank {me}: {error}");
    }
    // MPI cannot end without the last rank, so the process does.
    drop(transport.close(Duration::from_secs(1), i32::from(result.is_err())));
    ExitCode::from(u8::from(result.is_err()))
}

fn die_in_traffic(transport: &mut MpiTransport, after: Duration) -> ! {
    let (me, world) = (transport.me(), transport.world());
    let since = now();
    loop {
        for to in world.ranks().filter(|to| *to != me) {
            // Full is as good as any other moment.
            let _ = transport.send(to, RecordKind::Unicast, me, &[1; FRAME_LEN]);
        }
        let _ = transport.progress();
        // Some batches are held for a while, some given back.
        let held = transport.receive();
        if now() - since >= after {
            let _ = raise(Signal::SIGKILL);
        }
        if let Ok(Some(batch)) = held {
            transport.recycle(batch);
        }
    }
}

/// What a survivor has seen.
struct Survivor {
    me: Rank,
    others: Vec<Rank>,
    /// The next number to each of the others, and the next that is expected from each.
    sent: Vec<u64>,
    expected: Vec<u64>,
    /// Who is done.
    done: Vec<bool>,
}

fn go_on(transport: &mut MpiTransport, last: Rank) -> Result<(), String> {
    let me = transport.me();
    let others: Vec<Rank> = transport.world().ranks().filter(|rank| *rank != me && *rank != last).collect();
    let count = others.len();
    let mut survivor =
        Survivor { me, others, sent: vec![0; count], expected: vec![0; count], done: vec![false; count] };
    let since = now();
    let mut left = None;
    loop {
        if now() - since > LIMIT {
            return Err(format!(
                "not done after {LIMIT:?}: sent {:?}, expected {:?}",
                survivor.sent, survivor.expected
            ));
        }
        let is_gone =
            transport.send(last, RecordKind::Unicast, me, &[2; FRAME_LEN]) == Err(SendError::PeerGone(last));
        if is_gone && left.is_none() {
            left = Some(survivor.sent.clone());
        }
        survivor.turn(transport)?;
        let is_over =
            |left: &Vec<u64>| survivor.sent.iter().zip(left).all(|(now, then)| *now >= then + AFTERWARDS);
        if left.as_ref().is_some_and(is_over) {
            return survivor.part(transport, since);
        }
    }
}

impl Survivor {
    /// Says that it is done, and waits until the others are.
    fn part(mut self, transport: &mut MpiTransport, since: Instant) -> Result<(), String> {
        let mut untold = self.others.clone();
        loop {
            untold
                .retain(|to| transport.send(*to, RecordKind::Unicast, self.me, &DONE.to_be_bytes()).is_err());
            let pending = transport.progress().map_err(|error| error.to_string())?;
            self.take(transport)?;
            if untold.is_empty() && pending.bytes == 0 && self.done.iter().all(|done| *done) {
                return Ok(());
            }
            if now() - since > LIMIT {
                return Err(format!("not told: {untold:?}, pending: {pending:?}, done: {:?}", self.done));
            }
        }
    }

    fn turn(&mut self, transport: &mut MpiTransport) -> Result<(), String> {
        for (to, number) in self.others.iter().zip(&mut self.sent) {
            let mut frame = [0; FRAME_LEN];
            frame[..8].copy_from_slice(&number.to_be_bytes());
            match transport.send(*to, RecordKind::Unicast, self.me, &frame) {
                Ok(()) => *number += 1,
                Err(SendError::Full) => {}
                Err(error) => return Err(format!("to rank {to}: {error}")),
            }
        }
        let _ = transport.progress().map_err(|error| error.to_string())?;
        self.take(transport)?;
        if let Arm::Sleep { .. } = transport.arm() {
            let _ = poll(&mut [PollFd::new(transport.doorbell(), PollFlags::POLLIN)], 1u16);
        }
        transport.disarm();
        Ok(())
    }

    /// Takes what has come: from each of the others in order, without a gap.
    fn take(&mut self, transport: &mut MpiTransport) -> Result<(), String> {
        while let Some(batch) = transport.receive().map_err(|error| error.to_string())? {
            if let Some(at) = self.others.iter().position(|other| *other == batch.from()) {
                for record in batch.records().flatten() {
                    let number =
                        batch.bytes()[record.frame].first_chunk().map(|octets| u64::from_be_bytes(*octets));
                    if number == Some(DONE) {
                        self.done[at] = true;
                        continue;
                    }
                    if number != Some(self.expected[at]) {
                        return Err(format!(
                            "{number:?} from rank {}, expected {}",
                            batch.from(),
                            self.expected[at]
                        ));
                    }
                    self.expected[at] += 1;
                }
            }
            transport.recycle(batch);
        }
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "the death of a process takes real time")]
fn now() -> Instant {
    Instant::now()
}

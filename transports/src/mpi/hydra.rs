//! Between MPICH and its launcher while MPI ends, because MPICH hangs in MPI_Finalize.
//!
//! MPICH 4.0 over UCX closes its connections and then waits for the other ranks in a barrier of the launcher,
//! Hydra. A rank whose connection needs an answer from one that is in that barrier already waits for ever,
//! and so does the other; over TCP that happens in one of three runs. To simply leave is no way out: Hydra
//! takes a process that ends without a farewell for a failure and kills the others. So what MPICH and Hydra
//! say to each other is passed on by a thread of ours. If MPICH does not come to the barrier in time, the
//! thread enters it in its stead, which lets the others go on, and says farewell.
//!
//! The words are those of PMI 1, a line each way (MPICH, `src/pmi/simple/simple_pmi.c`).

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use mvpnet_switch::World;
use nix::poll::{PollFd, PollFlags, poll};

use super::ffi;
use crate::clock;
use crate::launcher::{LauncherKind, launcher_env};

/// MPICH may take this long to come to the barrier, to get out of it, and to end after that. A process that
/// leaves early does no harm: whatever it had to send is delivered.
const BEFORE_BARRIER: Duration = Duration::from_secs(1);
const IN_BARRIER: Duration = Duration::from_secs(4);
const AFTER_BARRIER: Duration = Duration::from_millis(500);

/// So many ranks more, and all of it may take as long again: they share cores, and Hydra answers one after the other.
const RANKS_PER_PATIENCE: u32 = 16;

/// How often to look whether MPI has ended, in milliseconds.
const LOOK_EVERY_MS: u16 = 10;

const ENTER: &[u8] = b"cmd=barrier_in\n";
const ENTERED_BY_ALL: &[u8] = b"cmd=barrier_out";
const FAREWELL: &[u8] = b"cmd=finalize\n";
const FAREWELL_HEARD: &[u8] = b"cmd=finalize_ack";

/// The two sides of the conversation.
#[derive(Debug)]
pub(super) struct Hydra {
    launcher: UnixStream,
    mpich: UnixStream,
    /// By how much all limits are multiplied.
    patience: u32,
}

/// Where MPICH is, as the launcher's barrier goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Before,
    Within,
    Behind,
}

impl Stage {
    fn limit(self) -> Duration {
        match self {
            Stage::Before => BEFORE_BARRIER,
            Stage::Within => IN_BARRIER,
            Stage::Behind => AFTER_BARRIER,
        }
    }
}

impl Hydra {
    /// Takes the library's socket to the launcher and gives it one to us instead, where the launcher is Hydra
    /// and the library talks to it in these words.
    pub fn stand_between(library: &str, world: World) -> Option<Self> {
        // Slurm sets PMI_FD as well, and speaks PMI 2.
        launcher_env().filter(|launcher| launcher.kind == LauncherKind::Hydra)?;
        let number = std::env::var("PMI_FD").ok()?.parse().ok()?;
        let launcher = library.starts_with("MPICH").then(|| ffi::duplicate(number)).flatten()?;
        let (mpich, theirs) = UnixStream::pair().ok()?;
        let patience = 1 + world.size() / RANKS_PER_PATIENCE;
        ffi::replace(number, &OwnedFd::from(theirs)).then(|| Hydra {
            launcher: launcher.into(),
            mpich,
            patience,
        })
    }

    /// Passes on what is said until `watch` closes, which says that MPI has ended. False where it does not
    /// come to its end; then Hydra has been told all it wants to know, and the process is to end without a
    /// further word.
    pub fn relay(mut self, watch: &Receiver<()>) -> bool {
        let (mut stage, mut since) = (Stage::Before, clock::now());
        loop {
            if watch.try_recv() == Err(TryRecvError::Disconnected) {
                return true;
            }
            match self.pass_on(stage) {
                Ok(next) if next != stage => (stage, since) = (next, clock::now()),
                Ok(_) => {}
                // One of the two has closed its end: nothing more is said, but MPI may still be at work.
                Err(_) => {
                    return watch
                        .recv_timeout(stage.limit() * self.patience)
                        .is_err_and(|error| error == RecvTimeoutError::Disconnected);
                }
            }
            if clock::now().saturating_sub(since) > stage.limit() * self.patience {
                tracing::debug!("MPI does not come to its end ({stage:?}): it is left to itself");
                self.take_leave(stage);
                return false;
            }
        }
    }

    /// Passes on one piece of the conversation each way.
    fn pass_on(&mut self, stage: Stage) -> io::Result<Stage> {
        let [from_mpich, from_launcher] = {
            let mut ends =
                [&self.mpich, &self.launcher].map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
            poll(&mut ends, LOOK_EVERY_MS)?;
            ends.map(|end| end.any() == Some(true))
        };
        let mut stage = stage;
        if from_mpich && pass(&mut self.mpich, &mut self.launcher, ENTER)? {
            stage = Stage::Within;
        }
        if from_launcher && pass(&mut self.launcher, &mut self.mpich, ENTERED_BY_ALL)? {
            stage = Stage::Behind;
        }
        Ok(stage)
    }

    /// Says what MPICH has not said yet. True where the launcher has heard all of it.
    fn take_leave(&mut self, stage: Stage) -> bool {
        let all_entered = match stage {
            Stage::Before => self.say(ENTER, ENTERED_BY_ALL),
            // Others do not come; they have not been heard to leave either.
            Stage::Within => false,
            Stage::Behind => true,
        };
        all_entered && self.say(FAREWELL, FAREWELL_HEARD)
    }

    fn say(&mut self, request: &[u8], answer: &[u8]) -> bool {
        let heard = self.launcher.set_read_timeout(Some(IN_BARRIER)).and_then(|()| {
            self.launcher.write_all(request)?;
            let mut heard = vec![0; answer.len()];
            self.launcher.read_exact(&mut heard)?;
            Ok(heard)
        });
        // The rest of the line, if any, is of no interest: nothing but a farewell follows.
        heard.is_ok_and(|heard| heard == answer) && self.skip_line()
    }

    fn skip_line(&mut self) -> bool {
        let mut byte = [0];
        while self.launcher.read_exact(&mut byte).is_ok() {
            if byte == *b"\n" {
                return true;
            }
        }
        false
    }
}

/// Passes on what is there to be read. True where a line of it begins with `wanted`; lines come whole, since
/// each side waits for the other's answer.
fn pass(from: &mut UnixStream, to: &mut UnixStream, wanted: &[u8]) -> io::Result<bool> {
    let mut bytes = [0; 2048];
    let len = from.read(&mut bytes)?;
    if len == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    to.write_all(&bytes[..len])?;
    Ok(bytes[..len].split_inclusive(|byte| *byte == b'\n').any(|line| line.starts_with(wanted)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::mpsc::channel;
    use std::thread::{JoinHandle, spawn};

    use super::*;

    /// Plays the launcher: checks what is said, and answers.
    fn launcher(socket: UnixStream, talk: &'static [(&'static [u8], &'static str)]) -> JoinHandle<()> {
        spawn(move || {
            let mut lines = BufReader::new(socket.try_clone().expect("a descriptor"));
            for (request, answer) in talk {
                let mut line = Vec::new();
                lines.read_until(b'\n', &mut line).expect("a request");
                assert_eq!(line, *request);
                (&socket).write_all(answer.as_bytes()).expect("room for an answer");
            }
        })
    }

    const TALK: &[(&[u8], &str)] = &[(ENTER, "cmd=barrier_out\n"), (FAREWELL, "cmd=finalize_ack\n")];

    fn between() -> (Hydra, UnixStream, UnixStream) {
        let (launcher, far_launcher) = UnixStream::pair().expect("a socketpair");
        let (mpich, far_mpich) = UnixStream::pair().expect("a socketpair");
        (Hydra { launcher, mpich, patience: 1 }, far_launcher, far_mpich)
    }

    #[test]
    fn a_conversation_that_goes_well_is_passed_on() {
        let (hydra, far_launcher, mut mpich) = between();
        let launcher = launcher(far_launcher, TALK);
        let (done, watch) = channel();
        let relay = spawn(move || hydra.relay(&watch));
        let mut answers = BufReader::new(mpich.try_clone().expect("a descriptor"));
        for (request, answer) in TALK {
            let mut line = String::new();
            mpich.write_all(request).expect("somebody listens");
            answers.read_line(&mut line).expect("an answer");
            assert_eq!(line, *answer);
        }
        drop((mpich, answers, done));
        assert!(relay.join().expect("the relay ends"));
        launcher.join().expect("all was said");
    }

    #[test]
    fn an_mpich_that_never_comes_to_the_barrier_is_spoken_for() {
        let (hydra, far_launcher, _mpich) = between();
        let launcher = launcher(far_launcher, TALK);
        let (_done, watch) = channel();
        assert!(!hydra.relay(&watch));
        launcher.join().expect("all was said");
    }

    #[test]
    fn an_mpich_that_stays_behind_the_barrier_only_misses_its_farewell() {
        let (mut hydra, far_launcher, _mpich) = between();
        let launcher = launcher(far_launcher, &TALK[1..]);
        assert!(hydra.take_leave(Stage::Behind));
        launcher.join().expect("all was said");
    }

    #[test]
    fn a_launcher_that_is_gone_is_no_reason_to_stay() {
        let (mut hydra, far_launcher, _mpich) = between();
        drop(far_launcher);
        assert!(!hydra.take_leave(Stage::Before));
    }
}

//! What from outside ends a job: signals, end of file on stdin, the death of whoever started the program.

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// A wish that the job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndWish {
    /// Who or what wishes it.
    pub by: String,
    /// Whether there is no time for a grace period.
    pub hurry: bool,
}

/// Where wishes come from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// End of file on stdin counts.
    pub stdin: bool,
    /// The death of the parent process counts: `mpirun`, or its local daemon.
    pub parent: bool,
}

/// Listens from now on. The first signal asks politely, every later one urgently. SIGHUP is left alone where
/// it was ignored from the start.
///
/// # Errors
/// The system refuses a signal handler.
pub fn listen(watch: Watch) -> std::io::Result<mpsc::UnboundedReceiver<EndWish>> {
    let (wishes, heard) = mpsc::unbounded_channel();
    let parent = getppid();
    if watch.parent {
        // mpirun's death comes as a SIGTERM that finds another parent; mpirun itself sends the same
        // signal to end the job, so that nothing new has to be handled.
        set_pdeathsig(Signal::SIGTERM)?;
    }
    for (name, kind) in [
        ("SIGTERM", SignalKind::terminate()),
        ("SIGINT", SignalKind::interrupt()),
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGHUP", SignalKind::hangup()),
    ] {
        if kind == SignalKind::hangup() && is_ignored(kind, &process_status()) {
            continue; // nohup(1)
        }
        let mut stream = signal(kind)?;
        let wishes = wishes.clone();
        tokio::spawn(async move {
            let mut times = 0;
            while stream.recv().await.is_some() {
                times += 1;
                let orphaned = watch.parent && getppid() != parent;
                if wishes.send(wish(name, times, orphaned, parent)).is_err() {
                    return;
                }
            }
        });
    }
    if watch.stdin {
        tokio::spawn(watch_stdin(wishes));
    }
    Ok(heard)
}

fn process_status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap_or_default()
}

/// Whether a process with this status (proc_pid_status(5)) was started with the signal ignored.
fn is_ignored(kind: SignalKind, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & 1 << (kind.as_raw_value() - 1) != 0
}

fn wish(name: &str, times: u32, orphaned: bool, parent: Pid) -> EndWish {
    if orphaned {
        return EndWish { by: format!("the launcher (process {parent}) is gone"), hurry: true };
    }
    let by = if times > 1 { format!("{name}, for the {times}. time") } else { name.to_owned() };
    EndWish { by, hurry: times > 1 }
}

async fn watch_stdin(wishes: mpsc::UnboundedSender<EndWish>) {
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 4096];
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
    let _ = wishes.send(EndWish { by: "end of file on stdin".into(), hurry: false });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signal_is_in_a_hurry() {
        let parent = Pid::from_raw(7);
        assert_eq!(wish("SIGINT", 1, false, parent), EndWish { by: "SIGINT".into(), hurry: false });
        assert!(wish("SIGINT", 2, false, parent).hurry);
    }

    #[test]
    fn what_nohup_ignores_stays_ignored() {
        let status = "Name:\tmvpnet\nSigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n";
        assert!(is_ignored(SignalKind::hangup(), status));
        assert!(!is_ignored(SignalKind::interrupt(), status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }

    #[test]
    fn a_launcher_that_is_gone_leaves_no_time() {
        let wish = wish("SIGTERM", 1, true, Pid::from_raw(7));
        assert!(wish.hurry && wish.by.contains("process 7"), "{wish:?}");
    }
}

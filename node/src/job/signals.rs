//! What from outside ends a job: signals, end of file on stdin, the death of whoever started the program.

use std::time::Duration;

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
    /// The program is a batch system's, which kills every process so long after SIGTERM.
    pub kill_wait: Option<Duration>,
}

/// What is left of a batch system's time for everything but the guests' shutdown.
const RESERVE: Duration = Duration::from_secs(5);

/// Listens from now on and tells `wishes`. The first signal asks politely, every later one urgently. SIGHUP is left
/// alone where it was ignored from the start.
///
/// A batch system sends SIGTERM to launcher and ranks alike, and perhaps more than once: there the first one asks
/// politely, and time makes it urgent.
///
/// # Errors
/// The system refuses a signal handler.
pub fn listen(watch: Watch, wishes: &mpsc::UnboundedSender<EndWish>) -> std::io::Result<()> {
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
                let wish = wish(name, times, orphaned, parent);
                let sent = match watch.kill_wait.filter(|_| kind == SignalKind::terminate()) {
                    Some(_) if times > 1 => Ok(()),
                    Some(kill_wait) => {
                        tokio::spawn(hurry_before(kill_wait, wishes.clone()));
                        wishes.send(EndWish { hurry: false, ..wish })
                    }
                    None => wishes.send(wish),
                };
                if sent.is_err() {
                    return;
                }
            }
        });
    }
    if watch.stdin {
        tokio::spawn(watch_stdin(wishes.clone()));
    }
    Ok(())
}

/// Who has SIGTERM from a batch system is killed after a while: what is not over shortly before is cut short.
async fn hurry_before(kill_wait: Duration, wishes: mpsc::UnboundedSender<EndWish>) {
    let patience = patience(kill_wait);
    tokio::time::sleep(patience).await;
    let rest = kill_wait.saturating_sub(patience).as_secs();
    let by = format!("the batch system kills the job's processes in {rest} s");
    // The job may be over.
    let _ = wishes.send(EndWish { by, hurry: true });
}

/// How much of its time the guests may have.
fn patience(kill_wait: Duration) -> Duration {
    kill_wait.saturating_sub(RESERVE).max(kill_wait / 2)
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

    #[tokio::test]
    async fn a_batch_system_s_time_is_used_but_for_the_last_seconds() {
        let seconds = Duration::from_secs;
        assert_eq!([30, 8].map(|kill_wait| patience(seconds(kill_wait))), [seconds(25), seconds(4)]);
        let (wishes, mut heard) = mpsc::unbounded_channel();
        hurry_before(Duration::ZERO, wishes).await;
        let wish = heard.recv().await.unwrap();
        assert!(wish.hurry && wish.by.ends_with("in 0 s"), "{wish:?}");
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

//! The last step before the guest: a process that prepares itself and becomes the guest's program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

/// Exit code when the program cannot be started, as shells use it.
const CANNOT_EXECUTE: u8 = 126;
/// Exit code when there is no such program.
const NOT_FOUND: u8 = 127;

/// Becomes the program that the arguments name: the keeper's process id, whether it hears SIGTERM, the program, its
/// arguments. Returns only on failure, which it writes to standard error, where the rank reads it.
pub fn exec_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let keeper = args.next().and_then(|pid| pid.to_str()?.parse().ok()).map(Pid::from_raw);
    let deaf = args.next().map(|word| word == super::DEAF);
    let (Some(keeper), Some(deaf), Some(program)) = (keeper, deaf, args.next()) else {
        eprintln!("{}: started by mvpnet, not by hand", super::EXEC);
        return ExitCode::from(2);
    };
    // qemu dies with its keeper. The setting survives execve(2) of programs without set-user-ID bits.
    if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
        eprintln!("cannot tie the guest to its keeper: {error}");
        return ExitCode::from(CANNOT_EXECUTE);
    }
    // A keeper that died before the line above sends no signal.
    if getppid() != keeper {
        return ExitCode::from(CANNOT_EXECUTE);
    }
    unbind();
    // The keeper blocks signals, and execve(2) keeps that. qemu leaves SIGTERM blocked where it finds it so.
    let mut blocked = SigSet::empty();
    if deaf {
        blocked.add(Signal::SIGTERM);
    }
    if let Err(error) = blocked.thread_set_mask() {
        eprintln!("cannot unblock signals for the guest: {error}");
    }
    if let Err(error) = make_default(&INHERITED) {
        eprintln!("cannot reset signals for the guest: {error}");
    }
    let error = Command::new(&program).args(args).exec();
    eprintln!("cannot start {}: {error}", program.display());
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE })
}

/// Signals that shells and nohup(1) ignore in what they start in the background, and the one that stops a guest.
const INHERITED: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// A signal that is ignored stays so across execve(2), one that is caught becomes default: so they are caught
/// by somebody who does nothing.
fn make_default(signals: &[i32]) -> io::Result<()> {
    let nobody = Arc::new(AtomicBool::new(false));
    signals.iter().try_for_each(|signal| flag::register(*signal, Arc::clone(&nobody)).map(drop))
}

/// Allows all CPUs again: mpirun may have bound the rank to one, but the guest has threads of its own and
/// shares that one with its busiest partner. The kernel keeps to the CPUs of the job's control group
/// (sched_setaffinity(2)).
fn unbind() {
    let mut cpus = CpuSet::new();
    for cpu in 0..CpuSet::count() {
        cpus.set(cpu).expect("less than the set's size");
    }
    // A guest on few CPUs is slow, not wrong.
    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &cpus) {
        eprintln!("cannot undo the CPU binding: {error}");
    }
}

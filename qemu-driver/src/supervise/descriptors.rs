//! The descriptors of the keeper, which the guest must not get, and the guest's, which need their numbers.
//!
//! A descriptor that arrives over a socket gets the lowest free number (unix(7), SCM_RIGHTS). The keeper keeps the
//! numbers that the guest's command line names occupied, and free only while it receives: so the descriptors
//! arrive with the right numbers, and nothing has to be renumbered between fork and exec.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::unistd::close;

use crate::spec::GuestFd;

/// The most descriptors a guest can be given.
pub(super) const MAX_FDS: usize = 8;

/// Closes what the rank's process left open for its children, by mistake or because a library knows no
/// better: a guest must not hold on to mpirun's sockets.
pub(super) fn close_inherited() -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        if fd > 2 {
            // The directory that was just read is among them, and closed already.
            let _ = close(fd);
        }
    }
    Ok(())
}

/// Occupies the numbers of the guest's descriptors that are free.
pub(super) fn placeholders() -> Vec<File> {
    let beyond = GuestFd::FIRST.cast_signed() + MAX_FDS as RawFd;
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        if file.as_raw_fd() >= beyond {
            break;
        }
        files.push(file);
    }
    files
}

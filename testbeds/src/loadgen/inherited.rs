//! Descriptors that were inherited and are named by number on the command line: the one place that trusts a number.

use std::{
    fs, io,
    os::fd::{FromRawFd, OwnedFd},
};

/// Takes over descriptor `number`, which the parent opened for us. Each number may be taken once.
pub fn take(number: i32) -> io::Result<OwnedFd> {
    let name = format!("/proc/self/fd/{number}");
    if number < 3 || fs::symlink_metadata(&name).is_err() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("descriptor {number} was not inherited"),
        ));
    }
    // SAFETY: the descriptor is open (just looked at) and nobody in this process owns it: the program takes the
    // numbers of its argument list once each, before it opens anything of its own.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

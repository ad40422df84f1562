//! Faults that are planted for real, in servers made of namespaces: doctor finds each, the command that it prints is
//! typed into the same shell, and doctor is content.
//!
//! A shell stands for the person who has the trouble: what a command changes in it, a variable or a limit, stays
//! changed. Mounts are the shell's own and go with it, so that nothing on this machine is touched. Needs root and the
//! packages of `ci/setup`; what is missing is a skip that is said aloud, or a failure with `MVPNET_REQUIRE=all`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod firewalls;
mod guests;
mod host;
mod labs;
mod network;
mod servers;
mod shell;
mod ssh;

use mvpnet_lab::doctor::{Finding, Status};

pub use servers::Servers;
pub use shell::Shell;

/// The line of a check about a host, or about its way to a peer.
pub fn line<'a>(findings: &'a [Finding], check: &str, host: &str, peer: Option<&str>) -> &'a Finding {
    let is = |found: &&Finding| found.check == check && found.host == host && found.peer.as_deref() == peer;
    findings.iter().find(is).unwrap_or_else(|| panic!("no {check} of {host} to {peer:?} in {findings:#?}"))
}

/// What is wrong with a line, and the command that mends it, as root types it.
pub fn fault(found: &Finding, status: Status) -> (String, String) {
    assert_eq!(found.status, status, "{found:#?}");
    let mend = found.mend.as_ref().unwrap_or_else(|| panic!("nothing mends {found:#?}"));
    (found.seen.clone(), mend.replace("sudo ", ""))
}

/// The course of nearly all tests, on one host: `plant` in the shell of `server1`, doctor with `flags` finds what
/// `check` looks for, its command is typed, and doctor is content with it.
pub fn found_and_mended(
    shell: &mut Shell,
    plant: &str,
    flags: &str,
    check: &str,
    status: Status,
    seen: &str,
) {
    let before = shell.doctor(flags);
    let well = line(&before, check, shell.host(), None);
    assert_eq!(well.status, Status::Ok, "{check} is well before anything is planted: {well:#?}");
    shell.must(plant);
    let found = shell.doctor(flags);
    let (said, mend) = fault(line(&found, check, shell.host(), None), status);
    assert!(said.contains(seen), "`{seen}` is not in `{said}`");
    shell.must(&mend);
    let mended = shell.doctor(flags);
    let well = line(&mended, check, shell.host(), None);
    assert_eq!(well.status, Status::Ok, "after `{mend}`: {well:#?}");
}

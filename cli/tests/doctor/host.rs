//! Room on the host, and limits.

use mvpnet_lab::doctor::Status;

use crate::{Servers, fault, found_and_mended, line};

#[test]
fn a_full_run_directory_gets_room() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("mkdir -p /tmp/$$ && mount -t tmpfs -o size=2G none /tmp/$$");
    shell.must("mount -o remount,size=8M /tmp/$$ && ! head -c 9M /dev/zero >/tmp/$$/full 2>/dev/null");
    let found = shell.doctor("--run-dir /tmp/$$");
    let (seen, mend) = fault(line(&found, "run-dir", "server1", None), Status::Failure);
    assert!(seen.contains("less than the 64.0 MiB that are needed"), "{seen}");
    shell.must(&mend);
    // What is still a warning then is mended in the same way.
    let found = shell.doctor("--run-dir /tmp/$$");
    let (_, mend) = fault(line(&found, "run-dir", "server1", None), Status::Warning);
    shell.must(&mend);
    let mended = shell.doctor("--run-dir /tmp/$$");
    assert_eq!(line(&mended, "run-dir", "server1", None).status, Status::Ok);
    shell.must("umount /tmp/$$ && rmdir /tmp/$$");
}

#[test]
fn small_shared_memory_is_made_larger() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    shell.must("mount -t tmpfs -o size=1G none /dev/shm");
    let plant = "mount -o remount,size=64M /dev/shm";
    found_and_mended(&mut shell, plant, "", "shm", Status::Warning, "64.0 MiB of 64.0 MiB are free");
}

#[test]
fn a_low_limit_of_open_files_is_raised_in_the_shell() {
    let Some(servers) = Servers::up(&[]) else { return };
    let mut shell = servers.shell("server1");
    let seen = "a process may open 256 files";
    found_and_mended(&mut shell, "ulimit -Sn 256", "", "nofile", Status::Warning, seen);
}

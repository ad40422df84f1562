use super::*;
use crate::doctor::finding::Status;

fn machine() -> Machine {
    Machine { user: "ann".into(), ..Machine::default() }
}

fn disk(free: u64, kind: &str) -> Disk {
    Disk {
        dir: "/run/dir".into(),
        exists: "/run/dir".into(),
        free,
        total: 4 * GIB,
        has_inodes: true,
        is_writable: true,
        kind: kind.into(),
        mounted: "/run".into(),
        elsewhere: None,
    }
}

#[test]
fn memory_that_is_too_small_says_which_guests_fit() {
    let memory = Memory { available: 3 * GIB, total: 8 * GIB, group: None };
    let wanted = |ranks| Wanted { ranks: Some(ranks), memory: 1024, ..Wanted::default() };
    assert_eq!(Memory::check(Some(&memory), &wanted(3)).status, Status::Ok);
    let verdict = Memory::check(Some(&memory), &wanted(4));
    assert_eq!(verdict.status, Status::Warning);
    assert_eq!(verdict.mend.unwrap(), "mvpnet doctor --ranks 4 --memory 768");
    let limited = Memory { group: Some(GIB), ..memory };
    assert!(Memory::check(Some(&limited), &wanted(2)).seen.contains("guests of 512 MiB fit"));
}

#[test]
fn memory_is_read_with_the_limit_of_the_control_group() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    std::fs::create_dir_all(root.path().join("sys/fs/cgroup")).unwrap();
    std::fs::write(root.path().join("proc/meminfo"), "MemTotal: 4096 kB\nMemAvailable:  1024 kB\n").unwrap();
    let read = || Memory::read(&System::below(root.path())).unwrap();
    assert_eq!(read(), Memory { available: MIB, total: 4 * MIB, group: None });
    std::fs::write(root.path().join("sys/fs/cgroup/memory.max"), "1000\n").unwrap();
    std::fs::write(root.path().join("sys/fs/cgroup/memory.current"), "400\n").unwrap();
    assert_eq!(read().group, Some(600));
    std::fs::write(root.path().join("sys/fs/cgroup/memory.max"), "max\n").unwrap();
    assert_eq!(read().group, None);
}

#[test]
fn few_descriptors_are_raised_by_oneself_as_far_as_the_hard_limit_goes() {
    let wanted = Wanted::default();
    let mend = |soft, hard| Descriptors::check(Some(&Descriptors { soft, hard }), &machine(), &wanted).mend;
    assert_eq!(mend(1024, 1024), None);
    assert_eq!(mend(256, 4096).unwrap(), "ulimit -n 1024");
    assert_eq!(mend(256, 512).unwrap(), "sudo prlimit --pid $$ --nofile=1024:1024");
    let many = Wanted { ranks: Some(64), ..Wanted::default() };
    let few = Descriptors { soft: 1024, hard: 1 << 20 };
    assert_eq!(Descriptors::check(Some(&few), &machine(), &many).mend.unwrap(), "ulimit -n 2560");
}

#[test]
fn limits_are_read_from_proc() {
    let here = Descriptors::read(&System::here()).unwrap();
    assert!(here.soft <= here.hard && here.soft > 0);
}

#[test]
fn a_full_tmpfs_is_made_larger() {
    let verdict = Disk::check_run_dir(Some(&disk(MIB, "tmpfs")), None, &machine(), &Wanted::default());
    assert_eq!(verdict.status, Status::Failure);
    assert_eq!(verdict.mend.unwrap(), "sudo mount -o remount,size=4223M /run");
}

#[test]
fn beside_a_full_disk_another_is_named() {
    let mut full = disk(0, "ext4");
    let check =
        |disk: &Disk| Disk::check_run_dir(Some(disk), None, &machine(), &Wanted::default()).mend.unwrap();
    assert!(check(&full).starts_with("du -xh --max-depth=3 /run "));
    full.elsewhere = Some(("/scratch".into(), 9 * GIB));
    let expected = "mkdir -p /scratch/mvpnet-run && mvpnet doctor --run-dir /scratch/mvpnet-run";
    assert_eq!(check(&full), expected);
}

#[test]
fn the_copies_of_an_image_have_to_fit() {
    let wanted = Wanted { ranks: Some(3), run_dir: Some("/run/dir".into()), ..Wanted::default() };
    let status = |free| Disk::check_run_dir(Some(&disk(free, "ext4")), Some(GIB), &machine(), &wanted).status;
    assert_eq!(status(3 * GIB - 1), Status::Failure);
    assert_eq!(status(3 * GIB), Status::Warning);
    assert_eq!(status(6 * GIB), Status::Ok);
}

#[test]
fn a_directory_of_somebody_else_is_no_run_directory() {
    let theirs = Disk { is_writable: false, ..disk(GIB, "ext4") };
    let verdict = Disk::check_run_dir(Some(&theirs), None, &machine(), &Wanted::default());
    assert_eq!(verdict.mend.unwrap(), "sudo chown ann /run/dir");
}

#[test]
fn small_shared_memory_is_made_larger() {
    let shm = |free, kind: &str| Disk {
        dir: "/dev/shm".into(),
        exists: "/dev/shm".into(),
        mounted: "/dev/shm".into(),
        total: 64 * MIB,
        ..disk(free, kind)
    };
    let check = |disk: &Disk| Disk::check_shm(Some(disk), &machine());
    assert_eq!(check(&shm(64 * MIB, "tmpfs")).mend.unwrap(), "sudo mount -o remount,size=1024M /dev/shm");
    assert_eq!(check(&shm(SHM_LEAST, "tmpfs")).status, Status::Ok);
    assert!(
        check(&Disk { mounted: "/".into(), ..shm(MIB, "ext4") }).mend.unwrap().contains("mount -t tmpfs")
    );
    assert!(
        check(&Disk { exists: "/dev".into(), ..shm(GIB, "tmpfs") })
            .mend
            .unwrap()
            .contains("mkdir -p /dev/shm")
    );
}

#[test]
fn a_directory_that_is_yet_to_be_made_is_judged_by_its_ancestor() {
    let dir = tempfile::tempdir().unwrap();
    let read = Disk::read(&System::here(), &dir.path().join("a/b")).unwrap();
    assert_eq!(read.exists, dir.path());
    assert!(read.is_writable && read.total > 0);
}

#[test]
fn sizes_read_well() {
    assert_eq!(
        [0, 1023, 1536, 100 * MIB, 3 * GIB / 2].map(size),
        ["0 bytes", "1023 bytes", "1.5 KiB", "100 MiB", "1.5 GiB"]
    );
}

//! What guests are told by cloud-init, as far as guests without cloud-init show it: the disk is there and says the right
//! things, its keys are the user's alone, and nothing of it outlives the job. And the commands around it: `mvpnet seed`,
//! `mvpnet ssh`, `mvpnet cp`, `mvpnet ssh-config`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::leftovers::TIDY;
use crate::harness::setting::{tiny, two_hosts};
use crate::harness::two_hosts::Hosts;
use crate::harness::wait::{Said, run};
use crate::harness::{Guest, Job, Kind, Launcher, Need, Running, begin, wait_for};

/// How long one of the commands may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long an error may take to be said.
const SOON: Duration = Duration::from_secs(5);

const LAUNCHERS_OF_DISKS: [Launcher; 2] = [Launcher::Up, Launcher::Mpich];

/// Something that only the user's own directory has.
const OWN_WORDS: &str = "words of their own, found in no other file";

fn mvpnet<W: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = W>) -> Said {
    run(Command::new(Launcher::Up.program()).args(words), COMMAND)
}

fn code(said: &Said) -> Option<i32> {
    said.status.and_then(|status| status.code())
}

/// Guests that boot directly and have a disk, which is what makes mvpnet configure them: the second is the configuration.
fn with_disk(launcher: Launcher, ranks: u32) -> Job {
    let disk = format!("{},mvpctl=s", tiny("tiny.qcow2").display());
    Job::new(launcher, ranks).tiny().flags(["-i", &disk])
}

fn needs(launcher: Launcher) -> [Need; 3] {
    [Need::Guests, Need::Disk("tiny.qcow2"), Need::Launcher(launcher)]
}

/// The directory of a rank's process, which has to be there.
fn directory(job: &Running, rank: u32) -> PathBuf {
    let process = job.process(Kind::Ranks, rank).pid;
    let places = std::env::var_os("XDG_RUNTIME_DIR").map(|place| PathBuf::from(place).join("mvpnet"));
    let shared = PathBuf::from(format!("/tmp/mvpnet-{}", nix::unistd::geteuid()));
    let found = places.into_iter().chain([shared]).map(|place| place.join(format!("{process}.job")));
    found.into_iter().find(|path| path.exists()).expect("the process has a directory")
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

/// How often a text is on the guest's second disk.
fn found_on_seed(guest: &Guest, text: &str) -> usize {
    guest.run(&format!("grep -a -o -- '{text}' /dev/vdb | wc -l")).trim().parse().expect("wc says a number")
}

/// The user's own configuration, as the original's manual has it.
fn own_configuration(job: &Job) -> String {
    let own = job.place("out/own");
    fs::create_dir(&own).unwrap();
    fs::write(format!("{own}/meta-data"), "instance-id: e2e\n").unwrap();
    fs::write(format!("{own}/user-data"), "#cloud-config\npackages: [ own-package ]\n").unwrap();
    fs::write(format!("{own}/notes.txt"), OWN_WORDS).unwrap();
    own
}

/// Each guest has its own configuration with the user's files in it, made of the same keys everywhere.
fn guests_are_told(launcher: Launcher) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let job = with_disk(launcher, 2);
    let own = own_configuration(&job);
    let mut job = job.flags(["-c", &own, "-u", "ann", "-v", "0:2"]).stays_up().start();
    job.wait_until_up();
    let directories: Vec<PathBuf> = if launcher == Launcher::Up {
        vec![directory(&job, 0)]
    } else {
        vec![directory(&job, 0), directory(&job, 1)]
    };
    let known = fs::read_to_string(directories[0].join("known_hosts")).unwrap();
    let key_of_1 = known.lines().nth(1).unwrap().split_once(" ssh-ed25519 ").unwrap().1.trim().to_owned();
    for guest in job.guests() {
        assert!(
            found_on_seed(&guest, "CIDATA") > 0,
            "the second disk of rank {} is none of ours",
            guest.rank
        );
        assert_eq!(found_on_seed(&guest, OWN_WORDS), 1, "their file");
        assert!(found_on_seed(&guest, &format!("mvpnet-{}-", guest.name())) > 0, "the guest's own name");
        assert!(found_on_seed(&guest, "n0000 slots=2") > 0, "the CPUs of rank 0");
        assert!(found_on_seed(&guest, &key_of_1) > 0, "all know the key of rank 1's sshd");
        assert_eq!(
            guest.try_run("echo x >/dev/vdb").status.and_then(|status| status.code()),
            Some(1),
            "read-only"
        );
    }
    for (rank, directory) in (0..).zip(&directories) {
        assert_eq!(mode(directory), 0o700);
        for file in ["id_ed25519", "known_hosts", "ssh_config", &format!("seed.{rank}.img")] {
            assert_eq!(mode(&directory.join(file)), 0o600, "{file} of rank {rank}");
        }
        assert_eq!(
            fs::read(directory.join("id_ed25519")).unwrap(),
            fs::read(directories[0].join("id_ed25519")).unwrap()
        );
    }
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    job.assert_all_halted();
    assert!(directories.iter().all(|directory| !directory.exists()), "a directory is left");
}

#[test]
fn guests_with_a_disk_are_told_who_they_are_under_up() {
    guests_are_told(Launcher::Up);
}

#[test]
fn guests_with_a_disk_are_told_who_they_are_under_mpich() {
    guests_are_told(Launcher::Mpich);
}

#[test]
fn guests_with_a_disk_are_told_who_they_are_under_openmpi() {
    guests_are_told(Launcher::OpenMpi);
}

#[test]
fn a_guest_that_is_not_to_be_told_has_no_such_disk_and_an_image_stays_as_it_is() {
    let Some(_turn) = begin(&needs(Launcher::Up)) else { return };
    let job = with_disk(Launcher::Up, 2);
    let image = job.place("out/own.img");
    let mut content = vec![0; 1 << 20];
    content[..OWN_WORDS.len()].copy_from_slice(OWN_WORDS.as_bytes());
    fs::write(&image, content).unwrap();
    let mut job = job.flags(["-c", "0:none", "-c", &format!("1:{image}")]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    assert_eq!(guests[0].run("ls /dev/vd* | grep -c vdb || true").trim(), "0");
    assert_eq!(found_on_seed(&guests[1], OWN_WORDS), 1);
    assert_eq!(found_on_seed(&guests[1], "CIDATA"), 0);
    assert!(!directory(&job, 0).join("id_ed25519").exists(), "keys that nobody needs");
    job.end_with(0);
    job.ended().assert_code(0);
}

#[test]
fn a_guest_that_is_started_anew_is_told_the_same() {
    let Some(_turn) = begin(&needs(Launcher::Up)) else { return };
    let mut job = with_disk(Launcher::Up, 1).stays_up().start();
    job.wait_until_up();
    let seed = |guest: &Guest| guest.run("md5sum /dev/vdb");
    let before = seed(&job.guests()[0]);
    let said = mvpnet(["fault", "-j", &job.home().name, "restart 0"]);
    assert!(said.is_success(), "{said:?}");
    assert_eq!(seed(&job.guests()[0]), before);
    job.end_with(0);
    job.ended().assert_code(0);
}

/// `kill -9` of whoever has the keys: they are gone with it.
fn keys_do_not_outlive_the_job(launcher: Launcher, rank: Option<u32>) {
    let Some(_turn) = begin(&needs(launcher)) else { return };
    let mut job = with_disk(launcher, 2).stays_up().start();
    job.wait_until_up();
    let ranks = if launcher == Launcher::Up { 0..=0 } else { 0..=1 };
    let directories: Vec<PathBuf> = ranks.map(|rank| directory(&job, rank)).collect();
    match rank {
        Some(rank) => job.signal_to(Kind::Ranks, rank, Signal::SIGKILL),
        None => job.signal(Signal::SIGKILL),
    }
    job.ended_within(TIDY);
    let gone = wait_for(TIDY, || directories.iter().all(|directory| !directory.exists()).then_some(()));
    assert!(gone.is_some(), "keys are left in one of {directories:?}");
}

#[test]
fn keys_do_not_outlive_up() {
    keys_do_not_outlive_the_job(Launcher::Up, None);
}

#[test]
fn keys_do_not_outlive_rank_0_of_mpich() {
    keys_do_not_outlive_the_job(Launcher::Mpich, Some(0));
}

#[test]
fn keys_do_not_outlive_mpich_s_mpirun() {
    keys_do_not_outlive_the_job(Launcher::Mpich, None);
}

#[test]
fn ssh_gets_into_guests_by_number_name_and_address() {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let job = Job::new(Launcher::Up, 2).tiny();
    let config = job.place("out/config");
    let script = format!(
        "#!/bin/sh\nssh -F \"$MVPNET_SSHCONFIG\" -i {} -l root n0001 hostname >{config}\n\
         until [ -s \"$E2E_HOME/end\" ]; do sleep 0.1; done\n",
        tiny("id_ed25519").display()
    );
    let mut job = job.script(&script).start();
    job.wait_until_it_says("log in by `mvpnet ssh -j ");
    let (name, key) = (job.home().name.clone(), tiny("id_ed25519").display().to_string());
    let ssh = |words: &[&str]| mvpnet([&["ssh", "-j", &name], words].concat());
    for guest in ["1", "n1", "n0001", "10.0.0.2", "root@1"] {
        let said = ssh(&["-l", "root", guest, "-i", &key, "-q", "hostname; exit 7"]);
        assert_eq!((said.stdout.trim(), code(&said)), ("n0001", Some(7)), "{guest}: {said:?}");
    }
    for (guest, part) in [("2", "has no node 2: its nodes are 0 to 1"), ("0-1", "is 2 nodes, and one")] {
        let said = ssh(&[guest, "true"]);
        assert!(code(&said) == Some(2) && said.stderr.contains(part), "{said:?}");
    }
    let shown = mvpnet(["ssh-config", "-j", &name]);
    assert!(shown.is_success() && shown.stdout.contains("Host n0000 0 10.0.0.1"), "{shown:?}");
    for guest in job.guests() {
        assert!(shown.stdout.contains(&format!("Port {}\n", guest.port)), "{shown:?}");
    }
    let place = mvpnet(["ssh-config", "-j", &name, "--path"]).stdout;
    assert_eq!(Path::new(place.trim()), directory(&job, 0).join("ssh_config"));
    let said = mvpnet(["cp", "-j", &name, "/etc/hosts", "5:"]);
    assert!(code(&said) == Some(2) && said.stderr.contains("has no node 5"), "{said:?}");
    let said = run(
        Command::new(Launcher::Up.program()).args(["ssh", "-j", &name, "0"]).env("PATH", "/nonexistent"),
        COMMAND,
    );
    assert!(code(&said) == Some(255) && said.stderr.contains("Debian: openssh-client"), "{said:?}");
    let heard = wait_for(COMMAND, || fs::read_to_string(&config).ok().filter(|text| !text.is_empty()));
    assert_eq!(heard.as_deref(), Some("n0001\n"), "the application's way in");
    job.end_with(0);
    job.ended().assert_code(0);
}

/// A guest of the other host has no port here: the way is through the job, from either host.
#[test]
fn ssh_gets_into_guests_of_other_hosts() {
    let needs = [Need::Guests, Need::Launcher(Launcher::Mpich), Need::Root];
    let Some(_turn) = begin(&needs) else { return };
    let _hosts = Hosts::up();
    let local = "/run/mvpnet-two-hosts/local";
    let mut job = Job::new(Launcher::Mpich, 2).on_two_hosts(1).tiny().env("XDG_RUNTIME_DIR", local).start();
    job.wait_until_up();
    let (name, key) = (job.home().name.clone(), tiny("id_ed25519").display().to_string());
    for (host, guest) in [("h0", "n0001"), ("h1", "n0000"), ("h1", "n0001")] {
        let mut command = Command::new(two_hosts("enter"));
        command
            .arg(host)
            .arg(Launcher::Up.program())
            .args(["ssh", "-j", &name, "-l", "root", guest, "-i", &key, "-q"]);
        let said = run(command.arg("hostname; exit 7").env("XDG_RUNTIME_DIR", local), COMMAND);
        assert_eq!((said.stdout.trim(), code(&said)), (guest, Some(7)), "from {host}: {said:?}");
    }
    job.signal(Signal::SIGTERM);
    job.ended().assert_all_halted();
}

#[test]
fn without_a_job_there_is_no_way_in() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    for (words, expected) in [
        (&["ssh", "-j", "no-such-job", "0"][..], 255),
        (&["cp", "-j", "no-such-job", "x", "0:"], 1),
        (&["ssh-config", "-j", "no-such-job"], 1),
        (&["ssh"], 2),
        (&["cp", "x"], 1),
    ] {
        let said = mvpnet(words);
        assert_eq!(code(&said), Some(expected), "{words:?}: {said:?}");
        assert!(said.stderr.starts_with("mvpnet: "), "{said:?}");
    }
}

#[test]
fn what_a_guest_would_be_told_is_written_without_it() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name).display().to_string();
    let rank = |rank: &str, out: &str| {
        mvpnet([
            "seed",
            "--rank",
            rank,
            "--wsize",
            "8",
            "-u",
            "ann",
            "--keys",
            &at("keys"),
            "--out",
            &at(out),
        ])
    };
    for (number, out) in [("3", "3.img"), ("3", "again.img"), ("4", "4.img")] {
        let said = rank(number, out);
        assert!(said.is_success() && said.stdout.contains("meta-data, user-data"), "{said:?}");
        assert_eq!(mode(Path::new(&at(out))), 0o600);
    }
    let content = |name: &str| fs::read(at(name)).unwrap();
    assert!(content("3.img") == content("again.img"), "the same words make the same image");
    assert!(content("3.img") != content("4.img"));
    assert_eq!(mode(Path::new(&at("keys"))), 0o600);
    let said = mvpnet([
        "seed",
        "--rank",
        "0",
        "--wsize",
        "2",
        "-u",
        "ann",
        "--keys",
        &at("keys"),
        "--dir",
        &at("made"),
    ]);
    assert!(said.is_success(), "{said:?}");
    assert_eq!(
        (mode(Path::new(&at("made"))), mode(Path::new(&at("made/mvpnet/id_ed25519")))),
        (0o700, 0o600)
    );
    assert!(fs::read_to_string(at("made/mvpnet/hosts")).unwrap().contains("10.0.0.2"));
    fs::write(at("user-data"), "#cloud-config\nruncmd: hello: world\n").unwrap();
    let own = home.path().display().to_string();
    for (words, part) in [
        (&["--rank", "8", "--wsize", "8", "--out", "x"][..], "rank 8 is outside the job"),
        (&["--rank", "0", "--wsize", "8"], "--out FILE or --dir DIR"),
        (&["--rank", "0", "--wsize", "1", "--out", "x", "-c", &own], "user-data: line 2"),
        (&["--rank", "0", "--wsize", "1", "--out", "x", "-c", "none"], "there is nothing to be made"),
    ] {
        let said =
            run(Command::new(Launcher::Up.program()).arg("seed").args(words).current_dir(&home), COMMAND);
        assert!(code(&said) == Some(2) && said.stderr.contains(part), "{words:?}: {said:?}");
    }
    assert!(!Path::new(&at("x")).exists());
}

#[test]
fn what_guests_cannot_be_told_is_said_once_before_they_boot() {
    let Some(_turn) = begin(&[Need::Launcher(Launcher::Up)]) else { return };
    for launcher in
        LAUNCHERS_OF_DISKS.into_iter().filter(|launcher| Need::Launcher(*launcher).missing().is_none())
    {
        for (words, part) in [
            (&["--share", "/no/such/directory"][..], "--share /no/such/directory: No such file"),
            (&["--mpi-user", "hpc:12"], "--mpi-user hpc:12: expected a user id"),
            (&["-u", "ann", "--mpi-user", "ann"], "--mpi-user ann: that is the login name"),
            (&["-c", "OWN"], "user-data: line 2"),
            (&["--authorized-keys", "/no/such/file"], "--authorized-keys /no/such/file: No such file"),
            (&["--keys", "OWN"], "--keys "),
            (&["-c", "none", "--nfs", "/shared"], "--nfs is for cloud-init in guests"),
            (&["--ready", "cloud-init", "-c", "none"], "--ready cloud-init: rank 0 has no configuration"),
        ] {
            let job = Job::bare(launcher, 2);
            let (disk, own) = (job.place("disk.img"), job.place("out/own"));
            fs::write(&disk, vec![0; 1 << 20]).unwrap();
            fs::create_dir(&own).unwrap();
            fs::write(format!("{own}/user-data"), "#cloud-config\nruncmd: hello: world\n").unwrap();
            let words = words.iter().map(|word| word.replace("OWN", &own));
            let job = job.flags(["-i", &disk]).flags(words.collect::<Vec<_>>()).run();
            let said = job.stderr();
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("mvpnet: ")).collect();
            assert!(ours.len() == 1 && ours[0].contains(part), "{launcher}, {part}: {said}");
            assert!(
                job.code() == 2 && job.took < SOON,
                "{launcher}, {part}: {} after {:?}",
                job.code(),
                job.took
            );
        }
    }
}

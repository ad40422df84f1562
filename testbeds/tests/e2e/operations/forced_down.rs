//! `mvpnet down --force`, whatever has become of the job.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};

use super::{code, listed, mvpnet};
use crate::harness::leftovers::TIDY;
use crate::harness::{Job, Kind, Launcher, Need, Running, begin};

/// How a job is when it is forced down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plight {
    /// Its guests boot.
    Booting,
    /// Its guests are up, and would take their time to shut down.
    Running,
    /// Rank 0 stands still: nobody answers.
    Rank0Stopped,
    /// Rank 0 has been killed, and its keepers stand still.
    Rank0Killed,
    /// A keeper has been killed, and the job is about to end.
    KeeperKilled,
    /// Somebody has removed its control sockets.
    NoSockets,
}

fn a_job_is_forced_down(launcher: Launcher, plight: Plight) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let job = Job::new(launcher, 2).tiny();
    let (disk, run_dir, sock) = (job.place("out/disk.img"), job.place("run"), job.place("sock"));
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let mut job = job.flags(["-i", &disk, "-r", &run_dir, "-s", &sock]).start();
    job.wait_until_guests_run();
    let name = job.home().name.clone();
    if plight != Plight::Booting {
        job.wait_until_up();
        job.guests().iter().for_each(|guest| drop(guest.run("sed -i '2i sleep 30' /etc/rc.shutdown")));
    }
    bring_into(&mut job, plight);
    let said = mvpnet(&["down", "--force", "--job", &name]);
    assert!(said.is_success() && said.stdout.ends_with("is down\n"), "{plight:?}: {said:?}");
    // What runs elsewhere than under mvpnet's keepers is the launcher's.
    job.ended_within(TIDY);
    assert_eq!(listed(&name, &["--all"]), None);
}

fn bring_into(job: &mut Running, plight: Plight) {
    let name = job.home().name.clone();
    match plight {
        Plight::Booting | Plight::Running => {}
        Plight::Rank0Stopped => {
            job.signal_to(Kind::Ranks, 0, Signal::SIGSTOP);
            assert_eq!(listed(&name, &[]).unwrap()["state"], "silent");
            // Each waits some seconds for an answer: together they take no longer than one.
            std::thread::scope(|scope| {
                for words in [&["down"][..], &["status"], &["reset", "0"]] {
                    scope.spawn(|| is_told_of_force(&name, words));
                }
            });
        }
        Plight::Rank0Killed => {
            let keepers = job.processes().into_iter().filter(|process| process.kind == Kind::Keeper);
            keepers.for_each(|keeper| kill(keeper.pid, Signal::SIGSTOP).unwrap());
            job.signal_to(Kind::Ranks, 0, Signal::SIGKILL);
        }
        Plight::KeeperKilled => job.signal_to(Kind::Keeper, 1, Signal::SIGKILL),
        Plight::NoSockets => {
            let here = Path::new("/tmp").join(format!("mvpnet-{}", nix::unistd::geteuid()));
            let directories =
                [std::env::var_os("XDG_RUNTIME_DIR").map(|dir| Path::new(&dir).join("mvpnet")), Some(here)];
            for process in job.processes().iter().filter(|process| process.kind == Kind::Ranks) {
                for end in ["sock", "rank.sock"] {
                    for directory in directories.iter().flatten() {
                        let _ = fs::remove_file(directory.join(format!("{}.{end}", process.pid)));
                    }
                }
            }
            assert_eq!(listed(&name, &[]).unwrap()["state"], "silent");
        }
    }
}

/// Who asks a job that stands still is told what ends it all the same.
fn is_told_of_force(name: &str, words: &[&str]) {
    let said = mvpnet(&[words, &["--job", name]].concat());
    let says = "does not answer; `mvpnet down --force` ends it all the same";
    assert!(code(&said) == Some(1) && said.stderr.contains(says), "{words:?}: {said:?}");
}

macro_rules! forced {
    ($($name:ident: $launcher:ident, $plight:ident;)*) => {
        $(#[test]
        fn $name() {
            a_job_is_forced_down(Launcher::$launcher, Plight::$plight);
        })*
    };
}

forced! {
    a_booting_job_is_forced_down_under_up: Up, Booting;
    a_running_job_is_forced_down_under_up: Up, Running;
    a_job_that_stands_still_is_forced_down_under_up: Up, Rank0Stopped;
    a_job_that_is_dead_with_living_keepers_is_forced_down_under_up: Up, Rank0Killed;
    a_job_that_lost_a_keeper_is_forced_down_under_up: Up, KeeperKilled;
    a_job_without_a_socket_is_forced_down_under_up: Up, NoSockets;

    a_booting_job_is_forced_down_under_mpich: Mpich, Booting;
    a_running_job_is_forced_down_under_mpich: Mpich, Running;
    a_job_whose_rank_0_stands_still_is_forced_down_under_mpich: Mpich, Rank0Stopped;
    a_job_whose_rank_0_is_dead_is_forced_down_under_mpich: Mpich, Rank0Killed;
    a_job_that_lost_a_keeper_is_forced_down_under_mpich: Mpich, KeeperKilled;
    a_job_without_sockets_is_forced_down_under_mpich: Mpich, NoSockets;

    a_booting_job_is_forced_down_under_openmpi: OpenMpi, Booting;
    a_running_job_is_forced_down_under_openmpi: OpenMpi, Running;
    a_job_whose_rank_0_stands_still_is_forced_down_under_openmpi: OpenMpi, Rank0Stopped;
    a_job_whose_rank_0_is_dead_is_forced_down_under_openmpi: OpenMpi, Rank0Killed;
    a_job_that_lost_a_keeper_is_forced_down_under_openmpi: OpenMpi, KeeperKilled;
    a_job_without_sockets_is_forced_down_under_openmpi: OpenMpi, NoSockets;
}

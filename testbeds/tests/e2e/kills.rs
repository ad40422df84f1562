//! `kill -9` of every kind of process of a job, at boot and in traffic: the job is over and nothing is left.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::leftovers::TIDY;
use crate::harness::{Ended, Job, Kind, Launcher, Need, Running, begin};

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// mpirun, or `mvpnet up`.
    Launcher,
    /// The rank that leads the job.
    Rank0,
    /// Another rank.
    Rank,
    /// The other rank's guest.
    Guest,
    /// The keeper of that guest.
    Keeper,
}

fn killed_at_boot(launcher: Launcher, victim: Victim) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = with_sockets(Job::new(launcher, 2)).tiny().start();
    job.wait_until_guests_run();
    kill_and_see(job, victim);
}

fn killed_in_traffic(launcher: Launcher, victim: Victim) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = with_sockets(Job::new(launcher, 2)).tiny().stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    guests[0]
        .tell(&format!("iperf3 -c {} -t 300 --bidir -i 0.25 --forceflush >/tmp/traffic", guests[1].ip()));
    // Both ways, for a second.
    guests[0].run_until(Duration::from_secs(30), "[ $(grep -c 'bits/sec' /tmp/traffic) -ge 8 ]");
    kill_and_see(job, victim);
}

/// Sockets with names too, which could be left behind.
fn with_sockets(job: Job) -> Job {
    let directory = job.place("sock");
    job.flags(["-s", &directory])
}

fn kill_and_see(mut job: Running, victim: Victim) {
    match victim {
        Victim::Launcher => job.signal(Signal::SIGKILL),
        Victim::Rank0 => job.signal_to(Kind::Ranks, 0, Signal::SIGKILL),
        Victim::Rank => job.signal_to(Kind::Ranks, 1, Signal::SIGKILL),
        Victim::Guest => job.signal_to(Kind::Guest, 1, Signal::SIGKILL),
        Victim::Keeper => job.signal_to(Kind::Keeper, 1, Signal::SIGKILL),
    }
    // That nothing is left, `ended_within` sees to itself.
    let job = job.ended_within(TIDY);
    assert_ne!(job.code(), 0, "a job that lost a process did not succeed");
    if matches!(victim, Victim::Guest | Victim::Keeper) {
        says_what_happened(&job);
    }
}

fn says_what_happened(job: &Ended) {
    job.assert_code(1);
    job.assert_said("mvpnet: rank 1: ");
    job.assert_said("mvpnet: stopping: the guest of rank 1 failed");
}

macro_rules! kills {
    ($($name:ident: $when:ident($launcher:ident, $victim:ident);)*) => {
        $(#[test]
        fn $name() {
            $when(Launcher::$launcher, Victim::$victim);
        })*
    };
}

kills! {
    up_is_killed_at_boot: killed_at_boot(Up, Launcher);
    a_guest_is_killed_at_boot_under_up: killed_at_boot(Up, Guest);
    a_keeper_is_killed_at_boot_under_up: killed_at_boot(Up, Keeper);
    up_is_killed_in_traffic: killed_in_traffic(Up, Launcher);
    a_guest_is_killed_in_traffic_under_up: killed_in_traffic(Up, Guest);
    a_keeper_is_killed_in_traffic_under_up: killed_in_traffic(Up, Keeper);

    mpirun_is_killed_at_boot_under_mpich: killed_at_boot(Mpich, Launcher);
    rank_0_is_killed_at_boot_under_mpich: killed_at_boot(Mpich, Rank0);
    a_rank_is_killed_at_boot_under_mpich: killed_at_boot(Mpich, Rank);
    a_guest_is_killed_at_boot_under_mpich: killed_at_boot(Mpich, Guest);
    a_keeper_is_killed_at_boot_under_mpich: killed_at_boot(Mpich, Keeper);
    mpirun_is_killed_in_traffic_under_mpich: killed_in_traffic(Mpich, Launcher);
    rank_0_is_killed_in_traffic_under_mpich: killed_in_traffic(Mpich, Rank0);
    a_rank_is_killed_in_traffic_under_mpich: killed_in_traffic(Mpich, Rank);
    a_guest_is_killed_in_traffic_under_mpich: killed_in_traffic(Mpich, Guest);
    a_keeper_is_killed_in_traffic_under_mpich: killed_in_traffic(Mpich, Keeper);

    mpirun_is_killed_at_boot_under_openmpi: killed_at_boot(OpenMpi, Launcher);
    rank_0_is_killed_at_boot_under_openmpi: killed_at_boot(OpenMpi, Rank0);
    a_rank_is_killed_at_boot_under_openmpi: killed_at_boot(OpenMpi, Rank);
    a_guest_is_killed_at_boot_under_openmpi: killed_at_boot(OpenMpi, Guest);
    a_keeper_is_killed_at_boot_under_openmpi: killed_at_boot(OpenMpi, Keeper);
    mpirun_is_killed_in_traffic_under_openmpi: killed_in_traffic(OpenMpi, Launcher);
    rank_0_is_killed_in_traffic_under_openmpi: killed_in_traffic(OpenMpi, Rank0);
    a_rank_is_killed_in_traffic_under_openmpi: killed_in_traffic(OpenMpi, Rank);
    a_guest_is_killed_in_traffic_under_openmpi: killed_in_traffic(OpenMpi, Guest);
    a_keeper_is_killed_in_traffic_under_openmpi: killed_in_traffic(OpenMpi, Keeper);
}

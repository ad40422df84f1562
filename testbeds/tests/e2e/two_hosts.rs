//! Jobs over two hosts, which are namespaces of this machine joined by one cable: ranks that really talk over TCP.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::leftovers::TIDY;
use crate::harness::setting::tiny;
use crate::harness::two_hosts::Hosts;
use crate::harness::{Job, Kind, Launcher, Need, Running, begin};

/// `mpirun -host h0,h1 -ppn 1 mvpnet … -i IMG.qcow2,mvpctl=s -n dgram`, as documented but for the paths.
fn documented(launcher: Launcher) -> Running {
    let job = Job::new(launcher, 2).on_two_hosts(1);
    let [run, sock, tftp] = ["run", "sock", "out/tftpd"].map(|part| job.place(part));
    let image = format!("{},mvpctl=s", tiny("tiny.qcow2").display());
    let job = job
        .flags(["-M", "monwrap", "-r", &run, "-s", &sock, "-t", &tftp, "-g", "-i", &image, "-n", "dgram"])
        .stays_up();
    let mut job = job.start();
    job.wait_until_up();
    job
}

fn guests_talk(launcher: Launcher) {
    let needs = [Need::Guests, Need::Disk("tiny.qcow2"), Need::Launcher(launcher), Need::Root];
    let Some(_turn) = begin(&needs) else { return };
    let _hosts = Hosts::up();
    let mut job = documented(launcher);
    let guests = job.guests();
    for (guest, peer) in [(&guests[0], &guests[1]), (&guests[1], &guests[0])] {
        guest.run_each(&[
            format!("ping -c 3 -W 10 {}", peer.name()),
            format!("ping -6 -c 1 -W 10 {}", peer.link_local()),
            format!("iperf3 -c {} -n 4M", peer.ip()),
            format!("iperf3 -c {} -u -b 4M -n 400K", peer.ip()),
        ]);
        let said = guest.run("ping -c 2 -W 5 10.255.255.255");
        assert!(said.contains(&format!("from {}: seq=0", peer.ip())), "{said}");
    }
    // The port is the same on both hosts: each has its own 127.0.0.1.
    assert_eq!((guests[0].port, guests[1].port), (2200, 2201));
    guests[1].tell("ping -c 1 10.255.255.254");
    let job = job.ended();
    job.assert_said("mvpnet: stopping: the guest of rank 1 asked for the shutdown address");
    job.assert_all_halted();
}

#[test]
fn guests_on_two_hosts_talk_under_mpich() {
    guests_talk(Launcher::Mpich);
}

#[test]
fn guests_on_two_hosts_talk_under_openmpi() {
    guests_talk(Launcher::OpenMpi);
}

fn the_ranks_of_one_host_are_killed(launcher: Launcher) {
    let needs = [Need::Guests, Need::Launcher(launcher), Need::Root];
    let Some(_turn) = begin(&needs) else { return };
    let _hosts = Hosts::up();
    let mut job = Job::new(launcher, 4).on_two_hosts(2).tiny().start();
    job.wait_until_up();
    let guests = job.guests();
    guests[0]
        .tell(&format!("iperf3 -c {} -t 300 --bidir -i 0.25 --forceflush >/tmp/traffic", guests[3].ip()));
    guests[0].run_until(Duration::from_secs(30), "[ $(grep -c 'bits/sec' /tmp/traffic) -ge 8 ]");
    job.signal_to_each(Kind::Ranks, &[2, 3], Signal::SIGKILL);
    let job = job.ended_within(TIDY);
    assert_ne!(job.code(), 0, "a job that lost ranks did not succeed");
}

#[test]
fn the_ranks_of_one_host_are_killed_under_mpich() {
    the_ranks_of_one_host_are_killed(Launcher::Mpich);
}

#[test]
fn the_ranks_of_one_host_are_killed_under_openmpi() {
    the_ranks_of_one_host_are_killed(Launcher::OpenMpi);
}

/// The guests on the host that mpirun is not on go too.
fn mpirun_is_killed(launcher: Launcher) {
    let Some(_turn) = begin(&[Need::Launcher(launcher), Need::Root]) else { return };
    let _hosts = Hosts::up();
    let script = "0-1:duplex,to=2,seconds=100; 2-3:duplex,to=0,seconds=100";
    let mut job = Job::new(launcher, 4).on_two_hosts(2).generators(script).stays_up().start();
    job.wait_until_up();
    job.signal(Signal::SIGKILL);
    let job = job.ended_within(TIDY);
    job.assert_code(128 + 9);
}

#[test]
fn mpirun_is_killed_under_mpich() {
    mpirun_is_killed(Launcher::Mpich);
}

#[test]
fn mpirun_is_killed_under_openmpi() {
    mpirun_is_killed(Launcher::OpenMpi);
}

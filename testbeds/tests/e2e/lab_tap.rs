//! Real guests whose frames the kernel of server1 carries, by `mvpnet up --remote --tap`.

use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan};
use nix::sys::signal::Signal;

use crate::harness::leftovers::TIDY;
use crate::harness::{Kind, Lab, Launcher, Need, Running, Whose, begin, wait_for};

const SETTLING: Duration = Duration::from_secs(20);

/// What is on server1 besides its own.
fn taps(lab: &Lab) -> usize {
    lab.run_on(Host::Server1, "ip -brief link").lines().filter(|line| !line.contains("eth0")).count() - 1
}

/// Guests up, with the addresses that nobody hands out here.
fn guests_on_taps(lab: &mut Lab) -> Running {
    let mut job = lab.job(2).flags(["--tap"]).stays_up().start();
    job.wait_until_up();
    for guest in job.guests() {
        guest.run(&format!("ip address add {}/8 dev mvp0", guest.ip()));
    }
    job
}

fn guests_talk(bridge: Whose) {
    let needs = [Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::empty(Plan::default());
    lab.start_bridge(bridge, 2);
    let job = guests_on_taps(&mut lab);
    lab.job = Some(job);
    assert_eq!(taps(&lab), 6, "a tap, a bridge and a tunnel for each");
    let guests = lab.guests();
    for (one, other) in [(0, 1), (1, 0)] {
        guests[one].reaches_within(SETTLING, &guests[other].ip());
        assert_eq!(guests[one].run("cat /sys/class/net/mvp0/mtu").trim(), "1450");
        // As long as may be, and in one piece.
        guests[one].run(&format!("ping -c 1 -W 5 -s 1422 {}", guests[other].ip()));
    }
    lab.end_guests();
    assert_eq!(taps(&lab), 0);
}

#[test]
fn guests_on_taps_talk_through_mvpnet() {
    guests_talk(Whose::Ours);
}

#[test]
fn guests_on_taps_talk_through_the_kernel() {
    guests_talk(Whose::Kernels);
}

#[test]
fn guests_on_taps_that_are_killed_leave_no_interface() {
    let needs = [Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::empty(Plan::default());
    for _ in 0..2 {
        let mut job = guests_on_taps(&mut lab);
        job.signal_to(Kind::Ranks, 0, Signal::SIGKILL);
        job.ended_within(TIDY).assert_code(128 + 9);
        let gone = wait_for(TIDY, || (taps(&lab) == 0).then_some(()));
        assert!(gone.is_some(), "{}", lab.run_on(Host::Server1, "ip -brief link"));
    }
}

//! Either side of the lab killed at any moment: it leaves nothing, and the other side goes on when it returns.

use std::process::{Child, Stdio};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan, bridges, traffic};
use mvpnet_testbeds::wall::nap;
use nix::sys::signal::Signal;

use crate::harness::lab::OurBridge;
use crate::harness::leftovers::TIDY;
use crate::harness::{Kind, Lab, Launcher, Need, Whose, begin, wait_for};

const SETTLING: Duration = Duration::from_secs(20);

/// A stream from guest 0 to guest 1, both of the kernel's kind, as long as this lives.
struct Traffic {
    client: Child,
    _server: traffic::Server,
}

impl Traffic {
    fn start(lab: &Lab) -> Self {
        let server = traffic::Server::start(&lab.servers, Host::Guest(1)).unwrap();
        let mut client = lab.servers.command(Host::Guest(0), "iperf3");
        client.args(["-c", "10.0.0.2", "-t", "300"]).stdout(Stdio::null()).stderr(Stdio::null());
        Self { client: client.spawn().unwrap(), _server: server }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        bridges::end(&mut self.client);
    }
}

fn interfaces(lab: &Lab, host: Host) -> String {
    lab.run_on(host, "ip -br link | cut -d' ' -f1")
}

#[test]
fn a_bridge_that_is_killed_leaves_nothing_and_guests_of_the_kernel_go_on_with_the_next() {
    let Some(_turn) = begin(&[Need::Servers, Need::Launcher(Launcher::Up)]) else { return };
    let mut lab = Lab::up(Whose::Kernels, Whose::Ours, Plan::with_guests(2));
    let guests = lab.guests();
    let before = interfaces(&lab, Host::Server2);
    for _ in 0..3 {
        guests[0].reaches_within(SETTLING, &guests[1].ip());
        let traffic = Traffic::start(&lab);
        let busy = wait_for(SETTLING, || (lab.status().port(40)?.received.frames > 1000).then_some(()));
        assert!(busy.is_some(), "there is traffic: {:?}", lab.status());
        let bridge = lab.bridge.take().unwrap();
        bridge.signal(Signal::SIGKILL);
        bridge.ended();
        assert_eq!(interfaces(&lab, Host::Server2), before);
        lab.start_bridge(Whose::Ours, 2);
        drop(traffic);
    }
    guests[0].reaches_within(SETTLING, &guests[1].ip());
}

/// From its first instructions to when it is ready.
#[test]
fn a_bridge_that_is_killed_while_it_starts_leaves_nothing() {
    let Some(_turn) = begin(&[Need::Servers, Need::Launcher(Launcher::Up)]) else { return };
    let mut lab = Lab::empty(Plan::default());
    let before = interfaces(&lab, Host::Server2);
    for step in 0..12 {
        let bridge = OurBridge::start_without_waiting(&lab.servers, 40..44, &[]);
        nap(Duration::from_millis(5 * step));
        bridge.signal(Signal::SIGKILL);
        bridge.ended();
    }
    assert_eq!(interfaces(&lab, Host::Server2), before);
    lab.start_bridge(Whose::Ours, 4);
    assert_eq!(lab.status().ports.len(), 4);
}

#[test]
fn guests_of_mvpnet_go_on_when_a_killed_bridge_returns() {
    let needs = [Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Ours, Plan::with_guests(2));
    let guests = lab.guests();
    for _ in 0..2 {
        guests[0].reaches_within(SETTLING, &guests[1].ip());
        guests[0].run(&format!("(iperf3 -c {} -t 300 >/dev/null 2>&1 &)", guests[1].ip()));
        let bridge = lab.bridge.take().unwrap();
        bridge.signal(Signal::SIGKILL);
        bridge.ended();
        assert!(!guests[0].reaches(&guests[1].ip()));
        lab.start_bridge(Whose::Ours, 2);
        guests[0].run("killall iperf3 || true");
    }
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    lab.end_guests();
}

#[test]
fn guests_that_are_killed_leave_nothing_and_the_bridge_serves_the_next() {
    let needs = [Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Ours, Plan::with_guests(2));
    let before = interfaces(&lab, Host::Server1);
    let guests = lab.guests();
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    guests[0].run(&format!("(iperf3 -c {} -t 300 >/dev/null 2>&1 &)", guests[1].ip()));
    let mut job = lab.job.take().unwrap();
    job.signal_to(Kind::Ranks, 0, Signal::SIGKILL);
    job.ended_within(TIDY).assert_code(128 + 9);
    assert_eq!(interfaces(&lab, Host::Server1), before);

    let mut job = lab.job(2).stays_up().start();
    job.wait_until_up();
    lab.job = Some(job);
    let guests = lab.guests();
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    lab.end_guests();
    let status = lab.status();
    assert!(status.books_balance, "{status:?}");
}

/// While guests boot.
#[test]
fn guests_that_are_killed_while_they_start_leave_nothing() {
    let Some(_turn) = begin(&[Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)]) else { return };
    let lab = Lab::empty(Plan::default());
    let before = interfaces(&lab, Host::Server1);
    for step in [0, 20, 50, 100, 300, 1000] {
        let mut job = lab.job(2).stays_up().start();
        nap(Duration::from_millis(step));
        job.signal(Signal::SIGKILL);
        job.ended_within(TIDY).assert_code(128 + 9);
    }
    assert_eq!(interfaces(&lab, Host::Server1), before);
}

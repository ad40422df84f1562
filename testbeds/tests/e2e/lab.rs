//! Guests on one server, their switch on another, VXLAN between them: mvpnet's part and the kernel's at either end, all
//! four combinations, over IPv4 and IPv6.

use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan};

use crate::harness::{Lab, LabGuest, Need, Whose, begin};

/// How long two guests may take to find each other for the first time.
const SETTLING: Duration = Duration::from_secs(20);

fn needs(guests: Whose) -> Vec<Need> {
    let real = [Need::Guests, Need::Launcher(crate::harness::Launcher::Up)];
    let real = real.into_iter().filter(|_| guests == Whose::Ours);
    [Need::Servers, Need::Launcher(crate::harness::Launcher::Up)].into_iter().chain(real).collect()
}

/// Everything that an Ethernet does for guests, through this bridge.
fn guests_talk(guests: Whose, bridge: Whose, plan: Plan) {
    let Some(_turn) = begin(&needs(guests)) else { return };
    let mtu = plan.inner_mtu();
    let mut lab = Lab::up(guests, bridge, plan);
    let all = lab.guests();
    for guest in &all {
        assert_eq!(mtu_of(guest), mtu, "the MTU of guest {} is what the path leaves", guest.number());
    }
    all_pairs_reach_each_other(&all);
    all_answer_broadcasts(&all);
    streams_pass(&lab, &all);
    packets_pass_up_to_the_limit(&all, mtu);
    tagged_frames_pass(&all);
    if bridge == Whose::Ours {
        let status = lab.status();
        assert!(status.books_balance, "{status:?}");
        assert!(status.refusals.is_empty() && status.kernel_drops == 0, "{status:?}");
        assert_eq!(status.mtu, mtu);
    }
    lab.end_guests();
    if let Some(bridge) = lab.bridge.take() {
        bridge.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(bridge.ended(), 0);
    }
}

fn mtu_of(guest: &LabGuest) -> u32 {
    guest.run(&format!("cat /sys/class/net/{}/mtu", guest.interface())).trim().parse().unwrap()
}

fn all_pairs_reach_each_other(guests: &[LabGuest]) {
    for guest in guests {
        for peer in guests {
            guest.reaches_within(SETTLING, &peer.ip());
            guest.reaches_within(SETTLING, &format!("-6 {}", peer.ula()));
        }
    }
}

fn all_answer_broadcasts(guests: &[LabGuest]) {
    for guest in guests {
        let flag = if matches!(guest, LabGuest::Kernels(..)) { "-b" } else { "" };
        let said = guest.run(&format!("ping {flag} -c 3 -W 5 10.255.255.255"));
        for peer in guests {
            assert!(said.contains(&format!("from {}: ", peer.ip())), "{} is silent: {said}", peer.ip());
        }
    }
}

fn streams_pass(lab: &Lab, guests: &[LabGuest]) {
    let [first, .., last] = guests else { panic!("two guests at least") };
    let _server = last.serve_iperf3(&lab.servers);
    for way in ["", "-R"] {
        first.run(&format!("iperf3 -c {} -n 4M {way}", last.ip()));
    }
    let said = first.run(&format!("iperf3 -c {} -u -b 4M -n 400K", last.ip()));
    let line = said.lines().rfind(|line| line.ends_with("receiver")).unwrap_or_default();
    assert!(line.contains("(0%)"), "datagrams were lost at a fraction of the possible rate: {said}");
}

/// A packet as long as the MTU passes in one piece, a longer one in fragments.
fn packets_pass_up_to_the_limit(guests: &[LabGuest], mtu: u32) {
    let [first, .., last] = guests else { panic!("two guests at least") };
    let largest = mtu - 28;
    for size in [largest, largest + 1] {
        first.run(&format!("ping -c 2 -W 5 -s {size} {}", last.ip()));
    }
    // Not to be fragmented.
    if matches!(first, LabGuest::Kernels(..)) {
        first.run(&format!("ping -M do -c 2 -W 5 -s {largest} {}", last.ip()));
    }
}

/// IEEE 802.1Q inside VXLAN: the tag takes four octets of what the path carries.
fn tagged_frames_pass(guests: &[LabGuest]) {
    for guest in guests {
        let device = guest.interface();
        let script = format!(
            "if [ {device} = mvp0 ]; then modprobe 8021q; fi
             ip link add link {device} name vlan5 type vlan id 5
             ip addr add 172.16.5.{}/24 dev vlan5
             ip link set vlan5 mtu $(($(cat /sys/class/net/{device}/mtu) - 4)) up",
            guest.number() + 1
        );
        guest.run(&format!("set -e\n{script}"));
    }
    let [first, .., last] = guests else { panic!("two guests at least") };
    let address = format!("172.16.5.{}", last.number() + 1);
    first.reaches_within(SETTLING, &address);
    let largest = mtu_of(first) - 4 - 28;
    first.run(&format!("ping -c 2 -W 5 -s {largest} {address}"));
}

fn ipv6(plan: Plan) -> Plan {
    Plan { ipv6: true, ..plan }
}

#[test]
fn guests_of_the_kernel_talk_through_the_kernel() {
    guests_talk(Whose::Kernels, Whose::Kernels, Plan::with_guests(3));
}

#[test]
fn guests_of_the_kernel_talk_through_mvpnet() {
    guests_talk(Whose::Kernels, Whose::Ours, Plan::with_guests(3));
}

#[test]
fn guests_of_mvpnet_talk_through_the_kernel() {
    guests_talk(Whose::Ours, Whose::Kernels, Plan::with_guests(2));
}

#[test]
fn guests_of_mvpnet_talk_through_mvpnet() {
    guests_talk(Whose::Ours, Whose::Ours, Plan::with_guests(3));
}

#[test]
fn guests_of_the_kernel_talk_through_the_kernel_over_ipv6() {
    guests_talk(Whose::Kernels, Whose::Kernels, ipv6(Plan::with_guests(2)));
}

#[test]
fn guests_of_the_kernel_talk_through_mvpnet_over_ipv6() {
    guests_talk(Whose::Kernels, Whose::Ours, ipv6(Plan::with_guests(2)));
}

#[test]
fn guests_of_mvpnet_talk_through_the_kernel_over_ipv6() {
    guests_talk(Whose::Ours, Whose::Kernels, ipv6(Plan::with_guests(2)));
}

#[test]
fn guests_of_mvpnet_talk_through_mvpnet_over_ipv6() {
    guests_talk(Whose::Ours, Whose::Ours, ipv6(Plan::with_guests(2)));
}

#[test]
fn guests_of_the_kernel_talk_through_mvpnet_in_jumbo_frames() {
    guests_talk(Whose::Kernels, Whose::Ours, Plan { mtu: 9000, ..Plan::with_guests(2) });
}

#[test]
fn guests_of_mvpnet_talk_through_mvpnet_in_jumbo_frames() {
    guests_talk(Whose::Ours, Whose::Ours, Plan { mtu: 9000, ..Plan::with_guests(2) });
}

/// As on a real wire: no super-frames, no unfinished checksums.
#[test]
fn guests_of_the_kernel_talk_through_mvpnet_over_a_plain_wire() {
    guests_talk(Whose::Kernels, Whose::Ours, Plan { wire: true, ..Plan::with_guests(2) });
}

#[test]
fn streams_pass_a_cable_that_loses_frames() {
    let Some(_turn) = begin(&needs(Whose::Kernels)) else { return };
    let words = "latency=2ms loss=2% reorder=1%".to_owned();
    let mut lab =
        Lab::up(Whose::Kernels, Whose::Ours, Plan { loss: Some(words), ..Plan::with_guests(2) });
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    let _server = all[1].serve_iperf3(&lab.servers);
    all[0].run(&format!("iperf3 -c {} -n 2M", all[1].ip()));
    let status = lab.status();
    assert!(status.books_balance && status.lost() == 0, "what the cable loses never came: {status:?}");
    let said = all[0].try_run(&format!("ping -q -i 0.01 -c 500 {}", all[1].ip())).stdout;
    assert!(!said.contains(" 0% packet loss"), "four passages of 500 pings meet a loss of 2 %: {said}");
}

/// What a sender does not know, its path's last mile does: the bridge counts the packet, says so, and tells the sender.
#[test]
fn a_packet_that_is_one_byte_too_long_for_mvpnet_s_bridge_is_counted_and_its_sender_told() {
    let Some(_turn) = begin(&needs(Whose::Kernels)) else { return };
    let mut lab = Lab::up(Whose::Kernels, Whose::Ours, Plan::with_guests(2));
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    all[0].reaches_within(SETTLING, &format!("-6 {}", all[1].ula()));
    // A guest, and all of server1 behind it, that believe in more than the path carries; the kernel sends fragments.
    lab.run_on(Host::Server1, "for port in br40 guest40 vxlan40; do ip link set $port mtu 1500; done");
    all[0].run("ip link set eth0 mtu 1500");
    let limit = lab.servers.plan().inner_mtu();
    all[0].run(&format!("ping -M do -c 1 -W 5 -s {} {}", limit - 28, all[1].ip()));
    let said = all[0].try_run(&format!("ping -M do -c 2 -W 2 -s {} {}", limit - 27, all[1].ip())).stdout;
    assert!(said.contains(&format!("mtu = {limit}")), "the guest is told: {said}");
    let said = all[0].try_run(&format!("ping -6 -M do -c 2 -W 2 -s {} {}", limit - 47, all[1].ula())).stdout;
    assert!(said.contains(&format!("mtu = {limit}")) || said.contains(&format!("mtu={limit}")), "{said}");
    let status = lab.status();
    let dropped = status.port(40).and_then(|port| port.drops.get("oversize")).copied();
    assert_eq!(dropped, Some(2), "one of each family, then the guest knew: {status:?}");
    assert!(status.books_balance);
    lab.our_bridge().wait_until_it_says("oversize");
}

/// Behind a tag the guest's own idea of the MTU is four octets too large for the path.
#[test]
fn a_tagged_packet_that_is_one_byte_too_long_is_counted_and_mvpnet_s_guest_told() {
    let Some(_turn) = begin(&needs(Whose::Ours)) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Kernels, Plan::with_guests(2));
    let all = lab.guests();
    for guest in &all {
        guest.run(&format!(
            "modprobe 8021q && ip link add link mvp0 name vlan5 type vlan id 5 &&
             ip addr add 172.16.5.{}/24 dev vlan5 && ip link set vlan5 up",
            guest.number() + 1
        ));
    }
    all[0].reaches_within(SETTLING, "172.16.5.2");
    let limit = mtu_of(&all[0]) - 4;
    all[0].run(&format!("ping -c 2 -W 5 -s {} 172.16.5.2", limit - 28));
    // The first is lost for the news that it brings; the next comes in fragments.
    let said = all[0].try_run(&format!("ping -c 4 -W 5 -s {} 172.16.5.2", limit - 27));
    assert!(said.is_success() && said.stdout.contains("3 packets received"), "{said:?}");
    let mut job = lab.job.take().unwrap();
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    assert_eq!(job.counters().get("0.ingress-drop-oversize"), Some(&1), "{:?}", job.counters());
}

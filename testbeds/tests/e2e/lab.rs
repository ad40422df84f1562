//! Guests on one server, their switch on another, VXLAN between them: mvpnet's part and the kernel's at either end, all
//! four combinations, over IPv4 and IPv6.

use std::io::IoSlice;
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan};
use mvpnet_testbeds::wire::{Use, Wire};
use nix::sys::signal::Signal;
use nix::sys::socket::MultiHeaders;

use crate::harness::lab::OurBridge;
use crate::harness::setting::skip;
use crate::harness::{Lab, LabGuest, Launcher, Need, Watch, Whose, begin};

/// How long two guests may take to find each other for the first time.
const SETTLING: Duration = Duration::from_secs(20);

fn needs(guests: Whose) -> Vec<Need> {
    let real = [Need::Guests, Need::Launcher(Launcher::Up)];
    let real = real.into_iter().filter(|_| guests == Whose::Ours);
    [Need::Servers, Need::Launcher(Launcher::Up)].into_iter().chain(real).collect()
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
    tagged_frames_pass(&lab, &all);
    if guests == Whose::Kernels {
        the_kernel_tells_its_guests_what_the_path_carries(&lab, &all);
    }
    if bridge == Whose::Ours {
        let status = lab.status();
        assert!(status.books_balance, "{status:?}");
        assert!(status.refusals.is_empty() && status.kernel_drops == 0, "{status:?}");
        assert_eq!(status.mtu, mtu);
    }
    lab.end_guests();
    if let Some(bridge) = lab.bridge.take() {
        bridge.signal(Signal::SIGTERM);
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
fn tagged_frames_pass(lab: &Lab, guests: &[LabGuest]) {
    let [first, .., last] = guests else { panic!("two guests at least") };
    match last {
        LabGuest::Kernels(..) => tagged_frames_arrive(lab, last.number()),
        LabGuest::Ours(_) => {
            guests.iter().for_each(|guest| add_vlan(guest, 4));
            let address = vlan_address(last);
            first.reaches_within(SETTLING, &address);
            first.run(&format!("ping -c 2 -W 5 -s {} {address}", mtu_of(first) - 4 - 28));
        }
    }
}

fn vlan_address(guest: &LabGuest) -> String {
    format!("172.16.5.{}", guest.number() + 1)
}

/// VLAN 5 in a guest of mvpnet, with an MTU so much less than its interface's.
fn add_vlan(guest: &LabGuest, less: u32) {
    guest.run(&format!(
        "modprobe 8021q && ip link add link mvp0 name vlan5 type vlan id 5 && ip addr add {}/24 dev vlan5 &&
         ip link set vlan5 mtu {} up",
        vlan_address(guest),
        mtu_of(guest) - less
    ));
}

/// This machine's kernel need not know VLANs: frames are made here, and tshark shows what arrives.
fn tagged_frames_arrive(lab: &Lab, last: u32) {
    if let Some(why) = Need::Wireshark.missing() {
        skip(&why);
        return;
    }
    let largest = lab.servers.plan().inner_mtu() as usize + 14;
    let frames = [64, largest].map(|size| {
        let mut frame = vec![0x52, 0x55, 0, 0, 0, last as u8, 0x52, 0x55, 0, 0, 0, 0];
        // VLAN 5, then the first local experimental EtherType.
        frame.extend([0x81, 0, 0, 5, 0x88, 0xb5]);
        frame.resize(size, 0x5a);
        frame
    });
    let watch = Watch::begin(&lab.servers, Host::Guest(last), "vlan 5");
    lab.inside(Host::Guest(0), || {
        let wire = Wire::open("eth0", Use::Send).unwrap();
        for frame in &frames {
            assert_eq!(
                wire.send(&mut MultiHeaders::preallocate(1, None), &[[IoSlice::new(frame)]]).unwrap(),
                1
            );
        }
    });
    let seen = watch.wait_for(2, "vlan.id == 5", &["frame.len"]);
    assert_eq!(seen, [64, largest].map(|size| vec![size.to_string()]));
}

/// A guest that believes in more than the path carries, and all of server1 with it but for the tunnel's route.
fn the_kernel_tells_its_guests_what_the_path_carries(lab: &Lab, guests: &[LabGuest]) {
    let limit = lab.servers.plan().inner_mtu();
    let more = limit + 20;
    lab.run_on(
        Host::Server1,
        &format!("for port in br40 guest40 vxlan40; do ip link set $port mtu {more}; done"),
    );
    guests[0].run(&format!("ip link set eth0 mtu {more}"));
    assert_told(&guests[0], limit, &guests[1].ip());
}

/// A packet of that length passes, one that is a byte longer does not, and its sender learns why.
fn assert_told(guest: &LabGuest, limit: u32, address: &str) {
    let headers = if address.contains(':') { 48 } else { 28 };
    guest.run(&format!("ping -M do -c 1 -W 5 -s {} {address}", limit - headers));
    let said = guest.try_run(&format!("ping -M do -c 2 -W 2 -s {} {address}", limit + 1 - headers));
    assert!(!said.is_success(), "{said:?}");
    let said = said.stdout + &said.stderr;
    assert!(
        ["mtu = ", "mtu=", "mtu: "].iter().any(|words| said.contains(&format!("{words}{limit}"))),
        "{said}"
    );
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

/// Two servers with guests, which are one with two addresses here, and one bridge.
#[test]
fn guests_of_two_servers_share_one_bridge() {
    let Some(_turn) = begin(&needs(Whose::Ours)) else { return };
    let mut lab = Lab::empty(Plan::default());
    lab.run_on(Host::Server1, "ip address add 192.0.2.3/24 dev eth0");
    lab.bridge = Some(OurBridge::start(&lab.servers, 40..42, &["--peer", "41:192.0.2.3"]));
    let start = |vni, rank, address: &str| {
        lab.job_from(vni, 1).of_more(rank, 2).flags(["--listen", address]).stays_up().start()
    };
    let mut jobs = [start(40, 0, "192.0.2.1"), start(41, 1, "192.0.2.3")];
    let mut guests = Vec::new();
    for job in &mut jobs {
        job.wait_until_up();
        guests.extend(job.guests().into_iter().map(LabGuest::Ours));
    }
    all_pairs_reach_each_other(&guests);
    // By name, of which both jobs know all.
    guests[0].reaches_within(SETTLING, "n0001");
    guests[1].reaches_within(SETTLING, "n0000");
    let peers: Vec<String> = lab.status().ports.iter().map(|port| port.peer.clone()).collect();
    assert_eq!(peers, ["192.0.2.1:4789", "192.0.2.3:4789"]);
    for mut job in jobs {
        job.end_with(0);
        job.ended().assert_code(0);
    }
}

#[test]
fn streams_pass_a_cable_that_loses_frames() {
    let Some(_turn) = begin(&needs(Whose::Kernels)) else { return };
    let words = "latency=2ms loss=2% reorder=1%".to_owned();
    let mut lab = Lab::up(Whose::Kernels, Whose::Ours, Plan { loss: Some(words), ..Plan::with_guests(2) });
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    let _server = all[1].serve_iperf3(&lab.servers);
    all[0].run(&format!("iperf3 -c {} -n 2M", all[1].ip()));
    let status = lab.status();
    assert!(status.books_balance && status.lost() == 0, "what the cable loses never came: {status:?}");
    let said = all[0].try_run(&format!("ping -q -i 0.01 -c 500 {}", all[1].ip())).stdout;
    assert!(!said.contains(" 0% packet loss"), "four passages of 500 pings meet a loss of 2 %: {said}");
}

/// A bridge that was told of less than server1 knows: it counts the packet, says so, and tells the sender.
#[test]
fn a_packet_that_is_one_byte_too_long_for_mvpnet_s_bridge_is_counted_and_its_sender_told() {
    let Some(_turn) = begin(&needs(Whose::Kernels)) else { return };
    let mut lab = Lab::empty(Plan::with_guests(2));
    lab.bridge = Some(OurBridge::start(&lab.servers, 40..42, &["--mtu", "1400"]));
    let all = lab.guests();
    all[0].reaches_within(SETTLING, &all[1].ip());
    all[0].reaches_within(SETTLING, &format!("-6 {}", all[1].ula()));
    assert_told(&all[0], 1400, &all[1].ip());
    assert_told(&all[0], 1400, &all[1].ula());
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
    // The other one's answers may be fragmented, so nobody could tell it.
    add_vlan(&all[0], 0);
    add_vlan(&all[1], 4);
    all[0].reaches_within(SETTLING, "172.16.5.2");
    let limit = mtu_of(&all[0]) - 4;
    all[0].run(&format!("ping -c 2 -W 5 -s {} 172.16.5.2", limit - 28));
    // The first is lost for the news that it brings; the next come in fragments.
    let said = all[0].try_run(&format!("ping -c 4 -W 5 -s {} 172.16.5.2", limit - 27));
    assert!(said.is_success() && said.stdout.contains("3 packets received"), "{said:?}");
    let mut job = lab.job.take().unwrap();
    job.end_with(0);
    let job = job.ended();
    job.assert_code(0);
    assert_eq!(job.counters().get("0.ingress-drop-oversize"), Some(&1), "{:?}", job.counters());
}

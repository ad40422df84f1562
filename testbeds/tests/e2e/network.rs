//! Guests talk: addresses, names, all pairs, broadcast, IPv6, TCP and UDP, VLANs, MACs of their own making.

use std::time::Duration;

use crate::harness::{Guest, Job, Launcher, Need, Running, begin};

/// A quarter of a second between requests; nothing waits for an answer longer than five.
const PING: &str = "ping -i 0.25 -W 5";

/// How the guests' links are made.
#[derive(Clone, Copy, Debug)]
enum Sockets {
    Inherited,
    Paths,
}

#[test]
fn three_guests_talk_under_up_over_vhost_user_links() {
    three_guests_talk(Launcher::Up, "vhost-user", Sockets::Inherited, 1500, 0);
}

#[test]
fn three_guests_talk_under_up_over_vhost_user_links_with_paths() {
    three_guests_talk(Launcher::Up, "vhost-user", Sockets::Paths, 9000, 7);
}

#[test]
fn three_guests_talk_under_up_over_stream_links_with_paths() {
    three_guests_talk(Launcher::Up, "stream", Sockets::Paths, 9000, 7);
}

#[test]
fn three_guests_talk_under_up_over_dgram_links() {
    three_guests_talk(Launcher::Up, "dgram", Sockets::Inherited, 9000, 7);
}

#[test]
fn three_guests_talk_under_mpich_over_vhost_user_links() {
    three_guests_talk(Launcher::Mpich, "vhost-user", Sockets::Inherited, 9000, 7);
}

#[test]
fn three_guests_talk_under_mpich_over_stream_links() {
    three_guests_talk(Launcher::Mpich, "stream", Sockets::Inherited, 9000, 7);
}

#[test]
fn three_guests_talk_under_mpich_over_dgram_links_with_paths() {
    three_guests_talk(Launcher::Mpich, "dgram", Sockets::Paths, 1500, 0);
}

#[test]
fn three_guests_talk_under_openmpi_over_vhost_user_links() {
    three_guests_talk(Launcher::OpenMpi, "vhost-user", Sockets::Inherited, 1500, 0);
}

#[test]
fn three_guests_talk_under_openmpi_over_stream_links() {
    three_guests_talk(Launcher::OpenMpi, "stream", Sockets::Inherited, 1500, 0);
}

/// One job, everything that its network has to do, and the application's exit code as the job's.
fn three_guests_talk(launcher: Launcher, net: &str, sockets: Sockets, mtu: u32, code: i32) {
    let Some(_turn) = begin(&[Need::Guests, Need::Launcher(launcher)]) else { return };
    let mut job = Job::new(launcher, 3).tiny().flags(["-n", net, "--mtu", &mtu.to_string(), "-g", "-I"]);
    if let Sockets::Paths = sockets {
        let directory = job.place("sock");
        job = job.flags(["-s", &directory]);
    }
    let served = job.place("out");
    let mut job = job.flags(["-t", &served]).stays_up().start();
    job.wait_until_up();
    let guests = job.guests();
    guests.iter().for_each(|guest| know_where_they_are(guest, guests.len()));
    guests.iter().for_each(|guest| reach_all(guest, &guests));
    answer_broadcasts(&guests);
    carry_streams_and_datagrams(&guests);
    carry_what_the_mtu_allows(&guests, mtu);
    carry_vlans(&guests);
    learn_addresses_made_in_guests(&guests);
    fetch_by_tftp(&job, &guests[1]);
    // -I: asking for the shutdown address does nothing.
    let said = guests[2].try_run("ping -c 1 -W 1 10.255.255.254");
    assert!(!said.is_success(), "nobody has the shutdown address");
    job.end_with(code);
    let job = job.ended();
    job.assert_code(code);
    job.assert_all_halted();
    let counters = job.counters();
    assert!(counters["2.ingress-drop-shutdown-ignored"] > 0, "the request was counted");
    for rank in 0..3 {
        assert_eq!(counters[&format!("{rank}.ingress-drop-bad-length")], 0);
        assert_eq!(counters[&format!("{rank}.ingress-drop-bad-record")], 0);
    }
}

/// The address by DHCP, the names by what the guest knows of the world.
fn know_where_they_are(guest: &Guest, world: usize) {
    guest.run_each(&[
        format!("ip -4 addr show mvp0 | grep -q 'inet {}/8 brd 10.255.255.255'", guest.ip()),
        format!("ip link show mvp0 | grep -q {}", guest.mac()),
        format!("[ \"$(hostname)\" = {} ]", guest.name()),
        format!("grep -q '#wsize: {world}' /etc/hosts && [ $(wc -l </etc/hosts.mpi) = {world} ]"),
        "ip -4 addr show usr0 | grep -q 'inet 192.168.1.'".to_owned(),
    ]);
    // By router advertisement, which guests ask for when they please, and usable once nobody else has it.
    let address = format!("ip -6 addr show mvp0 | grep 'inet6 {}/64' | grep -qv tentative", guest.ula());
    guest.run_until(Duration::from_secs(20), &address);
}

/// Itself too: all pairs.
fn reach_all(guest: &Guest, guests: &[Guest]) {
    let ways = guests.iter().flat_map(|peer| {
        [
            format!("{PING} -c 2 {}", peer.ip()),
            format!("{PING} -c 1 {}", peer.name()),
            format!("{PING} -6 -c 1 {}", peer.link_local()),
            format!("{PING} -6 -c 1 {}", peer.ula()),
        ]
    });
    guest.run_each(&ways.collect::<Vec<_>>());
}

fn answer_broadcasts(guests: &[Guest]) {
    for guest in guests {
        let said = guest.run(&format!("{PING} -c 3 10.255.255.255"));
        for peer in guests {
            assert!(said.contains(&format!("from {}: seq=0", peer.ip())), "{} is silent: {said}", peer.ip());
        }
        // The end of the line: nobody answers twice to one request.
        let doubles = said.matches("seq=0 ").count();
        assert_eq!(doubles, guests.len(), "each answers once: {said}");
    }
}

fn carry_streams_and_datagrams(guests: &[Guest]) {
    let [first, second, third] = guests else { panic!("three guests") };
    for way in ["", "-R"] {
        first.run(&format!("iperf3 -c {} -n 4M {way}", second.name()));
        let said = third.run(&format!("iperf3 -c {} -u -b 4M -n 400K {way}", first.ip()));
        let line = said.lines().rfind(|line| line.ends_with("receiver")).unwrap_or_default();
        assert!(line.contains("(0%)"), "datagrams were lost at a twentieth of the possible rate: {said}");
    }
}

fn carry_what_the_mtu_allows(guests: &[Guest], mtu: u32) {
    // What is larger goes in fragments, each as long as the MTU.
    let largest = mtu - 28;
    guests[0].run_each(&[
        format!("ip link show mvp0 | grep -q 'mtu {mtu} '"),
        format!("{PING} -c 2 -s {largest} {}", guests[2].ip()),
        format!("{PING} -c 2 -s {} {}", largest + 1, guests[1].ip()),
    ]);
}

fn carry_vlans(guests: &[Guest]) {
    for guest in guests {
        guest.run_each(&[
            "modprobe 8021q".to_owned(),
            "ip link add link mvp0 name vlan5 type vlan id 5".to_owned(),
            format!("ip addr add 172.16.5.{}/24 dev vlan5", guest.rank),
            "ip link set vlan5 up".to_owned(),
        ]);
    }
    // Tagged frames are four octets longer than the MTU without a tag allows.
    let size = guests[0].run("cat /sys/class/net/vlan5/mtu").trim().parse::<u32>().unwrap() - 28;
    guests[0].run(&format!("{PING} -c 2 172.16.5.1 && {PING} -c 2 -s {size} 172.16.5.2"));
}

fn learn_addresses_made_in_guests(guests: &[Guest]) {
    for guest in guests {
        guest.run_each(&[
            // The kernel else answers for any of its addresses with any of its MACs.
            "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore".to_owned(),
            "modprobe macvlan".to_owned(),
            format!(
                "ip link add link mvp0 name nested address 02:00:00:00:05:{:02x} type macvlan",
                guest.rank
            ),
            format!("ip addr add 172.16.6.{}/24 dev nested", guest.rank),
            "ip link set nested up".to_owned(),
        ]);
    }
    let found = "ping -c 1 -W 5 172.16.6.2 && ip neigh show dev nested | grep -qi 02:00:00:00:05:02";
    guests[0].run_until(Duration::from_secs(10), found);
}

fn fetch_by_tftp(job: &Running, guest: &Guest) {
    std::fs::write(job.home().at("out/served"), "by tftp\n").unwrap();
    let said = guest.run("cd /tmp && tftp -g -r served 192.168.1.2 && cat served");
    assert!(said.contains("by tftp"), "{said}");
}

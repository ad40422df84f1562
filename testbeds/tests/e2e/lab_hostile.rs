//! Datagrams from those who have no business on the VXLAN port: counted, dropped, and nothing reaches a guest.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mvpnet_testbeds::two_servers::{Host, Plan, VXLAN_PORT};

use crate::harness::{Lab, Launcher, Need, Whose, begin, wait_for};

const SETTLING: Duration = Duration::from_secs(20);
/// Of each kind.
const MANY: usize = 200;

/// A VXLAN header (RFC 7348 §5).
fn header(flags: u8, vni: u32) -> [u8; 8] {
    let [_, a, b, c] = vni.to_be_bytes();
    [flags, 0, 0, 0, a, b, c, 0]
}

/// A broadcast that any guest would take in, and notice.
fn frame() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([0x02, 0, 0, 0, 0, 0x66, 0x88, 0xb5]);
    frame.resize(60, 0x66);
    frame
}

fn datagram(header: [u8; 8], frame: &[u8]) -> Vec<u8> {
    [&header[..], frame].concat()
}

/// What is sent, and the reason that it is refused for, from the peer's own address but for the first.
fn misdeeds() -> Vec<(&'static str, Vec<u8>)> {
    let reserved = |octet: usize| {
        let mut header = header(0x08, 40);
        header[octet] |= 1;
        datagram(header, &frame())
    };
    vec![
        ("unknown-vni", datagram(header(0x08, 39), &frame())),
        ("no-vni-flag", datagram(header(0, 40), &frame())),
        ("reserved-bits", reserved(0)),
        ("reserved-bits", reserved(3)),
        ("reserved-bits", reserved(7)),
        ("short-header", header(0x08, 40)[..7].to_vec()),
        ("short-header", Vec::new()),
        ("truncated-frame", datagram(header(0x08, 40), &frame()[..13])),
    ]
}

#[test]
fn datagrams_of_strangers_and_nonsense_are_counted_and_reach_no_guest() {
    let Some(_turn) = begin(&[Need::Servers, Need::Launcher(Launcher::Up)]) else { return };
    let mut lab = Lab::up(Whose::Kernels, Whose::Ours, Plan::with_guests(2));
    let guests = lab.guests();
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    for guest in &guests {
        // Counted as of an interface that only tests speak on.
        guest.run("echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip link set eth0 arp off");
    }
    lab.run_on(Host::Server1, "ip address add 192.0.2.66/24 dev eth0");
    let target = SocketAddr::new(lab.servers.address(Host::Server2), VXLAN_PORT);
    let received = || {
        guests
            .iter()
            .map(|guest| guest.run("cat /sys/class/net/eth0/statistics/rx_packets"))
            .collect::<Vec<_>>()
    };
    let before = (lab.status(), received());
    let send = |from: &str, datagrams: &[Vec<u8>]| {
        lab.inside(Host::Server1, || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            for datagram in datagrams {
                for _ in 0..MANY {
                    socket.send_to(datagram, target).unwrap();
                }
            }
        });
    };
    send("192.0.2.66", &[datagram(header(0x08, 40), &frame())]);
    send("192.0.2.1", &misdeeds().into_iter().map(|(_, datagram)| datagram).collect::<Vec<_>>());

    let expected = |reason: &str| {
        let kinds = misdeeds().iter().filter(|(refused, _)| *refused == reason).count();
        (if reason == "unknown-peer" { 1 } else { kinds } * MANY) as u64
    };
    let reasons =
        ["unknown-peer", "unknown-vni", "no-vni-flag", "reserved-bits", "short-header", "truncated-frame"];
    let counted = wait_for(SETTLING, || {
        let status = lab.status();
        let all = reasons.iter().all(|&reason| status.refusals.get(reason) == Some(&expected(reason)));
        all.then_some(status)
    });
    let status =
        counted.unwrap_or_else(|| panic!("not every datagram was refused and counted: {:#?}", lab.status()));
    assert_eq!(status.ports, before.0.ports, "no port has seen any of it");
    assert!(status.books_balance);
    assert_eq!(received(), before.1, "nothing reached a guest");
    for guest in &guests {
        guest.run("ip link set eth0 arp on");
    }
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    lab.our_bridge().wait_until_it_says("192.0.2.66");
}

#[test]
fn strangers_reach_no_guest_of_mvpnet_either() {
    let needs = [Need::Servers, Need::Guests, Need::Launcher(Launcher::Up)];
    let Some(_turn) = begin(&needs) else { return };
    let mut lab = Lab::up(Whose::Ours, Whose::Ours, Plan::with_guests(2));
    let guests = lab.guests();
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    lab.run_on(Host::Server2, "ip address add 192.0.2.66/24 dev eth0");
    let target = SocketAddr::new(lab.servers.address(Host::Server1), VXLAN_PORT);
    // An answer to a ping that nobody sent would show up in the guest's counters of ICMP; a frame of any kind in those
    // of its interface, where the guests' own chatter is. So the stranger's frames are many.
    let packets =
        || -> u64 { guests[0].run("cat /sys/class/net/mvp0/statistics/rx_packets").trim().parse().unwrap() };
    let before = packets();
    lab.inside(Host::Server2, || {
        let stranger = UdpSocket::bind("192.0.2.66:0").unwrap();
        let peer = UdpSocket::bind("192.0.2.2:0").unwrap();
        for _ in 0..MANY * 10 {
            stranger.send_to(&datagram(header(0x08, 40), &frame()), target).unwrap();
        }
        for (_, datagram) in misdeeds() {
            for _ in 0..MANY {
                peer.send_to(&datagram, target).unwrap();
            }
        }
    });
    guests[0].reaches_within(SETTLING, &guests[1].ip());
    let more = packets() - before;
    assert!(more < MANY as u64, "{more} frames came in, of which the stranger sent {}", MANY * 10);
    // Which rank finds a datagram of no VNI of theirs is the kernel's choice.
    let counters = lab.end_guests();
    let refused = |reason: &str| {
        let name = format!(".vxlan.refused-{reason}");
        counters.iter().filter(|(of_rank, _)| of_rank.ends_with(&name)).map(|(_, count)| count).sum::<u64>()
    };
    for reason in ["unknown-peer"].into_iter().chain(misdeeds().into_iter().map(|(reason, _)| reason)) {
        assert!(refused(reason) > 0, "no rank has counted {reason}: {counters:#?}");
    }
}

//! Linux's own VTEP at the other end: two of its tunnels, with a host behind each, and a VTEP of ours between
//! them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mvpnet_transports::vxlan::{TunnelId, Vtep, VtepConfig, VtepStats};
use nix::poll::{PollFd, PollFlags, poll};

use super::ends::{tunnel, wait};
use super::namespaces::Namespaces;

const SERVERS: [(&str, &str, u32); 2] =
    [("192.0.2.1", "192.0.2.2", 1450), ("2001:db8::1", "2001:db8::2", 1430)];

/// Two servers and the hosts behind the first, whose interfaces are the kernel's tunnels to the second.
fn lab(test: &str, here: &str, there: &str, mtu: u32) -> Option<Namespaces> {
    let lab = Namespaces::new(test, &["one", "two", "left", "right"])?;
    lab.ip("link add name va netns {one} type veth peer name vb netns {two}");
    let nodad = if here.contains(':') { "nodad" } else { "" };
    let prefix = if here.contains(':') { 64 } else { 24 };
    for (server, link, address) in [("one", "va", here), ("two", "vb", there)] {
        lab.ip(&format!("-n {{{server}}} addr add {address}/{prefix} dev {link} {nodad}"));
        lab.ip(&format!("-n {{{server}}} link set {link} up"));
    }
    for (host, vni, last) in [("left", 40, 1), ("right", 41, 2)] {
        lab.ip(&format!(
            "-n {{one}} link add name vx{vni} type vxlan id {vni} dstport 4789 local {here} remote {there}"
        ));
        lab.ip(&format!("-n {{one}} link set vx{vni} netns {{{host}}}"));
        lab.ip(&format!("-n {{{host}}} link set vx{vni} mtu {mtu} address 52:55:00:00:00:0{last} up"));
        lab.ip(&format!("-n {{{host}}} addr add 10.0.0.{last}/8 dev vx{vni}"));
        lab.ip(&format!("-n {{{host}}} addr add fd00::{last}/64 dev vx{vni} nodad"));
    }
    Some(lab)
}

/// Passes everything on from either tunnel to the other, until told to stop.
fn pass_on(mut vtep: Vtep, [left, right]: [TunnelId; 2], stop: &AtomicBool) -> VtepStats {
    while !stop.load(Ordering::Relaxed) {
        let got = vtep.receive().unwrap();
        for n in 0..got {
            let to = if vtep.frame(n).0 == left { right } else { left };
            vtep.forward(n, to);
        }
        vtep.flush(|_, _, result| assert_eq!(result, Ok(())));
        if got == 0 {
            poll(&mut [PollFd::new(vtep.wait_fd(), PollFlags::POLLIN)], 50u16).unwrap();
        }
    }
    assert_eq!(vtep.refusals().total(), 0);
    vtep.stats()
}

/// Sends `bytes` from left to right over TCP, and returns what arrived.
fn transfer(lab: &Namespaces, to: IpAddr, bytes: &[u8]) -> Vec<u8> {
    let listener = lab.within("right", || TcpListener::bind((to, 5001)).unwrap());
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut stream = lab.within("left", || TcpStream::connect((to, 5001)).unwrap());
            stream.write_all(bytes).unwrap();
        });
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut arrived = Vec::new();
        stream.read_to_end(&mut arrived).unwrap();
        sending.join().unwrap();
        arrived
    })
}

/// Sends datagrams of this length until one arrives.
fn datagram(lab: &Namespaces, to: IpAddr, len: usize) {
    let receiver = lab.within("right", || UdpSocket::bind((to, 5002)).unwrap());
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let sender = lab.within("left", || UdpSocket::bind((any, 0)).unwrap());
    sender.send_to(&vec![7; len], SocketAddr::new(to, 5002)).unwrap();
    wait(std::os::fd::AsFd::as_fd(&receiver));
    assert_eq!(receiver.recv(&mut vec![0; 65_536]).unwrap(), len);
}

#[test]
fn what_a_kernel_leaves_to_a_network_card_is_finished() {
    let name = "what_a_kernel_leaves_to_a_network_card_is_finished";
    for (here, there, mtu) in SERVERS {
        let Some(lab) = lab(name, here, there, mtu) else { return };
        let listen = SocketAddr::new(there.parse().unwrap(), 4789);
        let config = VtepConfig { mtu, ..VtepConfig::new(listen) };
        let (vtep, ids) = lab.within("two", || {
            let mut vtep = Vtep::bind(&config).unwrap();
            let peer = SocketAddr::new(here.parse().unwrap(), 4789);
            let ids = [40, 41].map(|vni| vtep.add(tunnel(vni, peer)).unwrap());
            (vtep, ids)
        });
        let bytes: Vec<u8> = (0..8_000_000u32).map(|at| (at ^ (at >> 8)) as u8).collect();
        let stop = AtomicBool::new(false);
        let stats = std::thread::scope(|scope| {
            let bridge = scope.spawn(|| pass_on(vtep, ids, &stop));
            for to in ["10.0.0.2", "fd00::2"] {
                let to: IpAddr = to.parse().unwrap();
                assert!(transfer(&lab, to, &bytes) == bytes, "over {here}, to {to}");
                datagram(&lab, to, 1000);
                // In fragments, whose checksum the sender's kernel has made.
                datagram(&lab, to, 9000);
            }
            stop.store(true, Ordering::Relaxed);
            bridge.join().unwrap()
        });
        // Whether there was something to finish is the kernel's choice; on this path there always was.
        assert!(stats.checksums_completed > 0 && stats.super_frames_cut > 0, "{stats:?}");
    }
}

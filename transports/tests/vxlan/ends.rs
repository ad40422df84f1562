//! VTEPs to test with, and waiting for what they receive.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use mvpnet_switch::{DropReason, Vni};
use mvpnet_transports::vxlan::{Tunnel, TunnelId, Vtep, VtepConfig};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Milliseconds that anything may take.
const DEADLINE: u16 = 10_000;

/// A port for all addresses of 127.0.0.0/8 that is no other process's of these tests.
pub fn port() -> u16 {
    20_000 + (std::process::id() % 20_000) as u16
}

pub fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

pub fn tunnel(number: u32, peer: SocketAddr) -> Tunnel {
    Tunnel { vni: vni(number), peer }
}

/// A VTEP on any free port of this address.
pub fn vtep(address: &str) -> Vtep {
    let listen = SocketAddr::new(address.parse().unwrap(), 0);
    Vtep::bind(&VtepConfig::new(listen)).unwrap()
}

/// Two VTEPs with a tunnel of this VNI between them.
pub fn pair(one: &str, two: &str, number: u32) -> ((Vtep, TunnelId), (Vtep, TunnelId)) {
    let (mut one, mut two) = (vtep(one), vtep(two));
    let (here, there) = (one.local_addr(), two.local_addr());
    let to_two = one.add(tunnel(number, there)).unwrap();
    let to_one = two.add(tunnel(number, here)).unwrap();
    ((one, to_two), (two, to_one))
}

/// Waits until a descriptor is readable.
pub fn wait(fd: BorrowedFd<'_>) {
    let ready = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(DEADLINE)).unwrap();
    assert!(ready > 0, "nothing came within {DEADLINE} ms");
}

/// Receives until as many frames have come, and returns them.
pub fn receive(vtep: &mut Vtep, count: usize) -> Vec<(TunnelId, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.len() < count {
        let got = vtep.receive().unwrap();
        frames.extend((0..got).map(|n| {
            let (tunnel, frame) = vtep.frame(n);
            (tunnel, frame.to_vec())
        }));
        if got == 0 {
            wait(vtep.wait_fd());
        }
    }
    assert_eq!(frames.len(), count);
    frames
}

/// Receives until `done`.
pub fn receive_until(vtep: &mut Vtep, done: impl Fn(&Vtep) -> bool) {
    loop {
        let got = vtep.receive().unwrap();
        if done(vtep) {
            return;
        }
        if got == 0 {
            wait(vtep.wait_fd());
        }
    }
}

/// Flushes, and returns what became of each copy.
pub fn flush(vtep: &mut Vtep) -> Vec<(usize, Result<(), DropReason>)> {
    let mut outcomes = Vec::new();
    vtep.flush(|_, frame, result| outcomes.push((frame.len(), result)));
    outcomes
}

/// A frame of a type that nobody knows, with a body to know it by.
pub fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[..14].copy_from_slice(&[0x52, 0x55, 0, 0, 0, 1, 0x52, 0x55, 0, 0, 0, 2, 0x88, 0xb5]);
    frame
}

/// Says that a test was skipped, which `MVPNET_REQUIRE=all` forbids.
pub fn skip(name: &str, why: &str) {
    let may_skip = std::env::var("MVPNET_REQUIRE").as_deref() != Ok("all");
    assert!(may_skip, "{name} cannot run: {why}");
    // Past libtest, which shows what a test prints only when it fails. Nobody reads it: the results still count.
    let _ = std::io::stderr().write_all(format!("SKIPPED {name}: {why}\n").as_bytes());
}

//! Ranks that are VTEPs for each other.

use std::net::SocketAddr;

use mvpnet_switch::{Vni, World};
use mvpnet_transports::conformance::{self, Expectations};
use mvpnet_transports::mem;
use mvpnet_transports::vxlan::{MeshConfig, MeshError, MeshTransport, mesh};

use super::ends::port;

/// Addresses 127.0.`net`.1 and so on, with one port for all.
fn addresses(net: u8, size: u32) -> Vec<SocketAddr> {
    (1..=size as u8).map(|host| ([127, 0, net, host], port()).into()).collect()
}

fn ranks(net: u8, size: u32) -> Vec<MeshTransport> {
    let world = World::new(size).unwrap();
    let ends = mem::fabric(world).unwrap();
    world
        .ranks()
        .zip(ends)
        .map(|(me, end)| {
            let addresses = addresses(net, size);
            let config = MeshConfig { me, world, addresses, vni: Vni::new(77).unwrap(), flows: 8 };
            mesh(&config, Some(end)).unwrap()
        })
        .collect()
}

fn conforms(net: u8, size: u32) {
    let threads: Vec<_> = ranks(net, size)
        .into_iter()
        .map(|mut end| {
            std::thread::spawn(move || {
                let is_first = mvpnet_transports::Transport::me(&end).index() == 0;
                // Of a short frame the kernel's own bookkeeping takes more room than the frame.
                let window = (end.receive_buffer() / (16 * size as usize)).min(128 << 10);
                let result = conformance::run(&mut end, &Expectations::datagrams(window), |name| {
                    if is_first {
                        println!("{size} ranks: {name}");
                    }
                });
                result.map_err(|failure| format!("{failure}; {:?}", end.vtep_stats()))
            })
        })
        .collect();
    let failures: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap().err()).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn two_ranks_conform() {
    conforms(2, 2);
}

#[test]
fn three_ranks_conform() {
    conforms(3, 3);
}

#[test]
fn four_ranks_conform() {
    conforms(4, 4);
}

#[test]
fn ranks_that_share_an_address_are_named() {
    let world = World::new(2).unwrap();
    let me = world.rank(0).unwrap();
    let addresses = vec![([127, 0, 1, 1], port()).into(), ([127, 0, 1, 1], port() + 1).into()];
    let config = MeshConfig { me, world, addresses, vni: Vni::new(77).unwrap(), flows: 1 };
    let error = mesh(&config, None).unwrap_err();
    assert!(matches!(error, MeshError::SharedAddress { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "ranks 0 and 1 both have 127.0.1.1: every rank of a mesh needs an address of its own"
    );
}

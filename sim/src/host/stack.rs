//! smoltcp with the simulation's time and addresses.

use std::rc::Rc;

use mvpnet_switch::{Instant, Rank, UlaPrefix};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::{dhcpv4, tcp, udp};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv6Cidr};

use super::device::Wire;
use super::neighbors::Neighbors;

/// smoltcp counts microseconds, the simulation nanoseconds.
const NANOS_PER_MICRO: u64 = 1_000;

/// A host's TCP/IP stack.
pub(super) struct Stack {
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) wire: Wire,
    me: Rank,
    pub(super) neighbors: Neighbors,
    dhcp: SocketHandle,
    /// Sockets of connections that nobody holds any more; they go when they have closed.
    closing: Vec<SocketHandle>,
    /// UDP sockets that nobody holds any more; they go when what they were given is sent.
    draining: Vec<SocketHandle>,
    up: bool,
}

impl Stack {
    pub(super) fn new(rank: Rank, mtu: u32, now: Instant, random_seed: u64) -> Stack {
        let mut wire = Wire::new(mtu);
        let hardware = HardwareAddress::Ethernet(EthernetAddress(rank.mac().octets()));
        let mut config = Config::new(hardware);
        config.random_seed = random_seed;
        let mut interface = Interface::new(config, &mut wire, to_stack(now));
        interface.update_ip_addrs(|addresses| {
            for address in [rank.link_local(), rank.ula(UlaPrefix::default())] {
                let added = addresses.push(IpCidr::Ipv6(Ipv6Cidr::new(address, 64)));
                debug_assert!(added.is_ok(), "the stack has room for three addresses");
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let dhcp = sockets.add(dhcpv4::Socket::new());
        Stack {
            interface,
            sockets,
            wire,
            me: rank,
            neighbors: Neighbors::default(),
            dhcp,
            closing: Vec::new(),
            draining: Vec::new(),
            up: false,
        }
    }

    /// Whether it has its IPv4 address.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    pub(super) fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.wire.incoming.extend(self.neighbors.learn(self.me, now, frame));
        self.wire.incoming.push_back(Rc::from(frame));
    }

    /// Works on all that has come and all that is to go. Returns whether the address has just been given.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        self.interface.poll(to_stack(now), &mut self.wire, &mut self.sockets);
        let has_come_up = self.configure();
        if has_come_up {
            self.interface.poll(to_stack(now), &mut self.wire, &mut self.sockets);
        }
        self.reap();
        has_come_up
    }

    /// When it wants to be polled again if nothing comes.
    pub(super) fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let at = self.interface.poll_at(to_stack(now), &self.sockets)?;
        let micros = u64::try_from(at.total_micros()).unwrap_or(0);
        Some(Instant::from_nanos(micros.saturating_mul(NANOS_PER_MICRO)))
    }

    fn configure(&mut self) -> bool {
        let event = self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll();
        let address = match event {
            Some(dhcpv4::Event::Configured(config)) => Some(IpCidr::Ipv4(config.address)),
            Some(dhcpv4::Event::Deconfigured) => None,
            None => return false,
        };
        self.interface.update_ip_addrs(|addresses| {
            addresses.retain(|address| matches!(address, IpCidr::Ipv6(_)));
            if let Some(address) = address {
                let added = addresses.push(address);
                debug_assert!(added.is_ok(), "the stack has room for three addresses");
            }
        });
        let was_up = std::mem::replace(&mut self.up, address.is_some());
        self.up && !was_up
    }

    /// Lets a connection end on its own.
    pub(super) fn close(&mut self, handle: SocketHandle) {
        self.sockets.get_mut::<tcp::Socket<'_>>(handle).close();
        self.closing.push(handle);
    }

    /// Lets a UDP socket send what it still has.
    pub(super) fn drain(&mut self, handle: SocketHandle) {
        self.draining.push(handle);
    }

    fn reap(&mut self) {
        let sockets = &mut self.sockets;
        self.draining.retain(|handle| {
            let is_sent = sockets.get::<udp::Socket<'_>>(*handle).send_queue() == 0;
            if is_sent {
                sockets.remove(*handle);
            }
            !is_sent
        });
        self.closing.retain(|handle| {
            let closed = sockets.get::<tcp::Socket<'_>>(*handle).state() == tcp::State::Closed;
            if closed {
                sockets.remove(*handle);
            }
            !closed
        });
    }
}

/// The stack's time, rounded down.
pub(super) fn to_stack(now: Instant) -> StackInstant {
    StackInstant::from_micros(i64::try_from(now.as_nanos() / NANOS_PER_MICRO).unwrap_or(i64::MAX))
}

//! The ways to the peers: per peer a few connected sockets and what is known about its path. Tunnels to one
//! peer share them.

use std::io;
use std::net::SocketAddr;

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use super::super::mtu::longest_frame;
use super::super::socket::{Rumour, Sender};
use super::super::table::TunnelId;
use super::{LISTENER, VtepConfig, VtepStats, ready};

/// No route.
const NONE: usize = usize::MAX;

/// Rumours that are taken from one socket at a time.
const MAX_RUMOURS: usize = 64;

/// The way to one peer.
#[derive(Debug)]
pub(super) struct Route {
    pub peer: SocketAddr,
    pub senders: Vec<Sender>,
    /// Of the path, outer headers included.
    pub mtu: u32,
    /// The longest frame that the path takes.
    pub longest: usize,
    /// Whether the kernel cuts runs into datagrams on this way.
    pub segments: bool,
    users: usize,
}

impl Route {
    /// Asks the kernel again for the path's MTU. True where it is another.
    pub fn learn(&mut self, stats: &mut VtepStats) -> bool {
        let Some(mtu) = self.senders.first().and_then(Sender::path_mtu) else { return false };
        let is_new = mtu != self.mtu;
        self.mtu = mtu;
        self.longest = longest_frame(mtu, self.peer.ip());
        stats.path_mtu_changes += u64::from(is_new);
        is_new
    }
}

/// All ways, and which tunnel takes which.
#[derive(Debug)]
pub(super) struct Routes {
    listen: SocketAddr,
    buffer: usize,
    /// Sockets per route: sender `n` of route `r` has the number `r * flows + n`.
    pub flows: usize,
    routes: Vec<Option<Route>>,
    /// By slot of the tunnel.
    of_tunnel: Vec<usize>,
}

/// Whether a socket on `listen` and `peer` can speak to each other.
pub(super) fn reaches(listen: SocketAddr, peer: SocketAddr) -> bool {
    match listen {
        SocketAddr::V4(_) => peer.is_ipv4(),
        SocketAddr::V6(listen) => peer.is_ipv6() || listen.ip().is_unspecified(),
    }
}

impl Routes {
    pub fn new(listen: SocketAddr, config: &VtepConfig) -> Routes {
        let flows = usize::from(config.flows.max(1));
        Routes { listen, buffer: config.send_buffer, flows, routes: Vec::new(), of_tunnel: Vec::new() }
    }

    /// How many senders are numbered.
    pub fn senders(&self) -> usize {
        self.routes.len() * self.flows
    }

    /// The way that a sender is of.
    pub fn of_sender(&mut self, sender: usize) -> Option<(&mut Route, usize)> {
        let route = self.routes.get_mut(sender / self.flows)?.as_mut()?;
        Some((route, sender % self.flows))
    }

    /// The sender for a flow of a tunnel.
    #[inline]
    pub fn sender(&self, tunnel: TunnelId, hash: u32) -> Option<usize> {
        let route = *self.of_tunnel.get(tunnel.index()).filter(|route| **route != NONE)?;
        Some(route * self.flows + hash as usize % self.flows)
    }

    pub fn path_mtu(&self, tunnel: TunnelId) -> Option<u32> {
        let route = *self.of_tunnel.get(tunnel.index())?;
        Some(self.routes.get(route)?.as_ref()?.mtu)
    }

    /// Opens the way to a tunnel's peer, where there is none yet.
    pub fn open(&mut self, tunnel: TunnelId, peer: SocketAddr, epoll: &Epoll) -> io::Result<()> {
        let known = self.routes.iter().position(|route| route.as_ref().is_some_and(|way| way.peer == peer));
        let at = match known {
            Some(at) => at,
            None => {
                let free = self.routes.iter().position(Option::is_none);
                let at = free.unwrap_or(self.routes.len());
                let route = self.connect(at, peer, epoll)?;
                if at == self.routes.len() {
                    self.routes.push(None);
                }
                self.routes[at] = Some(route);
                at
            }
        };
        if let Some(route) = &mut self.routes[at] {
            route.users += 1;
        }
        if self.of_tunnel.len() <= tunnel.index() {
            self.of_tunnel.resize(tunnel.index() + 1, NONE);
        }
        self.of_tunnel[tunnel.index()] = at;
        Ok(())
    }

    fn connect(&self, at: usize, peer: SocketAddr, epoll: &Epoll) -> io::Result<Route> {
        let mut senders = Vec::with_capacity(self.flows);
        for number in 0..self.flows {
            // Any seed will do that is not the same in every process of this host.
            let seed =
                std::process::id().wrapping_mul(0x9e37_79b9) ^ ((at * self.flows + number) as u32 * 131);
            let sender = Sender::connect(self.listen.ip(), peer, self.buffer, seed)?;
            // Errors are told without being asked for (epoll_ctl(2)).
            let number = (at * self.flows + number) as u64;
            epoll.add(&sender, EpollEvent::new(EpollFlags::empty(), number))?;
            senders.push(sender);
        }
        let mut route = Route { peer, senders, mtu: 0, longest: 0, segments: true, users: 0 };
        route.learn(&mut VtepStats::default());
        Ok(route)
    }

    /// A tunnel is no more.
    pub fn close(&mut self, tunnel: TunnelId, epoll: &Epoll) {
        let Some(at) = self.of_tunnel.get_mut(tunnel.index()) else { return };
        let at = std::mem::replace(at, NONE);
        let Some(slot) = self.routes.get_mut(at) else { return };
        let is_last = slot.as_mut().is_some_and(|route| {
            route.users -= 1;
            route.users == 0
        });
        if is_last && let Some(route) = slot.take() {
            for sender in &route.senders {
                // A closed descriptor leaves the set by itself.
                let _ = epoll.delete(sender);
            }
        }
    }

    /// Listens to what routers and peers say about earlier datagrams.
    pub fn hear(&mut self, epoll: &Epoll, stats: &mut VtepStats) {
        let mut events = [EpollEvent::empty(); 16];
        for event in ready(epoll, &mut events) {
            if event.data() == LISTENER {
                continue;
            }
            let Ok(sender) = usize::try_from(event.data()) else { continue };
            let Some((route, number)) = self.of_sender(sender) else { continue };
            for _ in 0..MAX_RUMOURS {
                match route.senders[number].hear() {
                    Some(Rumour::Mtu(_)) => {
                        route.learn(stats);
                    }
                    Some(Rumour::Unreachable) => stats.unreachable += 1,
                    None => break,
                }
            }
        }
    }
}

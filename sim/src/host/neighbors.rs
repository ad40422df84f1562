//! Which neighbours a stack knows, and making it know them.
//!
//! smoltcp asks for one neighbour per second at most, and throws away an answer (to a ping, to a refused connection)
//! whose destination it does not know; other stacks ask as often as they must, and keep what they are asking for. So
//! the host does both in its stack's place: it asks before a program sends, by ARP and neighbour solicitations that
//! its switch answers, and it introduces whoever sends it a packet first. smoltcp learns from what comes either way.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use mvpnet_switch::{Instant, MacAddr, Rank, UlaPrefix, World};
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet};

use super::Host;
use super::discovery;

/// smoltcp forgets a neighbour after a minute, so that it must be found again before.
const KNOWN_FOR: Duration = Duration::from_secs(30);

/// How long a program waits for a neighbour's address before it goes on without.
const PATIENCE: Duration = Duration::from_secs(1);

/// The neighbours that the stack knows, and since when.
#[derive(Debug, Default)]
pub(super) struct Neighbors {
    known: BTreeMap<IpAddr, Instant>,
    waiting: Vec<Waker>,
}

impl Neighbors {
    fn knows(&self, neighbor: IpAddr, now: Instant) -> bool {
        self.known.get(&neighbor).is_some_and(|since| now.saturating_since(*since) < KNOWN_FOR)
    }

    /// Takes note of what a frame will tell the stack, or returns the frame that must come before it.
    pub(super) fn learn(&mut self, me: Rank, now: Instant, frame: &[u8]) -> Option<Rc<[u8]>> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.dst_addr() != EthernetAddress(me.mac().octets()) {
            return None;
        }
        if let Some(neighbor) = discovery::answer(&frame) {
            self.known.insert(neighbor, now);
            self.waiting.drain(..).for_each(Waker::wake);
            return None;
        }
        let source = source(&frame).filter(|source| !source.is_unspecified())?;
        let from = frame.src_addr();
        if from.0 == MacAddr::SWITCH.octets() || self.knows(source, now) {
            return None;
        }
        self.known.insert(source, now);
        Some(discovery::introduction(me, from, source))
    }
}

fn source(frame: &EthernetFrame<&[u8]>) -> Option<IpAddr> {
    match frame.ethertype() {
        EthernetProtocol::Ipv4 => Some(Ipv4Packet::new_checked(frame.payload()).ok()?.src_addr().into()),
        EthernetProtocol::Ipv6 => Some(Ipv6Packet::new_checked(frame.payload()).ok()?.src_addr().into()),
        _ => None,
    }
}

/// Whether an address is reached without a router.
fn is_neighbor(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => World::is_network_address(address) && is_single(address),
        IpAddr::V6(address) => {
            let prefix = |address: Ipv6Addr| address.to_bits() >> 64;
            address.is_unicast_link_local() || prefix(address) == prefix(UlaPrefix::default().address())
        }
    }
}

fn is_single(address: Ipv4Addr) -> bool {
    address != World::BROADCAST_ADDRESS
}

impl Host {
    /// Asks for a neighbour's hardware address, if the stack does not know it, and waits for the answer.
    pub(super) async fn find(&self, neighbor: IpAddr) {
        if !is_neighbor(neighbor) || self.knows(neighbor) {
            return;
        }
        let question = discovery::question(self.0.rank, neighbor);
        self.0.inner.borrow_mut().stack.wire.outgoing.push(question);
        self.nudge();
        let answered = poll_fn(|context| {
            if self.knows(neighbor) {
                return Poll::Ready(());
            }
            self.0.inner.borrow_mut().stack.neighbors.waiting.push(context.waker().clone());
            Poll::Pending
        });
        // Without an answer the stack finds out for itself what becomes of the packet.
        let _ = self.timeout(PATIENCE, answered).await;
    }

    fn knows(&self, neighbor: IpAddr) -> bool {
        let inner = self.0.inner.borrow();
        inner.stack.neighbors.knows(neighbor, inner.now)
    }
}

//! The doorbell between hosts: one UDP datagram.
//!
//! A datagram carries the job's key, without which it is ignored, and a lost one costs no more than the
//! sleeper's backstop. Which of a host's addresses can be reached is found out by trying: until a peer has
//! answered, it is rung at all of them, and the answer says which one got through.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::shm::Key;

/// Key, sender, receiver, what it is, which address.
const DATAGRAM_LEN: usize = 16 + 4 + 4 + 1 + 1;
const RING: u8 = 1;
const RING_AND_ANSWER: u8 = 2;
const ANSWER: u8 = 3;

/// A peer that polls does so for longer than this after a message, and finds the next one unrung.
const POLLING: Duration = Duration::from_micros(60);
/// A send that is not complete after this long is rung for again.
const AGAIN: Duration = Duration::from_micros(500);
/// Rings at all addresses without an answer before they become rare.
const EAGER_TRIES: u32 = 64;
/// How rare.
const RARELY: Duration = Duration::from_secs(1);

/// This rank's socket.
#[derive(Debug)]
pub(super) struct FarBell {
    socket: UdpSocket,
    /// Whether the socket speaks IPv6, and IPv4 in its IPv6 form.
    is_v6: bool,
    key: Key,
    me: u32,
}

/// What is known of ringing one peer on another host.
#[derive(Debug)]
pub(super) struct FarPeer {
    rank: u32,
    addresses: Vec<SocketAddr>,
    /// The address that was answered for.
    reached: Option<usize>,
    tries: u32,
    /// Whether the peer polls for a while after a message.
    polls: bool,
    last_message: Option<Duration>,
    last_ring: Option<Duration>,
}

impl FarPeer {
    pub fn new(rank: u32, addresses: &[IpAddr], port: u16, polls: bool) -> Self {
        let addresses =
            addresses.iter().filter(|_| port != 0).map(|address| SocketAddr::new(*address, port)).collect();
        FarPeer { rank, addresses, reached: None, tries: 0, polls, last_message: None, last_ring: None }
    }

    /// The peer has answered for one of its addresses.
    pub fn answered(&mut self, at: usize) {
        if at < self.addresses.len() {
            self.reached = Some(at);
        }
    }

    /// Whether a message that leaves now may find the peer asleep.
    fn may_sleep(&self, now: Duration) -> bool {
        !self.polls || self.last_message.is_none_or(|last| now.saturating_sub(last) > POLLING)
    }
}

impl FarBell {
    /// A socket on all of the host's addresses.
    pub fn bind(key: Key, me: u32) -> io::Result<Self> {
        // Linux takes IPv4 on this socket too unless told otherwise; where there is no IPv6 at all, IPv4
        // alone.
        let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0"))?;
        socket.set_nonblocking(true)?;
        let is_v6 = socket.local_addr()?.is_ipv6();
        Ok(FarBell { socket, is_v6, key, me })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// A message leaves for the peer: rings where it may be asleep. True where it rang.
    pub fn message_leaves(&self, peer: &mut FarPeer, now: Duration) -> bool {
        let rings = peer.may_sleep(now);
        peer.last_message = Some(now);
        rings && self.ring(peer, now)
    }

    /// A message to the peer is still not complete: rings again after a while. True where it rang.
    pub fn message_pends(&self, peer: &mut FarPeer, now: Duration) -> bool {
        peer.last_ring.is_none_or(|last| now.saturating_sub(last) > AGAIN) && self.ring(peer, now)
    }

    fn ring(&self, peer: &mut FarPeer, now: Duration) -> bool {
        let too_soon = peer.last_ring.is_some_and(|last| now.saturating_sub(last) < RARELY);
        if peer.addresses.is_empty() || (peer.reached.is_none() && peer.tries >= EAGER_TRIES && too_soon) {
            return false;
        }
        peer.last_ring = Some(now);
        match peer.reached {
            Some(at) => self.send(RING, peer.rank, at as u8, peer.addresses[at]),
            None => {
                peer.tries = peer.tries.saturating_add(1);
                for (at, address) in peer.addresses.iter().enumerate() {
                    self.send(RING_AND_ANSWER, peer.rank, at as u8, *address);
                }
            }
        }
        true
    }

    /// Reads what has come. True where this rank was rung; `answered` hears which rank was reached at which
    /// of its addresses.
    pub fn drain(&self, mut answered: impl FnMut(u32, usize)) -> bool {
        let mut rung = false;
        let mut datagram = [0; DATAGRAM_LEN + 1];
        loop {
            let (len, from) = match self.socket.recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return rung,
            };
            let Some((what, rank, at)) = self.read(&datagram[..len]) else { continue };
            match what {
                RING => rung = true,
                RING_AND_ANSWER => {
                    rung = true;
                    self.send(ANSWER, rank, at, from);
                }
                ANSWER => answered(rank, usize::from(at)),
                _ => {}
            }
        }
    }

    fn read(&self, datagram: &[u8]) -> Option<(u8, u32, u8)> {
        let datagram: &[u8; DATAGRAM_LEN] = datagram.try_into().ok()?;
        let word = |at: usize| datagram[at..].first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let (from, to) = (word(16)?, word(20)?);
        (datagram[..16] == self.key && to == self.me).then_some((datagram[24], from, datagram[25]))
    }

    fn send(&self, what: u8, to: u32, at: u8, address: SocketAddr) {
        let mut datagram = [0; DATAGRAM_LEN];
        datagram[..16].copy_from_slice(&self.key);
        datagram[16..20].copy_from_slice(&self.me.to_be_bytes());
        datagram[20..24].copy_from_slice(&to.to_be_bytes());
        datagram[24..].copy_from_slice(&[what, at]);
        // An address without a route is what trying them all is for, and a ring may be lost.
        let _ = self.socket.send_to(&datagram, self.reachable_form(address));
    }

    /// A socket that speaks IPv6 wants IPv4 addresses in its own form.
    fn reachable_form(&self, address: SocketAddr) -> SocketAddr {
        match address.ip() {
            IpAddr::V4(v4) if self.is_v6 => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
            _ => address,
        }
    }
}

impl AsFd for FarBell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, poll};

    use super::*;

    fn bell(me: u32) -> FarBell {
        FarBell::bind([5; 16], me).expect("a UDP socket")
    }

    fn wait(bell: &FarBell) {
        let ready = poll(&mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)], 5000u16).expect("poll");
        assert_eq!(ready, 1, "a datagram over loopback arrives within 5 s");
    }

    fn peer(bell: &FarBell, rank: u32, addresses: &[&str], polls: bool) -> FarPeer {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        FarPeer::new(rank, &addresses, bell.port().expect("bound"), polls)
    }

    #[test]
    fn the_address_that_answers_is_used_from_then_on() {
        let (one, two) = (bell(1), bell(2));
        // The first address is nobody's (RFC 5737).
        let mut to_two = peer(&two, 2, &["192.0.2.77", "127.0.0.1"], true);
        assert!(one.message_leaves(&mut to_two, Duration::ZERO));
        wait(&two);
        assert!(two.drain(|_, _| panic!("no answer was due to the one who was rung")));
        wait(&one);
        let mut answers = Vec::new();
        assert!(!one.drain(|rank, at| answers.push((rank, at))));
        assert_eq!(answers, [(2, 1)]);
        to_two.answered(1);
        assert_eq!(to_two.reached, Some(1));
        to_two.answered(9);
        assert_eq!(to_two.reached, Some(1));
    }

    #[test]
    fn a_datagram_without_the_key_or_for_another_rank_is_ignored() {
        let (stranger, two) = (FarBell::bind([6; 16], 1).expect("a UDP socket"), bell(2));
        let mut to_two = peer(&two, 2, &["127.0.0.1"], true);
        let mut to_three = peer(&two, 3, &["127.0.0.1"], true);
        assert!(stranger.message_leaves(&mut to_two, Duration::ZERO));
        wait(&two);
        assert!(!two.drain(|_, _| panic!("a stranger's answer")));
        assert!(bell(1).message_leaves(&mut to_three, Duration::ZERO));
        wait(&two);
        assert!(!two.drain(|_, _| panic!("another's answer")));
    }

    #[test]
    fn a_peer_that_polls_is_rung_after_a_silence_only() {
        let (one, two) = (bell(1), bell(2));
        let mut polls = peer(&two, 2, &["127.0.0.1"], true);
        let later = Duration::from_nanos(1);
        assert!(one.message_leaves(&mut polls, later));
        assert!(!one.message_leaves(&mut polls, later + POLLING));
        assert!(one.message_leaves(&mut polls, later * 2 + POLLING * 2));
        let mut sleeps_at_once = peer(&two, 2, &["127.0.0.1"], false);
        assert!((0..2).all(|_| one.message_leaves(&mut sleeps_at_once, later)));
    }

    #[test]
    fn a_message_that_pends_is_rung_for_again_but_not_at_once() {
        let (one, two) = (bell(1), bell(2));
        let mut peer = peer(&two, 2, &["127.0.0.1"], true);
        assert!(one.message_leaves(&mut peer, Duration::ZERO));
        assert!(!one.message_pends(&mut peer, AGAIN));
        assert!(one.message_pends(&mut peer, AGAIN * 2));
    }

    #[test]
    fn a_peer_that_never_answers_is_tried_rarely() {
        let (one, two) = (bell(1), bell(2));
        let mut peer = peer(&two, 2, &["127.0.0.1"], false);
        let eager = (0..1000).filter(|now| one.message_leaves(&mut peer, Duration::from_nanos(*now))).count();
        assert_eq!(eager, EAGER_TRIES as usize);
        assert!(one.message_leaves(&mut peer, RARELY * 2));
    }

    #[test]
    fn a_peer_without_addresses_is_never_rung() {
        let mut peer = FarPeer::new(2, &[], 99, false);
        assert!(!bell(1).message_leaves(&mut peer, Duration::ZERO));
    }
}

//! A learning bridge whose ports are tunnels, one per VNI (IEEE 802.1Q §8, without VLANs of its own: tags
//! pass as they are).
//!
//! It decides as [`Switch`](crate::Switch) does, but knows nothing of ranks: every address is learned, every
//! frame to an unknown one is flooded, and nothing is answered but frames that are too long.

mod config;
mod counters;
mod ports;

pub use self::config::BridgeConfig;
pub use self::counters::BridgePortCounters;
pub use self::ports::{AddPortError, BridgePort};

use self::ports::Ports;
use crate::counters::FdbCounters;
use crate::frame::{Head, HeadError};
use crate::reply::Reply;
use crate::{DropReason, Fdb, Imbalance, Instant, MacAddr, ReplyKind, Tally, Vni};

/// A learning bridge.
///
/// For every frame, call [`decide`](Bridge::decide) and do what the [`BridgeVerdict`] says; then tell the
/// bridge what became of each copy, by [`sent`](Bridge::sent) or [`egress_drop`](Bridge::egress_drop).
///
/// ```
/// use mvpnet_switch::{Bridge, BridgeConfig, BridgeVerdict, Instant, Vni};
///
/// let mut bridge = Bridge::new(BridgeConfig::default());
/// let [here, there] = [40, 41].map(|number| bridge.add_port(Vni::new(number).unwrap()).unwrap());
///
/// // Destination, source, type, payload. Nobody has heard of the destination yet.
/// let frame = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]].concat();
/// let frame = [&frame[..], &[0x88, 0xb5], &[0; 46]].concat();
/// let verdict = bridge.decide(Instant::ZERO, here, &frame, frame.len());
/// assert_eq!(verdict, BridgeVerdict::Flood);
///
/// // Whoever holds the frame sends it to all of these, and says so. Then the books are settled.
/// assert_eq!(bridge.flood_targets(here).collect::<Vec<_>>(), [there]);
/// bridge.sent(there, frame.len());
/// assert_eq!(bridge.check_settled(), Ok(()));
/// ```
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    fdb: Fdb<BridgePort>,
    fdb_counters: FdbCounters,
    ports: Ports,
    reply: Reply,
}

/// What becomes of a frame that came to a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a frame whose verdict is ignored is lost without being counted"]
pub enum BridgeVerdict {
    /// Send it to this port.
    Forward(BridgePort),
    /// Send it to each of the [`flood_targets`](Bridge::flood_targets).
    Flood,
    /// The bridge has made an answer: send [`Bridge::reply`] to the port that the frame came from. The frame
    /// itself goes nowhere.
    Reply(ReplyKind),
    /// Count it, capture it with its reason, and forget it.
    Drop(DropReason),
}

impl BridgeVerdict {
    /// Why the frame counts as dropped, if it does.
    pub const fn drop_reason(&self) -> Option<DropReason> {
        match self {
            BridgeVerdict::Drop(reason) => Some(*reason),
            BridgeVerdict::Reply(kind) => kind.drop_reason(),
            BridgeVerdict::Forward(_) | BridgeVerdict::Flood => None,
        }
    }
}

impl Bridge {
    /// A bridge without ports.
    pub fn new(config: BridgeConfig) -> Bridge {
        let fdb = Fdb::new(config.fdb_capacity, config.ageing_time);
        // One guest that makes up addresses cannot keep all others from being learned.
        let ports = Ports::new(fdb.capacity().div_ceil(2));
        Bridge { config, fdb, fdb_counters: FdbCounters::default(), ports, reply: Reply::default() }
    }

    /// Adds the port of `vni`.
    pub fn add_port(&mut self, vni: Vni) -> Result<BridgePort, AddPortError> {
        self.ports.add(vni, self.config.storm_limit)
    }

    /// Removes the port of `vni`, if there is one, and gives its books. What is pending there counts as
    /// dropped, and the addresses behind it are forgotten, in as many steps as there are addresses.
    ///
    /// Its number may be given to the next port that is added: say before this what became of its copies.
    pub fn remove_port(&mut self, vni: Vni) -> Option<BridgePortCounters> {
        let (port, books) = self.ports.remove(vni)?;
        self.fdb.flush(port, &mut self.fdb_counters);
        Some(books)
    }

    /// The port of `vni`.
    pub fn port(&self, vni: Vni) -> Option<BridgePort> {
        self.ports.of(vni)
    }

    /// The VNI of `port`.
    ///
    /// # Panics
    ///
    /// If the port has been removed.
    pub fn vni(&self, port: BridgePort) -> Vni {
        self.ports.slot(port).expect("the port exists").vni
    }

    /// All ports, in the order of their numbers.
    pub fn ports(&self) -> impl ExactSizeIterator<Item = BridgePort> + '_ {
        self.ports.all()
    }

    /// Decides what becomes of a frame and counts it.
    ///
    /// `head` is the frame's beginning: all of it, or at least its first [`HEAD_LEN`](crate::HEAD_LEN) bytes.
    /// `frame_len` is the length of the whole frame.
    ///
    /// Takes a bounded number of steps, two per port at most, never allocates, and never panics on any bytes.
    /// On a port that has been removed, everything is dropped.
    pub fn decide(
        &mut self,
        now: Instant,
        ingress: BridgePort,
        head: &[u8],
        frame_len: usize,
    ) -> BridgeVerdict {
        self.ports.books(ingress).traffic.received += frame_len;
        let verdict = match self.judge(now, ingress, head, frame_len) {
            Ok(verdict) => verdict,
            Err(reason) => BridgeVerdict::Drop(reason),
        };
        self.count(ingress, verdict, frame_len);
        verdict
    }

    /// The ports to which a flood from `ingress` goes: all others.
    pub fn flood_targets(&self, ingress: BridgePort) -> impl Iterator<Item = BridgePort> + '_ {
        self.ports.all().filter(move |&port| port != ingress)
    }

    /// The frame that the last [`BridgeVerdict::Reply`] made.
    pub fn reply(&self) -> &[u8] {
        self.reply.frame()
    }

    /// Counts a frame that was dropped before it could come to [`decide`](Bridge::decide).
    pub fn refuse(&mut self, ingress: BridgePort, reason: DropReason, frame_len: usize) {
        let books = self.ports.books(ingress);
        books.traffic.received += frame_len;
        books.ingress_drops.count(reason, frame_len);
    }

    /// Counts a copy that was sent to `port`.
    pub fn sent(&mut self, port: BridgePort, frame_len: usize) {
        self.sent_all(port, Tally { frames: 1, bytes: frame_len as u64 });
    }

    /// Counts copies that were sent to `port` together.
    pub fn sent_all(&mut self, port: BridgePort, copies: Tally) {
        if let Some(slot) = self.ports.slot_mut(port) {
            slot.books.traffic.sent.add(copies);
        }
    }

    /// Counts a copy that was to go out by `port` and did not.
    pub fn egress_drop(&mut self, port: BridgePort, reason: DropReason, frame_len: usize) {
        self.egress_drop_all(port, reason, Tally { frames: 1, bytes: frame_len as u64 });
    }

    /// Counts copies that were to go out by `port` and did not.
    pub fn egress_drop_all(&mut self, port: BridgePort, reason: DropReason, copies: Tally) {
        if let Some(slot) = self.ports.slot_mut(port) {
            slot.books.traffic.egress_drops.count_all(reason, copies);
        }
    }

    /// The books of `port`.
    ///
    /// # Panics
    ///
    /// If the port has been removed.
    pub fn counters(&self, port: BridgePort) -> &BridgePortCounters {
        &self.ports.slot(port).expect("the port exists").books
    }

    /// The books of all ports together, those that have been removed among them.
    pub fn totals(&self) -> BridgePortCounters {
        self.ports.totals()
    }

    /// Checks that the books of each port balance; copies may still be pending.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.ports.check(BridgePortCounters::check)
    }

    /// Checks that the books balance and that no copy is pending, as when everything has been drained.
    pub fn check_settled(&self) -> Result<(), Imbalance> {
        self.ports.check(BridgePortCounters::check_settled)
    }

    /// The learned addresses.
    pub fn fdb(&self) -> &Fdb<BridgePort> {
        &self.fdb
    }

    /// What happened to the table of learned addresses.
    pub fn fdb_counters(&self) -> FdbCounters {
        self.fdb_counters
    }

    /// Changes the MTU, as when a path is found to carry less than was thought. Frames decided on before are not
    /// concerned.
    pub fn set_mtu(&mut self, mtu: u32) {
        self.config.mtu = mtu;
    }

    /// The settings.
    pub fn config(&self) -> &BridgeConfig {
        &self.config
    }

    /// The length of the longest frame with this many VLAN tags, in bytes.
    pub fn max_frame_len(&self, tags: usize) -> usize {
        self.config.frame_limit().max_frame_len(tags)
    }

    fn judge(
        &mut self,
        now: Instant,
        ingress: BridgePort,
        head: &[u8],
        frame_len: usize,
    ) -> Result<BridgeVerdict, DropReason> {
        if self.ports.slot(ingress).is_none() {
            return Err(DropReason::PeerGone);
        }
        let head = Head::new(head, frame_len).map_err(|HeadError::Runt| DropReason::Runt)?;
        let destination = head.destination();
        if is_reserved(destination) {
            return Err(DropReason::ReservedGroup);
        }
        if head.source().is_multicast() {
            // IEEE 802.3 §3.2.3: the source is an individual address.
            return Err(DropReason::MulticastSource);
        }
        self.fdb.learn(now, head.source(), ingress, &mut self.ports, &mut self.fdb_counters);
        let egress = if destination.is_multicast() { None } else { self.fdb.lookup(now, destination) };
        if egress == Some(ingress) {
            return Err(DropReason::SamePort);
        }
        let slot = self.ports.slot_mut(ingress).ok_or(DropReason::PeerGone)?;
        let limit = self.config.frame_limit();
        if frame_len > limit.max_frame_len(head.tags()) {
            let is_answered = slot.too_big.answer(now, &head, limit, &mut self.reply);
            let answer = BridgeVerdict::Reply(ReplyKind::TooBig);
            return if is_answered { Ok(answer) } else { Err(DropReason::Oversize) };
        }
        match egress {
            Some(port) => Ok(BridgeVerdict::Forward(port)),
            None if slot.storm_limit.as_mut().is_some_and(|limit| !limit.take(now)) => {
                Err(DropReason::StormLimit)
            }
            None => Ok(BridgeVerdict::Flood),
        }
    }

    fn count(&mut self, ingress: BridgePort, verdict: BridgeVerdict, frame_len: usize) {
        let books = self.ports.books(ingress);
        match verdict {
            BridgeVerdict::Forward(port) => {
                books.forwarded += 1;
                self.ports.books(port).traffic.offered += frame_len;
            }
            BridgeVerdict::Flood => {
                books.flooded += 1;
                self.ports.offer_to_others(ingress, frame_len);
            }
            BridgeVerdict::Reply(_) => {
                books.answered += 1;
                books.traffic.offered += self.reply.frame().len();
            }
            BridgeVerdict::Drop(_) => {}
        }
        if let Some(reason) = verdict.drop_reason() {
            self.ports.books(ingress).ingress_drops.count(reason, frame_len);
        }
    }
}

/// The groups that mean the neighbours on a link, which no bridge forwards: spanning tree, pause frames, LACP,
/// LLDP and their like (IEEE 802.1Q §8.6.3, table 8-1).
fn is_reserved(destination: MacAddr) -> bool {
    matches!(destination.octets(), [0x01, 0x80, 0xc2, 0, 0, 0x00..=0x0f])
}

//! The switch of one rank: takes a frame's head, says what becomes of the frame, and counts.

use crate::answer::{Answer, Answerer};
use crate::counters::Counters;
use crate::express::Express;
use crate::frame::{Head, HeadError};
use crate::too_big::TooBig;
use crate::{
    Config, Delivery, DropReason, Fdb, Flood, Ingress, Instant, MacAddr, MacOwner, MacPolicy, PortId, Rank,
    ReplyKind, Tally, Topology, Verdict, Vni,
};

/// The switch of one rank.
///
/// For every frame, call [`decide`](Switch::decide) and do what the [`Verdict`] says; then tell the switch
/// what became of each copy, by [`sent`](Switch::sent) or [`egress_drop`](Switch::egress_drop). A frame
/// that the link could not even read goes to [`refuse`](Switch::refuse) in place of `decide`. That is what
/// keeps the [`Counters`] in balance.
#[derive(Debug)]
pub struct Switch {
    config: Config,
    express: Express,
    fdb: Fdb,
    counters: Counters,
    answerer: Answerer,
    too_big: TooBig,
}

impl Switch {
    /// A switch with these settings. All the memory that it will ever use is taken here.
    ///
    /// # Panics
    ///
    /// If `config.me` is not a rank of `config.world`.
    pub fn new(config: Config) -> Switch {
        let Config { me, world, .. } = config;
        assert!(world.contains(me), "rank {me} is outside the job's {} ranks", world.size());
        let fdb = Fdb::new(config.fdb_capacity, config.ageing_time);
        let answerer = Answerer::new(&config);
        let express = Express::new(&config);
        Switch { config, express, fdb, counters: Counters::default(), answerer, too_big: TooBig::default() }
    }

    /// Decides what becomes of a frame and counts it.
    ///
    /// `head` is the frame's beginning: all of it, or at least its first [`HEAD_LEN`](crate::HEAD_LEN) bytes.
    /// `frame_len` is the length of the whole frame, without the link's framing.
    ///
    /// Takes a bounded number of steps, never allocates, and never panics on any bytes.
    pub fn decide(&mut self, now: Instant, ingress: Ingress, head: &[u8], frame_len: usize) -> Verdict {
        self.decide_super(now, ingress, head, frame_len, frame_len)
    }

    /// [`decide`](Switch::decide) for a super-frame, which counts as one frame: `longest` is the length of the longest
    /// frame that a wire would carry of it, see [`Offload::longest_frame`](crate::Offload::longest_frame).
    #[inline]
    pub fn decide_super(
        &mut self,
        now: Instant,
        ingress: Ingress,
        head: &[u8],
        frame_len: usize,
        longest: usize,
    ) -> Verdict {
        if let Some(port) = self.express.port(ingress, head, longest) {
            self.counters.port(ingress.port()).received += frame_len;
            self.counters.forwarded += 1;
            self.counters.port(port).offered += frame_len;
            return Verdict::Forward(port);
        }
        self.decide_with_care(now, ingress, head, (frame_len, longest))
    }

    /// [`decide_super`](Switch::decide_super) for what is not the common case.
    fn decide_with_care(
        &mut self,
        now: Instant,
        ingress: Ingress,
        head: &[u8],
        (frame_len, longest): (usize, usize),
    ) -> Verdict {
        self.counters.port(ingress.port()).received += frame_len;
        let verdict = self.judge(now, ingress, head, (frame_len, longest));
        // Counted where it was made: the other type has another layout, and a copy takes longer than counting.
        self.count(&verdict, frame_len);
        verdict.unwrap_or_else(Verdict::Drop)
    }

    /// The frame that the last [`Verdict::Reply`] made.
    pub fn reply(&self) -> &[u8] {
        self.answerer.reply()
    }

    /// Counts a frame that the link or the transport dropped before it could come to
    /// [`decide`](Switch::decide): its length made no sense, or the network was not up.
    pub fn refuse(&mut self, ingress: Ingress, reason: DropReason, frame_len: usize) {
        self.counters.port(ingress.port()).received += frame_len;
        self.counters.ingress_drops.count(reason, frame_len);
    }

    /// Counts a copy that was handed to the link or the transport of `port`.
    pub fn sent(&mut self, port: PortId, frame_len: usize) {
        self.counters.port(port).sent += frame_len;
    }

    /// Counts copies that were handed to the link or the transport of `port` together.
    pub fn sent_all(&mut self, port: PortId, copies: Tally) {
        self.counters.port(port).sent.add(copies);
    }

    /// Counts copies that were to go out by `port` and did not.
    pub fn egress_drop_all(&mut self, port: PortId, reason: DropReason, copies: Tally) {
        self.counters.port(port).egress_drops.count_all(reason, copies);
    }

    /// Counts a copy that was to go out by `port` and did not.
    pub fn egress_drop(&mut self, port: PortId, reason: DropReason, frame_len: usize) {
        self.counters.port(port).egress_drops.count(reason, frame_len);
    }

    /// The books.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The learned addresses.
    pub fn fdb(&self) -> &Fdb {
        &self.fdb
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The length of the longest frame with this many VLAN tags, in bytes.
    pub fn max_frame_len(&self, tags: usize) -> usize {
        self.config.max_frame_len(tags)
    }

    fn judge(
        &mut self,
        now: Instant,
        ingress: Ingress,
        head: &[u8],
        (frame_len, longest): (usize, usize),
    ) -> Result<Verdict, DropReason> {
        let head = match Head::new(head, frame_len) {
            Ok(head) => head,
            Err(HeadError::Runt) => return Err(DropReason::Runt),
        };
        if longest > self.max_frame_len(head.tags()) {
            return self.judge_oversize(now, ingress, &head);
        }
        match ingress {
            Ingress::Guest => {
                self.admit(now, PortId::Guest, self.config.me, head.source())?;
                self.judge_from_guest(now, &head)
            }
            Ingress::Peer { origin, delivery } => {
                if origin == self.config.me || !self.config.world.contains(origin) {
                    return Err(DropReason::BadOrigin);
                }
                if let Topology::Tunnel(_) = self.config.topology {
                    return Err(DropReason::Misrouted);
                }
                self.admit(now, PortId::Peer(origin), origin, head.source())?;
                self.judge_from_peer(origin, delivery, head.destination())
            }
            Ingress::Tunnel(vni) => self.judge_from_tunnel(vni, &head),
        }
    }

    /// Checks a frame's source, and learns it if it is foreign, unless there is but one way to go anyway.
    /// `sender` is the rank behind `port`.
    ///
    /// What peers send was checked by their switches; it is checked again so that one rank's mistake does
    /// not spread.
    fn admit(&mut self, now: Instant, port: PortId, sender: Rank, source: MacAddr) -> Result<(), DropReason> {
        let is_foreign = self.check_source(sender, source)?;
        if is_foreign && !matches!(self.config.topology, Topology::Tunnel(_)) {
            self.fdb.learn(now, source, port, &mut (), &mut self.counters.fdb);
        }
        Ok(())
    }

    /// Says whether the source is foreign, if it is one that `sender` may have.
    fn check_source(&self, sender: Rank, source: MacAddr) -> Result<bool, DropReason> {
        if source.is_multicast() {
            // IEEE 802.3 §3.2.3: the source is an individual address.
            return Err(DropReason::MulticastSource);
        }
        match self.config.world.owner_of(source) {
            MacOwner::Rank(rank) if rank == sender => Ok(false),
            MacOwner::Rank(_) | MacOwner::AbsentRank | MacOwner::Switch => Err(DropReason::ForgedSource),
            MacOwner::Foreign => match self.config.mac_policy {
                MacPolicy::Learn => Ok(true),
                MacPolicy::Strict => Err(DropReason::ForeignSource),
            },
        }
    }

    fn judge_from_guest(&mut self, now: Instant, head: &Head<'_>) -> Result<Verdict, DropReason> {
        match self.answerer.answer(&self.config, head)? {
            Answer::Reply(kind) => Ok(Verdict::Reply(kind)),
            Answer::Control(control) => Ok(Verdict::Control(control)),
            Answer::NotForUs => self.route(now, head.destination()),
        }
    }

    /// Where the guest's frame to `destination` goes.
    #[inline]
    fn route(&self, now: Instant, destination: MacAddr) -> Result<Verdict, DropReason> {
        if let Topology::Tunnel(vni) = self.config.topology {
            return Ok(Verdict::Forward(PortId::Tunnel(vni)));
        }
        if destination.is_multicast() {
            return Ok(self.flood(self.config.me));
        }
        match self.config.world.owner_of(destination) {
            MacOwner::Rank(rank) if rank == self.config.me => Err(DropReason::SamePort),
            MacOwner::Rank(rank) => Ok(Verdict::Forward(PortId::Peer(rank))),
            MacOwner::AbsentRank => Err(DropReason::AbsentRank),
            MacOwner::Switch => Err(DropReason::ToSwitch),
            MacOwner::Foreign if self.config.mac_policy == MacPolicy::Strict => {
                Err(DropReason::UnknownDestination)
            }
            MacOwner::Foreign => match self.fdb.lookup(now, destination) {
                Some(PortId::Guest) => Err(DropReason::SamePort),
                Some(port) => Ok(Verdict::Forward(port)),
                None => Ok(self.flood(self.config.me)),
            },
        }
    }

    /// A frame from a peer ends at this rank's guest. It goes on to other peers only down a flood's tree,
    /// so that it can never travel in a circle.
    fn judge_from_peer(
        &self,
        origin: Rank,
        delivery: Delivery,
        destination: MacAddr,
    ) -> Result<Verdict, DropReason> {
        let for_us = match self.config.world.owner_of(destination) {
            MacOwner::Foreign => true,
            // A rank's address is known to everyone, so that no switch ever floods it.
            MacOwner::Rank(rank) => rank == self.config.me && delivery == Delivery::Unicast,
            MacOwner::AbsentRank | MacOwner::Switch => false,
        };
        match delivery {
            _ if !for_us => Err(DropReason::Misrouted),
            Delivery::Unicast => Ok(Verdict::Forward(PortId::Guest)),
            Delivery::Flood => Ok(self.flood(origin)),
        }
    }

    /// What comes out of the tunnel is the guest's. Among its senders may be ranks of other jobs on the same
    /// bridge; but this guest's own frames do not come back, and a frame for another rank's guest is one that
    /// the bridge flooded.
    fn judge_from_tunnel(&self, vni: Vni, head: &Head<'_>) -> Result<Verdict, DropReason> {
        if self.config.topology != Topology::Tunnel(vni) {
            return Err(DropReason::Misrouted);
        }
        let source = head.source();
        if source.is_multicast() {
            return Err(DropReason::MulticastSource);
        }
        if source == self.config.me.mac() || source == MacAddr::SWITCH {
            return Err(DropReason::ForgedSource);
        }
        match self.config.world.owner_of(head.destination()) {
            MacOwner::Rank(rank) if rank != self.config.me => Err(DropReason::Misrouted),
            _ => Ok(Verdict::Forward(PortId::Guest)),
        }
    }

    /// An oversize frame goes nowhere. A guest is told so, about what would have gone somewhere otherwise.
    #[cold]
    fn judge_oversize(
        &mut self,
        now: Instant,
        ingress: Ingress,
        head: &Head<'_>,
    ) -> Result<Verdict, DropReason> {
        let would_go = ingress == Ingress::Guest
            && self.check_source(self.config.me, head.source()).is_ok()
            && self.route(now, head.destination()).is_ok();
        if would_go && self.too_big.answer(now, head, self.config.frame_limit(), self.answerer.buffer()) {
            Ok(Verdict::Reply(ReplyKind::TooBig))
        } else {
            Err(DropReason::Oversize)
        }
    }

    fn flood(&self, root: Rank) -> Verdict {
        Verdict::Flood(Flood::new(root, self.config.me, self.config.world, self.config.topology))
    }

    fn count(&mut self, verdict: &Result<Verdict, DropReason>, frame_len: usize) {
        let counters = &mut self.counters;
        match *verdict {
            Ok(Verdict::Forward(port)) => {
                counters.forwarded += 1;
                counters.port(port).offered += frame_len;
            }
            Ok(Verdict::Flood(flood)) => {
                counters.flooded += 1;
                if flood.to_guest {
                    counters.guest.offered += frame_len;
                }
                let copies = flood.children().len() as u64;
                counters.peers.offered.add(Tally { frames: copies, bytes: copies * frame_len as u64 });
            }
            Ok(Verdict::Reply(kind)) => {
                counters.count_answer(kind);
                counters.guest.offered += self.answerer.reply().len();
                if let Some(reason) = kind.drop_reason() {
                    counters.ingress_drops.count(reason, frame_len);
                }
            }
            Ok(Verdict::Control(control)) => counters.count_consumed(control),
            Ok(Verdict::Drop(reason)) | Err(reason) => counters.ingress_drops.count(reason, frame_len),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::World;

    fn address(kind: u8, index: u32) -> [u8; 6] {
        match kind {
            0..=5 => MacAddr::of_rank(index).octets(),
            6 => MacAddr::BROADCAST.octets(),
            7 => MacAddr::SWITCH.octets(),
            _ => [0x02, 0, 0, 0, 0, index as u8],
        }
    }

    proptest! {
        #[test]
        fn the_short_way_leads_where_the_long_way_does(
            destination in (0u8..9, 0u32..5), source in (0u8..9, 0u32..5),
            ether_type in prop::sample::select(vec![0x0800u16, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x88b5]),
            payload in prop::collection::vec(any::<u8>(), 0..80),
            next_header in prop::sample::select(vec![0u8, 6, 17, 58]), longest in 0usize..2000,
            origin in 0u32..5, is_flood: bool, from_guest: bool, topology in 0u8..3
        ) {
            let world = World::new(4).unwrap();
            let topology = match topology {
                0 => Topology::Tree,
                1 => Topology::Star,
                _ => Topology::Tunnel(Vni::new(7).unwrap()),
            };
            let config = Config { topology, ..Config::new(world.rank(1).unwrap(), world) };
            let mut frame = [address(destination.0, destination.1), address(source.0, source.1)].concat();
            frame.extend_from_slice(&ether_type.to_be_bytes());
            frame.extend_from_slice(&payload);
            if let Some(byte) = frame.get_mut(20) {
                *byte = next_header;
            }
            let delivery = if is_flood { Delivery::Flood } else { Delivery::Unicast };
            // Of a world with one more rank: a peer may say anything.
            let origin = World::new(5).unwrap().rank(origin).unwrap();
            let ingress = if from_guest { Ingress::Guest } else { Ingress::Peer { origin, delivery } };
            let (mut short, mut long) = (Switch::new(config.clone()), Switch::new(config));
            let len = frame.len();
            let quick = short.decide_super(Instant::ZERO, ingress, &frame, len, longest);
            let careful = long.decide_with_care(Instant::ZERO, ingress, &frame, (len, longest));
            prop_assert_eq!(quick, careful);
            prop_assert_eq!(short.counters(), long.counters());
        }
    }
}

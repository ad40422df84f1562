//! The ports of a bridge: which there are, and what is kept for each.

use std::collections::BTreeMap;

use super::BridgePortCounters;
use crate::fdb::Census;
use crate::token_bucket::TokenBucket;
use crate::too_big::TooBig;
use crate::{DropReason, Imbalance, Vni, VniList};

/// A port of a bridge: a number that is its own as long as it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgePort(u16);

/// Why a port cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddPortError {
    /// There is one with this VNI.
    #[error("VNI {0} has a port already")]
    Taken(Vni),
    /// There are as many as there can be.
    #[error("a bridge has {max} ports at most, no room for VNI {0}", max = VniList::MAX_LEN)]
    Full(Vni),
}

/// All ports.
#[derive(Debug)]
pub(super) struct Ports {
    slots: Vec<Option<Slot>>,
    /// The slots that are taken, ascending.
    taken: Vec<BridgePort>,
    by_vni: BTreeMap<Vni, BridgePort>,
    /// The books of ports that are no more.
    removed: BridgePortCounters,
    /// How many addresses one port may have, of those learned there.
    share: usize,
}

/// One port.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) vni: Vni,
    pub(super) books: BridgePortCounters,
    pub(super) storm_limit: Option<TokenBucket>,
    pub(super) too_big: TooBig,
    /// How many addresses are on this port.
    addresses: usize,
}

impl BridgePort {
    /// The number, for tables that run beside the bridge's own: ports get the lowest that is free.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Ports {
    /// No ports yet. Each may have at most `share` learned addresses.
    pub(super) fn new(share: usize) -> Ports {
        let removed = BridgePortCounters::default();
        Ports { slots: Vec::new(), taken: Vec::new(), by_vni: BTreeMap::new(), removed, share }
    }

    pub(super) fn add(&mut self, vni: Vni, storm_limit: Option<u32>) -> Result<BridgePort, AddPortError> {
        if self.by_vni.contains_key(&vni) {
            return Err(AddPortError::Taken(vni));
        }
        let index = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if index == VniList::MAX_LEN {
            return Err(AddPortError::Full(vni));
        }
        if index == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[index] = Some(Slot {
            vni,
            books: BridgePortCounters::default(),
            storm_limit: storm_limit.map(TokenBucket::new),
            too_big: TooBig::default(),
            addresses: 0,
        });
        let port = BridgePort(index as u16);
        self.by_vni.insert(vni, port);
        self.taken.insert(self.taken.partition_point(|&taken| taken < port), port);
        Ok(port)
    }

    pub(super) fn remove(&mut self, vni: Vni) -> Option<(BridgePort, BridgePortCounters)> {
        let port = self.by_vni.remove(&vni)?;
        self.taken.retain(|&taken| taken != port);
        let Slot { mut books, .. } = self.slots[port.index()].take().expect("the VNI has a slot");
        books.drop_pending(DropReason::PeerGone);
        self.removed.add(&books);
        Some((port, books))
    }

    pub(super) fn of(&self, vni: Vni) -> Option<BridgePort> {
        self.by_vni.get(&vni).copied()
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = BridgePort> + '_ {
        self.taken.iter().copied()
    }

    pub(super) fn slot(&self, port: BridgePort) -> Option<&Slot> {
        self.slots.get(port.index())?.as_ref()
    }

    pub(super) fn slot_mut(&mut self, port: BridgePort) -> Option<&mut Slot> {
        self.slots.get_mut(port.index())?.as_mut()
    }

    /// Where to count what happens at `port`: if it has been removed, with the others that have.
    pub(super) fn books(&mut self, port: BridgePort) -> &mut BridgePortCounters {
        match self.slots.get_mut(port.index()) {
            Some(Some(slot)) => &mut slot.books,
            _ => &mut self.removed,
        }
    }

    /// Counts a copy for every port but `ingress`.
    pub(super) fn offer_to_others(&mut self, ingress: BridgePort, frame_len: usize) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = slot
                && index != ingress.index()
            {
                slot.books.traffic.offered += frame_len;
            }
        }
    }

    pub(super) fn totals(&self) -> BridgePortCounters {
        let mut totals = self.removed;
        self.slots.iter().flatten().for_each(|slot| totals.add(&slot.books));
        totals
    }

    /// Applies a check to all books.
    pub(super) fn check(
        &self,
        check: fn(&BridgePortCounters) -> Result<(), Imbalance>,
    ) -> Result<(), Imbalance> {
        for slot in self.slots.iter().flatten() {
            check(&slot.books)
                .map_err(|imbalance| Imbalance::AtPort { vni: slot.vni, imbalance: Box::new(imbalance) })?;
        }
        check(&self.removed)
    }
}

impl Census<BridgePort> for Ports {
    fn has_room(&self, port: BridgePort) -> bool {
        self.slot(port).is_some_and(|slot| slot.addresses < self.share)
    }

    fn came(&mut self, port: BridgePort) {
        if let Some(slot) = self.slot_mut(port) {
            slot.addresses += 1;
        }
    }

    fn went(&mut self, port: BridgePort) {
        if let Some(slot) = self.slot_mut(port) {
            slot.addresses -= 1;
        }
    }
}

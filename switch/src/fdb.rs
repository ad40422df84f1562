//! The filtering database: on which port a foreign MAC address was last seen (IEEE 802.1Q §8.8).
//!
//! In a rank's switch these are foreign addresses, those of containers, nested guests and bonds inside guests;
//! the ranks' own never get here. In a bridge they are all addresses. All memory is taken when the table is made. Addresses are kept in the order in which they were
//! last seen, so that those to forget are always at the front: ageing takes constant time and no timer.
//!
//! A full table learns nothing new until an entry has aged out. Live entries are never displaced, so a
//! guest that makes up addresses cannot push out those of others; it can only keep new ones from being
//! learned, whose frames then flood. Where that would hurt, a [`Census`] gives each port its share.

use std::time::Duration;

use crate::counters::FdbCounters;
use crate::{Instant, MacAddr, PortId};

/// The table of learned MAC addresses, on ports of type `P`.
#[derive(Clone, Debug)]
pub struct Fdb<P = PortId> {
    /// Open addressing with linear probing: entry numbers, `NIL` where free.
    slots: Box<[u32]>,
    /// Those that have ever been used; there is room for `capacity`.
    entries: Vec<Entry<P>>,
    capacity: usize,
    /// First of the entries that are unused again, linked through `newer`.
    unused: u32,
    oldest: u32,
    newest: u32,
    len: usize,
    ageing_time: Duration,
    /// The latest time seen: a caller's clock that steps back does not disturb the order of entries.
    clock: Instant,
}

/// A learned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbEntry<P = PortId> {
    /// The address.
    pub mac: MacAddr,
    /// Where it was last seen.
    pub port: P,
    /// When it was last seen.
    pub seen: Instant,
}

/// Knows how many addresses are on each port, and whether there may be more.
pub(crate) trait Census<P> {
    /// Whether an address may be added on `port`. Those that move there are never refused.
    fn has_room(&self, port: P) -> bool;
    /// There is one more.
    fn came(&mut self, port: P);
    /// There is one less.
    fn went(&mut self, port: P);
}

/// Every port may fill the table.
impl<P> Census<P> for () {
    fn has_room(&self, _: P) -> bool {
        true
    }

    fn came(&mut self, _: P) {}

    fn went(&mut self, _: P) {}
}

#[derive(Clone, Copy, Debug)]
struct Entry<P> {
    learned: FdbEntry<P>,
    older: u32,
    newer: u32,
}

const NIL: u32 = u32::MAX;

/// How far from its place by hash an address may lie. At most a quarter of the slots are used, so that
/// only addresses chosen to collide get here; they are not learned, and every look-up stays short.
const MAX_PROBES: usize = 64;

/// How many entries are forgotten at most on behalf of one frame.
const SWEEP: usize = 2;

impl Fdb {
    /// The largest table that can be made.
    pub const MAX_CAPACITY: usize = 1 << 20;
}

impl<P: Copy + Eq> Fdb<P> {
    /// A table for `capacity` addresses, at most [`Fdb::MAX_CAPACITY`], each forgotten when it has been
    /// silent for `ageing_time`.
    pub(crate) fn new(capacity: usize, ageing_time: Duration) -> Fdb<P> {
        let capacity = capacity.min(Fdb::MAX_CAPACITY);
        Fdb {
            slots: vec![NIL; (4 * capacity).next_power_of_two().max(4)].into(),
            entries: Vec::with_capacity(capacity),
            capacity,
            unused: NIL,
            oldest: NIL,
            newest: NIL,
            len: 0,
            ageing_time,
            clock: Instant::ZERO,
        }
    }

    /// How many addresses the table can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many addresses the table holds, counting those that have aged but are not cleared away yet.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table holds no address.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where `mac` was last seen, unless that is too long ago.
    pub fn lookup(&self, now: Instant, mac: MacAddr) -> Option<P> {
        let slot = self.find(mac)?;
        let entry = &self.entries[self.slots[slot] as usize].learned;
        (!self.has_aged(entry, now)).then_some(entry.port)
    }

    /// The addresses that have not aged, in the order in which they were last seen, oldest first.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = FdbEntry<P>> + '_ {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next as usize)?;
            next = entry.newer;
            Some(entry.learned)
        })
        .filter(move |entry| !self.has_aged(entry, now))
    }

    /// Notes that `mac` was seen on `port`, and forgets a few addresses whose time is up.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        mac: MacAddr,
        port: P,
        census: &mut impl Census<P>,
        counters: &mut FdbCounters,
    ) {
        self.clock = self.clock.max(now);
        self.sweep(census, counters);
        if let Some(slot) = self.find(mac) {
            let number = self.slots[slot];
            let known = self.entries[number as usize].learned;
            if self.has_aged(&known, self.clock) {
                self.remove(slot);
                census.went(known.port);
                counters.aged_out += 1;
            } else {
                if known.port != port {
                    census.went(known.port);
                    census.came(port);
                    counters.moved += 1;
                }
                self.unlink(number);
                self.entries[number as usize].learned = FdbEntry { mac, port, seen: self.clock };
                self.link_newest(number);
                return;
            }
        }
        // The sweep has made room if anything in a full table has aged.
        if census.has_room(port) && self.insert(FdbEntry { mac, port, seen: self.clock }) {
            census.came(port);
            counters.learned += 1;
        } else {
            counters.table_full += 1;
        }
    }

    /// Forgets all addresses on `port`, of which no census is taken any more, in as many steps as there are addresses.
    pub(crate) fn flush(&mut self, port: P, counters: &mut FdbCounters) {
        let mut next = self.oldest;
        while let Some(&Entry { learned, newer, .. }) = self.entries.get(next as usize) {
            next = newer;
            if learned.port == port {
                let slot = self.find(learned.mac).expect("every linked entry has a slot");
                self.remove(slot);
                counters.flushed += 1;
            }
        }
    }

    fn has_aged(&self, entry: &FdbEntry<P>, now: Instant) -> bool {
        now.max(self.clock).saturating_since(entry.seen) >= self.ageing_time
    }

    fn sweep(&mut self, census: &mut impl Census<P>, counters: &mut FdbCounters) {
        for _ in 0..SWEEP {
            let Some(&Entry { learned: oldest, .. }) = self.entries.get(self.oldest as usize) else { return };
            if !self.has_aged(&oldest, self.clock) {
                return;
            }
            let slot = self.find(oldest.mac).expect("every linked entry has a slot");
            self.remove(slot);
            census.went(oldest.port);
            counters.aged_out += 1;
        }
    }

    /// The slot that holds `mac`.
    fn find(&self, mac: MacAddr) -> Option<usize> {
        let mut slot = self.home(mac);
        for _ in 0..MAX_PROBES.min(self.slots.len()) {
            let entry = self.entries.get(self.slots[slot] as usize)?;
            if entry.learned.mac == mac {
                return Some(slot);
            }
            slot = self.after(slot);
        }
        None
    }

    /// Adds an address that is not in the table. False if there is no room.
    fn insert(&mut self, learned: FdbEntry<P>) -> bool {
        if self.len == self.capacity {
            return false;
        }
        let mut slot = self.home(learned.mac);
        for _ in 0..MAX_PROBES.min(self.slots.len()) {
            if self.slots[slot] == NIL {
                let number = self.take_entry(learned);
                self.slots[slot] = number;
                self.link_newest(number);
                self.len += 1;
                return true;
            }
            slot = self.after(slot);
        }
        false
    }

    /// Puts a learned address into an unused entry, of which there is one. Within the capacity, `push` takes
    /// no memory.
    fn take_entry(&mut self, learned: FdbEntry<P>) -> u32 {
        let number = self.unused;
        match self.entries.get_mut(number as usize) {
            Some(entry) => {
                self.unused = entry.newer;
                entry.learned = learned;
                number
            }
            None => {
                self.entries.push(Entry { learned, older: NIL, newer: NIL });
                self.entries.len() as u32 - 1
            }
        }
    }

    /// Empties `slot`, and moves those that had to make way for it back towards their places, so that no
    /// gap comes between an address and its place (Knuth, TAOCP vol. 3, §6.4, algorithm R).
    fn remove(&mut self, slot: usize) {
        let number = self.slots[slot];
        self.unlink(number);
        self.entries[number as usize].newer = self.unused;
        self.unused = number;
        self.len -= 1;

        let mut gap = slot;
        let mut next = self.after(slot);
        while let Some(entry) = self.entries.get(self.slots[next] as usize) {
            if self.distance(self.home(entry.learned.mac), next) >= self.distance(gap, next) {
                self.slots[gap] = self.slots[next];
                gap = next;
            }
            next = self.after(next);
        }
        self.slots[gap] = NIL;
    }

    fn link_newest(&mut self, number: u32) {
        let older = std::mem::replace(&mut self.newest, number);
        self.entries[number as usize].older = older;
        self.entries[number as usize].newer = NIL;
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = number,
            None => self.oldest = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let Entry { older, newer, .. } = self.entries[number as usize];
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    /// The slot where the search for `mac` begins: multiplicative hashing (Knuth, TAOCP vol. 3, §6.4), the
    /// same in every run.
    fn home(&self, mac: MacAddr) -> usize {
        let [a, b, c, d, e, f] = mac.octets();
        let key = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let bits = self.slots.len().trailing_zeros();
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - bits)) as usize
    }

    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// How many steps lead from one slot to another.
    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests;

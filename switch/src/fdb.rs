//! The filtering database: on which port a foreign MAC address was last seen (IEEE 802.1Q §8.8).
//!
//! Foreign addresses are those of containers, nested guests and bonds inside guests; the ranks' own never
//! get here. All memory is taken when the table is made. Addresses are kept in the order in which they were
//! last seen, so that those to forget are always at the front: ageing takes constant time and no timer.
//!
//! A full table learns nothing new until an entry has aged out. Live entries are never displaced, so a
//! guest that makes up addresses cannot push out those of others; it can only keep new ones from being
//! learned, whose frames then flood.

use std::time::Duration;

use crate::counters::FdbCounters;
use crate::{Instant, MacAddr, PortId};

/// The table of learned MAC addresses.
#[derive(Clone, Debug)]
pub struct Fdb {
    /// Open addressing with linear probing: entry numbers, `NIL` where free.
    slots: Box<[u32]>,
    entries: Box<[Entry]>,
    /// First of the unused entries, linked through `newer`.
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
pub struct FdbEntry {
    /// The address.
    pub mac: MacAddr,
    /// Where it was last seen.
    pub port: PortId,
    /// When it was last seen.
    pub seen: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    learned: FdbEntry,
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

    /// A table for `capacity` addresses, at most [`Fdb::MAX_CAPACITY`], each forgotten when it has been
    /// silent for `ageing_time`.
    pub(crate) fn new(capacity: usize, ageing_time: Duration) -> Fdb {
        let capacity = capacity.min(Fdb::MAX_CAPACITY);
        let vacant = FdbEntry { mac: MacAddr::BROADCAST, port: PortId::Guest, seen: Instant::ZERO };
        let entries = (0..capacity).map(|number| {
            let newer = if number + 1 < capacity { number as u32 + 1 } else { NIL };
            Entry { learned: vacant, older: NIL, newer }
        });
        Fdb {
            slots: vec![NIL; (4 * capacity).next_power_of_two().max(4)].into(),
            entries: entries.collect(),
            unused: if capacity > 0 { 0 } else { NIL },
            oldest: NIL,
            newest: NIL,
            len: 0,
            ageing_time,
            clock: Instant::ZERO,
        }
    }

    /// How many addresses the table can hold.
    pub fn capacity(&self) -> usize {
        self.entries.len()
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
    pub fn lookup(&self, now: Instant, mac: MacAddr) -> Option<PortId> {
        let slot = self.find(mac)?;
        let entry = &self.entries[self.slots[slot] as usize].learned;
        (!self.has_aged(entry, now)).then_some(entry.port)
    }

    /// The addresses that have not aged, in the order in which they were last seen, oldest first.
    pub fn entries(&self, now: Instant) -> impl Iterator<Item = FdbEntry> + '_ {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next as usize)?;
            next = entry.newer;
            Some(entry.learned)
        })
        .filter(move |entry| !self.has_aged(entry, now))
    }

    /// Notes that `mac` was seen on `port`, and forgets a few addresses whose time is up.
    pub(crate) fn learn(&mut self, now: Instant, mac: MacAddr, port: PortId, counters: &mut FdbCounters) {
        self.clock = self.clock.max(now);
        counters.aged_out += self.sweep();
        if let Some(slot) = self.find(mac) {
            let number = self.slots[slot];
            let known = self.entries[number as usize].learned;
            if self.has_aged(&known, self.clock) {
                self.remove(slot);
                counters.aged_out += 1;
            } else {
                counters.moved += u64::from(known.port != port);
                self.unlink(number);
                self.entries[number as usize].learned = FdbEntry { mac, port, seen: self.clock };
                self.link_newest(number);
                return;
            }
        }
        // The sweep has made room if anything in a full table has aged.
        match self.insert(FdbEntry { mac, port, seen: self.clock }) {
            true => counters.learned += 1,
            false => counters.table_full += 1,
        }
    }

    fn has_aged(&self, entry: &FdbEntry, now: Instant) -> bool {
        now.max(self.clock).saturating_since(entry.seen) >= self.ageing_time
    }

    fn sweep(&mut self) -> u64 {
        let mut swept = 0;
        while swept < SWEEP as u64 && self.oldest != NIL {
            let oldest = self.entries[self.oldest as usize].learned;
            if !self.has_aged(&oldest, self.clock) {
                break;
            }
            let slot = self.find(oldest.mac).expect("every linked entry has a slot");
            self.remove(slot);
            swept += 1;
        }
        swept
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
    fn insert(&mut self, learned: FdbEntry) -> bool {
        let number = self.unused;
        if number == NIL {
            return false;
        }
        let mut slot = self.home(learned.mac);
        for _ in 0..MAX_PROBES.min(self.slots.len()) {
            if self.slots[slot] == NIL {
                self.unused = self.entries[number as usize].newer;
                self.slots[slot] = number;
                self.entries[number as usize].learned = learned;
                self.link_newest(number);
                self.len += 1;
                return true;
            }
            slot = self.after(slot);
        }
        false
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

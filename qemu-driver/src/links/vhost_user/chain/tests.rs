//! Chains against a model that follows them in plain tables.

use proptest::prelude::*;

use super::super::features::{Negotiated, bit};
use super::super::memory::{Area, sealed_file};
use super::super::messages::{RegionEntry, RingAddresses};
use super::*;

const SIZE: u16 = 8;
/// Where the one table is, and where the memory ends.
const TABLE: u64 = 0x4000;
const END: u64 = 0x5000;
/// Entries of the table.
const TABLE_SIZE: u16 = 6;

struct Lab {
    area: Area,
    memory: GuestMemory,
    ring: Ring,
}

impl Lab {
    fn new(features: u64) -> Lab {
        let file = sealed_file(END as usize).unwrap();
        let area = Area::of_file(&file, END as usize).unwrap();
        let entry = RegionEntry { len: END, ..RegionEntry::default() };
        let memory = GuestMemory::map(&[entry], &[file]).unwrap();
        let addresses = RingAddresses { descriptors: 0, available: 0x1000, used: 0x2000 };
        let ring = Ring::start(&memory, &addresses, SIZE, 0, Negotiated(features)).unwrap();
        Lab { area, memory, ring }
    }

    fn set(&self, table: u64, index: usize, descriptor: Descriptor) {
        let Descriptor { address, len, flags, next } = descriptor;
        let at = table as usize + 16 * index;
        self.area.store_u64(at, address);
        self.area.store_u64(at + 8, u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48);
    }

    fn follow(&mut self, head: u16, direction: Direction) -> Result<Vec<(u64, u32)>, BadChain> {
        let mut pieces = Vec::new();
        let followed = follow(&self.ring, &mut self.memory, head, direction, &mut pieces);
        let octets: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!(octets, followed.unwrap_or(0), "a bad chain has no pieces");
        // The region begins at zero in both, so that a piece is where its address says.
        let place = |piece: &Piece| (piece.offset() as u64, piece.len() as u32);
        followed.map(|_| pieces.iter().map(place).collect())
    }
}

fn descriptor(address: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor { address, len, flags, next }
}

/// What a chain is made of, followed without any limit but that of its length.
fn model(
    ring: &[Descriptor],
    table: &[Descriptor],
    head: u16,
    direction: Direction,
) -> Option<Vec<(u64, u32)>> {
    let (mut at, mut descriptors, mut octets) = (head, ring, Vec::new());
    let mut links = 0;
    loop {
        let descriptor = *descriptors.get(usize::from(at))?;
        if descriptor.flags & 4 != 0 {
            let is_good = descriptor.address == TABLE && descriptor.len == u32::from(TABLE_SIZE) * 16;
            if descriptors.len() != ring.len() || !is_good || descriptor.flags & 1 != 0 {
                return None;
            }
            (descriptors, at) = (table, 0);
            continue;
        }
        links += 1;
        let is_for_guest = descriptor.flags & 2 != 0;
        let end = descriptor.address.checked_add(descriptor.len.into())?;
        if links > SIZE || is_for_guest != (direction == Direction::ToGuest) {
            return None;
        }
        if descriptor.len > 0 {
            if end > END {
                return None;
            }
            octets.push((descriptor.address, descriptor.len));
        }
        if descriptor.flags & 1 == 0 {
            return Some(octets);
        }
        at = descriptor.next;
    }
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let place = prop_oneof![12 => (0u64..0x4800, 0u32..0x800), 1 => any::<(u64, u32)>()];
    let flags = prop_oneof![8 => Just(1u16), 4 => Just(0), 2 => Just(4), 1 => 0u16..8];
    (place, flags, prop_oneof![9 => 0u16..SIZE, 1 => any::<u16>()])
        .prop_map(|((address, len), flags, next)| descriptor(address, len, flags, next))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_chain_is_what_the_model_says(
        on_ring in prop::collection::vec(any_descriptor(), usize::from(SIZE)),
        in_table in prop::collection::vec(any_descriptor(), usize::from(TABLE_SIZE)),
        head in 0u16..SIZE + 1, to_guest: bool,
    ) {
        let direction = if to_guest { Direction::ToGuest } else { Direction::FromGuest };
        // What refers to a table refers to the one that there is, or to none that can be.
        let turn = |mut descriptor: Descriptor| {
            descriptor.flags ^= if to_guest { 2 } else { 0 };
            if descriptor.flags & 4 != 0 {
                descriptor.address = TABLE;
                descriptor.len = if descriptor.next.is_multiple_of(4) { 40 } else { u32::from(TABLE_SIZE) * 16 };
            }
            descriptor
        };
        let on_ring: Vec<Descriptor> = on_ring.into_iter().map(turn).collect();
        let in_table: Vec<Descriptor> = in_table.into_iter().map(turn).collect();
        let mut lab = Lab::new(bit::INDIRECT_DESC);
        for (index, descriptor) in on_ring.iter().enumerate() {
            lab.set(0, index, *descriptor);
        }
        for (index, descriptor) in in_table.iter().enumerate() {
            lab.set(TABLE, index, *descriptor);
        }
        let followed = lab.follow(head, direction);
        prop_assert_eq!(followed.ok(), model(&on_ring, &in_table, head, direction));
    }
}

#[test]
fn each_kind_of_bad_chain_has_its_name() {
    const NEXT: u16 = Descriptor::NEXT;
    const TABLE_FLAG: u16 = Descriptor::INDIRECT;
    let table_len = 32;
    for (first, second, error) in [
        (descriptor(0, 10, NEXT, 8), None, BadChain::Index { index: 8, count: 8 }),
        (descriptor(0, 10, NEXT, 0), None, BadChain::TooMany(8)),
        (descriptor(END - 5, 10, 0, 0), None, BadChain::Address { address: END - 5, len: 10 }),
        (descriptor(u64::MAX, 10, 0, 0), None, BadChain::Address { address: u64::MAX, len: 10 }),
        (descriptor(0, 10, Descriptor::WRITE, 0), None, BadChain::Direction),
        (descriptor(TABLE, 0, TABLE_FLAG, 0), None, BadChain::TableLen(0)),
        (descriptor(TABLE, 40, TABLE_FLAG, 0), None, BadChain::TableLen(40)),
        (descriptor(0, u32::MAX - 15, TABLE_FLAG, 0), None, BadChain::TableLen(u32::MAX - 15)),
        (descriptor(TABLE, 16, TABLE_FLAG | NEXT, 1), None, BadChain::Table),
        (
            descriptor(END - 16, table_len, TABLE_FLAG, 0),
            None,
            BadChain::Address { address: END - 16, len: 32 },
        ),
        (
            descriptor(TABLE, table_len, TABLE_FLAG, 0),
            Some(descriptor(TABLE, 16, TABLE_FLAG, 0)),
            BadChain::Table,
        ),
        (
            descriptor(TABLE, table_len, TABLE_FLAG, 0),
            Some(descriptor(0, 10, NEXT, 2)),
            BadChain::Index { index: 2, count: 2 },
        ),
        (descriptor(TABLE, table_len, TABLE_FLAG, 0), Some(descriptor(0, 10, NEXT, 0)), BadChain::TooMany(8)),
    ] {
        let mut lab = Lab::new(bit::INDIRECT_DESC);
        lab.set(0, 0, first);
        lab.set(TABLE, 0, second.unwrap_or(descriptor(0, 1, 0, 0)));
        assert_eq!(lab.follow(0, Direction::FromGuest), Err(error), "{first:?}");
    }
    assert_eq!(Lab::new(0).follow(8, Direction::FromGuest), Err(BadChain::Index { index: 8, count: 8 }));
}

#[test]
fn a_table_may_come_last_and_lie_anywhere_but_must_be_negotiated() {
    let mut lab = Lab::new(bit::INDIRECT_DESC);
    lab.set(0, 0, descriptor(0x100, 12, Descriptor::NEXT, 1));
    // At an odd address, and as if it were to be written, which means nothing (VIRTIO 1.2 §2.7.5.3.2).
    lab.set(0, 1, descriptor(TABLE + 3, 32, Descriptor::INDIRECT | Descriptor::WRITE, 0));
    let entries = [(0x200u64, 60u32, 1u16, 1u16), (0x300, 7, 0, 0)];
    let octets = entries.map(|(address, len, flags, next)| {
        [&address.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()].concat()
    });
    lab.area.write(TABLE as usize + 3, &octets.concat());
    assert_eq!(lab.follow(0, Direction::FromGuest), Ok(vec![(0x100, 12), (0x200, 60), (0x300, 7)]));
    let mut without = Lab::new(0);
    without.set(0, 0, descriptor(TABLE, 32, Descriptor::INDIRECT, 0));
    assert_eq!(without.follow(0, Direction::FromGuest), Err(BadChain::Table));
}

#[test]
fn a_chain_may_be_as_long_as_the_ring() {
    let mut lab = Lab::new(0);
    for n in 0..SIZE {
        let flags = if n + 1 < SIZE { Descriptor::NEXT } else { 0 };
        lab.set(0, n.into(), descriptor(u64::from(n) * 8, 8, flags, n + 1));
    }
    assert_eq!(lab.follow(0, Direction::FromGuest).unwrap().len(), usize::from(SIZE));
}

//! Regions and what is in them.

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use proptest::prelude::*;

use super::driver::sealed_file;
use super::*;

const LEN: u64 = 0x4000;

fn entry(guest_address: u64, len: u64, front_address: u64, file_offset: u64) -> RegionEntry {
    RegionEntry { guest_address, len, front_address, file_offset }
}

fn map(entry: RegionEntry) -> Result<GuestMemory, MemoryError> {
    GuestMemory::map(&[entry], &[sealed_file(LEN as usize).unwrap()])
}

#[test]
fn a_region_is_found_by_both_of_its_addresses() {
    let file = sealed_file(LEN as usize).unwrap();
    let area = Area::of_file(&file, LEN as usize).unwrap();
    area.write(0x1100, b"guest");
    let entries = [entry(0, 0x1000, 0x7000_0000, 0), entry(0x10_0000, 0x3000, 0x9000_0000, 0x1000)];
    let files = [file.try_clone().unwrap(), file];
    let mut memory = GuestMemory::map(&entries, &files).unwrap();
    let piece = memory.piece(0x10_0100, 5).unwrap();
    let mut octets = [0; 5];
    memory.read(piece, 0, &mut octets);
    assert_eq!(&octets, b"guest");
    memory.write(piece, 1, b"host");
    let ring = memory.area(0x9000_0100, 8, 8).unwrap();
    assert_eq!(ring.load_u64(0), u64::from_le_bytes(*b"ghost\0\0\0"));
    let number = memory.piece(0x10_0100, 8).unwrap();
    assert_eq!(memory.read_u64(number, 0), ring.load_u64(0));
}

#[test]
fn nothing_is_found_beyond_a_region_or_across_its_end() {
    let mut memory = map(entry(0x1000, LEN, 0, 0)).unwrap();
    assert!(memory.piece(0x1000, LEN as u32).is_some());
    for (address, len) in
        [(0xfff, 1), (0xfff, 2), (0x1000 + LEN, 1), (0x1001, LEN as u32), (0x1fff, u32::MAX)]
    {
        assert_eq!(memory.piece(address, len), None, "{len} at {address:#x}");
    }
    assert_eq!(memory.piece(u64::MAX, 2), None);
}

#[test]
fn a_region_that_its_file_does_not_hold_is_refused() {
    let beyond = |end| MemoryError::BeyondFile { end, file_len: LEN };
    assert_eq!(map(entry(0, LEN + 1, 0, 0)).unwrap_err(), beyond(LEN + 1));
    assert_eq!(map(entry(0, LEN, 0, 1)).unwrap_err(), beyond(LEN + 1));
    assert!(map(entry(0, LEN - 1, 0, 1)).is_ok());
    let extent = |address, len, offset| MemoryError::Extent { address, len, offset };
    assert_eq!(map(entry(0, 0, 0, 0)).unwrap_err(), extent(0, 0, 0));
    assert_eq!(map(entry(u64::MAX, 2, 0, 0)).unwrap_err(), extent(u64::MAX, 2, 0));
    assert_eq!(map(entry(0, 2, u64::MAX, 0)).unwrap_err(), extent(0, 2, 0));
    assert_eq!(map(entry(0, 2, 0, u64::MAX)).unwrap_err(), extent(0, 2, u64::MAX));
}

#[test]
fn memory_that_somebody_could_cut_off_is_refused() {
    let file = memfd_create("unsealed", MFdFlags::MFD_CLOEXEC).unwrap();
    ftruncate(&file, LEN as i64).unwrap();
    let map = |file| GuestMemory::map(&[entry(0, LEN, 0, 0)], &[file]).unwrap_err();
    assert_eq!(map(file), MemoryError::Unsealed);
    // Files that know of no seals can be cut off as well.
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert_eq!(map(file.into()), MemoryError::Unsealed);
}

#[test]
fn a_ring_keeps_its_memory_and_the_last_to_use_it_lets_it_go() {
    let name = format!("mvpnet-test-{}", std::process::id());
    let file = memfd_create(name.as_str(), MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
    ftruncate(&file, LEN as i64).unwrap();
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK)).unwrap();
    let is_mapped = || std::fs::read_to_string("/proc/self/maps").unwrap().contains(&name);
    let memory = GuestMemory::map(&[entry(0, LEN, 0, 0)], &[file]).unwrap();
    let ring = memory.area(0, 16, 16).unwrap();
    drop(memory);
    assert!(is_mapped());
    ring.store_u16(0, 7, Ordering::Relaxed);
    assert_eq!(ring.load_u16(0, Ordering::Relaxed), 7);
    drop(ring);
    assert!(!is_mapped());
}

#[test]
fn an_area_at_an_odd_place_of_its_file_is_none() {
    let memory = map(entry(0, 0x1000, 0, 1)).unwrap();
    assert!(memory.area(0, 16, 2).is_none());
    assert!(memory.area(1, 16, 2).is_none());
}

proptest! {
    #[test]
    fn a_piece_is_found_exactly_where_one_region_holds_it(
        regions in prop::collection::vec((0u64..64, 1u64..16), 1..8), at in 0u64..80, len in 1u32..20
    ) {
        // Regions of a few octets, which do not overlap, all at the place in the file that their address says.
        let mut entries: Vec<RegionEntry> = Vec::new();
        for (start, len) in regions {
            if entries.iter().all(|e| start + len <= e.guest_address || start >= e.guest_address + e.len) {
                entries.push(entry(start, len, start, start));
            }
        }
        let file = sealed_file(100).unwrap();
        let octets: Vec<u8> = (0..100).collect();
        Area::of_file(&file, 100).unwrap().write(0, &octets);
        let files: Vec<OwnedFd> = entries.iter().map(|_| file.try_clone().unwrap()).collect();
        let mut memory = GuestMemory::map(&entries, &files).unwrap();
        let end = at + u64::from(len);
        let is_inside = entries.iter().any(|e| at >= e.guest_address && end <= e.guest_address + e.len);
        let piece = memory.piece(at, len);
        prop_assert_eq!(piece.is_some(), is_inside);
        if let Some(piece) = piece {
            let mut copy = vec![0; len as usize];
            memory.read(piece, 0, &mut copy);
            prop_assert_eq!(&copy[..], &octets[at as usize..end as usize]);
        }
    }
}

//! Which guests look at which: all at all others, unless that is too many.

/// Up to so many guests, all pairs are looked at.
pub(super) const ALL_UP_TO: u32 = 16;

/// For each of `ranks` guests those that it looks at: all others, or, of many, those that are one, two, four and so on
/// further round the ring. Every guest is looked at as often as it looks, and any two are few steps apart.
pub(super) fn peers(ranks: u32, all: bool) -> Vec<Vec<u32>> {
    let distances: Vec<u32> = if all || ranks <= ALL_UP_TO {
        (1..ranks).collect()
    } else {
        (0..u32::BITS)
            .map(|power| 1_u32.checked_shl(power).unwrap_or(u32::MAX))
            .take_while(|d| *d < ranks)
            .collect()
    };
    let of = |rank: u32| distances.iter().map(|distance| step(rank, *distance, ranks)).collect();
    (0..ranks).map(of).collect()
}

fn step(rank: u32, distance: u32, ranks: u32) -> u32 {
    // Without overflow: both are less than `ranks`.
    if distance < ranks - rank { rank + distance } else { distance - (ranks - rank) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_guests_all_look_at_all_others() {
        assert_eq!(peers(1, false), [Vec::<u32>::new()]);
        assert_eq!(peers(3, false), [vec![1, 2], vec![2, 0], vec![0, 1]]);
        assert_eq!(peers(40, true)[39].len(), 39);
    }

    #[test]
    fn of_many_each_looks_at_some_and_is_looked_at_as_often() {
        let peers = peers(100, false);
        assert_eq!(peers[99], [0, 1, 3, 7, 15, 31, 63]);
        for rank in 0..100 {
            assert!(!peers[rank as usize].contains(&rank));
            assert_eq!(peers.iter().filter(|of| of.contains(&rank)).count(), 7);
        }
    }
}

//! Ranks as people write them: `0,3,7-9`. Whether they exist is asked later, when the size of the world is
//! known.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::{Rank, World};

/// Some ranks: single ones and ranges, `7-9`, `5-` (from 5 on), `-5` (up to 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankList {
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    /// None: to the end of the world.
    last: Option<u32>,
}

/// Why a text is not a rank list.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RankListError {
    /// Two commas in a row, a comma at an end, a dash alone.
    #[error("the rank list `{list}` names no rank at `{item}`: write it like 0,3,7-9 or 5- or -5")]
    Item {
        /// The whole list.
        list: String,
        /// What is no rank.
        item: String,
    },
    /// `9-7`.
    #[error("the rank list `{list}` runs backwards at `{item}`")]
    Backwards {
        /// The whole list.
        list: String,
        /// The range that does.
        item: String,
    },
    /// More than any world has.
    #[error("the rank list `{list}` names a rank at `{item}` that no job can have")]
    TooLarge {
        /// The whole list.
        list: String,
        /// The number.
        item: String,
    },
}

impl RankList {
    /// A list of these ranks alone.
    pub fn of(ranks: impl IntoIterator<Item = u32>) -> RankList {
        let single = |rank| Range { first: rank, last: Some(rank) };
        RankList { ranges: ranks.into_iter().map(single).collect() }
    }

    /// The ranks of a world of this size that are named, in ascending order.
    pub fn iter(&self, world: World) -> impl Iterator<Item = Rank> + '_ {
        world.ranks().filter(|rank| self.contains(rank.index()))
    }

    /// Whether `rank` is named.
    pub fn contains(&self, rank: u32) -> bool {
        self.ranges.iter().any(|range| range.first <= rank && range.last.is_none_or(|last| rank <= last))
    }

    /// A rank that is named and is not in a world of `world` ranks.
    pub fn outside(&self, world: u32) -> Option<u32> {
        self.ranges
            .iter()
            .map(|range| range.last.unwrap_or(range.first).max(range.first))
            .find(|n| *n >= world)
    }
}

impl FromStr for RankList {
    type Err = RankListError;

    fn from_str(list: &str) -> Result<Self, RankListError> {
        let ranges = list.split(',').map(|item| range(list, item)).collect::<Result<_, _>>()?;
        Ok(Self { ranges })
    }
}

fn range(list: &str, item: &str) -> Result<Range, RankListError> {
    let (list, item) = (|| list.to_owned(), || item.to_owned());
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RankListError::Item { list: list(), item: item() });
        }
        text.parse::<u32>().map_err(|_| RankListError::TooLarge { list: list(), item: item() })
    };
    let text = item();
    let range = match text.split_once('-') {
        None => {
            let rank = number(&text)?;
            Range { first: rank, last: Some(rank) }
        }
        Some((first, "")) => Range { first: number(first)?, last: None },
        Some(("", last)) => Range { first: 0, last: Some(number(last)?) },
        Some((first, last)) => Range { first: number(first)?, last: Some(number(last)?) },
    };
    if range.last.is_some_and(|last| last < range.first) {
        return Err(RankListError::Backwards { list: list(), item: text });
    }
    Ok(range)
}

impl fmt::Display for RankList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match range {
                Range { first, last: None } => write!(f, "{comma}{first}-")?,
                Range { first, last: Some(last) } if first == last => write!(f, "{comma}{first}")?,
                Range { first, last: Some(last) } => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(text: &str) -> RankList {
        text.parse().unwrap()
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_an_error() {
        for text in ["9-7", "0,", ",0", "1--2", "0-1-2", "99999999999", "", "-", "x", "+1"] {
            assert!(text.parse::<RankList>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranks_outside_the_world_are_found() {
        assert_eq!(list("0,2-3").outside(4), None);
        assert_eq!(list("3-").outside(4), None);
        assert_eq!(list("0,2-4").outside(4), Some(4));
        assert_eq!(list("-7").outside(4), Some(7));
        assert_eq!(list("4-").outside(4), Some(4));
    }

    #[test]
    fn the_ranks_of_a_world_are_listed_once_and_in_order() {
        let world = World::new(6).unwrap();
        let ranks: Vec<u32> = list("4-,1,0-1").iter(world).map(Rank::index).collect();
        assert_eq!(ranks, [0, 1, 4, 5]);
        assert_eq!(RankList::of([2, 0]).to_string(), "2,0");
    }

    fn lists() -> impl Strategy<Value = RankList> {
        let range = (0u32..1000, proptest::option::of(0u32..1000))
            .prop_map(|(first, length)| Range { first, last: length.map(|length| first + length) });
        proptest::collection::vec(range, 1..6).prop_map(|ranges| RankList { ranges })
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(list in lists()) {
            prop_assert_eq!(list.to_string().parse::<RankList>(), Ok(list));
        }

        #[test]
        fn membership_is_that_of_the_ranges(list in lists(), rank in 0u32..2100) {
            let naive = list.ranges.iter().any(|r| (r.first..=r.last.unwrap_or(u32::MAX)).contains(&rank));
            prop_assert_eq!(list.contains(rank), naive);
        }

        #[test]
        fn no_text_is_too_strange(text in ".*", digits in "[-0-9,]{0,12}") {
            let _ = text.parse::<RankList>();
            let _ = digits.parse::<RankList>();
        }
    }
}

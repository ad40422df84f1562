//! Rank lists in front of values (`0,3,7-9:VALUE`), and values that differ from rank to rank.
//!
//! A value has a rank list if what stands before its first colon consists of digits, commas and dashes only,
//! with at least one digit; so `console:TEXT` and paths with colons are left alone, and a file that is
//! really called `0:disk.img` is written `./0:disk.img`. Whether the ranks exist is asked later, when the size of
//! the world is known.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use thiserror::Error;

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

    /// Splits `value` into its rank list, if it has one, and the rest.
    pub fn split(value: &OsStr) -> Result<(Option<Self>, &OsStr), RankListError> {
        let bytes = value.as_bytes();
        let Some(colon) = bytes.iter().position(|byte| *byte == b':') else {
            return Ok((None, value));
        };
        let list = &bytes[..colon];
        let is_list = list.iter().all(|byte| matches!(byte, b'0'..=b'9' | b',' | b'-'))
            && list.iter().any(u8::is_ascii_digit);
        if !is_list {
            return Ok((None, value));
        }
        let list = String::from_utf8_lossy(list).parse()?;
        Ok((Some(list), OsStr::from_bytes(&bytes[colon + 1..])))
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

/// The values of one flag, in the order given, each for all ranks or for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerRank<T> {
    settings: Vec<(Option<RankList>, T)>,
}

impl<T> Default for PerRank<T> {
    fn default() -> Self {
        Self { settings: Vec::new() }
    }
}

impl<T> PerRank<T> {
    /// Adds a value, which overrides those before it for the ranks that it names.
    pub fn push(&mut self, ranks: Option<RankList>, value: T) {
        self.settings.push((ranks, value));
    }

    /// The value of `rank`: the last one given for it.
    pub fn of(&self, rank: u32) -> Option<&T> {
        self.all_of(rank).last()
    }

    /// All values of `rank`, in the order given.
    pub fn all_of(&self, rank: u32) -> impl DoubleEndedIterator<Item = &T> {
        self.settings
            .iter()
            .filter(move |(ranks, _)| ranks.as_ref().is_none_or(|ranks| ranks.contains(rank)))
            .map(|(_, value)| value)
    }

    /// A rank list that names a rank outside a world of `world` ranks, with that rank.
    pub fn outside(&self, world: u32) -> Option<(&RankList, u32)> {
        let lists = self.settings.iter().filter_map(|(ranks, _)| ranks.as_ref());
        lists.filter_map(|list| Some((list, list.outside(world)?))).next()
    }

    /// Whether the flag was not given.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(value: &str) -> Result<(Option<String>, String), RankListError> {
        let (list, rest) = RankList::split(OsStr::new(value))?;
        Ok((list.map(|list| list.to_string()), rest.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_prefix_of_digits_commas_and_dashes_is_a_rank_list() {
        for (value, list, rest) in [
            ("0:x", "0", "x"),
            ("0,3,7-9:x", "0,3,7-9", "x"),
            ("5-:x", "5-", "x"),
            ("-5:x", "0-5", "x"),
            ("4-4:a:b", "4", "a:b"),
            ("0:", "0", ""),
        ] {
            assert_eq!(split(value), Ok((Some(list.to_owned()), rest.to_owned())), "{value}");
        }
    }

    #[test]
    fn any_other_colon_belongs_to_the_value() {
        for value in ["x", "console:login:", "C:\\disk", "./0:x", "0 :x", ":x", "-:x", ",:x", "0x:1", ""] {
            assert_eq!(split(value), Ok((None, value.to_owned())), "{value}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_an_error_not_a_value() {
        for value in ["9-7:x", "0,:x", ",0:x", "1--2:x", "0-1-2:x", "99999999999:x"] {
            assert!(split(value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_last_value_for_a_rank_wins_and_all_can_be_listed() {
        let mut values = PerRank::default();
        values.push(None, 'a');
        values.push("1-2".parse().ok(), 'b');
        values.push("2-".parse().ok(), 'c');
        assert_eq!([0, 1, 2, 9].map(|rank| *values.of(rank).unwrap()), ['a', 'b', 'c', 'c']);
        assert!(values.all_of(2).eq(&['a', 'b', 'c']));
        assert_eq!(PerRank::<char>::default().of(0), None);
    }

    #[test]
    fn ranks_outside_the_world_are_found() {
        let list = |text: &str| text.parse::<RankList>().unwrap();
        assert_eq!(list("0,2-3").outside(4), None);
        assert_eq!(list("3-").outside(4), None);
        assert_eq!(list("0,2-4").outside(4), Some(4));
        assert_eq!(list("-7").outside(4), Some(7));
        assert_eq!(list("4-").outside(4), Some(4));
    }

    fn lists() -> impl Strategy<Value = RankList> {
        let range = (0u32..1000, proptest::option::of(0u32..1000))
            .prop_map(|(first, length)| Range { first, last: length.map(|length| first + length) });
        proptest::collection::vec(range, 1..6).prop_map(|ranges| RankList { ranges })
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(list in lists(), rest in ".*") {
            prop_assert_eq!(list.to_string().parse::<RankList>(), Ok(list.clone()));
            let value = format!("{list}:{rest}");
            let (found, value) = RankList::split(OsStr::new(&value)).unwrap();
            prop_assert_eq!(found, Some(list));
            prop_assert_eq!(value, OsStr::new(&rest));
        }

        #[test]
        fn membership_is_that_of_the_ranges(list in lists(), rank in 0u32..2100) {
            let naive = list.ranges.iter().any(|r| (r.first..=r.last.unwrap_or(u32::MAX)).contains(&rank));
            prop_assert_eq!(list.contains(rank), naive);
        }

        #[test]
        fn no_text_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40), digits in "[-0-9,]{0,12}:.*") {
            let _ = RankList::split(OsStr::from_bytes(&bytes));
            let _ = RankList::split(OsStr::new(&digits));
        }
    }
}

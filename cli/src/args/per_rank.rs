//! Rank lists in front of values (`0,3,7-9:VALUE`), and values that differ from rank to rank.
//!
//! A value has a rank list if what stands before its first colon consists of digits, commas and dashes only,
//! with at least one digit; so `console:TEXT` and paths with colons are left alone, and a file that is
//! really called `0:disk.img` is written `./0:disk.img`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use mvpnet_switch::{RankList, RankListError};

/// Splits `value` into its rank list, if it has one, and the rest.
pub fn split(value: &OsStr) -> Result<(Option<RankList>, &OsStr), RankListError> {
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

    use super::{OsStr, OsStrExt, PerRank, RankListError};

    fn split(value: &str) -> Result<(Option<String>, String), RankListError> {
        let (list, rest) = super::split(OsStr::new(value))?;
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

    proptest! {
        #[test]
        fn a_list_is_split_off_whatever_follows(first in 0u32..100, more in 0u32..100, rest in ".*") {
            let list = format!("{first},{first}-{}", first + more);
            let value = format!("{list}:{rest}");
            let (found, value) = super::split(OsStr::new(&value)).unwrap();
            prop_assert_eq!(found, list.parse().ok());
            prop_assert_eq!(value, OsStr::new(&rest));
        }

        #[test]
        fn no_text_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40), digits in "[-0-9,]{0,12}:.*") {
            let _ = super::split(OsStr::from_bytes(&bytes));
            let _ = super::split(OsStr::new(&digits));
        }
    }
}

//! VNIs as people write them: `40-43,60`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::Vni;

/// Some VNIs, each once: single ones and ranges.
///
/// However it was written, a list is kept and shown in its shortest form: ascending, in ranges.
///
/// ```
/// use mvpnet_switch::VniList;
///
/// let list: VniList = "60,40-42,43".parse()?;
/// assert_eq!((list.len(), list.to_string().as_str()), (5, "40-43,60"));
/// # Ok::<(), mvpnet_switch::VniListError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VniList {
    /// Ascending, with gaps in between.
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    first: u32,
    last: u32,
}

/// Why a text is not a list of VNIs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VniListError {
    /// Two commas in a row, a comma at an end, an open range.
    #[error("the VNI list `{list}` names no VNI at `{item}`: write it like 40-43,60")]
    Item {
        /// The whole list.
        list: String,
        /// What is no VNI.
        item: String,
    },
    /// `43-40`.
    #[error("the VNI list `{list}` runs backwards at `{item}`")]
    Backwards {
        /// The whole list.
        list: String,
        /// The range that does.
        item: String,
    },
    /// It does not fit into 24 bits.
    #[error("the VNI list `{list}` names a VNI at `{item}` that is larger than {max}", max = Vni::MAX)]
    TooLarge {
        /// The whole list.
        list: String,
        /// The number, or the range that ends with it.
        item: String,
    },
    /// `40-43,42`.
    #[error("the VNI list `{list}` names VNI {vni} twice")]
    Twice {
        /// The whole list.
        list: String,
        /// The first one that is there twice.
        vni: Vni,
    },
    /// More than a list may have.
    #[error("the VNI list `{list}` names {count} VNIs, and {max} are the most", max = VniList::MAX_LEN)]
    TooMany {
        /// The whole list.
        list: String,
        /// How many there are.
        count: u64,
    },
}

impl VniList {
    /// The longest list.
    pub const MAX_LEN: usize = 4096;

    /// How many VNIs are in it.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|range| range.len() as usize).sum()
    }

    /// Whether it has none, which no list that was read is.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `vni` is in it.
    pub fn contains(&self, vni: Vni) -> bool {
        self.ranges.iter().any(|range| (range.first..=range.last).contains(&vni.value()))
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Vni> + '_ {
        let numbers = self.ranges.iter().flat_map(|range| range.first..=range.last);
        numbers.map(|number| Vni::new(number).expect("ranges end with a VNI"))
    }
}

impl Range {
    fn len(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

impl FromStr for VniList {
    type Err = VniListError;

    fn from_str(list: &str) -> Result<VniList, VniListError> {
        let mut ranges = list.split(',').map(|item| range(list, item)).collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if pair[1].first <= pair[0].last {
                let vni = Vni::new(pair[1].first).expect("ranges begin with a VNI");
                return Err(VniListError::Twice { list: list.to_owned(), vni });
            }
        }
        let count = ranges.iter().map(Range::len).sum();
        if count > VniList::MAX_LEN as u64 {
            return Err(VniListError::TooMany { list: list.to_owned(), count });
        }
        ranges.dedup_by(|next, range| {
            let adjoins = next.first == range.last + 1;
            if adjoins {
                range.last = next.last;
            }
            adjoins
        });
        Ok(VniList { ranges })
    }
}

fn range(list: &str, item: &str) -> Result<Range, VniListError> {
    let name = || (list.to_owned(), item.to_owned());
    let number = |text: &str| {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let (list, item) = name();
            return Err(VniListError::Item { list, item });
        }
        text.parse().ok().and_then(|number| Vni::new(number).ok()).map(Vni::value).ok_or_else(|| {
            let (list, item) = name();
            VniListError::TooLarge { list, item }
        })
    };
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let range = Range { first: number(first)?, last: number(last)? };
    if range.last < range.first {
        let (list, item) = name();
        return Err(VniListError::Backwards { list, item });
    }
    Ok(range)
}

impl fmt::Display for VniList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &Range { first, last }) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        text.parse::<VniList>().unwrap_err().to_string()
    }

    #[test]
    fn a_list_that_cannot_be_meant_is_an_error() {
        for text in ["", ",", "40,", ",40", "40--43", "40-43-45", "-", "40-", "-43", "x", "+1", "40 ,41"] {
            assert!(error(text).contains("write it like 40-43,60"), "{text}");
        }
        assert_eq!(error("43-40"), "the VNI list `43-40` runs backwards at `43-40`");
        assert!(error("1,16777210-16777216").contains("larger than 16777215"));
        assert!(error("99999999999").contains("larger than 16777215"));
    }

    #[test]
    fn a_vni_that_is_there_twice_is_an_error() {
        assert_eq!(error("40-43,42"), "the VNI list `40-43,42` names VNI 42 twice");
        assert_eq!(error("60,7,60"), "the VNI list `60,7,60` names VNI 60 twice");
    }

    #[test]
    fn a_list_has_4096_vnis_at_most() {
        assert_eq!("1-4000,5001-5096".parse::<VniList>().unwrap().len(), 4096);
        assert_eq!(error("1-4097"), "the VNI list `1-4097` names 4097 VNIs, and 4096 are the most");
        assert!(error("0-16777215").contains("names 16777216 VNIs"));
    }

    #[test]
    fn neighbours_are_shown_as_a_range() {
        let list: VniList = "5,3,60,4,007".parse().unwrap();
        assert_eq!(list.to_string(), "3-5,7,60");
    }

    proptest! {
        #[test]
        fn a_list_is_the_set_of_what_it_names(ranges in prop::collection::vec((0..100u32, 0..9u32), 1..6)) {
            let text: Vec<_> = ranges.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
            let named: Vec<_> = ranges.iter().flat_map(|(first, more)| *first..=first + more).collect();
            let set: BTreeSet<_> = named.iter().copied().collect();
            match text.join(",").parse::<VniList>() {
                Ok(list) => {
                    prop_assert_eq!(set.len(), named.len());
                    prop_assert_eq!(list.iter().map(Vni::value).collect::<Vec<_>>(), Vec::from_iter(set));
                    prop_assert_eq!(list.len(), named.len());
                    prop_assert!((0..200).all(|n| list.contains(Vni::new(n).unwrap()) == named.contains(&n)));
                    prop_assert_eq!(list.to_string().parse(), Ok(list));
                }
                Err(VniListError::Twice { vni, .. }) => {
                    prop_assert!(named.iter().filter(|&&number| number == vni.value()).count() > 1);
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }

        #[test]
        fn no_text_is_too_strange(text in ".*", digits in "[-0-9,]{0,12}") {
            let _ = text.parse::<VniList>();
            let _ = digits.parse::<VniList>();
        }
    }
}

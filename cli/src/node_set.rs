//! Guests as people name several of them: `3`, `0,3,7-9`, `n0003`, `n[0-3]`, `all`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use mvpnet_switch::{RankList, RankListError, World};

/// Some guests of a job. Which of them there are is known when the job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSet {
    ranks: RankList,
    /// `all`, and nothing else: never wrong.
    is_all: bool,
}

/// Why a text names no guests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeSetError {
    /// What is between two commas is no name.
    #[error("the nodes `{set}` name no node at `{item}`: write them like 3, 0,3,7-9, n0003, n[0-3] or all")]
    Item {
        /// All of it.
        set: String,
        /// What is no name.
        item: String,
    },
    /// A host that is none of the guests.
    #[error("no guest is called `{name}`: name one like n0003, 3 or 10.0.0.4")]
    Host {
        /// As typed.
        name: String,
    },
    /// `n[0-3`.
    #[error("the nodes `{set}` have brackets that do not match: write them like n[0-3,7]")]
    Brackets {
        /// All of it.
        set: String,
    },
    /// A range that runs backwards, a number that is too large.
    #[error("the nodes `{set}`: {problem}")]
    Ranks {
        /// All of it.
        set: String,
        /// What is wrong.
        problem: RankListError,
    },
    /// Guests that this job has not.
    #[error("the job has no node {rank}: its nodes are {first} to {last}")]
    Outside {
        /// One that it has not.
        rank: u32,
        /// Its first.
        first: u32,
        /// Its last.
        last: u32,
    },
    /// More than one.
    #[error("`{set}` is {count} nodes, and one is wanted")]
    Several {
        /// As typed.
        set: String,
        /// How many it is.
        count: usize,
    },
}

/// The host name of a rank's guest.
pub fn node_name(rank: u32) -> String {
    format!("n{rank:04}")
}

/// The shortest name of these, as it can be typed again: `n0003`, or `n[0001-0003,0007]`.
pub fn folded(ranks: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for rank in ranks {
        match ranges.last_mut() {
            Some((_, last)) if rank.checked_sub(1) == Some(*last) => *last = *rank,
            _ => ranges.push((*rank, *rank)),
        }
    }
    let shown: Vec<String> = ranges
        .iter()
        .map(
            |(first, last)| {
                if first == last { format!("{first:04}") } else { format!("{first:04}-{last:04}") }
            },
        )
        .collect();
    match &shown[..] {
        [one] if !one.contains('-') => format!("n{one}"),
        _ => format!("n[{}]", shown.join(",")),
    }
}

/// A host as programs name it: also by its address, or with a domain behind its name.
///
/// # Errors
/// No guest of any job is called so.
pub fn host(name: &str) -> Result<NodeSet, NodeSetError> {
    let any = World::new(World::MAX_SIZE).ok();
    let found = match name.parse::<Ipv4Addr>() {
        Ok(address) => {
            let rank = any.and_then(|any| any.rank_of_ipv4(address));
            rank.map(|rank| NodeSet { ranks: RankList::of([rank.index()]), is_all: false })
        }
        Err(_) => name.split('.').next().and_then(|name| name.parse().ok()),
    };
    found.ok_or_else(|| NodeSetError::Host { name: name.to_owned() })
}

impl NodeSet {
    /// The ranks of a job whose ranks are `first` and `count - 1` that follow, in ascending order, each once.
    ///
    /// # Errors
    /// Some that are named are not the job's.
    pub fn of_job(&self, first: u32, count: u32) -> Result<Vec<u32>, NodeSetError> {
        let end = first.saturating_add(count);
        let last = end.saturating_sub(1);
        if !self.is_all {
            let outside = self.ranks.outside(end).or_else(|| self.before(first));
            if let Some(rank) = outside {
                return Err(NodeSetError::Outside { rank, first, last });
            }
        }
        Ok((first..end).filter(|rank| self.ranks.contains(*rank)).collect())
    }

    /// The only one that is named.
    ///
    /// # Errors
    /// There is more than one, or the job has it not.
    pub fn one_of_job(&self, first: u32, count: u32) -> Result<u32, NodeSetError> {
        match self.of_job(first, count)?[..] {
            [rank] => Ok(rank),
            ref ranks => Err(NodeSetError::Several { set: self.to_string(), count: ranks.len() }),
        }
    }

    /// A rank that is named and is before the job's first.
    fn before(&self, first: u32) -> Option<u32> {
        (0..first).find(|rank| self.ranks.contains(*rank))
    }
}

impl FromStr for NodeSet {
    type Err = NodeSetError;

    fn from_str(set: &str) -> Result<Self, NodeSetError> {
        let mut list = Vec::new();
        for item in items(set)? {
            if item == "all" {
                list.push("0-".to_owned());
            } else {
                list.push(ranks_of(set, item)?);
            }
        }
        let ranks =
            list.join(",").parse().map_err(|problem| NodeSetError::Ranks { set: set.to_owned(), problem })?;
        Ok(Self { ranks, is_all: set == "all" })
    }
}

impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all { f.write_str("all") } else { self.ranks.fmt(f) }
    }
}

/// What is between the commas that are in no brackets.
fn items(set: &str) -> Result<Vec<&str>, NodeSetError> {
    let mismatch = || NodeSetError::Brackets { set: set.to_owned() };
    let (mut items, mut begin, mut inside) = (Vec::new(), 0, false);
    for (at, character) in set.char_indices() {
        match character {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            '[' | ']' => return Err(mismatch()),
            ',' if !inside => {
                items.push(&set[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(mismatch());
    }
    items.push(&set[begin..]);
    Ok(items)
}

/// An item as a rank list: `n[0-3,7]`, `n0003`, `n0-n3`, `7-9`.
fn ranks_of(set: &str, item: &str) -> Result<String, NodeSetError> {
    let wrong = || NodeSetError::Item { set: set.to_owned(), item: item.to_owned() };
    let inner = match item.strip_prefix("n[").and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.to_owned(),
        None => {
            let bound = |text: &str| text.strip_prefix('n').unwrap_or(text).to_owned();
            let bounds: Vec<String> = item.split('-').map(bound).collect();
            bounds.join("-")
        }
    };
    // A rank list with its digits only: what is wrong with it is said with what was typed.
    let is_list = inner.split(',').all(|range| {
        let bounds: Vec<&str> = range.split('-').collect();
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        matches!(bounds.len(), 1 | 2)
            && bounds.iter().all(digits)
            && bounds.iter().any(|bound| !bound.is_empty())
    });
    if is_list { Ok(inner) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranks(set: &str) -> Vec<u32> {
        set.parse::<NodeSet>().unwrap().of_job(0, 12).unwrap()
    }

    fn error(set: &str) -> String {
        set.parse::<NodeSet>().and_then(|set| set.of_job(0, 12)).unwrap_err().to_string()
    }

    #[test]
    fn all_ways_to_write_them_mean_the_same() {
        for set in
            ["0,3,7-9", "n0000,n0003,n[7-9]", "n[0,3,7-9]", "n[0000,0003],7-9", "9,8,7,3,0,0", "0,3,n7-n9"]
        {
            assert_eq!(ranks(set), [0, 3, 7, 8, 9], "{set}");
        }
        assert_eq!(ranks("3"), [3]);
        assert_eq!(ranks("10-"), [10, 11]);
        assert_eq!(ranks("all"), (0..12).collect::<Vec<_>>());
        assert_eq!("all".parse::<NodeSet>().unwrap().of_job(4, 2).unwrap(), [4, 5]);
    }

    #[test]
    fn what_names_nobody_is_an_error_that_says_how_it_is_right() {
        for set in
            ["", ",", "0,", "x", "n", "n[]", "-", "0-1-2", "m[0-3]", "ALL", "0 1", "n[0-3]x", "+1", "n-"]
        {
            let error = error(set);
            assert!(error.contains("write them like 3, 0,3,7-9, n0003, n[0-3] or all"), "{set}: {error}");
        }
        for set in ["n[0-3", "n0-3]", "n[[0]]", "]"] {
            assert!(error(set).contains("brackets that do not match"), "{set}: {}", error(set));
        }
        assert!(error("9-7").contains("runs backwards at `9-7`"), "{}", error("9-7"));
        assert!(error("99999999999").contains("no job can have"), "{}", error("99999999999"));
        assert_eq!(error("n[10-12]"), "the job has no node 12: its nodes are 0 to 11");
        let outside = "3".parse::<NodeSet>().unwrap().of_job(4, 2).unwrap_err().to_string();
        assert_eq!(outside, "the job has no node 3: its nodes are 4 to 5");
    }

    #[test]
    fn one_is_one() {
        let one = |set: &str| set.parse::<NodeSet>().unwrap().one_of_job(0, 4);
        assert_eq!(one("n0003"), Ok(3));
        assert_eq!(one("0-1").unwrap_err().to_string(), "`0-1` is 2 nodes, and one is wanted");
    }

    proptest! {
        #[test]
        fn what_is_folded_reads_back(ranks in prop::collection::btree_set(0_u32..2000, 1..40)) {
            let ranks: Vec<u32> = ranks.into_iter().collect();
            let set: NodeSet = folded(&ranks).parse().unwrap();
            prop_assert_eq!(set.of_job(0, 2000).unwrap(), ranks);
        }

        #[test]
        fn no_text_is_too_strange(text in ".*", near in "[-0-9n,\\[\\]al]{0,16}") {
            for text in [text, near] {
                if let Ok(set) = text.parse::<NodeSet>() {
                    let _ = set.of_job(0, 100);
                    prop_assert_eq!(set.to_string().parse::<NodeSet>().map(|again| again.ranks), Ok(set.ranks));
                }
            }
        }
    }
}

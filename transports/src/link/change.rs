//! What may happen to the links of a world, and to its guests, while frames are on the way.

use std::fmt;
use std::str::FromStr;

use mvpnet_switch::{Rank, RankList, RankListError, World};
use thiserror::Error;

use super::{LinkModel, SettingError};

/// A change to a running network. Frames that are on their way when it happens arrive all the same.
///
/// ```
/// use mvpnet_transports::link::Change;
///
/// for words in ["partition 0,1 | 2,3", "heal", "link 0<->1 loss=1%", "link all campus", "access 0 rate=1Mbit/s", "crash 2", "restart 2"] {
///     assert_eq!(words.parse::<Change>()?.to_string(), words);
/// }
/// # Ok::<(), mvpnet_transports::link::ChangeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// These links become so.
    Link(Pairs, LinkModel),
    /// The last hop to these guests, which all that is sent to one of them shares, becomes so.
    Access(RankList, LinkModel),
    /// No frame passes from one group to another. It replaces the partition before it. Ranks that are in no
    /// group reach everyone.
    Partition(Vec<RankList>),
    /// The partition is over.
    Heal,
    /// These guests lose their memory and their links: nothing is sent or received.
    Crash(RankList),
    /// These guests start anew, whether they had crashed or not.
    Restart(RankList),
    /// These guests stand still. What is sent to them waits, as far as there is room.
    Pause(RankList),
    /// They go on.
    Resume(RankList),
}

/// Some directions between ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// All.
    All,
    /// All that begin or end at one of these.
    At(RankList),
    /// From each of the first to each of the second.
    OneWay(RankList, RankList),
    /// Between each of the first and each of the second, both ways.
    BothWays(RankList, RankList),
}

/// Why words describe no change, or one that this world cannot have.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ChangeError {
    /// There is no such change.
    #[error(
        "`{0}` is no change to a network; there are link, access, partition, heal, crash, restart, pause and resume"
    )]
    Unknown(String),
    /// The change needs to know whom it is about.
    #[error("`{0}` needs ranks after it, as in `{0} 0,2-5`")]
    NoRanks(&'static str),
    /// Words after a change that takes none.
    #[error("`heal` stands alone; `{0}` is too much")]
    TooMuch(String),
    /// A rank list that is none.
    #[error(transparent)]
    Ranks(#[from] RankListError),
    /// Link settings that are none.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// `link` without ranks.
    #[error(
        "`link` needs to know which: write `all`, `2` (all of rank 2), `0<->1` or `0->1`, then its settings"
    )]
    NoPairs,
    /// A partition needs two sides.
    #[error("a partition has at least two groups, as in `partition 0,1 | 2,3`")]
    OneGroup,
    /// A rank on two sides.
    #[error("rank {0} is in two groups of the partition")]
    TwoGroups(u32),
    /// A rank that is not there.
    #[error("rank {rank} is outside the world, whose {size} ranks are 0 to {last}", last = size - 1)]
    Outside {
        /// The rank.
        rank: u32,
        /// The world's size.
        size: u32,
    },
}

impl Pairs {
    /// Whether the direction from one rank to another is one of these.
    pub fn contains(&self, from: Rank, to: Rank) -> bool {
        let (from, to) = (from.index(), to.index());
        match self {
            Pairs::All => true,
            Pairs::At(ranks) => ranks.contains(from) || ranks.contains(to),
            Pairs::OneWay(first, second) => first.contains(from) && second.contains(to),
            Pairs::BothWays(first, second) => {
                (first.contains(from) && second.contains(to)) || (second.contains(from) && first.contains(to))
            }
        }
    }

    fn lists(&self) -> Vec<&RankList> {
        match self {
            Pairs::All => Vec::new(),
            Pairs::At(ranks) => vec![ranks],
            Pairs::OneWay(first, second) | Pairs::BothWays(first, second) => vec![first, second],
        }
    }
}

impl Change {
    /// Whether a world of this size can have this change.
    pub fn check(&self, world: World) -> Result<(), ChangeError> {
        let size = world.size();
        for list in self.lists() {
            if let Some(rank) = list.outside(size) {
                return Err(ChangeError::Outside { rank, size });
            }
        }
        let Change::Partition(groups) = self else { return Ok(()) };
        if groups.len() < 2 {
            return Err(ChangeError::OneGroup);
        }
        let twice = |rank: &u32| groups.iter().filter(|group| group.contains(*rank)).count() > 1;
        (0..size).find(twice).map_or(Ok(()), |rank| Err(ChangeError::TwoGroups(rank)))
    }

    /// Whether it changes guests, not the links between them.
    pub fn is_about_guests(&self) -> bool {
        match self {
            Change::Crash(_) | Change::Restart(_) | Change::Pause(_) | Change::Resume(_) => true,
            Change::Link(..) | Change::Access(..) | Change::Partition(_) | Change::Heal => false,
        }
    }

    fn lists(&self) -> Vec<&RankList> {
        match self {
            Change::Link(pairs, _) => pairs.lists(),
            Change::Access(ranks, _) => vec![ranks],
            Change::Partition(groups) => groups.iter().collect(),
            Change::Heal => Vec::new(),
            Change::Crash(ranks) | Change::Restart(ranks) | Change::Pause(ranks) | Change::Resume(ranks) => {
                vec![ranks]
            }
        }
    }
}

impl FromStr for Pairs {
    type Err = RankListError;

    fn from_str(text: &str) -> Result<Pairs, RankListError> {
        Ok(if text == "all" {
            Pairs::All
        } else if let Some((first, second)) = text.split_once("<->") {
            Pairs::BothWays(first.parse()?, second.parse()?)
        } else if let Some((first, second)) = text.split_once("->") {
            Pairs::OneWay(first.parse()?, second.parse()?)
        } else {
            Pairs::At(text.parse()?)
        })
    }
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(words: &str) -> Result<Change, ChangeError> {
        let words = words.trim();
        let (verb, rest) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
        let rest = rest.trim();
        let ranks = |verb| {
            if rest.is_empty() { Err(ChangeError::NoRanks(verb)) } else { Ok(rest.parse::<RankList>()?) }
        };
        match verb {
            "link" => link(rest),
            "access" => access(rest),
            "partition" => partition(rest),
            "heal" if rest.is_empty() => Ok(Change::Heal),
            "heal" => Err(ChangeError::TooMuch(rest.to_owned())),
            "crash" => Ok(Change::Crash(ranks("crash")?)),
            "restart" => Ok(Change::Restart(ranks("restart")?)),
            "pause" => Ok(Change::Pause(ranks("pause")?)),
            "resume" => Ok(Change::Resume(ranks("resume")?)),
            other => Err(ChangeError::Unknown(other.to_owned())),
        }
    }
}

fn link(words: &str) -> Result<Change, ChangeError> {
    let (pairs, model) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    if pairs.is_empty() || pairs.contains('=') {
        return Err(ChangeError::NoPairs);
    }
    Ok(Change::Link(pairs.parse()?, model.parse()?))
}

fn access(words: &str) -> Result<Change, ChangeError> {
    let (ranks, model) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    if ranks.is_empty() {
        return Err(ChangeError::NoRanks("access"));
    }
    Ok(Change::Access(ranks.parse()?, model.parse()?))
}

fn partition(words: &str) -> Result<Change, ChangeError> {
    if words.is_empty() {
        return Err(ChangeError::OneGroup);
    }
    let groups = words.split('|').map(|group| group.trim().parse()).collect::<Result<Vec<RankList>, _>>()?;
    if groups.len() < 2 { Err(ChangeError::OneGroup) } else { Ok(Change::Partition(groups)) }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pairs::All => f.write_str("all"),
            Pairs::At(ranks) => write!(f, "{ranks}"),
            Pairs::OneWay(first, second) => write!(f, "{first}->{second}"),
            Pairs::BothWays(first, second) => write!(f, "{first}<->{second}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Link(pairs, model) => write!(f, "link {pairs} {model}"),
            Change::Access(ranks, model) => write!(f, "access {ranks} {model}"),
            Change::Partition(groups) => {
                let groups: Vec<String> = groups.iter().map(RankList::to_string).collect();
                write!(f, "partition {}", groups.join(" | "))
            }
            Change::Heal => f.write_str("heal"),
            Change::Crash(ranks) => write!(f, "crash {ranks}"),
            Change::Restart(ranks) => write!(f, "restart {ranks}"),
            Change::Pause(ranks) => write!(f, "pause {ranks}"),
            Change::Resume(ranks) => write!(f, "resume {ranks}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(words: &str) -> String {
        let world = World::new(4).unwrap();
        match words.parse::<Change>().and_then(|change| change.check(world).map(|()| change)) {
            Ok(change) => panic!("{change} is fine"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_a_world_cannot_have_is_said() {
        for (words, expected) in [
            ("partition 0,1", "a partition has at least two groups"),
            ("partition 0,1 | 1,2", "rank 1 is in two groups"),
            ("partition 0 | 4", "rank 4 is outside the world, whose 4 ranks are 0 to 3"),
            ("crash", "`crash` needs ranks after it"),
            ("heal 3", "`heal` stands alone"),
            ("explode 3", "`explode` is no change"),
            ("link loss=1%", "`link` needs to know which"),
            ("link 0->9 loss=1%", "rank 9 is outside"),
            ("pause x", "the rank list `x` names no rank"),
        ] {
            assert!(message(words).starts_with(expected), "{words}: {}", message(words));
        }
    }

    #[test]
    fn pairs_are_directions() {
        let world = World::new(4).unwrap();
        let [zero, one, two] = [0, 1, 2].map(|index| world.rank(index).unwrap());
        let pairs: Pairs = "0->1".parse().unwrap();
        assert!(pairs.contains(zero, one) && !pairs.contains(one, zero));
        let pairs: Pairs = "0<->1-2".parse().unwrap();
        assert!(pairs.contains(two, zero) && pairs.contains(zero, one) && !pairs.contains(one, two));
        let pairs: Pairs = "2".parse().unwrap();
        assert!(pairs.contains(two, zero) && pairs.contains(one, two) && !pairs.contains(zero, one));
    }
}

//! What people call guests, and what the job's ssh_config(5) calls them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::shown;
use crate::node_set::{NodeSet, NodeSetError};

/// The guests of a job.
#[derive(Debug)]
pub(super) struct Names {
    /// For each guest all that it is called, its host name first.
    guests: Vec<Vec<String>>,
}

/// A name that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error(transparent)]
    Set(#[from] NodeSetError),
    #[error("`{name}` is {count} nodes, and one is wanted")]
    Several { name: String, count: usize },
}

impl Names {
    /// Those that a config has.
    pub(super) fn of_config(config: &str) -> Self {
        let lines = config.lines().filter_map(|line| line.strip_prefix("Host "));
        let names = lines.map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let guests = names.filter(|names| !names.iter().any(|name| name.contains('*'))).collect();
        Self { guests }
    }

    /// `[USER@]NAME` as ssh is to be given it.
    pub(super) fn target(&self, word: &OsStr) -> Result<OsString, NameError> {
        let bytes = word.as_bytes();
        let (user, name) = match bytes.iter().rposition(|byte| *byte == b'@') {
            Some(at) => (&bytes[..=at], &bytes[at + 1..]),
            None => (&bytes[..0], bytes),
        };
        let guest = self.one(OsStr::from_bytes(name))?;
        let mut target = OsStr::from_bytes(user).to_owned();
        target.push(guest);
        Ok(target)
    }

    /// The guest that is called so.
    fn one(&self, name: &OsStr) -> Result<&str, NameError> {
        match &self.set(name)?[..] {
            [guest] => Ok(guest),
            guests => Err(NameError::Several { name: shown(name), count: guests.len() }),
        }
    }

    /// The guests that are called so together: a name or an address as ssh knows it, or a node set.
    pub(super) fn set(&self, name: &OsStr) -> Result<Vec<&str>, NameError> {
        let text = shown(name);
        if let Some(names) = self.guests.iter().find(|names| names.contains(&text)) {
            return Ok(vec![&names[0]]);
        }
        let ranks: Vec<Option<u32>> = self.guests.iter().map(|names| rank_of(&names[0])).collect();
        let first = ranks.iter().flatten().next().copied().unwrap_or(0);
        let count = u32::try_from(ranks.len()).unwrap_or(u32::MAX);
        let chosen = text.parse::<NodeSet>()?.of_job(first, count)?;
        let guests = self.guests.iter().zip(ranks);
        let guests = guests.filter(|(_, rank)| rank.is_some_and(|rank| chosen.binary_search(&rank).is_ok()));
        Ok(guests.map(|(names, _)| names[0].as_str()).collect())
    }
}

/// The rank whose guest has this host name.
fn rank_of(name: &str) -> Option<u32> {
    name.strip_prefix('n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let config =
            "# x\nHost n0004 4 10.0.0.5 fd00::5\n    Port 1\n\nHost n0005 5 10.0.0.6\nHost *\n    User ann\n";
        Names::of_config(config)
    }

    fn target(word: &str) -> Result<String, String> {
        let target = names().target(OsStr::new(word)).map_err(|error| error.to_string())?;
        Ok(target.into_string().unwrap())
    }

    #[test]
    fn a_guest_is_called_by_number_name_or_address() {
        for word in ["5", "n0005", "n5", "05", "10.0.0.6"] {
            assert_eq!(target(word), Ok("n0005".into()), "{word}");
        }
        assert_eq!(target("root@4"), Ok("root@n0004".into()));
        assert_eq!(target("a@b@4"), Ok("a@b@n0004".into()));
    }

    #[test]
    fn a_name_that_is_none_is_told_what_there_is() {
        assert_eq!(target("0"), Err("the job has no node 0: its nodes are 4 to 5".into()));
        assert!(target("-v").is_err() && target("").is_err() && target("n").is_err());
        assert_eq!(target("4-5"), Err("`4-5` is 2 nodes, and one is wanted".into()));
    }

    #[test]
    fn a_set_of_guests_is_in_their_order() {
        let names = names();
        for (set, guests) in [
            ("all", &["n0004", "n0005"][..]),
            ("5,4", &["n0004", "n0005"]),
            ("5-", &["n0005"]),
            ("n[4-5]", &["n0004", "n0005"]),
        ] {
            assert_eq!(names.set(OsStr::new(set)).unwrap(), guests, "{set}");
        }
    }
}

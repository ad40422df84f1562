//! What people call guests, and what the job's ssh_config(5) calls them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use mvpnet_switch::RankList;

use super::shown;

/// The guests of a job.
#[derive(Debug)]
pub(super) struct Names {
    job: String,
    /// For each guest all that it is called, its host name first.
    guests: Vec<Vec<String>>,
}

/// A name that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("{job} has no guest `{name}`: there {are}")]
    Unknown { job: String, name: String, are: String },
    #[error("`{name}` is {count} guests, and one is wanted")]
    Several { name: String, count: usize },
}

impl Names {
    /// Those that a config has.
    pub(super) fn of_config(job: &str, config: &str) -> Self {
        let lines = config.lines().filter_map(|line| line.strip_prefix("Host "));
        let names = lines.map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let guests = names.filter(|names| !names.iter().any(|name| name.contains('*'))).collect();
        Self { job: job.to_owned(), guests }
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

    /// The guests that are called so together: a name, an address, a rank list, or `all`.
    pub(super) fn set(&self, name: &OsStr) -> Result<Vec<&str>, NameError> {
        let text = shown(name);
        let unknown = || NameError::Unknown { job: self.job.clone(), name: text.clone(), are: self.are() };
        if text == "all" {
            return Ok(self.guests.iter().map(|names| names[0].as_str()).collect());
        }
        if let Some(names) = self.guests.iter().find(|names| names.contains(&text)) {
            return Ok(vec![&names[0]]);
        }
        let list: RankList = text.strip_prefix('n').unwrap_or(&text).parse().map_err(|_| unknown())?;
        let number = |names: &Vec<String>| names[0].trim_start_matches('n').parse::<u32>().ok();
        let chosen = self.guests.iter().filter(|names| number(names).is_some_and(|rank| list.contains(rank)));
        let chosen: Vec<&str> = chosen.map(|names| names[0].as_str()).collect();
        if chosen.is_empty() { Err(unknown()) } else { Ok(chosen) }
    }

    fn are(&self) -> String {
        match (self.guests.first(), self.guests.last()) {
            (Some(first), Some(last)) if self.guests.len() > 1 => format!("are {} to {}", first[0], last[0]),
            (Some(only), _) => format!("is {}", only[0]),
            _ => "are none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let config =
            "# x\nHost n0004 4 10.0.0.5 fd00::5\n    Port 1\n\nHost n0005 5 10.0.0.6\nHost *\n    User ann\n";
        Names::of_config("lab", config)
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
        assert_eq!(target("0"), Err("lab has no guest `0`: there are n0004 to n0005".into()));
        assert!(target("-v").is_err() && target("").is_err() && target("n").is_err());
        assert_eq!(target("4-5"), Err("`4-5` is 2 guests, and one is wanted".into()));
        let alone = Names::of_config("lab", "Host n0000 0\n");
        assert!(alone.target(OsStr::new("1")).unwrap_err().to_string().ends_with("there is n0000"));
    }

    #[test]
    fn a_set_of_guests_is_in_their_order() {
        let names = names();
        for (set, guests) in
            [("all", &["n0004", "n0005"][..]), ("5,4", &["n0004", "n0005"]), ("5-", &["n0005"])]
        {
            assert_eq!(names.set(OsStr::new(set)).unwrap(), guests, "{set}");
        }
    }
}

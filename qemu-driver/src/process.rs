//! Processes that cannot be mistaken for others: a number is given again to another process once its own has ended, a
//! number together with the time at which its process began is not.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// A process of this host, living or dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// When it began, in clock ticks since the host booted (proc_pid_stat(5), starttime).
    pub born: u64,
}

/// Where numbers of processes mean something: one boot of one host, and there one PID namespace (pid_namespaces(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realm {
    /// The host's name.
    pub host: String,
    /// Which of its boots.
    pub boot: String,
    /// Which of its PID namespaces.
    pub namespace: String,
}

/// What is known of a process that was noted down in some realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Lives,
    /// It has ended.
    Ended,
    /// Only another host, or another container of this one, can tell.
    Unknown,
}

impl Process {
    /// The living process of this number. One that has ended and was not waited for is dead.
    pub fn of(number: u32) -> Option<Self> {
        Some(Self { number, born: born(number)? })
    }

    /// This one.
    pub fn this() -> Self {
        let number = std::process::id();
        Self { number, born: born(number).unwrap_or_default() }
    }

    /// Whether it lives.
    pub fn lives(self) -> bool {
        born(self.number) == Some(self.born)
    }

    /// Sends it a signal. One that has ended gets none, and neither does whoever has its number now.
    ///
    /// # Errors
    /// It is somebody else's.
    pub fn signal(self, signal: Signal) -> io::Result<()> {
        if !self.lives() {
            return Ok(());
        }
        let number = i32::try_from(self.number).map_err(io::Error::other)?;
        match kill(Pid::from_raw(number), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// When it began, in seconds since 1970. The clock may have been set since the host booted.
    pub fn began(self) -> Option<u64> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let booted: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        let ticks =
            sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok())?;
        Some(booted + self.born / ticks.max(1))
    }
}

impl std::fmt::Display for Process {
    /// As it stands in the names of files.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.number, self.born)
    }
}

impl std::str::FromStr for Process {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, born) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { number: number.parse()?, born: born.parse()? })
    }
}

impl Realm {
    /// That of this process.
    pub fn here() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned(),
            boot: boot.trim().to_owned(),
            namespace: namespace.to_string_lossy().into_owned(),
        }
    }

    /// What has become of a process of this realm, as far as can be told from `here`.
    pub fn fate_of(&self, process: Process, here: &Self) -> Fate {
        if (&self.boot, &self.namespace) == (&here.boot, &here.namespace) {
            return if process.lives() { Fate::Lives } else { Fate::Ended };
        }
        // The same host has been booted since; hosts with different names say nothing of each other.
        if self.boot != here.boot && self.host == here.host { Fate::Ended } else { Fate::Unknown }
    }
}

fn born(number: u32) -> Option<u64> {
    let fields = stat(number)?;
    match fields.first()?.as_str() {
        "Z" | "X" => None,
        // The state is field 3, starttime is field 22.
        _ => fields.get(19)?.parse().ok(),
    }
}

/// The fields of proc_pid_stat(5) from the state on.
fn stat(number: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name, in parentheses, may have anything in it.
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_birth() {
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let found = Process::of(child.id()).unwrap();
        let other = Process { born: found.born + 1, ..found };
        assert!(found.lives() && !other.lives());
        other.signal(Signal::SIGKILL).unwrap();
        assert!(found.lives());
        found.signal(Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert!(!found.lives() && Process::of(child.id()).is_none());
        found.signal(Signal::SIGKILL).unwrap();
        assert!(Process::this().lives());
    }

    #[test]
    fn a_process_that_began_now_did_not_begin_long_ago() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let now = std::os::unix::fs::MetadataExt::mtime(&file.path().metadata().unwrap()).cast_unsigned();
        let began = Process::this().began().unwrap();
        assert!(began <= now + 2 && began + 3600 > now, "{began} and {now}");
    }

    #[test]
    fn a_process_survives_its_name() {
        let process = Process { number: 7, born: 12 };
        assert_eq!(process.to_string(), "7.12");
        assert_eq!("7.12".parse(), Ok(process));
        assert!("7".parse::<Process>().is_err() && "7.x".parse::<Process>().is_err());
    }

    #[test]
    fn numbers_of_other_hosts_and_containers_tell_nothing() {
        let here = Realm::here();
        let (lives, ended) = (Process::this(), Process { number: std::process::id(), born: 1 });
        assert_eq!(here.fate_of(lives, &here), Fate::Lives);
        assert_eq!(here.fate_of(ended, &here), Fate::Ended);
        let rebooted = Realm { boot: "before".into(), ..here.clone() };
        assert_eq!(rebooted.fate_of(lives, &here), Fate::Ended);
        let container = Realm { namespace: "pid:[1]".into(), host: "c".into(), ..here.clone() };
        assert_eq!(container.fate_of(ended, &here), Fate::Unknown);
        let elsewhere = Realm { host: "other".into(), ..rebooted };
        assert_eq!(elsewhere.fate_of(ended, &here), Fate::Unknown);
    }
}

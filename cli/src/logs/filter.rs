//! Levels per subsystem: `NAME=LEVEL,NAME=LEVEL,…`, as `--log-filter` takes them.
//!
//! A name is one of [`SUBSYSTEMS`], in any case, or the path of a Rust module as it stands in the log
//! lines (`mvpnet_node::job`). A level alone stands for everything. The longest path that fits decides;
//! of two equally long ones the later. Does not know where events go: see `layer`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::level::{Level, LevelError};

/// The names of subsystems and the modules that they stand for. The second half are those of the C
/// program, whose parts had other borders: each stands for what does that work here.
pub const SUBSYSTEMS: &[(&str, &[&str])] = &[
    ("cli", &["mvpnet", "mvpnet_cli"]),
    ("node", &["mvpnet_node"]),
    ("switch", &["mvpnet_switch"]),
    ("transports", &["mvpnet_transports"]),
    ("driver", &["mvpnet_qemu_driver"]),
    ("links", &["mvpnet_qemu_driver::links"]),
    ("pcap", &["mvpnet_pcap"]),
    ("mvp", &["mvpnet", "mvpnet_cli", "mvpnet_node"]),
    ("mlog", &["mvpnet_cli::logs"]),
    ("fbuf", &["mvpnet_qemu_driver::links"]),
    ("fdio", &["mvpnet_qemu_driver"]),
    ("mpi", &["mvpnet_transports"]),
    ("que", &["mvpnet_transports"]),
];

/// Levels by subsystem, laid over a general one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Module path and its level, in the order given; an empty path is everything.
    directives: Vec<(String, Level)>,
}

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogFilterError {
    /// The level is none.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The name is none.
    #[error("`{0}` is not a subsystem: {names}, or a module path like mvpnet_node::job", names = names())]
    Subsystem(String),
    /// Nothing stands between two commas, or nothing at all.
    #[error("write LEVEL or SUBSYSTEM=LEVEL, with commas between several")]
    Empty,
}

fn names() -> String {
    SUBSYSTEMS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl LogFilter {
    /// Lays `later` over this one.
    pub fn extend(&mut self, later: &Self) {
        self.directives.extend(later.directives.iter().cloned());
    }

    /// The level that this filter sets for events of `target`; none if it says nothing about it.
    pub fn level_for(&self, target: &str) -> Option<Level> {
        self.directives
            .iter()
            .filter(|(path, _)| covers(path, target))
            // `max_by_key` returns the last of equals: the later directive wins.
            .max_by_key(|(path, _)| path.len())
            .map(|(_, level)| *level)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.directives.is_empty()
    }
}

fn covers(path: &str, target: &str) -> bool {
    path.is_empty() || target.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(text: &str) -> Result<Self, LogFilterError> {
        let mut directives = Vec::new();
        for item in text.split(',') {
            match item.trim().split_once('=') {
                None if item.trim().is_empty() => return Err(LogFilterError::Empty),
                None => directives.push((String::new(), item.trim().parse()?)),
                Some((name, level)) => {
                    let level = level.trim().parse()?;
                    directives.extend(modules(name.trim())?.into_iter().map(|path| (path, level)));
                }
            }
        }
        Ok(Self { directives })
    }
}

fn modules(name: &str) -> Result<Vec<String>, LogFilterError> {
    if let Some((_, paths)) = SUBSYSTEMS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok(paths.iter().map(|path| (*path).to_owned()).collect());
    }
    let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    if is_path && (name.starts_with("mvpnet") || name.contains("::")) {
        return Ok(vec![name.to_owned()]);
    }
    Err(LogFilterError::Subsystem(name.to_owned()))
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (path, level)) in self.directives.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let equals = if path.is_empty() { "" } else { "=" };
            write!(f, "{comma}{path}{equals}{level}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> LogFilter {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_path_decides_whatever_the_order() {
        let filter = filter("node=INFO,mvpnet_node::job=DBG,driver=ERR");
        assert_eq!(filter.level_for("mvpnet_node"), Some(Level::Info));
        assert_eq!(filter.level_for("mvpnet_node::job::boot"), Some(Level::Dbg));
        assert_eq!(filter.level_for("mvpnet_node_other"), None);
        assert_eq!(filter.level_for("mvpnet_qemu_driver::links"), Some(Level::Err));
        assert_eq!(filter.level_for("tokio"), None);
    }

    #[test]
    fn of_equal_paths_the_later_decides_and_a_level_alone_is_for_all() {
        let mut first = filter("DBG,switch=INFO");
        first.extend(&filter("switch=CRIT"));
        assert_eq!(first.level_for("mvpnet_switch::fdb"), Some(Level::Crit));
        assert_eq!(first.level_for("anything"), Some(Level::Dbg));
    }

    #[test]
    fn the_names_of_the_c_program_are_known_in_any_case() {
        let filter = filter("MVP=INFO,FBUF=WARN,FDIO=NOTE,MPI=DBG2,QUE=DBG");
        assert_eq!(filter.level_for("mvpnet_transports::mpi"), Some(Level::Dbg));
        assert_eq!(filter.level_for("mvpnet_qemu_driver::links::stream"), Some(Level::Warn));
        assert_eq!(filter.level_for("mvpnet_qemu_driver::qmp"), Some(Level::Note));
    }

    #[test]
    fn nonsense_says_what_to_write() {
        assert_eq!("".parse::<LogFilter>(), Err(LogFilterError::Empty));
        assert_eq!("node=DBG,".parse::<LogFilter>(), Err(LogFilterError::Empty));
        assert_eq!("nod=DBG".parse::<LogFilter>(), Err(LogFilterError::Subsystem("nod".to_owned())));
        let message = "node=loud".parse::<LogFilter>().unwrap_err().to_string();
        assert!(message.contains("`loud` is not a level"), "{message}");
    }

    #[test]
    fn display_reads_back() {
        let filter = filter("INFO,node=DBG,mvpnet_switch::fdb=TRACE");
        assert_eq!(filter.to_string().parse(), Ok(filter));
    }
}

//! What readings mean: pure functions from what guests say to what people are told.

mod mpi;
mod network;

use super::finding::{Finding, Status};
use super::readings::{CloudInit, Facts};
pub(super) use mpi::{MpiRun, mpi};
pub(super) use network::{paths, ssh};

/// Clocks that are further apart disturb make and NFS.
const APART: f64 = 2.0;

/// What was read of a guest, or why it could not be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Guest<T> {
    /// Its rank, as people call it.
    pub(super) rank: u32,
    pub(super) read: Result<T, String>,
}

/// The host name of a rank's guest.
pub(super) fn name(rank: u32) -> String {
    format!("n{rank:04}")
}

/// Whether guests run commands at all.
pub(super) fn agents(guests: &[Guest<Facts>]) -> Vec<Finding> {
    let silent: Vec<Finding> = guests
        .iter()
        .filter_map(|guest| Some((guest.rank, guest.read.as_ref().err()?)))
        .map(|(rank, why)| {
            Finding::of("exec", &name(rank), Status::Failed, why).mended_by(format!(
                "see what it is doing: mvpnet console {rank}; nothing else of it is checked"
            ))
        })
        .collect();
    if silent.is_empty() {
        vec![Finding::of_all("exec", Status::Ok, format!("all {} guests run commands", guests.len()))]
    } else {
        silent
    }
}

/// Whether every guest finds all by name.
pub(super) fn names(guests: &[Guest<Facts>]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rank, facts) in read(guests) {
        let own = name(rank);
        if facts.host.split('.').next() != Some(&own) {
            found.push(
                Finding::of("names", &own, Status::Warning, format!("calls itself {}", facts.host))
                    .mended_by(
                        "MPI may not know it by that name: hostnamectl set-hostname, or leave it to the seed",
                    ),
            );
        }
        if let [first, rest @ ..] = &facts.wrong_names[..] {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            let seen = format!(
                "{} should be {}, and is {}{more}",
                first.name,
                first.wanted,
                if first.found.is_empty() { "not known".to_owned() } else { first.found.join(", ") }
            );
            found.push(
                Finding::of("names", &own, Status::Failed, seen).mended_by(
                    "compare its /etc/hosts with that of another: something may have rewritten it",
                ),
            );
        }
    }
    fine_or(found, || {
        let seen = format!("every guest finds all {} by name, IPv4 and IPv6", guests.len());
        Finding::of_all("names", Status::Ok, seen)
    })
}

/// What cloud-init has come to.
pub(super) fn cloud_init(guests: &[Guest<Facts>]) -> Vec<Finding> {
    let (mut found, mut done, mut without) = (Vec::new(), 0, Vec::new());
    for (rank, facts) in read(guests) {
        let Some(said) = &facts.cloud_init else {
            without.push(name(rank));
            continue;
        };
        let log = "mvpnet exec GUEST 'cat /var/log/cloud-init-output.log' has all of it"
            .replace("GUEST", &rank.to_string());
        match Stage::of(said) {
            Stage::Done => done += 1,
            Stage::Degraded(why) => {
                found.push(Finding::of("cloud-init", &name(rank), Status::Warning, why).mended_by(log));
            }
            Stage::Running => found.push(
                Finding::of("cloud-init", &name(rank), Status::Warning, "is still at work")
                    .mended_by("check again when it is done; `--ready cloud-init` has the job wait for it"),
            ),
            Stage::Error(why) => {
                found.push(Finding::of("cloud-init", &name(rank), Status::Failed, why).mended_by(log));
            }
        }
    }
    if done > 0 {
        found.insert(
            0,
            Finding::of_all("cloud-init", Status::Ok, format!("done in {done} of {} guests", guests.len())),
        );
    }
    if !without.is_empty() {
        let seen = format!("no cloud-init in {}", listed(&without));
        found.push(Finding::of_all("cloud-init", Status::NotChecked, seen));
    }
    found
}

/// How far cloud-init is.
#[derive(Debug, PartialEq)]
enum Stage {
    Done,
    /// Done, with something that could be got over.
    Degraded(String),
    Running,
    Error(String),
}

impl Stage {
    /// From `cloud-init status --long`, which has said more and more from version to version: `status:` always,
    /// `detail:` at first, `extended_status:`, `errors:` and `recoverable_errors:` since 23.4.
    fn of(said: &CloudInit) -> Self {
        let field = |name: &str| {
            let line = said.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        // What stands, indented or as a list, below a key.
        let below = |name: &str| -> Option<String> {
            let lines = said.text.lines().skip_while(|line| *line != format!("{name}:")).skip(1);
            let lines = lines.take_while(|line| line.starts_with([' ', '\t', '-']));
            let text: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
            (!text.is_empty()).then(|| text.join("; "))
        };
        let reasons = || {
            let value = |name: &str| {
                below(name).or_else(|| field(name).filter(|value| !matches!(value.as_str(), "[]" | "{}")))
            };
            value("errors").or_else(|| value("recoverable_errors")).or_else(|| value("detail"))
        };
        let told = |what: &str| match reasons() {
            Some(reasons) => format!("{what}: {reasons}"),
            None => what.to_owned(),
        };
        let extended = field("extended_status").unwrap_or_default();
        match field("status").as_deref() {
            None if said.code.is_none() => Self::Error("cloud-init status does not answer".into()),
            None => Self::Error(format!("cloud-init status says no status: {}", said.text.trim())),
            Some("disabled") => Self::Degraded("is switched off in this image".into()),
            Some(_) if extended.starts_with("error") => Self::Error(told("ended with errors")),
            Some("error") => Self::Error(told("ended with errors")),
            Some(status) if status.starts_with("degraded") => Self::Degraded(told("done, but degraded")),
            Some("done") if extended.starts_with("degraded") => Self::Degraded(told("done, but degraded")),
            Some("done") => Self::Done,
            Some(_) => Self::Running,
        }
    }
}

/// How far clocks are apart.
pub(super) fn clocks(guests: &[Guest<Facts>]) -> Vec<Finding> {
    let ahead: Vec<(u32, f64)> = read(guests).map(|(rank, facts)| (rank, facts.ahead)).collect();
    let order = |one: &&(u32, f64), other: &&(u32, f64)| one.1.total_cmp(&other.1);
    let (Some(slow), Some(fast)) = (ahead.iter().min_by(order), ahead.iter().max_by(order)) else {
        return Vec::new();
    };
    let host = if slow.1.abs() > fast.1.abs() { slow.1 } else { fast.1 };
    let seen = format!(
        "guests are within {:.1} s of each other, and of this host within {:.1} s",
        fast.1 - slow.1,
        host.abs()
    );
    if fast.1 - slow.1 <= APART {
        return vec![Finding::of_all("clocks", Status::Ok, seen)];
    }
    let seen = format!("{} is {:.1} s ahead of {}", name(fast.0), fast.1 - slow.1, name(slow.0));
    vec![Finding::of_all("clocks", Status::Warning, seen).mended_by(
        "files on NFS get times of the future; set them: mvpnet exec all \"date -s @$(date +%s)\"",
    )]
}

/// Those that could be read.
fn read<T>(guests: &[Guest<T>]) -> impl Iterator<Item = (u32, &T)> {
    guests.iter().filter_map(|guest| Some((guest.rank, guest.read.as_ref().ok()?)))
}

fn fine_or(found: Vec<Finding>, fine: impl FnOnce() -> Finding) -> Vec<Finding> {
    if found.is_empty() { vec![fine()] } else { found }
}

/// `n0001, n0002 and 3 more`
fn listed(names: &[String]) -> String {
    const NAMED: usize = 4;
    if names.len() <= NAMED {
        return names.join(", ");
    }
    format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED)
}

#[cfg(test)]
mod tests;

//! What the words of the command line mean.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mvpnet_lab::doctor::{Peer, Wanted};

use super::flags::Flags;
use crate::args::{Usage, memory_mib};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub(super) task: Task,
    pub(super) json: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Task {
    Examine(Box<Subject>),
    /// Do what another host's doctor says.
    Answer,
}

/// Who is to be examined, and for what.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subject {
    pub lab: Option<PathBuf>,
    pub hosts: Vec<Peer>,
    /// What this program is called on other hosts.
    pub mvpnet: String,
    /// UDP port of the tunnels, if one was given.
    pub vxlan_port: Option<u16>,
    pub wanted: Wanted,
}

impl Options {
    /// What the flags ask for.
    ///
    /// # Errors
    ///
    /// The first word that makes no sense.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        let Flags {
            json,
            vxlan_port,
            listen,
            run_dir,
            image,
            ranks,
            memory,
            ssh,
            mvpnet,
            answer,
            subjects,
            help: _,
        } = flags;
        if answer {
            return Ok(Self { task: Task::Answer, json });
        }
        let (lab, hosts) = subjects_of(&subjects)?;
        let address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let vxlan_port = value("--vxlan-port", vxlan_port, "a UDP port, 1 to 65535", port)?;
        let memory = memory.map(|typed| {
            memory_mib(&typed).map_err(|problem| wrong(format!("--memory {}: {problem}", typed.display())))
        });
        let defaults = Wanted::default();
        let wanted = Wanted {
            vxlan_port: vxlan_port.unwrap_or(defaults.vxlan_port),
            listen: value("--listen", listen, "an IPv4 or IPv6 address of this host", address)?,
            run_dir: path("--run-dir", run_dir)?,
            image: path("--image", image)?,
            ranks: value("--ranks", ranks, "a number of guests", |text| text.parse().ok())?,
            memory: memory.transpose()?.map_or(defaults.memory, u64::from),
            ssh: words("--ssh", ssh.as_deref())?.unwrap_or(defaults.ssh),
            ..defaults
        };
        let mvpnet = words("--mvpnet", mvpnet.as_deref())?.map(|words| words.join(" "));
        let mvpnet = mvpnet.unwrap_or_else(|| "mvpnet".to_owned());
        Ok(Self { task: Task::Examine(Box::new(Subject { lab, hosts, mvpnet, vxlan_port, wanted })), json })
    }
}

/// One file, or hosts.
fn subjects_of(subjects: &[OsString]) -> Result<(Option<PathBuf>, Vec<Peer>), Usage> {
    let is_lab = |word: &OsString| {
        let path = Path::new(word);
        path.extension() == Some(OsStr::new("toml")) || path.components().count() > 1
    };
    match subjects {
        [lab] if is_lab(lab) => Ok((Some(lab.into()), Vec::new())),
        hosts => {
            if let Some(lab) = hosts.iter().find(|word| is_lab(word)) {
                let text = format!("{} has hosts itself: name either it or hosts", lab.display());
                return Err(wrong(text));
            }
            let host = |word: &OsString| {
                let text = word.to_str().ok_or_else(|| wrong(format!("{} is no host", word.display())))?;
                text.parse::<Peer>().map_err(|error| wrong(error.to_string()))
            };
            let hosts: Vec<Peer> = hosts.iter().map(host).collect::<Result<_, _>>()?;
            let twice = |(at, peer): (usize, &Peer)| hosts[..at].iter().any(|other| other.name == peer.name);
            match hosts.iter().enumerate().position(twice) {
                Some(at) => Err(wrong(format!("{} is named twice", hosts[at].name))),
                None => Ok((None, hosts)),
            }
        }
    }
}

fn value<T>(
    flag: &str,
    typed: Option<OsString>,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Usage> {
    let Some(typed) = typed else { return Ok(None) };
    match typed.to_str().and_then(read) {
        Some(value) => Ok(Some(value)),
        None => Err(wrong(format!("{flag} {}: expected {expected}", typed.display()))),
    }
}

/// Absolute: other hosts look for it in the same place.
fn path(flag: &str, typed: Option<OsString>) -> Result<Option<PathBuf>, Usage> {
    let Some(typed) = typed else { return Ok(None) };
    match std::path::absolute(&typed) {
        Ok(path) => Ok(Some(path)),
        Err(error) => Err(wrong(format!("{flag} {}: {error}", typed.display()))),
    }
}

fn words(flag: &str, typed: Option<&str>) -> Result<Option<Vec<String>>, Usage> {
    let Some(typed) = typed else { return Ok(None) };
    let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Err(wrong(format!("{flag} needs a command")));
    }
    Ok(Some(words))
}

fn wrong(text: String) -> Usage {
    Usage::Doctor(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(subjects: &[&str], flags: Flags) -> Result<Subject, String> {
        let subjects = subjects.iter().map(OsString::from).collect();
        match Options::read(Flags { subjects, ..flags }) {
            Ok(Options { task: Task::Examine(subject), .. }) => Ok(*subject),
            Ok(options) => panic!("{options:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_file_is_a_lab_and_other_words_are_hosts() {
        assert_eq!(read(&["lab.toml"], Flags::default()).unwrap().lab, Some("lab.toml".into()));
        let hosts = read(&["server1", "ann@server2=192.0.2.2"], Flags::default()).unwrap().hosts;
        assert_eq!((hosts.len(), hosts[1].host()), (2, "server2"));
        for (words, problem) in [
            (&["lab.toml", "server1"][..], "lab.toml has hosts itself"),
            (&["server1", "server1"], "server1 is named twice"),
            (&["a;b"], "`a;b` is no host"),
        ] {
            let said = read(words, Flags::default()).unwrap_err();
            assert!(said.starts_with(problem) && said.ends_with("mvpnet doctor --help`"), "{said}");
        }
    }

    #[test]
    fn values_are_read_strictly() {
        let flags = Flags {
            vxlan_port: Some("8472".into()),
            listen: Some("[2001:db8::1]".into()),
            ranks: Some("0".into()),
            memory: Some("2G".into()),
            ssh: Some("ssh -F x".into()),
            ..Flags::default()
        };
        let Subject { wanted, vxlan_port, .. } = read(&[], flags).unwrap();
        assert_eq!((wanted.vxlan_port, vxlan_port, wanted.memory), (8472, Some(8472), 2048));
        assert_eq!((wanted.ranks, wanted.ssh.len()), (Some(0), 3));
        let said = |flags| read(&[], flags).unwrap_err();
        assert!(said(Flags { vxlan_port: Some("0".into()), ..Flags::default() }).contains("a UDP port"));
        assert!(
            said(Flags { listen: Some("eth0".into()), ..Flags::default() }).contains("address of this host")
        );
        assert!(said(Flags { ssh: Some(" ".into()), ..Flags::default() }).contains("needs a command"));
    }
}

//! The flags of `mvpnet bridge`, read.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mvpnet_node::bridge::Peer;
use mvpnet_switch::VniList;
use mvpnet_transports::link::parse_duration;
use mvpnet_transports::vxlan::PORT;

use super::flags::{Flags, Which, Word};
use crate::args::{Capture, JOB_NAME_MAX, MTU, Usage, ValueError};

/// What bridges are called that were not given a name.
pub const DEFAULT_NAME: &str = mvpnet_lab::kernel::DEFAULT_NAME;

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Options {
    /// Be a bridge.
    Run(Box<Run>),
    /// Let the kernel be one.
    Kernel {
        /// How it is to be.
        run: Box<Run>,
        /// Write down how, and do nothing.
        print: bool,
    },
    /// Show how one does.
    Status(Chosen),
    /// End one.
    Down(Chosen),
}

/// Which bridge, and how to speak of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its name, if one was given.
    pub name: Option<String>,
    /// As JSON.
    pub json: bool,
}

/// How a bridge is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is called.
    pub name: String,
    /// Its VNIs, unless the peers say them.
    pub vnis: Option<VniList>,
    /// The peers of the command line.
    pub peers: Vec<Peer>,
    /// The file of more.
    pub peers_file: Option<PathBuf>,
    /// The address to listen on; none for all.
    pub listen: Option<IpAddr>,
    /// The UDP port.
    pub port: u16,
    /// The guests' MTU; none for what the paths carry.
    pub mtu: Option<u32>,
    /// The most flooded frames a second, if it was said.
    pub storm_limit: Option<StormLimit>,
    /// How long addresses are remembered, if it was said.
    pub ageing: Option<Duration>,
    /// Where frames are written.
    pub capture: Option<Capture>,
    /// The end as JSON.
    pub json: bool,
}

/// `--storm-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StormLimit {
    /// So many frames a second.
    Frames(u32),
    /// Without end.
    Off,
}

impl Options {
    /// Reads the values of flags.
    ///
    /// # Errors
    /// The first that is none.
    pub fn read(flags: Flags) -> Result<Self, Usage> {
        match flags.command {
            Some(Word::Status(which)) => Ok(Self::Status(chosen(which)?)),
            Some(Word::Down(which)) => Ok(Self::Down(chosen(which)?)),
            None if flags.kernel || flags.print => {
                for (flag, given) in [
                    ("--storm-limit", flags.storm_limit.is_some()),
                    ("--ageing", flags.ageing.is_some()),
                    ("--capture", flags.capture.is_some()),
                    ("--json", flags.json),
                ] {
                    if given {
                        return Err(wrong(format!("{flag} is not for a bridge of the kernel (--kernel)")));
                    }
                }
                let print = flags.print;
                Ok(Self::Kernel { run: Box::new(Run::read(flags)?), print })
            }
            None => Ok(Self::Run(Box::new(Run::read(flags)?))),
        }
    }
}

fn chosen(which: Which) -> Result<Chosen, Usage> {
    Ok(Chosen { name: value("--name", which.name, name)?, json: which.json })
}

impl Run {
    fn read(flags: Flags) -> Result<Self, Usage> {
        let peers = flags.peer.into_iter().map(|peer| {
            let peer = text(&peer).map_err(|problem| problem_of("--peer", &peer, problem))?;
            peer.parse().map_err(|error| wrong(format!("--peer {error}")))
        });
        let vnis = flags.vni.map(|vnis| {
            let vnis = text(&vnis).map_err(|problem| problem_of("--vni", &vnis, problem))?;
            vnis.parse().map_err(|error| wrong(format!("--vni: {error}")))
        });
        let run = Self {
            name: value("--name", flags.name, name)?.unwrap_or_else(|| DEFAULT_NAME.to_owned()),
            vnis: vnis.transpose()?,
            peers: peers.collect::<Result<_, _>>()?,
            peers_file: value("--peers", flags.peers, path)?,
            listen: value("--listen", flags.listen, address)?,
            port: value("--vxlan-port", flags.vxlan_port, port)?.unwrap_or(PORT),
            mtu: value("--mtu", flags.mtu, mtu)?.flatten(),
            storm_limit: value("--storm-limit", flags.storm_limit, storm_limit)?,
            ageing: value("--ageing", flags.ageing, ageing)?,
            capture: value("--capture", flags.capture, capture)?,
            json: flags.json,
        };
        if run.json && run.capture == Some(Capture::Stdout) {
            return Err(wrong(
                "--json and --capture - both write to standard output: capture to a file or a pipe"
                    .to_owned(),
            ));
        }
        // What is in a file is looked at when the bridge starts.
        if run.peers_file.is_none() {
            mvpnet_node::bridge::assign(run.vnis.as_ref(), &run.peers)
                .map_err(|error| wrong(error.to_string()))?;
        }
        Ok(run)
    }
}

pub(super) fn wrong(problem: String) -> Usage {
    Usage::Bridge(problem)
}

fn problem_of(flag: &'static str, given: &OsStr, problem: ValueError) -> Usage {
    Usage::Value { flag, value: given.to_string_lossy().into_owned(), problem }
}

fn value<T>(
    flag: &'static str,
    given: Option<OsString>,
    read: impl Fn(&OsStr) -> Result<T, ValueError>,
) -> Result<Option<T>, Usage> {
    given.map(|given| read(&given).map_err(|problem| problem_of(flag, &given, problem))).transpose()
}

fn text(value: &OsStr) -> Result<&str, ValueError> {
    match value.to_str() {
        Some("") => Err(ValueError::Empty),
        Some(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(ValueError::Expected("text in UTF-8 without control characters")),
    }
}

fn path(value: &OsStr) -> Result<PathBuf, ValueError> {
    if value.is_empty() { Err(ValueError::Empty) } else { Ok(value.into()) }
}

fn capture(value: &OsStr) -> Result<Capture, ValueError> {
    if value == "-" { Ok(Capture::Stdout) } else { path(value).map(Capture::Path) }
}

/// A name goes into a file's name and a table.
fn name(value: &OsStr) -> Result<String, ValueError> {
    let name = text(value)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.len() > JOB_NAME_MAX || !name.bytes().all(plain) {
        return Err(ValueError::Expected("a name of letters, digits, `-`, `_` and `.`, 64 at most"));
    }
    Ok(name.to_owned())
}

fn address(value: &OsStr) -> Result<IpAddr, ValueError> {
    let text = text(value)?;
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    inner
        .parse()
        .map_err(|_| ValueError::Expected("an IPv4 or IPv6 address of this host (the port is --vxlan-port)"))
}

fn port(value: &OsStr) -> Result<u16, ValueError> {
    match text(value)?.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ValueError::Expected("a UDP port, 1 to 65535")),
    }
}

fn mtu(value: &OsStr) -> Result<Option<u32>, ValueError> {
    let text = text(value)?;
    if text == "auto" {
        return Ok(None);
    }
    let mtu = text.parse().map_err(|_| ValueError::Expected("a number of bytes, or auto"))?;
    if MTU.contains(&mtu) {
        Ok(Some(mtu))
    } else {
        Err(ValueError::Range { min: u64::from(*MTU.start()), max: u64::from(*MTU.end()), unit: " bytes" })
    }
}

fn storm_limit(value: &OsStr) -> Result<StormLimit, ValueError> {
    match text(value)? {
        "off" => Ok(StormLimit::Off),
        limit => match limit.parse() {
            Ok(limit) if limit > 0 => Ok(StormLimit::Frames(limit)),
            _ => Err(ValueError::Expected("a number of frames a second, or off")),
        },
    }
}

/// A time as IEEE 802.1Q §8.8.3 allows it, or shorter for those who try things out.
fn ageing(value: &OsStr) -> Result<Duration, ValueError> {
    const EXPECTED: ValueError = ValueError::Expected("a time from 1s to 1000000s, like 300s or 5min");
    let text = text(value)?;
    let seconds = text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into()));
    let time = seconds.or_else(|_| parse_duration(text)).map_err(|_| EXPECTED)?;
    if (1..=1_000_000).contains(&time.as_secs()) { Ok(time) } else { Err(EXPECTED) }
}

#[cfg(test)]
mod tests;

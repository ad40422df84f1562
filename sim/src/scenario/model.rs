//! What a scenario consists of: plain data, that can be made by hand, drawn by a property test, or read from TOML.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mvpnet_switch::{Config, RankList, RankListError, World};
use mvpnet_transports::link::{ByteSize, Change, LinkModel};

/// A simulation in a few words.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called; may be empty.
    pub name: String,
    /// What there is to see; may be empty.
    pub about: String,
    /// The seed that it runs with unless another is given.
    pub seed: Option<u64>,
    /// How many ranks there are.
    pub ranks: u32,
    /// How much simulated time passes.
    pub duration: Duration,
    /// The MTU of the guests' network.
    pub mtu: u32,
    /// How all links are at the beginning.
    pub links: LinkModel,
    /// Who sends what to whom.
    pub traffic: Vec<Traffic>,
    /// What changes when, counted from the beginning.
    pub changes: Vec<(Duration, Change)>,
}

impl Scenario {
    /// A scenario of so many ranks in which nothing happens for so long.
    pub fn new(ranks: u32, duration: Duration) -> Scenario {
        Scenario {
            name: String::new(),
            about: String::new(),
            seed: None,
            ranks,
            duration,
            mtu: Config::DEFAULT_MTU,
            links: LinkModel::IDEAL,
            traffic: Vec::new(),
            changes: Vec::new(),
        }
    }
}

/// Something that is sent by some ranks to some ranks: by each of the first to each of the second but itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// What is sent.
    pub kind: Kind,
    /// Who sends.
    pub from: Ranks,
    /// Whom to. All, for what goes to all anyway or to nobody: [`Kind::Broadcast`] and [`Kind::Boot`].
    pub to: Targets,
    /// When the first is sent, counted from the beginning.
    pub start: Duration,
    /// How often each sender sends to each receiver.
    pub count: u64,
    /// How much later than one the next is sent. If it is zero, frames and datagrams are sent all at once, and a ping
    /// or a transfer begins when the one before it has ended.
    pub every: Duration,
}

impl Traffic {
    /// This, once, from all to all, at the beginning.
    pub fn new(kind: Kind) -> Traffic {
        Traffic {
            kind,
            from: Ranks::All,
            to: Targets::All,
            start: Duration::ZERO,
            count: 1,
            every: Duration::ZERO,
        }
    }

    /// When the last one is sent, as far as that is known in advance.
    pub fn last_at(&self) -> Duration {
        let steps = u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX);
        self.every.checked_mul(steps).and_then(|later| later.checked_add(self.start)).unwrap_or(Duration::MAX)
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ICMP echo requests between hosts.
    Ping {
        /// How long to wait for the answer.
        timeout: Duration,
    },
    /// TCP connections between hosts, each of which carries so many bytes that must arrive intact.
    Tcp {
        /// How many.
        bytes: ByteSize,
    },
    /// UDP datagrams between hosts, with a payload of this length.
    Udp {
        /// Bytes, at least [`Kind::LEAST_UDP_LEN`].
        len: u32,
    },
    /// Ethernet frames of this length that no TCP/IP stack knows.
    Frames {
        /// Bytes, at least [`Kind::LEAST_FRAME_LEN`], from the destination address on.
        len: u32,
    },
    /// The same, to all ranks at once.
    Broadcast {
        /// Bytes, at least [`Kind::LEAST_FRAME_LEN`], from the destination address on.
        len: u32,
    },
    /// Hosts that get their address by DHCP, which all others do too but do not count.
    Boot,
}

impl Kind {
    /// The names of all kinds.
    pub const NAMES: &'static [&'static str] = &["ping", "tcp", "udp", "frames", "broadcast", "boot"];
    /// How long a ping waits for its answer unless it is said.
    pub const PING_TIMEOUT: Duration = Duration::from_secs(1);
    /// A datagram says who sent it when and which it is.
    pub const LEAST_UDP_LEN: u32 = 28;
    /// A frame does too, after its Ethernet header.
    pub const LEAST_FRAME_LEN: u32 = 14 + Kind::LEAST_UDP_LEN;

    /// As in a scenario file.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Ping { .. } => "ping",
            Kind::Tcp { .. } => "tcp",
            Kind::Udp { .. } => "udp",
            Kind::Frames { .. } => "frames",
            Kind::Broadcast { .. } => "broadcast",
            Kind::Boot => "boot",
        }
    }

    /// Whether it is between hosts with a TCP/IP stack, and not raw frames.
    pub fn needs_host(&self) -> bool {
        !matches!(self, Kind::Frames { .. } | Kind::Broadcast { .. })
    }

    /// Whether it goes to ranks that can be chosen.
    pub fn has_targets(&self) -> bool {
        !matches!(self, Kind::Broadcast { .. } | Kind::Boot)
    }
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranks {
    /// Every rank.
    All,
    /// These.
    Only(RankList),
}

impl Ranks {
    /// Those of a world.
    pub fn of(&self, world: World) -> Vec<u32> {
        match self {
            Ranks::All => (0..world.size()).collect(),
            Ranks::Only(list) => list.iter(world).map(|rank| rank.index()).collect(),
        }
    }
}

/// Whom to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Every other rank.
    All,
    /// The rank after the sender; rank 0 after the last.
    Next,
    /// These, but not the sender itself.
    Only(RankList),
}

impl Targets {
    /// Those of a sender in a world.
    pub fn of(&self, from: u32, world: World) -> Vec<u32> {
        let targets = match self {
            Targets::All => (0..world.size()).collect(),
            Targets::Next => vec![(from + 1) % world.size()],
            Targets::Only(list) => list.iter(world).map(|rank| rank.index()).collect(),
        };
        targets.into_iter().filter(|to| *to != from).collect()
    }
}

impl FromStr for Ranks {
    type Err = RankListError;

    fn from_str(text: &str) -> Result<Ranks, RankListError> {
        if text == "all" { Ok(Ranks::All) } else { text.parse().map(Ranks::Only) }
    }
}

impl FromStr for Targets {
    type Err = RankListError;

    fn from_str(text: &str) -> Result<Targets, RankListError> {
        match text {
            "all" => Ok(Targets::All),
            "next" => Ok(Targets::Next),
            list => list.parse().map(Targets::Only),
        }
    }
}

impl fmt::Display for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ranks::All => f.write_str("all"),
            Ranks::Only(list) => write!(f, "{list}"),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Targets::All => f.write_str("all"),
            Targets::Next => f.write_str("next"),
            Targets::Only(list) => write!(f, "{list}"),
        }
    }
}

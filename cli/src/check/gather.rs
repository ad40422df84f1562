//! Has guests looked at from within: a probe runs in each, and prints what it finds.

use std::time::Duration;

use mvpnet_switch::{Rank, UlaPrefix, World};
use serde_json::{Value, json};

use super::guests::{Command, Guests, Ran, each};
use super::judge::{Guest, name};
use super::pairs;
use super::readings::{Facts, Now, PathReading, SshReading, lines};

/// Emulated guests take their time: to begin with Python, to log in, to say how cloud-init is.
const PATIENCE: Duration = Duration::from_secs(240);
/// How long ssh and others may take within a guest, in seconds.
const LIMIT: u32 = 90;
/// How long an answer to a ping may take, all tries together, in seconds.
const PING: u32 = 10;

/// The probe's text.
const PROBE: &str = include_str!("probe.py");

/// Launchers and compilers of MPIs by the names that they have, those first that tell them apart.
const MPIS: [(&str, &str); 4] = [
    ("mpirun.openmpi", "mpicc.openmpi"),
    ("mpirun.mpich", "mpicc.mpich"),
    ("mpirun", "mpicc"),
    ("mpiexec", "mpicc"),
];

/// The guests of a job.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// Their ranks, as people call them.
    pub(super) ranks: Vec<u32>,
    world: World,
}

impl Cast {
    /// So many guests, from this rank on. None: no network has so many.
    pub(super) fn new(first: u32, count: u32) -> Option<Self> {
        let world = World::new(first.checked_add(count)?).ok()?;
        Some(Self { ranks: (first..first + count).collect(), world })
    }

    /// Those of whom something could be read.
    pub(super) fn only<T>(&self, guests: &[Guest<T>]) -> Self {
        let ranks = guests.iter().filter(|guest| guest.read.is_ok()).map(|guest| guest.rank).collect();
        Self { ranks, ..self.clone() }
    }

    fn rank(&self, rank: u32) -> Rank {
        self.world.rank(rank).expect("the world was made for these ranks")
    }

    /// Names and IPv4 addresses of those that each is to look at.
    fn peers(&self, all: bool) -> Vec<(u32, Value)> {
        let count = u32::try_from(self.ranks.len()).unwrap_or(u32::MAX);
        let peers = pairs::peers(count, all);
        let named = |place: &u32| {
            let rank = self.rank(self.ranks[*place as usize]);
            json!([rank.host_name(), rank.ipv4().to_string()])
        };
        self.ranks
            .iter()
            .zip(&peers)
            .map(|(rank, peers)| (*rank, peers.iter().map(named).collect()))
            .collect()
    }
}

/// What each guest is by itself.
pub(super) fn facts(guests: &dyn Guests, cast: &Cast, with_mpi: bool) -> Vec<Guest<Facts>> {
    let names: Vec<Value> = cast
        .ranks
        .iter()
        .map(|&rank| {
            let rank = cast.rank(rank);
            json!([rank.host_name(), rank.ipv4().to_string(), rank.ula(UlaPrefix::default()).to_string()])
        })
        .collect();
    let mpis: &[(&str, &str)] = if with_mpi { &MPIS } else { &[] };
    each(&cast.ranks, |rank| {
        let mac = cast.rank(rank).mac().to_string();
        let request = json!({ "part": "facts", "names": names, "mac": mac, "limit": LIMIT, "mpi": mpis });
        let ran = probe(guests, rank, None, &request)?;
        let mut facts: Facts = lines(&ran.output).pop().ok_or_else(|| complaint(&ran))?;
        let now = lines::<Now>(&ran.output).first().map(|now| now.now);
        facts.ahead = now.zip(ran.first).map_or(0.0, |(theirs, ours)| theirs - ours);
        Ok(facts)
    })
}

/// Whether packets of full length pass between them.
pub(super) fn paths(guests: &dyn Guests, cast: &Cast, all: bool) -> Vec<Guest<Vec<PathReading>>> {
    let peers = cast.peers(all);
    each(&cast.ranks, |rank| {
        let mac = cast.rank(rank).mac().to_string();
        let request = json!({ "part": "paths", "mac": mac, "peers": of(&peers, rank), "patience": PING });
        read_all(&probe(guests, rank, None, &request)?)
    })
}

/// Whether `user`, else root, gets from each to others by ssh.
pub(super) fn ssh(
    guests: &dyn Guests,
    cast: &Cast,
    all: bool,
    user: Option<&str>,
) -> Vec<Guest<Vec<SshReading>>> {
    let peers = cast.peers(all);
    each(&cast.ranks, |rank| {
        let request = json!({ "part": "ssh", "peers": of(&peers, rank), "limit": LIMIT });
        read_all(&probe(guests, rank, user, &request)?)
    })
}

fn of(peers: &[(u32, Value)], rank: u32) -> &Value {
    peers.iter().find(|(of, _)| *of == rank).map_or(&Value::Null, |(_, peers)| peers)
}

fn read_all<T: serde::de::DeserializeOwned>(ran: &Ran) -> Result<Vec<T>, String> {
    if ran.code == Some(0) { Ok(lines(&ran.output)) } else { Err(complaint(ran)) }
}

fn probe(guests: &dyn Guests, rank: u32, user: Option<&str>, request: &Value) -> Result<Ran, String> {
    // JSON's strings are Python's, but for what only the one or the other may escape, which this has not.
    let text = Value::String(request.to_string());
    let command = Command {
        argv: vec!["python3".to_owned(), "-".to_owned()],
        user: user.map(str::to_owned),
        stdin: format!("import json\nREQUEST = json.loads({text})\n{PROBE}").into_bytes(),
        patience: PATIENCE,
    };
    guests.run(rank, command)
}

/// Why a probe has not said what it should.
fn complaint(ran: &Ran) -> String {
    let errors = String::from_utf8_lossy(&ran.errors);
    let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    match ran.code {
        None => format!("python3 says nothing for {} s in this guest", PATIENCE.as_secs()),
        Some(code) => format!("python3 does not get through its checks there (exit code {code}): {last}"),
    }
}

/// For messages about several guests.
pub(super) fn named(ranks: &[u32]) -> String {
    ranks.iter().map(|rank| name(*rank)).collect::<Vec<_>>().join(", ")
}

//! The far side of an examination: this program on another host, which is told what to look at, and whom to probe.
//!
//! Messages are lines of JSON. First comes [`Wanted`], and is answered by an [`Opening`]. From then on the host answers
//! probes, and each [`Order`] is answered by a [`Closing`], until the input ends. What a shell greets with stands
//! between them and is passed over.

use std::io::{self, BufRead, Write};
use std::net::IpAddr;
use std::thread;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::reach::{Answerer, Probed};
use super::readings::{PeerReadings, Readings};
use super::system::System;
use super::table;
use super::wanted::{Peer, Wanted};

/// The version of the messages' meaning.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a host found out about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opening {
    /// The version of the program there.
    pub doctor: String,
    /// The host's own name.
    pub name: String,
    /// What was found, by names of hosts that it knows: its own is the one above.
    pub findings: Vec<Finding>,
    /// Whose mpirun it has, if that is known.
    #[serde(default)]
    pub mpi: Option<String>,
    /// Whether probes of its tunnels' port are answered, or who has the port instead.
    pub answers: Result<(), String>,
}

/// Whom to probe.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The peers.
    pub probe: Vec<Peer>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Closing {
    /// What was found.
    pub probed: Vec<Finding>,
}

/// A host that has been looked at and answers probes as long as this lives.
#[derive(Debug)]
pub struct Host {
    wanted: Wanted,
    readings: Readings,
    answerer: Option<Answerer>,
}

/// Does what is asked on `input`, until that ends.
pub fn answer(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let Some(wanted) = read::<Wanted>(input)? else { return Ok(()) };
    let (mut host, opening) = Host::open(&System::here(), wanted);
    write(output, &opening)?;
    while let Some(order) = read::<Order>(input)? {
        write(output, &Closing { probed: host.probe(&order) })?;
    }
    host.answerer = None;
    Ok(())
}

/// Reads a message. None: the input has ended.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Ok(message) = serde_json::from_str(&line) {
            return Ok(Some(message));
        }
    }
}

/// Writes a message.
pub(super) fn write(output: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

impl Host {
    /// Looks at this host, then answers probes of its peers.
    pub fn open(system: &System, wanted: Wanted) -> (Self, Opening) {
        let readings = Readings::gather(system, &wanted);
        let name = readings.machine.name.clone();
        let findings = table::judge(&readings, &wanted, &name);
        let (answerer, answers) = match Answerer::start(&wanted) {
            Ok(answerer) => (Some(answerer), Ok(())),
            Err(_) if readings.tunnel_port.is_bridges() => (None, Ok(())),
            // It says so in more words than the error has.
            Err(_) => (None, Err(readings.tunnel_port.check(&readings.machine, &wanted).seen)),
        };
        let mpi = readings.mpirun.as_ref().and_then(|mpirun| mpirun.name.clone().ok());
        let opening = Opening { doctor: VERSION.to_owned(), name, findings, mpi, answers };
        (Self { wanted, readings, answerer }, opening)
    }

    /// The way to another host, as it was found.
    pub fn address_towards(&self, peer: &Peer) -> Option<IpAddr> {
        let peer = self.readings.peers.iter().find(|known| known.peer.name == peer.name)?;
        peer.route.as_ref()?.as_ref().ok()?.from
    }

    /// The address of another host, as it was found.
    pub fn address_of(&self, peer: &Peer) -> Option<IpAddr> {
        self.readings.peers.iter().find(|known| known.peer.name == peer.name)?.address()
    }

    /// What was read here.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Sends datagrams to the tunnels' port of each, and says what came back.
    pub fn probe(&self, order: &Order) -> Vec<Finding> {
        thread::scope(|scope| {
            let threads: Vec<_> =
                order.probe.iter().map(|peer| scope.spawn(|| self.probe_one(peer))).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.flat_map(|found| found.expect("probes do not panic")).collect()
        })
    }

    fn probe_one(&self, peer: &Peer) -> Vec<Finding> {
        let machine = &self.readings.machine;
        let known = self.readings.peers.iter().find(|known| known.peer.name == peer.name);
        // Who is not among the peers has told its address. Of one without, its name's check has told.
        let Some(address) = known.and_then(PeerReadings::address).or(peer.address) else { return Vec::new() };
        let probed = Probed::read(&System::here(), address, &self.wanted);
        let port = probed.check_port(machine, peer.host(), self.wanted.vxlan_port);
        let mtu = probed.check_mtu(machine, peer.host());
        let [(port_check, _), (mtu_check, _)] = table::PROBES;
        let found = [(port_check, Some(port)), (mtu_check, mtu)].into_iter();
        found
            .filter_map(|(check, verdict)| Some(verdict?.found(check, &machine.name, Some(&peer.name))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_about_itself_and_then_probes_whom_it_is_told() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let wanted = Wanted { vxlan_port: port, listen: Some([127, 0, 0, 1].into()), ..Wanted::default() };
        let here: Peer = "here=127.0.0.1".parse().unwrap();
        let mut input = b"Welcome!\n".to_vec();
        write(&mut input, &wanted).unwrap();
        write(&mut input, &Order { probe: vec![here] }).unwrap();
        let mut output = Vec::new();
        answer(&mut input.as_slice(), &mut output).unwrap();
        let mut output = output.as_slice();
        let opening: Opening = read(&mut output).unwrap().unwrap();
        assert_eq!((opening.doctor.as_str(), opening.answers), (VERSION, Ok(())));
        let closing: Closing = read(&mut output).unwrap().unwrap();
        let found: Vec<_> = closing.probed.iter().map(|found| (found.check.as_str(), found.status)).collect();
        assert_eq!(found, [("probe", crate::doctor::Status::Ok), ("path-mtu", crate::doctor::Status::Ok)]);
    }

    #[test]
    fn nothing_asked_is_nothing_answered() {
        let mut output = Vec::new();
        answer(&mut &b""[..], &mut output).unwrap();
        assert!(output.is_empty());
    }
}

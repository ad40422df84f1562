//! What passes between two hosts: questions to the tunnels' port of the other, of several lengths, and the answers.
//!
//! Each end asks the other, so that both ways are tried. A bridge that runs already answers its peers by itself;
//! elsewhere an [`Answerer`] does, for as long as hosts are examined.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mvpnet_transports::vxlan::probe::{PathMtu, Probe, Reach, Responder};
use mvpnet_transports::vxlan::{BindError, inner_mtu};

use super::finding::Verdict;
use super::machine::Machine;
use super::route::Route;
use super::system::System;
use super::wanted::Wanted;

/// Answers questions at the tunnels' port, until it is dropped.
#[derive(Debug)]
pub struct Answerer {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What came back from a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The peer's address.
    pub to: IpAddr,
    /// Whether its port answers.
    pub reach: Result<Reach, String>,
    /// How long packets may be, if it answers.
    pub mtu: Option<PathMtu>,
    /// The way there.
    pub route: Option<Route>,
}

impl Answerer {
    /// Takes the port.
    pub fn start(wanted: &Wanted) -> Result<Self, BindError> {
        let responder = open(wanted)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = Some(thread::spawn(move || {
            /// Between two looks at whether it is over.
            const BREATH: Duration = Duration::from_millis(50);
            while !over.load(Ordering::Relaxed) {
                // A single datagram's error: the next may do.
                let _ = responder.serve(BREATH);
            }
        }));
        Ok(Self { is_over, thread })
    }
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has closed the port as well.
            let _ = thread.join();
        }
    }
}

/// On one address, or on all of both versions of IP.
fn open(wanted: &Wanted) -> Result<Responder, BindError> {
    match wanted.listen {
        None => match Responder::bind((Ipv6Addr::UNSPECIFIED, wanted.vxlan_port).into()) {
            // A host without IPv6.
            Err(BindError::Failed { .. } | BindError::NotHere { .. }) => Responder::bind(wanted.endpoint()),
            result => result,
        },
        Some(_) => Responder::bind(wanted.endpoint()),
    }
}

impl Probed {
    /// Asks.
    pub fn read(system: &System, to: IpAddr, wanted: &Wanted) -> Self {
        let from = wanted.listen.filter(|from| from.is_ipv4() == to.is_ipv4());
        let probe = Probe { from, ..Probe::new((to, wanted.vxlan_port).into()) };
        let reach = probe.reach().map_err(|error| error.to_string());
        let mtu = match reach {
            Ok(Reach::Answered { .. }) => probe.path_mtu().ok().flatten(),
            _ => None,
        };
        Self { to, reach, mtu, route: Route::read(system, to).ok() }
    }

    /// Whether the peer's port is reached, and answers come back.
    pub fn check_port(&self, machine: &Machine, name: &str, port: u16) -> Verdict {
        let at = format!("UDP port {port} of {name} ({})", self.to);
        let look = || {
            let look = machine.as_root(&format!("tcpdump -c 10 -ni any udp port {port}"));
            Some(format!("{look}   # on {name}, while doctor runs here: does anything come?"))
        };
        match &self.reach {
            Ok(Reach::Answered { after }) => {
                Verdict::ok(format!("{at} answers after {:.1} ms", after.as_secs_f64() * 1000.0))
            }
            Ok(Reach::Refused) => {
                let seen =
                    format!("{at} refuses: nobody hears there, or a rule rejects, or there is no way to it");
                Verdict::failure(seen, look())
            }
            Ok(Reach::Silent) => Verdict::failure(
                format!("{at} does not answer: a rule drops, here, there or between"),
                look(),
            ),
            Err(error) => Verdict::failure(format!("{at} cannot be asked: {error}"), look()),
        }
    }

    /// Whether packets as long as the route promises arrive. None: nothing arrives, of which the port's check tells.
    pub fn check_mtu(&self, machine: &Machine, name: &str) -> Option<Verdict> {
        let PathMtu { path, route } = self.mtu?;
        let guests = inner_mtu(path, self.to).unwrap_or_default();
        if path >= route {
            let seen = format!("packets of {path} bytes arrive at {name}: guests get {guests}");
            return Some(Verdict::ok(seen));
        }
        let seen = format!(
            "packets of more than {path} bytes do not arrive at {name}, though the route promises {route}: \
             guests may have {guests}"
        );
        let mend = self.route.as_ref().map(|route| {
            let words = route.words(Some(path));
            machine.as_root(&format!("ip route replace {words}"))
        });
        Some(Verdict::failure(seen, mend))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::doctor::finding::Status;

    fn probed(reach: Reach, mtu: Option<PathMtu>) -> Probed {
        let to = [192, 0, 2, 2].into();
        let route =
            Route { to, device: "eth0".into(), via: None, mtu: 1500, is_routes_own: false, from: None };
        Probed { to, reach: Ok(reach), mtu, route: Some(route) }
    }

    #[test]
    fn a_port_that_is_answered_at_is_reached_and_let_go_of_afterwards() {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let localhost = Ipv4Addr::LOCALHOST.into();
        let wanted = Wanted { vxlan_port: port, listen: Some(localhost), ..Wanted::default() };
        let answerer = Answerer::start(&wanted).unwrap();
        assert!(matches!(Answerer::start(&wanted), Err(BindError::Taken { .. })));
        let probed = Probed::read(&System::here(), localhost, &wanted);
        assert_eq!(probed.check_port(&Machine::default(), "here", port).status, Status::Ok, "{probed:?}");
        assert_eq!(probed.check_mtu(&Machine::default(), "here").unwrap().status, Status::Ok, "{probed:?}");
        drop(answerer);
        let silent = Probed::read(&System::here(), localhost, &wanted);
        assert_eq!(silent.reach, Ok(Reach::Refused));
        drop(Answerer::start(&wanted).unwrap());
    }

    #[test]
    fn silence_and_refusal_are_failures() {
        for reach in [Reach::Silent, Reach::Refused] {
            let verdict = probed(reach, None).check_port(&Machine::default(), "server2", 4789);
            assert_eq!(verdict.status, Status::Failure);
            assert!(verdict.mend.unwrap().starts_with("sudo tcpdump -c 10 -ni any udp port 4789 "));
        }
        assert_eq!(probed(Reach::Silent, None).check_mtu(&Machine::default(), "server2"), None);
    }

    #[test]
    fn a_path_that_swallows_long_packets_gets_an_mtu_of_its_own() {
        let answered = Reach::Answered { after: Duration::from_millis(1) };
        let narrow = probed(answered, Some(PathMtu { path: 1400, route: 1500 }));
        let verdict = narrow.check_mtu(&Machine::default(), "server2").unwrap();
        assert_eq!(verdict.status, Status::Failure);
        assert_eq!(verdict.mend.unwrap(), "sudo ip route replace 192.0.2.2 dev eth0 mtu lock 1400");
    }
}

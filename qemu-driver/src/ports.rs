//! Reserving the port of 127.0.0.1 through which a guest's sshd is reached.
//!
//! Between looking whether a port is free and qemu's binding it lies the time in which another rank, of this
//! job or of anybody else's, may look too. So a rank first takes a name for the port in the abstract socket
//! namespace (unix(7)): it is exclusive on the host (in the network namespace, as ports are), knows no
//! owners or directories, and goes away with the process. Only then it looks whether the port is free.

use std::io;
use std::net::{Ipv4Addr, SocketAddr as TcpAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use mvpnet_switch::Rank;

/// The port of rank 0.
pub const FIRST_PORT: u16 = 2200;
/// Beyond the port of the highest rank the count begins anew: there are fewer ports than ranks may be.
const PORTS: u32 = u16::MAX as u32 - FIRST_PORT as u32 + 1;

/// A port that no other rank takes as long as this lives. It has to live as long as the guest: qemu binds
/// the port itself.
#[derive(Debug)]
pub struct PortReservation {
    port: u16,
    _name: UnixDatagram,
}

/// No port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// All candidates are taken.
    #[error(
        "no free port for ssh to rank {rank} on 127.0.0.1: {tried} tried, from {first} in steps of {step}"
    )]
    AllTaken {
        /// The rank.
        rank: Rank,
        /// The first candidate.
        first: u16,
        /// The distance of candidates.
        step: u16,
        /// How many were tried.
        tried: u32,
    },
    /// Sockets do not work at all.
    #[error("reserving port {port} of 127.0.0.1: {error}")]
    Socket {
        /// The port.
        port: u16,
        /// Why it failed.
        #[source]
        error: io::Error,
    },
}

/// The distance between the ports that a rank tries: the number of ranks on the fullest host, rounded up to
/// a hundred, so that a rank that steps aside steps on no other rank of its job.
pub fn step(ranks_on_fullest_host: u32) -> u16 {
    let hundreds = ranks_on_fullest_host.div_ceil(100).max(1).saturating_mul(100);
    u16::try_from(hundreds).unwrap_or(u16::MAX - u16::MAX % 100)
}

/// Reserves the port of `rank`, 2200 + rank, or one that is some steps further.
pub fn reserve(rank: Rank, step: u16) -> Result<PortReservation, PortError> {
    let step = step.max(1);
    let candidate = |k: u32| {
        let offset = (u64::from(rank.index()) + u64::from(k) * u64::from(step)) % u64::from(PORTS);
        FIRST_PORT + u16::try_from(offset).expect("less than the number of ports")
    };
    let tried = PORTS / u32::from(step);
    for port in (0..tried.max(1)).map(candidate) {
        match try_port(port) {
            Ok(Some(reservation)) => return Ok(reservation),
            Ok(None) => tracing::debug!(port, %rank, "port is taken"),
            Err(error) => return Err(PortError::Socket { port, error }),
        }
    }
    Err(PortError::AllTaken { rank, first: candidate(0), step, tried: tried.max(1) })
}

impl PortReservation {
    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the guest's sshd is reached.
    pub fn address(&self) -> TcpAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// Takes the port's name, then looks whether it is free. `None` if either is taken.
fn try_port(port: u16) -> io::Result<Option<PortReservation>> {
    let name = SocketAddr::from_abstract_name(format!("mvpnet-port-{port}"))?;
    let name = match UnixDatagram::bind_addr(&name) {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
        Err(error) => return Err(error),
    };
    // The standard library sets SO_REUSEADDR as qemu does: connections that linger from an earlier guest are
    // no obstacle, a listener is.
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(Some(PortReservation { port, _name: name })),
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mvpnet_switch::World;

    use super::*;

    fn rank(index: u32) -> Rank {
        World::new(World::MAX_SIZE).unwrap().rank(index).unwrap()
    }

    #[test]
    fn steps_are_whole_hundreds() {
        assert_eq!([0, 1, 100, 101, 250, 70_000].map(step), [100, 100, 100, 200, 300, 65_500]);
    }

    #[test]
    fn a_taken_port_makes_the_rank_step_aside_and_dropping_frees_it() {
        let first = reserve(rank(20_001), 100).unwrap();
        let second = reserve(rank(20_001), 100).unwrap();
        assert_eq!(second.port(), first.port() + 100);
        assert_eq!(first.address().to_string(), format!("127.0.0.1:{}", first.port()));
        let port = first.port();
        drop(first);
        assert_eq!(reserve(rank(20_001), 100).unwrap().port(), port);
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_passed_over() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        if let Some(index) = taken.checked_sub(FIRST_PORT) {
            assert_ne!(reserve(rank(u32::from(index)), 100).unwrap().port(), taken);
        }
    }

    #[test]
    fn ranks_beyond_the_last_port_begin_anew() {
        let reservation = reserve(rank(PORTS + 21_000), 100).unwrap();
        assert!(reservation.port() >= 23_200);
    }

    #[test]
    fn many_threads_that_want_the_same_port_get_different_ones() {
        let reservations: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..64).map(|_| scope.spawn(|| reserve(rank(22_000), 100).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let ports: BTreeSet<_> = reservations.iter().map(PortReservation::port).collect();
        assert_eq!(ports.len(), reservations.len());
    }
}

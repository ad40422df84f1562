//! Questions to the far end of a path: does a VTEP of ours hear there, and how long may its datagrams be?
//!
//! A VTEP answers its peers with every [`receive`](super::Vtep::receive); where none runs, a [`Responder`]
//! answers everybody. Linux's own VTEP stays silent: it takes a question for a broken datagram and drops it.
//! Here, and nowhere else in this module, somebody waits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use thiserror::Error;

use super::mtu::{UDP_LEN, ip_header_len};
use super::socket::{self, BindError, Rumour, Sender, Trouble};
use crate::clock;

pub(super) mod message;

use message::{ANSWER_LEN, Message};

/// Every IPv4 host takes packets of this length (RFC 791 §3.1), every IPv6 link those of [`LEAST_V6`].
const LEAST_V4: u32 = 576;
/// RFC 8200 §5.
const LEAST_V6: u32 = 1280;

/// What is asked, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where a VTEP is to be heard.
    pub peer: SocketAddr,
    /// The address to ask from; by default the route's. A VTEP answers none but its peers.
    pub from: Option<IpAddr>,
    /// How long one question waits for its answer.
    pub patience: Duration,
    /// How often a question is asked before silence is believed.
    pub attempts: u32,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A VTEP of ours has answered.
    Answered {
        /// So much later.
        after: Duration,
    },
    /// The peer's host, or a router, says that nobody hears there.
    Refused,
    /// Nothing came back: a filter, a dead host, a VTEP that does not know us, or one that is not ours.
    Silent,
}

/// The MTU of a path, and what the kernel had thought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The longest packet that came through.
    pub path: u32,
    /// What the route to the peer promises, by its interface or by what has been learned.
    pub route: u32,
}

/// Why nothing could be asked.
#[derive(Debug, Error)]
#[error("cannot ask {peer}: {source}")]
pub struct ProbeError {
    /// Who was to be asked.
    pub peer: SocketAddr,
    /// What the kernel says.
    pub source: io::Error,
}

/// What came of one question, as far as the search for the MTU goes.
enum Heard {
    Answer(Duration),
    Refusal,
    /// A router, or this host, says what fits.
    Narrower(u32),
    Nothing,
}

impl Probe {
    /// A question to `peer` that waits for 300 ms, three times.
    pub const fn new(peer: SocketAddr) -> Probe {
        Probe { peer, from: None, patience: Duration::from_millis(300), attempts: 3 }
    }

    /// Asks whether a VTEP hears.
    pub fn reach(&self) -> Result<Reach, ProbeError> {
        let asker = self.asker()?;
        Ok(match self.insist(&asker, ANSWER_LEN) {
            Heard::Answer(after) => Reach::Answered { after },
            Heard::Refusal => Reach::Refused,
            Heard::Narrower(_) | Heard::Nothing => Reach::Silent,
        })
    }

    /// What the route to the peer promises, by its interface or by what has been learned. Asks nobody.
    pub fn route_mtu(&self) -> Result<u32, ProbeError> {
        Ok(self.asker()?.path_mtu().unwrap_or(if self.peer.is_ipv4() { LEAST_V4 } else { LEAST_V6 }))
    }

    /// Finds the longest packet that reaches the peer. `None` where not even a short question is answered.
    pub fn path_mtu(&self) -> Result<Option<PathMtu>, ProbeError> {
        let asker = self.asker()?;
        let headers = ip_header_len(self.peer.ip()) + UDP_LEN;
        let least = if self.peer.is_ipv4() { LEAST_V4 } else { LEAST_V6 };
        let route = asker.path_mtu().unwrap_or(least).clamp(least, u32::from(u16::MAX));
        // What is tried first is right nearly always.
        let (mut fits, mut next, mut too_long) = (None, route, route + 1);
        loop {
            match self.insist(&asker, (next - headers) as usize) {
                Heard::Answer(_) => fits = Some(next),
                // Routers may say nonsense: believed is what shrinks.
                Heard::Narrower(mtu) if (fits.map_or(least, |fits| fits + 1)..next).contains(&mtu) => {
                    (next, too_long) = (mtu, mtu + 1);
                    continue;
                }
                _ => too_long = next,
            }
            let lower = fits.unwrap_or(least - 1);
            if too_long - lower <= 1 {
                return Ok(fits.map(|path| PathMtu { path, route }));
            }
            // Silence is slow: whether anybody answers at all is found out first.
            next = if fits.is_none() { least } else { lower + (too_long - lower) / 2 };
        }
    }

    fn asker(&self) -> Result<Sender, ProbeError> {
        let unspecified: IpAddr =
            if self.peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let asker = Sender::connect(self.from.unwrap_or(unspecified), self.peer, 1 << 18, random() as u32);
        let asker = asker.and_then(|asker| asker.ignore_path_mtu().map(|()| asker));
        asker.map_err(|source| ProbeError { peer: self.peer, source })
    }

    /// Asks until there is an answer of some kind.
    fn insist(&self, asker: &Sender, len: usize) -> Heard {
        for _ in 0..self.attempts.max(1) {
            match self.ask(asker, len) {
                Heard::Nothing => {}
                heard => return heard,
            }
        }
        Heard::Nothing
    }

    /// Asks once, with a datagram of `len` bytes.
    fn ask(&self, asker: &Sender, len: usize) -> Heard {
        let token = random();
        let mut question = Message::Ask { token }.emit().to_vec();
        question.resize(len.max(ANSWER_LEN), 0);
        let asked = clock::now();
        match asker.send(&[io::IoSlice::new(&question)], None) {
            Err(Trouble::TooLong) => return Heard::Narrower(asker.path_mtu().unwrap_or(0)),
            Err(Trouble::NoRoute) => return Heard::Refusal,
            Err(Trouble::Full | Trouble::NoSegments) | Ok(()) => {}
        }
        loop {
            let waited = clock::now().saturating_sub(asked);
            let Some(left) = self.patience.checked_sub(waited) else { return Heard::Nothing };
            let mut bytes = [0; ANSWER_LEN];
            while let Ok(got) = asker.receive(&mut bytes) {
                let heard = Message::parse(&bytes[..got.min(ANSWER_LEN)]);
                if heard == Some(Message::Answer { token, heard: question.len() }) {
                    return Heard::Answer(clock::now().saturating_sub(asked));
                }
            }
            match asker.hear() {
                Some(Rumour::Mtu(mtu)) => return Heard::Narrower(mtu),
                Some(Rumour::Unreachable) => return Heard::Refusal,
                None => wait(asker.as_fd(), left),
            }
        }
    }
}

/// Answers the questions of anybody, where no VTEP runs.
#[derive(Debug)]
pub struct Responder {
    socket: UdpSocket,
}

impl Responder {
    /// Listens for questions.
    pub fn bind(listen: SocketAddr) -> Result<Responder, BindError> {
        Ok(Responder { socket: socket::bind(listen, 1 << 20, false)? })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers what is asked for so long, and returns how many questions there were.
    pub fn serve(&self, time: Duration) -> io::Result<u64> {
        let (begun, mut answered) = (clock::now(), 0);
        let mut bytes = vec![0; 1 << 16];
        loop {
            match self.socket.recv_from(&mut bytes) {
                Ok((len, from)) => {
                    if let Some(Message::Ask { token }) = Message::parse(&bytes[..len]) {
                        answered += 1;
                        // A lost answer is asked for again.
                        let _ = self.socket.send_to(&Message::Answer { token, heard: len }.emit(), from);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let served = clock::now().saturating_sub(begun);
                    let Some(left) = time.checked_sub(served) else { return Ok(answered) };
                    wait(self.socket.as_fd(), left);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until there is something to receive or to hear, or for as long.
fn wait(fd: BorrowedFd<'_>, time: Duration) {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    match ppoll(&mut fds, Some(TimeSpec::from_duration(time)), None) {
        // Who called looks at the clock.
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => tracing::debug!(%error, "poll"),
    }
}

/// A number that nobody guesses: the standard library keys its hash tables with such.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

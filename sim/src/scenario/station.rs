//! The guest of a rank in a scenario: a host with TCP/IP, a sender and receiver of raw frames, or both at one port.

use std::rc::Rc;

use mvpnet_switch::Instant;

use super::job::Job;
use super::stamp::{ETHERTYPE, Stamp};
use super::tally::Tally;
use crate::guest::{Guest, Port};
use crate::host::{Host, HostGuest};

/// Bytes before the stamp of a raw frame: both addresses and the EtherType.
const HEADER_LEN: usize = 14;

/// See the module.
pub(super) struct Station {
    host: Option<HostGuest>,
    /// When the host wants to be woken.
    host_at: Option<Instant>,
    sends: Vec<Sending>,
    /// The tallies of all lines of the scenario.
    tallies: Rc<[Tally]>,
}

/// Raw frames that are to be sent.
struct Sending {
    job: Job,
    at: Option<Instant>,
}

/// The receiver that stands for all in a tally.
pub(super) const EVERYONE: u32 = u32::MAX;

impl Station {
    pub(super) fn new(host: Option<&Host>, jobs: &[Job], tallies: &Rc<[Tally]>) -> Station {
        let sends = jobs.iter().map(|job| Sending { job: job.clone(), at: None }).collect();
        Station { host: host.map(HostGuest::new), host_at: None, sends, tallies: tallies.clone() }
    }

    /// Lets the host run, with a wish of its own when to wake.
    fn run_host(&mut self, port: &mut Port<'_>, run: impl FnOnce(&mut HostGuest, &mut Port<'_>)) {
        let Some(host) = &mut self.host else { return };
        let mut its_port = Port {
            now: port.now,
            rank: port.rank,
            world: port.world,
            chance: port.chance,
            wake_at: &mut self.host_at,
            outbox: port.outbox,
        };
        run(host, &mut its_port);
    }

    fn run_sends(&mut self, port: &mut Port<'_>) {
        let now = port.now();
        for sending in &mut self.sends {
            while sending.at.is_some_and(|at| at <= now) {
                sending.send(port);
            }
        }
    }

    fn plan(&self, port: &mut Port<'_>) {
        match self.sends.iter().filter_map(|sending| sending.at).chain(self.host_at).min() {
            Some(at) => port.wake_at(at),
            None => port.sleep(),
        }
    }
}

impl Sending {
    fn send(&mut self, port: &mut Port<'_>) {
        let job = &self.job;
        let number = job.tally.take_next(job.from, EVERYONE);
        let stamp = Stamp { line: job.line, from: job.from, number, sent: port.now() };
        if job.broadcasts {
            job.tally.sent(port.now(), u64::from(port.world().size()) - 1);
            port.send_shared(job.frame([0xff; 6], &stamp));
        }
        for to in job.to.iter() {
            let Ok(to) = port.world().rank(*to) else { continue };
            job.tally.sent(port.now(), 1);
            port.send_shared(job.frame(to.mac().octets(), &stamp));
        }
        self.at = job.time_of_next(port.now(), EVERYONE);
    }
}

impl Job {
    fn frame(&self, to: [u8; 6], stamp: &Stamp) -> Rc<[u8]> {
        let mut frame = Vec::with_capacity(self.len);
        frame.extend(to);
        frame.extend(self.mac.octets());
        frame.extend(ETHERTYPE);
        frame.extend(stamp.encode());
        frame.resize(self.len, 0);
        Rc::from(frame)
    }
}

impl Guest for Station {
    fn start(&mut self, port: &mut Port<'_>) {
        for sending in &mut self.sends {
            sending.at = sending.job.time_of_next(port.now(), EVERYONE);
        }
        self.run_host(port, |host, port| host.start(port));
        self.run_sends(port);
        self.plan(port);
    }

    fn receive(&mut self, port: &mut Port<'_>, frame: &[u8]) {
        if frame.get(HEADER_LEN - 2..HEADER_LEN) != Some(&ETHERTYPE) {
            self.run_host(port, |host, port| host.receive(port, frame));
            return self.plan(port);
        }
        let payload = &frame[HEADER_LEN..];
        if let Some(stamp) = Stamp::decode(payload)
            && let Some(tally) = self.tallies.get(stamp.line as usize)
        {
            tally.received(port.now(), port.rank().index(), &stamp, payload, frame.len());
        }
    }

    fn wake(&mut self, port: &mut Port<'_>) {
        self.run_host(port, |host, port| host.wake(port));
        self.run_sends(port);
        self.plan(port);
    }
}

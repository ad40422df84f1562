//! What the loop tells of itself: its status when asked, and unasked what people need to know.

use mvpnet_switch::{BridgePortCounters, DropReason, Instant, Vni};
use mvpnet_transports::vxlan::{VtepStats, inner_mtu};

use super::forward::BridgeLoop;
use super::mailbox::Event;
use super::notice::Notice;
use super::setup::BridgeError;
use super::status::{FdbStatus, PortStatus, Status};
use super::watch::{Subject, Watch};

/// Drops that people need to know of: they can do something about them.
const NOTEWORTHY: [DropReason; 5] = [
    DropReason::Oversize,
    DropReason::TooLong,
    DropReason::StormLimit,
    DropReason::PeerGone,
    DropReason::QueueFull,
];

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Teller {
    watch: Watch,
    /// How many datagrams had been refused at the last look.
    refusals: u64,
}

impl Teller {
    /// When to look again although nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.watch.next()
    }

    /// How many datagrams had been refused when the counters were last looked through.
    pub(super) fn refusals(&self) -> u64 {
        self.refusals
    }

    pub(super) fn forget(&mut self, vni: Vni) {
        self.watch.forget(vni);
    }
}

impl BridgeLoop {
    /// Looks through what is counted, and tells what is new and matters.
    pub(super) fn look(&mut self, now: Instant) {
        self.last_look = now;
        self.update_mtu();
        let watch = &mut self.teller.watch;
        watch.begin(now);
        let refusals = self.vtep.refusals();
        self.teller.refusals = refusals.total();
        for (refusal, count, first) in refusals.iter() {
            if let Some(due) = watch.due(now, Subject::Refused(refusal), count) {
                let (new, again) = (due.new, due.again);
                self.mailbox.tell(Event::Notice(Notice::Refused { refusal, first, new, again }));
            }
        }
        let mtu = self.bridge.config().mtu;
        for port in self.bridge.ports() {
            let (vni, counters) = (self.bridge.vni(port), self.bridge.counters(port));
            let Some(behind) = self.ports.behind(port) else { continue };
            for reason in NOTEWORTHY {
                if let Some(due) = watch.due(now, Subject::Dropped(vni, reason), dropped(counters, reason)) {
                    let (peer, new, again) = (behind.peer, due.new, due.again);
                    self.mailbox.tell(Event::Notice(Notice::Dropped { vni, peer, reason, mtu, new, again }));
                }
            }
        }
        let VtepStats { kernel_drops, unreachable, .. } = self.vtep.stats();
        if let Some(due) = watch.due(now, Subject::Unreachable, unreachable) {
            let mut silent: Vec<_> =
                self.ports.iter().filter(|behind| behind.is_silent(now)).map(|behind| behind.peer).collect();
            silent.sort_unstable();
            silent.dedup();
            self.mailbox.tell(Event::Notice(Notice::Unreachable { silent, again: due.again }));
        }
        if let Some(due) = watch.due(now, Subject::KernelDrops, kernel_drops) {
            let room = self.vtep.receive_buffer();
            self.mailbox.tell(Event::Notice(Notice::KernelDrops { new: due.new, room }));
        }
    }

    /// Follows what the paths carry.
    pub(super) fn update_mtu(&mut self) {
        let Some((most, path_mtu, peer)) = self.narrowest().filter(|(most, ..)| *most > 0) else { return };
        let mtu = self.fixed_mtu.map_or(most, |fixed| fixed.min(most));
        let was = self.bridge.config().mtu;
        if mtu != was {
            self.bridge.set_mtu(mtu);
            self.vtep.set_mtu(mtu);
            if self.last_look > Instant::ZERO {
                self.mailbox.tell(Event::Notice(Notice::Mtu { mtu, was, peer, path_mtu }));
            }
        }
    }

    /// The MTU, unless more was asked for than the paths carry.
    pub(super) fn check_mtu(&self) -> Result<u32, BridgeError> {
        let Some((most, path_mtu, peer)) = self.narrowest() else { return Ok(self.bridge.config().mtu) };
        match self.fixed_mtu {
            _ if most == 0 => Err(BridgeError::Narrow { peer, path_mtu }),
            Some(mtu) if mtu > most => Err(BridgeError::Mtu { mtu, peer, path_mtu, most }),
            _ => Ok(self.bridge.config().mtu),
        }
    }

    /// The path that carries least: what is left for guests (zero if that is too little for IP), what it carries, and
    /// where it leads.
    pub(super) fn narrowest(&self) -> Option<(u32, u32, std::net::SocketAddr)> {
        let paths = self.ports.iter().filter_map(|behind| {
            // Zero: the kernel does not say, for want of a route.
            let path_mtu = Some(self.vtep.path_mtu(behind.tunnel)).filter(|mtu| *mtu > 0)?;
            Some((inner_mtu(path_mtu, behind.peer.ip()).unwrap_or(0), path_mtu, behind.peer))
        });
        paths.min()
    }

    /// How the bridge does.
    pub(super) fn status(&self, now: Instant) -> Status {
        let seconds_since = |then: Instant| now.saturating_since(then).as_secs();
        let ports = self.bridge.ports().filter_map(|port| {
            let behind = self.ports.behind(port)?;
            let counters = self.bridge.counters(port);
            let drops = DropReason::ALL.iter().map(|&reason| (reason.to_string(), dropped(counters, reason)));
            Some(PortStatus {
                vni: self.bridge.vni(port).value(),
                peer: behind.peer.to_string(),
                path_mtu: self.vtep.path_mtu(behind.tunnel),
                received: counters.traffic.received.into(),
                sent: counters.traffic.sent.into(),
                drops: drops.filter(|(_, count)| *count > 0).collect(),
                last_seen_s: behind.last_seen.map(seconds_since),
            })
        });
        let mut ports: Vec<PortStatus> = ports.collect();
        ports.sort_by_key(|port| port.vni);
        let fdb = self.bridge.fdb().entries(now).map(|entry| FdbStatus {
            mac: entry.mac.to_string(),
            vni: self.bridge.vni(entry.port).value(),
            age_s: seconds_since(entry.seen),
        });
        let refusals = self.vtep.refusals().iter().filter(|(_, count, _)| *count > 0);
        Status {
            name: self.name.clone(),
            pid: std::process::id(),
            uptime_s: seconds_since(Instant::ZERO),
            listen: self.vtep.local_addr().to_string(),
            mtu: self.bridge.config().mtu,
            ports,
            fdb: fdb.collect(),
            refusals: refusals.map(|(refusal, count, _)| (refusal.to_string(), count)).collect(),
            unreachable: self.vtep.stats().unreachable,
            kernel_drops: self.vtep.stats().kernel_drops,
            books_balance: self.bridge.check_settled().is_ok(),
        }
    }
}

/// All frames that ended at this port for this reason, whether they came in there or were to go out.
fn dropped(counters: &BridgePortCounters, reason: DropReason) -> u64 {
    counters.ingress_drops.by(reason).frames + counters.traffic.egress_drops.by(reason).frames
}

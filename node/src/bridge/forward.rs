//! The loop of a bridge: receive, decide, forward, flush. No locks, no allocation per frame once warm.
//!
//! Frames stay in the memory that they were received into: [`Bridge::decide`] sees a frame's head, and the
//! [`Vtep`] sends it on from where it is, many frames in one system call. Queues are bounded by what one call
//! receives: what a turn has taken in, the same turn sends or counts as dropped.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use mvpnet_switch::{Bridge, BridgeConfig, BridgePort, BridgeVerdict, DropReason, HEAD_LEN, Instant};
use mvpnet_transports::vxlan::{Tunnel, TunnelId, Vtep};

use super::mailbox::{Changed, Command, Mailbox};
use super::ports::{Attached, Interfaces, PortTable};
use super::status::Status;
use super::tell::Teller;
use crate::capture::{Direction, Tap};
use crate::clock::Clock;
use crate::frame_loop::spin::Spin;

/// How often what is counted is looked through for what people need to know, at most.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A bridge, to be run on a thread of its own.
pub struct BridgeLoop {
    pub(super) name: String,
    pub(super) vtep: Vtep,
    pub(super) bridge: Bridge,
    pub(super) ports: PortTable,
    pub(super) interfaces: Interfaces,
    pub(super) clock: Clock,
    pub(super) mailbox: Mailbox,
    pub(super) tap: Option<Tap>,
    pub(super) teller: Teller,
    /// The MTU that was asked for; none for what the paths carry.
    pub(super) fixed_mtu: Option<u32>,
    pub(super) spin: Spin,
    /// Whether the last thing done was to poll.
    pub(super) polled: bool,
    /// When the last turn that found work ended.
    pub(super) last_work: Instant,
    /// When the counters were last looked through.
    pub(super) last_look: Instant,
}

/// What a finished loop hands back.
#[derive(Debug)]
pub struct LoopEnd {
    /// How it did.
    pub status: Status,
    /// Why it ended, when nobody asked it to.
    pub failure: Option<io::Error>,
}

/// What a turn works on besides the frame: apart from each other, so that a frame can stay in the VTEP's memory
/// while it is decided and written to the capture.
struct Copies<'a> {
    bridge: &'a mut Bridge,
    ports: &'a PortTable,
    tap: &'a mut Option<Tap>,
    clock: Clock,
}

impl BridgeLoop {
    /// A loop without tunnels that runs when [`run`](Self::run) is called.
    pub fn new(
        name: String,
        vtep: Vtep,
        config: BridgeConfig,
        fixed_mtu: Option<u32>,
        mailbox: Mailbox,
    ) -> Self {
        Self {
            name,
            vtep,
            bridge: Bridge::new(config),
            ports: PortTable::default(),
            interfaces: Interfaces::default(),
            clock: Clock::start(),
            mailbox,
            tap: None,
            teller: Teller::default(),
            fixed_mtu,
            spin: Spin::default(),
            polled: false,
            last_work: Instant::ZERO,
            last_look: Instant::ZERO,
        }
    }

    /// Writes all frames to this capture, by these interfaces.
    pub fn capture(&mut self, tap: Tap, interfaces: Interfaces) {
        for port in self.bridge.ports() {
            self.ports.captured_by(port, interfaces.of(self.bridge.vni(port)));
        }
        (self.tap, self.interfaces) = (Some(tap), interfaces);
    }

    /// Runs until told to [stop](Command::Stop), or until the sockets fail.
    pub fn run(mut self) -> LoopEnd {
        let failure = loop {
            match self.turn() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break None,
                Err(error) => break Some(error),
            }
        };
        let now = self.clock.now();
        self.look(now);
        LoopEnd { status: self.status(now), failure }
    }

    fn turn(&mut self) -> io::Result<ControlFlow<()>> {
        let now = self.clock.now();
        while let Some(command) = self.mailbox.next() {
            match command {
                Command::Status(reply) => drop(reply.send(self.status(now))),
                Command::Tunnels { tunnels, done } => drop(done.send(self.set_tunnels(&tunnels))),
                Command::Stop => return Ok(ControlFlow::Break(())),
            }
            self.last_work = now;
        }
        let count = self.vtep.receive()?;
        if count == 0 {
            self.wait(now);
            return Ok(ControlFlow::Continue(()));
        }
        for n in 0..count {
            self.pass(now, n);
        }
        self.flush();
        self.last_work = now;
        if std::mem::take(&mut self.polled) {
            self.spin.paid();
        }
        if now.saturating_since(self.last_look) >= LOOK_EVERY {
            self.look(now);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Decides one received frame and queues its copies.
    #[inline]
    fn pass(&mut self, now: Instant, n: usize) {
        let (tunnel, frame) = self.vtep.frame(n);
        // A tunnel that is removed is removed here first.
        let Some(ingress) = self.ports.port(tunnel) else { return };
        let interface = self.ports.heard_from(ingress, now);
        let head = &frame[..frame.len().min(HEAD_LEN)];
        let verdict = self.bridge.decide(now, ingress, head, frame.len());
        if let (Some(tap), Some(interface)) = (&mut self.tap, interface) {
            // A turn handles many frames; with a capture each has its own time.
            let at = self.clock.unix_ns(self.clock.now());
            tap.record(interface, Direction::Inbound, at, frame, verdict.drop_reason());
        }
        match verdict {
            BridgeVerdict::Forward(port) => self.forward(n, port),
            BridgeVerdict::Flood => {
                for port in self.bridge.flood_targets(ingress) {
                    if let Some(behind) = self.ports.behind(port) {
                        self.vtep.forward(n, behind.tunnel);
                    }
                }
            }
            BridgeVerdict::Reply(_) => self.vtep.send(tunnel, self.bridge.reply()),
            BridgeVerdict::Drop(_) => {}
        }
    }

    #[inline]
    fn forward(&mut self, n: usize, port: BridgePort) {
        if let Some(behind) = self.ports.behind(port) {
            self.vtep.forward(n, behind.tunnel);
        }
    }

    /// Sends all that is queued, and enters what became of it into the books and into the capture.
    pub(super) fn flush(&mut self) {
        let Self { vtep, bridge, ports, tap, clock, .. } = self;
        let mut copies = Copies { bridge, ports, tap, clock: *clock };
        vtep.flush(|tunnel, frame, outcome| copies.account(tunnel, frame, outcome.err()));
    }

    /// Makes the tunnels these: adds, removes, and leads elsewhere.
    pub fn set_tunnels(&mut self, tunnels: &[Tunnel]) -> Changed {
        let mut changed = Changed::default();
        let gone: Vec<_> = self
            .bridge
            .ports()
            .map(|port| (port, self.bridge.vni(port)))
            .filter(|(_, vni)| !tunnels.iter().any(|tunnel| tunnel.vni == *vni))
            .collect();
        for (port, vni) in gone {
            if let Some(behind) = self.ports.part(port) {
                self.vtep.remove(behind.tunnel);
            }
            self.bridge.remove_port(vni);
            self.teller.forget(vni);
            changed.removed += 1;
        }
        for &tunnel in tunnels {
            if let Err(why) = self.set_tunnel(tunnel, &mut changed) {
                changed.refused.push(why);
            }
        }
        self.update_mtu();
        changed
    }

    fn set_tunnel(&mut self, tunnel: Tunnel, changed: &mut Changed) -> Result<(), String> {
        let port = match self.bridge.port(tunnel.vni) {
            Some(port) => {
                if self.ports.behind(port).is_some_and(|behind| behind.peer == tunnel.peer) {
                    return Ok(());
                }
                port
            }
            None => self.bridge.add_port(tunnel.vni).map_err(|error| error.to_string())?,
        };
        let moved = self.ports.part(port);
        if let Some(behind) = moved {
            self.vtep.remove(behind.tunnel);
        }
        let id = match self.vtep.add(tunnel) {
            Ok(id) => id,
            Err(error) => {
                self.bridge.remove_port(tunnel.vni);
                changed.removed += usize::from(moved.is_some());
                return Err(error.to_string());
            }
        };
        let (interface, last_seen) =
            (self.interfaces.of(tunnel.vni), moved.and_then(|behind| behind.last_seen));
        self.ports.join(port, Attached { tunnel: id, peer: tunnel.peer, interface, last_seen });
        *(if moved.is_some() { &mut changed.moved } else { &mut changed.added }) += 1;
        Ok(())
    }
}

impl Copies<'_> {
    #[inline]
    fn account(&mut self, tunnel: TunnelId, frame: &[u8], dropped: Option<DropReason>) {
        let Some(port) = self.ports.port(tunnel) else { return };
        match dropped {
            None => self.bridge.sent(port, frame.len()),
            Some(reason) => self.bridge.egress_drop(port, reason, frame.len()),
        }
        if let (Some(tap), Some(behind)) = (self.tap.as_mut(), self.ports.behind(port)) {
            let at = self.clock.unix_ns(self.clock.now());
            tap.record(behind.interface, Direction::Outbound, at, frame, dropped);
        }
    }
}

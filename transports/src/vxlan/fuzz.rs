//! What a fuzzer calls: a datagram on its way through a VTEP and a bridge, without sockets, and what has to be
//! true of it whatever its bytes are. The tests of this module replay the corpus of `fuzz/`.

use std::net::SocketAddr;
use std::time::Duration;

use mvpnet_switch::{
    Bridge, BridgeConfig, BridgePort, BridgeVerdict, DropReason, HEAD_LEN, Instant, ReplyKind, Vni,
};

use super::header::HEADER_LEN;
use super::intake::{Arena, Frame, Intake};
use super::outgoing::{Arenas, MAX_SLICES, Outgoing, Queue};
use super::{Refusal, Tunnel, TunnelId};
use crate::offload::checksum::Sum;
use crate::offload::layout::{Layout, ethernet, ipv4};

/// Bytes in front of the datagrams, which say how they arrive: flags, and the length of each of them, zero for
/// one datagram.
pub const PREFIX_LEN: usize = 3;
/// Flag: from an address that no tunnel leads to.
pub const FROM_STRANGER: u8 = 1;
/// Flag: the MTU inside is 100 instead of 1450.
pub const SMALL_MTU: u8 = 2;

/// The VNIs that the peer has a tunnel for; the bridge has one port more, at another peer.
pub const VNIS: [u32; 2] = [40, 41];

/// What became of the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What was refused, in the order of the reasons.
    pub refused: Vec<(Refusal, u64)>,
    /// Checksums that were completed.
    pub completed: u64,
    /// Super-frames that were cut up.
    pub cut: u64,
    /// Probes that were answered.
    pub probes: u64,
    /// Frames that were sent to one port.
    pub forwarded: u64,
    /// Frames that were sent to all.
    pub flooded: u64,
    /// Frames that the bridge answered, with what it answered last.
    pub replied: Option<ReplyKind>,
    /// Why the bridge dropped a frame last.
    pub dropped: Option<DropReason>,
}

/// Everything around the bytes.
struct Lab {
    intake: Intake,
    bridge: Bridge,
    ports: Vec<(TunnelId, BridgePort)>,
    queue: Queue,
}

/// Lets `bytes` arrive.
///
/// # Panics
///
/// If something does not hold that always has to.
pub fn vxlan_datagram(bytes: &[u8]) -> Outcome {
    let Some((prefix, datagrams)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Outcome::default();
    };
    let [flags, low, high] = *prefix;
    let mut lab = Lab::new(if flags & SMALL_MTU != 0 { 100 } else { 1450 });
    let host = if flags & FROM_STRANGER != 0 { 66 } else { 1 };
    let source: SocketAddr = ([192, 0, 2, host], 50_000).into();
    // A socket gives no more than this at once.
    let mut received = datagrams[..datagrams.len().min(super::RECEIVE_SLOT)].to_vec();
    let (len, stride) = (received.len(), usize::from(u16::from_le_bytes([low, high])));
    lab.intake.take(source, &mut received, 0..len, stride);
    lab.check_refusals(host == 66, stride, &datagrams[..len]);
    lab.pass_on(received)
}

impl Lab {
    fn new(mtu: u32) -> Lab {
        let config = BridgeConfig {
            mtu,
            fdb_capacity: 32,
            ageing_time: Duration::from_secs(1),
            ..BridgeConfig::default()
        };
        let mut lab = Lab {
            intake: Intake::new(mtu),
            bridge: Bridge::new(config),
            ports: Vec::new(),
            queue: Queue::default(),
        };
        for (vni, host) in VNIS.into_iter().zip([1, 1]).chain([(60, 2)]) {
            let vni = Vni::new(vni).expect("VNIs have 24 bits");
            let tunnel = Tunnel { vni, peer: ([192, 0, 2, host], 4789).into() };
            let id = lab.intake.table.insert(tunnel).expect("the tunnels differ");
            lab.ports.push((id, lab.bridge.add_port(vni).expect("the ports differ")));
        }
        lab.queue.grow(lab.ports.len());
        lab
    }

    /// What arrived was accepted or counted as refused, and nothing was accepted that should not be.
    fn check_refusals(&self, is_strange: bool, stride: usize, datagrams: &[u8]) {
        let refusals = &self.intake.refusals;
        let count = if stride == 0 { 1 } else { datagrams.len().div_ceil(stride).max(1) };
        assert_eq!(self.intake.tally.datagrams, count as u64);
        if is_strange {
            assert_eq!((refusals.by(Refusal::UnknownPeer), self.intake.frames.len()), (count as u64, 0));
        }
        let is_good = |datagram: &[u8]| match datagram {
            [8, 0, 0, 0, 0, 0, vni, 0, frame @ ..] => VNIS.contains(&u32::from(*vni)) && frame.len() >= 14,
            _ => false,
        };
        let good = match stride {
            0 => u64::from(is_good(datagrams)),
            stride => datagrams.chunks(stride).filter(|datagram| is_good(datagram)).count() as u64,
        };
        let expected = if is_strange { 0 } else { good };
        let refused = refusals.total() - refusals.by(Refusal::NoRoom) + self.intake.tally.probes;
        assert_eq!(count as u64 - refused, expected);
    }

    /// Shows the bridge each frame, sends the copies, and closes the books.
    fn pass_on(mut self, mut received: Vec<u8>) -> Outcome {
        let mut outcome = Outcome::default();
        for n in 0..self.intake.frames.len() {
            let frame = self.intake.frames[n];
            let bytes = if frame.arena == Arena::Cut { &self.intake.cut } else { &received[..] };
            let bytes = &bytes[frame.bytes()];
            assert!(bytes.len() >= ethernet::HEADER_LEN);
            if frame.arena == Arena::Cut {
                check_part(bytes, self.intake.mtu);
            }
            let port = self.port(frame.tunnel);
            let head = &bytes[..bytes.len().min(HEAD_LEN)];
            let len = bytes.len();
            match self.bridge.decide(Instant::ZERO, port, head, len) {
                BridgeVerdict::Forward(to) => {
                    outcome.forwarded += 1;
                    self.send(frame, to, &mut received, true);
                }
                BridgeVerdict::Flood => {
                    outcome.flooded += 1;
                    let targets: Vec<BridgePort> = self.bridge.flood_targets(port).collect();
                    for (number, to) in targets.into_iter().enumerate() {
                        self.send(frame, to, &mut received, number == 0);
                    }
                }
                BridgeVerdict::Reply(kind) => {
                    outcome.replied = Some(kind);
                    let reply = self.bridge.reply().len();
                    self.bridge.sent(port, reply);
                }
                BridgeVerdict::Drop(reason) => outcome.dropped = Some(reason),
            }
        }
        self.drain(&received);
        assert_eq!(self.bridge.check_settled(), Ok(()));
        let Intake { refusals, tally, answers, .. } = &self.intake;
        assert!(answers.len() as u64 <= tally.probes);
        outcome.refused = refusals
            .iter()
            .filter(|(_, count, _)| *count > 0)
            .map(|(refusal, count, _)| (refusal, count))
            .collect();
        (outcome.completed, outcome.cut, outcome.probes) =
            (tally.completed, tally.super_frames, tally.probes);
        outcome
    }

    fn port(&self, tunnel: TunnelId) -> BridgePort {
        self.ports.iter().find(|(id, _)| *id == tunnel).expect("every tunnel has a port").1
    }

    /// Queues a copy as a VTEP does: the first with its header in place.
    fn send(&mut self, frame: Frame, to: BridgePort, received: &mut [u8], is_first: bool) {
        let number = self.ports.iter().position(|(_, port)| *port == to).expect("every port has a tunnel");
        let (tunnel, arena) = (self.ports[number].0, frame.arena);
        let header = super::Header { vni: self.bridge.vni(to) }.emit();
        if is_first {
            let bytes = if arena == Arena::Cut { &mut self.intake.cut[..] } else { received };
            let start = frame.start as usize;
            bytes[start - HEADER_LEN..start].copy_from_slice(&header);
        }
        let head = (!is_first).then_some(header);
        self.queue.push(number, Outgoing { tunnel, arena, start: frame.start, len: frame.len, head });
        self.bridge.sent(to, frame.len as usize);
    }

    /// What is sent are the frames that were queued, each behind the header of its tunnel.
    fn drain(&mut self, received: &[u8]) {
        let arenas = Arenas { received, cut: &self.intake.cut, copies: &[] };
        while let Some(socket) = self.queue.busy(0) {
            let run = self.queue.run(socket, true).expect("a busy socket has a run");
            let mut slices = [std::io::IoSlice::new(&[]); MAX_SLICES];
            let used = self.queue.gather(run, &arenas, &mut slices);
            let sent: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.iter().copied()).collect();
            let vni = self.intake.table.tunnel(self.ports[socket].0).expect("tunnels stay").vni;
            let header = super::Header { vni }.emit();
            let items: Vec<u8> = self
                .queue
                .items(run)
                .flat_map(|item| [&header, &arenas.of(item.arena)[item.bytes()]].concat())
                .collect();
            assert!(sent == items, "a run of {} differs from its frames", run.count);
            self.queue.pop(socket, run);
        }
    }
}

/// A part of a super-frame is a whole packet of the network's MTU.
fn check_part(frame: &[u8], mtu: usize) {
    let layout = Layout::of(frame).expect("a part holds a whole packet");
    assert!(layout.transport.is_some() && layout.end == frame.len() && layout.end - layout.network <= mtu);
    if frame[layout.network] >> 4 == 4 {
        let header_len = usize::from(frame[layout.network] & 15) * 4;
        assert!(header_len >= ipv4::HEADER_LEN);
        let header = &frame[layout.network..][..header_len];
        assert_eq!(Sum::default().add(header).fold(), 0xffff);
    }
}

#[cfg(test)]
mod tests;

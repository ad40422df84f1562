//! Frames of which something is left to be done, on their way through the loop: super-frames of up to 64 KiB, and frames
//! with partial checksums.
//!
//! They go from guest to guest as they are, as one record, if the receiver takes them. Where it does not, they are
//! finished here, and from then on they are frames like any other. So are those that are not for one rank alone: the
//! switch reads some of them itself.

use std::ops::Range;

use mvpnet_qemu_driver::links::PREFIX_LEN;
use mvpnet_switch::{DropReason, Flood, Ingress, Instant, MacAddr, OFFLOAD_LEN, Offload, PortId, Verdict};
use mvpnet_transports::{RecordKind, Transport};

use super::core::drop_reason;
use super::from_guest::Run;
use super::guest_port::Admission;
use super::share::Share;
use super::{Event, RankLoop};
use crate::capture::{Direction, Port};

impl<T: Transport> RankLoop<T> {
    /// Decides on an unfinished frame of the guest.
    pub(super) fn take_unfinished(&mut self, now: Instant, record: Range<usize>) {
        let (header, frame) = parts(&self.draft.bytes()[record.clone()]);
        let frame_len = frame.len();
        let Ok(Some(offload)) = Offload::read(header, frame) else {
            return self.core.switch.refuse(Ingress::Guest, DropReason::BadOffload, frame_len);
        };
        if !is_for_one(frame) {
            return self.finish_from_guest(now, &offload, record);
        }
        let longest = offload.longest_frame(frame_len);
        let verdict = self.core.switch.decide_super(now, Ingress::Guest, frame, frame_len, longest);
        self.core.capture_unfinished(Port::Guest, Direction::Inbound, &offload, frame, verdict.drop_reason());
        match (&mut self.open, verdict) {
            (Some(run), Verdict::Forward(to)) if run.takes(to, &record) => run.extend(&record, frame_len),
            (_, Verdict::Forward(to @ (PortId::Peer(_) | PortId::Tunnel(_)))) => {
                self.begin_run(now, Run::of(to, record, frame_len));
            }
            (_, Verdict::Flood(flood)) => self.flood_unfinished(flood, &offload, record),
            _ => self.act_on(now, record, verdict),
        }
    }

    /// Finishes a frame of the guest, and decides on what comes of it.
    fn finish_from_guest(&mut self, now: Instant, offload: &Offload, record: Range<usize>) {
        let Self { core, guest, draft, mailbox, finisher, .. } = self;
        let (_, frame) = parts(&draft.bytes()[record]);
        let finished = finisher.finish(offload, frame, |frame| {
            let verdict = core.switch.decide(now, Ingress::Guest, frame, frame.len());
            core.capture_inbound(Port::Guest, frame, &verdict);
            match verdict {
                Verdict::Flood(flood) => core.flood_to_children(flood, frame),
                Verdict::Forward(to @ (PortId::Peer(_) | PortId::Tunnel(_))) => {
                    let peer = core.peer(to);
                    let sent = core.transport.send(peer, RecordKind::Unicast, core.transport.me(), frame);
                    core.account(to, frame, sent.err().map(|error| drop_reason(&error)));
                }
                Verdict::Reply(_) => {
                    if let Some(guest) = guest {
                        guest.push_reply(core, now);
                    }
                }
                Verdict::Control(control) => {
                    Event::of(control).into_iter().for_each(|event| mailbox.tell(event))
                }
                Verdict::Forward(PortId::Guest) | Verdict::Drop(_) => {}
            }
        });
        if finished.is_err() {
            core.switch.refuse(Ingress::Guest, DropReason::BadOffload, frame.len());
        }
    }

    /// Floods an unfinished frame whose destination nobody has been seen to have: finished, to each child. In the books
    /// it is one frame.
    fn flood_unfinished(&mut self, flood: Flood, offload: &Offload, record: Range<usize>) {
        let Self { core, draft, finisher, .. } = self;
        let (_, frame) = parts(&draft.bytes()[record]);
        for child in flood.children() {
            let mut lost = None;
            let finished = finisher.finish(offload, frame, |frame| {
                let sent = core.transport.send(child, RecordKind::Flood, flood.root, frame);
                lost = lost.or(sent.err().map(|error| drop_reason(&error)));
            });
            let lost = finished.err().map(DropReason::from).or(lost);
            core.account_unfinished(PortId::Peer(child), offload, frame, lost);
        }
    }

    /// Decides on an unfinished frame of a peer, the record at `place` of `bytes`.
    pub(super) fn take_unfinished_from(
        &mut self,
        now: Instant,
        ingress: Ingress,
        bytes: &[u8],
        place: Range<usize>,
        admission: Admission,
        share: &mut Share,
    ) {
        let (header, frame) = parts(&bytes[place.clone()]);
        let Ok(Some(offload)) = Offload::read(header, frame) else {
            return self.core.switch.refuse(ingress, DropReason::BadOffload, frame.len());
        };
        let guest_takes = self.guest.as_ref().is_some_and(|guest| guest.link.takes(&offload));
        if (guest_takes && !share.is_copied && admission == Admission::Room) || admission.is_loss() {
            let longest = offload.longest_frame(frame.len());
            let verdict = self.core.switch.decide_super(now, ingress, frame, frame.len(), longest);
            let (port, into) = (Port::Transport, Direction::Inbound);
            self.core.capture_unfinished(port, into, &offload, frame, verdict.drop_reason());
            if verdict == Verdict::Forward(PortId::Guest) {
                self.give_unfinished(&offload, frame, admission, || share.add_unfinished(place));
            }
            return;
        }
        if admission == Admission::Room
            && let Some(guest) = &mut self.guest
        {
            guest.copy_share(now, bytes, share);
        }
        let mut finisher = std::mem::take(&mut self.finisher);
        let finished = finisher.finish(&offload, frame, |frame| {
            let verdict = self.core.switch.decide(now, ingress, frame, frame.len());
            self.core.capture_inbound(Port::Transport, frame, &verdict);
            if self.is_for_guest(now, ingress, frame, verdict, admission)
                && let Some(guest) = &mut self.guest
            {
                guest.push_frame(now, frame, false);
            }
        });
        if finished.is_err() {
            self.core.switch.refuse(ingress, DropReason::BadOffload, frame.len());
        }
        self.finisher = finisher;
    }
}

impl<T: Transport> RankLoop<T> {
    /// Gives the guest an unfinished frame as it is, or loses it.
    fn give_unfinished(&mut self, offload: &Offload, frame: &[u8], admission: Admission, add: impl FnOnce()) {
        let lost = match admission {
            Admission::Room | Admission::ByLinks => {
                add();
                return self.core.capture_unfinished(Port::Guest, Direction::Outbound, offload, frame, None);
            }
            Admission::Absent => self.absence(),
            Admission::Slow | Admission::Wait => DropReason::QueueFull,
        };
        self.core.account_unfinished(PortId::Guest, offload, frame, Some(lost));
    }
}

/// The header and the frame of an unfinished record, which has both.
fn parts(record: &[u8]) -> (&[u8; OFFLOAD_LEN], &[u8]) {
    record[PREFIX_LEN..].split_first_chunk().expect("the record was read as one with a header")
}

/// Whether a frame is for one receiver, which is not the switch.
fn is_for_one(frame: &[u8]) -> bool {
    let destination = frame.first_chunk().map(|octets| MacAddr::new(*octets));
    destination.is_some_and(|destination| !destination.is_multicast() && destination != MacAddr::SWITCH)
}

//! Sending what is queued.

use std::io::IoSlice;

use mvpnet_switch::DropReason;

use super::super::header::HEADER_LEN;
use super::super::outgoing::{Arenas, MAX_SLICES, Queue, Run};
use super::super::socket::Trouble;
use super::super::table::TunnelId;
use super::Vtep;
use super::routes::Route;
use super::stats::VtepStats;

/// What becomes of copies that the kernel has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vxlan) enum WhenFull {
    /// They are dropped.
    Drop,
    /// They stay queued. Only for copies that were [sent](Vtep::send): others are gone with the next receive.
    Keep,
}

/// What became of a run.
enum Sent {
    /// It is settled: all copies were sent, or dropped for this reason.
    Settled(Result<(), DropReason>),
    /// More is known about the way than before: it is to be planned again.
    Replan,
    /// It stays.
    Later,
}

impl Vtep {
    /// [`Vtep::flush`], with a choice.
    pub(in crate::vxlan) fn flush_as(
        &mut self,
        when_full: WhenFull,
        mut outcome: impl FnMut(TunnelId, &[u8], Result<(), DropReason>),
    ) {
        let Vtep { queue, routes, intake, received, copies, stats, .. } = self;
        let arenas = Arenas { received, cut: &intake.cut, copies };
        let mut number = 0;
        while let Some(socket) = queue.busy(number) {
            let Some((route, sender)) = routes.of_sender(socket) else {
                // A way is closed only when nothing waits for it.
                debug_assert!(false, "sender {socket} has no route");
                return;
            };
            let Some(mut run) = queue.run(socket, route.segments) else { continue };
            if run.datagram_len - HEADER_LEN > route.longest {
                // A shorter one behind it may fit.
                run = queue.run(socket, false).unwrap_or(run);
            }
            let sent = send(queue, run, route, sender, &arenas, stats);
            let result = match sent {
                Sent::Settled(result) => result,
                Sent::Replan => continue,
                Sent::Later if when_full == WhenFull::Keep => {
                    number += 1;
                    continue;
                }
                Sent::Later => Err(DropReason::QueueFull),
            };
            for item in queue.items(run) {
                count(stats, result, item.len);
                outcome(item.tunnel, &arenas.of(item.arena)[item.bytes()], result);
            }
            queue.pop(socket, run);
        }
        if queue.is_empty() {
            copies.clear();
        }
    }

    /// Bytes that wait to be sent, and were not received here.
    pub(in crate::vxlan) fn waiting(&self) -> usize {
        if self.queue.is_empty() { 0 } else { self.copies.len() }
    }
}

fn count(stats: &mut VtepStats, result: Result<(), DropReason>, len: u32) {
    match result {
        Ok(()) => {
            stats.frames_sent += 1;
            stats.bytes_sent += u64::from(len);
        }
        Err(DropReason::QueueFull) => stats.dropped_full += 1,
        Err(DropReason::TooLong) => stats.dropped_too_long += 1,
        Err(_) => stats.dropped_no_route += 1,
    }
}

/// Sends one run.
fn send(
    queue: &Queue,
    run: Run,
    route: &mut Route,
    sender: usize,
    arenas: &Arenas<'_>,
    stats: &mut VtepStats,
) -> Sent {
    let fits = |route: &Route| run.datagram_len - HEADER_LEN <= route.longest;
    // What is known about a path is forgotten by the kernel after some time (ip-sysctl: mtu_expires).
    let fits = fits(route) || (route.learn(stats) && fits(route));
    if !fits {
        return Sent::Settled(Err(DropReason::TooLong));
    }
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let used = queue.gather(run, arenas, &mut slices);
    // Runs are shorter than 64 KiB.
    let segment = (run.count > 1).then_some(run.datagram_len as u16);
    stats.send_calls += 1;
    match route.senders[sender].send(&slices[..used], segment) {
        Ok(()) => Sent::Settled(Ok(())),
        Err(Trouble::Full) => Sent::Later,
        Err(Trouble::NoRoute) => Sent::Settled(Err(DropReason::PeerGone)),
        Err(Trouble::TooLong | Trouble::NoSegments) if route.learn(stats) => Sent::Replan,
        Err(Trouble::TooLong | Trouble::NoSegments) if segment.is_some() => {
            route.segments = false;
            Sent::Replan
        }
        Err(Trouble::TooLong | Trouble::NoSegments) => Sent::Settled(Err(DropReason::TooLong)),
    }
}

//! What the MPI library alone streams from rank 0 to rank 1: messages of 64 KiB, a window of them under way.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::ffi::{MESSAGE, Mpi, Slot, Tag};
use crate::wall::now;

/// Messages under way at once: as many bytes as the transport lets be on the way to a peer.
const WINDOW: usize = 16;
/// Not measured at the beginning.
const WARMUP: Duration = Duration::from_millis(300);

/// Streams for so long; rank 1 prints what it received, one line of JSON.
pub(super) fn run(seconds: Duration) -> anyhow::Result<()> {
    let mpi = Mpi::init()?;
    let (rank, size) = (mpi.rank()?, mpi.size()?);
    ensure!(size == 2, "needs two ranks, has {size}; was it built for another MPI than this mpirun's?");
    let slots: Vec<Slot<'_>> = (0..WINDOW).map(|_| mpi.slot(1 - rank)).collect();
    if rank == 0 {
        send(slots, WARMUP + seconds)?
    } else {
        receive(slots, seconds)?
    }
    mpi.finalize()
}

fn send(mut slots: Vec<Slot<'_>>, span: Duration) -> anyhow::Result<()> {
    let start = now();
    while start.elapsed() < span {
        turn(&mut slots, |slot, _| slot.send(MESSAGE, Tag::Bytes))?;
    }
    // One for each receive that the peer has posted.
    let mut last = 0;
    while last < WINDOW || slots.iter().any(Slot::is_active) {
        turn(&mut slots, |slot, _| {
            if last < WINDOW {
                last += 1;
                slot.send(0, Tag::Closed)?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn receive(mut slots: Vec<Slot<'_>>, span: Duration) -> anyhow::Result<()> {
    for slot in &mut slots {
        slot.receive()?;
    }
    let (mut first, mut window, mut octets) = (None, None, 0_u64);
    while slots.iter().any(Slot::is_active) {
        turn(&mut slots, |slot, arrived| {
            let Some((Tag::Bytes, len)) = arrived else { return Ok(()) };
            let start = *first.get_or_insert_with(now);
            if start.elapsed() >= WARMUP {
                let opened = *window.get_or_insert_with(now);
                octets += if opened.elapsed() < span { len as u64 } else { 0 };
            }
            slot.receive()
        })?;
    }
    println!("{}", json!({"bits_per_second": octets as f64 * 8.0 / span.as_secs_f64()}));
    Ok(())
}

/// Looks at every slot once; those that are free go to `act` with what has arrived in them.
fn turn(
    slots: &mut [Slot<'_>],
    mut act: impl FnMut(&mut Slot<'_>, Option<(Tag, usize)>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut worked = false;
    for slot in slots {
        let was_active = slot.is_active();
        let arrived = slot.test()?;
        if !slot.is_active() {
            act(slot, arrived.filter(|_| was_active))?;
            worked |= was_active || slot.is_active();
        }
    }
    if !worked {
        std::thread::yield_now();
    }
    Ok(())
}

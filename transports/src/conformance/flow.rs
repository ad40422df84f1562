//! Checks of flow control: bounds hold, credits come back, nobody is held up by another.

use super::Rings;
use super::party::Party;
use crate::batch::LARGE_ROOM;
use crate::{RecordKind, SendError};

/// Length of the frames that fill a window.
const FRAME: usize = 1514;

pub(super) fn many_to_one(party: &mut Party<'_>) -> Result<(), String> {
    let (me, zero) = (party.me(), party.rank(0));
    let frames = 3000;
    if me != zero {
        let frame = party.frame(me.index(), FRAME);
        for _ in 0..frames {
            party.send(zero, RecordKind::Unicast, me, &frame)?;
        }
        return Ok(());
    }
    let mut counts = vec![0; party.size() as usize];
    for _ in 0..frames * (party.size() as usize - 1) {
        let arrival = party.next_arrival()?;
        if !party.is_frame(&arrival.frame, arrival.from.index(), FRAME) {
            return Err(format!("a frame of rank {} changed", arrival.from));
        }
        counts[arrival.from.index() as usize] += 1;
    }
    if counts[1..].iter().all(|count| *count == frames) {
        Ok(())
    } else {
        Err(format!("{counts:?} frames came"))
    }
}

/// Sends frames until the peer's queue is full, without ever waiting for it. Returns how many were taken.
fn fill(party: &mut Party<'_>, to: mvpnet_switch::Rank) -> Result<u32, String> {
    let me = party.me();
    let mut taken = 0;
    let mut refusals = 0;
    // One refusal may be for want of a call to progress; a series is not.
    while refusals < 20 {
        let frame = party.frame(taken, FRAME);
        match party.transport.send(to, RecordKind::Unicast, me, &frame) {
            Ok(()) => (taken, refusals) = (taken + 1, 0),
            Err(SendError::Full) => {
                refusals += 1;
                party.pump()?;
                if party.transport.progress().map_err(|error| error.to_string())?.bytes == 0 {
                    return Err("full, but nothing is pending".into());
                }
                // Those in flight need a moment.
                party.sleep("a full window")?;
            }
            Err(error) => return Err(error.to_string()),
        }
        let limits = party.expectations.limits.workable();
        let bound = limits.window as usize + limits.queue + 2 * LARGE_ROOM;
        if taken as usize * FRAME > bound {
            return Err(format!("{taken} frames of {FRAME} bytes were taken, more than {bound} bytes"));
        }
    }
    Ok(taken)
}

/// The first rank fills the window of the last, which holds what it gets; then `meanwhile` happens at the
/// first.
fn against_a_holder(
    party: &mut Party<'_>,
    meanwhile: impl Fn(&mut Party<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let (me, first, last) = (party.me(), party.rank(0), party.rank(party.size() - 1));
    if first == last {
        return Ok(());
    }
    party.holds = me == last;
    party.meet()?;
    if me == first {
        // Nobody will ring: the window stays shut.
        party.expectations.rings = Rings::Perhaps;
        let taken = fill(party, last)?;
        meanwhile(party)?;
        party.send(last, RecordKind::Control, me, &taken.to_be_bytes())?;
        party.flush()?;
    } else if me == last {
        party.until("the sender to be stopped", |party| Ok(!party.control.is_empty()))?;
        let (_, note) = party.control.pop_front().ok_or("no note")?;
        let taken = note.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or("a short note")?;
        let limits = party.expectations.limits.workable();
        let held: usize = party.held.iter().map(|batch| batch.bytes().len()).sum();
        if held > limits.window as usize {
            return Err(format!("{held} bytes came into a window of {}", limits.window));
        }
        party.let_go()?;
        for number in 0..taken {
            let arrival = party.next_arrival()?;
            if arrival.from != first || !party.is_frame(&arrival.frame, number, FRAME) {
                return Err(format!("frame {number} of {taken} changed or is missing"));
            }
        }
    }
    Ok(())
}

pub(super) fn back_pressure(party: &mut Party<'_>) -> Result<(), String> {
    let rings = party.expectations.rings;
    let made = party.transport.stats().buffers_made;
    against_a_holder(party, |_| Ok(()))?;
    party.expectations.rings = rings;
    party.meet()?;
    // Large buffers on the way and waiting, those that are free, and small ones.
    let limits = party.expectations.limits.workable();
    let bound = limits.batches_on_the_way() + 2 * (limits.queue / (crate::BATCH_LEN / 2)) + 200;
    let more = party.transport.stats().buffers_made - made;
    if more > bound as u64 { Err(format!("{more} new buffers, more than {bound}")) } else { Ok(()) }
}

pub(super) fn slow_receiver(party: &mut Party<'_>) -> Result<(), String> {
    if party.size() < 3 {
        return Ok(());
    }
    let rings = party.expectations.rings;
    let frames = 2000;
    let (me, first, second) = (party.me(), party.rank(0), party.rank(1));
    against_a_holder(party, |party| {
        for number in 0..frames {
            let frame = party.frame(number, FRAME);
            party.send(second, RecordKind::Unicast, first, &frame)?;
        }
        // The holder is let go only when the other has everything.
        party.until("the other rank", |party| Ok(party.control.pop_front().is_some()))
    })?;
    party.expectations.rings = rings;
    if me == second {
        for number in 0..frames {
            let arrival = party.next_arrival()?;
            if arrival.from != first || !party.is_frame(&arrival.frame, number, FRAME) {
                return Err(format!("frame {number} of {frames} changed or is missing"));
            }
        }
        party.send(first, RecordKind::Control, me, b"all here")?;
    }
    Ok(())
}

pub(super) fn credit_wakes(party: &mut Party<'_>) -> Result<(), String> {
    let (me, first, last) = (party.me(), party.rank(0), party.rank(party.size() - 1));
    if first == last {
        return Ok(());
    }
    let rounds = 8;
    let frames_per_round =
        2 * (party.expectations.limits.workable().window as usize + party.expectations.limits.queue) / FRAME;
    let mut come = 0;
    for round in 0..rounds {
        if me == first {
            // Sleeps without backstop whenever the queue is full: only a credit wakes it.
            let frame = party.frame(round, FRAME);
            for _ in 0..frames_per_round {
                party.send(last, RecordKind::Unicast, me, &frame)?;
            }
            party.flush()?;
        } else if me == last {
            let wanted = frames_per_round * (round as usize + 1);
            while come < wanted {
                party.holds = true;
                let any = party.pump()?;
                come += party.arrivals.len();
                party.arrivals.clear();
                if come >= wanted {
                    // The last of them came while the round before was let go: there is nothing to sleep for.
                    break;
                }
                if !any && party.held.is_empty() {
                    party.sleep("more frames")?;
                } else if !any {
                    // Everything that was allowed on the way has come: the sender sleeps by now, or soon.
                    party.let_go()?;
                    come += party.arrivals.len();
                    party.arrivals.clear();
                }
            }
            party.let_go()?;
        }
    }
    Ok(())
}

/// Both ends send more than a window takes before either receives: what each consumes later is heard by the
/// other's progress.
pub(super) fn drains_unread(party: &mut Party<'_>) -> Result<(), String> {
    let (me, first, last) = (party.me(), party.rank(0), party.rank(party.size() - 1));
    if first == last {
        return Ok(());
    }
    if me == first {
        let taken = fill_blindly(party, last)?;
        party.send(last, RecordKind::Control, me, &taken.to_be_bytes())?;
        // Only progress from here on: nothing is received until everything is handed over.
        loop {
            if party.transport.progress().map_err(|error| error.to_string())?.bytes == 0 {
                return Ok(());
            }
            party.nap("everything to be handed over")?;
        }
    }
    if me == last {
        party.until("the sender's count", |party| Ok(!party.control.is_empty()))?;
        let (_, note) = party.control.pop_front().ok_or("no note")?;
        let taken = note.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or("a short note")?;
        party.until("all frames", |party| Ok(party.arrivals.len() >= taken as usize))?;
        party.arrivals.clear();
    }
    Ok(())
}

/// Sends until refused, without receiving.
fn fill_blindly(party: &mut Party<'_>, to: mvpnet_switch::Rank) -> Result<u32, String> {
    let (me, frame) = (party.me(), party.frame(0, FRAME));
    let mut taken = 0;
    loop {
        match party.transport.send(to, RecordKind::Unicast, me, &frame) {
            Ok(()) => taken += 1,
            Err(SendError::Full) => return Ok(taken),
            Err(error) => return Err(error.to_string()),
        }
    }
}

pub(super) fn warm_path(party: &mut Party<'_>) -> Result<(), String> {
    let (me, others) = (party.me(), party.others());
    let mut made = 0;
    for round in 0..60 {
        for to in &others {
            let frame = party.frame(round, FRAME);
            party.send(*to, RecordKind::Unicast, me, &frame)?;
        }
        for _ in 0..others.len() {
            party.next_arrival()?;
        }
        if round == 40 {
            made = party.transport.stats().buffers_made;
        }
    }
    let more = party.transport.stats().buffers_made - made;
    // A peer that is a round ahead may have a buffer of ours a little longer.
    if more > others.len() as u64 { Err(format!("{more} buffers were made after 40 rounds")) } else { Ok(()) }
}

//! Checks of sleep: whoever is sent to wakes up. Where rings are sure the suite sleeps without a backstop, so
//! a lost ring ends in the deadline and not in a small delay.

use super::party::Party;
use crate::RecordKind;

pub(super) fn token(party: &mut Party<'_>) -> Result<(), String> {
    let (me, size) = (party.me(), party.size());
    if size == 1 {
        return Ok(());
    }
    let next = party.rank((me.index() + 1) % size);
    for round in 0..2000 / size {
        if me.index() == 0 {
            let token = party.frame(round, 60);
            party.send(next, RecordKind::Unicast, me, &token)?;
        }
        let arrival = party.next_arrival()?;
        if !party.is_frame(&arrival.frame, round, 60) {
            return Err(format!("the token of round {round} changed"));
        }
        if me.index() != 0 {
            party.send(next, RecordKind::Unicast, me, &arrival.frame)?;
            let _pending = party.transport.progress().map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// All ranks send to all others and go to sleep at odd moments.
pub(super) fn races(party: &mut Party<'_>) -> Result<(), String> {
    let (me, others) = (party.me(), party.others());
    let rounds = 1500u32;
    let mut come = 0;
    // A small generator with a fixed seed per rank: the same moments in every run.
    let mut state = 0x9e37_79b9_u32.wrapping_mul(me.index() + 1);
    let mut chance = |of: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % of
    };
    for round in 0..rounds {
        for to in &others {
            let frame = party.frame(round, 14 + chance(200) as usize);
            party.send(*to, RecordKind::Unicast, me, &frame)?;
            if chance(3) == 0 {
                let _pending = party.transport.progress().map_err(|error| error.to_string())?;
            }
        }
        for _ in 0..chance(50) {
            std::hint::spin_loop();
        }
        // Waits for as many frames as it has sent, now and then for all of them.
        let wanted = (round as usize + 1) * others.len();
        if chance(4) == 0 {
            party.until("the others' frames", |party| Ok(come + party.arrivals.len() >= wanted))?;
        }
        come += party.arrivals.len();
        party.arrivals.clear();
    }
    party.until("the last frames", |party| {
        come += party.arrivals.len();
        party.arrivals.clear();
        Ok(come >= rounds as usize * others.len())
    })?;
    if come > rounds as usize * others.len() { Err(format!("{come} frames came")) } else { Ok(()) }
}

pub(super) fn large_messages_to_sleepers(party: &mut Party<'_>) -> Result<(), String> {
    let (me, size) = (party.me(), party.size());
    if size == 1 {
        return Ok(());
    }
    let (to, frames, len) = (party.rank((me.index() + 1) % size), 200, party.longest().min(65000));
    for number in 0..frames {
        // Whoever has received the last one sends the next; all others sleep in between.
        if number % size == me.index() {
            let frame = party.frame(number, len);
            party.send(to, RecordKind::Unicast, me, &frame)?;
            party.flush()?;
        }
        if (number % size + 1) % size == me.index() {
            let arrival = party.next_arrival()?;
            if !party.is_frame(&arrival.frame, number, len) {
                return Err(format!("large frame {number} changed"));
            }
        }
    }
    Ok(())
}

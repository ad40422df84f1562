//! Checks of what arrives: every record once, whole, in order, as what it was sent.

use std::collections::BTreeMap;

use mvpnet_switch::OFFLOAD_LEN;

use super::Medium;
use super::frames::GROUP;
use super::party::Party;
use crate::{BATCH_LEN, MAX_CONTROL_LEN, RECORD_HEADER_LEN, RecordKind, SendError};

/// Frames per pair of ranks.
const FRAMES: u32 = 400;

/// Lengths that frames of a stream have, large and small mixed.
fn length_of(number: u32) -> usize {
    match number % 7 {
        0 => 60,
        1 => 1514,
        2 => 14 + number as usize % 1500,
        3 => 9014,
        4 => 42,
        5 => 590,
        _ => 1514,
    }
}

pub(super) fn all_pairs(party: &mut Party<'_>) -> Result<(), String> {
    let (me, others) = (party.me(), party.others());
    for number in 0..FRAMES {
        for to in &others {
            let frame = party.frame(number, length_of(number));
            party.send(*to, RecordKind::Unicast, me, &frame)?;
        }
        if number % 16 == 0 {
            party.pump()?;
        }
    }
    let mut next = BTreeMap::new();
    for _ in 0..FRAMES as usize * others.len() {
        let arrival = party.next_arrival()?;
        let number = next.entry(arrival.from).or_insert(0);
        if arrival.kind != RecordKind::Unicast || !party.is_frame(&arrival.frame, *number, length_of(*number))
        {
            return Err(format!("frame {number} of rank {} is not what was sent", arrival.from));
        }
        *number += 1;
    }
    party.meet()?;
    nothing_more(party)
}

pub(super) fn every_length(party: &mut Party<'_>) -> Result<(), String> {
    let longest = party.longest();
    // Datagrams carry frames only, and nothing shorter than an Ethernet header is one.
    let shortest = match party.expectations.medium {
        Medium::Reliable => 0,
        Medium::Datagrams { .. } => 14,
    };
    let lengths = || {
        let ends = [longest - 1, longest, 0, 1].into_iter().filter(|len| *len >= shortest);
        (14..=longest.min(65550)).chain(ends)
    };
    let (first, last) = (party.rank(0), party.rank(party.size() - 1));
    if first == last {
        return Ok(());
    }
    if party.me() == first {
        for len in lengths() {
            let frame = party.frame(len as u32, len);
            party.send(last, RecordKind::Unicast, first, &frame)?;
        }
    } else if party.me() == last {
        for len in lengths() {
            let arrival = party.next_arrival()?;
            if !party.is_frame(&arrival.frame, len as u32, len) {
                return Err(format!(
                    "a frame of {len} bytes came as one of {} or changed",
                    arrival.frame.len()
                ));
            }
        }
    }
    party.meet()?;
    nothing_more(party)
}

pub(super) fn runs(party: &mut Party<'_>) -> Result<(), String> {
    let (me, others) = (party.me(), party.others());
    let runs = 40;
    for number in 0..runs {
        let mut run = Vec::new();
        loop {
            let frame = party.frame(number, length_of(number + run.len() as u32));
            if run.len() + RECORD_HEADER_LEN + frame.len() > BATCH_LEN {
                break;
            }
            run.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            run.extend_from_slice(&frame);
        }
        for to in &others {
            party.send_run(*to, &run)?;
            // A single record after a run must not overtake it.
            let marker = party.frame(number | GROUP, 20);
            party.send(*to, RecordKind::Flood, me, &marker)?;
        }
    }
    for from in &others {
        let mut markers = 0;
        while markers < runs {
            party.until("a run", |party| Ok(party.arrivals.iter().any(|arrival| arrival.from == *from)))?;
            let at = party.arrivals.iter().position(|arrival| arrival.from == *from).ok_or("no arrival")?;
            let arrival = party.arrivals.remove(at).ok_or("no arrival")?;
            let is_marker = arrival.kind == RecordKind::Flood;
            let (number, len) =
                if is_marker { (markers | GROUP, 20) } else { (markers, arrival.frame.len()) };
            if !party.is_frame(&arrival.frame, number, len) {
                return Err(format!("a record of run {markers} of rank {from} came out of order or changed"));
            }
            markers += u32::from(is_marker);
        }
    }
    party.meet()?;
    nothing_more(party)
}

pub(super) fn unfinished(party: &mut Party<'_>) -> Result<(), String> {
    let others = party.others();
    let lengths = [60, party.longest(), 0, 1514, party.longest(), 9014];
    for (number, len) in (0..).zip(lengths) {
        let header = [number as u8; OFFLOAD_LEN];
        let mut run = (0x8000_0000 | (OFFLOAD_LEN + len) as u32).to_be_bytes().to_vec();
        run.extend_from_slice(&header);
        run.extend_from_slice(&party.frame(number, len));
        for to in &others {
            party.send_run(*to, &run)?;
            // A finished frame behind it stays finished.
            party.send(*to, RecordKind::Unicast, party.me(), &[])?;
        }
    }
    let mut next = BTreeMap::new();
    for _ in 0..2 * lengths.len() * others.len() {
        let arrival = party.next_arrival()?;
        let count = next.entry(arrival.from).or_insert(0);
        let (number, is_unfinished) = (*count / 2, *count % 2 == 0);
        let (header, len) =
            if is_unfinished { (Some(vec![number as u8; OFFLOAD_LEN]), lengths[number]) } else { (None, 0) };
        if arrival.offload != header || !party.is_frame(&arrival.frame, number as u32, len) {
            return Err(format!("record {count} of rank {} came with {:?}", arrival.from, arrival.offload));
        }
        *count += 1;
    }
    party.meet()?;
    nothing_more(party)
}

pub(super) fn floods(party: &mut Party<'_>) -> Result<(), String> {
    let others = party.others();
    for to in &others {
        for root in party.roots() {
            let frame = party.frame(root.index() | GROUP, 60);
            party.send(*to, RecordKind::Flood, root, &frame)?;
            let frame = party.frame(root.index(), 60);
            party.send(*to, RecordKind::Unicast, root, &frame)?;
        }
    }
    let mut next = BTreeMap::new();
    for _ in 0..2 * others.len() * party.roots().len() {
        let arrival = party.next_arrival()?;
        let count = next.entry(arrival.from).or_insert(0u32);
        let (root, is_flood) = (party.root(arrival.from, *count / 2), *count % 2 == 0);
        let (wanted, number) = if is_flood {
            ((RecordKind::Flood, Some(root)), root | GROUP)
        } else {
            ((RecordKind::Unicast, None), root)
        };
        if (arrival.kind, arrival.root) != wanted || !party.is_frame(&arrival.frame, number, 60) {
            return Err(format!("{wanted:?} of rank {} came as {arrival:?}", arrival.from));
        }
        *count += 1;
    }
    party.meet()?;
    nothing_more(party)
}

pub(super) fn control(party: &mut Party<'_>) -> Result<(), String> {
    let (me, others) = (party.me(), party.others());
    let lengths = [0, 1, 100, MAX_CONTROL_LEN, 7, MAX_CONTROL_LEN - 1, 3000, 3000, 3000];
    for (number, len) in lengths.into_iter().enumerate() {
        for to in &others {
            let payload = party.frame(number as u32, len);
            party.send(*to, RecordKind::Control, me, &payload)?;
        }
    }
    let mut next = BTreeMap::new();
    for _ in 0..lengths.len() * others.len() {
        party.until("a control record", |party| Ok(!party.control.is_empty()))?;
        let (from, payload) = party.control.pop_front().ok_or("no control record")?;
        let number = next.entry(from).or_insert(0);
        if !lengths.get(*number).is_some_and(|len| party.is_frame(&payload, *number as u32, *len)) {
            return Err(format!("control record {number} of rank {from} changed or came out of order"));
        }
        *number += 1;
    }
    Ok(())
}

pub(super) fn refusals(party: &mut Party<'_>) -> Result<(), String> {
    let (me, to) = (party.me(), party.rank((party.me().index() + 1) % party.size()));
    let max = party.transport.max_frame_len();
    let long = vec![0; max + 1];
    let refused = party.transport.send(to, RecordKind::Unicast, me, &long);
    if refused != Err(SendError::TooLong { len: max + 1, max }) {
        return Err(format!("a frame of {} bytes: {refused:?}", max + 1));
    }
    let refused = party.transport.send(to, RecordKind::Control, me, &vec![0; MAX_CONTROL_LEN + 1]);
    if !matches!(refused, Err(SendError::TooLong { .. })) {
        return Err(format!("a control record of {} bytes: {refused:?}", MAX_CONTROL_LEN + 1));
    }
    let larger = mvpnet_switch::World::new(party.size() + 1).map_err(|error| error.to_string())?;
    let stranger = larger.rank(party.size()).map_err(|error| error.to_string())?;
    let refused = party.transport.send(stranger, RecordKind::Unicast, me, &[0; 60]);
    if refused != Err(SendError::PeerGone(stranger)) {
        return Err(format!("a frame to a rank outside the world: {refused:?}"));
    }
    Ok(())
}

pub(super) fn oneself(party: &mut Party<'_>) -> Result<(), String> {
    let me = party.me();
    for number in 0..20 {
        let frame = party.frame(number, length_of(number));
        party.send(me, RecordKind::Unicast, me, &frame)?;
    }
    for number in 0..20 {
        let arrival = party.next_arrival()?;
        if arrival.from != me || !party.is_frame(&arrival.frame, number, length_of(number)) {
            return Err(format!("frame {number} to oneself came as {arrival:?}"));
        }
    }
    party.meet()?;
    nothing_more(party)
}

/// After a meeting: whatever is here now was sent twice or by nobody.
fn nothing_more(party: &mut Party<'_>) -> Result<(), String> {
    party.pump()?;
    match party.arrivals.front() {
        Some(arrival) => {
            Err(format!("one more frame of {} bytes from rank {}", arrival.frame.len(), arrival.from))
        }
        None => party.meet(),
    }
}

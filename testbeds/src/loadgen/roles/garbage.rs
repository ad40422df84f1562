//! Misbehaving: what a broken or hostile guest may put on its link. If a peer is named, it is met before, and pinged
//! afterwards, so that the result says whether the link still works.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RoleError, answer::linger, strays};
use crate::loadgen::{
    frame::{self, BROADCAST, Kind, MAX_FRAME, MIN_FRAME, Message},
    link::{Link, LinkError},
    script::{Garbage, Misdeeds, Target},
    station::{AGAIN, Station},
};

/// Lengths that have broken switches: empty, below a header, over every limit, negative when signed, about to wrap
/// around when 4 is added.
const LENGTHS: [u32; 10] =
    [0, 1, 13, 69_633, 70_000, 1 << 17, 1 << 24, 0x7fff_ffff, 0xffff_fffc, 0xffff_ffff];
/// Above this, a declared length is only declared.
const FOLLOWS: u32 = 1 << 17;
/// How long to wait for a full link, and for the answer at the end.
const WAIT: Duration = Duration::from_secs(3);

/// Does as told, publishes, and stays: the link does not close unless that is the misdeed.
pub fn run(
    station: &mut Station,
    misdeeds: &Misdeeds,
    patience: Duration,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    if let Some(to) = misdeeds.to {
        let missing = station.meet(Target::Rank(to), patience, |_, _, _| ())?;
        if !missing.is_empty() {
            return Err(RoleError::NobodyThere(missing.into_iter().collect(), patience));
        }
    }
    let mut sent = 0;
    let mut result = misbehave(station, misdeeds, &mut sent);
    let silent = matches!(misdeeds.kind, Garbage::Half | Garbage::Cut);
    let mut answered = None;
    if let (Ok(()), Some(to), false) = (&result, misdeeds.to, silent) {
        match ping(station, to) {
            Ok(reply) => answered = Some(reply),
            Err(error) => result = Err(error),
        }
    }
    let closed = match result {
        Ok(()) => false,
        Err(LinkError::Closed) => true,
        Err(error) => return Err(error.into()),
    };
    publish(json!({"sent": sent, "closed": closed, "answered": answered, "strays": strays(station)}));
    let stays = !closed && misdeeds.kind != Garbage::Cut;
    if stays { linger(station, misdeeds.seconds, |_| ()) } else { wait_for_stop(station, misdeeds.seconds) }
}

fn misbehave(station: &mut Station, misdeeds: &Misdeeds, sent: &mut u64) -> Result<(), LinkError> {
    let stream = matches!(station.link, Link::Stream(_));
    let mut random = Random(misdeeds.seed);
    if matches!(misdeeds.kind, Garbage::Half | Garbage::Cut) {
        let whole = framed(true, &sound(station, misdeeds, 1514));
        put(station, &whole[..whole.len() / 2])?;
        *sent = 1;
        if misdeeds.kind == Garbage::Cut {
            station.link.close()?;
        }
        return Ok(());
    }
    let begin = station.now();
    for number in 0..misdeeds.count {
        if station.stop.raised() {
            break;
        }
        if let Some(rate) = misdeeds.rate {
            let due = begin + Duration::from_secs_f64(number as f64 / rate as f64);
            while station.now() < due && !station.stop.raised() {
                let left = due.saturating_sub(station.now());
                station.attend(Some(left))?;
                station.receive(|_, _| ())?;
            }
        }
        let bytes = make(station, misdeeds, number, stream, &mut random);
        put(station, &bytes)?;
        *sent += 1;
    }
    Ok(())
}

/// The bytes of misdeed `number`, as they go onto the link.
fn make(station: &Station, misdeeds: &Misdeeds, number: u64, stream: bool, random: &mut Random) -> Vec<u8> {
    let pick = number as usize;
    let world = station.world.unwrap_or(2);
    let mut frame = sound(station, misdeeds, 60);
    match misdeeds.kind {
        Garbage::Lengths => {
            let length = misdeeds.length.unwrap_or(LENGTHS[pick % LENGTHS.len()]);
            let follows = if length <= FOLLOWS { length as usize } else { 64 };
            frame.resize(misdeeds.bytes.unwrap_or(follows), 0xee);
            let mut bytes = if stream { length.to_be_bytes().to_vec() } else { Vec::new() };
            bytes.extend_from_slice(&frame);
            return bytes;
        }
        Garbage::Runts => frame.truncate(misdeeds.size.unwrap_or(pick % frame::ETHERNET_HEADER)),
        Garbage::Huge => frame = sound(station, misdeeds, misdeeds.size.unwrap_or(64 << 10)),
        Garbage::Broadcast => {
            frame = sound(station, misdeeds, misdeeds.size.unwrap_or(60));
            frame[..6].copy_from_slice(&BROADCAST);
        }
        Garbage::Absent => {
            let ranks = [world, world + 1, 0x00ff_fffd, 0x00ff_ffff, 0x0100_0000, u32::MAX];
            frame[..6].copy_from_slice(&frame::rank_mac(ranks[pick % ranks.len()]));
        }
        Garbage::Forged => {
            let own_destination: [u8; 6] = frame[..6].try_into().expect("six bytes");
            let sources = [
                frame::rank_mac((station.me + 1) % world.max(2)),
                frame::rank_mac(world),
                BROADCAST,
                [0x33, 0x33, 0, 0, 0, 1],
                [0; 6],
                own_destination,
            ];
            frame[6..12].copy_from_slice(&sources[pick % sources.len()]);
        }
        Garbage::Noise => {
            let mut bytes = vec![0; 1 + (random.next() % 2048) as usize];
            bytes.fill_with(|| random.next() as u8);
            return bytes;
        }
        Garbage::Half | Garbage::Cut => {}
    }
    framed(stream, &frame)
}

/// A frame without fault, to the peer or, without one, to the next rank.
fn sound(station: &Station, misdeeds: &Misdeeds, size: usize) -> Vec<u8> {
    let to = misdeeds.to.unwrap_or((station.me + 1) % station.world.unwrap_or(2).max(2));
    // Over the limit of honest frames the rest is filling that no receiver may ever see.
    let mut frame = vec![0; size.clamp(MIN_FRAME, MAX_FRAME)];
    let message = Message { kind: Kind::Data, origin: station.me, seq: 0, stamp: 0 };
    frame::write(&mut frame, frame::rank_mac(to), frame::rank_mac(station.me), message);
    frame.resize(size, 0xee);
    frame
}

fn framed(stream: bool, frame: &[u8]) -> Vec<u8> {
    let mut bytes = if stream { (frame.len() as u32).to_be_bytes().to_vec() } else { Vec::new() };
    bytes.extend_from_slice(frame);
    bytes
}

/// Sends all of it, reading in between, unless there is no room for long.
fn put(station: &mut Station, bytes: &[u8]) -> Result<(), LinkError> {
    let mut gone = 0;
    let end = station.now() + WAIT;
    let mut first = true;
    // An empty datagram is sent by one attempt; an empty rest of a stream needs none.
    while (gone < bytes.len() || first) && !station.stop.raised() && station.now() < end {
        first = false;
        let count = station.link.push_raw(&bytes[gone..])?;
        gone += count;
        if count == 0 && gone < bytes.len() {
            station.receive(|_, _| ())?;
            station.link.wait(&station.stop, true, Some(end.saturating_sub(station.now())))?;
        }
    }
    Ok(())
}

fn ping(station: &mut Station, to: u32) -> Result<bool, LinkError> {
    let end = station.now() + WAIT;
    let mut next = station.now();
    let mut answered = false;
    while !answered && station.now() < end && !station.stop.raised() {
        if station.now() >= next {
            station.say(Target::Rank(to), Kind::Ping, u64::MAX);
            next = station.now() + AGAIN;
        }
        station.attend(Some(next.saturating_sub(station.now())))?;
        station.receive(|reply, _| answered |= reply.kind == Kind::Pong && reply.seq == u64::MAX)?;
    }
    Ok(answered)
}

fn wait_for_stop(station: &mut Station, seconds: Option<Duration>) -> Result<(), RoleError> {
    let end = seconds.map(|seconds| station.now() + seconds);
    while !station.stop.raised() {
        let left = end.map(|end| end.saturating_sub(station.now()));
        if left == Some(Duration::ZERO) {
            break;
        }
        station.link.rest(&station.stop, left)?;
    }
    Ok(())
}

/// xorshift64*: the same bytes for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let mut x = self.0.max(1);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::OwnedFd, unix::net::UnixStream};

    use super::*;
    use crate::loadgen::stop::Stop;

    fn station() -> (Station, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Station::new(Link::stream(OwnedFd::from(ours)), 0, Some(4), Stop::new().unwrap()), theirs)
    }

    fn misdeeds(kind: Garbage) -> Misdeeds {
        Misdeeds {
            kind,
            to: None,
            count: 1,
            rate: None,
            length: None,
            bytes: None,
            size: None,
            seed: 1,
            seconds: None,
        }
    }

    #[test]
    fn declares_the_lengths_it_was_told_to() {
        let (station, _peer) = station();
        let mut told = misdeeds(Garbage::Lengths);
        told.length = Some(0xffff_fffc);
        let bytes = make(&station, &told, 0, true, &mut Random(1));
        assert_eq!(bytes[..4], [0xff, 0xff, 0xff, 0xfc]);
        assert_eq!(bytes.len(), 4 + 64);
        told.length = Some(13);
        assert_eq!(make(&station, &told, 0, true, &mut Random(1)).len(), 4 + 13);
    }

    #[test]
    fn runts_are_shorter_than_a_header_and_huge_frames_are_64_kib() {
        let (station, _peer) = station();
        for number in 0..28 {
            let bytes = make(&station, &misdeeds(Garbage::Runts), number, false, &mut Random(1));
            assert!(bytes.len() < frame::ETHERNET_HEADER);
        }
        let bytes = make(&station, &misdeeds(Garbage::Huge), 0, true, &mut Random(1));
        assert_eq!((bytes.len(), &bytes[..4]), (4 + 65536, &[0, 1, 0, 0][..]));
    }

    #[test]
    fn noise_repeats_with_its_seed() {
        let (station, _peer) = station();
        let noise = |seed| make(&station, &misdeeds(Garbage::Noise), 0, true, &mut Random(seed));
        assert_eq!(noise(7), noise(7));
        assert_ne!(noise(7), noise(8));
    }

    #[test]
    fn half_a_frame_stays_half() {
        let (mut station, peer) = station();
        let mut sent = 0;
        misbehave(&mut station, &misdeeds(Garbage::Cut), &mut sent).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &peer, &mut bytes).unwrap();
        assert_eq!(bytes.len(), (4 + 1514) / 2);
    }
}

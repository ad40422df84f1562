//! What a scenario must not say, wherever it comes from.

use std::time::Duration;

use mvpnet_settings::Advice;
use mvpnet_switch::{RankList, World};
use mvpnet_transports::link::format_duration as show;

use super::suggest::{self, inside};
use super::{Kind, Ranks, Scenario, Targets, Traffic};

/// The largest MTU of the guests' network, as qemu and IPv4 have it.
const LARGEST_MTU: u32 = 65_535;
/// The smallest, which every IPv4 host must accept (RFC 791 §3.2).
const SMALLEST_MTU: u32 = 576;

/// Where something stands in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A key of the scenario itself.
    Key(&'static str),
    /// A key of one of its traffic, counted from 0.
    Traffic(usize, &'static str),
    /// A key of one of its changes, counted from 0.
    Change(usize, &'static str),
}

/// Something that no scenario can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {suggestion}")]
pub struct Invalid {
    /// Where.
    pub place: Place,
    /// What of it, in particular.
    pub(super) word: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub suggestion: String,
}

fn invalid<T>(place: Place, message: String, suggestion: String) -> Result<T, Invalid> {
    Err(Invalid { place, word: None, message, suggestion })
}

impl Scenario {
    /// Whether it can run.
    ///
    /// # Errors
    ///
    /// If it names ranks that it does not have, sends anything after its end, and the like: the first of these.
    pub fn check(&self) -> Result<(), Invalid> {
        let Ok(world) = World::new(self.ranks) else {
            let message = format!("there can be no job of {} ranks", self.ranks);
            return invalid(Place::Key("ranks"), message, format!("write 1 to {}", World::MAX_SIZE));
        };
        if self.duration.is_zero() {
            let suggestion = "write how much simulated time is to pass, like \"10s\"".to_owned();
            return invalid(Place::Key("duration"), "nothing can happen in no time".to_owned(), suggestion);
        }
        if !(SMALLEST_MTU..=LARGEST_MTU).contains(&self.mtu) {
            let message = format!("there is no MTU of {} bytes", self.mtu);
            let suggestion = format!("write {SMALLEST_MTU} to {LARGEST_MTU}; 1500 is usual");
            return invalid(Place::Key("mtu"), message, suggestion);
        }
        self.traffic
            .iter()
            .enumerate()
            .try_for_each(|(index, traffic)| self.check_traffic(world, index, traffic))?;
        (0..self.changes.len()).try_for_each(|index| self.check_change(world, index))
    }

    fn check_traffic(&self, world: World, index: usize, traffic: &Traffic) -> Result<(), Invalid> {
        if let Ranks::Only(list) = &traffic.from {
            check_ranks(world, Place::Traffic(index, "from"), list)?;
        }
        if let Targets::Only(list) = &traffic.to {
            check_ranks(world, Place::Traffic(index, "to"), list)?;
        }
        if !traffic.kind.has_targets() && traffic.to != Targets::All {
            let message = format!("`{}` has no receivers to choose", traffic.kind.name());
            return invalid(Place::Traffic(index, "to"), message, "leave `to` out".to_owned());
        }
        if traffic.from.of(world).iter().all(|from| traffic.to.of(*from, world).is_empty())
            && traffic.kind.has_targets()
        {
            let message = "nobody sends anything to anyone else".to_owned();
            let suggestion = "name another rank in `from` or in `to`".to_owned();
            return invalid(Place::Traffic(index, "to"), message, suggestion);
        }
        if traffic.count == 0 {
            let suggestion = "write how often to send, or leave the traffic out".to_owned();
            return invalid(Place::Traffic(index, "count"), "this sends nothing".to_owned(), suggestion);
        }
        self.check_times(index, traffic)?;
        self.check_len(index, traffic)
    }

    fn check_times(&self, index: usize, traffic: &Traffic) -> Result<(), Invalid> {
        let end = self.duration;
        if traffic.start >= end {
            let message = format!("traffic starts at {}, and all ends at {}", show(traffic.start), show(end));
            let suggestion = "start it earlier, or make `duration` longer".to_owned();
            return invalid(Place::Traffic(index, "start"), message, suggestion);
        }
        if matches!(traffic.kind, Kind::Boot) && traffic.count != 1 {
            let message = "a host boots once".to_owned();
            let suggestion = "leave `count` out; `crash` and `restart` boot it again".to_owned();
            return invalid(Place::Traffic(index, "count"), message, suggestion);
        }
        if traffic.last_at() < end {
            return Ok(());
        }
        // Nanoseconds of time that is left, in steps of `every`, and one at the start.
        let fits = (end - traffic.start).as_nanos().saturating_sub(1) / traffic.every.as_nanos().max(1) + 1;
        let message = match traffic.last_at() {
            Duration::MAX => format!("{} of these never end", traffic.count),
            last => format!(
                "the last of {} is sent at {}, and all ends at {}",
                traffic.count,
                show(last),
                show(end)
            ),
        };
        let suggestion = format!("`count = {fits}` fits; else send more often, or make `duration` longer");
        invalid(Place::Traffic(index, "count"), message, suggestion)
    }

    fn check_len(&self, index: usize, traffic: &Traffic) -> Result<(), Invalid> {
        const IP_AND_UDP_HEADERS: u32 = 28;
        const ETHERNET_HEADER: u32 = 14;
        let (len, least, most) = match traffic.kind {
            Kind::Udp { len } => (len, Kind::LEAST_UDP_LEN, self.mtu - IP_AND_UDP_HEADERS),
            Kind::Frames { len } | Kind::Broadcast { len } => {
                (len, Kind::LEAST_FRAME_LEN, self.mtu + ETHERNET_HEADER)
            }
            Kind::Ping { .. } | Kind::Tcp { .. } | Kind::Boot => return Ok(()),
        };
        if (least..=most).contains(&len) {
            return Ok(());
        }
        let message =
            format!("`{}` of {len} bytes cannot be sent with an MTU of {}", traffic.kind.name(), self.mtu);
        invalid(Place::Traffic(index, "len"), message, format!("write {least} to {most}"))
    }

    fn check_change(&self, world: World, index: usize) -> Result<(), Invalid> {
        let (at, change) = &self.changes[index];
        if *at >= self.duration {
            let message = format!("this happens at {}, and all ends at {}", show(*at), show(self.duration));
            let suggestion = "let it happen earlier, or make `duration` longer".to_owned();
            return invalid(Place::Change(index, "time"), message, suggestion);
        }
        match change.check(world) {
            Ok(()) => Ok(()),
            Err(error) => {
                let Advice { word, message, suggestion } = suggest::for_change(&error, Some(world));
                Err(Invalid { place: Place::Change(index, "change"), word, message, suggestion })
            }
        }
    }
}

fn check_ranks(world: World, place: Place, list: &RankList) -> Result<(), Invalid> {
    match list.outside(world.size()) {
        None => Ok(()),
        Some(rank) => {
            let message = format!("there is no rank {rank}");
            Err(Invalid { place, word: Some(rank.to_string()), message, suggestion: inside(world) })
        }
    }
}

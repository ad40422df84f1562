//! What of all that a bridge counts people are told, and how often: the first of each kind at once, then what came
//! since, once a minute. Pure policy.

use std::collections::BTreeMap;
use std::time::Duration;

use mvpnet_switch::{DropReason, Instant, Vni};
use mvpnet_transports::vxlan::Refusal;

/// How long nothing more is said about the same.
const PAUSE: Duration = Duration::from_secs(60);

/// Lines in a row, whatever they are about, before each has to wait for [`REFILL`].
const BURST: u32 = 20;

/// How long it takes until one more line may be said.
const REFILL: Duration = Duration::from_secs(3);

/// Something that is counted and that people need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Datagrams that the VTEP refused.
    Refused(Refusal),
    /// Nobody is there where frames are sent.
    Unreachable,
    /// Frames that were dropped at a port.
    Dropped(Vni, DropReason),
    /// Datagrams that the kernel had no room for.
    KernelDrops,
}

/// What was said when.
#[derive(Debug, Default)]
pub(super) struct Watch {
    told: BTreeMap<Subject, Told>,
    lines: u32,
    /// Since when `lines` counts.
    refilled: Instant,
    /// When there is something to say that had to wait.
    next: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    count: u64,
}

/// Something to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// How many since it was last said.
    pub(super) new: u64,
    /// Whether it was said before.
    pub(super) again: bool,
}

impl Watch {
    /// Begins a look at everything that is counted.
    pub(super) fn begin(&mut self, now: Instant) {
        self.next = None;
        let refills = now.saturating_since(self.refilled).as_nanos() / REFILL.as_nanos();
        if refills > 0 {
            self.lines = self.lines.saturating_sub(u32::try_from(refills).unwrap_or(u32::MAX));
            self.refilled = now;
        }
    }

    /// Whether it is time to say that there were `count` of them so far.
    pub(super) fn due(&mut self, now: Instant, subject: Subject, count: u64) -> Option<Due> {
        let told = self.told.get(&subject).copied();
        let (said, allowed) = told.map_or((0, now), |told| (told.count, told.at + PAUSE));
        if count <= said {
            return None;
        }
        let allowed = if self.lines < BURST { allowed } else { allowed.max(self.refilled + REFILL) };
        if allowed > now {
            self.next = Some(self.next.map_or(allowed, |next| next.min(allowed)));
            return None;
        }
        self.lines += 1;
        self.told.insert(subject, Told { at: now, count });
        Some(Due { new: count - said, again: told.is_some() })
    }

    /// When to look again although nothing happens; never, if all is said.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Forgets a VNI that is there no more: another one may get its number.
    pub(super) fn forget(&mut self, vni: Vni) {
        self.told.retain(|subject, _| !matches!(subject, Subject::Dropped(other, _) if *other == vni));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn look(watch: &mut Watch, seconds: u64, subject: Subject, count: u64) -> Option<Due> {
        watch.begin(at(seconds));
        watch.due(at(seconds), subject, count)
    }

    #[test]
    fn the_first_is_said_at_once_and_the_others_once_a_minute() {
        let mut watch = Watch::default();
        let subject = Subject::Refused(Refusal::UnknownPeer);
        assert_eq!(look(&mut watch, 10, subject, 1), Some(Due { new: 1, again: false }));
        assert_eq!(watch.next(), None);
        assert_eq!(look(&mut watch, 11, subject, 500), None);
        assert_eq!(watch.next(), Some(at(70)));
        assert_eq!(look(&mut watch, 70, subject, 900), Some(Due { new: 899, again: true }));
        assert_eq!(look(&mut watch, 700, subject, 900), None);
        assert_eq!(watch.next(), None, "there is nothing new");
    }

    #[test]
    fn many_subjects_do_not_make_many_lines() {
        let mut watch = Watch::default();
        let vnis = || (0..100).map(|number| Vni::new(number).unwrap());
        let mut lines_at = |seconds| {
            watch.begin(at(seconds));
            let due = vnis().filter(|vni| {
                watch.due(at(seconds), Subject::Dropped(*vni, DropReason::Oversize), 1).is_some()
            });
            due.count()
        };
        assert_eq!(lines_at(5), 20);
        assert_eq!(lines_at(6), 0);
        assert_eq!(lines_at(8), 1);
        assert_eq!(lines_at(68), 20);
    }

    #[test]
    fn a_vni_that_comes_back_is_told_of_anew() {
        let mut watch = Watch::default();
        let vni = Vni::new(40).unwrap();
        let subject = Subject::Dropped(vni, DropReason::StormLimit);
        assert!(look(&mut watch, 1, subject, 7).is_some());
        watch.forget(vni);
        assert_eq!(look(&mut watch, 2, subject, 1), Some(Due { new: 1, again: false }));
    }
}

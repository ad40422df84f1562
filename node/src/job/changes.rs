//! Changes to a running job, as rank 0 sees them: which are under way, who has not said yet that it has made them,
//! and what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use mvpnet_switch::World;
use mvpnet_transports::link::{Change, ChangeError, Pairs};
use tokio::sync::oneshot;

use super::about::About;
use super::guest::GuestFault;
use super::messages::{ChangeDone, ChangeOrder, GuestCondition};
use super::numbers::Numbers;
use crate::control::{Answer, JobInfo, JobState};

/// How long ranks may take for changes that start no guest.
pub(super) const CHANGE_TIME: Duration = Duration::from_secs(60);

/// All changes of a job.
#[derive(Debug)]
pub(super) struct Changes {
    world: World,
    numbers: Numbers,
    about: About,
    seed: u64,
    next_id: u64,
    under_way: BTreeMap<u64, UnderWay>,
    links: Links,
    guests: BTreeMap<u32, GuestCondition>,
    /// Whether frames pass by the ranks, so that there are no links to be changed.
    has_taps: bool,
}

#[derive(Debug)]
struct UnderWay {
    waiting: BTreeSet<u32>,
    troubles: Vec<String>,
    answer: oneshot::Sender<Answer>,
    /// Dropped with this, which ends the wait for its deadline.
    _until: oneshot::Sender<Infallible>,
}

/// Ends, in an error, when a change is done or given up.
pub(super) type UnderWayUntil = oneshot::Receiver<Infallible>;

/// How links are set: the shortest list of changes that would set them so.
#[derive(Debug, Default)]
struct Links {
    links: Vec<(Pairs, Change)>,
    access: Vec<Change>,
    partition: Option<Change>,
}

impl Changes {
    /// None yet, for this job.
    pub(super) fn new(world: World, numbers: Numbers, about: About) -> Self {
        // Any number will do, as long as it is known which it was.
        let seed = u64::from(std::process::id());
        Self {
            world,
            numbers,
            about,
            seed,
            next_id: 0,
            under_way: BTreeMap::new(),
            links: Links::default(),
            guests: BTreeMap::new(),
            has_taps: false,
        }
    }

    /// How far the job is, for who asks.
    pub(super) fn note(&mut self, state: JobState, hosts: u32) {
        self.about.note(state, hosts);
    }

    /// How many ranks the job has.
    pub(super) fn ranks(&self) -> u32 {
        self.world.size()
    }

    /// For guests whose frames the host's kernel carries.
    pub(super) fn with_taps(self, has_taps: bool) -> Self {
        Self { has_taps, ..self }
    }

    /// Reads changes in words and checks whether this job can have them.
    pub(super) fn check(&self, words: &[String]) -> Result<Vec<Change>, String> {
        let read = |words: &String| {
            let change: Change = words.parse()?;
            change.check(self.numbers.network())?;
            Ok(change)
        };
        let changes: Vec<Change> =
            words.iter().map(read).collect::<Result<_, ChangeError>>().map_err(|error| error.to_string())?;
        if self.has_taps
            && let Some(change) = changes.iter().find(|change| !change.is_about_guests())
        {
            return Err(format!("`{change}` has nothing to break: with --tap the kernel carries the frames"));
        }
        match changes.iter().find(|change| change.is_about_guests() && !self.concerns_us(change)) {
            Some(change) => Err(format!(
                "`{change}` is for another job of this network: the guests here are {} to {}",
                self.numbers.first(),
                self.numbers.shown(self.world.size() - 1)
            )),
            None => Ok(changes),
        }
    }

    /// Whether a change to guests is to any of this job.
    fn concerns_us(&self, change: &Change) -> bool {
        (0..self.world.size()).any(|rank| GuestFault::of(change, self.numbers.shown(rank)).is_some())
    }

    /// Begins some changes; what all ranks have to be told, and what ends when they are over.
    pub(super) fn begin(
        &mut self,
        changes: &[Change],
        answer: oneshot::Sender<Answer>,
    ) -> (ChangeOrder, UnderWayUntil) {
        let id = self.next_id;
        self.next_id += 1;
        let waiting = (0..self.world.size()).collect();
        let (until, over) = oneshot::channel();
        self.under_way.insert(id, UnderWay { waiting, troubles: Vec::new(), answer, _until: until });
        changes.iter().for_each(|change| self.links.apply(change));
        let changes = changes.iter().map(Change::to_string).collect();
        (ChangeOrder { id, seed: self.seed, changes }, over)
    }

    /// A rank has made a change, or cannot.
    pub(super) fn done(&mut self, rank: u32, done: ChangeDone) {
        let shown = self.numbers.shown(rank);
        match done.condition {
            Some(GuestCondition::Runs) => drop(self.guests.remove(&shown)),
            Some(condition) => drop(self.guests.insert(shown, condition)),
            None => {}
        }
        let Some(under_way) = self.under_way.get_mut(&done.id) else { return };
        under_way.waiting.remove(&rank);
        under_way.troubles.extend(done.trouble.map(|trouble| format!("rank {shown}: {trouble}")));
        if under_way.waiting.is_empty()
            && let Some(UnderWay { troubles, answer, .. }) = self.under_way.remove(&done.id)
        {
            let said = if troubles.is_empty() { Answer::Done(self.info()) } else { Answer::Failed(troubles) };
            // Who asked may have given up.
            let _ = answer.send(said);
        }
    }

    /// Ranks that have not answered to a change in time are not waited for any longer.
    pub(super) fn give_up(&mut self, id: u64) {
        let Some(UnderWay { waiting, answer, .. }) = self.under_way.remove(&id) else { return };
        let ranks: Vec<String> = waiting.iter().map(|rank| self.numbers.shown(*rank).to_string()).collect();
        let seconds = CHANGE_TIME.as_secs();
        let _ = answer
            .send(Answer::Failed(vec![format!("no answer within {seconds} s from {}", ranks.join(", "))]));
    }

    /// The job and what is in force.
    pub(super) fn info(&self) -> JobInfo {
        let guests = self.guests.iter().map(|(rank, condition)| match condition {
            GuestCondition::Crashed => format!("crash {rank}"),
            GuestCondition::Paused | GuestCondition::Runs => format!("pause {rank}"),
        });
        JobInfo { seed: self.seed, in_force: self.links.words().chain(guests).collect(), ..self.about.info() }
    }
}

impl Links {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Link(Pairs::All, model) => {
                self.links.clear();
                if !model.is_ideal() {
                    self.links.push((Pairs::All, change.clone()));
                }
            }
            Change::Link(pairs, model) => {
                self.links.retain(|(old, _)| old != pairs);
                // An ideal link is nothing to be said, unless it stands out.
                if !model.is_ideal() || !self.links.is_empty() {
                    self.links.push((pairs.clone(), change.clone()));
                }
            }
            Change::Access(ranks, model) => {
                self.access.retain(|old| !matches!(old, Change::Access(before, _) if before == ranks));
                if !model.is_ideal() || !self.access.is_empty() {
                    self.access.push(change.clone());
                }
            }
            Change::Partition(_) => self.partition = Some(change.clone()),
            Change::Heal => self.partition = None,
            Change::Crash(_) | Change::Restart(_) | Change::Pause(_) | Change::Resume(_) => {}
        }
    }

    fn words(&self) -> impl Iterator<Item = String> {
        let links = self.links.iter().map(|(_, change)| change);
        links.chain(&self.access).chain(&self.partition).map(Change::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Changes {
        let world = World::new(3).unwrap();
        Changes::new(world, Numbers::whole(world), About::default())
    }

    fn begin(changes: &mut Changes, words: &str) -> (u64, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let parsed = changes.check(&[words.to_owned()]).unwrap();
        (changes.begin(&parsed, answer).0.id, answered)
    }

    fn done(id: u64) -> ChangeDone {
        ChangeDone { id, trouble: None, condition: None }
    }

    #[test]
    fn a_change_is_done_when_the_last_rank_has_made_it() {
        let mut changes = changes();
        let (id, mut answered) = begin(&mut changes, "partition 0 | 1,2");
        for rank in [2, 0, 2] {
            changes.done(rank, done(id));
            assert!(answered.try_recv().is_err());
        }
        changes.done(1, done(id));
        let Ok(Answer::Done(job)) = answered.try_recv() else { panic!("it is done") };
        assert_eq!(job.in_force, ["partition 0 | 1,2"]);
        begin(&mut changes, "heal");
        assert_eq!(changes.info().in_force, [""; 0]);
    }

    #[test]
    fn what_one_rank_could_not_do_is_told_with_its_number() {
        let mut changes = changes();
        let (id, mut answered) = begin(&mut changes, "pause 0,1");
        let paused = Some(GuestCondition::Paused);
        changes.done(0, ChangeDone { condition: paused, ..done(id) });
        changes.done(1, ChangeDone { trouble: Some("its guest is off".into()), ..done(id) });
        changes.done(2, done(id));
        assert_eq!(answered.try_recv(), Ok(Answer::Failed(vec!["rank 1: its guest is off".into()])));
        assert_eq!(changes.info().in_force, ["pause 0"]);
        changes.done(0, ChangeDone { condition: Some(GuestCondition::Runs), ..done(9) });
        assert_eq!(changes.info().in_force, [""; 0]);
    }

    #[test]
    fn ranks_that_do_not_answer_are_named() {
        let mut changes = changes();
        let (id, mut answered) = begin(&mut changes, "heal");
        changes.done(1, done(id));
        changes.give_up(id);
        assert_eq!(answered.try_recv(), Ok(Answer::Failed(vec!["no answer within 60 s from 0, 2".into()])));
    }

    #[test]
    fn what_is_in_force_is_said_shortly() {
        let mut changes = changes();
        for words in ["link 0<->1 loss=1%", "link 0<->1 ideal", "access 2 rate=1Mbit/s", "link 1 latency=1ms"]
        {
            begin(&mut changes, words);
        }
        assert_eq!(changes.info().in_force, ["link 1 latency=1ms", "access 2 rate=1Mbit/s"]);
        begin(&mut changes, "link all ideal");
        assert_eq!(changes.info().in_force, ["access 2 rate=1Mbit/s"]);
        let error = changes.check(&["crash 3".into()]).unwrap_err();
        assert!(error.starts_with("rank 3 is outside the world"), "{error}");
    }

    #[test]
    fn guests_of_another_job_in_the_same_network_are_not_for_this_one_to_break() {
        let [two, eight] = [2, 8].map(|size| World::new(size).unwrap());
        let changes = Changes::new(two, Numbers::part(two, eight, 4).unwrap(), About::default());
        assert!(changes.check(&["crash 5".into(), "link 0<->5 loss=1%".into()]).is_ok());
        let error = changes.check(&["crash 1".into()]).unwrap_err();
        assert!(error.ends_with("the guests here are 4 to 5"), "{error}");
    }

    #[test]
    fn links_that_are_the_kernel_s_are_not_said_to_be_broken() {
        let changes = changes().with_taps(true);
        assert!(changes.check(&["crash 1".into()]).is_ok());
        let error = changes.check(&["crash 1".into(), "link all loss=1%".into()]).unwrap_err();
        assert!(error.starts_with("`link all loss=1%` has nothing to break"), "{error}");
    }
}

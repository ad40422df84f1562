//! Agents with real processes: a shell script stands in for the program, and does what the test writes into it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use super::super::protocol::{Condition, Kind, Start, State};
use super::*;
use crate::plan::{SeedFile, Word};

/// What is waited for at most; a host may be loaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `mvpnet bridge` that is up, answers `status`, and ends when it is told to.
const GOOD: &str = r#"
case "$2" in
status) test -s pid && echo "{\"pid\": $(cat pid)}" ;;
*) trap 'echo bye; rm -f pid; exit 0' TERM
   echo "mvpnet: booted 1 of 1, 00:01"
   echo $$ >pid.new; mv pid.new pid
   while :; do sleep 0.05; done ;;
esac"#;

/// A part of a lab, and the script that it is.
struct Part {
    dir: TempDir,
    unit: Unit,
    said: RefCell<Vec<String>>,
}

impl Part {
    fn new(name: &str, script: &str) -> Part {
        let dir = tempfile::tempdir().unwrap();
        let part = Part {
            unit: Unit {
                name: format!("test-{}-{name}", std::process::id()),
                kind: Kind::Bridge,
                called: "test".to_owned(),
            },
            dir,
            said: RefCell::new(Vec::new()),
        };
        part.write(script);
        part
    }

    fn write(&self, script: &str) {
        fs::write(self.script(), format!("cd {}\n{script}\n", self.dir.path().display())).unwrap();
    }

    fn script(&self) -> PathBuf {
        self.dir.path().join("mvpnet")
    }

    fn agent(&self) -> Agent {
        let program = vec!["/bin/sh".to_owned(), self.script().display().to_string()];
        let soon = Duration::from_millis(300);
        Agent {
            times: Times { grace: soon, strays: soon, patience: PATIENCE },
            ..Agent::new(program, self.unit.clone())
        }
    }

    fn request(&self, words: &[&str]) -> Start {
        Start {
            unit: self.unit.clone(),
            words: words.iter().copied().map(Word::plain).collect(),
            files: vec![SeedFile { path: "seed/0/user-data".into(), text: "x".into() }],
            directory: self.dir.path().to_owned(),
        }
    }

    async fn start(&self) -> Result<Message, Failure> {
        let (_caller, gone) = oneshot::channel();
        self.start_for(gone).await
    }

    async fn start_for(&self, gone: oneshot::Receiver<()>) -> Result<Message, Failure> {
        let say = |message: &Message| {
            if let Message::Progress(line) = message {
                self.said.borrow_mut().push(line.clone());
            }
        };
        timeout(PATIENCE, self.agent().start(self.request(&["bridge"]), gone, &say)).await.unwrap()
    }

    async fn stop(&self) -> bool {
        timeout(PATIENCE, self.agent().stop(false)).await.unwrap().unwrap()
    }

    async fn state(&self) -> State {
        self.agent().state().await
    }

    fn processes(&self) -> usize {
        marked(&self.unit.name).len()
    }

    fn is_gone(&self) -> bool {
        self.processes() == 0 && !self.agent().dir.exists()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        for process in marked(&self.unit.name) {
            process.signal(Signal::SIGKILL).unwrap();
        }
        let _ = fs::remove_dir_all(self.agent().dir.path());
    }
}

/// Waits for what another process does.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let holds = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while !holds() {
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn what_is_started_stays_until_it_is_stopped_and_nothing_is_left() {
    let part = Part::new("stays", GOOD);
    assert_eq!(part.state().await.condition, Condition::Absent);
    let Ok(Message::Started(state)) = part.start().await else { panic!("not started") };
    let process = state.process.unwrap();
    assert_eq!(state.details["pid"], process);
    assert_eq!(*part.said.borrow(), ["mvpnet: booted 1 of 1, 00:01"]);
    assert!(part.agent().dir.path().join("seed/0/user-data").exists());
    let seen = part.state().await;
    assert_eq!((seen.condition, seen.process), (Condition::Up, Some(process)));
    assert!(part.stop().await && part.is_gone());
    assert!(!part.stop().await, "there was nothing any more");
}

#[tokio::test]
async fn what_runs_already_is_left_alone() {
    let part = Part::new("already", GOOD);
    let Ok(Message::Started(first)) = part.start().await else { panic!("not started") };
    let Ok(Message::Already(second)) = part.start().await else { panic!("not left alone") };
    assert_eq!(first.process, second.process);
    let (_caller, gone) = oneshot::channel();
    let other = part.agent().start(part.request(&["bridge", "--vni", "7"]), gone, &|_| {}).await;
    assert!(other.unwrap_err().why.contains("with other settings than the file's"));
    part.stop().await;
}

#[tokio::test]
async fn a_program_that_fails_is_told_of_with_its_last_lines() {
    let part = Part::new("fails", "test \"$2\" = status || echo 'the port is taken' >&2; exit 3");
    let failure = part.start().await.unwrap_err();
    assert_eq!(failure.why, "`mvpnet bridge` ended with exit code 3");
    assert_eq!(failure.lines, ["the port is taken"]);
    assert!(part.is_gone());
}

#[tokio::test]
async fn who_goes_before_it_is_up_leaves_nothing_behind() {
    let part = Part::new("unwanted", "test \"$2\" = status && exit 1; touch begun; exec sleep 1000");
    let (caller, gone) = oneshot::channel();
    let begun = part.dir.path().join("begun");
    let goes = async {
        until("it begins", || begun.exists()).await;
        drop(caller);
    };
    let (outcome, ()) = tokio::join!(part.start_for(gone), goes);
    assert_eq!(outcome.unwrap_err().why, "given up before it was up");
    assert!(part.is_gone());
}

#[tokio::test]
async fn a_crash_shows_and_what_it_leaves_is_removed() {
    let part = Part::new("crash", GOOD);
    let Ok(Message::Started(state)) = part.start().await else { panic!("not started") };
    kill(state.process.unwrap());
    until("it is gone", || part.processes() == 0).await;
    let seen = part.state().await;
    assert_eq!(seen.condition, Condition::Ended);
    assert!(seen.lines.iter().any(|line| line.contains("booted 1 of 1")));
    assert!(part.stop().await && part.is_gone());
}

#[tokio::test]
async fn what_a_dead_program_left_is_found_whatever_its_parent_is() {
    let script = GOOD.replace("echo $$", "(setsid sleep 1000 </dev/null &); echo $$");
    let part = Part::new("strays", &script);
    let Ok(Message::Started(state)) = part.start().await else { panic!("not started") };
    until("the stray is there", || marked(&part.unit.name).iter().any(|one| one.words == ["sleep", "1000"]))
        .await;
    kill(state.process.unwrap());
    until("it is gone", || part.agent().processes().0.is_none()).await;
    until("but for the stray", || part.processes() == 1).await;
    assert_eq!(part.state().await.strays.len(), 1);
    // A keeper would go by itself; this one is killed after a while.
    assert!(part.stop().await && part.is_gone());
}

#[tokio::test]
async fn what_was_started_by_an_agent_that_died_is_taken_over() {
    let part = Part::new("joined", GOOD);
    let agent = part.agent();
    // As an agent leaves it that dies while it waits.
    let locked = agent.dir.lock().unwrap().unwrap();
    let log = locked.fill(&[]).unwrap();
    let mut child = agent.spawn(&part.request(&["bridge"]), &["bridge".to_owned()], log).unwrap();
    drop(locked);
    let process = child.id();
    let Ok(Message::Already(state)) = part.start().await else { panic!("not taken over") };
    assert_eq!(state.process, process);
    let (stopped, status) = tokio::join!(part.stop(), child.wait());
    assert!(stopped && status.unwrap().success() && part.is_gone());
}

#[tokio::test]
async fn two_agents_never_work_on_one_part() {
    let part = Part::new("busy", GOOD);
    let locked = part.agent().dir.lock().unwrap().unwrap();
    let failure = part.start().await.unwrap_err();
    assert!(failure.why.starts_with("another `mvpnet lab` is at work"), "{}", failure.why);
    assert_eq!(part.state().await.condition, Condition::Starting);
    locked.remove().unwrap();
}

#[tokio::test]
async fn one_who_ignores_the_request_is_killed_after_a_while_or_by_force_at_once() {
    let part =
        Part::new("stubborn", &GOOD.replace("trap 'echo bye; rm -f pid; exit 0' TERM", "trap '' TERM"));
    for force in [false, true] {
        assert!(matches!(part.start().await, Ok(Message::Started(_))));
        let mut agent = part.agent();
        if force {
            agent.times.grace = PATIENCE;
        }
        assert!(timeout(PATIENCE, agent.stop(force)).await.unwrap().unwrap());
        assert!(part.is_gone());
    }
}

#[test]
fn homes_and_run_directories_are_those_of_the_host() {
    let part = Part::new("words", "");
    let mut start = part.request(&["bridge"]);
    start.words.push(Word::in_run_dir("0:", "seed/0"));
    let words = part.agent().resolved(&start);
    assert_eq!(words[1], format!("0:{}/seed/0", part.agent().dir.path().display()));
    assert!(Path::new(words[1].strip_prefix("0:").unwrap()).is_absolute());
}

fn kill(process: u32) {
    assert!(Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap().success());
}

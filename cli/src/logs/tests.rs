//! The log as a whole: real events in, files out.

use std::fs;
use std::io::Write;

use super::*;

/// A standard error that can be read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs in a directory of their own.
struct Logs {
    dir: tempfile::TempDir,
    stderr: Shared,
    guard: LogGuard,
    dispatch: tracing::Dispatch,
}

fn log(rank: u32) -> RankLog {
    RankLog {
        rank,
        job: Some("j".to_owned()),
        dir: PathBuf::new(),
        to_file: true,
        level: Level::Warn,
        filter: LogFilter::default(),
        buffer_bytes: 4096,
    }
}

fn logs(ranks: &[RankLog], stderr: Level) -> Logs {
    let dir = tempfile::tempdir().unwrap();
    let ranks: Vec<_> =
        ranks.iter().map(|log| RankLog { dir: dir.path().join("made/here"), ..log.clone() }).collect();
    let out = Shared::default();
    let copy = Stderr { level: stderr, out: Mutex::new(Box::new(out.clone())), before: "" };
    let (subscriber, guard) = build(&ranks, copy).unwrap();
    Logs { dir, stderr: out, guard, dispatch: tracing::Dispatch::new(subscriber) }
}

impl Logs {
    fn during(&self, events: impl FnOnce()) {
        tracing::dispatcher::with_default(&self.dispatch, events);
    }

    /// The lines of a file without their times.
    fn file(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("made/here").join(name)).unwrap();
        untimed(&text)
    }

    fn stderr(&self) -> Vec<String> {
        untimed(&String::from_utf8(self.stderr.0.lock().unwrap().clone()).unwrap())
    }
}

fn untimed(text: &str) -> Vec<String> {
    let cut = |line: &str| match line.split_once("Z ") {
        Some((time, rest)) if time.len() == "2026-01-01T00:00:00.000000".len() => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(cut).collect()
}

#[test]
fn each_rank_of_a_process_has_its_own_file() {
    let logs = logs(&[log(0), log(3)], Level::Off);
    logs.during(|| {
        tracing::warn!("nobody's");
        tracing::info_span!("rank", rank = 3).in_scope(|| {
            tracing::warn!(frames = 7, name = "n0003", "slow");
            tracing::info_span!("peer", rank = %0).in_scope(|| tracing::warn!("inner"));
            tracing::info!("too quiet for the file");
        });
    });
    let module = "mvpnet_cli::logs::tests";
    assert_eq!(
        logs.file("mvpnet.j.0.log"),
        [format!("WARN  rank 0 {module}: nobody's"), format!("WARN  rank 0 {module}: inner")]
    );
    assert_eq!(logs.file("mvpnet.j.3.log"), [format!("WARN  rank 3 {module}: slow frames=7 name=\"n0003\"")]);
}

#[test]
fn stderr_takes_its_own_level_and_a_filter_can_only_silence_it() {
    let quiet = RankLog { filter: "mvpnet_cli::logs=CRIT".parse().unwrap(), ..log(0) };
    let logs = logs(&[quiet, log(1)], Level::Info);
    let both = || {
        tracing::info!(severity = "note", "a note");
        tracing::debug!("nothing");
        tracing::error!(severity = "crit", "grave");
    };
    logs.during(|| tracing::info_span!("rank", rank = 0).in_scope(both));
    assert_eq!(logs.stderr(), ["CRIT  rank 0 mvpnet_cli::logs::tests: grave"]);
    logs.during(|| tracing::info_span!("rank", rank = 1).in_scope(both));
    assert_eq!(
        logs.stderr()[1..],
        ["NOTE  rank 1 mvpnet_cli::logs::tests: a note", "CRIT  rank 1 mvpnet_cli::logs::tests: grave"]
    );
}

#[test]
fn a_filter_brings_one_subsystem_to_the_file() {
    let chatty = RankLog { filter: "switch=DBG".parse().unwrap(), level: Level::Crit, ..log(0) };
    let logs = logs(&[chatty], Level::Off);
    logs.during(|| {
        tracing::debug!(target: "mvpnet_switch::fdb", "learned");
        tracing::trace!(target: "mvpnet_switch::fdb", "too fine");
        tracing::error!(target: "mvpnet_node", "not CRIT");
    });
    assert_eq!(logs.file("mvpnet.j.0.log"), ["DBG   rank 0 mvpnet_switch::fdb: learned"]);
}

#[test]
fn a_crash_writes_what_was_kept_in_memory_once() {
    let no_file = RankLog { to_file: false, job: None, ..log(2) };
    let logs = logs(&[no_file], Level::Off);
    logs.during(|| tracing::debug!("the cause"));
    let files = logs.guard.crash(Some(2), "fell over");
    assert_eq!(files, [logs.dir.path().join("made/here/mvpnet.2.crash.log")]);
    let lines = logs.file("mvpnet.2.crash.log");
    assert!(lines[0].starts_with("---- rank 2, the last ") && lines[0].ends_with(": fell over"), "{lines:?}");
    assert_eq!(lines[1..], ["DBG   rank 2 mvpnet_cli::logs::tests: the cause", "---- end"]);
    assert!(logs.guard.crash(None, "again").is_empty());
}

#[test]
fn with_a_log_file_the_crash_stands_in_it() {
    let logs = logs(&[log(0)], Level::Off);
    logs.during(|| tracing::debug!("the cause"));
    assert!(logs.file("mvpnet.j.0.log").is_empty());
    let _ = logs.guard.crash(None, "fell over");
    assert!(logs.file("mvpnet.j.0.log").iter().any(|line| line.ends_with(": the cause")));
}

#[test]
fn what_a_guest_says_stays_one_harmless_line() {
    let logs = logs(&[log(0)], Level::Off);
    logs.during(|| {
        tracing::warn!("console: a\n2026-01-01T00:00:00.000000Z CRIT  forged\x1b[2J");
        tracing::warn!("{}", "ä".repeat(layer::MAX_LINE));
    });
    let text = fs::read_to_string(logs.dir.path().join("made/here/mvpnet.j.0.log")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[1], "\t2026-01-01T00:00:00.000000Z CRIT  forged\\u{1b}[2J");
    assert!(lines[2].ends_with('…') && lines[2].len() < layer::MAX_LINE);
    assert_eq!(lines.len(), 3);
}

#[test]
fn threads_do_not_mix_their_lines() {
    let logs = logs(&[log(0)], Level::Off);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let dispatch = logs.dispatch.clone();
            scope.spawn(move || {
                tracing::dispatcher::with_default(&dispatch, || {
                    for _ in 0..200 {
                        tracing::warn!("{}", format!("{thread}").repeat(300));
                    }
                });
            });
        }
    });
    let lines = logs.file("mvpnet.j.0.log");
    assert_eq!(lines.len(), 800);
    for line in lines {
        let said = line.rsplit(' ').next().unwrap();
        assert!(said.len() == 300 && said.chars().all(|c| said.starts_with(c)), "{line}");
    }
}

#[test]
fn what_nobody_takes_costs_its_callers_nothing() {
    let silent = RankLog { to_file: false, buffer_bytes: 0, ..log(0) };
    let logs = logs(&[silent], Level::Err);
    logs.during(|| {
        assert!(!tracing::enabled!(tracing::Level::WARN));
        assert!(tracing::enabled!(tracing::Level::ERROR));
    });
}

#[test]
fn a_directory_that_cannot_be_made_is_said_with_the_flag_that_names_it() {
    let log = RankLog { dir: "/proc/none/here".into(), ..log(0) };
    let copy = Stderr { level: Level::Off, out: Mutex::new(Box::new(io::sink())), before: "" };
    let error = build(&[log], copy).err().unwrap().to_string();
    assert!(error.starts_with("cannot make the log directory /proc/none/here: "), "{error}");
    assert!(error.ends_with("name another with --log-dir"), "{error}");
}
